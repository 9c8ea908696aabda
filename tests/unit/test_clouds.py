"""The clouds: one table of scopes and suffixes, chosen by a setting, and nowhere else."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from azure.core.credentials import AccessToken
from azure.eventgrid._legacy._constants import DEFAULT_EVENTGRID_SCOPE
from azure.identity import AzureAuthorityHosts

from rotation.clouds import CHINA, CLOUDS, PUBLIC, US_GOVERNMENT, Cloud
from rotation.config import Condition
from rotation.edges import identity
from rotation.edges.azure import AzureEdges
from rotation.edges.topic import EventGridTopic
from rotation.model.errors import ConfigurationError, Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import PLAIN, Answer, Manner
from rotation.secrecy import Secret
from rotation.settings import parse
from tests.security.attacked import CREDENTIAL, EVENT, configuration

if TYPE_CHECKING:
    from rotation.config import Credential

ROOT = Path(__file__).parents[2]
WORKSPACE = "3f1e2d4c-0000-4000-8000-5b6a79881234"
EACH = pytest.mark.parametrize("cloud", CLOUDS.values(), ids=CLOUDS)


class Tokens:
    """The app's identity, and what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def token(self, scope: str) -> Secret:
        self.asked.append(scope)
        return Secret("token")

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.asked += scopes
        return AccessToken("token", 2**32)


def edges(cloud: Cloud) -> tuple[AzureEdges, Tokens]:
    found, tokens = AzureEdges({"ROTATION_CLOUD": cloud.name}), Tokens()
    found.__dict__["identity"] = tokens
    return found, tokens


def on_server(host: str) -> tuple[Credential, str]:
    """A credential on this server, and the server's name."""
    known = configuration([]).credential(CREDENTIAL)
    database = known.database.model_copy(update={"host": host})
    return known.model_copy(update={"database": database}), host


# The setting


@EACH
def test_a_cloud_is_named_as_azure_names_it(cloud: Cloud) -> None:
    assert parse({"ROTATION_CLOUD": cloud.name}).cloud is cloud


@pytest.mark.parametrize("environment", [{}, {"ROTATION_CLOUD": ""}])
def test_it_is_the_public_one_unless_another_is_named(environment: dict[str, str]) -> None:
    assert parse(environment).cloud is PUBLIC


