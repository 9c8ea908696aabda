"""Role-based access, decided from the Roles and bindings that the API itself stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.cluster import kinds
from local.cluster.auth import AUTHENTICATED, MASTERS, User
from local.cluster.errors import ApiError, bad_request, forbidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from multidict import CIMultiDictProxy

    from local.cluster.kinds import Object
    from local.cluster.requests import Target
    from local.cluster.store import Store


@dataclass(frozen=True)
class Attributes:
    """A request to be authorised. `resource` holds its subresource: `deployments/scale`."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str


class Authorizer:
    """`enforced=False` lets every authenticated user do everything."""

    def __init__(self, store: Store, *, enforced: bool) -> None:
        self._store = store
        self._enforced = enforced

    def acting(self, user: User, headers: CIMultiDictProxy[str]) -> User:
        """The user that a request counts as: whom Impersonate-User and Impersonate-Group name, or
        who asks. Raises 400 and 403.

        https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
        """
        name, groups = headers.get("Impersonate-User"), headers.getall("Impersonate-Group", [])
        if name is None:
            if groups:
                raise bad_request("requested groups without impersonating a user")
            return user
        for resource, wanted in [("users", name), *(("groups", group) for group in groups)]:
            if not self.allows(user, Attributes("impersonate", "", resource, "", wanted)):
                why = f'User "{user.name}" cannot impersonate resource "{resource}" in API group ""'
                message = f'{resource} "{wanted}" is forbidden: {why} at the cluster scope'
                raise ApiError(403, "Forbidden", message, {"name": wanted, "kind": resource})
        return User(name, frozenset({*groups, AUTHENTICATED}))

    def check(self, user: User, target: Target) -> None:
        """Raises 403."""
        asked = Attributes(
            target.verb, target.kind.group, target.resource, target.namespace, target.name
        )
        if target.kind is kinds.ACCESS_REVIEW or self.allows(user, asked):
            return
        where = (
            f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
        )
        why = (
            f'User "{user.name}" cannot {asked.verb} resource "{asked.resource}" in API group'
            f' "{asked.group}" {where}'
        )
        raise forbidden(target.kind, target.name, why)

    def check_path(self, user: User, verb: str, path: str) -> None:
        """Raises 403 for a path; discovery is open to whoever is authenticated, as upstream's
        default roles have it."""
        open_paths = ("/api", "/apis", "/healthz", "/livez", "/readyz", "/openapi", "/version")
        if any(path == each or path.startswith(f"{each}/") for each in open_paths):
            return
        if self._enforced and MASTERS not in user.groups:
            message = f'forbidden: User "{user.name}" cannot {verb} path "{path}"'
            raise ApiError(403, "Forbidden", message, {})

    def allows(self, user: User, asked: Attributes) -> bool:
        if not self._enforced or MASTERS in user.groups:
            return True
        return any(_permits(rule, asked) for rule in self._rules(user, asked.namespace))

    def _rules(self, user: User, namespace: str) -> Iterator[Object]:
        bindings = self._store.items(kinds.CLUSTER_ROLE_BINDING)
        if namespace:
            bindings += self._store.items(kinds.ROLE_BINDING, namespace)
        for binding in bindings:
            scope = binding["metadata"].get("namespace", "")
            if any(_is(user, subject, scope) for subject in binding.get("subjects") or []):
                yield from self._role(binding["roleRef"], scope).get("rules") or []

    def _role(self, reference: Object, namespace: str) -> Object:
        """The role of a binding; one that does not exist grants nothing."""
        if reference["kind"] == "ClusterRole":
            return self._store.get(kinds.CLUSTER_ROLE, "", reference["name"]) or {}
        return self._store.get(kinds.ROLE, namespace, reference["name"]) or {}


def _is(user: User, subject: Object, scope: str) -> bool:
    if subject["kind"] == "User":
        return bool(subject["name"] == user.name)
    if subject["kind"] == "Group":
        return subject["name"] in user.groups
    namespace = subject.get("namespace", scope)
    return bool(user.name == f"system:serviceaccount:{namespace}:{subject['name']}")


def _permits(rule: Object, asked: Attributes) -> bool:
    names = rule.get("resourceNames") or []
    return (
        _has(rule.get("verbs"), asked.verb)
        and _has(rule.get("apiGroups"), asked.group)
        and _has_resource(rule.get("resources") or [], asked.resource)
        and (not names or asked.name in names)
    )


def _has(values: list[str] | None, value: str) -> bool:
    return "*" in (values or []) or value in (values or [])


def _has_resource(resources: list[str], resource: str) -> bool:
    _, slash, subresource = resource.partition("/")
    return _has(resources, resource) or bool(slash and f"*/{subresource}" in resources)
