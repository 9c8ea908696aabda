"""The patches of objects in a cluster, and a table of the fields that each verb changes.

The adapter sends nothing else, and infra/kubernetes/guard.yaml lets nothing else through:
tests/kubernetes/test_patch_table.py compares both with the table. A path is what leads to a field,
from the top of the object: `*` stands for any key of a map or for each item of a list, SLOT for the
label whose value is the slot, OURS for keys with that prefix.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
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

ANNOTATION: Path = ("metadata", "annotations", OURS)
REPLICAS: Path = ("spec", "replicas")
TEMPLATE: Path = ("spec", "template")  # all of it: what the guard lets through only where told to


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


# By verb of `contracts.traffic` and `contracts.pods`; one that is not here sends no patch.
VERBS: dict[str, Sent] = {
    "move": Sent("services", (("spec", "selector", SLOT), ANNOTATION)),
    "fence": Sent("services", (ANNOTATION,)),
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
    "deliver": Sent("secrets", (("data", "*"), ANNOTATION)),
}


def allowed(*, sync: bool = False) -> dict[str, set[Path]]:
    """The paths that the app may change, by resource; with `sync` where the guard lets it bring
    whole pod templates.

    They are what its verbs send, and annotations of its own.
    """
    paths: dict[str, set[Path]] = {}
    for verb, sent in VERBS.items():
        if verb == "sync" and not sync:
            continue
        paths.setdefault(sent.resource, {ANNOTATION}).update(sent.paths)
    return paths


def move(label: str, to: Slot) -> JsonObject:
    """The merge patch that changes the slot in a Service's selector."""
    return {"spec": {"selector": {label: to}}}


def fence(token: str) -> JsonObject:
    """The merge patch that sets the fence's annotation, and so changes the Service's revision."""
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


def with_metadata(body: JsonObject, revision: str | None, note: Note | None) -> JsonObject:
    """The patch with annotations that say who did what; the API server answers it with 409 if the
    object was changed since the revision."""
    metadata: JsonObject = {}
    if revision is not None:
        metadata["resourceVersion"] = revision
    if note is not None:
        metadata["annotations"] = note.annotations
    return {**body, "metadata": metadata} if metadata else body


def deliver(key: str, value: Secret, version: str) -> JsonObject:
    """The merge patch of a Kubernetes Secret's key and of the annotation that names the version.

    The value is in clear text, as Kubernetes encodes it.
    """
    encoded = base64.b64encode(value.reveal().encode()).decode()
    return {"metadata": {"annotations": {VERSION: version}}, "data": {key: encoded}}


def _containers(images: dict[str, str]) -> JsonObject:
    """A pod's containers for a strategic merge patch, in which they merge by name."""
    containers: dict[str, list[dict[str, str]]] = {}
    for key, image in images.items():
        kind = "initContainers" if key.startswith("init:") else "containers"
        name = key.removeprefix("init:")
        containers.setdefault(kind, []).append({"name": name, "image": image})
    return containers
