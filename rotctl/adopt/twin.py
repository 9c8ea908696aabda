"""The two slots of a workload: the original, but for the parts that are a slot's own."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import yaml

from rotctl.adopt import carriers, login, telling
from rotctl.adopt.cleaning import cleaned
from rotctl.adopt.original import template_of
from rotctl.adopt.plan import LABEL, SLOTS

if TYPE_CHECKING:
    from rotctl.adopt.original import Object
    from rotctl.adopt.plan import Credential, Workload

# Longer than from the start of a standby to the swap: it has no load until then.
STABLE = 3600
DEADLINE = 60  # seconds, of what runs by schedule; a rotation takes 30 to 300


def slot(workload: Workload, credential: Credential, name: str) -> list[Object]:
    """Everything that is one slot's own: what its pods read, its pods, and what counts them."""
    return [
        *secrets(workload, credential, name),
        *login.config_maps(workload, credential, name),
        running(workload, credential, name),
        *budgets(workload, name),
        *autoscalers(workload, name),
    ]


def running(workload: Workload, credential: Credential, name: str) -> Object:
    """The slot's Deployment or CronJob."""
    made = cleaned(workload.original.workload)
    _named(made, workload.at(name), name)
    spec = made["spec"]
    template = template_of(made)
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**pod_labels(workload), LABEL: name}
    login.written(template, workload, credential, name)
    if workload.scheduled:
        spec["suspend"] = name != SLOTS[0]
        if not 30 <= int(spec.get("startingDeadlineSeconds") or 0) <= 300:
            spec["startingDeadlineSeconds"] = DEADLINE
        return made
    selector = spec["selector"]
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), LABEL: name}
    replicas = spec.get("replicas", 1)
    spec["replicas"] = replicas if name == SLOTS[0] else 0
    return made


def pod_labels(workload: Workload) -> dict[str, str]:
    """Of both slots' pods. A CronJob's need some, by which its Service finds them."""
    return workload.original.labels or {"app": workload.name}


def finds(workload: Workload, name: str) -> dict[str, str]:
    """What selects the slot's pods and no others."""
    spec = workload.original.workload["spec"]
    own = (spec.get("selector") or {}).get("matchLabels") if not workload.scheduled else None
    return {**(own or pod_labels(workload)), LABEL: name}


def _named(made: Object, name: str, slot_name: str) -> None:
    metadata = made["metadata"]
    metadata["name"] = name
    labels = metadata.get("labels")
    if labels:
        labels[LABEL] = slot_name


def secrets(workload: Workload, credential: Credential, name: str) -> list[Object]:
    """What the slot's pods have the password from: a SecretProviderClass, or a Secret that is empty
    until somebody writes the password into it."""
    if not workload.carrier.mounted:
        return [_secret(workload, credential, name)]
    original = workload.original.one("SecretProviderClass", workload.carrier.provider_class)
    mounted = login.provider_class(workload, credential, name)
    if original is None or mounted == workload.carrier.provider_class:
        return []  # the live one stays as it is
    made = cleaned(original)
    made["metadata"]["name"] = mounted
    parameters = made["spec"]["parameters"]
    parameters["objects"] = _objects(carriers.objects(original), workload, credential, name)
    for one in made["spec"].get("secretObjects") or []:
        one["secretName"] = login.own(str(one["secretName"]), credential, name)
        for data in one.get("data") or []:
            # Both slots' files are called as the live one's are.
            if data.get("objectName") == workload.carrier.vault_secret:
                data["objectName"] = _alias(carriers.objects(original), workload)
    return [made]


def _alias(objects: list[Object], workload: Workload) -> str:
    secret = workload.carrier.vault_secret
    found = [one.get("objectAlias") for one in objects if one["objectName"] == secret]
    return str(found[0] or secret) if found else secret


def _objects(objects: list[Object], workload: Workload, credential: Credential, name: str) -> str:
    made = []
    for one in objects:
        copied = dict(one)
        if one["objectName"] == workload.carrier.vault_secret:
            copied["objectAlias"] = one.get("objectAlias") or one["objectName"]
            copied["objectName"] = credential.slots[name].secret
            copied.pop("objectVersion", None)
        made.append(yaml.safe_dump(copied, sort_keys=False))
    return _listed(made)


