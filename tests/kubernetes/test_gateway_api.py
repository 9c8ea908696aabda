"""HTTPRoutes on the stand-in, and on a real API server with the published CRDs: what is taken, what
the app's moves do there, and what the guard lets through.

The CRDs are those of the Go module in gateway_api/go.mod. What they say was written anew for the
stand-in, and is compared here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.process import wait_until
from rotation.edges.cluster.patches import FENCE, ROTATION
from rotation.model.errors import Conflict, Denied, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import RouteTarget
from tests.kubernetes.control import ADMIN, User
from tests.kubernetes.http_routes import BAD, GOOD, GROUP, backend, pair, route
from tests.kubernetes.support import APP, FREE, GUARDED, RESCUER, TEAM, TYPES

if TYPE_CHECKING:
    from tests.kubernetes.support import Answer, Guarded

MODULE = Path(__file__).with_name("gateway_api")
NAME = "sigs.k8s.io/gateway-api"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OWN = {"apiGroups": [GROUP], "resources": ["httproutes"]}
RULES = [{**OWN, "resourceNames": ["web"], "verbs": ["get", "patch"]}, {**OWN, "verbs": ["list"]}]
TARGET = RouteTarget(GUARDED, "web", "web-blue", "web-green")
MIRROR = {"type": "RequestMirror", "requestMirror": {"backendRef": backend("copy")}}
SHARED: dict[str, Any] = {
    "hostnames": ["web.example.org"],
    "rules": [
        {"backendRefs": [backend("other", weight=3)]},
        {"backendRefs": pair(100, 0), "filters": [MIRROR], "timeouts": {"request": "10s"}},
    ],
}


def crds() -> list[dict[str, Any]]:
    """The published ones, of the module's checksum. Skips without Go."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no Go here, by which the published CRDs come")
    done = subprocess.run(  # noqa: S603 - arguments of our own
        [go, "mod", "download", "-json", NAME],
        cwd=MODULE,
        env={**os.environ, "GOFLAGS": "-mod=readonly", "GOWORK": "off"},
        capture_output=True,
        check=True,
    )
    folder = Path(json.loads(done.stdout)["Dir"]) / "config" / "crd" / "standard"
    files = [folder / f"{GROUP}_{plural}.yaml" for plural in ("httproutes", "gateways")]
    return [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]


def where(name: str = "", namespace: str = GUARDED) -> str:
    return f"/apis/{GROUP}/v1/namespaces/{namespace}/httproutes{f'/{name}' if name else ''}"


@pytest.fixture(scope="module")
def served(guarded: Guarded) -> Guarded:
    """An API server with HTTPRoutes, and with the app's rights to them."""
    if guarded.real:
        for crd in crds():
            said = guarded.request(ADMIN, "POST", CRDS, crd)
            assert said.status in {201, 409}, said.message
        wait_until(lambda: _serves(guarded), 30, "HTTPRoutes")
    group = "rbac.authorization.k8s.io"
    subject = {"apiGroup": group, "kind": "User", "name": APP.name}
    reference = {"apiGroup": group, "kind": "Role", "name": "routes"}
    for namespace in (GUARDED, FREE):
        common = {"apiVersion": f"{group}/v1", "metadata": {"name": "routes"}}
        guarded.apply(
            {**common, "kind": "Role", "rules": RULES},
            {**common, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]},
            namespace=namespace,
        )
    return guarded


def _serves(guarded: Guarded) -> bool:
    try:
        return guarded.request(ADMIN, "GET", where()).status == 200
    except ValueError:  # of a path that is not served yet it says so in plain words
        return False


@pytest.fixture
def web(served: Guarded) -> Guarded:
    """With a route of two slots, made anew."""
    for namespace in (GUARDED, FREE):
        served.request(ADMIN, "DELETE", where("web", namespace))
        said = served.request(ADMIN, "POST", where(namespace=namespace), route(**SHARED))
        assert said.status == 201, said.message
    if served.real:
        wait_until(lambda: _denies(served), 30, "the guard being in force for HTTPRoutes")
    return served


def _denies(served: Guarded) -> bool:
    return patched(served, {"spec": {"hostnames": ["other.example.org"]}}, dry=True).status == 403


def patched(
    served: Guarded,
    body: Any,
    kind: str = "merge",
    *,
    namespace: str = GUARDED,
    dry: bool = False,
) -> Answer:
    at = where("web", namespace) + ("?dryRun=All" if dry else "")
    return served.request(APP, "PATCH", at, body, TYPES[kind])


def read(served: Guarded) -> dict[str, Any]:
    return served.request(ADMIN, "GET", where("web")).document


def tried(served: Guarded, spec: dict[str, Any], query: str = "") -> Answer:
    manifest = route("tried", **spec)
    return served.request(ADMIN, "POST", f"{where()}?dryRun=All{query}", manifest)


def test_both_take_and_refuse_the_same(served: Guarded) -> None:
    """In one test: a server is asked a hundred times, and says all that it sees otherwise."""
    wrong = [f"takes not: {name}" for name in GOOD if tried(served, GOOD[name]).status != 201]
    wrong += [f"takes: {name}" for name in BAD if tried(served, BAD[name]).status != 422]
    assert wrong == []


