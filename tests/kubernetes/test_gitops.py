"""The recipes of infra/kubernetes/gitops, on the stand-in and on a real API server alike: what a
tool sends leaves traffic and replicas to rotations; the forms that do not are refused by the guard.

tests/onboarding/test_gitops.py runs them under load.
"""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.cluster.client import path_of
from rotation.edges.cluster import patches
from rotation.model.targets import DeploymentTarget, ServiceTarget
from rotation.model.world import Template
from tests.kubernetes.conftest import needs_binaries
from tests.kubernetes.support import GUARDED, RESCUER, TEAM, Guarded
from tests.onboarding import tools
from tests.onboarding.recipes import Recipe, owners, recipes
from tests.onboarding.tools import FIELDS, FOLDER, OWNER, in_git, key, with_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local.cluster.kinds import Object
    from tests.kubernetes.control import User

KUBECTL, HELM = shutil.which("kubectl"), shutil.which("helm")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="no kubectl on this machine")
needs_helm = pytest.mark.skipif(HELM is None, reason="no helm on this machine")
BLUE, GREEN = ({"app": "api", "slot": slot} for slot in ("blue", "green"))
# As it was before the first rotation, and is in the manifests of then.
BEFORE: dict[str, Any] = {"api": BLUE, "api_preview": GREEN, "api_blue": 2, "api_green": 0}
AFTER: dict[str, Any] = {"api": GREEN, "api_preview": BLUE, "api_blue": 0, "api_green": 2}
SELECTOR = "this Service's selector belongs to credential rotation"
REPLICAS = "the replicas of a slot's Deployment belong to credential rotation"
STARTS = "credential rotation alone starts a slot's pods, and takes the last of them away"
ALL = recipes()
APPLYING = {recipe.name: recipe for recipe in ALL if not recipe.scales}
SERVER_SIDE = APPLYING["kubectl-server-side"]
# Those that `make test` has; `make long` and `make test-kubernetes` have all.
QUICK = {"kubectl-apply", "flux", "keda"}


def parameters(*, scales: bool = False) -> list[Any]:
    marks = {recipe.name: () if recipe.name in QUICK else pytest.mark.long for recipe in ALL}
    found = [recipe for recipe in ALL if recipe.scales == scales]
    return [pytest.param(recipe, id=recipe.name, marks=marks[recipe.name]) for recipe in found]


class Workload:
    """The Services and Deployments of the recipes, in the guarded namespace."""

    def __init__(self, guarded: Guarded) -> None:
        self.guarded = guarded

    def asked_by(self, user: User = TEAM) -> tools.Ask:
        def ask(
            method: str, path: str, body: Any = None, content_type: str = tools.JSON
        ) -> tools.Reply:
            found = self.guarded.request(user, method, path, body, content_type)
            return tools.Reply(found.status, found.document)

        return ask

    @property
    def ask(self) -> tools.Ask:
        return self.asked_by()

    def gone(self) -> None:
        for manifest in in_git():
            self.guarded.delete(manifest)

    def stored(self) -> list[Object]:
        return [
            self.guarded.get(manifest["kind"], manifest["metadata"]["name"])
            for manifest in in_git()
        ]

    @property
    def state(self) -> dict[str, Any]:
        """What belongs to rotations, in the form of BEFORE and AFTER."""
        return {key(stored): stored["spec"].get(FIELDS[stored["kind"]]) for stored in self.stored()}

    def applied(self, recipe: Recipe, manifests: list[Object]) -> None:
        for manifest in manifests:
            reply = recipe.send(self.ask, manifest)
            assert reply.status in {200, 201}, reply.message

    def handed_over(self, recipe: Recipe) -> None:
        before = self.state
        for _ in range(2):  # a second time changes nothing
            for manifest in in_git():
                assert recipe.hand_over(self.ask, manifest).status == 200
        assert self.state == before

    def rotate(self, between: Callable[[], None]) -> None:
        """From blue to green, as the app writes it, with something else after each write."""
        edge = self.guarded.edge()
        blue, green = (DeploymentTarget(GUARDED, f"api-{slot}") for slot in ("blue", "green"))
        api, preview = (ServiceTarget(GUARDED, name, "slot") for name in ("api", "api-preview"))
        active = edge.pods.deployment(blue)
        assert active is not None
        edge.pods.start(green, replicas=active.replicas, images=active.images, version="f" * 32)
        between()
        edge.traffic.move(api, "blue", "green")
        between()
        edge.traffic.move(preview, "green", "blue")
        edge.traffic.fence(api, "orders-db-1")
        between()
        edge.pods.scale(blue, 0)
        between()


