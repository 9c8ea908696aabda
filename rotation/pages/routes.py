"""The pages: an overview, and one for each rotation, where a person decides.

How a visitor comes in depends on ROTATION_SIGN_IN (docs/approvals.md): signed in with Entra, with a
function key, or with a signed link to one rotation. Only a POST decides.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never, get_args

import azure.durable_functions as df
import azure.functions as func

from rotation.front import archive, cancelling, history, rights, rotations, samples, sites
from rotation.front.credentials import UNDER_WAY, fresh_evidence
from rotation.front.doctor import DryRun, dry_run
from rotation.front.hub import TaskHub
from rotation.front.planned import entry, standing
from rotation.front.problems import TITLES, Problem, guarded, text
from rotation.links import Expired, SignedLinks
from rotation.model import wire
from rotation.model.catalogue import Origin
from rotation.model.errors import RotationError
from rotation.model.reasons import Code
from rotation.model.record import Choice, Request, before_swap, no_evidence
from rotation.pages import (
    acting,
    alarm,
    forms,
    guides,
    mending,
    rendering,
    renewal,
    timeline,
    views,
    waving,
    wording,
)
from rotation.pages.visitors import Visitor, addressee, page_auth_level, visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from rotation.config import Configuration
    from rotation.contracts.edges import Readers
    from rotation.front.approvers import Decider
    from rotation.front.planned import Standing
    from rotation.model.record import Evidence, Record, ShownRecord

LIVE = "X-Live"  # the page's script asks for progress only: nothing is collected again for it
PAGE_SIZE = 25
RECENT = 12
CHOICES: tuple[Choice, ...] = ("approve", "reject")

# The forms of a decision: the one that chooses, and those that confirm what was chosen, on evidence
# that speaks for it or on evidence that does not.
FormStep = Literal["choose", "confirm", "confirm-doubtful"]
FORM_STEPS: tuple[FormStep, ...] = get_args(FormStep)


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
        return await overview(edges, TaskHub(client), visitor(edges, req), _look(req), live=live)

    @pages.function_name("credential_page")
    @pages.route("pages/credentials/{name}", methods=["GET", "POST"], auth_level=level)
    @pages.durable_client_input("client")
    @showing
    async def credential_page(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        who, name = visitor(edges, req), req.route_params["name"]
        if req.method == "POST":
            return await leaked(edges, TaskHub(client), req, who, name)
        return await examine(edges, TaskHub(client), who, name, req.params)

    @pages.function_name("history_page")
    @pages.route("pages/rotations", methods=["GET"], auth_level=level)
    @pages.durable_client_input("client")
    @showing
    async def history_page(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        return await past(edges, TaskHub(client), visitor(edges, req), dict(req.params))

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
        let_in = await asyncio.to_thread(addressee, edges, links, req)
        if isinstance(let_in, Expired):
            return await renewal.page(edges, TaskHub(client), req, let_in)
        return await one(edges, TaskHub(client), req, *let_in)

    @pages.function_name("guide_page")
    @pages.route("pages/guides/{name}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    @showing
    async def guide_page(req: func.HttpRequest) -> func.HttpResponse:
        return guide(edges, req.route_params["name"])

    _add_waves(pages, edges)
    return pages


def _add_waves(pages: df.Blueprint, edges: Readers) -> None:
    """Adds the functions of the pages of waves."""
    showing, level = guarded(_message(edges)), page_auth_level(edges)

    @pages.function_name("wave_page")
    @pages.route("pages/waves/{id}", methods=["GET", "POST"], auth_level=level)
    @pages.durable_client_input("client")
    @showing
    async def wave_page(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        who = visitor(edges, req)
        return await waving.one(edges, TaskHub(client), req, who, req.route_params["id"])

    @pages.function_name("waves_page")
    @pages.route("pages/waves", methods=["GET"], auth_level=level)
    @pages.durable_client_input("client")
    @showing
    async def waves_page(
        req: func.HttpRequest, client: df.DurableOrchestrationClient
    ) -> func.HttpResponse:
        return await waving.listing(edges, TaskHub(client), visitor(edges, req))


def guide(edges: Readers, name: str) -> func.HttpResponse:
    """The page of a guide, which is the same for everybody. Raises `Problem`."""
    found = guides.guide(name)
    if found is None:
        detail = f"there is no guide {name[:40]!r}"
        raise Problem(404, Code.UNKNOWN_PAGE, detail)
    return rendering.page("guide.html", 200, edges.now(), guide=found)


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
            # Where something of ours, or the task hub, failed in the middle, it may have counted.
            certain=error.status < 500,
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


@dataclass(frozen=True)
class Look:
    """A look at the overview: the number of its page, and whether credentials are looked at anew.

    It changes nothing, so that a link may ask for it.
    """

    number: int
    fresh: bool


def _look(req: func.HttpRequest) -> Look:
    """The look that is asked for. Raises `Problem`."""
    return Look(_page_number(req), req.params.get("fresh") == "true")


async def overview(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    who: Visitor,
    look: Look,
    *,
    live: bool = False,
) -> func.HttpResponse:
    """The overview: a page of credentials, and the rotations that run, need somebody, or ended.

    A live look asks no vault, database or cluster, and does not say how it stands: the page is
    fetched anew when the phase says that rotations began, ended, wait, or met trouble.
    """
    now, number = edges.now(), look.number
    names = rights.visible(edges, who.decider)
    last = max(1, -(-len(names) // PAGE_SIZE))
    if number > last:
        detail = f"the overview has {wording.count(last, 'page')}"
        raise Problem(404, Code.UNKNOWN_PAGE, detail)
    shown = names[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
    lately = now - rotations.RETENTION
    records, older = await asyncio.gather(
        rotations.listing(client, lately, now + rotations.RETENTION),
        rotations.unended(client, archive.EPOCH, lately),
    )
    known = {record.rotation for record in records}
    records += [record for record in older if record.rotation not in known]
    records = await rights.seen_of(edges, client, who.decider, records)
    await rotations.add_progress(client, records)
    running = {record.credential: record for record in records if record.outcome is None}
    needing = views.needing(records, names)
    told = {record.credential for record in needing}
    seen = [] if live else await samples.listed(edges, client, shown, fresh=look.fresh)
    elsewhere = [name for name in names if name not in {*shown, *told}]
    others = [] if live else await samples.known(edges, elsewhere)
    troubles = views.troubles([*seen, *filter(None, others)], told, now, running)
    return rendering.page(
        "overview.html",
        200,
        now,
        set_cookie=who.set_cookie,
        visitor=who,
        live=live,
        attention=views.Attention(needing, troubles, others.count(None)),
        credentials=[(credential, views.slots(credential, now)) for credential in seen],
        ages=views.ages(seen, now),
        running=running,
        phase=" ".join(sorted(map(_phase, [*running.values(), *needing]))),
        recent=[record for record in records if views.where(record) != "nowhere"][:RECENT],
        headline=views.headline,
        standing=views.standing,
        severities=views.SEVERITIES,
        number=number,
        last=last,
        total=len(names),
    )


def _phase(record: ShownRecord) -> str:
    """What of a rotation the overview's first line depends on."""
    asked = rotations.approval_of(record)
    overdue = asked is not None and asked.overdue
    return f"{record.rotation}.{overdue}.{rotations.waits(record)}.{views.stumbles(record)}"


