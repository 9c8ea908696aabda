"""When the next rotation of a credential is due by itself, and in words how that was worked out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from rotation.decisions.plan import EVENT_SLACK
from rotation.decisions.windows import HORIZON, Hours, opening
from rotation.model import wire
from rotation.model.wire import Moment

if TYPE_CHECKING:
    from datetime import datetime

# https://learn.microsoft.com/azure/event-grid/event-schema-key-vault
ANNOUNCED = timedelta(days=30)  # before a version's expiry, by Key Vault


class Due(Struct, frozen=True, kw_only=True, rename="camel"):
    """When the next rotation is due; `text` is how that was worked out, in sentences.

    `at` is None where nothing makes it due, or where it is not known: the text says which.
    """

    at: Moment | None
    text: str


def due(
    secret: str,
    expires: datetime | None,
    rotate_before: timedelta,
    now: datetime,
    *,
    paused: bool = False,
    schedule: str | None = None,
) -> Due:
    """When the version of this secret that serves, and expires then, makes a rotation due.

    `schedule` is that of the sweep, as the app setting has it. Key Vault's event counts only where
    `rotateBefore` is not much shorter than its 30 days, as `plan` has it.
    """
    if expires is None:
        text = f"Never by itself: secret {secret} has no expiry date."
        return Due(at=None, text=f"{text}{_pause(paused)}")
    counts = rotate_before + EVENT_SLACK >= ANNOUNCED
    at = expires - (max(rotate_before, ANNOUNCED) if counts else rotate_before)
    sweep = f"the sweep ({schedule})" if schedule else "the daily sweep"
    text = (
        f"Secret {secret} expires on {_day(expires)}. {sweep[0].upper()}{sweep[1:]} finds it due "
        f"{_days(rotate_before)} before (rotateBefore)"
    )
    if counts:
        text += f", and Key Vault announces it {ANNOUNCED.days} days before."
    else:
        text += f"; that Key Vault announces it {ANNOUNCED.days} days before comes too early."
    if at <= now:
        text += f" It is due now: {sweep} starts it at its next run."
    return Due(at=wire.moment(at), text=f"{text}{_pause(paused)}")


def in_window(when: Due, hours: Hours, now: datetime) -> Due:
    """The same, with a sentence about the window in which it begins, where it may not always."""
    if not hours or when.at is None:
        return when
    found = opening(hours, max(wire.instant(when.at), now))
    text = f"it waits for a window: none opens within {HORIZON.days} days"
    if found is not None:
        text = f"it begins in a window, from {found.words}"
    return Due(at=when.at, text=f"{when.text} Then {text}.")


def _pause(paused: bool) -> str:
    return " The app is paused: nothing starts by itself (ROTATION_PAUSED)." if paused else ""


def _day(at: datetime) -> str:
    return f"{at:%-d %b %Y, %H:%M} UTC"


def _days(length: timedelta) -> str:
    hours = length // timedelta(hours=1)
    return f"{hours // 24} days" if hours % 24 == 0 and hours >= 48 else f"{hours} h"
