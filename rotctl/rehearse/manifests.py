"""What a rehearsal makes: a Service, a Job with the clients, two Deployments of one pod each."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rotctl.rehearse.plan import LEAVING, STAYING

if TYPE_CHECKING:
    from typing import Any

    from rotctl.adopt.original import Object
    from rotctl.rehearse.plan import Plan

MANAGED, BY = "app.kubernetes.io/managed-by", "rotctl"
OF = "credential-rotation/rehearsal"  # label: of which Deployment
PART = "credential-rotation/part"  # label of pods: which of the two
PORT = 8080  # of the Service; no client but the Job's knows it
NOBODY = 65532  # a number, as `runAsNonRoot` wants where an image's user is a name
LONGEST = 40  # of a name, so that a Service's may have a word before it
KEPT = 60  # seconds that a Job that is over stays, and with it all that it owns
LATER = 60.0  # seconds that a Job may outlive who follows it


def stem(plan: Plan) -> str:
    """The Deployment's name as a label's value and a part of a Service's name can have it."""
    plain = re.sub(r"[^a-z0-9-]", "-", plan.deployment)
    if plain == plan.deployment and len(plain) <= LONGEST:
        return plain
    mark = hashlib.sha256(plan.deployment.encode()).hexdigest()[:6]
    return f"{plain[: LONGEST - 7].strip('-')}-{mark}"


def name(plan: Plan) -> str:
    return f"rehearsal-{stem(plan)}"


def labels(plan: Plan) -> dict[str, str]:
    return {MANAGED: BY, OF: stem(plan)}


def selector(plan: Plan) -> str:
    """By which everything of a rehearsal is found."""
    return ",".join(f"{key}={value}" for key, value in labels(plan).items())


def chosen(plan: Plan, part: str) -> dict[str, str]:
    """The Service's selector for one of the two pods."""
    return {OF: stem(plan), PART: part}


def all_of(plan: Plan) -> list[Object]:
    """In the order in which they are made."""
    return [service(plan), job(plan), deployment(plan, LEAVING), deployment(plan, STAYING)]


def _metadata(plan: Plan, called: str, owner: Object | None) -> Object:
    made: Object = {"name": called, "namespace": plan.namespace, "labels": labels(plan)}
    return made if owner is None else {**made, "ownerReferences": [reference(owner)]}


def reference(owner: Object) -> Object:
    """To the Job, whose end takes the rest along. It holds up nobody's deletion."""
    metadata = owner["metadata"]
    kept = {"name": metadata["name"], "uid": metadata["uid"]}
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], **kept}


def service(plan: Plan) -> Object:
    target = plan.port.get("targetPort") or plan.port["port"]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(plan, name(plan), None),
        "spec": {
            "selector": chosen(plan, LEAVING),
            "ports": [{"name": "rehearsal", "port": PORT, "targetPort": target}],
        },
    }


def deployment(plan: Plan, part: str, owner: Object | None = None) -> Object:
    """One pod as those that serve, under labels that nothing else finds. Without their priority, by
    which it would have other pods ended to get room."""
    template = copy.deepcopy(plan.template)
    for key in ("priorityClassName", "priority", "preemptionPolicy"):
        (template.get("spec") or {}).pop(key, None)
    own = {**plan.labels, **chosen(plan, part)}
    template["metadata"] = {**(template.get("metadata") or {}), "labels": own}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(plan, f"{name(plan)}-{part}", owner),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": chosen(plan, part)},
            "template": template,
        },
    }


def options(plan: Plan) -> dict[str, Any]:
    """What the probe is told."""
    load = plan.load
    return {
        "host": f"{name(plan)}.{plan.namespace}.svc",
        "port": PORT,
        "service": name(plan).upper().replace("-", "_"),
        "path": load.path,
        "https": load.https,
        "name": load.name,
        "connections": load.connections,
        "rate": load.rate,
        "timeout": load.patience,
        "seconds": plan.seconds + LATER,
    }


def job(plan: Plan) -> Object:
    """Fit for a namespace with the Pod Security Standard `restricted`.

    It ends by itself, and 60 s later it and all that it owns are gone, whatever became of the
    command that made it. https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    probe = Path(__file__).with_name("probe.py").read_text(encoding="utf-8")
    escaped = json.dumps(options(plan)).replace("$", "$$")
    container = {
        "name": "probe",
        "image": plan.image,
        "command": ["python3"],
        "args": ["-c", probe, escaped],
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "192Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": True,
        "terminationGracePeriodSeconds": 1,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if plan.pull_secrets:
        pod["imagePullSecrets"] = [{"name": each} for each in plan.pull_secrets]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(plan, name(plan), None),
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": int(plan.seconds + 2 * LATER),
            "ttlSecondsAfterFinished": KEPT,
            "template": {"metadata": {"labels": labels(plan)}, "spec": pod},
        },
    }
