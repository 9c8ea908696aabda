"""Key Vault's events as they come in the wild, and what becomes of each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotation.front.triggers import Announcement, read
from rotation.model.catalogue import Origin

NEAR, EXPIRED = "Microsoft.KeyVault.SecretNearExpiry", "Microsoft.KeyVault.SecretExpired"
VERSION = "5e1ed1c2b3a44f5e8a7b6c5d4e3f2a1b"
DATA: dict[str, Any] = {
    "Id": f"https://kv.vault.azure.net/secrets/newsecret/{VERSION}",
    "VaultName": "kv",
    "ObjectType": "Secret",
    "ObjectName": "newsecret",
    "Version": VERSION,
    "NBF": "1559081980",
    "EXP": "1559082102",
}
FOUND = Announcement(Origin.NEAR_EXPIRY, "https://kv.vault.azure.net", "newsecret", VERSION)


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in DATA.items() if name != key}


GOOD: list[dict[str, Any]] = [
    DATA,
    {**without("ObjectName"), "ObjectName ": "newsecret"},
    {f" {key.upper()} ": f" {value}\n" for key, value in DATA.items()},
    {key.lower(): value for key, value in DATA.items()},
    {**DATA, "NBF": 1559081980, "EXP": 1559082102},
    {**DATA, "NBF": None, "EXP": None},
    {**DATA, "Id": f"https://kv.vault.azure.net:443/secrets/newsecret/{VERSION}"},
    {**DATA, "Id": f"HTTPS://KV.vault.azure.net/secrets/newsecret/{VERSION}"},
    {"Id": DATA["Id"], "ObjectName": "newsecret", "Version": VERSION},
    {**DATA, "new": {"nested": []}, "": 1},
]


@pytest.mark.parametrize("data", GOOD, ids=range(len(GOOD)))
def test_read(data: dict[str, Any]) -> None:
    assert read(NEAR, data) == FOUND


def test_read_the_late_one() -> None:
    assert read(EXPIRED, DATA) == Announcement(Origin.EXPIRED, FOUND.vault, "newsecret", VERSION)


def test_read_another_port() -> None:
    found = read(NEAR, {**DATA, "Id": "https://127.0.0.1:8443/secrets/newsecret/1"})
    assert isinstance(found, Announcement)
    assert found.vault == "https://127.0.0.1:8443"


BAD: list[tuple[str, Any, str]] = [
    ("Microsoft.KeyVault.SecretNewVersionCreated", DATA, "SecretNewVersionCreated' start nothing"),
    ("Microsoft.KeyVault.CertificateNearExpiry", DATA, "start nothing"),
    ("", DATA, "events of type '' start nothing"),
    (NEAR, None, "the event's data is not an object"),
    (NEAR, [DATA], "the event's data is not an object"),
    (NEAR, json.dumps(DATA), "the event's data is not an object"),
    (NEAR, {}, "the event names no secret and version"),
    (NEAR, without("Version"), "the event names no secret and version"),
    (NEAR, {**DATA, "ObjectName": 7}, "the event names no secret and version"),
    (NEAR, {**DATA, "ObjectName": "  "}, "the event names no secret and version"),
    (NEAR, {**DATA, "Version": None}, "the event names no secret and version"),
    (NEAR, without("Id"), "the event's Id is not the URL of a secret version"),
    (NEAR, {**DATA, "Id": "kv"}, "the event's Id is not the URL"),
    (NEAR, {**DATA, "Id": "http://kv.vault.azure.net/secrets/x/1"}, "the event's Id is not"),
    (NEAR, {**DATA, "Id": "https:///secrets/x/1"}, "the event's Id is not"),
    (NEAR, {**DATA, "Id": "https://[kv/secrets"}, "the event's Id is not"),
    (NEAR, {**DATA, "Id": "https://kv:port/secrets"}, "the event's Id is not"),
    (NEAR, {**DATA, "Id": ["https://kv"]}, "the event's Id is not"),
]


@pytest.mark.parametrize(("event_type", "data", "reason"), BAD)
def test_read_bad(event_type: str, data: Any, reason: str) -> None:
    found = read(event_type, data)
    assert isinstance(found, str)
    assert reason in found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "Id": JSON | st.text().map(lambda text: f"https://{text}"),
        "ObjectName ": JSON,
        "Version": JSON,
    },
)


@given(st.sampled_from([NEAR, EXPIRED]) | st.text(), JSON | NEARLY)
def test_read_never_raises(event_type: str, data: Any) -> None:
    found = read(event_type, data)
    assert isinstance(found, str | Announcement)
    if isinstance(found, Announcement):
        assert found.secret == found.secret.strip() != ""
        assert found.vault.startswith("https://")
