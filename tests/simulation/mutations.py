"""Faults put into the app on purpose: the simulation must find each, or it proves nothing."""

from __future__ import annotations

import dataclasses
import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec

from rotation import formats
from rotation.config import kept
from rotation.decisions import in_place as decided
from rotation.decisions import ownership, reaching
from rotation.decisions import plan as planned
from rotation.decisions.conditions import follow
from rotation.decisions.places import Decided, decide
from rotation.decisions.rollout import unready
from rotation.edges.cluster import client
from rotation.edges.database import connecting
from rotation.front import api, archive, rotations, triggers
from rotation.front import places as front_places
from rotation.model import activities as known
from rotation.model import wire
from rotation.model.activities import Moved, Retry, Staged, Watched
from rotation.model.catalogue import Outcome, Stage, StepName
from rotation.model.errors import Failure, Invalid, StepFailed
from rotation.model.reasons import Code
from rotation.model.record import Decision
from rotation.model.targets import SecretTarget, SlotSecretTarget
from rotation.model.world import Drift, other
from rotation.secrecy import Secret, new_password
from rotation.steps import (
    cron_jobs,
    doctor,
    guards,
    in_place,
    jobs,
    login,
    planning,
    running,
    traffic,
    wayback,
)
from rotation.steps.running import Implementation, Step
from rotation.steps.wayback import WayBack
from rotation.story import (
    approval,
    conditions,
    incident,
    places,
    progress,
    retrying,
    waves,
    windows,
    workflow,
    workload,
)
from tests.memory.unguarded import GUARDED, unguarded
from tests.simulation import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from msgspec import Struct

    from rotation.config import Workload
    from rotation.contracts.edges import Readers
    from rotation.contracts.store import Store
    from rotation.decisions.verdict import Identity
    from rotation.formats import Held, Shape
    from rotation.model.activities import Planned, Policy, Reference
    from rotation.model.errors import EdgeError
    from rotation.model.places import Wanted
    from rotation.model.reasons import Reason
    from rotation.model.record import Approval, Request, ShownRecord
    from rotation.model.wire import JsonObject
    from rotation.model.world import Claim, Deployment, Slot
    from rotation.story.progress import Run
    from rotation.story.retrying import Steps
    from rotation.story.workflow import End


@dataclass(frozen=True)
class Mutation:
    """A fault put into the app.

    `replaced` are attributes by owner and name; `steps` are activities by name. `first_seed` is the
    run to begin with, for a fault that few runs find.
    """

    name: str
    invariants: frozenset[int]
    replaced: tuple[tuple[Any, str, Any], ...] = ()
    steps: tuple[tuple[str, Callable[[Step], Struct | None]], ...] = ()
    first_seed: int = 1
    fleets: bool = False  # found in a fleet, not in a run of one credential

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    @contextmanager
    def applied(self) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, value in self.replaced:
                stack.enter_context(mock.patch.object(owner, name, value))
            steps = {name: Implementation(name, run) for name, run in self.steps}
            stack.enter_context(mock.patch.dict(program.ACTIVITIES, steps))
            yield


def nothing(*_: object, **__: object) -> None:
    """Does nothing, instead of a check."""


def keeps_in_no_list(store: Store, record: ShownRecord) -> bool:
    content = {"format": archive.FORMAT, "record": wire.value_of(record)}
    return store.create(f"by-id/{record.rotation}.json", json.dumps(content).encode())


def done(_: Step) -> Watched:
    return Watched(done=True)


def believes_any_status(step: Step) -> Watched:
    """Ends at the first failure that the Deployment reports, whatever it is about."""

    def settled(seen: Deployment) -> bool:
        return unready(seen, step.version) is None or seen.failure is not None

    seen = step.pods.watch(step.deployment, settled, step.edges.settings.watch_seconds)
    waiting = unready(seen, step.version)
    if waiting is not None and seen.failure is not None:
        raise Invalid(Code.NOT_COMING_UP, f"{seen.failure}; {waiting}")
    return Watched(waiting is None, waiting or "")


def goes_by_labels(claim: Claim, *_: object) -> bool:
    """Takes every pod that a selector finds for the Deployment's, over or not."""
    return bool(claim.phase)


def swaps_at_once(step: Step) -> None:
    traffic._point(step, {step.workload.production: None}, back=False)  # noqa: SLF001 - without a look


