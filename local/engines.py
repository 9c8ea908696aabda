"""Which durable engine the stack's host runs on: the one of our own, or Microsoft's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from local.durable import parts
from local.process import ROOT, StartError

if TYPE_CHECKING:
    import argparse

    from local.process import Component

LOCAL, AZURE = "local", "azure"
ENGINES = (LOCAL, AZURE)
SWITCH = "LOCAL_ENGINE"
HOST_FILE = Path("infra/host/azureStorage.json")  # what is deployed with this back end

POLLING = "00:00:01"


def selected() -> str:
    """By the environment, for everything that starts stacks without asking."""
    return os.environ.get(SWITCH, LOCAL)


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=selected(),
        help=f"azure: Microsoft's durable extension on Azurite, with {parts.BINARY} and "
        f"{parts.AZURITE} in the environment (docs/testing.md); default: {LOCAL}",
    )


def demand(engine: str) -> None:
    """Raises `StartError` that says what the engine lacks here."""
    if engine not in ENGINES:
        raise StartError(f"{SWITCH} is {engine!r}: use one of {', '.join(ENGINES)}")
    if engine == AZURE:
        parts.demand()


def arguments(storage: Component, release: Path = ROOT) -> tuple[str, ...]:
    """Of the host, for Microsoft's engine on that storage. host.json is the one that is deployed
    with that release, but for the time between two looks into an idle queue: people wait for this
    one."""
    connection = Path(str(storage.facts["connectionFile"]))
    content = json.loads((release / HOST_FILE).read_text(encoding="utf-8"))
    content["extensions"]["durableTask"]["storageProvider"]["maxQueuePollingInterval"] = POLLING
    host_file = connection.with_name("host.json")
    host_file.write_text(json.dumps(content), encoding="utf-8")
    return ("--storage", str(connection), "--host-file", str(host_file))


def slack(engine: str) -> float:
    """Seconds that a rotation may take longer than on the engine of our own: a message lies for a
    second, and what a killed host was working on for a minute, twice if it was a parent's too."""
    return 180.0 if engine == AZURE else 0.0


def be_patient(host: Component, engine: str) -> None:
    """Microsoft's host unpacks itself the first time, and hands its leases back at its end."""
    if engine == AZURE:
        host.patience, host.grace = 120.0, 30.0
