"""Instances as they were sent to their orchestrator for the last time, with what it then wanted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.engine.core import ask
from local.engine.events import Event
from local.engine.replay import Replay, ReplayError
from local.process import ROOT
from rotation.decisions.windows import Hours, Window
from rotation.model import wire
from rotation.model.activities import ApprovalPolicy, Reference, Watched
from rotation.model.places import GRANT, KEEPER, Granted, Held, Kept, Line, place_id
from rotation.model.waves import Wave, WaveMember
from rotation.story.version import VERSION
from tests.unit.virtual import (
    APPROVAL,
    DAY,
    EVIDENCE,
    HEALTHY,
    REQUEST,
    Story,
    cut_off,
    denied,
    sequence,
    unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent
NIGHTS = Hours((Window(frozenset(range(7)), 22 * 60, 4 * 60, "Europe/Berlin"),))
SESSION = {"role": "orders_blue", "application": "api", "client": "10.0.0.7", "sessions": 2}
SESSION |= {"workload": None}
ADVICE = (
    "The story now yields something else than instances have in their history that began at"
    " version {version}: a rotation that waits at a release would end as non-deterministic. Take"
    " the change back; or keep the old way for them (`if since(context, ...)` in rotation/story),"
    " raise VERSION in rotation/story/version.py and record the new way with `python -m"
    " tests.histories`. docs/upgrade.md says more"
)


class Diverged(Exception):  # noqa: N818 - a finding, and no error of this code
    """Today's story does not fit a recorded history."""


@dataclass(frozen=True)
class Recorded:
    """One instance. `request` is what the host sent for its last turn, `wanted` what the
    orchestrator answered beyond the history: kinds and names, and `done` if it ended."""

    orchestrator: str
    request: dict[str, Any]
    wanted: list[str]


def answered(
    orchestrate: Callable[[str, str], str], orchestrator: str, request: dict[str, Any]
) -> list[str]:
    """What the orchestrator wants beyond the history. Raises `Diverged`."""
    answer = ask(orchestrator, json.dumps(request), orchestrate)
    replay = Replay(answer.actions)
    try:
        replay.run([Event.parse(json.dumps(entry)) for entry in request["history"]])
    except ReplayError as error:
        raise Diverged(str(error)) from error
    wanted = [f"{found.kind} {found.name}".strip() for found in replay.decisions]
    return [*wanted, *(["done"] if answer.done and replay.complete else [])]


def check(orchestrate: Callable[[str, str], str], recorded: Recorded) -> None:
    """Raises `Diverged`, which says what differs and what to do."""
    version = recorded.request["history"][1]["Version"]
    try:
        wanted = answered(orchestrate, recorded.orchestrator, recorded.request)
    except Diverged as error:
        raise Diverged(f"{error}\n{ADVICE.format(version=version)}") from error
    if wanted != recorded.wanted:
        what = f"{recorded.orchestrator} wanted {recorded.wanted} then, and now {wanted}"
        raise Diverged(f"{what}. {ADVICE.format(version=version)}")


# -- how they are made


def recorded(tell: Callable[[Story], None]) -> list[Recorded]:
    """Every instance of a story, whether it has ended or still waits."""
    story = Story("api", "web")
    app, orchestrate = story.world.app, story.world.app.orchestrator
    last: dict[str, tuple[str, dict[str, Any]]] = {}

    def noted(name: str, context: str) -> str:
        request = json.loads(context)
        last[request["instanceId"]] = (name, request)
        return orchestrate(name, context)

    app.orchestrator = noted  # type: ignore[method-assign]  # listened to, and otherwise the same
    tell(story)
    return [
        Recorded(name, request, answered(orchestrate, name, request))
        for name, request in last.values()
    ]


