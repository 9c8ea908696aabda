"""Generated requests, valid and not, against the running app: no 500, nothing undocumented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

from rotation.front.api import description

if TYPE_CHECKING:
    from local.stack import Stack


schema = schemathesis.openapi.from_dict(description())

CHECKS: list[Any] = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
    openapi_checks.ignored_auth,
]


@pytest.mark.guarantee(8)
@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,  # the same requests each time: a failure is never luck
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_documented(case: Any, stack: Stack) -> None:
    case.call_and_validate(
        base_url=f"{stack.components['host'].url}/api",
        headers={"x-functions-key": stack.keys["function"]},
        checks=CHECKS,
    )
