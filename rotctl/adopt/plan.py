"""What is to be written: all names, decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rotctl.adopt.carriers import Carrier
    from rotctl.adopt.original import Original

Form = Literal["manifests", "kustomize", "helm"]
FORMS: tuple[Form, ...] = ("manifests", "kustomize", "helm")
SLOTS = ("blue", "green")
LABEL = "slot"
THEN = ("restart", "reload")  # what has pods in place read a changed login
FORMATS = ("password", "url", "json", "jdbc", "libpq", "ado.net")  # credentials.yaml's


@dataclass(frozen=True)
class Login:
    role: str
    secret: str


@dataclass(frozen=True)
class Credential:
    """`vault` is a URL, `host` and `port` are the server's; `group` owns what both roles make."""

    name: str
    vault: str
    format: str
    slots: dict[str, Login]
    group: str
    host: str
    port: int
    database: str
    rotator: Login
    approvers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cluster:
    """`authority` is the PEM text that vouches for the API server, if a kubeconfig has one."""

    name: str
    server: str
    authority: str = ""


@dataclass(frozen=True)
class Workload:
    """A workload and what is its own in each slot.

    `service` is the production Service; of a worker and of a CronJob the one that is to be made.
    `services` move with it, `others` stay. `variables` are set to the role in both slots, whatever
    they were; `role_file` is the file beside the password's that has the role's name. `then` is
    what has the pods of a workload in place read a changed login: `restart` or `reload`. `routes`
    are HTTPRoutes whose weights move, in the place of Services.
    """

    original: Original
    carrier: Carrier
    service: str
    called: bool
    services: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    role_file: str = ""
    then: str = ""
    routes: tuple[str, ...] = ()

    @property
    def in_place(self) -> bool:
        return self.original.in_place

    @property
    def name(self) -> str:
        return self.original.name

    @property
    def namespace(self) -> str:
        return self.original.namespace

    @property
    def scheduled(self) -> bool:
        return self.original.kind == "CronJob"

    @property
    def preview(self) -> str:
        return f"{self.service}-preview" if self.called and not self.routes else ""

    def backend(self, slot: str) -> str:
        """The slot's own Service, where HTTPRoutes share requests between them."""
        return f"{self.service}-{slot}"

    def at(self, slot: str) -> str:
        """The name of the slot's Deployment or CronJob; in place, of the one for both."""
        return self.name if self.in_place else f"{self.name}-{slot}"


@dataclass(frozen=True)
class Plan:
    """`tells` is what was seen that nobody has to do anything about before it begins."""

    credential: Credential
    cluster: Cluster
    workloads: tuple[Workload, ...]
    app_identity: str
    break_glass: str = ""
    form: Form = "manifests"
    base: str = ""  # of Kustomize: the folder that the overlay is over, as this one sees it
    tells: tuple[str, ...] = field(default=())
