"""Challenge, tokens, permissions and ordered failures, and what the SDK makes of them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.rest import HttpRequest
from azure.identity import ManagedIdentityCredential

from local.identity import issue
from local.process import Component, StartError
from tests.local.azure.support import APP, READER, Admin, fetch, secret_client, start_vault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from azure.keyvault.secrets import SecretClient


VAULT = "https://vault.azure.net"


class Tokens:
    """A credential that gives out prepared tokens, and claims that each lives for an hour."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.asked = 0

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == (f"{VAULT}/.default",)
        self.asked += 1
        return AccessToken(self.tokens.pop(0), int(time.time()) + 3600)


def token(state: Path, resource: str = VAULT, age: float = 0.0) -> str:
    return issue(APP, resource, state / "identity", now=time.time() - age, lifetime=60)[0]


class TestAuthentication:
    def test_challenge(self, vault: Component) -> None:
        status, headers, text = fetch(
            f"{vault.url}/secrets/x?api-version=7.5", ca=vault.facts["ca"]
        )
        assert status == 401
        assert headers["www-authenticate"].startswith(
            'Bearer authorization="https://login.windows.net/'
        )
        assert f'resource="{VAULT}"' in headers["www-authenticate"]
        assert json.loads(text)["error"]["code"] == "Unauthorized"

    def test_expired_token_is_renewed_by_the_challenge(
        self, vault: Component, state: Path, name: str
    ) -> None:
        tokens = Tokens(token(state), token(state, age=61), token(state))
        with secret_client(vault, tokens, retry_total=0) as client:
            client.set_secret(name, "value")
        with secret_client(vault, tokens, retry_total=0) as client:
            assert client.get_secret(name).value == "value"
        assert tokens.asked == 3

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            pytest.param({"resource": "https://eventgrid.azure.net"}, "AKV10022", id="audience"),
            pytest.param({"age": 61}, "expired", id="expired"),
        ],
    )
    def test_token_bad(
        self, vault: Component, state: Path, name: str, given: dict[str, Any], message: str
    ) -> None:
        tokens = Tokens(*[token(state, **given) for _ in range(3)])
        with (
            secret_client(vault, tokens, retry_total=0) as client,
            pytest.raises(ClientAuthenticationError, match=message),
        ):
            client.get_secret(name)

    def test_token_of_another_authority(self, vault: Component, tmp_path: Path, name: str) -> None:
        tokens = Tokens(*[token(tmp_path) for _ in range(3)])
        with (
            secret_client(vault, tokens, retry_total=0) as client,
            pytest.raises(ClientAuthenticationError, match="Signature verification failed"),
        ):
            client.get_secret(name)

    @pytest.mark.parametrize("version", ["2015-06-01", ""])
    def test_api_version_bad(self, client: SecretClient, version: str) -> None:
        request = HttpRequest("GET", f"/secrets/x?api-version={version}")
        response = client.send_request(request)
        assert response.status_code == 400
        assert "api-version" in response.json()["error"]["message"]

    @pytest.mark.parametrize("version", ["7.0", "7.4", "2025-07-01"])
    def test_older_api_versions(
        self, vault: Component, credential: ManagedIdentityCredential, name: str, version: str
    ) -> None:
        with secret_client(vault, credential, api_version=version) as client:
            assert client.set_secret(name, "value").value == "value"

    def test_certificate_must_be_trusted(
        self, vault: Component, credential: ManagedIdentityCredential
    ) -> None:
        with (
            secret_client(vault, credential, retry_total=0) as client,
            pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            client.get_secret("x", connection_verify=True)

    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("GET", "/keys", None, 404),
            ("POST", "/secrets/x", b"{}", 405),
            ("PUT", "/secrets/x", b"no JSON", 400),
            ("PUT", "/secrets/x", b"[]", 400),
            ("PUT", "/secrets/x", b"{}", 400),
            ("PUT", "/secrets/x", b'{"value": 1}', 400),
            ("PUT", "/secrets/x", b'{"value": "v", "attributes": {"exp": "soon"}}', 400),
            ("PUT", "/secrets/x", b'{"value": "v", "attributes": {"enabled": "no"}}', 400),
            ("PUT", "/secrets/x", b'{"value": "v", "tags": {"a": 1}}', 400),
            ("GET", "/secrets?$skiptoken=%ff", None, 400),
        ],
    )
    def test_malformed_requests_get_key_vaults_json(
        self, client: SecretClient, method: str, path: str, body: bytes | None, status: int
    ) -> None:
        response = client.send_request(HttpRequest(method, path, content=body))
        assert response.status_code == status
        assert {"code", "message"} <= response.json()["error"].keys()


