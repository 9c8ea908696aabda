"""Checks what must hold between the sections of `credentials.yaml`.

Looked up in the file as it was read, so that a problem in one section hides none of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rotation.config.document import at, dotted
from rotation.config.fields import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import document

    Problem = tuple[document.Path, str]


def problems(file: dict[Any, Any]) -> list[Problem]:
    """The clusters that do not exist, and what stands there twice; each with its path."""
    return [*_references(file), *_repeats(file)]


def _references(file: dict[Any, Any]) -> Iterator[Problem]:
    """A problem for each workload whose cluster is not in `clusters`."""
    known = file.get("clusters")
    names = sorted(map(str, known)) if isinstance(known, dict) else []
    for path, name in at(file, "credentials", "*", "workloads", "*", "cluster"):
        if isinstance(name, str) and name not in names:
            yield path, f"{shown(name)} is not in clusters; there are: {', '.join(names) or 'none'}"


def _repeats(file: dict[Any, Any]) -> Iterator[Problem]:
    """A problem for each thing that stands there twice: two rotations at once would change it."""
    seen: dict[tuple[str, ...], document.Path] = {}
    for path, *identity in _owned(file):
        if not all(isinstance(part, str) for part in identity):
            continue  # reported as what it is
        first = seen.setdefault(tuple(identity), path)
        if first is not path:
            yield path, f"is the same as {dotted(first)}"


def _owned(file: dict[Any, Any]) -> Iterator[tuple[Any, ...]]:
    """The path of each thing that only one place may have, followed by its identity."""
    for (_, name), credential in at(file, "credentials", "*"):
        vault = str(_get(credential, "vault")).rstrip("/").lower()
        server = str(_get(_get(credential, "database"), "host")).lower()
        base = ("credentials", name)
        for path, secret in at(credential, "slots", "*", "secret", path=base):
            yield path, "secret", vault, secret.lower() if isinstance(secret, str) else None
        for path, role in at(credential, "slots", "*", "role", path=base):
            yield path, "role", server, role
        for path, workload in at(credential, "workloads", "*", path=base):
            space = (_get(workload, "cluster"), _get(workload, "namespace"))
            yield (*path, "name"), "workload", str(name), _get(workload, "name")
            for key in ("service", "preview"):
                yield (*path, key), "service", *space, _get(workload, key)
            for where, deployment in at(workload, "deployments", "*", path=path):
                yield where, "deployment", *space, deployment


def _get(mapping: Any, key: str) -> Any:
    """The value of a key if it is a text or a mapping, else None: nothing large is looked at."""
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return value if isinstance(value, str | dict) else None
