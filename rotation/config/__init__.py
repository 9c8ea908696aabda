"""`credentials.yaml`: parsed once, all problems reported together, each with its path and line.

Everything here is declarative and holds no secret. Durations are written `90d`, `24h`, `10m`,
`20s` and held as `timedelta`. docs/configuration.md explains every key.

A check that concerns one section is a validator there; what must hold between sections is checked
on the file as it was read, so that a problem in one place hides none in another.
"""

from __future__ import annotations

from datetime import date, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self, assert_never, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from rotation.config import crosscheck, document, rules
from rotation.config.document import Place, UnreadableError, Written, dotted, value_at
from rotation.config.fields import (
    LONGEST,
    Addresses,
    Column,
    CronJobName,
    DatabaseName,
    DataKey,
    Date,
    DnsLabel,
    DnsSubdomain,
    Duration,
    HeaderName,
    HeaderValue,
    Host,
    HttpsUrl,
    JsonScalar,
    LabelKey,
    LabelValue,
    LimitedCluster,
    LimitedNamespace,
    LimitedServer,
    LimitedVault,
    MailAddress,
    MetricsQuery,
    MetricsUrl,
    Name,
    Number,
    Port,
    PositiveDuration,
    RoleName,
    SecretName,
    ServicePort,
    Statement,
    TemplatePath,
    TestPath,
    TestUrl,
    Text,
    TimeOfDay,
    TokenFile,
    VaultUrl,
    WaivableCode,
    WorkspaceId,
    Zone,
    origin,
    shown,
)
from rotation.decisions import windows as hours
from rotation.decisions.conditions import Limit, WhenAbsent
from rotation.decisions.verdict import is_object_id
from rotation.decisions.windows import DAYS, Hours
from rotation.formats import KEYS, LOGIN_PARAMETERS, Format, Key, Shape
from rotation.model.errors import ConfigurationError
from rotation.model.reasons import Code
from rotation.model.targets import (
    CronJobTarget,
    DeploymentTarget,
    Kind,
    RouteTarget,
    SecretKeyTarget,
    SecretTarget,
    ServiceTarget,
    SlotSecretTarget,
    TrafficTarget,
)
from rotation.model.world import SLOTS, Slot, TemplatePolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Section(BaseModel):
    """A mapping of the file. Its keys are camelCase; unknown ones are refused as typing errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_default=True,
    )


class Cluster(Section):
    """An API server, and the way to sign in: an Entra token (AKS), or what a kubeconfig says."""

    server: HttpsUrl | None = None
    certificate_authority: Annotated[str, Field(min_length=1)] | None = None  # PEM text, or a path
    kubeconfig: Text | None = None  # path
    context: Text | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.server is None) == (self.kubeconfig is None):
            raise ValueError("give either `server` (AKS, Entra sign-in) or `kubeconfig`")
        if self.server is not None and self.context is not None:
            raise ValueError("`context` goes with `kubeconfig`")
        if self.kubeconfig is not None and self.certificate_authority is not None:
            raise ValueError("`certificateAuthority` goes with `server`; a kubeconfig has its own")
        return self


class Admin(Section):
    """The login that rotates: with the password in `secret`, or without one by Entra token."""

    role: RoleName
    secret: SecretName | None = None
    vault: VaultUrl | None = None  # the credential's own vault unless given


class Address(Section):
    """A host and a port, or the host as a text; the port is the server's own unless given."""

    host: Host
    port: Port | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {"host": value} if isinstance(value, str) else value


Sslmode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


class Endpoint(Address):
    """What applications connect to. TLS is as with the server unless given."""

    sslmode: Sslmode | None = None
    sslrootcert: Text | None = None  # path


DEFAULT_PORT = 5432


class Database(Section):
    """The server, the application's database on it, and the login that rotates.

    `endpoint` is what applications connect to, where that is not the server itself.
    """

    host: Host
    port: Port = DEFAULT_PORT
    endpoint: Endpoint | None = None
    replicas: Annotated[list[Address], Field(max_length=10)] = []  # that workloads read from
    name: DatabaseName
    maintenance: DatabaseName = "postgres"  # where the rotating login works; no application's
    admin: Admin
    sslmode: Sslmode = "verify-full"
    sslrootcert: Text | None = None  # path; certifi's bundle of public authorities unless given

    @model_validator(mode="after")
    def _kept_apart(self) -> Self:
        if self.maintenance == self.name:
            raise ValueError("`maintenance` must be another database than the application's `name`")
        return self

    @model_validator(mode="after")
    def _other_servers(self) -> Self:
        """Refuses a replica that is the server, or is there twice: it would prove nothing."""
        seen = {(self.host.lower(), self.port)}
        for host, port in self.reads_from:
            if (host.lower(), port) in seen:
                raise ValueError(f"`replicas`: {host}:{port} is the server itself, or there twice")
            seen.add((host.lower(), port))
        return self

    @property
    def reads_from(self) -> list[tuple[str, int]]:
        """Host and port of each read replica."""
        return [(one.host, one.port or self.port) for one in self.replicas]

    @property
    def serves_at(self) -> tuple[str, int]:
        """Host and port that applications connect to."""
        if self.endpoint is None:
            return self.host, self.port
        return self.endpoint.host, self.endpoint.port or self.port

    @property
    def front(self) -> Database | None:
        """The endpoint as if it were a server, for logins; None where there is none."""
        if self.endpoint is None:
            return None
        host, port = self.serves_at
        changes = {"host": host, "port": port, "endpoint": None, "replicas": []}
        changes["sslmode"] = self.endpoint.sslmode or self.sslmode
        changes["sslrootcert"] = self.endpoint.sslrootcert or self.sslrootcert
        return self.model_copy(update=changes)

    @model_validator(mode="after")
    def _known_server(self) -> Self:
        """Refuses a server that is not proved to be the right one before it gets a token."""
        if self.admin.secret is None and self.sslmode != "verify-full":
            raise ValueError("without `admin.secret` an Entra token is sent: use verify-full")
        if self.sslmode == "verify-ca" and self.sslrootcert is None:
            raise ValueError(
                "verify-ca without `sslrootcert` accepts any server with a public certificate"
            )
        return self


