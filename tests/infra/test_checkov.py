"""The scan fails for what it should fail for. Needs the program: `make infra` installs it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.infra import check
from tests.infra.bicep import Bicep

ROOT = Path(__file__).parents[2]
PROGRAM = os.environ.get("CHECKOV") or str(ROOT / ".venv-checkov/bin/checkov")
BAD = """
type kind = 'a' | 'b'

@description('Names.')
param names string[]

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = [for name in names: {
  name: name
  location: 'westeurope'
  kind: 'StorageV2'
  sku: {
    name: 'Standard_ZRS'
  }
  properties: {
    supportsHttpsTrafficOnly: false
  }
}]
"""

needs_checkov = pytest.mark.skipif(
    shutil.which(PROGRAM) is None, reason="checkov is not installed; `make infra` does that"
)


def report(*failed: dict[str, str], unparsed: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"results": {"failed_checks": list(failed), "parsing_errors": list(unparsed)}}


def finding(identifier: str, resource: str) -> dict[str, str]:
    return {"check_id": identifier, "resource": resource, "file_path": "/a", "check_name": "n"}


def test_types_are_reduced_to_what_they_are_at_bottom(tmp_path: Path) -> None:
    path = tmp_path / "bad.bicep"
    path.write_text(BAD, encoding="utf-8")
    reduced = check.reduced(Bicep(path))
    assert "param names array" in reduced
    assert "type kind" not in reduced
    assert "[for" not in reduced
    assert "supportsHttpsTrafficOnly: false" in reduced


def test_what_is_filtered_is_no_matter_of_a_scan(tmp_path: Path) -> None:
    """checkov reads no list of objects in a call over several lines."""
    path = tmp_path / "filtered.bicep"
    text = "var a = filter(\n  [\n    { name: 'x' }\n  ],\n  item => !empty(item.name)\n)\n"
    path.write_text(text, encoding="utf-8")
    assert check.reduced(Bicep(path)).strip() == "var a = []"


@pytest.mark.parametrize(
    ("written", "base"),
    [("string", "string"), ("string[]", "array"), ("secret?", "object"), ("'a' | 'b'", "string")],
)
def test_base_types(written: str, base: str) -> None:
    assert check.base_type(written) == base


def test_a_finding_fails_unless_it_is_accepted_for_that_resource() -> None:
    found = report(finding("CKV_1", "a"), finding("CKV_1", "b"))
    accepted = [check.Accepted("CKV_1", "a", "because")]
    assert check.problems(found, "", accepted) == ["CKV_1 b in /a: n"]


def test_an_accepted_finding_that_does_not_occur_fails() -> None:
    accepted = [check.Accepted("CKV_1", "a", "because")]
    assert check.problems(report(), "", accepted) == [
        "CKV_1 a: accepted in checkov.yaml, but not found"
    ]


def test_a_file_that_cannot_be_parsed_fails() -> None:
    assert check.problems(report(unparsed=("/a",)), "", []) == ["cannot be parsed: /a"]
    assert check.problems(report(), "Failed to run check CKV_2 on x", []) != []
    assert check.problems({}, "Traceback", []) != []


def test_every_accepted_finding_has_a_reason() -> None:
    assert [entry for entry in check.accepted() if len(entry.reason) < 15] == []


@needs_checkov
@pytest.mark.long  # `make infra` scans them too
@pytest.mark.timeout(300)
def test_the_files_have_no_findings_but_the_accepted_ones(tmp_path: Path) -> None:
    check.copy([*check.INFRA.rglob("*.bicep"), *check.INFRA.rglob("*.json")], tmp_path)
    found, printed = check.scan(PROGRAM, tmp_path)
    assert check.problems(found, printed, check.accepted()) == []


@needs_checkov
@pytest.mark.long
@pytest.mark.timeout(300)
def test_checkov_finds_what_is_bad_and_what_it_cannot_parse(tmp_path: Path) -> None:
    bad = tmp_path / "bad.bicep"
    bad.write_text(BAD, encoding="utf-8")
    bad.write_text(check.reduced(Bicep(bad)), encoding="utf-8")
    (tmp_path / "broken.bicep").write_text("import { a } from 'a.bicep'\n", encoding="utf-8")
    problems = check.problems(*check.scan(PROGRAM, tmp_path), [])
    assert any("CKV_AZURE_3 " in line for line in problems)
    assert any(line.startswith("cannot be parsed: ") for line in problems)
