"""The publishing endpoint of the topic."""

from __future__ import annotations

import hmac
import time
from typing import TYPE_CHECKING

from aiohttp import web

from local.faults import Faults
from local.identity import TENANT, TokenError, verify
from local.topic import schema
from local.topic.schema import PublishError

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp.typedefs import Handler

    from local.outbox import Outbox

PATH = "/api/events"
API_VERSION = "2018-01-01"
AUDIENCE = "https://eventgrid.azure.net"


class Topic:
    """`identities` is the state directory of the identity endpoint; without it, only the key
    opens the topic."""

    def __init__(self, outbox: Outbox, name: str, key: str, identities: Path | None) -> None:
        self._outbox = outbox
        self._key = key
        self._identities = identities
        self._id = (
            f"/subscriptions/{TENANT}/resourceGroups/local/providers/"
            f"Microsoft.EventGrid/topics/{name}"
        )

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_answered], client_max_size=2 * schema.LARGEST_BATCH)
        app.router.add_post(PATH, self.publish)
        Faults(schema.ordered).install(app)
        return app

    async def publish(self, request: web.Request) -> web.Response:
        self._authenticate(request)
        if request.query.get("api-version") != API_VERSION:
            raise PublishError(
                400,
                "BadRequest",
                f"Specify the query parameter api-version={API_VERSION}.",
                "ApiVersionInvalid",
            )
        events = schema.events(await request.read(), request.content_type, self._id)
        self._outbox.add(events, time.time())
        return web.Response(status=200)

    def _authenticate(self, request: web.Request) -> None:
        key = request.headers.get("aeg-sas-key")
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if key is not None:
            if not hmac.compare_digest(key.encode(), self._key.encode()):
                raise _unauthorized("The request authorization key is not authorized.")
        elif scheme.lower() == "bearer" and self._identities is not None:
            try:
                verify(token.strip(), AUDIENCE, self._identities)
            except TokenError as error:
                raise _unauthorized(f"The token is not accepted: {error}.") from error
        else:
            raise _unauthorized(
                "Request must contain one of the following authorization signatures: "
                "aeg-sas-key, Authorization."
            )


def _unauthorized(message: str) -> PublishError:
    return PublishError(401, "Unauthorized", message, "Unauthorized")


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal of an event is Event Grid's JSON."""
    try:
        return await handler(request)
    except PublishError as error:
        return web.json_response(error.body(), status=error.status)