def test_what_is_left_out_is_filled_in_alike(served: Guarded) -> None:
    spec = tried(served, GOOD["an unknown field"]).document["spec"]
    assert spec == {
        "parentRefs": [{"group": GROUP, "kind": "Gateway", "name": "edge"}],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [
                    {"group": "", "kind": "Service", "name": "web-blue", "port": 80, "weight": 1}
                ],
            }
        ],
    }


def test_unknown_fields_are_refused_where_that_is_asked(served: Guarded) -> None:
    said = tried(served, GOOD["an unknown field"], "&fieldValidation=Strict")
    assert (said.status, 'unknown field "spec.unheard"' in said.message) == (400, True)
    assert tried(served, GOOD["two slots"], "&fieldValidation=Strict").status == 201


def test_no_strategic_merge_patch_is_known(web: Guarded) -> None:
    assert patched(web, {"spec": {"hostnames": []}}, "strategic").status == 415


def weights(document: dict[str, Any]) -> list[list[int]]:
    rules = document["spec"]["rules"]
    return [[one["weight"] for one in rule["backendRefs"]] for rule in rules]


def test_moves_change_weights_and_nothing_else(web: Guarded) -> None:
    before, traffic = read(web), web.edge().traffic
    seen = traffic.route(TARGET)
    assert seen is not None
    assert (seen.slot, seen.refused) == ("blue", True)
    for share, expected in ((10, [90, 10]), (50, [50, 50]), (10, [50, 50]), (100, [0, 100])):
        for _ in range(2):
            traffic.shift(TARGET, "green", share, by="r-1")
        assert weights(read(web)) == [[3], expected]
    traffic.shift(TARGET, "blue", 100, by="r-2")
    after = read(web)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["annotations"][ROTATION] == "r-2"


def test_a_move_of_an_earlier_revision_comes_to_nothing(web: Guarded) -> None:
    traffic = web.edge().traffic
    seen = traffic.route(TARGET)
    assert seen is not None
    traffic.fence(TARGET, "r-1")
    traffic.fence(TARGET, "r-1")
    with pytest.raises(Unavailable) as caught:
        traffic.shift(TARGET, "green", 100, revision=seen.revision)
    assert caught.value.code == Code.TRAFFIC_CHANGED
    found = traffic.route(TARGET)
    assert found is not None
    assert (found.slot, found.fence) == ("blue", "r-1")
    assert read(web)["metadata"]["annotations"] == {FENCE: "r-1"}


def test_a_patch_that_comes_late_is_a_conflict(web: Guarded) -> None:
    stale = read(web)["metadata"]["resourceVersion"]
    web.edge().traffic.fence(TARGET, "r-1")
    body = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": stale},
        {"op": "add", "path": "/spec/rules/1/backendRefs/1/weight", "value": 7},
    ]
    said = patched(web, body, "json")
    assert (said.status, weights(read(web))) == (409, [[3], [100, 0]])


def test_what_is_not_there_or_not_of_the_slots_is_told(web: Guarded) -> None:
    traffic = web.edge().traffic
    foreign = RouteTarget(GUARDED, "web", "web-blue", "web-purple")
    with pytest.raises(Conflict) as caught:
        traffic.shift(foreign, "green", 100)
    assert caught.value.code == Code.ROUTE_BACKENDS
    web.request(ADMIN, "DELETE", where("web"))
    assert traffic.route(TARGET) is None
    with pytest.raises(Missing):
        traffic.shift(TARGET, "green", 100)
    with pytest.raises(Missing):
        traffic.fence(TARGET, "r-1")


def test_others_are_seen_by_what_they_lead_to(web: Guarded) -> None:
    web.request(ADMIN, "DELETE", where("copy"))
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": backend("web-green")}}
    spec = {"rules": [{"backendRefs": [backend("other")], "filters": [mirror]}]}
    assert web.request(ADMIN, "POST", where(), route("copy", **spec)).status == 201
    seen = {one.name: one.services for one in web.edge().traffic.http_routes(GUARDED)}
    assert seen == {
        "web": {"web-blue", "web-green", "other", "copy"},
        "copy": {"other", "web-green"},
    }
    web.request(ADMIN, "DELETE", where("copy"))


