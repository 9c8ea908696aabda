"""PostgreSQL, Key Vault and the Kubernetes API stopped and started again in the middle of steps.

A sample of the steps by default; CHAOS=full in the environment takes every step, approved and
rejected; CHAOS_SEED draws another sample.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from urllib3.exceptions import HTTPError

from local.process import wait_until
from tests.chaos.support import FULL, Clients, Story, clients, drawn, patient, running, slow

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.stack import Stack

pytestmark = patient

AWAY = 0.7  # seconds
# Steps by number, as test_the_record_tells_the_whole_story has them.
STEPS = range(15)
SAMPLED = 2


def vault_away(stack: Stack, _: Clients) -> None:
    vault = stack.components["keyvault"]
    vault.kill()
    time.sleep(AWAY)
    vault.start()


def api_away(stack: Stack, _: Clients) -> None:
    """Pods and Services go on: on a real cluster, too, they need no API server to serve."""
    assert stack.faults.admin("cluster", "POST", "/local/outage", {"seconds": AWAY}).status == 202
    time.sleep(AWAY)
    wait_until(lambda: answers(stack), 20, "the API being back")


def answers(stack: Stack) -> bool:
    try:
        return stack.faults.admin("cluster", "GET", "/local/faults").status == 200
    except HTTPError:
        return False


def database_away(stack: Stack, callers: Clients) -> None:
    with callers.without_database():
        stack.components["postgres"].stop()
        time.sleep(AWAY)
        stack.components["postgres"].start()


OUTAGES = {"Key Vault": vault_away, "Kubernetes API": api_away, "PostgreSQL": database_away}
CASES = [
    (name, decision)
    for name, decision in (
        ("Key Vault", "approve"),
        ("Kubernetes API", "reject"),
        ("PostgreSQL", "approve"),
        ("Key Vault", "reject"),
        ("Kubernetes API", "approve"),
        ("PostgreSQL", "reject"),
    )
][: 6 if FULL else 3]


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(("name", "decision"), CASES)
def test_a_rotation_outlasts_outages_and_fails_no_request(
    chaos_stack: Stack, name: str, decision: str
) -> None:
    stack = chaos_stack
    wanted = set(STEPS if FULL else drawn(f"{name} {decision}").sample(STEPS, SAMPLED))
    with clients(stack) as callers:
        slow(stack)
        story = Story.begin(stack, decision)
        record = story.run(breaking(story, wanted, lambda: OUTAGES[name](stack, callers)))
        assert callers.failed() == 0, callers.load.report().failures
        assert callers.load.report().requests > 50
    assert len(story.hit) >= len(wanted) // 2, f"{story.hit} of {sorted(wanted)}"
    story.prove(record)
    if name != "PostgreSQL":  # a test that meets a database that is down may be a reason to go back
        assert record["outcome"] == {"approve": "completed", "reject": "rolled-back"}[decision]


def breaking(
    story: Story, wanted: set[int], outage: Callable[[], None]
) -> Callable[[dict[str, Any]], None]:
    """Once for each of the wanted steps, as soon as it is seen to be under way."""
    left = set(wanted)

    def disturb(record: dict[str, Any]) -> None:
        now = running(record)
        if now is not None and now[0] in left:
            left.remove(now[0])
            story.hit.append(f"{now[0]} {now[1]}")
            outage()
            slow(story.stack)  # a server that was started again has forgotten it

    return disturb
