"""Access to everything outside, for one call of an activity or of the HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from rotation.model.world import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from rotation.config import Condition, Configuration, Credential
    from rotation.contracts.access import AccessReader
    from rotation.contracts.cron_jobs import CronJobs, CronJobsReader
    from rotation.contracts.database import Database, DatabaseReader, Entrance, Replica
    from rotation.contracts.jobs import Jobs, JobsReader
    from rotation.contracts.pods import Pods, PodsReader
    from rotation.contracts.store import Container, Store
    from rotation.contracts.topic import Topic
    from rotation.contracts.traffic import Traffic, TrafficReader
    from rotation.contracts.vault import Vault, VaultReader
    from rotation.model.world import Answer, Manner
    from rotation.settings import Settings

T = TypeVar("T")


class Readers(Protocol):
    """Access that reads and changes nothing: all that most code is given."""

    @property
    def settings(self) -> Settings:
        """The app settings. Raises `ConfigurationError`."""

    @property
    def configuration(self) -> Configuration:
        """What `credentials.yaml` says. Raises `ConfigurationError`."""

    def planned(self, configuration: Configuration) -> Readers:
        """The same access for a rotation that goes on with this configuration.

        Clusters are looked up there, whatever the file says by now. Raises `Denied` later on, for a
        host that it names, that is none of the cloud's, and that the file does not name any more.
        """

    def vault(self, url: str) -> VaultReader: ...

    def database(self, credential: Credential) -> DatabaseReader: ...

    def replicas(self, credential: Credential) -> Sequence[DatabaseReader]:
        """The read replicas of the credential's server, in the order of the file."""

    def endpoint(self, credential: Credential) -> Entrance | None:
        """What applications connect to, where that is not the server itself."""

    def traffic(self, cluster: str) -> TrafficReader: ...

    def pods(self, cluster: str) -> PodsReader: ...

    def cron_jobs(self, cluster: str) -> CronJobsReader: ...
    def jobs(self, cluster: str) -> JobsReader: ...

    def access(self, cluster: str) -> AccessReader: ...

    def store(self, container: Container) -> Store:
        """The app's own memory, which readers may write. Raises `Missing` for an app without a
        storage account."""

    def fetch(
        self, url: str, timeout: float, manner: Manner = PLAIN, authority: str | None = None
    ) -> Answer:
        """The answer to a request of a test's URL; `timeout` is in seconds.

        `authority` is what vouches for an https server, PEM text or a file's path; public ones
        unless given.

        Raises `Unavailable` without an answer, `Invalid` for a URL that may not be fetched.
        """

    def measure(self, condition: Condition, timeout: float) -> list[float]:
        """What a condition's query is answered with: several values where it finds several series,
        none without data; `timeout` is in seconds.

        Raises `Unavailable` without an answer, `Denied`, `Missing`, and `Invalid` for a query that
        is none, or a URL that the file does not name.
        """

    def trusts(self, authority: str) -> None:
        """Raises `Invalid` for an `authority` that `fetch` could not go by."""

    def side_by_side(self, calls: Sequence[Callable[[], T]], seconds: float) -> list[T | None]:
        """What each call returned, in their order; None for one that has not ended after `seconds`.

        They run side by side, some at a time. Raises what the first of them raised.
        """

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class Edges(Readers, Protocol):
    """Access that also changes things: only the guards and the composition know it."""

    def planned(self, configuration: Configuration) -> Edges: ...

    def vault(self, url: str) -> Vault: ...

    def database(self, credential: Credential) -> Database: ...

    def replicas(self, credential: Credential) -> Sequence[Replica]: ...

    def traffic(self, cluster: str) -> Traffic: ...

    def pods(self, cluster: str) -> Pods: ...

    def cron_jobs(self, cluster: str) -> CronJobs: ...
    def jobs(self, cluster: str) -> Jobs: ...

    def topic(self, endpoint: str) -> Topic: ...
