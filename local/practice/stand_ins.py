"""A stand-in for `az`, which knows this machine's vault.

    python -m local.practice.stand_ins az ARGUMENTS

It knows what the guides' commands and those of `rotctl adopt` ask, and ends with an error for any
other.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError
from azure.keyvault.secrets import SecretClient

from local.stack import ENGINEER, OwnCredential

if TYPE_CHECKING:
    from collections.abc import Sequence


def az(arguments: Sequence[str]) -> None:
    """`az keyvault secret`: what the guide's commands and those of `rotctl adopt` ask of it."""
    parser = argparse.ArgumentParser("az")
    if list(arguments[:2]) != ["keyvault", "secret"]:
        parser.error("this is a stand-in, which knows `az keyvault secret` alone")
    parser.add_argument("command", nargs=3)
    parser.add_argument("--vault-name", required=True)
    parser.add_argument("--name", required="list" not in arguments[:3])
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--value")
    how.add_argument("--file", type=Path)
    how.add_argument("--enabled", choices=["true", "false"])
    how.add_argument("--query", type=_names)
    parser.add_argument("--disabled", choices=["true", "false"], default="false")
    parser.add_argument("--output", choices=["none", "tsv"])
    given = parser.parse_args(arguments)
    if given.vault_name != "kv-orders":
        parser.error("the vault here is `--vault-name kv-orders`")
    with _vault() as client:
        try:
            known = _secret(client, given, parser)
        except AzureError as error:
            sys.exit(f"ERROR: {error}")
        if not known:
            parser.error(f"`keyvault secret {given.command[2]}` is not known here like this")


def _secret(client: SecretClient, given: argparse.Namespace, parser: Any) -> bool:
    """Whether the command is known."""
    match given.command[2]:
        case "set":
            value = given.value if given.file is None else _read(given.file, parser)
            if value:
                client.set_secret(given.name, value, enabled=given.disabled == "false")
            return bool(value)
        case "set-attributes" if given.enabled:
            client.update_secret_properties(given.name, enabled=given.enabled == "true")
        case "list" if given.query:
            found = [one.name for one in client.list_properties_of_secrets()]
            sys.stdout.write(f"{len(given.query & set(found))}\n")
        case "show" if given.output == "none":
            client.get_secret(given.name)
        case "download" if given.file:
            with given.file.open("x", encoding="utf-8") as file:  # as `az` does: over no other
                file.write(client.get_secret(given.name).value or "")
        case "delete":
            client.begin_delete_secret(given.name).result()
        case "recover":
            client.begin_recover_deleted_secret(given.name).result()
        case _:
            return False
    return True


def _names(query: str) -> set[str]:
    """The names that `[?name=='a' || name=='b'] | length(@)` counts."""
    if not re.fullmatch(r"\[\?(name=='[\w-]+'( \|\| )?)+\] \| length\(@\)", query):
        raise argparse.ArgumentTypeError(f"{query} is not known here")
    return set(re.findall(r"'([\w-]+)'", query))


def _read(file: Path, parser: Any) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        parser.error(f"argument --file: {file} cannot be read: {error}")
        raise


def _vault() -> SecretClient:
    where = json.loads(os.environ["STAND_IN_VAULT"])
    return SecretClient(
        where["url"],
        OwnCredential(ENGINEER, Path(where["identity"])),
        connection_verify=where["authority"],
        verify_challenge_resource=False,
    )


if __name__ == "__main__":
    {"az": az}[sys.argv[1]](sys.argv[2:])
