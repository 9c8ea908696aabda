"""A pair of CronJobs: exchanged by `suspend`, so that no run is done twice, and none is killed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import yaml
from msgspec import structs

from rotation.config import kept, parse
from rotation.config.doubts import doubts
from rotation.decisions.cron_jobs import early
from rotation.decisions.plan import Refuse, Rotate
from rotation.model.activities import Reference
from rotation.model.errors import Conflict, Unavailable
from rotation.model.reasons import Code
from rotation.model.world import SLOTS, CronJob, Drift, Maker, Route, Slot, StartedJob, other
from rotation.pages.views import points
from rotation.steps import pods, proving
from rotation.steps.running import Step
from rotation.steps.traffic import confirm, swap, swap_back
from rotation.steps.world import look, proved_by_sessions, snapshot
from tests.memory import MemoryEdges
from tests.unit.test_config import VALID, WORKLOAD, changed, credential, problems
from tests.unit.test_plan import decision, workload, world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.memory.cron_jobs import CronJobState

REPORT: dict[str, Any] = {
    **VALID["credentials"]["orders-db"]["workloads"][0],
    "name": "report",
    "service": "report",
    "cronJobs": {"blue": "report-blue", "green": "report-green"},
}
del REPORT["preview"], REPORT["tests"], REPORT["deployments"]
FILE = changed((WORKLOAD.replace("0", "1"), REPORT))


# -- the file


def test_a_workload_may_have_cron_jobs_in_place_of_deployments() -> None:
    (found,) = credential((WORKLOAD, REPORT)).workloads
    assert (found.standby, found.stops, found.deployments) == (None, False, {})
    assert str(found.cron_job("green")) == "orders/report-green"
    configuration = parse(yaml.safe_dump(FILE))
    assert kept.read(kept.keep(configuration, "orders-db")) == configuration
    (path,) = [path for path, _ in doubts(parse(yaml.safe_dump(changed((WORKLOAD, REPORT)))))]
    assert path == "credentials.orders-db.approval.approvers"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"deployments": {"blue": "a", "green": "b"}},
            ": give one of `deployments`, `cronJobs`, `inPlace`",
        ),
        ({"cronJobs": {}}, ": give one of `deployments`, `cronJobs`, `inPlace`"),
        ({"preview": "p"}, ": `preview` does not go with `cronJobs`"),
        ({"services": ["s"]}, ": `services` does not go with `cronJobs`"),
        ({"overlap": True}, ": `overlap` does not go with `cronJobs`"),
        ({"template": "sync"}, ": `template: sync` does not go with `cronJobs`: refuse, or warn"),
        (
            {"cronJobs": {"blue": "a"}},
            ".cronJobs: must name one for each of blue and green: green is missing",
        ),
        (
            {"cronJobs": {"blue": "a", "green": "a"}},
            ".cronJobs.green: is the same as credentials.orders-db.workloads.0.cronJobs.blue",
        ),
        (
            {"cronJobs": {"blue": "a" * 53, "green": "b"}},
            "must be a CronJob's name: 1 to 52 lower-case letters",
        ),
    ],
)
def test_what_does_not_go_with_them_is_refused(change: dict[str, Any], problem: str) -> None:
    found = problems(changed((WORKLOAD, {**REPORT, **change})))
    assert any(line.startswith(WORKLOAD) and problem in line for line in found), found


def test_their_swap_needs_time() -> None:
    file = changed((WORKLOAD, REPORT), ("credentials.orders-db.retry", {"patience": "359s"}))
    (found,) = problems(file)
    assert found.startswith("credentials.orders-db: `retry.patience` and `retry.compensation` must")


def test_a_test_with_a_path_needs_what_they_have_not() -> None:
    """And no `preview` is asked for, which would be refused next."""
    tests = [{"sql": "SELECT 1"}, {"path": "/whoami"}]
    (found,) = problems(changed((WORKLOAD, {**REPORT, "tests": tests})))
    assert found.startswith(f"{WORKLOAD}.tests.1.path: does not go with `cronJobs`")


@pytest.mark.parametrize(
    "job", ["report-{slot}", {"cronJobs": {"blue": "report-blue", "green": "check"}}], ids=str
)
def test_a_test_takes_no_cron_job_that_runs_by_schedule(job: object) -> None:
    """What a test is made from is suspended for good."""
    found = problems(changed((WORKLOAD, {**REPORT, "tests": [{"job": job}]})))
    text = f"{WORKLOAD}.tests.0.job: 'report-blue' is {WORKLOAD}.cronJobs.blue, which runs by sche"
    assert found[0].startswith(text)


# -- the plan


def cron_job(slot: Slot, **more: Any) -> CronJob:
    known: dict[str, Any] = {
        "namespace": "orders",
        "name": f"report-{slot}",
        "suspended": slot == "green",
        "deadline": 60,
        "alone": False,
        "images": {"report": "report:1"},
        "version": None,
        "settings": {"schedule": "0 * * * *"},
    }
    return CronJob(**{**known, **more})


BOTH = {slot: cron_job(slot) for slot in SLOTS}
SWITCH = Route("blue", "", headless=True)


def planned(**more: Any) -> Any:
    known: dict[str, Any] = {
        "production": SWITCH,
        "preview": None,
        "deployments": dict.fromkeys(SLOTS),
        "uncalled": True,
        "cron_jobs": BOTH,
    }
    return decision(world(workload("report", **{**known, **more})))


def test_a_whole_pair_rotates() -> None:
    assert planned() == Rotate("blue")


@pytest.mark.parametrize(
    ("slot", "change", "code", "words"),
    [
        ("green", None, Code.CRON_JOB_MISSING, "its green CronJob does not exist"),
        (
            "green",
            {"suspended": False},
            Code.STANDBY_RUNS,
            """cronjob/report-green --type merge --patch '{"spec": {"suspend": true}}'""",
        ),
        (
            "blue",
            {"suspended": True},
            Code.ACTIVE_SUSPENDED,
            """cronjob/report-blue --type merge --patch '{"spec": {"suspend": false}}'""",
        ),
        (
            "green",
            {"deadline": None},
            Code.STARTING_DEADLINE,
            """cronjob/report-green --type merge --patch '{"spec": {"startingDeadlineSec""",
        ),
        ("blue", {"deadline": 301}, Code.STARTING_DEADLINE, "report-blue has 301 of them"),
        ("blue", {"deadline": 29}, Code.STARTING_DEADLINE, "report-blue has 29 of them"),
        (
            "green",
            {"settings": {"schedule": "5 * * * *", "timeZone": "Etc/UTC"}},
            Code.SCHEDULES_DIFFER,
            "report-blue and report-green differ in schedule, timeZone",
        ),
        (
            "green",
            {"images": {"report": "report:1", "side": "side:1"}},
            Code.CONTAINERS_DIFFER,
            "do not have the same containers: side",
        ),
    ],
)
def test_what_is_not_as_it_must_be_is_refused_with_the_command(
    slot: Slot, change: dict[str, Any] | None, code: Code, words: str
) -> None:
    changed_one = None if change is None else replace(BOTH[slot], **change)
    refused = planned(cron_jobs={**BOTH, slot: changed_one})
    assert isinstance(refused, Refuse)
    (why,) = refused.problems
    assert (why.code, why.text.startswith("workload report: ")) == (code, True)
    assert words in why.text


