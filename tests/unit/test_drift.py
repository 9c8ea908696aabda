"""Pod templates that differ: refused, told, or brought along, at plan, at start and at swap."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml

from local import world as world_
from rotation.config import parse
from rotation.decisions.plan import Refuse, Rotate, doubts, plan
from rotation.decisions.templates import Names, Rules, brought, differences
from rotation.model.activities import Moved, Reference
from rotation.model.errors import Conflict
from rotation.model.reasons import Code
from rotation.model.world import SLOTS, Drift, Template
from rotation.steps.pods import level, start
from rotation.steps.proving import collect
from rotation.steps.running import Step
from rotation.steps.traffic import swap, swap_back
from rotation.steps.world import snapshot
from tests.memory import MemoryEdges
from tests.unit.test_config import WORKLOAD, changed
from tests.unit.test_plan import MONTH, NOW, deployment, request, workload, world
from tests.unit.virtual import Story, pytestmark, sequence

if TYPE_CHECKING:
    from rotation.model.world import Slot, TemplatePolicy
    from tests.memory.cluster import ClusterModel, DeploymentState

__all__ = ["pytestmark"]

LEVEL = "spec.containers[app].env[LOG_LEVEL]"
SECRET = "a value that nobody may read"


class Drifting:
    """Blue serves, and its pods have a variable that green's have not."""

    def __init__(self, policy: TemplatePolicy = "refuse", **more: Any) -> None:
        entries = {"template": policy, **more}
        file = changed(*((f"{WORKLOAD}.{key}", value) for key, value in entries.items()))
        self.edges = MemoryEdges(parse(yaml.safe_dump(file)))
        self.credential = self.edges.configuration.credential("orders-db")
        version = self.edges.world.write(self.credential, "green", "a password of the slot")
        role = self.edges.world.database.roles["orders_green"]
        role.login, role.password = True, version.password
        self.version = version.version
        self.configure("blue")

    @property
    def cluster(self) -> ClusterModel:
        return self.edges.world.clusters["aks"]

    def deployment(self, slot: Slot) -> DeploymentState:
        return self.cluster.deployments["orders", f"api-{slot}"]

    def configure(self, slot: Slot, **env: str) -> None:
        """Somebody releases configuration; its pods come up at once."""
        self.cluster.configure(self.deployment(slot), env or {"LOG_LEVEL": SECRET})
        self.edges.calls.pause(0.0)

    def up(self) -> Drifting:
        """Green has its pods, as after `prepare`."""
        self.cluster.scale(self.deployment("green"), 2)
        self.edges.calls.pause(0.0)
        return self

    def step(self, slot: Slot = "green", **more: Any) -> Step:
        reference = Reference(
            rotation="r-1",
            credential="orders-db",
            workload="api",
            slot=slot,
            version=self.version,
            **{"level": True, **more},
        )
        return Step(self.edges, reference)

    def serving(self) -> str | None:
        return self.cluster.services["orders", "api"].slot

    def planned(self, *waive: str) -> Any:
        found = snapshot(self.edges, "orders-db", self.credential)
        return plan(found, request(), self.edges.now(), MONTH, waive)

    def doubts(self) -> list[str]:
        found = snapshot(self.edges, "orders-db", self.credential)
        return [f"{one.code}: {one.text}" for one in doubts(found, "blue")]

    @property
    def writes(self) -> list[str]:
        return [what.removeprefix("cluster ") for what in self.edges.calls.writes]


DIFFER = "workload api: the pod templates of Deployments api-blue and api-green differ at " + LEVEL


EXAMPLE = world_.MANIFESTS / "example"


@pytest.mark.parametrize("name", ["api", "web"])
def test_the_manifests_that_are_shown_are_no_drift(name: str) -> None:
    """A SecretProviderClass and a Kubernetes Secret with the slot in their names among them."""
    found = yaml.safe_load_all((EXAMPLE / f"{name}.yaml").read_text(encoding="utf-8"))
    blue, green = (one["spec"]["template"] for one in found if one["kind"] == "Deployment")
    pairs = [(f"{what}blue", f"{what}green") for what in ("orders_", "orders-db-", f"{name}-")]
    rules = Rules(Names(pairs, ("blue", "green")))
    assert differences(blue, green, rules) == differences(green, blue, rules) == []
    assert brought(blue, green, rules) == green


# -- the plan


def test_a_drift_is_refused_by_its_path_unless_it_is_waived() -> None:
    drifting = Drifting()
    found = drifting.planned()
    assert isinstance(found, Refuse)
    assert [(one.code, one.text) for one in found.problems] == [("templates-differ", DIFFER)]
    waived = drifting.planned("templates-differ")
    assert isinstance(waived, Rotate)
    assert [one.code for one in waived.waived] == ["templates-differ"]
    assert drifting.writes == []


