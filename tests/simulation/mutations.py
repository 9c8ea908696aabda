"""Faults put into the app on purpose: the simulation must find each, or it proves nothing."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from rotation import activities, approval, rotations, run, step, workflow, workload
from rotation.model.errors import StepFailed
from rotation.model.world import other
from rotation.planning import Verdict
from rotation.secrecy import new_password
from rotation.steps.running import Step
from tests.simulation import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotation.model.world import Request
    from rotation.story.retrying import Run, Steps


@dataclass(frozen=True)
class Mutation:
    """`replaced` are attributes by owner and name; `steps` are activities by name."""

    name: str
    invariants: frozenset[int]
    replaced: tuple[tuple[Any, str, Any], ...] = ()
    steps: tuple[tuple[str, Callable[[Step], dict[str, Any] | None]], ...] = ()

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    @contextmanager
    def applied(self) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, value in self.replaced:
                stack.enter_context(mock.patch.object(owner, name, value))
            stack.enter_context(mock.patch.dict(program.ACTIVITIES, dict(self.steps)))
            yield


def nothing(*_: object) -> None:
    """Instead of a check."""


def done(_: Step) -> dict[str, Any]:
    return {"done": True, "observed": ""}


def activates_nothing(step: Step) -> dict[str, Any]:
    current = step.vault.current(step.login.secret)
    return {"version": current.version if current else None}


def swaps_at_once(step: Step) -> None:
    workload, cluster = step.workload, step.cluster
    came_from = other(step.slot)
    cluster.select(
        workload.namespace, workload.service, workload.selector_label, came_from, step.slot
    )


def uses_the_active_slot(step: Step) -> dict[str, Any]:
    """The classic: the login in use gets a new password, and then everything is restarted."""
    step.reference["slot"] = other(step.slot)
    password = new_password()
    step.edges.database(step.credential).activate(step.login.role, password)
    return {"version": "none"}


def disables_the_newest(step: Step) -> None:
    step.ensure_standby()
    current = step.vault.current(step.login.secret)
    if current is not None:
        step.vault.disable(step.login.secret, current.version)


def quotes_what_was_raised(activity: Any, error: Exception, names: dict[str, Any]) -> Any:
    del names
    return {"error": {"kind": "unexpected", "message": f"{activity}: {error}", "transient": True}}


def answers_with_the_value(step: Step) -> dict[str, Any]:
    answer = activities.stage(step)
    value = step.vault.value(step.login.secret, answer["version"])
    return {**answer, "value": value.reveal()}


async def starts_under_its_own_id(client: Any, request: Request) -> Any:
    await client.start_new("credential", f"{request.rotation}.c", request.as_value())
    return rotations.Started(request.rotation)


def takes_anything(event: object, requested_by: str | None) -> Verdict:
    del event, requested_by
    return Verdict("approve", "somebody", "anything", "")


def approves_itself(run: Run) -> Steps:
    yield from approval._ask(run)  # noqa: SLF001 - the half that is kept
    return (yield from approval._record(run, Verdict("approve", "nobody", "", ""), None))  # noqa: SLF001


def retires_without_proof(run: Run, slot: Any) -> Steps:
    run.stage("retire")
    yield from run.each("retire", "retire_workload", done="retired", slot=slot)
    yield from run.step("deactivate", compensating=True, slot=slot)
    yield from run.step("disable", compensating=True, slot=slot)


def rolls_back_regardless(run: Run, why: str) -> Steps:
    """A swap back that fails does not keep it from taking the new slot away."""
    try:
        yield from workflow.swap(run, run.active, compensating=True)
    except StepFailed:
        run.status["ignored"] = True
    yield from retires_without_proof(run, run.standby)
    return "rolled-back", why


def tidies_up(run: Run, outcome: Any, reason: str) -> Steps:
    """After everything else has failed it makes room."""
    run.status |= {"outcome": outcome, "outcomeReason": reason}
    run.stage("done")
    if outcome == "needs-attention":
        yield from run.step("disable", slot=run.standby)
    return {**run.status, "evidence": run.evidence}


def gives_up_at_once(context: Any, activity: str, reference: Any, *_: object) -> Steps:
    answer = yield from run.attempt(context, activity, reference)
    if "error" in answer:
        raise StepFailed(activity, answer["error"])
    return answer


def waits_for_a_name_nobody_knows(run: Run) -> Any:
    run.status["approval"]["event"] = "decision-1"
    run.show()
    return run.context.wait_for_external_event("decision-0")


def _of(*invariants: int) -> frozenset[int]:
    return frozenset(invariants)


MUTATIONS = (
    # Found by the sweeps: a run that was refused something may need attention for that.
    Mutation(
        "no insistence",
        _of(),
        replaced=((run, "INSISTENCE", run.NONE), (workload, "INSISTENCE", run.NONE)),
    ),
    Mutation(
        "no proof of the login before a swap",
        _of(1, 8),
        steps=(("verify", nothing),),
        replaced=((activities, "verify", nothing),),
    ),
    Mutation("a login that is never activated", _of(9), steps=(("activate", activates_nothing),)),
    Mutation("the active slot's login", _of(1, 2), steps=(("stage", uses_the_active_slot),)),
    Mutation("no look at what serves", _of(2), replaced=((Step, "ensure_standby", nothing),)),
    Mutation(
        "an exception's text is told",
        _of(3),
        replaced=((step, "_unexpected", quotes_what_was_raised),),
    ),
    Mutation("a value is returned", _of(3), steps=(("stage", answers_with_the_value),)),
    Mutation(
        "only the newest version is disabled", _of(4), steps=(("disable", disables_the_newest),)
    ),
    Mutation(
        "an orchestration for each request",
        _of(5),
        replaced=((rotations, "start", starts_under_its_own_id),),
    ),
    Mutation("any event is a decision", _of(6), replaced=((approval, "verdict", takes_anything),)),
    Mutation("nobody is asked", _of(6), replaced=((workflow, "approval", approves_itself),)),
    Mutation(
        "retirement without a proof",
        _of(7),
        replaced=((workflow, "retire", retires_without_proof),),
    ),
    Mutation(
        "a failed swap back is ignored",
        _of(2, 7, 8),
        replaced=((workflow, "roll_back", rolls_back_regardless),),
    ),
    Mutation("needs-attention tidies up", _of(7), replaced=((workflow, "finish", tidies_up),)),
    Mutation(
        "pods are not waited for",
        _of(8),
        steps=(("await_ready", done), ("swap", swaps_at_once), ("test", nothing)),
    ),
    Mutation(
        "no retries",
        _of(9),
        replaced=((run, "call", gives_up_at_once), (workload, "call", gives_up_at_once)),
    ),
    Mutation(
        "a decision that never arrives",
        _of(9),
        replaced=((approval, "_next_gate", waits_for_a_name_nobody_knows),),
    ),
)
