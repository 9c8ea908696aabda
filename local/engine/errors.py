# ruff: noqa: N818 - named for what callers ask about: `except InstanceRunning`
"""What the engine's callers have to handle.

EngineError
├── InstanceNotFound   (404 in the durable HTTP API)
├── InstanceFinished   (410)
├── InstanceRunning    (409 for a start, 412 for a purge)
├── InvalidInstanceId  (400)
└── JournalError       nothing was stored; the call may be repeated
    └── JournalInUse   another process owns the journal
"""

from __future__ import annotations

import traceback


class EngineError(Exception):
    """Base of everything the engine raises on purpose."""


class InstanceNotFound(EngineError):
    def __init__(self, instance_id: str) -> None:
        super().__init__(f"no instance {instance_id!r}: it was never started, or was purged")


class InstanceFinished(EngineError):
    def __init__(self, instance_id: str, status: str) -> None:
        super().__init__(f"instance {instance_id!r} is {status} and takes no more messages")


class InstanceRunning(EngineError):
    def __init__(self, instance_id: str, status: str) -> None:
        super().__init__(f"instance {instance_id!r} is {status}: wait for its end, or terminate it")
        self.status = status


class InvalidInstanceId(EngineError):
    def __init__(self, instance_id: str, why: str) -> None:
        super().__init__(f"instance id {instance_id[:120]!r} {why}")


class FunctionFailed(Exception):
    """What a function of the app raised, as a worker tells it: `message` is `Type: text`, `stack`
    the traceback. Not the engine's own failure."""

    def __init__(self, message: str, stack: str) -> None:
        super().__init__(f"{message}\n{stack}")
        self.message = message
        self.stack = stack

    @classmethod
    def of(cls, error: Exception) -> FunctionFailed:
        """Any exception as a worker tells it."""
        if isinstance(error, FunctionFailed):
            return error
        stack = "".join(traceback.format_exception(error))
        return cls(f"{type(error).__name__}: {error}", stack)


class JournalError(EngineError):
    """The journal could not store a step. The step has not happened."""


class JournalInUse(JournalError):
    """Another process has the journal: two on one would run every step twice."""
