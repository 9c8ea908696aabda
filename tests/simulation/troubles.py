"""What is wrong from the start, and who overrules it: in the file, or by hand with a request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from tests.simulation.scenario import APPROVERS, REQUESTER

if TYPE_CHECKING:
    from random import Random

    from rotation.config import Configuration
    from tests.memory.cluster import ClusterModel, DeploymentState, ServiceState
    from tests.simulation.machine import Machine
    from tests.simulation.scenario import Scenario

Kind = Literal["drifted", "unwell", "hidden"]
# The code that a rotation is refused with for each, and whether an owner may waive it: written down
# here once more, so that the app is not held against itself.
CODES: dict[Kind, str] = {
    "drifted": "containers-differ",
    "unwell": "active-not-healthy",
    "hidden": "service-missing",
}
WAIVABLE = {"containers-differ", "active-not-healthy"}
SHARE = 0.1  # of the runs


@dataclass(frozen=True)
class Trouble:
    """What is wrong with the first workload of `credential` until it is mended.

    `drifted`: its active Deployment has a container more. `unwell`: one of its pods is never ready.
    `hidden`: its preview Service is gone. `asked`: somebody asks by hand first, and waives.
    """

    credential: str
    kind: Kind
    file: tuple[str, ...] = ()
    asked: tuple[str, tuple[str, ...]] | None = None


def troubled(scenario: Scenario, rng: Random) -> Scenario:
    """The scenario, in some runs with trouble from the start."""
    if rng.random() >= SHARE:
        return scenario
    name = min(scenario.configuration.credentials)
    kind: Kind = rng.choice(["drifted", "unwell", "hidden"])
    if kind == "hidden" and scenario.configuration.credential(name).workloads[0].preview is None:
        return scenario  # there is none to hide
    own = CODES[kind]
    trouble = Trouble(
        credential=name,
        kind=kind,
        file=rng.choice([(), *[(own,)] * 2, tuple(sorted(WAIVABLE))] if own in WAIVABLE else [()]),
        asked=rng.choice([None, _asking(rng, own)]),
    )
    return replace(
        scenario,
        configuration=_waiving(scenario.configuration, trouble),
        replicas=max(scenario.replicas, 2),  # one pod less still serves
        trouble=trouble,
    )


def _asking(rng: Random, code: str) -> tuple[str, tuple[str, ...]]:
    by = rng.choice([APPROVERS[0], REQUESTER, "eve@example.org"])
    return by, rng.choice([(code,), (code,), ("containers-differ", "active-not-healthy"), ()])


def _waiving(configuration: Configuration, trouble: Trouble) -> Configuration:
    credential = configuration.credential(trouble.credential)
    workloads = credential.workloads
    if trouble.kind == "drifted":  # where the standby is brought along it would be no trouble
        refusing = workloads[0].model_copy(update={"template": "refuse"})
        workloads = [refusing, *workloads[1:]]
    update = {"waive": list(trouble.file), "workloads": workloads}
    changed = credential.model_copy(update=update)
    credentials = {**configuration.credentials, trouble.credential: changed}
    return configuration.model_copy(update={"credentials": credentials})


class Struck:
    """Trouble in a world; `mend` takes it away again."""

    def __init__(self, machine: Machine, trouble: Trouble) -> None:
        self._machine = machine
        self.trouble = trouble
        world = machine.world
        self._workload = world.configuration.credential(trouble.credential).workloads[0]
        self._cluster: ClusterModel = world.clusters[self._workload.cluster]
        at = self._workload.deployment(world.active[trouble.credential])
        active = self._cluster.find(at)
        assert active is not None
        self._active: DeploymentState = active
        self._preview: ServiceState | None = self._cluster.services.get(self._at)
        machine.story.tell("TROUBLE", "%s", trouble)
        self._strike()

    @property
    def _at(self) -> tuple[str, str]:
        return self._workload.namespace, self._workload.preview or ""

    def _strike(self) -> None:
        match self.trouble.kind:
            case "drifted":
                self._active.images["sidecar"] = "sidecar:1"
            case "unwell":
                self._active.pods[0].ready_at = None
            case "hidden":
                del self._cluster.services[self._at]

    def mend(self) -> None:
        match self.trouble.kind:
            case "drifted":
                self._active.images.pop("sidecar", None)
            case "unwell":
                for pod in self._active.pods:
                    pod.ready_at = pod.ready_at or self._machine.clock.now
            case "hidden":
                assert self._preview is not None
                self._cluster.services[self._at] = self._preview


def waives(trouble: Trouble, request: dict[str, Any]) -> bool:
    """Whether whoever may has waived the trouble for a rotation."""
    own = CODES[trouble.kind]
    if own not in WAIVABLE:
        return False
    if request["origin"] != "manual":
        return own in trouble.file
    return own in request["waive"] and request["requestedBy"] in APPROVERS


def unfounded(trouble: Trouble | None, status: dict[str, Any]) -> list[str]:
    """What is wrong with the waivers that a record has: a sentence each."""
    request = status["request"]
    by_hand = request["origin"] == "manual"
    file = trouble.file if trouble and trouble.credential == status["credential"] else ()
    found = []
    for waiver in status["waivers"]:
        code, by, via = waiver["code"], waiver["by"], waiver["via"]
        given = request["waive"] if by_hand else file
        if request["cut"] == "first" and code == "no-way-back":
            continue  # that is what it is for
        if code not in WAIVABLE:
            found.append(f"{code} was waived, which nobody may")
        if code not in given:
            found.append(f"{code} counts as waived, and nobody did")
        if by_hand and (by not in APPROVERS or via != "request"):
            found.append(f"{by} has waived {code} via {via}, and may not approve")
        if not by_hand and via != "file":
            found.append(f"{code} counts as waived by {by}, and no person asked")
    return found
