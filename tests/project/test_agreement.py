"""What several of the repository's own files say is the same in all of them."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import editorconfig
import yaml

import rotation
from local.process import ROOT
from tests.project.files import make_targets, text, texts

PROJECT: dict[str, Any] = tomllib.loads(text("pyproject.toml"))
CI = text(".ci/run")
WORKFLOW: dict[str, Any] = yaml.safe_load(text(".github/workflows/ci.yml"))
CONTAINER: dict[str, Any] = json.loads(text(".devcontainer/devcontainer.json"))
RELEASE = re.compile(r"^## \[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)
CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_version_is_the_newest_in_the_changelog() -> None:
    newest = RELEASE.search(text("CHANGELOG.md"))
    assert newest is not None
    assert rotation.__version__ == PROJECT["project"]["version"]
    assert rotation.__version__ == ".".join(newest.groups()[:3])


def test_the_changelog_has_its_form() -> None:
    changelog = text("CHANGELOG.md")
    sections = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    releases = [
        (*map(int, version), date) for *version, date in RELEASE.findall(changelog)
    ]  # newest first
    assert sections[0] == "[Unreleased]"
    assert len(releases) == len(sections) - 1, "each other section is `## [X.Y.Z] - YYYY-MM-DD`"
    assert releases == sorted(set(releases), reverse=True)
    assert set(re.findall(r"^### (.+)$", changelog, re.MULTILINE)) <= CHANGES
    changes = re.findall(r"^- .+(?:\n  .+)*", changelog, re.MULTILINE)
    assert len(changes) == len(set(changes)), "a change is told twice"


def test_the_license_is_the_one_that_is_declared() -> None:
    declared = PROJECT["project"]
    (file,) = declared["license-files"]
    assert text(file).startswith(f"{declared['license']} License\n")
    assert "Copyright (c) 2026 the credential-rotation authors" in text(file)


def supported() -> list[str]:
    """The Pythons that `.ci/run` takes, oldest first."""
    (versions,) = re.findall(r"^for version in ([\d. ]+); do$", CI, re.MULTILINE)
    return sorted(versions.split(), key=lambda version: int(version.partition(".")[2]))


def test_the_oldest_python_is_the_same_everywhere() -> None:
    oldest = supported()[0]
    compact = oldest.replace(".", "")
    assert PROJECT["project"]["requires-python"] == f">={oldest}"
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{compact}"
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in text("Makefile")
    assert f"--python-version {oldest} " in text("Makefile")
    assert f"Python {oldest} or newer" in text("README.md")
    assert f"Python {oldest} or newer" in text("CONTRIBUTING.md")


def steps() -> list[dict[str, Any]]:
    return [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_the_workflow_runs_what_ci_runs_on_the_same_pythons() -> None:
    (job,) = WORKFLOW["jobs"].values()
    commands = [step["run"] for step in steps() if "run" in step]
    assert commands[-1] == "bash .ci/run"
    oldest, newest = supported()
    assert job["container"]["image"].startswith(f"python:{newest}-")
    assert any(f"python{oldest}-venv" in command for command in commands)


def test_the_workflow_may_only_read_and_runs_no_action_that_can_move() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert [job for job in WORKFLOW["jobs"].values() if "permissions" in job] == []
    lines = re.findall(r"uses: (.+)$", text(".github/workflows/ci.yml"), re.MULTILINE)
    assert len(lines) == len([step for step in steps() if "uses" in step]) > 0
    for line in lines:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_the_container_has_what_ci_installs_and_makes_what_there_is() -> None:
    command = CONTAINER["postCreateCommand"]
    (packages,) = re.findall(r"^  for package in (.+); do$", CI, re.MULTILINE)
    assert set(packages.split()) <= set(command.split())
    assert set(packages.split()) <= set(text("CONTRIBUTING.md").split())
    assert any(f"python:{version}-" in CONTAINER["image"] for version in supported())
    targets = command.rpartition("&& make ")[2].split()
    makefile = text("Makefile").replace("$(VENV)", ".venv")
    made = set(re.findall(r"^([\w./-]+):", makefile, re.MULTILINE))
    assert targets
    assert set(targets) <= made


def test_ci_runs_both_commands_and_what_takes_longer() -> None:
    ran = re.findall(r"^ *(?:TESTS_SECONDS=\S+ )?make ([\w-]+)", CI, re.MULTILINE)
    once = ["bench", "infra", "units", "test-real", "test-kubernetes", "sbom", "audit"]
    assert ran == ["axe", "kusto", "demo", "test", "long", "chaos", "test-frameworks", *once]


def test_every_make_target_is_explained_to_contributors() -> None:
    guide = text("CONTRIBUTING.md")
    assert set(re.findall(r"^\| `make ([a-z-]+)` \|", guide, re.MULTILINE)) == make_targets()
    named = re.findall(r"\bmake ([a-z-]+)", " ".join(re.findall(r"`[^`\n]+`", guide)))
    blocks = "\n".join(re.findall(r"```\n(.*?)```", guide, re.DOTALL))
    named += re.findall(r"^make ([a-z-]+)", blocks, re.MULTILINE)
    assert set(named) <= make_targets()


def test_files_are_as_the_editor_is_told() -> None:
    wrong: list[str] = []
    for path in texts():
        told = editorconfig.get_properties(str(path))
        found = path.read_bytes().decode(told["charset"])
        lines = found.split("\n")
        problems = {
            "it has carriage returns": told["end_of_line"] == "lf" and "\r" in found,
            "its last line has no end": bool(found) and not found.endswith("\n"),
            "it ends in an empty line": found.endswith("\n\n"),
            "a line ends in space": any(line != line.rstrip() for line in lines),
            "it is indented by tabs": told["indent_style"] == "space"
            and any(line.startswith("\t") for line in lines),
        }
        wrong += [f"{path.relative_to(ROOT)}: {what}" for what, is_so in problems.items() if is_so]
    assert wrong == []
