"""The app's rights in the cluster, and the guard that limits them, with names filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from rotctl.adopt import in_place, login, shipped
from rotctl.adopt.plan import SLOTS

if TYPE_CHECKING:
    from rotctl.adopt.original import Object
    from rotctl.adopt.plan import Plan, Workload

RIGHTS = "kubernetes/rbac.yaml"
GUARD = "kubernetes/guard.yaml"
GATEWAYS: Object = {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["httproutes"]}
ROUTED: list[Object] = [
    {**GATEWAYS, "resourceNames": [], "verbs": ["get", "patch"]},
    {**GATEWAYS, "verbs": ["list"]},
]
# Of one in place: its own Secret is read and written, and the Service that tests ask is not moved.
IN_PLACE = {"services": ["get"], "secrets": ["get", "patch"], "deployments": ["get", "patch"]}
NOBODY = "00000000-0000-0000-0000-000000000000"
GLASS = "credential-rotation-break-glass"
# Of a workload that runs by schedule, in the place of what is asked of Deployments.
SCHEDULED: list[Object] = [
    {"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["get", "patch"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]},
]


def of(workload: Workload, plan: Plan, ports: list[str]) -> list[Object]:
    """A Role with what a rotation of this workload needs, and its binding to the app.

    `ports` are those of its Service that tests ask, by name or number.
    """
    # The namespace `shop` of the example has each rule that there is.
    role, binding = _product("shop")
    own = _names(workload, ports)
    given = [*(ROUTED if workload.routes else []), *role["rules"]]
    rules = [rule for one in given for rule in _rule(one, workload, own)]
    name = f"credential-rotation-{workload.name}"
    metadata = {"name": name, "namespace": workload.namespace}
    subjects = [{**one, "name": plan.app_identity} for one in binding["subjects"]]
    return [
        {**role, "metadata": metadata, "rules": rules},
        {
            **binding,
            "metadata": dict(metadata),
            "roleRef": {**binding["roleRef"], "name": name},
            "subjects": subjects,
        },
    ]


def _product(namespace: str) -> tuple[Object, Object]:
    found = [
        one
        for one in yaml.safe_load_all(shipped.text(RIGHTS))
        if one["metadata"]["namespace"] == namespace
    ]
    role, binding = found
    return role, binding


def _names(workload: Workload, ports: list[str]) -> dict[str, list[str]]:
    """The objects that are the workload's, by resource."""
    called = [workload.service, workload.preview] if workload.called else []
    if workload.routes:
        called = [workload.backend(slot) for slot in SLOTS]
    if workload.in_place:
        asked = [f"http:{workload.service}:{port}" for port in ports]
        return {
            "services": called[:1] if asked else [],
            "services/proxy": asked,
            "deployments": [workload.name],
            "secrets": [in_place.secret_name(workload)],
        }
    both = [workload.at(slot) for slot in SLOTS]
    return {
        "httproutes": list(workload.routes),
        "services": [*(called or [workload.service]), *workload.services],
        "services/proxy": [f"http:{service}:{port}" for port in ports for service in called],
        "deployments": [] if workload.scheduled else both,
        "cronjobs": both if workload.scheduled else [],
        "secrets": []
        if workload.carrier.mounted
        else [login.kube_secret(workload, slot) for slot in SLOTS],
    }


def _rule(rule: Object, workload: Workload, own: dict[str, list[str]]) -> list[Object]:
    (resource,) = rule["resources"]
    if "resourceNames" not in rule:
        return [rule]
    if resource == "deployments" and workload.scheduled:
        pair, jobs = SCHEDULED
        return [_named(pair, own["cronjobs"]), jobs]
    if workload.routes and resource == "services":
        rule = {**rule, "verbs": ["get"]}
    if workload.in_place and resource in IN_PLACE:
        rule = {**rule, "verbs": IN_PLACE[resource]}
        if resource == "deployments":
            rule["resources"] = [f"{workload.original.kind.lower()}s"]
    return [_named(rule, own[resource])] if own[resource] else []


def _named(rule: Object, names: list[str]) -> Object:
    made: dict[str, Any] = {k: v for k, v in rule.items() if k not in {"verbs", "resourceNames"}}
    return {**made, "resourceNames": names, "verbs": rule["verbs"]}


def guard(plan: Plan) -> str:
    """The text of the guard, with whom it is about."""
    made = shipped.text(GUARD).replace(NOBODY, plan.app_identity)
    return made.replace(GLASS, plan.break_glass) if plan.break_glass else made
