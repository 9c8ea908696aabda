"""The Bicep files hold together: as much of a compiler's work as a grammar allows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.infra.bicep import Bicep, Module, text, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tree_sitter

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
FILES = sorted(INFRA.rglob("*.bicep"))
MODULES = [(path, module) for path in FILES for module in Bicep(path).modules]

# Functions of the language: https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-functions
FUNCTIONS = {
    "contains", "empty", "environment", "fail", "filter", "guid", "indexOf", "join", "json", "last",
    "length", "map", "listCallbackUrl", "loadJsonContent", "range", "replace", "resourceGroup",
    "resourceId", "split", "string", "subscriptionResourceId", "substring", "take", "tenant",
    "toLower", "union", "uniqueString",
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


each_file = pytest.mark.parametrize("path", FILES, ids=name)


@each_file
def test_it_parses(path: Path) -> None:
    assert Bicep(path).errors == []


def test_what_is_broken_does_not_parse(tmp_path: Path) -> None:
    broken = tmp_path / "broken.bicep"
    broken.write_text("param a string = {\n  b: \n}}\n", encoding="utf-8")
    assert Bicep(broken).errors != []


@pytest.mark.parametrize(
    ("path", "module"), MODULES, ids=[f"{path.stem}-{module.name}" for path, module in MODULES]
)
def test_a_module_gets_the_parameters_that_it_has(path: Path, module: Module) -> None:
    parameters = Bicep(module.path).parameters
    assert set(module.params) - set(parameters) == set()
    required = {item.name for item in parameters.values() if item.required}
    assert required - set(module.params) == set()


@each_file
def test_what_is_imported_is_exported(path: Path) -> None:
    for names, source in Bicep(path).imports:
        exported = {
            text(node.named_children[0])
            for node, decorators in Bicep(source).declarations("type_declaration")
            if "@export()" in decorators
        }
        assert set(names) - exported == set()


@each_file
def test_outputs_of_modules_that_are_used_exist(path: Path) -> None:
    bicep = Bicep(path)
    sources = {module.name: module.path for module in bicep.modules}
    used = set(OUTPUT.findall(text(bicep.root)))
    missing = {
        f"{module}.outputs.{output}"
        for module, output in used
        if output not in Bicep(sources[module]).outputs
    }
    assert missing == set()


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


@each_file
def test_every_name_is_declared(path: Path) -> None:
    bicep = Bicep(path)
    # In an array the grammar takes `f().x` for two items, so that a function looks like a name.
    assert set(references(bicep.root)) - declared(bicep) - FUNCTIONS == set()


@each_file
def test_every_parameter_and_variable_is_used(path: Path) -> None:
    bicep = Bicep(path)
    times = list(references(bicep.root))
    names = bicep.named("parameter_declaration") | bicep.named("variable_declaration")
    assert {found for found in names if times.count(found) < 2} == set()


@each_file
def test_every_function_is_one_of_the_language(path: Path) -> None:
    calls = {
        text(node.named_children[0])
        for node in walk(Bicep(path).root)
        if node.type == "call_expression" and node.parent and node.parent.type != "decorator"
    }
    assert {call for call in calls if "." not in call} - FUNCTIONS == set()


@each_file
def test_every_parameter_and_output_is_described(path: Path) -> None:
    bicep = Bicep(path)
    for kind in ("parameter_declaration", "output_declaration", "type_declaration"):
        bare = [
            text(node)
            for node, decorators in bicep.declarations(kind)
            if not any(item.startswith("@description(") for item in decorators)
        ]
        assert bare == []


@each_file
def test_modules_are_local(path: Path) -> None:
    """A module of a registry would need the network at build time."""
    assert [module.path for module in Bicep(path).modules if not module.path.exists()] == []


@each_file
def test_api_versions_are_not_previews_and_one_for_each_type(path: Path) -> None:
    used = {(item.type, item.version) for item in Bicep(path).resources}
    everywhere = {(item.type, item.version) for file in FILES for item in Bicep(file).resources}
    # Diagnostic settings with groups of categories have never had another version.
    previews = {kind for kind, version in used if "preview" in version}
    assert previews <= {"Microsoft.Insights/diagnosticSettings"}
    assert [kind for kind, _ in used if len({v for k, v in everywhere if k == kind}) > 1] == []


@each_file
def test_no_output_is_a_secret(path: Path) -> None:
    secret = re.compile(
        r"list\w*\(|\.value\b|password|accountKey|sharedAccess|\bsig=", re.IGNORECASE
    )
    outputs = Bicep(path).outputs.values()
    assert [item.name for item in outputs if secret.search(item.value)] == []


def test_keys_are_listed_nowhere_but_for_the_address_of_the_workflow() -> None:
    calls = [
        text(node.named_children[0])
        for path in FILES
        for node in walk(Bicep(path).root)
        if node.type == "call_expression" and text(node.named_children[0]).startswith("list")
    ]
    assert calls == ["listCallbackUrl"]
