"""Records that the release before typed ones wrote stay readable.

The files are statuses as the durable client showed them then. They lack `reasons`, a step's `code`
and `knownAs`; nothing may be asked of them that they do not have.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.durable_functions.models.DurableOrchestrationStatus import DurableOrchestrationStatus

from rotation.front.rotations import awaited, describe, listing, waits, why_not
from rotation.model import wire
from rotation.model.catalogue import Outcome
from rotation.model.reasons import Code
from rotation.pages import timeline, views
from tests.unit.people import NOW

if TYPE_CHECKING:
    from rotation.model.record import ShownRecord

FILES = sorted((Path(__file__).parent / "records").glob("*.json"))
OUTCOMES = {
    "aborted": "prepare: workload api: start: it is refused",
    "completed": "approved by grace@contoso.example",
    "needs-attention": "stage: it is refused; taking the standby slot down failed: "
    "deactivate: it is refused",
    "refused": "workload api: its preview Service does not exist",
    "rolled-back": "rejected by grace@contoso.example",
    "skipped": "secret orders-db-blue is not due before 2027-03-02",
    "waiting": None,
}
written = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])


def kept(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def status(document: dict[str, Any]) -> Any:
    return DurableOrchestrationStatus.from_json(document)


def shown(file: Path) -> ShownRecord:
    return describe(status(kept(file)))


def test_there_is_a_record_of_each_kind() -> None:
    assert {file.stem for file in FILES} == set(OUTCOMES)


@written
def test_its_outcome_and_why_are_read(file: Path) -> None:
    record = shown(file)
    assert record.outcome == (None if file.stem == "waiting" else file.stem)
    assert record.outcome_reason == OUTCOMES[file.stem]
    assert record.reasons == []


@written
def test_nothing_of_it_is_lost(file: Path) -> None:
    """What is shown holds every field that was written, as it was."""
    document = kept(file)
    before = document["output"] or document["customStatus"]
    assert lost(before, wire.value_of(shown(file))) == []


def lost(before: Any, now: Any, path: str = "") -> list[str]:
    """Paths of what is in `before`, and in `now` not or not the same."""
    pairs: dict[Any, tuple[Any, Any]] = {}
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = {key: (value, now.get(key)) for key, value in before.items()}
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = dict(enumerate(zip(before, now, strict=True)))
    elif before != now:
        return [f"{path}: {before!r} became {now!r}"]
    return [found for key, pair in pairs.items() for found in lost(*pair, f"{path}.{key}")]


def test_a_loss_would_be_found() -> None:
    before = {"steps": [{"step": "plan", "until": "12:00"}], "outcome": None}
    now = {"steps": [{"step": "plan"}], "outcome": None, "reasons": []}
    assert lost(before, now) == [".steps.0.until: '12:00' became None"]


@written
def test_pages_show_it(file: Path) -> None:
    record = shown(file)
    assert views.headline(record).title
    lines = timeline.timeline(record, NOW)
    assert [line.name for line in lines]
    assert len([line for line in lines if line.state == "failed"]) == len(
        [step for step in record.steps if step.failure]
    )


def test_one_that_waits_can_be_decided() -> None:
    record = shown(FILES[0].with_name("waiting.json"))
    assert waits(record)
    assert awaited(record) == "decision-2"
    assert why_not(record).endswith("asked for this rotation and may not approve it")


class Hub:
    """A task hub of old records, one of which is damaged."""

    async def get_status_by(self, **_: Any) -> list[Any]:
        documents = [{**kept(file), "instanceId": f"r-{n}"} for n, file in enumerate(FILES)]
        documents[0]["output"]["stage"] = 7
        return [status(document) for document in documents]


def test_one_that_is_damaged_hides_no_other() -> None:
    hub: Any = Hub()
    found = asyncio.run(listing(hub, NOW, NOW + timedelta(days=1)))
    assert len(found) == len(FILES)
    damaged = [record for record in found if record.reasons]
    assert [reason.code for record in damaged for reason in record.reasons] == [Code.UNREADABLE]
    assert [record.outcome for record in damaged] == [Outcome.NEEDS_ATTENTION]
    assert damaged[0].outcome_reason == "its record cannot be read by this release"
    left = {file.stem for file in FILES[1:]} - {"waiting"}
    assert {record.outcome for record in found if record.outcome and not record.reasons} == left
