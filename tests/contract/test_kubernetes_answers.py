"""What `rotation.edges.cluster` makes of an API server's answers, also of those that are rare.

A server on this machine answers with what the test says, line for line as Kubernetes does.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client.exceptions import ApiException

from rotation.config import Cluster
from rotation.edges.cluster import patches
from rotation.edges.cluster.access import Access
from rotation.edges.cluster.client import Api, refusal, words
from rotation.edges.cluster.cron_jobs import ScheduledJobs
from rotation.edges.cluster.deployments import Deployments
from rotation.edges.cluster.races import RACES
from rotation.edges.cluster.services import LONGEST_BODY, Services
from rotation.model.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.preconditions import Right
from rotation.model.reasons import Code
from rotation.model.targets import CronJobTarget, DeploymentTarget, ServiceTarget
from rotation.model.world import Manner
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOYMENT = DeploymentTarget("orders", "api-green")
SERVICE = ServiceTarget("orders", "api", "slot")
META = {"namespace": "orders", "name": "api-green", "generation": 3, "resourceVersion": "7"}
POD = {"containers": [{"name": "web", "image": "web:1"}]}
SPEC = {"selector": {"matchLabels": {"app": "api"}}, "template": {"spec": POD}}
OBJECT: dict[str, Any] = {"metadata": META, "spec": SPEC, "status": {"observedGeneration": 3}}


class Scripted(ThreadingHTTPServer):
    """Answers the requests with `script`, in turn; the last one is repeated. Keeps their paths and
    what was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, list[Any]]] = []
        self.asked: list[str] = []
        self.headers: list[tuple[str, str]] = []  # of the last one
        self.sent: list[bytes] = []


class Handler(BaseHTTPRequestHandler):
    server: Scripted
    protocol_version = "HTTP/1.1"  # so that connections are used again

    def answer(self) -> None:
        self.server.sent.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        self.server.asked.append(self.path)
        self.server.headers = self.headers.items()
        status, lines = self.server.script[0]
        if len(self.server.script) > 1:
            self.server.script.pop(0)
        body = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PATCH = do_POST = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


@pytest.fixture(scope="module")
def scripted() -> Iterator[Scripted]:
    with Scripted() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server(scripted: Scripted) -> Scripted:
    scripted.script, scripted.asked, scripted.sent = [], [], []
    return scripted


@pytest.fixture
def api(server: Scripted) -> Api:
    settings = Cluster.model_construct(server=f"http://127.0.0.1:{server.server_address[1]}")
    return Api("weu", settings, lambda: Secret("token"))


@pytest.fixture
def pods(api: Api) -> Deployments:
    return Deployments(api)


def status(reason: str, code: int, message: str = "") -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "reason": reason,
        "code": code,
        "message": message,
    }


