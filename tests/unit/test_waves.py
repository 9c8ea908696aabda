"""Waves: who begins when, what stops them, and what becomes of what has begun."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

import pytest

from rotation.config import MaxParallel
from rotation.front import waves
from rotation.model import wire
from rotation.model.catalogue import Outcome
from rotation.model.waves import FAILED, MemberState, Wave, WaveCancel, WaveMember
from rotation.story import waves as story
from rotation.telling import waves as events
from tests.simulation.client import Client
from tests.simulation.run import loop
from tests.unit.fleet import Fleet
from tests.unit.test_messages import validate
from tests.unit.virtual import denied, pytestmark

if TYPE_CHECKING:
    from rotation.model.waves import Running

__all__ = ["pytestmark"]

ID = "wave.20270301T120000-ab12"
NAMES = ["canary", *(f"c{number}" for number in range(7))]


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet(limits=MaxParallel())
    fleet.names = list(NAMES)
    return fleet


def start(fleet: Fleet, **more: Any) -> None:
    members = [
        WaveMember(credential=name, rotation=waves.rotation_id(ID, fleet.now(), name))
        for name in NAMES
    ]
    given: dict[str, Any] = {"first": 1, "size": 3, "pause": 0.0, "stop_after": 2, **more}
    wave = Wave(
        wave=ID,
        requested_by="ada@contoso.example",
        reason="because",
        select={"all": True},
        members=members,
        known_as=["ada@contoso.example"],
        **given,
    )
    fleet.world.engine.start("wave", ID, json.dumps(wire.value_of(wave)))
    fleet.settle()


def shown(fleet: Fleet) -> Wave:
    found = loop().run_until_complete(waves.find(Client(lambda: fleet.world.engine, None), ID))
    assert found is not None
    return found


def states(fleet: Fleet) -> str:
    """The first letters of the members' states, in their order."""
    return "".join(one.state[0] for one in shown(fleet).members)


def cancel(fleet: Fleet, running: Running) -> None:
    event = shown(fleet).cancelling
    assert event is not None
    wish = WaveCancel(by="ada@contoso.example", channel="http", comment="no", running=running)
    fleet.world.engine.raise_event(ID, event, json.dumps(wire.value_of(wish)))
    fleet.settle()


def fails(fleet: Fleet, *names: str) -> None:
    """Has the rotations of these credentials end before they swap."""
    fleet.script["stage"] = lambda given: denied(given) if given["credential"] in names else None


def rotation_of(fleet: Fleet, name: str) -> dict[str, Any]:
    return fleet.world.show(waves.rotation_id(ID, fleet.began, name))


def test_the_canary_goes_first_and_then_some_at_once(fleet: Fleet) -> None:
    start(fleet)
    assert states(fleet) == "sppppppp"
    fleet.wait(minutes=26)
    assert states(fleet) == "wssspppp"
    fleet.wait(minutes=30)
    assert states(fleet) == "wwwwsssp"
    fleet.wait(minutes=60)
    found = shown(fleet)
    assert (found.phase, states(fleet)) == ("completed", "w" * 8)
    assert fleet.most_at_once("stage", "swap") == 3


