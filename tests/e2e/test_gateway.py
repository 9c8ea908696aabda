"""Whole rotations of an application whose requests an HTTPRoute shares between its slots, under
load through its Gateway. It has no lame duck: behind a Service it would lose requests."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from local import world
from local.cluster.client import apply, read_manifests
from local.load import Load
from local.process import wait_until
from local.stack import APP, Options, Stack
from local.stack.provisioner import PODS
from rotation.model.world import SLOTS, Slot, other
from tests.conftest import QUICK, full
from tests.e2e import site
from tests.e2e.test_rotation import codes, ended, started, waiting
from tests.e2e.test_without_lame_duck import configure

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

GROUP, SPACE = "gateway.networking.k8s.io", "orders"
ROUTE: dict[str, Any] = {
    "name": "api",
    "backends": {"blue": "api-blue", "green": "api-green"},
    "settle": "2s",
}


def workloads(**route: Any) -> list[dict[str, Any]]:
    api, web = QUICK["workloads"]
    api = {key: value for key, value in api.items() if key not in {"service", "preview"}}
    # The Services of the example are there still, and clients use the Gateway.
    others = {"otherServices": ["api", "api-preview"]}
    return [{**api, **others, "route": {**ROUTE, **route}}, web]


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The example's own manifests."""
    options = Options(replicas=2, watch_seconds=2, credential=QUICK | {"workloads": workloads()})
    with Stack(tmp_path_factory.mktemp("gateway"), options) as stack:
        found = read_manifests(world.MANIFESTS / "example" / "api-route.yaml")
        settings: dict[str, Any] = {"app": APP.principal_id, "pods": PODS.client_id}
        apply(
            stack.owner.kubernetes,
            [world.localised(each, stack.addresses, **settings) for each in found],
        )
        configure(stack, "0")
        wait_until(lambda: bool(read(stack, "httproutes", "api").get("status")), 20, "the Gateway")
        yield stack


def read(stack: Stack, plural: str, name: str) -> dict[str, Any]:
    at = f"/apis/{GROUP}/v1/namespaces/{SPACE}/{plural}/{name}"
    found: dict[str, Any] = stack.owner.kubernetes_get(at)
    return found


def weights(stack: Stack) -> dict[Slot, int]:
    (rule,) = read(stack, "httproutes", "api")["spec"]["rules"]
    return {slot: one["weight"] for slot, one in zip(SLOTS, rule["backendRefs"], strict=True)}


def serving(stack: Stack) -> Slot:
    found = weights(stack)
    (slot,) = (slot for slot in SLOTS if found[slot] and not found[other(slot)])
    return slot


@contextmanager
def load(stack: Stack) -> Iterator[Load]:
    port = read(stack, "gateways", "edge")["metadata"]["annotations"]["local/port.http"]
    url = f"http://127.0.0.1:{port}"
    with Load([url], rate=60, workers=9, fresh=3, pooled=3) as running:
        wait_until(lambda: running.report().requests > 60, 20, "every connection being open")
        yield running


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(
    ("steps", "decision", "outcome"),
    [
        pytest.param([], "approve", "completed", id="at-once-approve"),
        pytest.param([], "reject", "rolled-back", id="at-once-reject", marks=full),
        pytest.param([10, 50], "approve", "completed", id="weighted-approve", marks=full),
        pytest.param([10, 50], "reject", "rolled-back", id="weighted-reject"),
    ],
)
def test_no_request_fails_without_a_lame_duck(
    routed: Stack, steps: list[int], decision: str, outcome: str
) -> None:
    before = serving(routed)
    with site.host_with(routed, {}, workloads=workloads(weights=steps)), load(routed) as running:
        rotation = started(routed)
        record = routed.client.follow(rotation, waiting, timeout=100)
        assert record["outcome"] is None, record["outcomeReason"]
        assert weights(routed)[before] == 0
        assert routed.client.decide(rotation, decision).status == 200
        record = ended(routed, rotation)
        report = running.stop()
    assert record["outcome"] == outcome, record["outcomeReason"]
    assert (report.failed, report.failures) == (0, [])
    assert serving(routed) == (other(before) if decision == "approve" else before)


@contextmanager
def failing_while_shared(stack: Stack) -> Iterator[str]:
    """A test's URL, which is answered with 500 while both slots get requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500 if all(weights(stack).values()) else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{{slot}}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.guarantee(2)
def test_what_fails_its_tests_at_ten_percent_goes_back(routed: Stack) -> None:
    before = serving(routed)
    with failing_while_shared(routed) as url, load(routed) as running:
        changed = workloads(weights=[10, 50])
        changed[0]["tests"] = [*changed[0]["tests"], {"url": url, "repeat": 1}]
        seen: list[dict[Slot, int]] = []
        with site.host_with(routed, {}, workloads=changed):
            rotation = started(routed)
            wait_until(lambda: noted(routed, seen), 60, "the first step")
            record = ended(routed, rotation)
        report = running.stop()
    assert (record["outcome"], codes(record)) == ("rolled-back", {"tests-failed"})
    assert "answered 500" in record["outcomeReason"]
    assert seen == [{before: 90, other(before): 10}]
    assert (report.failed, report.failures) == (0, [])
    assert serving(routed) == before


def noted(stack: Stack, seen: list[dict[Slot, int]]) -> bool:
    """Whether requests are shared; notes how."""
    found = weights(stack)
    if all(found.values()):
        seen.append(found)
    return bool(seen)
