"""The guides, step by step as they stand, under load: no request may fail.

Each command block is run by bash, at a terminal where it asks. `az` is a stand-in; `kubectl` and
`psql` are the real programs.
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
from rotation.model.errors import Conflict
from rotation.model.targets import SecretTarget
from tests.infra.test_kubernetes_schemas import check
from tests.onboarding.terminal import at_terminal, yes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

BASH = shutil.which("bash") or "bash"
MISSING = place.missing()
ADA, GRACE = "ada@contoso.example", "grace@contoso.example"


def asks(commands: str) -> bool:
    """Whether whoever runs these is asked something, or waited for."""
    return commands.startswith(("rotctl adopt --apply", "rotctl rehearse"))


def typed(commands: str, folder: Path | str) -> subprocess.Popen[bytes]:
    """What a person types: the password that the commands have made, twice."""
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

    def __init__(self, stack: OneSlot, folder: Path, stand_ins: Collection[str]) -> None:
        self.stack = stack
        self.folder = folder
        self.said = ""
        self.more: dict[str, str] = {}  # variables that the reader has set meanwhile
        self.answer = yes  # what is said to whatever asks
        place.lay(stack, folder, place.STAND_INS | set(stand_ins))
        self._path = f"{folder / 'bin'}:{os.environ['PATH']}"

    def take(self, step: guide.Commands) -> None:
        if step.text.startswith("export "):  # values of the reader's own
            return
        if "curl" in step.text:
            self.stack.start_host()
        if asks(step.text):
            self._talk(step.text)
        else:
            self._run(step.text)

    def _talk(self, commands: str) -> None:
        command = [BASH, "-euo", "pipefail", "-c", commands]
        code, said = at_terminal(command, self.folder, self._environment(), self.answer)
        assert code == 0, f"{commands}\n{said}"
        self.said = said

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
    look, _compare, start, reject, dry_run = guide.steps("operations.md")
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


def generation(stack: OneSlot) -> dict[str, int]:
    found = stack.owner.kubernetes_get("/apis/apps/v1/namespaces/orders/deployments")["items"]
    return {one["metadata"]["name"]: one["metadata"]["generation"] for one in found}


def assert_rehearsed(reader: Reader, rehearse: guide.Commands) -> None:
    """Before there are two slots, nothing that serves is touched, and no request fails."""
    before = generation(reader.stack)
    reader.take(rehearse)
    assert "8 connections were kept" in reader.said
    assert "requests, of which 0 failed" in reader.said
    assert generation(reader.stack) == before
    assert set(before) == {"api"}


def rotated_meanwhile(reader: Reader, last: guide.Commands) -> dict[str, Any]:
    """The last command waits for the first rotation, which somebody else approves meanwhile."""
    stack = reader.stack
    records: list[dict[str, Any]] = []

    def answer(said: str) -> str:
        if not records and "Is it done?" in said and "rotctl evidence" in said:
            (found,) = stack.client.api("GET", "/rotations").json["rotations"]
            records.append(rotated(stack, found["rotation"], ADA))
        return "y"

    reader.answer = answer
    reader.take(last)
    return records[0]


@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {MISSING}")
def test_a_single_slot_application_gets_two_slots_and_rotates(
    stack: OneSlot, tmp_path: Path
) -> None:
    reader = Reader(stack, tmp_path / "reader", place.STAND_INS)
    reader.more = place.variables(stack)
    _exports, adopt, rehearse, apply, last = guide.steps()
    with Load([stack.owner.service_url("orders", "api")], rate=40) as load:
        reader.take(adopt)
        assert_rehearsed(reader, rehearse)
        reader.take(apply)
        deployed(stack, reader.folder / place.FOLDER / "credentials.yaml", tmp_path)
        first = rotated_meanwhile(reader, last)
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
        drill(reader)
        by_hand(reader)
        report = load.stop()
    assert report.failed == 0, report.failures
    assert report.requests > 100


def deployed(stack: OneSlot, entry: Path, folder: Path) -> None:
    """The app, with the entry and this machine's addresses."""
    own = stack.own_values(entry.read_text(encoding="utf-8"))
    (folder / "credentials.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    stack.use(folder / "credentials.yaml")
    stack.start_host()


def test_what_the_guide_starts_from_fits_its_schemas() -> None:
    for obj in yaml.safe_load_all(guide.file("start.yaml")):
        check(obj)
