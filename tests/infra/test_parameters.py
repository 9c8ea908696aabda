"""The example parameter files fit the templates they are for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.infra.bicep import Bicep, parse, properties, text

if TYPE_CHECKING:
    import tree_sitter

INFRA = Path(__file__).parents[2] / "infra"
PARAMETERS = sorted(INFRA.rglob("*.bicepparam"))


class ParameterFile:
    """A .bicepparam file. The grammar cannot read them: each `param` is read as a `var` instead."""

    def __init__(self, path: Path) -> None:
        source = path.read_text(encoding="utf-8")
        using = re.search(r"^using '([^']+)'$", source, re.MULTILINE)
        assert using is not None, f"{path} has no using line"
        self.template = Bicep((path.parent / using[1]).resolve())
        as_variables = re.sub(r"^param ", "var ", source.replace(using[0], ""), flags=re.MULTILINE)
        self.root = parse(as_variables.encode())
        self.values = {
            text(node.named_children[0]): node.named_children[1]
            for node in self.root.named_children
            if node.type == "variable_declaration"
        }


def declared_types() -> dict[str, tree_sitter.Node]:
    declarations = Bicep(INFRA / "types.bicep").declarations("type_declaration")
    types = {text(node.named_children[0]): node for node, _ in declarations}
    return types | {f"{name}Type": types[name] for name in ("lock", "network", "signIn")}


def shape_problems(
    value: tree_sitter.Node, written: str, types: dict[str, tree_sitter.Node]
) -> list[str]:
    """Where a literal value does not have the type that is written for it."""
    kind = written.removesuffix("?")
    if value.type == "call_expression":
        return []
    if kind.endswith("[]"):
        items = value.named_children if value.type == "array" else []
        wrong = [f"{text(value)[:40]} is no {kind}"] if value.type != "array" else []
        return wrong + [line for item in items for line in shape_problems(item, kind[:-2], types)]
    if kind == "texts":  # `*: string`, which the grammar cannot read
        return [
            line
            for item in properties(value).values()
            for line in shape_problems(item, "string", types)
        ]
    if kind in types:
        return _object_problems(value, types[kind], types)
    expected = {"string": "string", "int": "number", "bool": "boolean", "object": "object"}[kind]
    return [] if value.type == expected else [f"{text(value)[:40]} is no {kind}"]


def _object_problems(
    value: tree_sitter.Node, declaration: tree_sitter.Node, types: dict[str, tree_sitter.Node]
) -> list[str]:
    fields = properties(declaration.named_children[1])
    given = properties(value)
    found = [f"no field {key}" for key in given.keys() - fields.keys()]
    found += [
        f"{key} is missing"
        for key, kind in fields.items()
        if key not in given and not text(kind).endswith("?")
    ]
    for key in given.keys() & fields.keys():
        found += shape_problems(given[key], text(fields[key]), types)
    return found


@pytest.mark.parametrize("path", PARAMETERS, ids=lambda path: path.name)
def test_a_parameter_file_fits_its_template(path: Path) -> None:
    given = ParameterFile(path)
    assert not given.root.has_error
    parameters = given.template.parameters
    assert given.values.keys() - parameters.keys() == set()
    assert {
        item.name for item in parameters.values() if item.required
    } - given.values.keys() == set()
    types = declared_types()
    for key, value in given.values.items():
        assert shape_problems(value, parameters[key].type, types) == [], key


def test_a_wrong_parameter_file_is_noticed() -> None:
    types = declared_types()
    value = (
        parse(b"var a = [{ id: 'x', rotated: 'y', extra: 1 }]\n")
        .named_children[0]
        .named_children[1]
    )
    assert shape_problems(value, "vault[]", types) == [
        "no field extra", "location is missing", "'y' is no string[]",
    ]  # fmt: skip


def test_event_subscriptions_read_what_the_deployment_puts_out() -> None:
    """azd passes the outputs of main.bicep on as environment variables of the same names."""
    source = (INFRA / "events.bicepparam").read_text(encoding="utf-8")
    read = set(re.findall(r"readEnvironmentVariable\('(\w+)'", source))
    assert read - Bicep(INFRA / "main.bicep").outputs.keys() == set()
