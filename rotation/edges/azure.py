"""Opens the edges on Azure: each once per process, with its connection pool and token cache.

The modules behind them are imported on first use, because their SDKs would cost every cold start
half a second.
"""

from __future__ import annotations

import copy
import logging
import time
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from rotation import log
from rotation import settings as app_settings
from rotation.clouds import named
from rotation.edges import threads
from rotation.model.errors import ConfigurationError, Invalid, Missing
from rotation.model.reasons import Code
from rotation.model.targets import SecretTarget
from rotation.model.world import PLAIN
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rotation import config
    from rotation.contracts.access import AccessReader
    from rotation.contracts.cron_jobs import CronJobs
    from rotation.contracts.database import Database, Entrance
    from rotation.contracts.jobs import Jobs
    from rotation.contracts.pods import Pods
    from rotation.contracts.store import Container, Store
    from rotation.contracts.topic import Topic
    from rotation.contracts.traffic import Traffic
    from rotation.contracts.vault import Vault
    from rotation.edges.cluster.client import Api
    from rotation.edges.identity import Identity
    from rotation.model.world import Answer, Manner
    from rotation.settings import Settings

T = TypeVar("T")

RECEIVERS = ("APPLICATIONINSIGHTS_CONNECTION_STRING", "OTEL_EXPORTER_OTLP_ENDPOINT")
# Settings by which the platform's worker sends telemetry of its own. The host then no longer takes
# over the app's log lines, which every alert reads.
WORKER_TELEMETRY = ("PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY", "PYTHON_ENABLE_OPENTELEMETRY")


