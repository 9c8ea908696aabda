"""The nodes of the real control plane: pods are processes of this machine, as in the local cluster.

    python -m tests.kubernetes.kubelet --server URL --ca FILE --token-file FILE --images FILE
        --state DIR --proxy SOCKET [--vault-ca FILE] [--identity-state DIR --sign-in PORT]

It watches what pods are made from, keeps a copy for the local cluster's own node to work on, and
tells the API server what becomes of each pod. Processes listen on 127.0.0.1; each pod has an
address of its own that only the proxy knows: the API server reaches pods through it (HTTP CONNECT
on a Unix socket). With `--sign-in` it answers the API server's token reviews for the local identity
endpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from local.cluster import kinds
from local.cluster.auth import Authenticator
from local.cluster.csi import Csi, VaultReader
from local.cluster.defaults import with_defaults
from local.cluster.errors import ApiError
from local.cluster.events import Recorder
from local.cluster.images import Images
from local.cluster.node import Node
from local.cluster.ports import PORT_ANNOTATION, Ports
from local.cluster.registry import Registry, is_finished
from local.cluster.scheduler import choose, node_manifest, node_status, unschedulable
from local.cluster.store import Store
from local.cluster.tasks import cancel, spawn
from local.process import announce
from local.serving import log_to_stderr
from local.storage import private_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from local.cluster.kinds import Kind, Object
    from local.cluster.store import Change

log = logging.getLogger(__name__)

NODES = ("this-machine-1", "this-machine-2")
# In this order: what a pod is made from is known before the pod is.
WATCHED = (
    *(kinds.NODE, kinds.NAMESPACE, kinds.SERVICE_ACCOUNT, kinds.CONFIG_MAP, kinds.SECRET),
    *(kinds.PROVIDER_CLASS, kinds.POD),
)
AGAIN = 0.5  # seconds before something that failed is tried again
MISPLACED = ("qosClass", "podIP", "podIPs")  # true of the local cluster alone


class ApiServer:
    """The few calls that a kubelet makes."""

    def __init__(self, url: str, authority: Path, token: str) -> None:
        self._url = url
        context = ssl.create_default_context(cafile=str(authority))
        self._session = ClientSession(
            connector=TCPConnector(ssl=context, limit=0),
            headers={"Authorization": f"Bearer {token}"},
            timeout=ClientTimeout(total=None, sock_connect=5),
        )

    async def close(self) -> None:
        await self._session.close()

    async def list(self, kind: Kind) -> tuple[list[Object], str] | None:
        """None while the kind is not served: its definition may come later."""
        async with self._session.get(self._url + _path(kind)) as answer:
            if answer.status == 404:
                return None
            answer.raise_for_status()
            found = await answer.json()
            return found["items"], found["metadata"]["resourceVersion"]

    async def watch(self, kind: Kind, version: str) -> AsyncIterator[Object]:
        query = {"watch": "1", "resourceVersion": version}
        async with self._session.get(self._url + _path(kind), params=query) as answer:
            answer.raise_for_status()
            buffer = b""
            async for chunk in answer.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)

    async def post(self, path: str, body: Object) -> None:
        """What is there already stays."""
        async with self._session.post(self._url + path, json=body) as answer:
            if answer.status != 409:
                answer.raise_for_status()

    async def patch(self, path: str, body: Object) -> None:
        headers = {"Content-Type": "application/merge-patch+json"}
        async with self._session.patch(self._url + path, json=body, headers=headers) as answer:
            answer.raise_for_status()

    async def send(self, method: str, pod: Object, rest: str, body: Object) -> None:
        """A pod that is not there any more is no failure."""
        metadata = pod["metadata"]
        where = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}{rest}"
        patch = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
        async with self._session.request(
            method, self._url + where, json=body, headers=patch
        ) as answer:
            if answer.status >= 300 and answer.status not in {404, 409}:
                log.error("%s %s: %s %s", method, where, answer.status, await answer.text())


def _path(kind: Kind) -> str:
    group = f"/apis/{kind.group}" if kind.group else "/api"
    return f"{group}/{kind.version}/{kind.plural}"


class Kubelet:
    """Must be made within the event loop."""

    def __init__(self, server: ApiServer, options: argparse.Namespace) -> None:
        self._server = server
        self._store = Store(options.state / "copy.db")
        self._registry = Registry(self._store)
        ports = Ports()
        self._node = Node(
            self._registry,
            Images(options.images),
            Csi(self._registry, VaultReader(options.vault_ca)),
            Recorder(self._registry),
            ports,
            options.state,
        )
        self._addresses: dict[str, str] = {}  # pod address to uid
        self._changes: asyncio.Queue[Change] = asyncio.Queue()
        self._store.listeners.append(self._note)
        self._tasks: list[asyncio.Task[None]] = []
        self._unbound: dict[str, Object] = {}  # by uid: no node takes them
        self._bound: dict[str, Object] = {}  # by uid: whose binding the watch has yet to tell of

    async def register(self) -> None:
        """Makes the nodes known."""
        for name in NODES:
            body = {"apiVersion": "v1", "kind": "Node", **node_manifest(name)}
            await self._server.post("/api/v1/nodes", body)
            status = {"status": node_status(name)}
            await self._server.patch(f"/api/v1/nodes/{name}/status", status)

    def start(self) -> None:
        work = [self._follow(kind) for kind in WATCHED]
        self._tasks = [spawn(task, "watch") for task in work]
        self._tasks += [spawn(self._tell(), "status"), spawn(self._node.run(), "node")]

    async def stop(self) -> None:
        await cancel(self._tasks)
        await self._node.shut_down()
        self._store.close()

    # -- from the API server

    async def _follow(self, kind: Kind) -> None:
        while True:
            try:
                await self._follow_once(kind)
            except (ClientError, OSError) as error:
                log.info("watch of %s: %r", kind.plural, error)
            await asyncio.sleep(AGAIN)

    async def _follow_once(self, kind: Kind) -> None:
        listed = await self._server.list(kind)
        if listed is None:
            return
        items, version = listed
        there = {item["metadata"]["uid"] for item in items}
        for known in self._store.items(kind):
            if known["metadata"]["uid"] not in there:
                self._store.drop(kind, known)
        for item in items:
            await self._take(kind, "MODIFIED", item)
        async for event in self._server.watch(kind, version):
            if event["type"] == "ERROR":  # the history that was asked for is gone
                return
            await self._take(kind, event["type"], event["object"])

    async def _take(self, kind: Kind, type_: str, obj: Object) -> None:
        obj = {**obj, "apiVersion": kind.api_version, "kind": kind.kind}
        metadata = obj["metadata"]
        known = self._store.get(kind, metadata.get("namespace", ""), metadata["name"])
        same = known is not None and known["metadata"]["uid"] == metadata["uid"]
        if type_ == "DELETED":
            self._unbound.pop(metadata["uid"], None)
            self._bound.pop(metadata["uid"], None)
            if same:
                self._store.drop(kind, obj)
        elif kind is not kinds.POD:
            self._store.put(kind, obj)
            if kind is kinds.NODE:
                for pod in list(self._unbound.values()):
                    await self._bind(pod)
        elif not obj["spec"].get("nodeName"):
            await self._bind(obj)
        elif known is None or not same:
            self._bound.pop(metadata["uid"], None)
            # With the local cluster's own defaults too, or its first change would seem to add them.
            self._store.put(kind, with_defaults(kind, obj))
        elif is_finished(obj) and not is_finished(known):
            # Evicted: whoever plays that part has set the phase.
            self._store.put(kind, {**known, "status": obj["status"]})
        elif "deletionTimestamp" in metadata:
            # What the pod's worker has written stays: only its end is news.
            marks = {key: metadata[key] for key in metadata if key.startswith("deletion")}
            self._store.put(kind, {**known, "metadata": {**known["metadata"], **marks}})

    # -- to it

    async def _bind(self, pod: Object) -> None:
        """As the scheduler does, of which there is none."""
        uid, node = pod["metadata"]["uid"], choose(self._store, pod, self._bound.values())
        if node is None:
            if uid not in self._unbound:
                self._unbound[uid] = pod
                status = {"phase": "Pending", "conditions": [unschedulable(self._store)]}
                await self._server.send("PATCH", pod, "/status", {"status": status})
            return
        self._unbound.pop(uid, None)
        self._bound[uid] = {**pod, "spec": {**pod["spec"], "nodeName": node}}
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "target": target}
        name = {"metadata": {"name": pod["metadata"]["name"]}}
        await self._server.send("POST", pod, "/binding", body | name)

    def _note(self, change: Change) -> None:
        if change.kind is kinds.POD:
            self._changes.put_nowait(change)

    async def _tell(self) -> None:
        while True:
            change = await self._changes.get()
            try:
                await self._tell_one(change)
            except (ClientError, OSError) as error:
                log.info("status of a pod: %r", error)
                self._changes.put_nowait(change)
                await asyncio.sleep(AGAIN)

    async def _tell_one(self, change: Change) -> None:
        pod, metadata = change.object, change.object["metadata"]
        own = {"uid": metadata["uid"]}
        if change.type == "DELETED":
            body = {"gracePeriodSeconds": 0, "preconditions": own}
            await self._server.send("DELETE", pod, "", body)
        elif status := pod.get("status"):
            address = self._address(metadata["uid"])
            told = {key: value for key, value in status.items() if key not in MISPLACED}
            told |= {"podIP": address, "podIPs": [{"ip": address}]}
            await self._server.send("PATCH", pod, "/status", {"metadata": own, "status": told})

    def _address(self, uid: str) -> str:
        for address, known in self._addresses.items():
            if known == uid:
                return address
        number = len(self._addresses) + 1
        address = f"10.244.{number // 250}.{number % 250 + 1}"
        self._addresses[address] = uid
        return address

    # -- the way from it to the pods

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One CONNECT, and then bytes both ways."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        address, _, port = head.split()[1].partition(":")
        local = self._local_port(address, port)
        if local is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            writer.close()
            return
        try:
            to, back = await asyncio.open_connection("127.0.0.1", local)
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pipe(reader, back), _pipe(to, writer))

    def _local_port(self, address: str, port: str) -> int | None:
        uid = self._addresses.get(address)
        for pod in self._store.items(kinds.POD):
            if pod["metadata"]["uid"] == uid:
                found = (pod["metadata"].get("annotations") or {}).get(PORT_ANNOTATION + port)
                return int(found) if found else None
        return None


async def _pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


def sign_in(identity_state: Path) -> web.Application:
    """Answers https://kubernetes.io/docs/reference/access-authn-authz/authentication/ webhooks."""
    authenticator = Authenticator({}, identity_state)

    async def review(request: web.Request) -> web.Response:
        asked = await request.json()
        try:
            user = authenticator.user(f"Bearer {asked['spec']['token']}")
        except ApiError:
            status: dict[str, Any] = {"authenticated": False}
        else:
            known = {"username": user.name, "groups": sorted(user.groups)}
            status = {"authenticated": True, "user": known}
        return web.json_response({**asked, "status": status})

    app = web.Application()
    app.router.add_post("/", review)
    return app


async def run(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    private_directory(options.state)
    server = ApiServer(options.server, options.ca, options.token_file.read_text())
    kubelet = Kubelet(server, options)
    proxy = await asyncio.start_unix_server(kubelet.connect, options.proxy)
    runner = None
    if options.sign_in:
        runner = web.AppRunner(sign_in(options.identity_state))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", options.sign_in).start()
    await kubelet.register()
    kubelet.start()
    announce(options.server)
    await stopped.wait()
    proxy.close()
    await kubelet.stop()
    await server.close()
    if runner is not None:
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.kubernetes.kubelet")
    parser.add_argument("--server", required=True)
    for name in ("--ca", "--token-file", "--images", "--state", "--proxy"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--vault-ca", type=Path)
    parser.add_argument("--identity-state", type=Path)
    parser.add_argument("--sign-in", type=int, help="port of the token reviews")
    log_to_stderr()
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
