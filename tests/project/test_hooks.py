"""The hook that contributors install: it is `make lint`, from the tools that are here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from local.process import ROOT
from tests.project.files import text

CONFIGURATION = ".pre-commit-config.yaml"
COPIED = (CONFIGURATION, "Makefile", "pyproject.toml", "requirements-dev.txt")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A git repository with what the hook reads, and nothing to complain about."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in COPIED:
        shutil.copy(ROOT / name, folder)
    os.utime(folder / "requirements-dev.txt", (0, 0))  # older than this venv: nothing to install
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    return folder


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", "init.defaultBranch=main", *arguments]
    subprocess.run(command, cwd=folder, check=True)  # noqa: S603 - argv is written here


def committing(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What pre-commit says, with a cache of its own and this test's venv as make's."""
    own = {"VENV": sys.prefix, "PRE_COMMIT_HOME": str(folder.parent / "cache")}
    kept = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    return subprocess.run(  # noqa: S603 - argv is written here
        [sys.executable, "-m", "pre_commit", *arguments],
        cwd=folder,
        env={**kept, **own},
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_fetched() -> None:
    assert {repo["repo"] for repo in yaml.safe_load(text(CONFIGURATION))["repos"]} == {"local"}


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here: nothing to commit to")
@pytest.mark.skipif(
    not Path(sys.prefix, "ready").exists(), reason="this Python's environment was not made by make"
)
def test_a_commit_is_checked_as_make_lint_does(clone: Path) -> None:
    (clone / "good.py").write_text('"""Good."""\n', encoding="utf-8")
    git(clone, "add", "good.py")
    passed = committing(clone, "run")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "Passed" in passed.stdout

    (clone / "bad.py").write_text("import os\n", encoding="utf-8")
    git(clone, "add", "bad.py")
    refused = committing(clone, "run")
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert "F401" in refused.stdout
    assert "bad.py" in refused.stdout
