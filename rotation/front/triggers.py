"""Starts rotations on Key Vault's events, and in a daily sweep for those that got lost; samples
what would stand in their way, and who uses the logins.

The triggers only start orchestrations: Event Grid waits 30 seconds and delivers at least once.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit

import azure.durable_functions as df
import azure.functions as func

from rotation import log
from rotation.decisions.plan import EVENT_SLACK, not_soon
from rotation.front import expiry, keeping, places, rotations, samples
from rotation.front.hub import TaskHub
from rotation.front.usage import Sampler
from rotation.model.catalogue import Origin
from rotation.model.errors import RotationError, Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.model.world import SLOTS, SecretVersion, Slot

if TYPE_CHECKING:
    from rotation.contracts.edges import Readers

ORIGINS: dict[str, Origin] = {
    "Microsoft.KeyVault.SecretNearExpiry": Origin.NEAR_EXPIRY,
    "Microsoft.KeyVault.SecretExpired": Origin.EXPIRED,
}

# Names and versions of secrets as Key Vault has them: they go into ids, reasons and the log.
NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
LONGEST_REASON = 500


@dataclass(frozen=True)
class Announcement:
    """Key Vault's announcement that a secret version expires soon, or has expired.

    `vault` is the vault's URL.
    """

    origin: Origin
    vault: str
    secret: str
    version: str


def content(event: func.EventGridEvent | func.CloudEvent) -> tuple[str, object]:
    """The type and the data of an event, in Event Grid's own schema or a CloudEvent.

    A subscription delivers either; Key Vault's data are the same in both.
    """
    kind = event.type if isinstance(event, func.CloudEvent) else event.event_type
    try:
        return str(kind), event.get_json()
    except ValueError:
        return str(kind), None


def read(event_type: str, data: object) -> Announcement | str:
    """The announcement in an event, or why it has none.

    In the wild keys come with a trailing space, values padded, and numbers as text; see
    https://learn.microsoft.com/azure/event-grid/event-schema-key-vault for the schema.
    """
    origin = ORIGINS.get(event_type)
    if origin is None:
        return f"events of type {event_type!r} start nothing"
    if not isinstance(data, dict):
        return "the event's data is not an object"
    fields = {str(key).strip().lower(): value for key, value in data.items()}
    secret, version, location = (_text(fields, key) for key in ("objectname", "version", "id"))
    if not NAME.fullmatch(secret) or not NAME.fullmatch(version):
        return "the event names no secret and version"
    host = _host(location)
    if host is None:
        return "the event's Id is not the URL of a secret version"
    return Announcement(origin, f"https://{host}", secret, version)


def _text(fields: dict[str, object], key: str) -> str:
    """The stripped text of a field; empty if it has none."""
    value = fields.get(key)
    return value.strip() if isinstance(value, str) else ""


def _host(location: str) -> str | None:
    """The host and port of an https URL; None for any other text.

    The vault's name alone would not tell a sovereign cloud's vault apart.
    """
    try:
        parts = urlsplit(location)
        port = f":{parts.port}" if parts.port not in (None, 443) else ""
    except ValueError:
        return None
    return f"{parts.hostname}{port}" if parts.scheme == "https" and parts.hostname else None


def blueprint(edges: Readers) -> df.Blueprint:
    """The functions of the triggers, on these edges."""
    triggers = df.Blueprint()

    @triggers.function_name("on_secret_event")
    @triggers.event_grid_trigger("event")
    @triggers.durable_client_input("client")
    async def on_secret_event(
        event: func.EventGridEvent, client: df.DurableOrchestrationClient
    ) -> None:
        # The binding knows one class by its annotation, and hands over whichever it got.
        kind, data = content(event)
        await take(edges, TaskHub(client), kind, data, str(event.id))

    @triggers.function_name("sweep")
    @triggers.timer_trigger("timer", "%ROTATION_SWEEP_SCHEDULE%")
    @triggers.durable_client_input("client")
    async def sweep(
        timer: func.TimerRequest,  # noqa: ARG001 - the binding's name
        client: df.DurableOrchestrationClient,
    ) -> None:
        await sweep_all(edges, TaskHub(client))

    @triggers.function_name("sample")
    @triggers.timer_trigger("timer", "%ROTATION_SAMPLE_SCHEDULE%")
    @triggers.durable_client_input("client")
    async def sample(
        timer: func.TimerRequest,  # noqa: ARG001 - the binding's name
        client: df.DurableOrchestrationClient,
    ) -> None:
        await samples.sample_all(edges, TaskHub(client))
        await places.begin_again(TaskHub(client))

    sampler = Sampler(edges)

    @triggers.function_name("sample_usage")
    @triggers.timer_trigger("timer", "%ROTATION_USAGE_SCHEDULE%")
    async def sample_usage(
        timer: func.TimerRequest,  # noqa: ARG001 - the binding's name
    ) -> None:
        await asyncio.to_thread(sampler.run)

    return triggers


async def take(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    event_type: str,
    data: object,
    event_id: str,
) -> None:
    """Starts the rotation that an event asks for, or records why not.

    What cannot be recorded raises: Event Grid retries.
    """
    announced = read(event_type, data)
    if isinstance(announced, str):
        _account(event_id, "ignored", announced)
        return
    owner = edges.configuration.owner(announced.vault, announced.secret)
    if owner is None:
        text = f"no credential has secret {announced.secret} of {announced.vault}"
        _account(event_id, "foreign", text)
        return
    credential, slot = owner
    current = await asyncio.to_thread(_current, edges, credential, slot)
    if current is None or current.version != announced.version:
        text = f"version {announced.version} of secret {announced.secret} is not the current one"
        _account(event_id, "stale", text)
        return
    configured = edges.configuration.credential(credential)
    early = not_soon(current, edges.now(), configured.rotate_before + EVENT_SLACK)
    if early is not None:
        _account(event_id, "early", early.text)
        return
    request = Request(
        rotation=rotations.event_id(
            credential, announced.origin, announced.secret, announced.version
        ),
        credential=credential,
        origin=announced.origin,
        requested_by="Key Vault",
        reason=f"version {announced.version} of secret {announced.secret}: {announced.origin}",
        secret=announced.secret,
        version=announced.version,
        restricted=bool(configured.viewers),
    )
    started = await rotations.start(client, request)
    _account_start(event_id, started)
    if isinstance(started, rotations.Busy):
        # Event Grid delivers it again, for a day; after that the daily sweep finds it due.
        text = f"credential {credential} has rotation {started.rotation} under way"
        raise Unavailable(Code.BUSY, text)


def _current(edges: Readers, credential: str, slot: Slot) -> SecretVersion | None:
    """The current version of a slot's secret, or None. Raises what the vault raises.

    Looked up before anything starts: a flood of made-up versions would lock the credential, and one
    event that is forged early would use up the id of the real one.
    """
    configured = edges.configuration.credential(credential)
    return edges.vault(configured.vault).current(configured.secret(slot))


async def sweep_all(edges: Readers, client: df.DurableOrchestrationClient) -> None:
    """Asks for a rotation of each credential with a current version that is due.

    `plan` looks at the rest. One credential that cannot be looked at, or started, does not keep the
    others waiting. During a pause it starts nothing, and still tells what expires. At the end it
    keeps the records that are not kept yet.
    """
    now, credentials, asked = edges.now(), sorted(edges.configuration.credentials), 0
    paused = edges.settings.paused
    for credential in credentials:
        rotation = rotations.sweep_id(credential, now)
        expiry.tell(credential, await asyncio.to_thread(expiry.look, edges, credential))
        try:
            if paused or not await asyncio.to_thread(due, edges, credential):
                continue
            asked += 1
            request = Request(
                rotation=rotation,
                credential=credential,
                origin=Origin.SWEEP,
                requested_by="daily sweep",
                reason="expires soon",
                restricted=bool(edges.configuration.credential(credential).viewers),
            )
            _account_start(rotation, await rotations.start(client, request))
        except RotationError as error:
            _account(rotation, "failed", error.message)
    # On quiet days too: that it is missing is what an alert waits for.
    log.event("sweep.done", credentials=len(credentials), due=asked, paused=paused)
    await keeping.catch_up(edges, client)


def due(edges: Readers, name: str) -> bool:
    """Whether a current version of either slot is due for rotation.

    One that is disabled does not count: it is of the slot that does not serve.
    """
    credential = edges.configuration.credential(name)
    vault = edges.vault(credential.vault)
    versions = [vault.current(credential.secret(slot)) for slot in SLOTS]
    limit = edges.now() + credential.rotate_before
    return any(v.enabled and v.expires is not None and v.expires <= limit for v in versions if v)


def _account_start(
    event_id: str, result: rotations.Started | rotations.Known | rotations.Busy
) -> None:
    """Logs and counts what became of the start that an event or a sweep asked for."""
    match result:
        case rotations.Started(rotation):
            _account(event_id, "started", f"rotation {rotation}", rotation)
        case rotations.Known(rotation):
            _account(event_id, "duplicate", f"rotation {rotation} was started before", rotation)
        case rotations.Busy(rotation):
            _account(event_id, "busy", f"rotation {rotation} is under way", rotation)
        case _:
            assert_never(result)


def _account(event_id: str, result: str, reason: str, rotation: str | None = None) -> None:
    """Logs what became of an event, with the reason, and counts it by its kind."""
    log.EVENTS.add(1, {"result": result})
    level = logging.WARNING if result in {"busy", "failed"} else logging.INFO
    log.event(
        f"event.{result}",
        level=level,
        eventId=event_id[:200],
        reason=reason[:LONGEST_REASON],
        rotation=rotation,
    )
