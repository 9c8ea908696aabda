"""HTTPRoutes: what a Gateway's data plane makes of them, and what their status says then.

Not served, and refused in the status: filters, matches by expression, references to what is in
another namespace.

https://gateway-api.sigs.k8s.io/reference/1.5/spec/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from local.cluster import kinds, times
from local.cluster.controllers import Controller, Key, key_of
from local.cluster.services import port_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from local.cluster.kinds import Object
    from local.cluster.registry import Registry
    from local.cluster.store import Change

CLASS = "local"  # the gatewayClassName of Gateways that are ours
CONTROLLER = "local/gateway-controller"

Listener: TypeAlias = tuple[str, str, str]  # namespace, Gateway, its listener's name


@dataclass(frozen=True)
class Backend:
    """A Service's port, by the key that its endpoints are found by; None: it cannot be resolved."""

    namespace: str
    service: str
    key: str | None
    weight: int


@dataclass(frozen=True)
class Rule:
    hostnames: tuple[str, ...]
    match: Object
    backends: tuple[Backend, ...]

    @property
    def rank(self) -> tuple[bool, int, int]:
        """What goes first of the rules that match: exact paths, longer ones, more conditions."""
        path = self.match["path"]
        conditions = len(self.match.get("headers") or []) + ("method" in self.match)
        return path["type"] == "Exact", len(path["value"]), conditions

    def fits(self, request: web.Request) -> bool:
        host = request.host.partition(":")[0].lower()
        if self.hostnames and not any(_fits_host(name, host) for name in self.hostnames):
            return False
        if self.match.get("method", request.method) != request.method:
            return False
        headers = self.match.get("headers") or []
        if any(request.headers.get(one["name"]) != one["value"] for one in headers):
            return False
        asked = self.match.get("queryParams") or []
        if any(request.query.get(one["name"]) != one["value"] for one in asked):
            return False
        return _fits_path(self.match["path"], request.path)


def _fits_host(name: str, host: str) -> bool:
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


def _fits_path(wanted: Object, path: str) -> bool:
    if wanted["type"] == "Exact":
        return path == str(wanted["value"])
    prefix = str(wanted["value"]).rstrip("/")
    return path == prefix or path.startswith(f"{prefix}/")


@dataclass
class Table:
    """What the data plane goes by: the rules of each HTTPRoute, by listener."""

    routes: dict[tuple[Listener, Key], list[Rule]] = field(default_factory=dict)

    def program(self, route: Key, rules: dict[Listener, list[Rule]]) -> None:
        self.routes = {known: own for known, own in self.routes.items() if known[1] != route}
        self.routes |= {(listener, route): own for listener, own in rules.items()}

    def find(self, listener: Listener, request: web.Request) -> Rule | None:
        fitting = [
            rule
            for (at, _), rules in self.routes.items()
            if at == listener
            for rule in rules
            if rule.fits(request)
        ]
        return max(fitting, key=lambda rule: rule.rank, default=None)


