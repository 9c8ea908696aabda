"""Faults of the stand-ins, to order, and the way back from them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3

from local import engines
from local.process import wait_until
from local.stack.client import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack.client import Client
    from local.stack.parts import Parts


class FaultDesk:
    def __init__(self, parts: Parts, client: Client) -> None:
        self._parts = parts
        self._client = client
        authority = str(parts.addresses.authority)
        self._http = urllib3.PoolManager(retries=False, ca_certs=authority)

    def admin(self, component: str, method: str, path: str, body: Any = None) -> Answer:
        """Calls a stand-in's own route below /local, for example its faults (see
        `local.faults`)."""
        parts = urlsplit(self._parts.components[component].url)
        answer = self._http.request(
            method,
            f"{parts.scheme}://{parts.netloc}{path}",
            body=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "x-local-admin-key": self._parts.keys["admin"],
            },
        )
        return Answer(answer.status, answer.headers, answer.data)

    def order(self, component: str, **order: Any) -> None:
        answer = self.admin(component, "POST", "/local/faults", order)
        if answer.status >= 300:
            raise ValueError(f"the order was refused: {answer.body.decode()}")

    @contextmanager
    def without_storage(self) -> Iterator[None]:
        """The task hub's storage is away: Azurite ends and comes back, or our engine fails as the
        extension then does. Afterwards the app answers again."""
        if self._parts.engine == engines.AZURE:
            self._parts.components["storage"].stop()
        else:
            self.order("host", times=1_000_000, status=500)
        yield
        if self._parts.engine == engines.AZURE:
            self._parts.components["storage"].start()
        else:
            self.admin("host", "DELETE", "/local/faults")
        wait_until(self._hub_answers, self._patience, "the task hub")

    def _hub_answers(self) -> bool:
        return self._client.api("GET", "/rotations").status == 200

    @property
    def _patience(self) -> float:
        return 60 + engines.slack(self._parts.engine)

    def restore(self) -> None:
        """Starts what is down, takes back all faults, and rejects the rotations that wait."""
        for component in self._parts.components.values():
            if not component.alive:
                component.start()
        own = ("host",) if self._parts.engine == engines.LOCAL else ()
        for name in ("keyvault", "cluster", "topic", "blobs", *own):
            self.admin(name, "DELETE", "/local/faults")
        for record in self._client.rotations():
            if record["outcome"] is None:
                self._client.reject(record["rotation"])
        # Whoever stops the host next may take with it, for a minute, the news of a rotation's end.
        wait_until(self._client.free, self._patience, "the end of the credential's orchestration")
