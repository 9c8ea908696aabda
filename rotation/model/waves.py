"""A wave: many rotations that somebody asks for at once, and that begin a few at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from msgspec import Struct, field

from rotation.model.catalogue import WaveAnnouncement
from rotation.model.wire import JsonObject, Moment

# Of a credential in a wave: it has yet to begin, is under way, waits for a decision, could not be
# started, or was busy with another rotation; else how its rotation ended.
MemberState = Literal[
    "planned",
    "started",
    "waiting",
    "busy",
    "not-started",
    "completed",
    "rolled-back",
    "aborted",
    "skipped",
    "refused",
    "needs-attention",
    "superseded",
]
UNDER_WAY = ("planned", "started")
FAILED = ("not-started", "rolled-back", "aborted", "refused", "needs-attention")
WavePhase = Literal["running", "pausing", "completed", "stopped", "cancelled"]
Running = Literal["keep", "cancel"]


class WaveMember(Struct, frozen=True, kw_only=True, rename="camel"):
    """A credential of a wave, with its rotation; `text` says why that is not under way."""

    credential: str
    rotation: str
    state: MemberState = "planned"
    text: str = ""


class WaveLeft(Struct, frozen=True, kw_only=True, rename="camel"):
    """A credential that was selected, and is not in the wave: why not."""

    credential: str
    text: str


class WaveCancel(Struct, frozen=True, kw_only=True, rename="camel"):
    """Somebody's wish that nothing more begins. `running`: what has begun goes on, or is cancelled
    where it has not swapped yet."""

    by: str
    channel: str
    comment: str
    running: Running
    at: Moment | None = None


class Wave(Struct, kw_only=True, rename="camel"):
    """A wave's record: its orchestration's input, which it continues with, and its output.

    `select` is what was asked for. Of whoever asked, `known_as`, `object_id` and `signed_in` are as
    in a rotation's request. `first` is how many begin alone, as canaries; then `size` at once, each
    after a `pause` in seconds, until `stop_after` have failed. `batch` is the number of those that
    are under way, from 0. `why` says why it ended. `cancelling` is the event that a cancel is
    raised as; None when it has ended. `told` counts its events.
    """

    wave: str
    requested_by: str
    reason: str
    select: JsonObject
    first: int
    size: int
    pause: float
    stop_after: int
    members: list[WaveMember]
    left: list[WaveLeft] = field(default_factory=list)
    known_as: list[str] = field(default_factory=list)
    object_id: str | None = None
    signed_in: bool = False
    outside_window: str | None = None
    started: Moment | None = None
    batch: int = 0
    phase: WavePhase = "running"
    until: Moment | None = None
    why: str = ""
    cancelling: str | None = "cancel-1"
    cancelled: WaveCancel | None = None
    ignored: int = 0
    told: int = 0

    @property
    def batches(self) -> list[list[WaveMember]]:
        """The members that begin together, in their order."""
        cuts = [0, *range(self.first, len(self.members), self.size), len(self.members)]
        parts = [self.members[a:b] for a, b in pairwise(cuts)]
        return [part for part in parts if part]


class WaveNotice(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is logged and published of a wave: how far it is. `number` counts its notices; `members`
    says how many are in which state."""

    kind: WaveAnnouncement
    number: int
    time: Moment
    wave: str
    requested_by: str
    reason: str
    phase: WavePhase
    why: str
    members: dict[str, int]
    cancelled: WaveCancel | None = None


class WaveSummary(Struct, frozen=True, kw_only=True, rename="camel"):
    """A wave in a list: how far it is. `members` says how many are in which state, of those that
    whoever asks sees."""

    wave: str
    requested_by: str
    reason: str
    phase: WavePhase
    why: str
    started: Moment | None
    until: Moment | None
    members: dict[str, int]


class WaveStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a wave shows while it runs, of what changes: `members` are those that are under way."""

    batch: int
    phase: WavePhase
    members: list[WaveMember]
    until: Moment | None
    cancelling: str | None
    cancelled: WaveCancel | None
    waits: str = ""


class Followed(Struct, frozen=True, omit_defaults=True):
    """The answer of the activities of a wave: how members stand."""

    members: list[WaveMember] = field(default_factory=list)
