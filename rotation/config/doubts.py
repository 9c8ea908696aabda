"""What is valid in `credentials.yaml` and hardly meant: said, and otherwise let be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.config.document import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import Configuration, Credential
    from rotation.config.document import Path

NO_APPROVERS = (
    "there are none: whoever holds a function key decides in any name, and nobody can by "
    "sign-in or link; name approvers"
)

NO_ROUTE = (
    "none names the role that serves: the sessions of its pods are the proof, and a slot whose "
    'pods hold none gets no traffic; {path: /whoami, json: {role: "{role}"}} proves more'
)

NO_VIEWERS = (
    "there are none, and other credentials have some: whoever may sign in sees this one; list "
    "viewers, or all of them at the top of its file"
)

NEVER_SIGNED_IN = (
    "an address alone is nobody who has signed in, so that it shows nothing to anybody: write "
    "{id, address}, an object id or an app role"
)

ONLY_BY_KEY = (
    "all are addresses alone, and nobody who has signed in is known by one: only the holder of a "
    "function key starts it, in their names; write {id, address}, an object id or an app role"
)


SHORT = (
    "none is as long as `ready` and tests that are Jobs may take: where they do, the swap waits "
    "for the next window, with both slots up, and is prepared there once more"
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
    restricted = any(credential.viewers for credential in configuration.credentials.values())
    for name, credential in configuration.credentials.items():
        if not credential.approval.listed:
            yield ("credentials", name, "approval", "approvers"), NO_APPROVERS
        yield from _people(name, credential, others=restricted)
        lengths = [window.lasts for window in credential.hours.windows]
        if lengths and max(lengths) < credential.longest_preparation:
            yield ("credentials", name, "windows"), SHORT
        for number, workload in enumerate(credential.workloads):
            if not workload.names_role and workload.called:
                yield ("credentials", name, "workloads", number, "tests"), NO_ROUTE


def _people(name: str, credential: Credential, *, others: bool) -> Iterator[tuple[Path, str]]:
    """What is doubtful in a credential's viewers and starters; `others`: some credential has
    viewers."""
    if others and not credential.viewers:
        yield ("credentials", name, "viewers"), NO_VIEWERS
    for number, viewer in enumerate(credential.viewers):
        if viewer.id is None:
            yield ("credentials", name, "viewers", number), NEVER_SIGNED_IN
    if credential.starters and all(starter.id is None for starter in credential.starters):
        yield ("credentials", name, "starters"), ONLY_BY_KEY