# -- one credential


async def leaked(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    req: func.HttpRequest,
    who: Visitor,
    name: str,
) -> func.HttpResponse:
    """Calls the incident of a posted form, and answers with its page. Raises `Problem`."""
    sites.demand_own(req, edges.settings.public_url)
    rights.demand_seen(edges, who.decider, name)
    return rendering.see_other(
        who.path(await alarm.call(edges, client, who, name, forms.read(req)))
    )


async def examine(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    who: Visitor,
    name: str,
    query: Mapping[str, str],
) -> func.HttpResponse:
    """The page of a credential: every precondition of a rotation, tried now; or the form of an
    incident, which waits for none of that. Raises `Problem`."""
    rights.demand_seen(edges, who.decider, name)
    running = await rotations.current(client, name)
    form = alarm.alarm(who, name, edges.configuration.credential(name), query)
    dry = None
    if running is None and not form.opened:
        request = Request(
            rotation=rotations.manual_id(name, edges.now()),
            credential=name,
            origin=Origin.MANUAL,
            requested_by=who.subject,
            reason="",
        )
        dry = await dry_run(edges, request)
    return rendering.page(
        "credential.html",
        200,
        edges.now(),
        set_cookie=who.set_cookie,
        visitor=who,
        name=name,
        rotation=running,
        dry=dry,
        due=dry.due if dry else UNDER_WAY if running else None,
        headline=_credential_headline(dry, running),
        alarm=form,
        lists=[("What was found", dry.findings), ("Not known", dry.unknown)] if dry else [],
        severities=views.SEVERITIES,
    )


