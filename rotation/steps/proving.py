"""Tests of a workload, and the evidence for a person who decides."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from rotation.decisions.answers import Expectation, fill, judge
from rotation.decisions.proof import missing_sessions, wrong_login
from rotation.decisions.sessions import Origin, counted, networks
from rotation.decisions.templates import MOST
from rotation.model import wire
from rotation.model.errors import Denied, EdgeError, Invalid, Unavailable
from rotation.model.reasons import Code, Reason, reason
from rotation.model.record import Evidence, SessionCount, TestResult
from rotation.model.world import SLOTS, Manner, other
from rotation.steps import strangers
from rotation.steps.drift import drift

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from rotation.config import Credential, Workload, WorkloadTest
    from rotation.contracts.edges import Readers
    from rotation.model.activities import Through
    from rotation.model.record import KnownBy
    from rotation.model.world import Answer, Pod, Session, Slot
    from rotation.steps.running import Step


def test(step: Step) -> None:
    """Runs the workload's tests until all pass in one round, and its sessions prove the role.

    They need not pass at once, since routes take a moment to settle. Raises `Invalid` if they do
    not within one bounded watch. If all that failed were refused by the API server in between, or
    (before the swap, when no client waits, or of the database alone) got no answer, it raises what
    is tried again.
    """
    through = step.reference.through or "service"
    give_up = step.edges.now().timestamp() + step.edges.settings.watch_seconds
    while True:
        tried = _tried(step.edges, step.credential, step.workload, step.slot, through)
        if not step.workload.names_role:
            sessions = _sessions_tried(
                step.edges, step.credential, step.workload, step.slot, through
            )
            tried.append(sessions)
        failed = [(result, error) for result, error in tried if not result.passed]
        if not failed:
            return
        if step.edges.now().timestamp() >= give_up:
            told = "; ".join(f"{result.test}: {result.problem}" for result, _ in failed)
            text = f"tests of the {step.slot} slot failed: {told}; {step.deployment.logs}"
            errors = [error for _, error in failed]
            kind = _kind(errors)
            asked = any(result.test != SESSIONS for result, _ in failed)
            if through == "service" and kind is Unavailable and asked:
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


def problems(edges: Readers, credential: Credential) -> Iterator[Reason]:
    """What keeps tests from being made at all, and is found without making them."""
    for workload in credential.workloads:
        for test in workload.tests:
            if test.certificate_authority is None:
                continue
            try:
                edges.trusts(test.certificate_authority)
            except Invalid as error:
                text = f"workload {workload.name}: test {_title(test)}: {error.message}"
                yield reason(error.code, text)


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
        test=_title(test),
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
    timeout, manner = test.timeout.total_seconds(), _manner(test, role, slot)
    if test.url is not None:
        url = fill(test.url, quote(role, safe=""), slot)
        return edges.fetch(url, timeout, manner, test.certificate_authority)
    # A test with a path goes with a preview Service: `crosscheck` sees to that.
    target = (workload.standby if through == "preview" else None) or workload.production
    if test.port is not None:
        target = replace(target, port=str(test.port))
    path = fill(test.path or "/", quote(role, safe=""), slot)
    return edges.traffic(workload.cluster).ask(target, path, timeout, manner)


def _title(test: WorkloadTest) -> str:
    """A test as evidence names it: its path or URL, with the method where that is not GET."""
    asked = test.path or test.url or ""
    return asked if test.method == "GET" else f"{test.method} {asked}"


def _manner(test: WorkloadTest, role: str, slot: Slot) -> Manner:
    """How a test asks, with `{role}` and `{slot}` filled in."""
    # Percent-encoded, since headers are ASCII and a role's name need not be.
    headers = {
        name: fill(value, quote(role, safe=""), slot) for name, value in test.headers.items()
    }
    if test.body is None:
        return Manner(test.method, headers, scheme=test.scheme)
    filled = _filled(test.body, role, slot)
    text, kind = filled, "text/plain; charset=utf-8"
    if not isinstance(text, str):
        text, kind = json.dumps(filled, ensure_ascii=False), "application/json"
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = kind
    return Manner(test.method, headers, text.encode(), test.scheme)


def _filled(value: JsonValue, role: str, slot: Slot) -> JsonValue:
    """A JSON value with `{role}` and `{slot}` filled in in its texts."""
    if isinstance(value, str):
        return fill(value, role, slot)
    if isinstance(value, list):
        return [_filled(item, role, slot) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, role, slot) for key, item in value.items()}
    return value


SESSIONS = "database sessions"  # the name of the test that they are


def _sessions_tried(
    edges: Readers, credential: Credential, workload: Workload, slot: Slot, through: Through
) -> tuple[TestResult, EdgeError | None]:
    """What the sessions of the slot's pods prove, with the error where that may pass by itself."""
    try:
        looked = Look(workload, _pods(edges, workload), _sessions(edges, credential))
    except EdgeError as error:
        return _by_sessions(error.reason, None), error
    wrong, missing = looked.problems(credential, slot)
    if wrong is None and missing is not None and through == "preview":
        return _by_sessions(missing, None), Unavailable(Code.PROOF_MISSING, missing.text)
    return looked.result(credential, slot), None


