"""The commands that need no app: check, schema, completion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from rotctl import configuration
from rotctl.command import cli, print_json

if TYPE_CHECKING:
    from rotctl.exits import Exit

SHELLS = ("bash", "zsh", "fish")


@cli.command()
@click.argument("file", type=click.Path())
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "line", "github", "json"]),
    default="text",
    show_default=True,
    help="line is FILE:LINE: for editors, github annotates a pull request.",
)
@click.option("--no-files", is_flag=True, help="Leave out the certificates and kubeconfigs.")
@click.option("--json", "as_json", is_flag=True, help="As --format json.")
def check(file: str, form: str, no_files: bool, as_json: bool) -> Exit:
    """Check a credentials.yaml, or a folder of them, without an app."""
    return configuration.check(file, "json" if as_json else form, files=not no_files)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="It is a JSON document anyway.")
def schema(as_json: bool) -> None:  # noqa: ARG001 - for those who give it to all commands
    """Print the JSON Schema of credentials.yaml, for editors."""
    click.echo(configuration.schema(), nl=False)


@cli.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--json", "as_json", is_flag=True, help="Print it as a JSON document.")
def completion(shell: str, as_json: bool) -> None:
    """Print what lets a shell complete: eval "$(rotctl completion bash)"."""
    kind = get_completion_class(shell)
    if kind is None:  # click has all of SHELLS
        raise AssertionError(shell)
    script = kind(cli, {}, "rotctl", "_ROTCTL_COMPLETE").source()
    return print_json({"shell": shell, "script": script}) if as_json else click.echo(script)