def _credential_headline(dry: DryRun | None, running: str | None) -> views.Headline:
    if dry is not None:
        return views.examined(dry)
    return views.under_way() if running else views.alarmed()


# -- the history


async def past(
    edges: Readers, client: df.DurableOrchestrationClient, who: Visitor, query: dict[str, str]
) -> func.HttpResponse:
    """A page of the rotations of all times, or of a credential or a span. Raises `Problem`."""
    now = edges.now()
    span = history.asked(query, now, now - archive.EPOCH)
    credential = query.get("credential", "").strip() or None
    search = history.Search(span, credential, who.decider, PAGE_SIZE)
    found = await history.page(edges, client, search)
    asked = {key: query[key] for key in ("credential", "since", "until") if query.get(key)}
    return rendering.page(
        "history.html",
        200,
        now,
        set_cookie=who.set_cookie,
        visitor=who,
        records=found.records,
        incomplete=found.incomplete,
        asked=asked,
        older=None if found.next is None else {**who.query, **asked, "after": found.next},
        names=rights.visible(edges, who.decider),
        headline=views.headline,
        kept=archive.kept_at_all(edges),
    )


# -- a wave


# -- one rotation


async def one(
    edges: Readers,
    client: df.DurableOrchestrationClient,
    req: func.HttpRequest,
    who: Visitor,
    rotation: str,
) -> func.HttpResponse:
    """The page of a rotation, or, for a form that was posted, what it decides. Raises `Problem`."""
    record = await history.shown(edges, client, who.decider, rotation)
    if record is None:
        detail = f"there is no rotation {rotation!r}"
        if not archive.kept_at_all(edges):
            detail += "; the task hub keeps finished ones for 30 days"
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

    Every refusal of a decision shows the page as it is now, with the reason on top, and what was
    typed.
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
        return await show(Site(edges, client), who, record, status, said=Said(notice))
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
            return await show(Site(edges, client), who, record, 202, said=Said(notice))
        case cancelling.NotCancellable(record):
            notice = cancelling.why_not(record)
            return await show(Site(edges, client), who, record, 409, said=Said(notice))
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
    """Takes the decision of a posted form, and answers with the rotation's page.

    It takes two: the first form chooses, and its answer asks whether that is meant.
    """
    site = Site(edges, client)
    if not rotations.waits(record):
        said = Said(rotations.why_not(record))
        return await show(site, who, record, 409, said=said)
    typed = _typed(given)
    try:
        chosen = await _chosen(site, given, who, record, typed)
    except Problem as error:
        said = Said(f"{error.reason.text}; nothing was decided", typed)
        return await show(site, who, record, error.status, said=said)
    if chosen.step == "choose":
        said = Said(typed=typed, chosen=chosen.choice)
        return await show(site, who, record, said=said)
    if chosen.step == "confirm-doubtful" and given.get("acknowledged") != "yes":
        notice = "nothing was decided: the evidence speaks against it; say that you have seen that"
        said = Said(notice, typed, chosen.choice)
        return await show(site, who, record, 400, said=said)
    result = await rotations.decide(
        edges, client, record, chosen.decider, chosen.choice, typed.comment
    )
    return await _answer(edges, client, who, result)