def test_templates_that_differ_are_refused_unless_that_is_only_told() -> None:
    drift = Drift("refuse", ("spec.containers[report].env[LEVEL]",))
    (why,) = planned(drift=drift).problems
    assert why.code == Code.TEMPLATES_DIFFER
    assert why.text.endswith("report-green differ at spec.containers[report].env[LEVEL]")
    assert planned(drift=replace(drift, policy="warn")) == Rotate("blue")


def test_a_service_that_clients_may_call_is_no_switch_of_them() -> None:
    (why,) = planned(production=Route("blue", "http")).problems
    assert why.code == Code.SERVICE_CALLED


def test_pods_of_something_else_that_the_switch_finds_are_named() -> None:
    (why,) = planned(makers={"blue": (Maker("Job", "by-hand"),)}).problems
    assert why.code == Code.OTHER_KIND
    assert why.text.endswith("with blue that are of Job by-hand, and not of its CronJobs")


# -- when a run would be done twice

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("last", "due", "paused", "left"),
    [
        (None, None, None, 0),
        (ago(74), None, None, 1),  # 60 s, and 15 s for clocks
        (ago(75), None, None, 0),
        (ago(3600), ago(10), None, 65),  # its status tells nothing of the last Job yet
        (None, None, ago(4), 6),
        (ago(3600), ago(3000), ago(10), 0),
        (ago(70), None, ago(1), 9),
    ],
)
def test_the_other_one_is_resumed_when_it_would_not_repeat_a_run(
    last: datetime | None, due: datetime | None, paused: datetime | None, left: float
) -> None:
    replaced = cron_job("blue", last=last, paused=paused, suspended=True)
    jobs = [StartedJob("report-blue-1", due, over=True), StartedJob("by-hand", None, over=False)]
    assert early(replaced, jobs, cron_job("green"), NOW) == left


