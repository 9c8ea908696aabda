from __future__ import annotations

import asyncio
import gc
import http.client
import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from psycopg import sql

from local.load import Load
from local.postgres import Application, Postgres, provision
from local.process import Component, StartError, wait_until
from local.workload.settings import SettingsError, parse
from rotation.secrecy import Secret, new_password

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATION = Application()
BLUE, GREEN = APPLICATION.slots["blue"], APPLICATION.slots["green"]


class World(NamedTuple):
    server: Postgres
    passwords: dict[str, Secret]  # by slot

    def environment(self, slot: str = "blue") -> dict[str, str]:
        """All but the secret."""
        return {
            "PORT": "0",
            "WORKLOAD": "orders-api",
            "SLOT": slot,
            "POD_NAME": f"orders-api-{slot}-1",
            "DATABASE_HOST": "127.0.0.1",
            "DATABASE_PORT": str(self.server.port),
            "DATABASE_NAME": APPLICATION.database,
            "DATABASE_ROLE": APPLICATION.slots[slot],
            "DATABASE_SSLMODE": "disable",
            "LAME_DUCK_SECONDS": "1",
        }

    def secret(self, form: str, slot: str = "blue") -> dict[str, str]:
        role, password = APPLICATION.slots[slot], self.passwords[slot].reveal()
        port, database = self.server.port, APPLICATION.database
        document = {"username": role, "password": password, "host": "127.0.0.1", "port": port}
        location = f"{role}:{password}@127.0.0.1:{port}/{database}?sslmode=disable"
        return {
            "password": {"DATABASE_PASSWORD": password},
            "url": {"DATABASE_URL": f"postgresql://{location}"},
            "json": {"DATABASE_JSON": json.dumps({**document, "dbname": database})},
        }[form]

    def set_password(self, slot: str, password: Secret) -> None:
        role = APPLICATION.slots[slot]
        with psycopg.connect(self.server.admin_conninfo, autocommit=True) as connection:
            verifier = connection.pgconn.encrypt_password(
                password.reveal().encode(), role.encode(), b"scram-sha-256"
            ).decode()
            statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
            connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    passwords = {"blue": new_password(), "green": new_password()}
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        provision(
            server.admin_conninfo,
            APPLICATION,
            password=passwords["blue"],
            rotator_password=new_password(),
        )
        world = World(server, passwords)
        world.set_password("green", passwords["green"])
        yield world


def workload(
    world: World, directory: Path, slot: str = "blue", name: str = "", **extra: str
) -> Component:
    environment = {**world.environment(slot), **world.secret("password", slot), **extra}
    log = directory / f"{name or slot}.log"
    return Component.module("workload", log=log, env=environment)


@pytest.fixture(scope="module")
def running(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Component]:
    with workload(world, tmp_path_factory.mktemp("workload")) as component:
        wait_until_ready(component)
        yield component


def wait_until_ready(component: Component) -> None:
    wait_until(lambda: call(component, "/readyz").status == 200, 10, "readiness")


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def document(self) -> Any:
        return json.loads(self.text)


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None
) -> Answer:
    connection.request(method, path, body, {"Accept": "*/*"})
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read().decode())


