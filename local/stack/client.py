"""What callers of the app send: people and programs over its API, Event Grid to its webhook."""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import urllib3

from local import engines, world
from rotation.model.targets import SecretTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.stack.owner import Owner
    from local.stack.parts import Parts

# What the platform says of an application that calls: its token is about itself.
PROGRAM_ID = "90000000-0000-4000-8000-00000000ca11"
PROGRAM = base64.b64encode(
    json.dumps(
        {
            "auth_typ": "aad",
            "claims": [
                {"typ": "oid", "val": PROGRAM_ID},
                {"typ": "sub", "val": PROGRAM_ID},
                {"typ": "idtyp", "val": "app"},
            ],
        }
    ).encode()
).decode()
TOPIC = "/subscriptions/0/resourceGroups/local/providers/Microsoft.KeyVault/vaults/kv-orders"
UNREADABLE = 30.0  # seconds for which a rotation may be unreadable: its storage is away, or slow


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; `json` of an empty body is None."""

    status: int
    headers: urllib3.HTTPHeaderDict
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


class Client:
    """A caller of the app, with its function key. `answers` has every answer, for those who search
    them."""

    def __init__(self, parts: Parts, owner: Owner) -> None:
        self.answers: list[bytes] = []
        self._parts = parts
        self._owner = owner
        self._http = urllib3.PoolManager(retries=False, maxsize=16)

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Sends a request, without a key of its own; `path` is below the host's URL."""
        answer = self._http.request(
            method,
            self._parts.components["host"].url + path,
            body=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
            timeout=urllib3.Timeout(connect=5, read=60),
            redirect=False,
        )
        self.answers.append(repr(dict(answer.headers)).encode() + answer.data)
        return Answer(answer.status, answer.headers, answer.data)

    def api(self, method: str, path: str, body: Any = None) -> Answer:
        """Sends a request with the function key, and where people sign in with an application's
        token as well; `path` is below /api."""
        headers = {"x-functions-key": self._parts.keys["function"], "X-Local-Sign-In": PROGRAM}
        return self.request(method, f"/api{path}", body, headers)

    def webhook(self, body: Any, kind: str) -> Answer:
        """Posts what Event Grid would; `kind` is Notification or SubscriptionValidation."""
        return self.request("POST", self.webhook_path, body, {"aeg-event-type": kind})

    @property
    def webhook_path(self) -> str:
        query = f"functionName=on_secret_event&code={self._parts.keys['system']}"
        return f"/runtime/webhooks/eventgrid?{query}"

    def announce(self, slot: str = "blue", kind: str = "SecretNearExpiry", **event: Any) -> Answer:
        """Posts the event that Key Vault would; `event` replaces some of its fields."""
        return self.webhook([{**self.near_expiry(slot, kind), **event}], "Notification")

    def announce_as_cloud_event(self, slot: str = "blue", **event: Any) -> Answer:
        """Posts the same event as a subscription does whose delivery schema is CloudEvents 1.0."""
        given = {**self.near_expiry(slot), **event}
        body = {
            "specversion": "1.0",
            "id": given["id"],
            "source": given["topic"],
            "subject": given["subject"],
            "type": given["eventType"],
            "time": given["eventTime"],
            "data": given["data"],
        }
        headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
        kind = {"aeg-event-type": "Notification"}
        return self.request("POST", self.webhook_path, body, {**headers, **kind})

    def near_expiry(self, slot: str, kind: str = "SecretNearExpiry") -> dict[str, Any]:
        """An event in the schema of https://learn.microsoft.com/azure/event-grid/event-schema-key-vault.

        The version is brought near its expiry first: the app believes the vault, not an event.
        """
        self._owner.age(world.secret(slot))
        current = self._owner.vault.current(SecretTarget(world.secret(slot)))
        assert current is not None  # noqa: S101 - the caller names a slot that has a secret
        expires = str(int(current.expires.timestamp())) if current.expires else None
        return {
            "id": secrets.token_hex(16),
            "topic": TOPIC,
            "subject": current.secret,
            "eventType": f"Microsoft.KeyVault.{kind}",
            "eventTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "data": {
                "Id": f"{self._parts.addresses.vault}/secrets/{current.secret}/{current.version}",
                "VaultName": "kv-orders",
                "ObjectType": "Secret",
                "ObjectName": current.secret,
                "Version": current.version,
                "NBF": None,
                "EXP": expires,
            },
            "dataVersion": "1",
            "metadataVersion": "1",
        }

    def rotations(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("GET", "/rotations").json["rotations"]
        return found

    def rotation(self, rotation: str) -> dict[str, Any]:
        """The rotation's record, asked for again while the app says that it cannot be read."""
        deadline = time.monotonic() + UNREADABLE + engines.slack(self._parts.engine)
        while True:
            answer = self.api("GET", f"/rotations/{rotation}")
            if answer.status == 200:
                found: dict[str, Any] = answer.json
                return found
            if answer.status != 503 or time.monotonic() > deadline:
                text = f"asked for {rotation}, the app answered {answer.status}: {answer.body!r}"
                raise RuntimeError(text)
            time.sleep(0.5)

    def follow(
        self,
        rotation: str,
        until: Callable[[dict[str, Any]], Any],
        timeout: float = 90,
        seen: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Polls a rotation until `until` holds of its record; `seen` gets each one on the way."""
        deadline = time.monotonic() + timeout + engines.slack(self._parts.engine)
        while True:
            record = self.rotation(rotation)
            seen(record)
            if until(record):
                return record
            if time.monotonic() > deadline:
                raise TimeoutError(f"rotation {rotation} is still at {record['stage']}: {record}")
            time.sleep(0.1)

    def free(self) -> bool:
        """Whether the credential can be rotated: no orchestration of it is under way."""
        code = quote(self._parts.keys["system"], safe="")
        path = f"/runtime/webhooks/durabletask/instances/{world.CREDENTIAL}?code={code}"
        return self.request("GET", path).status in {200, 404}

    def reject(self, rotation: str) -> None:
        found = self.follow(
            rotation, lambda r: r["outcome"] or (r["approval"] or {}).get("event"), timeout=150
        )
        if found["outcome"] is None:
            self.decide(rotation, "reject")
            self.follow(rotation, lambda r: r["outcome"], timeout=150)

    def decide(self, rotation: str, decision: str, by: str = world.APPROVERS[0]) -> Answer:
        body = {"decision": decision, "by": by, "comment": "decided by the local stack"}
        return self.api("POST", f"/rotations/{rotation}/approval", body)
