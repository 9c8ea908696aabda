"""A dry run names each of twenty defects with its cure, and changes nothing: on the local stack."""

from __future__ import annotations

import copy
import json
import re
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from azure.keyvault.secrets import SecretClient

from local import proof, world
from local.cluster.client import apply, path_of, read_manifests
from local.process import wait_until
from local.stack import APP, Options, OwnCredential, Stack
from rotation.model.targets import SecretTarget
from rotation.secrecy import Secret, new_password
from tests.conftest import QUICK
from tests.e2e.site import published
from tests.e2e.test_way_back import set_password
from tests.e2e.troubles import MERGE, STRATEGIC, ask
from tests.infra.test_rbac import requests_of_the_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Defect = Callable[["Seeds"], AbstractContextManager[None]]

SPACE = "orders"
SERVICES = f"/api/v1/namespaces/{SPACE}/services"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{SPACE}/deployments"
ROLE = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SPACE}/roles/credential-rotation"
BODY = {"credential": world.CREDENTIAL, "by": world.OPERATOR, "dryRun": True}
READS = {"get", "list", "watch"}
WRITTEN = re.compile(r" (?:rotator|orders_\w+)@\w+ .*(?:statement|execute)[^:]*: ")


class Seeds:
    """What defects are made with. Blue serves."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.blue = SecretTarget(world.secret("blue"))
        self.password = proof.Passwords.read(stack).values["blue"]

    def sql(self, statement: str, database: str = "postgres") -> None:
        self.stack.owner.sql(statement, database)

    @contextmanager
    def told(self, seed: str, cure: str, database: str = "postgres") -> Iterator[None]:
        self.sql(seed, database)
        try:
            yield
        finally:
            self.sql(cure, database)

    def patch(self, path: str, body: object, kind: str = MERGE) -> None:
        assert ask(self.stack, "PATCH", path, body, kind) == 200

    def vault(self) -> SecretClient:
        stack = self.stack
        return SecretClient(
            stack.addresses.vault,
            OwnCredential(APP, stack.directory / "identity"),
            connection_verify=str(stack.addresses.authority),
            verify_challenge_resource=False,
        )

    def put(self, value: str) -> None:
        self.stack.owner.vault.put(
            self.blue,
            Secret(value),
            expires=datetime.now(UTC) + timedelta(days=60),
            content_type="text/plain",
            tags={},
        )

    @contextmanager
    def applied(self, manifest: dict[str, Any]) -> Iterator[None]:
        apply(self.stack.owner.kubernetes, [manifest], namespace=SPACE)
        try:
            yield
        finally:
            assert ask(self.stack, "DELETE", path_of(manifest, SPACE)) == 200

    @contextmanager
    def gone(self, path: str) -> Iterator[None]:
        whole = copy.deepcopy(self.stack.owner.kubernetes_get(path))
        whole["metadata"] = {
            key: whole["metadata"][key] for key in ("name", "labels") if key in whole["metadata"]
        }
        whole.get("spec", {}).pop("clusterIP", None)
        whole.pop("status", None)
        assert ask(self.stack, "DELETE", path) == 200
        wait_until(lambda: ask(self.stack, "GET", path) == 404, 10, f"the end of {path}")
        try:
            yield
        finally:
            apply(self.stack.owner.kubernetes, [whole], namespace=SPACE)

    @contextmanager
    def forbidden(self, resource: str, verb: str) -> Iterator[None]:
        """The app's Role without a verb of a resource."""
        before = self.stack.owner.kubernetes_get(ROLE)["rules"]
        less = [
            {**rule, "verbs": [one for one in rule["verbs"] if one != verb]}
            if rule["resources"] == [resource]
            else rule
            for rule in before
        ]
        self.patch(ROLE, {"rules": less})
        try:
            yield
        finally:
            self.patch(ROLE, {"rules": before})


@contextmanager
def other_password(seeds: Seeds) -> Iterator[None]:
    set_password(seeds.stack, "orders_blue", new_password())
    try:
        yield
    finally:
        set_password(seeds.stack, "orders_blue", seeds.password)


@contextmanager
def other_format(seeds: Seeds) -> Iterator[None]:
    seeds.put('{"password": "hunter2"}')
    try:
        yield
    finally:
        seeds.put(seeds.password.reveal())


