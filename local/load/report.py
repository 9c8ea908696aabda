"""What a load has seen so far."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

KEPT_FAILURES = 20
STEP = 1.02  # each latency bucket is 2 % wider than the one before: memory does not grow with time
UNNAMED = "unnamed"


@dataclass(frozen=True)
class Failure:
    """`kind` is one of refused, reset, closed, timeout, malformed, network, or `http <status>`."""

    time: str
    client: str
    method: str
    url: str
    kind: str
    detail: str


@dataclass(frozen=True)
class Report:
    """Times in seconds, latencies in milliseconds. `failed_by` counts the failed requests of each
    kind of client, `told` the kept connections of each that an answer ended. `roles` counts the
    answers of each URL by the database role that they name. `longest_gap` is the longest time
    without a good answer, of the URL that had to wait longest. `failures` are the first twenty."""

    seconds: float
    requests: int
    failed: int
    clients: dict[str, int]
    failed_by: dict[str, int]
    told: dict[str, int]
    kinds: dict[str, int]
    roles: dict[str, dict[str, int]]
    latency: dict[str, float]
    longest_gap: float
    failures: list[Failure]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Recorder:
    """Filled by any number of threads."""

    def __init__(self, urls: list[str]) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._ended: float | None = None
        self._clients: Counter[str] = Counter()
        self._failed_by: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._roles: dict[str, Counter[str]] = {url: Counter() for url in urls}
        self._buckets: Counter[int] = Counter()
        self._slowest = 0.0
        self._last_good = dict.fromkeys(urls, self._began)
        self._longest_gap = 0.0
        self._failures: list[Failure] = []

    def good(self, client: str, url: str, role: str | None, seconds: float) -> None:
        now = time.monotonic()
        with self._lock:
            self._clients[client] += 1
            self._roles[url][role or UNNAMED] += 1
            self._buckets[_bucket(seconds)] += 1
            self._slowest = max(self._slowest, seconds)
            self._longest_gap = max(self._longest_gap, now - self._last_good[url])
            self._last_good[url] = now

    def bad(self, client: str, method: str, url: str, kind: str, detail: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            self._clients[client] += 1
            self._failed_by[client] += 1
            self._kinds[kind] += 1
            if len(self._failures) < KEPT_FAILURES:
                self._failures.append(Failure(now, client, method, url, kind, detail))

    def told(self, client: str) -> None:
        """An answer said that its kept connection ends with it."""
        with self._lock:
            self._told[client] += 1

    def end(self) -> None:
        self._ended = time.monotonic()

    def report(self) -> Report:
        with self._lock:
            until = self._ended or time.monotonic()
            waiting = [until - last for last in self._last_good.values()]
            return Report(
                seconds=round(until - self._began, 3),
                requests=self._clients.total(),
                failed=self._kinds.total(),
                clients=dict(self._clients),
                failed_by=dict(self._failed_by),
                told=dict(self._told),
                kinds=dict(self._kinds),
                roles={url: dict(roles) for url, roles in self._roles.items()},
                latency=self._latency(),
                longest_gap=round(max(self._longest_gap, *waiting), 3),
                failures=list(self._failures),
            )

    def _latency(self) -> dict[str, float]:
        found = {name: self._percentile(share) for name, share in PERCENTILES.items()}
        return {**found, "max": round(1000 * self._slowest, 1)}

    def _percentile(self, share: float) -> float:
        """Upper edge of the bucket that the percentile falls into: at most 2 % too high."""
        rank = math.ceil(share * self._buckets.total())
        seen = 0
        for bucket, count in sorted(self._buckets.items()):
            seen += count
            if seen >= rank:
                return round(1000 * min(STEP**bucket, self._slowest), 1)
        return 0.0


PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}


def _bucket(seconds: float) -> int:
    return math.ceil(math.log(max(seconds, 1e-6), STEP))
