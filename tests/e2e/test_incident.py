"""A password that has leaked, on the local stack: replaced without a failed request, and cut."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from local import proof, world
from local.load import Load
from rotation.model.world import other
from tests.e2e import site
from tests.e2e.test_rotation import active, assert_proved, codes, ended, somebody

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Answer, Stack

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

CALLER = site.sign_in("anna@contoso.example", oid=site.ANNA)
SECOND = site.sign_in("olga@contoso.example", oid=site.OLGA)
LEAKED: dict[str, Any] = {"credential": world.CREDENTIAL, "compromised": True, "reason": "in a log"}
FIRST = {**LEAKED, "cut": "first", "confirmCredential": world.CREDENTIAL}


@contextmanager
def that_may_be_cut(stack: Stack) -> Iterator[None]:
    settings = {"ROTATION_SIGN_IN": "entra", "LOCAL_EASY_AUTH": "on"}
    with site.host_with(stack, settings, [site.ANNA, site.OLGA], incident="allowed"):
        yield


def ask(stack: Stack, path: str, body: dict[str, Any], who: dict[str, str]) -> Answer:
    headers = {"x-functions-key": stack.keys["function"], **who}
    return stack.client.request("POST", f"/api{path}", body, headers)


def called(stack: Stack, body: dict[str, Any]) -> dict[str, Any]:
    """The record of an incident that is done, and is to be confirmed."""
    answer = ask(stack, "/rotations", body, CALLER)
    assert answer.status == 202, answer.json
    record = stack.client.follow(answer.json["rotation"], site.waits_or_ended, timeout=150)
    assert record["outcome"] is None, record["outcomeReason"]
    return record


def confirmed(stack: Stack, rotation: str) -> dict[str, Any]:
    """Its record, once somebody else has confirmed it, since who called it may not."""
    path, approve = f"/rotations/{rotation}/approval", {"decision": "approve"}
    assert ask(stack, path, approve, CALLER).status == 403
    assert ask(stack, path, approve, SECOND).status in {200, 202}
    return ended(stack, rotation)


@pytest.mark.guarantee(2, 6)
def test_a_rotation_that_waits_makes_way_and_no_request_fails(stack: Stack) -> None:
    before = active(stack)
    urls = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
    with that_may_be_cut(stack), Load(urls, rate=40, workers=9, fresh=3, pooled=3) as load:
        waits = site.asked(stack, by=site.OLGA)
        seen = proof.Passwords.read(stack)
        record = called(stack, {**LEAKED, "slot": before})
        assert record["request"]["takesOver"] == waits
        assert (record["stage"], record["leak"]["serves"]) == ("confirmation", False)
        assert not proof.can_login(stack, before, seen.values[before])
        made_way = ended(stack, waits)
        assert (made_way["outcome"], codes(made_way)) == ("superseded", {"taken-over"})
        assert made_way["takenOver"]["rotation"] == record["rotation"]
        record = confirmed(stack, record["rotation"])
        report = load.stop()
    assert (record["outcome"], codes(record)) == ("completed", {"confirmed"})
    assert report.failures == [], report.failures[:3]
    assert report.requests > 100
    assert_proved(stack, record, other(before), seen)


@pytest.mark.guarantee(3, 6)
def test_a_login_is_cut_with_its_sessions_and_everything_serves_again(stack: Stack) -> None:
    before = active(stack)
    with that_may_be_cut(stack):
        seen = proof.Passwords.read(stack)
        by_key = stack.client.api("POST", "/rotations", {**FIRST, "by": world.APPROVERS[0]})
        assert by_key.status == 403, by_key.json
        once = ask(stack, "/rotations", {**FIRST, "confirmCredential": "another"}, CALLER)
        assert (once.status, once.json["code"]) == (422, "name-not-repeated")
        assert proof.can_login(stack, before, seen.values[before])
        with somebody(stack, before) as session:
            record = called(stack, FIRST)
            assert session.closed or not _lives(session)
        assert not proof.can_login(stack, before, seen.values[before])
        leak = record["leak"]
        assert leak["refused"] is not None
        assert leak["ended"] is not None
        record = confirmed(stack, record["rotation"])
    assert record["outcome"] == "completed"
    users = {one["application"] for one in record["leak"]["connected"]}
    assert {"etl-nightly", f"orders-api/{before}"} <= users
    assert "no-way-back" in {waiver["code"] for waiver in record["waivers"]}
    assert_proved(stack, record, other(before), seen)
    for value in seen.values.values():
        assert not any(value.reveal().encode() in answer for answer in stack.client.answers)


def _lives(session: Any) -> bool:
    import psycopg  # noqa: PLC0415 - for its errors

    try:
        session.execute("select 1")
    except psycopg.Error:
        return False
    return True
