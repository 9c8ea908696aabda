"""A namespace in memory, and clients in it that say what they are told to."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from rotctl.exits import ClientError, Exit
from rotctl.rehearse import manifests
from rotctl.rehearse.plan import LEAVING, Load, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

Object = dict[str, Any]
AWAY = ClientError("the server does not answer", "look at it", Exit.UNREACHABLE)


def plan(**more: Any) -> Plan:
    template = {
        "metadata": {"labels": {"app": "api", "tier": "front"}, "annotations": {"a": "b"}},
        "spec": {"terminationGracePeriodSeconds": 20, "containers": [{"name": "api"}]},
    }
    port = {"name": "http", "port": 80, "targetPort": "http"}
    given: dict[str, Any] = {"load": Load(path="/orders", steady=2.0), **more}
    return Plan("orders", "api", template, {"tier": "front"}, "api", port, **given)


class Memory:
    """In the place of a `Space`. Time passes as it is slept, and what happens in it is in `done`.

    `faults` are raised in the place of a verb on a kind: `{("create", "Job"): error}`; a list of
    them one after the other.
    """

    def __init__(self, planned: Plan) -> None:
        self.plan = planned
        self.namespace = planned.namespace
        self.objects: dict[tuple[str, str], Object] = {}
        self.done: list[str] = []
        self.faults: dict[tuple[str, str], Any] = {}
        self.now = 0.0
        self.begun = 1.0  # when the clients begin
        self.ended: float | None = None  # when the pod was told to end
        self.takes = 1.0  # seconds until it is gone
        self.lost: dict[str, int] = {"kept-idle": 8}
        self.told = 0
        self.statuses = {"2xx": 1}
        self.waiting = ""  # a container's reason for waiting
        self.codes: list[int] = []
        self.on_sleep: Callable[[], None] = lambda: None

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()

    def _verb(self, verb: str, kind: str, name: str = "") -> None:
        fault = self.faults.get((verb, kind))
        if isinstance(fault, list):
            fault = fault.pop(0) if fault else None
        if fault is not None:
            raise fault
        if verb not in {"list", "log"}:
            self.done.append(f"{verb} {kind} {name}")

    def items(self, kind: str, selector: str = "", *, needed: bool = True) -> list[Object]:  # noqa: ARG002 - as a Space has it
        self._verb("list", kind)
        found = self._pods() if kind == "Pod" else self.objects.values()
        return [one for one in found if one["kind"] == kind and _selected(one, selector)]

    def create(self, obj: Object) -> Object:
        name = obj["metadata"]["name"]
        self._verb("create", obj["kind"], name)
        made = copy.deepcopy(obj)
        made["metadata"]["uid"] = f"uid-of-{name}"
        if obj["kind"] == "Deployment":
            made["status"] = {"readyReplicas": 1}
        self.objects[obj["kind"], name] = made
        return made

    def patch(self, kind: str, name: str, body: Object) -> None:
        self._verb("patch", kind, name)
        obj = self.objects[kind, name]
        for key, value in body.items():
            obj[key] = {**obj[key], **value}
        if body.get("spec") == {"replicas": 0}:
            self.ended = self.now

    def delete(self, kind: str, name: str) -> None:
        self._verb("delete", kind, name)
        self.objects.pop((kind, name), None)

    def last_line(self, pod: str) -> str:
        self._verb("log", "Pod", pod)
        going = self._begun and len(self._parts()) == 2
        sent = int(self.now * 40) if going else 0
        over = self.ended is not None
        lost, told = (self.lost, self.told) if over else ({}, 0)
        return json.dumps(
            {
                "at": self.now,
                "waits": "" if going else "refused",
                "clients": 8 if going else 0,
                "requests": sent,
                "answered": sent - sum(lost.values()),
                "told": told,
                "kept": [self.begun] * 8 if going and not over else [],
                "failed": lost,
                "statuses": self.statuses,
                "server": "kestrel",
            }
        )

    @property
    def _begun(self) -> bool:
        return self.now >= self.begun

    def _parts(self) -> list[str]:
        return [name for kind, name in self.objects if kind == "Deployment"]

    def _pods(self) -> list[Object]:
        pods = []
        for kind, name in self.objects:
            if kind == "Job" and self._begun:
                status = {"phase": "Pending" if self.waiting else "Running"}
                pods.append(self._pod(name, manifests.labels(self.plan), status))
        for name in self._parts():
            part = name.rpartition("-")[2]
            gone = self.ended is not None and self.now >= self.ended + self.takes
            if not (part == LEAVING and gone):
                pods.append(self._pod(name, manifests.chosen(self.plan, part), {}))
        return pods

    def _pod(self, name: str, labels: dict[str, str], status: Object) -> Object:
        state: Object = {"waiting": {"reason": self.waiting}} if self.waiting else {}
        if self.codes and name.endswith(LEAVING) and self.ended is not None:
            state = {"terminated": {"exitCode": self.codes[0]}}
        containers = [{"name": "probe", "image": "image:1", "state": state}]
        return {
            "kind": "Pod",
            "metadata": {"name": f"{name}-x", "labels": labels},
            "status": {**status, "containerStatuses": containers},
        }


def _selected(obj: Object, selector: str) -> bool:
    labels = obj["metadata"].get("labels") or {}
    for part in filter(None, selector.split(",")):
        key, _, value = part.partition("=")
        if key.startswith("!"):
            if key[1:] in labels:
                return False
        elif labels.get(key) != value:
            return False
    return True
