"""What the activities need of other systems, and the way to the modules that provide it.

Each protocol is a contract: its verbs say when a repeat is harmless and what they raise. All may
raise `Unavailable` (worth a retry) and `Denied`. The modules behind them are imported on first
use, because their SDKs would cost every cold start half a second.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from rotation import settings as app_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rotation import config
    from rotation.identity import Identity
    from rotation.model import Answer, Deployment, Role, SecretVersion, Service, Session
    from rotation.secrecy import Secret
    from rotation.settings import Settings

# The Entra applications behind Azure Database for PostgreSQL and AKS.
POSTGRESQL_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
AKS_SCOPE = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"


class Vault(Protocol):
    """One Key Vault."""

    def current(self, secret: str) -> SecretVersion | None:
        """The newest version, enabled or not; None if the secret does not exist."""

    def versions(self, secret: str) -> list[SecretVersion]:
        """All versions, the newest first; empty if the secret does not exist."""

    def value(self, secret: str, version: str) -> Secret:
        """`version` empty: of the current one. Raises `Missing`, and `Conflict` if it is
        disabled."""

    def put(
        self,
        secret: str,
        value: Secret,
        *,
        expires: datetime,
        content_type: str,
        tags: dict[str, str],
    ) -> SecretVersion:
        """A new version. Every call makes another one."""

    def disable(self, secret: str, version: str) -> None:
        """Harmless when it is disabled already."""


class Database(Protocol):
    """One PostgreSQL server, as the login that rotates."""

    def roles(self, names: list[str]) -> dict[str, Role]:
        """Those of the names that exist."""

    def activate(self, role: str, password: Secret) -> None:
        """LOGIN with this password and no expiry. A repeat makes a new verifier of the same."""

    def deactivate(self, role: str) -> None:
        """NOLOGIN and no password. Open sessions stay. Harmless when repeated."""

    def terminate(self, role: str) -> int:
        """Ends the role's sessions; how many there were."""

    def sessions(self, roles: list[str]) -> list[Session]:
        """Those of the server's client sessions that belong to the roles."""

    def login(self, role: str, password: Secret) -> None:
        """Opens and closes a session of its own. Raises `Denied` if the server refuses it."""


class Cluster(Protocol):
    """One Kubernetes API server. Reads return None for what does not exist."""

    def service(self, namespace: str, name: str, label: str) -> Service | None:
        """`label` is the key in the selector whose value is the slot."""

    def deployment(self, namespace: str, name: str) -> Deployment | None: ...

    def pods(self, namespace: str, deployment: str) -> list[str]:
        """Names of the pods that the Deployment's selector matches, terminating ones included."""

    def put_secret(self, namespace: str, name: str, key: str, value: Secret, version: str) -> None:
        """Creates a Kubernetes Secret or replaces the key; `version` goes into an annotation.
        Harmless when repeated."""

    def start(
        self, namespace: str, name: str, *, replicas: int, images: dict[str, str], version: str
    ) -> None:
        """Scales a Deployment and sets its images; an annotation of its pods names the secret
        version, so that pods of an earlier version are replaced. Harmless when repeated.
        Raises `Missing`, `Invalid`."""

    def watch_deployment(
        self, namespace: str, name: str, until: Callable[[Deployment], bool], seconds: float
    ) -> Deployment:
        """Its last state, as soon as `until` holds or after `seconds`. Raises `Missing`."""

    def watch_gone(self, namespace: str, name: str, seconds: float) -> list[str]:
        """The Deployment's pods that are left, as soon as there are none or after `seconds`."""

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Harmless when repeated. Raises `Missing`."""

    def select(
        self,
        namespace: str,
        name: str,
        label: str,
        expected: str,
        slot: str,
        *,
        revision: str | None = None,
    ) -> None:
        """Compare-and-swap of the selector's slot. Harmless when it is `slot` already.
        Raises `Conflict` if it is neither, `Missing`, and with `revision` `Unavailable` if the
        Service was changed since: there and back again would look like no change at all."""

    def seal(self, namespace: str, name: str, token: str) -> None:
        """Changes a Service's revision, once for each token: a `select` that was prepared before,
        and is held up, comes to nothing. Raises `Missing`."""

    def fetch(self, service: Service, path: str, timeout: float) -> Answer:
        """GET through the API server's service proxy. Raises `Unavailable` without an answer."""


class Topic(Protocol):
    """An Event Grid custom topic."""

    def publish(self, event: Mapping[str, object]) -> None:
        """One event in the Event Grid schema. Receivers tell repeats by its id."""


class Edges(Protocol):
    """Everything outside, for one call of an activity or of the HTTP API."""

    @property
    def settings(self) -> Settings:
        """Raises `ConfigurationError`."""

    @property
    def configuration(self) -> config.Configuration:
        """Raises `ConfigurationError`."""

    def vault(self, url: str) -> Vault: ...

    def database(self, credential: config.Credential) -> Database: ...

    def cluster(self, name: str) -> Cluster: ...

    def topic(self, endpoint: str) -> Topic: ...

    def fetch(self, url: str, timeout: float) -> Answer:
        """GET of a test's URL. Raises `Unavailable` without an answer, `Invalid`."""

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class AzureEdges:
    """Opens each edge once per process, with its connection pool and token cache."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._vaults: dict[str, Vault] = {}
        self._databases: dict[str, Database] = {}
        self._clusters: dict[str, Cluster] = {}
        self._topics: dict[str, Topic] = {}

    @cached_property
    def settings(self) -> Settings:
        return app_settings.parse(self._environment)

    @property
    def configuration(self) -> config.Configuration:
        from rotation import config

        return config.load(self.settings.config)

    @cached_property
    def identity(self) -> Identity:
        from rotation.identity import Identity

        return Identity(self._environment)

    def vault(self, url: str) -> Vault:
        from rotation.vault import KeyVault

        if url not in self._vaults:
            self._vaults[url] = KeyVault(url, self.identity.credential, self.settings.ca_bundle)
        return self._vaults[url]

    def database(self, credential: config.Credential) -> Database:
        """Its admin's password or token is fetched anew for each connection."""
        from rotation.database import PostgreSQL

        key = f"{credential.vault} {credential.database.model_dump_json()}"
        if key not in self._databases:
            self._databases[key] = PostgreSQL(
                credential.database, lambda: self._admin_password(credential)
            )
        return self._databases[key]

    def _admin_password(self, credential: config.Credential) -> Secret:
        admin = credential.database.admin
        if admin.secret is None:
            return self.identity.token(POSTGRESQL_SCOPE)
        return self.vault(admin.vault or credential.vault).value(admin.secret, "")

    def cluster(self, name: str) -> Cluster:
        from rotation.cluster import Kubernetes

        if name not in self._clusters:
            self._clusters[name] = Kubernetes(
                name,
                self.configuration.clusters[name],
                lambda: self.identity.token(AKS_SCOPE),
            )
        return self._clusters[name]

    def topic(self, endpoint: str) -> Topic:
        from rotation.notifications import EventGridTopic

        if endpoint not in self._topics:
            self._topics[endpoint] = EventGridTopic(
                endpoint, self.identity.credential, self.settings.ca_bundle
            )
        return self._topics[endpoint]

    def fetch(self, url: str, timeout: float) -> Answer:
        from rotation.web import fetch

        return fetch(url, timeout)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
