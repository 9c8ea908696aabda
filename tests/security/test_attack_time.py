"""Whoever answers slowly, or never, or without end, keeps nobody waiting."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from local.postgres import Postgres
from local.tls import Authority
from rotation import app
from rotation.clouds import PUBLIC
from rotation.config import LONGEST_QUERY, Admin, Cluster, Database
from rotation.edges import bounded, web
from rotation.edges.cluster.client import Api
from rotation.edges.cluster.services import Services
from rotation.edges.database import connecting, login
from rotation.edges.database.server import PostgreSQL
from rotation.edges.identity import Identity
from rotation.edges.topic import EventGridTopic
from rotation.edges.vault import KeyVault
from rotation.model import wire
from rotation.model.activities import KEEP, Nothing, Notice, Reference
from rotation.model.catalogue import Announcement, Origin
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.model.targets import SecretTarget, ServerTarget, ServiceTarget
from rotation.secrecy import Secret
from rotation.settings import LONGEST_WATCH
from rotation.steps import asking, deadline
from rotation.steps.catalogue import ACTIVITIES, NOTIFY, STOP_PARTS
from rotation.steps.deadline import in_time
from rotation.steps.running import Implementation, run
from tests.security.attacked import EVENT, AnyToken
from tests.security.hostile_postgres import answering, freezing, silent
from tests.security.hostile_postgres import notice as postgres_notice
from tests.unit import people

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rotation.model.wire import JsonObject

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n"


@contextmanager
def server(
    head: bytes,
    chunk: bytes,
    pause: float,
    tls: ssl.SSLContext | None = None,
    asked: list[bytes] | None = None,
) -> Iterator[str]:
    """Answers every request with `head`, and then a `chunk` every `pause` seconds. `asked` gets
    what it was asked."""
    done = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    if tls is not None:
        listener = tls.wrap_socket(listener, server_side=True)

    def answer(connection: socket.socket) -> None:
        with connection:
            request = connection.recv(65536)
            if asked is not None:
                asked.append(request)
            try:
                connection.sendall(head)
                while not done.wait(pause):
                    connection.sendall(chunk)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=[connection], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        done.set()
        listener.close()


def services(url: str) -> Services:
    settings = Cluster.model_construct(server=url)
    return Services(Api("weu", settings, lambda: Secret("token")))


TARGET = ServiceTarget("orders", "api", "slot", port="http")


def test_a_workload_that_drips_bytes_through_the_proxy() -> None:
    with server(HEAD, b"x", 0.05) as url, pytest.raises(Unavailable):
        services(url).ask(TARGET, "/whoami", 0.4)


def test_a_url_that_drips_bytes() -> None:
    with server(HEAD, b"x", 0.05) as url, pytest.raises(Unavailable, match="got no answer"):
        web.fetch(f"{url}/whoami", 0.4)


def test_an_api_server_that_drips_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LONGEST", 0.4)
    with server(HEAD, b" ", 0.05) as url, pytest.raises(Unavailable):
        services(url).route(TARGET)


SECRET = SecretTarget("orders-blue", "0" * 32)
VERBS: dict[str, Callable[[KeyVault], object]] = {
    "current": lambda vault: vault.current(SECRET),
    "versions": lambda vault: vault.versions(SECRET),
    "value": lambda vault: vault.value(SECRET),
    "put": lambda vault: vault.put(
        SECRET,
        Secret("p"),
        expires=datetime(2027, 1, 1, tzinfo=UTC),
        content_type="text/plain",
        tags={},
    ),
    "disable": lambda vault: vault.disable(SECRET),
}
# Each page leads to another, for ever; every one of them comes at once.
NEXT = b'{"value":[],"nextLink":"/secrets/orders-blue/versions"}'
PAGE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(NEXT), NEXT)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
@pytest.mark.parametrize(
    ("head", "chunk", "pause"),
    [(HEAD, b" ", 0.05), (ENDLESS, b"x" * 50_000, 0.0), (b"", b"", 0.05)],
    ids=["drips", "never ends", "says nothing"],
)
def test_a_vault(
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    verb: Callable[[KeyVault], object],
    head: bytes,
    chunk: bytes,
    pause: float,
) -> None:
    monkeypatch.setattr(bounded, "LONGEST", 0.4)
    monkeypatch.setattr(bounded, "LARGEST", 100_000)
    context = authority.issue("vault").context()
    with server(head, chunk, pause, context) as url, pytest.raises(Unavailable):
        verb(KeyVault(url, AnyToken(), str(authority.bundle)))


def test_a_vault_whose_list_has_always_one_page_more(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "LONGEST", 0.5)
    context, asked = authority.issue("vault").context(), list[bytes]()
    with server(PAGE, b"", 0.05, context, asked) as url, pytest.raises(Unavailable):
        KeyVault(url, AnyToken(), str(authority.bundle)).versions(SECRET)
    assert len(asked) > 1


@pytest.mark.parametrize(
    ("head", "chunk", "pause"),
    [(HEAD, b" ", 0.05), (ENDLESS, b"x" * 50_000, 0.0), (b"", b"", 0.05)],
    ids=["drips", "never ends", "says nothing"],
)
def test_an_identity_endpoint(
    monkeypatch: pytest.MonkeyPatch, head: bytes, chunk: bytes, pause: float
) -> None:
    monkeypatch.setattr(bounded, "LONGEST", 0.4)
    monkeypatch.setattr(bounded, "LARGEST", 100_000)
    with server(head, chunk, pause) as url:
        environment = {"IDENTITY_ENDPOINT": f"{url}/token", "IDENTITY_HEADER": "known"}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(Unavailable) as error:
            Identity(environment, PUBLIC.authority).token("https://vault.azure.net/.default")
    assert error.value.code is Code.IDENTITY_UNAVAILABLE


def test_an_api_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LONGEST", 0.4)
    with server(b"", b"", 0.05) as url, pytest.raises(Unavailable):
        services(url).route(TARGET)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("frozen")) as running:
        yield running


def database(port: int, password: str) -> PostgreSQL:
    settings = Database(
        host="127.0.0.1",
        port=port,
        name="orders",
        sslmode="disable",
        admin=Admin(role="postgres", secret="from-the-test"),
    )
    return PostgreSQL(settings, lambda: Secret(password))


@pytest.mark.parametrize("at", [b"current_setting", b"pg_stat_activity"])
def test_a_database_connection_that_freezes(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, at: bytes
) -> None:
    """Neither keepalives nor tcp_user_timeout see it: all that is sent gets acknowledged."""
    monkeypatch.setattr(connecting, "LONGEST", 0.5)
    with freezing(postgres.port, at) as port, pytest.raises(Unavailable) as error:
        database(port, postgres.admin_password).sessions(["orders_blue"])
    assert error.value.code is Code.DATABASE_TIMEOUT


def test_what_watches_a_connection_keeps_no_process_and_is_gone_with_it(postgres: Postgres) -> None:
    admin = connecting.Login(
        server=ServerTarget("127.0.0.1", postgres.port, "postgres", "disable"),
        role="postgres",
        password=Secret(postgres.admin_password),
        require_auth="scram-sha-256",
        sslrootcert=None,
    )
    with connecting.connected("it failed", admin):
        (watch,) = [one for one in threading.enumerate() if isinstance(one, threading.Timer)]
        assert watch.daemon
    watch.join(5.0)
    assert not watch.is_alive()
    connection, _ = watch.args
    assert connection.fileno() == -1


@pytest.mark.parametrize(
    ("talk", "code"),
    [(b"", Code.DATABASE_TIMEOUT), (postgres_notice("wait"), Code.DATABASE_PROTOCOL)],
    ids=["says nothing", "talks on"],
)
def test_a_database_server_that_lets_nobody_in(
    monkeypatch: pytest.MonkeyPatch, talk: bytes, code: Code
) -> None:
    monkeypatch.setattr(connecting, "CONNECT_TIMEOUT", 2)  # the least that libpq takes
    served = answering(b"", then=talk) if talk else silent()
    with served as port, pytest.raises(Unavailable) as error:
        database(port, "unknown").roles(["orders_blue"])
    assert error.value.code is code


def test_an_answer_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LARGEST", 100_000)
    with server(ENDLESS, b"x" * 50_000, 0.0) as url, pytest.raises(Unavailable):
        services(url).route(TARGET)


@pytest.mark.parametrize(
    ("head", "chunk", "pause"), [(HEAD, b" ", 0.05), (ENDLESS, b"x" * 50_000, 0.0)]
)
def test_a_topic_that_drips_bytes_or_never_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes, chunk: bytes, pause: float
) -> None:
    monkeypatch.setattr(bounded, "LONGEST", 0.4)
    monkeypatch.setattr(bounded, "LARGEST", 100_000)
    authority = Authority(tmp_path)
    context = authority.issue("topic").context()
    asked: list[bytes] = []
    with server(head, chunk, pause, context, asked) as url, pytest.raises(Unavailable):
        EventGridTopic(url, AnyToken(), PUBLIC.topics, str(authority.bundle)).publish(EVENT)
    assert asked[0].startswith(b"POST ")


def test_no_activity_outlives_its_deadline() -> None:
    never = threading.Event()

    def execute() -> JsonObject:
        never.wait()
        return {}

    activity = Implementation("verify", lambda _: Nothing())
    answer = in_time(activity, execute, longest=0.05)
    never.set()
    assert answer["error"]["code"] == "cut-off"
    assert answer["error"]["transient"] is True


def test_a_connection_that_died_is_noticed_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 20 s, by keepalives or by what it does not acknowledge."""
    given: dict[str, Any] = {}

    def connect(**options: Any) -> None:
        given.update(options)
        raise psycopg.OperationalError("made for no other reason")

    monkeypatch.setattr(psycopg, "connect", connect)
    with pytest.raises(Unavailable):
        database(5432, "unknown").roles(["orders_blue"])
    silent_for = given["keepalives_idle"] + given["keepalives_interval"] * given["keepalives_count"]
    assert given["keepalives"] == 1
    assert silent_for <= 20
    assert given["tcp_user_timeout"] == 15_000  # milliseconds
    assert given["connect_timeout"] == connecting.CONNECT_TIMEOUT