class SlotLogin(Section):
    """A slot's role, and the Key Vault secret with that role's password."""

    role: RoleName
    secret: SecretName


WITH_BODY = {"POST", "PUT", "PATCH"}
WITH_SQL = {"sql", "value", "repeat", "timeout"}
WITH_JOB = {"job", "timeout"}


LONGEST_QUERY = timedelta(seconds=20)
# A Job's pod has to be placed, and its image to be pulled; and people wait for its end.
SHORTEST_JOB, LONGEST_JOB = timedelta(seconds=15), timedelta(minutes=15)


class JobTest(Section):
    """The CronJobs that a Job is made from: one for each slot, suspended, in the workload's
    namespace. As a text one name, with `{slot}` in it."""

    cron_jobs: dict[Slot, CronJobName]

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if "{slot}" not in value:
            raise ValueError(f"{shown(value)} must have {{slot}} in it: a CronJob for each slot")
        return {"cronJobs": {slot: value.replace("{slot}", slot) for slot in SLOTS}}

    @field_validator("cron_jobs")
    @classmethod
    def _one_each(cls, value: dict[Slot, str]) -> dict[Slot, str]:
        if len(set(_both_slots(value).values())) < len(SLOTS):
            raise ValueError("must name another CronJob for each slot: its template names the slot")
        return value


class WorkloadTest(Section):
    """One HTTP request, or one SQL query as the slot's role, that must succeed `repeat` times in a
    row; or one Kubernetes Job, which runs once and must exit with 0.

    `{role}` and `{slot}` in `json`, `path`, `url`, `headers`, `body` and `value` stand for the slot
    under test. `status` is what must be answered; every key of `json`, a field's name or a JSON
    Pointer, must lead to just that value in the answer. A query's first row must have `value` in
    its first column.
    """

    path: TestPath | None = None
    url: TestUrl | None = None
    sql: Statement | None = None
    value: JsonScalar = None  # with `sql`; None: whatever it answers
    job: JobTest | None = None
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    scheme: Literal["http", "https"] = "http"  # that pods speak, with `path`
    port: ServicePort = None  # with `path`; the workload's unless given
    certificate_authority: Annotated[str, Field(min_length=1)] | None = None  # PEM, or a path
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=20)] = {}
    body: str | dict[str, JsonValue] | list[JsonValue] | None = None  # no text: it is sent as JSON
    status: Annotated[int, Field(ge=100, le=599)] = 200
    # `json` is the file's word; the attribute is not called so, since BaseModel has such a method.
    expect: dict[str, JsonScalar] | None = Field(default=None, alias="json")
    repeat: Annotated[int, Field(ge=1, le=20)] = 3
    timeout: PositiveDuration = timedelta(seconds=10)  # 5m with `job`

    @model_validator(mode="before")
    @classmethod
    def _long_enough(cls, value: object) -> object:
        """Gives a Job, which takes longer than a request, its own default."""
        if isinstance(value, dict) and value.get("job") is not None and "timeout" not in value:
            return {**value, "timeout": "5m"}
        return value

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        targets = (self.path, self.url, self.sql, self.job)
        if sum(target is not None for target in targets) != 1:
            raise ValueError("give one of `path` (through the Service), `url`, `sql` and `job`")
        return self

    @model_validator(mode="after")
    def _fitting_job(self) -> Self:
        """Refuses what has no meaning for a Job."""
        if self.job is None:
            return self
        for name, field in type(self).model_fields.items():
            if name not in WITH_JOB and getattr(self, name) != field.default:
                raise ValueError(f"`{field.alias}` does not go with `job`")
        if not SHORTEST_JOB <= self.timeout <= LONGEST_JOB:
            raise ValueError("`timeout` must be from 15s to 15m with `job`")
        return self

    @model_validator(mode="after")
    def _fitting_query(self) -> Self:
        """Refuses what has no meaning for a query, or without one."""
        if self.sql is None:
            if "value" in self.model_fields_set and self.job is None:
                raise ValueError("`value` goes with `sql`: it is the first column of its first row")
            return self
        for name, field in type(self).model_fields.items():
            if name not in WITH_SQL and getattr(self, name) != field.default:
                raise ValueError(f"`{field.alias}` does not go with `sql`")
        if "value" in self.model_fields_set and self.value is None:
            raise ValueError("`value` cannot be null: ask for `... IS NULL`, which is true")
        if self.timeout > LONGEST_QUERY:
            raise ValueError("`timeout` must be 20s at most with `sql`")
        return self

    @model_validator(mode="after")
    def _fitting_parts(self) -> Self:
        """Refuses what would be left out silently."""
        if self.url is not None and (self.scheme != "http" or self.port is not None):
            raise ValueError("`scheme` and `port` go with `path`: a URL has its own")
        if self.certificate_authority is not None and not (self.url or "").startswith("https:"):
            raise ValueError("`certificateAuthority` goes with an https `url`")
        if self.path is not None and any(name.lower() == "host" for name in self.headers):
            raise ValueError("the header Host goes with `url`: the API server sets it for `path`")
        if len({name.lower() for name in self.headers}) < len(self.headers):
            raise ValueError("`headers` has a name twice")
        if self.body is not None and self.method not in WITH_BODY:
            raise ValueError(f"`body` goes with a method of {', '.join(sorted(WITH_BODY))}")
        if self.method == "HEAD" and self.expect:
            raise ValueError("`json` does not go with HEAD, which is answered without a body")
        return self

    @property
    def reaches_standby(self) -> bool:
        """Whether it can test a slot that does not serve: through `preview`, by a URL or header
        that names the slot, or as its role."""
        names = (self.url or "", *self.headers.values())
        return self.url is None or any("{slot}" in name for name in names)

    @property
    def proves_role(self) -> bool:
        """Whether it passes only if the answer names the slot's role.

        A query never does: it is the app's own session, and says nothing of the workload's.
        """
        values = (self.expect or {}).values()
        return any(isinstance(value, str) and "{role}" in value for value in values)


