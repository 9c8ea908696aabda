from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from local.host.settings import (
    HostFile,
    SettingsError,
    Switches,
    apply,
    parse_timeout,
    read_values,
)

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {
    "LOCAL_FUNCTION_KEY": "function-key",
    "LOCAL_MASTER_KEY": "master-key",
    "LOCAL_SYSTEM_KEY": "system-key",
}


def test_keys_are_taken_out_of_the_environment_and_never_print() -> None:
    environ = {**KEYS, "LOCAL_EASY_AUTH": "on", "OTHER": "1"}
    switches = Switches.take(environ)
    assert switches.keys.all == ("function-key", "master-key", "system-key")
    assert switches.easy_auth
    assert environ == {"LOCAL_EASY_AUTH": "on", "OTHER": "1"}
    assert "-key" not in repr(switches)


def test_all_problems_of_the_environment_are_reported_together() -> None:
    environ = {
        "LOCAL_FUNCTION_KEY": "function-key",
        "LOCAL_MASTER_KEY": "short",
        "LOCAL_EASY_AUTH": "yes",
    }
    with pytest.raises(SettingsError) as caught:
        Switches.take(environ)
    for name in ("LOCAL_MASTER_KEY", "LOCAL_SYSTEM_KEY", "LOCAL_EASY_AUTH is 'yes'"):
        assert name in str(caught.value)
    assert "LOCAL_FUNCTION_KEY" not in str(caught.value)
    assert "short" not in str(caught.value)


def test_host_file(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    assert HostFile.read(path) == HostFile("api", 1800.0, "LocalHub")
    extensions = {"http": {"routePrefix": "/v1/"}, "durableTask": {"hubName": "Rotation"}}
    path.write_text(json.dumps({"functionTimeout": "00:05:30", "extensions": extensions}))
    assert HostFile.read(path) == HostFile("v1", 330.0, "Rotation", {"hubName": "Rotation"})
    path.write_text("{")
    with pytest.raises(SettingsError, match=r"host\.json"):
        HostFile.read(path)


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, 1800.0), ("-1", None), ("01:00:00", 3600.0), ("00:00:02", 2.0)]
)
def test_timeout(text: str | None, seconds: float | None) -> None:
    assert parse_timeout(text) == seconds


@pytest.mark.parametrize("text", ["5", "00:70:00", "later"])
def test_timeout_bad(text: str) -> None:
    with pytest.raises(SettingsError, match="functionTimeout"):
        parse_timeout(text)


def test_environment_wins_over_the_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"IsEncrypted": False, "Values": {"A": "file", "B": "file"}}))
    environ = {"A": "environment"}
    apply(read_values(path), environ)
    assert environ == {"A": "environment", "B": "file"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "must hold a JSON object"),
        ("{", "cannot be read as JSON"),
        ('{"IsEncrypted": true}', "encrypted"),
        ('{"Values": {"PORT": 5}}', "must be strings: PORT"),
    ],
)
def test_settings_file_bad(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match=reason):
        read_values(path)
