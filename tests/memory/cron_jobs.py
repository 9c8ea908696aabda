"""CronJobs as far as a rotation sees them: runs that are due, missed, made up, and that last."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rotation.model import world
from rotation.model.world import CronJob, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.memory.clock import Clock

MOST_REFUSED = 3  # Jobs that are kept in mind
KEPT = 10  # Jobs that are kept after their end
EPOCH = datetime(2027, 1, 1, tzinfo=UTC)  # a run is due at each multiple of the period after it


@dataclass
class JobState:
    """A Job; `due` is the time that it was to run at, None for one that somebody made by hand."""

    name: str
    due: datetime | None
    created: datetime
    ends: datetime
    role: str
    password: str | None  # what it was started with
    address: str
    node: str = "172.16.0.4"


@dataclass
class CronJobState:
    """A CronJob; `mount` reads the password that a Job starting now would get.

    `lasts` is how long each of its Jobs runs, `period` the time between two of them, in seconds.
    """

    namespace: str
    name: str
    role: str
    mount: Callable[[], str | None]
    images: dict[str, str]
    created: datetime
    suspended: bool
    labels: dict[str, str] = field(default_factory=dict)
    period: float = 3600.0
    lasts: float = 60.0
    deadline: int | None = 60
    policy: str = "Allow"
    env: dict[str, str] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    version: str | None = None
    paused: datetime | None = None
    fence: str | None = None
    by: str | None = None
    did: str = ""
    last: datetime | None = None
    generation: int = 1
    jobs: list[JobState] = field(default_factory=list)

    @property
    def revision(self) -> str:
        return f"{self.generation}.{self.by}.{self.did}.{self.fence}"

    @property
    def template(self) -> Template:
        app = [{"name": name, "image": image} for name, image in self.images.items()]
        own = {"DATABASE_ROLE": self.role, **self.env}
        app[0] |= {"env": [{"name": name, "value": value} for name, value in own.items()]}  # type: ignore[dict-item]  # as a pod has it
        return Template({"metadata": {"labels": dict(self.labels)}, "spec": {"containers": app}})


class Schedules:
    """The CronJobs of one cluster with their controller.

    `advance` has it act on all that was due until now, in order: whoever looks at CronJobs, or
    changes anything that Jobs depend on, calls it first. `accepts` asks the database.
    """

    def __init__(self, clock: Clock, accepts: Callable[[str, str | None], bool]) -> None:
        self._clock = clock
        self._accepts = accepts
        self._made = 0
        self._seen = clock.now
        self.found: dict[tuple[str, str], CronJobState] = {}
        self._done: set[tuple[object, datetime]] = set()
        self.refused: list[JobState] = []  # that could not log in when they began
        self.both: list[datetime] = []  # when both of a pair were not suspended
        self.wrong: list[tuple[str, str]] = []  # what Jobs do that must not be, with their role
        self.pairs: list[tuple[tuple[str, str], tuple[str, str]]] = []

    def seen(self, found: CronJobState) -> CronJob:
        return CronJob(
            namespace=found.namespace,
            name=found.name,
            suspended=found.suspended,
            deadline=found.deadline,
            alone=found.policy != "Allow",
            images=dict(found.images),
            version=found.version,
            last=found.last,
            paused=found.paused,
            fence=found.fence,
            settings={"concurrencyPolicy": found.policy, "schedule": str(found.period)},
            labels=dict(found.labels),
            template=found.template,
            revision=found.revision,
        )

    def jobs(self, found: CronJobState) -> list[world.StartedJob]:
        now = self._clock.now
        return [world.StartedJob(job.name, job.due, job.ends <= now) for job in found.jobs]

    def pods(self, found: CronJobState) -> list[world.Pod]:
        return [
            world.Pod(f"{job.name}-x", (job.address,), (job.node,), created=job.created, ready=True)
            for job in self._running(found)
        ]

    def sessions(self) -> Iterator[tuple[str, CronJobState, JobState]]:
        """Role, CronJob and Job of each session."""
        for found in self.found.values():
            for job in self._running(found):
                yield job.role, found, job

    def makers(self, namespace: str, labels: dict[str, str]) -> set[world.Maker]:
        return {
            world.Maker("Job", job.name)
            for found in self.found.values()
            if found.namespace == namespace and labels.items() <= found.labels.items()
            for job in self._running(found)
        }

    def _running(self, found: CronJobState) -> list[JobState]:
        return [job for job in found.jobs if job.ends > self._clock.now]

    def advance(self) -> None:
        """Starts what has been due since it was called last."""
        if not self.found:
            return
        due = sorted(
            {
                moment
                for found in self.found.values()
                for moment in _due(found.period, self._seen, self._clock.now)
            }
        )
        for moment in due:
            self.reconcile(moment)
        self._seen = self._clock.now

    def reconcile(self, now: datetime | None = None) -> None:
        """Does what the controller does once something has changed, or a run is due."""
        now = now or self._clock.now
        for found in self.found.values():
            if not found.suspended:
                self._start_missed(found, now)
        for pair in self.pairs:
            if not any(self.found[key].suspended for key in pair if key in self.found):
                self.both = [*self.both[:1], now]

    def _start_missed(self, found: CronJobState, now: datetime) -> None:
        """Starts the last run that was missed: after the last one, and within the deadline."""
        earliest = found.last or found.created
        if found.deadline is not None:
            earliest = max(earliest, now - timedelta(seconds=found.deadline))
        missed = _due(found.period, earliest, now)
        alone = found.policy != "Forbid" or all(job.ends <= now for job in found.jobs)
        if missed and missed[-1] != found.last and alone:
            found.last = missed[-1]
            number = int(missed[-1].timestamp()) // 60
            self.begin(found, f"{found.name}-{number}", missed[-1], now)

    def begin(
        self,
        found: CronJobState,
        name: str,
        due: datetime | None = None,
        now: datetime | None = None,
    ) -> JobState:
        """Starts a Job, by the schedule or by hand."""
        now = now or self._clock.now
        self._made += 1
        ends = now + timedelta(seconds=found.lasts)
        address = f"10.9.{self._made // 250}.{self._made % 250}"
        job = JobState(name, due, now, ends, found.role, found.mount(), address)
        if not self._accepts(job.role, job.password):
            self.refused = [*self.refused[:MOST_REFUSED], job]
            job.ends = now
        past = found.jobs[:-KEPT]
        found.jobs = [*(each for each in past if each.ends > now), *found.jobs[-KEPT:], job]
        self._compare(found, job, now)
        return job

    def _compare(self, found: CronJobState, job: JobState, now: datetime) -> None:
        """Notes what must not be: a run of a pair that is done twice, or one beside another that is
        to be alone."""
        for pair in self.pairs:
            if (found.namespace, found.name) not in pair or job.due is None:
                continue
            if (pair, job.due) in self._done:
                self.wrong.append((job.role, f"{job.name} is the second of {job.due:%T}"))
            self._done.add((pair, job.due))
            others = [self.found[key] for key in pair if key != (found.namespace, found.name)]
            beside = [each.name for one in others for each in one.jobs if each.ends > now]
            if beside and found.policy != "Allow":
                self.wrong.append((job.role, f"{job.name} runs beside {beside[0]}"))


def _due(period: float, after: datetime, until: datetime) -> list[datetime]:
    """When runs are due after a time, and until another one, in order; the last thousand."""
    last = (until - EPOCH).total_seconds() // period
    first = max((after - EPOCH).total_seconds() // period + 1, last - 1000)
    return [EPOCH + timedelta(seconds=n * period) for n in range(int(first), int(last) + 1)]
