"""The vault's contract tests on a vault that others use, whose secrets they must not touch.

`LOWKEY_VAULT` names the jar of Lowkey Vault 7.3, and `LOWKEY_JAVA` the Java 25 that it needs. The
local vault is signed in to as an app does on Azure, and shows how the tests go about a vault that
is not theirs.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from azure.keyvault.secrets import ApiVersion, SecretClient

from local.identity import environment
from local.process import Component, die_with_parent, free_port, wait_until
from tests.contract.conftest import Tokens
from tests.local.azure.support import ADMIN, APP, fetch, start_vault
from tests.real import pointed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

LOWKEY = os.environ.get("LOWKEY_VAULT")
JAVA = os.environ.get("LOWKEY_JAVA") or shutil.which("java")
needs_lowkey = pytest.mark.skipif(
    not (LOWKEY and JAVA), reason="LOWKEY_VAULT names no jar of Lowkey Vault, or there is no Java"
)
# Where it is not as Key Vault's documentation has it.
OTHERWISE = (
    "test_names_ignore_case",  # it tells them apart
    "test_a_disabled_version_is_seen_and_not_read",  # 404, where Key Vault says 403 SecretDisabled
    "test_put_under_the_name_of_a_deleted_secret",  # 409 without a code of Key Vault's
    "test_put_of_what_is_too_large",  # it takes more than 25 KB
)
BYSTANDERS = ("contract", "nothing", "orders-db")


class Vault(NamedTuple):
    """`options` are pytest's, for its contract tests."""

    name: str
    url: str
    authority: Path
    options: tuple[str, ...] = ()


@contextmanager
def stand_in(state: Path) -> Iterator[Vault]:
    rights = ["get", "list", "set", "delete", "recover", "purge"]
    access = state / "access.json"
    access.write_text(json.dumps({APP.principal_id: rights}), encoding="utf-8")
    with start_vault(state, "keyvault", "--access", str(access)) as running:
        yield Vault("the local vault", running.url, Path(str(running.facts["ca"])))


@contextmanager
def lowkey(state: Path) -> Iterator[Vault]:
    """It vouches for itself, and takes any token."""
    assert LOWKEY is not None
    port, authority, log = free_port(), state / "lowkey.pem", state / "lowkey.log"
    options = [f"--server.port={port}", "--server.address=127.0.0.1"]
    options += [f"--app.token.port={free_port()}"]
    with log.open("w", encoding="utf-8") as words:
        process = subprocess.Popen(  # noqa: S603 - the jar that whoever runs this named
            [str(JAVA), "-jar", LOWKEY, *options],
            stdout=words,
            stderr=words,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - prctl only, no locks taken
        )
    url = f"https://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
        try:
            authority.write_text(ssl.get_server_certificate(("127.0.0.1", port)))
            return fetch(f"{url}/ping", ca=authority)[0] == 200
        except OSError:
            return False

    try:
        wait_until(answers, 120, "the start of Lowkey Vault")
        left_out = tuple(f"--deselect=tests/contract/test_vault.py::{n}" for n in OTHERWISE)
        yield Vault("Lowkey Vault", url, authority, ("-p", "tests.real.older_api", *left_out))
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def signed_in(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of an app on Azure, whose identity is the local endpoint's."""
    state = tmp_path / "identity"
    options = ("--state", str(state), "--system", "app", "--lifetime", "3600")
    log = tmp_path / "identity.log"
    with Component.module("identity", *options, log=log, env=ADMIN) as running:
        yield environment(state, running.url)


@contextmanager
def client(vault: Vault, state: Path) -> Iterator[SecretClient]:
    with SecretClient(
        vault.url,
        Tokens(state),
        connection_verify=str(vault.authority),
        verify_challenge_resource=False,
        api_version=ApiVersion.V2025_07_01,
    ) as found:
        yield found


def state_of(sdk: SecretClient) -> set[tuple[object, ...]]:
    """All versions of all secrets that are not the tests', and those that are deleted."""
    found: set[tuple[object, ...]] = set()
    for secret in sdk.list_properties_of_secrets():
        for version in sdk.list_properties_of_secret_versions(str(secret.name)):
            found.add((version.name, version.version, version.enabled, version.updated_on))
    return found | {(secret.name, "deleted") for secret in sdk.list_deleted_secrets()}


PLACES = {
    "local": stand_in,
    "lowkey": lowkey,
}


@pytest.mark.parametrize("place", ["local", pytest.param("lowkey", marks=needs_lowkey)])
def test_contract_on_a_vault_that_others_use(
    place: str, signed_in: dict[str, str], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    with PLACES[place](tmp_path) as vault, client(vault, tmp_path) as sdk:
        for name in (*BYSTANDERS, "deleted"):
            sdk.set_secret(name, "of somebody else")
            sdk.set_secret(name, "of somebody else, later")
        sdk.begin_delete_secret("deleted").wait(30)
        before = state_of(sdk)
        variables = {
            **signed_in,
            "CONTRACT_VAULT_URL": vault.url,
            "CONTRACT_VAULT_CA": str(vault.authority),
        }
        file = "tests/contract/test_vault.py"
        outcome = pointed.run(file, variables, "-k", "not memory", *vault.options)
        after = state_of(sdk)
        left = {name for name, *_ in after - before}
        assert before <= after, f"the tests changed {sorted(map(str, before - after))}"
        assert all(str(name).startswith("contract-") for name in left)
        assert left == {name for name, state, *_ in after - before if state == "deleted"}
    tell(
        f"{vault.name}: {outcome.passed} contract tests passed, {outcome.skipped} skipped, nothing"
        f" of others changed, {len(left)} left as deleted"
    )
    assert outcome.passed > 20
    assert place != "local" or left == set(), "it lets its secrets be purged"
