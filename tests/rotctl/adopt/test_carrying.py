"""The order in which moves are made: what is asked, what stops it, what is left for next time."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotctl.adopt import state
from rotctl.adopt.carrying import Carrying, Stopped
from rotctl.adopt.running import Said
from rotctl.adopt.scripts import Step
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rotctl.adopt.carrying import Answer
    from rotctl.adopt.scripts import Way

NAMES = ("group", "blue", "traffic", "entry")
COMMANDS = 3  # of each move
AWAY = Said(1, "", ("Unable to connect to the server: dial tcp: i/o timeout",))


def step(name: str, by_hand: str = "", answer: str | None = None) -> Step:
    return Step(
        name, f"The {name}", "why", "all three", f"moves/01-{name}",
        does=True, goes_back=True, by_hand=by_hand, answer=answer,
    )  # fmt: skip


STEPS = tuple(map(step, NAMES))


@dataclass
class World:
    """A move has three commands; `cuts` are those after which one ends early, and how."""

    made: dict[str, int] = field(default_factory=dict)
    cuts: dict[tuple[str, int], str] = field(default_factory=dict)
    away: bool = False
    calls: list[str] = field(default_factory=list)

    def __call__(self, script: str, heard: Callable[[str], None]) -> Said:  # noqa: ARG002 - it says nothing meanwhile
        self.calls.append(script)
        name, part = script.removesuffix(".sh").partition("-")[2].split("/")
        if self.away:
            return AWAY
        if part == "check":
            done = self.made.get(name, 0)
            return Said(0 if done == COMMANDS else 1, "", (f"{done} of {COMMANDS}",))
        if part == "back":
            self.made[name] = 0
            return Said(0, "", ())
        return self._do(name)

    def _do(self, name: str) -> Said:
        # Whatever came before has to be there: nothing is made on half of something.
        assert all(self.made[one] == COMMANDS for one in NAMES[: NAMES.index(name)])
        for number in range(1, COMMANDS + 1):
            cut = self.cuts.pop((name, number), "")
            if cut == "interrupted":
                raise KeyboardInterrupt
            if cut == "away":
                return AWAY
            if cut == "refused":
                return Said(3, "", ("ERROR: canceling statement due to lock timeout",))
            self.made[name] = max(number, self.made.get(name, 0))
        return Said(0, "", ())

    @property
    def done(self) -> list[str]:
        return [one for one in self.calls if one.endswith("/do.sh")]


@dataclass
class Somebody:
    answers: list[Answer] = field(default_factory=list)
    hands: Callable[[], bool] | None = None
    asked: list[str] = field(default_factory=list)

    def heading(self, number: int, count: int, step: Step) -> None:
        pass

    def line(self, text: str) -> None:
        pass

    def ask(self, step: Step, before: Step | None) -> Answer:  # noqa: ARG002 - nobody reads it here
        self.asked.append(step.name)
        return self.answers.pop(0) if self.answers else "yes"

    def by_hand(self, step: Step, *, passes: bool) -> bool:  # noqa: ARG002 - so too
        return self.hands() if self.hands else passes


def carrying(
    folder: Path,
    world: World,
    talk: Somebody | None = None,
    way: Way = "apply",
    steps: tuple[Step, ...] = STEPS,
    **more: str | bool,
) -> Carrying:
    return Carrying(
        steps, way, world, talk or Somebody(), state.read(folder), "ada", "rotctl adopt --apply .",
        now=lambda: datetime(2026, 11, 30, tzinfo=UTC), sleep=lambda _: None, **more,  # type: ignore[arg-type]  # `dry` and names
    )  # fmt: skip


def fates(made: Carrying) -> list[tuple[str, str]]:
    return [(one.move, one.fate) for one in made.carry_out()]


def stopped(made: Carrying) -> Stopped:
    with pytest.raises(Stopped) as found:
        made.carry_out()
    return found.value


def test_what_is_done_is_not_done_again_and_what_is_half_done_goes_on(tmp_path: Path) -> None:
    world = World(made={"group": COMMANDS, "blue": 1})
    talk = Somebody()
    assert fates(carrying(tmp_path, world, talk)) == [
        ("group", "was done"), ("blue", "done"), ("traffic", "done"), ("entry", "done"),
    ]  # fmt: skip
    assert talk.asked == ["blue", "traffic", "entry"]
    again = carrying(tmp_path, world)
    assert {fate for _, fate in fates(again)} == {"was done"}
    assert len(world.done) == 3


@given(
    cuts=st.dictionaries(
        st.tuples(st.sampled_from(NAMES), st.integers(1, COMMANDS)),
        st.sampled_from(["interrupted", "away", "refused"]),
    )
)
def test_whichever_commands_it_stops_at_it_goes_on_from_there(
    tmp_path_factory: pytest.TempPathFactory, cuts: dict[tuple[str, int], str]
) -> None:
    world, folder = World(cuts=dict(cuts)), tmp_path_factory.mktemp("cut")
    for _ in range(len(cuts) + 1):
        with suppress(KeyboardInterrupt, Stopped):
            results = carrying(folder, world).carry_out()
            break
    else:
        pytest.fail("it never came to an end")
    assert not world.cuts
    assert [one.move for one in results] == list(NAMES)
    assert world.made == dict.fromkeys(NAMES, COMMANDS)


@pytest.mark.parametrize("cut", ["refused", "away"])
@pytest.mark.parametrize("at", range(1, COMMANDS + 1))
@pytest.mark.parametrize("name", NAMES)
def test_a_stop_says_what_was_expected_what_was_said_and_the_way_on(
    tmp_path: Path, name: str, at: int, cut: str
) -> None:
    stop = stopped(carrying(tmp_path, World(cuts={(name, at): cut})))
    assert stop.more["move"] == name
    if cut == "away":
        assert stop.exit_code is Exit.UNREACHABLE
        assert "once the connection is back: rotctl adopt --apply ." in stop.cure
        return
    assert stop.exit_code is Exit.STOPPED
    assert "expected: all three" in stop.text
    assert "lock timeout" in stop.text
    assert f"moves/01-{name}/back.sh" in stop.cure


def test_a_move_whose_check_refuses_afterwards_stops_it(tmp_path: Path) -> None:
    world = World()
    never = carrying(tmp_path, world, steps=(step("group", answer="yes"), step("blue")))
    stop = stopped(never)
    assert "group: its check refuses" in stop.text
    assert world.made == {"group": COMMANDS}


def test_what_was_done_and_is_not_any_more_stops_it_by_name(tmp_path: Path) -> None:
    world = World()
    fates(carrying(tmp_path, world, until="traffic"))
    world.made["group"] = 0
    stop = stopped(carrying(tmp_path, world))
    assert "group: it was done (2026-11-30T00:00:00+00:00, by ada)" in stop.text
    assert "rotctl adopt --apply . --only group" in stop.cure
    assert len(world.done) == 3
    assert fates(carrying(tmp_path, world, only="group")) == [("group", "done")]
    assert fates(carrying(tmp_path, world))[-1] == ("entry", "done")


def test_nothing_is_known_while_something_is_away(tmp_path: Path) -> None:
    stop = stopped(carrying(tmp_path, World(away=True)))
    assert stop.exit_code is Exit.UNREACHABLE
    assert "its check could not ask" in stop.text
    assert not (tmp_path / state.FILE).exists()


def test_who_may_not_ask_is_told_so(tmp_path: Path) -> None:
    said = Said(1, "", ("Error from server (Forbidden): namespaces is forbidden",))
    made = carrying(tmp_path, World())
    made.run = lambda *_: said
    assert stopped(made).exit_code is Exit.NOT_ALLOWED


def test_a_dry_run_changes_nothing_and_asks_nobody(tmp_path: Path) -> None:
    world, talk = World(made={"group": COMMANDS}), Somebody()
    assert fates(carrying(tmp_path, world, talk, dry=True)) == [
        ("group", "was done"),
        *((name, "would be done") for name in NAMES[1:]),
    ]
    assert not world.done
    assert not talk.asked
    assert list(tmp_path.iterdir()) == []


def test_somebody_may_go_back_by_one_move_and_quit(tmp_path: Path) -> None:
    world = World()
    talk = Somebody(answers=["yes", "yes", "back", "quit"])
    stop = stopped(carrying(tmp_path, world, talk))
    assert stop.exit_code is Exit.WAITING
    assert talk.asked == ["group", "blue", "traffic", "blue"]
    assert world.made == {"group": COMMANDS, "blue": 0}
    assert fates(carrying(tmp_path, world))[1] == ("blue", "done")


def test_what_others_do_is_waited_for_by_its_check(tmp_path: Path) -> None:
    """Once somebody says that it is done, and the check sees it, nobody is asked again."""
    world, looks = World(cuts={}), iter([True])
    steps = (step("group", by_hand="Deploy the app.", answer=""),)
    made = carrying(tmp_path, world, Somebody(hands=lambda: next(looks)), steps=steps)
    answers = iter([Said(1, "", ()), Said(1, "", ()), Said(1, "", ()), Said(0, "", ())])
    made.run = lambda script, heard: next(answers) if "check" in script else world(script, heard)
    assert fates(made) == [("group", "done")]


def test_nobody_there_it_ends_where_somebody_has_something_to_do(tmp_path: Path) -> None:
    steps = (step("group", by_hand="Deploy the app.", answer="yes"),)
    stop = stopped(carrying(tmp_path, World(), steps=steps))
    assert stop.exit_code is Exit.WAITING
    assert "Deploy the app." in stop.text


def test_only_a_move_whose_predecessors_are_done_is_made(tmp_path: Path) -> None:
    world = World(made={"group": COMMANDS})
    assert fates(carrying(tmp_path, world, only="blue")) == [
        ("group", "was done"), ("blue", "done"),
    ]  # fmt: skip
    stop = stopped(carrying(tmp_path, world, only="entry"))
    assert "traffic: it comes before entry and is not done" in stop.text
    with pytest.raises(ClientError, match="there is no move 'grup'"):
        carrying(tmp_path, world, only="grup").carry_out()


def test_the_way_back_forgets_what_was_done_and_the_way_on_what_was_undone(tmp_path: Path) -> None:
    world = World()
    fates(carrying(tmp_path, world))
    world.made.clear()  # another set of moves, by the same names
    assert fates(carrying(tmp_path, world, way="undo"))[0] == ("group", "done")
    world.made.clear()
    assert fates(carrying(tmp_path, world))[0] == ("group", "done")


def test_the_file_says_who_has_done_what_and_when(tmp_path: Path) -> None:
    fates(carrying(tmp_path, World(), until="group"))
    kept = json.loads((tmp_path / state.FILE).read_text(encoding="utf-8"))
    at = {"at": "2026-11-30T00:00:00+00:00", "by": "ada", "way": "apply", "move": "group"}
    assert kept["events"] == [{**at, "what": "begun"}, {**at, "what": "done"}]


@pytest.mark.parametrize("text", ["[]", "{", '{"events": [{}]}', '{"events": 5}'])
def test_a_file_of_somebody_else_s_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / state.FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ClientError, match="not what this command writes"):
        state.read(tmp_path)


def test_two_do_not_apply_at_once(tmp_path: Path) -> None:
    with (
        state.locked(tmp_path),
        pytest.raises(ClientError, match="somebody else"),
        state.locked(tmp_path),
    ):
        pass
    with state.locked(tmp_path):
        pass
