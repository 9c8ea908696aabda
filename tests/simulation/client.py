"""The durable client of azure-functions-durable, answered by the engine without HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from azure.durable_functions.models.DurableOrchestrationStatus import DurableOrchestrationStatus

from local.engine import EngineError
from tests.simulation.fibers import Broken

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import datetime

    from local.engine import Engine
    from tests.simulation.calls import FaultyCalls


class Client:
    """A durable client; `calls` None: for a person's look, which takes no time and never fails."""

    def __init__(self, engine: Callable[[], Engine], calls: FaultyCalls | None) -> None:
        self._engine = engine
        self._calls = calls

    async def get_status(
        self, instance_id: str, show_input: bool = False, **_: object
    ) -> DurableOrchestrationStatus:
        def effect(_: float) -> dict[str, object] | None:
            return self._engine().status(instance_id, show_input=show_input)

        if self._calls is None:
            found = effect(0.0)
        else:
            found = self._calls.read("client", f"status {instance_id}", effect)
        return DurableOrchestrationStatus.from_json(found or {})

    async def get_status_by(
        self,
        created_time_from: datetime,
        created_time_to: datetime,
        instance_id_prefix: str | None,
        runtime_status: list[Any] | None = None,
    ) -> list[DurableOrchestrationStatus]:
        def effect(_: float) -> list[dict[str, object]]:
            known, _token = self._engine().query(
                runtime_status=runtime_status and [each.name for each in runtime_status],
                created_from=created_time_from,
                created_to=created_time_to,
                prefix=instance_id_prefix,
                top=10_000,
            )
            # What is not asked for by its state is rotations; the SDK takes long to read others.
            return [one for one in known if runtime_status or one["name"] in ("rotation", "wave")]

        page = effect(0.0) if self._calls is None else self._calls.read("client", "list", effect)
        return [DurableOrchestrationStatus.from_json(one) for one in page]

    async def start_new(
        self, name: str, instance_id: str | None = None, client_input: object = None
    ) -> str:
        started: str = self._write(
            f"start {name} {instance_id}",
            lambda: self._engine().start(name, instance_id, json.dumps(json.dumps(client_input))),
        )
        return started

    async def raise_event(self, instance_id: str, event: str, data: object = None) -> None:
        # The SDK encodes the data, and the platform encodes that text once more.
        encoded = json.dumps(json.dumps(data))
        self._write(
            f"raise {event} {instance_id}",
            lambda: self._engine().raise_event(instance_id, event, encoded),
        )

    def _write(self, verb: str, effect: Callable[[], Any]) -> Any:
        try:
            return effect() if self._calls is None else self._calls.write("client", verb, effect)
        except EngineError as error:
            # The SDK raises nothing but bare exceptions.
            raise Exception(str(error)) from error  # noqa: TRY002


def driven(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine whose awaits never suspend: the fiber under it does."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise Broken("the coroutine waits for something that the simulation does not provide")
