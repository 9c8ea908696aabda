"""Whole rotations of workloads without a twin: some restart, and one reads its file again."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from kubernetes.client import AppsV1Api, CoreV1Api

from local import world
from local.cluster.client import apply, read_manifests
from local.load import Load
from local.process import wait_until
from local.stack import APP, Options, Stack
from local.stack.provisioner import PODS
from rotation.edges.cluster.patches import HOLDS, RESTARTED
from rotation.model.targets import SecretTarget
from rotation.model.world import Slot, other
from tests.conftest import QUICK, full
from tests.e2e.test_rotation import active, codes, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

SPACE, RESTARTS, RELOADS, AGENT = "orders", "ledger", "journal", "agent"
KINDS = {RESTARTS: "StatefulSet", RELOADS: "StatefulSet", AGENT: "DaemonSet"}


def workload(name: str, then: str) -> dict[str, Any]:
    return {
        "name": name,
        "cluster": "local",
        "namespace": SPACE,
        "service": name,
        "inPlace": {
            "kind": KINDS[name],
            "name": name,
            "secret": f"{name}-db",
            "then": then,
            "roleKey": "username",
        },
        "application": f"orders-{name}",
        "tests": [{"path": "/whoami", "json": {"role": "{role}"}, "repeat": 1}],
        "ready": "60s",
        "drain": "20s",
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A web application with two slots, and three workloads in place beside it."""
    in_place = [
        workload(RESTARTS, "restart"),
        workload(RELOADS, "reload"),
        workload(AGENT, "restart"),
    ]
    credential = QUICK | {"workloads": [*QUICK["workloads"], *in_place]}
    options = Options(replicas=2, watch_seconds=2, credential=credential)
    with Stack(tmp_path_factory.mktemp("in-place"), options) as stack:
        for name in KINDS:
            apply(stack.owner.kubernetes, [secret(stack, name), *manifests(stack, name)])
        for name in KINDS:
            wait_until(lambda name=name: ready(stack, name), 60, name)  # type: ignore[misc]  # a default binds the loop's variable
        yield stack


def secret(stack: Stack, name: str) -> dict[str, Any]:
    value = stack.owner.vault.value(SecretTarget(world.secret("blue"))).reveal()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{name}-db", "namespace": SPACE, "annotations": {HOLDS: "blue"}},
        "stringData": {"username": "orders_blue", "password": value},
    }


def manifests(stack: Stack, name: str) -> Iterator[dict[str, Any]]:
    """The example's own, under another name for the others."""
    for found in read_manifests(world.MANIFESTS / "example" / "ledger.yaml"):
        manifest = renamed(found, RESTARTS, name)
        world.localised(manifest, stack.addresses, app=APP.principal_id, pods=PODS.client_id)
        if manifest["kind"] == "StatefulSet":
            (container,) = manifest["spec"]["template"]["spec"]["containers"]
            if name == RELOADS:
                container["env"].append({"name": "RELOAD_SECONDS", "value": "0.5"})
            if KINDS[name] == "DaemonSet":
                manifest["kind"] = "DaemonSet"
                for key in ("replicas", "serviceName"):
                    del manifest["spec"][key]
        if manifest["kind"] == "Role" and KINDS[name] == "DaemonSet":
            for rule in manifest["rules"]:
                rule["resources"] = [
                    "daemonsets" if one == "statefulsets" else one for one in rule["resources"]
                ]
        yield manifest


def renamed(value: Any, former: str, name: str) -> Any:
    if isinstance(value, dict):
        return {key: renamed(each, former, name) for key, each in value.items()}
    if isinstance(value, list):
        return [renamed(each, former, name) for each in value]
    return value.replace(former, name) if isinstance(value, str) else value


def seen(stack: Stack, name: str) -> dict[str, Any]:
    plural = f"{KINDS[name].lower()}s"
    return dict(stack.owner.kubernetes_get(f"/apis/apps/v1/namespaces/{SPACE}/{plural}/{name}"))


def ready(stack: Stack, name: str) -> bool:
    found = seen(stack, name)
    status = found.get("status") or {}
    if status.get("observedGeneration") != found["metadata"]["generation"]:
        return False
    if KINDS[name] == "DaemonSet":
        keys = ("updatedNumberScheduled", "numberReady", "desiredNumberScheduled")
        return {status[key] for key in keys} == {2}
    return {status[key] for key in ("updatedReplicas", "readyReplicas", "replicas")} == {2}


def pods(stack: Stack, name: str) -> dict[str, str]:
    """The workload's pods, by name, with their uids."""
    found = stack.owner.kubernetes_get(f"/api/v1/namespaces/{SPACE}/pods")["items"]
    own = [pod for pod in found if pod["metadata"]["labels"].get("app") == name]
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in own}


def held(stack: Stack, name: str) -> tuple[str, str, str]:
    """The slot, role and password that the Secret has."""
    found = stack.owner.kubernetes_get(f"/api/v1/namespaces/{SPACE}/secrets/{name}-db")
    role, password = (
        base64.b64decode(found["data"][key]).decode() for key in ("username", "password")
    )
    return found["metadata"]["annotations"][HOLDS], role, password


def loads(stack: Stack, name: str) -> Load:
    return Load([stack.owner.service_url(SPACE, name)], rate=30, workers=6, fresh=3, pooled=3)


