"""`rotctl rehearse` on the stand-in of a cluster: pods as processes, and the Job's clients too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.process import Component
from rotctl.__main__ import main
from rotctl.exits import Exit
from rotctl.rehearse import manifests
from rotctl.rehearse.plan import IMAGE
from tests.local.cluster.support import ADMIN_KEY, Kube, deployment, service

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVED = "served:1.0"
SPACE = "orders"


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    folder = tmp_path_factory.mktemp("rehearsal")
    images = folder / "images.json"
    served = ["python", str(Path(__file__).with_name("served.py"))]
    images.write_text(json.dumps({SERVED: served, IMAGE: ["python3"]}), encoding="utf-8")
    running = Component.module(
        "cluster",
        *("--state", str(folder / "state"), "--images", str(images)),
        log=folder / "cluster.log",
        env={"LOCAL_ADMIN_KEY": ADMIN_KEY},
    )
    with running:
        made = Kube(running, SPACE)
        made.core.create_namespace({"metadata": {"name": SPACE}})
        yield made
        made.client.close()


@pytest.fixture
def serving(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Has a workload serve that ends as it is told to."""
    monkeypatch.setenv("KUBECONFIG", str(kube.component.facts["kubeconfig"]))

    def serve(end: str, **environment: str) -> None:
        given = {"END": end, **environment}
        env = [{"name": name, "value": value} for name, value in given.items()]
        made = deployment("api", labels={"tier": "front"}, image=SERVED, env=env)
        kube.apply(made, service("api", {"app": "api"}))
        kube.wait_ready("api", 1)

    yield serve
    kube.raw("DELETE", kube.path("deployments/api", "apps"))
    kube.raw("DELETE", kube.path("services/api"))


def rehearsed(capsys: pytest.CaptureFixture[str], *options: str, exits: Exit) -> Any:
    capsys.readouterr()
    command = ["rehearse", f"{SPACE}/api", "--json", "--yes", "--seconds", "1", "--rate", "10"]
    code = main([*command, *options])
    out, err = capsys.readouterr()
    assert code == exits, (code, out, err)
    return json.loads(out or err)


def left(kube: Kube) -> list[str]:
    label = f"{manifests.MANAGED}={manifests.BY}"
    found = [kube.apps.list_namespaced_deployment, kube.batch.list_namespaced_job]
    found += [kube.core.list_namespaced_service, kube.core.list_namespaced_pod]
    return [one.metadata.name for each in found for one in each(SPACE, label_selector=label).items]


@pytest.mark.long
@pytest.mark.parametrize(
    ("end", "exits", "code"),
    [
        ("at-once", Exit.LOST, "untold"),
        ("closing", Exit.LOST, "untold"),
        ("lame-duck", Exit.DONE, "told"),
        ("keeps-none", Exit.DONE, "keeps-none"),
    ],
)
def test_it_says_what_fails_and_what_mends_it(
    kube: Kube, serving: Any, capsys: pytest.CaptureFixture[str], end: str, exits: Exit, code: str
) -> None:
    serving(end, SERVER="uvicorn")
    (before,) = kube.pods("app=api")
    found = rehearsed(capsys, exits=exits)
    (finding,) = found["findings"]
    assert finding["code"] == code, found
    assert found["phases"]["steady"]["failed"] == found["phases"]["move"]["failed"] == {}
    assert found["connections"] == (0 if end == "keeps-none" else 8)
    assert found["failed"] == (8 if exits == Exit.LOST else 0)
    if exits == Exit.LOST:
        assert finding["recipe"] == "docs/applications.md#uvicorn"
    assert left(kube) == []
    (after,) = kube.pods("app=api")
    assert (after.metadata.uid, after.status.container_statuses[0].restart_count) == (
        before.metadata.uid,
        0,
    )