def test_no_deadline_is_beyond_that_of_the_activity() -> None:
    """None of them is what one activity waits for, and none could end only after it."""
    assert deadline.LONGEST < 60
    assert bounded.LONGEST < deadline.LONGEST
    assert connecting.CONNECT_TIMEOUT + connecting.LONGEST < deadline.LONGEST
    assert login.LONGEST < deadline.LONGEST
    assert LONGEST_QUERY.total_seconds() + login.BEGINNING < connecting.LONGEST
    assert asking.TOGETHER + asking.GRACE < deadline.LONGEST
    assert LONGEST_WATCH < bounded.LONGEST


def test_each_activity_runs_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """But those that ask nobody outside, which the durable client's own timeout ends."""
    ran: list[str] = []

    def in_time_(activity: Implementation, execute: Callable[[], JsonObject]) -> JsonObject:
        assert callable(execute)
        ran.append(activity.name)
        return {}

    monkeypatch.setattr(app, "in_time", in_time_)
    activities = {
        function.get_function_name(): function.get_user_function()
        for function in app.build(people.edges()).get_functions()
        if str(function.get_trigger().type) == "activityTrigger"
    }
    by_the_client = {name for name, one in activities.items() if iscoroutinefunction(one)}
    assert {NOTIFY.name, STOP_PARTS.name, KEEP.name} <= by_the_client
    others = {name: one for name, one in activities.items() if name not in by_the_client}
    for activity in others.values():
        assert activity({}) == {}
    assert ran == list(others)
    assert set(ran) == {activity.name for activity in ACTIVITIES}


