"""What a workload's answer to a test must be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotation.decisions.answers import Expectation, fill, judge

PASSING: list[tuple[dict[str, Any], bytes]] = [
    ({}, b"anything at all"),
    ({"role": "orders_green"}, b'{"role": "orders_green", "more": 1}'),
    ({"ok": True}, b'{"ok": true}'),
    ({"n": 1}, b'{"n": 1}'),
    ({"cause": None}, b'{"cause": null}'),
    ({"/cause": None}, b'{"cause": null}'),
    ({"/checks/1/ok": True, "n": 1}, b'{"n": 1, "checks": [0, {"ok": true}]}'),
    ({"/0": "a"}, b'["a"]'),
    ({"/a~1b/c~0d": 1}, b'{"a/b": {"c~d": 1}}'),
    ({"/01": 1}, b'{"01": 1}'),
]


@pytest.mark.parametrize(("fields", "body"), PASSING)
def test_judge(fields: dict[str, Any], body: bytes) -> None:
    assert judge(Expectation(200, fields), 200, body) is None


FAILING: list[tuple[dict[str, Any], int, bytes, str]] = [
    ({}, 500, b"", "answered 500, not 200"),
    ({"a": 1}, 302, b'{"a": 1}', "answered 302, not 200"),
    ({"a": 1}, 200, b"", "did not answer JSON"),
    ({"a": 1}, 200, b"\xff\xfe", "did not answer JSON"),
    ({"a": 1}, 200, b"[" * 60000, "did not answer JSON"),
    ({"a": 1}, 200, b"1" * 60000, "did not answer JSON"),
    ({"a": 1}, 200, b'"a"', "did not answer a JSON object or list"),
    ({"a": 1}, 200, b"[1]", "JSON field 'a' is not 1"),
    ({"/a/b": 1}, 200, b'{"a": 1}', "JSON field '/a/b' is not 1"),
    ({"/1": 1}, 200, b"[1]", "JSON field '/1' is not 1"),
    ({"/01": 1}, 200, b"[0, 1]", "JSON field '/01' is not 1"),
    ({"/-": 1}, 200, b"[1]", "JSON field '/-' is not 1"),
    ({"/a": None}, 200, b"{}", "JSON field '/a' is not None"),
    ({"a": 1}, 200, b'{"a": "1"}', "JSON field 'a' is not 1"),
    ({"a": 1}, 200, b'{"a": true}', "JSON field 'a' is not 1"),
    ({"a": True}, 200, b'{"a": 1}', "JSON field 'a' is not True"),
    ({"a": None}, 200, b"{}", "JSON field 'a' is not None"),
    ({"role": "orders_green"}, 200, b'{"role": "orders_blue"}', "'role' is not 'orders_green'"),
]


@pytest.mark.parametrize(("fields", "status", "body", "problem"), FAILING)
def test_judge_bad(fields: dict[str, Any], status: int, body: bytes, problem: str) -> None:
    found = judge(Expectation(200, fields), status, body)
    assert found is not None
    assert problem in found.text


@given(st.binary())
def test_judge_never_repeats_the_body(body: bytes) -> None:
    found = judge(Expectation(200, {"role": "x"}), 200, b"\x00hunter2" + body)
    assert found is not None
    assert "hunter2" not in found.text


def test_fill_knows_two_words() -> None:
    assert fill("{role}-{slot}-{role.__class__}-{}-{0}", "r{slot}", "blue") == (
        "rblue-blue-{role.__class__}-{}-{0}"
    )
