"""What a look at a credential's world finds, for whoever asks what stands in a rotation's way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from rotation.model.reasons import WAIVABLE, Reason

if TYPE_CHECKING:
    from collections.abc import Collection

# What a rotation that is due now would do about it: be refused; wait until it has passed; begin,
# and be taken back before traffic moves; go on, since it is waived; go on and tell.
Severity = Literal["refuses", "waits", "aborts", "waived", "tells"]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was found in a credential's world.

    `object` is the kind and name of what it is about, `command` mends it: a place in `<...>` is to
    be filled in. Both are empty where there is none. `waivable`: who may approve may waive it.
    """

    severity: Severity
    code: str
    object: str
    text: str
    remedy: str
    command: str
    waivable: bool

    @property
    def reason(self) -> Reason:
        return Reason(self.code, self.text, self.remedy, self.object, self.command)


def found(severity: Severity, why: Reason, waive: Collection[str] = ()) -> Finding:
    """The finding of a reason. Of the codes in `waive` those count that can be waived."""
    waivable = why.code in WAIVABLE
    return Finding(
        severity="waived" if waivable and why.code in waive and severity != "tells" else severity,
        code=why.code,
        object=why.object,
        text=why.text,
        remedy=why.remedy,
        command=why.command,
        waivable=waivable,
    )
