"""Whole rotations of an application under two kinds of clients that keep their connections."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.rotating import RotationFailed, start, waits_or_ended
from local.load import Load
from local.load.generator import KEEP_ALIVE, POOLED

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from bench.frameworks.catalogue import Framework, Shape
    from bench.frameworks.site import Site

CLIENTS = 8  # of each kind
PATIENCE = 240.0  # seconds for a part of a rotation
KINDS = (KEEP_ALIVE, POOLED)


@dataclass(frozen=True)
class Pace:
    """Rotations that are approved, and that are rejected, of each application; requests a second of
    each client; seconds of load before the first and after each."""

    approved: int = 3
    rejected: int = 1
    rate: float = 20.0
    margin: float = 1.0


@dataclass
class Found:
    """Failed requests by kind of client: after each approval, after each rejection, and at any
    other time; `kinds` says how they failed."""

    framework: str
    application: str
    shape: str
    title: str
    lame_duck: bool
    approved: list[dict[str, int]] = field(default_factory=list)
    rejected: list[dict[str, int]] = field(default_factory=list)
    elsewhere: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    strangers: list[str] = field(default_factory=list)  # sessions shown as somebody else's


class Clients:
    """Eight `http.client`s that never look at a connection that they kept, and eight pools of
    urllib3 with a connection each, which do, without repeats. None shares one with another."""

    def __init__(self, url: str, rate: float) -> None:
        pool = {"workers": 1, "fresh": 0, "pooled": 1, "rate": rate}
        self._loads = [Load([url], workers=CLIENTS, fresh=0, rate=CLIENTS * rate)]
        self._loads += [Load([url], **pool) for _ in range(CLIENTS)]  # type: ignore[arg-type]
        self._seen = Counter[str]()

    def __enter__(self) -> Self:
        for load in self._loads:
            load.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, where: TracebackType | None
    ) -> None:
        for load in self._loads:
            load.__exit__()

    def failed(self) -> dict[str, int]:
        """The requests that failed since this was asked before, by kind of client."""
        so_far = Counter[str]()
        for load in self._loads:
            so_far.update(load.report().failed_by)
        new = {kind: so_far[kind] - self._seen[kind] for kind in KINDS}
        self._seen = so_far
        return new

    def requests(self) -> int:
        return sum(load.report().requests for load in self._loads)

    def kinds(self) -> dict[str, int]:
        return dict(sum((Counter(load.report().kinds) for load in self._loads), Counter[str]()))


def measure(site: Site, framework: Framework, shape: Shape, pace: Pace) -> Found:
    """Raises `RotationFailed` for a rotation that ends otherwise than was decided."""
    site.install(framework, shape)
    names = (framework.name, framework.title, shape.name, shape.title)
    found = Found(*names, lame_duck=shape.lame_duck)
    elsewhere = Counter[str]()
    with Clients(site.url, pace.rate) as clients:
        time.sleep(pace.margin)
        for decision in ["approve"] * pace.approved + ["reject"] * pace.rejected:
            before, after = _rotate(site, clients, decision, found, pace.margin)
            elsewhere.update(before)
            (found.approved if decision == "approve" else found.rejected).append(after)
        elsewhere.update(clients.failed())
    found.elsewhere = {kind: elsewhere[kind] for kind in KINDS}
    found.requests, found.kinds = clients.requests(), clients.kinds()
    return found


def _rotate(
    site: Site, clients: Clients, decision: str, found: Found, margin: float
) -> tuple[dict[str, int], dict[str, int]]:
    """Rotates once; what failed until the decision, and what failed from there on."""
    client = site.stack.client
    rotation = start(site.stack)
    record = client.follow(rotation, waits_or_ended, timeout=PATIENCE)
    before = clients.failed()
    if record["outcome"] is None:
        evidence = client.api("GET", f"/rotations/{rotation}/evidence").json
        found.strangers += [str(session) for session in evidence["stillInUse"]]
        client.decide(rotation, decision)
        record = client.follow(rotation, lambda found: found["outcome"], timeout=PATIENCE)
    expected = {"approve": "completed", "reject": "rolled-back"}[decision]
    if record["outcome"] != expected:
        raise RotationFailed(f"{rotation}: {record['outcome']}: {record['outcomeReason']}")
    site.settled()
    time.sleep(margin)  # every client comes by once more
    return before, clients.failed()


def broken(found: Found) -> list[str]:
    """What docs/guarantees.md promises and this did not keep, a sentence each."""
    who = f"{found.application}, {found.title}"
    problems: list[str] = []
    if not found.requests:
        problems.append(f"{who}: no request was made")
    if any(found.elsewhere.values()):
        problems.append(f"{who}: requests failed without a decision: {found.elsewhere}")
    if found.strangers:
        problems.append(f"{who}: its own sessions are shown as others': {found.strangers}")
    # Whichever slot gets SIGTERM loses at most a request for each connection to it.
    bound = 0 if found.lame_duck else CLIENTS
    for name, failed in (("an approval", found.approved), ("a rejection", found.rejected)):
        problems += [
            f"{who}: over {bound} requests of a kind of client failed after {name}: {each}"
            for each in failed
            if max(each.values()) > bound
        ]
    return problems