@pytest.mark.parametrize("name", ["azurecloud", "China", "AzureGermanCloud", "p4ssw0rd"])
def test_a_cloud_that_is_none(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse({"ROTATION_CLOUD": name})
    known = "AzureChinaCloud, AzureCloud, AzureUSGovernment"
    assert caught.value.problems == [f"ROTATION_CLOUD: is none of {known}"]


# What it decides


@EACH
def test_a_database_gets_a_token_of_its_cloud(cloud: Cloud) -> None:
    found, tokens = edges(cloud)
    found._admin_password(*on_server(f"pg-orders{cloud.postgresql_hosts}"))  # noqa: SLF001 - asks no server
    assert tokens.asked == [cloud.postgresql]


@pytest.mark.parametrize(
    ("cloud", "other"), [(a, b) for a in CLOUDS.values() for b in CLOUDS.values() if a is not b]
)
def test_no_server_of_another_cloud_gets_one(cloud: Cloud, other: Cloud) -> None:
    found, tokens = edges(cloud)
    with pytest.raises(Invalid, match=f"it is no server of {cloud.name};"):
        found._admin_password(*on_server(f"pg-orders{other.postgresql_hosts}"))  # noqa: SLF001 - as above
    assert tokens.asked == []


def condition(url: str = "", **more: str) -> Condition:
    """One that asks this Prometheus server, or a workspace."""
    source: dict[str, Any] = {"azureMonitor": {"workspace": WORKSPACE, "query": "Logins"}}
    if url:
        source = {"prometheus": {"url": url, "query": "up", **more}}
    return Condition.model_validate({"name": "errors", "above": 1, **source})


class Asked(AzureEdges):
    """Whose requests go nowhere."""

    sent: list[tuple[str, dict[str, str]]]

    def fetch(
        self, url: str, timeout: float, manner: Manner = PLAIN, authority: str | None = None
    ) -> Answer:
        del timeout, authority
        self.sent.append((url, dict(manner.headers)))
        return Answer(503, b"")


def measuring(cloud: Cloud, asked: Condition, **settings: str) -> tuple[str, str | None, list[str]]:
    """What a condition is asked with: the URL, what is in `Authorization`, and the scopes of the
    tokens that the app had."""
    found, tokens = Asked({"ROTATION_CLOUD": cloud.name, **settings}), Tokens()
    found.__dict__["identity"], found.sent = tokens, []
    with pytest.raises(Unavailable):
        found.measure(asked, 1.0)
    ((url, headers),) = found.sent
    return url, headers.get("Authorization"), tokens.asked


@EACH
def test_logs_are_asked_for_in_the_cloud_with_its_token(cloud: Cloud) -> None:
    url, sent, scopes = measuring(cloud, condition())
    assert url == f"{cloud.logs_endpoint}/v1/workspaces/{WORKSPACE}/query"
    assert (sent, scopes) == ("Bearer token", [cloud.logs])


@EACH
def test_a_server_of_metrics_gets_a_token_of_its_cloud(cloud: Cloud) -> None:
    url = f"https://amw-1.region{cloud.prometheus_hosts}"
    asked, sent, scopes = measuring(cloud, condition(url))
    assert asked == f"{url}/api/v1/query"
    assert (sent, scopes) == ("Bearer token", [cloud.prometheus])


@pytest.mark.parametrize(
    "url",
    [
        f"https://amw-1.region{US_GOVERNMENT.prometheus_hosts}",
        f"https://amw-1.region{CHINA.prometheus_hosts}",
        f"http://amw-1.region{PUBLIC.prometheus_hosts}",
        f"https://amw-1.region{PUBLIC.prometheus_hosts}.evil.example",
        f"https://evil{PUBLIC.prometheus_hosts[1:]}",
        f"https://evil.example/{PUBLIC.prometheus_hosts}",
        "https://prometheus.example",
    ],
)
def test_no_other_server_of_metrics_gets_a_token_of_the_app(url: str) -> None:
    _, sent, scopes = measuring(PUBLIC, condition(url))
    assert (sent, scopes) == (None, [])


def test_the_token_of_a_file_goes_to_the_server_that_names_it_alone(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("s3cret-token\n")
    folder = {"ROTATION_TOKENS": str(tmp_path)}
    named = condition("https://prometheus.example", token="theirs")
    assert measuring(PUBLIC, named, **folder)[1:] == ("Bearer s3cret-token", [])
    assert measuring(PUBLIC, condition("https://other.example"), **folder)[1:] == (None, [])
    assert measuring(PUBLIC, condition(), **folder)[1:] == ("Bearer token", [PUBLIC.logs])


def test_metrics_are_asked_for_where_the_file_of_now_says() -> None:
    """What a rotation was planned with comes from the task hub, and is nobody's word."""
    found = Asked({})
    found.__dict__["identity"], found.sent, found.kept = Tokens(), [], configuration([])
    url = f"https://amw-1.region{PUBLIC.prometheus_hosts}"
    with mock.patch.object(AzureEdges, "named", return_value={url}):
        with pytest.raises(Invalid, match="is not asked for metrics") as caught:
            found.measure(condition(f"https://amw-2.evil{PUBLIC.prometheus_hosts}"), 1.0)
        assert (caught.value.code, found.sent) == (Code.ENTRY_HOST, [])
        with pytest.raises(Unavailable):
            found.measure(condition(url), 1.0)
    assert [one for one, _ in found.sent] == [f"{url}/api/v1/query"]


@EACH
def test_a_topic_gets_a_token_of_its_cloud(cloud: Cloud) -> None:
    """Through the SDK, which asks for the public cloud's by itself."""
    tokens = Tokens()
    topic = EventGridTopic("https://127.0.0.1:1/api/events", tokens, cloud.topics, None)
    with pytest.raises(Unavailable):
        topic.publish(EVENT)
    assert set(tokens.asked) == {cloud.topics}


@EACH
def test_a_developer_signs_in_to_the_cloud(cloud: Cloud) -> None:
    found = AzureEdges({"ROTATION_CLOUD": cloud.name})
    with mock.patch.object(identity, "DefaultAzureCredential") as made:
        found.identity.bare.get_token("scope")
    assert made.call_args.kwargs["authority"] == cloud.authority
    assert made.call_args.kwargs["retry_total"] == 0  # the orchestrator repeats


def test_what_the_sdk_is_told_of_its_authority_wins() -> None:
    environment = {"ROTATION_CLOUD": CHINA.name, "AZURE_AUTHORITY_HOST": "login.example"}
    with mock.patch.object(identity, "DefaultAzureCredential") as made:
        AzureEdges(environment).identity.bare.get_token("scope")
    assert made.call_args.kwargs["authority"] == "login.example"


# The table


def test_it_agrees_with_what_the_sdks_know() -> None:
    assert PUBLIC.topics == DEFAULT_EVENTGRID_SCOPE
    assert PUBLIC.authority == AzureAuthorityHosts.AZURE_PUBLIC_CLOUD
    assert US_GOVERNMENT.authority == AzureAuthorityHosts.AZURE_GOVERNMENT
    assert CHINA.authority == AzureAuthorityHosts.AZURE_CHINA


@EACH
def test_a_scope_is_one_and_a_suffix_begins_with_a_dot(cloud: Cloud) -> None:
    for scope in (cloud.postgresql, cloud.topics, cloud.prometheus, cloud.logs):
        assert re.fullmatch(r"https://[a-z.-]+/\.default", scope)
    assert re.fullmatch(r"[0-9a-f-]{36}/\.default", cloud.clusters)
    assert re.fullmatch(r"(\.[a-z]+){3,4}", cloud.postgresql_hosts)
    assert cloud.prometheus == f"https://{cloud.prometheus_hosts[1:]}/.default"


def test_no_other_module_has_a_scope_or_a_domain_of_a_cloud() -> None:
    """Docstrings and comments may: they give examples."""
    domains = re.compile(
        r"/\.default\b|(database|vault|eventgrid|login)\.(azure|windows|microsoftonline|usgov|china)"
    )
    found = [
        f"{path.relative_to(ROOT)}: {node.value}"
        for path in sorted((ROOT / "rotation").rglob("*.py"))
        if path.name != "clouds.py"
        for node in constants(ast.parse(path.read_text(encoding="utf-8")))
        if domains.search(node.value)
    ]
    assert found == []


def constants(tree: ast.AST) -> list[Any]:
    """The texts of a module, without those that stand alone: docstrings."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone
    ]


@EACH
def test_the_guide_has_the_table(cloud: Cloud) -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    database, topic = (
        scope.removesuffix("/.default") for scope in (cloud.postgresql, cloud.topics)
    )
    row = f"| `{database}` | `*{cloud.postgresql_hosts}` | `{topic}` |"
    assert re.search(rf"^\| `{cloud.name}`.*{re.escape(row)}$", guide, re.MULTILINE)
    metrics, logs = (scope.removesuffix("/.default") for scope in (cloud.prometheus, cloud.logs))
    row = f"| `{metrics}` | `*{cloud.prometheus_hosts}` | `{logs}` | `{cloud.logs_endpoint}` |"
    assert re.search(rf"^\| `{cloud.name}`.*{re.escape(row)}$", guide, re.MULTILINE)
