"""credentials.yaml: what is accepted, and what is said about each mistake."""

from __future__ import annotations

import copy
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rotation import config
from rotation.config import Configuration, Credential, Section, crosscheck, fields, parse
from rotation.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

EXAMPLE = Path(__file__).parents[2] / "docs" / "credentials.example.yaml"
REFERENCE = EXAMPLE.with_name("configuration.md")

VALID: dict[str, Any] = {
    "clusters": {"aks": {"server": "https://aks.example"}},
    "credentials": {
        "orders-db": {
            "vault": "https://kv.vault.azure.net",
            "validity": "90d",
            "database": {"host": "pg.example", "name": "orders", "admin": {"role": "rotator"}},
            "slots": {
                "blue": {"role": "orders_blue", "secret": "orders-db-blue"},
                "green": {"role": "orders_green", "secret": "orders-db-green"},
            },
            "workloads": [
                {
                    "name": "api",
                    "cluster": "aks",
                    "namespace": "orders",
                    "service": "api",
                    "preview": "api-preview",
                    "deployments": {"blue": "api-blue", "green": "api-green"},
                    "tests": [{"path": "/whoami", "json": {"role": "{role}"}}],
                }
            ],
        }
    },
}
CREDENTIAL = "credentials.orders-db"
WORKLOAD = f"{CREDENTIAL}.workloads.0"
NAMED = f"{CREDENTIAL}.workloads.api"  # as messages call it
TEST = f"{WORKLOAD}.tests.0"


class Removed:
    """Says so in test ids, which must be the same in every process."""

    def __repr__(self) -> str:
        return "removed"


REMOVED = Removed()


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The valid file with other values at dotted paths."""
    file = copy.deepcopy(VALID)
    for path, value in changes:
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
        at: Any = file
        for parent in parents:
            at = at.setdefault(parent, {}) if isinstance(at, dict) else at[parent]
        if value is REMOVED:
            del at[last]
        elif isinstance(at, list) and last == len(at):
            at.append(value)
        else:
            at[last] = value
    return file


def test_a_header_that_names_no_secret_is_sent() -> None:
    headers = {"Idempotency-Key": "{slot}", "X-Key-Figures": "1", "X-Monkey": "2"}
    assert credential((f"{TEST}.headers", headers)).workloads[0].tests[0].headers == headers


def problems(file: object) -> list[str]:
    """Without their lines, which depend on how the file is written; and with the paths by which
    `changed` knows workloads, by number."""
    text = file if isinstance(file, str) else yaml.safe_dump(file, sort_keys=False)
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    return [
        numbered(problem.rpartition(" (line")[0], yaml.safe_load(text))
        for problem in caught.value.problems
    ]


def numbered(problem: str, file: Any) -> str:
    """A problem with workloads' numbers in the place of their names."""

    def number(found: re.Match[str]) -> str:
        workloads = file["credentials"][found[1]]["workloads"]
        (index,) = [n for n, one in enumerate(workloads) if one.get("name") == found[2]]
        return f"credentials.{found[1]}.workloads.{index}"

    return re.sub(r"credentials\.([\w-]+)\.workloads\.([a-z][a-z0-9-]*)", number, problem)


def credential(*changes: tuple[str, Any]) -> Credential:
    return parse(yaml.safe_dump(changed(*changes))).credential("orders-db")


