"""What is installed is what was locked: each file by pip's own hash check, in every command."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from local.process import ROOT
from tests.infra import audit, licences

if TYPE_CHECKING:
    from pathlib import Path

LOCKED = (
    "requirements",
    "requirements-rotctl",
    "requirements-dev",
    "requirements-checkov",
    "requirements-sbom",
)


def pins(name: str) -> dict[str, list[str]]:
    """Hashes by `package==version`, with its marker if it has one."""
    found: dict[str, list[str]] = {}
    lines = (ROOT / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    for line in lines[1:]:
        if line.startswith("    --hash=sha256:"):
            found[next(reversed(found))].append(line.strip(" \\"))
        else:
            found[line.removesuffix(" \\")] = []
    return found


@pytest.mark.parametrize("name", LOCKED)
def test_every_pin_has_hashes_and_pip_is_told_to_ask_for_them(name: str) -> None:
    text = (ROOT / f"{name}.txt").read_text(encoding="utf-8")
    # In the file itself: the remote build on Azure runs pip with no option of ours.
    assert text.startswith("--require-hashes\n")
    found = pins(name)
    assert len(found) > (10 if name in {"requirements-rotctl", "requirements-sbom"} else 40)
    assert [pin for pin in found if not re.match(r"^[\w.-]+==[\w.]+( ; .*)?$", pin)] == []
    assert [pin for pin, hashes in found.items() if not hashes] == []


def test_no_process_of_the_local_stack_compiles_a_grammar_that_it_does_not_use() -> None:
    """`kubernetes` imports what checks URIs by that grammar wherever it is installed, which cost
    each process two seconds."""
    assert "rfc3987-syntax" not in {pin.partition("==")[0] for pin in pins("requirements-dev")}


def test_what_is_asked_for_is_what_is_locked() -> None:
    for name in LOCKED:
        asked = re.findall(
            r"^([\w.-]+)(?:\[\w+\])?==(\S+)", (ROOT / f"{name}.in").read_text(), re.MULTILINE
        )
        locked = {pin.partition(" ;")[0].lower() for pin in pins(name)}
        assert [f"{n}=={v}" for n, v in asked if f"{n}=={v}".lower() not in locked] == []


def test_no_package_that_is_deployed_instruments_what_carries_secrets() -> None:
    """Instrumentations record URLs, in which signed links have their token, and statements. The
    exporters alone are there: Azure Monitor's distribution would bring them all along."""
    packages = {pin.partition("==")[0] for pin in pins("requirements")}
    assert "azure-monitor-opentelemetry-exporter" in packages
    instrumenting = re.compile(
        r"opentelemetry-(instrumentation|distro|util-http)|.*-instrumentation"
    )
    assert [name for name in packages if instrumenting.match(name)] == []
    assert "azure-monitor-opentelemetry" not in packages


def test_the_app_is_tested_with_what_it_is_deployed_with() -> None:
    """What is deployed on some Pythons only may be tested on all of them."""
    app, development = pins("requirements"), pins("requirements-dev")
    found = {pin: development.get(pin) or development.get(pin.partition(" ;")[0]) for pin in app}
    assert found == app


def test_every_install_is_of_a_lock_file_and_asks_for_hashes() -> None:
    """The tool that locks is locked itself: it is what names all the hashes."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    installs = [line for line in makefile.splitlines() if re.search(r"\bpip\b.* install ", line)]
    # Nobody but users installs the command line's alone; here it comes with what develops it.
    own = [line for line in installs if line.rstrip().endswith("--editable .")]
    assert len(own) == 1
    assert {"--no-index", "--no-deps", "--no-build-isolation"} <= set(own[0].split())
    locked = [line for line in installs if line not in own]
    assert len(locked) == len(LOCKED) - 1
    assert [line for line in locked if not re.search("--require-hashes -r ", line)] == []


def test_the_command_line_has_the_apps_versions_and_its_extra_names_all_it_needs() -> None:
    app, client = pins("requirements"), pins("requirements-rotctl")
    named = {pin.partition("==")[0] for pin in app} & {pin.partition("==")[0] for pin in client}
    assert {"pydantic", "msgspec", "urllib3"} <= named
    assert [pin for pin in client if pin.partition("==")[0] in named and pin not in app] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = (ROOT / "requirements-rotctl.in").read_text(encoding="utf-8")
    lines = {line.partition("==")[0] for line in asked.splitlines() if line[0] not in "#-"}
    assert {one.partition(">=")[0] for one in project["optional-dependencies"]["rotctl"]} == lines
    assert "dependencies" not in project  # the app's are in requirements.txt


def test_a_file_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    """pip itself, offline: an archive whose content has changed under the same name."""
    package = tmp_path / "tampered-1.0-py3-none-any.whl"
    package.write_bytes(b"PK\x05\x06" + bytes(18))  # an empty archive
    lock = tmp_path / "lock.txt"
    lock.write_text(f"--require-hashes\ntampered==1.0 --hash=sha256:{'0' * 64}\n")
    done = subprocess.run(  # noqa: S603 - pip, with this test's own arguments
        [
            *(sys.executable, "-m", "pip", "install", "--no-index", "--dry-run"),
            *("--disable-pip-version-check", "--find-links", str(tmp_path), "-r", str(lock)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr + done.stdout


def component(*found: dict[str, object]) -> dict[str, object]:
    return {"name": "x", "version": "1", "licenses": list(found)}


@pytest.mark.parametrize(
    ("found", "expression", "good"),
    [
        ([{"license": {"id": "MIT"}}], "MIT", True),
        ([{"expression": "Apache-2.0 OR BSD-3-Clause"}], "Apache-2.0 OR BSD-3-Clause", True),
        ([{"expression": "GPL-3.0-only OR MIT"}], "GPL-3.0-only OR MIT", True),
        ([{"expression": "GPL-3.0-only AND MIT"}], "GPL-3.0-only AND MIT", False),
        ([{"license": {"name": "License :: OSI Approved :: BSD License"}}], "BSD-3-Clause", True),
        ([{"license": {"name": "License :: Freely Distributable"}}], "", False),
        ([{"license": {"name": "Their own"}}], "Their own", False),
        ([], "", False),
    ],
)
def test_a_licence_is_read_and_judged(
    found: list[dict[str, object]], expression: str, good: bool
) -> None:
    read = licences.licences({"components": [component(*found)]})["x 1"]
    assert (read, licences.accepted(read)) == (expression, good)


def test_a_vulnerability_and_a_package_that_was_not_looked_at_are_findings() -> None:
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": []},
            {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]},
            {"name": "c", "skip_reason": "not found"},
        ]
    }
    assert audit.findings(report) == ["b 2: CVE-1, fixed in 3", "c: not audited: not found"]
