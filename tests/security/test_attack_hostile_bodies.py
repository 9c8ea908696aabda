"""What answers in the name of a vault, topic, identity endpoint, API server or workload fills its
answers with passwords and links: none of its words gets into an error, and so into a record."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from local.tls import Authority
from rotation import log
from rotation.clouds import PUBLIC
from rotation.config import Cluster
from rotation.edges import web
from rotation.edges.cluster.client import Api
from rotation.edges.cluster.deployments import Deployments
from rotation.edges.cluster.services import Services
from rotation.edges.identity import Identity
from rotation.edges.topic import EventGridTopic
from rotation.edges.vault import KeyVault
from rotation.model.errors import RotationError
from rotation.model.targets import DeploymentTarget, SecretKeyTarget, SecretTarget, ServiceTarget
from rotation.secrecy import Secret
from tests.security.attacked import EVENT, AnyToken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORDS = ("hunter2-the-password", "https://evil.example/approve")
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
        lambda: pods.scale(deployment, 0),
        lambda: pods.deliver(key, Secret("p"), "v1"),
    ]
    assert held(plain, caplog, asks) > 200


def test_a_workloads_answer_is_judged_and_its_words_are_dropped(
    plain: Server, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://127.0.0.1:{plain.port}/whoami"
    held(plain, caplog, [lambda: web.fetch(url, 5.0)])
