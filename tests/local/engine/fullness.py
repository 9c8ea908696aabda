"""A runner whose journal may not grow, and its successor once it may.

python -m tests.local.engine.fullness JOURNAL
"""

from __future__ import annotations

import json
import resource
import sys
import threading
from pathlib import Path

from local.engine import Engine, Runner, SqliteJournal
from tests.local.engine.support import App, Context, Steps


def functions() -> App:
    app = App()

    @app.step
    def double(n: int) -> int:
        return 2 * n

    @app.orchestration
    def doubles(context: Context) -> Steps:
        first = yield context.call_activity("double", context.get_input())
        return (yield context.call_activity("double", first))

    return app


def fail(path: Path) -> str:
    """The name of the error the runner stopped for."""
    journal = SqliteJournal(path)
    engine = Engine(functions(), journal)
    engine.start("doubles", "one", "1")
    size = path.with_name(path.name + "-wal").stat().st_size
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    failed = threading.Event()
    runner = Runner(engine, on_failure=lambda _: failed.set(), pauses=(0.01,))
    runner.start()
    assert failed.wait(10)
    assert runner.stop()
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    journal.close()
    return type(runner.failure).__name__


def succeed(path: Path) -> object:
    """The output of the instance that was started before."""
    journal = SqliteJournal(path)
    engine = Engine(functions(), journal)
    runner = Runner(engine)
    runner.start()

    def over() -> bool:
        summary = journal.summary("one")
        return summary is not None and summary.finished

    with engine.changed:
        assert engine.changed.wait_for(over, 20)
    assert runner.stop()
    status = engine.status("one")
    journal.close()
    return None if status is None else status["output"]


if __name__ == "__main__":
    journal_path = Path(sys.argv[1])
    failure = fail(journal_path)
    sys.stdout.write(json.dumps({"failure": failure, "output": succeed(journal_path)}))
