"""HTTP answers as the conventions have them: JSON, and problem+json (RFC 9457) for errors."""

from __future__ import annotations

import json
import logging
from functools import wraps
from typing import TYPE_CHECKING, Any

import azure.functions as func

from rotation import log
from rotation.errors import ConfigurationError, RotationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[..., Awaitable[func.HttpResponse]]

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
TITLES = {
    400: "The request is not valid",
    403: "You may not do this",
    404: "There is no such thing",
    409: "It is not in a state for this",
    410: "It has expired",
    413: "The request is too large",
    415: "The request is of another kind",
    500: "The app failed",
    503: "The app cannot do its work now",
}
LONGEST_BODY = 64 * 1024


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """Raised by a handler, answered as problem+json. `more` are its extension members."""

    def __init__(self, status: int, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.more = more


def answer(document: Any, status: int = 200, **headers: str) -> func.HttpResponse:
    return func.HttpResponse(
        json.dumps(document),
        status_code=status,
        mimetype="application/json",
        headers={**HEADERS, **headers},
    )


def problem(status: int, detail: str, **more: Any) -> func.HttpResponse:
    document = {"type": "about:blank", "title": TITLES[status], "status": status, "detail": detail}
    return func.HttpResponse(
        json.dumps({**document, **more}),
        status_code=status,
        mimetype="application/problem+json",
        headers=HEADERS,
    )


def json_object(request: func.HttpRequest) -> dict[str, Any]:
    """The body. Raises `Problem` for anything but a JSON object."""
    body = request.get_body()
    if len(body) > LONGEST_BODY:
        raise Problem(413, f"the body has {len(body)} bytes; at most {LONGEST_BODY} are read")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    if not isinstance(document, dict):
        raise Problem(400, "the body is not a JSON object")
    return document


def text(
    document: dict[str, Any], field: str, *, required: bool = False, longest: int = 500
) -> str:
    """A text field; empty if it is absent and not required. Raises `Problem` naming it."""
    value = document.get(field)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value.strip()):
        raise Problem(400, f"{field!r} must be a text", field=field)
    if len(value) > longest or not value.isprintable():
        message = f"{field!r} must be at most {longest} printable characters on one line"
        raise Problem(400, message, field=field)
    return value.strip()


def only(document: dict[str, Any], *fields: str) -> None:
    """Raises `Problem` for a field that nobody asked for: it is most likely a typing error."""
    for field in document:
        if field not in fields:
            known = ", ".join(fields)
            raise Problem(400, f"{field!r} is not a field; there are: {known}", field=field)


def answering(handler: Handler) -> Handler:
    """What a handler raises becomes problem+json; a fault of ours shows no more than its type."""

    @wraps(handler)
    async def guarded(*args: Any, **kwargs: Any) -> func.HttpResponse:
        try:
            return await handler(*args, **kwargs)
        except Problem as error:
            return problem(error.status, error.detail, **error.more)
        except ConfigurationError as error:
            return problem(503, "the configuration is not valid", problems=error.problems)
        except RotationError as error:
            return problem(503, error.message)
        except Exception as error:  # noqa: BLE001 - its text may quote anything
            log.event(
                "http.unexpected",
                level=logging.ERROR,
                handler=handler.__name__,
                exception=type(error).__name__,
                where=log.where(error.__traceback__),
            )
            return problem(500, f"unexpected {type(error).__name__}; the log says where")

    return guarded