def event(kind: str, thing: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": thing}


def changed(**fields: Any) -> dict[str, Any]:
    return {**OBJECT, **fields}


def test_a_deployment_without_anything_optional(server: Scripted, pods: Deployments) -> None:
    server.script = [(200, [{"metadata": {"namespace": "orders", "name": "x"}, "spec": SPEC}])]
    found = pods.deployment(DEPLOYMENT)
    assert found is not None
    assert (found.namespace, found.name, found.replicas) == ("orders", "x", 1)
    assert (found.ready, found.updated, found.total) == (0, 0, 0)
    assert (found.observed, found.version, found.failure) == (True, None, None)
    assert found.images == {"web": "web:1"}


def test_a_deployments_numbers(server: Scripted, pods: Deployments) -> None:
    numbers = {"readyReplicas": 1, "updatedReplicas": 2, "replicas": 5, "observedGeneration": 2}
    note = {"annotations": {patches.VERSION: "v7"}}
    template = {"metadata": note, "spec": {**POD, "initContainers": [{"name": "m"}]}}
    spec = {**SPEC, "replicas": 0, "template": template}
    server.script = [(200, [changed(spec=spec, status=numbers)])]
    found = pods.deployment(DEPLOYMENT)
    assert found is not None
    assert (found.replicas, found.ready, found.updated, found.total) == (0, 1, 2, 5)
    assert (found.observed, found.version) == (False, "v7")
    assert found.images == {"web": "web:1", "init:m": ""}


def test_a_deployment_that_no_controller_has_seen(server: Scripted, pods: Deployments) -> None:
    server.script = [(200, [changed(metadata={**META, "generation": 1}, status={})])]
    found = pods.deployment(DEPLOYMENT)
    assert found is not None
    assert found.observed is False


def test_a_deployment_without_a_pods_spec_has_no_images(
    server: Scripted, pods: Deployments
) -> None:
    server.script = [(200, [changed(spec={**SPEC, "template": {}})])]
    found = pods.deployment(DEPLOYMENT)
    assert found is not None
    assert found.images == {}


@pytest.mark.parametrize(
    ("missing", "said"), [("metadata", "without metadata or spec"), ("spec", "ValidationError")]
)
def test_what_is_no_deployment(
    server: Scripted, pods: Deployments, missing: str, said: str
) -> None:
    server.script = [(200, [changed(**{missing: None})])]
    with pytest.raises(EdgeError, match=said) as caught:
        pods.deployment(DEPLOYMENT)
    assert caught.value.code is Code.CLUSTER_ANSWER


FAILURES = [
    ("Progressing", "False", "ProgressDeadlineExceeded", "ProgressDeadlineExceeded"),
    ("Progressing", "False", "because", "not progressing"),
    ("Progressing", "False", None, "not progressing"),
    ("Progressing", "True", "FailedCreate", None),
    ("ReplicaFailure", "True", "FailedCreate", "FailedCreate"),
    ("ReplicaFailure", "True", "because", "replica failure"),
    ("ReplicaFailure", "False", "FailedCreate", None),
    ("Available", "False", "FailedCreate", None),
    ("Available", "True", "FailedCreate", None),
]


@pytest.mark.parametrize(("kind", "value", "reason", "failure"), FAILURES)
def test_a_rollout_has_failed(
    server: Scripted,
    pods: Deployments,
    kind: str,
    value: str,
    reason: str | None,
    failure: str | None,
) -> None:
    condition = {"type": kind, "status": value, "reason": reason}
    server.script = [(200, [changed(status={"conditions": [condition]})])]
    found = pods.deployment(DEPLOYMENT)
    assert found is not None
    assert found.failure == failure


def test_a_deployment_that_selects_by_no_labels(server: Scripted, pods: Deployments) -> None:
    server.script = [(200, [changed(spec={**SPEC, "selector": {"matchExpressions": []}})])]
    with pytest.raises(Invalid, match="selects its pods") as caught:
        pods.listed(DEPLOYMENT)
    assert caught.value.code is Code.SELECTOR_UNKNOWN


def listed(*names: str) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "9"}, "items": [pod(name) for name in names]}


def pod(name: str) -> dict[str, Any]:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api-green-1", "uid": "set"}
    metadata = {"name": name, "resourceVersion": "10", "labels": {"app": "api"}}
    owned = {**metadata, "ownerReferences": [{**owner, "controller": True}]}
    return {"metadata": owned, "spec": POD}


OWNER = changed(metadata={**META, "uid": "d"})
OWNED = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api-green", "uid": "d"}
OWNERS = {"uid": "set", "ownerReferences": [{**OWNED, "controller": True}]}
SETS = {"metadata": {}, "items": [{"metadata": OWNERS, "spec": SPEC}]}


def test_pods_that_are_gone_are_not_watched(server: Scripted, pods: Deployments) -> None:
    server.script = [(200, [OWNER]), (200, [listed()])]
    assert pods.watch_gone(DEPLOYMENT, 5) == []
    assert len(server.asked) == 2


GONE = [
    ("the last one", [("DELETED", "a")], []),
    ("the last one, and what comes then is not awaited", [("DELETED", "a"), ("ADDED", "b")], []),
    ("one came meanwhile", [("ADDED", "b"), ("DELETED", "a")], ["b"]),
    ("one that is there already changes", [("MODIFIED", "a")], ["a"]),
]


@pytest.mark.parametrize(("seen", "left"), [row[1:] for row in GONE], ids=[row[0] for row in GONE])
def test_which_pods_are_left_when_a_watch_ends(
    server: Scripted, pods: Deployments, seen: list[tuple[str, str]], left: list[str]
) -> None:
    events = [event(kind, pod(name)) for kind, name in seen]
    server.script = [(200, [OWNER]), (200, [listed("a")]), (200, [SETS]), (200, events)]
    assert pods.watch_gone(DEPLOYMENT, 1) == left
    assert "resourceVersion=9" in server.asked[3]


