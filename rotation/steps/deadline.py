"""The deadline of an activity, after which it has failed, whatever the other side does.

The edges have deadlines of their own, which end what they wait for. This is for what those do not
see: a name that does not resolve, a handshake byte by byte, a bug. The thread that is left behind
is an execution that is held up, which every guard expects.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from rotation import log
from rotation.model import wire
from rotation.model.errors import Failure
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.model.wire import JsonObject
    from rotation.steps.running import Implementation

LONGEST = 55.0  # seconds; a watch lasts 20, and an answer of an edge at most 40


def in_time(
    activity: Implementation, execute: Callable[[], JsonObject], longest: float = LONGEST
) -> JsonObject:
    """The activity's answer, or after `longest` seconds a failure that is worth a retry.

    Raises what `execute` raises.
    """
    answer: Future[JsonObject] = Future()

    def target() -> None:
        try:
            answer.set_result(execute())
        except BaseException as error:  # noqa: BLE001 - raised below, where the caller is
            answer.set_exception(error)

    # A daemon: one that never ends must not keep the process from ending.
    thread = threading.Thread(target=target, name=activity.name, daemon=True)
    thread.start()
    thread.join(longest)
    if answer.done():
        return answer.result()
    log.event("step.overdue", level=logging.WARNING, step=activity.name, seconds=longest)
    text = f"{activity.name} did not end within {longest:.0f} s; its log says what it waits for"
    failure = Failure(Code.CUT_OFF, text, transient=True, remedy=Code.CUT_OFF.remedy)
    return {"error": wire.value_of(failure)}
