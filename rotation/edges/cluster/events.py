"""Kubernetes Events, by which `kubectl describe` tells what a rotation did to an object."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from kubernetes import client

from rotation import log
from rotation.edges.cluster.patches import MANAGER
from rotation.model.errors import EdgeError
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from rotation.edges.cluster.client import Api
    from rotation.edges.cluster.patches import Note

LONGEST_NAME = 200  # of the object, in the Event's name
# Seconds to connect, to read. Clusters may keep Events in a store of their own, which may be away:
# traffic is not to stay between two of a workload's Services for as long.
TIMEOUT = (1.0, 2.0)


class Subject(NamedTuple):
    """The object that an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str | None


def tell(api: Api, subject: Subject, note: Note) -> None:
    """Makes the Event of a change, once.

    It is for people who look, and stops nothing: where it cannot be made, a line of the log says
    why, and the annotations of the object itself tell who changed it.
    """
    told = f"{subject.kind} {subject.namespace}/{subject.name}"
    digest = hashlib.sha256(f"{note.rotation} {note.reason} {note.did}".encode()).hexdigest()
    now = datetime.now(UTC)
    event = client.CoreV1Event(
        metadata=client.V1ObjectMeta(
            name=f"{subject.name[:LONGEST_NAME].rstrip('-.')}.{digest[:16]}"
        ),
        involved_object=client.V1ObjectReference(
            api_version=subject.api_version,
            kind=subject.kind,
            namespace=subject.namespace,
            name=subject.name,
            uid=subject.uid,
        ),
        type="Normal",
        reason=note.reason,
        message=f"rotation {note.rotation} {note.did}",
        source=client.V1EventSource(component=MANAGER),
        first_timestamp=now,
        last_timestamp=now,
        count=1,
    )
    try:
        with api.translated("make an Event of", told):
            api.core.create_namespaced_event(
                subject.namespace, event, field_manager=MANAGER, _request_timeout=TIMEOUT
            )
    except EdgeError as error:
        if error.code is Code.CLUSTER_CONFLICT:
            return  # it is there: another execution of the same step has made it
        log.event(
            "cluster.event_failed",
            level=logging.WARNING,
            rotation=note.rotation,
            error=error.message,
            code=error.code,
        )
