"""The proof by sessions: which login a slot's pods use, where no route of theirs tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from rotation.config import parse
from rotation.config.doubts import doubts
from rotation.decisions.proof import missing_sessions, wrong_login
from rotation.decisions.sessions import Origin, networks
from rotation.model.activities import Reference
from rotation.model.errors import Denied, Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.record import KnownBy
from rotation.model.record import TestResult as Result
from rotation.model.world import Pod, Session
from rotation.steps import proving
from rotation.steps.proving import collect
from rotation.steps.running import Step
from rotation.steps.world import proved_by_sessions
from tests.memory import MemoryEdges
from tests.memory.cluster import NODE
from tests.unit.test_config import CREDENTIAL, NAMED, REMOVED, WORKLOAD, changed

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
NEW, OLD = "orders_green", "orders_blue"
HEALTHY = {"path": "/healthz", "repeat": 1}


def pod(number: int, *, ready: bool = True) -> Pod:
    return Pod(f"api-green-{number}", (f"10.0.0.{number}",), ("10.9.0.1",), NOW, ready)


def session(number: int, role: str = NEW, age: float = 0, application: str = "") -> Session:
    since = NOW - timedelta(seconds=age)
    return Session(role, application, f"10.0.0.{number}", "idle", since)


def origins(known_by: KnownBy) -> list[Origin]:
    match known_by:
        case "pods":
            return [Origin("api", None, networks(["10.0.0.1", "10.0.0.2"]), "pods", "green")]
        case "nodes":
            return [Origin("api", "api", networks(["10.9.0.1"]), "nodes")]
        case "ranges":
            return [Origin("api", "api", networks(["10.0.0.0/24"]), "ranges")]


def missing(known_by: KnownBy, *sessions: Session, pods: tuple[Pod, ...] = ()) -> str | None:
    own = pods or (pod(1), pod(2))
    found = missing_sessions(sessions, origins(known_by), own, NEW, known_by)
    assert found is None or found.code == Code.PROOF_MISSING
    return found.text if found else None


@pytest.mark.parametrize(
    ("known_by", "sessions", "lacking"),
    [
        ("pods", [session(1), session(2)], None),
        ("pods", [session(1)], "api-green-2"),
        ("pods", [], "api-green-1, api-green-2"),
        ("pods", [session(1), session(2, OLD)], "api-green-2"),
        ("pods", [session(1), session(3)], "api-green-2"),
        ("pods", [session(1), session(2, age=600)], "api-green-2"),  # begun before the pod was
        ("pods", [session(1), session(2, age=100)], None),  # by another clock
        ("nodes", [session(1, application="api")], "10.9.0.1"),
        ("ranges", [session(9, application="api")], None),
        ("ranges", [session(9, application="psql")], "the ranges in `addresses`"),
    ],
)
def test_which_sessions_are_missing(
    known_by: KnownBy, sessions: list[Session], lacking: str | None
) -> None:
    expected = f"no session of role {NEW} from {lacking} yet" if lacking else None
    assert missing(known_by, *sessions) == expected


def test_on_nodes_a_session_of_the_workloads_name_will_do() -> None:
    found = Session(NEW, "api/green", "10.9.0.1", "idle", NOW)
    assert missing("nodes", found) is None


def test_pods_that_are_not_ready_need_none() -> None:
    assert missing("pods", session(1), pods=(pod(1), pod(2, ready=False))) is None
    assert missing("pods", session(1), pods=(pod(1, ready=False),)) == "no pod of the slot is ready"


def test_many_are_counted() -> None:
    many = tuple(pod(number) for number in range(1, 7))
    text = missing("pods", pods=many)
    assert (
        text
        == f"no session of role {NEW} from api-green-1, api-green-2, api-green-3 and 3 more yet"
    )


def test_pods_that_use_the_other_login_are_found() -> None:
    own, pods = origins("pods"), [pod(1), pod(2)]
    found = wrong_login([session(1), session(2, OLD), session(9, OLD)], own, pods, OLD)
    assert found is not None
    assert (found.code, found.text.rpartition(" ")[2]) == (Code.PROOF_OTHER_ROLE, "10.0.0.2")
    assert wrong_login([session(9, OLD)], own, pods, OLD) is None


def test_a_session_of_a_pod_that_had_the_address_before_is_no_use_of_the_other_login() -> None:
    """One whose node died, say: the server has yet to notice."""
    own, pods = origins("pods"), [pod(1), pod(2)]
    assert wrong_login([session(2, OLD, age=600)], own, pods, OLD) is None
    assert wrong_login([session(2, OLD, age=100)], own, pods, OLD) is not None


@pytest.mark.parametrize("known_by", ["nodes", "ranges"])
def test_where_both_slots_share_addresses_nobody_can_tell(known_by: KnownBy) -> None:
    found = wrong_login([session(1, OLD, application="api")], origins(known_by), [pod(1)], OLD)
    assert found is None


# -- the step, and what people are told


def edges(*changes: tuple[str, Any], tests: object = REMOVED) -> MemoryEdges:
    """Green serves, and would be tested before it did as well."""
    file = changed((f"{WORKLOAD}.tests", tests), *changes)
    found = MemoryEdges(parse(yaml.safe_dump(file)), active={"orders-db": "green"})
    found.world.clusters["aks"].services["orders", "api-preview"].selector["slot"] = "green"
    return found


def run(found: MemoryEdges, through: Any = "preview") -> None:
    reference = Reference(
        rotation="r-1", credential="orders-db", slot="green", workload="api", through=through
    )
    proving.test(Step(found, reference))


@pytest.mark.parametrize("through", ["preview", "service"])
@pytest.mark.parametrize("tests", [REMOVED, [], [HEALTHY]])
def test_sessions_are_proof_enough(tests: object, through: str) -> None:
    run(edges(tests=tests), through)


def lose(found: MemoryEdges) -> None:
    for deployment in found.world.clusters["aks"].deployments.values():
        for each in deployment.pods:
            each.connected = False


def test_before_the_swap_an_application_may_take_its_time_to_connect() -> None:
    found = edges(tests=[])
    lose(found)
    with pytest.raises(Unavailable) as caught:
        run(found)
    assert caught.value.code is Code.PROOF_MISSING
    assert "no session of role orders_green from api-green-1, api-green-2 yet" in str(caught.value)


def test_an_application_that_is_asked_first_connects_then() -> None:
    """The sessions are looked at after the requests of the workload's own tests, in each round."""
    found = edges(tests=[HEALTHY])
    run(found)
    reads = found.calls.reads
    asked = next(i for i, what in enumerate(reads) if " ask " in what)
    assert asked < next(i for i, what in enumerate(reads) if "sessions" in what)