def written(instances: list[Recorded]) -> str:
    """JSON with a line for each event, so that a difference can be read."""
    parts = []
    for one in instances:
        request = {key: value for key, value in one.request.items() if key != "history"}
        events = ",\n    ".join(json.dumps(entry) for entry in one.request["history"])
        head = json.dumps({"orchestrator": one.orchestrator, "wanted": one.wanted, **request})
        parts.append(f'  {{"history": [\n    {events}\n  ], "of": {head}}}')
    return "[\n" + ",\n".join(parts) + "\n]\n"


def read(file: Path) -> list[Recorded]:
    found = []
    for one in json.loads(file.read_text(encoding="utf-8")):
        orchestrator, wanted = one["of"].pop("orchestrator"), one["of"].pop("wanted")
        found.append(Recorded(orchestrator, {**one["of"], "history": one["history"]}, wanted))
    return found


def completed(story: Story) -> None:
    story.approve()


def waits(story: Story) -> None:
    story.to_approval()


def reminded_and_rejected(story: Story) -> None:
    story.script["evidence"] = {**EVIDENCE, "stillInUse": [SESSION]}
    story.to_approval()
    story.wait(days=9)
    story.decide("approve", by="")  # does not count
    story.decide("reject")
    story.run()


def approved_by_policy(story: Story) -> None:
    story.approval |= {"onDeadline": "approve", "soak": 8 * DAY}
    story.run()


def rolled_back_by_policy(story: Story) -> None:
    story.approval |= {"onDeadline": "roll-back"}
    story.run()


def aborted(story: Story) -> None:
    story.script["test"] = denied
    story.run()


def failed_after_the_swap(story: Story) -> None:
    def only_before(reference: dict[str, Any]) -> Any:
        return HEALTHY["test"] if reference["through"] == "preview" else denied(reference)

    story.script["test"] = only_before
    story.run()


def repeated(story: Story) -> None:
    """Each activity fails once before it works, and watches look twice."""
    for name, answer in {"plan": story.plan(), **HEALTHY}.items():
        story.script[name] = sequence(unavailable, cut_off, answer)
    for name in ("await_ready", "await_gone", "await_sessions"):
        story.script[name] = sequence({"done": False, "observed": "1 pod"}, HEALTHY[name])
    story.approve()


def gave_up(story: Story) -> None:
    story.script["disable"] = denied
    story.approve()


def refused(story: Story) -> None:
    story.script["plan"] = denied
    story.run()


RELEASED = {"released": {"app": "app:2"}, "had": {"app": "app:1"}}


def released(story: Story) -> None:
    """Others release the application before the swap, and before the way back from its end."""
    story.script["plan"] = {**story.plan(), "entry": "as it was planned"}
    story.script["swap"] = sequence(RELEASED, RELEASED, {})
    story.script["swap_back"] = sequence(RELEASED, RELEASED, {})
    story.to_approval()
    story.decide("reject")
    story.run()


def left_behind(story: Story) -> None:
    """What others release does not come up on the slot that served before."""

    def comes_up(reference: dict[str, Any]) -> Any:
        return HEALTHY["await_ready"] if reference["slot"] == "green" else denied(reference)

    story.script["await_ready"] = comes_up
    story.script["swap_back"] = lambda reference: RELEASED if reference.get("level") else {}
    story.to_approval()
    story.decide("reject")
    story.run()


def stopped(story: Story) -> None:
    """A worker's replaced pods end at the swap, and it is gone back to them."""
    plan = story.plan()
    plan["policy"]["workloads"]["web"]["stops"] = True
    story.script["plan"] = plan
    story.to_approval()
    story.decide("reject")
    story.run()


def never_ready(story: Story) -> None:
    story.script["await_ready"] = {"done": False, "observed": "0 of 2 pods"}


def cancelled(story: Story) -> None:
    """While the pods come up; what came before did not count."""
    never_ready(story)
    story.start()
    story.wait(seconds=5)
    story.cancel(by="")
    story.wait(seconds=5)
    story.cancel()
    story.run()


