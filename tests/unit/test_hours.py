"""Windows in the file: what may be written, who has them, and what is found and asked of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation.config import kept, parse
from rotation.config.check import check
from rotation.decisions.due import due, in_window
from rotation.decisions.windows import Blackout, Hours, Window
from rotation.front import api, starting
from rotation.front.credentials import look
from rotation.front.problems import Problem
from rotation.model import wire
from rotation.model.activities import Planned, Reference
from rotation.model.catalogue import Origin
from rotation.model.errors import ConfigurationError
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.pages.views import headline, troubles
from rotation.steps import doctor, world
from rotation.steps.planning import plan
from rotation.steps.running import Step
from rotation.steps.windows import window
from rotctl import words
from tests.memory import MemoryEdges
from tests.memory.clock import START
from tests.memory.world import LEFT
from tests.unit.people import FakeClient, record, shown
from tests.unit.test_cancelling import ENDED, page_of, posted, site
from tests.unit.test_check import written
from tests.unit.test_config import CREDENTIAL, VALID, changed
from tests.unit.test_pages import Site, visible

if TYPE_CHECKING:
    from pathlib import Path

    from rotation.config import Configuration

NAME = "orders-db"
NIGHT = {"days": ["mon", "fri"], "from": "22:00", "to": "04:00", "zone": "Europe/Berlin"}
NIGHTS = Window(frozenset({0, 4}), 22 * 60, 4 * 60, "Europe/Berlin")
SHUT = {"from": "2027-03-01", "to": "2027-03-30", "zone": "UTC"}
SPRING = Blackout(date(2027, 3, 1), date(2027, 3, 30), "UTC")
UNTIL = "until Mon 1 Mar 2027, 22:00 Europe/Berlin"
OPENS = datetime(2027, 3, 1, 21, tzinfo=UTC)


def file(**changes: Any) -> Configuration:
    return parse(yaml.safe_dump(changed(*((f"{CREDENTIAL}.{k}", v) for k, v in changes.items()))))


def hours(configuration: Configuration, name: str = NAME) -> Hours:
    return configuration.credential(name).hours


# -- the file


def test_windows_and_blackouts_of_a_credential() -> None:
    found = file(windows=[NIGHT], blackouts=[SHUT, {"from": "2027-05-01", "zone": "UTC"}])
    may = date(2027, 5, 1)
    assert hours(found) == Hours((NIGHTS,), (SPRING, Blackout(may, may, "UTC")))
    again = kept.read(kept.keep(found, NAME))
    assert again.credential(NAME) == found.credential(NAME)


def test_without_any_there_are_none() -> None:
    assert not hours(parse(yaml.safe_dump(VALID)))


def test_times_and_dates_need_no_quotes() -> None:
    """YAML 1.1 would have made a number of base 60 of 22:00, and makes a date of a date."""
    text = yaml.safe_dump(VALID)
    text += "windows: [{days: [mon, fri], from: 22:00, to: 04:00, zone: Europe/Berlin}]\n"
    text += "blackouts: [{from: 2027-03-01, to: 2027-03-30, zone: UTC}]\n"
    assert hours(parse(text)) == Hours((NIGHTS,), (SPRING,))


def test_a_credential_has_its_own_in_the_place_of_those_of_its_file() -> None:
    credentials = changed()["credentials"]
    assert hours(parse(yaml.safe_dump({**VALID, "windows": [NIGHT]}))) == Hours((NIGHTS,))
    credentials = {NAME: {**credentials[NAME], "windows": []}}
    own = {**VALID, "credentials": credentials, "windows": [NIGHT], "blackouts": [SHUT]}
    assert hours(parse(yaml.safe_dump(own))) == Hours((), (SPRING,))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"days": ["monday"]}, "Input should be 'mon'"),
        ({"days": []}, "at least 1 item"),
        ({"from": "25:00"}, "'25:00' is not a time of day: write for example 22:00 or 04:30"),
        ({"from": "9:00"}, "'9:00' is not a time of day"),
        ({"from": 22}, "22 is not a time of day"),
        ({"from": "24:00"}, "`from` cannot be 24:00"),
        ({"to": "22:00"}, "`from` and `to` are both 22:00: write 00:00 to 24:00 for days"),
        ({"zone": "Mars/Olympus"}, "'Mars/Olympus' is no time zone of the tz database"),
        ({"zone": "localtime"}, "is no time zone"),
        ({"zone": "../../etc/passwd"}, "is no time zone"),
        ({"zone": "posix/Europe/Berlin"}, "is no time zone"),
        ({"zone": "Europe"}, "is no time zone"),
        ({"zone": None}, "should be a valid string"),
        ({"until": "04:00"}, "there is no such key here; is it `to`?"),
    ],
)
def test_a_bad_window(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        file(windows=[{**NIGHT, **change}])
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("shut", "problem"),
    [
        ({**SHUT, "to": "2027-02-28"}, "to: must not be before `from`"),
        (
            {**SHUT, "from": "2027-02-30"},
            "'2027-02-30' is not a date: write for example 2026-12-24",
        ),
        ({**SHUT, "from": "Christmas"}, "is not a date"),
        ("2027-03-01", "must be a mapping"),
        ({"from": "2027-03-01"}, "zone: is missing"),
    ],
)
def test_a_bad_blackout(shut: object, problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        file(blackouts=[shut])
    assert problem in str(refused.value)


def test_retiring_in_a_window_needs_one() -> None:
    with pytest.raises(ConfigurationError, match="retireIn"):
        file(retireIn="window")
    assert file(retireIn="window", windows=[NIGHT]).credential(NAME).retire_in == "window"


def test_a_file_that_leaves_no_time_is_refused_and_still_read(tmp_path: Path) -> None:
    """The app does not stop for a date that has come."""
    shut = [{"from": "2027-01-01", "to": "2028-12-31", "zone": "UTC"}]
    name = written(tmp_path, changed((f"{CREDENTIAL}.blackouts", shut)))
    (found,) = check(name, now=START).errors
    assert found.path == f"{CREDENTIAL}.blackouts"
    assert found.text == "they leave no time in the next 400 days in which a rotation may begin"
    assert check(name, now=START - timedelta(days=200)).valid
    assert hours(file(blackouts=shut))


def test_what_is_at_the_top_is_said_once(tmp_path: Path) -> None:
    shut = [{"from": "2027-01-01", "to": "2028-12-31", "zone": "UTC"}]
    found = check(written(tmp_path, {**VALID, "blackouts": shut}), now=START).errors
    assert [one.path for one in found] == ["blackouts"]


@pytest.mark.parametrize(("until", "warned"), [("22:05", True), ("22:20", False)])
def test_a_window_that_is_shorter_than_pods_may_take_is_warned_of(
    tmp_path: Path, until: str, warned: bool
) -> None:
    short = [{**NIGHT, "to": until}]
    found = check(written(tmp_path, changed((f"{CREDENTIAL}.windows", short))), now=START)
    assert ("windows" in {one.path.rpartition(".")[2] for one in found.findings}) is warned


# -- the activity


def asked(entry: Configuration, today: object, at: datetime = START) -> dict[str, Any]:
    """What the activity answers that goes on with an entry, where the file says something else, or
    cannot be used."""
    edges: Any = Deployed(MemoryEdges(entry), today)
    reference = Reference(
        rotation="r-1", credential=NAME, at=wire.moment(at), entry=kept.keep(entry, NAME)
    )
    return wire.value_of(window(Step(edges, reference)))


class Deployed:
    """Edges with the file of today."""

    def __init__(self, edges: MemoryEdges, today: object) -> None:
        self._edges, self._today = edges, today

    @property
    def configuration(self) -> object:
        if isinstance(self._today, ConfigurationError):
            raise self._today
        return self._today

    def planned(self, configuration: Configuration) -> MemoryEdges:
        assert configuration == self._edges.configuration
        return self._edges


def test_it_answers_by_the_moment_that_it_is_asked_of() -> None:
    nightly = file(windows=[NIGHT])
    closes = wire.moment(OPENS + timedelta(hours=6))
    expected = {"opens": wire.moment(OPENS), "closes": closes, "words": UNTIL[6:]}
    assert asked(nightly, nightly) == expected
    assert asked(nightly, nightly, OPENS + timedelta(hours=1))["opens"] == wire.moment(
        OPENS + timedelta(hours=1)
    )


def test_it_goes_by_the_file_of_now_and_by_the_entry_without_one() -> None:
    nightly, other = file(windows=[NIGHT]), changed()
    credentials = {"else-db": other["credentials"][NAME]}
    gone = parse(yaml.safe_dump({**other, "credentials": credentials}))
    broken = ConfigurationError("credentials.yaml", ["it is wrong"])
    assert asked(nightly, file())["opens"] == wire.moment(START)
    assert asked(nightly, gone)["opens"] == wire.moment(OPENS)
    assert asked(nightly, broken)["opens"] == wire.moment(OPENS)


# -- the plan


def planned(configuration: Configuration, **request: Any) -> Planned:
    wanted = Request(
        rotation="r-1", credential=NAME, requested_by="a@b.example", reason="", **request
    )
    reference = Reference(rotation="r-1", credential=NAME, request=wanted)
    return plan(Step(MemoryEdges(configuration), reference))


def test_a_plan_says_whether_it_keeps_to_windows() -> None:
    nightly = file(windows=[NIGHT], retireIn="window", rotateBefore="80d")
    for origin in (Origin.MANUAL, Origin.SWEEP):
        policy = planned(nightly, origin=origin).policy
        assert policy is not None
        assert (policy.windows, policy.retire_in_window) == (True, True)
    told = planned(nightly, origin=Origin.MANUAL, outside_window="it is out").policy
    assert told is not None
    assert (told.windows, told.retire_in_window) == (False, False)
    # Nobody asks so but by hand, whatever stands in the task hub.
    policy = planned(nightly, origin=Origin.SWEEP, outside_window="it is out").policy
    assert policy is not None
    assert policy.windows
    without = planned(file(), origin=Origin.MANUAL).policy
    assert without is not None
    assert not without.windows


def test_a_plan_says_by_when_its_window_must_open() -> None:
    expires = START + LEFT
    assert planned(file(), origin=Origin.MANUAL).latest == wire.moment(
        expires - timedelta(minutes=10)
    )


# -- what is found


def found(configuration: Configuration) -> list[str]:
    edges = MemoryEdges(configuration)
    seen = world.show(edges, NAME, configuration.credential(NAME))
    return [one.text for one in seen.findings if one.code == Code.EXPIRES_BEFORE_WINDOW]


def test_what_would_expire_before_its_window_is_told_as_soon_as_it_is_so() -> None:
    last = (START + LEFT + timedelta(days=3)).date()
    assert found(file(windows=[NIGHT])) == []
    early = file(blackouts=[{"from": "2027-03-02", "to": str(last), "zone": "UTC"}])
    assert found(early) == []  # it is due now, and open
    due = START + LEFT - timedelta(days=5)
    shut = {"from": f"{due:%F}", "to": str(last), "zone": "UTC"}
    (text,) = found(file(blackouts=[shut], rotateBefore="4d"))
    assert f"expires on {START + LEFT:%F}" in text
    assert "the first window is " in text
    never = {**shut, "to": "2029-01-01"}
    (text,) = found(file(blackouts=[never], rotateBefore="4d"))
    assert "no window opens in the next 400 days from when it is due" in text


def test_a_dry_run_says_that_it_would_wait() -> None:
    configuration = file(windows=[NIGHT])
    edges = MemoryEdges(configuration)
    asked_by = Request(
        rotation="r", credential=NAME, origin=Origin.MANUAL, requested_by="a@b", reason=""
    )
    credential = configuration.credential(NAME)
    dry = doctor.examine(edges, NAME, credential, asked_by)
    texts = [one.text for one in dry.findings if one.code == Code.WINDOW_CLOSED]
    assert texts == [f"it is outside its windows: it would wait, {UNTIL}"]
    edges.clock.now = OPENS
    dry = doctor.examine(edges, NAME, credential, asked_by)
    assert Code.WINDOW_CLOSED not in {one.code for one in dry.findings}


def test_when_it_is_due_says_in_which_window() -> None:
    now = START
    when = due("s", now + timedelta(days=60), timedelta(days=30), now)
    told = in_window(when, Hours((NIGHTS,)), now).text
    assert told.endswith("Then it begins in a window, from Fri 2 Apr 2027, 22:00 Europe/Berlin.")
    assert in_window(when, Hours(), now) == when
    never = Hours((), (Blackout(date(2027, 1, 1), date(2029, 1, 1), "UTC"),))
    assert in_window(when, never, now).text.endswith("none opens within 400 days.")


# -- what is asked for, and shown


@pytest.mark.parametrize("why", ["", "  ", None, 7, "x" * 501, "two\nlines"])
def test_a_start_outside_gives_a_reason(why: object) -> None:
    with pytest.raises(Problem) as refused:
        starting.outside_window({"outsideWindow": why})
    assert refused.value.status == 400
    assert starting.outside_window({}) is None
    assert starting.outside_window({"outsideWindow": " it is out "}) == "it is out"


def test_the_reason_is_in_the_request() -> None:
    hub: Any = FakeClient(record(outcome="completed", outcomeReason="x", approval=None))
    document = {"credential": NAME, "by": "a@b.example", "outsideWindow": "the password is out"}
    answer = asyncio.run(api.start(MemoryEdges(file(windows=[NIGHT])), hub, document))
    assert answer.status_code == 202
    (request,) = hub.started
    assert request["outsideWindow"] == "the password is out"


WAITS = {"before": "stage", "opens": wire.moment(OPENS), "text": UNTIL}


def test_a_page_says_until_when_it_waits_and_asks_nothing() -> None:
    waiting = record(stage="plan", approval=None, window=WAITS, active=None, standby=None)
    found = headline(shown(**waiting))
    assert (found.tone, found.title) == ("calm", f"Waits for its window, {UNTIL}")
    assert found.ask == "Nothing is asked of you."
    assert words.headline(waiting).text == found.title
    page = visible(Site("key", FakeClient(waiting)).ask())
    assert found.title in page


def test_a_page_says_why_it_waits_for_none() -> None:
    outside = record()
    outside["request"] = {**outside["request"], "outsideWindow": "the <password> is out"}
    answer = Site("key", FakeClient(outside)).ask()
    assert "the <password> is out" in visible(answer)
    assert "the &lt;password&gt; is out" in answer.get_body().decode()


@pytest.mark.parametrize("windows", [[], [NIGHT]])
def test_the_form_that_starts_one_again_asks_why_where_there_are_windows(windows: Any) -> None:
    found = site("entra", **ENDED, outcome="aborted", outcomeReason="x")
    credential = found.edges.configuration.credential(NAME)
    has = file(windows=windows).credential(NAME).windows
    changed_ = {NAME: credential.model_copy(update={"windows": has})}
    configuration = found.edges.configuration.model_copy(update={"credentials": changed_})
    found.edges.configuration = configuration
    assert ('name="outsideWindow"' in page_of(found, "again")) is bool(windows)
    assert posted(found, "again", outsideWindow=" the password  is out ").status_code == 303
    (request,) = found.client.started
    assert request["outsideWindow"] == "the password is out"


def test_without_a_reason_in_the_form_it_waits() -> None:
    found = site("entra", **ENDED, outcome="aborted", outcomeReason="x")
    assert posted(found, "again").status_code == 303
    assert found.client.started[0]["outsideWindow"] is None


def test_the_overview_has_among_what_needs_somebody_what_expires_before_its_window() -> None:
    due = START + LEFT - timedelta(days=5)
    shut = {"from": f"{due:%F}", "to": f"{START + LEFT + timedelta(days=3):%F}", "zone": "UTC"}
    edges = MemoryEdges(file(blackouts=[shut], rotateBefore="4d"))
    (trouble,) = troubles([look(edges, NAME, None)], [], START)
    assert (trouble.tone, trouble.title) == ("ask", "its secret expires before its window")
