"""Proves by trying what a rotation promised: logins, secret versions, pods, and no password lying
around anywhere that is written down."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg

from local import world
from rotation.formats import Shape, read
from rotation.model.errors import Conflict
from rotation.model.targets import SecretTarget
from rotation.model.world import SLOTS, Slot, other

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.stack import Stack
    from rotation.secrecy import Secret


@dataclass(frozen=True)
class Check:
    what: str
    holds: bool

    @property
    def colour(self) -> str:
        return "32" if self.holds else "31"


@dataclass(frozen=True)
class Passwords:
    """The passwords of the current secret versions, by slot; none where that is disabled."""

    values: dict[Slot, Secret]

    @classmethod
    def read(cls, stack: Stack) -> Passwords:
        shape = stack.options.credential.get("format", "password")
        values: dict[Slot, Secret] = {}
        for slot in SLOTS:
            current = stack.owner.vault.current(SecretTarget(world.secret(slot)))
            if current is None or not current.enabled:
                continue
            value = stack.owner.vault.value(SecretTarget(current.secret, current.version))
            values[slot] = read(Shape(shape), value, current.version).password
        return cls(values)


def check(
    stack: Stack, record: dict[str, Any], serving: Slot, before: list[Passwords]
) -> list[Check]:
    """The checks of what must hold once a rotation, or its rollback, has ended.

    `before` are the passwords that were read on the way, when both slots still had theirs.
    """
    gone = other(serving)
    after = Passwords.read(stack)
    known = [value for passwords in (*before, after) for value in passwords.values.values()]
    replaced = [passwords.values[gone] for passwords in before if gone in passwords.values]
    return [
        Check(f"production of every workload is on {serving}", _selected(stack, serving)),
        Check(
            f"orders_{serving} logs in with its current secret version",
            serving in after.values and can_login(stack, serving, after.values[serving]),
        ),
        Check(
            f"orders_{gone} is refused with the password it had",
            bool(replaced) and not any(can_login(stack, gone, value) for value in replaced),
        ),
        Check(f"no version of secret {world.secret(gone)} is enabled", _disabled(stack, gone)),
        Check(f"no session of orders_{gone} is left", _sessions(stack, gone) == 0),
        Check(f"no pod of the {gone} slot is left", _pods(stack, gone) == 0),
        Check(
            "no password in the journal, a log, an event or the rotation's record",
            not find(stack, known, record),
        ),
    ]


def can_login(stack: Stack, slot: Slot, password: Secret) -> bool:
    try:
        with psycopg.connect(
            host="127.0.0.1",
            port=stack.addresses.database_port,
            dbname=world.DATABASE,
            user=f"orders_{slot}",
            password=password.reveal(),
        ):
            return True
    except psycopg.OperationalError:
        return False


def _selected(stack: Stack, slot: Slot) -> bool:
    return set(stack.owner.active_slots().values()) == {slot}


def _disabled(stack: Stack, slot: Slot) -> bool:
    versions = stack.owner.vault.versions(SecretTarget(world.secret(slot)))
    for version in versions:
        try:
            stack.owner.vault.value(SecretTarget(version.secret, version.version))
        except Conflict:
            continue
        return False
    return bool(versions)


def _sessions(stack: Stack, slot: Slot) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
    with psycopg.connect(stack.owner.dsn()) as connection:
        row = connection.execute(query, [f"orders_{slot}"]).fetchone()
    return int(row[0]) if row else 0


def _pods(stack: Stack, slot: Slot) -> int:
    found = [
        pod
        for namespace in world.WORKLOADS.values()
        for pod in stack.owner.kubernetes_get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        if pod["metadata"]["labels"].get("slot") == slot
    ]
    return len(found)


def find(stack: Stack, passwords: list[Secret], record: dict[str, Any]) -> list[str]:
    """The places where one of the passwords is written, in any of the usual encodings.

    The vault's own store, the cluster's Secrets and what pods mount are where they belong.
    """
    needles = [needle for password in passwords for needle in encodings(password)]
    places = [str(path) for path in written(stack) if _holds(path.read_bytes(), needles)]
    if _holds(repr(record).encode(), needles):
        places.append("the rotation's record")
    return places


def encodings(password: Secret) -> Iterator[bytes]:
    clear = password.reveal()
    yield clear.encode()
    yield quote(clear, safe="").encode()
    yield clear.encode("utf-16-le")
    yield clear.encode().hex().encode()
    # Base64 of the password at any offset of a longer text: the part that does not depend on it.
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + clear.encode())
        yield coded[4 if offset else 0 : -4]


def _holds(content: bytes, needles: list[bytes]) -> bool:
    return any(needle in content for needle in needles)


# Where Azurite keeps what blobs and queues hold.
EXTENTS = ("__blobstorage__", "__queuestorage__")


def written(stack: Stack) -> Iterator[Path]:
    """The engine's journal, all logs (the server's statements too), and the published events."""
    keep = re.compile(r"(journal\.db.*|.*\.log|topic\.db.*|credentials\.yaml|__azurite_.*)$")
    for path in sorted(stack.directory.rglob("*")):
        if path.is_file() and (keep.search(path.name) or path.parent.name in EXTENTS):
            yield path
