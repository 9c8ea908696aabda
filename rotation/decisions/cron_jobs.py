"""Whether a workload's two CronJobs can be exchanged, and when: so that no run is done twice.

A CronJob that is resumed starts at once the last run that it missed, if that is not longer ago than
its `startingDeadlineSeconds`; without one always, however long ago.
https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#starting-deadline
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from rotation.decisions.ownership import named
from rotation.decisions.templates import beyond_containers, listed
from rotation.model.commands import Problem, Thing
from rotation.model.reasons import Code
from rotation.model.targets import CronJobTarget
from rotation.model.words import few
from rotation.model.world import SLOTS, Maker, Slot, other

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from rotation.model.world import CronJob, StartedJob, WorkloadState

# Seconds of `startingDeadlineSeconds`. A run that is due during the swap is made up within it; the
# swap lasts at least as long, if a run has just begun, and traffic moves at the same time.
SHORTEST, LONGEST = 30, 300
ADVISED = 60
# The clock of the cluster's controllers and ours may differ.
CLOCKS = timedelta(seconds=15)
# A controller may have read the CronJob right before it was suspended, and start one more Job.
SETTLING = timedelta(seconds=10)


def target_of(cron_job: CronJob) -> CronJobTarget:
    return CronJobTarget(cron_job.namespace, cron_job.name)


def early(replaced: CronJob, jobs: Iterable[StartedJob], arriving: CronJob, now: datetime) -> float:
    """Seconds until `arriving` may be resumed, where `replaced` is suspended; 0 if it may now.

    The Jobs of `replaced` count too: a status may tell nothing of the last one.
    """
    begun = [job.due for job in jobs if job.due is not None]
    if replaced.last is not None:
        begun.append(replaced.last)
    ends = [replaced.paused + SETTLING] if replaced.paused is not None else []
    if begun and arriving.deadline is not None:
        ends.append(max(begun) + timedelta(seconds=arriving.deadline) + CLOCKS)
    return max(0.0, *((end - now).total_seconds() for end in ends)) if ends else 0.0


def running(jobs: Iterable[StartedJob]) -> list[str]:
    """The names of the Jobs that have not ended, in order."""
    return sorted(job.name for job in jobs if not job.over)


def told(names: Sequence[str]) -> str:
    """Jobs in a text: the first five, and how many there are besides."""
    return f"jobs still running: {few(names) or 'none'}"


def deadline_problem(cron_job: CronJob) -> str | None:
    """What is wrong with a CronJob's starting deadline, with the command that mends it."""
    seconds = cron_job.deadline
    if seconds is not None and SHORTEST <= seconds <= LONGEST:
        return None
    has = "has no startingDeadlineSeconds" if seconds is None else f"has {seconds} of them"
    at = f"CronJob {cron_job.name} {has}, and needs {SHORTEST} to {LONGEST}"
    return f"{at}: {target_of(cron_job).patch('startingDeadlineSeconds', str(ADVISED))}"


def problems(workload: WorkloadState, active: Slot) -> Iterator[Problem]:
    """The problems of a workload's switch and CronJobs."""
    for name, route in workload.productions.items():
        if route is not None and not route.headless:
            text = f"its Service {name} is not headless and without ports"
            text = f"{text}: that of CronJobs is called by nobody"
            yield Problem(Code.SERVICE_CALLED, text, Thing.at("Service", name))
    for slot in SLOTS:
        if workload.cron_jobs.get(slot) is None:
            thing = Thing.at("CronJob", workload.names.slots.get(slot, slot))
            yield Problem(Code.CRON_JOB_MISSING, f"its {slot} CronJob does not exist", thing)
    for slot, makers in workload.makers.items():
        text = f"its Service finds pods with {slot} that are of {named(makers)}"
        thing = Thing.at("Service", workload.at)
        yield Problem(Code.OTHER_KIND, f"{text}, and not of its CronJobs", thing)
    serving, standby = workload.cron_jobs.get(active), workload.cron_jobs.get(other(active))
    if serving is not None and standby is not None:
        yield from _of_both(workload, serving, standby)


def _thing(cron_job: CronJob) -> Thing:
    return Thing("CronJob", cron_job.name, cron_job.namespace, {"advised": str(ADVISED)})


def _of_both(workload: WorkloadState, serving: CronJob, standby: CronJob) -> Iterator[Problem]:
    at_work, aside = _thing(serving), _thing(standby)
    if serving.suspended:
        text = f"its active CronJob {serving.name} is suspended"
        command = target_of(serving).patch("suspend", "false")
        yield Problem(Code.ACTIVE_SUSPENDED, f"{text}; to resume it: {command}", at_work)
    if not standby.suspended:
        text = f"its standby CronJob {standby.name} is not suspended"
        command = target_of(standby).patch("suspend", "true")
        yield Problem(Code.STANDBY_RUNS, f"{text}; to suspend it: {command}", aside)
    for cron_job in (serving, standby):
        problem = deadline_problem(cron_job)
        if problem is not None:
            yield Problem(Code.STARTING_DEADLINE, problem, _thing(cron_job))
    at = f"CronJobs {serving.name} and {standby.name}"
    differing = differing_settings(serving, standby)
    if differing:
        text = f"{at} differ in {', '.join(differing)}"
        yield Problem(Code.SCHEDULES_DIFFER, text, aside)
    lone = (serving.images.keys() ^ standby.images.keys()) - workload.drift.own
    if lone:
        text = f"{at} do not have the same containers: {', '.join(sorted(lone))}"
        yield Problem(Code.CONTAINERS_DIFFER, text, aside)
    paths = beyond_containers(workload.drift.paths)
    if paths and workload.drift.policy == "refuse":
        text = f"the pod templates of {at} differ at {listed(paths)}"
        yield Problem(Code.TEMPLATES_DIFFER, text, aside)


def differing_settings(serving: CronJob, standby: CronJob) -> list[str]:
    """The names of the settings, beside the pods', that two CronJobs do not have in common."""
    names = serving.settings.keys() | standby.settings.keys()
    return sorted(
        name for name in names if serving.settings.get(name) != standby.settings.get(name)
    )


def foreign(makers: Iterable[Maker], own: Iterable[StartedJob]) -> tuple[Maker, ...]:
    """What makes pods, and is none of a workload's own Jobs."""
    known = {job.name for job in own}
    return tuple(each for each in makers if each.kind != "Job" or each.name not in known)
