"""Plans a rotation from one look at the credential's world."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, assert_never

from rotation import log
from rotation.decisions.plan import Refuse, Rotate, Skip, Wait
from rotation.decisions.plan import plan as decide
from rotation.model import wire
from rotation.model.activities import ApprovalPolicy, Planned, Policy, Retry, WorkloadTimes
from rotation.model.catalogue import Origin, Outcome
from rotation.model.errors import Unavailable
from rotation.model.reasons import CODES, OF_A_CUT, Code
from rotation.model.record import Waiver
from rotation.steps import jobs, windows, world
from rotation.steps.wayback import WayBack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rotation.config import Approval
    from rotation.model.reasons import Reason
    from rotation.model.record import Request, WaivedVia
    from rotation.steps.running import Step
    from rotation.steps.world import World

# Retry timeouts, in seconds. Of refusals, while stopping is still possible: caches of rights fill,
# and a webhook comes back, within a minute. In steps that undo or retire a grant has as long as
# Azure takes for one at most, and what is final is tried again too: an answer may be outdated, and
# a person would try it once more as well. None is longer than the credential's own time.
REFUSALS = 120.0
OWNER = "the owner of credentials.yaml"  # who has waived what the file waives
REFUSALS_OF_UNDO = 600.0
FINAL_OF_UNDO = 120.0


def plan(step: Step) -> Planned:
    """The active slot and the policy of the rotation, or why there is none to be done.

    What is not due, or cannot be rotated as it is seen, costs no further look. Raises `Unavailable`
    while the active Deployments are not healthy, and what the edges raise.
    """
    request = step.reference.request
    if request is None:
        raise LookupError("the reference of plan has no request")
    credential = step.credential
    seen = world.snapshot(step.edges, step.name, credential)
    waive = request.waive if _by_hand(request) else credential.waive
    decision = decide(seen, request, step.edges.now(), credential.rotate_before, waive)
    match decision:
        case Skip(why):
            return Planned(outcome=Outcome.SKIPPED, reasons=[why])
        case Refuse(problems, waived) if of_others(request, problems):
            return _refused(request, of_others(request, problems), waived)
        case Rotate() | Wait() | Refuse():
            prove = _no_way_back if request.cut == "first" else None
            look = world.look(step.edges, credential, seen, waive, prove=prove)
            return _planned(step, request, look)
        case _:
            assert_never(decision)


def _planned(step: Step, request: Request, found: World) -> Planned:
    """The plan of a rotation that is due, by all that was found. Raises as `plan` does."""
    _tell(step.name, found.login.doubts)
    waived = found.reasons("waived")
    problems = of_others(request, found.reasons("refuses"))
    if problems:
        return _refused(request, problems, waived)
    waiting = of_others(request, found.reasons("waits"))
    if waiting:
        raise Unavailable(CODES[waiting[0].code], "; ".join(why.text for why in waiting))
    live = found.seen.slots[found.active].secret if found.seen and found.active else None
    latest = windows.latest(step.credential, live)
    return Planned(
        active=found.active,
        policy=policy(step, request),
        waivers=_waivers(request, waived),
        doubts=found.reasons("tells"),
        entry=entry(step),
        latest=wire.moment(latest) if latest else None,
    )


def of_others(request: Request, problems: Iterable[Reason]) -> list[Reason]:
    """The problems without those that come of the cut which the request is for."""
    cut = OF_A_CUT if request.cut == "first" else ()
    return [one for one in problems if one.code not in cut]


def _no_way_back(*_: object) -> WayBack:
    """Nothing: the login that one would go back to is ended, as an approver has chosen."""
    return WayBack()


def _refused(request: Request, problems: Iterable[Reason], waived: Iterable[Reason]) -> Planned:
    waivers = _waivers(request, waived)
    return Planned(outcome=Outcome.REFUSED, reasons=list(problems), waivers=waivers)


def _by_hand(request: Request) -> bool:
    """Whether a person asked, who waives in the request; events and sweeps go by the file."""
    return request.origin is Origin.MANUAL


def _waivers(request: Request, waived: Iterable[Reason]) -> list[Waiver]:
    """The problems that were waived, with who gave the waiver."""
    by = request.requested_by if _by_hand(request) else OWNER
    via: WaivedVia = "request" if _by_hand(request) else "file"
    found = [Waiver(code=one.code, text=one.text, by=by, via=via) for one in waived]
    if request.cut == "first":
        text = "the leaked login is ended before another one serves: there is no way back to it"
        found.append(Waiver(code=Code.NO_WAY_BACK, text=text, by=by, via=via))
    return found


def _tell(credential: str, doubts: Iterable[Reason]) -> None:
    """Logs what stands in no way and should be known."""
    for doubt in doubts:
        log.event(
            "secret.doubt",
            level=logging.WARNING,
            credential=credential,
            codes=[doubt.code],
            reason=doubt.text,
        )


def entry(step: Step) -> str:
    """The entry that the rotation goes on with."""
    from rotation.config import kept  # noqa: PLC0415 - a cold start is paid for

    return kept.keep(step.edges.configuration, step.name)


def policy(step: Step, request: Request) -> Policy:
    """The credential's times and choices that orchestrators need. An incident waits for no window,
    no place and no decision, goes back for no condition, moves everything at once, and ends the
    sessions that are left once the pods are gone."""
    credential, limits = step.credential, step.edges.configuration.max_parallel
    limited = any(limits.most(thing) is not None for thing in credential.things)
    calm = not request.compromised
    approval, retry = credential.approval, credential.retry
    outside = _by_hand(request) and request.outside_window
    in_windows = bool(credential.hours) and calm and not outside
    forward, undo = retry.retry_timeout.total_seconds(), retry.compensation.total_seconds()
    return Policy(
        forward=Retry(forward, min(REFUSALS, forward)),
        undo=Retry(undo, min(REFUSALS_OF_UNDO, undo), min(FINAL_OF_UNDO, undo)),
        drain=credential.drain.total_seconds() if calm else 0.0,
        workloads={
            workload.name: WorkloadTimes(
                workload.ready.total_seconds(),
                workload.drain.total_seconds(),
                workload.stops,
                in_place=bool(workload.in_place),
                weights=list(workload.route.weights) if workload.route else [],
                settle=workload.route.settle.total_seconds() if workload.route else 0.0,
                jobs=jobs.longest(workload),
            )
            for workload in credential.workloads
        },
        approval=ApprovalPolicy(
            remind=approval.remind.total_seconds(),
            deadline=approval.deadline.total_seconds(),
            on_deadline=approval.on_deadline,
            soak=approval.soak.total_seconds() if approval.soak else None,
            four_eyes=not approval.allow_requester,
        ),
        windows=in_windows,
        retire_in_window=in_windows and credential.retire_in == "window",
        before=_before(approval) if calm else None,
        asks_after=approval.gate != "before",
        conditions=len(credential.conditions) if calm else 0,
        watch=credential.watch.total_seconds(),
        canary=credential.canary if calm else None,
        things=credential.things if limited and calm else [],
    )


def _before(approval: Approval) -> ApprovalPolicy | None:
    """The rules of the decision before the swap, if one is asked for."""
    rules = approval.before_swap
    if rules is None:
        return None
    return ApprovalPolicy(
        remind=rules.remind.total_seconds(),
        deadline=rules.deadline.total_seconds(),
        on_deadline=rules.on_deadline,
        soak=None,
        four_eyes=not approval.allow_requester,
    )