@contextmanager
def disabled(seeds: Seeds) -> Iterator[None]:
    current = seeds.stack.owner.vault.current(seeds.blue)
    assert current is not None
    with seeds.vault() as client:
        client.update_secret_properties(current.secret, current.version, enabled=False)
        try:
            yield
        finally:
            client.update_secret_properties(current.secret, current.version, enabled=True)


@contextmanager
def without_expiry(seeds: Seeds) -> Iterator[None]:
    with seeds.vault() as client:
        client.set_secret(seeds.blue.name, seeds.password.reveal())
    try:
        yield
    finally:
        seeds.put(seeds.password.reveal())


@contextmanager
def without_connect(seeds: Seeds) -> Iterator[None]:
    seeds.sql("GRANT CONNECT ON DATABASE orders TO orders_blue")
    seeds.sql("REVOKE CONNECT ON DATABASE orders FROM orders")
    try:
        yield
    finally:
        seeds.sql("GRANT CONNECT ON DATABASE orders TO orders")
        seeds.sql("REVOKE CONNECT ON DATABASE orders FROM orders_blue")


@contextmanager
def md5(seeds: Seeds) -> Iterator[None]:
    """As on a server that takes MD5 hashes too; one that takes none says that the password is
    wrong."""
    rules = seeds.stack.directory / "postgres" / "pg_hba.conf"
    before = rules.read_text(encoding="utf-8")
    rules.write_text(before.replace("scram-sha-256", "md5"), encoding="utf-8")
    with psycopg.connect(seeds.stack.owner.dsn(), autocommit=True) as connection:
        made = connection.pgconn.encrypt_password(
            seeds.password.reveal().encode(), b"orders_blue", b"md5"
        ).decode()
        connection.execute(f"ALTER ROLE orders_blue PASSWORD '{made}'".encode())
        connection.execute(b"SELECT pg_reload_conf()")

    def lets_in() -> bool:
        try:
            psycopg.connect(
                seeds.stack.owner.dsn("orders"),
                user="orders_blue",
                password=seeds.password.reveal(),
            ).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        wait_until(lets_in, 20, "the server's taking MD5 hashes")
        yield
    finally:
        rules.write_text(before, encoding="utf-8")
        seeds.sql("SELECT pg_reload_conf()")
        set_password(seeds.stack, "orders_blue", seeds.password)


@contextmanager
def weaker(seeds: Seeds) -> Iterator[None]:
    seeds.sql("CREATE TABLE invoices (); REVOKE ALL ON invoices FROM orders", "orders")
    seeds.sql("GRANT INSERT ON invoices TO orders_blue", "orders")
    try:
        yield
    finally:
        seeds.sql("DROP TABLE invoices", "orders")


@contextmanager
def both_slots(seeds: Seeds) -> Iterator[None]:
    seeds.patch(f"{SERVICES}/api", {"spec": {"selector": {"slot": None}}})
    try:
        yield
    finally:
        seeds.patch(f"{SERVICES}/api", {"spec": {"selector": {"slot": "blue"}}})


def another_service() -> dict[str, Any]:
    spec = {"selector": {"app": "api"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "of-old"}, "spec": spec}


