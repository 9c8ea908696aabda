"""Nothing that comes from outside ends in an exception that nobody expects."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes.client.exceptions import ApiException

from rotation.decisions.answers import Expectation, judge
from rotation.decisions.sessions import printable
from rotation.decisions.verdict import cancel, identity_of, verdict
from rotation.edges.cluster.client import refusal_in, words
from rotation.edges.cluster.services import _raise_own_status
from rotation.edges.database import login, scram
from rotation.formats import Format, Shape, changed, read
from rotation.front import triggers
from rotation.front.principals import Principal, principal
from rotation.front.problems import Problem
from rotation.front.rotations import ID
from rotation.model.errors import ConfigurationError, EdgeError, RotationError
from rotation.model.record import Cancel, Decision
from rotation.pages import forms
from rotation.pages.routes import _page_number
from rotation.secrecy import Secret
from rotation.settings import parse
from rotation.story.progress import document

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=12), children, max_size=4)
    ),
    max_leaves=20,
)
ASKED = identity_of(["ada@contoso.example"])
DEEP = [b"[" * 60_000, b'{"a":' * 60_000, b"\xff\xfe", b"", b"null", b"1" * 6000]
ENCODED = JSON.map(lambda value: json.dumps(value).encode())
BODIES = st.binary(max_size=200) | st.sampled_from(DEEP) | ENCODED
STATUS = st.fixed_dictionaries(
    {"kind": st.just("Status"), "apiVersion": st.just("v1")},
    optional={"reason": JSON, "details": JSON | st.fixed_dictionaries({"causes": JSON})},
)
fuzzed = settings(max_examples=60, deadline=None)


@fuzzed
@given(BODIES | STATUS.map(lambda v: json.dumps(v).encode()), st.integers(400, 599))
def test_what_answers_in_the_api_servers_name(body: bytes, status: int) -> None:
    error = ApiException(status=status)
    error.body = body  # type: ignore[assignment]  # the SDK hands over either
    assert isinstance(refusal_in("it", error), EdgeError)
    with suppress(EdgeError):
        _raise_own_status("it", status, body)


@fuzzed
@given(JSON | STATUS)
def test_words_of_a_status(document: object) -> None:
    assert len(words(document)) < 2000


@fuzzed
@given(BODIES)
def test_what_a_workload_answers_to_a_test(body: bytes) -> None:
    judge(Expectation(200, {"role": "x"}), 200, body)


@fuzzed
@given(st.text(max_size=200) | st.sampled_from([d.decode("latin1") for d in DEEP]))
@pytest.mark.parametrize("shape", get_args(Format))
def test_what_a_secret_holds(shape: Format, value: str) -> None:
    with suppress(EdgeError):
        read(Shape(shape), Secret(value), "s/v")
        changed(Shape(shape), Secret(value), ("role", Secret("new")), "s/v")


@fuzzed
@given(st.text(max_size=40), JSON)
def test_what_an_event_says(kind: str, data: object) -> None:
    for name in (kind, *triggers.ORIGINS):
        assert triggers.read(name, data)


@fuzzed
@given(st.text(max_size=200) | ENCODED.map(lambda value: base64.b64encode(value).decode()))
def test_what_the_platform_says_of_a_visitor(header: str) -> None:
    assert isinstance(principal(header), Principal | str)
    deep = base64.b64encode(b"[" * 40_000).decode()
    assert isinstance(principal(deep), str)


@fuzzed
@given(JSON | st.sampled_from([d.decode("latin1") for d in DEEP]))
def test_what_is_raised_as_a_decision_or_a_cancel(event: object) -> None:
    assert isinstance(verdict(document(event), ASKED), Decision | str)
    assert isinstance(cancel(document(event)), Cancel | str)


@fuzzed
@given(BODIES)
def test_what_the_process_of_a_login_answers(answer: bytes) -> None:
    assert isinstance(login._error("it", answer), EdgeError)  # noqa: SLF001 - the parser itself


@fuzzed
@given(st.none() | st.text(max_size=6000))
def test_how_many_rounds_a_server_asks_for(asked: str | None) -> None:
    assert scram.FEWEST <= scram.rounds(asked) <= scram.MOST


@fuzzed
@given(st.dictionaries(st.sampled_from(["ROTATION_PUBLIC_URL", "ROTATION_LINK_KEY",
    "ROTATION_TOPIC_ENDPOINT", "ROTATION_SIGN_IN", "ROTATION_WATCH_SECONDS",
    "ROTATION_DATABASE_HOSTS"]), st.text(max_size=60)))  # fmt: skip
def test_app_settings(environment: dict[str, str]) -> None:
    with suppress(ConfigurationError):
        parse(environment)


class Posted:
    """As much of a request as the parsers look at."""

    def __init__(self, body: bytes = b"", page: str = "1") -> None:
        self.headers = {"Content-Type": forms.MEDIA_TYPE}
        self.params = {"page": page}
        self._body = body

    def get_body(self) -> bytes:
        return self._body


@fuzzed
@given(BODIES)
def test_a_posted_form(body: bytes) -> None:
    with suppress(Problem):
        forms.read(Posted(body))  # type: ignore[arg-type]


@pytest.mark.parametrize("page", ["9" * 5000, "", "-1", "0", "1.5", "\u0661", " 1", "1" * 7])
def test_the_number_of_a_page(page: str) -> None:
    with pytest.raises(Problem, match="whole number"):
        _page_number(Posted(page=page))  # type: ignore[arg-type]


@pytest.mark.parametrize("rotation", ["-", "-x-y-z", "--", "", "a/b", "a" * 101, "ä"])
def test_ids_that_lead_nowhere(rotation: str) -> None:
    assert ID.fullmatch(rotation) is None


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("orders-api/blue", "orders-api/blue"),
        ("psql", "psql"),
        ("https://evil.example/login", "a name that is not shown"),
        ("<b>x</b>", "a name that is not shown"),
        ("a\nb", "a name that is not shown"),
    ],
)
def test_how_a_session_names_itself(told: str, shown: str) -> None:
    assert printable(told) == shown


SECRETS = "hunter2-Pa55word https://evil.example/?p=hunter2-Pa55word"


def test_no_word_of_a_foreign_status_is_taken_over() -> None:
    """A workload answers in the API server's name, with a password where its reason belongs."""
    document = {
        "kind": "Status",
        "apiVersion": "v1",
        "reason": SECRETS,
        "message": SECRETS,
        "details": {"causes": [{"field": SECRETS}, {"field": "spec.replicas"}]},
    }
    with pytest.raises(RotationError) as caught:
        _raise_own_status("it", 500, json.dumps(document).encode())
    assert str(caught.value) == "it: HTTP 500 spec.replicas"
    assert "Forbidden" in words({"reason": "Forbidden"})