def test_where_the_owner_wants_to_be_told_it_is_a_doubt() -> None:
    drifting = Drifting("warn")
    assert drifting.planned() == Rotate("blue")
    assert drifting.doubts() == [f"templates-differ: {DIFFER}"]


def test_where_the_standby_is_brought_along_it_is_in_nobodys_way() -> None:
    drifting = Drifting("sync")
    drifting.deployment("blue").images["proxy"] = "proxy:1"
    assert drifting.planned() == Rotate("blue")
    assert drifting.doubts() == []


@pytest.mark.parametrize("kind", ["", "init:"])
def test_containers_that_are_named_by_their_slots_are_refused(kind: str) -> None:
    """Images are brought along by container, and these would never get theirs."""
    drifting = Drifting("sync")
    for slot in SLOTS:
        drifting.deployment(slot).images[f"{kind}api-{slot}"] = f"{slot}:1"
    found = drifting.planned()
    assert isinstance(found, Refuse)
    (why,) = found.problems
    assert (why.code, "do not have the same containers" in why.text) == ("containers-differ", True)
    lone = Drifting("sync")
    lone.deployment("blue").images[f"{kind}api-blue"] = "blue:1"
    assert isinstance(lone.planned(), Refuse)


def test_what_may_differ_is_no_drift() -> None:
    assert Drifting(differs=[LEVEL]).planned() == Rotate("blue")
    lone = Drifting(differs=[LEVEL, "spec.containers[proxy]", "spec.initContainers[first]"])
    lone.deployment("blue").images |= {"proxy": "proxy:1", "init:first": "first:1"}
    assert lone.planned() == Rotate("blue")
    start(lone.step())
    swap(lone.up().step())
    assert lone.serving() == "green"
    assert "proxy" not in lone.deployment("green").images


def test_images_alone_are_none_either() -> None:
    drifting = Drifting(differs=[LEVEL])
    drifting.deployment("blue").images["app"] = "app:2"
    assert drifting.planned() == Rotate("blue")


def test_a_whole_container_is_told_once() -> None:
    drifting = Drifting(differs=[LEVEL])
    drifting.deployment("blue").images["proxy"] = "proxy:1"
    found = drifting.planned()
    assert isinstance(found, Refuse)
    assert [one.code for one in found.problems] == ["containers-differ"]


def test_many_paths_are_counted() -> None:
    drifting = Drifting()
    drifting.configure("blue", **{f"V{number}": "x" for number in range(20)})
    found = drifting.planned()
    assert isinstance(found, Refuse)
    assert found.problems[0].text.endswith("env[V6] and 13 more")


def test_what_gives_less_than_it_could_is_told() -> None:
    bare: dict[str, Any] = {"spec": {"containers": [{"name": "app", "image": "a"}]}}
    state = workload(
        deployments={
            "blue": deployment("api-blue", paused=True, template=Template(bare)),
            "green": deployment("api-green", template=Template({}, {"type": "Recreate"})),
        },
        drift=Drift("warn"),
    )
    found = [(one.code, one.text) for one in doubts(world(state), "blue")]
    assert found == [
        ("active-deployment-paused", "workload api: its active Deployment api-blue is paused"),
        (
            "no-readiness-probe",
            "workload api: no container of Deployment api-blue has a readiness probe",
        ),
        (
            "strategy-takes-all-pods-down",
            "workload api: Deployment api-green ends all its pods before new ones are ready",
        ),
    ]
    assert plan(world(state), request(), NOW, MONTH) == Rotate("blue")


# -- start


def test_the_standby_is_started_with_the_template_that_serves() -> None:
    drifting = Drifting("sync")
    drifting.deployment("blue").images |= {"app": "app:2", "proxy": "proxy:1"}
    for _ in range(2):
        start(drifting.step())
        drifting.edges.calls.pause(0.0)
    green = drifting.deployment("green")
    assert (green.env, green.replicas, green.version) == (
        {"LOG_LEVEL": SECRET},
        2,
        drifting.version,
    )
    assert green.images == {"app": "app:2", "init:wait": "wait:1", "proxy": "proxy:1"}
    assert drifting.writes == [
        f"sync orders/api-green 2 {drifting.version}",
        f"start orders/api-green 2 {drifting.version}",
    ]


@pytest.mark.parametrize("policy", ["refuse", "warn"])
def test_otherwise_it_keeps_its_own(policy: TemplatePolicy) -> None:
    drifting = Drifting(policy)
    start(drifting.step())
    assert drifting.deployment("green").env == {}