def test_the_smallest_file_and_its_defaults() -> None:
    found = credential()
    workload = found.workloads[0]
    assert (found.format, found.database.port, found.database.sslmode) == (
        "password",
        5432,
        "verify-full",
    )
    assert (found.rotate_before, found.drain) == (timedelta(days=30), timedelta(minutes=1))
    assert (workload.delivery, workload.selector_label, workload.key) == ("csi", "slot", "password")
    assert (workload.tests[0].status, workload.tests[0].repeat) == (200, 3)
    assert (found.approval.on_deadline, found.approval.allow_requester) == ("keep", False)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90d", 90 * 86400),
        ("24h", 86400),
        ("10m", 600),
        ("20s", 20),
        ("0s", 0),
        ("1d12h", 129600),
        ("1d 12h", 129600),
        (" 1 m 30 s ", 90),
        ("3650d", 3650 * 86400),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    assert fields.duration(text) == timedelta(seconds=seconds)
    assert fields.duration(timedelta(seconds=seconds)) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "d",
        "90",
        90,
        1.5,
        None,
        True,
        "90x",
        "-1d",
        "1d1d",
        "1h1d",
        "90 days",
        "9d!",
        [],
        {},
        "٣d",
    ],
)
def test_duration_bad(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration: write for example 90d"):
        fields.duration(value)


@pytest.mark.parametrize("value", ["3651d", "3650d1s", "999999999d", "999999999h"])
def test_duration_too_long(value: str) -> None:
    with pytest.raises(ValueError, match="is longer than 3650d"):
        fields.duration(value)


@pytest.mark.parametrize("value", ["9999999999d", "1" * 5000 + "s"])
def test_duration_with_too_many_digits(value: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        fields.duration(value)


# Where the value stands in the file, the value, where it is found afterwards, and as what.
GOOD: list[tuple[str, Any, str, Any]] = [
    (f"{CREDENTIAL}.vault", "https://kv.vault.azure.net/", "vault", "https://kv.vault.azure.net"),
    (f"{CREDENTIAL}.vault", "https://127.0.0.1:8443", "vault", "https://127.0.0.1:8443"),
    (f"{CREDENTIAL}.validity", "31d1s", "validity", timedelta(days=31, seconds=1)),
    (f"{CREDENTIAL}.format", "json", "format", "json"),
    (f"{CREDENTIAL}.drain", "0s", "drain", timedelta(0)),
    (f"{CREDENTIAL}.database.host", "127.0.0.1", "database.host", "127.0.0.1"),
    (f"{CREDENTIAL}.database.port", 65535, "database.port", 65535),
    (f"{CREDENTIAL}.database.endpoint", "pooler", "database.serves_at", ("pooler", 5432)),
    (
        f"{CREDENTIAL}.database.endpoint",
        {"host": "pooler", "port": 6432},
        "database.serves_at",
        ("pooler", 6432),
    ),
    (
        f"{CREDENTIAL}.database.replicas",
        ["read", {"host": "PG.example", "port": 5433}],
        "database.reads_from",
        [("read", 5432), ("PG.example", 5433)],
    ),
    (
        f"{CREDENTIAL}.slots.blue.role",
        "o\"; DROP ROLE x; --'ü",
        "slots.blue.role",
        "o\"; DROP ROLE x; --'ü",
    ),
    (f"{CREDENTIAL}.retry", {"patience": "0s"}, "retry.retry_timeout", timedelta(0)),
    (
        f"{CREDENTIAL}.approval",
        {"onDeadline": "approve", "soak": "0s"},
        "approval.soak",
        timedelta(0),
    ),
    (f"{WORKLOAD}.port", 8080, "workloads.0.port", 8080),
    (f"{WORKLOAD}.template", "sync", "workloads.0.template", "sync"),
    (
        f"{WORKLOAD}.differs",
        ["spec.containers.api.env"],
        "workloads.0.differs",
        ["spec.containers[api].env"],
    ),
    (f"{WORKLOAD}.port", "http", "workloads.0.port", "http"),
    (
        f"{WORKLOAD}.selectorLabel",
        "app.example.com/slot",
        "workloads.0.selector_label",
        "app.example.com/slot",
    ),
    (f"{TEST}.path", "/a.b/..c?next=/../d", "workloads.0.tests.0.path", "/a.b/..c?next=/../d"),
    (
        f"{TEST}.json",
        {"role": "{role}", "ready": True, "errors": 0, "cause": None},
        "workloads.0.tests.0.expect",
        {"role": "{role}", "ready": True, "errors": 0, "cause": None},
    ),
    (
        f"{WORKLOAD}.tests.1",
        {"url": "http://api.example:8080/x?y=1"},
        "workloads.0.tests.1.url",
        "http://api.example:8080/x?y=1",
    ),
    (
        f"{WORKLOAD}.tests.1",
        {"path": "/x", "method": "POST", "scheme": "https", "port": "tls", "body": {"a": [1, "b"]}},
        "workloads.0.tests.1.body",
        {"a": [1, "b"]},
    ),
    (
        f"{WORKLOAD}.tests.1",
        {"url": "https://x", "certificateAuthority": "ca.pem", "headers": {"Host": "{slot}.x"}},
        "workloads.0.tests.1.reaches_standby",
        True,
    ),
    (
        f"{WORKLOAD}.tests.1",
        {
            "sql": "\n select count(*)\n\tfrom orders -- ü\n",
            "value": 0,
            "repeat": 1,
            "timeout": "20s",
        },
        "workloads.0.tests.1.sql",
        "select count(*)\n\tfrom orders -- ü",
    ),
    *(
        (
            f"{WORKLOAD}.tests.1",
            {"sql": "select x", "value": value},
            "workloads.0.tests.1.value",
            value,
        )
        for value in (0, "{role}", False)
    ),
    (f"{WORKLOAD}.tests.1", {"sql": "table orders"}, "workloads.0.tests.1.reaches_standby", True),
    (
        f"{WORKLOAD}.tests.1",
        {"sql": "select session_user", "value": "{role}"},
        "workloads.0.tests.1.proves_role",
        False,
    ),
]


def at(value: Any, path: str) -> Any:
    """The part of a parsed section that a dotted path names."""
    for part in path.split("."):
        if isinstance(value, dict):
            value = value[part]
        elif part.isdigit():
            value = value[int(part)]
        else:
            value = getattr(value, part)
    return value


@pytest.mark.parametrize(("path", "value", "attribute", "expected"), GOOD)
def test_accepted(path: str, value: Any, attribute: str, expected: Any) -> None:
    configuration = parse(yaml.safe_dump(changed((path, value))))
    (credential,) = configuration.credentials.values()
    parsed_value = at(credential, attribute)
    assert parsed_value == expected
    assert type(parsed_value) is type(expected)


def test_a_cluster_by_kubeconfig() -> None:
    file = changed(("clusters.aks", {"kubeconfig": "/etc/kubeconfig", "context": "here"}))
    cluster = parse(yaml.safe_dump(file)).clusters["aks"]
    assert (cluster.kubeconfig, cluster.context) == ("/etc/kubeconfig", "here")


BAD: list[tuple[str, Any, str]] = [
    ("clusters", REMOVED, "clusters: is missing"),
    ("credentials", {}, "credentials: Dictionary should have at least 1 item"),
    ("clusters.aks.server", "http://aks", "clusters.aks.server: 'http://aks' is not an https://"),
    ("clusters.aks", {}, "clusters.aks: give either `server`"),
    ("clusters.aks.kubeconfig", "x", "clusters.aks: give either `server`"),
    ("clusters.aks.context", "x", "clusters.aks: `context` goes with `kubeconfig`"),
    (
        "clusters.aks",
        {"kubeconfig": "x", "certificateAuthority": "y"},
        "clusters.aks: `certificateAuthority` goes with `server`",
    ),
    ("clusters.AKS", {"server": "https://x"}, "clusters.AKS: 'AKS' must be 2 to 32 lower-case"),
    ("credentials.Orders", VALID["credentials"]["orders-db"], "credentials.Orders: 'Orders' must"),
    (f"{CREDENTIAL}.vault", "kv-orders", f"{CREDENTIAL}.vault: 'kv-orders' is not an https://"),
    (
        f"{CREDENTIAL}.vault",
        "https://kv/secrets/x",
        f"{CREDENTIAL}.vault: 'https://kv/secrets/x' m",
    ),
    (f"{CREDENTIAL}.vault", "https://kv?x=1", f"{CREDENTIAL}.vault: 'https://kv?x=1' must be the"),
    (f"{CREDENTIAL}.vault", "https://kv:99999", f"{CREDENTIAL}.vault: 'https://kv:99999' is not"),
    (f"{CREDENTIAL}.vault", "https://[kv", f"{CREDENTIAL}.vault: 'https://[kv' is not an https://"),
    (f"{CREDENTIAL}.vault", "https://k\nv", f"{CREDENTIAL}.vault: 'https://k\\nv' is not an https"),
    (f"{CREDENTIAL}.vault", 7, f"{CREDENTIAL}.vault: 7 is not an https:// URL"),
    (f"{CREDENTIAL}.validity", "31d", f"{CREDENTIAL}.validity: must be more than 31d: Key Vault"),
    (f"{CREDENTIAL}.validity", "soon", f"{CREDENTIAL}.validity: 'soon' is not a duration"),
    (f"{CREDENTIAL}.rotateBefore", "90d", f"{CREDENTIAL}.rotateBefore: must be less than"),
    (f"{CREDENTIAL}.rotatebefore", "9d", f"{CREDENTIAL}.rotatebefore: there is no such key here; "),
    (f"{CREDENTIAL}.xyz", 1, f"{CREDENTIAL}.xyz: there is no such key here"),
    (
        f"{CREDENTIAL}.format",
        "yaml",
        f"{CREDENTIAL}.format: Input should be 'password', 'url', 'json'",
    ),
    (f"{CREDENTIAL}.database.host", "a,b", f"{CREDENTIAL}.database.host: 'a,b' must be a host"),
    (f"{CREDENTIAL}.database.host", "/tmp", f"{CREDENTIAL}.database.host: '/tmp' must be"),  # noqa: S108 - refused
    (f"{CREDENTIAL}.database.port", 0, f"{CREDENTIAL}.database.port: Input should be greater"),
    (
        f"{CREDENTIAL}.database.replicas",
        ["PG.example"],
        f"{CREDENTIAL}.database: `replicas`: PG.example:5432 is the server itself, or there twice",
    ),
    (
        f"{CREDENTIAL}.database.replicas",
        ["read", {"host": "read", "port": 5432}],
        f"{CREDENTIAL}.database: `replicas`: read:5432 is the server itself, or there twice",
    ),
    (f"{CREDENTIAL}.database.endpoint", "a b", f"{CREDENTIAL}.database.endpoint.host: 'a b' must"),
    (f"{CREDENTIAL}.database.name", "", f"{CREDENTIAL}.database.name: '' must be a database's"),
    (f"{CREDENTIAL}.database.sslmode", "no", f"{CREDENTIAL}.database.sslmode: Input should be"),
    (f"{CREDENTIAL}.database.admin", REMOVED, f"{CREDENTIAL}.database.admin: is missing"),
    (
        f"{CREDENTIAL}.database.admin.role",
        "orders_green",
        f"{CREDENTIAL}.slots.green.role: is the same as {CREDENTIAL}.database.admin.role",
    ),
    (f"{CREDENTIAL}.slots.green", REMOVED, f"{CREDENTIAL}.slots: must name one for each of blue a"),
    (
        f"{CREDENTIAL}.slots.red",
        {"role": "r", "secret": "s"},
        f"{CREDENTIAL}.slots.red: Input should be 'blue' or 'green'",
    ),
    (
        f"{CREDENTIAL}.slots.green.role",
        "orders_blue",
        f"{CREDENTIAL}.slots.green.role: is the same as {CREDENTIAL}.slots.blue.role",
    ),
    (
        f"{CREDENTIAL}.slots.green.secret",
        "Orders-DB-Blue",
        f"{CREDENTIAL}.slots.green.secret: is the same as {CREDENTIAL}.slots.blue.secret",
    ),
    (f"{CREDENTIAL}.slots.blue.role", "ü" * 32, f"{CREDENTIAL}.slots.blue.role: '{'ü' * 32}' must"),
    (f"{CREDENTIAL}.slots.blue.role", "a\nb", f"{CREDENTIAL}.slots.blue.role: 'a\\nb' must be a r"),
    (
        f"{CREDENTIAL}.slots.blue.secret",
        "a_b",
        f"{CREDENTIAL}.slots.blue.secret: 'a_b' must be a K",
    ),
    (f"{CREDENTIAL}.workloads", [], f"{CREDENTIAL}.workloads: List should have at least 1 item"),
    (f"{WORKLOAD}.cluster", "eks", f"{WORKLOAD}.cluster: 'eks' is not in clusters; there are: aks"),
    (
        f"{WORKLOAD}.namespace",
        "Orders",
        f"{WORKLOAD}.namespace: 'Orders' must be a Kubernetes name",
    ),
    (f"{WORKLOAD}.preview", "api", f"{WORKLOAD}.preview: is the same as {WORKLOAD}.service"),
    (
        f"{WORKLOAD}.differs",
        ["spec.env"],
        f"{WORKLOAD}.differs.0: 'spec.env' is no path of a pod template: `env` is a container's",
    ),
    (f"{WORKLOAD}.port", 0, f"{WORKLOAD}.port: 0 is neither a port number nor the name"),
    (f"{WORKLOAD}.port", True, f"{WORKLOAD}.port: True is neither"),
    (f"{WORKLOAD}.port", "8080", ""),
    (
        f"{WORKLOAD}.deployments.green",
        "api-blue",
        f"{WORKLOAD}.deployments.green: is the same as {WORKLOAD}.deployments.blue",
    ),
    (f"{WORKLOAD}.deployments.blue", REMOVED, f"{WORKLOAD}.deployments: must name one for each"),
    (f"{WORKLOAD}.secrets", {"blue": "a"}, f"{WORKLOAD}.secrets: goes with `delivery: secret`"),
    (f"{WORKLOAD}.delivery", "secret", f"{WORKLOAD}.secrets: must name one for each of blue and g"),
    (f"{WORKLOAD}.delivery", "env", f"{WORKLOAD}.delivery: Input should be 'csi' or 'secret'"),
    (f"{WORKLOAD}.key", "a/b", f"{WORKLOAD}.key: 'a/b' must be a key of a Kubernetes Secret"),
    (f"{WORKLOAD}.selectorLabel", "a b", f"{WORKLOAD}.selectorLabel: 'a b' must be a label's key"),
    (f"{WORKLOAD}.ready", "0s", f"{WORKLOAD}.ready: must be longer than 0s"),
    (f"{TEST}.json", {"role": 1.5}, f"{TEST}.json.role: 1.5 must be a text, a whole number"),
    (f"{TEST}.json", {"role": ["x"]}, f"{TEST}.json.role: a list must be a text, a whole number"),
    (
        f"{TEST}.path",
        REMOVED,
        f"{TEST}: give one of `path` (through the Service), `url`, `sql` and `job`",
    ),
    (f"{TEST}.url", "https://x", f"{TEST}: give one of `path`"),
    (f"{TEST}.sql", "select 1", f"{TEST}: give one of `path`"),
    (f"{TEST}.value", 1, f"{TEST}: `value` goes with `sql`"),
    *(
        (
            f"{WORKLOAD}.tests.1",
            {"sql": "select 1", key: given},
            f"{WORKLOAD}.tests.1: `{key}` does not go with `sql`",
        )
        for key, given in {
            "method": "HEAD",
            "scheme": "https",
            "port": 80,
            "headers": {"a": "b"},
            "body": "",
            "status": 204,
            "json": {"role": "{role}"},
            "certificateAuthority": "ca.pem",
        }.items()
    ),
    (
        f"{WORKLOAD}.tests.1",
        {"sql": "select 1", "value": None},
        f"{WORKLOAD}.tests.1: `value` cannot be null: ask for `... IS NULL`",
    ),
    (
        f"{WORKLOAD}.tests.1",
        {"sql": "select 1", "value": 1.5},
        f"{WORKLOAD}.tests.1.value: 1.5 must be a text, a whole number, true, false or null",
    ),
    (
        f"{WORKLOAD}.tests.1",
        {"sql": "select 1", "timeout": "21s"},
        f"{WORKLOAD}.tests.1: `timeout` must be 20s at most with `sql`",
    ),
    *(
        (f"{WORKLOAD}.tests.1", {"sql": text}, f"{WORKLOAD}.tests.1.sql: {problem}")
        for text, problem in {
            " \n": "must be one query, of 4000 characters at most",
            "x" * 4001: "must be one query, of 4000 characters at most",
            "select 1;": "must be one query, without a semicolon at its end",
            "select '{role}'": "{role} and {slot} are filled in in `value` alone",
            "select '{slot}'": "{role} and {slot} are filled in in `value` alone",
            "select '\x07'": "must be printable text, line breaks and tabs aside",
        }.items()
    ),
    (f"{TEST}.path", "whoami", f"{TEST}.path: 'whoami' is not a path"),
    (f"{TEST}.path", "/a b", f"{TEST}.path: '/a b' is not a path"),
    (f"{TEST}.path", "/a#b", f"{TEST}.path: '/a#b' is not a path"),
    (f"{TEST}.path", "/../secrets", f"{TEST}.path: '/../secrets' must not have . or .. as a part"),
    (f"{TEST}.path", "/x/%2E%2e/y", f"{TEST}.path: '/x/%2E%2e/y' must not have . or .."),
    (f"{TEST}.path", "/x/..%2fy", f"{TEST}.path: '/x/..%2fy' must not have . or .."),
    (f"{TEST}.method", "get", f"{TEST}.method: Input should be 'GET', 'HEAD', 'POST', 'PUT'"),
    (f"{TEST}.port", 0, f"{TEST}.port: 0 is neither a port number nor the name"),
    (f"{TEST}.body", "x", f"{TEST}: `body` goes with a method of PATCH, POST, PUT"),
    (f"{TEST}.method", "HEAD", f"{TEST}: `json` does not go with HEAD"),
    (f"{TEST}.certificateAuthority", "ca.pem", f"{TEST}: `certificateAuthority` goes with an http"),
    (f"{TEST}.headers", {"hOst": "x"}, f"{TEST}: the header Host goes with `url`"),
    (f"{TEST}.headers", {"A": "1", "a": "2"}, f"{TEST}: `headers` has a name twice"),
    (
        f"{TEST}.headers",
        {"Authorization": "x"},
        f"{TEST}.headers.Authorization: Authorization says who asks, and this file holds no secret",
    ),
    (
        f"{TEST}.headers",
        {"Transfer-Encoding": "chunked"},
        f"{TEST}.headers.Transfer-Encoding: Transfer-Encoding frames the request, which the app",
    ),
    *(
        (f"{TEST}.headers", {name: "x"}, f"{TEST}.headers.{name}: {name} says who asks")
        for name in ("X-Api-Key", "x-functions-key", "ApiKey", "X-Auth-Token", "X_Client_Secret")
    ),
    (
        f"{TEST}.headers",
        {"Impersonate-User": "x"},
        f"{TEST}.headers.Impersonate-User: Impersonate-User says who asks",
    ),
    (
        f"{TEST}.headers",
        {"a b": "x"},
        f"{TEST}.headers.a b: 'a b' is not the name of a header",
    ),
    (f"{TEST}.headers", {"a": "x\r\nb: y"}, f"{TEST}.headers.a: 'x\\r\\nb: y' must be one line of"),
    (f"{TEST}.headers", {"a": "ü"}, f"{TEST}.headers.a: 'ü' must be one line of ASCII"),
    (
        f"{WORKLOAD}.tests.1",
        {"url": "https://x", "scheme": "https"},
        f"{WORKLOAD}.tests.1: `scheme` and `port` go with `path`",
    ),
    (
        f"{WORKLOAD}.tests.1",
        {"url": "http://x", "certificateAuthority": "ca.pem"},
        f"{WORKLOAD}.tests.1: `certificateAuthority` goes with an https `url`",
    ),
    (f"{TEST}.status", 99, f"{TEST}.status: Input should be greater than or equal to 100"),
    (f"{TEST}.repeat", 0, f"{TEST}.repeat: Input should be greater than or equal to 1"),
    (f"{TEST}.timeout", "0s", f"{TEST}.timeout: must be longer than 0s"),
    (f"{WORKLOAD}.tests.1", {"url": "ftp://x"}, f"{WORKLOAD}.tests.1.url: 'ftp://x' is not an htt"),
    (f"{CREDENTIAL}.approval", {"onDeadline": "approve"}, f"{CREDENTIAL}.approval.soak: is needed"),
    (f"{CREDENTIAL}.approval", {"onDeadline": "panic"}, f"{CREDENTIAL}.approval.onDeadline: Input"),
    (f"{CREDENTIAL}.approval", {"remind": "59m"}, f"{CREDENTIAL}.approval.remind: must be at leas"),
    (f"{CREDENTIAL}.approval", {"deadline": "0s"}, f"{CREDENTIAL}.approval.deadline: must be long"),
    (
        f"{CREDENTIAL}.approval",
        {"approvers": [""]},
        f"{CREDENTIAL}.approval.approvers.0.id: '' must",
    ),
    (
        f"{WORKLOAD.removesuffix('.0')}.1",
        VALID["credentials"]["orders-db"]["workloads"][0],
        f"{CREDENTIAL}.workloads.1.name: is the same as {WORKLOAD}.name",
    ),
]
BAD = [(path, value, expected) for path, value, expected in BAD if expected]


@pytest.mark.parametrize(("path", "value", "expected"), BAD, ids=lambda v: str(v)[:40])
def test_accepted_bad(path: str, value: Any, expected: str) -> None:
    found = problems(changed((path, value)))
    assert [problem for problem in found if problem.startswith(expected)], found


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"{CREDENTIAL}.slots.blue.role", "orders"),
        (f"{CREDENTIAL}.slots.green.secret", "orders-greenish"),
        (f"{WORKLOAD}.deployments.green", "api-blue-2"),
    ],
)
def test_sync_needs_names_that_can_be_replaced(path: str, name: str) -> None:
    """A role `orders` could be any word of a pod template."""
    slot = "green" if "green" in path else "blue"
    text = f"{NAMED}.template: sync replaces names of slots: '{name}' has no {slot} in it"
    parse(yaml.safe_dump(changed((path, name))))
    with pytest.raises(ConfigurationError) as caught:
        parse(yaml.safe_dump(changed((path, name), (f"{WORKLOAD}.template", "sync"))))
    (problem,) = caught.value.problems
    assert problem.startswith(f"{text}, and may stand for something else too (line ")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{TEST}.expect", {"role": "{role}"}),
        (f"{WORKLOAD}.selector_label", "slot"),
        (f"{CREDENTIAL}.rotate_before", "9d"),
        (f"{CREDENTIAL}.approval", {"on_deadline": "approve"}),
        (f"{CREDENTIAL}.approval", {"listed": ["ada@contoso.example"]}),
        ("clusters.aks.certificate_authority", "ca.pem"),
    ],
)
def test_the_names_that_the_code_has_for_a_key_are_no_keys(path: str, value: Any) -> None:
    key = next(iter(value)) if path.endswith("approval") else path.rpartition(".")[2]
    found = problems(changed((path, value)))
    assert any(f"{key}: there is no such key here" in problem for problem in found), found


