"""What changes a slot looks right before whether the slot serves, and there is no way around it."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import yaml

from rotation import steps
from rotation.config import parse
from rotation.contracts import cron_jobs, database, edges, pods, vault
from rotation.model.errors import Conflict
from rotation.model.reasons import Code
from rotation.secrecy import Secret
from rotation.steps import guards, running
from rotation.steps.guards import Arriving, Standby
from tests.memory import MemoryEdges
from tests.memory.calls import Call
from tests.memory.clock import START
from tests.memory.unguarded import GUARDED, Guarded, unguarded
from tests.unit.test_config import VALID, WORKLOAD, changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotation.model.world import Slot, Template

# The second one, on a cluster of its own, reads a Kubernetes Secret.
WEB = {
    **VALID["credentials"]["orders-db"]["workloads"][0],
    "name": "web",
    "cluster": "north",
    "service": "web",
    "preview": "web-preview",
    "deployments": {"blue": "web-blue", "green": "web-green"},
    "delivery": "secret",
    "secrets": {"blue": "web-db-blue", "green": "web-db-green"},
}
CONFIGURATION = parse(
    yaml.safe_dump(
        changed(
            ("clusters.north", {"server": "https://north.example"}),
            (WORKLOAD.replace("0", "1"), WEB),
        )
    )
)
CREDENTIAL = CONFIGURATION.credential("orders-db")
API, READS_SECRET = CREDENTIAL.workloads
LOOKS = [Call("read", f"cluster route orders/{name} slot") for name in ("api", "web")]

# Each verb of the guards, with a slot's guard to call it on.
CALLS: dict[str, Callable[[Standby], object] | Callable[[Arriving], object]] = {
    "Standby.put": lambda guard: guard.put(
        Secret("hunter2"), expires=START, content_type="text/plain", tags={}
    ),
    "Standby.disable": lambda guard: guard.disable("v1"),
    "Standby.activate": lambda guard: guard.activate(Secret("hunter2")),
    "Standby.deactivate": lambda guard: guard.deactivate(),
    "Standby.terminate": lambda guard: guard.terminate(),
    "Standby.deliver": lambda guard: guard.deliver(READS_SECRET, Secret("hunter2"), "v1"),
    "Standby.start": lambda guard: guard.start(
        API, replicas=1, images={}, version="v1", revision=None
    ),
    "Standby.sync": lambda guard: guard.sync(
        API, template(), replicas=1, version="v1", revision=None
    ),
    "Standby.scale_down": lambda guard: guard.scale_down(API, None),
    "Standby.preview": lambda guard: guard.preview(API, "green"),
    "Arriving.scale_up": lambda guard: guard.scale_up(3, None),
    "Arriving.level": lambda guard: guard.level(replicas=1, images={}, version=None, revision=None),
    "Arriving.sync": lambda guard: guard.sync(template(), replicas=1, version=None, revision=None),
    "Arriving.preview": lambda guard: guard.preview("green"),
}


def template() -> Template:
    """The pod template of the standby, as it was found."""
    state = MemoryEdges(CONFIGURATION).world.clusters["aks"].deployments["orders", "api-green"]
    return state.template


def prepared() -> MemoryEdges:
    """Blue serves; green has what each verb needs."""
    found = MemoryEdges(CONFIGURATION)
    version = found.world.write(CREDENTIAL, "green", "a password of the slot")
    version.version = "v1"
    return found


def call(verb: Guarded, found: MemoryEdges, slot: Slot) -> None:
    guard: Standby | Arriving
    if verb.guard is Standby:
        guard = Standby(found, CREDENTIAL, slot, "orders-db-1")
    else:
        guard = Arriving(found, API, slot, "orders-db-1")
    made: Callable[[Any], object] = CALLS[str(verb)]
    made(guard)


def serve(found: MemoryEdges, name: str, slot: Slot) -> None:
    """Somebody moves a workload's traffic."""
    cluster = found.world.clusters["aks" if name == "api" else "north"]
    cluster.select(cluster.services["orders", name], slot)


def serving(verb: Guarded) -> tuple[str, ...]:
    """Workloads whose traffic keeps the verb from its slot."""
    return ("api", "web") if verb.guard is Standby else ("api",)


def check_that_it_refuses(verb: Guarded) -> None:
    for name in serving(verb):
        found = prepared()
        serve(found, name, "green")
        with pytest.raises(Conflict, match=f"Service orders/{name} routes to green") as caught:
            call(verb, found, "green")
        assert caught.value.code is Code.SERVES_TRAFFIC
        assert found.calls.writes == []


def check_that_it_looks_last(verb: Guarded) -> None:
    """Held up between the look and the change, it must have nothing else to wait for."""
    found = prepared()
    call(verb, found, "green")
    *_, write = found.calls.made
    looks = LOOKS[: len(serving(verb))]
    assert found.calls.made[-len(looks) - 1 :] == [*looks, write]
    assert found.calls.writes == [write.what]


def test_each_verb_is_tried_here() -> None:
    assert [str(verb) for verb in GUARDED] == list(CALLS)


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("verb", GUARDED, ids=str)
def test_a_slot_that_serves_is_not_changed(verb: Guarded) -> None:
    check_that_it_refuses(verb)


