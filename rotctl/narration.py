"""A rotation as lines, each said once: for the logs of pipelines, which redraw nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rotctl.client import plain
from rotctl.words import (
    cancelled_text,
    decision_text,
    headline,
    progress_text,
    step_text,
    took,
    waits_for_decision,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotctl.words import Record


@dataclass
class Narration:
    """Says what is new in each record that it is given."""

    said: set[str] = field(default_factory=set)
    steps: int = 0

    def new(self, record: Record) -> list[str]:
        """The lines that have not been said yet, in the order in which things happened."""
        fresh = [line for line in self._lines(record) if line not in self.said]
        self.said.update(fresh)
        return fresh

    def _lines(self, record: Record) -> Iterator[str]:
        for number, step in enumerate(record["steps"], 1):
            if step.get("until") is not None:
                name, what = step_text(record, step)
                end = f"failed: {plain(step['failure'])}" if step.get("failure") else what
                yield f"  {number:2} {name}: {end} ({took(step['since'], step['until'])})"
        standing = headline(record)
        if not record.get("outcome") and not waits_for_decision(record):
            yield standing.text
        for step in record["steps"]:
            if step.get("until") is None and step.get("waits"):
                yield f"     {step_text(record, step)[0]} waits: {plain(step['waits'])}"
        for name, progress in record["workloads"].items():
            yield f"     {plain(name)}: {progress_text(progress)}"
        for name, waits in (record.get("waits") or {}).items():
            yield f"     {plain(name)} waits: {plain(waits)}"
        yield from self._end(record)

    def _end(self, record: Record) -> Iterator[str]:
        standing = headline(record)
        asked = [record.get(key) or {} for key in ("before", "approval")]
        for why in (why for one in asked for why in one.get("ignored", [])):
            yield f"a decision did not count: {plain(why)}"
        if waits_for_decision(record):
            yield f"{standing.text}. {standing.asks}"
        let = {"decision": record.get("decidedBefore")}
        for decided in (decision_text(let), decision_text(record), cancelled_text(record)):
            if decided:
                yield decided
        if record.get("outcome"):
            yield standing.text
            if standing.asks:
                yield f"  {standing.asks}"
            for why in record.get("reasons", []):
                if why.get("remedy") and why["remedy"] != "nothing":
                    yield f"  {plain(why['code'])}: {plain(why['remedy'])}"