def test_a_misspelt_key_is_recognised() -> None:
    found = problems(changed((f"{CREDENTIAL}.rotatebefore", "9d")))
    assert found == [f"{CREDENTIAL}.rotatebefore: there is no such key here; is it `rotateBefore`?"]


def test_no_key_is_proposed_that_stands_there_or_is_hardly_like_it() -> None:
    """`replicas` is a key of the database, and `value` one of a test."""
    found = problems(changed((f"{WORKLOAD}.replicas", 2), (f"{TEST}.blue", "x")))
    assert set(found) == {
        f"{WORKLOAD}.replicas: there is no such key here",
        f"{TEST}.blue: there is no such key here",
    }


def test_what_is_written_in_the_wrong_form_is_named_by_the_files_own_words() -> None:
    """Not by those of the library that reads it."""
    found = problems(changed((f"{WORKLOAD}.deployments", "api"), (f"{WORKLOAD}.inPlace", "api")))
    assert f"{WORKLOAD}.deployments: must be a mapping, of keys and their values" in found
    assert f"{WORKLOAD}.inPlace: must be a mapping, of keys and their values" in found
    assert problems(changed((f"{WORKLOAD}.services", "api"))) == [
        f"{WORKLOAD}.services: must be a list, as [a, b]"
    ]


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    file = changed(
        ("clusters.aks.server", "http://aks"),
        (f"{CREDENTIAL}.vault", "kv"),
        (f"{CREDENTIAL}.validity", "10d"),
        (f"{CREDENTIAL}.slots.green.role", "orders_blue"),
        (f"{WORKLOAD}.cluster", "eks"),
        (f"{WORKLOAD}.preview", "api"),
        (f"{WORKLOAD}.delivery", "secret"),
        (f"{TEST}.json", REMOVED),
        (f"{TEST}.timeout", "0s"),
        (f"{CREDENTIAL}.approval", {"onDeadline": "approve", "remind": "1s"}),
    )
    assert [problem.partition(": ")[0] for problem in problems(file)] == [
        "clusters.aks.server",
        f"{CREDENTIAL}.vault",
        f"{CREDENTIAL}.validity",
        f"{CREDENTIAL}.slots.green.role",
        f"{WORKLOAD}.secrets",
        f"{WORKLOAD}.cluster",
        f"{WORKLOAD}.preview",
        f"{TEST}.timeout",
        f"{CREDENTIAL}.approval.soak",
        f"{CREDENTIAL}.approval.remind",
    ]


