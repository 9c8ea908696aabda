"""Where objects come from: files, or a cluster; and the workloads that are meant among them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from rotctl.adopt import refusals
from rotctl.adopt.original import (
    PODS,
    Original,
    called,
    containers,
    flat,
    name_of,
    namespace_of,
)
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from rotctl.adopt.original import Object
    from rotctl.adopt.refusal import Refusal

ENDINGS = (".yaml", ".yml", ".json")
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*")
NAMESPACE = re.compile(rf"(?=.{{1,63}}\Z){LABEL}")


def read(paths: Iterable[str], but: Path | None = None) -> list[Object]:
    """The objects of files and of folders, below which all YAML files are read; `but` is a folder
    that is passed over there.

    Values of Secrets are dropped as they are read. Raises `ClientError`.
    """
    # The same in several files is one object.
    found = {repr(one): without_values(one) for path in paths for one in _of(Path(path), but)}
    if not found:
        text = "the files have no Kubernetes object in them"
        raise ClientError(
            text, "`kubectl get -o yaml` writes some, or `kubectl kustomize`", Exit.USAGE
        )
    return list(found.values())


def _of(path: Path, but: Path | None) -> Iterator[Object]:
    files = [path]
    if path.is_dir():
        files = [
            each
            for each in sorted(path.rglob("*"))
            if each.suffix in ENDINGS and (but is None or but not in each.resolve().parents)
        ]
    for file in files:
        try:
            yield from flat(yaml.safe_load_all(file.read_text(encoding="utf-8")))
        except OSError as error:
            text = f"{file} cannot be read: {error.strerror}"
            raise ClientError(text, "give manifests with --from", Exit.USAGE) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            line = f" at line {mark.line + 1}" if mark else ""
            text = f"{file} is no YAML{line}"
            cure = "of a chart, give what `helm template` or `helm get manifest` prints"
            raise ClientError(text, cure, Exit.USAGE) from None


def without_values(obj: Object) -> Object:
    """A Secret with its keys alone, and without the note in which kubectl keeps its values."""
    if obj["kind"] != "Secret":
        return obj
    made = {k: v for k, v in obj.items() if k not in {"data", "stringData", "metadata"}}
    metadata = {
        k: v for k, v in obj["metadata"].items() if k not in {"annotations", "managedFields"}
    }
    keys = [*(obj.get("data") or {}), *(obj.get("stringData") or {})]
    return {**made, "metadata": metadata, "data": dict.fromkeys(keys, "")}


def named(text: str) -> tuple[str, str]:
    """Namespace, "" where it is left out, and name."""
    namespace, slash, name = text.rpartition("/")
    return (namespace, name) if slash else ("", text)


def originals(
    objects: Sequence[Object], wanted: Sequence[tuple[str, str]], in_place: Collection[str] = ()
) -> list[Original]:
    """The workloads of these kinds and names, each with what is beside it in its namespace; those
    that are named in `in_place`, and StatefulSets and DaemonSets, are to get no twin.

    Raises `ClientError` where there is none or several, or a workload of another kind.
    """
    found = [_workload(objects, kind, name) for kind, name in wanted]
    stays = [kind in refusals.ONE or name in in_place for kind, name in wanted]
    spaces = {namespace_of(one) for one in found}
    for space in spaces:
        if not NAMESPACE.fullmatch(space):
            raise _misnamed("namespace", space)
    if len(spaces) > 1:
        text = f"the workloads are in several namespaces: {', '.join(sorted(spaces))}"
        cure = "adopt those of one namespace at a time, and put the entries together by hand"
        raise ClientError(text, cure, Exit.USAGE)
    made = [
        Original(one, _around(objects, one), each) for one, each in zip(found, stays, strict=True)
    ]
    for original in made:
        for one in (original.workload, *original.around):
            # Names become parts of paths and of commands. Those of RBAC have other signs too, and
            # none of them is written anywhere.
            rights = str(one.get("apiVersion", "")).startswith("rbac.authorization.k8s.io/")
            if not rights and not NAME.fullmatch(name_of(one)):
                raise _misnamed(str(one["kind"]), name_of(one))
    return made


def _misnamed(what: str, name: str) -> ClientError:
    text = f"{name!r} is no name that a {what} can have in Kubernetes"
    return ClientError(text, "correct it, or give files without this object", Exit.USAGE)


def _workload(objects: Sequence[Object], kind: str, text: str) -> Object:
    namespace, name = named(text)
    called_so = [
        one
        for one in objects
        if name_of(one) == name and namespace in {"", namespace_of(one)} and _is_workload(one)
    ]
    right = [one for one in called_so if one["kind"] == kind]
    if len(right) == 1:
        return right[0]
    if right:
        names = list(dict.fromkeys(called(one) for one in right))
        if len(names) == 1:
            text = f"the files have {names[0]} {len(right)} times, and not the same"
            raise ClientError(text, "give with --from how it runs, and no more", Exit.USAGE)
        text = f"there are several: {', '.join(names)}"
        raise ClientError(text, "write NAMESPACE/NAME", Exit.USAGE)
    if called_so and called_so[0]["kind"] not in refusals.OPTIONS.keys() - refusals.ONE:
        refuse([refusals.other_kind(called_so[0])])
    there = ", ".join(called(one) for one in objects if one["kind"] == kind) or "none"
    text = f"there is no {kind} {text}; there are: {there}"
    raise ClientError(text, "correct the name, or give the file that has it", Exit.USAGE)


def _is_workload(obj: Object) -> bool:
    """Whatever makes pods, an operator's own resource too, or is one."""
    if obj["kind"] in {*PODS, "Pod"}:
        return True
    spec = obj.get("spec")
    template = spec.get("template") if isinstance(spec, dict) else None
    return isinstance(template, dict) and bool(containers(template))


def _around(objects: Sequence[Object], workload: Object) -> tuple[Object, ...]:
    """Objects without a namespace of their own are taken to be of the workload's."""
    own = namespace_of(workload)
    return tuple(
        one
        for one in objects
        if one is not workload and (own == namespace_of(one) or "namespace" not in one["metadata"])
    )


def refuse(found: Sequence[Refusal]) -> None:
    """Raises `ClientError` if there is any refusal: with all of them, each with its way out."""
    if not found:
        return
    text = "\n".join(("this cannot be adopted:", *(f"- {each}" for each in found)))
    refused = [{"object": one.what, "why": one.why, "remedy": one.cure} for one in found]
    raise ClientError(text, "nothing was written", Exit.REFUSED, {"refused": refused})
