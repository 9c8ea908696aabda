"""Rotates applications of other frameworks, and counts the requests that their clients lose.

    python -m bench frameworks [NAME ...] [--quick] [--write] [--json FILE]
    make bench-frameworks ARGS=...

Each is built with its own tools, once, into `.frameworks/`, and put in the place of the sample
application on the local stack, in each of the ways in which it can end. Eight clients that never
look at a connection that they kept, and eight that do, load it over whole rotations, approved and
rejected; none repeats a request. What this machine cannot build is left out, with a sentence.

About half an hour for all of them, a minute for each way to end; `--quick` measures each as it
comes and with the recipe, once. Progress goes to standard error. The exit code is 1 when a request
failed where docs/guarantees.md says that none does: with a recipe, or without a decision.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import machine
from bench.frameworks import building, measuring, site, table
from bench.frameworks.catalogue import FRAMEWORKS
from bench.frameworks.measuring import Pace
from bench.rotating import RotationFailed
from bench.screen import elapsed, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.frameworks.catalogue import Framework, Shape
    from bench.frameworks.measuring import Found
    from bench.frameworks.site import Site

NAMES = [framework.name for framework in FRAMEWORKS]
QUICK = Pace(approved=1, rejected=1)


def main(argv: Sequence[str]) -> int:
    given = arguments(argv)
    pace = QUICK if given.quick else Pace(given.approved, given.rejected, given.rate)
    chosen = [framework for framework in FRAMEWORKS if framework.name in given.names]
    if given.write and (given.quick or len(chosen) < len(FRAMEWORKS)):
        sys.stderr.write("--write takes the whole: without names, and without --quick\n")
        return 2
    try:
        found = measured(chosen, pace, quick=given.quick)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; everything is being ended\n")
        return 130
    sys.stdout.write(table.text(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2, default=vars) + "\n", encoding="utf-8")
    if given.write:
        table.write(found)
    problems = [problem for one in found["measured"] for problem in measuring.broken(one)]
    sys.stderr.writelines(f"a promise is broken: {problem}\n" for problem in problems)
    sys.stderr.writelines(f"{failure}\n" for failure in found["failures"])
    return 1 if problems or found["failures"] else 0


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench-frameworks ARGS=...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    every = Pace()
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="as it comes and the recipe, once")
    parser.add_argument("--approved", type=int, default=every.approved, help="rotations of each")
    parser.add_argument("--rejected", type=int, default=every.rejected, help="rotations of each")
    parser.add_argument(
        "--rate", type=float, default=every.rate, help="requests a second of each client"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all that was measured")
    parser.add_argument("--write", action="store_true", help="the table into docs/applications.md")
    given = parser.parse_args(argv)
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"not known: {', '.join(sorted(unknown))}; there is {', '.join(NAMES)}")
    given.names = given.names or NAMES
    return given


def measured(chosen: Sequence[Framework], pace: Pace, *, quick: bool) -> dict[str, Any]:
    """What was found of each, with the machine; `left_out` says of what could not be built why."""
    left_out: list[str] = []
    failures: list[str] = []
    built = list(_built(chosen, left_out, failures))
    found: list[Found] = []
    with tempfile.TemporaryDirectory(prefix="rotation-") as directory:
        say("starting the local stack")
        with site.stack(Path(directory)) as stack:
            about = machine.describe(stack)
            place = site.Site(stack)
            for framework in built:
                for shape in shapes(framework, quick=quick):
                    found += _attempt(place, framework, shape, pace, failures)
    return {
        "machine": about,
        "pace": vars(pace),
        "measured": found,
        "left_out": left_out,
        "failures": failures,
        "seconds": round(elapsed()),
    }


def _built(
    chosen: Sequence[Framework], left_out: list[str], failures: list[str]
) -> Iterator[Framework]:
    for framework in chosen:
        say(f"building {framework.title}")
        try:
            building.build(framework)
        except building.ToolMissing as missing:
            say(str(missing))
            left_out.append(str(missing))
        except building.NotBuilt as error:
            say(str(error))
            failures.append(str(error))
        else:
            yield framework


def shapes(framework: Framework, *, quick: bool) -> list[Shape]:
    """Its ways to end; of a quick run the first, and the recipe."""
    first = framework.shapes[0]
    return [s for s in framework.shapes if not quick or s is first or s.lame_duck]


def _attempt(
    place: Site, framework: Framework, shape: Shape, pace: Pace, failures: list[str]
) -> list[Found]:
    """What was found, in a list; an empty one, and a failure more, where it did not come to it."""
    who = f"{framework.title}, {shape.title}"
    say(who)
    try:
        found = measuring.measure(place, framework, shape, pace)
    except (RotationFailed, TimeoutError) as error:
        say(f"  not measured: {error}")
        failures.append(f"{who}: {error}")
        return []
    say(f"  after approvals {found.approved}, rejections {found.rejected}, else {found.elsewhere}")
    return [found]
