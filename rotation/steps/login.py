"""The slot's login: its secret's version, its role, and its sessions."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rotation.formats import changed, read
from rotation.model.activities import Staged, Watched
from rotation.model.errors import Conflict, Denied, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import SecretTarget
from rotation.model.world import other
from rotation.secrecy import new_password

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import Credential
    from rotation.contracts.database import DatabaseReader
    from rotation.contracts.edges import Readers
    from rotation.model.world import SecretVersion, Slot
    from rotation.secrecy import Secret
    from rotation.steps.running import Step


def stage(step: Step) -> Staged:
    """Makes a new password and writes it as a new version of the slot's secret.

    It is the serving slot's version with another login in it: all else that stands there, the
    content type and the tags too, is somebody's. A repeat writes another one. None is looked for by
    its tags, which whoever may write secrets may write too: they would choose the password.
    """
    credential, login = step.credential, step.login
    live = _template(step)
    shown = SecretTarget(live.secret, live.version)
    value = changed(
        credential.shape, step.vault.value(shown), (login.role, new_password()), str(shown)
    )
    written = step.standby.put(
        value,
        expires=step.edges.now() + credential.validity,
        content_type=live.content_type or "",
        tags=_tags(live.tags, {"rotation": step.rotation, "slot": step.slot, "role": login.role}),
    )
    return Staged(written.version)


def _template(step: Step) -> SecretVersion:
    """The version that the new one is made from: that of the slot that serves. Where somebody has
    disabled it since it leaked, the newest that is left of either slot.

    Raises `Conflict` if there is none.
    """
    if not step.reference.cut:
        return current_version(step.edges, step.credential, other(step.slot))
    for slot in (other(step.slot), step.slot):
        for version in step.vault.versions(step.credential.secret(slot)):
            if version.enabled:
                return version
    return current_version(step.edges, step.credential, other(step.slot))


MOST_TAGS = 15  # https://learn.microsoft.com/azure/key-vault/secrets/about-secrets


def _tags(live: dict[str, str], ours: dict[str, str]) -> dict[str, str]:
    """The tags of people, and ours as far as there is room: they only help who looks."""
    kept = {name: text for name, text in live.items() if name not in ours}
    return {**kept, **dict(list(ours.items())[: max(0, MOST_TAGS - len(kept))])}


def activate(step: Step) -> None:
    """Gives the role the password of the staged version, and disables earlier versions.

    Raises `Conflict` unless the staged version is the current one. Earlier versions that are still
    enabled come from an answer that was lost, or from somebody else.
    """
    current = current_version(step.edges, step.credential, step.slot)
    if current.version != step.version:
        raise Conflict(
            Code.FOREIGN_VERSION,
            f"the current version of secret {current.secret} is {current.version}, not the "
            f"{step.version} that this rotation staged: whoever may set secrets in "
            f"{step.credential.vault} could have written it",
        )
    step.standby.activate(password_in(step.edges, step.credential, current))
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

    If the reference names a version, the login is a new one: `Conflict` is raised if that version
    is not the current one, and the endpoint and the read replicas must let the role in too.
    """
    _prove(step, step.slot, step.reference.version)


def _prove(step: Step, slot: Slot, wanted: str | None = None) -> None:
    """Logs in as a slot's role. Raises what `verify` raises."""
    current = current_version(step.edges, step.credential, slot)
    if wanted is not None and current.version != wanted:
        raise Conflict(
            Code.FOREIGN_VERSION,
            f"the current version of secret {current.secret} is {current.version}, not {wanted}: "
            "somebody else wrote it",
        )
    database = step.edges.database(step.credential)
    password = password_in(step.edges, step.credential, current)
    database.login(step.credential.slots[slot].role, password)
    # What is not new they have had for long: the way back never waits for one of them.
    if wanted is not None:
        _verify_endpoint(step, password)
        _verify_replicas(step, password)


