"""How long a rotation takes, by step, and with more workloads than the demo has."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import rotating
from bench.product import SLOTS, other
from bench.screen import say
from local import world
from local.cluster.client import apply
from local.stack import Options, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.product import Slot

NAMESPACE = "fleet"
ECHO = "registry.example/echo:1.0"
REQUEST = re.compile(r'"[A-Z]+ /secrets/')


def demo(stack: Stack, *, rounds: int) -> dict[str, Any]:
    """Median seconds of each step over the demo's two workloads, with real pods, without load.

    A first rotation, which imports the SDKs, is told apart; after an even number the active slot
    is what it was.
    """
    say("rotating the demo's two workloads")
    first = rotating.rotate(stack)
    before = _vault_requests(stack)
    found = _medians(stack, rounds)
    requests = (_vault_requests(stack) - before) / rounds
    return {"first": rotating.steps(first), "vault_requests": round(requests), **found}


def _vault_requests(stack: Stack) -> int:
    """The number of requests that the vault answered, those of pods that mount a secret
    included."""
    log = stack.directory / "logs" / "keyvault.log"
    return len(REQUEST.findall(log.read_text(encoding="utf-8")))


def _medians(stack: Stack, rounds: int) -> dict[str, Any]:
    records = [rotating.rotate(stack) for _ in range(rounds)]
    taken = [rotating.steps(record) for record in records]
    return {
        "rounds": rounds,
        "steps": {step: round(median(one[step] for one in taken), 3) for step in taken[0]},
        "seconds": round(median(rotating.seconds(record) for record in records), 3),
        "last": records[-1]["rotation"],
    }


def scaling(*, rounds: int, sizes: tuple[int, ...], start: int) -> dict[str, Any]:
    """The times of a rotation by number of workloads, whose pods cost next to nothing
    (`bench.echo`).

    They are ready after `start` seconds, which are waited and not worked: it shows whether
    workloads are prepared at once.
    """
    with tempfile.TemporaryDirectory(prefix="rotation-") as directory:
        stack = Stack(Path(directory), Options(replicas=0, rbac=False))
        with stack:
            _publish_image(stack)
            apply(stack.owner.kubernetes, _manifests(max(sizes), active="blue", start=start))
            return {str(size): _at(stack, size, rounds) for size in sizes}


def _at(stack: Stack, size: int, rounds: int) -> dict[str, Any]:
    """The times with that many workloads.

    The first rotation brings its workloads to where the ones before are, and imports SDKs.
    """
    say(f"rotating {size} workloads")
    _configure(stack, size)
    first = rotating.rotate(stack)
    found = _medians(stack, rounds + (rounds + 1) % 2)  # together with the first: an even number
    return {**found, "first": rotating.steps(first)}


def _publish_image(stack: Stack) -> None:
    images = {**world.IMAGES, ECHO: ["python", "-m", "bench.echo"]}
    (stack.directory / "images.json").write_text(json.dumps(images), encoding="utf-8")


def _configure(stack: Stack, size: int) -> None:
    """Writes credentials.yaml with that many workloads, and has the host read it."""
    workloads = [_workload(f"w{number}") for number in range(size)]
    found = world.configuration(
        stack.addresses, stack.components["cluster"].url, {"workloads": workloads}
    )
    (stack.directory / "credentials.yaml").write_text(json.dumps(found), encoding="utf-8")
    stack.components["host"].stop()
    stack.start_host()


def _workload(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "cluster": "local",
        "namespace": NAMESPACE,
        "service": name,
        "preview": f"{name}-preview",
        "deployments": {slot: f"{name}-{slot}" for slot in SLOTS},
        "delivery": "csi",
        "tests": [{"path": "/healthz"}, {"path": "/whoami", "json": {"role": "{role}"}}],
    }


def _manifests(size: int, active: Slot, start: int) -> Iterator[dict[str, Any]]:
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    for number in range(size):
        name = f"w{number}"
        yield _service(name, name, active)
        yield _service(f"{name}-preview", name, other(active))
        for slot in SLOTS:
            yield _deployment(name, slot, replicas=int(slot == active), start=start)


def _service(name: str, app: str, slot: Slot) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"app": app, "slot": slot},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def _deployment(app: str, slot: Slot, replicas: int, start: int) -> dict[str, Any]:
    labels = {"app": app, "slot": slot}
    container = {
        "name": "echo",
        "image": ECHO,
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "ROLE", "value": f"orders_{slot}"}, {"name": "SLOT", "value": slot}],
        "readinessProbe": {
            "httpGet": {"path": "/", "port": "http"},
            "periodSeconds": 1,
            "initialDelaySeconds": start,
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{app}-{slot}", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
