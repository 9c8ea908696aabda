"""A record in words: headline, lines, tree, evidence, tables."""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.console import Console

from rotation.model.catalogue import Outcome, Progress, Stage, StepName
from rotctl import drawing, words
from rotctl.exits import OF_OUTCOME, Exit
from rotctl.narration import Narration
from tests.rotctl.records import (
    APPROVED,
    NIGHTLY,
    OTHERS,
    ROTATION,
    STRANGER,
    SWAPPED,
    at,
    ended,
    evidence,
    record,
    steps,
    used,
    waiting,
)

NOW = datetime.fromisoformat(at(60))
LAST_SEEN = "last seen Tue 23 Feb, 02:10 UTC, in no workload"


def drawn(thing: Any, *, terminal: bool = False, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=terminal, highlight=False).print(thing)
    return out.getvalue()


def tree(found: dict[str, Any], seen: dict[str, Any] | None = None) -> str:
    return drawn(drawing.tree(found, seen, NOW))


@pytest.mark.parametrize("stage", Stage)
def test_each_stage_is_in_the_catalogues_words(stage: Stage) -> None:
    found = words.headline(record(stage))
    assert found.text
    assert "{" not in found.text + found.asks
    assert tree(record(stage, steps=[])).startswith(found.text)


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_has_words_a_tone_and_an_exit_code(outcome: Outcome) -> None:
    found = words.headline(ended(outcome, "because"))
    assert found.asks == "because"
    assert found.tone in drawing.TONES
    assert "{" not in found.text
    assert outcome in OF_OUTCOME
    good = outcome in {Outcome.COMPLETED, Outcome.SKIPPED}
    assert (OF_OUTCOME[outcome] is Exit.DONE) == good


def test_outcomes_end_with_codes_that_can_be_told_apart() -> None:
    bad = [code for code in OF_OUTCOME.values() if code]
    assert len(bad) == len(set(bad)) == 5


def test_every_step_and_progress_has_words() -> None:
    everything = record(steps=steps(*StepName), workloads=dict.fromkeys("ab", Progress.TEST))
    for step in everything["steps"]:
        name, what = words.step_text(everything, step)
        assert name[0].isupper()
        assert what
        assert "{" not in what
    assert {str(progress) for progress in Progress} == set(words.words()["progress"])


def test_a_word_that_a_later_release_has_is_shown_as_it_is() -> None:
    later = record()
    later["stage"], later["steps"][-1]["step"] = "inspect", "inspect"
    later["workloads"]["api"] = "inspecting"
    assert words.headline(later).text == "inspect"
    text = tree(later)
    assert "inspecting" in text


@pytest.mark.parametrize(
    ("found", "slot"),
    [
        (record(), "blue"),
        (record(Stage.SWAP, steps=steps(*SWAPPED[:5], running=StepName.SWAP)), None),
        (waiting(), "green"),
        (record(Stage.SWAP_BACK, steps=steps(*SWAPPED, running=StepName.SWAP_BACK)), None),
        (ended("rolled-back", steps=steps(*SWAPPED, StepName.SWAP_BACK)), "blue"),
        (ended("completed", steps=steps(*SWAPPED, StepName.RETIRE)), "green"),
        (ended("needs-attention", steps=steps(*SWAPPED[:6], failure="it is refused")), None),
    ],
)
def test_who_serves_is_read_from_the_steps(found: dict[str, Any], slot: str | None) -> None:
    assert words.serving(found) == slot


@pytest.mark.parametrize(
    ("stage", "last", "arriving", "leaving"),
    [
        (Stage.SWAP, SWAPPED[:5], "green", "blue"),
        (Stage.SWAP_BACK, (*SWAPPED, StepName.SWAP_BACK), "blue", "green"),
    ],
)
def test_while_traffic_moves_it_is_said_which_way(
    stage: Stage, last: tuple[StepName, ...], arriving: str, leaving: str
) -> None:
    running = StepName.SWAP if stage is Stage.SWAP else StepName.SWAP_BACK
    text = " ".join(tree(record(stage, steps=steps(*last, running=running))).split())
    assert f"{arriving} traffic moves here" in text
    assert f"{leaving} traffic moves away" in text


