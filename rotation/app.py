"""Puts the functions together. `function_app.py` calls this with Azure's edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from collections.abc import Callable

    from rotation.contracts.edges import Edges
    from rotation.model.wire import JsonObject
    from rotation.steps.running import Implementation

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

    # The platform's worker takes plain types only as annotations of a trigger's parameter.
    @functions.function_name(NOTIFY.name)
    @functions.activity_trigger("reference")
    @functions.durable_client_input("client")
    async def notify(reference: dict, client: df.DurableOrchestrationClient) -> dict:  # type: ignore[type-arg]
        return await notify_and_publish(edges, TaskHub(client), reference)

    @functions.function_name(activities.KEEP.name)
    @functions.activity_trigger("reference")
    @functions.durable_client_input("client")
    async def keep_record(reference: dict, client: df.DurableOrchestrationClient) -> dict:  # type: ignore[type-arg]
        return await keeping.keep(edges, TaskHub(client), reference)

    @functions.function_name(STOP_PARTS.name)
    @functions.activity_trigger("reference")
    @functions.durable_client_input("client")
    async def stop_parts(reference: dict, client: df.DurableOrchestrationClient) -> dict:  # type: ignore[type-arg]
        return await stop_each_part(edges, TaskHub(client), reference)

    _places(functions, edges)
    _waves(functions, edges)

    @functions.function_name(TAKE_OVER.name)
    @functions.activity_trigger("reference")
    @functions.durable_client_input("client")
    async def take_over(reference: dict, client: df.DurableOrchestrationClient) -> dict:  # type: ignore[type-arg]
        return await make_way(edges, TaskHub(client), reference)

    return functions


def _waves(functions: df.Blueprint, edges: Edges) -> None:
    """Adds the activities that start and follow the rotations of a wave."""

    @functions.function_name(activities.START_ROTATIONS.name)
    @functions.activity_trigger("reference")
    @functions.durable_client_input("client")
    async def start_rotations(reference: dict, client: df.DurableOrchestrationClient) -> dict:  # type: ignore[type-arg]
        return await waves.begin(edges, TaskHub(client), reference)

    @functions.function_name(activities.FOLLOW_ROTATIONS.name)
    @functions.activity_trigger("reference")
    @functions.durable_client_input("client")
    async def follow_rotations(reference: dict, client: df.DurableOrchestrationClient) -> dict:  # type: ignore[type-arg]
        return await waves.follow(edges, TaskHub(client), reference)

    @functions.function_name(activities.CANCEL_ROTATIONS.name)
    @functions.activity_trigger("reference")
    @functions.durable_client_input("client")
    async def cancel_rotations(reference: dict, client: df.DurableOrchestrationClient) -> dict:  # type: ignore[type-arg]
        return await waves.cancel_each(edges, TaskHub(client), reference)

    @functions.function_name(activities.TELL_WAVE.name)
    @functions.activity_trigger("reference")
    @functions.durable_client_input("client")
    async def tell_wave(reference: dict, client: df.DurableOrchestrationClient) -> dict:  # type: ignore[type-arg]
        return await waves.tell(edges, TaskHub(client), reference)


def _places(functions: df.Blueprint, edges: Edges) -> None:
    """Adds the activities that keep places at things with limits."""

    @functions.function_name(activities.ASK_PLACE.name)
    @functions.activity_trigger("reference")
    @functions.durable_client_input("client")
    async def ask_place(reference: dict, client: df.DurableOrchestrationClient) -> dict:  # type: ignore[type-arg]
        return await places.ask(edges, TaskHub(client), reference)

    @functions.function_name(activities.GRANT_PLACES.name)
    @functions.activity_trigger("reference")
    @functions.durable_client_input("client")
    async def grant_places(reference: dict, client: df.DurableOrchestrationClient) -> dict:  # type: ignore[type-arg]
        return await places.grant(edges, TaskHub(client), reference)

    @functions.function_name(activities.TELL_PLACES.name)
    @functions.activity_trigger("reference")
    @functions.durable_client_input("client")
    async def tell_places(reference: dict, client: df.DurableOrchestrationClient) -> dict:  # type: ignore[type-arg]
        return await places.tell(edges, TaskHub(client), reference)


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
