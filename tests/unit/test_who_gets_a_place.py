"""Who gets a place next: the pure decision, by examples and by what must always hold."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rotation.config import MaxParallel
from rotation.decisions.places import decide, in_order
from rotation.model.places import Wanted
from rotation.model.wire import Moment

LIMITS = MaxParallel(servers={"*": 2, "pg-1": 1}, clusters={"west": 1})


def wanted(name: str, *things: str, **more: Any) -> Wanted:
    given_: dict[str, Any] = {"finishes": False, "inside": False, "latest": None, **more}
    since = given_.pop("since", "2027-03-01T12:00:00.000Z")
    return Wanted(
        rotation=name, credential=name, number=1, things=list(things), since=since, **given_
    )


def granted(held: list[list[str]], *waiting: Wanted) -> list[str]:
    return [one.rotation for one in decide(LIMITS.most, held, waiting).granted]


def test_as_many_as_there_are_places() -> None:
    waiting = [wanted(name, "server pg-2") for name in "abc"]
    assert granted([], *waiting) == ["a", "b"]
    assert granted([["server pg-2"]], *waiting) == ["a"]
    assert granted([["server pg-2"]] * 3, *waiting) == []


def test_a_thing_without_a_limit_has_a_place_for_each() -> None:
    waiting = [wanted(name, "vault https://kv.example") for name in "abcd"]
    assert granted([], *waiting) == list("abcd")


def test_the_line_is_of_the_first_thing_that_is_full() -> None:
    found = decide(LIMITS.most, [["server pg-1"]], [wanted("a", "cluster west", "server pg-1")])
    assert {thing: len(line) for thing, line in found.lines.items()} == {"server pg-1": 1}


def test_what_retires_comes_first_then_what_expires_then_what_waited() -> None:
    late, soon = Moment("2027-05-01T00:00:00.000Z"), Moment("2027-04-01T00:00:00.000Z")
    waiting = [
        wanted("never"),
        wanted("late", latest=late),
        wanted("soon", latest=soon, since="2027-03-02T12:00:00.000Z"),
        wanted("soon-before", latest=soon),
        wanted("retires", finishes=True),
    ]
    order = [one.rotation for one in in_order(waiting)]
    assert order == ["retires", "soon-before", "soon", "late", "never"]


def test_others_go_before_one_that_finds_no_place() -> None:
    first = wanted("a", "cluster west", "server pg-2")
    other = wanted("b", "server pg-3")
    assert granted([["cluster west"]], first, other) == ["b"]


def test_what_is_free_for_the_first_is_kept_for_it() -> None:
    """Else those that need one thing alone could keep it waiting for ever."""
    first, others = wanted("a", "cluster west", "server pg-2"), [wanted("b", "server pg-2")] * 2
    assert granted([["cluster west"]], first, *others) == ["b"]
    assert granted([["cluster west"], ["server pg-2"]], first, *others) == []


THINGS = ["server pg-1", "server pg-2", "cluster west", "vault v"]
SOME = st.lists(st.sampled_from(THINGS), min_size=1, unique=True)


@given(st.lists(SOME, max_size=4), st.lists(SOME, max_size=8))
def test_never_more_than_the_limit_and_never_nobody(
    held: list[list[str]], asked: list[list[str]]
) -> None:
    waiting = [wanted(f"r{n}", *things) for n, things in enumerate(asked)]
    found = decide(LIMITS.most, held, waiting)
    before = Counter(thing for things in held for thing in things)
    after = before + Counter(thing for one in found.granted for thing in one.things)
    for thing, number in after.items():
        most = LIMITS.most(thing)
        assert most is None or number <= max(most, before[thing])
    left = [one for line in found.lines.values() for one in line]
    assert sorted(one.rotation for one in [*found.granted, *left]) == sorted(
        one.rotation for one in waiting
    )
    # Where nothing is held, the first in the line has a place, so that there is always an end.
    assert held or not waiting or found.granted
