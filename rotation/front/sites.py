"""Whether a request comes from our own site, as the browser that sends it says.

Programs say nothing of it, and need a key or token that no other site has. A browser sends what it
keeps for us with the requests of any site: these must come from a page of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rotation.front.problems import Problem
from rotation.model.reasons import Code

if TYPE_CHECKING:
    import azure.functions as func

PORTS = {"https": 443, "http": 80}
Origin = tuple[str, str, int]


def demand_own(request: func.HttpRequest, public_url: str | None) -> None:
    """Raises `Problem` for a request that a page of another site sent."""
    if not is_own(request, public_url):
        detail = "this was sent from another site; open the page and decide there"
        raise Problem(403, Code.FORM_FOREIGN, detail)


def is_own(request: func.HttpRequest, public_url: str | None) -> bool:
    """Whether no header says that another site sent a request: fetch metadata, `Origin`, `Referer`.

    An opaque origin (`null`: a sandboxed frame, a file) is nobody's.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in {"same-origin", "none"}:
        return False
    own = _own(request, public_url)
    said = (request.headers.get("Origin"), request.headers.get("Referer"))
    return all(_origin(address) in own for address in said if address is not None)


def _own(request: func.HttpRequest, public_url: str | None) -> set[Origin]:
    """The origins of the app: where the request was sent to, before and behind a proxy, and the
    app's public address."""
    sent = urlsplit(request.url)
    host = request.headers.get("Host") or sent.netloc
    addresses = [f"{sent.scheme}://{sent.netloc}", f"{sent.scheme}://{host}", public_url or ""]
    return {origin for origin in map(_origin, addresses) if origin is not None}


def _origin(address: str) -> Origin | None:
    """Scheme, host and port of a URL; None for what is no address of a web server."""
    try:
        parts = urlsplit(address)
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
