"""The guides, step by step as they stand, under load: no request may fail.

Each command block is run by bash. `az` is a stand-in always; `kubectl` and `psql` are the real
programs where the machine has them, and in a second run stand-ins too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml

from local.load import Load
from local.practice import guide, place
from local.practice.one_slot import OneSlot
from local.process import ROOT
from rotation import config
from rotation.model.errors import Conflict
from rotation.model.targets import SecretTarget
from tests.infra.test_kubernetes_schemas import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASH = shutil.which("bash") or "bash"
REAL = {"kubectl", "psql"}
MISSING = sorted(name for name in REAL if shutil.which(name) is None)
ADA, GRACE = "ada@contoso.example", "grace@contoso.example"


def typed(commands: str, folder: Path | str) -> subprocess.Popen[bytes]:
    """What a person types: the password that the guide has made, twice."""
    made = re.search(r"\w+\.password", commands)
    typing = "true"
    if made and "\\password" in commands:
        typing = f"until [ -s {made[0]} ]; do sleep 0.1; done; "
        typing += f"for i in 1 2; do cat {made[0]}; echo; done"
    return subprocess.Popen(  # noqa: S603 - the text is this function's own
        [BASH, "-c", typing], stdout=subprocess.PIPE, cwd=folder
    )


class Reader:
    """Somebody who follows the guide in a directory of their own."""

    def __init__(self, stack: OneSlot, folder: Path, stand_ins: set[str]) -> None:
        self.stack = stack
        self.folder = folder
        self.said = ""
        self.more: dict[str, str] = {}  # variables that the reader has set meanwhile
        place.lay(stack, folder, {"az", *stand_ins})
        self._path = f"{folder / 'bin'}:{os.environ['PATH']}"

    def take(self, step: guide.File | guide.Commands) -> None:
        if isinstance(step, guide.File):
            self._write(step)
        elif not step.text.startswith("export "):  # values of the reader's own
            if "curl" in step.text:
                self.stack.start_host()
            self._run(step.text)

    def _write(self, file: guide.File) -> None:
        (self.folder / file.name).write_text(place.text(self.stack, file), encoding="utf-8")
        if file.name == "credentials.yaml":
            self.stack.use(self.folder / file.name)

    def _run(self, commands: str) -> None:
        with typed(commands, self.folder) as stdin:
            ended = subprocess.run(  # noqa: S603 - the guide's own commands
                [BASH, "-euo", "pipefail", "-c", commands],
                check=False,
                capture_output=True,
                text=True,
                timeout=120,
                cwd=self.folder,
                stdin=stdin.stdout,
                env=self._environment(),
                start_new_session=True,  # without a terminal, psql asks on standard input
            )
        said = f"{ended.stdout}{ended.stderr}"
        assert ended.returncode == 0, f"{commands}\n{said}"
        assert ended.stdout.count("(0 rows)") == self.without_rows(commands), said
        self.said = ended.stdout

    def without_rows(self, commands: str) -> int:
        """How many answers of these commands must be empty."""
        return commands.count("parity.sql")

    @property
    def rotation(self) -> str:
        """The one that the last commands have started."""
        return str(re.findall(r'"rotation": "([^"]+)"', self.said)[-1])

    def _environment(self) -> dict[str, str]:
        return {
            **self.stack.variables(),
            **self.more,
            "PATH": self._path,
            "HOME": str(self.folder),
        }


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[OneSlot]:
    with OneSlot(tmp_path / "stack") as stack:
        yield stack


def rotated(stack: OneSlot, rotation: str, by: str) -> dict[str, Any]:
    stack.client.follow(rotation, lambda r: r["outcome"] or (r["approval"] or {}).get("event"))
    assert stack.client.decide(rotation, "approve", by).status == 200
    return stack.client.follow(rotation, lambda record: record["outcome"])


def logs_in(stack: OneSlot, role: str, secret: str) -> bool:
    current = stack.owner.vault.current(SecretTarget(secret))
    assert current is not None
    try:
        password = stack.owner.vault.value(SecretTarget(secret, current.version))
        with psycopg.connect(stack.provisioner.as_role(role, password)):
            return True
    except (Conflict, psycopg.OperationalError):  # disabled, refused
        return False


def drill(reader: Reader) -> None:
    """The commands of docs/operations.md: look, try, start, reject."""
    stack = reader.stack
    look, _compare, start, reject, dry_run = [
        step for step in guide.steps("operations.md") if isinstance(step, guide.Commands)
    ]
    reader.take(look)
    reader.take(dry_run)
    reader.take(start)
    rotation = reader.rotation
    stack.client.follow(rotation, lambda r: r["outcome"] or (r["approval"] or {}).get("event"))
    reader.more["ROTATION"] = rotation
    reader.take(reject)
    record = stack.client.follow(rotation, lambda record: record["outcome"])
    assert (record["outcome"], record["active"]) == ("rolled-back", "blue")


def assert_guarded(reader: Reader) -> None:
    """Not even the cluster's administrator moves a slot without the group for emergencies."""
    body = json.dumps({"spec": {"selector": {"slot": "green"}}})
    patch = f"kubectl -n orders patch service api --type=merge -p '{body}'"
    with pytest.raises(AssertionError, match="selector belongs to credential rotation"):
        reader.take(guide.Commands(patch))


