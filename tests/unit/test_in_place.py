"""A workload without a twin: the login in its Secret is exchanged, and its pods read it again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import yaml
from msgspec import structs

from rotation.config import kept, parse
from rotation.decisions import in_place as decided
from rotation.decisions.plan import Refuse, Rotate, doubts
from rotation.front import expiry
from rotation.model import wire
from rotation.model.activities import Planned, Reference, WorkloadTimes
from rotation.model.errors import Conflict, Denied, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import SLOTS, Session, Slot, other
from rotation.pages.views import points
from rotation.steps import exchanging, in_place, login, pods, proving
from rotation.steps.running import Step
from rotation.steps.traffic import confirm, swap, swap_back
from rotation.steps.world import look, snapshot
from tests.memory import MemoryEdges
from tests.unit.test_config import REMOVED, WORKLOAD, changed, credential, problems
from tests.unit.test_plan import decision
from tests.unit.virtual import Story, denied, pytestmark

if TYPE_CHECKING:
    from rotation.model.reasons import Reason
    from tests.memory.cluster import DeploymentState, SecretState

__all__ = ["pytestmark"]

LEDGER: dict[str, Any] = {
    "name": "ledger",
    "cluster": "aks",
    "namespace": "orders",
    "service": "ledger",
    "inPlace": {
        "kind": "StatefulSet",
        "name": "ledger",
        "secret": "ledger-db",
        "then": "restart",
        "roleKey": "username",
    },
}
SECOND = WORKLOAD.replace("0", "1")
KINDS = ["Deployment", "StatefulSet", "DaemonSet"]
THEN = ["restart", "reload"]


NEEDED = "is needed with `format: password`, whose values name no role"


def file(*changes: tuple[str, Any], **settings: Any) -> dict[str, Any]:
    ledger = {**LEDGER, "inPlace": {**LEDGER["inPlace"], **settings}}
    return changed((SECOND, ledger), *changes)


# -- the file


def test_it_has_one_workload_and_one_secret() -> None:
    found = parse(yaml.safe_dump(file())).credential("orders-db").workloads[1]
    assert (found.productions, found.standby, found.stops) == ((), None, False)
    assert found.deployment("blue") == found.deployment("green")
    assert str(found.exchanged) == "orders/ledger-db"
    assert not found.names_role
    assert credential().workloads[0].exchanged is None


def test_what_is_kept_with_a_rotation_says_so_too() -> None:
    configuration = parse(yaml.safe_dump(file()))
    assert kept.read(kept.keep(configuration, "orders-db")) == configuration


@pytest.mark.parametrize(
    ("changes", "where", "text"),
    [
        ([(f"{SECOND}.preview", "p")], "", "`preview` does not go with `inPlace`"),
        ([(f"{SECOND}.template", "sync")], "", "`template` does not go with `inPlace`"),
        ([(f"{SECOND}.overlap", True)], "", "`overlap` does not go with `inPlace`"),
        ([(f"{SECOND}.services", ["x"])], "", "`services` does not go with `inPlace`"),
        (
            [(f"{SECOND}.deployments", {"blue": "a-blue", "green": "a-green"})],
            "",
            "give one of `deployments`, `cronJobs`, `inPlace`",
        ),
        ([(f"{SECOND}.inPlace", REMOVED)], "", "give one of `deployments`, `cronJobs`, `inPlace`"),
        (
            [(f"{SECOND}.service", REMOVED), (f"{SECOND}.tests", [{"path": "/"}])],
            "",
            "a test with a `path` goes through `service`",
        ),
        (
            [(f"{SECOND}.inPlace.roleKey", REMOVED)],
            ".inPlace.roleKey",
            f"{NEEDED}: each slot has another one",
        ),
        (
            [(f"{SECOND}.inPlace.roleKey", "password")],
            "",
            "`roleKey` must be another key than `key`",
        ),
        (
            [(f"{SECOND}.inPlace.kind", "ReplicaSet")],
            ".inPlace.kind",
            "Input should be 'Deployment', 'StatefulSet' or 'DaemonSet'",
        ),
    ],
)
def test_what_does_not_go_with_it_is_refused(changes: Any, where: str, text: str) -> None:
    assert f"{SECOND}{where}: {text}" in problems(file(*changes))


def test_a_value_that_names_the_role_needs_no_key_for_it() -> None:
    without = file((f"{SECOND}.inPlace.roleKey", REMOVED), ("credentials.orders-db.format", "url"))
    assert parse(yaml.safe_dump(without)).credentials


def test_two_workloads_never_share_the_secret() -> None:
    third = SECOND.replace("1", "2")
    again = {**LEDGER, "name": "journal", "service": "journal"}
    again["inPlace"] = {**again["inPlace"], "name": "journal"}
    assert problems(file((third, again))) == [
        f"{third}.inPlace.secret: is the same as {SECOND}.inPlace.secret"
    ]


def test_nor_does_a_slot_of_another_one_read_it() -> None:
    secrets = {"blue": "ledger-db", "green": "api-db"}
    found = file((f"{WORKLOAD}.delivery", "secret"), (f"{WORKLOAD}.secrets", secrets))
    assert problems(found) == [f"{SECOND}.inPlace.secret: is the same as {WORKLOAD}.secrets.blue"]


def test_a_deployment_is_one_of_a_pair_or_in_place() -> None:
    found = file((f"{SECOND}.inPlace.kind", "Deployment"), (f"{SECOND}.inPlace.name", "api-blue"))
    assert f"{SECOND}.inPlace.name: is the same as {WORKLOAD}.deployments.blue" in problems(found)


# -- the world


class World:
    """A web application and a workload in place, served by blue; green's login is made."""

    def __init__(self, then: str = "restart", kind: str = "StatefulSet", **more: Any) -> None:
        document = file(**{"then": then, "kind": kind, **more})
        configuration = parse(yaml.safe_dump(document))
        self.edges = MemoryEdges(configuration)
        self.credential = configuration.credential("orders-db")
        self.then = then
        self.edges.world.write(self.credential, "green", "a password of the slot")
        role = self.edges.world.database.roles["orders_green"]
        role.login, role.password = True, "a password of the slot"
        self.edges.calls.made.clear()

    @property
    def workload(self) -> DeploymentState:
        return self.edges.world.clusters["aks"].deployments["orders", "ledger"]

    @property
    def secret(self) -> SecretState:
        return self.edges.world.clusters["aks"].secrets["orders", "ledger-db"]

    def step(self, slot: Slot, name: str = "ledger", **more: Any) -> Step:
        reference = Reference(rotation="r-1", credential="orders-db", workload=name, slot=slot)
        return Step(self.edges, structs.replace(reference, **more))

    def settle(self) -> None:
        self.edges.calls.pause(0.0)

    def exchange(self) -> None:
        swap(self.step("green"))
        self.settle()

    @property
    def roles(self) -> set[str]:
        """The roles that its pods log in as."""
        return {self.workload.role_of(pod) for pod in self.workload.pods}

    @property
    def writes(self) -> list[str]:
        return [what.removeprefix("cluster ").split(" ")[0] for what in self.edges.calls.writes]

    def problems(self) -> list[tuple[str, str]]:
        seen = snapshot(self.edges, "orders-db", self.credential)
        found = decision(replace(seen, workloads=seen.workloads[1:]))
        assert isinstance(found, Refuse), found
        return [(one.code, one.text) for one in found.problems]


