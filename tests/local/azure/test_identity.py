"""The managed identity endpoint, asked by azure-identity."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

from local.identity import (
    ISSUER,
    AudienceError,
    Identity,
    TokenError,
    environment,
    header,
    issue,
    verify,
)
from local.process import Component
from tests.local.azure.support import APP, READER, Admin, fetch_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VAULT = "https://vault.azure.net"
GOOD = f"api-version=2019-08-01&resource={VAULT}"
AKS = "6dae42f8-4368-4678-94ff-3960e28e3630"


@pytest.fixture
def keys(state: Path, identity_env: None) -> Path:
    return state / "identity"


def test_system_assigned_identity(keys: Path) -> None:
    with ManagedIdentityCredential() as credential:
        token = credential.get_token(f"{VAULT}/.default")
    claims = verify(token.token, VAULT, keys)
    assert (claims["oid"], claims["appid"], claims["iss"]) == (
        APP.principal_id,
        APP.client_id,
        ISSUER,
    )
    # azure-identity computes the expiry from the seconds that are left, so one may be lost.
    assert abs(claims["exp"] - token.expires_on) <= 1


@pytest.mark.parametrize(
    "selector",
    [
        {"client_id": READER.client_id},
        {"identity_config": {"object_id": READER.principal_id}},
        {"identity_config": {"resource_id": READER.resource_id}},
    ],
)
def test_user_assigned_identity(keys: Path, selector: dict[str, Any]) -> None:
    with ManagedIdentityCredential(**selector) as credential:
        token = credential.get_token(f"{VAULT}/.default").token
    assert verify(token, VAULT, keys)["oid"] == READER.principal_id


def test_default_credential(keys: Path) -> None:
    with DefaultAzureCredential(managed_identity_client_id=READER.client_id) as credential:
        token = credential.get_token(f"{AKS}/.default").token
    assert verify(token, AKS, keys)["oid"] == READER.principal_id


def test_unknown_identity_is_refused(keys: Path) -> None:
    with (
        ManagedIdentityCredential(client_id=Identity.named("nobody").client_id) as credential,
        pytest.raises(ClientAuthenticationError, match="400, No User Assigned or Delegated"),
    ):
        credential.get_token(f"{VAULT}/.default")


def test_wrong_header_is_refused(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "guessed")
    with (
        ManagedIdentityCredential() as credential,
        pytest.raises(ClientAuthenticationError, match="X-IDENTITY-HEADER"),
    ):
        credential.get_token(f"{VAULT}/.default")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (f"resource={VAULT}", "api-version"),
        ("api-version=2017-09-01&resource=https://vault.azure.net", "api-version"),
        ("api-version=2019-08-01", "resource"),
        ("api-version=2019-08-01&resource=vault", "resource"),
        (f"{GOOD}&client_id={READER.client_id}&mi_res_id={READER.resource_id}", "once"),
    ],
)
def test_requests_refused(identity: Component, keys: Path, query: str, message: str) -> None:
    status, problem = fetch_json(
        f"{identity.url}?{query}", headers={"X-IDENTITY-HEADER": header(keys)}
    )
    assert (status, problem["statusCode"]) == (400, 400)
    assert message in problem["message"]


def test_without_system_assigned_identity_one_must_be_named(
    tmp_path: Path,
    started: Callable[[Component], Component],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = started(
        Component.module(
            *("identity", "--state", str(tmp_path), "--identity", "reader"), log=tmp_path / "log"
        )
    )
    for variable, value in environment(tmp_path, endpoint.url).items():
        monkeypatch.setenv(variable, value)
    with (
        ManagedIdentityCredential() as credential,
        pytest.raises(ClientAuthenticationError, match="No User Assigned"),
    ):
        credential.get_token(f"{VAULT}/.default")


@pytest.mark.parametrize(
    ("lifetime", "reused"),
    [pytest.param("3600", True, id="long"), pytest.param("120", False, id="short")],
)
def test_token_is_fetched_again_before_it_expires(
    tmp_path: Path,
    started: Callable[[Component], Component],
    monkeypatch: pytest.MonkeyPatch,
    lifetime: str,
    reused: bool,
) -> None:
    """azure-identity's cache gives out no token with less than five minutes to live."""
    endpoint = started(
        Component.module(
            *("identity", "--state", str(tmp_path), "--system", "app", "--lifetime", lifetime),
            log=tmp_path / "log",
        )
    )
    for variable, value in environment(tmp_path, endpoint.url).items():
        monkeypatch.setenv(variable, value)
    with ManagedIdentityCredential() as credential:
        tokens = {credential.get_token(f"{VAULT}/.default").token for _ in range(2)}
    assert (len(tokens) == 1) is reused


def test_ordered_failure_is_the_sdks_error(keys: Path, identity: Component) -> None:
    admin = Admin(identity)
    admin.fault(match={"path_prefix": "/msi/token"}, status=400)
    with ManagedIdentityCredential() as credential:
        with pytest.raises(ClientAuthenticationError, match="ordered"):
            credential.get_token(f"{VAULT}/.default")
        assert verify(credential.get_token(f"{VAULT}/.default").token, VAULT, keys)
    admin.clear()


class TestVerify:
    def token(self, keys: Path, *, now: float | None = None, lifetime: int = 60) -> str:
        moment = time.time() if now is None else now
        return issue(APP, VAULT, keys, now=moment, lifetime=lifetime)[0]

    def test_accepts_one_of_several_audiences(self, tmp_path: Path) -> None:
        token = self.token(tmp_path)
        assert verify(token, ["https://other.example", VAULT], tmp_path)["aud"] == VAULT

    def test_refuses_other_audience(self, tmp_path: Path) -> None:
        with pytest.raises(AudienceError, match="eventgrid"):
            verify(self.token(tmp_path), "https://eventgrid.azure.net", tmp_path)

    def test_refuses_expired(self, tmp_path: Path) -> None:
        with pytest.raises(TokenError, match="expired"):
            verify(self.token(tmp_path, now=time.time() - 61), VAULT, tmp_path)

    def test_refuses_not_yet_valid(self, tmp_path: Path) -> None:
        with pytest.raises(TokenError, match="not yet valid"):
            verify(self.token(tmp_path, now=time.time() + 3600), VAULT, tmp_path)

    def test_refuses_foreign_key(self, tmp_path: Path) -> None:
        self.token(tmp_path / "ours")
        with pytest.raises(TokenError, match="Signature"):
            verify(self.token(tmp_path / "theirs"), VAULT, tmp_path / "ours")

    def test_verifies_before_the_endpoint_has_started(self, tmp_path: Path) -> None:
        with pytest.raises(TokenError, match="Not enough segments"):
            verify("garbage", VAULT, tmp_path)
        assert verify(self.token(tmp_path), VAULT, tmp_path)["oid"] == APP.principal_id

    def test_refuses_unsigned(self, tmp_path: Path) -> None:
        claims = jwt.decode(self.token(tmp_path), options={"verify_signature": False})
        forged = jwt.encode(claims, key="", algorithm="none")
        with pytest.raises(TokenError, match="alg"):
            verify(forged, VAULT, tmp_path)

    def test_message_never_holds_the_token(self, tmp_path: Path) -> None:
        token = self.token(tmp_path, now=time.time() - 61)
        with pytest.raises(TokenError) as caught:
            verify(token, VAULT, tmp_path)
        assert not any(part in str(caught.value) for part in token.split("."))
