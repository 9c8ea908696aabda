"""What a custom topic accepts, and how it refuses the rest.

Reference: https://learn.microsoft.com/azure/event-grid/event-schema and
https://learn.microsoft.com/azure/event-grid/cloud-event-schema
"""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from typing import Any

from local.faults import check_cause

LARGEST_BATCH = 1024 * 1024  # bytes
GRID = "EventGridEvent"
CLOUD = "CloudEventV1_0"
GRID_REQUIRED = ("id", "subject", "eventType", "eventTime", "dataVersion")
GRID_KNOWN = {*GRID_REQUIRED, "data", "topic", "metadataVersion"}
CLOUD_REQUIRED = ("id", "source", "type", "specversion")
CLOUD_STRINGS = {*CLOUD_REQUIRED, "subject", "dataschema", "datacontenttype"}
ATTRIBUTE = re.compile(r"[a-z0-9]{1,64}|data_base64")


class PublishError(Exception):
    """A refusal, with the body that Event Grid would send."""

    def __init__(self, status: int, code: str, message: str, detail: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail

    def body(self) -> dict[str, Any]:
        details = [{"code": self.detail, "message": self.message}]
        return {"error": {"code": self.code, "message": self.message, "details": details}}


REJECTED = (
    "Publishing to the topic by client 192.0.2.1 is rejected due to IpAddress filtering rules."
)


def ordered(status: int, cause: str | None) -> dict[str, Any]:
    """The body of a failure that a test ordered; `firewall` is a cause of a 403."""
    check_cause(cause, ["firewall"])
    if cause is not None:
        return PublishError(status, "Forbidden", REJECTED, "Forbidden").body()
    code = {429: "TooManyRequests", 503: "ServiceUnavailable"}.get(status, "InternalServerError")
    return PublishError(status, code, "This failure was ordered.", code).body()


def events(body: bytes, content_type: str, topic: str) -> list[dict[str, Any]]:
    """The events of a request as they are stored and delivered. Raises `PublishError`; then none
    of the batch is accepted."""
    if len(body) > LARGEST_BATCH:
        raise PublishError(
            413,
            "RequestEntityTooLarge",
            f"The batch has {len(body)} bytes; {LARGEST_BATCH} are allowed.",
            "RequestEntityTooLarge",
        )
    cloud = content_type.startswith("application/cloudevents")
    single = content_type == "application/cloudevents+json"
    batch = _decoded(body, CLOUD if cloud else GRID, single=single)
    if cloud:
        return [_cloud_event(event) for event in batch]
    return [_grid_event(event, topic) for event in batch]


def _decoded(body: bytes, schema: str, *, single: bool) -> list[dict[str, Any]]:
    try:
        decoded = json.loads(body)
    except ValueError as error:
        raise _invalid(schema, "The body is not JSON.") from error
    batch = [decoded] if single else decoded
    if not isinstance(batch, list):
        expected, actual = "StartArray", "StartObject" if isinstance(batch, dict) else "a value"
        raise _invalid(schema, f"Token Expected: {expected}, Actual Token Received: {actual}.")
    if not all(isinstance(event, dict) for event in batch):
        raise _invalid(schema, "Every event must be an object.")
    return batch


def _invalid(schema: str, what: str) -> PublishError:
    return PublishError(
        400,
        "BadRequest",
        f"This resource is configured to receive event in '{schema}' schema. "
        f"The JSON received does not conform to the expected schema. {what}",
        "InputJsonInvalid",
    )


def _grid_event(event: dict[str, Any], topic: str) -> dict[str, Any]:
    for name in GRID_REQUIRED:
        _require_string(event, name, GRID, empty=name == "dataVersion")
    unexpected = event.keys() - GRID_KNOWN
    if unexpected:
        raise _invalid(GRID, f"Received unexpected property '{min(unexpected)}'.")
    if event.get("topic") not in (None, "", topic):
        raise _invalid(GRID, "The property 'topic' must be left out.")
    if event.get("metadataVersion") not in (None, "1"):
        raise _invalid(GRID, "The property 'metadataVersion' must be '1' or left out.")
    _require_time(event, "eventTime", GRID)
    return {**event, "topic": topic, "metadataVersion": "1"}


def _cloud_event(event: dict[str, Any]) -> dict[str, Any]:
    for name in CLOUD_REQUIRED:
        _require_string(event, name, CLOUD)
    if event["specversion"] != "1.0":
        raise _invalid(CLOUD, f"specversion is {event['specversion']!r}; it must be '1.0'.")
    for name, value in event.items():
        if not ATTRIBUTE.fullmatch(name):
            raise _invalid(CLOUD, f"Received unexpected property {name!r}.")
        if name in CLOUD_STRINGS and value is not None:
            _require_string(event, name, CLOUD)
    if "time" in event:
        _require_time(event, "time", CLOUD)
    _require_one_payload(event)
    return event


def _require_one_payload(event: dict[str, Any]) -> None:
    encoded = event.get("data_base64")
    if encoded is None:
        return
    if event.get("data") is not None:
        raise _invalid(CLOUD, "An event has 'data' or 'data_base64', not both.")
    try:
        base64.b64decode(encoded, validate=True)
    except (TypeError, ValueError) as error:
        raise _invalid(CLOUD, "The property 'data_base64' is not base64.") from error


def _require_string(event: dict[str, Any], name: str, schema: str, *, empty: bool = False) -> None:
    value = event.get(name)
    if not isinstance(value, str) or not (value or empty):
        raise _invalid(schema, f"The required property '{name}' is missing or no string.")


def _require_time(event: dict[str, Any], name: str, schema: str) -> None:
    try:
        datetime.fromisoformat(str(event[name]))
    except ValueError as error:
        raise _invalid(schema, f"The property '{name}' is no ISO 8601 time.") from error
