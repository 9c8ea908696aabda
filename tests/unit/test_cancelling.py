"""Cancelling and starting again over HTTP and on the pages: who may, and what is answered."""

from __future__ import annotations

import asyncio
import html
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation.front import cancelling
from rotation.front.hub import unavailable
from rotation.front.parts import tell_to_stop
from rotation.front.rotations import find
from rotation.model.activities import STOP
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Cancel
from tests.unit.people import (
    ANNA,
    BEN,
    ROTATION,
    FakeClient,
    Instance,
    preparing,
    record,
    signed_in,
)
from tests.unit.people import shown as shown_record
from tests.unit.test_openapi import call, documented, whole
from tests.unit.test_pages import ADDRESS, Site

if TYPE_CHECKING:
    from rotation.model.record import ShownRecord

BEN_S = "ben@contoso.example"
CANCEL = {"by": BEN_S, "comment": "not during the sale"}
ENDED = {"stage": "done", "approval": None}


def at_work(**changes: Any) -> FakeClient:
    """With a request as the app makes it."""
    return FakeClient(preparing(request=whole()["request"], **changes))


def answered(operation: str, client: FakeClient, **body: Any) -> tuple[int, dict[str, Any]]:
    """The status and the document of an answer, which is as it is described."""
    answer = call(operation, client, id=ROTATION, body=body)
    return answer.status_code, documented(operation, answer)


# -- cancel


def test_a_cancel_is_recorded_with_who_and_why() -> None:
    client = at_work()
    status, said = answered("cancel_rotation", client, **CANCEL)
    assert (status, said["rotation"]) == (200, ROTATION)
    wish = said["cancelled"]
    assert (wish["by"], wish["channel"], wish["comment"]) == (BEN_S, "http", CANCEL["comment"])
    assert (wish["knownAs"], wish.get("signedIn", False)) == ([BEN_S], False)
    assert [name for name, _ in client.raised] == ["cancel-1"]


def test_a_repeat_is_answered_with_the_first_and_raises_nothing() -> None:
    client = at_work()
    _, first = answered("cancel_rotation", client, **CANCEL)
    assert answered("cancel_rotation", client, by="ada@contoso.example") == (200, first)
    assert len(client.raised) == 1


def test_one_that_is_not_recorded_yet_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    client = at_work()
    client.deaf = True
    monkeypatch.setattr(cancelling.submit, "__defaults__", (-1.0,))
    status, said = answered("cancel_rotation", client, **CANCEL)
    assert (status, said["cancelled"]) == (202, None)


LATE: list[tuple[dict[str, Any], str]] = [
    ({"cancelling": {"event": None, "gate": 1, "ignored": []}, "stage": "retire"}, "being aborted"),
    ({"cancelling": None}, "earlier release"),
    (
        {
            "cancelling": {"event": None, "gate": 1, "ignored": []},
            "stage": "swap",
            "steps": [{"step": "swap", "since": "2026-11-24T02:50:00.000Z", "until": None}],
        },
        "only a rejection by an approver goes back",
    ),
    ({**ENDED, "outcome": "completed", "outcomeReason": "approved"}, "ended already: completed"),
    ({"cancelling": None, "stage": "queued"}, "has yet to begin"),
]


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(("changes", "why"), LATE)
def test_one_that_comes_too_late_or_too_early(changes: dict[str, Any], why: str) -> None:
    client = at_work(**changes)
    status, said = answered("cancel_rotation", client, **CANCEL)
    assert (status, said["code"]) == (409, Code.NOT_CANCELLABLE)
    assert why in said["detail"]
    assert said["stage"] == changes.get("stage", "prepare")
    assert client.raised == []


BAD: list[tuple[dict[str, Any], int, str | None]] = [
    ({}, 400, "by"),
    ({"by": "policy"}, 400, "by"),
    ({**CANCEL, "channel": "page"}, 400, "channel"),
    ({**CANCEL, "comment": "x" * 2001}, 400, "comment"),
    ({**CANCEL, "decision": "reject"}, 400, "decision"),
]


