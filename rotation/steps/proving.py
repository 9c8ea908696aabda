"""Tests of a workload, and the evidence for a person who decides."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from rotation.decisions.answers import Expectation, fill, judge
from rotation.decisions.sessions import Origin, counted, networks
from rotation.model import wire
from rotation.model.errors import Denied, EdgeError, Invalid, Unavailable
from rotation.model.reasons import Code, Reason
from rotation.model.record import Evidence, TestResult
from rotation.model.world import SLOTS, other

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rotation.config import Credential, Workload, WorkloadTest
    from rotation.contracts.edges import Readers
    from rotation.model.activities import Through
    from rotation.model.record import KnownBy
    from rotation.model.world import Answer, Pod, Session, Slot
    from rotation.steps.running import Step


def test(step: Step) -> None:
    """Runs the workload's tests until all pass in one round.

    They need not pass at once, since routes take a moment to settle. Raises `Invalid` if they do
    not within one bounded watch. If all that failed were refused by the API server in between, or
    (before the swap, when no client waits) got no answer, it raises what is tried again.
    """
    through = step.reference.through or "service"
    give_up = step.edges.now().timestamp() + step.edges.settings.watch_seconds
    while True:
        tried = _tried(step.edges, step.credential, step.workload, step.slot, through)
        failed = [(result, error) for result, error in tried if not result.passed]
        if not failed:
            return
        if step.edges.now().timestamp() >= give_up:
            told = "; ".join(f"{result.test}: {result.problem}" for result, _ in failed)
            text = f"tests of the {step.slot} slot failed: {told}; {step.deployment.logs}"
            errors = [error for _, error in failed]
            kind = _kind(errors)
            if through == "service" and kind is Unavailable:
                kind = Invalid
            raise kind(_code(errors), text)
        step.edges.sleep(1)


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


def evidence(step: Step) -> Evidence:
    return collect(step.edges, step.credential, step.slot)


def run_tests(
    edges: Readers, credential: Credential, workload: Workload, slot: Slot, through: Through
) -> list[TestResult]:
    """The results of one round of a workload's tests.

    It goes through the production Service, or the preview one, where only some reach the standby.
    """
    return [result for result, _ in _tried(edges, credential, workload, slot, through)]


def _tried(
    edges: Readers, credential: Credential, workload: Workload, slot: Slot, through: Through
) -> list[tuple[TestResult, EdgeError | None]]:
    """The results of one round, each with the error in place of an answer, if there was none."""
    role = credential.slots[slot].role
    return [
        _run(edges, workload, test, role, slot, through)
        for test in workload.tests
        if through == "service" or test.reaches_standby
    ]


def _run(
    edges: Readers, workload: Workload, test: WorkloadTest, role: str, slot: Slot, through: Through
) -> tuple[TestResult, EdgeError | None]:
    """The result of one test, asked `repeat` times or until it fails, and why it got no answer."""
    fields = {
        key: fill(value, role, slot) if isinstance(value, str) else value
        for key, value in (test.expect or {}).items()
    }
    problem: Reason | None = None
    unanswered: EdgeError | None = None
    attempts = 0
    while problem is None and attempts < test.repeat:
        attempts += 1
        try:
            answer = _ask(edges, workload, test, role, slot, through)
        except EdgeError as error:
            unanswered, problem = error, error.reason
        else:
            problem = judge(Expectation(test.status, fields), answer.status, answer.body)
    result = TestResult(
        test=test.path or test.url or "",
        passed=problem is None,
        problem=problem.text if problem else None,
        attempts=attempts,
        role=role if problem is None and role in fields.values() else None,
        code=problem.code if problem else None,
    )
    return result, unanswered


def _ask(
    edges: Readers, workload: Workload, test: WorkloadTest, role: str, slot: Slot, through: Through
) -> Answer:
    """The workload's answer to one request of a test."""
    timeout = test.timeout.total_seconds()
    if test.url is not None:
        return edges.fetch(fill(test.url, quote(role, safe=""), slot), timeout)
    target = workload.production if through == "service" else workload.standby
    path = fill(test.path or "/", quote(role, safe=""), slot)
    return edges.traffic(workload.cluster).ask(target, path, timeout)


def collect(edges: Readers, credential: Credential, slot: Slot) -> Evidence:
    """The evidence of this moment for whether the slot that `slot` has replaced can be retired.

    Sessions are those of the server and of its read replicas.
    """
    problems: list[str] = []
    tests: dict[str, list[TestResult]] = {}
    pods: dict[str, dict[Slot, list[str]]] = {}
    sessions: list[Session] = []
    origins: list[Origin] = []
    for workload in credential.workloads:
        seen: dict[Slot, list[Pod]] = {}
        with _noted(problems):
            tests[workload.name] = run_tests(edges, credential, workload, slot, "service")
        with _noted(problems):
            seen = _pods(edges, workload)
            pods[workload.name] = {s: [pod.name for pod in seen[s]] for s in seen}
        origins.append(_origin(workload, [pod for listed in seen.values() for pod in listed]))
    roles = [credential.slots[each].role for each in SLOTS]
    for server in (edges.database(credential), *edges.replicas(credential)):
        with _noted(problems):
            sessions += server.sessions(roles)
    rows = counted(sessions, origins)
    replaced = credential.slots[other(slot)].role
    return Evidence(
        at=wire.moment(edges.now()),
        complete=not problems,
        passed=all(result.passed for results in tests.values() for result in results),
        problems=problems,
        still_in_use=[row for row in rows if row.role == replaced and row.workload is None],
        tests=tests,
        pods=pods,
        sessions=rows,
    )


@contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Adds an edge's error to the problems of the evidence, instead of hiding all other looks."""
    try:
        yield
    except EdgeError as error:
        problems.append(error.message)


def _pods(edges: Readers, workload: Workload) -> dict[Slot, list[Pod]]:
    """A workload's pods, by slot."""
    pods = edges.pods(workload.cluster)
    return {slot: pods.listed(workload.deployment(slot)) for slot in SLOTS}


def _origin(workload: Workload, pods: Iterable[Pod]) -> Origin:
    """Of pods that could not be looked at nothing is known: their sessions count as strange."""
    known_by: KnownBy
    match workload.addresses:
        case "pods":
            known_by, addresses = "pods", [a for pod in pods for a in pod.addresses]
        case "nodes":
            known_by, addresses = "nodes", [a for pod in pods for a in pod.nodes]
        case ranges:
            known_by, addresses = "ranges", list(ranges)
    application = workload.application or workload.name
    return Origin(workload.name, application, networks(addresses), known_by)
