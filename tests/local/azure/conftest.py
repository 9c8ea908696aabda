"""Identity endpoint, vault and topic as processes; clients are the unmodified SDKs."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient

from local.identity import Identity, environment
from local.process import Component

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ADMIN = {"LOCAL_ADMIN_KEY": "an admin key of the tests"}
APP = Identity.named("app")
READER = Identity.named("reader")


@dataclass
class Admin:
    """Calls a component's admin routes."""

    component: Component

    def call(self, method: str, path: str, body: object = None, key: str | None = None) -> Any:
        headers = {"x-local-admin-key": ADMIN["LOCAL_ADMIN_KEY"] if key is None else key}
        scheme, _, rest = self.component.url.partition("://")
        url = f"{scheme}://{rest.partition('/')[0]}{path}"
        return fetch_json(
            url, method=method, body=body, headers=headers, ca=self.component.facts.get("ca")
        )[1]

    def fault(self, **order: object) -> None:
        self.call("POST", "/local/faults", order)

    def faults(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/local/faults"))

    def clear(self) -> None:
        self.call("DELETE", "/local/faults")


def fetch(
    url: str,
    *,
    method: str = "GET",
    body: object = None,
    headers: dict[str, str] | None = None,
    ca: object = None,
) -> tuple[int, dict[str, str], str]:
    """Status, headers in lower case and text, for refusals too."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    context = ssl.create_default_context(cafile=str(ca)) if ca else None
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return answer.status, _lower(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _lower(error.headers), error.read().decode()


def _lower(headers: Any) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items()}


def fetch_json(url: str, **how: Any) -> tuple[int, Any]:
    status, _, text = fetch(url, **how)
    return status, json.loads(text)


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
def identity_env(
    identity: Component, state: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """What the platform puts into an app's environment."""
    for name, value in environment(state / "identity", identity.url).items():
        monkeypatch.setenv(name, value)
    yield


@pytest.fixture
def credential(identity_env: None) -> Iterator[ManagedIdentityCredential]:
    with ManagedIdentityCredential() as credential:
        yield credential


@pytest.fixture(scope="session")
def vault(identity: Component, state: Path) -> Iterator[Component]:
    with start_vault(state, "vault") as component:
        yield component


def start_vault(state: Path, name: str, *args: str) -> Component:
    return Component.module(
        "keyvault",
        *("--state", str(state / name), "--identity-state", str(state / "identity")),
        *args,
        log=state / f"{name}.log",
        env=ADMIN,
    )


def secret_client(vault: Component, credential: Any, **options: Any) -> SecretClient:
    return SecretClient(
        vault.url,
        credential,
        connection_verify=str(vault.facts["ca"]),
        verify_challenge_resource=False,
        **options,
    )


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
