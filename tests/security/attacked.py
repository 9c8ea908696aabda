"""The app's own functions as whoever attacks them reaches them, in front of edges in memory.

A rotation stands at its approval; what is decided goes through the orchestrator's own check.
"""

from __future__ import annotations

import asyncio
import base64
import html
import inspect
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import azure.functions as func
from azure.core.credentials import AccessToken
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation import settings
from rotation.config import Configuration
from rotation.front import api
from rotation.pages import routes
from tests.memory.edges import MemoryEdges

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
CREDENTIAL = "orders-db"
ORIGIN = "https://rotation.example"
VAULT = "https://kv-keys.vault.azure.net"
LINK_KEY = f"{VAULT}/secrets/link-key"
STRONG = "q7Zr2LwPx9TfKj4VbN8mHc5sDy3GtRe6UaQo1WiE"
ADA, GRACE = "ada@contoso.example", "grace@contoso.example"
ADA_ID, GRACE_ID, APP_ID = (f"{n}0c8e6f2-0000-4000-8000-000000000000" for n in "123")
# What hostile answers are filled with, and nothing of ours may take over.
WORDS = ("hunter2-the-password", "https://evil.example/approve")
# As the app publishes it.
EVENT = {
    "id": "r-1",
    "eventType": "CredentialRotation.Started",
    "subject": "credentials/orders-db",
    "eventTime": "2026-11-24T03:00:00Z",
    "data": {},
    "dataVersion": "1",
}


