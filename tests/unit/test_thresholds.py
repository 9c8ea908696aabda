"""Decisions at the very edge: a threshold, a longest name, an answer that is False and not None."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotation.decisions.plan import EVENT_SLACK, Plan, Rotate, Skip, plan
from rotation.decisions.sessions import Origin, network, networks
from rotation.decisions.verdict import (
    LONGEST_COMMENT,
    LONGEST_ID,
    LONGEST_NAME,
    MOST_NAMES,
    verdict,
)
from rotation.model.catalogue import Origin as Asked
from rotation.model.record import Decision, Request
from rotation.model.world import Session, SlotState
from tests.unit.test_plan import MONTH, NOW, ROLE, request, version, world

SECOND = timedelta(seconds=1)
EVENT = request(Asked.NEAR_EXPIRY, secret="orders-blue", version="blue-1")


def at(expires: datetime, asked: Request) -> Plan:
    return plan(world(blue=SlotState(ROLE, version("blue", expires=expires))), asked, NOW, MONTH)


@pytest.mark.parametrize(
    ("asked", "before"),
    [(request(Asked.SWEEP), MONTH), (EVENT, MONTH + EVENT_SLACK)],
    ids=["sweep", "event"],
)
def test_it_is_due_at_the_threshold_and_not_a_second_before(
    asked: Request, before: timedelta
) -> None:
    assert at(NOW + before, asked) == Rotate("blue")
    assert isinstance(at(NOW + before + SECOND, asked), Skip)


GIVEN: dict[str, Any] = {"decision": "reject", "by": "grace@contoso.example"}


def counted(**more: Any) -> Decision:
    found = verdict({**GIVEN, **more}, None)
    assert isinstance(found, Decision), found
    return found


def test_a_name_may_be_as_long_as_it_may() -> None:
    assert counted(by="x" * LONGEST_NAME).by == "x" * LONGEST_NAME
    assert isinstance(verdict({**GIVEN, "by": "x" * (LONGEST_NAME + 1)}, None), str)


def test_what_is_kept_of_a_decision_is_cut() -> None:
    found = counted(
        channel="c" * 1000,
        comment="d" * 10_000,
        id="e" * 1000,
        objectId="f" * 1000,
        knownAs=["g" * 1000] * 100,
    )
    assert found.channel == "c" * LONGEST_NAME
    assert found.comment == "d" * LONGEST_COMMENT
    assert found.id == "e" * LONGEST_ID
    assert found.object_id == "f" * LONGEST_ID
    assert found.known_as == ["g" * LONGEST_NAME] * MOST_NAMES


@pytest.mark.parametrize(
    ("more", "signed_in"), [({}, False), ({"signedIn": "yes"}, False), ({"signedIn": True}, True)]
)
def test_who_has_signed_in_is_said_by_true_alone(more: dict[str, Any], signed_in: bool) -> None:
    assert counted(**more).signed_in is signed_in


@pytest.mark.parametrize("own", [None, "", " ", 7])
def test_what_is_no_object_id_is_none(own: Any) -> None:
    assert counted(objectId=own).object_id is None


def test_what_is_no_list_of_names_is_none() -> None:
    assert counted(knownAs="grace").known_as == []
    assert counted(id=7).id == "7"
    assert counted(id=None).id is None


ORIGIN = Origin("api", "orders-api", networks(["10.0.0.0/24", "fd00::/64", "no address"]), "ranges")
SESSIONS = [
    ("orders-api", "10.0.0.9", True),
    ("orders-api/blue", "10.0.0.9", True),
    ("orders-apix", "10.0.0.9", False),
    ("orders-api", "10.0.1.9", False),
    ("orders-api", "fd00::9", True),
    ("orders-api", "fd01::9", False),
    ("orders-api", "::ffff:10.0.0.9", True),
    ("orders-api", "local", False),
]


@pytest.mark.parametrize(("application", "client", "own"), SESSIONS)
def test_a_session_is_a_workloads(application: str, client: str, own: bool) -> None:
    session = Session("orders_blue", application, client, "idle", datetime.now(UTC))
    assert ORIGIN.has(session) is own


def test_networks() -> None:
    assert [str(one) for one in ORIGIN.networks if one.version == 4] == ["10.0.0.0/24"]
    assert str(network("10.0.0.1")) == "10.0.0.1/32"
    assert network("10.0.0.1/24") is None  # bits of a host
    assert network("local") is None