@pytest.fixture(params=[(then, kind) for then in THEN for kind in KINDS], ids=str)
def found(request: pytest.FixtureRequest) -> World:
    return World(*request.param)


# -- the plan


def test_a_healthy_one_rotates(found: World) -> None:
    seen = snapshot(found.edges, "orders-db", found.credential)
    assert decision(seen) == Rotate("blue")
    again = exchanging.state(found.edges, found.credential, found.credential.workloads[1])
    assert again == seen.workloads[1]


def test_the_slot_is_read_from_the_secret(found: World) -> None:
    state = snapshot(found.edges, "orders-db", found.credential).workloads[1]
    assert (state.selected, state.productions) == ({"blue"}, {})
    assert expiry.look(found.edges, "orders-db").slot == "blue"
    found.secret.slot = "green"
    assert expiry.look(found.edges, "orders-db").slot is None


@pytest.mark.parametrize(
    ("slot", "said"),
    [(None, "names no slot"), ("purple", "names no slot")],
)
def test_a_secret_that_names_no_slot_is_refused_with_the_command(
    slot: str | None, said: str
) -> None:
    found = World()
    found.secret.slot = slot
    problem = found.problems()[1]
    command = "kubectl annotate --namespace orders secret ledger-db credential-rotation/slot="
    assert problem[0] == Code.EXCHANGED_UNNAMED
    assert said in problem[1]
    assert command in problem[1]


