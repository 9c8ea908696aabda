"""What deployment tools send, by the rules in their sources: request by request, without the tools.

Each is a function of an `Ask` and a manifest, which returns the API server's answer to its last
request. tests/kubernetes/test_gitops.py compares those of kubectl and Helm with the programs.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlencode

from local.cluster.client import path_of, read_manifests
from local.cluster.kinds import BY_KIND
from local.process import ROOT
from tests.onboarding.three_way import three_way

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from local.cluster.kinds import Object

FOLDER = ROOT / "infra" / "kubernetes" / "gitops"
WORKLOAD = FOLDER / "workload" / "workload.yaml"
EXAMPLE = FOLDER.parent / "example"
OWNER = "credential-rotation"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SSA_POLICY = "kustomize.toolkit.fluxcd.io/ssa"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
# What a rotation owns, by kind: the field of `spec`.
FIELDS = {"Service": "selector", "Deployment": "replicas"}


class Reply(NamedTuple):
    """The HTTP status, and the object or Status that was answered with."""

    status: int
    document: Any

    @property
    def message(self) -> str:
        return str(self.document.get("message", ""))


class Ask(Protocol):
    """Sends a request as somebody."""

    def __call__(
        self, method: str, path: str, body: Any = None, content_type: str = JSON
    ) -> Reply: ...


# -- the manifests


def in_git(name: str = "api") -> list[Object]:
    """What Git has of a workload of the example once rotations run."""
    found = copy.deepcopy(_read(WORKLOAD if name == "api" else EXAMPLE / f"{name}.yaml"))
    manifests = [manifest for manifest in found if manifest["kind"] in FIELDS]
    for manifest in manifests:
        manifest["spec"].pop(FIELDS[manifest["kind"]], None)
    return manifests


@cache
def _read(path: Path) -> list[Object]:
    return read_manifests(path)


def key(manifest: Object) -> str:
    """An object's name with underscores."""
    return str(manifest["metadata"]["name"]).replace("-", "_")


def with_fields(manifests: Iterable[Object], **values: Any) -> list[Object]:
    """The manifests as they were before: with each Service's selector and each Deployment's
    replicas, by its `key`."""
    found = copy.deepcopy(list(manifests))
    for manifest in found:
        manifest["spec"][FIELDS[manifest["kind"]]] = values[key(manifest)]
    return found


# -- the tools