class TestPermissions:
    @pytest.fixture
    def grants(self, tmp_path: Path) -> Path:
        file = tmp_path / "access.json"
        file.write_text(
            json.dumps({APP.principal_id: ["get", "list", "set"], READER.principal_id: ["get"]})
        )
        return file

    @pytest.fixture
    def guarded(
        self, state: Path, grants: Path, tmp_path: Path, started: Callable[[Component], Component]
    ) -> Component:
        name = f"guarded-{tmp_path.name}"
        return started(start_vault(state, name, "--access", str(grants), "--name", "kv-orders"))

    def test_only_what_is_granted(
        self, guarded: Component, credential: ManagedIdentityCredential
    ) -> None:
        with secret_client(guarded, credential, retry_total=0) as client:
            client.set_secret("orders", "value")
            client.update_secret_properties("orders", enabled=True)
            with pytest.raises(HttpResponseError) as caught:
                client.begin_delete_secret("orders")
        with (
            ManagedIdentityCredential(client_id=READER.client_id) as reading,
            secret_client(guarded, reading, retry_total=0) as reader,
        ):
            assert reader.get_secret("orders").value == "value"
            for refused in (
                lambda: reader.set_secret("orders", "other"),
                lambda: list(reader.list_properties_of_secrets()),
                lambda: reader.update_secret_properties("orders", enabled=False),
            ):
                with pytest.raises(HttpResponseError, match="ForbiddenByRbac"):
                    refused()
        error = caught.value
        assert (error.status_code, error.error and error.error.code) == (403, "Forbidden")
        assert error.error is not None
        assert error.error.innererror == {"code": "ForbiddenByRbac"}
        assert f"oid={APP.principal_id}" in error.message
        assert "secrets/delete" in error.message

    def test_grant_can_be_taken_away(
        self, guarded: Component, grants: Path, credential: ManagedIdentityCredential
    ) -> None:
        with secret_client(guarded, credential, retry_total=0) as client:
            client.set_secret("orders", "value")
            grants.write_text("{}")
            with pytest.raises(HttpResponseError, match="not authorized to perform action"):
                client.get_secret("orders")

    def test_refusal_does_not_tell_whether_a_secret_exists(
        self, guarded: Component, grants: Path, credential: ManagedIdentityCredential
    ) -> None:
        grants.write_text("{}")
        with (
            secret_client(guarded, credential, retry_total=0) as client,
            pytest.raises(HttpResponseError) as caught,
        ):
            client.get_secret("nothing")
        assert caught.value.status_code == 403

    def test_unknown_permission_is_reported_at_start(self, state: Path, tmp_path: Path) -> None:
        grants = tmp_path / "access.json"
        grants.write_text(json.dumps({APP.principal_id: ["read"]}))
        component = start_vault(state, f"broken-{tmp_path.name}", "--access", str(grants))
        with pytest.raises(StartError, match="unknown permissions read"):
            component.start()


class TestFaults:
    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_status_is_the_exception_s(
        self, client: SecretClient, admin: Admin, name: str, status: int
    ) -> None:
        client.set_secret(name, "value")
        admin.fault(match={"path_prefix": f"/secrets/{name}"}, status=status)
        with pytest.raises(HttpResponseError) as caught:
            client.get_secret(name)
        assert caught.value.status_code == status
        assert client.get_secret(name).value == "value"

    def test_throttled_request_is_retried_after_the_time_given(
        self, vault: Component, credential: ManagedIdentityCredential, admin: Admin, name: str
    ) -> None:
        with secret_client(vault, credential) as client:
            client.set_secret(name, "value")
            admin.fault(match={"method": "GET"}, times=2, status=429, retry_after=1)
            begun = time.monotonic()
            assert client.get_secret(name).value == "value"
        assert time.monotonic() - begun >= 2
        assert admin.faults()[-1]["hits"] == 2
        admin.clear()

    def test_lost_answer_means_the_version_was_made(
        self, client: SecretClient, admin: Admin, name: str
    ) -> None:
        client.set_secret(name, "old")
        admin.fault(match={"method": "PUT", "path_prefix": f"/secrets/{name}"}, drop="after")
        with pytest.raises((ServiceResponseError, ServiceRequestError)):
            client.set_secret(name, "new")
        assert client.get_secret(name).value == "new"

    def test_lost_request_changes_nothing(
        self, client: SecretClient, admin: Admin, name: str
    ) -> None:
        client.set_secret(name, "old")
        admin.fault(match={"method": "PUT", "path_prefix": f"/secrets/{name}"}, drop="before")
        with pytest.raises((ServiceResponseError, ServiceRequestError)):
            client.set_secret(name, "new")
        assert client.get_secret(name).value == "old"

    def test_delay_outlasts_the_clients_patience(
        self, client: SecretClient, admin: Admin, name: str
    ) -> None:
        client.set_secret(name, "value")
        admin.fault(match={"path_prefix": f"/secrets/{name}"}, delay=2)
        with pytest.raises(ServiceResponseError, match="timed out"):
            client.get_secret(name, read_timeout=0.2)

    def test_admin_key_is_required(self, vault: Component) -> None:
        url, ca = f"{vault.url}/local/faults", vault.facts["ca"]
        for key in ({}, {"x-local-admin-key": "guess"}):
            assert fetch(url, method="POST", body={"status": 500}, headers=key, ca=ca)[0] == 403

    @pytest.mark.parametrize(
        ("order", "message"),
        [
            ({}, "needs one of"),
            ({"status": 200}, "from 400 to 599"),
            ({"status": 503, "times": 0}, "at least 1"),
            ({"drop": "maybe"}, '"before" or "after"'),
            ({"status": 503, "match": {"host": "x"}}, "unknown fields: host"),
            ([], "JSON object"),
        ],
    )
    def test_order_bad(self, admin: Admin, order: object, message: str) -> None:
        assert message in admin.call("POST", "/local/faults", order)["error"]


def test_no_value_reaches_the_log(vault: Component, client: SecretClient, name: str) -> None:
    client.set_secret(name, "a-very-particular-value")
    client.get_secret(name)
    logged = vault.log.read_text()
    assert f"/secrets/{name}" in logged
    assert "a-very-particular-value" not in logged
    assert "eyJ" not in logged  # the beginning of any token
