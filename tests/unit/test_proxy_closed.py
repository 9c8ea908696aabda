"""Tests of a slot that the API server's proxy does not let through: waited for, and told why."""

from __future__ import annotations

import pytest
import yaml

from rotation.config import parse
from rotation.model.activities import Reference
from rotation.model.errors import Denied, Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import Answer
from rotation.steps import proving
from rotation.steps.running import Step
from tests.memory import MemoryEdges
from tests.unit.rounds import refusal
from tests.unit.test_config import WORKLOAD, changed

DENIED = Denied(Code.PROXY_DENIED, "Service orders/api-preview at /whoami: HTTP 403 Forbidden")
PASSING = [
    Code.PROXY_REFUSED,
    Code.PROXY_RESET,
    Code.PROXY_TIMEOUT,
    Code.PROXY_NO_ROUTE,
    Code.PROXY_TUNNEL,
    Code.PROXY_TLS,
    Code.PROXY_NO_PODS,
    Code.PROXY_NO_PORT,
    Code.PROXY_ERROR,
]
GOOD = Answer(200, b'{"role": "orders_green"}')
TWO = [
    {"path": "/whoami", "json": {"role": "{role}"}, "repeat": 1},
    {"path": "/healthz", "repeat": 1},
]


def closed(code: Code) -> Unavailable:
    return Unavailable(code, f"Service orders/api-preview at /whoami: HTTP 503 ({code})")


def edges(*answers: Answer | Exception) -> MemoryEdges:
    """Blue serves, and green is tested by two tests. `answers` are given in turn."""
    found = MemoryEdges(parse(yaml.safe_dump(changed((f"{WORKLOAD}.tests", TWO)))))
    found.world.scripted = list(answers)
    return found


@pytest.mark.parametrize("code", PASSING)
def test_what_closes_the_proxy_is_the_reason_and_may_pass_before_the_swap(code: Code) -> None:
    error = refusal(edges(*[closed(code)] * 1000), "preview")
    assert (type(error), error.code) == (Unavailable, code)
    assert "/whoami: Service orders/api-preview" in error.message
    assert error.reason.remedy == code.remedy


@pytest.mark.parametrize("code", PASSING)
def test_clients_do_not_wait_for_it_after_the_swap(code: Code) -> None:
    error = refusal(edges(*[closed(code)] * 1000), "service")
    assert (type(error), error.code) == (Invalid, code)


def test_a_right_that_is_missing_is_waited_for_as_grants_are() -> None:
    error = refusal(edges(*[DENIED] * 1000), "preview")
    assert (type(error), error.code) == (Denied, Code.PROXY_DENIED)


def test_it_is_asked_again_until_it_passes() -> None:
    """Until both tests pass in one round, which is the fifth."""
    found = edges(*[closed(Code.PROXY_RESET)] * 7, *[GOOD] * 12)
    reference = Reference(
        rotation="r-1", credential="orders-db", slot="green", workload="api", through="preview"
    )
    proving.test(Step(found, reference))
    assert len(found.world.scripted) == 9


@pytest.mark.parametrize(
    "answers",
    [
        [closed(Code.PROXY_RESET), Answer(500, b"")],
        [closed(Code.PROXY_RESET), closed(Code.PROXY_TIMEOUT)],
        [Answer(500, b""), Answer(500, b"")],
    ],
)
def test_what_is_not_about_the_proxy_alone_is_a_test_that_failed(
    answers: list[Answer | Exception],
) -> None:
    error = refusal(edges(*answers * 500), "preview")
    assert error.code is Code.TESTS_FAILED


def test_evidence_has_the_code_of_each_test() -> None:
    found = edges(*[closed(Code.PROXY_TIMEOUT)] * 1000)
    credential = found.configuration.credential("orders-db")
    results = proving.run_tests(found, credential, credential.workloads[0], "green", "preview")
    assert [result.code for result in results] == [str(Code.PROXY_TIMEOUT)] * 2
    evidence = proving.collect(found, credential, "green", "r-1")
    assert not evidence.passed


@pytest.mark.parametrize("code", [Code.PROXY_DENIED, *PASSING])
def test_each_code_names_ways_that_the_product_has(code: Code) -> None:
    """A Job is no kind of test; sessions prove where no test does."""
    assert "Job" not in code.remedy
    own = {Code.PROXY_REFUSED, Code.PROXY_NO_PODS, Code.PROXY_NO_PORT}
    for way in ("`url` that has `{slot}`", "let sessions prove"):
        assert (way in " ".join(code.remedy.split())) is (code not in own)
