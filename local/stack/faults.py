"""Faults of the stand-ins, to order, and the way back from them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3

from local.stack.client import Answer

if TYPE_CHECKING:
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

    def restore(self) -> None:
        """Starts what is down, takes back all faults, and rejects the rotations that wait."""
        for component in self._parts.components.values():
            if not component.alive:
                component.start()
        for name in ("keyvault", "cluster", "topic"):
            self.admin(name, "DELETE", "/local/faults")
        for record in self._client.rotations():
            if record["outcome"] is None:
                self._client.reject(record["rotation"])