def test_a_running_rotation_is_one_tree() -> None:
    found = record(waits={"web": "1 of 2 pods ready: web-green-x CrashLoopBackOff, 3 restarts"})
    found["steps"][-1]["waits"] = "the vault did not answer"
    lines = [" ".join(line.split()) for line in tree(found).splitlines()]
    assert lines == [
        f"Preparing green, while blue serves {ROTATION}",
        "├── slots",
        "│ ├── blue serves",
        "│ └── green is being brought up secret version 5d41402a",
        "├── workloads",
        "│ ├── api running tests",
        "│ └── web waiting for its pods",
        "│ └── waits: 1 of 2 pods ready: web-green-x CrashLoopBackOff, 3 restarts",
        "├── steps",
        "│ ├── ✓ Plan look at every workload, role and secret, and decide 2.0 s",
        "│ ├── ✓ Stage write a new password as a version of the green secret 2.0 s",
        "│ └── … Prepare bring the green slot up in each workload, and run its tests 56 s",
        "│ └── waits: the vault did not answer",
        "└── It waits for what is said above; if that does not come, it may be yours to mend.",
    ]


def test_what_is_tried_again_says_how_often_and_when() -> None:
    found = record(waits={"web": "the API server did not answer"})
    found["tried"] = {"web": {"attempt": 3, "nextTry": at(72)}}
    found["steps"][-1] |= {"waits": "no answer", "attempt": 1, "nextTry": at(50)}
    text = tree(found)
    assert "failed 3 times, tries again in 12 s: the API server did not answer" in text
    assert "failed once, tries again now: no answer" in text
    assert "Something did not work, and is tried again by itself" in text
    assert "Nothing is asked of you" not in text


def test_a_workload_that_failed_while_others_go_on() -> None:
    found = record(workloads={"api": "failed", "web": "test"}, waits={"api": "test: HTTP 500"})
    text = tree(found)
    assert "── test: HTTP 500" in text
    assert "Failed: api. Once the others have ended it goes back by itself." in text


def test_a_cancelled_rotation_says_by_whom() -> None:
    cancelled = {"by": "a@b", "channel": "rotctl", "comment": "wrong day"}
    running = record() | {"cancelled": cancelled}
    assert tree(running).startswith("Stopping: blue goes on serving")
    assert "It was cancelled by a@b (rotctl): wrong day" in tree(running)
    over = ended("aborted", "cancelled") | {"cancelled": cancelled}
    assert "cancelled by a@b (rotctl): wrong day" in tree(over)
    assert "cancelled by a@b (rotctl): wrong day" in Narration().new(over)


def test_a_wait_for_a_decision_has_evidence_pods_and_what_is_asked() -> None:
    text = tree(waiting(), evidence())
    assert text.startswith("Waiting for a decision")
    for said in (
        "✓ 2 tests passed through production",
        "✓ served by role orders_green",
        "orders_green: orders-api at 10.0.0.1, 2 sessions of workload api",
        "green api-green-1",
        "Green serves all traffic. Approve takes the blue login away. Reject goes back to blue.",
    ):
        assert said in text


def test_an_ended_rotation_has_its_evidence_and_who_decided() -> None:
    found = ended("completed", "approved by ada", decision=APPROVED, steps=steps(*SWAPPED))
    found["evidence"] = {"decided": evidence()}
    text = tree(found)
    assert text.startswith("Done: green serves, blue is retired")
    assert "2 tests passed" in text
    assert "approved by ada@contoso.example (rotctl): fine" in text
    assert "retired" in text.splitlines()[2]


@pytest.mark.parametrize(
    ("changes", "against"),
    [
        ({}, []),
        ({"tests": {}}, []),
        (
            {"still_in_use": [STRANGER], "passed": False},
            ["the blue login is still in use: etl at 10.9.9.9, 1 session"],
        ),
        ({"complete": False, "problems": ["no sessions"]}, ["no sessions"]),
        ({"complete": False}, ["not everything could be looked at"]),
        ({"passed": False}, ["the app says that it does not pass"]),
        (
            {"templates": {"api": ["spec.containers[api].env"]}},
            ["pod templates of api differ: spec.containers[api].env"],
        ),
        (
            {"usage": used(NIGHTLY, OTHERS, more=2)},
            [
                f"the blue login was used by etl-nightly from 10.1.2.3, {LAST_SEEN}",
                f"the blue login was used by others, {LAST_SEEN}",
                "and 2 more who used it in the last 31 days",
            ],
        ),
        ({"usage": used(replace(NIGHTLY, moved=at(30)), more=1)}, []),
        ({"usage": used()}, []),
        (
            {"usage": used(problem="the account does not answer")},
            ["who used the blue login before is not all known: the account does not answer"],
        ),
        ({"jobs": {"report": ["report-blue-1"]}}, []),
    ],
)
def test_evidence_says_what_speaks_against_an_approval(
    changes: dict[str, Any], against: list[str]
) -> None:
    found = words.points(evidence(**changes), "blue")
    assert [point.text for point in found if not point.good] == against


