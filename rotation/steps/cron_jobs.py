"""The slot's CronJob in one workload: equipped, exchanged with the other one, waited for.

Which slot is active is read from the selector of a headless Service, as of a worker's. `suspend`
follows it: first the CronJob that is left is suspended, then the switch is moved, then the other
one resumed. In between it is waited until that one would start nothing that the first has started:
see `rotation.decisions.cron_jobs`. Jobs that run are waited for, and never ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotation.decisions.cron_jobs import (
    deadline_problem,
    early,
    foreign,
    running,
    target_of,
    told,
)
from rotation.decisions.rollout import shared, without
from rotation.decisions.templates import MOST, beyond_containers, listed
from rotation.model.activities import Moved, Watched
from rotation.model.errors import Conflict, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import (
    SLOTS,
    CronJob,
    Drift,
    Route,
    WorkloadNames,
    WorkloadState,
    other,
)
from rotation.steps.drift import drift, own_containers
from rotation.steps.login import verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rotation.config import Credential, Workload
    from rotation.contracts.edges import Readers
    from rotation.model.world import Maker, Pod, Slot
    from rotation.steps.running import Step

LOOKS = 2.0  # seconds from one look at Jobs to the next


@dataclass(frozen=True)
class Pair:
    """A workload's CronJobs: that of the step's slot, and that which it takes the place of."""

    arriving: CronJob
    left: CronJob


def _pair(step: Step) -> Pair:
    """Raises `Conflict` if one of them is gone."""
    found = {slot: step.cron_jobs.cron_job(step.workload.cron_job(slot)) for slot in SLOTS}
    arriving, left = found[step.slot], found[other(step.slot)]
    if arriving is None or left is None:
        gone = step.workload.cron_job(step.slot if arriving is None else other(step.slot))
        raise Conflict(Code.CRON_JOB_MISSING, f"CronJob {gone} is gone")
    return Pair(arriving, left)


def equip(step: Step) -> None:
    """Gives the standby CronJob the active one's images, and notes the secret version. It stays
    suspended: raises `Conflict` if it is not."""
    pair = _pair(step)
    if not pair.arriving.suspended:
        command = target_of(pair.arriving).patch("suspend", "true")
        text = f"CronJob {pair.arriving.name} is not suspended; to suspend it: {command}"
        raise Conflict(Code.STANDBY_RUNS, text)
    images = shared(pair.left.images, pair.arriving.images)
    step.scheduled.equip(images=images, version=step.version, revision=pair.arriving.revision)


def level(step: Step) -> None:
    """Gives the slot's CronJob, which is about to be resumed, the images that serve."""
    pair = _pair(step)
    images = shared(step.reference.images or pair.left.images, pair.arriving.images)
    step.scheduled.equip(
        images=images, version=pair.arriving.version, revision=pair.arriving.revision
    )


def await_equipped(step: Step) -> Watched:
    """Whether the slot's CronJob is noted to be of the version: nothing has to start."""
    version = _pair(step).arriving.version
    done = step.reference.version in {None, version}
    return Watched(done, f"its Jobs would be of secret version {version or 'unknown'}")


def swap(step: Step) -> Moved:
    """Exchanges the CronJobs, for the slot that the switch is moved to.

    With `level` in the reference it does not go to other images than those that serve.

    Raises `Unavailable` while a run might be done twice, or side by side with one that lasts where
    that is forbidden; `Conflict` if what is resumed might start any run that it missed.
    """
    pair = _pair(step)
    route = _route(step)
    if route.fence == step.rotation:
        text = f"Service {step.workload.switch} is on its way back"
        raise Conflict(Code.SERVES_TRAFFIC, text)
    if route.slot != step.slot:
        _ensure_deadline(pair.arriving)
        own, serving = _images(step, pair)
        _ensure_same_template(step, pair)
        if step.reference.level and own != serving:
            return Moved(released=serving, had=own)
    if pair.arriving.suspended:
        verify(step)
    if not pair.left.suspended:
        step.scheduled.suspend_other(pair.left.revision, back=False)
        pair = _pair(step)
    if pair.arriving.suspended:
        _ensure_no_repeat(step, pair)
        _point(step, route)
        step.scheduled.resume(pair.arriving.revision, back=False)
    return Moved()


