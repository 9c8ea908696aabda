"""The mail that an event would send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Link:
    """A link of a mail; `label` is the path of the link in the event's data, as `links.approve`."""

    label: str
    url: str


@dataclass(frozen=True)
class Mail:
    subject: str
    body: str
    links: tuple[Link, ...]


def mail(event: dict[str, Any]) -> Mail:
    """The mail for an event, in either of Event Grid's schemas."""
    kind = event.get("eventType") or event.get("type") or ""
    data = event.get("data")
    texts = data if isinstance(data, dict) else {}
    return Mail(
        subject=str(texts.get("title") or f"{kind}: {event.get('subject') or ''}"),
        body=str(texts.get("text") or ""),
        links=tuple(links(data)),
    )


def links(data: object, path: str = "") -> Iterator[Link]:
    """The web addresses among the strings of the data, in their order."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from links(value, f"{path}.{key}".lstrip("."))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from links(value, f"{path}[{number}]")
    elif isinstance(data, str) and _is_web_address(data):
        yield Link(path, data)


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and " " not in text
