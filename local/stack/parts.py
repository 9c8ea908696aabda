"""What a local stack is made of: its directory, its running components, and its keys."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from local import world

if TYPE_CHECKING:
    from pathlib import Path

    from local.process import Component


class Parts:
    """Everything that a component writes is below `directory`."""

    def __init__(self, directory: Path, engine: str) -> None:
        self.directory = directory
        self.engine = engine  # of `local.engines`
        self.components: dict[str, Component] = {}
        self.keys = {
            name: secrets.token_urlsafe(24) for name in ("function", "master", "system", "admin")
        }

    @property
    def addresses(self) -> world.Addresses:
        """Where the vault and the database answer. They must have been started."""
        return world.Addresses(
            vault=self.components["keyvault"].url,
            database_port=int(str(self.components["postgres"].facts["port"])),
            authority=self.directory / "tls" / "ca.pem",
        )
