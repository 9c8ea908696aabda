"""Measures, prints the tables, and writes them down.

    python -m bench [--quick] [--json FILE] [--markdown FILE]        (make bench)

Minutes, on a busy machine up to seven, or two with `--quick`; progress goes to standard error.
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

from bench import fleet, history, intake, machine, methods, report, simulating, startup
from bench.screen import elapsed, say
from local.stack import Options, Stack

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Scope:
    """How much of each measurement; odd `rounds`, since a first rotation precedes them.

    No `sizes`: no fleet."""

    rounds: int
    fleet_rounds: int
    sizes: tuple[int, ...]
    listed: tuple[int, ...]
    events: int
    processes: int
    runs: int


FULL = Scope(5, 3, fleet.SIZES, (20, 100, 300), 200, 7, 300)
QUICK = Scope(1, 0, (), (20,), 50, 2, 50)


def main(argv: Sequence[str] | None = None) -> int:
    given = arguments(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        found = measured(quick=given.quick)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; everything is being ended\n")
        return 130
    sys.stdout.write(report.text(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if given.markdown:
        given.markdown.write_text(report.markdown(found), encoding="utf-8")
    return 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench ARGS=...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all that was measured")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables, for the docs")
    return parser.parse_args(argv)


def measured(*, quick: bool) -> dict[str, Any]:
    scope = QUICK if quick else FULL
    found: dict[str, Any] = {
        "command": "make bench" + (" ARGS=--quick" if quick else ""),
        "startup": startup.measure(rounds=scope.processes),
        "turns": history.turns(),
        "simulation": simulating.measure(runs=scope.runs),
    }
    found |= on_the_stack(scope, quick=quick)
    found["scaling"] = fleet.scaling(rounds=scope.fleet_rounds, sizes=scope.sizes)
    return {**found, "seconds": round(elapsed())}


def on_the_stack(scope: Scope, *, quick: bool) -> dict[str, Any]:
    """In this order: the comparison leaves production on the other slot, the events on a
    rotation that is taken back."""
    with tempfile.TemporaryDirectory(prefix="rotation-") as directory:
        say("starting the local stack")
        with Stack(Path(directory), Options()) as stack:
            demo = fleet.demo(stack, rounds=scope.rounds)
            return {
                "machine": machine.describe(stack),
                "demo": demo,
                "left": history.left_behind(stack, demo["last"]),
                "methods": methods.compare(stack, quick=quick),
                "listing": history.listing(stack, counts=scope.listed),
                "events": intake.measure(stack, count=scope.events),
            }


if __name__ == "__main__":
    sys.exit(main())