def swap_back(step: Step) -> Moved:
    """Exchanges the CronJobs again, for the slot that served before. Raises as `swap` does.

    The switch and both CronJobs are changed in any case: what was prepared before it, and held up,
    comes to nothing. Each CronJob keeps its images: what differs is told.
    """
    pair = _pair(step)
    if pair.arriving.suspended:
        _ensure_deadline(pair.arriving)
    step.traffic.fence(step.workload.switch, step.rotation)
    if not pair.left.suspended or pair.left.fence != step.rotation:
        step.scheduled.suspend_other(pair.left.revision, back=True)
    pair = _pair(step)
    route = _route(step)
    if pair.arriving.suspended or route.slot != step.slot:
        _ensure_no_repeat(step, pair)
    _point(step, route)
    if pair.arriving.suspended or pair.arriving.fence != step.rotation:
        step.scheduled.resume(pair.arriving.revision, back=True)
    own, others = _images(step, pair)
    behind = "" if own == others else f"CronJob {pair.left.name} has other images"
    return Moved(left=behind)


def _route(step: Step) -> Route:
    """The switch. Raises `Conflict` if it is gone."""
    target = step.workload.switch
    route = step.traffic.route(target)
    if route is None:
        raise Conflict(Code.TRAFFIC_ELSEWHERE, f"Service {target} is gone")
    return route


def _point(step: Step, route: Route) -> None:
    """Moves the switch to the slot, as it was seen to be."""
    step.traffic.move(
        step.workload.switch,
        other(step.slot),
        step.slot,
        revision=route.revision,
        by=step.rotation,
    )


def _ensure_deadline(arriving: CronJob) -> None:
    """Raises `Conflict` if a CronJob that is to be resumed might start any run that it missed."""
    problem = deadline_problem(arriving)
    if problem is not None:
        raise Conflict(Code.STARTING_DEADLINE, problem)


def _ensure_no_repeat(step: Step, pair: Pair) -> None:
    """Raises `Unavailable` for as long as the slot's CronJob, resumed, might start a run that the
    other one has started, or one beside another that lasts where either forbids it."""
    jobs = step.cron_jobs.jobs(target_of(pair.left))
    seconds = early(pair.left, jobs, pair.arriving, step.edges.now())
    if seconds > 0:
        text = f"CronJob {pair.arriving.name} is resumed in {seconds:.0f} s: no run is done twice"
        raise Unavailable(Code.RUN_REPEATS, text, retry_after=seconds)
    left = running(jobs)
    if left and (pair.left.alone or pair.arriving.alone):
        text = f"CronJob {pair.arriving.name} is resumed when none runs beside it; {told(left)}"
        raise Unavailable(Code.JOB_RUNS, text)


def _images(step: Step, pair: Pair) -> tuple[dict[str, str], dict[str, str]]:
    """The images of the slot's CronJob and of the other one, but for containers that only one of
    them has and may have."""
    own, others = pair.arriving.images, pair.left.images
    lone = own.keys() ^ others.keys()
    if Code.CONTAINERS_DIFFER not in step.reference.waived:
        lone &= own_containers(step.workload)
    return without(own, lone), without(others, lone)


def _ensure_same_template(step: Step, pair: Pair) -> None:
    """Raises `Conflict` if the pod templates differ by now, unless that is waived or only told."""
    workload = step.workload
    if workload.template != "refuse" or Code.TEMPLATES_DIFFER in step.reference.waived:
        return
    active = other(step.slot)
    found = drift(step.credential, workload, active, {step.slot: pair.arriving, active: pair.left})
    paths = beyond_containers(found.paths)
    if paths:
        at = f"the pod templates of CronJobs {pair.left.name} and {pair.arriving.name}"
        raise Conflict(Code.TEMPLATES_DIFFER, f"{at} differ by now at {listed(paths)}")


