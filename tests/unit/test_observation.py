"""Tests of workloads, and the evidence that a person sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation.config import parse
from rotation.decisions.sessions import Origin, counted, networks
from rotation.model.activities import Reference
from rotation.model.catalogue import Origin as Origins
from rotation.model.errors import Denied, Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.model.record import TestResult as Result
from rotation.model.world import Answer, Session
from rotation.steps.planning import plan
from rotation.steps.proving import collect, run_tests
from rotation.steps.running import Step
from tests.memory import MemoryEdges
from tests.memory.cluster import NODE
from tests.unit.test_config import CREDENTIAL, WORKLOAD, changed

if TYPE_CHECKING:
    from rotation.config import Credential
    from rotation.model.activities import Through
    from rotation.model.record import Evidence, KnownBy

GOOD = Answer(200, b'{"role": "orders_green"}')


def edges(*changes: tuple[str, Any], answers: tuple[Answer | Exception, ...] = ()) -> MemoryEdges:
    """Green serves, and blue is about to be retired. `answers` are given instead of its own."""
    configuration = parse(yaml.safe_dump(changed(*changes)))
    found = MemoryEdges(configuration, active={"orders-db": "green"})
    found.world.scripted = list(answers)
    return found


def credential(found: MemoryEdges) -> Credential:
    return found.configuration.credential("orders-db")


def round_of(found: MemoryEdges, through: Through = "service") -> list[Result]:
    configured = credential(found)
    return run_tests(found, configured, configured.workloads[0], "green", through)


def asked(found: MemoryEdges) -> list[str]:
    return [what for what in found.calls.reads if " ask " in what or " fetch " in what]


def test_a_test_passes_several_times_and_names_the_role() -> None:
    found = edges()
    assert round_of(found) == [
        Result(test="/whoami", passed=True, problem=None, attempts=3, role="orders_green")
    ]
    assert asked(found) == ["cluster ask orders/api/whoami 10"] * 3


def test_before_the_swap_it_goes_through_the_preview_service() -> None:
    found = edges(answers=(GOOD,))
    round_of(found, "preview")
    assert asked(found) == ["cluster ask orders/api-preview/whoami 10"] * 3


def test_an_authority_that_is_none_is_refused_before_anything_changes() -> None:
    """Such a test may be asked for the first time when traffic has moved."""
    secure = {"url": "https://orders.example/", "certificateAuthority": "no-such-file.pem"}
    found = edges((f"{WORKLOAD}.tests.1", secure))
    request = Request(
        rotation="r-1",
        credential="orders-db",
        origin=Origins.MANUAL,
        reason="due",
        requested_by="ann",
    )
    step = Step(found, Reference(rotation="r-1", credential="orders-db", request=request))
    assert plan(step).reasons == []
    why = Invalid(Code.TEST_AUTHORITY, "it cannot be used: FileNotFoundError")
    found.calls.failing["web trusts no-such-file.pem"] = why
    (reason,) = plan(step).reasons
    text = "workload api: test https://orders.example/: it cannot be used: FileNotFoundError"
    assert (reason.code, reason.text) == ("test-certificate-authority", text)
    assert found.calls.writes == []


def test_the_port_is_the_workloads() -> None:
    found = edges((f"{WORKLOAD}.port", 8080))
    round_of(found)
    assert asked(found) == ["cluster ask orders/api:8080/whoami 10"] * 3


def test_the_other_slot_does_not_pass_for_this_one() -> None:
    found = edges()
    found.world.clusters["aks"].services["orders", "api"].selector["slot"] = "blue"
    (result,) = round_of(found)
    assert (result.passed, result.attempts) == (False, 1)


WRONG_ROLE = Answer(200, b'{"role": "orders_blue"}')


@pytest.mark.parametrize(
    ("answers", "attempts", "problem", "code"),
    [
        (
            (Unavailable(Code.CLUSTER_UNAVAILABLE, "no answer"),),
            1,
            "no answer",
            Code.CLUSTER_UNAVAILABLE,
        ),
        ((GOOD, Answer(503, b"")), 2, "answered 503, not 200", Code.TEST_STATUS),
        ((GOOD, GOOD, WRONG_ROLE), 3, "'role' is not 'orders_green'", Code.TEST_FIELD),
    ],
)
def test_one_failure_fails_the_test(
    answers: tuple[Answer | Exception, ...], attempts: int, problem: str, code: Code
) -> None:
    (result,) = round_of(edges(answers=answers))
    assert (result.passed, result.attempts, result.role) == (False, attempts, None)
    assert problem in (result.problem or "")
    assert result.code == code


def test_before_the_swap_only_what_reaches_the_standby_is_asked() -> None:
    urls = (
        (f"{WORKLOAD}.tests.1", {"url": "https://api.example/"}),
        (f"{WORKLOAD}.tests.2", {"url": "https://{slot}.api.example/"}),
    )
    standby = {
        "cluster ask orders/api-preview/whoami 10",
        "web fetch https://green.api.example/ 10",
    }
    found = edges(*urls, answers=(GOOD,))
    round_of(found, "preview")
    assert set(asked(found)) == standby
    found = edges(*urls, answers=(GOOD,))
    round_of(found)
    assert "web fetch https://api.example/ 10" in asked(found)


def test_a_role_goes_into_an_address_escaped() -> None:
    found = edges(
        (f"{CREDENTIAL}.slots.green.role", "a/b?c#d@e ü"),
        (f"{WORKLOAD}.tests.0.path", "/is/{role}"),
        (f"{WORKLOAD}.tests.1", {"url": "https://api.example/{role}"}),
        answers=(Answer(200, b"{}"),),
    )
    round_of(found)
    escaped = "a%2Fb%3Fc%23d%40e%20%C3%BC"
    assert set(asked(found)) == {
        f"cluster ask orders/api/is/{escaped} 10",
        f"web fetch https://api.example/{escaped} 10",
    }


MANNERS: list[tuple[dict[str, Any], str, str]] = [
    (
        {
            "path": "/q/{role}",
            "method": "POST",
            "body": {"for": ["{role}", 1, None], "{slot}": True},
        },
        "POST /q/{role}",
        (
            "cluster ask orders/api/q/r%C3%B4le 10 by http POST [Content-Type: application/json] "
            '{"for": ["rôle", 1, null], "{slot}": true}'
        ),
    ),
    (
        {
            "path": "/q",
            "method": "PUT",
            "scheme": "https",
            "port": "tls",
            "headers": {"content-type": "text/csv", "X-Slot": "{slot}/{role}"},
            "body": "{slot},{role}",
        },
        "PUT /q",
        (
            "cluster ask orders/api:tls/q 10 by https PUT "
            "[X-Slot: green/r%C3%B4le, content-type: text/csv] green,rôle"
        ),
    ),
    (
        {"path": "/q", "method": "POST", "body": ""},
        "POST /q",
        "cluster ask orders/api/q 10 by http POST [Content-Type: text/plain; charset=utf-8]",
    ),
    (
        {"url": "https://lb", "certificateAuthority": "ca.pem", "headers": {"Host": "{slot}.api"}},
        "https://lb",
        "web fetch https://lb 10 by http GET [Host: green.api] trusting ca.pem",
    ),
]


@pytest.mark.parametrize(("test", "title", "request_"), MANNERS)
def test_a_test_asks_as_it_is_told(test: dict[str, Any], title: str, request_: str) -> None:
    found = edges(
        (f"{CREDENTIAL}.slots.green.role", "rôle"),
        (f"{WORKLOAD}.tests.0", {**test, "repeat": 1}),
        answers=(Answer(200, b"{}"),),
    )
    (result,) = round_of(found)
    assert (result.test, result.passed) == (title, True)
    assert asked(found) == [request_]


def test_a_role_that_would_lead_out_of_the_proxy_fails_the_test() -> None:
    found = edges(
        (f"{CREDENTIAL}.slots.green.role", "a/../b"), (f"{WORKLOAD}.tests.0.path", "/is/{role}")
    )
    (result,) = round_of(found)
    assert (result.passed, result.attempts) == (False, 1)
    assert "dots would lead out" in (result.problem or "")


def session(role: str, application: str, client: str = "10.0.0.9") -> Session:
    return Session(role, application, client, "idle", None)


def origin(*ranges: str, known_by: KnownBy = "pods") -> Origin:
    return Origin("api", "api", networks(ranges), known_by)


def test_sessions_are_counted_and_told_apart() -> None:
    sessions = [
        session("orders_blue", "api/blue"),
        session("orders_blue", "api/blue"),
        session("orders_blue", "api/blue", "10.0.0.10"),
        session("orders_blue", "apix"),
        session("orders_green", "api"),
        session("orders_blue", ""),
    ]
    rows = counted(sessions, [origin("10.0.0.9")])
    assert [
        (row.role, row.application, row.client[7:], row.sessions, row.workload) for row in rows
    ] == [
        ("orders_blue", "", "9", 1, None),
        ("orders_blue", "api/blue", "10", 1, None),
        ("orders_blue", "api/blue", "9", 2, "api"),
        ("orders_blue", "apix", "9", 1, None),
        ("orders_green", "api", "9", 1, "api"),
    ]


@pytest.mark.parametrize(
    ("known", "client", "own"),
    [
        ("10.0.0.9", "10.0.0.9", True),
        ("10.0.0.9", "10.0.0.8", False),
        ("10.0.0.0/24", "10.0.0.200", True),
        ("10.0.0.0/24", "10.0.1.0", False),
        ("10.0.0.9", "::ffff:10.0.0.9", True),
        ("fd00:0:0::9", "fd00::9", True),
        ("fd00::/64", "10.0.0.9", False),
        ("10.0.0.9", "local", False),
        ("no address", "10.0.0.9", False),
        ("10.0.0.9", "10.0.0.9/8", False),
    ],
)
def test_where_a_session_comes_from(known: str, client: str, own: bool) -> None:
    (row,) = counted([session("orders_blue", "api", client)], [origin(known, known_by="ranges")])
    assert (row.workload, row.known_by) == (("api", "ranges") if own else (None, None))


@pytest.mark.parametrize(
    ("addresses", "client", "known_by"),
    [
        ("pods", "its pod's", "pods"),
        ("pods", NODE, None),
        ("nodes", NODE, "nodes"),
        ("nodes", "its pod's", None),
        (["203.0.113.0/28"], "203.0.113.7", "ranges"),
        (["203.0.113.0/28"], NODE, None),
    ],
)
def test_what_counts_as_a_workloads_address(
    addresses: Any, client: str, known_by: str | None
) -> None:
    found = edges((f"{WORKLOAD}.addresses", addresses))
    address = replaced_pod(found) if client == "its pod's" else client
    found.world.database.jobs = [session("orders_blue", "api/blue", address)]
    evidence = seen(found)
    (row,) = [row for row in evidence.sessions if row.role == "orders_blue"]
    assert row.known_by == known_by
    assert (row in evidence.still_in_use) is (known_by is None)


def replaced_pod(found: MemoryEdges) -> str:
    """The address of a pod of the slot that was replaced, which has no session of its own."""
    cluster = found.world.clusters["aks"]
    cluster.scale(cluster.deployments["orders", "api-blue"], 1)
    found.calls.pause(60)
    (pod,) = found.pods("aks").listed(credential(found).workloads[0].deployment("blue"))
    return pod.addresses[0]


def test_pods_that_cannot_be_looked_at_vouch_for_nobody() -> None:
    found = edges()
    pod = found.pods("aks").listed(credential(found).workloads[0].deployment("green"))[0]
    found.world.database.jobs = [session("orders_blue", "api/blue", pod.addresses[0])]
    found.calls.failing["cluster listed"] = Denied(Code.CLUSTER_DENIED, "the API refuses us")
    evidence = seen(found)
    assert evidence.problems == ["the API refuses us"]
    assert [row.client for row in evidence.still_in_use] == [pod.addresses[0]]


def seen(found: MemoryEdges) -> Evidence:
    return collect(found, credential(found), "green", "r-1")


def test_evidence_that_is_complete() -> None:
    found = edges()
    found.world.database.jobs = [session("orders_blue", "api/blue", replaced_pod(found))]
    evidence = seen(found)
    assert (evidence.complete, evidence.passed, evidence.problems) == (True, True, [])
    assert evidence.pods == {
        "api": {"blue": ["api-blue-1"], "green": ["api-green-1", "api-green-2"]}
    }
    assert [(row.role, row.workload, row.sessions) for row in evidence.sessions] == [
        ("orders_blue", "api", 1),
        ("orders_green", "api", 1),
        ("orders_green", "api", 1),
    ]
    assert evidence.still_in_use == []
    assert evidence.at == "2027-03-01T12:01:00.000Z"
    assert found.calls.writes == []


@pytest.mark.parametrize("name", ["", "node", "PostgreSQL JDBC Driver"])
def test_a_session_needs_no_name_to_be_its_pods(name: str) -> None:
    """As node-postgres, JDBC and Npgsql give none of their own accord."""
    found = edges()
    found.world.database.jobs = [session("orders_blue", name, replaced_pod(found))]
    evidence = seen(found)
    (row,) = [row for row in evidence.sessions if row.role == "orders_blue"]
    assert (row.workload, row.slot, row.known_by) == ("api", "blue", "pods")
    assert evidence.still_in_use == []


@pytest.mark.parametrize(("addresses", "client"), [("nodes", NODE), (["10.0.0.0/24"], "10.0.0.9")])
def test_where_others_share_the_address_it_needs_its_name(addresses: Any, client: str) -> None:
    found = edges((f"{WORKLOAD}.addresses", addresses))
    found.world.database.jobs = [session("orders_blue", name, client) for name in ("", "api")]
    assert [row.application for row in seen(found).still_in_use] == [""]


def test_who_else_uses_the_replaced_role_is_evidence() -> None:
    found = edges()
    found.world.database.jobs = [session("orders_blue", "psql"), session("orders_green", "psql")]
    assert [(row.role, row.application) for row in seen(found).still_in_use] == [
        ("orders_blue", "psql")
    ]


def test_a_failing_test_is_evidence() -> None:
    evidence = seen(edges(answers=(Answer(500, b""),)))
    assert (evidence.complete, evidence.passed) == (True, False)


def test_what_cannot_be_looked_at_is_said() -> None:
    found = edges()
    refusal = Denied(Code.DATABASE_RIGHT, "the database refuses")
    found.calls.failing["database sessions"] = refusal
    evidence = seen(found)
    assert (evidence.complete, evidence.problems) == (False, ["the database refuses"])
    assert evidence.tests["api"][0].passed
    assert evidence.pods["api"]