@contextmanager
def connected(component: Component) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(component.url.removeprefix("http://"), timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def call(
    component: Component, path: str, method: str = "GET", body: Any = None, text: str | None = None
) -> Answer:
    with connected(component) as connection:
        return exchange(connection, method, path, text or (json.dumps(body) if body else None))


# Settings

FORMS = ["password", "url", "json"]
MINIMAL = {"DATABASE_HOST": "db", "DATABASE_NAME": "orders", "DATABASE_ROLE": "orders_blue"}


@pytest.mark.parametrize("form", FORMS)
def test_each_format_gives_the_same_login(world: World, form: str) -> None:
    expected = {
        "host": "127.0.0.1",
        "user": BLUE,
        "password": world.passwords["blue"].reveal(),
        "dbname": APPLICATION.database,
        "sslmode": "disable",
        "application_name": "orders-api/blue",
    }
    settings = parse({**world.environment(), **world.secret(form)})
    assert settings.connection.items() >= expected.items()
    assert int(settings.connection["port"]) == world.server.port
    assert expected["password"] not in repr(settings)


def test_a_url_needs_nothing_else_and_is_percent_decoded() -> None:
    url = "postgresql://orders%5Fblue:p%40ss%2Fw%3Ard@db.example:6432/orders?sslmode=require"
    assert parse({"DATABASE_URL": url}).connection == {
        "host": "db.example",
        "port": 6432,
        "user": "orders_blue",
        "password": "p@ss/w:rd",
        "dbname": "orders",
        "sslmode": "require",
        "application_name": "orders",
        "connect_timeout": 5,
    }


def test_the_role_may_be_in_a_file_too(tmp_path: Path) -> None:
    role = tmp_path / "username"
    role.write_text("orders_green\n", encoding="utf-8")
    environment = {**MINIMAL, "DATABASE_PASSWORD": "p", "DATABASE_ROLE_FILE": str(role)}
    assert parse(environment).connection["user"] == "orders_green"
    role.unlink()
    with pytest.raises(SettingsError, match="DATABASE_ROLE_FILE: cannot read"):
        parse(environment)


def test_tls_is_verified_unless_told_otherwise() -> None:
    connection = parse({**MINIMAL, "DATABASE_PASSWORD": "p"}).connection
    assert connection["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        (MINIMAL, "DATABASE_PASSWORD, .* there is none of them"),
        ({**MINIMAL, "DATABASE_PASSWORD": "hunter2", "DATABASE_URL": "hunter2"}, "exactly one"),
        ({"DATABASE_PASSWORD": "hunter2"}, "DATABASE_HOST: missing"),
        ({"DATABASE_URL": "postgresql://orders:hunter2/x@db/orders"}, "percent-encode"),
        ({"DATABASE_URL": "postgresql://orders:hunter2[@db/orders"}, "DATABASE_URL: is no URL"),
        ({"DATABASE_URL": "host=db password=hunter2"}, "not of the form"),
        ({"DATABASE_URL": "postgresql://o:hunter2@db/orders?hint=1"}, "not known here: hint"),
        ({"DATABASE_JSON": "{hunter2"}, "DATABASE_JSON: is no JSON"),
        ({"DATABASE_JSON": '{"pass": "hunter2"}'}, "not an object with username, password"),
        ({**MINIMAL, "DATABASE_PASSWORD_FILE": "/nowhere/p"}, "cannot read /nowhere/p: No such"),
        ({**MINIMAL, "DATABASE_PASSWORD": "hunter2", "PORT": "http"}, "PORT: 'http' is not a"),
        ({**MINIMAL, "DATABASE_PASSWORD": "hunter2", "POOL_MAX": "0"}, "POOL_MAX: 0 must be"),
    ],
)
def test_problems_name_the_variable_and_never_the_secret_bad(
    environment: dict[str, str], problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem) as caught:
        parse(environment)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_all_problems_are_reported_together_bad() -> None:
    with pytest.raises(SettingsError) as caught:
        parse({"PORT": "x", "POOL_MIN": "y", "DATABASE_PASSWORD": "p"})
    assert len(caught.value.problems) == 5


def test_a_wrong_environment_ends_the_process_with_the_reason(tmp_path: Path) -> None:
    component = Component.module("workload", log=tmp_path / "log", env={"PORT": "x"})
    with pytest.raises(StartError):
        component.start()
    assert "PORT: 'x' is not a number" in component.log.read_text()


# Serving


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("delivery", ["environment", "file"])
def test_serves_with_each_format_and_delivery(
    world: World, tmp_path: Path, form: str, delivery: str
) -> None:
    environment = {**world.environment(), **world.secret(form)}
    if delivery == "file":
        name, value = next(iter(world.secret(form).items()))
        (tmp_path / "mounted").write_text(value)
        environment = {**world.environment(), f"{name}_FILE": str(tmp_path / "mounted")}
    with Component.module("workload", log=tmp_path / "log", env=environment) as component:
        assert call(component, "/whoami").document["role"] == BLUE
        assert call(component, "/readyz").status == 200