@pytest.mark.parametrize(("body", "status", "field"), BAD)
def test_a_cancel_that_is_refused(body: dict[str, Any], status: int, field: str) -> None:
    client = at_work()
    found, said = answered("cancel_rotation", client, **body)
    assert (found, said.get("field")) == (status, field)
    assert client.raised == []


def test_there_is_no_such_rotation() -> None:
    answer = call("cancel_rotation", at_work(), id="none", body=CANCEL)
    assert documented("cancel_rotation", answer)["code"] == Code.UNKNOWN_ROTATION


def test_what_overtakes_it_is_told() -> None:
    """The swap began while the cancel was on its way."""
    client = at_work()
    client.deaf = True
    seen = shown_record(**preparing(cancelling={"event": None, "gate": 1, "ignored": []}))
    wish = Cancel(by=BEN_S, channel="http", comment="", id=None)

    async def raised(*_: object) -> None:
        client.shown["cancelling"] = {"event": None, "gate": 1, "ignored": []}

    client.raise_event = raised  # type: ignore[assignment, method-assign]
    hub: Any = client
    result = asyncio.run(cancelling.submit(hub, seen, "cancel-1", wish))
    assert isinstance(result, cancelling.NotCancellable)


@pytest.mark.parametrize("ended", [True, False])
def test_one_that_ended_meanwhile_is_told_from_a_hub_that_fails(ended: bool) -> None:
    client = at_work()

    async def fails(*_: object) -> None:
        if ended:
            client.shown |= {**ENDED, "outcome": "aborted", "outcomeReason": "a test"}
        raise Exception("HTTP 410")  # noqa: TRY002 - the SDK's own class for it is this one

    client.raise_event = fails  # type: ignore[assignment, method-assign]
    status, said = answered("cancel_rotation", client, **CANCEL)
    assert (status, said["code"]) == (
        (409, Code.NOT_CANCELLABLE) if ended else (503, Code.HUB_UNAVAILABLE)
    )


# -- retry


@pytest.mark.parametrize("outcome", ["aborted", "refused", "rolled-back"])
def test_an_ended_one_is_started_again_with_its_id(outcome: str) -> None:
    client = at_work(**ENDED, outcome=outcome, outcomeReason="a test failed")
    status, said = answered("retry_rotation", client, by=BEN_S, reason="the test is mended")
    assert (status, said["credential"]) == (202, "orders-db")
    (request,) = client.started
    assert (request["retries"], request["reason"]) == (ROTATION, "the test is mended")
    assert (request["requestedBy"], request["knownAs"]) == (BEN_S, [BEN_S])
    assert said["rotation"] == request["rotation"] != ROTATION


NOT_AGAIN: list[tuple[dict[str, Any], str]] = [
    ({}, "it has not ended: its stage is prepare"),
    ({**ENDED, "outcome": "completed", "outcomeReason": "x"}, "it is completed. There is nothing"),
    ({**ENDED, "outcome": "skipped", "outcomeReason": "not due"}, "it is skipped"),
]


@pytest.mark.parametrize(("changes", "why"), NOT_AGAIN)
def test_what_is_not_started_again(changes: dict[str, Any], why: str) -> None:
    client = at_work(**changes)
    status, said = answered("retry_rotation", client, by=BEN_S)
    assert (status, said["code"]) == (409, Code.NOT_RETRIED)
    assert why in said["detail"]
    assert client.started == []


def test_a_retry_beside_another_is_refused_with_its_id() -> None:
    client = at_work(**ENDED, outcome="aborted", outcomeReason="x")
    answered("retry_rotation", client, by=BEN_S)
    status, said = answered("retry_rotation", client, by=BEN_S)
    assert (status, said["code"]) == (409, Code.BUSY)
    assert said["rotation"] == client.started[0]["rotation"]


