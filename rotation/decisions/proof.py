"""Whether a slot's pods use the slot's login, by their sessions: the proof where no route tells."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from rotation.decisions.sessions import network, networks
from rotation.model.reasons import Code, reason
from rotation.model.words import few

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from rotation.decisions.sessions import Origin
    from rotation.model.reasons import Reason
    from rotation.model.record import KnownBy
    from rotation.model.world import Pod, Session

MOST_NAMES = 3  # in one text
# The API server says when a pod was made, the database when a session began: their clocks differ.
CLOCKS = timedelta(minutes=2)


def wrong_login(
    sessions: Iterable[Session], origins: Iterable[Origin], pods: Iterable[Pod], replaced: str
) -> Reason | None:
    """Why the pods of a slot do not use its login alone: they have sessions of the replaced role.

    `origins` are those of the slot's own pods. Where others share their addresses nobody can tell.
    A session that began before the pods is of one that had the address before them.
    """
    own, made = [origin for origin in origins if origin.slot is not None], _first_created(pods)
    clients = {
        session.client
        for session in sessions
        if session.role == replaced
        and _may_have_begun_after(session, made)
        and any(origin.has(session) for origin in own)
    }
    if not clients:
        return None
    at = few(sorted(clients), MOST_NAMES)
    text = f"pods of the slot have sessions of the replaced role {replaced}: at {at}"
    return reason(Code.PROOF_OTHER_ROLE, text)


def missing_sessions(
    sessions: Iterable[Session],
    origins: Sequence[Origin],
    pods: Iterable[Pod],
    role: str,
    known_by: KnownBy,
) -> Reason | None:
    """What sessions of the role are missing, of a slot that is to use it: one from each ready pod,
    or its node, or one from the ranges, begun after the pods.

    `origins` are those of the slot's pods, and those that both slots share.
    """
    ready = [pod for pod in pods if pod.ready]
    if not ready:
        return reason(Code.PROOF_MISSING, "no pod of the slot is ready")
    made = _first_created(ready)
    begun = [
        session
        for session in sessions
        if session.role == role
        and _may_have_begun_after(session, made)
        and any(origin.has(session) for origin in origins)
    ]
    clients = networks(session.client for session in begun)
    lacking: list[str]
    match known_by:
        case "ranges":
            lacking = [] if begun else ["the ranges in `addresses`"]
        case "pods":
            lacking = [pod.name for pod in ready if not clients & networks(pod.addresses)]
        case "nodes":
            nodes = sorted({node for pod in ready for node in pod.nodes[:1]})
            lacking = [node for node in nodes if network(node) not in clients]
    if not lacking:
        return None
    text = f"no session of role {role} from {few(sorted(lacking), MOST_NAMES)} yet"
    return reason(Code.PROOF_MISSING, text)


def _first_created(pods: Iterable[Pod]) -> datetime | None:
    """When the first of the pods was made; None if that is not known."""
    return min((pod.created for pod in pods if pod.created is not None), default=None)


def _may_have_begun_after(session: Session, made: datetime | None) -> bool:
    """Whether a session may have begun after the first pod was created: of one that has no time it
    is not known."""
    return session.since is None or made is None or session.since >= made - CLOCKS
