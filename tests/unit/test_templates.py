"""Two slots' pod templates: what is the same but for their names, and what is not."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotation.decisions.templates import (
    MOST,
    Names,
    Rules,
    brought,
    container,
    differences,
    has_probe,
    listed,
    parsed,
    shown,
    takes_all_down,
)

PAIRS = [
    ("orders_blue", "orders_green"),
    ("orders-db-blue", "orders-db-green"),
    ("api-blue", "api-green"),
]
NAMES = Names(PAIRS, ("blue", "green"))
SECRET = "a value that nobody may read"


def template(slot: str = "blue") -> dict[str, Any]:
    return {
        "metadata": {
            "creationTimestamp": None,
            "labels": {"app": "api", "slot": slot, "app.kubernetes.io/instance": f"api-{slot}"},
            "annotations": {
                "credential-rotation/secret-version": f"v-{slot}",
                "kubectl.kubernetes.io/restartedAt": f"at {slot}",
                "prometheus.io/scrape": "true",
            },
        },
        "spec": {
            "serviceAccountName": "api",
            "initContainers": [
                {"name": "migrate", "image": f"migrate:{slot}"},
                {"name": "wait", "image": "wait:1"},
            ],
            "containers": [
                {
                    "name": "api",
                    "image": f"orders:{len(slot)}",
                    "args": ["--role", f"orders_{slot}", "--slot", slot],
                    "env": [
                        {"name": "SLOT", "value": slot},
                        {"name": "DATABASE_ROLE", "value": f"orders_{slot}"},
                        {"name": "URL", "value": f"http://api-{slot}.orders/?team=blue-sky"},
                        {"name": "PASSWORD", "value": SECRET},
                    ],
                    "ports": [{"containerPort": 8080, "name": "http"}],
                    "resources": {"limits": {"memory": "256Mi", "nvidia.com/gpu": "1"}},
                    "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
                    "volumeMounts": [
                        {"name": "secrets", "mountPath": "/mnt/secrets"},
                        {"name": "secrets", "mountPath": "/mnt/more"},
                    ],
                },
            ],
            "volumes": [
                {
                    "name": "secrets",
                    "csi": {
                        "driver": "secrets-store.csi.k8s.io",
                        "volumeAttributes": {"secretProviderClass": f"orders-db-{slot}"},
                    },
                },
                {"name": "tmp", "emptyDir": {}},
            ],
            "tolerations": [{"key": "spot", "operator": "Exists"}],
        },
    }


def rules(*differs: str) -> Rules:
    return Rules(NAMES, tuple(parsed(path) for path in differs))


def change(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a path of keys and numbers; None takes it away."""
    made = copy.deepcopy(document)
    place: Any = made
    *parents, last = [int(p) if p.isdigit() else p for p in path.split("/")]
    for part in parents:
        place = place[part] if isinstance(part, int) else place.setdefault(part, {})
    if value is None:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return made


def test_templates_are_the_same_but_for_the_names_of_their_slots() -> None:
    for active, standby in (("blue", "green"), ("green", "blue")):
        assert differences(template(active), template(standby), rules()) == []


def test_the_only_init_containers_are_named_one_by_one() -> None:
    standby = change(template("green"), "spec/initContainers", None)
    found = differences(template("blue"), standby, rules())
    assert found == ["spec.initContainers[migrate]", "spec.initContainers[wait]"]
    assert differences(template("blue"), brought(template("blue"), standby, rules()), rules()) == []


def test_an_empty_list_is_none() -> None:
    standby = change(template("green"), "spec/imagePullSecrets", [])
    assert differences(template("blue"), standby, rules()) == []


def test_notes_of_ours_in_one_of_them_are_no_difference() -> None:
    for lone in ("metadata/annotations", "metadata"):
        standby = template("green")
        noted = {"annotations": {"credential-rotation/secret-version": "v"}}
        active = {"metadata": noted, "spec": {}}
        standby = change({"metadata": {"annotations": {}}, "spec": {}}, lone, None)
        assert differences(active, standby, rules()) == []
        assert differences(standby, active, rules()) == []