def test_a_secret_that_is_gone_is_refused() -> None:
    found = World()
    del found.edges.world.clusters["aks"].secrets["orders", "ledger-db"]
    text = "workload ledger: its Secret orders/ledger-db does not exist"
    assert found.problems()[1:] == [(Code.EXCHANGED_MISSING, text)]


def test_an_immutable_one_is_refused() -> None:
    found = World()
    found.secret.immutable = True
    assert [code for code, _ in found.problems()] == [Code.EXCHANGED_IMMUTABLE]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("username", "orders_green", "has the other role, that of green"),
        ("username", "hunter2-by-mistake", "has neither slot's role"),
        ("password", "\n", "has no value that can be read under its key"),
    ],
)
def test_one_with_another_login_is_refused_and_not_quoted(key: str, value: str, said: str) -> None:
    found = World()
    found.secret.data[key] = value
    ((code, text),) = found.problems()
    assert code == Code.EXCHANGED_LOGIN
    assert said in text
    assert value not in text


def test_a_value_that_names_another_role_than_its_key_is_refused() -> None:
    document = file((f"{SECOND}.inPlace.roleKey", "user"), ("credentials.orders-db.format", "url"))
    configuration = parse(yaml.safe_dump(document))
    edges, orders = MemoryEdges(configuration), configuration.credential("orders-db")
    state = exchanging.state(edges, orders, orders.workloads[1]).in_place
    assert state is not None
    assert (state.holds, state.readable) == ("blue", True)
    edges.world.clusters["aks"].secrets["orders", "ledger-db"].data["user"] = "orders_green"
    state = exchanging.state(edges, orders, orders.workloads[1]).in_place
    assert state is not None
    assert state.holds is None


def test_a_workload_that_is_gone_or_has_no_pods_is_refused() -> None:
    found = World()
    found.workload.replicas = 0
    assert [code for code, _ in found.problems()] == [Code.ACTIVE_AT_ZERO]
    del found.edges.world.clusters["aks"].deployments["orders", "ledger"]
    text = "workload ledger: StatefulSet orders/ledger does not exist"
    assert found.problems() == [(Code.DEPLOYMENT_MISSING, text)]


def test_one_that_would_not_restart_its_pods_is_refused() -> None:
    found = World()
    found.workload.stays = "its updateStrategy is OnDelete"
    ((code, text),) = found.problems()
    assert code == Code.NEVER_RESTARTED
    assert text.endswith("would not replace all of its pods: its updateStrategy is OnDelete")
    found = World("reload")
    found.workload.stays = "its updateStrategy is OnDelete"
    seen = snapshot(found.edges, "orders-db", found.credential)
    assert not isinstance(decision(seen), Refuse)


def test_one_that_restarts_its_only_pod_is_told_of() -> None:
    found = World()
    for replicas, told in ((1, True), (2, False)):
        found.workload.replicas = replicas
        seen = snapshot(found.edges, "orders-db", found.credential)
        codes = {one.code for one in doubts(seen, "blue")}
        assert (Code.TAKES_ALL_DOWN in codes) == told


def refused(found: World) -> list[Reason]:
    seen = snapshot(found.edges, "orders-db", found.credential)
    return look(found.edges, found.credential, seen).reasons("refuses")


def test_a_standby_role_that_its_pods_use_is_refused(found: World) -> None:
    """It would get another password: an earlier rotation could not be brought to its end."""
    assert refused(found) == []
    pod = found.workload.pods[0]
    found.edges.world.database.jobs = [Session("orders_green", "x", pod.address, "idle", None)]
    (problem,) = refused(found)
    assert problem.code == Code.LOGIN_IN_USE
    assert f"role orders_green, which would get another password, has sessions from {pod.name}" in (
        problem.text
    )


