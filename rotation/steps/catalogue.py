"""Every activity with the function that implements it."""

from __future__ import annotations

from rotation.model import activities as known
from rotation.steps import (
    conditions,
    in_place,
    incident,
    jobs,
    login,
    planning,
    pods,
    proving,
    telling,
    traffic,
    windows,
)
from rotation.steps.running import implements

# What follows them needs the durable client: see `rotation.app`.
NOTIFY = implements(known.NOTIFY, telling.notify)
STOP_PARTS = implements(known.STOP_PARTS, telling.stop_parts)
TAKE_OVER = implements(known.TAKE_OVER, telling.take_over)

ACTIVITIES = (
    implements(known.PLAN, planning.plan),
    implements(known.WINDOW, windows.window),
    implements(known.CONDITIONS, conditions.conditions),
    implements(known.LOCATE, incident.locate),
    implements(known.CUT, incident.cut),
    implements(known.STAGE, login.stage),
    implements(known.ACTIVATE, login.activate),
    implements(known.VERIFY, login.verify),
    implements(known.DELIVER, pods.deliver),
    implements(known.START, pods.start),
    implements(known.AWAIT_READY, pods.await_ready),
    implements(known.TEST, proving.test),
    implements(known.RUN_JOBS, jobs.run),
    implements(known.AWAIT_JOBS, jobs.await_over),
    implements(known.LEVEL, pods.level),
    implements(known.SWAP, traffic.swap),
    implements(known.SWAP_BACK, traffic.swap_back),
    implements(known.AWAIT_LOGIN, in_place.await_login),
    implements(known.CONFIRM, traffic.confirm),
    implements(known.SCALE_DOWN, pods.scale_down),
    implements(known.AWAIT_GONE, pods.await_gone),
    implements(known.AWAIT_SESSIONS, login.await_sessions),
    implements(known.DEACTIVATE, login.deactivate),
    implements(known.DISABLE, login.disable),
    implements(known.EVIDENCE, proving.evidence),
    implements(known.PUBLISH_EVENT, telling.publish_event),
)
