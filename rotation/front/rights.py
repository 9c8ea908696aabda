"""Who may see a credential and its rotations, start them and cancel them, by the file of now.

`rotation.decisions.rights` decides; here it is found out who asks, and which lists they are on. Who
may decide and waive is in `approvers`, which asks the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rotation.decisions.rights import Action, People, Way, may
from rotation.front import planned, rotations
from rotation.front.approvers import entra, is_listed, way_of, whom_instead
from rotation.front.hub import unavailable
from rotation.front.problems import Problem
from rotation.model.errors import ConfigurationError, Unavailable
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.config import Configuration, Credential, Listed
    from rotation.contracts.edges import Readers
    from rotation.front.approvers import Decider
    from rotation.front.principals import Principal
    from rotation.model.record import ShownRecord

MOST = 10  # of those who may, that a refusal names

# Whose lists are asked for what, and the word for it.
ASKED = {
    Action.START: ((People.STARTERS,), "started"),
    Action.RETRY: ((People.STARTERS,), "started"),
    Action.CANCEL: ((People.STARTERS, People.APPROVERS), "cancelled"),
}


def lists(credential: Credential) -> Mapping[People, list[Listed]]:
    """Whom a credential lists, as what."""
    return {
        People.VIEWERS: credential.viewers,
        People.STARTERS: credential.starters,
        People.APPROVERS: credential.approval.listed,
    }


def allows(action: Action, who: Decider | None, credential: Credential) -> bool:
    """Whether somebody may do it, by the credential's lists; None holds a function key and has not
    said who they are."""
    of = lists(credential)
    listed = {name for name, people in of.items() if people}
    on = {name for name in listed if who is not None and is_listed(who, of[name])}
    return may(action, way_of(who), listed, on)


def refusal(action: Action, who: Decider | None, credential: Credential) -> str | None:
    """Why somebody who sees the credential may not start its rotations or cancel one, and who may;
    None if they may."""
    if allows(action, who, credential):
        return None
    named, done = ASKED[action]
    if way_of(who) is Way.LINK:  # those are for approvers, and start nothing
        named = tuple(one for one in named if one is People.APPROVERS)
    of, kinds = lists(credential), " and ".join(named)
    said = f"the {kinds or People.STARTERS} of this credential do not include"
    return f"{said} {whom_instead(who)}: it can be {done} by {_few(of, named)}"


def _few(of: Mapping[People, list[Listed]], named: Iterable[People]) -> str:
    """Whom the lists name, by address where there is one; some of them where they are many."""
    people = dict.fromkeys(str(one.address or one.id) for name in named for one in of[name])
    shown = list(people)[:MOST]
    more = len(people) - len(shown)
    return f"{', '.join(shown) or 'nobody'}{f' and {more} more' if more else ''}"


# -- what is seen


def onlooker(caller: Principal | None) -> Decider | None:
    """Whoever reads over the HTTP API; None for whoever holds a function key, and all that can be
    asked of them is that they do.

    An application with a token came in by a key as well. A person did too, where sign-in is on, and
    counts as who they are all the same.
    """
    return entra(caller, "http") if caller is not None and caller.person else None


def sees_all(who: Decider | None) -> bool:
    """Whether somebody sees whatever they ask for: a function key is for all of it, and a link is
    for its one rotation."""
    return way_of(who) is not Way.SIGN_IN


def sees(who: Decider | None, credential: Credential) -> bool:
    """Whether somebody sees a credential."""
    return allows(Action.SEE, who, credential)


def visible(edges: Readers, who: Decider | None) -> list[str]:
    """The names of the credentials that somebody sees, in their order."""
    credentials = edges.configuration.credentials
    return sorted(name for name, one in credentials.items() if sees(who, one))


def demand_seen(edges: Readers, who: Decider | None, name: str, field: str | None = None) -> None:
    """Raises the same `Problem` for a credential that is not there and for one that is not seen."""
    configured = edges.configuration.credentials.get(name)
    if configured is None or not sees(who, configured):
        detail = f"there is no credential {name!r}"
        if field is None:
            raise Problem(404, Code.UNKNOWN_CREDENTIAL, detail)
        raise Problem(404, Code.UNKNOWN_CREDENTIAL, detail, field=field)


def demand_readable(edges: Readers) -> None:
    """Raises `Problem` where the file cannot be read, without what is wrong in it: that names
    credentials, and nobody can say who sees these."""
    try:
        _ = edges.configuration
    except ConfigurationError as error:
        detail = "the configuration is not valid: `python -m rotation check` says where"
        raise Problem(503, error.code, detail) from None


async def sees_rotation(
    edges: Readers, client: Client, who: Decider | None, record: ShownRecord
) -> bool:
    """Whether somebody sees a rotation. Raises `Unavailable`.

    Where the file lost its credential, the lists of the entry that it was planned with count. If
    that is not there any more, nobody who has signed in sees a rotation that was asked for while
    there were viewers, and none at all where the file lists viewers of any credential: it may have
    had some too.
    """
    if sees_all(who):
        return True
    configuration = edges.configuration
    if record.credential in configuration.credentials:
        return sees(who, configuration.credentials[record.credential])
    if not (record.request.restricted or restricted(configuration)):
        return True
    try:
        entry = await planned.lost_entry(client, record)
    except Unavailable as error:
        # Its own text names the rotation, which whoever asks may not see.
        raise unavailable("who may see it could not be looked up") from error
    of = lists(entry) if entry else {}
    return any(who is not None and is_listed(who, people) for people in of.values())


def restricted(configuration: Configuration) -> bool:
    """Whether the file lists viewers of any credential."""
    return any(one.viewers for one in configuration.credentials.values())


def may_be_seen(edges: Readers, who: Decider | None, credential: str) -> bool:
    """Whether a credential's rotations may be seen, as far as that can be told without them."""
    return Sieve(edges, who).may_be(credential)


class Sieve:
    """Keeps out of a list what somebody does not see, before it is read.

    What it lets through has to be asked for one by one: of a credential that the file does not
    know, only the rotation tells who sees it.
    """

    def __init__(self, edges: Readers, who: Decider | None) -> None:
        self._known = edges.configuration.credentials.keys()
        self._seen = set(visible(edges, who))

    @property
    def holds_back(self) -> bool:
        """Whether there is anything that it keeps out."""
        return len(self._seen) < len(self._known)

    def may_be(self, credential: str) -> bool:
        """Whether rotations of a credential may be seen."""
        return credential in self._seen or credential not in self._known

    def may_be_of(self, rotation: str) -> bool:
        """Whether a rotation may be one that is seen, by what its id says of its credential."""
        owners = rotations.owners(rotation) & self._known
        return not owners or bool(owners & self._seen)


async def seen_of(
    edges: Readers, client: Client, who: Decider | None, records: list[ShownRecord]
) -> list[ShownRecord]:
    """Those of the records that somebody sees. Raises `Unavailable`."""
    found = await asyncio.gather(*(sees_rotation(edges, client, who, one) for one in records))
    return [one for one, seen in zip(records, found, strict=True) if seen]
