"""What the commands have in common: the app that is meant, names, options, questions."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem
from rich.console import Console

from rotctl import client, profiles
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from rotctl.client import App
    from rotctl.words import Record

COMPLETION_SECONDS = 3.0  # that a shell waits for the names of credentials
SPAN = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,4})m)?(?:(\d{1,6})s)?")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
)
@click.version_option(package_name="credential-rotation", prog_name="rotctl")
def cli() -> None:
    """See what rotations do and wait for, and act on them.

    The app is named by a profile, or by ROTCTL_URL and ROTCTL_KEY.
    """


class Span(click.ParamType[float]):
    """A time as 90s, 30m or 1h30m, in seconds."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = SPAN.fullmatch(value)
        if not found or not any(found.groups()):
            self.fail(f"{value!r} is no time: write for example 90s, 30m or 1h30m", param, ctx)
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return float(hours * 3600 + minutes * 60 + seconds)


# -- what commands have in common


Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def completing(known: Callable[[click.Context], list[str]]) -> Completer:
    """Completes what is known. A command says what is wrong with an app or a profile; a shell that
    completes cannot."""

    def complete(
        ctx: click.Context,
        _: click.Parameter,
        incomplete: str,
    ) -> list[CompletionItem]:
        try:
            found = known(ctx)
        except ClientError:
            return []
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]

    return complete


def _profiles(_: click.Context) -> list[str]:
    return profiles.names(os.environ)


def _credentials(ctx: click.Context) -> list[str]:
    app = app_of(ctx.params.get("profile"), COMPLETION_SECONDS)
    return [one["credential"] for one in app.credentials()]


def _rotations(ctx: click.Context) -> list[str]:
    app = app_of(ctx.params.get("profile"), COMPLETION_SECONDS)
    return [*_credentials(ctx), *(one["rotation"] for one in app.rotations())]


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command `--profile` and `--json`."""

    @click.option(
        "-p", "--profile", help="The profile to use.", shell_complete=completing(_profiles)
    )
    @click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
    @wraps(command)
    def with_both(*args: Any, **kwargs: Any) -> Any:
        return command(*args, **kwargs)

    return with_both


rotation_argument = click.argument(
    "rotation", metavar="ROTATION|CREDENTIAL", shell_complete=completing(_rotations)
)
credential_completion = completing(_credentials)
waive_option = click.option(
    "--waive", multiple=True, metavar="CODE", help="A problem that may stand; repeatable."
)
by_option = click.option("--by", help="Who does it, where nobody signs in: a mail address.")


def app_of(profile: str | None, read: float | None = None) -> App:
    found = profiles.profile(os.environ, profile)
    return client.App(found, client.READ if read is None else read)


def screen() -> Console:
    """Where people read. Elsewhere than on a terminal nothing is wrapped or cut off."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 1000)


def now() -> datetime:
    return datetime.now(UTC)


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def looked_up(app: App, name: str, *, running: bool = False) -> Record:
    """The rotation of this id, or of a credential: the one under way, or else the newest.

    `running`: only one that is under way will do. Raises `ClientError`.
    """
    try:
        return app.rotation(name)
    except ClientError as error:
        code, unknown = str(error.more.get("code")), error
        # Where the app's storage is away, no id is known to be none.
        if code != "unknown-rotation" and not code.startswith("storage-"):
            raise
    found = app.rotations(credential=name)
    wanted = [one for one in found if not one.get("outcome")] or ([] if running else found)
    if not wanted and code != "unknown-rotation":
        raise unknown
    if not wanted:
        what = "rotation under way" if running else "rotation"
        text = f"there is neither a rotation {name!r}, nor a {what} of a credential of that name"
        raise ClientError(text, "`rotctl list --rotations` has those that there are", Exit.PROBLEM)
    return app.rotation(wanted[0]["rotation"])


def name_of(app: App, given: str | None) -> str:
    return given or app.profile.by


def ask(question: str, *, yes: bool, as_json: bool) -> None:
    """Goes on if whoever is at the terminal says yes. Raises `ClientError` if nobody is there."""
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        text = "nobody is at a terminal who could be asked"
        raise ClientError(text, "give --yes if it is meant", Exit.USAGE)
    click.confirm(question, abort=True, err=True)
