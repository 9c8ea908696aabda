"""What an HTTP status of another system means: the error, and whether it may pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotation.model.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable

if TYPE_CHECKING:
    from rotation.model.reasons import Code


@dataclass(frozen=True)
class Codes:
    """The reasons that one system has for what a status says."""

    unavailable: Code
    denied: Code
    missing: Code
    conflict: Code
    invalid: Code
    token: Code  # it does not know us


def error(codes: Codes, text: str, status: int | None, retry_after: str | None = None) -> EdgeError:
    """No status at all, or 0, means that there was no answer; `retry_after` is the header."""
    if status == 401:
        return Denied(codes.token, f"{text}; {codes.token.remedy}")
    if status == 403:
        return Denied(codes.denied, f"{text}; {codes.denied.remedy}")
    if status == 404:
        return Missing(codes.missing, text)
    if status == 409:
        return Conflict(codes.conflict, text)
    if not status or status in {408, 429} or status >= 500:
        return Unavailable(codes.unavailable, text, retry_after=_seconds(retry_after))
    return Invalid(codes.invalid, text)


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is not used by these systems."""
    return float(header) if header and header.isdecimal() else None
