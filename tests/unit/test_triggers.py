"""The triggers as the platform calls them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import azure.functions as func

from rotation.front import triggers
from tests.unit.test_rotations import VAULT, VERSION, Client, accounted, edges

if TYPE_CHECKING:
    import pytest

    from tests.memory import MemoryEdges


def called(memory: MemoryEdges, name: str, given: object, client: Client) -> None:
    """Calls a trigger's function, below the SDK's wrapping of it."""
    (function,) = (
        builder._function.get_user_function()  # noqa: SLF001 - it has no other listing
        for builder in triggers.blueprint(memory)._function_builders  # noqa: SLF001 - as above
        if builder._function.get_function_name() == name  # noqa: SLF001 - as above
    )
    asyncio.run(function.__wrapped__(given, client))


def test_the_timer_sweeps(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    timer: Any = None
    with caplog.at_level("INFO", "rotation"):
        called(edges(orders_blue=1), "sweep", timer, client)
    assert [one["origin"] for one in client.started] == ["sweep"]
    assert accounted(caplog) == ["event.started", "sweep.done", "records.kept"]


def event(data: Any) -> func.EventGridEvent:
    kind = "Microsoft.KeyVault.SecretNearExpiry"
    return func.EventGridEvent(
        id="e-1",
        data=data,
        topic="t",
        subject="s",
        event_type=kind,
        event_time=None,
        data_version="1",
    )


def test_an_event_starts_a_rotation() -> None:
    client = Client()
    location = f"{VAULT}/secrets/orders-blue/{VERSION}"
    data = {"Id": location, "ObjectName": "orders-blue", "Version": VERSION}
    called(edges(orders_blue=20), "on_secret_event", event(data), client)
    assert [one["secret"] for one in client.started] == ["orders-blue"]


def test_an_event_whose_data_is_no_json_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(func.EventGridEvent):
        def get_json(self) -> Any:
            raise ValueError("no JSON")

    given = event({})
    broken = Broken(
        id=given.id,
        data={},
        topic=given.topic,
        subject=given.subject,
        event_type=given.event_type,
        event_time=None,
        data_version="1",
    )
    client = Client()
    with caplog.at_level("INFO", "rotation"):
        called(edges(orders_blue=20), "on_secret_event", broken, client)
    assert accounted(caplog) == ["event.ignored"]
    assert client.started == []


def test_the_other_timer_samples_who_uses_the_logins() -> None:
    memory = edges(orders_blue=80)
    (function,) = (
        builder._function.get_user_function()  # noqa: SLF001 - as above
        for builder in triggers.blueprint(memory)._function_builders  # noqa: SLF001 - as above
        if builder._function.get_function_name() == "sample_usage"  # noqa: SLF001 - as above
    )
    asyncio.run(function(None))
    assert any(what.startswith("database sessions") for what in memory.calls.reads)
    assert memory.store("notes").names("usage/")
