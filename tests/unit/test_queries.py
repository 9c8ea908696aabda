"""A workload's tests in SQL: as which role they ask, where, and what their answers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation.config import parse
from rotation.decisions.answers import judge_row
from rotation.model import wire
from rotation.model.errors import Conflict, Denied, EdgeError, Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import Answer
from rotation.steps import proving
from tests.memory import MemoryEdges
from tests.unit.rounds import refusal, results
from tests.unit.test_config import CREDENTIAL, WORKLOAD, changed

if TYPE_CHECKING:
    from rotation.model.activities import Through
    from rotation.model.world import Found

ORDERS = "select count(*) from orders"
WHO = {"path": "/whoami", "json": {"role": "{role}"}, "repeat": 1}


def edges(*tests: dict[str, Any], more: tuple[tuple[str, Any], ...] = ()) -> MemoryEdges:
    """Green serves."""
    file = changed((f"{WORKLOAD}.tests", [{"repeat": 1, **test} for test in tests]), *more)
    return MemoryEdges(parse(yaml.safe_dump(file)), active={"orders-db": "green"})


def queries(found: MemoryEdges) -> list[str]:
    return [what for what in found.calls.reads if what.startswith("database query")]


@pytest.mark.parametrize("through", ["preview", "service"])
def test_it_is_asked_as_the_slots_role_before_and_after_the_swap(through: Through) -> None:
    found = edges({"sql": ORDERS, "repeat": 2, "timeout": "7s"})
    (result,) = results(found, through)
    assert (result.test, result.passed, result.attempts, result.role) == (ORDERS, True, 2, None)
    assert queries(found) == [f"database query orders_green {ORDERS} 7"] * 2
    assert found.calls.writes == []


def test_it_is_asked_through_what_applications_connect_to_as_well() -> None:
    pooler = (f"{CREDENTIAL}.database.endpoint", {"host": "pooler.example", "port": 6432})
    found = edges({"sql": ORDERS, "value": 3}, more=(pooler,))
    assert [result.passed for result in results(found)] == [True]
    asked = f"database query orders_green {ORDERS} 10 for 3"
    assert queries(found) == [asked, f"{asked} through pooler.example:6432"]


def test_what_is_filled_in_is_filled_in_in_the_value_alone() -> None:
    found = edges({"sql": "select session_user", "value": "{role}/{slot} ü"})
    results(found)
    (asked,) = queries(found)
    assert asked.endswith(r'select session_user 10 for "orders_green/green \u00fc"')


@pytest.mark.parametrize(
    ("answer", "value", "problem"),
    [
        (3, 3, None),
        (3, None, None),
        (None, None, None),
        (4, 3, "the first column of the first row is not 3"),
        ("3", 3, "the first column of the first row is not 3"),
        (True, "{slot}", "the first column of the first row is not 'green'"),
        (None, True, "there is no row, whose first column must be True"),
    ],
)
def test_what_it_finds_is_judged(
    answer: str | int | bool | None, value: object, problem: str | None
) -> None:
    test = {"sql": ORDERS} if value is None else {"sql": ORDERS, "value": value}
    found = edges(test)
    found.world.database.answers[ORDERS] = answer
    (result,) = results(found)
    assert (result.passed, result.problem) == (problem is None, problem)
    assert result.code == (str(Code.TEST_VALUE) if problem else None)


@pytest.mark.parametrize("found", ["another value", "no row"])
def test_a_judgement_quotes_the_expected_value_alone(found: Found) -> None:
    reason = judge_row("orders_green", found)
    assert reason is not None
    assert "'orders_green'" in reason.text


def test_evidence_names_the_beginning_of_a_long_one() -> None:
    found = edges({"sql": f"select\n  1,\n\t{'x' * 200}"})
    (result,) = results(found)
    assert result.test == f"select 1, {'x' * 87}..."
    assert len(result.test) == 100


def test_it_proves_no_role_of_the_workloads() -> None:
    """Whoever asks as the role is the role: sessions still have to prove whose pods use it."""
    found = edges({"sql": "select session_user", "value": "{role}"})
    (workload,) = found.configuration.credential("orders-db").workloads
    assert not workload.names_role
    own, sessions = proving.collect(
        found, found.configuration.credential("orders-db"), "green", "r-1"
    ).tests["api"]
    assert (own.role, sessions.role) == (None, "orders_green")


BUSY = Unavailable(Code.DATABASE_BUSY, "PostgreSQL pg:5432 could not answer: (SQLSTATE 57P01)")
LATE = Unavailable(Code.TEST_NO_ANSWER, "PostgreSQL pg:5432 could not answer: not done within 10 s")
NO_RIGHT = Denied(Code.TEST_QUERY, "PostgreSQL pg:5432 could not answer: (SQLSTATE 42501)")
WRITES = Invalid(Code.TEST_QUERY, "PostgreSQL pg:5432 could not answer: (SQLSTATE 25006)")


@pytest.mark.parametrize("through", ["preview", "service"])
@pytest.mark.parametrize("error", [BUSY, LATE, NO_RIGHT, WRITES])
def test_what_the_database_says_is_the_reason_and_may_pass_as_always(
    error: EdgeError, through: Through
) -> None:
    """After the swap too: nobody waits for an answer of a slot."""
    found = edges({"sql": ORDERS}, WHO)
    found.world.clusters["aks"].services["orders", "api-preview"].selector["slot"] = "green"
    found.world.database.answers[ORDERS] = error
    raised = refusal(found, through)
    assert type(raised) is type(error)
    assert raised.code is error.code
    assert f"{ORDERS}: {error.message}" in raised.message


def test_a_slot_that_does_not_answer_beside_it_is_waited_for_no_longer() -> None:
    found = edges({"sql": ORDERS}, WHO)
    found.world.database.answers[ORDERS] = BUSY
    found.world.scripted = [Unavailable(Code.PROXY_TIMEOUT, "no answer")]
    assert type(refusal(found, "service")) is Invalid


@pytest.mark.parametrize("state", ["disabled", "gone"])
def test_without_a_current_version_it_has_no_login(state: str) -> None:
    found = edges({"sql": ORDERS})
    credential = found.configuration.credential("orders-db")
    versions = found.world.vault_at(credential.vault).secrets[credential.slots["green"].secret]
    if state == "gone":
        versions.clear()
    for version in versions:
        version.disabled = found.clock.now
    (result,) = results(found)
    assert (result.passed, result.code) == (False, str(Code.VERSION_GONE))
    assert type(refusal(found, "service")) is Invalid
    assert Conflict.transient is False


@pytest.mark.guarantee(3)
def test_no_password_is_in_its_result() -> None:
    found = edges({"sql": ORDERS})
    found.world.database.roles["orders_green"].password = "another one"
    (result,) = results(found)
    assert result.code == str(Code.LOGIN_REFUSED)
    said = f"{result!r} {wire.value_of(result)} {found.calls.made}"
    assert not any(value in said for value in [*found.world.values, "another one"])


def test_a_query_and_a_request_keep_their_order() -> None:
    found = edges(WHO, {"sql": ORDERS}, {"path": "/healthz"})
    found.world.scripted = [Answer(200, b'{"role": "orders_green"}')]
    assert [result.test for result in results(found)] == ["/whoami", ORDERS, "/healthz"]
