"""Limits at clusters, servers, vaults and namespaces: who waits for a place, and who gets it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rotation.config import MaxParallel
from rotation.decisions.windows import Hours, Window
from rotation.front import places
from rotation.model.errors import ConfigurationError
from rotation.model.places import KEEPER
from tests.simulation.client import Client
from tests.simulation.run import loop
from tests.unit.fleet import Fleet
from tests.unit.virtual import APPROVAL, pytestmark

__all__ = ["pytestmark"]

SIX = [f"c{number}" for number in range(6)]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(limits=MaxParallel(servers={"*": 2}))


def test_no_more_than_the_limit_are_between_stage_and_swap(fleet: Fleet) -> None:
    fleet.start(*SIX).wait(hours=2)
    assert fleet.most_at_once("stage", "swap") == 2
    assert [fleet.record(name).stage for name in SIX] == ["approval"] * 6


def test_without_limits_nobody_asks_for_a_place(fleet: Fleet) -> None:
    fleet.limits = MaxParallel()
    fleet.start(*SIX).wait(hours=1)
    assert fleet.count("ask_place") == 0
    assert fleet.world.engine.status(KEEPER) is None
    assert fleet.most_at_once("stage", "swap") == 6


def test_while_it_waits_it_says_for_what(fleet: Fleet) -> None:
    fleet.start(*SIX).wait(minutes=5)
    assert len(fleet.busy()) == 2
    waiting = [fleet.record(name) for name in SIX if name not in fleet.busy()]
    texts = sorted(one.place.text for one in waiting if one.place)
    assert texts == [f"a place: server pg-1, 2 of 2, {n} before it" for n in range(4)]
    assert {one.steps[-1].step for one in waiting} == {"place"}


def test_a_rotation_that_was_ended_from_outside_frees_its_place(fleet: Fleet) -> None:
    fleet.start(*SIX).wait(minutes=5)
    fleet.terminate(*(f"{name}-r" for name in fleet.busy()))
    fleet.wait(minutes=2)
    assert len(fleet.busy()) == 2


def test_waiting_for_a_person_holds_no_place(fleet: Fleet) -> None:
    fleet.start("a", "b").wait(minutes=30)
    assert {fleet.record(name).stage for name in "ab"} == {"approval"}
    fleet.start("c", "d").wait(minutes=1)
    assert fleet.busy() == ["c", "d"]


def test_a_person_before_the_swap_is_waited_for_without_a_place(fleet: Fleet) -> None:
    fleet.before = dict(APPROVAL)
    fleet.start("a", "b").wait(minutes=30)
    assert {fleet.record(name).stage for name in "ab"} == {"gate"}
    fleet.start("c", "d").wait(minutes=10)
    assert all(fleet.when(name, "stage") for name in "cd")
    fleet.decide("a", "approve")
    fleet.wait(minutes=5)
    waits = fleet.record("a")
    assert (waits.steps[-1].step, fleet.when("a", "swap")) == ("place", [])
    fleet.wait(minutes=30)  # those that had both places wait for somebody now
    assert fleet.when("a", "swap")
    assert fleet.record("a").stage == "approval"


def test_whoever_is_let_through_comes_first(fleet: Fleet) -> None:
    """Both of its slots are up: it makes room once it is through."""
    fleet.limits, fleet.before = MaxParallel(servers={"*": 1}), dict(APPROVAL)
    fleet.start("a").wait(minutes=30)
    fleet.expires = {name: fleet.now() + timedelta(days=1) for name in "bc"}
    fleet.start("b", "c").wait(minutes=1)
    fleet.decide("a", "approve")
    fleet.wait(minutes=30)
    done = [(name, of) for _, name, of in fleet.calls if (name, of) != ("stage", "a")]
    order = [name for name, _ in done if name in {"stage", "swap"}]
    assert order[:3] == ["stage", "swap", "stage"]
    assert ("swap", "a") in done


def test_retiring_counts_again(fleet: Fleet) -> None:
    fleet.drains = timedelta(minutes=10)
    fleet.start("a", "b").wait(minutes=30)
    fleet.start("c", "d").wait(minutes=1)
    fleet.decide("a", "approve")
    fleet.wait(minutes=10)
    assert not fleet.when("a", "confirm")
    assert fleet.record("a").steps[-1].step == "place"
    fleet.wait(minutes=30)
    assert fleet.record("a").outcome == "completed"


def test_going_back_waits_for_no_place(fleet: Fleet) -> None:
    fleet.start("a").wait(minutes=30)
    fleet.start("b", "c").wait(minutes=1)
    fleet.decide("a", "reject")
    fleet.wait(seconds=30)
    assert fleet.record("a").outcome == "rolled-back"
    assert fleet.busy() == ["b", "c"]


def test_the_nearest_expiry_comes_first(fleet: Fleet) -> None:
    fleet.limits = MaxParallel(servers={"*": 1})
    now = fleet.now()
    fleet.expires = {name: now + timedelta(days=30 - n) for n, name in enumerate(SIX)}
    fleet.start("first").wait(minutes=1)
    fleet.start(*SIX).wait(hours=3)
    staged = sorted(SIX, key=lambda name: fleet.when(name, "stage"))
    assert staged == list(reversed(SIX))


def test_who_waits_for_a_place_can_be_cancelled(fleet: Fleet) -> None:
    fleet.start(*SIX).wait(minutes=5)
    waits = next(name for name in SIX if name not in fleet.busy())
    cancelling = fleet.record(waits).cancelling
    assert cancelling is not None
    said = {"by": "ada@contoso.example", "channel": "http", "comment": "no"}
    fleet.world.engine.raise_event(f"{waits}-r", str(cancelling.event), json.dumps(said))
    fleet.wait(seconds=5)
    assert fleet.record(waits).outcome == "aborted"
    assert not fleet.when(waits, "stage")
    fleet.wait(hours=3)
    assert all(fleet.when(name, "stage") for name in SIX if name != waits)


def test_whoever_keeps_the_places_ends_when_nobody_needs_any(fleet: Fleet) -> None:
    fleet.start("a").wait(hours=1)
    assert fleet.kept["runtimeStatus"] == "Completed"
    fleet.start("b").wait(hours=1)
    assert fleet.record("b").stage == "approval"


def test_places_are_found_out_again_after_their_keeper_was_ended(fleet: Fleet) -> None:
    fleet.start(*SIX).wait(minutes=5)
    busy = fleet.busy()
    fleet.terminate(KEEPER)
    fleet.wait(minutes=10)
    assert fleet.busy() == busy
    fleet.wait(hours=3)
    assert fleet.most_at_once("stage", "swap") == 2
    assert [fleet.record(name).stage for name in SIX] == ["approval"] * 6


def test_a_keeper_that_was_ended_and_purged_keeps_nobody_waiting(fleet: Fleet) -> None:
    """Nobody knows any more that there was one: who has a place is in what they ended with."""
    fleet.start(*SIX).wait(minutes=5)
    busy = fleet.busy()
    fleet.terminate(KEEPER)
    fleet.settle()
    assert fleet.world.engine.purge(KEEPER) == 1
    fleet.wait(hours=4)
    assert all(fleet.when(name, "swap") for name in busy)
    assert fleet.most_at_once("stage", "swap") == 2
    assert [fleet.record(name).stage for name in SIX] == ["approval"] * 6


def test_a_keeper_that_failed_is_begun_again(fleet: Fleet) -> None:
    fleet.start(*SIX).wait(minutes=1)
    fleet.script["grant_places"] = lambda _: {"held": "nonsense"}
    fleet.wait(minutes=20)
    assert fleet.kept["runtimeStatus"] == "Failed"
    del fleet.script["grant_places"]
    fleet.wait(hours=4)
    assert fleet.most_at_once("stage", "swap") == 2
    assert [fleet.record(name).stage for name in SIX] == ["approval"] * 6


def test_a_wait_that_was_ended_begins_anew(fleet: Fleet) -> None:
    fleet.start(*SIX).wait(minutes=5)
    waits = next(name for name in SIX if name not in fleet.busy())
    fleet.terminate(f"place.{waits}-r.1")
    fleet.wait(hours=3)
    assert fleet.record(waits).stage == "approval"
    assert fleet.most_at_once("stage", "swap") == 2


def test_a_lower_limit_lets_those_go_on_who_hold_a_place(fleet: Fleet) -> None:
    fleet.start(*SIX).wait(minutes=5)
    busy = fleet.busy()
    fleet.limits = MaxParallel(servers={"*": 1})
    fleet.wait(minutes=17)
    assert all(fleet.when(name, "swap") for name in busy)
    assert len(fleet.busy()) == 1


def test_the_history_of_whoever_keeps_places_stays_short(fleet: Fleet) -> None:
    fleet.takes = timedelta(minutes=110)
    fleet.start(*SIX).wait(hours=9)
    history = fleet.world.show(KEEPER, show_history=True)["historyEvents"]
    assert len(history) < 250


def test_with_a_file_that_cannot_be_used_nobody_gets_a_place(fleet: Fleet) -> None:
    fleet.start("a", "b").wait(minutes=1)
    fleet.file_error = ConfigurationError("credentials.yaml", ["clusters: is missing"])
    fleet.start("c").wait(hours=1)
    assert {fleet.record(name).stage for name in "ab"} == {"approval"}
    assert not fleet.when("c", "stage")
    place = fleet.record("c").place
    assert place is not None
    assert "clusters: is missing" in place.text
    fleet.file_error = None
    fleet.wait(minutes=30)
    assert fleet.record("c").stage == "approval"


def test_a_keeper_that_was_ended_is_begun_again_by_the_timer_too(fleet: Fleet) -> None:
    fleet.start(*SIX).wait(minutes=5)
    busy = fleet.busy()
    fleet.terminate(KEEPER)
    fleet.settle()
    loop().run_until_complete(places.begin_again(Client(lambda: fleet.world.engine, None)))
    assert fleet.kept["runtimeStatus"] == "Pending"
    fleet.wait(seconds=70)
    assert fleet.kept["runtimeStatus"] == "Running"
    assert fleet.busy() == busy


def test_more_than_a_page_of_those_that_wait_are_found(fleet: Fleet) -> None:
    """They ask in one moment of a virtual clock: a host's page is a hundred."""
    fleet.limits = MaxParallel(servers={"*": 1})
    names = [f"m{number:03}" for number in range(110)]
    for name in names:
        fleet.start(name).wait(seconds=0.01)
    fleet.wait(minutes=2)
    assert fleet.kept["customStatus"]["waiting"] == 109


def test_an_approval_outside_its_windows_retires_with_a_place(fleet: Fleet) -> None:
    fleet.hours = Hours((Window(frozenset(range(7)), 12 * 60, 13 * 60, "UTC"),))
    fleet.start("a").wait(hours=2)
    fleet.decide("a", "approve")
    fleet.wait(minutes=1)
    assert fleet.record("a").outcome == "completed"
