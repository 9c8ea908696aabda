"""What others do in the middle of a rotation: operators, deployments, scripts, mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rotation.config import Configuration
from rotation.model.world import SLOTS, Session, other
from tests.memory.cluster import BROKEN, NODES, ServiceState
from tests.memory.owner import Owner
from tests.simulation.scenario import another

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from rotation.config import Credential, Workload
    from rotation.model.world import Slot
    from tests.memory.cluster import ClusterModel, DeploymentState
    from tests.simulation.machine import Machine


HOURS = 6 * 3600.0
UPGRADE = 120.0  # seconds that a node is drained for, at most
SETTLED = 30.0  # seconds until pods that were asked for are up


class Others:
    """Each deed draws whom it meets, says which slots it damages, and does it."""

    def __init__(self, machine: Machine, rng: Random) -> None:
        self._machine = machine
        self._world = machine.world
        self._rng = rng
        self.done: list[str] = []
        self.damaging: list[tuple[str, str]] = []  # credential, what
        self.touched: dict[Owner, datetime] = {}  # when last
        self.released: dict[str, str] = {}  # by workload, the image that went last to what serves
        self.configured: dict[str, str] = {}  # the variable
        self.exhausted = False  # once they have used up the database's connections
        self.edited: dict[str, datetime] = {}  # by credential, when its entry in the file was

    def schedule(self) -> None:
        """Plans deeds at calls of the app: none in most runs."""
        for _ in range(self._rng.choice([0, 0, 0, 1, 1, 2, 4])):
            deed = self._rng.choice(DEEDS)
            self._machine.calls.at[self._rng.randrange(2, 150)] = lambda deed=deed: self.do(deed)  # type: ignore[misc]  # a default binds the loop's variable
        # From generators of their own: the other runs stay what they were.
        rng = another(self._rng)
        for number in rng.sample(range(2, 150), rng.choices([0, 1, 3], [80, 12, 8])[0]):
            node = rng.choice(NODES)
            self._machine.calls.at.setdefault(number, lambda node=node: self._drain(node))  # type: ignore[misc]  # as above
        rng = another(self._rng, 1)
        if rng.random() < 0.1:
            number = rng.randrange(2, 150)
            self._machine.calls.at.setdefault(number, lambda: self.do(Others.configures))

    def do(self, deed: Callable[[Others], None]) -> None:
        deed(self)

    def _did(self, text: str, owner: Owner, effect: Callable[[], None], *damaged: Owner) -> None:
        """`damaged` are the slots that may not work any more because of it."""
        self.touched |= dict.fromkeys([owner, *damaged], self._machine.clock.now)
        self._machine.story.tell("OTHERS", "%s", text)
        effect()
        self.done.append(text)
        self.damaging += [(slot.credential, text) for slot in damaged]
        self._machine.checker.blame(list(damaged), text)

    def _passes(self, text: str, effect: Callable[[], None]) -> None:
        """Something that passes by itself, and is no reason for a rotation to end otherwise."""
        self._machine.story.tell("OTHERS", "%s", text)
        effect()
        self.done.append(text)

    # Whom it meets

    def _credential(self) -> tuple[str, Credential]:
        name = self._rng.choice(sorted(self._world.configuration.credentials))
        return name, self._world.configuration.credential(name)

    def _owner(self) -> tuple[Owner, Credential]:
        name, credential = self._credential()
        return Owner(name, self._rng.choice(SLOTS)), credential

    def _workload(self) -> tuple[Owner, Workload, ClusterModel]:
        owner, credential = self._owner()
        workload = self._rng.choice([one for one in credential.workloads if one.deployments])
        return owner, workload, self._world.clusters[workload.cluster]

    def _deployment(self) -> tuple[Owner, ClusterModel, DeploymentState]:
        owner, workload, cluster = self._workload()
        found = cluster.find(workload.deployment(owner.slot))
        assert found is not None
        return owner, cluster, found

    def _service(self) -> tuple[str, ClusterModel, ServiceState]:
        owner, workload, cluster = self._workload()
        found = cluster.service(self._rng.choice(workload.productions))
        assert found is not None
        return owner.credential, cluster, found

    # What they do

    def scales(self) -> None:
        owner, cluster, found = self._deployment()
        replicas = self._rng.choice([0, 1, 3, 5])
        self._scale(owner, cluster, found, replicas)

    def _scale(
        self, owner: Owner, cluster: ClusterModel, found: DeploymentState, replicas: int
    ) -> None:
        damaged = [owner] if replicas < max(found.replicas, 1) else []
        self._did(
            f"scale {found.name} to {replicas}",
            owner,
            lambda: cluster.scale(found, replicas),
            *damaged,
        )

    def grows(self) -> None:
        """Lets the load grow: each workload gets more pods in the slot that serves it."""
        for name, _, workload in self._world.deployed():
            cluster = self._world.clusters[workload.cluster]
            service = cluster.service(workload.production)
            slot = next((slot for slot in SLOTS if service and service.slot == slot), None)
            found = cluster.find(workload.deployment(slot)) if slot else None
            if slot is not None and found is not None:
                self._scale(Owner(name, slot), cluster, found, found.replicas + 3)

    def exhausts(self) -> None:
        """Leaves the database no connection but those that both slots' pods have, for some hours.

        Where only one slot of a credential is up, there are enough. Of several workloads one may be
        up and another one not yet: that one gets none.
        """
        roles = {role for c in self._world.clusters.values() for role, _, _ in c.sessions()}
        up = {self._world.owners[role] for role in roles}
        if len(up) < len(SLOTS) * len(self._world.configuration.credentials):
            return
        database = self._world.database
        database.most, self.exhausted = database.used(), True
        self._machine.story.tell("OTHERS", "use all but %d connections", database.most)
        self._machine.agenda.add(HOURS, lambda: setattr(database, "most", None))

    def outgrows(self) -> None:
        """Lets the load grow, and leaves no connection beyond those that the grown slots need."""
        self.grows()
        self._machine.agenda.add(SETTLED, self.exhausts)

    def moves(self) -> None:
        """Moves the first workload to the other slot, ahead of the rotation."""
        name, _, workload = next(self._world.deployed())
        cluster = self._world.clusters[workload.cluster]
        service = cluster.service(workload.production)
        assert service is not None
        self.points(name, cluster, service, "green" if service.slot == "blue" else "blue")

    def deploys(self) -> None:
        owner, cluster, found = self._deployment()
        tag = self._rng.choice(["2", "3", BROKEN])
        self._deploy(owner, cluster, found, tag)

    def _deploy(
        self, owner: Owner, cluster: ClusterModel, found: DeploymentState, tag: str
    ) -> None:
        images = {**found.images, "app": f"app:{tag}"}
        damaged = [owner] if tag == BROKEN else []
        self._did(
            f"deploy app:{tag} to {found.name}",
            owner,
            lambda: cluster.roll(found, images, found.version),
            *damaged,
        )
        for name, _, workload in self._world.deployed():
            service = self._world.clusters[workload.cluster].service(workload.production)
            slot = next((slot for slot in SLOTS if service and service.slot == slot), None)
            if (name, slot) == owner and workload.deployments[owner.slot] == found.name:
                self.released[workload.name] = images["app"]

    def releases(self) -> None:
        """Releases the application: each workload gets an image of its own where it is served."""
        for name, _, workload in self._world.deployed():
            cluster = self._world.clusters[workload.cluster]
            service = cluster.service(workload.production)
            slot = next((slot for slot in SLOTS if service and service.slot == slot), None)
            found = cluster.find(workload.deployment(slot)) if slot else None
            if slot is not None and found is not None:
                self._deploy(Owner(name, slot), cluster, found, f"r{len(self.done)}")

    def configures(self) -> None:
        """Releases configuration: each workload gets a variable of its own where it is served."""
        for name, _, workload in self._world.deployed():
            cluster = self._world.clusters[workload.cluster]
            service = cluster.service(workload.production)
            slot = next((slot for slot in SLOTS if service and service.slot == slot), None)
            found = cluster.find(workload.deployment(slot)) if slot else None
            if slot is None or found is None:
                continue
            variable = f"C{len(self.done)}"
            self._did(
                f"set {variable} in {found.name}",
                Owner(name, slot),
                lambda cluster=cluster, found=found, env={variable: "1"}: cluster.configure(  # type: ignore[misc]  # defaults bind the loop's variables
                    found, env
                ),
            )
            self.configured[workload.name] = variable

    def edits(self) -> None:
        """Edits the entry of a credential whose rotation is under way, or takes it away."""
        name, _ = self._credential()
        self._edit(name, self._rng.choice(EDITS))

    def loses(self) -> None:
        """Takes the entry away of each credential whose rotation is under way."""
        for name in self._world.configuration.credentials:
            self._edit(name, gone)

    def rewrites(self) -> None:
        """Edits all of an entry that a rotation under way could read."""
        for name in self._world.configuration.credentials:
            for edit in EDITS[1:]:
                self._edit(name, edit)

    def _edit(self, name: str, edit: Edit) -> None:
        """Changes the file, if the credential's rotation has been planned and goes on."""
        machine, records = self._machine, self._machine.checker.record
        rotations = [key for key, known in machine.credentials.items() if known == name]
        under_way = [key for key in rotations if key in machine.journal.state.instances]
        if not any(records(key).get("active") for key in under_way):
            return
        machine.edges.configuration = edit(machine.edges.configuration, name)
        text = f"edit the file: {edit.__name__}"
        machine.story.tell("OTHERS", "%s", text)
        self.done.append(text)
        self.edited.setdefault(name, machine.clock.now)

    def selects(self) -> None:
        credential, cluster, service = self._service()
        self.points(credential, cluster, service, self._rng.choice([*SLOTS, "purple", None]))

    def points(
        self, credential: str, cluster: ClusterModel, service: ServiceState, slot: str | None
    ) -> None:
        self._did(
            f"point Service {service.name} at {slot}",
            Owner(credential, slot),  # type: ignore[arg-type]  # what they write may be no slot
            lambda: cluster.select(service, slot),
            *_both(credential),
            Owner(credential, slot),  # type: ignore[arg-type]
        )
        self.released.clear()  # it is their deed what serves now
        self.configured.clear()

    def adds_a_service(self) -> None:
        """Adds a Service that finds the pods of a slot, or of both, and that nobody names."""
        owner, workload, cluster = self._workload()
        slot = self._rng.choice([owner.slot, None])
        self._lead(owner.credential, workload, cluster, slot)

    def leads_to_what_serves(self) -> None:
        """Adds such a Service to the slot that serves each workload."""
        for name, _, workload in self._world.deployed():
            cluster = self._world.clusters[workload.cluster]
            service = cluster.service(workload.production)
            slot = next((slot for slot in SLOTS if service and service.slot == slot), None)
            self._lead(name, workload, cluster, slot)

    def _lead(
        self, credential: str, workload: Workload, cluster: ClusterModel, slot: Slot | None
    ) -> None:
        name = f"{workload.name}-{len(self.done)}"
        selector = {"app": workload.name}
        if slot is not None:
            selector[workload.selector_label] = slot
        state = ServiceState(workload.namespace, name, selector, workload.selector_label)

        def effect() -> None:
            cluster.services[workload.namespace, name] = state

        owner = Owner(credential, slot or "blue")
        text = f"add Service {name} that finds pods of {slot or 'both'}"
        self._did(text, owner, effect, *_both(credential))

    def selects_preview(self) -> None:
        owner, workload, cluster = self._workload()
        service = cluster.service(workload.standby) if workload.standby else None
        if service is None:  # gone from the start, or none
            return
        self._did(
            f"point Service {service.name} at {owner.slot}",
            owner,
            lambda: cluster.select(service, owner.slot),
        )

    def disables(self) -> None:
        owner, credential = self._owner()
        current = self._world.current(credential, owner.slot)
        if current is None:
            return

        def effect() -> None:
            current.disabled = current.disabled or self._machine.clock.now

        self._did(f"disable {current.secret}/{current.version}", owner, effect, owner)

    def writes(self) -> None:
        owner, credential = self._owner()
        password = f"others{len(self.done)}{owner.slot}".ljust(40, "1")

        def effect() -> None:
            self._world.write(credential, owner.slot, password)

        self._did(f"write a new version of the secret of {owner}", owner, effect, owner)

    def bars(self) -> None:
        owner, credential = self._owner()
        role = self._world.database.roles[credential.slots[owner.slot].role]

        def effect() -> None:
            role.login = False
            self._world.database.wrote()

        self._did(f"NOLOGIN on the role of {owner}", owner, effect, owner)

    def sets_password(self) -> None:
        owner, credential = self._owner()
        role = self._world.database.roles[credential.slots[owner.slot].role]

        def effect() -> None:
            role.password = f"by hand {len(self.done)}"
            self._world.database.wrote()

        self._did(f"set the password of the role of {owner}", owner, effect, owner)

    def overwrites(self) -> None:
        owner, workload, cluster = self._workload()
        target = workload.secret_key(owner.slot)
        if target is None:
            return

        def effect() -> None:
            cluster.secrets[target.namespace, target.name].data[target.key] = "something"

        self._did(f"overwrite Secret {target}", owner, effect, owner)

    def evicts(self) -> None:
        """Lets a node evict a pod, where another one is ready."""
        _, cluster, found = self._deployment()
        self._passes(f"evict a pod of {found.name}", lambda: cluster.evict(found))

    def drains(self) -> None:
        """Lets the first node of each cluster be drained, as an upgrade does."""
        self._drain(NODES[0])

    def _drain(self, node: str) -> None:
        """Drains a node of each cluster that has all of its own. A single pod may go with it where
        it does not serve: what begins later has to see that."""

        def outage(found: DeploymentState) -> None:
            for name, credential, workload in self._world.deployed():
                del credential
                slot = next((s for s, n in workload.deployments.items() if n == found.name), None)
                if slot is not None:
                    self._machine.checker.blame([Owner(name, slot)], "a drain of a single pod")

        for cluster in self._world.clusters.values():
            cluster.on_outage = outage
            self._passes(f"drain node {node}", lambda: cluster.drain(node, UPGRADE))  # noqa: B023 - called at once

    def fills_the_quota(self) -> None:
        """Lets something else take the quota of pods for a while."""
        _, _, cluster = self._workload()
        seconds = self._rng.choice([4.0, 15.0, 30.0])
        self._passes(f"no room for pods for {seconds:g} s", lambda: cluster.fill(seconds))

    def deletes_the_vault(self) -> None:
        """Takes the vault away for good, in the middle."""
        name, _ = self._credential()
        self._did("delete the vault", Owner(name, "blue"), self._unvault, *_both(name))

    def _unvault(self) -> None:
        self._machine.calls.gone.add("vault")

    def uses(self) -> None:
        owner, credential = self._owner()
        role = credential.slots[owner.slot].role
        if self._world.database.roles[role].login:
            job = Session(role, "report", "10.0.0.9", "active", None)
            jobs = self._world.database.jobs
            self._did(f"open a session as {role}", owner, lambda: jobs.append(job))


