"""What the API server refuses with 422: the rules that manifests of the served kinds break in
practice. Fields that nothing here reads are stored as they come."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from local.cluster import admission, gateway_schemas, kinds, schemas
from local.cluster.errors import invalid
from local.cluster.schedules import parse as parse_schedule
from local.cluster.selectors import from_spec, matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.cluster.kinds import Kind, Object
    from local.cluster.schemas import Schema

Problem = tuple[str, str]

SUBDOMAIN = re.compile(
    r"^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
)
LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
SERVICE_NAME = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
LABEL_VALUE = re.compile(r"^$|^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
KEY = re.compile(
    r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
DATA_KEY = re.compile(r"^[-._a-zA-Z0-9]{1,253}$")
PROGRESS_DEADLINE = 600  # seconds, upstream's default
LONGEST_CRON_JOB = 52  # characters of its name: its Jobs add 11 to it
# Of kinds that a cluster knows from a CRD, the schemas of `spec`.
SCHEMAS: dict[Kind, Schema] = {
    kinds.HTTP_ROUTE: gateway_schemas.HTTP_ROUTE,
    kinds.GATEWAY: gateway_schemas.GATEWAY,
}
SYSTEM_NAME = re.compile(r"^[^/%]{1,253}$")  # what rbac kinds allow


def validate(kind: Kind, obj: Object) -> None:
    """Raises 422 with every problem found."""
    problems = list(_metadata(kind, obj["metadata"]))
    if rules := _RULES.get(kind):
        problems += rules(obj)
    if schema := SCHEMAS.get(kind):
        problems += _of_schema(schema, obj)
    if problems:
        raise invalid(kind, obj["metadata"].get("name", ""), problems)


def _of_schema(schema: Schema, obj: Object) -> Iterator[Problem]:
    """The problems of a custom resource's `spec`."""
    if obj.get("spec") is None:
        yield "spec", "Required value"
    else:
        yield from schemas.problems(schema, schemas.completed(schema, obj["spec"]), "spec")


def validate_update(kind: Kind, old: Object, new: Object) -> None:
    """Raises 422 for a change of what cannot change."""
    problems = list(_immutable(kind, old, new))
    if problems:
        raise invalid(kind, old["metadata"]["name"], problems)


def _name_pattern(kind: Kind) -> re.Pattern[str]:
    if kind.group == "rbac.authorization.k8s.io":
        return SYSTEM_NAME
    if kind is kinds.SERVICE:
        return SERVICE_NAME
    return LABEL if kind is kinds.NAMESPACE else SUBDOMAIN


def _metadata(kind: Kind, metadata: Object) -> Iterator[Problem]:
    name = metadata.get("name")
    if not name:
        yield "metadata.name", "Required value: name or generateName is required"
    elif not isinstance(name, str) or not _name_pattern(kind).match(name):
        yield "metadata.name", f'Invalid value: "{name}": a lowercase RFC 1123 name is required'
    yield from _labels("metadata.labels", metadata.get("labels"))
    for key, value in (metadata.get("annotations") or {}).items():
        if not KEY.match(key) or not isinstance(value, str):
            yield "metadata.annotations", f'Invalid value: "{key}": a name and a string is required'


def _labels(field: str, labels: Any) -> Iterator[Problem]:
    for key, value in (labels or {}).items():
        if not KEY.match(key):
            yield field, f'Invalid value: "{key}": name part must be a qualified name'
        if not isinstance(value, str) or not LABEL_VALUE.match(value):
            yield field, f'Invalid value: "{value}": a valid label must be an alphanumeric string'


def _replicated(obj: Object) -> Iterator[Problem]:
    """The problems of a Deployment or ReplicaSet."""
    spec = obj.get("spec") or {}
    replicas = spec.get("replicas", 1)
    if replicas is not None and (not isinstance(replicas, int) or replicas < 0):
        yield "spec.replicas", f"Invalid value: {replicas}: must be greater than or equal to 0"
    template = spec.get("template") or {}
    selector = spec.get("selector") or {}
    requirements = from_spec(selector)
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not requirements:
        yield "spec.selector", "Required value"
    elif not matches(requirements, labels):
        yield (
            "spec.template.metadata.labels",
            f"Invalid value: {labels}: `selector` does not match template `labels`",
        )
    yield from _labels("spec.template.metadata.labels", labels)
    yield from _pod_spec("spec.template.spec", template.get("spec") or {})


