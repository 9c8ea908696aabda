"""How many events a second the webhook takes, by what becomes of them."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench.screen import say

if TYPE_CHECKING:
    from local.stack import Stack

CLIENTS = 4
HEADERS = {"aeg-event-type": "Notification", "Content-Type": "application/json"}


def measure(stack: Stack, *, count: int, batches: int) -> dict[str, Any]:
    """Events a second in the best and the worst batch of `count`, one in each request, from four
    clients that keep their connections. The kinds take turns: a busy moment hits all of them."""
    # The rotation that the duplicates name; it waits for its approval meanwhile, and for good.
    stack.client.announce(stack.owner.active_slots()["api"])
    known = stack.client.near_expiry(stack.owner.active_slots()["api"])
    foreign = {**known, "data": {**known["data"], "ObjectName": "somebody-elses"}}
    other = {**known, "eventType": "Microsoft.KeyVault.KeyNearExpiry"}
    kinds = {"duplicate": known, "foreign": foreign, "of another type": other}
    say(f"posting {count} events of each kind, {batches} times")
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(batches):
        for kind, event in kinds.items():
            rates[kind].append(count / _post(stack, json.dumps([event]).encode(), count))
    return {kind: {"best": round(max(of)), "worst": round(min(of))} for kind, of in rates.items()}


def _post(stack: Stack, body: bytes, count: int) -> float:
    """Posts the body that often, and returns the seconds.

    Raises `RuntimeError` if one was not taken.
    """
    statuses: list[int] = []
    each = count // CLIENTS
    threads = [
        threading.Thread(target=lambda: statuses.extend(_client(stack, body, each)))
        for _ in range(CLIENTS)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    taken = sum(200 <= status < 300 for status in statuses)
    if taken != each * CLIENTS:
        raise RuntimeError(f"the webhook took {taken} of {each * CLIENTS} events: {set(statuses)}")
    return seconds * count / taken


def _client(stack: Stack, body: bytes, count: int) -> list[int]:
    parts = urlsplit(stack.components["host"].url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    statuses = []
    for _ in range(count):
        connection.request("POST", stack.client.webhook_path, body, HEADERS)
        with connection.getresponse() as response:
            response.read()
            statuses.append(response.status)
    connection.close()
    return statuses