def gone(file: Configuration, name: str) -> Configuration:
    left = {key: one for key, one in file.credentials.items() if key != name}
    return file.model_copy(update={"credentials": left})


def _changed(file: Configuration, name: str, **fields: object) -> Configuration:
    """The file with other fields of a credential; as it is where the credential is gone."""
    if name not in file.credentials:
        return file
    edited = file.credentials[name].model_copy(update=fields)
    return file.model_copy(update={"credentials": {**file.credentials, name: edited}})


def other_vault(file: Configuration, name: str) -> Configuration:
    return _changed(file, name, vault="https://kv-other.vault.example")


def other_roles(file: Configuration, name: str) -> Configuration:
    if name not in file.credentials:
        return file
    slots = file.credentials[name].slots
    renamed = {
        slot: login.model_copy(update={"role": f"{login.role}_2"}) for slot, login in slots.items()
    }
    return _changed(file, name, slots=renamed)


def other_deployments(file: Configuration, name: str) -> Configuration:
    if name not in file.credentials:
        return file
    renamed = [
        workload.model_copy(
            update={"deployments": {slot: f"{workload.name}-{slot}-2" for slot in SLOTS}}
        )
        if workload.deployments
        else workload
        for workload in file.credentials[name].workloads
    ]
    return _changed(file, name, workloads=renamed)


