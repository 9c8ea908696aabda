"""The HTTP surface: authenticates, authorises, and calls the verb that answers."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from local.cluster import errors, kinds
from local.cluster.admission import Admission
from local.cluster.evictions import Evictions
from local.cluster.rbac import Attributes
from local.cluster.reading import Filter, Lists, Pulse, Watch
from local.cluster.requests import Target, parse
from local.cluster.scale import scale_of
from local.cluster.writing import Asker, Writer, read_body
from local.faults import Faults, check_cause, is_admin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.typedefs import Handler

    from local.cluster.audit import Audit
    from local.cluster.auth import Authenticator, User
    from local.cluster.kinds import Object
    from local.cluster.rbac import Authorizer
    from local.cluster.registry import Registry

    Extension = Callable[[web.Request, Target], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)

MAX_BODY = 3 * 1024 * 1024  # bytes, as upstream
OPEN_PATHS = {"/healthz", "/livez", "/readyz"}
REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict",
    410: "Expired", 422: "Invalid", 429: "TooManyRequests", 503: "ServiceUnavailable",
    504: "Timeout",
}  # fmt: skip
VERSION = {
    "major": "1", "minor": "34", "gitVersion": "v1.34.0+local", "platform": "linux/amd64",
}  # fmt: skip


class Api:
    """The API's HTTP handlers. `extensions`: what answers the `log` and `proxy` subresources."""

    def __init__(
        self,
        registry: Registry,
        authenticator: Authenticator,
        authorizer: Authorizer,
        extensions: Mapping[str, Extension],
        audit: Audit,
    ) -> None:
        self._store = registry.store
        self._registry = registry
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._extensions = extensions
        self._audit = audit
        self._lists = Lists(registry.store)
        self._writer = Writer(registry, Admission(registry.store))
        self._evictions = Evictions(registry)
        self._pulse = Pulse()
        registry.store.listeners.append(self._pulse)

    def app(self, own_routes: list[web.RouteDef]) -> web.Application:
        """The web application. `own_routes`: below /local/, where Kubernetes has nothing."""
        app = web.Application(middlewares=[answer_errors], client_max_size=MAX_BODY)
        Faults(_ordered_failure).install(app)
        app.router.add_routes(own_routes)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path in OPEN_PATHS:
            return web.Response(text="ok")
        if path.rstrip("/") == "/version":
            return web.json_response(VERSION)
        real = self._authenticator.user(request.headers.get("Authorization"))
        user = self._authorizer.acting(real, request.headers)
        if (document := _discovery(path)) is not None:
            self._authorizer.check_path(user, "get", path)
            return web.json_response(document)
        if not path.startswith(("/api/", "/apis/")):
            self._authorizer.check_path(user, "get", path)
            raise errors.no_such_path()
        target = parse(request.method, path, request.query)
        return await self._audited(request, target, user, real)

    async def _audited(
        self, request: web.Request, target: Target, user: User, real: User
    ) -> web.StreamResponse:
        """The answer to a request, audited.

        Anything but an ApiError ends as 500, in `answer_errors`, or with the connection.
        """
        received, code = datetime.now(UTC), 500
        try:
            self._authorizer.check(user, target)
            response = await self._answer(request, target, user)
            code = response.status
        except errors.ApiError as error:
            code = error.code
            raise
        except web.HTTPException as redirect:
            code = redirect.status
            raise
        finally:
            self._audit.record(request, (real, user), target, code, received)
        return response

    async def _answer(self, request: web.Request, target: Target, user: User) -> web.StreamResponse:
        if extension := self._extensions.get(target.subresource):
            return await extension(request, target)
        if target.verb == "watch":
            watch = Watch(self._store, self._pulse, target, request.query)
            return await watch.answer(request)
        if target.verb in {"get", "list"}:
            return web.json_response(self._read(request, target))
        body = await _body(request)
        if target.subresource == "eviction":
            return web.json_response(self._evictions.evict(target, body), status=201)
        if target.kind is kinds.ACCESS_REVIEW:
            return web.json_response(self._review(user, body), status=201)
        asker = Asker(user, request.headers.get("User-Agent", ""))
        status, answer = self._write(request, target, body, asker)
        return web.json_response(answer, status=status)

    def _read(self, request: web.Request, target: Target) -> Object:
        if target.verb == "list":
            return self._lists.answer(target, request.query)
        found = self._registry.fetch(target.kind, target.namespace, target.name)
        return scale_of(found) if target.subresource == "scale" else found

    def _write(
        self, request: web.Request, target: Target, body: Any, asker: Asker
    ) -> tuple[int, Object]:
        if target.verb == "create":
            return self._writer.create(target, body, request.query, asker)
        if target.verb == "update":
            return self._writer.update(target, body, request.query, asker)
        if target.verb == "patch":
            kind = request.content_type
            return self._writer.patch(target, body, request.query, asker, kind)
        if target.verb == "delete":
            return self._writer.delete(target, body, request.query, asker)
        wanted = Filter.of(target, request.query)
        found = [o for o in self._store.items(target.kind, target.namespace) if wanted(o)]
        answer = self._lists.answer(target, request.query)
        self._writer.delete_all(target, found, body, request.query, asker)
        return 200, answer

    def _review(self, user: User, body: Any) -> Object:
        """The review that says whether the asking user may do what the body describes."""
        asked = ((body or {}).get("spec") or {}).get("resourceAttributes") or {}
        subresource = asked.get("subresource")
        resource = asked.get("resource", "")
        attributes = Attributes(
            verb=asked.get("verb", ""),
            group=asked.get("group", ""),
            resource=f"{resource}/{subresource}" if subresource else resource,
            namespace=asked.get("namespace", ""),
            name=asked.get("name", ""),
        )
        allowed = self._authorizer.allows(user, attributes)
        kind = kinds.ACCESS_REVIEW
        return {
            "kind": kind.kind,
            "apiVersion": kind.api_version,
            "metadata": {"creationTimestamp": None},
            "spec": {"resourceAttributes": asked},
            "status": {"allowed": allowed},
        }


