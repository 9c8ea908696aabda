"""The slot's login: its secret's version, its role, and its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.model.activities import Staged, Watched
from rotation.model.errors import Conflict
from rotation.model.reasons import Code
from rotation.model.targets import SecretTarget
from rotation.secrecy import CONTENT_TYPES, extract, new_password, render

if TYPE_CHECKING:
    from rotation.model.world import SecretVersion
    from rotation.secrecy import Secret
    from rotation.steps.running import Step


def stage(step: Step) -> Staged:
    """Writes a new version of the slot's secret: the password's birth.

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
    """The role gets the password of the version that was staged, as long as it is the current one.

    What earlier versions were enabled, those of a lost answer among them, is disabled.
    """
    current = _current(step)
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
    """One that came meanwhile is left to `verify`, which says whose it could be. Times of creation
    are whole seconds: of the same second either may be meant, and neither is in use."""
    if version.version == current.version:
        return False
    return None in (version.created, current.created) or str(version.created) <= str(
        current.created
    )


def verify(step: Step) -> None:
    """Logs in with the current version; with `version` in the reference, it must be that one."""
    current, wanted = _current(step), step.reference.version
    if wanted is not None and current.version != wanted:
        raise Conflict(
            Code.FOREIGN_VERSION,
            f"the current version of secret {current.secret} is {current.version}, not {wanted}: "
            "somebody else wrote it",
        )
    database = step.edges.database(step.credential)
    database.login(step.login.role, _password(step, current))


def _current(step: Step) -> SecretVersion:
    secret = step.credential.secret(step.slot)
    current = step.vault.current(secret)
    if current is None or not current.enabled:
        state = "does not exist" if current is None else "is disabled"
        raise Conflict(Code.VERSION_GONE, f"the current version of secret {secret} {state}")
    return current


def _password(step: Step, version: SecretVersion) -> Secret:
    secret = SecretTarget(version.secret, version.version)
    return extract(step.credential.format, step.vault.value(secret), str(secret))


def await_sessions(step: Step) -> Watched:
    """The sessions of the slot's role that are left."""
    database = step.edges.database(step.credential)
    give_up = step.edges.now().timestamp() + step.edges.settings.watch_seconds
    while True:
        left = len(database.sessions([step.login.role]))
        if not left or step.edges.now().timestamp() >= give_up:
            return Watched(not left, f"{left} sessions of role {step.login.role}")
        step.edges.sleep(1)


def deactivate(step: Step) -> None:
    """First no new logins, then the end of those sessions that stayed."""
    database, name = step.edges.database(step.credential), step.login.role
    role = database.roles([name]).get(name)
    if role is not None and not role.login and not database.sessions([name]):
        return  # it may never have been activated, for lack of the right to
    step.standby.deactivate()
    step.standby.terminate()


def disable(step: Step) -> None:
    """Every version: their role has no password any more."""
    for version in step.vault.versions(step.credential.secret(step.slot)):
        if version.enabled:
            step.standby.disable(version.version)
