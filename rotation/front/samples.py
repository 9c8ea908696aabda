"""What was last found of each credential, so that lists of many are quick.

A timer looks at each world, a few at a time; whoever asks for a fresh look adds to it. A sample is
kept in the app's own storage, one file for each credential, and in this process where that cannot
be. It is no longer shown once a rotation has moved on since, or once it is old: the credential is
looked at then. Nothing is decided by a sample: a plan looks itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar, get_args
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from rotation import log
from rotation.front import rotations
from rotation.front.credentials import SeenCredential, look, with_due
from rotation.model import wire
from rotation.model.errors import RotationError, Unavailable
from rotation.model.findings import Severity
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.contracts.edges import Readers
    from rotation.contracts.store import Kept, Store
    from rotation.front.rotations import Lately
    from rotation.model.findings import Finding

AT_ONCE = 8  # credentials that somebody waits for
BY_TIMER = 4  # credentials that nobody waits for
THREADS = ThreadPoolExecutor(AT_ONCE + BY_TIMER, thread_name_prefix="sample")
BUDGET = 240.0  # seconds that a timer's look at all may take: the next one goes on with the oldest
OLDEST = timedelta(hours=1)  # a timer that does not run is noticed by then
CLOCKS = timedelta(seconds=30)  # the task hub's clock and ours may differ
# Each process remembers what it saw, by the edges that it asked.
_SEEN: WeakKeyDictionary[Readers, dict[str, SeenCredential]] = WeakKeyDictionary()
_LOCK = threading.Lock()
STORE_SECONDS = 5.0  # that a sample waits for the store
LEFT_ALONE = timedelta(minutes=1)  # a store that did not answer
_AWAY: WeakKeyDictionary[Readers, datetime] = WeakKeyDictionary()  # until when

# What was found as lately counts as now; a look at a world that is slow is waited for as long.
JUST_NOW = timedelta(seconds=15)
NOW_SECONDS = 6.0
RECENT = timedelta(minutes=10)  # what this process remembers is as good as what is kept
_LOOKING: WeakKeyDictionary[Readers, dict[str, Future[SeenCredential]]] = WeakKeyDictionary()

P = ParamSpec("P")
T = TypeVar("T")


async def _aside(call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """What a call returns, on a thread of samples' own: slow servers keep nobody from the few
    threads that answers to events and pages need."""
    return await asyncio.get_running_loop().run_in_executor(THREADS, partial(call, *given, **named))


async def listed(
    edges: Readers, client: Client, names: Iterable[str], *, fresh: bool = False
) -> list[SeenCredential]:
    """What each of the credentials looked like lately; `fresh`: what it looks like now."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one_of_them(name: str) -> SeenCredential:
        async with free:
            return await one(edges, client, name, fresh=fresh)

    return list(await asyncio.gather(*(one_of_them(name) for name in names)))


async def one(edges: Readers, client: Client, name: str, *, fresh: bool = False) -> SeenCredential:
    """What one credential looked like lately, with the rotation that is under way now."""
    lately = await rotations.lately(client, name)
    if not fresh:
        kept = await _aside(read, edges, name)
        if kept is not None and _counts(edges, kept, lately):
            return with_due(edges, replace(kept, rotation=lately.rotation))
    return with_due(edges, await anew(edges, name, lately))


async def anew(edges: Readers, name: str, lately: Lately) -> SeenCredential:
    """What a credential looks like now, which is kept."""
    seen = await _aside(look, edges, name, lately.rotation)
    await _aside(keep, edges, seen)
    return seen


@dataclass(frozen=True)
class Glance:
    """What a credential looks like now; where that could not be seen, `problem` says why, and
    `seen` is what is known of it since its last rotation, if anything is."""

    seen: SeenCredential | None
    problem: str | None = None


async def now(edges: Readers, client: Client, name: str, seconds: float = NOW_SECONDS) -> Glance:
    """What one credential looks like now, within seconds: for a page that must not wait for it.

    A look that takes longer goes on, and who asks again shares it.
    """
    try:
        lately = await rotations.lately(client, name)
    except RotationError as error:
        return Glance(None, error.message)
    kept = await _aside(read, edges, name)
    if kept is not None and not _counts(edges, kept, lately):
        kept = None
    if kept is not None and edges.now() - wire.instant(kept.at) <= JUST_NOW:
        return Glance(kept)
    look_ = asyncio.shield(asyncio.wrap_future(_looking(edges, name, lately.rotation)))
    try:
        return Glance(await asyncio.wait_for(look_, seconds))
    except TimeoutError:
        text = f"the look took more than {seconds:g} s; it goes on: reload this page in a moment"
        return Glance(kept, text)
    except RotationError as error:
        return Glance(kept, error.message)


