"""`rotation.edges.cluster.cron_jobs` against a Kubernetes API: the local one, or
CONTRACT_KUBECONFIG's, whose controllers have to hold to what the swap of CronJobs relies on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local.cluster.client import apply
from local.process import wait_until
from rotation.config import Cluster
from rotation.edges.cluster.client import Api
from rotation.edges.cluster.cron_jobs import ScheduledJobs
from rotation.edges.cluster.patches import DID, FENCE, ROTATION, SUSPENDED
from rotation.model.errors import Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import CronJobTarget
from rotation.secrecy import new_password
from tests.contract.clusters import IMAGE, api, asked, component, kubeconfig, space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rotation.model.world import CronJob

__all__ = ["api", "component", "kubeconfig", "space"]

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


class Place:
    """A CronJob of a namespace, by the edge and besides it."""

    def __init__(self, edge: ScheduledJobs, api: Any, space: str, name: str) -> None:
        self.edge, self.api, self.space, self.name = edge, api, space, name
        self.target = CronJobTarget(space, name)
        self.batch = f"/apis/batch/v1/namespaces/{space}"

    def apply(self, **spec: Any) -> CronJob:
        container = {"name": "run", "image": IMAGE, "command": ["sh", "-c", "sleep 60"]}
        pod: dict[str, Any] = {"restartPolicy": "Never", "containers": [container]}
        pod["terminationGracePeriodSeconds"] = 0
        labels = {"app": self.name, "slot": "blue"}
        template = {"metadata": {"labels": labels}, "spec": pod}
        known = {
            "schedule": "0 3 1 1 *",
            "suspend": True,
            "jobTemplate": {"spec": {"template": template, "backoffLimit": 0}},
        }
        manifest = {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": self.name},
            "spec": {**known, **spec},
        }
        apply(self.api, [manifest], namespace=self.space)
        return self.seen

    @property
    def seen(self) -> CronJob:
        found = self.edge.cron_job(self.target)
        assert found is not None
        return found

    @property
    def document(self) -> dict[str, Any]:
        return asked(self.api, "GET", f"{self.batch}/cronjobs/{self.name}")[1]

    def by_hand(self, name: str, command: str, *, owned: bool = True, manual: bool = False) -> None:
        """What `kubectl create job` makes, with `--from` if it is owned."""
        owner: dict[str, Any] = {"apiVersion": "batch/v1", "kind": "CronJob", "name": self.name}
        owner |= {"uid": self.document["metadata"]["uid"], "controller": True}
        container = {"name": "run", "image": IMAGE, "command": ["sh", "-c", command]}
        pod: dict[str, Any] = {"restartPolicy": "Never", "containers": [container]}
        pod["terminationGracePeriodSeconds"] = 0
        body = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "ownerReferences": [owner] if owned else [],
                "annotations": {"cronjob.kubernetes.io/instantiate": "manual"} if manual else {},
            },
            "spec": {"template": {"spec": pod}, "backoffLimit": 0},
        }
        assert asked(self.api, "POST", f"{self.batch}/jobs", body)[0] == 201

    def report(self, **status: Any) -> None:
        """What its controller might write."""
        parts = self.api.param_serialize(
            "PATCH",
            f"{self.batch}/cronjobs/{self.name}/status",
            header_params={"Content-Type": "application/merge-patch+json"},
            body={"status": status},
            auth_settings=["BearerToken"],
        )
        assert self.api.call_api(*parts).response.status == 200

    def remove(self) -> None:
        gone = {"propagationPolicy": "Background"}
        for job in asked(self.api, "GET", f"{self.batch}/jobs")[1]["items"]:
            if job["metadata"]["name"].startswith(self.name):
                asked(self.api, "DELETE", f"{self.batch}/jobs/{job['metadata']['name']}", gone)
        asked(self.api, "DELETE", f"{self.batch}/cronjobs/{self.name}", gone)


@pytest.fixture
def place(kubeconfig: Path, api: Any, space: str, name: str) -> Iterator[Place]:
    edge = ScheduledJobs(Api("contract", Cluster(kubeconfig=str(kubeconfig)), new_password))
    made = Place(edge, api, space, name)
    yield made
    made.remove()


def test_what_is_seen_of_a_cron_job(place: Place) -> None:
    assert place.edge.cron_job(place.target) is None
    seen = place.apply(startingDeadlineSeconds=60, concurrencyPolicy="Forbid")
    assert (seen.suspended, seen.deadline, seen.alone, seen.last) == (True, 60, True, None)
    assert (seen.images, seen.version, seen.paused, seen.fence) == (
        {"run": IMAGE},
        None,
        None,
        None,
    )
    assert (seen.settings["schedule"], seen.settings["jobTemplate.spec.backoffLimit"]) == (
        "0 3 1 1 *",
        0,
    )
    assert seen.labels == {"app": place.name, "slot": "blue"}
    assert seen.template is not None
    assert seen.template.document["spec"]["restartPolicy"] == "Never"
    place.report(lastScheduleTime="2027-03-01T11:00:00Z")
    assert place.seen.last == NOW - timedelta(hours=1)
    plain = place.apply(startingDeadlineSeconds=None, concurrencyPolicy="Allow")
    assert (plain.deadline, plain.alone) == (None, False)


def test_it_is_suspended_and_resumed_and_notes_who_did_it(place: Place) -> None:
    place.apply(suspend=False)
    place.edge.suspend(place.target, NOW, revision=None, by="r-1")
    assert (place.seen.suspended, place.seen.paused, place.seen.fence) == (True, NOW, None)
    notes = place.document["metadata"]["annotations"]
    assert (notes[ROTATION], notes[DID], FENCE in notes) == ("r-1", "suspended it", False)
    place.edge.resume(place.target, revision=place.seen.revision, by="r-1", fence=True)
    place.edge.resume(place.target, revision=None, by="r-1", fence=True)
    assert (place.seen.suspended, place.seen.fence) == (False, "r-1")
    notes = place.document["metadata"]["annotations"]
    assert (notes[SUSPENDED], notes[DID]) == ("2027-03-01T12:00:00+00:00", "resumed it")


def test_what_changed_it_since_makes_each_verb_come_to_nothing(place: Place) -> None:
    before = place.apply(suspend=False).revision
    place.report(lastScheduleTime="2027-03-01T11:00:00Z")
    place.edge.suspend(place.target, NOW, revision=before, by="r-1")  # a status is no change
    edge, target = place.edge, place.target
    stale: list[Callable[[], None]] = [
        lambda: edge.suspend(target, NOW, revision=before, by="r-1"),
        lambda: edge.resume(target, revision=before, by="r-1"),
        lambda: edge.equip(target, images={}, version="v1", revision=before, by="r-1"),
    ]
    for call in stale:
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.value.code is Code.CLUSTER_CONFLICT
    between = place.seen.revision
    place.edge.suspend(place.target, NOW, revision=between, by="r-1", fence=True)
    with pytest.raises(Unavailable):  # a fence alone is a change too
        place.edge.resume(place.target, revision=between, by="r-1")
    assert place.seen.suspended


def test_what_jobs_are_made_from_is_set_and_nothing_else(place: Place) -> None:
    before = place.apply()
    for _ in range(2):
        place.edge.equip(
            place.target, images={"run": "other:2"}, version="v7", revision=None, by="r-1"
        )
    seen = place.seen
    assert (seen.images, seen.version, seen.suspended) == ({"run": "other:2"}, "v7", True)
    expected = replace(before, images=seen.images, version="v7")
    assert seen == expected
    (container,) = place.document["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-c", "sleep 60"]
    place.edge.equip(place.target, images={}, version=None, revision=None, by="r-2")
    assert place.seen.version == "v7"


def test_its_jobs_are_those_that_it_controls_whoever_made_them(place: Place) -> None:
    place.apply()
    assert (place.edge.jobs(place.target), place.edge.pods(place.target)) == ([], [])
    place.by_hand(f"{place.name}-long", "sleep 60", manual=True)
    place.by_hand(f"{place.name}-short", "exit 0")
    place.by_hand(f"{place.name}-bare", "sleep 60", owned=False)

    def over() -> dict[str, bool]:
        return {job.name: job.over for job in place.edge.jobs(place.target)}

    expected = {f"{place.name}-long": False, f"{place.name}-short": True}
    wait_until(lambda: over() == expected, 60, "the end of the short one")
    wait_until(lambda: [pod.ready for pod in place.edge.pods(place.target)] == [True], 60, "a pod")
    (pod,) = place.edge.pods(place.target)
    assert pod.name.startswith(f"{place.name}-long-")
    assert pod.addresses
    assert pod.created is not None
    by_hand, short = place.edge.jobs(place.target)
    assert by_hand.due is None
    assert short.due is not None
    assert short.due.tzinfo is not None


def test_one_that_is_not_there(place: Place) -> None:
    for call in (
        lambda: place.edge.jobs(place.target),
        lambda: place.edge.pods(place.target),
        lambda: place.edge.suspend(place.target, NOW, revision=None, by="r-1"),
        lambda: place.edge.resume(place.target, revision=None, by="r-1"),
    ):
        with pytest.raises(Missing):
            call()


# -- what its controller does once it is resumed


def missed(place: Place, deadline: int | None) -> datetime:
    """A run was due twelve hours ago, and the CronJob is suspended since before that."""
    last = datetime.now(UTC) - timedelta(hours=36)
    place.apply(schedule="@every 24h", startingDeadlineSeconds=deadline)
    place.report(lastScheduleTime=f"{last:%Y-%m-%dT%H:%M:%SZ}")
    place.edge.resume(place.target, revision=place.seen.revision, by="r-1")
    return last


def test_without_a_starting_deadline_it_starts_a_run_however_old(place: Place) -> None:
    last = missed(place, None)
    wait_until(lambda: place.edge.jobs(place.target), 60, "a Job of long ago")
    wait_until(lambda: place.seen.last and place.seen.last > last, 30, "its status")
    (job,) = place.edge.jobs(place.target)
    assert job.due == place.seen.last
    assert job.due is not None
    assert datetime.now(UTC) - job.due > timedelta(hours=11)


def test_with_one_it_starts_only_what_was_due_within_it(place: Place) -> None:
    """The second Job's schedule tells that the controller has looked, and has left out the old."""
    missed(place, 60)
    place.apply(schedule="@every 1s", startingDeadlineSeconds=60, suspend=False)
    wait_until(lambda: place.edge.jobs(place.target), 60, "a Job")
    (job,) = place.edge.jobs(place.target)
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    wait_until(lambda: place.seen.last and place.seen.last > hour_ago, 30, "its status")
    assert job.due == place.seen.last
    place.edge.suspend(place.target, datetime.now(UTC), revision=None, by="r-1")


def test_what_runs_is_left_alone_by_a_suspension(place: Place) -> None:
    place.apply(schedule="@every 1s", startingDeadlineSeconds=60, suspend=False)
    wait_until(lambda: place.edge.pods(place.target), 60, "a pod")
    place.edge.suspend(place.target, datetime.now(UTC), revision=place.seen.revision, by="r-1")
    (before,) = place.edge.pods(place.target)
    jobs = place.edge.jobs(place.target)
    wait_until(lambda: [pod.ready for pod in place.edge.pods(place.target)] == [True], 60, "it")
    assert place.edge.jobs(place.target) == jobs
    assert [pod.name for pod in place.edge.pods(place.target)] == [before.name]
