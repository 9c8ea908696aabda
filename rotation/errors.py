"""What can go wrong, and whether trying again can help.

    RotationError
    ├── ConfigurationError     the file or a setting is wrong: every problem at once
    ├── StepFailed             a step of a rotation gave up (raised inside orchestrators only)
    └── EdgeError              another system answered, or did not
        ├── Unavailable        it did not answer, throttled us, or failed: worth a retry
        ├── Denied             it knows us and refuses
        ├── Missing            the thing is not there
        ├── Conflict           somebody changed it meanwhile, or it is not in the expected state
        └── Invalid            it does not accept what we sent, or we do not accept what it says

Messages name what failed, a value that is no secret, and what to do. They cross activity
boundaries and are stored in clear text, so an edge never copies a third party's message into one
without having looked at what that party puts there.
"""

from __future__ import annotations

from typing import Any


class RotationError(Exception):
    """Base of everything this package raises on purpose."""

    kind = "error"
    transient = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after

    def as_value(self) -> dict[str, Any]:
        """How the error crosses an activity boundary; `retryAfter` is in seconds."""
        value: dict[str, Any] = {
            "kind": self.kind,
            "message": self.message,
            "transient": self.transient,
        }
        if self.retry_after is not None:
            value["retryAfter"] = self.retry_after
        return value


class ConfigurationError(RotationError):
    """Holds `problems`: `path: what is wrong` lines."""

    kind = "configuration"

    def __init__(self, source: str, problems: list[str]) -> None:
        self.problems = problems
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{source} has {len(problems)} problem(s):\n{listed}")


class StepFailed(RotationError):  # noqa: N818 - the word of the domain
    """A step gave up; `failure` is the last error's value (see `RotationError.as_value`)."""

    kind = "step-failed"

    def __init__(self, step: str, failure: dict[str, Any]) -> None:
        self.step = step
        self.failure = failure
        super().__init__(f"{step}: {failure['message']}")


class EdgeError(RotationError):
    """Base of what another system made us raise."""


class Unavailable(EdgeError):  # noqa: N818
    """Worth a retry; `retry_after` seconds if the other side asked for that."""

    kind = "unavailable"
    transient = True


class Denied(EdgeError):  # noqa: N818
    kind = "denied"


class Missing(EdgeError):  # noqa: N818
    kind = "missing"


class Conflict(EdgeError):  # noqa: N818
    kind = "conflict"


class Invalid(EdgeError):  # noqa: N818
    kind = "invalid"
