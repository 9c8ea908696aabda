"""A durable client and requests for tests of what people and programs reach over HTTP."""

# ruff: noqa: ARG002 - the fakes have the signatures of what they stand in for
from __future__ import annotations

import base64
import inspect
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import azure.functions as func
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation import config
from rotation.decisions.verdict import cancel, requester, verdict
from rotation.front.rotations import describe
from rotation.model import wire
from rotation.model.record import Request
from rotation.settings import Settings
from tests.memory import MemoryEdges

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.model.record import ShownRecord
    from rotation.model.world import Slot

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
ROTATION = "orders-db-near-expiry-0123456789ab"
ANNA, BEN, GROUP = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2, 3))
SERVING: dict[str, Slot] = {"orders-db": "green"}
LINK_KEY = "https://kv-keys.vault.azure.net/secrets/link-key"
ORIGIN = "https://rotation.example"
STRONG_KEY = "q7Zr2LwPx9TfKj4VbN8mHc5sDy3GtRe6UaQo1WiE"


def configuration(**approval: Any) -> config.Configuration:
    """One credential with one workload; `approval` is its approval section."""
    document = {
        "clusters": {"weu": {"server": "https://weu.example"}},
        "credentials": {
            "orders-db": {
                "vault": "https://kv-orders.vault.azure.net",
                "validity": "90d",
                "database": {"host": "pg", "name": "orders", "admin": {"role": "rotator"}},
                "slots": {
                    slot: {"role": f"orders_{slot}", "secret": f"orders-db-{slot}"}
                    for slot in ("blue", "green")
                },
                "workloads": [
                    {
                        "name": "api",
                        "cluster": "weu",
                        "namespace": "orders",
                        "service": "api",
                        "preview": "api-preview",
                        "deployments": {"blue": "api-blue", "green": "api-green"},
                        "tests": [{"path": "/whoami", "json": {"role": "{role}"}, "repeat": 2}],
                    }
                ],
                "approval": approval,
            }
        },
    }
    return config.Configuration.model_validate(document)


def edges(
    settings: Settings = Settings(),  # noqa: B008 - it is frozen
    configured: config.Configuration | None = None,
    link_keys: tuple[tuple[str, bool], ...] = ((STRONG_KEY, True),),
    **approval: Any,
) -> MemoryEdges:
    """Green serves since the swap. `link_keys` are values of the link key, the newest last, and
    whether each is enabled."""
    memory = MemoryEdges(configured or configuration(**approval), settings, NOW, SERVING)
    vault = memory.world.vault_at("https://kv-keys.vault.azure.net")
    for age, (value, enabled) in zip(range(len(link_keys), 0, -1), link_keys, strict=True):
        version = vault.put("link-key", value, value)
        version.created = NOW - timedelta(days=age)
        version.disabled = None if enabled else version.created
    return memory


def record(**changes: Any) -> dict[str, Any]:
    """The custom status of a rotation that waits for a decision."""
    started = "2026-11-24T02:50:00.000Z"
    return {
        "rotation": ROTATION,
        "credential": "orders-db",
        "request": {
            "rotation": ROTATION,
            "credential": "orders-db",
            "requestedBy": "Key Vault",
            "reason": "near expiry",
            "origin": "near-expiry",
        },
        "stage": "approval",
        "since": "2026-11-24T02:55:00.000Z",
        "started": started,
        "active": "blue",
        "standby": "green",
        "version": "v1",
        "workloads": {"api": "observed"},
        "steps": [
            {"step": "plan", "since": started, "until": "2026-11-24T02:50:01.500Z"},
            {"step": "stage", "since": "2026-11-24T02:50:02.000Z", "until": started},
        ],
        "approval": {
            "event": "decision-1",
            "requested": "2026-11-24T02:55:00.000Z",
            "deadline": "2026-12-01T02:55:00.000Z",
            "overdue": False,
            "reminders": 0,
            "gate": 1,
            "ignored": [],
        },
        "decision": None,
        "outcome": None,
        "outcomeReason": None,
        **changes,
    }


def preparing(**changes: Any) -> dict[str, Any]:
    """The custom status of a rotation that brings its standby slot up, and can be cancelled."""
    began = "2026-11-24T02:50:02.000Z"
    step = {"step": "prepare", "since": began, "until": None}
    cancelling = {"event": "cancel-1", "gate": 1, "ignored": []}
    return record(
        **{
            "stage": "prepare",
            "approval": None,
            "workloads": {"api": "planned"},
            "steps": [step],
            "cancelling": cancelling,
            **changes,
        }
    )