class InPlace(Section):
    """One workload without a twin, and the Kubernetes Secret that its pods read the login from."""

    kind: Kind
    name: DnsSubdomain
    secret: DnsSubdomain
    then: Literal["restart", "reload"]  # what has the pods read it again
    role_key: DataKey | None = None  # of the Secret, under which the role's name stands


# What a workload in place has no use for: there is nothing beside it that could be started.
TWINS = (
    "route", "preview", "services", "other_services", "delivery", "secrets", "selector_label",
    "template", "differs", "overlap",
)  # fmt: skip


# What a workload's processes are started by: two of them, one for each slot, or one in place.
KINDS = ("deployments", "cron_jobs", "in_place")
# For the longest `startingDeadlineSeconds`, and somewhat more: see `rotation.decisions.cron_jobs`.
TIME_OF_CRON_JOBS = timedelta(minutes=6)
LONGEST_SETTLE = timedelta(minutes=10)


class HttpRoute(Section):
    """HTTPRoutes that share a workload's requests between its slots' own Services.

    `weights` are the percentages that the new slot gets on the way to all of them, one after the
    other, with tests after each.
    """

    name: DnsSubdomain
    names: Annotated[list[DnsSubdomain], Field(max_length=20)] = []  # that move with `name`
    others: Annotated[list[DnsSubdomain], Field(max_length=50)] = []  # that are left as they are
    backends: dict[Slot, DnsLabel]  # each slot's own Service, whose selector stays as it is
    weights: Annotated[list[Annotated[int, Field(ge=1, le=99)]], Field(max_length=10)] = []
    settle: Duration = timedelta(seconds=10)  # for requests under way when it goes back

    @field_validator("backends")
    @classmethod
    def _both_backends(cls, value: dict[Slot, str]) -> dict[Slot, str]:
        if len(set(_both_slots(value).values())) < len(SLOTS):
            raise ValueError("must name another Service for each slot")
        return value

    @field_validator("settle")
    @classmethod
    def _soon(cls, value: timedelta) -> timedelta:
        if value > LONGEST_SETTLE:
            raise ValueError("must be 10m at most")
        return value

    @field_validator("weights")
    @classmethod
    def _rising(cls, value: list[int]) -> list[int]:
        if any(after <= before for before, after in pairwise(value)):
            raise ValueError("must rise from one to the next")
        return value


# What goes with one way that clients take to a slot, and not with the other.
WITH_SERVICE = ("service", "preview", "services", "overlap")