def test_a_problem_names_its_line() -> None:
    text = yaml.safe_dump(VALID, sort_keys=False).replace("aks.example", "aks.example:x")
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "my.yaml")
    assert caught.value.problems == [
        "clusters.aks.server: 'https://aks.example:x' is not an https:// URL (line 3)"
    ]
    assert str(caught.value).startswith("my.yaml has 1 problem(s):\n  clusters.aks.server: ")


def test_two_credentials_must_not_share_anything() -> None:
    one = VALID["credentials"]["orders-db"]
    second = {**one, "slots": dict(one["slots"])}
    second["slots"]["green"] = {"role": "other", "secret": "other"}
    found = problems(changed(("credentials.second", second)))
    first, twin = CREDENTIAL, "credentials.second"
    advice = (
        ": Deployment orders/api-{} cannot follow the slots of two credentials; give each "
        "Deployments of its own, or leave one of the logins out of this file"
    )
    assert sorted(found) == sorted(
        f"{twin}.{path}: is the same as {first}.{path}{more}"
        for path, more in (
            ("slots.blue.role", ""),
            ("slots.blue.secret", ""),
            ("workloads.0.service", ""),
            ("workloads.0.preview", ""),
            ("workloads.0.deployments.blue", advice.format("blue")),
            ("workloads.0.deployments.green", advice.format("green")),
        )
    )


