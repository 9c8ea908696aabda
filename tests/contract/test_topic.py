"""`rotation.edges.topic` against an Event Grid custom topic: the local one, or
CONTRACT_TOPIC_ENDPOINT's, where that an event arrived cannot be seen. The tests publish events
there whose subject is a credential of the test's name.

What `rotation.contracts.topic` promises is asked of the topic in memory too.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from azure.identity import CredentialUnavailableError, DefaultAzureCredential

from local.process import Component
from local.tls import Authority
from rotation.clouds import PUBLIC
from rotation.edges.topic import EventGridTopic
from rotation.model.errors import Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from tests.contract.conftest import (
    PLACES,
    Tokens,
    at_once,
    faults,
    needs_the_stand_in,
    revoked_once,
)
from tests.local.azure.support import ADMIN, Admin, fetch_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rotation.contracts.topic import Topic
    from rotation.model.wire import JsonObject
    from tests.memory import MemoryEdges

ENDPOINT = os.environ.get("CONTRACT_TOPIC_ENDPOINT")
AUTHORITY = os.environ.get("CONTRACT_TOPIC_CA")  # a file; public authorities unless given


@dataclass(frozen=True)
class Place:
    endpoint: str
    credential: Any
    authority: str | None

    def edge(self, **changes: Any) -> EventGridTopic:
        values = {
            "endpoint": self.endpoint,
            "credential": self.credential,
            "scope": PUBLIC.topics,
            "ca_bundle": self.authority,
        }
        return EventGridTopic(**{**values, **changes})


@pytest.fixture(scope="session")
def component(identity: Component, state: Path) -> Iterator[Component]:
    running = Component.module(
        "topic",
        *("--state", str(state / "topic"), "--identity-state", str(state / "identity")),
        log=state / "topic.log",
        env=ADMIN,
    )
    with running:
        yield running


@pytest.fixture
def place(request: pytest.FixtureRequest, state: Path) -> Place:
    if ENDPOINT:
        return Place(ENDPOINT, DefaultAzureCredential(), AUTHORITY)
    running = request.getfixturevalue("component")
    return Place(running.url, Tokens(state), str(running.facts["ca"]))


@pytest.fixture
def topic(place: Place) -> EventGridTopic:
    return place.edge()


@pytest.fixture
def admin(request: pytest.FixtureRequest) -> Iterator[Admin]:
    needs_the_stand_in("CONTRACT_TOPIC_ENDPOINT")
    yield from faults(request.getfixturevalue("component"))


def event(name: str, **changes: Any) -> JsonObject:
    return {
        "id": f"{name}.1",
        "eventType": "CredentialRotation.Started",
        "subject": f"/credentials/{name}",
        "eventTime": "2027-03-01T12:00:00.000Z",
        "dataVersion": "1",
        "data": {"rotation": name, "text": "ü😀"},
        **changes,
    }


def published(component: Component, name: str) -> list[JsonObject]:
    _, found = fetch_json(f"{component.facts['viewer']}/events?after=0")
    events = found["events"] if isinstance(found, dict) else found
    return [e for e in (each.get("event", each) for each in events) if e["id"] == f"{name}.1"]


@dataclass(frozen=True)
class Observed:
    """A topic, and what arrived of the test's event."""

    topic: Topic
    arrived: Callable[[], list[JsonObject]]


@pytest.fixture(params=PLACES)
def observed(request: pytest.FixtureRequest, memory: MemoryEdges, name: str) -> Observed:
    if request.param == "memory":
        return Observed(memory.topic("https://topic.example"), lambda: memory.world.published)
    needs_the_stand_in("CONTRACT_TOPIC_ENDPOINT", "looks at what arrived")
    component: Component = request.getfixturevalue("component")
    topic: EventGridTopic = request.getfixturevalue("topic")
    return Observed(topic, lambda: published(component, name))


def test_an_event_arrives_as_it_is(observed: Observed, name: str) -> None:
    observed.topic.publish(event(name))
    (found,) = observed.arrived()
    assert found.items() >= {**event(name), "eventTime": found["eventTime"]}.items()
    assert found["eventTime"].startswith("2027-03-01T12:00:00")


def test_an_event_may_be_repeated(observed: Observed, name: str) -> None:
    observed.topic.publish(event(name))
    observed.topic.publish(event(name))
    assert {found["id"] for found in observed.arrived()} == {f"{name}.1"}


