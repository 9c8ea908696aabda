"""What an HTTPRoute says of two slots: the weights of their own Services, and how to change them.

A rule belongs to the slots if it names the Service of one of them. Rules that name neither, what
else such a rule names, its matches and its filters are nobody's business here.

https://gateway-api.sigs.k8s.io/reference/1.5/spec/#httproute
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rotation.model.world import SLOTS, Route, RouteSeen, Slot, other

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.model.targets import RouteTarget
    from rotation.model.wire import JsonObject

ALL = 100  # percent


class Place(NamedTuple):
    """Where a slot's own Service stands in a rule, and the weight that it has there."""

    backend: int
    weight: int


class Shared(NamedTuple):
    """The places of each slot's own Service in a rule, by the rule's number, and whether the rule
    sends requests to other backends too."""

    number: int
    places: dict[Slot, list[Place]]
    others: bool

    @property
    def total(self) -> int:
        return sum(map(self.weight, SLOTS))

    def weight(self, slot: Slot) -> int:
        return sum(place.weight for place in self.places[slot])

    def percent(self, slot: Slot) -> int:
        """The slot's share of what goes to either slot; at least 1 where it has any weight."""
        weight = self.weight(slot)
        return max(weight * ALL // self.total, 1) if weight else 0


class Change(NamedTuple):
    """The weight that a backend of a rule is to have."""

    rule: int
    backend: int
    weight: int


def seen(
    document: JsonObject,
    target: RouteTarget,
    *,
    revision: str | None = None,
    fence: str | None = None,
) -> Route:
    """The HTTPRoute as a route between the slots."""
    rules = _shared(document, target)
    weights: dict[Slot, int] = {
        slot: max((rule.percent(slot) for rule in rules), default=0) for slot in SLOTS
    }
    whole = (slot for slot in SLOTS if all(rule.percent(slot) == ALL for rule in rules))
    pending, refused = _pending(document)
    return Route(
        slot=next(whole, None) if rules else None,
        port="",
        revision=revision,
        fence=fence,
        weights=weights,
        lacks=tuple(_lacks(rules, target)),
        pending=pending,
        refused=refused,
        idle=any(not rule.total for rule in rules),
    )


def changes(document: JsonObject, target: RouteTarget, to: Slot, share: int) -> list[Change]:
    """The weights that give a slot `share` percent of what goes to either slot, in each rule that
    gives it less. None where it has that much already.

    Raises `ValueError` where they cannot be moved.
    """
    rules = _shared(document, target)
    for lack in _lacks(rules, target):
        raise ValueError(lack)
    return [
        change
        for rule in rules
        if not _has(rule, to, share)
        for change in _weights(rule, to, share)
    ]


def leading(documents: list[JsonObject], namespace: str) -> tuple[RouteSeen, ...]:
    """The HTTPRoutes of a namespace, and the Services of it that each sends requests to."""
    found = []
    for document in documents:
        names = frozenset(
            str(reference.get("name"))
            for rule in _rules(document)
            for reference in _references(rule)
            if _is_service(reference, namespace)
        )
        found.append(RouteSeen(str((document.get("metadata") or {}).get("name")), names))
    return tuple(found)


def _has(rule: Shared, slot: Slot, share: int) -> bool:
    """Whether the slot has as much already, of a total that is not nothing."""
    return rule.weight(slot) * ALL >= share * max(rule.total, 1)


def _weights(rule: Shared, to: Slot, share: int) -> Iterator[Change]:
    """The weights of both slots, whose sum stays as it is where that can be divided so."""
    total = rule.total or ALL
    if total * share % ALL:
        total = ALL
    ours = total * share // ALL
    for slot, weight in ((to, ours), (other(to), total - ours)):
        (place,) = rule.places[slot]
        if place.weight != weight:
            yield Change(rule.number, place.backend, weight)


def _shared(document: JsonObject, target: RouteTarget) -> list[Shared]:
    """The rules that name the Service of a slot."""
    slots = {name: slot for slot, name in target.backends.items()}
    rules = []
    for number, rule in enumerate(_rules(document)):
        found: dict[Slot, list[Place]] = {slot: [] for slot in SLOTS}
        others = False
        for position, reference in enumerate(rule.get("backendRefs") or []):
            weight = reference.get("weight", 1)
            slot = slots.get(reference.get("name"))
            if slot is not None and _is_service(reference, target.namespace):
                found[slot].append(Place(position, weight))
            else:
                others = others or weight > 0
        if any(found.values()):
            rules.append(Shared(number, found, others))
    return rules


def _lacks(rules: list[Shared], target: RouteTarget) -> Iterator[str]:
    """Why weights cannot be moved, in words: a rule must name each slot's own Service once."""
    if not rules:
        yield f"no rule names Service {target.blue} or {target.green}"
    for rule in rules:
        for slot, places in rule.places.items():
            if len(places) != 1:
                times = f"{len(places)} times" if places else "not"
                yield f"rules[{rule.number}] names Service {target.backends[slot]} {times}"
        for step in target.steps:
            if rule.others and rule.total * step % ALL:
                what = f"rules[{rule.number}] has other backends too, and of {rule.total}"
                yield f"{what}, the sum of both slots' weights, {step} % is no whole number"
                break


def _rules(document: JsonObject) -> list[Any]:
    return (document.get("spec") or {}).get("rules") or []


def _references(rule: JsonObject) -> Iterator[JsonObject]:
    """All that a rule sends requests to, copies of them too."""
    backends = rule.get("backendRefs") or []
    yield from backends
    for holder in (rule, *backends):
        for each in holder.get("filters") or []:
            mirror = each.get("requestMirror") or {}
            if "backendRef" in mirror:
                yield mirror["backendRef"]


def _is_service(reference: JsonObject, namespace: str) -> bool:
    """Whether a reference is to a Service of the namespace."""
    kind = reference.get("group", ""), reference.get("kind", "Service")
    return kind == ("", "Service") and reference.get("namespace", namespace) == namespace


def _pending(document: JsonObject) -> tuple[str, bool]:
    """Why the route's Gateways have not taken it as it is, empty where they have; and whether one
    of them says no.

    A Gateway that is not there, or that nobody controls, writes no status.
    """
    generation = (document.get("metadata") or {}).get("generation", 0)
    parents = (document.get("status") or {}).get("parents") or []
    if not parents:
        return "no Gateway has accepted it", True
    late = ""
    for parent in parents:
        name = (parent.get("parentRef") or {}).get("name", "")
        conditions = {each.get("type"): each for each in parent.get("conditions") or []}
        for kind in ("Accepted", "ResolvedRefs"):
            condition = conditions.get(kind) or {}
            if condition.get("observedGeneration", -1) < generation:
                late = late or f"Gateway {name} has not looked at it as it is now"
            elif condition.get("status") != "True":
                return f"Gateway {name} says of it: {kind} is not True", True
    return late, False
