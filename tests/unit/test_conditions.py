"""What a rotation does by its owner's conditions; and when a value breaches one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rotation.config import Condition
from rotation.decisions.conditions import Limit, follow
from rotation.model import wire
from rotation.model.activities import Measured, Standing
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code
from rotation.model.record import ConditionSeen
from rotation.steps.conditions import findings
from tests.unit.people import edges
from tests.unit.virtual import EVIDENCE, Story, pytestmark, sequence, unavailable

if TYPE_CHECKING:
    from rotation.model.record import Record

__all__ = ["pytestmark"]

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def story() -> Story:
    story = Story("api", "web")
    story.conditions = {"error-rate": 0.0}
    return story


# -- what a value is


@pytest.mark.parametrize(
    ("limit", "values", "worst", "beyond"),
    [
        (Limit(above=1), [0.5], 0.5, False),
        (Limit(above=1), [1.0], 1.0, False),
        (Limit(above=1), [0.5, 2.0, 1.5], 2.0, True),
        (Limit(below=10), [10.0], 10.0, False),
        (Limit(below=10), [12.0, 9.0], 9.0, True),
        (Limit(below=0), [-1.0], -1.0, True),
        (Limit(above=0), [float("inf")], float("inf"), True),
        (Limit(above=1), [float("nan"), 0.0], 0.0, False),
    ],
)
def test_the_worst_of_the_values_counts(
    limit: Limit, values: list[float], worst: float, beyond: bool
) -> None:
    found = limit.worst(values)
    assert found == worst
    assert limit.beyond(found) is beyond


@pytest.mark.parametrize("values", [[], [float("nan")]])
def test_no_number_is_no_data(values: list[float]) -> None:
    assert Limit(above=1).worst(values) is None


def test_a_limit_in_words() -> None:
    assert (str(Limit(above=0.01)), str(Limit(below=3))) == ("above 0.01", "below 3")


# -- whether it has lasted


def measured(
    value: float | None, *, lasts: float = 0.0, known: bool = True, breaches: bool = False
) -> Measured:
    beyond = known and (value is None or value > 10)
    seen = ConditionSeen(
        name="errors", at=wire.moment(NOW), limit="above 10", value=value, known=known,
        beyond=beyond, problem=None if known else "it is away",
    )  # fmt: skip
    return Measured(seen=seen, lasts=lasts, unknown_breaches=breaches)


def after(looks: list[tuple[float, Measured]], patience: float = 600.0) -> list[str | None]:
    """Why it was breached at each look, at a time in seconds."""
    standing: dict[str, Standing] = {}
    found = []
    for seconds, one in looks:
        followed = follow(standing, [one], NOW + timedelta(seconds=seconds), patience)
        standing = followed.standing
        found.append(followed.breached.breach if followed.breached else None)
    return found


def test_one_value_is_enough_where_nothing_else_is_said() -> None:
    assert after([(0, measured(9)), (60, measured(12.5))]) == [
        None,
        "condition errors: its value is 12.5, above 10",
    ]


def test_it_has_to_last_for_as_long_as_its_owner_says() -> None:
    high, low = measured(12, lasts=120), measured(9, lasts=120)
    assert after([(0, high), (60, high), (90, low), (100, high), (219, high)])[-1] is None
    assert after([(0, high), (119, high), (120, high)]) == [
        None,
        None,
        "condition errors: its value is 12, above 10, for 2 min",
    ]


def test_what_is_not_known_neither_breaches_nor_ends_it() -> None:
    high, away = measured(12, lasts=120), measured(None, lasts=120, known=False)
    assert after([(0, high), (60, away), (300, away)]) == [None, None, None]
    assert after([(0, high), (60, away), (120, high)])[-1] is not None


def test_no_data_may_be_a_breach() -> None:
    assert after([(0, measured(None))]) == ["condition errors: its query finds no data"]


AWAY = (
    "condition errors: nobody has answered for 10 min, and its owner does not ignore that: it is "
    "away"
)


def test_who_does_not_ignore_what_is_not_known_goes_back_after_some_time() -> None:
    away = measured(None, known=False, breaches=True)
    assert after([(0, away), (599, away), (600, away)]) == [
        None,
        None,
        AWAY,
    ]
    assert after([(0, away), (500, measured(1)), (700, away)])[-1] is None


def test_that_it_is_not_known_is_told_once() -> None:
    away, told = measured(None, known=False), []
    standing: dict[str, Standing] = {}
    for seconds in (0, 59, 60, 300):
        followed = follow(standing, [away], NOW + timedelta(seconds=seconds), 600)
        standing = followed.standing
        told.append(followed.unknown)
    assert told == [[], [], ["errors"], []]
    again = follow(standing, [measured(1)], NOW, 600).standing
    assert again["errors"] == Standing()


# -- after the swap


def reasons(record: Record) -> list[str]:
    return [why.code for why in record.reasons]


def test_a_breach_after_the_swap_goes_back_and_says_at_which_value(story: Story) -> None:
    story.conditions["error-rate"] = sequence(0.0, 12.5)
    output = story.run()
    assert (output.outcome, output.outcome_reason, reasons(output)) == (
        "rolled-back",
        "condition error-rate: its value is 12.5, above 10",
        ["condition-breached"],
    )
    assert (story.serving, output.decision, output.approval) == ("blue", None, None)
    (notice,) = story.notices("ConditionBreached")
    assert notice["conditions"][0]["value"] == 12.5
    assert output.conditions[0].breach == output.outcome_reason


def test_it_is_watched_for_as_long_as_its_owner_says(story: Story) -> None:
    story.watch = 600.0
    story.to_approval()
    (watched,) = [one for one in story.status.steps if one.step == "conditions"]
    assert watched.until is not None
    took = wire.instant(watched.until) - wire.instant(watched.since)
    assert took == timedelta(minutes=10)
    assert story.times_of("conditions")[:3] == [20.0, 20.0, 20.0]


def test_what_is_beyond_its_limit_at_the_end_is_watched_on(story: Story) -> None:
    story.lasts = 300.0
    story.conditions["error-rate"] = 12.0
    assert story.run().outcome == "rolled-back"
    first, *_, last = [moment for moment, name, _ in story.calls if name == "conditions"]
    assert last - first == timedelta(minutes=5)


def test_one_that_comes_back_in_time_goes_on(story: Story) -> None:
    story.lasts = 300.0
    story.conditions["error-rate"] = sequence(12.0, 12.0, 12.0, 12.0, 9.0)
    story.to_approval()
    assert story.gate == "decision-1"


def test_a_canary_is_watched_before_the_others_move(story: Story) -> None:
    story.canary = "api"
    story.conditions["error-rate"] = 12.0
    assert story.run().outcome == "rolled-back"
    moved = [(name, ref["workload"]) for _, name, ref in story.calls if name.startswith("swap")]
    assert moved == [("swap", "api"), ("swap_back", "api")]


def test_without_conditions_nobody_looks(story: Story) -> None:
    story.conditions = {}
    assert story.approve().outcome == "completed"
    assert story.count("conditions") == 0
    assert not story.world.engine.status("r-1.watch.1")


# -- while a decision is waited for


def test_a_breach_while_it_waits_goes_back(story: Story) -> None:
    story.to_approval()
    story.wait(hours=30)
    story.conditions["error-rate"] = 11.0
    story.wait(hours=1)
    assert story.output.outcome == "rolled-back"
    assert story.output.approval is not None
    assert story.output.approval.event is None
    assert story.serving == "blue"


def test_a_decision_that_was_first_stands(story: Story) -> None:
    story.to_approval()
    story.conditions["error-rate"] = 11.0
    story.decide("approve")
    assert story.run().outcome == "completed"
    assert not story.notices("ConditionBreached")


def test_a_decision_that_comes_after_the_breach_counts_no_more(story: Story) -> None:
    event = {"decision": "approve", "by": "grace@contoso.example", "channel": "page"}

    def notify(reference: dict[str, Any]) -> Any:
        if reference["notice"]["kind"] == "ConditionBreached":
            story.world.engine.raise_event("r-1", "decision-1", json.dumps(event))
        return {}

    story.script["notify"] = notify
    story.to_approval()
    story.conditions["error-rate"] = 11.0
    output = story.run()
    assert (output.outcome, output.decision) == ("rolled-back", None)


def test_the_watch_ends_with_the_decision(story: Story) -> None:
    story.to_approval().decide("reject")
    story.run()
    looks = story.count("conditions")
    watches = [f"r-1.watch.{number}" for number in (1, 2)]
    assert [story.world.show(each)["runtimeStatus"] for each in watches] == ["Completed"] * 2
    story.wait(days=1)
    assert story.count("conditions") == looks


def test_before_the_swap_nobody_looks(story: Story) -> None:
    from tests.unit.test_gates import rules  # noqa: PLC0415 - of this test alone

    story.before = rules()
    story.to_approval()
    story.wait(days=1)
    assert story.count("conditions") == 0


def test_days_of_looks_make_no_long_history(story: Story) -> None:
    story.to_approval()
    events = story.world.kinds
    begun = len(events("r-1"))
    story.wait(days=2)
    assert story.count("conditions") > 60 + 23 * 12 + 23 * 4
    grown = len(events("r-1")) - begun
    assert grown / 2 < 60  # a day, reminders included
    assert max(len(events(f"r-1.watch.{number}")) for number in range(1, 11)) < 400


# -- a source that is away


def test_a_source_that_is_away_is_told_and_waited_for(story: Story) -> None:
    story.to_approval()
    story.conditions["error-rate"] = "it is away"
    story.wait(hours=5)
    assert story.gate == "decision-1"
    (notice,) = story.notices("ConditionUnknown")
    assert notice["conditions"][0]["problem"] == "it is away"
    story.conditions["error-rate"] = 11.0
    story.wait(hours=1)
    assert story.output.outcome == "rolled-back"


def test_one_that_its_owner_does_not_ignore_goes_back(story: Story) -> None:
    story.unknown_breaches = True
    story.conditions["error-rate"] = "it is away"
    output = story.run()
    assert (output.outcome, reasons(output)) == ("rolled-back", ["condition-breached"])
    first, *_, last = [moment for moment, name, _ in story.calls if name == "conditions"]
    assert timedelta(minutes=10) <= last - first < timedelta(minutes=11)


def test_one_that_is_away_for_a_moment_is_waited_for(story: Story) -> None:
    story.unknown_breaches = True
    story.conditions["error-rate"] = sequence(*["it is away"] * 12, 1.0)
    story.to_approval()
    assert story.gate == "decision-1"


def test_a_look_that_fails_as_a_whole_makes_nothing_known(story: Story) -> None:
    story.to_approval()
    story.script["conditions"] = unavailable
    story.wait(hours=10)
    assert story.gate == "decision-1"
    assert not story.status.conditions or not story.status.conditions[0].known


def test_a_watch_that_somebody_ends_begins_again(story: Story) -> None:
    story.to_approval()
    story.world.engine.terminate("r-1.watch.2", "by hand")
    story.world.settle()
    story.wait(minutes=20)
    story.conditions["error-rate"] = 11.0
    story.wait(minutes=10)
    assert story.output.outcome == "rolled-back"


# -- the policy


@pytest.mark.parametrize(
    ("seen", "outcome"), [({}, "completed"), ({"beyond": True}, None), ({"known": False}, None)]
)
@pytest.mark.guarantee(6)
def test_a_policy_approves_nothing_that_a_condition_speaks_against(
    story: Story, seen: dict[str, Any], outcome: str | None
) -> None:
    story.approval |= {"onDeadline": "approve", "soak": 60.0, "deadline": 3600.0, "remind": 3600.0}
    one = {"name": "error-rate", "at": "2027-03-01T12:00:00Z", "limit": "above 10", **seen}
    story.script["evidence"] = {**EVIDENCE, "conditions": [one]}
    story.start().wait(hours=4)
    assert story.ended is (outcome is not None)


# -- what a dry run tells


LIMITS = [
    {"name": "errors", "above": 10, "prometheus": {"url": "https://p.example", "query": "e"}},
    {
        "name": "logins",
        "below": 3,
        "noData": "breach",
        "azureMonitor": {"workspace": "3f1e2d4c-0000-4000-8000-5b6a79881234", "query": "Logins"},
    },
]


REFUSING = Unavailable(Code.METRICS_UNAVAILABLE, "Prometheus https://p.example: HTTP 503")


@pytest.mark.parametrize(
    ("errors", "logins", "told"),
    [
        (10.0, 3.0, {}),
        (
            REFUSING,
            3.0,
            {"errors": ("condition-unknown", f"cannot be looked at: {REFUSING.message}")},
        ),
        (
            12.5,
            None,
            {
                "errors": ("condition-beyond-limit", "12.5 now, and it breaches above 10"),
                "logins": ("condition-beyond-limit", "finds no data, and it breaches below 3"),
            },
        ),
        (None, 1.0, {"logins": ("condition-beyond-limit", "1 now, and it breaches below 3")}),
    ],
)
def test_a_dry_run_tells_which_conditions_are_unknown_or_beyond_their_limits_now(
    errors: Any, logins: Any, told: dict[str, tuple[str, str]]
) -> None:
    memory = edges()
    memory.world.metrics |= {"errors": errors, "logins": logins}
    credential = memory.configuration.credential("orders-db")
    watched = [Condition.model_validate(one) for one in LIMITS]
    seen = list(findings(memory, credential.model_copy(update={"conditions": watched})))
    assert {one.severity for one in seen} <= {"tells"}  # none stands in the way
    for one, (name, (code, text)) in zip(seen, told.items(), strict=True):
        assert (str(one.reason.code), one.reason.object) == (code, f"condition {name}")
        assert one.reason.text.startswith(f"condition {name}")
        assert one.reason.text.endswith(text)
