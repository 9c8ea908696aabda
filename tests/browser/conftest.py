"""A browser, and the app with signed links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import chromium
from tests.e2e import site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

    from local.stack import Stack

    Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the session: Playwright's event loop would run on under the tests after these."""
    path = chromium.executable()
    if path is None:
        pytest.skip("no Chromium on the path: apt-get install chromium")
    with chromium.launched(path) as found:
        yield found


@pytest.fixture(scope="module")
def app(browser: Browser, shared_stack: Stack) -> Iterator[Stack]:
    """Starts only where there is a browser; no rotation is under way then."""
    shared_stack.faults.restore()
    with site.with_links(shared_stack) as stack:
        yield stack


@pytest.fixture
def visit(browser: Browser, app: Stack) -> Iterator[Open]:
    """Opens a path in a browser of its own. A page that complains on its console fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def visit(path: str, *, refused: bool = False, **options: Any) -> Page:
        """`refused`: the answer is an error on purpose, which the console reports."""
        context = browser.new_context(base_url=app.components["host"].url, **options)
        contexts.append(context)
        page = context.new_page()
        if not refused:
            page.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []
