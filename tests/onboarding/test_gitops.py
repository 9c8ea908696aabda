"""The recipes of infra/kubernetes/gitops around whole rotations, under load: no request may fail.

Each tool applies its workload before a rotation, again and again while it runs, and after it, as
one of the team, under the guard. tests/kubernetes/test_gitops.py has them one by one, and what is
refused.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from local.cluster.client import apply, connect, path_of, read_manifests
from local.load import Load
from local.process import ROOT
from local.stack import Options, Stack
from tests.conftest import QUICK
from tests.infra.test_kubernetes_schemas import check
from tests.infra.test_rbac import rotate
from tests.kubernetes.support import rights
from tests.onboarding import tools
from tests.onboarding.recipes import Recipe, owners, recipes
from tests.onboarding.tools import FIELDS, FOLDER, OWNER, Reply, in_git, key, with_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.cluster.kinds import Object

RECIPES = {recipe.name: recipe for recipe in recipes()}
SERVER_SIDE = RECIPES["kubectl-server-side"]
# Which tool has which workload in a rotation: `api` by CSI volume, `web` by Secret.
ROUNDS = [
    ("kubectl-apply", "flux"),
    ("kubectl-server-side", "helm"),
    ("kubectl-server-side-forced", "argocd"),
    ("kustomize", "hpa"),
    ("keda", "hpa"),
]
GUARDED = ("belongs to credential rotation", "belong to credential rotation")


class Team:
    """Somebody of the team, with whose rights a tool runs."""

    def __init__(self, stack: Stack) -> None:
        apply(stack.owner.kubernetes, rights()[-2:])
        self._client = connect(stack.directory / "cluster" / "kubeconfig")
        self._as = {"Impersonate-User": "dev@contoso.example", "Impersonate-Group": "team"}

    def ask(
        self, method: str, path: str, body: Any = None, content_type: str = tools.JSON
    ) -> Reply:
        parts = self._client.param_serialize(
            method,
            path,
            header_params={"Content-Type": content_type, **self._as},
            auth_settings=["BearerToken"],
        )
        sent = json.dumps(body) if content_type == tools.APPLY else body
        answer = self._client.call_api(*parts[:3], sent).response
        return Reply(answer.status, json.loads(answer.read()))


class Deployed:
    """A workload of the stack that a recipe's tool deploys."""

    def __init__(self, team: Team, name: str, recipe: Recipe) -> None:
        self.ask, self.name, self.recipe = team.ask, name, recipe
        self.tool = SERVER_SIDE if recipe.scales else recipe
        self.commits = 0
        self.troubles: list[str] = []

    def stored(self) -> list[Object]:
        return [self.ask("GET", path_of(manifest)).document for manifest in in_git(self.name)]

    @property
    def state(self) -> dict[str, Any]:
        return {key(stored): stored["spec"].get(FIELDS[stored["kind"]]) for stored in self.stored()}

    def begin(self) -> None:
        """Nothing is left of another tool; this one applies the form of before, and hands over."""
        before = self.state
        for stored in self.stored():
            metadata = {"managedFields": [{}], "annotations": {tools.LAST_APPLIED: None}}
            body = {"metadata": {**metadata, "labels": {"commit": None}}}
            assert self.ask("PATCH", path_of(stored), body, tools.MERGE).status == 200
        for manifest in with_fields(in_git(self.name), **before):
            reply = self.tool.send(self.ask, manifest)
            assert reply.status == 200, reply.message
            assert self.tool.hand_over(self.ask, manifest).status == 200
        assert self.state == before

    def commit(self) -> None:
        """Another commit is applied, or the autoscaler looks."""
        self.commits += 1
        for manifest in in_git(self.name):
            if not self.recipe.scales:
                manifest["metadata"].setdefault("labels", {})["commit"] = str(self.commits)
                self._note(self.recipe.send(self.ask, manifest))
            elif manifest["kind"] == "Deployment":
                self._note(self.recipe.look(self.ask, manifest, 2))

    def _note(self, reply: Reply) -> None:
        # What Argo CD copied a moment before a swap, and a slot that KEDA would start.
        denied = self.recipe.name in {"argocd", "keda"} and reply.status == 403
        if not (reply.status == 200 or denied):
            self.troubles.append(f"{self.recipe.name}: {reply.status} {reply.message}")

    @contextmanager
    def again_and_again(self) -> Iterator[None]:
        stopped = threading.Event()

        def run() -> None:
            while not stopped.wait(2):
                self.commit()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def expect(self, active: str, standby: str) -> None:
        assert self.troubles == []
        assert self.commits > 3
        found = self.state
        assert found[self.name] == {"app": self.name, "slot": active}
        assert found[f"{self.name}_preview"] == {"app": self.name, "slot": standby}
        assert (found[f"{self.name}_{active}"] > 0, found[f"{self.name}_{standby}"]) == (True, 0)
        for stored in self.stored():
            expected = self.recipe.owners[stored["kind"]]
            seen = owners(stored)
            # What the tool never changed is nobody's here, since `begin` has cleared the owners.
            assert all(seen[word] <= set(names) for word, names in expected.items()), seen
            assert seen[FIELDS[stored["kind"]]]
            if not self.recipe.scales:
                assert stored["metadata"]["labels"]["commit"] == str(self.commits)

    def apply_the_example(self) -> list[Reply]:
        """What brought all down: the manifests of the first day."""
        name = self.name
        first: dict[str, Any] = {
            name: {"app": name, "slot": "blue"},
            f"{name}_preview": {"app": name, "slot": "green"},
            f"{name}_blue": 2,
            f"{name}_green": 0,
        }
        return [self.tool.send(self.ask, each) for each in with_fields(in_git(name), **first)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    # Time to look anew, where a commit comes between a swap's look and its change.
    credential = {**QUICK, "retry": {"patience": "60s", "compensation": "60s"}}
    options = Options(replicas=1, watch_seconds=2, credential=credential)
    with Stack(tmp_path_factory.mktemp("gitops"), options) as running:
        yield running


@pytest.mark.long
@pytest.mark.guarantee(2)
@pytest.mark.timeout(180)
@pytest.mark.parametrize("pair", ROUNDS, ids="+".join)
def test_no_request_fails_while_tools_apply(stack: Stack, pair: tuple[str, str]) -> None:
    team = Team(stack)
    active, standby = ("blue", "green") if stack.owner.active_slots()["api"] == "blue" else (
        "green", "blue",
    )  # fmt: skip
    deployed = [
        Deployed(team, name, RECIPES[recipe])
        for name, recipe in zip(("api", "web"), pair, strict=True)
    ]
    urls = [
        stack.owner.service_url(namespace, name)
        for name, namespace in (("api", "orders"), ("web", "shop"))
    ]
    with Load(urls, rate=40) as load:
        for each in deployed:
            each.begin()
            each.commit()
        with deployed[0].again_and_again(), deployed[1].again_and_again():
            assert rotate(stack, "approve") == "completed"
        for each in deployed:
            each.commit()
            each.expect(standby, active)
            if active == "blue":  # the first day's manifests are not today's
                before = each.state
                replies = each.apply_the_example()
                assert each.state == before
                if each.recipe.name != "argocd":
                    assert all(reply.status in {403, 409} for reply in replies)
        report = load.stop()
    assert report.failed == 0, report.failures
    assert report.requests > 100


# -- the files


def test_git_has_the_example_without_what_rotations_own() -> None:
    example = [
        manifest
        for manifest in read_manifests(tools.EXAMPLE / "api.yaml")
        if manifest["kind"] in FIELDS
    ]
    for manifest in example:
        manifest["spec"].pop(FIELDS[manifest["kind"]])
    assert read_manifests(tools.WORKLOAD) == example
    for manifest in example:
        check(manifest)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_recipe_is_whole(recipe: Recipe) -> None:
    text = (ROOT / "docs" / "gitops.md").read_text(encoding="utf-8")
    assert f"infra/kubernetes/gitops/{recipe.name}" in text
    assert recipe.command in text
    assert recipe.request["fieldManager"] in text
    assert recipe.owners["Service"]["selector"] == [OWNER]
    assert OWNER in recipe.owners["Deployment"]["replicas"]
    if recipe.settings:
        assert read_manifests(FOLDER / recipe.name / recipe.settings)


def test_the_settings_do_what_the_page_says() -> None:
    def settings(path: str) -> list[Object]:
        return read_manifests(FOLDER / path)

    (application,) = settings("argocd/application.yaml")
    assert "RespectIgnoreDifferences=true" in application["spec"]["syncPolicy"]["syncOptions"]
    (flux,) = settings("flux/kustomization.yaml")
    assert flux["spec"]["commonMetadata"]["annotations"] == {tools.SSA_POLICY: "Merge"}
    ignored = {rule["target"]["kind"]: rule["paths"] for rule in flux["spec"]["ignore"]}
    assert ignored == {kind: [f"/spec/{name}"] for kind, name in FIELDS.items()}
    for scaled in settings("keda/scaled-objects.yaml"):
        assert scaled["spec"]["minReplicaCount"] > 0
        assert "idleReplicaCount" not in scaled["spec"]
    for autoscaler in settings("hpa/autoscalers.yaml"):
        assert autoscaler["spec"]["minReplicas"] > 0
        check(autoscaler)