def test_a_watch_ends_where_it_is_fulfilled(server: Scripted, pods: Deployments) -> None:
    later = changed(status={"observedGeneration": 3, "readyReplicas": 2})
    last = changed(status={"observedGeneration": 3, "readyReplicas": 3})
    seen = [event("MODIFIED", later), event("MODIFIED", last)]
    server.script = [(200, [OBJECT]), (200, seen)]
    assert pods.watch(DEPLOYMENT, lambda one: one.ready >= 2, 1).ready == 2
    assert len(server.asked) == 2
    assert "resourceVersion=7" in server.asked[1]
    assert "fieldSelector=metadata.name%3Dapi-green" in server.asked[1]


def test_a_watch_returns_the_last_that_was_seen(server: Scripted, pods: Deployments) -> None:
    later = changed(status={"observedGeneration": 3, "readyReplicas": 1})
    server.script = [(200, [OBJECT]), (200, [event("MODIFIED", later)])]
    assert pods.watch(DEPLOYMENT, lambda one: one.ready >= 2, 1).ready == 1


def test_nothing_is_watched_that_is_fulfilled_already(server: Scripted, pods: Deployments) -> None:
    server.script = [(200, [OBJECT])]
    assert pods.watch(DEPLOYMENT, lambda one: one.ready == 0, 1).ready == 0
    assert len(server.asked) == 1


def test_a_deployment_that_is_deleted_while_it_is_watched(
    server: Scripted, pods: Deployments
) -> None:
    server.script = [(200, [OBJECT]), (200, [event("DELETED", OBJECT)])]
    with pytest.raises(Missing, match="was deleted"):
        pods.watch(DEPLOYMENT, lambda _: False, 1)


def test_a_history_that_is_gone_ends_the_watch(server: Scripted, pods: Deployments) -> None:
    gone = event("ERROR", status("Expired", 410))
    server.script = [(200, [OBJECT]), (200, [gone])]
    assert pods.watch(DEPLOYMENT, lambda one: one.ready > 0, 1).ready == 0


def test_any_other_refusal_of_a_watch_is_raised(server: Scripted, pods: Deployments) -> None:
    server.script = [(200, [OBJECT]), (403, [status("Forbidden", 403)])]
    with pytest.raises(Denied, match="HTTP 403 Forbidden"):
        pods.watch(DEPLOYMENT, lambda _: False, 1)


POLICY = "ValidatingAdmissionPolicy 'credential-rotation-services' with binding 'b' denied request"


@pytest.mark.parametrize("code", [403, 422])
def test_the_guards_refusal_has_a_code_of_its_own(server: Scripted, api: Api, code: int) -> None:
    server.script = [(code, [status("Forbidden", code, POLICY)])]
    with pytest.raises(Denied, match=f"HTTP {code}, denied by the guard's policy") as caught:
        Services(api).fence(SERVICE, "token")
    assert caught.value.code is Code.CLUSTER_GUARDED
    assert "credential-rotation-services" in caught.value.message


# As they came from a real API server (1.35), but for the names.
FORBIDDEN = 'services "api" is forbidden: '
CANNOT = f'{FORBIDDEN}User "app" cannot patch resource "services" in API group "" in the namespace'
OTHERS = "ValidatingAdmissionPolicy 'theirs' with binding 'b' denied request: hunter2"
HOOK = 'admission webhook "a.b.c" denied the request'
CALLING = (
    'Internal error occurred: failed calling webhook "a.b.c": failed to call webhook: Post "x"'
)
REFUSALS: list[tuple[int, str | None, str, type[EdgeError], Code]] = [
    (403, "Forbidden", CANNOT, Denied, Code.CLUSTER_DENIED),
    (403, "Forbidden", f"{FORBIDDEN}{OTHERS}", Denied, Code.CLUSTER_POLICY),
    (422, "Invalid", f"{FORBIDDEN}{OTHERS}", Denied, Code.CLUSTER_POLICY),
    (413, "RequestEntityTooLarge", f"{FORBIDDEN}{OTHERS}", Denied, Code.CLUSTER_POLICY),
    (400, None, f"{HOOK} without explanation", Denied, Code.CLUSTER_ADMISSION),
    (400, None, f"{HOOK}: hunter2", Denied, Code.CLUSTER_ADMISSION),
    (403, "hunter2", f"{HOOK}: hunter2", Denied, Code.CLUSTER_ADMISSION),
    (409, "Conflict", f"{HOOK}: hunter2", Denied, Code.CLUSTER_ADMISSION),
    (500, None, f"{HOOK}: hunter2", Denied, Code.CLUSTER_ADMISSION),
    (500, "InternalError", CALLING, Unavailable, Code.CLUSTER_WEBHOOK),
    (403, "Forbidden", f"{FORBIDDEN}exceeded quota: few", Unavailable, Code.CLUSTER_QUOTA),
    (403, "Forbidden", f"{FORBIDDEN}hunter2", Denied, Code.CLUSTER_REFUSED),
    (403, None, "hunter2", Denied, Code.CLUSTER_REFUSED),
]


