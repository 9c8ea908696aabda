"""JSON schemas of the product's structures, with words for those who read them from outside.

A structure's docstring describes it, unless `DESCRIBED` has something for a reader who does not
have the code. Fields get theirs from `FIELDS`; an entry that fits no field any more is an error.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import msgspec
from azure.durable_functions import OrchestrationRuntimeStatus

from rotation.decisions.due import Due
from rotation.front.credentials import SeenCredential, SeenSlot
from rotation.front.doctor import DryRun
from rotation.front.problems import Details
from rotation.model.findings import Finding
from rotation.model.reasons import Code, Reason
from rotation.model.record import (
    Approval,
    AwaitedWindow,
    Cancel,
    Cancelling,
    ConditionSeen,
    Connection,
    Decision,
    Evidence,
    EvidenceSummary,
    Leak,
    PastUser,
    Place,
    Request,
    SessionCount,
    ShownRecord,
    StepRecord,
    TakenOver,
    TestResult,
    Usage,
    Waiver,
)
from rotation.model.waves import Wave, WaveCancel, WaveLeft, WaveMember, WaveSummary
from rotation.telling.messages import Event, EventData, Links, Recipient

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rotation.model.wire import JsonObject

Schema = dict[str, Any]

# How they are called outside, where that is another name.
NAMES: dict[type, str] = {
    Details: "Problem",
    SeenCredential: "Credential",
    SeenSlot: "Slot",
    SessionCount: "Sessions",
    ShownRecord: "Rotation",
}

DESCRIBED: dict[type, str] = {
    Approval: "The wait for a decision.",
    AwaitedWindow: "The window that it waits for, before a step.",
    ConditionSeen: "A condition of the owner's, as its query was answered last.",
    Place: "The place that it waits for, has, or had last, before a step: there are few.",
    Wave: "Many rotations that somebody asked for at once, which begin a few at a time.",
    WaveMember: "A credential of a wave, with its rotation.",
    WaveSummary: "A wave in a list: how far it is, and how many of its members are in which state.",
    WaveLeft: "A credential that was selected and is not in the wave.",
    WaveCancel: "Who let nothing more begin, and what becomes of what has begun.",
    Cancel: "Who stopped it before the swap, and why.",
    Cancelling: "Whether it can be cancelled, which it can until its swap begins.",
    Connection: "A session of a leaked login, without what it asked.",
    Code: "Why something did not happen. docs/recovery.md explains each.",
    Decision: "What a person, or the policy, decided.",
    Details: "A problem as RFC 9457 has it. What comes after `remedy` is there where it applies.",
    Leak: "The login whose password has leaked, and who was connected with it.",
    TakenOver: "That it made way for an incident.",
    EvidenceSummary: "A summary; the page shows all of it, collected anew.",
    Event: "An event in the Event Grid schema, as the app publishes it. Event Grid adds topic and "
    "metadataVersion.",
    EventData: "What every event says.",
    Finding: "One thing that was found in a credential's world.",
    Reason: "Why something happened or did not.",
    Request: "A request for a rotation: who asked, and why. `secret` and `version` are set for "
    "events; `waive` are the codes that whoever asked by hand has waived. Of a person who asked, "
    "`knownAs` are all names and ids, `objectId` is Entra's; `signedIn`: the platform has signed "
    "them in. Four eyes compares these. `restricted`: its credential had viewers then. "
    "`outsideWindow` is why it waits for no window, if it does not. `compromised`: it is an "
    "incident, about the password of the slot `leaked` or of the one that served; with `cut: "
    "first` that login ended before another one served. `takesOver` is the rotation that made way.",
    Recipient: "A link of their own for an approver with a mail address. Whoever holds it can "
    "decide until it expires: send each to its approver alone.",
    Due: "When the next rotation begins by itself.",
    DryRun: "What a rotation would do that is asked for now. Nothing was started or changed.",
    SeenCredential: "A credential as it was when it was looked at.",
    SeenSlot: "A slot's role and the current version of its secret; null for what is not there.",
    ShownRecord: "A rotation's record.",
    StepRecord: "One step with its times.",
    Waiver: "A problem that would have forbidden the rotation, and was waived.",
}

_EVIDENCE = {
    "complete": "Whether everything could be looked at.",
    "passed": "Whether every test passed.",
    "problems": "What could not be looked at.",
    "stillInUse": "Sessions of the replaced role that belong to no workload of the credential.",
    "usage": "Who used the replaced role in the last days; null where it is not sampled.",
    "workloads": "How many passed all of their tests, and how many did not; null where nothing "
    "could be collected.",
}
FIELDS: dict[type, dict[str, str]] = {
    Approval: {
        "event": "Set while a decision is due.",
        "ignored": "Why decisions did not count.",
    },
    AwaitedWindow: {
        "opens": "Null where none is near.",
        "text": "Until when it waits, in words.",
    },
    ConditionSeen: {
        "limit": "What the value must not be, as in above 0.01.",
        "value": "Absent without data.",
        "problem": "Why it is not known, or that there is no data.",
        "breach": "Why the rotation goes back, in a sentence.",
    },
    Place: {
        "number": "How many it has asked for.",
        "things": "What it works on that may have limits, each as its kind and its name.",
        "state": "It waits for it, has it, or has given it back.",
        "text": "What it waits for, in words; in the list of rotations as it was when it asked.",
    },
    Wave: {
        "select": "What was asked for.",
        "first": "How many begin alone, as canaries.",
        "size": "How many begin at once after that.",
        "pause": "Seconds between those.",
        "stopAfter": "After so many failures nothing more begins.",
        "told": "How many events it has published or logged.",
        "members": "Its credentials, in the order in which they begin.",
        "left": "Those that were selected, and are left out.",
        "batch": "The number of those that are under way, from 0.",
        "until": "When the next begin, during a pause.",
        "why": "Why it ended so, or what it waits for.",
        "cancelling": "Null where it cannot be cancelled any more.",
        "ignored": "How many cancels did not count.",
    },
    WaveMember: {
        "state": "How its rotation stood when it was last looked at, or ended.",
        "text": "Why it is not under way, or ended so.",
    },
    WaveLeft: {"text": "Why it is left out."},
    WaveCancel: {"at": "Null until it is recorded."},
    Leak: {
        "version": "Of its secret; null where it had none.",
        "serves": "Whether traffic went there when the incident was called.",
        "connected": "Five while it runs, up to 200 at its end and in the events.",
        "sessions": "How many in all.",
        "refused": "When the server had stopped letting it in; null before that.",
        "ended": "When none of its sessions was left; null before that.",
    },
    Connection: {"state": "What it was doing, in PostgreSQL's words."},
    TakenOver: {"rotation": "The incident.", "by": "Who called it."},
    Cancel: {
        "channel": "How it reached us, as a decision's.",
        "comment": "Why; may be empty.",
        "id": "The caller's own, by which they can see whether theirs counted.",
        "knownAs": "All names and ids of whoever cancelled.",
    },
    Cancelling: {
        "event": "Set for as long as it can be cancelled.",
        "ignored": "Why cancels did not count.",
    },
    Decision: {
        "channel": "How it reached us: page, page with function key, link, policy..., or what a "
        "program named.",
        "id": "The caller's own, by which they can see whether theirs counted.",
        "knownAs": "All names and ids of whoever decided.",
    },
    Details: {"field": "What is wrong in the request."},
    Event: {"id": "The rotation's id and the event's number. A repeat has the same id."},
    EventData: {
        "rotation": "Id of the rotation.",
        "credential": "Name of the credential in credentials.yaml.",
        "requestedBy": "Who asked for the rotation.",
        "reason": "Why the rotation was asked for; may be empty.",
        "approvers": "As in credentials.yaml: mail addresses, object ids, app roles.",
        "title": "One line, without markup: a mail's subject.",
        "text": "A few sentences, without markup: a mail's body. Escape them before they go into "
        "HTML.",
        "serves": "The slot that serves since the swap, or would from it on.",
        "replaced": "The slot that an approval retires; with `gate` before, the one that serves.",
        "onDeadline": "What happens without a decision.",
        "gate": "Which decision it is: `before` the swap, or `after` it.",
        "sessions": "Database sessions of the replaced login that belong to no workload of the "
        "credential.",
        "outcomeReason": "Why it ended so, in a sentence.",
        "reasons": "What that sentence is made of.",
        "waivers": "What would have forbidden the rotation, and was waived.",
        "recipients": "With signed links only.",
    },
    Evidence: {**_EVIDENCE, "tests": "By workload.", "pods": "By workload and slot."},
    EvidenceSummary: _EVIDENCE,
    Links: {
        "status": "GET: the rotation as JSON.",
        "approval": "POST: a decision.",
        "page": "The rotation's page, for people.",
    },
    PastUser: {
        "application": "What they called themselves; may be empty.",
        "client": "Address, or local.",
        "moved": "When they were first seen on the role that serves now; null for those who still "
        "may need the replaced one.",
    },
    Reason: {
        "code": "One of those in docs/recovery.md, or of another release.",
        "text": "What failed, and the value.",
        "remedy": "What to do about it.",
        "object": "The kind and name of what it is about.",
        "command": "What mends it; a place in <...> is to be filled in.",
    },
    Finding: {
        "severity": "What a rotation that is due does about it: is refused, waits until it has "
        "passed, begins and is taken back before traffic moves, goes on since it is waived, or "
        "goes on and tells.",
        "code": "One of those in docs/recovery.md.",
        "object": "The kind and name of what it is about; empty where it is no single one.",
        "text": "What was found, and the value.",
        "remedy": "What to do about it.",
        "command": "What mends it, empty where no one command does; a place in <...> is to be "
        "filled in.",
        "waivable": "Whether who may approve may waive it.",
    },
    Request: {
        "secret": "For events: the secret that they are about.",
        "version": "For events: the version that they are about.",
        "retries": "The rotation that this one was started again from.",
        "wave": "The wave that it is of.",
    },
    DryRun: {
        "ready": "Whether it would rotate, from `active` to `standby`.",
        "would": "`abort`: begin, and be taken back before traffic moves.",
        "active": "The slot that serves; null where not all of it could be seen, or workloads "
        "disagree.",
        "findings": "What was found, first that for which it would be refused.",
        "unknown": "What could not be found out without trying it.",
        "due": "When the next one begins by itself.",
        "milliseconds": "How long it took.",
    },
    SeenCredential: {
        "active": "Null when the workloads disagree, or when they cannot be looked at.",
        "at": "When it was looked at.",
        "rotation": "The rotation under way.",
        "slots": "None where not all could be looked at: the findings say why.",
        "findings": "What a rotation would be refused for, wait for, or tell of.",
        "due": "When the next rotation begins by itself.",
    },
    Due: {
        "at": "Null where nothing makes it due, or where it is not known: the text says which.",
        "text": "How that was worked out, in sentences.",
    },
    SeenSlot: {"serves": "Whether traffic of some workload goes there."},
    SessionCount: {
        "client": "Address, or local.",
        "workload": "The workload of the credential that they belong to, if they do.",
    },
    ShownRecord: {
        "active": "The slot that served when it began.",
        "standby": "The slot that it brings up.",
        "version": "The new secret version.",
        "workloads": "How far each is.",
        "waivers": "What would have forbidden it, and was waived.",
        "cancelling": "Null where it cannot be cancelled at all: it has yet to begin, or began "
        "under an earlier release.",
        "cancelled": "The cancel that counted.",
        "outcomeReason": "Why it ended so, in a sentence.",
        "reasons": "What that sentence is made of.",
        "evidence": "Once it has ended: what there was when the decision was requested, and with "
        "the decision.",
        "attempt": "How many times it has begun to bring the standby slot up.",
        "waits": "By workload: what it waits for, or why it failed while others go on.",
        "tried": "By workload: of those that wait for a failure to pass.",
        "untold": "Announcements that could not be handed over.",
        "changed": "What credentials.yaml says by now, and did not when the rotation was planned: "
        "lines of a path and what happened there. The rotation goes on with what was planned.",
        "releases": "What became of images that others deployed in the middle: brought along to "
        "the slot that serves, or left behind.",
        "runtimeStatus": "What the durable engine says of it.",
    },
    StepRecord: {
        "failure": "Why it gave up.",
        "waits": "What it failed with last and is tried again for, or what it waits for.",
        "attempt": "How many attempts have failed so far.",
        "nextTry": "When it is tried again.",
        "code": "The code of the first reason of that.",
    },
    Usage: {
        "days": "How many days are looked back.",
        "since": "The day, in UTC, of the first sample in these days.",
        "gaps": "Samples in which a server did not answer, or pods could not be looked at.",
        "users": "Those in no workload, who may still need the replaced role first.",
        "problem": "Why it is not known, or not of all days.",
    },
    Waiver: {
        "code": "One of those that docs/recovery.md says can be waived.",
        "text": "What was found.",
        "by": "Who gave the waiver.",
        "via": "Whoever asked for the rotation, with the request; or the owner, in the file.",
    },
    TestResult: {
        "problem": "Why it did not pass.",
        "role": "The role that a field of the answer proved.",
    },
}

# What no annotation says.
NARROWER: dict[type, dict[str, Schema]] = {
    SessionCount: {"sessions": {"minimum": 1}},
    ShownRecord: {
        "runtimeStatus": {"enum": [status.name for status in OrchestrationRuntimeStatus]}
    },
    Event: {
        "id": {"pattern": r"^[a-z0-9-]+(T[0-9]{6}-[0-9a-f]{4})?\.[0-9]+$"},
        "eventType": {"pattern": r"^CredentialRotation\.[A-Z][A-Za-z]+$"},
        "subject": {"pattern": "^/credentials/[a-z][a-z0-9-]*$"},
        "dataVersion": {"const": "1"},
    },
    Links: {name: {"format": "uri-reference"} for name in ("status", "approval", "page")},
    Recipient: {"approver": {"format": "email"}, "link": {"format": "uri-reference"}},
}
# They have a value wherever they are shown, although they had none at first.
SET: dict[type, set[str]] = {Decision: {"at"}, Cancel: {"at"}, Reason: {"remedy"}}
# Others add to them, and say themselves that there is no more.
OPEN = {EventData, ShownRecord}


def components(structures: Iterable[type], template: str) -> JsonObject:
    """Schemas by the names that they have outside, those included that the structures refer to.

    `template` makes a reference of a `{name}`.
    """
    known = {kind.__name__: kind for kind in _all(structures)}
    _, schemas = msgspec.json.schema_components(list(known.values()), ref_template="{name}")
    return {
        _name(known[name]): _schema(known[name], schema, template, known)
        for name, schema in schemas.items()
    }


def _all(structures: Iterable[type]) -> list[type]:
    """The structures and enumerations that are reached from some."""
    kinds: dict[type, None] = {}
    waiting: list[object] = list(msgspec.inspect.multi_type_info(structures))
    while waiting:
        seen = waiting.pop(0)
        match seen:
            case msgspec.inspect.StructType(cls=cls) | msgspec.inspect.EnumType(cls=cls):
                if cls in kinds:
                    continue
                kinds[cls] = None
        if isinstance(seen, msgspec.inspect.Type | msgspec.inspect.Field):
            parts = (getattr(seen, part.name) for part in msgspec.structs.fields(type(seen)))
            waiting += [
                one for part in parts for one in (part if isinstance(part, tuple) else [part])
            ]
    return list(kinds)


def _name(kind: type) -> str:
    return NAMES.get(kind, kind.__name__)


def _schema(kind: type, schema: Schema, template: str, known: dict[str, type]) -> Schema:
    described: Schema = _referring(schema, template, known)
    described = {**described, "description": _description(kind)}
    described.pop("title", None)
    if issubclass(kind, msgspec.Struct):
        _fields(kind, described)
    elif "enum" in described:
        described["enum"] = [member.value for member in kind]  # type: ignore[attr-defined]
    return described


def _description(kind: type) -> str:
    text = DESCRIBED.get(kind) or inspect.getdoc(kind) or ""
    return " ".join(text.split())


def _referring(value: Any, template: str, known: dict[str, type]) -> Any:
    """The schema with references to the names outside, without defaults: what is shown is there."""
    if isinstance(value, dict):
        return {
            key: template.format(name=_name(known[child]))
            if key == "$ref"
            else _referring(child, template, known)
            for key, child in value.items()
            if key != "default"
        }
    return (
        [_referring(child, template, known) for child in value]
        if isinstance(value, list)
        else value
    )


def _fields(kind: type[msgspec.Struct], schema: Schema) -> None:
    properties: dict[str, Schema] = schema["properties"]
    for table in (FIELDS, NARROWER, SET):
        unknown = set(table.get(kind, ())) - properties.keys()
        if unknown:
            raise LookupError(
                f"{kind.__name__} has no {', '.join(sorted(unknown))}: see schemas.py"
            )
    for name, more in NARROWER.get(kind, {}).items():
        properties[name] = {**properties[name], **more}
    left_out = _with_defaults(kind) if kind.__struct_config__.omit_defaults else set()
    for name in left_out:
        properties[name] = _set(properties[name])  # where it is shown, it is not null
    optional = left_out - SET.get(kind, set())
    for name, text in FIELDS.get(kind, {}).items():
        properties[name] = {"description": text, **properties[name]}
    schema["required"] = [name for name in properties if name not in optional]
    if kind not in OPEN:
        schema["additionalProperties"] = False


def _with_defaults(kind: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind) if not field.required}


def _set(schema: Schema) -> Schema:
    """The schema without null."""
    left = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return left[0] if len(left) == 1 else schema