def test_no_activity_looks_at_many(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wave may have two thousand that wait for their decisions."""
    asked: list[int] = []
    monkeypatch.setattr(story, "TOGETHER", 3)
    fleet.script["follow_rotations"] = lambda given: asked.append(len(given["wave"]["members"]))
    start(fleet)
    fleet.wait(hours=2)
    assert (shown(fleet).phase, states(fleet)) == ("completed", "w" * 8)
    assert max(asked) == 3


def test_each_rotation_says_who_asked_and_in_which_wave(fleet: Fleet) -> None:
    start(fleet)
    request = rotation_of(fleet, "canary")["input"]
    asked = json.loads(request) if isinstance(request, str) else request
    assert (asked["wave"], asked["requestedBy"], asked["origin"]) == (
        ID,
        "ada@contoso.example",
        "manual",
    )


def test_a_canary_that_fails_stops_it(fleet: Fleet) -> None:
    fails(fleet, "canary")
    start(fleet)
    fleet.wait(hours=1)
    found = shown(fleet)
    assert (found.phase, states(fleet)) == ("stopped", "appppppp")
    assert found.why == "the canary failed: canary"


def test_it_stops_after_so_many_failures(fleet: Fleet) -> None:
    fails(fleet, "c0", "c1")
    start(fleet)
    fleet.wait(hours=3)
    assert (shown(fleet).phase, states(fleet)) == ("stopped", "waawpppp")
    assert not any(fleet.when(name, "stage") for name in ("c3", "c4", "c5", "c6"))


def test_fewer_failures_do_not_stop_it(fleet: Fleet) -> None:
    fails(fleet, "c0")
    start(fleet)
    fleet.wait(hours=3)
    assert (shown(fleet).phase, states(fleet)) == ("completed", "wa" + "w" * 6)


def test_a_decision_on_earlier_ones_counts(fleet: Fleet) -> None:
    start(fleet, stop_after=1)
    fleet.wait(minutes=26)
    rotation = waves.rotation_id(ID, fleet.began, "canary")
    gate = rotation_of(fleet, "canary")["customStatus"]["approval"]["event"]
    said = {"decision": "reject", "by": "grace@contoso.example", "channel": "page", "comment": ""}
    fleet.world.engine.raise_event(rotation, gate, json.dumps(said))
    fleet.wait(hours=2)
    assert (shown(fleet).phase, states(fleet)) == ("stopped", "rwwwpppp")


def test_it_pauses_between_batches(fleet: Fleet) -> None:
    start(fleet, pause=3600.0)
    fleet.wait(minutes=40)
    assert (shown(fleet).phase, states(fleet)) == ("pausing", "wppppppp")
    fleet.wait(minutes=60)
    assert states(fleet) == "wssspppp"


def test_a_busy_credential_is_passed_over(fleet: Fleet) -> None:
    fleet.takes = timedelta(hours=2)
    fleet.start("c1").wait(minutes=1)
    fleet.takes = timedelta(minutes=20)
    fleet.began = fleet.now()
    start(fleet)
    fleet.wait(hours=1)
    assert {one.credential: one.state for one in shown(fleet).members}["c1"] == "busy"


@pytest.mark.parametrize(("running", "states_then"), [("keep", "wwwwpppp"), ("cancel", "waaapppp")])
def test_a_cancel_lets_nothing_more_begin(fleet: Fleet, running: Running, states_then: str) -> None:
    start(fleet)
    fleet.wait(minutes=26)
    cancel(fleet, running)
    fleet.wait(hours=3)
    assert shown(fleet).phase == "cancelled"
    after = "".join(
        "p" if (found := fleet.world.engine.status(one.rotation)) is None else
        "w" if found["runtimeStatus"] == "Running" else "a"
        for one in shown(fleet).members
    )  # fmt: skip
    assert after == states_then


def test_a_pause_can_be_cancelled(fleet: Fleet) -> None:
    start(fleet, pause=3600.0)
    fleet.wait(minutes=40)
    cancel(fleet, "keep")
    assert shown(fleet).phase == "cancelled"


def test_its_history_stays_short(fleet: Fleet) -> None:
    fleet.takes = timedelta(hours=1.5)
    start(fleet)
    lengths = []
    for _ in range(12):
        fleet.wait(hours=1)
        lengths.append(len(fleet.world.show(ID, show_history=True)["historyEvents"]))
    assert max(lengths) < 600
    assert shown(fleet).phase == "completed"


def test_one_that_is_ended_from_outside_says_so(fleet: Fleet) -> None:
    start(fleet)
    fleet.terminate(ID)
    fleet.settle()
    assert (shown(fleet).phase, shown(fleet).why) == ("stopped", "its orchestration was terminated")


def told(fleet: Fleet) -> list[tuple[str, dict[str, int]]]:
    """What was logged and announced of the wave."""
    return [(str(one.kind), one.members) for one in fleet.notices]


def test_it_tells_that_it_begins_and_that_all_have_begun(fleet: Fleet) -> None:
    start(fleet)
    fleet.wait(hours=4)
    assert told(fleet) == [("WaveStarted", {"planned": 8}), ("WaveFinished", {"waiting": 8})]


def test_it_tells_that_it_stopped(fleet: Fleet) -> None:
    fails(fleet, "canary")
    start(fleet)
    fleet.wait(hours=1)
    assert told(fleet)[1:] == [("WaveStopped", {"aborted": 1, "planned": 7})]
    assert fleet.notices[-1].why == "the canary failed: canary"


def test_it_tells_who_cancelled_it(fleet: Fleet) -> None:
    start(fleet)
    fleet.wait(minutes=26)
    cancel(fleet, "keep")
    last = fleet.notices[-1]
    assert (str(last.kind), last.phase) == ("WaveStopped", "cancelled")
    assert last.cancelled is not None
    assert last.cancelled.by == "ada@contoso.example"


def test_what_it_tells_is_an_event_that_its_schema_allows(fleet: Fleet) -> None:
    start(fleet)
    fleet.wait(minutes=26)
    cancel(fleet, "keep")
    for notice in fleet.notices:
        event = events.event(notice, "https://app.example")
        validate(event)
        assert event["data"]["links"]["page"] == f"https://app.example/api/pages/waves/{ID}"
    assert [events.words(one)[0] for one in fleet.notices] == ["wave started", "wave cancelled"]


def test_whoever_is_rejected_in_a_pause_stops_it(fleet: Fleet) -> None:
    start(fleet, stop_after=1, pause=3600.0)
    fleet.wait(minutes=40)
    assert shown(fleet).phase == "pausing"
    gate = rotation_of(fleet, "canary")["customStatus"]["approval"]["event"]
    rotation = waves.rotation_id(ID, fleet.began, "canary")
    said = {"decision": "reject", "by": "grace@contoso.example", "channel": "page", "comment": ""}
    fleet.world.engine.raise_event(rotation, gate, json.dumps(said))
    fleet.wait(hours=2)
    assert (shown(fleet).phase, states(fleet)) == ("stopped", "rppppppp")


def test_a_member_may_end_in_every_way_that_a_rotation_ends_in() -> None:
    assert {str(outcome) for outcome in Outcome} <= set(get_args(MemberState))
    assert Outcome.SUPERSEDED not in FAILED  # an incident took it over: it is dealt with