def second_credential(**database: Any) -> dict[str, Any]:
    """A credential that shares nothing with the valid one, but for what the caller makes it."""
    second: dict[str, Any] = copy.deepcopy(VALID["credentials"]["orders-db"])
    second["vault"] = "https://kv2.vault.azure.net"
    second["database"] |= {"host": "pg2.example", **database}
    second["workloads"][0]["namespace"] = "second"
    return second


def reads_secrets(workload: dict[str, Any], **names: str) -> dict[str, Any]:
    return {**workload, "delivery": "secret", "secrets": names}


API = VALID["credentials"]["orders-db"]["workloads"][0]
JOBS = {
    "name": "jobs",
    "service": "jobs",
    "preview": "jobs-preview",
    "deployments": {"blue": "jobs-blue", "green": "jobs-green"},
}


def test_kubernetes_secrets_that_cross_are_refused() -> None:
    """A rotation would overwrite the one that serves."""
    api = reads_secrets(API, blue="login-a", green="login-b")
    jobs = reads_secrets({**API, **JOBS}, blue="login-b", green="login-a")
    found = problems(changed((f"{CREDENTIAL}.workloads", [api, jobs])))
    second = f"{CREDENTIAL}.workloads.1.secrets"
    assert found == [
        f"{second}.blue: is the same as {WORKLOAD}.secrets.green",
        f"{second}.green: is the same as {WORKLOAD}.secrets.blue",
    ]


