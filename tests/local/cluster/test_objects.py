"""Objects over the wire: verbs, conflicts, patches, and refusals in Kubernetes' own words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import ApiException

from local.cluster.client import apply
from tests.local.cluster.support import deployment, secret, service

if TYPE_CHECKING:
    from tests.local.cluster.support import Kube

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


def swap(expected: str, to: str) -> list[dict[str, Any]]:
    return [
        {"op": "test", "path": "/spec/selector/slot", "value": expected},
        {"op": "replace", "path": "/spec/selector/slot", "value": to},
    ]


def error(caught: pytest.ExceptionInfo[ApiException]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(str(caught.value.body))
    assert body["kind"] == "Status"
    assert body["code"] == caught.value.status
    return body


def test_a_json_patch_with_a_test_swaps_a_selector_once(kube: Kube) -> None:
    kube.apply(service("web", {"app": "web", "slot": "blue"}))
    patched = kube.core.patch_namespaced_service("web", kube.namespace, swap("blue", "green"))
    assert patched.spec.selector == {"app": "web", "slot": "green"}
    with pytest.raises(ApiException) as caught:
        kube.core.patch_namespaced_service("web", kube.namespace, swap("blue", "green"))
    refused = error(caught)
    assert (refused["code"], refused["reason"]) == (422, "Invalid")
    assert refused["message"] == ("the server rejected our request due to an error in our request")
    unchanged = kube.core.read_namespaced_service("web", kube.namespace)
    assert unchanged.metadata.resource_version == patched.metadata.resource_version


def test_a_stale_resource_version_is_a_conflict(kube: Kube) -> None:
    kube.apply(deployment("web", 0))
    stale = kube.deployment("web")
    kube.apps.patch_namespaced_deployment(
        "web", kube.namespace, {"metadata": {"annotations": {"a": "1"}}}
    )
    with pytest.raises(ApiException) as caught:
        kube.apps.replace_namespaced_deployment("web", kube.namespace, stale)
    conflict = error(caught)
    assert (conflict["code"], conflict["reason"]) == (409, "Conflict")
    assert "the object has been modified" in conflict["message"]
    patch = {"metadata": {"resourceVersion": stale.metadata.resource_version}}
    with pytest.raises(ApiException, match="Conflict"):
        kube.apps.patch_namespaced_deployment(
            "web", kube.namespace, patch, _content_type=MERGE_PATCH
        )


def test_a_write_that_changes_nothing_keeps_the_revision(kube: Kube) -> None:
    first = kube.apply(service("web", {"app": "web"}))[0]
    again = kube.apply(service("web", {"app": "web"}))[0]
    assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
    assert first["metadata"]["uid"] == again["metadata"]["uid"]


def test_the_generation_counts_changes_of_the_spec_only(kube: Kube) -> None:
    kube.apply(deployment("web", 0))
    patch = kube.apps.patch_namespaced_deployment
    patched = patch("web", kube.namespace, {"metadata": {"labels": {"a": "b"}}})
    assert patched.metadata.generation == 1
    patched = patch("web", kube.namespace, {"spec": {"minReadySeconds": 1}})
    assert patched.metadata.generation == 2


def test_clients_see_the_defaults(kube: Kube) -> None:
    bare = deployment("web")
    del bare["spec"]["replicas"]
    del bare["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    bare["spec"]["paused"] = True
    kube.apply(bare, service("web", {"app": "web"}))
    spec = kube.deployment("web").spec
    assert spec.replicas == 1
    assert spec.strategy.rolling_update.max_surge == "25%"
    assert spec.template.spec.termination_grace_period_seconds == 30
    probe = spec.template.spec.containers[0].readiness_probe
    assert (probe.timeout_seconds, probe.success_threshold) == (1, 1)
    port = kube.core.read_namespaced_service("web", kube.namespace).spec.ports[0]
    assert (port.protocol, port.target_port) == ("TCP", "http")


def test_a_strategic_patch_merges_containers_env_and_volumes_by_their_keys(kube: Kube) -> None:
    kube.apply(
        deployment(
            "web",
            0,
            env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            pod={"volumes": [{"name": "scratch", "emptyDir": {}}]},
        )
    )
    kube.apps.patch_namespaced_deployment(
        "web",
        kube.namespace,
        {
            "spec": {
                "template": {
                    "spec": {
                        "containers": [
                            {"name": "web", "env": [{"name": "B", "value": "3"}]},
                            {"name": "side", "image": "shell:1"},
                        ],
                        "volumes": [{"name": "scratch", "$patch": "delete"}],
                    }
                }
            }
        },
    )
    spec = kube.deployment("web").spec.template.spec
    assert [item.name for item in spec.containers] == ["web", "side"]
    assert {item.name: item.value for item in spec.containers[0].env} == {"A": "1", "B": "3"}
    assert not spec.volumes


def test_a_merge_patch_replaces_lists_and_removes_by_null(kube: Kube) -> None:
    kube.apply(deployment("web", 0, env=[{"name": "A", "value": "1"}]))
    patch = {"metadata": {"labels": None}, "spec": {"revisionHistoryLimit": 3}}
    kube.apps.patch_namespaced_deployment("web", kube.namespace, patch, _content_type=MERGE_PATCH)
    found = kube.deployment("web")
    assert found.spec.revision_history_limit == 3
    assert len(found.spec.template.spec.containers) == 1


def test_a_custom_kind_takes_no_strategic_patch(kube: Kube) -> None:
    group = "secrets-store.csi.x-k8s.io"
    kube.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "SecretProviderClass",
            "metadata": {"name": "web"},
            "spec": {"provider": "azure"},
        }
    )
    path = kube.path("secretproviderclasses/web", group)
    kind = {"Content_Type": "application/strategic-merge-patch+json"}
    assert kube.raw("PATCH", path, {"spec": {}}, **kind)[0] == 415


def test_apply_takes_away_what_the_manifest_no_longer_has(kube: Kube) -> None:
    first = deployment("web", 0, env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    kube.apply(first)
    kube.apps.patch_namespaced_deployment(
        "web", kube.namespace, {"metadata": {"annotations": {"by": "another"}}}
    )
    kube.apply(deployment("web", 0, env=[{"name": "B", "value": "2"}]))
    found = kube.deployment("web")
    assert [item.name for item in found.spec.template.spec.containers[0].env] == ["B"]
    assert found.metadata.annotations["by"] == "another"


def test_apply_without_force_conflicts_with_another_writer_of_the_field(kube: Kube) -> None:
    kube.apply(deployment("web", 0))
    kube.apps.patch_namespaced_deployment_scale(
        "web", kube.namespace, {"spec": {"replicas": 0}, "metadata": {}}
    )
    kube.apps.patch_namespaced_deployment(
        "web", kube.namespace, {"spec": {"minReadySeconds": 2}}, field_manager="someone"
    )
    manifest = deployment("web", 0, spec={"minReadySeconds": 3})
    with pytest.raises(ApiException) as caught:
        kube.apps.patch_namespaced_deployment(
            "web",
            kube.namespace,
            manifest,
            field_manager="another",
            _content_type="application/apply-patch+yaml",
        )
    conflict = error(caught)
    assert conflict["code"] == 409
    assert 'conflict with "someone"' in conflict["message"]
    assert ".spec.minReadySeconds" in conflict["message"]


def test_manifests_are_applied_from_a_yaml_text(kube: Kube) -> None:
    text = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"
    )
    apply(kube.client, text, namespace=kube.namespace)
    found = kube.core.list_namespaced_config_map(kube.namespace).items
    assert [item.metadata.name for item in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("manifest", "status", "reason"),
    [
        (service("Bad_Name", {"app": "web"}), 422, "Invalid"),
        (deployment("web", -1), 422, "Invalid"),
        (deployment("web", image=""), 422, "Invalid"),
        (deployment("web") | {"kind": "Service"}, 400, "BadRequest"),
        (deployment("web", ports=[{"name": "http"}]), 422, "Invalid"),
        (deployment("web", ports=[80]), 400, "BadRequest"),
        (deployment("web", spec={"selector": {"matchLabels": {"app": "x"}}}), 422, "Invalid"),
    ],
)
def test_what_cannot_be_is_refused(
    kube: Kube, manifest: dict[str, Any], status: int, reason: str
) -> None:
    plural = "services" if "ports" in manifest["spec"] else "deployments"
    group = "" if plural == "services" else "apps"
    answer = kube.raw("POST", kube.path(plural, group), manifest)
    assert (answer[0], answer[1]["reason"]) == (status, reason)


def test_missing_existing_and_unknown_are_told_apart(kube: Kube) -> None:
    with pytest.raises(ApiException) as caught:
        kube.deployment("absent")
    missing = error(caught)
    assert missing["message"] == 'deployments.apps "absent" not found'
    assert missing["details"] == {"name": "absent", "group": "apps", "kind": "deployments"}
    kube.core.create_namespaced_secret(kube.namespace, secret("s", k="v"))
    with pytest.raises(ApiException) as caught:
        kube.core.create_namespaced_secret(kube.namespace, secret("s", k="v"))
    assert error(caught)["reason"] == "AlreadyExists"
    assert kube.raw("GET", kube.path("widgets"))[0] == 404
    assert kube.raw("PUT", kube.path("secrets"), {})[0] == 405


def test_a_secrets_string_data_is_stored_as_base64(kube: Kube) -> None:
    kube.core.create_namespaced_secret(kube.namespace, secret("s", password="p"))
    found = kube.core.read_namespaced_secret("s", kube.namespace)
    assert (found.type, found.data) == ("Opaque", {"password": "cA=="})


def test_the_selector_of_a_deployment_cannot_change(kube: Kube) -> None:
    kube.apply(deployment("web", 0))
    patch = {
        "spec": {
            "selector": {"matchLabels": {"app": "web", "more": "x"}},
            "template": {"metadata": {"labels": {"more": "x"}}},
        }
    }
    with pytest.raises(ApiException, match="immutable"):
        kube.apps.patch_namespaced_deployment("web", kube.namespace, patch)


def test_a_dry_run_stores_nothing(kube: Kube) -> None:
    kube.apps.create_namespaced_deployment(kube.namespace, deployment("web"), dry_run="All")
    assert not kube.apps.list_namespaced_deployment(kube.namespace).items


def test_scale_is_read_and_written_as_a_scale(kube: Kube) -> None:
    kube.apply(deployment("web", 0))
    scale = kube.apps.read_namespaced_deployment_scale("web", kube.namespace)
    assert (scale.kind, scale.spec.replicas, scale.status.selector) == ("Scale", 0, "app=web")
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 3}}
    with pytest.raises(ApiException, match="Conflict"):
        kube.apps.patch_namespaced_deployment_scale("web", kube.namespace, stale)


def test_requests_without_a_known_token_are_unauthorized(kube: Kube) -> None:
    status, body = kube.raw("GET", kube.path("pods"), Authorization="Bearer wrong")
    assert (status, body["reason"]) == (401, "Unauthorized")
    assert kube.raw("GET", "/readyz", Authorization="")[1] == "ok"


def test_discovery_lists_what_is_served(kube: Kube) -> None:
    groups = kube.raw("GET", "/apis")[1]["groups"]
    assert {"apps", "gateway.networking.k8s.io"} <= {group["name"] for group in groups}
    resources = kube.raw("GET", "/apis/apps/v1")[1]["resources"]
    assert "deployments/scale" in {resource["name"] for resource in resources}


def test_a_deleted_namespace_takes_its_contents_along(kube: Kube) -> None:
    kube.core.create_namespace({"metadata": {"name": f"{kube.namespace}-x"}})
    other = type(kube)(kube.component, f"{kube.namespace}-x")
    other.apply(secret("s", k="v"))
    other.core.delete_namespace(other.namespace)
    with pytest.raises(ApiException, match="Not Found"):
        # Nothing in it needs time to end, so one more request finds it gone.
        other.core.read_namespaced_secret("s", other.namespace)


def test_an_orphaning_delete_leaves_the_dependents(kube: Kube) -> None:
    kube.apply(deployment("web", 0))
    kube.wait_ready("web", 0)
    kube.apps.delete_namespaced_deployment("web", kube.namespace, propagation_policy="Orphan")
    left = kube.apps.list_namespaced_replica_set(kube.namespace).items
    assert len(left) == 1
    assert not left[0].metadata.owner_references
