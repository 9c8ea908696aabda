"""How long a dry run takes: every precondition of a rotation, tried on the stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.screen import say
from local import world

if TYPE_CHECKING:
    from local.stack import Stack

AT_MOST = 10.0  # seconds of one: whoever asks waits for it
BODY = {"credential": world.CREDENTIAL, "by": world.OPERATOR, "dryRun": True}


class NotReadyError(RuntimeError):
    """A dry run found something in the way of a stack that is whole."""


class TooSlowError(RuntimeError):
    """A dry run took longer than somebody should have to wait for it."""


def measure(stack: Stack, *, count: int) -> dict[str, Any]:
    """The seconds of `count` dry runs, as the app tells them, the first one apart."""
    say(f"{count + 1} dry runs")
    taken = []
    for _ in range(count + 1):
        answer = stack.client.api("POST", "/rotations", BODY)
        if answer.status != 200 or not answer.json["ready"]:
            raise NotReadyError(f"{answer.status}: {answer.json}")
        taken.append(answer.json["milliseconds"] / 1000)
        if taken[-1] > AT_MOST:
            raise TooSlowError(f"{taken[-1]:.1f} s, and {AT_MOST:g} s at most are meant")
    return {"workloads": len(world.WORKLOADS), "first": taken[0], "others": sorted(taken[1:])}