def test_after_the_swap_an_idle_pool_stops_nothing() -> None:
    found = edges(tests=[])
    lose(found)
    run(found, "service")
    (result,) = collect(found, found.configuration.credential("orders-db"), "green", "r-1").tests[
        "api"
    ]
    assert (result.passed, result.role) == (True, None)


@pytest.mark.parametrize("through", ["preview", "service"])
def test_a_slot_whose_pods_use_the_replaced_login_does_not_pass(through: str) -> None:
    found = edges(tests=[])
    own = found.pods("aks").listed(
        found.configuration.credential("orders-db").workloads[0].deployment("green")
    )
    found.world.database.jobs = [Session(OLD, "", own[0].addresses[0], "idle", None)]
    with pytest.raises(Invalid, match="sessions of the replaced role orders_blue"):
        run(found, through)
    evidence = collect(found, found.configuration.credential("orders-db"), "green", "r-1")
    assert (evidence.passed, [row.slot for row in evidence.still_in_use]) == (False, ["green"])


def test_what_cannot_be_looked_at_proves_nothing() -> None:
    found = edges(tests=[])
    found.calls.failing["database sessions"] = Denied(Code.DATABASE_RIGHT, "the database refuses")
    with pytest.raises(Denied, match="the database refuses"):
        run(found)


def test_evidence_says_which_proof_it_is() -> None:
    found = edges(tests=[HEALTHY])
    tests = collect(found, found.configuration.credential("orders-db"), "green", "r-1").tests["api"]
    assert tests[1] == Result(
        test="database sessions", passed=True, problem=None, attempts=1, role=NEW
    )


@pytest.mark.parametrize(
    ("addresses", "from_where"),
    [("pods", "its pods"), ("nodes", "its pods' nodes"), (["10.0.0.0/24"], "its addresses")],
)
def test_whoever_plans_is_told_which_proof_it_is(addresses: object, from_where: str) -> None:
    found = edges((f"{WORKLOAD}.addresses", addresses))
    (doubt,) = proved_by_sessions(found.configuration.credential("orders-db"))
    assert doubt.code == Code.PROOF_BY_SESSIONS
    assert doubt.text == f"workload api: sessions from {from_where} prove which role serves"
    assert [path for path, _ in doubts(found.configuration)][-1] == f"{NAMED}.tests"


@pytest.mark.parametrize(
    "one",
    [
        {"path": "/whoami"},
        {"path": "/whoami", "json": {"role": "orders_green"}},
        {"url": "https://x/", "json": {"r": "{role}"}},  # does not reach the standby
    ],
)
def test_what_does_not_name_the_role_before_the_swap_is_no_proof(one: object) -> None:
    assert list(proved_by_sessions(edges(tests=[one]).configuration.credential("orders-db")))


def test_a_route_that_names_the_role_needs_no_sessions() -> None:
    route = {"path": "/whoami", "json": {"role": "{role}"}}
    found = edges((f"{CREDENTIAL}.drain", "9s"), tests=[route])
    lose(found)
    assert not list(proved_by_sessions(found.configuration.credential("orders-db")))
    run(found)
    assert not [what for what in found.calls.reads if "sessions" in what]


def test_a_pod_in_its_nodes_network_vouches_for_its_own_name_only() -> None:
    """Others there have its address."""
    found = edges()
    cluster = found.world.clusters["aks"]
    for deployment in cluster.deployments.values():
        deployment.host_network = True
    found.world.database.jobs = [Session(OLD, name, NODE, "idle", None) for name in ("api", "x")]
    evidence = collect(found, found.configuration.credential("orders-db"), "green", "r-1")
    assert [row.application for row in evidence.still_in_use] == ["x"]
