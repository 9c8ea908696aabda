"""Secrets and versions, through azure-keyvault-secrets."""

from __future__ import annotations

import itertools
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from azure.identity import ManagedIdentityCredential
    from azure.keyvault.secrets import SecretClient

    from local.process import Component

from tests.local.azure.support import secret_client, start_vault


def inner_code(error: HttpResponseError) -> str | None:
    assert error.error is not None
    return (error.error.innererror or {}).get("code")


class TestVersions:
    def test_set_answers_what_get_answers(self, client: SecretClient, name: str) -> None:
        expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
        made = client.set_secret(
            name,
            "pässword",
            content_type="text/plain",
            tags={"slot": "blue"},
            expires_on=expires,
            not_before=datetime(2020, 1, 1, tzinfo=UTC),
        )
        got = client.get_secret(name)
        assert (got.value, got.id, got.properties.version) == (
            "pässword",
            made.id,
            made.properties.version,
        )
        properties = got.properties
        assert (properties.tags, properties.content_type) == ({"slot": "blue"}, "text/plain")
        assert (properties.expires_on, properties.enabled) == (expires, True)
        assert properties.not_before == datetime(2020, 1, 1, tzinfo=UTC)
        assert properties.vault_url == client.vault_url
        assert (properties.recovery_level, properties.recoverable_days) == (
            "Recoverable+Purgeable",
            90,
        )

    def test_latest_is_the_last_one_made_within_one_second(
        self, client: SecretClient, name: str
    ) -> None:
        made = [client.set_secret(name, f"value {number}") for number in range(20)]
        seconds = [version.properties.created_on for version in made]
        assert any(first == second for first, second in itertools.pairwise(seconds))
        latest = client.get_secret(name)
        assert (latest.value, latest.properties.version) == (
            "value 19",
            made[-1].properties.version,
        )

    def test_older_version_stays_readable(self, client: SecretClient, name: str) -> None:
        old = client.set_secret(name, "old")
        client.set_secret(name, "new")
        assert client.get_secret(name, old.properties.version).value == "old"

    def test_properties_do_not_pass_to_the_next_version(
        self, client: SecretClient, name: str
    ) -> None:
        client.set_secret(name, "old", tags={"a": "b"}, content_type="x", enabled=False)
        properties = client.set_secret(name, "new").properties
        assert (properties.tags, properties.content_type, properties.enabled) == (None, None, True)

    def test_name_ignores_case_and_keeps_its_first_spelling(
        self, client: SecretClient, name: str
    ) -> None:
        client.set_secret(name.capitalize(), "value")
        assert client.get_secret(name.upper()).name == name.capitalize()

    def test_expired_and_not_yet_valid_versions_are_readable(
        self, client: SecretClient, name: str
    ) -> None:
        now = datetime.now(UTC)
        client.set_secret(name, "expired", expires_on=now - timedelta(days=1))
        assert client.get_secret(name).value == "expired"
        client.set_secret(name, "early", not_before=now + timedelta(days=1))
        assert client.get_secret(name).value == "early"

    def test_unknown_secret_and_version(self, client: SecretClient, name: str) -> None:
        with pytest.raises(ResourceNotFoundError, match="SecretNotFound"):
            client.get_secret(name)
        client.set_secret(name, "value")
        with pytest.raises(ResourceNotFoundError, match=f"{name}/{'0' * 32}"):
            client.get_secret(name, "0" * 32)


