"""`rotation.edges.database` on a read replica: a streaming one, of each PostgreSQL at hand.

The newest in `make test`, earlier ones in `make long`. What `rotation.contracts.database`
promises is asked of the replica in memory too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import pytest
import yaml

from local.postgres import Postgres, Replica, installations
from local.postgres.provision import Application, provision
from local.process import wait_until
from rotation.config import Admin, parse
from rotation.config import Database as Settings
from rotation.edges.database.server import PostgreSQL
from rotation.model.activities import Reference
from rotation.model.errors import Denied, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import Session
from rotation.secrecy import Secret, new_password
from rotation.steps.login import activate, deactivate, stage, verify
from rotation.steps.running import Step
from tests.memory import MemoryEdges
from tests.unit.test_config import CREDENTIAL, changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from rotation.contracts.database import Database
    from rotation.contracts.database import Replica as Contract

LAG = 60.0  # seconds, in memory


class Place(Protocol):
    """A server, and a replica of it whose replay can be held up."""

    def database(self) -> Database: ...

    def replica(self) -> Contract: ...

    def hold(self) -> None: ...

    def release(self) -> None: ...

    def reader(self, role: str, password: Secret) -> AbstractContextManager[Callable[[], bool]]:
        """A session of somebody's on the replica, and whether it still works."""


class Real:
    def __init__(self, server: Postgres, copy: Replica, rotator: Secret) -> None:
        self.server, self.copy, self.rotator = server, copy, rotator

    def at(self, port: int) -> PostgreSQL:
        settings = Settings(
            host="127.0.0.1",
            port=port,
            name="orders",
            admin=Admin(role="rotator", secret="from-the-test"),
            sslmode="prefer",
        )
        return PostgreSQL(settings, lambda: self.rotator)

    def database(self) -> PostgreSQL:
        return self.at(self.server.port)

    def replica(self) -> PostgreSQL:
        return self.at(self.copy.port)

    def hold(self) -> None:
        self.copy.hold()

    def release(self) -> None:
        self.copy.release()

    def reader(self, role: str, password: Secret) -> Any:
        return _reader(self.copy.conninfo(role, password.reveal(), "orders"))


class _reader:  # noqa: N801 - used like a function
    def __init__(self, conninfo: str) -> None:
        self.connection = psycopg.connect(conninfo, autocommit=True, application_name="reports")

    def __enter__(self) -> Callable[[], bool]:
        return self.works

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def works(self) -> bool:
        try:
            return self.connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        except psycopg.OperationalError:
            return False


class Memory:
    def __init__(self, edges: MemoryEdges) -> None:
        self.edges = edges
        self.credential = edges.configuration.credential("orders-db")
        for cluster in edges.world.clusters.values():
            cluster.deployments.clear()  # nobody but the tests has sessions

    def database(self) -> Database:
        return self.edges.database(self.credential)

    def replica(self) -> Contract:
        return self.edges.replicas(self.credential)[0]

    def hold(self) -> None:
        self.edges.calls.pause(1)  # what was there at the beginning is known everywhere
        self.edges.world.database.lag = LAG

    def release(self) -> None:
        self.edges.calls.pause(LAG)
        self.edges.world.database.lag = 0.0

    def reader(self, role: str, password: Secret) -> Any:
        del password
        return _reader_in_memory(self.edges, role)


class _reader_in_memory:  # noqa: N801 - used like a function
    def __init__(self, edges: MemoryEdges, role: str) -> None:
        self.model = edges.world.database
        self.session = Session(role, "reports", "10.0.0.9", "idle", edges.now())
        self.model.readers.append(self.session)

    def __enter__(self) -> Callable[[], bool]:
        return lambda: self.session in self.model.readers

    def __exit__(self, *_: object) -> None:
        self.model.readers = [one for one in self.model.readers if one is not self.session]


FOUND = [] if os.environ.get("CONTRACT_POSTGRES_DSN") else installations()
EARLIER = [pytest.param(one, marks=pytest.mark.long) for one in FOUND[:-1]]


@pytest.fixture(
    scope="module",
    params=[*EARLIER, *FOUND[-1:], None],
    ids=lambda one: str(one.major) if one else "memory",
)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Real | None]:
    """None: in memory."""
    if request.param is None:
        yield None
        return
    directory: Path = tmp_path_factory.mktemp("replicated")
    rotator, binaries = new_password(), request.param.binaries
    with Postgres(directory / "server", binaries=binaries, replicated=True) as server:
        application = Application()
        provision(
            server.admin_conninfo, application, password=new_password(), rotator_password=rotator
        )
        with Replica(directory / "replica", server) as copy:
            yield Real(server, copy, rotator)


