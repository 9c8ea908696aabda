"""The files that are generated, or have parts that are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from generate import (
    bicep,
    clouds,
    configuration,
    events,
    guarantees,
    openapi,
    parity,
    recipes,
    recovery,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
EVENTS = ROOT / "docs" / "events"

# Each is given the file as it stands, and answers with the file as it is to be.
MADE: dict[Path, Callable[[str], str]] = {
    ROOT / "rotation" / "front" / "openapi.json": openapi.made,
    ROOT / "docs" / "applications.md": recipes.made,
    ROOT / "docs" / "recovery.md": recovery.made,
    ROOT / "docs" / "guarantees.md": guarantees.made,
    ROOT / "infra" / "clouds.json": clouds.made,
    ROOT / "infra" / "database" / "parity.sql": parity.made,
    ROOT / "infra" / "events.bicep": bicep.subscriptions,
    ROOT / "infra" / "modules" / "alerts.bicep": bicep.alerts,
}


def made() -> dict[Path, str]:
    """The generated files: paths with texts.

    Raises `LookupError` for a file without the place for its part.
    """
    texts = {path: make(path.read_text(encoding="utf-8")) for path, make in MADE.items()}
    guide = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    texts[ROOT / "rotation" / "config" / "credentials.schema.json"] = configuration.made(guide)
    texts[ROOT / "rotctl" / "words.json"] = words.made()
    return texts | {EVENTS / name: text for name, text in events.made().items()}


def differing() -> dict[Path, str]:
    """The generated files that do not exist or have another text: paths with their texts."""
    return {
        path: text
        for path, text in made().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