def test_those_that_do_not_ask_nobody_outside() -> None:
    class Alone:
        """Edges of which nothing but settings and configuration can be had."""

        configuration = people.edges().configuration
        settings = replace(people.edges().settings, topic="https://topic.example/api/events")

    time = wire.moment(datetime(2026, 11, 24, 3, 0, tzinfo=UTC))
    name = next(iter(Alone.configuration.credentials))
    request = Request(
        rotation="r-1", credential=name, origin=Origin.MANUAL, requested_by="ada", reason=""
    )
    notice = Notice(kind=Announcement.STARTED, number=1, time=time, request=request)
    reference = Reference(rotation="r-1", credential=name, notice=notice)
    answer = run(NOTIFY, Alone(), wire.value_of(reference))  # type: ignore[arg-type]
    assert answer["event"]["id"]
    parts = Reference(rotation="r-1", credential=name, parts=["r-1.prepare.api"])
    assert run(STOP_PARTS, Alone(), wire.value_of(parts)) == {}  # type: ignore[arg-type]


def test_an_activity_in_time_answers_as_it_is() -> None:
    activity = Implementation("verify", lambda _: Nothing())
    assert in_time(activity, lambda: {"version": "v1"}) == {"version": "v1"}


def test_what_an_activity_raises_is_raised_at_once() -> None:
    def execute() -> JsonObject:
        raise LookupError("no request")

    activity = Implementation("plan", lambda _: Nothing())
    with pytest.raises(LookupError, match="no request"):
        in_time(activity, execute)
