"""A rotation's story: how it goes well, and every way in which it does not."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from local.engine import InstanceRunning
from rotation.model import wire
from rotation.model.activities import Retry
from rotation.model.catalogue import StepName
from rotation.model.errors import Conflict
from rotation.model.reasons import Code
from rotation.story import workflow
from rotation.story.progress import part_id
from rotation.story.status import LIMIT
from tests.unit.virtual import (
    DONE,
    EVIDENCE,
    HEALTHY,
    REQUEST,
    Story,
    cut_off,
    denied,
    pytestmark,
    sequence,
    unavailable,
)

if TYPE_CHECKING:
    from rotation.model.activities import Reference
    from rotation.model.record import Record

__all__ = ["pytestmark"]

PREPARED = ["deliver green", "start green", "await_ready green", "test green"]


@pytest.fixture
def story() -> Story:
    return Story("api")


def for_slot(slot: str, answer: Any, *, otherwise: Any) -> Any:
    def activity(reference: dict[str, Any]) -> Any:
        return answer(reference) if reference["slot"] == slot else otherwise

    return activity


def through(way: str, answer: Any) -> Any:
    def activity(reference: dict[str, Any]) -> Any:
        return answer(reference) if reference["through"] == way else HEALTHY["test"]

    return activity


def test_an_approved_rotation(story: Story) -> None:
    output = story.approve()
    assert story.names() == [
        "plan",
        "stage green",
        "activate green",
        "verify green",
        *PREPARED,
        "verify green",
        "swap green",
        "test green",
        "evidence green",
        "evidence green",
        "confirm green",
        "scale_down blue",
        "await_gone blue",
        "await_sessions blue",
        "deactivate blue",
        "disable blue",
    ]
    assert (output.outcome, output.outcome_reason) == (
        "completed",
        "approved by grace@contoso.example",
    )
    assert (output.active, output.standby, output.version) == ("blue", "green", "v2")
    assert output.workloads == {"api": "retired"}
    assert [(found.code, found.text) for found in output.reasons] == [
        ("approved", "approved by grace@contoso.example")
    ]
    assert output.evidence.requested
    assert output.evidence.decided
    assert story.told() == ["Started", "AwaitingApproval", "Approved", "Completed"]


def test_every_step_is_recorded_with_its_times(story: Story) -> None:
    output = story.approve()
    assert [step.step for step in output.steps] == [
        "plan",
        "stage",
        "activate",
        "verify",
        "prepare",
        "verify",
        "swap",
        "observe",
        "evidence",
        "evidence",
        "confirm",
        "retire",
        "await_sessions",
        "deactivate",
        "disable",
    ]
    assert all(step.since and step.until for step in output.steps)
    assert not [step for step in output.steps if step.failure or step.code]


def test_the_result_of_the_credential_is_the_rotation(story: Story) -> None:
    story.approve()
    assert story.world.show("orders-db")["output"] == story.shown["output"]


@pytest.mark.guarantee(3)
def test_activities_are_told_names_and_no_more(story: Story) -> None:
    story.approve()
    for _, name, reference in story.calls:
        if name not in {"plan", "notify"}:
            assert set(reference) <= {
                "rotation",
                "credential",
                "slot",
                "version",
                "workload",
                "through",
                "level",
                "swapped",
            }, name


@pytest.mark.guarantee(1)
def test_the_version_that_was_staged_is_the_one_that_counts(story: Story) -> None:
    story.script["stage"] = {"version": "v3"}
    story.approve()
    versions = {n: r["version"] for _, n, r in story.calls if r.get("version")}
    steps = ("activate", "verify", "deliver", "start", "await_ready", "test")
    assert versions == dict.fromkeys(steps, "v3")


def foreign(_: Reference) -> dict[str, Any]:
    found = Conflict(Code.FOREIGN_VERSION, "the current version is v9, not ours")
    return {"error": wire.value_of(found.as_failure())}


def test_a_version_of_somebody_else_s_makes_it_stage_anew(story: Story) -> None:
    story.script["stage"] = sequence({"version": "v2"}, {"version": "v3"}, {"version": "v4"})
    story.script["activate"] = sequence(foreign, foreign, {})
    assert story.approve().outcome == "completed"
    found = [r["version"] for _, n, r in story.calls if n == "activate"]
    assert found == ["v2", "v3", "v4"]
    assert {r["version"] for _, n, r in story.calls if n == "verify"} == {"v4"}


@pytest.mark.parametrize("where", [0, 1], ids=["before the pods start", "when they are up"])
def test_a_version_that_comes_late_makes_it_begin_anew(where: int) -> None:
    """An execution of `stage` that was held up may write one while the next one's is in use."""
    story = Story("api", "web")
    story.script["stage"] = sequence({"version": "v2"}, {"version": "v3"})
    story.script["verify"] = sequence(*[{}] * where, foreign, {})
    assert story.approve().outcome == "completed"
    assert [r["version"] for _, n, r in story.calls if n == "activate"] == ["v2", "v3"]
    started = [r["version"] for _, n, r in story.calls if n == "start"]
    assert started == ["v2"] * 2 * where + ["v3"] * 2
    assert story.output.version == "v3"
    assert story.world.engine.status("r-1.prepare.api.2") is not None


