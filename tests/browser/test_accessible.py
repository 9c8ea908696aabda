"""Everybody can use the pages: axe-core finds nothing, the keyboard alone decides, a phone's width,
forced colours and paper are enough."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from playwright.sync_api import expect

from rotation.model.errors import Denied
from rotation.model.reasons import Code
from rotation.model.waves import WaveLeft
from tests.browser import axe
from tests.browser.served import served
from tests.unit.people import ROTATION, FakeClient, preparing, record
from tests.unit.test_pages import (
    ADDRESS,
    Site,
    both_alive,
    calm,
    expired,
    kept_by_the_store,
    red,
)
from tests.unit.test_wave_pages import NAME
from tests.unit.test_wave_pages import Client as Waves
from tests.unit.test_wave_requests import of as wave_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    Case = tuple[Callable[[], Site], str, Callable[[Page], None] | None]

pytestmark = pytest.mark.timeout(120)

WIDTHS = (320, 1280)
LOOKS: list[dict[str, Any]] = [
    {"color_scheme": "light"},
    {"color_scheme": "dark"},
    {"forced_colors": "active"},
]
PAGE = f"/api/pages/rotations/{ROTATION}"
FAILED = {"step": "prepare", "since": "2026-11-24T02:50:02.000Z", "until": None}
TRYING = {**FAILED, "waits": "the vault does not answer", "attempt": 2}
NEXT = {"nextTry": "2026-11-24T03:01:00.000Z"}
WHY = {"code": "workloads-disagree", "text": "they differ", "remedy": "move traffic", "object": "x"}


def of(**changes: Any) -> Callable[[], Site]:
    return lambda: Site("entra", FakeClient(record(**changes)))


def at(stage: str, **changes: Any) -> Callable[[], Site]:
    return of(stage=stage, approval=None, **changes)


def ended(outcome: str) -> Callable[[], Site]:
    return at("done", outcome=outcome, outcomeReason="it is so", reasons=[WHY])


def against(way: str) -> Callable[[], Site]:
    def made() -> Site:
        site = Site(way)
        red(site)
        return site

    return made


def rich() -> Site:
    """A rotation of which there is everything to say."""
    waiver = {"code": "templates-differ", "text": "they differ", "by": "ada", "via": "file"}
    changes = {
        "waivers": [waiver],
        "changed": ["credentials.orders-db.validity: 90d, now 60d"],
        "releases": [{"code": "release-brought-along", "text": "api: v2", "remedy": ""}],
        "doubts": [WHY],
        "steps": [
            *record()["steps"],
            {**FAILED, "until": "2026-11-24T02:51:00.000Z", "failure": "its pods do not start"},
        ],
        "approval": {**record()["approval"], "overdue": True, "ignored": ["too late"]},
    }
    site = Site("entra", FakeClient(record(**changes)))
    red(site)
    return site


WAIT = {**record()["approval"], "event": "before-1"}
LET = {"decision": "approve", "by": "ada@x", "channel": "page", "comment": "go", "id": "1"}
LOOKED = {"at": "2026-11-24T02:56:00.000Z", "limit": "above 10", "known": True, "beyond": False}
WATCHED = [
    {**LOOKED, "name": "errors", "value": 12.5, "beyond": True, "breach": "errors: 12.5"},
    {**LOOKED, "name": "latency", "value": 0.25},
    {**LOOKED, "name": "orders", "value": None, "problem": "no data"},
    {**LOOKED, "name": "logins", "value": None, "known": False, "problem": "HTTP 503"},
]


def asked_before() -> Site:
    """A rotation that waits for somebody to let traffic move."""
    return Site("entra", FakeClient(record(stage="gate", approval=None, before=WAIT)), gate="both")


def watched() -> Site:
    """One that was let through, and whose owner's values are watched."""
    let = {**LET, "at": "2026-11-24T02:54:00.000Z"}
    over = {**WAIT, "event": None}
    return Site(
        "entra", FakeClient(record(before=over, decidedBefore=let, conditions=WATCHED)), gate="both"
    )


def incident(**changes: Any) -> Callable[[], Site]:
    """An incident that has cut first, with those who were connected."""
    at = "2026-11-24T02:50:03.000Z"
    client = {"client": "203.0.113.9", "state": "active", "since": at}
    users = [{"pid": pid, "application": name, **client} for pid, name in ((7, "psql"), (8, ""))]
    leak = {"slot": "blue", "role": "orders_blue", "version": "v1", "serves": True, "refused": at}
    request = record()["request"] | {
        "requestedBy": "grace@contoso.example",
        "knownAs": ["grace@contoso.example"],
        "objectId": "70c8e6f2-0000-4000-8000-000000000007",
        "signedIn": True,
        "reason": "in the log of build 4711",
        "origin": "manual",
        "compromised": True,
        "cut": "first",
    }
    known = {"leak": {**leak, "connected": users, "sessions": 14, **changes.pop("leak", {})}}
    return of(request=request, **{**known, **changes})


