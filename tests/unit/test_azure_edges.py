"""The edges on Azure: each is opened once, and the admin's token goes to the cloud's servers."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.identity import CredentialUnavailableError

from rotation.config import Endpoint
from rotation.edges.azure import AzureEdges
from rotation.edges.identity import Heard, Renewable, Telling
from rotation.model.errors import Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.secrecy import Secret
from tests.unit.test_config import VALID

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def edges(tmp_path: Path) -> AzureEdges:
    (tmp_path / "credentials.yaml").write_text(yaml.safe_dump(VALID), encoding="utf-8")
    more = {
        "ROTATION_DATABASE_HOSTS": "pg.contoso.example",
        "AzureWebJobsStorage__blobServiceUri": "https://strotation.blob.core.windows.net/",
    }
    return AzureEdges({"ROTATION_CONFIG": str(tmp_path / "credentials.yaml"), **more})


def test_each_edge_is_opened_once(edges: AzureEdges) -> None:
    credential = edges.configuration.credential("orders-db")
    assert edges.identity is edges.identity
    for once in (
        lambda: edges.vault("https://kv.vault.azure.net"),
        lambda: edges.database(credential),
        lambda: edges.topic("https://t.westeurope-1.eventgrid.azure.net/api/events"),
        lambda: edges.store("records"),
        lambda: getattr(edges.traffic("aks"), "_api"),  # noqa: B009 - the API's client is what is shared
    ):
        assert once() is not None
        assert once() is once()
    other = edges.vault("https://other.vault.azure.net")
    assert other is not edges.vault("https://kv.vault.azure.net")


def test_an_app_without_a_storage_account_says_so() -> None:
    with pytest.raises(Missing) as caught:
        AzureEdges({}).store("records")
    assert caught.value.code is Code.STORAGE_UNSET


class Signed:
    """Counts the tokens that are asked for."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes += scopes
        return AccessToken("an Entra token", 2**32)


def test_a_planned_twin_signs_in_as_the_file_s_edges_do(edges: AzureEdges) -> None:
    twin = edges.planned(edges.configuration)
    assert twin.identity is edges.identity


def test_a_file_that_cannot_be_read_names_nobody() -> None:
    assert AzureEdges({"ROTATION_CONFIG": "/no/such/credentials.yaml"}).named() == set()


def test_an_endpoint_is_a_place_of_its_own(edges: AzureEdges) -> None:
    given = edges.configuration.credential("orders-db")
    assert edges.endpoint(given) is None
    database = given.database.model_copy(update={"endpoint": Endpoint(host="pooler.example")})
    fronted = given.model_copy(update={"database": database})
    assert edges.endpoint(fronted) is edges.endpoint(fronted)
    assert edges.endpoint(fronted) not in {None, edges.database(fronted)}


@pytest.mark.parametrize(("secret", "left"), [(None, 2), ("admin-password", 1)])
def test_a_token_that_a_server_refused_is_forgotten_and_a_password_never_kept(
    edges: AzureEdges, monkeypatch: pytest.MonkeyPatch, secret: str | None, left: int
) -> None:
    made: list[Signed] = []

    def make() -> Signed:
        made.append(Signed())
        return made[-1]

    kept = Renewable(make)
    monkeypatch.setattr(edges.identity, "bare", kept)
    monkeypatch.setattr(edges.identity, "credential", kept)
    given = edges.configuration.credential("orders-db")
    admin = given.database.admin.model_copy(update={"secret": secret})
    database = given.database.model_copy(update={"admin": admin})
    edges.identity.token("one")
    edges._refused(given.model_copy(update={"database": database}))  # noqa: SLF001 - what a server's refusal calls
    edges.identity.token("one")
    assert len(made) == left


HOSTS = [
    ("pg.postgres.database.azure.com", True),
    ("PG.Postgres.Database.Azure.com.", True),
    ("pg.postgres.database.usgovcloudapi.net", False),  # another cloud
    ("pg.contoso.example", True),
    ("pg.evil.example", False),
    ("postgres.database.azure.com.evil.example", False),
]


