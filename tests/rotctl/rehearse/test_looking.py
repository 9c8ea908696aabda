"""What can be rehearsed, and by which labels the copies stay unseen."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from rotctl.adopt.original import matches, selects
from rotctl.exits import ClientError, Exit
from rotctl.rehearse import entry, looking, manifests
from rotctl.rehearse.plan import LEAVING, Load

if TYPE_CHECKING:
    from pathlib import Path

    from rotctl.rehearse.plan import Plan

Object = dict[str, Any]
EXISTS = {"key": "app", "operator": "Exists"}


def deployment(name: str = "api", replicas: int = 2, **labels: str) -> Object:
    own = {"app": "api", **labels}
    container = {
        "name": "api",
        "image": "registry.example/orders:1.0",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "orders"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": own},
            "template": {"metadata": {"labels": own}, "spec": {"containers": [container]}},
        },
        "status": {"readyReplicas": replicas},
    }


def service(name: str = "api", *ports: Object, **selector: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "orders"},
        "spec": {
            "selector": selector or {"app": "api"},
            "clusterIP": "10.0.0.1",
            "ports": list(ports) or [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def planned(*objects: Object, name: str = "api", load: Load | None = None, **more: Any) -> Plan:
    return looking.plan(list(objects), name, load or Load(), **more)


def refused(*objects: Object, name: str = "api", **more: Any) -> ClientError:
    with pytest.raises(ClientError) as raised:
        planned(*objects, name=name, **more)
    return raised.value


def other(kind: str, name: str = "api", **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "orders"}
    return {"apiVersion": "x/v1", "kind": kind, "metadata": metadata, "spec": spec}


def test_one_deployment_as_everybody_has_it() -> None:
    found = planned(deployment(), service())
    assert (found.namespace, found.deployment, found.service) == ("orders", "api", "api")
    assert (found.load.path, found.port["targetPort"], found.labels) == ("/", "http", {})
    assert found.tells == ()


def test_a_slot_that_serves() -> None:
    found = planned(
        deployment("api-blue", slot="blue", tier="front"),
        deployment("api-green", 0, slot="green", tier="front"),
        service(app="api", slot="blue"),
        service("api-preview", app="api", slot="green"),
        name="api-blue",
    )
    # A NetworkPolicy may go by these.
    assert found.labels == {"app": "api", "tier": "front"}


@pytest.mark.parametrize(
    "more",
    [
        service("both", app="api"),
        other("PodDisruptionBudget", selector={"matchLabels": {"app": "api"}}),
        other("StatefulSet", "x", selector={"matchLabels": {"app": "api"}}),
        other("DaemonSet", "x", selector={"matchExpressions": [EXISTS]}),
        other("Deployment", "x", replicas=0, selector={"matchLabels": {"app": "api"}}),
    ],
)
def test_nothing_that_is_there_finds_the_copies(more: Object) -> None:
    objects = [deployment("api-blue", slot="blue", tier="front"), service(app="api", slot="blue")]
    found = planned(*objects, more, name="api-blue", service="api")
    template = manifests.deployment(found, LEAVING)["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert found.labels == {"tier": "front"}
    for one in (*objects, more):
        found_by = selects if one["kind"] == "Service" else matches
        assert not found_by(one["spec"]["selector"], labels)


def test_a_selector_that_finds_whatever_lacks_a_label_is_refused() -> None:
    without = {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}
    error = refused(deployment(), service(), other("PodDisruptionBudget", "x", selector=without))
    assert error.exit_code == Exit.REFUSED


def unready() -> Object:
    made = deployment()
    made["status"] = {}
    return made


def host_network() -> Object:
    made = deployment()
    made["spec"]["template"]["spec"]["hostNetwork"] = True
    return made


def unprobed() -> Object:
    made = deployment()
    del made["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    return made


def with_password() -> Object:
    made = deployment()
    env = [{"name": "PGPASSWORD", "value": "made-up-value"}]
    made["spec"]["template"]["spec"]["containers"][0]["env"] = env
    return made


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ([deployment(replicas=0), service()], "it has no pods"),
        ([unready(), service()], "none of its pods is ready"),
        ([deployment()], "no Service finds its pods"),
        ([other("CronJob")], "nobody calls its Jobs"),
        ([other("StatefulSet")], "are not copied"),
        ([other("Rollout")], "are not copied"),
        ([host_network(), service()], "hostNetwork"),
        ([unprobed(), service()], "readiness probe"),
        ([with_password(), service()], "variable PGPASSWORD"),
    ],
)
def test_what_is_refused_by_name(objects: list[Object], why: str) -> None:
    error = refused(*objects)
    assert error.exit_code == Exit.REFUSED
    assert why in error.text
    assert "api" in error.text
    assert "made-up-value" not in error.text
    assert error.more["refused"]


def test_a_rotation_under_way_is_refused() -> None:
    error = refused(
        deployment("api-blue", slot="blue"),
        deployment("api-green", 2, slot="green"),
        service(app="api", slot="blue"),
        name="api-blue",
    )
    assert error.exit_code == Exit.REFUSED
    assert "Deployment orders/api-green: it has pods as well" in error.text


def test_an_unknown_name_says_what_there_is() -> None:
    error = refused(deployment(), service(), name="web")
    assert error.exit_code == Exit.USAGE
    assert "orders/api" in error.text


def test_which_service_and_which_port() -> None:
    two = [service(), service("api-internal")]
    assert "give --service" in refused(deployment(), *two).cure
    assert planned(deployment(), *two, service="api-internal").service == "api-internal"
    headless = service("api-pods")
    headless["spec"]["clusterIP"] = "None"
    assert planned(deployment(), service(), headless).service == "api"
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    assert "give --port" in refused(deployment(), service("api", *ports)).cure
    assert planned(deployment(), service("api", *ports), port="81").port["name"] == "b"
    named = [{"name": "http", "port": 80}, {"name": "metrics", "port": 9000}]
    assert planned(deployment(), service("api", *named)).port["port"] == 80


def test_paths() -> None:
    objects = (deployment(), service())
    assert "readiness probe" in refused(*objects, load=Load(path="/readyz")).text
    assert "no path" in refused(*objects, load=Load(path="orders")).text
    assert "no path" in refused(*objects, load=Load(path="/a b")).text
    assert planned(*objects, paths=("/readyz", "/orders")).load.path == "/orders"
    assert planned(*objects, load=Load(path="/own"), paths=("/orders",)).load.path == "/own"
    assert "host" in refused(*objects, load=Load(name="a\r\nb")).text


def test_what_is_worth_knowing_is_told() -> None:
    policy = other("NetworkPolicy", "closed", podSelector={"matchLabels": {"app": "api"}})
    rule = {"backendRefs": [{"name": "api"}]}
    route = other("HTTPRoute", "edge", rules=[rule, rule])
    found = planned(deployment(), service(), policy, route)
    closed, led = found.tells
    assert closed.startswith("NetworkPolicy orders/closed holds for the pods that serve and not")
    assert led.startswith("HTTPRoute orders/edge leads to Service api")
    labelled = deployment(tier="front")
    by_tier = copy.deepcopy(policy)
    by_tier["spec"]["podSelector"] = {"matchLabels": {"tier": "front"}}
    assert planned(labelled, service(), by_tier).tells == ()


@pytest.mark.parametrize(
    ("command", "framework"),
    [
        (["gunicorn", "app:app"], "gunicorn"),
        (["sh", "-c", "exec uvicorn app:app"], "uvicorn"),
        (["node", "server.js"], "express"),
        (["java", "-jar", "app.jar"], "spring"),
        (["/app/orders"], ""),
    ],
)
def test_a_command_line_may_say_the_framework(command: list[str], framework: str) -> None:
    made = deployment()
    made["spec"]["template"]["spec"]["containers"][0]["command"] = command
    found = planned(made, service(), framework="go")
    assert (found.guess, found.framework) == (framework, "go")


CREDENTIALS = """\
clusters: {prod: {server: "https://prod.example", certificateAuthority: /ca.pem}}
credentials:
  orders-db:
    validity: 90d
    vault: https://kv-orders.vault.azure.net
    database: {host: pg.example, name: orders, admin: {role: rotator}}
    slots:
      blue: {role: orders_app, secret: orders-db}
      green: {role: orders_green, secret: orders-db-green}
    workloads:
      - name: api
        cluster: prod
        namespace: orders
        service: api
        preview: api-preview
        deployments: {blue: api-blue, green: api-green}
        delivery: csi
        port: http
        tests:
          - {sql: select 1, value: 1}
          - {path: /orders, method: POST, body: "x"}
          - {path: "/whoami?slot={slot}", json: {role: "{role}"}}
          - {path: /healthz}
    approval: {approvers: [ada@contoso.com, grace@contoso.com]}
"""


def test_what_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "credentials.yaml"
    file.write_text(CREDENTIALS, encoding="utf-8")
    found = entry.asked(str(file), "orders", "api-blue")
    assert (found.service, found.port, found.https) == ("api", "http", False)
    assert found.paths == ("/whoami?slot=blue", "/healthz")
    for namespace, name in (("orders", "web"), ("shop", "api-blue")):
        with pytest.raises(ClientError, match="has no Deployment"):
            entry.asked(str(file), namespace, name)
    with pytest.raises(ClientError, match="cannot be read"):
        entry.asked(str(tmp_path / "none.yaml"), "orders", "api-blue")
    file.write_text("credentials: {}", encoding="utf-8")
    with pytest.raises(ClientError, match="is not valid"):
        entry.asked(str(file), "orders", "api-blue")