def confirm(step: Step, workload: Workload) -> None:
    """Raises `Unavailable` if the CronJob of the slot that serves is gone or suspended."""
    target = workload.cron_job(step.slot)
    found = step.edges.cron_jobs(workload.cluster).cron_job(target)
    if found is None or found.suspended:
        state = "is suspended" if found else "does not exist"
        text = f"CronJob {target} {state}; to resume it: {target.patch('suspend', 'false')}"
        raise Unavailable(Code.ACTIVE_SUSPENDED, text)


def suspend(step: Step) -> None:
    """Sees to it that the slot's CronJob starts nothing any more."""
    found = step.cron_jobs.cron_job(step.workload.cron_job(step.slot))
    if found is not None and not found.suspended:
        step.scheduled.suspend(found.revision)


def await_jobs(step: Step) -> Watched:
    """Whether no Job of the slot's CronJob runs any more, after one bounded watch."""
    suspend(step)
    give_up = step.edges.now().timestamp() + step.edges.settings.watch_seconds
    while True:
        left = running(step.cron_jobs.jobs(step.workload.cron_job(step.slot)))
        if not left or step.edges.now().timestamp() >= give_up:
            return Watched(not left, told(left), code=Code.JOBS_LEFT if left else None)
        step.edges.sleep(LOOKS)


def pods(edges: Readers, workload: Workload) -> dict[Slot, list[Pod]]:
    """The pods of the Jobs that run, by slot."""
    found = edges.cron_jobs(workload.cluster)
    return {slot: found.pods(workload.cron_job(slot)) for slot in SLOTS}


def still_running(edges: Readers, workload: Workload, slot: Slot) -> list[str]:
    """The names of the slot's Jobs that have not ended, none of a workload without CronJobs."""
    if not workload.cron_jobs:
        return []
    return running(edges.cron_jobs(workload.cluster).jobs(workload.cron_job(slot)))


def drift_paths(
    edges: Readers, credential: Credential, workload: Workload, slot: Slot
) -> Sequence[str]:
    """The paths at which the pod templates of the two CronJobs differ, a few of them and then how
    many more there are."""
    found = _found(edges, workload)
    paths = drift(credential, workload, slot, found).paths
    more = [f"and {len(paths) - MOST} more"] if len(paths) > MOST else []
    return [*paths[:MOST], *more]


def _found(edges: Readers, workload: Workload) -> dict[Slot, CronJob | None]:
    """The workload's CronJobs as they are now."""
    cron_jobs = edges.cron_jobs(workload.cluster)
    return {slot: cron_jobs.cron_job(workload.cron_job(slot)) for slot in SLOTS}


def state(edges: Readers, credential: Credential, workload: Workload) -> WorkloadState:
    """The workload as a plan sees it."""
    production = edges.traffic(workload.cluster).route(workload.production)
    found = _found(edges, workload)
    active = next((slot for slot in SLOTS if production and production.slot == slot), None)
    return WorkloadState(
        name=workload.name,
        at=str(workload.production),
        production=production,
        preview=None,
        deployments=dict.fromkeys(SLOTS),
        cluster=workload.cluster,
        drift=drift(credential, workload, active, found) if active else Drift(workload.template),
        uncalled=True,
        makers=_beside(edges, workload, production),
        cron_jobs=found,
        names=WorkloadNames(slots={slot: str(workload.cron_job(slot)) for slot in SLOTS}),
    )


def _beside(
    edges: Readers, workload: Workload, route: Route | None
) -> dict[Slot, tuple[Maker, ...]]:
    """What else than its own Jobs makes pods that the switch finds, by slot."""
    cron_jobs, found = edges.cron_jobs(workload.cluster), {}
    for slot in SLOTS:
        selector = route.selector(slot) if route else None
        target = workload.cron_job(slot)
        if selector and cron_jobs.cron_job(target) is not None:
            makers = edges.pods(workload.cluster).makers(workload.namespace, selector)
            strange = foreign(makers, cron_jobs.jobs(target))
            if strange:
                found[slot] = strange
    return found
