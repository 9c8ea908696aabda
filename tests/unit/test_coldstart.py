"""What a new process pays before it can answer: no SDK of a service is among it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INDEXED = "import function_app; function_app.app.get_functions()"

# Each with the statement that needs it, which proves that the name is the right one to look for.
LATE = {
    "azure.eventgrid": "import rotation.edges.topic",
    "azure.identity": "import rotation.edges.identity",
    "azure.keyvault": "import rotation.edges.vault",
    "azure.monitor": "import azure.monitor.opentelemetry.exporter",
    "jinja2": "from rotation.pages import rendering; rendering._environment()",
    "kubernetes": "import rotation.edges.cluster.client",
    "opentelemetry.exporter": "from rotation.edges import telemetry; telemetry._otlp()",
    "opentelemetry.sdk": "import rotation.edges.telemetry",
    "psycopg": "import rotation.edges.database.server",
    "pydantic": "import rotation.config",
    "urllib3": "import rotation.edges.web",
    "yaml": "import rotation.config",
}


@functools.cache
def loaded_after(statements: str) -> frozenset[str]:
    """Names of the modules that a new process has then."""
    program = f"{statements}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    run = subprocess.run(  # noqa: S603 - argv is written here
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return frozenset(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize("package", sorted(LATE))
def test_app_is_indexed_without(package: str) -> None:
    found = sorted(
        name for name in loaded_after(INDEXED) if name == package or name.startswith(f"{package}.")
    )
    assert not found, (
        f"import {package} where it is used, as rotation/edges/azure.py does: "
        f"a cold start loads {found}"
    )


@pytest.mark.parametrize(("package", "statements"), sorted(LATE.items()))
def test_use_loads(package: str, statements: str) -> None:
    assert package in loaded_after(statements)
