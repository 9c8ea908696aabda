"""`rotctl adopt` on the worlds that adoptions start from: the moves of its folder, made by the
command under load, lead to the first rotation, and back to one slot; in the guide's own world the
manifests are those of the guide in effect."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml

from local.cluster.client import read_manifests
from local.load import Load
from local.practice import guide
from local.practice.one_slot import BREAK_GLASS
from local.process import ROOT
from local.stack import APP
from rotctl.adopt.cleaning import cleaned
from rotctl.exits import Exit
from tests.onboarding.test_guide import ADA, GRACE, MISSING, Reader, rotated
from tests.onboarding.worlds import WORLDS, Queue, Start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Mover(Reader):
    """Somebody at the same machine, with the same rights, who has the command make the moves."""

    def __init__(self, stack: Start, folder: Path) -> None:
        super().__init__(stack, folder, {"az"})
        self.synced = guide.Commands(f"kubectl apply -f made/git/{stack.origin.workload}.yaml")
        self.heard = ""
        self.app = {
            "ROTCTL_URL": stack.variables()["APP_URL"],
            "ROTCTL_KEY": stack.keys["function"],
            "ROTCTL_BY": GRACE,
        }

    def rotctl(self, *arguments: str, exits: Exit = Exit.DONE) -> str:
        done = subprocess.run(  # noqa: S603 - argv is written here
            [sys.executable, "-m", "rotctl", *arguments],
            capture_output=True, text=True, check=False, timeout=300, cwd=self.folder,
            env={**self._environment(), **self.app, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        said = f"{done.stdout}\n{done.stderr}"
        assert done.returncode == exits, said
        self.heard += said
        return said

    def apply(self, *more: str, exits: Exit = Exit.DONE) -> str:
        return self.rotctl("adopt", "--apply", "made", "--yes", *more, exits=exits)

    def undo(self, exits: Exit = Exit.DONE) -> str:
        return self.rotctl("adopt", "--undo", "made", "--yes", "--last", exits=exits)

    @property
    def waiting(self) -> str:
        """The rotation that is under way."""
        listed = json.loads(self.rotctl("list", "--rotations", "--json").rpartition("}")[0] + "}")[
            "rotations"
        ]
        (found,) = [one["rotation"] for one in listed if one["outcome"] is None]
        return str(found)


def adopted(stack: Start, reader: Mover) -> Path:
    """The folder, written by the command with the administrator's own kubeconfig and login."""
    reader.rotctl(
        *("adopt", *stack.origin.named, *stack.origin.options, "--credential", "orders-db"),
        *("--out", "made", "--no-vault", "--database", ""),
        *("--app-identity", APP.principal_id, "--break-glass", BREAK_GLASS),
        *("--approver", ADA, "--approver", GRACE),
    )
    return reader.folder / "made"


@pytest.fixture
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    with Start(tmp_path / "stack", getattr(request, "param", WORLDS[0])) as stack:
        yield stack


@contextmanager
def under_load(stack: Start) -> Iterator[None]:
    """All that clients ask is answered; or each job is done, and none twice."""
    if stack.origin.works:
        queue = Queue(stack)
        with queue.streaming():
            yield
        queue.assert_each_done_once()
        return
    with Load(stack.urls, rate=40) as load:
        yield
        report = load.stop()
    assert report.failed == 0, report.failures


def by_long_runs(test: Any) -> Any:
    for mark in (
        pytest.mark.long,
        pytest.mark.timeout(500),
        pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {MISSING}"),
    ):
        test = mark(test)
    return test


