"""Whose a part of the world is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rotation.model.world import Slot


class Owner(NamedTuple):
    """A slot of a credential: what a role, secret or Deployment belongs to."""

    credential: str
    slot: Slot

    def __str__(self) -> str:
        return f"{self.credential}/{self.slot}"