def other_cluster(file: Configuration, name: str) -> Configuration:
    """What the file calls so is another cluster now, for each credential."""
    del name
    moved = {
        key: cluster.model_copy(update={"server": f"{cluster.server}.other"})
        for key, cluster in file.clusters.items()
    }
    return file.model_copy(update={"clusters": moved})


def fewer_approvers(file: Configuration, name: str) -> Configuration:
    if name not in file.credentials:
        return file
    approval = file.credentials[name].approval
    listed = approval.listed[:1]
    return _changed(file, name, approval=approval.model_copy(update={"listed": listed}))


Edit = Callable[[Configuration, str], Configuration]
EDITS: tuple[Edit, ...] = (
    gone,
    other_vault,
    other_roles,
    other_deployments,
    fewer_approvers,
    other_cluster,
)


def _both(credential: str) -> tuple[Owner, Owner]:
    blue = Owner(credential, "blue")
    return blue, Owner(credential, other(blue.slot))


DEEDS: tuple[Callable[[Others], None], ...] = (
    Others.scales,
    Others.deploys,
    Others.releases,
    Others.edits,
    Others.selects,
    Others.selects_preview,
    Others.adds_a_service,
    Others.disables,
    Others.writes,
    Others.bars,
    Others.sets_password,
    Others.overwrites,
    Others.uses,
    Others.exhausts,
    Others.outgrows,
    Others.evicts,
    Others.fills_the_quota,
)