def to_confirm() -> Site:
    asked = record()["approval"] | {"event": "confirmation-1", "confirms": True}
    ended = {"ended": "2026-11-24T02:50:09.000Z"}
    return incident(stage="confirmation", approval=asked, leak=ended)()


def troubled() -> Site:
    site = calm(outcome="aborted")
    site.edges.world.database.roles["orders_green"].login = False
    return site


def refused_of_credential() -> Site:
    site = calm()
    site.edges.world.database.foreign = {"orders_blue", "orders_green"}
    return site


def unseen() -> Site:
    site = both_alive("entra", Code.ROLLING_BACK_FAILED)
    site.edges.calls.failing["database roles"] = Denied(Code.DATABASE_RIGHT, "it refuses us")
    return site


def nobody() -> Site:
    site = Site("entra")
    site.headers = {}
    return site


def with_wave(way: str = "entra", **changes: Any) -> Callable[[], Site]:
    """A wave of which some have ended, some wait, some are left out."""

    def made() -> Site:
        states = ("completed", "aborted", "waiting", "started", "planned")
        wave = wave_of(*("orders-db",) * len(states), reason="the yearly one", **changes)
        wave.members = [
            msgspec.structs.replace(one, state=state, text="it is so")
            for one, state in zip(wave.members, states, strict=True)
        ]
        wave.left = [WaveLeft(credential="web-db", text="not yours")]
        return Site(way, Waves(wave))

    return made


def long_past() -> Site:
    site = Site("key")
    kept_by_the_store(site, 30)
    return site


def chosen(choice: str) -> Callable[[Page], None]:
    def choose(page: Page) -> None:
        if page.get_by_label("Your mail address").count():
            page.get_by_label("Your mail address").fill(ADDRESS)
        page.get_by_role("button", name=choice).click()
        expect(page.get_by_role("heading", name=f"{choice}?")).to_be_visible()

    return choose


def mistyped(page: Page) -> None:
    page.get_by_label("Your mail address").fill("anna@contoso.exmaple")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("do not include anna@contoso.exmaple")