def test_a_slots_kubernetes_secret_may_be_read_by_several_workloads() -> None:
    api = reads_secrets(API, blue="login-a", green="login-b")
    jobs = reads_secrets({**API, **JOBS}, blue="login-a", green="login-b")
    parse(yaml.safe_dump(changed((f"{CREDENTIAL}.workloads", [api, jobs]))))


def test_keys_of_one_kubernetes_secret_may_have_owners_of_their_own() -> None:
    api = reads_secrets(API, blue="login-a", green="login-b")
    jobs = reads_secrets({**API, **JOBS, "key": "jobs"}, blue="login-b", green="login-a")
    parse(yaml.safe_dump(changed((f"{CREDENTIAL}.workloads", [api, jobs]))))


def test_a_kubernetes_secret_of_two_credentials_is_refused() -> None:
    second = second_credential()
    second["workloads"] = [reads_secrets({**API, **JOBS}, blue="login-a", green="login-c")]
    file = changed(("credentials.second", second))
    first = file["credentials"]["orders-db"]
    first["workloads"] = [reads_secrets(API, blue="login-a", green="login-b")]
    assert problems(file) == [
        f"credentials.second.workloads.0.secrets.blue: is the same as {WORKLOAD}.secrets.blue"
    ]


@pytest.mark.parametrize(
    "vault",
    [
        "https://kv.vault.azure.net:443",
        "https://KV.vault.azure.net/",
        "https://kv.vault.azure.net.",
    ],
)
def test_a_vault_is_the_same_however_its_url_is_written(vault: str) -> None:
    configuration = parse(yaml.safe_dump(changed((f"{CREDENTIAL}.vault", vault))))
    credential = configuration.credentials["orders-db"]
    assert credential.vault == "https://kv.vault.azure.net"
    assert configuration.owner(vault, "orders-db-BLUE") == ("orders-db", "blue")
    second = {**second_credential(), "vault": vault}
    found = problems(changed(("credentials.second", second)))
    assert found == [
        f"credentials.second.slots.{slot}.secret: is the same as {CREDENTIAL}.slots.{slot}.secret"
        for slot in ("blue", "green")
    ]


