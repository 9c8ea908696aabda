"""Everything that the app reaches, in memory: what unit tests and the simulation rotate in."""

from tests.memory.edges import MemoryEdges

__all__ = ["MemoryEdges"]