def _looking(edges: Readers, name: str, rotation: str | None) -> Future[SeenCredential]:
    """The look at a credential that is under way for somebody else, or else a new one."""

    def look_and_keep() -> SeenCredential:
        seen = look(edges, name, rotation)
        keep(edges, seen)
        return seen

    with _LOCK:
        under_way = _LOOKING.setdefault(edges, {})
        if name not in under_way or under_way[name].done():
            under_way[name] = THREADS.submit(look_and_keep)
        return under_way[name]


def _counts(edges: Readers, kept: SeenCredential, lately: Lately) -> bool:
    """Whether a sample still says how it is, as far as is known."""
    at = wire.instant(kept.at)
    if edges.now() - at > OLDEST:
        return False
    return lately.changed is None or lately.changed + CLOCKS < at


# What is kept


def read(edges: Readers, name: str) -> SeenCredential | None:
    """The sample of a credential; None if there is none that this release can read."""
    try:
        kept = _asked(edges, lambda store: _read(store, name))
    except RotationError:
        kept = None  # told when it is written
    return _newer(kept[0] if kept else None, _remembered(edges).get(name))


async def known(edges: Readers, names: Sequence[str]) -> list[SeenCredential | None]:
    """What was last found of each, without a look; None for what is old or not known in time."""
    return await _aside(_known, edges, names) if names else []


def _known(edges: Readers, names: Sequence[str]) -> list[SeenCredential | None]:
    oldest, memory = edges.now() - OLDEST, _remembered(edges)
    with _LOCK:
        found = {name: memory[name] for name in names if name in memory}
    asked = [name for name in names if not _since(found.get(name), edges.now() - RECENT)]
    for name, kept in zip(asked, _kept(edges, asked), strict=True):
        newest = _newer(kept, found.get(name))
        if newest is not None:
            found[name] = newest
    with _LOCK:
        memory.update({name: found[name] for name in asked if name in found})
    lately = [seen for name in names if _since(seen := found.get(name), oldest) and seen]
    dated = {seen.credential: with_due(edges, seen) for seen in lately}
    return [dated.get(name) for name in names]


def _since(seen: SeenCredential | None, moment: datetime) -> bool:
    return seen is not None and wire.instant(seen.at) >= moment


def _kept(edges: Readers, names: Sequence[str]) -> list[SeenCredential | None]:
    """The samples that are kept of many credentials; None for each that is not read in time."""

    def reading(store: Store, name: str) -> Callable[[], SeenCredential | None]:
        return lambda: (_read(store, name) or (None,))[0]

    with _LOCK:
        until = _AWAY.get(edges)
    if not names or (until is not None and edges.now() < until):
        return [None] * len(names)
    try:
        store = edges.store("notes")
        return edges.side_by_side([reading(store, name) for name in names], STORE_SECONDS)
    except RotationError:
        return [None] * len(names)  # told when one is written


def keep(edges: Readers, seen: SeenCredential) -> RotationError | None:
    """Keeps a sample, unless there is a newer one, and tells what changed since the one before.

    Returns why it could be kept in this process only; None if it was.
    """
    name, memory, failure = seen.credential, _remembered(edges), None
    with _LOCK:
        before = memory.get(name)
        won = _newer(seen, before) is seen
        memory[name] = seen if won or before is None else before
    try:
        kept, won = _asked(edges, lambda store: _replaced(store, seen))
    except RotationError as error:
        kept, failure = None, error
    if won:
        _tell(seen, _newer(kept, before))
    return failure


def _asked(edges: Readers, ask: Callable[[Store], T]) -> T:
    """What the store answers within seconds. Raises what it raises, and `Unavailable` where it does
    not; and that once more for a while without asking: many are listed at once."""
    with _LOCK:
        until = _AWAY.get(edges)
    if until is not None and edges.now() < until:
        raise Unavailable(Code.STORAGE_UNAVAILABLE, "the app's storage was away a moment ago")
    store = edges.store("notes")
    try:
        return _in_time(edges, lambda: ask(store))
    except Unavailable:
        with _LOCK:
            _AWAY[edges] = edges.now() + LEFT_ALONE
        raise


