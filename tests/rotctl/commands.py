"""The commands as they are typed: those of a group with its name."""

from __future__ import annotations

import click

from rotctl import __main__ as typed
from rotctl.command import cli


def by_name() -> dict[str, click.Command]:
    """Each command, as in `start` and `wave start`."""
    assert typed.COMMANDS
    found: dict[str, click.Command] = {}
    for name, command in cli.commands.items():
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": one for inner, one in command.commands.items()}
        else:
            found[name] = command
    return found