class TestUpdate:
    def test_changes_what_is_given_and_nothing_else(self, client: SecretClient, name: str) -> None:
        expires = datetime(2030, 1, 1, tzinfo=UTC)
        made = client.set_secret(name, "v", tags={"a": "1"}, content_type="x", expires_on=expires)
        client.update_secret_properties(name, made.properties.version, tags={"b": "2"})
        changed = client.get_secret(name)
        assert changed.value == "v"
        assert (changed.properties.tags, changed.properties.content_type) == ({"b": "2"}, "x")
        assert changed.properties.expires_on == expires

    def test_without_version_it_is_the_latest(self, client: SecretClient, name: str) -> None:
        old = client.set_secret(name, "old")
        new = client.set_secret(name, "new")
        changed = client.update_secret_properties(name, content_type="x")
        assert changed.version == new.properties.version
        assert client.get_secret(name, old.properties.version).properties.content_type is None

    def test_tags_can_be_emptied(self, client: SecretClient, name: str) -> None:
        client.set_secret(name, "v", tags={"a": "1"})
        assert not client.update_secret_properties(name, tags={}).tags

    def test_disabled_version_is_refused_and_can_be_enabled(
        self, client: SecretClient, name: str
    ) -> None:
        version = client.set_secret(name, "v").properties.version
        assert client.update_secret_properties(name, version, enabled=False).enabled is False
        for which in (version, None):
            with pytest.raises(HttpResponseError) as caught:
                client.get_secret(name, which)
            assert caught.value.status_code == 403
            assert caught.value.error is not None
            assert caught.value.error.code == "Forbidden"
            assert inner_code(caught.value) == "SecretDisabled"
        client.update_secret_properties(name, version, enabled=True)
        assert client.get_secret(name).value == "v"

    def test_disabled_latest_hides_no_older_version(self, client: SecretClient, name: str) -> None:
        old = client.set_secret(name, "old").properties.version
        client.set_secret(name, "new", enabled=False)
        with pytest.raises(HttpResponseError, match="disabled"):
            client.get_secret(name)
        assert client.get_secret(name, old).value == "old"

    def test_unknown_version(self, client: SecretClient, name: str) -> None:
        client.set_secret(name, "v")
        with pytest.raises(ResourceNotFoundError):
            client.update_secret_properties(name, "0" * 32, enabled=False)

    def test_window_is_checked_against_what_is_there(self, client: SecretClient, name: str) -> None:
        client.set_secret(name, "v", not_before=datetime(2030, 1, 1, tzinfo=UTC))
        with pytest.raises(HttpResponseError, match="BadParameter"):
            client.update_secret_properties(name, expires_on=datetime(2029, 1, 1, tzinfo=UTC))
        assert client.get_secret(name).properties.expires_on is None


class TestLists:
    @pytest.mark.parametrize("page", [None, 1, 7, 25])
    def test_versions_in_pages(self, client: SecretClient, name: str, page: int | None) -> None:
        made = {client.set_secret(name, str(n)).properties.version for n in range(26)}
        options = {} if page is None else {"max_page_size": page}
        listed = list(client.list_properties_of_secret_versions(name, **options))
        assert [str(each.version) for each in listed] == sorted(map(str, made))

    def test_versions_show_disabled_ones_and_no_value(
        self, client: SecretClient, name: str
    ) -> None:
        client.set_secret(name, "v", enabled=False, tags={"slot": "green"})
        (listed,) = client.list_properties_of_secret_versions(name)
        assert (listed.enabled, listed.tags, listed.name) == (False, {"slot": "green"}, name)
        assert listed.created_on is not None

    def test_versions_of_unknown_secret_are_none(self, client: SecretClient, name: str) -> None:
        assert list(client.list_properties_of_secret_versions(name)) == []

    def test_secrets_in_pages_with_their_latest_properties(
        self, client: SecretClient, name: str
    ) -> None:
        for number in range(30):
            client.set_secret(f"{name}-{number}", "old", content_type="old")
        client.set_secret(f"{name}-7", "new", content_type="new")
        listed = {
            each.name: each
            for each in client.list_properties_of_secrets()
            if str(each.name).startswith(name)
        }
        assert set(listed) == {f"{name}-{number}" for number in range(30)}
        assert listed[f"{name}-7"].content_type == "new"
        assert listed[f"{name}-7"].version is None

    @pytest.mark.parametrize("size", [0, 26])
    def test_page_size_bad(self, client: SecretClient, name: str, size: int) -> None:
        with pytest.raises(HttpResponseError, match="maxresults"):
            list(client.list_properties_of_secret_versions(name, max_page_size=size))


