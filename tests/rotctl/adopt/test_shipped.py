"""What is installed has the SQL and the manifests that names are filled into."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, get_args

import pytest

from local.process import ROOT
from rotation import formats
from rotation.model import world
from rotctl.adopt import plan, shipped
from tests.rotctl.adopt.shapes import FOLDER, IDENTITY, SERVER

if TYPE_CHECKING:
    from pathlib import Path


def test_a_clone_has_them_where_they_are_kept() -> None:
    kept = ROOT / "infra" / "database" / "adopt.sql"
    assert shipped.text("database/adopt.sql") == kept.read_text(encoding="utf-8")
    with pytest.raises(FileNotFoundError):
        shipped.text("database/nothing.sql")


def test_what_it_offers_is_what_the_app_knows() -> None:
    """The command line imports nothing of the app but its configuration."""
    assert get_args(formats.Format) == plan.FORMATS
    assert plan.SLOTS == world.SLOTS


def test_an_installed_one_writes_the_same_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True, timeout=100)  # noqa: S603 - argv is written here
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    made = {}
    for name, root in (("installed", tmp_path / "installed"), ("clone", ROOT)):
        out = tmp_path / f"made-by-{name}"
        command = [
            *(sys.executable, "-m", "rotctl", "adopt", "--deployment", "orders/api", "--json"),
            *("--from", str(FOLDER / "01-the-guide.yaml"), "--out", str(out)),
            *("--server", SERVER, "--app-identity", IDENTITY),
        ]
        done = subprocess.run(command, check=True, cwd=root, capture_output=True, timeout=60)  # noqa: S603 - as above
        written = json.loads(done.stdout)["written"]
        made[name] = {each: (out / each).read_text(encoding="utf-8") for each in written}
    assert made["installed"] == made["clone"]
    assert "database/2-adopt.sql" in made["installed"]
