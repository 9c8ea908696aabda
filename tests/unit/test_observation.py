"""Tests of workloads, and the evidence that a person sees."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from rotation.config import Credential, parse
from rotation.model.errors import Denied, Unavailable
from rotation.model.world import Answer, Service, Session
from rotation.steps.proving import evidence, run_tests, summary
from tests.unit.test_config import CREDENTIAL, WORKLOAD, changed

GOOD = Answer(200, b'{"role": "orders_green"}')


class Edges:
    """Answers to tests in turn, the last one for ever; what was asked is in `asked`."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers or (GOOD,))
        self.asked: list[str] = []
        self.found: list[Session] = []
        self.refuses = False

    def cluster(self, name: str) -> Edges:
        assert name == "aks"
        return self

    def service(self, namespace: str, name: str, label: str) -> Service:
        assert label == "slot"
        return Service(namespace, name, "green", "http")

    def pods(self, namespace: str, name: str) -> list[str]:
        assert namespace == "orders"
        return [f"{name}-1"]

    def fetch(self, *request: Any) -> Answer:
        *where, timeout = request
        assert timeout == 10
        match where:
            case [Service() as service, path]:
                self.asked.append(f"{service.name}:{service.port}{path}")
            case [url]:
                self.asked.append(url)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def database(self, credential: Credential) -> Edges:
        assert credential.database.name == "orders"
        return self

    def sessions(self, roles: list[str]) -> list[Session]:
        assert roles == ["orders_blue", "orders_green"]
        if self.refuses:
            raise Denied("the database refuses")
        return self.found

    def now(self) -> datetime:
        return datetime(2027, 3, 1, tzinfo=UTC)


def credential(*changes: tuple[str, Any]) -> Credential:
    return parse(yaml.safe_dump(changed(*changes))).credential("orders-db")


def round_of(
    edges: Any, through: str = "preview", *changes: tuple[str, Any]
) -> list[dict[str, Any]]:
    found = credential(*changes)
    return run_tests(edges, found, found.workloads[0], "green", through)


def test_a_test_passes_several_times_and_names_the_role() -> None:
    edges = Edges()
    assert round_of(edges) == [
        {
            "test": "/whoami",
            "passed": True,
            "problem": None,
            "attempts": 3,
            "role": "orders_green",
        }
    ]
    assert edges.asked == ["api-preview:http/whoami"] * 3


def test_after_the_swap_it_goes_through_the_production_service() -> None:
    edges = Edges()
    round_of(edges, "service", (f"{WORKLOAD}.port", 8080))
    assert edges.asked == ["api:8080/whoami"] * 3


@pytest.mark.parametrize(
    ("answers", "attempts", "problem"),
    [
        ([Unavailable("no answer")], 1, "no answer"),
        ([GOOD, Answer(503, b"")], 2, "answered 503, not 200"),
        ([GOOD, GOOD, Answer(200, b'{"role": "orders_blue"}')], 3, "'role' is not 'orders_green'"),
    ],
)
def test_one_failure_fails_the_test(
    answers: list[Answer | Exception], attempts: int, problem: str
) -> None:
    (found,) = round_of(Edges(*answers))
    assert (found["passed"], found["attempts"], found["role"]) == (False, attempts, None)
    assert problem in found["problem"]


def test_before_the_swap_only_what_reaches_the_standby_is_asked() -> None:
    urls = (
        (f"{WORKLOAD}.tests.1", {"url": "https://api.example/"}),
        (f"{WORKLOAD}.tests.2", {"url": "https://{slot}.api.example/"}),
    )
    edges = Edges()
    round_of(edges, "preview", *urls)
    assert set(edges.asked) == {"api-preview:http/whoami", "https://green.api.example/"}
    edges = Edges()
    round_of(edges, "service", *urls)
    assert "https://api.example/" in edges.asked


def test_a_role_goes_into_an_address_escaped() -> None:
    edges = Edges(Answer(200, b"{}"))
    round_of(
        edges,
        "service",
        (f"{CREDENTIAL}.slots.green.role", "a/../b?c#d@e ü"),
        (f"{WORKLOAD}.tests.0.path", "/is/{role}"),
        (f"{WORKLOAD}.tests.1", {"url": "https://api.example/{role}"}),
    )
    escaped = "a%2F..%2Fb%3Fc%23d%40e%20%C3%BC"
    assert set(edges.asked) == {f"api:http/is/{escaped}", f"https://api.example/{escaped}"}


def session(role: str, application: str, client: str = "10.0.0.1") -> Session:
    return Session(role, application, client, "idle", None)


def test_sessions_are_counted_and_told_apart() -> None:
    sessions = [
        session("orders_blue", "api/blue"),
        session("orders_blue", "api/blue"),
        session("orders_blue", "apix"),
        session("orders_green", "api"),
        session("orders_blue", ""),
    ]
    found = [
        (row["role"], row["application"], row["sessions"], row["workload"])
        for row in summary(sessions, credential().workloads)
    ]
    assert found == [
        ("orders_blue", "", 1, None),
        ("orders_blue", "api/blue", 2, "api"),
        ("orders_blue", "apix", 1, None),
        ("orders_green", "api", 1, "api"),
    ]


def seen(edges: Any) -> dict[str, Any]:
    return evidence(edges, credential(), "green")


def test_evidence_that_is_complete() -> None:
    edges = Edges()
    edges.found = [session("orders_green", "api/green"), session("orders_blue", "api/blue")]
    found = seen(edges)
    assert (found["complete"], found["passed"], found["problems"]) == (True, True, [])
    assert found["pods"] == {"api": {"blue": ["api-blue-1"], "green": ["api-green-1"]}}
    assert found["stillInUse"] == []
    assert len(found["sessions"]) == 2
    assert found["at"] == "2027-03-01T00:00:00Z"


def test_who_else_uses_the_replaced_role_is_evidence() -> None:
    edges = Edges()
    edges.found = [session("orders_blue", "psql"), session("orders_green", "psql")]
    assert [(row["role"], row["application"]) for row in seen(edges)["stillInUse"]] == [
        ("orders_blue", "psql")
    ]


def test_a_failing_test_is_evidence() -> None:
    found = seen(Edges(Answer(500, b"")))
    assert (found["complete"], found["passed"]) == (True, False)


def test_what_cannot_be_looked_at_is_said() -> None:
    edges = Edges()
    edges.refuses = True
    found = seen(edges)
    assert (found["complete"], found["problems"]) == (False, ["the database refuses"])
    assert found["tests"]["api"][0]["passed"]