class RefusedError(Exception):
    """Why a route is not accepted, or its backends not resolved: a condition's reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RouteController(Controller):
    """Programs HTTPRoutes, and says so in their status."""

    kind = kinds.HTTP_ROUTE

    def __init__(self, registry: Registry, table: Table) -> None:
        super().__init__(registry)
        self._table = table

    def concerns(self, change: Change) -> list[Key]:
        if change.kind is kinds.HTTP_ROUTE:
            if self.store.get(kinds.HTTP_ROUTE, *key_of(change.object)) is None:
                self._table.program(key_of(change.object), {})
            return [key_of(change.object)]
        if change.kind in {kinds.GATEWAY, kinds.SERVICE}:
            return [key_of(route) for route in self.store.items(kinds.HTTP_ROUTE)]
        return []

    def reconcile(self, obj: Object) -> None:
        rules: dict[Listener, list[Rule]] = {}
        known = (obj.get("status") or {}).get("parents") or []
        ours = [one for one in known if one["controllerName"] == CONTROLLER]
        parents = [one for one in known if one["controllerName"] != CONTROLLER]
        for reference in obj["spec"].get("parentRefs") or []:
            gateway = self._gateway(obj, reference)
            if gateway is None:
                continue
            before: Object = next((one for one in ours if one["parentRef"] == reference), {})
            parents.append(self._parent(obj, reference, gateway, rules, before))
        self._table.program(key_of(obj), rules)
        if parents != known:
            self.registry.update(self.kind, {**obj, "status": {"parents": parents}}, "status")

    def _gateway(self, obj: Object, reference: Object) -> Object | None:
        namespace = reference.get("namespace", obj["metadata"]["namespace"])
        found = self.store.get(kinds.GATEWAY, namespace, reference["name"])
        ours = found is not None and found["spec"]["gatewayClassName"] == CLASS
        return found if ours and reference["kind"] == "Gateway" else None

    def _parent(
        self,
        obj: Object,
        reference: Object,
        gateway: Object,
        rules: dict[Listener, list[Rule]],
        before: Object,
    ) -> Object:
        """What the status says of one Gateway, which gets the rules if it takes the route."""
        accepted = resolved = RefusedError("Accepted", "")
        try:
            listeners = _listeners(obj, reference, gateway)
            own = list(self._rules(obj))
        except RefusedError as error:
            accepted = error
        else:
            rules |= {(*key_of(gateway), name): own for name in listeners}
        try:
            self._resolve(obj)
            resolved = RefusedError("ResolvedRefs", "")
        except RefusedError as error:
            resolved = error
        generation = obj["metadata"]["generation"]
        conditions = [
            condition(before, kind, said, generation)
            for kind, said in (("Accepted", accepted), ("ResolvedRefs", resolved))
        ]
        return {"parentRef": reference, "controllerName": CONTROLLER, "conditions": conditions}

    def _rules(self, obj: Object) -> Iterator[Rule]:
        """Raises `RefusedError` for what is not served here."""
        hostnames = tuple(obj["spec"].get("hostnames") or [])
        for rule in obj["spec"]["rules"]:
            references = rule.get("backendRefs") or []
            if rule.get("filters") or any(one.get("filters") for one in references):
                raise RefusedError("UnsupportedValue", "filters are not served here")
            backends = tuple(self._backend(obj, reference) for reference in references)
            for match in rule["matches"]:
                if _by_expression(match):
                    raise RefusedError("UnsupportedValue", "expressions are not served here")
                yield Rule(hostnames, match, backends)

    def _backend(self, obj: Object, reference: Object) -> Backend:
        namespace, name = obj["metadata"]["namespace"], reference["name"]
        try:
            key = self._port(obj, reference)
        except RefusedError:
            key = None
        return Backend(namespace, name, key, reference["weight"])

    def _resolve(self, obj: Object) -> None:
        """Raises `RefusedError` for the first backend that is not there."""
        for rule in obj["spec"]["rules"]:
            for reference in rule.get("backendRefs") or []:
                self._port(obj, reference)

    def _port(self, obj: Object, reference: Object) -> str:
        name, namespace = reference["name"], obj["metadata"]["namespace"]
        if (reference["group"], reference["kind"]) != ("", "Service"):
            raise RefusedError("InvalidKind", f"{reference['kind']} {name} is no Service")
        if reference.get("namespace", namespace) != namespace:
            raise RefusedError("RefNotPermitted", f"Service {name} is in another namespace")
        service = self.store.get(kinds.SERVICE, namespace, name)
        ports = (service or {}).get("spec", {}).get("ports") or []
        found = next((port for port in ports if port["port"] == reference["port"]), None)
        if found is None:
            raise RefusedError("BackendNotFound", f"Service {name} has no port {reference['port']}")
        return port_key(found)


def _by_expression(match: Object) -> bool:
    parts = [match["path"], *(match.get("headers") or []), *(match.get("queryParams") or [])]
    return any(part["type"] == "RegularExpression" for part in parts)


def _listeners(obj: Object, reference: Object, gateway: Object) -> list[str]:
    """The Gateway's listeners that take the route. Raises `RefusedError` if there are none."""
    named = [
        listener
        for listener in gateway["spec"]["listeners"]
        if listener["protocol"] == "HTTP"
        and reference.get("sectionName", listener["name"]) == listener["name"]
        and reference.get("port", listener["port"]) == listener["port"]
    ]
    if not named:
        raise RefusedError("NoMatchingParent", "no such listener")
    allowed = [
        listener
        for listener in named
        if obj["metadata"]["namespace"] == gateway["metadata"]["namespace"]
        or (listener.get("allowedRoutes") or {}).get("namespaces", {}).get("from") == "All"
    ]
    if not allowed:
        raise RefusedError("NotAllowedByListeners", "the listener takes no route of this namespace")
    hosts = obj["spec"].get("hostnames") or []
    found = [
        listener["name"]
        for listener in allowed
        if "hostname" not in listener
        or not hosts
        or any(_fits_host(listener["hostname"], host) for host in hosts)
    ]
    if not found:
        raise RefusedError("NoMatchingListenerHostname", "no listener has such a hostname")
    return found


def condition(before: Object, kind: str, said: RefusedError, generation: int) -> Object:
    new = {
        "type": kind,
        "status": "True" if said.reason == kind else "False",
        "reason": said.reason,
        "message": str(said),
        "observedGeneration": generation,
        "lastTransitionTime": times.stamp(),
    }
    known = {one["type"]: one for one in before.get("conditions") or []}
    if kind in known and known[kind]["status"] == new["status"]:
        new["lastTransitionTime"] = known[kind]["lastTransitionTime"]
    return new
