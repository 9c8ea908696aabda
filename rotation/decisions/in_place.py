"""A workload without a twin: what forbids to exchange its login, and whether its pods use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rotation.decisions.proof import missing_sessions, wrong_login
from rotation.model.commands import Problem, Thing
from rotation.model.reasons import Code
from rotation.model.world import SLOTS, shown_slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rotation.decisions.sessions import Origin
    from rotation.model.reasons import Reason
    from rotation.model.record import KnownBy
    from rotation.model.wire import JsonObject
    from rotation.model.world import (
        Deployment,
        InPlaceState,
        Pod,
        Reading,
        Session,
        Slot,
        WorkloadState,
    )


def problems(workload: WorkloadState, active: Slot) -> Iterator[Problem]:
    """What forbids to exchange a workload's login until somebody mends it."""
    state, serving = workload.in_place, workload.deployments[active]
    if state is None:
        return
    if state.found is not None:
        yield from _of_secret(state, active)
    if serving is None:
        kind, _, path = workload.at.partition(" ")
        thing = Thing.at(kind, path)
        yield Problem(Code.DEPLOYMENT_MISSING, f"{workload.at} does not exist", thing)
        return
    thing = Thing(serving.kind, serving.name, serving.namespace)
    yield from _of_readings(state, serving, thing)
    if serving.replicas == 0:
        text = f"{serving.kind} {serving.name} has no pods"
        yield Problem(Code.ACTIVE_AT_ZERO, text, thing)
    if state.then == "restart" and serving.stays is not None:
        text = f"{serving.kind} {serving.name} would not replace all of its pods"
        yield Problem(Code.NEVER_RESTARTED, f"{text}: {serving.stays}", thing)


def unnamed(state: InPlaceState) -> tuple[Code, str] | None:
    """Why the Secret tells no slot; None if it names one."""
    if state.found is None:
        return Code.EXCHANGED_MISSING, f"its Secret {state.secret} does not exist"
    if state.found.slot in SLOTS:
        return None
    text = f"its Secret {state.secret} names {shown_slot(state.found.slot)}"
    return Code.EXCHANGED_UNNAMED, f"{text}: {state.label}"


def _secret(state: InPlaceState) -> Thing:
    return Thing.at("Secret", state.secret, label=state.label)


def _of_secret(state: InPlaceState, active: Slot) -> Iterator[Problem]:
    """What is wrong with the Secret, whose values are never quoted."""
    thing = _secret(state)
    if state.found is not None and state.found.immutable:
        text = f"its Secret {state.secret} is immutable"
        yield Problem(Code.EXCHANGED_IMMUTABLE, f"{text}: nothing can be written there", thing)
    if not state.readable:
        text = f"its Secret {state.secret} has no value that can be read under its key"
        yield Problem(Code.EXCHANGED_LOGIN, text, thing)
    elif state.holds != active:
        named = f"the other role, that of {state.holds}" if state.holds else "neither slot's role"
        text = f"its Secret {state.secret} says that it holds the login of {active}, and has"
        yield Problem(Code.EXCHANGED_LOGIN, f"{text} {named}", thing)


def _of_readings(state: InPlaceState, serving: Deployment, thing: Thing) -> Iterator[Problem]:
    what = f"the pods of {serving.kind} {serving.name}"
    if not state.readings:
        text = f"{what} read Secret {state.secret} neither as a volume nor as a variable"
        yield Problem(Code.LOGIN_NEVER_READ, text, thing)
    elif state.then == "reload" and state.readings != {"volume"}:
        how = " and ".join(
            words for reading, words in NEVER_RENEWED.items() if reading in state.readings
        )
        text = f"{what} read Secret {state.secret} {how}, which no pod reads again"
        yield Problem(Code.LOGIN_NEVER_READ, text, thing)


NEVER_RENEWED: dict[Reading, str] = {"env": "as a variable", "subPath": "by a subPath"}


def readings(template: JsonObject, secret: str) -> frozenset[Reading]:
    """How the containers of a pod template read a Secret of this name.

    https://kubernetes.io/docs/concepts/configuration/secret/#using-secrets
    """
    pod: dict[str, Any] = template.get("spec") or {}
    volumes = {each["name"] for each in pod.get("volumes") or [] if _shows(each, secret)}
    containers = [*(pod.get("containers") or []), *(pod.get("initContainers") or [])]
    found: set[Reading] = set()
    for container in containers:
        for mount in container.get("volumeMounts") or []:
            if mount.get("name") in volumes:
                by_path = mount.get("subPath") or mount.get("subPathExpr")
                found.add("subPath" if by_path else "volume")
        from_env = [
            ((each.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name")
            for each in container.get("env") or []
        ]
        from_env += [
            (each.get("secretRef") or {}).get("name") for each in container.get("envFrom") or []
        ]
        if secret in from_env:
            found.add("env")
    return frozenset(found)


def _shows(volume: JsonObject, secret: str) -> bool:
    """Whether a volume has the Secret's keys as files."""
    sources = (volume.get("projected") or {}).get("sources") or []
    names = [(each.get("secret") or {}).get("name") for each in sources]
    return secret in [(volume.get("secret") or {}).get("secretName"), *names]


def unread(
    sessions: Sequence[Session],
    origins: Sequence[Origin],
    pods: Sequence[Pod],
    roles: tuple[str, str],
    known_by: KnownBy,
) -> Reason | None:
    """Why it is not proved that each pod uses the first of two roles and none the second; None if
    it is."""
    role, former = roles
    missing = missing_sessions(sessions, origins, pods, role, known_by)
    return wrong_login(sessions, origins, pods, former) or missing


def using(sessions: Iterable[Session], origins: Sequence[Origin]) -> list[str]:
    """The addresses, each once, of those sessions that come from a workload's pods."""
    own = (each for each in sessions if any(origin.has(each) for origin in origins))
    return sorted({each.client for each in own})


def undone(seen: Deployment, exchange: str) -> str | None:
    """Why the pods were not told to restart for this exchange; None if they were."""
    if seen.restarted == exchange:
        return None
    return "its pod template does not name this exchange any more: somebody has undone that"


def exchange_of(rotation: str, slot: Slot) -> str:
    """What a restart is known by: the rotation, and the slot whose login it is for. On the way back
    it is another one, also where nothing but the Secret has changed since."""
    return f"{rotation}.{slot}"


def named(workload: WorkloadState) -> Iterator[Problem]:
    """What a workload's Secret says of the slot whose login it holds."""
    if workload.in_place is None:
        return
    thing, why = _secret(workload.in_place), unnamed(workload.in_place)
    if why is not None:
        yield Problem(*why, thing)
    elif workload.in_place.found is not None:
        held = shown_slot(workload.in_place.found.slot)
        text = f"Secret {workload.in_place.secret} holds the login of {held}"
        yield Problem(Code.SLOTS_DISAGREE, text, thing)
