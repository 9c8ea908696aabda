"""Whether a rollout is finished."""

from __future__ import annotations

from typing import Any

import pytest

from rotation.decisions.rollout import unready
from tests.unit.test_plan import deployment

UNREADY: list[tuple[dict[str, Any], str | None, str]] = [
    ({"observed": False}, None, "the controller has not seen the latest change"),
    ({"version": "v0"}, "v1", "its pods are of secret version v0, not v1"),
    ({"version": None}, "v1", "its pods are of secret version unknown, not v1"),
    ({"updated": 1}, None, "1 of 2 pods are updated"),
    ({"total": 3}, None, "1 earlier pods are still there"),
    ({"ready": 0}, None, "0 of 2 pods are ready"),
]


@pytest.mark.parametrize(("state", "wanted", "reason"), UNREADY)
def test_unready(state: dict[str, Any], wanted: str | None, reason: str) -> None:
    assert unready(deployment("api-blue", **state), wanted) == reason


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ({}, None),
        ({}, "v1"),
        ({"version": None}, None),
        ({"replicas": 0, "ready": 0, "updated": 0, "total": 0}, None),
    ],
)
def test_unready_bad(state: dict[str, Any], wanted: str | None) -> None:
    """A rollout that is finished."""
    assert unready(deployment("api-blue", **state), wanted) is None
