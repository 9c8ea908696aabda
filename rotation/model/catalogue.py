"""Every outcome, stage, step, progress of a workload, and announcement: once, with its words.

What must agree with it is made from it by `make generated`; CONTRIBUTING.md says what a change of
it takes. Words in braces are filled in: `{active}` served when the rotation began, `{standby}` is
the slot that it brings up, `{slot}` the slot that a step is about, `{retiring}` the one that is
being taken away.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, assert_never

Tone = Literal["calm", "busy", "ask", "good", "bad"]
Listed = Literal["needing", "recent", "nowhere"]

NOTHING_ASKED = "Nothing is asked of you."


class Origin(StrEnum):
    """What asked for a rotation."""

    NEAR_EXPIRY = "near-expiry"
    EXPIRED = "expired"
    SWEEP = "sweep"
    MANUAL = "manual"


class Announcement(StrEnum):
    """The types of published events, without their prefix `CredentialRotation.`"""

    STARTED = "Started"
    COMPROMISED = "Compromised"
    LOGIN_CUT = "LoginCut"
    AWAITING_CONFIRMATION = "AwaitingConfirmation"
    WAITING_FOR_WINDOW = "WaitingForWindow"
    EXPIRES_BEFORE_WINDOW = "ExpiresBeforeWindow"
    WAITING_FOR_PLACE = "WaitingForPlace"
    AWAITING_APPROVAL = "AwaitingApproval"
    REMINDER = "Reminder"
    STILL_IN_USE = "StillInUse"
    CONDITION_UNKNOWN = "ConditionUnknown"
    CONDITION_BREACHED = "ConditionBreached"
    APPROVED = "Approved"
    REJECTED = "Rejected"
    CANCELLED = "Cancelled"
    LOGIN_FAILS = "LoginFails"
    COMPLETED = "Completed"
    ROLLED_BACK = "RolledBack"
    ABORTED = "Aborted"
    REFUSED = "Refused"
    NEEDS_ATTENTION = "NeedsAttention"


PREFIX = "CredentialRotation."


@dataclass(frozen=True)
class AnnouncementFacts:
    """An announcement's `meaning`, for its schema, and the log event that goes with it.

    `asks`: it asks a person to decide, and signed links go along. `mailed`: the mail workflow gets
    it.
    """

    meaning: str
    log_event: str
    asks: bool = False
    mailed: bool = False


def announcement_facts(announcement: Announcement) -> AnnouncementFacts:
    match announcement:
        case Announcement.STARTED:
            return AnnouncementFacts(
                "A rotation has begun; the active slot goes on serving.", "rotation.started"
            )
        case Announcement.COMPROMISED:
            meaning = "An approver says that a password has leaked; it is replaced at once."
            return AnnouncementFacts(meaning, "incident.called", mailed=True)
        case Announcement.LOGIN_CUT:
            meaning = "The leaked login is refused and its sessions are ended, as an approver said."
            return AnnouncementFacts(meaning, "incident.cut", mailed=True)
        case Announcement.AWAITING_CONFIRMATION:
            meaning = "The leaked login is gone, and a second person must confirm what was done."
            return AnnouncementFacts(meaning, "incident.unconfirmed", asks=True, mailed=True)
        case Announcement.WAITING_FOR_WINDOW:
            meaning = "It goes on in the next window that its owner allows."
            return AnnouncementFacts(meaning, "rotation.waits-for-window")
        case Announcement.EXPIRES_BEFORE_WINDOW:
            meaning = "The secret that serves expires before the window that it waits for."
            return AnnouncementFacts(meaning, "rotation.expires-before-window", mailed=True)
        case Announcement.WAITING_FOR_PLACE:
            meaning = "It goes on once fewer rotations are at what it works on than its limit."
            return AnnouncementFacts(meaning, "rotation.waits-for-place")
        case Announcement.AWAITING_APPROVAL:
            meaning = (
                "A person must decide: before the swap, whether traffic moves (`gate`: before), or "
                "after it, whether the replaced login goes."
            )
            return AnnouncementFacts(meaning, "approval.requested", asks=True, mailed=True)
        case Announcement.REMINDER:
            return AnnouncementFacts(
                "Nobody has decided yet.", "approval.reminder", asks=True, mailed=True
            )
        case Announcement.STILL_IN_USE:
            meaning = "Somebody whom no workload accounts for uses the replaced login."
            return AnnouncementFacts(meaning, "approval.still-in-use", mailed=True)
        case Announcement.CONDITION_UNKNOWN:
            meaning = "A condition's query is not answered; it is asked again."
            return AnnouncementFacts(meaning, "condition.unknown")
        case Announcement.CONDITION_BREACHED:
            meaning = "A value is beyond its owner's limit: the rotation goes back by itself."
            return AnnouncementFacts(meaning, "condition.breached")
        case Announcement.APPROVED:
            meaning = "The decision was to move traffic, or to retire the replaced slot."
            return AnnouncementFacts(meaning, "approval.decided")
        case Announcement.REJECTED:
            meaning = "The decision was not to move traffic, or to go back."
            return AnnouncementFacts(meaning, "approval.decided")
        case Announcement.CANCELLED:
            meaning = "Somebody stopped it before the swap; the active slot goes on serving."
            return AnnouncementFacts(meaning, "rotation.cancelled")
        case Announcement.LOGIN_FAILS:
            meaning = "Traffic is back where it was, and a new connection as that login fails."
            return AnnouncementFacts(meaning, "rotation.login-fails", mailed=True)
        case Announcement.COMPLETED:
            meaning = "The new login serves; the old one is retired."
            return AnnouncementFacts(meaning, "rotation.finished", mailed=True)
        case Announcement.ROLLED_BACK:
            meaning = "Traffic is back on the slot that served before."
            return AnnouncementFacts(meaning, "rotation.finished", mailed=True)
        case Announcement.ABORTED:
            meaning = "It stopped before the swap; the active slot never noticed."
            return AnnouncementFacts(meaning, "rotation.finished", mailed=True)
        case Announcement.REFUSED:
            meaning = "What was found allows no rotation; nothing was changed."
            return AnnouncementFacts(meaning, "rotation.finished")
        case Announcement.NEEDS_ATTENTION:
            meaning = "It could neither go on nor go back; both slots were left alive."
            return AnnouncementFacts(meaning, "rotation.finished", mailed=True)
        case _:
            assert_never(announcement)


class WaveAnnouncement(StrEnum):
    """The types of the events of a wave, without their prefix."""

    STARTED = "WaveStarted"
    STOPPED = "WaveStopped"
    FINISHED = "WaveFinished"


def wave_announcement_facts(told: WaveAnnouncement) -> AnnouncementFacts:
    match told:
        case WaveAnnouncement.STARTED:
            meaning = "Many rotations were asked for at once, and begin a few at a time."
            return AnnouncementFacts(meaning, "wave.started")
        case WaveAnnouncement.STOPPED:
            meaning = "Nothing more of it begins: so many have failed, or somebody cancelled it."
            return AnnouncementFacts(meaning, "wave.stopped")
        case WaveAnnouncement.FINISHED:
            meaning = "All have begun, and each has ended or waits for a decision."
            return AnnouncementFacts(meaning, "wave.finished")
        case _:
            assert_never(told)


OVERDUE_LOG_EVENT = "approval.overdue"


class Outcome(StrEnum):
    """How a rotation ends."""

    COMPLETED = "completed"
    ROLLED_BACK = "rolled-back"
    ABORTED = "aborted"
    SKIPPED = "skipped"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    NEEDS_ATTENTION = "needs-attention"


@dataclass(frozen=True)
class Ending:
    """An outcome's announcement, log level, alarm and words.

    `headline` and `tone` are a page's, `level` the log line's, `alarm` whether an alert looks for
    it. `listed` is where the overview has it: with what needs a person, for as long as no later
    rotation of its credential runs or ended otherwise; among the recent ones; or nowhere.
    `production`, `left` and `to_do` are docs/recovery.md's: what production runs on, what is left,
    what to do.
    """

    announcement: Announcement | None
    level: int
    tone: Tone
    headline: str
    listed: Listed
    production: str
    left: str
    to_do: str
    alarm: Literal["now", "soon"] | None = None
    asks: str = ""  # of whoever reads the page
    again: bool = False  # it can be started again by its id: any world is a start


def ending(outcome: Outcome) -> Ending:
    match outcome:
        case Outcome.COMPLETED:
            return Ending(
                announcement=Announcement.COMPLETED,
                level=logging.INFO,
                tone="good",
                headline="Done: {standby} serves, {active} is retired",
                listed="recent",
                production="the new slot",
                left="replaced slot: no pods, NOLOGIN, no password, all versions of its secret "
                "disabled",
                to_do="nothing",
            )
        case Outcome.ROLLED_BACK:
            return Ending(
                announcement=Announcement.ROLLED_BACK,
                level=logging.INFO,
                tone="good",
                headline="Rolled back: {active} serves as before",
                listed="needing",
                production="the slot that served before",
                left="the other slot taken down in the same way",
                to_do="read the reason. The credential still expires: start again once the cause "
                "is gone",
                alarm="soon",
                asks="The credential still expires: start it again once the cause is gone.",
                again=True,
            )
        case Outcome.ABORTED:
            return Ending(
                announcement=Announcement.ABORTED,
                level=logging.ERROR,
                tone="bad",
                headline="Aborted before the swap: {active} serves as before",
                listed="needing",
                production="the slot that served before; it was never touched",
                left="the standby slot taken down",
                to_do="the same",
                alarm="soon",
                asks="The credential still expires: start it again once the cause is gone.",
                again=True,
            )
        case Outcome.SKIPPED:
            return Ending(
                announcement=None,
                level=logging.INFO,
                tone="calm",
                headline="Skipped: there was nothing to do",
                listed="nowhere",
                production="unchanged",
                left="nothing",
                to_do="nothing: there was nothing to do",
            )
        case Outcome.REFUSED:
            return Ending(
                announcement=Announcement.REFUSED,
                level=logging.ERROR,
                tone="bad",
                headline="Refused: nothing was changed",
                listed="needing",
                production="unchanged",
                left="nothing: `plan` reads only",
                to_do="correct what the reason lists, start again",
                alarm="soon",
                asks="Mend what refuses it, and start it again.",
                again=True,
            )
        case Outcome.SUPERSEDED:
            return Ending(
                announcement=None,
                level=logging.WARNING,
                tone="calm",
                headline="Made way for an incident",
                listed="recent",
                production="unchanged; the incident goes on from there",
                left="both slots as the last step left them, for the incident",
                to_do="nothing: see the incident that `takenOver` in the record names",
            )
        case Outcome.NEEDS_ATTENTION:
            return Ending(
                announcement=Announcement.NEEDS_ATTENTION,
                level=logging.ERROR,
                tone="bad",
                headline="Needs attention",
                listed="needing",
                production="see the record",
                left="both slots as the last step left them",
                to_do="[below](#needs-attention)",
                alarm="now",
                asks="Both slots were left alive. See which serves before you take anything away.",
                again=True,
            )
        case _:
            assert_never(outcome)


class Stage(StrEnum):
    """The part of its way that a rotation is in; listed in its order."""

    QUEUED = "queued"
    PLAN = "plan"
    STAGE = "stage"
    ACTIVATE = "activate"
    VERIFY = "verify"
    PREPARE = "prepare"
    GATE = "gate"
    SWAP = "swap"
    SWAP_BACK = "swap-back"
    OBSERVE = "observe"
    APPROVAL = "approval"
    RETIRE = "retire"
    CUT = "cut"
    CONFIRMATION = "confirmation"
    DONE = "done"


@dataclass(frozen=True)
class StageWords:
    """A page's words for a rotation that is in a stage."""

    headline: str
    asks: str = NOTHING_ASKED


