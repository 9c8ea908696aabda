"""Standard error: the host's own events as JSON lines, the app's logging as it is."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger("local.host")
_hidden: set[str] = set()


def event(
    name: str, level: int = logging.INFO, *, error: BaseException | None = None, **facts: object
) -> None:
    """One JSON line; `error` adds the traceback. Facts must be JSON values and hold no secret."""
    log.log(level, name, exc_info=error, extra={"facts": facts})


def hide(secrets: Iterable[str]) -> None:
    """Masks these from now on wherever they appear, plain or quoted for a URL.

    The app may log a management URL, and those carry the system key.
    """
    for secret in secrets:
        _hidden.update({secret, quote(secret, safe="")})


class JsonLines(logging.Formatter):
    """`{"time", "level", "event", facts..., "traceback"}` on one line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Redacted(logging.Formatter):
    """Another formatter's output without what is hidden."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        text = self._inner.format(record)
        for secret in _hidden:
            text = text.replace(secret, "***")
        return text


def configure() -> None:
    """Sets the root logger to INFO, as in the platform's worker, so that the app's records
    arrive."""
    _attach(logging.getLogger(), logging.Formatter())
    _attach(log, JsonLines())
    log.propagate = False


def _attach(logger: logging.Logger, formatter: logging.Formatter) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Redacted(formatter))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
