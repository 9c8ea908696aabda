"""Whether the role that traffic moves to may do what the one may that it moves from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rotation.model.commands import Thing, told
from rotation.model.reasons import Code, Reason
from rotation.model.words import few

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rotation.model.world import Difference, Differences

SHOWN = 3  # differences that a reason names
LONGEST = 120  # characters of a name or statement
# Of both roles: who has it alone is the one that it takes something from, or gives another value.
NOWHERE: dict[str, str] = {}
EITHER_WAY = {"restrictive policy", "setting"}
# A rotation takes an expiry off the role that it activates.
MENDED = {"expiry"}


def compared(having: str, lacking: str, server: Mapping[str, str]) -> Thing:
    """The role that lacks what the other one has, on its server."""
    return Thing("role", lacking, more={**server, "having": having, "lacking": lacking})


def problems(
    standby: str, active: str, found: Differences, server: Mapping[str, str] = NOWHERE
) -> tuple[Reason, ...]:
    """Why the standby's role is too weak, if it is."""
    lacks = [one for one in found.lacks if one.kind not in MENDED | {"restrictive policy"}]
    alone = [one for one in found.has_more if one.kind in EITHER_WAY]
    texts = []
    if lacks:
        texts.append(f"role {standby} lacks of what {active} has: {_named(lacks)}")
    if alone:
        texts.append(f"role {standby} alone has: {_named(alone, sql=False)}")
    thing = compared(having=active, lacking=standby, server=server)
    return (told(Code.ROLE_WEAKER, "; ".join(texts), thing),) if texts else ()


def doubts(
    standby: str, active: str, found: Differences, server: Mapping[str, str] = NOWHERE
) -> tuple[Reason, ...]:
    """What the standby's role has beyond the active one's, to be told."""
    beyond = [one for one in found.has_more if one.kind not in MENDED | EITHER_WAY]
    beyond += [one for one in found.lacks if one.kind == "restrictive policy"]
    if not beyond:
        return ()
    text = f"role {standby} may do more than {active}: {_named(beyond, sql=False)}"
    thing = compared(having=standby, lacking=active, server=server)
    return (told(Code.ROLE_STRONGER, text, replace(thing, name=standby)),)


def _named(found: Sequence[Difference], *, sql: bool = True) -> str:
    """A few differences by name, how many more there are, and the SQL for those that are named."""
    named = few([_name(one) for one in found], SHOWN)
    levelling = " ".join(filter(None, map(_sql, found[:SHOWN])))
    return f"{named}; SQL: {levelling}" if sql and levelling else named


def _name(one: Difference) -> str:
    """A difference by kind, object and privilege. Whoever may make tables chooses their names."""
    name = f"{one.kind} {one.object} {one.privilege}"
    if one.kind in {"setting", "attribute", "owner"}:
        name = f"{one.kind} {one.object if one.kind != 'attribute' else one.privilege}"
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."


def _sql(one: Difference) -> str:
    """The statement that levels a difference; empty where it is too long to be shown whole, or has
    a value that may be an application's secret, as those of settings with a dot in their names."""
    hidden = one.kind == "setting" and "." in one.privilege
    fits = len(one.level) <= LONGEST and one.level.isprintable()
    return one.level if fits and not hidden else ""