def test_a_retry_of_a_credential_that_is_gone() -> None:
    client = at_work(**ENDED, outcome="aborted", outcomeReason="x")
    client.shown["request"] = {**client.shown["request"], "credential": "gone"}
    client.shown["credential"] = "gone"
    status, said = answered("retry_rotation", client, by=BEN_S)
    assert (status, said["code"]) == (404, Code.UNKNOWN_CREDENTIAL)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "by"),
        ({"by": "deploy-bot"}, 400, "by"),
        ({"by": BEN_S, "credential": "other"}, 400, "credential"),
        ({"by": "eve@contoso.example", "waive": ["templates-differ"]}, 403, "waive"),
        ({"by": BEN_S, "waive": ["no-such"]}, 400, "waive"),
    ],
)
def test_a_retry_that_is_refused(body: dict[str, Any], status: int, field: str) -> None:
    """As a start is."""
    client = at_work(**ENDED, outcome="refused", outcomeReason="x")
    found, said = answered("retry_rotation", client, **body)
    assert (found, said.get("field")) == (status, field)
    assert client.started == []


# -- on the page


def page_of(site: Site, do: str | None = None) -> str:
    site.params = {**site.params, **({"do": do} if do else {})}
    answer = site.ask()
    cookie = answer.headers.get("Set-Cookie")
    if cookie:
        site.headers["Cookie"] = cookie.partition(";")[0]
    assert answer.status_code == 200
    return html.unescape(answer.get_body().decode())


def posted(site: Site, do: str, **fields: str) -> Any:
    page = page_of(site, do)
    found = re.search(r'name="token" value="([0-9a-f]+)"', page)
    assert found, page
    given = {"token": found[1], "do": do, "sure": "yes", "comment": "not now", **fields}
    return site.ask("POST", form={key: value for key, value in given.items() if value})


def site(way: str, **changes: Any) -> Site:
    return Site(way, FakeClient(preparing(**changes)))


WHO = {"entra": ADDRESS, "key": BEN_S, "link": ADDRESS}
CHANNEL = {"entra": "page", "key": "page with function key", "link": "link"}


@pytest.mark.parametrize("way", ["entra", "key", "link"])
def test_the_form_cancels(way: str) -> None:
    found = site(way)
    assert "Cancel this rotation…" in page_of(found)
    by = {"by": BEN_S} if way == "key" else {}
    answer = posted(found, "cancel", **by)
    assert answer.status_code == 303, answer.get_body()
    wish = found.client.shown["cancelled"]
    assert (wish["by"], wish["channel"], wish["comment"]) == (WHO[way], CHANNEL[way], "not now")
    shown = page_of(found)
    assert "Stopping: blue goes on serving" in shown
    assert "not now" in shown
    assert "Cancel this rotation…" not in shown


def test_who_is_signed_in_may_cancel_without_being_an_approver() -> None:
    """Whoever may start one may stop it."""
    found = site("entra")
    found.headers = signed_in(("oid", BEN), ("preferred_username", BEN_S))
    assert posted(found, "cancel").status_code == 303
    assert found.client.shown["cancelled"]["by"] == BEN_S


def test_who_holds_a_link_and_is_no_approver_any_more_may_not() -> None:
    found = site("link")
    found.params = {"link": found.link("eve@contoso.example")}
    page = page_of(found, "cancel")
    assert "You cannot do this." in page
    assert 'name="sure"' not in page
    assert found.client.raised == []


@pytest.mark.parametrize("missing", ["sure", "token"])
def test_a_form_that_is_not_whole_does_nothing(missing: str) -> None:
    found = site("entra")
    answer = posted(found, "cancel", **{missing: ""})
    assert answer.status_code == (400 if missing == "sure" else 403)
    assert found.client.raised == []


def test_a_form_for_one_deed_does_no_other() -> None:
    found = site("entra", **ENDED, outcome="aborted", outcomeReason="x")
    page = page_of(found, "again")
    token = re.search(r'name="token" value="([0-9a-f]+)"', page)
    assert token
    found.client.shown = preparing()
    fields = {"token": token[1], "do": "cancel", "sure": "yes", "comment": "x"}
    assert found.ask("POST", form=fields).status_code == 403
    assert found.client.raised == []


def test_a_form_that_comes_too_late_says_so() -> None:
    found = site("entra")
    page_of(found, "cancel")
    late: dict[str, Any] = {"event": None, "gate": 1, "ignored": []}
    found.client.shown = preparing(
        cancelling=late,
        stage="swap",
        steps=[{"step": "swap", "since": "2026-11-24T02:50:00.000Z", "until": None}],
    )
    fields = {"token": "0" * 64, "do": "cancel", "sure": "yes", "comment": "x"}
    answer = found.ask("POST", form=fields)
    assert answer.status_code == 409
    assert "only a rejection by an approver goes back" in answer.get_body().decode()


