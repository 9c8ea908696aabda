"""The commands of waves: start many rotations, see how far they are, stop them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from rotctl.acting import CHANNEL, comment_option, outside_option, yes_option
from rotctl.client import plain
from rotctl.command import app_of, ask, by_option, cli, common, name_of, print_json, screen

if TYPE_CHECKING:
    from collections.abc import Sequence


@cli.group()
def wave() -> None:
    """Start the rotations of many credentials, some at a time."""


@wave.command("start")
@click.argument("credentials", nargs=-1)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Those with it.")
@click.option("--due-within", metavar="TIME", help="Those that expire in this time, as 30d.")
@click.option("--all", "everything", is_flag=True, help="All that you may start.")
@click.option("--canary", metavar="CREDENTIAL", help="Which goes first, alone; else the first due.")
@click.option("--no-canary", is_flag=True, help="None goes alone.")
@click.option("--size", type=int, help="How many begin at once; 5 unless given.")
@click.option("--pause", metavar="TIME", help="Between those that begin at once, as 1h.")
@click.option("--stop-after", type=int, help="Nothing more begins after so many failures; 1.")
@click.option("--dry-run", is_flag=True, help="Say who would begin when, and start nothing.")
@click.option("--reason", default="", help="Why, for the record.")
@outside_option
@by_option
@common
def start_wave(  # noqa: PLR0913 - its options
    *,
    credentials: tuple[str, ...],
    labels: tuple[str, ...],
    due_within: str | None,
    everything: bool,
    canary: str | None,
    no_canary: bool,
    size: int | None,
    pause: str | None,
    stop_after: int | None,
    dry_run: bool,
    reason: str,
    outside_window: str | None,
    by: str | None,
    profile: str | None,
    as_json: bool,
) -> None:
    """Start a wave of the credentials that are named, or that options select."""
    app = app_of(profile)
    select = {
        "credentials": list(credentials) or None,
        "labels": _labels(labels) or None,
        "dueWithin": due_within,
        "all": everything or None,
    }
    body = {
        "select": {key: value for key, value in select.items() if value is not None},
        "canary": False if no_canary else canary,
        "size": size,
        "pause": pause,
        "stopAfter": stop_after,
        "dryRun": dry_run or None,
        "reason": reason or None,
        "outsideWindow": outside_window,
        "by": name_of(app, by) or None,
    }
    answer = app.start_wave({key: value for key, value in body.items() if value is not None})
    if as_json:
        return print_json(answer)
    for number, batch in enumerate(answer["batches"], 1):
        click.echo(f"{number}. {', '.join(map(plain, batch))}")
    for one in answer["left"]:
        click.echo(f"left out: {plain(one['credential'])}: {plain(one['text'])}")
    if answer["wave"] is not None:
        click.echo(f"started {plain(answer['wave'])}")
        click.echo(app.wave_page(answer["wave"]))
    return None


def _labels(given: Sequence[str]) -> dict[str, str]:
    """Labels with their values. Raises `click.BadParameter`."""
    found = {}
    for one in given:
        key, sign, value = one.partition("=")
        if not key or not sign:
            raise click.BadParameter(f"{one!r} is not KEY=VALUE", param_hint="--label")
        found[key] = value
    return found


@wave.command("list")
@common
def list_waves(profile: str | None, as_json: bool) -> None:
    """List the waves of which you see something, the newest first."""
    found = app_of(profile).waves()
    if as_json:
        return print_json({"waves": found})
    if not found:
        return click.echo("there is no wave")
    table = Table(box=None, pad_edge=False)
    for title in ("wave", "phase", "credentials", "asked for by", ""):
        table.add_column(title)
    for one in found:
        members = ", ".join(f"{number} {state}" for state, number in one["members"].items())
        row = (one["wave"], one["phase"], members, one["requestedBy"], one["reason"])
        table.add_row(*map(plain, row))
    return screen().print(table)


@wave.command("show")
@click.argument("name", metavar="WAVE")
@common
def show_wave(name: str, profile: str | None, as_json: bool) -> None:
    """Show how far a wave is."""
    app = app_of(profile)
    found = app.wave(name)
    if as_json:
        return print_json(found)
    console = screen()
    until = f"until {plain(found['until'])[:19]}Z" if found.get("until") else ""
    console.print(f"{plain(found['wave'])}: {plain(found['phase'])} {until}".rstrip())
    if found["why"]:
        console.print(plain(found["why"]))
    console.print(_table(found))
    return console.print(app.wave_page(name), soft_wrap=True)


def _table(found: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("credential", "state", "rotation", ""):
        table.add_column(title)
    for one in found["members"]:
        table.add_row(*(plain(one[key]) for key in ("credential", "state", "rotation", "text")))
    for one in found["left"]:
        table.add_row(plain(one["credential"]), "left out", "", plain(one["text"]))
    return table


@wave.command("cancel")
@click.argument("name", metavar="WAVE")
@click.option(
    "--running", is_flag=True, help="Cancel what has begun, too, where it has not swapped yet."
)
@comment_option
@by_option
@yes_option
@common
def cancel_wave(  # noqa: PLR0913 - its options
    *,
    name: str,
    running: bool,
    comment: str,
    by: str | None,
    yes: bool,
    profile: str | None,
    as_json: bool,
) -> None:
    """Stop a wave: nothing more begins."""
    app = app_of(profile)
    more = " What has begun is cancelled where it has not swapped yet." if running else ""
    ask(f"{name}: let nothing more begin?{more}", yes=yes, as_json=as_json)
    chosen = "cancel" if running else "keep"
    body = {"comment": comment, "by": name_of(app, by), "channel": CHANNEL, "running": chosen}
    answer = app.cancel_wave(name, **body)
    if as_json:
        return print_json(answer)
    return click.echo(f"{plain(name)}: nothing more begins")