def test_ids_of_repeated_parts_have_at_most_a_hundred_characters() -> None:
    """As many as the Durable Task Scheduler takes, with the longest names and ids."""
    rotation, workload = f"{'c' * 32}-near-expiry-{'0' * 12}", "w" * 32
    longest = part_id(rotation, StepName.SWAP_BACK, workload, attempt=1)
    again = part_id(rotation, StepName.PREPARE, workload, attempt=3)
    assert len(longest) == len(again) == 100


def test_a_story_of_1_1_stages_anew_before_its_pods_start(story: Story) -> None:
    story.world.version = "1.1"
    story.world.restart()
    story.script["activate"] = sequence(foreign, {})
    story.script["stage"] = sequence({"version": "v2"}, {"version": "v3"})
    assert story.approve().version == "v3"
    assert story.count("stage") == 2


def test_it_gives_up_where_somebody_else_keeps_writing_versions(story: Story) -> None:
    story.script["activate"] = foreign
    output = story.run()
    assert (output.outcome, output.reasons[0].code) == ("aborted", "foreign-version")
    names = story.names()
    assert names.count("stage green") == names.count("activate green") == 3
    assert "verify green" not in names
    assert names[-2:] == ["deactivate green", "disable green"]


def test_another_failure_of_activate_is_not_staged_around(story: Story) -> None:
    story.script["activate"] = denied
    assert story.run().outcome == "aborted"
    assert story.names().count("stage green") == 1


@pytest.mark.guarantee(2)
def test_workloads_are_prepared_side_by_side_and_swapped_once_all_are_ready() -> None:
    story = Story("api", "web", "jobs")
    story.script["await_ready"] = sequence({"done": False, "observed": "0 of 2"}, DONE)
    story.approve()
    before = story.names()[: story.names().index("swap green")]
    assert [before.count(name) for name in PREPARED] == [3, 3, 4, 3]


@pytest.mark.guarantee(4)
@pytest.mark.parametrize("again", [1, 3])
def test_a_turn_or_activity_that_is_lost_and_repeated_changes_nothing(again: int) -> None:
    """Each unit of work runs, and its outcome is lost, before it runs for good."""
    story = Story("api", "web").start()
    engine = story.world.engine
    asked = False
    while ready := engine.ready():
        for _ in range(again):
            engine.run(ready[-1])
        engine.execute(ready[-1])
        engine = story.world.restart()
        if not engine.ready() and not asked:
            asked = True
            decision = {"decision": "approve", "by": "grace@contoso.example"}
            engine.raise_event("r-1", str(story.gate), json.dumps(decision))
    assert story.output.outcome == "completed"
    assert story.serving == "green"


