"""A rotation that waits for a window, through a release and by the real clock; and one outside."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local import engines, world
from local.stack import Options, Stack
from rotation.model.wire import instant
from tests.conftest import QUICK
from tests.e2e.test_rotation import active, codes, ended, started, waiting

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(580 + 5 * engines.slack(engines.selected())),
]

SOON = timedelta(seconds=150)  # longer than a stack takes to start


def window(opens: datetime) -> dict[str, Any]:
    """Two hours from the next full minute on."""
    begins = (opens + timedelta(seconds=59)).replace(second=0, microsecond=0)
    closes = begins + timedelta(hours=2)
    return {"from": f"{begins:%H:%M}", "to": f"{closes:%H:%M}", "zone": "UTC"}


def release(stack: Stack, windows: list[dict[str, Any]]) -> None:
    """The next release of the app has a file with other windows."""
    file = stack.directory / "credentials.yaml"
    document = json.loads(file.read_text(encoding="utf-8"))
    document["credentials"][world.CREDENTIAL]["windows"] = windows
    file.write_text(json.dumps(document, indent=2), encoding="utf-8")
    stack.replace(stack.release)


def awaited(record: dict[str, Any]) -> bool:
    return bool(record["window"] or record["outcome"])


def test_a_rotation_waits_for_its_window_unless_it_is_told_why_not(tmp_path: Path) -> None:
    soon = window(datetime.now(UTC) + SOON)
    options = Options(replicas=1, watch_seconds=2, credential=QUICK | {"windows": [soon]})
    with Stack(tmp_path / "stack", options) as stack:
        before = active(stack)
        rotation = started(stack)
        seen = stack.client.follow(rotation, awaited)
        assert seen["window"]["before"] == "stage"
        assert seen["window"]["text"].startswith("until ")
        assert soon["from"] in seen["window"]["text"]
        release(stack, [soon])  # nobody waits in a process
        record = stack.client.follow(rotation, waiting, timeout=300)
        begun = {step["step"]: step["since"] for step in reversed(record["steps"])}
        assert instant(begun["stage"]) >= instant(seen["window"]["opens"])
        assert stack.client.decide(rotation, "reject").status in {200, 202}
        assert ended(stack, rotation)["outcome"] == "rolled-back"

        release(stack, [window(datetime.now(UTC) + timedelta(hours=5))])
        waits = started(stack)
        stack.client.follow(waits, awaited)
        answer = stack.client.api("POST", f"/rotations/{waits}/cancel", {"by": world.OPERATOR})
        assert answer.status in {200, 202}, answer.json
        assert codes(ended(stack, waits)) == {"cancelled"}
        outside = started(stack, outsideWindow="the password is out")
        record = stack.client.follow(outside, waiting, timeout=150)
        assert record["request"]["outsideWindow"] == "the password is out"
        assert "window" not in {step["step"] for step in record["steps"]}
        assert stack.client.decide(outside, "reject").status in {200, 202}
        assert ended(stack, outside)["outcome"] == "rolled-back"
        assert active(stack) == before
