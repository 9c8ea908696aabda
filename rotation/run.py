"""How an orchestrator takes its steps: retries, waits, fan-out, and the progress it shows.

Retries live here rather than in the SDK's RetryOptions, which know neither back-off nor the
difference between a fault that passes and one that does not.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rotation.errors import StepFailed
from rotation.fitting import fitting
from rotation.model import SLOTS, Slot, other

if TYPE_CHECKING:
    import azure.durable_functions as df

Steps = Generator[Any, Any, Any]

FIRST_DELAY = timedelta(seconds=1)
LONGEST_DELAY = timedelta(minutes=1)
NONE = timedelta()
LONGEST_MESSAGE = 300  # in the custom status, which has 16 KB of UTF-16 for everything
DEFAULT_PATIENCE = timedelta(minutes=10)
# Where there is no way but forward even a refusal is asked about again for this long: a grant may
# be on its way, an answer outdated, and a person would try it once more as well.
INSISTENCE = timedelta(minutes=2)


def decoded(value: Any) -> Any:
    """1.x hands over some values as JSON text, 2.x as what they are."""
    return json.loads(value) if isinstance(value, str) else value


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def delay(number: int, retry_after: float | None) -> timedelta:
    """1 s, 2 s, 4 s ... up to a minute, or longer if the other side asked for that."""
    backed_off: timedelta = min(FIRST_DELAY * 2 ** min(number, 10), LONGEST_DELAY)
    return max(backed_off, timedelta(seconds=retry_after or 0))


def call(
    context: df.DurableOrchestrationContext,
    activity: str,
    reference: dict[str, Any],
    patience: timedelta,
    insistence: timedelta = NONE,
) -> Steps:
    """One activity, repeated while its failures are transient and `patience` lasts.

    Failures that are not are repeated for `insistence`. Returns the activity's value. Raises
    `StepFailed`.
    """
    began = context.current_utc_datetime
    for number in itertools.count():
        answer = yield from attempt(context, activity, reference)
        failure = answer.get("error")
        if failure is None:
            return answer
        pause = delay(number, failure.get("retryAfter"))
        longest = patience if failure["transient"] else insistence
        if context.current_utc_datetime + pause > began + longest:
            raise StepFailed(activity, failure)
        yield context.create_timer(context.current_utc_datetime + pause)
    raise AssertionError("unreachable")


def attempt(
    context: df.DurableOrchestrationContext, activity: str, reference: dict[str, Any]
) -> Steps:
    try:
        return decoded((yield context.call_activity(activity, reference)))
    except Exception:  # noqa: BLE001 - its type differs between 1.x and 2.x
        # Activities answer with their failures: this one was cut off before it could answer.
        message = f"{activity} was cut off (timeout, crash or scale-in); see its log"
        return {"error": {"kind": "cut-off", "message": message, "transient": True}}


def wait(
    context: df.DurableOrchestrationContext,
    activity: str,
    reference: dict[str, Any],
    seconds: float,
    patience: timedelta,
    insistence: timedelta = NONE,
) -> Steps:
    """Repeats a bounded watch until it is `done` or `seconds` are over.

    Returns the last answer, `done` or not.
    """
    deadline = context.current_utc_datetime + timedelta(seconds=seconds)
    while True:
        answer = yield from call(context, activity, reference, patience, insistence)
        if answer["done"] or context.current_utc_datetime >= deadline:
            return answer
        # The watch itself lasts; the pause only keeps one that returns early from spinning.
        yield context.create_timer(context.current_utc_datetime + FIRST_DELAY)


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


class Run:
    """One rotation's progress. `status` is its custom status and, at the end, its output.

    Evidence is too large for a custom status: it goes into the output only.
    """

    def __init__(self, context: df.DurableOrchestrationContext) -> None:
        self.context = context
        self.request: dict[str, Any] = decoded(context.get_input())
        self.policy: dict[str, Any] = {}
        self.workloads: list[str] = []
        self.active: Slot = SLOTS[0]
        self.standby: Slot = SLOTS[1]
        self.version: str | None = None
        self.evidence: dict[str, Any] = {}
        self.notified = 0
        self.status: dict[str, Any] = {
            "rotation": self.request["rotation"],
            "credential": self.request["credential"],
            "request": self.request,
            "stage": "plan",
            "since": self.now,
            "started": self.now,
            "active": None,
            "standby": None,
            "version": None,
            "workloads": {},
            "steps": [],
            "approval": None,
            "decision": None,
            "outcome": None,
            "outcomeReason": None,
        }

    @property
    def now(self) -> str:
        return iso(self.context.current_utc_datetime)

    def begin(self, plan: dict[str, Any]) -> None:
        """Takes over what `plan` decided; orchestrators never read the configuration."""
        self.policy = plan["policy"]
        self.workloads = plan["workloads"]
        self.active = plan["active"]
        self.standby = other(self.active)
        self.status |= {"active": self.active, "standby": self.standby}
        self.status["workloads"] = dict.fromkeys(self.workloads, "planned")

    def reference(self, **more: Any) -> dict[str, Any]:
        """What every activity is told: names only."""
        return {
            "rotation": self.request["rotation"],
            "credential": self.request["credential"],
            **more,
        }

    def patience(self, compensating: bool = False) -> timedelta:
        if not self.policy:
            return DEFAULT_PATIENCE
        key = "compensation" if compensating else "patience"
        return timedelta(seconds=self.policy[key])

    def stage(self, name: str) -> None:
        self.status |= {"stage": name, "since": self.now}
        self.show()

    def show(self) -> None:
        self.context.set_custom_status(fitting(self.status))

    def step(self, activity: str, *, compensating: bool = False, **reference: Any) -> Steps:
        """One activity with retries, recorded with its times."""
        reference = self.reference(**reference)
        insistence = INSISTENCE if compensating else NONE
        steps = call(self.context, activity, reference, self.patience(compensating), insistence)
        return (yield from self._recorded(activity, steps))

    def wait(self, activity: str, seconds: float, **reference: Any) -> Steps:
        """A repeated watch of something that retires, recorded like a step."""
        reference = self.reference(**reference)
        patience = self.patience(compensating=True)
        steps = wait(self.context, activity, reference, seconds, patience, INSISTENCE)
        return (yield from self._recorded(activity, steps))

    def each(self, step: str, orchestrator: str, *, done: str, **reference: Any) -> Steps:
        """One sub-orchestration per workload, all at once.

        Raises `StepFailed` with every workload's failure, after all have ended.
        """
        return (yield from self._recorded(step, self._fan_out(step, orchestrator, done, reference)))

    def _fan_out(self, step: str, orchestrator: str, done: str, reference: dict[str, Any]) -> Steps:
        tasks = [
            self.context.call_sub_orchestrator(
                orchestrator,
                self.reference(workload=name, policy=self.policy, **reference),
                f"{self.request['rotation']}.{step}.{name}",
            )
            for name in self.workloads
        ]
        answers = [decoded(answer) for answer in (yield self.context.task_all(tasks))]
        failures = []
        for name, answer in zip(self.workloads, answers, strict=True):
            failure = answer.get("error")
            self.status["workloads"][name] = "failed" if failure else done
            if failure:
                failures.append(f"workload {name}: {failure['message']}")
        if failures:
            raise StepFailed(step, {"kind": "workloads", "message": "; ".join(failures)})
        return dict(zip(self.workloads, answers, strict=True))

    def notify(self, what: str, **facts: Any) -> Steps:
        """Logs and publishes what happened. A topic that is down delays nothing (`activities`).

        `number` makes the event's id: a repeat of the activity is the same event.
        """
        self.notified += 1
        reference = self.reference(
            type=what, number=self.notified, time=self.now, request=self.request, facts=facts
        )
        try:
            yield from call(self.context, "notify", reference, self.patience(True))
        except StepFailed as failure:
            # Telling is not worth a rotation; the record still says that it was not told.
            self.status["untold"] = [*self.status.get("untold", [])[-4:], failure.message]

    def _recorded(self, step: str, steps: Steps) -> Steps:
        """No `finally`: it would also run when a replay leaves the generator half way."""
        record: dict[str, Any] = {"step": step, "since": self.now, "until": None}
        self.status["steps"].append(record)
        self.show()
        try:
            answer = yield from steps
        except StepFailed as failure:
            message = failure.failure["message"]
            record |= {"until": self.now, "failure": shortened(message)}
            self.show()
            raise
        record["until"] = self.now
        self.show()
        return answer
