"""What is told about a rotation: the log line, and the event for the Event Grid topic.

docs/events has the schema of each event. None carries a key: the links need a sign-in of their own,
and the signed ones are added on the way out (`links`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rotation.config import Credential

PREFIX = "CredentialRotation."
TYPES = (
    "Started",
    "AwaitingApproval",
    "Reminder",
    "StillInUse",
    "Approved",
    "Rejected",
    "Completed",
    "RolledBack",
    "Aborted",
    "Refused",
    "NeedsAttention",
)
ALARMS = {"needs-attention", "refused", "aborted"}
LINES = {
    "Started": "rotation.started",
    "AwaitingApproval": "approval.requested",
    "Reminder": "approval.reminder",
    "StillInUse": "approval.still-in-use",
    "Approved": "approval.decided",
    "Rejected": "approval.decided",
}


def log_line(reference: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The log event's name and fields. What has an outcome is `rotation.finished`."""
    facts = reference["facts"]
    if facts.get("overdue"):
        return "approval.overdue", facts
    return LINES.get(reference["type"], "rotation.finished"), facts


def notification(
    reference: dict[str, Any], credential: Credential, public_url: str | None
) -> dict[str, Any]:
    """An event in the Event Grid schema. A repeat of the activity makes the same id."""
    rotation, request = reference["rotation"], reference["request"]
    facts = dict(reference["facts"])
    if "reason" in facts:
        facts["outcomeReason"] = facts.pop("reason")  # `reason` is why the rotation was asked for
    return {
        "id": f"{rotation}.{reference['number']}",
        "eventType": PREFIX + reference["type"],
        "subject": f"/credentials/{reference['credential']}",
        "eventTime": reference["time"],
        "dataVersion": "1",
        "data": {
            "rotation": rotation,
            "credential": reference["credential"],
            "origin": request["origin"],
            "requestedBy": request["requestedBy"],
            "reason": request["reason"],
            "approvers": credential.approval.approvers,
            "links": links(rotation, public_url),
            **describe(reference["type"], reference["credential"], facts),
            **facts,
        },
    }


DEADLINES = {
    "keep": "both logins stay and reminders go on",
    "roll-back": "the rotation goes back by itself",
    "approve": "the rotation goes on by itself once it is proved that nothing uses the old login",
}


def describe(kind: str, credential: str, facts: dict[str, Any]) -> dict[str, str]:
    """One line for a subject and a few sentences for a body, both without markup."""
    title, text = _words(kind, facts)
    return {"title": f"{credential}: {title}", "text": text}


def _words(kind: str, facts: dict[str, Any]) -> tuple[str, str]:  # noqa: PLR0911 - one for each
    match kind:
        case "Started":
            return "rotation started", "Nothing is asked of you; the active slot goes on serving."
        case "AwaitingApproval":
            return "please approve the rotation", _request(facts)
        case "Reminder" if facts["overdue"]:
            return "the decision is overdue", _request(facts)
        case "Reminder":
            return "reminder: please approve the rotation", _request(facts)
        case "StillInUse":
            return f"the {facts['replaced']} login is still in use", _still_in_use(facts)
        case "Approved" | "Rejected":
            decision = facts["decision"]
            said = f" Comment: {decision['comment']}" if decision["comment"] else ""
            by = f"{decision['by']} decided through {decision['channel']}.{said}"
            return f"rotation {kind.lower()}", by
        case _:
            return f"rotation {facts['outcome'].replace('-', ' ')}", str(facts["outcomeReason"])


def _request(facts: dict[str, Any]) -> str:
    serves, replaced = facts["serves"], facts["replaced"]
    return (
        f"The workloads run on the {serves} slot. Approve takes the {replaced} login away; reject "
        f"goes back to it. Without a decision by {facts['deadline']}, "
        f"{DEADLINES[facts['onDeadline']]}."
    )


def _still_in_use(facts: dict[str, Any]) -> str:
    users = sorted(
        {f"{row['application'] or 'unnamed'} at {row['client']}" for row in facts["sessions"]}
    )
    listed = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
    return f"Sessions that belong to no known workload, and would be ended on approval: {listed}."


def links(rotation: str, public_url: str | None) -> dict[str, str]:
    """Paths only where the app does not know its own address (ROTATION_PUBLIC_URL)."""
    base = public_url or ""
    return {
        "status": f"{base}/api/rotations/{rotation}",
        "approval": f"{base}/api/rotations/{rotation}/approval",
        "page": f"{base}/api/pages/rotations/{rotation}",
    }
