"""How an activity runs: what its reference stands for, and its failures as values.

What an activity raises is stored with its text, so an expected failure is answered as a value and
an unexpected one by its type. A reference is `{"rotation", "credential", "slot", ...}`: names only;
`slot` is the slot that the step is about.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from rotation import log
from rotation.errors import Conflict, RotationError
from rotation.run import decoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.config import Credential, SlotLogin, Workload
    from rotation.edges import Cluster, Edges, Vault
    from rotation.model import Slot

    Activity = Callable[["Step"], dict[str, Any] | None]


class Step:
    """What one run of an activity works on, looked up from its reference."""

    def __init__(self, edges: Edges, reference: dict[str, Any]) -> None:
        self.edges = edges
        self.reference = reference
        self.rotation: str = reference["rotation"]
        self.name: str = reference["credential"]

    @property
    def credential(self) -> Credential:
        return self.edges.configuration.credential(self.name)

    @property
    def slot(self) -> Slot:
        found: Slot = self.reference["slot"]
        return found

    @property
    def login(self) -> SlotLogin:
        return self.credential.slots[self.slot]

    @property
    def vault(self) -> Vault:
        return self.edges.vault(self.credential.vault)

    @property
    def workload(self) -> Workload:
        return self.credential.workload(self.reference["workload"])

    @property
    def cluster(self) -> Cluster:
        return self.edges.cluster(self.workload.cluster)

    @property
    def deployment(self) -> tuple[str, str]:
        """Namespace and name of the slot's Deployment in this workload."""
        workload = self.workload
        return workload.namespace, workload.deployments[self.slot]

    def ensure_standby(self) -> None:
        """Nothing that serves is altered: looked up anew right before each change, so that an
        execution that was held up cannot act on what was true before. Raises `Conflict`."""
        for workload in self.credential.workloads:
            cluster = self.edges.cluster(workload.cluster)
            service = cluster.service(workload.namespace, workload.service, workload.selector_label)
            if service is not None and service.slot == self.slot:
                raise Conflict(
                    f"Service {workload.namespace}/{workload.service} routes to {self.slot}: "
                    "what serves traffic is not touched"
                )


def run(activity: Activity, edges: Edges, reference: object) -> dict[str, Any]:
    """Runs one activity and turns what it raises into a value; logs either end of it."""
    step = Step(edges, decoded(reference))
    names: dict[str, Any] = {k: v for k, v in step.reference.items() if isinstance(v, str)}
    started = time.monotonic()
    try:
        answer = activity(step) or {}
    except RotationError as error:
        answer = {"error": error.as_value()}
        log.event("step.failed", level=logging.WARNING, step=activity.__name__, **names, **answer)
    except Exception as error:  # noqa: BLE001 - its text may quote anything, so it is not raised on
        answer = _unexpected(activity, error, names)
    seconds = time.monotonic() - started
    log.STEP_SECONDS.record(seconds, {"step": activity.__name__, "ok": "error" not in answer})
    if "error" not in answer:
        log.event("step.done", step=activity.__name__, seconds=round(seconds, 3), **names)
    return answer


def _unexpected(activity: Activity, error: Exception, names: dict[str, Any]) -> dict[str, Any]:
    kind = type(error).__name__
    log.event(
        "step.unexpected",
        level=logging.ERROR,
        step=activity.__name__,
        exception=kind,
        where=log.where(error.__traceback__),
        **names,
    )
    message = f"unexpected {kind} in {activity.__name__}; its log line step.unexpected says where"
    return {"error": {"kind": "unexpected", "message": message, "transient": True}}
