"""What a file is refused for, and an entry that a rotation was planned with is not.

An entry that an earlier release kept may break rules that are newer than it: a rotation must go on
with what it was planned with.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rotation.config.document import at
from rotation.config.fields import duration, shown
from rotation.decisions.verdict import is_object_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import document

    Problem = tuple[document.Path, str]

# https://learn.microsoft.com/graph/api/resources/approle: the value of an app role.
APP_ROLE = re.compile(r"(?!\.)[\w!#$%&'()*+,./:;<=>?\[\]^{|}~-]{1,120}", re.ASCII)
LIKE_AN_OBJECT_ID = re.compile(r"[0-9A-Fa-f-]{30,40}")


def problems(file: document.Mapping) -> list[Problem]:
    """Reminders that would come after the deadline, and approvers that nobody can be; each with its
    path."""
    return [*_never_reminded(file), *_nobody(file)]


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


def _nobody(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each approver that is neither an address, an object id nor an app role."""
    for path, approver in at(file, "credentials", "*", "approval", "approvers", "*"):
        written = approver.strip() if isinstance(approver, str) else ""
        if not written or "@" in written or is_object_id(written):
            continue
        if LIKE_AN_OBJECT_ID.fullmatch(written):
            text = f"{shown(written)} is like an object id, and none: 36 characters, 8-4-4-4-12"
            yield path, text
        elif not APP_ROLE.fullmatch(written):
            text = f"{shown(written)} is neither a mail address, an object id nor an app role"
            yield path, f"{text}, such as Rotation.Approve"