API = "spec/containers/0"
CHANGES: list[tuple[str, Any, str]] = [
    (
        f"{API}/env/4",
        {"name": "LOG_LEVEL", "value": "debug"},
        "spec.containers[api].env[LOG_LEVEL]",
    ),
    (f"{API}/env/3/value", "another", "spec.containers[api].env[PASSWORD].value"),
    (f"{API}/env/2/value", "http://api", "spec.containers[api].env[URL].value"),
    (f"{API}/env", None, "spec.containers[api].env"),
    (f"{API}/args/3", "red", "spec.containers[api].args"),
    (f"{API}/resources/limits/memory", "1Gi", "spec.containers[api].resources.limits.memory"),
    (
        f"{API}/resources/limits/nvidia.com~1gpu",
        "2",
        "spec.containers[api].resources.limits[nvidia.com/gpu]",
    ),
    (f"{API}/readinessProbe", None, "spec.containers[api].readinessProbe"),
    (
        f"{API}/livenessProbe",
        {"httpGet": {"path": "/healthz"}},
        "spec.containers[api].livenessProbe",
    ),
    (f"{API}/ports/0/name", "web", "spec.containers[api].ports[8080].name"),
    (
        f"{API}/volumeMounts/1/readOnly",
        True,
        "spec.containers[api].volumeMounts[/mnt/more].readOnly",
    ),
    ("spec/containers/1", {"name": "proxy", "image": "p:1"}, "spec.containers[proxy]"),
    ("spec/initContainers/0", None, "spec.initContainers[migrate]"),
    ("spec/initContainers/0/command", ["no"], "spec.initContainers[migrate].command"),
    ("spec/volumes/2", {"name": "cache", "emptyDir": {}}, "spec.volumes[cache]"),
    ("spec/volumes/1/emptyDir", {"medium": "Memory"}, "spec.volumes[tmp].emptyDir.medium"),
    ("spec/serviceAccountName", "other", "spec.serviceAccountName"),
    ("spec/tolerations/0/key", "other", "spec.tolerations"),
    ("spec/hostNetwork", True, "spec.hostNetwork"),
    ("metadata/labels/team", "sales", "metadata.labels.team"),
    (
        "metadata/annotations/prometheus.io~1scrape",
        "no",
        "metadata.annotations[prometheus.io/scrape]",
    ),
]


@pytest.mark.parametrize(("where", "value", "path"), CHANGES, ids=[c[2] for c in CHANGES])
@pytest.mark.parametrize("side", ["active", "standby"])
def test_each_difference_is_named_by_its_path_and_may_be_allowed(
    side: str, where: str, value: Any, path: str
) -> None:
    active, standby = template("blue"), template("green")
    where = where.replace("~1", "\0")
    if side == "active":
        active = change(active, where, value) if "\0" not in where else gpu(active, where, value)
    else:
        standby = change(standby, where, value) if "\0" not in where else gpu(standby, where, value)
    found = differences(active, standby, rules())
    assert found == [path]
    assert SECRET not in str(found)
    assert differences(active, standby, rules(path)) == []
    parent = path.rpartition("[" if path.endswith("]") else ".")[0]
    if parent not in {"spec", "metadata"}:
        assert differences(active, standby, rules(parent)) == []
    # What is brought along ends it, keeps what is the slot's own, and is the same when repeated.
    made = brought(active, standby, rules())
    assert differences(active, made, rules()) == []
    assert brought(active, made, rules()) == made
    assert made["metadata"]["annotations"]["credential-rotation/secret-version"] == "v-green"
    assert made["metadata"]["labels"]["slot"] == "green"
    kept = brought(active, standby, rules(path))
    images = [each["image"] for each in kept["spec"]["containers"][:1]]
    assert images == [active["spec"]["containers"][0]["image"]]


