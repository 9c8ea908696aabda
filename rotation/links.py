"""Links to a rotation, and signed links: the way in without Entra sign-in or function key.

A link lets one recipient decide one rotation of one app until it expires. It is made just before
it is sent (`telling.recipients`), so that it is stored nowhere here. The key is a Key Vault secret;
its newest and its previous enabled version are accepted: writing a new one cuts off no link.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import log2
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from itsdangerous import BadData, URLSafeSerializer

from rotation.model.errors import ConfigurationError, EdgeError, RotationError, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import SecretTarget

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from rotation.config import Approval
    from rotation.contracts.edges import Readers

PURPOSE = "rotation: decide"
SHORTEST_KEY = 32  # characters
LEAST_BITS = 72.0  # as `bits` estimates them; the least seen of 20 000 keys of 128 bits was 80
REPEATED = 4  # characters that stand in a key twice say nothing the second time
LONGEST_TOKEN = 1024
SHORTEST_VALIDITY = timedelta(hours=1)
# How long keys are kept, so that nobody can hammer the vault with bad links: as long as links fit
# them, when a link fits none (its key may be newer), and when none could be read.
KEYS_LIVE = timedelta(minutes=5)
KEYS_NEW = timedelta(seconds=30)
FAILURES_LIVE = timedelta(seconds=30)
LONGEST_WAIT = 20.0  # seconds, for somebody else who is reading the keys


@dataclass(frozen=True)
class Link:
    """The claims of a valid token: who may decide which rotation, and until when."""

    rotation: str
    recipient: str
    expires: datetime


@dataclass(frozen=True)
class Expired:
    """The token was valid until `at`: it shows nothing any more, and its recipient can ask for
    another."""

    at: datetime
    rotation: str
    recipient: str


@dataclass(frozen=True)
class Forged:
    """The token was not made here, is for another purpose or app, is cut off, or its key was
    withdrawn."""


class SignedLinks:
    """Makes and reads tokens with the keys that the vault has now. Many threads may share one."""

    def __init__(self, edges: Readers) -> None:
        self._edges = edges
        self._lock = Lock()
        self._keys: list[str] = []
        self._read = self._failed = datetime.min.replace(tzinfo=UTC)
        self._failure: RotationError | None = None

    def mint(self, rotation: str, recipient: str, expires: datetime) -> str:
        """A signed token that lets the recipient decide the rotation until `expires`.

        Raises `ConfigurationError`, and what the vault raises.
        """
        claims = {"rotation": rotation, "to": recipient, "exp": int(expires.timestamp())}
        return str(self._serializer(self._current(KEYS_LIVE)).dumps(claims))

    def read(self, token: str) -> Link | Expired | Forged:
        """The claims of a token, or why it is not valid. Raises what `mint` raises."""
        if not token or len(token) > LONGEST_TOKEN or not token.isascii():
            return Forged()
        claims = self._claims(token, KEYS_LIVE)
        if claims is None:
            # Another instance may have signed it with a key that is newer than ours.
            claims = self._claims(token, KEYS_NEW)
        if claims is None:
            return Forged()
        expires = datetime.fromtimestamp(claims["exp"], UTC)
        if self._edges.now() >= expires:
            return Expired(expires, claims["rotation"], claims["to"])
        return Link(claims["rotation"], claims["to"], expires)

    def _claims(self, token: str, live: timedelta) -> dict[str, Any] | None:
        """The claims of a token, or None where none of the keys, at most `live` old, signed it."""
        try:
            claims: dict[str, Any] = self._serializer(self._current(live)).loads(token)
        except BadData:
            return None
        return claims

    def _serializer(self, keys: list[str]) -> URLSafeSerializer:
        """The signer for this app's address: what a test environment signs is worth nothing in
        production, whatever its key is."""
        return URLSafeSerializer(
            keys,
            salt=f"{PURPOSE} at {_audience(self._edges.settings.public_url)}",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def _current(self, live: timedelta) -> list[str]:
        """The keys, read at most `live` ago; the one that signs is the last, as itsdangerous wants.

        One thread reads for all.
        """
        if not self._lock.acquire(timeout=LONGEST_WAIT):
            raise Unavailable(
                Code.LINKS_UNAVAILABLE, "the key that signs links is still being read"
            )
        try:
            now = self._edges.now()
            if self._keys and now < self._read + live:
                return self._keys
            if self._failure is None or now >= self._failed + FAILURES_LIVE:
                self._renew(now)
            if self._failure is not None and now >= self._read + KEYS_LIVE:
                raise self._failure.with_traceback(None)
            return self._keys
        finally:
            self._lock.release()

    def _renew(self, now: datetime) -> None:
        """Reads the keys anew, or remembers that they cannot be read."""
        try:
            self._keys, self._read, self._failure = read_keys(self._edges), now, None
        except RotationError as error:
            self._failure, self._failed = error, now


def _audience(public_url: str | None) -> str:
    """The app's own address, in one spelling. Raises `ConfigurationError` where it is not known."""
    if public_url is None:
        problem = "ROTATION_PUBLIC_URL: not set, and signed links need it"
        raise ConfigurationError("app settings", [problem])
    parts = urlsplit(public_url)
    port = parts.port or {"https": 443}.get(parts.scheme, 80)
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"