@pytest.mark.guarantee(3)
@pytest.mark.parametrize("given", REFUSALS, ids=[f"{one[0]} {one[4]}" for one in REFUSALS])
def test_each_refusal_names_its_cause(
    server: Scripted, api: Api, given: tuple[int, str | None, str, type[EdgeError], Code]
) -> None:
    code, reason, message, kind, cause = given
    document = {**status(reason or "", code, message)}
    if reason is None:
        del document["reason"]
    server.script = [(code, [document])]
    with pytest.raises(kind, match=f"HTTP {code}") as caught:
        Services(api).fence(SERVICE, "token")
    assert (type(caught.value), caught.value.code) == (kind, cause)
    assert ("rbac.yaml" in caught.value.message) is (cause is Code.CLUSTER_DENIED)
    for theirs in ("None", "hunter2", "a.b.c", "theirs"):
        assert theirs not in caught.value.message


def test_a_403_that_is_no_status_is_no_word_on_rights(server: Scripted, api: Api) -> None:
    """A firewall's in front of the API server, say."""
    server.script = [(403, ["<html>hunter2</html>"])]
    with pytest.raises(Denied, match="HTTP 403; the API server's audit log") as caught:
        Services(api).fence(SERVICE, "token")
    assert caught.value.code is Code.CLUSTER_REFUSED


DENIED = 'admission webhook "policy.example" denied the request: hunter2'
QUOTA = 'pods "hunter2" is forbidden: exceeded quota: team, requested: pods=1'
AWAY = 'Internal error occurred: failed calling webhook "policy.example": hunter2'
ADMISSION: list[tuple[int, str, tuple[type[EdgeError], Code], str]] = [
    (403, DENIED, (Denied, Code.CLUSTER_ADMISSION), "403, an admission webhook denied the request"),
    (400, DENIED, (Denied, Code.CLUSTER_ADMISSION), "400, an admission webhook denied the request"),
    (403, QUOTA, (Unavailable, Code.CLUSTER_QUOTA), "403, exceeded quota"),
    (422, QUOTA, (Invalid, Code.CLUSTER_ERROR), "422 Invalid"),
    (500, AWAY, (Unavailable, Code.CLUSTER_WEBHOOK), "500, failed calling an admission webhook"),
    (503, AWAY, (Unavailable, Code.CLUSTER_WEBHOOK), "503, failed calling an admission webhook"),
    (422, AWAY, (Invalid, Code.CLUSTER_ERROR), "422 Invalid"),
    (503, "hunter2", (Unavailable, Code.CLUSTER_UNAVAILABLE), "503 Invalid"),
]


@pytest.mark.parametrize(("code", "message", "error", "said"), ADMISSION)
def test_what_admission_has_against_a_change(
    server: Scripted,
    api: Api,
    code: int,
    message: str,
    error: tuple[type[EdgeError], Code],
    said: str,
) -> None:
    server.script = [(code, [status("Invalid", code, message)])]
    with pytest.raises(EdgeError) as caught:
        Services(api).fence(SERVICE, "token")
    assert (type(caught.value), caught.value.code) == error
    assert caught.value.message.endswith(f": HTTP {said}")


