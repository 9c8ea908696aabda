"""Attributes database sessions to workloads, by the addresses that they come from.

What a session calls itself proves nothing, since every client chooses it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from rotation.model import wire
from rotation.model.record import SessionCount

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from rotation.model.record import KnownBy
    from rotation.model.world import Session, Slot

Network = IPv4Network | IPv6Network
APPLICATION = re.compile(r"(?!.*//)[\w .:/@()+-]{0,63}", re.ASCII)


def printable(application: str) -> str:
    """The name that a client gave itself, or words in its place: no link and no markup becomes
    evidence."""
    return application if APPLICATION.fullmatch(application) else "a name that is not shown"


@dataclass(frozen=True)
class Origin:
    """Where a workload's sessions come from: those of one slot's pods, or of any of its pods.

    `application` is the name that they must give as well, or None where nobody else has the
    addresses: hardly any driver gives one unless it is told to.
    """

    workload: str
    application: str | None
    networks: frozenset[Network]
    known_by: KnownBy
    slot: Slot | None = None

    def has(self, session: Session) -> bool:
        """Whether a session is the workload's: its address must fit, and its name where asked."""
        # `orders-api` and `orders-api/blue` are workload orders-api; `orders-apix` is not.
        if self.application not in {None, session.application.partition("/")[0]}:
            return False
        address = network(session.client)
        return address is not None and any(
            address.version == known.version and address.subnet_of(known)  # type: ignore[arg-type] # of the same version
            for known in self.networks
        )


def network(text: str) -> Network | None:
    """The network of an address or a range; None for any other text.

    A session over a socket file has "local" for an address.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return _range(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return ip_network(mapped or address)


def _range(text: str) -> Network | None:
    """The network of a range of addresses; None for any other text."""
    try:
        return ip_network(text)
    except ValueError:
        return None


def networks(texts: Iterable[str]) -> frozenset[Network]:
    """The networks of those texts that have one."""
    return frozenset(known for text in texts if (known := network(text)) is not None)


def counted(sessions: Iterable[Session], origins: Iterable[Origin]) -> list[SessionCount]:
    """How many sessions each role, application and client address has, and of which workload."""
    known = list(origins)
    counts: Counter[tuple[str, str, str, Origin | None]] = Counter()
    queried: dict[tuple[str, str, str, Origin | None], datetime] = {}
    for session in sessions:
        key = (session.role, session.application, session.client, _origin(session, known))
        counts[key] += 1
        if session.queried is not None:
            queried[key] = max(session.queried, queried.get(key, session.queried))
    rows = [
        SessionCount(
            role=role,
            application=application,
            client=client,
            sessions=count,
            workload=origin.workload if origin else None,
            known_by=origin.known_by if origin else None,
            slot=origin.slot if origin else None,
            last_query=wire.moment(queried[key]) if key in queried else None,
        )
        for key, count in counts.items()
        for role, application, client, origin in [key]
    ]
    return sorted(rows, key=lambda row: (row.role, row.application, row.client))


def _origin(session: Session, origins: list[Origin]) -> Origin | None:
    """The first origin that has the session; None if it belongs to no workload."""
    return next((origin for origin in origins if origin.has(session)), None)