VOLUME = {"name": "login", "secret": {"secretName": "ledger-db"}}
PROJECTED = {"name": "login", "projected": {"sources": [{"secret": {"name": "ledger-db"}}]}}
MOUNT = {"name": "login", "mountPath": "/mnt"}
KEY = {"name": "ledger-db", "key": "password"}


@pytest.mark.parametrize(
    ("container", "volumes", "expected"),
    [
        ({}, [VOLUME], set()),
        ({"volumeMounts": [MOUNT]}, [VOLUME], {"volume"}),
        ({"volumeMounts": [MOUNT]}, [PROJECTED], {"volume"}),
        ({"volumeMounts": [MOUNT]}, [{**VOLUME, "name": "other"}], set()),
        ({"volumeMounts": [{**MOUNT, "subPath": "password"}]}, [VOLUME], {"subPath"}),
        ({"env": [{"name": "P", "valueFrom": {"secretKeyRef": KEY}}]}, [], {"env"}),
        ({"env": [{"name": "P", "value": "ledger-db"}]}, [], set()),
        ({"envFrom": [{"secretRef": {"name": "ledger-db"}}]}, [], {"env"}),
        ({"envFrom": [{"secretRef": {"name": "other"}}]}, [], set()),
    ],
)
@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_how_pods_read_the_secret(
    container: dict[str, Any], volumes: Any, expected: set[str], kind: str
) -> None:
    template = {"spec": {kind: [{"name": "app", **container}], "volumes": volumes}}
    assert decided.readings(template, "ledger-db") == expected


@pytest.mark.parametrize(
    ("readings", "then", "said"),
    [
        (set(), "restart", "neither as a volume nor as a variable"),
        (set(), "reload", "neither as a volume nor as a variable"),
        ({"env"}, "reload", "as a variable, which no pod reads again"),
        ({"subPath", "volume"}, "reload", "by a subPath, which no pod reads again"),
        ({"env", "subPath"}, "restart", ""),
        ({"volume"}, "reload", ""),
    ],
)
def test_pods_that_would_never_read_it_are_refused(readings: Any, then: str, said: str) -> None:
    found = World(then)
    seen = snapshot(found.edges, "orders-db", found.credential).workloads[1]
    assert seen.in_place is not None
    state = replace(seen, in_place=replace(seen.in_place, readings=frozenset(readings)))
    codes = {each.code: each.text for each in decided.problems(state, "blue")}
    assert list(codes) == ([Code.LOGIN_NEVER_READ] if said else [])
    assert said in "".join(codes.values())


# -- the steps


@pytest.mark.guarantee(3)
def test_the_login_is_written_and_read_again(found: World) -> None:
    found.exchange()
    assert found.secret.data == {"username": "orders_green", "password": "a password of the slot"}
    assert (found.secret.slot, found.secret.by) == ("green", "r-1")
    assert found.roles == {"orders_green"}
    assert found.writes == ["exchange", *(["restart"] if found.then == "restart" else [])]
    assert in_place.await_login(found.step("green")).done
    assert "a password of the slot" not in str(found.edges.calls.made)


@pytest.mark.guarantee(4)
def test_an_exchange_may_run_twice_or_be_cut_off_anywhere(found: World) -> None:
    found.edges.calls.failing["cluster restart"] = Unavailable(Code.CLUSTER_UNAVAILABLE, "no")
    for _ in range(2):
        try:
            swap(found.step("green"))
        except Unavailable:
            found.edges.calls.failing.clear()
    swap(found.step("green"))
    found.settle()
    assert found.writes.count("exchange") == 1
    assert found.roles == {"orders_green"}
    revision = found.workload.revision
    swap(found.step("green"))
    assert found.workload.revision == revision


def test_no_other_workload_is_sent_into_a_rollout() -> None:
    found = World()
    found.workload.pods[0].ready_at = None
    with pytest.raises(Unavailable, match="cannot be restarted now: 1 of 2 pods are ready"):
        swap(found.step("green"))
    assert found.writes == []


