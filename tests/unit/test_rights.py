"""Who may what: every kind of person with every action, and what is told of what nobody sees."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from rotation.config import Configuration, kept
from rotation.decisions.rights import Action, People, Way, may
from rotation.front import archive, history, rights
from rotation.front.approvers import Decider, entra, keyed, not_entitled, recipient
from rotation.front.hub import unavailable
from rotation.front.principals import Principal
from rotation.front.problems import Problem
from rotation.front.rotations import describe
from rotation.model import wire
from rotation.model.activities import Part as Given
from rotation.model.activities import Reference, Retry, WorkloadTimes
from rotation.model.catalogue import Origin, Stage
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code, Reason
from rotation.model.record import Request, ShownRecord, new_record
from tests.memory import MemoryEdges
from tests.unit.people import NOW, ROTATION, FakeClient, Instance, configuration, record

VERA, STAN, APRIL, OTTO, APP = (f"{n}0000000-0000-4000-8000-000000000000" for n in range(1, 6))
STARTER, APPROVER, ELSE = "stan@contoso.example", "april@contoso.example", "otto@contoso.example"
GROUP = "90000000-0000-4000-8000-000000000000"
LISTS: dict[str, Any] = {
    "viewers": [VERA, GROUP, {"id": "8" * 8 + GROUP[8:], "address": "vic@contoso.example"}],
    "starters": [{"id": STAN, "address": STARTER}, "Rotation.Start"],
    "approvers": [{"id": APRIL, "address": APPROVER}, "Rotation.Approve"],
}


def file(**lists: Any) -> Configuration:
    """One credential, with these lists."""
    found = configuration(approvers=lists.get("approvers", []))
    document = found.model_dump(by_alias=True, exclude_defaults=True)
    own = document["credentials"]["orders-db"]
    own |= {key: lists[key] for key in ("viewers", "starters") if key in lists}
    own["approval"] = {"approvers": lists.get("approvers", [])}
    return Configuration.model_validate(document)


def person(own: str, *, groups: tuple[str, ...] = (), roles: tuple[str, ...] = ()) -> Decider:
    names = frozenset({own, f"{own[0]}@contoso.example"})
    known = Principal(own, own, names, frozenset(groups), frozenset(roles), True, False)
    return entra(known, "page")


# Each kind of person. None holds a function key and has not said who they are.
KINDS: dict[str, Decider | None] = {
    "viewer": person(VERA),
    "viewer by group": person(OTTO, groups=(GROUP,)),
    "starter": person(STAN),
    "starter by role": person(OTTO, roles=("Rotation.Start",)),
    "approver": person(APRIL),
    "approver by role": person(OTTO, roles=("Rotation.Approve",)),
    "other": person(OTTO),
    "app as itself": entra(
        Principal(APP, APP, frozenset({APP}), frozenset(), frozenset(), False, False), "http"
    ),
    "key": None,
    "key, starter's address": keyed(STARTER, "http"),
    "key, approver's address": keyed(APPROVER, "http"),
    "key, other name": keyed(ELSE, "http"),
    "key, starter's object id": keyed(STAN, "http"),
    "link of an approver": recipient(APPROVER),
    "link of somebody taken off": recipient(ELSE),
    "link of a starter": recipient(STARTER),
}
ACTIONS = (
    Action.SEE,
    Action.DRY_RUN,
    Action.START,
    Action.RETRY,
    Action.CANCEL,
    Action.APPROVE,
    Action.REJECT,
    Action.WAIVE,
    Action.INCIDENT,
    Action.CUT_FIRST,
)
# By kind: where all three lists have somebody; where none has; where only viewers are listed. A
# letter for each action above, in that order, a dot where they may not.
TABLE = {
    "viewer": ("sd........", "sdtrc.....", "sdtrc....."),
    "viewer by group": ("sd........", "sdtrc.....", "sdtrc....."),
    "starter": ("sdtrc.....", "sdtrc.....", "..trc....."),
    "starter by role": ("sdtrc.....", "sdtrc.....", "..trc....."),
    "approver": ("sd..cajwif", "sdtrc.....", "..trc....."),
    "approver by role": ("sd..cajwif", "sdtrc.....", "..trc....."),
    "other": ("..........", "sdtrc.....", "..trc....."),
    "app as itself": ("..........", "sdtrc.....", "..trc....."),
    "key": ("sd........", "sdtrcajwi.", "sdtrcajwi."),
    "key, starter's address": ("sdtrc.....", "sdtrcajwi.", "sdtrcajwi."),
    "key, approver's address": ("sd..cajwi.", "sdtrcajwi.", "sdtrcajwi."),
    "key, other name": ("sd........", "sdtrcajwi.", "sdtrcajwi."),
    "key, starter's object id": ("sd........", "sdtrcajwi.", "sdtrcajwi."),
    "link of an approver": ("s...caj...", "s.........", "s........."),
    "link of somebody taken off": ("s.........", "s.........", "s........."),
    "link of a starter": ("s.........", "s.........", "s........."),
}
FILES = (file(**LISTS), file(), file(viewers=LISTS["viewers"]))
LETTERS = "sdtrcajwif"


def allowed(who: Decider | None, configured: Configuration) -> str:
    credential = configured.credentials["orders-db"]
    return "".join(
        letter if rights.allows(action, who, credential) else "."
        for letter, action in zip(LETTERS, ACTIONS, strict=True)
    )


def test_the_table_has_every_action_and_every_kind() -> None:
    assert set(ACTIONS) == set(Action)
    assert TABLE.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_everybody_may_what_the_table_says(kind: str) -> None:
    assert tuple(allowed(KINDS[kind], each) for each in FILES) == TABLE[kind]


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("way", Way)
def test_to_be_listed_takes_nothing_away(action: Action, way: Way) -> None:
    every = [{one for n, one in enumerate(People) if mask & (1 << n)} for mask in range(8)]
    for listed in every:
        nobody = may(action, way, listed, set())
        for on in (each for each in every if each <= listed):
            assert may(action, way, listed, on) >= nobody
            assert may(action, way, listed, listed) >= may(action, way, listed, on)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind] is not None])
@pytest.mark.parametrize("action", [Action.APPROVE, Action.REJECT, Action.WAIVE])
def test_who_decides_is_asked_the_same(kind: str, action: Action) -> None:
    who = KINDS[kind]
    assert who is not None
    for configured in FILES:
        credential = configured.credentials["orders-db"]
        barred = not_entitled(who, credential.approval, action)
        assert (barred is None) is rights.allows(action, who, credential)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", rights.ASKED)
def test_a_refusal_says_who_may(kind: str, action: Action) -> None:
    credential = FILES[0].credentials["orders-db"]
    said = rights.refusal(action, KINDS[kind], credential)
    assert (said is None) is rights.allows(action, KINDS[kind], credential)
    if said is not None and "link" not in kind:
        may_do = said.partition(": it can be ")[2]
        assert STARTER in may_do
        assert (APPROVER in may_do) is (action is Action.CANCEL)


def test_a_refusal_names_ten_at_most() -> None:
    many = [f"Start.{n}" for n in range(30)]
    credential = file(starters=many).credentials["orders-db"]
    said = rights.refusal(Action.START, KINDS["other"], credential)
    assert said is not None
    assert said.endswith("Start.9 and 20 more")


# -- a credential that the file lost


class Hub(FakeClient):
    """With the part that was started with the entry that the rotation was planned with."""

    def __init__(self, entry: str | None, **shown: Any) -> None:
        super().__init__(record(**shown))
        self.entry = entry

    async def get_status(self, instance_id: str, **_: Any) -> Instance | None:
        if self.entry is None or instance_id != f"{ROTATION}.prepare.api":
            return await super().get_status(instance_id)
        reference = Reference(rotation=ROTATION, credential="orders-db", entry=self.entry)
        part = Given(reference, Retry(1.0), WorkloadTimes(1.0, 1.0))
        given = json.dumps(wire.value_of(part))
        return Instance(instance_id, "prepare_workload", None, given)


def lost(planned: Configuration | None, restricted: bool, others: bool, kind: str) -> bool:
    """Whether somebody sees a rotation whose credential is gone. `planned` is the file that it was
    planned with, None where that is not known any more; `others` have viewers in today's."""
    today = file(viewers=[VERA]) if others else file()
    renamed = {"billing-db": today.credentials["orders-db"]}
    edges = MemoryEdges(file(), now=NOW)
    edges.configuration = today.model_copy(update={"credentials": renamed})
    asked = {**record()["request"], "restricted": restricted}
    hub: Any = Hub(kept.keep(planned, "orders-db") if planned else None, request=asked)
    found = describe(hub.instance)
    return asyncio.run(rights.sees_rotation(edges, hub, KINDS[kind], found))


