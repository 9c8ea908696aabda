"""The pages: an overview, and one for each rotation, where a person decides.

How a visitor comes in depends on ROTATION_SIGN_IN (docs/approvals.md): signed in with Entra, with a
function key, or with a signed link to one rotation. Only a POST decides.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

import azure.durable_functions as df
import azure.functions as func

from rotation.front import cancelling, rotations, sites
from rotation.front.credentials import fresh_evidence, look_at_all
from rotation.front.hub import TaskHub
from rotation.front.planned import standing
from rotation.front.problems import TITLES, Problem, guarded, text
from rotation.links import SignedLinks
from rotation.model import wire
from rotation.model.errors import RotationError
from rotation.model.reasons import Code
from rotation.model.record import no_evidence
from rotation.pages import acting, forms, rendering, timeline, views, wording
from rotation.pages.visitors import Visitor, addressee, page_auth_level, visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from rotation.config import Configuration
    from rotation.contracts.edges import Readers
    from rotation.front.planned import Standing
    from rotation.model.record import Evidence, Record, ShownRecord

LIVE = "X-Live"  # the page's script asks for progress only: nothing is collected again for it
PAGE_SIZE = 25
RECENT = 12
CHOICES: tuple[Literal["approve", "reject"], ...] = ("approve", "reject")


def blueprint(edges: Readers) -> df.Blueprint:
    """The functions of the pages, on these edges."""
    showing = guarded(_message(edges))
    pages, links, level = df.Blueprint(), SignedLinks(edges), page_auth_level(edges)

    @pages.function_name("overview_page")
    @pages.route("pages", methods=["GET"], auth_level=level)
    @pages.durable_client_input("client")
    @showing
    async def overview_page(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        live = LIVE in req.headers
        return await overview(
            edges, TaskHub(client), visitor(edges, req), _page_number(req), live=live
        )

    @pages.function_name("rotation_page")
    @pages.route("pages/rotations/{id}", methods=["GET", "POST"], auth_level=level)
    @pages.durable_client_input("client")
    @showing
    async def rotation_page(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        return await one(edges, TaskHub(client), req, visitor(edges, req), req.route_params["id"])

    @pages.function_name("decision_page")
    @pages.route("pages/decision", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
    @pages.durable_client_input("client")
    @showing
    async def decision_page(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        who, rotation = await asyncio.to_thread(addressee, edges, links, req)
        return await one(edges, TaskHub(client), req, who, rotation)

    return pages


def _message(edges: Readers) -> Callable[[Problem], func.HttpResponse]:
    """A function that makes a page of a problem: what went wrong and what to do."""

    def show(error: Problem) -> func.HttpResponse:
        problems = error.more.get("problems")
        listed = "; ".join(map(str, problems)) if isinstance(problems, list) else ""
        detail = f"{error.reason.text}: {listed}" if listed else error.reason.text
        title = TITLES[error.status]
        return rendering.page(
            "message.html",
            error.status,
            edges.now(),
            retry=error.headers,
            title=title,
            detail=detail,
        )

    return show


# -- the overview


def _page_number(req: func.HttpRequest) -> int:
    """The number of the page that is asked for. Raises `Problem`."""
    given = req.params.get("page", "1")
    # Its length first: Python refuses to read thousands of digits.
    if not (len(given) <= 6 and given.isascii() and given.isdigit() and int(given) > 0):
        raise Problem(400, Code.BAD_REQUEST, "'page' must be a whole number from 1")
    return int(given)


async def overview(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    who: Visitor,
    number: int,
    *,
    live: bool = False,
) -> func.HttpResponse:
    """The overview: a page of credentials, and the rotations that run, need somebody, or ended.

    A live look asks no vault, database or cluster: the page is fetched anew when the phase says
    that rotations began, ended, or wait.
    """
    now = edges.now()
    names = sorted(edges.configuration.credentials)
    last = max(1, -(-len(names) // PAGE_SIZE))
    if number > last:
        detail = f"the overview has {wording.count(last, 'page')}"
        raise Problem(404, Code.UNKNOWN_PAGE, detail)
    shown = names[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
    records = await rotations.listing(client, now - rotations.RETENTION, now + rotations.RETENTION)
    seen = [] if live else await look_at_all(edges, client, shown)
    running = {record.credential: record for record in records if record.outcome is None}
    needing = views.needing(records)
    return rendering.page(
        "overview.html",
        200,
        now,
        set_cookie=who.set_cookie,
        visitor=who,
        credentials=[(credential, views.slots(credential, now)) for credential in seen],
        running=running,
        needing=needing,
        phase=" ".join(sorted(record.rotation for record in [*running.values(), *needing])),
        recent=[record for record in records if views.where(record) != "nowhere"][:RECENT],
        headline=views.headline,
        number=number,
        last=last,
        total=len(names),
    )


# -- one rotation


async def one(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    req: func.HttpRequest,
    who: Visitor,
    rotation: str,
) -> func.HttpResponse:
    """The page of a rotation, or, for a form that was posted, what it decides. Raises `Problem`."""
    record = await rotations.find(client, rotation)
    if record is None:
        detail = f"there is no rotation {rotation!r}; finished ones are kept for 30 days"
        raise Problem(404, Code.UNKNOWN_ROTATION, detail)
    if req.method == "POST":
        return await posted(edges, client, req, who, record)
    deed, live = acting.deed_of(req.params), LIVE in req.headers
    return await show(Site(edges, client, deed, live), who, record)


async def posted(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    req: func.HttpRequest,
    who: Visitor,
    record: ShownRecord,
) -> func.HttpResponse:
    """Does what a posted form says, and answers with the rotation's page. Raises `Problem`.

    Every refusal shows the page as it is now, with the reason on top.
    """
    sites.demand_own(req, edges.settings.public_url)
    given = forms.read(req)
    deed = acting.deed_of(given)
    if deed is None:
        return await decide(edges, client, given, who, record)
    stale = acting.demand_fresh(deed, who, record, given)
    if stale is not None:
        notice = cancelling.why_not(record) if deed == "cancel" else stale
        late = deed == "cancel" and cancelling.awaited(record) is None
        status, notice = (409, notice) if late else (403, stale)
        return await show(Site(edges, client), who, record, status, notice=notice)
    if deed == "again":
        return rendering.see_other(who.path(await acting.again(edges, client, who, record, given)))
    result = await acting.cancel(edges, client, who, record, given)
    return await _cancelled(edges, client, who, result)


async def _cancelled(
    edges: Readers, client: df.DurableOrchestrationClient, who: Visitor, result: cancelling.Result
) -> func.HttpResponse:
    """The page that shows what became of a cancel. Raises `Problem` if it was not allowed."""
    match result:
        case cancelling.Cancelled(record):
            return rendering.see_other(who.path(record.rotation))
        case rotations.Accepted(record):
            notice = "it was handed over; reload in a moment to see it recorded"
            return await show(Site(edges, client), who, record, 202, notice=notice)
        case cancelling.NotCancellable(record):
            notice = cancelling.why_not(record)
            return await show(Site(edges, client), who, record, 409, notice=notice)
        case rotations.NotAllowed(reason):
            raise Problem(403, Code.NOT_ALLOWED, reason)
        case _:
            assert_never(result)


async def decide(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    given: Mapping[str, str],
    who: Visitor,
    record: ShownRecord,
) -> func.HttpResponse:
    """Takes the decision of a posted form, and answers with the rotation's page."""
    if not rotations.waits(record):
        return await show(Site(edges, client), who, record, 409, notice=rotations.why_not(record))
    if not forms.matches(given.get("token", ""), who.secret, *_bound_to(who, record)):
        notice = "the page was out of date, so nothing was decided; here is how it stands now"
        return await show(Site(edges, client), who, record, 403, notice=notice)
    choice = next((word for word in CHOICES if word == given.get("decision")), None)
    if choice is None:
        detail = "the form has no decision: press Approve or Reject"
        raise Problem(400, Code.BAD_REQUEST, detail)
    comment = text({"comment": " ".join(given.get("comment", "").split())}, "comment", longest=2000)
    decider = who.decider or acting.named(given)
    result = await rotations.decide(edges, client, record, decider, choice, comment)
    return await _answer(edges, client, who, result)