def test_pods_whose_login_was_cut_get_the_new_one_whatever_they_are() -> None:
    """None of them is ready without it: to wait for that would be to wait for ever."""
    found = World()
    for pod in found.workload.pods:
        pod.ready_at = None
    swap(found.step("green", cut=True))
    assert "exchange" in found.writes


def test_a_login_that_does_not_work_is_not_written(found: World) -> None:
    found.edges.world.database.roles["orders_green"].password = "another"
    with pytest.raises(Denied):
        swap(found.step("green"))
    assert found.writes == []


@pytest.mark.guarantee(4)
def test_the_way_back_writes_the_former(found: World) -> None:
    former = dict(found.secret.data)
    found.exchange()
    swap_back(found.step("blue", back=True))
    found.settle()
    assert found.secret.data == former
    assert found.secret.slot == "blue"
    assert found.roles == {"orders_blue"}
    assert in_place.await_login(found.step("blue", back=True)).done
    again = found.workload.revision
    swap_back(found.step("blue", back=True))
    assert found.workload.revision == again


def test_pods_that_started_meanwhile_are_restarted_on_the_way_back() -> None:
    """A swap that was cut off before the restart: a pod that starts by itself has the new login."""
    found = World()
    found.edges.calls.failing["cluster restart"] = Unavailable(Code.CLUSTER_UNAVAILABLE, "no")
    with pytest.raises(Unavailable):
        swap(found.step("green"))
    found.edges.calls.failing.clear()
    found.edges.world.clusters["aks"].evict(found.workload)
    found.settle()
    assert found.roles == {"orders_blue", "orders_green"}
    swap_back(found.step("blue", back=True))
    found.settle()
    assert found.roles == {"orders_blue"}


def test_where_nothing_was_exchanged_the_way_back_restarts_nothing(found: World) -> None:
    swap_back(found.step("blue", back=True))
    assert found.writes == ["fence_secret"]
    assert in_place.await_login(found.step("blue", back=True)).done


@pytest.mark.guarantee(4)
@pytest.mark.parametrize("verb", ["exchange", "restart"])
def test_what_was_held_up_comes_to_nothing_after_the_way_back(verb: str) -> None:
    found = World()
    pods_of = found.edges.pods("aks")
    original = getattr(type(pods_of), verb)

    def late(self: Any, *given: Any, **named: Any) -> None:
        with mock.patch.object(type(pods_of), verb, original):
            swap_back(found.step("blue", back=True))
            found.settle()
        original(self, *given, **named)

    with mock.patch.object(type(pods_of), verb, late), pytest.raises(Unavailable) as caught:
        swap(found.step("green"))
    assert caught.value.code is Code.CLUSTER_CONFLICT
    found.settle()
    assert (found.secret.slot, found.roles) == ("blue", {"orders_blue"})
    with pytest.raises(Conflict, match="is on its way back"):
        swap(found.step("green"))


def test_a_secret_that_somebody_else_changed_is_left_alone(found: World) -> None:
    found.secret.slot = None
    for move in (swap, swap_back):
        with pytest.raises(Conflict, match="names no slot: somebody else changed it"):
            move(found.step("green"))
    del found.edges.world.clusters["aks"].secrets["orders", "ledger-db"]
    with pytest.raises((Conflict, Missing), match="orders/ledger-db"):
        swap(found.step("green"))


# -- the proof


@pytest.mark.parametrize("then", THEN)
def test_a_pod_without_a_session_is_waited_for(then: str) -> None:
    found = World(then)
    found.exchange()
    pod = found.workload.pods[0]
    pod.connected = False
    watched = in_place.await_login(found.step("green"))
    assert (watched.done, watched.code) == (False, Code.LOGIN_UNREAD)
    assert watched.observed == f"no session of role orders_green from {pod.name} yet"


def test_a_pod_that_keeps_a_former_session_is_waited_for() -> None:
    found = World("reload")
    found.exchange()
    pod = found.workload.pods[0]
    found.edges.world.database.jobs = [Session("orders_blue", "x", pod.address, "idle", None)]
    watched = in_place.await_login(found.step("green"))
    assert (watched.done, watched.code) == (False, Code.LOGIN_UNREAD)


