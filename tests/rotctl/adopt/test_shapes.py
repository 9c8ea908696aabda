"""Twenty Deployments as public charts have them: the twin differs in its slot's parts alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation import config
from rotation.decisions import templates
from rotctl.adopt import folder, twin
from rotctl.adopt.cleaning import cleaned
from rotctl.adopt.original import name_of, template_of
from rotctl.adopt.plan import SLOTS
from tests.infra.test_kubernetes_schemas import check
from tests.rotctl.adopt.shapes import Shape, shape, shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotctl.adopt.original import Object
    from rotctl.adopt.plan import Plan, Workload

SHAPES = shapes()
every = pytest.mark.parametrize("found", SHAPES, ids=str)


def planned(found: Shape) -> tuple[Plan, Workload]:
    plan = found.plan()
    return plan, plan.workloads[0]


def paths(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two documents differ; items of lists by their names, where all have one."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from paths(before.get(key), after.get(key), f"{path}.{key}")
    elif _named(before) and _named(after):
        one, other = ({item["name"]: item for item in items} for items in (before, after))
        for name in sorted({*one, *other}):
            yield from paths(one.get(name), other.get(name), f"{path}[{name}]")
    elif before != after:
        yield path, before, after


def _named(items: Any) -> bool:
    return isinstance(items, list) and all(isinstance(i, dict) and "name" in i for i in items)


def test_there_are_twenty() -> None:
    assert len(SHAPES) == 20


@every
def test_it_is_found_what_each_has(found: Shape) -> None:
    plan, workload = planned(found)
    expect = found.expect
    assert plan.credential.slots["blue"].role == expect["role"]
    assert plan.credential.slots["blue"].secret == expect["secret"]
    assert plan.credential.format == expect.get("format", "password")
    assert (workload.service, workload.called) == (expect["service"], expect.get("called", True))
    assert list(workload.services) == expect.get("services", [])
    assert sorted(workload.others) == expect.get("others", [])
    assert workload.carrier.mounted == (expect["delivery"] == "csi")
    for word in expect.get("tells", []):
        assert word in found.told()


@every
def test_a_slot_differs_from_the_original_in_its_own_parts_alone(found: Shape) -> None:
    plan, workload = planned(found)
    original = cleaned(found.original.workload)
    for slot in SLOTS:
        made = twin.running(workload, plan.credential, slot)
        for path, before, after in paths(original, made):
            assert _own(path, before, after, slot, plan), (slot, path, before, after)


def _own(path: str, before: Any, after: Any, slot: str, plan: Plan) -> bool:
    """Whether a difference is one of a slot: its label, names, numbers of pods, login."""
    workload, login = plan.workloads[0], plan.credential.slots[slot]
    last = path.rpartition(".")[2]
    if path in {".metadata.name", ".spec.replicas", ".spec.suspend"}:
        return True
    if path == ".spec.startingDeadlineSeconds":
        return before is None and after == 60
    if last == "slot":
        return before is None and after == slot
    text = json.dumps(after)
    carried = login.secret if workload.carrier.mounted else f"-{slot}"
    is_role = login.role.replace('"', '\\"') in text and ".env" in path
    is_password = (carried in text or f"-{slot}" in text) and (
        ".env[" in path or ".volumes[" in path
    )
    gone = after is None and ".env[" in path and ".valueFrom" in path
    became = ".volumes[" in path and after is None and path.endswith(".secret")
    return is_role or is_password or gone or became


@every
def test_the_two_slots_are_the_same_to_a_rotation(found: Shape) -> None:
    """By the product's own comparison, with the names that the entry has."""
    plan, workload = planned(found)
    entry = config.parse(folder.files(plan)["credentials.yaml"]).credentials[plan.credential.name]
    blue, green = (template_of(twin.running(workload, plan.credential, one)) for one in SLOTS)
    (configured,) = entry.workloads
    pairs = [
        (entry.slots["blue"].role, entry.slots["green"].role),
        (entry.slots["blue"].secret, entry.slots["green"].secret),
        (workload.at("blue"), workload.at("green")),
    ]
    if configured.secrets:
        pairs.append((configured.secrets["blue"], configured.secrets["green"]))
    for slot, template in zip(SLOTS, (blue, green), strict=True):
        assert template["metadata"]["labels"].pop("slot") == slot  # the selectors ask for it
    rules = templates.Rules(templates.Names(pairs, ("blue", "green")))
    assert templates.differences(blue, green, rules) == []


@pytest.mark.long  # some seconds each; the API server of test_dry_run.py validates them too
@every
def test_the_standby_s_manifests_fit_their_schemas(found: Shape) -> None:
    text = folder.files(found.plan())[f"kubernetes/{found.original.name}-green.yaml"]
    for obj in yaml.safe_load_all(text):
        if obj["kind"] != "SecretProviderClass":
            check(obj)


