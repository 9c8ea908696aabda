"""Links to a rotation, and signed links: the way in without Entra sign-in or function key.

A link lets one recipient decide one rotation until it expires. It is made just before it is sent
(`telling.recipients`), so that it is stored nowhere here. The key is a Key Vault secret; its newest
and its previous enabled version are accepted, so that writing a new one cuts off no link.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from itsdangerous import BadData, URLSafeSerializer

from rotation.model.errors import ConfigurationError
from rotation.model.targets import SecretTarget

if TYPE_CHECKING:
    from rotation.config import Credential
    from rotation.contracts.edges import Readers

PURPOSE = "rotation: decide"
SHORTEST_KEY = 32  # characters
LONGEST_TOKEN = 1024
SHORTEST_VALIDITY = timedelta(hours=1)
KEYS_LIVE = timedelta(minutes=5)  # in memory, so that nobody can hammer the vault with bad links


@dataclass(frozen=True)
class Link:
    """What a valid token says."""

    rotation: str
    recipient: str
    expires: datetime


@dataclass(frozen=True)
class Expired:
    """It was valid, until `at`."""

    at: datetime


@dataclass(frozen=True)
class Forged:
    """Not made here, made for another purpose, cut off, or signed with a key that was withdrawn."""


class SignedLinks:
    """Makes and reads links with the keys that the vault has now."""

    def __init__(self, edges: Readers) -> None:
        self._edges = edges
        self._keys: list[str] = []
        self._until: datetime | None = None

    def mint(self, rotation: str, recipient: str, expires: datetime) -> str:
        """The token. Raises `ConfigurationError`, and what the vault raises."""
        claims = {"rotation": rotation, "to": recipient, "exp": int(expires.timestamp())}
        return str(self._serializer().dumps(claims))

    def read(self, token: str) -> Link | Expired | Forged:
        """Raises what `mint` raises."""
        if not token or len(token) > LONGEST_TOKEN or not token.isascii():
            return Forged()
        try:
            claims = self._serializer().loads(token)
        except BadData:
            return Forged()
        expires = datetime.fromtimestamp(claims["exp"], UTC)
        if self._edges.now() >= expires:
            return Expired(expires)
        return Link(claims["rotation"], claims["to"], expires)

    def _serializer(self) -> URLSafeSerializer:
        return URLSafeSerializer(
            self._current_keys(),
            salt=PURPOSE,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def _current_keys(self) -> list[str]:
        """The one that signs comes last, as itsdangerous wants it."""
        now = self._edges.now()
        if self._until is None or now >= self._until:
            self._keys = read_keys(self._edges)
            self._until = now + KEYS_LIVE
        return self._keys


def read_keys(edges: Readers) -> list[str]:
    """The newest enabled version's value last, the previous one's before it."""
    url = edges.settings.link_key
    if url is None:
        raise ConfigurationError(
            "app settings", ["ROTATION_LINK_KEY: not set, and signed links need it"]
        )
    parts = urlsplit(url)
    vault, name = edges.vault(f"https://{parts.netloc}"), parts.path.rpartition("/")[2]
    secret = SecretTarget(name)
    enabled = [version for version in vault.versions(secret) if version.enabled]
    current = vault.current(secret)
    # Versions of the same second come in any order; which one is current is certain.
    enabled.sort(key=lambda version: current is not None and version.version != current.version)
    values = [vault.value(SecretTarget(name, version.version)).reveal() for version in enabled[:2]]
    if not values or any(len(value) < SHORTEST_KEY for value in values):
        problem = (
            f"ROTATION_LINK_KEY: secret {name} needs an enabled version, and at least "
            f"{SHORTEST_KEY} random characters in each"
        )
        raise ConfigurationError("app settings", [problem])
    return values[::-1]


def validity(credential: Credential) -> timedelta:
    """Each reminder brings a new link: the one before lives a little longer than until then."""
    return max(2 * credential.approval.remind, SHORTEST_VALIDITY)


def address(token: str, public_url: str | None) -> str:
    """In the query: the Functions host records the paths of requests, and no queries."""
    return f"{public_url or ''}/api/pages/decision?link={quote(token, safe='')}"


def links(rotation: str, public_url: str | None) -> dict[str, str]:
    """Paths only where the app does not know its own address (ROTATION_PUBLIC_URL)."""
    base = public_url or ""
    return {
        "status": f"{base}/api/rotations/{rotation}",
        "approval": f"{base}/api/rotations/{rotation}/approval",
        "page": f"{base}/api/pages/rotations/{rotation}",
    }