NOT_DUE = [
    {"code": "not-due", "text": "not due", "remedy": "nothing"},
    {"code": "no-expiry", "text": "there is time", "remedy": "wait"},
]


@pytest.mark.parametrize(
    ("plan", "outcome", "told"),
    [
        ({"outcome": "skipped", "reasons": NOT_DUE}, "skipped", [None]),
        ({"outcome": "refused", "reasons": NOT_DUE}, "refused", ["Refused"]),
    ],
)
def test_what_plan_declines(
    story: Story, plan: dict[str, Any], outcome: str, told: list[str | None]
) -> None:
    """What is skipped is logged and not announced."""
    story.script["plan"] = plan
    output = story.run()
    assert (output.outcome, output.outcome_reason) == (outcome, "not due; there is time")
    assert [wire.value_of(found) for found in output.reasons] == NOT_DUE
    assert [wire.value_of(output.request), output.active] == [REQUEST, None]
    assert story.names() == ["plan"]
    assert story.told() == told


def test_a_world_that_cannot_be_seen_is_refused(story: Story) -> None:
    story.script["plan"] = denied
    output = story.run()
    assert (output.outcome, output.outcome_reason) == ("refused", "plan: it is refused")
    assert failed(output) == [("plan", "it is refused", "vault-denied")]
    assert set(story.names()) == {"plan"}


def failed(output: Record) -> list[tuple[str, str | None, str | None]]:
    """Step, text and code of each step that gave up."""
    return [(step.step, step.failure, step.code) for step in output.steps if step.code]


REFUSED = "it is refused"
LATE = {"done": False, "observed": "1 of 2 pods are ready"}
BEFORE_THE_SWAP: list[tuple[str, Any, tuple[str, str, str]]] = [
    ("stage", denied, ("stage", REFUSED, "vault-denied")),
    ("activate", denied, ("activate", REFUSED, "vault-denied")),
    ("verify", denied, ("verify", REFUSED, "vault-denied")),
    ("deliver", denied, ("prepare", f"workload api: deliver: {REFUSED}", "vault-denied")),
    ("start", denied, ("prepare", f"workload api: start: {REFUSED}", "vault-denied")),
    ("await_ready", denied, ("prepare", f"workload api: await_ready: {REFUSED}", "vault-denied")),
    (
        "await_ready",
        LATE,
        (
            "prepare",
            "workload api: await_ready: not done after 20 s: 1 of 2 pods are ready",
            "pods-not-ready",
        ),
    ),
    (
        "test",
        through("preview", denied),
        ("prepare", f"workload api: test: {REFUSED}", "vault-denied"),
    ),
    ("verify", sequence({}, denied), ("verify", REFUSED, "vault-denied")),
]


@pytest.mark.parametrize(("step", "answer", "reason"), BEFORE_THE_SWAP)
def test_before_the_swap_a_failure_aborts(
    story: Story, step: str, answer: Any, reason: tuple[str, str, str]
) -> None:
    story.script[step] = for_slot("green", answer, otherwise={}) if step == "verify" else answer
    output = story.run()
    assert (output.outcome, output.outcome_reason) == ("aborted", f"{reason[0]}: {reason[1]}")
    assert [(found.code, found.text) for found in output.reasons] == [reason[:0:-1]]
    assert failed(output) == [reason]
    assert story.names()[-6:] == [
        "confirm blue",
        "scale_down green",
        "await_gone green",
        "await_sessions green",
        "deactivate green",
        "disable green",
    ]
    assert "swap green" not in story.names()
    assert story.serving == "blue"
    assert story.told() == ["Started", "Aborted"]


AFTER_IT: list[tuple[str, Any, tuple[str, str, str]]] = [
    ("swap", denied, ("swap", f"workload api: swap: {REFUSED}", "vault-denied")),
    (
        "test",
        through("service", denied),
        ("observe", f"workload api: test: {REFUSED}", "vault-denied"),
    ),
]


