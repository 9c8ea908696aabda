"""The Event Grid webhook, as Event Grid itself calls it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local.process import wait_until
from tests.local.host.support import FUNCTION_KEY, SYSTEM_KEY

if TYPE_CHECKING:
    import urllib3

    from tests.local.host.support import Sample


def event(identity: str, subject: str = "orders-db-blue") -> dict[str, Any]:
    return {
        "id": identity,
        "topic": "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv",
        "subject": subject,
        "eventType": "Microsoft.KeyVault.SecretNearExpiry",
        "eventTime": "2026-11-24T06:00:00.1234567Z",
        "data": {"ObjectName": subject, "EXP": 1559082102},
        "dataVersion": "1",
        "metadataVersion": "1",
    }


def post(
    host: Sample,
    body: object,
    kind: str = "Notification",
    name: str = "near_expiry",
    key: str = SYSTEM_KEY,
) -> urllib3.BaseHTTPResponse:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"aeg-event-type": kind, "Content-Type": "application/json"}
    path = f"/runtime/webhooks/eventgrid?functionName={name}"
    return host.call("POST", path, key=key, body=content, headers=headers)


def test_each_event_of_an_array_is_one_call(host: Sample) -> None:
    assert post(host, [event("array-1"), event("array-2")]).status == 202
    seen = {noted["id"]: noted for noted in host.noted("event")}
    assert {"array-1", "array-2"} <= set(seen)
    assert seen["array-1"]["type"] == "Microsoft.KeyVault.SecretNearExpiry"
    assert seen["array-1"]["data"] == {"ObjectName": "orders-db-blue", "EXP": 1559082102}


def test_subscription_handshake(host: Sample) -> None:
    data = {"validationCode": "512d38b6", "validationUrl": "https://example.com/validate"}
    body = [{**event("handshake"), "data": data}]
    answer = post(host, body, kind="SubscriptionValidation")
    assert (answer.status, answer.json()) == (200, {"validationResponse": "512d38b6"})
    assert "handshake" not in [noted["id"] for noted in host.noted("event")]


def test_cloud_events_and_their_handshake(host: Sample) -> None:
    path = "/runtime/webhooks/eventgrid?functionName=cloud_event"
    headers = {"WebHook-Request-Origin": "eventgrid.azure.net"}
    handshake = host.call("OPTIONS", path, key=SYSTEM_KEY, headers=headers)
    assert handshake.status == 200
    assert handshake.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    cloud = {"specversion": "1.0", "id": "c-1", "type": "t", "source": "/s", "data": {"a": 1}}
    assert post(host, cloud, name="cloud_event").status == 202
    assert host.noted("cloud") == [{"id": "c-1", "type": "t", "source": "/s"}]


def test_one_failure_asks_for_the_whole_array_again(host: Sample) -> None:
    answer = post(host, [event("bad", subject="fail"), event("good")])
    assert (answer.status, answer.data) == (500, b"")
    assert {"bad", "good"} <= {noted["id"] for noted in host.noted("event")}
    assert "the sample refuses this event" in host.log


def test_an_event_starts_an_orchestration_through_the_client(host: Sample) -> None:
    assert post(host, [event("from-event", subject="start")]).status == 202
    wait_until(lambda: status(host) == "Completed", 10, "the orchestration's end")


def status(host: Sample) -> str:
    return str(host.durable("GET", "instances/from-event").json()["runtimeStatus"])


@pytest.mark.parametrize(("key", "status"), [("", 401), ("wrong", 401), (FUNCTION_KEY, 403)])
def test_wrong_key(host: Sample, key: str, status: int) -> None:
    answer = post(host, [event("keyless")], key=key)
    assert (answer.status, answer.data) == (status, b"")
    assert "keyless" not in [noted["id"] for noted in host.noted("event")]


@pytest.mark.parametrize("name", ["absent", "echo", ""])
def test_unknown_function(host: Sample, name: str) -> None:
    assert post(host, [event("x")], name=name).status == 404


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "Notification", 500),
        (b"\xff\xfe", "Notification", 500),
        (["text"], "Notification", 500),
        (5, "Notification", 500),
        ([event("x")], "Unknown", 400),
        ([event("x")], "", 400),
        ([], "SubscriptionValidation", 500),
        ([event("x")], "SubscriptionValidation", 400),
        (b"", "SubscriptionValidation", 500),
    ],
)
def test_malformed(host: Sample, body: object, kind: str, status: int) -> None:
    assert post(host, body, kind=kind).status == status
