"""Tests that are Kubernetes Jobs: made once in a phase of a rotation, and waited for.

A Job is made from the template of a suspended CronJob, which names the slot's login as its owner
wrote it. Its name follows from rotation, workload, slot and phase, so that whoever makes it once
more finds it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions.jobs import SLACK, name_of, problem, run_of, unfit, waits
from rotation.model import wire
from rotation.model.activities import Watched
from rotation.model.commands import Thing, told
from rotation.model.errors import Conflict, Invalid, Missing
from rotation.model.reasons import Code, reason
from rotation.model.record import JobRun, TestResult
from rotation.model.targets import CronJobTarget, JobTarget
from rotation.model.world import SLOTS, Job, JobTemplate, JobWanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import Credential, Workload, WorkloadTest
    from rotation.contracts.edges import Readers
    from rotation.model.reasons import Reason
    from rotation.model.world import Routing, Slot
    from rotation.steps.running import Step

DAY = 86400
LONGEST_KEPT = 30 * DAY  # seconds
PHASE = "observe"  # whose Jobs an approver sees


def longest(workload: Workload) -> float:
    """The seconds within which all Jobs of a workload are over, from when they were made; 0 where
    it has none."""
    times = [test.timeout.total_seconds() for test in workload.jobs]
    return max(times) + 2 * SLACK if times else 0.0


def run(step: Step) -> None:
    """Makes the Jobs of the phase, all of them at once.

    Raises `Missing`, `Conflict` for a CronJob that no Job may be made from, and what the edge
    raises.
    """
    workload, name = step.workload, _run(step)
    routing = step.edges.traffic(workload.cluster).routing(workload.namespace)
    for test in workload.jobs:
        template = _template(step.edges, workload, test, step.slot)
        for code, text in unfit(template, routing):
            raise Conflict(code, text)
        wanted = _wanted(step.credential, test, template, step.rotation, name)
        step.jobs.make(_target(workload, test, step.slot, name), wanted)


def await_over(step: Step) -> Watched:
    """Whether all Jobs of the phase have passed, after one bounded watch.

    Raises `Invalid` as soon as one has failed, with its exit code and how to see its log, and
    `Missing` for one that is gone.
    """
    workload, name = step.workload, _run(step)
    wanted = _names(workload, step.slot, name)

    def settled(jobs: list[Job]) -> bool:
        states = {job.name: job.state for job in jobs}
        return "failed" in states.values() or all(states.get(n) != "running" for n in wanted)

    seconds = step.edges.settings.watch_seconds
    seen = {j.name: j for j in step.jobs.watch(workload.namespace, name, settled, seconds)}
    found = _results(workload, step.slot, step.rotation, seen, name)
    failed = [one for one in found if not one.passed and one.code != Code.JOB_OVERDUE]
    if failed:
        told = "; ".join(_told(one) for one in failed)
        gone = all(one.code == Code.JOB_GONE for one in failed)
        kind = Missing if gone else Invalid
        raise kind(
            Code.JOB_GONE if gone else Code.JOB_FAILED,
            f"tests of the {step.slot} slot failed: {told}",
        )
    left = [job for job in seen.values() if job.name in wanted and not job.over]
    return Watched(done=not left, observed="; ".join(waits(job) for job in left))


def results(edges: Readers, workload: Workload, slot: Slot, rotation: str) -> list[TestResult]:
    """What the Jobs have found that ran after traffic came to the slot: they are not run again.

    One that is not there any more has not passed, for all that is known.
    """
    if not workload.jobs:
        return []
    name = run_of(rotation, workload.name, slot, PHASE, None)
    jobs = edges.jobs(workload.cluster).of_run(workload.namespace, name)
    return _results(workload, slot, rotation, {job.name: job for job in jobs}, name)


def problems(edges: Readers, credential: Credential) -> Iterator[Reason]:
    """What keeps Jobs from being made, of either slot, and is found without making one.

    Raises what the edges raise: the API server is asked, so that a right that is missing is found
    before anything has changed.
    """
    for workload in credential.workloads:
        routing: Routing | None = None
        for test in workload.jobs:
            routing = routing or edges.traffic(workload.cluster).routing(workload.namespace)
            for slot in SLOTS:
                against = list(_unfit(edges, workload, test, slot, routing))
                for code, text in against:
                    name = _cron_job(test, slot)
                    thing = Thing("CronJob", name, workload.namespace)
                    yield told(code, f"workload {workload.name}: {text}", thing)
                if not against:
                    _attempt(edges, credential, workload, test, slot)


def _unfit(
    edges: Readers, workload: Workload, test: WorkloadTest, slot: Slot, routing: Routing
) -> Iterator[tuple[Code, str]]:
    try:
        template = _template(edges, workload, test, slot)
    except Missing as error:
        yield error.code, error.message
    else:
        yield from unfit(template, routing)


def _attempt(
    edges: Readers, credential: Credential, workload: Workload, test: WorkloadTest, slot: Slot
) -> None:
    """Has the API server say whether it would make a Job. Raises what it says against it."""
    template = _template(edges, workload, test, slot)
    name = run_of("", workload.name, slot, "attempt", None)
    wanted = _wanted(credential, test, template, "attempt", name)
    target = _target(workload, test, slot, name)
    edges.jobs(workload.cluster).attempt(target, wanted)


def _run(step: Step) -> str:
    """The name of the phase's run of Jobs."""
    reference = step.reference
    phase, version = reference.phase or "", reference.version
    return run_of(step.rotation, step.workload.name, step.slot, phase, version)


