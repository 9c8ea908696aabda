"""Rotations that are given up before the swap: the standby slot is taken down again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local import world
from rotation.model.targets import SecretTarget
from rotation.model.world import Slot, other
from tests.e2e.test_rotation import active, codes, standby_environment, started, waiting

if TYPE_CHECKING:
    from local.stack import Stack


def in_spite_of_drift(stack: Stack) -> str:
    """A rotation for which an approver has waived that the two pod templates are the same."""
    return started(stack, by=world.APPROVERS[0], waive=["templates-differ"])


class TestAborted:
    """What goes wrong before the swap is taken down again; the active slot never notices."""

    def outcome(self, stack: Stack, rotation: str, serving: Slot) -> tuple[str, set[str]]:
        """Why: the sentence and the codes."""
        record = stack.client.follow(rotation, waiting, timeout=150)
        assert record["outcome"] == "aborted", record["outcomeReason"]
        assert active(stack) == serving
        assert stack.owner.ready("orders", f"api-{serving}")
        standby = stack.owner.deployment("orders", f"api-{other(serving)}")
        assert standby["spec"]["replicas"] == 0
        versions = stack.owner.vault.versions(SecretTarget(world.secret(other(serving))))
        assert not any(version.enabled for version in versions)
        assert {step["code"] for step in record["steps"] if "code" in step} == codes(record)
        return record["outcomeReason"], codes(record)

    @pytest.mark.long
    def test_a_workload_test_that_fails(self, stack: Stack) -> None:
        serving = active(stack)
        with standby_environment(stack, "api", other(serving), SLOT="violet"):
            reason, why = self.outcome(stack, in_spite_of_drift(stack), serving)
        assert "JSON field 'slot' is not" in reason
        assert why == {"tests-failed"}

    @pytest.mark.long
    def test_a_standby_that_never_gets_ready(self, stack: Stack) -> None:
        serving = active(stack)
        with standby_environment(stack, "api", other(serving), DATABASE_PORT="1"):
            reason, why = self.outcome(stack, in_spite_of_drift(stack), serving)
        assert "0 of 1 pods are ready" in reason
        assert why == {"pods-not-ready"}

    @pytest.mark.long
    def test_postgresql_refusing(self, stack: Stack) -> None:
        """Which the plan finds out: nothing is begun that could be aborted."""
        serving = active(stack)
        role = f"orders_{other(serving)}"
        stack.owner.sql(f"REVOKE {role} FROM rotator")
        try:
            record = stack.client.follow(started(stack), waiting, timeout=150)
        finally:
            stack.owner.sql(f"GRANT {role} TO rotator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
        assert record["outcome"] == "refused"
        assert f"may not alter role {role}" in record["outcomeReason"]
        assert codes(record) == {"role-not-administered"}
        assert {step["step"] for step in record["steps"]} == {"plan"}
        assert active(stack) == serving

    @pytest.mark.long
    def test_key_vault_refusing(self, stack: Stack) -> None:
        serving = active(stack)
        match = {"method": "PUT", "path_prefix": f"/secrets/{world.secret(other(serving))}"}
        firewalled = {"status": 403, "cause": "ForbiddenByFirewall"}
        stack.faults.order("keyvault", match=match, times=50, **firewalled)
        reason, why = self.outcome(stack, started(stack), serving)
        assert "HTTP 403 ForbiddenByFirewall" in reason
        assert why == {"vault-firewall"}

    @pytest.mark.long
    def test_a_key_vault_that_stays_down_longer_than_the_retry_timeout(self, stack: Stack) -> None:
        serving = active(stack)
        match = {"method": "PUT", "path_prefix": f"/secrets/{world.secret(other(serving))}"}
        stack.faults.order("keyvault", match=match, times=500, status=503)
        reason, why = self.outcome(stack, started(stack), serving)
        assert "HTTP 503" in reason
        assert why == {"vault-unavailable"}
