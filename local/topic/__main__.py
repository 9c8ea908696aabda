"""An Event Grid custom topic on 127.0.0.1.

    python -m local.topic --port N --state DIR [--identity-state DIR] [--subscribe URL ...]
                          [--name NAME] [--tls DIR] [--viewer-port N] [--retry-scale F]

Announces `url` (where events are published, with TLS), `ca` (the file that clients trust), `viewer`
(plain HTTP: /inbox, /inbox.json, /events?after=N, /subscriptions) and `key_file`: the access key is
in the state directory. LOCAL_ADMIN_KEY opens /local/faults. LOCAL_WEBHOOK_CODE, if set, becomes the
`code` of the subscribed webhooks.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from local import delivery, outbox
from local.process import announce
from local.serving import Site, log_to_stderr, serve
from local.storage import made_once, open_database, private_directory
from local.tls import Authority
from local.topic.app import PATH, Topic
from local.topic.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.topic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--viewer-port", type=int, default=0)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--identity-state", type=Path, help="to accept tokens of its identities")
    parser.add_argument("--name", default="notifications")
    parser.add_argument("--tls", type=Path, help="the authority's directory; default: STATE/tls")
    parser.add_argument("--subscribe", action="append", default=[], help="URL of a webhook")
    parser.add_argument(
        "--retry-scale", type=float, default=1.0, help="stretches Event Grid's retry schedule"
    )
    return parser.parse_args(argv)


def access_key(state: Path) -> str:
    """The topic's key, made by whoever asks first."""
    return made_once(state / "key", lambda: base64.b64encode(secrets.token_bytes(32))).decode()


async def run(options: argparse.Namespace) -> None:
    state = private_directory(options.state)
    authority = Authority(options.tls or state / "tls")
    webhooks = [delivery.with_code(url) for url in options.subscribe]
    waiting = outbox.Outbox(open_database(state / "topic.db", outbox.SCHEMA), webhooks)
    topic = Topic(waiting, options.name, access_key(state), options.identity_state)
    viewer = Viewer(waiting, options.name)

    def listening(urls: list[str]) -> None:
        announce(
            urls[0] + PATH,
            ca=str(authority.bundle),
            viewer=urls[1],
            key_file=str(state / "key"),
        )

    sites = [
        Site(topic.app(), options.port, authority.issue(options.name).context()),
        Site(viewer.app(), options.viewer_port),
    ]
    async with delivery.delivering(
        waiting,
        webhooks,
        f"topic {options.name}",
        authority.client_context(),
        scale=options.retry_scale,
    ):
        await serve(sites, listening)


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    log_to_stderr()
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
