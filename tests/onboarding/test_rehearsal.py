"""`rotctl rehearse` in the world that the guide starts from: one Deployment, secret and role."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from local.practice.one_slot import OneSlot
from local.process import ROOT
from rotctl.exits import Exit
from tests.onboarding.test_guide import MISSING, Reader

if TYPE_CHECKING:
    from pathlib import Path


def asked(stack: OneSlot, path: str) -> Any:
    found: Any = stack.owner.kubernetes_get(path)
    return found


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {MISSING}")
def test_before_there_are_two_slots(tmp_path: Path) -> None:
    """Its pods log in with the login that works, and it is what the guide says that it must be."""
    with OneSlot(tmp_path / "stack") as stack:
        reader = Reader(stack, tmp_path / "reader", set())
        serving = asked(stack, "/apis/apps/v1/namespaces/orders/deployments")["items"]
        command = [
            *(sys.executable, "-m", "rotctl", "rehearse", "orders/api"),
            *("--path", "/whoami", "--seconds", "2", "--yes", "--json"),
        ]
        done = subprocess.run(  # noqa: S603 - argv is written here
            command, capture_output=True, text=True, check=False, timeout=200,
            cwd=reader.folder,
            env={**reader._environment(), "PYTHONPATH": str(ROOT)},  # noqa: SLF001 - the reader's, for one more command
        )  # fmt: skip
        assert done.returncode == Exit.DONE, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert (found["failed"], found["connections"]) == (0, 8)
        assert [one["code"] for one in found["findings"]] == ["told"]
        after = asked(stack, "/apis/apps/v1/namespaces/orders/deployments")["items"]
        assert [one["metadata"]["name"] for one in after] == ["api"]
        assert after[0]["metadata"]["generation"] == serving[0]["metadata"]["generation"]
