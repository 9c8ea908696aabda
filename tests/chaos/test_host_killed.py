"""The Functions host ended by SIGKILL at random moments, and by a journal that may not grow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from local import engines
from local.process import wait_until
from tests.chaos.support import FULL, Story, clients, drawn, patient

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from local.stack import Stack

pytestmark = patient

KILLS = 12 if FULL else 4
ROUNDS = range(6 if FULL else 1)


@pytest.mark.guarantee(2, 4)
@pytest.mark.parametrize("number", ROUNDS)
def test_a_host_killed_at_random_moments_fails_no_request(chaos_stack: Stack, number: int) -> None:
    draw = drawn(f"kills {number}")
    decision = draw.choice(["approve", "reject"])
    with clients(chaos_stack) as callers:
        story = Story.begin(chaos_stack, decision)
        record = story.run(killing(story, draw))
        assert callers.failed() == 0, callers.load.report().failures
    assert len(story.hit) == KILLS
    assert record["outcome"] == {"approve": "completed", "reject": "rolled-back"}[decision]
    story.prove(record)


def killing(story: Story, draw: random.Random) -> Callable[[dict[str, Any]], None]:
    """Each time after a while that is drawn, and so at any place within a step or between two."""
    due = [time.monotonic() + draw.uniform(0, 0.5)]

    def disturb(record: dict[str, Any]) -> None:
        if len(story.hit) == KILLS or time.monotonic() < due[0]:
            return
        host = story.stack.components["host"]
        host.kill()
        host.start()
        story.hit.append(str(record["stage"]))
        due[0] = time.monotonic() + draw.uniform(0, 0.8)

    return disturb


@pytest.mark.skipif(
    engines.selected() != engines.LOCAL, reason="Azure Storage has no journal whose disk is full"
)
class TestFullDisk:
    """A limit on the size of the host's files stands for a disk without space: it works without
    being root, and the kernel refuses the write just as well."""

    @pytest.mark.guarantee(4)
    def test_space_that_comes_back_soon_is_all_it_needs(self, chaos_stack: Stack) -> None:
        with clients(chaos_stack) as callers:
            story = begin_on_new_files(chaos_stack)
            limit_files(chaos_stack, to=journal_size(chaos_stack))
            log = chaos_stack.components["host"].log
            wait_until(
                lambda: "did not store a step" in log.read_text(), 60, "the journal's refusal"
            )
            limit_files(chaos_stack, to=psutil.RLIM_INFINITY)
            record = story.run(lambda _: None)
            assert callers.failed() == 0, callers.load.report().failures
        assert record["outcome"] == "completed"
        story.prove(record)

    @pytest.mark.guarantee(4)
    def test_a_disk_that_stays_full_ends_the_host_loudly_and_loses_nothing(
        self, chaos_stack: Stack
    ) -> None:
        host = chaos_stack.components["host"]
        with clients(chaos_stack) as callers:
            story = begin_on_new_files(chaos_stack)
            limit_files(chaos_stack, to=journal_size(chaos_stack))
            wait_until(lambda: not host.alive, 60, "the end of the host")
            assert "the engine stopped" in host.log.read_text()
            host.stop()
            host.start()
            record = story.run(lambda _: None)
            assert callers.failed() == 0, callers.load.report().failures
        assert record["outcome"] == "completed"
        story.prove(record)


def begin_on_new_files(stack: Stack) -> Story:
    """After a clean stop SQLite's log is empty, so that it grows with every step. The host's own
    log is a new file too: it is under the same limit, and must stay the smaller of the two."""
    host = stack.components["host"]
    host.stop()
    host.log = host.log.with_name(f"host-{time.monotonic_ns()}.log")
    host.start()
    story = Story.begin(stack, "approve")
    wait_until(lambda: journal_size(stack) > 2 * host.log.stat().st_size, 30, "the journal growing")
    return story


def journal_size(stack: Stack) -> int:
    return (stack.directory / "journal.db-wal").stat().st_size


def limit_files(stack: Stack, to: int) -> None:
    process = psutil.Process(stack.components["host"].pid)
    _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (to, hard))
