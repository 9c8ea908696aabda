"""docs/rotctl.md and README.md, compared with the commands, their options and the exit codes."""

from __future__ import annotations

import re

import click
import pytest

from local.process import ROOT
from rotctl.command import cli
from rotctl.exits import Exit
from rotctl.profiles import KEYS
from tests.rotctl.commands import by_name

GUIDE = (ROOT / "docs" / "rotctl.md").read_text(encoding="utf-8")
EVERYWHERE = {"--json", "--profile", "-p", "--help"}


COMMANDS = by_name()


def rows() -> dict[str, str]:
    """The row of each command."""
    found = re.findall(r"^\| `rotctl (\w+(?: [a-z]+)?)[^`]*` \|(.*)\|$", GUIDE, re.MULTILINE)
    return {name if name in COMMANDS else name.split()[0]: row for name, row in found}


def test_each_command_has_its_row() -> None:
    assert rows().keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_option_is_in_the_row_of_its_command(name: str) -> None:
    options = {
        option
        for one in COMMANDS[name].params
        if isinstance(one, click.Option)
        for option in one.opts
    } - EVERYWHERE
    named = set(re.findall(r"--[\w-]+", rows()[name])) - EVERYWHERE
    assert named == options


def test_the_exit_codes_are_those_that_there_are() -> None:
    found = re.findall(r"^\| (\d+) \| ([a-z ]+) \|", GUIDE, re.MULTILINE)
    assert {(int(code), name) for code, name in found} == {
        (int(one), one.name.lower().replace("_", " ")) for one in Exit
    }


def test_the_keys_of_a_profile_are_those_that_there_are() -> None:
    found = re.findall(r"^\| `(\w+)` \| (?:`ROTCTL_\w+` )?\|", GUIDE, re.MULTILINE)
    assert set(found) == KEYS


@pytest.mark.parametrize("name", ["README.md", "docs/rotctl.md", "docs/configuration.md"])
def test_the_commands_that_guides_have_people_type_are_taken(name: str) -> None:
    """As far as click parses them: nothing is asked."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```\n(.*?)```", text, re.DOTALL))
    lines = re.findall(r"(?:^|\()rotctl ([a-z][^\n|)#>]*)", blocks, re.MULTILINE)
    lines += re.findall(r"`rotctl ([a-z]+ (?:--|[a-z])[^`]*)`", text)
    assert lines or name == "docs/configuration.md"
    for line in lines:
        command, *rest = line.replace('"', "").split()
        known = cli.commands[command]
        known.make_context(command, [part for part in rest if part], resilient_parsing=False)
