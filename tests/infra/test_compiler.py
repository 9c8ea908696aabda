"""The real compiler has nothing to say about the files, and predicts what the snapshots hold.

Without one (`MISSING` says how it is found) these are skipped: test_bicep.py parses the files.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.infra import check, compiler
from tests.infra.compiler import INFRA, MISSING, Compiler, as_text, kept, setups

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = compiler.find()
needs_compiler = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
UNUSED = "@description('Nobody reads it.')\nparam unused string\n"


@pytest.fixture
def compiles(tmp_path: Path) -> Compiler:
    assert PROGRAM is not None
    return Compiler(PROGRAM, tmp_path)


@needs_compiler
@pytest.mark.timeout(300)
def test_nothing_is_diagnosed_and_everything_is_formatted(compiles: Compiler) -> None:
    assert compiles.diagnostics() == []
    assert compiles.unformatted() == []


@needs_compiler
@pytest.mark.timeout(120)
@pytest.mark.parametrize("setup", setups(), ids=lambda setup: setup.name)
def test_a_deployment_would_make_what_its_snapshot_holds(
    compiles: Compiler, setup: compiler.Setup
) -> None:
    """`python -m tests.infra.check --write-snapshots` writes them anew."""
    assert as_text(compiles.snapshot(setup)) == kept(setup.name).read_text(encoding="utf-8")


@needs_compiler
@pytest.mark.timeout(120)
def test_what_exits_0_with_a_warning_fails(compiles: Compiler) -> None:
    path = compiles.work / "infra/modules/topic.bicep"
    path.write_text(path.read_text(encoding="utf-8") + UNUSED, encoding="utf-8")
    (compiles.work / "infra/bicepconfig.json").unlink()  # its level by default is a warning
    assert compiles.run("lint", str(path)).returncode == 0
    assert [line for line in compiles.diagnostics() if "Warning no-unused-params" in line]


@needs_compiler
@pytest.mark.timeout(120)
def test_a_file_that_is_not_formatted_is_found_and_left_alone(compiles: Compiler) -> None:
    path = compiles.work / "infra/main.bicepparam"
    before = path.read_text(encoding="utf-8").replace("param vaults = [", "param vaults =   [")
    path.write_text(before, encoding="utf-8")
    assert compiles.unformatted() == ["not formatted: infra/main.bicepparam"]
    assert path.read_text(encoding="utf-8") == before


@needs_compiler
@pytest.mark.timeout(120)
def test_a_parameter_file_that_does_not_fit_has_no_snapshot(compiles: Compiler) -> None:
    path = compiles.work / "infra/main.bicepparam"
    path.write_text(path.read_text(encoding="utf-8") + "\nparam wrong = 1\n", encoding="utf-8")
    (default,) = [setup for setup in setups() if setup.name == "default"]
    with pytest.raises(RuntimeError, match="BCP259"):
        compiles.snapshot(default)


def test_each_snapshot_is_of_a_set_up() -> None:
    assert {path.stem for path in compiler.SNAPSHOTS.glob("*.json")} == {
        setup.name for setup in setups()
    }


def test_a_compiler_that_is_named_and_not_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BICEP", "/nowhere/bicep")
    with pytest.raises(FileNotFoundError, match="/nowhere/bicep"):
        compiler.find()


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_it_is_found_by_name_then_on_path_then_where_the_azure_cli_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_azure_cli = program(tmp_path / "azure/bin/bicep", "")
    on_path = program(tmp_path / "bin/bicep", "")
    named = program(tmp_path / "named/bicep", "")
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path / "azure"))
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setenv("BICEP", str(named))
    assert compiler.find() == str(named)
    monkeypatch.delenv("BICEP")
    assert compiler.find() == str(on_path)
    monkeypatch.setenv("PATH", "")
    assert compiler.find() == str(by_azure_cli)
    shutil.rmtree(by_azure_cli.parent)
    assert compiler.find() is None


def test_one_that_fails_and_says_nothing_is_a_problem(tmp_path: Path) -> None:
    silent = program(tmp_path / "silent", "exit 3")
    (tmp_path / "work").mkdir()
    problems = check.compiled(str(silent), tmp_path / "work", write=False)
    assert problems
    assert "ended with 3 and said nothing" in problems[0]


def test_a_rule_that_is_off_says_why() -> None:
    lines = (INFRA / "bicepconfig.json").read_text(encoding="utf-8").splitlines()
    off = [number for number, line in enumerate(lines) if '"level": "off"' in line]
    assert off
    for number in off:
        assert re.match(r" +// \w", lines[number - 1]), lines[number]