@pytest.mark.parametrize("kind", ["viewer", "starter", "approver", "other"])
@pytest.mark.parametrize("others", [False, True])
def test_its_entry_of_then_says_who_sees_it(kind: str, others: bool) -> None:
    seen = lost(file(**LISTS), True, others, kind)
    assert seen is (kind != "other")


@pytest.mark.parametrize("kind", ["viewer", "starter", "approver", "other"])
def test_without_its_entry_nobody_who_has_signed_in_sees_what_was_restricted(kind: str) -> None:
    assert not lost(None, True, False, kind)
    assert not lost(None, False, True, kind)


@pytest.mark.parametrize("kind", ["viewer", "other"])
def test_where_nobody_is_listed_it_is_seen_as_before(kind: str) -> None:
    assert lost(None, False, False, kind)
    assert lost(file(), False, False, kind)


@pytest.mark.parametrize("kind", ["key", "key, other name", "link of an approver"])
def test_a_key_and_a_link_see_it_all_the_same(kind: str) -> None:
    assert lost(None, True, True, kind)


def test_a_hub_that_is_away_is_told_without_the_name_of_what_is_not_seen() -> None:
    class Away(Hub):
        async def get_status(self, instance_id: str, **_: Any) -> Instance | None:
            raise unavailable(f"{instance_id} could not be looked up")

    edges = MemoryEdges(file(), now=NOW)
    edges.configuration = file().model_copy(update={"credentials": {}})
    hub: Any = Away(None, request={**record()["request"], "restricted": True})
    with pytest.raises(Unavailable) as found:
        asyncio.run(rights.sees_rotation(edges, hub, KINDS["other"], describe(hub.instance)))
    assert "orders-db" not in found.value.message


