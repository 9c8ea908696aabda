"""Reads a credential's world: the snapshot that is planned on, and the evidence for a person."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rotation.errors import EdgeError
from rotation.model import SLOTS, Slot, SlotState, Snapshot, WorkloadState, other
from rotation.planning import Expectation, fill, judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rotation.config import Credential, Workload, WorkloadTest
    from rotation.edges import Edges
    from rotation.model import Answer, Service, Session


def snapshot(edges: Edges, name: str, credential: Credential) -> Snapshot:
    """Raises what the edges raise: a half-seen world is no ground for a decision."""
    vault = edges.vault(credential.vault)
    names = [credential.slots[slot].role for slot in SLOTS]
    roles = edges.database(credential).roles(names)
    return Snapshot(
        credential=name,
        slots={
            slot: SlotState(
                role=roles.get(credential.slots[slot].role),
                secret=vault.current(credential.slots[slot].secret),
            )
            for slot in SLOTS
        },
        workloads=tuple(workload_state(edges, workload) for workload in credential.workloads),
    )


def workload_state(edges: Edges, workload: Workload) -> WorkloadState:
    cluster = edges.cluster(workload.cluster)
    space, label = workload.namespace, workload.selector_label
    return WorkloadState(
        name=workload.name,
        service=cluster.service(space, workload.service, label),
        preview=cluster.service(space, workload.preview, label),
        deployments={slot: cluster.deployment(space, workload.deployments[slot]) for slot in SLOTS},
    )


def run_tests(
    edges: Edges, credential: Credential, workload: Workload, slot: Slot, through: str
) -> list[dict[str, Any]]:
    """One round of a workload's tests through `service` or `preview`.

    Each result: `test`, `passed`, `problem` (or None), `attempts`, and `role` where a JSON field
    proved it.
    """
    role = credential.slots[slot].role
    return [
        _run(edges, workload, test, role, slot, through)
        for test in workload.tests
        if through == "service" or test.path is not None or "{slot}" in (test.url or "")
    ]


def _run(
    edges: Edges, workload: Workload, test: WorkloadTest, role: str, slot: Slot, through: str
) -> dict[str, Any]:
    fields = {
        key: fill(value, role, slot) if isinstance(value, str) else value
        for key, value in (test.expect or {}).items()
    }
    problem, attempts = None, 0
    while problem is None and attempts < test.repeat:
        attempts += 1
        try:
            answer = _ask(edges, workload, test, role, slot, through)
        except EdgeError as error:
            problem = error.message
        else:
            problem = judge(Expectation(test.status, fields), answer.status, answer.body)
    return {
        "test": test.path or test.url,
        "passed": problem is None,
        "problem": problem,
        "attempts": attempts,
        "role": role if problem is None and role in fields.values() else None,
    }


def _ask(
    edges: Edges, workload: Workload, test: WorkloadTest, role: str, slot: Slot, through: str
) -> Answer:
    timeout = test.timeout.total_seconds()
    if test.url is not None:
        return edges.fetch(fill(test.url, quote(role, safe=""), slot), timeout)
    cluster = edges.cluster(workload.cluster)
    name = workload.service if through == "service" else workload.preview
    service = cluster.service(workload.namespace, name, workload.selector_label)
    if service is None:
        raise EdgeError(f"Service {workload.namespace}/{name} does not exist")
    path = fill(test.path or "/", quote(role, safe=""), slot)
    return cluster.fetch(_on_port(service, workload), path, timeout)


def _on_port(service: Service, workload: Workload) -> Service:
    if workload.port is None:
        return service
    return type(service)(service.namespace, service.name, service.slot, str(workload.port))


def evidence(edges: Edges, credential: Credential, slot: Slot) -> dict[str, Any]:
    """What a person needs to see before the slot replaced by `slot` is retired.

    `complete` is false where something could not be looked at: `problems` says what. `stillInUse`
    are sessions of the replaced role that belong to no workload of this credential.
    """
    problems: list[str] = []
    tests = {
        workload.name: _guarded(
            problems, [], run_tests, edges, credential, workload, slot, "service"
        )
        for workload in credential.workloads
    }
    pods = {
        workload.name: _guarded(problems, {}, _pods, edges, workload)
        for workload in credential.workloads
    }
    sessions = _guarded(problems, [], _sessions, edges, credential)
    return {
        "at": edges.now().isoformat(timespec="seconds").replace("+00:00", "Z"),
        "complete": not problems,
        "passed": all(test["passed"] for tests_ in tests.values() for test in tests_),
        "problems": problems,
        "tests": tests,
        "pods": pods,
        "sessions": sessions,
        "stillInUse": [
            row
            for row in sessions
            if row["role"] == credential.slots[other(slot)].role and row["workload"] is None
        ],
    }


def _guarded(problems: list[str], fallback: Any, look: Any, *args: Any) -> Any:
    """A look that fails is told to the person instead of hiding all the others."""
    try:
        return look(*args)
    except EdgeError as error:
        problems.append(error.message)
        return fallback


def _pods(edges: Edges, workload: Workload) -> dict[str, list[str]]:
    cluster = edges.cluster(workload.cluster)
    return {slot: cluster.pods(workload.namespace, workload.deployments[slot]) for slot in SLOTS}


def _sessions(edges: Edges, credential: Credential) -> list[dict[str, Any]]:
    roles = [credential.slots[slot].role for slot in SLOTS]
    return summary(edges.database(credential).sessions(roles), credential.workloads)


def summary(sessions: Iterable[Session], workloads: Iterable[Workload]) -> list[dict[str, Any]]:
    """Sessions counted by role, application and client address; `workload` if it is a known one."""
    known = {workload.application or workload.name: workload.name for workload in workloads}
    counted = Counter((s.role, s.application, s.client) for s in sessions)
    return [
        {
            "role": role,
            "application": application,
            "client": client,
            "sessions": count,
            "workload": _workload(application, known),
        }
        for (role, application, client), count in sorted(counted.items())
    ]


def _workload(application: str, known: dict[str, str]) -> str | None:
    """`orders-api` and `orders-api/blue` are workload orders-api; `orders-apix` is not."""
    return known.get(application.partition("/")[0])
