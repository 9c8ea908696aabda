"""Whether a decision counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotation.decisions.verdict import identity_of, verdict
from rotation.model.record import Decision

ADA = identity_of(["ada@contoso.example"])
GIVEN = {"decision": "approve", "by": "grace@contoso.example", "channel": "page", "comment": "ok"}


def test_verdict() -> None:
    assert verdict(GIVEN, ADA) == Decision(
        decision="approve",
        by="grace@contoso.example",
        channel="page",
        comment="ok",
        id=None,
    )


@pytest.mark.parametrize(
    ("event", "requester"),
    [
        ({"decision": "reject", "by": "ada@x"}, "ada@x"),  # who asked for it may always stop it
        ({"decision": "approve", "by": "ada@x"}, None),
        ({"decision": "approve", "by": "ada@x"}, "adam@x"),
    ],
)
def test_verdict_of_the_requester(event: dict[str, str], requester: str | None) -> None:
    counted = verdict(event, identity_of([requester]) if requester else None)
    assert isinstance(counted, Decision)
    assert (counted.decision, counted.by) == (event["decision"], "ada@x")
    assert (counted.channel, counted.comment) == ("unknown", "")


VERDICTS_BAD: list[tuple[Any, str]] = [
    (None, "it is not a JSON object"),
    ("approve", "it is not a JSON object"),
    ([GIVEN], "it is not a JSON object"),
    ({}, "its decision is neither approve nor reject"),
    ({**GIVEN, "decision": "Approve"}, "its decision is neither"),
    ({**GIVEN, "decision": ["approve"]}, "its decision is neither"),
    ({**GIVEN, "decision": {"approve": 1}}, "its decision is neither"),
    ({**GIVEN, "by": None}, "it does not say who decided"),
    ({**GIVEN, "by": "  "}, "it does not say who decided"),
    ({**GIVEN, "by": 7}, "it does not say who decided"),
    ({**GIVEN, "by": "x" * 501}, "it does not say who decided"),
    ({**GIVEN, "by": " ADA@contoso.example "}, "asked for this rotation and may not approve it"),
    ({**GIVEN, "knownAs": ["x", "Ada@Contoso.example"]}, "may not approve it"),
    ({**GIVEN, "knownAs": [*"abcdefghijklmnopqrstuvwxyz", "ada@contoso.example"]}, "may not"),
]


@pytest.mark.parametrize(("event", "reason"), VERDICTS_BAD)
def test_verdict_bad(event: Any, reason: str) -> None:
    found = verdict(event, ADA)
    assert isinstance(found, str)
    assert reason in found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(JSON | st.fixed_dictionaries({"decision": JSON, "by": JSON, "knownAs": JSON}))
def test_verdict_takes_any_event(event: Any) -> None:
    assert isinstance(verdict(event, ADA), Decision | str)
