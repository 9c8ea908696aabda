"""The contract of what one cluster lets the app do, and how much room it has for pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from rotation.model.preconditions import Known, Limit, Right


class AccessReader(Protocol):
    """Asks the API server about the app's own rights, and what else decides on its changes."""

    def may(self, right: Right) -> Known:
        """Whether the app has the right; None where the API server could not find out. Nothing is
        tried: it says so."""

    def limits(self, namespace: str) -> tuple[Limit, ...]:
        """The limits of the namespace's ResourceQuotas that count all its pods. Raises `Denied`
        without the right to list them."""

    def labels(self, namespace: str) -> dict[str, str]:
        """The labels of the namespace. Raises `Denied` without the right to read it, `Missing`."""

    def enforced(self, policy: str) -> bool:
        """Whether there is a ValidatingAdmissionPolicy of this name, and a binding of this name
        that has it deny. Raises `Denied` without the right to read them."""

    def clock(self) -> datetime | None:
        """The API server's time, in whole seconds; None where it does not say."""
