"""Errors: their reasons, and how they cross an activity boundary."""

from __future__ import annotations

import json

import pytest

from rotation.model import wire
from rotation.model.errors import (
    ConfigurationError,
    Conflict,
    Denied,
    EdgeError,
    Failure,
    Invalid,
    Missing,
    RotationError,
    StepFailed,
    Unavailable,
)
from rotation.model.reasons import Code, reason

KINDS = (Unavailable, Denied, Missing, Conflict, Invalid)


@pytest.mark.parametrize("error", KINDS)
def test_a_failure_says_code_message_remedy_and_whether_to_retry(error: type[EdgeError]) -> None:
    value = wire.value_of(error(Code.VAULT_MISSING, "the vault did not answer").as_failure())
    assert value == {
        "code": "vault-missing",
        "message": "the vault did not answer",
        "transient": error is Unavailable,
        "remedy": "recover it, start again",
        **({"refused": True} if error is Denied else {}),
    }
    assert json.loads(json.dumps(value)) == value
    assert wire.read(Failure, value).reason == reason(Code.VAULT_MISSING, value["message"])


def test_a_failure_has_the_pause_that_was_asked_for() -> None:
    asked = Unavailable(Code.VAULT_UNAVAILABLE, "x", retry_after=2.5).as_failure()
    assert wire.value_of(asked)["retryAfter"] == 2.5
    none = Unavailable(Code.VAULT_UNAVAILABLE, "x", retry_after=0).as_failure()
    assert wire.value_of(none)["retryAfter"] == 0


def test_a_configuration_error_lists_its_problems() -> None:
    error = ConfigurationError("credentials.yaml", ["a: b", "c: d"])
    assert str(error) == "credentials.yaml has 2 problem(s):\n  a: b\n  c: d"
    assert error.code is Code.CONFIGURATION
    assert error.as_failure().transient is False


def test_a_failed_step_names_itself_and_its_reasons() -> None:
    reasons = [reason(Code.VAULT_DENIED, "the vault refuses"), reason(Code.BUSY, "it is busy")]
    error = StepFailed("stage", reasons)
    assert error.text == "the vault refuses; it is busy"
    assert error.message == str(error) == f"stage: {error.text}"
    assert error.reasons == tuple(reasons)


def test_everything_that_an_activity_raises_on_purpose_has_one_base() -> None:
    for error in (*KINDS, ConfigurationError):
        assert issubclass(error, RotationError)
