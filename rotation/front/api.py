"""The HTTP API: JSON in, JSON or problem+json out, function keys in front."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlencode

import azure.durable_functions as df
import azure.functions as func

from rotation import __version__
from rotation.decisions.rights import Action
from rotation.decisions.verdict import identity_of
from rotation.front import (
    approvers,
    archive,
    cancelling,
    history,
    incidents,
    rights,
    rotations,
    samples,
    sites,
    starting,
    waves,
)
from rotation.front.approvers import POLICY, Decider, entra, keyed
from rotation.front.credentials import fresh_evidence
from rotation.front.doctor import DryRun, dry_run
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
from rotation.model.record import awaited_decision
from rotation.model.waves import WaveCancel

if TYPE_CHECKING:
    from rotation.config import Approval, Credential
    from rotation.contracts.edges import Readers
    from rotation.decisions.verdict import Identity
    from rotation.model.catalogue import Gate
    from rotation.model.record import Request, ShownRecord
    from rotation.model.wire import JsonObject

PAGE, LARGEST_PAGE = 100, 200  # rotations in one answer: unless asked for, and at most
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
        who = _onlooker(edges, req)
        return await listing(edges, TaskHub(client), dict(req.params), who)

    @routes.function_name("get_rotation")
    @routes.route("rotations/{id}", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def get_rotation(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        who = _onlooker(edges, req)
        record = await _compared(edges, TaskHub(client), who, req.route_params["id"])
        return answer({**wire.value_of(record), "links": _links(edges, record.rotation)})

    @routes.function_name("get_evidence")
    @routes.route("rotations/{id}/evidence", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def get_evidence(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        who = _onlooker(edges, req)
        record = await existing(edges, TaskHub(client), who, req.route_params["id"])
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
        who = rights.onlooker(caller)
        record = await existing(edges, TaskHub(client), who, req.route_params["id"])
        return await decision(edges, TaskHub(client), record, document, caller)

    _credentials(routes, edges)

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
                "records": archive.kept_at_all(edges),
            }
        )

    @routes.function_name("openapi")
    @routes.route("openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    @answering
    async def openapi(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the binding's name
        return answer(description())

    _ends_and_begins(edges, routes)
    _waves(edges, routes)
    return routes


def _credentials(routes: df.Blueprint, edges: Readers) -> None:
    """Adds the functions that tell how credentials are."""

    @routes.function_name("list_credentials")
    @routes.route("credentials", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def list_credentials(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        names, fresh = rights.visible(edges, _onlooker(edges, req)), _fresh(req)
        seen = await samples.listed(edges, TaskHub(client), names, fresh=fresh)
        return answer({"credentials": [wire.value_of(one) for one in seen]})

    @routes.function_name("get_credential")
    @routes.route("credentials/{name}", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def get_credential(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        who = _onlooker(edges, req)
        name, fresh = req.route_params["name"], _fresh(req)
        rights.demand_seen(edges, who, name)
        seen = await samples.one(edges, TaskHub(client), name, fresh=fresh)
        return answer(wire.value_of(seen))


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
        who = rights.onlooker(caller)
        record = await existing(edges, TaskHub(client), who, req.route_params["id"])
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
        who = rights.onlooker(caller)
        record = await existing(edges, TaskHub(client), who, req.route_params["id"])
        return await retry(edges, TaskHub(client), record, document, caller)


def _waves(edges: Readers, routes: df.Blueprint) -> None:
    """Adds the functions that tell of a wave, and stop it."""

    @routes.function_name("list_waves")
    @routes.route("waves", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def list_waves(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        found = await waves.listing(edges, TaskHub(client), _onlooker(edges, req))
        return answer({"waves": [wire.value_of(one) for one in found]})

    @routes.function_name("get_wave")
    @routes.route("waves/{id}", methods=["GET"])
    @routes.durable_client_input("client")
    @answering
    async def get_wave(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        who = _onlooker(edges, req)
        found = await waves.existing(edges, TaskHub(client), who, req.route_params["id"])
        return answer(wire.value_of(found))

    @routes.function_name("cancel_wave")
    @routes.route("waves/{id}/cancel", methods=["POST"])
    @routes.durable_client_input("client")
    @answering
    async def cancel_wave(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        sites.demand_own(req, edges.settings.public_url)
        caller, document = _caller(edges, req), json_object(req)
        name = req.route_params["id"]
        return await cancel_a_wave(edges, TaskHub(client), name, document, caller)


@cache
def description() -> JsonObject:
    """The OpenAPI 3.1 document of these routes and of the pages."""
    text = Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")
    document: JsonObject = json.loads(text)
    return document


def _fresh(req: func.HttpRequest) -> bool:
    """Whether a fresh look is asked for. Raises `Problem`."""
    given: str = req.params.get("fresh", "false")
    if given not in {"true", "false"}:
        detail = "'fresh' must be true or false"
        raise Problem(400, Code.BAD_REQUEST, detail, field="fresh")
    return given == "true"


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
    if principal.person:
        rights.demand_readable(edges)
    return principal


def _onlooker(edges: Readers, req: func.HttpRequest) -> Decider | None:
    """Whoever reads; None where a function key is all that can be asked for. Raises `Problem`."""
    return rights.onlooker(_caller(edges, req))


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
    credential: Credential, document: JsonObject, caller: Principal | None
) -> tuple[Decider | None, str, Identity]:
    """Whoever asks for a rotation: for their rights, None where they do not say who they are; by
    name, for people; and by identity, for four eyes.

    Raises `Problem` for a person who has signed in, and names somebody.
    """
    by = _named_by(document, caller)
    if caller is not None and not by:
        known = identity_of({*caller.names, caller.name}, caller.id, signed_in=True)
        return entra(caller, "http"), caller.name, known
    if not by:
        return None, NAMELESS, identity_of([])
    known = approvers.with_object_id(approvers.claimed_identity(by), by, credential)
    return keyed(by, "http"), by, known


async def start(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    document: JsonObject,
    caller: Principal | None = None,
) -> func.HttpResponse:
    """Starts a rotation, and answers with its id and links; of a dry run, with what it would do.

    Raises `Problem`.
    """
    if incidents.is_one(document):
        return await incident(edges, client, document, caller)
    if "select" in document:
        return await start_wave(edges, client, document, caller)
    only(document, "credential", "reason", "by", "waive", "outsideWindow", "dryRun", "select")
    name = text(document, "credential", required=True)
    action = Action.DRY_RUN if _dry(document) else Action.START
    request = _asked(edges, action, name, document, caller)
    if action is Action.DRY_RUN:
        return answer(wire.value_of(await _dry_run(edges, client, request)))
    return await _started(edges, client, request)


async def start_wave(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    document: JsonObject,
    caller: Principal | None = None,
) -> func.HttpResponse:
    """Starts a wave, and answers with its id, its members and its links; of a dry run, with who
    would begin together. Raises `Problem`."""
    dry = _dry(document)
    wave = await waves.asked(edges, document, _wave_asker(document, caller))
    if dry:
        return answer(waves.planned(wave))
    await waves.start(client, wave)
    paths = {"status": f"/api/waves/{wave.wave}", "page": f"/api/pages/waves/{wave.wave}"}
    base = edges.settings.public_url or ""
    paths = {name: f"{base}{path}" for name, path in paths.items()}
    started = {**waves.planned(wave), "wave": wave.wave, "links": paths}
    return answer(started, 202, Location=paths["status"])


def _wave_asker(document: JsonObject, caller: Principal | None) -> waves.Asker:
    """Whoever asks for a wave. Raises `Problem` for a person who has signed in, and names
    somebody."""
    by = _named_by(document, caller)
    if caller is not None and not by:
        known = identity_of({*caller.names, caller.name}, caller.id, signed_in=True)
        who = entra(caller, "http")
        return waves.Asker(who, caller.name, lambda _: known, rights.onlooker(caller))
    if not by:
        return waves.Asker(None, NAMELESS, lambda _: identity_of([]), rights.onlooker(caller))
    claimed = approvers.claimed_identity(by)

    def as_known(credential: Credential) -> Identity:
        return approvers.with_object_id(claimed, by, credential)

    return waves.Asker(keyed(by, "http"), by, as_known, rights.onlooker(caller))


async def cancel_a_wave(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    name: str,
    document: JsonObject,
    caller: Principal | None = None,
) -> func.HttpResponse:
    """Hands the cancel of a wave over, and answers with what was asked. Raises `Problem`."""
    only(document, "comment", "by", "channel", "running")
    running, comment = waves.running(document), text(document, "comment", longest=2000)
    who = _decider(document, caller)
    await waves.existing(edges, client, rights.onlooker(caller), name)
    wish = WaveCancel(by=who.by, channel=who.channel, comment=comment, running=running)
    await waves.cancel(edges, client, name, who, wish)
    return answer({"wave": name, "cancelled": wire.value_of(wish)}, 202)


async def incident(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    document: JsonObject,
    caller: Principal | None = None,
    again: ShownRecord | None = None,
) -> func.HttpResponse:
    """Calls an incident of a credential, or of all on a server, and answers with its id and links.

    `again` is one that has ended, and is called once more. Raises `Problem`.
    """
    if "server" in document:
        return await _of_server(edges, client, document, caller)
    own = () if again else ("credential",)
    only(document, *own, "reason", "by", "waive", *incidents.FIELDS)
    name = again.credential if again else text(document, "credential", required=True)
    credential = starting.credential_of(edges, rights.onlooker(caller), name)
    request = incidents.asked(
        edges,
        name,
        _calling(credential, document, caller),
        incidents.wish(document, credential),
        waive=_waived(credential.approval, document, caller),
        retries=again.rotation if again else None,
    )
    return _begun(edges, await incidents.call(client, request))


def _calling(
    credential: Credential, document: JsonObject, caller: Principal | None
) -> incidents.Speaker:
    """Whoever calls an incident of a credential. Raises `Problem`."""
    person = caller is not None and caller.person
    return incidents.Speaker(*_asker(credential, document, caller), person=person)


async def _of_server(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    document: JsonObject,
    caller: Principal | None,
) -> func.HttpResponse:
    """Calls an incident of each credential on a server. Raises `Problem`."""
    server, skip = incidents.demand_server(document)
    wished = incidents.wish(document, None)
    requests: dict[str, Request | Problem] = {}
    for name in incidents.on_server(edges, rights.onlooker(caller), server):
        speaker = _calling(edges.configuration.credential(name), document, caller)
        own = replace(wished, repeated=name)  # it was named twice with the server
        try:
            requests[name] = incidents.asked(edges, name, speaker, own)
        except Problem as problem:
            requests[name] = problem
    incidents.demand_all(requests, skip=skip)
    called = await incidents.call_each(client, requests)
    return answer({"server": server, "results": [_result(edges, one) for one in called]}, 202)


def _result(edges: Readers, called: incidents.Called) -> JsonObject:
    """What became of one credential of a server."""
    if called.request is not None:
        paths = _links(edges, called.request.rotation)
        rotation = called.request.rotation
        return {"credential": called.credential, "rotation": rotation, "links": paths}
    problem = called.problem
    known = {"code": problem.code, "detail": problem.reason.text} if problem else {}
    return {"credential": called.credential, **known}


def _begun(edges: Readers, request: Request) -> func.HttpResponse:
    paths = _links(edges, request.rotation)
    begun = {"rotation": request.rotation, "credential": request.credential, "links": paths}
    return answer(begun, 202, Location=paths["status"])


async def retry(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    record: ShownRecord,
    document: JsonObject,
    caller: Principal | None = None,
) -> func.HttpResponse:
    """Starts a rotation again that has ended, and answers as `start` does. Raises `Problem`."""
    if record.request.compromised:
        starting.demand_ended(record)
        known = record.request
        leaked = record.leak.slot if record.leak else known.leaked
        same = {"compromised": True, "cut": known.cut} | ({"slot": leaked} if leaked else {})
        return await incident(edges, client, {**same, **document}, caller, again=record)
    only(document, "reason", "by", "waive", "outsideWindow")
    starting.demand_ended(record)
    asked = record.rotation
    request = _asked(edges, Action.RETRY, record.credential, document, caller, retries=asked)
    return await _started(edges, client, request)


def _asked(
    edges: Readers,
    action: Action,
    name: str,
    document: JsonObject,
    caller: Principal | None,
    retries: str | None = None,
) -> Request:
    """The request that a document holds. Raises `Problem`."""
    credential = starting.credential_of(edges, rights.onlooker(caller), name)
    who, by, known = _asker(credential, document, caller)
    if action is not Action.DRY_RUN:  # that is for whoever sees the credential
        starting.demand_starter(action, who, credential)
    waive = _waived(credential.approval, document, caller)
    return starting.asked(
        edges,
        name,
        by,
        known,
        text(document, "reason"),
        waive=waive,
        retries=retries,
        outside_window=starting.outside_window(document),
    )


async def _started(
    edges: Readers, client: df.DurableOrchestrationClient, request: Request
) -> func.HttpResponse:
    """Starts what is asked for, and answers with its id and links. Raises `Problem`."""
    name = request.credential
    match await rotations.start(client, request):
        case rotations.Busy(rotation):
            raise _busy(name, rotation)
        case rotations.Started(_) | rotations.Known(_):
            return _begun(edges, request)


def _busy(credential: str, rotation: str) -> Problem:
    message = f"credential {credential} has rotation {rotation} under way"
    return Problem(409, Code.BUSY, message, rotation=rotation)


def _dry(document: JsonObject) -> bool:
    """Whether nothing is to be started. Raises `Problem`."""
    given = document.get("dryRun", False)
    if not isinstance(given, bool):
        raise Problem(400, Code.BAD_REQUEST, "'dryRun' must be true or false", field="dryRun")
    return given


async def _dry_run(
    edges: Readers, client: df.DurableOrchestrationClient, request: Request
) -> DryRun:
    """What the rotation would do that is asked for. Raises `Problem` as its start would."""
    running = await rotations.current(client, request.credential)
    if running is not None:
        raise _busy(request.credential, running)
    return await dry_run(edges, request)


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
        barred = approvers.not_entitled(_speaker(document, caller, "http"), approval, Action.WAIVE)
        if barred is not None:
            detail = f"only who may approve may waive: {barred}"
            raise Problem(403, Code.NOT_ALLOWED, detail, field="waive")
    return list(dict.fromkeys(given))


async def listing(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    query: dict[str, str],
    who: Decider | None,
) -> func.HttpResponse:
    """A page of the rotations that somebody sees, created in the span of time that the query names,
    the newest first.

    Raises `Problem`.
    """
    span, limit = history.asked(query, edges.now(), rotations.RETENTION), _limit(query)
    search = history.Search(span, query.get("credential"), who, limit)
    found = await history.page(edges, client, search)
    more: dict[str, str] = {}
    if found.next is not None:
        asked = {**query, "since": wire.moment(span.since), "until": wire.moment(span.until)}
        asked.pop("code", None)  # a key belongs in a header
        more["Link"] = f'<?{urlencode({**asked, "after": found.next})}>; rel="next"'
    return answer(
        {
            "rotations": [wire.value_of(record) for record in found.records],
            "since": wire.moment(span.since),
            "until": wire.moment(span.until),
            "next": found.next,
            "incomplete": wire.value_of(found.incomplete) if found.incomplete else None,
        },
        200,
        **more,
    )


def _limit(query: dict[str, str]) -> int:
    """How many rotations a page may have. Raises `Problem`."""
    given = query.get("limit") or str(PAGE)
    if not re.fullmatch(r"[0-9]{1,4}", given, re.ASCII) or not 1 <= int(given) <= LARGEST_PAGE:
        detail = f"'limit' is not a whole number from 1 to {LARGEST_PAGE}"
        raise Problem(400, Code.BAD_REQUEST, detail, field="limit")
    return int(given)


async def existing(
    edges: Readers, client: df.DurableOrchestrationClient, who: Decider | None, rotation: str
) -> ShownRecord:
    """The record of a rotation that somebody sees. Raises `Problem` if there is none."""
    record = await history.shown(edges, client, who, rotation)
    if record is None:
        raise Problem(404, Code.UNKNOWN_ROTATION, f"there is no rotation {rotation!r}")
    return record


async def _compared(
    edges: Readers, client: df.DurableOrchestrationClient, who: Decider | None, rotation: str
) -> ShownRecord:
    """The record of a rotation that somebody sees; of one that waits with what the file says by
    now."""
    record = await existing(edges, client, who, rotation)
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
    only(document, "decision", "gate", "comment", "by", "channel")
    choice = document.get("decision")
    if choice not in ("approve", "reject"):  # a tuple: a body may hold what has no hash
        detail = "'decision' must be 'approve' or 'reject'"
        raise Problem(400, Code.BAD_REQUEST, detail, field="decision")
    gate = _gate(document, record)
    comment = text(document, "comment", longest=2000)
    who = _decider(document, caller)
    result = await rotations.decide(edges, client, record, who, choice, comment, gate=gate)
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
            code, counted = Code.NOT_WAITING, awaited_decision(record)
            if gate not in {None, rotations.gate_of(record)} and rotations.waits(record):
                code = Code.OTHER_GATE
            elif counted and not rotations.waits(record):
                code, more["decision"] = Code.ALREADY_DECIDED, counted
            raise Problem(409, code, rotations.why_not(record), **more)
        case _:
            assert_never(result)


def _gate(document: JsonObject, record: ShownRecord) -> Gate | None:
    """Which decision one is meant for. Raises `Problem` where several may be asked for and it does
    not say: an answer to the first one, or a repeat of it, must not count as the second."""
    given = document.get("gate")
    if given in ("before", "after"):  # a tuple: a body may hold what has no hash
        return "before" if given == "before" else "after"
    if given is not None:
        detail = "'gate' must be 'before' or 'after'"
        raise Problem(400, Code.BAD_REQUEST, detail, field="gate")
    if record.before is not None:
        detail = "'gate' must say which decision it is, 'before' the swap or 'after' it"
        raise Problem(400, Code.BAD_REQUEST, detail, field="gate")
    return None


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