class TestDeletion:
    def test_deleted_secret_is_gone_until_recovered(self, client: SecretClient, name: str) -> None:
        old = client.set_secret(name, "old").properties.version
        client.set_secret(name, "new")
        poller = client.begin_delete_secret(name)
        poller.wait()
        deleted = poller.result()
        assert deleted.recovery_id == f"{client.vault_url}/deletedsecrets/{name}"
        assert deleted.deleted_date is not None
        assert deleted.scheduled_purge_date == deleted.deleted_date + timedelta(days=90)
        with pytest.raises(ResourceNotFoundError):
            client.get_secret(name)
        assert list(client.list_properties_of_secret_versions(name)) == []
        assert name in [each.name for each in client.list_deleted_secrets()]
        client.begin_recover_deleted_secret(name).wait()
        assert client.get_secret(name).value == "new"
        assert client.get_secret(name, old).value == "old"

    def test_name_of_deleted_secret_cannot_be_reused(self, client: SecretClient, name: str) -> None:
        client.set_secret(name, "v")
        client.begin_delete_secret(name).wait()
        with pytest.raises(ResourceExistsError, match="deleted but recoverable") as caught:
            client.set_secret(name, "again")
        assert inner_code(caught.value) == "ObjectIsDeletedButRecoverable"

    def test_purged_secret_is_gone_for_good(self, client: SecretClient, name: str) -> None:
        old = client.set_secret(name, "v").properties.version
        client.begin_delete_secret(name).wait()
        client.purge_deleted_secret(name)
        with pytest.raises(ResourceNotFoundError):
            client.get_deleted_secret(name)
        client.set_secret(name, "again")
        with pytest.raises(ResourceNotFoundError):
            client.get_secret(name, old)

    @pytest.mark.parametrize("verb", ["begin_recover_deleted_secret", "purge_deleted_secret"])
    def test_what_is_not_deleted(self, client: SecretClient, name: str, verb: str) -> None:
        client.set_secret(name, "v")
        with pytest.raises(ResourceNotFoundError):
            getattr(client, verb)(name)


class TestBackup:
    def test_restores_every_version(self, client: SecretClient, name: str) -> None:
        old = client.set_secret(name, "the-old-value", tags={"a": "b"}).properties
        client.set_secret(name, "new", enabled=False)
        backup = client.backup_secret(name)
        assert b"the-old-value" not in backup
        client.begin_delete_secret(name).wait()
        client.purge_deleted_secret(name)
        assert client.restore_secret_backup(backup).enabled is False
        restored = client.get_secret(name, old.version)
        assert (restored.value, restored.properties.tags) == ("the-old-value", {"a": "b"})
        assert restored.properties.created_on == old.created_on

    def test_name_in_use(self, client: SecretClient, name: str) -> None:
        client.set_secret(name, "v")
        with pytest.raises(ResourceExistsError):
            client.restore_secret_backup(client.backup_secret(name))

    def test_foreign_backup(self, client: SecretClient) -> None:
        with pytest.raises(HttpResponseError, match="no backup"):
            client.restore_secret_backup(b"not from here")


class TestLimits:
    @pytest.mark.parametrize("bad", ["under_score", "with space", "dots.too", "x" * 128, "ümlaut"])
    def test_name_bad(self, client: SecretClient, bad: str) -> None:
        with pytest.raises(HttpResponseError, match="BadParameter"):
            client.set_secret(bad, "v")

    def test_longest_name(self, client: SecretClient, name: str) -> None:
        assert client.set_secret(name.ljust(127, "x"), "v").value == "v"

    def test_largest_value(self, client: SecretClient, name: str) -> None:
        largest = "x" * (25 * 1024)
        assert client.set_secret(name, largest).value == largest
        with pytest.raises(HttpResponseError, match="larger than 25600 bytes"):
            client.set_secret(name, largest + "x")

    @pytest.mark.parametrize(
        "bad",
        [
            pytest.param({str(n): "v" for n in range(16)}, id="many"),
            pytest.param({"k": "v" * 257}, id="long-value"),
            pytest.param({"k" * 257: "v"}, id="long-name"),
        ],
    )
    def test_tags_bad(self, client: SecretClient, name: str, bad: dict[str, str]) -> None:
        with pytest.raises(HttpResponseError, match="BadParameter"):
            client.set_secret(name, "v", tags=bad)

    def test_window_bad(self, client: SecretClient, name: str) -> None:
        moment = datetime(2030, 1, 1, tzinfo=UTC)
        with pytest.raises(HttpResponseError, match="nbf must be before"):
            client.set_secret(name, "v", not_before=moment, expires_on=moment)


def test_acknowledged_versions_survive_a_kill(
    state: Path,
    tmp_path: Path,
    credential: ManagedIdentityCredential,
    started: Callable[[Component], Component],
) -> None:
    vault = start_vault(state, f"killed-{tmp_path.name}")
    started(vault)
    with secret_client(vault, credential) as client:
        made = [client.set_secret("orders", f"value {n}").properties.version for n in range(10)]
    vault.kill()
    started(vault)
    with secret_client(vault, credential) as client:
        assert client.get_secret("orders").properties.version == made[-1]
        listed = client.list_properties_of_secret_versions("orders")
        assert {each.version for each in listed} == set(made)


def test_files_of_the_vault_are_private(
    vault: Component, state: Path, client: SecretClient
) -> None:
    client.set_secret("private", "v")
    files = list((state / "vault").glob("vault.db*"))
    assert len(files) >= 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
