"""When a credential's owner lets its rotations begin, by the file as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions import windows
from rotation.decisions.windows import HORIZON
from rotation.model import wire
from rotation.model.activities import Opening
from rotation.model.commands import told
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rotation.config import Credential
    from rotation.decisions.windows import Hours
    from rotation.model.commands import Thing
    from rotation.model.reasons import Reason
    from rotation.model.world import SecretVersion
    from rotation.steps.running import Step

NONE = f"no window opens in the next {HORIZON.days} days"


def window(step: Step) -> Opening:
    """The time that is open at the reference's moment, or the next one."""
    at = step.reference.at
    if at is None:
        raise LookupError("the reference of window has no moment")
    return opening_at(step.hours, wire.instant(at))


def opening_at(hours: Hours, at: datetime) -> Opening:
    """The time that is open then, or the next one."""
    found = windows.opening(hours, at)
    if found is None:
        return Opening(words=NONE)
    closes = wire.moment(found.closes) if found.closes else None
    return Opening(wire.moment(found.opens), closes, found.words)


def latest(credential: Credential, live: SecretVersion | None) -> datetime | None:
    """The moment by which a rotation must have begun, so that it can be prepared before the live
    secret expires; None for one that does not."""
    if live is None or live.expires is None:
        return None
    return live.expires - credential.longest_preparation


def doubts(
    credential: Credential, live: SecretVersion | None, about: Thing, now: datetime
) -> Iterator[Reason]:
    """That the live secret expires before a rotation which begins by itself would be in a
    window."""
    last = latest(credential, live)
    if not credential.hours or live is None or live.expires is None or last is None:
        return
    due = max(now, live.expires - credential.rotate_before)
    found = windows.opening(credential.hours, due)
    if found is not None and found.opens <= last:
        return
    when = f"{NONE} from when it is due" if found is None else f"the first window is {found.words}"
    text = f"secret {live.secret} expires on {live.expires:%F}, is due on {due:%F}, and {when}"
    yield told(Code.EXPIRES_BEFORE_WINDOW, text, about)


def closed(credential: Credential, about: Thing, now: datetime) -> Iterator[Reason]:
    """That a rotation which is asked for now waits for a window."""
    found = windows.opening(credential.hours, now)
    if found is None or found.opens > now:
        until = NONE if found is None else f"until {found.words}"
        yield told(Code.WINDOW_CLOSED, f"it is outside its windows: it would wait, {until}", about)