@every
def test_selectors_find_one_slot_s_pods_each(found: Shape) -> None:
    plan, workload = planned(found)
    labels = {
        slot: template_of(twin.running(workload, plan.credential, slot))["metadata"]["labels"]
        for slot in SLOTS
    }
    for service in (*twin.traffic(workload, "blue"), *twin.traffic(workload, "green")):
        wanted = "green" if workload.called else "blue"
        finds = {
            slot for slot in SLOTS if service["spec"]["selector"].items() <= labels[slot].items()
        }
        assert finds == {wanted}
    for slot in SLOTS:
        for budget in twin.budgets(workload, slot):
            selector = budget["spec"]["selector"]["matchLabels"]
            assert [one for one in SLOTS if selector.items() <= labels[one].items()] == [slot]


@every
def test_git_has_nothing_that_rotations_own(found: Shape) -> None:
    text = folder.files(found.plan())[f"git/{found.original.name}.yaml"]
    for obj in yaml.safe_load_all(text):
        owned = {"Service": "selector", "Deployment": "replicas", "CronJob": "suspend"}
        assert owned.get(obj["kind"]) not in obj["spec"] if "spec" in obj else True
        assert obj["kind"] != "Secret"


@every
def test_no_value_of_a_secret_gets_anywhere(found: Shape) -> None:
    everything = json.dumps(folder.files(found.plan()))
    assert "c2VjcmV0LW9mLXRoZS1zaGFwZXM" not in everything
    assert "secret-of-the-shapes" not in everything


@every
def test_the_same_shape_makes_the_same_folder(found: Shape) -> None:
    assert folder.files(found.plan()) == folder.files(found.plan())


# -- what single shapes have


def environment(made: Object, container: str) -> dict[str, Any]:
    spec = template_of(made)["spec"]
    (one,) = [
        each
        for each in (*spec.get("initContainers", []), *spec["containers"])
        if each["name"] == container
    ]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in one["env"]}


def running(name: str, slot: str = "green") -> Object:
    plan, workload = planned(shape(name))
    return twin.running(workload, plan.credential, slot)


def test_marks_of_tools_and_of_the_server_are_gone() -> None:
    made = running("standard-labels-of-a-release", "blue")
    assert made["metadata"] == {
        "name": "prod-shop-blue",
        "namespace": "shop",
        "labels": {
            "app.kubernetes.io/name": "shop",
            "app.kubernetes.io/instance": "prod",
            "slot": "blue",
        },
        "annotations": {"team": "storefront"},
    }
    assert "status" not in made
    assert set(made["spec"]) == {"replicas", "revisionHistoryLimit", "selector", "template"}
    template = made["spec"]["template"]
    assert set(template["metadata"]["annotations"]) == {"checksum/config"}
    assert set(template["spec"]) == {"securityContext", "serviceAccountName", "containers"}


def test_what_migrates_logs_in_as_the_slot_too() -> None:
    made = running("init-containers")
    for container in ("migrate", "crm"):
        found = environment(made, container)
        assert found["DB_USER"] == "crm_green"
        assert found["DB_PASSWORD"] == {"secretKeyRef": {"name": "crm-db-green", "key": "password"}}


def test_a_class_with_other_secrets_is_copied_for_both_slots() -> None:
    plan, workload = planned(shape("sidecars"))
    (blue,), (green,) = (twin.secrets(workload, plan.credential, one) for one in SLOTS)
    assert (name_of(blue), name_of(green)) == ("desk-secrets-blue", "desk-secrets-green")
    objects = yaml.safe_load(green["spec"]["parameters"]["objects"])["array"]
    assert [yaml.safe_load(one) for one in objects] == [
        {"objectName": "desk-db-green", "objectType": "secret", "objectAlias": "desk-db"},
        {"objectName": "desk-smtp", "objectType": "secret"},
    ]
    assert environment(running("sidecars"), "exporter")["DATA_SOURCE_USER"] == "desk_green"


def test_variables_come_before_those_that_are_made_of_them() -> None:
    made = running("everything-from-the-environment")
    (container,) = template_of(made)["spec"]["containers"]
    assert [each["name"] for each in container["env"]] == [
        "PGPASSWORD", "PGUSER", "NODE", "DATABASE_URL",
    ]  # fmt: skip
    assert environment(made, "web")["PGUSER"] == "web_green"


def test_of_a_url_the_whole_value_is_the_slot_s() -> None:
    found = environment(running("a-whole-url"), "feed")
    assert found["DATABASE_URL"]["secretKeyRef"]["name"] == "feed-green"
    assert found["SESSION_SECRET"]["secretKeyRef"]["name"] == "feed"
    entry = yaml.safe_load(folder.files(shape("a-whole-url").plan())["credentials.yaml"])
    (credential,) = entry["credentials"].values()
    assert credential["format"] == "url"
    assert credential["workloads"][0]["key"] == "database-url"


