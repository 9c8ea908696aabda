"""`python -m rotation check FILE`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rotation.__main__ import main
from rotation.edges.azure import AzureEdges

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "credentials.example.yaml"


def test_a_valid_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--no-files", str(EXAMPLE)]) == 0
    printed = capsys.readouterr()
    assert printed.out == (
        "orders-db: https://kv-orders.vault.azure.net, workloads api, reports, mailer, report, "
        "storefront, ledger\n"
        f"{EXAMPLE} is valid\n"
    )
    assert printed.err == ""


def test_a_file_with_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "credentials.yaml"
    file.write_text("clusters: {}\ncredentials: {orders: {}}\n", encoding="utf-8")
    assert main(["check", str(file)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[0] == f"configuration-invalid: {file} has 5 problem(s):"
    assert "  credentials.orders.vault: is missing (line 2)" in printed.err.splitlines()


def without_approvers(folder: Path) -> Path:
    found = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    found["credentials"]["orders-db"]["approval"]["approvers"] = []
    file = folder / "credentials.yaml"
    file.write_text(yaml.safe_dump(found), encoding="utf-8")
    return file


def test_a_credential_without_approvers_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = without_approvers(tmp_path)
    assert main(["check", "--no-files", str(file)]) == 0
    printed = capsys.readouterr()
    assert printed.out.endswith("is valid\n")
    path, said = "credentials.orders-db.approval.approvers", "there are none: whoever holds"
    assert printed.err.startswith(f"warning: {path}: {said}")


def test_the_app_warns_of_it_once_in_each_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edges = AzureEdges({"ROTATION_CONFIG": str(without_approvers(tmp_path))})
    for _ in range(2):
        assert edges.configuration.credentials.keys() == {"orders-db"}
    (line,) = [json.loads(r.message) for r in caplog.records if "configuration.w" in r.message]
    assert line["path"] == "credentials.orders-db.approval.approvers"


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "nothing.yaml")]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["check"], ["rotate"], ["check", "a", "b"]])
def test_a_wrong_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m rotation" in capsys.readouterr().err


def test_as_a_command_it_imports_no_service_sdk() -> None:
    """It runs in a pipeline that may have none of them."""
    code = (
        "import sys; from rotation.__main__ import main; code = main(sys.argv[1:]); "
        "sys.exit(code or any(m in sys.modules for m in ('azure', 'psycopg', 'kubernetes')))"
    )
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code, "check", "--no-files", str(EXAMPLE)],
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
