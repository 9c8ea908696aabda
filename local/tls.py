"""A certificate authority for the servers of the local stack.

What it issues passes OpenSSL's strict X.509 checks, which Python 3.13 turns on by default:
subject and authority key identifiers, key usage, basic constraints (RFC 5280, section 4.2.1).
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local.storage import locked, write_private

if TYPE_CHECKING:
    from pathlib import Path

LOCAL_HOSTS = ("127.0.0.1", "localhost")
AUTHORITY_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=397)  # the longest that clients of the public web accept
RENEW_BEFORE = timedelta(days=398)  # an authority outlives what it issues
CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True)
class ServerCertificate:
    """PEM files, as servers that are not Python want them too."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Authority:
    """The authority of a directory, made by the first process that asks for it.

    `bundle` is the file that clients trust.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bundle = directory / "ca.pem"
        self._key_file = directory / "ca.key"
        with locked(directory):
            if not self._usable():
                self._create()
        self._key = _load_key(self._key_file)
        self._certificate = x509.load_pem_x509_certificate(self.bundle.read_bytes())

    def issue(self, name: str, *hosts: str) -> ServerCertificate:
        """A certificate for 127.0.0.1, localhost and `hosts`, kept as `name`.pem and `name`.key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._server_certificate(key.public_key(), name, [*LOCAL_HOSTS, *hosts])
        issued = ServerCertificate(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        write_private(issued.key, _key_pem(key))
        write_private(issued.certificate, certificate.public_bytes(Encoding.PEM))
        return issued

    def client_context(self) -> ssl.SSLContext:
        """Trusts this authority beside the public ones."""
        context = ssl.create_default_context()
        context.load_verify_locations(self.bundle)
        return context

    def _usable(self) -> bool:
        if not (self.bundle.exists() and self._key_file.exists()):
            return False
        certificate = x509.load_pem_x509_certificate(self.bundle.read_bytes())
        return certificate.not_valid_after_utc > datetime.now(UTC) + RENEW_BEFORE

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Local stack authority")
        certificate = (
            _builder(key.public_key(), name, name, AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .add_extension(_authority_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(self._key_file, _key_pem(key))
        write_private(self.bundle, certificate.public_bytes(Encoding.PEM))

    def _server_certificate(
        self, key: ec.EllipticCurvePublicKey, name: str, hosts: list[str]
    ) -> x509.Certificate:
        return (
            _builder(key, _name(name), self._certificate.subject, SERVER_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
            .add_extension(_authority_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _builder(
    key: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key(key: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds no elliptic curve key; remove {path.parent} to start anew")
    return key
