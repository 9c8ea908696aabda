"""Blob Storage on 127.0.0.1: one account, called `rotation`.

    python -m local.blobs --port N --state DIR --identity-state DIR [--tls DIR] [--access FILE]

Announces `url`, the account's blob endpoint, and `ca`, the file that clients trust. LOCAL_ADMIN_KEY
opens /local/faults.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

from local.blobs.app import ACCOUNT, Account
from local.blobs.store import SCHEMA, Store
from local.process import announce
from local.serving import Site, log_to_stderr, serve
from local.storage import open_database, private_directory
from local.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.blobs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--identity-state", type=Path, required=True)
    parser.add_argument("--tls", type=Path, help="the authority's directory; default: STATE/tls")
    parser.add_argument("--access", type=Path, help="JSON: object id to list of containers")
    return parser.parse_args(argv)


async def run(options: argparse.Namespace) -> None:
    state = private_directory(options.state)
    authority = Authority(options.tls or state / "tls")
    store = Store(open_database(state / "blobs.db", SCHEMA))
    granted = None if options.access is None else json.loads(options.access.read_text("utf-8"))
    account = Account(store, options.identity_state, granted)

    def listening(urls: list[str]) -> None:
        announce(f"{urls[0]}/{ACCOUNT}", ca=str(authority.bundle))

    tls = authority.issue(ACCOUNT).context()
    await serve([Site(account.app(), options.port, tls)], listening)


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    log_to_stderr()
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
