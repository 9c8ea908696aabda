"""All names that the measurements take from the app: a move there is a line here."""

from __future__ import annotations

from rotation.model.targets import SecretTarget
from rotation.model.world import SLOTS, Slot, other
from rotation.secrecy import Secret, new_password

__all__ = ["SLOTS", "Secret", "SecretTarget", "Slot", "new_password", "other"]
