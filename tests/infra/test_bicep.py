"""The Bicep files hold together: as much of a compiler's work as a grammar allows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.infra.bicep import Bicep, text, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import tree_sitter

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
FILES = sorted(INFRA.rglob("*.bicep"))

# Functions of the language: https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-functions
FUNCTIONS = {
    "concat", "contains", "empty", "environment", "fail", "filter", "guid", "indexOf", "join",
    "json", "last", "length", "map", "listCallbackUrl", "loadJsonContent", "range", "replace",
    "resourceGroup", "resourceId", "split", "string", "subscriptionResourceId", "substring",
    "take", "tenant", "toLower", "union", "uniqueString",
}  # fmt: skip
NO_EXPRESSION = {
    "type",
    "decorators",
    "import_functionality",
    "metadata_declaration",
    "type_declaration",
}
OUTPUT = re.compile(r"(\w+)(?:\[[^\]]*\])?!?\.outputs\.(\w+)")


def name(path: Path) -> str:
    return str(path.relative_to(INFRA))


def faults(look: Callable[[Bicep], Collection[str]]) -> dict[str, Collection[str]]:
    """What `look` finds wrong, by file."""
    by_file = {name(path): look(Bicep(path)) for path in FILES}
    return {file: wrong for file, wrong in by_file.items() if wrong}


def test_every_file_parses() -> None:
    assert faults(lambda bicep: bicep.errors) == {}


def test_what_is_broken_does_not_parse(tmp_path: Path) -> None:
    broken = tmp_path / "broken.bicep"
    broken.write_text("param a string = {\n  b: \n}}\n", encoding="utf-8")
    assert Bicep(broken).errors != []


def wrong_parameters(bicep: Bicep) -> set[str]:
    wrong = set()
    for module in bicep.modules:
        parameters = Bicep(module.path).parameters
        required = {item.name for item in parameters.values() if item.required}
        wrong |= {f"{module.name} has no {one}" for one in set(module.params) - set(parameters)}
        wrong |= {f"{module.name} lacks {one}" for one in required - set(module.params)}
    return wrong


def test_each_module_gets_the_parameters_that_it_has() -> None:
    assert faults(wrong_parameters) == {}


def not_exported(bicep: Bicep) -> set[str]:
    missing = set()
    for names, source in bicep.imports:
        exported = {
            text(node.named_children[0])
            for node, decorators in Bicep(source).declarations("type_declaration")
            if "@export()" in decorators
        }
        missing |= set(names) - exported
    return missing


def test_what_is_imported_is_exported() -> None:
    assert faults(not_exported) == {}


def missing_outputs(bicep: Bicep) -> set[str]:
    sources = {module.name: module.path for module in bicep.modules}
    return {
        f"{module}.outputs.{output}"
        for module, output in set(OUTPUT.findall(text(bicep.root)))
        if output not in Bicep(sources[module]).outputs
    }


def test_outputs_of_modules_that_are_used_exist() -> None:
    assert faults(missing_outputs) == {}


def references(node: tree_sitter.Node) -> Iterator[str]:
    """Names that stand for something declared: neither keys, nor types, nor functions."""
    if node.type == "identifier":
        yield text(node)
        return
    children = node.named_children
    if node.type == "object_property" and children[0].type == "identifier":
        children = children[1:]
    if node.type == "call_expression" and children[0].type == "identifier":
        children = children[1:]
    for child in children:
        if child.type not in NO_EXPRESSION:
            yield from references(child)


def declared(bicep: Bicep) -> set[str]:
    kinds = ("parameter", "variable", "resource", "module", "output", "type")
    names = set[str]().union(*(bicep.named(f"{kind}_declaration") for kind in kinds))
    for node in walk(bicep.root):
        if node.type in {"loop_variable", "loop_enumerator"}:
            names.add(text(node))
        if node.type == "lambda_expression":
            names.add(text(node.named_children[0]))
        if node.type == "for_statement":
            names.add(text(node.named_children[0]))
    return names


def test_every_name_is_declared() -> None:
    # In an array the grammar takes `f().x` for two items, so that a function looks like a name.
    assert faults(lambda one: set(references(one.root)) - declared(one) - FUNCTIONS) == {}


def unused(bicep: Bicep) -> set[str]:
    times = list(references(bicep.root))
    names = bicep.named("parameter_declaration") | bicep.named("variable_declaration")
    return {one for one in names if times.count(one) < 2}


def test_every_parameter_and_variable_is_used() -> None:
    assert faults(unused) == {}


def unknown_functions(bicep: Bicep) -> set[str]:
    calls = {
        text(node.named_children[0])
        for node in walk(bicep.root)
        if node.type == "call_expression" and node.parent and node.parent.type != "decorator"
    }
    return {call for call in calls if "." not in call} - FUNCTIONS


def test_every_function_is_one_of_the_language() -> None:
    assert faults(unknown_functions) == {}


def not_described(bicep: Bicep) -> list[str]:
    return [
        text(node)
        for kind in ("parameter_declaration", "output_declaration", "type_declaration")
        for node, decorators in bicep.declarations(kind)
        if not any(item.startswith("@description(") for item in decorators)
    ]


def test_every_parameter_and_output_is_described() -> None:
    assert faults(not_described) == {}


def test_modules_are_local() -> None:
    """A module of a registry would need the network at build time."""
    assert faults(lambda one: [m.name for m in one.modules if not m.path.exists()]) == {}


def test_api_versions_are_no_previews_and_one_for_each_type() -> None:
    versions: dict[str, set[str]] = {}
    for path in FILES:
        for item in Bicep(path).resources:
            versions.setdefault(item.type, set()).add(item.version)
    previews = {kind for kind, used in versions.items() if any("preview" in one for one in used)}
    # Diagnostic settings with groups of categories have never had another version.
    assert previews <= {"Microsoft.Insights/diagnosticSettings"}
    assert {kind: used for kind, used in versions.items() if len(used) > 1} == {}


SECRET = re.compile(r"list\w*\(|\.value\b|password|accountKey|sharedAccess|\bsig=", re.IGNORECASE)


def test_no_output_is_a_secret() -> None:
    found = faults(lambda one: [o.name for o in one.outputs.values() if SECRET.search(o.value)])
    assert found == {}


def test_keys_are_listed_nowhere_but_for_the_address_of_the_workflow() -> None:
    calls = [
        text(node.named_children[0])
        for path in FILES
        for node in walk(Bicep(path).root)
        if node.type == "call_expression" and text(node.named_children[0]).startswith("list")
    ]
    assert calls == ["listCallbackUrl"]
