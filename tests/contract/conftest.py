"""The stand-ins that the edges are tested against, unless variables name the real thing.

docs/testing.md lists the variables. What the contracts promise is asked of the edges in memory too,
so that what unit tests and the simulation rotate in is held to the same.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from azure.core.credentials import AccessToken

from local.identity import Identity, issue
from local.process import Component
from rotation.config import parse
from rotation.edges.identity import Renewable
from tests.local.azure.support import ADMIN, APP, Admin
from tests.memory import MemoryEdges
from tests.unit.test_config import VALID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Tokens:
    """A credential that signs in as one of the local identities."""

    def __init__(self, state: Path, identity: Identity = APP) -> None:
        self._state = state / "identity"
        self._identity = identity

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        resource = scopes[0].removesuffix("/.default")
        token, expires = issue(
            self._identity, resource, self._state, now=time.time(), lifetime=3600
        )
        return AccessToken(token, expires)


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="session")
def identity(state: Path) -> Iterator[Component]:
    component = Component.module(
        "identity",
        *("--state", str(state / "identity"), "--system", "app", "--lifetime", "3600"),
        log=state / "identity.log",
        env=ADMIN,
    )
    with component:
        yield component


@pytest.fixture
def memory() -> MemoryEdges:
    return MemoryEdges(parse(yaml.safe_dump(VALID)))


@pytest.fixture
def name() -> str:
    """Of a thing that no other test uses, on a server that may be used by others too."""
    return f"contract-{secrets.token_hex(4)}"


@pytest.fixture
def started() -> Iterator[Callable[[Component], Component]]:
    """Starts a component that ends with the test."""
    running: list[Component] = []

    def start(component: Component) -> Component:
        running.append(component)
        return component.start()

    yield start
    for component in running:
        component.stop()


class Revoked:
    """A credential that keeps a token which no server takes, as the SDK's keep theirs."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("revoked", int(time.time()) + 3600)


def revoked_once(then: Any) -> Renewable:
    """A credential that is `then`, whose tokens are good, once it was told to forget the first."""
    made: Iterator[Any] = iter([Revoked(), then])
    return Renewable(lambda: next(made))


@contextmanager
def at_once(asked: float) -> Iterator[None]:
    """Fails if something waits in here for the seconds that a server asked for."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < asked, "it has waited, instead of the orchestrator"


# Where a promise is looked at: `real` is a stand-in, or what a variable names.
PLACES = ("real", "memory")


def needs_the_stand_in(variable: str, what: str = "orders a fault") -> None:
    if os.environ.get(variable):
        pytest.skip(f"{what}, which the server that {variable} names cannot be asked for")


def faults(component: Component) -> Iterator[Admin]:
    """Orders that do not outlive the test."""
    admin = Admin(component)
    yield admin
    admin.clear()
