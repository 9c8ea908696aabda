"""A secret that was put where another setting belongs is shown to nobody."""

from __future__ import annotations

import inspect
import logging
import re
from typing import Any

import pytest

import rotation.settings
from rotation.config import load
from rotation.model.errors import ConfigurationError
from rotation.settings import Settings, parse
from tests.security.attacked import App

# The kinds of things that are kept next to an address: keys, URLs with credentials, tokens.
ADDRESS = "https://kv.vault.azure.net/some/path"
SECRETS = (
    "q7Zr2LwPx9TfKj4VbN8mHc5sDy3GtRe6UaQo1WiE",
    "hunter2hunter2",
    "https://somebody:hunter2@rotation.example",
    "https://rotation.example/?code=hunter2",
    "https://rotation.example/#hunter2",
    ADDRESS,
    "https://hunter2[",
    "postgresql://rotator:hunter2@pg/orders",
    "0002718281828459",
)
# Each setting of the app, by the place that reads all of them.
NAMES = sorted(set(re.findall(r"ROTATION_[A-Z_]+", inspect.getsource(rotation.settings))))
# Of these anything is taken as it is: a path and host names are wrong only where they lead.
# Nor is a schedule refused that is none: the host complains of it, and the app shows it nowhere.
UNCHECKED = {
    "ROTATION_CONFIG",
    "ROTATION_CA_BUNDLE",
    "ROTATION_DATABASE_HOSTS",
    "ROTATION_SWEEP_SCHEDULE",
    "ROTATION_TOKENS",
}
# What is right in its place may be shown there, since it is no secret; the rest is refused.
ADDRESSES = ("ROTATION_PUBLIC_URL", "ROTATION_STORAGE", "ROTATION_TOPIC_ENDPOINT")
RIGHT = {(name, ADDRESS) for name in ADDRESSES}


class Misconfigured(App):
    """An app with a setting of which it finds at the first request that it is wrong."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__([], {})
        wrong: Any = type(self.edges)

        class Late(wrong):  # type: ignore[misc] # a class that is found at run time
            settings = property(lambda _: parse(environment))

        self.edges.__class__ = Late


def refused(environment: dict[str, str]) -> ConfigurationError | None:
    try:
        parse(environment)
    except ConfigurationError as error:
        return error
    return None


def unquoted(app: App, secret: str) -> None:
    """Asks for everything that needs no rotation: no answer has the secret."""
    for function in ("decision_page", "overview_page", "health", "list_credentials", "decide"):
        found = app.ask(function, "GET" if function != "decide" else "POST", b"{}", id="r")
        assert "hunter2" not in found.text
        assert secret not in found.text


def test_all_settings_are_tried() -> None:
    assert {"ROTATION_PAUSED", "ROTATION_DATABASE_HOSTS", "ROTATION_LINK_KEY"} < set(NAMES)
    assert set(NAMES) > UNCHECKED


@pytest.mark.guarantee(8)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("secret", SECRETS)
def test_no_page_and_no_answer_shows_it(name: str, secret: str) -> None:
    environment = {name: secret}
    error = refused(environment)
    if error is None:
        assert name in UNCHECKED or (name, secret) in RIGHT
        unquoted(App([], environment), secret)
        return
    assert name in error.message  # whoever mends it is told where
    for said in (error.message, repr(error), *error.problems):
        assert "hunter2" not in said
        assert secret not in said
    app = Misconfigured(environment)
    for function in ("decision_page", "overview_page", "health", "list_credentials", "decide"):
        found = app.ask(function, "GET" if function != "decide" else "POST", b"{}", id="r")
        assert found.status == 503
        assert "hunter2" not in found.text
        assert secret not in found.text
        assert name in found.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROTATION_PUBLIC_URL", "https://somebody:hunter2@rotation.example"),
        ("ROTATION_PUBLIC_URL", "https://rotation.example/?code=hunter2"),
        ("ROTATION_PUBLIC_URL", "https://rotation.example/#hunter2"),
        ("ROTATION_TOPIC_ENDPOINT", "https://topic.example/api/events?sig=hunter2"),
        ("ROTATION_TOPIC_ENDPOINT", "https://a:hunter2@topic.example/api/events"),
        ("ROTATION_LINK_KEY", "https://a:hunter2@kv.vault.azure.net/secrets/link-key"),
        ("ROTATION_LINK_KEY", "https://kv.vault.azure.net/secrets/link-key?x=hunter2"),
    ],
)
def test_an_address_with_a_secret_in_it_is_refused(name: str, value: str) -> None:
    """It would go into links, events and errors as a whole."""
    with pytest.raises(ConfigurationError) as caught:
        parse({name: value})
    assert "hunter2" not in caught.value.message


def test_a_path_of_the_configuration_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load("hunter2hunter2")
    assert "hunter2" not in caught.value.message
    assert "ROTATION_CONFIG" in caught.value.message


def test_the_log_has_none_of_them_either(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        app = Misconfigured({"ROTATION_LINK_KEY": "hunter2" * 6, "ROTATION_SIGN_IN": "hunter2"})
        app.ask("decision_page", "GET", b"")
    assert "hunter2" not in caplog.text


def test_settings_print_as_what_they_are() -> None:
    """Nothing in them is a secret: where the key is, not the key."""
    found = parse({"ROTATION_LINK_KEY": "https://kv.vault.azure.net/secrets/link-key"})
    assert found == Settings(link_key="https://kv.vault.azure.net/secrets/link-key")
