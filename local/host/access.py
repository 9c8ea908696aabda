"""Access to functions: keys by level, and the platform's sign-in (Easy Auth) in its local form."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from enum import IntEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.host.settings import Keys

KEY_HEADER = "x-functions-key"
KEY_QUERY = "code"

PRINCIPAL = "x-ms-client-principal"
SIGN_IN_HEADER = "x-local-sign-in"
SIGN_IN_COOKIE = "LocalSignIn"
KNOWN_BROWSERS = ("Mozilla/", "Opera/")
OBJECT_ID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
NAME_ID = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"


class Level(IntEnum):
    """A master key (ADMIN) opens everything, a system key only webhooks."""

    ANONYMOUS = 0
    FUNCTION = 1
    SYSTEM = 2
    ADMIN = 3


class Doorkeeper:
    """Decides 401 (no key that is known) and 403 (a known key of another level)."""

    def __init__(self, keys: Keys) -> None:
        self._keys = (
            (keys.function, Level.FUNCTION),
            (keys.system, Level.SYSTEM),
            (keys.master, Level.ADMIN),
        )

    def level(self, request: web.Request) -> Level:
        """The level of the key that a request has: the header wins over the query.

        Every key is compared, in constant time.
        """
        text = request.headers.get(KEY_HEADER, request.query.get(KEY_QUERY, ""))
        given = text.encode("utf-8", "surrogateescape")  # a header may hold any bytes
        levels = [level for key, level in self._keys if hmac.compare_digest(given, key.encode())]
        return max(levels, default=Level.ANONYMOUS)

    def opens_function(self, request: web.Request, auth_level: str) -> bool:
        """Whether a request may call a function; `auth_level`: ANONYMOUS, FUNCTION or ADMIN, as
        the trigger has it."""
        needed = Level[auth_level.upper()]
        if needed is Level.ANONYMOUS:
            return True
        given = self.level(request)
        return given is not Level.SYSTEM and given >= needed

    def demand(self, request: web.Request, needed: Level) -> None:
        """Raises the refusal where a request's key does not open webhooks or administration."""
        given = self.level(request)
        if given is Level.ANONYMOUS:
            raise web.HTTPUnauthorized(text="")
        if given not in {needed, Level.ADMIN}:
            raise web.HTTPForbidden(text="")


class SignInError(Exception):
    """What was given as sign-in is not a principal."""


def principal_headers(request: web.Request) -> dict[str, str]:
    """The headers that the platform sets for whoever is signed in; none when nobody is.

    The sign-in is the base64 of `{"auth_typ", "claims": [{"typ", "val"}], "name_typ", "role_typ"}`
    in the header X-Local-Sign-In or the cookie LocalSignIn.
    """
    given = request.headers.get(SIGN_IN_HEADER) or request.cookies.get(SIGN_IN_COOKIE)
    if not given:
        return {}
    principal = read_principal(given)
    headers = {PRINCIPAL: given, f"{PRINCIPAL}-idp": str(principal.get("auth_typ", "aad"))}
    if identity := _claim(principal, OBJECT_ID, NAME_ID):
        headers[f"{PRINCIPAL}-id"] = identity
    if name := _claim(principal, str(principal.get("name_typ", "name"))):
        headers[f"{PRINCIPAL}-name"] = name
    return headers


def is_forged_by_another_site(request: web.Request) -> bool:
    """Whether the platform would refuse it as another site's, before the app hears of it.

    As documented: a POST with the session's cookie, of a known browser by its `User-Agent`, whose
    `Origin` or `Referer` is missing or another site's. A page without any referrer cannot post.
    https://learn.microsoft.com/azure/app-service/overview-authentication-authorization
    """
    if request.method != "POST" or SIGN_IN_COOKIE not in request.cookies:
        return False
    if not request.headers.get("User-Agent", "").startswith(KNOWN_BROWSERS):
        return False
    return not all(_is_own(request, name) for name in ("Origin", "Referer"))


def _is_own(request: web.Request, header: str) -> bool:
    try:
        return urlsplit(request.headers.get(header, "")).netloc.lower() == request.host.lower()
    except ValueError:
        return False


def read_principal(text: str) -> dict[str, Any]:
    """Raises `SignInError`."""
    try:
        principal = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise SignInError(f"the local sign-in is not base64 of JSON: {error}") from error
    claims = principal.get("claims") if isinstance(principal, dict) else None
    if not isinstance(claims, list) or not all(isinstance(claim, dict) for claim in claims):
        raise SignInError(
            'the local sign-in must be {"auth_typ": ..., "claims": [{"typ": ..., "val": ...}]}'
        )
    return dict(principal)


def _claim(principal: Mapping[str, Any], *types: str) -> str | None:
    for wanted in types:
        for claim in principal["claims"]:
            if claim.get("typ") == wanted:
                return str(claim.get("val"))
    return None