@pytest.fixture
def place(pair: Real | None) -> Iterator[Place]:
    if pair is None:
        file = changed((f"{CREDENTIAL}.database.replicas", ["read.example"]))
        yield Memory(MemoryEdges(parse(yaml.safe_dump(file))))
        return
    pair.release()
    yield pair
    pair.release()


def test_a_login_is_there_once_it_was_replayed(place: Place) -> None:
    password, replica = new_password(), place.replica()
    place.hold()
    place.database().activate("orders_green", password)
    place.database().login("orders_green", password)
    with pytest.raises(Denied) as caught:
        replica.login("orders_green", password)
    assert caught.value.code is Code.LOGIN_REFUSED
    assert not caught.value.transient
    place.release()
    replica.login("orders_green", password)
    assert replica.roles(["orders_green"])["orders_green"].login


def test_a_role_is_shown_as_it_lets_in_there(place: Place) -> None:
    """What retirement relies on: as long as `roles` shows LOGIN the password is good, and not a
    moment longer. A refused login would tell less, since a wrong password is refused too."""
    password, replica = new_password(), place.replica()
    place.database().activate("orders_green", password)
    place.release()
    place.hold()
    place.database().deactivate("orders_green")
    assert not place.database().roles(["orders_green"])["orders_green"].login
    assert replica.roles(["orders_green"])["orders_green"].login
    replica.login("orders_green", password)
    place.release()
    assert not replica.roles(["orders_green"])["orders_green"].login
    with pytest.raises(Denied):
        replica.login("orders_green", password)


def test_its_sessions_are_its_own_and_so_is_their_end(place: Place) -> None:
    password, replica, database = new_password(), place.replica(), place.database()
    database.activate("orders_green", password)
    place.release()
    with place.reader("orders_green", password) as works:
        assert [(one.role, one.application) for one in replica.sessions(["orders_green"])] == [
            ("orders_green", "reports")
        ]
        assert database.sessions(["orders_green"]) == []
        database.terminate("orders_green")
        assert works()
        assert replica.terminate("orders_green") == 1
        assert not works()
    wait_until(lambda: not replica.sessions(["orders_green"]), 10, "the end of the session")


def test_it_is_told_by_its_address(place: Place) -> None:
    assert place.replica().address != place.database().address


def test_whatever_writes_is_refused_there(pair: Real | None) -> None:
    """The edge is one for both; what a step would do at the wrong place fails loudly."""
    if pair is None:
        pytest.skip("the contract of a replica has no verb that writes")
    with pytest.raises(Exception, match="could not deactivate role orders_green"):
        pair.replica().deactivate("orders_green")


# -- the steps, on a real replica


class Mixed(MemoryEdges):
    """Everything in memory but the database, which is real."""

    def __init__(self, pair: Real) -> None:
        file = changed((f"{CREDENTIAL}.database.replicas", ["read.example"]))
        super().__init__(parse(yaml.safe_dump(file)))
        self.pair = pair

    def database(self, credential: object) -> Any:
        del credential
        return self.pair.database()

    def replicas(self, credential: object) -> Any:
        del credential
        return [self.pair.replica()]


def test_the_steps_wait_for_a_real_replica(pair: Real | None) -> None:
    if pair is None:
        pytest.skip("tests/unit/test_replicas.py has the steps in memory")
    edges = Mixed(pair)

    def step(**more: Any) -> Step:
        return Step(edges, Reference(rotation="r-1", credential="orders-db", slot="green", **more))

    def behind(act: Callable[[], None]) -> None:
        with pytest.raises(Unavailable) as caught:
            act()
        assert caught.value.code is Code.REPLICA_BEHIND

    serving = edges.world.current(edges.configuration.credential("orders-db"), "blue")
    assert serving is not None
    pair.database().activate("orders_blue", Secret(serving.password))
    pair.release()
    pair.hold()
    version = stage(step()).version
    activate(step(version=version))
    behind(lambda: verify(step(version=version)))
    pair.release()
    verify(step(version=version))
    pair.hold()
    behind(lambda: deactivate(step()))
    pair.release()
    deactivate(step())
    assert not pair.replica().roles(["orders_green"])["orders_green"].login
