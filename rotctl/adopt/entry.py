"""The entry of credentials.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from rotctl.adopt import in_place, login
from rotctl.adopt.original import containers
from rotctl.adopt.plan import SLOTS

if TYPE_CHECKING:
    from rotctl.adopt.original import Object
    from rotctl.adopt.plan import Plan, Workload

VALIDITY = "90d"


def document(plan: Plan) -> dict[str, Any]:
    """A whole credentials.yaml, with this credential and its cluster."""
    cluster = {"server": plan.cluster.server}
    if plan.cluster.authority:
        cluster["certificateAuthority"] = certificate(plan)
    return {
        "clusters": {plan.cluster.name: cluster},
        "credentials": {plan.credential.name: _credential(plan)},
    }


def certificate(plan: Plan) -> str:
    """Where the authority's certificate is, from the file on."""
    return f"certificates/{plan.cluster.name}.pem"


def _credential(plan: Plan) -> dict[str, Any]:
    one = plan.credential
    database: dict[str, Any] = {"host": one.host}
    if one.port != 5432:
        database["port"] = one.port
    database |= {
        "name": one.database,
        "admin": {"role": one.rotator.role, "secret": one.rotator.secret},
    }
    made: dict[str, Any] = {"vault": one.vault, "validity": VALIDITY}
    if one.format != "password":
        made["format"] = one.format
    made |= {
        "database": database,
        "slots": {
            slot: {"role": one.slots[slot].role, "secret": one.slots[slot].secret} for slot in SLOTS
        },
        "workloads": [_workload(each, plan) for each in plan.workloads],
    }
    if one.approvers:
        made["approval"] = {"approvers": list(one.approvers)}
    return made


def name(workload: Workload) -> str:
    """Written like a credential's: 32 characters, and no dots."""
    made = workload.name.replace(".", "-")[:32].strip("-")
    return made if made[:1].isalpha() and len(made) > 1 else f"w-{made}"[:32].strip("-")


def _workload(workload: Workload, plan: Plan) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": name(workload),
        "cluster": plan.cluster.name,
        "namespace": workload.namespace,
    }
    if workload.service and not workload.routes:
        made["service"] = workload.service
    if workload.routes:
        made["route"] = _route(workload)
    if workload.in_place:
        return made | _in_place(workload, plan)
    if workload.preview:
        made["preview"] = workload.preview
    if workload.services:
        made["services"] = list(workload.services)
    if workload.others and not workload.scheduled:
        made["otherServices"] = list(workload.others)
    pair = {slot: workload.at(slot) for slot in SLOTS}
    made["cronJobs" if workload.scheduled else "deployments"] = pair
    if not workload.carrier.mounted:
        made["delivery"] = "secret"
        made["secrets"] = {slot: login.kube_secret(workload, slot) for slot in SLOTS}
        if workload.carrier.key != "password":
            made["key"] = workload.carrier.key
    if test := tested(workload):
        made["tests"] = [test]
    return made


def _route(workload: Workload) -> dict[str, Any]:
    first, *more = workload.routes
    made: dict[str, Any] = {"name": first}
    if more:
        made["names"] = more
    return {**made, "backends": {slot: workload.backend(slot) for slot in SLOTS}}


def _in_place(workload: Workload, plan: Plan) -> dict[str, Any]:
    one: dict[str, Any] = {
        "kind": workload.original.kind,
        "name": workload.name,
        "secret": in_place.secret_name(workload),
        "then": workload.then,
    }
    if named := in_place.role_key(workload, plan.credential):
        one["roleKey"] = named
    made: dict[str, Any] = {"inPlace": one}
    if in_place.key(workload) != "password":
        made["key"] = in_place.key(workload)
    if test := tested(workload):
        made["tests"] = [test]
    return made


def tested(workload: Workload) -> dict[str, Any]:
    """A test by the readiness probe's path, where a port of the Service leads to it."""
    ports = production(workload).get("ports") or []
    for container in containers(workload.original.template) if workload.called else ():
        asked = (container.get("readinessProbe") or {}).get("httpGet") or {}
        if asked.get("scheme", "HTTP") != "HTTP" or not str(asked.get("path", "")).startswith("/"):
            continue
        for number, port in enumerate(ports):
            if _leads(port, asked["port"], container):
                test = {"path": asked["path"]}
                return test if number == 0 else {**test, "port": shown(port)}
    return {}


def production(workload: Workload) -> Object:
    made = workload.original.one("Service", workload.service) or {}
    spec: Object = made.get("spec") or {}
    return spec


def shown(port: Object) -> Any:
    """A Service's port as the entry and the proxy name it."""
    return port.get("name") or port["port"]


def proxied(workload: Workload) -> list[str]:
    """The ports that the app asks tests at."""
    ports = production(workload).get("ports") or []
    if not workload.called or not ports:
        return []
    test = tested(workload)
    return [str(test.get("port") or shown(ports[0]))]


def _leads(port: Object, probed: Any, container: Object) -> bool:
    """Whether a Service's port and a probe mean one port of the container."""
    numbers = {one.get("name"): one["containerPort"] for one in container.get("ports") or []}
    target = port.get("targetPort", port["port"])
    return bool(numbers.get(target, target) == numbers.get(probed, probed))


def text(plan: Plan) -> str:
    return yaml.safe_dump(document(plan), sort_keys=False, allow_unicode=True, width=110)
