"""What the adapters make of codes, words and URLs, without a server."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, ClassVar, NoReturn

import psycopg
import pytest
from kubernetes.config import load_kube_config
from psycopg import errors

from rotation.config import Cluster
from rotation.edges import bounded, http_status
from rotation.edges.bounded import _Bounded
from rotation.edges.cluster import client as cluster_client
from rotation.edges.cluster.client import Api
from rotation.edges.database import connecting, login, scram
from rotation.edges.database.connecting import _authorities
from rotation.edges.database.login import _environment
from rotation.edges.web import is_metadata
from rotation.model.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import ServerTarget
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CODES = http_status.Codes(
    unavailable=Code.VAULT_UNAVAILABLE,
    denied=Code.VAULT_DENIED,
    missing=Code.VAULT_MISSING,
    conflict=Code.VAULT_CONFLICT,
    invalid=Code.VAULT_ERROR,
    token=Code.TOPIC_DENIED,
)
STATUSES: list[tuple[int | None, type[EdgeError], Code]] = [
    (None, Unavailable, Code.VAULT_UNAVAILABLE),
    (0, Unavailable, Code.VAULT_UNAVAILABLE),
    (400, Invalid, Code.VAULT_ERROR),
    (401, Denied, Code.TOPIC_DENIED),
    (402, Unavailable, Code.VAULT_UNAVAILABLE),
    (403, Denied, Code.VAULT_DENIED),
    (404, Missing, Code.VAULT_MISSING),
    (405, Invalid, Code.VAULT_ERROR),
    (408, Unavailable, Code.VAULT_UNAVAILABLE),
    (409, Conflict, Code.VAULT_CONFLICT),
    (410, Invalid, Code.VAULT_ERROR),
    (429, Unavailable, Code.VAULT_UNAVAILABLE),
    (430, Unavailable, Code.VAULT_UNAVAILABLE),
    (499, Unavailable, Code.VAULT_UNAVAILABLE),
    (500, Unavailable, Code.VAULT_UNAVAILABLE),
    (503, Unavailable, Code.VAULT_UNAVAILABLE),
]


@pytest.mark.parametrize(("status", "kind", "code"), STATUSES)
def test_what_a_status_means(status: int | None, kind: type[EdgeError], code: Code) -> None:
    error = http_status.error(CODES, "it failed", status)
    assert (type(error), error.code) == (kind, code)
    assert error.message.startswith("it failed")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("86401", 86_400.0),
        ("٣", None),
        ("²", None),
        ("soon", None),
        ("-1", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:01:20 GMT", 0.0),
        ("Sun, 04 Jan 1970 00:00:00 GMT", 86_400.0),
    ],
)
def test_the_pause_that_a_server_asks_for(
    monkeypatch: pytest.MonkeyPatch, header: str | None, seconds: float | None
) -> None:
    monkeypatch.setattr(time, "time", lambda: 90.0)
    error = http_status.error(CODES, "it failed", 429, header)
    assert isinstance(error, Unavailable)
    assert error.retry_after == seconds


ADDRESSES = [
    ("169.254.169.254", True),
    ("169.254.0.0", True),
    ("169.253.255.255", False),
    ("168.63.129.16", True),
    ("168.63.129.17", False),
    ("fe80::1%eth0", True),
    ("fe00::1", False),
    ("::ffff:169.254.169.254", True),
    ("::ffff:10.0.0.1", False),
    ("10.0.0.1", False),
    ("::1", False),
]


@pytest.mark.parametrize(("address", "metadata"), ADDRESSES)
def test_where_a_metadata_service_is(address: str, metadata: bool) -> None:
    assert is_metadata(address) is metadata


ROUNDS = [
    (None, 4096),
    ("", 4096),
    ("1", 4096),
    ("4096", 4096),
    ("4097", 4097),
    ("100000", 100_000),
    ("100001", 100_000),
    ("9" * 5000, 100_000),  # no number is made of more digits than are needed
    ("many", 4096),
    ("-5000", 4096),
]


@pytest.mark.parametrize(("asked", "rounds"), ROUNDS)
def test_rounds_of_a_verifier(asked: str | None, rounds: int) -> None:
    assert scram.rounds(asked) == rounds


def test_a_verifier_is_the_one_that_the_standard_makes() -> None:
    """The password, salt and rounds of RFC 7677, section 3; the keys follow from its messages."""
    salt = b"[m\x99h\x9d\x125\x8e\xec\xa0K\x14\x126\xfa\x81"
    made = scram.verifier(Secret("pencil"), 4096, salt)
    assert made == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
        "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_a_verifier_has_a_salt_of_its_own() -> None:
    one, other = (scram.verifier(Secret("pencil"), 4096) for _ in range(2))
    assert one != other
    assert len(one.split("$")[1].split(":")[1]) == len("W22ZaJ0SNY7soEsUEjb6gQ==")


@pytest.mark.parametrize("password", ["pässword", "tab\tin it", "line\nin it", "\x7f"])
def test_a_password_that_might_be_changed_on_its_way(password: str) -> None:
    with pytest.raises(Invalid, match="printable ASCII") as caught:
        scram.verifier(Secret(password), 4096)
    assert caught.value.code is Code.FORMAT


REFUSED: list[tuple[psycopg.Error, type[EdgeError], Code]] = [
    (errors.AdminShutdown(), Unavailable, Code.DATABASE_BUSY),
    (errors.TooManyConnections(), Unavailable, Code.DATABASE_FULL),
    (errors.CannotConnectNow(), Unavailable, Code.DATABASE_STARTING),
    (errors.ReadOnlySqlTransaction(), Unavailable, Code.DATABASE_READ_ONLY),
    (errors.InvalidPassword(), Denied, Code.LOGIN_REFUSED),
    (errors.InvalidCatalogName(), Invalid, Code.LOGIN_DATABASE),
    (errors.ProtocolViolation("query_wait_timeout"), Unavailable, Code.POOLER_WAITING),
    (errors.ProtocolViolation("database removed"), Unavailable, Code.DATABASE_BUSY),
    (errors.DeadlockDetected(), Unavailable, Code.DATABASE_BUSY),
    (errors.LockNotAvailable(), Unavailable, Code.DATABASE_BUSY),
    (errors.IoError(), Unavailable, Code.DATABASE_BUSY),
    (errors.ConnectionFailure(), Unavailable, Code.DATABASE_BUSY),
    (errors.InsufficientPrivilege(), Denied, Code.DATABASE_RIGHT),
    (errors.UndefinedObject(), Missing, Code.DATABASE_MISSING),
    (errors.InvalidAuthorizationSpecification(), Denied, Code.LOGIN_BARRED),
    (errors.SyntaxError(), Invalid, Code.DATABASE_ERROR),
    (psycopg.DataError("no code"), Invalid, Code.DATABASE_ERROR),
    (psycopg.InterfaceError("closed"), Unavailable, Code.DATABASE_UNREACHABLE),
    (psycopg.OperationalError("whatever"), Unavailable, Code.DATABASE_UNREACHABLE),
    (
        psycopg.OperationalError("FATAL: unsupported startup parameter: search_path"),
        Invalid,
        Code.DATABASE_POOLER,
    ),
    (
        psycopg.OperationalError('role "x" is not permitted to log in'),
        Denied,
        Code.LOGIN_REFUSED,
    ),
]


@pytest.mark.parametrize(
    ("error", "kind", "code"), REFUSED, ids=[type(one[0]).__name__ for one in REFUSED]
)
def test_what_an_error_of_the_database_means(
    error: psycopg.Error, kind: type[EdgeError], code: Code
) -> None:
    found = connecting.translated("it failed", "orders_blue", error)
    assert (type(found), found.code) == (kind, code)
    assert found.message.startswith("it failed: ")


# As they came from PostgreSQL 15 and PgBouncer 1.18, through libpq 18.
METHOD = 'authentication method requirement "scram-sha-256" failed: server requested a '
AT = 'connection failed: connection to server at "192.0.2.1", port 5432 failed: '
HINT = (
    "\nThis may indicate that the server does not support any SSL protocol version between x and y."
)
SAYS: list[tuple[str, type[EdgeError], Code]] = [
    (f'{AT}FATAL:  no pg_hba.conf entry for host "x", user "y"', Denied, Code.LOGIN_HBA),
    (f'{AT}FATAL:  pg_hba.conf rejects connection for host "x"', Denied, Code.LOGIN_HBA),
    (f"{AT}FATAL:  login rejected", Denied, Code.LOGIN_HBA),
    (f'{AT}FATAL:  password authentication failed for user "x"', Denied, Code.LOGIN_REFUSED),
    (f"{AT}FATAL:  SASL authentication failed", Denied, Code.LOGIN_REFUSED),
    (f'{AT}FATAL:  role "x" is not permitted to log in', Denied, Code.LOGIN_REFUSED),
    (f'{AT}FATAL:  role "x" does not exist', Denied, Code.LOGIN_REFUSED),
    (f"{AT}fe_sendauth: no password supplied", Denied, Code.LOGIN_REFUSED),
    (f'{AT}FATAL:  LDAP authentication failed for user "x"', Denied, Code.LOGIN_METHOD),
    (f"{AT}{METHOD}cleartext password", Invalid, Code.LOGIN_METHOD),
    (f"{AT}{METHOD}hashed password", Invalid, Code.LOGIN_NOT_SCRAM),
    (f'{AT}FATAL:  permission denied for database "d"', Denied, Code.LOGIN_CONNECT),
    (f'{AT}FATAL:  database "d" does not exist', Denied, Code.LOGIN_DATABASE),
    (f"{AT}FATAL:  no such database: d", Denied, Code.LOGIN_DATABASE),
    (f'{AT}FATAL:  database "d" is disabled', Denied, Code.LOGIN_DATABASE),
    (f'{AT}FATAL:  could not access file "hunter2": No such', Denied, Code.LOGIN_BARRED),
    (
        f'{AT}FATAL:  database "d" is not currently accepting connections',
        Denied,
        Code.LOGIN_DATABASE,
    ),
    (
        f"{AT}FATAL:  connection requires a valid client certificate",
        Invalid,
        Code.DATABASE_CLIENT_CERTIFICATE,
    ),
    (f"{AT}FATAL:  sorry, too many clients already", Unavailable, Code.DATABASE_FULL),
    (f'{AT}FATAL:  too many connections for role "x"', Unavailable, Code.DATABASE_FULL),
    (
        f"{AT}FATAL:  no more connections allowed (max_client_conn)",
        Unavailable,
        Code.POOLER_FULL,
    ),
    (f"{AT}FATAL:  query_wait_timeout", Unavailable, Code.POOLER_WAITING),
    (f"{AT}FATAL:  unsupported startup parameter: options", Invalid, Code.DATABASE_POOLER),
    (f"{AT}FATAL:  the database system is starting up", Unavailable, Code.DATABASE_STARTING),
    (f"{AT}FATAL:  the database system is shutting down", Unavailable, Code.DATABASE_STARTING),
    (f"{AT}SSL error: tlsv1 alert protocol version{HINT}", Invalid, Code.DATABASE_TLS_VERSION),
    (f"{AT}SSL error: unsupported protocol{HINT}", Invalid, Code.DATABASE_TLS_VERSION),
    (f"{AT}SSL error: ssl/tls alert handshake failure", Unavailable, Code.DATABASE_TLS),
    (f"{AT}SSL error: wrong version number{HINT}", Unavailable, Code.DATABASE_TLS),
    (f"{AT}SSL error: certificate verify failed", Invalid, Code.DATABASE_CERTIFICATE),
    (f'{AT}root certificate file "x" does not exist', Invalid, Code.DATABASE_CERTIFICATE),
    (
        f'{AT}server certificate for "a" does not match host name "b"',
        Invalid,
        Code.DATABASE_CERTIFICATE,
    ),
    (
        f"{AT}server does not support SSL, but SSL was required",
        Invalid,
        Code.DATABASE_NO_TLS,
    ),
    (f"{AT}Connection refused\n\tIs the server running?", Unavailable, Code.DATABASE_DOWN),
    ("connection timeout expired", Unavailable, Code.DATABASE_TIMEOUT),
    (f"{AT}No route to host", Unavailable, Code.DATABASE_TIMEOUT),
    ("failed to resolve host 'x': [Errno -2] Name or", Unavailable, Code.DATABASE_NAME),
    (f"{AT}server closed the connection unexpectedly", Unavailable, Code.DATABASE_HUNG_UP),
    (
        f"{AT}received invalid response to SSL negotiation: H",
        Unavailable,
        Code.DATABASE_PROTOCOL,
    ),
    (
        f"{AT}expected authentication request from server, but received H",
        Unavailable,
        Code.DATABASE_PROTOCOL,
    ),
    # In another language, and what nobody has listed: no guess.
    (f"{AT}ВАЖНО:  пользователь «hunter2» не прошёл", Unavailable, Code.DATABASE_REFUSES),
    (f"{AT}FATAL:  hunter2 is no good", Unavailable, Code.DATABASE_REFUSES),
    (f"{AT}hunter2", Unavailable, Code.DATABASE_UNREACHABLE),
]


@pytest.mark.parametrize(("text", "kind", "code"), SAYS)
def test_what_a_refused_connection_means(text: str, kind: type[EdgeError], code: Code) -> None:
    found = connecting.translated("it failed", "orders_blue", psycopg.OperationalError(text))
    assert (type(found), found.code) == (kind, code)
    assert "server up" not in found.message
    for words in ("hunter2", "192.0.2.1", '"x"'):
        assert words not in found.message


def test_what_is_not_known_of_a_connection_is_told_by_the_clients_class() -> None:
    error = psycopg.errors.ConnectionTimeout("hunter2")
    found = connecting.translated("it failed", "orders_blue", error)
    assert found.message == "it failed: ConnectionTimeout"


def test_every_line_of_the_table_is_met() -> None:
    """What stands above another line's words, and hides it, would never count."""
    met = {
        next(said for said in connecting.SAID if said.found_in(text))
        for text, *_ in SAYS
        if any(said.found_in(text) for said in connecting.SAID)
    }
    rare = {"client certificates can only be", "no such user", "server login has been failing"}
    rare |= {"Connection timed out", "Network is unreachable"}
    assert {said.words for said in set(connecting.SAID) - met} == rare


