"""The vault's events, as a webhook gets them."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local.process import Component, free_port, wait_until
from tests.local.azure.support import Admin, Webhook, secret_client, start_vault, webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from azure.identity import ManagedIdentityCredential
    from azure.keyvault.secrets import SecretClient

PREFIX = "Microsoft.KeyVault.Secret"
CREATED, NEAR, EXPIRED = (PREFIX + kind for kind in ("NewVersionCreated", "NearExpiry", "Expired"))


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as hook:
        yield hook


@pytest.fixture
def publishing(
    state: Path, tmp_path: Path, hook: Webhook, started: Callable[[Component], Component]
) -> Component:
    return started(vault_with(state, tmp_path, hook))


def vault_with(state: Path, tmp_path: Path, hook: Webhook, port: int = 0) -> Component:
    return start_vault(
        state,
        f"publishing-{tmp_path.name}",
        *("--events", hook.url, "--retry-scale", "0.01", "--name", "kv-orders"),
        *("--port", str(port)),
        env={"LOCAL_WEBHOOK_CODE": "a webhook's code"},
    )


@pytest.fixture
def publisher(
    publishing: Component, credential: ManagedIdentityCredential
) -> Iterator[SecretClient]:
    wait_validated(publishing)
    with secret_client(publishing, credential) as client:
        yield client


def wait_validated(vault: Component) -> None:
    def validated() -> bool:
        (subscription,) = Admin(vault).call("GET", "/local/subscriptions")
        return bool(subscription["validated"])

    wait_until(validated, 10, "the handshake")


def days(number: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=number)


def wait_types(hook: Webhook, *types: str) -> None:
    try:
        wait_until(lambda: sorted(hook.types()) == sorted(types), 10, "the delivery")
    except TimeoutError:
        assert sorted(hook.types()) == sorted(types)


def deliveries(vault: Component) -> list[dict[str, Any]]:
    (subscription,) = Admin(vault).call("GET", "/local/subscriptions")
    return list(subscription["deliveries"])


def test_event_has_key_vaults_schema(publisher: SecretClient, hook: Webhook) -> None:
    made = publisher.set_secret("orders", "v", expires_on=days(29)).properties
    wait_types(hook, CREATED, NEAR)
    (event,) = (event for event in hook.events() if event["eventType"] == NEAR)
    assert made.expires_on is not None
    assert event["data"] == {
        "Id": made.id,
        "VaultName": "kv-orders",
        "ObjectType": "Secret",
        "ObjectName": "orders",
        "Version": made.version,
        "NBF": None,
        "EXP": int(made.expires_on.timestamp()),
    }
    assert event.keys() == {
        *("id", "topic", "subject", "eventType", "eventTime", "data"),
        *("dataVersion", "metadataVersion"),
    }
    assert event["subject"] == "orders"
    assert event["topic"].endswith("/providers/Microsoft.KeyVault/vaults/kv-orders")
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None


def test_code_is_sent_and_not_shown(
    publisher: SecretClient, publishing: Component, hook: Webhook
) -> None:
    publisher.set_secret("orders", "v")
    wait_types(hook, CREATED)
    assert hook.received[0].path == "/hook?functionName=near&code=a+webhook's+code"
    (subscription,) = Admin(publishing).call("GET", "/local/subscriptions")
    assert subscription["url"] == hook.url
    assert "webhook's" not in publishing.log.read_text()


def test_version_that_lives_long_is_not_announced(publisher: SecretClient, hook: Webhook) -> None:
    publisher.set_secret("long", "v", expires_on=days(90))
    publisher.set_secret("for-ever", "v")
    publisher.set_secret("marker", "v", expires_on=days(1))
    wait_types(hook, CREATED, CREATED, CREATED, NEAR)


def test_expiry_is_published_when_it_comes(publisher: SecretClient, hook: Webhook) -> None:
    expires = days(0) + timedelta(seconds=2)
    publisher.set_secret("orders", "v", expires_on=expires)
    wait_types(hook, CREATED, NEAR, EXPIRED)
    (event,) = (event for event in hook.events() if event["eventType"] == EXPIRED)
    assert datetime.fromisoformat(event["eventTime"]) >= expires.replace(microsecond=0)


def test_only_the_current_version_is_announced(publisher: SecretClient, hook: Webhook) -> None:
    old = publisher.set_secret("orders", "v", expires_on=days(60)).properties
    publisher.set_secret("orders", "v", expires_on=days(90))
    publisher.update_secret_properties("orders", old.version, expires_on=days(1))
    publisher.set_secret("marker", "v", expires_on=days(1))
    wait_types(hook, CREATED, CREATED, CREATED, NEAR)
    assert [e["subject"] for e in hook.events() if e["eventType"] == NEAR] == ["marker"]


def test_moved_expiry_is_announced_again(publisher: SecretClient, hook: Webhook) -> None:
    publisher.set_secret("orders", "v", expires_on=days(2))
    wait_types(hook, CREATED, NEAR)
    publisher.update_secret_properties("orders", expires_on=days(1))
    wait_types(hook, CREATED, NEAR, NEAR)


def test_disabled_version_is_announced_too(publisher: SecretClient, hook: Webhook) -> None:
    publisher.set_secret("orders", "v", enabled=False, expires_on=days(1))
    wait_types(hook, CREATED, NEAR)


def test_version_from_before_the_subscription_is_not_announced(
    state: Path,
    tmp_path: Path,
    hook: Webhook,
    credential: ManagedIdentityCredential,
    started: Callable[[Component], Component],
) -> None:
    hook.echo = False
    vault = started(vault_with(state, tmp_path, hook))
    wait_until(lambda: hook.handshakes, 10, "the first handshake")
    with secret_client(vault, credential) as client:
        client.set_secret("before", "v", expires_on=days(90))
        hook.echo = True
        wait_validated(vault)
        client.update_secret_properties("before", expires_on=days(1))
        client.set_secret("after", "v", expires_on=days(1))
    wait_types(hook, CREATED, NEAR)
    assert {event["subject"] for event in hook.events()} == {"after"}


def test_refused_delivery_is_repeated_until_accepted(
    publisher: SecretClient, publishing: Component, hook: Webhook
) -> None:
    hook.answers = [500, 503]
    publisher.set_secret("orders", "v")
    wait_types(hook, CREATED, CREATED, CREATED)
    assert [post.headers["aeg-delivery-count"] for post in hook.received] == ["0", "1", "2"]
    assert len({event["id"] for event in hook.events()}) == 1
    wait_until(lambda: deliveries(publishing)[0]["outcome"], 10, "the outcome")
    assert deliveries(publishing) == [
        {"seq": 1, "attempts": 3, "outcome": "delivered", "answer": "200"}
    ]


def test_bad_request_is_not_repeated(
    publisher: SecretClient, publishing: Component, hook: Webhook
) -> None:
    hook.answers = [400]
    publisher.set_secret("orders", "v")
    wait_until(lambda: any(d["outcome"] for d in deliveries(publishing)), 10, "the outcome")
    assert deliveries(publishing) == [
        {"seq": 1, "attempts": 1, "outcome": "dead-lettered", "answer": "400"}
    ]


def test_undelivered_event_survives_a_kill_of_the_vault(
    state: Path,
    tmp_path: Path,
    credential: ManagedIdentityCredential,
    started: Callable[[Component], Component],
) -> None:
    port, own = free_port(), free_port()
    with webhook(port) as hook:
        vault = started(vault_with(state, tmp_path, hook, own))
        wait_validated(vault)
    with secret_client(vault, credential) as client:
        client.set_secret("orders", "v", expires_on=days(1))
    wait_until(lambda: all(d["attempts"] for d in deliveries(vault)), 10, "a failed attempt")
    vault.kill()
    with webhook(port) as hook:
        started(vault_with(state, tmp_path, hook, own))
        wait_types(hook, CREATED, NEAR)
        assert hook.handshakes == []


def test_expiry_that_passed_while_the_vault_was_down_is_published(
    state: Path,
    tmp_path: Path,
    hook: Webhook,
    credential: ManagedIdentityCredential,
    started: Callable[[Component], Component],
) -> None:
    """The version's expiry is moved into the past while nothing runs."""
    port = free_port()
    vault = started(vault_with(state, tmp_path, hook, port))
    wait_validated(vault)
    with secret_client(vault, credential) as client:
        made = client.set_secret("orders", "v", expires_on=days(90))
    vault.stop()
    file = state / f"publishing-{tmp_path.name}" / "vault.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE versions SET exp = ?", (int(time.time()) - 1,))
    started(vault_with(state, tmp_path, hook, port))
    # A delivery that the stop cut off is repeated, so that the first event may come twice.
    wait_until(lambda: set(hook.types()) == {CREATED, NEAR, EXPIRED}, 10, "near expiry and expiry")
    assert {event["data"]["Id"] for event in hook.events()} == {made.id}