class AnyToken:
    """Signs in with a token that never ends."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("token", 2**32)


def configuration(approvers: list[Any], **approval: Any) -> Configuration:
    return Configuration.model_validate(document(approvers, **approval))


def document(approvers: list[Any], **approval: Any) -> dict[str, Any]:
    """A file with one credential."""
    workload = {
        "name": "api",
        "cluster": "weu",
        "namespace": "orders",
        "service": "api",
        "preview": "api-preview",
        "deployments": {"blue": "api-blue", "green": "api-green"},
        "tests": [{"path": "/whoami", "json": {"role": "{role}"}, "repeat": 1}],
    }
    credential = {
        "vault": "https://kv-orders.vault.azure.net",
        "validity": "90d",
        "database": {"host": "pg", "name": "orders", "admin": {"role": "rotator"}},
        "slots": {s: {"role": f"orders_{s}", "secret": f"orders-{s}"} for s in ("blue", "green")},
        "workloads": [workload],
        "approval": {"approvers": approvers, **approval},
    }
    clusters = {"weu": {"server": "https://weu.example"}}
    return {"clusters": clusters, "credentials": {CREDENTIAL: credential}}


@dataclass
class Instance:
    """What the durable client says of an orchestration."""

    instance_id: str
    name: str
    input_: Any
    custom_status: Any = None
    output: Any = None
    runtime_status: Status = Status.Running
    created_time: datetime = NOW - timedelta(minutes=10)
    last_updated_time: datetime = NOW


@dataclass
class Client:
    """A durable client: whatever is started stands at its approval at once."""

    instances: dict[str, Instance] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    async def get_status(self, instance_id: str, **_: Any) -> Instance | None:
        return self.instances.get(instance_id)

    async def get_status_by(self, **_: Any) -> list[Instance]:
        return list(self.instances.values())

    async def start_new(self, name: str, instance_id: str, request: Any) -> None:
        crossed = json.loads(json.dumps(request))
        self.instances[instance_id] = Instance(instance_id, name, crossed)
        shown = waiting(crossed)
        self.instances[crossed["rotation"]] = Instance(
            crossed["rotation"], "rotation", crossed, custom_status=shown
        )

    async def raise_event(self, instance_id: str, event_name: str, event_data: Any) -> None:
        shown = self.instances[instance_id].custom_status
        assert event_name == shown["approval"]["event"]
        crossed = json.loads(json.dumps(event_data))
        self.events.append(crossed)
        shown["approval"]["event"] = None
        shown["decision"] = {"at": "2026-11-24T03:00:00.000Z", **crossed}


def waiting(request: dict[str, Any]) -> dict[str, Any]:
    """The custom status of a rotation at its approval."""
    at = "2026-11-24T02:55:00.000Z"
    return {
        "rotation": request["rotation"],
        "credential": request["credential"],
        "request": request,
        "stage": "approval",
        "since": at,
        "started": at,
        "active": "blue",
        "standby": "green",
        "version": "v1",
        "workloads": {"api": "observed"},
        "steps": [],
        "approval": {
            "event": "decision-1",
            "requested": at,
            "deadline": "2026-12-01T02:55:00.000Z",
            "overdue": False,
            "reminders": 0,
            "gate": 1,
            "ignored": [],
        },
        "decision": None,
        "outcome": None,
        "outcomeReason": None,
    }


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class App:
    """The app with these settings, and what its durable client knows."""

    def __init__(self, approvers: list[Any], environment: dict[str, str], **approval: Any) -> None:
        self.edges = edges(approvers, environment, **approval)
        self.client = Client()
        blueprints = (api.blueprint(self.edges), routes.blueprint(self.edges))
        self._functions = {
            builder._function.get_function_name(): builder._function.get_user_function()  # noqa: SLF001 - it has no other listing
            for blueprint in blueprints
            for builder in blueprint._function_builders  # noqa: SLF001 - as above
        }

    def ask(
        self,
        name: str,
        /,
        method: str = "POST",
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        **route: str,
    ) -> Answer:
        """Calls a function by its name; a body that is no bytes is sent as JSON."""
        given = {"Content-Type": "application/json", **(headers or {})}
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = func.HttpRequest(
            method, f"{ORIGIN}/api", headers=given, params=params, route_params=route, body=sent
        )
        function = self._functions[name]
        if "client" in inspect.signature(function).parameters:
            call = function.__wrapped__(request, self.client)  # below the SDK's wrapping of it
        else:
            call = function(request)
        found = asyncio.run(call)
        return Answer(found.status_code, dict(found.headers), found.get_body().decode())

    def start(self, headers: Mapping[str, str] | None = None, **body: Any) -> str:
        """The id of a new rotation, which stands at its approval."""
        found = self.ask("start_rotation", body={"credential": CREDENTIAL, **body}, headers=headers)
        assert found.status == 202, found.text
        return str(found.json["rotation"])

    def decide(
        self, rotation: str, headers: Mapping[str, str] | None = None, **body: Any
    ) -> Answer:
        decision = {"decision": "approve", **body}
        return self.ask("decide", body=decision, headers=headers, id=rotation)

    def decided(self, rotation: str) -> Any:
        return self.client.instances[rotation].custom_status["decision"]

    def post_form(
        self, name: str, headers: Mapping[str, str] | None = None, **given: Any
    ) -> Answer:
        """Opens the page, and posts its form as the browser that opened it."""
        fields = given.pop("fields")
        page = self.ask(name, "GET", b"", headers=headers, **given)
        token = page.text.partition('name="token" value="')[2].partition('"')[0]
        cookie = page.headers.get("Set-Cookie", "").partition(";")[0]
        kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
        fields = {"token": token, **fields}
        while True:  # a form that chooses is answered with one that asks whether it is meant
            body = urlencode(fields).encode()
            answer = self.ask(name, "POST", body, headers={**(headers or {}), **kind}, **given)
            if answer.status != 200 or "acknowledged" in fields:
                return answer
            hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', answer.text)
            meant = {key: html.unescape(value) for key, value in hidden}
            fields = {**meant, "acknowledged": "yes"}


def edges(approvers: list[Any], environment: dict[str, str], **approval: Any) -> MemoryEdges:
    defaults = {"ROTATION_PUBLIC_URL": ORIGIN}
    return MemoryEdges(
        configuration(approvers, **approval),
        settings.parse({**defaults, **environment}),
        NOW,
    )


def with_key(edges: MemoryEdges, *values: str) -> MemoryEdges:
    """The newest version last, each a minute after the one before."""
    parts = urlsplit(LINK_KEY)
    vault = edges.world.vault_at(f"https://{parts.netloc}")
    for value in values:
        known = len(vault.of("link-key"))
        vault.put("link-key", value, value).created = NOW - timedelta(minutes=60 - known)
    return edges


def links_app(approvers: list[Any], **approval: Any) -> App:
    return App(approvers, {"ROTATION_LINK_KEY": LINK_KEY}, **approval)


def entra_app(approvers: list[Any], **approval: Any) -> App:
    settings = {"ROTATION_SIGN_IN": "entra", "WEBSITE_AUTH_ENABLED": "True"}
    return App(approvers, settings, **approval)


def principal(*claims: tuple[str, str]) -> dict[str, str]:
    """The platform's header for whoever is signed in."""
    listed = [{"typ": kind, "val": value} for kind, value in claims]
    document = {"auth_typ": "aad", "claims": listed, "name_typ": "name", "role_typ": "roles"}
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(document).encode()).decode()}


def person(identity: str, *names: str, **claims: str) -> dict[str, str]:
    return principal(
        ("oid", identity),
        ("sub", f"of {identity}"),
        *(("preferred_username", name) for name in names),
        *claims.items(),
    )


def application(identity: str = APP_ID) -> dict[str, str]:
    """An application with a token of its own, such as a Logic App's identity."""
    return principal(("oid", identity), ("sub", identity), ("idtyp", "app"))
