"""What a person does on the pages, in a real browser against the real app."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from local import world
from tests.e2e import site
from tests.e2e.test_cancel import no_more_pods

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from local.stack import Stack

    Open = Callable[..., Page]

pytestmark = [pytest.mark.timeout(240), pytest.mark.long]  # those on models are in `make test`

ADA, GRACE = world.APPROVERS
SOON = 40_000  # milliseconds
LATER = 90_000
PHONE = {"viewport": {"width": 320, "height": 640}}

# Every visible text that has less contrast to its ground than WCAG AA asks for (4.5 to 1).
FAINT = """() => {
  const channel = c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const rgba = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const words = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!words || !element.checkVisibility() || element.matches("noscript, :disabled")) continue;
    const [a, b] = [rgba(getComputedStyle(element).color), ground(element)].map(light);
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(2)} ${element.textContent.trim()}`);
  }
  return faint;
}"""

# Form controls without a name that a screen reader could say.
NAMELESS = """() => [...document.querySelectorAll("input:not([type=hidden]), textarea, button, a")]
  .filter(e => !(e.labels?.length || e.textContent.trim() || e.getAttribute("aria-label")))
  .map(e => e.outerHTML)"""


def with_key(app: Stack, path: str) -> str:
    return f"/api/pages{path}?code={app.keys['function']}"


def headline(page: Page) -> Any:
    return page.get_by_role("heading", level=1)


def leave(page: Page) -> None:
    """Ends a page's own requests, since each ignores the others' sign-in.

    Not by `close`: Chromium acknowledges that without doing it for a page that is just loading
    itself anew, as these do after a decision, and Playwright waits for ever (playwright#42366).
    """
    page.goto("about:blank")


def test_progress_is_live_and_an_approval_by_form_is_carried_out(app: Stack, visit: Open) -> None:
    overview = visit(with_key(app, ""))
    expect(headline(overview)).to_contain_text("needs you")
    answer = app.client.api("POST", "/rotations", {"credential": world.CREDENTIAL, "by": GRACE})
    page = visit(with_key(app, f"/rotations/{answer.json['rotation']}"))

    # Neither page is reloaded by the test from here on.
    expect(headline(page)).to_have_text("Waiting for your decision", timeout=LATER)
    expect(headline(overview)).to_have_text("1 rotation needs you", timeout=SOON)
    expect(page.get_by_text("tests passed through production")).to_be_visible()
    expect(page.get_by_role("table", name="Database sessions")).to_contain_text("orders-api")

    page.get_by_label("Your mail address").fill(ADA)
    page.get_by_label("Comment").fill("seen on the page")
    page.get_by_label("Your mail address").press("Enter")  # which presses the first button
    expect(page.get_by_role("heading", name="Approve?")).to_be_visible()
    expect(page.get_by_text("This cannot be undone.")).to_be_visible()
    assert app.client.rotation(answer.json["rotation"])["decision"] is None
    page.get_by_role("button", name="Yes, approve").click()
    decision = page.get_by_role("region", name="Decision")
    expect(decision).to_contain_text(f"Approved by {ADA}")
    expect(decision).to_contain_text("seen on the page")
    expect(headline(page)).to_contain_text("Done:", timeout=LATER)
    expect(decision).to_contain_text("On this evidence")
    expect(headline(overview)).to_have_text("Nothing needs you", timeout=SOON)


def test_a_link_rejects_with_a_comment_by_keyboard_and_without_javascript(
    app: Stack, visit: Open
) -> None:
    rotation = site.asked(app, by=GRACE)
    link = site.mailed(app, rotation)
    page = visit(link, java_script_enabled=False)
    other = visit(link, refused=True, java_script_enabled=False)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    comment, reject = page.get_by_label("Comment"), page.get_by_role("button", name="Reject")
    comment.focus()
    page.keyboard.type("reporting still needs it")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Approve")).to_be_focused()
    page.keyboard.press("Tab")
    expect(reject).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Yes, reject").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="No, decide nothing")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Decision")).to_contain_text(f"Rejected by {ADA}")
    expect(page.get_by_role("region", name="Decision")).to_contain_text("reporting still needs it")

    # The other window still shows the form.
    other.get_by_role("button", name="Approve").click()
    expect(other.get_by_role("alert")).to_contain_text(f"It was rejected already, by {ADA}")
    assert site.ended(app, rotation)["outcome"] == "rolled-back"
    page.reload()
    expect(headline(page)).to_contain_text("Rolled back")


def test_who_signs_in_with_a_key_cancels_by_form_and_starts_again(app: Stack, visit: Open) -> None:
    with no_more_pods(app):
        answer = app.client.api("POST", "/rotations", {"credential": world.CREDENTIAL, "by": GRACE})
        rotation = answer.json["rotation"]
        page = visit(with_key(app, f"/rotations/{rotation}"))
        page.get_by_role("link", name="Cancel this rotation").click(timeout=SOON)
        assert page.evaluate(FAINT) == []
        assert page.evaluate(NAMELESS) == []
        page.get_by_label("Your mail address").fill(ADA)
        page.get_by_label("Why").fill("the sale")
        page.keyboard.press("Enter")  # a line of the text: Enter alone sends nothing
        button = page.get_by_role("button", name="Cancel the rotation")
        button.click()
        expect(button).to_be_visible()  # until the box is ticked
        page.get_by_label("Stop it and take down what was prepared").check()
        button.click()
        cancelled = page.get_by_role("region", name="Cancelled")
        expect(cancelled).to_contain_text(f"Cancelled by {ADA}", timeout=SOON)
        expect(headline(page)).to_contain_text("Aborted before the swap", timeout=LATER)
    page.get_by_role("link", name="Start again").click()
    page.get_by_label("Your mail address").fill(GRACE)
    page.get_by_label("Why").fill("it is over")
    page.get_by_label("Start it again").check()
    page.get_by_role("button", name="Start again").click()
    expect(page.get_by_text("Started again from")).to_be_visible(timeout=SOON)
    expect(page.get_by_role("link", name=rotation)).to_be_visible()
    again = page.url.partition("/rotations/")[2].partition("?")[0]
    leave(page)
    app.client.reject(again)


@pytest.fixture(scope="module")
def asked(app: Stack) -> str:
    """One rotation that waits, for the tests that only look."""
    return site.asked(app, by=GRACE)


def test_a_typed_comment_survives_while_the_page_lives(app: Stack, visit: Open, asked: str) -> None:
    """It asks for progress every two seconds."""
    page = visit(site.mailed(app, asked))
    page.get_by_label("Comment").fill("half a sent")
    with page.expect_response(lambda answer: "x-live" in answer.request.headers, timeout=SOON):
        pass
    with page.expect_response(lambda answer: "x-live" in answer.request.headers, timeout=SOON):
        pass
    expect(page.get_by_label("Comment")).to_have_value("half a sent")
    expect(page.get_by_role("button", name="Approve")).to_be_enabled()


def test_a_page_that_cannot_reach_the_app_says_so_until_it_can(
    app: Stack, visit: Open, asked: str
) -> None:
    page = visit(site.mailed(app, asked), refused=True)
    lost = page.get_by_text("This page cannot reach the app")
    expect(lost).to_be_hidden()
    page.route("**/*", lambda route: route.abort())
    expect(lost).to_be_visible(timeout=SOON)
    page.unroute_all()
    expect(lost).to_be_hidden(timeout=SOON)
    leave(page)


@pytest.mark.parametrize(("recipient", "life"), [(ADA, -1), (ADA, -10_000)])
def test_an_expired_link_says_so_and_offers_a_new_one_whatever_it_was_for(
    app: Stack, visit: Open, recipient: str, life: int
) -> None:
    link = site.minted(app, "orders-db-20261124T000000-0000", recipient, timedelta(seconds=life))
    page = visit(link, refused=True)
    expect(headline(page)).to_have_text("This link has expired")
    page.get_by_role("button", name="Send a new link").click()
    expect(headline(page)).to_be_focused()
    expect(headline(page)).to_have_text("A new link was asked for")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{}, PHONE], ids=["wide", "phone"])
def test_pages_are_readable_in_light_and_dark_and_on_a_phone(
    app: Stack, visit: Open, asked: str, scheme: str, size: dict[str, Any]
) -> None:
    for path in ("", f"/rotations/{asked}"):
        page = visit(with_key(app, path), color_scheme=scheme, **size)
        assert page.evaluate(FAINT) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(17, 21, 26)") is (scheme == "dark")


def test_pages_speak_to_a_screen_reader(app: Stack, visit: Open, asked: str) -> None:
    for path in ("", f"/rotations/{asked}"):
        page = visit(with_key(app, path))
        assert page.evaluate(NAMELESS) == []
        assert page.get_by_role("main").count() == 1
        assert headline(page).count() == 1
        assert page.evaluate("document.documentElement.lang") == "en"
        # What changes by itself is announced, and only that.
        live = page.locator("[aria-live]")
        expect(live).to_have_count(1)
        expect(live).to_have_attribute("id", "state")
        leave(page)
    link = visit(site.minted(app, asked, ADA, timedelta(hours=1)))
    assert link.evaluate(NAMELESS) == []
    expect(link.get_by_role("region", name="Your decision")).to_be_visible()


def test_a_page_of_another_site_cannot_frame_or_post(app: Stack, visit: Open, asked: str) -> None:
    page = visit(with_key(app, f"/rotations/{asked}"), refused=True)
    target = app.components["host"].url + with_key(app, f"/rotations/{asked}")
    token = page.locator("input[name=token]").input_value()
    page.route(
        "http://evil.example/**",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f'<form method="post" action="{target}"><input name="token" value="{token}">'
            f'<input name="by" value="{ADA}"><button name="decision" value="approve">Win</button>',
        ),
    )
    page.goto("http://evil.example/")
    page.get_by_role("button").click()
    expect(page.get_by_text("This was sent from another site")).to_be_visible()
    assert app.client.rotation(asked)["decision"] is None


def test_somebody_who_is_signed_in_approves(app: Stack, visit: Open, asked: str) -> None:
    """Last here, since it ends the rotation that the others look at."""
    headers = site.sign_in("anna@contoso.example", site.APP_ROLE)
    app.client.reject(asked)
    with site.with_sign_in(app):
        path = f"/api/pages/rotations/{site.asked(app, by=site.OLGA)}"
        reader = visit(path, extra_http_headers=site.sign_in("ben@contoso.example", oid="b" * 36))
        expect(reader.get_by_text("You cannot decide this.")).to_be_visible()
        page = visit(path, extra_http_headers=headers)
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("button", name="Yes, approve").click()
        expect(page.get_by_role("region", name="Decision")).to_contain_text(
            "Approved by anna@contoso.example"
        )
        leave(reader)
        expect(headline(page)).to_contain_text("Done:", timeout=LATER)
        leave(page)
