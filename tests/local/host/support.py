"""The host process as the tests see it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.process import Component

if TYPE_CHECKING:
    import urllib3

SAMPLE = Path(__file__).parent / "sample_app.py"
FUNCTION_KEY, MASTER_KEY, SYSTEM_KEY = "function+key/1=", "master+key/2=", "system+key/3="


@dataclass
class Sample:
    """The host's process and what can be asked of it."""

    component: Component
    pool: urllib3.PoolManager
    notes: Path

    def call(
        self, method: str, path: str, *, key: str | None = None, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """`key` travels in the header."""
        headers = {**options.pop("headers", {}), **({"x-functions-key": key} if key else {})}
        url = self.component.url + path
        return self.pool.request(method, url, headers=headers, redirect=False, **options)

    def durable(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        return self.call(method, f"/runtime/webhooks/durabletask/{path}", key=SYSTEM_KEY, **options)

    def noted(self, name: str) -> list[Any]:
        """What the sample's functions noted under this name, oldest first."""
        if not self.notes.exists():
            return []
        lines = [json.loads(line) for line in self.notes.read_text(encoding="utf-8").splitlines()]
        return [line["value"] for line in lines if line["name"] == name]

    @property
    def log(self) -> str:
        return self.component.log.read_text(encoding="utf-8")


def sample(folder: Path, *arguments: str, settings: dict[str, str] | None = None) -> Component:
    """Not started. Timers are off unless `--timers on` is among the arguments."""
    environment = {
        "LOCAL_FUNCTION_KEY": FUNCTION_KEY,
        "LOCAL_MASTER_KEY": MASTER_KEY,
        "LOCAL_SYSTEM_KEY": SYSTEM_KEY,
        "SAMPLE_NOTES": str(folder / "notes"),
        "SAMPLE_SCHEDULE": "0 0 3 1 1 *",
        **(settings or {}),
    }
    options = ["--timers", "off", *arguments, "--journal", str(folder / "journal"), "--port", "0"]
    return Component.module(
        "host", "--app", str(SAMPLE), *options, log=folder / "log", env=environment
    )
