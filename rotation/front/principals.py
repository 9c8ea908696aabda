"""The signed-in principal, as the platform's sign-in names it in a header.

Claims as App Service hands them over: https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rotation.settings import Settings

HEADER = "X-MS-CLIENT-PRINCIPAL"
LONGEST_HEADER = 64 * 1024
LONGEST_NAME = 200

# The platform maps short claim names to long ones or not, depending on how it is set up.
_SCHEMAS = "http://schemas.microsoft.com/identity/claims/"
_SOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
_WS = "http://schemas.microsoft.com/ws/2008/06/identity/claims/"
OBJECT_ID = ("oid", f"{_SCHEMAS}objectidentifier")
SUBJECT = ("sub", f"{_SOAP}nameidentifier")
GROUPS = ("groups", f"{_WS}groups")
ROLES = ("roles", "role", f"{_WS}role")
NAMES = ("preferred_username", "upn", f"{_SOAP}upn", "email", f"{_SOAP}emailaddress")
DISPLAY = ("name", f"{_SOAP}name")
KIND = ("idtyp",)
OVERAGE = ("hasgroups", "_claim_names")  # more groups than a token holds


@dataclass(frozen=True)
class Principal:
    """A person or program that Entra has signed in. `names` are all known ones, `id` included."""

    id: str
    name: str
    names: frozenset[str]
    groups: frozenset[str]
    roles: frozenset[str]
    person: bool
    groups_cut: bool


def signed_in(settings: Settings, headers: Mapping[str, str]) -> Principal | str:
    """The principal that the platform has signed in, or why there is none to be trusted.

    The platform takes forged headers away only while its sign-in is on: else none is believed.
    """
    if not settings.easy_auth:
        return (
            "sign-in is not in force on this app (WEBSITE_AUTH_ENABLED is not True): "
            "turn on App Service authentication, or set ROTATION_SIGN_IN to links"
        )
    given = headers.get(HEADER)
    if not given:
        return (
            "the request carries no signed-in principal: open the app at its own address and sign "
            "in; a program sends a token of its own as well as the key"
        )
    return principal(given)


def principal(header: str) -> Principal | str:
    """The principal in a header, or why it cannot be read.

    The header is base64 of `{"auth_typ", "claims": [{"typ", "val"}], "name_typ", "role_typ"}`.
    """
    unreadable = "the signed-in principal cannot be read"
    if len(header) > LONGEST_HEADER:
        return unreadable
    try:
        document = json.loads(base64.b64decode(header, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return unreadable
    claims = _claims(document)
    if claims is None:
        return unreadable
    return _principal(claims, str(document.get("role_typ") or ""))


def _claims(document: object) -> list[tuple[str, str]] | None:
    """The types and values of an Entra principal's claims; None for any other document."""
    if not isinstance(document, dict) or document.get("auth_typ") != "aad":
        return None
    listed = document.get("claims")
    if not isinstance(listed, list):
        return None
    return [
        (claim["typ"], claim["val"])
        for claim in listed
        if isinstance(claim, dict)
        and isinstance(claim.get("typ"), str)
        and isinstance(claim.get("val"), str)
    ]


def _principal(claims: list[tuple[str, str]], role_type: str) -> Principal | str:
    """The principal that the claims describe, or what they lack."""

    def values(*types: str) -> list[str]:
        return [value for kind in types for typ, value in claims if typ == kind and value.strip()]

    ids = values(*OBJECT_ID)
    if len(set(ids)) != 1:
        return "the signed-in principal has no object id"
    own, names = ids[0], values(*NAMES)
    shown = (*names, *values(*DISPLAY), own)
    return Principal(
        id=own,
        name=_printable(shown[0]),
        names=frozenset(name[:LONGEST_NAME] for name in (own, *names)),
        groups=frozenset(values(*GROUPS)),
        roles=frozenset(values(*ROLES, *([role_type] if role_type else []))),
        # An app's own token has its object id as its subject; a person's subject is another.
        person=values(*KIND) != ["app"] and own not in values(*SUBJECT),
        groups_cut=bool(values(*OVERAGE)),
    )


def _printable(text: str) -> str:
    """The text without what is not printable, shortened."""
    return "".join(sign for sign in text if sign.isprintable())[:LONGEST_NAME]
