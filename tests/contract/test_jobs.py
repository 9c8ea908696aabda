"""`rotation.edges.cluster.jobs` against a Kubernetes API: the local one.

What `rotation.contracts.jobs` promises is asked of the jobs in memory too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from local.process import wait_until
from rotation.config import Cluster
from rotation.edges.cluster import jobs as edge
from rotation.edges.cluster.client import Api
from rotation.edges.cluster.jobs import KubernetesJobs
from rotation.model.errors import Conflict, EdgeError, Invalid, Missing
from rotation.model.reasons import Code
from rotation.model.targets import CronJobTarget, JobTarget
from rotation.model.world import Job, JobWanted
from rotation.secrecy import new_password
from tests.contract.conftest import PLACES
from tests.local.cluster.support import Kube, cluster_component
from tests.memory.jobs import HANGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.process import Component
    from rotation.contracts.jobs import Jobs
    from tests.memory import MemoryEdges

SPACE = "jobs"
CLEAN, FAILING, HANGING = "clean", "failing", "hanging"
COMMANDS = {CLEAN: "exit 0", FAILING: "echo hunter2; exit 3", HANGING: "sleep 60"}


class Place(Protocol):
    """Where CronJobs are, and the jobs edge to it."""

    jobs: Jobs
    seconds: int  # that a pod may run here


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Component]:
    with cluster_component(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def cron_job(name: str, command: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "run", "image": "shell:1", "command": ["sh", "-c", command]}]
    pod = {
        "metadata": {"labels": {"app": "check"}},
        "spec": {
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": 1,
            "containers": containers,
        },
    }
    job = {"template": pod, **spec}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {"schedule": "@yearly", "suspend": True, "jobTemplate": {"spec": job}},
    }


class RealPlace:
    seconds = 1

    def __init__(self, component: Component) -> None:
        self.kube = Kube(component, SPACE)
        self.kube.core.create_namespace({"metadata": {"name": SPACE}})
        self.kube.apply(*(cron_job(name, command) for name, command in COMMANDS.items()))
        path = str(component.facts["kubeconfig"])
        self.jobs: Jobs = KubernetesJobs(Api("local", Cluster(kubeconfig=path), new_password))


class MemoryPlace:
    seconds = 20

    def __init__(self, edges: MemoryEdges) -> None:
        model = edges.world.clusters["aks"].jobs
        for name, code in ((CLEAN, 0), (FAILING, 3), (HANGING, HANGS)):
            model.provide(SPACE, name, lambda code=code: code)  # type: ignore[misc]
        self.jobs: Jobs = edges.jobs("aks")


@pytest.fixture(scope="module")
def real(cluster: Component) -> RealPlace:
    return RealPlace(cluster)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "real":
        found: Place = request.getfixturevalue("real")
        return found
    return MemoryPlace(request.getfixturevalue("memory"))


def wanted(place: Place, cron: str, run: str, rotation: str = "r-1") -> JobWanted:
    template = place.jobs.template(CronJobTarget(SPACE, cron))
    assert template is not None
    return JobWanted(template, rotation, run, place.seconds, 3600)


def over(place: Place, run: str) -> list[Job]:
    """The jobs of a run, once all are over."""
    for _ in range(60):
        found = place.jobs.watch(SPACE, run, lambda jobs: all(job.over for job in jobs), 2)
        if all(job.over for job in found):
            return found
    pytest.fail("they do not end")


def test_a_cron_job_shows_what_jobs_are_made_from(place: Place) -> None:
    found = place.jobs.template(CronJobTarget(SPACE, CLEAN))
    assert found is not None
    assert (found.name, found.suspended, found.pods) == (CLEAN, True, 1)
    assert found.labels == {"app": "check"}
    assert found.uid
    assert place.jobs.template(CronJobTarget(SPACE, "nothing")) is None


@pytest.mark.parametrize(
    "spec",
    [{"completions": 2}, {"parallelism": 0}, {"completionMode": "Indexed", "completions": 1}],
)
def test_one_that_asks_for_several_pods_shows_it(real: RealPlace, spec: dict[str, Any]) -> None:
    real.kube.apply(cron_job("several", "true", **spec))
    found = real.jobs.template(CronJobTarget(SPACE, "several"))
    assert found is not None
    assert found.pods != 1
    assert "sh" not in repr(found.template)


def test_a_job_is_made_once_and_told_by_its_rotation(place: Place, name: str) -> None:
    target = JobTarget(SPACE, name)
    for _ in range(2):
        place.jobs.make(target, wanted(place, CLEAN, name))
    (job,) = over(place, name)
    assert (job.name, job.rotation, job.state) == (name, "r-1", "complete")
    assert (job.exit_code, job.why) == (0, None)
    assert job.seconds is not None
    assert job.began is not None
    place.jobs.make(target, wanted(place, CLEAN, name))
    assert place.jobs.of_run(SPACE, name) == [job]
    with pytest.raises(Conflict) as foreign:
        place.jobs.make(target, wanted(place, CLEAN, name, "r-2"))
    assert foreign.value.code is Code.JOB_FOREIGN


def test_trying_makes_none(place: Place, name: str) -> None:
    place.jobs.attempt(JobTarget(SPACE, name), wanted(place, CLEAN, name))
    assert place.jobs.of_run(SPACE, name) == []


def test_one_that_fails_shows_its_exit_code(place: Place, name: str) -> None:
    place.jobs.make(JobTarget(SPACE, name), wanted(place, FAILING, name))
    (job,) = over(place, name)
    assert (job.state, job.exit_code, job.ended) == ("failed", 3, "Error")
    assert "hunter2" not in repr(job)


def test_one_that_hangs_is_ended(place: Place, name: str) -> None:
    place.jobs.make(JobTarget(SPACE, name), wanted(place, HANGING, name))
    (job,) = place.jobs.watch(SPACE, name, lambda jobs: all(j.over for j in jobs), 0.1)
    assert job.state == "running" or place.seconds < 2
    (job,) = over(place, name)
    assert (job.state, job.ended) == ("failed", "DeadlineExceeded")
    assert job.exit_code


def test_a_watch_ends_with_what_it_waits_for(place: Place, name: str) -> None:
    """All of a run are seen, and none of another."""
    for number, cron in enumerate((CLEAN, FAILING)):
        target = JobTarget(SPACE, f"{name}-{number}")
        place.jobs.make(target, wanted(place, cron, name))
    place.jobs.make(JobTarget(SPACE, f"{name}-x"), wanted(place, CLEAN, f"{name}-x"))
    found = over(place, name)
    assert [(job.name, job.state) for job in found] == [
        (f"{name}-0", "complete"),
        (f"{name}-1", "failed"),
    ]


def test_one_that_waits_for_its_image_says_so(real: RealPlace, name: str) -> None:
    manifest = cron_job("imageless", "true")
    pod = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    pod["containers"][0]["image"] = "nowhere:1"
    real.kube.apply(manifest)
    made = wanted(real, "imageless", name)
    real.jobs.make(JobTarget(SPACE, name), JobWanted(made.template, "r-1", name, 30, 3600))

    def waits() -> bool:
        (job,) = real.jobs.of_run(SPACE, name)
        return job.waiting in {"ErrImagePull", "ImagePullBackOff"}

    wait_until(waits, 20, "its pod's word")


def test_a_cron_job_that_is_gone_leaves_no_job(real: RealPlace, name: str) -> None:
    real.kube.apply(cron_job("short", "true"))
    made = wanted(real, "short", name)
    real.jobs.make(JobTarget(SPACE, name), made)
    over(real, name)
    real.kube.batch.delete_namespaced_cron_job("short", SPACE)
    wait_until(lambda: real.jobs.of_run(SPACE, name) == [], 20, "its end with its owner")


def test_what_the_api_server_does_not_take_is_an_error(real: RealPlace, name: str) -> None:
    with pytest.raises(EdgeError) as refused:
        real.jobs.make(JobTarget("nowhere", name), wanted(real, CLEAN, name))
    assert isinstance(refused.value, Missing)
    with pytest.raises(Invalid) as invalid:
        real.jobs.make(JobTarget(SPACE, "Not_A_Name"), wanted(real, CLEAN, name))
    assert invalid.value.code is Code.CLUSTER_ERROR


@pytest.mark.parametrize(
    "document",
    [{}, {"metadata": {"name": "a", "uid": "b"}}, {"metadata": {"name": "a"}, "spec": {}}],
)
def test_an_answer_that_is_no_cron_job_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="a CronJob without"):
        edge._template(document)  # noqa: SLF001 - no server answers so


def test_how_long_one_took_is_never_negative() -> None:
    """Its times are of another clock, and whole seconds."""
    at = datetime(2027, 3, 1, 12, tzinfo=UTC)
    earlier = datetime(2027, 3, 1, 11, tzinfo=UTC)
    assert Job("a", "r-1", "complete", began=at, ended_at=earlier).seconds == 0
    assert Job("a", "r-1", "complete", began=at).seconds is None
