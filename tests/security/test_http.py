"""The running app against callers who mean harm: nothing of a fault shows, and nobody decides who
may not.

The documented requests are fuzzed from the API's description (tests/e2e/test_openapi.py); here are
the paths, headers and bodies that no description has.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local import world
from tests.e2e.test_rotation import ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Answer, Stack


fuzzed = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,  # the same requests each time: a failure is never luck
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BETRAYING = (b"Traceback", b'File "', b"site-packages", b"psycopg", b"aiohttp", b"sqlite")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
segments = st.text(min_size=1, max_size=20) | st.sampled_from(
    ["..", ".", "%2e%2e", "a/../b", "?x", "#", "\x00", "a\r\nX: y", "'; DROP TABLE x;--", "{{7*7}}"]
)
header_sets = st.dictionaries(
    st.sampled_from(
        [
            *("X-MS-CLIENT-PRINCIPAL", "X-MS-CLIENT-PRINCIPAL-NAME", "Content-Type", "Cookie"),
            *("X-Live", "Origin", "Sec-Fetch-Site", "X-Forwarded-Host", "X-HTTP-Method-Override"),
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(str.strip),
    max_size=3,
)


def harmless(answer: Answer, below: int = 500) -> None:
    assert answer.status < below, answer.body
    assert not any(word in answer.body for word in BETRAYING), answer.body


def send(
    stack: Stack, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Answer:
    """As it stands: urllib3, which `stack` uses, would tidy paths up."""
    from local.stack import Answer  # noqa: PLC0415 - at the bottom of what tests import

    address = urlsplit(stack.components["host"].url)
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    try:
        connection.request(method, path, body or None, headers or {})
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.headers), response.read())  # type: ignore[arg-type]  # read only
    finally:
        connection.close()
    stack.client.answers.append(repr(answer.headers).encode() + answer.body)
    return answer


def keyed(stack: Stack, **more: str) -> dict[str, str]:
    kind = {"Content-Type": "application/json"}
    return {"x-functions-key": stack.keys["function"], **kind, **more}


@pytest.fixture(scope="class")
def gate(shared_stack: Stack) -> Iterator[str]:
    """A rotation that waits for its decision; no test here may make it."""
    shared_stack.faults.restore()
    rotation = started(shared_stack, by="mallory@contoso.example")
    assert shared_stack.client.follow(rotation, waiting)["outcome"] is None
    yield rotation
    assert shared_stack.client.rotation(rotation)["decision"] is None
    shared_stack.client.reject(rotation)


@pytest.mark.usefixtures("gate")
class TestFuzzed:
    @pytest.mark.long
    @pytest.mark.guarantee(8)
    @fuzzed
    @given(
        method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]),
        route=st.sampled_from(
            [
                *("rotations/{}", "rotations/{}/approval", "rotations/{}/evidence", "{}"),
                *("pages/rotations/{}", "pages/{}", "pages/decision/{}", "rotations/{}/{}"),
            ]
        ),
        segment=segments,
        headers=header_sets,
        body=st.binary(max_size=60),
    )
    def test_any_path(
        self,
        shared_stack: Stack,
        method: str,
        route: str,
        segment: str,
        headers: dict[str, str],
        body: bytes,
    ) -> None:
        path = "/api/" + route.replace("{}", quote(segment, safe="", errors="replace"))
        harmless(send(shared_stack, method, path, body, headers=keyed(shared_stack, **headers)))

    @pytest.mark.guarantee(8)
    @fuzzed
    @given(
        path=st.sampled_from(["rotations", "pages", "pages/decision", "credentials"]),
        query=st.dictionaries(
            st.sampled_from(["since", "until", "credential", "page", "link", "code", "x"]),
            st.text(max_size=40),
            max_size=3,
        ),
    )
    def test_any_query(self, shared_stack: Stack, path: str, query: dict[str, str]) -> None:
        encoded = urlencode(query, errors="replace")
        harmless(send(shared_stack, "GET", f"/api/{path}?{encoded}", headers=keyed(shared_stack)))

    @pytest.mark.guarantee(8)
    @fuzzed
    @given(body=st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
    def test_any_body_of_a_decision(self, shared_stack: Stack, gate: str, body: bytes) -> None:
        path = f"/api/rotations/{gate}/approval"
        answer = send(shared_stack, "POST", path, body, headers=keyed(shared_stack))
        harmless(answer)
        assert answer.status == 400

    @pytest.mark.guarantee(6)
    @fuzzed
    @given(
        document=st.fixed_dictionaries(
            {},
            optional={
                "decision": json_values | st.sampled_from(["approve", "reject"]),
                "by": json_values | st.sampled_from(["policy", "nobody@contoso.example", ""]),
                "comment": json_values,
                "channel": json_values | st.sampled_from(["page", "LINK", "policy x"]),
            },
        )
    )
    def test_any_decision_of_somebody_who_may_not(
        self, shared_stack: Stack, gate: str, document: dict[str, Any]
    ) -> None:
        path, body = f"/api/rotations/{gate}/approval", json.dumps(document).encode()
        answer = send(shared_stack, "POST", path, body, headers=keyed(shared_stack))
        harmless(answer)
        assert answer.status in {400, 403}

    @pytest.mark.guarantee(8)
    @fuzzed
    @given(
        fields=st.dictionaries(
            st.sampled_from(["decision", "token", "by", "comment"]), st.text(max_size=40)
        )
    )
    def test_any_form(self, shared_stack: Stack, gate: str, fields: dict[str, str]) -> None:
        body = urlencode(fields, errors="replace").encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        path = f"/api/pages/rotations/{gate}"
        answer = send(shared_stack, "POST", path, body, headers=keyed(shared_stack, **kind))
        harmless(answer)
        assert answer.status in {400, 403}

    @pytest.mark.guarantee(8)
    @fuzzed
    @given(data=json_values, kind=st.text(max_size=40), name=st.text(max_size=40))
    def test_any_event(self, shared_stack: Stack, data: Any, kind: str, name: str) -> None:
        event = shared_stack.client.near_expiry("blue")
        near = "Microsoft.KeyVault.SecretNearExpiry"
        for changes in (
            {"data": data},
            {"eventType": kind},
            {"eventType": near, "data": {**event["data"], "ObjectName": name, "Id": name}},
            {"eventType": near, "subject": name, "id": name or "x", "data": {"Version": data}},
        ):
            body = json.dumps([{**event, "id": "fuzzed", **changes}]).encode()
            more = {"aeg-event-type": "Notification"}
            answer = send(
                shared_stack, "POST", shared_stack.client.webhook_path, body, headers=more
            )
            harmless(answer)

    @pytest.mark.guarantee(8)
    @fuzzed
    @given(
        body=st.binary(max_size=40),
        kind=st.sampled_from(["Notification", "SubscriptionValidation"]),
    )
    def test_any_delivery(self, shared_stack: Stack, body: bytes, kind: str) -> None:
        """What is no JSON is answered by the extension itself, with 500 and nothing more."""
        more = {"aeg-event-type": kind}
        path = shared_stack.client.webhook_path
        harmless(send(shared_stack, "POST", path, body, headers=more), below=501)


def claims(identity: str) -> str:
    """What the platform would say of somebody who is signed in."""
    found = [{"typ": "oid", "val": identity}, {"typ": "preferred_username", "val": identity}]
    return base64.b64encode(json.dumps({"auth_typ": "aad", "claims": found}).encode()).decode()


class TestForged:
    def decide(self, stack: Stack, rotation: str, given: dict[str, str], **body: Any) -> Answer:
        path = f"/api/rotations/{rotation}/approval"
        return send(stack, "POST", path, json.dumps(body).encode(), headers=given)

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize("key", ["", "wrong", "system"])
    def test_without_the_function_key(self, shared_stack: Stack, gate: str, key: str) -> None:
        value = shared_stack.keys.get(key, key)
        given = {"Content-Type": "application/json"} | ({"x-functions-key": value} if key else {})
        body = {"decision": "approve", "by": world.APPROVERS[0]}
        assert self.decide(shared_stack, gate, given, **body).status == 401

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize("by", ["mallory@contoso.example", "MALLORY@contoso.example "])
    def test_whoever_asked_for_it(self, shared_stack: Stack, gate: str, by: str) -> None:
        answer = self.decide(shared_stack, gate, keyed(shared_stack), decision="approve", by=by)
        assert answer.status == 403

    @pytest.mark.guarantee(6)
    def test_a_principal_that_no_platform_vouches_for(self, shared_stack: Stack, gate: str) -> None:
        """Without the platform's sign-in in front, the header is anybody's word: not even read."""
        spoofed = keyed(shared_stack, **{"X-MS-CLIENT-PRINCIPAL": claims(world.APPROVERS[0])})
        answer = self.decide(shared_stack, gate, spoofed, decision="approve")
        assert (answer.status, answer.json["field"]) == (400, "by")
        page = send(shared_stack, "GET", f"/api/pages/rotations/{gate}", headers=spoofed)
        assert b"Signed in as" not in page.body

    @pytest.mark.guarantee(6)
    def test_the_engine_itself_is_behind_another_key(self, shared_stack: Stack, gate: str) -> None:
        base = f"/runtime/webhooks/durabletask/instances/{gate}"
        for method, path in (
            ("POST", f"{base}/raiseEvent/decision-1"),
            ("POST", f"{base}/terminate?reason=x"),
            ("GET", base),
        ):
            for key in ({}, keyed(shared_stack)):
                assert send(shared_stack, method, path, b"{}", headers=key).status in {401, 403}

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_reading_decides_nothing(self, shared_stack: Stack, gate: str, method: str) -> None:
        query = urlencode({"decision": "approve", "by": world.APPROVERS[0], "comment": "x"})
        for path in (f"rotations/{gate}/approval", f"rotations/{gate}", f"pages/rotations/{gate}"):
            given = keyed(shared_stack, **{"X-HTTP-Method-Override": "POST"})
            send(shared_stack, method, f"/api/{path}?{query}", headers=given)
        assert shared_stack.client.rotation(gate)["decision"] is None

    @pytest.mark.guarantee(6)
    def test_a_form_from_another_site(self, shared_stack: Stack, gate: str) -> None:
        fields = {"decision": "approve", "by": world.APPROVERS[0], "token": "0" * 64}
        kind = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": "https://evil.example",
            "Sec-Fetch-Site": "cross-site",
        }
        path = f"/api/pages/rotations/{gate}?code={shared_stack.keys['function']}"
        answer = send(shared_stack, "POST", path, urlencode(fields).encode(), headers=kind)
        assert answer.status == 403


@pytest.mark.long
@pytest.mark.guarantee(6)
def test_a_form_of_another_rotation(stack: Stack) -> None:
    """Its token is made for one rotation and gate; the one before this has ended."""
    first = started(stack)
    stack.client.follow(first, waiting)
    page = send(stack, "GET", f"/api/pages/rotations/{first}", headers=keyed(stack))
    token = page.body.partition(b'name="token" value="')[2].partition(b'"')[0].decode()
    assert len(token) == 64
    stack.client.reject(first)
    second = started(stack)
    stack.client.follow(second, waiting)
    fields = {"decision": "approve", "by": world.APPROVERS[0], "token": token}
    kind = keyed(stack, **{"Content-Type": "application/x-www-form-urlencoded"})
    for rotation, expected in ((second, 403), (first, 409)):
        path = f"/api/pages/rotations/{rotation}"
        answer = send(stack, "POST", path, urlencode(fields).encode(), headers=kind)
        assert answer.status == expected
    assert stack.client.rotation(second)["decision"] is None


@pytest.mark.guarantee(6)
@pytest.mark.long
def test_many_decisions_at_once_are_one(stack: Stack) -> None:
    rotation = started(stack)
    stack.client.follow(rotation, waiting)
    answers: list[Answer] = []

    def decide(choice: str) -> None:
        body = {"decision": choice, "by": world.APPROVERS[0]}
        path = f"/api/rotations/{rotation}/approval"
        answers.append(send(stack, "POST", path, json.dumps(body).encode(), headers=keyed(stack)))

    threads = [
        threading.Thread(target=decide, args=[choice]) for choice in ("approve", "reject") * 5
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [200, *[409] * 9]
    won = next(answer.json["decision"] for answer in answers if answer.status == 200)
    record = ended(stack, rotation)
    assert record["decision"]["id"] == won["id"]
    expected = {"approve": "completed", "reject": "rolled-back"}
    assert record["outcome"] == expected[won["decision"]]
