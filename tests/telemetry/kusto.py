"""Asks Kusto's own language service: `make kusto` installs it, or KUSTO_LANGUAGE_SERVICE names it.

It is the npm package @kusto/language-service-next, run by Node.js. It knows the language and the
tables' columns that it is given, and runs nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

PACKAGE = Path("node_modules/@kusto/language-service-next")
MISSING = (
    "no language service of Kusto: run `make kusto` (needs npm), or set KUSTO_LANGUAGE_SERVICE to "
    "the folder of the npm package @kusto/language-service-next, and have `node` on PATH"
)


@dataclass(frozen=True)
class Analysis:
    """What the service says of one query: its complaints, and the columns that come out."""

    diagnostics: list[dict[str, Any]]
    columns: list[str]


def find() -> Path | None:
    """The package's folder; None where there is none, or no Node.js.

    Raises FileNotFoundError if KUSTO_LANGUAGE_SERVICE names something else.
    """
    named = os.environ.get("KUSTO_LANGUAGE_SERVICE")
    folder = Path(named) if named else ROOT / ".kusto" / PACKAGE
    there = (folder / "Kusto.Language.Bridge.min.js").is_file()
    if named and not there:
        raise FileNotFoundError(
            f"KUSTO_LANGUAGE_SERVICE is {named!r}, which holds no Kusto.Language.Bridge.min.js"
        )
    return folder if there and shutil.which("node") else None


def analyse(
    folder: Path, queries: Iterable[str], tables: dict[str, dict[str, str]]
) -> list[Analysis]:
    """One analysis for each query; `tables` has the type of each column."""
    node = shutil.which("node")
    assert node is not None, MISSING
    run = subprocess.run(  # noqa: S603 - argv is written here
        [node, str(Path(__file__).with_name("kusto.js")), str(folder)],
        input=json.dumps({"tables": tables, "queries": list(queries)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return [Analysis(**answer) for answer in json.loads(run.stdout)]
