"""A rotation's record: its custom status while it runs, its output at the end.

`new_record` makes each. Old records stay readable: no field is ever taken away, one that a record
lacks has the value that `new_record` gives it, and a new one of the other structures has a default.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from rotation.model.catalogue import Origin, Outcome, Progress, Stage, StepName
from rotation.model.places import PlaceState
from rotation.model.reasons import Reason
from rotation.model.wire import Moment
from rotation.model.world import Slot

Choice = Literal["approve", "reject"]
KnownBy = Literal["pods", "nodes", "ranges"]
WaivedVia = Literal["request", "file"]
Cut = Literal["after", "first"]


class Request(Struct, frozen=True, kw_only=True, rename="camel"):
    """A request for a rotation: who asked, and why. `secret` and `version` are set for events.

    `waive` are the codes that whoever asked by hand has waived. Of a person who asked, `known_as`
    are all names and ids, `object_id` is Entra's; `signed_in`: the platform has signed them in.
    Four eyes compares these. `retries` is the rotation that this one was started again from.
    `restricted`: the credential had viewers when it was asked for, and not everybody sees it.
    `outside_window` is why it waits for no window, if it does not. `wave` is that which it is of.
    `compromised`: a password has leaked, that of the slot `leaked`, or of the one that serves; it
    waits for no window and within no limit, and `cut` is when the leaked login ends. `takes_over`
    is the rotation that ran then.
    """

    rotation: str
    credential: str
    origin: Origin
    requested_by: str
    reason: str
    secret: str | None = None
    version: str | None = None
    known_as: list[str] = field(default_factory=list)
    object_id: str | None = None
    signed_in: bool = False
    waive: list[str] = field(default_factory=list)
    retries: str | None = None
    restricted: bool = False
    outside_window: str | None = None
    wave: str | None = None
    compromised: bool = False
    cut: Cut | None = None
    leaked: Slot | None = None
    takes_over: str | None = None


class Waiver(Struct, frozen=True, kw_only=True, rename="camel"):
    """A problem that would have forbidden the rotation, and was waived; `text` is the problem's.

    `by` gave it: whoever asked for the rotation, or `via` the file its owner.
    """

    code: str
    text: str
    by: str
    via: WaivedVia


class StepRecord(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """One step with its times; `failure` and `code` if it gave up.

    `waits` is what it failed with last, for as long as it tries again, which is at `next_try`; or
    what it waits for. `attempt` is how many attempts have failed so far.
    """

    step: StepName
    since: Moment
    until: Moment | None
    failure: str | None = None
    code: str | None = None
    waits: str | None = None
    attempt: int = 0
    next_try: Moment | None = None


class Decision(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A decision of a person, or of the policy; `channel` says how it reached us.

    The same structure is raised as an event, checked by the orchestrator and kept in the record;
    `at` is when it was recorded. `known_as` are all names and ids of theirs, `object_id` and
    `signed_in` as in a request, for four eyes. `id` is the caller's, who can see by it whether this
    one counted.
    """

    decision: Choice
    by: str
    channel: str
    comment: str
    id: str | None
    at: Moment | None = None
    known_as: list[str] = field(default_factory=list)
    object_id: str | None = None
    signed_in: bool = False