def test_the_rotators_secret_is_no_slots() -> None:
    """Its rotation would take the login from the one that rotates."""
    second = second_credential(
        admin={
            "role": "rotator",
            "secret": "orders-db-green",
            "vault": "https://kv.vault.azure.net:443",
        }
    )
    assert problems(changed(("credentials.second", second))) == [
        f"credentials.second.database.admin.secret: is the same as {CREDENTIAL}.slots.green.secret"
    ]


def test_a_slots_role_rotates_no_other_credential_of_its_server() -> None:
    admin = {"role": "orders_green", "secret": "x"}
    second = second_credential(host="PG.example", admin=admin)
    second["slots"] = {
        "blue": {"role": "second_blue", "secret": "b"},
        "green": {"role": "second_green", "secret": "g"},
    }
    host = VALID["credentials"]["orders-db"]["database"]["host"]
    second["database"]["host"] = host.upper()
    assert problems(changed(("credentials.second", second))) == [
        f"credentials.second.database.admin.role: is the same as {CREDENTIAL}.slots.green.role"
    ]


def test_one_rotator_may_serve_many_credentials() -> None:
    one = VALID["credentials"]["orders-db"]
    second = second_credential(**one["database"])
    second["vault"] = one["vault"]
    second["slots"] = {
        "blue": {"role": "second_blue", "secret": "b"},
        "green": {"role": "second_green", "secret": "g"},
    }
    parse(yaml.safe_dump(changed(("credentials.second", second))))


def test_servers_on_two_ports_of_a_host_have_roles_of_their_own() -> None:
    host = VALID["credentials"]["orders-db"]["database"]["host"]
    second = second_credential(host=host, port=5433)
    parse(yaml.safe_dump(changed(("credentials.second", second))))


def test_two_names_of_one_cluster_are_one_cluster() -> None:
    second = second_credential()
    second["workloads"] = [{**API, "cluster": "again"}]
    file = changed(("credentials.second", second))
    file["clusters"]["again"] = {}
    file["clusters"]["again"]["server"] = f"{file['clusters']['aks']['server']}:443"
    found = problems(file)
    assert f"credentials.second.workloads.0.service: is the same as {WORKLOAD}.service" in found


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("deployments.blue", "api.v2.blue"),
        ("deployments.blue", "a" * 63 + "." + "b" * 63),
        ("port", "a-port-name-of-more-than-fifteen-characters"),
        ("port", "a" * 63),
    ],
)
def test_names_are_as_long_as_kubernetes_has_them(path: str, name: str) -> None:
    file = changed((f"{WORKLOAD}.{path}", name))
    workload = parse(yaml.safe_dump(file)).credentials["orders-db"].workloads[0]
    assert name in {workload.deployments["blue"], workload.port}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("deployments.blue", ".".join(["a" * 63] * 4)),  # 255 characters
        ("deployments.blue", "api..blue"),
        ("deployments.blue", "api_blue"),
        ("deployments.blue", "api-blue\n"),
        ("service", "api.v2"),
        ("namespace", "orders.v2"),
        ("port", "a" * 64),
    ],
)
def test_what_kubernetes_takes_for_no_name_is_refused(path: str, name: str) -> None:
    (found,) = problems(changed((f"{WORKLOAD}.{path}", name)))
    assert found.startswith(f"{WORKLOAD}.{path}: {fields.shown(name)} ")


