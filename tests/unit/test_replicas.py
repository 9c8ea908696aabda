"""Read replicas: a new login is proved on each, the replaced one refused on each."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from rotation.config import parse
from rotation.model.activities import Reference
from rotation.model.errors import Denied, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import Session, Slot
from rotation.steps.login import activate, await_sessions, deactivate, disable, stage, verify
from rotation.steps.proving import collect
from rotation.steps.running import Step
from tests.memory import MemoryEdges
from tests.unit.test_config import CREDENTIAL, changed

LAG = 40.0  # seconds


class Site:
    """Blue serves, green has a new login, and two replicas are behind by `LAG`."""

    def __init__(self) -> None:
        file = changed((f"{CREDENTIAL}.database.replicas", ["read-1", {"host": "read-2"}]))
        self.edges = MemoryEdges(parse(yaml.safe_dump(file)))
        self.model = self.edges.world.database
        self.model.lag = LAG
        self.edges.calls.pause(600.0)
        self.version = stage(self.step("green")).version
        activate(self.step("green", version=self.version))

    def step(self, slot: Slot, **more: Any) -> Step:
        return Step(
            self.edges, Reference(rotation="r-1", credential="orders-db", slot=slot, **more)
        )

    def behind(self, act: Any) -> Unavailable:
        with pytest.raises(Unavailable) as caught:
            act()
        assert caught.value.code is Code.REPLICA_BEHIND
        return caught.value

    def calls(self, verb: str) -> list[str]:
        return [call.what for call in self.edges.calls.made if f"database {verb}" in call.what]


def reads(role: str) -> Session:
    return Session(role, "orders-reports", "10.9.9.9", "idle", None)


def test_a_new_login_waits_until_each_replica_has_replayed_it() -> None:
    site = Site()
    assert (
        "read-1:5432"
        in site.behind(lambda: verify(site.step("green", version=site.version))).message
    )
    site.edges.calls.pause(LAG)
    verify(site.step("green", version=site.version))
    assert site.calls("login")[-2:] == [
        "database login orders_green at read-1:5432",
        "database login orders_green at read-2:5432",
    ]


def test_a_refusal_that_no_replay_ends_is_not_waited_for() -> None:
    site = Site()
    refused = Denied(Code.LOGIN_BARRED, "no pg_hba.conf entry")
    site.edges.calls.failing["database login orders_green at read-1"] = refused
    with pytest.raises(Denied, match=r"pg_hba\.conf"):
        verify(site.step("green", version=site.version))


def test_the_way_back_waits_for_no_replica() -> None:
    site = Site()
    site.edges.calls.failing["database login orders_blue at"] = Unavailable(
        Code.DATABASE_UNREACHABLE, "it is down"
    )
    verify(site.step("blue"))
    assert not any(" at " in what for what in site.calls("login"))


def test_the_replaced_login_is_gone_only_where_each_replica_refuses_it() -> None:
    site = Site()
    site.edges.calls.pause(LAG)
    message = site.behind(lambda: deactivate(site.step("green"))).message
    assert "still lets role orders_green in" in message
    assert not site.model.roles["orders_green"].login
    site.behind(lambda: deactivate(site.step("green")))
    site.edges.calls.pause(LAG)
    deactivate(site.step("green"))
    disable(site.step("green"))


def test_a_role_that_was_never_activated_is_asked_for_as_well() -> None:
    site = Site()
    site.model.roles["orders_green"].login = False
    site.model.wrote()
    site.edges.calls.pause(LAG)
    deactivate(site.step("green"))
    assert site.calls("deactivate") == []
    assert site.calls("roles")[-2:] == [
        "database roles orders_green at read-1:5432",
        "database roles orders_green at read-2:5432",
    ]


def test_sessions_that_stayed_on_a_replica_are_waited_for_and_ended() -> None:
    site = Site()
    site.edges.calls.pause(LAG)
    site.model.readers = [reads("orders_green"), reads("orders_blue")]
    watched = await_sessions(site.step("green"))
    assert not watched.done
    site.behind(lambda: deactivate(site.step("green")))
    site.model.readers.append(reads("orders_green"))  # it came back before NOLOGIN was replayed
    site.edges.calls.pause(LAG)
    deactivate(site.step("green"))
    assert [session.role for session in site.model.readers] == ["orders_blue"]
    assert await_sessions(site.step("green")).done


def test_who_reads_from_a_replica_as_the_replaced_role_is_still_there() -> None:
    site = Site()
    site.model.readers = [reads("orders_blue")]
    found = collect(site.edges, site.edges.configuration.credential("orders-db"), "green", "r-1")
    assert found.complete
    # In this memory both replicas have the same sessions.
    assert [(row.application, row.sessions) for row in found.still_in_use] == [
        ("orders-reports", 2)
    ]


def test_a_replica_that_cannot_be_asked_makes_evidence_incomplete() -> None:
    site = Site()
    call = "database sessions orders_blue orders_green at read-2"
    site.edges.calls.failing[call] = Unavailable(Code.DATABASE_UNREACHABLE, "it is down")
    found = collect(site.edges, site.edges.configuration.credential("orders-db"), "green", "r-1")
    assert (found.complete, found.problems) == (False, ["it is down"])
