"""Pods over the wire: what their processes are given, and what shows when they fail."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.process import wait_until
from tests.local.cluster.support import deployment, get, secret, service

if TYPE_CHECKING:
    from tests.local.cluster.support import Kube


def serve(kube: Kube, *others: dict[str, Any], **fields: Any) -> str:
    """A Deployment and Service `web`, ready; its URL."""
    kube.apply(*others, deployment("web", 1, **fields), service("web", {"app": "web"}))
    kube.wait_ready("web", 1)
    return kube.service_url("web")


def test_environment_from_values_secrets_config_maps_and_the_pod(kube: Kube) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "config"},
        "data": {"COLOUR": "blue"},
    }
    env = [
        {"name": "PLAIN", "value": "x"},
        {"name": "JOINED", "value": "$(PLAIN)-$(ABSENT)-$$(PLAIN)"},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
        {
            "name": "OPTIONAL",
            "valueFrom": {"secretKeyRef": {"name": "login", "key": "no", "optional": True}},
        },
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
    ]
    names = "PLAIN,JOINED,PASSWORD,OPTIONAL,POD,APP,COLOUR,LOCAL_ADMIN_KEY"
    url = serve(
        kube,
        config,
        secret("login", password="p w"),
        env=[*env, {"name": "ECHO", "value": names}],
        envFrom=[{"configMapRef": {"name": "config"}}],
        args=["--slot", "$(COLOUR)"],
    )
    answer = get(url)
    (pod,) = kube.pods("app=web")
    assert answer["argv"] == ["--slot", "blue"]
    assert answer["env"] == {
        "PLAIN": "x",
        "JOINED": "x-$(ABSENT)-$(PLAIN)",
        "PASSWORD": "p w",
        "OPTIONAL": None,
        "POD": pod.metadata.name,
        "APP": "web",
        "COLOUR": "blue",
        "LOCAL_ADMIN_KEY": None,
    }


def with_egress(variable: str, **fields: Any) -> dict[str, Any]:
    found = deployment("web", 1, **fields)
    found["spec"]["template"]["metadata"]["annotations"] = {"local/egress": variable}
    return found


def test_a_port_that_the_pod_names_is_reached_from_its_own_address(kube: Kube) -> None:
    with socket.create_server(("127.0.0.1", 0)) as database:
        database.settimeout(10)
        env = [
            {"name": "ECHO", "value": "DATABASE_PORT,OTHER_PORT"},
            {"name": "DATABASE_PORT", "value": str(database.getsockname()[1])},
            {"name": "OTHER_PORT", "value": "1"},
        ]
        kube.apply(with_egress("DATABASE_PORT", env=env), service("web", {"app": "web"}))
        kube.wait_ready("web", 1)
        variables = get(kube.service_url("web"))["env"]
        assert variables["OTHER_PORT"] == "1"
        (pod,) = kube.pods("app=web")
        with socket.create_connection(("127.0.0.1", int(variables["DATABASE_PORT"])), 10) as sent:
            arrived, (address, _) = database.accept()
            with arrived:
                arrived.settimeout(10)
                sent.sendall(b"hello")
                assert arrived.recv(5) == b"hello"
    assert address == pod.status.pod_ip != "127.0.0.1"


def test_a_way_out_that_is_no_port_keeps_the_container_from_being_created_bad(kube: Kube) -> None:
    kube.apply(with_egress("NOWHERE"))
    kube.wait_reason("app=web", "CreateContainerConfigError")


def test_a_mounted_secret_is_found_at_its_path_and_gone_with_the_pod(kube: Kube) -> None:
    url = serve(
        kube,
        secret("login", password="p"),
        env=[
            {"name": "ECHO", "value": "FILE"},
            {"name": "FILE", "value": "/mnt/secrets/password"},
        ],
        volumeMounts=[{"name": "login", "mountPath": "/mnt/secrets"}],
        pod={"volumes": [{"name": "login", "secret": {"secretName": "login"}}]},
    )
    path = get(url)["env"]["FILE"]
    assert Path(path).read_text(encoding="utf-8") == "p"
    assert Path(path).stat().st_mode & 0o777 == 0o600
    kube.apps.patch_namespaced_deployment_scale("web", kube.namespace, {"spec": {"replicas": 0}})
    kube.wait_pods("app=web", 0)
    assert not Path(path).exists()


def test_a_projected_volume_and_an_item_under_another_name(kube: Kube) -> None:
    namespace = {"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    sources = [
        {"secret": {"name": "login", "items": [{"key": "password", "path": "deep/pw"}]}},
        {"downwardAPI": {"items": [namespace, labels]}},
    ]
    url = serve(
        kube,
        secret("login", password="p", other="o"),
        env=[{"name": "ECHO", "value": "DIR"}, {"name": "DIR", "value": "/all"}],
        volumeMounts=[{"name": "all", "mountPath": "/all"}],
        pod={"volumes": [{"name": "all", "projected": {"sources": sources}}]},
    )
    directory = Path(get(url)["env"]["DIR"])
    assert (directory / "deep/pw").read_text(encoding="utf-8") == "p"
    assert (directory / "ns").read_text(encoding="utf-8") == kube.namespace
    assert 'app="web"' in (directory / "labels").read_text(encoding="utf-8").splitlines()
    assert not (directory / "other").exists()


def test_an_unknown_image_shows_as_image_pull_back_off(kube: Kube) -> None:
    kube.apply(deployment("web", 1, image="nowhere:9"))
    kube.wait_reason("app=web", "ImagePullBackOff")
    assert kube.pods("app=web")[0].status.phase == "Pending"


def test_a_missing_secret_key_shows_until_the_key_is_there(kube: Kube) -> None:
    reference = {"secretKeyRef": {"name": "login", "key": "password"}}
    kube.apply(deployment("web", 1, env=[{"name": "PASSWORD", "valueFrom": reference}]))
    kube.wait_reason("app=web", "CreateContainerConfigError")
    kube.apply(secret("login", other="o"))

    def message() -> str:
        (pod,) = kube.pods("app=web")
        return str(pod.status.container_statuses[0].state.waiting.message)

    wanted = f"couldn't find key password in Secret {kube.namespace}/login"
    wait_until(lambda: message() == wanted, 10, "the message about the key")
    kube.apply(secret("login", password="p"))
    kube.wait_ready("web", 1)


def test_a_missing_secret_volume_keeps_the_container_from_being_created(kube: Kube) -> None:
    kube.apply(
        deployment(
            "web", 1, pod={"volumes": [{"name": "login", "secret": {"secretName": "login"}}]}
        )
    )
    wait_until(lambda: kube.events("FailedMount"), 10, "an event about the mount")
    assert 'secret "login" not found' in kube.events("FailedMount")[0].message
    assert kube.waiting_reason("app=web") == "ContainerCreating"
    kube.apply(secret("login", password="p"))
    kube.wait_ready("web", 1)


def test_a_crashing_container_restarts_and_backs_off(kube: Kube) -> None:
    kube.apply(deployment("web", 1, command=["sh", "-c", "exit 3"], readinessProbe=None))
    kube.wait_reason("app=web", "CrashLoopBackOff")
    status = kube.pods("app=web")[0].status.container_statuses[0]
    assert status.restart_count >= 1
    assert status.last_state.terminated.exit_code == 3


def test_a_container_that_dies_is_not_ready_until_it_is_back(kube: Kube) -> None:
    url = serve(kube)
    first = get(url)["pid"]
    assert post(kube, "exit?code=1") == 200
    wait_until(lambda: restarts(kube) == 1, 10, "a restart")
    kube.wait_ready("web", 1)
    assert get(url)["pid"] != first


def post(kube: Kube, path: str) -> int:
    return kube.raw("POST", kube.path(f"services/web:http/proxy/{path}"))[0]


def restarts(kube: Kube) -> int:
    (pod,) = kube.pods("app=web")
    return int(pod.status.container_statuses[0].restart_count)


def test_a_failing_readiness_takes_the_pod_out_and_back_in(kube: Kube, tmp_path: Path) -> None:
    flag = tmp_path / "unready"
    serve(kube, env=[{"name": "UNREADY_FILE", "value": str(flag)}])
    flag.touch()
    wait_until(lambda: not kube.deployment("web").status.ready_replicas, 10, "unreadiness")
    (pod,) = kube.pods("app=web")
    ready = next(item for item in pod.status.conditions if item.type == "Ready")
    assert (ready.status, ready.reason) == ("False", "ContainersNotReady")
    assert any("statuscode: 503" in event.message for event in kube.events("Unhealthy"))
    flag.unlink()
    kube.wait_ready("web", 1)
    assert restarts(kube) == 0


def test_a_failing_liveness_restarts_the_container(kube: Kube, tmp_path: Path) -> None:
    flag = tmp_path / "unhealthy"
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
    serve(
        kube,
        env=[{"name": "UNREADY_FILE", "value": str(flag)}],
        readinessProbe={"tcpSocket": {"port": "http"}, "periodSeconds": 1},
        startupProbe={**probe, "failureThreshold": 10},
        livenessProbe={**probe, "failureThreshold": 1},
    )
    flag.touch()
    wait_until(lambda: restarts(kube) == 1, 10, "a restart")
    flag.unlink()
    kube.wait_ready("web", 1)


def test_a_graceful_end_runs_the_hook_then_terminates_then_kills(
    kube: Kube, tmp_path: Path
) -> None:
    noted = tmp_path / "noted"
    script = f"trap 'echo term >> {noted}' TERM; echo up >> {noted}; while :; do sleep 0.1; done"
    hook = {"exec": {"command": ["sh", "-c", f"echo hook >> {noted}"]}}
    kube.apply(
        deployment(
            "web",
            1,
            pod={"terminationGracePeriodSeconds": 1},
            image="shell:1",
            args=["-c", script],
            readinessProbe=None,
            lifecycle={"preStop": hook},
        )
    )
    wait_until(noted.exists, 10, "the container")
    (pod,) = kube.pods("app=web")
    kube.apps.delete_namespaced_deployment("web", kube.namespace)
    wait_until(lambda: going(kube), 10, "the pod's end to begin")
    kube.wait_pods("app=web", 0)
    assert noted.read_text(encoding="utf-8").split() == ["up", "hook", "term"]
    assert pod.spec.termination_grace_period_seconds == 1


def going(kube: Kube) -> bool:
    pods = kube.pods("app=web")
    return all(pod.metadata.deletion_timestamp for pod in pods)


def test_logs_are_read_through_the_api(kube: Kube) -> None:
    serve(kube)
    (pod,) = kube.pods("app=web")
    read = kube.core.read_namespaced_pod_log
    assert json.loads(read(pod.metadata.name, kube.namespace)) == {"started": pod.metadata.name}
    assert read(pod.metadata.name, kube.namespace, tail_lines=0) == ""


def test_an_init_container_comes_first(kube: Kube, tmp_path: Path) -> None:
    done = tmp_path / "done"
    init = {
        "name": "first",
        "image": "shell:1",
        "args": ["-c", f"touch {done}"],
    }
    serve(
        kube,
        pod={"initContainers": [init]},
        readinessProbe={"exec": {"command": ["test", "-e", str(done)]}, "periodSeconds": 1},
    )
    (pod,) = kube.pods("app=web")
    assert pod.status.init_container_statuses[0].state.terminated.exit_code == 0


def test_a_sidecar_starts_first_stays_and_ends_last(kube: Kube, tmp_path: Path) -> None:
    up, down = tmp_path / "up", tmp_path / "down"
    waits = f"trap 'test ! -e {tmp_path}/served && touch {down}; exit 0' TERM; touch {up}; "
    sidecar = {
        "name": "beside",
        "image": "shell:1",
        "restartPolicy": "Always",
        "args": ["-c", f"{waits}while :; do sleep 0.05; done"],
        "startupProbe": {
            "exec": {"command": ["test", "-e", str(up)]},
            "periodSeconds": 1,
            "failureThreshold": 20,
        },
    }
    served = tmp_path / "served"
    served.touch()
    hook = {"preStop": {"exec": {"command": ["rm", str(served)]}}}
    serve(kube, pod={"initContainers": [sidecar]}, lifecycle=hook)
    (pod,) = kube.pods("app=web")
    (beside,) = pod.status.init_container_statuses
    assert (beside.ready, beside.started, beside.restart_count) == (True, True, 0)
    kube.core.delete_namespaced_pod(pod.metadata.name, kube.namespace)
    wait_until(down.exists, 20, "the sidecar's end after the container's")
