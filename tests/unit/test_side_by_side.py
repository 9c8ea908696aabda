"""A workload's tests run side by side, and hold their step for no longer than they have in all."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation.config import parse
from rotation.edges.threads import AT_ONCE, side_by_side
from rotation.model.errors import Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import PLAIN, Answer
from rotation.settings import LONGEST_WATCH
from rotation.steps import asking, deadline, proving
from tests.memory import MemoryEdges
from tests.unit.rounds import refusal, results
from tests.unit.test_config import WORKLOAD, changed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rotation.model.activities import Through
    from rotation.model.world import Manner

GOOD = Answer(200, b'{"role": "orders_green"}')


def own_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "side-by-side"]


def test_calls_run_at_the_same_time_and_answer_in_their_order() -> None:
    """Each waits for all others."""
    together = threading.Barrier(AT_ONCE)

    def call(number: int) -> int:
        together.wait(20)
        return number

    calls = [lambda number=number: call(number) for number in range(AT_ONCE)]
    assert side_by_side(calls, 30) == list(range(AT_ONCE))
    assert own_threads() == []


def test_some_of_many_run_at_a_time() -> None:
    running: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def call() -> bool:
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.002)
        with lock:
            running.pop()
        return True

    assert side_by_side([call] * 50, 30) == [True] * 50
    assert max(most) <= AT_ONCE


def test_one_that_does_not_end_holds_nobody_and_those_behind_it_never_begin() -> None:
    go_on, begun = threading.Event(), []

    def hangs() -> str:
        go_on.wait(30)
        return "too late"

    def quick() -> str:
        return "in time"

    def late() -> str:
        begun.append(1)
        return "never"

    calls: list[Callable[[], str]] = [quick, *[hangs] * AT_ONCE, late]
    began = time.monotonic()
    answers = side_by_side(calls, 0.1)
    assert time.monotonic() - began < 10
    assert answers == ["in time", *[None] * (AT_ONCE + 1)]
    left = own_threads()
    go_on.set()
    for thread in left:
        thread.join(20)
    assert begun == []
    assert own_threads() == []


def test_what_one_raises_is_raised_where_they_were_called(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first of them, and nothing of it is printed by a thread."""

    def fails(text: str) -> None:
        raise LookupError(text)

    with pytest.raises(LookupError, match="first"):
        side_by_side([lambda: None, lambda: fails("first"), lambda: fails("second")], 30)
    assert capsys.readouterr().err == ""
    assert own_threads() == []


def test_none_are_nothing() -> None:
    assert side_by_side([], 0) == []


# -- a workload's tests

PATHS = [{"path": f"/{number}", "repeat": 2} for number in range(3)]


class Slow(MemoryEdges):
    """Each answer to a test takes `seconds`; `lost` are the numbers of tests that never end."""

    seconds = 0.0
    lost: tuple[int, ...] = ()

    def __init__(self, *tests: dict[str, Any]) -> None:
        file = changed((f"{WORKLOAD}.tests", list(tests)))
        super().__init__(parse(yaml.safe_dump(file)), active={"orders-db": "green"})
        self.world.scripted = [GOOD]
        self.waits: list[float] = []
        self.asked: list[float] = []

    def side_by_side(self, calls: Sequence[Callable[[], Any]], seconds: float) -> list[Any]:
        self.waits.append(seconds)
        return [None if i in self.lost else call() for i, call in enumerate(calls)]

    def fetch(
        self, url: str, timeout: float, manner: Manner = PLAIN, authority: str | None = None
    ) -> Answer:
        self.asked.append(timeout)
        self.sleep(self.seconds)
        return super().fetch(url, timeout, manner, authority)


def test_results_keep_the_order_of_the_file() -> None:
    found = Slow(*PATHS)
    assert [(one.test, one.attempts) for one in results(found)] == [("/0", 2), ("/1", 2), ("/2", 2)]
    assert found.waits == [asking.TOGETHER + asking.GRACE]


def test_one_that_does_not_end_counts_as_unanswered() -> None:
    found = Slow(*PATHS)
    found.lost = (1,)
    first, lost, last = results(found)
    assert (first.passed, last.passed) == (True, True)
    assert (lost.passed, lost.attempts, lost.role) == (False, 0, None)
    assert (lost.code, lost.problem) == (
        "test-overdue",
        "not done within the 40 s that all tests have together",
    )


@pytest.mark.parametrize(
    ("timeout", "seconds", "asked", "attempts"),
    [
        ("10s", 3.0, [10.0] * 11, 11),  # of which the last one begins with ten seconds left
        ("60s", 13.0, [40.0, 27.0, 14.0], 3),
        ("60s", 25.0, [40.0, 15.0], 2),
        ("2s", 1.5, [2.0] * 20, 20),
    ],
)
def test_a_request_begins_only_with_time_enough_for_an_answer(
    timeout: str, seconds: float, asked: list[float], attempts: int
) -> None:
    """No more than its own timeout, and no less than what tells an answer from none."""
    found = Slow({"url": "https://api.example/", "timeout": timeout, "repeat": 20})
    found.seconds = seconds
    (result,) = results(found)
    assert (found.asked, result.attempts) == (asked, attempts)
    assert result.code == (None if attempts == 20 else "test-overdue")


@pytest.mark.parametrize("through", ["preview", "service"])
def test_tests_that_had_no_time_are_tried_again(through: Through) -> None:
    """After the swap as well: nobody was seen to wait in vain, and traffic stays where it is."""
    found = Slow(*PATHS)
    found.lost = (0, 1, 2)
    error = refusal(found, through)
    assert (type(error), error.code) == (Unavailable, Code.TEST_OVERDUE)


def test_one_that_failed_beside_them_is_what_counts() -> None:
    found = Slow(*PATHS)
    found.lost, found.world.scripted = (0, 1), [Answer(500, b"")]
    error = refusal(found, "service")
    assert (type(error), error.code) == (Invalid, Code.TESTS_FAILED)


def test_evidence_has_one_time_for_the_tests_of_all_workloads() -> None:
    found = Slow({"url": "https://api.example/", "repeat": 20})
    found.seconds = 3.0
    credential = found.configuration.credential("orders-db")
    (one,) = credential.workloads
    twice = credential.model_copy(
        update={"workloads": [one, one.model_copy(update={"name": "again"})]}
    )
    evidence = proving.collect(found, twice, "green", "r-1")
    assert found.waits[0] == asking.TOGETHER + asking.GRACE
    assert found.waits[1] < 10
    assert [found.attempts for (found, *_) in evidence.tests.values()] == [11, 0]
    assert not evidence.passed


def test_a_step_ends_in_time_whatever_its_tests_do() -> None:
    assert asking.TOGETHER + asking.GRACE + 10 < deadline.LONGEST
    assert asking.ENOUGH <= asking.TOGETHER - LONGEST_WATCH  # of a round that begins last
