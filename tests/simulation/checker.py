"""The invariants of the design, looked at after every effect, and whose fault it is.

What others break by themselves is theirs. It stays theirs while it lasts, and whatever an
execution does that had begun before they did it. An execution that begins later must have seen it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rotation.model.world import SLOTS
from tests.memory.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from rotation.config import Credential, Workload
    from rotation.model.targets import TrafficTarget
    from rotation.model.world import Slot
    from tests.memory.calls import Change
    from tests.memory.clock import Clock
    from tests.memory.world import World
    from tests.simulation.fibers import Fiber
    from tests.simulation.story import Story

INVARIANTS = {
    1: "the role that serves can log in with its secret's current version",
    2: "nothing that serves is scaled down, disabled or altered but as its owner chose by inPlace",
    3: "no password crosses",
    4: "a step may run twice or be cut off anywhere",
    5: "one rotation per credential",
    6: "nothing is retired without a decision",
    7: "needs-attention destroys nothing",
    8: "every request succeeds",
    9: "every rotation comes to a justified end",
    10: "no release is undone, and no changed file passed over, unless the record says so",
    11: "nobody waives who may not approve, nor what nobody may waive",
    12: "what nothing calls works in one slot once a decision is asked for, as its owner chose",
    13: "no run of CronJobs is done twice, and none loses its login before its end",
    14: "each finished rotation is kept once, as it ended",
    15: "each begins in a window that its owner allows, or with a reason, and goes back at once",
    16: "traffic moves as its owner lets it: asked before, the canary first, and back at a breach",
    17: "no more are between stage and swap, or retire, than the limits allow, and none waits to go"
    " back",
    18: "what is cut was called by who may, and its password never lets anybody in again",
    19: "a wave begins what it was asked for and no more, stops as it was told to, and ends",
    20: "a place that is free goes to one that waits for it",
}


@dataclass(frozen=True)
class Violation:
    invariant: int
    when: datetime
    text: str

    def __str__(self) -> str:
        return f"invariant {self.invariant} ({INVARIANTS[self.invariant]}): {self.text}"


def _let_on(status: dict[str, Any]) -> bool:
    """Whether a rotation that asked somebody before its swap has a place again after that."""
    asked = status["before"]["requested"]
    return any(
        step["step"] == "place" and step["since"] >= asked and step["until"] and not _failed(step)
        for step in status["steps"]
    )


def _failed(step: dict[str, Any]) -> bool:
    return step.get("failure") is not None


def counts(status: dict[str, Any]) -> bool:
    """Whether a rotation is between stage and swap, or retires what was replaced. An incident asks
    for no place."""
    if (status.get("request") or {}).get("compromised"):
        return False
    begun = {step["step"] for step in status.get("steps", ())}
    if status.get("outcome") is not None or "stage" not in begun:
        return False
    if "swap" not in begun and status.get("before") and not _let_on(status):
        return False
    last = status["steps"][-1]
    if "confirm" in begun and last["until"] and (last["step"] == "disable" or _failed(last)):
        return False  # it is done there, and about to say how it ended
    back = "swap-back" in begun or (status.get("decision") or {}).get("decision") == "reject"
    return "swap" not in begun or ("confirm" in begun and not back)


def _names(workload: Workload, slot: Slot) -> list[str]:
    """The names by which calls tell that they are about a slot of the workload."""
    own = workload.cron_job(slot) if workload.cron_jobs else workload.deployment(slot)
    return [str(own), str(workload.standby)]


class Checker:
    """`record` gives a rotation's status from the journal; `approved` are the rotations that
    somebody entitled has approved, or a policy."""

    def __init__(self, world: World, clock: Clock, story: Story) -> None:
        self.world = world
        self.violations: list[Violation] = []
        self.damage: dict[Owner, list[tuple[datetime, str]]] = {}
        self.permanents: list[tuple[datetime, str]] = []
        self.approved: set[str] = set()
        self.let: set[str] = set()  # whose traffic somebody, or a policy, has let move
        self.called: set[str] = set()  # incidents, by an approver who had signed in
        self.cut_off: set[Owner] = set()  # whose login was ended, and not made anew since
        self.leaked: set[tuple[str, str]] = set()  # roles that were cut, with their password
        self.late: list[str] = []  # what executions did whose outcome did not count any more
        self.statuses: dict[str, str] = {}  # custom status of each rotation, as JSON text
        self._clock = clock
        self._story = story
        self._standing: set[tuple[int, str]] = set()

    def fail(self, invariant: int, text: str) -> None:
        self.violations.append(Violation(invariant, self._clock.now, text))
        self._story.tell("CHECKER", "VIOLATION of invariant %d: %s", invariant, text)

    def record(self, rotation: str | None) -> dict[str, Any]:
        found = json.loads(self.statuses.get(rotation or "", "null"))
        return found or {}

    def crowded(self, running: list[str]) -> None:
        """Checks that no more rotations are at one thing than may be there, by their statuses."""
        at: dict[str, list[str]] = {}
        for rotation in running:
            status = self.record(rotation)
            if counts(status):
                credential = self.world.configuration.credentials[status["credential"]]
                for thing in credential.things:
                    at.setdefault(thing, []).append(rotation)
        for thing, there in at.items():
            most = self.world.configuration.max_parallel.most(thing)
            if most is not None and len(there) > most:
                self.fail(17, f"{', '.join(there)} are at {thing} at once, and {most} may be")

    # What others and faults did

    def blame(self, owners: list[Owner], what: str) -> None:
        """Notes that somebody else did this to these slots just now: what is broken now is
        theirs."""
        for owner in owners:
            self.damage.setdefault(owner, []).append((self._clock.now, what))
        self._standing = {(invariant, key) for invariant, key, _, _ in self._broken()}

    def permanent(self, when: datetime, what: str) -> None:
        self.permanents.append((when, what))

    def damaged_since(self, owner: Owner, when: datetime | None) -> bool:
        return any(when is None or at >= when for at, _ in self.damage.get(owner, []))

    # What the app does

    def touched(
        self, fiber: Fiber, owner: Owner, verb: str, serving: list[str], *, destroys: bool
    ) -> None:
        """Checks an effect that changed a slot, which these Services selected just before."""
        if fiber.late:
            self.late.append(verb)
        if verb.startswith("activate "):
            self.cut_off.discard(owner)
        if serving and not self.damaged_since(owner, fiber.began):
            self.fail(2, f"{fiber.name}: {verb} while {owner} serves {', '.join(serving)}")
        if destroys and not (fiber.activity == "activate" and self._superseded(owner, verb)):
            self._destroyed(fiber, owner, verb)

    def cut(self, fiber: Fiber, owner: Owner, verb: str, password: str | None) -> None:
        """Checks that a login which may serve is ended as an approver said, of whom its owner lets
        it be. What it served is that approver's from then on."""
        record = self.record(fiber.rotation)
        wanted = (record.get("request") or {}).get("cut") == "first"
        slot = (record.get("leak") or {}).get("slot")
        allowed = self.credential(owner.credential).incident == "allowed"
        if not (wanted and allowed and slot == owner.slot and fiber.rotation in self.called):
            self.fail(18, f"{fiber.name}: {verb} of {owner}, which nobody entitled has called")
        if verb.startswith("deactivate "):
            self.cut_off.add(owner)
            self.blame([owner], "cut")
            if password is not None:
                self.leaked.add((verb.split(" ")[1], password))

    def stranded(self, fiber: Fiber, owner: Owner, verb: str, services: list[str]) -> None:
        """Checks that no pods are taken away that a Service leads to which nobody named."""
        if not self.damaged_since(owner, fiber.began):
            self.fail(2, f"{fiber.name}: {verb} while {', '.join(services)} lead there")

    def guarded(self, fiber: Fiber, change: Change, verb: str) -> None:
        """Checks that the execution looked at what serves right before a verb that changes a
        slot."""
        if change.kind == "previews" and fiber.activity in {"swap", "swap_back"}:
            return  # it has just moved the Service itself
        unseen = self.concerned(fiber, change, verb) - fiber.looks
        if unseen:
            self.fail(2, f"{fiber.name}: {verb} without a look at {', '.join(sorted(unseen))}")

    def concerned(self, fiber: Fiber, change: Change, verb: str) -> set[str]:
        """The production Services that must not go to the slot when it is changed so.

        Where traffic is about to come to one workload, others may have been swapped already.
        """
        slot, workloads = change.owner.slot, self.credential(change.owner.credential).workloads
        if change.kind == "raises" or fiber.activity == "level":
            workloads = [
                one for one in workloads if any(f" {name} " in verb for name in _names(one, slot))
            ]
        return {
            str(target)
            for workload in workloads
            for target in (*workload.productions, workload.exchanged)
            if target is not None
        }

    def _superseded(self, owner: Owner, verb: str) -> bool:
        """A version was disabled that the slot's role does not log in with any more."""
        credential = self.credential(owner.credential)
        secret, _, version = verb.removeprefix("disable ").partition("/")
        found = self.world.vault(credential).find(secret, version)
        role = credential.slots[owner.slot].role
        return found is not None and not self.world.database.accepts(role, found.password)

    def _destroyed(self, fiber: Fiber, owner: Owner, verb: str) -> None:
        record = self.record(fiber.rotation)
        what = f"{fiber.name}: {verb} of {owner} by rotation {fiber.rotation}"
        if record.get("outcome") is not None and not fiber.late:
            self.fail(7, f"{what} after its end as {record['outcome']}")
        if self._stops(owner, verb):
            return  # that it serves nothing was looked at before
        if record.get("active") == owner.slot:
            decision = record.get("decision") or {}
            if decision.get("decision") != "approve" or fiber.rotation not in self.approved:
                self.fail(6, f"{what}, which it was to replace, and nobody approved that")
        if not any(step["step"] == "confirm" and step["until"] for step in record.get("steps", ())):
            self.fail(7, f"{what} before it was proved that the other slot serves")

    def _stops(self, owner: Owner, verb: str) -> bool:
        """Whether pods end that nothing calls, which waits for no approval."""
        workloads = self.credential(owner.credential).workloads
        ending = [f"scale {one.deployment(owner.slot)} to 0" for one in workloads if one.stops]
        return verb in ending

    def asked(self, rotation: str, untouched: Callable[[Owner], bool]) -> None:
        """Checks, when somebody is asked to decide, that what nothing calls works in one slot
        alone, unless its owner or somebody else wants both."""
        record = self.record(rotation)
        owner = self._owner(record["credential"], record["active"])
        for workload in self.credential(owner.credential).workloads:
            if not workload.stops:
                continue
            pods = self.world.clusters[workload.cluster].pods(workload.deployment(owner.slot))
            if pods and untouched(owner):
                self.fail(12, f"{rotation} asks while {', '.join(pods)} still work")

    def look(self, fiber: Fiber | None, verb: str) -> None:
        """Checks all invariants after an effect, or (without a fiber) after time went by."""
        for role, password in self.leaked:
            if self.world.database.accepts(role, password):
                self.fail(18, f"after {verb}: role {role} can log in with a password that leaked")
        broken = self._broken()
        for invariant, key, owner, text in broken:
            if (invariant, key) in self._standing or owner in self.cut_off:
                continue
            if not self.damaged_since(owner, self._seen_since(fiber, invariant)):
                who = fiber.name if fiber else "as time went by"
                self.fail(invariant, f"after {verb} ({who}): {text}")
        self._standing = {(invariant, key) for invariant, key, _, _ in broken}

    def _seen_since(self, fiber: Fiber | None, invariant: int) -> datetime | None:
        """From when on damage excuses an execution. Going back asks ready pods and no login: what
        others have done to that is theirs, whenever they did it. So is what keeps Jobs from their
        login, which begin by themselves."""
        went_back = fiber is not None and fiber.activity == "swap_back" and invariant == 1
        return None if fiber is None or went_back or invariant == 13 else fiber.began

    def _broken(self) -> list[tuple[int, str, Owner, str]]:
        """The invariants that do not hold: number, what it is about, the slot at fault, and
        words."""
        found: list[tuple[int, str, Owner, str]] = []
        for name, _, workload in self.world.workloads():
            for target in workload.productions:
                found += self._broken_at(name, workload, target)
            if workload.in_place:
                found += self._broken_in_place(name, workload)
        return [*found, *self._broken_runs()]

    def _broken_runs(self) -> Iterator[tuple[int, str, Owner, str]]:
        """The same, of CronJobs and their Jobs."""
        roles = self.world.database.roles
        for cluster in self.world.clusters.values():
            schedules = cluster.schedules
            for moment in schedules.both:
                owner = self.world.owners[next(iter(schedules.found.values())).role]
                yield 13, f"both {moment}", owner, "both CronJobs of a pair are not suspended"
            for role, text in schedules.wrong:
                yield 13, text, self.world.owners[role], text
            for job in schedules.refused:
                if self.world.owners[job.role].credential in self.world.spoiled:
                    continue  # from the beginning
                text = f"Job {job.name} could not log in as {job.role}"
                yield 13, f"{job.name} {job.created}", self.world.owners[job.role], text
            for role, _, job in schedules.sessions():
                if not roles[role].login:
                    text = f"the login of Job {job.name} was taken away while it runs"
                    yield 13, f"{job.name} {job.created}", self.world.owners[role], text

    def _broken_in_place(self, name: str, workload: Workload) -> list[tuple[int, str, Owner, str]]:
        """The same, of a workload in place: whichever login a pod has read must work."""
        found: list[tuple[int, str, Owner, str]] = []
        cluster, target = self.world.clusters[workload.cluster], workload.exchanged
        assert target is not None
        held = cluster.secrets[target.namespace, target.name].slot
        if held in {"blue", "green"}:
            owner = self._owner(name, held)
            problem = self.world.logs_in(owner)
            if problem:
                text = f"Secret {target} holds the login of {owner}, and {problem}"
                found.append((1, f"{target} {held}", owner, text))
        deployment = cluster.find(workload.deployment("blue"))
        assert deployment is not None
        for pod in deployment.pods:
            role = deployment.role_of(pod)
            if not pod.gone_at and not self.world.accepted(role, pod.password):
                text = f"pod {pod.name} has read a login of {role}, which is refused"
                found.append((8, pod.name, self.world.owners[role], text))
        return found

    def in_place(self, fiber: Fiber | None, verb: str) -> None:
        """Checks that a workload in place is altered as its owner chose, and in no other way: the
        login in its Secret, and a restart where it is to restart."""
        changed = verb.split(" ")
        for _, _, workload in self.world.workloads():
            settings, target = workload.in_place, workload.exchanged
            if fiber is None or settings is None or changed[0] in {"exchange", "fence_secret"}:
                continue
            if str(target) in changed[1:2] or (
                str(workload.deployment("blue")) in changed[1:2]
                and (changed[0], settings.then) != ("restart", "restart")
            ):
                self.fail(2, f"{fiber.name}: {verb} of a workload in place")

    def _broken_at(
        self, name: str, workload: Workload, target: TrafficTarget
    ) -> list[tuple[int, str, Owner, str]]:
        """The same, of one production Service."""
        found: list[tuple[int, str, Owner, str]] = []
        cluster = self.world.clusters[workload.cluster]
        service = cluster.service(target)
        if service is None:
            return found
        for slot in service.goes:
            owner = self._owner(name, slot)
            problem = self.world.logs_in(owner) if slot in SLOTS else None
            if problem:
                text = f"{owner} serves {target.name} and {problem}"
                found.append((1, f"{target.name} {owner.slot}", owner, text))
        for routed in cluster.routed(service):
            problem = self._request(workload, routed)
            if problem:
                owner = self._owner(name, routed)
                found.append((8, target.name, owner, f"requests to {target.name}: {problem}"))
        return found

    def _owner(self, name: str, slot: str) -> Owner:
        return Owner(name, slot)  # type: ignore[arg-type]  # a selector may hold anything

    def _request(self, workload: Workload, routed: str) -> str | None:
        """Why a request that comes now would fail, or None. To CronJobs there are none."""
        if workload.cron_jobs:
            return None
        cluster = self.world.clusters[workload.cluster]
        name = next((n for slot, n in workload.deployments.items() if slot == routed), None)
        deployment = cluster.deployments.get((workload.namespace, name or ""))
        if deployment is None:
            return f"its Service selects {routed}, which has no Deployment"
        if not any(cluster.works(deployment, pod) for pod in deployment.pods):
            return f"no pod of the {len(deployment.pods)} of {deployment.name} works"
        return None

    def crossed(self, where: str, text: str) -> None:
        """Checks a text that is about to be stored, logged or published."""
        for value in self.world.values:
            if value in text:
                self.fail(3, f"a secret's value is in {where}")
                return

    def credential(self, name: str) -> Credential:
        return self.world.configuration.credential(name)