@pytest.mark.parametrize(("seconds", "asked"), [(0.3, 1), (20.9, 20)])
def test_a_watch_says_how_long_it_lasts_and_waits_longer(
    api: Api, seconds: float, asked: int
) -> None:
    given: dict[str, Any] = {}

    def listing(_: str, **options: Any) -> None:
        """:return: V1PodList, which is what the SDK looks for here."""
        given.update(options)
        raise ApiException(410)

    assert list(api.watch(listing, "orders", seconds)) == []
    assert (given["timeout_seconds"], given["_request_timeout"]) == (asked, (10, seconds + 30))


SELECTS_BLUE = {"metadata": {"resourceVersion": "7"}, "spec": {"selector": {"slot": "blue"}}}


def test_a_move_that_finds_no_service_any_more(server: Scripted, api: Api) -> None:
    server.script = [
        (200, [SELECTS_BLUE]),
        (409, [status("Conflict", 409)]),
        (404, [status("NotFound", 404)]),
    ]
    with pytest.raises(Missing, match="is not there") as caught:
        Services(api).move(SERVICE, "blue", "green")
    assert caught.value.code is Code.CLUSTER_MISSING


MOVED: list[tuple[str, type[EdgeError] | None]] = [
    ("green", None),
    ("blue", Unavailable),
    ("red", Conflict),
]


@pytest.mark.parametrize(("slot", "error"), MOVED)
def test_a_move_that_others_were_faster_than_depends_on_where_traffic_goes(
    server: Scripted, api: Api, slot: str, error: type[EdgeError] | None
) -> None:
    service = {"metadata": {"resourceVersion": "8"}, "spec": {"selector": {"slot": slot}}}
    server.script = [
        (200, [SELECTS_BLUE]),
        (409, [status("Conflict", 409)]),
        (200, [service]),
    ]
    if error is None:
        Services(api).move(SERVICE, "blue", "green")
        return
    with pytest.raises(error):
        Services(api).move(SERVICE, "blue", "green")


def test_a_move_that_is_refused_though_nothing_changed_was_not_made(
    server: Scripted, api: Api
) -> None:
    server.script = [
        (200, [SELECTS_BLUE]),
        (409, [status("Conflict", 409)]),
        (200, [SELECTS_BLUE]),
    ]
    with pytest.raises(Unavailable, match="HTTP 409 Conflict") as caught:
        Services(api).move(SERVICE, "blue", "green")
    assert caught.value.code is Code.CLUSTER_CONFLICT


def seen_at(version: int, **metadata: Any) -> tuple[int, list[Any]]:
    return 200, [changed(metadata={**META, "resourceVersion": str(version), **metadata})]


CONFLICT = (409, [status("Conflict", 409)])


def test_a_status_that_changes_all_the_time_holds_no_change_up(
    server: Scripted, pods: Deployments
) -> None:
    """As that of pods that crash again and again, while traffic of many workloads is looked at."""
    server.script = [
        seen_at(7),
        CONFLICT,
        seen_at(8, annotations={"somebody": "else"}),
        CONFLICT,
        seen_at(9),
        seen_at(10),
    ]
    found = pods.deployment(DEPLOYMENT)
    assert found is not None
    pods.scale(DEPLOYMENT, 0, revision=found.revision)
    sent = [json.loads(body)["metadata"]["resourceVersion"] for body in server.sent if body]
    assert sent == ["7", "8", "9"]


@pytest.mark.parametrize("again", [{"generation": 4}, {"uid": "another"}, {"resourceVersion": "7"}])
def test_what_somebody_changed_is_left_as_it_is(
    server: Scripted, pods: Deployments, again: dict[str, Any]
) -> None:
    server.script = [seen_at(7), CONFLICT, seen_at(8, **again), (500, [])]
    found = pods.deployment(DEPLOYMENT)
    assert found is not None
    with pytest.raises(Unavailable, match="HTTP 409 Conflict") as caught:
        pods.scale(DEPLOYMENT, 0, revision=found.revision)
    assert caught.value.code is Code.CLUSTER_CONFLICT


