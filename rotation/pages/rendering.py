"""HTML responses, with headers that let a page do no more than it needs to."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.functions as func

from rotation.pages import guides, wording

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from jinja2 import Environment

ROOT = Path(__file__).resolve().parent
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Ccircle cx='5' cy='8' r='5' fill='%232f6fde'/%3E"
    "%3Ccircle cx='11' cy='8' r='5' fill='%231f9d63' fill-opacity='.85'/%3E%3C/svg%3E"
)


def page(
    template: str,
    status: int,
    now: datetime,
    set_cookie: str | None = None,
    retry: Mapping[str, str] | None = None,
    **context: Any,
) -> func.HttpResponse:
    """The HTML response of a template. Relative times on the page count from `now`; `retry` is a
    header that says when to come again."""
    body = _environment().get_template(template).render(now=now, icon=ICON, **context)
    headers = {**_headers(), **(retry or {})}
    headers |= {"Set-Cookie": set_cookie} if set_cookie else {}
    return func.HttpResponse(body, status_code=status, mimetype="text/html", headers=headers)


def see_other(location: str) -> func.HttpResponse:
    """A response that sends the browser to another page, so that a reload repeats no decision."""
    return func.HttpResponse("", status_code=303, headers={**_headers(), "Location": location})


@cache
def _environment() -> Environment:
    # Few of an app's processes ever render a page: only those pay for the template engine.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - see above
    from markupsafe import Markup  # noqa: PLC0415 - see above

    environment = Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": wording.clock,
        "count": wording.count,
        "code_link": guides.code_link,
        "remedy": guides.remedy,
    }
    # The files are ours, and inside these elements HTML knows no escapes.
    environment.globals["style"] = Markup(_asset("page.css"))  # noqa: S704
    environment.globals["script"] = Markup(_asset("page.js"))  # noqa: S704
    return environment


@cache
def _asset(name: str) -> str:
    return (ROOT / "static" / name).read_text(encoding="utf-8")


@cache
def _headers() -> dict[str, str]:
    """The headers of every page. Style and script stand in it and are allowed by their digests."""
    policy = [
        "default-src 'none'",
        f"style-src {_digest('page.css')}",
        f"script-src {_digest('page.js')}",
        "img-src data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
    return {
        "Content-Security-Policy": "; ".join(policy),
        # With none, browsers send `Origin: null` with a form, and the platform refuses that.
        "Referrer-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-store",
    }


def _digest(name: str) -> str:
    digest = hashlib.sha256(_asset(name).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