ANSWERS = [
    (b'["Denied", "login-refused", "no"]', Denied, Code.LOGIN_REFUSED),
    (b'["Unavailable", "database-busy", "no"]', Unavailable, Code.DATABASE_BUSY),
    (b"", Unavailable, Code.LOGIN_SLOW),
    (b"[]", Unavailable, Code.LOGIN_SLOW),
    (b'["Denied", "no such code", "no"]', Unavailable, Code.LOGIN_SLOW),
    (b'["KeyError", "login-refused", "no"]', Unavailable, Code.LOGIN_SLOW),
    (b"7", Unavailable, Code.LOGIN_SLOW),
    (b"[" * 100_000, Unavailable, Code.LOGIN_SLOW),
]


@pytest.mark.parametrize(("answer", "kind", "code"), ANSWERS, ids=[str(i) for i in range(8)])
def test_what_the_process_that_logs_in_has_answered(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, kind: type[EdgeError], code: Code
) -> None:
    """A program that answers so, in the place of the interpreter that would run the module."""
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, answer)
    )
    with pytest.raises(kind) as caught:
        login.prove("it failed", login_of("nobody"))
    assert (type(caught.value), caught.value.code) == (kind, code)


def login_of(role: str) -> connecting.Login:
    server = ServerTarget("127.0.0.1", 1, "orders", "disable")
    return connecting.Login(server, role, Secret("p"), "scram-sha-256", None)


