"""What `credentials.yaml` says of a Deployment: who leads to it, and what its tests ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Asked:
    """`paths` are those of its tests that GET through the Service, by a port and scheme."""

    service: str = ""
    port: str = ""
    https: bool = False
    paths: tuple[str, ...] = ()


def asked(file: str, namespace: str, deployment: str) -> Asked:
    """Raises `ClientError` for a file that cannot be read or has no such Deployment."""
    try:
        from rotation.config import document, examine, read
    except ImportError as error:
        text = f"credentials.yaml cannot be read here: {error}"
        cure = "it comes with the app's code: install credential-rotation[rotctl] with pip"
        raise ClientError(text, cure, Exit.USAGE) from None
    try:
        written = read(Path(file))
    except document.UnreadableError as error:
        raise ClientError(f"{file}: {error}", "correct it", Exit.USAGE) from None
    configuration, problems = examine(written)
    if configuration is None or problems:
        cure = f"`rotctl check {file}` has all of it"
        raise ClientError(f"{file} is not valid: {problems[0]}", cure, Exit.USAGE)
    for credential in configuration.credentials.values():
        for workload in credential.workloads:
            for slot, name in workload.deployments.items():
                if (workload.namespace, name) == (namespace, deployment):
                    return _of(workload, {"slot": slot, "role": credential.slots[slot].role})
    text = f"{file} has no Deployment {namespace}/{deployment}"
    raise ClientError(text, "give the file that has it, or --path", Exit.USAGE)


def _of(workload: Any, words: dict[str, str]) -> Asked:
    tests = list(_asking(workload))
    first = tests[0] if tests else None
    port = (first.port if first else None) or workload.port or ""
    paths = []
    for one in tests:
        path = str(one.path)
        for word, value in words.items():
            path = path.replace(f"{{{word}}}", value)
        paths.append(path)
    https = first is not None and first.scheme == "https"
    return Asked(workload.service or "", str(port), https, tuple(paths))


def _asking(workload: Any) -> Iterator[Any]:
    """Tests that a client could make as well: nothing is changed by a GET."""
    for one in workload.tests:
        if one.path is not None and one.method == "GET" and one.body is None:
            yield one
