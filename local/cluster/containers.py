"""One container: pulled, configured, run, probed, restarted, stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from local.cluster import environment, times
from local.cluster.environment import ConfigError
from local.cluster.images import ImageError
from local.cluster.probes import Prober, transitions
from local.cluster.processes import Process
from local.cluster.tasks import cancel, spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Coroutine
    from pathlib import Path

    import aiohttp

    from local.cluster.egress import Egress
    from local.cluster.environment import Place
    from local.cluster.images import Images
    from local.cluster.kinds import Object
    from local.cluster.store import Store

CONFIG_RETRY = 1.0  # seconds
BACK_OFF_FIRST, BACK_OFF_LAST = 1.0, 60.0  # seconds; the shorter of upstream's two schemes
STEADY = 600.0  # a container that ran so many seconds starts afresh with the back-off
LAST_MOMENT = 2.0  # seconds for SIGTERM when preStop took the whole grace period, as upstream


class Host:
    """The services of a pod for its containers."""

    pod: Object
    store: Store
    images: Images
    session: aiohttp.ClientSession
    place: Place
    egress: Egress
    logs: Path
    stopping: bool
    closing: bool  # with the cluster, which waits for no hooks

    def changed(self) -> None:
        """The container's state changed."""
        raise NotImplementedError

    def event(self, reason: str, message: str, type_: str = "Normal") -> None:
        raise NotImplementedError


