"""What the pages say: headlines, steps, evidence and times, for every state of a rotation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest

from rotation.decisions.due import Due
from rotation.front.credentials import SeenCredential, SeenSlot
from rotation.front.rotations import unreadable
from rotation.model import wire
from rotation.model.findings import Severity, found
from rotation.model.reasons import Code, reason
from rotation.model.record import Evidence
from rotation.model.world import SLOTS, Slot
from rotation.pages import timeline, views, wording
from tests.unit.people import NOW, record, shown
from tests.unit.virtual import PAST_USER, USAGE

if TYPE_CHECKING:
    from rotation.model.record import ShownRecord


NOW_TEXT = wire.moment(NOW)


def step(name: str, minute: int, **more: Any) -> dict[str, Any]:
    at = (NOW - timedelta(minutes=30 - minute)).isoformat().replace("+00:00", "Z")
    return {"step": name, "since": at, "until": at, **more}


def decided(decision: str) -> dict[str, Any]:
    at = (NOW - timedelta(minutes=10)).isoformat().replace("+00:00", "Z")
    return {
        "decision": decision,
        "by": "anna",
        "channel": "page",
        "comment": "",
        "id": "1",
        "at": at,
    }


@pytest.mark.parametrize(
    ("changes", "tone", "title"),
    [
        ({"stage": "queued", "active": None, "standby": None}, "busy", "Looking at what is there"),
        ({"stage": "prepare"}, "busy", "Preparing green, while blue serves"),
        ({"stage": "observe"}, "busy", "Moving from blue to green"),
        ({"stage": "swap-back"}, "busy", "Going back to blue"),
        ({"stage": "approval"}, "busy", "Collecting evidence for the decision"),
        ({"stage": "retire", "decision": decided("approve")}, "busy", "Taking the blue login away"),
        ({"stage": "retire", "decision": decided("reject")}, "busy", "Taking the green login away"),
        ({"stage": "retire"}, "busy", "Taking the green login away"),
        ({"outcome": "completed"}, "good", "Done: green serves, blue is retired"),
        ({"outcome": "rolled-back"}, "good", "Rolled back: blue serves as before"),
        ({"outcome": "aborted"}, "bad", "Aborted before the swap: blue serves as before"),
        ({"outcome": "skipped"}, "calm", "Skipped: there was nothing to do"),
        ({"outcome": "refused"}, "bad", "Refused: nothing was changed"),
        ({"outcome": "needs-attention"}, "bad", "Needs attention"),
    ],
)
def test_headline(changes: dict[str, Any], tone: str, title: str) -> None:
    found = views.headline(shown(**{"approval": None, **changes}))
    assert (found.tone, found.title) == (tone, title)


def test_the_headline_of_a_decision_says_whose_it_is_and_when_it_is_overdue() -> None:
    asked = shown()
    assert asked.approval is not None
    assert views.headline(asked, yours=True).title == "Waiting for your decision"
    assert views.headline(asked).title == "Waiting for a decision"
    asked.approval.overdue = True
    assert views.headline(asked, yours=True).title == "Your decision is overdue"


UP = [step(name, n) for n, name in enumerate(["plan", "stage", "activate", "verify", "prepare"])]
SWAPPED = [*UP, step("verify", 6), step("swap", 7), step("observe", 8), step("evidence", 9)]


def lines(**changes: Any) -> list[tuple[str, str, str]]:
    found = timeline.timeline(shown(**changes), NOW)
    return [(line.name, line.state, line.what) for line in found]


def ahead(**changes: Any) -> list[str]:
    return [f"{name}: {what}" for name, state, what in lines(**changes) if state == "ahead"]


def test_what_is_ahead_of_a_new_rotation() -> None:
    found = ahead(steps=UP, stage="prepare", approval=None)
    assert [line.partition(":")[0] for line in found] == ["Swap", "Observe", "Approval", "Retire"]
    assert found[-1] == "Retire: let what runs on blue end"


def test_what_is_ahead_of_a_rejected_one_is_the_way_back() -> None:
    found = ahead(steps=SWAPPED, stage="approval", decision=decided("reject"))
    assert found == [
        "Swap back: move every workload back to blue",
        "Retire: let what runs on green end",
    ]


def test_what_is_ahead_of_one_that_is_aborted() -> None:
    failed = [*UP[:-1], {**UP[-1], "failure": "its pods do not start"}]
    found = ahead(steps=[*failed, step("confirm", 6)], stage="retire", approval=None)
    assert found == ["Retire: let what runs on green end"]


def test_the_wait_for_a_person_stands_where_it_was() -> None:
    asked = step("evidence", 9)["since"]
    shown = lines(
        steps=[*SWAPPED, step("evidence", 20), step("confirm", 21)],
        approval={**record()["approval"], "requested": asked, "event": None},
        decision=decided("approve"),
        stage="retire",
    )
    names = [name for name, _, _ in shown]
    assert names.index("Observe") < names.index("Approval") < names.index("Confirm")
    assert ("Approval", "done", "a person decides") in shown


def test_a_running_step_and_a_waiting_person_are_told_apart() -> None:
    running = [*UP[:-1], {**UP[-1], "until": None}]
    assert ("Prepare", "running") in [line[:2] for line in lines(steps=running, approval=None)]
    assert ("Approval", "waiting") in [line[:2] for line in lines(steps=SWAPPED)]


def test_what_an_ended_rotation_was_at_is_not_shown_as_going_on() -> None:
    running = [*UP[:-1], {**UP[-1], "until": None, "waits": "the vault", "nextTry": NOW_TEXT}]
    found = timeline.timeline(shown(steps=running, outcome="needs-attention"), NOW)
    cut = [(one.name, one.took, one.waits, one.tries) for one in found if one.state == "failed"]
    assert cut == [("Prepare", None, None, None), ("Approval", None, None, None)]
    assert {one.failure for one in found if one.state == "failed"} == {timeline.CUT}


@pytest.mark.parametrize("serves", [True, False])
def test_an_incident_waits_for_nobody_before_it_retires(*, serves: bool) -> None:
    """And what leaked of a login that serves nothing moves nothing."""
    leak = {"slot": "blue", "role": "orders_blue", "version": "v1", "serves": serves}
    request = record()["request"] | {"compromised": True, "cut": "after"}
    found = timeline.timeline(shown(request=request, leak=leak, approval=None, steps=[]), NOW)
    names = [entry.name for entry in found]
    assert names[-2:] == ["Retire", "Confirmation"]
    assert "Approval" not in names
    assert ("Swap" in names) is serves


def test_nobody_s_confirmation_is_no_policy_s() -> None:
    told = views.deadline(NOW + timedelta(days=1), "approve", NOW, confirms=True)
    assert told.after == ". After that it ends as needing attention."


def test_a_cancelled_rotation_that_fails_to_stop_does_not_say_that_nothing_is_asked() -> None:
    cancel = {"by": "anna", "channel": "page", "comment": "", "id": "1", "at": NOW_TEXT}
    going: dict[str, Any] = {"approval": None, "cancelled": cancel, "stage": "retire"}
    calm = views.headline(shown(**going, steps=UP))
    assert calm.ask == "It was cancelled by anna. Nothing is asked of you."
    trying = {**step("retire", 20), "until": None, "waits": "no right", "nextTry": NOW_TEXT}
    found = views.headline(shown(**going, steps=[*UP, trying]))
    assert found.title == "Stopping: blue goes on serving"
    assert found.ask.startswith("It was cancelled by anna. Something did not work")


def test_after_a_swap_back_steps_name_the_slots_that_they_are_about() -> None:
    shown = lines(
        steps=[*SWAPPED, step("verify", 22), step("swap-back", 21), step("deactivate", 24)],
        decision=decided("reject"),
        stage="retire",
    )
    assert ("Verify", "done", "log in as the blue role") in shown
    assert ("Deactivate", "done", "take login and password from the green role") in shown


EVIDENCE: dict[str, Any] = {
    "at": "2026-11-24T03:00:00Z",
    "complete": True,
    "passed": True,
    "problems": [],
    "tests": {"api": [{"test": "/", "passed": True, "problem": None, "attempts": 3, "role": "g"}]},
    "pods": {},
    "sessions": [],
    "stillInUse": [],
}


def said(**changes: Any) -> list[tuple[bool, str]]:
    points = views.points(wire.read(Evidence, {**EVIDENCE, **changes}), "blue", "b")
    return [(point.good, point.text) for point in points]


def test_good_evidence_is_three_lines() -> None:
    assert said() == [
        (True, "1 test passed through production"),
        (True, "Served by role g"),
        (True, "No session is left on the blue login"),
    ]


def test_sessions_of_the_replaced_slots_own_pods_are_expected() -> None:
    row = {"role": "b", "application": "api", "client": "c", "sessions": 4, "workload": "api"}
    text = "Only its own workloads still use the blue login (4 sessions)"
    assert (True, f"{text}. The last query of each was a probe") in said(sessions=[row])
    asked = [row | {"lastQuery": f"2026-11-24T02:{at}Z"} for at in ("50:00", "59:48")]
    last = "The last query that is no probe began 12 s before this look"
    text = "Only its own workloads still use the blue login (8 sessions)"
    assert (True, f"{text}. {last}") in said(sessions=asked)


@pytest.mark.parametrize(
    ("known_by", "reservation"),
    [
        ("pods", ""),
        ("nodes", ": known per node, not per pod. Another pod of those nodes would look the same"),
        ("ranges", ": known by a range of addresses, in which anybody would look the same"),
    ],
)
def test_what_tells_their_sessions_apart_is_said_where_it_is_no_pod(
    known_by: str, reservation: str
) -> None:
    row = {"role": "b", "application": "api", "client": "c", "sessions": 1, "workload": "api"}
    text = "Only its own workloads still use the blue login (1 session)"
    found = said(sessions=[{**row, "knownBy": known_by}])
    assert (True, f"{text}{reservation}. The last query of each was a probe") in found


def test_strangers_are_counted_and_named() -> None:
    rows = [
        {"role": "b", "application": name, "client": "c", "sessions": 2, "workload": None}
        for name in ("psql", "")
    ]
    text = "The blue login is still in use by an unnamed program at c and 1 more: 4 sessions"
    assert (False, f"{text}, ended on approval") in said(sessions=rows, stillInUse=rows)


NOBODY = "Nobody else was seen on the blue login in the last 31 days"
OTHERS = "Others used the blue login in the last 31 days"
LEFT = "All others who used the blue login in the last 31 days were seen on the new one since"
UNKNOWN = "Who used the blue login before is not all known"
ETL = "etl-nightly from 10.1.2.3, last seen Tue 2 Mar, 02:10 UTC, in no workload"
SINCE = "on the login that serves since Wed 3 Mar, 02:10 UTC"
GAPS = "no sample could be taken in full; the log says why"
MOVED = {**PAST_USER, "moved": "2027-03-03T02:10:20.000Z"}


@pytest.mark.parametrize(
    ("usage", "points"),
    [
        (None, []),
        ({"samples": 0, "gaps": 0, "users": []}, []),
        ({"users": []}, [(True, f"{NOBODY}, in 43000 samples since 2027-02-01", [])]),
        ({"more": 2}, [(False, OTHERS, [ETL, "and 2 more"])]),
        ({"users": [MOVED]}, [(True, LEFT, [f"{ETL}; {SINCE}"])]),
        ({"users": [], "samples": 0, "problem": "no answer"}, [(False, UNKNOWN, ["no answer"])]),
        ({"problem": "no answer"}, [(False, OTHERS, [ETL]), (False, UNKNOWN, ["no answer"])]),
        ({"users": [], "samples": 0, "gaps": 9}, [(False, UNKNOWN, [GAPS])]),
    ],
)
def test_who_used_the_login_before_is_a_point(
    usage: dict[str, Any] | None, points: list[tuple[bool, str, list[str]]]
) -> None:
    given = None if usage is None else {**USAGE, **usage}
    found = views.points(wire.read(Evidence, {**EVIDENCE, "usage": given}), "blue", "b")[3:]
    assert [(point.good, point.text, point.more) for point in found] == points


def test_what_could_not_be_looked_at_is_no_good_news() -> None:
    """Neither are tests that did not run, nor sessions that were not seen."""
    found = said(complete=False, passed=False, problems=["no database"], tests={})
    assert all(good is False for good, _ in found)
    assert [text for _, text in found] == [
        "No test could be run",
        "Who uses the blue login is not known",
        "Not everything could be looked at",
    ]


def test_a_failed_test_takes_the_proof_of_the_role_with_it() -> None:
    failed = {"test": "/x", "passed": False, "problem": "500", "attempts": 1, "role": None}
    found = said(tests={"api": [*EVIDENCE["tests"]["api"], failed]}, passed=False)
    assert found[0] == (False, "1 of 2 tests failed")
    assert not any("Served" in text for _, text in found)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "40 ms"),
        (-1, "0 ms"),
        (4.2, "4.2 s"),
        (59, "59 s"),
        (250, "4 min 10 s"),
        (3 * 3600 + 300, "3 h 5 min"),
        (86400 + 7200, "1 day 2 h"),
        (62 * 86400, "62 days"),
    ],
)
def test_span(seconds: float, text: str) -> None:
    assert wording.span(timedelta(seconds=seconds)) == text


def test_clock_shows_the_date_of_another_day_only() -> None:
    assert wording.clock("2026-11-24T01:02:03Z", NOW) == "01:02:03 UTC"
    assert wording.clock("2026-11-24T01:02:03+03:00", NOW) == "23 Nov 2026, 22:02 UTC"


@pytest.mark.parametrize(
    ("left", "text", "tone"),
    [
        (timedelta(days=62), "in 62 days", "calm"),
        (timedelta(days=6, hours=23), "in 6 days", "ask"),
        (timedelta(0), "expired 0 ms ago", "bad"),
        (timedelta(days=-4), "expired 4 days ago", "bad"),
    ],
)
def test_expiry(left: timedelta, text: str, tone: str) -> None:
    found = views.expiry(wire.moment(NOW + left), NOW)
    assert (found.text, found.tone) == (text, tone)


def test_a_version_without_expiry_is_said_to_have_none() -> None:
    assert views.expiry(None, NOW).text == "no expiry"


def slot(serves: bool) -> SeenSlot:
    return SeenSlot(
        serves=serves, role="r", login=True, secret="s", version="v", enabled=True, expires=None
    )


def seen(active: Slot | None, *severities: Severity, **serves: bool) -> SeenCredential:
    why = reason(Code.SLOTS_DISAGREE, "x")
    return SeenCredential(
        credential="orders-db",
        at=wire.moment(NOW - timedelta(minutes=4)),
        active=active,
        rotation=None,
        slots={each: slot(serves.get(each, False)) for each in SLOTS} if serves else {},
        findings=[found(one, why) for one in severities],
    )


@pytest.mark.parametrize(
    ("credential", "tone", "title"),
    [
        (seen("blue", blue=True), "calm", "at rest"),
        (seen("blue", "tells", "waived", blue=True), "calm", "at rest"),
        (seen("blue", "tells", "waits", blue=True), "ask", "a rotation would wait"),
        (seen("blue", "waits", "refuses", blue=True), "bad", "a rotation would be refused"),
        (seen(None, "refuses", blue=True, green=True), "bad", "both slots serve"),
        (seen(None, "refuses", blue=True), "bad", "no slot serves all"),
        (seen(None, "refuses"), "bad", "cannot be looked at"),
    ],
)
def test_how_a_credential_stands_is_said_in_a_few_words(
    credential: SeenCredential, tone: str, title: str
) -> None:
    assert views.standing(credential) == views.Chip(tone, title)  # type: ignore[arg-type]
    assert views.ages([credential], NOW) == {"orders-db": "4 min 0 s ago"}


def test_of_two_slots_that_serve_none_is_called_standby() -> None:
    both = views.slots(seen(None, blue=True, green=True), NOW)
    assert [one.serves for one in both] == [True, True]


def test_each_severity_has_words() -> None:
    assert views.SEVERITIES.keys() == set(get_args(Severity))


def of(credential: str, outcome: str | None, **changes: Any) -> ShownRecord:
    return shown(credential=credential, outcome=outcome, approval=None, **changes)


def asking(*records: ShownRecord) -> list[str]:
    found = views.needing(records, ["a", "b", "c", "d"])
    return [record.credential or record.rotation for record in found]


@pytest.mark.parametrize("outcome", ["aborted", "rolled-back", "refused", "needs-attention"])
def test_what_did_not_get_there_asks_for_a_person_until_a_later_one_does(outcome: str) -> None:
    failed = of("a", outcome)
    assert asking(failed) == ["a"]
    assert asking(of("a", "skipped"), failed, of("a", "completed")) == ["a"]
    assert asking(of("a", "completed"), failed) == []
    assert asking(of("a", None, stage="prepare"), failed) == []
    assert asking(of("b", "completed"), failed) == ["a"]
    assert asking(of("a", "aborted"), failed) == ["a"]  # once


def test_of_a_credential_that_the_file_lost_only_both_slots_alive_need_somebody() -> None:
    ended = [of("gone", outcome) for outcome in ("aborted", "rolled-back", "refused")]
    assert [asking(one) for one in ended] == [[], [], []]
    assert asking(of("gone", "needs-attention")) == ["gone"]


def test_each_record_that_cannot_be_read_asks_for_a_person() -> None:
    unread = [unreadable(name, NOW_TEXT, NOW_TEXT, "Completed") for name in ("x-1", "y-2")]
    assert asking(unread[0], of("a", "completed"), unread[1]) == ["x-1", "y-2"]


def test_a_rotation_that_waits_or_meets_trouble_asks_for_a_person() -> None:
    trying = {**step("prepare", 5), "until": None, "nextTry": NOW.isoformat()}
    assert asking(shown(credential="d"), of("c", None)) == ["d"]
    assert asking(of("b", None, stage="prepare", steps=[trying])) == ["b"]
    assert asking(of("b", None, stage="prepare", workloads={"api": "failed"})) == ["b"]
    assert asking(of("b", "completed", workloads={"api": "failed"})) == []


def expiring(days: float, due: float) -> SeenCredential:
    one = slot(serves=True)
    live = msgspec.structs.replace(one, expires=wire.moment(NOW + timedelta(days=days)))
    return msgspec.structs.replace(
        seen("blue", blue=True),
        slots={"blue": live, "green": one},
        due=Due(at=wire.moment(NOW + timedelta(days=due)), text=""),
    )


@pytest.mark.parametrize(
    ("credential", "says"),
    [
        (seen("blue", "tells", blue=True), None),
        (seen("blue", "waits", blue=True), "a rotation would wait"),
        (seen("blue", "refuses", blue=True), "a rotation would be refused"),
        (seen(None, "waits"), "cannot be looked at"),
        (expiring(60, 30), None),
        (expiring(29, -1), None),
        (expiring(20, -10), "a rotation has been due for 10 days"),
        (expiring(-1, -31), "the secret that serves has expired"),
    ],
)
def test_what_is_wrong_with_a_credential_asks_for_a_person(
    credential: SeenCredential, says: str | None
) -> None:
    found = views.troubles([credential], [], NOW)
    assert [one.title for one in found] == ([] if says is None else [says])
    assert views.troubles([credential], ["orders-db"], NOW) == []


@pytest.mark.parametrize(
    ("credential", "says"),
    [
        (seen(None, blue=True, green=True), None),
        (seen("blue", "refuses", blue=True), None),
        (expiring(20, -10), None),
        (expiring(-1, -31), "the secret that serves has expired"),
        (seen(None, "waits"), "cannot be looked at"),
    ],
)
def test_a_rotation_that_goes_on_hides_nothing_that_it_does_not_explain(
    credential: SeenCredential, says: str | None
) -> None:
    found = views.troubles([credential], [], NOW, ["orders-db"])
    assert [one.title for one in found] == ([says] if says else [])


@pytest.mark.parametrize(
    ("rotations", "credentials", "unseen", "title", "tone"),
    [
        (0, 0, 0, "Nothing needs you", "good"),
        (1, 0, 0, "1 rotation needs you", "ask"),
        (0, 1, 3, "1 credential needs you", "ask"),
        (2, 1, 0, "2 rotations and 1 credential need you", "ask"),
        (0, 0, 2, "2 credentials could not be looked at", "ask"),
    ],
)
def test_that_nothing_needs_anybody_is_said_only_where_nothing_is_wrong(
    rotations: int, credentials: int, unseen: int, title: str, tone: str
) -> None:
    trouble = views.Trouble("a", "bad", "x")
    found = views.Attention([shown()] * rotations, [trouble] * credentials, unseen)
    assert (found.title, found.tone) == (title, tone)


def test_deadlines_say_what_comes_then() -> None:
    asked = datetime(2026, 12, 1, 2, 55, tzinfo=UTC)
    at = wire.moment(asked)
    before = views.deadline(asked, "keep", NOW)
    assert before == views.Deadline(
        "6 days left until", at, ". After that both logins stay and reminders go on."
    )
    after = views.deadline(asked, "roll-back", datetime(2026, 12, 2, tzinfo=UTC))
    assert after == views.Deadline(
        "The deadline was", at, ", 21 h 5 min ago: the rotation goes back by itself."
    )
