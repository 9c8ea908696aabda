"""The verbs that change a slot, each behind a look at what serves.

There is no other way to them: activities get readers of the edges, and these. The look comes right
before the change, so that an execution that was held up cannot act on what was true before. What
changes a Deployment names its revision too, which was read before the look: held up after the look,
it comes to nothing if another execution has changed the Deployment meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.model.errors import Conflict
from rotation.model.reasons import Code
from rotation.model.targets import SecretTarget
from rotation.model.world import other
from rotation.steps import strangers

if TYPE_CHECKING:
    from datetime import datetime

    from rotation.config import Credential, Workload
    from rotation.contracts.cron_jobs import CronJobs
    from rotation.contracts.database import Database
    from rotation.contracts.edges import Edges, Readers
    from rotation.contracts.pods import Pods
    from rotation.contracts.vault import Vault
    from rotation.model.targets import DeploymentTarget, SlotSecretTarget
    from rotation.model.world import Route, SecretVersion, Slot, Template
    from rotation.secrecy import Secret


class Standby:
    """Changes a slot that serves nothing of its credential. Each verb raises `Conflict` if it does.

    `_vault`, `_database` and `_pods` look before they hand out what changes something.
    """

    def __init__(self, edges: Edges, credential: Credential, slot: Slot, rotation: str) -> None:
        self._edges = edges
        self._rotation = rotation
        self._credential = credential
        self._slot = slot

    def put(
        self, value: Secret, *, expires: datetime, content_type: str, tags: dict[str, str]
    ) -> SecretVersion:
        """Writes a new version of the slot's secret, and returns it."""
        secret = self._credential.secret(self._slot)
        return self._vault.put(secret, value, expires=expires, content_type=content_type, tags=tags)

    def disable(self, version: str) -> None:
        name = self._credential.secret(self._slot).name
        self._vault.disable(SecretTarget(name, version))

    def activate(self, password: Secret) -> None:
        self._database.activate(self._role, password)

    def deactivate(self) -> None:
        self._database.deactivate(self._role)

    def terminate(self) -> None:
        """Ends the sessions of the slot's role, on the server and on each of its read replicas."""
        credential = self._credential
        for server in (self._edges.database(credential), *self._edges.replicas(credential)):
            self._look()
            server.terminate(self._role)

    def deliver(self, workload: Workload, value: Secret, version: str) -> None:
        """Writes the secret's value into the slot's Kubernetes Secret, if its pods read one."""
        target = workload.secret_key(self._slot)
        if target is not None:
            self._pods(workload).deliver(target, value, version)

    def start(
        self,
        workload: Workload,
        *,
        replicas: int,
        images: dict[str, str],
        version: str,
        revision: str | None,
    ) -> None:
        """Starts the slot's Deployment, which has to be as it was at `revision`."""
        target = workload.deployment(self._slot)
        self._pods(workload).start(
            target,
            replicas=replicas,
            images=images,
            version=version,
            revision=revision,
            by=self._rotation,
        )

    def sync(
        self,
        workload: Workload,
        template: Template,
        *,
        replicas: int,
        version: str,
        revision: str | None,
    ) -> None:
        """Starts the slot's Deployment, which has to be as it was at `revision`, with this pod
        template."""
        self._pods(workload).sync(
            workload.deployment(self._slot),
            template,
            replicas=replicas,
            version=version,
            revision=revision,
            by=self._rotation,
        )

    def scale_down(self, workload: Workload, revision: str | None, *, early: bool = False) -> None:
        """Scales the slot's Deployment to zero, which has to be as it was at `revision`.

        Raises `Conflict` too if a Service or EndpointSlice leads there that nobody named: for all
        that is known, it serves; and `early`, before anybody has approved, if clients may call the
        workload, or this rotation goes back by now.
        """
        strangers.refuse(self._edges, workload, self._slot)
        if early:
            _refuse_what_is_called(self._edges, workload, self._rotation)
        target = workload.deployment(self._slot)
        self._pods(workload).scale(target, 0, revision=revision, by=self._rotation)

    def preview(self, workload: Workload, came_from: str) -> None:
        """Points the preview Service at the slot."""
        self._look()
        if workload.standby is not None:
            traffic = self._edges.traffic(workload.cluster)
            traffic.move(workload.standby, came_from, self._slot, by=self._rotation)

    @property
    def _role(self) -> str:
        return self._credential.slots[self._slot].role

    @property
    def _vault(self) -> Vault:
        self._look()
        return self._edges.vault(self._credential.vault)

    @property
    def _database(self) -> Database:
        self._look()
        return self._edges.database(self._credential)

    def _pods(self, workload: Workload) -> Pods:
        self._look()
        return self._edges.pods(workload.cluster)

    def _look(self) -> None:
        """Raises `Conflict` if a workload's traffic goes to the slot."""
        for workload in self._credential.workloads:
            _refuse_what_serves(self._edges, workload, self._slot)


