"""The activities by name, with the structures of their inputs and answers.

The orchestrators call activities and sub-orchestrators by the symbols below. Names only cross,
never a value that is secret: all of it is stored in clear text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from msgspec import Struct, field

from rotation.model.catalogue import Announcement, Gate, OnDeadline, Outcome, Progress
from rotation.model.places import Granted, Held
from rotation.model.reasons import Reason
from rotation.model.record import (
    AwaitedWindow,
    Cancel,
    ConditionSeen,
    Connection,
    Decision,
    Evidence,
    EvidenceSummary,
    Leak,
    Place,
    Request,
    SessionCount,
    Waiver,
)
from rotation.model.waves import Followed, Wave, WaveNotice
from rotation.model.wire import JsonObject, Moment
from rotation.model.world import Slot

Through = Literal["service", "preview", "shared"]


class Retry(Struct, frozen=True, rename="camel"):
    """How long calls are retried, in seconds: after faults that pass, after refusals, and after
    what is final for all that is known."""

    transient: float
    refusals: float = 0.0
    final: float = 0.0


class WorkloadTimes(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A workload's timeouts, in seconds, and whether its replaced pods end at the swap: `stops`.

    `ready` is for the standby Deployment to be ready, `drain` for a slot's pods to be gone. Of a
    workload `in_place` they are for its pods to use the other login, and for their last session of
    the former. Of what HTTPRoutes share, `weights` are the percentages that the new slot gets on
    the way to all of it, `settle` is for requests to end that were under way when it went back.
    `jobs` is for tests that are Jobs; 0 where there are none.
    """

    ready: float
    drain: float
    stops: bool = False
    in_place: bool = False
    weights: list[int] = field(default_factory=list)
    settle: float = 0.0
    jobs: float = 0.0


class ApprovalPolicy(Struct, frozen=True, kw_only=True, rename="camel"):
    """When an approval is reminded of and overdue, and what happens then. Times are in seconds.

    `four_eyes`: whoever asked for the rotation may not approve it.
    """

    remind: float
    deadline: float
    on_deadline: OnDeadline
    soak: float | None
    four_eyes: bool


class Policy(Struct, frozen=True, kw_only=True, rename="camel"):
    """The timeouts and rules of a rotation, as the configuration had them when it began.

    `forward` are the retries while stopping is still possible, `undo` where there is no way but on.
    `windows`: it begins nothing outside its windows; `retire_in_window`: nor retires there.
    `before` are the rules of a decision before the swap, if one is asked for; `asks_after`: one is
    after it. There are so many `conditions`, which are looked at for `watch` after the swap, and
    while a decision is waited for. `canary` is the workload that moves first.
    `things` are what it works on, where one of them has a limit: it waits for a place there.
    """

    forward: Retry
    undo: Retry
    drain: float  # seconds, for the replaced role's sessions
    workloads: dict[str, WorkloadTimes]
    approval: ApprovalPolicy
    windows: bool = False
    retire_in_window: bool = False
    before: ApprovalPolicy | None = None
    asks_after: bool = True
    conditions: int = 0
    watch: float = 0.0  # seconds
    canary: str | None = None
    things: list[str] = field(default_factory=list)


