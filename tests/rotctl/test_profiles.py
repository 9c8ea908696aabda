"""Which app is meant, and with which key: files, environment, commands, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotctl import profiles
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://rotation.example"


def written(folder: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    """The environment of somebody with this file."""
    path = folder / "rotctl" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return {"XDG_CONFIG_HOME": str(folder), "HOME": "/nonexistent"}


TWO = f"""
default = "prod"
[profiles.prod]
url = "{URL}/api/"
key = "secret-1"
by = "ada@contoso.example"
[profiles.test]
url = "https://test.example:8443"
scope = "api://x/.default"
"""


def test_profiles_of_several_apps(tmp_path: Path) -> None:
    mine = written(tmp_path, TWO)
    prod = profiles.profile(mine)
    assert (prod.name, prod.url, prod.key, prod.by) == (
        "prod",
        URL,
        "secret-1",
        "ada@contoso.example",
    )
    assert profiles.profile(mine, "test").url == "https://test.example:8443"
    assert profiles.profile({**mine, "ROTCTL_PROFILE": "test"}).scope == "api://x/.default"
    assert profiles.names(mine) == ["prod", "test"]


def test_the_only_profile_needs_no_name(tmp_path: Path) -> None:
    assert profiles.profile(written(tmp_path, f'[profiles.a]\nurl = "{URL}"')).name == "a"


def test_the_environment_is_enough(tmp_path: Path) -> None:
    mine = {"HOME": str(tmp_path), "ROTCTL_URL": "http://127.0.0.1:7071", "ROTCTL_KEY": "k"}
    assert profiles.profile(mine).headers() == {"x-functions-key": "k"}


def test_a_key_goes_to_no_app_that_it_was_not_written_down_for(tmp_path: Path) -> None:
    mine = written(tmp_path, TWO) | {"ROTCTL_KEY": "other"}
    assert profiles.profile(mine, "prod").key == "secret-1"
    assert profiles.profile({**mine, "ROTCTL_URL": "https://else.example"}).key == "other"
    assert profiles.profile(mine, "test").key == "other"  # which has none


def test_a_key_does_not_print(tmp_path: Path) -> None:
    assert "secret-1" not in repr(profiles.profile(written(tmp_path, TWO)))


def test_white_space_around_a_key_is_none_of_it() -> None:
    found = profiles.profile({"ROTCTL_URL": "https://a.example", "ROTCTL_KEY": "secret\r\n"})
    assert found.headers() == {"x-functions-key": "secret"}


@pytest.mark.parametrize("key", ["sec\rret", "sec\nret", "\u201csecret\u201d", "sec\x00ret"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_quoted(key: str) -> None:
    found = profiles.profile({"ROTCTL_URL": "https://a.example", "ROTCTL_KEY": key})
    with pytest.raises(ClientError) as error:
        found.headers()
    assert key not in f"{error.value} {error.value.document}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ClientError, match="others than you may read it") as caught:
        profiles.profile(written(tmp_path, TWO, mode))
    assert caught.value.cure.startswith("chmod 600 ")
    without = TWO.replace('key = "secret-1"\n', "")
    assert profiles.profile(written(tmp_path, without, mode)).key == ""


def test_a_command_may_have_the_key(tmp_path: Path) -> None:
    text = f'[profiles.a]\nurl = "{URL}"\nkeyCommand = ["printf", "from-a-vault"]'
    assert profiles.profile(written(tmp_path, text)).headers() == {
        "x-functions-key": "from-a-vault"
    }


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\necho not signed in >&2\nexit 1\n", "gave nothing for `scope`: not signed in"),
        ("#!/bin/sh\n", "gave nothing for `scope`: it said nothing"),
    ],
)
def test_a_token_that_cannot_be_had_is_said_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    (tmp_path / "az").write_text(script)
    (tmp_path / "az").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ClientError, match=said) as caught:
        profiles.profile(written(tmp_path, TWO), "test").headers()
    assert caught.value.exit_code is Exit.NOT_ALLOWED


def test_a_token_is_that_of_az(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "az").write_text('#!/bin/sh\nprintf "%s " "$@"\n')
    (tmp_path / "az").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    asked = "account get-access-token --scope api://x/.default --query accessToken --output tsv"
    assert profiles.profile(written(tmp_path, TWO), "test").headers() == {
        "Authorization": f"Bearer {asked}"
    }
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(
        ClientError, match="`az`, which the profile's `scope` needs, is not installed"
    ):
        profiles.profile(written(tmp_path, TWO), "test").headers()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no app is named: there is no ROTCTL_URL"),
        ("x", "is not TOML"),
        ("default = 1", "must have `default`, a text"),
        (TWO.replace('"prod"', '"gone"'), "there is no profile 'gone'"),
        (TWO.replace('default = "prod"', ""), "no profile is named"),
        ("[profiles.a]\nkey = 'x'", "has no `url`"),
        (f"[profiles.a]\nurl = '{URL}'\ntoken = 'hunter2'", "has 'token', which is no key"),
        (f"[profiles.a]\nurl = '{URL}'\nkeyCommand = 'az'", "must be a list of texts"),
        (f"[profiles.a]\nurl = '{URL}'\nby = 1", "has a value that is no text"),
    ],
)
def test_a_file_that_is_no_use_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ClientError) as caught:
        profiles.profile(written(tmp_path, text))
    assert said in caught.value.text
    assert caught.value.cure
    assert caught.value.exit_code is Exit.USAGE
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://rotation.example",  # the key in clear text
        "https://rotation.example/api?code=hunter2",
        "https://hunter2@rotation.example",
        "https://rotation.example/else",
        "rotation.example",
        "ftp://rotation.example",
        "https://",
        "https://[rotation",
    ],
)
def test_an_address_that_will_not_do_is_refused_and_quotes_no_key(url: str) -> None:
    with pytest.raises(ClientError) as caught:
        profiles.profile({"HOME": "/", "ROTCTL_URL": url})
    assert caught.value.exit_code is Exit.USAGE
    assert "hunter2" not in str(caught.value)


@given(st.text(min_size=1))
def test_any_address_is_one_of_https_or_of_this_machine_or_refused(url: str) -> None:
    try:
        found = profiles.profile({"HOME": "/", "ROTCTL_URL": url}).url
    except ClientError:
        return
    assert found.startswith(("https://", "http://127.0.0.1", "http://localhost", "http://[::1]"))
