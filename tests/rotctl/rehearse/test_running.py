"""The order of a rehearsal, and that nothing is left of one, however it ends."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from rotctl.exits import ClientError, Exit
from rotctl.rehearse import manifests
from rotctl.rehearse.running import Rehearsal
from tests.rotctl.rehearse.space import AWAY, Memory, plan

NO = ClientError("the server does not let you", "ask for the right", Exit.NOT_ALLOWED)


def rehearsal(space: Memory) -> Rehearsal:
    return Rehearsal(space, space.plan, lambda _: None, clock=space.clock, sleep=space.sleep)  # type: ignore[arg-type]  # in its place


@pytest.fixture
def space() -> Memory:
    return Memory(plan())


def fails(space: Memory) -> ClientError:
    with pytest.raises(ClientError) as raised:
        rehearsal(space).run()
    return raised.value


def test_in_what_order(space: Memory) -> None:
    measured = rehearsal(space).run()
    assert space.done == [
        "create Service rehearsal-api",
        "create Job rehearsal-api",
        "patch Service rehearsal-api",  # owned by the Job from here on
        "create Deployment rehearsal-api-leaving",
        "create Deployment rehearsal-api-staying",
        "patch Service rehearsal-api",
        "patch Deployment rehearsal-api-leaving",
        "delete Deployment rehearsal-api-leaving",
        "delete Deployment rehearsal-api-staying",
        "delete Service rehearsal-api",
        "delete Job rehearsal-api",
    ]
    assert space.objects == {}
    assert (measured.lost, measured.end.failed) == (8, {"kept-idle": 8})
    assert (measured.steady.lost, measured.move.lost) == (0, 0)
    assert (measured.connections, measured.framework) == (8, "aspnet")
    assert 1 <= measured.took < 3
    assert not measured.killed


def test_load_goes_on_for_a_while_after_the_end(space: Memory) -> None:
    space.takes = 15.0
    measured = rehearsal(space).run()
    # 40 requests a second, until the pod is gone and two seconds longer.
    assert measured.end.requests >= 40 * 17 - 8


@pytest.mark.parametrize(
    ("said", "guess", "framework"),
    [("go", "gunicorn", "go"), ("", "gunicorn", "aspnet")],  # the answers are Kestrel's
)
def test_what_somebody_says_counts_first_and_then_the_answers(
    said: str, guess: str, framework: str
) -> None:
    space = Memory(plan(framework=said, guess=guess))
    assert rehearsal(space).run().framework == framework


def test_one_that_the_node_killed(space: Memory) -> None:
    space.codes, space.takes = [137], 20.0
    measured = rehearsal(space).run()
    assert measured.killed
    assert measured.took >= 20


@pytest.mark.parametrize(
    ("takes", "codes", "killed"),
    [(1.0, [], False), (21.0, [], True), (21.0, [0], False), (1.0, [137], True)],
)
def test_where_no_exit_code_is_seen_its_time_tells(
    space: Memory, takes: float, codes: list[int], killed: bool
) -> None:
    space.takes, space.codes = takes, codes
    assert rehearsal(space).run().killed == killed


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("create", "Service"),
        ("create", "Job"),
        ("patch", "Service"),
        ("create", "Deployment"),
        ("patch", "Deployment"),
        ("log", "Pod"),
    ],
)
def test_what_is_not_allowed_leaves_nothing(space: Memory, verb: str, kind: str) -> None:
    space.faults[verb, kind] = NO
    assert fails(space) is NO
    assert space.objects == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("at", [0.5, 1.5, 3.0, 4.5, 6.0])
def test_who_interrupts_it_leaves_nothing(space: Memory, number: signal.Signals, at: float) -> None:
    once = [number]

    def interrupt() -> None:
        if space.now >= at and once:
            os.kill(os.getpid(), once.pop())

    space.on_sleep = interrupt
    error = fails(space)
    assert error.exit_code == Exit.INTERRUPTED
    assert "nothing was measured" in error.text
    assert space.objects == {}
    assert not once


def test_where_nobody_reads_what_it_says_nothing_is_left(space: Memory) -> None:
    def say(text: str) -> None:
        if space.done:
            raise BrokenPipeError(text)

    with pytest.raises(BrokenPipeError):
        Rehearsal(space, space.plan, say, clock=space.clock, sleep=space.sleep).run()  # type: ignore[arg-type]  # in its place
    assert space.done
    assert space.objects == {}


def test_where_it_cannot_be_taken_away_the_command_is_said(space: Memory) -> None:
    space.faults["delete", "Deployment"] = NO
    error = fails(space)
    assert error.exit_code == Exit.PROBLEM
    assert "is still there: the server does not let you" in error.text
    assert error.cure == f"run: {command()}"


def test_both_what_went_wrong_and_what_is_left_are_said(space: Memory) -> None:
    space.faults["patch", "Deployment"] = ClientError("no patch", "", Exit.NOT_ALLOWED)
    space.faults["delete", "Job"] = NO
    assert fails(space).text.startswith("no patch; and what the rehearsal made is still there")


def command() -> str:
    labels = "app.kubernetes.io/managed-by=rotctl,credential-rotation/rehearsal=api"
    return f"kubectl -n orders delete deployment,service,job -l {labels}"


def test_an_api_server_that_is_away_for_a_moment_is_asked_again(space: Memory) -> None:
    space.faults["list", "Pod"] = [AWAY, AWAY]
    space.faults["log", "Pod"] = [AWAY]
    space.faults["delete", "Deployment"] = [AWAY]
    assert rehearsal(space).run().lost == 8
    assert space.objects == {}


def test_one_that_stays_away_is_said(space: Memory) -> None:
    space.faults["log", "Pod"] = AWAY
    assert fails(space).exit_code == Exit.UNREACHABLE
    assert space.objects == {}


def test_leftovers_go_first(space: Memory) -> None:
    for one in manifests.all_of(space.plan):
        space.create(one)
    other = {"kind": "Service", "metadata": {"name": "theirs", "labels": {"app": "api"}}}
    space.objects["Service", "theirs"] = other
    space.done.clear()
    rehearsal(space).run()
    assert [one.partition(" ")[0] for one in space.done[:5]] == ["delete"] * 4 + ["create"]
    assert space.objects == {("Service", "theirs"): other}


def test_an_image_that_cannot_be_pulled(space: Memory) -> None:
    space.waiting = "ErrImagePull"
    error = fails(space)
    assert "image:1 cannot be pulled" in error.text
    assert "--image" in error.cure
    assert not [one for one in space.done if one.startswith("create Deployment")]


def test_a_namespace_without_room(space: Memory) -> None:
    space.begun = 1000.0
    message = 'pods "rehearsal-api-x" is forbidden: exceeded quota: small'
    involved = {"name": "rehearsal-api"}
    event: dict[str, Any] = {"kind": "Event", "reason": "FailedCreate", "message": message}
    space.objects["Event", "e"] = {
        **event, "involvedObject": involved, "metadata": {"name": "e"},
    }  # fmt: skip
    error = fails(space)
    assert error.exit_code == Exit.REFUSED
    assert "exceeded quota" in error.text
    assert list(space.objects) == [("Event", "e")]


def test_a_deployment_whose_pod_may_not_be_made(space: Memory) -> None:
    create = space.create

    def without_room(obj: dict[str, Any]) -> dict[str, Any]:
        made = create(obj)
        if obj["kind"] == "Deployment":
            failed = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
            made["status"] = {"conditions": [failed]}
        return made

    space.create = without_room  # type: ignore[method-assign]
    error = fails(space)
    assert (error.exit_code, "exceeded quota" in error.text) == (Exit.REFUSED, True)
    assert space.objects == {}


def test_what_does_not_come_in_time_is_said(space: Memory) -> None:
    create = space.create

    def never_ready(obj: dict[str, Any]) -> dict[str, Any]:
        made = create(obj)
        made.pop("status", None)
        return made

    space.create = never_ready  # type: ignore[method-assign]
    error = fails(space)
    assert error.exit_code == Exit.TIMEOUT
    assert error.text == "waited in vain for both pods being ready"
    assert space.now < space.plan.seconds + 5


def test_answers_of_500_before_anything_has_ended_are_no_rehearsal(space: Memory) -> None:
    space.statuses = {"5xx": 3}
    error = fails(space)
    assert "GET /orders is answered with 500 or more" in error.text
    assert "--path" in error.cure


def test_who_does_not_wait_for_the_end_is_told_how_to_look(space: Memory) -> None:
    def interrupt() -> None:
        if space.done and space.done[-1] == "delete Job rehearsal-api":
            os.kill(os.getpid(), signal.SIGINT)

    items = space.items

    def still_there(kind: str, selector: str = "", *, needed: bool = True) -> list[Any]:
        ending = space.done and space.done[-1].startswith("delete")
        pod = {"kind": "Pod", "metadata": {"name": "p"}}
        return [pod] if kind == "Pod" and ending else items(kind, selector, needed=needed)

    space.items = still_there  # type: ignore[method-assign]
    space.on_sleep = interrupt
    error = fails(space)
    assert error.exit_code == Exit.INTERRUPTED
    assert error.cure.endswith(command())
