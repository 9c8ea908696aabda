"""Which durable engine the stack's host runs on: the one of our own, or Microsoft's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from local.durable import parts
from local.process import ROOT, StartError

if TYPE_CHECKING:
    import argparse

    from local.process import Component

LOCAL, AZURE = "local", "azure"
ENGINES = (LOCAL, AZURE)
SWITCH = "LOCAL_ENGINE"
HOST_FILE = ROOT / "infra" / "host" / "azureStorage.json"  # what is deployed with this back end


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


def arguments(storage: Component) -> tuple[str, ...]:
    """Of the host, for Microsoft's engine on that storage."""
    connection = str(storage.facts["connectionFile"])
    return ("--storage", connection, "--host-file", str(HOST_FILE))


def slack(engine: str) -> float:
    """Seconds that a rotation may take longer than on the engine of our own: a message lies for a
    second, and what a killed host was working on for a minute, twice if it was a parent's too."""
    return 180.0 if engine == AZURE else 0.0


def be_patient(host: Component, engine: str) -> None:
    """Microsoft's host unpacks itself the first time, and hands its leases back at its end."""
    if engine == AZURE:
        host.patience, host.grace = 120.0, 30.0
