"""Passwords: how they are made, that they do not print, and the shapes they come in."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotation import log
from rotation.model.errors import Invalid
from rotation.model.targets import ServerTarget
from rotation.secrecy import (
    ALPHABET,
    CONTENT_TYPES,
    LENGTH,
    Format,
    Secret,
    extract,
    new_password,
    read,
    render,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER = ServerTarget("pg.example", 5432, "orders", "verify-full")
SHAPES: tuple[Format, ...] = ("password", "url", "json")
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


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


# A line break at the end of a value is no part of it, and our passwords have none.
@given(st.sampled_from(SHAPES), TEXT, TEXT.filter(lambda text: not text.endswith("\n")))
def test_what_is_rendered_can_be_extracted(shape: Format, role: str, password: str) -> None:
    value = render(shape, role, Secret(password), SERVER)
    assert extract(shape, value, "orders-blue/1").reveal() == password


@pytest.mark.parametrize(
    ("role", "password"), [("orders_blue", "abc"), ("o@b:/?#[x]%", "p@:/?#[]%&=+ ü")]
)
def test_a_url_is_one_that_others_can_read(role: str, password: str) -> None:
    parts = urlsplit(render("url", role, Secret(password), SERVER).reveal())
    assert (parts.scheme, parts.hostname, parts.port) == ("postgresql", "pg.example", 5432)
    assert (parts.path, parts.query) == ("/orders", "sslmode=verify-full")


def test_json_has_what_a_driver_needs() -> None:
    assert json.loads(render("json", "orders_blue", Secret("abc"), SERVER).reveal()) == {
        "username": "orders_blue",
        "password": "abc",
        "host": "pg.example",
        "port": 5432,
        "dbname": "orders",
        "sslmode": "verify-full",
    }


def test_what_a_value_names_can_be_read() -> None:
    for shape, role in (("password", None), ("url", "orders_blue"), ("json", "orders_blue")):
        value = render(shape, "orders_blue", Secret(CLEAR), SERVER)  # type: ignore[arg-type]  # a Format
        held = read(shape, value, "x/1")  # type: ignore[arg-type]  # a Format
        assert (held.role, held.newline, held.password.reveal()) == (role, False, CLEAR)
        named = (held.host, held.port, held.database)
        assert named == ((None,) * 3 if role is None else ("pg.example", 5432, "orders"))


def test_nothing_of_what_a_value_names_is_printed() -> None:
    """Where it is written wrongly, part of the password may stand for the host."""
    held = read("url", Secret(f"postgresql://{CLEAR}:x@{CLEAR}/{CLEAR}"), "x/1")
    assert held.role == CLEAR
    assert CLEAR.lower() not in repr(held).lower()


def test_every_format_has_a_content_type() -> None:
    assert set(CONTENT_TYPES) == set(SHAPES)


EXTRACT_BAD: list[tuple[Format, str]] = [
    ("password", ""),
    ("url", ""),
    ("url", CLEAR),
    ("url", "postgresql://orders@pg/orders"),
    ("url", "postgresql://orders:@pg/orders"),
    ("url", f"postgresql://u:[{CLEAR}@pg"),
    ("json", ""),
    ("json", CLEAR),
    ("json", f'"{CLEAR}"'),
    ("json", "{}"),
    ("json", '{"password": ""}'),
    ("json", '{"password": 7}'),
    ("json", '{"password": null}'),
    ("json", "[" * 20000),
]


@pytest.mark.parametrize(("shape", "value"), EXTRACT_BAD)
def test_extract_bad(shape: Format, value: str) -> None:
    with pytest.raises(
        Invalid, match=f"orders-blue/1 holds no password in the format '{shape}'"
    ) as caught:
        extract(shape, Secret(value), "orders-blue/1")
    assert CLEAR not in str(caught.value)


@given(st.sampled_from(SHAPES), st.text())
def test_extract_raises_nothing_else(shape: Format, value: str) -> None:
    found: object = None
    try:
        found = extract(shape, Secret(value), "orders-blue/1")
    except Invalid as error:
        found = error
    assert isinstance(found, Secret | Invalid)