def test_a_login_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "LONGEST", 0.01)  # no interpreter starts as fast as that
    with pytest.raises(Unavailable, match="not done after 0 s") as caught:
        login.prove("it failed", login_of("nobody"))
    assert caught.value.code is Code.LOGIN_SLOW


def stdin_of(server: list[str | int]) -> io.TextIOWrapper:
    """What `prove` gives the process that logs in."""
    given = {"what": "it failed", "role": "orders_blue", "password": "p", "sslrootcert": None}
    given |= {"requireAuth": "scram-sha-256"}
    return io.TextIOWrapper(io.BytesIO(json.dumps({**given, "server": server}).encode()))


def test_the_process_says_why_a_login_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        server = ["127.0.0.1", taken.getsockname()[1], "orders", "disable"]
        monkeypatch.setattr(sys, "stdin", stdin_of(server))
        assert login.main() == 1
    kind, code, message = json.loads(capsys.readouterr().out)
    assert (kind, code) == ("Unavailable", "database-connection-refused")
    assert message == "it failed: Connection refused"


def test_the_process_ends_with_0_once_it_is_logged_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Connection:
        asked: ClassVar[list[str]] = []

        def execute(self, statement: str) -> None:
            self.asked.append(statement)

    monkeypatch.setattr(sys, "stdin", stdin_of(["127.0.0.1", 1, "orders", "disable"]))
    monkeypatch.setattr(login, "connected", lambda *_, **__: nullcontext(Connection()))
    assert login.main() == 0
    assert Connection.asked == ["SELECT 1"]
    assert capsys.readouterr().out == ""


