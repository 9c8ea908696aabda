"""All files of the folder, by their paths in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotctl.adopt import (
    database,
    entry,
    forms,
    in_place,
    readme,
    rights,
    scripts,
    shell,
    telling,
    twin,
)
from rotctl.adopt.cleaning import cleaned
from rotctl.adopt.plan import SLOTS
from rotctl.adopt.writing import dumped, manifests

if TYPE_CHECKING:
    from rotctl.adopt.plan import Plan, Workload


def files(plan: Plan) -> dict[str, str]:
    """Each file's text. The same plan makes the same files."""
    made = {"README.md": readme.text(plan), "credentials.yaml": entry.text(plan)}
    made[".gitignore"] = "\n".join((*shell.PASSING, "*.new", ""))
    if plan.cluster.authority:
        made[entry.certificate(plan)] = plan.cluster.authority
    made |= database.files(plan.credential)
    for workload in plan.workloads:
        made |= {f"kubernetes/{name}": text for name, text in _kubernetes(workload, plan).items()}
    given = [one for each in plan.workloads for one in rights.of(each, plan, entry.proxied(each))]
    made["kubernetes/rights.yaml"] = manifests(given)
    made["kubernetes/guard.yaml"] = rights.guard(plan)
    return {**made, **forms.files(plan), **scripts.files(plan)}


def _kubernetes(workload: Workload, plan: Plan) -> dict[str, str]:
    """What is applied once, by the moves; Git has it later without what rotations own."""
    if workload.in_place:
        return {
            f"{workload.name}-login.yaml": dumped(in_place.secret(workload, plan.credential)),
            f"{workload.name}-patch.yaml": dumped(in_place.live_change(workload, plan.credential)),
            f"undo/{workload.name}-patch.yaml": dumped(
                in_place.live_undo(workload, plan.credential)
            ),
        }
    slots = {slot: twin.slot(workload, plan.credential, slot) for slot in SLOTS}
    secrets = [one for slot in SLOTS for one in slots[slot] if one["kind"] == "Secret"]
    made = {f"{workload.name}-secrets.yaml": manifests(secrets)} if secrets else {}
    for slot in SLOTS:
        own = [one for one in slots[slot] if one["kind"] != "Secret"]
        new = twin.traffic(workload, slot)
        made[f"{workload.name}-{slot}.yaml"] = manifests([*own, *new])
    made[f"undo/{workload.name}.yaml"] = manifests(twin.before(workload))
    budgets = telling.adopted_budgets(workload.original)
    scaled = telling.autoscalers(workload.original)
    if scaled:
        made[f"undo/{workload.name}-hpa.yaml"] = manifests(map(cleaned, scaled))
    if budgets:
        made[f"undo/{workload.name}-budgets.yaml"] = manifests(map(cleaned, budgets))
    return made
