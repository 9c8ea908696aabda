"""The activities that log a notice, and that publish its event where there is a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation import log
from rotation.model.activities import Ready
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code
from rotation.telling.messages import announcement, log_event, log_fields, log_level
from rotation.telling.recipients import with_recipients

if TYPE_CHECKING:
    from rotation.steps.running import Step


def notify(step: Step) -> Ready:
    """Logs a notice; the answer holds the event to publish if there is a topic, and what the file
    says by now that it did not when the rotation was planned."""
    notice = step.reference.notice
    if notice is None:
        raise LookupError("the reference of notify has no notice")
    log.event(
        log_event(notice),
        level=log_level(notice),
        rotation=step.rotation,
        credential=step.name,
        **log_fields(notice),
    )
    if notice.outcome is not None:
        log.OUTCOMES.add(1, {"outcome": notice.outcome, "credential": step.name})
    if step.edges.settings.topic is None or notice.kind is None:
        return Ready(changed=step.changed)
    event = announcement(notice, step.approval.approvers, step.edges.settings.public_url)
    return Ready(event, step.changed)


def stop_parts(step: Step) -> None:
    """Nothing but the log line that parts of a rotation are told to stop, which the app does."""
    if not step.reference.parts:
        raise LookupError("the reference of stop_parts has no parts")


def take_over(step: Step) -> None:
    """Nothing but the log line that a rotation is told to make way, which the app does."""
    if step.reference.request is None:
        raise LookupError("the reference of take_over has no request")


def publish_event(step: Step) -> None:
    """Publishes an event, with its signed links.

    Raises `Unavailable` where there is no topic any more: the event waits.
    """
    topic, event = step.edges.settings.topic, step.reference.event
    if event is None:
        raise LookupError("the reference of publish_event has no event")
    if topic is None:
        text = "ROTATION_TOPIC_ENDPOINT is no longer set, and an event waits for it"
        raise Unavailable(Code.NO_TOPIC, text)
    if not step.name:  # of a wave, which asks nobody to decide
        step.topic(topic).publish(event)
        return
    # A signed link is made now, so that the engine's record of this event holds none.
    step.topic(topic).publish(with_recipients(step.edges, event, step.approval))
