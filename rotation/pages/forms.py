"""Proves that a posted form came from a page of ours, for this visitor and approval event.

Every form carries a token made with something that only this visitor and the app know: the cookie
of a signed-in browser, the function key, or the signed link. Cross-site forms can send neither.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from rotation.front.problems import LONGEST_BODY, Problem, media_type
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Mapping

    import azure.functions as func

# The prefix binds the cookie to this host and to TLS; browsers take loopback for secure.
COOKIE = "__Host-rotation-form"
MEDIA_TYPE = "application/x-www-form-urlencoded"


def token(secret: str, *context: str) -> str:
    """The token of a form; `context` is what binds it: visitor, rotation, approval event."""
    message = "\x1f".join(context).encode()
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def matches(given: str, secret: str, *context: str) -> bool:
    """Whether a posted token is the one of this secret and context; in constant time."""
    return hmac.compare_digest(given.encode(), token(secret, *context).encode())


def cookie(headers: Mapping[str, str]) -> str | None:
    """The browser's own secret, as `fresh_cookie` set it before; None if there is none."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get("Cookie") or "")
    except CookieError:
        return None
    morsel = jar.get(COOKIE)
    return morsel.value if morsel and len(morsel.value) >= 32 else None


def fresh_cookie() -> tuple[str, str]:
    """A new secret for a browser, and its Set-Cookie header; it ends with the browser's session."""
    value = secrets.token_urlsafe(32)
    return value, f"{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict"


def read(request: func.HttpRequest) -> dict[str, str]:
    """The fields of a posted form, each given once. Raises `Problem`."""
    kind = media_type(request)
    if kind != MEDIA_TYPE:
        raise Problem(
            415, Code.MEDIA_TYPE, f"a decision is sent as {MEDIA_TYPE}, not as {kind or 'nothing'}"
        )
    body = request.get_body()
    if len(body) > LONGEST_BODY:
        raise Problem(
            413, Code.TOO_LARGE, f"the form has {len(body)} bytes; at most {LONGEST_BODY} are read"
        )
    try:
        fields = parse_qs(
            body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=20
        )
    except ValueError:
        raise Problem(400, Code.BAD_REQUEST, "the form cannot be read") from None
    if any(len(values) != 1 for values in fields.values()):
        raise Problem(400, Code.BAD_REQUEST, "a field of the form is given twice")
    return {name: values[0] for name, values in fields.items()}