def _bound_to(who: Visitor, record: ShownRecord) -> tuple[str, str, str]:
    """What a form's token is bound to: visitor, rotation and approval event.

    A form whose wait is over counts no more.
    """
    return who.subject, record.rotation, rotations.awaited(record) or ""


async def _answer(
    edges: Readers, client: df.DurableOrchestrationClient, who: Visitor, result: rotations.Decided
) -> func.HttpResponse:
    """The page that shows what became of a decision. Raises `Problem` if it was not allowed."""
    match result:
        case rotations.Recorded(record):
            return rendering.see_other(who.path(record.rotation))
        case rotations.Accepted(record):
            notice = "your decision was handed over; reload in a moment to see it recorded"
            return await show(Site(edges, client), who, record, 202, notice=notice)
        case rotations.TooLate(record) | rotations.NotWaiting(record):
            return await show(
                Site(edges, client), who, record, 409, notice=rotations.why_not(record)
            )
        case rotations.NotAllowed(reason):
            raise Problem(403, Code.NOT_ALLOWED, reason)
        case _:
            assert_never(result)


@dataclass(frozen=True)
class Site:
    """Where a page gets what it shows, and what it was asked to show: the form of a deed, if any;
    a live look collects no evidence."""

    edges: Readers
    client: df.DurableOrchestrationClient
    deed: acting.Deed | None = None
    live: bool = False


