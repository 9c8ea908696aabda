"""Judges a mutant by tests that import it in its module's place.

They run in a fork of a process that has the heavy libraries, but nothing of `rotation` yet. It
takes seconds, and sees all that a fault does, on import too.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from local.process import ROOT
from tests.mutation.forks import TIMED_OUT, Ended, Fork, limit_computing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

    from tests.mutation.forks import Verdict
    from tests.mutation.mutants import Mutant

OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
# What was imported before the fork cannot be rewritten, and need not be.
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
COLD = 10.0  # seconds that it takes to import everything, on a slow machine
OWN = {"rotation", "rotctl", "local", "tests", "bench", "generate", "function_app"}


class Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """An import hook that loads one module with a mutant's fault."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._path = ROOT / mutant.module
        parts = Path(mutant.module).with_suffix("").parts
        self._package = parts[-1] == "__init__"
        self._name = ".".join(parts[:-1] if self._package else parts)

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
        return self._mutant.original

    def exec_module(self, module: Any) -> None:
        exec(compile(self._mutant.tree(), str(self._path), "exec"), module.__dict__)  # noqa: S102


def judged(mutant: Mutant, tests: Sequence[str], seconds: float = 0.0) -> Verdict:
    """Whether a test fails with the mutant, hangs, or all pass.

    `seconds` is how long the tests take without the mutant.
    """

    def run(folder: str) -> NoReturn:
        for name in list(sys.modules):
            if name.partition(".")[0] in OWN:
                del sys.modules[name]  # so that it is imported anew, from the mutant
        sys.meta_path.insert(0, Finder(mutant))
        limit_computing(seconds + COLD)
        ended = Ended()
        code = pytest.main([*OPTIONS, f"--basetemp={folder}", *tests], plugins=[ended])
        if code == pytest.ExitCode.NO_TESTS_COLLECTED:
            code = pytest.ExitCode.OK  # all are skipped
        os._exit(TIMED_OUT if ended.timed_out else int(code))

    # A mutant that cannot be imported ends in a usage error, from a conftest: it is killed.
    return Fork(run, seconds).wait()
