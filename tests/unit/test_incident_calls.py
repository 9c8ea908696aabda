"""Who may call an incident, of what, and what becomes of a rotation that runs already."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation.config import Configuration
from rotation.front import incidents
from rotation.model.reasons import Code
from tests.security.attacked import (
    ADA,
    ADA_ID,
    CREDENTIAL,
    GRACE,
    GRACE_ID,
    Answer,
    App,
    Client,
    application,
    document,
    entra_app,
    links_app,
    person,
)

APP_ID = "70000000-0000-4000-8000-000000000000"
AFTER: dict[str, Any] = {"compromised": True, "reason": "it is in a log"}
FIRST = {**AFTER, "cut": "first", "confirmCredential": CREDENTIAL}
LISTED = [{"id": ADA_ID, "address": ADA}, {"id": GRACE_ID, "address": GRACE}]


class Seats(Client):
    """A client whose credential's orchestration hears of incidents, as the story does."""

    hears = True

    async def start_new(self, name: str, instance_id: str, request: Any) -> None:
        await super().start_new(name, instance_id, request)
        hears = {"hears": "incident-1"} if self.hears else {}
        seat = {"rotation": request["rotation"], **hears}
        self.instances[instance_id].custom_status = seat

    async def raise_event(self, instance_id: str, event_name: str, event_data: Any) -> None:
        seat = self.instances[instance_id].custom_status
        if event_name == seat.get("hears"):
            seat |= {"hears": None, "next": json.loads(json.dumps(event_data))}
            return
        await super().raise_event(instance_id, event_name, event_data)


def file(*, allowed: bool = True, approvers: Any = LISTED, names: Any = (CREDENTIAL,)) -> Any:
    whole = document(approvers)
    one = whole["credentials"].pop(CREDENTIAL)
    for number, name in enumerate(names):
        own = copy.deepcopy(one)
        own["slots"] = {
            s: {"role": f"{name}_{s}", "secret": f"{name}-{s}"} for s in ("blue", "green")
        }
        workload = own["workloads"][0]
        for key in ("name", "service", "preview"):
            workload[key] = f"{workload[key]}-{number}"
        workload["deployments"] = {s: f"api-{number}-{s}" for s in ("blue", "green")}
        whole["credentials"][name] = own | ({"incident": "allowed"} if allowed else {})
    return Configuration.model_validate(whole)


def site(*, allowed: bool = True, by_key: bool = False, names: Any = (CREDENTIAL,)) -> App:
    made = links_app(LISTED) if by_key else entra_app(LISTED)
    made.client = Seats()
    made.edges.configuration = file(allowed=allowed, names=names)
    return made


def called(app: App, headers: Any = None, **body: Any) -> Answer:
    given = {"credential": CREDENTIAL, **body} if "server" not in body else body
    return app.ask("start_rotation", body=given, headers=headers)


def refused(answer: Answer, status: int, code: Code, field: str | None = None) -> str:
    found = answer.json
    assert (answer.status, found["code"], found.get("field")) == (status, code, field), answer.text
    return str(found["detail"])


def asked(app: App, name: str = CREDENTIAL) -> dict[str, Any]:
    found: dict[str, Any] = app.client.instances[name].input_
    return found


# -- who may


def test_an_approver_who_has_signed_in_may_cut_what_the_file_allows() -> None:
    app = site()
    answer = called(app, person(GRACE_ID, GRACE), **FIRST)
    assert answer.status == 202, answer.text
    request = asked(app)
    assert (request["compromised"], request["cut"], request["leaked"]) == (True, "first", None)
    assert (request["signedIn"], request["objectId"]) == (True, GRACE_ID)


@pytest.mark.guarantee(1)
@pytest.mark.parametrize(
    ("headers", "by"),
    [
        (application(GRACE_ID), {}),  # listed, and no person
        (application(APP_ID), {"by": GRACE}),
        (person("6" * 8 + GRACE_ID[8:], "otto@contoso.example"), {}),
    ],
)
def test_nobody_else_may_cut(headers: Any, by: dict[str, str]) -> None:
    app = site()
    answer = called(app, headers, **FIRST, **by)
    assert answer.status == 403
    assert answer.json["code"] in {Code.CUT_BY_KEY, Code.NOT_ALLOWED}
    assert app.client.instances == {}


@pytest.mark.parametrize("by", [{}, {"by": GRACE}, {"by": GRACE_ID}])
def test_no_key_cuts_in_whoever_s_name(by: dict[str, str]) -> None:
    app = site(by_key=True)
    refused(called(app, **FIRST, **by), 403, Code.CUT_BY_KEY)
    assert app.client.instances == {}


def test_with_a_key_an_approver_may_be_named_for_what_cuts_nothing() -> None:
    app = site(by_key=True)
    assert called(app, **AFTER, by=GRACE).status == 202
    assert asked(app)["cut"] == "after"


