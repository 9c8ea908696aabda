"""Tests of a workload, and the evidence for a person who decides."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotation.decisions import in_place as decided
from rotation.decisions.proof import missing_sessions, wrong_login
from rotation.decisions.sessions import Origin, counted, networks
from rotation.decisions.templates import MOST
from rotation.model import wire
from rotation.model.commands import Thing, told
from rotation.model.errors import Denied, EdgeError, Invalid, Unavailable
from rotation.model.reasons import Code, Reason
from rotation.model.record import ConditionSeen, Evidence, SessionCount, Tally, TestResult
from rotation.model.words import few
from rotation.model.world import SLOTS, other
from rotation.steps import asking, conditions, cron_jobs, exchanging, jobs, ledger, strangers
from rotation.steps.asking import Tried, title
from rotation.steps.drift import drift

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import Credential, Workload
    from rotation.contracts.edges import Readers
    from rotation.model.activities import Through
    from rotation.model.record import KnownBy
    from rotation.model.world import Pod, Session, Slot
    from rotation.steps.running import Step


def test(step: Step) -> None:
    """Runs the workload's tests until all pass in one round, and its sessions prove the role.

    They need not pass at once, since routes take a moment to settle. Raises `Invalid` if they do
    not within one bounded watch. If all that failed were refused by the API server in between, or
    (before the swap, when no client waits, or of the database alone) got no answer, or had no time
    left for one, it raises what is tried again.
    """
    through = step.reference.through or "service"
    edges, until = step.edges, asking.until(step.edges)
    asked = asking.Round(edges, step.credential, step.workload, step.slot, through, until)
    give_up = edges.now().timestamp() + edges.settings.watch_seconds
    while True:
        tried = asking.tried(asked)
        if not step.workload.names_role and not (step.workload.in_place and through == "preview"):
            tried.append(_sessions_tried(edges, step.credential, step.workload, step.slot, through))
        failed = [one for one in tried if not one.result.passed]
        if not failed:
            return
        if edges.now().timestamp() >= give_up:
            told = "; ".join(f"{one.result.test}: {one.result.problem}" for one in failed)
            text = f"tests of the {step.slot} slot failed: {told}; {step.workload.logs(step.slot)}"
            errors = [one.error for one in failed]
            kind = _kind(errors)
            if through != "preview" and kind is Unavailable and any(map(_waits, failed)):
                kind = Invalid
            raise kind(_code(errors), text)
        edges.sleep(1)


def _waits(one: Tried) -> bool:
    """Whether clients wait as a test did that got no answer: it asked the slot, and had the time
    for it."""
    late = one.error is not None and one.error.code is Code.TEST_OVERDUE
    return not one.database and not late


def _kind(errors: list[EdgeError | None]) -> type[EdgeError]:
    """The kind of error for tests that failed: whether they may pass by themselves. None stands for
    an answer, which was a wrong one."""
    if all(error is not None and error.transient for error in errors):
        return Unavailable
    if all(error is not None and (error.transient or error.refused) for error in errors):
        return Denied
    return Invalid


def _code(errors: list[EdgeError | None]) -> Code:
    """The code for tests that failed: the one that they have in common, where none was answered, or
    else that of tests. Pods that were never asked are not where the cause is."""
    codes = {Code.TESTS_FAILED if error is None else error.code for error in errors}
    return codes.pop() if len(codes) == 1 else Code.TESTS_FAILED


def problems(edges: Readers, credential: Credential) -> Iterator[Reason]:
    """What keeps tests from being made at all, and is found without making them."""
    for workload in credential.workloads:
        for test in workload.tests:
            if test.certificate_authority is None:
                continue
            try:
                edges.trusts(test.certificate_authority)
            except Invalid as error:
                text = f"workload {workload.name}: test {title(test)}: {error.message}"
                yield told(error.code, text, Thing("workload", workload.name))


def in_use(edges: Readers, credential: Credential) -> Iterator[Reason]:
    """A reason for each workload in place whose pods use the login that is to be made anew: an
    earlier rotation could not be brought to its end."""
    for workload in credential.workloads:
        slot = exchanging.serving(edges, workload) if workload.in_place else None
        if slot is None:
            continue
        role = credential.slots[other(slot)].role
        clients = using(edges, credential, workload, slot, role)
        if clients:
            text = f"workload {workload.name}: role {role}, which would get another password, has"
            at = workload.deployment(slot)
            thing = Thing(at.kind, at.name, at.namespace)
            yield told(Code.LOGIN_IN_USE, f"{text} sessions from {clients}", thing)


def using(edges: Readers, credential: Credential, workload: Workload, slot: Slot, role: str) -> str:
    """The pods of a workload in place, or else addresses, that have sessions of a role, in one
    text; empty if there are none. `slot` is any of the two."""
    pods = edges.pods(workload.cluster).listed(workload.deployment(slot))
    seen = [one for one in sessions(edges, credential) if one.role == role]
    clients = decided.using(seen, origins(workload, {slot: pods}))
    at = {address: pod.name for pod in pods for address in pod.addresses}
    return few([at.get(client, client) for client in clients])


def evidence(step: Step) -> Evidence:
    before = ledger.Before(step.name, step.reference.swapped)
    seen = [one.seen for one in conditions.looked(*step.watched)]
    through = step.reference.through or "service"
    return collect(
        step.edges,
        step.credential,
        step.slot,
        step.rotation,
        before,
        through=through,
        watched=seen,
    )


def run_tests(
    edges: Readers,
    credential: Credential,
    workload: Workload,
    slot: Slot,
    through: Through,
    until: float | None = None,
) -> list[TestResult]:
    """The results of one round of a workload's tests, in the order of the file.

    It goes through the production Service, or the preview one, where only some reach the standby;
    while requests are shared, through the slot's own.
    It ends at the timestamp `until`, as all tests of a step do: one that begins now unless given.
    """
    ends = asking.until(edges) if until is None else until
    asked = asking.Round(edges, credential, workload, slot, through, ends)
    return [one.result for one in asking.tried(asked)]


SESSIONS = "database sessions"  # the name of the test that they are


def _sessions_tried(
    edges: Readers, credential: Credential, workload: Workload, slot: Slot, through: Through
) -> Tried:
    """What the sessions of the slot's pods prove, with the error where that may pass by itself."""
    try:
        looked = Look(workload, _pods(edges, workload), sessions(edges, credential))
    except EdgeError as error:
        return Tried(_by_sessions(error.reason, None), error, database=True)
    wrong, missing = looked.problems(credential, slot)
    # CronJobs run nothing before the swap, and perhaps not for long after it.
    waits = through == "preview" and not workload.cron_jobs
    if wrong is None and missing is not None and waits:
        late = Unavailable(Code.PROOF_MISSING, missing.text)
        return Tried(_by_sessions(missing, None), late, database=True)
    return Tried(looked.result(credential, slot), database=True)


