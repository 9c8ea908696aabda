"""`python -m local.host`: see `--help`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import threading
from contextlib import redirect_stdout
from pathlib import Path
from typing import TextIO

from local.engine.errors import JournalError
from local.host import logs, settings
from local.host.app import LoadError, load
from local.host.plan import Plan
from local.host.routing import RouteError
from local.host.server import EngineStoppedError, serve
from local.host.serving import bound_socket, url_of
from local.host.timers import ScheduleError
from local.process import StartError, announce

REFUSALS = (
    settings.SettingsError,
    LoadError,
    RouteError,
    ScheduleError,
    JournalError,
    EngineStoppedError,
    StartError,
)
ENVIRONMENT = """environment:
  LOCAL_FUNCTION_KEY  opens functions of level `function` (header x-functions-key or query code)
  LOCAL_MASTER_KEY    opens everything, /admin included
  LOCAL_SYSTEM_KEY    opens /runtime/webhooks/eventgrid and /runtime/webhooks/durabletask
  LOCAL_EASY_AUTH     on: takes X-MS-CLIENT-PRINCIPAL* out of every request and sets them from the
                      header X-Local-Sign-In or the cookie LocalSignIn, the base64 of
                      {"auth_typ": "aad", "claims": [{"typ": ..., "val": ...}]}; refuses a POST
                      with that cookie that a browser sends from another site's page; off
                      (default): headers pass as they are, as on Azure without Easy Auth
  LOCAL_ADMIN_KEY     opens /local/faults, by which the durable API fails the app (local/faults.py)
Everything else in the environment is an app setting. The keys are not passed on to the app."""


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.host",
        description="Runs a Python function app on 127.0.0.1 as Azure Functions would.",
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--app", type=Path, required=True, help="the app's Python file")
    engine = parser.add_mutually_exclusive_group(required=True)
    engine.add_argument("--journal", type=Path, help="the SQLite file of the engine of our own")
    engine.add_argument(
        "--storage",
        type=Path,
        metavar="FILE",
        help="instead Microsoft's durable extension: holds the connection string of its storage",
    )
    parser.add_argument("--host-file", type=Path, help="default: host.json beside the app")
    parser.add_argument("--port", type=int, required=True, help="0 takes any free port")
    parser.add_argument("--settings", type=Path, help="app settings like local.settings.json")
    parser.add_argument("--timers", choices=("on", "off"), default="on", help="default: on")
    return parser.parse_args(argv)


def prepare(options: argparse.Namespace) -> Plan:
    """Everything that can be refused before the event loop runs."""
    if options.settings:
        settings.apply(settings.read_values(options.settings), os.environ)
    switches = settings.Switches.take(os.environ)
    logs.hide(switches.keys.all)
    public = bound_socket(options.port)
    os.environ["WEBSITE_HOSTNAME"] = url_of(public).removeprefix("http://")
    os.environ["WEBSITE_AUTH_ENABLED"] = str(switches.easy_auth)
    return Plan(
        app=load(options.app),
        switches=switches,
        host_file=settings.HostFile.read(
            options.host_file or options.app.resolve().parent / "host.json"
        ),
        journal=options.journal,
        storage=options.storage,
        timers=options.timers == "on",
        public=public,
        rpc=bound_socket(0),
    )


def main(argv: list[str] | None = None) -> int:
    """What the app prints goes to standard error: standard output is for the announcement."""
    options, output = parse(argv), sys.stdout
    logs.configure()
    with redirect_stdout(sys.stderr):
        return run(options, output)


def run(options: argparse.Namespace, output: TextIO) -> int:
    try:
        plan = prepare(options)
        asyncio.run(serve(plan, lambda: listening(plan, output)))
    except REFUSALS as error:
        logs.event("cannot run", logging.ERROR, reason=str(error), error=error.__cause__)
        return 1
    return 0


def listening(plan: Plan, output: TextIO) -> None:
    with redirect_stdout(output):
        announce(url_of(plan.public), functions=len(plan.app.functions))


def leave(code: int) -> None:
    """Threads of functions that are still running would keep the process alive."""
    logging.shutdown()
    if threading.active_count() > 1:
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main())