def test_a_storm_of_changes_is_not_raced_for_ever(server: Scripted, pods: Deployments) -> None:
    server.script = [seen_at(7)]
    for version in range(8, 8 + 2 * RACES):
        server.script += [CONFLICT, seen_at(version)]
    found = pods.deployment(DEPLOYMENT)
    assert found is not None
    with pytest.raises(Unavailable, match="HTTP 409 Conflict"):
        pods.scale(DEPLOYMENT, 0, revision=found.revision)
    assert sum(bool(body) for body in server.sent) == RACES


ROUTES: list[tuple[dict[str, Any], str | None, str, str]] = [
    ({}, None, "", "0"),
    ({"spec": {}}, None, "", "0"),
    ({"spec": {"selector": {"app": "a"}, "ports": []}}, None, "", "0"),
    ({"spec": {"ports": [{"port": 80}, {"name": "b", "port": 81}]}}, None, "80", "0"),
    (
        {
            "metadata": {"resourceVersion": "8"},
            "spec": {"selector": {"slot": "blue"}, "ports": [{"name": "http", "port": 80}]},
        },
        "blue",
        "http",
        "8",
    ),
]


@pytest.mark.parametrize(("service", "slot", "port", "revision"), ROUTES)
def test_a_route(
    server: Scripted, api: Api, service: dict[str, Any], slot: str | None, port: str, revision: str
) -> None:
    server.script = [(200, [{"metadata": {}, **service}])]
    found = Services(api).route(SERVICE)
    assert found is not None
    assert (found.slot, found.port, found.revision) == (slot, port, revision)


def test_the_first_port_is_asked_where_none_is_named(server: Scripted, api: Api) -> None:
    service = {"metadata": {}, "spec": {"ports": [{"name": "web", "port": 80}]}}
    server.script = [(200, [service]), (200, [{"ok": True}])]
    answer = Services(api).ask(SERVICE, "/whoami?deep=1", 5.0)
    assert (answer.status, json.loads(answer.body)) == (200, {"ok": True})
    path = "/api/v1/namespaces/orders/services/http:api:web/proxy/whoami?deep=1"
    assert server.asked[1] == path


def test_a_test_s_header_takes_the_place_of_the_sdk_s(server: Scripted, api: Api) -> None:
    server.script = [(200, [])]
    target = ServiceTarget("orders", "api", "slot", "http")
    manner = Manner("GET", {"accept": "text/html", "USER-AGENT": "tests"})
    Services(api).ask(target, "/", 5.0, manner)
    found = sorted((name.lower(), value) for name, value in server.headers)
    assert [one for one in found if one[0] in {"accept", "user-agent", "authorization"}] == [
        ("accept", "text/html"),
        ("authorization", "Bearer token"),
        ("user-agent", "tests"),
    ]


def test_what_is_not_read_of_a_long_answer_is_in_nobodys_way(server: Scripted, api: Api) -> None:
    target = ServiceTarget("orders", "api", "slot", port="http")
    server.script = [(200, ["x" * LONGEST_BODY]), (200, [{"ok": True}])]
    assert len(Services(api).ask(target, "/long", 5.0).body) == LONGEST_BODY
    assert json.loads(Services(api).ask(target, "/whoami", 5.0).body) == {"ok": True}


def test_a_service_that_is_not_there_is_not_asked(server: Scripted, api: Api) -> None:
    server.script = [(404, [status("NotFound", 404)])]
    with pytest.raises(Missing, match="does not exist") as caught:
        Services(api).ask(SERVICE, "/whoami", 5.0)
    assert caught.value.code is Code.SERVICE_MISSING


OWN: list[tuple[int, Any, bool]] = [
    (404, status("NotFound", 404), True),
    (400, status("BadRequest", 400), True),
    (399, status("NotFound", 404), False),
    (404, {"kind": "Status"}, False),
    (404, {"apiVersion": "v1", "kind": "Stat"}, False),
    (404, ["Status"], False),
    (503, {}, False),
]


@pytest.mark.parametrize(("code", "body", "refused"), OWN)
def test_a_refusal_of_the_api_server_is_no_answer_of_the_workload(
    server: Scripted, api: Api, code: int, body: Any, refused: bool
) -> None:
    server.script = [(code, [body])]
    target = ServiceTarget("orders", "api", "slot", port="http")
    if refused:
        with pytest.raises(EdgeError, match=f"HTTP {code}"):
            Services(api).ask(target, "/whoami", 5.0)
    else:
        assert Services(api).ask(target, "/whoami", 5.0).status == code