def _by_sessions(problem: Reason | None, role: str | None) -> TestResult:
    return TestResult(
        test=SESSIONS,
        passed=problem is None,
        problem=problem.text if problem else None,
        attempts=1,
        role=role,
        code=problem.code if problem else None,
    )


def sessions(edges: Readers, credential: Credential) -> list[Session]:
    """The sessions of both slots' roles, on the server and on its read replicas."""
    roles = [credential.slots[each].role for each in SLOTS]
    servers = (edges.database(credential), *edges.replicas(credential))
    return [session for server in servers for session in server.sessions(roles)]


@dataclass(frozen=True)
class Look:
    """A workload's pods by slot, and the sessions of both roles, at one time."""

    workload: Workload
    pods: dict[Slot, list[Pod]]
    sessions: list[Session]

    @property
    def origins(self) -> list[Origin]:
        return origins(self.workload, self.pods)

    def problems(self, credential: Credential, slot: Slot) -> tuple[Reason | None, Reason | None]:
        """Why the slot's pods use another login, and what sessions they have not got of their
        own."""
        origins = [one for one in self.origins if one.slot in {None, slot}]
        replaced, role = credential.slots[other(slot)].role, credential.slots[slot].role
        pods = self.pods.get(slot, [])
        wrong = wrong_login(self.sessions, origins, pods, replaced)
        known = known_by(self.workload)
        return wrong, missing_sessions(self.sessions, origins, pods, role, known)

    def result(self, credential: Credential, slot: Slot) -> TestResult:
        """What sessions prove of a slot that serves. An idle pool may have closed its own."""
        wrong, missing = self.problems(credential, slot)
        return _by_sessions(wrong, credential.slots[slot].role if missing is None else None)


