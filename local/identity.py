"""The managed identity endpoint of App Service, with tokens that the rest of the stack verifies.

    python -m local.identity --port N --state DIR [--identity NAME ...] [--system NAME]

Clients take `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` from the environment; `environment` gives
both. Identities follow from their names (`Identity.named`), so configuration can name an object id
before anything runs. The protocol: https://learn.microsoft.com/azure/app-service/overview-managed-identity
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import re
import secrets
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local.faults import Faults, check_cause
from local.process import announce
from local.serving import Site, log_to_stderr, serve
from local.storage import made_once, private_directory, write_private

if TYPE_CHECKING:
    from collections.abc import Iterable

API_VERSION = "2019-08-01"
PATH = "/msi/token"
TENANT = "5d1a0d7e-6f3c-4b5e-9a70-3c1f6d1b7a10"
ISSUER = f"https://sts.windows.net/{TENANT}/"
ALGORITHM = "RS256"
DEFAULT_LIFETIME = 86400  # seconds; the platform's tokens live about a day
# The query parameter that names an identity, and the field it is looked up by.
SELECTORS = {
    "client_id": "client_id",
    "principal_id": "principal_id",
    "object_id": "principal_id",
    "mi_res_id": "resource_id",
}
RESOURCE = re.compile(r"https://\S+|api://\S+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
NOT_FOUND = (
    "No User Assigned or Delegated Managed Identity found for specified "
    "ClientId/ResourceId/PrincipalId."
)


class TokenError(Exception):
    """A token that must not be accepted. The message says why and never holds the token."""


class AudienceError(TokenError):
    """A good token, meant for another service."""


@dataclass(frozen=True)
class Identity:
    name: str
    client_id: str
    principal_id: str
    resource_id: str

    @classmethod
    def named(cls, name: str) -> Identity:
        """The same ids for the same name, everywhere."""
        space = uuid.UUID(TENANT)
        return cls(
            name=name,
            client_id=str(uuid.uuid5(space, f"{name}/client")),
            principal_id=str(uuid.uuid5(space, f"{name}/principal")),
            resource_id=(
                f"/subscriptions/{space}/resourcegroups/local/providers/"
                f"Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
            ),
        )


def issue(
    identity: Identity, resource: str, state: Path, *, now: float, lifetime: int
) -> tuple[str, int]:
    """A signed token and the second it expires at."""
    issued = int(now)
    claims = {
        "aud": resource,
        "iss": ISSUER,
        "iat": issued,
        "nbf": issued,
        "exp": issued + lifetime,
        "appid": identity.client_id,
        "appidacr": "2",
        "idtyp": "app",
        "oid": identity.principal_id,
        "sub": identity.principal_id,
        "tid": TENANT,
        "uti": secrets.token_urlsafe(16),
        "ver": "1.0",
        "xms_mirid": identity.resource_id,
    }
    return jwt.encode(claims, signing_key(state), ALGORITHM), issued + lifetime


def signing_key(state: Path) -> bytes:
    """PEM. Made by the first process that asks; its public half lies beside it."""
    pem = made_once(state / "signing.key", _new_key)
    public = state / "signing.pub"
    if not public.exists():
        key = serialization.load_pem_private_key(pem, password=None)
        write_private(
            public,
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
        )
    return pem


def verification_key(state: Path) -> bytes:
    """PEM. A component may verify before the endpoint has started."""
    public = state / "signing.pub"
    if not public.exists():
        signing_key(state)
    return public.read_bytes()


def _new_key() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def verify(token: str, audience: str | Iterable[str], state_dir: Path) -> dict[str, Any]:
    """The claims of a token that this endpoint signed for `audience` and that is still valid.

    Raises `AudienceError` or `TokenError`.
    """
    public_key = verification_key(state_dir)
    accepted = [audience] if isinstance(audience, str) else list(audience)
    try:
        return jwt.decode(
            token,
            public_key,
            [ALGORITHM],
            audience=accepted,
            issuer=ISSUER,
            options={"require": ["exp", "nbf", "aud", "iss", "oid", "appid"]},
        )
    except jwt.InvalidAudienceError as error:
        raise AudienceError(f"the token is not meant for {' or '.join(accepted)}") from error
    except jwt.InvalidTokenError as error:
        raise TokenError(f"the token is not valid: {error}") from error


def header(state: Path) -> str:
    """The value of IDENTITY_HEADER that the endpoint with this state directory asks for."""
    return made_once(state / "identity-header", lambda: secrets.token_hex(16).encode()).decode()


def environment(state: Path, url: str) -> dict[str, str]:
    """What a client's environment needs; `url` is the one the endpoint announced."""
    return {"IDENTITY_ENDPOINT": url, "IDENTITY_HEADER": header(state)}


