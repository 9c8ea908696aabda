"""A small durable engine that speaks the out-of-process protocol of azure-functions-durable 1.7.0.

    journal = SqliteJournal("var/journal.db")          # or MemoryJournal()
    engine = Engine(functions, journal)                # clock and ids can be passed in
    runner = Runner(engine)                            # the host: threads and wall clock
    runner.start()

A simulator needs no runner: it chooses among `engine.ready()`, calls `engine.execute(unit)`, or
`run` and `record` apart, and moves its clock to `engine.next_timer()`.
"""

from local.engine.engine import Engine, Functions, Outcome
from local.engine.errors import (
    EngineError,
    InstanceFinished,
    InstanceNotFound,
    InstanceRunning,
    InvalidInstanceId,
    JournalError,
    JournalInUse,
)
from local.engine.journal import Journal, MemoryJournal
from local.engine.runner import Runner
from local.engine.sqlite import SqliteJournal
from local.engine.state import Activity, Timer, Turn, Unit

__all__ = [
    "Activity",
    "Engine",
    "EngineError",
    "Functions",
    "InstanceFinished",
    "InstanceNotFound",
    "InstanceRunning",
    "InvalidInstanceId",
    "Journal",
    "JournalError",
    "JournalInUse",
    "MemoryJournal",
    "Outcome",
    "Runner",
    "SqliteJournal",
    "Timer",
    "Turn",
    "Unit",
]