def collect(  # noqa: PLR0913 - all that it depends on
    edges: Readers,
    credential: Credential,
    slot: Slot,
    rotation: str,
    before: ledger.Before | None = None,
    *,
    through: Through = "service",
    watched: list[ConditionSeen] | None = None,
) -> Evidence:
    """The evidence of this moment for whether the slot that `slot` has replaced can be retired; or,
    `through` the preview, for whether traffic may move to it. `watched` are conditions as seen just
    now.

    Sessions are those of the server and of its read replicas. Jobs are not made anew: of them it is
    what the last ones of the rotation have found. Who used the replaced login `before` is what the
    usage ledger has.
    """
    problems: list[str] = []
    until, served = asking.until(edges), through != "preview"  # before the swap it does not yet
    tests: dict[str, list[TestResult]] = {}
    pods: dict[str, dict[Slot, list[str]]] = {}
    templates: dict[str, list[str]] = {}
    still: dict[str, list[str]] = {}
    sessions: list[Session] = []
    looks: list[Look] = []
    for workload in credential.workloads:
        seen: dict[Slot, list[Pod]] = {}
        with _noted(problems):
            results = run_tests(edges, credential, workload, slot, through, until)
            tests[workload.name] = results
        with _noted(problems):
            found = jobs.results(edges, workload, slot, rotation)
            tests[workload.name] = [*tests.get(workload.name, []), *found]
        with _noted(problems):
            seen = _pods(edges, workload)
            pods[workload.name] = {s: [pod.name for pod in seen[s]] for s in seen}
            strangers.refuse(edges, workload, other(slot))
        with _noted(problems):
            # Before the swap they run there as ever.
            running = cron_jobs.still_running(edges, workload, other(slot)) if served else []
            still |= {workload.name: running} if running else {}
        with _noted(problems):
            if not workload.in_place:  # it has one template, and nothing to compare it with
                templates[workload.name] = _templates(edges, credential, workload, slot)
        looks.append(Look(workload, seen, sessions))
    roles = [credential.slots[each].role for each in SLOTS]
    for server in (edges.database(credential), *edges.replicas(credential)):
        with _noted(problems):
            sessions += server.sessions(roles)
    for look in looks:
        # Before the swap the pods of a workload in place use the login that serves.
        if not look.workload.names_role and not (look.workload.in_place and not served):
            tests.setdefault(look.workload.name, []).append(look.result(credential, slot))
    rows = counted(sessions, [origin for look in looks for origin in look.origins])
    replaced = credential.slots[other(slot)].role
    return Evidence(
        at=wire.moment(edges.now()),
        complete=not problems,
        passed=all(result.passed for results in tests.values() for result in results),
        problems=problems,
        still_in_use=[row for row in rows if row.role == replaced and not _ends(row, slot)],
        tests=tests,
        pods=pods,
        sessions=rows,
        templates=templates,
        jobs=still,
        conditions=watched or [],
        usage=ledger.used(edges, credential, slot, before) if before else None,
        workloads=Tally.of({one.name: tests.get(one.name, []) for one in credential.workloads}),
    )


def _templates(edges: Readers, credential: Credential, workload: Workload, slot: Slot) -> list[str]:
    """The paths at which the pod template of the slot that is replaced is not the one's that
    serves, a few of them and then how many more there are."""
    if workload.cron_jobs:
        return list(cron_jobs.drift_paths(edges, credential, workload, slot))
    pods = edges.pods(workload.cluster)
    deployments = {each: pods.deployment(workload.deployment(each)) for each in SLOTS}
    paths = drift(credential, workload, slot, deployments).paths
    more = [f"and {len(paths) - MOST} more"] if len(paths) > MOST else []
    return [*paths[:MOST], *more]


def _ends(row: SessionCount, slot: Slot) -> bool:
    """Whether sessions end with the pods that the slot has replaced."""
    return row.workload is not None and row.slot != slot


@contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Adds an edge's error to the problems of the evidence, instead of hiding all other looks."""
    try:
        yield
    except EdgeError as error:
        problems.append(error.message)


def _pods(edges: Readers, workload: Workload) -> dict[Slot, list[Pod]]:
    """A workload's pods, by slot. Those of one in place are of the slot whose login its Secret
    holds, whatever their sessions say."""
    if workload.cron_jobs:
        return cron_jobs.pods(edges, workload)
    pods = edges.pods(workload.cluster)
    if workload.in_place:
        slot = exchanging.serving(edges, workload)
        return {slot: pods.listed(workload.deployment(slot))} if slot else {}
    return {slot: pods.listed(workload.deployment(slot)) for slot in SLOTS}


def origins_now(edges: Readers, workload: Workload) -> list[Origin]:
    """Where the workload's sessions come from, by its pods as they are now. Raises what the edges
    raise."""
    return origins(workload, _pods(edges, workload))


def known_by(workload: Workload) -> KnownBy:
    match workload.addresses:
        case "pods" | "nodes":
            return workload.addresses
        case _:
            return "ranges"


def origins(workload: Workload, pods: dict[Slot, list[Pod]]) -> list[Origin]:
    """Where a workload's sessions come from. Of pods that could not be looked at nothing is known:
    their sessions count as strange."""
    name, application = workload.name, workload.application or workload.name
    listed = [pod for own in pods.values() for pod in own]
    nodes = {address for pod in listed for address in pod.nodes}
    # In place there are no pods beside them, which sessions could be of instead.
    only = next(iter(pods), None) if workload.in_place else None
    match workload.addresses:
        case "pods":
            # In its node's network a pod has the node's address, as others there have.
            own = {
                slot: [a for pod in pods[slot] for a in pod.addresses if a not in nodes]
                for slot in pods
            }
            shared = [a for pod in listed for a in pod.addresses if a in nodes]
            return [
                *(Origin(name, None, networks(own[slot]), "pods", slot) for slot in own),
                Origin(name, application, networks(shared), "nodes", only),
            ]
        case "nodes":
            return [Origin(name, application, networks(nodes), "nodes", only)]
        case ranges:
            return [Origin(name, application, networks(ranges), "ranges", only)]
