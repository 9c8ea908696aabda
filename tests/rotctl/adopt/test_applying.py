"""`rotctl adopt --apply` as it is typed: what it wants before it begins, and what it says."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from rotctl import applying
from rotctl.__main__ import main
from rotctl.adopt import folder, running, state, writing
from rotctl.adopt.moves import moves
from rotctl.adopt.running import Said
from rotctl.exits import Exit
from tests.rotctl.adopt.shapes import shape

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Typed = Callable[..., tuple[str, str]]

NAMES = tuple(one.name for one in moves(shape("the-guide").plan()))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    writing.write(tmp_path / "made", folder.files(shape("the-guide").plan()))
    return tmp_path / "made"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of moves that are done, in a world where each move's commands do what they should;
    all programs are there."""
    known: list[str] = []

    def run(_: object, script: str, heard: Callable[[str], None]) -> Said:
        name, part = script.removesuffix(".sh").partition("-")[2].split("/")
        if part == "check":
            return Said(0 if name in known else 1, ANSWERS.get(name, ""), ())
        heard(f"{part} of {name}")
        known.append(name)
        return Said(0, "", ())

    monkeypatch.setattr(running.Runner, "__call__", run)
    monkeypatch.setattr(running, "tools", lambda *_: [])
    monkeypatch.setattr(applying, "_same_cluster", lambda *_: None)
    return known


ANSWERS = {"acts-as-group": "1", "rotator": "rotator", "green-secret": "1"}


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    def run(*arguments: str, exits: Exit = Exit.DONE) -> tuple[str, str]:
        code = main(["adopt", *arguments])
        out, err = capsys.readouterr()
        assert code == exits, (out, err)
        return out, err

    return run


def test_all_moves_are_made_in_order_and_the_next_time_none(
    typed: Typed, made: Path, done: list[str]
) -> None:
    said, _ = typed("--apply", str(made), "--yes")
    assert done == list(NAMES)
    assert f"{len(NAMES)} moves are done" in said
    assert "By hand: Commit `git/*.yaml`" in said
    document = json.loads(typed("--apply", str(made), "--yes", "--json")[0])
    assert {one["fate"] for one in document["moves"]} == {"was done"}
    assert document["stopped"] is None
    assert done == list(NAMES)


def test_the_folder_may_be_written_again_afterwards(made: Path, done: list[str]) -> None:
    assert main(["adopt", "--apply", str(made), "--yes", "--until", "group"]) == Exit.DONE
    assert done == ["group"]
    (made / "former").mkdir()
    (made / "former" / "api.yaml").write_text("", encoding="utf-8")
    assert (made / state.FILE).exists()
    assert writing.write(made, folder.files(shape("the-guide").plan())) == []


def test_without_a_terminal_it_takes_a_word_that_all_are_meant(
    typed: Typed, made: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, err = typed("--apply", str(made), exits=Exit.USAGE)
    assert "nobody is at a terminal who could be asked before each move" in err
    assert not done
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it where it is closed
    typed("--apply", str(made), exits=Exit.USAGE)
    said, _ = typed("--apply", str(made), "--dry-run")
    assert f"0 moves are done, {len(NAMES)} would be made" in said
    assert not done


def test_at_a_terminal_each_is_asked_for_and_shown(
    typed: Typed, made: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["s", "y", "y", "b", "q"])
    monkeypatch.setattr("rotctl.applying.click.prompt", lambda *_, **__: next(answers))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    out, err = typed("--apply", str(made), exits=Exit.WAITING)
    assert done[:2] == ["group", "acts-as-group"]
    assert "psql -X -v ON_ERROR_STOP=1 --single-transaction -f database/2-adopt.sql" in out
    assert "moves/01-group/back.sh:" in out
    assert f"rotctl adopt --apply {made}" in err


def test_a_stop_is_a_document_for_programs(
    typed: Typed, made: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANSWERS, "acts-as-group", "0")
    monkeypatch.setattr("rotctl.adopt.carrying.PATIENCE", 0)
    out, _ = typed("--apply", str(made), "--yes", "--json", exits=Exit.STOPPED)
    document = json.loads(out)
    assert [one["move"] for one in document["moves"]] == ["group"]
    assert document["stopped"]["move"] == "acts-as-group"
    assert document["stopped"]["exit"] == 30


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--apply", "FOLDER", "--undo", "FOLDER", "--yes"), "--undo to one"),
        (("--apply", "FOLDER", "--deployment", "api", "--yes"), "a folder says itself"),
        (("--apply", "FOLDER", "--stateful-set", "api", "--yes"), "a folder says itself"),
        (("--deployment", "api", "--dry-run", "--yes"), "--dry-run, --yes would go with --apply"),
        (("--apply", "FOLDER", "--only", "group", "--until", "group"), "--only makes one move"),
        (("--apply", "FOLDER", "--context", "x", "--yes"), "by the current context"),
        (("--apply", "/nowhere", "--yes"), "/nowhere/moves.json cannot be read"),
        (("--apply", "FOLDER", "--yes", "--until", "x"), "there are: group, acts-as-group"),
    ],
)
def test_a_wrong_command_line_is_a_sentence(
    typed: Typed, made: Path, done: list[str], arguments: tuple[str, ...], said: str
) -> None:
    line = [str(made) if one == "FOLDER" else one for one in arguments]
    _, err = typed(*line, exits=Exit.USAGE)
    assert said in err
    assert not done


def test_all_that_is_missing_is_named_before_anything_is_done(
    typed: Typed, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "tools", lambda *_: ["psql", "az"])
    (made / "moves/02-acts-as-group/check.sh").unlink()
    _, err = typed("--apply", str(made), "--yes", exits=Exit.USAGE)
    assert "- the folder has no moves/02-acts-as-group/check.sh" in err
    assert "- there is no psql here" in err
    assert "- there is no az here" in err
    assert not (made / state.FILE).exists()


def test_what_a_release_of_helm_is_called_has_to_be_said(
    typed: Typed, tmp_path: Path, done: list[str]
) -> None:
    writing.write(tmp_path / "made", folder.files(shape("the-guide").plan("helm")))
    _, err = typed("--apply", str(tmp_path / "made"), "--yes", exits=Exit.USAGE)
    assert "- the variable RELEASE is not set (git)" in err
    assert not done
    typed("--apply", str(tmp_path / "made"), "--yes", "--until", "guard")


def test_another_cluster_than_the_folder_s_is_refused(
    typed: Typed, made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf https://other.example\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setattr(running, "tools", lambda *_: [])
    _, err = typed("--apply", str(made), "--yes", exits=Exit.USAGE)
    assert "is about the cluster at https://aks.example, and kubectl has https://other" in err
    assert not (made / state.FILE).exists()