def _deployment(obj: Object) -> Iterator[Problem]:
    yield from _replicated(obj)
    strategy = (obj.get("spec") or {}).get("strategy") or {}
    if strategy.get("type") == "Recreate" and strategy.get("rollingUpdate"):
        yield (
            "spec.strategy.rollingUpdate",
            "Forbidden: may not be specified when strategy `type` is 'Recreate'",
        )
    spec = obj.get("spec") or {}
    deadline = spec.get("progressDeadlineSeconds", PROGRESS_DEADLINE)
    if deadline <= spec.get("minReadySeconds", 0):
        yield (
            "spec.progressDeadlineSeconds",
            f"Invalid value: {deadline}: must be greater than minReadySeconds",
        )


def _job(obj: Object) -> Iterator[Problem]:
    yield from _job_spec("spec", obj.get("spec") or {})


def _job_spec(place: str, job: Object) -> Iterator[Problem]:
    spec = (job.get("template") or {}).get("spec") or {}
    if spec.get("restartPolicy") not in {"Never", "OnFailure"}:
        yield (
            f"{place}.template.spec.restartPolicy",
            'Required value: valid values: "OnFailure", "Never"',
        )
    if job.get("podFailurePolicy") and spec.get("restartPolicy") != "Never":
        text = f'Invalid value: "{spec.get("restartPolicy")}": only "Never" is supported'
        yield f"{place}.template.spec.restartPolicy", f"{text} when podFailurePolicy is specified"
    yield from _pod_spec(f"{place}.template.spec", spec)


def _cron_job(obj: Object) -> Iterator[Problem]:
    spec = obj.get("spec") or {}
    name = obj["metadata"].get("name") or ""
    if len(name) > LONGEST_CRON_JOB:
        text = f"must be no more than {LONGEST_CRON_JOB} characters"
        yield "metadata.name", f'Invalid value: "{name}": {text}'
    try:
        parse_schedule(spec.get("schedule") or "")
    except ValueError as error:
        text = f'Invalid value: "{spec.get("schedule")}": {error}'
        yield "spec.schedule", text if spec.get("schedule") else "Required value"
    if spec.get("timeZone") is not None:
        yield "spec.timeZone", "Forbidden: times are UTC here"
    policy = spec.get("concurrencyPolicy")
    if policy not in {None, "Allow", "Forbid", "Replace"}:
        supported = 'supported values: "Allow", "Forbid", "Replace"'
        yield "spec.concurrencyPolicy", f'Unsupported value: "{policy}": {supported}'
    for key in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        if (spec.get(key) or 0) < 0:
            text = f"Invalid value: {spec[key]}: must be greater than or equal to 0"
            yield f"spec.{key}", text
    yield from _job_spec("spec.jobTemplate.spec", (spec.get("jobTemplate") or {}).get("spec") or {})


def _pod(obj: Object) -> Iterator[Problem]:
    yield from _pod_spec("spec", obj.get("spec") or {})


def _pod_spec(field: str, spec: Object) -> Iterator[Problem]:
    containers = spec.get("containers") or []
    if not containers:
        yield f"{field}.containers", "Required value"
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    names: set[str] = set()
    for position, container in enumerate(containers):
        place = f"{field}.containers[{position}]"
        yield from _container(place, container, volumes)
        if container.get("name") in names:
            yield f"{place}.name", f'Duplicate value: "{container.get("name")}"'
        names.add(container.get("name", ""))


def _container(place: str, container: Object, volumes: set[Any]) -> Iterator[Problem]:
    if not LABEL.match(container.get("name") or ""):
        yield f"{place}.name", f'Invalid value: "{container.get("name", "")}"'
    if not container.get("image"):
        yield f"{place}.image", "Required value"
    for position, port in enumerate(container.get("ports") or []):
        if not isinstance(port.get("containerPort"), int):
            yield f"{place}.ports[{position}].containerPort", "Required value"
    for position, mount in enumerate(container.get("volumeMounts") or []):
        if mount.get("name") not in volumes:
            yield f"{place}.volumeMounts[{position}].name", f'Not found: "{mount.get("name")}"'
    for position, variable in enumerate(container.get("env") or []):
        if not variable.get("name"):
            yield f"{place}.env[{position}].name", "Required value"
        if not isinstance(variable.get("value", ""), str):
            yield f"{place}.env[{position}].value", "Invalid value: must be a string"


