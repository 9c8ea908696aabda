"""Waivers: what can be waived, by whom, what it changes in a plan, and where it is shown."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml

from rotation.config import parse
from rotation.decisions.plan import Refuse, Rotate, Wait, plan
from rotation.model import wire
from rotation.model.activities import Notice, Planned, Reference
from rotation.model.catalogue import Origin, Outcome
from rotation.model.errors import ConfigurationError, Conflict, Unavailable
from rotation.model.reasons import CODES, WAIVABLE, Area, Code, reason, why_not_waived
from rotation.model.record import Record, Waiver
from rotation.steps.planning import OWNER
from rotation.steps.planning import plan as plan_step
from rotation.steps.pods import level, start
from rotation.steps.running import Step
from rotation.steps.traffic import swap
from rotation.telling.messages import announcement, log_fields
from tests.memory import MemoryEdges
from tests.security.attacked import (
    ADA,
    ADA_ID,
    CREDENTIAL,
    GRACE,
    GRACE_ID,
    application,
    entra_app,
    links_app,
    person,
)
from tests.unit import test_messages
from tests.unit.people import FakeClient, record
from tests.unit.test_config import changed
from tests.unit.test_pages import Site, visible
from tests.unit.test_plan import (
    MONTH,
    NOW,
    REFUSED,
    UNDER_WAY,
    UNHEALTHY,
    deployment,
    request,
    slots,
    workload,
    world,
)
from tests.unit.virtual import Story, pytestmark

if TYPE_CHECKING:
    from rotation.model.world import Snapshot
    from tests.memory.cluster import DeploymentState

__all__ = ["pytestmark"]

DIFFER = str(Code.CONTAINERS_DIFFER)
UNWELL = str(Code.ACTIVE_UNHEALTHY)
DIFFERENT = workload(deployments=slots(green=deployment("api-green", images={"web": "x"})))
NEVER_WAIVED = sorted(set(CODES) - set(WAIVABLE))


# What can be waived


def test_what_can_be_waived_is_chosen_and_nothing_else_is() -> None:
    """Whoever adds to this list has thought about the way back: see docs/approvals.md."""
    assert set(WAIVABLE) == {
        Code.CONTAINERS_DIFFER,
        Code.TEMPLATES_DIFFER,
        Code.ACTIVE_UNHEALTHY,
        Code.LIVE_HOST,
        Code.ROLE_WEAKER,
        Code.SCHEDULES_DIFFER,
    }
    assert {code.area for code in WAIVABLE} == {Area.WORLD}


def test_a_code_says_whether_it_can_be_waived() -> None:
    made = inspect.signature(vars(Code)["_new_member_"])
    assert made.parameters["waived"].default is inspect.Parameter.empty


@pytest.mark.parametrize("code", NEVER_WAIVED)
def test_what_cannot_be_waived_is_said_with_what_can_be(code: str) -> None:
    text = f"{code} cannot be waived; what can be: {', '.join(sorted(WAIVABLE))}"
    assert why_not_waived(code) == text


@pytest.mark.parametrize("code", ["", "no-such-code", "CONTAINERS-DIFFER", "x" * 900])
def test_what_is_no_code_is_said_in_short(code: str) -> None:
    text = why_not_waived(code)
    assert text is not None
    assert re.match(r"'.{0,80}' is no code of a reason; what can be", text)


# The plan


def planned(found: Snapshot, *waive: str) -> Any:
    return plan(found, request(), NOW, MONTH, waive)


def test_a_waived_problem_does_not_count() -> None:
    found = planned(world(DIFFERENT), DIFFER)
    assert isinstance(found, Rotate)
    assert [one.code for one in found.waived] == [DIFFER]


def test_a_waived_rollout_is_not_waited_for() -> None:
    found = planned(world(UNHEALTHY, UNDER_WAY), UNWELL)
    assert isinstance(found, Rotate)
    assert [one.code for one in found.waived] == [UNWELL, UNWELL]


def test_everything_else_stands() -> None:
    missing = replace(DIFFERENT, preview=None)
    found = planned(world(missing), DIFFER, UNWELL)
    assert isinstance(found, Refuse)
    assert [one.code for one in found.problems] == [Code.SERVICE_MISSING]
    assert [one.code for one in found.waived] == [DIFFER]


def test_a_waiver_of_one_problem_is_none_of_another() -> None:
    assert isinstance(planned(world(UNHEALTHY), DIFFER), Wait)
    assert isinstance(planned(world(DIFFERENT), UNWELL), Refuse)


def test_a_waiver_that_is_not_needed_changes_nothing() -> None:
    assert planned(world(), DIFFER, UNWELL) == Rotate("blue")


@pytest.mark.guarantee(1, 2)
@pytest.mark.parametrize(("found", "problem"), REFUSED)
def test_whatever_is_named_what_cannot_be_waived_is_refused(found: Snapshot, problem: str) -> None:
    waived = planned(found, *CODES)
    kept = [one for one in planned(found).problems if one.code not in set(WAIVABLE)]
    assert waived == (Refuse(tuple(kept)) if kept else Rotate("blue", waived.waived)), problem


@pytest.mark.guarantee(2)
def test_a_slot_that_serves_on_no_ready_pod_is_waited_for_whatever_is_waived() -> None:
    """There would be nothing to go back to."""
    down = workload(deployments=slots(blue=deployment("api-blue", ready=0)))
    found = planned(world(down), *CODES)
    assert isinstance(found, Wait)
    assert found.code is Code.ACTIVE_DOWN


# Who may waive, over the HTTP API

PEOPLE = [{"id": ADA_ID, "address": ADA}, "Rotation.Approve"]
OTHER_ID = "90c8e6f2-0000-4000-8000-000000000000"
ROLE = {"roles": "Rotation.Approve"}


@pytest.mark.parametrize(
    ("app", "headers", "by"),
    [
        (links_app(PEOPLE), {}, ADA),
        (links_app([]), {}, GRACE),  # nobody to compare with: as it is with decisions
        (entra_app(PEOPLE), person(ADA_ID, ADA), None),
        (entra_app(PEOPLE), person(OTHER_ID, GRACE, **ROLE), None),
        (entra_app(PEOPLE), application(), ADA),
    ],
    ids=["key", "key without approvers", "person", "app role", "application"],
)
def test_who_may_approve_may_waive(app: Any, headers: dict[str, str], by: str | None) -> None:
    more = {} if by is None else {"by": by}
    app.start(headers, waive=[UNWELL, DIFFER, UNWELL], **more)
    assert app.client.instances[CREDENTIAL].input_["waive"] == [UNWELL, DIFFER]


@pytest.mark.guarantee(6)
@pytest.mark.parametrize(
    ("app", "headers", "body", "says"),
    [
        (links_app(PEOPLE), {}, {"by": GRACE}, "do not include grace@contoso.example"),
        (links_app(PEOPLE), {}, {"by": ADA_ID}, "as a mail address"),
        (links_app(PEOPLE), {}, {"by": "Rotation.Approve"}, "as a mail address"),
        (entra_app(PEOPLE), person(GRACE_ID, GRACE), {}, "do not include grace@contoso.example"),
        (entra_app(PEOPLE), person(GRACE_ID, ADA), {}, "do not include ada@contoso.example"),
        (entra_app([]), person(ADA_ID, ADA), {}, "no approvers"),
        (entra_app(PEOPLE), person(GRACE_ID, GRACE), {"by": ADA}, "leave out 'by'"),
        (entra_app(PEOPLE), application(), {"by": ADA_ID}, "as a mail address"),
    ],
)
def test_who_may_not_approve_may_not_waive(
    app: Any, headers: dict[str, str], body: dict[str, str], says: str
) -> None:
    sent = {"credential": CREDENTIAL, "waive": [UNWELL], **body}
    found = app.ask("start_rotation", body=sent, headers=headers)
    assert (found.status, found.json["code"]) == (403, "not-allowed")
    assert says in found.json["detail"]
    assert not app.client.instances


@pytest.mark.parametrize(("app", "headers"), [(links_app([]), {}), (entra_app([]), application())])
def test_whoever_waives_is_named(app: Any, headers: dict[str, str]) -> None:
    sent = {"credential": CREDENTIAL, "waive": [UNWELL]}
    found = app.ask("start_rotation", body=sent, headers=headers)
    assert (found.status, found.json["field"]) == (400, "by")
    assert not app.client.instances


@pytest.mark.parametrize("by", ["policy", " POLICY "])
def test_nobody_waives_in_the_name_of_the_policy(by: str) -> None:
    app = links_app([])
    sent = {"credential": CREDENTIAL, "waive": [UNWELL], "by": by}
    assert app.ask("start_rotation", body=sent).status == 400
    assert not app.client.instances


@pytest.mark.parametrize(
    ("waive", "code", "says"),
    [
        (["no-such-code"], "request-invalid", "'no-such-code' is no code of a reason"),
        ([UNWELL, "active-role-nologin"], "not-waivable", "active-role-nologin cannot be waived"),
        (["busy"], "not-waivable", "busy cannot be waived"),
        (UNWELL, "request-invalid", "a list of codes"),
        ([1], "request-invalid", "a list of codes"),
        ({UNWELL: True}, "request-invalid", "a list of codes"),
        ([[UNWELL]], "request-invalid", "a list of codes"),
    ],
)
def test_what_is_waived_bad(waive: object, code: str, says: str) -> None:
    app = links_app(PEOPLE)
    sent = {"credential": CREDENTIAL, "by": ADA, "waive": waive}
    found = app.ask("start_rotation", body=sent)
    assert (found.status, found.json["code"], found.json["field"]) == (400, code, "waive")
    assert says in found.json["detail"]
    assert found.json["remedy"]
    assert not app.client.instances


@pytest.mark.parametrize("waive", [[], None])
def test_who_waives_nothing_need_not_be_an_approver(waive: object) -> None:
    app = links_app(PEOPLE)
    app.start(by=GRACE, waive=waive)
    assert app.client.instances[CREDENTIAL].input_["waive"] == []


@pytest.mark.guarantee(6)
def test_whoever_waives_has_asked_and_does_not_approve_it() -> None:
    app = links_app([ADA, GRACE])
    rotation = app.start(by=ADA, waive=[UNWELL])
    assert app.decide(rotation, by=ADA).status == 403
    assert app.decide(rotation, by=GRACE).status == 200


# The file

WAIVE = f"credentials.{CREDENTIAL}.waive"


def test_the_file_waives_what_can_be() -> None:
    configured = parse(yaml.safe_dump(changed((WAIVE, [UNWELL, DIFFER]))))
    assert configured.credential(CREDENTIAL).waive == [UNWELL, DIFFER]


@pytest.mark.parametrize(
    ("waive", "problem"),
    [
        (["role-missing"], f"{WAIVE}.0: role-missing cannot be waived; what can be: active-not-"),
        (
            [UNWELL, "unwell"],
            f"{WAIVE}.1: 'unwell' is no code of a reason; what can be: active-not",
        ),
        ([7], f"{WAIVE}.0: "),
        (UNWELL, f"{WAIVE}: "),
    ],
)
def test_the_file_waives_bad(waive: object, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(yaml.safe_dump(changed((WAIVE, waive))))
    assert caught.value.problems[0].startswith(problem)


# The activities


class Drifted:
    """A credential in memory whose active Deployment has a container of its own."""

    def __init__(self, *file: str) -> None:
        self.edges = MemoryEdges(parse(yaml.safe_dump(changed((WAIVE, list(file))))))
        self.active.images["sidecar"] = "sidecar:2"

    @property
    def active(self) -> DeploymentState:
        return self.edges.world.clusters["aks"].deployments["orders", "api-blue"]

    @property
    def standby(self) -> DeploymentState:
        return self.edges.world.clusters["aks"].deployments["orders", "api-green"]

    def plan(self, origin: Origin, *waive: str) -> Planned:
        """The answer to a request of that origin; an event is about the version that serves."""
        credential = self.edges.configuration.credential(CREDENTIAL)
        current = self.edges.world.current(credential, "blue")
        assert current is not None
        asked = request(origin, secret=current.secret, version=current.version, waive=list(waive))
        reference = Reference(rotation="r-1", credential=CREDENTIAL, request=asked)
        return plan_step(Step(self.edges, reference))


UNASKED = [Origin.NEAR_EXPIRY, Origin.EXPIRED, Origin.SWEEP]


def test_a_person_waives_with_the_request() -> None:
    found = Drifted().plan(Origin.MANUAL, DIFFER)
    [waiver] = found.waivers
    assert found.active == "blue"
    assert (waiver.code, waiver.by, waiver.via) == (DIFFER, "ada@contoso.example", "request")
    assert "sidecar" in waiver.text


@pytest.mark.parametrize("origin", UNASKED)
def test_the_file_waives_for_events_and_sweeps(origin: Origin) -> None:
    found = Drifted(DIFFER).plan(origin)
    [waiver] = found.waivers
    assert found.active == "blue"
    assert (waiver.code, waiver.by, waiver.via) == (DIFFER, OWNER, "file")


def test_the_file_waives_nothing_for_a_person() -> None:
    found = Drifted(DIFFER).plan(Origin.MANUAL)
    assert found.outcome is Outcome.REFUSED
    assert [one.code for one in found.reasons] == [DIFFER]


@pytest.mark.parametrize("origin", UNASKED)
def test_what_an_event_or_a_sweep_is_made_to_waive_has_no_effect(origin: Origin) -> None:
    found = Drifted().plan(origin, DIFFER)
    assert (found.outcome, found.waivers) == (Outcome.REFUSED, [])


def test_what_is_waited_for_keeps_its_code() -> None:
    drifted = Drifted()
    for pod in drifted.active.pods:
        pod.ready_at = None
    with pytest.raises(Unavailable) as caught:
        drifted.plan(Origin.MANUAL, DIFFER, UNWELL)
    assert caught.value.code is Code.ACTIVE_DOWN


def test_a_container_of_the_active_slot_alone_is_not_put_into_the_standby() -> None:
    drifted = Drifted()
    drifted.active.images["app"] = "app:7"
    before = dict(drifted.standby.images)
    reference = Reference(
        rotation="r-1", credential=CREDENTIAL, slot="green", workload="api", version="v1"
    )
    start(Step(drifted.edges, reference))
    assert drifted.standby.images == {**before, "app": "app:7"}
    assert drifted.standby.replicas == 2


@pytest.mark.parametrize("waived", [[], [DIFFER]])
def test_traffic_moves_in_spite_of_a_container_only_where_that_is_waived(waived: list[str]) -> None:
    drifted = Drifted()
    credential = drifted.edges.configuration.credential(CREDENTIAL)
    version = drifted.edges.world.write(credential, "green", "a password")
    role = drifted.edges.world.database.roles[credential.slots["green"].role]
    role.login, role.password = True, version.password
    drifted.edges.world.clusters["aks"].scale(drifted.standby, 2)
    drifted.edges.calls.pause(0.0)
    reference = Reference(
        rotation="r-1",
        credential=CREDENTIAL,
        slot="green",
        workload="api",
        level=True,
        waived=waived,
    )
    moved = swap(Step(drifted.edges, reference))
    assert ("sidecar" in moved.released) != bool(waived)
    service = drifted.edges.world.clusters["aks"].services["orders", "api"]
    assert service.slot == ("green" if waived else "blue")


@pytest.mark.parametrize("waived", [[], [DIFFER]])
def test_a_release_is_brought_along_in_spite_of_a_container_only_where_that_is_waived(
    waived: list[str],
) -> None:
    drifted = Drifted()
    drifted.active.images["app"] = "app:8"
    reference = Reference(
        rotation="r-1", credential=CREDENTIAL, slot="green", workload="api", waived=waived
    )
    if waived:
        level(Step(drifted.edges, reference))
        assert (drifted.standby.images["app"], "sidecar" in drifted.standby.images) == (
            "app:8",
            False,
        )
        return
    with pytest.raises(Conflict) as caught:
        level(Step(drifted.edges, reference))
    assert caught.value.code is Code.CONTAINERS_DIFFER


# The story, the record and the events

WAIVERS = [
    Waiver(code=UNWELL, text=f"workload {name}: 1 of 2 pods are ready", by=ADA, via="request")
    for name in ("api", "web", "jobs", "mail")
]


def values(waivers: list[Waiver]) -> list[dict[str, Any]]:
    return [wire.value_of(waiver) for waiver in waivers]


def waived(story: Story) -> Story:
    """Its plan has waivers."""
    answer = story.plan()
    story.script["plan"] = {**answer, "waivers": values(WAIVERS)}
    return story


def test_record_and_events_tell_what_was_waived_and_by_whom() -> None:
    story = waived(Story())
    story.to_approval()
    assert story.status.waivers == WAIVERS
    assert approved(story).waivers == WAIVERS
    notices = [wire.read(Notice, notice) for notice in story.notices()]
    assert len(notices) >= 4
    for notice in notices:
        assert log_fields(notice)["waivers"] == values(WAIVERS)
        event = announcement(notice, [ADA], "https://app.example")
        assert event["data"]["waivers"] == values(WAIVERS)
        test_messages.validate(event)


def approved(story: Story) -> Record:
    story.decide("approve")
    return story.run()


def test_mails_say_what_was_waived() -> None:
    story = waived(Story())
    story.to_approval()
    told = {notice["kind"]: wire.read(Notice, notice) for notice in story.notices()}
    for kind in ("Started", "AwaitingApproval"):
        text = announcement(told[kind], [ADA], None)["data"]["text"]
        assert text.endswith(
            "Waived by ada@contoso.example: workload api: 1 of 2 pods are ready; workload web: "
            "1 of 2 pods are ready; workload jobs: 1 of 2 pods are ready; and 1 more."
        )


def test_a_refusal_tells_what_was_waived_in_vain() -> None:
    story = Story()
    refused = Planned(
        outcome=Outcome.REFUSED,
        reasons=[reason(Code.SERVICE_MISSING, "no Service")],
        waivers=WAIVERS[:1],
    )
    story.script["plan"] = wire.value_of(refused)
    record = story.run()
    assert (record.outcome, record.waivers) == (Outcome.REFUSED, WAIVERS[:1])
    [notice] = story.notices("Refused")
    assert notice["waivers"] == values(WAIVERS[:1])


def test_without_a_waiver_events_have_none() -> None:
    story = Story()
    story.to_approval()
    assert all("waivers" not in notice for notice in story.notices())
    assert story.status.waivers == []


def test_a_status_with_many_waivers_fits() -> None:
    story = Story(*(f"workload-{number}" for number in range(8)))
    many = [msgspec.structs.replace(WAIVERS[0], text="x" * 900) for _ in range(60)]
    story.script["plan"] = {**story.plan(), "waivers": values(many)}
    story.to_approval()
    assert 0 < len(story.status.waivers) < 60
    assert len(approved(story).waivers) == 60


ENDED = {"outcome": "refused", "outcomeReason": "no Service", "approval": None}


@pytest.mark.parametrize(
    ("changes", "title"), [({}, "Begun in spite of"), (ENDED, "Refused in spite of a waiver")]
)
def test_the_page_shows_what_was_waived_and_by_whom(changes: dict[str, Any], title: str) -> None:
    waiver = msgspec.structs.replace(WAIVERS[0], text="workload <api> is not ready")
    kept = record(**changes, waivers=values([waiver]))
    page = visible(Site("key", FakeClient(kept)).ask())
    assert title in page
    assert "workload <api> is not ready" in page
    assert f"waived by {ADA} , with the request: {UNWELL}" in page


def test_a_page_without_a_waiver_says_nothing_of_it() -> None:
    assert "in spite of" not in visible(Site("key").ask())
