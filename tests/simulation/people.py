"""Those who decide: in time, late, twice, both ways at once, without the right to, or never. And
those who cancel, at any moment."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any
from unittest import mock

from msgspec.structs import replace

from rotation.front import api, approvers, cancelling, incidents, rotations
from rotation.front.planned import standing
from rotation.front.problems import Problem
from rotation.model.catalogue import Origin
from rotation.model.reasons import Code
from rotation.model.record import Cancel, Decision, Request
from rotation.model.wire import instant
from rotation.model.world import SLOTS
from tests.simulation.client import Client
from tests.simulation.scenario import APPROVERS, IDS, REQUESTER, another

if TYPE_CHECKING:
    import asyncio
    from random import Random

    from rotation.front.planned import Standing
    from rotation.model.record import Choice, Cut, Record
    from rotation.model.world import Slot
    from tests.simulation.machine import Machine

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
CANCELLED = 0.15  # of the rotations, where anybody cancels


class People:
    """Decides at every gate that opens. `busy`: also does what is in nobody's interest."""

    def __init__(self, machine: Machine, rng: Random, loop: asyncio.AbstractEventLoop) -> None:
        self._machine = machine
        self._rng = rng
        self._loop = loop
        self._client: Any = Client(lambda: machine.engine, None)
        self._numbers = itertools.count(1)
        self.busy = True
        self.cancels: Random | None = None  # by which somebody cancels some rotations
        self.incidents: Random | None = None  # by which an approver calls some incidents
        self.answer: Choice = "approve"  # of those who are not busy
        self.calm = False  # whether nothing leaks any more
        self.leaks: Cut | None = None  # how they call an incident, once, while asked to decide
        machine.on_gate = self.on_gate
        machine.on_begin = self.on_begin

    def on_begin(self, rotation: str) -> None:
        """Somebody may cancel the rotation, soon or much later; or twice, or in a way that does not
        count."""
        rng, agenda = self.cancels, self._machine.agenda
        if rng is None or not self.busy or rng.random() >= CANCELLED:
            return
        when = rng.choice([0.0, rng.uniform(0, 10), rng.uniform(0, MINUTE), rng.uniform(0, HOUR)])
        if rng.random() < 0.3:
            agenda.add(when / 2, lambda: self._raise(rotation, "cancel-1", {"by": ""}))
        by = rng.choice([REQUESTER, *APPROVERS])
        agenda.add(when, lambda: self.cancel(rotation, by))
        if rng.random() < 0.3:
            agenda.add(when + rng.choice([0.0, 1.0, MINUTE]), lambda: self.cancel(rotation, by))

    def cancel(self, rotation: str, by: str) -> None:
        """Cancels as the HTTP API does, on what the record said when they looked."""
        self._loop.run_until_complete(self._cancel(rotation, by))

    async def _cancel(self, rotation: str, by: str) -> None:
        machine = self._machine
        record = await rotations.find(self._client, rotation)
        event = cancelling.awaited(record) if record is not None else None
        if record is None or event is None:
            machine.story.tell(by, "finds nothing to cancel in %s", rotation)
            return
        machine.story.tell(by, "cancels %s", rotation)
        wish = Cancel(by=by, channel="http", comment="", id=None, known_as=[by])
        await cancelling.submit(self._client, record, event, wish, grace=-1.0)

    def on_gate(self, rotation: str, gate: str, status: dict[str, Any]) -> None:
        machine, rng = self._machine, self._rng
        credential = machine.world.configuration.credential(status["credential"])
        # Whoever has asked for it by hand leaves it to the other.
        who = next(one for one in APPROVERS if one != status["request"]["requestedBy"])
        if not self.busy:
            if self.leaks and not status["request"]["compromised"]:
                self.call(status["credential"], self.leaks, status["active"], MINUTE / 2)
                self.leaks = None
            machine.agenda.add(MINUTE, lambda: self.decide(rotation, who, self.answer))
            return
        choice: Choice = "approve" if rng.random() < 0.65 else "reject"
        when = rng.choice([0.0, MINUTE, 5 * HOUR, 3 * DAY])
        before = credential.approval.before_swap if gate.startswith("before") else None
        policy = before.on_deadline if before else credential.approval.on_deadline
        if before is not None and policy == "approve":
            due = instant(status["before"]["deadline"])
            late = (due - machine.clock.now).total_seconds()
            machine.agenda.add(late, lambda: self._approves(rotation, gate))
        elif policy == "approve":
            soaked = credential.approval.soak
            assert soaked is not None
            told = status["approval"]
            due = max(instant(told["deadline"]), instant(told["requested"]) + soaked)
            machine.agenda.add(
                (due - machine.clock.now).total_seconds(),
                lambda: machine.checker.approved.add(rotation),
            )
        if policy != "keep" and rng.random() < 0.5:
            when = 5 * DAY  # the policy decides, unless it may not
        machine.agenda.add(when, lambda: self.decide(rotation, who, choice))
        for _ in range(rng.choice([0, 0, 1, 2])):
            self._confuse(rotation, gate, when, choice)

    def _confuse(self, rotation: str, gate: str, when: float, choice: Choice) -> None:
        rng, agenda = self._rng, self._machine.agenda
        opposite: Choice = "reject" if choice == "approve" else "approve"
        lag = rng.choice([0.0, 0.1, MINUTE])
        match rng.choice(["twice", "both", "requester", "nobody", "nonsense"]):
            case "twice":
                agenda.add(when + lag, lambda: self.decide(rotation, APPROVERS[0], choice))
            case "both":
                agenda.add(when, lambda: self.decide(rotation, APPROVERS[1], opposite))
            case "requester":
                agenda.add(when / 2, lambda: self.decide(rotation, REQUESTER, "approve"))
            case "nobody":
                agenda.add(when / 2, lambda: self.decide(rotation, "eve@example.org", "approve"))
            case "nonsense":
                agenda.add(when / 2, lambda: self._raise(rotation, gate, {"decision": "maybe"}))

    def decide(self, rotation: str, by: str, choice: Choice) -> None:
        """Decides as the HTTP API does, on what the record said when they looked."""
        self._loop.run_until_complete(self._decide(rotation, by, choice))

    async def _decide(self, rotation: str, by: str, choice: Choice) -> None:
        machine = self._machine
        record = await rotations.find(self._client, rotation)
        event = rotations.awaited(record) if record is not None else None
        if record is None or event is None or record.outcome is not None:
            machine.story.tell(by, "finds nothing to decide for %s", rotation)
            return
        decider = approvers.keyed(by, "http")
        rules = await standing(machine.edges, self._client, record)
        if rules.gone:
            choice = "reject"  # all that is left to decide
        refused = rules.refusal(decider, record.request, choice)
        if refused is not None:
            machine.story.tell(by, "may not %s %s: %s", choice, rotation, refused)
            self._hand_over(record, rules, by, choice)
            return
        machine.story.tell(by, "decides to %s %s", choice, rotation)
        if choice == "approve":
            self._approves(rotation, event)
        own = approvers.identity(decider, rules.approval).object_id
        decision = Decision(
            decision=choice,
            by=by,
            channel="http",
            comment="",
            id=None,
            known_as=[by],
            object_id=own,
        )
        await rotations.submit(self._client, record, event, decision, grace=-1.0)

    def _approves(self, rotation: str, event: str) -> None:
        """Notes that somebody entitled, or a policy, approves what is asked for."""
        checker = self._machine.checker
        if event.startswith("before"):
            checker.let.add(rotation)
            credential = self._machine.credentials[rotation]
            rules = self._machine.world.configuration.credential(credential).approval
            if rules.gate == "both":
                return
        checker.approved.add(rotation)

    def _hand_over(self, record: Record, rules: Standing, by: str, choice: Choice) -> None:
        """An approver whom the file no longer names asks one whom it does."""
        others = [one for one in APPROVERS if by in APPROVERS and one != by]
        who = next((one for one in others if self._may(record, rules, one, choice)), None)
        if who is not None:
            self._machine.agenda.add(HOUR, lambda: self.decide(record.rotation, who, choice))

    def _may(self, record: Record, rules: Standing, who: str, choice: Choice) -> bool:
        return rules.refusal(approvers.keyed(who, "http"), record.request, choice) is None

    def _raise(self, rotation: str, gate: str, data: dict[str, Any]) -> None:
        """Raises an event past the app, with the task hub's own key."""
        if self._machine.engine.journal.state.instances.get(rotation) is None:
            return
        self._machine.story.tell("somebody", "raises %s for %s: %s", gate, rotation, data)
        self._machine.engine.raise_event(rotation, gate, json.dumps(json.dumps(data)))

    def ask(self, credential: str, rotation: str, by: str) -> None:
        """Asks for a rotation by hand."""
        machine = self._machine
        why = another(self._rng).choice([None, "it is urgent"])
        request = Request(
            rotation=rotation,
            credential=credential,
            origin=Origin.MANUAL,
            requested_by=by,
            reason="by hand",
            outside_window=why,
        )
        machine.story.tell(by, "asks for %s", rotation)
        self._loop.run_until_complete(rotations.start(self._client, request))

    def call_incidents(self) -> None:
        """An approver may say of a credential that can be cut that its password has leaked, before
        anything runs, or while anything does."""
        rng, machine = self.incidents, self._machine
        for name, credential in machine.world.configuration.credentials.items():
            if rng is None or credential.incident != "allowed" or name in machine.world.spoiled:
                continue
            at = [0.0, rng.uniform(0, 10), rng.uniform(0, 5 * MINUTE), rng.uniform(0, 6 * HOUR)]
            slot = rng.choice([None, None, *SLOTS])
            self.call(name, rng.choice(["after", "first", "first"]), slot, rng.choice(at))

    def call(self, credential: str, cut: Cut, slot: Slot | None, when: float) -> None:
        """An approver calls an incident after so many seconds."""
        by = APPROVERS[0]
        request = Request(
            rotation=f"{credential}-incident-{next(self._numbers)}",
            credential=credential,
            origin=Origin.MANUAL,
            requested_by=by,
            reason="it is in a log",
            known_as=[by, IDS[by]],
            object_id=IDS[by],
            signed_in=True,
            compromised=True,
            cut=cut,
            leaked=slot,
        )
        self._machine.agenda.add(when, lambda: self._call(request))

    def _call(self, request: Request) -> None:
        """Calls an incident as the HTTP API does, and looks a minute later whether it is there."""
        machine, by, again = self._machine, request.requested_by, request
        if self.calm:
            return
        machine.story.tell(by, "calls %s, cut %s", request.rotation, request.cut)
        machine.checker.approved.add(request.rotation)
        machine.checker.called.add(request.rotation)
        calling = incidents.call(self._client, request, grace=-1.0)
        try:
            again = self._loop.run_until_complete(calling)
        except Problem as refused:
            machine.story.tell(by, "may not: %s", refused.reason.text)
            if refused.code is not Code.WHICH_LEAKED:
                return
            again = replace(request, leaked=SLOTS[len(request.rotation) % 2])
        machine.agenda.add(MINUTE, lambda: self._looks(again))

    def _looks(self, request: Request) -> None:
        found = self._loop.run_until_complete(rotations.find(self._client, request.rotation))
        if found is None:
            self._call(request)

    def waive(self, credential: str, by: str, codes: tuple[str, ...]) -> None:
        """Asks for a rotation over the HTTP API, with a function key, and waives."""
        document = {"credential": credential, "by": by, "waive": list(codes)}
        self._machine.agenda.add(0.0, lambda: self._ask_api(document))

    def _ask_api(self, document: dict[str, Any]) -> None:
        story, by = self._machine.story, document["by"]
        story.tell(by, "asks for %s and waives %s", document["credential"], document["waive"])
        # Its own ids are drawn by lot.
        own = f"{document['credential']}-hand-{next(self._numbers)}"
        with mock.patch.object(rotations, "manual_id", return_value=own):
            asking = api.start(self._machine.edges, self._client, document)
            try:
                self._loop.run_until_complete(asking)
            except Problem as refused:
                story.tell(by, "may not: %s", refused.reason.text)