def _listed(texts: list[str]) -> str:
    """The text that the provider reads: a list of texts, each the YAML of one object."""
    lines = ["array:"]
    for text in texts:
        lines.append("  - |")
        lines += [f"    {line}" for line in text.splitlines()]
    return "\n".join(lines) + "\n"


def _secret(workload: Workload, credential: Credential, name: str) -> Object:
    made: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": login.kube_secret(workload, name),
            "namespace": workload.namespace,
        },
        "type": "Opaque",
    }
    if workload.role_file:
        made["stringData"] = {workload.role_file: credential.slots[name].role}
    return made


def budgets(workload: Workload, name: str) -> list[Object]:
    """Lets one pod go at a time, and holds no node up while the slot has none."""
    if workload.scheduled:
        return []
    return [
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": workload.at(name), "namespace": workload.namespace},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": finds(workload, name)}},
        }
    ]


def autoscalers(workload: Workload, name: str) -> list[Object]:
    made = []
    for original in telling.autoscalers(workload.original):
        one = cleaned(original)
        # Two of them would be a fault already: the second would fight the first.
        _named(one, workload.at(name), name)
        spec = one["spec"]
        spec["scaleTargetRef"]["name"] = workload.at(name)
        down = spec.setdefault("behavior", {}).setdefault("scaleDown", {})
        down["stabilizationWindowSeconds"] = max(
            STABLE, down.get("stabilizationWindowSeconds") or 0
        )
        made.append(one)
    return made[:1]


def traffic(workload: Workload, name: str) -> list[Object]:
    """What is made anew to lead to a slot, with the objects of which slot: the preview, the switch
    of what nothing calls, or both slots' own Services, which HTTPRoutes need at once."""
    if (name == SLOTS[0]) != bool(workload.routes):
        return []
    production = workload.original.one("Service", workload.service) or {}
    spec = production.get("spec") or {}
    if workload.routes:
        return [_backend(workload, production, each) for each in SLOTS]
    if workload.called:
        return [
            _service(
                workload,
                workload.preview,
                {
                    "selector": {**(spec.get("selector") or {}), LABEL: SLOTS[1]},
                    "ports": copy.deepcopy(cleaned(production)["spec"].get("ports") or []),
                },
            )
        ]
    spec = {"clusterIP": "None", "selector": finds(workload, SLOTS[0])}
    return [_service(workload, workload.service, spec)]


def _backend(workload: Workload, production: Object, name: str) -> Object:
    found = production.get("spec") or {}
    spec = {"selector": {**(found.get("selector") or {}), LABEL: name}}
    ports = copy.deepcopy(cleaned(production)["spec"].get("ports") or [])
    return _service(workload, workload.backend(name), {**spec, "ports": ports})


def _service(workload: Workload, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": workload.namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def moving(workload: Workload) -> list[Object]:
    """The Services that are there, and follow a slot from now on."""
    called = workload.called and not workload.routes
    names = [workload.service, *workload.services] if called else []
    found = [workload.original.one("Service", name) for name in names]
    return [cleaned(one) for one in found if one is not None]


def before(workload: Workload) -> list[Object]:
    """What the moves take away, for the way back."""
    original = workload.original
    beside = [*telling.autoscalers(original), *telling.adopted_budgets(original)]
    return [cleaned(one) for one in (original.workload, *beside)]


def of_git(objects: list[Object], workload: Workload) -> list[Object]:
    """Objects as Git has them once rotations run: without the fields that these own. The Services
    that HTTPRoutes share requests between select their slot for good."""
    kept = copy.deepcopy([one for one in objects if one["kind"] != "Secret"])
    for one in kept:
        spec = one.get("spec") or {}
        if one["kind"] == "Service" and not workload.routes:
            spec.pop("selector", None)
        if one["kind"] == "Deployment":
            spec.pop("replicas", None)
        if one["kind"] == "CronJob":
            spec.pop("suspend", None)
    return kept