@by_long_runs
def test_the_moves_lead_to_rotations_and_back_and_no_request_fails(
    stack: Start, tmp_path: Path
) -> None:
    reader = Mover(stack, tmp_path / "reader")
    before = world(stack)
    deployed(stack, adopted(stack, reader), tmp_path / "credentials.yaml")
    with under_load(stack):
        reader.apply("--until", "guard")
        stack.start_host()
        assert "first-rotation: somebody has something to do" in reader.apply(exits=Exit.WAITING)
        # Under way: neither is there a way back to begin, nor another rotation to start.
        assert "blue-serves" in reader.undo(exits=Exit.WAITING)
        first = rotated(stack, reader.waiting, ADA)
        assert (first["outcome"], first["active"], first["standby"]) == (
            "completed", "blue", "green",
        ), first  # fmt: skip
        reader.apply()
        assert stack.logs_in("orders_green", "orders-db-green")
        reader.take(reader.synced)  # by a tool
        # Green serves: the way back begins with one more rotation.
        assert "blue-serves" in reader.undo(exits=Exit.WAITING)
        second = rotated(stack, reader.waiting, ADA)
        assert (second["outcome"], second["standby"]) == ("completed", "blue"), second
        # A release comes, by both slots' manifests.
        reader.take(guide.Commands("kubectl -n orders set env deployment/api-blue RELEASE=2"))
        told = reader.undo(exits=Exit.WAITING)
        assert "told: somebody has something to do" in told
        without(stack, tmp_path / "credentials.yaml")
        reader.undo()
    after = world(stack)
    (container,) = after["deployments"]["api"]["template"]["spec"]["containers"]
    assert {"name": "RELEASE", "value": "2"} in container["env"]
    container["env"].remove({"name": "RELEASE", "value": "2"})
    assert after == before
    assert stack.logs_in("orders_app", "orders-db")
    assert_without_secrets(stack, reader)


@by_long_runs
@pytest.mark.parametrize("stack", WORLDS[1:], ids=str, indirect=True)
def test_every_kind_is_led_to_rotations_and_back(stack: Start, tmp_path: Path) -> None:
    reader = Mover(stack, tmp_path / "reader")
    before = world(stack)
    deployed(stack, adopted(stack, reader), tmp_path / "credentials.yaml")
    with under_load(stack):
        reader.apply("--until", "guard")
        stack.start_host()
        reader.apply(exits=Exit.WAITING)
        first = rotated(stack, reader.waiting, ADA)
        assert (first["outcome"], first["standby"]) == ("completed", "green"), first
        reader.apply()
        assert stack.logs_in("orders_green", "orders-db-green")
        reader.take(reader.synced)
        reader.rotctl("start", "orders-db", "--reason", "back to blue")
        second = rotated(stack, reader.waiting, ADA)
        assert (second["outcome"], second["standby"]) == ("completed", "blue"), second
        assert stack.logs_in("orders_app", "orders-db")
        assert "told: somebody has something to do" in reader.undo(exits=Exit.WAITING)
        without(stack, tmp_path / "credentials.yaml")
        reader.undo()
    assert world(stack) == before
    assert stack.logs_in("orders_app", "orders-db")
    assert_without_secrets(stack, reader)


BY_NAME = {one.name: one for one in WORLDS}
# Each move that a host has nothing to do with, and those of other kinds that have another way back.
# After `rights` the app is asked.
STOPS = {
    "the-guide": (
        *("group", "acts-as-group", "green-role", "rotator", "green-secret", "api-blue"),
        *("api-traffic", "api-old-pods", "api-green", "guard"),
    ),
    "in-place": ("ledger-login", "ledger-reads-it"),
    "by-a-gateway": ("api-traffic",),
}


@by_long_runs
@pytest.mark.parametrize(
    ("stack", "stop"),
    [
        pytest.param(BY_NAME[name], stop, id=f"{name}-{stop}")
        for name, stops in STOPS.items()
        for stop in stops
    ],
    indirect=["stack"],
)
def test_what_was_adopted_half_way_is_led_back_and_no_request_fails(
    stack: Start, tmp_path: Path, stop: str
) -> None:
    reader = Mover(stack, tmp_path / "reader")
    before = world(stack)
    deployed(stack, adopted(stack, reader), tmp_path / "credentials.yaml")
    with under_load(stack):
        reader.apply("--until", stop)
        if stop == "guard":
            stack.start_host()
        else:
            del reader.app["ROTCTL_URL"]
        told = reader.undo(exits=Exit.WAITING if stop == "guard" else Exit.DONE)
        assert ("told: somebody has something to do" in told) == (stop == "guard")
    assert world(stack) == before
    assert_without_secrets(stack, reader)


