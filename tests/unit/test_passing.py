"""What passes is waited for, and the way back asks for no connection: whole rotations."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client.exceptions import ApiException
from psycopg import errors

from rotation.edges import http_status
from rotation.edges.cluster.client import refusal_in
from rotation.edges.database.connecting import translated
from rotation.edges.vault import CODES
from rotation.model import wire
from rotation.model.activities import Retry
from rotation.model.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.steps.planning import FINAL_OF_UNDO, REFUSALS, REFUSALS_OF_UNDO
from tests.unit.virtual import HEALTHY, HOUR, Story, pytestmark, sequence, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["pytestmark"]


@pytest.fixture
def story() -> Story:
    """With the retry timeouts that `plan` gives."""
    story = Story("api")
    story.forward = Retry(600.0, REFUSALS)
    story.undo = Retry(HOUR, REFUSALS_OF_UNDO, FINAL_OF_UNDO)
    return story


def failing(error: EdgeError) -> dict[str, Any]:
    return {"error": wire.value_of(error.as_failure())}


def database(sqlstate: str) -> EdgeError:
    return translated("PostgreSQL could not activate role x", "rotator", errors.lookup(sqlstate)())


def cluster(status: int, message: str, reason: str = "Forbidden") -> EdgeError:
    answer = ApiException(status=status)
    answer.body = json.dumps({"kind": "Status", "reason": reason, "message": message})
    return refusal_in("cluster aks could not start Deployment x", answer)


def full() -> EdgeError:
    return Unavailable(Code.DATABASE_FULL, "the server says: too many clients already")


def lasting(story: Story, error: EdgeError, seconds: float, otherwise: Any) -> Callable[..., Any]:
    """An activity that fails for as long, from its first call on."""
    began: list[float] = []

    def answer(_: dict[str, Any]) -> Any:
        now = story.world.clock.now.timestamp()
        began.append(now)
        return failing(error) if now < began[0] + seconds else otherwise

    return answer


WEBHOOK = 'Internal error occurred: failed calling webhook "x.example": Post "https://x"'
# What is said, at which step, and for how many seconds.
PASSING: dict[str, tuple[EdgeError, str, float]] = {
    "XX000 tuple concurrently updated": (database("XX000"), "activate", 3),
    "25006 during a failover": (database("25006"), "activate", 120),
    "25006 while a disk is full": (database("25006"), "deactivate", 1800),
    "53100 disk full": (database("53100"), "activate", 120),
    "53300 too many connections": (database("53300"), "activate", 120),
    "57P03 starting up": (database("57P03"), "verify", 60),
    "an SQLSTATE that nobody knows": (database("P0001"), "activate", 60),
    "401 of an API server that starts": (cluster(401, "Unauthorized", ""), "start", 20),
    "403 of one whose RBAC caches fill": (cluster(403, "x is forbidden"), "start", 20),
    "403 at the swap": (cluster(403, "x is forbidden"), "swap", 20),
    "403 of a test that goes through it": (cluster(403, "x is forbidden"), "test", 20),
    "403 while retiring": (cluster(403, "x is forbidden"), "scale_down", 400),
    "a token refused once": (http_status.error(CODES, "put", 401), "stage", 1),
    "a grant for the vault on its way": (http_status.error(CODES, "disable", 403), "disable", 500),
    "an admission webhook down for 6 s": (cluster(500, WEBHOOK, "InternalError"), "start", 6),
    "an admission webhook that denies": (
        cluster(400, 'admission webhook "x.example" denied the request: no', ""),
        "deliver",
        30,
    ),
    "a quota full for 4 s": (
        cluster(403, 'secrets "x" is forbidden: exceeded quota: q'),
        "deliver",
        4,
    ),
    "409 of a write that others were faster than": (cluster(409, "x", "Conflict"), "start", 3),
    "404 of a proxy in front": (cluster(404, "page not found", ""), "start", 30),
    "a name that is being deleted": (
        Unavailable(Code.VAULT_CONFLICT, "HTTP 409 ObjectIsBeingDeleted"),
        "stage",
        60,
    ),
}


@pytest.mark.parametrize("decision", ["approve", "reject"])
@pytest.mark.parametrize("said", PASSING)
def test_a_rotation_waits_for(story: Story, said: str, decision: str) -> None:
    error, step, seconds = PASSING[said]
    story.script[step] = lasting(story, error, seconds, HEALTHY[step])
    story.to_approval().decide(decision)
    output = story.run()
    assert output.outcome == ("completed" if decision == "approve" else "rolled-back")
    assert story.count(step) > 1


@pytest.mark.parametrize("said", ["401 of an API server that starts", "a token refused once"])
def test_a_plan_waits_for(story: Story, said: str) -> None:
    story.script["plan"] = lasting(story, PASSING[said][0], 20, story.plan())
    assert story.approve().outcome == "completed"


def test_what_is_waited_for_is_shown_at_once(story: Story) -> None:
    """Whoever forgot a grant need not wait until the rotation gives up."""
    story.script["plan"] = partial(lambda _: failing(Denied(Code.VAULT_DENIED, "HTTP 403")))
    story.start().wait(seconds=3)
    (plan,) = story.status.steps
    assert (plan.waits, plan.until, plan.failure) == ("HTTP 403", None, None)
    output = story.run()
    assert (output.outcome, output.steps[0].failure) == ("refused", "HTTP 403")
    assert output.steps[0].waits is None


def test_what_was_waited_for_is_gone_once_it_has_passed(story: Story) -> None:
    story.script["stage"] = sequence(unavailable, HEALTHY["stage"])
    assert not [step for step in story.approve().steps if step.waits]


@pytest.mark.parametrize("kind", [Missing, Conflict, Invalid])
def test_what_is_final_ends_at_once(story: Story, kind: type[EdgeError]) -> None:
    story.script["activate"] = failing(kind(Code.DATABASE_ERROR, "42601"))
    assert story.run().outcome == "aborted"
    assert story.count("activate") == 1


def test_a_refusal_ends_after_two_minutes_while_stopping_is_possible(story: Story) -> None:
    story.script["start"] = failing(Denied(Code.CLUSTER_DENIED, "HTTP 403"))
    assert story.run().outcome == "aborted"
    assert sum(story.times_of("start")) == REFUSALS


def test_refusals_count_from_the_first_one(story: Story) -> None:
    """An API server that was away for minutes refuses everything once it is back, for seconds."""
    away = failing(Unavailable(Code.CLUSTER_UNAVAILABLE, "no answer"))
    refused = failing(Denied(Code.CLUSTER_DENIED, "HTTP 403"))
    began: list[float] = []

    def start(_: dict[str, Any]) -> Any:
        began.append(story.world.clock.now.timestamp())
        passed = began[-1] - began[0]
        return away if passed < 300 else refused if passed < 400 else {}

    story.script["start"] = start
    assert story.approve().outcome == "completed"


def test_refusals_count_anew_after_another_fault(story: Story) -> None:
    """Nothing is known of a server that gave no answer in between: it may have started again."""
    answers = (
        (100, failing(Denied(Code.VAULT_DENIED, "HTTP 403"))),
        (200, failing(Unavailable(Code.VAULT_UNAVAILABLE, "no answer"))),
        (300, failing(Denied(Code.VAULT_DENIED, "HTTP 403"))),
        (float("inf"), HEALTHY["stage"]),
    )
    began: list[float] = []

    def stage(_: dict[str, Any]) -> Any:
        began.append(story.world.clock.now.timestamp())
        passed = began[-1] - began[0]
        return next(answer for until, answer in answers if passed < until)

    story.script["stage"] = stage
    assert story.approve().outcome == "completed"


def test_a_server_that_stays_full_is_given_up_before_the_swap(story: Story) -> None:
    """And what takes the standby down again needs no connection that is not there."""
    story.script["verify"] = failing(full())
    output = story.run()
    assert output.outcome == "aborted"
    assert [found.code for found in output.reasons] == ["database-connections-used-up"]


@pytest.mark.guarantee(2)
@pytest.mark.parametrize(
    "error",
    [full(), Denied(Code.LOGIN_REFUSED, "password authentication failed")],
    ids=lambda error: type(error).__name__,
)
def test_a_login_that_fails_on_the_way_back_is_an_alarm_and_no_blocker(
    story: Story, error: EdgeError
) -> None:
    story.to_approval()
    story.script["verify"] = failing(error)
    story.decide("reject")
    output = story.run()
    assert output.outcome == "rolled-back"
    assert story.serving == "blue"
    (alarm,) = story.notices("LoginFails")
    assert [why["code"] for why in alarm["reasons"]] == [error.code]
    checked = [step for step in output.steps if step.step == "verify"][-1]
    assert (checked.code, checked.failure) == (error.code, error.message)


def test_traffic_is_back_before_the_login_is_tried(story: Story) -> None:
    story.to_approval().decide("reject")
    story.run()
    names = story.names()
    assert names[names.index("swap_back blue") :][:3] == [
        "swap_back blue",
        "verify blue",
        "confirm blue",
    ]
    assert story.notices("LoginFails") == []


def test_a_blip_of_the_login_raises_no_alarm(story: Story) -> None:
    story.to_approval()
    story.script["verify"] = sequence(unavailable, unavailable, {})
    story.decide("reject")
    assert story.run().outcome == "rolled-back"
    assert story.notices("LoginFails") == []


def test_going_back_waits_for_as_many_pods_and_then_for_few(story: Story) -> None:
    """More may never get ready, for want of connections."""
    text = "Deployment orders/api-blue cannot serve now: 2 of 5 pods are ready"
    waits = failing(Unavailable(Code.CANNOT_SERVE, text))
    story.script["swap_back"] = lambda reference: {} if reference.get("few") else waits
    story.to_approval().decide("reject")
    assert story.run().outcome == "rolled-back"
    assert sum(story.times_of("swap_back")[:-1]) == pytest.approx(20, abs=1)  # `ready`


@pytest.mark.parametrize("seconds", [5, 90])
def test_a_topic_that_asks_for_a_pause_gets_it(story: Story, seconds: float) -> None:
    asked = partial(unavailable, retry_after=seconds)
    story.script["publish_event"] = sequence(asked, {})
    event = {"id": "r-1.1", "data": {"rotation": "r-1", "credential": "orders-db"}}
    story.world.engine.start("publish", "r-1.1", json.dumps(event))
    story.world.finish("r-1.1")
    assert story.times_of("publish_event") == [seconds]
