"""Texts of files: YAML that people read, and a folder that nobody else's work is lost in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are read; no anchors, lists indented."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - pyyaml's name
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - pyyaml's
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dumped(document: Any) -> str:
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def manifests(objects: Iterable[Any]) -> str:
    """One YAML text of several objects; each once, where workloads share one."""
    texts = dict.fromkeys(dumped(one) for one in objects)
    return "---\n".join(texts)


# What the moves write: who has made them, what they have led back, what rehearsals have said.
MADE = ("applied.json", "former/", "rehearsed/")


def write(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Writes what is missing of a folder, and says what that was.

    Raises `ClientError` for one that has a file of this name with another text, or files besides:
    somebody may have worked on them. A link counts as one, whatever it leads to: nothing is written
    through it to another place.
    """
    try:
        there = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if (path.is_symlink() or path.is_file())
            and ".git" not in path.relative_to(folder).parts[:1]
        }
        other = [
            name
            for name, path in there.items()
            if path.is_symlink()
            or (name not in files and not name.startswith(MADE))
            or (name in files and path.read_text(encoding="utf-8", errors="replace") != files[name])
        ]
        if other:
            text = f"{folder} has files that are not what would be written: {_few(other)}"
            cure = "give another folder with --out, or move that one away"
            raise ClientError(text, cure, Exit.PROBLEM)
        missing = [name for name in files if name not in there]
        for name in missing:
            _write(folder / name, files[name])
    except OSError as error:
        text = f"{error.filename or folder} cannot be written: {error.strerror}"
        raise ClientError(text, "give a folder of yours with --out", Exit.PROBLEM) from None
    return missing


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:  # never over what has come there meanwhile
        file.write(text)
    if path.suffix == ".sh":
        path.chmod(0o755)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