STATUSES: list[tuple[int, type[EdgeError], Code]] = [
    (400, Invalid, Code.TOPIC_ERROR),
    (401, Denied, Code.TOPIC_TOKEN),
    (403, Denied, Code.TOPIC_DENIED),
    (404, Missing, Code.TOPIC_MISSING),
    (408, Unavailable, Code.TOPIC_UNAVAILABLE),
    (413, Invalid, Code.TOPIC_ERROR),
    (429, Unavailable, Code.TOPIC_UNAVAILABLE),
    (500, Unavailable, Code.TOPIC_UNAVAILABLE),
    (503, Unavailable, Code.TOPIC_UNAVAILABLE),
]


@pytest.mark.parametrize(("status", "error", "code"), STATUSES)
def test_a_refusal_says_what_it_is(
    topic: EventGridTopic, admin: Admin, name: str, status: int, error: type[EdgeError], code: Code
) -> None:
    admin.fault(match={"path_prefix": "/api"}, status=status, times=9)
    with pytest.raises(error, match=f"did not take event {name}.1: HTTP {status}") as caught:
        topic.publish(event(name))
    assert (type(caught.value), caught.value.code) == (error, code)
    assert [fault["hits"] for fault in admin.faults()] == [1]


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_is_asked_for_is_the_orchestrator_s(
    topic: EventGridTopic, admin: Admin, name: str, status: int
) -> None:
    admin.fault(match={"path_prefix": "/api"}, status=status, times=9, retry_after=30)
    with at_once(30), pytest.raises(Unavailable) as caught:
        topic.publish(event(name))
    assert caught.value.retry_after == 30


def test_a_token_that_is_refused_is_forgotten(place: Place, state: Path, name: str) -> None:
    needs_the_stand_in("CONTRACT_TOPIC_ENDPOINT", "takes the tokens of a local identity")
    signing_in = revoked_once(Tokens(state))
    topic = place.edge(credential=signing_in, refused=signing_in.forget)
    with pytest.raises(Denied):
        topic.publish(event(name))
    topic.publish(event(name))


def test_without_a_token(place: Place, name: str) -> None:
    class Refusing:
        def get_token(self, *_: str, **__: Any) -> Any:
            raise CredentialUnavailableError("hunter2")

    with pytest.raises(Unavailable, match=r"did not take event .*: no token$") as caught:
        place.edge(credential=Refusing()).publish(event(name))
    assert caught.value.code is Code.IDENTITY_MISSING


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_lost_connection_is_worth_a_retry(
    topic: EventGridTopic, admin: Admin, component: Component, name: str, drop: str
) -> None:
    admin.fault(match={"path_prefix": "/api"}, drop=drop)
    with pytest.raises(Unavailable):
        topic.publish(event(name))
    assert len(published(component, name)) == (1 if drop == "after" else 0)


def test_an_event_is_taken_once_and_once_more(topic: EventGridTopic, name: str) -> None:
    topic.publish(event(name))
    topic.publish(event(name))


def test_a_topic_that_is_down(place: Place, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        down = f"https://127.0.0.1:{taken.getsockname()[1]}/api/events"
        with pytest.raises(Unavailable, match=r"^Event Grid topic .* did not take event"):
            place.edge(endpoint=down).publish(event(name))


def test_a_topics_firewall_is_no_missing_grant(
    topic: EventGridTopic, admin: Admin, name: str
) -> None:
    admin.fault(match={"path_prefix": "/api"}, status=403, cause="firewall")
    with pytest.raises(Denied, match="HTTP 403; allow the app's address") as caught:
        topic.publish(event(name))
    assert caught.value.code is Code.TOPIC_FIREWALL
    assert "192.0.2.1" not in caught.value.message


def test_an_unknown_authority_is_refused(place: Place, name: str, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "tls")
    with pytest.raises(Unavailable):
        place.edge(ca_bundle=str(stranger.bundle)).publish(event(name))


def test_a_token_for_somebody_else(place: Place, state: Path, name: str) -> None:
    class Foreign(Tokens):
        def get_token(self, *_: str, **__: Any) -> Any:
            return super().get_token("https://vault.azure.net/.default")

    with pytest.raises(Denied, match="HTTP 401; correct ROTATION_TOPIC_ENDPOINT"):
        place.edge(credential=Foreign(state)).publish(event(name))
