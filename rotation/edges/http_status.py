"""What an HTTP status of another system means: the error, and whether it may pass.

What a status says of the request itself is final: the same request gets the same answer. Whatever
is not listed may pass.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from rotation.model.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from datetime import datetime

# https://www.rfc-editor.org/rfc/rfc9110#section-15.5: of the client's errors those that a repeat
# does not change. 401 and 403 are refusals; 408, 421, 423, 425 and 429 ask for a repeat.
FINAL = frozenset({400, 404, 405, 406, 409, 410, 411, 413, 414, 415, 417, 422})
LONGEST_PAUSE = 86_400.0  # seconds; who asks for more is asked again after a day


@dataclass(frozen=True)
class Codes:
    """The reason codes of one system, one for each kind of HTTP failure, and the statuses that are
    final there."""

    unavailable: Code
    denied: Code
    missing: Code
    conflict: Code
    invalid: Code
    token: Code  # of 401: our token was not accepted
    final: frozenset[int] = FINAL


# Of whoever answers the queries of conditions.
METRICS = Codes(
    unavailable=Code.METRICS_UNAVAILABLE,
    denied=Code.METRICS_DENIED,
    missing=Code.METRICS_QUERY,
    conflict=Code.METRICS_UNAVAILABLE,
    invalid=Code.METRICS_QUERY,
    token=Code.METRICS_DENIED,
)


def error(codes: Codes, text: str, status: int | None, retry_after: str | None = None) -> EdgeError:
    """The error that a status means; None and 0 mean that there was no answer."""
    if status == 401:
        return Denied(codes.token, f"{text}; {codes.token.remedy}")
    if status == 403:
        return Denied(codes.denied, f"{text}; {codes.denied.remedy}")
    if status not in codes.final:
        code = codes.conflict if status == 409 else codes.unavailable
        return Unavailable(code, text, retry_after=pause(retry_after))
    if status == 404:
        return Missing(codes.missing, text)
    if status == 409:
        return Conflict(codes.conflict, text)
    return Invalid(codes.invalid, text)


def pause(header: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, given as a number or as a date; None without
    one, or if it is neither."""
    if not header:
        return None
    if header.isascii() and header.isdecimal():
        return min(float(header), LONGEST_PAUSE)
    try:
        at = parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(at - time.time(), 0.0), LONGEST_PAUSE)


def clock(header: str | None) -> datetime | None:
    """The time in a Date header, which has whole seconds; None without one, or if it is none."""
    try:
        return None if header is None else parsedate_to_datetime(header).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