@pytest.mark.parametrize("by", [None, "mallory@contoso.example"])
def test_who_may_not_approve_calls_nothing(by: str | None) -> None:
    app = site(by_key=True)
    assert called(app, **AFTER, **({"by": by} if by else {})).status == 403
    assert app.client.instances == {}


# -- of what


def test_what_the_file_does_not_allow_is_not_cut() -> None:
    app = site(allowed=False)
    refused(called(app, person(GRACE_ID), **FIRST), 422, Code.INCIDENT_OFF, "cut")
    assert called(app, person(GRACE_ID), **AFTER).status == 202


@pytest.mark.parametrize("again", [None, "", "orders", CREDENTIAL.upper()])
def test_what_is_cut_is_named_twice(again: str | None) -> None:
    body = {**FIRST, "confirmCredential": again}
    answer = called(site(), person(GRACE_ID), **body)
    refused(answer, 422, Code.NAME_NOT_REPEATED, "confirmCredential")


def test_what_is_named_for_another_one_is_not_replaced_either() -> None:
    answer = called(site(), person(GRACE_ID), **AFTER, confirmCredential="billing-db")
    refused(answer, 422, Code.NAME_NOT_REPEATED, "confirmCredential")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"compromised": "yes"}, "compromised"),
    ({"cut": "first"}, "cut"),
    ({"confirmCredential": CREDENTIAL}, "confirmCredential"),
    ({**AFTER, "reason": ""}, "reason"),
    ({**AFTER, "cut": "now"}, "cut"),
    ({**AFTER, "slot": "red"}, "slot"),
    ({**AFTER, "role": "postgres"}, "role"),
    ({**AFTER, "role": f"{CREDENTIAL}_blue", "slot": "green"}, "slot"),
    ({**AFTER, "dryRun": True}, "dryRun"),
    ({**AFTER, "outsideWindow": "why"}, "outsideWindow"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
def test_a_call_bad(body: dict[str, Any], field: str) -> None:
    app = site()
    refused(called(app, person(GRACE_ID), **body), 400, Code.BAD_REQUEST, field)
    assert app.client.instances == {}


@pytest.mark.parametrize("which", [{"slot": "green"}, {"role": f"{CREDENTIAL}_green"}])
def test_the_slot_that_leaked_is_named_by_its_role_too(which: dict[str, str]) -> None:
    app = site()
    called(app, person(GRACE_ID), **AFTER, **which)
    assert asked(app)["leaked"] == "green"


# -- where a rotation runs


def running(app: App, **changes: Any) -> str:
    rotation = app.start(headers=person(ADA_ID, ADA))
    app.client.instances[rotation].custom_status |= changes
    return rotation


def following(app: App) -> dict[str, Any]:
    found: dict[str, Any] = app.client.instances[CREDENTIAL].custom_status["next"]
    return found


@pytest.mark.guarantee(5)
def test_a_rotation_makes_way_for_what_served_when_it_began() -> None:
    app = site()
    rotation = running(app)
    answer = called(app, person(GRACE_ID), **FIRST)
    assert answer.status == 202, answer.text
    request = following(app)
    assert request["rotation"] == answer.json["rotation"]
    assert (request["takesOver"], request["leaked"]) == (rotation, "blue")
    shown = app.ask("get_rotation", "GET", b"", headers=person(GRACE_ID), id=request["rotation"])
    assert (shown.status, shown.json["stage"]) == (200, "queued")


SWAPPED = [{"step": "swap", "since": "2026-11-24T02:55:00.000Z", "until": None}]


def test_of_two_logins_that_work_it_must_be_said_which_has_leaked() -> None:
    app = site()
    rotation = running(app, steps=SWAPPED)
    refused(called(app, person(GRACE_ID), **FIRST), 422, Code.WHICH_LEAKED, "slot")
    assert called(app, person(GRACE_ID), **FIRST, slot="green").status == 202
    assert (following(app)["takesOver"], following(app)["leaked"]) == (rotation, "green")


def test_a_second_call_does_not_take_the_place_of_the_first() -> None:
    app = site()
    running(app)
    first = called(app, person(GRACE_ID), **AFTER).json["rotation"]
    assert first in refused(called(app, person(ADA_ID), **FIRST), 409, Code.BUSY)


def test_an_incident_that_is_at_it_is_left_alone_and_one_that_is_done_makes_way() -> None:
    app = site()
    called(app, person(GRACE_ID), **FIRST)
    rotation = asked(app)["rotation"]
    shown = app.client.instances[rotation].custom_status
    shown["stage"] = "prepare"
    assert "prepare" in refused(called(app, person(ADA_ID), **FIRST), 409, Code.BUSY)
    shown["stage"] = "confirmation"
    assert called(app, person(ADA_ID), **FIRST).status == 202


def test_what_replaces_makes_way_for_what_cuts() -> None:
    app = site()
    called(app, person(GRACE_ID), **AFTER)
    assert called(app, person(ADA_ID), **FIRST).status == 202
    assert following(app)["cut"] == "first"


def test_one_of_an_earlier_release_is_said_to_hear_nothing() -> None:
    app = site()
    app.client.hears = False  # type: ignore[attr-defined] # of `Seats`
    running(app)
    assert "earlier release" in refused(called(app, person(GRACE_ID), **AFTER), 409, Code.BUSY)


def test_one_that_has_ended_meanwhile_is_followed_by_a_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = site()
    rotation = running(app)

    async def ends(*_: object) -> bool:
        app.client.instances[CREDENTIAL].runtime_status = Status.Completed
        app.client.instances[rotation].custom_status["outcome"] = "completed"
        monkeypatch.undo()
        return False

    monkeypatch.setattr(incidents, "_take_over", ends)
    answer = called(app, person(GRACE_ID), **AFTER)
    assert answer.status == 202
    assert asked(app)["rotation"] == answer.json["rotation"]


# -- again


def test_one_that_needs_attention_is_called_again_as_it_was() -> None:
    app = site()
    called(app, person(GRACE_ID), **FIRST, slot="blue")
    rotation = asked(app)["rotation"]
    shown = app.client.instances[rotation].custom_status
    shown |= {"outcome": "needs-attention", "stage": "done"}
    app.client.instances[CREDENTIAL].runtime_status = Status.Completed
    body: dict[str, Any] = {"reason": "the slot is mended"}
    again = app.ask("retry_rotation", body=body, headers=person(GRACE_ID), id=rotation)
    refused(again, 422, Code.NAME_NOT_REPEATED, "confirmCredential")
    body["confirmCredential"] = CREDENTIAL
    again = app.ask("retry_rotation", body=body, headers=person(GRACE_ID), id=rotation)
    assert again.status == 202, again.text
    request = asked(app)
    assert (request["cut"], request["leaked"], request["retries"]) == ("first", "blue", rotation)


# -- a whole server

SERVER = {**AFTER, "server": "PG", "confirmServer": "pg"}
TWO = (CREDENTIAL, "billing-db")


def test_all_credentials_of_a_server_are_called_at_once() -> None:
    app = site(names=TWO)
    answer = called(app, person(GRACE_ID), **SERVER, cut="first")
    assert answer.status == 202, answer.text
    assert [one["credential"] for one in answer.json["results"]] == sorted(TWO)
    assert {asked(app, name)["cut"] for name in TWO} == {"first"}


def test_a_server_is_named_twice() -> None:
    body = {**SERVER, "confirmServer": "pg2"}
    answer = called(site(names=TWO), person(GRACE_ID), **body)
    refused(answer, 422, Code.NAME_NOT_REPEATED, "confirmServer")


def half_allowed() -> App:
    app = site(names=TWO)
    billing = app.edges.configuration.credentials["billing-db"]
    other = billing.model_copy(update={"incident": "off"})
    found = {**app.edges.configuration.credentials, "billing-db": other}
    app.edges.configuration = app.edges.configuration.model_copy(update={"credentials": found})
    return app


def test_where_one_may_not_be_cut_none_is_and_they_are_named() -> None:
    app = half_allowed()
    answer = called(app, person(GRACE_ID), **SERVER, cut="first")
    refused(answer, 422, Code.INCIDENT_OFF)
    assert [one.partition(":")[0] for one in answer.json["problems"]] == ["billing-db"]
    assert app.client.instances == {}


def test_the_others_are_cut_where_that_is_asked_for() -> None:
    app = half_allowed()
    answer = called(app, person(GRACE_ID), **SERVER, cut="first", skipNotAllowed=True)
    assert answer.status == 202
    billing, orders = answer.json["results"]
    assert billing["code"] == Code.INCIDENT_OFF
    assert orders["rotation"] == asked(app)["rotation"]
    assert "billing-db" not in app.client.instances


def test_one_that_is_busy_keeps_no_other_from_it() -> None:
    app = site(names=TWO)
    called(app, person(GRACE_ID), **FIRST)
    answer = called(app, person(ADA_ID), **SERVER, cut="after")
    billing, orders = answer.json["results"]
    assert billing["rotation"] == asked(app, "billing-db")["rotation"]
    assert orders["code"] == Code.BUSY


def test_a_server_that_nobody_sees_is_not_there() -> None:
    body = {**SERVER, "server": "pg9", "confirmServer": "pg9"}
    refused(called(site(), person(GRACE_ID), **body), 404, Code.UNKNOWN_CREDENTIAL, "server")
