"""What is said of two roles that may not do the same, and what a rotation makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rotation.decisions import parity
from rotation.model.activities import Planned, Reference
from rotation.model.catalogue import Origin, Outcome
from rotation.model.errors import Denied
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.model.world import Difference, Differences
from rotation.steps.planning import plan
from rotation.steps.running import Step
from tests.unit.test_wayback import edges, seen, shown

if TYPE_CHECKING:
    import pytest

    from tests.memory import MemoryEdges

INSERT = Difference(
    "table", "public.orders", "INSERT", "GRANT INSERT ON TABLE public.orders TO orders_green;"
)
SETTING = Difference(
    "setting", "app.key", "app.key", "ALTER ROLE orders_green SET app.key TO 'a secret word';"
)
LIMIT = Difference("connection limit", "orders_blue", "none", "ALTER ROLE a CONNECTION LIMIT -1;")
EXPIRY = Difference("expiry", "orders_blue", "never", "ALTER ROLE a VALID UNTIL 'infinity';")
LESS = Difference("restrictive policy", "public.orders", "less", "ALTER POLICY less ON o TO a, b;")


def planned(found: MemoryEdges, waive: list[str] | None = None) -> Planned:
    request = Request(
        rotation="r-1",
        credential="orders-db",
        origin=Origin.MANUAL,
        requested_by="ada",
        reason="",
        waive=waive or [],
    )
    return plan(Step(found, Reference(rotation="r-1", credential="orders-db", request=request)))


def lacking(*differences: Difference, role: str = "orders_green") -> MemoryEdges:
    found = edges()
    found.world.database.lacking[role] = differences
    return found


def test_a_weaker_standby_is_refused_with_the_sql_that_levels_it() -> None:
    answer = planned(lacking(INSERT))
    assert answer.outcome is Outcome.REFUSED
    (why,) = answer.reasons
    assert why.code == Code.ROLE_WEAKER
    assert why.text == (
        "role orders_green lacks of what orders_blue has: table public.orders INSERT; SQL: "
        "GRANT INSERT ON TABLE public.orders TO orders_green;"
    )


def test_its_owner_may_waive_that_and_the_record_says_so() -> None:
    answer = planned(lacking(INSERT), [Code.ROLE_WEAKER])
    assert answer.active == "blue"
    assert [waiver.code for waiver in answer.waivers] == [Code.ROLE_WEAKER]


def test_a_stronger_standby_is_told_of_only() -> None:
    answer = planned(lacking(INSERT, LIMIT, role="orders_blue"))
    assert answer.active == "blue"
    (doubt,) = (one for one in answer.doubts if one.code == Code.ROLE_STRONGER)
    assert "table public.orders INSERT, connection limit orders_blue none" in doubt.text


def test_whoever_asks_for_the_credentials_is_told() -> None:
    assert shown(seen(lacking(INSERT))) == [Code.ROLE_WEAKER]


def test_a_server_that_does_not_show_its_catalogue_is_told_of_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = edges()

    def denied(*_: Any) -> Differences:
        raise Denied(Code.DATABASE_RIGHT, "permission denied")

    monkeypatch.setattr("tests.memory.edges.MemoryDatabase.differences", denied)
    answer = planned(found)
    assert answer.active == "blue"
    assert Code.ROLES_NOT_COMPARED in [doubt.code for doubt in answer.doubts]


def text(*lacks: Difference, more: tuple[Difference, ...] = ()) -> str:
    return "; ".join(one.text for one in parity.problems("b", "a", Differences(lacks, more)))


def test_no_value_of_a_setting_of_its_own_is_shown() -> None:
    assert text(SETTING) == "role b lacks of what a has: setting app.key"


def test_a_few_are_named_and_the_others_counted() -> None:
    told = text(*[INSERT] * 5)
    assert told.count("table public.orders INSERT") == 3
    assert "and 2 more" in told


def test_an_expiry_is_none_since_a_rotation_takes_it_off() -> None:
    assert text(EXPIRY) == ""
    assert parity.doubts("b", "a", Differences((), (EXPIRY,))) == ()


def test_a_policy_that_takes_away_makes_the_one_weaker_that_falls_under_it() -> None:
    assert text(more=(LESS,)) == "role b alone has: restrictive policy public.orders less"
    assert text(LESS) == ""
    assert parity.doubts("b", "a", Differences((LESS,)))


def test_a_setting_of_either_is_a_difference() -> None:
    assert text(more=(SETTING,)) == "role b alone has: setting app.key"


def test_a_name_may_hold_anything() -> None:
    odd = Difference("table", 'public."a\n<b>' + "x" * 200, "INSERT", "GRANT " + "x" * 200)
    told = text(odd)
    assert "\n" not in told
    assert len(told) < 250
    assert "SQL" not in told
