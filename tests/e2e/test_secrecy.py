"""Whole rotations, and then a search for their passwords in all that is written or shown."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from local import proof, world
from local.process import wait_until
from local.stack import Options, Stack
from rotation.formats import Shape, read
from rotation.secrecy import Secret
from tests.canary import stored
from tests.conftest import QUICK
from tests.e2e.test_rotation import active, announced, ended, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# Where a password belongs: the vault, and the cluster's Secrets with what pods mount of them.
BELONGS = ("keyvault/vault.db", "cluster/cluster.db", "cluster/pods/")
VARIABLES = {"password": "DATABASE_PASSWORD", "url": "DATABASE_URL", "json": "DATABASE_JSON"}


class Processes:
    """Arguments and environment of every process below this one, seen while it ran."""

    def __init__(self) -> None:
        self.arguments: dict[tuple[int, float], str] = {}
        self.environments: dict[tuple[int, float], dict[str, str]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stopping.wait(0.1):
            self.look()

    def look(self) -> None:
        for process in psutil.Process().children(recursive=True):
            try:
                key = (process.pid, process.create_time())
                # Read each time: a process starts with its parent's and then becomes another one.
                self.arguments[key] = " ".join(process.cmdline()) or self.arguments.get(key, "")
                self.environments[key] = process.environ() or self.environments.get(key, {})
            except psutil.Error:  # it has ended
                continue

    def __enter__(self) -> Processes:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._thread.join()
        self.look()

    def found(self, needles: list[bytes]) -> Iterator[str]:
        for key, arguments in self.arguments.items():
            if holds(arguments.encode(), needles):
                yield f"arguments of process {key[0]}"
        for key, environment in self.environments.items():
            for name, value in environment.items():
                if holds(value.encode(errors="replace"), needles):
                    yield f"{environment.get('WORKLOAD', self.arguments[key])}: variable {name}"


def holds(content: bytes, needles: list[bytes]) -> bool:
    return any(needle in content for needle in needles)


def needles_of(stack: Stack) -> list[bytes]:
    """Of every version of every secret, disabled ones included, in every encoding."""
    shape = stack.options.credential["format"]
    values = stored(stack.directory / "keyvault" / "vault.db")
    passwords = [
        Secret(value) if len(value) == 40 else read(Shape(shape), Secret(value), "stored").password
        for value in values
    ]
    assert len(passwords) >= 2  # the rotator's and the first slot's
    return [form for password in passwords for form in proof.encodings(password)]


def places(stack: Stack, needles: list[bytes]) -> list[str]:
    """Files and answers that hold one of them and should not."""
    found = []
    for path in sorted(stack.directory.rglob("*")):
        name = path.relative_to(stack.directory).as_posix()
        if path.is_file() and not name.startswith(BELONGS) and holds(content(path), needles):
            found.append(name)
    if any(holds(answer, needles) for answer in stack.client.answers):
        found.append("an answer")
    return found


def content(path: Path) -> bytes:
    """Empty if it is gone by now: PostgreSQL and SQLite make files and remove them."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