def exchanges_whatever_changed(
    self: guards.Exchange,
    target: SlotSecretTarget,
    login: tuple[str, Secret],
    *,
    version: str,
    revision: str,
) -> None:
    """Writes into the Secret as it is by now, whoever has changed it since the look."""
    del revision
    pods = self._pods
    found = pods.exchanged(target)
    latest = found.seen.revision if found else ""
    rotation = self._rotation
    pods.exchange(target, self._slot, login, version=version, revision=latest, by=rotation)


def one_exchange(rotation: str, _: Slot) -> str:
    """Calls the way back by the name of the way forward: nothing restarts for it."""
    return rotation


def swaps_one_of_them(step: Step) -> Moved:
    """Leaves the further Services of a workload where they are."""
    only = {step.workload.production: step.traffic.route(step.workload.production)}
    traffic._point(step, only, back=False)  # noqa: SLF001 - as a swap does
    return Moved()


def goes_back_half_way(task: workload.Task) -> Steps[None]:
    """Leaves the new slot its part of the requests."""
    if task.times.settle:
        task.share = 50
    yield from GOES_BACK(task)


GOES_BACK = workload._swap_back  # noqa: SLF001 - what is replaced


def uses_the_active_slot(step: Step) -> Staged:
    """Stages in the active slot, the classic: the login in use gets a new password, and then
    everything is restarted."""
    role = step.credential.slots[other(step.slot)].role
    step._edges.database(step.credential).activate(role, new_password())  # noqa: SLF001 - past the guards
    return Staged("none")


def looks_and_goes_on(edges: Readers, workload: Workload, slot: Slot) -> None:
    del slot
    for target in workload.productions:
        edges.traffic(workload.cluster).route(target)


def finds_nobody(*_: object) -> set[Any]:
    return set()


def finds_a_way_back(*_: object) -> WayBack:
    """Proves nothing of the slot that traffic may have to be given back to."""
    return WayBack()


read_as_it_is = formats.read


def takes_the_line_break_for_a_part(shape: Shape, value: Secret, reference: str) -> Held:
    held = read_as_it_is(shape, value, reference)
    ends = "\n" if held.newline else ""
    return dataclasses.replace(held, password=Secret(held.password.reveal() + ends))


def quotes_what_was_raised(activity: Any, error: Exception, names: dict[str, Any]) -> Failure:
    del names
    return Failure("unexpected", f"{activity}: {error}", transient=True)


class Leak(Staged, frozen=True):
    """An answer with the password in it, which `stage` must not give."""

    value: str


def answers_with_the_value(step: Step) -> Leak:
    version = login.stage(step).version
    value = step.vault.value(SecretTarget(step.login.secret, version))
    return Leak(version, value.reveal())


async def starts_under_its_own_id(client: Any, request: Request) -> rotations.Started:
    value = msgspec.to_builtins(request)
    await client.start_new("credential", f"{request.rotation}.c", value)
    return rotations.Started(request.rotation)


def approved_by(name: str) -> Decision:
    return Decision(decision="approve", by=name, channel="", comment="", id=None)


def takes_anything(event: object, asked: Identity | None) -> Decision:
    del event, asked
    return approved_by("somebody")


def approves_itself(run: Run) -> Steps[Decision]:
    asked = run.record.approval = approval._new(run, run.policy.approval)  # noqa: SLF001
    yield from approval._ask(run, asked)  # noqa: SLF001 - the half that is kept
    return (yield from approval._record(run, asked, approved_by("nobody")))  # noqa: SLF001


def retires_without_proof(run: Run, slot: Slot) -> Steps[None]:
    run.stage(Stage.RETIRE)
    yield from run.each(StepName.RETIRE, workload.retire_workload, run.reference(slot))
    yield from run.step(StepName.DEACTIVATE, known.DEACTIVATE, slot)
    yield from run.step(StepName.DISABLE, known.DISABLE, slot)


def rolls_back_regardless(run: Run, why: str, reasons: list[Reason]) -> Steps[End]:
    """Rolls back, and takes the new slot away even where the swap back failed."""
    run.retry_longer()
    try:
        yield from workflow.swap_back(run)
    except StepFailed:
        run.record.untold = ["it is ignored"]
    yield from retires_without_proof(run, run.standby)
    return Outcome.ROLLED_BACK, why, reasons


finished = workflow.finish


