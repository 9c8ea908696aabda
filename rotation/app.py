"""Puts the functions together. `function_app.py` calls this with Azure's edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import azure.durable_functions as df
import azure.functions as func

from rotation import activities, api, events, log, workflow, workload
from rotation.pages import routes as pages
from rotation.step import run

if TYPE_CHECKING:
    from rotation.edges import Edges
    from rotation.step import Activity

ORCHESTRATORS = (
    workflow.credential,
    workflow.rotation,
    workflow.publish,
    workload.prepare_workload,
    workload.swap_workload,
    workload.observe_workload,
    workload.retire_workload,
)


def build(edges: Edges) -> df.DFApp:
    """The whole app on these edges. `get_functions` works once on what is returned."""
    log.quiet_sdks()
    app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
    parts = (api.blueprint, pages.blueprint, events.blueprint, _durable)
    for part in parts:
        app.register_functions(part(edges))
    return app


def _durable(edges: Edges) -> df.Blueprint:
    functions = df.Blueprint()
    for orchestrator in ORCHESTRATORS:
        name = orchestrator.__name__
        functions.function_name(name)(functions.orchestration_trigger("context")(orchestrator))
    for activity in activities.ACTIVITIES:
        name = activity.__name__
        bound = _bound(activity, edges)
        functions.function_name(name)(functions.activity_trigger("reference")(bound))

    @functions.function_name("notify")
    @functions.activity_trigger("reference")
    @functions.durable_client_input("client")
    async def notify(
        reference: dict,  # type: ignore[type-arg]  # the platform's worker takes plain types only
        client: df.DurableOrchestrationClient,
    ) -> dict[str, Any]:
        return await told(edges, client, reference)

    return functions


async def told(
    edges: Edges, client: df.DurableOrchestrationClient, reference: dict[str, Any]
) -> dict[str, Any]:
    """Publishing has an orchestration of its own: a topic that is down delays no rotation."""
    answer = run(activities.notify, edges, reference)
    event = answer.pop("event", None)
    if event is not None and not await client.get_status(event["id"]):
        await client.start_new("publish", event["id"], event)
    return answer


def _bound(activity: Activity, edges: Edges) -> Any:
    def bound(reference: dict) -> dict[str, Any]:  # type: ignore[type-arg]  # as for `notify`
        return run(activity, edges, reference)

    bound.__name__ = activity.__name__
    return bound
