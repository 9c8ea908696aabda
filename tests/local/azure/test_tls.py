"""The local authority, checked as strictly as Python 3.13 does by default."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from local.tls import Authority

if TYPE_CHECKING:
    from pathlib import Path


def shake_hands(authority: Authority, host: str, *served: str) -> str:
    """The subject that a strict client accepts for `host`."""
    server = authority.issue("server", *served).context()
    client = ssl.create_default_context(cafile=str(authority.bundle))
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    left, right = socket.socketpair()
    thread = threading.Thread(target=_serve, args=(server, right))
    thread.start()
    try:
        with left, client.wrap_socket(left, server_hostname=host) as connection:
            certificate = connection.getpeercert()
    finally:
        thread.join(10)
    assert certificate is not None
    return str(certificate["subject"])


def _serve(context: ssl.SSLContext, end: socket.socket) -> None:
    with end:
        try:
            context.wrap_socket(end, server_side=True).close()
        except (ssl.SSLError, OSError):
            return  # the client's side of the failure is what a test looks at


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "kv-orders.vault.azure.net"])
def test_strict_client_accepts_every_served_name(tmp_path: Path, host: str) -> None:
    assert "server" in shake_hands(Authority(tmp_path), host, "kv-orders.vault.azure.net")


def test_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'example\.com'"):
        shake_hands(Authority(tmp_path), "example.com")


def test_other_authority_is_refused(tmp_path: Path) -> None:
    issuing, trusted = Authority(tmp_path / "one"), Authority(tmp_path / "two")
    issuing.bundle.write_bytes(trusted.bundle.read_bytes())
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(issuing, "localhost")


def test_processes_that_start_together_share_one_authority(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        bundles = list(pool.map(lambda _: Authority(tmp_path).bundle.read_bytes(), range(8)))
    assert len(set(bundles)) == 1


def test_keys_are_private(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("server")
    for key in (issued.key, tmp_path / "ca.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