# -- the steps


class World:
    """A web application and a CronJob pair, served by blue; green is up."""

    def __init__(self, active: Slot = "blue", file: dict[str, Any] = FILE) -> None:
        configuration = parse(yaml.safe_dump(file))
        self.edges = MemoryEdges(configuration, active={"orders-db": active})
        self.credential = configuration.credential("orders-db")
        self.edges.world.write(self.credential, other(active), "a password of the slot")
        role = self.edges.world.database.roles[self.credential.slots[other(active)].role]
        role.login, role.password = True, "a password of the slot"
        cluster = self.edges.world.clusters["aks"]
        self.schedules = cluster.schedules
        self.service = cluster.services["orders", "report"]
        cluster.scale(cluster.deployments["orders", f"api-{other(active)}"], 2)
        self.edges.calls.pause(0.0)

    def at(self, name: str) -> CronJobState:
        return self.schedules.found["orders", name]

    @property
    def suspended(self) -> tuple[bool, bool]:
        return self.at("report-blue").suspended, self.at("report-green").suspended

    def step(self, slot: Slot, name: str = "report", **more: Any) -> Step:
        reference = Reference(rotation="r-1", credential="orders-db", workload=name, slot=slot)
        return Step(self.edges, structs.replace(reference, **more))

    def pause(self, seconds: float) -> None:
        self.edges.calls.pause(seconds)
        self.schedules.advance()

    def exchange(self, slot: Slot, *, back: bool = False) -> list[float]:
        """Swaps, as often as is asked for; returns how long was waited for each time."""
        waited = []
        while True:
            try:
                (swap_back if back else swap)(self.step(slot))
            except Unavailable as error:
                if error.code not in {Code.RUN_REPEATS, Code.JOB_RUNS}:
                    raise
                waited.append(error.retry_after or 5.0)
                self.pause(waited[-1])
            else:
                return waited

    @property
    def writes(self) -> list[str]:
        return [what.removeprefix("cluster ").rstrip() for what in self.edges.calls.writes]


@pytest.fixture
def found() -> World:
    return World()


@contextmanager
def holding(found: World, before: str, meanwhile: Callable[[], None]) -> Iterator[None]:
    """Lets something happen right before the change of that name, after all looks for it."""
    original = found.edges.calls.write

    def write(target: str, what: str, effect: Any, change: Any = None) -> Any:
        if what.startswith(before):
            meanwhile()
        return original(target, what, effect, change)

    with mock.patch.object(found.edges.calls, "write", write):
        yield


def test_before_the_swap_the_standby_is_equipped_and_stays_suspended(found: World) -> None:
    found.at("report-blue").images["report"] = "report:2"
    pods.start(found.step("green", version="v2"))
    green = found.at("report-green")
    assert (green.images, green.version, green.suspended) == ({"report": "report:2"}, "v2", True)
    assert pods.await_ready(found.step("green", version="v2")).done
    assert not pods.await_ready(found.step("green", version="v3")).done
    proving.test(found.step("green", through="preview"))
    assert found.writes == ["equip orders/report-green v2"]


def test_one_that_somebody_has_resumed_is_not_equipped(found: World) -> None:
    found.at("report-green").suspended = False
    with pytest.raises(Conflict, match="kubectl patch --namespace orders cronjob/report-green"):
        pods.start(found.step("green", version="v2"))


def test_the_swap_suspends_one_moves_the_switch_and_resumes_the_other(found: World) -> None:
    assert found.exchange("green") == [10.0]
    assert (found.suspended, found.service.slot) == ((True, False), "green")
    assert found.writes == [
        "suspend orders/report-blue",
        "move orders/report slot: blue -> green",
        "resume orders/report-green",
    ]
    assert found.exchange("green") == []  # once more
    assert len(found.writes) == 3


def test_no_run_is_done_twice_and_none_is_left_out(found: World) -> None:
    blue, green = found.at("report-blue"), found.at("report-green")
    blue.period = green.period = 120.0
    found.pause(121.0)  # blue has just run
    (first,) = blue.jobs
    waited = found.exchange("green")
    assert sum(waited) == pytest.approx(74.0, abs=1.0)
    assert green.jobs == []
    found.pause(240.0)
    dues = [job.due for job in (*blue.jobs, *green.jobs)]
    assert len(set(dues)) == len(dues) == 3
    assert blue.jobs == [first]
    assert found.schedules.both == []
    assert found.schedules.refused == []


