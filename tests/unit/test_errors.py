"""Errors: their kinds, and how they cross an activity boundary."""

from __future__ import annotations

import json

import pytest

from rotation.model.errors import (
    ConfigurationError,
    Conflict,
    Denied,
    EdgeError,
    Invalid,
    Missing,
    RotationError,
    StepFailed,
    Unavailable,
)

KINDS = {
    Unavailable: "unavailable",
    Denied: "denied",
    Missing: "missing",
    Conflict: "conflict",
    Invalid: "invalid",
}


@pytest.mark.parametrize(("error", "kind"), KINDS.items())
def test_a_value_says_kind_message_and_whether_to_retry(error: type[EdgeError], kind: str) -> None:
    value = error("the vault did not answer").as_value()
    assert value == {
        "kind": kind,
        "message": "the vault did not answer",
        "transient": error is Unavailable,
    }
    assert json.loads(json.dumps(value)) == value


def test_a_value_has_the_pause_that_was_asked_for() -> None:
    assert Unavailable("x", retry_after=2.5).as_value()["retryAfter"] == 2.5
    assert Unavailable("x", retry_after=0).as_value()["retryAfter"] == 0


def test_a_configuration_error_lists_its_problems() -> None:
    error = ConfigurationError("credentials.yaml", ["a: b", "c: d"])
    assert str(error) == "credentials.yaml has 2 problem(s):\n  a: b\n  c: d"
    assert error.as_value()["transient"] is False


def test_a_failed_step_names_itself_and_its_reason() -> None:
    failure = Denied("the vault refuses").as_value()
    error = StepFailed("stage", failure)
    assert error.message == str(error) == "stage: the vault refuses"
    assert error.failure is failure


def test_everything_has_one_base() -> None:
    for error in (*KINDS, StepFailed, ConfigurationError):
        assert issubclass(error, RotationError)