# As they came from a real API server (1.35) and from one that has no tunnel to its nodes.
TRYING = "error trying to reach service: "
TUNNEL = f"{TRYING}proxy error from /run/proxy while dialing 10.0.0.9:80, code 502: 502 Bad Gateway"
CONNECT = f"{TRYING}reading HTTP response from CONNECT to 10.0.0.9:80 via proxy /run/proxy"
BROKEN = f"{TRYING}net/http: HTTP/1.x transport connection broken: malformed HTTP response"
PROXY: list[tuple[str, Code]] = [
    (f"{TRYING}dial tcp 10.0.0.9:80: connect: connection refused", Code.PROXY_REFUSED),
    (f"{TRYING}dial tcp 10.0.0.9:80: i/o timeout", Code.PROXY_TIMEOUT),
    (f"{TRYING}dial timeout, backstop", Code.PROXY_TIMEOUT),
    (f"{TRYING}context deadline exceeded", Code.PROXY_TIMEOUT),
    (f"{TRYING}dial tcp 10.0.0.9:80: connect: no route to host", Code.PROXY_NO_ROUTE),
    (f"{TRYING}EOF", Code.PROXY_RESET),
    (f"{TRYING}unexpected EOF", Code.PROXY_RESET),
    (f"{TRYING}read tcp a->b: read: connection reset by peer", Code.PROXY_RESET),
    (f"{TRYING}read unix @->/run/proxy: read: connection reset by peer", Code.PROXY_RESET),
    (f"{TRYING}write tcp a->b: write: broken pipe", Code.PROXY_RESET),
    (TUNNEL, Code.PROXY_TUNNEL),
    (f"{CONNECT} failed: unexpected EOF", Code.PROXY_TUNNEL),
    (f"{TRYING}No agent available", Code.PROXY_TUNNEL),
    (f'{BROKEN} "\\x15\\x03\\x01"', Code.PROXY_TLS),
    (f"{TRYING}remote error: tls: handshake failure", Code.PROXY_TLS),
    ('no endpoints available for service "http:api:web"', Code.PROXY_NO_PODS),
    ('no service port 80 found for service "api"', Code.PROXY_NO_PORT),
    (f"{TRYING}hunter2", Code.PROXY_ERROR),
    ("hunter2", Code.CLUSTER_UNAVAILABLE),
]
ASKED = ServiceTarget("orders", "api", "slot", port="http")


@pytest.mark.guarantee(3)
@pytest.mark.parametrize(("message", "code"), PROXY)
def test_why_the_proxy_did_not_reach_a_pod(
    server: Scripted, api: Api, message: str, code: Code
) -> None:
    """Each may pass: pods start, and routes settle."""
    server.script = [(503, [status("ServiceUnavailable", 503, message)])]
    with pytest.raises(Unavailable, match="HTTP 503") as caught:
        Services(api).ask(ASKED, "/whoami", 5.0)
    assert caught.value.code is code
    for theirs in ("hunter2", "10.0.0.9", "/run/proxy"):
        assert theirs not in caught.value.message


def test_a_right_to_the_proxy_that_is_missing_has_a_code_of_its_own(
    server: Scripted, api: Api
) -> None:
    cannot = (
        'services "http:api:http" is forbidden: User "app" cannot get resource "services/proxy"'
    )
    server.script = [(403, [status("Forbidden", 403, f'{cannot} in API group ""')])]
    with pytest.raises(Denied, match=r"HTTP 403 Forbidden; .*rbac\.yaml.* a `url`") as caught:
        Services(api).ask(ASKED, "/whoami", 5.0)
    assert caught.value.code is Code.PROXY_DENIED


