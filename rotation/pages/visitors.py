"""The visitor of a page, who has signed in, has a function key, or has a signed link."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import azure.functions as func

from rotation import log
from rotation.front import approvers, rights
from rotation.front.principals import signed_in
from rotation.front.problems import Problem
from rotation.links import Expired, Forged, Link, SignedLinks
from rotation.model.errors import ConfigurationError, RotationError
from rotation.model.reasons import Code
from rotation.pages import forms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rotation.contracts.edges import Readers
    from rotation.front.approvers import Decider

PAGES = "/api/pages"


@dataclass(frozen=True)
class Visitor:
    """Somebody at a page, and how they came in.

    `decider` is None for holders of a function key, who name themselves in the form. `secret` is
    known to them and the app alone. `query` is what links to other pages must carry on. `person`:
    the platform has signed somebody in, and no application.
    """

    decider: Decider | None
    secret: str = field(repr=False)
    way: str
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    address: str | None = None  # of their page, if it is not the rotation's own
    set_cookie: str | None = field(default=None, repr=False)
    person: bool = False

    @property
    def subject(self) -> str:
        """Whom the tokens of forms are made for."""
        return self.decider.by if self.decider else "key"

    def path(self, rotation: str) -> str:
        """The path of a rotation's page, with what lets this visitor in."""
        own = self.address or f"{PAGES}/rotations/{quote(rotation, safe='')}"
        return f"{own}?{urlencode(self.query)}" if self.query else own

    def wave_path(self, wave: str) -> str:
        """The path of a wave's page, with what lets this visitor in."""
        own = f"{PAGES}/waves/{quote(wave, safe='')}"
        return f"{own}?{urlencode(self.query)}" if self.query else own

    def credential_path(self, credential: str) -> str:
        """The path of a credential's page, without what lets this visitor in."""
        return f"{PAGES}/credentials/{quote(credential, safe='')}"


def page_auth_level(edges: Readers) -> func.AuthLevel:
    """Whether the host asks for a function key before it shows a page.

    With Entra the platform signs people in, and they have no key. In doubt a key is needed.
    """
    try:
        signs_in = edges.settings.sign_in == "entra"
    except ConfigurationError:
        return func.AuthLevel.FUNCTION
    return func.AuthLevel.ANONYMOUS if signs_in else func.AuthLevel.FUNCTION


def visitor(edges: Readers, req: func.HttpRequest) -> Visitor:
    """The visitor who sent a request. Raises `Problem` where nobody has signed in."""
    if edges.settings.sign_in == "entra":
        principal = signed_in(edges.settings, req.headers)
        if isinstance(principal, str):
            raise Problem(403, Code.NOT_SIGNED_IN, principal)
        rights.demand_readable(edges)
        secret, header = forms.cookie(req.headers), None
        if secret is None:
            secret, header = forms.fresh_cookie()
        known = approvers.entra(principal, "page")
        return Visitor(known, secret, "entra", set_cookie=header, person=principal.person)
    # The host let them in, so there was a key; as a header it needs no carrying on.
    code = req.params.get("code")
    key = req.headers.get("x-functions-key") or code or ""
    return Visitor(None, key, "key", {"code": code} if code else {})


def addressee(
    edges: Readers, links: SignedLinks, req: func.HttpRequest
) -> tuple[Visitor, str] | Expired:
    """The visitor with a valid link, and the rotation that it is for; or the link that expired.
    Raises `Problem`."""
    if edges.settings.sign_in != "links" or edges.settings.link_key is None:
        detail = "this app takes no signed links (ROTATION_SIGN_IN, ROTATION_LINK_KEY)"
        raise Problem(403, Code.LINK_INVALID, detail)
    token = req.params.get("link", "")
    match _read(links, token):
        case Forged():
            detail = "this link is not valid: it may be cut off; open it from the mail again"
            raise Problem(403, Code.LINK_INVALID, detail)
        case Expired() as expired:
            rights.demand_readable(edges)
            return expired
        case link:
            rights.demand_readable(edges)
            who = approvers.recipient(link.recipient)
            query, address = {"link": token}, f"{PAGES}/decision"
            return Visitor(who, token, "link", query, address), link.rotation


def _read(links: SignedLinks, token: str) -> Link | Expired | Forged:
    """What the token of a link says. Raises `Problem` where it cannot be checked.

    Anybody may ask for this page: why it cannot be checked is only for the log.
    """
    try:
        return links.read(token)
    except RotationError as error:
        log.event(
            "links.unavailable", level=logging.ERROR, code=str(error.code), problem=error.message
        )
        detail = "links cannot be checked just now; try again in a minute"
        raise Problem(503, Code.LINKS_UNAVAILABLE, detail) from None
