"""The log events of a rotation, and its events for the Event Grid topic.

docs/events has the schema of each event, made from what is here (`make generated`). None carries a
key: the links need a sign-in of their own, and the signed ones are added on the way out
(`recipients`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct, field

from rotation.decisions.usage import holding, told
from rotation.links import links
from rotation.model import wire
from rotation.model.catalogue import (
    OVERDUE_LOG_EVENT,
    PREFIX,
    Announcement,
    Gate,
    OnDeadline,
    Origin,
    Outcome,
    announcement_facts,
    ending,
    on_deadline_words,
    step_words,
)
from rotation.model.reasons import Reason
from rotation.model.record import (
    AwaitedWindow,
    Cancel,
    ConditionSeen,
    Decision,
    EvidenceSummary,
    Leak,
    Place,
    SessionCount,
    Waiver,
)
from rotation.model.wire import Moment
from rotation.model.words import few
from rotation.model.world import Slot

if TYPE_CHECKING:
    from rotation.model.activities import Notice, Terms
    from rotation.model.wire import JsonObject


class Recipient(Struct, frozen=True, kw_only=True, rename="camel"):
    """The signed link of one approver with a mail address, who can decide until it expires."""

    approver: str
    link: str
    expires: Moment


class Links(Struct, frozen=True, kw_only=True, rename="camel"):
    """The URLs of a rotation, which need a sign-in or a function key; paths without
    ROTATION_PUBLIC_URL."""

    status: str
    approval: str
    page: str


class EventData(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The `data` of an event. `title` and `text` are a mail's subject and body, without markup.

    `reason` is why the rotation was asked for, `outside_window` why it waits for no window,
    `outcome_reason` why it ended as it did.
    """

    rotation: str
    credential: str
    origin: Origin
    requested_by: str
    reason: str
    approvers: list[str]
    links: Links
    title: str
    text: str
    serves: Slot | None = None
    replaced: Slot | None = None
    deadline: Moment | None = None
    on_deadline: OnDeadline | None = None
    evidence: EvidenceSummary | None = None
    sessions: list[SessionCount] | None = None
    overdue: bool | None = None
    decision: Decision | None = None
    cancelled: Cancel | None = None
    window: AwaitedWindow | None = None
    gate: Gate | None = None
    conditions: list[ConditionSeen] = field(default_factory=list)
    place: Place | None = None
    outside_window: str | None = None
    leak: Leak | None = None
    outcome: Outcome | None = None
    outcome_reason: str | None = None
    reasons: list[Reason] = field(default_factory=list)
    waivers: list[Waiver] = field(default_factory=list)
    recipients: list[Recipient] | None = None


class Event(Struct, frozen=True, kw_only=True, rename="camel"):
    """An event in the Event Grid schema. `id` is the same for a repeat of it."""

    id: str
    event_type: str
    subject: str
    event_time: Moment
    data_version: str
    data: EventData


WARNINGS = {
    Announcement.EXPIRES_BEFORE_WINDOW,
    Announcement.CONDITION_UNKNOWN,
    Announcement.CONDITION_BREACHED,
    Announcement.COMPROMISED,
    Announcement.LOGIN_CUT,
}


def log_event(notice: Notice) -> str:
    """The name of a notice's log event; with an outcome `rotation.finished`, announced or not."""
    if notice.overdue:
        return OVERDUE_LOG_EVENT
    return announcement_facts(notice.kind).log_event if notice.kind else "rotation.finished"


def log_level(notice: Notice) -> int:
    """The level of a notice's log event: its outcome's, ERROR of an alarm, else INFO."""
    if notice.kind is Announcement.LOGIN_FAILS:
        return logging.ERROR
    if notice.kind in WARNINGS:
        return logging.WARNING
    return ending(notice.outcome).level if notice.outcome else logging.INFO