def test_whoami_is_asked_from_the_database(world: World, running: Component) -> None:
    answer = call(running, "/whoami")
    assert answer.document == {
        "role": BLUE,
        "acting_as": APPLICATION.group,
        "slot": "blue",
        "application": "orders-api/blue",
        "pod": "orders-api-blue-1",
        "server_version": answer.document["server_version"],
    }
    with psycopg.connect(world.server.admin_conninfo) as connection:
        assert connection.execute("SHOW server_version").fetchone() == (
            answer.document["server_version"],
        )
    assert answer.headers["X-Database-Role"] == BLUE


def test_its_sessions_carry_its_name(world: World, running: Component) -> None:
    query = "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = %s"
    with psycopg.connect(world.server.admin_conninfo) as connection:
        found = connection.execute(query, ["orders-api/blue"]).fetchall()
    assert found == [(BLUE,)]


def test_an_order_is_written_and_read_back(running: Component) -> None:
    order = {"customer": "A <b>bold</b> & co", "item": "Tea", "quantity": 3}
    created = call(running, "/orders", "POST", order)
    assert created.status == 201
    newest = call(running, "/orders").document[0]
    assert newest == created.document
    assert newest.items() >= order.items()
    page = call(running, "/")
    assert page.headers.get_content_type() == "text/html"
    assert "A &lt;b&gt;bold&lt;/b&gt; &amp; co" in page.text
    assert f"slot <b>blue</b> as <b>{BLUE}</b>" in page.text


def test_the_page_is_json_when_asked(running: Component) -> None:
    with connected(running) as connection:
        connection.request("GET", "/", headers={"Accept": "application/json"})
        document = json.loads(connection.getresponse().read())
    assert [order["id"] for order in document] == sorted(
        (order["id"] for order in document), reverse=True
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ('{"item": "Tea", "quantity": 1}', "customer is not"),
        ('{"customer": "A", "item": "", "quantity": 1}', "item is not"),
        ('{"customer": "A", "item": "Tea", "quantity": true}', "quantity is not"),
        ('{"customer": "A", "item": "Tea", "quantity": 0}', "quantity is not"),
    ],
)
def test_a_malformed_order_is_refused_bad(running: Component, text: str, reason: str) -> None:
    answer = call(running, "/orders", "POST", text=text)
    assert answer.status == 400
    assert reason in answer.document["error"]


def test_unknown_paths_are_not_found_bad(running: Component) -> None:
    assert call(running, "/nowhere").status == 404
    assert call(running, "/whoami", "DELETE").status == 405


def test_metrics_count_what_was_served(running: Component) -> None:
    line = 'workload_requests_total{slot="blue",method="GET",route="/healthz",status="200"} '

    def count() -> int:
        lines = call(running, "/metrics").text.splitlines()
        return sum(int(found.removeprefix(line)) for found in lines if found.startswith(line))

    before = count()
    call(running, "/healthz")
    assert count() == before + 1
    assert "workload_pool_size " in call(running, "/metrics").text


def test_the_access_log_has_one_json_line_a_request(running: Component) -> None:
    call(running, "/whoami?token=hunter2")
    lines = [json.loads(line) for line in running.log.read_text().splitlines()]
    last = lines[-1]
    assert (last["event"], last["method"], last["path"]) == ("request", "GET", "/whoami")
    assert (last["status"], last["role"], last["pod"]) == (200, BLUE, "orders-api-blue-1")
    assert "hunter2" not in running.log.read_text()


# Readiness


def test_readiness_fails_once_a_new_connection_would(world: World, tmp_path: Path) -> None:
    with workload(world, tmp_path, "green", LOGIN_SECONDS="0", POOL_MAX="1") as component:
        wait_until_ready(component)
        world.set_password("green", new_password())
        try:
            assert call(component, "/orders").status == 200  # the pool looks healthy
            answer = call(component, "/readyz")
            assert answer.status == 503
            assert f'authentication failed for user "{GREEN}"' in answer.document["reason"]
        finally:
            world.set_password("green", world.passwords["green"])
        assert call(component, "/readyz").status == 200


