"""Calls that run side by side, each on a thread, for as long as somebody waits for them."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

AT_ONCE = 8  # threads of one round; a host runs twenty activities at once


def side_by_side(calls: Sequence[Callable[[], T]], seconds: float) -> list[T | None]:
    """What each call returned, in their order; None for one that has not ended after `seconds`.

    One that has not begun by then never does. Raises what the first of them raised, in their order.
    """
    answers: list[Future[T]] = [Future() for _ in calls]
    waiting = deque(zip(calls, answers, strict=True))

    def work() -> None:
        while True:
            try:
                call, answer = waiting.popleft()
            except IndexError:
                return
            try:
                answer.set_result(call())
            except BaseException as error:  # noqa: BLE001 - raised below, where the caller is
                answer.set_exception(error)

    # Daemons: one that never ends must not keep the process from ending.
    threads = [
        threading.Thread(target=work, name="side-by-side", daemon=True)
        for _ in range(min(AT_ONCE, len(calls)))
    ]
    for thread in threads:
        thread.start()
    ended = not wait(answers, timeout=seconds).not_done
    waiting.clear()
    if ended:
        for thread in threads:
            thread.join()
    return [answer.result() if answer.done() else None for answer in answers]
