"""`make mutate`: puts small faults into the code, one at a time; names those that no test sees."""

from __future__ import annotations

import argparse
import importlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from local.process import ROOT
from tests.mutation.mutants import Mutant, mutants
from tests.mutation.running import reached, survives

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOMS = ("decisions", "story", "front", "edges")
SUITES = ("tests/unit", "tests/contract")
ACCEPTED = ROOT / "tests" / "mutation" / "accepted.yaml"
# Loaded before the forks, since they take longest; none of them loads anything of the product.
HEAVY = (
    "aiohttp",
    "azure.durable_functions",
    "azure.eventgrid",
    "azure.identity",
    "azure.keyvault.secrets",
    "jinja2",
    "kubernetes.client",
    "psycopg",
    "pydantic",
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 if a mutant survives that is not accepted, or an accepted one is gone."""
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("--room", action="append", choices=ROOMS, help="default: all four")
    parser.add_argument("--module", action="append", help="a path; in place of whole rooms")
    parser.add_argument("--sample", type=int, metavar="N", help="so many, drawn by lot")
    parser.add_argument("--seed", type=int, default=1, help="of that lot (default 1)")
    parser.add_argument("--suite", action="append", help=f"tests (default: {' '.join(SUITES)})")
    parser.add_argument(
        "--reach", type=Path, metavar="FILE", help="what tests reach: kept or reused"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what became of each")
    given = parser.parse_args(argv)
    modules = given.module or [
        str(path.relative_to(ROOT))
        for room in given.room or ROOMS
        for path in sorted((ROOT / "rotation" / room).rglob("*.py"))
    ]
    every = [one for path in modules for one in mutants(path, (ROOT / path).read_text("utf-8"))]
    chosen = every
    if given.sample is not None and given.sample < len(every):
        chosen = random.Random(given.seed).sample(every, given.sample)  # noqa: S311
    say(f"{len(every)} mutants of {len(modules)} modules, {len(chosen)} of them are tried")
    with tempfile.TemporaryDirectory() as folder:
        say("running the tests once, to see which of them reach which line")
        data = given.reach or Path(folder) / "coverage"
        tests = reached(given.suite or SUITES, data.absolute())
    for name in HEAVY:
        importlib.import_module(name)
    results = tried(chosen, tests)
    if given.json:
        given.json.write_text(json.dumps({one.key: r for one, r in results}, indent=1) + "\n")
    return report(results, whole=chosen is every and not given.module and not given.room)


def tried(
    chosen: list[Mutant], tests: dict[tuple[str, int], list[str]]
) -> list[tuple[Mutant, str]]:
    """The mutants, each with `killed`, `survived` or `unreached`."""
    results, began = [], time.monotonic()
    _control(chosen, tests)
    for number, mutant in enumerate(chosen, 1):
        reaching = tests.get((mutant.module, mutant.line), [])
        if not reaching:
            result = "unreached"
        else:
            result = "survived" if survives(mutant, reaching) else "killed"
        results.append((mutant, result))
        if result != "killed":
            say(f"{result}: {mutant.module}:{mutant.line} {mutant.function}: {mutant.change}")
        if number % 50 == 0:
            say(f"{number} of {len(chosen)} after {time.monotonic() - began:.0f} s")
    return results


def _control(chosen: list[Mutant], tests: dict[tuple[str, int], list[str]]) -> None:
    """Checks that a module without a fault survives, or nothing that is killed says anything."""
    for mutant in {one.module: one for one in chosen}.values():
        same = replace(mutant, source=(ROOT / mutant.module).read_text(encoding="utf-8"))
        reaching = tests.get((mutant.module, mutant.line), [])
        if reaching and not survives(same, reaching):
            raise RuntimeError(f"tests fail with {mutant.module} as it is: {reaching}")


def report(results: list[tuple[Mutant, str]], *, whole: bool) -> int:
    accepted: dict[str, str] = yaml.safe_load(ACCEPTED.read_text(encoding="utf-8")) or {}
    left = {one.key for one, result in results if result != "killed"}
    counts = Counter(
        (one.module.split("/")[1], result if one.key not in accepted else "accepted")
        for one, result in results
    )
    say("room        killed  survived  unreached  accepted")
    for room in ROOMS:
        numbers = [counts[room, kind] for kind in ("killed", "survived", "unreached", "accepted")]
        say(f"{room:10} {numbers[0]:7} {numbers[1]:9} {numbers[2]:10} {numbers[3]:9}")
    new = sorted(left - accepted.keys())
    gone = sorted(accepted.keys() - left) if whole else []
    for key in new:
        say(f"no test notices: {key}")
    for key in gone:
        say(f"accepted, but no longer there or killed: {key}")
    return 1 if new or gone else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