class Leaked:
    """Ends a login whose password has leaked, though it may serve: the one exception to what all
    other guards are for, and only where the credential says `incident: allowed`.

    `version` is that of its secret when the incident was called: held up since then, it must not
    end a login that was made anew.
    """

    def __init__(
        self,
        edges: Edges,
        credential: Credential,
        slot: Slot,
        version: str | None,
        *,
        allowed: bool,
    ) -> None:
        self._edges = edges
        self._credential = credential
        self._slot = slot
        self._version = version
        self._allowed = allowed

    def end(self) -> None:
        """Takes LOGIN and password from the slot's role, and ends its sessions on the server and on
        each of its read replicas.

        Raises `Conflict` where the file does not allow it, or the login is no more the one that
        leaked.
        """
        name = self._credential.slots[self._slot].role
        if not self._allowed:
            text = f"credentials.yaml does not say `incident: allowed`: role {name} is not cut"
            raise Conflict(Code.INCIDENT_OFF, text)
        secret = self._credential.secret(self._slot)
        current = self._edges.vault(self._credential.vault).current(secret)
        version = current.version if current else None
        if version != self._version:
            text = f"secret {secret} had version {self._version} when it leaked and has {version}"
            raise Conflict(Code.LEAK_REPLACED, f"{text} by now: role {name} is not cut")
        database = self._edges.database(self._credential)
        database.deactivate(name)
        for server in (database, *self._edges.replicas(self._credential)):
            server.terminate(name)


class Arriving:
    """Changes the slot that one workload's traffic is about to go to, and does not yet.

    Other workloads may have been moved already, so that `Standby` would refuse.
    """

    def __init__(self, edges: Edges, workload: Workload, slot: Slot, rotation: str) -> None:
        self._edges = edges
        self._rotation = rotation
        self._workload = workload
        self._slot = slot

    def scale_up(self, replicas: int, revision: str | None) -> None:
        """Scales the slot's Deployment, which has to be as it was at `revision`. Raises `Conflict`
        if this workload's traffic goes there."""
        self._pods.scale(self._deployment, replicas, revision=revision, by=self._rotation)

    def level(
        self,
        *,
        replicas: int,
        images: dict[str, str],
        version: str | None,
        revision: str | None,
    ) -> None:
        """Starts the slot's Deployment with these images. Raises as `scale_up` does."""
        self._pods.start(
            self._deployment,
            replicas=replicas,
            images=images,
            version=version,
            revision=revision,
            by=self._rotation,
        )

    def sync(
        self, template: Template, *, replicas: int, version: str | None, revision: str | None
    ) -> None:
        """Starts the slot's Deployment with this pod template. Raises as `scale_up` does."""
        self._pods.sync(
            self._deployment,
            template,
            replicas=replicas,
            version=version,
            revision=revision,
            by=self._rotation,
        )

    def preview(self, came_from: str) -> None:
        """Points the workload's preview Service at the slot. Raises as `scale_up` does."""
        _refuse_what_serves(self._edges, self._workload, self._slot)
        preview, traffic = self._workload.standby, self._edges.traffic(self._workload.cluster)
        if preview is not None:
            traffic.move(preview, came_from, self._slot, by=self._rotation)

    @property
    def _deployment(self) -> DeploymentTarget:
        return self._workload.deployment(self._slot)

    @property
    def _pods(self) -> Pods:
        _refuse_what_serves(self._edges, self._workload, self._slot)
        return self._edges.pods(self._workload.cluster)


