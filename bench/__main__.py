"""Measures, prints the tables, and writes them down.

    python -m bench [--quick] [--json FILE] [--markdown FILE]        (make bench)
    python -m bench frameworks --help   applications of other frameworks  (make bench-frameworks)
    python -m bench soak --help         hosts that die and storage that goes away, for hours

Minutes, on a busy machine up to seven; with `--quick` at most two. Progress goes to standard
error. The exit code is not 0 when anything fails, a promise of this app included.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import (
    dry_run,
    fleet,
    history,
    incident,
    intake,
    machine,
    methods,
    report,
    simulating,
    soak,
    startup,
)
from bench.frameworks import command
from bench.screen import elapsed, say
from local.stack import Options, Stack

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Scope:
    """The extent of each measurement; none is left out, so that none can break unseen."""

    replicas: int  # of the demo's Deployments
    rounds: int  # rotations of the demo after a first one; odd
    pace: methods.Pace
    fleet_rounds: int
    fleet_sizes: tuple[int, ...]  # workloads
    fleet_start: int  # seconds until a pod is ready
    histories: tuple[int, ...]  # workloads; two at least, for a slope
    listed: tuple[int, ...]  # rotations; more than those before
    dry_runs: int
    incidents: int  # after a first one
    events: int
    batches: int
    processes: int
    runs: int


FULL = Scope(
    replicas=2,
    rounds=5,
    pace=methods.Pace(start=5, lame_duck=5, margin=2.0),
    fleet_rounds=3,
    fleet_sizes=(2, 4, 8),
    fleet_start=3,
    histories=(1, 10, 50, 100),
    listed=(20, 100, 300),
    dry_runs=5,
    incidents=3,
    events=200,
    batches=5,
    processes=7,
    runs=300,
)
QUICK = Scope(
    replicas=1,
    rounds=1,
    pace=methods.Pace(start=1, lame_duck=2, margin=0.5),
    fleet_rounds=1,
    fleet_sizes=(1, 2),
    fleet_start=1,
    histories=(1, 4),
    listed=(8,),
    dry_runs=1,
    incidents=1,
    events=20,
    batches=2,
    processes=1,
    runs=20,
)


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if argv[:1] == ["frameworks"]:
        return command.main(argv[1:])
    if argv[:1] == ["soak"]:
        return soak.main(argv[1:])
    given = arguments(argv)
    try:
        found = measured(quick=given.quick)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; everything is being ended\n")
        return 130
    publish(found, given)
    problems = list(methods.broken(found["methods"]))
    sys.stderr.writelines(f"a promise is broken: {problem}\n" for problem in problems)
    return 1 if problems else 0


def publish(found: dict[str, Any], given: argparse.Namespace) -> None:
    """Writes the results to standard output, and to the files that were asked for."""
    sys.stdout.write(report.text(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if given.markdown:
        given.markdown.write_text(report.markdown(found), encoding="utf-8")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench ARGS=...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="all, at sizes that measure little")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all that was measured")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables, for the docs")
    return parser.parse_args(argv)


def measured(*, quick: bool) -> dict[str, Any]:
    scope = QUICK if quick else FULL
    found: dict[str, Any] = {
        "command": "make bench" + (" ARGS=--quick" if quick else ""),
        "startup": startup.measure(rounds=scope.processes),
        "turns": history.turns(scope.histories),
        "simulation": simulating.measure(runs=scope.runs),
    }
    found |= on_the_stack(scope)
    found["incident"] = incident.measure(rounds=scope.incidents, replicas=scope.replicas)
    found["scaling"] = fleet.scaling(
        rounds=scope.fleet_rounds, sizes=scope.fleet_sizes, start=scope.fleet_start
    )
    return {**found, "seconds": round(elapsed())}


def on_the_stack(scope: Scope) -> dict[str, Any]:
    """The measurements on one stack, in this order: the comparison leaves production on the
    other slot, the events on a rotation that is taken back."""
    with tempfile.TemporaryDirectory(prefix="rotation-") as directory:
        say("starting the local stack")
        with Stack(Path(directory), Options(replicas=scope.replicas)) as stack:
            demo = fleet.demo(stack, rounds=scope.rounds)
            return {
                "machine": machine.describe(stack),
                "demo": demo,
                "dryRun": dry_run.measure(stack, count=scope.dry_runs),
                "left": history.left_behind(stack, demo["last"]),
                "methods": methods.compare(stack, scope.pace),
                "listing": history.listing(stack, counts=scope.listed),
                "events": intake.measure(stack, count=scope.events, batches=scope.batches),
            }


if __name__ == "__main__":
    sys.exit(main())
