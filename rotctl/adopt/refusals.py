"""What cannot be adopted, by name, with why and the way out."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from rotctl.adopt import carriers, roles, services
from rotctl.adopt.original import (
    called,
    containers,
    env,
    labels_of,
    matches,
    name_of,
    owner,
    selects,
    template_of,
    volumes,
)
from rotctl.adopt.plan import LABEL, SLOTS
from rotctl.adopt.refusal import GUIDE, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rotctl.adopt.carriers import Carrier
    from rotctl.adopt.original import Object, Original

LONGEST, LONGEST_CRON_JOB = 63, 52
OTHER_KINDS = {
    "StatefulSet": "it has one set of volumes and one identity for each pod",
    "DaemonSet": "two of them would need twice the room on each node",
    "Rollout": "Argo Rollouts moves its traffic, and two movers undo each other's work",
}
ONE = ("StatefulSet", "DaemonSet")  # in place, or not at all
OPTIONS = {
    "Deployment": "--deployment",
    "CronJob": "--cron-job",
    "StatefulSet": "--stateful-set",
    "DaemonSet": "--daemon-set",
}
IN_PLACE = f"rotate it in place: --deployment-in-place in the place of --deployment ({GUIDE})"
# Of a database, or of nobody in particular: SMTP_PASSWORD is another matter.
INLINE = re.compile(
    r"^(\w*(pg|postgres|db|database|sql)\w*_?)?(pass|passwd|password|pwd)$", re.IGNORECASE
)
IN_URL = re.compile(r"postgres\w*(\+\w+)?://[^/\s:@]+:(?!\$\()[^/\s@]+@")


def other_kind(obj: Object) -> Refusal:
    """Of what was asked for as a Deployment and is something else."""
    kind = str(obj["kind"])
    why = OTHER_KINDS.get(kind, "only Deployments and CronJobs get a twin")
    option = OPTIONS.get(kind)
    if kind == "Job":
        cure = f"make it from a CronJob, which may be suspended for ever ({GUIDE}, CronJobs)"
    elif option:
        cure = f"adopt it where it stands: {option} {name_of(obj)} ({GUIDE}, in place)"
    else:
        cure = f"make two plain Deployments of it ({GUIDE}, what is refused)"
    return Refusal(called(obj), f"a {kind} gets no twin, since {why}", cure)


def of_workload(original: Original) -> list[Refusal]:
    """What speaks against a twin, or against what is done in place, whatever is answered."""
    if original.in_place:
        found = [each for check in (_owned, _taken_over) for each in check(original)]
        return [*found, *_inlined(original)]
    checks = (
        _owned,
        _taken_over,
        _adopted,
        _names,
        _taken,
        _network,
        _storage,
        _ready,
        _selector,
        _shared_services,
    )
    inline = _inlined(original)
    return [*(found for check in checks for found in check(original)), *inline]


def of_copies(original: Original) -> list[Refusal]:
    """What speaks against more of its pods, whatever they are for."""
    checks = (_network, _storage, _ready, _inlined)
    return [found for check in checks for found in check(original)]


def of_secret(originals: Sequence[Original], read: Sequence[Carrier]) -> list[Refusal]:
    """Whoever else reads the secret would keep a password that a rotation takes away."""
    adopted = {(one.kind, one.name) for one in originals}
    found = []
    for original, carrier in zip(originals, read, strict=True):
        for other in original.others():
            if (other["kind"], name_of(other)) in adopted or not _reads(original, other, carrier):
                continue
            how = OPTIONS.get(str(other["kind"]))
            cure = (
                f"adopt them together: add {how} {name_of(other)}"
                if how
                else f"give it a login of its own, or rotate it in place ({GUIDE})"
            )
            found.append(Refusal(called(other), f"it reads {carrier.named} too", cure))
    return list(dict.fromkeys(found))


def _reads(original: Original, other: Object, carrier: Carrier) -> bool:
    view = type(original)(_as_workload(other), original.around)
    same = [
        (one.vault, one.vault_secret) == (carrier.vault, carrier.vault_secret)
        if carrier.mounted
        else one.kube_secret == carrier.kube_secret
        and (not one.key or not carrier.key or one.key == carrier.key)
        for one in carriers.found(view)
        if one.mounted == carrier.mounted
    ]
    return any(same)


def _as_workload(other: Object) -> Object:
    """With a pod template, whatever kind it is: a Rollout may refer to a Deployment's."""
    return other if template_of(other) else {**other, "spec": {"template": {"spec": {}}}}


def _owned(original: Original) -> Iterator[Refusal]:
    by = owner(original.workload)
    if by is not None:
        yield Refusal(
            called(original.workload),
            f"{by} made it and would put back what is changed",
            "let that make two, or have the application's Deployments without it",
        )


def _taken_over(original: Original) -> Iterator[Refusal]:
    for one in original.of("Rollout"):
        taken = (one.get("spec") or {}).get("workloadRef") or {}
        if (taken.get("kind"), taken.get("name")) == (original.kind, original.name):
            yield replace(other_kind(one), why=f"it has taken {called(original.workload)} over")


def _adopted(original: Original) -> Iterator[Refusal]:
    if LABEL in original.labels:
        yield Refusal(
            called(original.workload),
            f"its pods have a label {LABEL!r} already",
            "it is adopted; if the label means something else, write the two slots by hand with"
            " another `selectorLabel` (docs/onboarding.md)",
        )