def tidies_up(run: Run, outcome: Outcome, why: str, reasons: list[Reason]) -> Steps[JsonObject]:
    """Finishes, and disables the standby's secret where a person was needed."""
    ended = yield from finished(run, outcome, why, reasons)
    if outcome is Outcome.NEEDS_ATTENTION:
        yield from run.step(StepName.DISABLE, known.DISABLE, run.standby)
    return ended


def gives_up_at_once(context: Any, activity: Any, reference: Reference, *_: object) -> Steps[Any]:
    answer = yield from retrying.attempt(context, activity, reference)
    if isinstance(answer, Failure):
        raise StepFailed(activity.name, [answer.reason])
    return answer


call_as_it_is = retrying.call


def takes_the_first_refusal(
    context: Any, activity: Any, reference: Reference, retry: Retry, *more: Any
) -> Steps[Any]:
    once = msgspec.structs.replace(retry, refusals=0.0)
    return (yield from call_as_it_is(context, activity, reference, once, *more))


def goes_back_with_a_login(run: Run, why: str, reasons: list[Reason]) -> Steps[End]:
    """Rolls back, once a new connection as the slot that served before was to be had."""
    run.retry_longer()
    try:
        yield from run.step(StepName.VERIFY, known.VERIFY, run.active)
    except StepFailed as failure:
        return Outcome.NEEDS_ATTENTION, why, list(failure.reasons)
    return (yield from rolled_back(run, why, reasons))


rolled_back = workflow.roll_back


def confirms_with_a_login(step: Step) -> None:
    traffic.confirm(step)
    login.verify(step)


def final_by_admission(what: str, status: int, message: str) -> EdgeError | None:
    return Invalid(Code.CLUSTER_ERROR, what) if admission(what, status, message) else None


admission = client._admission  # noqa: SLF001 - what it knows is kept


def makes_two(step: Step) -> None:
    """Makes each Job once more, as if its name were of the day."""
    jobs.run(step)
    later = f"{step.reference.phase}, later"
    step.reference = msgspec.structs.replace(step.reference, phase=later)
    jobs.run(step)


def waits_for_a_name_nobody_knows(run: Run, asked: Approval) -> Any:
    asked.event = "decision-1"
    run.show()
    return run.context.wait_for_external_event("decision-0")


def takes_any_waiver(_: object, document: JsonObject, *__: object) -> list[str]:
    """The codes of a request, whoever names them."""
    return list(document.get("waive") or [])


def tells_of_no_waiver(*_: object) -> list[Any]:
    return []


def same_images(*_: object) -> tuple[dict[str, str], dict[str, str]]:
    return {}, {}


def stops_nobody(_: Run) -> Steps[None]:
    """Lets the replaced pods of what nothing calls work on beside the new ones."""
    yield from ()


def hears_for_ever(run: Run) -> None:
    """Takes a cancel whenever it comes, until one has."""
    if run.record.cancelled is not None:
        too_late(run)


too_late = progress.Run.too_late


considered = progress.Run.consider


def goes_on_without_the_entry(run: Run, plan: Planned, policy: Policy) -> None:
    considered(run, msgspec.structs.replace(plan, entry=None), policy)


def lets_itself_through(_: Run) -> Steps[bool]:
    """Asks nobody before the swap."""
    yield from ()
    return False


def sees_no_breach(*given: Any) -> Any:
    """Follows conditions, and takes none for breached."""
    found = followed(*given)
    found.seen = [msgspec.structs.replace(one, breach=None) for one in found.seen]
    found.pending = False
    return found


followed = follow


def waits_for_nothing(*_: object) -> Steps[bool]:
    """Begins whenever it is asked for."""
    yield from ()
    return False


def waits_once(run: Run, before: StepName, *waits: Any) -> Steps[bool]:
    """Asks for a window where it begins, and swaps whenever it is ready."""
    return before is StepName.STAGE and (yield from waited(run, before, *waits))


def gives_everybody_a_place(_: object, __: object, waiting: Iterable[Wanted]) -> Decided:
    return Decided(list(waiting))


def goes_back_with_a_place(run: Run, why: str, reasons: list[Reason]) -> Steps[End]:
    """Rolls back once there is a place for it."""
    yield from places.admitted(run, StepName.SWAP_BACK, windows=False)
    return (yield from rolled_back(run, why, reasons))