AT = "/spec/rules/1"
REFS = f"{AT}/backendRefs"
DENIED: dict[str, list[dict[str, Any]]] = {
    "a hostname": [{"op": "replace", "path": "/spec/hostnames/0", "value": "x.example.org"}],
    "a parent": [{"op": "replace", "path": "/spec/parentRefs/0/name", "value": "other"}],
    "no parents": [{"op": "remove", "path": "/spec/parentRefs"}],
    "another Service": [{"op": "replace", "path": f"{REFS}/1/name", "value": "evil"}],
    "another port": [{"op": "replace", "path": f"{REFS}/1/port", "value": 81}],
    "another namespace": [{"op": "add", "path": f"{REFS}/1/namespace", "value": "elsewhere"}],
    "a filter of a backend": [{"op": "add", "path": f"{REFS}/1/filters", "value": [MIRROR]}],
    "one more backend": [{"op": "add", "path": f"{REFS}/-", "value": backend("evil")}],
    "one fewer": [{"op": "remove", "path": f"{REFS}/1"}],
    "none": [{"op": "remove", "path": REFS}],
    "another order": [{"op": "move", "from": f"{REFS}/0", "path": f"{REFS}/1"}],
    "a path": [{"op": "replace", "path": f"{AT}/matches/0/path/value", "value": "/x"}],
    "a mirror": [
        {
            "op": "replace",
            "path": f"{AT}/filters/0/requestMirror/backendRef/name",
            "value": "evil",
        }
    ],
    "no mirror": [{"op": "remove", "path": f"{AT}/filters"}],
    "a timeout": [{"op": "replace", "path": f"{AT}/timeouts/request", "value": "1s"}],
    "one more rule": [{"op": "add", "path": "/spec/rules/-", "value": {"backendRefs": []}}],
    "one rule fewer": [{"op": "remove", "path": "/spec/rules/0"}],
    "a label": [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}],
    "an annotation": [{"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}],
}


def test_the_guard_lets_weights_through_and_nothing_else(web: Guarded) -> None:
    wrong = {
        name: said.message
        for name, body in DENIED.items()
        if (said := patched(web, body, "json", dry=True)).status != 403
        or "denied request: credential rotation changes" not in said.message
    }
    assert wrong == {}
    free = {
        name: said.message
        for name, body in DENIED.items()
        if (said := patched(web, body, "json", namespace=FREE, dry=True)).status != 200
    }
    assert free == {}


def test_a_denial_is_told_as_the_guards(web: Guarded) -> None:
    """By the words of the policy that nobody's own edits of an HTTPRoute are held to."""
    team = web.request(
        TEAM, "PATCH", where("web"), {"spec": {"hostnames": ["a.b"]}}, TYPES["merge"]
    )
    assert team.status == 200
    said = patched(web, {"spec": {"hostnames": ["c.d"]}})
    assert "'credential-rotation-routes'" in said.message


GUARD = "credential-rotation/guard"
LABELLED = {"metadata": {"labels": {GUARD: "on"}}}
# What a tool sends that has the route in Git: its rules as a whole.
FROM_GIT = {
    "without weights": [{"backendRefs": [backend("web-blue"), backend("web-green")]}],
    "with those of the beginning": [{"backendRefs": pair(100, 0)}],
    "with a slot alone": [{"backendRefs": [backend("web-blue")]}],
    "in one of two rules": [{"backendRefs": pair(0, 100)}, {"backendRefs": pair(100, 0)}],
}
HARMLESS = {
    "the same weights": [{"backendRefs": pair(0, 100)}],
    "another path, and one more backend": [
        {"matches": [{"path": {"value": "/v2"}}], "backendRefs": [*pair(0, 100), backend("more")]}
    ],
}


def by(web: Guarded, user: User, body: dict[str, Any]) -> Answer:
    return web.request(user, "PATCH", where("web"), body, TYPES["merge"])


def test_nobody_else_changes_the_weights_of_a_route_with_the_label(web: Guarded) -> None:
    """Half of the requests would go to a slot without pods."""
    assert by(web, ADMIN, LABELLED).status == 200
    web.edge().traffic.shift(TARGET, "green", 100, by="r-1")
    for name, rules in FROM_GIT.items():
        said = by(web, TEAM, {"spec": {"rules": rules}})
        assert (said.status, "belong to credential rotation" in said.message) == (403, True), name
    said = by(web, TEAM, {"metadata": {"labels": {GUARD: None}}})
    assert (said.status, "leave it there" in said.message) == (403, True)
    with pytest.raises(Denied, match="policy credential-rotation-weights") as denied:
        web.edge(TEAM).traffic.shift(TARGET, "blue", 100)
    assert denied.value.code == Code.CLUSTER_GUARDED
    assert weights(read(web))[-1] == [0, 100]
    for name, rules in HARMLESS.items():
        assert by(web, TEAM, {"spec": {"rules": rules}}).status == 200, name
    assert by(web, TEAM, {"spec": {"hostnames": ["a.b"]}}).status == 200
    web.edge().traffic.shift(TARGET, "blue", 100, by="r-2")
    assert by(web, RESCUER, {"spec": {"rules": FROM_GIT["without weights"]}}).status == 200


def test_without_the_label_they_are_everybodys(web: Guarded) -> None:
    assert by(web, TEAM, {"spec": {"rules": FROM_GIT["without weights"]}}).status == 200


def test_without_the_right_it_is_denied(served: Guarded) -> None:
    other = RouteTarget(GUARDED, "another", "web-blue", "web-green")
    with pytest.raises(Denied) as caught:
        served.edge().traffic.route(other)
    assert caught.value.code == Code.CLUSTER_DENIED
