"""The app's functions as the engine calls them: the real orchestrators and activities."""

from __future__ import annotations

import gc
import json
import sys
from collections import namedtuple
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from azure.durable_functions import Orchestrator
from azure.durable_functions.models.DurableOrchestrationStatus import DurableOrchestrationStatus
from azure.durable_functions.models.history import HistoryEvent
from azure.durable_functions.models.TaskOrchestrationExecutor import TaskOrchestrationExecutor
from azure.functions import meta
from azure.functions.durable_functions import ActivityTriggerConverter

from rotation import app
from rotation.steps.catalogue import ACTIVITIES as CATALOGUE
from rotation.steps.running import run
from tests.simulation.client import Client, driven
from tests.simulation.fibers import CutOff

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.engine import Engine
    from rotation.contracts.edges import Edges
    from rotation.steps.running import Implementation
    from tests.simulation.calls import FaultyCalls
    from tests.simulation.fibers import Fibers

ORCHESTRATORS: dict[str, Callable[[str], str]] = {
    function.__name__: Orchestrator.create(function) for function in app.ORCHESTRATORS
}
ACTIVITIES: dict[str, Implementation] = {activity.name: activity for activity in CATALOGUE}


@lru_cache(maxsize=4096)
def parsed(text: str) -> datetime:
    """The time that the SDK reads in a time stamp with dateutil, in a hundredth of the time."""
    return datetime.fromisoformat(text)


def hasten() -> None:
    """Makes the SDK read time stamps with `parsed`: dateutil takes three quarters of a replay."""
    gc.set_threshold(50_000)
    # The package exports a class of the module's own name: this is the module.
    module: Any = sys.modules[HistoryEvent.__module__]
    module.dt_parse = parsed
    statuses: Any = sys.modules[DurableOrchestrationStatus.__module__]
    statuses.dt_parse = parsed
    # The other twentieth is a class that it defines anew for each turn.
    executor: Any = sys.modules[TaskOrchestrationExecutor.__module__]
    executor.namedtuple = lru_cache(namedtuple)


class Program:
    """Implements the engine's `Functions`. Activities run inside of fibers."""

    def __init__(
        self, edges: Edges, engine: Callable[[], Engine], calls: FaultyCalls, fibers: Fibers
    ) -> None:
        self._edges = edges
        self._client = Client(engine, calls)
        self._fibers = fibers
        self.orchestrators = ORCHESTRATORS
        self.activities = ACTIVITIES

    def known(self, kind: Literal["orchestrator", "activity"], name: str) -> bool:
        if kind == "orchestrator":
            return name in self.orchestrators
        return name in self.activities or name in app.BY_CLIENT

    def orchestrator(self, name: str, context: str) -> str:
        return self.orchestrators[name](context)

    def activity(self, name: str, input: str, instance_id: str) -> str:  # noqa: A002, ARG002 - the protocol's
        reference = ActivityTriggerConverter.decode(meta.Datum(input, "json"), trigger_metadata={})
        self._name_fiber(name, reference)
        try:
            answer = self._run(name, reference)
        except CutOff:
            raise TimeoutError(f"{name} ran longer than its function may") from None
        return str(ActivityTriggerConverter.encode(answer, expected_type=None).value)

    def _name_fiber(self, name: str, reference: Any) -> None:
        fiber = self._fibers.current
        if fiber is not None:
            known = json.loads(reference) if isinstance(reference, str) else reference
            fiber.rotation, fiber.activity = known["rotation"], name

    def _run(self, name: str, reference: Any) -> dict[str, Any]:
        if name in app.BY_CLIENT:
            told: dict[str, Any] = driven(app.BY_CLIENT[name](self._edges, self._client, reference))
            return told
        return run(self.activities[name], self._edges, reference)
