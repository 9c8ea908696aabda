"""`make mutate`: puts small faults into the code, one at a time; names those that no test sees."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import yaml

from local.process import ROOT, set_death_signal
from tests.mutation.cold import judged
from tests.mutation.forks import HEAVY
from tests.mutation.mutants import Mutant, mutants
from tests.mutation.reach import reached
from tests.mutation.warm import OPTIONS, Warm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.mutation.forks import Verdict
    from tests.mutation.reach import Reach

ROOMS = ("decisions", "story", "front", "edges")
ATTACKS = (
    *("another_name", "database", "events", "hostile_bodies", "links", "named_by_key"),
    *("no_principal", "other_sites", "parsers", "secret_writers", "time", "token_receivers"),
)
# Those that call what is mutated in their own process.
SUITES: dict[str, tuple[str, ...]] = {
    "unit": ("tests/unit",),
    "contract": ("tests/contract",),
    "attacks": tuple(f"tests/security/test_attack_{name}.py" for name in ATTACKS),
    "forgery": ("tests/security/test_forgery.py", "tests/telemetry/test_exporters.py"),
}
NOTICED = ("killed", "hung")
ACCEPTED = ROOT / "tests" / "mutation" / "accepted.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 if a mutant survives that is not accepted, or an accepted one is gone."""
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("--room", action="append", choices=ROOMS, help="default: all four")
    parser.add_argument("--module", action="append", help="a path; in place of whole rooms")
    parser.add_argument("--sample", type=int, metavar="N", help="so many, drawn by lot")
    parser.add_argument("--seed", type=int, default=1, help="of that lot (default 1)")
    parser.add_argument(
        "--suite", action="append", type=_suite, help=f"{', '.join(SUITES)}, a path; default: all"
    )
    parser.add_argument("--tests", type=int, metavar="N", help="no more than so many for each")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="mutants at a time")
    parser.add_argument(
        "--reach", type=Path, metavar="FOLDER", help="what tests reach: kept or reused"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what became of each")
    parser.add_argument(
        "--again", type=Path, metavar="FILE", help="of --json: try what was killed there no more"
    )
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
    suites = dict(given.suite) if given.suite else SUITES
    with tempfile.TemporaryDirectory() as folder:
        say("running the tests once, to see which of them reach which line")
        reach = reached(suites, (given.reach or Path(folder)).absolute())
    reach.most = given.tests
    before = json.loads(given.again.read_text("utf-8")) if given.again else {}
    known = {one: before[one.key] for one in chosen if before.get(one.key) in NOTICED}
    rest = [one for one in chosen if one not in known]
    results = dict(known)
    try:
        tried(rest, reach, list(chain(*suites.values())), given.jobs, results)
    finally:
        if given.json:
            named = {one.key: result for one, result in results.items()}
            given.json.write_text(json.dumps(named, indent=1) + "\n", encoding="utf-8")
    return report(
        [(one, results[one]) for one in chosen],
        whole=chosen is every and not given.module and not given.room,
    )


def _suite(given: str) -> tuple[str, tuple[str, ...]]:
    """A suite's name, one that a file may have, and the paths of its tests."""
    if given in SUITES:
        return given, SUITES[given]
    if not (ROOT / given).exists():
        raise argparse.ArgumentTypeError(f"{given} is neither {', '.join(SUITES)} nor a path")
    return given.replace("/", "."), (given,)


def tried(
    chosen: list[Mutant],
    reach: Reach,
    suites: Sequence[str],
    jobs: int,
    results: dict[Mutant, str],
) -> None:
    """Notes what becomes of each mutant: `killed`, `hung`, `survived` or `unreached`."""
    unreached = [one for one in chosen if not reach.of(one)]
    for one in unreached:
        results[one] = "unreached"
        tell(one, "unreached")
    began = time.monotonic()
    quick = [one for one in chosen if one not in results and not one.once]
    for number, (one, verdict) in enumerate(warmly(quick, reach, suites, jobs), 1):
        results[one] = verdict
        if verdict == "survived":
            say(f"so far: {one.key}")
        if number % 50 == 0:
            say(f"{number} of {len(quick)} after {time.monotonic() - began:.0f} s")
    slow = [one for one in chosen if results.get(one, "survived") == "survived"]
    say(f"{len(slow)} are left, whose module is imported anew")
    for name in HEAVY:
        importlib.import_module(name)
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        tests = [reach.of(one) for one in slow]
        verdicts = pool.map(judged, slow, tests, map(reach.duration, tests))
        for one, verdict in zip(slow, verdicts, strict=True):
            results[one] = verdict
            tell(one, verdict)


def warmly(
    mutants: list[Mutant], reach: Reach, suites: Sequence[str], jobs: int
) -> Iterator[tuple[Mutant, str]]:
    """Each mutant, with what tests say that were collected once; in a process of their own.

    Raises `RuntimeError` if a module without a fault is noticed: nothing that is killed would say
    anything then.
    """
    control = [replace(one, place=None) for one in {one.module: one for one in mutants}.values()]
    every = control + mutants
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        set_death_signal(signal.SIGKILL)
        try:
            with os.fdopen(writing, "w", buffering=1) as answers:

                def told(number: int, verdict: Verdict) -> None:
                    answers.write(f"{number} {verdict}\n")

                warm = Warm(every, reach, jobs, told)
                code = int(pytest.main([*OPTIONS, *suites], plugins=[warm]))
        except BaseException:  # noqa: BLE001 - all that is left to do is to say it
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as answers:
        for line in answers:
            number, _, verdict = line.strip().partition(" ")
            one = every[int(number)]
            if one.place is not None:
                yield one, verdict
            elif verdict != "survived":
                raise RuntimeError(f"tests of {one.module} as it is: {verdict}")
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"pytest ended with {os.waitstatus_to_exitcode(status)}")


def tell(mutant: Mutant, verdict: str) -> None:
    if verdict != "killed":
        say(f"{verdict}: {mutant.module}:{mutant.line} {mutant.function}: {mutant.change}")


def report(results: list[tuple[Mutant, str]], *, whole: bool) -> int:
    """The exit code, 1 if something is left that is not accepted; writes the counts."""
    accepted: dict[str, str] = yaml.safe_load(ACCEPTED.read_text(encoding="utf-8")) or {}
    left = {one.key for one, result in results if result not in NOTICED}
    counts = Counter(
        (
            one.module.split("/")[1],
            "accepted" if one.key in accepted and result not in NOTICED else result,
        )
        for one, result in results
    )
    kinds = (*NOTICED, "survived", "unreached", "accepted")
    say(f"{'room':10}" + "".join(f"{kind:>11}" for kind in kinds))
    for room in ROOMS:
        say(f"{room:10}" + "".join(f"{counts[room, kind]:11}" for kind in kinds))
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


def _end(number: int, frame: object) -> NoReturn:
    """Ends as Ctrl-C does, with what is known by then written down."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main())
