"""What was asked of the API, by whom and with which result: one JSON line each, in `audit.log`.

The lines have the shape of https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/ at
level Metadata, stage ResponseComplete: no body, so no value of a Secret, is in them.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from local.cluster.auth import User
    from local.cluster.kinds import Object
    from local.cluster.requests import Target


class Audit:
    """Appends to a file that its owner alone may read."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def close(self) -> None:
        self._file.close()

    def record(
        self,
        request: web.Request,
        users: tuple[User, User],
        target: Target,
        code: int,
        received: datetime,
    ) -> None:
        """Writes one line for a request, unless it ends after the cluster was told to stop.

        `users`: who asked, and as whom.
        """
        if not self._file.closed:
            self._file.write(json.dumps(_event(request, users, target, code, received)) + "\n")


def _event(
    request: web.Request, users: tuple[User, User], target: Target, code: int, received: datetime
) -> Object:
    real, acting = users
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": str(uuid.uuid4()),
        "stage": "ResponseComplete",
        "requestURI": request.rel_url.raw_path_qs,
        "verb": target.verb,
        "user": _names(real),
        **({"impersonatedUser": _names(acting)} if acting != real else {}),
        "sourceIPs": [request.remote] if request.remote else [],
        "userAgent": request.headers.get("User-Agent", ""),
        "objectRef": _reference(target),
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": _micro(received),
        "stageTimestamp": _micro(datetime.now(UTC)),
        "annotations": {"authorization.k8s.io/decision": "forbid" if code == 403 else "allow"},
    }


def _names(user: User) -> Object:
    return {"username": user.name, "groups": sorted(user.groups)}


def _reference(target: Target) -> Object:
    reference = {
        "resource": target.kind.plural,
        "namespace": target.namespace,
        "name": target.name,
        "apiGroup": target.kind.group,
        "apiVersion": target.kind.version,
        "subresource": target.subresource,
    }
    return {key: value for key, value in reference.items() if value}


def _micro(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