class Container:
    """One container; `state` and `last_state` are as container statuses have them."""

    def __init__(
        self, host: Host, spec: Object, restarts: int, waits: str = "ContainerCreating"
    ) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.state: Object = {"waiting": {"reason": waits}}
        self.last_state: Object = {}
        self.ready = False
        self.started = False
        self.up = asyncio.Event()  # since it has started for the first time
        self.restarts = restarts
        self._host = host
        self._process: Process | None = None
        self._starting = asyncio.Lock()
        self._prober: Prober | None = None
        self._back_off = 0.0
        self._in_a_row = 0

    @property
    def log(self) -> Path:
        return self._host.logs / f"{self.name}.log"

    def status(self) -> Object:
        image = self.spec["image"]
        return {
            "name": self.name,
            "image": image,
            "imageID": f"local/{image}",
            "containerID": f"local://{self._process.pid}" if self._process else "",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last_state,
        }

    async def run(self, policy: str) -> int:
        """Runs the container as often as the restart policy says, and returns the last exit
        code."""
        while True:
            code = await self._attempt()
            over = policy == "Never" or (policy == "OnFailure" and code == 0)
            if code is not None and (over or self._host.stopping):
                return code
            if code is not None:
                await self._wait_for_restart()

    async def _attempt(self) -> int | None:
        """The exit code of one run; None when it did not come to run, after a pause."""
        try:
            image = self._host.images.pull(self.spec["image"])
            variables = environment.variables(
                self.spec, self._host.pod, self._host.place, self._host.store
            )
            variables = await self._host.egress.variables(self._host.pod, variables)
        except ImageError as error:
            await self._cannot_pull(str(error))
            return None
        except ConfigError as error:
            self._wait("CreateContainerConfigError", str(error))
            self._host.event("Failed", f"Error: {error}", "Warning")
            await asyncio.sleep(CONFIG_RETRY)
            return None
        argv = environment.command(self.spec, image, variables)
        return await self._execute([self._host.place.rerooted(part) for part in argv], variables)

    async def _cannot_pull(self, why: str) -> None:
        image = self.spec["image"]
        message = f'Failed to pull image "{image}": {why}'
        self._host.event("Failed", message, "Warning")
        if not self._back_off:
            self._wait("ErrImagePull", message)
            await asyncio.sleep(CONFIG_RETRY / 2)
        self._wait("ImagePullBackOff", f'Back-off pulling image "{image}": {message}')
        await asyncio.sleep(self._next_back_off())

    def _wait(self, reason: str, message: str) -> None:
        self._set({"waiting": {"reason": reason, "message": message}})

    def _set(self, state: Object) -> None:
        self.state = state
        self._host.changed()

    def _next_back_off(self) -> float:
        self._back_off = min(max(BACK_OFF_FIRST, self._back_off * 2), BACK_OFF_LAST)
        return self._back_off

    async def _wait_for_restart(self) -> None:
        """Waits before a restart: not before the first one, then with a back-off."""
        self.last_state = self.state
        if self._in_a_row > 0:
            seconds = self._next_back_off()
            message = f"back-off {seconds:g}s restarting failed container={self.name}"
            self._wait("CrashLoopBackOff", message)
            self._host.event("BackOff", "Back-off restarting failed container", "Warning")
            await asyncio.sleep(seconds)
        self._in_a_row += 1
        self.restarts += 1

    async def _execute(self, argv: list[str], variables: dict[str, str]) -> int:
        async with self._starting:
            if self._host.stopping:
                return 0
            begun = times.stamp()
            try:
                self._process = await Process.start(
                    argv, variables, self._host.place.directory, self.log
                )
            except OSError as error:
                return self._exited(128, begun, "StartError", str(error))
        clock = asyncio.get_running_loop().time()
        code = await self._supervise(self._process, variables, begun)
        if asyncio.get_running_loop().time() - clock > STEADY:
            self._back_off, self._in_a_row = 0.0, 0
        return code

    async def _supervise(self, process: Process, variables: dict[str, str], begun: str) -> int:
        self.started = not self.spec.get("startupProbe")
        self.ready = self.started and not self.spec.get("readinessProbe")
        self._set({"running": {"startedAt": begun}})
        if self.started:
            self.up.set()
        self._host.event("Started", f"Started container {self.name}")
        self._prober = self._new_prober(variables)
        probing = spawn(self._probe(self._prober), f"probes of {self.name}")
        try:
            code = await process.wait()
        finally:
            await cancel([probing])
        reason = "Completed" if code == 0 else "Error"
        return self._exited(code, begun, reason, "")

    def _exited(self, code: int, begun: str, reason: str, message: str) -> int:
        self.ready = self.started = False
        terminated: Object = {
            "exitCode": code,
            "reason": reason,
            "startedAt": begun,
            "finishedAt": times.stamp(),
        }
        if message:
            terminated["message"] = message
        self._set({"terminated": terminated})
        return code

    def _new_prober(self, variables: dict[str, str]) -> Prober:
        ports: dict[int | str, int] = {}
        for port in self.spec.get("ports") or []:
            local = self._host.place.ports[port["containerPort"]]
            ports[port["containerPort"]] = local
            if port.get("name"):
                ports[port["name"]] = local
        directory, session = self._host.place.directory, self._host.session
        return Prober(session, ports, variables, directory, self.log)

    async def _probe(self, prober: Prober) -> None:
        """Runs the probes: startup first, then readiness and liveness side by side."""
        if not self.started and not await self._starts_up(prober):
            return
        async with asyncio.TaskGroup() as group:
            if self.spec.get("readinessProbe"):
                group.create_task(self._follow_readiness(prober))
            if self.spec.get("livenessProbe"):
                group.create_task(self._follow_liveness(prober))

    async def _starts_up(self, prober: Prober) -> bool:
        async for healthy in self._transitions(prober, "startupProbe", healthy=None):
            if not healthy:
                self._restart("startup")
                return False
            self.started = True
            self.ready = not self.spec.get("readinessProbe")
            self._host.changed()
            self.up.set()
            return True
        return False

    async def _follow_readiness(self, prober: Prober) -> None:
        async for ready in self._transitions(prober, "readinessProbe", healthy=False, eager=True):
            self.ready = ready
            self._host.changed()

    async def _follow_liveness(self, prober: Prober) -> None:
        async for alive in self._transitions(prober, "livenessProbe", healthy=True):
            if not alive:
                self._restart("liveness")
                return

    def _transitions(
        self, prober: Prober, name: str, *, healthy: bool | None, eager: bool = False
    ) -> AsyncIterator[bool]:
        probe = self.spec[name]
        title = name.removesuffix("Probe").capitalize()

        def failed(problem: str) -> None:
            self._host.event("Unhealthy", f"{title} probe failed: {problem}", "Warning")

        def check() -> Awaitable[str | None]:
            return prober.check(probe)

        return transitions(probe, check, failed, healthy=healthy, eager=eager)

    def _restart(self, probe: str) -> None:
        message = f"Container {self.name} failed {probe} probe, will be restarted"
        self._host.event("Killing", message)
        grace = self._host.pod["spec"]["terminationGracePeriodSeconds"]
        spawn(self.stop(grace), f"restart of {self.name}")

    async def stop(self, grace: float) -> None:
        """Ends the container: preStop, SIGTERM, and SIGKILL once `grace` seconds are over.

        Returns when it is gone.
        """
        async with self._starting:
            process = self._process
        if process is None or not process.running:
            return
        end = asyncio.get_running_loop().time() + grace
        if grace and not self._host.closing:
            await _first(self._pre_stop(grace), process.wait())
        if grace:
            process.terminate()
        left = end - asyncio.get_running_loop().time()
        try:
            await asyncio.wait_for(process.wait(), max(left, LAST_MOMENT if grace else 0))
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _pre_stop(self, grace: float) -> None:
        action = (self.spec.get("lifecycle") or {}).get("preStop") or {}
        problem = None
        if "sleep" in action:
            await asyncio.sleep(min(grace, action["sleep"]["seconds"]))
        elif self._prober and "exec" in action:
            problem = await self._prober.exec(action["exec"], grace)
        elif self._prober and "httpGet" in action:
            problem = await self._prober.http(action["httpGet"], grace)
        if problem:
            self._host.event("FailedPreStopHook", f"PreStopHook failed: {problem}", "Warning")

    def kill(self) -> None:
        if self._process and self._process.running:
            self._process.kill()


async def _first(*works: Coroutine[Any, Any, object]) -> None:
    """Returns when the first has ended; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel(tasks)
