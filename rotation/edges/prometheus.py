"""Asks a Prometheus server, or what speaks its HTTP API, as Azure Monitor's workspaces do.

https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from rotation.edges.http_status import METRICS, error
from rotation.model.errors import Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import Manner

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.config import Prometheus
    from rotation.model.world import Answer
    from rotation.secrecy import Secret

    # As `contracts.edges.Readers.fetch`, whose connections never reach a metadata service.
    Fetch = Callable[[str, float, Manner, str | None], Answer]


def values(at: Prometheus, fetch: Fetch, token: Secret | None, timeout: float) -> list[float]:
    """What a query is answered with: a scalar, or the value of each series; none without data.

    Raises `Unavailable`, `Denied`, `Missing`, `Invalid`.
    """
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token.reveal()}"
    # By POST: a URL has not room for every query.
    body = urlencode({"query": at.query, "timeout": f"{timeout:g}s"}).encode()
    url, what = f"{at.url}/api/v1/query", f"Prometheus {at.url}"
    try:
        answer = fetch(url, timeout, Manner("POST", headers, body), at.certificate_authority)
    except Unavailable as failed:
        raise Unavailable(Code.METRICS_UNAVAILABLE, f"{what}: {failed.message}") from None
    except Invalid as failed:
        raise Invalid(Code.METRICS_QUERY, f"{what}: {failed.message}") from None
    if answer.status != 200:
        raise error(METRICS, f"{what}: HTTP {answer.status}{_why(answer.body)}", answer.status)
    try:
        return _read(json.loads(answer.body))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        text = f"{what}: its answer is none of an instant query, or larger than 64 KiB"
        raise Invalid(Code.METRICS_QUERY, f"{text}: aggregate what the query finds") from None


def _read(document: Any) -> list[float]:
    data = document["data"]
    if document["status"] != "success":
        raise ValueError("not successful")
    match data["resultType"]:
        case "scalar":
            return [float(data["result"][1])]
        case "vector":
            return [float(series["value"][1]) for series in data["result"]]
        case _:
            raise ValueError("neither scalar nor vector")


def _why(body: bytes) -> str:
    """The kind of an error, in a word of Prometheus's own; its text quotes anything."""
    try:
        kind = json.loads(body)["errorType"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""
    return f", {kind}" if isinstance(kind, str) and re.fullmatch(r"[a-z_]{1,40}", kind) else ""