def log_fields(notice: Notice) -> JsonObject:
    """The fields of a notice's log event; `reason` is a sentence, `codes` those of its reasons."""
    fields = wire.value_of(notice)
    for known in ("kind", "number", "time", "request"):
        fields.pop(known, None)
    fields |= fields.pop("terms", {})
    if notice.request.outside_window and notice.kind is Announcement.STARTED:
        fields["outsideWindow"] = notice.request.outside_window
    reasons = fields.pop("reasons", [])
    if notice.outcome is not None:
        fields["reason"] = fields.pop("outcomeReason", "")
    elif reasons:
        fields["reason"] = "; ".join(why["text"] for why in reasons)
    if notice.outcome is not None or reasons:
        fields["codes"] = [why["code"] for why in reasons]
    return fields


def announcement(notice: Notice, approvers: list[str], public_url: str | None) -> JsonObject:
    """The event for a notice, in the Event Grid schema. Raises `LookupError` if it has none."""
    if notice.kind is None:
        raise LookupError("this notice is only logged")
    request, terms = notice.request, notice.terms
    title, text = words(notice.kind, notice)
    data = EventData(
        rotation=request.rotation,
        credential=request.credential,
        origin=request.origin,
        requested_by=request.requested_by,
        reason=request.reason,
        approvers=approvers,
        links=Links(**links(request.rotation, public_url)),
        title=f"{request.credential}: {title}",
        text=text,
        serves=terms.serves if terms else None,
        replaced=terms.replaced if terms else None,
        deadline=terms.deadline if terms else None,
        on_deadline=terms.on_deadline if terms else None,
        evidence=notice.evidence,
        sessions=notice.sessions,
        overdue=notice.overdue,
        decision=notice.decision,
        cancelled=notice.cancelled,
        window=notice.window,
        gate=terms.gate if terms else None,
        conditions=notice.conditions,
        place=notice.place,
        outside_window=request.outside_window,
        leak=notice.leak,
        outcome=notice.outcome,
        outcome_reason=notice.outcome_reason,
        reasons=notice.reasons,
        waivers=notice.waivers,
    )
    event = Event(
        id=f"{request.rotation}.{notice.number}",
        event_type=PREFIX + notice.kind,
        subject=f"/credentials/{request.credential}",
        event_time=notice.time,
        data_version="1",
        data=data,
    )
    return wire.value_of(event)


def words(kind: Announcement, notice: Notice) -> tuple[str, str]:  # noqa: C901, PLR0911, PLR0912 - one for each
    """A mail's subject, in one line, and its body, in a few sentences; both without markup."""
    match kind:
        case Announcement.STARTED:
            calm = "Nothing is asked of you; the active slot goes on serving."
            why = notice.request.outside_window
            outside = f" It waits for no window: {why.rstrip('.')}." if why else ""
            return "rotation started", f"{calm}{outside}{_waived(notice.waivers)}"
        case Announcement.COMPROMISED | Announcement.LOGIN_CUT | Announcement.AWAITING_CONFIRMATION:
            return _of_incident(kind, notice)
        case Announcement.WAITING_FOR_WINDOW:
            return "waiting for its window", f"{_awaited(notice.window)} Nothing is asked of you."
        case Announcement.WAITING_FOR_PLACE:
            waits = f"It waits for {notice.place.text}." if notice.place else ""
            return "waiting for a place", f"{waits} Nothing is asked of you."
        case Announcement.EXPIRES_BEFORE_WINDOW:
            asks = "Cancel it and start one that gives a reason to go outside its windows, or allow"
            text = f"{_awaited(notice.window)} The secret that serves expires before that. {asks}"
            return "its secret expires before its window", f"{text} an earlier one."
        case Announcement.AWAITING_APPROVAL:
            text = f"{_request(notice.terms)}{_used(notice)}{_waived(notice.waivers)}"
            moves = notice.terms is not None and notice.terms.gate == "before"
            return f"please approve {'that traffic moves' if moves else 'the rotation'}", text
        case Announcement.REMINDER:
            moves = notice.terms is not None and notice.terms.gate == "before"
            what = "that traffic moves" if moves else "the rotation"
            overdue, please = "the decision is overdue", f"reminder: please approve {what}"
            text = f"{_request(notice.terms)}{_used(notice)}{_waived(notice.waivers)}"
            return overdue if notice.overdue else please, text
        case Announcement.STILL_IN_USE:
            replaced = notice.terms.replaced if notice.terms else "replaced"
            return f"the {replaced} login is still in use", _still_in_use(notice.sessions or [])
        case Announcement.CONDITION_UNKNOWN:
            return "a condition cannot be looked at", _unknown(notice.conditions)
        case Announcement.CONDITION_BREACHED:
            listed = "; ".join(one.breach or one.name for one in notice.conditions)
            return "a condition is breached", f"The rotation goes back by itself: {listed}."
        case Announcement.APPROVED | Announcement.REJECTED:
            moves = notice.terms is not None and notice.terms.gate == "before"
            what = "move of traffic" if moves else "rotation"
            return f"{what} {kind.lower()}", _decided(notice.decision)
        case Announcement.CANCELLED:
            return "rotation cancelled", _cancelled(notice.cancelled)
        case Announcement.LOGIN_FAILS:
            return "the login that serves fails", _login_fails(notice.reasons)
        case (
            Announcement.COMPLETED
            | Announcement.ROLLED_BACK
            | Announcement.ABORTED
            | Announcement.REFUSED
            | Announcement.NEEDS_ATTENTION
        ):
            outcome = str(notice.outcome or "").replace("-", " ")
            return f"rotation {outcome}", notice.outcome_reason or ""
        case _:
            assert_never(kind)