@pytest.mark.parametrize(("step", "answer", "reason"), AFTER_IT)
def test_after_the_swap_a_failure_rolls_back(
    story: Story, step: str, answer: Any, reason: tuple[str, str, str]
) -> None:
    story.script[step] = answer
    output = story.run()
    assert (output.outcome, output.outcome_reason) == ("rolled-back", f"{reason[0]}: {reason[1]}")
    assert failed(output) == [reason]
    names = story.names("verify")
    assert names[names.index("swap_back blue") :] == [
        "swap_back blue",
        "confirm blue",
        "scale_down green",
        "await_gone green",
        "await_sessions green",
        "deactivate green",
        "disable green",
    ]
    assert story.serving == "blue"
    assert story.told() == ["Started", "RolledBack"]


def test_a_rejected_rotation_rolls_back(story: Story) -> None:
    story.to_approval().decide("reject")
    output = story.run()
    assert (output.outcome, output.outcome_reason) == (
        "rolled-back",
        "rejected by grace@contoso.example",
    )
    assert story.serving == "blue"
    assert story.told() == ["Started", "AwaitingApproval", "Rejected", "RolledBack"]


@pytest.mark.guarantee(7)
@pytest.mark.parametrize("step", ["confirm", "scale_down", "await_gone", "deactivate", "disable"])
def test_a_retirement_that_fails_needs_attention(story: Story, step: str) -> None:
    story.script[step] = denied
    output = story.approve()
    assert output.outcome == "needs-attention"
    assert str(output.outcome_reason).endswith(f"{step}: it is refused")
    assert [(found.code, found.text[-13:]) for found in output.reasons] == [
        ("vault-denied", "it is refused")
    ]
    assert story.names()[-1] == f"{step} {'green' if step == 'confirm' else 'blue'}"
    assert story.serving == "green"
    assert story.told()[-1] == "NeedsAttention"


@pytest.mark.guarantee(1)
def test_nothing_is_retired_unless_the_other_slot_is_seen_to_serve(story: Story) -> None:
    story.script["confirm"] = denied
    story.approve()
    assert not [name for name in story.names() if name.endswith("blue")]


def test_pods_that_stay_keep_their_login(story: Story) -> None:
    story.script["await_gone"] = {"done": False, "observed": "pods left: api-blue-x"}
    output = story.approve()
    assert output.outcome == "needs-attention"
    text = "workload api: await_gone: not done after 20 s: pods left: api-blue-x"
    assert failed(output) == [("retire", text, Code.PODS_LEFT)]
    assert story.count("deactivate") == 0


def test_sessions_that_stay_are_ended(story: Story) -> None:
    story.script["await_sessions"] = {"done": False, "observed": "1 sessions"}
    assert story.approve().outcome == "completed"
    assert sum(story.times_of("await_sessions")) == pytest.approx(60, abs=1)
    assert story.count("deactivate") == 1


@pytest.mark.guarantee(7)
@pytest.mark.parametrize("step", ["confirm", "scale_down", "deactivate", "disable"])
def test_an_abort_that_fails_needs_attention(story: Story, step: str) -> None:
    story.script |= {"stage": denied, step: denied}
    output = story.run()
    assert output.outcome == "needs-attention"
    assert output.outcome_reason is not None
    assert output.outcome_reason.startswith(
        "stage: it is refused; taking the standby slot down failed: "
    )
    codes = ["taking-down-failed", "vault-denied", "vault-denied"]
    assert [found.code for found in output.reasons] == codes


@pytest.mark.guarantee(7)
@pytest.mark.parametrize("step", ["swap_back", "confirm", "disable"])
def test_a_roll_back_that_fails_needs_attention(story: Story, step: str) -> None:
    story.to_approval()
    story.script[step] = denied
    story.decide("reject")
    output = story.run()
    assert output.outcome == "needs-attention"
    begins = "rejected by grace@contoso.example; rolling back failed: "
    assert str(output.outcome_reason).startswith(begins)
    codes = ["rolling-back-failed", "vault-denied", "rejected"]
    assert [found.code for found in output.reasons] == codes
    if step != "disable":
        assert story.count("deactivate") == 0


