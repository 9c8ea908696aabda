"""Jobs that are made from CronJobs, as far as a rotation sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rotation.model.errors import Conflict, Missing
from rotation.model.reasons import Code
from rotation.model.world import Job, JobTemplate, Template

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.model.targets import CronJobTarget, JobTarget
    from rotation.model.world import JobWanted
    from tests.memory.calls import Calls
    from tests.memory.clock import Agenda, Clock

TOOK = 2.0  # seconds that a Job runs, unless it hangs
HANGS = -1  # in the place of an exit code


@dataclass
class Made:
    """A Job with what it was made from; `run` is by label."""

    namespace: str
    run: str
    job: Job


class JobsModel:
    """The CronJobs and Jobs of one cluster. `exits` says how a Job of a CronJob ends, by its name:
    with an exit code, or `HANGS`. `made` are rotation, CronJob and name of all that were ever made,
    in order."""

    def __init__(self, clock: Clock, agenda: Agenda) -> None:
        self._clock, self._agenda = clock, agenda
        self.templates: dict[tuple[str, str], JobTemplate] = {}
        self.exits: dict[str, Callable[[], int]] = {}
        self.jobs: dict[tuple[str, str], Made] = {}
        self.made: list[tuple[str, str, str]] = []

    def provide(self, namespace: str, name: str, exits: Callable[[], int]) -> None:
        """Adds a suspended CronJob."""
        document = {"metadata": {"labels": {"app": "check"}}, "spec": {"containers": []}}
        template = JobTemplate(name, f"uid of {name}", suspended=True, template=Template(document))
        self.templates[namespace, name] = template
        self.exits[name] = exits

    def of_run(self, namespace: str, run: str) -> list[Job]:
        found = [m.job for m in self.jobs.values() if (m.namespace, m.run) == (namespace, run)]
        return sorted(found, key=lambda job: job.name)

    def make(self, target: JobTarget, wanted: JobWanted) -> None:
        key = target.namespace, target.name
        there = self.jobs.get(key)
        if there is not None:
            if there.job.rotation != wanted.rotation:
                text = f"Job {target} is there, and was not made by this rotation"
                raise Conflict(Code.JOB_FOREIGN, text)
            return
        cron_job = wanted.template.name
        if self.templates.get((target.namespace, cron_job)) is None:
            raise Missing(Code.CLUSTER_MISSING, f"CronJob {cron_job} is not there")
        job = Job(target.name, wanted.rotation, "running", began=self._clock.now)
        made = self.jobs[key] = Made(target.namespace, wanted.run, job)
        self.made.append((wanted.rotation, cron_job, target.name))
        self._agenda.add(TOOK, lambda: self._end(made, self.exits[cron_job](), wanted.seconds))

    def _end(self, made: Made, code: int, seconds: int) -> None:
        if code == HANGS:
            self._agenda.add(max(seconds - TOOK, 0.0), lambda: self._over(made, 137))
        else:
            self._over(made, code)

    def _over(self, made: Made, code: int) -> None:
        made.job = replace(
            made.job,
            state="failed" if code else "complete",
            ended_at=self._clock.now,
            exit_code=code,
            why="BackoffLimitExceeded" if code else None,
            ended={0: "Completed", 137: "DeadlineExceeded"}.get(code, "Error"),
        )


class MemoryJobs:
    """Implements `contracts.jobs.Jobs`."""

    def __init__(self, model: JobsModel, calls: Calls, clock: Clock) -> None:
        self._model, self._calls, self._clock = model, calls, clock

    def template(self, target: CronJobTarget) -> JobTemplate | None:
        key = target.namespace, target.name
        what = f"template {target}"
        return self._calls.read("cluster", what, lambda _: self._model.templates.get(key))

    def attempt(self, target: JobTarget, wanted: JobWanted) -> None:
        del wanted
        self._calls.read("cluster", f"attempt {target}", lambda _: None)

    def make(self, target: JobTarget, wanted: JobWanted) -> None:
        what = f"make {target} {wanted.seconds}"
        self._calls.write("cluster", what, lambda: self._model.make(target, wanted))

    def of_run(self, namespace: str, run: str) -> list[Job]:
        what = f"of_run {namespace}"
        return self._calls.read("cluster", what, lambda _: self._model.of_run(namespace, run))

    def watch(
        self, namespace: str, run: str, until: Callable[[list[Job]], bool], seconds: float
    ) -> list[Job]:
        def look(_: float) -> list[Job]:
            return self._model.of_run(namespace, run)

        end = self._clock.after(seconds)
        seen = self._calls.read("cluster", f"watch_jobs {namespace}", look)
        while not until(seen) and self._clock.now < end:
            self._calls.pause(1.0)
            seen = look(0.0)
        return seen