async def show(
    site: Site,
    who: Visitor,
    record: ShownRecord,
    status: int = 200,
    *,
    notice: str | None = None,
) -> func.HttpResponse:
    """The page of a rotation, with the notice on top."""
    edges, waiting = site.edges, rotations.waits(record)
    rules = await standing(edges, site.client, record) if waiting else None
    evidence = None if site.live else await _evidence(edges, record, rules)
    now, form = edges.now(), _form(rules, who, record, edges.now())
    planned = rules.edges.configuration if rules else edges.configuration
    offer = acting.offer(edges, who, record)
    if rules is not None and rules.changed is not None:
        record.changed = rules.changed
    return rendering.page(
        "rotation.html",
        status,
        now,
        set_cookie=who.set_cookie,
        visitor=who,
        record=record,
        headline=views.headline(record, yours=form is not None and not form.barred),
        timeline=timeline.timeline(record, now),
        workloads=timeline.workloads(record, now),
        evidence=evidence,
        points=_points(planned, record, evidence) if evidence else [],
        logs=_logs(planned, record),
        form=form,
        offer=offer,
        opened=offer is not None and offer.deed == site.deed,
        former=record.request.retries,
        notice=notice,
        # The page is fetched anew, rather than updated, when this changes.
        phase=f"{rotations.awaited(record)}.{record.decision is not None}.{record.outcome}"
        f".{cancelling.awaited(record)}",
    )


@dataclass(frozen=True)
class Form:
    """What the decision form needs.

    `refused` says by choice why this visitor may not, `addresses` whom those can name who hold a
    function key.
    """

    token: str
    action: str
    refused: Mapping[str, str | None]
    addresses: list[str]
    deadline: str

    @property
    def barred(self) -> bool:
        """Whether this visitor may decide neither way."""
        return all(self.refused.values())


def _form(rules: Standing | None, who: Visitor, record: ShownRecord, now: datetime) -> Form | None:
    """The decision form for a visitor; None when there is nothing to decide."""
    if record.approval is None or rules is None:
        return None
    approval = rules.approval
    due = wire.instant(record.approval.deadline)
    return Form(
        token=forms.token(who.secret, *_bound_to(who, record)),
        action=who.path(record.rotation),
        refused={
            choice: rules.refusal(who.decider, record.request, choice) if who.decider else None
            for choice in CHOICES
        },
        addresses=approval.addresses,
        deadline=views.deadline(due, approval.on_deadline, now),
    )


def _logs(configuration: Configuration, record: Record) -> list[str]:
    """The commands that show what the pods say, for those who may read their logs: of the slot that
    was brought up, in each workload. None if the credential or that slot is not known."""
    configured, slot = configuration.credentials.get(record.credential), record.standby
    if configured is None or slot is None:
        return []
    return [workload.logs(slot) for workload in configured.workloads]


def _points(configuration: Configuration, record: Record, evidence: Evidence) -> list[views.Point]:
    """The points of the evidence, for the top of the page.

    A finished rotation's credential may be gone from the configuration by now.
    """
    configured, replaced = configuration.credentials.get(record.credential), record.active
    role = configured.slots[replaced].role if configured and replaced else None
    return views.points(evidence, str(replaced), role)


async def _evidence(edges: Readers, record: ShownRecord, rules: Standing | None) -> Evidence | None:
    """The evidence to show: as it is now while a decision is due, afterwards the record's."""
    if rules is not None:
        return await _collected_now(edges, record, rules.edges)
    return record.evidence.decided or record.evidence.requested


async def _collected_now(edges: Readers, record: ShownRecord, planned: Readers) -> Evidence:
    """The evidence as it is now; where it cannot be had, evidence that says why."""
    try:
        return await fresh_evidence(edges, record, planned)
    except RotationError as error:
        return no_evidence(wire.moment(edges.now()), error.message)
