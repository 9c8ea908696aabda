"""What servers say of themselves that passes by itself, in the servers' own words.

Each goes through the translation of its edge, so that one that takes it for final is found.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kubernetes.client.exceptions import ApiException
from psycopg import errors

from rotation.edges import http_status
from rotation.edges.cluster.client import refusal_in
from rotation.edges.database.connecting import translated
from rotation.edges.vault import CODES

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from rotation.model.errors import EdgeError
    from tests.simulation.faults import Call

Passing = Literal[
    "concurrently-updated",  # XX000: two change one role at once
    "read-only",  # 25006: a failover, or a full disk
    "rights-come-late",  # 403 of an API server that has just started, or whose caches fill
    "token-refused",  # 401, once
    "webhook-down",
    "webhook-denies",
    "quota-full",
]


@dataclass(frozen=True)
class Said:
    """A server's answer: to which systems' calls, for how many seconds at most, 0 being once."""

    targets: tuple[str, ...]
    seconds: float
    error: Callable[[str], EdgeError]
    writes: bool = True  # only these

    def meets(self, call: Call) -> bool:
        return call.target in self.targets and (call.writes or not self.writes)


def _sqlstate(state: str) -> Callable[[str], EdgeError]:
    return lambda what: translated(what, "rotator", errors.lookup(state)())


def _status(status: int, reason: str, message: str) -> Callable[[str], EdgeError]:
    document = {"kind": "Status", "apiVersion": "v1", "reason": reason, "message": message}

    def error(what: str) -> EdgeError:
        if what.startswith("vault"):
            return http_status.error(CODES, f"{what}: HTTP {status}", status)
        answer = ApiException(status=status)
        answer.body = json.dumps({**document, "code": status})
        return refusal_in(what, answer)

    return error


CALLING = "Internal error occurred: failed calling webhook"
SAID: dict[str, Said] = {
    "concurrently-updated": Said(("database",), 0, _sqlstate("XX000")),
    "read-only": Said(("database",), 300, _sqlstate("25006")),
    "rights-come-late": Said(
        ("cluster", "vault"), 60, _status(403, "Forbidden", "x is forbidden"), writes=False
    ),
    "token-refused": Said(
        ("cluster", "vault"), 0, _status(401, "Unauthorized", "Unauthorized"), writes=False
    ),
    "webhook-down": Said(
        ("cluster",), 6, _status(500, "InternalError", f'{CALLING} "a.b.c": Post "https://a.b"')
    ),
    "webhook-denies": Said(
        ("cluster",), 30, _status(400, "", 'admission webhook "a.b.c" denied the request: no')
    ),
    "quota-full": Said(
        ("cluster",), 4, _status(403, "Forbidden", 'x "y" is forbidden: exceeded quota: q')
    ),
}


@dataclass
class Spell:
    """A time in which a server says it, from the first call that it meets, `number` or later."""

    kind: Passing
    number: int
    seconds: float
    began: datetime | None = None

    def meets(self, call: Call) -> bool:
        if call.number < self.number or not SAID[self.kind].meets(call):
            return False
        if self.began is None:
            self.began = call.at
            return True
        return 0 < (call.at - self.began).total_seconds() < self.seconds
