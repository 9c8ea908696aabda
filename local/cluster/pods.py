"""One pod: its volumes, its containers, its status, and its end."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from local.cluster import kinds, times, volumes
from local.cluster.containers import Container, Host
from local.cluster.egress import Egress
from local.cluster.environment import HOST, Place
from local.cluster.ports import PORT_ANNOTATION
from local.cluster.tasks import cancel, spawn
from local.cluster.volumes import MountError
from local.storage import private_directory

if TYPE_CHECKING:
    from pathlib import Path

    from local.cluster.kinds import Kind, Object
    from local.cluster.node import Node

MOUNT_RETRY_FIRST, MOUNT_RETRY_LAST = 0.5, 10.0  # seconds


class PodWorker(Host):
    """Lives from the pod's creation to its removal. Made by the node, which it calls back."""

    def __init__(self, node: Node, pod: Object) -> None:
        self.node = node
        self.pod = pod
        self.store, self.images, self.session = node.store, node.images, node.session
        self.uid: str = pod["metadata"]["uid"]
        self.logs = private_directory(node.logs_of(pod))
        self.stopping = self.closing = self.evicted = False
        self.place = Place(
            node.directory / self.uid, address=node.addresses.take(), ports=self._take_ports()
        )
        self.egress = Egress(self.place.address)
        self._initialised = not pod["spec"].get("initContainers")
        self._containers = self._make("containers", "containerStatuses")
        self._init = self._make("initContainers", "initContainerStatuses")
        # https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
        self._sidecars = [each for each in self._init if each.spec.get("restartPolicy") == "Always"]
        self._beside: list[asyncio.Task[None]] = []
        self._phase = "Pending"
        self._ending: asyncio.Task[None] | None = None
        self._why: str | None = None  # it has failed as a whole
        self.changed()
        deadline = pod["spec"].get("activeDeadlineSeconds")
        self._late = [spawn(self._overrun(deadline), "deadline of a pod")] if deadline else []
        self._life = spawn(self._live(), f"pod {pod['metadata']['name']}")

    def _make(self, field: str, statuses: str) -> list[Container]:
        """A container that the pod had before the cluster was started anew counts a restart."""
        before = (self.pod.get("status") or {}).get(statuses) or []
        restarts = {item["name"]: item["restartCount"] + 1 for item in before}
        specs = self.pod["spec"].get(field) or []
        waits = "ContainerCreating" if self._initialised else "PodInitializing"
        return [Container(self, spec, restarts.get(spec["name"], 0), waits) for spec in specs]

    def _take_ports(self) -> dict[int, int]:
        """Local ports for the container ports, announced as annotations."""
        declared = [
            port["containerPort"]
            for field in ("containers", "initContainers")
            for container in self.pod["spec"].get(field) or []
            for port in container.get("ports") or []
        ]
        ports = {port: self.node.ports.take() for port in declared}

        def announce(pod: Object) -> None:
            annotations = pod["metadata"].get("annotations") or {}
            own = {f"{PORT_ANNOTATION}{port}": str(local) for port, local in ports.items()}
            pod["metadata"]["annotations"] = {**annotations, **own}

        self.pod = self.node.registry.modify(kinds.POD, self.pod, announce) or self.pod
        return ports

    async def _live(self) -> None:
        await self._mount()
        for container in self._init:
            if container in self._sidecars:
                self._beside.append(spawn(self._run_beside(container), f"sidecar {container.name}"))
                await container.up.wait()
                continue
            policy = "OnFailure" if self.pod["spec"]["restartPolicy"] != "Never" else "Never"
            if await container.run(policy) != 0:
                self._finish("Failed")
                return
        self._initialised = True
        policy = self.pod["spec"]["restartPolicy"]
        codes = await asyncio.gather(*(each.run(policy) for each in self._containers))
        grace = self.pod["spec"]["terminationGracePeriodSeconds"]
        await cancel(self._beside)
        for sidecar in reversed(self._sidecars):
            await sidecar.stop(grace)
        self._finish("Failed" if any(codes) else "Succeeded")

    async def _overrun(self, seconds: float) -> None:
        """Ends the pod's processes once it has run for too long; the pod stays, with its logs."""
        await asyncio.sleep(seconds)
        if self.is_over or self.stopping:
            return
        self.stopping = True
        await self._stop(self.pod["spec"]["terminationGracePeriodSeconds"])
        await cancel([self._life])
        self._phase, self._why = "Failed", "DeadlineExceeded"
        self.changed()

    async def _run_beside(self, sidecar: Container) -> None:
        await sidecar.run("Always")

    def _finish(self, phase: str) -> None:
        if not self.stopping:
            self._phase = phase
            self.changed()

    async def _mount(self) -> None:
        """Makes the volumes, and tries until every one is there."""
        private_directory(self.place.directory)
        wait = MOUNT_RETRY_FIRST
        for volume in self.pod["spec"].get("volumes") or []:
            while not await self._mounted(volume):
                await asyncio.sleep(wait)
                wait = min(wait * 2, MOUNT_RETRY_LAST)
        for container in [*self._init, *self._containers]:
            self.place.mounts |= volumes.mounts(container.spec, self._volumes)

    @property
    def _volumes(self) -> Path:
        return self.place.directory / "volumes"

    async def _mounted(self, volume: Object) -> bool:
        directory = self._volumes / volume["name"]
        try:
            if volume.get("csi"):
                await self.node.csi.mount(volume, directory, self.pod)
            else:
                volumes.fill(volume, directory, self.pod, self.store)
        except MountError as error:
            self.event("FailedMount", str(error), "Warning")
            return False
        return True

    def refresh(self, kind: Kind, name: str) -> None:
        """Renews the files of a Secret or ConfigMap that has changed."""
        if self.stopping:
            return
        for volume in self.pod["spec"].get("volumes") or []:
            directory = self._volumes / volume["name"]
            if volumes.shows(volume, kind, name) and directory.exists():
                volumes.fill(volume, directory, self.pod, self.store)

    def event(self, reason: str, message: str, type_: str = "Normal") -> None:
        self.node.record(self.pod, reason, message, type_)

    def changed(self) -> None:
        """Publishes the pod's status as its containers have it now; an evicted one's stays."""
        if self.evicted:
            return
        self.node.registry.modify(
            kinds.POD, self.pod, lambda pod: pod.update(status=self._status(pod)), "status"
        )

    def _status(self, pod: Object) -> Object:
        old = pod.get("status") or {}
        if self._phase == "Pending" and any("running" in each.state for each in self._containers):
            self._phase = "Running"
        status: Object = {
            "phase": self._phase,
            "hostIP": HOST,
            "hostIPs": [{"ip": HOST}],
            "podIP": self.place.address,
            "podIPs": [{"ip": self.place.address}],
            "qosClass": "BestEffort",
            "startTime": old.get("startTime") or times.stamp(),
            "conditions": self._conditions(old.get("conditions") or []),
            "containerStatuses": [each.status() for each in self._containers],
        }
        if self._why is not None:
            status |= {"reason": self._why, "message": "Pod was active longer than its deadline"}
        if self._init:
            status["initContainerStatuses"] = [each.status() for each in self._init]
        return status

    def _conditions(self, old: list[Object]) -> list[Object]:
        """The conditions of the pod, each with the time at which it last changed."""
        needed = [*self._sidecars, *self._containers]
        ready = self._initialised and all(each.ready for each in needed)
        values = {
            "PodScheduled": True,
            "Initialized": self._initialised,
            "ContainersReady": ready,
            "Ready": ready,
        }
        known = {item["type"]: item for item in old}
        own = [self._condition(known.get(type_), type_, value) for type_, value in values.items()]
        return [*own, *(item for item in old if item["type"] not in values)]

    def _condition(self, old: Object | None, type_: str, value: bool) -> Object:
        text = "True" if value else "False"
        since = old["lastTransitionTime"] if old and old["status"] == text else times.stamp()
        condition: Object = {"type": type_, "status": text, "lastTransitionTime": since}
        if not value and type_.endswith("Ready"):
            needed = [*self._sidecars, *self._containers]
            unready = [each.name for each in needed if not each.ready]
            condition["reason"] = "ContainersNotReady"
            condition["message"] = f"containers with unready status: [{' '.join(unready)}]"
        return condition

    @property
    def is_over(self) -> bool:
        """Whether its processes have ended by themselves."""
        return self._phase in {"Succeeded", "Failed"}

    def evict(self) -> None:
        """Ends its processes at once. Whoever set its phase to `Failed`, as an eviction does, wants
        the pod to stay, with its status."""
        self.evicted, self._phase = True, "Failed"
        self.end(0)

    def end(self, grace: float) -> None:
        """Begins, or hastens, its graceful end; the node removes the pod when it is over."""
        if self._ending is None:
            self._ending = spawn(self._end(grace), f"end of pod {self.pod['metadata']['name']}")
        else:
            asyncio.get_running_loop().call_later(grace, self._kill)

    def _kill(self) -> None:
        for container in [*self._init, *self._containers]:
            container.kill()

    async def _end(self, grace: float) -> None:
        self.stopping = True
        for container in self._containers:
            self.event("Killing", f"Stopping container {container.name}")
        await self._stop(grace)
        await cancel([self._life, *self._beside, *self._late])
        self._clean_up()
        self.node.ended(self)

    async def _stop(self, grace: float) -> None:
        """Ends the containers, and then the sidecars, the last one first, with what is left of the
        time."""
        end = asyncio.get_running_loop().time() + grace
        first = [each for each in [*self._init, *self._containers] if each not in self._sidecars]
        await asyncio.gather(*(each.stop(grace) for each in first))
        for sidecar in reversed(self._sidecars):
            left = max(end - asyncio.get_running_loop().time(), 1.0 if grace else 0.0)
            await sidecar.stop(left)

    def _clean_up(self) -> None:
        """Takes the volumes away with what was secret in them. The logs stay."""
        for port in self.place.ports.values():
            self.node.ports.release(port)
        self.egress.close()
        self.node.addresses.release(self.place.address)
        if self.place.directory.exists():
            shutil.rmtree(self.place.directory)

    async def shut_down(self, grace: float) -> None:
        """Ends its processes but not the pod, which a new start of the cluster takes up again."""
        self.stopping = self.closing = True
        await self._stop(grace)
        await cancel([self._life, *self._beside, *self._late])
        self.egress.close()
