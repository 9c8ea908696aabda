"""`gunicorn -c python:bench.frameworks.python.lame_duck_gunicorn ...`: serves on after SIGTERM.

Each answer ends its connection, so that clients go elsewhere before the worker closes.
"""

import os
import signal
import threading
from typing import Any

SECONDS = float(os.environ.get("LAME_DUCK_SECONDS", "3"))
graceful_timeout = 30  # seconds that the master gives its workers: more than SECONDS
stopping = threading.Event()  # for the readiness route, which answers 503 once it is set


def post_worker_init(worker: Any) -> None:
    end: Any = signal.getsignal(signal.SIGTERM)

    def told(number: int, frame: Any) -> None:
        if stopping.is_set():
            end(number, frame)
            return
        stopping.set()
        # gunicorn passes no `Connection` on from an application. With more connections kept than
        # it may keep, it ends each with its answer; only `gthread` keeps any, and looks at this.
        # (A `keepalive` of 0 would close those that were just about to be kept, without a word.)
        worker.max_keepalived = 0
        threading.Timer(SECONDS, os.kill, (os.getpid(), signal.SIGTERM)).start()

    signal.signal(signal.SIGTERM, told)
