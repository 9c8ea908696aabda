"""What is worth knowing before two slots stand side by side, and stands in no way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rotctl.adopt import carriers, in_place, routes
from rotctl.adopt.original import called, matches, name_of, owner, volumes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotctl.adopt.original import Object, Original
    from rotctl.adopt.plan import Plan, Workload

# Of names that manifests may have anything in.
ODD = re.compile(r"[^\w.:/-]", re.ASCII)


def lines(plan: Plan) -> list[str]:
    """All that is worth knowing, each on one line of printable characters, for a README and a
    terminal."""
    every = [*plan.tells, *(text for each in plan.workloads for text in told(each))]
    return list(dict.fromkeys(_plain(text) for text in every))


def _plain(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))


def told(workload: Workload) -> list[str]:
    """Sentences, each of which names its object."""
    checks = _IN_PLACE if workload.in_place else _TWIN
    return [text for check in checks for text in check(workload)]


def _spread(workload: Workload) -> Iterator[str]:
    spec = workload.original.template.get("spec") or {}
    for one in spec.get("topologySpreadConstraints") or []:
        if matches(one.get("labelSelector"), workload.original.labels):
            how = one.get("whenUnsatisfiable", "DoNotSchedule")
            yield (
                f"The spread of {workload.name} over {one['topologyKey']} ({how}) counts both"
                " slots' pods: its labelSelector has no slot. Add `slot` to it in both manifests"
                " if each slot is to be spread by itself."
            )
    anti = (spec.get("affinity") or {}).get("podAntiAffinity") or {}
    for rule, hard in (
        ("requiredDuringSchedulingIgnoredDuringExecution", True),
        ("preferredDuringSchedulingIgnoredDuringExecution", False),
    ):
        for one in anti.get(rule) or []:
            term = one.get("podAffinityTerm", one)
            if matches(term.get("labelSelector"), workload.original.labels):
                yield (
                    f"The anti-affinity of {workload.name} keeps its pods from those of the other"
                    f" slot too ({term['topologyKey']}), which {'needs' if hard else 'asks for'}"
                    f" twice the {term['topologyKey']}s. Add `slot` to its labelSelector in both"
                    " manifests."
                )


def _policies(workload: Workload) -> Iterator[str]:
    labels = workload.original.labels
    for one in workload.original.of("NetworkPolicy"):
        spec = one.get("spec") or {}
        selector = spec.get("podSelector")
        if not (selector == {} or matches(selector, labels)):
            continue
        yield (
            f"{called(one)} holds for both slots' pods. If it closes them to the API server,"
            " tests with a `path` do not reach them (docs/operations.md)."
        )


def _monitors(workload: Workload) -> Iterator[str]:
    for one in workload.original.of("PodMonitor"):
        if matches((one.get("spec") or {}).get("selector"), workload.original.labels):
            yield f"{called(one)} reads metrics of both slots' pods."
    for service in (workload.service, *workload.services, *workload.others):
        made = workload.original.one("Service", service)
        labels = ((made or {}).get("metadata") or {}).get("labels") or {}
        for one in workload.original.of("ServiceMonitor"):
            if matches((one.get("spec") or {}).get("selector"), labels):
                both = "both slots' pods" if service in workload.others else "the slot that serves"
                yield f"{called(one)} reads metrics of {both}, through Service {service}."


def _scaling(workload: Workload) -> Iterator[str]:
    for one in workload.original.of("ScaledObject", "VerticalPodAutoscaler"):
        spec = one.get("spec") or {}
        target = spec.get("scaleTargetRef") or spec.get("targetRef") or {}
        if target.get("name") == workload.name:
            yield (
                f"{called(one)} names {workload.name}, and was not copied: write one for each"
                " slot (docs/gitops.md, the tools)."
            )


def _pipelines(workload: Workload) -> Iterator[str]:
    metadata = workload.original.workload["metadata"]
    notes = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    tools = {
        "meta.helm.sh/release-name": "Helm release",
        "argocd.argoproj.io/tracking-id": "Argo CD application",
        "kustomize.toolkit.fluxcd.io/name": "Flux Kustomization",
        "helm.toolkit.fluxcd.io/name": "Flux HelmRelease",
    }
    for note, tool in tools.items():
        if note in notes:
            yield (
                f"{workload.name} belongs to the {tool} {_name(notes[note])}:"
                " pause it from the first move in the cluster until the last one, which gives it"
                " the new manifests."
            )


def _name(note: object) -> str:
    """The name in an annotation, which may have any text."""
    return ODD.sub("?", str(note).partition(":")[0][:63])


def _pinned(workload: Workload) -> Iterator[str]:
    made = workload.original.one("SecretProviderClass", workload.carrier.provider_class)
    for one in carriers.objects(made) if made else []:
        if one.get("objectVersion") and one["objectName"] == workload.carrier.vault_secret:
            yield (
                f"SecretProviderClass {name_of(made or {})} pins a version of"
                f" {one['objectName']}; the slots' have none, so that pods mount what is current"
                " when they start."
            )


def _whole(workload: Workload) -> Iterator[str]:
    carrier = workload.carrier
    for volume in volumes(workload.original.template):
        held = volume.get("secret") or {}
        if (
            not carrier.mounted
            and held.get("secretName") == carrier.kube_secret
            and not held.get("items")
        ):
            more = f" and {workload.role_file}" if workload.role_file else ""
            yield (
                f"Volume {volume['name']} has all keys of Secret {carrier.kube_secret}. What takes"
                f" its place has {carrier.key}{more} alone: add what else the application reads"
                " there."
            )


def _external(workload: Workload) -> Iterator[str]:
    for one in workload.original.of("ExternalSecret"):
        spec = one.get("spec") or {}
        if ((spec.get("target") or {}).get("name") or name_of(one)) == workload.carrier.kube_secret:
            yield (
                f"{called(one)} goes on filling {workload.carrier.kube_secret}, where pods read the"
                " password no more. The app writes by itself what they read then."
            )


def _hooks(workload: Workload) -> Iterator[str]:
    spec = workload.original.template.get("spec") or {}
    own: list[Object] = spec.get("containers") or []
    if workload.called and not any((one.get("lifecycle") or {}).get("preStop") for one in own):
        yield (
            f"{workload.name} has no preStop hook. Whether it serves on for some seconds after"
            " SIGTERM, its manifest does not say: docs/applications.md has a recipe for each"
            " framework."
        )


_TWIN = (
    _spread,
    _policies,
    _monitors,
    _scaling,
    _pipelines,
    _pinned,
    _whole,
    _external,
    _hooks,
    routes.told,
)
_IN_PLACE = (in_place.told, _pipelines, _whole, _external)


def adopted_budgets(original: Original) -> list[Object]:
    """The disruption budgets that find the workload's pods: over both slots they would count the
    standby's as if these served."""
    return [
        one
        for one in original.of("PodDisruptionBudget")
        if matches((one.get("spec") or {}).get("selector"), original.labels)
    ]


def autoscalers(original: Original) -> list[Object]:
    """The HorizontalPodAutoscalers of the workload."""
    return [
        one
        for one in original.of("HorizontalPodAutoscaler")
        if ((one.get("spec") or {}).get("scaleTargetRef") or {}).get("name") == original.name
        and ((one.get("spec") or {}).get("scaleTargetRef") or {}).get("kind") == original.kind
        and owner(one) is None  # KEDA makes one, of what _scaling tells
    ]
