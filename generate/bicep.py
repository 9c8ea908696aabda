"""Lists in the Bicep files: which announcements are mailed, which outcomes raise an alarm."""

from __future__ import annotations

from generate.text import replaced
from rotation.model.catalogue import PREFIX, Announcement, Outcome, announcement_facts, ending

RULES = {"now": "rotation-needs-attention", "soon": "rotation-failed"}


def subscriptions(text: str) -> str:
    """The text of infra/events.bicep with the types of events that the workflows take."""
    mailed = [kind for kind in Announcement if announcement_facts(kind).mailed]
    types = "".join(f"          '{PREFIX}{kind}'\n" for kind in mailed)
    return replaced(text, r"includedEventTypes: \[\n([^\]]*?) *\]", types)


def alerts(text: str) -> str:
    """The text of infra/modules/alerts.bicep with the outcomes that its queries look for."""
    for alarm, rule in RULES.items():
        listed = ", ".join(f'"{one}"' for one in Outcome if ending(one).alarm == alarm)
        pattern = rf"name: '{rule}'\n(?:(?!name: ')[^\n]*\n)*?[^\n]*and (outcome [^|]*) \|"
        text = replaced(text, pattern, f"outcome in ({listed})")
    return text
