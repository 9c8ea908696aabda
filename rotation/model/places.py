"""Places: how many rotations may be between stage and swap, or retire, at a thing that has a limit.

A rotation asks by an instance of its own, whose input is a `Wanted`. One instance keeps all places:
what it holds in its input and its history is who has one.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from rotation.model.wire import Moment

KEEPER = "keeper.places"  # an id that no credential's name can be
PREFIX = "place."  # of the ids of those that ask
GRANT = "grant"  # the event by which one hears that its rotation has a place

PlaceState = Literal["waits", "held", "over"]


def place_id(rotation: str, number: int) -> str:
    """The id of the instance by which a rotation asks for a place, the `number`th time."""
    return f"{PREFIX}{rotation}.{number}"


class Wanted(Struct, frozen=True, kw_only=True, rename="camel"):
    """A place that a rotation asks for, the `number`th time, at all of the `things`.

    `finishes`: it has both slots up, and makes room once it is through. `inside`: it gets one
    inside of its credential's windows only. `latest` is when it is too late for the secret that
    serves; None where that does not expire. `since` is when it asked.
    """

    rotation: str
    credential: str
    number: int
    things: list[str]
    finishes: bool
    inside: bool
    latest: Moment | None
    since: Moment

    @property
    def id(self) -> str:
        return place_id(self.rotation, self.number)


class PlaceEnded(Struct, frozen=True):
    """How a wait for a place ended."""

    granted: bool


class Held(Struct, frozen=True, kw_only=True, rename="camel"):
    """A place that a rotation has, or will have as soon as it hears of it."""

    rotation: str
    number: int
    things: list[str]

    @property
    def id(self) -> str:
        return place_id(self.rotation, self.number)


class Line(Struct, frozen=True, omit_defaults=True):
    """What is full: how many places of how many are taken, and who waits there, as digests of
    their instances' ids in the order of the line, all in one text. `more` have no room in it."""

    taken: int
    most: int
    queue: str = ""
    more: int = 0


class Granted(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The answer of `grant_places`: who has a place from now on.

    `tell` are the instances of those that have not shown yet that they know; `stop` those whose
    rotation is over. `waiting` is how many wait inside of their windows, `opens` when the next
    window of others does, or when to look at them again. `lines` are what is full, see `Line`.
    """

    held: list[Held] = field(default_factory=list)
    tell: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    waiting: int = 0
    opens: Moment | None = None
    lines: dict[str, Line] = field(default_factory=dict)


class Kept(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """The input of the instance that keeps the places.

    `looks` numbers its events. `anew`: there is none before it that ended by itself, so that who
    has a place is to be found out. `settles`: the one before it was ended from outside, and what it
    had decided may be on its way. `idle`: nobody had one, or waited, at the last look.
    """

    held: list[Held] = field(default_factory=list)
    looks: int = 0
    anew: bool = False
    settles: bool = False
    idle: bool = False


class Shown(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The custom status of the instance that keeps the places. `event` is what it listens to."""

    event: str = ""
    waiting: int = 0
    lines: dict[str, Line] = field(default_factory=dict)
    problem: str = ""
