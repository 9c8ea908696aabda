"""The contract of workloads that run by schedule: CronJobs and their Jobs, on one cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from rotation.model.targets import CronJobTarget
    from rotation.model.world import CronJob, Pod, StartedJob


class CronJobsReader(Protocol):
    """Looks at CronJobs, and at what they have started."""

    def cron_job(self, target: CronJobTarget) -> CronJob | None:
        """The CronJob as it is now; None if it does not exist."""

    def jobs(self, target: CronJobTarget) -> list[StartedJob]:
        """The Jobs that the CronJob controls, by name: those that have ended and are still there
        too, and those that somebody made from it. Raises `Missing`."""

    def pods(self, target: CronJobTarget) -> list[Pod]:
        """The pods of those Jobs that have not ended, by name. Raises `Missing`."""


class CronJobs(CronJobsReader, Protocol):
    """Changes CronJobs, and no Job: one that runs is left alone.

    A `revision`, which a look at the CronJob had, makes of each verb a compare-and-swap: it raises
    `Unavailable` if the CronJob was changed since. A word on its status is no change. With `by`, a
    rotation's id, annotations and a Kubernetes Event tell who did what.
    """

    def suspend(
        self,
        target: CronJobTarget,
        at: datetime,
        *,
        revision: str | None,
        by: str,
        fence: bool = False,
    ) -> None:
        """Has the CronJob start no Job any more, and notes when; with `fence` that `by` goes back.
        Raises `Missing`."""

    def resume(
        self, target: CronJobTarget, *, revision: str | None, by: str, fence: bool = False
    ) -> None:
        """Has the CronJob start Jobs again: at once the last one that it missed, unless that is
        longer ago than its deadline. Notes `fence` as `suspend` does. Harmless when repeated.
        Raises `Missing`."""

    def equip(
        self,
        target: CronJobTarget,
        *,
        images: dict[str, str],
        version: str | None,
        revision: str | None,
        by: str,
    ) -> None:
        """Sets the images of what it makes Jobs from, and, if there is one, the secret version that
        an annotation of their pods names. Harmless when repeated. Raises `Missing`, `Invalid`."""
