"""The form by which an approver says that a password has leaked, on the page of its credential.

A link there opens it (`?do=incident`): nothing is done by being fetched. What it may cost is said,
and the credential's name is typed once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from rotation.front import approvers, incidents
from rotation.front.problems import Problem, text
from rotation.model.reasons import Code
from rotation.pages import acting, forms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.config import Credential
    from rotation.contracts.edges import Readers
    from rotation.model.record import Cut
    from rotation.pages.visitors import Visitor

DEED = "incident"


@dataclass(frozen=True)
class Alarm:
    """The form of an incident. `barred` says why this visitor may not call one, `uncut` why none
    that ends what serves first; `roles` are the slots' roles."""

    token: str
    action: str
    opens: str
    barred: str | None
    uncut: str | None
    roles: Mapping[str, str]
    addresses: list[str]
    opened: bool


def alarm(who: Visitor, name: str, credential: Credential, given: Mapping[str, str]) -> Alarm:
    """The form of an incident of a credential, opened where a query says so."""
    own = who.credential_path(name)
    query = urlencode(who.query)
    action = f"{own}?{query}" if query else own
    return Alarm(
        token=forms.token(who.secret, *_bound_to(who, name)),
        action=action,
        opens=f"{action}{'&' if query else '?'}do={DEED}",
        barred=_why_not(who, credential, "after") if who.decider else None,
        uncut=_why_not(who, credential, "first") or _off(name, credential),
        roles={slot: login.role for slot, login in credential.slots.items()},
        addresses=credential.approval.addresses,
        opened=given.get("do") == DEED,
    )


def _bound_to(who: Visitor, name: str) -> tuple[str, str, str]:
    return who.subject, name, DEED


def _why_not(who: Visitor, credential: Credential, cut: Cut) -> str | None:
    """Why a visitor may not call such an incident; None if they may."""
    try:
        incidents.demand_caller(_speaker(who, credential, {}), credential, cut)
    except Problem as refused:
        return refused.reason.text
    return None


def _off(name: str, credential: Credential) -> str | None:
    if credential.incident == "allowed":
        return None
    return f"credentials.yaml does not say `incident: allowed` of {name}"


def _speaker(who: Visitor, credential: Credential, given: Mapping[str, str]) -> incidents.Speaker:
    """Whoever calls, who has signed in or is named in the form. Raises `Problem`."""
    decider = who.decider or (acting.named(given) if given else None)
    if decider is None:
        return incidents.Speaker(None, "", approvers.claimed_identity(""), person=False)
    known = approvers.with_object_id(decider.identity, decider.address, credential)
    return incidents.Speaker(decider, decider.by, known, person=who.person)


async def call(
    edges: Readers, client: Client, who: Visitor, name: str, given: Mapping[str, str]
) -> str:
    """Calls the incident that a posted form says, and returns its id. Raises `Problem`."""
    if not forms.matches(given.get("token", ""), who.secret, *_bound_to(who, name)):
        raise Problem(403, Code.BAD_REQUEST, acting.STALE)
    if given.get("sure") != "yes":
        raise Problem(
            400, Code.BAD_REQUEST, "nothing was done: tick the box that says what happens"
        )
    credential = edges.configuration.credential(name)
    line = {key: " ".join(value.split()) for key, value in given.items()}
    text(line, "reason", required=True)
    request = incidents.asked(
        edges, name, _speaker(who, credential, given), incidents.wish(line, credential)
    )
    return (await incidents.call(client, request)).rotation