@contextmanager
def templates(seeds: Seeds) -> Iterator[None]:
    path = f"{DEPLOYMENTS}/api-green"
    before = seeds.stack.owner.kubernetes_get(path)
    pod = {"spec": {"terminationGracePeriodSeconds": 77}}
    seeds.patch(path, {"spec": {"template": pod}}, STRATEGIC)
    try:
        yield
    finally:
        seconds = before["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        pod = {"spec": {"terminationGracePeriodSeconds": seconds}}
        seeds.patch(path, {"spec": {"template": pod}}, STRATEGIC)


@contextmanager
def read_only_vault(seeds: Seeds) -> Iterator[None]:
    file = seeds.stack.directory / "access.json"
    before = file.read_text(encoding="utf-8")
    file.write_text(json.dumps({**json.loads(before), APP.principal_id: ["get", "list"]}))
    try:
        yield
    finally:
        file.write_text(before)


@contextmanager
def small_quota(seeds: Seeds) -> Iterator[None]:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    with seeds.applied({**quota, "spec": {"hard": {"pods": "1"}}}):
        path = f"/api/v1/namespaces/{SPACE}/resourcequotas/small"
        wait_until(
            lambda: seeds.stack.owner.kubernetes_get(path).get("status", {}).get("used"),
            10,
            "the quota's count",
        )
        yield


@contextmanager
def full_server(seeds: Seeds) -> Iterator[None]:
    """Others have all connections but four."""
    dsn = seeds.stack.owner.dsn()
    with ExitStack() as opened:
        first = opened.enter_context(psycopg.connect(dsn, autocommit=True))
        counted = first.execute(
            b"SELECT current_setting('max_connections')::int - count(*) FROM pg_stat_activity"
            b" WHERE backend_type = 'client backend'"
        ).fetchone()
        assert counted is not None
        # Three of those that are left are for superusers.
        for _ in range(counted[0] - 3 - 4):
            opened.enter_context(psycopg.connect(dsn))
        yield


class Named(NamedTuple):
    """A defect, and how it is named: severity, code, its object, and what its cure begins with,
    where one command mends it."""

    seed: Defect
    severity: str
    code: str
    about: str
    command: str


DEFECTS = {
    "active version disabled": Named(
        disabled, "refuses", "active-version-disabled", "secret orders-db-blue", "az keyvault"
    ),
    "active version without expiry": Named(
        without_expiry, "tells", "active-without-expiry", "secret orders-db-blue", "az keyvault"
    ),
    "role without CONNECT": Named(
        without_connect, "refuses", "login-no-connect", "role orders_green", "psql"
    ),
    "rotator without ADMIN on one role": Named(
        lambda s: s.told(
            "REVOKE ADMIN OPTION FOR orders_green FROM rotator",
            "GRANT orders_green TO rotator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
        ),
        *("refuses", "role-not-administered", "role orders_green", "psql"),
    ),
    "standby role lacking a grant": Named(
        weaker, "refuses", "standby-role-weaker", "role orders_green", "psql"
    ),
    "Deployment missing": Named(
        lambda s: s.gone(f"{DEPLOYMENTS}/api-green"),
        *("refuses", "deployment-missing", "Deployment orders/api-green", "kubectl apply"),
    ),
    "preview Service missing": Named(
        lambda s: s.gone(f"{SERVICES}/api-preview"),
        *("refuses", "service-missing", "Service orders/api-preview", "kubectl apply"),
    ),
    "Service selecting both slots": Named(
        both_slots, "refuses", "workloads-disagree", "Service orders/api", "kubectl patch"
    ),
    "second Service on a slot's pods": Named(
        lambda s: s.applied(another_service()),
        *("refuses", "other-service", "Service orders/of-old", ""),
    ),
    "templates that differ": Named(
        templates, "refuses", "templates-differ", "Deployment orders/api-green", ""
    ),
    "right to patch Services missing": Named(
        lambda s: s.forbidden("services", "patch"),
        *("refuses", "right-missing", "services orders/api", "kubectl apply"),
    ),
    "right to patch Deployments missing": Named(
        lambda s: s.forbidden("deployments", "patch"),
        *("refuses", "right-missing", "deployments orders/api-green", "kubectl apply"),
    ),
    "vault right to set missing": Named(
        read_only_vault, "aborts", "vault-denied", "secret orders-db-green", "az role assignment"
    ),
    "quota too small for both slots": Named(
        small_quota, "aborts", "quota-too-small", "ResourceQuota orders/small", "kubectl edit"
    ),
    "max_connections too small": Named(full_server, "aborts", "connections-too-few", "server", ""),
    # From here on pods may lose their readiness for a moment.
    "live secret in another format": Named(
        other_format, "refuses", "active-secret-unreadable", "secret orders-db-blue", ""
    ),
    "MD5 hash": Named(md5, "refuses", "active-role-not-scram", "role orders_blue", "psql"),
    "role NOLOGIN": Named(
        lambda s: s.told("ALTER ROLE orders_blue NOLOGIN", "ALTER ROLE orders_blue LOGIN"),
        *("refuses", "active-role-nologin", "role orders_blue", "psql"),
    ),
    "live secret not the role's password": Named(
        other_password, "refuses", "active-password-wrong", "role orders_blue", "psql"
    ),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Its own: with the rights that a dry run alone has a use for."""
    folder = tmp_path_factory.mktemp("doctor")
    with Stack(folder / "stack", Options(replicas=1, watch_seconds=2, credential=QUICK)) as found:
        own = [
            world.localised(one, found.addresses, app=APP.principal_id, pods="")
            for one in read_manifests(world.MANIFESTS / "doctor.yaml")
        ]
        apply(found.owner.kubernetes, own)
        yield found


def dry_run(stack: Stack) -> dict[str, Any]:
    answer = stack.client.api("POST", "/rotations", BODY)
    assert answer.status == 200, answer.json
    found: dict[str, Any] = answer.json
    assert found["milliseconds"] > 0
    return found


def ready(stack: Stack) -> None:
    wait_until(lambda: dry_run(stack)["ready"], 60, "the world as it was before")


class Recorded:
    """What every edge has recorded since it was made."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._audit = (stack.directory / "cluster" / "audit.log").stat().st_size
        self._log = self._postgres.stat().st_size
        self._versions, self._events = self._vault(), len(published(stack))

    @property
    def _postgres(self) -> Path:
        return self.stack.directory / "postgres" / "postgres.log"

    def _vault(self) -> list[Any]:
        vault = self.stack.owner.vault
        return [vault.versions(SecretTarget(world.secret(s))) for s in ("blue", "green")]

    def writes(self) -> list[str]:
        """Whatever is more than a look, in any system."""
        found = [
            f"{event['verb']} {event['objectRef']['resource']}"
            for event in requests_of_the_app(self.stack, self._audit)
            if event["verb"] not in READS
        ]
        log = self._postgres.read_bytes()[self._log :].decode()
        found += [line for line in log.splitlines() if WRITTEN.search(line)]
        found += ["a version"] * (self._vault() != self._versions)
        return found + ["an event"] * (len(published(self.stack)) - self._events)


@pytest.mark.timeout(400)
def test_each_of_twenty_defects_is_named_with_its_cure_and_nothing_is_written(
    stack: Stack,
) -> None:
    stack.owner.sql("ALTER SYSTEM SET log_statement = 'mod'")
    stack.owner.sql("SELECT pg_reload_conf()")
    whole = Recorded(stack)
    first = dry_run(stack)
    assert (first["would"], first["active"], first["standby"]) == ("rotate", "blue", "green")
    assert [one["code"] for one in first["findings"]] == []
    assert {one["code"] for one in first["unknown"]} == {"not-known"}
    assert whole.writes() == []
    seeds, wrong = Seeds(stack), []
    for title, defect in DEFECTS.items():
        with defect.seed(seeds):
            recorded = Recorded(stack)
            answer = dry_run(stack)
            written = recorded.writes()
        named = [one for one in answer["findings"] if one["code"] == defect.code]
        fits = [
            one
            for one in named
            if one["severity"] == defect.severity
            and one["object"].startswith(defect.about)
            and one["command"].startswith(defect.command)
            and (one["command"] or not defect.command)
            and one["text"]
            and one["remedy"]
        ]
        if not fits or written or answer["ready"] != (defect.severity == "tells"):
            wrong.append((title, answer["would"], named or answer["findings"], written))
        assert "hunter2" not in json.dumps(answer)
    assert wrong == []
    ready(stack)
    assert stack.client.rotations() == []
    with_a_test_that_nobody_answers(stack)


def with_a_test_that_nobody_answers(stack: Stack) -> None:
    """The twentieth: a test of the file answers 404."""
    api, web = copy.deepcopy(QUICK["workloads"])
    api["tests"] = [*api["tests"], {"path": "/nowhere"}, {"path": "/orders", "method": "POST"}]
    stack.options.credential = {**QUICK, "workloads": [api, web]}
    host = stack.components["host"]
    host.stop()
    stack.write_configuration()
    stack.start_host()
    recorded = Recorded(stack)
    answer = dry_run(stack)
    assert (answer["ready"], answer["would"]) == (False, "abort")
    (finding,) = answer["findings"]
    assert (finding["code"], finding["severity"]) == ("test-status", "aborts")
    assert finding["object"] == "workload api"
    assert finding["command"].startswith("kubectl logs")
    assert "/nowhere on blue: answered 404" in finding["text"]
    # What may change something is not asked of what serves.
    assert any("POST /orders: not made" in one["text"] for one in answer["unknown"])
    assert recorded.writes() == []
