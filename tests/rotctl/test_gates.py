"""The command line at the gate before the swap, and after it: what it asks, and what it sends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from rotation.model import wire
from rotation.model.catalogue import Stage, StepName
from rotation.model.record import Approval, ConditionSeen
from rotctl.exits import Exit
from tests.rotctl.app import document, problem
from tests.rotctl.records import APPROVED, ROTATION, at, evidence, record, steps, waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rotctl.app import Told

    Typed = Callable[..., str]

PATH = f"/rotations/{ROTATION}"
ASKED = Approval(event="before-1", requested=at(20), deadline=at(3000))
LET = document({"rotation": ROTATION, "decision": wire.value_of(APPROVED)})
ERRORS = ConditionSeen(name="errors", at=at(25), limit="above 10", value=12.5, beyond=True)


def at_the_gate() -> dict[str, Any]:
    """A rotation that waits for somebody to let traffic move."""
    done = steps(StepName.PLAN, StepName.STAGE, StepName.ACTIVATE, StepName.PREPARE)
    return record(Stage.GATE, before=ASKED, steps=done)


def let(**changes: Any) -> dict[str, Any]:
    """The same once traffic has moved."""
    over = Approval(event=None, requested=at(20), deadline=at(3000))
    return waiting(before=over, decided_before=APPROVED, **changes)


def sent(app: Told) -> list[Any]:
    return [body for method, _, body in app.asked if method == "POST"]


@pytest.mark.parametrize(
    ("gate", "decision", "asks"),
    [
        ("before", "approve", "move traffic from blue to green?"),
        ("before", "reject", "reject, and end it, before traffic moves?"),
        ("after", "approve", "take the blue login away?"),
        ("after", "reject", "reject, and go back to blue?"),
    ],
)
def test_it_says_which_decision_is_asked_and_names_it_to_the_app(
    app: Told, typed: Typed, monkeypatch: pytest.MonkeyPatch, *, gate: str, decision: str, asks: str
) -> None:
    app.says("GET", PATH, at_the_gate() if gate == "before" else let())
    app.says("GET", f"{PATH}/evidence", evidence())
    app.says("POST", f"{PATH}/approval", LET)
    asked: list[str] = []
    monkeypatch.setattr("rotctl.acting.ask", lambda text, **_: asked.append(text))
    typed(decision, ROTATION, "--by", "ada@contoso.example")
    (question,) = asked
    assert asks in question
    assert [(body["decision"], body["gate"]) for body in sent(app)] == [(decision, gate)]


def test_one_that_has_gone_on_to_the_next_gate_is_a_problem(app: Told, typed: Typed) -> None:
    text = "it waits for another decision by now: whether the replaced login goes (gate: after)"
    app.says("GET", PATH, at_the_gate())
    app.says("GET", f"{PATH}/evidence", evidence())
    app.says("POST", f"{PATH}/approval", problem(409, "other-gate", text))
    said = typed("approve", ROTATION, "--yes", "--json", "--by", "a@b", exits=Exit.PROBLEM)
    assert json.loads(said)["error"]["code"] == "other-gate"


def test_a_condition_beyond_its_limit_takes_a_second_word(app: Told, typed: Typed) -> None:
    app.says("GET", PATH, let(conditions=[ERRORS]))
    app.says("GET", f"{PATH}/evidence", evidence(conditions=[ERRORS]))
    said = typed("approve", ROTATION, "--yes", "--json", exits=Exit.PROBLEM)
    assert "condition errors" in json.loads(said)["error"]["detail"]
    assert "12.5" in json.loads(said)["error"]["detail"]
    assert sent(app) == []


def test_a_watch_until_a_decision_stops_at_the_gate(app: Told, typed: Typed) -> None:
    app.says("GET", PATH, at_the_gate())
    typed("watch", ROTATION, "--until", "decision", exits=Exit.WAITING)
