"""Judges mutants in forks of a process in which all tests are collected: it takes milliseconds.

The functions that exist already get the code of the mutant's. What runs on import has run: a mutant
that survives here may be noticed by tests that import it (`tests.mutation.cold`).
"""

from __future__ import annotations

import gc
import importlib
import os
import time
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, NoReturn

import pytest

from local.process import ROOT
from tests.mutation.forks import HEAVY, TIMED_OUT, Ended, Fork, limit_computing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.mutation.forks import Verdict
    from tests.mutation.mutants import Mutant
    from tests.mutation.reach import Reach

    Code = tuple[str, int]  # qualified name and first line

OPTIONS = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header"]
# What the tool itself has imported is not rewritten, and need not be.
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]


FEW = 5  # tests, the quickest, that a module has to pass without a fault


class Warm:
    """A plugin that collects the tests, and judges mutants in the place of running them.

    Calls `tell` with each mutant's number and its verdict, once that is known.
    """

    def __init__(
        self,
        mutants: Sequence[Mutant],
        reach: Reach,
        jobs: int,
        tell: Callable[[int, Verdict], None],
    ) -> None:
        self._mutants, self._reach, self._jobs, self._tell = mutants, reach, jobs, tell
        self._items: dict[str, list[pytest.Item]] = {}
        self._functions: dict[str, list[FunctionType]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for item in session.items:
            self._items.setdefault(item.nodeid.partition("[")[0], []).append(item)
        # What tests would import first, each fork would import anew, and without the mutant.
        for name in (*HEAVY, *{_name(mutant) for mutant in self._mutants}):
            importlib.import_module(name)
        self._functions = functions()
        gc.freeze()  # so that forks share its pages
        waiting, running = list(enumerate(self._mutants)), dict[int, Fork]()
        while waiting or running:
            while waiting and len(running) < self._jobs:
                number, mutant = waiting.pop(0)
                running[number] = self._fork(session, mutant)
            for number, fork in list(running.items()):
                verdict = fork.poll()
                if verdict is not None:
                    del running[number]
                    self._tell(number, verdict)
            time.sleep(0.005)
        return True

    def _fork(self, session: pytest.Session, mutant: Mutant) -> Fork:
        tests = self._reach.of(mutant)[: None if mutant.place else FEW]
        missing = [test for test in tests if test not in self._items]
        if missing:
            raise RuntimeError(f"not collected: {missing}; measure anew what tests reach")
        items = [item for test in tests for item in self._items[test]]

        def run(folder: str) -> NoReturn:
            os._exit(self._run(session, mutant, items, folder))

        return Fork(run, self._reach.duration(tests))

    def _run(
        self, session: pytest.Session, mutant: Mutant, items: list[pytest.Item], folder: str
    ) -> int:
        """The exit code: 0 if all tests pass, 1 once one fails."""
        config = session.config
        # Nothing has asked for it yet; there is no public way to give each fork one of its own.
        getattr(config, "_tmp_path_factory")._given_basetemp = Path(folder)  # noqa: B009, SLF001
        ended = Ended()
        config.pluginmanager.register(ended)
        put(mutant, self._functions.get(str(ROOT / mutant.module), []))
        for number, item in enumerate(items):
            following = items[number + 1] if number + 1 < len(items) else None
            for _ in range(2):
                ended.failed = ended.timed_out = False
                limit_computing(self._reach.duration([item.nodeid.partition("[")[0]]))
                config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if not ended.failed:
                    break
                # Once more: it may be the busy machine that the test did not like.
                item._initrequest()  # type: ignore[attr-defined]  # noqa: SLF001 - as plugins do that repeat tests
            if ended.failed:
                return TIMED_OUT if ended.timed_out else 1
        return 0


def _name(mutant: Mutant) -> str:
    return ".".join(Path(mutant.module).with_suffix("").parts).removesuffix(".__init__")


def functions() -> dict[str, list[FunctionType]]:
    """All functions there are, by the file that they are written in."""
    found: dict[str, list[FunctionType]] = {}
    for one in gc.get_objects():
        if type(one) is FunctionType:
            found.setdefault(one.__code__.co_filename, []).append(one)
    return found


def put(mutant: Mutant, existing: Sequence[FunctionType]) -> None:
    """Gives the functions of a module the code that they have in the mutant."""
    path = str(ROOT / mutant.module)
    codes: dict[Code, CodeType | None] = {}
    for code in _codes(compile(mutant.tree(), path, "exec")):
        place = code.co_qualname, code.co_firstlineno
        codes[place] = None if place in codes else code  # two lambdas in a line look alike
    for function in existing:
        old = function.__code__
        new = codes.get((old.co_qualname, old.co_firstlineno))
        if new is not None and new.co_freevars == old.co_freevars:
            function.__code__ = new


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The codes of all functions in a module's, in those functions too."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)
