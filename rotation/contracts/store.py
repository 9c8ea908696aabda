"""The contract of the app's own memory: one container of its storage account.

Nothing of any owner is in there, so that whoever reads elsewhere may write here.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, Protocol

# `records`: what finished rotations left, each written once. `notes`: what the app noted.
Container = Literal["records", "notes"]
CONTAINERS: Final[dict[Container, str]] = {
    "records": "credential-rotation-records",
    "notes": "credential-rotation-notes",
}


class Kept(NamedTuple):
    """What is kept under a name; `tag` is of this content alone."""

    content: bytes
    tag: str


class Store(Protocol):
    """Keeps small files under names, of letters, digits and `/-_.~`.

    Every verb raises `Unavailable` where the account does not answer, `Denied` where it refuses.
    """

    def read(self, name: str) -> Kept | None:
        """What is kept under the name; None if nothing is."""

    def names(self, prefix: str, after: str | None = None, most: int = 1000) -> list[str]:
        """At most `most` names that begin with `prefix` and come after `after`, in their order."""

    def create(self, name: str, content: bytes) -> bool:
        """Whether it is kept by this call. False: something is there already, and stays."""

    def replace(self, name: str, content: bytes, tag: str) -> bool:
        """Whether it replaced what has that tag. False: somebody changed it meanwhile, or it is
        gone."""