def _by_sessions(problem: Reason | None, role: str | None) -> TestResult:
    return TestResult(
        test=SESSIONS,
        passed=problem is None,
        problem=problem.text if problem else None,
        attempts=1,
        role=role,
        code=problem.code if problem else None,
    )


def _sessions(edges: Readers, credential: Credential) -> list[Session]:
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
        return _origins(self.workload, self.pods)

    def problems(self, credential: Credential, slot: Slot) -> tuple[Reason | None, Reason | None]:
        """Why the slot's pods use another login, and what sessions they have not got of their
        own."""
        origins = [one for one in self.origins if one.slot in {None, slot}]
        replaced, role = credential.slots[other(slot)].role, credential.slots[slot].role
        pods, known_by = self.pods.get(slot, []), _known_by(self.workload)
        wrong = wrong_login(self.sessions, origins, pods, replaced)
        return wrong, missing_sessions(self.sessions, origins, pods, role, known_by)

    def result(self, credential: Credential, slot: Slot) -> TestResult:
        """What sessions prove of a slot that serves. An idle pool may have closed its own."""
        wrong, missing = self.problems(credential, slot)
        return _by_sessions(wrong, credential.slots[slot].role if missing is None else None)


def collect(edges: Readers, credential: Credential, slot: Slot) -> Evidence:
    """The evidence of this moment for whether the slot that `slot` has replaced can be retired.

    Sessions are those of the server and of its read replicas.
    """
    problems: list[str] = []
    tests: dict[str, list[TestResult]] = {}
    pods: dict[str, dict[Slot, list[str]]] = {}
    templates: dict[str, list[str]] = {}
    sessions: list[Session] = []
    looks: list[Look] = []
    for workload in credential.workloads:
        seen: dict[Slot, list[Pod]] = {}
        with _noted(problems):
            tests[workload.name] = run_tests(edges, credential, workload, slot, "service")
        with _noted(problems):
            seen = _pods(edges, workload)
            pods[workload.name] = {s: [pod.name for pod in seen[s]] for s in seen}
            strangers.refuse(edges, workload, other(slot))
        with _noted(problems):
            templates[workload.name] = _templates(edges, credential, workload, slot)
        looks.append(Look(workload, seen, sessions))
    roles = [credential.slots[each].role for each in SLOTS]
    for server in (edges.database(credential), *edges.replicas(credential)):
        with _noted(problems):
            sessions += server.sessions(roles)
    for look in looks:
        if not look.workload.names_role:
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
    )


def _templates(edges: Readers, credential: Credential, workload: Workload, slot: Slot) -> list[str]:
    """The paths at which the pod template of the slot that is replaced is not the one's that
    serves, a few of them and then how many more there are."""
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
    """A workload's pods, by slot."""
    pods = edges.pods(workload.cluster)
    return {slot: pods.listed(workload.deployment(slot)) for slot in SLOTS}


def _known_by(workload: Workload) -> KnownBy:
    match workload.addresses:
        case "pods" | "nodes":
            return workload.addresses
        case _:
            return "ranges"


def _origins(workload: Workload, pods: dict[Slot, list[Pod]]) -> list[Origin]:
    """Where a workload's sessions come from. Of pods that could not be looked at nothing is known:
    their sessions count as strange."""
    name, application = workload.name, workload.application or workload.name
    listed = [pod for own in pods.values() for pod in own]
    nodes = {address for pod in listed for address in pod.nodes}
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
                Origin(name, application, networks(shared), "nodes"),
            ]
        case "nodes":
            return [Origin(name, application, networks(nodes), "nodes")]
        case ranges:
            return [Origin(name, application, networks(ranges), "ranges")]
