"""The swap of one workload while others may be swapped already."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation.activities import await_gone, scale_down, swap
from rotation.config import parse
from rotation.model.errors import Conflict, Denied, Unavailable
from rotation.model.world import Deployment, SecretVersion, Service, Slot, other
from rotation.secrecy import Secret
from rotation.settings import Settings
from rotation.steps.running import Step
from tests.unit.test_config import VALID, changed

if TYPE_CHECKING:
    from rotation.config import Credential

SECOND = {
    **VALID["credentials"]["orders-db"]["workloads"][0],
    "name": "web",
    "service": "web",
    "preview": "web-preview",
    "deployments": {"blue": "web-blue", "green": "web-green"},
}
CREDENTIAL = "credentials.orders-db.workloads.1"


class Edges:
    """Two workloads, `api` and `web`, and what was done to them."""

    configuration = parse(yaml.safe_dump(changed((CREDENTIAL, SECOND))))

    def __init__(self) -> None:
        self.selected = {
            "api": "blue",
            "web": "blue",
            "api-preview": "green",
            "web-preview": "green",
        }
        self.deployments = {
            f"{name}-{slot}": deployment(f"{name}-{slot}")
            for name in ("api", "web")
            for slot in ("blue", "green")
        }
        self.done: list[Any] = []
        self.sealed: list[str] = []
        self.refuses_login = False

    def cluster(self, name: str) -> Edges:
        assert name == "aks"
        return self

    def service(self, namespace: str, name: str, label: str) -> Service:
        assert label == "slot"
        return Service(namespace, name, self.selected[name], "http")

    def deployment(self, namespace: str, name: str) -> Deployment | None:
        assert namespace == "orders"
        return self.deployments.get(name)

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        assert namespace == "orders"
        self.done.append(("scale", name, replicas))
        self.deployments[name] = replace(self.deployments[name], replicas=replicas)

    def seal(self, namespace: str, name: str, token: str) -> None:
        assert (namespace, bool(token)) == ("orders", True)
        self.sealed.append(name)

    def select(
        self, namespace: str, name: str, label: str, expected: str, slot: str, **_: object
    ) -> None:
        assert (namespace, label) == ("orders", "slot")
        if self.selected[name] not in {expected, slot}:
            raise Conflict(f"{name} selects {self.selected[name]}")
        self.selected[name] = slot

    @property
    def settings(self) -> Settings:
        return Settings()

    def watch_gone(self, namespace: str, name: str, seconds: float) -> list[str]:
        assert (namespace, seconds) == ("orders", 20)
        return [f"{name}-1"] if self.deployments[name].replicas else []

    def vault(self, url: str) -> Edges:
        assert url == "https://kv.vault.azure.net"
        return self

    def current(self, secret: str) -> SecretVersion:
        now = datetime(2027, 3, 1, tzinfo=UTC)
        return SecretVersion(secret, "v1", enabled=True, created=now, expires=now)

    def value(self, secret: str, version: str) -> Secret:
        return Secret(f"{secret}/{version}")

    def database(self, credential: Credential) -> Edges:
        assert credential.database.name == "orders"
        return self

    def login(self, role: str, password: Secret) -> None:
        self.done.append(("login", role))
        if self.refuses_login or not password.reveal().endswith("/v1"):
            raise Denied("refused")


def deployment(name: str, replicas: int = 2) -> Deployment:
    return Deployment(
        *("orders", name, replicas, replicas, replicas, replicas),
        observed=True,
        images={},
        version="v1",
    )


def step(edges: Any, workload: str = "api", slot: Slot = "green") -> Step:
    names = {"rotation": "r-1", "credential": "orders-db", "workload": workload, "slot": slot}
    return Step(edges, names)


@pytest.mark.parametrize("slot", ["green", "blue"])
def test_the_service_and_then_the_preview_are_pointed(slot: Slot) -> None:
    edges = Edges()
    edges.selected |= {"api": other(slot), "api-preview": slot}
    swap(step(edges, slot=slot))
    assert (edges.selected["api"], edges.selected["api-preview"]) == (slot, other(slot))
    assert edges.selected["web"] == "blue"
    assert edges.done == [("login", f"orders_{slot}")]


def test_it_may_be_repeated() -> None:
    edges = Edges()
    swap(step(edges))
    edges.refuses_login = True
    swap(step(edges))
    assert edges.selected["api"] == "green"


def test_only_going_back_seals_the_service_also_where_nothing_is_to_change() -> None:
    edges = Edges()
    swap(step(edges, slot="green"))
    assert edges.sealed == []
    back = step(edges, slot="green")
    back.reference["compensating"] = True
    swap(back)
    assert edges.sealed == ["api"]


def test_a_login_that_fails_swaps_nothing() -> None:
    edges = Edges()
    edges.refuses_login = True
    with pytest.raises(Denied):
        swap(step(edges))
    assert edges.selected["api"] == "blue"


@pytest.mark.parametrize("state", [{"ready": 1}, {"observed": False}, {"total": 3}, {"updated": 1}])
def test_pods_that_are_not_ready_are_waited_for(state: dict[str, Any]) -> None:
    edges = Edges()
    edges.deployments["api-green"] = replace(edges.deployments["api-green"], **state)
    with pytest.raises(Unavailable, match="Deployment orders/api-green cannot serve now"):
        swap(step(edges))
    assert edges.selected["api"] == "blue"


def test_a_deployment_that_is_gone_serves_nothing() -> None:
    edges = Edges()
    del edges.deployments["api-green"]
    with pytest.raises(Unavailable, match="it does not exist"):
        swap(step(edges))


def test_a_slot_with_too_few_pods_is_scaled_up_first() -> None:
    edges = Edges()
    edges.deployments["api-blue"] = deployment("api-blue", 5)
    with pytest.raises(Unavailable, match="is being scaled up to 5 pods"):
        swap(step(edges))
    assert edges.done == [("scale", "api-green", 5)]
    assert edges.selected["api"] == "blue"


def test_only_a_swap_back_starts_a_slot_that_was_stopped() -> None:
    """A swap that comes late would revive a slot that is retired by now."""
    edges = Edges()
    edges.deployments["api-green"] = deployment("api-green", 0)
    late = step(edges)
    with pytest.raises(Unavailable, match="cannot serve now: no pods"):
        swap(late)
    assert edges.done == []
    late.reference["compensating"] = True
    with pytest.raises(Unavailable, match="is being scaled up to 2 pods"):
        swap(late)
    assert edges.done == [("scale", "api-green", 2)]


@pytest.mark.parametrize("slot", ["green", "blue"])
def test_it_is_scaled_up_though_another_workload_is_on_that_slot_already(slot: Slot) -> None:
    """In a swap the other one was faster; in a swap back it had never left."""
    edges = Edges()
    edges.selected |= {"web": slot, "api": other(slot), "api-preview": slot}
    edges.deployments[f"api-{other(slot)}"] = deployment(f"api-{other(slot)}", 5)
    with pytest.raises(Unavailable, match="is being scaled up to 5 pods"):
        swap(step(edges, slot=slot))
    edges.deployments[f"api-{slot}"] = deployment(f"api-{slot}", 5)
    swap(step(edges, slot=slot))
    assert edges.selected["api"] == slot


@pytest.mark.parametrize("serving", ["api", "web"])
def test_nothing_that_serves_is_scaled_down(serving: str) -> None:
    edges = Edges()
    edges.selected[serving] = "green"
    with pytest.raises(Conflict, match=f"orders/{serving} routes to green: what serves traffic"):
        scale_down(step(edges))
    assert edges.done == []


def test_pods_that_came_back_are_scaled_down_once_more() -> None:
    edges = Edges()
    assert await_gone(step(edges))["done"]
    assert edges.done == [("scale", "api-green", 0)]
    assert await_gone(step(edges))["done"]
    assert edges.done == [("scale", "api-green", 0)]


def test_pods_that_came_back_and_serve_stay() -> None:
    edges = Edges()
    edges.selected["api"] = "green"
    with pytest.raises(Conflict, match="what serves traffic is not touched"):
        await_gone(step(edges))
    assert edges.done == []
