"""python -m local.durable.storage --state DIR --port P --queue-port P --table-port P

Azurite as a component of the stack: blobs, queues and tables on 127.0.0.1, under an account whose
key is made here. Announces `connectionFile`, a file that holds the connection string.
"""

from __future__ import annotations

import argparse
import base64
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local.durable import parts
from local.process import StartError, announce, die_with_parent, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCOUNT = "rotation"
SERVICES = ("blob", "queue", "table")
STARTS_WITHIN = 60.0  # seconds; node reads some hundred files
# It writes its files at its end and every few seconds in between.
ENDS_WITHIN = 8  # seconds


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--queue-port", type=int, required=True)
    parser.add_argument("--table-port", type=int, required=True)
    given = parser.parse_args(argv)
    ports = dict(zip(SERVICES, (given.port, given.queue_port, given.table_port), strict=True))
    try:
        return run(given.state, ports)
    except (StartError, TimeoutError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def run(state: Path, ports: dict[str, int]) -> int:
    azurite = parts.azurite()
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = account_key(state / "key")
    process = subprocess.Popen(  # noqa: S603 - the program that the developer named
        [azurite, *arguments(state, ports)],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"},
        preexec_fn=die_with_parent,  # noqa: PLW1509 - prctl only, no locks taken
    )
    signal.signal(signal.SIGTERM, lambda *_: end(process))
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    wait_until(lambda: up(process, ports), STARTS_WITHIN, "Azurite listening")
    connection = state / "connection"
    connection.touch(mode=0o600)
    connection.write_text(connection_string(key, ports), encoding="utf-8")
    announce(f"http://127.0.0.1:{ports['blob']}", connectionFile=str(connection))
    return process.wait()


def arguments(state: Path, ports: dict[str, int]) -> list[str]:
    places = [part for name in SERVICES for part in (f"--{name}Port", str(ports[name]))]
    hosts = [part for name in SERVICES for part in (f"--{name}Host", "127.0.0.1")]
    switches = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    return [*switches, "--location", str(state / "files"), *places, *hosts]


def account_key(path: Path) -> str:
    """Made once: what is stored is still there after a restart, and so must the account be."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(base64.b64encode(secrets.token_bytes(64)).decode(), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def connection_string(key: str, ports: dict[str, int]) -> str:
    endpoints = [
        f"{name.capitalize()}Endpoint=http://127.0.0.1:{port}/{ACCOUNT}"
        for name, port in ports.items()
    ]
    account = ["DefaultEndpointsProtocol=http", f"AccountName={ACCOUNT}", f"AccountKey={key}"]
    return ";".join([*account, *endpoints])


def up(process: subprocess.Popen[bytes], ports: dict[str, int]) -> bool:
    if process.poll() is not None:
        raise StartError(f"Azurite ended with {process.returncode} before it listened")
    return all(listens(port) for port in ports.values())


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(process: subprocess.Popen[bytes]) -> None:
    """Waits for nothing: this runs in a signal handler, in the middle of a wait."""
    process.terminate()
    signal.alarm(ENDS_WITHIN)


if __name__ == "__main__":
    sys.exit(main())
