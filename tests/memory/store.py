"""Containers of the app's own storage account as they are behind the edge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rotation.contracts.store import Kept

if TYPE_CHECKING:
    from tests.memory.calls import Calls


@dataclass
class StoreModel:
    """A container. `writes` counts what was written under each name."""

    kept: dict[str, Kept] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)

    def put(self, name: str, content: bytes) -> None:
        self.writes[name] = self.writes.get(name, 0) + 1
        self.kept[name] = Kept(content, f'"{self.writes[name]}"')


class MemoryStore:
    """Implements `contracts.store.Store`."""

    def __init__(self, model: StoreModel, calls: Calls, container: str) -> None:
        self._model, self._calls, self._container = model, calls, container

    def read(self, name: str) -> Kept | None:
        what = f"read {self._container}/{name}"
        return self._calls.read("storage", what, lambda _: self._model.kept.get(name))

    def names(self, prefix: str, after: str | None = None, most: int = 1000) -> list[str]:
        def effect(_: float) -> list[str]:
            found = (name for name in self._model.kept if name.startswith(prefix))
            return sorted(name for name in found if name > (after or ""))[:most]

        return self._calls.read("storage", f"names {self._container}/{prefix}", effect)

    def create(self, name: str, content: bytes) -> bool:
        def effect() -> bool:
            if name in self._model.kept:
                return False
            self._model.put(name, content)
            return True

        return self._calls.write("storage", f"create {self._container}/{name}", effect)

    def replace(self, name: str, content: bytes, tag: str) -> bool:
        def effect() -> bool:
            found = self._model.kept.get(name)
            if found is None or found.tag != tag:
                return False
            self._model.put(name, content)
            return True

        return self._calls.write("storage", f"replace {self._container}/{name}", effect)
