"""Reads Bicep files with the tree-sitter grammar, as far as the offline checks need.

This is no compiler: it knows the shape of a file and which names stand where, not the types of
Azure's resources.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import tree_sitter
import tree_sitter_bicep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LANGUAGE = tree_sitter.Language(tree_sitter_bicep.language())
BASE_TYPES = {"string", "int", "bool", "object", "array"}


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str  # as written, for example `string[]`
    required: bool
    default: str | None
    decorators: tuple[str, ...]


@dataclass(frozen=True)
class Output:
    name: str
    type: str
    value: str


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    params: dict[str, str]  # expressions, as written


@dataclass(frozen=True)
class Resource:
    name: str
    type: str
    version: str
    existing: bool
    node: tree_sitter.Node

    @property
    def text(self) -> str:
        return text(self.node)


def text(node: tree_sitter.Node | None) -> str:
    assert node is not None and node.text is not None  # noqa: PT018 - a parsed node has both
    return node.text.decode()


def walk(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def parse(source: bytes) -> tree_sitter.Node:
    return tree_sitter.Parser(LANGUAGE).parse(source).root_node


def literal(node: tree_sitter.Node) -> str:
    """The text between the quotes of a string without interpolation."""
    return text(node).removeprefix("'").removesuffix("'").replace("\\'", "'")


def properties(node: tree_sitter.Node) -> dict[str, tree_sitter.Node]:
    """The direct properties of an object: name to value."""
    found = {}
    for child in node.named_children:
        if child.type == "object_property":
            key, *values = child.named_children
            found[literal(key)] = values[-1] if values else key
    return found


def inner_object(node: tree_sitter.Node) -> tree_sitter.Node | None:
    """The object that a declaration assigns, below any loop and condition."""
    if node.type == "object":
        return node
    for child in reversed(node.named_children):
        if child.type in {"object", "for_statement", "if_statement"}:
            return inner_object(child)
    return None


class Bicep:
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = path.read_bytes()
        self.root = parse(self.source)

    @property
    def errors(self) -> list[str]:
        """Where the grammar did not understand the file."""
        return [
            f"{self.path}:{node.start_point.row + 1}: {text(node)[:60]!r}"
            for node in walk(self.root)
            if node.is_error or node.is_missing
        ]

    def declarations(self, kind: str) -> Iterator[tuple[tree_sitter.Node, tuple[str, ...]]]:
        """Declarations of one kind with the decorators before them."""
        decorators: tuple[str, ...] = ()
        for node in self.root.named_children:
            if node.type == "decorators":
                decorators = tuple(text(child) for child in node.named_children)
                continue
            if node.type == kind:
                yield node, decorators
            if node.type != "comment":
                decorators = ()

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        found = {}
        for node, decorators in self.declarations("parameter_declaration"):
            name, kind, *rest = node.named_children
            default = text(rest[0]) if rest else None
            required = default is None and not text(kind).endswith("?")
            found[text(name)] = Parameter(text(name), text(kind), required, default, decorators)
        return found

    @cached_property
    def outputs(self) -> dict[str, Output]:
        found = {}
        for node, _ in self.declarations("output_declaration"):
            name, kind, *value = node.named_children
            found[text(name)] = Output(text(name), text(kind), text(value[-1]))
        return found

    @cached_property
    def modules(self) -> list[Module]:
        found = []
        for node, _ in self.declarations("module_declaration"):
            name, path = node.named_children[:2]
            body = inner_object(node)
            given = properties(body).get("params") if body else None
            params = {key: text(value) for key, value in properties(given).items()} if given else {}
            found.append(Module(text(name), self.path.parent / literal(path), params))
        return found

    @cached_property
    def resources(self) -> list[Resource]:
        found = []
        for node, _ in self.declarations("resource_declaration"):
            name, kind = node.named_children[:2]
            type_name, version = literal(kind).split("@")
            existing = any(child.type == "existing" for child in node.children)
            found.append(Resource(text(name), type_name, version, existing, node))
        return found

    @cached_property
    def imports(self) -> list[tuple[list[str], Path]]:
        """Names (their own, not what `as` calls them) and the file they come from."""
        found = []
        for node, _ in self.declarations("import_functionality"):
            written = text(node).partition("{")[2].partition("}")[0]
            names = [item.split(" as ")[0].strip() for item in written.split(",")]
            found.append((names, self.path.parent / literal(node.named_children[-1])))
        return found

    def named(self, kind: str) -> set[str]:
        return {text(node.named_children[0]) for node, _ in self.declarations(kind)}

    def strings(self) -> set[str]:
        """Every string without interpolation."""
        return {literal(node) for node in walk(self.root) if node.type == "string"}
