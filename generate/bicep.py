"""Lists in the Bicep files: which announcements are mailed, which outcomes raise an alarm."""

from __future__ import annotations

from generate.text import replaced
from rotation.model.catalogue import PREFIX, Announcement, Outcome, ending, told

RULES = {"now": "rotation-needs-attention", "soon": "rotation-failed"}


def subscriptions(text: str) -> str:
    """infra/events.bicep: the types of events that the mail workflow takes."""
    mailed = [f"        '{PREFIX}{kind}'\n" for kind in Announcement if told(kind).mailed]
    return replaced(text, r"includedEventTypes: \[\n([^\]]*?) *\]", "".join(mailed))


def alerts(text: str) -> str:
    """infra/modules/alerts.bicep: the outcomes that its queries look for."""
    for alarm, rule in RULES.items():
        listed = ", ".join(f'"{one}"' for one in Outcome if ending(one).alarm == alarm)
        pattern = rf"name: '{rule}'\n(?:(?!name: ')[^\n]*\n)*?[^\n]*and (outcome [^|]*) \|"
        text = replaced(text, pattern, f"outcome in ({listed})")
    return text
