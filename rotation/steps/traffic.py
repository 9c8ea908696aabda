"""Moves a workload's traffic to the slot or back to it, and confirms where it goes.

Somebody may deploy the application meanwhile, to the slot that serves: traffic moves to one with
other images only where those are what is wrong. The story levels the slot first (`pods.level`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.decisions.rollout import named, unready, without
from rotation.decisions.templates import beyond_containers, listed
from rotation.model.activities import Moved
from rotation.model.errors import Conflict, Denied, EdgeError, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import RouteTarget
from rotation.model.world import SLOTS, other
from rotation.steps import asking, cron_jobs, in_place, shared, strangers
from rotation.steps.drift import drift, own_containers
from rotation.steps.login import verify
from rotation.steps.proving import run_tests

if TYPE_CHECKING:
    from rotation.model.targets import TrafficTarget
    from rotation.model.world import Deployment, Route, Slot
    from rotation.steps.drift import Deployments
    from rotation.steps.running import Step

ROUNDS = 3  # of tests that fail, before a release counts as broken


def swap(step: Step) -> Moved:
    """Points the production Services at `slot`, once that has as many ready pods as the other; of
    what HTTPRoutes share the reference's `share`.

    With `level` in the reference it does not move to other images than those that serve, nor (if
    that is not waived) to another pod template: raises `Conflict` unless that can be brought along.
    """
    if step.workload.in_place:
        return in_place.swap(step)
    if step.workload.cron_jobs:
        return cron_jobs.swap(step)
    return _move(step, back=False)


def swap_back(step: Step) -> Moved:
    """Points the production Services back at `slot`, whose pods start again if there are none.

    A fence for each makes a swap forward fail that is held up, also where nothing is to change; and
    what would still end the slot's pods, of a workload that nothing calls.
    Ready pods are proof enough: they served before, on connections that they still have, and the
    slot that traffic leaves may hold all others. With `level` in the reference it does not move to
    other images than those that serve, unless those fail their tests: then they may be what is gone
    back from. The pod template stays as it served: what differs is told.
    """
    if step.workload.in_place:
        return in_place.swap_back(step)
    if step.workload.cron_jobs:
        return cron_jobs.swap_back(step)
    for target in step.workload.productions:
        step.traffic.fence(target, step.rotation)
    _keep_pods(step)
    return _move(step, back=True)


def _keep_pods(step: Step) -> None:
    """Changes the slot's Deployment, if its pods may still be about to end, so that whatever has
    seen it as it was comes to nothing; what looks later meets the fences.

    Once `few` pods will do, a refusal of that is in no way back any more: whoever may not change
    the Deployment ends no pods of it either.
    """
    routes = [step.traffic.route(target) for target in step.workload.productions]
    if not step.workload.stops or any(route and route.slot == step.slot for route in routes):
        return
    target = step.pods.deployment(step.deployment)
    if target is None or not target.replicas:
        return
    try:
        step.arriving.scale_up(target.replicas, target.revision)
    except Denied:
        if not step.reference.few:
            raise


def _move(step: Step, *, back: bool) -> Moved:
    """Points the production Services at the slot, and the preview Service, if there is one, at the
    other.

    The slot's pods are proved right before, and on the way forward its login: the wait for pods may
    have been long. Where one of several Services is there already, an earlier run was cut off
    between two of them: what serves by then is neither scaled nor levelled.
    """
    came_from = other(step.slot)
    routes = {target: step.traffic.route(target) for target in step.workload.productions}
    if not back:
        _refuse_what_others_did(step, routes)
    # None goes through a Service that is gone: the move says so.
    shares = [route.share(step.slot) if route else 0 for route in routes.values()]
    there = any(shares)
    if not all(share >= step.reference.share for share in shares):
        target = _ensure_capacity(step, revive=back, serves=there)
        if not back:
            _ensure_found(step, routes, target)
            verify(step)
        if step.reference.level and there and not back:
            shared.refuse_release(step, routes)
        if step.reference.level and not there:
            deployments = _deployments(step)
            template = "" if back else _template_behind(step, deployments)
            own, serving = _images(step, deployments)
            if (own != serving or template) and not (back and _fails(step, came_from)):
                return Moved(released=serving, had=own, template=template)
    _point(step, routes, back=back)
    preview = step.workload.standby
    previewed = preview_slot(step)
    if preview is not None and previewed != came_from:
        step.traffic.move(preview, previewed, came_from, by=step.rotation)
    shared.ensure_taken(step)
    return Moved(left=_left_behind(step, back=back))


def _refuse_what_others_did(step: Step, routes: dict[TrafficTarget, Route | None]) -> None:
    """Raises `Conflict` for a step forward that begins once the rotation has set about to go back,
    or somebody has taken both slots out of a rule: a share for one would bring the other back too.

    One that began before meets another revision.
    """
    for target, route in routes.items():
        if route is not None and route.fence == step.rotation:
            text = f"{target.kind} {target} is on its way back: the slot is about to be taken down"
            raise Conflict(Code.SERVES_TRAFFIC, text)
        if route is not None and route.idle:
            text = f"{target.kind} {target} has a rule that gives neither slot any weight"
            raise Conflict(Code.TRAFFIC_ELSEWHERE, f"{text}; somebody else changed it")


def _point(step: Step, routes: dict[TrafficTarget, Route | None], *, back: bool) -> None:
    """Points each production Service or HTTPRoute at the slot, as it was seen to be.

    On the way back one that cannot be moved does not keep the others from it. Raises why, what may
    pass by itself first.
    """
    failed: list[EdgeError] = []
    for target, route in routes.items():
        # Held up since the look, it must not undo a move to the other slot.
        revision = route.revision if route else None
        try:
            if isinstance(target, RouteTarget):
                share = step.reference.share
                step.traffic.shift(target, step.slot, share, revision=revision, by=step.rotation)
                continue
            step.traffic.move(
                target, other(step.slot), step.slot, revision=revision, by=step.rotation
            )
        except EdgeError as error:
            if not back:
                raise
            failed.append(error)
    if failed:
        raise min(failed, key=lambda error: not error.transient)


def _deployments(step: Step) -> Deployments:
    """The workload's Deployments as they are now."""
    return {slot: step.pods.deployment(step.workload.deployment(slot)) for slot in SLOTS}