@dataclass(frozen=True)
class Chosen:
    """A decision that somebody may make, and the form that it came by."""

    step: FormStep
    choice: Choice
    decider: Decider


async def _chosen(
    site: Site, given: Mapping[str, str], who: Visitor, record: ShownRecord, typed: Typed
) -> Chosen:
    """What a posted form chooses or confirms. Raises `Problem` for what cannot be, whoever it is
    that may not included."""
    choice = next((word for word in CHOICES if word == given.get("decision")), None)
    step = _posted(given, who, record, choice)
    if step is None:
        detail = "the page was out of date; here is how it stands now"
        raise Problem(403, Code.BAD_REQUEST, detail)
    if choice is None:
        detail = "the form has no decision: press Approve or Reject"
        raise Problem(400, Code.BAD_REQUEST, detail)
    text({"comment": typed.comment}, "comment", longest=2000)
    decider = who.decider or acting.named(given)
    rules = await standing(site.edges, site.client, record)
    why_not = rules.refusal(decider, record.request, choice)
    if why_not is not None:
        raise Problem(403, Code.NOT_ALLOWED, why_not)
    return Chosen(step, choice, decider)


def _posted(
    given: Mapping[str, str], who: Visitor, record: ShownRecord, choice: Choice | None
) -> FormStep | None:
    """Which of our forms was posted; None for none, or for one that is out of date."""
    for step in FORM_STEPS:
        bound = _bound_to(who, record, step, choice)
        if forms.matches(given.get("token", ""), who.secret, *bound):
            return step
    return None


def _typed(given: Mapping[str, str]) -> Typed:
    """What a visitor has typed into a form, so that they need not do it again."""
    return Typed(
        by=" ".join(given.get("by", "").split())[:200],
        comment=" ".join(given.get("comment", "").split()),
    )


def _bound_to(
    who: Visitor, record: ShownRecord, step: FormStep = "choose", choice: Choice | None = None
) -> tuple[str, ...]:
    """What a form's token is bound to: visitor, rotation and approval event, and, of one that
    confirms, what it confirms on which evidence.

    A form whose wait is over counts no more.
    """
    bound = who.subject, record.rotation, rotations.awaited(record) or ""
    return bound if step == "choose" else (*bound, step, choice or "")


async def _answer(
    edges: Readers, client: df.DurableOrchestrationClient, who: Visitor, result: rotations.Decided
) -> func.HttpResponse:
    """The page that shows what became of a decision. Raises `Problem` if it was not allowed."""
    match result:
        case rotations.Recorded(record):
            return rendering.see_other(who.path(record.rotation))
        case rotations.Accepted(record):
            notice = "your decision was handed over; reload in a moment to see it recorded"
            return await show(Site(edges, client), who, record, 202, said=Said(notice))
        case rotations.TooLate(record) | rotations.NotWaiting(record):
            said = Said(rotations.why_not(record))
            return await show(Site(edges, client), who, record, 409, said=said)
        case rotations.NotAllowed(reason):
            raise Problem(403, Code.NOT_ALLOWED, reason)
        case _:
            assert_never(result)


@dataclass(frozen=True)
class Typed:
    """What a visitor has typed: who they are, where a function key does not say, and a comment."""

    by: str = ""
    comment: str = ""


NOTHING_TYPED = Typed()


@dataclass(frozen=True)
class Said:
    """What a page says to what was posted: a notice on top, what was typed again, and what was
    chosen, to be confirmed."""

    notice: str | None = None
    typed: Typed = NOTHING_TYPED
    chosen: Choice | None = None


NOTHING = Said()