class Workload(Section):
    """An application that uses the login: its Services, what starts its processes, its tests."""

    name: Name
    cluster: Name
    namespace: DnsLabel
    service: DnsLabel | None = None  # `crosscheck` sees to it where there has to be one
    route: HttpRoute | None = None  # in the place of `service`, `preview` and `services`
    preview: DnsLabel | None = None  # of a workload that nothing calls there is none
    services: Annotated[list[DnsLabel], Field(max_length=20)] = []  # that move with `service`
    # Of Services and EndpointSlices that find its pods too, and are left as they are.
    other_services: Annotated[list[DnsSubdomain], Field(max_length=50)] = []
    port: ServicePort = None  # of the Services; their first one unless given
    deployments: dict[Slot, DnsSubdomain] = {}
    in_place: InPlace | None = None
    cron_jobs: dict[Slot, CronJobName] = {}
    delivery: Literal["csi", "secret"] = "csi"
    secrets: dict[Slot, DnsSubdomain] | None = None  # Kubernetes Secrets, for delivery: secret
    key: DataKey = "password"  # in those Kubernetes Secrets
    selector_label: LabelKey = "slot"
    application: Text | None = None  # how its sessions name themselves; its name unless given
    addresses: Addresses = "pods"  # where its sessions come from
    template: TemplatePolicy = "refuse"  # where the slots' pod templates differ
    differs: Annotated[list[TemplatePath], Field(max_length=100)] = []  # paths that may
    tests: list[WorkloadTest] = []
    overlap: bool = False  # without `preview`: both slots' pods work until the approval
    ready: PositiveDuration = timedelta(minutes=10)  # longest wait for the standby Deployment
    drain: PositiveDuration = timedelta(minutes=5)  # longest wait for pods to be gone

    @field_validator("deployments", "cron_jobs")
    @classmethod
    def _one_for_each_slot(cls, value: dict[Slot, str]) -> dict[Slot, str]:
        return _both_slots(value) if value else value

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        """Refuses a workload of no kind, or of several."""
        if sum(bool(getattr(self, kind)) for kind in KINDS) != 1:
            raise ValueError(f"give one of {', '.join(f'`{to_camel(kind)}`' for kind in KINDS)}")
        return self

    @model_validator(mode="after")
    def _nothing_beside(self) -> Self:
        """Refuses keys of two slots where there is one workload."""
        if self.in_place is None:
            return self
        for name in TWINS:
            field = type(self).model_fields[name]
            if getattr(self, name) != field.default:
                raise ValueError(f"`{field.alias}` does not go with `inPlace`")
        if self.service is None and any(test.path is not None for test in self.tests):
            raise ValueError("a test with a `path` goes through `service`")
        if self.in_place.role_key == self.key:
            raise ValueError("`roleKey` must be another key than `key`")
        return self

    @model_validator(mode="after")
    def _fitting_cron_jobs(self) -> Self:
        """Refuses what has no meaning for CronJobs, which nobody calls and which run one at a
        time."""
        if not self.cron_jobs:
            return self
        for name in ("route", "preview", "services", "other_services", "port", "overlap"):
            if name in self.model_fields_set and getattr(self, name):
                raise ValueError(f"`{to_camel(name)}` does not go with `cronJobs`")
        if self.template == "sync":
            raise ValueError("`template: sync` does not go with `cronJobs`: refuse, or warn")
        return self

    @field_validator("secrets")
    @classmethod
    def _secrets_match_delivery(
        cls, value: dict[Slot, str] | None, info: ValidationInfo
    ) -> dict[Slot, str] | None:
        delivery = info.data.get("delivery")
        if delivery == "secret":
            _both_slots(value or {})
            if len(set((value or {}).values())) < len(SLOTS):
                raise ValueError("must name another Kubernetes Secret for each slot")
        elif delivery == "csi" and value is not None:
            raise ValueError("goes with `delivery: secret`")
        return value

    @model_validator(mode="after")
    def _one_way_of_traffic(self) -> Self:
        """Refuses a workload whose slot would be read from two places, or from none."""
        if self.route is None:
            return self
        for name in WITH_SERVICE:
            if getattr(self, name):
                raise ValueError(f"`{name}` does not go with `route`: give one of them")
        return self

    @property
    def called(self) -> bool:
        """Whether clients call it: then there is a way to the slot that does not serve yet."""
        return self.preview is not None or self.route is not None

    @property
    def jobs(self) -> list[WorkloadTest]:
        """Those of its tests that are Jobs: they outlast a step, and have steps of their own."""
        return [test for test in self.tests if test.job is not None]

    @property
    def longest_preparation(self) -> timedelta:
        """How long its pods and its tests that are Jobs may take before the swap."""
        jobs = [test.timeout for test in self.jobs]
        return self.ready + max(jobs, default=timedelta())

    @property
    def names_role(self) -> bool:
        """Whether a test proves, before the swap too, which role serves; else sessions do."""
        return self.in_place is None and any(
            test.reaches_standby and test.proves_role for test in self.tests
        )

    @property
    def production(self) -> TrafficTarget:
        """What clients use: the first one of `productions`."""
        return self.productions[0]

    @property
    def productions(self) -> tuple[TrafficTarget, ...]:
        """All Services, or HTTPRoutes, that clients use: they go to one slot, and move together.

        None of a workload in place, whose Service finds its pods before and after.
        """
        if self.in_place is not None:
            return ()
        if self.route is not None:
            own, steps = self.route.backends, tuple(self.route.weights)
            return tuple(
                RouteTarget(self.namespace, name, own["blue"], own["green"], steps)
                for name in (self.route.name, *self.route.names)
            )
        return tuple(self._service(name) for name in (self.service or "", *self.services))

    @property
    def switch(self) -> ServiceTarget:
        """The headless Service that says which of two CronJobs is active."""
        return self._service(self.service or "")

    @property
    def backends(self) -> dict[Slot, ServiceTarget]:
        """Each slot's own Service, where HTTPRoutes share requests between them."""
        own = {} if self.route is None else self.route.backends
        return {slot: self._service(name) for slot, name in own.items()}

    def asked(self, slot: Slot, *, serves: bool) -> ServiceTarget:
        """The Service through which a test's `path` reaches the slot, which `serves` or not yet."""
        if self.route is not None:
            return self.backends[slot]
        # A test with a path goes with a preview Service: `crosscheck` sees to that.
        preview = None if serves else self.preview
        return self._service(preview or self.service or "")

    @property
    def own_services(self) -> tuple[ServiceTarget, ...]:
        """All Services that the file names as the workload's own."""
        if self.route is not None:
            return tuple(self.backends.values())
        names = (self.service, *self.services, self.preview)
        return tuple(self._service(name) for name in names if name)

    @property
    def standby(self) -> ServiceTarget | None:
        """The preview Service, which always points at the standby slot; None without one."""
        return None if self.preview is None else self._service(self.preview)

    @property
    def stops(self) -> bool:
        """Whether the pods of the slot that is replaced end at the swap: nothing calls them.

        Those of CronJobs end by themselves, whenever they are done.
        """
        return not self.called and not self.overlap and bool(self.deployments)

    def _service(self, name: str) -> ServiceTarget:
        port = None if self.port is None else str(self.port)
        return ServiceTarget(self.namespace, name, self.selector_label, port)

    def deployment(self, slot: Slot) -> DeploymentTarget:
        """The slot's Deployment; of a workload in place the one that there is, for both slots."""
        if self.in_place is not None:
            return DeploymentTarget(self.namespace, self.in_place.name, self.in_place.kind)
        return DeploymentTarget(self.namespace, self.deployments[slot])

    @property
    def exchanged(self) -> SlotSecretTarget | None:
        """The Kubernetes Secret whose login is exchanged; None with a Deployment for each slot."""
        if self.in_place is None:
            return None
        names = self.in_place
        return SlotSecretTarget(self.namespace, names.secret, self.key, names.role_key)

    def cron_job(self, slot: Slot) -> CronJobTarget:
        return CronJobTarget(self.namespace, self.cron_jobs[slot])

    def logs(self, slot: Slot) -> str:
        """The command that shows what the slot's pods say, or what there is of them."""
        return self.cron_job(slot).logs if self.cron_jobs else self.deployment(slot).logs

    def secret_key(self, slot: Slot) -> SecretKeyTarget | None:
        """The Kubernetes Secret's key that the slot's pods read; None with the CSI driver."""
        match self.delivery:
            case "csi":
                return None
            case "secret":
                names = self.secrets or {}
                return SecretKeyTarget(self.namespace, names[slot], self.key)
            case _:
                assert_never(self.delivery)