async def _body(request: web.Request) -> Any:
    raw = await request.read()
    if not raw and request.method == "DELETE":
        return None
    kind = request.content_type if "Content-Type" in request.headers else ""
    return read_body(kind, raw)


def _discovery(path: str) -> Object | None:
    parts = path.strip("/").split("/")
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if parts == ["apis"]:
        return kinds.group_list()
    if parts == ["api", "v1"]:
        return kinds.resource_list("", "v1")
    if parts[0] == "apis" and len(parts) == 2:
        return kinds.group(parts[1])
    if parts[0] == "apis" and len(parts) == 3:
        return kinds.resource_list(parts[1], parts[2])
    return None


def _ordered_failure(status: int, cause: str | None) -> dict[str, Any]:
    """The body of a failure that a test ordered. Causes are those of an admission webhook, which
    this cluster has none of; what roles, policies and quotas refuse it refuses by itself."""
    check_cause(cause, errors.WEBHOOKS)
    if cause is not None:
        return errors.of_webhook(status, cause)
    reason = REASONS.get(status, "InternalError")
    return errors.ApiError(status, reason, "this failure was ordered").status()


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure is answered with a Status."""
    try:
        return await handler(request)
    except errors.ApiError as error:
        return _answer_status(error)
    except web.HTTPRequestEntityTooLarge:
        message = f"Request entity too large: limit is {MAX_BODY}"
        return _answer_status(errors.ApiError(413, "RequestEntityTooLarge", message))
    except web.HTTPException:
        raise
    except Exception:
        if is_admin(request):
            raise
        log.exception("%s %s failed", request.method, request.path)
        return _answer_status(errors.ApiError(500, "InternalError", "Internal error occurred"))


def _answer_status(error: errors.ApiError) -> web.Response:
    return web.json_response(error.status(), status=error.code)