def _verify_endpoint(step: Step, password: Secret) -> None:
    """Proves the login through what applications connect to: a pooler's list may not have the
    password yet."""
    endpoint = step.edges.endpoint(step.credential)
    if endpoint is not None:
        with _passing(Code.ENDPOINT_BEHIND, f"the endpoint {endpoint.address}"):
            endpoint.login(step.login.role, password)


def _verify_replicas(step: Step, password: Secret) -> None:
    """Proves the login on each read replica, which may not have replayed the password yet."""
    for replica in step.edges.replicas(step.credential):
        with _passing(Code.REPLICA_BEHIND, f"read replica {replica.address}"):
            replica.login(step.login.role, password)


@contextmanager
def _passing(behind: Code, server: str) -> Iterator[None]:
    """Turns a refusal of the login into `Unavailable`: the server may learn of it yet."""
    try:
        yield
    except Denied as error:
        if error.code is not Code.LOGIN_REFUSED:
            raise
        text = f"{server} does not know the new login yet: {error.message}"
        raise Unavailable(behind, text) from None


def current_version(edges: Readers, credential: Credential, slot: Slot) -> SecretVersion:
    """The current version of a slot's secret. Raises `Conflict` if it is gone or disabled."""
    secret = credential.secret(slot)
    current = edges.vault(credential.vault).current(secret)
    if current is None or not current.enabled:
        state = "does not exist" if current is None else "is disabled"
        raise Conflict(Code.VERSION_GONE, f"the current version of secret {secret} {state}")
    return current


def password_in(edges: Readers, credential: Credential, version: SecretVersion) -> Secret:
    """The password that a version of a slot's secret holds. Raises `EdgeError`."""
    secret = SecretTarget(version.secret, version.version)
    value = edges.vault(credential.vault).value(secret)
    return read(credential.shape, value, str(secret)).password


def await_sessions(step: Step) -> Watched:
    """Waits a while for the slot's role to have no session, and says how many are left."""
    give_up = step.edges.now().timestamp() + step.edges.settings.watch_seconds
    while True:
        left = sum(len(server.sessions([step.login.role])) for server in _servers(step))
        if not left or step.edges.now().timestamp() >= give_up:
            return Watched(not left, f"sessions of role {step.login.role}: {left}")
        step.edges.sleep(1)


def _servers(step: Step) -> list[DatabaseReader]:
    """The server and its read replicas."""
    return [step.edges.database(step.credential), *step.edges.replicas(step.credential)]


def deactivate(step: Step) -> None:
    """Takes the login from the slot's role, then ends the sessions that stayed.

    The other slot's login is proved right before: `confirm` may have found no connection for that.
    Afterwards each read replica must refuse the login too, and the sessions there are ended.
    """
    database, name = step.edges.database(step.credential), step.login.role
    role = database.roles([name]).get(name)
    # It may never have been activated, for lack of the right to.
    if role is None or role.login or database.sessions([name]):
        _prove(step, other(step.slot))
        step.standby.deactivate()
        step.standby.terminate()
    replicas = step.edges.replicas(step.credential)
    for replica in replicas:
        _ensure_refused(replica, name)
    if any(replica.sessions([name]) for replica in replicas):
        step.standby.terminate()


def _ensure_refused(replica: DatabaseReader, name: str) -> None:
    """Raises `Unavailable` while a replica would let the role in.

    Its own `pg_roles` is asked. A login that is refused proves less: with a password that is no
    longer the role's it is refused on a replica too that has replayed nothing.
    """
    role = replica.roles([name]).get(name)
    if role is not None and role.login:
        text = f"read replica {replica.address} still lets role {name} in"
        raise Unavailable(Code.REPLICA_BEHIND, f"{text}: it has not replayed its NOLOGIN yet")


def disable(step: Step) -> None:
    """Disables every version of the slot's secret: their role has no password any more."""
    for version in step.vault.versions(step.credential.secret(step.slot)):
        if version.enabled:
            step.standby.disable(version.version)
