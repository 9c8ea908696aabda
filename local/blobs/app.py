"""The REST surface: routes, and what happens around every request."""

from __future__ import annotations

import base64
import binascii
import re
import time
import uuid
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from aiohttp import web

from local.blobs.errors import BlobError, bad_value, ordered
from local.blobs.store import Condition
from local.faults import Faults, is_admin
from local.identity import TENANT, TokenError, verify

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp.typedefs import Handler

    from local.blobs.store import Blob, Store

ACCOUNT = "rotation"
AUDIENCE = "https://storage.azure.com"
CHALLENGE = (
    f"Bearer authorization_uri=https://login.microsoftonline.com/{TENANT}/oauth2/authorize"
    f" resource_id={AUDIENCE}"
)
VERSION = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]")
CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")
RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")
LARGEST = 64 * 1024 * 1024  # bytes of a blob
MOST = 5000  # blobs in one answer
XML = '<?xml version="1.0" encoding="utf-8"?>'


class Account:
    """One account. `identities` is the state directory of the identity endpoint; `granted` has the
    containers that an object id may use, where it names any: without it, all may use all."""

    def __init__(
        self, store: Store, identities: Path, granted: dict[str, list[str]] | None
    ) -> None:
        self._store = store
        self._identities = identities
        self._granted = granted

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_answered, self._authenticated], client_max_size=LARGEST)
        app.router.add_put(f"/{ACCOUNT}/{{container}}", self.make)
        app.router.add_get(f"/{ACCOUNT}/{{container}}", self.list)
        app.router.add_put(f"/{ACCOUNT}/{{container}}/{{name:.+}}", self.put)
        app.router.add_get(f"/{ACCOUNT}/{{container}}/{{name:.+}}", self.get, allow_head=True)
        Faults(ordered).install(app)
        return app

    @web.middleware
    async def _authenticated(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_admin(request):
            claims = self._caller(request)
            if not VERSION.fullmatch(request.headers.get("x-ms-version", "")):
                raise bad_value("x-ms-version")
            container = request.match_info.get("container", "")
            if self._granted is not None and container not in self._granted.get(claims["oid"], []):
                text = "This request is not authorized to perform this operation using this"
                raise BlobError(403, "AuthorizationPermissionMismatch", f"{text} permission.")
        return await handler(request)

    def _caller(self, request: web.Request) -> dict[str, Any]:
        """The claims of the caller. Raises a 401 in the service's words."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            text = "Server failed to authenticate the request: no Bearer token."
            raise BlobError(401, "NoAuthenticationInformation", text)
        try:
            return verify(token.strip(), AUDIENCE, self._identities)
        except TokenError as error:
            text = f"Server failed to authenticate the request: {error}."
            raise BlobError(401, "InvalidAuthenticationInfo", text) from error

    async def make(self, request: web.Request) -> web.Response:
        container = request.match_info["container"]
        if request.query.get("restype") != "container":
            raise BlobError(400, "InvalidUri", "The requested URI does not name a resource.")
        if not CONTAINER.fullmatch(container):
            raise BlobError(400, "InvalidResourceName", "The name has invalid characters.")
        self._store.make(container)
        return web.Response(status=201)

    async def list(self, request: web.Request) -> web.Response:
        query = request.query
        if (query.get("restype"), query.get("comp")) != ("container", "list"):
            raise BlobError(400, "InvalidUri", "The requested URI does not name a resource.")
        most = _most(query.get("maxresults"))
        found = self._store.page(
            request.match_info["container"],
            query.get("prefix", ""),
            _after(query.get("marker")),
            query.get("startFrom", ""),
            most + 1,
        )
        following = _marker(found[most - 1].name) if len(found) > most else ""
        return web.Response(
            text=_listed(request, found[:most], following), content_type="application/xml"
        )

    async def put(self, request: web.Request) -> web.Response:
        if request.headers.get("x-ms-blob-type") != "BlockBlob" or "comp" in request.query:
            raise bad_value("x-ms-blob-type")
        headers = request.headers
        kept = self._store.put(
            request.match_info["container"],
            request.match_info["name"],
            await request.read(),
            headers.get("x-ms-blob-content-type", "application/octet-stream"),
            Condition(headers.get("If-Match"), headers.get("If-None-Match")),
            time.time(),
        )
        return web.Response(status=201, headers=_stamp(kept))

    async def get(self, request: web.Request) -> web.Response:
        names = request.match_info
        found = self._store.get(names["container"], names["name"])
        headers = {**_stamp(found), "x-ms-blob-type": "BlockBlob", "Accept-Ranges": "bytes"}
        asked = request.headers.get("x-ms-range") or request.headers.get("Range")
        if asked is None:
            return web.Response(body=found.content, headers=headers, content_type=found.type)
        begin, end = _range(asked, len(found.content))
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(found.content)}"
        part = found.content[begin : end + 1]
        return web.Response(status=206, body=part, headers=headers, content_type=found.type)


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal is the service's XML, every answer has its headers."""
    try:
        response = await handler(request)
    except BlobError as error:
        response = error.answer()
        if error.status == 401:
            response.headers["WWW-Authenticate"] = CHALLENGE
    if not is_admin(request):
        version = request.headers.get("x-ms-version", "")
        response.headers.update({"x-ms-request-id": str(uuid.uuid4()), "x-ms-version": version})
    return response


def _stamp(blob: Blob) -> dict[str, str]:
    return {"ETag": blob.etag, "Last-Modified": formatdate(blob.modified, usegmt=True)}


def _range(asked: str, size: int) -> tuple[int, int]:
    """The first and the last byte of a range. Raises a 416 for one that begins behind the end."""
    matched = RANGE.fullmatch(asked)
    if matched is None:
        raise bad_value("Range")
    begin, end = int(matched[1]), int(matched[2] or size - 1)
    if begin >= size:
        raise BlobError(416, "InvalidRange", "The range specified is invalid for the resource.")
    return begin, min(end, size - 1)


def _most(given: str | None) -> int:
    if given is None:
        return MOST
    if not re.fullmatch(r"[0-9]{1,6}", given) or int(given) == 0:
        text = "maxresults must be from 1 to 5000."
        raise BlobError(400, "OutOfRangeQueryParameterValue", text)
    return min(int(given), MOST)


def _marker(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _after(marker: str | None) -> str:
    try:
        return base64.urlsafe_b64decode(marker or "").decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        text = "The value of the query parameter marker is invalid."
        raise BlobError(400, "InvalidQueryParameterValue", text) from error


def _listed(request: web.Request, blobs: list[Blob], following: str) -> str:
    at = f"{request.scheme}://{request.host}/{ACCOUNT}"
    items = "".join(
        f"<Blob><Name>{escape(blob.name)}</Name><Properties>"
        f"<Last-Modified>{formatdate(blob.modified, usegmt=True)}</Last-Modified>"
        f"<Etag>{blob.etag.strip(chr(34))}</Etag><Content-Length>{len(blob.content)}"
        f"</Content-Length><Content-Type>{escape(blob.type)}</Content-Type>"
        "<BlobType>BlockBlob</BlobType></Properties></Blob>"
        for blob in blobs
    )
    container = request.match_info["container"]
    return (
        f"{XML}<EnumerationResults ServiceEndpoint={quoteattr(at)} "
        f"ContainerName={quoteattr(container)}><Prefix>{escape(request.query.get('prefix', ''))}"
        f"</Prefix><Blobs>{items}</Blobs><NextMarker>{following}</NextMarker></EnumerationResults>"
    )
