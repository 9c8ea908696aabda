"""The pages: an overview, and one for each rotation, where a person decides.

How a visitor comes in depends on ROTATION_SIGN_IN (docs/approvals.md): signed in with Entra, with a
function key, or with a signed link to one rotation. Only a POST decides.
"""

from __future__ import annotations

import asyncio
import logging
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal

import azure.durable_functions as df
import azure.functions as func

from rotation import deciders, log, observation, rotations
from rotation.api import POLICY, credential, why_not
from rotation.errors import RotationError
from rotation.http import TITLES, Problem, text
from rotation.links import Links
from rotation.pages import forms, rendering, timeline, views, wording
from rotation.pages.visitors import Visitor, addressee, door, visitor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rotation.deciders import Decider
    from rotation.edges import Edges
    from rotation.http import Handler
    from rotation.model import Slot

LIVE = "X-Live"  # the page's script asks for progress only: nothing is collected again for it
PATIENCE = 25.0  # seconds for the evidence, before the page comes without it
PAGE_SIZE = 25
AT_ONCE = 8  # credentials looked at in parallel
RECENT = 12
CHOICES: tuple[Literal["approve", "reject"], ...] = ("approve", "reject")


def blueprint(edges: Edges) -> df.Blueprint:
    """The functions below, on these edges."""
    pages, links, level = df.Blueprint(), Links(edges), door(edges)

    @pages.function_name("overview_page")
    @pages.route("pages", methods=["GET"], auth_level=level)
    @pages.durable_client_input("client")
    @showing(edges)
    async def overview_page(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        live = LIVE in req.headers
        return await overview(edges, client, visitor(edges, req), _number(req), live=live)

    @pages.function_name("rotation_page")
    @pages.route("pages/rotations/{id}", methods=["GET", "POST"], auth_level=level)
    @pages.durable_client_input("client")
    @showing(edges)
    async def rotation_page(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        return await one(edges, client, req, visitor(edges, req), req.route_params["id"])

    @pages.function_name("decision_page")
    @pages.route("pages/decision", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
    @pages.durable_client_input("client")
    @showing(edges)
    async def decision_page(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        found, rotation = await asyncio.to_thread(addressee, edges, links, req)
        return await one(edges, client, req, found, rotation)

    return pages


def showing(edges: Edges) -> Any:
    """What a handler raises becomes a page that says what to do; a fault shows only its type."""

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        async def guarded(*args: Any, **kwargs: Any) -> func.HttpResponse:
            try:
                return await handler(*args, **kwargs)
            except Problem as error:
                return _message(edges, error.status, error.detail)
            except RotationError as error:
                return _message(edges, 503, error.message)
            except Exception as error:  # noqa: BLE001 - its text may quote anything
                log.event(
                    "http.unexpected",
                    level=logging.ERROR,
                    handler=handler.__name__,
                    exception=type(error).__name__,
                    where=log.where(error.__traceback__),
                )
                detail = f"unexpected {type(error).__name__}; the log says where"
                return _message(edges, 500, detail)

        return guarded

    return decorate


def _message(edges: Edges, status: int, detail: str) -> func.HttpResponse:
    title = TITLES[status]
    return rendering.page("message.html", status, edges.now(), title=title, detail=detail)


# -- the overview


def _number(req: func.HttpRequest) -> int:
    given = req.params.get("page", "1")
    if not (given.isascii() and given.isdigit() and 0 < int(given[:6]) == int(given)):
        raise Problem(400, "'page' must be a whole number from 1")
    return int(given)


async def overview(
    edges: Edges,
    client: df.DurableOrchestrationClient,
    who: Visitor,
    number: int,
    *,
    live: bool = False,
) -> func.HttpResponse:
    """A live look asks no vault, database or cluster: the page is fetched anew when the phase says
    that rotations began, ended, or wait."""
    now = edges.now()
    names = sorted(edges.configuration.credentials)
    last = max(1, -(-len(names) // PAGE_SIZE))
    if number > last:
        raise Problem(404, f"the overview has {wording.count(last, 'page')}")
    shown = names[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
    records = await rotations.listing(client, now - rotations.RETENTION, now + rotations.RETENTION)
    seen = [] if live else await _credentials(edges, client, shown)
    running = {record["credential"]: record for record in records if not record["outcome"]}
    needing = views.needing(records)
    return rendering.page(
        "overview.html",
        200,
        now,
        set_cookie=who.set_cookie,
        visitor=who,
        credentials=[{**found, "shown": views.slots(found, now)} for found in seen],
        running=running,
        needing=needing,
        phase=" ".join(sorted(record["rotation"] for record in [*running.values(), *needing])),
        recent=[record for record in records if record["outcome"] != "skipped"][:RECENT],
        headline=views.headline,
        number=number,
        last=last,
        total=len(names),
    )


async def _credentials(
    edges: Edges, client: df.DurableOrchestrationClient, names: list[str]
) -> list[dict[str, Any]]:
    """Each looked at in a thread of its own, a few at a time: their servers are not ours."""
    free = asyncio.Semaphore(AT_ONCE)

    async def look(name: str) -> dict[str, Any]:
        async with free:
            return await credential(edges, client, name)

    return list(await asyncio.gather(*(look(name) for name in names)))


# -- one rotation


async def one(
    edges: Edges,
    client: df.DurableOrchestrationClient,
    req: func.HttpRequest,
    who: Visitor,
    rotation: str,
) -> func.HttpResponse:
    record = await rotations.find(client, rotation)
    if record is None:
        raise Problem(404, f"there is no rotation {rotation!r}; finished ones are kept for 30 days")
    if req.method == "POST":
        return await decide(edges, client, req, who, record)
    return await show(edges, who, record, live=LIVE in req.headers)


async def decide(
    edges: Edges,
    client: df.DurableOrchestrationClient,
    req: func.HttpRequest,
    who: Visitor,
    record: dict[str, Any],
) -> func.HttpResponse:
    """Every refusal shows the page as it is now, with the reason on top."""
    if not forms.same_site(req, edges.settings.public_url):
        raise Problem(403, "the form was sent from another site; open the page and decide there")
    given = forms.read(req)
    if not deciders.waits(record):
        return await show(edges, who, record, 409, notice=why_not(record))
    if not forms.matches(given.get("token", ""), who.secret, *_context(who, record)):
        notice = "the page was out of date, so nothing was decided; here is how it stands now"
        return await show(edges, who, record, 403, notice=notice)
    choice = given.get("decision")
    if choice not in CHOICES:
        raise Problem(400, "the form has no decision: press Approve or Reject")
    comment = text({"comment": " ".join(given.get("comment", "").split())}, "comment", longest=2000)
    result = await deciders.submit(
        edges,
        client,
        record,
        who.decider or _named(given),
        choice,
        comment,
    )
    return await _answer(edges, who, result)


def _context(who: Visitor, record: Mapping[str, Any]) -> tuple[str, str, str]:
    """What a form is bound to: one whose gate was passed counts no more."""
    return who.subject, record["rotation"], deciders.gate(dict(record)) or ""


def _named(given: Mapping[str, str]) -> Decider:
    by = text(dict(given), "by", required=True)
    if by.casefold() == POLICY:
        raise Problem(400, f"nobody is called {by!r} here: the app itself uses that name")
    return deciders.keyed(by, "page with function key")


async def _answer(edges: Edges, who: Visitor, result: Any) -> func.HttpResponse:
    match result:
        case rotations.Recorded(record):
            return rendering.see_other(who.path(record["rotation"]))
        case rotations.Accepted(record):
            notice = "your decision was handed over; reload in a moment to see it recorded"
            return await show(edges, who, record, 202, notice=notice)
        case rotations.TooLate(record) | rotations.NotWaiting(record):
            return await show(edges, who, record, 409, notice=why_not(record))
        case deciders.Refused(reason):
            raise Problem(403, reason)
    raise AssertionError("unreachable")


async def show(
    edges: Edges,
    who: Visitor,
    record: dict[str, Any],
    status: int = 200,
    *,
    notice: str | None = None,
    live: bool = False,
) -> func.HttpResponse:
    evidence = None if live else await _evidence(edges, record)
    now, form = edges.now(), _form(edges, who, record)
    return rendering.page(
        "rotation.html",
        status,
        now,
        set_cookie=who.set_cookie,
        visitor=who,
        record=record,
        headline=views.headline(record, yours=form is not None and not form["barred"]),
        timeline=timeline.timeline(record, now),
        workloads=timeline.workloads(record),
        evidence=evidence,
        points=_points(edges, record, evidence) if evidence else [],
        form=form,
        notice=notice,
        # The page is fetched anew, rather than updated, when this changes.
        phase=f"{deciders.gate(record)}.{bool(record['decision'])}.{record['outcome']}",
    )


def _form(edges: Edges, who: Visitor, record: dict[str, Any]) -> dict[str, Any] | None:
    """What the decision form needs; None when there is nothing to decide."""
    if not deciders.waits(record):
        return None
    approval = edges.configuration.credential(record["credential"]).approval
    requested_by = record["request"]["requestedBy"]
    refused = {
        choice: who.decider and deciders.refusal(who.decider, approval, requested_by, choice)
        for choice in CHOICES
    }
    return {
        "token": forms.token(who.secret, *_context(who, record)),
        "action": who.path(record["rotation"]),
        "refused": refused,
        "barred": all(refused.values()),
        "approvers": approval.approvers,
        "deadline": views.deadline(record, approval.on_deadline, edges.now()),
    }


def _points(
    edges: Edges, record: Mapping[str, Any], evidence: Mapping[str, Any]
) -> list[views.Point]:
    """A finished rotation's credential may be gone from the configuration by now."""
    configured = edges.configuration.credentials.get(record["credential"])
    replaced: Slot = record["active"]
    role = configured.slots[replaced].role if configured else None
    return views.points(evidence, replaced, role)


async def _evidence(edges: Edges, record: dict[str, Any]) -> dict[str, Any] | None:
    """Collected now while a decision is due, afterwards what the record has."""
    if deciders.waits(record):
        return await _fresh(edges, record)
    kept = record["evidence"]
    found: dict[str, Any] | None = kept.get("decided") or kept.get("requested")
    return found


async def _fresh(edges: Edges, record: dict[str, Any]) -> dict[str, Any]:
    configured = edges.configuration.credential(record["credential"])
    look = asyncio.to_thread(observation.evidence, edges, configured, record["standby"])
    try:
        return await asyncio.wait_for(look, PATIENCE)
    except TimeoutError:
        problem = f"it took more than {PATIENCE:.0f} s; reload the page to look again"
    except RotationError as error:
        problem = error.message
    at = edges.now().isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "at": at,
        "complete": False,
        "passed": False,
        "problems": [problem],
        "tests": {},
        "pods": {},
        "sessions": [],
        "stillInUse": [],
    }