class Cancel(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A person's wish that a rotation stops before the swap; `comment` says why.

    It crosses and is kept as a `Decision` is, and its fields are those.
    """

    by: str
    channel: str
    comment: str
    id: str | None
    at: Moment | None = None
    known_as: list[str] = field(default_factory=list)
    object_id: str | None = None
    signed_in: bool = False


class Cancelling(Struct, kw_only=True, rename="camel"):
    """Whether a rotation can be cancelled, which it can until its swap begins.

    `event` is the name of the event that a cancel is raised as, None where it cannot (any more);
    `gate` is its number. `ignored` says why cancels did not count.
    """

    event: str | None
    gate: int = 0
    ignored: list[str] = field(default_factory=list)


class TakenOver(Struct, frozen=True, kw_only=True, rename="camel"):
    """That a rotation made way for an incident, which is `rotation`, and who called it."""

    by: str
    rotation: str
    at: Moment


class Connection(Struct, frozen=True, kw_only=True, rename="camel"):
    """A session of a leaked role, as the server showed it; `state` is what it was doing."""

    pid: int
    application: str
    client: str
    state: str
    since: Moment | None = None


class Leak(Struct, kw_only=True, rename="camel"):
    """The login whose password has leaked: its slot, its role, and the version of its secret.

    `serves`: traffic went there when it was called. `connected` are its sessions, as far as there
    is room, of `sessions` in all. `refused` is when the server had stopped letting it in, `ended`
    when none of its sessions was left; both are None before that.
    """

    slot: Slot
    role: str
    version: str | None
    serves: bool
    connected: list[Connection] = field(default_factory=list)
    sessions: int = 0
    refused: Moment | None = None
    ended: Moment | None = None


class AwaitedWindow(Struct, frozen=True, kw_only=True, rename="camel"):
    """The window that a rotation waits for, before a step. `opens` is None where none is near;
    `text` is in words until when it waits."""

    before: StepName
    opens: Moment | None
    text: str


class Approval(Struct, kw_only=True, rename="camel"):
    """The wait for a decision; `deadline` is obeyed as it stands.

    `event` is the name of the event that a decision is raised as, None while none is waited for;
    `gate` is its number. `ignored` says why decisions did not count. `confirms`: all is done, and a
    second person confirms it, or does not.
    """

    event: str | None
    requested: Moment
    deadline: Moment
    overdue: bool = False
    reminders: int = 0
    gate: int = 0
    ignored: list[str] = field(default_factory=list)
    confirms: bool = False


class ConditionSeen(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A condition's query, as it was answered last, `at` that moment.

    `value` is None without data, and where it is not `known`: `problem` says why. `limit` is that
    of the file, as in "above 0.01"; `beyond` it a rotation goes back, if that lasts for as long as
    its owner says. `breach` is a sentence once it has.
    """

    name: str
    at: Moment
    limit: str
    value: float | None = None
    known: bool = True
    beyond: bool = False
    problem: str | None = None
    breach: str | None = None


class JobRun(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A Job that was a test, by its `name`. `logs` is the command that shows what it says.

    `ended` is why its pod or the Job ended, in a word of Kubernetes'. It ran for `seconds`.
    """

    name: str
    logs: str
    exit_code: int | None = None
    ended: str | None = None
    began: Moment | None = None
    seconds: int | None = None


class TestResult(Struct, frozen=True, kw_only=True, rename="camel"):
    """The result of a test in one round. `role` where a JSON field or sessions proved it; `problem`
    and its `code` are None where it passed. `job` is the Job where the test is one."""

    test: str
    passed: bool
    problem: str | None
    attempts: int
    role: str | None
    code: str | None = None
    job: JobRun | None = None


class SessionCount(Struct, frozen=True, kw_only=True, rename="camel"):
    """The number of sessions of one role, application and client address; `workload` is the one
    that they belong to, if it is known.

    `known_by` is what told so: the address of one of its pods; of a node that has some, which other
    pods there have as well; or a range that the owner wrote down. `slot` is that of those pods.
    `last_query` is when the latest of their last statements began that was no probe.
    """

    role: str
    application: str
    client: str
    sessions: int
    workload: str | None
    known_by: KnownBy | None = None
    slot: Slot | None = None
    last_query: Moment | None = None


class PastUser(Struct, frozen=True, kw_only=True, rename="camel"):
    """Somebody in no workload who had sessions of the replaced role at samples of the last days.

    Samples saw them `first` and `last` at these times, and on so many `days`. `moved` is when they
    were seen on the role that serves now, if they were not on the replaced one after that. `others`
    stands for those that a day's summary had no room for.
    """

    application: str
    client: str
    first: Moment
    last: Moment
    days: int
    moved: Moment | None = None
    others: bool = False


class Usage(Struct, frozen=True, kw_only=True, rename="camel"):
    """Who used the replaced role in the last days, as samples saw it, those that still use it
    first.

    `since` is the day of the first of the `samples`; `gaps` are samples that something was missing
    of. `more` is the number of users that are left out here. `problem` says why it is not known, or
    not of all days.
    """

    days: int
    since: str | None = None
    samples: int = 0
    gaps: int = 0
    users: list[PastUser] = field(default_factory=list)
    more: int = 0
    problem: str | None = None


class Tally(Struct, frozen=True, kw_only=True):
    """How many workloads passed all of their tests, and how many did not."""

    green: int
    red: int

    @classmethod
    def of(cls, tests: dict[str, list[TestResult]]) -> Tally:
        """By the results of each workload: one without any is red, its tests could not be run."""
        passed = [bool(each) and all(result.passed for result in each) for each in tests.values()]
        return cls(green=passed.count(True), red=passed.count(False))


class EvidenceSummary(Struct, frozen=True, kw_only=True, rename="camel"):
    """The evidence in short. `complete` is false where something could not be looked at: `problems`
    says what.

    `still_in_use` are sessions of the replaced role that do not end with the pods of its slot.
    `usage` is what was seen of them before; none where the credential is not sampled. `workloads`
    is None where nothing could be collected, and in evidence of releases before 1.2.
    """

    at: Moment
    complete: bool
    passed: bool
    problems: list[str]
    still_in_use: list[SessionCount]
    usage: Usage | None = None
    workloads: Tally | None = None


class Evidence(EvidenceSummary, frozen=True, kw_only=True, rename="camel"):
    """What was measured for the approver: test results and pods by workload, and sessions.

    `templates` are the paths at which the pod templates of a workload's slots differ; none where
    they are the same but for the slots' names and for what may differ. `jobs` are those of a
    workload's CronJobs that still run on the replaced login.
    """

    tests: dict[str, list[TestResult]] = field(default_factory=dict)
    pods: dict[str, dict[Slot, list[str]]] = field(default_factory=dict)
    sessions: list[SessionCount] = field(default_factory=list)
    templates: dict[str, list[str]] = field(default_factory=dict)
    jobs: dict[str, list[str]] = field(default_factory=dict)
    conditions: list[ConditionSeen] = field(default_factory=list)

    def summary(self) -> EvidenceSummary:
        return EvidenceSummary(
            at=self.at,
            complete=self.complete,
            passed=self.passed,
            problems=self.problems,
            still_in_use=self.still_in_use,
            usage=self.usage,
            workloads=self.workloads,
        )


def no_evidence(at: Moment, problem: str) -> Evidence:
    """Evidence that could not be collected: incomplete, not passed, with the problem."""
    return Evidence(at=at, complete=False, passed=False, problems=[problem], still_in_use=[])


class EvidenceKept(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """A rotation's evidence: `before` the swap, where a decision was due then; when the decision
    after it was requested, and when it was made."""

    before: Evidence | None = None
    requested: Evidence | None = None
    decided: Evidence | None = None


class Place(Struct, frozen=True, kw_only=True, rename="camel"):
    """A place that a rotation waits for or has, before a step, at `things` that have limits; the
    `number` of those that it asked for. `text` is in words what it waits for."""

    number: int
    before: StepName
    things: list[str]
    state: PlaceState
    text: str


class Record(Struct, kw_only=True, rename="camel"):
    """A rotation's record. `active` served when it began, `standby` is the slot that it brings up.

    `version` is the new secret version, `workloads` how far each is, `untold` the announcements
    that could not be handed over. `waivers` are what it began in spite of; `doubts` were found by
    the plan, and stood in no way. `outcome_reason` is a sentence, `reasons` what it is made of.
    `changed` is what the file says by now, and did not when the rotation was planned; `releases`
    are those of others that it met, and what became of them. `cancelling` is None in those that
    cannot be cancelled at all, `cancelled` is what has counted. `window` is the one that it waits
    for just now; `place` is the one that it waits for, has, or had last. `attempt` is how many
    times it has begun to bring the standby slot up.
    `before` is the wait for a decision before the swap, `decided_before` that decision; `approval`
    and `decision` are those after it, or, where nobody is asked again, the decision before it.
    `conditions` are its owner's, as they were seen last. `taken_over`: it made way for an incident.
    Of an incident `leak` is what it is about, `confirmation` what the second person said of it.
    Evidence is too large for a custom status: it is there once the rotation has ended.
    """

    rotation: str
    credential: str
    request: Request
    stage: Stage
    since: Moment
    started: Moment | None
    active: Slot | None
    standby: Slot | None
    version: str | None
    workloads: dict[str, Progress]
    steps: list[StepRecord]
    waivers: list[Waiver]
    cancelling: Cancelling | None
    cancelled: Cancel | None
    window: AwaitedWindow | None
    place: Place | None
    taken_over: TakenOver | None
    leak: Leak | None
    confirmation: Decision | None
    attempt: int
    before: Approval | None
    decided_before: Decision | None
    conditions: list[ConditionSeen]
    approval: Approval | None
    decision: Decision | None
    outcome: Outcome | None
    outcome_reason: str | None
    changed: list[str]
    releases: list[Reason]
    reasons: list[Reason] = field(default_factory=list)
    evidence: EvidenceKept = field(default_factory=EvidenceKept)
    untold: list[str] = field(default_factory=list)
    doubts: list[Reason] = field(default_factory=list)


def swapped_at(record: Record) -> Moment | None:
    """When traffic had moved to the slot that was brought up; None before that."""
    ended = [step.until for step in record.steps if step.step is StepName.SWAP]
    return ended[-1] if ended else None


def before_swap(record: Record) -> bool:
    """Whether a rotation waits for the decision before its swap."""
    return record.before is not None and record.before.event is not None


def awaited_decision(record: Record) -> Decision | None:
    """The decision that counted, of those that are waited for now: of an incident that is done, a
    second person's; before the swap the one that lets traffic move."""
    if record.approval is not None and record.approval.confirms:
        return record.confirmation
    return record.decision or record.decided_before


def new_record(request: Request, stage: Stage, at: Moment | None) -> Record:
    """The record of a rotation that has just been asked for, or has just begun."""
    return Record(
        rotation=request.rotation,
        credential=request.credential,
        request=request,
        stage=stage,
        since=at or Moment(""),
        started=at if stage is Stage.PLAN else None,
        active=None,
        standby=None,
        version=None,
        workloads={},
        steps=[],
        waivers=[],
        cancelling=None,
        cancelled=None,
        window=None,
        place=None,
        taken_over=None,
        leak=None,
        confirmation=None,
        attempt=1,
        before=None,
        decided_before=None,
        conditions=[],
        approval=None,
        decision=None,
        outcome=None,
        outcome_reason=None,
        changed=[],
        releases=[],
    )


class Tried(Struct, frozen=True, kw_only=True, rename="camel"):
    """A failure of a workload's part that is waited for: how many there were, and when it is tried
    again."""

    attempt: int
    next_try: Moment


class ShownRecord(Record, kw_only=True, rename="camel"):
    """A record with what the durable engine says of its instance.

    `waits` is, of each workload of a running rotation, what its part of the step waits for, or why
    it has failed while others go on; `tried` is of those that wait for a failure to pass.
    """

    runtime_status: str
    created: Moment | None
    updated: Moment | None
    waits: dict[str, str] = field(default_factory=dict)
    tried: dict[str, Tried] = field(default_factory=dict)
