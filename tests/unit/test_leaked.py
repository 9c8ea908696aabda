"""What is found of a login that has leaked, and how it is ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation.config import Configuration, parse
from rotation.model.activities import Reference
from rotation.model.catalogue import Origin
from rotation.model.errors import Conflict
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.model.world import Session
from rotation.steps import incident, login, planning
from rotation.steps.running import Step
from tests.memory import MemoryEdges
from tests.unit.test_config import CREDENTIAL, changed

if TYPE_CHECKING:
    from tests.memory.vault import Version

NAME = "orders-db"
APPROVERS = [{"id": "10000000-0000-4000-8000-000000000000", "address": "ada@contoso.example"}]
ALLOWED = (
    (f"{CREDENTIAL}.approval.approvers", APPROVERS),
    (f"{CREDENTIAL}.incident", "allowed"),
)
FOREIGN = Session(
    role="orders_blue", application="psql", client="203.0.113.9", state="idle", since=None, pid=77
)


def file(*changes: Any) -> Configuration:
    return parse(yaml.safe_dump(changed(*ALLOWED, *changes)))


def edges(*changes: Any) -> MemoryEdges:
    return MemoryEdges(file(*changes))


def request(cut: Any = "first", **more: Any) -> Request:
    known: dict[str, Any] = {"rotation": "i-1", "credential": NAME, "origin": Origin.MANUAL}
    known |= {"requested_by": "ada", "reason": "leaked", "compromised": True, "cut": cut}
    return Request(**known, **more)


def step(found: MemoryEdges, **more: Any) -> Step:
    return Step(found, Reference(rotation="i-1", credential=NAME, **more))


def located(found: MemoryEdges, **more: Any) -> Any:
    return incident.locate(step(found, request=request(**more)))


def login_of(found: MemoryEdges, slot: Any) -> Any:
    role = found.configuration.credential(NAME).slots[slot].role
    return found.world.database.roles[role]


# -- located


def test_the_login_that_serves_has_leaked_unless_another_one_is_named() -> None:
    found = edges()
    found.world.database.jobs.append(FOREIGN)
    seen = located(found)
    assert (seen.slot, seen.role, seen.serves, seen.reasons) == ("blue", "orders_blue", True, [])
    assert 77 in {one.pid for one in seen.connected}
    assert seen.version == current(found).version
    standby = located(found, leaked="green")
    assert (standby.slot, standby.serves) == ("green", False)


def test_an_incident_waits_for_no_window_and_no_session() -> None:
    shut = {"from": "2020-01-01", "to": "2099-01-01", "zone": "UTC"}
    found = edges((f"{CREDENTIAL}.blackouts", [shut]))
    policy = located(found).policy
    assert (policy.windows, policy.retire_in_window, policy.drain) == (False, False, 0.0)


@pytest.mark.guarantee(1)
def test_nothing_is_located_to_be_cut_where_the_file_says_nothing_of_it() -> None:
    found = edges((f"{CREDENTIAL}.incident", "forbidden"))
    assert [why.code for why in located(found).reasons] == [Code.INCIDENT_OFF]
    assert located(found, cut="after").reasons == []


def test_what_keeps_the_other_slot_from_coming_up_is_said_before_anything_is_cut() -> None:
    found = edges()
    del found.world.clusters["aks"].deployments["orders", "api-green"]
    assert [why.code for why in located(found).reasons] == [Code.DEPLOYMENT_MISSING]


def test_what_is_wrong_with_the_login_that_is_to_be_cut_stands_in_no_way() -> None:
    found = edges()
    login_of(found, "blue").login = False
    assert located(found).slot == "blue"
    assert [why.code for why in located(found, cut="after").reasons] == [Code.ROLE_NOLOGIN]


# -- cut


def current(found: MemoryEdges, slot: Any = "blue") -> Version:
    version = found.world.current(found.configuration.credential(NAME), slot)
    assert version is not None
    return version


def cut(found: MemoryEdges, version: str | None = None, slot: Any = "blue") -> Any:
    return incident.cut(step(found, slot=slot, version=version or current(found, slot).version))


def test_a_login_that_serves_is_refused_and_its_sessions_end() -> None:
    found = edges()
    ended = cut(found)
    assert not ended.left
    assert (login_of(found, "blue").login, login_of(found, "blue").password) == (False, None)
    assert found.world.database.ended["orders_blue"] >= 1
    assert login_of(found, "green").login is False


def test_a_repeat_is_the_same() -> None:
    found = edges()
    cut(found)
    assert not cut(found).left


@pytest.mark.guarantee(1)
def test_a_login_that_the_file_does_not_allow_is_not_cut() -> None:
    found = edges((f"{CREDENTIAL}.incident", "forbidden"))
    with pytest.raises(Conflict) as caught:
        cut(found)
    assert caught.value.code is Code.INCIDENT_OFF
    assert login_of(found, "blue").login


@pytest.mark.guarantee(4)
def test_one_that_was_held_up_does_not_end_a_login_that_was_made_anew() -> None:
    found = edges()
    before = current(found).version
    found.world.write(found.configuration.credential(NAME), "blue", "another password")
    with pytest.raises(Conflict) as caught:
        cut(found, before)
    assert caught.value.code is Code.LEAK_REPLACED
    assert login_of(found, "blue").login


# -- what comes after


def planned(found: MemoryEdges, cut: Any = "first") -> Any:
    return planning.plan(step(found, request=request(cut)))


def test_a_plan_goes_on_without_a_way_back_and_says_so() -> None:
    found = edges()
    cut(found)
    plan = planned(found)
    assert (plan.active, plan.outcome) == ("blue", None)
    assert "no-way-back" in {waiver.code for waiver in plan.waivers}
    assert planned(found, "after").outcome == "refused"


def test_a_new_version_is_made_where_the_leaked_one_was_disabled_by_hand() -> None:
    found = edges()
    credential = found.configuration.credential(NAME)
    found.world.write(credential, "green", "of an earlier attempt")
    leaked = current(found)
    leaked.disabled = found.clock.now
    made = login.stage(step(found, slot="green", cut=True))
    assert current(found, "green").version == made.version
    with pytest.raises(Conflict):
        login.stage(step(found, slot="green"))
