"""The mutants of a module: its source with one small fault each."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SWAPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
TURNED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}

PLAIN = (ast.Name, ast.Attribute, ast.Call, ast.NamedExpr)  # a condition that has no other change


@dataclass(frozen=True)
class Mutant:
    """One small fault in a module; `change` says in `function` (a dotted name within the module)
    what became what. `once` is true of what runs on import only: a class's body.

    `original` is the module's source, `place` the number of a node and of a change that it allows;
    without a place nothing is changed.
    """

    module: str
    function: str
    line: int
    change: str
    original: str = field(repr=False)
    place: tuple[int, int] | None
    once: bool = False

    @property
    def key(self) -> str:
        """The mutant's name; a line number would change with each edit above it."""
        return f"{self.module} {self.function}: {self.change}"

    def tree(self) -> ast.Module:
        """The module with the fault, its lines numbered as in the original."""
        tree = ast.parse(self.original)
        if self.place is None:
            return tree
        place, number = self.place
        before, after = _changed(_nodes(tree)[place].itself)[number]

        class Replacing(ast.NodeTransformer):
            def visit(self, other: ast.AST) -> ast.AST:
                if other is not before:
                    return super().generic_visit(other)
                return ast.copy_location(after, before)

        Replacing().visit(tree)  # in place: no mutant replaces the module itself
        return ast.fix_missing_locations(tree)


def mutants(module: str, source: str) -> list[Mutant]:
    """The mutants of a module, in the order of the source; those alike in a function are numbered.

    Text that only people read is left alone.
    """
    tree = ast.parse(source)
    found: list[Mutant] = []
    alike: Counter[tuple[str, str]] = Counter()
    for place, node in enumerate(_nodes(tree)):
        for number, (before, after) in enumerate(_changed(node.itself)):
            text = f"{_shown(before)} -> {_shown(after)}"
            alike[node.function, text] += 1
            if alike[node.function, text] > 1:
                text += f" ({alike[node.function, text]})"
            line = getattr(node.itself, "lineno", 0)
            at = place, number
            found.append(Mutant(module, node.function, line, text, source, at, node.once))
    return found


class _Node(NamedTuple):
    itself: ast.AST
    function: str
    once: bool


def _shown(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:120]


def _nodes(tree: ast.Module) -> list[_Node]:
    """The statements and expressions that run, each with its function's name."""
    return list(_walk(tree, "", once=True))


def _walk(node: ast.AST, name: str, *, once: bool) -> Iterator[_Node]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        name = f"{name}.{node.name}".lstrip(".")
        once = isinstance(node, ast.ClassDef)
        children: list[ast.AST] = list(node.body)
    elif isinstance(node, ast.AnnAssign):
        children = [node.value] if node.value else []
    else:
        children = list(ast.iter_child_nodes(node))
    if name:
        yield _Node(node, name, once)
    for child in children:
        yield from _walk(child, name, once=once)


def _changed(node: ast.AST) -> list[tuple[ast.AST, ast.AST]]:
    """The changes that a node allows: pairs of a node before and after."""
    return [*_expressions(node), *_statements(node)]


def _expressions(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    match node:
        case ast.Compare(ops=[one]) if type(one) in SWAPPED:
            yield node, _but(node, ops=[SWAPPED[type(one)]()])
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield node, _but(node, op=other)
        case ast.UnaryOp(op=ast.Not()):
            yield node, node.operand
        case ast.BinOp(op=operator) if type(operator) in TURNED and not _texts(node):
            yield node, _but(node, op=TURNED[type(operator)]())
        case ast.Constant(value=bool() as flag):
            yield node, ast.Constant(not flag)
        case ast.Constant(value=int() as number):
            yield node, ast.Constant(number + 1)


def _statements(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    match node:
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield node, ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.YieldFrom() | ast.Await()) | ast.Raise():
            yield node, ast.Pass()
        case ast.If(test=test) | ast.IfExp(test=test) if isinstance(test, PLAIN):
            yield test, ast.UnaryOp(ast.Not(), test)


def _but(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _texts(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