def _service(obj: Object) -> Iterator[Problem]:
    spec = obj.get("spec") or {}
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield "spec.ports", "Required value"
    if spec.get("clusterIP") == "None" and spec.get("type") in {"NodePort", "LoadBalancer"}:
        text = f"may not be set to 'None' for {spec['type']} services"
        yield "spec.clusterIPs[0]", f'Invalid value: ["None"]: {text}'
    for position, port in enumerate(ports):
        number = port.get("port")
        if not isinstance(number, int) or not 0 < number < 65536:
            yield f"spec.ports[{position}].port", f"Invalid value: {number}: must be 1-65535"
        if len(ports) > 1 and not port.get("name"):
            yield f"spec.ports[{position}].name", "Required value"
    yield from _labels("spec.selector", spec.get("selector"))


def _secret(obj: Object) -> Iterator[Problem]:
    for key, value in (obj.get("data") or {}).items():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            yield f"data.{key}", "Invalid value: illegal base64 data"
    yield from _data_keys({**(obj.get("data") or {}), **(obj.get("stringData") or {})})


def _config_map(obj: Object) -> Iterator[Problem]:
    yield from _data_keys(obj.get("data") or {})


def _data_keys(data: Object) -> Iterator[Problem]:
    for key in data:
        if not DATA_KEY.match(key) or key in {".", ".."}:
            yield "data", f'Invalid value: "{key}": a valid config key is required'


def _binding(obj: Object) -> Iterator[Problem]:
    reference = obj.get("roleRef") or {}
    if not reference.get("name"):
        yield "roleRef.name", "Required value"
    if reference.get("kind") not in {"Role", "ClusterRole"}:
        yield "roleRef.kind", f'Unsupported value: "{reference.get("kind", "")}"'


SELECTING = {
    kinds.DEPLOYMENT, kinds.REPLICA_SET, kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.JOB,
}  # fmt: skip


def _immutable(kind: Kind, old: Object, new: Object) -> Iterator[Problem]:
    specs = (old.get("spec") or {}, new.get("spec") or {})
    selectors = [spec.get("selector") for spec in specs]
    if kind in SELECTING and selectors[0] != selectors[1]:
        yield "spec.selector", "Invalid value: field is immutable"
    addresses = [spec.get("clusterIP") for spec in specs]
    if kind is kinds.SERVICE and all(addresses) and addresses[0] != addresses[1]:
        value = f'Invalid value: ["{addresses[1]}"]'
        yield "spec.clusterIPs[0]", f"{value}: may not change once set"
    if kind is kinds.POD and _frozen(specs[0]) != _frozen(specs[1]):
        yield "spec", "Forbidden: pod updates may not change fields other than the images"
    sealed = kind in {kinds.SECRET, kinds.CONFIG_MAP} and old.get("immutable")
    if sealed and old.get("data") != new.get("data"):
        yield "data", "Forbidden: field is immutable when `immutable` is set"
    if "roleRef" in old and old["roleRef"] != new.get("roleRef"):
        yield "roleRef", "Invalid value: cannot change roleRef"


def _frozen(spec: Object) -> Object:
    containers = [{**item, "image": ""} for item in spec["containers"]]
    return {**spec, "containers": containers, "activeDeadlineSeconds": 0, "tolerations": []}


_RULES: dict[Kind, Callable[[Object], Iterator[Problem]]] = {
    kinds.DEPLOYMENT: _deployment,
    kinds.REPLICA_SET: _replicated,
    kinds.STATEFUL_SET: _replicated,
    kinds.DAEMON_SET: _replicated,
    kinds.POD: _pod,
    kinds.JOB: _job,
    kinds.CRON_JOB: _cron_job,
    kinds.SERVICE: _service,
    kinds.SECRET: _secret,
    kinds.CONFIG_MAP: _config_map,
    kinds.ROLE_BINDING: _binding,
    kinds.CLUSTER_ROLE_BINDING: _binding,
    kinds.POLICY: admission.problems,
    kinds.POLICY_BINDING: admission.problems,
}