def _images(step: Step, deployments: Deployments) -> tuple[dict[str, str], dict[str, str]]:
    """The images of the slot, and those of the other one; none of a Deployment that is gone.

    Without those of containers that only one of them has, where they may differ.
    """
    own, others = deployments[step.slot], deployments[other(step.slot)]
    if own is None or others is None:
        return own.images if own else {}, others.images if others else {}
    lone = own.images.keys() ^ others.images.keys()
    if Code.CONTAINERS_DIFFER not in step.reference.waived:
        lone &= own_containers(step.workload)
    return without(own.images, lone), without(others.images, lone)


def _template_behind(step: Step, deployments: Deployments) -> str:
    """What the pod template of the slot has not and that of the other one has, by paths, if it is
    to be brought along; empty where it is to be told only.

    Raises `Conflict` where it stands in the way.
    """
    paths = _drift(step, deployments)
    if not paths or step.workload.template == "sync":
        return listed(paths)
    text = (
        f"the pod template of Deployment {step.workload.deployment(other(step.slot))} was changed "
        f"since the plan: {step.deployment} differs from it at {listed(paths)}"
    )
    raise Conflict(Code.TEMPLATES_DIFFER, text)


def _drift(step: Step, deployments: Deployments) -> tuple[str, ...]:
    """The paths at which the slot's pod template is not that of the other one; none where that is
    waived, or the owner has chosen to be told with the evidence."""
    workload = step.workload
    if workload.template == "warn" or Code.TEMPLATES_DIFFER in step.reference.waived:
        return ()
    paths = drift(step.credential, workload, other(step.slot), deployments).paths
    # Whole containers are looked at with their images.
    return paths if workload.template == "sync" else beyond_containers(paths)


def _fails(step: Step, slot: Slot) -> bool:
    """Whether the slot that serves fails its tests, a few times in a row.

    Once a round has failed, what leaves no time for another one counts as failed too: clients wait
    as long. Raises `Unavailable` if there was no time for the first, which says nothing of it; but
    where the reference says that `few` will do, that keeps nobody from the way back any more.
    """
    until = asking.until(step.edges)
    overdue_fails = step.reference.few
    for left in reversed(range(ROUNDS)):
        results = run_tests(step.edges, step.credential, step.workload, slot, "service", until)
        failed = [result for result in results if not result.passed]
        if not failed:
            return False
        if all(result.code == Code.TEST_OVERDUE for result in failed):
            if overdue_fails:
                return True
            text = f"whether {slot} serves was not seen in time: {failed[0].problem}"
            raise Unavailable(Code.TEST_OVERDUE, text)
        overdue_fails = True
        if left:
            step.edges.sleep(1)
    return True


