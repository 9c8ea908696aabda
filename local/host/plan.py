"""What is to run, with everything that could be refused already looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.host.durable import Addresses
from local.host.serving import url_of

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from local.host.app import App
    from local.host.settings import HostFile, Switches


@dataclass(frozen=True)
class Plan:
    """`public` and `rpc` are bound sockets that do not listen yet. Either `journal` is given, for
    the engine of our own, or `storage`, for Microsoft's."""

    app: App
    switches: Switches
    host_file: HostFile
    journal: Path | None
    storage: Path | None
    timers: bool
    public: socket.socket
    rpc: socket.socket

    def addresses(self, rpc: str) -> Addresses:
        keys, hub = self.switches.keys, self.host_file.task_hub
        return Addresses(url_of(self.public), rpc, keys.system, hub)
