"""Rotations that are disturbed on purpose, and what is known of them afterwards."""

from __future__ import annotations

import os
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from local import engines, proof, world
from local.load import Load
from local.process import wait_until
from rotation.model.world import other
from tests.e2e.test_rotation import active, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.stack import Stack
    from rotation.model.world import Slot

FULL = os.environ.get("CHAOS") == "full"
SEED = int(os.environ.get("CHAOS_SEED", "1"))
SLACK = 8 * engines.slack(engines.selected()) if FULL else 3 * engines.slack(engines.selected())
patient = pytest.mark.timeout((900 if FULL else 180) + SLACK)

# Long enough to be looked at and cut, short enough for the whole to stay short.
SLOW = {"keyvault": 0.2, "cluster": 0.05}


def drawn(name: str) -> random.Random:
    """Another sequence for each name; the same in each run, unless CHAOS_SEED says otherwise."""
    return random.Random(f"{SEED} {name}")  # noqa: S311 - repeatable, not secret


@dataclass
class Clients:
    """The workloads' clients. `excused` counts what failed while their database was down."""

    load: Load
    urls: list[str]
    excused: int = 0
    _failed_before: int = field(default=0)

    def failed(self) -> int:
        return self.load.report().failed - self.excused

    @contextmanager
    def without_database(self) -> Iterator[None]:
        """Until the workloads answer again, nothing is asked of them."""
        before = self.load.report().failed
        yield
        wait_until(lambda: all(map(serves, self.urls)), 60, "the workloads serving again")
        self.excused += self.load.report().failed - before


def serves(url: str) -> bool:
    """Several times in a row: more than one pooled connection has to be good again."""
    try:
        answers = [urllib3.request("GET", f"{url}/orders", retries=False) for _ in range(10)]
    except urllib3.exceptions.HTTPError:
        return False
    return all(answer.status == 200 for answer in answers)


@contextmanager
def clients(stack: Stack, rate: float = 40.0) -> Iterator[Clients]:
    """Load on the production Services, half of it over kept connections."""
    urls = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
    # An odd number: with an even one each worker would keep to one of the two, and leave its
    # connection to the other idle for longer than a server that ends may wait.
    with Load(urls, workers=7, rate=rate) as load:
        yield Clients(load, urls)


@dataclass
class Story:
    """A rotation under way. `hit` names the steps during which something was broken."""

    stack: Stack
    decision: str
    before: Slot
    rotation: str
    passwords: list[proof.Passwords]
    hit: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, stack: Stack, decision: str) -> Story:
        before = active(stack)
        passwords = [proof.Passwords.read(stack)]
        return cls(stack, decision, before, started(stack), passwords)

    def run(self, disturb: Callable[[dict[str, Any]], None], seconds: float = 150) -> Any:
        """Looks at the record again and again, decides when asked; the record of the end."""
        deadline = time.monotonic() + seconds + SLACK / 2
        while True:
            record = self.stack.client.rotation(self.rotation)
            if record["outcome"] is not None:
                return record
            if time.monotonic() > deadline:
                raise TimeoutError(f"still at {record['stage']}: {record['steps'][-1]}")
            disturb(record)
            if (record["approval"] or {}).get("event") and record["decision"] is None:
                self._decide()
            time.sleep(0.01)

    def _decide(self) -> None:
        self.passwords.append(proof.Passwords.read(self.stack))
        assert self.stack.client.decide(self.rotation, self.decision).status in {200, 202}

    def prove(self, record: dict[str, Any]) -> None:
        """The world is as the outcome says, whatever was broken on the way."""
        assert record["outcome"] in {"completed", "rolled-back", "aborted"}, record["outcomeReason"]
        serving = other(self.before) if record["outcome"] == "completed" else self.before
        checks = proof.check(self.stack, record, serving, self.passwords)
        assert [check.what for check in checks if not check.holds] == []


def running(record: dict[str, Any]) -> tuple[int, str] | None:
    """Number and name of the step that is under way."""
    steps = record["steps"]
    if not steps or steps[-1]["until"] is not None:
        return None
    return len(steps) - 1, steps[-1]["step"]


def slow(stack: Stack) -> None:
    """Every request to the vault and the API takes a while, so that a step can be met half way."""
    for name, seconds in SLOW.items():
        stack.faults.admin(name, "DELETE", "/local/faults")
        stack.faults.order(name, times=100_000, delay=seconds)
