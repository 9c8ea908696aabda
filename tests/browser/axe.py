"""Asks axe-core what keeps people out of a page: `make axe` installs it, or AXE_CORE names a file.

It is the npm package axe-core, whose rules are those of WCAG and what its makers hold for good
practice.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.process import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

MISSING = "no axe-core: run `make axe` (needs npm), or set AXE_CORE to its axe.min.js"


def script() -> str:
    """Its source. Skips the test without it."""
    file = Path(os.environ.get("AXE_CORE") or ROOT / ".axe/node_modules/axe-core/axe.min.js")
    if not file.is_file():
        pytest.skip(MISSING)
    return file.read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    """What axe-core finds on a page that has been given its script: each rule, with what broke it
    and where."""
    found: Any = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
