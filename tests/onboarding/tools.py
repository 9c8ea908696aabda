"""What deployment tools send, by the rules in their sources: request by request, without the tools.

Each is a function of an `Ask` and a manifest, which returns the API server's answer to its last
request. tests/kubernetes/test_gitops.py compares those of kubectl and Helm with the programs.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlencode

import yaml

from local.cluster.client import path_of, read_manifests
from local.cluster.kinds import BY_KIND
from local.cluster.patches import merge_key
from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from local.cluster.kinds import Kind, Object

FOLDER = ROOT / "infra" / "kubernetes" / "gitops"
WORKLOAD = FOLDER / "workload" / "workload.yaml"
OWNER = "credential-rotation"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SSA_POLICY = "kustomize.toolkit.fluxcd.io/ssa"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
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


def in_git() -> list[Object]:
    """What Git has once rotations run."""
    return read_manifests(WORKLOAD)


def with_fields(manifests: Iterable[Object], **values: Any) -> list[Object]:
    """The manifests as they were before: with each Service's selector and each Deployment's
    replicas, by its name with underscores; one that is None stays out."""
    found = copy.deepcopy(list(manifests))
    for manifest in found:
        value = values[manifest["metadata"]["name"].replace("-", "_")]
        if value is not None:
            manifest["spec"][FIELDS[manifest["kind"]]] = value
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
    (application,) = read_manifests(FOLDER / "argocd" / "application.yaml")
    for rule in application["spec"]["ignoreDifferences"]:
        if rule["kind"] == kind:
            yield from (pointer.removeprefix("/spec/") for pointer in rule["jsonPointers"])


def flux(ask: Ask, manifest: Object, *, merge: bool = True) -> Reply:
    """A reconciliation: server-side apply with force, after the managers that begin with `kubectl`
    were made its own, unless the annotation of flux/kustomization.yaml is there (`merge`)."""
    manager, where = "kustomize-controller", path_of(manifest)
    wanted, live = copy.deepcopy(manifest), ask("GET", where)
    if merge:
        (settings,) = read_manifests(FOLDER / "flux" / "kustomization.yaml")
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
    body = [
        {"op": "replace", "path": "/metadata/managedFields", "value": [*left, united]},
        {
            "op": "replace",
            "path": "/metadata/resourceVersion",
            "value": live["metadata"]["resourceVersion"],
        },
    ]
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
    return ask("PUT", f"{where}?fieldManager={manager}", body)


def hand_over(ask: Ask, manifest: Object) -> Reply:
    """What hand-over.sh does with one object."""
    where, name = path_of(manifest), FIELDS[manifest["kind"]]
    live = ask("GET", where).document
    claim = {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": {
            "name": manifest["metadata"]["name"],
            "resourceVersion": live["metadata"]["resourceVersion"],
        },
        "spec": {name: live["spec"][name]},
    }
    query = urlencode({"fieldManager": OWNER, "force": "true"})
    claimed = ask("PATCH", f"{where}?{query}", claim, APPLY)
    if claimed.status != 200:
        return claimed
    forgotten = {"metadata": {"annotations": {LAST_APPLIED: None}}}
    return ask("PATCH", f"{where}?fieldManager={OWNER}", forgotten, "application/merge-patch+json")


# -- the three-way merge


def three_way(former: Object, wanted: Object, live: Object, kind: Kind) -> Object:
    """The strategic merge patch that brings `live` to `wanted`, and takes away what only `former`
    has."""
    return _joined(_set(live, wanted, kind), _unset(former, wanted, kind), kind)


def _set(live: Object, wanted: Object, kind: Kind) -> Object:
    patch: Object = {}
    for key, value in wanted.items():
        found = live.get(key)
        if isinstance(value, dict) and isinstance(found, dict):
            if below := _set(found, value, kind):
                patch[key] = below
        elif isinstance(value, list) and isinstance(found, list) and merge_key(key, kind):
            if items := list(_items(found, value, key, kind)):
                patch[key] = items
        elif value != found:
            patch[key] = value
    return patch


def _items(live: list[Any], wanted: list[Any], key: str, kind: Kind) -> Iterator[Object]:
    name = merge_key(key, kind) or ""
    places = {item.get(name): item for item in live}
    for item in wanted:
        below = _set(places.get(item[name], {}), item, kind)
        if below:
            yield {**below, name: item[name]}


def _unset(former: Object, wanted: Object, kind: Kind) -> Object:
    patch: Object = {}
    for key, value in former.items():
        now = wanted.get(key)
        if key not in wanted:
            patch[key] = None
        elif isinstance(value, dict) and isinstance(now, dict):
            if below := _unset(value, now, kind):
                patch[key] = below
        elif isinstance(value, list) and isinstance(now, list) and (name := merge_key(key, kind)):
            kept = {item[name]: item for item in now}
            items = [
                {"$patch": "delete", name: item[name]}
                if item[name] not in kept
                else {**below, name: item[name]}
                for item in value
                if item[name] not in kept or (below := _unset(item, kept[item[name]], kind))
            ]
            if items:
                patch[key] = items
    return patch


def _joined(one: Any, other: Any, kind: Kind) -> Any:
    joined = dict(one)
    for key, value in other.items():
        if key in joined and isinstance(value, dict):
            joined[key] = _joined(joined[key], value, kind)
        elif key in joined and isinstance(value, list):
            joined[key] = [*joined[key], *value]
        else:
            joined[key] = value
    return joined


# -- what is found afterwards


def owners(stored: Object) -> dict[str, set[str]]:
    """The managers of what is shared, by the last word of the field: `selector`, `ports` of a
    Service, `replicas`, `image` of a Deployment."""
    words = {"Service": ("selector", "ports"), "Deployment": ("replicas", "image")}
    found: dict[str, set[str]] = {word: set() for word in words[stored["kind"]]}
    for entry in stored["metadata"].get("managedFields") or []:
        spec = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        for word in found:
            if entry.get("subresource") != "status" and _owns(spec, word):
                found[word].add(entry["manager"])
    return found


def _owns(spec: Object, word: str) -> bool:
    if word != "image":
        return f"f:{word}" in spec
    pod = spec.get("f:template", {}).get("f:spec", {})
    containers = [
        c for key in ("f:containers", "f:initContainers") for c in pod.get(key, {}).values()
    ]
    return any("f:image" in container for container in containers)


def _collection(manifest: Object) -> str:
    return path_of(manifest).rpartition("/")[0]


@dataclass(frozen=True)
class Recipe:
    """A folder of infra/kubernetes/gitops: what its recipe.yaml says."""

    name: str
    tool: str
    command: str
    request: dict[str, Any]
    owners: dict[str, dict[str, list[str]]]
    settings: str = ""
    former: dict[tuple[str, str], Object] = field(default_factory=dict, compare=False)

    @property
    def scales(self) -> bool:
        return self.request.get("subresource") == "scale"

    def send(self, ask: Ask, manifest: Object) -> Reply:
        """Applies a manifest as the tool does."""
        key = manifest["kind"], manifest["metadata"]["name"]
        match self.name:
            case "kubectl-apply" | "kustomize":
                return client_side(ask, manifest)
            case "kubectl-server-side" | "kubectl-server-side-forced":
                return server_side(ask, manifest, force=self.request["force"])
            case "helm":
                reply = helm(ask, manifest, self.former.get(key))
                if reply.status < 300:
                    self.former[key] = copy.deepcopy(manifest)
                return reply
            case "argocd":
                return argocd(ask, manifest)
            case "flux":
                return flux(ask, manifest)
        raise ValueError(f"{self.name} applies no manifest")

    def hand_over(self, ask: Ask, manifest: Object) -> Reply:
        """The hand-over of one object, with what the tool needs besides."""
        self.former.pop((manifest["kind"], manifest["metadata"]["name"]), None)
        return hand_over(ask, manifest)

    def look(self, ask: Ask, deployment: Object, replicas: int) -> Reply:
        """An autoscaler's look at a Deployment, of which it wants so many replicas."""
        scaler = keda if self.name == "keda" else autoscaler
        return scaler(ask, deployment, replicas)


def recipes() -> list[Recipe]:
    """All of them, by name."""
    found = []
    for path in sorted(FOLDER.glob("*/recipe.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        found.append(Recipe(path.parent.name, **content))
    return found
