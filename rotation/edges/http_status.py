"""What an HTTP status of another system means: the error, and whether it may pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotation.model.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable

if TYPE_CHECKING:
    from rotation.model.reasons import Code


@dataclass(frozen=True)
class Codes:
    """The reason codes of one system, one for each kind of HTTP failure."""

    unavailable: Code
    denied: Code
    missing: Code
    conflict: Code
    invalid: Code
    token: Code  # of 401: our token was not accepted


def error(codes: Codes, text: str, status: int | None, retry_after: str | None = None) -> EdgeError:
    """The error that a status means; None and 0 mean that there was no answer."""
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
    """The seconds of a Retry-After header, or None: its form with a date is not used here."""
    return float(header) if header and header.isdecimal() else None
