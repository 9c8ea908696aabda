"""Runs an activity: looks up what its reference names, and answers failures as values.

What an activity raises is stored with its text, so an expected failure is answered as a value and
an unexpected one by its type.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import Struct

from rotation import log
from rotation.model import wire
from rotation.model.activities import Nothing, Reference
from rotation.model.errors import ConfigurationError, Failure, RotationError
from rotation.model.reasons import Code
from rotation.steps.conditions import of_today
from rotation.steps.guards import Arriving, Exchange, Leaked, Scheduled, Standby

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.config import Approval, Credential, SlotLogin, Workload
    from rotation.contracts.cron_jobs import CronJobsReader
    from rotation.contracts.edges import Edges, Readers
    from rotation.contracts.jobs import Jobs
    from rotation.contracts.pods import PodsReader
    from rotation.contracts.topic import Topic
    from rotation.contracts.traffic import Traffic
    from rotation.contracts.vault import VaultReader
    from rotation.decisions.windows import Hours
    from rotation.model.activities import Activity
    from rotation.model.targets import DeploymentTarget
    from rotation.model.wire import JsonObject
    from rotation.model.world import Slot

A = TypeVar("A", bound=Struct)


class Step:
    """What one run of an activity works on, looked up from its reference.

    A rotation goes on with the entry that it was planned with, where its reference has one. Raises
    `ConfigurationError` for an entry that cannot be read.
    """

    def __init__(self, edges: Edges, reference: Reference) -> None:
        from rotation.config import kept  # noqa: PLC0415 - a cold start is paid for

        self._file: Readers = edges
        self._kept = kept.read(reference.entry) if reference.entry is not None else None
        self._edges = edges if self._kept is None else edges.planned(self._kept)
        self.reference = reference
        self.rotation = reference.rotation
        self.name = reference.credential

    @property
    def edges(self) -> Readers:
        return self._edges

    @property
    def credential(self) -> Credential:
        return self.edges.configuration.credential(self.name)

    @property
    def approval(self) -> Approval:
        """The rules of approval as the file has them now, or, if it lost the credential, as they
        were kept: somebody who is no approver any more is told nothing and sent no link."""
        credential = self._file.configuration.credentials.get(self.name)
        return (credential or self.credential).approval

    @property
    def hours(self) -> Hours:
        """When its rotations may begin, by the file as it is now: a day that its owner shuts is
        shut at once. As it was kept, where the file lost the credential or cannot be used."""
        return self._now.hours

    @property
    def watched(self) -> tuple[Readers, Credential]:
        """The credential whose conditions count, and the edges to ask by."""
        return of_today(self._file, self.edges, self.name)

    @property
    def changed(self) -> list[str] | None:
        """What the file says by now, and did not when the rotation was planned; None without an
        entry that was kept."""
        from rotation.config import kept  # noqa: PLC0415 - a cold start is paid for

        if self._kept is None:
            return None
        try:
            return kept.changes(self._kept, self._file.configuration)
        except ConfigurationError as error:
            return [f"credentials.yaml: has {len(error.problems)} problem(s) and cannot be used"]

    @property
    def slot(self) -> Slot:
        return _given(self.reference.slot, "slot")

    @property
    def version(self) -> str:
        return _given(self.reference.version, "version")

    @property
    def login(self) -> SlotLogin:
        return self.credential.slots[self.slot]

    @property
    def workload(self) -> Workload:
        return self.credential.workload(_given(self.reference.workload, "workload"))

    @property
    def deployment(self) -> DeploymentTarget:
        """The slot's Deployment in this workload."""
        return self.workload.deployment(self.slot)

    @property
    def vault(self) -> VaultReader:
        return self.edges.vault(self.credential.vault)

    @property
    def pods(self) -> PodsReader:
        return self.edges.pods(self.workload.cluster)

    @property
    def cron_jobs(self) -> CronJobsReader:
        return self.edges.cron_jobs(self.workload.cluster)

    @property
    def traffic(self) -> Traffic:
        """The workload's traffic; each verb that changes it is a compare-and-swap."""
        return self._edges.traffic(self.workload.cluster)

    @property
    def jobs(self) -> Jobs:
        """The Jobs of the workload's tests; the verb that makes one makes each name once."""
        return self._edges.jobs(self.workload.cluster)

    @property
    def standby(self) -> Standby:
        """The verbs that change the slot, for as long as it serves nothing."""
        return Standby(self._edges, self.credential, self.slot, self.rotation)

    @property
    def leaked(self) -> Leaked:
        """The verb that ends the slot's login, whatever it serves, where the file allows it."""
        allowed, version = self.incident == "allowed", self.reference.version
        return Leaked(self._edges, self.credential, self.slot, version, allowed=allowed)

    @property
    def incident(self) -> str:
        """Whether a login that serves may be ended, by the file as it is now. As it was kept, where
        the file lost the credential or cannot be used."""
        return self._now.incident

    @property
    def _now(self) -> Credential:
        """The credential as the file has it now; as it was kept, where that has none."""
        try:
            credential = self._file.configuration.credentials.get(self.name)
        except ConfigurationError:
            credential = None
        return credential or self.credential

    @property
    def arriving(self) -> Arriving:
        """The verbs that change the slot right before this workload's traffic goes there."""
        return Arriving(self._edges, self.workload, self.slot, self.rotation)

    @property
    def exchange(self) -> Exchange:
        """The verbs that change a workload in place; each is a compare-and-swap."""
        return Exchange(self._edges, self.workload, self.slot, self.rotation)

    @property
    def scheduled(self) -> Scheduled:
        """The verbs that change the workload's CronJobs, as long as the switch lets them."""
        return Scheduled(self._edges, self.workload, self.slot, self.rotation)

    def topic(self, endpoint: str) -> Topic:
        return self._edges.topic(endpoint)


