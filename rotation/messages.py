"""What is told about a rotation: the log line, and the event for the Event Grid topic.

docs/events has the schema of each event. None carries a key: the links need a sign-in of their own.
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
    if facts.get("overdue") and facts.get("onDeadline"):
        return "approval.overdue", facts
    return LINES.get(reference["type"], "rotation.finished"), facts


def notification(
    reference: dict[str, Any], credential: Credential, public_url: str | None
) -> dict[str, Any]:
    """An event in the Event Grid schema. A repeat of the activity makes the same id."""
    rotation, request = reference["rotation"], reference["request"]
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
            **reference["facts"],
        },
    }


def links(rotation: str, public_url: str | None) -> dict[str, str]:
    """Paths only where the app does not know its own address (ROTATION_PUBLIC_URL)."""
    base = public_url or ""
    return {
        "status": f"{base}/api/rotations/{rotation}",
        "approval": f"{base}/api/rotations/{rotation}/approval",
        "page": f"{base}/api/pages/rotations/{rotation}",
    }
