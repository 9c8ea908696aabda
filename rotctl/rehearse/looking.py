"""From a Deployment's name to a plan, or to why it cannot be rehearsed. Changes nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from rotctl.adopt import refusals, services, sources
from rotctl.adopt.original import (
    Original,
    called,
    labels_of,
    matches,
    name_of,
    template_of,
)
from rotctl.adopt.plan import LABEL
from rotctl.adopt.refusal import Refusal
from rotctl.exits import ClientError, Exit
from rotctl.rehearse.manifests import BY, MANAGED, OF
from rotctl.rehearse.plan import IMAGE, Load, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rotctl.adopt.original import Object
    from rotctl.rehearse.space import Space

NEEDED = ("Deployment", "Service")
WANTED = (
    *("StatefulSet", "DaemonSet", "Rollout", "CronJob", "PersistentVolumeClaim"),
    *("PodDisruptionBudget", "NetworkPolicy", "HTTPRoute"),
)
# What ReplicaSets and the API server put there.
NOT_OURS = ("pod-template-hash", "controller-revision-hash")
GUIDE = "docs/applications.md"
NOTHING_LOST = "so that no request is lost when its pods end"
COMMANDS = re.compile(r"\b(gunicorn|uvicorn|node|java|dotnet)\b")
BY_COMMAND = {"node": "express", "java": "spring", "dotnet": "aspnet"}
HOST = re.compile(r"[A-Za-z0-9.:_-]{0,253}")
PATH = re.compile(r"/[!-~]{0,1023}")


def seen(space: Space) -> list[Object]:
    """Raises `ClientError`."""
    made = [one for kind in NEEDED for one in space.items(kind)]
    made += [one for kind in WANTED for one in space.items(kind, needed=False)]
    return [one for one in made if not ours(one)]


def ours(obj: Object) -> bool:
    """Whether a rehearsal has made it."""
    own = labels_of(obj)
    return own.get(MANAGED) == BY and OF in own


def plan(  # noqa: PLR0913 - what may be said about it
    objects: Sequence[Object],
    name: str,
    load: Load,
    *,
    service: str = "",
    port: str = "",
    seconds: float = 600.0,
    image: str = IMAGE,
    pull_secrets: tuple[str, ...] = (),
    framework: str = "",
    paths: tuple[str, ...] = (),
) -> Plan:
    """`paths` are what tests ask for, if the load has no path of its own.

    Raises `ClientError`: with all refusals, or for an option that is needed or will not do.
    """
    original = _original(objects, name)
    refuse([*_not_serving(original), *_under_way(original), *refusals.of_copies(original)])
    chosen = _service(original, service)
    labels = _unseen(original)
    load = replace(load, path=load.path or _path(original, paths))
    _checked(original, load)
    return Plan(
        original.namespace,
        original.name,
        original.template,
        labels,
        name_of(chosen),
        _port(chosen, port),
        load,
        seconds,
        image,
        pull_secrets,
        tuple(_told(original, labels, name_of(chosen))),
        framework,
        _guessed(original),
    )


def _guessed(original: Original) -> str:
    """The framework, where the pods' command line says it."""
    own = (original.template.get("spec") or {}).get("containers") or []
    words = " ".join(
        str(part) for one in own for part in (*(one.get("command") or []), *(one.get("args") or []))
    )
    found = COMMANDS.search(words)
    return BY_COMMAND.get(found[0], found[0]) if found else ""


def refuse(found: Sequence[Refusal]) -> None:
    if not found:
        return
    text = "\n".join(("this cannot be rehearsed:", *(f"- {each}" for each in found)))
    refused = [{"object": one.what, "why": one.why, "remedy": one.cure} for one in found]
    raise ClientError(text, "nothing was made", Exit.REFUSED, {"refused": refused})


def _original(objects: Sequence[Object], name: str) -> Original:
    kinds = ("CronJob", *refusals.OTHER_KINDS)
    others = [one for one in objects if one["kind"] in kinds and name_of(one) == name]
    if not any(one["kind"] == "Deployment" and name_of(one) == name for one in objects) and others:
        refuse([_other_kind(others[0])])
    (found,) = sources.originals(objects, [("Deployment", name)])
    return found


def _other_kind(obj: Object) -> Refusal:
    if obj["kind"] == "CronJob":
        return Refusal(
            called(obj),
            f"nobody calls its Jobs, {NOTHING_LOST}",
            "a rotation waits for those that run (docs/consumers.md, CronJobs)",
        )
    return Refusal(
        called(obj),
        f"pods of a {obj['kind']} are not copied: {refusals.OTHER_KINDS[str(obj['kind'])]}",
        "a rolling restart of it is what a rotation does (docs/consumers.md, in place): watch one",
    )


def _not_serving(original: Original) -> Iterator[Refusal]:
    what = called(original.workload)
    status = original.workload.get("status") or {}
    if not (original.workload.get("spec") or {}).get("replicas", 1):
        yield Refusal(
            what,
            "it has no pods. A standby's role cannot log in between rotations, so that no pod of"
            " it would get ready",
            "name the Deployment that serves: the standby of a rotation has the same template",
        )
    elif not status.get("readyReplicas"):
        yield Refusal(what, "none of its pods is ready", "rehearse once it serves")
    if not services.selecting(original):
        yield Refusal(
            what,
            f"no Service finds its pods: nobody calls them, {NOTHING_LOST}",
            "a worker has to finish what it has begun after SIGTERM (docs/consumers.md, workers)",
        )


