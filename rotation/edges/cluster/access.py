"""Asks an API server what the app may do, what else decides on that, and what time it is.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access: whoever
is authenticated may ask it about themselves, by the default role `system:basic-user`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kubernetes import client

from rotation.decisions.room import quantity
from rotation.edges import http_status
from rotation.edges.cluster.client import TIMEOUT
from rotation.edges.cluster.listing import name_of
from rotation.model.errors import Missing
from rotation.model.preconditions import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rotation.edges.cluster.client import Api
    from rotation.model.preconditions import Known, Right

# Of a ResourceQuota's limits those that pods count for; the others are about other objects.
# https://kubernetes.io/docs/concepts/policy/resource-quotas/
COUNTED = {
    "pods", "count/pods", "cpu", "requests.cpu", "limits.cpu", "memory", "requests.memory",
    "limits.memory",
}  # fmt: skip


class Access:
    """Implements `contracts.access.AccessReader`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def may(self, right: Right) -> Known:
        resource, _, subresource = right.resource.partition("/")
        asked = client.V1ResourceAttributes(
            namespace=right.namespace,
            verb=right.verb,
            group=right.group,
            resource=resource,
            subresource=subresource or None,
            name=right.name or None,
        )
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=asked)
        )
        with self._api.translated("say whether the app may", f"{right} in {right.namespace}"):
            answer = client.AuthorizationV1Api(self._api.client).create_self_subject_access_review(
                review, _request_timeout=TIMEOUT
            )
            if answer.status is None:
                raise ValueError("a review without a status")
            if answer.status.allowed is not True and answer.status.evaluation_error:
                return None  # Azure's webhook, for one, did not answer: that passes
            return answer.status.allowed is True

    def limits(self, namespace: str) -> tuple[Limit, ...]:
        with self._api.translated("list ResourceQuotas in", f"namespace {namespace}"):
            listed = self._api.core.list_namespaced_resource_quota(
                namespace, _request_timeout=TIMEOUT
            )
            return tuple(limit for each in listed.items for limit in _limits_of(each))

    def labels(self, namespace: str) -> dict[str, str]:
        with self._api.translated("read", f"namespace {namespace}"):
            found = self._api.core.read_namespace(namespace, _request_timeout=TIMEOUT)
            return dict((found.metadata.labels if found.metadata else None) or {})

    def enforced(self, policy: str) -> bool:
        admission = client.AdmissionregistrationV1Api(self._api.client)
        try:
            with self._api.translated("read", f"ValidatingAdmissionPolicy {policy}"):
                admission.read_validating_admission_policy(policy, _request_timeout=TIMEOUT)
                binding = admission.read_validating_admission_policy_binding(
                    policy, _request_timeout=TIMEOUT
                ).to_dict()
                spec = binding.get("spec") or {}
        except Missing:
            return False
        return spec.get("policy_name") == policy and "Deny" in (
            spec.get("validation_actions") or []
        )

    def clock(self) -> datetime | None:
        with self._api.translated("tell", "its time"):
            answer: Any = client.VersionApi(self._api.client).get_code(
                _preload_content=False, _request_timeout=TIMEOUT
            )
            answer.drain_conn()  # or the connection would never go back to the pool
            answer.release_conn()
            return http_status.clock(answer.headers.get("Date"))


def _limits_of(quota: client.V1ResourceQuota) -> Iterator[Limit]:
    """The limits that count for all pods. One with scopes counts some, and which is not known."""
    spec, status = quota.spec, quota.status
    if spec is None or spec.scopes or spec.scope_selector:
        return
    name = name_of(quota.metadata.name if quota.metadata else None)
    used = (status.used if status else None) or {}
    for resource, hard in (spec.hard or {}).items():
        if resource in COUNTED:
            count = used.get(resource)
            counted = None if count is None else quantity(count)
            yield Limit(name, resource, quantity(hard), counted)