def _left_behind(step: Step, *, back: bool) -> str:
    """What the other slot has and this one, where traffic goes now, has not; empty for nothing.

    Somebody may have deployed it between the last look and the move, or while the slot was brought
    in vain to what was deployed before. On the way forward only where the reference asks for it.
    """
    if not step.reference.level and not back:
        return ""
    deployments, behind = _deployments(step), other(step.slot)
    own, others = _images(step, deployments)
    # On the way back nobody is asked any more, whatever was to be told only.
    drifted = drift(step.credential, step.workload, behind, deployments).paths
    paths = beyond_containers(drifted) if back else _drift(step, deployments)
    left = []
    if own != others and others:
        left.append(
            f"{step.slot} serves with {named(own, others)}, and {behind} has {named(others, own)}"
        )
    if paths:
        left.append(f"the pod templates of {step.slot} and {behind} differ at {listed(paths)}")
    return "; ".join(left)


def _ensure_found(
    step: Step, routes: dict[TrafficTarget, Route | None], target: Deployment | None
) -> None:
    """Raises `Conflict` if a production Service would find no pod once it selects the slot.

    Somebody may have changed its selector, or the pods' labels, since the plan.
    """
    labels = (target.labels if target else None) or {}
    for service, selector in shared.selectors(step, routes).items():
        if labels and selector and not selector.items() <= labels.items():
            text = f"with {step.slot}, Service {service} would select no pod of {step.deployment}"
            raise Conflict(Code.SERVICE_PODS, text)


def _ensure_capacity(step: Step, *, revive: bool, serves: bool) -> Deployment | None:
    """The slot's Deployment as it was looked at. Raises `Unavailable` unless it has as many ready
    pods as the other; scales it up then.

    The load may have grown since the slot was started, or left. `revive`: also from no pods. Where
    the reference says that `few` will do, one that is ready is enough. A slot that `serves` part of
    the traffic has to be ready, and stays as it is.
    """
    workload, at = step.workload, step.deployment
    target = step.pods.deployment(at)
    if step.reference.few and _some_ready(target):
        return target
    serving = step.pods.deployment(workload.deployment(other(step.slot)))
    wanted = max(serving.replicas if serving else 0, 1)
    small = target is not None and target.replicas < wanted and (target.replicas or revive)
    if target is not None and small and not serves:
        step.arriving.scale_up(wanted, target.revision)
        text = f"Deployment {at} is being scaled up to {wanted} pods"
        raise Unavailable(Code.SCALING_UP, text)
    waiting = unready(target) if target else "it does not exist"
    if target is None or target.replicas == 0 or waiting is not None:
        text = f"Deployment {at} cannot serve now: {waiting or 'no pods'}"
        raise Unavailable(Code.CANNOT_SERVE, text)
    return target


def _some_ready(target: Deployment | None) -> bool:
    return target is not None and target.ready > 0


def preview_slot(step: Step) -> str:
    """The slot that the preview Service selects, empty where the workload has no such Service.
    Raises `Conflict` if it selects none."""
    preview = step.workload.standby
    if preview is None:
        return ""
    route = step.traffic.route(preview)
    if route is None or route.slot is None:
        raise Conflict(Code.PREVIEW_GONE, f"Service {preview} is gone or selects no slot")
    return route.slot


def confirm(step: Step) -> None:
    """Raises `EdgeError` unless the slot serves every workload, has ready pods and can log in, and
    nothing that nobody named leads to the other one.

    A server without a connection left proves nothing, and does not stop it: to retire the other
    slot's pods is what frees some. `deactivate` asks again, before it takes the other login away.
    """
    for workload in step.credential.workloads:
        if workload.in_place:
            in_place.confirm(step.edges, workload, step.slot)
            continue
        for target in workload.productions:
            route = step.edges.traffic(workload.cluster).route(target)
            if route is None or route.slot != step.slot:
                goes = "is gone" if route is None else route.goes
                text = f"{target.kind} {target} {goes}, not {step.slot}"
                raise Conflict(Code.TRAFFIC_ELSEWHERE, text)
        if workload.cron_jobs:
            cron_jobs.confirm(step, workload)
            continue
        strangers.refuse(step.edges, workload, other(step.slot))
        at = workload.deployment(step.slot)
        deployment = step.edges.pods(workload.cluster).deployment(at)
        waiting = unready(deployment) if deployment else "it does not exist"
        if deployment is None or deployment.ready == 0:
            text = f"Deployment {at} does not serve: {waiting or 'no pods'}"
            raise Unavailable(Code.NOT_SERVING, text)
    try:
        verify(step)
    except Unavailable as error:
        if error.code is not Code.DATABASE_FULL:
            raise