def _under_way(original: Original) -> Iterator[Refusal]:
    """Sessions of copies would hold up the end of the login that a rotation retires."""
    own = {**original.labels, LABEL: ""}
    if LABEL not in original.labels:
        return
    for other in original.of("Deployment"):
        labels = labels_of(template_of(other))
        twin = LABEL in labels and {**labels, LABEL: ""} == own
        if twin and (other.get("spec") or {}).get("replicas", 1):
            yield Refusal(
                called(other),
                "it has pods as well: a rotation is under way, or was left half done",
                f"rehearse when one slot has none (`rotctl list`; {GUIDE} says what it is for)",
            )


def _service(original: Original, wanted: str) -> Object:
    """The Service whose port the copies are called by. Raises `ClientError`."""
    there = services.selecting(original)
    by_name = {name_of(one): one for one in there if (one.get("spec") or {}).get("ports")}
    clients = {name: one for name, one in by_name.items() if not services.headless(one)}
    some = clients or by_name
    if wanted:
        some = {name: one for name, one in by_name.items() if name == wanted}
    if len(some) == 1:
        return next(iter(some.values()))
    names = ", ".join(sorted(by_name)) or "none that has a port"
    text = f"which Service clients reach {original.name} by is not clear; there are: {names}"
    raise ClientError(text, "give --service", Exit.USAGE)


def _port(service: Object, wanted: str) -> Object:
    ports: list[Object] = service["spec"]["ports"]
    some = [one for one in ports if one.get("protocol", "TCP") == "TCP"]
    if wanted:
        some = [one for one in some if wanted in {one.get("name"), str(one["port"])}]
    elif len(some) > 1:
        some = [one for one in some if one.get("name") in {"http", "https", "web"}]
    if len(some) == 1:
        return some[0]
    names = ", ".join(str(one.get("name") or one["port"]) for one in ports)
    text = f"which port of Service {name_of(service)} speaks HTTP is not clear; it has: {names}"
    raise ClientError(text, "give --port", Exit.USAGE)


def _checked(original: Original, load: Load) -> None:
    if not PATH.fullmatch(load.path):
        text = f"{load.path!r} is no path of a URL"
        raise ClientError(text, "write for example --path /orders", Exit.USAGE)
    if not HOST.fullmatch(load.name):
        raise ClientError(f"{load.name!r} is no host's name", "look at --host", Exit.USAGE)
    if load.path in _probed(original):
        text = f"{load.path} is the path of the readiness probe, which may fail after SIGTERM"
        raise ClientError(text, "give --path one that clients ask for", Exit.USAGE)


def _path(original: Original, paths: tuple[str, ...]) -> str:
    probed = _probed(original)
    return next((path for path in paths if path not in probed), "/")


def _probed(original: Original) -> set[str]:
    """What readiness probes ask for."""
    own = (original.template.get("spec") or {}).get("containers") or []
    asked = [((one.get("readinessProbe") or {}).get("httpGet") or {}).get("path") for one in own]
    return {str(path) for path in asked if path}


def _unseen(original: Original) -> dict[str, str]:
    """As many of the pods' labels as may stay, so that nothing that is there counts the copies
    among its pods or leads requests to them."""
    labels = {k: v for k, v in original.labels.items() if k not in NOT_OURS and k != LABEL}
    finding = [
        ((one.get("spec") or {}).get("selector") or {})
        for one in (*original.of("Service"), *original.of("PodDisruptionBudget"))
    ]
    finding = [one if _is_label_selector(one) else {"matchLabels": one} for one in finding if one]
    makers = (original.workload, *original.of("Deployment", "StatefulSet", "DaemonSet"))
    finding += [(one.get("spec") or {}).get("selector") or {} for one in makers]
    for selector in finding:
        if matches(selector, labels):
            keys = {
                *(selector.get("matchLabels") or {}),
                *(one["key"] for one in selector.get("matchExpressions") or []),
            }
            labels = {k: v for k, v in labels.items() if k not in keys}
    if any(matches(one, labels) for one in finding):
        refuse(
            [
                Refusal(
                    called(original.workload),
                    "a selector in its namespace finds pods by labels that they have not",
                    "name labels that they have (`In`, `Exists`) in it",
                )
            ]
        )
    return labels


def _is_label_selector(selector: Object) -> bool:
    return bool({"matchLabels", "matchExpressions"} & set(selector))


def _told(original: Original, labels: dict[str, str], service: str) -> Iterator[str]:
    for one in original.of("NetworkPolicy"):
        selector = (one.get("spec") or {}).get("podSelector")
        if matches(selector, original.labels) and not matches(selector, labels):
            yield (
                f"{called(one)} holds for the pods that serve and not for the copies: it finds them"
                " by a label that leads requests to them as well."
            )
    for one in original.of("HTTPRoute"):
        for rule in (one.get("spec") or {}).get("rules") or []:
            if any(each.get("name") == service for each in rule.get("backendRefs") or []):
                yield (
                    f"{called(one)} leads to Service {service}: what comes through a Gateway loses"
                    " nothing by the end of a pod. What is rehearsed are clients of the Service"
                    " itself."
                )
                break