def test_pods_that_have_not_read_it_yet_are_waited_for() -> None:
    found = World("reload")
    found.workload.reloads = False
    swap(found.step("green"))
    assert not in_place.await_login(found.step("green")).done


def test_a_restart_that_somebody_undid_is_waited_for() -> None:
    found = World()
    found.exchange()
    found.workload.restarted = None
    watched = in_place.await_login(found.step("green"))
    assert not watched.done
    assert "somebody has undone that" in watched.observed


def test_a_restart_under_way_is_waited_for_and_explained() -> None:
    found = World()
    found.exchange()
    found.workload.pods[0].ready_at = None
    watched = in_place.await_login(found.step("green"))
    assert (watched.done, watched.code) == (False, Code.NOT_READY)
    assert "1 of 2 pods are ready" in watched.observed
    assert "kubectl describe --namespace orders pod/ledger-" in watched.observed


def test_another_login_than_the_slots_is_no_wait(found: World) -> None:
    with pytest.raises(Conflict, match="holds the login of blue, not of green"):
        in_place.await_login(found.step("green"))


def test_after_a_restart_back_sessions_are_not_asked_for() -> None:
    """Its pods are new and ready; a pool may open its sessions late."""
    found = World()
    found.exchange()
    swap_back(found.step("blue"))
    found.settle()
    for pod in found.workload.pods:
        pod.connected = False
    assert in_place.await_login(found.step("blue", back=True)).done


# -- what is taken away


@pytest.mark.guarantee(1)
def test_the_role_that_serves_is_never_taken_away(found: World) -> None:
    for slot in SLOTS:
        held = found.secret.slot = slot
        found.edges.world.clusters["aks"].services["orders", "api"].selector["slot"] = other(slot)
        with pytest.raises(Conflict, match=f"orders/ledger-db holds the login of {held}"):
            found.step(slot, "api").standby.deactivate()


def test_the_former_role_keeps_its_login_until_no_pod_uses_it(found: World) -> None:
    found.exchange()
    assert pods.await_gone(found.step("blue")).done
    pod = found.workload.pods[0]
    found.edges.world.database.jobs = [
        Session("orders_blue", "x", pod.address, "idle", None),
        Session("orders_blue", "x", "10.9.9.9", "idle", None),
    ]
    watched = pods.await_gone(found.step("blue"))
    assert (watched.done, watched.code) == (False, Code.LOGIN_IN_USE)
    assert watched.observed == f"role orders_blue has sessions from {pod.name}"


def test_it_is_confirmed_by_its_secret_and_a_ready_pod(found: World) -> None:
    in_place.confirm(found.edges, found.credential.workloads[1], "blue")
    with pytest.raises(Conflict, match="holds the login of blue, not of green"):
        in_place.confirm(found.edges, found.credential.workloads[1], "green")
    for pod in found.workload.pods:
        pod.ready_at = None
    with pytest.raises(Unavailable, match="does not serve: 0 of 2 pods are ready"):
        confirm(found.step("blue"))


def test_the_evidence_shows_what_each_pod_uses(found: World) -> None:
    found.exchange()
    shown = proving.collect(found.edges, found.credential, "green", "r-1")
    assert set(shown.pods["ledger"]) == {"green"}
    (result,) = shown.tests["ledger"]
    assert (result.passed, result.role) == (True, "orders_green")
    mine = [row for row in shown.sessions if row.workload == "ledger"]
    assert {(row.role, row.slot) for row in mine} == {("orders_green", "green")}
    assert "ledger" not in shown.templates  # it has one


def test_a_former_session_of_its_pods_is_still_in_use(found: World) -> None:
    """Nothing ends with a retirement: the pods stay."""
    found.exchange()
    pod = found.workload.pods[0]
    found.edges.world.database.jobs = [Session("orders_blue", "x", pod.address, "idle", None)]
    shown = proving.collect(found.edges, found.credential, "green", "r-1")
    assert "ledger" in [row.workload for row in shown.still_in_use]
    assert not shown.passed
    said = [point.text for point in points(shown, "blue", "orders_blue")]
    assert any(text.endswith(": 1 session, waited for on approval") for text in said), said


