"""The pod templates of a workload's two slots, by the names that its owner configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions import templates
from rotation.decisions.templates import Names, Rules
from rotation.model.world import SLOTS, Drift, Template, other

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rotation.config import Credential, Workload
    from rotation.decisions.templates import Path
    from rotation.model.world import CronJob, Deployment, Slot

    Deployments = Mapping[Slot, Deployment | CronJob | None]  # of one workload


def drift(
    credential: Credential, workload: Workload, active: Slot, deployments: Deployments
) -> Drift:
    """How the standby's pod template differs from that of `active`, and what is to be done then.

    Without paths where one of the two is not there or was not looked at.
    """
    own = own_containers(workload)
    ours, theirs = _templates(active, deployments)
    if ours is None or theirs is None:
        return Drift(workload.template, own=own)
    rules = _rules(credential, workload, active, deployments)
    paths = templates.differences(ours.document, theirs.document, rules)
    return Drift(workload.template, tuple(paths), own, _named_by_slots(deployments, rules.names))


def _named_by_slots(deployments: Deployments, names: Names) -> frozenset[str]:
    """The containers, by the keys of images, that the other slot has by another name."""
    keys = {key for deployment in deployments.values() if deployment for key in deployment.images}
    return frozenset(key for key in keys if names.renamed(key) != key)


def own_containers(workload: Workload) -> frozenset[str]:
    """The containers that one slot alone may have, by the keys of images."""
    return frozenset(filter(None, map(templates.container, workload.differs)))


def brought(
    credential: Credential, workload: Workload, active: Slot, deployments: Deployments
) -> Template | None:
    """The template that makes the standby's the same as that of `active`, None if it is already."""
    ours, theirs = _templates(active, deployments)
    if ours is None or theirs is None:
        return None
    rules = _rules(credential, workload, active, deployments)
    if not templates.differences(ours.document, theirs.document, rules):
        return None
    return Template(templates.brought(ours.document, theirs.document, rules))


def _templates(active: Slot, deployments: Deployments) -> tuple[Template | None, Template | None]:
    ours, theirs = deployments[active], deployments[other(active)]
    return ours.template if ours else None, theirs.template if theirs else None


def _rules(
    credential: Credential, workload: Workload, active: Slot, deployments: Deployments
) -> Rules:
    """What may differ: names of the slots, paths of the file, and labels by which a Deployment
    finds its own pods, which cannot be changed."""
    named: list[Mapping[Slot, str]] = [
        {slot: credential.slots[slot].role for slot in SLOTS},
        {slot: credential.slots[slot].secret for slot in SLOTS},
        workload.cron_jobs or workload.deployments,
        *([workload.secrets] if workload.secrets else []),
    ]
    pairs = [(each[active], each[other(active)]) for each in named]
    labels: list[Path] = [
        ("metadata", "labels", asked.key)
        for deployment in deployments.values()
        if deployment is not None and deployment.selector is not None
        for asked in deployment.selector.requirements
    ]
    differs = [templates.parsed(path) for path in workload.differs]
    return Rules(Names(pairs, (active, other(active))), (*differs, *labels))