def _template(edges: Readers, workload: Workload, test: WorkloadTest, slot: Slot) -> JobTemplate:
    """The slot's CronJob. Raises `Missing` if there is none."""
    target = CronJobTarget(workload.namespace, _cron_job(test, slot))
    found = edges.jobs(workload.cluster).template(target)
    if found is None:
        raise Missing(Code.JOB_TEMPLATE_MISSING, f"CronJob {target} is not there")
    return found


def _cron_job(test: WorkloadTest, slot: Slot) -> str:
    if test.job is None:
        raise LookupError("this test is no Job")
    return test.job.cron_jobs[slot]


def _target(workload: Workload, test: WorkloadTest, slot: Slot, run_name: str) -> JobTarget:
    return JobTarget(workload.namespace, name_of(_cron_job(test, slot), run_name))


def _names(workload: Workload, slot: Slot, run_name: str) -> set[str]:
    return {_target(workload, test, slot, run_name).name for test in workload.jobs}


def _wanted(
    credential: Credential, test: WorkloadTest, template: JobTemplate, rotation: str, run_name: str
) -> JobWanted:
    """The Job as it is made: kept for longer than a decision may take, for its log."""
    kept = int(credential.approval.deadline.total_seconds()) + DAY
    seconds = int(test.timeout.total_seconds())
    return JobWanted(template, rotation, run_name, seconds, min(kept, LONGEST_KEPT))


def _results(
    workload: Workload, slot: Slot, rotation: str, seen: dict[str, Job], run_name: str
) -> list[TestResult]:
    """The results of a run's Jobs, in the order of the file."""
    found = []
    for test in workload.jobs:
        target = _target(workload, test, slot, run_name)
        job = seen.get(target.name)
        ours = job if job is not None and job.rotation == rotation else None
        found.append(_result(_cron_job(test, slot), target, ours))
    return found


def _result(cron_job: str, target: JobTarget, job: Job | None) -> TestResult:
    """A test's result; None is a Job that is not there."""
    if job is None:
        text = f"Job {target} is gone: nobody knows any more how it ended"
        why: Reason | None = reason(Code.JOB_GONE, text)
    else:
        why = problem(job)
    return TestResult(
        test=f"job {cron_job}",
        passed=why is None,
        problem=why.text if why else None,
        attempts=0 if job is None else 1,
        role=None,
        code=why.code if why else None,
        job=JobRun(name=target.name, logs=target.logs) if job is None else _shown(target, job),
    )


def _shown(target: JobTarget, job: Job) -> JobRun:
    return JobRun(
        name=target.name,
        logs=target.logs,
        exit_code=job.exit_code,
        ended=job.ended or job.why,
        began=None if job.began is None else wire.moment(job.began),
        seconds=job.seconds,
    )


def _told(one: TestResult) -> str:
    logs = "" if one.job is None or one.code == Code.JOB_GONE else f"; {one.job.logs}"
    return f"{one.test}: {one.problem}{logs}"
