"""What was read: a workload as it runs, and what is beside it in its namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Object = dict[str, Any]

PODS = ("Deployment", "StatefulSet", "DaemonSet", "Rollout", "CronJob", "ReplicaSet", "Job")


@dataclass(frozen=True)
class Original:
    """`workload` is what makes pods, `around` all else that was read of its namespace. `in_place`:
    it gets no twin, its login is exchanged where it stands."""

    workload: Object
    around: tuple[Object, ...] = ()
    in_place: bool = False

    @property
    def kind(self) -> str:
        return str(self.workload["kind"])

    @property
    def name(self) -> str:
        return name_of(self.workload)

    @property
    def namespace(self) -> str:
        return namespace_of(self.workload)

    @property
    def template(self) -> Object:
        return template_of(self.workload)

    @property
    def labels(self) -> dict[str, str]:
        """Of its pods."""
        return labels_of(self.template)

    def of(self, *kinds: str) -> list[Object]:
        return [one for one in self.around if one["kind"] in kinds]

    def one(self, kind: str, name: str) -> Object | None:
        return next((one for one in self.of(kind) if name_of(one) == name), None)

    def others(self) -> Iterator[Object]:
        """What makes other pods in the namespace. What something else made is its owner's."""
        for one in self.of(*PODS):
            if owner(one) is None:
                yield one


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def namespace_of(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", "default"))


def called(obj: Object) -> str:
    return f"{obj['kind']} {namespace_of(obj)}/{name_of(obj)}"


def labels_of(obj: Object) -> dict[str, str]:
    return dict((obj.get("metadata") or {}).get("labels") or {})


def owner(obj: Object) -> str | None:
    """What made an object and puts it back to what it thinks right: `PostgresApp orders`."""
    references = obj["metadata"].get("ownerReferences") or []
    return next((f"{o['kind']} {o['name']}" for o in references if o.get("controller")), None)


def template_of(workload: Object) -> Object:
    spec = workload.get("spec") or {}
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: Object = spec.get("template") or {}
    return found


def containers(template: Object) -> list[Object]:
    """All of them: what migrates before the application starts logs in too."""
    spec = template.get("spec") or {}
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def volumes(template: Object) -> list[Object]:
    return list((template.get("spec") or {}).get("volumes") or [])


def env(template: Object) -> Iterator[tuple[Object, Object]]:
    """Each variable with its container."""
    for container in containers(template):
        for variable in container.get("env") or []:
            yield container, variable


def selects(selector: Object | None, labels: dict[str, str]) -> bool:
    """Whether a Service's selector, or a `matchLabels`, finds pods with these labels."""
    return bool(selector) and selector is not None and selector.items() <= labels.items()


def matches(selector: Object | None, labels: dict[str, str]) -> bool:
    """Whether a label selector with `matchLabels` and `matchExpressions` finds these labels."""
    if not selector:
        return False
    wanted = selector.get("matchLabels") or {}
    asked = selector.get("matchExpressions") or []
    return wanted.items() <= labels.items() and all(_holds(one, labels) for one in asked)


def _holds(expression: Object, labels: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def flat(documents: Iterable[Any]) -> Iterator[Object]:
    """The objects of documents: a List's one by one, and nothing of what is no object."""
    for document in documents:
        if not isinstance(document, dict) or "kind" not in document:
            continue
        if str(document["kind"]).endswith("List") and isinstance(document.get("items"), list):
            yield from flat(document["items"])
        elif (document.get("metadata") or {}).get("name"):
            yield document