class Scheduled:
    """Changes the CronJobs of one workload, of which the switch is on one slot or the other."""

    def __init__(self, edges: Edges, workload: Workload, slot: Slot, rotation: str) -> None:
        self._edges = edges
        self._rotation = rotation
        self._workload = workload
        self._slot = slot

    def equip(self, *, images: dict[str, str], version: str | None, revision: str | None) -> None:
        """Sets what the slot's CronJob, as it was at `revision`, makes Jobs from. Raises `Conflict`
        if the switch is on the slot."""
        _refuse_what_serves(self._edges, self._workload, self._slot)
        self._cron_jobs.equip(
            self._workload.cron_job(self._slot),
            images=images,
            version=version,
            revision=revision,
            by=self._rotation,
        )

    def suspend(self, revision: str | None) -> None:
        """Has the slot's CronJob, as it was at `revision`, start nothing any more. Raises as
        `equip` does."""
        target = self._workload.cron_job(self._slot)
        _refuse_what_serves(self._edges, self._workload, self._slot)
        self._cron_jobs.suspend(target, self._edges.now(), revision=revision, by=self._rotation)

    def suspend_other(self, revision: str | None, *, back: bool) -> None:
        """Has the other slot's CronJob, as it was at `revision`, start nothing any more.

        Raises `Conflict`, unless it is on its way `back` itself, if the rotation goes back by now.
        """
        self._refuse_what_turned(self._route(), back=back)
        self._cron_jobs.suspend(
            self._workload.cron_job(other(self._slot)),
            self._edges.now(),
            revision=revision,
            by=self._rotation,
            fence=back,
        )

    def resume(self, revision: str | None, *, back: bool) -> None:
        """Has the slot's CronJob, as it was at `revision`, start Jobs again.

        Raises `Conflict` as `suspend_other` does, and unless the switch is on the slot and the
        other CronJob suspended.
        """
        workload = self._workload
        beside = self._cron_jobs.cron_job(workload.cron_job(other(self._slot)))
        route = self._route()
        self._refuse_what_turned(route, back=back)
        if route is None or route.slot != self._slot or (beside and not beside.suspended):
            text = f"the switch {workload.production} is not on {self._slot}, or both would run"
            raise Conflict(Code.TRAFFIC_ELSEWHERE, text)
        self._cron_jobs.resume(
            workload.cron_job(self._slot), revision=revision, by=self._rotation, fence=back
        )

    def _refuse_what_turned(self, route: Route | None, *, back: bool) -> None:
        """Raises `Conflict` for a step forward once the rotation has set about to go back."""
        if not back and route is not None and route.fence == self._rotation:
            text = f"Service {self._workload.production} is on its way back"
            raise Conflict(Code.SERVES_TRAFFIC, text)

    def _route(self) -> Route | None:
        """The switch of the workload's CronJobs."""
        return self._edges.traffic(self._workload.cluster).route(self._workload.production)

    @property
    def _cron_jobs(self) -> CronJobs:
        return self._edges.cron_jobs(self._workload.cluster)


class Exchange:
    """Changes what serves in one workload in place, as its owner chose: each verb is its own guard,
    a compare-and-swap by the revision of a look."""

    def __init__(self, edges: Edges, workload: Workload, slot: Slot, rotation: str) -> None:
        self._edges = edges
        self._rotation = rotation
        self._workload = workload
        self._slot = slot

    def fence(self, target: SlotSecretTarget) -> None:
        """Makes a `write` that was prepared before it come to nothing."""
        self._pods.fence_secret(target, self._rotation)

    def write(
        self, target: SlotSecretTarget, login: tuple[str, Secret], *, version: str, revision: str
    ) -> None:
        """Writes the slot's role and value into the Secret, which has to be as it was."""
        self._pods.exchange(
            target, self._slot, login, version=version, revision=revision, by=self._rotation
        )

    def restart(self, *, version: str, exchange: str, revision: str) -> None:
        """Has the workload replace its pods in its own way."""
        target = self._workload.deployment(self._slot)
        self._pods.restart(
            target, version=version, exchange=exchange, revision=revision, by=self._rotation
        )

    @property
    def _pods(self) -> Pods:
        return self._edges.pods(self._workload.cluster)


def _refuse_what_is_called(edges: Readers, workload: Workload, rotation: str) -> None:
    """Raises `Conflict` if clients may call the workload's pods, or the rotation has set about to
    move it back: then pods that it left are needed."""
    traffic = edges.traffic(workload.cluster)
    for target in workload.productions:
        route = traffic.route(target)
        if route is None or not route.headless or not workload.stops:
            text = f"Service {target} is gone, or not headless and without ports"
            raise Conflict(Code.SERVICE_CALLED, f"{text}: clients may call the pods that would end")
        if route.fence == rotation:
            text = f"Service {target} is on its way back: the pods that it left are needed"
            raise Conflict(Code.SERVES_TRAFFIC, text)


def _refuse_what_serves(edges: Readers, workload: Workload, slot: Slot) -> None:
    """Raises `Conflict` if traffic of the workload, any share of it, goes to the slot."""
    traffic = edges.traffic(workload.cluster)
    exchanged = workload.exchanged
    if exchanged is not None:
        found = edges.pods(workload.cluster).exchanged(exchanged)
        if found is not None and found.seen.slot == slot:
            text = f"Secret {exchanged} holds the login of {slot}: what serves is not touched"
            raise Conflict(Code.SERVES_TRAFFIC, text)
    for target in workload.productions:
        route = traffic.route(target)
        if route is not None and route.share(slot):
            text = f"{target.kind} {target} routes to {slot}: what serves traffic is not touched"
            raise Conflict(Code.SERVES_TRAFFIC, text)