def test_the_process_ends_with_0_where_the_password_was_taken_and_all_connections_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise connecting.Accepted(Code.DATABASE_FULL, "it is full")

    monkeypatch.setattr(sys, "stdin", stdin_of(["127.0.0.1", 1, "orders", "disable"]))
    monkeypatch.setattr(login, "connected", full)
    assert (login.main(), capsys.readouterr().out) == (0, "")


def test_the_process_gets_no_variable_of_libpqs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=evil")
    monkeypatch.setenv("PGSERVICE", "evil")
    environment = _environment()
    assert environment.keys() <= {*login.INHERITED, "PYTHONPATH"}
    assert environment["PATH"]


@pytest.mark.parametrize(
    ("sslmode", "verifies"), [("verify-full", True), ("verify-ca", True), ("require", False)]
)
def test_authorities_are_for_what_verifies(sslmode: str, verifies: bool) -> None:
    assert (_authorities(sslmode) is not None) is verifies


class Trickle(io.RawIOBase):
    """A socket's reader that gives `size` bytes at each read."""

    def __init__(self, size: int) -> None:
        self.size = size

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        return min(self.size, len(buffer))


def reader(size: int, seconds: float) -> tuple[_Bounded, socket.socket]:
    connected = socket.socket()
    with bounded.within(seconds):
        return _Bounded(Trickle(size), connected), connected