def stage_words(stage: Stage) -> StageWords:
    match stage:
        case Stage.QUEUED | Stage.PLAN:
            return StageWords("Looking at what is there")
        case Stage.STAGE | Stage.ACTIVATE | Stage.VERIFY | Stage.PREPARE:
            asks = f"{NOTHING_ASKED} Clients notice nothing of it."
            return StageWords("Preparing {standby}, while {active} serves", asks)
        case Stage.GATE:
            return StageWords("{standby} is ready, while {active} serves")
        case Stage.SWAP | Stage.OBSERVE:
            return StageWords("Moving from {active} to {standby}")
        case Stage.SWAP_BACK:
            return StageWords("Going back to {active}")
        case Stage.APPROVAL:
            return StageWords("Collecting evidence for the decision")
        case Stage.CUT:
            return StageWords("Ending the leaked login", "Clients lose their connections.")
        case Stage.CONFIRMATION:
            return StageWords("Done: a second person confirms it")
        case Stage.RETIRE | Stage.DONE:
            return StageWords("Taking the {retiring} login away")
        case _:
            assert_never(stage)


class StepName(StrEnum):
    """The name of a step in a rotation's record; listed in its order."""

    PLAN = "plan"
    WINDOW = "window"
    PLACE = "place"
    LOCATE = "locate"
    CUT = "cut"
    STAGE = "stage"
    ACTIVATE = "activate"
    VERIFY = "verify"
    PREPARE = "prepare"
    GATE = "gate"
    SWAP = "swap"
    STOP = "stop"
    SWAP_BACK = "swap-back"
    OBSERVE = "observe"
    CONDITIONS = "conditions"
    EVIDENCE = "evidence"
    APPROVAL = "approval"
    CONFIRM = "confirm"
    RETIRE = "retire"
    AWAIT_SESSIONS = "await_sessions"
    DEACTIVATE = "deactivate"
    DISABLE = "disable"
    CONFIRMATION = "confirmation"


