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
from rotation.decisions.verdict import identity_of
from rotation.front import approvers, cancelling, rotations, sites, starting
from rotation.front.approvers import POLICY, Decider, entra, keyed
from rotation.front.credentials import fresh_evidence, look_at_all
from rotation.front.hub import TaskHub
from rotation.front.planned import planned_edges, standing
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
from rotation.model.reasons import CODES, Code, why_not_waived

if TYPE_CHECKING:
    from rotation.config import Approval
    from rotation.contracts.edges import Readers
    from rotation.decisions.verdict import Identity
    from rotation.model.record import Request, ShownRecord
    from rotation.model.wire import JsonObject

LONGEST_SPAN = timedelta(days=90)
NAMELESS = "somebody with the function key"
OWN_CHANNELS = ("page", "link", "policy")  # how the record names ways that nobody may claim


def blueprint(edges: Readers) -> df.Blueprint:
    """The functions of the HTTP API, on these edges."""
    routes = df.Blueprint()

    @routes.function_name("start_rotation")
    @routes.route("rotations", methods=["POST"])
    @routes.durable_client_input("client")
    @answering
    async def start_rotation(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        sites.demand_own(req, edges.settings.public_url)
        caller = _caller(edges, req)
        return await start(edges, TaskHub(client), json_object(req), caller)

    @routes.function_name("list_rotations")
    @routes.route("rotations", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def list_rotations(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        _caller(edges, req)
        return await listing(edges, TaskHub(client), dict(req.params))

    @routes.function_name("get_rotation")
    @routes.route("rotations/{id}", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def get_rotation(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        _caller(edges, req)
        record = await _compared(edges, TaskHub(client), req.route_params["id"])
        return answer({**wire.value_of(record), "links": _links(edges, record.rotation)})

    @routes.function_name("get_evidence")
    @routes.route("rotations/{id}/evidence", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def get_evidence(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        _caller(edges, req)
        record = await existing(TaskHub(client), req.route_params["id"])
        planned = await planned_edges(edges, TaskHub(client), record)
        return answer(wire.value_of(await fresh_evidence(edges, record, planned)))

    @routes.function_name("decide")
    @routes.route("rotations/{id}/approval", methods=["POST"])
    @routes.durable_client_input("client")
    @answering
    async def decide(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        sites.demand_own(req, edges.settings.public_url)
        caller, document = _caller(edges, req), json_object(req)
        record = await existing(TaskHub(client), req.route_params["id"])
        return await decision(edges, TaskHub(client), record, document, caller)

    @routes.function_name("list_credentials")
    @routes.route("credentials", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def list_credentials(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        _caller(edges, req)
        names = sorted(edges.configuration.credentials)
        seen = await look_at_all(edges, TaskHub(client), names)
        return answer({"credentials": [wire.value_of(one) for one in seen]})

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

    _ends_and_begins(edges, routes)
    return routes


def _ends_and_begins(edges: Readers, routes: df.Blueprint) -> None:
    """Adds the functions that end a rotation under way, and begin an ended one again."""

    @routes.function_name("cancel_rotation")
    @routes.route("rotations/{id}/cancel", methods=["POST"])
    @routes.durable_client_input("client")
    @answering
    async def cancel_rotation(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        sites.demand_own(req, edges.settings.public_url)
        caller, document = _caller(edges, req), json_object(req)
        record = await existing(TaskHub(client), req.route_params["id"])
        return await cancel(edges, TaskHub(client), record, document, caller)

    @routes.function_name("retry_rotation")
    @routes.route("rotations/{id}/retry", methods=["POST"])
    @routes.durable_client_input("client")
    @answering
    async def retry_rotation(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        sites.demand_own(req, edges.settings.public_url)
        caller, document = _caller(edges, req), json_object(req)
        record = await existing(TaskHub(client), req.route_params["id"])
        return await retry(edges, TaskHub(client), record, document, caller)


@cache
def description() -> JsonObject:
    """The OpenAPI 3.1 document of these routes and of the pages."""
    text = Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")
    document: JsonObject = json.loads(text)
    return document


def _links(edges: Readers, rotation: str) -> dict[str, str]:
    return links(rotation, edges.settings.public_url)


def _caller(edges: Readers, req: func.HttpRequest) -> Principal | None:
    """The principal that Entra has signed in; None where a function key is all that is asked for.

    Raises `Problem` where Entra should have signed somebody in, and has not: a key alone opens
    nothing then.
    """
    if edges.settings.sign_in != "entra":
        return None
    principal = signed_in(edges.settings, req.headers)
    if isinstance(principal, str):
        raise Problem(403, Code.NOT_SIGNED_IN, principal)
    return principal


def _named_by(document: JsonObject, caller: Principal | None) -> str:
    """The name in the field `by`, for whom a program speaks; empty if there is none.

    Raises `Problem` for a person who has signed in, and names somebody.
    """
    by = text(document, "by")
    if by and caller is not None and caller.person:
        detail = f"you are signed in as {caller.name}: leave out 'by'"
        raise Problem(403, Code.NOT_ALLOWED, detail, field="by")
    return by


def _asker(
    approval: Approval, document: JsonObject, caller: Principal | None
) -> tuple[str, Identity]:
    """The name, for people, and the identity, for four eyes, of whoever asks for a rotation.

    Raises `Problem` for a person who has signed in, and names somebody.
    """
    by = _named_by(document, caller)
    if caller is not None and not by:
        return caller.name, identity_of({*caller.names, caller.name}, caller.id, signed_in=True)
    if not by:
        by, who = NAMELESS, identity_of([])
    else:
        who = approvers.with_object_id(approvers.claimed_identity(by), by, approval)
    return by, who


async def start(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    document: JsonObject,
    caller: Principal | None = None,
) -> func.HttpResponse:
    """Starts a rotation, and answers with its id and links. Raises `Problem`."""
    only(document, "credential", "reason", "by", "waive")
    name = text(document, "credential", required=True)
    return await _started(edges, client, _asked(edges, name, document, caller))


async def retry(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    record: ShownRecord,
    document: JsonObject,
    caller: Principal | None = None,
) -> func.HttpResponse:
    """Starts a rotation again that has ended, and answers as `start` does. Raises `Problem`."""
    only(document, "reason", "by", "waive")
    starting.demand_ended(record)
    request = _asked(edges, record.credential, document, caller, retries=record.rotation)
    return await _started(edges, client, request)


def _asked(
    edges: Readers,
    credential: str,
    document: JsonObject,
    caller: Principal | None,
    retries: str | None = None,
) -> Request:
    """The request that a document holds. Raises `Problem`."""
    approval = starting.approval_of(edges, credential)
    waive = _waived(approval, document, caller)
    by, who = _asker(approval, document, caller)
    reason = text(document, "reason")
    return starting.asked(edges, credential, by, who, reason, waive=waive, retries=retries)


async def _started(
    edges: Readers, client: df.DurableOrchestrationClient, request: Request
) -> func.HttpResponse:
    """Starts what is asked for, and answers with its id and links. Raises `Problem`."""
    name = request.credential
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


def _waived(approval: Approval, document: JsonObject, caller: Principal | None) -> list[str]:
    """The codes that a request for a rotation waives, each once.

    Raises `Problem` for what cannot be waived, and for whoever may not approve the credential's
    rotations.
    """
    given = document.get("waive")
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(code, str) for code in given):
        raise Problem(400, Code.BAD_REQUEST, "'waive' must be a list of codes", field="waive")
    for code in given:
        why_not = why_not_waived(code)
        if why_not is not None:
            kind = Code.NOT_WAIVABLE if code in CODES else Code.BAD_REQUEST
            raise Problem(400, kind, why_not, field="waive")
    if given:
        barred = approvers.not_entitled(_speaker(document, caller, "http"), approval)
        if barred is not None:
            detail = f"only who may approve may waive: {barred}"
            raise Problem(403, Code.NOT_ALLOWED, detail, field="waive")
    return list(dict.fromkeys(given))


async def listing(
    edges: Readers, client: df.DurableOrchestrationClient, query: dict[str, str]
) -> func.HttpResponse:
    """The rotations created in the span of time that the query names. Raises `Problem`."""
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
    """The time in a field of the query, in UTC, or the default. Raises `Problem`."""
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
    """The record of a rotation. Raises `Problem` if there is none."""
    record = await rotations.find(client, rotation)
    if record is None:
        raise Problem(404, Code.UNKNOWN_ROTATION, f"there is no rotation {rotation!r}")
    return record


async def _compared(
    edges: Readers, client: df.DurableOrchestrationClient, rotation: str
) -> ShownRecord:
    """The record of a rotation; of one that waits with what the file says by now."""
    record = await existing(client, rotation)
    if rotations.waits(record):
        rules = await standing(edges, client, record)
        record.changed = record.changed if rules.changed is None else rules.changed
    return record


async def decision(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    record: ShownRecord,
    document: JsonObject,
    caller: Principal | None = None,
) -> func.HttpResponse:
    """Hands a decision over, and answers with what became of it. Raises `Problem`."""
    only(document, "decision", "comment", "by", "channel")
    choice = document.get("decision")
    if choice not in ("approve", "reject"):  # a tuple: a body may hold what has no hash
        detail = "'decision' must be 'approve' or 'reject'"
        raise Problem(400, Code.BAD_REQUEST, detail, field="decision")
    comment = text(document, "comment", longest=2000)
    who = _decider(document, caller)
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


async def cancel(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    record: ShownRecord,
    document: JsonObject,
    caller: Principal | None = None,
) -> func.HttpResponse:
    """Hands a cancel over, and answers with what became of it. Raises `Problem`."""
    only(document, "comment", "by", "channel")
    comment = text(document, "comment", longest=2000)
    who = _decider(document, caller)
    result = await cancelling.cancel(edges, client, record, who, comment)
    match result:
        case rotations.NotAllowed(reason):
            raise Problem(403, Code.NOT_ALLOWED, reason)
        case cancelling.Cancelled(record, wish):
            return answer({"rotation": record.rotation, "cancelled": wire.value_of(wish)})
        case rotations.Accepted(record):
            return answer({"rotation": record.rotation, "cancelled": None}, 202)
        case cancelling.NotCancellable(record):
            detail = cancelling.why_not(record)
            raise Problem(409, Code.NOT_CANCELLABLE, detail, stage=record.stage)
        case _:
            assert_never(result)


def _decider(document: JsonObject, caller: Principal | None) -> Decider:
    """Whoever decides or cancels: the person who has signed in, or whom a program names. Raises
    `Problem`."""
    channel = text(document, "channel", longest=40) or "http"
    if channel.lower().startswith(OWN_CHANNELS):
        detail = f"'channel' may not be {channel!r}: the app itself uses it"
        raise Problem(400, Code.BAD_REQUEST, detail, field="channel")
    return _speaker(document, caller, channel)


def _speaker(document: JsonObject, caller: Principal | None, channel: str) -> Decider:
    """The person who has signed in, or whom a program names. Raises `Problem`."""
    _named_by(document, caller)
    if caller is not None and caller.person:
        return entra(caller, channel)
    by = text(document, "by", required=True)
    if by.casefold() == POLICY:
        detail = f"'by' may not be {by!r}: the app itself uses it"
        raise Problem(400, Code.BAD_REQUEST, detail, field="by")
    return keyed(by, channel)
