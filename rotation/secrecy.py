"""Passwords: made here, masked everywhere, and put into the shapes that workloads read."""

from __future__ import annotations

import json
import secrets
import string
from typing import TYPE_CHECKING, Literal, NoReturn
from urllib.parse import quote, unquote, urlsplit
from weakref import WeakKeyDictionary

from rotation.model.errors import Invalid
from rotation.model.reasons import Code

if TYPE_CHECKING:
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


def extract(shape: Format, value: Secret, reference: str) -> Secret:
    """The password inside a secret's value. `reference` names the secret version in errors."""
    readers = {"password": Secret.reveal, "url": _from_url, "json": _from_json}
    password = readers[shape](value)
    if not password:
        raise Invalid(
            Code.FORMAT,
            f"secret version {reference} holds no password in the format {shape!r}; "
            "correct `format` in credentials.yaml or write the secret anew",
        )
    return Secret(password)


def _from_url(value: Secret) -> str | None:
    try:
        password = urlsplit(value.reveal()).password
    except ValueError:
        return None
    return unquote(password) if password else None


def _from_json(value: Secret) -> str | None:
    try:
        document = json.loads(value.reveal())
    except (ValueError, RecursionError):
        return None
    password = document.get("password") if isinstance(document, dict) else None
    return password if isinstance(password, str) else None