def test_an_entry_that_cannot_be_read_opens_nothing() -> None:
    edges = MemoryEdges(file(), now=NOW)
    edges.configuration = file().model_copy(update={"credentials": {}})
    asked = {**record()["request"], "restricted": True}
    hub: Any = Hub("not an entry", request=asked)
    found = describe(hub.instance)
    assert not asyncio.run(rights.sees_rotation(edges, hub, KINDS["approver"], found))


# -- what is told of what nobody sees


def test_a_credential_that_is_not_seen_is_one_that_is_not_there() -> None:
    def said(configured: Configuration, name: str) -> dict[str, Any]:
        with pytest.raises(Problem) as found:
            rights.demand_seen(MemoryEdges(configured), KINDS["other"], name)
        return {"status": found.value.status, "text": found.value.reason.text}

    hidden, nowhere = said(FILES[0], "orders-db"), said(FILES[0], "orders-dc")
    assert hidden["text"].replace("orders-db", "orders-dc") == nowhere["text"]
    assert hidden["status"] == nowhere["status"] == 404


def two() -> MemoryEdges:
    """Two credentials, one of which nobody but its own viewer sees."""
    both = {
        "orders-db": file(viewers=[VERA]).credentials["orders-db"],
        "orders": file(viewers=[OTTO]).credentials["orders-db"],
    }
    edges = MemoryEdges(file(), now=NOW)
    edges.configuration = file().model_copy(update={"credentials": both})
    return edges


