"""`python -m tests.simulation --runs N --seed S`: run i has seed S+i; the last line counts.

`--fleets` draws small fleets with limits and waves instead. `--sweep` goes through one rotation
with one fault, for every place and way.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from tests.simulation import fleets, sweeps
from tests.simulation.faults import KINDS
from tests.simulation.run import Options, Result, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 25
SHOWN = 10  # violations that are printed in full


def main(arguments: list[str] | None = None) -> int:
    given = _arguments(arguments)
    warnings.filterwarnings("ignore", message="Potential duplicate Task completion")
    return _sweep(given.workers) if given.sweep else _simulate(given)


def _simulate(given: argparse.Namespace) -> int:
    options = Options(
        kinds=tuple(kind for kind in KINDS if kind in given.faults),
        others=not given.no_others,
        story=given.story,
        fleets=given.fleets,
    )
    seeds = range(given.seed, given.seed + given.runs)
    started, count, outcomes = time.monotonic(), 0, Counter[str]()
    for result in _results(seeds, options, given.workers):
        outcomes.update(result.outcomes)
        if result.violations:
            count += len(result.violations)
            if count <= SHOWN:
                _show(result, options)
        if given.story:
            sys.stdout.write("\n".join(result.story) + "\n")
    _sum_up(outcomes, time.monotonic() - started)
    sys.stdout.write(f"{given.runs} runs, {count} violations\n")
    return 1 if count else 0


def _sweep(workers: int) -> int:
    plain = [*sweeps.calls(), *sweeps.passing(), *sweeps.commits()]
    cases = [*plain, *sweeps.others(), *sweeps.leaks(), *sweeps.deeds()]
    with ProcessPoolExecutor(workers) as pool:
        found = [problem for listed in pool.map(_case, cases, chunksize=20) for problem in listed]
    sys.stdout.writelines(f"{problem}\n" for problem in found)
    sys.stdout.write(f"{len(cases)} cases, {len(found)} violations\n")
    return 1 if found else 0


def _case(case: sweeps.Case) -> list[str]:
    return sweeps.problems(case, again=True)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the first run")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--story", action="store_true", help="print what happened in each run")
    parser.add_argument(
        "--faults", nargs="*", default=list(KINDS), choices=KINDS, help="the kinds to draw from"
    )
    parser.add_argument("--no-others", action="store_true", help="nobody else changes anything")
    parser.add_argument("--fleets", action="store_true", help="many credentials, and waves")
    parser.add_argument("--sweep", action="store_true", help="all single faults, no seeds")
    return parser.parse_args(arguments)


def _results(seeds: range, options: Options, workers: int) -> Iterator[Result]:
    if workers == 1 or len(seeds) <= CHUNK:
        for seed in seeds:
            yield _run(seed, options)
        return
    with ProcessPoolExecutor(workers) as pool:
        chunks = [seeds[n : n + CHUNK] for n in range(0, len(seeds), CHUNK)]
        for results in pool.map(_chunk, chunks, [options] * len(chunks)):
            yield from results


def _chunk(seeds: range, options: Options) -> list[Result]:
    return [_run(seed, options) for seed in seeds]


def _run(seed: int, options: Options) -> Result:
    return fleets.simulate(seed, options) if options.fleets else simulate(seed, options)


def _show(result: Result, options: Options) -> None:
    again = f"--runs 1 --seed {result.seed} --story{' --fleets' if options.fleets else ''}"
    for violation in result.violations:
        sys.stdout.write(f"seed {result.seed}: {violation}\n")
    sys.stdout.write(f'  its story: make simulate ARGS="{again}"\n')


def _sum_up(outcomes: Counter[str], seconds: float) -> None:
    listed = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
    sys.stdout.write(f"rotations: {listed}; {seconds:.0f} s\n")


if __name__ == "__main__":
    sys.exit(main())