def _keys_with(changes: dict[Key, str]) -> dict[Key, str]:
    """The keys of a JSON object for the parts of a login, some of them the file's own."""
    return {key: changes.get(key, name) for key, name in KEYS.items()}


def _both_slots(value: dict[Slot, Any]) -> dict[Slot, Any]:
    missing = [slot for slot in SLOTS if slot not in value]
    if missing:
        raise ValueError(f"must name one for each of blue and green: {missing[0]} is missing")
    return value


class Listed(Section):
    """One who may see, start or decide: a person as `{id, address}`, or one of the two as a text.

    A text with an @ is an address: whoever gets its mail. Any other one is for whoever signs in: an
    Entra object id of a person or group, or an app role.
    """

    id: Text | None = None
    address: MailAddress | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if isinstance(value, str):
            return {"address" if "@" in value else "id": value.strip()}
        if isinstance(value, dict) and not {"id", "address"} <= value.keys():
            raise ValueError("must be a text, or a person with both `id` and `address`")
        return value

    @model_validator(mode="after")
    def _person(self) -> Self:
        if self.id and self.address and not is_object_id(self.id):
            raise ValueError(f"`id` must be the person's object id in Entra, not {shown(self.id)}")
        return self


def addresses_of(listed: Iterable[Listed]) -> list[str]:
    """The mail addresses: those that a function key's holder may name."""
    return list(dict.fromkeys(one.address for one in listed if one.address))


def ids_of(listed: Iterable[Listed]) -> list[str]:
    """The object ids and app roles, of those who sign in."""
    return list(dict.fromkeys(one.id for one in listed if one.id))


def object_id_of(address: str, listed: Iterable[Listed]) -> str | None:
    """The object id of the person with this address; None if the list does not say."""
    wanted = address.strip().casefold()
    ids = (one.id for one in listed if (one.address or "").casefold() == wanted)
    return next((own for own in ids if own), None)


def _one_person_each(listed: list[Listed]) -> list[Listed]:
    ids: dict[str, str] = {}
    for one in listed:
        if one.id and one.address:
            address, own = one.address.casefold(), one.id.casefold()
            if ids.setdefault(address, own) != own:
                raise ValueError(f"{shown(one.address)} stands there with two ids")
    return listed


class BeforeSwap(Section):
    """When those who decide before the swap are reminded, and what happens then."""

    remind: Duration = timedelta(hours=24)
    deadline: PositiveDuration = timedelta(days=7)
    on_deadline: Literal["keep", "abort", "approve"] = "keep"

    @field_validator("remind")
    @classmethod
    def _not_too_often(cls, value: timedelta) -> timedelta:
        return _hourly(value)


def _hourly(value: timedelta) -> timedelta:
    """Refuses frequent reminders: each makes the orchestration's history longer, and every turn
    replays it."""
    if value < timedelta(hours=1):
        raise ValueError("must be at least 1h")
    return value


class Approval(Section):
    """The rules of approval: who may decide, and when; when they are reminded, what happens
    then."""

    gate: Literal["before", "after", "both"] = "after"  # the swap
    before: BeforeSwap | None = None
    listed: list[Listed] = Field(default=[], alias="approvers")
    allow_requester: bool = False  # four eyes unless true
    remind: Duration = timedelta(hours=24)
    deadline: PositiveDuration = timedelta(days=7)
    on_deadline: Literal["keep", "roll-back", "approve"] = "keep"
    soak: Duration | None = None  # how long both must have run before `approve` may apply

    @field_validator("listed")
    @classmethod
    def _one_person_each(cls, value: list[Listed]) -> list[Listed]:
        return _one_person_each(value)

    @property
    def approvers(self) -> list[str]:
        """Every id and address that is listed."""
        return [text for one in self.listed for text in (one.id, one.address) if text]

    @property
    def addresses(self) -> list[str]:
        """The mail addresses: those that get mails, and that a function key's holder may name."""
        return addresses_of(self.listed)

    @property
    def ids(self) -> list[str]:
        """The object ids and app roles, of those who decide signed in."""
        return ids_of(self.listed)

    def object_id(self, address: str) -> str | None:
        """The object id of the person with this address; None if the file does not say."""
        return object_id_of(address, self.listed)

    @field_validator("remind")
    @classmethod
    def _not_too_often(cls, value: timedelta) -> timedelta:
        return _hourly(value)

    @model_validator(mode="after")
    def _asked_then(self) -> Self:
        if self.before is not None and self.gate == "after":
            raise ValueError("`before` goes with `gate: before` or `gate: both`")
        return self

    @property
    def before_swap(self) -> BeforeSwap | None:
        """The rules of the decision before the swap; None where none is asked for."""
        return None if self.gate == "after" else self.before or BeforeSwap()

    @field_validator("soak")
    @classmethod
    def _soak_for_policy(cls, value: timedelta | None, info: ValidationInfo) -> timedelta | None:
        if value is None and info.data.get("on_deadline") == "approve":
            raise ValueError("is needed with `onDeadline: approve`: how long both slots must run")
        return value


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Window(Section):
    """Hours of some days in which rotations may begin, by a zone's clock."""

    days: Annotated[list[Day], Field(min_length=1, max_length=7)] = list(get_args(Day))
    since: TimeOfDay = Field(alias="from")
    until: TimeOfDay = Field(alias="to")  # of the next day where it is before `from`
    zone: Zone

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.since == "24:00":
            raise ValueError("`from` cannot be 24:00, which ends a day: write 00:00")
        if self.since == self.until:
            raise ValueError(
                f"`from` and `to` are both {self.since}: write 00:00 to 24:00 for days"
            )
        return self

    @property
    def decided(self) -> hours.Window:
        """What `decisions` know of it."""
        days = frozenset(DAYS.index(day) for day in self.days)
        return hours.Window(days, _minutes(self.since), _minutes(self.until), self.zone)


