"""The REST surface: routes, and what happens around every request."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web
from cryptography.fernet import Fernet

from local.faults import Faults, admin, is_admin
from local.keyvault import wire
from local.keyvault.access import CHALLENGE, Access, caller
from local.keyvault.errors import VaultError, bad_parameter, disabled, ordered
from local.keyvault.events import PREFIX, TYPES
from local.storage import transaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from aiohttp.typedefs import Handler

    from local.keyvault.events import Announcer
    from local.keyvault.store import Store

API_VERSIONS = {
    *("2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6"),
    *("2025-07-01", "2026-04-01"),
}
CLAIMS = web.RequestKey("claims", dict)
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "x-ms-keyvault-region": "local",
    "x-ms-keyvault-service-version": "1.9.0.0",
}


class Vault:
    """One vault. `identities` is the state directory of the identity endpoint."""

    def __init__(
        self, store: Store, announcer: Announcer, access: Access, identities: Path
    ) -> None:
        self._store = store
        self._announcer = announcer
        self._access = access
        self._identities = identities
        self._backup_key = store.setting("backup-key", Fernet.generate_key().decode())

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._answered, self._authenticated])
        for method, path, permission, handler in (
            ("PUT", "/secrets/{name}", "set", self.set),
            ("GET", "/secrets", "list", self.list),
            ("GET", "/secrets/{name}", "get", self.get),
            ("GET", "/secrets/{name}/", "get", self.get),
            ("GET", "/secrets/{name}/versions", "list", self.versions),
            ("GET", "/secrets/{name}/{version}", "get", self.get),
            ("PATCH", "/secrets/{name}/", "update", self.update),
            ("PATCH", "/secrets/{name}/{version}", "update", self.update),
            ("DELETE", "/secrets/{name}", "delete", self.delete),
            ("POST", "/secrets/{name}/backup", "backup", self.backup),
            ("POST", "/secrets/restore", "restore", self.restore),
            ("GET", "/deletedsecrets", "list", self.list_deleted),
            ("GET", "/deletedsecrets/{name}", "get", self.get_deleted),
            ("POST", "/deletedsecrets/{name}/recover", "recover", self.recover),
            ("DELETE", "/deletedsecrets/{name}", "purge", self.purge),
        ):
            app.router.add_route(method, path, self._allowed(permission, handler))
        Faults(ordered).install(app)
        app.router.add_post("/local/announce", admin(self.announce))
        app.router.add_get("/local/subscriptions", admin(self.subscriptions))
        return app

    @web.middleware
    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every refusal is Key Vault's JSON, every answer has its headers."""
        try:
            response = await handler(request)
        except VaultError as error:
            response = web.json_response(error.body(), status=error.status)
            if error.status == 401:
                response.headers["WWW-Authenticate"] = CHALLENGE
        except web.HTTPException as error:
            code = error.reason.replace(" ", "")
            body = VaultError(error.status, code, error.text or error.reason).body()
            response = web.json_response(body, status=error.status)
        response.headers.update({**HEADERS, "x-ms-request-id": str(uuid.uuid4())})
        return response

    @web.middleware
    async def _authenticated(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_admin(request):
            request[CLAIMS] = caller(request.headers.get("Authorization"), self._identities)
            if request.query.get("api-version") not in API_VERSIONS:
                raise bad_parameter(
                    f"api-version is {request.query.get('api-version')!r}; specify one of "
                    f"{', '.join(sorted(API_VERSIONS))}."
                )
        return await handler(request)

    def _allowed(
        self, permission: str, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def checked(request: web.Request) -> web.Response:
            name = request.match_info.get("name")
            if name is not None:
                wire.check_name(name)
            self._access.check(request[CLAIMS], permission, name or "")
            return await handler(request)

        return checked

    async def set(self, request: web.Request) -> web.Response:
        body = await _body(request)
        value, properties = wire.value_of(body), wire.properties_of(body)
        wire.check_window(properties.nbf, properties.exp)
        with transaction(self._store.database):
            version = self._store.set(_name(request), value, properties, _now())
            self._announcer.created(version)
        return web.json_response(wire.secret(_base(request), version))

    async def get(self, request: web.Request) -> web.Response:
        name, version = _name(request), request.match_info.get("version")
        found = self._store.version(name, version) if version else self._store.latest(name)
        if not found.enabled:
            raise disabled()
        return web.json_response(wire.secret(_base(request), found))

    async def update(self, request: web.Request) -> web.Response:
        properties = wire.properties_of(await _body(request))
        version = request.match_info.get("version", "")
        with transaction(self._store.database):
            changed = self._store.update(_name(request), version, properties, _now())
            wire.check_window(changed.nbf, changed.exp)
        self._announcer.changed()
        return web.json_response(wire.bundle(_base(request), changed))

    async def list(self, request: web.Request) -> web.Response:
        after, size = _position(request)
        names = self._store.names_after(after, size + 1)
        found = [self._store.latest(name) for name in names[:size]]
        items = [wire.item(_base(request), each, with_version=False) for each in found]
        return _page(request, items, names, size)

    async def versions(self, request: web.Request) -> web.Response:
        after, size = _position(request)
        found = self._store.versions_after(_name(request), after, size + 1)
        items = [wire.item(_base(request), each, with_version=True) for each in found[:size]]
        return _page(request, items, [each.version for each in found], size)

    async def delete(self, request: web.Request) -> web.Response:
        gone = self._store.delete(_name(request), _now())
        return web.json_response(wire.deleted(_base(request), gone, with_version=True))

    async def list_deleted(self, request: web.Request) -> web.Response:
        after, size = _position(request)
        names = self._store.names_after(after, size + 1, deleted=True)
        found = [self._store.deleted(name) for name in names[:size]]
        items = [wire.deleted(_base(request), each, with_version=False) for each in found]
        return _page(request, items, names, size)

    async def get_deleted(self, request: web.Request) -> web.Response:
        gone = self._store.deleted(_name(request))
        return web.json_response(wire.deleted(_base(request), gone, with_version=True))

    async def recover(self, request: web.Request) -> web.Response:
        version = self._store.recover(_name(request))
        self._announcer.changed()
        return web.json_response(wire.bundle(_base(request), version))

    async def purge(self, request: web.Request) -> web.Response:
        self._store.purge(_name(request))
        return web.Response(status=204)

    async def backup(self, request: web.Request) -> web.Response:
        versions = self._store.all_versions(_name(request))
        return web.json_response({"value": wire.sealed(versions, self._backup_key)})

    async def restore(self, request: web.Request) -> web.Response:
        backup = wire.opened((await _body(request)).get("value"), self._backup_key)
        version = self._store.restore(backup)
        return web.json_response(wire.bundle(_base(request), version))

    async def announce(self, request: web.Request) -> web.Response:
        """`{"name": ..., "type": one of TYPES, "version": ...}`; without version, the latest."""
        body = await _body(request)
        kind = str(body.get("type", "")).removeprefix(PREFIX)
        if kind not in TYPES:
            raise bad_parameter(f"type is {kind!r}; it must be one of {', '.join(TYPES)}.")
        if not self._announcer.outbox.subscribed:
            raise VaultError(409, "Conflict", "No subscription has been validated yet.")
        name, version = wire.check_name(str(body.get("name", ""))), body.get("version")
        found = self._store.version(name, version) if version else self._store.latest(name)
        return web.json_response({"id": self._announcer.announce(found, kind)}, status=202)

    async def subscriptions(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler
        return web.json_response(self._announcer.outbox.overview())


def _now() -> int:
    return int(time.time())


def _base(request: web.Request) -> str:
    return f"https://{request.host}"


def _name(request: web.Request) -> str:
    return request.match_info["name"]


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise bad_parameter("The request's body is not JSON.") from error
    if not isinstance(body, dict):
        raise bad_parameter("The request's body is not a JSON object.")
    return body


def _position(request: web.Request) -> tuple[str, int]:
    """The start of a page and how many entries it may have."""
    return (
        wire.skipped(request.query.get("$skiptoken")),
        wire.page_size(request.query.get("maxresults")),
    )


def _page(
    request: web.Request, items: list[dict[str, Any]], keys: list[str], size: int
) -> web.Response:
    """`keys` has one entry more than the page when another page follows."""
    following = None
    if len(keys) > size:
        query = {
            "api-version": request.query["api-version"],
            "$skiptoken": wire.skip_token(keys[size - 1]),
            "maxresults": size,
        }
        following = f"{_base(request)}{request.path}?{urlencode(query)}"
    return web.json_response({"value": items, "nextLink": following})
