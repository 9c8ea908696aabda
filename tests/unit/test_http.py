"""Answers and problems, and what a body may hold."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import azure.functions as func
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotation.front.problems import (
    LONGEST_BODY,
    Problem,
    answer,
    answering,
    json_object,
    only,
    problem,
    text,
)
from rotation.model.errors import ConfigurationError, Denied, Unavailable
from rotation.model.reasons import Code


def request(body: bytes) -> func.HttpRequest:
    kind = {"Content-Type": "application/json"}
    return func.HttpRequest("POST", "/api/rotations", headers=kind, body=body)


def raised(call: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        call()
    return caught.value


def test_an_answer_is_json_that_nobody_keeps() -> None:
    found = answer({"a": "ü"}, 202, Location="/there")
    assert json.loads(found.get_body()) == {"a": "ü"}
    assert (found.status_code, found.mimetype) == (202, "application/json")
    assert found.headers["Location"] == "/there"
    assert found.headers["Cache-Control"] == "no-store"
    assert found.headers["X-Content-Type-Options"] == "nosniff"


def test_a_problem_has_the_members_of_rfc_9457() -> None:
    found = problem(Problem(409, Code.BUSY, "it runs", rotation="r-1"))
    assert found.mimetype == "application/problem+json"
    assert json.loads(found.get_body()) == {
        "type": "about:blank",
        "title": "It is not in a state for this",
        "status": 409,
        "detail": "it runs",
        "code": "busy",
        "remedy": "wait for it; `rotation` names it",
        "rotation": "r-1",
    }


def test_a_body_is_an_object() -> None:
    assert json_object(request(b'{"a": 1}')) == {"a": 1}
    longest = b'{"a": "%s"}' % (b"x" * (LONGEST_BODY - 9))
    assert len(longest) == LONGEST_BODY
    assert json_object(request(longest))


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"", 400, "the body is not JSON"),
        (b"{", 400, "the body is not JSON"),
        (b"\xff", 400, "the body is not JSON"),
        (b"[" * 60000, 400, "the body is not JSON"),
        (b"1" * 6000, 400, "the body is not JSON"),
        (b"[]", 400, "the body is not a JSON object"),
        (b"null", 400, "the body is not a JSON object"),
        (b" " * (LONGEST_BODY + 1), 413, "the body has 65537 bytes; at most 65536 are read"),
    ],
    ids=range(8),
)
def test_a_body_is_an_object_bad(body: bytes, status: int, detail: str) -> None:
    found = raised(lambda: json_object(request(body)))
    assert (found.status, found.reason.text) == (status, detail)


@pytest.mark.parametrize(
    ("sent", "said"), [({}, "nothing"), ({"Content-Type": "text/Plain; charset=x"}, "text/plain")]
)
def test_a_body_of_another_kind(sent: dict[str, str], said: str) -> None:
    asked = func.HttpRequest("POST", "/api/rotations", headers=sent, body=b"{}")
    found = raised(lambda: json_object(asked))
    detail = f"the body must be sent as application/json, not as {said}"
    assert (found.status, found.reason.text, str(found)) == (415, detail, detail)


@given(st.binary())
def test_any_body_is_an_object_or_a_problem(body: bytes) -> None:
    found: object = None
    try:
        found = json_object(request(body))
    except Problem as error:
        found = error
    assert isinstance(found, dict | Problem)


def test_text() -> None:
    document = {"by": " Ada ", "none": None, "long": "x" * 500}
    assert text(document, "by", required=True) == "Ada"
    assert text(document, "none") == ""
    assert text(document, "absent") == ""
    assert text(document, "long") == "x" * 500


@pytest.mark.parametrize(
    "value", [None, "", "  ", 7, True, [], {}, "x" * 501, "a\nb", "a\x00", "\ud800"]
)
def test_text_bad(value: Any) -> None:
    found = raised(lambda: text({"by": value}, "by", required=True))
    assert (found.status, found.more) == (400, {"field": "by"})
    assert "'by'" in found.reason.text


def test_only() -> None:
    only({"a": 1}, "a", "b")
    only({}, "a")


def test_only_bad() -> None:
    found = raised(lambda: only({"a": 1, "c": 2}, "a", "b"))
    assert (found.status, found.more) == (400, {"field": "c"})
    assert found.reason.text == "'c' is not a field; there are: a, b"


def response(error: Exception | None) -> func.HttpResponse:
    @answering
    async def handler() -> func.HttpResponse:
        if error is not None:
            raise error
        return answer({"fine": True})

    found: func.HttpResponse = asyncio.run(handler())  # type: ignore[arg-type]  # a coroutine
    return found


def served(error: Exception | None) -> tuple[int, dict[str, Any]]:
    found = response(error)
    return found.status_code, json.loads(found.get_body())


def test_answering() -> None:
    assert served(None) == (200, {"fine": True})


@pytest.mark.parametrize(
    ("error", "status", "members"),
    [
        (
            Problem(404, Code.UNKNOWN_ROTATION, "no such rotation", rotation="r"),
            404,
            {"rotation": "r", "code": "unknown-rotation"},
        ),
        (
            Unavailable(Code.VAULT_UNAVAILABLE, "the vault is away"),
            503,
            {"detail": "the vault is away", "code": "vault-unavailable"},
        ),
        (
            ConfigurationError("file", ["a: b"]),
            503,
            {"problems": ["a: b"], "code": "configuration-invalid"},
        ),
        (
            ZeroDivisionError("hunter2"),
            500,
            {"detail": "unexpected ZeroDivisionError; the log says where", "code": "unexpected"},
        ),
    ],
)
def test_answering_bad(
    error: Exception, status: int, members: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "rotation"):
        found = served(error)
    assert found[0] == status
    assert found[1].items() >= {"status": status, **members}.items()
    assert "hunter2" not in str(found[1]) + caplog.text
    assert ("http.unexpected" in caplog.text) is (status == 500)


@pytest.mark.parametrize(("asked_for", "header"), [(None, "30"), (7.0, "7")])
def test_trouble_that_passes_says_when_to_come_again_and_the_log_what_it_was(
    asked_for: float | None, header: str, caplog: pytest.LogCaptureFixture
) -> None:
    away = Unavailable(Code.VAULT_UNAVAILABLE, "the vault is away", retry_after=asked_for)
    away.__cause__ = TimeoutError("hunter2")
    with caplog.at_level(logging.WARNING, "rotation"):
        found = response(away)
    assert (found.status_code, found.headers["Retry-After"]) == (503, header)
    assert "http.unavailable" in caplog.text
    assert "TimeoutError" in caplog.text
    assert "hunter2" not in caplog.text


def test_trouble_that_does_not_pass_names_no_time() -> None:
    found = response(Denied(Code.VAULT_DENIED, "it is refused"))
    assert found.status_code == 503
    assert "Retry-After" not in found.headers
