"""The orchestrators: the whole story of a rotation.

They decide nothing about the world and call no edge: activities do, and return references and
expected failures as values (see `activities`). The code keeps to the subset that
azure-functions-durable 1.x and 2.x both run: functions called by name, at least one task in each
`task_all`, one wait for each event name, timers of at most a day that are cancelled when they
lose.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from rotation.approval import approval
from rotation.errors import StepFailed
from rotation.model import Outcome, Slot, other
from rotation.run import Run, Steps, attempt, decoded

if TYPE_CHECKING:
    import azure.durable_functions as df


def credential(context: df.DurableOrchestrationContext) -> Steps:
    """Its instance id is the credential's name: one rotation of it at a time.

    The rotation has an id of its own, so that it stays readable when the next one starts.
    """
    request = decoded(context.get_input())
    return (yield context.call_sub_orchestrator("rotation", request, request["rotation"]))


def rotation(context: df.DurableOrchestrationContext) -> Steps:
    run = Run(context)
    try:
        outcome, reason = yield from story(run)
    except Exception as error:  # noqa: BLE001 - whatever it is: both slots stay, and we say so
        outcome, reason = "needs-attention", f"unexpected {type(error).__name__}; see the log"
    return (yield from finish(run, outcome, reason))


def story(run: Run) -> Steps:  # noqa: PLR0911 - one line for each way a rotation ends
    """Returns the outcome and its reason."""
    try:
        plan = yield from run.step("plan", request=run.request)
    except StepFailed as failure:
        return "refused", failure.message
    if plan["decision"] != "rotate":
        return plan["decision"], plan["reason"]
    run.begin(plan)
    yield from run.notify("Started")
    try:
        yield from bring_up(run)
    except StepFailed as failure:
        return (yield from abort(run, failure.message))
    try:
        yield from swap(run, run.standby)
        yield from observe(run)
    except StepFailed as failure:
        return (yield from roll_back(run, failure.message))
    decision = yield from approval(run)
    if decision.decision == "reject":
        return (yield from roll_back(run, f"rejected by {decision.by}"))
    try:
        yield from retire(run, run.active)
    except StepFailed as failure:
        return "needs-attention", failure.message
    return "completed", f"approved by {decision.by}"


def bring_up(run: Run) -> Steps:
    """The standby slot gets a new password and runs on it, unseen by any client."""
    slot = run.standby
    run.stage("stage")
    staged = yield from run.step("stage", slot=slot)
    run.stage("activate")
    # Whatever version is current by now is the one that pods will read.
    activated = yield from run.step("activate", slot=slot, version=staged["version"])
    run.version = run.status["version"] = activated["version"]
    run.stage("verify")
    yield from run.step("verify", slot=slot, version=run.version)
    run.stage("prepare")
    yield from run.each(
        "prepare", "prepare_workload", done="prepared", slot=slot, version=run.version
    )
    # Minutes may have passed: what traffic will depend on is proved once more before the swap.
    yield from run.step("verify", slot=slot, version=run.version)


def swap(run: Run, to: Slot, *, compensating: bool = False) -> Steps:
    """Every workload's traffic goes to `to`, all at once."""
    step = "swap-back" if compensating else "swap"
    run.stage(step)
    yield from run.each(step, "swap_workload", done=step, slot=to, compensating=compensating)


def observe(run: Run) -> Steps:
    run.stage("observe")
    yield from run.each("observe", "observe_workload", done="observed", slot=run.standby)


def retire(run: Run, slot: Slot) -> Steps:
    """Takes away what a slot had, once it is proved that the other one serves."""
    run.stage("retire")
    yield from run.step("confirm", compensating=True, slot=other(slot))
    yield from run.each("retire", "retire_workload", done="retired", slot=slot)
    # Sessions that are still there after this are ended by `deactivate`.
    yield from run.wait("await_sessions", run.policy["drain"], slot=slot)
    yield from run.step("deactivate", compensating=True, slot=slot)
    yield from run.step("disable", compensating=True, slot=slot)


def abort(run: Run, why: str) -> Steps:
    """Before the swap: the standby slot goes down again and the active one never noticed."""
    try:
        yield from retire(run, run.standby)
    except StepFailed as failure:
        return "needs-attention", f"{why}; taking the standby slot down failed: {failure.message}"
    return "aborted", why


def roll_back(run: Run, why: str) -> Steps:
    """After the swap: back to the slot that served before, then the other one goes down."""
    try:
        yield from run.step("verify", compensating=True, slot=run.active)
        yield from swap(run, run.active, compensating=True)
        yield from retire(run, run.standby)
    except StepFailed as failure:
        return "needs-attention", f"{why}; rolling back failed: {failure.message}"
    return "rolled-back", why


def finish(run: Run, outcome: Outcome, reason: str) -> Steps:
    yield from run.notify(OUTCOMES[outcome], outcome=outcome, reason=reason)
    # Shown together with the end: who sees an outcome may start the next rotation.
    run.status |= {"outcome": outcome, "outcomeReason": reason}
    run.stage("done")
    return {**run.status, "evidence": run.evidence}


OUTCOMES: dict[Outcome, str] = {
    "completed": "Completed",
    "rolled-back": "RolledBack",
    "aborted": "Aborted",
    "skipped": "Skipped",
    "refused": "Refused",
    "needs-attention": "NeedsAttention",
}


PUBLISH_ATTEMPTS = 200  # about a week
LONGEST_PAUSE = timedelta(hours=1)


def publish(context: df.DurableOrchestrationContext) -> Steps:
    """Delivers one event to the topic, whatever stands in the way for up to a week.

    A refusal is repeated too: somebody may grant the missing right meanwhile.
    """
    event = decoded(context.get_input())
    names = {key: event["data"][key] for key in ("rotation", "credential")}
    for number in range(PUBLISH_ATTEMPTS):
        answer = yield from attempt(context, "publish_event", {**names, "event": event})
        if "error" not in answer:
            return {"attempts": number + 1}
        pause = min(timedelta(seconds=2 ** min(number, 12)), LONGEST_PAUSE)
        yield context.create_timer(context.current_utc_datetime + pause)
    raise RuntimeError(f"event {event['id']} could not be published; the step's log says why")
