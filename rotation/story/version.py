"""The version of the story, and the question which one an instance began with.

A waiting rotation is replayed from its history by whatever release runs by then: it must yield what
the history has. Each instance keeps the version that was this one when it was started (host.json's
`defaultVersion`), and its children get it from it. docs/upgrade.md says when to raise it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import azure.durable_functions as df

# Two numbers, which the platform compares as such: a host runs instances of its own version and of
# older ones, and leaves newer ones to newer hosts.
VERSION = "1.2"
FIRST = "1.0"  # also of instances that were started before there were versions


def inherited(context: df.DurableOrchestrationContext) -> str | None:
    """The version that a child orchestration is started with, its parent's: the platform would give
    it that of the release of the day."""
    return context.version or None


def since(context: df.DurableOrchestrationContext, version: str) -> bool:
    """Whether the instance began with this version or a newer one: it yields what that brought."""
    return _numbers(context.version or FIRST) >= _numbers(version)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
