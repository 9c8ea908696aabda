"""Reads YAML strictly, and knows the line of every value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Path = tuple[str | int, ...]
Mapping = dict[Any, Any]  # as it stands in a file: nobody has looked at its keys yet

MERGE = "tag:yaml.org,2002:merge"  # the key <<, which takes over another mapping's keys


@dataclass(frozen=True)
class Document:
    """The value of a YAML file, and its nodes, which know their lines."""

    value: Any
    root: yaml.Node | None

    def line(self, path: Sequence[str | int]) -> int:
        """The line of the value at a path, or of the last part of the path that exists."""
        node, line = self.root, 1
        for part in path:
            child = _child(node, part)
            if child is None:
                break
            node, line = child
        return line


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, int] | None:
    """The node under a key or index, and its line; None if there is none."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    return None


def read(text: str) -> Document:
    """The document in a YAML text. Raises `ValueError`, whose text says what is wrong and where."""
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            return Document(None if root is None else loader.construct_document(root), root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ValueError(f"it is not valid YAML: {error.problem or error.context}{where}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"it is not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping: YAML would silently drop the first."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            # What PyYAML's own constructors let through, for example for 2026-99-99.
            problem = f"this is not a value of type {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(
                None, None, f"{problem} ({type(error).__name__})", node.start_mark
            ) from None


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Mapping:
    """The mapping that a node stands for. Raises `ConstructorError` for a key that stands twice."""
    keys: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == MERGE:
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            raise _refusal("a key must be a plain text", key_node)
        key = loader.construct_object(key_node)
        if key in keys:
            raise _refusal(f"the key {key!r} stands twice", key_node)
        keys.add(key)
    return loader.construct_mapping(node, deep=True)


def _refusal(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def at(node: Any, *steps: str, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The paths that the steps lead to below a node, with their values; `*` is any key or index."""
    if not steps:
        yield path, node
        return
    if isinstance(node, dict):
        children: Iterator[tuple[Any, Any]] = iter(node.items())
    else:
        children = enumerate(node) if isinstance(node, list) else iter(())
    for key, child in children:
        if steps[0] in {"*", key}:
            yield from at(child, *steps[1:], path=(*path, key))


def dotted(path: Sequence[str | int]) -> str:
    """A path as text, its parts joined by dots."""
    return ".".join(str(part) for part in path)