def _minutes(time_of_day: str) -> int:
    """The minutes from midnight to a time of day."""
    hour, minute = time_of_day.split(":")
    return int(hour) * 60 + int(minute)


class Blackout(Section):
    """Days on which no rotation begins, by a zone's clock; the last one too."""

    first: Date = Field(alias="from")
    last: Date | None = Field(default=None, alias="to")  # the first one alone unless given
    zone: Zone

    @field_validator("last")
    @classmethod
    def _in_order(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and value < info.data.get("first", value):
            raise ValueError("must not be before `from`")
        return value

    @property
    def decided(self) -> hours.Blackout:
        """What `decisions` know of it."""
        first = date.fromisoformat(self.first)
        last = date.fromisoformat(self.last) if self.last else first
        return hours.Blackout(first, last, self.zone)


class Prometheus(Section):
    """A query in PromQL, and the server that is asked.

    A server of Azure Monitor gets a token of the app's identity, another one that of a file.
    """

    url: MetricsUrl
    query: MetricsQuery
    token: TokenFile | None = None  # a file's name in the folder ROTATION_TOKENS
    certificate_authority: Annotated[str, Field(min_length=1)] | None = None  # PEM, or a path

    @model_validator(mode="after")
    def _kept_safe(self) -> Self:
        if self.url.startswith("https:"):
            return self
        for name in ("token", "certificate_authority"):
            if getattr(self, name) is not None:
                raise ValueError(f"`{to_camel(name)}` goes with an https `url`")
        return self


class AzureMonitor(Section):
    """A query in KQL, and the workspace of Azure Monitor that is asked. Of the first row it answers
    with, `column` is the value, or else its only number."""

    workspace: WorkspaceId
    query: MetricsQuery
    column: Column | None = None
    span: PositiveDuration = timedelta(hours=1)  # back from now, that the query sees


class Condition(Section):
    """A value that must not be above a number, or below one, once the new slot serves."""

    name: Name
    prometheus: Prometheus | None = None
    azure_monitor: AzureMonitor | None = None
    above: Number | None = None
    below: Number | None = None
    lasts: Duration = Field(default=timedelta(), alias="for")  # that it has to be beyond it
    no_data: WhenAbsent = "ignore"
    when_unknown: WhenAbsent = "ignore"  # where the source is not to be asked for `retry.patience`

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.prometheus is None) == (self.azure_monitor is None):
            raise ValueError("give one of `prometheus` and `azureMonitor`")
        return self

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("give one of `above` and `below`: what the value must not be")
        return self

    @field_validator("lasts")
    @classmethod
    def _soon(cls, value: timedelta) -> timedelta:
        if value > LONGEST_BEYOND:
            raise ValueError("must be 1h at most: meanwhile the new slot serves")
        return value

    @property
    def limit(self) -> Limit:
        return Limit(self.above, self.below)


LONGEST_BEYOND = timedelta(hours=1)


class Retry(Section):
    """How long a step's transient faults are retried, with back-off, before it gives up."""

    retry_timeout: Duration = Field(default=timedelta(minutes=10), alias="patience")
    compensation: Duration = timedelta(hours=1)  # of the steps that undo, and that retire