def test_a_wrong_password_never_gets_ready_and_is_not_shown(world: World, tmp_path: Path) -> None:
    wrong = "correct-horse-battery"
    with workload(world, tmp_path, DATABASE_PASSWORD=wrong, POOL_SECONDS="0.5") as component:
        answers = [call(component, path) for path in ("/readyz", "/orders", "/whoami", "/")]
        assert [answer.status for answer in answers] == [503] * 4
        assert call(component, "/healthz").status == 200
        assert "password authentication failed" in answers[0].document["reason"]
        assert wrong not in " ".join(psutil.Process(component.pid).cmdline())
    said = component.log.read_text() + "".join(answer.text for answer in answers)
    assert "password authentication failed" in said
    assert wrong not in said


def test_a_restarted_database_costs_no_later_request(tmp_path: Path) -> None:
    password = new_password()
    with Postgres(tmp_path / "postgres") as server:
        arguments = {"password": password, "rotator_password": new_password()}
        provision(server.admin_conninfo, APPLICATION, **arguments)
        world = World(server, {"blue": password})
        with workload(world, tmp_path, POOL_MIN="5") as component:
            size = "workload_pool_available 5\n"
            wait_until(lambda: size in call(component, "/metrics").text, 10, "a full pool")
            server.kill()
            assert call(component, "/readyz").status == 503
            assert call(component, "/healthz").status == 200
            server.start()
            assert [call(component, "/orders").status for _ in range(5)] == [200] * 5


# Stopping


def ended(process: psutil.Process) -> object:
    """The exit code. A connection that a pool keeps and does not use is open until the drain ends,
    after 15 s."""
    return process.wait(30)


def test_a_stopping_server_serves_on_and_says_goodbye(world: World, tmp_path: Path) -> None:
    with workload(world, tmp_path) as component, connected(component) as kept:
        assert exchange(kept, "GET", "/orders").headers["Connection"] is None
        process = psutil.Process(component.pid)
        process.terminate()
        wait_until(lambda: call(component, "/readyz").status == 503, 1, "unreadiness")
        answer = exchange(kept, "GET", "/orders")
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert call(component, "/orders").status == 200
        assert ended(process) == 0


def test_a_request_in_flight_is_answered(world: World, tmp_path: Path) -> None:
    with (
        workload(world, tmp_path, LAME_DUCK_SECONDS="0") as component,
        connected(component) as kept,
        psycopg.connect(world.server.admin_conninfo, dbname=APPLICATION.database) as lock,
    ):
        wait_until_ready(component)
        lock.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        kept.request("GET", "/orders")
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until(lambda: lock.execute(waiting).fetchone() == (1,), 5, "the blocked query")
        process = psutil.Process(component.pid)
        process.terminate()
        wait_until(lambda: refuses(component), 5, "the end of listening")
        lock.rollback()
        with kept.getresponse() as answer:
            assert answer.status == 200
        assert ended(process) == 0


def refuses(component: Component) -> bool:
    """Whether nothing listens any more. It asks nothing: the event loop may have taken this
    connection just before listening ended, and would then never answer on it."""
    address = urlsplit(component.url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=10).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # it was in the backlog when listening ended
    return False


