"""Passwords: made here, masked everywhere, and put into the shapes that workloads read."""

from __future__ import annotations

import json
import secrets
import string
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NoReturn
from urllib.parse import quote, unquote, urlsplit
from weakref import WeakKeyDictionary

from rotation.model.errors import Invalid
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.model.targets import ServerTarget

Format = Literal["password", "url", "json"]

# Letters and digits only: safe unquoted in a URL, a libpq string, YAML and a shell.
ALPHABET = string.ascii_letters + string.digits
LENGTH = 40  # 238 bits

CONTENT_TYPES: dict[Format, str] = {
    "password": "text/plain",
    "url": "text/plain",
    "json": "application/json",
}


class Secret:
    """A value that cannot print, compare by accident, copy, pickle or serialise.

    The object itself has nothing in it: what walks through its attributes, its state or a frame's
    variables finds no value. tests/security/test_secret_values.py tries.
    """

    __slots__ = ("__weakref__",)

    def __init__(self, value: str) -> None:
        _VALUES[self] = value

    def reveal(self) -> str:
        """The clear text, for the one call that sends it over the wire."""
        return _VALUES[self]

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialised: pass the reference of its secret version")

    __getstate__ = __reduce__


# Each value lives as long as its Secret does.
_VALUES: WeakKeyDictionary[Secret, str] = WeakKeyDictionary()


def new_password() -> Secret:
    """A random password of `LENGTH` letters and digits."""
    return Secret("".join(secrets.choice(ALPHABET) for _ in range(LENGTH)))


def render(shape: Format, role: str, password: Secret, server: ServerTarget) -> Secret:
    """The value of a vault's secret: the password alone, or a URL or JSON with the login."""
    clear = password.reveal()
    if shape == "password":
        return password
    if shape == "url":
        return Secret(
            f"postgresql://{quote(role, safe='')}:{quote(clear, safe='')}"
            f"@{server.host}:{server.port}/{quote(server.database, safe='')}"
            f"?sslmode={server.sslmode}"
        )
    return Secret(
        json.dumps(
            {
                "username": role,
                "password": clear,
                "host": server.host,
                "port": server.port,
                "dbname": server.database,
                "sslmode": server.sslmode,
            }
        )
    )


@dataclass(frozen=True)
class Held:
    """What a secret's value holds: the password, and the login that it names, as far as it does.

    None of it may be told: of a value that is written wrongly, any part may be the password.
    `newline`: a line break stood at its end.
    """

    password: Secret
    role: str | None = field(default=None, repr=False)
    host: str | None = field(default=None, repr=False)
    port: int | None = field(default=None, repr=False)
    database: str | None = field(default=None, repr=False)
    newline: bool = False


def extract(shape: Format, value: Secret, reference: str) -> Secret:
    """The password inside a secret's value. `reference` names the secret version in errors."""
    return read(shape, value, reference).password


def read(shape: Format, value: Secret, reference: str) -> Held:
    """What a secret's value holds; one line break at its end is no part of it.

    `reference` names the secret version in errors.
    """
    written = value.reveal()
    clear = written.removesuffix("\n").removesuffix("\r") if written.endswith("\n") else written
    held = _READERS[shape](clear)
    if held is None:
        raise Invalid(
            Code.FORMAT,
            f"secret version {reference} holds no password in the format {shape!r}; "
            "correct `format` in credentials.yaml or write the secret anew",
        )
    return replace(held, newline=clear != written)


def _from_text(value: str) -> Held | None:
    return Held(Secret(value)) if value else None


def _from_url(value: str) -> Held | None:
    if not value.isprintable():
        return None  # urlsplit would leave out what a driver does not
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return None
    if not parts.password:
        return None
    return Held(
        password=Secret(unquote(parts.password)),
        role=unquote(parts.username) if parts.username else None,
        host=parts.hostname,
        port=port,
        database=unquote(parts.path.removeprefix("/")) or None,
    )


def _from_json(value: str) -> Held | None:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return None
    password = document.get("password") if isinstance(document, dict) else None
    if not isinstance(password, str) or not password:
        return None
    port = _text(document, "port")
    return Held(
        password=Secret(password),
        role=_text(document, "username"),
        host=_text(document, "host"),
        port=None if port is None else int(port[:9]) if port.isdecimal() else 0,
        database=_text(document, "dbname"),
    )


def _text(document: dict[str, object], key: str) -> str | None:
    """What stands under a key, as a text; None for nothing."""
    value = document.get(key)
    return None if value in (None, "") else str(value)


_READERS: dict[Format, Callable[[str], Held | None]] = {
    "password": _from_text,
    "url": _from_url,
    "json": _from_json,
}