class Terms(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a decision is about: the slots, the deadline, and what happens then.

    After the swap `serves` does so, and an approval retires `replaced`. Before it (`gate`) these
    are what an approval makes of them; `again`: another decision is asked for afterwards.
    """

    serves: Slot
    replaced: Slot
    deadline: Moment
    on_deadline: OnDeadline
    gate: Gate = "after"
    again: bool = True


class Notice(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Something that happened in a rotation, to be logged and announced.

    `number` makes a repeat the same event.
    """

    kind: Announcement | None  # None: it is only logged
    number: int
    time: Moment
    request: Request
    terms: Terms | None = None
    evidence: EvidenceSummary | None = None
    sessions: list[SessionCount] | None = None
    overdue: bool | None = None
    decision: Decision | None = None
    cancelled: Cancel | None = None
    window: AwaitedWindow | None = None
    conditions: list[ConditionSeen] = field(default_factory=list)
    place: Place | None = None
    leak: Leak | None = None
    outcome: Outcome | None = None
    outcome_reason: str | None = None
    reasons: list[Reason] = field(default_factory=list)
    waivers: list[Waiver] = field(default_factory=list)


class Reference(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The input of an activity: the names of what it is about.

    `slot` is the one that the step is about.
    """

    rotation: str
    credential: str
    slot: Slot | None = None
    workload: str | None = None
    version: str | None = None  # of the slot's secret
    through: Through | None = None  # which Service tests go through
    request: Request | None = None
    notice: Notice | None = None
    event: JsonObject | None = None  # to publish
    entry: str | None = None  # that the rotation was planned with: see `rotation.config.kept`
    level: bool = False  # traffic moves only to a slot with the images that serve
    template: bool = False  # to start with the pod template that serves
    images: dict[str, str] | None = None  # to start, by container; else those that serve
    waived: list[str] = field(default_factory=list)  # the codes of what was waived for the rotation
    phase: str | None = None  # when Jobs run: once each in one of them
    few: bool = False  # pods: as many as are ready will do
    share: int = 100  # percent of what HTTPRoutes share that the slot gets at a swap
    early: bool = False  # pods end at the swap, before anybody has approved: nothing calls them
    back: bool = False  # the slot's login is the one that served before
    swapped: Moment | None = None  # when traffic had moved to the slot
    cut: bool = False  # the login that serves was ended: no way back to it
    parts: list[str] = field(default_factory=list)  # instances that are to stop
    at: Moment | None = None  # by the story's clock, of which it is asked whether a window is open
    place: str | None = None  # the instance by which a place is asked for
    held: list[Held] = field(default_factory=list)  # places that rotations have
    anew: bool = False  # who has a place is to be found out
    told: list[str] = field(default_factory=list)  # instances that are to hear of their place
    wave: Wave | None = None  # with those of its members that it is about
    wave_notice: WaveNotice | None = None


class Nothing(Struct, frozen=True):
    """The answer of an activity that has done its work and has nothing to say."""


class Planned(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The answer of `plan`: the slot to rotate away from, by what policy, and with what `entry`.

    Without a slot the rotation ends, with the outcome and for the reasons. `waivers` are problems
    that are none of those, since somebody has waived them. `doubts` stand in no way, and are told.
    `latest` is the moment by which a window must have opened, so that the secret that serves does
    not expire before its rotation is prepared; None where it does not expire.
    """

    active: Slot | None = None
    policy: Policy | None = None
    outcome: Outcome | None = None
    reasons: list[Reason] = field(default_factory=list)
    waivers: list[Waiver] = field(default_factory=list)
    doubts: list[Reason] = field(default_factory=list)
    entry: str | None = None
    latest: Moment | None = None


class Located(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The answer of `locate`: the login that has leaked, who is connected with it, and by what
    policy and with what `entry` an incident goes on. Without a slot nothing is done, for the
    reasons."""

    slot: Slot | None = None
    role: str = ""
    version: str | None = None
    serves: bool = False
    connected: list[Connection] = field(default_factory=list)
    policy: Policy | None = None
    entry: str | None = None
    reasons: list[Reason] = field(default_factory=list)


class Ended(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `cut`: whether the login is refused everywhere and no session is `left`, and
    those that it ended. `observed` is what was seen last."""

    left: bool
    connected: list[Connection] = field(default_factory=list)
    observed: str = ""


class Staged(Struct, frozen=True):
    """The answer of `stage`: the secret version that holds the new password."""

    version: str


class Watched(Struct, frozen=True):
    """The answer of one bounded watch: whether the wait is `done`, and what was seen last.

    `code` says why, where more is known than that the wait is not over.
    """

    done: bool
    observed: str = ""
    code: str | None = None


class Opening(Struct, frozen=True, omit_defaults=True):
    """The answer of `window`: the time in which rotations may begin that is open, or the next one.

    Without `opens` none is near; without `closes` it stays open. `words` are the opening in words,
    by a clock of the owner's.
    """

    opens: Moment | None = None
    closes: Moment | None = None
    words: str = ""


class Measured(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a condition's query was answered with, and what its owner makes of that.

    `lasts` is how long, in seconds, it has to be beyond its limit; `unknown_breaches`: so is a
    source that is not to be asked for long.
    """

    seen: ConditionSeen
    lasts: float = 0.0
    unknown_breaches: bool = False


class Looked(Struct, frozen=True):
    """The answer of `conditions`: each of them, by the file as it is now."""

    conditions: list[Measured]


class Moved(Struct, frozen=True, omit_defaults=True):
    """The answer of `swap` and `swap_back`.

    With `released`, the images that serve and that the slot does not have yet, traffic did not
    move; `had` are the slot's own. So it is with `template`: names, by paths, what the pod template
    that serves has and the slot's has not. `left` says what traffic left behind where it moved.
    """

    released: dict[str, str] = field(default_factory=dict)
    had: dict[str, str] = field(default_factory=dict)
    template: str = ""
    left: str = ""


class Ready(Struct, frozen=True, omit_defaults=True):
    """The answer of `notify`: the event to publish, in the Event Grid schema, if there is one.

    `changed` is what the file says by now, and did not when the rotation was planned; None where
    it goes on with the file.
    """

    event: JsonObject | None = None
    changed: list[str] | None = None


A = TypeVar("A", bound=Struct)


@dataclass(frozen=True)
class Activity(Generic[A]):
    """An activity's name in the app, the structure that it answers with, and what a workload's part
    shows while it runs."""

    name: str
    answer: type[A]
    progress: Progress | None = None


PLAN = Activity("plan", Planned)
WINDOW = Activity("window", Opening)
CONDITIONS = Activity("conditions", Looked)
LOCATE = Activity("locate", Located)
CUT = Activity("cut", Ended)
STAGE = Activity("stage", Staged)
ACTIVATE = Activity("activate", Nothing)
VERIFY = Activity("verify", Nothing)
DELIVER = Activity("deliver", Nothing, Progress.DELIVER)
START = Activity("start", Nothing, Progress.START)
AWAIT_READY = Activity("await_ready", Watched, Progress.AWAIT_READY)
TEST = Activity("test", Nothing, Progress.TEST)
RUN_JOBS = Activity("run_jobs", Nothing, Progress.TEST)
AWAIT_JOBS = Activity("await_jobs", Watched, Progress.TEST)
LEVEL = Activity("level", Nothing, Progress.LEVEL)
SWAP = Activity("swap", Moved, Progress.SWAP)
SWAP_BACK = Activity("swap_back", Moved, Progress.SWAP_BACK)
AWAIT_LOGIN = Activity("await_login", Watched, Progress.AWAIT_LOGIN)
CONFIRM = Activity("confirm", Nothing)
SCALE_DOWN = Activity("scale_down", Nothing, Progress.SCALE_DOWN)
AWAIT_GONE = Activity("await_gone", Watched, Progress.AWAIT_GONE)
AWAIT_SESSIONS = Activity("await_sessions", Watched)
DEACTIVATE = Activity("deactivate", Nothing)
DISABLE = Activity("disable", Nothing)
EVIDENCE = Activity("evidence", Evidence)
NOTIFY = Activity("notify", Ready)
STOP_PARTS = Activity("stop_parts", Nothing)
TAKE_OVER = Activity("take_over", Nothing)
PUBLISH_EVENT = Activity("publish_event", Nothing)
KEEP = Activity("keep_record", Watched)
ASK_PLACE = Activity("ask_place", Watched)
GRANT_PLACES = Activity("grant_places", Granted)
TELL_PLACES = Activity("tell_places", Nothing)
START_ROTATIONS = Activity("start_rotations", Followed)
FOLLOW_ROTATIONS = Activity("follow_rotations", Followed)
CANCEL_ROTATIONS = Activity("cancel_rotations", Followed)
TELL_WAVE = Activity("tell_wave", Nothing)


class Part(Struct, frozen=True, rename="camel"):
    """The input of one workload's part of a step."""

    reference: Reference
    retry: Retry
    times: WorkloadTimes


class Standing(Struct, rename="camel", omit_defaults=True):
    """How a condition has stood: since when it is beyond its limit, and since when it is not known;
    `told`: that was said."""

    beyond: Moment | None = None
    unknown: Moment | None = None
    told: bool = False


class Watch(Struct, frozen=True, kw_only=True, rename="camel"):
    """The input of a watch over conditions: it looks `every` so many seconds.

    It ends at the first breach; when there is something new to tell; after some looks; and, with
    `until`, from then on as soon as nothing is pending. `patience` is how long a source may be
    unknown that its owner does not ignore, in seconds. `standing` is what the watch before it had.
    """

    reference: Reference
    every: float
    patience: float
    until: Moment | None = None
    standing: dict[str, Standing] = field(default_factory=dict)


class WatchEnded(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How a watch over conditions ended: what it saw last, and how each has stood.

    `unknown` are those to tell of; `over`: `until` has come, and nothing is pending.
    """

    seen: list[ConditionSeen] = field(default_factory=list)
    standing: dict[str, Standing] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    over: bool = False


STOP = "stop"  # the event by which a part that prepares a workload is told to
TAKEOVER = "takeover"  # the event by which a rotation is told to make way for an incident


class Seat(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a credential's orchestration shows: the rotation that it runs, the event by which it
    hears of an incident, and the incident's request that is `next`, once it has heard."""

    rotation: str
    hears: str | None = None
    next: Request | None = None


class MakesWay(Struct, frozen=True, rename="camel"):
    """What a rotation is told that makes way: who called the incident, and its id."""

    by: str
    rotation: str


class PartStatus(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a part shows while it runs, as its custom status; before the story's version 1.2 the
    progress alone. `waits` is what it is waiting for, or how far it is. Where that is a failure,
    `attempt` is how many there were so far, and `next_try` when it is tried again."""

    progress: Progress
    waits: str | None = None
    attempt: int = 0
    next_try: Moment | None = None


class PartEnded(Struct, frozen=True, omit_defaults=True):
    """How a part ended: why it failed is an answer, so that the other parts end on their own.

    `releases` are those of others that it met, and what became of them.
    """

    reasons: list[Reason] = field(default_factory=list)
    releases: list[Reason] = field(default_factory=list)
