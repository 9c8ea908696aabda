"""One activity for each step: call the edges, return a reference.

Each may run twice or be cut off anywhere. A password never leaves the function that needs it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from rotation import log
from rotation.errors import Conflict, Invalid, Unavailable
from rotation.links import recipients
from rotation.messages import ALARMS, log_line, notification
from rotation.model import Refuse, Request, Rotate, Skip, Slot, Wait, other
from rotation.observation import evidence as collect_evidence
from rotation.observation import run_tests, snapshot
from rotation.planning import decide, unready
from rotation.secrecy import CONTENT_TYPES, extract, new_password, render

if TYPE_CHECKING:
    from rotation.config import Credential
    from rotation.model import Deployment, SecretVersion
    from rotation.secrecy import Secret
    from rotation.step import Activity, Step


def plan(step: Step) -> dict[str, Any]:
    credential = step.credential
    request = Request.from_value(step.reference["request"])
    world = snapshot(step.edges, step.name, credential)
    decision = decide(world, request, step.edges.now(), credential.rotate_before)
    match decision:
        case Rotate():
            return {"decision": "rotate", "active": decision.active, **_terms(credential)}
        case Skip():
            return {"decision": "skipped", "reason": decision.reason}
        case Refuse():
            return {"decision": "refused", "reason": "; ".join(decision.problems)}
        case Wait():
            raise Unavailable("; ".join(decision.problems))


def _terms(credential: Credential) -> dict[str, Any]:
    """What the orchestrators need to know of the configuration, fixed for the whole rotation."""
    approval, retry = credential.approval, credential.retry
    return {
        "workloads": [workload.name for workload in credential.workloads],
        "policy": {
            "patience": retry.patience.total_seconds(),
            "compensation": retry.compensation.total_seconds(),
            "drain": credential.drain.total_seconds(),
            "workloads": {
                workload.name: {
                    "ready": workload.ready.total_seconds(),
                    "drain": workload.drain.total_seconds(),
                }
                for workload in credential.workloads
            },
            "approval": {
                "remind": approval.remind.total_seconds(),
                "deadline": approval.deadline.total_seconds(),
                "onDeadline": approval.on_deadline,
                "soak": approval.soak.total_seconds() if approval.soak else None,
                "fourEyes": not approval.allow_requester,
            },
        },
    }


def stage(step: Step) -> dict[str, Any]:
    """Finds the version that this rotation wrote already, or writes it: the password's birth."""
    credential, login = step.credential, step.login
    for version in step.vault.versions(login.secret):
        if version.enabled and version.tags.get("rotation") == step.rotation:
            return {"version": version.version}
    value = render(credential.format, login.role, new_password(), credential.database)
    step.ensure_standby()
    written = step.vault.put(
        login.secret,
        value,
        expires=step.edges.now() + credential.validity,
        content_type=CONTENT_TYPES[credential.format],
        tags={"rotation": step.rotation, "slot": step.slot, "role": login.role},
    )
    return {"version": written.version}


def activate(step: Step) -> dict[str, Any]:
    """The role gets the password of its secret's current version, which must be this rotation's."""
    current = _current(step)
    if current.tags.get("rotation") != step.rotation:
        raise Conflict(
            f"the current version {current.version} of secret {current.secret} was written by "
            "somebody else since this rotation staged its own"
        )
    password = _password(step, current)
    step.ensure_standby()
    step.edges.database(step.credential).activate(step.login.role, password)
    return {"version": current.version}


def verify(step: Step) -> None:
    """Logs in with the current version; with `version` in the reference, it must be that one."""
    current = _current(step)
    wanted = step.reference.get("version")
    if wanted is not None and current.version != wanted:
        raise Conflict(
            f"the current version of secret {current.secret} is {current.version}, not {wanted}: "
            "somebody else wrote it"
        )
    step.edges.database(step.credential).login(step.login.role, _password(step, current))


def _current(step: Step) -> SecretVersion:
    current = step.vault.current(step.login.secret)
    if current is None or not current.enabled:
        state = "does not exist" if current is None else "is disabled"
        raise Conflict(f"the current version of secret {step.login.secret} {state}")
    return current


def _password(step: Step, version: SecretVersion) -> Secret:
    value = step.vault.value(version.secret, version.version)
    return extract(step.credential.format, value, f"{version.secret}/{version.version}")