def cancelled_in_a_pause(story: Story) -> None:
    """Between the attempts of a step, with one before that did not count."""
    story.script["activate"] = unavailable
    story.start()
    story.wait(seconds=5)
    story.cancel(by="")
    story.wait(seconds=5)
    story.cancel()
    story.run()


def cancelled_in_the_plan(story: Story) -> None:
    story.script["plan"] = unavailable
    story.start()
    story.wait(seconds=5)
    story.cancel()
    story.run()


def in_windows(story: Story) -> None:
    """It waits for one before it begins, before its swap, and to retire."""
    story.hours, story.retires = NIGHTS, True

    def starts(_: dict[str, Any]) -> Any:
        story.world.clock.now += timedelta(hours=5)
        return {}

    story.script["start"] = starts
    story.to_approval()
    story.wait(hours=12)
    story.decide("approve")
    story.run()


RULES = wire.read(ApprovalPolicy, APPROVAL)


def let_and_completed(story: Story) -> None:
    """Both decisions, a canary between them, and conditions that hold."""
    story.before, story.canary, story.conditions = RULES, "api", {"errors": 0.0}
    story.to_approval().wait(hours=1)
    story.decide("approve")
    story.to_approval().wait(hours=3)
    story.decide("approve", by="linus@contoso.example")
    story.run()


def kept_where_it_is(story: Story) -> None:
    story.before = RULES
    story.to_approval().decide("approve", by="")  # does not count
    story.decide("reject")
    story.run()


def cancelled_at_the_gate(story: Story) -> None:
    story.before = RULES
    story.to_approval().wait(days=2)
    story.cancel()
    story.run()


def in_line(story: Story) -> None:
    """It waits for a place before it begins, and gets one to retire at once."""
    story.things = ["cluster aks", "server pg-1"]
    story.start().wait(hours=2)
    _grant(story, 1)
    story.to_approval().decide("approve")
    _grant(story, 2)
    story.run()


def _grant(story: Story, number: int) -> None:
    story.world.engine.raise_event(place_id("r-1", number), GRANT, json.dumps({}))
    story.world.settle()


def cancelled_in_line(story: Story) -> None:
    story.things = ["server pg-1"]
    story.start().wait(minutes=20)
    story.cancel()
    story.run()


def let_alone(story: Story) -> None:
    """The decision before the swap is the one that retires."""
    story.before, story.asks_after = RULES, False
    story.approval |= {"soak": 2 * DAY}
    story.to_approval().decide("approve")
    story.run()


def breached(story: Story) -> None:
    """While it waits for a decision."""
    story.conditions = {"errors": sequence(*[0.0] * 20, "it is away", 11.0)}
    story.run()


def places(story: Story) -> None:
    """Whoever keeps the places gives one, fails once, sees it given back, and ends."""
    held = Held(rotation="r-1", number=1, things=["server pg-1"])
    line = {"server pg-1": Line(taken=1, most=1, queue="0a1b2c3d")}
    first = Granted(held=[held], tell=[held.id], waiting=1, lines=line)
    answers = [first, Granted(held=[held], stop=["place.r-0.1"]), Granted(held=[held]), Granted()]
    values = map(wire.value_of, answers)
    story.script["grant_places"] = sequence(next(values), unavailable, *values)
    story.world.engine.start("keep_places", KEEPER, json.dumps(wire.value_of(Kept(anew=True))))
    story.wait(minutes=10)
    story.world.engine.raise_event(KEEPER, story.world.show(KEEPER)["customStatus"]["event"], "{}")
    story.world.finish(KEEPER)


