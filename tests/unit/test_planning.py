"""Pure decisions: every branch, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotation.model.world import (
    Deployment,
    Origin,
    Refuse,
    Request,
    Role,
    Rotate,
    SecretVersion,
    Service,
    Skip,
    Slot,
    SlotState,
    Snapshot,
    Wait,
    WorkloadState,
    other,
)
from rotation.planning import (
    Expectation,
    Verdict,
    active_slot,
    decide,
    fill,
    judge,
    unready,
    verdict,
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


def service(name: str, slot: str | None) -> Service:
    return Service("orders", name, slot, "http")


def workload(name: str = "api", **more: Any) -> WorkloadState:
    known: dict[str, Any] = {
        "service": service(name, SERVING),
        "preview": service(f"{name}-preview", other(SERVING)),
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


def request(origin: Origin = "manual", **more: Any) -> Request:
    return Request("r-1", "orders-db", origin, "ada@contoso.example", "", **more)


EVENT = request("near-expiry", secret="orders-blue", version="blue-1")
SWEEP = request("sweep")


def decision(found: Snapshot, asked: Request | None = None) -> Any:
    return decide(found, asked or request(), NOW, MONTH)


@pytest.mark.parametrize("asked", [request(), EVENT, replace(EVENT, origin="expired"), SWEEP])
def test_a_healthy_world_rotates(asked: Request) -> None:
    assert decision(world(), asked) == Rotate("blue", "green")


def test_it_rotates_back_too() -> None:
    green = workload(
        service=service("api", "green"),
        deployments={"blue": deployment("api-blue", replicas=0), "green": deployment("api-green")},
    )
    login = SlotState(Role("orders_green", True, None), version("green"))
    assert decision(world(green, green=login)) == Rotate("green", "blue")


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
    assert decision(world(workload(deployments=slots))) == Rotate("blue", "green"), changed


@pytest.mark.parametrize(
    "green",
    [
        SlotState(Role("orders_green", True, None), version("green")),
        SlotState(Role("orders_green", False, None), None),
        SlotState(Role("orders_green", False, None), version("green", enabled=False)),
    ],
)
def test_any_standby_login_is_a_start(green: SlotState) -> None:
    assert decision(world(green=green)) == Rotate("blue", "green")


ROLE = Role("orders_blue", True, None)
SKIPPED: list[tuple[Request, Snapshot, str]] = [
    (
        replace(EVENT, secret="orders-green"),
        world(),
        "the event is about the standby slot's secret",
    ),
    (replace(EVENT, secret="ORDERS-GREEN"), world(), "nothing serves on it"),
    (replace(EVENT, secret="foreign"), world(), "about secret foreign, not about orders-blue"),
    (replace(EVENT, version="blue-0"), world(), "no longer current: blue-1 is"),
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


@pytest.mark.parametrize(("asked", "found", "reason"), SKIPPED)
def test_it_is_skipped(asked: Request, found: Snapshot, reason: str) -> None:
    skipped = decision(found, asked)
    assert isinstance(skipped, Skip)
    assert reason in skipped.reason


def test_secret_names_of_events_ignore_case() -> None:
    assert decision(world(), replace(EVENT, secret="Orders-BLUE")) == Rotate("blue", "green")


def test_a_sweep_rotates_at_the_very_threshold() -> None:
    due = SlotState(ROLE, version("blue", expires=NOW + MONTH))
    assert decision(world(blue=due), SWEEP) == Rotate("blue", "green")


def test_what_is_asked_for_by_hand_need_not_be_due() -> None:
    assert decision(world(blue=SlotState(ROLE, version("blue", expires=None)))) == Rotate(
        "blue", "green"
    )


def slots(**changes: Any) -> dict[str, Any]:
    found = {
        "blue": deployment("api-blue"),
        "green": deployment("api-green", replicas=0, ready=0, updated=0, total=0),
    }
    return {**found, **changes}


REFUSED: list[tuple[Snapshot, str]] = [
    (world(workload(service=None)), "workload api: its Service does not exist"),
    (world(workload(service=service("api", None))), "Service orders/api selects no slot"),
    (world(workload(service=service("api", "red"))), "Service orders/api selects red"),
    (
        world(workload(), workload("web", service=service("web", "green"))),
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
    assert any(problem in text for text in refused.problems), refused.problems


UNHEALTHY = workload(deployments=slots(blue=deployment("api-blue", ready=1)))
UNDER_WAY = workload("web", deployments=slots(blue=deployment("web-blue", observed=False)))


def test_what_may_be_over_in_a_minute_is_waited_for() -> None:
    assert decision(world(UNHEALTHY, workload("jobs"), UNDER_WAY)) == Wait(
        (
            "workload api: its active Deployment api-blue is not healthy: 1 of 2 pods are ready",
            (
                "workload web: its active Deployment web-blue is not healthy: "
                "the controller has not seen the latest change"
            ),
        )
    )


def test_what_is_wrong_for_good_is_not_waited_for() -> None:
    refused = decision(world(replace(UNHEALTHY, preview=None)))
    assert refused == Refuse(("workload api: its preview Service does not exist",))


def test_nothing_is_waited_for_that_would_be_skipped() -> None:
    assert isinstance(decision(world(UNHEALTHY), replace(EVENT, version="blue-0")), Skip)


def test_a_refusal_has_all_problems() -> None:
    found = world(
        workload(preview=None, deployments=slots(blue=None)),
        blue=SlotState(None, version("blue", enabled=False)),
    )
    refused = decision(found)
    assert isinstance(refused, Refuse)
    assert len(refused.problems) == 4


def test_disagreement_lists_every_workload() -> None:
    found = world(workload(), workload("web", service=service("web", "green")))
    assert active_slot(found) is None
    refused = decision(found, EVENT)
    assert isinstance(refused, Refuse)
    assert refused.problems[0].startswith("the workloads do not agree on the active slot")
    assert refused.problems[1:] == (
        "workload api: Service orders/api selects blue",
        "workload web: Service orders/web selects green",
    )


UNREADY: list[tuple[dict[str, Any], str | None, str]] = [
    ({"observed": False}, None, "the controller has not seen the latest change"),
    ({"version": "v0"}, "v1", "its pods are of secret version v0, not v1"),
    ({"version": None}, "v1", "its pods are of secret version None, not v1"),
    ({"updated": 1}, None, "1 of 2 pods are updated"),
    ({"total": 3}, None, "1 earlier pods are still there"),
    ({"ready": 0}, None, "0 of 2 pods are ready"),
]


@pytest.mark.parametrize(("state", "wanted", "reason"), UNREADY)
def test_unready(state: dict[str, Any], wanted: str | None, reason: str) -> None:
    assert unready(deployment("api-blue", **state), wanted) == reason


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ({}, None),
        ({}, "v1"),
        ({"version": None}, None),
        ({"replicas": 0, "ready": 0, "updated": 0, "total": 0}, None),
    ],
)
def test_unready_bad(state: dict[str, Any], wanted: str | None) -> None:
    """A rollout that is finished."""
    assert unready(deployment("api-blue", **state), wanted) is None


PASSING: list[tuple[dict[str, Any], bytes]] = [
    ({}, b"anything at all"),
    ({"role": "orders_green"}, b'{"role": "orders_green", "more": 1}'),
    ({"ok": True}, b'{"ok": true}'),
    ({"n": 1}, b'{"n": 1}'),
    ({"cause": None}, b'{"cause": null}'),
]


@pytest.mark.parametrize(("fields", "body"), PASSING)
def test_judge(fields: dict[str, Any], body: bytes) -> None:
    assert judge(Expectation(200, fields), 200, body) is None


FAILING: list[tuple[dict[str, Any], int, bytes, str]] = [
    ({}, 500, b"", "answered 500, not 200"),
    ({"a": 1}, 302, b'{"a": 1}', "answered 302, not 200"),
    ({"a": 1}, 200, b"", "did not answer JSON"),
    ({"a": 1}, 200, b"\xff\xfe", "did not answer JSON"),
    ({"a": 1}, 200, b"[" * 60000, "did not answer JSON"),
    ({"a": 1}, 200, b"1" * 60000, "did not answer JSON"),
    ({"a": 1}, 200, b"[1]", "did not answer a JSON object"),
    ({"a": 1}, 200, b'{"a": "1"}', "JSON field 'a' is not 1"),
    ({"a": 1}, 200, b'{"a": true}', "JSON field 'a' is not 1"),
    ({"a": True}, 200, b'{"a": 1}', "JSON field 'a' is not True"),
    ({"a": None}, 200, b"{}", "JSON field 'a' is not None"),
    ({"role": "orders_green"}, 200, b'{"role": "orders_blue"}', "'role' is not 'orders_green'"),
]


@pytest.mark.parametrize(("fields", "status", "body", "problem"), FAILING)
def test_judge_bad(fields: dict[str, Any], status: int, body: bytes, problem: str) -> None:
    found = judge(Expectation(200, fields), status, body)
    assert found is not None
    assert problem in found


@given(st.binary())
def test_judge_never_repeats_the_body(body: bytes) -> None:
    found = judge(Expectation(200, {"role": "x"}), 200, b"\x00hunter2" + body)
    assert found is not None
    assert "hunter2" not in found


def test_fill_knows_two_words() -> None:
    assert fill("{role}-{slot}-{role.__class__}-{}-{0}", "r{slot}", "blue") == (
        "rblue-blue-{role.__class__}-{}-{0}"
    )


GIVEN = {"decision": "approve", "by": "grace@contoso.example", "channel": "page", "comment": "ok"}


def test_verdict() -> None:
    assert verdict(GIVEN, "ada@contoso.example") == Verdict(
        "approve", "grace@contoso.example", "page", "ok"
    )


@pytest.mark.parametrize(
    ("event", "requester"),
    [
        ({"decision": "reject", "by": "ada"}, "ada"),  # who asked for it may always stop it
        ({"decision": "approve", "by": "ada"}, None),
        ({"decision": "approve", "by": "ada"}, "adam"),
    ],
)
def test_verdict_of_the_requester(event: dict[str, str], requester: str | None) -> None:
    assert verdict(event, requester) == Verdict(event["decision"], "ada", "unknown", "")  # type: ignore[arg-type]  # a literal


VERDICTS_BAD: list[tuple[Any, str]] = [
    (None, "it is not a JSON object"),
    ("approve", "it is not a JSON object"),
    ([GIVEN], "it is not a JSON object"),
    ({}, "its decision is neither approve nor reject"),
    ({**GIVEN, "decision": "Approve"}, "its decision is neither"),
    ({**GIVEN, "decision": ["approve"]}, "its decision is neither"),
    ({**GIVEN, "decision": {"approve": 1}}, "its decision is neither"),
    ({**GIVEN, "by": None}, "it does not say who decided"),
    ({**GIVEN, "by": "  "}, "it does not say who decided"),
    ({**GIVEN, "by": 7}, "it does not say who decided"),
    ({**GIVEN, "by": "x" * 501}, "it does not say who decided"),
    ({**GIVEN, "by": " ADA@contoso.example "}, "asked for this rotation and may not approve it"),
    ({**GIVEN, "known_as": ["x", "Ada@Contoso.example"]}, "may not approve it"),
]


@pytest.mark.parametrize(("event", "reason"), VERDICTS_BAD)
def test_verdict_bad(event: Any, reason: str) -> None:
    found = verdict(event, "ada@contoso.example")
    assert isinstance(found, str)
    assert reason in found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(JSON | st.fixed_dictionaries({"decision": JSON, "by": JSON, "known_as": JSON}))
def test_verdict_takes_any_event(event: Any) -> None:
    assert isinstance(verdict(event, "ada"), Verdict | str)
