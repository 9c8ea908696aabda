"""Who decides: what the platform's sign-in says about a caller, and what `approvers` allows.

Claims as App Service hands them over: https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rotation import rotations
from rotation.planning import same_person

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from azure.durable_functions import DurableOrchestrationClient

    from rotation.config import Approval
    from rotation.edges import Edges
    from rotation.settings import Settings

HEADER = "X-MS-CLIENT-PRINCIPAL"
LONGEST_HEADER = 64 * 1024

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
    """Somebody whom Entra has signed in. `names` are all that are known of them, id included."""

    id: str
    name: str
    names: frozenset[str]
    groups: frozenset[str]
    roles: frozenset[str]
    person: bool
    groups_cut: bool


@dataclass(frozen=True)
class Decider:
    """Somebody who wants to decide.

    `by` is how the record names them, `entries` are those that `approvers` may have for them,
    `known_as` is what four eyes looks at. `keyed`: they hold a function key and named themselves.
    """

    by: str
    channel: str
    entries: frozenset[str]
    known_as: frozenset[str]
    keyed: bool = False
    groups_cut: bool = False


@dataclass(frozen=True)
class Refused:
    """They may not decide this; nothing was changed."""

    reason: str


def signed_in(settings: Settings, headers: Mapping[str, str]) -> Principal | str:
    """The platform's principal, or why there is none to be trusted.

    The platform takes forged headers away only while its sign-in is on: else none is believed.
    """
    if not settings.easy_auth:
        return (
            "sign-in is not in force on this app (WEBSITE_AUTH_ENABLED is not True): "
            "turn on App Service authentication, or set ROTATION_SIGN_IN to links"
        )
    given = headers.get(HEADER)
    if not given:
        return "the request carries no signed-in principal"
    return principal(given)


def principal(header: str) -> Principal | str:
    """Reads base64 of `{"auth_typ", "claims": [{"typ", "val"}], "name_typ", "role_typ"}`."""
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


def _claims(document: Any) -> list[tuple[str, str]] | None:
    found = document.get("claims") if isinstance(document, dict) else None
    if not isinstance(found, list) or document.get("auth_typ") != "aad":
        return None
    return [
        (claim["typ"], claim["val"])
        for claim in found
        if isinstance(claim, dict)
        and isinstance(claim.get("typ"), str)
        and isinstance(claim.get("val"), str)
    ]


def _principal(claims: list[tuple[str, str]], role_type: str) -> Principal | str:
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
        names=frozenset([own, *names]),
        groups=frozenset(values(*GROUPS)),
        roles=frozenset(values(*ROLES, *([role_type] if role_type else []))),
        # An app's own token has its object id as its subject; a person's subject is another.
        person=values(*KIND) != ["app"] and own not in values(*SUBJECT),
        groups_cut=bool(values(*OVERAGE)),
    )


def _printable(text: str) -> str:
    return "".join(sign for sign in text if sign.isprintable())[:200]


def entra(found: Principal, channel: str) -> Decider:
    """Object id, groups and app roles count. Mail addresses do not: tenants can make them up."""
    return Decider(
        by=found.name,
        channel=channel,
        entries=frozenset({found.id} | found.groups | found.roles),
        known_as=found.names | {found.name},
        groups_cut=found.groups_cut,
    )


def recipient(address: str) -> Decider:
    """Whoever holds the link that was sent to this address."""
    names = frozenset({address})
    return Decider(by=address, channel="link", entries=names, known_as=names)


def keyed(by: str, channel: str) -> Decider:
    """A function key proves possession; the name is the caller's word."""
    names = frozenset({by})
    return Decider(by=by, channel=channel, entries=names, known_as=names, keyed=True)


def refusal(
    decider: Decider, approval: Approval, requested_by: str, choice: Literal["approve", "reject"]
) -> str | None:
    """Why they may not, or None.

    Without any approvers a function key is enough, since there is nobody to compare with; nobody
    can decide by sign-in or link.
    """
    listed = _folded(approval.approvers)
    if not listed and not decider.keyed:
        return "this credential has no approvers: nobody may decide until credentials.yaml has some"
    if listed and not listed & _folded(decider.entries):
        return f"the approvers of this credential do not include {decider.by}{_cut(decider)}"
    if choice == "reject" or approval.allow_requester:
        return None
    if any(same_person(name, requested_by) for name in decider.known_as):
        return f"somebody else must approve it: {decider.by} asked for this rotation"
    return None


def _folded(names: Iterable[str]) -> set[str]:
    return {name.strip().casefold() for name in names}


def _cut(decider: Decider) -> str:
    if not decider.groups_cut:
        return ""
    return (
        "; their sign-in has too many groups to list them, "
        "so name their object id or an app role instead of a group"
    )


async def submit(
    edges: Edges,
    client: DurableOrchestrationClient,
    record: dict[str, Any],
    decider: Decider,
    choice: Literal["approve", "reject"],
    comment: str,
) -> rotations.NotWaiting | rotations.Recorded | rotations.Accepted | rotations.TooLate | Refused:
    """Hands a decision over if it may count, and says what became of it."""
    if not waits(record):
        return rotations.NotWaiting(record)
    approval = edges.configuration.credential(record["credential"]).approval
    reason = refusal(decider, approval, record["request"]["requestedBy"], choice)
    if reason is not None:
        return Refused(reason)
    given = rotations.Decision(
        decision=choice,
        by=decider.by,
        channel=decider.channel,
        comment=comment,
        known_as=tuple(sorted(decider.known_as)),
    )
    return await rotations.decide(client, record, given)


def waits(record: dict[str, Any]) -> bool:
    """Whether the rotation takes a decision now."""
    return gate(record) is not None and record["outcome"] is None


def gate(record: dict[str, Any]) -> str | None:
    """The name of the event that it waits for."""
    return (record["approval"] or {}).get("event")
