"""A password that has leaked: finds its login, and ends that at once where an approver says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions.plan import active_slot, apart, problems
from rotation.model import wire
from rotation.model.activities import Ended, Located
from rotation.model.reasons import Code, reason
from rotation.model.record import Connection
from rotation.steps import world
from rotation.steps.planning import entry, of_others, policy

if TYPE_CHECKING:
    from rotation.contracts.database import DatabaseReader
    from rotation.model.world import Session, Slot
    from rotation.steps.running import Step


def locate(step: Step) -> Located:
    """The login that has leaked, that of the slot that serves unless the request names one, and who
    is connected with it.

    What would keep the other slot from being brought up is said before anything is ended. Raises
    what the edges raise.
    """
    request = step.reference.request
    if request is None:
        raise LookupError("the reference of locate has no request")
    seen = world.snapshot(step.edges, step.name, step.credential)
    active = active_slot(seen)
    slot = request.leaked or active
    if active is None or slot is None:
        return Located(reasons=list(problems(seen, None)))
    if slot == active:
        stand, _ = apart(problems(seen, active), request.waive)
        refused = of_others(request, stand)
        if refused:
            return Located(reasons=refused)
    if request.cut == "first" and step.incident != "allowed":
        text = f"credentials.yaml does not say `incident: allowed` of {step.name}"
        return Located(reasons=[reason(Code.INCIDENT_OFF, text)])
    current = seen.slots[slot].secret
    return Located(
        slot=slot,
        role=step.credential.slots[slot].role,
        version=current.version if current else None,
        serves=slot == active,
        connected=[
            _connection(one) for server in _servers(step) for one in _of(server, step, slot)
        ],
        policy=policy(step, request),
        entry=entry(step),
    )


def cut(step: Step) -> Ended:
    """Ends the slot's login and its sessions, again and again for a while, until none is left and
    each server refuses the login. Raises `Conflict` where that is not to be, and what the edges
    raise."""
    give_up = step.edges.now().timestamp() + step.edges.settings.watch_seconds
    met: dict[tuple[str, int], Connection] = {}
    while True:
        step.leaked.end()
        servers = {server.address: server for server in _servers(step)}
        sessions = [
            (at, one) for at, server in servers.items() for one in _of(server, step, step.slot)
        ]
        met |= {(at, one.pid): _connection(one) for at, one in sessions}
        behind = [at for at, server in servers.items() if _lets_in(server, step)]
        if not sessions and not behind:
            return Ended(left=False, connected=list(met.values()))
        if step.edges.now().timestamp() >= give_up:
            text = f"{len(sessions)} sessions are left; let in by: {', '.join(behind) or 'none'}"
            return Ended(left=True, connected=list(met.values()), observed=text)
        step.edges.sleep(1)


def _servers(step: Step) -> list[DatabaseReader]:
    """The server and its read replicas."""
    return [step.edges.database(step.credential), *step.edges.replicas(step.credential)]


def _of(server: DatabaseReader, step: Step, slot: Slot) -> list[Session]:
    return server.sessions([step.credential.slots[slot].role])


def _lets_in(server: DatabaseReader, step: Step) -> bool:
    """Whether a server would let the role in, by its own catalogue."""
    name = step.login.role
    role = server.roles([name]).get(name)
    return role is not None and role.login


def _connection(session: Session) -> Connection:
    """A session without what it asked: statements may quote anything."""
    return Connection(
        pid=session.pid,
        application=session.application,
        client=session.client,
        state=session.state,
        since=wire.moment(session.since) if session.since else None,
    )