def test_the_same_names_elsewhere_are_no_repetition() -> None:
    second = copy.deepcopy(VALID["credentials"]["orders-db"])
    second["vault"] = "https://kv2.vault.azure.net"
    second["database"]["host"] = "pg2.example"
    second["workloads"][0]["namespace"] = "second"
    parse(yaml.safe_dump(changed(("credentials.second", second))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file must be a mapping"),
        ("[]", "the file must be a mapping"),
        ("a: [", "it is not valid YAML: "),
        ("a: 1\nb: 2\na: 3", "it is not valid YAML: the key 'a' stands twice (line 3, column 1)"),
        ("? [a]\n: 1", "it is not valid YAML: a key must be a plain text (line 1, column 3)"),
        ("a: 2026-99-99", "it is not valid YAML: this is not a value of type timestamp (ValueErro"),
        ("a: !!int x", "it is not valid YAML: this is not a value of type int"),
        ("a: !!bool x", "it is not valid YAML: this is not a value of type bool"),
        ("a: !!timestamp x", "it is not valid YAML: this is not a value of type timestamp"),
        ("a: !!python/name:os.system x", "it is not valid YAML: could not determine a constructor"),
        ("a: &x {b: *x}", "it is not valid YAML: found unconstructable recursive node"),
        ("a: \x00", "it is not valid YAML: unacceptable character"),
        ("[" * 5000, "it is nested too deeply"),
        ("---\n---\n", "it is not valid YAML: but found another document"),
    ],
    ids=lambda text: text[:20],
)
def test_text_that_is_no_configuration(text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert caught.value.problems[0].startswith(expected)


def test_a_mapping_may_be_merged() -> None:
    text = yaml.safe_dump(VALID, sort_keys=False)
    merged = text.replace("admin:", "<<: {port: 5433, name: other}\n      admin:")
    assert merged != text
    assert parse(merged).credential("orders-db").database.port == 5433
    assert parse(merged).credential("orders-db").database.name == "orders"


def test_aliases_that_multiply_are_not_printed() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    text = "\n".join([*lines, "clusters: *a11", "credentials: {orders: {validity: *a11}}"])
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{CREDENTIAL}.vault", "https://user:hunter2@kv.vault.azure.net"),
        (f"{WORKLOAD}.tests.1", {"url": "https://user:hunter2@api.example/"}),
        (f"{CREDENTIAL}.password", "hunter2"),
        ("clusters.aks.server", "https://u:hunter2@aks"),
    ],
)
def test_a_message_does_not_quote_credentials(path: str, value: Any) -> None:
    found = problems(changed((path, value)))
    assert found
    assert "hunter2" not in str(found)


def parsed(text: str) -> Configuration | list[str]:
    """Anything but a `ConfigurationError` fails the test."""
    try:
        return parse(text)
    except ConfigurationError as error:
        return error.problems


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    assert parsed(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)
PATHS = [path for path, *_ in [*BAD, *GOOD]]


@given(st.sampled_from(PATHS), VALUES, VALUES)
def test_any_value_anywhere_is_accepted_or_refused(path: str, value: Any, another: Any) -> None:
    file = changed(("credentials.another", another), (path, value))
    assert parsed(yaml.safe_dump(file, allow_unicode=True))


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a document."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nodes(inner, (*path, key))


@pytest.mark.parametrize("value", [None, {}, [], [[]], {"a": {}}, 1, 1.5, "", True], ids=str)
def test_what_is_compared_between_sections_may_be_anything(value: Any) -> None:
    """Of the example, which has every key, each part in turn."""
    written = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    for path in list(nodes(written))[1:]:
        file = copy.deepcopy(written)
        *above, last = path
        inner = file
        for key in above:
            inner = inner[key]
        inner[last] = value
        crosscheck.problems(file)


def test_owner_ignores_case_and_the_last_slash() -> None:
    found = parse(yaml.safe_dump(VALID))
    assert found.owner("https://KV.vault.azure.net/", "ORDERS-db-green") == ("orders-db", "green")
    assert found.owner("https://kv.vault.azure.net", "other") is None
    assert found.owner("https://kv2.vault.azure.net", "orders-db-green") is None


def test_what_is_no_longer_in_the_file() -> None:
    found = parse(yaml.safe_dump(VALID))
    with pytest.raises(ConfigurationError, match=r"no credential 'x'\Z"):
        found.credential("x")
    with pytest.raises(ConfigurationError, match="workload 'x' is no longer there"):
        found.credential("orders-db").workload("x")
    assert found.credential("orders-db").workload("api").service == "api"


def test_load(tmp_path: Path) -> None:
    file = tmp_path / "credentials.yaml"
    file.write_text(yaml.safe_dump(VALID))
    assert config.load(str(file)).credential("orders-db").validity == timedelta(days=90)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_load_bad(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "credentials.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        config.load(str(file))


def models() -> list[type[BaseModel]]:
    return [Configuration, *Section.__subclasses__()]


def aliases() -> set[str]:
    return {str(field.alias) for model in models() for field in model.model_fields.values()}


def keys(node: Any) -> set[str]:
    if isinstance(node, dict):
        return set(node) | {key for child in node.values() for key in keys(child)}
    return {key for child in node for key in keys(child)} if isinstance(node, list) else set()


def test_the_example_is_valid() -> None:
    config.load(str(EXAMPLE))


def test_the_example_has_every_key() -> None:
    assert aliases() - keys(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))) == set()


def test_the_reference_explains_every_key() -> None:
    """They stand in the first column of a table."""
    text = REFERENCE.read_text(encoding="utf-8")
    for model in models():
        for field in model.model_fields.values():
            assert f"\n| `{field.alias}` |" in text, f"{model.__name__}: {field.alias}"
