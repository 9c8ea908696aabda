"""`rotation.edges.vault` against a Key Vault: the local one, or CONTRACT_VAULT_URL's.

What `rotation.contracts.vault` promises is asked of the vault in memory too.

The secrets that the tests make there have names that begin with `contract-`; each test deletes its
own again, and purges it where the vault allows that.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ODataV4Format,
    ResourceNotFoundError,
)
from azure.identity import CredentialUnavailableError, DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from local.identity import environment
from local.process import wait_until
from local.tls import Authority
from rotation.clouds import PUBLIC
from rotation.edges import bounded
from rotation.edges.identity import Identity
from rotation.edges.vault import LOOPBACK, KeyVault, _refused
from rotation.model.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import SecretTarget
from rotation.model.world import SecretVersion
from rotation.secrecy import Secret, new_password
from tests.contract.conftest import (
    PLACES,
    Tokens,
    at_once,
    faults,
    needs_the_stand_in,
    revoked_once,
)
from tests.local.azure.support import APP, READER, Admin, start_vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local.process import Component
    from rotation.contracts.vault import Vault
    from tests.memory import MemoryEdges

URL = os.environ.get("CONTRACT_VAULT_URL")
AUTHORITY = os.environ.get("CONTRACT_VAULT_CA")  # a file; public authorities unless given
SOON = 15.0  # seconds: the client itself would wait for ever
EXPIRES = (datetime.now(UTC) + timedelta(days=90)).replace(microsecond=0)


@dataclass(frozen=True)
class Place:
    """A vault, and how to get in."""

    url: str
    credential: Any
    authority: str | None

    def edge(self, **changes: Any) -> KeyVault:
        values = {"url": self.url, "credential": self.credential, "ca_bundle": self.authority}
        return KeyVault(**{**values, **changes})


@pytest.fixture(scope="session")
def component(identity: Component, state: Path) -> Iterator[Component]:
    access = state / "access.json"
    rights = {APP.principal_id: ["get", "list", "set", "delete"], READER.principal_id: ["get"]}
    access.write_text(json.dumps(rights), encoding="utf-8")
    with start_vault(state, "keyvault", "--access", str(access)) as running:
        yield running


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest, state: Path) -> Place:
    if URL:
        return Place(URL, DefaultAzureCredential(), AUTHORITY)
    running = request.getfixturevalue("component")
    return Place(running.url, Tokens(state), str(running.facts["ca"]))


@pytest.fixture
def key_vault(place: Place) -> KeyVault:
    return place.edge()


@pytest.fixture(params=PLACES)
def vault(request: pytest.FixtureRequest, memory: MemoryEdges) -> Vault:
    if request.param == "memory":
        return memory.vault("https://kv-contract.vault.azure.net")
    found: KeyVault = request.getfixturevalue("key_vault")
    return found


@pytest.fixture
def admin(request: pytest.FixtureRequest) -> Iterator[Admin]:
    needs_the_stand_in("CONTRACT_VAULT_URL")
    yield from faults(request.getfixturevalue("component"))


@pytest.fixture
def sdk(place: Place) -> Iterator[SecretClient]:
    """For what the edge has no verb for."""
    with SecretClient(
        place.url,
        place.credential,
        connection_verify=place.authority or True,
        verify_challenge_resource=urlsplit(place.url).hostname not in LOOPBACK,
    ) as client:
        yield client


@pytest.fixture(autouse=True)
def _cleaned(name: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """Of a vault that is not ours, what the test made in it is taken away."""
    sdk: SecretClient | None = request.getfixturevalue("sdk") if URL else None
    yield
    if sdk is not None:
        removed(sdk, name)


def removed(sdk: SecretClient, name: str) -> None:
    """Deletes the secret, and purges it unless the vault refuses that, without the right or because
    it protects what is deleted: it is then gone once its retention is over."""
    with suppress(ResourceNotFoundError):  # there is none, or it is deleted already
        sdk.begin_delete_secret(name).wait(SOON)
    with suppress(HttpResponseError):
        sdk.purge_deleted_secret(name, retry_total=0)


def put(vault: Vault, name: str, value: Secret | None = None, **tags: str) -> str:
    written = vault.put(
        SecretTarget(name),
        value or new_password(),
        expires=EXPIRES,
        content_type="text/plain",
        tags=tags,
    )
    return written.version


def test_a_secret_that_is_not_there(vault: Vault, name: str) -> None:
    assert vault.current(SecretTarget(name)) is None
    assert vault.versions(SecretTarget(name)) == []


def test_a_vault_may_have_no_list_of_what_is_not_there(
    key_vault: KeyVault, name: str, admin: Admin
) -> None:
    admin.fault(match={"path_prefix": f"/secrets/{name}/versions"}, status=404)
    assert key_vault.versions(SecretTarget(name)) == []


def test_put_is_there_with_all_that_was_given(vault: Vault, name: str) -> None:
    value = new_password()
    written = vault.put(
        SecretTarget(name),
        value,
        expires=EXPIRES,
        content_type="application/json",
        tags={"rotation": "r-1", "slot": "green"},
    )
    assert written == vault.current(SecretTarget(name))
    assert (written.secret, written.enabled, written.expires) == (name, True, EXPIRES)
    assert written.tags == {"rotation": "r-1", "slot": "green"}
    assert written.created is not None
    assert vault.value(SecretTarget(name, written.version)).reveal() == value.reveal()


def test_the_content_type_is_as_given(key_vault: KeyVault, name: str, sdk: SecretClient) -> None:
    put(key_vault, name)
    assert sdk.get_secret(name).properties.content_type == "text/plain"


def test_a_version_that_somebody_else_wrote_may_have_nothing_but_a_value(
    key_vault: KeyVault, name: str, sdk: SecretClient
) -> None:
    written = sdk.set_secret(name, "by hand").properties
    current = key_vault.current(SecretTarget(name))
    assert current == SecretVersion(name, str(written.version), True, written.created_on, None)


def test_every_put_makes_another_version(vault: Vault, name: str) -> None:
    value = new_password()
    versions = {put(vault, name, value) for _ in range(3)}
    assert len(versions) == 3
    assert {found.version for found in vault.versions(SecretTarget(name))} == versions


def test_the_last_version_is_current_also_within_one_second(vault: Vault, name: str) -> None:
    for _ in range(4):
        written = put(vault, name)
        current = vault.current(SecretTarget(name))
        assert current is not None
        assert current.version == written


def test_names_ignore_case(vault: Vault, name: str) -> None:
    written = put(vault, name)
    current = vault.current(SecretTarget(name.upper()))
    assert current is not None
    assert current.version == written


def test_there_may_be_many_versions(vault: Vault, name: str) -> None:
    """More than a page."""
    written = {put(vault, name, number=str(number)) for number in range(28)}
    found = vault.versions(SecretTarget(name))
    assert {version.version for version in found} == written
    assert {version.tags["number"] for version in found} == {str(number) for number in range(28)}


@pytest.mark.parametrize("text", ["x", "ü😀\n\t\"'{}%\\", "p" * 20_000])
def test_values_come_back_as_they_were(vault: Vault, name: str, text: str) -> None:
    version = put(vault, name, Secret(text))
    assert vault.value(SecretTarget(name, version)).reveal() == text


def test_value_of_the_current_version(vault: Vault, name: str) -> None:
    for text in ("first", "second"):
        put(vault, name, Secret(text))
        assert vault.value(SecretTarget(name)).reveal() == text


def test_value_of_what_is_not_there(vault: Vault, name: str) -> None:
    for secret in (SecretTarget(name), SecretTarget(name, "0" * 32)):
        with pytest.raises(Missing, match=f"secret {secret}") as caught:
            vault.value(secret)
        assert caught.value.code is Code.VAULT_MISSING
    put(vault, name)
    with pytest.raises(Missing):
        vault.value(SecretTarget(name, "0" * 32))


def test_a_disabled_version_is_seen_and_not_read(vault: Vault, name: str) -> None:
    version = put(vault, name)
    vault.disable(SecretTarget(name, version))
    current = vault.current(SecretTarget(name))
    assert current is not None
    assert (current.version, current.enabled) == (version, False)
    for secret in (SecretTarget(name, version), SecretTarget(name)):
        with pytest.raises(Conflict, match="this version is disabled") as caught:
            vault.value(secret)
        assert caught.value.code is Code.VAULT_DISABLED


def test_a_current_version_that_is_disabled_is_found_also_within_one_second(
    vault: Vault, name: str
) -> None:
    """Times of creation are whole seconds: by them, any of these could be the newest."""
    written = [put(vault, name) for _ in range(8)][-1]
    vault.disable(SecretTarget(name, written))
    current = vault.current(SecretTarget(name))
    assert current is not None
    assert (current.version, current.enabled) == (written, False)


def test_the_newest_version_is_the_first_and_current_also_if_it_was_enabled_meanwhile(
    key_vault: KeyVault, name: str, admin: Admin
) -> None:
    """The vault says that it is disabled, and its list that it no longer is."""
    first = put(key_vault, name)
    key_vault.disable(SecretTarget(name, first))
    began = time.monotonic()
    wait_until(lambda: time.monotonic() > began + 1, SOON, "the next second")
    second = put(key_vault, name)
    listed = [found.version for found in key_vault.versions(SecretTarget(name))]
    assert listed == [second, first]
    admin.fault(match={"path_prefix": f"/secrets/{name}"}, status=403, cause="SecretDisabled")
    current = key_vault.current(SecretTarget(name))
    assert current is not None
    assert (current.version, current.enabled) == (second, True)


@pytest.mark.guarantee(4)
def test_disable_may_be_repeated(vault: Vault, name: str) -> None:
    secret = SecretTarget(name, put(vault, name))
    vault.disable(secret)
    vault.disable(secret)
    assert [found.enabled for found in vault.versions(SecretTarget(name))] == [False]


def test_disable_takes_one_version_only(vault: Vault, name: str) -> None:
    first, second = put(vault, name), put(vault, name)
    vault.disable(SecretTarget(name, first))
    found = {version.version: version.enabled for version in vault.versions(SecretTarget(name))}
    assert found == {first: False, second: True}
    current = vault.current(SecretTarget(name))
    assert current is not None
    assert current.version == second


def test_disable_of_what_is_not_there(vault: Vault, name: str) -> None:
    with pytest.raises(Missing) as caught:
        vault.disable(SecretTarget(name, "0" * 32))
    assert caught.value.code is Code.VAULT_MISSING


def test_put_under_the_name_of_a_deleted_secret(
    key_vault: KeyVault, name: str, sdk: SecretClient
) -> None:
    put(key_vault, name)
    sdk.begin_delete_secret(name).wait()
    said = "HTTP 409 ObjectIsDeletedButRecoverable; it may be deleted and not purged: recover it"
    with pytest.raises(Conflict, match=said) as caught:
        put(key_vault, name)
    assert caught.value.code is Code.VAULT_CONFLICT
    assert key_vault.current(SecretTarget(name)) is None


@pytest.mark.parametrize("code", ["ObjectIsBeingDeleted", "ObjectIsBeingRecovered"])
def test_what_is_under_way_is_worth_a_retry(code: str) -> None:
    error = HttpResponseError("hunter2")
    error.status_code, error.error = 409, ODataV4Format({"code": code, "message": "hunter2"})
    found = _refused("it failed", error)
    assert (type(found), found.code) == (Unavailable, Code.VAULT_CONFLICT)
    assert found.message == f"it failed: HTTP 409 {code}"


def test_put_of_what_is_too_large(key_vault: KeyVault, name: str) -> None:
    value = "hunter2" * 5000
    with pytest.raises(Invalid, match="HTTP 4") as caught:
        put(key_vault, name, Secret(value))
    assert "hunter2" not in caught.value.message


VERBS: dict[str, Callable[[KeyVault, str, str], object]] = {
    "current": lambda vault, name, _: vault.current(SecretTarget(name)),
    "versions": lambda vault, name, _: vault.versions(SecretTarget(name)),
    "value": lambda vault, name, version: vault.value(SecretTarget(name, version)),
    "put": lambda vault, name, _: put(vault, name, Secret("hunter2")),
    "disable": lambda vault, name, version: vault.disable(SecretTarget(name, version)),
}
STATUSES: list[tuple[int, type[EdgeError], Code]] = [
    (400, Invalid, Code.VAULT_ERROR),
    (401, Denied, Code.VAULT_TOKEN),
    (403, Denied, Code.VAULT_REFUSED),
    (408, Unavailable, Code.VAULT_UNAVAILABLE),
    (409, Conflict, Code.VAULT_CONFLICT),
    (429, Unavailable, Code.VAULT_UNAVAILABLE),
    (500, Unavailable, Code.VAULT_UNAVAILABLE),
    (503, Unavailable, Code.VAULT_UNAVAILABLE),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("refusal", STATUSES, ids=lambda refusal: str(refusal[0]))
def test_a_refusal_says_what_it_is(
    key_vault: KeyVault,
    name: str,
    admin: Admin,
    verb: str,
    refusal: tuple[int, type[EdgeError], Code],
) -> None:
    status, error, code = refusal
    version = put(key_vault, name)
    admin.fault(match={"path_prefix": "/secrets"}, times=9, status=status, retry_after=7)
    with pytest.raises(error, match=rf"could not .* secret {name}.* HTTP {status}") as caught:
        VERBS[verb](key_vault, name, version)
    assert (type(caught.value), caught.value.code) == (error, code)
    assert caught.value.retry_after == (7 if error is Unavailable else None)
    assert caught.value.__cause__ is None
    assert "hunter2" not in str(caught.value)
    assert ("recover it" in caught.value.message) is (status == 409)


FORBIDDEN: list[tuple[str, Code, str]] = [
    ("ForbiddenByRbac", Code.VAULT_DENIED, "grant the app's identity the role"),
    ("ForbiddenByPolicy", Code.VAULT_POLICY, "in the vault's access policies"),
    ("AccessDenied", Code.VAULT_POLICY, "in the vault's access policies"),
    ("ForbiddenByFirewall", Code.VAULT_FIREWALL, "in the vault's network rules"),
    ("ForbiddenByConnection", Code.VAULT_PRIVATE, "private DNS zone"),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("refusal", FORBIDDEN, ids=lambda refusal: refusal[0])
def test_a_403_says_whose_it_is(
    key_vault: KeyVault, name: str, admin: Admin, verb: str, refusal: tuple[str, Code, str]
) -> None:
    """A firewall's is no missing grant: each has its own cure, and none has the vault's words."""
    cause, code, cure = refusal
    version = put(key_vault, name)
    admin.fault(match={"path_prefix": "/secrets"}, times=9, status=403, cause=cause)
    with pytest.raises(Denied, match=f"HTTP 403 {cause}; .*{cure}") as caught:
        VERBS[verb](key_vault, name, version)
    assert caught.value.code is code
    for words in ("192.0.2.1", "Caller", "trusted service"):
        assert words not in caught.value.message
    assert ("role that docs" in caught.value.message) is (code is Code.VAULT_DENIED)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("status", [429, 503])
def test_nothing_is_repeated_here(
    key_vault: KeyVault, name: str, admin: Admin, verb: str, status: int
) -> None:
    """The orchestrator repeats, and its waits survive a restart."""
    version = put(key_vault, name)
    admin.fault(match={"path_prefix": "/secrets"}, times=9, status=status)
    with pytest.raises(Unavailable):
        VERBS[verb](key_vault, name, version)
    assert [fault["hits"] for fault in admin.faults()] == [1]


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_is_asked_for_is_the_orchestrator_s(
    key_vault: KeyVault, name: str, admin: Admin, status: int
) -> None:
    key_vault.current(SecretTarget(name))
    admin.fault(match={"path_prefix": "/secrets"}, times=9, status=status, retry_after=30)
    with at_once(30), pytest.raises(Unavailable) as caught:
        key_vault.current(SecretTarget(name))
    assert caught.value.retry_after == 30


def test_a_token_that_is_refused_is_forgotten(place: Place, state: Path, name: str) -> None:
    needs_the_stand_in("CONTRACT_VAULT_URL", "takes the tokens of a local identity")
    version = put(place.edge(), name)
    signing_in = revoked_once(Tokens(state))
    vault = place.edge(credential=signing_in, refused=signing_in.forget)
    with pytest.raises(Denied) as caught:
        vault.value(SecretTarget(name, version))
    assert caught.value.refused
    assert vault.value(SecretTarget(name, version)).reveal()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_lost_connection_is_worth_a_retry(
    key_vault: KeyVault, name: str, admin: Admin, verb: str, drop: str
) -> None:
    version = put(key_vault, name)
    admin.fault(match={"path_prefix": "/secrets"}, drop=drop)
    with pytest.raises(Unavailable, match=r"ServiceRe(quest|sponse)Error$"):
        VERBS[verb](key_vault, name, version)


@pytest.mark.guarantee(4)
def test_a_put_whose_answer_is_lost_was_made(key_vault: KeyVault, name: str, admin: Admin) -> None:
    """Why `stage` looks for its rotation's tag before it writes."""
    key_vault.current(SecretTarget(name))
    admin.fault(match={"path_prefix": "/secrets", "method": "PUT"}, drop="after")
    with pytest.raises(Unavailable):
        put(key_vault, name, rotation="r-1")
    assert [version.tags for version in key_vault.versions(SecretTarget(name))] == [
        {"rotation": "r-1"}
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_a_vault_that_is_down(place: Place, name: str, verb: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        down = place.edge(url=f"https://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Unavailable, match=r"ServiceRequestError$"):
            VERBS[verb](down, name, "0" * 32)


def test_a_vault_that_is_slow(
    place: Place, name: str, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "READ", 0.5)
    impatient = place.edge()
    impatient.current(SecretTarget(name))
    admin.fault(match={"path_prefix": "/secrets"}, delay=3)
    with pytest.raises(Unavailable, match=r"ServiceResponseTimeoutError$"):
        impatient.current(SecretTarget(name))


def test_an_unknown_authority_is_refused(place: Place, name: str, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "tls")
    with pytest.raises(Unavailable):
        place.edge(ca_bundle=str(stranger.bundle)).current(SecretTarget(name))


@pytest.mark.parametrize("verb", ["put", "versions", "disable"])
def test_an_identity_without_the_right(
    place: Place, state: Path, name: str, admin: Admin, verb: str
) -> None:
    version = put(place.edge(), name)
    reader = place.edge(credential=Tokens(state, READER))
    with pytest.raises(Denied, match=r"HTTP 403 ForbiddenByRbac; grant .* docs/deploy\.md names"):
        VERBS[verb](reader, name, version)
    assert reader.value(SecretTarget(name, version)).reveal()


def test_what_it_says_of_writing_changes_nothing(vault: Vault, name: str) -> None:
    version = put(vault, name)
    standing = vault.standing(SecretTarget(name))
    assert standing.may_set is True
    assert standing.clock is not None
    assert [found.version for found in vault.versions(SecretTarget(name))] == [version]


def test_the_time_there(key_vault: KeyVault, name: str) -> None:
    clock = key_vault.standing(SecretTarget(name)).clock
    assert clock is not None
    assert abs(clock - datetime.now(UTC)) < timedelta(seconds=30)


def test_it_says_so_of_a_secret_that_is_not_there(vault: Vault, name: str) -> None:
    assert vault.standing(SecretTarget(name)).may_set is True
    assert vault.versions(SecretTarget(name)) == []


def test_a_right_to_write_that_is_missing_is_told(
    place: Place, state: Path, name: str, admin: Admin
) -> None:
    put(place.edge(), name)
    reader = place.edge(credential=Tokens(state, READER))
    assert reader.standing(SecretTarget(name)).may_set is False


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"status": 403, "cause": "ForbiddenByFirewall"}, Code.VAULT_FIREWALL),
        ({"status": 401}, Code.VAULT_TOKEN),
        ({"status": 503}, Code.VAULT_UNAVAILABLE),
    ],
)
def test_what_is_not_about_rights_is_no_word_on_them(
    key_vault: KeyVault, name: str, admin: Admin, order: dict[str, Any], code: Code
) -> None:
    admin.fault(match={"method": "PUT"}, times=5, **order)
    with pytest.raises(EdgeError) as caught:
        key_vault.standing(SecretTarget(name))
    assert caught.value.code is code


