"""The patches of objects in a cluster, and a table of the fields that each verb changes.

The adapter sends nothing else, and infra/kubernetes/guard.yaml lets nothing else through:
tests/kubernetes/test_patch_table.py compares both with the table. A path is what leads to a field,
from the top of the object: `*` stands for any key of a map or for each item of a list, SLOT for the
label whose value is the slot, OURS for keys with that prefix.
"""

from __future__ import annotations

import base64
from datetime import UTC
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from rotation.decisions.routes import Change
    from rotation.model.targets import SlotSecretTarget
    from rotation.model.wire import JsonObject
    from rotation.model.world import Slot, Template
    from rotation.secrecy import Secret

Path = tuple[str, ...]

OURS = "credential-rotation/"
SLOT = "<slot>"

MANAGER = "credential-rotation"  # of the fields that it writes, in an object's managedFields
VERSION = f"{OURS}secret-version"  # of the secret that a slot's pods were started with
FENCE = f"{OURS}went-back"  # makes a swap that was prepared before it come to nothing
ROTATION = f"{OURS}rotation"  # the last one that changed the object
DID = f"{OURS}did"  # what it did
HOLDS = f"{OURS}slot"  # of a Secret whose login is exchanged: the slot whose login it holds
RESTARTED = f"{OURS}restarted"  # of a pod template: for which exchange
SUSPENDED = f"{OURS}suspended-at"  # when a rotation had a CronJob start nothing any more

ANNOTATION: Path = ("metadata", "annotations", OURS)
REPLICAS: Path = ("spec", "replicas")
TEMPLATE: Path = ("spec", "template")  # all of it: what the guard lets through only where told to


SUSPEND: Path = ("spec", "suspend")
OF_JOBS: Path = ("spec", "jobTemplate", "spec", "template")  # what a CronJob makes pods from


class Note(NamedTuple):
    """What a rotation did to an object: `reason` in one word, as Events have it, and `did` in a
    sentence without its subject."""

    rotation: str
    reason: str
    did: str

    @property
    def annotations(self) -> dict[str, str]:
        return {ROTATION: self.rotation, DID: self.did}


class Sent(NamedTuple):
    """The fields that a verb's patch changes: `resource` as roles name it, and their paths."""

    resource: str
    paths: tuple[Path, ...]


# By verb of `contracts.traffic`, `contracts.pods` and `contracts.cron_jobs`; one that is not here
# sends no patch.
VERBS: dict[str, Sent] = {
    "move": Sent("services", (("spec", "selector", SLOT), ANNOTATION)),
    "fence": Sent("services", (ANNOTATION,)),
    "shift": Sent("httproutes", (("spec", "rules", "*", "backendRefs", "*", "weight"), ANNOTATION)),
    "start": Sent(
        "deployments",
        (
            REPLICAS,
            ANNOTATION,
            ("spec", "template", *ANNOTATION),
            ("spec", "template", "spec", "containers", "*", "image"),
            ("spec", "template", "spec", "initContainers", "*", "image"),
        ),
    ),
    "sync": Sent("deployments", (REPLICAS, TEMPLATE, ANNOTATION)),
    "scale": Sent("deployments", (REPLICAS, ANNOTATION)),
    "suspend": Sent("cronjobs", (SUSPEND, ANNOTATION)),
    "resume": Sent("cronjobs", (SUSPEND, ANNOTATION)),
    "equip": Sent(
        "cronjobs",
        (
            ANNOTATION,
            (*OF_JOBS, *ANNOTATION),
            (*OF_JOBS, "spec", "containers", "*", "image"),
            (*OF_JOBS, "spec", "initContainers", "*", "image"),
        ),
    ),
    "deliver": Sent("secrets", (("data", "*"), ANNOTATION)),
    "exchange": Sent("secrets", (("data", "*"), ANNOTATION)),
    "fence_secret": Sent("secrets", (ANNOTATION,)),
    "restart": Sent("statefulsets", (ANNOTATION, ("spec", "template", *ANNOTATION))),
}
# Kinds that a `restart` may be of, besides its row's.
RESTARTED_TOO = ("daemonsets", "deployments")
# What only workloads in place have the app change: a Role of their own lets it.
IN_PLACE = {"statefulsets", "daemonsets"}


def allowed(*, sync: bool = False) -> dict[str, set[Path]]:
    """The paths that the app may change, by resource; with `sync` where the guard lets it bring
    whole pod templates.

    They are what its verbs send, and annotations of its own.
    """
    paths: dict[str, set[Path]] = {}
    for verb, sent in VERBS.items():
        if verb == "sync" and not sync:
            continue
        also = RESTARTED_TOO if verb == "restart" else ()
        for resource in (sent.resource, *also):
            paths.setdefault(resource, {ANNOTATION}).update(sent.paths)
    return paths


def move(label: str, to: Slot) -> JsonObject:
    """The merge patch that changes the slot in a Service's selector."""
    return {"spec": {"selector": {label: to}}}


