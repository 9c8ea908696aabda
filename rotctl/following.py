"""Follows a rotation in the way that fits: a tree on a terminal, lines elsewhere, or JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from rotctl import watching
from rotctl.command import screen
from rotctl.exits import Exit

if TYPE_CHECKING:
    from rotctl.client import App


def follow(
    app: App,
    rotation: str,
    *,
    decision: bool = False,
    timeout: float | None = None,
    interval: float = 1.0,
    as_json: bool = False,
) -> Exit:
    """Follows it to its end, or to a wait for a decision, and answers with the exit code."""
    shown: watching.Screen
    if as_json:
        shown = watching.Documents(_write)
    elif sys.stdout.isatty() and not screen().is_dumb_terminal:  # which cannot be redrawn
        shown = watching.Redrawn(screen(), app.page(rotation))
    else:
        shown = watching.Lines(_write)
    until = watching.Until(decision, timeout)
    record, ended = watching.watch(app, rotation, shown, until, interval=interval)
    if ended in {Exit.WAITING, Exit.TIMEOUT} and not as_json:
        click.echo(f"{app.page(record['rotation'])}")
    return ended


def write(text: str) -> None:
    click.echo(text, nl=False)


def _write(text: str) -> None:
    click.echo(text, nl=False)