def _in_time(edges: Readers, ask: Callable[[], T]) -> T:
    (answer,) = edges.side_by_side([lambda: (ask(),)], STORE_SECONDS)
    if answer is None:
        text = f"the app's storage did not answer within {STORE_SECONDS:g} s"
        raise Unavailable(Code.STORAGE_UNAVAILABLE, text)
    return answer[0]


def _path(name: str) -> str:
    return f"samples/{name}.json"


def _read(store: Store, name: str) -> tuple[SeenCredential | None, Kept] | None:
    """The sample that is kept, None if it cannot be read, and what it was read from."""
    kept = store.read(_path(name))
    if kept is None:
        return None
    try:
        return wire.read(SeenCredential, json.loads(kept.content)), kept
    except (ValueError, RecursionError):
        return None, kept  # another release's, or nobody's


def _replaced(store: Store, seen: SeenCredential) -> tuple[SeenCredential | None, bool]:
    """The sample of before, and whether this one took its place; not if somebody was first."""
    content = json.dumps(wire.value_of(seen)).encode()
    found = _read(store, seen.credential)
    if found is None:
        return None, store.create(_path(seen.credential), content)
    before, kept = found
    if before is not None and before.at > seen.at:
        return before, False
    return before, store.replace(_path(seen.credential), content, kept.tag)


def _remembered(edges: Readers) -> dict[str, SeenCredential]:
    with _LOCK:
        return _SEEN.setdefault(edges, {})


def _newer(one: SeenCredential | None, other: SeenCredential | None) -> SeenCredential | None:
    if one is None or other is None:
        return one or other
    return one if one.at >= other.at else other


# What is told


def _tell(seen: SeenCredential, before: SeenCredential | None) -> None:
    """Sets the metrics, and logs what appeared and what is gone since the sample before."""
    numbers = Counter(finding.severity for finding in seen.findings)
    for severity in get_args(Severity):
        labels = {"credential": seen.credential, "severity": severity}
        log.FINDINGS.set(numbers[severity], labels)
    now, then = _by_key(seen), _by_key(before)
    for key in now.keys() - then.keys():
        _log("appeared", seen.credential, now[key])
    for key in then.keys() - now.keys():
        _log("gone", seen.credential, then[key])


def _by_key(seen: SeenCredential | None) -> dict[tuple[str, str, str], Finding]:
    """Findings by what makes them the same. Numbers of pods come and go in a text."""
    findings = seen.findings if seen else ()
    return {(one.severity, one.code, one.object): one for one in findings}


def _log(change: str, credential: str, finding: Finding) -> None:
    late = finding.code == Code.EXPIRES_BEFORE_WINDOW
    bad = change == "appeared" and (finding.severity in {"refuses", "waits"} or late)
    log.event(
        "credential.finding",
        level=logging.WARNING if bad else logging.INFO,
        credential=credential,
        change=change,
        severity=finding.severity,
        codes=[finding.code],
        object=finding.object,
        reason=finding.text,
        command=finding.command,
    )


async def sample_all(edges: Readers, client: Client) -> None:
    """Looks at each credential, the one that was longest not looked at first, and keeps what it
    finds. One whose rotations cannot be looked up keeps no other waiting."""
    names = sorted(edges.configuration.credentials)
    kept = [await _aside(read, edges, name) for name in names]
    ages = {name: seen.at if seen else "" for name, seen in zip(names, kept, strict=True)}
    begun, free = edges.now(), asyncio.Semaphore(BY_TIMER)
    looked: list[SeenCredential] = []
    unkept: set[str] = set()

    async def sample(name: str) -> None:
        async with free:
            if (edges.now() - begun).total_seconds() > BUDGET:
                return
            try:
                lately = await rotations.lately(client, name)
                seen = await _aside(look, edges, name, lately.rotation)
            except RotationError as error:
                unkept.add(error.code)
                return
            failure = await _aside(keep, edges, seen)
            unkept.update([failure.code] if failure else [])
            looked.append(seen)

    await asyncio.gather(*(sample(name) for name in sorted(names, key=lambda name: ages[name])))
    severities = Counter(
        severity for seen in looked for severity in {one.severity for one in seen.findings}
    )
    # On quiet runs too: that it is missing says that the timer does not run.
    log.event(
        "sample.done",
        credentials=len(names),
        looked=len(looked),
        **{severity: severities[severity] for severity in get_args(Severity)},
        codes=sorted(unkept),
    )
