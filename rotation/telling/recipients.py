"""Adds signed links to the events that ask for a decision, just before they are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.links import SignedLinks, decision_url, validity
from rotation.model import wire
from rotation.model.catalogue import PREFIX, Announcement, announcement_facts
from rotation.telling.messages import Recipient

if TYPE_CHECKING:
    from rotation.config import Approval
    from rotation.contracts.edges import Readers
    from rotation.model.wire import JsonObject

CARRIERS = {PREFIX + kind for kind in Announcement if announcement_facts(kind).asks}


def with_recipients(edges: Readers, event: JsonObject, approval: Approval) -> JsonObject:
    """The event with a link for each of its approvers who has a mail address, if it asks for a
    decision. Whoever is none by now gets no link."""
    settings = edges.settings
    if event["eventType"] not in CARRIERS or settings.sign_in != "links" or not settings.link_key:
        return event
    signed, expires = SignedLinks(edges), edges.now() + validity(approval)
    rotation = event["data"]["rotation"]
    asked = {name.casefold() for name in event["data"]["approvers"]}
    recipients = [
        wire.value_of(
            Recipient(
                approver=approver,
                link=decision_url(signed.mint(rotation, approver, expires), settings.public_url),
                expires=wire.moment(expires),
            )
        )
        for approver in approval.addresses
        if approver.casefold() in asked
    ]
    return {**event, "data": {**event["data"], "recipients": recipients}}
