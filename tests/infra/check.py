"""Checks the Bicep files: `python -m tests.infra.check [--checkov PROGRAM] [--write-snapshots]`.

First with the compiler, where there is one: diagnostics, format, and whether the snapshots below
`snapshots` are what it predicts; `--write-snapshots` writes these anew, to be read with `git diff`.

Then with checkov. It is a program with packages of its own, since they conflict with the app's. Its
Bicep parser knows neither imports nor user-defined types, its rules overlook what stands below a
condition or a loop, and it exits 0 where it cannot parse a file. So it gets a copy in which types
are replaced by what they are at bottom and resources stand alone; and a file that it cannot parse
is an error.

`checkov.yaml` lists the findings that are accepted, each with its reason. One that no longer occurs
is an error too.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.infra.bicep import BASE_TYPES, Bicep, inner_object, parse, text, walk
from tests.infra.compiler import MISSING, Compiler, as_text, find, kept, setups

if TYPE_CHECKING:
    from collections.abc import Iterable

    import tree_sitter

INFRA = Path(__file__).resolve().parents[2] / "infra"
ACCEPTED = Path(__file__).with_name("checkov.yaml")
# What checkov cannot read, and a value of the same type.
UNKNOWN_FUNCTIONS = {"fail": "''", "filter": "[]", "map": "[]"}
DROPPED = {"import_functionality", "type_declaration"}
# Complaints of checkov that its JSON report leaves out.
COMPLAINTS = re.compile(
    r"Parsing errors?:|Failed to run check|Error parsing|failed to parse", re.IGNORECASE
)

Cut = tuple[int, int, str]


@dataclass(frozen=True)
class Accepted:
    check: str
    resource: str
    reason: str


def base_type(written: str) -> str:
    """`string[]` is an array, `secret?` an object, `'a' | 'b'` a string."""
    kind = written.removesuffix("?")
    if kind.endswith("[]"):
        return "array"
    if kind.startswith("'"):
        return "string"
    return kind if kind in BASE_TYPES else "object"


def reduced(bicep: Bicep) -> str:
    """The file without imports, types and their decorators, conditions and loops."""
    source = bicep.source
    for start, end, replacement in sorted(_cuts(bicep), reverse=True):
        source = source[:start] + replacement.encode() + source[end:]
    return _on_one_line(source)


def _on_one_line(source: bytes) -> str:
    """Without what its grammar lacks: calls and conditions over several lines, `fail`, `map`."""
    cuts: list[Cut] = []
    for node in walk(parse(source)):
        if node.type not in {"call_expression", "ternary_expression", "binary_expression"}:
            continue
        called = text(node.named_children[0])
        if called in UNKNOWN_FUNCTIONS:
            cuts.append((node.start_byte, node.end_byte, UNKNOWN_FUNCTIONS[called]))
            continue
        written = text(node)
        whole = re.sub(r"\s*\n\s*", " ", written).replace("( ", "(").replace(" )", ")")
        if "\n" in written and "{" not in whole.replace("{}", "").replace("${", ""):
            whole = re.sub(r"\bfail\(.*?'\)", "''", whole)
            cuts.append((node.start_byte, node.end_byte, whole))
    for start, end, whole in reversed([cut for cut in cuts if not _inside(cut, cuts)]):
        source = source[:start] + whole.encode() + source[end:]
    return source.decode()


def _inside(cut: Cut, cuts: list[Cut]) -> bool:
    return any(
        start <= cut[0] and cut[1] <= end and cut[:2] != (start, end) for start, end, _ in cuts
    )


def _cuts(bicep: Bicep) -> list[Cut]:
    cuts: list[Cut] = []
    decorators: list[Cut] = []
    for node in bicep.root.named_children:
        whole: Cut = (node.start_byte, node.end_byte, "")
        if node.type in DROPPED:
            cuts += [whole, *decorators]
        elif node.type in {"parameter_declaration", "output_declaration"}:
            kind = node.named_children[1]
            cuts.append((kind.start_byte, kind.end_byte, base_type(text(kind))))
        elif node.type == "resource_declaration":
            cuts += _around_body(node)
        decorators = [whole] if node.type == "decorators" else []
    return cuts


def _around_body(node: tree_sitter.Node) -> list[Cut]:
    body, whole = inner_object(node), node.named_children[-1]
    if body is None or body == whole:
        return []
    return [(whole.start_byte, body.start_byte, ""), (body.end_byte, node.end_byte, "")]


def copy(paths: Iterable[Path], to: Path) -> None:
    """Writes the reduced files and the JSON that they load, below `to`."""
    for path in paths:
        target = to / path.relative_to(INFRA)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            target.write_bytes(path.read_bytes())
        else:
            target.write_text(reduced(Bicep(path)), encoding="utf-8")


def scan(program: str, directory: Path) -> tuple[dict[str, Any], str]:
    """checkov's report, empty if it gave none, and all that it printed."""
    options = ["--framework", "bicep", "--skip-download", "--output", "json"]
    run = subprocess.run(  # noqa: S603 - a program that our caller names, our own arguments
        [program, "--directory", str(directory), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(run.stdout)
    except json.JSONDecodeError:
        report = {}
    return report if isinstance(report, dict) else {}, run.stdout + run.stderr


def accepted() -> list[Accepted]:
    listed = yaml.safe_load(ACCEPTED.read_text(encoding="utf-8"))
    return [Accepted(**entry) for entry in listed["accepted"]]


def problems(report: dict[str, Any], printed: str, allowed: list[Accepted]) -> list[str]:
    """What makes the scan fail."""
    if "results" not in report:
        return [f"checkov gave no report:\n{printed[-2000:]}"]
    found = [f"cannot be parsed: {path}" for path in report["results"]["parsing_errors"]]
    found += [f"checkov: {line}" for line in printed.splitlines() if COMPLAINTS.search(line)]
    reasons = {(entry.check, entry.resource): entry for entry in allowed}
    for check in report["results"]["failed_checks"]:
        key = check["check_id"], check["resource"]
        if reasons.pop(key, None) is None:
            found.append(f"{' '.join(key)} in {check['file_path']}: {check['check_name']}")
    found += [f"{' '.join(key)}: accepted in checkov.yaml, but not found" for key in reasons]
    return found


def compiled(program: str, work: Path, *, write: bool) -> list[str]:
    """What the compiler finds, and where the kept snapshots are not what it predicts."""
    compiler = Compiler(program, work)
    found = [f"bicep: {line}" for line in compiler.diagnostics() + compiler.unformatted()]
    if found:
        return found
    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(lambda setup: as_text(compiler.snapshot(setup)), setups()))
    if write:
        for setup, text_ in zip(setups(), texts, strict=True):
            kept(setup.name).write_text(text_, encoding="utf-8")
    stale = [
        setup.name
        for setup, text_ in zip(setups(), texts, strict=True)
        if not kept(setup.name).exists() or kept(setup.name).read_text(encoding="utf-8") != text_
    ]
    return [
        f"{kept(name)} is not what a deployment would make; look at the difference that "
        "`python -m tests.infra.check --write-snapshots` makes"
        for name in stale
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the Bicep files.")
    parser.add_argument("--checkov", default=".venv-checkov/bin/checkov", help="the program")
    parser.add_argument("--write-snapshots", action="store_true", help="write them anew")
    arguments = parser.parse_args()
    program = find()
    found: list[str] = []
    if program is None:
        sys.stderr.write(f"{MISSING}\n")
    else:
        with tempfile.TemporaryDirectory() as directory:
            found = compiled(program, Path(directory), write=arguments.write_snapshots)
        sys.stdout.write(f"bicep: {len(setups())} snapshots, {len(found)} problems\n")
    with tempfile.TemporaryDirectory() as directory:
        copy([*INFRA.rglob("*.bicep"), *INFRA.rglob("*.json")], Path(directory))
        report, printed = scan(arguments.checkov, Path(directory))
    insecure = problems(report, printed, accepted())
    summary = report.get("summary", {})
    sys.stdout.write(f"checkov: {summary.get('passed', 0)} passed, {len(insecure)} problems\n")
    for line in found + insecure:
        sys.stderr.write(f"{line}\n")
    return 1 if found or insecure else 0


if __name__ == "__main__":
    sys.exit(main())
