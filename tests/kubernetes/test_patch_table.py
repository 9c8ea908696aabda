"""One table says what the app changes: the adapter sends that, the guard lets through just that.

The adapter's patches are read off the wire. The guard is asked about every field that the published
schemas know, one change of one field at a time, as many as there are.
"""

from __future__ import annotations

import copy
import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes_validate import utils as schemas  # type: ignore[import-untyped]  # it ships none

from local.cluster import kinds
from local.cluster.admission import Admission, Write
from local.cluster.auth import User
from local.cluster.errors import ApiError
from local.cluster.gateway_schemas import HTTP_ROUTE
from local.cluster.registry import Registry
from local.cluster.requests import Target
from local.cluster.store import Store
from rotation.config import Cluster
from rotation.edges.cluster.client import Api
from rotation.edges.cluster.cron_jobs import ScheduledJobs
from rotation.edges.cluster.deployments import Deployments
from rotation.edges.cluster.patches import OURS, SLOT, TEMPLATE, VERBS, allowed
from rotation.edges.cluster.routes import HttpRoutes
from rotation.edges.cluster.services import Services
from rotation.model.targets import (
    CronJobTarget,
    DeploymentTarget,
    RouteTarget,
    SecretKeyTarget,
    ServiceTarget,
    SlotSecretTarget,
)
from rotation.model.world import Template
from rotation.secrecy import Secret, new_password
from tests.kubernetes import http_routes
from tests.kubernetes.support import (
    APP,
    GUARDED,
    Edge,
    cron_job,
    deployment,
    guard,
    secret,
    service,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local.cluster.schemas import Schema

Path_ = tuple[str, ...]
IMAGES = {"web": "orders:2", "init:first": "migrate:2"}
PRODUCTION = ServiceTarget(GUARDED, "api", "slot")
STANDBY = DeploymentTarget(GUARDED, "api-blue")
ROUTE = RouteTarget(GUARDED, "web", "web-blue", "web-green")
CRON_JOB = CronJobTarget(GUARDED, "report-blue")
KEY = SecretKeyTarget(GUARDED, "x", "password")
EXCHANGED = SlotSecretTarget(GUARDED, "x", "password", "username")
IN_PLACE = DeploymentTarget(GUARDED, "ledger", "StatefulSet")
CALLS: dict[str, Callable[[Edge], object]] = {
    "move": lambda app: app.traffic.move(PRODUCTION, "blue", "green", revision="7", by="r-1"),
    "fence": lambda app: app.traffic.fence(PRODUCTION, "orders-db-1"),
    "shift": lambda app: app.traffic.shift(ROUTE, "green", 100, revision="7", by="r-1"),
    "start": lambda app: app.pods.start(
        STANDBY, replicas=2, images=IMAGES, version="v7", revision="7", by="r-1"
    ),
    "sync": lambda app: app.pods.sync(
        STANDBY, Template({"spec": {}}), replicas=2, version="v7", revision="7", by="r-1"
    ),
    "scale": lambda app: app.pods.scale(STANDBY, 0, revision="7", by="r-1"),
    "suspend": lambda app: app.cron_jobs.suspend(
        CRON_JOB, datetime(2027, 3, 1, tzinfo=UTC), revision="7", by="r-1", fence=True
    ),
    "resume": lambda app: app.cron_jobs.resume(CRON_JOB, revision="7", by="r-1", fence=True),
    "equip": lambda app: app.cron_jobs.equip(
        CRON_JOB, images=IMAGES, version="v7", revision="7", by="r-1"
    ),
    "deliver": lambda app: app.pods.deliver(KEY, Secret("hunter2"), "v7"),
    "exchange": lambda app: app.pods.exchange(
        EXCHANGED, "green", ("orders_green", Secret("h")), version="v7", revision="7", by="r-1"
    ),
    "fence_secret": lambda app: app.pods.fence_secret(EXCHANGED, "r-1"),
    "restart": lambda app: app.pods.restart(
        IN_PLACE, version="v7", exchange="r-1.green", revision="7", by="r-1"
    ),
}
ALLOWED = allowed()
PRECONDITION = ("metadata", "resourceVersion")


@pytest.fixture
def sent() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """An address, and the resource and body of each patch that it got."""
    found: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PATCH(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            resource = self.path.split("?")[0].split("/")[-2]
            found.append((resource, json.loads(body)))
            self.answer(seen(resource))

        def do_GET(self) -> None:
            self.answer(seen(self.path.split("?")[0].split("/")[-2]))

        def do_POST(self) -> None:
            """Takes the Event of a change."""
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer({})

        def answer(self, document: dict[str, Any]) -> None:
            answer = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", found
    server.shutdown()
    thread.join()
    server.server_close()


def seen(resource: str) -> dict[str, Any]:
    """The original as an API server has it."""
    found = original(resource)
    found["metadata"]["resourceVersion"] = "7"
    return found


def changed(body: Any) -> set[Path_]:
    """The paths that a patch writes, in the table's words."""
    if isinstance(body, list):  # a JSON patch
        paths = {_pointed(one["path"]) for one in body if one["op"] != "test"}
        return paths - {PRECONDITION, ("metadata", "annotations")}
    return {_named(path) for path in _leaves(body)} - {PRECONDITION}


def _pointed(pointer: str) -> Path_:
    """The path of a JSON Pointer, in the table's words."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]
    return _named(tuple("*" if step.isdecimal() else step for step in steps))


def _leaves(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    if isinstance(value, dict) and "$patch" in value:
        yield path  # all of it
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for item in value:
            # `name` tells which item it is about, and changes none.
            without = {key: inner for key, inner in item.items() if key != "name"}
            yield from _leaves(without, (*path, "*"))
    else:
        yield path


def _named(path: Path_) -> Path_:
    if path[:2] == ("spec", "selector"):
        assert path[2:] == ("slot",)
        return ("spec", "selector", SLOT)
    if "annotations" in path:
        assert path[-1].startswith(OURS)
        return (*path[:-1], OURS)
    return ("data", "*") if path[0] == "data" else path


@pytest.mark.parametrize("verb", VERBS)
def test_the_adapter_sends_what_the_table_says(
    verb: str, sent: tuple[str, list[tuple[str, Any]]]
) -> None:
    address, found = sent
    api = Api("table", Cluster.model_construct(server=address), new_password)
    CALLS[verb](Edge(Services(api), Deployments(api), ScheduledJobs(api)))
    ((resource, body),) = found
    assert (resource, changed(body)) == (VERBS[verb].resource, set(VERBS[verb].paths))


def test_the_table_is_about_every_patch_of_the_adapter() -> None:
    """A verb that sends a patch and stands in no row would be one that nothing here looks at."""
    sending = {
        name
        for edge in (Services, HttpRoutes, Deployments, ScheduledJobs)
        for name, verb in vars(edge).items()
        if callable(verb)
        and any("patch" in used.lower() for used in verb.__code__.co_names)
        and not name.startswith("_")
    }
    assert sending == set(VERBS) == set(CALLS)


# -- the guard

KINDS = {
    "services": kinds.SERVICE,
    "deployments": kinds.DEPLOYMENT,
    "statefulsets": kinds.STATEFUL_SET,
    "daemonsets": kinds.DAEMON_SET,
    "cronjobs": kinds.CRON_JOB,
    "secrets": kinds.SECRET,
    "httproutes": kinds.HTTP_ROUTE,
}
# The server sets them, whatever is sent, or cannot be made to change them.
SERVERS_OWN = {"generation", "managedFields", "resourceVersion"}


@pytest.fixture(scope="module")
def admission(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admission]:
    """The policies as they stand in the file, evaluated without a server."""
    yield from _admission(tmp_path_factory.mktemp("policies"))


@pytest.fixture(scope="module")
def syncing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admission]:
    """The same where an owner lets the app bring whole pod templates."""
    yield from _admission(tmp_path_factory.mktemp("policies"), templates="sync")


def _admission(folder: Path, **settings: str) -> Iterator[Admission]:
    store = Store(folder / "cluster.db")
    registry = Registry(store)
    labels = {"credential-rotation/guard": "on"}
    registry.create(kinds.NAMESPACE, {"metadata": {"name": GUARDED, "labels": labels}})
    for manifest in guard(APP.name, **settings):
        registry.create(kinds.BY_KIND[manifest["apiVersion"], manifest["kind"]], manifest)
    yield Admission(store)
    store.close()


NEWEST = f"kubernetes-json-schema/v{schemas.latest_version()}-local-strict/_definitions.json"
ITEMS = {"containers", "initContainers", "rules", "backendRefs"}
MAPS = {"annotations": [OURS + "x", "theirs"], "selector": ["slot", "app"], "data": ["password"]}


@pytest.fixture(scope="module")
def definitions() -> dict[str, Any]:
    """The published schema of each type, by its name."""
    found = schemas.schema_contents(NEWEST, schemas.latest_version())
    return dict(found["$defs"])


def schema_of(definitions: dict[str, Any], resource: str) -> dict[str, Any]:
    """The published schema of a resource; of HTTPRoutes what the stand-in has of it, which
    test_gateway_api.py compares with the published one."""
    if resource == "httproutes":
        metadata = definitions["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]
        return {"properties": {"metadata": metadata, "spec": _as_json(HTTP_ROUTE)}}
    group = {"services": "core", "secrets": "core", "cronjobs": "batch"}.get(resource, "apps")
    return dict(definitions[f"io.k8s.api.{group}.v1.{KINDS[resource].kind}"])


def _as_json(schema: Schema) -> dict[str, Any]:
    """The fields of a schema, as JSON schemas have them."""
    made: dict[str, Any] = {
        "properties": {name: _as_json(inner) for name, inner in schema.fields.items()}
    }
    if schema.items is not None:
        made["items"] = _as_json(schema.items)
    return made


def original(resource: str) -> dict[str, Any]:
    found = {
        "services": service("api", {"app": "api", "slot": "blue"}),
        "deployments": deployment("api-blue"),
        "statefulsets": deployment("ledger"),
        "daemonsets": deployment("agent"),
        "cronjobs": cron_job("report-blue"),
        "secrets": secret("orders-db-blue"),
        "httproutes": http_routes.route(rules=[{"backendRefs": http_routes.pair(100, 0)}]),
    }[resource]
    if resource in {"statefulsets", "daemonsets"}:
        found["kind"] = KINDS[resource].kind
        found["spec"]["updateStrategy"] = {"type": "RollingUpdate"}
        if resource == "daemonsets":
            del found["spec"]["replicas"]
    found.pop("stringData", None)
    if resource == "secrets":
        found["data"] = {"password": "Zm9ybWVy"}
    if "template" in found.get("spec", {}):
        found["spec"]["template"]["metadata"]["annotations"] = {"theirs": "1"}
    if resource == "cronjobs":
        of_jobs = found["spec"]["jobTemplate"]["spec"]["template"]
        of_jobs["metadata"]["annotations"] = {"theirs": "1"}
    found["metadata"]["annotations"] = {"theirs": "1"}
    return copy.deepcopy(found)


def probes(
    schema: dict[str, Any], definitions: dict[str, Any], rows: list[Path_]
) -> Iterator[Path_]:
    """One path for each field: all of each level that a row leads through, and no deeper."""
    inner = {row[0]: [r[1:] for r in rows if r[0] == row[0]] for row in rows}
    for key, found in sorted(_properties(schema, definitions).items()):
        deeper = [row for row in inner.get(key, []) if row]
        if not deeper:
            yield (key,)
        elif key in MAPS:
            yield from ((key, name) for name in MAPS[key])
        elif key in ITEMS:
            rest = [row[1:] for row in deeper]
            items = found["items"]
            yield from ((key, "*", *path) for path in probes(items, definitions, rest))
        else:
            yield from ((key, *path) for path in probes(found, definitions, deeper))


def _properties(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    return dict(schema["properties"])


def altered(obj: dict[str, Any], path: Path_) -> dict[str, Any]:
    """A copy with another value at the path."""
    made = copy.deepcopy(obj)
    place: Any = made
    for step in path[:-1]:
        place = place[0] if step == "*" else place.setdefault(step, {})
    before = place.get(path[-1])
    place[path[-1]] = "green" if before == "blue" else ["another", before]
    return made


def as_row(path: Path_) -> Path_:
    if "annotations" in path:
        return (*path[:-1], OURS if path[-1].startswith(OURS) else path[-1])
    if path == ("spec", "selector", "slot"):
        return ("spec", "selector", SLOT)
    return ("data", "*") if path == ("data", "password") else path


def allows(admission: Admission, resource: str, new: dict[str, Any], old: dict[str, Any]) -> bool:
    target = Target("patch", KINDS[resource], GUARDED, new["metadata"]["name"])
    user = User(APP.name, frozenset(APP.groups))
    write = Write(user, target, "UPDATE", new, old)
    try:
        admission.review(write)
    except ApiError as denied:
        if denied.code == 403 and "denied request: credential rotation" in denied.message:
            return False
        raise
    return True


@pytest.mark.parametrize(
    "resource",
    [pytest.param(one, marks=[] if one == "deployments" else pytest.mark.long) for one in ALLOWED],
)
def test_the_guard_lets_through_what_the_table_says_and_nothing_else(
    admission: Admission, definitions: dict[str, Any], resource: str
) -> None:
    schema, old = schema_of(definitions, resource), original(resource)
    asked = [
        path
        for path in probes(schema, definitions, list(ALLOWED[resource]))
        if path not in {("apiVersion",), ("kind",), ("status",), ("stringData",)}
        and not (path[0] == "metadata" and path[1] in SERVERS_OWN)
    ]
    assert len(asked) > 15
    passed = [path for path in asked if allows(admission, resource, altered(old, path), old)]
    assert {as_row(path) for path in passed} == set(ALLOWED[resource])


def test_with_sync_it_lets_whole_templates_through_and_nothing_else(
    syncing: Admission, definitions: dict[str, Any]
) -> None:
    rows, old = allowed(sync=True), original("deployments")
    schema = definitions["io.k8s.api.apps.v1.Deployment"]
    rest = [row for row in rows["deployments"] if row[:2] != TEMPLATE]
    asked = {
        path
        for path in probes(schema, definitions, [*rest, TEMPLATE])
        if path not in {("apiVersion",), ("kind",), ("status",)}
        and not (path[0] == "metadata" and path[1] in SERVERS_OWN)
    }
    new = altered(old, ("spec", "template", "spec", "serviceAccountName"))
    assert allows(syncing, "deployments", new, old)
    new = altered(old, ("spec", "template", "spec", "containers", "*", "command"))
    assert allows(syncing, "deployments", new, old)
    others = [path for path in asked if path[:2] != TEMPLATE]
    passed = [path for path in others if allows(syncing, "deployments", altered(old, path), old)]
    assert {as_row(path) for path in passed} == set(rest)
    assert TEMPLATE in asked


@pytest.mark.parametrize("resource", ALLOWED)
def test_a_field_of_a_later_kubernetes_is_closed(admission: Admission, resource: str) -> None:
    old = original(resource)
    for row in ALLOWED[resource]:
        for depth in range(1, len(row)):
            if row[depth] in {OURS, "*"}:  # a key of a map, or an item of a list
                continue
            later = (*row[:depth], "fieldOfALaterVersion")
            assert not allows(admission, resource, altered(old, later), old), later


@pytest.mark.parametrize("resource", ALLOWED)
def test_what_is_there_stays_there(admission: Admission, resource: str) -> None:
    """A field is not taken away either."""
    old = original(resource)
    for key in ("labels", "annotations"):
        new = copy.deepcopy(old)
        new["metadata"].pop(key, None)
        assert allows(admission, resource, new, old) is (new == old)
