"""One rotation with one fault, for every place where it can strike and every way in which it can.

The second half then rotates once more, from what the first one left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any, cast, get_args

from rotation.model.record import Choice
from tests.simulation import scenario
from tests.simulation.faults import PASSING, Fault, Scripted
from tests.simulation.others import Others
from tests.simulation.passing import SAID, Spell
from tests.simulation.run import Run, surrounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotation.model.record import Cut
    from rotation.model.world import TemplatePolicy
    from tests.simulation.faults import Call, Fate, Kind
    from tests.simulation.passing import Passing

KINDS: tuple[Kind, ...] = (
    "unavailable",
    "lost",
    "denied",
    "unexpected",
    "cut-before",
    "cut-after",
    "crash-before",
    "crash-after",
    "duplicate",
)
COMMIT_KINDS: tuple[Fate, ...] = ("before", "after")
CHOICES: tuple[Choice, ...] = get_args(Choice)
SINGLE = "drains a single pod"
# What others do right before a call, and how a rotation may end for that.
DEEDS: dict[str, tuple[Callable[[Others], None], frozenset[str]]] = {
    "drains": (Others.drains, frozenset()),
    SINGLE: (Others.drains, frozenset()),
    "grows": (Others.grows, frozenset()),
    "releases": (Others.releases, frozenset()),
    "configures": (Others.configures, frozenset({"rolled-back", "refused"})),
    "syncs": (Others.configures, frozenset()),
    "rewrites": (Others.rewrites, frozenset()),
    "loses": (Others.loses, frozenset({"rolled-back"})),
    "exhausts": (Others.exhausts, frozenset({"aborted", "rolled-back"})),
    "outgrows": (Others.outgrows, frozenset({"aborted", "rolled-back"})),
    "deletes the vault": (
        Others.deletes_the_vault,
        frozenset({"aborted", "rolled-back", "needs-attention", "refused"}),
    ),
    "leads to what serves": (
        Others.leads_to_what_serves,
        frozenset({"aborted", "rolled-back", "needs-attention", "refused"}),
    ),
    "moves": (Others.moves, frozenset({"aborted", "rolled-back", "needs-attention", "refused"})),
}
ENDS: dict[Choice, str] = {"approve": "completed", "reject": "rolled-back"}


# Kinds of workloads that a rotation may have one of, by the arguments of `scenario.plain`.
BESIDE = {
    "uncalled": "a worker",
    "jobs": "a test that is a Job",
    "in_place": "one in place",
    "scheduled": "CronJobs",
}
# When an incident is called, in words: at once, beside an event, or while a decision is waited for.
LEAKS = {
    "first": "an incident that cuts first",
    "after": "an incident that cuts afterwards",
    "first, of what waits": "an incident that cuts first what waits for a decision",
    "after, of what waits": "an incident that cuts afterwards what waits for a decision",
    "first, in place": "an incident that cuts first, with one in place",
}


@dataclass(frozen=True)
class Case:
    """One fault at one place: `number` of the call, or of the commit for `before` and `after`.

    `kind` is a fault's, one of `DEEDS`, or one of what passes.
    """

    answer: Choice
    number: int
    kind: str
    beside: str = ""  # one of BESIDE, or of LEAKS

    def __str__(self) -> str:
        what = "commit" if self.kind in COMMIT_KINDS else "call"
        more = f", with {(BESIDE | LEAKS)[self.beside]}" if self.beside else ""
        return f"{self.kind} at {what} {self.number} of a rotation to {self.answer}{more}"

    @property
    def plan(self) -> Scripted:
        if self.kind == SINGLE:
            # What begins after the call begins later, and has to see what was done before it.
            return Scripted(calls={self.number: Fault("slow", after=1.0)})
        if self.kind in DEEDS:
            return Scripted()
        if self.kind in SAID:
            said = cast("Passing", self.kind)
            return Scripted(spells=[Spell(said, self.number, SAID[said].seconds)])
        if self.kind in COMMIT_KINDS:
            return Scripted(commits={self.number: self.kind})
        kind = cast("Kind", self.kind)
        return Scripted(calls={self.number: Fault(kind, lasts=kind == "denied")})


def calls() -> Iterator[Case]:
    """A case for each call of an edge and each way in which it can fail."""
    for answer in CHOICES:
        for call in met(answer):
            yield from (Case(answer, call.number, kind) for kind in KINDS)


def passing() -> Iterator[Case]:
    """A case for each call that a server may answer with what passes, and each such answer."""
    for answer in CHOICES:
        for call in met(answer):
            yield from (
                Case(answer, call.number, kind) for kind in PASSING if SAID[kind].meets(call)
            )


def commits() -> Iterator[Case]:
    """The host dies right before and right after every commit of the journal."""
    for answer in CHOICES:
        _, count = lengths(answer)
        for number in range(1, count + 1):
            yield from (Case(answer, number, kind) for kind in COMMIT_KINDS)


def others() -> Iterator[Case]:
    """The calls and commits of rotations of other kinds of workloads."""
    for beside in BESIDE:
        yield from with_one(beside)


def leaks() -> Iterator[Case]:
    """The calls and commits of incidents, and of the rotations that make way for them."""
    for leak in LEAKS:
        yield from with_one(leak)


def with_one(beside: str) -> Iterator[Case]:
    """The calls and commits of a rotation in which one workload is of this kind, or of an incident,
    which its second person confirms."""
    for answer in CHOICES[:1] if beside in LEAKS else CHOICES:
        _, stored = lengths(answer, beside)
        for call in met(answer, beside):
            yield from (Case(answer, call.number, kind, beside) for kind in KINDS)
        for number in range(1, stored + 1):
            yield from (Case(answer, number, kind, beside) for kind in COMMIT_KINDS)


def deeds() -> Iterator[Case]:
    """A case for each deed of others right before each call of an edge."""
    for answer in CHOICES:
        for call in met(answer):
            yield from (Case(answer, call.number, kind) for kind in DEEDS)


@cache
def lengths(answer: Choice, beside: str = "") -> tuple[int, int]:
    """How many calls and commits a rotation without a fault has."""
    run = _run(Scripted(), answer, beside=beside)
    with surrounded(run.machine.checker):
        run.first(confused=False)
    assert set(run.outcomes()) <= _ends(answer, beside)
    return run.machine.calls.number, run.machine.journal.commits


@cache
def met(answer: Choice, beside: str = "") -> tuple[Call, ...]:
    """The calls of a rotation without a fault; of the questions for rights, which a plan asks at
    once and treats alike, the first two."""
    plan = Scripted()
    run = _run(plan, answer, beside=beside)
    with surrounded(run.machine.checker):
        run.first(confused=False)
    rights = [call for call in plan.seen if call.verb.startswith("may ")]
    return tuple(call for call in plan.seen if call not in rights[2:])


def after_the_plan(calls: int) -> int:
    """The number of the call that so many others precede since a plan has looked at the server."""
    return calls + next(call.number for call in met("approve") if call.verb.startswith("standing"))


def problems(case: Case, *, again: bool = False) -> list[str]:
    """What is wrong with how the case ends; empty if nothing is. `again`: with a second half."""
    template: TemplatePolicy = "sync" if case.kind == "syncs" else "refuse"
    run = _run(
        case.plan,
        case.answer,
        single=case.kind == SINGLE,
        beside=case.beside,
        template=template,
    )
    checker = run.machine.checker
    if case.kind in DEEDS:
        deed, _ = DEEDS[case.kind]
        run.machine.calls.at[case.number] = lambda: run.others.do(deed)
    with surrounded(checker):
        run.first(confused=False)
        outcomes = run.outcomes()
        if again and not checker.violations:
            run.people.answer = "approve"
            run.second()
    found = [str(violation) for violation in checker.violations]
    # Without a vault at all, what an event announces cannot even be looked at.
    begun = bool(outcomes) or case.kind == "deletes the vault"
    if not begun or not set(outcomes) <= _allowed(case):
        reasons = [str(run.status(key).get("outcomeReason")) for key in run.machine.credentials]
        found.append(f"ends as {outcomes}: {reasons}")
    if case.kind == "deletes the vault":
        found += _left_behind(run)
    return [f"{case}: {problem}" for problem in found]


def _left_behind(run: Run) -> list[str]:
    """What is wrong once there is no vault: nobody approved, and traffic is not where it was; or
    something was retired without the proof that only the vault's value gives."""
    world, found = run.machine.world, []
    for rotation in run.machine.credentials:
        status = run.status(rotation)
        active, decision = status.get("active"), status.get("decision") or {}
        if active is None or decision.get("decision") == "approve":
            continue
        for _, _, workload in world.workloads():
            cluster = world.clusters[workload.cluster]
            service = cluster.service(workload.production)
            if service is None or service.slot != active:
                found.append(f"{workload.name} was not brought back to {active}")
            deployment = cluster.find(workload.deployment(active))
            if deployment is None or not deployment.pods:
                found.append(f"{active} of {workload.name} was taken down")
    return found


