"""The edges on Azure: each is opened once, and the admin's token goes to the cloud's servers."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from azure.core.credentials import AccessToken

from rotation.edges.azure import AzureEdges
from rotation.model.errors import Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.secrecy import Secret
from tests.unit.test_config import VALID

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def edges(tmp_path: Path) -> AzureEdges:
    (tmp_path / "credentials.yaml").write_text(yaml.safe_dump(VALID), encoding="utf-8")
    hosts = {"ROTATION_DATABASE_HOSTS": "pg.contoso.example"}
    return AzureEdges({"ROTATION_CONFIG": str(tmp_path / "credentials.yaml"), **hosts})


def test_each_edge_is_opened_once(edges: AzureEdges) -> None:
    credential = edges.configuration.credential("orders-db")
    assert edges.identity is edges.identity
    for once in (
        lambda: edges.vault("https://kv.vault.azure.net"),
        lambda: edges.database(credential),
        lambda: edges.topic("https://t.westeurope-1.eventgrid.azure.net/api/events"),
        lambda: getattr(edges.traffic("aks"), "_api"),  # noqa: B009 - the API's client is what is shared
    ):
        assert once() is once()
    other = edges.vault("https://other.vault.azure.net")
    assert other is not edges.vault("https://kv.vault.azure.net")


class Signed:
    """Counts the tokens that are asked for."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes += scopes
        return AccessToken("an Entra token", 2**32)


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
