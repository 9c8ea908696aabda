"""What is valid in `credentials.yaml` and hardly meant: said, and otherwise let be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.config.document import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import Configuration
    from rotation.config.document import Path

NO_APPROVERS = (
    "there are none: whoever holds a function key decides in any name, and nobody can by "
    "sign-in or link; name approvers"
)

NO_ROUTE = (
    "none names the role that serves: the sessions of its pods are the proof, and a slot whose "
    'pods hold none gets no traffic; {path: /whoami, json: {role: "{role}"}} proves more'
)


def doubts(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """Pairs of a path in the file and what is doubtful there, with what to do."""
    names = {
        name: {"workloads": [{"name": workload.name} for workload in credential.workloads]}
        for name, credential in configuration.credentials.items()
    }
    for path, text in found(configuration):
        yield dotted(path, {"credentials": names}), text


def found(configuration: Configuration) -> Iterator[tuple[Path, str]]:
    """The same, with paths that have a workload's number."""
    for name, credential in configuration.credentials.items():
        if not credential.approval.listed:
            yield ("credentials", name, "approval", "approvers"), NO_APPROVERS
        for number, workload in enumerate(credential.workloads):
            if not workload.names_role and workload.called:
                yield ("credentials", name, "workloads", number, "tests"), NO_ROUTE