KINDS = (
    *("deployments", "statefulsets", "services", "secrets", "poddisruptionbudgets"),
    *("secretproviderclasses", "httproutes"),
)
LOGINS = "SELECT rolname FROM pg_roles WHERE rolcanlogin ORDER BY 1"
OWNERS = (
    "SELECT relname, relowner::regrole::text FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
)
SETTINGS = "SELECT setrole::regrole::text, setconfig FROM pg_db_role_setting"


def world(stack: Start) -> dict[str, Any]:
    """What the team had, wherever we have put something."""
    made: dict[str, Any] = {}
    for kind in (*KINDS, "roles", "rolebindings"):
        found = json.loads(kubectl(stack, "-n", "orders", "get", kind, "-o", "json"))["items"]
        made[kind] = {one["metadata"]["name"]: cleaned(one).get("spec") for one in found}
    spaces = json.loads(kubectl(stack, "get", "namespaces", "-o", "json"))["items"]
    made["namespaces"] = {one["metadata"]["name"]: one["metadata"].get("labels") for one in spaces}
    policies = kubectl(stack, "get", "validatingadmissionpolicies", "-o", "name")
    made["policies"] = policies.split()
    with psycopg.connect(stack.owner.dsn("orders")) as superuser:
        for name, query in (("logins", LOGINS), ("owners", OWNERS), ("settings", SETTINGS)):
            made[name] = superuser.execute(query.encode()).fetchall()
    return made


def kubectl(stack: Start, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - argv is written here
        [shutil.which("kubectl") or "kubectl", *arguments],
        capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "KUBECONFIG": stack.variables()["KUBECONFIG"]},
    )  # fmt: skip
    return done.stdout


def assert_without_secrets(stack: Start, reader: Mover) -> None:
    """No password in what was said, nor in a file of the folder."""
    folder = reader.folder / "made"
    every = reader.heard + "".join(
        path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()
    )
    for secret in (stack.provisioner.first, stack.admin_password):
        assert secret.reveal() not in every
    assert not {"live.value", "rotator.password"} & {path.name for path in folder.iterdir()}


def without(stack: Start, configuration: Path) -> None:
    """The app is deployed without the entry: with another one, since it wants one."""
    entry = yaml.safe_load(configuration.read_text(encoding="utf-8"))
    entry["credentials"] = {"other-db": entry["credentials"]["orders-db"]}
    configuration.write_text(yaml.safe_dump(entry), encoding="utf-8")
    stack.components["host"].stop()
    stack.components["host"].start()


def deployed(stack: Start, out: Path, to: Path) -> None:
    """The app with the folder's entry, with this machine's addresses."""
    entry = stack.own_values((out / "credentials.yaml").read_text(encoding="utf-8"))
    to.write_text(yaml.safe_dump(entry), encoding="utf-8")
    stack.use(to)


EXPECTED = ROOT / "tests" / "onboarding" / "expected"


def test_its_manifests_are_those_of_the_guide_in_effect(tmp_path: Path) -> None:
    """But for how a slot rolls out there, and for a variable that tells it its slot."""
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
        text = (EXPECTED / f"{slot}.yaml").read_text(encoding="utf-8")
        wanted = {_key(one): _plain(one) for one in read_manifests(text)}
        assert made == wanted
    text = (tmp_path / "made" / "kubernetes" / "rights.yaml").read_text(encoding="utf-8")
    role, _ = read_manifests(text)
    text = (ROOT / "infra" / "kubernetes" / "rbac.yaml").read_text(encoding="utf-8")
    assert role["rules"] == read_manifests(text)[0]["rules"]


def _key(obj: dict[str, Any]) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


def _plain(obj: dict[str, Any]) -> dict[str, Any]:
    found = cleaned(obj)
    if found["kind"] == "Deployment":
        del found["spec"]["strategy"]
        (container,) = found["spec"]["template"]["spec"]["containers"]
        container["env"] = [one for one in container["env"] if one["name"] != "SLOT"]
    return found
