"""Keeps the local stack running, and says how to use it.

python -m local.up [--directory DIR]        (make local)
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from local import engines, world
from local.process import StartError
from local.stack import Options, Stack

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make local ARGS=...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--directory", type=Path, help="kept afterwards (default: a temporary one)")
    engines.add_option(parser)
    given = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="rotation-") as temporary:
        stack = Stack(given.directory or Path(temporary), Options(timers=True, engine=given.engine))
        try:
            stack.start(lambda what: say(f"starting {what}"))
            say(usage(stack))
            signal.pause()
        except KeyboardInterrupt:
            return 0
        except (StartError, TimeoutError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
        finally:
            stack.stop()
    return 0


def write_profile(stack: Stack) -> Path:
    """The path of a file by which `rotctl` finds the app of this run. It has the key."""
    path = stack.directory / "rotctl.toml"
    path.touch(mode=0o600)
    url, key = stack.components["host"].url, stack.keys["function"]
    person = world.APPROVERS[0]
    path.write_text(
        f'[profiles.local]\nurl = "{url}"\nkey = "{key}"\nby = "{person}"\n', encoding="utf-8"
    )
    return path


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def usage(stack: Stack) -> str:
    """URLs, keys of this run, and commands to try."""
    host, key = stack.components["host"].url, stack.keys["function"]
    asked = json.dumps({"credential": world.CREDENTIAL, "by": "me@contoso.example"})
    rotctl = Path(sys.executable).with_name("rotctl")
    decided = json.dumps({"decision": "approve", "by": world.APPROVERS[0]})
    workloads = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
    return f"""
pages       {host}/api/pages?code={key}
API         {host}/api/openapi.json
workloads   {"  ".join(workloads)}
mails       {stack.components["topic"].facts["viewer"]}/inbox
key vault   {stack.addresses.vault}
kubeconfig  {stack.directory / "cluster" / "kubeconfig"}
logs        {stack.directory / "logs"}

Announce that the secret nears its expiry, as Event Grid does:

curl -sS '{host}{stack.client.webhook_path}' \\
  -H 'aeg-event-type: Notification' -H 'Content-Type: application/json' \\
  -d '{json.dumps([stack.client.near_expiry("blue")])}'

Or look at what there is, ask for a rotation, watch it, and decide:

export ROTCTL_CONFIG={write_profile(stack)}
{rotctl} list
{rotctl} start {world.CREDENTIAL} --by me@contoso.example --watch
{rotctl} approve {world.CREDENTIAL}

The same over HTTP:

curl -sS {host}/api/rotations -H 'x-functions-key: {key}' --json '{asked}'
curl -sS {host}/api/rotations -H 'x-functions-key: {key}'
curl -sS {host}/api/rotations/ROTATION/approval -H 'x-functions-key: {key}' --json '{decided}'

Ctrl-C ends everything."""


if __name__ == "__main__":
    sys.exit(main())
