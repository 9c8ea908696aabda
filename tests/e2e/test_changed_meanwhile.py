"""The file loses its entry, and somebody releases the application, while a rotation waits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from kubernetes import client

from local import engines, proof, world
from local.load import Load
from local.process import wait_until
from local.stack import Options, Stack
from rotation.model.world import other
from tests.conftest import QUICK
from tests.e2e.test_rotation import active, codes, ended, started, waiting

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(500 + 5 * engines.slack(engines.selected())),
]

(IMAGE, COMMAND), NEXT = next(iter(world.IMAGES.items())), "registry.example/orders:2.0"


def release(stack: Stack, slot: str) -> None:
    """A pipeline deploys the next image of `api` to the slot that serves."""
    images = {IMAGE: COMMAND, NEXT: COMMAND}
    (stack.directory / "images.json").write_text(json.dumps(images), encoding="utf-8")
    containers = [{"name": "api", "image": NEXT}]
    client.AppsV1Api(stack.owner.kubernetes).patch_namespaced_deployment(
        f"api-{slot}", "orders", {"spec": {"template": {"spec": {"containers": containers}}}}
    )
    wait_until(lambda: done(stack, slot), 60, "the release")


def done(stack: Stack, slot: str) -> bool:
    found = stack.owner.deployment("orders", f"api-{slot}")
    status, wanted = found["status"], found["spec"]["replicas"]
    seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")]
    return bool(seen and counts == [wanted] * 3)


def image(stack: Stack, slot: str) -> str:
    found = stack.owner.deployment("orders", f"api-{slot}")
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])


def lose_the_entry(stack: Stack) -> None:
    """The next release of the app has a file in which the credential has another name."""
    file = stack.directory / "credentials.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(f'"{world.CREDENTIAL}": {{', '"renamed-db": {', 1), "utf-8")
    stack.replace(stack.release)


@pytest.mark.guarantee(2)
def test_a_rejection_goes_back_with_the_release_and_without_the_entry(tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", Options(replicas=1, watch_seconds=2, credential=QUICK)) as stack:
        urls = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
        with Load(urls, rate=20) as load:
            before = active(stack)
            rotation = started(stack)
            stack.client.follow(rotation, waiting)
            passwords = proof.Passwords.read(stack)
            release(stack, other(before))
            lose_the_entry(stack)
            seen = stack.client.rotation(rotation)
            approved = stack.client.decide(rotation, "approve")
            assert stack.client.decide(rotation, "reject").status in {200, 202}
            record = ended(stack, rotation)
            report = load.stop()
        assert seen["changed"] == record["changed"] == [f"credentials.{world.CREDENTIAL}: is gone"]
        assert (approved.status, approved.json["code"]) == (403, "not-allowed")
        assert (record["outcome"], codes(record)) == ("rolled-back", {"rejected"})
        assert [found["code"] for found in record["releases"]] == ["release-brought-along"]
        assert (image(stack, before), set(stack.owner.active_slots().values())) == (NEXT, {before})
        failed = [c.what for c in proof.check(stack, record, before, [passwords]) if not c.holds]
        assert failed == []
    assert (report.failed, report.failures) == (0, [])
