"""Carries moves out, one by one: looks whether each is done, asks, does it, and looks again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol

from rotctl.adopt.state import Event
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotctl.adopt.running import Runs, Said
    from rotctl.adopt.scripts import Step, Way
    from rotctl.adopt.state import State, What

Answer = Literal["yes", "back", "quit"]
Fate = Literal["was done", "done", "would be done", "led back"]
SHOWN = 20  # lines of what was said
PATIENCE, BETWEEN = 10, 3.0  # looks, and seconds between them, until a check passes after a move


class Talk(Protocol):
    """Whoever is at the terminal, or nobody."""

    def heading(self, number: int, count: int, step: Step) -> None: ...

    def line(self, text: str) -> None: ...

    def ask(self, step: Step, before: Step | None) -> Answer:
        """Whether to make this move. `before` is one that can be led back instead."""

    def by_hand(self, step: Step, *, passes: bool) -> bool:
        """Whether somebody has done now what is theirs to do. If nobody can be asked, the check
        says so."""


@dataclass(frozen=True)
class Result:
    move: str
    title: str
    fate: Fate


class Stopped(ClientError):  # noqa: N818 - it is no fault of ours
    """A move at which it ends: what was expected, what was said, and the way back."""

    def __init__(
        self, text: str, cure: str, exit_code: Exit, step: Step, said: Said | None
    ) -> None:
        lines = list(said.lines[-SHOWN:]) if said else []
        more = {"move": step.name, "title": step.title, "expected": step.expects, "said": lines}
        super().__init__(text, cure, exit_code, more)


@dataclass
class Carrying:
    """`only` is made although somebody made it before and its check refuses now; `command` is what
    was typed, for those who are to type it again."""

    steps: tuple[Step, ...]
    way: Way
    run: Runs
    talk: Talk
    state: State
    by: str
    command: str
    dry: bool = False
    only: str = ""
    until: str = ""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    results: dict[str, Result] = field(default_factory=dict)

    def carry_out(self) -> list[Result]:
        """Makes the moves that are left. Raises `Stopped`."""
        steps, at = self.chosen(), 0
        while at < len(steps):
            before = steps[at - 1] if at else None
            self.talk.heading(at + 1, len(self.steps), steps[at])
            led_back = self._move(steps[at], before)
            at += -1 if led_back else 1
        return list(self.results.values())

    def chosen(self) -> tuple[Step, ...]:
        """The moves up to the last one that is wanted."""
        last = self.only or self.until
        names = [one.name for one in self.steps]
        if last and last not in names:
            text = f"there is no move {last!r}"
            raise ClientError(text, f"there are: {', '.join(names)}", Exit.USAGE)
        return self.steps[: names.index(last) + 1] if last else self.steps

    # -- one move

    def _move(self, step: Step, before: Step | None) -> bool:
        """Makes a move unless it is done. Whether the one before was led back instead."""
        said = self._looked(step)
        if self._passes(step, said):
            self._found(step)
            return False
        self._refuse_to_repeat(step, said)
        if self.dry:
            self._note(step, "would be done")
            return False
        answer = self.talk.ask(step, before if before and before.goes_back else None)
        if answer == "quit":
            raise Stopped(f"{step.name}: stopped before it", self.command, Exit.WAITING, step, None)
        if answer == "back" and before is not None:
            self._lead_back(before)
            return True
        self._make(step)
        return False

    def _make(self, step: Step) -> None:
        self._record(step, "begun")
        if step.does:
            said = self.run(step.script("do"), self.talk.line)
            if said.code:
                raise self._failed(step, "its commands stopped", said)
        said = self._proved(step)
        if step.by_hand:
            said = self._awaited(step, said)
        if not self._passes(step, said):
            raise self._failed(step, "its check refuses", said)
        self._record(step, "done")
        self._note(step, "done")

    def _found(self, step: Step) -> None:
        if not self.dry and not self.state.done(self.way, step.name):
            self._record(step, "done")
        if step.name not in self.results:
            self._note(step, "was done")

    def _refuse_to_repeat(self, step: Step, said: Said) -> None:
        """What was done and is not any more was undone by somebody, who may have had a reason."""
        known = self.state.done(self.way, step.name)
        only_earlier = self.only and self.only != step.name
        if known and self.only != step.name and not self.dry:
            text = (
                f"{step.name}: it was done ({known.at}, by {known.by}), and its check refuses now."
                f"\n{_seen(step, said)}"
            )
            cure = (
                "look what has changed, and put it right; or make this move again:"
                f" {self.command} --only {step.name}"
            )
            raise Stopped(text, cure, Exit.STOPPED, step, said)
        if only_earlier and not self.dry:
            text = f"{step.name}: it comes before {self.only} and is not done.\n{_seen(step, said)}"
            raise Stopped(text, f"{self.command} --until {step.name}", Exit.STOPPED, step, said)

    def _lead_back(self, step: Step) -> None:
        said = self.run(step.script("back"), self.talk.line)
        if said.code:
            raise self._failed(step, "its way back stopped", said)
        self._record(step, "back")
        self._note(step, "led back")

    # -- checks

    def _looked(self, step: Step) -> Said:
        """What the check says. Raises `Stopped` if it cannot ask."""
        said = self.run(step.script("check"), lambda _: None)
        if said.denied:
            text = f"{step.name}: its check may not ask.\n{_quoted(said)}"
            cure = f"sign in as somebody who may, and then: {self.command}"
            raise Stopped(text, cure, Exit.NOT_ALLOWED, step, said)
        if said.passing:
            text = f"{step.name}: its check could not ask.\n{_quoted(said)}"
            cure = "nothing is known of this move now. Once the connection is back: " + self.command
            raise Stopped(text, cure, Exit.UNREACHABLE, step, said)
        return said

    def _proved(self, step: Step) -> Said:
        """What the check says after the move: what it began may take a while."""
        said = self._looked(step)
        for _ in range(1 if step.by_hand else PATIENCE):
            if self._passes(step, said):
                break
            self.sleep(BETWEEN)
            said = self._looked(step)
        return said

    def _awaited(self, step: Step, said: Said) -> Said:
        """What the check says once somebody has done their part. Not all of that can be seen."""
        while True:
            passes = self._passes(step, said)
            if not self.talk.by_hand(step, passes=passes):
                theirs = f"{step.name}: somebody has something to do. {step.by_hand}"
                text = theirs if passes else f"{theirs}\n{_seen(step, said)}"
                raise Stopped(text, f"then: {self.command}", Exit.WAITING, step, said)
            said = said if passes else self._looked(step)
            if self._passes(step, said):
                return said

    @staticmethod
    def _passes(step: Step, said: Said) -> bool:
        return said.code == 0 and (step.answer is None or said.out.strip() == step.answer)

    # -- what is said and written

    def _failed(self, step: Step, what: str, said: Said) -> Stopped:
        if said.passing:
            text = f"{step.name}: {what}, since something was away.\n{_quoted(said)}"
            cure = "the move goes on where it stopped, once the connection is back: " + self.command
            return Stopped(text, cure, Exit.UNREACHABLE, step, said)
        back = f"the way back: {step.script('back')}" if step.goes_back else "no way back is needed"
        if step.back_says:
            back += f" ({step.back_says})"
        text = f"{step.name}: {what}.\n{_seen(step, said)}"
        return Stopped(text, f"put it right and run it again, or {back}", Exit.STOPPED, step, said)

    def _record(self, step: Step, what: What) -> None:
        at = self.now().isoformat(timespec="seconds")
        self.state.add(Event(at, self.by, self.way, step.name, what))

    def _note(self, step: Step, fate: Fate) -> None:
        self.results[step.name] = Result(step.name, step.title, fate)
        self.talk.line(fate)


def _seen(step: Step, said: Said) -> str:
    return f"expected: {step.expects}\nsaid (exit code {said.code}):\n{_quoted(said)}"


def _quoted(said: Said) -> str:
    lines = said.lines[-SHOWN:] or ("nothing",)
    return "\n".join(f"  | {line}" for line in lines)
