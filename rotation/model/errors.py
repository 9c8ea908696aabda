"""The errors that this package raises, and which of them are worth a retry.

    RotationError
    ├── ConfigurationError     the file or a setting is wrong: every problem at once
    └── EdgeError              another system answered, or did not
        ├── Unavailable        no answer, throttled, failed, or nobody knows: worth a retry
        ├── Denied             it knows us and refuses: a grant may be on its way, for a while
        ├── Missing            the thing is not there
        ├── Conflict           somebody changed it meanwhile, or it is not in the expected state
        └── Invalid            it does not accept what we sent, or we do not accept what it says

`StepFailed` stands apart: it is raised and caught inside orchestrators only.

Each carries a reason's code (`reasons`). Messages name what failed, a value that is no secret, and
what to do. They cross activity boundaries and are stored in clear text, so an edge never copies a
third party's message into one without having looked at what that party puts there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from rotation.model.reasons import Code, Reason, reason

if TYPE_CHECKING:
    from collections.abc import Iterable


class Failure(Struct, frozen=True, rename="camel", omit_defaults=True):
    """An error as an activity answers it; `retry_after` is in seconds.

    `transient` passes by itself, `refused` may; what is neither is final.
    """

    code: str
    message: str
    transient: bool
    remedy: str = ""
    retry_after: float | None = None
    refused: bool = False

    @property
    def reason(self) -> Reason:
        return Reason(self.code, self.message, self.remedy)


class RotationError(Exception):
    """Base of all errors that this package raises on purpose.

    `transient`: worth a retry. `refused`: worth one for as long as grants and caches take.
    """

    transient = False
    refused = False

    def __init__(self, code: Code, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def reason(self) -> Reason:
        return reason(self.code, self.message)

    def as_failure(self) -> Failure:
        """The same as a value that crosses an activity boundary."""
        return Failure(
            code=str(self.code),
            message=self.message,
            transient=self.transient,
            refused=self.refused,
            remedy=self.code.remedy,
            retry_after=self.retry_after,
        )


class ConfigurationError(RotationError):
    """The file or a setting is wrong; `problems` are lines `path: what is wrong`."""

    def __init__(self, source: str, problems: list[str], code: Code = Code.CONFIGURATION) -> None:
        self.problems = problems
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(code, f"{source} has {len(problems)} problem(s):\n{listed}")


class StepFailed(Exception):
    """A step gave up: `reasons` has at least one; `message` names the step, `text` does not."""

    def __init__(self, step: str, reasons: Iterable[Reason]) -> None:
        self.step = step
        self.reasons = tuple(reasons)
        self.text = "; ".join(why.text for why in self.reasons)
        self.message = f"{step}: {self.text}"
        super().__init__(self.message)


class MadeWay(Exception):
    """A rotation stops where it is, since an incident goes on from there."""


class EdgeError(RotationError):
    """Base of the errors for what another system answered, or did not."""


class Unavailable(EdgeError):
    """The other system did not answer, throttled or failed, or said what nobody lists as final.

    `retry_after` is in seconds, if it said so.
    """

    transient = True


class Denied(EdgeError):
    """The other system knows us and refuses."""

    refused = True


class Missing(EdgeError):
    """What was asked for does not exist."""


class Conflict(EdgeError):
    """Somebody changed the object meanwhile, or it is not in the expected state."""


class Invalid(EdgeError):
    """The other system does not accept what we sent, or we do not accept its answer."""