def _names(original: Original) -> Iterator[Refusal]:
    longest = LONGEST_CRON_JOB if original.kind == "CronJob" else LONGEST
    if len(original.name) + len("-green") > longest:
        yield Refusal(
            called(original.workload),
            f"{original.name}-green is longer than {longest} characters",
            "release it under a shorter name first",
        )
    for one in services.selecting(original):
        if len(name_of(one)) + len("-preview") > LONGEST and original.kind != "CronJob":
            yield Refusal(
                called(one),
                f"{name_of(one)}-preview is longer than {LONGEST} characters",
                "make a Service with a shorter name beside it, and let clients use that",
            )


def _taken(original: Original) -> Iterator[Refusal]:
    """What would be written over what somebody else has."""
    made = [(original.kind, f"{original.name}-{slot}") for slot in SLOTS]
    if original.kind != "CronJob":
        made += [("Service", f"{name_of(one)}-preview") for one in services.selecting(original)]
    for kind, name in made:
        one = original.one(kind, name)
        if one is not None:
            yield Refusal(
                called(one),
                f"it is there already, and {original.name}'s own would be called so",
                "go on with the folder that it came from, or give it another name first",
            )


def _network(original: Original) -> Iterator[Refusal]:
    spec = original.template.get("spec") or {}
    ports = [p for one in containers(original.template) for p in one.get("ports") or []]
    if spec.get("hostNetwork") or any(port.get("hostPort") for port in ports):
        what = "hostNetwork" if spec.get("hostNetwork") else "a hostPort"
        yield Refusal(
            called(original.workload),
            f"it has {what}, so that pods of both slots cannot be on one node",
            f"let a Service lead to its pods; or {IN_PLACE}",
        )


def _storage(original: Original) -> Iterator[Refusal]:
    strategy = ((original.workload.get("spec") or {}).get("strategy") or {}).get("type")
    for volume in volumes(original.template):
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if not claim:
            continue
        made = original.one("PersistentVolumeClaim", claim)
        modes = ((made or {}).get("spec") or {}).get("accessModes") or []
        shared = {"ReadWriteMany", "ReadOnlyMany"} & set(modes)
        if not shared and (modes or strategy == "Recreate"):
            yield Refusal(
                called(original.workload),
                (
                    f"its volume {volume['name']} ({claim}) is for the pods of one node or one"
                    " pod alone"
                ),
                (f"{IN_PLACE}; or move what it keeps to a volume of mode ReadWriteMany"),
            )


def _ready(original: Original) -> Iterator[Refusal]:
    own = (original.template.get("spec") or {}).get("containers") or []
    probed = any(one.get("readinessProbe") for one in own)
    if original.kind == "Deployment" and services.selecting(original) and not probed:
        yield Refusal(
            called(original.workload),
            (
                "none of its containers has a readiness probe, so that a pod without a login"
                " would get requests"
            ),
            (
                "give it one that logs in to the database (docs/onboarding.md, what your"
                " application must be able to do)"
            ),
        )


def _selector(original: Original) -> Iterator[Refusal]:
    """Another Deployment's pods must not be this one's, nor the other way round."""
    if original.kind != "Deployment":
        return
    own = (original.workload.get("spec") or {}).get("selector")
    for other in original.others():
        theirs = (other.get("spec") or {}).get("selector")
        labels = labels_of(template_of(other))
        if matches(own, labels) or (isinstance(theirs, dict) and matches(theirs, original.labels)):
            yield Refusal(
                called(original.workload),
                f"its selector and that of {called(other)} find each other's pods",
                "give each a label of its own first, by replacing one of them",
            )


def _shared_services(original: Original) -> Iterator[Refusal]:
    if original.kind != "Deployment":
        return
    for service in services.selecting(original):
        for other in (*original.others(), *_bare(original)):
            labels = labels_of(template_of(other) if other["kind"] != "Pod" else other)
            if services.headless(service):
                continue
            if selects(service["spec"]["selector"], labels):
                yield Refusal(
                    called(service),
                    f"it leads to the pods of {called(other)} as well, which have no slot",
                    (
                        f"narrow its selector to the pods of {original.name} first, or give those"
                        " a Service of their own"
                    ),
                )


def _bare(original: Original) -> list[Object]:
    """Pods that nothing made."""
    return [one for one in original.of("Pod") if not one["metadata"].get("ownerReferences")]


def _inlined(original: Original) -> Iterator[Refusal]:
    """A password that stands in a manifest. It is not quoted."""
    cure = (
        "put it into Key Vault, and let the pods read it from a mounted secret or a Kubernetes"
        " Secret; it is known to all who can read manifests, so let a rotation be the next step"
    )
    for container, variable in env(original.template):
        if _is_password(variable["name"], str(variable.get("value") or "")):
            where = f"variable {variable['name']} of container {container['name']}"
            yield Refusal(called(original.workload), f"{where} has the password in it", cure)
    for one in roles.variables(original):
        if one.config_map and _is_password(one.name, one.value or ""):
            what = f"ConfigMap {original.namespace}/{one.config_map}"
            yield Refusal(what, f"{one.name} has the password in it", cure)
    for config_map, key, text in roles.files(original):
        if IN_URL.search(text):
            what = f"ConfigMap {original.namespace}/{config_map}"
            yield Refusal(what, f"its file {key} has a URL with a password in it", cure)


def _is_password(name: str, value: str) -> bool:
    if IN_URL.search(value):
        return True
    return bool(INLINE.search(name) and value and not value.startswith(("/", "$(")))
