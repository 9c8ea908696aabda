"""Who gets a place next, of the rotations that wait for one.

A place is one at each of the things that a rotation works on, or none: nobody holds one thing and
waits for another, so that none can wait for each other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rotation.model.places import Wanted

    # How many may be at a thing at once; None for any number.
    Most = Callable[[str], int | None]


@dataclass(frozen=True)
class Decided:
    """Those that get a place now; and by thing, in their order, those that wait for one there."""

    granted: list[Wanted] = field(default_factory=list)
    lines: dict[str, list[Wanted]] = field(default_factory=dict)


def in_order(waiting: Iterable[Wanted]) -> list[Wanted]:
    """Who finishes comes first, since that makes room; then whose secret expires first; then who
    has waited longest."""
    return sorted(
        waiting,
        key=lambda one: (not one.finishes, one.latest is None, one.latest, one.since, one.id),
    )


def decide(most: Most, held: Iterable[Sequence[str]], waiting: Iterable[Wanted]) -> Decided:
    """Gives places to those in the line who find one at each of their things.

    Others go before one that does not, but for the first: what is free for it is kept for it, so
    that those who need less cannot keep it waiting for ever. A thing of which more are taken than
    its limit now allows gives none.
    """
    taken = Counter(thing for things in held for thing in things)
    decided = Decided()
    for one in in_order(waiting):
        full = [thing for thing in one.things if not _free(most, taken, thing)]
        if not full:
            decided.granted.append(one)
            taken.update(one.things)
            continue
        if not decided.lines:
            taken.update(thing for thing in one.things if thing not in full)
        decided.lines.setdefault(full[0], []).append(one)
    return decided


def _free(most: Most, taken: Counter[str], thing: str) -> bool:
    limit = most(thing)
    return limit is None or taken[thing] < limit
