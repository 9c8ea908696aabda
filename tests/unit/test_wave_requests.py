"""What a wave may be asked for with, whom it means, who may ask, see and cancel it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation.config import kept, parse
from rotation.front import api, samples, waves
from rotation.front.approvers import keyed
from rotation.front.credentials import look
from rotation.front.problems import Problem
from rotation.model import wire
from rotation.model.errors import ConfigurationError
from rotation.model.waves import Wave, WaveMember
from rotation.pages import views
from tests.memory import MemoryEdges
from tests.memory.clock import START
from tests.memory.world import LEFT
from tests.unit.people import FakeClient
from tests.unit.test_config import VALID

if TYPE_CHECKING:
    from rotation.config import Configuration

ADA, EVE = "ada@contoso.example", "eve@contoso.example"


def file(credentials: dict[str, dict[str, Any]]) -> Configuration:
    (entry,) = VALID["credentials"].values()
    found: dict[str, Any] = {}
    for name, changes in credentials.items():
        one = json.loads(json.dumps(entry))
        for slot, login in one["slots"].items():
            login |= {"role": f"{name}_{slot}", "secret": f"{name}-{slot}"}
        one["database"]["name"] = name
        for workload in one["workloads"]:
            _rename(workload, name)
        found[name] = one | changes
    return parse(yaml.safe_dump({**VALID, "credentials": found}))


def _rename(workload: dict[str, Any], name: str) -> None:
    workload["namespace"] = name


CONFIGURATION = file(
    {
        "dev-db": {"labels": {"tier": "dev", "team": "orders"}},
        "orders-db": {"labels": {"team": "orders"}},
        "web-db": {"starters": [EVE]},
    }
)


@pytest.fixture
def edges() -> MemoryEdges:
    return MemoryEdges(CONFIGURATION)


def post(edges: MemoryEdges, client: FakeClient | None = None, **document: Any) -> Any:
    given = {"by": ADA, **document}
    answer = asyncio.run(api.start(edges, client or FakeClient(), given))
    return json.loads(answer.get_body())


def refused(edges: MemoryEdges, **document: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        post(edges, **document)
    return caught.value


# -- the file


def test_labels_are_those_of_kubernetes() -> None:
    assert CONFIGURATION.credential("dev-db").labels == {"tier": "dev", "team": "orders"}
    again = kept.read(kept.keep(CONFIGURATION, "dev-db")).credential("dev-db")
    assert again == CONFIGURATION.credential("dev-db")


@pytest.mark.parametrize(
    "labels", [{"a b": "x"}, {"team": "no spaces"}, {"": "x"}, {"x": "y" * 64}]
)
def test_other_labels_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="label"):
        file({"orders-db": {"labels": labels}})


# -- whom it means


@pytest.mark.parametrize(
    ("select", "batches"),
    [
        ({"credentials": ["orders-db", "dev-db"]}, [["dev-db"], ["orders-db"]]),
        ({"labels": {"team": "orders"}}, [["dev-db"], ["orders-db"]]),
        ({"labels": {"team": "orders", "tier": "dev"}}, [["dev-db"]]),
        ({"all": True}, [["dev-db"], ["orders-db"]]),
        ({"credentials": ["orders-db"], "labels": {"team": "orders"}}, [["orders-db"]]),
    ],
)
def test_it_means_what_all_parts_are_true_of(
    edges: MemoryEdges, select: dict[str, Any], batches: list[list[str]]
) -> None:
    answer = post(edges, select=select, dryRun=True)
    assert (answer["wave"], answer["batches"]) == (None, batches)


def test_who_may_not_be_started_is_named(edges: MemoryEdges) -> None:
    answer = post(edges, select={"all": True}, dryRun=True)
    (left,) = answer["left"]
    assert left["credential"] == "web-db"
    assert "the starters of this credential do not include" in left["text"]
    assert post(edges, select={"all": True}, by=EVE, dryRun=True)["left"] == []


def test_what_expires_soon_by_the_last_look(edges: MemoryEdges) -> None:
    soon, late = (LEFT + timedelta(days=n) for n in (1, -1))
    samples.keep(edges, look(edges, "orders-db", None))
    answer = post(edges, select={"all": True, "dueWithin": f"{soon.days}d"}, dryRun=True)
    assert answer["batches"] == [["orders-db"]]
    unknown = {
        "credential": "dev-db",
        "text": "it is not known when the secret that serves expires",
    }
    assert unknown in answer["left"]
    problem = refused(edges, select={"credentials": ["orders-db"], "dueWithin": f"{late.days}d"})
    assert "means no credential" in str(problem)


def test_the_canary_can_be_chosen(edges: MemoryEdges) -> None:
    asked: dict[str, Any] = {"select": {"all": True}, "dryRun": True, "by": EVE, "size": 1}
    chosen = post(edges, **asked, canary="orders-db")["batches"]
    assert chosen == [["orders-db"], ["dev-db"], ["web-db"]]
    assert post(edges, **{**asked, "size": 2}, canary=False)["batches"] == [
        ["dev-db", "orders-db"],
        ["web-db"],
    ]


@pytest.mark.parametrize(
    ("document", "field", "text"),
    [
        ({"select": {}}, "select", "at least one of"),
        ({"select": ["orders-db"]}, "select", "must be an object"),
        ({"select": {"credential": "orders-db"}}, "select.credential", "there are: credentials"),
        ({"select": {"credentials": "orders-db"}}, "select.credentials", "list of names"),
        ({"select": {"credentials": []}}, "select.credentials", "list of names"),
        ({"select": {"credentials": ["a", "a"]}}, "select.credentials", "each once"),
        ({"select": {"credentials": [["a"]]}}, "select.credentials", "list of names"),
        ({"select": {"labels": {}}}, "select.labels", "an object of labels"),
        ({"select": {"labels": {"team": 1}}}, "select.labels", "as texts"),
        ({"select": {"dueWithin": "soon"}}, "select.dueWithin", "'soon'"),
        ({"select": {"all": False}}, "select.all", "must be true"),
        ({"select": {"all": True, "labels": {"a": "b"}}}, "select.all", "goes with neither"),
        ({"select": {"all": True}, "credential": "orders-db"}, "credential", "is not a field"),
        ({"select": {"all": True}, "waive": []}, "waive", "goes with one 'credential'"),
        ({"select": {"all": True}, "size": 0}, "size", "from 1 to 40"),
        ({"select": {"all": True}, "size": True}, "size", "from 1 to 40"),
        ({"select": {"all": True}, "stopAfter": "2"}, "stopAfter", "from 1 to"),
        ({"select": {"all": True}, "pause": "a while"}, "pause", "'pause'"),
        ({"select": {"all": True}, "pause": "31d"}, "pause", "at most 30d"),
        ({"select": {"all": True}, "canary": "web-db"}, "canary", "is selected and can be"),
        ({"select": {"all": True}, "canary": True}, "canary", "must be false, or"),
        ({"select": {"all": True}, "outsideWindow": " "}, "outsideWindow", "must be a text"),
        ({"select": {"all": True}, "dryRun": "no"}, "dryRun", "true or false"),
        ({"select": {"credentials": ["web-db"]}}, "select", "the starters of this credential"),
    ],
)
def test_what_is_refused_is_named(
    edges: MemoryEdges, document: dict[str, Any], field: str, text: str
) -> None:
    problem = refused(edges, **document)
    assert (problem.status, problem.more.get("field")) == (400, field)
    assert text in str(problem)


def test_a_name_that_is_not_there_is_refused(edges: MemoryEdges) -> None:
    assert refused(edges, select={"credentials": ["other"]}).status == 404


# -- starting, seeing, cancelling


def test_it_is_started_with_all_that_it_needs(edges: MemoryEdges) -> None:
    client = FakeClient()
    answer = post(edges, client, select={"all": True}, reason="the yearly one", pause="1h")
    (given,) = client.started
    wave = wire.read(Wave, given)
    assert answer["wave"] == wave.wave
    assert waves.ID.fullmatch(wave.wave)
    assert answer["links"]["page"].endswith(f"/api/pages/waves/{wave.wave}")
    assert (wave.requested_by, wave.known_as, wave.pause) == (ADA, [ADA], 3600.0)
    assert [one.credential for one in wave.members] == ["dev-db", "orders-db"]
    assert len({one.rotation for one in wave.members}) == 2


def of(*names: str, **more: Any) -> Wave:
    members = [WaveMember(credential=name, rotation=f"{name}-r") for name in names]
    given = {"first": 1, "size": 2, "pause": 0.0, "stop_after": 1, "reason": "", **more}
    return Wave(
        wave="wave.20270301T120000-ab12",
        requested_by=ADA,
        select={"all": True},
        members=members,
        **given,
    )


def test_whoever_may_not_cancel_each_may_not_cancel_it(edges: MemoryEdges) -> None:
    ada, eve = (keyed(one, "http") for one in (ADA, EVE))
    assert waves.why_not_cancelled(edges, ada, of("dev-db", "orders-db")) is None
    why_not = waves.why_not_cancelled(edges, ada, of("dev-db", "web-db"))
    assert why_not is not None
    assert why_not.startswith("web-db: ")
    assert waves.why_not_cancelled(edges, eve, of("web-db")) is None


def test_one_that_has_ended_is_not_cancelled(edges: MemoryEdges, monkeypatch: Any) -> None:
    async def ended(*_: object) -> Wave:
        return of("dev-db", cancelling=None, phase="completed")

    monkeypatch.setattr(waves, "find", ended)
    document = {"by": ADA, "comment": "no"}
    name = "wave.20270301T120000-ab12"
    with pytest.raises(Problem, match="it has ended: completed") as caught:
        asyncio.run(api.cancel_a_wave(edges, FakeClient(), name, document))
    assert caught.value.status == 409
    with pytest.raises(Problem, match="must be keep or cancel"):
        asyncio.run(api.cancel_a_wave(edges, FakeClient(), name, {**document, "running": "x"}))


@pytest.mark.parametrize(
    ("phase", "tone", "title"),
    [
        ("running", "busy", "Under way: 1 of 2"),
        ("pausing", "calm", "Pauses after 1 of 2"),
        ("completed", "good", "All have begun: 1 of 2 are through, or wait for a decision"),
        ("stopped", "bad", "Stopped after 1 of 2"),
        ("cancelled", "calm", "Cancelled after 1 of 2"),
    ],
)
def test_a_page_says_how_far_it_is(phase: Any, tone: str, title: str) -> None:
    wave = of("dev-db", "orders-db", phase=phase)
    wave.members[0] = WaveMember(credential="dev-db", rotation="r", state="waiting")
    found = views.wave(wave)
    assert (found.tone, found.title) == (tone, title)


def test_the_start_is_when_it_is() -> None:
    name = waves.rotation_id("wave.20270301T120000-ab12", START, "orders-db")
    assert name.startswith(f"orders-db-{START:%Y%m%dT%H%M%S}-")
