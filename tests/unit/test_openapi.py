"""The description of the HTTP API against what the app registers and answers."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import azure.functions as func
import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from openapi_spec_validator import validate as validate_description

import rotation
from rotation.config import parse
from rotation.edges.azure import AzureEdges
from rotation.front import api
from rotation.pages import routes as pages
from rotation.settings import Settings
from tests.memory import MemoryEdges
from tests.unit.people import NOW, ROTATION, FakeClient, handlers, record, request
from tests.unit.test_config import CREDENTIAL, REMOVED, changed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

METHODS = {"get", "post", "put", "patch", "delete", "head", "options"}
DESCRIPTION = api.description()


APPROVERS = (f"{CREDENTIAL}.approval.approvers", ["anna@contoso.example"])
CONFIGURATION = parse(yaml.safe_dump(changed(APPROVERS)))
# Green serves since the swap: the rotation of `whole` waits for a decision.
SERVING: dict[str, Any] = {"orders-db": "green"}


def edges() -> MemoryEdges:
    return MemoryEdges(CONFIGURATION, Settings(), NOW, SERVING)


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
    kind = {"Content-Type": given.pop("kind", "application/json")}
    arguments: dict[str, Any] = {"req": request(body=raw, headers=kind, **given)}
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
        ("list_credentials", {"params": {"fresh": "true"}}, 200),
        ("list_credentials", {"params": {"fresh": "now"}}, 400),
        ("get_credential", {"name": "orders-db"}, 200),
        ("get_credential", {"name": "orders-db", "params": {"fresh": "1"}}, 400),
        ("get_credential", {"name": "none"}, 404),
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
        ("start_rotation", {"body": {"credential": "orders-db", "by": "somebody"}}, 400),
        ("start_rotation", {"body": b"x" * 70_000}, 413),
        ("start_rotation", {"body": {}, "kind": "text/plain"}, 415),
        ("decide", {"id": ROTATION, "body": APPROVE}, 200),
        ("decide", {"id": ROTATION, "body": {**APPROVE, "decision": ["approve"]}}, 400),
        ("decide", {"id": ROTATION, "body": {**APPROVE, "channel": "page"}}, 400),
        ("decide", {"id": ROTATION, "body": {**APPROVE, "by": "Policy"}}, 400),
        ("decide", {"id": ROTATION, "body": {**APPROVE, "by": "eve"}}, 403),
        ("decide", {"id": "none", "body": APPROVE}, 404),
        ("decide", {"id": ROTATION, "body": APPROVE, "kind": "text/plain"}, 415),
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


def test_health_says_which_release_it_is() -> None:
    assert documented("health", call("health"))["version"] == rotation.__version__


def ended(**more: Any) -> dict[str, Any]:
    """A rotation that has all that one can have."""
    evidence = {
        "at": "2026-11-24T02:55:00.000Z",
        "complete": True,
        "passed": True,
        "problems": [],
        "stillInUse": [],
        "tests": {
            "api": [
                {
                    "test": "/",
                    "passed": True,
                    "problem": None,
                    "attempts": 1,
                    "role": "orders_green",
                }
            ]
        },
        "pods": {"api": {"blue": [], "green": ["api-green-1"]}},
        "sessions": [],
    }
    decision = {
        "decision": "approve",
        "by": "anna@contoso.example",
        "channel": "page",
        "comment": "",
        "id": "1",
        "at": "2026-11-24T03:00:00.000Z",
        "knownAs": ["anna@contoso.example"],
    }
    reason = {"code": "approved", "text": "approved by anna", "remedy": "nothing"}
    return whole(
        stage="done",
        outcome="completed",
        outcomeReason="approved by anna",
        reasons=[reason],
        decision=decision,
        evidence={"requested": evidence, "decided": evidence},
        **more,
    )


def test_a_rotation_with_everything_is_described() -> None:
    shown = documented("get_rotation", call("get_rotation", FakeClient(ended()), id=ROTATION))
    assert shown["evidence"]["decided"]["tests"]["api"][0]["role"] == "orders_green"
    assert shown["decision"]["knownAs"] == ["anna@contoso.example"]
    assert shown["reasons"][0]["code"] == "approved"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda shown: shown.update(password="hunter2"),
        lambda shown: shown.pop("steps"),
        lambda shown: shown.update(stage="lunch"),
        lambda shown: shown.update(outcome="cancelled"),
        lambda shown: shown.update(since="yesterday"),
        lambda shown: shown.update(runtimeStatus="Asleep"),
        lambda shown: shown["workloads"].update(api="lost"),
        lambda shown: shown["steps"][0].update(step="lunch"),
        lambda shown: shown["decision"].pop("at"),
        lambda shown: shown["decision"].update(password="hunter2"),
        lambda shown: shown["evidence"]["decided"].pop("pods"),
        lambda shown: shown["reasons"][0].pop("code"),
        lambda shown: shown["request"].update(origin="nowhere"),
        lambda shown: shown["links"].pop("page"),
    ],
)
def test_documented_bad(spoil: Callable[[dict[str, Any]], object]) -> None:
    """The description refuses what it does not describe: the tests above mean something."""
    answer = call("get_rotation", FakeClient(ended()), id=ROTATION)
    shown = json.loads(answer.get_body())
    spoil(shown)
    spoilt = func.HttpResponse(json.dumps(shown), mimetype="application/json")
    with pytest.raises(ValidationError):
        documented("get_rotation", spoilt)


def test_a_configuration_that_is_not_valid_is_answered_with_its_problems(tmp_path: Path) -> None:
    file = tmp_path / "credentials.yaml"
    file.write_text(yaml.safe_dump(changed((f"{CREDENTIAL}.validity", REMOVED))), encoding="utf-8")
    wrong = AzureEdges({"ROTATION_CONFIG": str(file)})
    answer = asyncio.run(handlers(api.blueprint(wrong))["health"](req=request()))
    document = documented("health", answer)
    (problem,) = document["problems"]
    assert problem.startswith(f"{CREDENTIAL}.validity: ")
    assert (document["code"], bool(document["remedy"])) == ("configuration-invalid", True)
    assert answer.status_code == 503
