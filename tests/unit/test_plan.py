"""Whether a credential rotates now: every branch, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace as changed

from rotation.decisions.plan import Refuse, Rotate, Skip, Wait, active_slot, plan
from rotation.model.catalogue import Origin
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.model.world import (
    Deployment,
    Role,
    Route,
    SecretVersion,
    Slot,
    SlotState,
    Snapshot,
    WorkloadState,
    other,
)

NOW = datetime(2027, 3, 1, tzinfo=UTC)
MONTH = timedelta(days=30)
SERVING: Slot = "blue"


def deployment(name: str, **more: Any) -> Deployment:
    counts = {"replicas": 2, "ready": 2, "updated": 2, "total": 2}
    return Deployment(
        **{
            "namespace": "orders",
            "name": name,
            **counts,
            "observed": True,
            "images": {"app": "orders:1", "init:migrate": "orders:1"},
            "version": "v1",
            **more,
        }
    )


def version(slot: Slot, **more: Any) -> SecretVersion:
    known = {"secret": f"orders-{slot}", "version": f"{slot}-1", "enabled": True, "created": NOW}
    return SecretVersion(**{**known, "expires": NOW + timedelta(days=10), **more})


def route(slot: str | None) -> Route:
    return Route(slot, "http")


def workload(name: str = "api", **more: Any) -> WorkloadState:
    known: dict[str, Any] = {
        "at": f"orders/{name}",
        "production": route(SERVING),
        "preview": route(other(SERVING)),
        "deployments": {
            "blue": deployment(f"{name}-blue"),
            "green": deployment(f"{name}-green", replicas=0, ready=0, updated=0, total=0),
        },
    }
    return WorkloadState(name=name, **{**known, **more})


def world(*workloads: WorkloadState, **slots: SlotState) -> Snapshot:
    states: dict[Slot, SlotState] = {
        "blue": slots.get("blue", SlotState(Role("orders_blue", True, None), version("blue"))),
        "green": slots.get("green", SlotState(Role("orders_green", False, None), version("green"))),
    }
    return Snapshot("orders-db", states, workloads or (workload(),))


def request(origin: Origin = Origin.MANUAL, **more: Any) -> Request:
    return Request(
        rotation="r-1",
        credential="orders-db",
        origin=origin,
        requested_by="ada@contoso.example",
        reason="",
        **more,
    )


EVENT = request(Origin.NEAR_EXPIRY, secret="orders-blue", version="blue-1")
SWEEP = request(Origin.SWEEP)


def decision(found: Snapshot, asked: Request | None = None) -> Any:
    return plan(found, asked or request(), NOW, MONTH)


@pytest.mark.parametrize("asked", [request(), EVENT, changed(EVENT, origin=Origin.EXPIRED), SWEEP])
def test_a_healthy_world_rotates(asked: Request) -> None:
    assert decision(world(), asked) == Rotate("blue")


def test_it_rotates_back_too() -> None:
    green = workload(
        production=route("green"),
        deployments={"blue": deployment("api-blue", replicas=0), "green": deployment("api-green")},
    )
    login = SlotState(Role("orders_green", True, None), version("green"))
    assert decision(world(green, green=login)) == Rotate("green")


@pytest.mark.guarantee(4)
@pytest.mark.parametrize(
    ("changed", "standby"),
    [
        ("a standby slot that was left up", {"replicas": 2, "ready": 2, "updated": 2, "total": 2}),
        ("one that does not come up", {"replicas": 2, "failure": "ProgressDeadlineExceeded"}),
        ("one of other images", {"images": {"app": "orders:0", "init:migrate": "orders:0"}}),
    ],
)
def test_any_standby_is_a_start(changed: str, standby: dict[str, Any]) -> None:
    slots = {"blue": deployment("api-blue"), "green": deployment("api-green", **standby)}
    assert decision(world(workload(deployments=slots))) == Rotate("blue"), changed


@pytest.mark.parametrize(
    "green",
    [
        SlotState(Role("orders_green", True, None), version("green")),
        SlotState(Role("orders_green", False, None), None),
        SlotState(Role("orders_green", False, None), version("green", enabled=False)),
    ],
)
def test_any_standby_login_is_a_start(green: SlotState) -> None:
    assert decision(world(green=green)) == Rotate("blue")


ROLE = Role("orders_blue", True, None)
SKIPPED: list[tuple[Request, Snapshot, str]] = [
    (
        changed(EVENT, secret="orders-green"),
        world(),
        "the event is about the standby slot's secret",
    ),
    (changed(EVENT, secret="ORDERS-GREEN"), world(), "nothing serves on it"),
    (changed(EVENT, secret="foreign"), world(), "about secret foreign, not about orders-blue"),
    (changed(EVENT, version="blue-0"), world(), "no longer current: blue-1 is"),
    (
        SWEEP,
        world(blue=SlotState(ROLE, version("blue", expires=None))),
        "has no expiry date: nothing makes it due",
    ),
    (
        SWEEP,
        world(blue=SlotState(ROLE, version("blue", expires=NOW + timedelta(days=31)))),
        "is not due before 2027-03-02",
    ),
]


@pytest.mark.parametrize(("asked", "found", "why"), SKIPPED)
def test_it_is_skipped(asked: Request, found: Snapshot, why: str) -> None:
    skipped = decision(found, asked)
    assert isinstance(skipped, Skip)
    assert why in skipped.reason.text


def test_secret_names_of_events_ignore_case() -> None:
    assert decision(world(), changed(EVENT, secret="Orders-BLUE")) == Rotate("blue")


def test_a_sweep_rotates_at_the_very_threshold() -> None:
    due = SlotState(ROLE, version("blue", expires=NOW + MONTH))
    assert decision(world(blue=due), SWEEP) == Rotate("blue")


def test_what_is_asked_for_by_hand_need_not_be_due() -> None:
    assert decision(world(blue=SlotState(ROLE, version("blue", expires=None)))) == Rotate("blue")


def slots(**changes: Any) -> dict[str, Any]:
    found = {
        "blue": deployment("api-blue"),
        "green": deployment("api-green", replicas=0, ready=0, updated=0, total=0),
    }
    return {**found, **changes}


REFUSED: list[tuple[Snapshot, str]] = [
    (world(workload(production=None)), "workload api: its Service orders/api does not exist"),
    (world(workload(production=route(None))), "Service orders/api selects no slot"),
    (world(workload(production=route("red"))), "Service orders/api selects neither blue nor green"),
    (
        world(workload(), workload("web", production=route("green"))),
        "workload web: Service orders/web selects green",
    ),
    (world(blue=SlotState(ROLE, None)), "the blue slot serves and its secret does not exist"),
    (
        world(blue=SlotState(ROLE, version("blue", enabled=False))),
        "the current version of its secret orders-blue is disabled; enable it first",
    ),
    (
        world(blue=SlotState(replace(ROLE, login=False), version("blue"))),
        "the blue slot serves and its role orders_blue has NOLOGIN",
    ),
    (world(blue=SlotState(None, version("blue"))), "the blue slot's role does not exist"),
    (world(green=SlotState(None, version("green"))), "the green slot's role does not exist"),
    (world(workload(preview=None)), "workload api: its preview Service does not exist"),
    (world(workload(deployments=slots(blue=None))), "workload api: its blue Deployment does not"),
    (world(workload(deployments=slots(green=None))), "workload api: its green Deployment does not"),
    (
        world(workload(deployments=slots(green=deployment("api-green", images={"web": "x"})))),
        "do not have the same containers: app, init:migrate and web",
    ),
    (
        world(workload(deployments=slots(blue=deployment("api-blue", replicas=0)))),
        "its active Deployment api-blue is scaled to zero",
    ),
]


@pytest.mark.parametrize(("found", "problem"), REFUSED)
def test_it_is_refused(found: Snapshot, problem: str) -> None:
    refused = decision(found)
    assert isinstance(refused, Refuse)
    assert any(problem in told.text for told in refused.problems), refused.problems


UNHEALTHY = workload(deployments=slots(blue=deployment("api-blue", ready=1)))
UNDER_WAY = workload("web", deployments=slots(blue=deployment("web-blue", observed=False)))


def test_what_may_be_over_in_a_minute_is_waited_for() -> None:
    waiting = decision(world(UNHEALTHY, workload("jobs"), UNDER_WAY))
    assert isinstance(waiting, Wait)
    assert waiting.unhealthy == {
        "api": "1 of 2 pods are ready",
        "web": "the controller has not seen the latest change",
    }


def test_what_is_wrong_for_good_is_not_waited_for() -> None:
    refused = decision(world(replace(UNHEALTHY, preview=None)))
    text = "workload api: its preview Service does not exist"
    assert isinstance(refused, Refuse)
    assert [(one.code, one.text) for one in refused.problems] == [(Code.SERVICE_MISSING, text)]


def test_nothing_is_waited_for_that_would_be_skipped() -> None:
    assert isinstance(decision(world(UNHEALTHY), changed(EVENT, version="blue-0")), Skip)


def test_a_refusal_has_all_problems() -> None:
    found = world(
        workload(preview=None, deployments=slots(blue=None)),
        blue=SlotState(None, version("blue", enabled=False)),
    )
    refused = decision(found)
    assert isinstance(refused, Refuse)
    assert len(refused.problems) == 4


def test_disagreement_lists_every_workload() -> None:
    found = world(workload(), workload("web", production=route("green")))
    assert active_slot(found) is None
    refused = decision(found, EVENT)
    assert isinstance(refused, Refuse)
    assert refused.problems[0].text.startswith("the workloads do not agree on the active slot")
    assert [problem.text for problem in refused.problems[1:]] == [
        "workload api: Service orders/api selects blue",
        "workload web: Service orders/web selects green",
    ]
