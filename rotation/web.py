"""GET of a test's URL: one request, no redirects, no proxy, and never the metadata service.

The URLs come from credentials.yaml, which only its owner writes; still, an address that hands out
tokens to whoever asks on this network is refused, whatever name it hides behind.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import urllib3

from rotation.errors import Invalid, Unavailable
from rotation.model import Answer

LONGEST_BODY = 64 * 1024
METADATA = (
    ipaddress.ip_network("169.254.0.0/16"),
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's own, which hosts ask for their goal state
    ipaddress.ip_network("fe80::/10"),
)

_pool = urllib3.PoolManager(num_pools=8, retries=False)


def fetch(url: str, timeout: float) -> Answer:
    """`timeout` is in seconds, for the whole of it."""
    _refuse_metadata(url)
    try:
        response = _pool.request(
            "GET",
            url,
            headers={"User-Agent": "credential-rotation", "Connection": "close"},
            timeout=urllib3.Timeout(total=timeout),
            redirect=False,
            preload_content=False,
        )
        body = response.read(LONGEST_BODY)
        response.close()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unavailable(f"GET {url} got no answer: {type(error).__name__}") from None
    return Answer(response.status, body)


def _refuse_metadata(url: str) -> None:
    parts = urlsplit(url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unavailable(f"GET {url}: its host name does not resolve") from None
    for *_, address in found:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if any(ip in network for network in METADATA if network.version == ip.version):
            raise Invalid(f"GET {url}: {ip} is where the metadata service is; use another address")
