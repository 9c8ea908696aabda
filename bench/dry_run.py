"""How long a dry run takes: every precondition of a rotation, tried on the stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.screen import say
from local import world

if TYPE_CHECKING:
    from local.stack import Stack

BODY = {"credential": world.CREDENTIAL, "by": world.OPERATOR, "dryRun": True}


class NotReadyError(RuntimeError):
    """A dry run found something in the way of a stack that is whole."""


def measure(stack: Stack, *, count: int) -> dict[str, Any]:
    """The seconds of `count` dry runs, as the app tells them, the first one apart."""
    say(f"{count + 1} dry runs")
    taken = []
    for _ in range(count + 1):
        answer = stack.client.api("POST", "/rotations", BODY)
        if answer.status != 200 or not answer.json["ready"]:
            raise NotReadyError(f"{answer.status}: {answer.json}")
        taken.append(answer.json["milliseconds"] / 1000)
    return {"workloads": len(world.WORKLOADS), "first": taken[0], "others": sorted(taken[1:])}