class Credential(Section):
    """A login of two slots, and all that its rotation needs to know."""

    vault: VaultUrl
    validity: Duration
    format: Format = "password"
    keys: dict[Key, Text] = {}  # a JSON object's keys for the parts of a login
    parameters: dict[Text, Text] = {}  # set in each new value
    rotate_before: Duration = timedelta(days=30)  # the daily sweep's threshold
    database: Database
    slots: dict[Slot, SlotLogin]
    workloads: Annotated[list[Workload], Field(min_length=1, max_length=50)]
    viewers: list[Listed] = []  # who sees it, signed in; whoever may sign in where nobody is listed
    starters: list[Listed] = []  # who starts rotations by hand; whoever sees it, likewise
    approval: Approval = Approval()
    retry: Retry = Retry()
    drain: Duration = timedelta(minutes=1)  # for the replaced role's sessions, before their end
    usage: bool = True  # whether its sessions are sampled between rotations
    waive: list[WaivableCode] = []  # what does not stop a rotation that an event or the sweep began
    windows: Annotated[list[Window], Field(max_length=20)] = []  # in which it begins; any time
    blackouts: Annotated[list[Blackout], Field(max_length=100)] = []  # on which it does not
    retire_in: Literal["anytime", "window"] = "anytime"  # where the replaced login goes
    conditions: Annotated[list[Condition], Field(max_length=10)] = []  # by which it goes back
    watch: Duration = timedelta(minutes=2)  # how long conditions are watched before it asks
    canary: Name | None = None  # the workload that moves first
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=50)] = {}  # of no meaning here
    incident: Literal["forbidden", "allowed"] = "forbidden"  # ending a login that serves

    @field_validator("validity")
    @classmethod
    def _long_enough(cls, value: timedelta) -> timedelta:
        if value <= timedelta(days=31):
            raise ValueError(
                "must be more than 31d: Key Vault announces a shorter one at once, "
                "so that each rotation would cause the next"
            )
        return value

    @field_validator("rotate_before")
    @classmethod
    def _within_validity(cls, value: timedelta, info: ValidationInfo) -> timedelta:
        if value >= info.data.get("validity", LONGEST + timedelta(1)):
            raise ValueError("must be less than `validity`: every secret would be due at once")
        return value

    @field_validator("slots")
    @classmethod
    def _two_logins(cls, value: dict[Slot, SlotLogin]) -> dict[Slot, Any]:
        return _both_slots(value)

    @field_validator("keys")
    @classmethod
    def _keys_of_json(cls, value: dict[Key, str], info: ValidationInfo) -> dict[Key, str]:
        if value and info.data.get("format") != "json":
            raise ValueError("goes with `format: json`")
        if len(set(_keys_with(value).values())) < len(KEYS):
            raise ValueError("names one key for two parts of a login")
        return value

    @field_validator("parameters")
    @classmethod
    def _no_login(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        form = info.data.get("format")
        if value and form == "password":
            raise ValueError("goes with another `format` than password")
        taken = {*LOGIN_PARAMETERS, *_keys_with(info.data.get("keys", {})).values()}
        for name in value:
            if name.lower().replace(" ", "") in taken or name in taken:
                raise ValueError(f"{shown(name)} is part of the login, which each rotation sets")
        return value

    @model_validator(mode="after")
    def _time_for_cron_jobs(self) -> Self:
        """Refuses times in which a swap of CronJobs might not be done: it waits out a starting
        deadline."""
        retry = self.retry
        if any(workload.cron_jobs for workload in self.workloads) and (
            min(retry.retry_timeout, retry.compensation) < TIME_OF_CRON_JOBS
        ):
            raise ValueError(
                "`retry.patience` and `retry.compensation` must be at least 6m with `cronJobs`, "
                "whose swap waits so that no run is done twice"
            )
        return self

    @field_validator("conditions")
    @classmethod
    def _named_once(cls, value: list[Condition]) -> list[Condition]:
        names = [one.name for one in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"has two conditions named {name}")
        return value

    @field_validator("watch")
    @classmethod
    def _within_a_day(cls, value: timedelta) -> timedelta:
        if value > timedelta(days=1):
            raise ValueError("must be 1d at most: while a decision is awaited they are watched too")
        return value

    @model_validator(mode="after")
    def _known_canary(self) -> Self:
        names = [workload.name for workload in self.workloads]
        if self.canary is not None and self.canary not in names:
            raise ValueError(f"`canary` is none of its workloads: {', '.join(names)}")
        if self.canary is not None and len(names) == 1:
            raise ValueError("`canary` is its only workload: nothing would come after it")
        return self

    @model_validator(mode="after")
    def _retired_in_some(self) -> Self:
        if self.retire_in == "window" and not self.hours:
            raise ValueError("`retireIn: window` needs `windows` or `blackouts`: any time is one")
        return self

    @model_validator(mode="after")
    def _somebody_to_cut(self) -> Self:
        if self.incident == "allowed" and not self.approval.ids:
            raise ValueError(
                "`incident: allowed` needs `approvers` with object ids or app roles: whoever has "
                "signed in is known by one, and nobody else may cut"
            )
        return self

    @model_validator(mode="after")
    def _one_person_each(self) -> Self:
        """Refuses an address that stands in the lists with two object ids: nobody could say which
        of them has asked for a rotation."""
        _one_person_each([*self.approval.listed, *self.starters, *self.viewers])
        return self

    def object_id(self, address: str) -> str | None:
        """The object id of the person with this address who may start or decide; None if the file
        does not say."""
        return object_id_of(address, [*self.approval.listed, *self.starters])

    @property
    def hours(self) -> Hours:
        """When its rotations may begin; false where they always may."""
        return Hours(
            tuple(window.decided for window in self.windows),
            tuple(blackout.decided for blackout in self.blackouts),
        )

    @property
    def longest_preparation(self) -> timedelta:
        """How long the standby's pods and tests may take before the swap, all workloads at once."""
        return max(workload.longest_preparation for workload in self.workloads)

    @property
    def things(self) -> list[str]:
        """What its rotations work on that can have limits, each as its kind and its name."""
        host, port = self.database.host.lower(), self.database.port
        server = host if port == DEFAULT_PORT else f"{host}:{port}"
        clusters = dict.fromkeys(f"cluster {one.cluster}" for one in self.workloads)
        namespaces = dict.fromkeys(
            f"namespace {one.cluster}/{one.namespace}" for one in self.workloads
        )
        return [*clusters, f"server {server}", f"vault {self.vault}", *namespaces]

    @property
    def shape(self) -> Shape:
        """How the values of its secrets are written."""
        return Shape(self.format, _keys_with(self.keys), self.parameters)

    def secret(self, slot: Slot) -> SecretTarget:
        return SecretTarget(self.slots[slot].secret)

    def workload(self, name: str) -> Workload:
        """The workload of this name. Raises `ConfigurationError` if the file no longer has it."""
        for workload in self.workloads:
            if workload.name == name:
                return workload
        problem = f"workload {name!r} is no longer there"
        raise ConfigurationError("credentials.yaml", [problem], Code.NOT_CONFIGURED)


Places = Annotated[int, Field(ge=1, le=1000)]


class MaxParallel(Section):
    """How many rotations may be at one thing at once, from stage to swap and where they retire."""

    clusters: dict[LimitedCluster, Places] = {}
    servers: dict[LimitedServer, Places] = {}
    vaults: dict[LimitedVault, Places] = {}
    namespaces: dict[LimitedNamespace, Places] = {}

    def most(self, thing: str) -> int | None:
        """How many may be at a thing, as `Credential.things` names it; None for any number."""
        kind, _, name = thing.partition(" ")
        limits: dict[str, int] = {
            "cluster": self.clusters,
            "server": self.servers,
            "vault": self.vaults,
            "namespace": self.namespaces,
        }.get(kind, {})
        return limits.get(name, limits.get(rules.ANY))


class Configuration(Section):
    """The whole of `credentials.yaml`."""

    clusters: dict[Name, Cluster]
    max_parallel: MaxParallel = MaxParallel()
    credentials: Annotated[dict[Name, Credential], Field(min_length=1)]

    def credential(self, name: str) -> Credential:
        """The credential of this name. Raises `ConfigurationError` if the file no longer has it."""
        try:
            return self.credentials[name]
        except KeyError:
            # Not which there are: who reads this may not be one who sees them.
            problem = f"no credential {name!r}"
            raise ConfigurationError("credentials.yaml", [problem], Code.NOT_CONFIGURED) from None

    def owner(self, vault: str, secret: str) -> tuple[str, Slot] | None:
        """The credential and slot whose secret this is. Key Vault names ignore case.

        Raises `ValueError` if `vault` is no URL.
        """
        wanted = origin(vault)
        for name, credential in self.credentials.items():
            if credential.vault != wanted:
                continue
            for slot, login in credential.slots.items():
                if login.secret.lower() == secret.lower():
                    return name, slot
        return None


def parse(text: str, source: str = "credentials.yaml") -> Configuration:
    """The configuration in a file's text.

    Raises `ConfigurationError` with every problem, its path and its line in the file.
    """
    try:
        written = document.one(text)
    except UnreadableError as error:
        raise ConfigurationError(source, [str(error)]) from None
    configuration, found = examine(written)
    if configuration is None or found:
        raise ConfigurationError(source, [str(problem) for problem in found])
    return configuration


Problem = tuple[document.Path, str]

ALIKE = 0.75  # of 1: how much a key has to be like the one that was written to be proposed


class Found(NamedTuple):
    """Something that is wrong or doubtful in a file: its path there, and what it is."""

    path: str
    text: str
    place: Place

    def __str__(self) -> str:
        where = f"{self.place.file}, " if self.place.file else ""
        return f"{self.path or 'file'}: {self.text} ({where}line {self.place.line})"


def examine(written: Written) -> tuple[Configuration | None, list[Found]]:
    """The configuration, None where there is none, and every problem in the order of the files."""
    problems = [*crosscheck.problems(written.value)]
    configuration = None
    try:
        configuration = Configuration.model_validate(written.value)
    except ValidationError as error:
        problems = [*_invalid(error, written.value), *problems]
    problems += rules.problems(written.value)
    # What is wrong at the top is wrong in each credential that has it from there.
    found = list(dict.fromkeys(found_at(path, text, written) for path, text in problems))
    found += [Found(dotted(path), text, place) for place, path, text in written.repeated]
    return configuration, sorted(found, key=lambda one: (*written.order(one.place), *one[:2]))


def found_at(path: document.Path, text: str, written: Written) -> Found:
    """What was found at a path, with its place."""
    return Found(dotted(written.written(path), written.value), text, written.place(path))


def problem_lines(error: ValidationError, written: Any) -> list[str]:
    """A line for each problem that pydantic found, with its path in what was written."""
    return [f"{dotted(path, written) or 'file'}: {text}" for path, text in _invalid(error, written)]


def _invalid(error: ValidationError, written: Any) -> Iterator[Problem]:
    """The problems that pydantic found, in words of ours."""
    for problem in error.errors(include_url=False, include_input=False):
        path = tuple(part for part in problem["loc"] if part != "[key]")
        unquoted = _unquoted(written, path)
        if unquoted is not None:
            yield path[:unquoted], BRACES
            continue
        if len(path) == 1 and path[0] in document.FOR_ALL:
            yield path, "is for all credentials of its file, which has none"
            continue
        yield path, _text(problem["type"], str(path[-1]) if path else "", problem["msg"])


BRACES = (
    'quote it, as "{role}" or "{slot}": without quotes YAML takes what is in braces for a mapping'
)


def _unquoted(written: Any, path: document.Path) -> int | None:
    """The number of parts of a path that lead to what stands there for `{role}` without quotes."""
    for length in range(1, len(path) + 1):
        value = value_at(written, path[:length])
        if isinstance(value, dict) and len(value) == 1 and next(iter(value.items())) in UNQUOTED:
            return length
    return None


UNQUOTED = (("role", None), ("slot", None))


def _text(kind: str, key: str, message: str) -> str:
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            close = [_own_word(key), *get_close_matches(key, _keys() - {key}, 1, ALIKE)]
            proposed = next((name for name in close if name), None)
            return f"there is no such key here{f'; is it `{proposed}`?' if proposed else ''}"
        case "dict_type" | "model_type":
            return "must be a mapping, of keys and their values"
        case "list_type":
            return "must be a list, as [a, b]"
        case _:
            return message.removeprefix("Value error, ")


def _own_word(key: str) -> str | None:
    """The file's word for what the code calls a key, which is often how it is misspelt."""
    names = {name: str(field.alias) for model in _models() for name, field in _fields(model)}
    return names.get(key) if names.get(key) != key else None


def _fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return list(model.model_fields.items())


def _models() -> list[type[BaseModel]]:
    return [Configuration, *Section.__subclasses__()]


def _keys() -> set[str]:
    return {str(field.alias) for model in _models() for _, field in _fields(model)}


@lru_cache(maxsize=4)
def load(path: str, source: str = "the file of ROTATION_CONFIG") -> Configuration:
    """The configuration in a file, or in the files of a folder, which are read once per process: a
    new one is a new deployment.

    Problems name `source`. A path is not quoted: it is a setting's value, and nobody knows what may
    have been written there by mistake.
    """
    try:
        written = read(Path(path))
    except UnreadableError as error:
        raise ConfigurationError(source, [str(error)]) from None
    configuration, found = examine(written)
    if configuration is None or found:
        raise ConfigurationError(source, [str(problem) for problem in found])
    return configuration


def read(path: Path) -> Written:
    """A file, or the files of a folder. Raises `UnreadableError`."""
    if not path.is_dir():
        return document.one(_content(path))
    files = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES and each.is_file())
    if not files:
        raise UnreadableError(f"the folder has no file whose name ends in {' or '.join(SUFFIXES)}")
    return document.merged((each.name, _document(each)) for each in files)


SUFFIXES = (".yaml", ".yml")


def _document(path: Path) -> document.Document:
    """The document in a file of a folder. Raises `UnreadableError`, which names the file."""
    try:
        return document.read(_content(path))
    except UnreadableError as error:
        raise UnreadableError(f"{path.name}: {error}", error.line, path.name) from None


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UnreadableError(f"cannot be read: {why}") from None
