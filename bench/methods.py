"""The usual ways to rotate a database password, and this app's, all under the same load.

Each is written as its users run it at its best: SCRAM verifiers, rolling restarts with surge, a
graceful stop. docs/benchmarks.md says what of it is simulated.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.rotating import rotate
from bench.screen import say
from bench.script import Script
from local import world
from local.load import Load
from local.process import wait_until
from local.proof import Passwords, can_login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.product import Secret
    from local.stack import Stack

RATE = 40.0  # requests a second to each workload
# Enough to keep the rate while requests hang; half of them with a fresh connection each. The kept
# ones are used every 0.6 s, well within a lame duck's time.
WORKERS = 24
RECYCLED = {"POOL_LIFETIME": "4"}
LASTING = {"POOL_LIFETIME": "3600"}
EACH_REQUEST = {"POOL_LIFETIME": "0.01"}
# Most applications' readiness asks their pool; the sample's fresh login would count against
# scripts, whose pods it takes out of their Services all at once.
PODS = {"POOL_SECONDS": "1", "LOGIN_SECONDS": "3600"}


@dataclass(frozen=True)
class Pace:
    """The pace of things, in seconds: until a new pod is ready; that a stopping pod serves on;
    of load before the change, and once the replaced pods are gone."""

    start: int
    lame_duck: int
    margin: float


@dataclass(frozen=True)
class Method:
    name: str
    pool: str
    run: Callable[[Script], object]


@dataclass(frozen=True)
class Result:
    """The times of a method, in seconds.

    `old_refused` is None if the old password still logs in at the end.
    """

    method: str
    pool: str
    seconds: float
    requests: int
    failed: int
    kinds: dict[str, int]
    longest_gap: float
    p99: float
    old_refused: float | None


def in_place(script: Script) -> None:
    """New password for the one role, then the secret, then a rolling restart."""
    password = script.new_password()
    script.alter_role("blue", password)
    script.write_secret("blue", password)
    script.rollout_restart()
    script.rollout_status()


def restart_first(script: Script) -> None:
    """The password changes once the first new pods are up, which keeps the gap short."""
    password = script.new_password()
    script.write_secret("blue", password)
    script.rollout_restart()
    wait_until(script.new_pods_are_up, 30, "the first new pods")
    script.alter_role("blue", password)
    script.rollout_status()


def alternate(script: Script) -> None:
    """The other role gets a password and the pods move over; the first role keeps its own."""
    password = script.new_password()
    script.alter_role("green", password)
    script.write_secret("green", password)
    script.set_login("green")
    script.rollout_status()


def this_app(script: Script) -> None:
    rotate(script.stack)


IN_PLACE = "in place, then rolling restart"
THIS_APP = "this app: blue/green, tests, approval"
# By the pods' pool. The app comes last: it leaves production on the other slot.
METHODS = (
    (LASTING, (Method(IN_PLACE, "lasting", in_place),)),
    (EACH_REQUEST, (Method(IN_PLACE, "none", in_place),)),
    (
        RECYCLED,
        (
            Method(IN_PLACE, "recycled", in_place),
            Method("in place, while pods restart", "recycled", restart_first),
            Method("two roles in turn, rolling restart", "recycled", alternate),
            Method(THIS_APP, "recycled", this_app),
        ),
    ),
)


def compare(stack: Stack, pace: Pace) -> list[dict[str, Any]]:
    """The results, as dictionaries, in the order of `METHODS`."""
    script = Script(stack)
    found: list[Result] = []
    for pool, methods in METHODS:
        restart_pods(script, pool, pace)
        for method in methods:
            found.append(measure(script, method, pace))
            if method.run is alternate:
                undo_alternation(script)
    return [asdict(result) for result in found]


def broken(results: list[dict[str, Any]]) -> Iterator[str]:
    """The promises of this app that it broke while it was measured."""
    own = next(result for result in results if result["method"] == THIS_APP)
    if not own["requests"]:
        yield "no request was made while this app rotated"
    if own["failed"]:
        yield f"{own['failed']} of {own['requests']} requests failed: {own['kinds']}"
    if own["old_refused"] is None:
        yield "the password that this app replaced still logs in"


def restart_pods(script: Script, pool: dict[str, str], pace: Pace) -> None:
    script.configure({**PODS, "LAME_DUCK_SECONDS": str(pace.lame_duck), **pool})
    script.start_slowly(pace.start)
    script.rollout_restart()
    script.rollout_status()


def undo_alternation(script: Script) -> None:
    script.set_login("blue")
    script.rollout_status()
    script.stack.owner.sql("ALTER ROLE orders_green NOLOGIN PASSWORD NULL")


def measure(script: Script, method: Method, pace: Pace) -> Result:
    stack = script.stack
    say(f"{method.name} ({method.pool} pool) under load")
    old = Passwords.read(stack).values["blue"]
    with ExitStack() as entered:
        loads = [entered.enter_context(load) for load in loads_on(stack)]
        refusal = entered.enter_context(Refusal(stack, old))
        time.sleep(pace.margin)
        began = time.monotonic()
        method.run(script)
        took = time.monotonic() - began
        wait_until(script.replaced_pods_are_gone, 60, "the end of the replaced pods")
        time.sleep(pace.margin)
        reports = [load.stop() for load in loads]
    result = Result(
        method=method.name,
        pool=method.pool,
        seconds=round(took, 2),
        requests=sum(report.requests for report in reports),
        failed=sum(report.failed for report in reports),
        kinds=dict(sum((Counter(report.kinds) for report in reports), Counter())),
        longest_gap=max(report.longest_gap for report in reports),
        p99=max(report.latency["p99"] for report in reports),
        old_refused=None if refusal.at is None else round(refusal.at - began, 2),
    )
    say(f"  {result.failed} of {result.requests} failed, longest gap {result.longest_gap:.2f} s")
    return result


def loads_on(stack: Stack) -> list[Load]:
    """A load for each workload, so that no kept connection waits long for its turn."""
    return [
        Load([stack.owner.service_url(space, name)], rate=RATE, workers=WORKERS)
        for name, space in world.WORKLOADS.items()
    ]


class Refusal:
    """Tries the old password of the blue role again and again; `at` is when it was refused.

    Leaving it raises what a try raised that is no refusal.
    """

    def __init__(self, stack: Stack, password: Secret) -> None:
        self.at: float | None = None
        self._error: Exception | None = None
        self._stack = stack
        self._password = password
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Refusal:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._try()
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error

    def _try(self) -> None:
        while self.at is None and not self._ended.wait(0.2):
            if not can_login(self._stack, "blue", self._password):
                self.at = time.monotonic()