def client_side(ask: Ask, manifest: Object, manager: str = "kubectl-client-side-apply") -> Reply:
    """`kubectl apply`: the difference between the annotation of last time, the manifest and what is
    there, as a strategic merge patch. Makes what is not there."""
    noted = _noted(manifest)
    live = ask("GET", path_of(manifest))
    if live.status == 404:
        return ask("POST", _collection(manifest) + f"?fieldManager={manager}", noted)
    last = (live.document["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    return _merged(ask, json.loads(last) if last else {}, noted, live.document, manager)


def _noted(manifest: Object) -> Object:
    """The manifest with itself in its annotation."""
    noted = copy.deepcopy(manifest)
    annotations = noted["metadata"].setdefault("annotations", {})
    annotations[LAST_APPLIED] = json.dumps(noted, separators=(",", ":"), sort_keys=True) + "\n"
    return noted


def _merged(ask: Ask, former: Object, manifest: Object, live: Object, manager: str) -> Reply:
    patch = three_way(former, manifest, live, BY_KIND[manifest["apiVersion"], manifest["kind"]])
    if not patch:
        return Reply(200, live)
    return ask("PATCH", f"{path_of(manifest)}?fieldManager={manager}", patch, STRATEGIC)


def server_side(
    ask: Ask, manifest: Object, manager: str = "kubectl", *, force: bool = False
) -> Reply:
    """`kubectl apply --server-side`, which first takes over what its client-side form owned."""
    where = path_of(manifest)
    live = ask("GET", where)
    if live.status == 200 and manager == "kubectl":
        _take_over(ask, where, live.document, "kubectl", ("kubectl-client-side-apply",))
    query = urlencode({"fieldManager": manager, "force": str(force).lower()})
    return ask("PATCH", f"{where}?{query}", manifest, APPLY)


def helm(ask: Ask, manifest: Object, former: Object | None = None) -> Reply:
    """`helm upgrade` of version 3: as `kubectl apply`, but what was applied last time stands in the
    release: `former`; None where the release did not have the object."""
    live = ask("GET", path_of(manifest))
    if live.status == 404:
        return ask("POST", _collection(manifest) + "?fieldManager=helm", manifest)
    return _merged(ask, former or manifest, manifest, live.document, "helm")


def argocd(
    ask: Ask, manifest: Object, *, respect: bool = True, seen: Object | None = None
) -> Reply:
    """A sync with the Application's `ignoreDifferences`, and with RespectIgnoreDifferences unless
    told otherwise. `seen` is the object as the sync found it at its begin, by default as it is."""
    wanted = copy.deepcopy(manifest)
    live = ask("GET", path_of(manifest))
    if respect and live.status == 200:
        for ignored in _ignored(manifest["kind"]):
            found = (seen or live.document)["spec"].get(ignored)
            if found is None:
                wanted["spec"].pop(ignored, None)
            else:
                wanted["spec"][ignored] = found
    return client_side(ask, wanted, "argocd-controller")


def _ignored(kind: str) -> Iterator[str]:
    """The fields of `spec` that argocd/application.yaml says to ignore."""
    (application,) = _read(FOLDER / "argocd" / "application.yaml")
    for rule in application["spec"]["ignoreDifferences"]:
        if rule["kind"] == kind:
            yield from (pointer.removeprefix("/spec/") for pointer in rule["jsonPointers"])


def flux(ask: Ask, manifest: Object, *, merge: bool = True) -> Reply:
    """A reconciliation: server-side apply with force, after the managers that begin with `kubectl`
    were made its own, unless the annotation of flux/kustomization.yaml is there (`merge`)."""
    manager, where = "kustomize-controller", path_of(manifest)
    wanted, live = copy.deepcopy(manifest), ask("GET", where)
    if merge:
        (settings,) = _read(FOLDER / "flux" / "kustomization.yaml")
        annotations = settings["spec"]["commonMetadata"]["annotations"]
        wanted["metadata"].setdefault("annotations", {}).update(annotations)
    elif live.status == 200:
        _take_over(ask, where, live.document, manager, ("kubectl", "before-first-apply"))
    query = urlencode({"fieldManager": manager, "force": "true"})
    return ask("PATCH", f"{where}?{query}", wanted, APPLY)


def _take_over(ask: Ask, where: str, live: Object, manager: str, prefixes: tuple[str, ...]) -> None:
    """Makes the fields of other managers those of one that applies, by a patch of managedFields."""
    entries = live["metadata"].get("managedFields") or []
    own = [e for e in entries if (e["manager"], e["operation"]) == (manager, "Apply")]
    theirs = [
        entry
        for entry in entries
        if entry["manager"].startswith(prefixes)
        and not entry.get("subresource")
        and entry not in own
    ]
    if not theirs:
        return
    tree: Object = {}
    for entry in (*own, *theirs):
        _unite(tree, entry["fieldsV1"])
    united = {**theirs[0], "manager": manager, "operation": "Apply", "fieldsV1": tree}
    left = [entry for entry in entries if entry not in own and entry not in theirs]
    body = [{"op": "replace", "path": "/metadata/managedFields", "value": [*left, united]}]
    ask("PATCH", f"{where}?fieldManager={manager}", body, JSON_PATCH)


def _unite(tree: Object, more: Object) -> None:
    for key, below in more.items():
        _unite(tree.setdefault(key, {}), below)


def autoscaler(ask: Ask, deployment: Object, wanted: int) -> Reply:
    """A HorizontalPodAutoscaler's look: it leaves a Deployment at zero alone."""
    return _scale(ask, deployment, "kube-controller-manager", wanted, from_zero=False)


def keda(ask: Ask, deployment: Object, minimum: int, *, paused: bool = False) -> Reply:
    """KEDA's look at a Deployment: one at less than the minimum is brought to it, from zero too."""
    if paused:
        return ask("GET", path_of(deployment))
    return _scale(ask, deployment, "keda", minimum, from_zero=True)


def _scale(ask: Ask, deployment: Object, manager: str, wanted: int, *, from_zero: bool) -> Reply:
    where = f"{path_of(deployment)}/scale"
    scale = ask("GET", where)
    replicas = scale.document["spec"].get("replicas", 0)
    if replicas == wanted or (not replicas and not from_zero):
        return scale
    body = {**scale.document, "spec": {"replicas": wanted}}
    reply = ask("PUT", f"{where}?fieldManager={manager}", body)
    if reply.status == 409:  # somebody wrote in between
        return _scale(ask, deployment, manager, wanted, from_zero=from_zero)
    return reply


def hand_over(ask: Ask, manifest: Object) -> Reply:
    """What hand-over.sh does with one object."""
    where, name = path_of(manifest), FIELDS[manifest["kind"]]
    forgotten = {"metadata": {"annotations": {LAST_APPLIED: None}}}
    live = ask("PATCH", f"{where}?fieldManager={OWNER}", forgotten, MERGE)
    if live.status != 200:
        return live
    metadata = {
        "name": manifest["metadata"]["name"],
        "resourceVersion": live.document["metadata"]["resourceVersion"],
    }
    claim = {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": metadata,
        "spec": {name: live.document["spec"][name]},
    }
    query = urlencode({"fieldManager": OWNER, "force": "true"})
    reply = ask("PATCH", f"{where}?{query}", claim, APPLY)
    return hand_over(ask, manifest) if reply.status == 409 else reply


def _collection(manifest: Object) -> str:
    return path_of(manifest).rpartition("/")[0]
