"""What is uploaded: the package is made from a full working directory, listed, and imported.

Two programs read .funcignore. azd follows git's rules, so git makes the list here. Core Tools
has rules of its own: a path goes if a pattern with `!` matches its beginning, whatever else does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

shows_passwords = pytest.mark.shows_passwords("a copy of the tests has their made-up keys")
ROOT = Path(__file__).parents[2]
NAMED = [
    "credentials.yaml",
    "credentials/orders.yaml",
    "certificates/prod-weu.pem",
    "kubeconfig/edge-site.yaml",
]
# Below a folder that goes along: what is let in stays in, by the rules of Core Tools.
INSIDE = ["rotation/.env", "rotation/admin.password", "certificates/tls.key", "kubeconfig/own.pfx"]
LEFT_LYING = [
    "rotator.password",
    ".env",
    ".env.local",
    "local.settings.json",
    "tls.key",
    "venv/pyvenv.cfg",
    "venv/lib/python3.13/site-packages/rotation/secret.py",
    ".venv/pyvenv.cfg",
    ".venv-3.13/pyvenv.cfg",
    ".azure/prod/.env",
    ".git/config",
    ".vscode/settings.json",
    "var/demo/keyvault/store.json",
    "notes/rotation/plan.md",
    "credentials.yaml.orig/old",
    *INSIDE,
]
# Nothing of it is at stake here, and tools write there while this copies.
LARGE = {".git", ".hypothesis", "var", "bench"}
BUILT = ["rotation/__pycache__/model.cpython-313.pyc", "rotation/pages/__pycache__/a.pyc"]


def product() -> list[str]:
    """The package's own files, of the kinds that it has."""
    kinds = {".py", ".json", ".html", ".css", ".js"}
    found = [path for path in (ROOT / "rotation").rglob("*") if path.suffix in kinds]
    return [str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts]


GUIDES = [str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")]
EXPECTED = sorted(["function_app.py", "host.json", "requirements.txt", *product(), *GUIDES, *NAMED])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of what is here, with what credentials.yaml names and what people leave lying."""
    for path in ROOT.iterdir():
        if path.name in LARGE or path.name.startswith(".venv") or path.name.endswith("_cache"):
            continue
        if path.is_dir():
            shutil.copytree(
                path, tmp_path / path.name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(path, tmp_path / path.name)
    for name in [*NAMED, *LEFT_LYING, *BUILT]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    return tmp_path


def listed_by_git(directory: Path) -> list[str]:
    """Without the directory's own .gitignore, which is for other things."""
    shutil.rmtree(directory / ".git")
    (directory / ".gitignore").unlink()
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def git(*arguments: str) -> str:
        return subprocess.run(  # noqa: S603 - our own arguments
            ["git", *arguments],  # noqa: S607 - the git that is installed
            cwd=directory,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    git("init", "--quiet")
    found = git("ls-files", "--others", "--exclude-from=.funcignore", "-z")
    return sorted(name for name in found.split("\0") if name)


def listed_by_core_tools(directory: Path) -> list[str]:
    """By the rules of Core Tools: beginnings of paths, and what is let in stays in."""

    def matching(patterns: list[str]) -> re.Pattern[str]:
        def expression(pattern: str) -> str:
            escaped = re.escape(pattern).replace(r"\*\*", "(.+)").replace(r"\*", "([^/]+)")
            return f"({escaped})"

        return re.compile("^(" + "|".join(map(expression, patterns)) + ")")

    lines = (directory / ".funcignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    let_in = matching([pattern[1:] for pattern in patterns if pattern.startswith("!")])
    kept_out = matching([pattern for pattern in patterns if not pattern.startswith("!")])
    files = [path for path in directory.rglob("*") if path.is_file()]
    names = [str(path.relative_to(directory)) for path in files]
    return sorted(name for name in names if let_in.match(name) or not kept_out.match(name))


@shows_passwords
def test_the_package_is_the_app_and_what_its_configuration_names(directory: Path) -> None:
    package = directory / "package.zip"
    names = listed_by_git(directory)
    with zipfile.ZipFile(package, "w") as archive:
        for name in names:
            archive.write(directory / name, name)
    with zipfile.ZipFile(package) as archive:
        assert sorted(archive.namelist()) == EXPECTED


@shows_passwords
def test_core_tools_uploads_no_more_than_compiled_files_besides(directory: Path) -> None:
    beginnings = {"credentials.yaml.orig/old"}  # a beginning is enough for it
    assert set(listed_by_core_tools(directory)) - beginnings == {*EXPECTED, *BUILT, *INSIDE}


@shows_passwords
def test_nothing_that_the_app_imports_stays_behind(directory: Path, tmp_path: Path) -> None:
    uploaded = tmp_path / "uploaded"
    for name in listed_by_git(directory):
        (uploaded / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(directory / name, uploaded / name)
    loaded = subprocess.run(
        [sys.executable, "-c", "import function_app; print(len(function_app.app.get_functions()))"],
        cwd=uploaded,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    assert int(loaded.stdout) > 10


@pytest.mark.parametrize(
    "name",
    [name for name in LEFT_LYING if not name.startswith((".git/", "notes", ".vscode", "cred"))]
    + ["kubeconfig/edge-site.yaml"],
)
def test_git_leaves_it_too(name: str) -> None:
    ignored = subprocess.run(  # noqa: S603 - our own arguments
        ["git", "check-ignore", "--quiet", "--no-index", name],  # noqa: S607 - what is installed
        cwd=ROOT,
        check=False,
    )
    assert ignored.returncode == 0