@pytest.mark.parametrize("verb", GUARDED, ids=str)
def test_the_look_comes_right_before_the_change(verb: Guarded) -> None:
    check_that_it_looks_last(verb)


@pytest.mark.parametrize("verb", GUARDED, ids=str)
@pytest.mark.parametrize("check", [check_that_it_refuses, check_that_it_looks_last])
def test_a_verb_without_its_look_fails_just_its_own_test(
    verb: Guarded, check: Callable[[Guarded], None]
) -> None:
    with mock.patch.object(*unguarded(verb)):
        assert [one for one in GUARDED if fails(check, one)] == [verb]


def fails(check: Callable[[Guarded], None], verb: Guarded) -> bool:
    try:
        check(verb)
    except (AssertionError, pytest.fail.Exception):
        return True
    return False


def test_a_slot_may_get_more_pods_though_another_workload_is_on_it() -> None:
    found = prepared()
    serve(found, "web", "green")
    Arriving(found, API, "green", "orders-db-1").scale_up(3, None)
    assert found.calls.writes == ["cluster scale orders/api-green to 3"]


def test_a_service_that_is_gone_serves_nothing() -> None:
    found = prepared()
    del found.world.clusters["aks"].services["orders", "api"]
    Standby(found, CREDENTIAL, "green", "orders-db-1").scale_down(API, None)
    assert found.calls.writes == ["cluster scale orders/api-green to 0"]


def test_pods_that_fetch_their_secret_are_delivered_nothing() -> None:
    found = prepared()
    Standby(found, CREDENTIAL, "green", "orders-db-1").deliver(API, Secret("hunter2"), "v1")
    assert found.calls.made == []


# No third way: who may name what changes a slot.

GIVES_ACCESS = {"guards.py", "running.py"}
CONTRACTS = (edges.Edges, vault.Vault, database.Database, pods.Pods, cron_jobs.CronJobs)
CHANGING = {contract.__name__ for contract in CONTRACTS}
MODULES = sorted(Path(str(steps.__file__)).parent.glob("*.py"))


def taken(module: Path) -> Iterator[str]:
    """What a module's source names that could change a slot past the guards."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        match node:
            case ast.ImportFrom(module="rotation.contracts", names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(origin)) if origin.startswith("rotation.contracts"):
                yield from (alias.name for alias in node.names if alias.name in CHANGING | {"*"})
            case ast.ImportFrom(module="rotation", names=names):
                yield from (alias.name for alias in names if alias.name == "contracts")
            case ast.Import(names=names):
                yield from (a.name for a in names if a.name.startswith("rotation.contracts"))
            case ast.Attribute(attr="_edges") | ast.Constant(value="_edges"):
                yield "_edges"


@pytest.mark.guarantee(2)
def test_only_the_guards_and_what_hands_them_out_name_what_changes_a_slot() -> None:
    found = {module.name: set(taken(module)) for module in MODULES}
    assert {name for name, names in found.items() if names} == GIVES_ACCESS
    assert found["guards.py"] >= CHANGING


def test_what_names_it_in_another_way_is_seen_too(tmp_path: Path) -> None:
    for source in (
        "from rotation.contracts.vault import Vault as Harmless",
        "from rotation.contracts.edges import *",
        "from rotation import contracts",
        "from rotation.contracts import vault",
        "import rotation.contracts.pods as x",
        "step._edges.vault('')",
        "getattr(step, '_edges')",
    ):
        module = tmp_path / "other.py"
        module.write_text(source, encoding="utf-8")
        assert list(taken(module)), source


HARMLESS = {"Credential", "Slot", "str", "SlotLogin", "Workload", "DeploymentTarget"}
HARMLESS |= {"Approval", "Hours", "list[str] | None"}


def handed_out(kind: type[object]) -> dict[str, str]:
    """What a class's public members answer with, as their source has it."""
    found = {}
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        function: Any = member.fget if isinstance(member, property) else member
        found[name] = str(inspect.get_annotations(function)["return"])
    return found


def test_a_step_hands_out_readers_and_guards_only() -> None:
    """Traffic changes too: each of its verbs is a compare-and-swap. So is making a Job, by its
    name, which changes no slot."""
    found = handed_out(running.Step)
    assert CHANGING & set(found.values()) == set()
    assert {name: kind for name, kind in found.items() if kind not in HARMLESS} == {
        "edges": "Readers",
        "watched": "tuple[Readers, Credential]",
        "vault": "VaultReader",
        "pods": "PodsReader",
        "cron_jobs": "CronJobsReader",
        "traffic": "Traffic",
        "jobs": "Jobs",
        "standby": "Standby",
        "arriving": "Arriving",
        "exchange": "Exchange",
        "scheduled": "Scheduled",
        "leaked": "Leaked",
        "topic": "Topic",
    }
    guarded = (guards.Standby, guards.Arriving, guards.Exchange, guards.Scheduled, guards.Leaked)
    for guard in guarded:
        assert CHANGING & set(handed_out(guard).values()) == set()
