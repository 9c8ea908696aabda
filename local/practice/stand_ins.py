"""Stand-ins for the programs that the guide's commands call, for machines without them.

    python -m local.practice.stand_ins az|kubectl|psql ARGUMENTS

They know the options that the guide uses, and end with an error for any other.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from azure.core.exceptions import AzureError
from azure.keyvault.secrets import SecretClient
from psycopg import sql

from local.cluster.client import apply, connect, path_of
from local.postgres.provision import run_text
from local.process import wait_until
from local.stack import ENGINEER, OwnCredential

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = {"s": 1, "m": 60}
DEPLOYMENT, SERVICE = ("apps/v1", "Deployment"), ("v1", "Service")
NAMESPACE = ("v1", "Namespace")
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"


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


def psql(arguments: Sequence[str]) -> None:
    """Variables, files and commands, with ON_ERROR_STOP; connects as libpq's environment says."""
    parser = argparse.ArgumentParser("psql")
    parser.add_argument("-v", dest="variables", action="append", default=[])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-f", type=Path)
    what.add_argument("-c")
    parser.add_argument("--single-transaction", action="store_true")
    given = parser.parse_args(arguments)
    variables = dict(pair.split("=", 1) for pair in given.variables)
    with psycopg.connect("", autocommit=not given.single_transaction) as connection:
        if given.c and given.c.startswith("\\password "):
            _password(connection, given.c.partition(" ")[2])
            return
        _execute(connection, given.c or given.f.read_text(encoding="utf-8"), variables)


def _execute(
    connection: psycopg.Connection[tuple[Any, ...]], text: str, variables: dict[str, str]
) -> None:
    cursor = run_text(connection, text, variables)
    if cursor.description:
        rows = cursor.fetchall()
        for row in rows:
            sys.stdout.write(" | ".join(map(str, row)) + "\n")
        sys.stdout.write(f"({len(rows)} rows)\n")


def _password(connection: psycopg.Connection[tuple[Any, ...]], role: str) -> None:
    first, second = (sys.stdin.readline().rstrip("\n") for _ in range(2))
    if first != second:
        sys.exit("Passwords didn't match.")
    verifier = connection.pgconn.encrypt_password(first.encode(), role.encode(), b"scram-sha-256")
    statement = sql.SQL("ALTER USER {} PASSWORD {}")
    connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier.decode())))


def kubectl(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser("kubectl")
    parser.add_argument("-n", dest="namespace", default="default")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("apply").add_argument("-f", type=Path, required=True)
    rollout = verbs.add_parser("rollout")
    rollout.add_argument("what", choices=["status"])
    rollout.add_argument("name")
    patch = verbs.add_parser("patch")
    patch.add_argument("kind", choices=["service"])
    patch.add_argument("name")
    patch.add_argument("--type", choices=["json"], required=True)
    patch.add_argument("--field-manager", default="kubectl-patch")
    patch.add_argument("-p", required=True)
    scale = verbs.add_parser("scale")
    scale.add_argument("name")
    scale.add_argument("--replicas", type=int, required=True)
    label = verbs.add_parser("label")
    label.add_argument("kind", choices=["namespace"])
    label.add_argument("name")
    label.add_argument("label")
    delete = verbs.add_parser("delete")
    delete.add_argument("kind", choices=["deployment"])
    delete.add_argument("name")
    delete.add_argument("--cascade", choices=["foreground"], required=True)
    for verb in (rollout, delete):
        verb.add_argument("--timeout", type=_seconds, required=True)
    given = parser.parse_args(arguments)
    given.name = getattr(given, "name", "").removeprefix("deployment/")
    Kubectl(given).run()


class Kubectl:
    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.client = connect(Path(os.environ["KUBECONFIG"]))

    def run(self) -> None:
        getattr(self, self.given.verb)()

    def apply(self) -> None:
        apply(self.client, self.given.f, namespace=self.given.namespace)

    def patch(self) -> None:
        query = f"?fieldManager={self.given.field_manager}"
        self._ask("PATCH", SERVICE, JSON_PATCH, json.loads(self.given.p), query)

    def scale(self) -> None:
        self._ask("PATCH", DEPLOYMENT, MERGE, {"spec": {"replicas": self.given.replicas}})

    def label(self) -> None:
        key, _, value = self.given.label.partition("=")
        self._ask("PATCH", NAMESPACE, MERGE, {"metadata": {"labels": {key: value}}})

    def rollout(self) -> None:
        wait_until(self._rolled_out, self.given.timeout, f"rollout of {self.given.name}")

    def _rolled_out(self) -> bool:
        found = self._ask("GET", DEPLOYMENT)
        status, wanted = found.get("status", {}), found["spec"]["replicas"]
        seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        counts = (status.get(key, 0) for key in ("updatedReplicas", "availableReplicas"))
        return bool(seen and all(count == wanted for count in counts))

    def delete(self) -> None:
        self._ask("DELETE", DEPLOYMENT, "application/json", {"propagationPolicy": "Foreground"})
        wait_until(self._gone, self.given.timeout, f"the end of {self.given.name}")

    def _gone(self) -> bool:
        return bool(self._ask("GET", DEPLOYMENT).get("reason") == "NotFound")

    def _ask(
        self,
        method: str,
        kind: tuple[str, str],
        content: str = "",
        body: Any = None,
        query: str = "",
    ) -> Any:
        """The answer's document; a Status for what is not there. Ends for any other refusal."""
        metadata = {"name": self.given.name, "namespace": self.given.namespace}
        path = path_of({"apiVersion": kind[0], "kind": kind[1], "metadata": metadata}) + query
        headers = {"Content-Type": content} if content else {}
        parts = self.client.param_serialize(
            method, path, header_params=headers, auth_settings=["BearerToken"]
        )
        answer = self.client.call_api(*parts[:3], body).response
        document = json.loads(answer.data)
        if answer.status >= 300 and document.get("reason") != "NotFound":
            sys.exit(f"error: {document.get('message')}")
        return document


def _seconds(text: str) -> float:
    return float(text[:-1]) * SECONDS[text[-1]]


if __name__ == "__main__":
    {"az": az, "kubectl": kubectl, "psql": psql}[sys.argv[1]](sys.argv[2:])
