"""The SDK's Deployments as the product's: what they run, select and report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kubernetes import client

from rotation.decisions.selectors import OPERATORS
from rotation.edges.cluster import patches
from rotation.edges.cluster.races import revision_of
from rotation.model.errors import Invalid
from rotation.model.reasons import Code
from rotation.model.world import Deployment, Requirement, Selector, Template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.model.wire import JsonObject

CONDITIONS = {"FailedCreate", "FailedDelete", "ProgressDeadlineExceeded", "ReplicaSetCreateError"}
# What a condition's message says where the API server refuses pods, and what that is called.
REFUSALS = (
    ("exceeded quota: ", "a quota is full"),
    ("failed quota: ", "a quota asks for requests or limits that the pods do not have"),
    ("violates PodSecurity", "Pod Security refuses the pods"),
    ("denied the request", "an admission webhook refuses the pods"),
    ("failed calling webhook", "an admission webhook does not answer"),
    ("denied request", "an admission policy refuses the pods"),
    ("serviceaccount", "the pods' ServiceAccount is not there"),
)
RESOURCES = "pods|count/pods|cpu|memory|requests.cpu|requests.memory|limits.cpu|limits.memory"
AMOUNT = re.compile(rf"(?:^|[ ,])({RESOURCES})=(\d{{1,12}}(?:\.\d{{1,6}})?[A-Za-z]{{0,2}})(?=,|$)")
COUNTS = re.compile(r"requested: ([^:]*), used: ([^:]*), limited: ([^:]*)$")
LONGEST_MESSAGE = 2000
# Anybody may have written the annotations.
VERSION = re.compile(r"[0-9A-Za-z]{1,64}", re.ASCII)
EXCHANGE = re.compile(r"[0-9A-Za-z._-]{1,200}", re.ASCII)


def deployment_of(seen: client.V1Deployment, document: JsonObject | None = None) -> Deployment:
    """The SDK's Deployment as a `Deployment`, with the pod template of the document that the API
    server answered. Raises `Invalid` if it is none."""
    metadata, spec = seen.metadata, seen.spec
    status = seen.status or client.V1DeploymentStatus()
    if metadata is None or spec is None:
        text = "the API server answered a Deployment without metadata or spec"
        raise Invalid(Code.CLUSTER_ANSWER, text)
    labelled = spec.template.metadata or client.V1ObjectMeta()
    failure = _failure(status)
    return Deployment(
        namespace=str(metadata.namespace),
        name=str(metadata.name),
        replicas=1 if spec.replicas is None else spec.replicas,
        ready=status.ready_replicas or 0,
        updated=status.updated_replicas or 0,
        total=status.replicas or 0,
        observed=(status.observed_generation or 0) >= (metadata.generation or 0),
        images=_images(spec.template.spec),
        version=known_version((labelled.annotations or {}).get(patches.VERSION)),
        failure=_word(failure) if failure else None,
        refusal=_refusal(failure.message or "") if failure else None,
        paused=bool(spec.paused),
        selector=selector_of(seen),
        labels=dict(labelled.labels or {}),
        template=_template(document) if document else None,
        revision=revision_of(metadata),
        restarted=exchange_in(labelled.annotations or {}),
        stays="its rollout is paused" if spec.paused else None,
    )


def _template(document: JsonObject) -> Template:
    """The pod template of a Deployment as the API server answered it."""
    spec = document.get("spec") or {}
    return Template(spec.get("template") or {}, spec.get("strategy"))


def known_version(annotation: str | None) -> str | None:
    """The version that an annotation names; None if it names none that a vault could have made."""
    known = isinstance(annotation, str) and VERSION.fullmatch(annotation)
    return annotation if known else None


def exchange_in(notes: dict[str, str]) -> str | None:
    """The exchange that a pod template's annotations name; None if they name none that a rotation
    could have written."""
    named = notes.get(patches.RESTARTED)
    return named if isinstance(named, str) and EXCHANGE.fullmatch(named) else None


def query(seen: client.V1Deployment) -> str:
    """The Deployment's selector of pods, as queries take it. Raises `Invalid` for a strange one."""
    return ",".join(_queries(selector_of(seen)))


def _queries(selector: Selector) -> Iterator[str]:
    for requirement in selector.requirements:
        key, values = requirement.key, ",".join(sorted(requirement.values))
        match requirement.operator:
            case "In":
                yield f"{key} in ({values})"
            case "NotIn":
                yield f"{key} notin ({values})"
            case "Exists":
                yield key
            case _:
                yield f"!{key}"


def selector_of(seen: client.V1Deployment) -> Selector:
    """The requirements of the Deployment's selector. Raises `Invalid` without any."""
    # The SDK takes it that there always is one; a server may say otherwise.
    asked: Any = getattr(seen.spec, "selector", None)
    labels: dict[str, str] = getattr(asked, "match_labels", None) or {}
    requirements = [Requirement(key, "In", (value,)) for key, value in sorted(labels.items())]
    requirements += [
        Requirement(each.key, each.operator, tuple(each.values or ()))
        for each in getattr(asked, "match_expressions", None) or []
    ]
    if not requirements or not {each.operator for each in requirements} <= OPERATORS:
        name = f"{seen.metadata.namespace}/{seen.metadata.name}" if seen.metadata else "?"
        text = f"Deployment {name} selects its pods in a way that cannot be decided"
        raise Invalid(Code.SELECTOR_UNKNOWN, text)
    return Selector(tuple(requirements))


def _images(pod: client.V1PodSpec | None) -> dict[str, str]:
    """A pod's images by container, as `patches.start` takes them."""
    if pod is None:
        return {}
    images = {container.name: container.image or "" for container in pod.containers}
    for container in pod.init_containers or []:
        images[f"init:{container.name}"] = container.image or ""
    return images


def _failure(status: client.V1DeploymentStatus) -> client.V1DeploymentCondition | None:
    """The condition that reports a failure, first of all that pods are refused; None without one.

    It may be about an earlier rollout: the controller observes a change before it refreshes them.
    """
    conditions = {condition.type: condition for condition in status.conditions or []}
    refused, progressing = conditions.get("ReplicaFailure"), conditions.get("Progressing")
    if refused is not None and refused.status == "True":
        return refused
    if progressing is not None and progressing.status == "False":
        return progressing
    return None


def _word(condition: client.V1DeploymentCondition) -> str:
    """A condition's reason if it is a known one: others may write any."""
    otherwise = "not progressing" if condition.type == "Progressing" else "replica failure"
    return condition.reason if condition.reason in CONDITIONS else otherwise


def _refusal(message: str) -> str | None:
    """What a condition's message says of who refuses pods, in known words and numbers."""
    known = message[:LONGEST_MESSAGE]
    word = next((word for sign, word in REFUSALS if sign in known), None)
    amounts = list(_amounts(known)) if word == REFUSALS[0][1] else []
    return f"{word}: {', '.join(amounts)}" if amounts else word


def _amounts(message: str) -> Iterator[str]:
    """How much of each resource a quota limits, is used, and was asked for."""
    counts = COUNTS.search(message)
    if counts is None:
        return
    requested, used, limited = (dict(AMOUNT.findall(part)) for part in counts.groups())
    for resource in sorted(limited.keys() & used.keys() & requested.keys()):
        asked = f"{requested[resource]} more asked for"
        yield f"{used[resource]} of {limited[resource]} {resource} used, {asked}"