WORDS: list[tuple[object, str]] = [
    (None, ""),
    ([], ""),
    ({}, ""),
    ({"reason": "Conflict"}, "Conflict"),
    ({"reason": "conflict"}, ""),
    ({"reason": ["Conflict"]}, ""),
    ({"reason": "Invalid", "details": None}, "Invalid"),
    ({"reason": "Invalid", "details": {"causes": {}}}, "Invalid"),
    (
        {"reason": "Invalid", "details": {"causes": [{"field": "spec.replicas"}, {}, "x"]}},
        "Invalid spec.replicas",
    ),
    (
        {"details": {"causes": [{"field": "spec.selector"}, {"field": "data"}]}},
        "data, spec.selector",
    ),
    ({"details": {"causes": [{"field": "data[a.key]"}]}}, "data"),
    ({"details": {"causes": [{"field": "secret"}, {"field": 7}]}}, ""),
    (
        {"details": {"causes": [{"field": "spec.containers[0].image"}]}},
        "spec.containers[0].image",
    ),
    ({"details": {"causes": [{"field": "spec.containers[0]"}]}}, "spec.containers[0]"),
    ({"details": {"causes": [{"field": "spec.containers[0].secret"}]}}, "spec.containers[0]"),
]


@pytest.mark.parametrize(("document", "said"), WORDS)
def test_words(document: object, said: str) -> None:
    assert words(document) == said


def test_a_long_field_is_cut() -> None:
    field = "spec." * 40 + "name"  # 204 characters
    said = words({"details": {"causes": [{"field": field}]}})
    assert said == ".".join(["spec"] * 40)


def test_what_never_answered_is_told_with_what_to_look_at() -> None:
    error = refusal("it", 0, None, None)
    assert isinstance(error, Unavailable)
    assert error.message == "it: HTTP 0; is its API reachable, and its authority the right one?"
    assert refusal("it", 409, {"reason": "Conflict"}, None).message == "it: HTTP 409 Conflict"


NOT_THERE: list[tuple[int, object, type[EdgeError], Code]] = [
    (404, {"reason": "NotFound"}, Missing, Code.CLUSTER_MISSING),
    (404, None, Unavailable, Code.CLUSTER_UNAVAILABLE),  # a path that is not served yet
    (405, None, Invalid, Code.CLUSTER_ERROR),
]


@pytest.mark.parametrize(("code", "document", "kind", "reason"), NOT_THERE)
def test_what_is_not_there_is_the_api_servers_word(
    code: int, document: object, kind: type[EdgeError], reason: Code
) -> None:
    error = refusal("it", code, document, None)
    assert (type(error), error.code) == (kind, reason)


def test_a_kind_that_is_not_installed_is_told_as_one() -> None:
    """As HTTPRoutes of a cluster without the Gateway API."""
    error = refusal("it", 404, None, None)
    expected = "it: HTTP 404; is that kind installed there, or does a proxy answer?"
    assert error.message == expected


def test_the_paths_that_the_app_may_change() -> None:
    found = patches.allowed()
    own = {"cronjobs", "httproutes", *patches.IN_PLACE}
    assert found.keys() == {"services", "deployments", "secrets", *own}
    assert all(patches.ANNOTATION in paths for paths in found.values())
    assert patches.REPLICAS in found["deployments"]
    assert patches.SUSPEND in found["cronjobs"]
    assert ("data", "*") in found["secrets"]
    assert ("spec", "selector", patches.SLOT) in found["services"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"metadata": {}, "spec": {}},
        {"metadata": {"name": "a", "namespace": "b"}, "spec": {"jobTemplate": {"spec": {}}}},
        {"metadata": {"name": "a", "namespace": "b"}, "spec": "hunter2"},
    ],
)
def test_what_is_no_cron_job_may_pass(server: Scripted, api: Api, answer: Any) -> None:
    """A proxy in front of the API server answers with JSON of its own."""
    server.script = [(200, [answer])]
    with pytest.raises(Unavailable, match="what answers is no Kubernetes API") as caught:
        ScheduledJobs(api).cron_job(CronJobTarget("orders", "report-blue"))
    assert caught.value.code is Code.CLUSTER_ANSWER
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("said", "may"),
    [
        ({"allowed": True}, True),
        ({"allowed": False}, False),
        ({"allowed": False, "reason": "no role"}, False),
        # https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1/
        ({"allowed": True, "evaluationError": "a role is missing"}, True),
        ({"allowed": False, "evaluationError": "the webhook did not answer"}, None),
    ],
)
def test_whether_the_app_may_and_when_nobody_knows(
    server: Scripted, api: Api, said: dict[str, Any], may: bool | None
) -> None:
    server.script = [(201, [{"spec": {}, "status": said}])]
    assert Access(api).may(Right("orders", "", "services", "get", "api")) is may
