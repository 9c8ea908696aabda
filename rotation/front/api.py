"""The HTTP API: JSON in, JSON or problem+json out, function keys in front."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import azure.durable_functions as df
import azure.functions as func

from rotation import __version__
from rotation.decisions.verdict import same_person
from rotation.front import rotations
from rotation.front.approvers import POLICY, Decider, entra, keyed
from rotation.front.credentials import fresh_evidence, look
from rotation.front.principals import Principal, signed_in
from rotation.front.problems import (
    Members,
    Problem,
    answer,
    answering,
    json_object,
    only,
    text,
)
from rotation.links import links
from rotation.model import wire
from rotation.model.catalogue import Origin
from rotation.model.reasons import Code
from rotation.model.record import Request

if TYPE_CHECKING:
    from rotation.contracts.edges import Readers
    from rotation.model.record import ShownRecord
    from rotation.model.wire import JsonObject

LONGEST_SPAN = timedelta(days=90)
OWN_CHANNELS = ("page", "link", "policy")  # how the record names ways that nobody may claim


def blueprint(edges: Readers) -> df.Blueprint:
    """The functions below, on these edges."""
    routes = df.Blueprint()

    @routes.function_name("start_rotation")
    @routes.route("rotations", methods=["POST"])
    @routes.durable_client_input("client")
    @answering
    async def start_rotation(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        return await start(edges, client, json_object(req), _person(edges, req))

    @routes.function_name("list_rotations")
    @routes.route("rotations", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def list_rotations(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        return await listing(edges, client, dict(req.params))

    @routes.function_name("get_rotation")
    @routes.route("rotations/{id}", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def get_rotation(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        record = await existing(client, req.route_params["id"])
        return answer({**wire.value_of(record), "links": _links(edges, record.rotation)})

    @routes.function_name("get_evidence")
    @routes.route("rotations/{id}/evidence", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def get_evidence(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        record = await existing(client, req.route_params["id"])
        return answer(wire.value_of(await fresh_evidence(edges, record)))

    @routes.function_name("decide")
    @routes.route("rotations/{id}/approval", methods=["POST"])
    @routes.durable_client_input("client")
    @answering
    async def decide(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        record = await existing(client, req.route_params["id"])
        return await decision(edges, client, record, json_object(req), _person(edges, req))

    @routes.function_name("list_credentials")
    @routes.route("credentials", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def list_credentials(
        req: func.HttpRequest,  # noqa: ARG001 - the binding's name
        client: df.DurableOrchestrationClient,
    ) -> func.HttpResponse:
        names = sorted(edges.configuration.credentials)
        seen = [wire.value_of(await look(edges, client, name)) for name in names]
        return answer({"credentials": seen})

    @routes.function_name("health")
    @routes.route("health", methods=["GET"])
    @answering
    async def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the binding's name
        settings, configuration = edges.settings, edges.configuration
        return answer(
            {
                "status": "ok",
                "version": __version__,
                "credentials": len(configuration.credentials),
                "signIn": settings.sign_in,
                "notifications": settings.topic is not None,
            }
        )

    @routes.function_name("openapi")
    @routes.route("openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    @answering
    async def openapi(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the binding's name
        return answer(description())

    return routes


@cache
def description() -> JsonObject:
    """OpenAPI 3.1 of these routes and of the pages."""
    text = Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")
    document: JsonObject = json.loads(text)
    return document


def _links(edges: Readers, rotation: str) -> dict[str, str]:
    return links(rotation, edges.settings.public_url)


def _person(edges: Readers, req: func.HttpRequest) -> Principal | None:
    """Whom the platform has signed in, where it does that. Programs name whom they speak for."""
    settings = edges.settings
    if settings.sign_in != "entra" or not settings.easy_auth:
        return None
    principal = signed_in(settings, req.headers)
    return principal if isinstance(principal, Principal) and principal.person else None


def _spoken_for(document: JsonObject, person: Principal | None) -> str:
    """Who is named in `by`: nobody but themselves, if they are signed in."""
    by = text(document, "by")
    if person is None:
        return by
    if by and not any(same_person(by, name) for name in (*person.names, person.name)):
        detail = f"you are signed in as {person.name}: leave out 'by'"
        raise Problem(403, Code.NOT_ALLOWED, detail, field="by")
    return person.name


async def start(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    document: JsonObject,
    person: Principal | None = None,
) -> func.HttpResponse:
    only(document, "credential", "reason", "by")
    name = text(document, "credential", required=True)
    if name not in edges.configuration.credentials:
        detail = f"there is no credential {name!r}"
        raise Problem(404, Code.UNKNOWN_CREDENTIAL, detail, field="credential")
    request = Request(
        rotation=rotations.manual_id(name, edges.now()),
        credential=name,
        origin=Origin.MANUAL,
        requested_by=_spoken_for(document, person) or "somebody with the function key",
        reason=text(document, "reason"),
    )
    match await rotations.start(client, request):
        case rotations.Busy(rotation):
            message = f"credential {name} has rotation {rotation} under way"
            raise Problem(409, Code.BUSY, message, rotation=rotation)
        case rotations.Started(rotation) | rotations.Known(rotation):
            paths = _links(edges, rotation)
            return answer(
                {"rotation": rotation, "credential": name, "links": paths},
                202,
                Location=paths["status"],
            )


async def listing(
    edges: Readers, client: df.DurableOrchestrationClient, query: dict[str, str]
) -> func.HttpResponse:
    now = edges.now()
    since = _moment(query, "since", now - rotations.RETENTION)
    until = _moment(query, "until", now + timedelta(minutes=5))
    if not timedelta() < until - since <= LONGEST_SPAN:
        detail = "'since' must be before 'until', by at most 90 days"
        raise Problem(400, Code.BAD_REQUEST, detail, field="since")
    records = await rotations.listing(client, since, until, query.get("credential"))
    return answer(
        {
            "rotations": [wire.value_of(record) for record in records],
            "since": wire.moment(since),
            "until": wire.moment(until),
        }
    )


def _moment(query: dict[str, str], field: str, default: datetime) -> datetime:
    given = query.get(field)
    if not given:
        return default
    try:
        moment = datetime.fromisoformat(given)
        # The durable client writes it as UTC without looking at its zone.
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        detail = f"{field!r} is not an ISO 8601 time"
        raise Problem(400, Code.BAD_REQUEST, detail, field=field) from None


async def existing(client: df.DurableOrchestrationClient, rotation: str) -> ShownRecord:
    record = await rotations.find(client, rotation)
    if record is None:
        raise Problem(404, Code.UNKNOWN_ROTATION, f"there is no rotation {rotation!r}")
    return record


async def decision(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    record: ShownRecord,
    document: JsonObject,
    person: Principal | None = None,
) -> func.HttpResponse:
    only(document, "decision", "comment", "by", "channel")
    choice = document.get("decision")
    if choice not in ("approve", "reject"):  # a tuple: a body may hold what has no hash
        detail = "'decision' must be 'approve' or 'reject'"
        raise Problem(400, Code.BAD_REQUEST, detail, field="decision")
    comment = text(document, "comment", longest=2000)
    who = _decider(document, person)
    result = await rotations.decide(edges, client, record, who, choice, comment)
    match result:
        case rotations.NotAllowed(reason):
            raise Problem(403, Code.NOT_ALLOWED, reason)
        case rotations.Recorded(record, decided):
            value = wire.value_of(decided)
            return answer({"rotation": record.rotation, "decision": value})
        case rotations.Accepted(record):
            return answer({"rotation": record.rotation, "decision": None}, 202)
        case rotations.TooLate(record, decided):
            detail, code = rotations.why_not(record), Code.ALREADY_DECIDED
            raise Problem(409, code, detail, decision=decided, stage=record.stage)
        case rotations.NotWaiting(record):
            more: Members = {"stage": record.stage}
            code = Code.NOT_WAITING
            if record.decision:
                code, more["decision"] = Code.ALREADY_DECIDED, record.decision
            raise Problem(409, code, rotations.why_not(record), **more)
        case _:
            assert_never(result)


def _decider(document: JsonObject, person: Principal | None) -> Decider:
    channel = text(document, "channel", longest=40) or "http"
    if channel.lower().startswith(OWN_CHANNELS):
        detail = f"'channel' may not be {channel!r}: the app itself uses it"
        raise Problem(400, Code.BAD_REQUEST, detail, field="channel")
    if person is not None:
        _spoken_for(document, person)
        return entra(person, channel)
    by = text(document, "by", required=True)
    if by.casefold() == POLICY:
        detail = f"'by' may not be {by!r}: the app itself uses it"
        raise Problem(400, Code.BAD_REQUEST, detail, field="by")
    return keyed(by, channel)
