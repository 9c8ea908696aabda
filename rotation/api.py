"""The HTTP API: JSON in, JSON or problem+json out, function keys in front."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.durable_functions as df
import azure.functions as func

from rotation import rotations
from rotation.deciders import Decider, Principal, Refused, entra, keyed, signed_in, submit
from rotation.errors import RotationError
from rotation.http import Problem, answer, answering, json_object, only, text
from rotation.messages import links
from rotation.model import SLOTS, Request
from rotation.observation import evidence, snapshot
from rotation.planning import active_slot, same_person
from rotation.run import iso

if TYPE_CHECKING:
    from rotation.edges import Edges
    from rotation.model import Snapshot

LONGEST_SPAN = timedelta(days=90)
OWN_CHANNELS = ("page", "link", "policy")  # how the record names ways that nobody may claim
POLICY = "policy"


def blueprint(edges: Edges) -> df.Blueprint:
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
        return answer({**record, "links": _links(edges, record["rotation"])})

    @routes.function_name("get_evidence")
    @routes.route("rotations/{id}/evidence", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def get_evidence(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        record = await existing(client, req.route_params["id"])
        return answer(await fresh_evidence(edges, record))

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
        return answer({"credentials": [await credential(edges, client, name) for name in names]})

    @routes.function_name("health")
    @routes.route("health", methods=["GET"])
    @answering
    async def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the binding's name
        settings, configuration = edges.settings, edges.configuration
        return answer(
            {
                "status": "ok",
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
def description() -> Any:
    """OpenAPI 3.1 of these routes and of the pages."""
    text = Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")
    return json.loads(text)


def _links(edges: Edges, rotation: str) -> dict[str, str]:
    return links(rotation, edges.settings.public_url)


def _person(edges: Edges, req: func.HttpRequest) -> Principal | None:
    """Whom the platform has signed in, where it does that. Programs name whom they speak for."""
    settings = edges.settings
    if settings.sign_in != "entra" or not settings.easy_auth:
        return None
    found = signed_in(settings, req.headers)
    return found if isinstance(found, Principal) and found.person else None


def _spoken_for(document: dict[str, Any], person: Principal | None) -> str:
    """Who is named in `by`: nobody but themselves, if they are signed in."""
    by = text(document, "by")
    if person is None:
        return by
    if by and not any(same_person(by, name) for name in (*person.names, person.name)):
        raise Problem(403, f"you are signed in as {person.name}: leave out 'by'", field="by")
    return person.name


async def start(
    edges: Edges,
    client: df.DurableOrchestrationClient,
    document: dict[str, Any],
    person: Principal | None = None,
) -> func.HttpResponse:
    only(document, "credential", "reason", "by")
    name = text(document, "credential", required=True)
    if name not in edges.configuration.credentials:
        raise Problem(404, f"there is no credential {name!r}", field="credential")
    request = Request(
        rotation=rotations.manual_id(name, edges.now()),
        credential=name,
        origin="manual",
        requested_by=_spoken_for(document, person) or "somebody with the function key",
        reason=text(document, "reason"),
    )
    match await rotations.start(client, request):
        case rotations.Busy(rotation):
            message = f"credential {name} has rotation {rotation} under way"
            raise Problem(409, message, rotation=rotation)
        case rotations.Started(rotation) | rotations.Known(rotation):
            found = _links(edges, rotation)
            return answer(
                {"rotation": rotation, "credential": name, "links": found},
                202,
                Location=found["status"],
            )


async def listing(
    edges: Edges, client: df.DurableOrchestrationClient, query: dict[str, str]
) -> func.HttpResponse:
    now = edges.now()
    since = _moment(query, "since", now - rotations.RETENTION)
    until = _moment(query, "until", now + timedelta(minutes=5))
    if not timedelta() < until - since <= LONGEST_SPAN:
        raise Problem(400, "'since' must be before 'until', by at most 90 days", field="since")
    found = await rotations.listing(client, since, until, query.get("credential"))
    return answer({"rotations": found, "since": iso(since), "until": iso(until)})


def _moment(query: dict[str, str], field: str, default: datetime) -> datetime:
    given = query.get(field)
    if not given:
        return default
    try:
        moment = datetime.fromisoformat(given)
        # The durable client writes it as UTC without looking at its zone.
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Problem(400, f"{field!r} is not an ISO 8601 time", field=field) from None


async def fresh_evidence(edges: Edges, record: dict[str, Any]) -> dict[str, Any]:
    """Looked at just now, for whoever is about to decide. Raises `Problem`."""
    if record["standby"] is None or record["outcome"] is not None:
        raise Problem(409, "there is nothing to decide about now", stage=record["stage"])
    credential = edges.configuration.credential(record["credential"])
    return await asyncio.to_thread(evidence, edges, credential, record["standby"])


async def existing(client: df.DurableOrchestrationClient, rotation: str) -> dict[str, Any]:
    record = await rotations.find(client, rotation)
    if record is None:
        raise Problem(404, f"there is no rotation {rotation!r}")
    return record


async def decision(
    edges: Edges,
    client: df.DurableOrchestrationClient,
    record: dict[str, Any],
    document: dict[str, Any],
    person: Principal | None = None,
) -> func.HttpResponse:
    only(document, "decision", "comment", "by", "channel")
    choice = document.get("decision")
    if choice not in ("approve", "reject"):  # a tuple: a body may hold what has no hash
        raise Problem(400, "'decision' must be 'approve' or 'reject'", field="decision")
    comment = text(document, "comment", longest=2000)
    who = _decider(document, person)
    match await submit(edges, client, record, who, choice, comment):
        case Refused(reason):
            raise Problem(403, reason)
        case rotations.Recorded(found):
            return answer({"rotation": found["rotation"], "decision": found["decision"]})
        case rotations.Accepted(found):
            return answer({"rotation": found["rotation"], "decision": None}, 202)
        case rotations.TooLate(found):
            decided = found["decision"]
            raise Problem(409, why_not(found), decision=decided, stage=found["stage"])
        case rotations.NotWaiting(found):
            more = {"decision": found["decision"]} if found["decision"] else {}
            raise Problem(409, why_not(found), stage=found["stage"], **more)


def _decider(document: dict[str, Any], person: Principal | None) -> Decider:
    channel = text(document, "channel", longest=40) or "http"
    if channel.lower().startswith(OWN_CHANNELS):
        raise Problem(
            400, f"'channel' may not be {channel!r}: the app itself uses it", field="channel"
        )
    if person is not None:
        _spoken_for(document, person)
        return entra(person, channel)
    by = text(document, "by", required=True)
    if by.casefold() == POLICY:
        raise Problem(400, f"'by' may not be {by!r}: the app itself uses it", field="by")
    return keyed(by, channel)


def why_not(record: dict[str, Any]) -> str:
    """Why a decision did not count."""
    decided = record["decision"]
    if decided:
        word = "approved" if decided["decision"] == "approve" else "rejected"
        at = f"{decided['at'][:19]}Z"
        return f"it was {word} already, by {decided['by']} at {at}: one decision counts"
    ignored = (record["approval"] or {}).get("ignored")
    if ignored:
        return f"the decision did not count: {ignored[-1]}"
    return f"the rotation does not wait for a decision: its stage is {record['stage']}"


async def credential(
    edges: Edges, client: df.DurableOrchestrationClient, name: str
) -> dict[str, Any]:
    """What one credential looks like now; what cannot be seen is said under `problem`."""
    running = await rotations.current(client, name)
    configured = edges.configuration.credential(name)
    seen: dict[str, Any] = {"credential": name, "active": None, "slots": {}, "rotation": running}
    try:
        world = await asyncio.to_thread(snapshot, edges, name, configured)
    except RotationError as error:
        return {**seen, "problem": error.message}
    return {**seen, "active": active_slot(world), "slots": _slots(world), "problem": None}


def _slots(world: Snapshot) -> dict[str, Any]:
    slots: dict[str, Any] = {}
    for slot in SLOTS:
        role, secret = world.slots[slot].role, world.slots[slot].secret
        slots[slot] = {
            "role": role.name if role else None,
            "login": role.login if role else None,
            "secret": secret.secret if secret else None,
            "version": secret.version if secret else None,
            "enabled": secret.enabled if secret else None,
            "expires": iso(secret.expires) if secret and secret.expires else None,
        }
    return slots