class Endpoint:
    """The identities of one app."""

    def __init__(
        self, state: Path, assigned: Iterable[Identity], system: Identity | None, lifetime: int
    ) -> None:
        self._state = state
        self._system = system
        self._all = [*assigned, *([system] if system else [])]
        self._lifetime = lifetime
        self._header = header(state)
        signing_key(state)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get(PATH, self.token)
        Faults(_ordered).install(app)
        return app

    async def token(self, request: web.Request) -> web.Response:
        given = request.headers.get("X-IDENTITY-HEADER", "")
        if not hmac.compare_digest(given.encode(), self._header.encode()):
            raise _refusal(401, "The X-IDENTITY-HEADER header is missing or wrong.")
        if request.query.get("api-version") != API_VERSION:
            raise _refusal(400, f"Specify the query parameter api-version={API_VERSION}.")
        resource = request.query.get("resource", "")
        if not RESOURCE.fullmatch(resource):
            raise _refusal(400, f"The resource {resource!r} is no absolute URI and no GUID.")
        return self._answer(self._identity(request), resource)

    def _identity(self, request: web.Request) -> Identity:
        given = {SELECTORS[key]: request.query[key] for key in SELECTORS if key in request.query}
        if len(given) > 1:
            raise _refusal(400, f"Name the identity once, not by {' and '.join(given)}.")
        for field, value in given.items():
            for identity in self._all:
                if getattr(identity, field).lower() == value.lower():
                    return identity
        if given or self._system is None:
            raise _refusal(400, NOT_FOUND)
        return self._system

    def _answer(self, identity: Identity, resource: str) -> web.Response:
        now = time.time()
        token, expires = issue(identity, resource, self._state, now=now, lifetime=self._lifetime)
        return web.json_response(
            {
                "access_token": token,
                "client_id": identity.client_id,
                "expires_on": str(expires),
                "not_before": str(int(now)),
                "resource": resource,
                "token_type": "Bearer",
            },
            headers={"Cache-Control": "no-store"},
        )


def _ordered(status: int, cause: str | None) -> dict[str, Any] | str:
    """The body of a failure that a test ordered; `page` is what a proxy in between would show."""
    check_cause(cause, ["page"])
    if cause is not None:
        return "<html><title>Sign in</title><body>Sign in to go on.</body></html>"
    return _problem(status, "This failure was ordered.")


def _problem(status: int, message: str) -> dict[str, Any]:
    return {"statusCode": status, "message": message, "correlationId": str(uuid.uuid4())}


def _refusal(status: int, message: str) -> web.HTTPException:
    kind = {400: web.HTTPBadRequest, 401: web.HTTPUnauthorized}[status]
    return kind(text=json.dumps(_problem(status, message)), content_type="application/json")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m local.identity", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument(
        "--identity", action="append", default=[], help="name of a user-assigned identity"
    )
    parser.add_argument("--system", help="name of the system-assigned identity, if there is one")
    parser.add_argument(
        "--lifetime", type=int, default=DEFAULT_LIFETIME, help="of tokens, in seconds"
    )
    options = parser.parse_args(argv)
    log_to_stderr()
    endpoint = Endpoint(
        private_directory(options.state),
        [Identity.named(name) for name in options.identity],
        Identity.named(options.system) if options.system else None,
        options.lifetime,
    )
    asyncio.run(serve([Site(endpoint.app(), options.port)], lambda urls: announce(urls[0] + PATH)))


if __name__ == "__main__":
    main()