@pytest.mark.guarantee(3)
@pytest.mark.parametrize(("host", "trusted"), HOSTS)
def test_the_token_goes_to_servers_of_the_cloud_alone(
    edges: AzureEdges, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool
) -> None:
    signed = Signed()
    monkeypatch.setattr(edges.identity, "credential", signed)
    given = edges.configuration.credential("orders-db")
    database = given.database.model_copy(update={"host": host})
    credential = given.model_copy(update={"database": database})
    if trusted:
        assert edges._admin_password(credential, host).reveal() == "an Entra token"  # noqa: SLF001 - what it sends goes to a server
        assert signed.scopes == ["https://ossrdbms-aad.database.windows.net/.default"]
        return
    with pytest.raises(Invalid, match=f"is not sent to {host}") as caught:
        edges.database(credential).roles(["orders_blue"])
    assert caught.value.code is Code.DATABASE_HOST
    assert signed.scopes == []


@pytest.mark.parametrize("own", [None, "https://kv-admin.vault.azure.net"])
def test_an_admins_password_comes_from_its_vault(edges: AzureEdges, own: str | None) -> None:
    asked: list[tuple[str, str]] = []

    class Opened(AzureEdges):
        def vault(self, url: str) -> Any:
            class Vault:
                def value(self, secret: Any) -> Secret:
                    asked.append((url, str(secret)))
                    return Secret("from the vault")

            return Vault()

    given = edges.configuration.credential("orders-db")
    admin = given.database.admin.model_copy(update={"secret": "admin-password", "vault": own})
    database = given.database.model_copy(update={"admin": admin})
    credential = given.model_copy(update={"database": database})
    password = Opened({})._admin_password(credential, "pg.example")  # noqa: SLF001 - as above
    assert password.reveal() == "from the vault"
    assert asked == [(own or "https://kv.vault.azure.net", "admin-password")]


UNSIGNED: list[tuple[Exception, type[EdgeError], Code]] = [
    (CredentialUnavailableError("hunter2"), Unavailable, Code.IDENTITY_MISSING),
    (ClientAuthenticationError("hunter2"), Denied, Code.IDENTITY_DENIED),
    (AzureError("hunter2"), Unavailable, Code.IDENTITY_UNAVAILABLE),
    (ValueError("hunter2"), Unavailable, Code.IDENTITY_ANSWER),
]


@pytest.mark.parametrize(
    ("error", "kind", "code"), UNSIGNED, ids=[type(row[0]).__name__ for row in UNSIGNED]
)
def test_an_identity_without_a_token(error: Exception, kind: type[EdgeError], code: Code) -> None:
    class Refusing:
        def get_token(self, *_: str, **__: Any) -> AccessToken:
            raise error

    telling = Telling(Renewable(Refusing), Heard())
    with pytest.raises(kind, match="no token for the scope") as caught:
        telling.get_token("the scope")
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert "hunter2" not in caught.value.message


def test_what_is_fetched_is_checked(edges: AzureEdges) -> None:
    for url in ("ftp://api.example/", "http:///whoami"):
        with pytest.raises(Invalid) as caught:
            edges.fetch(url, 1.0)
        assert caught.value.code is Code.TEST_URL
    with pytest.raises(Invalid, match=r"metadata: 169\.254\.169\.254 is where") as caught:
        edges.fetch("http://169.254.169.254/metadata", 1.0)
    assert caught.value.code is Code.TEST_METADATA
    with pytest.raises(Unavailable) as late:
        edges.fetch("http://no-such-host.invalid/", 1.0)
    with pytest.raises(Invalid, match="certificateAuthority of a test cannot be used"):
        edges.trusts("no-such-file.pem")
    assert late.value.code is Code.TEST_NO_ANSWER


def test_the_clock_is_the_machines(edges: AzureEdges) -> None:
    before = datetime.now(UTC)
    began = time.monotonic()
    edges.sleep(0.01)
    assert time.monotonic() - began >= 0.01
    assert before <= edges.now() <= datetime.now(UTC)


def test_what_is_hardly_meant_is_logged_once(
    edges: AzureEdges, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", "rotation"):
        first = edges.configuration
        said = len(caplog.records)
        assert edges.configuration is first
    assert len(caplog.records) == said
