"""StatefulSets and DaemonSets over the wire, and Secrets that reach the files of running pods."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from local.process import wait_until
from tests.local.cluster.support import deployment, get, secret, service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.cluster.support import Kube, Manifest

SET, DAEMON = "StatefulSet", "DaemonSet"


def single(name: str, kind: str = SET, replicas: int = 2, **spec: Any) -> Manifest:
    made = deployment(name, replicas, spec=spec)
    made["kind"] = kind
    if kind == DAEMON:
        del made["spec"]["replicas"]
    return made


def seen(kube: Kube, name: str, kind: str = SET) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    found: dict[str, Any] = kube.raw("GET", kube.path(f"{plural}/{name}", "apps"))[1]
    return found


def restart(kube: Kube, name: str, kind: str = SET, note: str = "now") -> None:
    body = {"spec": {"template": {"metadata": {"annotations": {"restarted": note}}}}}
    patch = (
        kube.apps.patch_namespaced_stateful_set
        if kind == SET
        else kube.apps.patch_namespaced_daemon_set
    )
    patch(name, kube.namespace, body)


def done(kube: Kube, name: str, kind: str = SET, count: int = 2) -> bool:
    found = seen(kube, name, kind)
    status = found.get("status") or {}
    if status.get("observedGeneration") != found["metadata"]["generation"]:
        return False
    keys = (
        ("replicas", "readyReplicas", "updatedReplicas")
        if kind == SET
        else ("desiredNumberScheduled", "numberReady", "updatedNumberScheduled")
    )
    return {status.get(key) for key in keys} == {count}


def pods(kube: Kube, name: str) -> dict[str, str]:
    return {pod.metadata.name: pod.metadata.uid for pod in kube.pods(f"app={name}")}


def test_its_pods_are_made_in_order_and_replaced_in_the_reverse_one(kube: Kube) -> None:
    kube.apply(single("db"), service("db", {"app": "db"}))
    wait_until(partial(done, kube, "db"), 30, "the first pods")
    before = pods(kube, "db")
    assert set(before) == {"db-0", "db-1"}
    made = {pod.metadata.name: pod for pod in kube.pods("app=db")}
    began = [made[name].metadata.creation_timestamp for name in ("db-0", "db-1")]
    assert began == sorted(began)
    assert made["db-1"].metadata.labels["apps.kubernetes.io/pod-index"] == "1"
    assert made["db-1"].spec.hostname == "db-1"
    status = seen(kube, "db")["status"]
    assert status["currentRevision"] == status["updateRevision"]
    restart(kube, "db")
    order: list[str] = []

    def rolled() -> bool:
        now = pods(kube, "db")
        order.extend(
            name for name, uid in now.items() if before.get(name) != uid and name not in order
        )
        return done(kube, "db") and not set(before.values()) & set(now.values())

    wait_until(rolled, 40, "the roll")
    assert order == ["db-1", "db-0"]
    after = seen(kube, "db")["status"]
    assert after["currentRevision"] == after["updateRevision"] != status["updateRevision"]
    get(kube.service_url("db"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("strategy", "replaced"),
    [
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, {"db-1"}),
        ({"type": "OnDelete"}, set()),
    ],
)
def test_a_partition_and_on_delete_keep_pods(
    kube: Kube, strategy: dict[str, Any], replaced: set[str]
) -> None:
    kube.apply(single("db", updateStrategy=strategy))
    wait_until(partial(done, kube, "db"), 30, "the first pods")
    before = pods(kube, "db")
    restart(kube, "db")
    wait_until(
        lambda: (
            (seen(kube, "db")["status"]["updatedReplicas"], pods(kube, "db").keys())
            == (len(replaced), before.keys())
        ),
        30,
        "what is replaced",
    )
    now = pods(kube, "db")
    assert {name for name in before if before[name] != now.get(name)} == replaced
    kube.core.delete_namespaced_pod("db-0", kube.namespace)
    wait_until(
        lambda: pods(kube, "db").get("db-0") not in {None, before["db-0"]}, 30, "a deleted pod"
    )
    status = seen(kube, "db")["status"]
    # One below the partition comes back as it was, one by hand as it is to be.
    made = {pod.metadata.name: pod for pod in kube.pods("app=db")}["db-0"].metadata.labels
    wanted = "currentRevision" if replaced else "updateRevision"
    assert made["controller-revision-hash"] == status[wanted]


@pytest.mark.long
def test_one_that_is_never_ready_holds_the_others(kube: Kube) -> None:
    kube.apply(single("db"))
    wait_until(partial(done, kube, "db"), 30, "the first pods")
    before = pods(kube, "db")
    broken = {"spec": {"containers": [{"name": "web", "image": "nobody:1"}]}}
    kube.apps.patch_namespaced_stateful_set("db", kube.namespace, {"spec": {"template": broken}})
    wait_until(lambda: kube.waiting_reason("app=db") != "", 30, "a pod that cannot start")
    assert pods(kube, "db")["db-0"] == before["db-0"]
    restart(kube, "db")
    assert pods(kube, "db")["db-0"] == before["db-0"]


@pytest.mark.long
def test_a_daemonset_has_a_pod_on_each_node_and_replaces_one_at_a_time(kube: Kube) -> None:
    kube.apply(single("agent", DAEMON))
    wait_until(partial(done, kube, "agent", DAEMON), 30, "the first pods")
    made = kube.pods("app=agent")
    assert {pod.spec.node_name for pod in made} == {"local-1", "local-2"}
    before = pods(kube, "agent")
    restart(kube, "agent", DAEMON)
    fewest = 2

    def rolled() -> bool:
        nonlocal fewest
        fewest = min(fewest, seen(kube, "agent", DAEMON)["status"]["numberAvailable"])
        now = pods(kube, "agent")
        return done(kube, "agent", DAEMON) and not set(before.values()) & set(now.values())

    wait_until(rolled, 40, "the roll")
    assert fewest == 1


def test_a_changed_secret_reaches_running_pods_and_no_sub_path(kube: Kube, tmp_path: Path) -> None:
    kept = tmp_path / "seen"
    kept.mkdir()
    made = deployment("web", 1, image="shell:1", ports=[], readinessProbe=None)
    pod = made["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "login", "secret": {"secretName": "login"}}]
    pod["containers"][0]["volumeMounts"] = [
        {"name": "login", "mountPath": "/mnt/all"},
        {"name": "login", "mountPath": "/mnt/one", "subPath": "p"},
    ]
    # The shell is no process of ours that could look up its mounts: paths are given as arguments.
    pod["containers"][0]["args"] = [
        "-c",
        f'while true; do cat "$0" "$1" > {kept}/now; sleep 0.1; done',
        "/mnt/all/p",
        "/mnt/one",
    ]
    kube.apply(secret("login", p="first"), made)

    def shows(text: str) -> bool:
        return (kept / "now").exists() and (kept / "now").read_text() == text

    wait_until(lambda: shows("firstfirst"), 20, "the first value")
    kube.core.patch_namespaced_secret("login", kube.namespace, {"stringData": {"p": "second"}})
    wait_until(lambda: shows("secondfirst"), 20, "the renewed volume")