def _of_incident(kind: Announcement, notice: Notice) -> tuple[str, str]:
    """The same, of an incident that is called, that has cut, or that is to be confirmed."""
    if kind is Announcement.COMPROMISED:
        return "a password has leaked", _leaked(notice)
    if kind is Announcement.LOGIN_CUT:
        return "the leaked login is cut", _cut(notice)
    return "please confirm what was done about a leaked password", _confirm(notice)


def _leaked(notice: Notice) -> str:
    """Sentences that say who called the incident, of which role, and what happens now."""
    request, leak = notice.request, notice.leak
    if leak is None:
        return ""
    said = f"{request.requested_by} says that the password of role {leak.role} has leaked"
    why = f"{said}: {request.reason.rstrip('.')}."
    if not leak.serves:
        return f"{why} It serves nothing, and is taken away at once."
    if request.cut == "first":
        text = "Its login ends now, with all its sessions, before another one serves: requests fail"
        return f"{why} {text} until the other slot is up. {_connected(leak)}"
    text = "Another password takes its place at once, and then its login ends"
    return f"{why} {text}: requests do not fail. {_connected(leak)}"


def _cut(notice: Notice) -> str:
    leak = notice.leak
    if leak is None:
        return ""
    left = "" if leak.ended else " Some of its sessions have not ended yet."
    serves = " The other slot is brought up now; until it serves, requests fail."
    done = f"Role {leak.role} cannot log in any more, and its sessions were ended."
    return f"{done}{left}{serves if leak.serves else ''} {_connected(leak)}"


def _confirm(notice: Notice) -> str:
    leak, by = notice.leak, notice.request.requested_by
    if leak is None:
        return ""
    return (
        f"{by} called an incident, since the password of role {leak.role} has leaked: "
        f"{notice.request.reason.rstrip('.')}. The role cannot log in any more, and its secret is "
        f"disabled. Approve confirms that this was right; reject says that it was not, and undoes "
        f"nothing. It takes somebody else than {by}. {_connected(leak)}"
    )


def _connected(leak: Leak) -> str:
    """A sentence that names up to five of those who were connected."""
    users = sorted({f"{one.application or 'unnamed'} at {one.client}" for one in leak.connected})
    if not users:
        return "Nobody was connected with it."
    return f"Connected with it in {leak.sessions} sessions: {few(users)}."


def _awaited(window: AwaitedWindow | None) -> str:
    """A sentence that says until when it waits, and before what."""
    if window is None:
        return ""
    what = step_words(window.before).name.lower()
    return f"It waits for its window before it goes on to {what}: {window.text}."


