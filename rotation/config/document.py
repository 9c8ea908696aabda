"""Reads YAML strictly, and knows the line of every value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Path = tuple[str | int, ...]
Mapping = dict[Any, Any]  # as it stands in a file: nobody has looked at its keys yet

MERGE = "tag:yaml.org,2002:merge"  # the key <<, which takes over another mapping's keys
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")  # as `fields.Name`: no other is shown
PARTS = ("clusters", "credentials")  # of which a folder's files may each have some
WHOLE = ("maxParallel",)  # that one of them alone may have
ANCHORS = "x-"  # what keys at the top begin with that hold nothing but anchors of YAML
# Keys at the top of a file, and where in each of its credentials they stand that have none there:
# those that list people, and others.
PEOPLE: dict[str, tuple[str, ...]] = {
    "viewers": ("viewers",),
    "starters": ("starters",),
    "approvers": ("approval", "approvers"),
}
FOR_ALL = {**PEOPLE, "windows": ("windows",), "blackouts": ("blackouts",)}
PLACEHOLDER = re.compile(r"\{(?:role|slot)\}")


class UnreadableError(ValueError):
    """A text is no YAML, or none of ours. The message says what is wrong; `line` where, from 1,
    and `file` in which file of a folder."""

    def __init__(self, text: str, line: int = 1, file: str = "") -> None:
        super().__init__(text)
        self.line = line
        self.file = file


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
    """The document in a YAML text. Raises `UnreadableError`."""
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            return Document(None if root is None else loader.construct_document(root), root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        where = f" (line {line}, column {mark.column + 1})" if mark else ""
        problem = f"it is not valid YAML: {error.problem or error.context}{where}"
        raise UnreadableError(f"{problem}{_unquoted(text, line)}", line) from None
    except yaml.YAMLError as error:
        raise UnreadableError(f"it is not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UnreadableError("it is nested too deeply") from None


def _unquoted(text: str, line: int) -> str:
    """What to do about a text that begins with a brace, which YAML takes for a mapping."""
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    found = PLACEHOLDER.search(written)
    return f"; quote a text with {found[0]} in it" if found else ""


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


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | str:
    """A whole number. 22:00 is a text, as it is in YAML 1.2: before, it was a number of base 60."""
    return node.value if ":" in node.value else loader.construct_yaml_int(node)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _number)


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


def dotted(path: Sequence[str | int], file: Any = None) -> str:
    """A path as text, its parts joined by dots.

    Of a list in the file whose mappings have names, such as workloads, an index is shown as the
    name, unless others there have it too.
    """
    parts: list[str] = []
    node = file
    for part in path:
        parts.append(_name(node, part))
        node = _value(node, part)
    return ".".join(parts)


def _name(node: Any, part: str | int) -> str:
    """What a part of a path is called below a node."""
    if isinstance(node, list) and isinstance(part, int):
        names = [each.get("name") if isinstance(each, dict) else None for each in node]
        name = names[part] if 0 <= part < len(names) else None
        if isinstance(name, str) and NAME.fullmatch(name) and names.count(name) == 1:
            return name
    return str(part)


def _value(node: Any, part: str | int) -> Any:
    """The value under a key or an index; None if there is none."""
    if isinstance(node, dict):
        return node.get(part)
    if isinstance(node, list) and isinstance(part, int) and 0 <= part < len(node):
        return node[part]
    return None


def value_at(node: Any, path: Sequence[str | int]) -> Any:
    """The value at a path, or None."""
    for part in path:
        node = _value(node, part)
    return node


@dataclass(frozen=True)
class Place:
    """A line, and the file that it is in; no file where there is one only."""

    file: str
    line: int


@dataclass
class Written:
    """One file, or the files of a folder as if they were one: the value of all, and where each
    part of it stands. `repeated` are the names that two files have, each with its place; `given`
    are what credentials have from the top of their file, as a credential's name and such a key."""

    value: Mapping
    files: list[tuple[str, Document]]
    owners: dict[tuple[str, Any], int] = field(default_factory=dict)
    repeated: list[tuple[Place, Path, str]] = field(default_factory=list)
    given: set[tuple[Any, str]] = field(default_factory=set)

    def place(self, path: Path) -> Place:
        """Where the value at a path stands, or the last part of the path that there is."""
        owner = self.owners.get((str(path[0]), path[1])) if len(path) > 1 else None
        if owner is None:
            owner = next((n for n, (_, each) in enumerate(self.files) if _has(each, path)), 0)
        name, document = self.files[owner]
        return Place(name, document.line(self.written(path)))

    def written(self, path: Path) -> Path:
        """The path in its file: that at the top, of what a credential has from there."""
        for key, inner in FOR_ALL.items():
            end = 2 + len(inner)
            at_it = path[:1] == ("credentials",) and path[2:end] == inner
            if at_it and (path[1], key) in self.given:
                return (key, *path[end:])
        return path

    def order(self, place: Place) -> tuple[int, int]:
        """What places are sorted by."""
        names = [name for name, _ in self.files]
        return names.index(place.file), place.line


