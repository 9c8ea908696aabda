"""rotation/front/openapi.json: its schemas of what the app answers with."""

from __future__ import annotations

import json
import re

from generate.schemas import components
from generate.text import document
from rotation.front.credentials import SeenCredential
from rotation.front.doctor import DryRun
from rotation.front.problems import Details
from rotation.model.reasons import WAIVABLE
from rotation.model.record import ShownRecord
from rotation.model.waves import Wave, WaveSummary
from rotation.telling.messages import Links

ROOT = "#/components/schemas/"
STRUCTURES = (ShownRecord, Wave, WaveSummary, SeenCredential, DryRun, Details, Links)


def made(text: str) -> str:
    """The text of openapi.json with the schemas of the app's answers.

    Paths, responses and the schemas that only they name are kept. Raises `LookupError`.
    """
    description = json.loads(text)
    schemas = components(STRUCTURES, ROOT + "{name}") | {"Waivable": _waivable()}
    by_hand = {
        name: schema
        for name, schema in description["components"]["schemas"].items()
        if name in _named({**description, "components": _without_schemas(description)})
        and name not in schemas
    }
    description["components"]["schemas"] = by_hand | schemas
    missing = _named(description) - (by_hand | schemas).keys()
    if missing:
        raise LookupError(f"openapi.json names schemas that are not there: {sorted(missing)}")
    return document(description)


def _waivable() -> dict[str, object]:
    """The schema of what a request may waive."""
    texts = "; ".join(f"{code}: {code.waived}" for code in WAIVABLE)
    return {
        "description": f"A code that can be waived, and what is done then. {texts}.",
        "enum": [str(code) for code in WAIVABLE],
    }


def _without_schemas(description: dict[str, dict[str, object]]) -> dict[str, object]:
    return {key: part for key, part in description["components"].items() if key != "schemas"}


def _named(description: object) -> set[str]:
    return set(re.findall(rf'"{ROOT}(\w+)"', json.dumps(description)))
