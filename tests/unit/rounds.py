"""One round of a workload's tests on the green slot, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rotation.model.activities import Reference
from rotation.model.errors import EdgeError
from rotation.steps import proving
from rotation.steps.running import Step

if TYPE_CHECKING:
    from rotation.model.activities import Through
    from rotation.model.record import TestResult as Result
    from tests.memory import MemoryEdges


def results(edges: MemoryEdges, through: Through = "service") -> list[Result]:
    credential = edges.configuration.credential("orders-db")
    return proving.run_tests(edges, credential, credential.workloads[0], "green", through)


def refusal(edges: MemoryEdges, through: Through) -> EdgeError:
    """The error that the activity `test` ends with."""
    reference = Reference(
        rotation="r-1", credential="orders-db", slot="green", workload="api", through=through
    )
    with pytest.raises(EdgeError) as caught:
        proving.test(Step(edges, reference))
    return caught.value
