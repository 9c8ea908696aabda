"""The client of the task hub, where orchestrations and their statuses are.

It adds three things to the SDK's: it answers within seconds or says that it cannot, it tells an
instance that is not there from one that could not be read, and what it raises is a `RotationError`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from rotation.model.errors import Unavailable
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime

    from azure.durable_functions import DurableOrchestrationClient

T = TypeVar("T")

# Seconds for one call. With its storage away the extension itself gives up after 5 to 7; whoever
# asks is told earlier.
TIMEOUT = 4.0
RETRY_AFTER = 10.0  # seconds


def unavailable(what: str) -> Unavailable:
    """The error where the task hub does not answer; `what` says which wish came to nothing."""
    text = f"{what}: the task hub's storage did not answer; try again in {RETRY_AFTER:.0f} seconds"
    return Unavailable(Code.HUB_UNAVAILABLE, text, retry_after=RETRY_AFTER)


class TaskHub:
    """The task hub: the methods of the SDK's client that this app uses, each with a timeout."""

    def __init__(self, client: DurableOrchestrationClient, timeout: float = TIMEOUT) -> None:
        self._client = client
        self._timeout = timeout

    async def get_status(self, instance_id: str, *, show_input: bool = False) -> Any:
        """The status of an instance; None if the instance is not there. Raises `Unavailable`."""
        call = self._client.get_status(instance_id, show_input=show_input)
        status = await self._read(call, f"{instance_id} could not be looked up")
        if status:
            return status
        # Of an answer 500 the SDK makes a status that is as false as that of an instance which is
        # not there, and that differs by holding what the answer said. An answer 404 says nothing.
        if status is not None and any(vars(status).values()):
            raise unavailable(f"{instance_id} could not be looked up")
        return None

    async def get_status_by(
        self,
        created_time_from: datetime,
        created_time_to: datetime,
        instance_id_prefix: str | None,
        runtime_status: list[Any] | None = None,
    ) -> list[Any]:
        """One page of the statuses of instances created in a span of time; where it is given, of
        those that stand so. Raises `Unavailable`."""
        call = self._client.get_status_by(
            created_time_from=created_time_from,
            created_time_to=created_time_to,
            runtime_status=runtime_status,
            instance_id_prefix=instance_id_prefix,
        )
        page: list[Any] = await self._read(call, "rotations could not be listed")
        return page

    async def start_new(self, name: str, instance_id: str, client_input: object) -> str:
        """Starts an orchestration, and returns its instance id.

        Raises `Unavailable` without an answer, and what the SDK raises of an answer that is a
        refusal: only a look tells whether it is one.
        """
        call = self._client.start_new(name, instance_id, client_input)
        return await self._change(call, f"{instance_id} may not have been started")

    async def raise_event(self, instance_id: str, event_name: str, event_data: object) -> None:
        """Hands an event to an orchestration. Raises as `start_new` does."""
        call = self._client.raise_event(instance_id, event_name, event_data)
        kind = event_name.partition("-")[0]  # decision, cancel or stop
        await self._change(call, f"{instance_id} may not have got the {kind}")

    async def _read(self, call: Awaitable[T], what: str) -> T:
        """The answer to a call that only reads; all that it raises becomes `Unavailable`."""
        try:
            return await asyncio.wait_for(call, self._timeout)
        except Exception as error:
            raise unavailable(what) from error

    async def _change(self, call: Awaitable[T], what: str) -> T:
        """The answer to a call that changes something. Raises as `start_new` does."""
        try:
            return await asyncio.wait_for(call, self._timeout)
        except Exception as error:
            if type(error) is Exception:  # the SDK's own class for an answer that it does not take
                raise
            raise unavailable(what) from error