def read_keys(edges: Readers) -> list[str]:
    """The keys: last the newest enabled version's value, before it the previous one's if random.

    Raises `ConfigurationError`, and of the vault's errors the kind: where it looked is a setting.
    """
    url = edges.settings.link_key
    if url is None:
        raise ConfigurationError(
            "app settings", ["ROTATION_LINK_KEY: not set, and signed links need it"]
        )
    try:
        values = _values(edges, url)
    except EdgeError as error:
        text = "the secret that ROTATION_LINK_KEY names cannot be read"
        raise type(error)(error.code, text, retry_after=error.retry_after) from error
    if not values or not is_random(values[0]):
        problem = (
            "ROTATION_LINK_KEY: the secret that it names needs an enabled version of at least "
            f"{SHORTEST_KEY} random characters, without spaces: openssl rand -base64 48"
        )
        raise ConfigurationError("app settings", [problem])
    return [value for value in reversed(values) if is_random(value)]


def _values(edges: Readers, url: str) -> list[str]:
    """The values of the two newest enabled versions, the newest first."""
    parts = urlsplit(url)
    vault, name = edges.vault(f"https://{parts.netloc}"), parts.path.rpartition("/")[2]
    secret = SecretTarget(name)
    enabled = [version for version in vault.versions(secret) if version.enabled]
    current = vault.current(secret)
    # Versions of the same second come in any order; which one is current is certain.
    enabled.sort(key=lambda version: current is not None and version.version != current.version)
    return [vault.value(SecretTarget(name, version.version)).reveal() for version in enabled[:2]]


def is_random(key: str) -> bool:
    """Whether a key may have been drawn by lot. It finds slips; somebody's clever idea may pass."""
    if len(key) < SHORTEST_KEY or not key.isascii() or any(sign <= " " for sign in key):
        return False
    return bits(key) >= LEAST_BITS


def bits(key: str) -> float:
    """An estimate of how many bits of a key there are to guess.

    The entropy of its characters, or of the steps from one to the next where that is less, times
    the number of characters that are not part of a repeated piece.
    """
    steps = (ord(two) - ord(one) for one, two in pairwise(key))
    return _unrepeated(key) * min(_entropy(key), _entropy(steps))


def _entropy(signs: Iterable[Hashable]) -> float:
    """The Shannon entropy of each sign, in bits."""
    counted = Counter(signs)
    total = counted.total()
    return sum(-count / total * log2(count / total) for count in counted.values())


def _unrepeated(key: str) -> int:
    """The number of characters that do not repeat a piece that stood before."""
    seen: set[str] = set()
    repeated: set[int] = set()
    for start in range(len(key) - REPEATED + 1):
        piece = key[start : start + REPEATED]
        if piece in seen:
            repeated.update(range(start, start + REPEATED))
        seen.add(piece)
    return len(key) - len(repeated)


def validity(approval: Approval) -> timedelta:
    """How long a signed link is valid: the time of two reminders, each of which brings a new link,
    and at least an hour."""
    return max(2 * approval.remind, SHORTEST_VALIDITY)


def decision_url(token: str, public_url: str | None) -> str:
    """The URL of the decision page for a token.

    The token is in the query: the Functions host records the paths of requests, and no queries.
    """
    return f"{public_url or ''}/api/pages/decision?link={quote(token, safe='')}"


def links(rotation: str, public_url: str | None) -> dict[str, str]:
    """The URLs of a rotation's record, approval and page; paths where `public_url` is not known."""
    base = public_url or ""
    return {
        "status": f"{base}/api/rotations/{rotation}",
        "approval": f"{base}/api/rotations/{rotation}/approval",
        "page": f"{base}/api/pages/rotations/{rotation}",
    }
