"""docs/events: a JSON schema for each type of event, and one for what they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import msgspec

from generate.schemas import Schema, components
from generate.text import document
from rotation.model.catalogue import (
    PREFIX,
    Announcement,
    Outcome,
    WaveAnnouncement,
    announcement_facts,
    ending,
    wave_announcement_facts,
)
from rotation.telling.messages import Event, EventData
from rotation.telling.waves import WaveEvent

if TYPE_CHECKING:
    from rotation.model.wire import JsonObject

DIALECT = "https://json-schema.org/draft/2020-12/schema"
WAVES = "waves.schema.json"
COMMON = "common.schema.json"
ALWAYS = ("waivers", "outsideWindow")  # that any event may have
TERMS = ("serves", "replaced", "deadline", "onDeadline", "gate")
ENDED = ("outcome", "outcomeReason", "reasons")


@dataclass(frozen=True)
class Added:
    """The fields that a type of event has beyond those of all, and those that it may have.

    `narrower`: which values, where not all.
    """

    fields: tuple[str, ...] = ()
    narrower: dict[str, Schema] | None = None
    perhaps: tuple[str, ...] = ()


def added(kind: Announcement) -> Added:
    match kind:
        case Announcement.STARTED:
            return Added()
        case Announcement.COMPROMISED | Announcement.LOGIN_CUT | Announcement.AWAITING_CONFIRMATION:
            return Added(("leak",))
        case Announcement.WAITING_FOR_WINDOW:
            return Added(("window",))
        case Announcement.CONDITION_UNKNOWN | Announcement.CONDITION_BREACHED:
            return Added(("conditions",), {"conditions": {"minItems": 1}})
        case Announcement.WAITING_FOR_PLACE:
            return Added(("place",))
        case Announcement.EXPIRES_BEFORE_WINDOW:
            return Added(("window", "reasons"), {"reasons": {"minItems": 1}})
        case Announcement.AWAITING_APPROVAL:
            return Added((*TERMS, "evidence"))
        case Announcement.REMINDER:
            return Added((*TERMS, "overdue"), perhaps=("evidence",))
        case Announcement.STILL_IN_USE:
            return Added((*TERMS, "sessions"), {"sessions": {"minItems": 1}})
        case Announcement.APPROVED:
            return Added((*TERMS, "decision"), {"decision": _decided("approve")})
        case Announcement.REJECTED:
            return Added((*TERMS, "decision"), {"decision": _decided("reject")})
        case Announcement.CANCELLED:
            return Added(("cancelled",))
        case Announcement.LOGIN_FAILS:
            return Added(("reasons",), {"reasons": {"minItems": 1}})
        case (
            Announcement.COMPLETED
            | Announcement.ROLLED_BACK
            | Announcement.ABORTED
            | Announcement.REFUSED
            | Announcement.NEEDS_ATTENTION
        ):
            return _ended(kind)
        case _:
            assert_never(kind)


def _decided(choice: str) -> Schema:
    return {"properties": {"decision": {"const": choice}}}


def _ended(kind: Announcement) -> Added:
    outcomes = [outcome.value for outcome in Outcome if ending(outcome).announcement is kind]
    return Added(ENDED, {"outcome": {"enum": outcomes}, "reasons": {"minItems": 1}})


def made() -> dict[str, str]:
    """The files of docs/events: names with texts.

    Raises `LookupError` for a field that no type says.
    """
    schemas = {f"{kind}.schema.json": document(_type(kind)) for kind in Announcement}
    unsaid = _optional() - {"recipients", *ALWAYS}
    unsaid -= {field for kind in Announcement for field in added(kind).fields}
    if unsaid:
        raise LookupError(f"no announcement has {sorted(unsaid)}: see `added` in {__name__}")
    waves = {f"{kind}.schema.json": document(_wave_type(kind)) for kind in WaveAnnouncement}
    return {COMMON: document(_common()), WAVES: document(_waves()), **schemas, **waves}


def _waves() -> JsonObject:
    parts = components([WaveEvent], "#/$defs/{name}")
    event = parts["WaveEvent"]
    event["properties"] |= {"topic": {"type": "string"}, "metadataVersion": {"type": "string"}}
    title = "Parts that the events of waves share"
    return {"$schema": DIALECT, "$id": WAVES, "title": title, "$defs": parts}


def _wave_type(kind: WaveAnnouncement) -> JsonObject:
    return {
        "$schema": DIALECT,
        "$id": f"{kind}.schema.json",
        "title": PREFIX + kind,
        "description": wave_announcement_facts(kind).meaning,
        "$ref": f"{WAVES}#/$defs/WaveEvent",
        "properties": {"eventType": {"const": PREFIX + kind}},
    }


def _optional() -> set[str]:
    fields = msgspec.structs.fields(EventData)
    return {field.encode_name for field in fields if not field.required}


def _common() -> JsonObject:
    parts = components([Event], "#/$defs/{name}")
    event, data = parts["Event"], parts["EventData"]
    event["properties"] |= {"topic": {"type": "string"}, "metadataVersion": {"type": "string"}}
    # Those whom no workload accounts for are the only sessions that an event tells of.
    for sessions in (
        data["properties"]["sessions"],
        parts["EvidenceSummary"]["properties"]["stillInUse"],
    ):
        nobodys = {"properties": {"workload": {"type": "null"}}}
        sessions["items"] = {"allOf": [sessions["items"], nobodys]}
    # Each type says which of these it has: see below.
    fields = {f"data.{name}": data["properties"].pop(name) for name in sorted(_optional())}
    title = "Parts that the events share"
    return {"$schema": DIALECT, "$id": COMMON, "title": title, "$defs": {**parts, **fields}}


def _type(kind: Announcement) -> JsonObject:
    says, narrower = added(kind), added(kind).narrower or {}
    optional = (*ALWAYS, *says.perhaps, *(("recipients",) if announcement_facts(kind).asks else ()))
    properties = {name: _field(name, narrower.get(name)) for name in (*says.fields, *optional)}
    data: Schema = {"$ref": f"{COMMON}#/$defs/EventData"}
    if says.fields:
        data["required"] = list(says.fields)
    if properties:
        data["properties"] = properties
    return {
        "$schema": DIALECT,
        "$id": f"{kind}.schema.json",
        "title": PREFIX + kind,
        "description": announcement_facts(kind).meaning,
        "$ref": f"{COMMON}#/$defs/Event",
        "properties": {
            "eventType": {"const": PREFIX + kind},
            "data": {**data, "unevaluatedProperties": False},
        },
    }


def _field(name: str, narrower: Schema | None) -> Schema:
    return {"$ref": f"{COMMON}#/$defs/data.{name}", **(narrower or {})}
