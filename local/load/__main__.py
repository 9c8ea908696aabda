"""`python -m local.load`: loads for a while, prints the report, fails if a request did."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from local.load.generator import Load


def main() -> int:
    arguments = _arguments()
    interrupted = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: interrupted.set())
    load = Load(
        arguments.url,
        workers=arguments.workers,
        rate=arguments.rate,
        fresh=arguments.fresh,
        pooled=arguments.pooled,
        timeout=arguments.timeout,
    )
    with load:
        interrupted.wait(arguments.seconds)
        report = load.stop()
    sys.stdout.write(json.dumps(report.as_json(), indent=2) + "\n")
    return 1 if report.failed or not report.requests else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.load", description=__doc__)
    parser.add_argument("--url", action="append", required=True, help="http://host:port, repeated")
    parser.add_argument("--seconds", type=float, help="how long (default: until SIGTERM)")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second in all")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--fresh", type=int, help="workers that keep no connection (default: half)")
    parser.add_argument("--pooled", type=int, default=0, help="workers that share urllib3's pool")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one request")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