class Empty:
    """A task hub that has forgotten all."""

    async def get_status(self, *_: Any, **__: Any) -> None:
        return None

    async def get_status_by(self, **_: Any) -> list[Any]:
        return []


def walked(edges: MemoryEdges, kind: str, limit: int) -> list[list[str]]:
    """The ids of each page, by the cursors of the ones before."""
    span: archive.Span | None = archive.Span(NOW - timedelta(days=30), NOW + timedelta(days=1))
    pages = []
    while span is not None:
        search = history.Search(span, None, KINDS[kind], limit)
        found = asyncio.run(history.page(edges, Empty(), search))
        assert found.incomplete is None
        pages.append([one.rotation for one in found.records])
        span = history.beginning(span, found.next) if found.next else None
    return pages


def keep(edges: MemoryEdges, credential: str, number: int) -> str:
    at = NOW - timedelta(minutes=number)
    rotation = f"{credential}-{at:%Y%m%dT%H%M%S}-{number:04x}"
    asked = Request(
        rotation=rotation,
        credential=credential,
        origin=Origin.MANUAL,
        requested_by="x",
        reason="",
    )
    value = wire.value_of(new_record(asked, Stage.DONE, wire.moment(at)))
    status = {"runtimeStatus": "Completed", "created": wire.moment(at), "updated": None}
    shown = wire.read(ShownRecord, {**value, "outcome": "completed", **status})
    archive.write(edges.store("records"), shown)
    return rotation


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
def test_pages_are_full_and_end_where_there_is_no_more_to_see(limit: int) -> None:
    edges = two()
    own = [keep(edges, "orders", number) for number in range(0, 60, 10)]
    others = [keep(edges, "orders-db", number) for number in range(60) if number % 10]
    pages = walked(edges, "other", limit)
    assert [one for page in pages for one in page] == own
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert pages[-1]
    assert [one for page in walked(edges, "viewer", limit) for one in page] == others
    assert sum(map(len, walked(edges, "key", limit))) == 60
    assert walked(edges, "starter", limit) == [[]]


def test_a_cursor_never_names_a_rotation_that_is_not_seen() -> None:
    edges = two()
    mine = keep(edges, "orders", 1)
    keep(edges, "orders-db", 2)
    keep(edges, "orders", 3)
    span = archive.Span(NOW - timedelta(days=30), NOW + timedelta(days=1))
    search = history.Search(span, None, KINDS["other"], 1)
    found = asyncio.run(history.page(edges, Empty(), search))
    assert found.next is not None
    begins = history.beginning(span, found.next)
    assert begins is not None
    assert archive.rotation_of(begins.after) == mine


def test_few_names_of_others_are_read_on_the_way() -> None:
    """Records of others are left out by their names: none of their files is read."""
    edges = two()
    for number in range(50):
        keep(edges, "orders-db", number)
    own = keep(edges, "orders", 50)
    edges.calls.made.clear()
    assert walked(edges, "other", 10) == [[own]]
    reads = [call for call in edges.calls.made if "by-id/" in str(call)]
    assert len(reads) <= 1


def test_what_cannot_be_read_is_told_without_the_name_of_what_is_not_seen() -> None:
    """Of a credential that the file has lost, only its record says who sees it."""
    edges = two()
    keep(edges, "gone", 1)
    away = Unavailable(Code.STORAGE_UNAVAILABLE, "could not read by-id/gone-1.json in records")
    edges.calls.failing = {"storage read records/by-id/gone": away}
    span = archive.Span(NOW - timedelta(days=30), NOW + timedelta(days=1))

    def incomplete(kind: str) -> Reason:
        search = history.Search(span, None, KINDS[kind], 5)
        found = asyncio.run(history.page(edges, Empty(), search)).incomplete
        assert found is not None
        return found

    assert "gone" not in str(incomplete("other"))
    assert incomplete("other").code == incomplete("key").code == Code.STORAGE_UNAVAILABLE
    assert "gone" in incomplete("key").text