def test_opening_the_form_cancels_nothing() -> None:
    found = site("entra")
    page_of(found, "cancel")
    assert found.client.raised == []
    assert found.client.shown.get("cancelled") is None


@pytest.mark.parametrize("way", ["entra", "key"])
@pytest.mark.parametrize("outcome", ["aborted", "rolled-back", "refused", "needs-attention"])
def test_the_form_starts_it_again(way: str, outcome: str) -> None:
    found = site(way, **ENDED, outcome=outcome, outcomeReason="rejected by ada")
    assert "Start again…" in page_of(found)
    answer = posted(found, "again", **({"by": BEN_S} if way == "key" else {}))
    assert answer.status_code == 303, answer.get_body()
    (request,) = found.client.started
    assert (request["retries"], request["reason"]) == (ROTATION, "not now")
    assert request["requestedBy"] == WHO[way]
    assert request["objectId"] == (ANNA if way == "entra" else None)
    assert request["rotation"] in answer.headers["Location"]


def test_a_link_starts_nothing() -> None:
    found = site("link", **ENDED, outcome="aborted", outcomeReason="x")
    assert "Start again…" not in page_of(found, "again")
    form = {"token": "x", "do": "again", "sure": "yes", "comment": "x"}
    assert found.ask("POST", form=form).status_code == 403
    assert found.client.started == []


@pytest.mark.parametrize("outcome", ["completed", "skipped"])
def test_nothing_else_is_offered_to_be_started_again(outcome: str) -> None:
    found = site("entra", **ENDED, outcome=outcome, outcomeReason="x")
    assert "Start again…" not in page_of(found)


def test_one_that_was_started_again_names_the_former() -> None:
    request = {**record()["request"], "retries": "orders-db-sweep-20261101"}
    page = page_of(site("entra", request=request))
    assert '<a href="/api/pages/rotations/orders-db-sweep-20261101">' in page


# -- the parts


class Hub:
    """Parts by their ids: None is not there yet."""

    def __init__(self, **runs: Status | None) -> None:
        self.runs = runs
        self.told: list[str] = []
        self.error: Exception | None = None

    async def get_status(self, instance_id: str) -> Instance | None:
        runs = self.runs[instance_id]
        return None if runs is None else Instance(instance_id, "p", None, None, None, runs)

    async def raise_event(self, instance_id: str, name: str, data: object) -> None:
        assert (name, data) == (STOP, {})
        if self.error is not None:
            raise self.error
        self.told.append(instance_id)


def tell(hub: Any) -> None:
    asyncio.run(tell_to_stop(hub, list(hub.runs)))


def test_each_part_under_way_is_told_to_stop() -> None:
    hub = Hub(a=Status.Running, b=Status.Completed, c=Status.Running)
    tell(hub)
    assert hub.told == ["a", "c"]


@pytest.mark.parametrize("runs", [None, Status.Pending])
def test_one_that_has_yet_to_begin_is_told_later(runs: Status | None) -> None:
    hub = Hub(a=Status.Running, b=runs)
    with pytest.raises(Unavailable, match="b cannot be told to stop before they have begun"):
        tell(hub)
    assert hub.told == ["a"]


def test_a_part_that_ends_meanwhile_needs_no_telling() -> None:
    hub = Hub(a=Status.Running)

    async def ends(*_: object) -> None:
        hub.runs["a"] = Status.Completed
        raise Exception("HTTP 410")  # noqa: TRY002 - the SDK's own class for it is this one

    hub.raise_event = ends  # type: ignore[assignment, method-assign]
    tell(hub)


@pytest.mark.parametrize("error", [unavailable("x"), Exception("HTTP 500")])
def test_a_part_that_may_not_have_heard_is_told_again(error: Exception) -> None:
    hub = Hub(a=Status.Running)
    hub.error = error
    with pytest.raises(Unavailable):
        tell(hub)