def _request(terms: Terms | None) -> str:
    """Sentences that ask for a decision."""
    if terms is None:
        return ""
    if terms.gate == "before":
        later = "Another decision is asked for then." if terms.again else ""
        goes = "" if terms.again else f", and takes the {terms.replaced} login away afterwards"
        return (
            f"The {terms.serves} slot is up and tested, and {terms.replaced} serves. Approve moves "
            f"traffic to {terms.serves}{goes}; reject ends the rotation, and traffic stays. Without"
            f" a decision by {terms.deadline}, "
            f"{on_deadline_words(terms.on_deadline, terms.gate)}. {later}"
        ).strip()
    return (
        f"The workloads run on the {terms.serves} slot. Approve takes the {terms.replaced} login "
        f"away; reject goes back to it. Without a decision by {terms.deadline}, "
        f"{on_deadline_words(terms.on_deadline)}."
    )


def _used(notice: Notice) -> str:
    """Sentences that name up to five users of the replaced login who are in no workload, and were
    not seen on the other one since; empty for none."""
    usage, terms = notice.evidence.usage if notice.evidence else None, notice.terms
    if terms is not None and terms.gate == "before" and terms.again:
        return ""  # nobody loses it by this decision
    users = holding(usage)
    if usage is None or terms is None or not users:
        return ""
    listed = "; ".join(told(user) for user in users[:5])
    left = len(users) + usage.more - 5
    more = f"; and {left} more" if left > 0 else ""
    waits = " The policy waits for them." if terms.on_deadline == "approve" else ""
    return (
        f" In the last {usage.days} days others used the {terms.replaced} login: "
        f"{listed}{more}.{waits}"
    )


def _waived(waivers: list[Waiver]) -> str:
    """A sentence that names up to three problems that were waived, and by whom; empty for none."""
    if not waivers:
        return ""
    listed = "; ".join(one.text for one in waivers[:3])
    more = f"; and {len(waivers) - 3} more" if len(waivers) > 3 else ""
    by = ", ".join(dict.fromkeys(one.by for one in waivers))
    return f" Waived by {by}: {listed}{more}."


def _decided(decision: Decision | None) -> str:
    """Sentences that say who decided, and how."""
    if decision is None:
        return ""
    said = f" Comment: {decision.comment}" if decision.comment else ""
    return f"{decision.by} decided through {decision.channel}.{said}"


def _unknown(conditions: list[ConditionSeen]) -> str:
    """Sentences that say which conditions are not known, and why."""
    listed = "; ".join(f"{one.name}: {one.problem}" for one in conditions)
    return f"Its source is asked again: {listed}."


def _cancelled(cancel: Cancel | None) -> str:
    """Sentences that say who cancelled, and how."""
    if cancel is None:
        return ""
    said = f" Comment: {cancel.comment}" if cancel.comment else ""
    return (
        f"{cancel.by} cancelled it through {cancel.channel}, before the swap. The active slot goes "
        f"on serving; what was prepared is taken down.{said}"
    )


def _login_fails(reasons: list[Reason]) -> str:
    """Sentences that say why a new connection as the login that serves fails."""
    listed = "; ".join(why.text for why in reasons)
    return (
        "Traffic is back on the slot that served before, whose pods are ready and go on with the "
        f"connections that they have. A new one fails: {listed}."
    )


def _still_in_use(sessions: list[SessionCount]) -> str:
    """Sentences that name up to five users of the replaced login, and what an approval does to
    them: those of a workload's own pods that stay are waited for."""
    ended = "Sessions that belong to no known workload, and would be ended on approval"
    waited = "Sessions of pods that stay, and would be waited for on approval"
    users: dict[str, set[str]] = {ended: set(), waited: set()}
    for row in sessions:
        user = f"{row.application or 'unnamed'} at {row.client}"
        users[ended if row.workload is None else waited].add(user)
    return " ".join(f"{words}: {few(sorted(by))}." for words, by in users.items() if by)
