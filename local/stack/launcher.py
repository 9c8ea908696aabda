"""Starts and stops the whole local stack: every component, and the demo's world in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import urlsplit

import yaml

from local import engines, world
from local.identity import environment as identity_environment
from local.process import ROOT, Component
from local.stack.client import Client
from local.stack.faults import FaultDesk
from local.stack.kept import Kept
from local.stack.owner import APP, ENGINEER, Owner
from local.stack.parts import Parts
from local.stack.provisioner import PODS, Provisioner
from rotation import config
from rotation.contracts.store import CONTAINERS
from rotation.secrecy import new_password

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rotation.config import Credential


@dataclass
class Options:
    """The options of a stack, which tests vary.

    `warm_up` is how many seconds a pod of the second workload takes to be ready, besides its start.
    `credential` is merged over the demo's credential in credentials.yaml. `reads_from` is the port
    of a read replica, which whoever started the stack starts as well. With `signed_links` approvers
    are mailed links of their own, with a key that the vault has. `credentials` is somebody's own
    credentials.yaml, in the place of the stack's, from this start on.
    """

    rbac: bool = True
    timers: bool = False
    watch_seconds: int = 5
    replicas: int = 2
    warm_up: float = 0
    credential: dict[str, Any] = field(default_factory=dict)
    clusters: dict[str, Any] = field(default_factory=dict)  # more than the stack's own
    environment: dict[str, str] = field(default_factory=dict)
    engine: str = field(default_factory=engines.selected)
    reads_from: int | None = None
    signed_links: bool = False
    credentials: Path | None = None


class Stack(Parts):
    """Starts the components, which end with the stack.

    In a directory that has a stack already it goes on where that one ended. `world` is what a stack
    begins with: one of another world cannot go on.
    """

    world: ClassVar[str] = "two slots"
    kept: Kept

    def __init__(self, directory: Path, options: Options | None = None) -> None:
        self.options = options or Options()
        super().__init__(directory, self.options.engine)
        self.release = ROOT  # the folder of the app that runs

    @cached_property
    def owner(self) -> Owner:
        return Owner(self)

    @cached_property
    def provisioner(self) -> Provisioner:
        return Provisioner(self, self.owner)

    @cached_property
    def client(self) -> Client:
        return Client(self, self.owner)

    @cached_property
    def faults(self) -> FaultDesk:
        return FaultDesk(self, self.client)

    def start(self, progress: Callable[[str], None] = lambda _: None) -> Self:
        """Starts everything; `progress` is told what is being started.

        Raises `StartError`, `TimeoutError`.
        """
        engines.demand(self.engine)
        self.kept = Kept.claim(self.directory, self.world, self.engine, self.keys)
        self.keys |= self.kept.facts.keys
        if self.options.credentials is not None:
            self.use(self.options.credentials)
        try:
            self._start(progress)
            self.kept.facts.ready = True
            self.kept.save()
        except BaseException:
            self.stop()
            raise
        return self

    @property
    def resumes(self) -> bool:
        """Whether the world is there from an earlier start."""
        return self.kept.facts.ready

    @property
    def has_configuration(self) -> bool:
        """Whether there is a credentials.yaml for the app to start with."""
        return True

    def _start(self, progress: Callable[[str], None]) -> None:
        progress("identity endpoint, Key Vault, PostgreSQL, event topic, storage account")
        self._component("identity", *("--identity", APP.name, "--identity", PODS.name))
        access = self._write(
            "access.json",
            {
                APP.principal_id: ["get", "list", "set"],
                PODS.principal_id: ["get"],
                ENGINEER.principal_id: ["get", "list", "set", "delete", "recover"],
            },
        )
        self._component("keyvault", *self._shared(), "--name", "kv-orders", "--access", access)
        self._component("postgres", *(["--replicated"] if self.options.reads_from else []))
        viewer = ("--viewer-port", str(self.kept.port("the inbox")))
        self._component("topic", *self._shared(), *viewer)
        containers = self._write("containers.json", {APP.principal_id: list(CONTAINERS.values())})
        self._component("blobs", *self._shared(), "--access", containers)
        if not self.resumes:
            progress(self.provisioner.begins_with)
            self.provisioner.login(self._credential())
            if self.options.signed_links:
                life = timedelta(days=365)
                self.provisioner.put_secret(world.LINK_KEY, new_password(), life)
        progress(
            "cluster with its workloads, as they were"
            if self.resumes
            else "cluster with its workloads"
        )
        self._start_cluster()
        if self.engine == engines.AZURE:
            progress("Azure Storage (Azurite), for Microsoft's durable extension")
            queues, tables = (self.kept.port(f"storage {each}") for each in ("queues", "tables"))
            ports = ("--queue-port", str(queues), "--table-port", str(tables))
            self._component("storage", *ports, module="durable.storage")
        if self.has_configuration:
            progress("Functions host with the app")
        self.start_host()

    def _component(self, name: str, *arguments: str, module: str = "") -> Component:
        """A component, which keeps its port, so that it can be stopped and started again."""
        component = Component.module(
            module or name,
            *("--state", self._path(name), "--port", str(self.kept.port(name))),
            *arguments,
            log=self.directory / "logs" / f"{name}.log",
            env=self._environment(),
        )
        self.components[name] = component
        return component.start()

    def _path(self, *parts: str) -> str:
        return str(self.directory.joinpath(*parts))

    def _shared(self) -> tuple[str, ...]:
        return ("--identity-state", self._path("identity"), "--tls", self._path("tls"))

    def _environment(self) -> dict[str, str]:
        found = {"LOCAL_ADMIN_KEY": self.keys["admin"]}
        if "identity" in self.components:
            url = self.components["identity"].url
            found |= identity_environment(self.directory / "identity", url)
        return found

    def _write(self, name: str, document: object) -> str:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")
        return str(path)

    def _start_cluster(self) -> None:
        self._component(
            "cluster",
            *self._shared(),
            *("--name", "local", "--images", self._write("images.json", world.IMAGES)),
            *("--vault-ca", str(self.addresses.authority)),
            *("--rbac", "on" if self.options.rbac else "off"),
        )
        if self.resumes:
            self.provisioner.resume(moved=bool(self.kept.moved))
        else:
            self.provisioner.workloads(self.options.replicas, self.options.warm_up)

    def start_host(self) -> None:
        """Starts the Functions host, on a port that stays the same when it is started again."""
        if "host" not in self.components:
            self.write_configuration()
            self.components["host"] = self._host(self.kept.port("host"))
        self.components["host"].start()

    def _host(self, port: int) -> Component:
        host = Component.module(
            "host",
            *("--app", str(self.release / "function_app.py"), *self._carried_by()),
            *("--port", str(port), "--timers", "on" if self.options.timers else "off"),
            log=self.directory / "logs" / "host.log",
            env=self._host_environment(port),
        )
        engines.be_patient(host, self.engine)
        return host

    def _carried_by(self) -> tuple[str, ...]:
        if self.engine == engines.AZURE:
            return engines.arguments(self.components["storage"], self.release)
        return ("--journal", self._path("journal.db"))

    def replace(self, release: Path) -> None:
        """Another release of the app, in that folder, in the place of the one that runs."""
        before = self.components["host"]
        before.stop()
        self.release = release
        self.components["host"] = self._host(urlsplit(before.url).port or 0)
        self.start_host()

    def use(self, credentials: Path) -> None:
        """Takes a credentials.yaml for the app's, which reads it when it starts."""
        self.kept.facts.credentials = str(credentials.absolute())
        self.kept.save()

    def write_configuration(self) -> None:
        """Writes credentials.yaml, as JSON: that is YAML too. The host reads it when it starts."""
        self._write("credentials.yaml", self._configuration(self.components["cluster"].url))

    def _configuration(self, cluster: str) -> dict[str, Any]:
        configuration = world.configuration(self.addresses, cluster, self.options.credential)
        configuration["clusters"] |= self.options.clusters
        if self.options.reads_from:
            replica = {"host": "127.0.0.1", "port": self.options.reads_from}
            configuration["credentials"][world.CREDENTIAL]["database"]["replicas"] = [replica]
        return configuration

    def _credential(self) -> Credential:
        text = yaml.safe_dump(self._configuration("https://started.later"))
        return config.parse(text).credential(world.CREDENTIAL)

    def _host_environment(self, port: int) -> dict[str, str]:
        return {
            **self._environment(),
            **self._links(port),
            "LOCAL_FUNCTION_KEY": self.keys["function"],
            "LOCAL_MASTER_KEY": self.keys["master"],
            "LOCAL_SYSTEM_KEY": self.keys["system"],
            "AZURE_CLIENT_ID": APP.client_id,
            "ROTATION_CONFIG": self.kept.facts.credentials or self._path("credentials.yaml"),
            "ROTATION_CA_BUNDLE": str(self.addresses.authority),
            "ROTATION_SWEEP_SCHEDULE": "0 0 6 * * *",
            "ROTATION_SAMPLE_SCHEDULE": "0 */10 * * * *",
            "ROTATION_USAGE_SCHEDULE": "20 * * * * *",
            "AzureWebJobsStorage__blobServiceUri": self.components["blobs"].url,
            "ROTATION_TOPIC_ENDPOINT": self.components["topic"].url,
            "PYTHON_THREADPOOL_THREAD_COUNT": "32",  # as infra/ sets it
            "ROTATION_WATCH_SECONDS": str(self.options.watch_seconds),
            **self.options.environment,
        }

    def _links(self, port: int) -> dict[str, str]:
        """Without a setting links are as on Azure, with https."""
        key = f"{self.addresses.vault}/secrets/{world.LINK_KEY}"
        signed = {"ROTATION_LINK_KEY": key} if self.options.signed_links else {}
        return {"ROTATION_PUBLIC_URL": f"http://127.0.0.1:{port}", **signed}

    def stop(self) -> None:
        """Stops the components, in the reverse order of their start."""
        for component in reversed(self.components.values()):
            component.stop()
        if hasattr(self, "kept"):
            self.kept.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()
