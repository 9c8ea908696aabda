"""Fetches a test's URL: one request, no redirects, no proxy, and never the metadata service.

The URLs come from credentials.yaml, which only its owner writes; still, an address that hands out
tokens to whoever asks on this network is refused, whatever name it hides behind.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3

from rotation.edges.bounded import Http, Https, within
from rotation.model.errors import Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import PLAIN, Answer

if TYPE_CHECKING:
    from rotation.model.world import Manner

LONGEST_BODY = 64 * 1024
SCHEMES = ("https", "http")
METADATA = (
    ipaddress.ip_network("169.254.0.0/16"),
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's own, which hosts ask for their goal state
    ipaddress.ip_network("fe80::/10"),
)


def fetch(url: str, timeout: float, manner: Manner = PLAIN, authority: str | None = None) -> Answer:
    """The answer to a request of the URL; `timeout` is in seconds, for all of it.

    `authority` is what vouches for an https server, PEM text or a file's path; public ones unless
    given. Raises `Unavailable` without an answer, `Invalid` for a URL that may not be fetched.
    """
    what = f"{manner.method} {url}"
    _check(what, url)
    trust = None if authority is None else trusting(authority)
    headers = urllib3.HTTPHeaderDict({"User-Agent": "credential-rotation"})
    headers.update(manner.headers)  # their names ignore case
    headers["Connection"] = "close"
    # Without retries a redirect is an answer too, and is not followed.
    with urllib3.PoolManager(retries=False, ssl_context=trust) as pool, within(timeout):
        pool.pool_classes_by_scheme = POOLS
        try:
            response = pool.request(
                manner.method,
                url,
                body=manner.body,
                headers=headers,
                timeout=urllib3.Timeout(total=timeout),
                preload_content=False,
            )
            with response:
                return Answer(response.status, response.read(LONGEST_BODY))
        except MetadataError as error:
            raise _metadata_refused(what, str(error)) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            text = f"{what} got no answer: {type(error).__name__}"
            raise Unavailable(Code.TEST_NO_ANSWER, text) from None


def trusting(authority: str) -> ssl.SSLContext:
    """What takes the certificates of one authority. Raises `Invalid`."""
    try:
        if authority.lstrip().startswith("-----BEGIN"):
            return ssl.create_default_context(cadata=authority)
        return ssl.create_default_context(cafile=authority)
    except (OSError, ValueError) as error:
        text = f"certificateAuthority of a test cannot be used: {type(error).__name__}"
        raise Invalid(Code.TEST_AUTHORITY, text) from None


def _check(what: str, url: str) -> None:
    """Raises for a URL that may not be fetched, as far as that shows without connecting.

    Names may resolve to something else a moment later: what counts is whom the connection reaches
    (`_checked_peer`).
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname:
        text = f"{what}: only http:// and https:// URLs with a host are fetched"
        raise Invalid(Code.TEST_URL, text)
    try:
        addresses = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        text = f"{what}: its host name does not resolve"
        raise Unavailable(Code.TEST_NO_ANSWER, text) from None
    for *_, address in addresses:
        if is_metadata(str(address[0])):
            raise _metadata_refused(what, str(address[0]))


def _metadata_refused(what: str, address: str) -> Invalid:
    """The error for a URL behind which the metadata service is."""
    text = f"{what}: {address} is where the metadata service is; use another address"
    return Invalid(Code.TEST_METADATA, text)


def is_metadata(address: str) -> bool:
    """Whether an IP address is one where a metadata service answers."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip in network for network in METADATA if network.version == ip.version)


class MetadataError(Exception):
    """A connection reached the address that the text names; nothing was sent over it."""


def _checked_peer(connected: socket.socket) -> socket.socket:
    """The socket, unless it has reached a metadata service. Raises `MetadataError`."""
    address = str(connected.getpeername()[0])
    if is_metadata(address):
        connected.close()
        raise MetadataError(address)
    return connected


class _CheckedHttp(Http):
    """An HTTP connection to anything but a metadata service."""

    def _new_conn(self) -> socket.socket:
        return _checked_peer(super()._new_conn())


class _CheckedHttps(Https):
    """An HTTPS connection to anything but a metadata service."""

    def _new_conn(self) -> socket.socket:
        return _checked_peer(super()._new_conn())


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _CheckedHttp


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _CheckedHttps


POOLS = {"http": _HttpPool, "https": _HttpsPool}
