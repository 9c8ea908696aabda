"""Every event that a rotation can make, against its published schema."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from referencing import Registry, Resource

from rotation.config import parse
from rotation.model import wire
from rotation.model.activities import ApprovalPolicy, Notice, Planned
from rotation.model.catalogue import PREFIX, Announcement, Outcome, WaveAnnouncement
from rotation.model.reasons import Code, reason
from rotation.model.record import EvidenceSummary, SessionCount
from rotation.settings import Settings
from rotation.telling.messages import announcement, log_event, log_fields, words
from rotation.telling.recipients import with_recipients
from tests.memory import MemoryEdges
from tests.unit.people import STRONG_KEY
from tests.unit.test_config import CREDENTIAL, changed
from tests.unit.test_waiting_for_windows import NIGHTS
from tests.unit.virtual import (
    APPROVAL,
    DAY,
    EVIDENCE,
    PAST_USER,
    USAGE,
    Story,
    denied,
    pytestmark,
    sequence,
    unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["pytestmark"]

SCHEMAS = Path(__file__).parents[2] / "docs" / "events"
APP = "https://app.example"
APPROVERS = ["anna@contoso.example", "Rotation.Approve"]
CONFIGURATION = parse(yaml.safe_dump(changed((f"{CREDENTIAL}.approval.approvers", APPROVERS))))
KEYS = "https://kv-keys.vault.azure.net"
STRANGERS = [
    {
        "role": "orders_blue",
        "application": "psql",
        "client": "10.0.0.9",
        "sessions": 2,
        "workload": None,
    },
    {"role": "orders_blue", "application": "", "client": "local", "sessions": 1, "workload": None},
]


@cache
def schemas() -> dict[str, Any]:
    found = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.schema.json")}
    for schema in found.values():
        Draft202012Validator.check_schema(schema)
    return found


def validate(event: dict[str, Any]) -> None:
    """Raises `ValidationError`. Time formats are checked as well."""
    known = schemas()
    registry: Registry[Any] = Registry().with_resources(
        (name, Resource.from_contents(schema)) for name, schema in known.items()
    )
    schema = known[f"{event['eventType'].removeprefix(PREFIX)}.schema.json"]
    Draft202012Validator(schema, registry=registry, format_checker=FormatChecker()).validate(event)


def completed(story: Story) -> None:
    story.approve()


def rejected(story: Story) -> None:
    known = ["grace@contoso.example", "10000000-0000-4000-8000-000000000000"]
    story.to_approval().decide("reject", comment="not yet", knownAs=known)


def aborted(story: Story) -> None:
    story.script["test"] = denied
    story.run()


def refused(story: Story) -> None:
    why = reason(Code.SLOTS_DISAGREE, "the workloads do not agree")
    story.script["plan"] = wire.value_of(Planned(outcome=Outcome.REFUSED, reasons=[why]))
    story.run()


def stuck(story: Story) -> None:
    story.script |= {"test": denied, "deactivate": denied}
    story.run()


def used_by_strangers(story: Story) -> None:
    story.script["evidence"] = {**EVIDENCE, "passed": False, "stillInUse": STRANGERS}
    story.to_approval()


def unproved(story: Story) -> None:
    story.script["evidence"] = denied
    story.to_approval()


def overdue(story: Story) -> None:
    story.to_approval().wait(days=8)


def by_policy(story: Story) -> None:
    story.approval |= {"onDeadline": "approve", "soak": DAY}
    story.to_approval().wait(days=8)


def held_by_those_before(story: Story) -> None:
    story.script["evidence"] = {**EVIDENCE, "usage": USAGE}
    story.approval |= {"onDeadline": "approve", "deadline": DAY, "soak": 0}
    story.to_approval().wait(days=3)


def back_by_policy(story: Story) -> None:
    story.approval |= {"onDeadline": "roll-back"}
    story.to_approval().wait(days=8)


def back_on_a_login_that_fails(story: Story) -> None:
    story.to_approval()
    story.script["verify"] = denied
    story.decide("reject")
    story.run()


def cancelled(story: Story) -> None:
    story.script["start"] = unavailable
    story.start()
    story.wait(seconds=5)
    story.cancel(id="7")
    story.run()


def in_its_window(story: Story) -> None:
    """It waits for one, and says why it could have gone on without."""
    story.hours = NIGHTS
    story.start(outsideWindow="the password is out.").to_approval()


def late_for_its_window(story: Story) -> None:
    story.hours, story.latest = NIGHTS, wire.Moment("2027-03-01T13:00:00.000Z")
    story.start().wait(hours=1)


def in_line(story: Story) -> None:
    """It waits for a place, at a server where there is none."""
    story.things = ["server pg-1"]
    story.start().wait(hours=1)


def let_and_breached(story: Story) -> None:
    """Somebody lets traffic move; then a source is away, and a value beyond its limit."""
    story.before = wire.read(ApprovalPolicy, APPROVAL)
    story.conditions = {"error-rate": sequence(*["it is away"] * 9, 12.5), "logins": None}
    story.watch = 300.0
    story.to_approval().wait(days=2)
    story.decide("approve")
    story.run()


def kept_where_it_is(story: Story) -> None:
    story.before, story.asks_after = wire.read(ApprovalPolicy, APPROVAL), False
    story.script["evidence"] = {**EVIDENCE, "usage": USAGE}
    story.to_approval().decide("reject")
    story.run()


def called(story: Story) -> None:
    """An incident that ends the leaked login first, and one of a login that serves nothing."""
    story.start(compromised=True, cut="first", reason="it is in a log.").to_approval()


STORIES = (
    completed,
    let_and_breached,
    kept_where_it_is,
    in_its_window,
    late_for_its_window,
    in_line,
    rejected,
    aborted,
    refused,
    stuck,
    used_by_strangers,
    unproved,
    overdue,
    by_policy,
    held_by_those_before,
    back_by_policy,
    back_on_a_login_that_fails,
    cancelled,
    called,
)


def edges() -> MemoryEdges:
    found = MemoryEdges(
        CONFIGURATION, Settings(link_key=f"{KEYS}/secrets/link-key", public_url=APP)
    )
    found.world.vault_at(KEYS).put("link-key", STRONG_KEY, STRONG_KEY)
    return found


@cache
def notices(tell: Callable[[Story], None]) -> tuple[Notice, ...]:
    """What the story asked the app to tell."""
    story = Story("api")
    tell(story)
    return tuple(wire.read(Notice, notice) for notice in story.notices())


def events(tell: Callable[[Story], None], public_url: str | None = APP) -> list[dict[str, Any]]:
    """What a receiver gets during a story, links included."""
    found = edges()
    credential = found.configuration.credential("orders-db")
    return [
        with_recipients(found, announcement(notice, APPROVERS, public_url), credential.approval)
        for notice in notices(tell)
    ]


def kinds(told: list[dict[str, Any]]) -> list[str]:
    return [event["eventType"].removeprefix(PREFIX) for event in told]


@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
@pytest.mark.parametrize("public_url", [APP, None])
def test_every_event_of_a_story_is_as_documented(
    tell: Callable[[Story], None], public_url: str | None
) -> None:
    told = events(tell, public_url)
    for event in told:
        validate(event)
    assert len({event["id"] for event in told}) == len(told)


def test_a_wait_for_a_window_says_until_when_and_the_start_why_there_is_none() -> None:
    waits, started = events(in_its_window)[:2]
    assert waits["data"]["title"] == "orders-db: waiting for its window"
    assert waits["data"]["text"] == (
        "It waits for its window before it goes on to stage: until Mon 1 Mar 2027, 22:00 "
        "Europe/Berlin. Nothing is asked of you."
    )
    assert waits["data"]["window"]["opens"] == "2027-03-01T21:00:00.000Z"
    assert "It waits for no window: the password is out. " in f"{started['data']['text']} "
    assert started["data"]["outsideWindow"] == "the password is out."
    (late,) = events(late_for_its_window)
    assert late["data"]["reasons"][0]["code"] == "expires-before-window"
    assert "The secret that serves expires before that." in late["data"]["text"]


def test_a_decision_before_the_swap_says_what_it_is() -> None:
    told = events(let_and_breached)
    asked = next(one for one in told if one["eventType"].endswith("AwaitingApproval"))
    assert asked["data"]["gate"] == "before"
    assert asked["data"]["title"] == "orders-db: please approve that traffic moves"
    assert asked["data"]["text"] == (
        "The green slot is up and tested, and blue serves. Approve moves traffic to green; reject "
        "ends the rotation, and traffic stays. Without a decision by 2027-03-08T12:00:00.000Z, "
        "both logins stay and reminders go on. Another decision is asked for then."
    )
    (unknown,) = (one["data"] for one in told if one["eventType"].endswith("ConditionUnknown"))
    assert unknown["text"] == "Its source is asked again: error-rate: it is away."
    (breached,) = (one["data"] for one in told if one["eventType"].endswith("ConditionBreached"))
    why = "condition error-rate: its value is 12.5, above 10"
    assert breached["text"] == f"The rotation goes back by itself: {why}."
    assert told[-1]["data"]["outcomeReason"] == why


def test_where_one_decision_is_all_it_says_so() -> None:
    asked, rejected = (
        next(one["data"] for one in events(kept_where_it_is) if one["eventType"].endswith(kind))
        for kind in ("AwaitingApproval", "Rejected")
    )
    assert "and takes the blue login away afterwards; reject ends" in asked["text"]
    assert "etl-nightly from 10.1.2.3" in asked["text"]
    assert rejected["title"] == "orders-db: move of traffic rejected"


def test_an_incident_says_who_called_it_what_happens_and_who_was_connected() -> None:
    leaked, cut, _, confirm = events(called)
    assert leaked["data"]["title"] == "orders-db: a password has leaked"
    assert leaked["data"]["text"] == (
        "ada@contoso.example says that the password of role orders_blue has leaked: it is in a "
        "log. Its login ends now, with all its sessions, before another one serves: requests fail "
        "until the other slot is up. Connected with it in 1 sessions: api at 10.0.0.7."
    )
    assert "cannot log in any more" in cut["data"]["text"]
    assert cut["data"]["leak"]["connected"][0]["pid"] == 7
    assert "somebody else than ada@contoso.example" in confirm["data"]["text"]
    assert confirm["data"]["recipients"]


def test_the_stories_tell_every_type_and_every_type_has_a_schema() -> None:
    told = {kind for tell in STORIES for kind in kinds(events(tell))}
    assert told == set(Announcement)
    shared = {"common.schema.json", "waves.schema.json"}
    every = [*Announcement, *WaveAnnouncement]
    assert {f"{kind}.schema.json" for kind in every} == schemas().keys() - shared


@pytest.mark.parametrize(
    "spoil",
    [
        lambda event: event.update(eventType=f"{PREFIX}Started"),
        lambda event: event["data"].update(password="hunter2"),
        lambda event: event["data"].pop("links"),
        lambda event: event["data"]["links"].update(key="https://app.example?code=k"),
        lambda event: event["data"].update(serves="red"),
        lambda event: event["data"]["evidence"].update(passed="yes"),
        lambda event: event["data"]["recipients"][0].pop("expires"),
        lambda event: event["data"].update(outcome="completed"),
        lambda event: event["data"].pop("evidence"),
        lambda event: event.update(eventTime="yesterday"),
        lambda event: event.update(extra=1),
    ],
)
def test_validate_bad(spoil: Callable[[dict[str, Any]], None]) -> None:
    """The schemas refuse what is not documented: the tests above mean something."""
    event = next(e for e in events(completed) if e["eventType"] == f"{PREFIX}AwaitingApproval")
    spoil(event)
    with pytest.raises(ValidationError):
        validate(event)


@pytest.mark.parametrize(
    ("tell", "kind", "spoil"),
    [
        (aborted, "Aborted", lambda data: data.update(outcome="completed")),
        (aborted, "Aborted", lambda data: data.pop("reasons")),
        (aborted, "Aborted", lambda data: data["reasons"][0].pop("code")),
        (rejected, "Rejected", lambda data: data["decision"].update(decision="approve")),
        (rejected, "Rejected", lambda data: data["decision"].pop("at")),
        (rejected, "Rejected", lambda data: data["decision"].update(knownAs="grace")),
        (rejected, "RolledBack", lambda data: data["reasons"].clear()),
        (cancelled, "Cancelled", lambda data: data["cancelled"].pop("at")),
        (cancelled, "Cancelled", lambda data: data["cancelled"].update(decision="reject")),
        (overdue, "Reminder", lambda data: data.pop("overdue")),
        (used_by_strangers, "StillInUse", lambda data: data["sessions"].clear()),
        (used_by_strangers, "StillInUse", lambda data: data["sessions"][0].update(sessions=0)),
        (used_by_strangers, "StillInUse", lambda data: data["sessions"][0].update(workload="api")),
    ],
)
def test_validate_what_a_type_says_bad(
    tell: Callable[[Story], None], kind: str, spoil: Callable[[dict[str, Any]], None]
) -> None:
    event = copy.deepcopy(next(e for e in events(tell) if e["eventType"] == PREFIX + kind))
    validate(event)
    spoil(event["data"])
    with pytest.raises(ValidationError):
        validate(event)


def test_an_end_has_the_codes_of_what_it_is_made_of() -> None:
    codes = [found["code"] for found in events(stuck)[-1]["data"]["reasons"]]
    assert codes[0] == Code.ABORT_FAILED
    assert len(codes) > 2
    assert log_fields(notices(stuck)[-1])["codes"] == codes


def test_a_decision_says_by_which_names_the_decider_is_known() -> None:
    decided = next(e for e in events(rejected) if e["eventType"] == PREFIX + "Rejected")
    assert "grace@contoso.example" in decided["data"]["decision"]["knownAs"]


def test_an_approver_is_told_what_a_decision_means() -> None:
    asked = next(e for e in events(completed) if e["eventType"].endswith("AwaitingApproval"))[
        "data"
    ]
    assert asked["title"] == "orders-db: please approve the rotation"
    assert "Approve takes the blue login away; reject goes back to it." in asked["text"]
    assert "both logins stay" in asked["text"]
    assert asked["links"]["page"] == f"{APP}/api/pages/rotations/r-1"


def test_strangers_on_the_old_login_are_named_and_told_of_once() -> None:
    told = events(used_by_strangers)
    assert kinds(told).count("StillInUse") == 1
    text = next(e["data"]["text"] for e in told if e["eventType"].endswith("StillInUse"))
    assert "psql at 10.0.0.9, unnamed at local" in text


def test_who_used_the_login_before_is_named_to_whoever_decides() -> None:
    words = (
        "In the last 31 days others used the blue login: etl-nightly from 10.1.2.3, last seen "
        "Tue 2 Mar, 02:10 UTC, in no workload. The policy waits for them."
    )
    told = [(kind, event["data"]["text"]) for kind, event in _asking(held_by_those_before)]
    assert told[0][0] == "AwaitingApproval"
    # The first reminder is told before the policy has looked.
    assert [words in text for _, text in told] == [True, False, *([True] * (len(told) - 2))]
    assert len(told) >= 4


def _asking(tell: Callable[[Story], None]) -> list[tuple[str, dict[str, Any]]]:
    found = events(tell)
    kinds_ = zip(kinds(found), found, strict=True)
    return [(kind, event) for kind, event in kinds_ if kind in {"AwaitingApproval", "Reminder"}]


def test_five_of_those_before_are_named_and_no_policy_that_there_is_not() -> None:
    (notice,) = (n for n in notices(completed) if n.kind is Announcement.AWAITING_APPROVAL)
    users = [{**PAST_USER, "client": f"10.1.2.{number}"} for number in range(7)]
    gone = {**PAST_USER, "client": "10.9.9.9", "moved": "2027-03-03T02:10:20.000Z"}
    usage = {**USAGE, "users": [*users, gone], "more": 3}
    seen = wire.read(EvidenceSummary, {**EVIDENCE, "usage": usage})
    _, text = words(Announcement.AWAITING_APPROVAL, msgspec.structs.replace(notice, evidence=seen))
    assert text.endswith("10.1.2.4, last seen Tue 2 Mar, 02:10 UTC, in no workload; and 5 more.")
    assert "10.9.9.9" not in text


def session(client: str, workload: str | None) -> SessionCount:
    return SessionCount(role="r", application="a", client=client, sessions=1, workload=workload)


def test_what_becomes_of_sessions_is_told_of_each_kind() -> None:
    """Pods in place stay: their sessions are waited for, and end by themselves."""
    (notice,) = (n for n in notices(used_by_strangers) if n.kind is Announcement.STILL_IN_USE)
    both = [session("10.0.0.9", None), *(session(f"10.1.0.{n}", "ledger") for n in range(7))]
    _, text = words(Announcement.STILL_IN_USE, msgspec.structs.replace(notice, sessions=both))
    assert text == (
        "Sessions that belong to no known workload, and would be ended on approval: "
        "a at 10.0.0.9. Sessions of pods that stay, and would be waited for on approval: "
        "a at 10.1.0.0, a at 10.1.0.1, a at 10.1.0.2, a at 10.1.0.3, a at 10.1.0.4 and 2 more."
    )


def test_nobody_is_told_of_strangers_that_are_not_there() -> None:
    assert "StillInUse" not in kinds(events(completed))


def test_why_it_ended_does_not_replace_why_it_was_asked_for() -> None:
    ended = events(aborted)[-1]["data"]
    assert ended["reason"] == "because"
    assert ended["outcomeReason"] == ended["text"]
    assert "tests" in ended["outcomeReason"] or "refused" in ended["outcomeReason"]


def test_no_event_carries_a_key() -> None:
    for tell in STORIES:
        assert "code=" not in json.dumps(events(tell))


def test_an_overdue_approval_has_a_log_line_of_its_own_for_its_alert() -> None:
    lines = [log_event(notice) for notice in notices(overdue)]
    assert lines.count("approval.requested") == 1
    assert "approval.overdue" in lines


def test_the_documented_example_is_valid() -> None:
    readme = (SCHEMAS / "README.md").read_text(encoding="utf-8")
    example = json.loads(readme.partition("```json")[2].partition("```")[0])
    validate(example)
    assert set(re.findall(r"\((\w+)\.schema\.json\)", readme)) == {
        *Announcement,
        *WaveAnnouncement,
        *("common", "waves"),
    }