def test_all_workloads_end_before_one_failure_counts() -> None:
    story = Story("api", "web", "jobs")

    def start(reference: dict[str, Any]) -> Any:
        return {} if reference["workload"] == "web" else denied(reference)

    story.script["start"] = start
    story.script["await_ready"] = sequence(*[{"done": False, "observed": ""}] * 3, DONE)
    output = story.run()
    assert output.outcome_reason == (
        "prepare: workload api: start: it is refused; workload jobs: start: it is refused"
    )
    assert [found.code for found in output.reasons] == ["vault-denied", "vault-denied"]
    names = story.names()
    assert names.index("scale_down green") > names.index("test green")
    assert story.count("scale_down") == 3


@pytest.mark.parametrize("step", ["stage", "start", "swap", "evidence", "deactivate", "plan"])
@pytest.mark.parametrize("fault", [unavailable, cut_off])
def test_a_fault_that_passes_is_waited_for(story: Story, step: str, fault: Any) -> None:
    healthy = story.plan() if step == "plan" else HEALTHY[step]
    story.script[step] = sequence(fault, fault, fault, healthy)
    story.start()
    story.wait(seconds=20)
    story.decide("approve")
    assert story.run().outcome == "completed"
    assert story.times_of(step)[:3] == [1, 2, 4]


def test_back_off_ends_at_a_minute_and_retries_at_the_retry_timeout(story: Story) -> None:
    story.script["stage"] = unavailable
    output = story.run()
    assert (output.outcome, output.outcome_reason) == ("aborted", "stage: it is away")
    pauses = story.times_of("stage")
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert 540 < sum(pauses) <= 600


def test_a_pause_that_was_asked_for_is_kept(story: Story) -> None:
    story.script["stage"] = sequence(partial(unavailable, retry_after=90), HEALTHY["stage"])
    story.start()
    story.wait(minutes=3)
    assert story.times_of("stage") == [90]


def test_a_pause_longer_than_the_retry_timeout_ends_with_it(story: Story) -> None:
    """The last try is at the end of the time, whatever the other side asked for."""
    story.script["stage"] = partial(unavailable, retry_after=3600)
    assert story.run().outcome == "aborted"
    assert story.times_of("stage") == [600]


@pytest.mark.parametrize(
    ("version", "seconds", "pauses"),
    [
        ("1.2", 4, [1, 2, 1]),  # a second that is left is used
        ("1.2", 3.9, [1, 2]),
        ("1.1", 4, [1, 2]),
        ("1.1", 3, [1, 2]),
        ("1.1", 2.9, [1]),
    ],
)
def test_the_last_try_is_at_the_end_of_the_time(
    story: Story, version: str, seconds: float, pauses: list[float]
) -> None:
    story.world.version = version
    story.world.restart()
    story.forward = Retry(seconds)
    story.script["stage"] = unavailable
    assert story.run().outcome == "aborted"
    assert story.times_of("stage") == pauses


def test_a_watch_is_repeated_until_its_time_is_over(story: Story) -> None:
    """It takes no time here, where a real one lasts: there is a second between two of them."""
    story.script["await_ready"] = {"done": False, "observed": "0 of 1 ready"}
    assert story.run().outcome == "aborted"
    assert story.times_of("await_ready") == [1] * 20


def test_a_watch_that_is_done_is_not_repeated(story: Story) -> None:
    story.script["await_ready"] = sequence({"done": False, "observed": "0 of 1 ready"}, DONE)
    story.to_approval()
    assert story.times_of("await_ready") == [1]


