"""What a file is refused for, and an entry that a rotation was planned with is not.

An entry that an earlier release kept may break rules that are newer than it: a rotation must go on
with what it was planned with.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rotation.config.document import PEOPLE, at
from rotation.config.fields import duration, shown, vault_url
from rotation.decisions.verdict import is_object_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import document

    Problem = tuple[document.Path, str]

# https://learn.microsoft.com/graph/api/resources/approle: the value of an app role.
APP_ROLE = re.compile(r"(?!\.)[\w!#$%&'()*+,./:;<=>?\[\]^{|}~-]{1,120}", re.ASCII)
LIKE_AN_OBJECT_ID = re.compile(r"[0-9A-Fa-f-]{30,40}")


def problems(file: document.Mapping) -> list[Problem]:
    """Reminders that would come after the deadline, lists of people that nobody can be on, entries
    in them that nobody can be, and limits of what nothing is at; each with its path."""
    return [*_never_reminded(file), *_empty(file), *_nobody(file), *_limits(file)]


ANY = "*"  # in place of a name: each that is not named


def _limits(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each limit of something that no credential works on: it is misspelt, and what
    is meant has none."""
    workloads = [one for _, one in at(file, "credentials", "*", "workloads", "*")]
    spaces = {f"{_text(one, 'cluster')}/{_text(one, 'namespace')}" for one in workloads}
    databases = [one for _, one in at(file, "credentials", "*", "database")]
    vaults = {_vault(one) for _, one in at(file, "credentials", "*", "vault")}
    for kind, used in {
        "clusters": {_text(one, "cluster") for one in workloads},
        "servers": {_server(one) for one in databases},
        "vaults": vaults,
        "namespaces": spaces,
    }.items():
        for path, _ in at(file, "maxParallel", kind, "*"):
            name = _vault(path[-1]) if kind == "vaults" else str(path[-1])
            if name and name != ANY and name not in used:
                yield path, f"no credential works on {shown(str(path[-1]))}"


def _text(mapping: Any, key: str) -> str:
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return value if isinstance(value, str) else ""


def _server(database: Any) -> str:
    port = database.get("port", 5432) if isinstance(database, dict) else 5432
    host = _text(database, "host").lower()
    return host if port == 5432 else f"{host}:{port}"


def _vault(url: Any) -> str:
    try:
        return url if url == ANY else vault_url(url)
    except ValueError:
        return ""  # it is reported as what it is


def _never_reminded(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each `remind` that is written down, and never comes."""
    for path, approval in at(file, "credentials", "*", "approval"):
        remind, deadline = (_seconds(approval, key) for key in ("remind", "deadline"))
        if remind is not None and deadline is not None and remind > deadline:
            text = f"{shown(approval['remind'])} is longer than `deadline`"
            yield (
                (*path, "remind"),
                f"{text}, {shown(approval.get('deadline', '7d'))}: nobody would be reminded",
            )


def _seconds(approval: Any, key: str) -> float | None:
    """A duration of the rules of approval; None where it is not written down, or is none."""
    written = approval.get(key) if isinstance(approval, dict) else None
    if written is None and key == "deadline":
        written = "7d"
    try:
        return None if written is None else duration(written).total_seconds()
    except ValueError:
        return None  # it is reported as what it is


def _empty(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each list that is written down and has nobody: what looks shut is open."""
    for key in ("viewers", "starters"):
        for path, listed in at(file, "credentials", "*", key):
            if listed == []:
                yield path, "names nobody: list somebody, or leave it out, which is for everybody"


def _nobody(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each entry that is neither an address, an object id nor an app role."""
    for keys in PEOPLE.values():
        for path, entry in at(file, "credentials", "*", *keys, "*"):
            text = _nobody_is(entry)
            if text is not None:
                yield path, text


def _nobody_is(entry: object) -> str | None:
    """Why nobody can be what an entry says; None where somebody can, and of what is no text."""
    written = entry.strip() if isinstance(entry, str) else ""
    if not written or "@" in written or is_object_id(written):
        return None
    if LIKE_AN_OBJECT_ID.fullmatch(written):
        return f"{shown(written)} is like an object id, and none: 36 characters, 8-4-4-4-12"
    if not APP_ROLE.fullmatch(written):
        text = f"{shown(written)} is neither a mail address, an object id nor an app role"
        return f"{text}, such as Rotation.Approve"
    return None
