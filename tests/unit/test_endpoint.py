"""The endpoint that applications connect to: a new login is proved there, and nothing else done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation.config import parse
from rotation.model.activities import Reference
from rotation.model.errors import Denied, Unavailable
from rotation.model.reasons import Code
from rotation.steps.login import activate, deactivate, stage, verify
from rotation.steps.running import Step
from tests.memory import MemoryEdges
from tests.unit.test_config import CREDENTIAL, changed

if TYPE_CHECKING:
    from rotation.model.world import Slot

LATE = 40.0  # seconds
THERE = " through pooler:6432"


class Site:
    """Blue serves, green has a new login, of which the pooler hears after `LATE`."""

    def __init__(self, endpoint: dict[str, Any] | None) -> None:
        change = [] if endpoint is None else [(f"{CREDENTIAL}.database.endpoint", endpoint)]
        self.edges = MemoryEdges(parse(yaml.safe_dump(changed(*change))))
        self.edges.world.database.late = LATE
        self.edges.calls.pause(600.0)
        self.version = stage(self.step("green")).version
        activate(self.step("green", version=self.version))

    def step(self, slot: Slot, **more: Any) -> Step:
        reference = Reference(rotation="r-1", credential="orders-db", slot=slot, **more)
        return Step(self.edges, reference)

    def verify(self) -> None:
        verify(self.step("green", version=self.version))

    def calls(self) -> list[str]:
        return [call.what for call in self.edges.calls.made if THERE in call.what]


@pytest.fixture
def site() -> Site:
    return Site({"host": "pooler", "port": 6432})


def test_a_new_login_waits_until_the_endpoint_knows_it(site: Site) -> None:
    with pytest.raises(Unavailable, match="the endpoint pooler:6432 does not know") as caught:
        site.verify()
    assert caught.value.code is Code.ENDPOINT_BEHIND
    site.edges.calls.pause(LATE)
    site.verify()
    assert site.calls() == [f"database login orders_green{THERE}"]


def test_a_refusal_that_no_list_ends_is_not_waited_for(site: Site) -> None:
    refused = Denied(Code.LOGIN_BARRED, "no such database")
    site.edges.calls.failing[f"database login orders_green{THERE}"] = refused
    with pytest.raises(Denied, match="no such database"):
        site.verify()


def test_the_way_back_and_the_end_of_a_login_ask_no_endpoint(site: Site) -> None:
    verify(site.step("blue"))
    deactivate(site.step("green"))
    assert site.calls() == []


def test_without_an_endpoint_the_server_is_enough() -> None:
    site = Site(None)
    site.verify()
    assert site.calls() == []


def test_the_endpoint_is_a_server_of_its_own_tls() -> None:
    change = {"host": "pooler", "port": 6432, "sslmode": "require", "sslrootcert": "pooler.pem"}
    for endpoint, expected in (
        (change, ("pooler", 6432, "require", "pooler.pem")),
        ("pooler", ("pooler", 5432, "verify-full", None)),
    ):
        file = yaml.safe_dump(changed((f"{CREDENTIAL}.database.endpoint", endpoint)))
        front = parse(file).credential("orders-db").database.front
        assert front is not None
        assert (front.host, front.port, front.sslmode, front.sslrootcert) == expected
