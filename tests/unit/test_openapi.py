"""The description of the HTTP API against what the app registers and answers."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate as validate_description

from rotation.front import api
from rotation.model.errors import ConfigurationError
from rotation.pages import routes as pages
from rotation.settings import Settings
from tests.unit.people import (
    LINK_KEY,
    NOW,
    ROTATION,
    FakeClient,
    FakeEdges,
    FakeVault,
    configuration,
    handlers,
    record,
    request,
)

METHODS = {"get", "post", "put", "patch", "delete", "head", "options"}
DESCRIPTION = api.description()


def edges() -> FakeEdges:
    secrets = {f"orders-db-{slot}": [("x", True)] for slot in ("blue", "green")}
    return FakeEdges(
        settings=Settings(link_key=LINK_KEY),
        configuration=configuration(approvers=["anna@contoso.example"]),
        vault_=FakeVault(secrets | {"link-key": [("k" * 40, True)]}),
    )


def registered() -> dict[tuple[str, str], str]:
    """Method and path of each route, with its level."""
    found = {}
    for blueprint in (api.blueprint(edges()), pages.blueprint(edges())):
        for builder in blueprint._function_builders:  # noqa: SLF001 - it has no other listing
            trigger = builder._function.get_trigger()  # noqa: SLF001
            level = trigger.auth_level.name if trigger.auth_level else "FUNCTION"
            for method in trigger.methods:
                found[method.name.lower(), f"/{trigger.route}"] = level
    return found


def described() -> dict[tuple[str, str], str]:
    return {
        (method, path): "ANONYMOUS" if operation.get("security") == [] else "FUNCTION"
        for path, operations in DESCRIPTION["paths"].items()
        for method, operation in operations.items()
        if method in METHODS
    }


def test_it_is_openapi() -> None:
    assert DESCRIPTION["openapi"].startswith("3.1")
    validate_description(DESCRIPTION)


def test_every_route_is_described_with_its_level_and_nothing_else_is() -> None:
    assert described() == registered()


def test_it_is_served_as_it_is() -> None:
    served = asyncio.run(handlers(api.blueprint(edges()))["openapi"](req=request()))
    assert json.loads(served.get_body()) == DESCRIPTION


def documented(operation: str, answer: Any) -> dict[str, Any]:
    """Checks an answer's status, type and body against the description."""
    found = next(
        one
        for operations in DESCRIPTION["paths"].values()
        for one in operations.values()
        if isinstance(one, dict) and one.get("operationId") == operation
    )
    status = str(answer.status_code)
    assert status in found["responses"], f"{operation} answers {status}"
    response = found["responses"][status]
    if "$ref" in response:
        response = DESCRIPTION["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema = response["content"][answer.mimetype]["schema"]
    resolved = {**schema, "components": DESCRIPTION["components"]}
    document: dict[str, Any] = json.loads(answer.get_body())
    Draft202012Validator(resolved, format_checker=FormatChecker()).validate(document)
    return document


def call(operation: str, client: FakeClient | None = None, **given: Any) -> Any:
    function = handlers(api.blueprint(edges()))[operation]
    body = given.pop("body", None)
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    arguments: dict[str, Any] = {"req": request(body=raw, **given)}
    if operation not in {"health", "openapi"}:
        arguments["client"] = client or FakeClient(whole())
    return asyncio.run(function(**arguments))


def whole(**changes: Any) -> dict[str, Any]:
    """With a request as the app makes it."""
    asked = {
        "rotation": ROTATION,
        "credential": "orders-db",
        "origin": "manual",
        "requestedBy": "ben@contoso.example",
        "reason": "",
        "secret": None,
        "version": None,
    }
    return record(request=asked, **changes)


APPROVE = {"decision": "approve", "by": "anna@contoso.example"}


@pytest.mark.parametrize(
    ("operation", "given", "status"),
    [
        ("health", {}, 200),
        ("list_credentials", {}, 200),
        ("list_rotations", {}, 200),
        ("list_rotations", {"params": {"since": "yesterday"}}, 400),
        ("list_rotations", {"params": {"since": NOW.isoformat(), "until": "2020-01-01"}}, 400),
        ("get_rotation", {"id": ROTATION}, 200),
        ("get_rotation", {"id": "none"}, 404),
        ("get_evidence", {"id": ROTATION}, 200),
        ("get_evidence", {"id": "none"}, 404),
        ("start_rotation", {"body": {"credential": "none"}}, 404),
        ("start_rotation", {"body": {}}, 400),
        ("start_rotation", {"body": {"credential": "orders-db", "cause": "x"}}, 400),
        ("start_rotation", {"body": b"x" * 70_000}, 413),
        ("decide", {"id": ROTATION, "body": APPROVE}, 200),
        ("decide", {"id": ROTATION, "body": {**APPROVE, "decision": ["approve"]}}, 400),
        ("decide", {"id": ROTATION, "body": {**APPROVE, "channel": "page"}}, 400),
        ("decide", {"id": ROTATION, "body": {**APPROVE, "by": "Policy"}}, 400),
        ("decide", {"id": ROTATION, "body": {**APPROVE, "by": "eve"}}, 403),
        ("decide", {"id": "none", "body": APPROVE}, 404),
        ("decide", {"id": ROTATION, "body": b"x" * 70_000}, 413),
    ],
)
def test_answers_are_as_described(operation: str, given: dict[str, Any], status: int) -> None:
    answer = call(operation, **given)
    document = documented(operation, answer)
    assert answer.status_code == status
    if status >= 400:
        assert document["status"] == status


def test_a_second_decision_is_answered_with_the_first() -> None:
    client = FakeClient(whole())
    call("decide", client, id=ROTATION, body=APPROVE)
    again = call("decide", client, id=ROTATION, body={**APPROVE, "decision": "reject"})
    document = documented("decide", again)
    assert again.status_code == 409
    assert document["decision"]["decision"] == "approve"
    assert re.search("it was approved already, by anna@contoso.example", document["detail"])


@pytest.mark.parametrize("stage", ["plan", "prepare", "retire", "done"])
def test_a_decision_for_one_that_does_not_wait_is_answered_with_its_stage(stage: str) -> None:
    client = FakeClient(whole(stage=stage, approval=None))
    answer = call("decide", client, id=ROTATION, body=APPROVE)
    assert (answer.status_code, documented("decide", answer)["stage"]) == (409, stage)


def test_an_ended_rotation_is_described_too() -> None:
    ended = whole(stage="done", outcome="completed", outcomeReason="approved by anna")
    documented("get_rotation", call("get_rotation", FakeClient(ended), id=ROTATION))


class Misconfigured(FakeEdges):
    def __getattribute__(self, name: str) -> Any:
        if name == "configuration":
            raise ConfigurationError("credentials.yaml", ["clusters: it is missing"])
        return super().__getattribute__(name)


def test_a_configuration_that_is_not_valid_is_answered_with_its_problems() -> None:
    answer = asyncio.run(handlers(api.blueprint(Misconfigured()))["health"](req=request()))
    assert documented("health", answer)["problems"] == ["clusters: it is missing"]
    assert answer.status_code == 503
