"""What a dry run finds and says, on the world in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.cluster.client import read_manifests
from local.world import MANIFESTS
from rotation.config import parse
from rotation.model.catalogue import Origin
from rotation.model.commands import Thing, command
from rotation.model.errors import Denied, Invalid, Unavailable
from rotation.model.preconditions import Limit, Right
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.model.world import Answer
from rotation.steps import doctor, rights, world
from tests.memory import MemoryEdges
from tests.unit.test_config import VALID, WORKLOAD, changed

if TYPE_CHECKING:
    from rotation.model.errors import EdgeError
    from rotation.model.findings import Finding
    from rotation.steps.doctor import Examined

# The codes of the world that are met here: tests/unit/test_findings.py counts on it.
MET = {
    Code.RIGHT_MISSING,
    Code.ROLE_NOT_OURS,
    Code.SERVER_RIGHT,
    Code.WEAK_HASHES,
    Code.QUOTA_SHORT,
    Code.CONNECTIONS_SHORT,
    Code.NO_EVENT,
    Code.EXPIRED,
    Code.EXPIRES_LATE,
    Code.GUARD_MISSING,
    Code.CLOCK_DIFFERS,
    Code.NOT_KNOWN,
}
NAME = "orders-db"
SPACE = "orders"


def edges(*changes: tuple[str, Any]) -> MemoryEdges:
    """Blue serves, and everything that a dry run looks at may be looked at."""
    found = MemoryEdges(parse(yaml.safe_dump(changed(*changes) if changes else VALID)))
    for cluster in found.world.clusters.values():
        access = cluster.access
        spaces = {one.namespace for one in found.configuration.credential(NAME).workloads}
        access.policies = set(doctor.policies(found.configuration.credential(NAME).workloads))
        access.labels = {space: {"credential-rotation/guard": "on"} for space in spaces}
        access.looks = {*spaces, *access.policies}
    found.calls.made.clear()
    return found


def examine(found: MemoryEdges, *waive: str) -> Examined:
    request = Request(
        rotation="orders-db-1",
        credential=NAME,
        origin=Origin.MANUAL,
        requested_by="olga@contoso.example",
        reason="",
        waive=list(waive),
    )
    examined = doctor.examine(found, NAME, found.configuration.credential(NAME), request)
    assert found.calls.writes == []
    return examined


def of(examined: Examined, code: Code) -> Finding:
    (found,) = (one for one in examined.findings if one.code == code)
    return found


def severe(examined: Examined) -> list[str]:
    return [one.code for one in examined.findings if one.severity != "tells"]


def test_a_whole_world_is_ready() -> None:
    examined = examine(edges())
    assert severe(examined) == []
    assert (examined.ready, examined.would, examined.world.active) == (True, "rotate", "blue")
    (unseen,) = doctor.unknown(examined.findings)
    assert "pg_hba.conf" in unseen.text


def test_without_the_optional_rights_it_is_ready_and_says_what_is_not_known() -> None:
    found = edges()
    for cluster in found.world.clusters.values():
        cluster.access.looks = set()
    examined = examine(found)
    assert examined.ready
    texts = " ".join(one.text for one in doctor.unknown(examined.findings))
    assert "quotas of namespace orders" in texts
    assert "guard of namespace orders" in texts


def test_a_right_that_is_missing_is_refused_by_the_plan_as_well() -> None:
    found = edges()
    missing = Right(SPACE, "apps", "deployments", "patch", "api-green")
    found.world.clusters["aks"].access.missing = {missing}
    examined = examine(found)
    finding = of(examined, Code.RIGHT_MISSING)
    assert (examined.would, finding.severity) == ("refuse", "refuses")
    assert finding.object == "deployments orders/api-green"
    ask = "kubectl auth can-i patch deployments.apps/api-green --namespace orders --as <object id"
    assert ask in finding.text


def test_a_role_that_is_missing_as_a_whole_is_told_in_a_few_reasons() -> None:
    found = edges()
    workload = found.configuration.credential(NAME).workloads[0]
    state = world.snapshot(found, NAME, found.configuration.credential(NAME)).workloads[0]
    found.world.clusters["aks"].access.missing = set(rights.needed(workload, state))
    examined = examine(found)
    missing = [one for one in examined.findings if one.code == Code.RIGHT_MISSING]
    refusing = [one for one in missing if one.severity == "refuses"]
    assert len(refusing) == rights.MOST
    assert refusing[-1].object == "Role orders/(all)"
    assert " more" in refusing[-1].text
    assert len({one.text for one in missing}) == len(missing)


def test_events_are_optional() -> None:
    found = edges()
    found.world.clusters["aks"].access.missing = {Right(SPACE, "", "events", "create")}
    examined = examine(found)
    assert examined.ready
    assert of(examined, Code.RIGHT_MISSING).severity == "tells"


@pytest.mark.parametrize(
    "failure",
    [
        Denied(Code.CLUSTER_DENIED, "may not ask"),
        Unavailable(Code.CLUSTER_UNAVAILABLE, "HTTP 404; is that kind installed there?"),
        Unavailable(Code.CLUSTER_ANSWER, "what answers is no Kubernetes API"),
        Invalid(Code.CLUSTER_ERROR, "HTTP 405 MethodNotAllowed"),
    ],
)
def test_a_cluster_that_says_nothing_of_rights_refuses_nothing(failure: EdgeError) -> None:
    found = edges()
    found.calls.failing["cluster may"] = failure
    examined = examine(found)
    assert examined.ready
    assert any("does not say whether" in one.text for one in doctor.unknown(examined.findings))


@pytest.mark.parametrize(("may", "would"), [(True, "rotate"), (False, "abort"), (None, "rotate")])
def test_the_right_to_write_the_standbys_secret(may: bool | None, would: str) -> None:
    found = edges()
    for vault in found.world.vaults.values():
        vault.may_set = may
    examined = examine(found)
    assert examined.would == would
    asked = [what for what in found.calls.reads if what.startswith("vault standing")]
    assert asked == ["vault standing orders-db-green"]


def test_roles_that_the_rotator_may_not_alter_and_that_may_not_connect() -> None:
    found = edges()
    found.world.database.foreign = {"orders_green"}
    found.world.database.barred = {"orders_green"}
    examined = examine(found)
    assert severe(examined) == ["role-not-administered", "login-no-connect"]
    grant = 'GRANT "orders_green" TO "rotator" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE'
    assert grant in of(examined, Code.ROLE_NOT_OURS).command
    assert "--dbname=postgres" in of(examined, Code.ROLE_NOT_OURS).command
    assert "GRANT CONNECT ON DATABASE" in of(examined, Code.LOGIN_CONNECT).command


def test_what_the_rotator_lacks_besides() -> None:
    found = edges()
    model = found.world.database
    model.creates = model.ends = model.sees = False
    model.foreign, model.hashes = {"orders_green"}, "md5"
    examined = examine(found)
    assert severe(examined) == ["role-not-administered", "server-right-missing"]
    assert 'ALTER ROLE "rotator" CREATEROLE' in of(examined, Code.ROLE_NOT_OURS).command
    told = [one for one in examined.findings if one.code == Code.SERVER_RIGHT]
    assert [one.severity for one in told] == ["refuses", "tells"]
    assert "GRANT pg_signal_backend, pg_read_all_stats TO" in told[0].command
    weak = of(examined, Code.WEAK_HASHES)
    assert (weak.severity, weak.object) == ("tells", "server pg.example:5432")


def test_a_server_that_does_not_say_what_the_rotator_may_refuses_nothing() -> None:
    found = edges()
    found.calls.failing["database standing"] = Denied(Code.DATABASE_RIGHT, "permission denied")
    examined = examine(found)
    assert examined.ready
    texts = [one.text for one in doctor.unknown(examined.findings)]
    assert "what login rotator may do: permission denied" in texts


def test_a_server_that_may_say_it_by_and_by_is_waited_for() -> None:
    found = edges()
    found.calls.failing["database standing"] = Unavailable(Code.DATABASE_TIMEOUT, "too slow")
    assert examine(found).would == "wait"


@pytest.mark.parametrize(
    ("host", "begins"),
    [
        ("pg-1.postgres.database.azure.com", "az postgres flexible-server parameter set"),
        ("pg-1.postgres.database.chinacloudapi.cn", "az postgres flexible-server parameter set"),
        ("pg.example", "psql --host=pg.example '--command=ALTER SYSTEM"),
    ],
)
def test_what_has_a_server_hash_by_scram_depends_on_who_runs_it(host: str, begins: str) -> None:
    thing = Thing("server", f"{host}:5432", more={"host": host})
    assert command(Code.WEAK_HASHES, thing).startswith(begins)


def test_quotas_and_connections() -> None:
    found = edges()
    limit = Limit("few", "pods", Decimal(3), Decimal(2))
    found.world.clusters["aks"].access.limits = {SPACE: [limit]}
    found.world.database.most = found.world.connections() + 1
    examined = examine(found)
    assert examined.would == "abort"
    assert set(severe(examined)) == {"quota-too-small", "connections-too-few"}
    assert of(examined, Code.QUOTA_SHORT).object == "ResourceQuota orders/few"


def test_clocks_that_are_wrong_by_more_than_a_minute() -> None:
    found = edges()
    found.world.clusters["aks"].access.ahead = timedelta(seconds=-61)
    for vault in found.world.vaults.values():
        vault.ahead = timedelta(seconds=60)
    examined = examine(found)
    assert examined.ready
    told = of(examined, Code.CLOCK_DIFFERS)
    assert told.text == "the clock of cluster aks is 61 s behind the app's"


@pytest.mark.parametrize(
    ("expires", "code"),
    [
        (None, Code.NO_EVENT),
        (timedelta(seconds=-1), Code.EXPIRED),
        (timedelta(days=1), None),
        (timedelta(days=90), None),  # made this very moment
        (timedelta(days=91), Code.EXPIRES_LATE),
    ],
)
def test_the_expiry_of_what_serves(expires: timedelta | None, code: Code | None) -> None:
    found = edges()
    current = found.world.current(found.configuration.credential(NAME), "blue")
    assert current is not None
    current.expires = None if expires is None else found.now() + expires
    examined = examine(found)
    of_expiry = {Code.NO_EVENT, Code.EXPIRED, Code.EXPIRES_LATE}
    told = [one for one in examined.findings if one.code in of_expiry]
    assert [one.code for one in told] == ([] if code is None else [code])
    if code in {Code.NO_EVENT, Code.EXPIRES_LATE}:
        by = f"{found.now() + timedelta(days=90):%FT%TZ}"
        assert f"--expires {by}" in told[0].command
    assert examined.ready


def test_a_guard_that_is_not_there_or_does_not_concern_the_namespace() -> None:
    found = edges()
    access = found.world.clusters["aks"].access
    access.policies -= {"credential-rotation-services"}
    access.labels = {}
    examined = examine(found)
    assert examined.ready
    cures = {one.object: one.command for one in examined.findings if one.code == Code.GUARD_MISSING}
    assert cures == {
        f"namespace {SPACE}": f"kubectl label namespace {SPACE} credential-rotation/guard=on",
        "ValidatingAdmissionPolicy credential-rotation-services": (
            "kubectl apply --filename <its copy of infra/kubernetes/guard.yaml>"
        ),
    }


def test_tests_are_made_once_on_what_serves_and_only_those_that_change_nothing() -> None:
    tests = [
        {"path": "/healthz", "repeat": 5},
        {"path": "/orders", "method": "POST", "body": {}},
        {"path": "/whoami", "json": {"role": "{role}"}},
    ]
    found = edges((f"{WORKLOAD}.tests", tests))
    examined = examine(found)
    asked = [what for what in found.calls.reads if what.startswith("cluster ask")]
    assert [what.split()[2].partition("/")[2].partition("/")[2] for what in asked] == [
        "healthz",
        "whoami",
    ]
    texts = [one.text for one in doctor.unknown(examined.findings)]
    assert any("POST /orders: not made on what serves" in text for text in texts)
    assert examined.ready


def test_a_test_that_fails_on_what_serves_would_have_the_rotation_taken_back() -> None:
    found = edges()
    found.world.scripted = [Answer(404, b"{}")]
    examined = examine(found)
    assert examined.would == "abort"
    finding = next(one for one in examined.findings if one.code == Code.TEST_STATUS)
    assert "on blue: answered 404" in finding.text
    assert finding.command.startswith("kubectl logs")


def test_what_fails_beside_the_world_is_not_known_and_hides_nothing() -> None:
    found = edges()
    found.calls.failing["vault standing"] = Unavailable(Code.VAULT_UNAVAILABLE, "HTTP 503")
    found.world.clusters["aks"].access.limits = {
        SPACE: [Limit("few", "pods", Decimal(1), Decimal(1))]
    }
    examined = examine(found)
    assert severe(examined) == ["quota-too-small"]
    assert any("HTTP 503" in one.text for one in doctor.unknown(examined.findings))


def test_what_cannot_be_seen_is_told_and_nothing_else_is_tried() -> None:
    found = edges()
    found.calls.failing["database roles"] = Unavailable(Code.DATABASE_DOWN, "it is down")
    examined = examine(found)
    assert (examined.would, examined.world.seen) == ("wait", None)
    assert not [what for what in found.calls.reads if what.startswith("vault standing")]


def test_what_is_waived_does_not_count() -> None:
    found = edges()
    deployments = found.world.clusters["aks"].deployments
    green = deployments[SPACE, "api-green"]
    deployments[SPACE, "api-green"] = replace(green, images={**green.images, "x": "y:1"})
    refused = examine(found)
    assert refused.would == "refuse"
    (code,) = {one.code for one in refused.findings if one.severity == "refuses"}
    assert examine(found, code).would == "rotate"


def test_the_policies_are_those_of_the_manifests() -> None:
    named = {
        one["metadata"]["name"]
        for file in ("guard.yaml", "jobs-guard.yaml")
        for one in read_manifests(MANIFESTS / file)
        if one["kind"] == "ValidatingAdmissionPolicy"
    }
    assert {f"{doctor.PREFIX}{name}" for name in doctor.GUARD} < named
    granted = next(
        rule["resourceNames"]
        for one in read_manifests(MANIFESTS / "doctor.yaml")
        if one["kind"] == "ClusterRole"
        for rule in one["rules"]
        if "validatingadmissionpolicies" in rule["resources"]
    )
    assert set(granted) == named
    assert set(doctor.EVERY) == {name.removeprefix(doctor.PREFIX) for name in named}
