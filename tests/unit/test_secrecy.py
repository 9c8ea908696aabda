"""Passwords: how they are made, that they do not print, and the shapes they come in."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pytest

from rotation import log
from rotation.secrecy import ALPHABET, LENGTH, Secret, new_password

if TYPE_CHECKING:
    from collections.abc import Callable

CLEAR = "hunter2-hunter2"


def test_passwords_are_long_random_and_harmless() -> None:
    made = {new_password().reveal() for _ in range(200)}
    assert len(made) == 200
    assert {len(password) for password in made} == {LENGTH}
    assert set("".join(made)) == set(ALPHABET)
    assert ALPHABET.isalnum()
    assert ALPHABET.isascii()


SHOWN: list[Callable[[Secret], str]] = [
    repr,
    str,
    lambda secret: f"{secret}",
    lambda secret: f"{secret!r:>20}",
    lambda secret: f"{secret:>20}",
    "{}".format,
    lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - another way in
    lambda secret: str([secret]),
    lambda secret: str({"password": secret}),
    lambda secret: json.dumps({"password": secret}, default=str),
    lambda secret: str(ValueError(secret)),
]


@pytest.mark.parametrize("show", SHOWN)
def test_a_secret_prints_masked(show: Callable[[Secret], str]) -> None:
    shown = show(Secret(CLEAR))
    assert CLEAR not in shown
    assert "***" in shown


LEAKING: list[Callable[[Secret], object]] = [
    pickle.dumps,
    json.dumps,
    copy.copy,
    copy.deepcopy,
    lambda secret: secret.__dict__,
    vars,
    lambda secret: secret + "",  # type: ignore[operator]  # that is the point
]


@pytest.mark.guarantee(3)
@pytest.mark.parametrize("leak", LEAKING)
def test_a_secret_is_not_serialised(leak: Callable[[Secret], object]) -> None:
    with pytest.raises((TypeError, AttributeError)) as caught:
        leak(Secret(CLEAR))
    assert CLEAR not in str(caught.value)


def test_a_secret_in_a_dataclass_does_not_leave_it() -> None:
    @dataclass
    class Login:
        password: Secret

    assert CLEAR not in repr(Login(Secret(CLEAR)))
    with pytest.raises(TypeError, match="not serialised"):
        asdict(Login(Secret(CLEAR)))


def test_a_secret_is_logged_masked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "rotation"):
        log.event("made", password=Secret(CLEAR), nested=[{"more": Secret(CLEAR)}])
    assert CLEAR not in caplog.text
    assert caplog.text.count("***") == 2


def test_secrets_do_not_compare() -> None:
    assert Secret(CLEAR) != Secret(CLEAR)
