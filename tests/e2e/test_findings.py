"""What stands in a rotation's way is found by whoever looks, and by the timer's samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local import world
from local.cluster.client import apply
from local.process import wait_until
from rotation.model.targets import SecretTarget
from rotation.model.world import Slot, other
from tests.e2e.test_rotation import active
from tests.e2e.test_several_services import asked, rights

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.stack import Stack

WEB = "/api/v1/namespaces/shop/services/web"
DEPLOYMENTS = "/apis/apps/v1/namespaces/orders/deployments"


def seen(stack: Stack, query: str = "?fresh=true") -> dict[str, Any]:
    found: dict[str, Any] = stack.client.api("GET", f"/credentials/{world.CREDENTIAL}{query}").json
    return found


def refusals(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The objects and commands of what a rotation would be refused for, by code."""
    return {
        one["code"]: (one["object"], one["command"])
        for one in found["findings"]
        if one["severity"] == "refuses"
    }


@pytest.mark.long
@pytest.mark.guarantee(7)
def test_each_defect_is_told_with_its_object_and_command_until_it_is_mended(stack: Stack) -> None:
    slot: Slot = active(stack)
    role, secret = f"orders_{slot}", world.secret(slot)
    standby = f"api-{other(slot)}"

    def nologin() -> Callable[[], object]:
        stack.owner.sql(f"ALTER ROLE {role} NOLOGIN")
        return lambda: stack.owner.sql(f"ALTER ROLE {role} LOGIN")

    def disabled() -> Callable[[], object]:
        vault, target = stack.owner.vault, SecretTarget(secret)
        current, value = vault.current(target), vault.value(target)
        assert current is not None
        expires = current.expires
        assert expires is not None
        vault.disable(SecretTarget(secret, current.version))
        return lambda: vault.put(target, value, expires=expires, content_type="text/plain", tags={})

    def disagreeing() -> Callable[[], object]:
        asked(stack, "PATCH", WEB, {"spec": {"selector": {"slot": other(slot)}}})
        return lambda: asked(stack, "PATCH", WEB, {"spec": {"selector": {"slot": slot}}})

    def missing() -> Callable[[], object]:
        manifest = stack.owner.kubernetes_get(f"{DEPLOYMENTS}/{standby}")
        metadata = {key: manifest["metadata"][key] for key in ("name", "namespace", "labels")}
        asked(stack, "DELETE", f"{DEPLOYMENTS}/{standby}")
        again = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
        body = {**again, "spec": manifest["spec"]}
        return lambda: apply(stack.owner.kubernetes, [body])

    def powerless() -> Callable[[], object]:
        kept: list[Any] = []

        def take(rules: list[Any]) -> None:
            kept.extend(rules)
            rules[:] = [rule for rule in rules if "endpointslices" not in rule["resources"]]

        rights(stack, take)
        return lambda: rights(stack, lambda rules: rules.__setitem__(slice(None), kept))

    defects: dict[str, tuple[Callable[[], Callable[[], object]], str, str]] = {
        "active-role-nologin": (nologin, f"role {role}", f'ALTER ROLE "{role}" LOGIN'),
        "active-version-disabled": (disabled, f"secret {secret}", "--enabled true"),
        "workloads-disagree": (disagreeing, "Service shop/web", "kubectl patch --namespace shop"),
        "deployment-missing": (missing, f"Deployment orders/{standby}", "kubectl apply"),
        "cluster-denied": (powerless, f"credential {world.CREDENTIAL}", ""),
    }
    assert refusals(seen(stack)) == {}
    for code, (break_it, thing, command) in defects.items():
        mend = break_it()
        try:
            found = seen(stack)
        finally:
            mend()
        told = [one for one in found["findings"] if one["code"] == code]
        assert [thing] == [one["object"] for one in told if one["object"] == thing], (code, told)
        assert all(command in one["command"] for one in told if one["object"] == thing)
        if code == "workloads-disagree":
            assert [slot["serves"] for slot in found["slots"].values()] == [True, True]
    assert refusals(seen(stack)) == {}


@pytest.mark.long
def test_lists_show_the_timers_sample_until_somebody_looks_anew(stack: Stack) -> None:
    slot = active(stack)
    headers = {"x-functions-key": stack.keys["master"]}

    # No sample counts within half a minute of a rotation, which another test may just have ended.
    settled = "a sample that is shown once more"
    wait_until(lambda: seen(stack, "") == seen(stack, ""), 60, settled)
    before = seen(stack, "")
    stack.owner.sql(f"ALTER ROLE orders_{slot} NOLOGIN")
    try:
        assert seen(stack, "") == before
        now = seen(stack)
        assert now["at"] > before["at"]
        assert "active-role-nologin" in refusals(now)
        assert seen(stack, "") == now
        assert stack.client.api("GET", "/credentials").json == {"credentials": [now]}
    finally:
        stack.owner.sql(f"ALTER ROLE orders_{slot} LOGIN")
    assert stack.client.request("POST", "/admin/functions/sample", {}, headers).status == 202
    wait_until(lambda: seen(stack, "")["at"] > now["at"], 30, "the timer's sample")
    assert refusals(seen(stack, "")) == {}
