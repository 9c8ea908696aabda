"""What the nodes do, all of which are this machine: a worker for each pod, and the pods' logs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections import deque
from typing import TYPE_CHECKING

from aiohttp import ClientSession, TCPConnector, web

from local.cluster import kinds
from local.cluster.controllers import leaving
from local.cluster.errors import bad_request
from local.cluster.pods import PodWorker
from local.cluster.ports import Addresses
from local.cluster.registry import is_finished
from local.cluster.requests import flag
from local.cluster.scheduler import is_bound
from local.cluster.volumes import MountError
from local.storage import private_directory

if TYPE_CHECKING:
    from pathlib import Path

    from local.cluster.csi import Csi
    from local.cluster.events import Recorder
    from local.cluster.images import Images
    from local.cluster.kinds import Object
    from local.cluster.ports import Ports
    from local.cluster.registry import Registry
    from local.cluster.requests import Target
    from local.cluster.store import Change

log = logging.getLogger(__name__)

SHUT_DOWN_GRACE = 2.0  # seconds for the pods when the cluster itself is asked to end
# Seconds until a changed Secret reaches the files of running pods. A kubelet takes up to a minute
# and a half: its period of synchronisation and the age of its cache.
VOLUMES_RENEWED = 2.0
FOLLOW = 0.2  # seconds between looks at a log that is followed


class Node:
    """Must be made within the event loop. `directory` holds the pods' volumes, and beside it lie
    their logs, which outlive them."""

    def __init__(
        self,
        registry: Registry,
        images: Images,
        csi: Csi,
        record: Recorder,
        ports: Ports,
        state: Path,
    ) -> None:
        self.registry, self.store = registry, registry.store
        self.images, self.csi, self.record, self.ports = images, csi, record, ports
        self.addresses = Addresses()
        self.directory = state / "pods"
        self._logs = private_directory(state / "logs")
        # Probes take a new connection each, as upstream.
        self.session = ClientSession(connector=TCPConnector(force_close=True, limit=0))
        self._workers: dict[str, PodWorker] = {}
        self._changes: deque[Change] = deque()
        self._wake = asyncio.Event()
        self.store.listeners.append(self._note)

    def adopt(self) -> None:
        """Takes over the pods of the last run: those on their way out are gone, the others start
        anew, not ready until they have shown it."""
        if self.directory.exists():
            shutil.rmtree(self.directory)
        private_directory(self.directory)
        for pod in self.store.items(kinds.POD):
            if leaving(pod):
                self.registry.delete(kinds.POD, pod, {"gracePeriodSeconds": 0})
            elif is_bound(pod) and not is_finished(pod):
                self._begin(pod)

    def _note(self, change: Change) -> None:
        if change.kind in {kinds.SECRET, kinds.CONFIG_MAP} and change.type == "MODIFIED":
            loop = asyncio.get_running_loop()
            loop.call_later(VOLUMES_RENEWED, self._refresh, change)
        if change.kind is kinds.POD:
            self._changes.append(change)
            self._wake.set()

    def _refresh(self, change: Change) -> None:
        """Has the files of running pods follow a Secret or ConfigMap."""
        metadata = change.object["metadata"]
        for worker in self._workers.values():
            if worker.pod["metadata"]["namespace"] == metadata["namespace"]:
                try:
                    worker.refresh(change.kind, metadata["name"])
                except MountError as error:
                    log.warning("pod %s: %s", worker.pod["metadata"]["name"], error)

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._changes:
                self._attempt(self._changes.popleft())

    def _attempt(self, change: Change) -> None:
        try:
            self._handle(change)
        except Exception:
            # One pod that cannot be handled must not stop the others.
            log.exception("pod %s cannot be handled", change.object["metadata"]["name"])

    def _handle(self, change: Change) -> None:
        pod = change.object
        worker = self._workers.get(pod["metadata"]["uid"])
        if change.type == "DELETED":
            if worker:
                worker.end(0)
        elif worker is None:
            if is_bound(pod) and not (change.previous and is_bound(change.previous)):
                self._begin(pod)
        elif leaving(pod):
            grace = pod["metadata"]["deletionGracePeriodSeconds"]
            before = (change.previous or pod)["metadata"].get("deletionGracePeriodSeconds")
            if grace != before:
                worker.end(grace)
        elif is_finished(pod) and not worker.is_over:
            worker.evict()
        else:
            worker.pod = pod

    def _begin(self, pod: Object) -> None:
        metadata = pod["metadata"]
        current = self.store.get(kinds.POD, metadata["namespace"], metadata["name"])
        if current and current["metadata"]["uid"] == metadata["uid"]:
            self._workers[metadata["uid"]] = PodWorker(self, current)

    def ended(self, worker: PodWorker) -> None:
        """A pod's processes are gone: the pod is, too, unless it was evicted."""
        del self._workers[worker.uid]
        if worker.evicted:
            return
        metadata = worker.pod["metadata"]
        current = self.store.get(kinds.POD, metadata["namespace"], metadata["name"])
        if current and current["metadata"]["uid"] == worker.uid:
            self.registry.delete(kinds.POD, current, {"gracePeriodSeconds": 0})

    async def shut_down(self) -> None:
        workers = list(self._workers.values())
        await asyncio.gather(*(worker.shut_down(SHUT_DOWN_GRACE) for worker in workers))
        await self.session.close()

    def logs_of(self, pod: Object) -> Path:
        metadata = pod["metadata"]
        return self._logs / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"

    async def answer_log(self, request: web.Request, target: Target) -> web.StreamResponse:
        """`container`, `tailLines` and `follow` of the log subresource."""
        pod = self.registry.fetch(kinds.POD, target.namespace, target.name)
        names = [item["name"] for item in pod["spec"]["containers"]]
        name = request.query.get("container") or names[0]
        if name not in names:
            raise bad_request(f"container {name} is not valid for pod {target.name}")
        path = self.logs_of(pod) / f"{name}.log"
        content = _read(path)
        shown = content
        if (tail := request.query.get("tailLines", "")).isdecimal():
            lines = content.splitlines(keepends=True)
            shown = b"".join(lines[max(0, len(lines) - int(tail)) :])
        if not flag(request.query, "follow"):
            return web.Response(body=shown, content_type="text/plain")
        return await self._follow(request, path, shown, len(content), pod["metadata"]["uid"])

    async def _follow(
        self, request: web.Request, path: Path, shown: bytes, offset: int, uid: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the reader went away
            await response.write(shown)
            while uid in self._workers:
                more = _read(path)[offset:]
                offset += len(more)
                await response.write(more)
                await asyncio.sleep(FOLLOW)
        return response


def _read(path: Path) -> bytes:
    """The content of a log file; empty where the container has not been started."""
    return path.read_bytes() if path.exists() else b""