def test_before_the_exchange_the_database_alone_is_asked() -> None:
    found = World()
    query = {"sql": "select session_user", "value": "{role}", "repeat": 1}
    tests = [query, {"path": "/whoami", "json": {"role": "{role}"}, "repeat": 1}]
    document = file()
    document["credentials"]["orders-db"]["workloads"][1]["tests"] = tests
    configuration = parse(yaml.safe_dump(document))
    found.edges.configuration = configuration
    found.credential = configuration.credential("orders-db")
    proving.test(found.step("green", through="preview"))
    asked = [call.what for call in found.edges.calls.made if " ask " in call.what]
    assert asked == []


def test_a_login_is_deactivated_only_after_the_exchange(found: World) -> None:
    with pytest.raises(Conflict):
        login.deactivate(found.step("blue"))


# -- the story


class InPlace(Story):
    """A story of a web application and a workload in place."""

    def plan(self, *, calm: bool = True) -> dict[str, Any]:
        planned = wire.read(Planned, super().plan(calm=calm))
        assert planned.policy is not None
        times = WorkloadTimes(20.0, 20.0, in_place=True)
        workloads = {**planned.policy.workloads, "ledger": times}
        policy = structs.replace(planned.policy, workloads=workloads)
        return wire.value_of(structs.replace(planned, policy=policy))

    def of(self, name: str) -> list[str]:
        """What was done with one workload."""
        return [
            f"{activity} {reference['slot']}"
            for _, activity, reference in self.calls
            if reference.get("workload") == name
        ]


WAITING = {"done": False, "observed": "no session of role orders_green from ledger-0 yet"}


def test_it_waits_until_its_pods_use_the_login() -> None:
    story = InPlace("api", "ledger")
    assert story.approve().outcome == "completed"
    assert story.of("ledger") == [
        "test green",
        "swap green",
        "await_login green",
        "test green",
        "await_gone blue",
    ]
    assert "await_login green" not in story.of("api")


def test_pods_that_do_not_take_it_send_the_rotation_back() -> None:
    story = InPlace("api", "ledger")
    story.script["await_login"] = lambda reference: (
        WAITING if reference["slot"] == "green" else {"done": True}
    )
    output = story.run()
    assert output.outcome == "rolled-back"
    assert str(WAITING["observed"]) in str(output.outcome_reason)
    assert output.reasons[0].code == Code.LOGIN_UNREAD
    back = story.of("ledger")[-3:]
    assert back == ["swap_back blue", "await_login blue", "await_gone green"]
    waits = [one for _, name, one in story.calls if name == "await_login"]
    assert [one.get("back", False) for one in waits][-1]


def test_a_rejection_writes_the_former_again() -> None:
    story = InPlace("api", "ledger")
    story.to_approval().decide("reject")
    assert story.run().outcome == "rolled-back"
    assert story.of("ledger")[-3:] == ["swap_back blue", "await_login blue", "await_gone green"]


def test_a_former_role_in_use_keeps_its_login() -> None:
    story = InPlace("api", "ledger")
    story.script["await_gone"] = lambda reference: (
        {"done": False, "observed": "role orders_blue has sessions from ledger-0"}
        if reference["workload"] == "ledger"
        else {"done": True}
    )
    output = story.approve()
    assert output.outcome == "needs-attention"
    assert output.reasons[0].code == Code.LOGIN_IN_USE
    assert "deactivate blue" not in story.names()


def test_a_way_back_that_fails_needs_a_person_and_destroys_nothing() -> None:
    story = InPlace("api", "ledger")
    story.script["await_login"] = WAITING
    output = story.run()
    assert output.outcome == "needs-attention"
    assert not {"deactivate green", "disable green"} & set(story.names())


def test_an_exchange_that_is_refused_goes_back() -> None:
    story = InPlace("api", "ledger")
    story.script["swap"] = lambda reference: (
        denied(reference) if reference["workload"] == "ledger" else {}
    )
    assert story.run().outcome == "rolled-back"