@pytest.fixture(scope="module")
def borrowed(guarded: Guarded) -> Iterator[Workload]:
    """The names that the recipes have are those of the guard's own tests."""
    found = Workload(guarded)
    yield found
    found.gone()
    guarded.restore()


@pytest.fixture
def workload(borrowed: Workload) -> Workload:
    """Nothing of it is there."""
    borrowed.gone()
    return borrowed


def labelled(number: int) -> list[Object]:
    """What Git has after another commit."""
    manifests = in_git()
    for manifest in manifests:
        manifest["metadata"].setdefault("labels", {})["commit"] = str(number)
    return manifests


def begun(workload: Workload, recipe: Recipe) -> None:
    """Applied with the tool in the form of before, and handed over."""
    workload.applied(recipe, with_fields(in_git(), **BEFORE))
    workload.handed_over(recipe)


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("recipe", parameters())
def test_a_tool_leaves_a_rotation_alone(workload: Workload, recipe: Recipe) -> None:
    begun(workload, recipe)
    commits = iter(range(10))
    workload.applied(recipe, labelled(next(commits)))
    assert workload.state == BEFORE

    def again() -> None:
        before = workload.state
        workload.applied(recipe, labelled(next(commits)))
        assert workload.state == before

    workload.rotate(again)
    assert workload.state == AFTER
    for stored in workload.stored():
        assert stored["metadata"]["labels"]["commit"] == str(next(copy.copy(commits)) - 1)
        expected = {key: set(names) for key, names in recipe.owners[stored["kind"]].items()}
        assert owners(stored) == expected, stored["metadata"]["name"]


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("recipe", parameters(scales=True))
def test_an_autoscaler_leaves_a_rotation_alone(workload: Workload, recipe: Recipe) -> None:
    """It wants three of each slot, at each time it looks, and four at last."""
    begun(workload, SERVER_SIDE)
    workload.applied(SERVER_SIDE, in_git())
    deployments = [m for m in in_git() if m["kind"] == "Deployment"]
    starts = recipe.name == "keda"  # would start a slot that is retired

    def look(wanted: int = 3) -> None:
        for deployment in deployments:
            before = workload.state
            name = key(deployment)
            reply = recipe.look(workload.ask, deployment, wanted)
            denied = starts and not before[name]
            assert (reply.status, STARTS in reply.message) == (403 if denied else 200, denied)
            assert workload.state == ({**before, name: wanted} if before[name] else before)

    look()
    workload.rotate(look)
    look(4)
    assert workload.state == {**AFTER, "api_green": 4}
    found: dict[str, set[str]] = {}
    for stored in workload.stored():
        if stored["kind"] == "Deployment":
            found[stored["metadata"]["name"]] = owners(stored)["replicas"]
    assert found == {"api-blue": {OWNER}, "api-green": {recipe.request["fieldManager"]}}
    assert set.union(*found.values()) == set(recipe.owners["Deployment"]["replicas"])


def test_a_paused_scaled_object_starts_nothing(workload: Workload) -> None:
    begun(workload, APPLYING["kubectl-apply"])
    green = next(m for m in in_git() if m["metadata"]["name"] == "api-green")
    assert tools.keda(workload.ask, green, 3, paused=True).status == 200
    assert workload.state == BEFORE


# -- forms that do harm


def refused(replies: list[tools.Reply], sentences: set[str]) -> None:
    """Something of a commit is refused, and nothing of it in other words."""
    said = [reply.message for reply in replies if reply.status != 200]
    assert said
    assert all(any(sentence in message for sentence in sentences) for message in said), said


