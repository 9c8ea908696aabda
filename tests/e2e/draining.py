"""The night of a cluster upgrade: one node after the other is drained, whatever else goes on."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from local.cluster.client import connect
from local.cluster.draining import drain, nodes, uncordon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.stack import Stack


class Night:
    """Drains nodes in a thread of its own, `most` at most; `drained` are those it is through
    with."""

    def __init__(self, kubeconfig: Path, most: int = 1000) -> None:
        self._most = most
        self._kubeconfig = kubeconfig
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upgrade")
        self.drained: list[str] = []
        self.evicted = 0
        self.failure: Exception | None = None

    def _run(self) -> None:
        client = connect(self._kubeconfig)
        try:
            while not (self._over.is_set() and self.drained):
                self._upgrade(client, nodes(client)[0])
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self.failure = error
        finally:
            client.close()  # type: ignore[no-untyped-call]  # the SDK's own

    def _upgrade(self, client: object, node: str) -> None:
        try:
            self.evicted += drain(client, node)  # type: ignore[arg-type]  # an ApiClient
        finally:
            uncordon(client, node)  # type: ignore[arg-type]  # an ApiClient
        self.drained.append(node)
        if len(self.drained) == self._most:
            self._over.set()

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Returns when the node at hand is drained. Raises what draining raised."""
        self._over.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure


@contextmanager
def night(stack: Stack) -> Iterator[Night]:
    """Nodes are drained in here, one after the other."""
    found = Night(stack.directory / "cluster" / "kubeconfig")
    found.start()
    try:
        yield found
    finally:
        found.end()
