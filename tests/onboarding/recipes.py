"""The recipes of infra/kubernetes/gitops: what a folder says, and who owns what in the cluster."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from tests.onboarding import tools
from tests.onboarding.tools import FOLDER, Ask, Reply

if TYPE_CHECKING:
    from local.cluster.kinds import Object


def owners(stored: Object) -> dict[str, set[str]]:
    """The managers of what is shared, by the last word of the field: `selector`, `ports` of a
    Service, `replicas`, `image` of a Deployment."""
    words = {"Service": ("selector", "ports"), "Deployment": ("replicas", "image")}
    found: dict[str, set[str]] = {word: set() for word in words[stored["kind"]]}
    for entry in stored["metadata"].get("managedFields") or []:
        spec = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        for word, managers in found.items():
            if entry.get("subresource") != "status" and _owns(spec, word):
                managers.add(entry["manager"])
    return found


def _owns(spec: Object, word: str) -> bool:
    if word != "image":
        return f"f:{word}" in spec
    pod = spec.get("f:template", {}).get("f:spec", {})
    containers = [
        c for key in ("f:containers", "f:initContainers") for c in pod.get(key, {}).values()
    ]
    return any("f:image" in container for container in containers)


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
                return tools.client_side(ask, manifest)
            case "kubectl-server-side" | "kubectl-server-side-forced":
                return tools.server_side(ask, manifest, force=self.request["force"])
            case "helm":
                reply = tools.helm(ask, manifest, self.former.get(key))
                if reply.status < 300:
                    self.former[key] = copy.deepcopy(manifest)
                return reply
            case "argocd":
                return tools.argocd(ask, manifest)
            case "flux":
                return tools.flux(ask, manifest)
        raise ValueError(f"{self.name} applies no manifest")

    def hand_over(self, ask: Ask, manifest: Object) -> Reply:
        """The hand-over of one object, with what the tool needs besides."""
        self.former.pop((manifest["kind"], manifest["metadata"]["name"]), None)
        return tools.hand_over(ask, manifest)

    def look(self, ask: Ask, deployment: Object, replicas: int) -> Reply:
        """An autoscaler's look at a Deployment, of which it wants so many replicas."""
        scaler = tools.keda if self.name == "keda" else tools.autoscaler
        return scaler(ask, deployment, replicas)


def recipes() -> list[Recipe]:
    """All of them, by name."""
    found = []
    for path in sorted(FOLDER.glob("*/recipe.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        found.append(Recipe(path.parent.name, **content))
    return found
