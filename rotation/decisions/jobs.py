"""Jobs as tests: how they are called, what they may be made from, and what they say."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from rotation.model.reasons import Code, Reason, reason
from rotation.model.words import few

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.model.world import Job, JobTemplate, Routing

# Kubernetes takes 63 characters of a Job's name, and its pods add six of their own.
LONGEST_NAME = 57
DIGEST = 10  # characters
# A pod has its test's time, a Job some more, since a pod that ends by its own deadline leaves its
# log behind; and the story more than both. In seconds.
SLACK = 30


def run_of(rotation: str, workload: str, slot: str, phase: str, version: str | None) -> str:
    """The name of a run of Jobs: another one for each phase, and, where a rotation begins anew, for
    each secret version. It is a label's value."""
    # As a list, so that no two runs make the same text.
    text = repr([rotation, workload, slot, phase, version or ""])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def name_of(cron_job: str, run: str) -> str:
    """The name of a run's Job of a CronJob: the same one whoever makes it, and whenever."""
    digest = hashlib.sha256(repr([cron_job, run]).encode()).hexdigest()[:DIGEST]
    begins = cron_job[: LONGEST_NAME - DIGEST - 1].rstrip("-.")
    return f"{begins}-{digest}"


def unfit(template: JobTemplate, routing: Routing) -> Iterator[tuple[Code, str]]:
    """A code and a text for each reason why no Job may be made from a CronJob, now: `routing` is
    all that leads traffic to pods of its namespace."""
    if not template.suspended:
        text = f"CronJob {template.name} is not suspended: it would run by itself"
        yield Code.JOB_NOT_SUSPENDED, text
    if template.pods != 1:
        text = f"CronJob {template.name} asks for several pods, or none, for each of its Jobs"
        yield Code.JOB_TEMPLATE, text
    labels = template.labels.items()
    found = sorted(
        service.name
        for service in routing.services
        if service.selector and service.selector.items() <= labels
    )
    if found:
        names = few(found)
        text = f"pods of CronJob {template.name} would get requests: Service {names} finds them"
        yield Code.JOB_CALLED, text


def problem(job: Job) -> Reason | None:
    """Why a Job that is over has not passed, if it has not."""
    match job.state:
        case "complete":
            return None
        case "running":
            return reason(Code.JOB_OVERDUE, "it is not over yet")
        case _:
            return reason(Code.JOB_FAILED, _ending(job))


def _ending(job: Job) -> str:
    """How a Job failed, in a sentence's end."""
    took = "" if job.seconds is None else f" after {job.seconds} s"
    if job.exit_code is not None:
        word = f" ({job.ended})" if job.ended not in {None, "Error", "Completed"} else ""
        return f"exit code {job.exit_code}{word}{took}"
    words = [word for word in (job.why, job.ended, job.waiting) if word is not None]
    return f"{', '.join(words) or 'it failed'}{took}"


def waits(job: Job) -> str:
    """What a Job that is not over does."""
    return f"Job {job.name} {job.waiting or 'runs'}"
