"""Asks a workspace of Azure Monitor in KQL.

https://learn.microsoft.com/azure/azure-monitor/logs/api/overview
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rotation.edges.http_status import METRICS, error
from rotation.model.errors import Invalid, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import Manner

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.config import AzureMonitor
    from rotation.model.world import Answer
    from rotation.secrecy import Secret

    # As `contracts.edges.Readers.fetch`.
    Fetch = Callable[[str, float, Manner, str | None], Answer]

NUMBERS = {"int", "long", "real", "decimal"}


def values(
    at: AzureMonitor,
    endpoint: str,
    fetch: Fetch,
    token: Secret,
    timeout: float,
    authority: str | None = None,
) -> list[float]:
    """The number in the first row that a query finds; none without a row, or where it is null.

    `endpoint` is the cloud's own. Raises `Unavailable`, `Denied`, `Missing`, `Invalid`.
    """
    what = f"Azure Monitor workspace {at.workspace}"
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token.reveal()}"}
    asked = {"query": at.query, "timespan": f"PT{int(at.span.total_seconds())}S"}
    url = f"{endpoint}/v1/workspaces/{at.workspace}/query"
    manner = Manner("POST", headers, json.dumps(asked).encode())
    try:
        answer = fetch(url, timeout, manner, authority)
    except Unavailable as failed:
        raise Unavailable(Code.METRICS_UNAVAILABLE, f"{what}: {failed.message}") from None
    if answer.status != 200:
        raise error(METRICS, f"{what}: HTTP {answer.status}", answer.status)
    try:
        document = json.loads(answer.body)
        partial = document.get("error")
        table = document["tables"][0]
        columns, rows = table["columns"], table["rows"]
        if partial is None:
            return _number(what, at.column, columns, rows[0]) if rows else []
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        text = f"{what}: its answer is none of a query, or larger than 64 KiB"
        raise Invalid(Code.METRICS_QUERY, f"{text}: aggregate what the query finds") from None
    # https://learn.microsoft.com/azure/azure-monitor/logs/api/errors: with a 200
    raise Unavailable(Code.METRICS_UNAVAILABLE, f"{what}: answers in part alone")


def _number(what: str, wanted: str | None, columns: list[Any], row: list[Any]) -> list[float]:
    """The value of the column that is wanted, or of the only one that has numbers."""
    found = [
        number
        for number, column in enumerate(columns)
        if column["type"] in NUMBERS and wanted in {None, column["name"]}
    ]
    if len(found) != 1:
        which = "there is no such column of numbers" if wanted else "`column` has to say which"
        text = f"{what}: {len(found)} columns of numbers{f' named {wanted}' if wanted else ''}"
        raise Invalid(Code.METRICS_QUERY, f"{text}: {which}")
    value = row[found[0]]
    return [] if value is None else [float(value)]
