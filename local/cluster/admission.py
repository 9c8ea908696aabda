"""ValidatingAdmissionPolicies: what may be written, beyond what roles can say.

Their expressions are evaluated by a CEL library, on writes by HTTP: the controllers of this
cluster are within it. Served is what `problems` does not name; a policy that asks for more is
refused when it is applied, so that none is stored that would not be kept.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from local.cluster import kinds
from local.cluster.errors import ApiError, forbidden
from local.cluster.selectors import from_spec, matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cel import Program

    from local.cluster.auth import User
    from local.cluster.kinds import Object
    from local.cluster.requests import Target
    from local.cluster.store import Store

CODES = {"Forbidden": 403, "Invalid": 422}
SERVED = {
    "policy": {
        *("failurePolicy", "paramKind", "matchConstraints", "matchConditions"),
        *("variables", "validations"),
    },
    "constraints": {"resourceRules", "namespaceSelector", "matchPolicy"},
    "validation": {"expression", "message", "reason"},
    "binding": {"policyName", "validationActions", "paramRef", "matchResources"},
    "resources": {"namespaceSelector", "matchPolicy"},
}
PARAM_KIND = {"apiVersion": "v1", "kind": "ConfigMap"}


class Write(NamedTuple):
    """One thing that is about to be stored or deleted. `old` is None when it is made new."""

    user: User
    target: Target
    operation: str  # CREATE, UPDATE, DELETE
    new: Object | None
    old: Object | None


def problems(obj: Object) -> Iterator[tuple[str, str]]:
    """Of a policy or a binding: what upstream refuses too, and what is not served here."""
    spec = obj["spec"]
    if obj["kind"] == kinds.POLICY_BINDING.kind:
        yield from _unserved("spec", spec, "binding")
        yield from _unserved("spec.matchResources", spec.get("matchResources") or {}, "resources")
        return
    yield from _unserved("spec", spec, "policy")
    yield from _unserved("spec.matchConstraints", spec.get("matchConstraints") or {}, "constraints")
    if spec.get("paramKind") not in (None, PARAM_KIND):
        yield "spec.paramKind", "only ConfigMaps are served here"
    for field in ("matchConditions", "variables", "validations"):
        for number, found in enumerate(spec.get(field) or []):
            where = f"spec.{field}[{number}]"
            if field == "validations":
                yield from _unserved(where, found, "validation")
            try:
                _compiled(found["expression"])
            except ValueError as error:
                yield f"{where}.expression", f"compilation failed: {error}"


def _unserved(where: str, found: Object, what: str) -> Iterator[tuple[str, str]]:
    for key in sorted(found.keys() - SERVED[what]):
        yield f"{where}.{key}", "this cluster does not serve it"


class Admission:
    """Reads policies, bindings, parameters and namespaces from the store at each write."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def review(self, write: Write) -> None:
        """Raises 403, or the validation's own code, for what a policy denies."""
        for binding in self._store.items(kinds.POLICY_BINDING):
            policy = self._store.get(kinds.POLICY, "", binding["spec"]["policyName"])
            if policy is not None and self._concerns(policy, binding, write):
                self._apply(policy, binding, write)

    def _concerns(self, policy: Object, binding: Object, write: Write) -> bool:
        constraints = policy["spec"]["matchConstraints"]
        resources = binding["spec"].get("matchResources") or {}
        return any(_covers(rule, write) for rule in constraints["resourceRules"]) and all(
            self._selects(scope.get("namespaceSelector") or {}, write.target)
            for scope in (constraints, resources)
        )

    def _selects(self, selector: Object, target: Target) -> bool:
        if not target.namespace:
            return not selector
        namespace = self._store.get(kinds.NAMESPACE, "", target.namespace) or {"metadata": {}}
        return matches(from_spec(selector), namespace["metadata"].get("labels") or {})

    def _apply(self, policy: Object, binding: Object, write: Write) -> None:
        def denied(message: str, reason: str = "Invalid") -> ApiError:
            names = (policy["metadata"]["name"], binding["metadata"]["name"])
            why = f"ValidatingAdmissionPolicy '{names[0]}' with binding '{names[1]}' denied request"
            error = forbidden(write.target.kind, write.target.name, f"{why}: {message}")
            details = {**(error.details or {}), "causes": [{"message": error.message}]}
            return ApiError(CODES[reason], reason, error.message, details)

        spec = policy["spec"]
        known = {
            "object": write.new,
            "oldObject": write.old,
            "request": _request(write),
            "params": self._params(binding, denied),
        }
        for condition in spec.get("matchConditions") or []:
            if _evaluated(condition["expression"], known, denied) is not True:
                return
        known["variables"] = variables = {}
        for variable in spec.get("variables") or []:
            # Upstream evaluates one when it is first used; here an error in any of them denies.
            variables[variable["name"]] = _evaluated(variable["expression"], known, denied)
        for validation in spec["validations"]:
            if _evaluated(validation["expression"], known, denied) is not True:
                expression = validation["expression"].strip()
                message = validation.get("message") or f"failed expression: {expression}"
                if "Deny" in binding["spec"]["validationActions"]:
                    raise denied(message.strip(), validation.get("reason", "Invalid"))

    def _params(self, binding: Object, denied: Callable[[str], ApiError]) -> Object | None:
        """Raises for parameters that are named and not there, unless the binding allows that."""
        reference = binding["spec"].get("paramRef")
        if reference is None:
            return None
        found = self._store.get(kinds.CONFIG_MAP, reference["namespace"], reference["name"])
        if found is None and reference["parameterNotFoundAction"] == "Deny":
            raise denied(
                "failed to configure binding: no params found for policy binding with `Deny`"
                " parameterNotFoundAction"
            )
        return found


def _covers(rule: Object, write: Write) -> bool:
    kind = write.target.kind
    return (
        _listed(rule["apiGroups"], kind.group)
        and _listed(rule["apiVersions"], kind.version)
        and _listed(rule["operations"], write.operation)
        and _listed(rule["resources"], write.target.resource)
    )


def _listed(values: list[str], value: str) -> bool:
    return "*" in values or value in values


def _request(write: Write) -> Object:
    target = write.target
    kind = target.kind
    names = {"group": kind.group, "version": kind.version}
    return {
        "operation": write.operation,
        "name": target.name,
        "namespace": target.namespace,
        "kind": {**names, "kind": kind.kind},
        "resource": {**names, "resource": kind.plural},
        "subResource": target.subresource,
        "userInfo": {"username": write.user.name, "groups": sorted(write.user.groups)},
    }


def _evaluated(expression: str, known: dict[str, Any], denied: Callable[[str], ApiError]) -> Any:
    try:
        return _compiled(expression).execute(known)
    except (RuntimeError, TypeError, ValueError) as error:  # what the library raises of CEL errors
        raise denied(f"expression '{expression.strip()}' resulted in error: {error}") from error


@lru_cache(maxsize=512)
def _compiled(expression: str) -> Program:
    # It imports a terminal's whole toolkit: only clusters with policies pay.
    from cel import compile as compiled  # noqa: PLC0415 - see above

    return compiled(expression)