def test_other_keys_of_the_secret_stay_where_they_are() -> None:
    volumes = template_of(running("projected-volumes"))["spec"]["volumes"]
    first, second = volumes
    assert [set(source) for source in first["projected"]["sources"]] == [
        {"secret"}, {"serviceAccountToken"}, {"downwardAPI"},
    ]  # fmt: skip
    assert first["projected"]["sources"][0]["secret"]["name"] == "ledger-green"
    assert second == {
        "name": "keys",
        "projected": {
            "defaultMode": 256,
            "sources": [
                {
                    "secret": {
                        "name": "ledger",
                        "items": [{"key": "signing.pem", "path": "signing.pem", "mode": 288}],
                    }
                },
                {
                    "secret": {
                        "name": "ledger-green",
                        "items": [{"key": "password.txt", "path": "password"}],
                    }
                },
            ],
        },
    }


def test_what_the_driver_fills_is_each_slot_s_own_and_no_version_is_pinned() -> None:
    plan, workload = planned(shape("filled-by-the-driver"))
    for slot in SLOTS:
        (made,) = twin.secrets(workload, plan.credential, slot)
        assert name_of(made) == f"mail-db-pods-{slot}"
        assert made["spec"]["secretObjects"][0]["secretName"] == f"mail-db-synced-{slot}"
        assert made["spec"]["secretObjects"][0]["data"] == [
            {"objectName": "mail-db", "key": "password"}
        ]
        assert "objectVersion" not in made["spec"]["parameters"]["objects"]
    found = environment(running("filled-by-the-driver"), "mail")
    assert found["DATABASE_PASSWORD"]["secretKeyRef"]["name"] == "mail-db-synced-green"


def test_a_user_that_a_secret_has_is_written_down() -> None:
    found = environment(running("an-external-secret"), "blog")
    assert found["DB_USER"] == "blog_green"
    assert found["DB_PASSWORD"] == {"secretKeyRef": {"name": "blog-db-green", "key": "password"}}
    assert "ExternalSecret orders/blog" in shape("an-external-secret").told()


def test_a_file_that_says_the_role_is_each_slot_s_own() -> None:
    plan, workload = planned(shape("a-config-file"))
    (made,) = [o for o in twin.slot(workload, plan.credential, "green") if o["kind"] == "ConfigMap"]
    assert name_of(made) == "wiki-green"
    assert "user=wiki_green dbname=wiki" in made["data"]["app.ini"]
    assert made["data"]["other.ini"] == "user = someone"


def test_a_pair_by_schedule_has_one_that_is_suspended() -> None:
    blue, green = running("a-cron-job", "blue"), running("a-cron-job")
    assert (blue["spec"]["suspend"], green["spec"]["suspend"]) == (False, True)
    assert blue["spec"]["startingDeadlineSeconds"] == 60


def test_each_slot_has_an_autoscaler_that_bears_with_a_standby() -> None:
    plan, workload = planned(shape("autoscaled-and-spread"))
    (made,) = twin.autoscalers(workload, "green")
    assert made["spec"]["scaleTargetRef"]["name"] == name_of(made) == "rates-green"
    assert made["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 3600
    assert made["spec"]["minReplicas"] == 4
    readme = folder.files(plan)["README.md"]
    assert readme.index("delete hpa rates") < readme.index("scale deployment/rates --replicas=0")
    assert readme.index("delete deployment rates") < readme.index("poddisruptionbudget rates")


def test_a_prefix_counts_as_part_of_the_variable() -> None:
    found = environment(running("keys-by-reference"), "pos")
    assert found["DB_password"] == {"secretKeyRef": {"name": "pos-green", "key": "password"}}
    assert found["DB_USER"] == "pos_green"


def test_a_secret_that_is_mounted_whole_says_the_role_too() -> None:
    plan, workload = planned(shape("a-whole-secret-mounted"))
    (made,) = twin.secrets(workload, plan.credential, "green")
    assert made["stringData"] == {"username": "docs_green"}
    (volume,) = template_of(running("a-whole-secret-mounted"))["spec"]["volumes"]
    assert volume == {"name": "login", "secret": {"secretName": "docs-db-green"}}


def test_only_a_user_is_renamed_where_much_is_called_alike() -> None:
    found = environment(running("words-that-are-names"), "orders")
    assert (found["DB_USER"], found["DB_NAME"], found["QUEUE"]) == (
        "orders_green", "orders", "orders",
    )  # fmt: skip
    assert found["READ_URL"] == "postgresql://orders_green@pg.example/orders"


def test_a_variable_is_set_where_the_password_is_read() -> None:
    spec = template_of(running("a-role-that-nothing-says"))["spec"]
    app, logs = spec["containers"]
    assert app["env"] == [{"name": "KIOSK_ROLE", "value": "Kiosk-Green"}]
    assert "env" not in logs