def shift(found: JsonObject, changes: list[Change], note: Note | None) -> list[JsonObject]:
    """The JSON patch that changes weights in an HTTPRoute as it was found: Kubernetes knows no
    other one for a part of a custom resource's list.

    The API server answers it with 409 if anything was changed since, so that each weight gets to
    the backend that it was meant for; the names are tested all the same.
    """
    metadata, rules = found["metadata"], found["spec"]["rules"]
    body: list[JsonObject] = [
        # To the same: what makes this patch one of a certain revision.
        _operation("replace", "/metadata/resourceVersion", metadata["resourceVersion"])
    ]
    for change in changes:
        at = f"/spec/rules/{change.rule}/backendRefs/{change.backend}"
        name = rules[change.rule]["backendRefs"][change.backend]["name"]
        body.append(_operation("test", f"{at}/name", name))
        body.append(_operation("add", f"{at}/weight", change.weight))
    if note is not None:
        if not metadata.get("annotations"):
            body.append(_operation("add", "/metadata/annotations", {}))
        for key, value in note.annotations.items():
            at = f"/metadata/annotations/{key.replace('~', '~0').replace('/', '~1')}"
            body.append(_operation("add", at, value))
    return body


def _operation(kind: str, path: str, value: object) -> JsonObject:
    return {"op": kind, "path": path, "value": value}


def fence(token: str) -> JsonObject:
    """The merge patch that sets the fence's annotation, and so changes the object's revision."""
    return {"metadata": {"annotations": {FENCE: token}}}


def start(replicas: int, images: dict[str, str], version: str | None) -> JsonObject:
    """The strategic merge patch that scales a Deployment and sets its images and secret version,
    if there is one.

    `images` are by container, those of init containers as `init:NAME`.
    """
    pod: JsonObject = {"spec": _containers(images)}
    if version is not None:
        pod["metadata"] = {"annotations": {VERSION: version}}
    return {"spec": {"replicas": replicas, "template": pod}}


def sync(template: Template, replicas: int, version: str | None) -> JsonObject:
    """The strategic merge patch that scales a Deployment and sets all of its pod template, with the
    secret version if there is one: what the template has not is gone."""
    pod, metadata = template.document, template.document.get("metadata") or {}
    if version is not None:
        notes = {**(metadata.get("annotations") or {}), VERSION: version}
        pod = {**pod, "metadata": {**metadata, "annotations": notes}}
    return {"spec": {"replicas": replicas, "template": {"$patch": "replace", **pod}}}


def scale(replicas: int) -> JsonObject:
    """The strategic merge patch that sets the number of replicas."""
    return {"spec": {"replicas": replicas}}


def suspend(at: datetime | None, fence: str | None) -> JsonObject:
    """The strategic merge patch that suspends a CronJob at a time, or resumes it without one;
    `fence` is the rotation that goes back, if one does."""
    notes = {} if at is None else {SUSPENDED: at.astimezone(UTC).isoformat(timespec="seconds")}
    if fence is not None:
        notes[FENCE] = fence
    return {"metadata": {"annotations": notes}, "spec": {"suspend": at is not None}}


def equip(images: dict[str, str], version: str | None) -> JsonObject:
    """The strategic merge patch that sets the images and the secret version, if there is one, of
    what a CronJob makes Jobs from."""
    pod: JsonObject = {"spec": _containers(images)}
    if version is not None:
        pod["metadata"] = {"annotations": {VERSION: version}}
    return {"spec": {"jobTemplate": {"spec": {"template": pod}}}}


def with_metadata(body: JsonObject, revision: str | None, note: Note | None) -> JsonObject:
    """The patch with annotations that say who did what; the API server answers it with 409 if the
    object was changed since the revision."""
    metadata: JsonObject = dict(body.get("metadata") or {})
    if revision is not None:
        metadata["resourceVersion"] = revision
    if note is not None:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **note.annotations}
    return {**body, "metadata": metadata} if metadata else body


def deliver(key: str, value: Secret, version: str) -> JsonObject:
    """The merge patch of a Kubernetes Secret's key and of the annotation that names the version.

    The value is in clear text, as Kubernetes encodes it.
    """
    encoded = base64.b64encode(value.reveal().encode()).decode()
    return {"metadata": {"annotations": {VERSION: version}}, "data": {key: encoded}}


def exchange(target: SlotSecretTarget, slot: Slot, role: str, value: Secret) -> JsonObject:
    """The merge patch that writes a slot's login into a Kubernetes Secret, and which slot's it is.

    The values are in clear text, as Kubernetes encodes them.
    """
    data = {target.key: base64.b64encode(value.reveal().encode()).decode()}
    if target.role_key is not None:
        data[target.role_key] = base64.b64encode(role.encode()).decode()
    return {"metadata": {"annotations": {HOLDS: slot}}, "data": data}


def restart(version: str, exchange: str) -> JsonObject:
    """The strategic merge patch that has a workload replace its pods: their template names another
    exchange."""
    notes = {VERSION: version, RESTARTED: exchange}
    return {"spec": {"template": {"metadata": {"annotations": notes}}}}


def _containers(images: dict[str, str]) -> JsonObject:
    """A pod's containers for a strategic merge patch, in which they merge by name."""
    containers: dict[str, list[dict[str, str]]] = {}
    for key, image in images.items():
        kind = "initContainers" if key.startswith("init:") else "containers"
        name = key.removeprefix("init:")
        containers.setdefault(kind, []).append({"name": name, "image": image})
    return containers
