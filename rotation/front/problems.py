"""HTTP answers: JSON, and problem+json (RFC 9457) for errors; and what is read of requests.

What a handler raises becomes a `Problem` in one place, for the API as for the pages.
"""

from __future__ import annotations

import json
import logging
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import azure.functions as func
from msgspec import Struct

from rotation import log
from rotation.model import wire
from rotation.model.catalogue import Stage
from rotation.model.errors import ConfigurationError, RotationError
from rotation.model.reasons import Code, Reason, reason
from rotation.model.record import Decision

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[..., Awaitable[func.HttpResponse]]

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
TITLES = {
    400: "The request is not valid",
    403: "You may not do this",
    404: "There is no such thing",
    409: "It is not in a state for this",
    413: "The request is too large",
    415: "The request is of another kind",
    422: "This cannot be done as it is asked for",
    500: "The app failed",
    503: "The app cannot do its work now",
}
RETRY_AFTER = 30.0  # seconds, where another system did not say
LONGEST_BODY = 64 * 1024
JSON = "application/json"
LONGEST_MEDIA_TYPE = 100


class Members(TypedDict, total=False):
    """The extension members of a problem: the fields of `Details` that have a default."""

    field: str
    rotation: str
    stage: Stage
    decision: Decision
    problems: list[str]


class Details(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """A problem's document; `field` is the part of the request that is wrong."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: Code
    remedy: str
    field: str | None = None
    rotation: str | None = None
    stage: Stage | None = None
    decision: Decision | None = None
    problems: list[str] | None = None


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """Raised by a handler, answered as problem+json. `more` are its extension members.

    `retry_after`: seconds after which it may be over by itself.
    """

    def __init__(
        self,
        status: int,
        code: Code,
        detail: str,
        *,
        retry_after: float | None = None,
        **more: Unpack[Members],
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after = retry_after
        self.code = code
        self.reason: Reason = reason(code, detail)
        self.more = more

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:.0f}"}


def answer(document: object, status: int = 200, **headers: str) -> func.HttpResponse:
    """A JSON response."""
    return func.HttpResponse(
        json.dumps(document),
        status_code=status,
        mimetype="application/json",
        headers={**HEADERS, **headers},
    )


def problem(error: Problem) -> func.HttpResponse:
    """A problem+json response."""
    details = Details(
        type="about:blank",
        title=TITLES[error.status],
        status=error.status,
        detail=error.reason.text,
        code=error.code,
        remedy=error.reason.remedy,
        **error.more,
    )
    return func.HttpResponse(
        json.dumps(wire.value_of(details)),
        status_code=error.status,
        mimetype="application/problem+json",
        headers={**HEADERS, **error.headers},
    )


def json_object(request: func.HttpRequest) -> dict[str, Any]:
    """The JSON object in a request's body. Raises `Problem` for another body or media type.

    A browser sends other kinds for any site, without asking first whether it may.
    """
    kind = media_type(request)
    if kind != JSON:
        detail = f"the body must be sent as {JSON}, not as {kind or 'nothing'}"
        raise Problem(415, Code.MEDIA_TYPE, detail)
    body = request.get_body()
    if len(body) > LONGEST_BODY:
        raise Problem(
            413, Code.TOO_LARGE, f"the body has {len(body)} bytes; at most {LONGEST_BODY} are read"
        )
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, Code.BAD_REQUEST, "the body is not JSON") from None
    if not isinstance(document, dict):
        raise Problem(400, Code.BAD_REQUEST, "the body is not a JSON object")
    return document


def media_type(request: func.HttpRequest) -> str:
    """The media type of a request's body without its parameters; empty if none is given."""
    said = (request.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    return said[:LONGEST_MEDIA_TYPE] if said.isprintable() else "?"


def text(
    document: dict[str, Any], field: str, *, required: bool = False, longest: int = 500
) -> str:
    """The text in a field; empty if it is absent and not required. Raises `Problem` naming it."""
    value = document.get(field)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value.strip()):
        raise Problem(400, Code.BAD_REQUEST, f"{field!r} must be a text", field=field)
    if len(value) > longest or not value.isprintable():
        message = f"{field!r} must be at most {longest} printable characters on one line"
        raise Problem(400, Code.BAD_REQUEST, message, field=field)
    return value.strip()


def only(document: dict[str, Any], *fields: str) -> None:
    """Raises `Problem` for a field that is not one of these: most likely it is a typing error."""
    for field in document:
        if field not in fields:
            known = ", ".join(fields)
            raise Problem(
                400, Code.BAD_REQUEST, f"{field!r} is not a field; there are: {known}", field=field
            )


def guarded(show: Callable[[Problem], func.HttpResponse]) -> Callable[[Handler], Handler]:
    """A decorator that answers what a handler raises with `show`, as a problem.

    A fault of ours shows no more than its type.
    """

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        async def shown(*args: Any, **kwargs: Any) -> func.HttpResponse:
            try:
                return await handler(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - its text may quote anything
                return show(_problem(handler.__name__, error))

        return shown

    return decorate


def _problem(handler: str, error: Exception) -> Problem:
    """The problem that an exception is shown as. An unexpected one is logged."""
    match error:
        case Problem():
            return error
        case ConfigurationError():
            text = "the configuration is not valid"
            return Problem(503, error.code, text, problems=error.problems)
        case RotationError():
            return _unavailable(handler, error)
    return _unexpected(handler, error)


def _unavailable(handler: str, error: RotationError) -> Problem:
    """The problem of another system's trouble, whose cause only the log tells."""
    cause = type(error.__cause__).__name__ if error.__cause__ else None
    log.event(
        "http.unavailable",
        level=logging.WARNING,
        handler=handler,
        code=str(error.code),
        cause=cause,
    )
    after = error.retry_after or (RETRY_AFTER if error.transient else None)
    return Problem(503, error.code, error.message, retry_after=after)


def _unexpected(handler: str, error: Exception) -> Problem:
    name = type(error).__name__
    log.event(
        "http.unexpected",
        level=logging.ERROR,
        handler=handler,
        exception=name,
        where=log.where(error.__traceback__),
    )
    return Problem(500, Code.UNEXPECTED, f"unexpected {name}; the log says where")


answering = guarded(problem)
