"""Logs one JSON event a line, with the rotation's id, and has the metrics that go with them.

Application Insights gets both: the lines through the Functions host, the metrics from the app
itself, by the exporter of rotation/edges/telemetry.py.
"""

from __future__ import annotations

import json
import logging
import traceback
from typing import TYPE_CHECKING

from opentelemetry import metrics

if TYPE_CHECKING:
    from types import TracebackType

_logger = logging.getLogger("rotation")
_meter = metrics.get_meter("rotation")

OUTCOMES = _meter.create_counter(
    "rotation.outcomes", unit="{rotation}", description="Finished rotations by outcome."
)
WAVES = _meter.create_counter(
    "rotation.waves", unit="{wave}", description="Waves that have ended, by how."
)
STEP_SECONDS = _meter.create_histogram(
    "rotation.step.duration", unit="s", description="Duration of one attempt at a step."
)
EVENTS = _meter.create_counter(
    "rotation.events", unit="{event}", description="Received events by what became of them."
)
FINDINGS = _meter.create_gauge(
    "rotation.credential.findings",
    unit="{finding}",
    description="Findings of a credential's last look by severity.",
)
EXPIRY_DAYS = _meter.create_gauge(
    "rotation.secret.expiry", unit="d", description="Days until the secret that serves expires."
)


def quiet_sdks() -> None:
    """Keeps the SDKs' own lines out of the log.

    They log every request at INFO, bodies at DEBUG, and at WARNING what an identity endpoint wrote
    into its refusal: words of others. What fails is raised, and logged by us in our own words.
    """
    for name in ("azure", "kubernetes", "urllib3", "msal"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def event(name: str, /, *, level: int = logging.INFO, **fields: object) -> None:
    """Logs the event as one line of JSON. A field that is no JSON value is logged as its `str`,
    which masks a `Secret`."""
    _logger.log(level, "%s", json.dumps({"event": name, **fields}, default=str, sort_keys=False))


def where(trace: TracebackType | None) -> list[str]:
    """The frames of a traceback, without the exception's text, which may quote anything."""
    return [
        f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(trace)
    ]
