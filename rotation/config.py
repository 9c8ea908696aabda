"""`credentials.yaml` and the app settings: parsed once, all problems reported together.

Everything here is declarative and holds no secret. Durations are written `90d`, `24h`, `10m`,
`20s` and held as `timedelta`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from rotation.errors import ConfigurationError
from rotation.model import SLOTS, Slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DURATION = re.compile(r"(\d+)\s*([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(value: object) -> timedelta:
    """Reads `90d`, `1d12h`, `20s`; a bare number is refused, since its unit would be a guess."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    parts = DURATION.findall(text)
    if not parts or DURATION.sub("", text).strip():
        raise ValueError(f"{value!r} is not a duration; write for example 90d, 24h, 10m or 20s")
    return timedelta(**{UNITS[unit]: int(number) for number, unit in parts})


def https_url(value: object) -> str:
    parts = urlsplit(str(value))
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.query:
        raise ValueError(f"{value!r} is not an https:// URL of a server")
    return str(value).rstrip("/")


def test_url(value: object) -> str:
    parts = urlsplit(str(value))
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username:
        raise ValueError(f"{value!r} is not an http(s):// URL without credentials")
    return str(value)


# A credential's and a workload's name become parts of instance ids, which are limited to 100
# characters without / \ # ? on the Durable Task Scheduler.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
KubernetesName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
SecretName = Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z-]{1,127}$")]
RoleName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[^\x00]+$")]
Duration = Annotated[timedelta, BeforeValidator(duration)]
HttpsUrl = Annotated[str, BeforeValidator(https_url)]
TestUrl = Annotated[str, BeforeValidator(test_url)]
Port = Annotated[int, Field(ge=1, le=65535)]
DataKey = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]{1,253}$")]
LabelKey = Annotated[str, StringConstraints(pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9._-]{1,63}$")]


class Section(BaseModel):
    """Keys are camelCase in the file; unknown ones are refused, since they are typing errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class Cluster(Section):
    """An API server: with an Entra token (AKS), or as a kubeconfig says (any other)."""

    server: HttpsUrl | None = None
    certificate_authority: str | None = None  # PEM text, or the path of a PEM file
    kubeconfig: str | None = None  # path
    context: str | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.server is None) == (self.kubeconfig is None):
            raise ValueError("give either `server` (AKS, Entra sign-in) or `kubeconfig`")
        if self.server is not None and self.context is not None:
            raise ValueError("`context` goes with `kubeconfig`")
        return self


class Admin(Section):
    """The login that rotates. Without `secret` it signs in with an Entra token."""

    role: RoleName
    secret: SecretName | None = None
    vault: HttpsUrl | None = None  # the credential's own vault unless given


class Database(Section):
    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$")]
    port: Port = 5432
    name: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    admin: Admin
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = (
        "verify-full"
    )
    sslrootcert: str | None = None  # path; certifi's bundle of public authorities unless given


class SlotLogin(Section):
    role: RoleName
    secret: SecretName


class WorkloadTest(Section):
    """One HTTP request that must succeed `repeat` times in a row.

    `{role}` and `{slot}` in `json` and `path` stand for the slot under test. `status` is what
    must be answered; every key of `json` must be in the answer with just that value.
    """

    path: Annotated[str, StringConstraints(pattern=r"^/[^\s?#]*(\?[^\s#]*)?$")] | None = None
    url: TestUrl | None = None
    status: Annotated[int, Field(ge=100, le=599)] = 200
    # `json` is the file's word; the attribute is not called so, since BaseModel has such a method.
    expect: dict[str, str | int | bool | None] | None = Field(default=None, alias="json")
    repeat: Annotated[int, Field(ge=1, le=20)] = 3
    timeout: Duration = timedelta(seconds=10)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("give either `path` (through the Service) or `url`")
        return self


class Workload(Section):
    name: Name
    cluster: str
    namespace: KubernetesName
    service: KubernetesName
    preview: KubernetesName
    port: Port | KubernetesName | None = None  # of the Services; their first one unless given
    deployments: dict[Slot, KubernetesName]
    delivery: Literal["csi", "secret"] = "csi"
    secrets: dict[Slot, KubernetesName] | None = None  # Kubernetes Secrets, for delivery: secret
    key: DataKey = "password"  # in those Kubernetes Secrets
    selector_label: LabelKey = "slot"
    application: str | None = None  # how its sessions name themselves; its name unless given
    tests: Annotated[list[WorkloadTest], Field(min_length=1)]
    ready: Duration = timedelta(minutes=10)  # longest wait for the standby Deployment
    drain: Duration = timedelta(minutes=5)  # longest wait for pods to be gone

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [*_both_slots("deployments", self.deployments)]
        if self.delivery == "secret":
            problems += _both_slots("secrets", self.secrets or {})
        elif self.secrets is not None:
            problems.append("`secrets` goes with `delivery: secret`")
        if self.service == self.preview:
            problems.append("`preview` must be another Service than `service`")
        if not any(test.expect for test in self.tests):
            problems.append(
                "no test checks a JSON field: at least one must prove which role served, "
                'for example {path: /whoami, json: {role: "{role}"}}'
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _both_slots(key: str, mapping: Mapping[Slot, str]) -> list[str]:
    if set(mapping) != set(SLOTS):
        return [f"`{key}` must name one for each of blue and green"]
    if len(set(mapping.values())) != len(SLOTS):
        return [f"`{key}` names the same one for both slots"]
    return []


class Approval(Section):
    """Who may decide, when they are reminded, and what happens when nobody does."""

    approvers: list[str] = []  # Entra object ids of people or groups, app roles, mail addresses
    allow_requester: bool = False  # four eyes unless true
    remind: Duration = timedelta(hours=24)
    deadline: Duration = timedelta(days=7)
    on_deadline: Literal["keep", "roll-back", "approve"] = "keep"
    soak: Duration | None = None  # how long both must have run before `approve` may apply

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.on_deadline == "approve" and self.soak is None:
            raise ValueError("`onDeadline: approve` needs a `soak` time")
        if self.remind < timedelta(minutes=1):
            raise ValueError("`remind` must be at least 1m")
        return self


class Retry(Section):
    """How long a step's transient faults are retried, with back-off, before it gives up."""

    patience: Duration = timedelta(minutes=10)
    compensation: Duration = timedelta(hours=1)  # of the steps that undo, and that retire


class Credential(Section):
    vault: HttpsUrl
    validity: Duration
    format: Literal["password", "url", "json"] = "password"
    rotate_before: Duration = timedelta(days=30)  # the daily sweep's threshold
    database: Database
    slots: dict[Slot, SlotLogin]
    workloads: Annotated[list[Workload], Field(min_length=1, max_length=50)]
    approval: Approval = Approval()
    retry: Retry = Retry()
    drain: Duration = timedelta(minutes=1)  # for the replaced role's sessions, before their end

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems: list[str] = []
        if self.validity <= timedelta(days=31):
            problems.append(
                "`validity` must be more than 31d: Key Vault announces a shorter one at once, "
                "so that each rotation would cause the next"
            )
        if self.rotate_before >= self.validity:
            problems.append("`rotateBefore` must be less than `validity`")
        problems += self._slot_problems()
        problems += _repeated("workloads", [workload.name for workload in self.workloads])
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _slot_problems(self) -> list[str]:
        if set(self.slots) != set(SLOTS):
            return ["`slots` must have blue and green"]
        blue, green = self.slots["blue"], self.slots["green"]
        problems = []
        if blue.role == green.role:
            problems.append("both slots have the same role")
        if blue.secret.lower() == green.secret.lower():
            problems.append("both slots have the same secret")
        if self.database.admin.role in {blue.role, green.role}:
            problems.append("`database.admin.role` is one of the slots' roles")
        return problems

    def workload(self, name: str) -> Workload:
        """Raises `ConfigurationError` if the file no longer has it."""
        for workload in self.workloads:
            if workload.name == name:
                return workload
        raise ConfigurationError("credentials.yaml", [f"workload {name!r} is no longer there"])


def _repeated(key: str, values: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    twice = sorted({value for value in values if value in seen or seen.add(value)})  # type: ignore[func-returns-value]
    return [f"`{key}` has {value!r} twice" for value in twice]


class Configuration(Section):
    clusters: dict[Name, Cluster]
    credentials: Annotated[dict[Name, Credential], Field(min_length=1)]

    @model_validator(mode="after")
    def _references(self) -> Self:
        problems = [
            f"credentials.{name}.workloads.{index}.cluster: {workload.cluster!r} is not in clusters"
            for name, credential in self.credentials.items()
            for index, workload in enumerate(credential.workloads)
            if workload.cluster not in self.clusters
        ]
        problems += _repeated("secrets", self._secret_urls())
        problems += _repeated("deployments", self._deployment_urls())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _secret_urls(self) -> Iterable[str]:
        for credential in self.credentials.values():
            for slot in credential.slots.values():
                yield f"{credential.vault}/secrets/{slot.secret}".lower()

    def _deployment_urls(self) -> Iterable[str]:
        for credential in self.credentials.values():
            for workload in credential.workloads:
                for deployment in workload.deployments.values():
                    yield f"{workload.cluster}/{workload.namespace}/{deployment}"

    def credential(self, name: str) -> Credential:
        """Raises `ConfigurationError` if the file no longer has it."""
        try:
            return self.credentials[name]
        except KeyError:
            known = ", ".join(sorted(self.credentials))
            raise ConfigurationError(
                "credentials.yaml", [f"no credential {name!r}; there are: {known}"]
            ) from None

    def owner(self, vault: str, secret: str) -> tuple[str, Slot] | None:
        """The credential and slot whose secret this is. Key Vault names ignore case."""
        for name, credential in self.credentials.items():
            if credential.vault.lower() != vault.lower().rstrip("/"):
                continue
            for slot, login in credential.slots.items():
                if login.secret.lower() == secret.lower():
                    return name, slot
        return None


def parse(text: str, source: str = "credentials.yaml") -> Configuration:
    """Raises `ConfigurationError` with every problem and its path in the file."""
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigurationError(source, [" ".join(str(error).split())]) from None
    if not isinstance(document, dict):
        raise ConfigurationError(source, ["the file must be a mapping of clusters and credentials"])
    try:
        return Configuration.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(source, _problems(error)) from None


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in problem["loc"]) or "file"
        text = problem["msg"].removeprefix("Value error, ")
        lines += [f"{path}: {part}" for part in text.split("; ")]
    return lines


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping: YAML would silently drop the first."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in keys:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands twice", key_node.start_mark
            )
        keys.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


@lru_cache(maxsize=4)
def load(path: str) -> Configuration:
    """Read once per process: a new file comes with a new deployment."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(path, [f"cannot be read: {error}"]) from None
    return parse(text, path)
