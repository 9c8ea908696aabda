"""`python -m local.postgres`: a server that lives as long as this process."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from local.postgres.installations import installations
from local.postgres.server import ADMIN, Postgres
from local.process import StartError, announce
from local.tls import ServerCertificate


def main() -> int:
    arguments = _arguments()
    tls = ServerCertificate(*arguments.tls) if arguments.tls else None
    binaries = arguments.binaries
    if arguments.version:
        binaries = _binaries(arguments.version, with_tls=tls is not None)
    server = Postgres(
        arguments.state,
        arguments.port,
        binaries=binaries,
        tls=tls,
        durable=arguments.durable,
        replicated=arguments.replicated,
    )
    with server:
        return _serve(server)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.postgres", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="directory for data and log")
    parser.add_argument("--port", type=int, help="TCP port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--binaries", type=Path, help="directory with initdb and postgres")
    parser.add_argument("--version", type=int, help="major version, among those installed")
    parser.add_argument("--tls", type=Path, nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--durable", action="store_true", help="write to disk before answering")
    parser.add_argument("--replicated", action="store_true", help="it can have read replicas")
    return parser.parse_args()


def _binaries(major: int, *, with_tls: bool) -> Path:
    found = installations()
    for installation in found:
        if installation.major == major and (installation.tls or not with_tls):
            return installation.binaries
    has = ", ".join(f"{i.major}{' with TLS' if i.tls else ''}" for i in found) or "none"
    wanted = f"PostgreSQL {major}{' with TLS' if with_tls else ''}"
    raise SystemExit(f"{wanted} is not installed; there is: {has}")


def _serve(server: Postgres) -> int:
    """Waits for a signal to end (exit code 0), or for the server to end by itself (1)."""
    awaited = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    announce(
        f"postgresql://{ADMIN}@127.0.0.1:{server.port}/postgres",
        port=server.port,
        pid=server.pid,
        passwordFile=str(server.password_file),
        log=str(server.log),
    )
    while server.alive:
        if signal.sigwait(awaited) != signal.SIGCHLD:
            return 0
    sys.stderr.write(f"{server!r} ended by itself; see {server.log}\n")
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StartError as error:
        sys.exit(str(error))