# -- swap


@pytest.mark.guarantee(2)
def test_traffic_does_not_move_to_a_template_that_lacks_what_serves() -> None:
    drifting = Drifting().up()
    with pytest.raises(Conflict, match="was changed since the plan") as caught:
        swap(drifting.step())
    assert caught.value.code is Code.TEMPLATES_DIFFER
    assert LEVEL in str(caught.value)
    assert SECRET not in str(caught.value)
    assert (drifting.serving(), drifting.writes) == ("blue", [])


@pytest.mark.parametrize("more", [{"policy": "warn"}, {"waived": ["templates-differ"]}])
def test_where_it_is_told_or_waived_it_moves(more: dict[str, Any]) -> None:
    waived = more.pop("waived", [])
    drifting = Drifting(**more).up()
    assert swap(drifting.step(waived=waived)) == Moved()
    assert drifting.serving() == "green"


def test_it_is_brought_along_before_traffic_moves() -> None:
    drifting = Drifting("sync").up()
    drifting.deployment("green").version = "v2"
    moved = swap(drifting.step())
    assert (moved.template, moved.released == moved.had) == (LEVEL, True)
    assert (drifting.serving(), drifting.writes) == ("blue", [])
    level(drifting.step(images=moved.released, template=True))
    drifting.edges.calls.pause(0.0)
    green = drifting.deployment("green")
    assert (green.env, green.version) == ({"LOG_LEVEL": SECRET}, "v2")
    assert swap(drifting.step()) == Moved()
    assert drifting.serving() == "green"


def test_a_change_between_the_look_and_the_move_is_told() -> None:
    drifting = Drifting(differs=[LEVEL]).up()
    swap(drifting.step())
    drifting.configure("blue", LATE="1")
    text = "the pod templates of green and blue differ at spec.containers[app].env[LATE]"
    assert swap(drifting.step()).left == text


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("policy", ["refuse", "sync"])
def test_there_is_always_a_way_back_to_the_template_that_served(policy: TemplatePolicy) -> None:
    drifting = Drifting(policy, differs=[LEVEL]).up()
    swap(drifting.step())
    drifting.configure("green", LATE="1")
    moved = swap_back(drifting.step("blue"))
    text = "the pod templates of blue and green differ at spec.containers[app].env[LATE]"
    assert moved == Moved(left=text)
    assert drifting.serving() == "blue"
    assert "LATE" not in drifting.deployment("blue").env


def test_evidence_names_the_paths() -> None:
    drifting = Drifting("warn").up()
    swap(drifting.step())
    found = collect(drifting.edges, drifting.credential, "green", "r-1")
    assert found.templates == {"api": [LEVEL]}
    assert found.complete
    drifting.configure("green")
    assert collect(drifting.edges, drifting.credential, "green", "r-1").templates == {"api": []}
    drifting.configure("green", **{f"V{number}": "x" for number in range(20)})
    (paths,) = collect(drifting.edges, drifting.credential, "green", "r-1").templates.values()
    assert (len(paths), paths[-1]) == (9, "and 12 more")


# -- the story


def test_a_changed_template_is_brought_along_tested_and_told() -> None:
    story = Story("api")
    images = {"app": "app:1"}
    story.script["swap"] = sequence({"released": images, "had": images, "template": LEVEL}, {})
    story.approve()
    names = story.names()
    begin = names.index("swap green")
    assert names[begin : begin + 5] == [
        "swap green", "level green", "await_ready green", "test green", "swap green",
    ]  # fmt: skip
    (given,) = [r for _, name, r in story.calls if name == "level"]
    assert (given["template"], given["images"]) == (True, images)
    (told,) = story.output.releases
    assert told.code == "release-brought-along"
    assert told.text == (
        f"workload api: green was brought to the changed pod template ({LEVEL}), "
        "which served by then, and tested"
    )


def test_images_alone_bring_no_template() -> None:
    story = Story("api")
    story.script["swap"] = sequence({"released": {"app": "app:2"}, "had": {"app": "app:1"}}, {})
    story.approve()
    (given,) = [r for _, name, r in story.calls if name == "level"]
    assert "template" not in given


# -- a template in hand


def test_a_template_does_not_print_and_is_not_serialised() -> None:
    template = Template({"spec": SECRET})
    found = deployment("api-blue", template=template)
    assert SECRET not in f"{template!r} {template} {found!r}"
    with pytest.raises(TypeError):
        pickle.dumps(template)
    with pytest.raises(TypeError):
        msgspec.to_builtins(template)
