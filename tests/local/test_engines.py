"""The switch between the engines, and what it says where Microsoft's cannot run."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from local import demo, engines
from local.durable import parts
from local.process import ROOT, StartError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (parts.BINARY, parts.AZURITE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(parts, "INSTALLED", tmp_path / "azurite")


@pytest.mark.usefixtures("nothing_here")
def test_both_programs_that_are_missing_are_named_with_what_to_do() -> None:
    with pytest.raises(StartError) as caught:
        engines.demand("azure")
    said = str(caught.value)
    assert said.startswith("the engine `azure` cannot run here: DURABLE_HOST names no program")
    assert "`dotnet publish local/durable/src`" in said
    assert "`make azurite` installs it with npm" in said
    engines.demand("local")


@pytest.mark.usefixtures("nothing_here")
def test_a_named_program_that_is_not_there_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    monkeypatch.setenv(parts.BINARY, str(program))
    assert len(parts.missing()) == 2
    program.touch(mode=0o700)
    assert len(parts.missing()) == 1
    monkeypatch.setenv(parts.AZURITE, str(program))
    assert parts.missing() == []
    assert parts.demand() == (program, program)


def test_an_engine_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(StartError, match="LOCAL_ENGINE is 'azurr': use one of local, azure"):
        engines.demand("azurr")


def test_the_environment_chooses_and_the_option_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(engines.SWITCH, raising=False)
    assert demo.arguments([]).engine == "local"
    monkeypatch.setenv(engines.SWITCH, "azure")
    assert demo.arguments([]).engine == "azure"
    assert demo.arguments(["--engine", "local"]).engine == "local"


def test_the_demo_says_so_at_once_and_fails() -> None:
    """Before anything is started."""
    lacking = {parts.BINARY: "/nowhere", parts.AZURITE: "/nowhere"}
    ran = subprocess.run(
        [sys.executable, "-m", "local.demo", "--engine", "azure", "--yes"],
        cwd=ROOT,
        env={**os.environ, **lacking},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert "the engine `azure` cannot run here" in ran.stderr
    assert "starting" not in ran.stdout
