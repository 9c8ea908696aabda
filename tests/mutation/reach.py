"""Which tests reach a line, and how long they take."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from coverage.numbits import numbits_to_nums

from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.mutation.mutants import Mutant


@dataclass
class Reach:
    """The test functions by the file and line that they reach, in the order to run them in.

    `modules` has all that reach any line of a file; `seconds` is how long each test takes. Of those
    that reach a line `most` are run, the quickest; all unless it is given.
    """

    lines: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    modules: dict[str, list[str]] = field(default_factory=dict)
    unowned: set[tuple[str, int]] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)
    most: int | None = None

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that may notice the mutant.

        What runs once, on import or in a fixture, is reached by no test of its own: all that reach
        its module may notice.
        """
        place = (mutant.module, mutant.line)
        if mutant.once or (place not in self.lines and place in self.unowned):
            found = self.modules.get(mutant.module, [])
        else:
            found = self.lines.get(place, [])
        named = f"test_{PurePath(mutant.module).stem}.py"  # what is named after it knows it best
        return sorted(found, key=lambda test: named not in test)[: self.most]

    def duration(self, tests: Sequence[str]) -> float:
        """How many seconds these tests take."""
        return sum(self.seconds.get(test, 1.0) for test in tests)


def reached(suites: Mapping[str, Sequence[str]], data: Path) -> Reach:
    """What the tests of each suite reach. Raises `RuntimeError` if one fails without any mutant.

    `data` is a folder that the measurements go to, one for each suite; what is there already is
    not measured anew.
    """
    data.mkdir(parents=True, exist_ok=True)
    measured = []
    for name, paths in suites.items():
        file = data / name
        if not file.exists():
            _measure(paths, file)
        measured.append(file)
    return _read(measured)


def _measure(paths: Sequence[str], file: Path) -> None:
    ini, partial = file.with_suffix(".ini"), file.with_suffix(".partial")
    ini.write_text(
        f"[run]\ndata_file = {partial}\ndynamic_context = test_function\n"
        "source = rotation\nconcurrency = thread,greenlet\n",
        encoding="utf-8",
    )
    command = ["coverage", "run", f"--rcfile={ini}", "-m", "pytest", "-q", "-p", "no:randomly"]
    run = subprocess.run(  # noqa: S603 - argv is written here
        [sys.executable, "-m", *command, f"--junitxml={file.with_suffix('.xml')}", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise RuntimeError(f"tests fail without a mutant:\n{run.stdout[-3000:]}")
    partial.rename(file)


def _read(measured: Sequence[Path]) -> Reach:
    query = (
        "SELECT file.path, context.context, line_bits.numbits FROM line_bits "
        "JOIN file ON file.id = line_bits.file_id JOIN context ON context.id = line_bits.context_id"
    )
    reach = Reach()
    lines: dict[tuple[str, int], set[str]] = {}
    weight: dict[str, int] = {}
    for data in measured:
        _read_durations(data.with_suffix(".xml"), reach.seconds)
        with sqlite3.connect(data) as connection:
            for path, context, bits in connection.execute(query):
                file = str(Path(path).relative_to(ROOT))
                places = [(file, number) for number in numbits_to_nums(bits)]
                if not context.startswith("tests."):
                    reach.unowned.update(places)
                    continue
                weight[context] = weight.get(context, 0) + len(places)
                for place in places:
                    lines.setdefault(place, set()).add(context)

    def order(context: str) -> tuple[float, int, str]:
        """The quickest first; of those alike, the ones that reach the fewest other lines."""
        return round(reach.seconds.get(_node(context), 1.0), 1), weight[context], context

    modules: dict[str, set[str]] = {}
    for place, contexts in lines.items():
        reach.lines[place] = [_node(one) for one in sorted(contexts, key=order)]
        modules.setdefault(place[0], set()).update(contexts)
    for file, contexts in modules.items():
        reach.modules[file] = [_node(one) for one in sorted(contexts, key=order)]
    return reach


def _read_durations(junit: Path, seconds: dict[str, float]) -> None:
    """Adds how long each test function takes, with all of its parameters, by its node id."""
    for case in ET.parse(junit).iter("testcase"):  # noqa: S314 - pytest wrote it
        name = case.attrib["name"].partition("[")[0]
        node = _node(f"{case.attrib['classname']}.{name}")
        seconds[node] = seconds.get(node, 0.0) + float(case.attrib["time"])


@cache
def _node(context: str) -> str:
    """The test `tests.unit.test_plan.TestIt.test_one`, as pytest names it."""
    parts = context.split(".")
    for length in range(len(parts), 0, -1):
        file = Path(*parts[:length]).with_suffix(".py")
        if (ROOT / file).is_file():
            return "::".join([str(file), *parts[length:]])
    raise LookupError(f"{context} is in no file")
