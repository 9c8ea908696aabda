"""The JSON Schema of `credentials.yaml`, by which editors complete, explain and underline.

It is what the keys and their values may be, with docs/configuration.md's words for each. What must
hold between sections only `check` says.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from generate.text import document
from rotation.config import Configuration, Section
from rotation.config.document import ANCHORS, FOR_ALL
from rotation.config.fields import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core.core_schema import CoreSchema

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TEXT: Schema = {"type": "string"}
# What may be written as a text instead of a mapping.
AS_TEXT = {"Address", "Endpoint", "Listed", "JobTest"}
# Whose keys have no table of their own.
UNTABLED = {"Address", "Endpoint", "Listed"}
ROW = re.compile(r"^\| `(\w+)` \|(?: .*?)? \|(?: (.+))? \|$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


class Generator(GenerateJsonSchema):
    """Defaults as the file would have them, and no titles, which would only repeat the keys."""

    def encode_default(self, dft: Any) -> Any:
        return duration_text(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def field_title_should_be_set(self, schema: CoreSchema) -> bool:  # noqa: ARG002
        return False


def schema(guide: str) -> Schema:
    """The schema of a file, or of each file of a folder, which may have a part of the whole.

    `guide` is the text of docs/configuration.md.
    """
    made = Configuration.model_json_schema(by_alias=True, schema_generator=Generator)
    models = {model.__name__: model for model in Section.__subclasses__()}
    tables = list(_tables(guide))
    for name, section in {**made["$defs"], "Configuration": made}.items():
        section.pop("title", None)
        if name not in UNTABLED:
            _explain(section, models.get(name, Configuration), tables)
        if name in AS_TEXT:
            mapping = dict(section)
            section.clear()
            section["anyOf"] = [TEXT, mapping]
    made.pop("required")
    _add_for_all(made, tables)
    _close(made)
    made["patternProperties"] = {f"^{ANCHORS}": {"description": "For anchors: not looked at."}}
    return {"$schema": DIALECT, "title": "credentials.yaml", **made}


def _add_for_all(made: Schema, tables: list[dict[str, str]]) -> None:
    """Adds the keys at the top that are for all credentials of a file."""
    (meanings,) = (table for table in tables if FOR_ALL.keys() <= table.keys())
    for key, (*between, last) in FOR_ALL.items():
        section = made["$defs"]["Approval" if between else "Credential"]
        own = {**section["properties"][last], "description": meanings[key]}
        made["properties"][key] = own


def _tables(guide: str) -> Iterator[dict[str, str]]:
    """The meanings of keys in each table of the guide."""
    for table in re.split(r"\n\n+", guide):
        rows = dict(ROW.findall(table))
        if rows:
            yield {key: LINK.sub(r"\1", meaning) for key, meaning in rows.items()}


def _explain(section: Schema, model: type[Section], tables: list[dict[str, str]]) -> None:
    """Gives each key of a section its meaning, from the smallest table that has all of them."""
    keys = {str(field.alias) for field in model.model_fields.values()}
    fitting = [table for table in tables if keys <= table.keys()]
    meanings = min(fitting, key=len, default={})
    for key, value in section.get("properties", {}).items():
        if meanings.get(key):
            value["description"] = meanings[key]


def _close(node: Any) -> None:
    """Lets a mapping whose keys have a form have no others."""
    if isinstance(node, dict):
        if "patternProperties" in node:
            node.setdefault("additionalProperties", False)
        for inner in node.values():
            _close(inner)
    elif isinstance(node, list):
        for inner in node:
            _close(inner)


def made(guide: str) -> str:
    return document(schema(guide))