class AzureEdges:
    """Implements `contracts.edges.Edges`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._vaults: dict[str, Vault] = {}
        self._databases: dict[str, Database] = {}
        self._apis: dict[str, Api] = {}
        self._topics: dict[str, Topic] = {}
        self._stores: dict[Container, Store] = {}
        self._read: config.Configuration | None = None
        self.file = self  # the edges that read the file, where these go on with what was kept
        self.kept: config.Configuration | None = None

    def report(self) -> None:
        """Starts to send metrics to the receivers that the environment names, if it names any.

        Raises nothing: what goes wrong is logged. Loads nothing if there is no receiver.
        """
        for setting in WORKER_TELEMETRY:
            if self._environment.get(setting, "").lower() in {"1", "t", "true", "y", "yes"}:
                _log_conflict(f"{setting} is set: the host drops the app's log lines; remove it")
        if not any(self._environment.get(receiver) for receiver in RECEIVERS):
            return
        from rotation.edges import telemetry

        try:
            started = telemetry.start(self._environment, lambda: self.identity.bare)
        except ValueError as error:  # of one of OpenTelemetry's own settings
            log.event("telemetry.failed", level=logging.WARNING, reason=str(error))
            return
        if not started:
            _log_conflict("a meter provider is set already: the app adds no second one")

    @cached_property
    def settings(self) -> Settings:
        return app_settings.parse(self._environment)

    def planned(self, configuration: config.Configuration) -> AzureEdges:
        """The same edges, connections and tokens included, with this configuration."""
        twin = copy.copy(self)
        twin.kept = configuration
        return twin

    @property
    def configuration(self) -> config.Configuration:
        if self.kept is not None:
            return self.kept
        from rotation import config

        configuration = config.load(self.settings.config)
        if configuration is not self._read:
            self._read = configuration
            _log_doubts(configuration)
        return configuration

    @cached_property
    def identity(self) -> Identity:
        if self.file is not self:
            return self.file.identity
        from rotation.edges.identity import Identity

        # Metrics are sent with it, of an app whose settings are wrong as well.
        cloud = named(self._environment.get("ROTATION_CLOUD"))
        return Identity(self._environment, cloud.authority)

    def vault(self, url: str) -> Vault:
        from rotation.edges.vault import KeyVault

        self._ensure_ours(url, self.settings.cloud.vault_hosts)
        if url not in self._vaults:
            self._vaults[url] = KeyVault(
                url, self.identity.credential, self.settings.ca_bundle, self.identity.forget
            )
        return self._vaults[url]

    def database(self, credential: config.Credential) -> Database:
        """The server of a credential.

        Its admin's password or token is fetched anew for each connection.
        """
        return self._server(credential, credential.database.host, credential.database.port)

    def replicas(self, credential: config.Credential) -> list[Database]:
        return [self._server(credential, *at) for at in credential.database.reads_from]

    def endpoint(self, credential: config.Credential) -> Entrance | None:
        front = credential.database.front
        return None if front is None else self._opened(credential, front)

    def _server(self, credential: config.Credential, host: str, port: int) -> Database:
        at = credential.database.model_copy(update={"host": host, "port": port})
        return self._opened(credential, at)

    def _opened(self, credential: config.Credential, at: config.Database) -> Database:
        from rotation.edges.database.server import PostgreSQL

        key = f"{credential.vault} {at.model_dump_json()}"
        if key not in self._databases:
            self._databases[key] = PostgreSQL(
                at,
                lambda: self._admin_password(credential, at.host),
                lambda: self._refused(credential),
            )
        return self._databases[key]

    def _admin_password(self, credential: config.Credential, host: str) -> Secret:
        """The password of the credential's admin, or, if no secret has one, an Entra token."""
        admin = credential.database.admin
        if admin.secret is None:
            self._ensure_trusted(host)
            return self.identity.token(self.settings.cloud.postgresql)
        vault = self.vault(admin.vault or credential.vault)
        return vault.value(SecretTarget(admin.secret))

    def _refused(self, credential: config.Credential) -> None:
        """Forgets the admin's token, which the server refused; a password is read each time."""
        if credential.database.admin.secret is None:
            self.identity.forget()

    def _ensure_trusted(self, host: str) -> None:
        """Raises `Invalid` for a server that may not get the app's Entra token.

        The file says where to connect, and whoever may write it would get the token.
        """
        name = host.lower().rstrip(".")
        cloud, listed = self.settings.cloud, self.settings.database_hosts
        if not name.endswith(cloud.postgresql_hosts) and name not in listed:
            text = f"the app's Entra token is not sent to {host}: it is no server of {cloud.name}"
            raise Invalid(Code.DATABASE_HOST, f"{text}; {Code.DATABASE_HOST.remedy}")

    def _ensure_ours(self, url: str, hosts: str) -> None:
        """Raises `Invalid` for a host that may not get the app's Entra token.

        What a rotation was planned with comes from the task hub, and whoever can write there must
        not choose who gets a token: it goes to the cloud's own hosts, and to what the file names.
        """
        host = (urlsplit(url).hostname or "").rstrip(".")
        if self.kept is None or host.endswith(hosts) or url in self.file.named():
            return
        text = f"the app's Entra token is not sent to {url}: the rotation was planned with it"
        raise Invalid(Code.ENTRY_HOST, f"{text}, and credentials.yaml does not name it any more")

    def named(self) -> set[str]:
        """The URLs of vaults, API servers and metrics in the file; none where it cannot be
        read."""
        try:
            today = self.configuration
        except ConfigurationError:
            return set()
        credentials = today.credentials.values()
        vaults = {url for one in credentials for url in (one.vault, one.database.admin.vault)}
        servers = {cluster.server for cluster in today.clusters.values()}
        metrics = {
            condition.prometheus.url
            for one in credentials
            for condition in one.conditions
            if condition.prometheus is not None
        }
        return {url for url in vaults | servers | metrics if url}

    def traffic(self, cluster: str) -> Traffic:
        from rotation.edges.cluster.services import Services

        return Services(self._api(cluster))

    def cron_jobs(self, cluster: str) -> CronJobs:
        from rotation.edges.cluster.cron_jobs import ScheduledJobs

        return ScheduledJobs(self._api(cluster))

    def pods(self, cluster: str) -> Pods:
        from rotation.edges.cluster.deployments import Deployments

        return Deployments(self._api(cluster))

    def jobs(self, cluster: str) -> Jobs:
        from rotation.edges.cluster.jobs import KubernetesJobs

        return KubernetesJobs(self._api(cluster))

    def access(self, cluster: str) -> AccessReader:
        from rotation.edges.cluster.access import Access

        return Access(self._api(cluster))

    def _api(self, cluster: str) -> Api:
        """The client of a cluster's API server."""
        from rotation.edges.cluster.client import Api

        settings, cloud = self.configuration.clusters[cluster], self.settings.cloud
        if settings.server is not None:
            self._ensure_ours(settings.server, cloud.cluster_hosts)
        # The file may call another cluster by the name that a rotation was planned with.
        key = f"{cluster} {settings.model_dump_json()}"
        if key not in self._apis:
            self._apis[key] = Api(
                cluster,
                settings,
                lambda: self.identity.token(cloud.clusters),
                lambda: self.identity.forget(),  # noqa: PLW0108 - made when it is first needed
            )
        return self._apis[key]

    def topic(self, endpoint: str) -> Topic:
        from rotation.edges.topic import EventGridTopic

        if endpoint not in self._topics:
            scope = self.settings.cloud.topics
            self._topics[endpoint] = EventGridTopic(
                endpoint,
                self.identity.credential,
                scope,
                self.settings.ca_bundle,
                self.identity.forget,
            )
        return self._topics[endpoint]

    def store(self, container: Container) -> Store:
        at = self.settings.storage
        if at is None:
            code = Code.STORAGE_UNSET
            raise Missing(code, f"the app has no storage account of its own: {code.remedy}")
        if container not in self._stores:
            from rotation.edges.store import BlobStore

            self._stores[container] = BlobStore(
                at,
                container,
                self.identity.credential,
                self.settings.ca_bundle,
                self.identity.forget,
            )
        return self._stores[container]

    def fetch(
        self, url: str, timeout: float, manner: Manner = PLAIN, authority: str | None = None
    ) -> Answer:
        from rotation.edges.web import fetch

        return fetch(url, timeout, manner, authority)

    def measure(self, condition: config.Condition, timeout: float) -> list[float]:
        from rotation.edges import monitor, prometheus

        cloud, at = self.settings.cloud, condition.prometheus
        if at is None:
            if condition.azure_monitor is None:
                raise LookupError(f"condition {condition.name} has no source")
            token = self.identity.token(cloud.logs)
            where, bundle = cloud.logs_endpoint, self.settings.ca_bundle
            return monitor.values(
                condition.azure_monitor, where, self.fetch, token, timeout, bundle
            )
        self._ensure_named(at.url)
        return prometheus.values(at, self.fetch, self._metrics_token(at), timeout)

    def _ensure_named(self, url: str) -> None:
        """Raises `Invalid` for the URL of metrics that the file does not name: what a rotation was
        planned with comes from the task hub."""
        if self.kept is not None and url not in self.file.named():
            text = f"{url} is not asked for metrics: the rotation was planned with it"
            raise Invalid(
                Code.ENTRY_HOST, f"{text}, and credentials.yaml does not name it any more"
            )

    def _metrics_token(self, at: config.Prometheus) -> Secret | None:
        """The token that a Prometheus server gets: the app's own if it is one of Azure Monitor's,
        or else that of a file, which is read each time. Raises `Missing`."""
        host, cloud = (urlsplit(at.url).hostname or "").rstrip("."), self.settings.cloud
        if host.endswith(cloud.prometheus_hosts) and at.url.startswith("https:"):
            return self.identity.token(cloud.prometheus)
        if at.token is None:
            return None
        code, folder = Code.METRICS_TOKEN, self.settings.tokens
        if folder is None:
            raise Missing(code, f"no token for {at.url}: ROTATION_TOKENS is not set")
        try:
            text = Path(folder, at.token).read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            kind = type(error).__name__
            raise Missing(code, f"no token for {at.url}: file {at.token}: {kind}") from None
        if not text or len(text.split()) != 1:
            raise Missing(code, f"no token for {at.url}: file {at.token} has not one word")
        return Secret(text)

    def trusts(self, authority: str) -> None:
        from rotation.edges.web import trusting

        trusting(authority)

    def side_by_side(self, calls: Sequence[Callable[[], T]], seconds: float) -> list[T | None]:
        return threads.side_by_side(calls, seconds)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def _log_conflict(reason: str) -> None:
    """Logs that a setting, or another provider, gets in the way of the app's telemetry."""
    log.event("telemetry.conflict", level=logging.WARNING, reason=reason)


def _log_doubts(configuration: config.Configuration) -> None:
    """Logs what is valid and hardly meant, once in each process: when it first reads the file."""
    from rotation.config.doubts import doubts

    for path, text in doubts(configuration):
        log.event("configuration.warning", level=logging.WARNING, path=path, text=text)
