"""Ids and names from outside: nothing of them leads a request of ours elsewhere."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from rotation.front import rotations, triggers
from rotation.model.catalogue import Origin

NOW = datetime(2026, 11, 24, tzinfo=UTC)
HOSTILE = [
    "",
    "?",
    "?runtimeStatus=Running",
    "a/b",
    "../orchestrators",
    "..",
    "#",
    "a#b",
    "%2e%2e",
    "a b",
    "a\nb",
    "a\x00b",
    "\ud800",
    "ä",
    "a" * 101,
]


class Untouchable:
    """A durable client that nothing may be asked of."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the durable client was asked: {name}")


@pytest.mark.guarantee(8)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_an_id_that_is_none_finds_nothing_and_asks_nobody(hostile: str) -> None:
    client: Any = Untouchable()
    assert asyncio.run(rotations.find(client, hostile)) is None
    assert asyncio.run(rotations.listing(client, NOW, NOW, hostile)) == []


def test_the_ids_that_are_made_here_are_ids() -> None:
    made = [
        rotations.event_id("orders-db", Origin.NEAR_EXPIRY, "a/b?c", "#"),
        rotations.sweep_id("orders-db", NOW),
        rotations.manual_id("a" * 32, NOW),
        rotations.event_id("a" * 32, Origin.NEAR_EXPIRY, "s", "v"),
    ]
    assert all(rotations.ID.fullmatch(rotation) for rotation in made)


@pytest.mark.parametrize("hostile", [*HOSTILE[:-1], "a" * 128])
@pytest.mark.parametrize("field", ["ObjectName", "Version"])
def test_an_event_with_a_name_that_is_none_announces_nothing(field: str, hostile: str) -> None:
    data = {"Id": "https://kv.example/secrets/s/1", "ObjectName": "s", "Version": "1"}
    found = triggers.read("Microsoft.KeyVault.SecretNearExpiry", {**data, field: hostile})
    assert found == "the event names no secret and version"
