"""The contract of an Event Grid custom topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rotation.model.wire import JsonObject


class Topic(Protocol):
    """Publishes announcements."""

    def publish(self, event: JsonObject) -> None:
        """Publishes one event in the Event Grid schema. Receivers tell repeats by its id."""
