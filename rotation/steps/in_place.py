"""Exchanges the login of a workload without a twin, and waits until its pods use it.

Its owner has chosen by `inPlace` that what serves is altered so: its Secret, and one annotation of
its pod template. Each change is a compare-and-swap by the revision of a look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions import in_place
from rotation.decisions.rollout import unready
from rotation.model.activities import Moved, Watched
from rotation.model.errors import Conflict, Missing, Unavailable
from rotation.model.reasons import Code, reason
from rotation.model.targets import SecretTarget
from rotation.model.world import SLOTS, other, shown_slot
from rotation.steps import exchanging, proving
from rotation.steps.explaining import explain
from rotation.steps.login import current_version, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.config import Workload
    from rotation.contracts.edges import Readers
    from rotation.model.reasons import Reason
    from rotation.model.world import Deployment, Slot
    from rotation.steps.running import Step


MISSING = Code.PROOF_MISSING  # a session; a pool may open its own late


def swap(step: Step) -> Moved:
    """Writes the slot's login into the workload's Secret, and has its pods restart if they are to.

    Raises `Unavailable` unless the workload is ready, `Conflict` on the way back.
    """
    _exchange(step, back=False)
    return Moved()


def swap_back(step: Step) -> Moved:
    """Writes the login into the Secret that served before, and has the pods restart again.

    A fence first makes a write forward fail that is held up. Where none had come, nothing changes.
    """
    step.exchange.fence(exchanging.of(step.workload)[1])
    _exchange(step, back=True)
    return Moved()


def _exchange(step: Step, *, back: bool) -> None:
    """Makes the Secret hold the slot's login, and the pods read it again.

    The workload is looked at before the Secret, and changed after it: who finds it restarted on the
    way back finds the Secret changed too.
    """
    settings, target = exchanging.of(step.workload)
    seen, held = _workload(step), exchanging.held(step.edges, step.workload).seen
    if held.slot not in SLOTS:
        text = f"Secret {target} names {shown_slot(held.slot)}: somebody else changed it"
        raise Conflict(Code.TRAFFIC_ELSEWHERE, text)
    if not back and held.fence == step.rotation:
        text = f"Secret {target} is on its way back: the former login is needed"
        raise Conflict(Code.SERVES_TRAFFIC, text)
    current = current_version(step.edges, step.credential, step.slot)
    if held.slot != step.slot:
        if not back:
            if not step.reference.cut:  # without the login that was cut none of its pods is ready
                _ensure_ready(step, seen)
            verify(step)
        value = step.vault.value(SecretTarget(current.secret, current.version))
        step.exchange.write(
            target,
            (step.login.role, value),
            version=current.version,
            revision=held.revision,
        )
    elif back and held.exchanged != step.rotation:
        return  # it never held another one
    exchange = in_place.exchange_of(step.rotation, step.slot)
    if settings.then == "restart" and seen.restarted != exchange:
        step.exchange.restart(
            version=current.version, exchange=exchange, revision=seen.revision or ""
        )


def _workload(step: Step) -> Deployment:
    """The workload as it is now. Raises `Missing`."""
    seen = step.pods.deployment(step.deployment)
    if seen is None:
        text = f"{step.deployment.kind} {step.deployment} does not exist"
        raise Missing(Code.DEPLOYMENT_MISSING, text)
    return seen


def _ensure_ready(step: Step, seen: Deployment) -> None:
    """Raises `Unavailable` while a rollout is under way: who is half way through one release is
    sent into no other one."""
    waiting = unready(seen) or ("no pods" if not seen.replicas else None)
    if waiting is not None:
        text = f"{seen.kind} {step.deployment} cannot be restarted now: {waiting}"
        raise Unavailable(Code.CANNOT_SERVE, text)


def await_login(step: Step) -> Watched:
    """Whether each pod uses the slot's login, after one bounded watch.

    That is a session of the slot's role from each, and none of the other one's; after a restart
    they have to be of the new template too, and on the way back those that are ready will do.
    """
    return _watched(step, lambda: _unused(step))


def _unused(step: Step) -> Reason | None:
    """Why it is not proved that the pods use the slot's login; None if it is."""
    settings, target = exchanging.of(step.workload)
    seen, held = _workload(step), exchanging.held(step.edges, step.workload).seen
    back = step.reference.back
    if held.slot != step.slot:
        text = f"Secret {target} holds the login of {shown_slot(held.slot)}, not of {step.slot}"
        raise Conflict(Code.TRAFFIC_ELSEWHERE, text)
    if back and held.exchanged != step.rotation:
        return None  # it never held another one
    waiting = unready(seen)
    if settings.then == "restart":
        exchange = in_place.exchange_of(step.rotation, step.slot)
        waiting = in_place.undone(seen, exchange) or waiting
    if waiting is not None:
        why = explain(step.pods, step.deployment, seen, waiting)
        return reason(why.code, why.text)
    slots, pods = step.credential.slots, step.pods.listed(step.deployment)
    why_unread = in_place.unread(
        proving.sessions(step.edges, step.credential),
        proving.origins(step.workload, {step.slot: pods}),
        pods,
        (slots[step.slot].role, slots[other(step.slot)].role),
        proving.known_by(step.workload),
    )
    if settings.then == "restart" and back and why_unread and why_unread.code == MISSING:
        return None  # its pods are new, and ready
    return None if why_unread is None else reason(Code.LOGIN_UNREAD, why_unread.text)


def await_left(step: Step) -> Watched:
    """Whether no session of the slot's role comes from the workload's pods, after one bounded
    watch: until then the role keeps its login."""
    return _watched(step, lambda: _left(step))


def _left(step: Step) -> Reason | None:
    role = step.login.role
    clients = proving.using(step.edges, step.credential, step.workload, step.slot, role)
    return (
        reason(Code.LOGIN_IN_USE, f"role {role} has sessions from {clients}") if clients else None
    )


def _watched(step: Step, look: Callable[[], Reason | None]) -> Watched:
    """The answer of looks, one a second, until one finds nothing in the way or the time is over."""
    end = step.edges.now().timestamp() + step.edges.settings.watch_seconds
    while True:
        why = look()
        if why is None:
            return Watched(done=True)
        if step.edges.now().timestamp() >= end:
            return Watched(done=False, observed=why.text, code=why.code)
        step.edges.sleep(1)


def confirm(edges: Readers, workload: Workload, slot: Slot) -> None:
    """Raises `EdgeError` unless the Secret holds the slot's login, and a pod is ready."""
    target = exchanging.of(workload)[1]
    held = exchanging.held(edges, workload).seen
    if held.slot != slot:
        text = f"Secret {target} holds the login of {shown_slot(held.slot)}, not of {slot}"
        raise Conflict(Code.TRAFFIC_ELSEWHERE, text)
    at = workload.deployment(slot)
    seen = edges.pods(workload.cluster).deployment(at)
    if seen is None or seen.ready == 0:
        waiting = unready(seen) if seen else "it does not exist"
        raise Unavailable(
            Code.NOT_SERVING, f"{at.kind} {at} does not serve: {waiting or 'no pods'}"
        )
