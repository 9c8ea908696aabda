"""Rotates back and forth under load for as long as told, while hosts die and storage goes away.

    python -m bench soak [--engine azure] [--minutes N] [--seed S] [--json FILE]

The same seed draws the same decisions and disturbances. The exit code is 1 if anything that is
promised did not hold: each violation is a line at the end.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.screen import say
from local import engines, proof, world
from local.load import Load
from local.process import StartError, wait_until
from local.stack import Options, Stack
from rotation.model.world import other

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rotation.model.world import Slot

RATE = 40.0  # requests a second, over both workloads
WORKERS = 7
# A host that dies stalls its rotation for a minute on Azure Storage: with more of them it would
# never end.
MOST = 2  # disturbances of one rotation
BETWEEN = (0.2, 2.0)  # seconds from one disturbance to the next
AWAY = (1.0, 8.0)  # seconds that the storage is away
SETTLED = 600.0  # seconds a rotation may take, stalls included
TOLD_WITHIN = 6.0  # seconds, for whoever asks while the storage is away: five, and a moment
OUTCOMES = {"approve": "completed", "reject": "rolled-back"}


@dataclass
class Figures:
    """What was done and seen."""

    engine: str
    seed: int
    seconds: float = 0.0
    approved: int = 0
    rejected: int = 0
    kills: int = 0
    outages: int = 0
    away: float = 0.0  # seconds, all outages together
    unavailable: int = 0  # answers 503 meanwhile
    longest_answer: float = 0.0  # seconds, of those
    longest_rotation: float = 0.0  # seconds
    requests: int = 0
    failed: int = 0
    violations: list[str] = field(default_factory=list)

    def violated(self, what: str) -> None:
        say(f"VIOLATED: {what}")
        self.violations.append(what)


class Soak:
    """One stack, rotated until the time is over."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.stack = stack
        self.figures = Figures(stack.engine, seed)
        self._draw = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._left = 0  # disturbances of this rotation to come, the next of them at `_due`
        self._due = 0.0
        self._announced: set[str] = set()  # secret versions

    def run(self, minutes: float) -> Figures:
        owner = self.stack.owner
        urls = [owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
        began = time.monotonic()
        with Load(urls, workers=WORKERS, rate=RATE) as load:
            while time.monotonic() - began < minutes * 60 and not self.figures.violations:
                self._rotate()
                self._count(load)
            report = load.stop()
        self.figures.seconds = time.monotonic() - began
        self._count(load)
        for failure in report.failures:
            self.figures.violated(f"a request failed: {failure}")
        return self.figures

    def _count(self, load: Load) -> None:
        report = load.report()
        self.figures.requests, self.figures.failed = report.requests, report.failed
        if report.failed and not self.figures.violations:
            self.figures.violated(f"{report.failed} requests failed")

    def _rotate(self) -> None:
        """One rotation, disturbed as it was drawn, and what must hold of it afterwards."""
        decision = self._draw.choice(["approve", "reject"])
        before = self._serving()
        passwords = [proof.Passwords.read(self.stack)]
        known = len(self.stack.client.rotations())
        began = time.monotonic()
        rotation = self._started(before)
        self._left = self._draw.randint(1, MOST)
        self._due = time.monotonic() + self._draw.uniform(*BETWEEN)
        try:
            record = self._followed(rotation, decision, passwords)
        except TimeoutError as error:
            self.figures.violated(str(error))
            return
        seconds = time.monotonic() - began
        self.figures.longest_rotation = max(self.figures.longest_rotation, seconds)
        self._judged(record, decision, before, passwords)
        if len(self.stack.client.rotations()) != known + 1:
            self.figures.violated(f"{rotation} is not the one rotation of its event")
        say(f"{rotation} {record['outcome']} after {seconds:.0f} s; {self._so_far()}")

    def _so_far(self) -> str:
        found = self.figures
        return f"{found.kills} kills, {found.outages} outages, {found.requests} requests"

    def _serving(self) -> Slot:
        wait_until(self.stack.client.free, SETTLED, "the credential being free")
        (slot,) = set(self.stack.owner.active_slots().values())
        return "blue" if slot == "blue" else "green"

    def _started(self, slot: Slot) -> str:
        """By an event that is delivered two times, as Event Grid may; or by an operator, who is
        also the only one to start again what was rejected."""
        client = self.stack.client
        event = client.near_expiry(slot)
        version = str(event["data"]["Version"])
        if self._draw.random() < 0.3 or version in self._announced:
            body = {"credential": world.CREDENTIAL, "by": world.OPERATOR}
            answer = client.api("POST", "/rotations", body)
            if answer.status != 202:
                raise StartError(f"a start was answered {answer.status}: {answer.body!r}")
            return str(answer.json["rotation"])
        known = {record["rotation"] for record in client.rotations()}
        self._announced.add(version)
        for _ in range(2):
            status = client.webhook([event], "Notification").status
            if status != 202:
                raise StartError(f"an event was answered {status}")
        wait_until(lambda: self._new(known), 60, "the rotation of the event")
        return self._new(known)[0]

    def _new(self, known: set[str]) -> list[str]:
        return [r["rotation"] for r in self.stack.client.rotations() if r["rotation"] not in known]

    def _followed(
        self, rotation: str, decision: str, passwords: list[proof.Passwords]
    ) -> dict[str, Any]:
        """The record at the end. Raises `TimeoutError`."""
        deadline = time.monotonic() + SETTLED
        asked = False
        while True:
            record = self.stack.client.rotation(rotation)
            if record["outcome"] is not None:
                return record
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{rotation} is still at {record['stage']} after {SETTLED:.0f} s"
                )
            if (record["approval"] or {}).get("event") and not asked:
                passwords.append(proof.Passwords.read(self.stack))
                asked = self.stack.client.decide(rotation, decision).status in {200, 202}
            if self._left and time.monotonic() >= self._due:
                self._disturb(rotation)
            time.sleep(0.1)

    def _disturb(self, rotation: str) -> None:
        self._left -= 1
        if self._draw.random() < 0.5:
            self._kill()
        else:
            self._take_storage_away(rotation, self._draw.uniform(*AWAY))
        self._due = time.monotonic() + self._draw.uniform(*BETWEEN)

    def _kill(self) -> None:
        host = self.stack.components["host"]
        host.kill()
        host.start()
        self.figures.kills += 1

    def _take_storage_away(self, rotation: str, seconds: float) -> None:
        """Whoever asks for the rotation meanwhile is told that it cannot be looked up."""
        with self.stack.faults.without_storage():
            began = time.monotonic()
            while time.monotonic() < began + seconds:
                self._asked(rotation)
            self.figures.away += time.monotonic() - began
        self.figures.outages += 1

    def _asked(self, rotation: str) -> None:
        began = time.monotonic()
        answer = self.stack.client.api("GET", f"/rotations/{rotation}")
        took = time.monotonic() - began
        self.figures.unavailable += answer.status == 503
        self.figures.longest_answer = max(self.figures.longest_answer, took)
        if answer.status != 503 or took > TOLD_WITHIN:
            what = f"was answered {answer.status} in {took:.1f} s"
            self.figures.violated(f"{rotation}, asked for while the storage was away, {what}")
        time.sleep(0.2)

    def _judged(
        self,
        record: dict[str, Any],
        decision: str,
        before: Slot,
        passwords: list[proof.Passwords],
    ) -> None:
        rotation, outcome = record["rotation"], record["outcome"]
        if outcome != OUTCOMES[decision]:
            why = record["outcomeReason"]
            self.figures.violated(f"{rotation} ended as {outcome}, not {OUTCOMES[decision]}: {why}")
            return
        self.figures.approved += decision == "approve"
        self.figures.rejected += decision == "reject"
        serving = other(before) if decision == "approve" else before
        for check in proof.check(self.stack, record, serving, passwords):
            if not check.holds:
                self.figures.violated(f"{rotation}: not so: {check.what}")


