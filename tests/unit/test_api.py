"""The HTTP API's answers: each route's status, code, field and members."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation import __version__
from rotation.model import wire
from rotation.model.reasons import Code
from tests.security.attacked import (
    ADA,
    ADA_ID,
    CREDENTIAL,
    GRACE,
    GRACE_ID,
    NOW,
    ORIGIN,
    Answer,
    App,
    application,
    entra_app,
    links_app,
    person,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def app(*approvers: Any, **approval: Any) -> App:
    return links_app(list(approvers) or [ADA, GRACE], **approval)


def refused(answer: Answer, status: int, code: Code, field: str | None = None) -> str:
    """The detail of a problem, which has this status, code and field."""
    document = answer.json
    assert (answer.status, document["status"]) == (status, status), answer.text
    assert (document["code"], document.get("field")) == (code, field)
    assert answer.headers.get("Cache-Control") == "no-store"
    return str(document["detail"])


def test_a_start_is_answered_with_where_to_look() -> None:
    site = app()
    answer = site.ask(
        "start_rotation", body={"credential": CREDENTIAL, "by": GRACE, "reason": "a leak"}
    )
    rotation = answer.json["rotation"]
    links = answer.json["links"]
    assert (answer.status, answer.json["credential"]) == (202, CREDENTIAL)
    assert answer.headers["Location"] == links["status"]
    assert links["status"] == f"{ORIGIN}/api/rotations/{rotation}"
    request = site.client.instances[CREDENTIAL].input_
    assert (request["requestedBy"], request["reason"], request["origin"]) == (
        GRACE,
        "a leak",
        "manual",
    )
    assert (request["knownAs"], request["signedIn"]) == ([GRACE], False)


def test_a_start_beside_another_is_refused_with_its_id() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    answer = site.ask("start_rotation", body={"credential": CREDENTIAL, "by": GRACE})
    assert rotation in refused(answer, 409, Code.BUSY)
    assert answer.json["rotation"] == rotation


def test_a_dry_run_says_what_a_start_would_do_and_starts_nothing() -> None:
    site = app()
    body = {"credential": CREDENTIAL, "by": GRACE, "dryRun": True}
    answer = site.ask("start_rotation", body=body)
    found = answer.json
    assert (answer.status, found["credential"]) == (200, CREDENTIAL)
    assert (found["ready"], found["would"]) == (True, "rotate")
    assert {found["active"], found["standby"]} == {"blue", "green"}
    assert found["unknown"]
    assert found["milliseconds"] >= 0
    assert site.client.instances == {}
    assert site.edges.calls.writes == []


def test_a_dry_run_tells_first_what_refuses() -> None:
    site = app()
    standby = site.ask(
        "start_rotation", body={"credential": CREDENTIAL, "by": GRACE, "dryRun": True}
    ).json["standby"]
    role = site.edges.configuration.credential(CREDENTIAL).slots[standby].role
    site.edges.world.database.foreign = {role}
    body = {"credential": CREDENTIAL, "by": GRACE, "dryRun": True}
    found = site.ask("start_rotation", body=body).json
    assert (found["ready"], found["would"]) == (False, "refuse")
    first = found["findings"][0]
    assert (first["code"], first["object"]) == ("role-not-administered", f"role {role}")
    assert site.client.instances == {}


def test_a_dry_run_beside_a_rotation_is_refused_as_a_start_is() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    body = {"credential": CREDENTIAL, "by": GRACE, "dryRun": True}
    assert rotation in refused(site.ask("start_rotation", body=body), 409, Code.BUSY)


def test_a_credentials_page_tries_nothing_while_a_rotation_is_under_way() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    made = len(site.edges.calls.made)
    page = site.ask(
        "credential_page", "GET", b"", headers={"x-functions-key": "k"}, name=CREDENTIAL
    )
    assert "A rotation is under way" in page.text
    assert f"/api/pages/rotations/{rotation}" in page.text
    assert len(site.edges.calls.made) == made


def test_who_may_not_waive_may_not_in_a_dry_run() -> None:
    site = app()
    body = {
        "credential": CREDENTIAL,
        "by": "mallory@contoso.example",
        "waive": ["templates-differ"],
        "dryRun": True,
    }
    refused(site.ask("start_rotation", body=body), 403, Code.NOT_ALLOWED, "waive")


def test_what_is_no_dry_run_starts_one() -> None:
    site = app()
    body = {"credential": CREDENTIAL, "by": GRACE, "dryRun": False}
    assert site.ask("start_rotation", body=body).status == 202


STARTS_BAD: list[tuple[dict[str, Any], int, Code, str]] = [
    ({}, 400, Code.BAD_REQUEST, "credential"),
    ({"credential": "no-such"}, 404, Code.UNKNOWN_CREDENTIAL, "credential"),
    ({"credential": CREDENTIAL, "force": True}, 400, Code.BAD_REQUEST, "force"),
    ({"credential": CREDENTIAL, "by": GRACE, "dryRun": "yes"}, 400, Code.BAD_REQUEST, "dryRun"),
    ({"credential": CREDENTIAL, "dryRun": True}, 400, Code.BAD_REQUEST, "by"),
    ({"credential": CREDENTIAL, "by": "deploy-bot"}, 400, Code.BAD_REQUEST, "by"),
    ({"credential": CREDENTIAL}, 400, Code.BAD_REQUEST, "by"),
    ({"credential": CREDENTIAL, "by": GRACE, "reason": "x" * 501}, 400, Code.BAD_REQUEST, "reason"),
]


@pytest.mark.parametrize(("body", "status", "code", "field"), STARTS_BAD)
def test_a_start_that_is_refused(body: dict[str, Any], status: int, code: Code, field: str) -> None:
    site = app()
    refused(site.ask("start_rotation", body=body), status, code, field)
    assert site.client.instances == {}


@pytest.mark.parametrize("by", [GRACE, GRACE_ID])
def test_with_a_key_an_address_or_an_object_id_can_be_compared(by: str) -> None:
    assert app().start(by=by)


def test_where_whoever_asked_may_approve_nobody_has_to_be_named() -> None:
    site = app(allowRequester=True)
    site.start()
    request = site.client.instances[CREDENTIAL].input_
    assert (request["requestedBy"], request.get("knownAs") or []) == (
        "somebody with the function key",
        [],
    )


def test_who_is_signed_in_asks_in_their_own_name() -> None:
    site = entra_app([ADA_ID, GRACE_ID])
    site.start(headers=person(GRACE_ID, GRACE))
    request = site.client.instances[CREDENTIAL].input_
    assert (request["requestedBy"], request["objectId"]) == (GRACE, GRACE_ID)
    assert request["signedIn"] is True
    assert {GRACE, GRACE_ID} <= set(request["knownAs"])


def test_who_is_signed_in_names_nobody_else() -> None:
    site = entra_app([ADA_ID, GRACE_ID])
    body = {"credential": CREDENTIAL, "by": ADA_ID}
    answer = site.ask("start_rotation", body=body, headers=person(GRACE_ID, GRACE))
    assert GRACE in refused(answer, 403, Code.NOT_ALLOWED, "by")


def test_a_program_that_is_signed_in_names_whom_it_speaks_for() -> None:
    site = entra_app([{"id": ADA_ID, "address": ADA}, GRACE_ID])
    body = {"credential": CREDENTIAL, "by": GRACE}
    answer = site.ask("start_rotation", body=body, headers=application())
    assert "object id" in refused(answer, 400, Code.BAD_REQUEST, "by")
    # One whose object id is written next to the address can be compared.
    site.start(headers=application(), by=ADA)
    assert site.client.instances[CREDENTIAL].input_["objectId"] == ADA_ID


def test_a_program_that_names_nobody_asks_itself() -> None:
    site = entra_app([ADA_ID, GRACE_ID])
    site.start(headers=application())
    assert site.client.instances[CREDENTIAL].input_["signedIn"] is True


ROUTES: list[Callable[[App], Answer]] = [
    lambda site: site.ask("start_rotation", body={"credential": CREDENTIAL}),
    lambda site: site.ask("list_rotations", "GET"),
    lambda site: site.ask("get_rotation", "GET", id="r-1"),
    lambda site: site.ask("get_evidence", "GET", id="r-1"),
    lambda site: site.ask("decide", body={"decision": "approve"}, id="r-1"),
    lambda site: site.ask("list_credentials", "GET"),
]


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("route", ROUTES, ids=range(len(ROUTES)))
def test_with_sign_in_a_key_alone_opens_nothing(route: Callable[[App], Answer]) -> None:
    refused(route(entra_app([ADA_ID])), 403, Code.NOT_SIGNED_IN)


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("route", [ROUTES[0], ROUTES[4]], ids=["start", "decide"])
def test_another_site_starts_and_decides_nothing(route: Callable[[App], Answer]) -> None:
    class Elsewhere(App):
        def ask(
            self, name: str, /, method: str = "POST", body: object = None, **more: Any
        ) -> Answer:
            headers = {**(more.pop("headers", None) or {}), "Origin": "https://evil.example"}
            return super().ask(name, method, body, headers=headers, **more)

    refused(route(Elsewhere([ADA], {})), 403, Code.FORM_FOREIGN)


def test_a_rotation_has_its_record_and_its_links() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    answer = site.ask("get_rotation", "GET", id=rotation)
    assert answer.status == 200
    assert (answer.json["rotation"], answer.json["stage"]) == (rotation, "approval")
    assert answer.json["links"]["status"] == f"{ORIGIN}/api/rotations/{rotation}"


@pytest.mark.parametrize("name", ["get_rotation", "get_evidence"])
def test_a_rotation_that_there_is_not(name: str) -> None:
    answer = app().ask(name, "GET", id="orders-db-1")
    assert "orders-db-1" in refused(answer, 404, Code.UNKNOWN_ROTATION)


def test_evidence_of_one_that_waits_and_of_one_that_has_ended() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    answer = site.ask("get_evidence", "GET", id=rotation)
    assert answer.status == 200
    assert answer.json["passed"] in {True, False}
    shown = site.client.instances[rotation].custom_status
    shown |= {"outcome": "completed", "stage": "done"}
    answer = site.ask("get_evidence", "GET", id=rotation)
    refused(answer, 409, Code.NOT_WAITING)
    assert answer.json["stage"] == "done"


def test_evidence_of_one_that_has_no_standby_yet() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    site.client.instances[rotation].custom_status["standby"] = None
    refused(site.ask("get_evidence", "GET", id=rotation), 409, Code.NOT_WAITING)


def listing(site: App, **params: str) -> Answer:
    return site.ask("list_rotations", "GET", params=params)


def test_rotations_of_the_last_thirty_days_are_listed() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    answer = listing(site)
    assert answer.status == 200
    assert [one["rotation"] for one in answer.json["rotations"]] == [rotation]
    assert answer.json["until"] == wire.moment(NOW + timedelta(minutes=5))
    assert answer.json["since"] < answer.json["until"]
    assert listing(site, credential=CREDENTIAL).json["rotations"] != []
    for other in ("other", "no/name", "-"):
        assert listing(site, credential=other).json["rotations"] == []


SPANS = [
    ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
    ("2026-11-01T02:00:00+02:00", "2026-11-02T00:00:00"),
    ("2006-08-04T00:00:00Z", "2026-11-02T00:00:00Z"),  # as long as records are kept
]


@pytest.mark.parametrize(("since", "until"), SPANS)
def test_a_span_is_answered_in_utc(since: str, until: str) -> None:
    answer = listing(app(), since=since, until=until)
    assert answer.status == 200
    assert answer.json["since"] in {"2026-11-01T00:00:00.000Z", "2006-08-04T00:00:00.000Z"}
    assert answer.json["until"] == "2026-11-02T00:00:00.000Z"


SPANS_BAD = [
    ({"since": "yesterday"}, "since"),
    ({"until": "9999-99-99"}, "until"),
    ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
    ({"since": "2026-11-02T00:00:00Z", "until": "2026-11-02T00:00:00Z"}, "since"),
    ({"since": "2026-11-02T00:00:00Z", "until": "2026-11-01T00:00:00Z"}, "since"),
    ({"after": "no-cursor"}, "after"),
    ({"after": "AAAA"}, "after"),
    ({"limit": "0"}, "limit"),
    ({"limit": "201"}, "limit"),
    ({"limit": "9" * 5}, "limit"),
    ({"limit": "ten"}, "limit"),
]


@pytest.mark.parametrize(("params", "field"), SPANS_BAD)
def test_a_span_that_is_none(params: dict[str, str], field: str) -> None:
    refused(listing(app(), **params), 400, Code.BAD_REQUEST, field)


def test_a_decision_is_recorded_with_what_was_said() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    answer = site.decide(rotation, by=ADA, comment="looks good", channel="chat")
    assert answer.status == 200
    decided = answer.json["decision"]
    assert (decided["decision"], decided["by"]) == ("approve", ADA)
    assert (decided["comment"], decided["channel"]) == ("looks good", "chat")
    assert answer.json["rotation"] == rotation
    assert site.client.events[0]["knownAs"] == [ADA]


def test_a_decision_says_http_unless_it_says_otherwise() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    assert site.decide(rotation, by=ADA, decision="reject").json["decision"]["channel"] == "http"


DECISIONS_BAD: list[tuple[dict[str, Any], str]] = [
    ({"decision": "Approve", "by": ADA}, "decision"),
    ({"decision": None, "by": ADA}, "decision"),
    ({"decision": ["approve"], "by": ADA}, "decision"),
    ({"by": ADA, "why": "x"}, "why"),
    ({}, "by"),
    ({"by": " "}, "by"),
    ({"by": "policy"}, "by"),
    ({"by": "Policy"}, "by"),
    ({"by": ADA, "channel": "Page"}, "channel"),
    ({"by": ADA, "channel": "link-2"}, "channel"),
    ({"by": ADA, "channel": "policy"}, "channel"),
    ({"by": ADA, "channel": "x" * 41}, "channel"),
    ({"by": ADA, "comment": "x" * 2001}, "comment"),
]


@pytest.mark.parametrize(("body", "field"), DECISIONS_BAD)
def test_a_decision_that_is_none(body: dict[str, Any], field: str) -> None:
    site = app()
    rotation = site.start(by=GRACE)
    refused(site.decide(rotation, **body), 400, Code.BAD_REQUEST, field)
    assert site.client.events == []


def test_a_comment_may_be_as_long_as_it_may() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    assert site.decide(rotation, by=ADA, comment="x" * 2000, channel="y" * 40).status == 200


@pytest.mark.guarantee(6)
def test_who_may_not_decide_is_told_so() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    assert "eve@x" in refused(site.decide(rotation, by="eve@x"), 403, Code.NOT_ALLOWED)
    assert "somebody else" in refused(site.decide(rotation, by=GRACE), 403, Code.NOT_ALLOWED)
    assert site.client.events == []


@pytest.mark.guarantee(6)
def test_who_is_signed_in_decides_in_their_own_name() -> None:
    site = entra_app([ADA_ID, GRACE_ID])
    rotation = site.start(headers=person(GRACE_ID, GRACE))
    answer = site.decide(rotation, headers=person(ADA_ID, ADA), by=GRACE)
    refused(answer, 403, Code.NOT_ALLOWED, "by")
    answer = site.decide(rotation, headers=person(ADA_ID, ADA), channel="chat")
    decided = answer.json["decision"]
    assert (answer.status, decided["by"], decided["channel"]) == (200, ADA, "chat")
    assert (decided["objectId"], decided["signedIn"]) == (ADA_ID, True)


def test_a_program_that_is_signed_in_decides_for_whom_it_names() -> None:
    site = entra_app([{"id": ADA_ID, "address": ADA}, GRACE_ID])
    rotation = site.start(headers=person(GRACE_ID, GRACE))
    refused(site.decide(rotation, headers=application()), 400, Code.BAD_REQUEST, "by")
    assert site.decide(rotation, headers=application(), by=ADA).status == 200


def test_a_second_decision_is_too_late() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    site.decide(rotation, by=ADA)
    answer = site.decide(rotation, by=ADA, decision="reject")
    assert ADA in refused(answer, 409, Code.ALREADY_DECIDED)
    assert answer.json["decision"]["decision"] == "approve"
    assert answer.json["stage"] == "approval"


def test_somebody_was_a_moment_faster() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    shown = site.client.instances[rotation].custom_status
    faster = {"decision": "reject", "by": ADA, "channel": "page", "comment": "", "id": "1"}

    async def beaten(instance_id: str, event_name: str, event_data: Any) -> None:
        shown["decision"] = {"at": "2026-11-24T03:00:00.000Z", **faster}

    site.client.raise_event = beaten  # type: ignore[method-assign]
    answer = site.decide(rotation, by=ADA)
    assert "rejected already" in refused(answer, 409, Code.ALREADY_DECIDED)
    assert answer.json["decision"]["decision"] == "reject"
    assert answer.json["stage"] == "approval"


def test_a_decision_before_it_is_asked_for() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    site.client.instances[rotation].custom_status |= {"approval": None, "stage": "swap"}
    answer = site.decide(rotation, by=ADA)
    assert "its stage is swap" in refused(answer, 409, Code.NOT_WAITING)
    assert answer.json["stage"] == "swap"
    assert "decision" not in answer.json


def test_a_decision_that_was_looked_at_and_did_not_count() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    shown = site.client.instances[rotation].custom_status

    async def ignored(instance_id: str, event_name: str, event_data: Any) -> None:
        shown["approval"] |= {"event": "decision-2", "ignored": ["it was for another"]}

    site.client.raise_event = ignored  # type: ignore[method-assign]
    answer = site.decide(rotation, by=ADA)
    assert "it was for another" in refused(answer, 409, Code.NOT_WAITING)


def test_a_decision_that_is_on_its_way() -> None:
    site = app()
    rotation = site.start(by=GRACE)

    async def taken(instance_id: str, event_name: str, event_data: Any) -> None:
        site.client.instances.clear()  # the hub has it, and shows nothing just now

    site.client.raise_event = taken  # type: ignore[method-assign]
    answer = site.decide(rotation, by=ADA)
    assert (answer.status, answer.json) == (202, {"rotation": rotation, "decision": None})


def test_a_rotation_that_was_ended_takes_no_decision() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    site.client.instances[rotation].runtime_status = Status.Terminated
    refused(site.decide(rotation, by=ADA), 409, Code.NOT_WAITING)


def test_credentials_are_listed_as_they_are_now() -> None:
    site = app()
    rotation = site.start(by=GRACE)
    answer = site.ask("list_credentials", "GET")
    assert answer.status == 200
    (seen,) = answer.json["credentials"]
    assert (seen["credential"], seen["active"], seen["rotation"]) == (CREDENTIAL, "blue", rotation)
    blue = seen["slots"]["blue"]
    assert (blue["role"], blue["login"], blue["secret"]) == ("orders_blue", True, "orders-blue")
    assert blue["enabled"] is True
    assert blue["version"]
    assert blue["expires"]


def test_a_slot_without_role_and_secret_is_shown_as_empty() -> None:
    site = app()
    site.edges.world.database.roles.pop("orders_green")
    site.edges.world.vault_at("https://kv-orders.vault.azure.net").secrets.pop("orders-green", None)
    (seen,) = site.ask("list_credentials", "GET").json["credentials"]
    serves = seen["slots"]["green"].pop("serves")
    assert (serves, set(seen["slots"]["green"].values())) == (False, {None})


def test_health() -> None:
    answer = App([ADA], {}).ask("health", "GET")
    assert answer.status == 200
    assert answer.json == {
        "status": "ok",
        "version": __version__,
        "credentials": 1,
        "signIn": "links",
        "notifications": False,
        "records": True,
    }
    topic = {"ROTATION_TOPIC_ENDPOINT": "https://t.westeurope-1.eventgrid.azure.net/api/events"}
    assert App([ADA], topic).ask("health", "GET").json["notifications"] is True
    assert entra_app([ADA]).ask("health", "GET").json["signIn"] == "entra"


def test_the_description_of_the_api_is_there_for_anybody() -> None:
    answer = app().ask("openapi", "GET")
    assert answer.status == 200
    assert answer.json["openapi"].startswith("3.1")
    assert "/rotations/{id}" in " ".join(answer.json["paths"])
