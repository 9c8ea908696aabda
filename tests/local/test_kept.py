"""What a stack keeps in its directory, and what is refused before anything starts."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from local import demo, up
from local.process import ROOT, StartError
from local.stack.kept import FILE, Kept, known, refuse
from rotation import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = {"function": "f", "master": "m", "system": "s", "admin": "a"}


def claim(directory: Path, world: str = "two slots", engine: str = "local") -> Kept:
    return Kept.claim(directory, world, engine, dict(KEYS))


def started(directory: Path) -> Kept:
    """As a stack that ran and ended."""
    kept = claim(directory)
    kept.port("host")
    kept.facts.ready = True
    kept.save()
    kept.release()
    return kept


def test_a_second_start_has_the_keys_and_ports_of_the_first(tmp_path: Path) -> None:
    first = started(tmp_path / "d")
    second = Kept.claim(tmp_path / "d", "two slots", "local", {"function": "another"})
    assert second.facts.keys == KEYS
    assert second.facts.ready
    assert second.port("host") == first.facts.ports["host"]
    assert second.moved == []
    assert (tmp_path / "d" / FILE).stat().st_mode & 0o777 == 0o600  # it has the keys
    second.release()


def test_a_port_that_somebody_else_took_is_another_one_and_that_is_told(tmp_path: Path) -> None:
    before = started(tmp_path / "d").facts.ports["host"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", before))
        taken.listen()
        kept = claim(tmp_path / "d")
        kept.patience = 0
        now = kept.port("host")
        assert now != before
        assert kept.port("host") == now  # asked again in the same run, it is the same one
        (moved,) = kept.moved
        assert str(moved).startswith(f"port {before} of host is taken by another program")
        kept.release()
    assert known(tmp_path / "d").ports["host"] == now  # type: ignore[union-attr]


def test_a_port_of_its_own_that_listens_by_now_is_not_taken_for_somebody_elses(
    tmp_path: Path,
) -> None:
    kept = claim(tmp_path / "d")
    port = kept.port("host")
    with socket.socket() as own:
        own.bind(("127.0.0.1", port))
        own.listen()
        assert kept.port("host") == port
    kept.release()


def test_a_directory_in_use_is_refused_for_as_long_as_it_is(tmp_path: Path) -> None:
    started(tmp_path / "d")
    holding = (
        "import sys, pathlib; from local.stack.kept import Kept; "
        "kept = Kept.claim(pathlib.Path(sys.argv[1]), 'two slots', 'local', {}); "
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: S603 - our own arguments
        [sys.executable, "-c", holding, str(tmp_path / "d")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        text = rf"d is in use by a stack that runs \(process {process.pid}\): end that one first"
        with pytest.raises(StartError, match=text):
            claim(tmp_path / "d")
        process.kill()
    claim(tmp_path / "d").release()


def changed(directory: Path, **facts: object) -> None:
    path = directory / FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: changed(d, version="0.0.1"), f"of version '0.0.1', this is '{__version__}'"),
        (lambda d: changed(d, world="one slot"), "of world 'one slot', this is 'two slots'"),
        (lambda d: changed(d, engine="azure"), "of engine 'azure', this is 'local'"),
        (lambda d: changed(d, ready=False), "whose first start was cut off"),
        (lambda d: changed(d, more=1), "stack.json cannot be read"),
        (lambda d: (d / FILE).write_text("{"), "stack.json cannot be read"),
        (lambda d: (d / FILE).rename(d / "notes.txt"), "has files that are no stack's"),
    ],
)
def test_another_directory_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    started(tmp_path)
    spoil(tmp_path)
    with pytest.raises(StartError) as caught:
        refuse(tmp_path, "two slots", "local")
    assert said in str(caught.value)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StartError):
            refuse(path, "two slots", "local")


def refused(capsys: pytest.CaptureFixture[str], ask: Callable[[], object]) -> str:
    with pytest.raises(SystemExit) as caught:
        ask()
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_what_make_local_cannot_do_is_said_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "bad.yaml").write_text("credentials: {}\n", encoding="utf-8")
    started(tmp_path / "d")
    bad = ["--credentials", str(tmp_path / "bad.yaml")]
    for arguments, said in (
        (["--directory", str(tmp_path / "file")], "argument --directory: "),
        (["--directory", str(tmp_path)], "argument --directory: "),
        (["--one-slot"], "argument --one-slot: goes with --directory"),
        (["--one-slot", "--directory", str(tmp_path / "d")], "of world 'two slots'"),
        (bad, "argument --credentials: goes with --directory"),
        ([*bad, "--directory", str(tmp_path / "new")], "argument --credentials: goes with"),
        ([*bad, "--directory", str(tmp_path / "d")], "bad.yaml is not valid"),
        (["--engine", "azurr"], "argument --engine: "),
    ):
        assert said in refused(capsys, lambda given=arguments: up.arguments(given))  # type: ignore[misc]


def test_the_directory_says_which_world_it_has(tmp_path: Path) -> None:
    kept = claim(tmp_path / "one", world="one slot")
    kept.facts.ready = True
    kept.save()
    kept.release()
    assert up.arguments(["--directory", str(tmp_path / "one")]).one_slot
    assert not up.arguments(["--directory", str(tmp_path / "two")]).one_slot


def test_a_file_for_measurements_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, said in (
        (tmp_path, "is a directory"),
        (tmp_path / "missing" / "file.json", "is no directory: make it first"),
    ):
        told = refused(capsys, lambda given=path: demo.arguments(["--json", str(given)]))  # type: ignore[misc]
        assert "argument --json: " in told
        assert said in told
    assert demo.arguments(["--json", str(tmp_path / "new.json")]).json == tmp_path / "new.json"
    assert not (tmp_path / "new.json").exists()
