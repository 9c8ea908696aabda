"""`rotctl adopt` on the world that the guide starts from: the moves of its README.md, as they stand
there, under load, lead to the first rotation; its manifests are those of the guide in effect."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.cluster.client import read_manifests
from local.load import Load
from local.practice import guide
from local.practice.one_slot import BREAK_GLASS
from local.process import ROOT
from local.stack import APP
from rotctl.adopt.cleaning import cleaned
from tests.onboarding.test_guide import ADA, GRACE, MISSING, Reader, rotated
from tests.onboarding.worlds import WORLDS, Queue, Start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOVE = re.compile(r"^## \d+\. (?P<title>.+)$", re.MULTILINE)
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
# Answered by what is not here: Azure, or an app that is not deployed yet.
ELSEWHERE = ("rotctl ", "kubectl diff", "kubectl auth")


class Mover(Reader):
    """Somebody who follows the README.md of the folder, in it."""

    def without_rows(self, commands: str) -> int:
        return commands.count("3-level-group-check") + 2 * commands.count("6-level-check")


def moves(readme: str) -> Iterator[tuple[str, str, str]]:
    """Title, commands and check of each move."""
    parts = MOVE.split(readme)[1:]
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        do, _, rest = text.partition("**Check.**")
        check = rest.partition("**Way back.**")[0]
        yield title, "".join(BLOCK.findall(do)), "".join(BLOCK.findall(check))


def adopted(stack: Start, reader: Mover) -> Path:
    """The folder, written by the command with the administrator's own kubeconfig and login."""
    out, world = reader.folder / "made", stack.origin
    command = [
        *(sys.executable, "-m", "rotctl", "adopt", "--out", str(out)),
        *(*world.named, *world.options),
        *("--app-identity", APP.principal_id, "--break-glass", BREAK_GLASS, "--no-vault"),
        *("--database", "", "--credential", "orders-db", "--approver", ADA, "--approver", GRACE),
    ]
    done = subprocess.run(  # noqa: S603 - argv is written here
        command, capture_output=True, text=True, check=False, timeout=60, cwd=reader.folder,
        env={**reader._environment(), "PYTHONPATH": str(ROOT)},  # noqa: SLF001 - the reader's, for one more command
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(params=WORLDS, ids=str)
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    with Start(tmp_path / "stack", request.param) as stack:
        yield stack


@contextmanager
def under_load(stack: Start) -> Iterator[None]:
    """All that clients ask is answered; or each job is done, and none twice."""
    if not stack.urls:
        queue = Queue(stack)
        with queue.streaming():
            yield
        return queue.assert_each_done_once()
    with Load(stack.urls, rate=40) as load:
        yield
        report = load.stop()
    assert report.failed == 0, report.failures
    return None


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {MISSING}")
def test_the_moves_of_the_folder_lead_to_rotations_and_no_request_fails(
    stack: Start, tmp_path: Path
) -> None:
    reader = Mover(stack, tmp_path / "reader", set())
    out = adopted(stack, reader)
    reader.folder = out
    entry = stack.own_values((out / "credentials.yaml").read_text(encoding="utf-8"))
    (tmp_path / "credentials.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    stack.use(tmp_path / "credentials.yaml")
    synced = guide.Commands(f"kubectl apply -f git/{stack.origin.workload}.yaml")
    with under_load(stack):
        for title, do, check in moves((out / "README.md").read_text(encoding="utf-8")):
            if title == "The first rotation":
                break
            for commands in (do, check):
                lines = [] if _elsewhere(commands, do) else [commands]
                for each in lines:
                    reader.take(guide.Commands(each))
        reader.take(synced)  # by a tool
        stack.start_host()
        first = rotated(stack, _started(stack, GRACE), ADA)
        assert (first["outcome"], first["active"], first["standby"]) == (
            "completed", "blue", "green",
        ), first  # fmt: skip
        assert stack.logs_in("orders_green", "orders-db-green")
        reader.take(synced)
        second = rotated(stack, _started(stack, ADA), GRACE)
        assert (second["outcome"], second["standby"]) == ("completed", "blue"), second
        assert stack.logs_in("orders_app", "orders-db")


def _elsewhere(commands: str, do: str) -> bool:
    """What a check asks of somebody who is not here. What a move does is done."""
    return (
        not commands
        or (commands is not do and commands.startswith(ELSEWHERE))
        or (commands.startswith("rotctl check"))
    )


def _started(stack: Start, by: str) -> str:
    asked = stack.client.api("POST", "/rotations", {"credential": "orders-db", "by": by})
    return str(asked.json["rotation"])


def test_its_manifests_are_those_of_the_guide_in_effect(tmp_path: Path) -> None:
    """But for what the guide's own application has beside: how it rolls out, and a variable that
    tells it its slot."""
    start = tmp_path / "start.yaml"
    start.write_text(guide.file("start.yaml"), encoding="utf-8")
    command = [
        *(
            sys.executable,
            "-m",
            "rotctl",
            "adopt",
            "--deployment",
            "orders/api",
            "--from",
            str(start),
        ),
        *("--server", "https://aks.example", "--app-identity", APP.principal_id),
        *("--out", str(tmp_path / "made")),
    ]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=60)  # noqa: S603 - as above
    for slot in ("blue", "green"):
        text = (tmp_path / "made" / "kubernetes" / f"api-{slot}.yaml").read_text(encoding="utf-8")
        made = {_key(one): cleaned(one) for one in read_manifests(text)}
        wanted = {_key(one): _plain(one) for one in read_manifests(guide.file(f"{slot}.yaml"))}
        assert made == wanted
    text = (tmp_path / "made" / "kubernetes" / "rights.yaml").read_text(encoding="utf-8")
    role, _ = read_manifests(text)
    assert role["rules"] == read_manifests(guide.file("rights.yaml"))[0]["rules"]


def _key(obj: dict[str, Any]) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


def _plain(obj: dict[str, Any]) -> dict[str, Any]:
    found = cleaned(obj)
    if found["kind"] == "Deployment":
        del found["spec"]["strategy"]
        (container,) = found["spec"]["template"]["spec"]["containers"]
        container["env"] = [one for one in container["env"] if one["name"] != "SLOT"]
    return found