class TestAnnounce:
    def test_publishes_now(
        self, publisher: SecretClient, publishing: Component, hook: Webhook
    ) -> None:
        old = publisher.set_secret("orders", "old").properties.version
        new = publisher.set_secret("orders", "new").properties.version
        admin = Admin(publishing)
        for order in (
            {"name": "orders", "type": "NearExpiry"},
            {"name": "orders", "type": EXPIRED, "version": old},
        ):
            assert admin.call("POST", "/local/announce", order)["id"]
        wait_types(hook, CREATED, CREATED, NEAR, EXPIRED)
        by_type = {event["eventType"]: event["data"]["Version"] for event in hook.events()}
        assert (by_type[NEAR], by_type[EXPIRED]) == (new, old)

    @pytest.mark.parametrize(
        ("order", "code"),
        [
            ({"name": "orders", "type": "Gone"}, "BadParameter"),
            ({"name": "nothing", "type": "NearExpiry"}, "SecretNotFound"),
        ],
    )
    def test_order_bad(
        self, publisher: SecretClient, publishing: Component, order: object, code: str
    ) -> None:
        assert publisher.vault_url == publishing.url
        assert Admin(publishing).call("POST", "/local/announce", order)["error"]["code"] == code

    def test_nobody_subscribed(self, admin: Admin) -> None:
        answer = admin.call("POST", "/local/announce", {"name": "orders", "type": "Expired"})
        assert answer["error"]["code"] == "Conflict"