def test_another_400_is_no_word_on_rights(key_vault: KeyVault, name: str, admin: Admin) -> None:
    admin.fault(match={"method": "PUT"}, times=5, status=400)
    assert key_vault.standing(SecretTarget(name)).may_set is None


class Failing:
    """A credential that cannot sign in; its text quotes what it should not."""

    def __init__(self, error: type[ClientAuthenticationError]) -> None:
        self._error = error

    def get_token(self, *_: str, **__: Any) -> Any:
        raise self._error(message="hunter2")


@pytest.mark.parametrize("error", [ClientAuthenticationError, CredentialUnavailableError])
def test_without_a_token(place: Place, name: str, error: type[ClientAuthenticationError]) -> None:
    with pytest.raises(Unavailable, match="no token; assign the managed identity") as caught:
        place.edge(credential=Failing(error)).current(SecretTarget(name))
    assert caught.value.code is Code.IDENTITY_MISSING
    assert "hunter2" not in str(caught.value)


def test_an_identity_endpoint_that_answers_a_page_is_no_fault_of_the_vault(
    place: Place,
    state: Path,
    identity: Component,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = environment(state / "identity", identity.url)
    for key, text in found.items():
        monkeypatch.setenv(key, text)
    sign_in = Admin(identity)
    sign_in.fault(status=200, cause="page", times=9)
    vault = place.edge(credential=Identity(found, PUBLIC.authority).credential)
    with pytest.raises(Unavailable, match=r"no token for .*HTTP 200") as caught:
        vault.current(SecretTarget(name))
    sign_in.clear()
    assert caught.value.code is Code.IDENTITY_ANSWER


def test_after_a_restart(
    state: Path, identity: Component, name: str, started: Callable[[Component], Component]
) -> None:
    running = started(start_vault(state, "again/keyvault"))
    vault = KeyVault(running.url, Tokens(state), str(running.facts["ca"]))
    version = put(vault, name)
    port = running.url.rpartition(":")[2]
    running.kill()
    with pytest.raises(Unavailable):
        vault.current(SecretTarget(name))
    started(start_vault(state, "again/keyvault", "--port", port))
    current = vault.current(SecretTarget(name))
    assert current is not None
    assert current.version == version
