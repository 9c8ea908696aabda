"""List and watch."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import random
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from local.cluster import errors, selectors
from local.cluster.requests import flag, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.cluster.kinds import Kind, Object
    from local.cluster.requests import Target
    from local.cluster.store import Change, Store

LISTS_KEPT = 64  # lists of which pages are still to be fetched
IDLE = 2.0  # seconds after which a silent watch looks whether its client is still there
BOOKMARK = 30.0  # seconds between bookmarks
INITIAL_END = "k8s.io/initial-events-end"


@dataclass(frozen=True)
class Filter:
    """The part of a kind that a list or watch asks for."""

    kind: Kind
    namespace: str
    labels: list[selectors.Requirement]
    fields: list[tuple[str, bool, str]]

    @classmethod
    def of(cls, target: Target, query: Mapping[str, str]) -> Filter:
        fields = selectors.parse_fields(query.get("fieldSelector", ""))
        if target.name:
            fields.append(("metadata.name", True, target.name))
        labels = selectors.parse_labels(query.get("labelSelector", ""))
        return cls(target.kind, target.namespace, labels, fields)

    def __call__(self, obj: Object | None) -> bool:
        if obj is None:
            return False
        metadata = obj["metadata"]
        return (
            (not self.namespace or metadata.get("namespace") == self.namespace)
            and selectors.matches(self.labels, metadata.get("labels") or {})
            and selectors.matches_fields(self.fields, obj)
        )


class Lists:
    """Lists, whole or in pages. The pages of one list show the same revision."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rest: OrderedDict[str, tuple[str, list[Object]]] = OrderedDict()

    def answer(self, target: Target, query: Mapping[str, str]) -> Object:
        wanted = Filter.of(target, query)
        if query.get("continue"):
            revision, found = self._resume(query["continue"])
        else:
            revision = str(self._store.revision)
            found = [o for o in self._store.items(wanted.kind, wanted.namespace) if wanted(o)]
        metadata: Object = {"resourceVersion": revision}
        limit = whole(query, "limit")
        if limit and len(found) > limit:
            metadata["remainingItemCount"] = len(found) - limit
            metadata["continue"] = self._keep(revision, found[limit:])
            found = found[:limit]
        return {
            "kind": f"{wanted.kind.kind}List",
            "apiVersion": wanted.kind.api_version,
            "metadata": metadata,
            "items": [_as_item(wanted.kind, obj) for obj in found],
        }

    def _keep(self, revision: str, rest: list[Object]) -> str:
        number = secrets.token_hex(8)
        self._rest[number] = (revision, rest)
        while len(self._rest) > LISTS_KEPT:
            self._rest.popitem(last=False)
        token = json.dumps({"v": "local/v1", "list": number})
        return base64.urlsafe_b64encode(token.encode()).decode()

    def _resume(self, token: str) -> tuple[str, list[Object]]:
        try:
            number = json.loads(base64.urlsafe_b64decode(token))["list"]
        except (binascii.Error, ValueError, KeyError, TypeError) as error:
            raise errors.bad_request("continue key is not valid") from error
        if number not in self._rest:
            raise errors.expired(
                "The provided continue parameter is too old to display a consistent list result."
                " You must start a new list without the continue parameter."
            )
        return self._rest[number]


def _as_item(kind: Kind, obj: Object) -> Object:
    """The object as an item of a list: without its kind if that is built-in, as upstream."""
    if not kind.builtin:
        return obj
    return {key: value for key, value in obj.items() if key not in {"apiVersion", "kind"}}


class Pulse:
    """Wakes every waiter at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __call__(self, _change: object = None) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, at_most: float) -> None:
        """Returns at the next pulse, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), at_most)


class Watch:
    """One watch request, answered line by line until its time is up."""

    def __init__(
        self, store: Store, pulse: Pulse, target: Target, query: Mapping[str, str]
    ) -> None:
        self._store = store
        self._pulse = pulse
        self._wanted = Filter.of(target, query)
        self._bookmarks = flag(query, "allowWatchBookmarks")
        self._initial_end = flag(query, "sendInitialEvents")
        self._timeout = whole(query, "timeoutSeconds") or random.randint(1800, 3600)  # noqa: S311
        asked = query.get("resourceVersion", "")
        self._from_now = asked in {"", "0"} or self._initial_end
        self._cursor = store.revision if self._from_now else whole(query, "resourceVersion")
        self._first = self._initial()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            await self._stream(request, response)
            await response.write_eof()
        except ConnectionError:
            pass  # the client went away, which is how most watches end
        return response

    async def _stream(self, request: web.Request, response: web.StreamResponse) -> None:
        await self._send(response, self._first)
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timeout
        bookmark = loop.time() + BOOKMARK
        while (left := end - loop.time()) > 0 and request.transport is not None:
            changes = self._store.since(self._cursor)
            if changes is None:
                await self._send(response, [self._gone()])
                return
            self._cursor = max(self._cursor, self._store.revision)
            await self._send(response, [e for e in map(self._event, changes) if e])
            if self._bookmarks and loop.time() > bookmark:
                bookmark = loop.time() + BOOKMARK
                await self._send(response, [self._bookmark()])
            if self._cursor >= self._store.revision:
                await self._pulse.wait(min(left, IDLE))

    def _initial(self) -> list[Object]:
        if not self._from_now:
            return []
        found = self._store.items(self._wanted.kind, self._wanted.namespace)
        events: list[Object] = [
            {"type": "ADDED", "object": obj} for obj in found if self._wanted(obj)
        ]
        if self._initial_end:
            events.append(self._bookmark({INITIAL_END: "true"}))
        return events

    def _event(self, change: Change) -> Object | None:
        """The event that a change is to this watch: an object that no longer matches was
        deleted."""
        if change.kind is not self._wanted.kind:
            return None
        before = self._wanted(change.previous)
        after = change.type != "DELETED" and self._wanted(change.object)
        if after:
            return {"type": "MODIFIED" if before else "ADDED", "object": change.object}
        return {"type": "DELETED", "object": change.object} if before else None

    def _bookmark(self, annotations: dict[str, str] | None = None) -> Object:
        metadata: Object = {"resourceVersion": str(self._cursor), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        kind = self._wanted.kind
        obj: Object = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        return {"type": "BOOKMARK", "object": obj}

    def _gone(self) -> Object:
        message = f"too old resource version: {self._cursor} ({self._store.revision})"
        return {"type": "ERROR", "object": errors.expired(message).status()}

    async def _send(self, response: web.StreamResponse, events: list[Object]) -> None:
        if events:
            lines = "".join(json.dumps(event) + "\n" for event in events)
            await response.write(lines.encode())