def failed_by_a_plain_restart(stack: Stack, name: str) -> int:
    """The requests that fail while its owner restarts it, as `kubectl rollout restart` does."""
    before = pods(stack, name)
    note = {"spec": {"template": {"metadata": {"annotations": {"restarted": str(uuid4())}}}}}
    api = AppsV1Api(stack.owner.kubernetes)
    patch = (
        api.patch_namespaced_daemon_set
        if KINDS[name] == "DaemonSet"
        else api.patch_namespaced_stateful_set
    )
    with loads(stack, name) as load:
        patch(name, SPACE, note)

        def restarted() -> bool:
            now = set(pods(stack, name).values())
            return ready(stack, name) and not now & set(before.values())

        wait_until(restarted, 90, "a plain restart")
        return load.stop().failed


@pytest.mark.guarantee(1, 2)
@pytest.mark.parametrize("decision", ["reject", pytest.param("approve", marks=full)])
def test_requests_fail_no_more_than_by_its_own_restart(site: Stack, decision: str) -> None:
    before = active(site)
    plain = {name: failed_by_a_plain_restart(site, name) for name in KINDS}
    began = {name: pods(site, name) for name in KINDS}
    with loads(site, RESTARTS) as one, loads(site, RELOADS) as two, loads(site, AGENT) as three:
        rotation = started(site)
        record = site.client.follow(rotation, waiting, timeout=180)
        assert record["outcome"] is None, record["outcomeReason"]
        swapped = {name: pods(site, name) for name in KINDS}
        evidence = site.client.api("GET", f"/rotations/{rotation}/evidence").json
        assert {held(site, name)[:2] for name in KINDS} == {
            (other(before), f"orders_{other(before)}")
        }
        site.client.decide(rotation, decision)
        record = ended(site, rotation)
        failed = {RESTARTS: one.stop(), RELOADS: two.stop(), AGENT: three.stop()}
    serving = other(before) if decision == "approve" else before
    assert record["outcome"] == ("completed" if decision == "approve" else "rolled-back"), record
    assert plain == dict.fromkeys(KINDS, 0)  # the sample serves on for a while, after SIGTERM
    assert [report.failures for report in failed.values()] == [[]] * len(KINDS)
    assert all(report.requests > 0 for report in failed.values())
    for name in (RESTARTS, AGENT):
        assert not set(began[name].values()) & set(swapped[name].values())
        assert RESTARTED in seen(site, name)["spec"]["template"]["metadata"]["annotations"]
    assert set(began[RESTARTS]) == set(swapped[RESTARTS])  # a StatefulSet's pods keep their names
    assert began[RELOADS] == swapped[RELOADS] == pods(site, RELOADS)
    _assert_evidence(evidence, other(before))
    for name in KINDS:
        value = site.owner.vault.value(SecretTarget(world.secret(serving))).reveal()
        assert held(site, name) == (serving, f"orders_{serving}", value)
    assert roles_in_use(site) == {f"orders_{serving}"}


def _assert_evidence(evidence: dict[str, Any], slot: Slot) -> None:
    assert (evidence["complete"], evidence["passed"]) == (True, True), evidence
    for name in KINDS:
        proofs = {proof["test"]: proof["role"] for proof in evidence["tests"][name]}
        role = f"orders_{slot}"
        assert proofs == {"/whoami": role, "database sessions": role}
        assert len(evidence["pods"][name][slot]) == 2
        assert {row["role"] for row in evidence["sessions"] if row["workload"] == name} == {role}


def roles_in_use(stack: Stack) -> set[str]:
    asked = "SELECT DISTINCT usename FROM pg_stat_activity WHERE starts_with(usename, 'orders_')"
    with psycopg.connect(stack.owner.dsn(world.DATABASE)) as connection:
        return {str(row[0]) for row in connection.execute(asked).fetchall()}


@full
@pytest.mark.guarantee(7)
def test_one_that_never_reads_it_again_sends_the_rotation_back(site: Stack) -> None:
    """Its owner says that it does, and it does not: the login in use stays."""
    before = active(site)
    env(site, RELOADS, "RELOAD_SECONDS", "0")
    try:
        record = ended(site, started(site))
        assert record["outcome"] == "rolled-back", record["outcomeReason"]
        assert "login-not-taken" in codes(record)
        assert held(site, RELOADS)[0] == before
        assert roles_in_use(site) == {f"orders_{before}"}
    finally:
        env(site, RELOADS, "RELOAD_SECONDS", "0.5")


def env(stack: Stack, name: str, variable: str, value: str) -> None:
    before = set(pods(stack, name).values())
    pod = {"containers": [{"name": name, "env": [{"name": variable, "value": value}]}]}
    body = {"spec": {"template": {"spec": pod}}}
    AppsV1Api(stack.owner.kubernetes).patch_namespaced_stateful_set(name, SPACE, body)
    wait_until(
        lambda: ready(stack, name) and not before & set(pods(stack, name).values()), 90, name
    )


def test_a_secret_that_does_not_say_whose_login_it_holds_is_refused(site: Stack) -> None:
    before = active(site)
    api = CoreV1Api(site.owner.kubernetes)
    api.patch_namespaced_secret(
        f"{RESTARTS}-db", SPACE, {"metadata": {"annotations": {HOLDS: None}}}
    )
    try:
        record = ended(site, started(site))
        assert record["outcome"] == "refused"
        assert "exchanged-secret-unnamed" in codes(record)
        assert "kubectl annotate --namespace orders secret ledger-db" in record["outcomeReason"]
    finally:
        notes = {"metadata": {"annotations": {HOLDS: before}}}
        api.patch_namespaced_secret(f"{RESTARTS}-db", SPACE, notes)