def gpu(document: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    """`change` for a last key with a slash in it."""
    parent, _, key = where.rpartition("/")
    place: Any = document
    made = copy.deepcopy(document)
    place = made
    for part in parent.split("/"):
        place = place[int(part)] if part.isdigit() else place[part]
    place[key.replace("\0", "/")] = value
    return made


def test_what_is_brought_has_the_slots_own_names() -> None:
    active = change(template("blue"), f"{API}/env/4", {"name": "A", "value": "to orders_blue"})
    active = change(active, "spec/volumes/2", {"name": "api-blue", "secret": {"secretName": "s"}})
    made = brought(active, template("green"), rules())
    env = {one["name"]: one["value"] for one in made["spec"]["containers"][0]["env"]}
    assert (env["A"], env["DATABASE_ROLE"], env["SLOT"]) == (
        "to orders_green",
        "orders_green",
        "green",
    )
    assert env["URL"].endswith("team=blue-sky")  # a word of both stays one
    assert made["spec"]["volumes"][2]["name"] == "api-green"
    assert made["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] == "at green"


def test_the_old_name_of_a_service_account_follows_the_new_one() -> None:
    """The API server writes both, and reads the old one where there is no new one."""
    both = "spec/serviceAccountName", "spec/serviceAccount"
    active, standby = template("blue"), template("green")
    for path in both:
        active = change(active, path, "one")
        standby = change(standby, path, "another")
    assert differences(active, standby, rules()) == ["spec.serviceAccountName"]
    allowed = rules("spec.serviceAccountName")
    assert differences(active, standby, allowed) == []
    made = brought(active, standby, allowed)["spec"]
    assert (made["serviceAccountName"], made.get("serviceAccount")) == ("another", None)
    neither = change(active, both[0], None)
    made = brought(change(neither, both[1], None), standby, rules())["spec"]
    assert not {"serviceAccount", "serviceAccountName"} & made.keys()


@pytest.mark.parametrize("own", ["URL_blue", "URL_green"])
def test_both_slots_names_are_brought_where_the_standby_has_one_of_them(own: str) -> None:
    """As in an environment that names both slots' addresses: none of the two gets lost."""
    active = change(template("blue"), f"{API}/env/4", {"name": "URL_blue", "value": "1"})
    active = change(active, f"{API}/env/5", {"name": "URL_green", "value": "2"})
    standby = change(template("green"), f"{API}/env/4", {"name": own, "value": "3"})
    assert differences(active, standby, rules()) != []
    made = brought(active, standby, rules())
    env = {one["name"]: one["value"] for one in made["spec"]["containers"][0]["env"]}
    assert (env["URL_green"], env["URL_blue"]) == ("1", "2")
    assert differences(active, made, rules()) == []


def test_what_may_differ_stays_as_it_is_when_the_rest_is_brought() -> None:
    active = change(template("blue"), f"{API}/env/4", {"name": "A", "value": "1"})
    active = change(active, f"{API}/env/3/value", "of blue")
    standby = change(template("green"), f"{API}/env/4", {"name": "OWN", "value": "2"})
    standby = change(standby, "spec/containers/1", {"name": "proxy", "image": "p:1"})
    given = rules(
        "spec.containers[api].env[PASSWORD]",
        "spec.containers[api].env[OWN]",
        "spec.containers[proxy]",
    )
    assert differences(active, standby, given) == ["spec.containers[api].env[A]"]
    made = brought(active, standby, given)
    env = {one["name"]: one["value"] for one in made["spec"]["containers"][0]["env"]}
    assert (env["A"], env["PASSWORD"], env["OWN"]) == ("1", SECRET, "2")
    assert [each["name"] for each in made["spec"]["containers"]] == ["api", "proxy"]


def test_one_slots_own_name_in_the_other_is_a_difference() -> None:
    """Copied with its role: the classic."""
    standby = change(template("green"), f"{API}/env/1/value", "orders_blue")
    path = "spec.containers[api].env[DATABASE_ROLE].value"
    assert differences(template("blue"), standby, rules()) == [path]


def test_a_name_without_its_slot_may_be_a_word_of_both() -> None:
    """A role that was there first is often called as the application is."""
    names = Rules(Names([("orders", "orders_green")], ("blue", "green")))

    def found(role: str, app: str) -> dict[str, Any]:
        return {"spec": {"containers": [{"name": app, "env": [{"name": "ROLE", "value": role}]}]}}

    assert differences(found("orders", "orders"), found("orders_green", "orders"), names) == []
    assert differences(found("orders_green", "orders"), found("orders", "orders"), names) == []


def test_names_are_replaced_as_words_and_the_longest_first() -> None:
    names = Names([("api", "api-2"), ("api-blue", "api-green")], ("blue", "green"))
    assert names.renamed("api-blue apiblue blueapi xapi api/blue_1") == (
        "api-green apiblue blueapi xapi api-2/green_1"
    )


@given(st.text("orders_blue-gren api", max_size=40))
def test_renaming_twice_changes_nothing(text: str) -> None:
    assert NAMES.renamed(NAMES.renamed(text)) == text
    assert NAMES.same(text, NAMES.renamed(text))


def test_init_containers_run_in_an_order() -> None:
    active = template("blue")
    active["spec"]["initContainers"].reverse()
    assert differences(active, template("green"), rules()) == ["spec.initContainers"]
    made = brought(active, template("green"), rules())
    assert [each["name"] for each in made["spec"]["initContainers"]] == ["wait", "migrate"]
    active = template("blue")
    active["spec"]["containers"][0]["env"].reverse()
    assert differences(active, template("green"), rules()) == []


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(0, 3)
    | st.sampled_from(["blue", "green", "orders_blue", "orders_green", "x", ""])
)
KEYS = st.sampled_from(["env", "containers", "name", "image", "blue", "orders_green", "spec"])
ITEMS = st.fixed_dictionaries({"name": st.sampled_from("abc")}, optional={"value": LEAVES})
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES | st.lists(ITEMS, max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


@given(DOCUMENTS, DOCUMENTS)
@example({"env": [{"env": None, "name": []}]}, {})  # no name, which would be left out
def test_whatever_the_templates_are_what_is_brought_is_the_same(active: Any, standby: Any) -> None:
    assert differences(active, brought(active, standby, rules()), rules()) == []


# -- how paths are written


@pytest.mark.parametrize(
    "text",
    [
        "spec.containers[api].env[LOG_LEVEL]",
        "spec.volumes[tmp].emptyDir",
        "spec.containers[api].resources.limits[nvidia.com/gpu]",
        "metadata.labels[app.kubernetes.io/name]",
        "metadata.annotations",
        "spec.serviceAccountName",
        "spec.containers[api].volumeMounts[/mnt/secrets]",
        "spec.containers[api].args",
        "spec.affinity.nodeAffinity",
    ],
)
def test_a_path_is_written_as_it_is_shown(text: str) -> None:
    assert shown(parsed(text)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must lead somewhere"),
        ("spec", "must lead somewhere"),
        ("metadata", "metadata.labels and metadata.annotations"),
        ("metadata.name", "metadata.labels and metadata.annotations"),
        ("metadata.labels.app.kubernetes.io/name", "in brackets: metadata.labels[app...]"),
        ("spec.template.spec.containers[api]", "leave `template` out"),
        ("template.spec.containers[api]", "leave `template` out"),
        ("containers[api].env", "must lead somewhere"),
        ("spec.env[LOG_LEVEL]", "write spec.containers[NAME].env"),
        ("spec.containers[0].env", "have names: write spec.containers[NAME]"),
        ("spec.containers[api].args[1]", "`args` is compared as a whole"),
        ("spec.containers[api].image", "never compared"),
        ("spec.serviceAccount", "never compared"),
        ("metadata.annotations[credential-rotation/secret-version]", "never compared"),
        ("spec.containers[api", "brackets come in pairs"),
        ("spec.containers[api]env", "after a bracket comes a dot"),
        ("spec..containers", "empty part"),
        ("spec.containers[]", "brackets come in pairs"),
    ],
)
def test_a_path_that_can_match_nothing_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parsed(text)


def test_a_path_may_be_written_without_brackets_where_there_is_no_dot_in_a_key() -> None:
    assert parsed("spec.containers.api.env.LOG_LEVEL") == parsed(
        "spec.containers[api].env[LOG_LEVEL]"
    )


def test_a_path_may_name_either_slots_own_name() -> None:
    active = change(template("blue"), "spec/volumes/2", {"name": "api-blue", "emptyDir": {}})
    for name in ("api-blue", "api-green"):
        assert differences(active, template("green"), rules(f"spec.volumes[{name}]")) == []


def test_what_others_write_into_a_key_stays_a_line_of_text() -> None:
    mount = {"name": "tmp", "mountPath": "/a\nb" + "c" * 300}
    active = change(template("blue"), f"{API}/volumeMounts/2", mount)
    (found,) = differences(active, template("green"), rules())
    assert found.startswith("spec.containers[api].volumeMounts[/a?bc")
    assert len(found) == 160


def test_few_paths_are_named_and_the_others_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(number) for number in range(MOST + 2)]).endswith("7 and 2 more")


def test_whole_containers_are_known() -> None:
    assert container("spec.containers[api]") == "api"
    assert container("spec.initContainers[wait]") == "init:wait"
    assert container("spec.containers[api].env") is None
    assert container("spec.volumes[api]") is None


@pytest.mark.parametrize(
    ("strategy", "replicas", "expected"),
    [
        ({}, 2, False),
        ({"type": "Recreate"}, 2, True),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}}, 1, False),
        ({"rollingUpdate": {"maxUnavailable": "100%", "maxSurge": 0}}, 3, True),
        ({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}, 2, False),
        ({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}, 1, True),
        ({"rollingUpdate": {"maxUnavailable": 1}}, 0, False),
    ],
)
def test_a_strategy_that_takes_all_pods_down_is_known(
    strategy: dict[str, Any], replicas: int, expected: bool
) -> None:
    assert takes_all_down(strategy, replicas) is expected


def test_a_probe_of_any_container_tells_when_a_pod_is_ready() -> None:
    assert has_probe(template())
    assert not has_probe(change(template(), f"{API}/readinessProbe", None))
    assert has_probe({})