def test_a_run_that_is_due_during_the_swap_is_made_up_for(found: World) -> None:
    blue, green = found.at("report-blue"), found.at("report-green")
    blue.period = green.period = 3600.0
    found.pause(3595.0)  # one is due in 5 s, and the swap lasts for 10
    assert found.exchange("green") == [10.0]
    assert blue.jobs == []
    (made_up,) = green.jobs
    assert made_up.due is not None
    assert made_up.created - made_up.due == timedelta(seconds=5)


def test_a_job_that_runs_is_not_touched_and_goes_with_its_slot(found: World) -> None:
    blue = found.at("report-blue")
    blue.lasts = 7200.0
    found.pause(100.0)
    job = found.schedules.begin(blue, "report-blue-by-hand")
    found.exchange("green")
    swap(found.step("green", "api"))
    shown = proving.collect(found.edges, found.credential, "green", "r-1")
    assert shown.jobs == {"report": ["report-blue-by-hand"]}
    assert shown.pods["report"] == {"blue": ["report-blue-by-hand-x"], "green": []}
    assert (shown.complete, shown.still_in_use) == (True, [])
    (row,) = [row for row in shown.sessions if row.workload == "report"]
    assert (row.role, row.slot, row.client) == ("orders_blue", "blue", job.address)
    (said,) = [point for point in points(shown, "blue", "orders_blue") if "Job" in point.text]
    assert said.text == "1 Job of blue still running, waited for on approval"
    pods.scale_down(found.step("blue"))
    watched = pods.await_gone(found.step("blue"))
    assert (watched.done, watched.code) == (False, Code.JOBS_LEFT)
    assert watched.observed == "jobs still running: report-blue-by-hand"
    found.pause(7200.0)
    assert pods.await_gone(found.step("blue")).done
    assert [what for what in found.writes if "report-blue" in what] == [
        "suspend orders/report-blue"
    ]


def test_a_job_on_the_other_login_is_found_out(found: World) -> None:
    found.exchange("green")
    green = found.at("report-green")
    job = found.schedules.begin(green, "report-green-1")
    proving.test(found.step("green", through="service"))
    (result,) = proving.collect(found.edges, found.credential, "green", "r-1").tests["report"]
    assert result.role == "orders_green"
    job.role = "orders_blue"
    (result,) = proving.collect(found.edges, found.credential, "green", "r-1").tests["report"]
    assert (result.passed, result.code) == (False, Code.PROOF_OTHER_ROLE)


def test_nothing_is_proved_where_no_job_ran(found: World) -> None:
    found.pause(100.0)
    found.exchange("green")
    proving.test(found.step("green", through="service"))
    (result,) = proving.collect(found.edges, found.credential, "green", "r-1").tests["report"]
    assert (result.passed, result.role) == (True, None)


@pytest.mark.parametrize("policy", ["Forbid", "Replace"])
def test_where_none_may_run_beside_another_the_swap_waits_for_it(found: World, policy: str) -> None:
    blue = found.at("report-blue")
    blue.policy, blue.lasts = policy, 300.0
    found.schedules.begin(blue, "report-blue-1")
    waited = found.exchange("green")
    assert sum(waited) >= 300.0
    assert found.suspended == (True, False)


def test_what_would_start_any_run_that_it_missed_is_not_resumed(found: World) -> None:
    found.at("report-green").deadline = None
    with pytest.raises(Conflict, match="has no startingDeadlineSeconds"):
        swap(found.step("green"))
    assert found.writes == []


def test_images_that_serve_by_now_come_along(found: World) -> None:
    found.at("report-blue").images["report"] = "report:2"
    moved = swap(found.step("green", level=True))
    assert (moved.released, moved.had) == ({"report": "report:2"}, {"report": "report:1"})
    assert found.writes == []
    pods.level(found.step("green", images=moved.released))
    assert found.at("report-green").images == {"report": "report:2"}
    found.exchange("green")