@dataclass(frozen=True)
class StepWords:
    """A page's words for a step. `about` is the slot that `{slot}` stands for; `ahead`: it is
    listed before it has begun."""

    name: str
    what: str
    about: Literal["standby", "active", "retiring"] = "standby"
    ahead: bool = False


def step_words(step: StepName) -> StepWords:
    match step:
        case StepName.PLAN:
            return StepWords("Plan", "look at every workload, role and secret, and decide")
        case StepName.WINDOW:
            return StepWords("Window", "wait for the hours that its owner allows")
        case StepName.PLACE:
            return StepWords("Place", "wait until few enough others are at it")
        case StepName.LOCATE:
            return StepWords("Locate", "find the login that leaked, and who is connected with it")
        case StepName.CUT:
            return StepWords("Cut", "refuse the leaked login, and end its sessions")
        case StepName.STAGE:
            what = "write a new password as a version of the {slot} secret"
            return StepWords("Stage", what, ahead=True)
        case StepName.ACTIVATE:
            return StepWords("Activate", "let the {slot} role log in with it", ahead=True)
        case StepName.VERIFY:
            return StepWords("Verify", "log in as the {slot} role", ahead=True)
        case StepName.PREPARE:
            what = "bring the {slot} slot up in each workload, and run its tests"
            return StepWords("Prepare", what, ahead=True)
        case StepName.GATE:
            return StepWords("Gate", "a person decides whether traffic moves to {slot}")
        case StepName.SWAP:
            return StepWords("Swap", "move every workload to {slot}", ahead=True)
        case StepName.STOP:
            what = "let the {slot} pods of workloads end that nothing calls"
            return StepWords("Stop", what, about="active")
        case StepName.SWAP_BACK:
            return StepWords("Swap back", "move every workload back to {slot}", about="active")
        case StepName.OBSERVE:
            return StepWords("Observe", "run the tests again, through production", ahead=True)
        case StepName.CONDITIONS:
            return StepWords("Conditions", "ask the metrics that its owner watches")
        case StepName.EVIDENCE:
            return StepWords("Evidence", "collect what a person needs to see")
        case StepName.APPROVAL:
            return StepWords("Approval", "a person decides", ahead=True)
        case StepName.CONFIRM:
            what = "prove that the other slot serves everything"
            return StepWords("Confirm", what, about="retiring")
        case StepName.RETIRE:
            return StepWords("Retire", "let what runs on {slot} end", about="retiring", ahead=True)
        case StepName.AWAIT_SESSIONS:
            what = "let the last sessions of the {slot} role end"
            return StepWords("Drain", what, about="retiring")
        case StepName.DEACTIVATE:
            what = "take login and password from the {slot} role"
            return StepWords("Deactivate", what, about="retiring")
        case StepName.DISABLE:
            return StepWords(
                "Disable", "disable the versions of the {slot} secret", about="retiring"
            )
        case StepName.CONFIRMATION:
            return StepWords("Confirmation", "a second person confirms what was done")
        case _:
            assert_never(step)


