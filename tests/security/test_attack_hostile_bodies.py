"""What answers in the name of a vault, topic, identity endpoint, API server or workload fills its
answers with passwords and links: none of its words gets into an error, and so into a record."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import pytest

from local.tls import Authority
from rotation import log
from rotation.clouds import PUBLIC
from rotation.config import Cluster
from rotation.decisions.rollout import unready
from rotation.decisions.sessions import networks
from rotation.edges import bounded, web
from rotation.edges.cluster.client import Api
from rotation.edges.cluster.deployments import Deployments
from rotation.edges.cluster.services import Services
from rotation.edges.identity import Identity
from rotation.edges.threads import side_by_side
from rotation.edges.topic import EventGridTopic
from rotation.edges.vault import KeyVault
from rotation.model import wire
from rotation.model.errors import RotationError, Unavailable
from rotation.model.targets import DeploymentTarget, SecretKeyTarget, SecretTarget, ServiceTarget
from rotation.model.world import (
    PLAIN,
    Answer,
    Deployment,
    Manner,
    Pod,
    Route,
    SecretVersion,
    shown_slot,
)
from rotation.secrecy import Secret
from rotation.steps.proving import run_tests
from tests.security.attacked import CREDENTIAL, EVENT, WORDS, AnyToken, configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LURE = " ".join(WORDS)
INNER = {"code": LURE, "message": LURE, "innererror": {"code": LURE, "message": LURE}}
STATUS = {"kind": "Status", "apiVersion": "v1", "status": LURE, "message": LURE, "reason": LURE}
CAUSE = {"reason": LURE, "message": LURE, "field": LURE}
DETAILS = {"name": LURE, "kind": LURE, "causes": [CAUSE]}
OBJECT = {"kind": LURE, "metadata": {"name": LURE}, "spec": LURE}
SECRET = {"id": LURE, "value": LURE, "attributes": LURE}
BODIES = {
    "an error of Azure's": json.dumps({"error": INNER}),
    "an error with a word that is known": json.dumps({"error": {**INNER, "code": "Forbidden"}}),
    "a sign-in that failed": json.dumps({"error": LURE, "error_description": LURE}),
    "a Status": json.dumps({**STATUS, "details": DETAILS}),
    "a Status with a reason that is known": json.dumps({**STATUS, "reason": "Forbidden"}),
    "the words alone": LURE,
    "a page": f"<html><title>{LURE}</title><a href={WORDS[1]}>{LURE}</a></html>",
    "an object of another kind": json.dumps({**OBJECT, **SECRET}),
    "no object": json.dumps([LURE]),
    "lists in lists": "[" * 20_000,
    "objects in objects": '{"error":' * 20_000,
}
STATUSES = (200, 401, 403, 409, 500)
HEADERS = {
    "Content-Type": "application/json",
    "Retry-After": LURE,
    "WWW-Authenticate": f'Bearer authorization="{WORDS[1]}", resource="{WORDS[1]}"',
    "Warning": f'299 - "{LURE}"',
    "x-ms-request-id": LURE,
    "X-Kubernetes-Pf-Flowschema-Uid": LURE,
    "Location": WORDS[1],
}


class Hostile(BaseHTTPRequestHandler):
    """Answers everything with the server's `status` and `body`."""

    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked += 1
        self.send_response(self.server.status, LURE)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    asked = 0
    status = 200
    body = b""

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@contextmanager
def serving(authority: Authority | None) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Hostile) as server:
        if authority is not None:
            context = authority.issue("127.0.0.1").context()
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Iterator[Server]:
    with serving(authority) as server:
        yield server


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    with serving(None) as server:
        yield server


def held(server: Server, caplog: pytest.LogCaptureFixture, asks: list[Callable[[], object]]) -> int:
    """Asks for everything with every answer; the number of errors, in none of which is a word."""
    caplog.set_level(logging.INFO)
    log.quiet_sdks()  # as the app does at its start
    server.asked, errors = 0, 0
    for body in BODIES.values():
        for status in STATUSES:
            server.status, server.body = status, body.encode()
            for ask in asks:
                caplog.clear()
                try:
                    ask()
                except RotationError as error:
                    errors += 1
                    said = f"{error!r} {error} {error.message} {error.as_failure()} {error.reason}"
                    assert not any(word in said for word in WORDS), (status, body, said)
                assert not any(word in caplog.text for word in WORDS), (status, body)
    assert server.asked >= len(BODIES) * len(STATUSES)
    return errors


