"""The alerts as a deployment makes them, and which of them fire on given log lines.

The rules are read from the snapshot of the default set-up, which the Bicep compiler keeps true.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.infra.predicted import resources
from tests.telemetry.kql import run

if TYPE_CHECKING:
    from collections.abc import Iterable

# What the queries may read: https://learn.microsoft.com/azure/azure-monitor/reference/tables/traces
TRACES = {
    "timestamp": "datetime",
    "message": "string",
    "severityLevel": "int",
    "itemType": "string",
    "customDimensions": "dynamic",
    "customMeasurements": "dynamic",
    "operation_Name": "string",
    "operation_Id": "string",
    "operation_ParentId": "string",
    "operation_SyntheticSource": "string",
    "session_Id": "string",
    "user_Id": "string",
    "application_Version": "string",
    "cloud_RoleName": "string",
    "cloud_RoleInstance": "string",
    "appId": "string",
    "appName": "string",
    "iKey": "string",
    "sdkVersion": "string",
    "itemId": "string",
    "itemCount": "int",
}
NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
PERIOD = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?")


@dataclass(frozen=True)
class Alert:
    name: str
    query: str
    window: timedelta
    operator: str
    threshold: int
    dimensions: tuple[str, ...]

    def fires(self, rows: list[dict[str, Any]], now: datetime = NOW) -> bool:
        """Over its window: the rows that come out are counted, for each value of its dimensions."""
        seen = [row for row in rows if now - self.window < row["timestamp"] <= now]
        counts: dict[tuple[Any, ...], int] = {} if self.dimensions else {(): 0}
        for row in run(self.query, {"traces": seen}):
            key = tuple(row[name] for name in self.dimensions)
            counts[key] = counts.get(key, 0) + 1
        if self.operator == "LessThan":
            return any(count < self.threshold for count in counts.values())
        assert self.operator == "GreaterThan", self.operator
        return any(count > self.threshold for count in counts.values())


def alerts() -> list[Alert]:
    """Those that read log lines, by their names without the environment's."""
    found = resources("default", "Microsoft.Insights/scheduledQueryRules")
    return [_alert(rule["name"], rule["properties"]) for rule in found]


def _alert(name: str, properties: dict[str, Any]) -> Alert:
    (criterion,) = properties["criteria"]["allOf"]
    assert criterion["timeAggregation"] == "Count"
    return Alert(
        name=name.rpartition("-")[0].removesuffix("-prod"),
        query=criterion["query"],
        window=_duration(properties["windowSize"]),
        operator=criterion["operator"],
        threshold=criterion["threshold"],
        dimensions=tuple(item["name"] for item in criterion.get("dimensions", [])),
    )


def _duration(text: str) -> timedelta:
    days, hours, minutes = (int(part or 0) for part in PERIOD.fullmatch(text).groups())  # type: ignore[union-attr]
    return timedelta(days=days, hours=hours, minutes=minutes)


def row(message: str, at: datetime = NOW) -> dict[str, Any]:
    """A log line as `traces` has it; no query reads another column."""
    return {**dict.fromkeys(TRACES), "timestamp": at, "message": message}


def fired(messages: Iterable[str], at: datetime = NOW) -> set[str]:
    rows = [row(message, at) for message in messages]
    return {alert.name for alert in alerts() if alert.fires(rows)}


def events(messages: Iterable[str]) -> list[str]:
    """The names of the app's own events among the lines."""
    return [json.loads(text)["event"] for text in messages if text.startswith('{"event"')]
