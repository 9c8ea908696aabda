"""Knows users by bearer tokens from a file, and tokens of the local identity endpoint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from local.cluster.errors import unauthorized
from local.identity import TokenError, verify

if TYPE_CHECKING:
    from pathlib import Path

# The application id of every AKS cluster's API server in Entra.
AKS_AUDIENCE = "6dae42f8-4368-4678-94ff-3960e28e3630"
MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True)
class User:
    name: str
    groups: frozenset[str]


class TokensError(ValueError):
    """A tokens file that cannot be read as one."""


def read_tokens(path: Path) -> dict[str, User]:
    """YAML or JSON: `{token: {user: name, groups: [name, ...]}}`."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    try:
        return {
            token: User(entry["user"], frozenset(entry.get("groups", ())))
            for token, entry in content.items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise TokensError(
            f"{path} is not of the form {{token: {{user: name, groups: [name]}}}}"
        ) from error


class Authenticator:
    """`identity_state`: the state directory of the identity endpoint; None accepts none of its
    tokens."""

    def __init__(self, tokens: dict[str, User], identity_state: Path | None) -> None:
        # Looked up by digest, so that the time a look-up takes tells nothing about a token.
        self._tokens = {_digest(token): user for token, user in tokens.items()}
        self._identity_state = identity_state

    def user(self, authorization: str | None) -> User:
        """The user that an Authorization header's value names. Raises 401."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthorized()
        known = self._tokens.get(_digest(token)) or self._from_identity(token)
        return User(known.name, known.groups | {AUTHENTICATED})

    def _from_identity(self, token: str) -> User:
        if self._identity_state is None:
            raise unauthorized()
        audiences = (AKS_AUDIENCE, f"{AKS_AUDIENCE}/")
        try:
            claims = verify(token, audiences, self._identity_state)
        except (TokenError, FileNotFoundError) as error:
            raise unauthorized() from error
        return User(claims["oid"], frozenset(claims.get("groups", ())))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
