"""The table of parameters in docs/deploy.md, made from the templates.

`python -m tests.infra.parameters` writes it anew.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.infra.bicep import Bicep, Parameter, inner_object, text

if TYPE_CHECKING:
    import tree_sitter

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs/deploy.md"
START = "<!-- parameters: made by `python -m tests.infra.parameters` -->\n"
END = "<!-- end of parameters -->\n"


def description(decorators: tuple[str, ...]) -> tuple[str, str]:
    """The first word (Required, Optional) and the rest."""
    for decorator in decorators:
        found = re.fullmatch(r"@description\('(.*)'\)", decorator, re.DOTALL)
        if found:
            word, _, rest = found[1].replace("\\'", "'").partition(". ")
            return word, rest
    raise LookupError(f"no description in {decorators}")


def allowed(parameter: Parameter) -> str:
    """What @allowed lists, but for the default."""
    for decorator in parameter.decorators:
        found = re.fullmatch(r"@allowed\(\[(.*)\]\)", decorator, re.DOTALL)
        if found:
            values = re.findall(r"[\w.]+", found[1])
            default = (parameter.default or "").strip("'")
            return " Or " + ", ".join(f"`{v}`" for v in values if v != default) + "."
    return ""


def default_of(parameter: Parameter) -> str:
    if parameter.required:
        return "required"
    if parameter.default in {None, "{}", "[]"}:
        return "none"
    return f"`{(parameter.default or '').strip(chr(39))}`"


def type_of(written: str) -> str:
    """As written, without what says only that it is optional or how it is imported."""
    shown = re.sub(r"(\w+)Type\b", r"\1", written).removesuffix("?")
    return shown.replace("|", "\\|")  # it would end the cell


def parameter_rows(bicep: Bicep) -> list[str]:
    rows = []
    ordered = sorted(bicep.parameters.values(), key=lambda item: not item.required)
    for item in ordered:
        _, meaning = description(item.decorators)
        rows.append(
            f"| `{item.name}` | {default_of(item)} | `{type_of(item.type)}` | "
            f"{meaning}{allowed(item)} |"
        )
    return rows


def type_rows(node: tree_sitter.Node) -> list[str]:
    """One row for each property of an object type."""
    body = inner_object(node)
    assert body is not None, text(node)
    rows = []
    decorators: tuple[str, ...] = ()
    for child in body.named_children:
        if child.type == "decorators":
            decorators = (text(child),)
        elif child.type == "object_property":
            name, *kind = child.named_children
            word, meaning = description(decorators)
            shown = "required" if word == "Required" else "none"
            rows.append(f"| `{text(name)}` | {shown} | `{type_of(text(kind[-1]))}` | {meaning} |")
    return rows


def generated() -> str:
    head = "default | type | meaning |\n|---|---|---|---|\n"
    made = [f"| parameter | {head}" + "\n".join(parameter_rows(Bicep(ROOT / "infra/main.bicep")))]
    types = Bicep(ROOT / "infra/types.bicep")
    for node, _ in types.declarations("type_declaration"):
        name = text(node.named_children[0])
        if name != "texts":  # names and their texts: nothing to list
            made.append(f"`{name}`:\n\n| field | {head}" + "\n".join(type_rows(node)))
    return "\n\n".join(made) + "\n"


def written(guide: str) -> str:
    """The guide with the tables as they would be made now."""
    before, _, rest = guide.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{generated()}\n{END}{after}"


if __name__ == "__main__":
    GUIDE.write_text(written(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"wrote {GUIDE}\n")