def test_what_undoes_has_a_longer_retry_timeout(story: Story) -> None:
    story.script |= {"stage": denied, "deactivate": unavailable}
    output = story.run()
    assert output.outcome == "needs-attention"
    assert 3500 < sum(story.times_of("deactivate")) <= 3600


def test_the_way_back_is_tried_for_longer_than_the_way_forward(story: Story) -> None:
    story.script["test"] = through("service", denied)
    story.script["swap_back"] = sequence(*[unavailable] * 24, HEALTHY["swap_back"])
    assert story.run().outcome == "rolled-back"
    assert sum(story.times_of("swap_back")) > story.forward.transient


def test_what_undoes_retries_refusals_too(story: Story) -> None:
    """A grant may be on its way; going forward a refusal is final."""
    story.script |= {"stage": denied, "deactivate": denied}
    assert story.run().outcome == "needs-attention"
    assert story.count("stage") == 1
    assert 60 < sum(story.times_of("deactivate")) <= 120


def test_an_activity_that_is_always_cut_off_says_so(story: Story) -> None:
    story.script["stage"] = cut_off
    output = story.run()
    assert output.outcome == "aborted"
    assert str(output.outcome_reason).startswith(
        "stage: stage was cut off (timeout, crash or scale"
    )
    assert [found.code for found in output.reasons] == ["cut-off"]
    assert "the host ended it" not in json.dumps(wire.value_of(output))


@pytest.mark.guarantee(7)
def test_an_orchestrator_that_fails_itself_destroys_nothing(story: Story) -> None:
    story.script["stage"] = {"no version": "here"}
    output = story.run()
    assert (output.outcome, output.outcome_reason) == (
        "needs-attention",
        "unexpected ValidationError; see the log",
    )
    assert [found.code for found in output.reasons] == ["unexpected"]
    assert story.names() == ["plan", "stage green"]


def test_telling_that_fails_delays_and_is_recorded(story: Story) -> None:
    story.script["notify"] = denied
    output = story.approve()
    assert output.outcome == "completed"
    assert output.untold == ["notify: it is refused"] * 4


def test_telling_that_fails_is_shown_at_once(story: Story) -> None:
    story.to_approval()
    story.script["notify"] = denied
    story.wait(days=1, hours=2)
    assert story.status.approval
    assert story.status.approval.reminders == 1
    assert story.status.untold == ["notify: it is refused"]


def test_of_what_could_not_be_told_the_last_five_are_kept(story: Story) -> None:
    answers = [partial(_failing, number) for number in range(1, 8)]
    story.script["notify"] = sequence(*answers)
    story.to_approval().wait(days=5)
    assert story.status.untold == [f"notify: number {number}" for number in (3, 4, 5, 6, 7)]


def _failing(number: int, reference: dict[str, Any]) -> dict[str, Any]:
    return {"error": {**denied(reference)["error"], "message": f"number {number}"}}


def test_every_event_has_a_number_of_its_own(story: Story) -> None:
    story.approve()
    assert [notice["number"] for notice in story.notices()] == [1, 2, 3, 4]


def test_the_status_fits_whatever_the_texts_are() -> None:
    story = Story(*(f"workload-with-a-long-name-{n:02}" for n in range(10)))
    message = "ü" * 400

    def start(reference: dict[str, Any]) -> Any:
        return {"error": {**denied(reference)["error"], "message": message}}

    story.script["start"] = start
    story.start(reason="𝄞" * 500, requestedBy="é" * 500)
    output = story.run()
    assert output.outcome == "aborted"
    assert str(output.outcome_reason).count(message) == 10
    assert [found.text.count(message) for found in output.reasons] == [1] * 10
    assert len(json.dumps(story.shown["customStatus"])) <= LIMIT
    assert story.status.outcome == "aborted"
    assert story.status.workloads.keys() == output.workloads.keys()


