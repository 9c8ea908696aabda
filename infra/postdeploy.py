"""Subscribes the app to events, once Azure lists the function that takes them.

`azd` runs it after each deployment of the code; by hand it is `python infra/postdeploy.py`, with
the outputs of infra/main.bicep as environment variables and with AZURE_SUBSCRIPTION_ID and
AZURE_RESOURCE_GROUP.

For some minutes after a deployment to Flex Consumption the platform may not list the functions, and
the key that Event Grid is given for the function may not exist: a subscription is then refused. So
this asks the platform to look at the package again, waits until the function is listed, and deploys
infra/events.bicep until that succeeds or the time is over. Deploying it twice changes nothing.

It needs the standard library alone: whoever deploys has no environment of the app's.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FUNCTION = "on_secret_event"
DEPLOYMENT = "credential-rotation-events"
PARAMETERS = Path(__file__).resolve().with_name("events.bicepparam")
API_VERSION = "2025-03-01"
NEEDED = ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "FUNCTION_APP_NAME")
# Outputs that events.bicepparam reads without a default.
OUTPUTS = (
    *("STORAGE_ACCOUNT_NAME", "DEAD_LETTERS_CONTAINER", "ACTION_GROUP_ID", "TOPIC_NAME"),
    *("VAULT_IDS", "VAULT_LOCATIONS"),
)
# What no waiting mends: the files, the template, or a right that whoever deploys does not have.
FINAL = re.compile(
    r"\bBCP\d{3}\b|InvalidTemplate\b|AuthorizationFailed|has no system-assigned identity"
)


class HookError(Exception):
    """The reason, in sentences for whoever deploys; `commands` mend or repeat it by hand."""

    def __init__(self, reason: str, *commands: str) -> None:
        super().__init__(reason)
        self.commands = commands


@dataclass(frozen=True)
class Target:
    subscription: str
    group: str
    app: str

    @property
    def url(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
            f"/providers/Microsoft.Web/sites/{self.app}"
        )


@dataclass(frozen=True)
class Hook:
    """The steps. `clock` gives seconds, `sleep` waits for some."""

    target: Target
    deadline: float
    pause: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def run(self) -> None:
        self._check_login()
        self._wait_for_function()
        self._deploy()

    def _check_login(self) -> None:
        shown = az("account", "show", "--subscription", self.target.subscription)
        if shown.returncode:
            raise HookError(
                f"the Azure CLI cannot use subscription {self.target.subscription}: "
                f"{last_line(shown)}",
                "az login",
                f"az account show --subscription {self.target.subscription}",
            )

    def _wait_for_function(self) -> None:
        """Asks the platform to read the package's triggers before each look."""
        while True:
            synced = az("rest", *self._sync_arguments())
            shown = az("functionapp", "function", "show", *self._function_arguments())
            if shown.returncode == 0:
                return
            reason = f"Azure does not list the function {FUNCTION} of {self.target.app} yet"
            if synced.returncode:
                reason += f", and does not sync its triggers ({last_line(synced)})"
            self._pause(
                f"{reason}: {last_line(shown)}",
                written("rest", *self._sync_arguments()),
                written("functionapp", "function", "show", *self._function_arguments()),
                written("deployment", "group", "create", *self._deployment_arguments()),
            )

    def _deploy(self) -> None:
        arguments = self._deployment_arguments()
        while True:
            made = az("deployment", "group", "create", *arguments)
            if made.returncode == 0:
                return
            command = written("deployment", "group", "create", *arguments)
            if FINAL.search(made.stderr):
                raise HookError(f"infra/events.bicep was refused:\n{made.stderr.strip()}", command)
            self._pause(f"infra/events.bicep is not deployed yet: {last_line(made)}", command)

    def _pause(self, reason: str, *commands: str) -> None:
        """Raises HookError with the commands to run by hand if the time is over."""
        if self.clock() + self.pause > self.deadline:
            raise HookError(f"the time is over. {reason}", *commands)
        say(f"{reason}; again in {self.pause:g} seconds")
        self.sleep(self.pause)

    def _sync_arguments(self) -> list[str]:
        url = f"{self.target.url}/syncfunctiontriggers?api-version={API_VERSION}"
        return ["--method", "POST", "--url", url, "--subscription", self.target.subscription]

    def _function_arguments(self) -> list[str]:
        return [
            *("--subscription", self.target.subscription),
            *("--resource-group", self.target.group, "--name", self.target.app),
            *("--function-name", FUNCTION, "--output", "none"),
        ]

    def _deployment_arguments(self) -> list[str]:
        return [
            *("--subscription", self.target.subscription),
            *("--resource-group", self.target.group, "--name", DEPLOYMENT),
            *("--parameters", str(PARAMETERS), "--output", "none"),
        ]


def az(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One call of the Azure CLI. Raises HookError if there is none."""
    program = shutil.which("az")  # a script with another ending on Windows
    if program is None:
        raise HookError(
            "the Azure CLI (`az`) is not on PATH: install it and sign in",
            "az login",
            f"{Path(sys.executable).name} infra/postdeploy.py",
        )
    return subprocess.run(  # noqa: S603 - our own arguments, and no shell
        [program, *arguments, "--only-show-errors"], capture_output=True, text=True, check=False
    )


def written(*arguments: str) -> str:
    return shlex.join(["az", *arguments])


def last_line(made: subprocess.CompletedProcess[str]) -> str:
    """The most telling line of what a call complained of."""
    lines = [line.strip() for line in made.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"az ended with {made.returncode} and said nothing"


def say(line: str) -> None:
    sys.stderr.write(f"postdeploy: {line}\n")


def target(environment: Mapping[str, str]) -> Target:
    """Raises HookError naming every variable that is missing."""
    missing = [name for name in (*NEEDED, *OUTPUTS) if not environment.get(name)]
    if missing:
        raise HookError(
            f"these variables are missing: {', '.join(missing)}. azd sets them; without it take "
            "them from the outputs of infra/main.bicep, as docs/deploy.md shows",
            "azd provision",
        )
    return Target(*(environment[name] for name in NEEDED))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Subscribe the app to events.")
    parser.add_argument("--minutes", type=float, default=15, help="how long to try")
    parser.add_argument("--pause", type=float, default=15, help="seconds between two tries")
    given = parser.parse_args(arguments)
    try:
        deadline = time.monotonic() + given.minutes * 60
        Hook(target(os.environ), deadline, given.pause).run()
    except HookError as stopped:
        say(str(stopped))
        if stopped.commands:
            say("by hand:")
            sys.stderr.writelines(f"  {command}\n" for command in stopped.commands)
        return 1
    say("the app is subscribed to events")
    return 0


if __name__ == "__main__":
    sys.exit(main())