def test_evidence_says_who_has_moved_and_which_jobs_are_waited_for() -> None:
    usage, jobs = used(replace(NIGHTLY, moved=at(30))), {"report": ["report-blue-1"]}
    found = [point.text for point in words.points(evidence(usage=usage, jobs=jobs), "blue")]
    assert found[-2:] == [
        "all others who used the blue login in the last 31 days were seen on the new one since",
        "Job report-blue-1 of report still runs on blue: it is waited for",
    ]
    found = [point.text for point in words.points(evidence(usage=used()), "blue")]
    assert found[-1] == "nobody else was seen on the blue login in the last 31 days"


def test_lines_say_each_thing_once_and_in_its_order() -> None:
    narration = Narration()
    first = narration.new(record(steps=steps(StepName.PLAN, running=StepName.STAGE)))
    assert first[0] == ("   1 Plan: look at every workload, role and secret, and decide (2.0 s)")
    assert first[1] == "Preparing green, while blue serves"
    assert narration.new(record(steps=steps(StepName.PLAN, running=StepName.STAGE))) == []
    second = narration.new(waiting())
    assert second[0].startswith("   2 Stage: write a new password")
    assert second[-1].startswith("Waiting for a decision. Green serves all traffic.")
    last = narration.new(
        ended("rolled-back", "rejected by ada", decision=None, steps=steps(*SWAPPED))
        | {"reasons": [{"code": "rejected", "text": "x", "remedy": "start again"}]}
    )
    assert last == [
        "Rolled back: blue serves as before",
        "  rejected by ada",
        "  rejected: start again",
    ]


def test_a_failed_step_says_why() -> None:
    found = ended("aborted", steps=steps(StepName.PLAN, StepName.STAGE, failure="it is refused"))
    assert "   2 Stage: failed: it is refused (2.0 s)" in Narration().new(found)
    assert "it is refused" in tree(found)


