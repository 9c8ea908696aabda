"""Dies by SIGKILL at chosen commits, in child processes of this one, and reports how they ended.

    python -m tests.local.engine.victim DIRECTORY after|inside|again

A process of its own, because only one without threads can be forked safely.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.engine import Engine, Runner, SqliteJournal
from local.engine.events import Kind
from tests.local.engine.support import App, Context

if TYPE_CHECKING:
    from local.engine.state import Change
    from tests.local.engine.support import Steps


class MortalJournal(SqliteJournal):
    """Kills its process at commit `fatal`: before the transaction ends, or after."""

    def __init__(self, path: Path, fatal: int, *, inside: bool) -> None:
        super().__init__(path)
        self._left = fatal
        self._inside = inside

    def commit(self, change: Change) -> None:
        self._left -= 1
        if self._left == 0 and self._inside:
            self._db.set_trace_callback(self._die_at_commit)
        super().commit(change)
        if self._left == 0:
            die()

    def _die_at_commit(self, sql: str) -> None:
        if sql == "commit":
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def story(effects: Path) -> App:
    app = App()

    @app.step
    def square(n: int) -> int:
        with effects.open("a") as log:
            log.write(f"{n}\n")
        return n * n

    @app.orchestration
    def child(context: Context) -> Steps:
        return (yield context.call_activity("square", context.get_input()))

    @app.orchestration
    def tale(context: Context) -> Steps:
        rounds = context.get_input()
        if rounds == 0:
            squares = yield context.task_all([context.call_activity("square", n) for n in range(3)])
            context.continue_as_new({"squares": squares})
            return None
        yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=1))
        children = [context.call_sub_orchestrator("child", n, f"child-{n}") for n in (5, 6)]
        nested = yield context.task_all(children)
        yield context.wait_for_external_event("go")
        return {**rounds, "nested": nested, "rounds": 2}

    return app


def tell(path: Path, effects: Path, fatal: int, *, inside: bool) -> int:
    """Runs the story in a child process until its end or its death; returns the wait status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run(MortalJournal(path, fatal, inside=inside), story(effects))
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def run(journal: SqliteJournal, app: App) -> None:
    engine = Engine(app, journal)
    if journal.summary("one") is None:
        engine.start("tale", "one", "0")
    runner = Runner(engine, activity_threads=2)
    runner.start()

    def status() -> Any:
        summary = journal.summary("one")
        return None if summary is None else summary.status

    with engine.changed:
        assert engine.changed.wait_for(lambda: waits(journal) or status() == "Completed", 20)
        if status() != "Completed":
            engine.raise_event("one", "go", "null")
        assert engine.changed.wait_for(lambda: status() == "Completed", 20)
    assert runner.stop()
    journal.close()


def waits(journal: SqliteJournal) -> bool:
    """Whether both sub-orchestrations have answered."""
    answers = [e for e in journal.history("one") if e.kind is Kind.CHILD_COMPLETED]
    return len(answers) == 2


def sweep(directory: Path, *, inside: bool) -> list[list[int]]:
    """For every commit: how the process that died there ended, and how its successor did. The
    last one meets no fatal commit any more and has no successor."""
    lives: list[list[int]] = []
    while not lives or lives[-1][0] != 0:
        fatal = len(lives) + 1
        path, effects = directory / f"{fatal}.db", directory / f"{fatal}.effects"
        lives.append([tell(path, effects, fatal, inside=inside)])
        if lives[-1][0] != 0:
            lives[-1].append(tell(path, effects, 0, inside=False))
    return lives


def again_and_again(directory: Path) -> list[list[int]]:
    """One journal; each process dies at its second commit, until none is left to do."""
    path, effects = directory / "1.db", directory / "1.effects"
    lives = [tell(path, effects, 2, inside=False)]
    while lives[-1] != 0 and len(lives) < 100:
        lives.append(tell(path, effects, 2, inside=False))
    return [lives]


def main() -> None:
    directory, mode = Path(sys.argv[1]), sys.argv[2]
    if mode == "again":
        lives = again_and_again(directory)
    else:
        lives = sweep(directory, inside=mode == "inside")
    sys.stdout.write(json.dumps(lives))


if __name__ == "__main__":
    main()
