"""Puts the functions together. `function_app.py` calls this with Azure's edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import azure.durable_functions as df
import azure.functions as func

from rotation import log
from rotation.front import api, keeping, places, triggers, waves
from rotation.front.hub import TaskHub
from rotation.front.parts import tell_to_make_way, tell_to_stop
from rotation.model import activities, wire
from rotation.model.activities import Reference
from rotation.model.errors import RotationError
from rotation.pages import routes as pages
from rotation.steps.catalogue import ACTIVITIES, NOTIFY, STOP_PARTS, TAKE_OVER
from rotation.steps.deadline import in_time
from rotation.steps.running import run
from rotation.story import conditions, workflow, workload
from rotation.story import places as places_story
from rotation.story import waves as waves_story

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from rotation.contracts.edges import Edges
    from rotation.model.wire import JsonObject
    from rotation.steps.running import Implementation

    Answers = Coroutine[Any, Any, JsonObject]
    ByClient = Callable[[Edges, df.DurableOrchestrationClient, object], Answers]

ORCHESTRATORS = (
    workflow.credential,
    workflow.rotation,
    workflow.publish,
    workflow.keep,
    workload.prepare_workload,
    workload.swap_workload,
    workload.swap_back_workload,
    workload.observe_workload,
    workload.retire_workload,
    conditions.watch_conditions,
    places_story.await_place,
    places_story.keep_places,
    waves_story.wave,
)


def build(edges: Edges) -> df.DFApp:
    """The app with all its functions, on these edges. Its `get_functions` works once."""
    log.quiet_sdks()
    app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
    for part in (api.blueprint, pages.blueprint, triggers.blueprint):
        app.register_functions(part(edges))
    app.register_functions(_durable_functions(edges))
    return app


def _durable_functions(edges: Edges) -> df.Blueprint:
    """The functions of the orchestrators and activities, on these edges."""
    functions = df.Blueprint()
    for orchestrator in ORCHESTRATORS:
        name = orchestrator.__name__
        functions.function_name(name)(functions.orchestration_trigger("context")(orchestrator))
    for activity in ACTIVITIES:
        bound = _bound(activity, edges)
        functions.function_name(activity.name)(functions.activity_trigger("reference")(bound))

    for name, does in BY_CLIENT.items():
        with_client = _with_client(name, does, edges)
        bound = functions.durable_client_input("client")(with_client)
        functions.function_name(name)(functions.activity_trigger("reference")(bound))
    return functions


async def make_way(
    edges: Edges, client: df.DurableOrchestrationClient, reference: object
) -> JsonObject:
    """Runs the activity `take_over`, and raises the event by which its rotation makes way."""
    answer = run(TAKE_OVER, edges, reference)  # which asks nobody outside
    about = wire.read(Reference, reference)
    try:
        if about.request is not None:
            await tell_to_make_way(client, about.rotation, about.request)
    except RotationError as error:
        return {"error": wire.value_of(error.as_failure())}
    return answer


async def stop_each_part(
    edges: Edges, client: df.DurableOrchestrationClient, reference: object
) -> JsonObject:
    """Runs the activity `stop_parts`, and raises the event by which its parts stop."""
    answer = run(STOP_PARTS, edges, reference)  # which asks nobody outside
    try:
        await tell_to_stop(client, wire.read(Reference, reference).parts)
    except RotationError as error:
        return {"error": wire.value_of(error.as_failure())}
    return answer


async def notify_and_publish(
    edges: Edges, client: df.DurableOrchestrationClient, reference: object
) -> JsonObject:
    """Runs the activity `notify`, and starts the orchestration that publishes its event, if any,
    and at a rotation's end the one that keeps its record.

    Neither is waited for: a topic or a store that is down delays no rotation.
    """
    answer = run(NOTIFY, edges, reference)  # which asks nobody outside
    event = answer.pop("event", None)
    about = wire.read(Reference, reference)
    try:
        if event is not None and not await client.get_status(event["id"]):
            entry = about.entry
            given = event if entry is None else {"event": event, "entry": entry}
            await client.start_new("publish", event["id"], given)
    except RotationError as error:
        return {"error": wire.value_of(error.as_failure())}
    if about.notice is not None and about.notice.outcome is not None:
        await keeping.start(edges, client, about)
    return answer


def _bound(activity: Implementation, edges: Edges) -> Callable[[JsonObject], JsonObject]:
    """The function of an activity: it takes a reference alone, and ends in time."""

    def bound(reference: dict) -> dict:  # type: ignore[type-arg]
        return in_time(activity, lambda: run(activity, edges, reference))

    bound.__name__ = activity.name
    return bound


def _with_client(name: str, does: ByClient, edges: Edges) -> Callable[..., Answers]:
    """The function of an activity that needs the durable client, whose own timeouts end it."""

    # The platform's worker takes plain types only as annotations of a trigger's parameter.
    async def with_client(reference: dict, client: df.DurableOrchestrationClient) -> dict:  # type: ignore[type-arg]
        return await does(edges, TaskHub(client), reference)

    with_client.__name__ = name
    return with_client


# The activities that look at, start or tell other instances.
BY_CLIENT: dict[str, ByClient] = {
    NOTIFY.name: notify_and_publish,
    STOP_PARTS.name: stop_each_part,
    TAKE_OVER.name: make_way,
    activities.KEEP.name: keeping.keep,
    activities.ASK_PLACE.name: places.ask,
    activities.GRANT_PLACES.name: places.grant,
    activities.TELL_PLACES.name: places.tell,
    activities.START_ROTATIONS.name: waves.begin,
    activities.FOLLOW_ROTATIONS.name: waves.follow,
    activities.CANCEL_ROTATIONS.name: waves.cancel_each,
    activities.TELL_WAVE.name: waves.tell,
}
