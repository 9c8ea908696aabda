"""The Status objects with which the API server refuses a request, in Kubernetes' words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.cluster.kinds import Kind, Object


class ApiError(Exception):
    """An answer other than success. `details` goes into the Status as it is."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> Object:
        body: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            **({"reason": self.reason} if self.reason else {}),
            "code": self.code,
        }
        if self.details is not None:
            body["details"] = self.details
        return body


def _details(kind: Kind, name: str) -> Object:
    details: Object = {"name": name, "kind": kind.plural}
    if kind.group:
        details["group"] = kind.group
    return details


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def not_found(kind: Kind, name: str) -> ApiError:
    message = f'{kind.qualified} "{name}" not found'
    return ApiError(404, "NotFound", message, _details(kind, name))


def no_such_path() -> ApiError:
    message = "the server could not find the requested resource"
    return ApiError(404, "NotFound", message, {})


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def already_exists(kind: Kind, name: str) -> ApiError:
    message = f'{kind.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(kind, name))


def conflict(kind: Kind, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(kind, name))


def stale(kind: Kind, name: str) -> ApiError:
    """The 409 for a resourceVersion that is not the stored one."""
    return conflict(
        kind,
        name,
        "the object has been modified; please apply your changes to the latest version and try"
        " again",
    )


def invalid(kind: Kind, name: str, causes: list[tuple[str, str]]) -> ApiError:
    """The 422 for an object; `causes`: (field path, what is wrong with it)."""
    problems = [f"{field}: {problem}" for field, problem in causes]
    text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    qualified = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details: Object = {
        "name": name,
        "kind": kind.kind,
        "causes": [
            {"reason": "FieldValueInvalid", "message": problem, "field": field}
            for field, problem in causes
        ],
    }
    if kind.group:
        details["group"] = kind.group
    return ApiError(422, "Invalid", f'{qualified} "{name}" is invalid: {text}', details)


def patch_refused() -> ApiError:
    """The 422 for a JSON patch that cannot be applied, a failed `test` included: no details, as
    upstream."""
    message = "the server rejected our request due to an error in our request"
    return ApiError(422, "Invalid", message, {})


def unsupported_media(accepted: list[str]) -> ApiError:
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted)
    )
    return ApiError(415, "UnsupportedMediaType", message, {})


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def forbidden(kind: Kind, name: str, why: str) -> ApiError:
    subject = f'{kind.qualified} "{name}"' if name else kind.qualified
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", _details(kind, name))


def unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message)


HOOK = 'webhook "policy.example.com"'
# What the API server says where a webhook denies, with and without a reason of its own, or is away.
WEBHOOKS = {
    "webhook": (f"admission {HOOK} denied the request: not like that", None),
    "webhook-silent": (f"admission {HOOK} denied the request without explanation", None),
    "webhook-down": (
        (
            f"Internal error occurred: failed calling {HOOK}: failed to call webhook: Post "
            '"https://policy.example.com/?timeout=2s": context deadline exceeded'
        ),
        "InternalError",
    ),
}


def of_webhook(status: int, cause: str) -> Object:
    """A Status as upstream has it: without a reason where the webhook gave none."""
    message, reason = WEBHOOKS[cause]
    return ApiError(status, reason or "", message).status()


@contextmanager
def decoding(kind: Kind) -> Iterator[None]:
    """Raises 400 for what is read in here: objects are read as they come, and one whose fields
    have other types than its kind's is a 400."""
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        raise bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: a field'
            " is missing or not of its type"
        ) from error