def _has(document: Document, path: Sequence[str | int]) -> bool:
    return bool(path) and isinstance(document.value, dict) and path[0] in document.value


def one(text: str) -> Written:
    """A file that stands alone. Raises `UnreadableError`."""
    document = read(text)
    sections, given = _sections(document)
    return Written(sections, [("", document)], given=given)


def merged(files: Iterable[tuple[str, Document]]) -> Written:
    """The files of a folder, by name. A cluster or a credential may be in one of them only.

    Raises `UnreadableError` for a file that is no mapping, with its name in front.
    """
    listed = list(files)
    found = Written({}, listed)
    for number, (name, document) in enumerate(listed):
        try:
            sections, given = _sections(document)
        except UnreadableError as error:
            raise UnreadableError(f"{name}: {error}", error.line, name) from None
        for key, inner in sections.items():
            _take_over(found, number, key, inner)
        found.given |= {
            (name, key) for name, key in given if found.owners.get(("credentials", name)) == number
        }
    return found


def _take_over(found: Written, number: int, key: Any, inner: Any) -> None:
    """Adds what one of the files has under a key at its top."""
    before = found.value.get(key)
    if key in WHOLE and key in found.value:
        file, document = found.files[number]
        first = found.place((key,))
        text = f"is in {first.file} too (line {first.line}): keep it in one file"
        found.repeated.append((Place(file, document.line((key,))), (key,), text))
        return
    if key not in PARTS or not isinstance(inner, dict) or not isinstance(before, dict | None):
        found.value.setdefault(key, inner)  # what is wrong with it is said once
        return
    together = found.value.setdefault(key, {})
    file, document = found.files[number]
    for name, value in inner.items():
        if name in together:
            first = found.place((key, name))
            text = f"is in {first.file} too (line {first.line}): keep it in one file"
            found.repeated.append((Place(file, document.line((key, name))), (key, name), text))
            continue
        together[name] = value
        found.owners[key, name] = number


def _sections(document: Document) -> tuple[Mapping, set[tuple[Any, str]]]:
    """A file without the keys at its top that are there for anchors alone, and with those that are
    for all of its credentials in each; and which credentials have which of these from there.

    Raises `UnreadableError` for a file that is no mapping.
    """
    if not isinstance(document.value, dict):
        raise UnreadableError("the file must be a mapping of clusters and credentials")
    sections = {
        key: value
        for key, value in document.value.items()
        if not (isinstance(key, str) and key.startswith(ANCHORS))
    }
    credentials = sections.get("credentials")
    given: set[tuple[Any, str]] = set()
    if not isinstance(credentials, dict) or not credentials:
        return sections, given  # whoever validates it says that they are for nobody
    for key, (*between, last) in FOR_ALL.items():
        if key not in sections:
            continue
        value = sections.pop(key)
        for name, credential in credentials.items():
            changed = _with(credential, between, last, value)
            if changed is not None:
                credentials = {**credentials, name: changed}
                given.add((name, key))
    sections["credentials"] = credentials
    return sections, given


def _with(mapping: Any, between: Sequence[str], key: str, value: Any) -> Any:
    """A copy of a mapping that has a value under a key, of an inner one too; None where it has one
    already, or is no mapping."""
    if not isinstance(mapping, dict):
        return None
    if not between:
        return None if key in mapping else {**mapping, key: value}
    first, *rest = between
    inner = _with(mapping.get(first, {}), rest, key, value)
    return None if inner is None else {**mapping, first: inner}