def pressed(button: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("button", name=button).click()


KEY = "?code=the-function-key"
WAVE = f"/api/pages/waves/{NAME}"
CASES: dict[str, Case] = {
    "overview-calm": (calm, "/api/pages", None),
    "overview-waits": (of(), "/api/pages", None),
    "overview-trouble": (troubled, "/api/pages", None),
    "overview-key": (against("key"), f"/api/pages{KEY}", None),
    "credential": (calm, "/api/pages/credentials/orders-db", None),
    "credential-refused": (refused_of_credential, "/api/pages/credentials/orders-db", None),
    "credential-busy": (of(), "/api/pages/credentials/orders-db", None),
    "leaked": (calm, "/api/pages/credentials/orders-db?do=incident", None),
    "leaked-key": (
        lambda: Site("key", FakeClient(record(outcome="completed", approval=None))),
        f"/api/pages/credentials/orders-db{KEY}&do=incident",
        None,
    ),
    "incident-cut": (incident(stage="prepare", approval=None), PAGE, None),
    "incident-confirm": (to_confirm, PAGE, None),
    "incident-confirmed": (to_confirm, PAGE, chosen("Approve")),
    "superseded": (ended("superseded"), PAGE, None),
    "history": (long_past, f"/api/pages/rotations{KEY}", None),
    "waves": (with_wave(), "/api/pages/waves", None),
    "waves-none": (calm, "/api/pages/waves", None),
    "wave": (with_wave(), WAVE, None),
    "wave-cancel": (with_wave(), f"{WAVE}?do=cancel", None),
    "wave-cancel-key": (with_wave("key"), f"{WAVE}{KEY}&do=cancel", None),
    "wave-stopped": (
        with_wave(cancelling=None, phase="stopped", why="the canary failed: orders-db"),
        WAVE,
        None,
    ),
    "queued": (at("queued", active=None, standby=None, workloads={}), PAGE, None),
    "prepare": (lambda: Site("entra", FakeClient(preparing())), PAGE, None),
    "prepare-trying": (
        lambda: Site("entra", FakeClient(preparing(steps=[{**TRYING, **NEXT}]))),
        PAGE,
        None,
    ),
    "cancel": (lambda: Site("entra", FakeClient(preparing())), f"{PAGE}?do=cancel", None),
    "cancel-key": (lambda: Site("key", FakeClient(preparing())), f"{PAGE}{KEY}&do=cancel", None),
    "swap": (at("swap"), PAGE, None),
    "swap-back": (at("swap-back"), PAGE, None),
    "observe": (at("observe"), PAGE, None),
    "evidence": (at("approval"), PAGE, None),
    "retire": (at("retire"), PAGE, None),
    "decision": (of(), PAGE, None),
    "decision-rich": (rich, PAGE, None),
    "decision-before": (asked_before, PAGE, None),
    "approve-before": (asked_before, PAGE, chosen("Approve")),
    "decision-watched": (watched, PAGE, None),
    "decision-key": (against("key"), f"{PAGE}{KEY}", None),
    "decision-mistyped": (against("key"), f"{PAGE}{KEY}", mistyped),
    "decision-barred": (lambda: Site("entra", approvers=["x"]), PAGE, None),
    "approve": (of(), PAGE, chosen("Approve")),
    "approve-doubtful": (against("key"), f"{PAGE}{KEY}", chosen("Approve")),
    "reject": (of(), PAGE, chosen("Reject")),
    "link": (lambda: Site("link"), "link", None),
    "link-expired": (expired, "link", None),
    "link-renewed": (expired, "link", pressed("Send a new link")),
    "link-forged": (lambda: Site("link"), "/api/pages/decision?link=x", None),
    "completed": (ended("completed"), PAGE, None),
    "rolled-back": (ended("rolled-back"), PAGE, None),
    "aborted": (ended("aborted"), PAGE, None),
    "skipped": (ended("skipped"), PAGE, None),
    "refused": (ended("refused"), PAGE, None),
    "again": (ended("aborted"), f"{PAGE}?do=again", None),
    "needs-attention": (
        lambda: both_alive("entra", Code.ROLLING_BACK_FAILED, Code.SLOTS_DISAGREE),
        PAGE,
        None,
    ),
    "needs-attention-unseen": (unseen, PAGE, None),
    "unreadable": (at("of another time"), PAGE, None),
    "recovery": (calm, "/api/pages/guides/recovery", None),
    "recovery-code": (calm, "/api/pages/guides/recovery#code-workloads-disagree", None),
    "not-found": (calm, f"{PAGE}-none", None),
    "no-sign-in": (nobody, PAGE, None),
    "fault": (of(steps=[{"step": "plan", "since": "never", "until": None}]), PAGE, None),
}
# Each has something that no other has: the rest is for `make long`.
FEW = ("decision-mistyped", "needs-attention")


@contextmanager
def opened(browser: Browser, case: Case, **options: Any) -> Iterator[Page]:
    """The page of a case, after its steps."""
    made, path, steps = case
    site = made()
    with served(site) as url:
        context = browser.new_context(base_url=url, **options)
        page = context.new_page()
        link = f"/api/pages/decision?link={site.params.get('link', '')}"
        page.goto(link if path == "link" else path)
        if steps is not None:
            steps(page)
        yield page
        context.close()


def looked_over(browser: Browser, name: str) -> list[str]:
    """What is wrong with a page in each look and width."""
    source, wrong = axe.script(), []
    with opened(browser, CASES[name]) as page:
        page.evaluate(source)
        for look in LOOKS:
            page.emulate_media(**{"color_scheme": None, "forced_colors": None, **look})
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 800})
                at = f"{name}, {next(iter(look.values()))}, {width} px"
                wrong += [f"{at}: {one}" for one in axe.violations(page)]
                if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                    wrong.append(f"{at}: it scrolls sideways")
    return wrong


@pytest.mark.parametrize("name", FEW)
def test_nothing_keeps_anybody_out_of_the_pages_that_have_most(browser: Browser, name: str) -> None:
    assert looked_over(browser, name) == []


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(CASES.keys() - set(FEW)))
def test_nothing_keeps_anybody_out(browser: Browser, name: str) -> None:
    assert looked_over(browser, name) == []


def test_axe_notices_what_would_keep_somebody_out(browser: Browser) -> None:
    source = axe.script()
    with opened(browser, CASES["overview-calm"]) as page:
        page.evaluate(source)
        page.evaluate("document.querySelector('main').append(document.createElement('input'))")
        assert any(one.startswith("label:") for one in axe.violations(page))


# -- by keyboard alone


FOCUSED = """() => {
  const [e, style] = [document.activeElement, getComputedStyle(document.activeElement)];
  return [(e.labels?.[0] || e).textContent.trim().replace(/\\s+/g, " "),
    style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
}"""


def focus(page: Page) -> str:
    """The words of what has the focus, which can be seen."""
    words, visible = page.evaluate(FOCUSED)
    assert visible, f"nobody sees that this has the focus: {words}"
    return str(words)