# -- what is shown of the parts


class Statuses:
    """A task hub with a rotation that prepares, and its parts."""

    def __init__(self, shown: dict[str, Any], **parts: Instance) -> None:
        self.rotation = FakeClient(shown).instance
        self.parts = parts

    async def get_status(self, instance_id: str, **_: Any) -> Instance | None:
        if instance_id == ROTATION:
            return self.rotation
        return self.parts.get(instance_id.removeprefix(f"{ROTATION}.prepare."))


def part(custom: Any, runs: Status = Status.Running, output: Any = None) -> Instance:
    return Instance("x", "prepare_workload", custom, None, output, runs)


def seen(shown: dict[str, Any], **parts: Instance) -> ShownRecord:
    client: Any = Statuses(shown, **parts)
    found = asyncio.run(find(client, ROTATION))
    assert found is not None
    return found


def test_what_is_done_is_said_while_others_go_on() -> None:
    why = {"code": "x", "text": "test: /whoami answered 500", "remedy": "y"}
    found = seen(
        preparing(workloads=dict.fromkeys(("api", "web", "jobs"), "planned")),
        api=part(None, Status.Completed, json.dumps({})),
        web=part({"progress": "await_ready", "waits": "1 of 2 pods are ready"}),
        jobs=part(None, Status.Completed, json.dumps({"reasons": [why]})),
    )
    assert found.workloads == {"api": "prepared", "web": "await_ready", "jobs": "failed"}
    assert found.waits == {"web": "1 of 2 pods are ready", "jobs": "test: /whoami answered 500"}
    assert found.tried == {}


def test_the_attempt_and_the_next_try_are_shown() -> None:
    custom = {
        "progress": "deliver",
        "waits": "HTTP 503",
        "attempt": 3,
        "nextTry": "2026-11-24T03:00:09.000Z",
    }
    found = seen(preparing(), api=part(custom))
    assert (found.tried["api"].attempt, found.tried["api"].next_try) == (
        3,
        "2026-11-24T03:00:09.000Z",
    )


def test_a_second_attempt_shows_its_own_parts() -> None:
    shown = preparing(attempt=2)
    parts = {"api": part({"progress": "test"}), "api.2": part({"progress": "start", "waits": "x"})}
    found = seen(shown, **parts)
    assert (found.workloads, found.waits) == ({"api": "start"}, {"api": "x"})


def headlined(shown: dict[str, Any], **parts: Instance) -> str:
    found = site("entra")
    found.client = Statuses(shown, **parts)  # type: ignore[assignment]
    page = page_of(found)
    match = re.search(r'id="state".*?</section>', page, re.DOTALL)
    assert match
    return match[0]


def test_nothing_is_asked_only_where_nothing_is_wrong() -> None:
    assert "Nothing is asked of you." in headlined(preparing())
    waits = part({"progress": "await_ready", "waits": "0 of 2; pod web-1: CrashLoopBackOff"})
    failing = {"attempt": 2, "nextTry": "2026-11-24T03:00:09.000Z", "waits": "HTTP 503"}
    tried = part({"progress": "deliver", **failing})
    step = {"step": "stage", "since": "2026-11-24T02:50:00.000Z", "until": None, **failing}
    why = {"code": "x", "text": "test: no", "remedy": "y"}
    failed = part(None, Status.Completed, json.dumps({"reasons": [why]}))
    for shown in (
        headlined(preparing(), api=waits),
        headlined(preparing(), api=tried),
        headlined(preparing(), api=failed),
        headlined(preparing(stage="stage", steps=[step])),
    ):
        assert "Nothing is asked of you." not in shown
        assert re.search("yours to mend|failed", shown)


def test_the_page_says_when_the_next_try_is() -> None:
    at = "2026-11-24T03:00:09.000Z"
    failing = {"attempt": 2, "nextTry": at, "waits": "HTTP 503"}
    step = {"step": "stage", "since": "2026-11-24T02:50:00.000Z", "until": None, **failing}
    page = page_of(site("entra", stage="stage", steps=[step]))
    assert "HTTP 503" in page
    assert "2 attempts failed so far; the next is in 9.0 s" in page
