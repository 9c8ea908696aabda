"""Which Services find a workload's pods, and which of them traffic follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotctl.adopt import routes
from rotctl.adopt.original import name_of, selects

if TYPE_CHECKING:
    from rotctl.adopt.asking import Asking
    from rotctl.adopt.original import Object, Original


@dataclass(frozen=True)
class Found:
    """`service` is the production one, `moving` move with it and `staying` keep both slots."""

    service: str
    called: bool
    moving: tuple[str, ...] = ()
    staying: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()


def selecting(original: Original) -> list[Object]:
    """The Services that find the workload's pods."""
    return [
        one
        for one in original.of("Service")
        if selects((one.get("spec") or {}).get("selector"), original.labels)
    ]


def _asked(route: Object, asking: Asking) -> bool:
    return name_of(route) in asking.answers.route


def _by_routes(routed: list[Object], names: list[str], asking: Asking) -> Found:
    """By HTTPRoutes that are to share requests. All Services stay; the rules name one today."""
    led = {name for one in routed for name in routes.backends(one)}
    meant = [name for name in names if name in led]
    main = [name for name in meant if name in asking.answers.service] or meant
    if len(main) != 1:
        text = f"the Service whose requests {', '.join(asking.answers.route)} are to share"
        asking.ask("service", text, tuple(main))
    order = {name: number for number, name in enumerate(asking.answers.route)}
    moved = sorted((name_of(one) for one in routed), key=lambda name: order[name])
    return Found("".join(main[:1]), True, (), tuple(names), tuple(moved))


def _switch(original: Original) -> str:
    """The new Service of what nothing calls: one for metrics may be called as the workload is."""
    taken = original.one("Service", original.name) is not None
    return f"{original.name}-slot" if taken else original.name


def headless(service: Object) -> bool:
    return (service.get("spec") or {}).get("clusterIP") == "None"


def found(original: Original, asking: Asking) -> Found:
    answers, there = asking.answers, selecting(original)
    if original.in_place:
        # None of them moves. One is named for a test by the readiness probe's path.
        asked = [name_of(one) for one in there if not headless(one)]
        chosen = [name for name in asked if name in answers.service] or asked
        return Found("".join(chosen[:1]), called=bool(chosen))
    names = [name_of(one) for one in there]
    if routed := [one for one in routes.leading(original, tuple(names)) if _asked(one, asking)]:
        return _by_routes(routed, names, asking)
    staying = [name for name in names if name in answers.other_service]
    if original.kind == "CronJob" or answers.worker or not there:
        return Found(_switch(original), called=False, staying=tuple(names))
    moving = [name for name in names if name in answers.with_service]
    main = [name for name in names if name in answers.service]
    left = [one for one in there if name_of(one) not in {*staying, *moving, *main}]
    # By a headless Service pods find each other, or metrics are read; the one that clients use
    # would be the only one.
    beside = [name_of(one) for one in left if headless(one)]
    left_names = [name_of(one) for one in left if not headless(one)]
    if not main and not left_names and len(beside) == 1 and not moving:
        main, beside = beside, []
    if not main and len(left_names) == 1:
        main, left_names = left_names, []
    if len(main) != 1:
        text = f"the Service by which clients reach {original.name}, or --worker if none do"
        asking.ask("service", text, tuple(main or left_names or names))
    elif left_names:
        text = (
            f"whether {', '.join(left_names)} moves between the slots as {main[0]} does (name it"
            " with --with-service) or keeps both, as one for metrics may (--other-service)"
        )
        asking.ask("with_service", text, tuple(left_names))
    return Found("".join(main[:1]), True, tuple(moving), (*staying, *beside))
