"""A real browser that is signed in: our own page decides in it, and no other site does.

The local host refuses what the platform's sign-in refuses. The other site is another name of this
machine, which browsers take for another site.
"""

from __future__ import annotations

import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.browser import chromium
from tests.e2e import site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext

    from local.stack import Stack

ANNA = site.sign_in("anna@contoso.example", site.APP_ROLE)["X-Local-Sign-In"]
FORM = """<form method="post" action="{url}" enctype="{kind}">
<input name='{{"decision": "approve", "comment": "' value='"}}'></form>
<script>document.forms[0].submit()</script>"""
SCRIPT = """<script>
fetch("{url}", {{method: "POST", mode: "no-cors", credentials: "include",
  headers: {{"Content-Type": "text/plain"}}, body: '{{"decision": "approve"}}'}})
  .then(() => document.title = "sent", () => document.title = "failed")
</script>"""


@pytest.fixture
def signed(stack: Stack) -> Iterator[Stack]:
    if chromium.executable() is None:
        pytest.skip("no Chromium on the path: apt-get install chromium")
    with site.with_sign_in(stack) as found:
        yield found


@pytest.fixture
def browser(signed: Stack) -> Iterator[BrowserContext]:
    """With the session's cookie as the platform sets it: it goes along with any site's requests."""
    path = chromium.executable()
    assert path is not None
    with chromium.launched(path) as found:
        context = found.new_context(base_url=signed.components["host"].url)
        context.add_cookies(
            [
                {
                    "name": "LocalSignIn",
                    "value": ANNA,
                    "domain": "127.0.0.1",
                    "path": "/",
                    "secure": True,
                    "httpOnly": True,
                    "sameSite": "None",
                }
            ]
        )
        yield context
        context.close()


class Page(BaseHTTPRequestHandler):
    def __init__(self, text: str, *args: object) -> None:
        self._text = text.encode()
        super().__init__(*args)  # type: ignore[arg-type] # what the server passes on

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self._text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Says nothing."""


@pytest.fixture
def other_site() -> Iterator[list[str]]:
    """Put the page in, and it is at `http://localhost:<the last item>`."""
    found: list[str] = [""]

    class Served(Page):
        def __init__(self, *args: object) -> None:
            super().__init__(found[0], *args)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Served)
    thread = threading.Thread(target=partial(server.serve_forever, 0.05))
    thread.start()
    found.append(f"http://localhost:{server.server_address[1]}")
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.long
@pytest.mark.guarantee(6)
def test_our_own_page_decides_and_another_site_does_not(
    signed: Stack, browser: BrowserContext, other_site: list[str]
) -> None:
    rotation = site.asked(signed, by=site.OLGA)
    own = signed.components["host"].url
    targets = {
        "decide": f"{own}/api/rotations/{rotation}/approval?code={signed.keys['function']}",
        "page": f"{own}/api/pages/rotations/{rotation}",
    }
    page = browser.new_page()
    seen: list[int] = []
    page.on("response", lambda a: seen.append(a.status) if a.request.method == "POST" else None)
    for url in targets.values():
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            other_site[0] = FORM.format(url=url, kind=kind)
            with page.expect_response(lambda answer: answer.request.method == "POST"):
                page.goto(other_site[1])
        other_site[0] = SCRIPT.format(url=url)
        page.goto(other_site[1])
        page.wait_for_function("document.title != ''")
    assert set(seen) == {403}
    assert signed.client.rotation(rotation)["decision"] is None

    page.goto(f"/api/pages/rotations/{rotation}")
    page.get_by_role("button", name="Reject").click()
    page.get_by_role("button", name="Yes, reject").click()
    page.get_by_role("region", name="Decision").wait_for()
    decision = signed.client.rotation(rotation)["decision"]
    assert (decision["by"], decision["channel"]) == ("anna@contoso.example", "page")
    assert site.ended(signed, rotation)["outcome"] == "rolled-back"
