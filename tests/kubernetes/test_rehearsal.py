"""What a rehearsal makes, on an API server under the guard and with the rights that docs/rotctl.md
says: on the stand-in, and on a real one where it was built, whose namespace there enforces the Pod
Security Standard `restricted`. No node runs pods here; whole rehearsals are in
tests/rotctl/rehearse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local.cluster.client import connect
from local.process import wait_until
from rotctl.exits import ClientError, Exit
from rotctl.rehearse import looking, manifests
from rotctl.rehearse.plan import LEAVING, STAYING, Load, Plan
from rotctl.rehearse.running import Rehearsal
from rotctl.rehearse.space import Space
from tests.kubernetes.support import GUARDED, REHEARSER, Guarded
from tests.rotctl.rehearse.rights import role_of_the_guide

if TYPE_CHECKING:
    from collections.abc import Iterator

RESTRICTED = "pod-security.kubernetes.io/enforce"
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "api", "tier": "front"}},
    "spec": {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "api",
                "image": "registry.example/orders:1.0",
                "ports": [{"name": "http", "containerPort": 8080}],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    },
}


def plan(seconds: float = 600.0) -> Plan:
    port = {"name": "http", "port": 80, "targetPort": "http"}
    load = Load(path="/orders")
    return Plan(GUARDED, "api-blue", TEMPLATE, {"tier": "front"}, "api", port, load, seconds)


@pytest.fixture
def space(guarded: Guarded) -> Iterator[Space]:
    """Of somebody who may do what the guide says, and no more."""
    for one in role_of_the_guide(REHEARSER.name):
        one["metadata"] = {**one["metadata"], "namespace": GUARDED}
        guarded.apply(one)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GUARDED}}
    labels = {"credential-rotation/guard": "on", RESTRICTED: "restricted"}
    namespace["metadata"] = {"name": GUARDED, "labels": labels}
    guarded.apply(namespace)
    client: Any = connect(guarded.kubeconfig(REHEARSER))
    made = Space(client, GUARDED)
    wait_until(lambda: allowed(made), 30, "the rights being in force")
    yield made
    for kind in ("Deployment", "Service", "Job"):
        for one in made.items(kind, manifests.selector(plan())):
            made.delete(kind, one["metadata"]["name"])
    wait_until(lambda: left(made) == [], 30, "the end of what was made")
    client.close()


def allowed(space: Space) -> bool:
    try:
        space.items("Job")
    except ClientError:
        return False
    return True


def left(space: Space) -> list[str]:
    of = f"{manifests.OF}={manifests.stem(plan())}"
    kinds = ("Deployment", "Service", "Job", "Pod")
    return [one["metadata"]["name"] for kind in kinds for one in space.items(kind, of)]


def made_by_hand(space: Space, **limits: int) -> None:
    """As a rehearsal makes it; `limits` are other ones of the Job."""
    planned = plan()
    space.create(manifests.service(planned))
    job = manifests.job(planned)
    job["spec"] |= limits
    owner = space.create(job)
    owned = {"metadata": {"ownerReferences": [manifests.reference(owner)]}}
    space.patch("Service", manifests.name(planned), owned)
    for part in (LEAVING, STAYING):
        space.create(manifests.deployment(planned, part, owner))


def pods(space: Space, part: str = "") -> list[Any]:
    of = f"{manifests.OF}={manifests.stem(plan())}"
    return space.items("Pod", f"{of},{manifests.PART}={part}" if part else of)


def test_each_verb_of_a_rehearsal_is_within_the_rights_and_under_the_guard(space: Space) -> None:
    planned = plan()
    made_by_hand(space)
    # Three pods, so that the standard has let them through.
    wait_until(lambda: len(pods(space)) == 3, 30, "the pods")
    (clients,) = space.items("Pod", f"{manifests.selector(planned)},!{manifests.PART}")
    assert space.last_line(clients["metadata"]["name"]) == ""
    moved = {"spec": {"selector": manifests.chosen(planned, STAYING)}}
    space.patch("Service", manifests.name(planned), moved)
    (service,) = space.items("Service", manifests.selector(planned))
    assert service["spec"]["selector"] == manifests.chosen(planned, STAYING)
    (owner,) = service["metadata"]["ownerReferences"]
    assert owner["kind"] == "Job"
    space.patch("Deployment", f"{manifests.name(planned)}-{LEAVING}", {"spec": {"replicas": 0}})
    wait_until(lambda: pods(space, LEAVING) == [], 30, "the end of one of them")
    assert len(pods(space, STAYING)) == 1


def test_where_no_pod_comes_to_run_nothing_is_left(space: Space) -> None:
    with pytest.raises(ClientError) as raised:
        Rehearsal(space, plan(4.0), lambda _: None).run()
    assert raised.value.exit_code in {Exit.TIMEOUT, Exit.PROBLEM}
    assert left(space) == []


def test_what_a_machine_that_fails_leaves_goes_by_itself(guarded: Guarded, space: Space) -> None:
    """The Job ends by its deadline and is over for its time; the cluster takes the rest."""
    if not guarded.real:
        pytest.skip("the stand-in has this in tests/rotctl/rehearse")
    made_by_hand(space, activeDeadlineSeconds=2, ttlSecondsAfterFinished=1)
    assert left(space) != []
    wait_until(lambda: left(space) == [], 60, "the end of all of it")


def test_with_the_least_rights_it_looks_at_less(guarded: Guarded, space: Space) -> None:
    role, _ = role_of_the_guide(REHEARSER.name)
    metadata = {**role["metadata"], "namespace": GUARDED}
    guarded.apply({**role, "metadata": metadata, "rules": role["rules"][:-1]})
    wait_until(lambda: not may_list_events(space), 30, "the rights being less")
    kinds = {one["kind"] for one in looking.seen(space)}
    assert kinds == {"Deployment", "Service"}
    assert space.items("Event", needed=False) == []


def may_list_events(space: Space) -> bool:
    try:
        space.items("Event")
    except ClientError:
        return False
    return True


def test_without_the_rights_nothing_is_made(guarded: Guarded, space: Space) -> None:
    for one in role_of_the_guide(REHEARSER.name):
        guarded.delete({**one, "metadata": {**one["metadata"], "namespace": GUARDED}})
    wait_until(lambda: not allowed(space), 30, "the rights being gone")
    try:
        with pytest.raises(ClientError, match="does not let you list") as raised:
            Rehearsal(space, plan(4.0), lambda _: None).run()
        assert raised.value.exit_code == Exit.NOT_ALLOWED
    finally:
        for one in role_of_the_guide(REHEARSER.name):
            guarded.apply({**one, "metadata": {**one["metadata"], "namespace": GUARDED}})
        wait_until(lambda: allowed(space), 30, "the rights being in force")