def tabbed_to(page: Page, words: str) -> None:
    """Presses Tab until what begins with these words has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if focus(page).startswith(words):
            return
    raise AssertionError(f"Tab does not lead to {words!r}")


def test_the_keyboard_alone_decides_and_enter_in_the_name_never_does(browser: Browser) -> None:
    site = Site("key")
    with opened(browser, (lambda: site, f"{PAGE}{KEY}", None)) as page:
        tabbed_to(page, "Skip to the content")
        page.keyboard.press("Enter")
        tabbed_to(page, "Your mail address")
        page.keyboard.type("anna@contoso.exmaple")
        page.keyboard.press("Enter")
        # The focus is on what went wrong, and what was typed is still there.
        page.wait_for_function("document.activeElement.matches('[role=alert]')")
        assert "do not include anna@contoso.exmaple; those who can be named are" in focus(page)
        tabbed_to(page, "Your mail address")
        page.keyboard.press("Control+A")
        page.keyboard.type(ADDRESS)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Approve?")).to_be_focused()
        assert site.untouched
        tabbed_to(page, "Yes, approve")
        page.keyboard.press("Enter")
        expect(page.get_by_role("region", name="Decision")).to_contain_text("Approved by")
    assert [event["by"] for _, event in site.client.raised] == [ADDRESS]


def test_red_evidence_is_acknowledged_by_keyboard_and_never_passed_over(browser: Browser) -> None:
    site = against("entra")()
    with opened(browser, (lambda: site, PAGE, None)) as page:
        tabbed_to(page, "Approve")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Approve?")).to_be_focused()
        tabbed_to(page, "Yes, approve")
        page.keyboard.press("Enter")  # the browser asks for the box
        assert site.untouched
        tabbed_to(page, "No, decide nothing")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        assert focus(page).startswith("I have seen what speaks against it")
        page.keyboard.press("Space")
        tabbed_to(page, "Yes, approve")
        page.keyboard.press("Enter")
        expect(page.get_by_role("region", name="Decision")).to_contain_text("Approved by")


def test_what_scrolls_and_what_was_pressed_can_be_seen_in_forced_colours(browser: Browser) -> None:
    with opened(browser, (against("key"), f"{PAGE}{KEY}", None), forced_colors="active") as page:
        for words in ("Skip to the content", "Your mail address", "Approve", "Reject"):
            tabbed_to(page, words)


# -- times, and paper


def test_times_are_in_utc_with_the_readers_own_beside_them(browser: Browser) -> None:
    with opened(browser, (of(), "/api/pages", None), timezone_id="Asia/Tokyo") as page:
        since = page.locator("#state time")
        expect(since).to_have_text("02:55:00 UTC (11:55 GMT+9)")
        expect(since).to_have_attribute("datetime", "2026-11-24T02:55:00.000Z")
    with opened(browser, (of(), "/api/pages", None), timezone_id="America/New_York") as page:
        expect(page.locator("#state time")).to_have_text("02:55:00 UTC (23 Nov 2026, 21:55 GMT-5)")
    with opened(browser, (of(), "/api/pages", None), timezone_id="UTC") as page:
        expect(page.locator("#state time")).to_have_text("02:55:00 UTC")


@pytest.mark.long
def test_a_live_page_keeps_its_local_times_and_what_it_did_not_look_at(browser: Browser) -> None:
    """A live look of the overview has seen no credential: its first line stays."""
    site = calm()
    with opened(browser, (lambda: site, "/api/pages", None), timezone_id="Asia/Tokyo") as page:
        page.evaluate("document.querySelector('main').dataset.seen = 'yes'")
        with page.expect_response(lambda one: "x-live" in one.request.headers, timeout=40_000):
            pass
        expect(page.get_by_role("heading", level=1)).to_have_text("Nothing needs you")
        expect(page.locator("#history time")).to_contain_text("GMT+9")


def test_paper_has_the_evidence_and_no_forms_and_is_white(browser: Browser) -> None:
    with opened(browser, (rich, PAGE, None), color_scheme="dark") as page:
        page.emulate_media(media="print")
        assert page.locator("form").first.is_hidden()
        expect(page.get_by_role("table", name="Database sessions")).to_be_visible()
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert page.pdf()[:5] == b"%PDF-"


def test_no_state_of_a_step_is_told_by_its_colour_alone(browser: Browser) -> None:
    sign = """e => getComputedStyle(e, '::before').content.replace(/[ /"]/g, "")"""
    with opened(browser, (rich, PAGE, None)) as page:
        signs = {
            state: {one.evaluate(sign) for one in page.locator(f".steps li.{state}").all()}
            for state in ("done", "failed", "waiting", "ahead")
        }
    assert signs == {"done": {"✓"}, "failed": {"✗"}, "waiting": {"?"}, "ahead": {""}}
