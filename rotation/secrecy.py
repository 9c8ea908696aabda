"""Passwords: made here, and masked everywhere."""

from __future__ import annotations

import secrets
import string
from typing import NoReturn
from weakref import WeakKeyDictionary

# Letters and digits only: safe unquoted in a URL, a libpq string, YAML and a shell.
ALPHABET = string.ascii_letters + string.digits
LENGTH = 40  # 238 bits


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
