"""Which tests reach a line, and whether one of them fails with a mutant in its module's place.

A mutant runs in a fork of a process that has the heavy libraries, but nothing of `rotation` yet:
its tests begin at once, and see the mutant wherever they import it.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from coverage.numbits import numbits_to_nums

from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

    from tests.mutation.mutants import Mutant

FEW = 40  # of the tests that reach a line, those that reach the fewest other lines come first
SECONDS = 60.0
OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
# What was imported before the fork cannot be rewritten, and need not be.
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
OWN = {"rotation", "local", "tests", "bench", "generate", "function_app"}


def reached(suites: Sequence[str], data: Path) -> dict[tuple[str, int], list[str]]:
    """The test functions by the file and line that they reach, the most specific ones first.

    `data` is the file that the measurement goes to; one that is there already is not made anew.
    Raises `RuntimeError` if a test fails without any mutant.
    """
    if data.exists():
        return _read(data)
    ini = data.with_suffix(".ini")
    ini.write_text(
        f"[run]\ndata_file = {data}\ndynamic_context = test_function\n"
        "source = rotation\nconcurrency = thread,greenlet\n",
        encoding="utf-8",
    )
    command = ["coverage", "run", f"--rcfile={ini}", "-m", "pytest", "-q", "-p", "no:randomly"]
    run = subprocess.run(  # noqa: S603 - argv is written here
        [sys.executable, "-m", *command, *suites],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise RuntimeError(f"tests fail without a mutant:\n{run.stdout[-3000:]}")
    return _read(data)


def _read(data: Path) -> dict[tuple[str, int], list[str]]:
    query = (
        "SELECT file.path, context.context, line_bits.numbits FROM line_bits "
        "JOIN file ON file.id = line_bits.file_id JOIN context ON context.id = line_bits.context_id"
    )
    lines: dict[tuple[str, int], set[str]] = {}
    weight: dict[str, int] = {}
    with sqlite3.connect(data) as connection:
        for path, context, bits in connection.execute(query):
            if not context.startswith("tests."):
                continue
            file = str(Path(path).relative_to(ROOT))
            numbers = numbits_to_nums(bits)
            weight[context] = weight.get(context, 0) + len(numbers)
            for number in numbers:
                lines.setdefault((file, number), set()).add(context)
    return {
        place: [_node(one) for one in sorted(contexts, key=lambda one: (weight[one], one))]
        for place, contexts in lines.items()
    }


def _node(context: str) -> str:
    """The test `tests.unit.test_plan.TestIt.test_one`, as pytest names it."""
    parts = context.split(".")
    for length in range(len(parts), 0, -1):
        file = Path(*parts[:length]).with_suffix(".py")
        if (ROOT / file).is_file():
            return "::".join([str(file), *parts[length:]])
    raise LookupError(f"{context} is in no file")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """An import hook that loads one module from a mutant's source."""

    def __init__(self, mutant: Mutant) -> None:
        self._path = ROOT / mutant.module
        parts = Path(mutant.module).with_suffix("").parts
        self._package = parts[-1] == "__init__"
        self._name = ".".join(parts[:-1] if self._package else parts)
        self._source = mutant.source

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            self._path,
            loader=self,
            submodule_search_locations=[str(self._path.parent)] if self._package else None,
        )

    def get_source(self, fullname: str) -> str:  # noqa: ARG002
        return self._source

    def exec_module(self, module: Any) -> None:
        exec(compile(self._source, str(self._path), "exec"), module.__dict__)  # noqa: S102


def survives(mutant: Mutant, tests: Sequence[str]) -> bool:
    """Whether all of these tests pass with the mutant. One that hangs counts as failed."""
    return all(_passes(mutant, some) for some in (tests[:FEW], tests[FEW:]) if some)


def _passes(mutant: Mutant, tests: Sequence[str]) -> bool:
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        for name in list(sys.modules):
            if name.partition(".")[0] in OWN:
                del sys.modules[name]  # so that it is imported anew, from the mutant
        sys.meta_path.insert(0, Finder(mutant))
        os._exit(int(pytest.main([*OPTIONS, *tests])))
    deadline = time.monotonic() + SECONDS + len(tests)
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            # A mutant that cannot be imported ends in a usage error, from a conftest: it is killed.
            if code == pytest.ExitCode.NO_TESTS_COLLECTED:
                raise RuntimeError(f"pytest finds none of {tests}")
            return code == pytest.ExitCode.OK
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False
