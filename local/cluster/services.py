"""Services: a local port for each of their ports, and the pods that are behind it now.

The choice of a pod is made anew for every connection, from the pods and the selector as they are
at that moment. Connections that exist stay with their pod.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from typing import TYPE_CHECKING, TypeAlias

from local.cluster import kinds
from local.cluster.controllers import leaving
from local.cluster.errors import invalid
from local.cluster.forwarding import Incoming
from local.cluster.ports import PORT_ANNOTATION
from local.cluster.registry import is_finished
from local.cluster.replicasets import is_ready
from local.cluster.selectors import selects
from local.cluster.tasks import spawn

if TYPE_CHECKING:
    from local.cluster.kinds import Object
    from local.cluster.ports import Ports
    from local.cluster.store import Change, Store

log = logging.getLogger(__name__)

Listener: TypeAlias = tuple[str, str, str]  # namespace, Service, its port's name or number
RETRY = 0.5  # seconds until a port that something else holds is tried again


def port_key(port: Object) -> str:
    """How a Service's port is named in annotations: by its name, or its number."""
    return port.get("name") or str(port["port"])


class Services:
    def __init__(self, store: Store, ports: Ports) -> None:
        self._store = store
        self._ports = ports
        self._known: dict[tuple[str, str, str], list[Object]] = {}
        self._turns: dict[Listener, int] = {}
        self._listening: dict[Listener, asyncio.Task[None]] = {}
        store.listeners.append(self._note)

    def assign(self, service: Object, old: Object | None) -> None:
        """Gives a new or changed Service its address and local ports, which stay the same."""
        spec = service["spec"]
        if spec["type"] == "ExternalName":
            return
        before = (old or {}).get("spec") or {}
        spec["clusterIP"] = spec.get("clusterIP") or before.get("clusterIP") or _address()
        spec["clusterIPs"] = [spec["clusterIP"]]
        if spec["clusterIP"] == "None":
            return
        annotations = service["metadata"].get("annotations") or {}
        kept = ((old or {}).get("metadata") or {}).get("annotations") or {}
        for port in spec.get("ports") or []:
            key = PORT_ANNOTATION + port_key(port)
            annotations[key] = annotations.get(key) or kept.get(key) or str(self._ports.take())
            if not annotations[key].isdecimal():
                problem = f'Invalid value: "{annotations[key]}": must be a port number'
                where = f"metadata.annotations[{key}]"
                raise invalid(kinds.SERVICE, service["metadata"]["name"], [(where, problem)])
        service["metadata"]["annotations"] = annotations

    def start(self) -> None:
        for service in self._store.items(kinds.SERVICE):
            self._listen(service)

    async def stop(self) -> None:
        tasks = list(self._listening.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _note(self, change: Change) -> None:
        if change.kind is kinds.POD:
            self._forget(change.object["metadata"]["namespace"])
        elif change.kind is kinds.SERVICE:
            self._forget(change.object["metadata"]["namespace"])
            asyncio.get_running_loop().call_soon(self._listen, change.object)

    def _forget(self, namespace: str) -> None:
        for key in [key for key in self._known if key[0] == namespace]:
            del self._known[key]

    def _listen(self, service: Object) -> None:
        """Opens and closes listeners as the Service has ports now."""
        metadata = service["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        current = self._store.get(kinds.SERVICE, namespace, name)
        wanted = _local_ports(current) if current else {}
        open_now = {key for key in self._listening if key[:2] == (namespace, name)}
        for listener in open_now - {(namespace, name, key) for key in wanted}:
            self._listening.pop(listener).cancel()
            self._turns.pop(listener, None)
        for key, port in wanted.items():
            listener = (namespace, name, key)
            if listener not in self._listening:
                self._ports.reserve(port)
                task = spawn(self._serve(listener, port), f"service {namespace}/{name}:{key}")
                self._listening[listener] = task

    async def _serve(self, listener: Listener, port: int) -> None:
        loop = asyncio.get_running_loop()
        accepting = await self._bound(listener, port)
        server = await loop.create_server(
            lambda: Incoming(lambda: self.choose(*listener)), sock=accepting, backlog=1024
        )
        try:
            await asyncio.Event().wait()
        finally:
            server.close()  # which leaves the connections that exist alone

    async def _bound(self, listener: Listener, port: int) -> socket.socket:
        while True:
            accepting = socket.socket()
            accepting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                accepting.bind(("127.0.0.1", port))
            except OSError as error:
                accepting.close()
                log.warning("service %s waits for port %d: %s", "/".join(listener), port, error)
                await asyncio.sleep(RETRY)
            else:
                accepting.setblocking(False)
                return accepting

    def choose(self, namespace: str, name: str, key: str) -> int | None:
        """The local port of the pod whose turn it is; None when no pod is ready."""
        ready = self.endpoints(namespace, name, key)
        if not ready:
            return None
        listener = (namespace, name, key)
        turn = self._turns.get(listener, 0)
        self._turns[listener] = turn + 1
        return int(ready[turn % len(ready)]["port"])

    def endpoints(self, namespace: str, name: str, key: str) -> list[Object]:
        """Ready pods that are not on their way out: `{"pod": ..., "port": local port}` each."""
        known = self._known.get((namespace, name, key))
        if known is None:
            known = self._find(namespace, name, key)
            self._known[namespace, name, key] = known
        return known

    def _find(self, namespace: str, name: str, key: str) -> list[Object]:
        service = self._store.get(kinds.SERVICE, namespace, name)
        ports = (service or {}).get("spec", {}).get("ports") or []
        port = next((port for port in ports if port_key(port) == key), None)
        if service is None or port is None:
            return []
        found = (
            {"pod": pod, "port": local_port(pod, port["targetPort"])}
            for pod in selected_pods(self._store, service)
            if is_ready(pod) and not leaving(pod)
        )
        return [endpoint for endpoint in found if endpoint["port"] is not None]


def selected_pods(store: Store, service: Object) -> list[Object]:
    """Pods that a Service's selector selects, ready or not, unless they are over."""
    namespace, selector = service["metadata"]["namespace"], service["spec"].get("selector")
    return [
        pod
        for pod in store.items(kinds.POD, namespace)
        if selects(selector, pod["metadata"].get("labels") or {}) and not is_finished(pod)
    ]


def local_port(pod: Object, target: int | str) -> int | None:
    """The local port that stands for a Service's target port, a number or a name."""
    declared = [
        port
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or []
        if target in (port["containerPort"], port.get("name"))
    ]
    annotations = pod["metadata"].get("annotations") or {}
    key = f"{PORT_ANNOTATION}{declared[0]['containerPort']}" if declared else ""
    return int(annotations[key]) if key in annotations else None


def _local_ports(service: Object) -> dict[str, int]:
    annotations = service["metadata"].get("annotations") or {}
    keys = [port_key(port) for port in service["spec"].get("ports") or []]
    return {
        key: int(annotations[PORT_ANNOTATION + key])
        for key in keys
        if PORT_ANNOTATION + key in annotations
    }


def _address() -> str:
    """A new cluster address, for show: nothing listens there."""
    return f"10.0.{random.randint(0, 255)}.{random.randint(1, 254)}"  # noqa: S311 - no secret