@dataclass(frozen=True)
class Asked:
    """What a form asks for: to choose, or to confirm what was `chosen`. `doubtful`: the evidence
    speaks against it."""

    typed: Typed
    chosen: Choice | None
    doubtful: bool

    @property
    def step(self) -> FormStep:
        if self.chosen is None:
            return "choose"
        return "confirm-doubtful" if self.doubtful else "confirm"


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
    said: Said = NOTHING,
) -> func.HttpResponse:
    """The page of a rotation, with what it says to what was posted."""
    edges, waiting = site.edges, rotations.waits(record)
    rules = await standing(edges, site.client, record) if waiting else None
    evidence = None if site.live else await _evidence(edges, record, rules)
    planned = rules.edges.configuration if rules else edges.configuration
    points = _points(planned, record, evidence) if evidence else []
    against = not points or not all(point.good for point in points)
    asked = Asked(said.typed, said.chosen, doubtful=said.chosen == "approve" and against)
    now, form = edges.now(), _form(rules, who, record, edges.now(), asked)
    offer = acting.offer(edges, who, record, await entry(edges, site.client, record))
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
        points=points,
        logs=_logs(planned, record),
        form=form,
        offer=offer,
        opened=offer is not None and offer.deed == site.deed,
        mending=await mending.mending(edges, site.client, record),
        severities=views.SEVERITIES,
        former=record.request.retries,
        notice=said.notice,
        # The page is fetched anew, rather than updated, when this changes.
        phase=f"{rotations.awaited(record)}.{record.decision is not None}.{record.outcome}"
        f".{record.decided_before is not None}"
        f".{cancelling.awaited(record)}",
    )


@dataclass(frozen=True)
class Form:
    """What the decision form needs.

    `refused` says by choice why this visitor may not, `addresses` whom those can name who hold a
    function key. `before`: it decides whether traffic moves; `again`: another one follows then.
    `ignored` says why decisions did not count.
    """

    token: str
    action: str
    refused: Mapping[str, str | None]
    addresses: list[str]
    deadline: views.Deadline
    asked: Asked
    before: bool
    again: bool
    ignored: list[str]

    @property
    def barred(self) -> bool:
        """Whether this visitor may decide neither way."""
        return all(self.refused.values())


def _form(
    rules: Standing | None,
    who: Visitor,
    record: ShownRecord,
    now: datetime,
    asked: Asked,
) -> Form | None:
    """The decision form for a visitor; None when there is nothing to decide."""
    waited, gate = rotations.approval_of(record), rotations.gate_of(record)
    if waited is None or gate is None or rules is None:
        return None
    approval = rules.approval
    before = approval.before_swap if gate == "before" else None
    due = wire.instant(waited.deadline)
    return Form(
        token=forms.token(who.secret, *_bound_to(who, record, asked.step, asked.chosen)),
        action=who.path(record.rotation),
        refused={
            choice: rules.refusal(who.decider, record.request, choice) if who.decider else None
            for choice in CHOICES
        },
        addresses=approval.addresses,
        deadline=views.deadline(
            due, (before or approval).on_deadline, now, gate, confirms=waited.confirms
        ),
        asked=asked,
        before=gate == "before",
        again=approval.gate != "before",
        ignored=waited.ignored,
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
    return views.points(evidence, str(replaced), role, before=before_swap(record))


async def _evidence(edges: Readers, record: ShownRecord, rules: Standing | None) -> Evidence | None:
    """The evidence to show: as it is now while a decision is due, afterwards the record's."""
    if rules is not None:
        return await _collected_now(edges, record, rules.edges)
    kept = record.evidence
    return kept.decided or kept.requested or kept.before


async def _collected_now(edges: Readers, record: ShownRecord, planned: Readers) -> Evidence:
    """The evidence as it is now; where it cannot be had, evidence that says why."""
    try:
        return await fresh_evidence(edges, record, planned)
    except RotationError as error:
        return no_evidence(wire.moment(edges.now()), error.message)