def by_hand(reader: Reader) -> None:
    """The commands of docs/recovery.md, from blue to green; then the app rotates from there."""
    stack = reader.stack
    steps = list(guide.steps("recovery.md", "## By hand"))
    assert len(steps) == 7  # to look, and six to rotate
    glass = stack.in_break_glass()
    assert_guarded(reader)
    reader.more["KUBECONFIG"] = str(glass)
    for step in steps:
        reader.take(step)
    assert logs_in(stack, "orders_green", "orders-db-green")
    assert not logs_in(stack, "orders_app", "orders-db")
    asked = stack.client.api("POST", "/rotations", {"credential": "orders-db", "by": ADA})
    record = rotated(stack, asked.json["rotation"], GRACE)
    assert (record["outcome"], record["standby"]) == ("completed", "blue")
    assert logs_in(stack, "orders_app", "orders-db")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "stand_ins",
    [
        pytest.param(
            set(),
            id="kubectl-and-psql",
            marks=[
                pytest.mark.long,
                pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {MISSING}"),
            ],
        ),
        pytest.param(REAL, id="stand-ins", marks=pytest.mark.long),
    ],
)
def test_a_single_slot_application_gets_two_slots_and_rotates(
    stack: OneSlot, tmp_path: Path, stand_ins: set[str]
) -> None:
    reader = Reader(stack, tmp_path / "reader", stand_ins)
    with Load([stack.owner.service_url("orders", "api")], rate=40) as load:
        for step in guide.steps():
            reader.take(step)
        first = rotated(stack, reader.rotation, ADA)
        assert (first["outcome"], first["active"], first["standby"]) == (
            "completed", "blue", "green",
        )  # fmt: skip
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(stack.provisioner.as_role("orders_app", stack.provisioner.first))
        assert logs_in(stack, "orders_green", "orders-db-green")
        # And back, so that what became of the first login is proved as well.
        asked = stack.client.api("POST", "/rotations", {"credential": "orders-db", "by": ADA})
        second = rotated(stack, asked.json["rotation"], GRACE)
        assert (second["outcome"], second["standby"]) == ("completed", "blue")
        assert logs_in(stack, "orders_app", "orders-db")
        if not stand_ins:
            drill(reader)
            by_hand(reader)
        report = load.stop()
    assert report.failed == 0, report.failures
    assert report.requests > 100


@pytest.mark.parametrize("step", [s for s in guide.steps() if isinstance(s, guide.File)], ids=str)
def test_its_manifests_fit_their_schemas(step: guide.File) -> None:
    for obj in yaml.safe_load_all(step.text):
        if "kind" in obj:
            check(obj)


def test_the_configuration_of_the_guide_is_valid() -> None:
    found = config.parse(guide.file("credentials.yaml"))
    assert list(found.credentials) == ["orders-db"]


def test_the_rights_of_the_guide_are_the_rights_that_were_proved() -> None:
    """tests/infra/test_rbac.py proves infra/kubernetes/rbac.yaml."""
    own = list(yaml.safe_load_all(guide.file("rights.yaml")))
    text = (ROOT / "infra" / "kubernetes" / "rbac.yaml").read_text(encoding="utf-8")
    proved = [o for o in yaml.safe_load_all(text) if o["metadata"]["namespace"] == "orders"]
    assert own == proved
