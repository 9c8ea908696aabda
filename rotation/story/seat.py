"""The place that one rotation of a credential has at a time, and how it goes on to an incident.

The credential's orchestration holds it all the time, so that nothing else begins in between. An
incident is raised there as an event; the rotation that runs is told to make way, or comes to its
end by itself; then the incident runs in its place.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec

from rotation.model import activities, wire
from rotation.model.activities import Reference, Retry, Seat
from rotation.model.errors import StepFailed
from rotation.model.record import Request
from rotation.model.world import SLOTS
from rotation.story.hearing import Call, Listening
from rotation.story.progress import document
from rotation.story.retrying import call
from rotation.story.version import since

if TYPE_CHECKING:
    from collections.abc import Callable

    import azure.durable_functions as df

    from rotation.story.retrying import Steps

# It goes on to its own end meanwhile, so that nothing is lost where it cannot be told.
TELLING = Retry(transient=3600.0, refusals=3600.0)


class Heard:
    """What a credential's orchestration hears while a rotation runs: of an incident."""

    def __init__(self, context: df.DurableOrchestrationContext, request: Request) -> None:
        self._context = context
        self._numbers = itertools.count(1)
        self.request = request
        self.next: Request | None = None
        self._event = ""

    def opens(self) -> Any:
        """The next wait, under a new name: in 1.7.0 an event that came before the first wait
        satisfies every later wait of its name."""
        self._event = f"incident-{next(self._numbers)}"
        self.show(self._event)
        return self._context.wait_for_external_event(self._event)

    def counts(self, event: object) -> bool:
        """Whether an event is an incident of this credential's that does not run already."""
        try:
            found = wire.read(Request, document(event))
        except (ValueError, RecursionError):
            return False
        if not found.compromised or found.credential != self.request.credential:
            return False
        if found.rotation == self.request.rotation:
            return False
        self.next = found
        return True

    def show(self, hears: str | None) -> None:
        seat = Seat(rotation=self.request.rotation, hears=hears, next=self.next)
        self._context.set_custom_status(wire.value_of(seat))

    def tell(self) -> Steps[None]:
        """Tells the rotation that runs to make way."""
        self.show(None)
        running = Reference(
            rotation=self.request.rotation, credential=self.request.credential, request=self.next
        )
        try:
            yield from call(self._context, activities.TAKE_OVER, running, TELLING)
        except StepFailed:
            return  # its own end is waited for


def seated(
    context: df.DurableOrchestrationContext,
    request: Request,
    run: Callable[[df.DurableOrchestrationContext, Request], Any],
) -> Steps[Any]:
    """The outcome of what `run` starts, or of the incident that took its place, and so on."""
    if not since(context, "1.2"):
        return (yield run(context, request))
    heard = Heard(context, request)
    while True:
        ears = Listening(context, [Call(heard.opens, heard.counts)], lambda: StepFailed("", ()))
        task = run(context, heard.request)
        try:
            ended = yield from ears.long(task, heard.tell)
        except Exception:
            # Somebody has ended it from outside: the incident is called all the same.
            if heard.next is None:
                raise
            ended = None
        if heard.next is None:
            return ended
        heard.request, heard.next = _of_then(heard.next, ended), None


def _of_then(incident: Request, ended: Any) -> Request:
    """The request of an incident that names no slot: what leaked is what served when the rotation
    began that made way. It may have moved meanwhile, and its new login has not."""
    active = (wire.decoded(ended) or {}).get("active") if ended is not None else None
    if incident.leaked is not None or active not in SLOTS:
        return incident
    return msgspec.structs.replace(incident, leaked=active)
