"""Sole importer of OpenTelemetry's SDK and exporters: sends the app's metrics.

Metrics only. The log lines go through the Functions host, which exports them itself; nothing is
instrumented, since spans of requests, queries and calls to a vault would carry what must not leave.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from rotation import __version__, log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from azure.core.credentials import TokenCredential
    from opentelemetry.sdk.metrics.export import MetricsData

INSIGHTS = "APPLICATIONINSIGHTS_CONNECTION_STRING"
OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
# What Application Insights adds up: each export says what was added since the one before.
SINCE_LAST: dict[type, AggregationTemporality] = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}


class Late(MetricExporter):
    """An exporter that is made when it first exports, in the reader's own thread.

    To load it takes longer than the rest of a cold start. Whatever it raises is logged, once until
    it works again: a function neither fails nor waits because telemetry does.
    """

    def __init__(
        self,
        receiver: str,
        make: Callable[[], MetricExporter],
        temporality: dict[type, AggregationTemporality] | None = None,
    ) -> None:
        super().__init__(preferred_temporality=temporality)
        self._receiver = receiver
        self._make = make
        self._made: MetricExporter | None = None
        self._failing = False

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object
    ) -> MetricExportResult:
        try:
            if self._made is None:
                self._made = self._make()
            result = self._made.export(metrics_data, timeout_millis, **kwargs)
            reason = "it was not accepted"
        except Exception as error:  # noqa: BLE001 - it is said below, and ends no more than this export
            result, reason = MetricExportResult.FAILURE, type(error).__name__
        self._log_first_failure(result is MetricExportResult.SUCCESS, reason)
        return result

    def _log_first_failure(self, works: bool, reason: str) -> None:
        """Logs that an export failed, unless the one before failed too."""
        if not works and not self._failing:
            log.event(
                "telemetry.failed", level=logging.WARNING, receiver=self._receiver, reason=reason
            )
        self._failing = not works

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._made is None or self._made.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        if self._made is not None:
            self._made.shutdown(timeout_millis, **kwargs)


def start(environment: Mapping[str, str], credential: Callable[[], TokenCredential]) -> bool:
    """Starts to export metrics, and returns whether it has: not if a provider is set already."""
    if isinstance(metrics.get_meter_provider(), MeterProvider):
        return False
    ca_bundle = environment.get("ROTATION_CA_BUNDLE") or True
    exporters = []
    if environment.get(INSIGHTS):
        name = "Application Insights"
        make = lambda: _insights(environment[INSIGHTS], credential(), ca_bundle)  # noqa: E731
        exporters.append(Late(name, make, SINCE_LAST))
    if environment.get(OTLP):
        exporters.append(Late("OTLP", _otlp))
    readers = [PeriodicExportingMetricReader(exporter) for exporter in exporters]
    metrics.set_meter_provider(MeterProvider(readers, _resource(environment)))
    return True


def _resource(environment: Mapping[str, str]) -> Resource:
    """The resource that metrics are about, with the names that the host's own telemetry has."""
    return Resource.create(
        {
            "service.name": environment.get("OTEL_SERVICE_NAME")
            or environment.get("WEBSITE_SITE_NAME")
            or "credential-rotation",
            "service.version": __version__,
        }
    )


def _insights(
    connection: str, credential: TokenCredential, ca_bundle: str | bool
) -> MetricExporter:
    """An exporter to Application Insights, which signs in by Entra.

    One try and nothing on disk: the next export is a minute away.
    """
    from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter

    return AzureMonitorMetricExporter(
        connection_string=connection,
        credential=credential,
        disable_offline_storage=True,
        retry_total=0,
        connection_verify=ca_bundle,
    )


def _otlp() -> MetricExporter:
    """An exporter by OTLP, whose endpoint, headers and timeout OTEL_EXPORTER_OTLP_* say."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter()
