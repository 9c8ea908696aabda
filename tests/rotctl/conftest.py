"""An app that answers as it is told to, and commands that are typed against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rotctl.__main__ import main
from rotctl.exits import Exit
from tests.rotctl.app import Told, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "key-of-the-made-up-app"


@pytest.fixture
def app() -> Iterator[Told]:
    with serving() as told:
        yield told


@pytest.fixture
def typed(
    app: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a command, and answers with what it printed to stdout, or to stderr if it failed."""
    for name in ("ROTCTL_PROFILE", "ROTCTL_BY", "ROTCTL_SCOPE", "ROTCTL_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("ROTCTL_URL", app.url)
    monkeypatch.setenv("ROTCTL_KEY", KEY)

    def run(*arguments: str, exits: Exit = Exit.DONE) -> str:
        capsys.readouterr()
        code = main(arguments)
        out, err = capsys.readouterr()
        assert code == exits, (arguments, code, out, err)
        assert KEY not in out + err
        return out if out and not err else err

    return run
