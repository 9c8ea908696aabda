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

VERSION = f"{OURS}secret-version"  # of the secret that a slot's pods were started with
FENCE = f"{OURS}went-back"  # makes a swap that was prepared before it come to nothing

ANNOTATION: Path = ("metadata", "annotations", OURS)
REPLICAS: Path = ("spec", "replicas")
TEMPLATE: Path = ("spec", "template")  # all of it: what the guard lets through only where told to


class Sent(NamedTuple):
    """The fields that a verb's patch changes: `resource` as roles name it, and their paths."""

    resource: str
    paths: tuple[Path, ...]


# By verb of `contracts.traffic` and `contracts.pods`; one that is not here sends no patch.
VERBS: dict[str, Sent] = {
    "move": Sent("services", (("spec", "selector", SLOT),)),
    "fence": Sent("services", (ANNOTATION,)),
    "start": Sent(
        "deployments",
        (
            REPLICAS,
            ("spec", "template", *ANNOTATION),
            ("spec", "template", "spec", "containers", "*", "image"),
            ("spec", "template", "spec", "initContainers", "*", "image"),
        ),
    ),
    "sync": Sent("deployments", (REPLICAS, TEMPLATE)),
    "scale": Sent("deployments", (REPLICAS,)),
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


def move(label: str, came_from: str, to: Slot, revision: str | None) -> list[JsonObject]:
    """The JSON patch that changes the slot, and fails unless selector and revision are these."""
    path = "/spec/selector/" + label.replace("~", "~0").replace("/", "~1")
    body: list[JsonObject] = [
        {"op": "test", "path": path, "value": came_from},
        {"op": "replace", "path": path, "value": to},
    ]
    if revision is not None:
        body.insert(0, {"op": "test", "path": "/metadata/resourceVersion", "value": revision})
    return body


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


def sync(
    template: Template, replicas: int, version: str | None, revision: str | None
) -> list[JsonObject]:
    """The JSON patch that sets all of a Deployment's pod template, with the secret version if there
    is one, and the number of pods.

    The revision is sent along as it was, and answered as in `at`: a `test` that fails would look
    like a patch that is not valid.
    """
    pod, metadata = template.document, template.document.get("metadata") or {}
    if version is not None:
        notes = {**(metadata.get("annotations") or {}), VERSION: version}
        pod = {**pod, "metadata": {**metadata, "annotations": notes}}
    body: list[JsonObject] = [
        {"op": "replace", "path": "/spec/template", "value": pod},
        {"op": "replace", "path": "/spec/replicas", "value": replicas},
    ]
    if revision is not None:
        body.append({"op": "replace", "path": "/metadata/resourceVersion", "value": revision})
    return body


def scale(replicas: int) -> JsonObject:
    """The strategic merge patch that sets the number of replicas."""
    return {"spec": {"replicas": replicas}}


def at(body: JsonObject, revision: str | None) -> JsonObject:
    """The patch, which the API server answers with 409 if the object was changed since the
    revision."""
    if revision is None:
        return body
    metadata = {**body.get("metadata", {}), "resourceVersion": revision}
    return {**body, "metadata": metadata}


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
