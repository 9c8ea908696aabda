"""Runs one cluster.

    python -m local.cluster --port N --state DIR --images FILE [--rbac on] [--identity-state DIR]
        [--tokens FILE] [--tls DIR] [--vault-ca FILE] [--name NAME]

Announces its `url`, `ca` (the file that clients trust) and `kubeconfig`, which it writes into the
state directory for a token of group system:masters that it makes there.

With LOCAL_ADMIN_KEY set it takes ordered failures (see local.faults), and `POST /local/outage
{"seconds": S}` takes the API away for a while: its port refuses connections, while pods and
Services go on, as in a cluster whose control plane is down.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import signal
from pathlib import Path

from local.cluster.cluster import Cluster, Settings
from local.process import announce
from local.serving import log_to_stderr
from local.storage import made_once, private_directory


def main(argv: list[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    log_to_stderr()
    for noisy in ("azure", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    state = private_directory(options.state.resolve())
    settings = Settings(
        name=options.name,
        port=options.port,
        state=state,
        images=options.images.resolve(),
        admin_token=made_once(state / "admin-token", lambda: _token().encode()).decode(),
        tokens=options.tokens,
        rbac=options.rbac == "on",
        identity_state=options.identity_state,
        authority=options.tls or state / "tls",
        vault_authority=options.vault_ca,
    )
    asyncio.run(_run(settings))


def _token() -> str:
    return secrets.token_urlsafe(32)


async def _run(settings: Settings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    cluster = Cluster(settings)
    try:
        await cluster.start()
        announce(
            cluster.url,
            name=settings.name,
            ca=str(cluster.authority.bundle),
            kubeconfig=str(cluster.kubeconfig),
        )
        await stopped.wait()
    finally:
        await cluster.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="of the API on 127.0.0.1; 0 takes a free one")
    add("--state", type=Path, required=True, help="directory of everything that is kept")
    add("--images", type=Path, required=True, help="YAML or JSON: image name -> command line")
    add("--rbac", choices=("on", "off"), default="off", help="enforce Roles and bindings")
    add("--identity-state", type=Path, help="state directory of the identity endpoint")
    add("--tokens", type=Path, help="YAML or JSON: token -> {user, groups}")
    add("--tls", type=Path, help="the authority's directory; default: STATE/tls")
    add("--vault-ca", type=Path, help="CA bundle for Key Vaults that pods mount from")
    add("--name", default="local", help="of the cluster, in its kubeconfig")
    return parser


if __name__ == "__main__":
    main()