class Progress(StrEnum):
    """How far a workload is: what was done last, or, while its part runs, what is being done."""

    PLANNED = "planned"
    DELIVER = "deliver"
    START = "start"
    AWAIT_READY = "await_ready"
    TEST = "test"
    PREPARED = "prepared"
    LEVEL = "level"
    SWAP = "swap"
    STOPPED = "stopped"
    SWAP_BACK = "swap-back"
    AWAIT_LOGIN = "await_login"
    OBSERVED = "observed"
    SCALE_DOWN = "scale_down"
    AWAIT_GONE = "await_gone"
    RETIRED = "retired"
    FAILED = "failed"


# How far a workload is once its part of a step has ended well, of those that have parts.
DONE = {
    StepName.PREPARE: Progress.PREPARED,
    StepName.SWAP: Progress.SWAP,
    StepName.STOP: Progress.STOPPED,
    StepName.SWAP_BACK: Progress.SWAP_BACK,
    StepName.OBSERVE: Progress.OBSERVED,
    StepName.RETIRE: Progress.RETIRED,
}


def progress_words(progress: Progress) -> str:
    match progress:
        case Progress.PLANNED:
            return "not begun"
        case Progress.DELIVER:
            return "delivering the secret"
        case Progress.START:
            return "bringing the slot up"
        case Progress.AWAIT_READY:
            return "waiting for its pods"
        case Progress.TEST:
            return "running tests"
        case Progress.PREPARED:
            return "ready for the swap"
        case Progress.LEVEL:
            return "starting the release that serves"
        case Progress.SWAP:
            return "moved to the other slot"
        case Progress.STOPPED:
            return "its replaced pods have ended"
        case Progress.SWAP_BACK:
            return "moved back"
        case Progress.AWAIT_LOGIN:
            return "waiting for its pods to use the other login"
        case Progress.OBSERVED:
            return "tests pass in production"
        case Progress.SCALE_DOWN:
            return "taking the slot down"
        case Progress.AWAIT_GONE:
            return "waiting for what runs on the slot to end"
        case Progress.RETIRED:
            return "nothing of it uses the retired login"
        case Progress.FAILED:
            return "failed"
        case _:
            assert_never(progress)


Gate = Literal["before", "after"]
# Of a decision before the swap: keep, abort, approve; of one after it: keep, roll-back, approve.
OnDeadline = Literal["keep", "roll-back", "approve", "abort"]


def on_deadline_words(policy: OnDeadline, gate: Gate = "after") -> str:
    """What happens without a decision before the deadline, as the end of a sentence."""
    match policy:
        case "keep":
            return "both logins stay and reminders go on"
        case "abort":
            return "the rotation ends, and traffic stays where it is"
        case "approve" if gate == "before":
            return "traffic moves by itself once all tests pass"
        case "roll-back":
            return "the rotation goes back by itself"
        case "approve":
            return (
                "the rotation goes on by itself once it is proved that nothing uses the old login, "
                "or did in the last weeks"
            )
        case _:
            assert_never(policy)
