"""Whose refusal it is: rights', a policy's, a webhook's.

Each has its own code, on a real API server and on the stand-in alike, and none has the words of
whoever refused."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from local.process import wait_until
from local.tls import Authority
from rotation.model.errors import Denied, EdgeError, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import ServiceTarget
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.control import ADMIN
from tests.kubernetes.support import APP, GUARDED, Guarded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kubernetes.control import ControlPlane

API = ServiceTarget(GUARDED, "api", "slot", port="http")
ELSEWHERE = ServiceTarget("default", "api", "slot", port="http")
ADMISSION = "admissionregistration.k8s.io/v1"
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def refused(guarded: Guarded, number: int = 0) -> EdgeError | None:
    """The error of a change that the app has the right to, and that the guard lets through."""
    try:
        guarded.edge(APP).traffic.fence(API, f"test-{number}")
    except EdgeError as error:
        return error
    return None


def told(error: EdgeError) -> str:
    """What it says, which is nothing of what whoever refused has said."""
    for theirs in ("hunter2", "None", "theirs"):
        assert theirs not in error.message
    return error.message


def test_a_right_that_is_missing(guarded: Guarded) -> None:
    traffic = guarded.edge(APP).traffic
    with pytest.raises(Denied, match=r"HTTP 403 Forbidden; apply .*rbac\.yaml") as caught:
        traffic.fence(ELSEWHERE, "test")
    assert caught.value.code is Code.CLUSTER_DENIED
    with pytest.raises(Denied, match=r"HTTP 403 Forbidden; .* a `url` that has") as caught:
        traffic.ask(ELSEWHERE, "/", 5)
    assert caught.value.code is Code.PROXY_DENIED


def test_a_service_without_pods_is_no_api_server_that_is_away(guarded: Guarded) -> None:
    with pytest.raises(Unavailable, match="HTTP 503, the Service has no ready pod") as caught:
        guarded.edge(APP).traffic.ask(API, "/", 5)
    assert caught.value.code is Code.PROXY_NO_PODS


@contextmanager
def policy(guarded: Guarded, reason: str | None) -> Iterator[None]:
    """A policy of the cluster's own, which denies the change."""
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["UPDATE"],
        "resources": ["services"],
    }
    validation = {"expression": "object.metadata.name != 'api'", "message": "hunter2"}
    name = f"theirs-{reason or 'none'}".lower()
    made: list[dict[str, Any]] = [
        {
            "apiVersion": ADMISSION,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{**validation, **({"reason": reason} if reason else {})}],
            },
        },
        {
            "apiVersion": ADMISSION,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    ]
    guarded.apply(*made)
    try:
        yield
    finally:
        for manifest in reversed(made):
            guarded.delete(manifest)
    wait_until(lambda: refused(guarded) is None, 30, "the policy's end")


@pytest.mark.parametrize("reason", [None, "Forbidden"])
def test_a_policy_of_the_clusters_own(guarded: Guarded, reason: str | None) -> None:
    status = 403 if reason else 422
    with policy(guarded, reason):
        wait_until(lambda: refused(guarded) is not None, 30, "the policy")
        error = refused(guarded)
    assert isinstance(error, Denied)
    assert error.code is Code.CLUSTER_POLICY
    assert f"HTTP {status}, an admission policy denied" in told(error)
    guarded.restore()


class Webhook(ThreadingHTTPServer):
    """An admission webhook that denies, with `status` as its result."""

    status: dict[str, Any] | None = None


class Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        result = {} if self.server.status is None else {"status": self.server.status}
        response = {"uid": asked["request"]["uid"], "allowed": False, **result}
        body = json.dumps({**asked, "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Says nothing."""


@contextmanager
def webhook(plane: ControlPlane, folder: Path) -> Iterator[Webhook]:
    """In force, for updates of Services in the guarded namespace."""
    authority = Authority(folder)
    issued = authority.issue("webhook")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    with Webhook(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        rule = {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["UPDATE"],
            "resources": ["services"],
        }
        hook = {
            "name": "theirs.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 2,
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": GUARDED}},
            "clientConfig": {
                "url": f"https://127.0.0.1:{server.server_address[1]}/",
                "caBundle": base64.b64encode(authority.bundle.read_bytes()).decode(),
            },
        }
        made = {
            "apiVersion": ADMISSION,
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "theirs"},
            "webhooks": [hook],
        }
        plane.create(HOOKS, made)
        yield server
        server.shutdown()
        thread.join()


RESULTS: list[dict[str, Any] | None] = [
    None,
    {"message": "hunter2"},
    {"message": "hunter2", "code": 422, "reason": "Invalid"},
    {"reason": "hunter2", "code": 403},
    {"message": "hunter2", "code": 409, "reason": "Conflict"},
    {"message": "hunter2", "code": 500},
]


@needs_binaries
def test_a_webhook_that_denies_and_one_that_is_away(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    with Guarded.on_real(control_plane) as guarded:
        with webhook(control_plane, tmp_path) as server:
            wait_until(lambda: refused(guarded) is not None, 30, "the webhook")
            for number, result in enumerate(RESULTS, 1):
                server.status = result
                error = refused(guarded, number)
                assert isinstance(error, Denied), result
                assert error.code is Code.CLUSTER_ADMISSION
                assert "an admission webhook denied" in told(error)
        away = refused(guarded)
        guarded.request(ADMIN, "DELETE", f"{HOOKS}/theirs")
        wait_until(lambda: refused(guarded) is None, 30, "the webhook's end")
    assert isinstance(away, Unavailable)
    assert away.code is Code.CLUSTER_WEBHOOK
