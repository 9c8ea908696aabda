"""The workflows' definitions have the shape that the workflow definition language has.

The schema below is of the parts that they use, strict: an unknown field is an error. It is from
https://learn.microsoft.com/azure/logic-apps/logic-apps-workflow-definition-language and
https://learn.microsoft.com/azure/logic-apps/logic-apps-workflow-actions-triggers. LOGIC_SCHEMA may
name a copy of the published one, whose address is the definition's `$schema`.
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

LOGIC = Path(__file__).parents[2] / "infra/logic"
DEFINITIONS = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(LOGIC.glob("*.json"))
}
DEFINITION = DEFINITIONS["approval"]
each_definition = pytest.mark.parametrize("name", DEFINITIONS)
PUBLISHED = os.environ.get("LOGIC_SCHEMA")
TEXT = {"type": "string", "minLength": 1}
DURATION = {"type": "string", "pattern": r"^P(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?$"}
STATES = ["Succeeded", "Failed", "Skipped", "TimedOut"]


def strict(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


def action(kind: str, required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    """The fields of one type of action, besides those that every action has."""
    after = {"type": "object", "additionalProperties": {"type": "array", "items": {"enum": STATES}}}
    return strict(
        {"type": {"const": kind}, "runAfter": after, **required}, {"description": TEXT, **optional}
    )


SECURE = strict(
    {
        "secureData": strict(
            {"properties": {"type": "array", "items": {"enum": ["inputs", "outputs"]}}}
        )
    }
)
RETRY = strict(
    {
        "type": {"enum": ["none", "fixed", "exponential"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 90},
        "interval": DURATION,
    },
    {"minimumInterval": DURATION, "maximumInterval": DURATION},
)
CONNECTION = strict({"connection": strict({"name": TEXT})})
HTTP = strict(
    {"method": {"enum": ["GET", "POST"]}, "uri": TEXT},
    {
        "headers": {"type": "object", "additionalProperties": TEXT},
        "body": {},
        "retryPolicy": RETRY,
        "authentication": strict(
            {"type": {"const": "ManagedServiceIdentity"}, "audience": TEXT}, {"identity": TEXT}
        ),
    },
)
ACTIONS = {
    "type": "object",
    "propertyNames": {"pattern": r"^[A-Za-z_]{1,80}$"},
    "additionalProperties": {"$ref": "#/$defs/action"},
}
KINDS = [
    action("Compose", {"inputs": {}}, {}),
    action("Query", {"inputs": strict({"from": TEXT, "where": TEXT})}, {}),
    action("Select", {"inputs": strict({"from": TEXT, "select": {}})}, {}),
    action(
        "Http",
        {"inputs": HTTP},
        {"runtimeConfiguration": SECURE, "operationOptions": {"const": "DisableAsyncPattern"}},
    ),
    action(
        "ApiConnection",
        {"inputs": strict({"host": CONNECTION, "method": TEXT, "path": TEXT}, {"body": {}})},
        {},
    ),
    action(
        "ApiConnectionWebhook",
        {
            "inputs": strict(
                {
                    "host": CONNECTION,
                    "path": TEXT,
                    "body": strict(
                        {"NotificationUrl": {"const": "@{listCallbackUrl()}"}, "Message": {}}
                    ),
                }
            )
        },
        {"limit": strict({"timeout": DURATION})},
    ),
    action(
        "If",
        {
            "expression": {"type": "object", "minProperties": 1, "maxProperties": 1},
            "actions": ACTIONS,
        },
        {"else": strict({"actions": ACTIONS})},
    ),
    action("Foreach", {"foreach": TEXT, "actions": ACTIONS}, {"runtimeConfiguration": {}}),
]
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {"action": {"oneOf": KINDS}},
    **strict(
        {
            "$schema": {"pattern": r"/Microsoft\.Logic/schemas/2016-06-01/workflowdefinition"},
            "contentVersion": {"const": "1.0.0.0"},
            "parameters": {
                "type": "object",
                "additionalProperties": strict(
                    {"type": {"enum": ["String", "SecureString", "Object", "Array"]}},
                    {"defaultValue": {}},
                ),
            },
            "triggers": {
                "type": "object",
                "maxProperties": 10,
                "additionalProperties": strict(
                    {
                        "type": {"const": "Request"},
                        "kind": {"const": "Http"},
                        "inputs": strict({}, {"schema": {"type": "object"}}),
                    },
                    {"splitOn": TEXT, "runtimeConfiguration": SECURE},
                ),
            },
            "actions": ACTIONS,
            "outputs": {"type": "object"},
        }
    ),
}


def problems(definition: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    return [
        f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(definition)
    ]


@each_definition
def test_the_definition_has_the_shape_of_the_language(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert problems(DEFINITIONS[name]) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["actions", "Text", "type"], "Composed"),
        (["actions", "Text", "runafter"], {}),
        (["actions", "Unsigned", "runAfter", "Page"], ["Success"]),
        (["actions", "For_each_recipient", "foreach"], None),
        (["actions", "has space"], {"type": "Compose", "inputs": "", "runAfter": {}}),
        (["triggers", "event", "splitOn"], 1),
        (["parameters", "decisionKey", "type"], "Secret"),
    ],
)
def test_another_shape_is_noticed(path: list[str], value: object) -> None:
    changed = copy.deepcopy(DEFINITION)
    *to, last = path
    target = changed
    for key in to:
        target = target[key]
    target[last] = value
    assert problems(changed) != []


@each_definition
def test_actions_run_after_actions_beside_them(name: str) -> None:
    def check(actions: dict[str, Any]) -> None:
        for own, item in actions.items():
            assert item["runAfter"].keys() <= actions.keys() - {own}
            check(item.get("actions", {}))
            check(item.get("else", {}).get("actions", {}))

    check(DEFINITIONS[name]["actions"])


@pytest.mark.skipif(
    PUBLISHED is None, reason="LOGIC_SCHEMA names no copy of the published schema of workflows"
)
@each_definition
def test_the_published_schema_takes_it_too(name: str) -> None:
    assert PUBLISHED is not None
    schema = json.loads(Path(PUBLISHED).read_text(encoding="utf-8-sig"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(DEFINITIONS[name])] == []