def sent(workload: Workload, recipe: Recipe, manifests: list[Object]) -> list[tools.Reply]:
    return [recipe.send(workload.ask, manifest) for manifest in manifests]


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("recipe", parameters())
def test_without_a_hand_over_nothing_is_taken_away(workload: Workload, recipe: Recipe) -> None:
    """A manifest that leaves out what its tool has set removes it, which makes replicas one."""
    workload.applied(recipe, with_fields(in_git(), **BEFORE))
    replies = sent(workload, recipe, in_git())
    if recipe.name == "argocd":  # it applies what is there
        assert {reply.status for reply in replies} == {200}
    else:
        refused(replies, {SELECTOR, REPLICAS})
        assert len([reply for reply in replies if reply.status == 403]) == 4
    assert workload.state == BEFORE


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("recipe", parameters())
def test_the_manifests_of_before_undo_no_rotation(workload: Workload, recipe: Recipe) -> None:
    """Applied again after it, they would stop what serves, and move traffic to the other slot."""
    begun(workload, recipe)
    workload.rotate(lambda: None)
    replies = sent(workload, recipe, with_fields(in_git(), **BEFORE))
    if recipe.name == "argocd":
        assert {reply.status for reply in replies} == {200}
    elif recipe.name == "kubectl-server-side":
        assert [reply.status for reply in replies] == [409] * 4
        assert all(f'conflict with "{OWNER}"' in reply.message for reply in replies)
    else:
        refused(replies, {SELECTOR, REPLICAS})
        assert [reply.status for reply in replies] == [403] * 4
    assert workload.state == AFTER


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("recipe", parameters())
def test_a_selector_without_a_slot_selects_not_both(workload: Workload, recipe: Recipe) -> None:
    """Server-side apply replaces a selector as one value."""
    workload.applied(recipe, with_fields(in_git(), **BEFORE))
    both = with_fields(in_git(), **{**BEFORE, "api": {"app": "api"}, "api_preview": {"app": "api"}})
    services = [manifest for manifest in both if manifest["kind"] == "Service"]
    replies = sent(workload, recipe, services)
    if recipe.name == "argocd":
        assert {reply.status for reply in replies} == {200}
    else:
        assert [(reply.status, SELECTOR in reply.message) for reply in replies] == [(403, True)] * 2
    assert workload.state == BEFORE


@pytest.mark.long
def test_a_sync_that_read_before_the_swap_moves_nothing_back(workload: Workload) -> None:
    """Argo CD applies ignored fields as it found them when the sync began."""
    recipe = APPLYING["argocd"]
    begun(workload, recipe)
    workload.applied(recipe, in_git())
    seen = {stored["metadata"]["name"]: stored for stored in workload.stored()}
    workload.rotate(lambda: None)
    replies = [
        tools.argocd(workload.ask, manifest, seen=seen[manifest["metadata"]["name"]])
        for manifest in in_git()
    ]
    refused(replies, {SELECTOR, REPLICAS})
    assert workload.state == AFTER
    workload.applied(recipe, in_git())


@pytest.mark.long
def test_argo_cd_without_its_option_is_refused(workload: Workload) -> None:
    """`ignoreDifferences` alone hides a difference, and a sync applies it all the same."""
    recipe = APPLYING["argocd"]
    begun(workload, recipe)
    workload.rotate(lambda: None)
    manifests = with_fields(in_git(), **BEFORE)
    refused(
        [tools.argocd(workload.ask, manifest, respect=False) for manifest in manifests],
        {SELECTOR, REPLICAS},
    )
    assert workload.state == AFTER


@pytest.mark.parametrize("manager", ["kubectl-patch", OWNER])
def test_flux_takes_what_was_patched_by_hand_for_its_own(workload: Workload, manager: str) -> None:
    """Traffic moved by kubectl's own manager name is Flux's, and removed by its next look; not with
    the annotation of the recipe, nor if the person says the rotation's name."""
    recipe = APPLYING["flux"]
    begun(workload, recipe)
    for manifest in in_git():
        assert tools.flux(workload.ask, manifest, merge=False).status == 200
    body = [{"op": "replace", "path": "/spec/selector/slot", "value": "green"}]
    service = next(m for m in in_git() if m["metadata"]["name"] == "api")
    where = f"{path_of(service)}?fieldManager={manager}"
    moved = workload.asked_by(RESCUER)("PATCH", where, body, tools.JSON_PATCH)
    assert moved.status == 200, moved.message
    assert tools.flux(workload.ask, service).status == 200
    reply = tools.flux(workload.ask, service, merge=False)
    ours = manager == OWNER
    assert (reply.status, SELECTOR in reply.message) == ((200, False) if ours else (403, True))
    assert workload.state == {**BEFORE, "api": GREEN}


