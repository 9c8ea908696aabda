"""Exit codes, for pipelines; and the one error, which is a sentence with its cure."""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """What a command ends with. docs/rotctl.md has the table; a test compares them."""

    DONE = 0
    PROBLEM = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_ALLOWED = 4
    ROLLED_BACK = 10
    ABORTED = 11
    REFUSED = 12
    NEEDS_ATTENTION = 13
    LOST = 14
    SUPERSEDED = 15
    WAITING = 20
    TIMEOUT = 21
    STOPPED = 30
    INTERRUPTED = 130


# A rotation that was skipped had nothing to do, and is as good as done.
OF_OUTCOME = {
    "completed": Exit.DONE,
    "skipped": Exit.DONE,
    "rolled-back": Exit.ROLLED_BACK,
    "aborted": Exit.ABORTED,
    "refused": Exit.REFUSED,
    "needs-attention": Exit.NEEDS_ATTENTION,
    "superseded": Exit.SUPERSEDED,
}


class ClientError(Exception):
    """What kept a command from its work. `cure` is what to do about it; `more` are the members of
    the app's own problem document, if it answered with one."""

    def __init__(
        self, text: str, cure: str, exit_code: Exit, more: dict[str, Any] | None = None
    ) -> None:
        super().__init__(text)
        self.text = text
        self.cure = cure
        self.exit_code = exit_code
        self.more = more or {}

    def __str__(self) -> str:
        return f"{self.text}\n  {self.cure}" if self.cure else self.text

    @property
    def document(self) -> dict[str, Any]:
        """The error for programs."""
        mine = {"detail": self.text, "remedy": self.cure, "exit": int(self.exit_code)}
        return {**self.more, **mine}
