"""Keeps the local stack running, and says how to use it.

    python -m local.up [--directory DIR] [--one-slot] [--credentials FILE]        (make local)

A second start in the same directory goes on where the first ended: database, vault, cluster,
rotations that wait. With --one-slot it begins with what docs/onboarding.md begins with, whose
commands can be tried then; its last ones want a second start with --credentials.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from local import engines, world
from local.practice import place
from local.practice.one_slot import OneSlot
from local.process import StartError
from local.stack import Options, Stack, kept
from local.storage import write_private
from rotation.config.check import check, report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROTCTL = shlex.quote(str(Path(sys.executable).with_name("rotctl")))


def main(argv: Sequence[str] | None = None) -> int:
    given = arguments(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with directory_of(given) as directory:
        stack = stack_of(given, directory)
        try:
            stack.start(lambda what: say(f"starting {what}"))
            for moved in stack.kept.moved:
                say(f"{moved}; what knew the old one, as a rotation under way may, misses it")
            say(f"{guidance(stack)}\n\n{ending(given.directory)}")
            signal.pause()
        except KeyboardInterrupt:
            return 0
        except (StartError, TimeoutError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
        finally:
            stack.stop()
    return 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options. Whatever is wrong with one is said before anything starts."""
    parser = argparse.ArgumentParser(
        prog="make local ARGS=...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", help="kept afterwards (default: a temporary one)"
    )
    parser.add_argument(
        "--one-slot",
        action="store_true",
        help="one login, one secret, one Deployment: a place to practise docs/onboarding.md",
    )
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="a credentials.yaml of your own, for a stack that was started before",
    )
    engines.add_option(parser)
    given = parser.parse_args(argv)
    try:
        begun = begun_in(given)
    except StartError as error:
        parser.error(f"argument --directory: {error}")
    if given.one_slot and given.directory is None:
        parser.error(
            "argument --one-slot: goes with --directory, for the last steps of the guide want a "
            "second start there"
        )
    if given.credentials is not None and not begun:
        parser.error(
            "argument --credentials: goes with --directory of a stack that was started before: its "
            "addresses are to be in the file"
        )
    if given.credentials is not None and (problem := refused(given.credentials)):
        parser.error(f"argument --credentials: {problem}")
    return given


def begun_in(given: argparse.Namespace) -> bool:
    """Whether the directory has a stack that goes on; it decides about the world then.

    Raises `StartError` where no such stack can be started there.
    """
    if given.directory is None:
        return False
    facts = kept.known(given.directory) if given.directory.is_dir() else None
    given.one_slot = given.one_slot or (facts is not None and facts.world == OneSlot.world)
    kind = OneSlot if given.one_slot else Stack
    return kept.refuse(given.directory, kind.world, given.engine) is not None


def refused(credentials: Path) -> str | None:
    """Why the file cannot be used, if so, as `python -m rotation check` says it."""
    checked = check(str(credentials))
    return (
        None if checked.valid else f"{credentials} is not valid\n{''.join(report(checked, 'text'))}"
    )


@contextmanager
def directory_of(given: argparse.Namespace) -> Iterator[Path]:
    """The directory that was named, else a temporary one that ends with the stack."""
    if given.directory is not None:
        yield given.directory.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="rotation-") as temporary:
        yield Path(temporary)


def stack_of(given: argparse.Namespace, directory: Path) -> Stack:
    options = Options(
        timers=True, engine=given.engine, signed_links=True, credentials=given.credentials
    )
    return OneSlot(directory, options) if given.one_slot else Stack(directory, options)


def guidance(stack: Stack) -> str:
    return practice(stack) if isinstance(stack, OneSlot) else usage(stack)


def write_profile(stack: Stack) -> Path:
    """The path of a file by which `rotctl` finds the app of this run. It has the key."""
    path = stack.directory / "rotctl.toml"
    url, key = stack.components["host"].url, stack.keys["function"]
    person = world.APPROVERS[0]
    profile = f'[profiles.local]\nurl = "{url}"\nkey = "{key}"\nby = "{person}"\n'
    write_private(path, profile.encode())
    return path


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def psql(stack: Stack) -> str:
    """A command that connects to the database, as its administrator."""
    if isinstance(stack, OneSlot):
        user, passwords = stack.variables()["PGUSER"], stack.password_file()
    else:
        user, passwords = "postgres", stack.owner.password_file()
    port = stack.addresses.database_port
    where = f"postgresql://{user}@127.0.0.1:{port}/{world.DATABASE}?sslmode=disable"
    return f"PGPASSFILE={shlex.quote(str(passwords))} psql '{where}'"