def gives_one_too_many(
    most: Callable[[str], int | None], held: Iterable[list[str]], waiting: Iterable[Wanted]
) -> Decided:
    """Counts one place more at each thing than its limit allows."""

    def more(thing: str) -> int | None:
        limit = most(thing)
        return None if limit is None else limit + 1

    return decide(more, held, waiting)


def wakes_nobody(*_: object) -> str:
    return "a place"


def goes_on_after_failures(run: waves.Waving, *, last: bool) -> Steps[bool]:
    del last
    yield from run.ask(known.FOLLOW_ROTATIONS, run.of("waiting", "started"))
    return False


waited = windows.in_window


def goes_back_in_a_window(run: Run, why: str, reasons: list[Reason]) -> Steps[End]:
    """Rolls back in a window alone."""
    yield from waited(run, StepName.SWAP_BACK)
    return (yield from rolled_back(run, why, reasons))


def calling(how: Callable[..., Steps[Any]]) -> tuple[tuple[Any, str, Any], ...]:
    """The patches that make orchestrators call activities in another way."""
    return tuple((module, "call", how) for module in (retrying, progress, workload))


def _of(*invariants: int) -> frozenset[int]:
    return frozenset(invariants)


# Of a guard's verb without its look, where the run to begin with is not the first.
FIRST = {"Standby.preview": 206, "Standby.sync": 12}


def gives_the_leaked_login_back(step: Step) -> Planned:
    """Gives the login that was cut its password back, so that there is a way back to it."""
    found, request = planning.plan(step), step.reference.request
    if found.active is not None and request is not None and request.cut == "first":
        credential = step.credential
        current = login.current_version(step.edges, credential, found.active)
        password = login.password_in(step.edges, credential, current)
        role = credential.slots[found.active].role
        step._edges.database(credential).activate(role, password)  # noqa: SLF001 - past the guards
    return found


def cuts_what_serves(run: Run) -> Steps[End]:
    """Cuts for whoever asks, as if the file had said so and an approver had called it."""
    run.request = msgspec.structs.replace(run.request, cut="first", compromised=True)
    return (yield from called(run))


called = incident.incident


