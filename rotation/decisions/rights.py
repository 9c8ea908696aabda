"""Who may do what with a credential and its rotations: each right is decided here, and only here.

Who somebody is, and which lists they are on, is found out by `rotation.front`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


class Action(StrEnum):
    """What somebody may do. `SEE` is all that is read of a credential and its rotations."""

    SEE = "see"
    START = "start"
    RETRY = "retry"
    DRY_RUN = "dry-run"
    CANCEL = "cancel"
    APPROVE = "approve"
    REJECT = "reject"
    WAIVE = "waive"
    INCIDENT = "incident"  # with `cut: after`
    CUT_FIRST = "cut-first"


class Way(StrEnum):
    """How somebody came in: with a function key, by sign-in without one that would count, or by a
    link that was sent to an address, for one rotation."""

    KEY = "key"
    SIGN_IN = "sign-in"
    LINK = "link"


class People(StrEnum):
    """The lists of a credential."""

    VIEWERS = "viewers"
    STARTERS = "starters"
    APPROVERS = "approvers"


MAY_CANCEL = frozenset({People.STARTERS, People.APPROVERS})
MAY_CANCEL_BY_LINK = frozenset({People.APPROVERS})


def may(  # noqa: PLR0911 - one for each
    action: Action, way: Way, listed: AbstractSet[People], on: AbstractSet[People]
) -> bool:
    """Whether somebody may do it who is `on` these lists of the credential, of those on which
    anybody is `listed`.

    A list without anybody asks nothing. What may be done takes that it is seen, besides.
    """
    match action:
        case Action.SEE:
            return way is not Way.SIGN_IN or People.VIEWERS not in listed or bool(on)
        case Action.DRY_RUN:
            return way is not Way.LINK and may(Action.SEE, way, listed, on)
        case Action.START | Action.RETRY:
            unasked = People.STARTERS not in listed
            return way is not Way.LINK and (unasked or People.STARTERS in on)
        case Action.CANCEL:
            unasked = way is not Way.LINK and People.STARTERS not in listed
            return unasked or bool(on & (MAY_CANCEL_BY_LINK if way is Way.LINK else MAY_CANCEL))
        case Action.APPROVE | Action.REJECT:
            # Without any approvers there is nobody to compare a name with.
            return People.APPROVERS in on if People.APPROVERS in listed else way is Way.KEY
        case Action.CUT_FIRST:
            return way is Way.SIGN_IN and People.APPROVERS in on
        case Action.WAIVE | Action.INCIDENT:
            return way is not Way.LINK and may(Action.APPROVE, way, listed, on)
        case _:
            assert_never(action)
