"""Tests that are Kubernetes Jobs: what is asked for, made once, waited for, and said of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from msgspec import structs

from rotation.config import kept, parse
from rotation.decisions.jobs import LONGEST_NAME, name_of, run_of, unfit
from rotation.model import wire
from rotation.model.activities import Planned, Reference, WorkloadTimes
from rotation.model.errors import ConfigurationError, Conflict, Invalid, Missing
from rotation.model.reasons import Code
from rotation.model.world import Job, JobTemplate, Routing, ServiceSeen, Template
from rotation.steps import jobs, proving
from rotation.steps.running import Step
from rotation.steps.world import look, snapshot
from tests.memory import MemoryEdges
from tests.memory.jobs import HANGS, Made
from tests.unit.people import ROTATION
from tests.unit.test_config import WORKLOAD, changed
from tests.unit.test_pages import Site, visible
from tests.unit.virtual import Story, pytestmark, sequence, unavailable

if TYPE_CHECKING:
    from rotation.config import Credential, WorkloadTest
    from rotation.model.reasons import Reason

__all__ = ["pytestmark"]

CHECK = {"job": "web-check-{slot}"}
DEEP = {"job": {"cronJobs": {"blue": "deep-b", "green": "deep-g"}}, "timeout": "10m"}


def edges(*tests: dict[str, Any]) -> MemoryEdges:
    """Green serves."""
    file = changed((f"{WORKLOAD}.tests", list(tests)))
    return MemoryEdges(parse(yaml.safe_dump(file)), active={"orders-db": "green"})


def credential(found: MemoryEdges) -> Credential:
    return found.configuration.credential("orders-db")


def step(found: MemoryEdges, phase: str = "observe", **more: Any) -> Step:
    reference = Reference(
        rotation="r-1", credential="orders-db", slot="green", workload="api", phase=phase
    )
    return Step(found, structs.replace(reference, **more))


def over(found: MemoryEdges, phase: str = "observe") -> None:
    """Makes the phase's Jobs, and waits for their end as the story does."""
    jobs.run(step(found, phase))
    for _ in range(100):
        if jobs.await_over(step(found, phase)).done:
            return
    pytest.fail("they do not end")


def made(found: MemoryEdges) -> list[str]:
    return [what for what in found.calls.writes if what.startswith("cluster make")]


# -- the file


def asked(test: dict[str, Any]) -> WorkloadTest:
    (found,) = credential(edges(test)).workloads[0].tests
    return found