def test_a_template_that_was_changed_since_the_plan_stands_in_the_way(found: World) -> None:
    found.at("report-blue").env["LEVEL"] = "2"
    with pytest.raises(
        Conflict, match=r"differ by now at spec\.containers\[report\]\.env\[LEVEL\]"
    ):
        swap(found.step("green"))
    swap_waived = found.step("green", waived=["templates-differ"])
    with pytest.raises(Unavailable):
        swap(swap_waived)


def test_going_back_is_the_mirror(found: World) -> None:
    found.exchange("green")
    found.edges.calls.made.clear()
    found.exchange("blue", back=True)
    assert (found.suspended, found.service.slot) == ((False, True), "blue")
    assert [what for what in found.writes if not what.startswith("fence")] == [
        "suspend orders/report-green",
        "move orders/report slot: green -> blue",
        "resume orders/report-blue",
    ]
    assert found.schedules.both == []


def test_going_back_from_in_between_resumes_what_was_suspended(found: World) -> None:
    with pytest.raises(Unavailable):
        swap(found.step("green"))
    assert found.suspended == (True, True)
    found.exchange("blue", back=True)
    assert (found.suspended, found.service.slot) == ((False, True), "blue")


@pytest.mark.parametrize("before", ["suspend", "move", "resume"])
def test_what_was_held_up_comes_to_nothing_once_it_went_back(found: World, before: str) -> None:
    """A swap has looked, and the way back comes before its change."""
    if before != "suspend":
        with pytest.raises(Unavailable):
            swap(found.step("green"))
        found.pause(60.0)
    step = found.step("green")
    late: list[str] = []

    def held_up() -> None:
        if not late:
            late.append("once")
            found.exchange("blue", back=True)

    with holding(found, before, held_up), pytest.raises((Unavailable, Conflict)):
        swap(step)
    assert late
    assert (found.suspended, found.service.slot) == ((False, True), "blue")
    with pytest.raises(Conflict, match="is on its way back"):
        swap(found.step("green"))


def test_once_it_goes_back_no_step_forward_begins(found: World) -> None:
    found.exchange("blue", back=True)
    assert found.suspended == (False, True)
    with pytest.raises(Conflict, match="is on its way back"):
        swap(found.step("green"))


def test_nor_is_the_switch_moved_while_both_are_suspended(found: World) -> None:
    """The way back has fenced the switch, which never moved, and has not resumed what serves."""
    with pytest.raises(Unavailable):
        swap(found.step("green"))
    found.pause(60.0)
    late: list[Exception] = []

    def begins() -> None:
        if not late:
            with pytest.raises(Conflict, match="is on its way back") as caught:
                swap(found.step("green"))
            late.append(caught.value)

    with holding(found, "resume", begins):
        found.exchange("blue", back=True)
    assert late
    assert "move orders/report slot: blue -> green" not in found.writes
    assert (found.suspended, found.service.slot) == ((False, True), "blue")


def test_what_serves_is_suspended_by_nobody_who_retires(found: World) -> None:
    with pytest.raises(Conflict, match="what serves traffic is not touched"):
        pods.scale_down(found.step("blue"))
    assert found.suspended == (False, True)


def test_a_slot_that_is_retired_is_suspended_again(found: World) -> None:
    found.at("report-green").suspended = False
    assert pods.await_gone(found.step("green")).done
    assert found.suspended == (False, True)


def test_one_that_is_suspended_does_not_serve(found: World) -> None:
    confirm(found.step("blue"))
    found.at("report-blue").suspended = True
    with pytest.raises(Unavailable, match="CronJob orders/report-blue is suspended"):
        confirm(found.step("blue"))


def test_the_plan_looks_at_both_and_at_what_the_switch_finds(found: World) -> None:
    found.schedules.begin(found.at("report-blue"), "report-blue-1")
    state = snapshot(found.edges, "orders-db", found.credential).workloads[1]
    assert state.makers == {}
    assert {slot: one and one.suspended for slot, one in state.cron_jobs.items()} == {
        "blue": False,
        "green": True,
    }
    labels = {"app": "report", "slot": "green"}
    found.edges.world.clusters["aks"].made["orders"] = [(labels, Maker("Job", "bare"))]
    state = snapshot(found.edges, "orders-db", found.credential).workloads[1]
    assert state.makers == {"green": (Maker("Job", "bare"),)}
    (doubt,) = proved_by_sessions(found.credential)
    assert doubt.text.endswith("before the swap none of its Jobs runs")
    found.edges.world.clusters["aks"].made.clear()
    seen = snapshot(found.edges, "orders-db", found.credential)
    assert look(found.edges, found.credential, seen).reasons("refuses") == []