def test_an_answer_may_be_as_large_as_it_may_and_no_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LARGEST", 10)
    bound, connected = reader(5, 60)
    with connected:
        assert [bound.readinto(bytearray(5)) for _ in range(2)] == [5, 5]
        with pytest.raises(OSError, match="the answer is too large"):
            bound.readinto(bytearray(1))


def test_a_read_of_nothing_counts_as_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LARGEST", 2)
    bound, connected = reader(0, 0.9)  # seconds: less than one is enough for a read
    with connected:
        assert [bound.readinto(bytearray(5)) for _ in range(3)] == [0] * 3


def test_a_reader_closes_what_it_reads() -> None:
    raw = Trickle(1)
    with socket.socket() as connected:
        bound = _Bounded(raw, connected)
        bound.close()
    assert (raw.closed, bound.closed) == (True, True)


def test_an_answer_is_not_waited_for_after_its_deadline() -> None:
    bound, connected = reader(5, 0)
    with connected, pytest.raises(TimeoutError, match="the answer took too long"):
        bound.readinto(bytearray(5))


def test_a_read_waits_no_longer_than_is_left_and_leaves_the_sockets_own_time() -> None:
    waits: list[float | None] = []

    class Watched(Trickle):
        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            waits.append(connected.gettimeout())
            return super().readinto(buffer)

    with socket.socket() as connected, bounded.within(60):
        bound = _Bounded(Watched(1), connected)
        for own in (None, 5.0, 600.0):
            connected.settimeout(own)
            bound.readinto(bytearray(1))
            assert connected.gettimeout() == own
    unlimited, short, long = waits
    assert short == 5.0
    for bounded_by_the_deadline in (unlimited, long):
        assert bounded_by_the_deadline is not None
        assert 0 < bounded_by_the_deadline <= 60


def test_the_deadline_is_over_with_its_block() -> None:
    with bounded.within(0):
        pass
    with socket.socket() as connected:
        bound = _Bounded(Trickle(1), connected)
        assert bound.readinto(bytearray(1)) == 1
        assert bound.readable()


@pytest.mark.parametrize("bundle", [None, "/etc/a.pem"])
def test_a_transport_for_azures_clients(bundle: str | None) -> None:
    made = bounded.transport(bundle)
    assert made.connection_config.verify == (bundle or True)
    assert made.connection_config.timeout == bounded.CONNECT
    assert made.connection_config.read_timeout == bounded.READ
    for scheme in ("https://", "http://"):
        adapter = made.session.get_adapter(f"{scheme}vault.example/")
        assert adapter.max_retries.total == 0
        assert adapter.poolmanager.pool_classes_by_scheme is bounded.POOLS
    made.close()
    assert made.session is not None  # what would be used next has no bounds


KUBECONFIG = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}


def test_the_clusters_client_repeats_nothing_and_writes_no_kubeconfig(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The orchestrator repeats. What the SDK wrote back would be a token, into a file."""
    token, given = Secret("token"), list[object]()
    load: Callable[..., None] = load_kube_config
    by_token = Api("weu", Cluster.model_construct(server="http://127.0.0.1:1"), lambda: token)
    assert by_token.client.configuration.retries is False

    def recorded(*arguments: object, **more: object) -> None:
        given.append(more["persist_config"])
        load(*arguments, **more)

    monkeypatch.setattr(cluster_client, "load_kube_config", recorded)
    file = tmp_path / "kube.yaml"
    file.write_text(json.dumps(KUBECONFIG), encoding="utf-8")
    Api("weu", Cluster.model_construct(kubeconfig=str(file)), lambda: token)
    assert given == [False]
