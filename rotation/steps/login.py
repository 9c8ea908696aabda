"""The slot's login: its secret's version, its role, and its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.model.activities import Staged, Watched
from rotation.model.errors import Conflict
from rotation.model.reasons import Code
from rotation.model.targets import SecretTarget
from rotation.model.world import other
from rotation.secrecy import CONTENT_TYPES, extract, new_password, render

if TYPE_CHECKING:
    from rotation.model.world import SecretVersion, Slot
    from rotation.secrecy import Secret
    from rotation.steps.running import Step


def stage(step: Step) -> Staged:
    """Makes a new password and writes it as a new version of the slot's secret.

    A repeat writes another one. None is looked for by its tags, which whoever may write secrets may
    write too: they would choose the password.
    """
    credential, login = step.credential, step.login
    value = render(credential.format, login.role, new_password(), credential.server)
    written = step.standby.put(
        value,
        expires=step.edges.now() + credential.validity,
        content_type=CONTENT_TYPES[credential.format],
        tags={"rotation": step.rotation, "slot": step.slot, "role": login.role},
    )
    return Staged(written.version)


def activate(step: Step) -> None:
    """Gives the role the password of the staged version, and disables earlier versions.

    Raises `Conflict` unless the staged version is the current one. Earlier versions that are still
    enabled come from an answer that was lost, or from somebody else.
    """
    current = _current(step, step.slot)
    if current.version != step.version:
        raise Conflict(
            Code.FOREIGN_VERSION,
            f"the current version of secret {current.secret} is {current.version}, not the "
            f"{step.version} that this rotation staged: whoever may set secrets in "
            f"{step.credential.vault} could have written it",
        )
    step.standby.activate(_password(step, current))
    for version in step.vault.versions(step.credential.secret(step.slot)):
        if version.enabled and _is_earlier(version, current):
            step.standby.disable(version.version)


def _is_earlier(version: SecretVersion, current: SecretVersion) -> bool:
    """Whether a version was made before the current one, or in the same second, all that times of
    creation tell. One that came meanwhile is left to `verify`, which says whose it may be."""
    if version.version == current.version:
        return False
    return None in (version.created, current.created) or str(version.created) <= str(
        current.created
    )


def verify(step: Step) -> None:
    """Proves that the slot's role can log in with the password of the secret's current version.

    Raises `Conflict` if the reference names a version and it is not the current one.
    """
    _prove(step, step.slot, step.reference.version)


def _prove(step: Step, slot: Slot, wanted: str | None = None) -> None:
    """Logs in as a slot's role. Raises what `verify` raises."""
    current = _current(step, slot)
    if wanted is not None and current.version != wanted:
        raise Conflict(
            Code.FOREIGN_VERSION,
            f"the current version of secret {current.secret} is {current.version}, not {wanted}: "
            "somebody else wrote it",
        )
    database = step.edges.database(step.credential)
    database.login(step.credential.slots[slot].role, _password(step, current))


def _current(step: Step, slot: Slot) -> SecretVersion:
    """The current version of a slot's secret. Raises `Conflict` if it is gone or disabled."""
    secret = step.credential.secret(slot)
    current = step.vault.current(secret)
    if current is None or not current.enabled:
        state = "does not exist" if current is None else "is disabled"
        raise Conflict(Code.VERSION_GONE, f"the current version of secret {secret} {state}")
    return current


def _password(step: Step, version: SecretVersion) -> Secret:
    secret = SecretTarget(version.secret, version.version)
    return extract(step.credential.format, step.vault.value(secret), str(secret))


def await_sessions(step: Step) -> Watched:
    """Waits a while for the slot's role to have no session, and says how many are left."""
    database = step.edges.database(step.credential)
    give_up = step.edges.now().timestamp() + step.edges.settings.watch_seconds
    while True:
        left = len(database.sessions([step.login.role]))
        if not left or step.edges.now().timestamp() >= give_up:
            return Watched(not left, f"{left} sessions of role {step.login.role}")
        step.edges.sleep(1)


def deactivate(step: Step) -> None:
    """Takes the login from the slot's role, then ends the sessions that stayed.

    The other slot's login is proved right before: `confirm` may have found no connection for that.
    """
    database, name = step.edges.database(step.credential), step.login.role
    role = database.roles([name]).get(name)
    if role is not None and not role.login and not database.sessions([name]):
        return  # it may never have been activated, for lack of the right to
    _prove(step, other(step.slot))
    step.standby.deactivate()
    step.standby.terminate()


def disable(step: Step) -> None:
    """Disables every version of the slot's secret: their role has no password any more."""
    for version in step.vault.versions(step.credential.secret(step.slot)):
        if version.enabled:
            step.standby.disable(version.version)
