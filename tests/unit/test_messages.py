"""Every event that a rotation can make, against its published schema."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from referencing import Registry, Resource

from rotation.links import recipients
from rotation.telling.messages import PREFIX, TYPES, log_line, notification
from rotation.settings import Settings
from tests.unit.people import LINK_KEY, FakeEdges, FakeVault, configuration
from tests.unit.virtual import DAY, EVIDENCE, Story, denied, pytestmark

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["pytestmark"]

SCHEMAS = Path(__file__).parents[2] / "docs" / "events"
APP = "https://app.example"
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
    story.to_approval().decide("reject", comment="not yet")


def aborted(story: Story) -> None:
    story.script["test"] = denied
    story.run()


def refused(story: Story) -> None:
    story.script["plan"] = {"decision": "refused", "reason": "the workloads do not agree"}
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


def back_by_policy(story: Story) -> None:
    story.approval |= {"onDeadline": "roll-back"}
    story.to_approval().wait(days=8)


STORIES = (
    completed,
    rejected,
    aborted,
    refused,
    stuck,
    used_by_strangers,
    unproved,
    overdue,
    by_policy,
    back_by_policy,
)


def edges() -> FakeEdges:
    return FakeEdges(
        settings=Settings(link_key=LINK_KEY, public_url=APP),
        configuration=configuration(approvers=["anna@contoso.example", "Rotation.Approve"]),
        vault_=FakeVault({"link-key": [("k" * 40, True)]}),
    )


@cache
def references(tell: Callable[[Story], None]) -> tuple[dict[str, Any], ...]:
    """What the story asked the app to tell."""
    story = Story("api")
    tell(story)
    return tuple(reference for _, name, reference in story.calls if name == "notify")


def events(tell: Callable[[Story], None], public_url: str | None = APP) -> list[dict[str, Any]]:
    """What a receiver gets during a story, links included."""
    found = edges()
    credential = found.configuration.credential("orders-db")
    return [
        recipients(found, notification(reference, credential, public_url), credential)
        for reference in copy.deepcopy(references(tell))
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


def test_the_stories_tell_every_type_and_every_type_has_a_schema() -> None:
    told = {kind for tell in STORIES for kind in kinds(events(tell))}
    assert told == set(TYPES)
    assert {f"{kind}.schema.json" for kind in TYPES} == schemas().keys() - {"common.schema.json"}


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
        lambda event: event.update(extra=1),
    ],
)
def test_validate_bad(spoil: Callable[[dict[str, Any]], None]) -> None:
    """The schemas refuse what is not documented: the tests above mean something."""
    event = next(e for e in events(completed) if e["eventType"] == f"{PREFIX}AwaitingApproval")
    spoil(event)
    with pytest.raises(ValidationError):
        validate(event)


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
    lines = [log_line(reference)[0] for reference in references(overdue)]
    assert lines.count("approval.requested") == 1
    assert "approval.overdue" in lines


def test_the_documented_example_is_valid() -> None:
    readme = (SCHEMAS / "README.md").read_text(encoding="utf-8")
    example = json.loads(readme.partition("```json")[2].partition("```")[0])
    validate(example)
    assert set(re.findall(r"\((\w+)\.schema\.json\)", readme)) == {*TYPES, "common"}
