"""`rotation.edges.identity` against the managed identity endpoint, with azure-identity as it is."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from local.identity import Identity as Local
from local.identity import environment, verify
from local.process import Component
from rotation.clouds import CLOUDS, PUBLIC
from rotation.edges.identity import Identity
from rotation.edges.topic import EventGridTopic
from rotation.model.errors import Denied, Unavailable
from rotation.model.reasons import Code
from tests.contract.conftest import at_once, faults
from tests.local.azure.support import ADMIN, APP, Admin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def admin(identity: Component) -> Iterator[Admin]:
    yield from faults(identity)


@pytest.fixture
def signed_in(identity: Component, state: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the platform puts into an app's environment."""
    found = environment(state / "identity", identity.url)
    for key, value in found.items():
        monkeypatch.setenv(key, value)
    return found


SCOPES = sorted({scope for one in CLOUDS.values() for scope in (one.clusters, one.postgresql)})


@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_is_for_the_scope(signed_in: dict[str, str], state: Path, scope: str) -> None:
    token = Identity(signed_in, PUBLIC.authority).token(scope)
    claims = verify(token.reveal(), scope.removesuffix("/.default"), state / "identity")
    assert claims["oid"] == APP.principal_id
    assert token.reveal() not in repr(token)


def test_a_token_is_kept_while_it_lasts(signed_in: dict[str, str], admin: Admin) -> None:
    """A fault that does nothing but count."""
    admin.fault(delay=0.001, times=100)
    identity = Identity(signed_in, PUBLIC.authority)
    tokens = {identity.token(scope).reveal() for scope in (PUBLIC.clusters, PUBLIC.postgresql) * 3}
    assert len(tokens) == 2
    assert [fault["hits"] for fault in admin.faults()] == [2]


def test_a_token_about_to_expire_is_replaced(
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    started: Callable[[Component], Component],
) -> None:
    short = started(
        Component.module(
            "identity",
            *("--state", str(state / "short"), "--system", "app", "--lifetime", "30"),
            log=state / "short.log",
            env=ADMIN,
        )
    )
    found = environment(state / "short", short.url)
    for key, value in found.items():
        monkeypatch.setenv(key, value)
    Admin(short).fault(delay=0.001, times=100)
    identity = Identity(found, PUBLIC.authority)
    identity.token(PUBLIC.clusters)
    identity.token(PUBLIC.clusters)
    assert [fault["hits"] for fault in Admin(short).faults()] == [2]


def test_tokens_that_are_forgotten_are_asked_for_anew(
    signed_in: dict[str, str], admin: Admin
) -> None:
    admin.fault(delay=0.001, times=100)
    identity = Identity(signed_in, PUBLIC.authority)
    identity.token(PUBLIC.clusters)
    identity.forget()
    identity.token(PUBLIC.clusters)
    assert [fault["hits"] for fault in admin.faults()] == [2]


def test_a_pause_that_is_asked_for_is_the_orchestrator_s(
    signed_in: dict[str, str], admin: Admin
) -> None:
    admin.fault(status=503, times=50, retry_after=30)
    with at_once(30), pytest.raises(Unavailable):
        Identity(signed_in, PUBLIC.authority).token(PUBLIC.clusters)
    assert [fault["hits"] for fault in admin.faults()] == [1]


def test_an_identity_that_is_not_assigned(signed_in: dict[str, str]) -> None:
    stranger = {**signed_in, "AZURE_CLIENT_ID": Local.named("stranger").client_id}
    with pytest.raises(Unavailable, match=r"no token .* \(AZURE_CLIENT_ID names") as caught:
        Identity(stranger, PUBLIC.authority).token(PUBLIC.clusters)
    assert caught.value.code is Code.IDENTITY_MISSING
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_endpoint_that_fails_is_worth_a_retry(
    signed_in: dict[str, str], admin: Admin, status: int
) -> None:
    admin.fault(status=status, times=50, retry_after=0)
    with pytest.raises(
        Unavailable, match=f"the identity endpoint answered HTTP {status}"
    ) as caught:
        Identity(signed_in, PUBLIC.authority).token(PUBLIC.clusters)
    assert caught.value.transient
    assert caught.value.code is Code.IDENTITY_UNAVAILABLE


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_that_is_not_known_is_told_by_its_status(
    signed_in: dict[str, str], admin: Admin, status: int
) -> None:
    admin.fault(status=status)
    with pytest.raises(Denied, match=f"HTTP {status}; check AZURE_CLIENT_ID") as caught:
        Identity(signed_in, PUBLIC.authority).token(PUBLIC.clusters)
    assert caught.value.code is Code.IDENTITY_DENIED
    assert "ordered" not in caught.value.message


EVENT = {
    "id": "1",
    "eventType": "x",
    "subject": "x",
    "eventTime": "2026-11-25T00:00:00Z",
    "data": {},
    "dataVersion": "1",
}
PAGES = [
    (200, Code.IDENTITY_ANSWER),
    (403, Code.IDENTITY_ANSWER),
    (404, Code.IDENTITY_ANSWER),
    (502, Code.IDENTITY_UNAVAILABLE),
]


@pytest.mark.parametrize(("status", "code"), PAGES)
def test_a_page_is_no_fault_of_the_app_and_none_of_who_the_token_was_for(
    signed_in: dict[str, str], admin: Admin, status: int, code: Code
) -> None:
    admin.fault(status=status, cause="page", times=9)
    identity = Identity(signed_in, PUBLIC.authority)
    topic = EventGridTopic("https://127.0.0.1:1/api/events", identity.credential, "x", None)
    asked: list[Callable[[], object]] = [
        lambda: identity.token(PUBLIC.clusters),
        lambda: topic.publish(EVENT),
    ]
    for ask in asked:
        with pytest.raises(Unavailable, match=f"no token for .*HTTP {status}") as caught:
            ask()
        assert caught.value.code is code
        assert "Sign in" not in caught.value.message


def test_an_endpoint_that_recovers(signed_in: dict[str, str], admin: Admin) -> None:
    """The orchestrator asks again, not the SDK, whose waits would add up."""
    admin.fault(status=503, times=1, retry_after=0)
    identity = Identity(signed_in, PUBLIC.authority)
    with pytest.raises(Unavailable):
        identity.token(PUBLIC.clusters)
    assert identity.token(PUBLIC.clusters).reveal()


def test_an_endpoint_that_is_down(
    signed_in: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{taken.getsockname()[1]}/msi/token"
        monkeypatch.setenv("IDENTITY_ENDPOINT", down)
        with pytest.raises(Unavailable):
            Identity({**signed_in, "IDENTITY_ENDPOINT": down}, PUBLIC.authority).token(
                PUBLIC.clusters
            )