def test_a_name_with_slot_in_it_stands_for_two() -> None:
    test = asked(CHECK)
    assert test.job is not None
    assert test.job.cron_jobs == {"blue": "web-check-blue", "green": "web-check-green"}
    assert test.timeout.total_seconds() == 300
    assert asked(DEEP).timeout.total_seconds() == 600


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        ({"job": "web-check"}, "'web-check' must have {slot} in it: a CronJob for each slot"),
        ({"job": "{slot}" + "x" * 52}, "must be a CronJob's name"),
        ({"job": {"cronJobs": {"blue": "a"}}}, "green is missing"),
        ({"job": {"cronJobs": {"blue": "a", "green": "a"}}}, "another CronJob for each slot"),
        ({**CHECK, "path": "/"}, "give one of `path` (through the Service), `url`, `sql` and"),
        ({**CHECK, "sql": "select 1"}, "give one of"),
        ({**CHECK, "repeat": 2}, "`repeat` does not go with `job`"),
        ({**CHECK, "json": {"role": "{role}"}}, "`json` does not go with `job`"),
        ({**CHECK, "value": 3}, "`value` does not go with `job`"),
        ({**CHECK, "timeout": "10s"}, "`timeout` must be from 15s to 15m with `job`"),
        ({**CHECK, "timeout": "16m"}, "`timeout` must be from 15s to 15m with `job`"),
    ],
)
def test_what_no_job_can_be_is_refused(test: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        edges(test)
    assert problem in refused.value.message


def test_a_rotation_goes_on_with_the_jobs_that_it_was_planned_with() -> None:
    found = edges(CHECK, DEEP, {"path": "/"})
    before = credential(found)
    (after,) = kept.read(kept.keep(found.configuration, "orders-db")).credentials.values()
    assert after.workloads[0].tests == before.workloads[0].tests


# -- names


def test_a_job_has_one_name_for_whoever_makes_it() -> None:
    one = run_of("r-1", "api", "green", "prepare", "v1")
    others = {
        run_of(*each)
        for each in [
            ("r-2", "api", "green", "prepare", "v1"),
            ("r-1", "web", "green", "prepare", "v1"),
            ("r-1", "api", "blue", "prepare", "v1"),
            ("r-1", "api", "green", "observe", "v1"),
            ("r-1", "api", "green", "prepare", "v2"),
            ("r-1", "api", "green", "prepare", None),
        ]
    }
    assert len(others - {one}) == 6
    assert one == run_of("r-1", "api", "green", "prepare", "v1")
    names = {name_of(cron, run) for cron in ("a", "b") for run in others}
    assert len(names) == 12


def test_names_leave_room_for_those_of_pods() -> None:
    name = name_of(f"{'x' * 45}.{'y' * 6}", "run")
    assert len(name) <= LONGEST_NAME
    assert name.startswith("x" * 45 + "-")


# -- what they are made from


def template(**labels: str) -> JobTemplate:
    return JobTemplate(
        "check", "uid", suspended=True, template=Template({"metadata": {"labels": labels}})
    )


def routing(**selector: str) -> Routing:
    return Routing((ServiceSeen("api", dict(selector)), ServiceSeen("free", {})), ())


def codes(found: JobTemplate, leads: Routing) -> list[str]:
    return [str(code) for code, _ in unfit(found, leads)]


def test_a_pod_that_a_service_would_find_is_refused_by_its_name() -> None:
    own = template(app="api", slot="green")
    ((code, text),) = unfit(own, routing(app="api", slot="green"))
    assert (code, "Service api finds them" in text) == ("job-called", True)
    assert codes(own, routing(app="api")) == ["job-called"]
    assert codes(own, routing(app="api", slot="blue")) == []
    assert codes(template(), routing(app="api")) == []
    many = Routing(tuple(ServiceSeen(f"s{n}", {"app": "api"}) for n in range(7)), ())
    ((_, text),) = unfit(own, many)
    assert "Service s0, s1, s2, s3, s4 and 2 more finds them" in text


def test_one_that_runs_by_itself_or_has_several_pods_is_refused() -> None:
    assert codes(replace(template(), suspended=False), routing()) == ["job-not-suspended"]
    assert codes(replace(template(), pods=0), routing()) == ["job-template"]


def refused(found: MemoryEdges) -> list[Reason]:
    seen = snapshot(found, "orders-db", credential(found))
    return look(found, credential(found), seen).reasons("refuses")


def test_the_plan_has_the_api_server_try_each_of_them() -> None:
    found = edges(CHECK, {"path": "/"})
    assert refused(found) == []
    tries = [what for what in found.calls.reads if what.startswith("cluster attempt orders/web-")]
    assert len(tries) == 2
    assert found.calls.writes == []


def test_the_plan_names_what_is_missing_and_what_serves_would_find() -> None:
    found = edges(CHECK)
    model = found.world.clusters["aks"].jobs
    del model.templates["orders", "web-check-blue"]
    labels = {"app": "api", "slot": "green", "more": "x"}
    document = {"metadata": {"labels": labels}}
    key = "orders", "web-check-green"
    model.templates[key] = replace(model.templates[key], template=Template(document))
    why = refused(found)
    assert [each.code for each in why] == ["job-template-missing", "job-called"]
    assert why[0].text == "workload api: CronJob orders/web-check-blue is not there"
    for phase in ("prepare", "observe"):
        with pytest.raises(Conflict, match="Service api finds them"):
            jobs.run(step(found, phase))
    del model.templates[key]
    with pytest.raises(Missing, match="CronJob orders/web-check-green is not there"):
        jobs.run(step(found))
    assert made(found) == []


# -- a run


def test_all_of_a_workload_start_at_once_and_each_is_made_once() -> None:
    found = edges(CHECK, DEEP, {"path": "/"})
    for _ in range(3):
        jobs.run(step(found))
    model = found.world.clusters["aks"].jobs
    assert len(model.made) == 2
    over(found)
    jobs.run(step(found))
    assert len(model.made) == 2
    assert {what.rpartition(" ")[2] for what in made(found)} == {"300", "600"}


def test_each_phase_and_each_version_has_jobs_of_its_own() -> None:
    found = edges(CHECK)
    jobs.run(step(found, "prepare", version="v1"))
    jobs.run(step(found, "prepare", version="v2"))
    jobs.run(step(found, "observe"))
    assert len(found.world.clusters["aks"].jobs.made) == 3


def test_one_of_somebody_elses_is_not_taken_for_ours() -> None:
    found = edges(CHECK)
    jobs.run(step(found))
    model = found.world.clusters["aks"].jobs
    (mine,) = model.jobs.values()
    mine.job = replace(mine.job, rotation="r-0")
    with pytest.raises(Conflict) as refused:
        jobs.run(step(found))
    assert refused.value.code == Code.JOB_FOREIGN
    with pytest.raises(Missing) as gone:
        jobs.await_over(step(found))
    assert gone.value.code == Code.JOB_GONE


def test_while_they_run_it_is_said_what_is_waited_for() -> None:
    found = edges(CHECK)
    found.world.clusters["aks"].jobs.exits["web-check-green"] = lambda: HANGS
    jobs.run(step(found))
    watched = jobs.await_over(step(found))
    assert not watched.done
    assert watched.observed.startswith("Job web-check-green-")
    assert watched.observed.endswith(" runs")


def result(found: MemoryEdges) -> dict[str, Any]:
    evidence = proving.collect(found, credential(found), "green", "r-1")
    (one, *_) = evidence.tests["api"]
    return wire.value_of(one)


def test_an_approver_sees_how_it_ended_when_and_the_command_for_its_log() -> None:
    found = edges(CHECK)
    over(found)
    began = found.now()
    one = result(found)
    name = one["job"]["name"]
    assert one == {
        "test": "job web-check-green",
        "passed": True,
        "problem": None,
        "attempts": 1,
        "role": None,
        "code": None,
        "job": {
            "name": name,
            "logs": f"kubectl logs --namespace orders job/{name} --all-containers",
            "exitCode": 0,
            "ended": "Completed",
            "began": one["job"]["began"],
            "seconds": 2,
        },
    }
    assert wire.instant(one["job"]["began"]) < began
    assert made(found) == [f"cluster make orders/{name} 300"]


@pytest.mark.parametrize(
    ("code", "problem"),
    [(3, "exit code 3 after 2 s"), (HANGS, "exit code 137 (DeadlineExceeded) after 300 s")],
)
def test_one_that_fails_stops_the_rotation_with_its_exit_code(code: int, problem: str) -> None:
    found = edges(DEEP | {"timeout": "5m"}, CHECK)
    exits = found.world.clusters["aks"].jobs.exits
    exits["web-check-green"] = lambda: code
    with pytest.raises(Invalid) as failed:
        over(found)
    assert failed.value.code == Code.JOB_FAILED
    made = found.world.clusters["aks"].jobs.made
    (name,) = [name for _, cron_job, name in made if cron_job == "web-check-green"]
    logs = f"kubectl logs --namespace orders job/{name}"
    assert f"job web-check-green: {problem}; {logs} --all-containers" in failed.value.message
    assert "deep-g" not in failed.value.message


def test_one_that_is_gone_has_not_passed() -> None:
    found = edges(CHECK)
    over(found)
    found.world.clusters["aks"].jobs.jobs.clear()
    one = result(found)
    assert (one["passed"], one["attempts"], one["code"]) == (False, 0, "job-gone")
    assert "nobody knows any more how it ended" in one["problem"]
    assert one["job"].keys() == {"name", "logs"}


def test_one_that_runs_has_not_passed() -> None:
    found = edges(CHECK)
    found.world.clusters["aks"].jobs.exits["web-check-green"] = lambda: HANGS
    jobs.run(step(found))
    assert (result(found)["passed"], result(found)["code"]) == (False, "job-overdue")


def test_evidence_says_what_keeps_it_from_looking() -> None:
    found = edges(CHECK)
    found.calls.failing["cluster of_run"] = Invalid(Code.CLUSTER_ERROR, "it cannot be seen")
    evidence = proving.collect(found, credential(found), "green", "r-1")
    assert (evidence.complete, evidence.problems) == (False, ["it cannot be seen"])


def test_jobs_are_in_no_round_of_the_other_tests() -> None:
    found = edges(CHECK)
    tested = proving.run_tests(
        found, credential(found), credential(found).workloads[0], "green", "service"
    )
    assert tested == []
    assert made(found) == []


def test_all_have_one_time_and_a_workload_without_has_none() -> None:
    found = edges(CHECK, DEEP)
    assert jobs.longest(credential(found).workloads[0]) == 660
    assert jobs.longest(credential(edges({"path": "/"})).workloads[0]) == 0


# -- the story


class Checked(Story):
    """A story of two workloads; one has Jobs."""

    def plan(self, *, calm: bool = True) -> dict[str, Any]:
        planned = wire.read(Planned, super().plan(calm=calm))
        assert planned.policy is not None
        times = {**planned.policy.workloads, "api": WorkloadTimes(20.0, 20.0, jobs=20.0)}
        policy = structs.replace(planned.policy, workloads=times)
        return wire.value_of(structs.replace(planned, policy=policy))

    def phases(self, name: str) -> list[str]:
        found = [reference for _, called, reference in self.calls if called == name]
        assert {reference["workload"] for reference in found} <= {"api"}
        return [reference["phase"] for reference in found]


RUNS = {"done": False, "observed": "Job web-check-green-1 runs"}
DONE = {"done": True, "observed": ""}
FAILS = {
    "error": {"code": "job-failed", "message": "exit code 3", "transient": False, "remedy": "look"}
}


def test_they_run_before_the_swap_and_after_it_beside_the_other_tests() -> None:
    story = Checked()
    story.script["await_jobs"] = sequence(RUNS, RUNS, DONE)
    assert story.approve().outcome == "completed"
    assert story.phases("run_jobs") == ["prepare", "observe"]
    assert story.phases("await_jobs") == ["prepare"] * 3 + ["observe"]
    own = [name for _, name, reference in story.calls if reference.get("workload") == "api"]
    first = own.index("run_jobs")
    assert own[first : first + 3] == ["run_jobs", "test", "await_jobs"]


def test_a_workload_without_them_asks_for_nothing_more() -> None:
    story = Story()
    story.approve()
    assert story.count("run_jobs") == story.count("await_jobs") == 0


def test_one_that_fails_before_the_swap_aborts() -> None:
    story = Checked()
    story.script["await_jobs"] = sequence(RUNS, FAILS)
    output = story.run()
    assert output.outcome == "aborted"
    assert [why.code for why in output.reasons] == ["job-failed"]
    assert "exit code 3" in str(output.outcome_reason)
    assert story.count("swap") == 0


def test_one_that_fails_after_the_swap_goes_back() -> None:
    story = Checked()
    story.script["await_jobs"] = sequence(DONE, FAILS)
    output = story.run()
    assert output.outcome == "rolled-back"
    assert story.serving == "blue"


def test_one_that_nobody_ends_is_not_waited_for_any_longer() -> None:
    story = Checked()
    story.script["await_jobs"] = RUNS
    output = story.run()
    assert (output.outcome, output.reasons[0].code) == ("aborted", "job-overdue")
    assert "not done after 20 s: Job web-check-green-1 runs" in str(output.outcome_reason)


def test_a_full_quota_is_waited_for() -> None:
    story = Checked()
    story.script["run_jobs"] = sequence(unavailable, unavailable, {})
    assert story.approve().outcome == "completed"


def test_a_slot_that_is_brought_to_a_release_is_tested_by_jobs_too() -> None:
    story = Checked("api")
    released = {"released": {"app": "2"}, "had": {"app": "1"}}
    story.script["swap"] = sequence(released, released, {})
    story.to_approval()
    assert story.phases("run_jobs") == ["prepare", "level-1", "level-2", "observe"]


def test_the_way_back_is_not_held_up_by_them() -> None:
    story = Checked("api")
    released = {"released": {"app": "2"}, "had": {"app": "1"}}
    story.script["swap_back"] = sequence(released, {})
    story.to_approval().decide("reject")
    assert story.run().outcome == "rolled-back"
    assert story.phases("run_jobs") == ["prepare", "observe"]


# -- the page


def test_the_page_shows_how_a_job_ended_and_the_command_for_its_log() -> None:
    site = Site("key")
    (workload,) = site.edges.configuration.credential("orders-db").workloads
    tests = [asked(CHECK), asked(DEEP), *workload.tests]
    changed_one = workload.model_copy(update={"tests": tests})
    credential = site.edges.configuration.credential("orders-db")
    credential = credential.model_copy(update={"workloads": [changed_one]})
    site.edges.configuration = site.edges.configuration.model_copy(
        update={"credentials": {"orders-db": credential}}
    )
    run = run_of(ROTATION, workload.name, "green", "observe", None)
    name = name_of("web-check-green", run)
    began = site.edges.now() - timedelta(minutes=5)
    job = Job(name, ROTATION, "complete", began=began, exit_code=0, ended="Completed")
    job = replace(job, ended_at=began + timedelta(seconds=7))
    space = workload.namespace
    site.edges.world.clusters["weu"].jobs.jobs[space, name] = Made(space, run, job)
    words = visible(site.ask())
    logs = f"kubectl logs --namespace {space} job/{name} --all-containers"
    assert "job web-check-green passed : exit code 0 after 7 s, begun " in words
    assert logs in words
    assert "job deep-g failed: Job" in words
    assert "is gone: nobody knows any more how it ended" in words