def deliver(step: Step) -> None:
    """Pods with `delivery: csi` fetch the secret themselves, from Key Vault, when they start."""
    workload = step.workload
    if workload.delivery == "csi" or workload.secrets is None:
        return
    version = step.reference["version"]
    value = step.vault.value(step.login.secret, version)
    name = workload.secrets[step.slot]
    step.ensure_standby()
    step.cluster.put_secret(workload.namespace, name, workload.key, value, version)


def start(step: Step) -> None:
    """The standby Deployment gets what the active one runs; the preview Service points at it."""
    step.ensure_standby()
    workload, cluster = step.workload, step.cluster
    _point_preview(step, step.slot)
    active = cluster.deployment(workload.namespace, workload.deployments[other(step.slot)])
    if active is None or active.replicas == 0:
        raise Conflict(f"the active Deployment of workload {workload.name} is gone or at zero")
    namespace, name = step.deployment
    step.ensure_standby()
    cluster.start(
        namespace,
        name,
        replicas=active.replicas,
        images=active.images,
        version=step.reference["version"],
    )


def _point_preview(step: Step, slot: Slot) -> None:
    workload, cluster = step.workload, step.cluster
    space, name, label = workload.namespace, workload.preview, workload.selector_label
    preview = cluster.service(space, name, label)
    if preview is None or preview.slot is None:
        raise Conflict(f"Service {space}/{name} is gone or selects no slot")
    if preview.slot != slot:
        cluster.select(space, name, label, preview.slot, slot)


def await_ready(step: Step) -> dict[str, Any]:
    version = step.reference["version"]
    namespace, name = step.deployment

    def settled(deployment: Deployment) -> bool:
        return unready(deployment, version) is None or deployment.failure is not None

    found = step.cluster.watch_deployment(
        namespace, name, settled, step.edges.settings.watch_seconds
    )
    waiting = unready(found, version)
    if waiting is not None and found.failure is not None:
        raise Invalid(f"Deployment {namespace}/{name} does not come up: {found.failure}; {waiting}")
    return {"done": waiting is None, "observed": waiting}


def test(step: Step) -> dict[str, Any]:
    """Tests need not pass at once, since routes take a moment to settle, but all in one round."""
    through = step.reference["through"]
    give_up = step.edges.now().timestamp() + step.edges.settings.watch_seconds
    while True:
        results = run_tests(step.edges, step.credential, step.workload, step.slot, through)
        failed = [
            f"{result['test']}: {result['problem']}" for result in results if not result["passed"]
        ]
        if not failed:
            return {"tests": results}
        if step.edges.now().timestamp() >= give_up:
            raise Invalid(f"tests of the {step.slot} slot failed: {'; '.join(failed)}")
        step.edges.sleep(1)


def swap(step: Step) -> None:
    """Points the production Service at `slot`, once that has as many ready pods as the other.

    Its login is proved here too: the wait for pods may have been long.
    """
    workload, cluster = step.workload, step.cluster
    space, label, came_from = workload.namespace, workload.selector_label, other(step.slot)
    if step.reference.get("compensating", False):
        # Going back may have nothing to change; a swap forward that is held up must still fail.
        cluster.seal(space, workload.service, step.rotation)
    service = cluster.service(space, workload.service, label)
    if service is None or service.slot != step.slot:
        _level(step)
        verify(step)
    cluster.select(
        *(space, workload.service, label, came_from, step.slot),
        # Held up since then, it must not undo a swap back.
        revision=service.revision if service else None,
    )
    _point_preview(step, came_from)


def _level(step: Step) -> None:
    """The load may have grown since the slot was started, or left. Raises `Unavailable`."""
    workload, cluster = step.workload, step.cluster
    namespace, name = step.deployment
    target = cluster.deployment(namespace, name)
    serving = cluster.deployment(namespace, workload.deployments[other(step.slot)])
    wanted = max(serving.replicas if serving else 0, 1)
    # Only going back is worth starting a slot that somebody stopped, or that is retired by now.
    revive = step.reference.get("compensating", False)
    if target is not None and target.replicas < wanted and (target.replicas or revive):
        # No `ensure_standby`: other workloads may have been swapped already, and this one's traffic
        # goes to the other slot, as `swap` has just seen.
        cluster.scale(namespace, name, wanted)
        raise Unavailable(f"Deployment {namespace}/{name} is being scaled up to {wanted} pods")
    waiting = unready(target) if target else "it does not exist"
    if target is None or target.replicas == 0 or waiting is not None:
        raise Unavailable(f"Deployment {namespace}/{name} cannot serve now: {waiting or 'no pods'}")