@given(st.text(), st.text())
def test_no_text_of_the_app_moves_the_cursor_or_is_markup(name: str, waits: str) -> None:
    found = record(workloads={name: "test"}, waits={name: waits})
    found["steps"][-1]["waits"] = f"[bold]{waits}[/nothing]"
    shown = drawn(drawing.tree(found, None, NOW), width=500)
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert "[bold]" in shown
    assert all("\x1b" not in line for line in Narration().new(found))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (12, "12 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (700000, "8 d"),
    ],
)
def test_spans_are_for_people(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


OLD = {
    "credential": "orders-db",
    "active": "blue",
    "rotation": None,
    "slots": {"blue": {"expires": "2027-04-01T12:00:00Z"}},
    "problem": "role orders_blue may not log in; and another",
    "reason": {"code": "role-nologin", "text": "role orders_blue may not log in", "remedy": "x"},
    "doubts": [{"code": "secret-newline", "text": "ends in a newline", "remedy": "y"}],
}
UNKNOWN = {"severity": "tells", "code": "quota-unknown", "text": "the quota cannot be read"}
FINDINGS = [
    {
        "severity": "tells",
        "code": "secret-newline",
        "object": "",
        "text": "t",
        "remedy": "r",
        "command": "",
    },
    {
        "severity": "refuses",
        "code": "role-nologin",
        "object": "role orders_blue",
        "text": "may not log in",
        "remedy": "let it log in",
        "command": "ALTER ROLE orders_blue LOGIN",
    },
]


def test_credentials_are_a_table_with_what_stands_in_the_way() -> None:
    new = {**OLD, "active": None, "slots": {}, "findings": FINDINGS, "rotation": ROTATION}
    new |= {"due": {"at": "2027-03-11T12:00:00.000Z", "text": "in words"}}
    text = drawn(drawing.credentials([OLD, new], NOW), width=200)
    first, second = text.splitlines()[1:]
    assert first.split()[:4] == ["orders-db", "blue", "2027-04-01", "(30"]
    assert first.rstrip().endswith("role orders_blue may not log in; and another")
    assert second.split()[:6] == ["orders-db", "?", "-", "2027-03-11", "(9", "d)"]
    assert second.split()[6] == ROTATION
    assert second.rstrip().endswith("may not log in")


def test_a_credential_says_when_it_was_looked_at_and_that_both_slots_serve() -> None:
    slots = {"blue": {"serves": True}, "green": {"serves": True}}
    at = "2027-03-01T12:00:00Z"
    (_, row) = drawn(
        drawing.credentials(
            [{**OLD, "active": None, "slots": slots, "at": at, "problem": None}],
            datetime.fromisoformat("2027-03-01T12:03:20Z"),
        ),
        width=200,
    ).splitlines()
    assert " ".join(row.split()) == "orders-db blue and green - - - 3 min 20 s ago -"


def test_findings_come_worst_first_with_their_cure() -> None:
    answer = {"credential": "orders-db", "findings": FINDINGS, "unknown": [UNKNOWN]}
    lines = drawn(drawing.dry_run(answer), width=200).splitlines()
    assert lines[0] == "✗ orders-db would not be rotated now"
    assert lines[1].endswith("refuses role-nologin  role orders_blue: may not log in")
    assert lines[2].endswith("let it log in")
    assert lines[3].endswith("ALTER ROLE orders_blue LOGIN")
    assert lines[4].endswith("unknown quota-unknown  the quota cannot be read")
    assert "secret-newline" in lines[5]


def test_a_dry_run_that_would_rotate_says_where_to() -> None:
    slots = {"active": "blue", "standby": "green"}
    answer = {"credential": "orders-db", "ready": True, "findings": FINDINGS[:1], **slots}
    assert drawn(drawing.dry_run(answer)).startswith(
        "✓ orders-db would be rotated now, from blue to green\n"
    )
    assert not drawing.ready(answer | {"ready": False})


def test_rotations_are_a_table() -> None:
    text = drawn(drawing.rotations([waiting(), ended("aborted", "x")], NOW), width=200)
    assert "Waiting for a decision" in text.splitlines()[1]
    assert "Aborted before the swap: blue serves as before" in text.splitlines()[2]
    assert "2027-03-01 12:00Z" in text.splitlines()[1]


def incident(**changes: Any) -> dict[str, Any]:
    """One that is done, and is to be confirmed."""
    client = {"pid": 7, "client": "203.0.113.9", "state": "active", "since": at(3)}
    leak = {"slot": "blue", "role": "orders_blue", "version": "v1", "serves": True, "sessions": 14}
    connected = [{**client, "application": "psql"}, {**client, "application": ""}]
    called = {"by": "ada@contoso.example", "channel": "incident", "decision": "approve"}
    waits = {"event": "confirmation-1", "confirms": True, "ignored": [], "deadline": at(600)}
    known = {"leak": {**leak, "refused": at(3), "ended": at(4), "connected": connected}}
    return record(Stage.CONFIRMATION, **{**known, "approval": waits, "decision": called, **changes})


def test_an_incident_says_what_leaked_and_what_is_asked_once() -> None:
    text = drawn(drawing.tree(incident(), None, NOW), width=400)
    assert text.startswith("Done: a second person must confirm it")
    assert text.count("the password of role orders_blue has leaked") == 1
    assert "14 sessions: psql at 203.0.113.9, unnamed at 203.0.113.9" in text
    assert "nothing is undone" in text
    assert "approved by" not in text  # whoever called it is not who decides


@pytest.mark.parametrize(
    ("decision", "said"), [("approve", "confirmed by"), ("reject", "not confirmed by")]
)
def test_who_confirmed_an_incident_is_said(decision: str, said: str) -> None:
    made = {"by": "grace@contoso.example", "channel": "rotctl", "decision": decision}
    found = incident(confirmation=made, outcome="completed", outcome_reason="x")
    assert words.decision_text(found) == f"{said} grace@contoso.example (rotctl)"
    assert f"{said} grace@contoso.example" in tree(found)
