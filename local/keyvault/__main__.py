"""A Key Vault on 127.0.0.1.

    python -m local.keyvault --port N --state DIR --identity-state DIR [--name NAME] [--tls DIR]
                             [--access FILE] [--events URL] [--retry-scale F]

Announces its `url` and `ca`, the file that clients trust. LOCAL_ADMIN_KEY opens /local/faults,
/local/announce and /local/subscriptions. LOCAL_WEBHOOK_CODE, if set, becomes the webhook's `code`.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from local import delivery, outbox
from local.keyvault import store as storing
from local.keyvault.access import Access
from local.keyvault.app import Vault
from local.keyvault.events import Announcer
from local.process import announce
from local.serving import Site, log_to_stderr, serve
from local.storage import open_database, private_directory
from local.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.keyvault",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--identity-state", type=Path, required=True)
    parser.add_argument("--name", default="kv-local", help="the vault's name, as events carry it")
    parser.add_argument("--tls", type=Path, help="the authority's directory; default: STATE/tls")
    parser.add_argument("--access", type=Path, help="JSON: object id to list of permissions")
    parser.add_argument("--events", help="webhook that the vault's events go to")
    parser.add_argument(
        "--retry-scale", type=float, default=1.0, help="stretches Event Grid's retry schedule"
    )
    return parser.parse_args(argv)


async def run(options: argparse.Namespace) -> None:
    state = private_directory(options.state)
    authority = Authority(options.tls or state / "tls")
    store = storing.Store(open_database(state / "vault.db", storing.SCHEMA + outbox.SCHEMA))
    store.purge_overdue(int(time.time()))
    webhooks = [delivery.with_code(options.events)] if options.events else []
    waiting = outbox.Outbox(store.database, webhooks)
    announcer = Announcer(store, waiting, options.name)
    vault = Vault(store, announcer, Access(options.access, options.name), options.identity_state)

    def listening(urls: list[str]) -> None:
        announcer.listens_at(urls[0])
        announce(urls[0], ca=str(authority.bundle), name=options.name)

    tls = authority.issue(options.name).context()
    topic = f"vault {options.name}"
    trust = authority.client_context()
    async with delivery.delivering(
        waiting, webhooks, topic, trust, announcer.run(), scale=options.retry_scale
    ):
        await serve([Site(vault.app(), options.port, tls)], listening)


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    log_to_stderr()
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
