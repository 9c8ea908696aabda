"""SCRAM-SHA-256 verifiers as PostgreSQL stores them, after RFC 5802 and RFC 7677.

Made here rather than by libpq, which computes as many rounds as the server asks for with the
interpreter locked: whoever may change a setting of the server would decide how long that takes, or
how weak the verifier is.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64encode
from typing import TYPE_CHECKING

from rotation.model.errors import Invalid
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from rotation.secrecy import Secret

FEWEST, MOST = 4096, 100_000  # rounds; 4096 is PostgreSQL's own default
SALT = 16  # bytes, as PostgreSQL's own


def rounds(asked: str | None) -> int:
    """The rounds that a verifier gets: the server's `scram_iterations`, within bounds.

    Servers before PostgreSQL 16 have no such setting.
    """
    number = int(asked[:9]) if asked and asked.isdecimal() else FEWEST
    return min(max(number, FEWEST), MOST)


def verifier(password: Secret, iterations: int, salt: bytes | None = None) -> str:
    """A verifier as servers store it, `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.

    Raises `Invalid` for a password that is not ASCII, which SASLprep might change.
    """
    clear = password.reveal()
    if not clear.isascii() or not clear.isprintable():
        raise Invalid(Code.FORMAT, "a password that is set must be of printable ASCII characters")
    salt = salt or secrets.token_bytes(SALT)
    salted = hashlib.pbkdf2_hmac("sha256", clear.encode(), salt, iterations)
    stored = hashlib.sha256(_keyed(salted, b"Client Key")).digest()
    server = _keyed(salted, b"Server Key")
    parts = [b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{parts[0]}${parts[1]}:{parts[2]}"


def _keyed(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")