T = TypeVar("T")


def _given(value: T | None, name: str) -> T:
    """A value of the reference. Raises `LookupError` if it is not there."""
    if value is None:
        raise LookupError(f"the reference of this activity has no {name}")
    return value


@dataclass(frozen=True)
class Implementation:
    """An activity of the catalogue with the function behind it."""

    name: str
    run: Callable[[Step], Struct | None]


@overload
def implements(activity: Activity[Nothing], run: Callable[[Step], None]) -> Implementation: ...
@overload
def implements(activity: Activity[A], run: Callable[[Step], A]) -> Implementation: ...
def implements(activity: Activity[Any], run: Callable[[Step], Struct | None]) -> Implementation:
    return Implementation(activity.name, run)


def run(activity: Implementation, edges: Edges, reference: object) -> JsonObject:
    """The activity's answer as a value, or `{"error": ...}` for what it raised; logs either."""
    given = wire.read(Reference, reference)
    names = _names(given)
    started = time.monotonic()
    failure: Failure | None = None
    answer: JsonObject = {}
    try:
        answer = wire.value_of(activity.run(Step(edges, given)) or Nothing())
    except RotationError as error:
        failure = error.as_failure()
        log.event(
            "step.failed",
            level=logging.WARNING,
            step=activity.name,
            error=wire.value_of(failure),
            **names,
        )
    except Exception as error:  # noqa: BLE001 - its text may quote anything, so it is not raised on
        failure = _unexpected(activity, error, names)
    seconds = time.monotonic() - started
    log.STEP_SECONDS.record(seconds, {"step": activity.name, "ok": failure is None})
    if failure is not None:
        return {"error": wire.value_of(failure)}
    log.event("step.done", step=activity.name, seconds=round(seconds, 3), **names)
    return answer


def _names(reference: Reference) -> JsonObject:
    """The names in a reference, as fields of a log line."""
    value = wire.value_of(reference)
    value.pop("entry", None)
    return {key: name for key, name in value.items() if isinstance(name, str)}


def _unexpected(activity: Implementation, error: Exception, names: JsonObject) -> Failure:
    """The failure that stands for an unexpected exception, which is logged."""
    kind = type(error).__name__
    log.event(
        "step.unexpected",
        level=logging.ERROR,
        step=activity.name,
        exception=kind,
        where=log.where(error.__traceback__),
        **names,
    )
    text = f"unexpected {kind} in {activity.name}; its log line step.unexpected says where"
    return Failure(Code.UNEXPECTED, text, transient=True, remedy=Code.UNEXPECTED.remedy)