def places(stack: Stack) -> str:
    """Where the parts of the stack are that there are without the app as well."""
    return f"""\
mails       {stack.components["topic"].facts["viewer"]}/inbox
key vault   {stack.addresses.vault}
database    {psql(stack)}
kubeconfig  {stack.directory / "cluster" / "kubeconfig"}
logs        {stack.directory / "logs"}"""


def usage(stack: Stack) -> str:
    """URLs, keys of this run, and commands to try."""
    host, key = stack.components["host"].url, stack.keys["function"]
    asked = json.dumps({"credential": world.CREDENTIAL, "by": "me@contoso.example"})
    decided = json.dumps({"decision": "approve", "by": world.APPROVERS[0]})
    workloads = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
    active = next(iter(stack.owner.active_slots().values()))
    return f"""
pages       {host}/api/pages?code={key}
API         {host}/api/openapi.json
workloads   {"  ".join(workloads)}
{places(stack)}

Announce that the secret nears its expiry, as Event Grid does:

curl -sS '{host}{stack.client.webhook_path}' \\
  -H 'aeg-event-type: Notification' -H 'Content-Type: application/json' \\
  -d '{json.dumps([stack.client.near_expiry(active)])}'

Or look at what there is, ask for a rotation, watch it, and decide:

export ROTCTL_CONFIG={shlex.quote(str(write_profile(stack)))}
{ROTCTL} list
{ROTCTL} start {world.CREDENTIAL} --by me@contoso.example --watch
{ROTCTL} approve {world.CREDENTIAL}

Or decide by the link in a mail, at the address above. The same over HTTP:

curl -sS {host}/api/rotations -H 'x-functions-key: {key}' --json '{asked}'
curl -sS {host}/api/rotations -H 'x-functions-key: {key}'
curl -sS {host}/api/rotations/ROTATION/approval -H 'x-functions-key: {key}' --json '{decided}'"""


def practice(stack: OneSlot) -> str:
    """How the guide is followed here."""
    folder = stack.directory / "practice"
    place.lay(stack, folder, place.STAND_INS)
    app, go_on = "not started: it wants a credentials.yaml", deploying(stack, folder)
    if "host" in stack.components:
        app = f"{stack.components['host'].url}/api/pages?code={stack.keys['function']}"
        go_on = (
            "The app has your credentials.yaml, with this machine's addresses: go on with\n\n"
            f"rotctl adopt --apply {place.FOLDER}"
        )
    lacking = ", ".join(place.missing())
    wanted = f"\nIts commands call what is not on this machine: {lacking}.\n" if lacking else ""
    return f"""
pages       {app}
workload    {stack.owner.service_url("orders", "api")}
{places(stack)}

Follow docs/onboarding.md in another terminal. In the place of its exports:

{place.exports(stack, folder)}
{wanted}
`az` is a stand-in there, and `rotctl adopt` does not look into the vault.

{go_on}"""


def deploying(stack: OneSlot, folder: Path) -> str:
    """How the app is deployed here, once the moves are made that need none."""
    file = shlex.quote(str(folder / place.FOLDER / "credentials.yaml"))
    directory = shlex.quote(str(stack.directory))
    return f"""\
To deploy the app, once the moves up to `guard` are made: Ctrl-C, and then

make local ARGS="--directory {directory} --credentials {file}\""""


def ending(directory: Path | None) -> str:
    """What the end is, and whether something is left."""
    if directory is None:
        return "Ctrl-C ends everything, and leaves nothing; --directory DIR would keep it."
    again = f'make local ARGS="--directory {shlex.quote(str(directory.absolute()))}"'
    return f"Ctrl-C ends everything. It goes on with: {again}"


if __name__ == "__main__":
    sys.exit(main())