def in_a_wave(story: Story) -> None:
    """Its canary goes well, of the next two one fails: that is enough."""
    names = ["a-db", "b-db", "c-db", "d-db"]
    members = [WaveMember(credential=name, rotation=f"{name}-r") for name in names]
    wave = Wave(
        wave="wave.20270301T120000-ab12",
        requested_by="ada@contoso.example",
        reason="because",
        select={"all": True},
        first=1,
        size=2,
        pause=3600.0,
        stop_after=1,
        members=members,
    )
    states = {"a-db": "waiting", "b-db": "waiting", "c-db": "aborted"}

    def stand(known: dict[str, str]) -> Any:
        def answer(reference: dict[str, Any]) -> Any:
            asked = reference["wave"]["members"]
            return {"members": [{**one, "state": known[one["credential"]]} for one in asked]}

        return answer

    story.script["start_rotations"] = stand(dict.fromkeys(names, "started"))
    story.script["follow_rotations"] = sequence(
        stand(dict.fromkeys(names, "started")), unavailable, stand(states)
    )
    story.world.engine.start("wave", wave.wave, json.dumps(wire.value_of(wave)))
    story.world.finish(wave.wave)


INCIDENT = {"compromised": True, "reason": "it is in a log"}


def called_first(story: Story) -> None:
    """The leaked login ends first; the slot comes up at the second attempt."""
    story.script["cut"] = sequence({"left": True, "observed": "1 session"}, {"left": False})
    story.script["test"] = sequence(*[denied] * 200, HEALTHY["test"])
    story.start(**INCIDENT, cut="first")
    story.wait(minutes=30)
    story.script["test"] = HEALTHY["test"]
    story.to_approval()
    story.decide("approve", by="")  # does not count
    story.wait(days=3)
    story.decide("approve")
    story.run()


def made_way(story: Story) -> None:
    """A rotation that waits for a decision, for an incident that ends what it replaced."""
    story.to_approval()
    story.world.engine.raise_event("orders-db", "incident-1", json.dumps("no incident"))
    story.world.settle()
    request = {**REQUEST, **INCIDENT, "rotation": "i-1", "cut": "after", "leaked": "blue"}
    story.world.engine.raise_event("orders-db", "incident-2", json.dumps(request))
    story.wait(minutes=5)


def published(story: Story) -> None:
    data = {"rotation": "r-1", "credential": "orders-db"}
    story.script["publish_event"] = sequence(unavailable, cut_off, {})
    story.world.engine.start("publish", "r-1.1", json.dumps({"id": "r-1.1", "data": data}))
    story.world.finish("r-1.1")


def kept(story: Story) -> None:
    reference = Reference(rotation="r-1", credential="orders-db")
    ended = wire.value_of(Watched(done=True, observed=""))
    going_on = wire.value_of(Watched(done=False, observed="it has not ended"))
    story.script["keep_record"] = sequence(going_on, unavailable, cut_off, ended)
    story.world.engine.start("keep", "r-1.keep", json.dumps(wire.value_of(reference)))
    story.world.finish("r-1.keep")


STORIES = (
    completed,
    waits,
    reminded_and_rejected,
    approved_by_policy,
    rolled_back_by_policy,
    aborted,
    failed_after_the_swap,
    repeated,
    gave_up,
    refused,
    released,
    left_behind,
    stopped,
    cancelled,
    cancelled_in_a_pause,
    cancelled_in_the_plan,
    in_windows,
    let_and_completed,
    kept_where_it_is,
    cancelled_at_the_gate,
    let_alone,
    breached,
    in_line,
    cancelled_in_line,
    places,
    in_a_wave,
    called_first,
    made_way,
    published,
    kept,
)


def record(folder: Path = FOLDER / VERSION) -> list[Path]:
    """Raises `FileExistsError` where there is anything of this version."""
    texts = {f"{tell.__name__}.json": written(recorded(tell)) for tell in STORIES}
    folder.mkdir()
    for name, text in texts.items():
        # Tracebacks name files: where this tree lies is nobody's business.
        (folder / name).write_text(text.replace(f"{ROOT}/", "/app/"), encoding="utf-8")
    return [folder / name for name in texts]