@pytest.mark.parametrize("text", ["x", "ü", "𝄞"])
def test_the_status_fits_however_many_reasons_there_are(text: str) -> None:
    """`plan` lists every problem of every workload at once; the output has all of them."""
    story = Story("api")
    reasons = [
        {"code": "containers-differ", "text": f"{n}: {text * 600}", "remedy": "r" * 200}
        for n in range(250)
    ]
    story.script["plan"] = {"outcome": "refused", "reasons": reasons}
    output = story.run()
    assert [wire.value_of(found) for found in output.reasons] == reasons
    assert len(json.dumps(story.shown["customStatus"])) <= LIMIT
    assert [found.code for found in story.status.reasons][:3] == ["containers-differ"] * 3
    assert story.status.reasons[0].text.startswith(f"0: {text}")
    assert story.status.outcome == "refused"


def test_a_long_comment_is_shown_shortened_and_kept_in_full(story: Story) -> None:
    story.to_approval().decide("approve", comment="漢" * 2000)
    output = story.run()
    assert output.decision
    assert output.decision.comment == "漢" * 2000
    assert story.status.decision
    assert story.status.decision.comment.startswith("漢漢")
    assert len(json.dumps(story.shown["customStatus"])) <= LIMIT


def test_a_history_stays_short() -> None:
    """A thousand events are a good limit; there may be fifty workloads."""
    story = Story(*(f"workload-{n}" for n in range(10)))
    story.approve()
    assert len(story.world.kinds("r-1")) < 1000 * 10 / 50


@pytest.mark.guarantee(5)
def test_one_rotation_at_a_time_and_each_stays_readable(story: Story) -> None:
    story.to_approval()
    with pytest.raises(InstanceRunning):
        story.start(rotation="r-2")
    story.decide("approve")
    story.script["plan"] = {"outcome": "skipped", "reasons": NOT_DUE}
    story.start(rotation="r-2")
    story.world.settle()
    assert story.output.outcome == "completed"
    assert story.world.show("r-2")["output"]["outcome"] == "skipped"


EVENT = {
    "id": "r-1.1",
    "eventType": "CredentialRotation.Started",
    "data": {"rotation": "r-1", "credential": "orders-db"},
}


def published(story: Story, answer: Any) -> dict[str, Any]:
    story.script["publish_event"] = answer
    story.world.engine.start("publish", "r-1.1", json.dumps(EVENT))
    return story.world.finish("r-1.1")


@pytest.mark.parametrize("fault", [unavailable, denied, cut_off])
def test_an_event_is_published_as_soon_as_the_topic_is_back(story: Story, fault: Any) -> None:
    ended = published(story, sequence(*[fault] * 20, {}))
    assert ended["output"] == {"attempts": 21}
    pauses = story.times_of("publish_event")
    assert pauses[:4] == [1, 2, 4, 8]
    assert max(pauses) == 3600
    assert story.calls[-1][2]["event"] == EVENT


def test_an_event_that_nobody_takes_is_given_up(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "PUBLISH_ATTEMPTS", 20)
    ended = published(story, denied)
    assert ended["runtimeStatus"] == "Failed"
    assert "event r-1.1 could not be published" in ended["output"]
    assert story.count("publish_event") == 20


def test_giving_up_takes_a_week(story: Story) -> None:
    published(story, sequence(*[denied] * 14, {}))
    within, longest = story.times_of("publish_event"), 3600
    assert within[-1] == longest
    assert sum(within) + (workflow.PUBLISH_ATTEMPTS - len(within)) * longest > 7 * 86400


def test_the_evidence_is_in_the_output_and_not_in_the_status(story: Story) -> None:
    result: dict[str, Any] = {"test": "/whoami", "passed": True, "problem": None, "code": None}
    result |= {"attempts": 1, "role": "r", "job": None}
    story.script["evidence"] = {**EVIDENCE, "tests": {"api": [result]}}
    output = story.approve()
    assert output.evidence.decided
    assert [wire.value_of(found) for found in output.evidence.decided.tests["api"]] == [result]
    assert "/whoami" not in json.dumps(story.shown["customStatus"])
    assert story.status.evidence.decided is None
