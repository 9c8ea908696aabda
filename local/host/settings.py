"""What the host is told: keys and switches from the environment, app settings, host.json."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from pathlib import Path

KEY_NAMES = ("LOCAL_FUNCTION_KEY", "LOCAL_MASTER_KEY", "LOCAL_SYSTEM_KEY")
SHORTEST_KEY = 8
SWITCH = "LOCAL_EASY_AUTH"
DEFAULT_TIMEOUT = 30 * 60.0  # seconds; what Flex Consumption uses when host.json is silent


class SettingsError(Exception):
    """The host cannot start as it was told; the message lists every problem found."""


@dataclass(frozen=True)
class Keys:
    """Never printed: not even their lengths."""

    function: str = field(repr=False)
    master: str = field(repr=False)
    system: str = field(repr=False)

    @property
    def all(self) -> tuple[str, str, str]:
        return (self.function, self.master, self.system)


@dataclass(frozen=True)
class Switches:
    """From the environment. The keys are taken out of it: on Azure the app does not see them."""

    keys: Keys
    easy_auth: bool

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Switches:
        """Raises `SettingsError` that names all missing keys and a wrong switch together."""
        problems = [
            f"{name} must be a key of your choice with {SHORTEST_KEY} characters or more"
            for name in KEY_NAMES
            if len(environ.get(name, "")) < SHORTEST_KEY
        ]
        switch = environ.get(SWITCH, "off")
        if switch not in {"on", "off"}:
            problems.append(f"{SWITCH} is {switch!r}: use on or off")
        if problems:
            raise SettingsError("; ".join(problems))
        function, master, system = (environ.pop(name) for name in KEY_NAMES)
        return cls(Keys(function, master, system), switch == "on")


@dataclass(frozen=True)
class HostFile:
    """The parts of host.json that matter here. `timeout` is in seconds, None for no limit."""

    route_prefix: str = "api"
    timeout: float | None = DEFAULT_TIMEOUT
    task_hub: str = "LocalHub"
    durable: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> HostFile:
        """A missing file means the defaults, as on the platform."""
        if not path.exists():
            return cls()
        content = _json_object(path)
        extensions = content.get("extensions", {})
        durable = extensions.get("durableTask", {})
        return cls(
            route_prefix=extensions.get("http", {}).get("routePrefix", cls.route_prefix).strip("/"),
            timeout=parse_timeout(content.get("functionTimeout")),
            task_hub=durable.get("hubName", cls.task_hub),
            durable=durable,
        )

    @property
    def version(self) -> str:
        """What an orchestration gets that is started without a version of its own."""
        return str(self.durable.get("defaultVersion", ""))

    def extension_settings(self) -> dict[str, str]:
        """The environment that the durable host takes these settings from."""
        provider = self.durable.get("storageProvider", {})
        given = {
            "VERSION": self.durable.get("defaultVersion"),
            "MATCH": self.durable.get("versionMatchStrategy"),
            "MISMATCH": self.durable.get("versionFailureStrategy"),
            "POLL": provider.get("maxQueuePollingInterval"),
            "STORAGE_TIMEOUT": provider.get("workItemQueueVisibilityTimeout"),
        }
        return {name: str(value) for name, value in given.items() if value is not None}


def parse_timeout(text: str | None) -> float | None:
    """`hh:mm:ss` in seconds; `-1` is no limit. Raises `SettingsError`."""
    if text is None:
        return DEFAULT_TIMEOUT
    if text == "-1":
        return None
    parts = re.fullmatch(r"(\d+):([0-5]?\d):([0-5]?\d)", text)
    if parts is None:
        raise SettingsError(
            f"host.json: functionTimeout is {text!r}: use hh:mm:ss, or -1 for no limit"
        )
    hours, minutes, seconds = (int(part) for part in parts.groups())
    return hours * 3600.0 + minutes * 60 + seconds


def read_values(path: Path) -> dict[str, str]:
    """`Values` of a file in the shape of local.settings.json. Raises `SettingsError`."""
    content = _json_object(path)
    if content.get("IsEncrypted"):
        raise SettingsError(f"{path}: the file is encrypted; decrypt it with the Core Tools first")
    values = content.get("Values", {})
    wrong = [name for name, value in values.items() if not isinstance(value, str)]
    if wrong:
        raise SettingsError(f"{path}: Values must be strings: {', '.join(wrong)}")
    return dict(values)


def apply(values: Mapping[str, str], environ: MutableMapping[str, str]) -> None:
    """The environment wins over the file."""
    for name, value in values.items():
        environ.setdefault(name, value)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: must hold a JSON object")
    return content