def text(found: Figures) -> str:
    """The last lines: figures, then what was violated."""
    lines = [
        f"{found.seconds / 60:.1f} minutes on engine {found.engine}, seed {found.seed}",
        (
            f"{found.approved + found.rejected} rotations: {found.approved} approved, "
            f"{found.rejected} rejected; the longest took {found.longest_rotation:.0f} s"
        ),
        (
            f"{found.kills} hosts killed; the storage away {found.outages} times, "
            f"{found.away:.0f} s in all"
        ),
        f"{found.unavailable} times told that it was, within {found.longest_answer:.1f} s",
        f"{found.requests} requests, {found.failed} failed",
        *(f"violated: {what}" for what in found.violations),
    ]
    return "\n".join(lines) + "\n"


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    engines.add_option(parser)
    parser.add_argument("--minutes", type=float, default=25.0, help="default: 25")
    parser.add_argument("--seed", type=int, default=1, help="default: 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    given = arguments(argv)
    options = Options(replicas=1, watch_seconds=2, credential={"drain": "5s"}, engine=given.engine)
    with tempfile.TemporaryDirectory(prefix="rotation-") as directory:
        say("starting the local stack")
        try:
            with Stack(Path(directory), options) as stack:
                found = Soak(stack, given.seed).run(given.minutes)
        except KeyboardInterrupt:
            sys.stderr.write("interrupted; everything is being ended\n")
            return 130
        except (StartError, TimeoutError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
    sys.stdout.write(text(found))
    if given.json:
        given.json.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
    return 1 if found.violations or not found.approved + found.rejected else 0
