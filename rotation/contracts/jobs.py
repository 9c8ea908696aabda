"""The contract of Jobs that are made from CronJobs, on one cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.model.targets import CronJobTarget, JobTarget
    from rotation.model.world import Job, JobTemplate, JobWanted


class JobsReader(Protocol):
    """Looks at CronJobs, and at the Jobs of a run."""

    def template(self, target: CronJobTarget) -> JobTemplate | None:
        """The CronJob as it is now; None if it does not exist. Raises `Invalid` for what is
        none."""

    def attempt(self, target: JobTarget, wanted: JobWanted) -> None:
        """Has the API server say whether it would make the Job, which it does not: it asks rights,
        admission and quotas. Raises what `make` raises."""

    def of_run(self, namespace: str, run: str) -> list[Job]:
        """The Jobs of a run that are there, by name."""

    def watch(
        self, namespace: str, run: str, until: Callable[[list[Job]], bool], seconds: float
    ) -> list[Job]:
        """The Jobs of a run as soon as `until` holds of them, or after `seconds`."""


class Jobs(JobsReader, Protocol):
    """Makes Jobs. None is ever deleted here: each has a deadline, and goes a while after its
    end."""

    def make(self, target: JobTarget, wanted: JobWanted) -> None:
        """Makes the Job. One of its name that the same rotation has made is it, so that a repeat is
        harmless. Raises `Conflict` for another one of its name, `Missing`, `Invalid`."""
