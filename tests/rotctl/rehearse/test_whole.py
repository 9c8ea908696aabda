"""`rotctl rehearse` on the stand-in of a cluster: pods as processes, and the Job's clients too.

With no more rights than docs/rotctl.md says.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local import world
from local.cluster.client import write_kubeconfig
from local.process import Component, wait_until
from rotctl.__main__ import main
from rotctl.exits import Exit
from rotctl.rehearse import manifests
from rotctl.rehearse.plan import IMAGE
from tests.local.cluster.support import ADMIN_KEY, Kube, deployment, service
from tests.rotctl.rehearse.rights import role_of_the_guide

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVED = "served:1.0"
SPACE, TOKEN = "orders", "token-of-somebody"
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    folder = tmp_path_factory.mktemp("rehearsal")
    images = folder / "images.json"
    served = ["python", str(Path(__file__).with_name("served.py"))]
    images.write_text(json.dumps({SERVED: served, IMAGE: world.IMAGES[IMAGE]}), encoding="utf-8")
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps({TOKEN: {"user": "somebody", "groups": []}}), encoding="utf-8")
    running = Component.module(
        "cluster",
        *("--state", str(folder / "state"), "--images", str(images)),
        *("--rbac", "on", "--tokens", str(tokens)),
        log=folder / "cluster.log",
        env={"LOCAL_ADMIN_KEY": ADMIN_KEY},
    )
    with running:
        made = Kube(running, SPACE)
        made.core.create_namespace({"metadata": {"name": SPACE}})
        made.apply(*role_of_the_guide("somebody"))
        yield made
        made.client.close()


@pytest.fixture
def serving(kube: Kube, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Has a workload serve that ends as it is told to, and somebody signed in."""
    kubeconfig = write_kubeconfig(
        tmp_path / "kubeconfig",
        server=kube.component.url,
        authority=Path(str(kube.component.facts["ca"])),
        token=TOKEN,
        name="somebody",
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))

    def serve(end: str, **environment: str) -> None:
        given = {"END": end, **environment}
        env = [{"name": name, "value": value} for name, value in given.items()]
        made = deployment("api", labels={"tier": "front"}, image=SERVED, env=env)
        kube.apply(made, service("api", {"app": "api"}))
        kube.wait_ready("api", 1)

    yield serve
    kube.raw("DELETE", kube.path("deployments/api", "apps"))
    kube.raw("DELETE", kube.path("services/api"))
    kube.wait_pods("app=api", 0)


def rehearsed(capsys: pytest.CaptureFixture[str], *options: str, exits: Exit) -> Any:
    capsys.readouterr()
    command = ["rehearse", f"{SPACE}/api", "--json", "--yes", "--seconds", "1", "--rate", "10"]
    code = main([*command, *options])
    out, err = capsys.readouterr()
    assert code == exits, (code, out, err)
    return json.loads(out or err)


def left(kube: Kube) -> list[str]:
    label = manifests.OF
    found = [kube.apps.list_namespaced_deployment, kube.batch.list_namespaced_job]
    found += [kube.core.list_namespaced_service, kube.core.list_namespaced_pod]
    return [one.metadata.name for each in found for one in each(SPACE, label_selector=label).items]


@pytest.mark.parametrize(
    ("end", "exits", "code"),
    [
        ("at-once", Exit.LOST, "untold"),
        ("closing", Exit.LOST, "untold"),
        ("lame-duck", Exit.DONE, "told"),
        ("keeps-none", Exit.DONE, "keeps-none"),
        ("fails", Exit.LOST, "status"),
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
    if finding["code"] != "status":
        assert found["failed"] == (8 if exits == Exit.LOST else 0)
    if exits == Exit.LOST:
        assert finding["recipe"] == "docs/applications.md#uvicorn"
    assert left(kube) == []
    (after,) = kube.pods("app=api")
    assert (after.metadata.uid, after.status.container_statuses[0].restart_count) == (
        before.metadata.uid,
        0,
    )


def test_one_that_does_not_hear_is_killed(
    kube: Kube, serving: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    serving("deaf")
    found = rehearsed(capsys, exits=Exit.LOST)
    assert [one["code"] for one in found["findings"]] == ["untold", "killed"]
    assert found["killed"]
    assert found["end"]["seconds"] >= found["end"]["grace"] == 5


def test_an_image_that_is_not_there(
    kube: Kube, serving: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    serving("lame-duck")
    found = rehearsed(capsys, "--image", "nowhere.example/python:3", exits=Exit.PROBLEM)
    assert "nowhere.example/python:3 cannot be pulled" in found["error"]["detail"]
    assert left(kube) == []


def test_no_answer_by_http(kube: Kube, serving: Any, capsys: pytest.CaptureFixture[str]) -> None:
    serving("lame-duck")
    found = rehearsed(capsys, "--https", "--timeout", "15s", exits=Exit.TIMEOUT)
    assert "waited in vain for an answer to GET / by HTTPS" in found["error"]["detail"]
    assert left(kube) == []


def test_answers_of_500(kube: Kube, serving: Any, capsys: pytest.CaptureFixture[str]) -> None:
    serving("lame-duck", STATUS="500")
    found = rehearsed(capsys, exits=Exit.USAGE)
    assert "before anything has ended" in found["error"]["detail"]
    assert left(kube) == []


def begun(kube: Kube) -> subprocess.Popen[str]:
    """A rehearsal in a process of its own, whose two pods are there."""
    command = ["rehearse", f"{SPACE}/api", "--json", "--yes", "--seconds", "60"]
    process = subprocess.Popen(  # noqa: S603 - argv is written here
        [sys.executable, "-m", "rotctl", *command], stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: len(left(kube)) >= 7, 60, "the objects of the rehearsal")
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_interrupts_it_leaves_the_namespace_as_it_was(
    kube: Kube, serving: Any, number: signal.Signals
) -> None:
    serving("lame-duck")
    with begun(kube) as process:
        process.send_signal(number)
        assert process.wait(60) == Exit.INTERRUPTED
        assert process.stderr is not None
        assert "nothing was measured" in process.stderr.read()
    assert left(kube) == []


def test_what_a_kill_leaves_goes_with_the_job(kube: Kube, serving: Any) -> None:
    serving("lame-duck")
    with begun(kube) as process:
        process.kill()
    assert left(kube) != []
    # As its time to live has it, once its clients have ended.
    kube.raw(
        "DELETE", kube.path("jobs/rehearsal-api", "batch"), {"propagationPolicy": "Background"}
    )
    wait_until(lambda: left(kube) == [], 60, "the end of what the Job owns")


def test_the_next_one_takes_leftovers_away(
    kube: Kube, serving: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    serving("lame-duck")
    with begun(kube) as process:
        process.kill()
    assert rehearsed(capsys, exits=Exit.DONE)["findings"][0]["code"] == "told"
    assert left(kube) == []


def test_a_dry_run_makes_nothing(
    kube: Kube, serving: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    serving("lame-duck")
    made = rehearsed(capsys, "--dry-run", exits=Exit.DONE)
    assert [one["kind"] for one in made] == ["Service", "Job", "Deployment", "Deployment"]
    assert left(kube) == []


def test_nobody_is_taken_to_have_said_yes(
    kube: Kube, serving: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    serving("lame-duck")
    capsys.readouterr()
    assert main(["rehearse", f"{SPACE}/api", "--json"]) == Exit.USAGE
    assert "--yes" in capsys.readouterr().err
    assert left(kube) == []
