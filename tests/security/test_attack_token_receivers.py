"""Whoever may write `credentials.yaml`, or answers in a server's name, gets no token of the app."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, get_args

import pytest
from pydantic import ValidationError

from rotation.config import Configuration, Database
from rotation.edges.azure import AzureEdges
from rotation.model.errors import EdgeError, Invalid
from rotation.model.reasons import Code
from rotation.secrecy import Secret
from tests.security.attacked import ADA, CREDENTIAL, configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "the.app's.token"
MODES = get_args(Database.model_fields["sslmode"].annotation)
SERVER = "pg-orders.postgres.database.azure.com"


class Tokens:
    """The app's identity, and for what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def token(self, scope: str) -> Secret:
        self.asked.append(scope)
        return Secret(TOKEN)


def edges(hosts: str = "") -> tuple[AzureEdges, Tokens]:
    found, tokens = AzureEdges({"ROTATION_DATABASE_HOSTS": hosts}), Tokens()
    found.__dict__["identity"] = tokens
    return found, tokens


def written(**database: Any) -> Configuration:
    """A file as somebody wrote it who may: pydantic's own checks decide whether it is taken."""
    file = configuration([ADA]).model_dump(mode="json", by_alias=True, exclude_none=True)
    credential = file["credentials"][CREDENTIAL]
    credential["database"] = {"name": "orders", "admin": {"role": "rotator"}, **database}
    credential["validity"], credential["rotateBefore"] = "90d", "30d"
    credential |= {"retry": {}, "drain": "1m", "watch": "2m", "approval": {"approvers": [ADA]}}
    for workload in credential["workloads"]:
        workload |= {"ready": "10m", "drain": "5m", "tests": [TEST]}
    return Configuration.model_validate(file)


TEST = {"path": "/whoami", "json": {"role": "{role}"}, "repeat": 1}


@contextmanager
def impostor() -> Iterator[tuple[int, list[bytes]]]:
    """A server that has no TLS and asks for whatever there is in clear text."""
    received: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            first = connection.recv(4096)
            if first[4:8] == (80877103).to_bytes(4, "big"):  # SSLRequest
                connection.sendall(b"N")
                first = connection.recv(4096)
            received.append(first)
            connection.sendall(b"R" + (8).to_bytes(4, "big") + (3).to_bytes(4, "big"))
            received.append(connection.recv(4096))

    def accept() -> None:
        with suppress(OSError):
            while True:
                answer(listener.accept()[0])

    thread = threading.Thread(target=accept)
    thread.start()
    yield listener.getsockname()[1], received
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.parametrize("hosts", ["", "127.0.0.1"], ids=["unknown", "listed"])
@pytest.mark.parametrize("mode", MODES)
def test_no_server_without_proof_gets_it(mode: str, hosts: str) -> None:
    found, _ = edges(hosts)
    with impostor() as (port, received), suppress(ValidationError, EdgeError):
        file = written(host="127.0.0.1", port=port, sslmode=mode)
        found.database(file.credential(CREDENTIAL)).roles(["orders_blue"])
    assert TOKEN.encode() not in b"".join(received)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "verify-full"])
def test_a_file_that_asks_for_no_proof_is_refused(mode: str) -> None:
    with pytest.raises(ValidationError, match="an Entra token is sent: use verify-full"):
        written(host=SERVER, sslmode=mode)


@pytest.mark.parametrize(
    "host",
    [
        "pg.attacker.example",  # with a certificate that it has every right to
        "pg.postgres.database.azure.com.attacker.example",
        "postgres.database.azure.com",
        "attackerpostgres.database.azure.com",
        "attacker.database.azure.com",
        "attacker.westeurope.cloudapp.azure.com",
        "10.0.0.4",
    ],
)
def test_a_server_that_is_none_of_the_cloud_is_asked_without_a_token(host: str) -> None:
    found, tokens = edges("pg.of-ours.example")
    credential = written(host=host).credential(CREDENTIAL)
    with pytest.raises(Invalid, match="is not sent to") as caught:
        found.database(credential).roles(["orders_blue"])
    assert caught.value.code is Code.DATABASE_HOST
    assert "ROTATION_DATABASE_HOSTS" in str(caught.value.reason.remedy)
    assert tokens.asked == []


def test_a_read_replica_is_no_other_case() -> None:
    found, tokens = edges("pg.of-ours.example")
    credential = written(host=SERVER, replicas=["pg.elsewhere.example"]).credential(CREDENTIAL)
    with pytest.raises(Invalid, match=r"is not sent to pg\.elsewhere\.example"):
        found.replicas(credential)[0].roles(["orders_blue"])
    assert tokens.asked == []


@pytest.mark.parametrize(
    "host",
    [SERVER, SERVER.upper(), "pg.of-ours.example", "PG.of-ours.example"],
)
def test_servers_of_the_cloud_and_those_that_the_app_s_owner_lists(host: str) -> None:
    found, tokens = edges(" other.example, pg.of-ours.example ")
    credential = written(host=host).credential(CREDENTIAL)
    assert found._admin_password(credential, host).reveal() == TOKEN  # noqa: SLF001 - without a network
    assert len(tokens.asked) == 1


def test_a_public_certificate_proves_nothing_without_a_name() -> None:
    admin = {"role": "rotator", "secret": "orders-db-rotator"}
    with pytest.raises(ValidationError, match="any server with a public certificate"):
        written(host=SERVER, sslmode="verify-ca", admin=admin)
    written(host=SERVER, sslmode="verify-ca", admin=admin, sslrootcert="private.pem")