@pytest.mark.long
def test_a_vault(tls: Server, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    vault = KeyVault(f"https://127.0.0.1:{tls.port}", AnyToken(), str(authority.bundle))
    secret = SecretTarget("orders-blue")
    soon = datetime.now(UTC) + timedelta(days=90)

    def put() -> object:
        return vault.put(secret, Secret("p"), expires=soon, content_type="text/plain", tags={})

    asks: list[Callable[[], object]] = [
        put,
        lambda: vault.current(secret),
        lambda: vault.versions(secret),
        lambda: vault.disable(SecretTarget("orders-blue", "0" * 32)),
    ]
    assert held(tls, caplog, asks) > 100


def test_a_topic(tls: Server, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = f"https://127.0.0.1:{tls.port}/api/events"
    topic = EventGridTopic(endpoint, AnyToken(), PUBLIC.topics, str(authority.bundle))
    assert held(tls, caplog, [lambda: topic.publish(EVENT)]) > 30


def test_an_identity_endpoint(plain: Server, caplog: pytest.LogCaptureFixture) -> None:
    environment = {
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{plain.port}/token",
        "IDENTITY_HEADER": "known",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        scope = "https://vault.azure.net/.default"
        # Each time a new one: MSAL remembers a failure, and would not ask again.
        assert (
            held(plain, caplog, [lambda: Identity(environment, PUBLIC.authority).token(scope)]) > 30
        )


@pytest.mark.long
def test_an_api_server_and_what_answers_through_it(
    plain: Server, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Cluster.model_construct(server=f"http://127.0.0.1:{plain.port}")
    api = Api("weu", settings, lambda: Secret("token"))
    services, pods = Services(api), Deployments(api)
    service = ServiceTarget("orders", "api", "slot", port="http")
    deployment = DeploymentTarget("orders", "api-green")
    key = SecretKeyTarget("orders", "api-green", "password")
    asks: list[Callable[[], object]] = [
        lambda: services.route(service),
        lambda: services.move(service, "blue", "green"),
        lambda: services.fence(service, "rotation"),
        lambda: services.ask(service, "/whoami", 5.0),
        lambda: pods.deployment(deployment),
        lambda: pods.listed(deployment),
        lambda: pods.scale(deployment, 0, by="orders-db-1"),
        lambda: pods.deliver(key, Secret("p"), "v1"),
    ]
    assert held(plain, caplog, asks) > 200


class Asking:
    """As much of the edges as the tests of a workload need, on the wire."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def traffic(self, _: str) -> Services:
        return self._services

    def fetch(
        self, url: str, timeout: float, manner: Manner = PLAIN, authority: str | None = None
    ) -> Answer:
        return web.fetch(url, timeout, manner, authority)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def side_by_side(
        self, calls: Sequence[Callable[[], object]], seconds: float
    ) -> list[object | None]:
        return side_by_side(calls, seconds)


def test_a_workloads_answer_is_judged_and_its_words_are_dropped(
    plain: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """By the expectations of its tests, one through the proxy and one by its URL: no answer
    passes, and of none anything but its status is told."""
    settings = Cluster.model_construct(server=f"http://127.0.0.1:{plain.port}")
    edges: Any = Asking(Services(Api("weu", settings, lambda: Secret("token"))))
    credential = configuration([]).credential(CREDENTIAL)
    (workload,) = credential.workloads
    (by_path,) = workload.tests
    by_url = by_path.model_copy(
        update={"path": None, "url": f"http://127.0.0.1:{plain.port}/whoami"}
    )
    both = workload.model_copy(update={"tests": [by_path, by_url]})

    def judged() -> None:
        for result in run_tests(edges, credential, both, "green", "service"):
            said = f"{result!r} {wire.value_of(result)}"
            assert not any(word in said for word in WORDS)
            assert (result.passed, result.role) == (False, None)
            assert result.problem

    held(plain, caplog, [judged])


METADATA = {
    "name": "api",
    "namespace": "orders",
    "resourceVersion": "7",
    "generation": 2,
    "annotations": {"credential-rotation/secret-version": "f" * 32},
    "creationTimestamp": "2026-11-24T03:00:00Z",
}
SERVICE = {
    "kind": "Service",
    "apiVersion": "v1",
    "metadata": METADATA,
    "spec": {"selector": {"slot": "blue"}, "ports": [{"name": "http", "port": 80}]},
}
DEPLOYMENT = {
    "kind": "Deployment",
    "apiVersion": "apps/v1",
    "metadata": METADATA,
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "api"}},
        "template": {
            "metadata": METADATA,
            "spec": {
                "containers": [{"name": "web", "image": "x:1"}],
                "initContainers": [{"name": "first", "image": "y:1"}],
            },
        },
    },
    "status": {
        "replicas": 1,
        "readyReplicas": 1,
        "updatedReplicas": 1,
        "observedGeneration": 2,
        "conditions": [{"type": "Progressing", "status": "False", "reason": "FailedCreate"}],
    },
}
POD = {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "hostIP": "10.0.0.2"}
PODS = {
    "kind": "PodList",
    "apiVersion": "v1",
    "metadata": {"resourceVersion": "3"},
    "items": [{"metadata": METADATA, "status": POD}],
}
VERSION = {
    "id": f"https://kv.example/secrets/orders-blue/{'0' * 32}",
    "contentType": "text/plain",
    "attributes": {"enabled": True, "created": 1790000000, "updated": 1790000000},
    "tags": {"rotation": "r-1"},
}
BUNDLE = {**VERSION, "value": "p", "attributes": {**VERSION["attributes"], "exp": 1799999999}}  # type: ignore[dict-item]
VERSIONS = {"value": [VERSION], "nextLink": None}
TOKEN = {
    "access_token": "token",
    "expires_on": "1799999999",
    "resource": "https://vault.azure.net",
    "token_type": "Bearer",
}
STRANGE: tuple[object, ...] = (
    *(None, True, -1, 0.5, 10**30, 1e308, -(2**63), "", LURE, "x" * 5000, "9" * 5000, "\ud800"),
    *([], [LURE], {}, {LURE: LURE}, [[[]]], "2026-99-99T00:00:00Z", "1e999", [None]),
)
Path = tuple[str | int, ...]


def places(document: object, at: Path = ()) -> Iterator[Path]:
    """Where something stands in a document, from its top."""
    yield at
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*at, key))
    if isinstance(document, list):
        for index, value in enumerate(document):
            yield from places(value, (*at, index))


def changed(document: object, at: Path, value: object) -> object:
    """A copy of the document with the value in that place."""
    if not at:
        return value
    copy: Any = json.loads(json.dumps(document))
    inner = copy
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return copy


def survived(
    server: Server, document: object, number: int, asks: list[Callable[[], object]]
) -> list[object]:
    """What the asks made of successes that are not quite the document, each once or more often:
    proper values, or else errors of the edge, without a hostile word."""
    every = [(at, value) for at in places(document) for value in STRANGE]
    chosen = Random(12).sample(every, min(number, len(every)))  # noqa: S311 - no secret
    lures = [(at, LURE) for at in places(document)]
    found: list[object] = []
    server.asked = 0
    for at, value in [((), document), *lures, *chosen]:
        server.status = 200
        server.body = json.dumps(changed(document, at, value)).encode()
        for ask in asks:
            try:
                found.append(ask())
            except RotationError as error:
                said = f"{error!r} {error} {error.as_failure()} {error.reason}"
                assert not any(word in said for word in WORDS), (at, value, said)
    assert server.asked >= len(chosen)
    assert found  # of the document itself
    return found


@pytest.mark.long
def test_successes_of_an_api_server(plain: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Cluster.model_construct(server=f"http://127.0.0.1:{plain.port}")
    api = Api("weu", settings, lambda: Secret("token"))
    services, pods = Services(api), Deployments(api)
    service = ServiceTarget("orders", "api", "slot")
    deployment = DeploymentTarget("orders", "api-green")
    moves: list[Callable[[], object]] = [
        lambda: services.route(service),
        lambda: services.move(service, "blue", "green"),
        lambda: services.move(service, "blue", "green", by="orders-db-1"),
    ]
    for route in survived(plain, SERVICE, 8, moves):
        assert route is None or isinstance(route, Route)
        if route:
            assert shown_slot(route.slot) in {"blue", "green", "no slot", "neither blue nor green"}
    looks: list[Callable[[], object]] = [
        lambda: pods.deployment(deployment),
        lambda: pods.watch(deployment, lambda _: True, 1),
        lambda: pods.scale(deployment, 0, by="orders-db-1"),
    ]
    for seen in survived(plain, DEPLOYMENT, 8, looks):
        assert seen is None or isinstance(seen, Deployment)
        if seen:
            told = f"{unready(seen, 'v2')} {seen.failure} {seen.version}"
            assert not any(word in told for word in WORDS)
    # Whose pods they are is asked of the same server; here they all count.
    monkeypatch.setattr(Deployments, "_family", lambda *_: mock.Mock(selector="app=api"))
    lists: list[Callable[[], object]] = [
        lambda: pods.listed(deployment),
        lambda: pods.watch_gone(deployment, 1),
    ]
    for listed in survived(plain, PODS, 8, lists):
        addresses: list[str] = []
        for pod in cast("list[Pod | str]", listed):
            if isinstance(pod, str):
                assert not any(word in pod for word in WORDS)
                continue
            assert not any(word in pod.name for word in WORDS)
            addresses += [*pod.addresses, *pod.nodes]
        assert networks(addresses) is not None


@pytest.mark.long
def test_successes_of_a_vault(
    tls: Server, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "LONGEST", 0.5)  # of a list that names itself as its next page
    vault = KeyVault(f"https://127.0.0.1:{tls.port}", AnyToken(), str(authority.bundle))
    secret, soon = SecretTarget("orders-blue"), datetime.now(UTC) + timedelta(days=90)

    def put() -> object:
        return vault.put(secret, Secret("p"), expires=soon, content_type="text/plain", tags={})

    asks: list[Callable[[], object]] = [
        put,
        lambda: vault.current(secret),
        lambda: vault.value(secret),
        lambda: vault.disable(SecretTarget("orders-blue", "0" * 32)),
    ]
    found = survived(tls, BUNDLE, 8, asks)
    found += survived(tls, VERSIONS, 8, [lambda: vault.versions(secret)])
    flat = [one for each in found for one in (each if isinstance(each, list) else [each])]
    for version in flat:
        assert version is None or isinstance(version, SecretVersion | Secret)
        if isinstance(version, SecretVersion):
            assert version.secret == "orders-blue"
            assert not any(word in version.version for word in WORDS)
            for moment in (version.created, version.expires):
                assert moment is None or isinstance(moment, datetime)


@pytest.mark.parametrize("version", [WORDS[0], "<b>", "x" * 65])
def test_what_is_not_the_name_of_a_version_is_no_success_of_a_vault(
    tls: Server, authority: Authority, version: str
) -> None:
    """It would stand in records."""
    vault = KeyVault(f"https://127.0.0.1:{tls.port}", AnyToken(), str(authority.bundle))
    identifier = f"{str(VERSION['id']).rpartition('/')[0]}/{version}"
    tls.status, tls.body = 200, json.dumps({**BUNDLE, "id": identifier}).encode()
    with pytest.raises(Unavailable, match=r" ValueError; what answers is no Key Vault$"):
        vault.current(SecretTarget("orders-blue"))


@pytest.mark.parametrize("body", [b"", b"<html>"])
def test_a_failure_without_a_code_is_told_by_its_status(
    tls: Server, authority: Authority, body: bytes
) -> None:
    """A proxy's, in the place of a vault."""
    vault = KeyVault(f"https://127.0.0.1:{tls.port}", AnyToken(), str(authority.bundle))
    tls.status, tls.body = 502, body
    with pytest.raises(Unavailable, match=r" HTTP 502$"):
        vault.value(SecretTarget("orders-blue"))


def test_successes_of_an_identity_endpoint(plain: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{plain.port}/token",
        "IDENTITY_HEADER": "known",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    scope = "https://vault.azure.net/.default"
    for token in survived(
        plain, TOKEN, 40, [lambda: Identity(environment, PUBLIC.authority).token(scope)]
    ):
        assert isinstance(token, Secret)
        assert isinstance(token.reveal(), str)


def test_successes_of_a_topic(tls: Server, authority: Authority) -> None:
    endpoint = f"https://127.0.0.1:{tls.port}/api/events"
    topic = EventGridTopic(endpoint, AnyToken(), PUBLIC.topics, str(authority.bundle))
    assert set(survived(tls, {"ok": [LURE]}, 10, [lambda: topic.publish(EVENT)])) == {None}


def test_what_others_write_into_objects_is_shown_in_known_words(plain: Server) -> None:
    """A tenant of the namespace may write a label and an annotation: neither gets into a reason."""
    settings = Cluster.model_construct(server=f"http://127.0.0.1:{plain.port}")
    api = Api("weu", settings, lambda: Secret("token"))
    plain.status = 200
    label = changed(SERVICE, ("spec", "selector", "slot"), WORDS[0])
    plain.body = json.dumps(label).encode()
    with pytest.raises(RotationError, match="selects neither blue nor green, not blue") as error:
        Services(api).move(ServiceTarget("orders", "api", "slot"), "blue", "green")
    assert WORDS[0] not in repr(error.value)
    annotation = "credential-rotation/secret-version"
    at = ("spec", "template", "metadata", "annotations", annotation)
    plain.body = json.dumps(changed(DEPLOYMENT, at, WORDS[1])).encode()
    seen = Deployments(api).deployment(DeploymentTarget("orders", "api-green"))
    assert seen is not None
    assert unready(seen, "v2") == "its pods are of secret version unknown, not v2"
