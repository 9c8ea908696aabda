"""What Blob Storage refuses, in its own XML.

Reference: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from aiohttp import web

from local.faults import check_cause


class BlobError(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def answer(self) -> web.Response:
        text = (
            '<?xml version="1.0" encoding="utf-8"?><Error>'
            f"<Code>{self.code}</Code><Message>{escape(self.message)}</Message></Error>"
        )
        headers = {"x-ms-error-code": self.code}
        return web.Response(
            text=text, status=self.status, headers=headers, content_type="application/xml"
        )


def no_container() -> BlobError:
    return BlobError(404, "ContainerNotFound", "The specified container does not exist.")


def no_blob() -> BlobError:
    return BlobError(404, "BlobNotFound", "The specified blob does not exist.")


def bad_value(name: str) -> BlobError:
    text = f"The value for one of the HTTP headers, {name}, is not in the correct format."
    return BlobError(400, "InvalidHeaderValue", text)


# Why an account answers 403, by code; the messages are shortened.
FORBIDDEN = {
    "AuthenticationFailed": "Server failed to authenticate the request.",
    "AuthorizationFailure": "This request is not authorized to perform this operation.",
    "AuthorizationPermissionMismatch": (
        "This request is not authorized to perform this operation using this permission."
    ),
}


def ordered(status: int, cause: str | None) -> web.Response:
    """The answer of a failure that a test ordered; `cause` is the code of a 403."""
    check_cause(cause, FORBIDDEN)
    if cause is not None:
        return BlobError(status, cause, FORBIDDEN[cause]).answer()
    code = {503: "ServerBusy", 429: "ServerBusy"}.get(status, "InternalError")
    return BlobError(status, code, "This failure was ordered.").answer()