@pytest.fixture(
    scope="module",
    params=[
        "password",
        *(pytest.param(shape, marks=pytest.mark.long) for shape in ("url", "json")),
    ],
)
def secret_stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """PostgreSQL logs every statement with its parameters."""
    shape = request.param
    options = Options(replicas=1, watch_seconds=2, credential={**QUICK, "format": shape})
    directory = tmp_path_factory.mktemp(f"secrecy-{shape}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "manifests", reading(world.manifests, VARIABLES[shape]))
        with Stack(directory, options) as stack:
            stack.owner.sql("ALTER SYSTEM SET log_statement = 'all'")
            stack.owner.sql("ALTER SYSTEM SET log_min_duration_statement = 0")
            stack.owner.sql("SELECT pg_reload_conf()")
            yield stack


def reading(manifests: Any, variable: str) -> Any:
    """The same manifests, whose containers take the secret's value from another variable."""

    def changed(*args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
        for manifest in manifests(*args, **kwargs):
            if manifest["kind"] == "Deployment":
                for entry in manifest["spec"]["template"]["spec"]["containers"][0]["env"]:
                    entry["name"] = entry["name"].replace("DATABASE_PASSWORD", variable)
            yield manifest

    return changed


def ask_everything(stack: Stack, rotation: str) -> None:
    """Every way to be told about a rotation; `stack` keeps the answers."""
    pages = [f"/rotations/{rotation}/evidence", "/credentials", "/health", "/pages"]
    for path in (*pages, f"/pages/rotations/{rotation}", "/rotations/unknown"):
        stack.client.api("GET", path)
    key = f"code={stack.keys['system']}"
    shown = "showInput=true&showHistory=true&showHistoryOutput=true"
    base = "/runtime/webhooks/durabletask/instances"
    for instance in (rotation, world.CREDENTIAL, f"{rotation}.prepare.api"):
        assert stack.client.request("GET", f"{base}/{instance}?{shown}&{key}").status in {
            200,
            202,
            404,
        }
    assert stack.client.request("GET", f"{base}?{shown}&{key}").status == 200


@pytest.mark.guarantee(3)
def test_no_password_is_written_logged_answered_published_or_passed(secret_stack: Stack) -> None:
    stack = secret_stack
    with Processes() as processes:
        for decision, outcome in (("approve", "completed"), ("reject", "rolled-back")):
            rotation = announced(stack, active(stack))
            record = stack.client.follow(rotation, waiting)
            assert record["outcome"] is None, record["outcomeReason"]
            ask_everything(stack, rotation)
            assert stack.client.decide(rotation, decision).status == 200
            assert ended(stack, rotation)["outcome"] == outcome
            ask_everything(stack, rotation)
        wait_until(lambda: all_published(stack), 30, "the events being published")
    stack.owner.sql("CHECKPOINT")
    needles = needles_of(stack)
    assert places(stack, needles) == []
    allowed = f"orders-web: variable {VARIABLES[stack.options.credential['format']]}"
    assert set(processes.found(needles)) == {allowed}  # and there it must have been


def all_published(stack: Stack) -> bool:
    """Nothing is on its way any more that could still be written somewhere."""
    key = f"code={stack.keys['system']}"
    running = "runtimeStatus=Running,Pending"
    answer = stack.client.request("GET", f"/runtime/webhooks/durabletask/instances?{running}&{key}")
    return bool(answer.json == [])


@pytest.mark.shows_passwords("to have something to find")
class TestTheSearchFinds:
    """What is planted; a search that finds nothing proves nothing without this."""

    @pytest.mark.guarantee(3)
    @pytest.mark.parametrize("number", range(7))
    @pytest.mark.parametrize("name", ["logs/host.log", "journal.db-wal", "topic/topic.db-wal", "x"])
    def test_a_file(self, tmp_path: Path, name: str, number: int) -> None:
        stack, form = planted(tmp_path, number)
        assert places(stack, [form]) == []
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'{"a": "' + form + b'"}')
        assert places(stack, [form]) == [name]

    @pytest.mark.guarantee(3)
    def test_an_answer(self, tmp_path: Path) -> None:
        stack, form = planted(tmp_path, 0)
        stack.client.answers.append(b"x" + form + b"y")
        assert places(stack, [form]) == ["an answer"]

    @pytest.mark.guarantee(3)
    def test_an_argument_and_a_variable_of_a_process(self, tmp_path: Path) -> None:
        _, form = planted(tmp_path, 0)
        argv = [sys.executable, "-c", "input()", form.decode()]
        environment = {"WORKLOAD": "planted", "PGPASSWORD": form.decode()}
        with (
            Processes() as processes,
            subprocess.Popen(argv, stdin=subprocess.PIPE, env=environment) as process,  # noqa: S603 - ours
        ):
            wait_until(lambda: list(processes.found([form])), 10, "the search finding anything")
            process.communicate(b"\n")
        found = Counter(processes.found([form]))
        assert found == {
            f"arguments of process {process.pid}": 1,
            "planted: variable PGPASSWORD": 1,
        }


def planted(directory: Path, number: int) -> tuple[Stack, bytes]:
    """A stack that was never started, and one form of a password of no one."""
    value = Secret("aB3" * 13 + "x")
    return Stack(directory), list(proof.encodings(value))[number]