MUTATIONS = (
    Mutation(
        "a cancel that counts after the swap",
        _of(9),
        replaced=((progress.Run, "too_late", hears_for_ever),),
        first_seed=131,
    ),
    Mutation(
        "CronJobs are exchanged at once",
        _of(13),
        replaced=((cron_jobs, "early", lambda *_: 0.0),),
        first_seed=41,
    ),
    # Found by the sweeps: a run that was refused something may need attention for that.
    Mutation(
        "no retries of refusals",
        _of(),
        replaced=calling(takes_the_first_refusal),
    ),
    Mutation(
        "no proof of the login before a swap",
        _of(1, 8),
        steps=(("verify", nothing),),
        replaced=((traffic, "verify", nothing),),
        first_seed=340,
    ),
    Mutation(
        "a dry run that finds nothing in the way",
        _of(9),
        replaced=((doctor, "_would", lambda _: "rotate"),),
        first_seed=4,
    ),
    Mutation(
        "no proof of the way back",
        _of(9),
        replaced=((wayback, "look", finds_a_way_back),),
        first_seed=87,
    ),
    Mutation(
        "a line break is part of a password",
        _of(9),
        replaced=((wayback, "read", takes_the_line_break_for_a_part),),
        first_seed=740,
    ),
    Mutation(
        "no proof of a new login on replicas",
        _of(9),
        replaced=((login, "_verify_replicas", nothing),),
        first_seed=2187,
    ),
    Mutation(
        "no proof of a new login through the endpoint",
        _of(9),
        replaced=((login, "_verify_endpoint", nothing),),
        first_seed=44,
    ),
    Mutation(
        "no proof on replicas that the replaced login is gone",
        _of(4),
        replaced=((login, "_ensure_refused", nothing),),
        first_seed=40,
    ),
    Mutation("a login that is never activated", _of(9), steps=(("activate", nothing),)),
    Mutation("the active slot's login", _of(1, 2), steps=(("stage", uses_the_active_slot),)),
    Mutation(
        "a look that refuses nothing",
        _of(2),
        replaced=((guards, "_refuse_what_serves", looks_and_goes_on),),
        first_seed=335,
    ),
    *(
        Mutation(
            f"no look at what serves before {verb}",
            # What happens right before a swap is too rare for these runs: the sweeps find it.
            _of() if verb.guard is guards.Arriving else _of(2),
            replaced=(unguarded(verb),),
            first_seed=FIRST.get(str(verb), 1),
        )
        for verb in GUARDED
    ),
    Mutation(
        "who else leads to a slot is not seen",
        _of(2),
        replaced=((reaching, "strangers", finds_nobody),),
        first_seed=31,
    ),
    Mutation(
        "only the Service that tests go through is swapped",
        _of(9),
        steps=(("swap", swaps_one_of_them),),
        first_seed=70,
    ),
    Mutation(
        "a way back that leaves the new slot some requests",
        _of(9),
        replaced=((workload, "_swap_back", goes_back_half_way),),
        first_seed=40,
    ),
    Mutation(
        "an exception's text is told",
        _of(3),
        replaced=((running, "_unexpected", quotes_what_was_raised),),
        first_seed=6,
    ),
    Mutation("a value is returned", _of(3), steps=(("stage", answers_with_the_value),)),
    Mutation("no version is disabled", _of(4), steps=(("disable", nothing),)),
    Mutation(
        "an orchestration for each request",
        _of(5),
        replaced=((rotations, "start", starts_under_its_own_id),),
    ),
    Mutation(
        "any event is a decision",
        _of(6),
        replaced=((approval, "verdict", takes_anything),),
        first_seed=16,
    ),
    Mutation("nobody is asked", _of(6), replaced=((workflow, "agreed", approves_itself),)),
    Mutation(
        "retirement without a proof",
        _of(7),
        replaced=((workflow, "retire", retires_without_proof),),
    ),
    Mutation(
        "a failed swap back is ignored",
        _of(2, 7, 8),
        replaced=((workflow, "roll_back", rolls_back_regardless),),
        first_seed=18,
    ),
    Mutation(
        "needs-attention tidies up",
        _of(7),
        replaced=((workflow, "finish", tidies_up),),
        first_seed=59,
    ),
    Mutation(
        "pods are not waited for",
        _of(8),
        steps=(("await_ready", done), ("swap", swaps_at_once), ("test", nothing)),
    ),
    # Found by the sweeps, in which a node is drained right before.
    Mutation(
        "no look at the pods before a swap",
        _of(),
        replaced=((traffic, "_ensure_capacity", nothing),),
    ),
    # Both found by the sweeps: in these runs others have mostly done something else as well.
    Mutation(
        "a release is overlooked",
        _of(),
        replaced=((traffic, "_images", same_images),),
    ),
    Mutation(
        "a changed template is overlooked",
        _of(),
        replaced=((traffic, "drift", lambda *_: Drift()),),
    ),
    Mutation(
        "a rotation follows the file of the day",
        _of(),
        replaced=((progress.Run, "consider", goes_on_without_the_entry),),
    ),
    Mutation(
        "a changed file is not told of",
        _of(10),
        replaced=((kept, "changes", lambda *_: []),),
        first_seed=223,
    ),
    Mutation(
        "a status about the past is a verdict",
        _of(9),
        steps=(("await_ready", believes_any_status),),
    ),
    Mutation(
        "pods are found by their labels",
        _of(9),
        replaced=((ownership, "counts", goes_by_labels),),
        first_seed=44,
    ),
    Mutation(
        "selectors may overlap",
        _of(9),
        replaced=((planned, "refusals", lambda *_: ()),),
        first_seed=15,
    ),
    Mutation(
        "no retries",
        _of(9),
        replaced=calling(gives_up_at_once),
        first_seed=10,
    ),
    Mutation(
        "what is not due rotates",
        _of(9),
        # Looked at twice: before anything starts, and by the plan.
        replaced=((triggers, "not_soon", nothing), (planned, "not_soon", nothing)),
        first_seed=39,
    ),
    Mutation(
        "what nobody may waive is waived",
        _of(11),
        # Looked at twice: where it is asked for, and by the plan.
        replaced=((planned, "WAIVABLE", tuple(Code)), (api, "_waived", takes_any_waiver)),
        first_seed=67,
    ),
    Mutation(
        "anybody waives",
        _of(11),
        replaced=((api, "_waived", takes_any_waiver),),
        first_seed=67,
    ),
    Mutation(
        "a waiver is not told",
        _of(11),
        replaced=((planning, "_waivers", tells_of_no_waiver),),
        first_seed=61,
    ),
    Mutation(
        "refusals are final at once",
        _of(9),
        replaced=((planning, "REFUSALS", 0.0), (progress, "BEFORE_THE_PLAN", Retry(600.0))),
        first_seed=88,
    ),
    Mutation(
        "what no list has is final",
        _of(9),
        replaced=((connecting, "FINAL", ("XX", "25", *connecting.FINAL)),),
        first_seed=144,
    ),
    Mutation(
        "what admission says is final",
        _of(9),
        replaced=((client, "_admission", final_by_admission),),
        first_seed=143,
    ),
    # Found by the sweeps, in which somebody uses the connections up.
    Mutation(
        "going back asks for a login",
        _of(),
        replaced=((workflow, "roll_back", goes_back_with_a_login),),
    ),
    Mutation(
        "a server without a connection stops what would free some",
        _of(),
        steps=(("confirm", confirms_with_a_login),),
    ),
    Mutation(
        "going back waits for as many pods",
        _of(),
        replaced=((traffic, "_some_ready", nothing),),
    ),
    Mutation(
        "replaced workers are not told",
        _of(12),
        replaced=((workflow, "stop", stops_nobody),),
        first_seed=8,
    ),
    Mutation(
        "nobody waits for the pods of a workload in place",
        _of(1, 8, 9),
        replaced=((in_place, "_left", nothing),),
        steps=(("await_login", done),),
        first_seed=422,
    ),
    Mutation(
        "nothing restarts on the way back",
        _of(8, 9),
        replaced=((decided, "exchange_of", one_exchange),),
        first_seed=70,
    ),
    # Found by `unit/test_in_place`, where an exchange is held up.
    Mutation(
        "a login is exchanged whatever has changed since",
        _of(),
        replaced=((guards.Exchange, "write", exchanges_whatever_changed),),
    ),
    Mutation(
        "a Job is made twice",
        _of(9),
        steps=(("run_jobs", makes_two),),
        first_seed=34,
    ),
    Mutation(
        "windows are not waited for",
        _of(15),
        replaced=(
            (workflow, "in_window", waits_for_nothing),
            (places, "in_window", waits_for_nothing),
        ),
    ),
    Mutation(
        "a swap waits for no window",
        _of(15),
        replaced=((workflow, "in_window", waits_once), (places, "in_window", waits_once)),
        first_seed=25,
    ),
    Mutation(
        "going back waits for a window",
        _of(15),
        replaced=((workflow, "roll_back", goes_back_in_a_window),),
        first_seed=64,
    ),
    Mutation(
        "traffic moves before anybody lets it",
        _of(16),
        replaced=((workflow, "let_through", lets_itself_through),),
    ),
    Mutation(
        "a breach that goes unnoticed",
        _of(16),
        replaced=((conditions, "follow", sees_no_breach),),
        first_seed=143,
    ),
    Mutation(
        "everybody gets a place",
        _of(17),
        replaced=((front_places, "decide", gives_everybody_a_place),),
        first_seed=59,
    ),
    Mutation(
        "one gets a place too many",
        _of(17),
        replaced=((front_places, "decide", gives_one_too_many),),
        fleets=True,
    ),
    Mutation(
        "a place that is free is noticed late",
        _of(20),
        replaced=(
            (places, "PAUSE", timedelta(minutes=10)),
            (front_places, "stands", wakes_nobody),
        ),
        fleets=True,
    ),
    Mutation(
        "a wave that failures do not stop",
        _of(19),
        replaced=((waves, "_stops", goes_on_after_failures),),
        first_seed=10,
        fleets=True,
    ),
    Mutation(
        "a wave that begins all at once",
        _of(19),
        replaced=((waves, "UNDER_WAY", ("planned",)),),
        fleets=True,
    ),
    Mutation(
        "going back waits for a place",
        _of(17),
        replaced=((workflow, "roll_back", goes_back_with_a_place),),
        first_seed=59,
    ),
    Mutation(
        "a leaked login gets its password back",
        _of(18),
        steps=(("plan", gives_the_leaked_login_back),),
    ),
    Mutation(
        "an incident that cuts where it is to replace",
        _of(18),
        replaced=((incident, "incident", cuts_what_serves),),
    ),
    Mutation(
        "a decision that never arrives",
        _of(9),
        replaced=((approval, "_next_event", waits_for_a_name_nobody_knows),),
    ),
    Mutation(
        "a record that is kept is in no list",
        _of(14),
        replaced=((archive, "write", keeps_in_no_list),),
    ),
)