def test_another_image_by_hand_is_gits_again(workload: Workload) -> None:
    """The standby gets the image that serves; Git's is a conflict then, and comes back by force."""
    begun(workload, SERVER_SIDE)
    workload.applied(SERVER_SIDE, in_git())
    green = DeploymentTarget(GUARDED, "api-green")
    edge = workload.guarded.edge()
    edge.pods.start(green, replicas=2, images={"api": "orders:by-hand"}, version="f" * 32)
    found = workload.guarded.get("Deployment", "api-green")
    assert owners(found) == {"replicas": {OWNER}, "image": {OWNER}}
    manifest = next(m for m in in_git() if m["metadata"]["name"] == "api-green")
    reply = tools.server_side(workload.ask, manifest)
    assert (reply.status, f'conflict with "{OWNER}"' in reply.message) == (409, True)
    assert ".image" in reply.message
    forced = tools.server_side(workload.ask, manifest, force=True)
    assert forced.status == 200
    containers = forced.document["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == manifest["spec"]["template"]["spec"]["containers"][0]["image"]
    assert forced.document["spec"]["replicas"] == 2


@pytest.mark.parametrize("recipe", parameters())
def test_what_sync_brings_to_the_standby_is_changed_back_by_gits(
    workload: Workload, recipe: Recipe
) -> None:
    """Which is why it is not for those who apply the standby's manifest too."""
    begun(workload, recipe)
    workload.applied(recipe, in_git())
    manifest = next(m for m in in_git() if m["metadata"]["name"] == "api-green")
    document = copy.deepcopy(workload.guarded.get("Deployment", "api-green")["spec"]["template"])
    first = document["spec"]["containers"][0]["env"][0]
    ours = first["value"]
    first["value"] = "as the slot that serves has it"
    body = patches.sync(Template(document), 0, None)
    where = f"{path_of(manifest)}?fieldManager={OWNER}"
    assert workload.ask("PATCH", where, body, tools.STRATEGIC).status == 200
    reply = recipe.send(workload.ask, manifest)
    conflict = recipe.name == "kubectl-server-side"
    assert reply.status == (409 if conflict else 200), reply.message
    found = workload.guarded.get("Deployment", "api-green")["spec"]["template"]["spec"]
    assert found["containers"][0]["env"][0]["value"] == (first["value"] if conflict else ours)


def test_kubectl_replace_is_refused(workload: Workload) -> None:
    begun(workload, SERVER_SIDE)
    replies = [workload.ask("PUT", path_of(manifest), manifest) for manifest in in_git()]
    refused(replies, {SELECTOR, REPLICAS})
    assert [reply.status for reply in replies] == [403] * 4
    assert workload.state == BEFORE


@pytest.mark.long
def test_a_new_cluster_gets_its_first_values(workload: Workload) -> None:
    """Where Git makes the objects, nothing has a slot, and each Deployment one pod."""
    workload.applied(SERVER_SIDE, in_git())
    nothing = {"api": None, "api_preview": None, "api_blue": 1, "api_green": 1}
    assert workload.state == nothing
    for manifest in in_git():
        where, wanted = path_of(manifest), BEFORE[key(manifest)]
        if manifest["kind"] == "Service":
            body = {"spec": {"selector": wanted}}
            reply = workload.ask("PATCH", f"{where}?fieldManager={OWNER}", body, tools.STRATEGIC)
        else:
            scale = {"spec": {"replicas": wanted}}
            reply = workload.asked_by(RESCUER)("PATCH", f"{where}/scale", scale, tools.MERGE)
        assert reply.status == 200, reply.message
    workload.applied(SERVER_SIDE, in_git())
    assert workload.state == BEFORE


@pytest.mark.parametrize(
    ("replicas", "user", "status"),
    [(0, TEAM, 403), (1, TEAM, 200), (3, TEAM, 200), (0, RESCUER, 200), (3, RESCUER, 200)],
)
def test_people_scale_a_slot_that_runs_and_stop_none(
    workload: Workload, replicas: int, user: User, status: int
) -> None:
    begun(workload, APPLYING["kubectl-apply"])
    where = path_of(next(m for m in in_git() if m["metadata"]["name"] == "api-blue"))
    scale = {"spec": {"replicas": replicas}}
    ask = workload.asked_by(user)
    reply = ask("PATCH", f"{where}/scale", scale, tools.MERGE)
    assert (reply.status, STARTS in reply.message) == (status, status == 403), reply
    assert workload.state == {**BEFORE, "api_blue": replicas if status == 200 else 2}


def test_deployments_of_no_slot_are_the_teams(workload: Workload) -> None:
    plain = copy.deepcopy(next(m for m in in_git() if m["kind"] == "Deployment"))
    plain["metadata"] = {"name": "plain", "namespace": GUARDED}
    plain["spec"]["selector"] = {"matchLabels": {"app": "plain"}}
    plain["spec"]["template"]["metadata"]["labels"] = {"app": "plain"}
    try:
        for replicas in (0, 1, 0):
            plain["spec"]["replicas"] = replicas
            assert tools.server_side(workload.ask, plain).status in {200, 201}
        assert tools.keda(workload.ask, plain, 2).status == 200
    finally:
        workload.guarded.delete(plain)


# -- the programs themselves


@pytest.fixture
def program(workload: Workload, tmp_path: Path) -> Callable[..., str]:
    """Runs a program in the folder of the recipes, as one of the team. Returns what it says."""
    wrapper = tmp_path / "kubectl"
    # The stand-in publishes no schemas to validate with.
    lenient = (
        "" if workload.guarded.real else 'case "$*" in *apply*) set -- "$@" --validate=false;; esac'
    )
    wrapper.write_text(f'#!/bin/sh\n{lenient}\nexec {KUBECTL} "$@"\n', encoding="utf-8")
    wrapper.chmod(0o700)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "KUBECONFIG": str(workload.guarded.kubeconfig(TEAM)),
    }

    def run(*command: str) -> str:
        ended = subprocess.run(  # noqa: S603 - the recipes' own commands
            command,
            cwd=FOLDER,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout + ended.stderr

    return run


KEEP = "helm.sh/resource-policy=keep"
HAND_OVER = (
    *("./hand-over.sh", GUARDED, "service/api", "service/api-preview"),
    *("deployment/api-blue", "deployment/api-green"),
)


@needs_kubectl
@pytest.mark.long
@pytest.mark.parametrize(
    "recipe",
    [r for r in APPLYING.values() if r.command.startswith("kubectl")],
    ids=lambda r: r.name,
)
def test_the_program_sends_what_its_recipe_says(
    workload: Workload, program: Callable[..., str], recipe: Recipe
) -> None:
    workload.applied(recipe, with_fields(in_git(), **BEFORE))
    for _ in range(2):
        program(*HAND_OVER)
    assert workload.state == BEFORE
    command = [*recipe.command.split(), "-v=8"]
    said = program(*command)
    queries = re.findall(r"PATCH https://\S+/(?:services|deployments)/\S+\?(\S+)", said)
    assert len(queries) == 4, said
    assert all(f"fieldManager={recipe.request['fieldManager']}&" in query for query in queries)
    forced = recipe.request.get("force")
    assert forced is None or all(f"force={str(forced).lower()}" in query for query in queries)
    assert said.count(f"Content-Type: {recipe.request['type']}") == 4

    def again() -> None:
        program(*command)

    workload.rotate(again)
    assert workload.state == AFTER
    for stored in workload.stored():
        expected = {key: set(names) for key, names in recipe.owners[stored["kind"]].items()}
        assert owners(stored) == expected, stored["metadata"]["name"]


@needs_helm
@needs_kubectl
@pytest.mark.long
@pytest.mark.parametrize("guarded", [pytest.param("real", marks=needs_binaries)], indirect=True)
def test_helm_forgets_what_it_had_in_two_upgrades(
    workload: Workload, program: Callable[..., str], tmp_path: Path
) -> None:
    """The hand-over of docs/gitops.md for Helm 3, from a chart with the fields of before."""
    former = tmp_path / "former"
    shutil.copytree(FOLDER / "helm", former)
    template = yaml.safe_dump_all(with_fields(in_git(), **BEFORE))
    (former / "templates" / "workload.yaml").write_text(template, encoding="utf-8")
    program("helm", "install", "orders", str(former), "--namespace", GUARDED)
    try:
        upgrade = APPLYING["helm"].command.split()
        with pytest.raises(AssertionError, match=SELECTOR):
            program(*upgrade)
        assert workload.state == BEFORE
        program(
            "kubectl", "-n", GUARDED, "annotate", *HAND_OVER[2:], "helm.sh/resource-policy=keep"
        )
        program(*HAND_OVER)
        program(*upgrade, "--set", "handOver=true")
        program(*upgrade)
        assert workload.state == BEFORE
        releases = iter(range(10))

        def release() -> None:
            image = f"registry.example/orders:1.{next(releases)}"
            before = workload.state
            program(*upgrade, "--set", f"image={image}")
            assert workload.state == before
            assert {image} == {
                stored["spec"]["template"]["spec"]["containers"][0]["image"]
                for stored in workload.stored()
                if stored["kind"] == "Deployment"
            }

        workload.rotate(release)
        assert workload.state == AFTER
        for stored in workload.stored():
            expected = APPLYING["helm"].owners[stored["kind"]]
            assert owners(stored) == {key: set(names) for key, names in expected.items()}
    finally:
        program("helm", "uninstall", "orders", "--namespace", GUARDED)
