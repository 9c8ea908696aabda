"""App settings: what is read, and that all problems are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotation.model.errors import ConfigurationError
from rotation.settings import Settings, parse

NAMES = (
    "ROTATION_CONFIG",
    "ROTATION_PUBLIC_URL",
    "ROTATION_SIGN_IN",
    "ROTATION_LINK_KEY",
    "ROTATION_TOPIC_ENDPOINT",
    "ROTATION_CA_BUNDLE",
    "ROTATION_PAUSED",
    "ROTATION_STORAGE",
    "AzureWebJobsStorage",
    "AzureWebJobsStorage__blobServiceUri",
    "ROTATION_WATCH_SECONDS",
    "WEBSITE_AUTH_ENABLED",
    "WEBSITE_HOSTNAME",
)


def test_nothing_is_needed() -> None:
    assert parse({}) == Settings()


def test_an_empty_setting_is_as_good_as_none() -> None:
    assert parse(dict.fromkeys(NAMES, "")) == Settings()


def test_all_settings() -> None:
    found = parse(
        {
            "ROTATION_CONFIG": "config/credentials.yaml",
            "ROTATION_PUBLIC_URL": "https://rotation.example/base/",
            "ROTATION_SIGN_IN": "entra",
            "ROTATION_LINK_KEY": "https://kv.vault.azure.net/secrets/link-key/",
            "ROTATION_TOPIC_ENDPOINT": "https://topic.example/api/events",
            "ROTATION_CA_BUNDLE": "ca.pem",
            "ROTATION_PAUSED": "True",
            "ROTATION_WATCH_SECONDS": "5",
            "WEBSITE_AUTH_ENABLED": "True",
            "WEBSITE_HOSTNAME": "ignored.example",
            "PATH": "/bin",
        }
    )
    assert found == Settings(
        config="config/credentials.yaml",
        public_url="https://rotation.example/base",
        sign_in="entra",
        link_key="https://kv.vault.azure.net/secrets/link-key",
        topic="https://topic.example/api/events",
        ca_bundle="ca.pem",
        paused=True,
        watch_seconds=5,
        easy_auth=True,
    )


URI = "AzureWebJobsStorage__blobServiceUri"
STORAGE = [
    ({URI: "https://st.blob.example/"}, "https://st.blob.example"),
    ({URI: "https://st.blob.example/", "AzureWebJobsStorage": "a=b"}, "https://st.blob.example"),
    ({URI: "https://st/", "ROTATION_STORAGE": "https://mine.example/"}, "https://mine.example"),
    ({"ROTATION_STORAGE": "https://127.0.0.1:10000/account"}, "https://127.0.0.1:10000/account"),
    ({URI: "http://st.blob.example/"}, None),  # the host complains of it itself
    ({URI: "no address"}, None),
]


@pytest.mark.parametrize(("given", "url"), STORAGE)
def test_the_storage_account_is_the_host_s_unless_another_is_named(
    given: dict[str, str], url: str | None
) -> None:
    found = parse(given).storage
    assert (found.url if found else None) == url


def test_a_connection_string_is_kept_as_a_secret() -> None:
    text = "AccountName=st;AccountKey=c2VjcmV0"
    found = parse({"AzureWebJobsStorage": text})
    assert found.storage is not None
    assert found.storage.connection is not None
    assert found.storage.connection.reveal() == text
    assert "c2VjcmV0" not in repr(found)


def test_the_platform_tells_the_public_url() -> None:
    assert parse({"WEBSITE_HOSTNAME": "app.azurewebsites.net"}).public_url == (
        "https://app.azurewebsites.net"
    )


@pytest.mark.parametrize("value", ["False", "0", "yes", "true ", "1"])
def test_sign_in_counts_only_when_the_platform_says_so(value: str) -> None:
    assert not parse({"WEBSITE_AUTH_ENABLED": value}).easy_auth


BAD = [
    ("ROTATION_PUBLIC_URL", "rotation.example", "is not an https:// or http:// address"),
    ("ROTATION_PUBLIC_URL", "https://[x", "is not an https:// or http:// address"),
    ("ROTATION_SIGN_IN", "Entra", "is neither 'entra' nor 'links'"),
    ("ROTATION_LINK_KEY", "http://kv/secrets/x", "is not an https:// address"),
    ("ROTATION_STORAGE", "http://st.blob.example", "is not an https:// address"),
    ("ROTATION_STORAGE", "https://st.example/?sv=1&sig=x", "is not an https:// address"),
    ("ROTATION_LINK_KEY", "https://kv/secrets/x/v1", "is not https://<vault>/secrets/<name>"),
    ("ROTATION_LINK_KEY", "https://kv", "is not https://<vault>/secrets/<name>"),
    ("ROTATION_TOPIC_ENDPOINT", "https://", "is not an https:// address"),
    ("ROTATION_TOPIC_ENDPOINT", "https://[", "is not an https:// address"),
    ("ROTATION_TOPIC_ENDPOINT", "https://x:99999", "is not an https:// address"),
    ("ROTATION_PAUSED", "yes", "is neither true nor false"),
    ("ROTATION_WATCH_SECONDS", "0", "is not a whole number from 1 to 30"),
    ("ROTATION_WATCH_SECONDS", "31", "is not a whole number"),
    ("ROTATION_WATCH_SECONDS", "-1", "is not a whole number"),
    ("ROTATION_WATCH_SECONDS", "1.5", "is not a whole number"),
    ("ROTATION_WATCH_SECONDS", "²", "is not a whole number"),
]


@pytest.mark.parametrize(("name", "value", "problem"), BAD)
def test_all_settings_bad(name: str, value: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse({name: value})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{name}: ")
    assert problem in caught.value.problems[0]


def test_all_problems_at_once() -> None:
    wrong = {name: value for name, value, _ in BAD}
    with pytest.raises(ConfigurationError, match=r"^app settings has 7 problem\(s\)") as caught:
        parse(wrong)
    assert {problem.partition(":")[0] for problem in caught.value.problems} == set(wrong)


@given(st.dictionaries(st.sampled_from(NAMES), st.text()))
def test_any_environment_is_parsed_or_refused(environment: dict[str, str]) -> None:
    found: object = None
    try:
        found = parse(environment)
    except ConfigurationError as error:
        found = error.problems
    assert found