def shown(**changes: Any) -> ShownRecord:
    """The same as `rotations.find` returns it."""
    return describe(FakeClient(record(**changes)).instance)


@dataclass
class Instance:
    """What the durable client answers about an instance."""

    instance_id: str
    name: str
    custom_status: Any
    input_: Any
    output: Any = None
    runtime_status: Status = Status.Running
    created_time: datetime = NOW - timedelta(minutes=10)
    last_updated_time: datetime = NOW


class FakeClient:
    """One rotation; a decision is taken as the orchestrator takes it, by `verdict`, and a cancel by
    `cancel`. `started` is what was asked for."""

    def __init__(self, shown: dict[str, Any] | None = None, four_eyes: bool = True) -> None:
        self.shown = shown or record()
        self.raised: list[tuple[str, Any]] = []
        self.four_eyes = four_eyes
        self.deaf = False  # takes events and does nothing about them
        self.started: list[dict[str, Any]] = []
        self.busy: Instance | None = None  # the credential's orchestration

    @property
    def instance(self) -> Instance:
        ended = self.shown["outcome"] is not None
        return Instance(
            self.shown["rotation"],
            "rotation",
            self.shown,
            self.shown["request"],
            output=self.shown if ended else None,
            runtime_status=Status.Completed if ended else Status.Running,
        )

    async def get_status(self, instance_id: str, **_: Any) -> Instance | None:
        if self.busy is not None and instance_id == self.busy.instance_id:
            return self.busy
        return self.instance if instance_id == self.shown["rotation"] else None

    async def start_new(self, name: str, instance_id: str, value: Any) -> str:
        self.started.append(value)
        self.busy = Instance(instance_id, name, None, json.dumps(value))
        return instance_id

    async def get_status_by(self, **_: Any) -> list[Instance]:
        return [self.instance]

    async def raise_event(self, instance_id: str, event_name: str, event_data: Any) -> None:
        # What crosses is JSON.
        event_data = json.loads(json.dumps(event_data))
        self.raised.append((event_name, event_data))
        if event_name.startswith("cancel"):
            self._cancel(event_name, event_data)
            return
        approval = self.shown["approval"]
        if self.deaf or event_name != approval["event"]:
            return
        asked = requester(wire.read(Request, self.instance.input_)) if self.four_eyes else None
        found = verdict(event_data, asked)
        if isinstance(found, str):
            approval["gate"] += 1
            approval |= {"event": f"decision-{approval['gate']}", "ignored": [found]}
            return
        approval["event"] = None
        self.shown |= {
            "stage": "retire",
            "decision": {
                **event_data,
                "at": "2026-11-24T03:00:00.000Z",
            },
        }

    def _cancel(self, event_name: str, event_data: Any) -> None:
        cancelling, wish = self.shown["cancelling"], cancel(event_data)
        if self.deaf or event_name != cancelling["event"]:
            return
        if isinstance(wish, str):
            cancelling |= {"event": "cancel-2", "gate": 2, "ignored": [wish]}
            return
        cancelling["event"] = None
        self.shown |= {"cancelled": {**event_data, "at": "2026-11-24T03:00:00.000Z"}}


def request(
    method: str = "GET",
    path: str = "/api/pages",
    *,
    params: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    form: dict[str, str] | None = None,
    body: bytes = b"",
    **route: str,
) -> func.HttpRequest:
    headers = dict(headers or {})
    if form is not None:
        body = urlencode(form).encode()
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    return func.HttpRequest(
        method, ORIGIN + path, headers=headers, params=params, route_params=route, body=body
    )


def signed_in(*claims: tuple[str, str], auth_typ: str = "aad") -> dict[str, str]:
    """The platform's header."""
    document = {
        "auth_typ": auth_typ,
        "claims": [{"typ": kind, "val": value} for kind, value in claims],
        "name_typ": "name",
        "role_typ": "roles",
    }
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(document).encode()).decode()}


def handlers(blueprint: Any) -> dict[str, Callable[..., Any]]:
    """The functions of a blueprint by their names, below the SDK's own wrapping of the client."""
    found = (builder._function for builder in blueprint._function_builders)  # noqa: SLF001 - it has no other listing
    return {one.get_function_name(): _inner(one.get_user_function()) for one in found}


def _inner(function: Any) -> Callable[..., Any]:
    """The SDK wraps what has a client binding, in order to make a client of its text."""
    return function.__wrapped__ if "client" in inspect.signature(function).parameters else function  # type: ignore[no-any-return]