def _allowed(case: Case) -> set[str]:
    """A refusal stops what has not been swapped yet; so does who moves traffic. Nothing else. After
    a cut there is no way back: it is said that it needs attention."""
    ends = _ends(case.answer, case.beside)
    if case.kind in DEEDS:
        return {*ends, *DEEDS[case.kind][1]}
    if case.kind == "denied":
        cut = {"needs-attention"} if case.beside in LEAKS else set[str]()
        return {*ends, "aborted", "rolled-back", "refused", *cut}
    return ends


def _ends(answer: Choice, beside: str) -> set[str]:
    """How a rotation may end without a fault. What makes way may have begun already, or be about
    to begin."""
    return {ENDS[answer], *(("superseded", "skipped") if beside in LEAKS else ())}


def _run(
    plan: Scripted,
    answer: Choice,
    *,
    single: bool = False,
    beside: str = "",
    template: TemplatePolicy = "refuse",
) -> Run:
    """`single`: each slot has one pod that ends at once, and routes follow at once. `beside`: what
    one of the workloads is."""
    rng = Random(0)  # noqa: S311 - a seed that replays
    leak = beside if beside in LEAKS else ""
    in_place = leak.endswith("in place")
    more: dict[str, Any] = (
        {"leaks": True, "in_place": in_place} if leak else {beside: True} if beside else {}
    )
    drawn = scenario.plain(template=template, **more)
    if single:
        drawn = replace(drawn, replicas=1, times=replace(drawn.times, routes=0.0, grace=0.0))
    run = Run(drawn, rng, plan, story=False)
    run.people.busy, run.people.answer = False, answer
    cut: Cut = "first" if leak.startswith("first") else "after"
    if leak.endswith("of what waits"):
        run.people.leaks = cut
    elif leak:
        run.people.call("orders", cut, None, 0.0)
    return run