def confirm(step: Step) -> None:
    """The slot serves every workload, with ready pods and a login that works."""
    for workload in step.credential.workloads:
        cluster = step.edges.cluster(workload.cluster)
        space, name = workload.namespace, workload.deployments[step.slot]
        service = cluster.service(space, workload.service, workload.selector_label)
        if service is None or service.slot != step.slot:
            selected = "is gone" if service is None else f"selects {service.slot}"
            raise Conflict(f"Service {space}/{workload.service} {selected}, not {step.slot}")
        deployment = cluster.deployment(space, name)
        waiting = unready(deployment) if deployment else "it does not exist"
        if deployment is None or deployment.ready == 0:
            raise Unavailable(f"Deployment {space}/{name} does not serve: {waiting or 'no pods'}")
    verify(step)


def scale_down(step: Step) -> None:
    step.ensure_standby()
    namespace, name = step.deployment
    step.cluster.scale(namespace, name, 0)


def await_gone(step: Step) -> dict[str, Any]:
    """Scales down once more where a `start` that came late, or somebody else, has undone that."""
    namespace, name = step.deployment
    found = step.cluster.deployment(namespace, name)
    if found is not None and found.replicas > 0:
        scale_down(step)
    left = step.cluster.watch_gone(namespace, name, step.edges.settings.watch_seconds)
    return {"done": not left, "observed": f"{len(left)} pods left: {', '.join(left[:5])}"}


def await_sessions(step: Step) -> dict[str, Any]:
    database = step.edges.database(step.credential)
    give_up = step.edges.now().timestamp() + step.edges.settings.watch_seconds
    while True:
        left = len(database.sessions([step.login.role]))
        if not left or step.edges.now().timestamp() >= give_up:
            return {"done": not left, "observed": f"{left} sessions of role {step.login.role}"}
        step.edges.sleep(1)


def deactivate(step: Step) -> dict[str, Any]:
    """First no new logins, then the end of those sessions that stayed."""
    step.ensure_standby()
    database, name = step.edges.database(step.credential), step.login.role
    role = database.roles([name]).get(name)
    if role is not None and not role.login and not database.sessions([name]):
        return {"terminated": 0}  # it may never have been activated, for lack of the right to
    database.deactivate(name)
    return {"terminated": database.terminate(name)}


def disable(step: Step) -> dict[str, Any]:
    """Every version: their role has no password any more."""
    step.ensure_standby()
    enabled = [version for version in step.vault.versions(step.login.secret) if version.enabled]
    for version in enabled:
        step.ensure_standby()
        step.vault.disable(step.login.secret, version.version)
    return {"disabled": [version.version for version in enabled]}


def evidence(step: Step) -> dict[str, Any]:
    return collect_evidence(step.edges, step.credential, step.slot)


def notify(step: Step) -> dict[str, Any]:
    """Logs what happened; the answer holds the event to publish if there is a topic."""
    reference = step.reference
    name, fields = log_line(reference)
    level = logging.ERROR if reference["facts"].get("outcome") in ALARMS else logging.INFO
    log.event(name, level=level, rotation=step.rotation, credential=step.name, **fields)
    if reference["facts"].get("outcome"):
        log.OUTCOMES.add(1, {"outcome": fields["outcome"], "credential": step.name})
    if step.edges.settings.topic is None or reference["type"] == "Skipped":
        return {}
    return {"event": notification(reference, step.credential, step.edges.settings.public_url)}


def publish_event(step: Step) -> None:
    topic = step.edges.settings.topic
    if topic is None:
        raise Unavailable("ROTATION_TOPIC_ENDPOINT is no longer set, and an event waits for it")
    # A signed link is made now, so that the engine's record of this event holds none.
    event = recipients(step.edges, step.reference["event"], step.credential)
    step.edges.topic(topic).publish(event)


# `notify` is not among them: its answer needs the durable client (see `app`).
ACTIVITIES: tuple[Activity, ...] = (
    plan,
    stage,
    activate,
    verify,
    deliver,
    start,
    await_ready,
    test,
    swap,
    confirm,
    scale_down,
    await_gone,
    await_sessions,
    deactivate,
    disable,
    evidence,
    publish_event,
)
