"""Whether there is a way back: the slot that serves is one that traffic can be given back to.

Its live secret is read as a workload reads it, and logged in with. `plan` looks before anything
changes, `GET /credentials` whenever somebody asks. The password stays in here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rotation.decisions import parity
from rotation.decisions.plan import role_of, secret_of
from rotation.formats import changed, read
from rotation.model.commands import command, told
from rotation.model.errors import Denied, Invalid
from rotation.model.reasons import Code, Reason
from rotation.model.targets import SecretTarget
from rotation.model.world import other
from rotation.secrecy import new_password

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rotation.config import Credential
    from rotation.contracts.edges import Readers
    from rotation.formats import Held
    from rotation.model.world import Role, SecretVersion, Slot, SlotState
    from rotation.secrecy import Secret

_PORT = 5432  # what drivers take where a value names none
CAUSES = {Code.LOGIN_REFUSED: Code.LIVE_PASSWORD, Code.LOGIN_NOT_SCRAM: Code.LIVE_NOT_SCRAM}


@dataclass(frozen=True)
class WayBack:
    """What is in the way back, each of it a refusal, and what is only worth telling."""

    problems: tuple[Reason, ...] = ()
    doubts: tuple[Reason, ...] = ()


def look(edges: Readers, credential: Credential, slot: Slot, state: SlotState) -> WayBack:
    """The way back to a slot, whose role and secret are there.

    Raises what the edges raise of their own: that may pass, or says by itself what to do.
    """
    current, role = state.secret, state.role
    if current is None or not current.enabled or role is None or not role.login:
        return WayBack()  # the plan has a refusal for each of these
    secret, thing = SecretTarget(current.secret, current.version), secret_of(state)
    value = edges.vault(credential.vault).value(secret)
    try:
        held = read(credential.shape, value, str(secret))
        changed(credential.shape, value, (role.name, new_password()), str(secret))
    except Invalid as error:
        code = Code.LIVE_UNREADABLE if error.code is Code.FORMAT else error.code
        text = f"the {slot} slot serves, and {error.message}"
        return WayBack((told(code, text, thing),))
    named = tuple(told(*each, thing) for each in _named(credential, slot, secret, held))
    if any(problem.code in {Code.LIVE_ROLE, Code.LIVE_UNREADABLE} for problem in named):
        return WayBack(named)
    refused = tuple(_logins(edges, credential, state, current, held))
    if refused:
        return WayBack((*named, *refused))
    weaker, known = _compared(edges, credential, slot, state, held.password)
    doubts = (told(*each, thing) for each in _doubts(slot, secret, held))
    return WayBack((*named, *weaker), (*doubts, *known))


def _compared(
    edges: Readers, credential: Credential, slot: Slot, state: SlotState, password: Secret
) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """What forbids to move from the slot's role to the other one, and what is only to be told."""
    role, standby = credential.slots[slot].role, credential.slots[other(slot)].role
    server = state.names.server
    try:
        found = edges.database(credential).differences(role, password, standby)
    except (Denied, Invalid) as error:
        thing = parity.compared(having=role, lacking=standby, server=server)
        return (), (told(Code.ROLES_NOT_COMPARED, error.message, thing),)
    problems = parity.problems(standby, role, found, server)
    return problems, parity.doubts(standby, role, found, server)


def _named(
    credential: Credential, slot: Slot, secret: SecretTarget, held: Held
) -> Iterator[tuple[Code, str]]:
    """What a value names that is not what the file has, each a code and a text. It is never quoted:
    see `Held`."""
    role, database = credential.slots[slot].role, credential.database
    begins = f"the {slot} slot serves, and its secret {secret} names"
    if credential.format != "password" and held.role is None:
        yield Code.LIVE_UNREADABLE, f"{begins} no role: it must name {role}"
    elif held.role not in {None, role}:
        yield Code.LIVE_ROLE, f"{begins} another role than {role}"
    at = ((database.host, database.port), database.serves_at, *database.reads_from)
    known = {(host.lower().rstrip("."), port) for host, port in at}
    named = {
        (host.lower().rstrip("."), _PORT if port is None else port) for host, port in held.servers
    }
    if not named <= known:
        shown = " or ".join(sorted(f"{host}:{port}" for host, port in known))
        yield Code.LIVE_HOST, f"{begins} another host or port than {shown}"
    if held.database not in {None, database.name}:
        yield Code.LIVE_DATABASE, f"{begins} another database than {database.name}"


def _logins(
    edges: Readers, credential: Credential, state: SlotState, current: SecretVersion, held: Held
) -> Iterator[Reason]:
    """Why the server, or a replica, does not let the role in with what the secret holds.

    A replica must also answer the login that rotates: it is asked when the slot is retired.
    """
    role, thing = state.role, role_of(state)
    if role is None:
        return
    for replica in edges.replicas(credential):
        replica.roles([role.name])
    for server in (edges.database(credential), *edges.replicas(credential)):
        try:
            server.login(role.name, held.password)
        except (Denied, Invalid) as error:
            code = CAUSES.get(error.code, Code.LIVE_LOGIN)
            text = f"secret {current.secret}/{current.version} gives no login: {error.message}"
            cure = f"; {error.code}: {error.code.remedy}" if code is Code.LIVE_LOGIN else ""
            why = told(code, text + cure + _expired(role, edges.now()), thing)
            yield replace(why, command=why.command or command(error.code, thing))


def _expired(role: Role, now: datetime) -> str:
    if role.valid_until is None or role.valid_until > now:
        return ""
    return f"; its VALID UNTIL, {role.valid_until:%F %T}, has passed"


def _doubts(slot: Slot, secret: SecretTarget, held: Held) -> Iterator[tuple[Code, str]]:
    if held.newline:
        text = (
            f"secret {secret} of the {slot} slot, which serves, ends in a line break; it is taken "
            "to be no part of the value, and new versions have none"
        )
        yield Code.SECRET_NEWLINE, text