class Switch:
    """Does what a Service does: each new TCP connection goes to the present target."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []
        self._serving: set[asyncio.Task[None]] = set()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._listening.set()
        await self._done.wait()
        # What was accepted a moment ago is served only after some turns of the loop, and a server
        # that is closed by then leaves it open, for some other test to fail by.
        self._loop.remove_reader(server.sockets[0].fileno())
        for _ in range(10):
            await asyncio.sleep(0)
        server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(w.wait_closed() for w in self._writers), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self._writers.append(writer)
        try:
            source, sink = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.append(sink)
            await asyncio.gather(self._pump(reader, sink), self._pump(source, writer))
        except (OSError, asyncio.CancelledError):
            writer.close()  # its client sees the connection end

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    def __enter__(self) -> Switch:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()


def test_the_switch_leaves_no_connection_open() -> None:
    """Not those of the last moment either: what is left open fails a test, by its warning."""
    with socket.create_server(("127.0.0.1", 0)) as target:
        for _ in range(20):
            with Switch(target.getsockname()[1]) as service:
                address = urlsplit(service.url)
                clients = [
                    socket.create_connection((address.hostname, address.port)) for _ in range(5)
                ]
            for client in clients:
                client.close()
    gc.collect()


def test_swapping_and_stopping_under_load_fails_no_request(world: World, tmp_path: Path) -> None:
    with (
        workload(world, tmp_path, "blue") as blue,
        workload(world, tmp_path, "green") as green,
        Switch(int(str(blue.facts["port"]))) as service,
    ):
        wait_until_ready(blue)
        wait_until_ready(green)
        load = Load([service.url], workers=9, fresh=3, pooled=3, rate=200).start()
        wait_until(lambda: served(load, service, BLUE) > 50, 10, "traffic on blue")
        service.target = int(str(green.facts["port"]))
        wait_until(lambda: served(load, service, GREEN) > 20, 10, "traffic on green")
        process = psutil.Process(blue.pid)
        process.terminate()
        assert ended(process) == 0
        count = served(load, service, GREEN)
        wait_until(lambda: served(load, service, GREEN) > count + 50, 10, "traffic on green alone")
        report = load.stop()
    assert report.failures == []
    assert set(report.clients) == {"keep-alive", "pooled", "fresh"}
    assert report.roles[service.url].keys() == {BLUE, GREEN}
    assert report.told["keep-alive"] == 3  # each of its connections, once


def test_without_a_lame_duck_each_kept_connection_fails_one_request_at_the_end(
    world: World, tmp_path: Path
) -> None:
    """As most applications end: the swap fails nothing, the end at most what is kept."""
    kept, pooled = 4, 3
    with (
        workload(world, tmp_path, "blue", LAME_DUCK_SECONDS="0") as blue,
        workload(world, tmp_path, "green") as green,
        Switch(int(str(blue.facts["port"]))) as service,
    ):
        wait_until_ready(blue)
        wait_until_ready(green)
        load = Load([service.url], workers=kept + pooled, fresh=0, pooled=pooled, rate=200).start()
        wait_until(lambda: served(load, service, BLUE) > 50, 10, "traffic on blue")
        service.target = int(str(green.facts["port"]))
        so_far = load.report().requests
        wait_until(lambda: load.report().requests > so_far + 50, 10, "traffic after the swap")
        assert load.report().failed == 0
        process = psutil.Process(blue.pid)
        process.terminate()
        assert ended(process) == 0
        wait_until(lambda: left(load) == kept, 10, "each kept connection being noticed as closed")
        count = served(load, service, GREEN)
        wait_until(lambda: served(load, service, GREEN) > count + 50, 10, "traffic on green alone")
        report = load.stop()
    # `http.client` hears of each connection's end once: by an answer, or by a request that fails.
    assert left(load) == kept
    assert report.failed_by.get("pooled", 0) <= pooled
    assert set(report.kinds) <= {"closed", "reset"}
    assert report.failed > 0


def left(load: Load) -> int:
    """The kept connections of `http.client` whose end it has heard of."""
    report = load.report()
    return report.told.get("keep-alive", 0) + report.failed_by.get("keep-alive", 0)


def served(load: Load, service: Switch, role: str) -> int:
    return load.report().roles[service.url].get(role, 0)


def test_a_killed_server_does_fail_requests(world: World, tmp_path: Path) -> None:
    """So that the test above cannot pass by not looking."""
    with workload(world, tmp_path) as component:
        wait_until_ready(component)
        load = Load([component.url], rate=200).start()
        wait_until(lambda: load.report().requests > 20, 10, "traffic")
        component.kill()
        wait_until(lambda: "refused" in load.report().kinds, 10, "failures")
        assert load.stop().failed > 0


# Secrecy


def test_no_password_is_in_any_log(world: World, running: Component) -> None:
    call(running, "/orders")
    logs = running.log.read_text() + world.server.log.read_text()
    assert "request" in logs
    assert "database system is ready" in logs
    for password in world.passwords.values():
        assert password.reveal() not in logs
