"""Identity endpoint, vault and topic as processes; clients are the unmodified SDKs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from azure.identity import ManagedIdentityCredential

from local.identity import environment
from local.process import Component
from tests.local.azure.support import ADMIN, Admin, secret_client, start_vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from azure.keyvault.secrets import SecretClient


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def identity(state: Path) -> Iterator[Component]:
    component = Component.module(
        "identity",
        *("--state", str(state / "identity"), "--system", "app", "--identity", "reader"),
        log=state / "identity.log",
        env=ADMIN,
    )
    with component:
        yield component


@pytest.fixture
def identity_env(identity: Component, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the platform puts into an app's environment."""
    for name, value in environment(state / "identity", identity.url).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def credential(identity_env: None) -> Iterator[ManagedIdentityCredential]:
    with ManagedIdentityCredential() as credential:
        yield credential


@pytest.fixture(scope="session")
def vault(identity: Component, state: Path) -> Iterator[Component]:
    with start_vault(state, "vault") as component:
        yield component


@pytest.fixture
def client(vault: Component, credential: ManagedIdentityCredential) -> Iterator[SecretClient]:
    """Without the SDK's retries, so that a test sees each answer."""
    with secret_client(vault, credential, retry_total=0) as client:
        yield client
    Admin(vault).clear()


@pytest.fixture
def admin(vault: Component) -> Admin:
    return Admin(vault)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A secret's name that no other test uses."""
    return str(request.node.name).translate({ord(c): "-" for c in "_[]./ "})[:127]


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
