"""Whether a run ended as it should: what may stop a rotation, and what must not."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rotation.decisions.plan import EVENT_SLACK
from rotation.model.world import SLOTS, Slot, other
from tests.memory.clock import START
from tests.memory.owner import Owner
from tests.memory.store import StoreModel
from tests.memory.world import LEFT
from tests.simulation.calls import REFUSED
from tests.simulation.troubles import CODES, unfounded, waives

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import Credential, Window, Workload
    from tests.memory.cluster import ClusterModel
    from tests.simulation.run import Run

ENDS = {"completed", "rolled-back", "aborted", "skipped", "refused", "needs-attention"}
ENDS |= {"superseded"}


def judge_first(run: Run) -> None:
    machine = run.machine
    for rotation, credential in machine.credentials.items():
        if rotation in machine.terminated:
            continue
        status = run.status(rotation)
        outcome = status.get("outcome")
        if status["runtime"] != "Completed" or outcome not in ENDS:
            machine.checker.fail(9, f"{rotation} is {status['runtime']} with outcome {outcome}")
            continue
        damaged = [what for name, what in run.others.damaging if name == credential]
        machine.story.tell(rotation, "ends as %s: %s", outcome, status["outcomeReason"])
        edited = run.others.edited.get(credential)
        if edited is not None and _planned(status) >= edited:
            continue  # planned with what they wrote
        if machine.scenario.shared:
            _refused(run, rotation, status)
            continue
        _said(run, rotation, status)
        _justified(run, rotation, status, damaged + _spoiled(run, credential))
        _proved(run, rotation, status)
        _due(run, rotation, status)
        _waived(run, rotation, status)
        _tested(run, rotation, status)
        _cancelled(run, rotation, status)
        _timely(run, rotation, status)
        _let(run, rotation, status)
        _made_way(run, rotation, status)
        if not damaged and not machine.checker.late and not machine.calls.stale:
            _cleared(run, rotation, status)


def _planned(status: dict[str, Any]) -> datetime:
    """When the rotation was planned: anew, where it had waited for a window."""
    plans = [step["since"] for step in status["steps"] if step["step"] == "plan"]
    return _time(max(plans, default=status["started"]))


def judge_ready(run: Run, ready: set[str], *, second: bool = False) -> None:
    """Checks that no rotation is refused where a dry run said that it would go on, and where nobody
    has changed anything since: the first one of a half, of each credential."""
    machine = run.machine
    if machine.calls.stale and not second:
        return
    for credential in ready:
        rotations = [key for key, of in machine.credentials.items() if of == credential]
        rotations = [key for key in rotations if key.endswith("-second") is second]
        status = run.status(rotations[0]) if rotations else {}
        # What a system did not answer, or refused for a while, is a fault and no finding.
        reason = str(status.get("outcomeReason"))
        failed = reason.startswith("plan: ") or reason.endswith(REFUSED)
        if status.get("outcome") == "refused" and not failed:
            text = f"{rotations[0]} is refused, and a dry run said that it would rotate"
            machine.checker.fail(9, text)


def _spoiled(run: Run, credential: str) -> list[str]:
    """What was wrong with the live secret before anything began, and forbids a rotation."""
    how = run.machine.world.spoiled.get(credential)
    return [] if how in {None, "newline"} else [f"a live secret that is wrong: {how}"]


def _proved(run: Run, rotation: str, status: dict[str, Any]) -> None:
    """Checks that nothing was changed where there is no way back."""
    spoiled = _spoiled(run, status["credential"])
    if spoiled and status["active"] is not None:
        text = f"{rotation} went past its plan and is {status['outcome']}, with {spoiled[0]}"
        run.machine.checker.fail(9, text)


def _said(run: Run, rotation: str, status: dict[str, Any]) -> None:
    """Checks that the record tells of a changed file, and of each release that does not serve."""
    checker, world, name = run.machine.checker, run.machine.world, status["credential"]
    edited, decision = run.others.edited.get(name), status["decision"]
    known = edited and decision and edited < _time(decision["at"]) and not status["untold"]
    if known and not status["changed"]:
        checker.fail(10, f"{rotation} does not say that the file has changed")
    # Once said is enough: one that was left on a slot may be replaced when that is started anew.
    until = [*_before(run, rotation), rotation]
    told = " ".join(
        one["text"]
        for key in until
        for kind in ("releases", "doubts")
        for one in run.status(key).get(kind, ())
    )
    # What one that needs attention has left so, a later one does not have to tell of.
    given_up = any(run.status(key)["outcome"] == "needs-attention" for key in until)
    if given_up or _later(run, rotation):
        return
    for workload in world.configuration.credential(name).workloads:
        if workload.cron_jobs:
            continue
        image, cluster = run.others.released.get(workload.name), world.clusters[workload.cluster]
        service = cluster.service(workload.production) if workload.productions else None
        slot = next((slot for slot in SLOTS if service and service.slot == slot), None)
        found = cluster.find(workload.deployment(slot)) if slot else None
        if image and found and found.images["app"] != image and image not in told:
            checker.fail(10, f"{rotation} has undone the release {image} of {workload.name}")
        variable = run.others.configured.get(workload.name)
        if workload.template == "warn":
            told += "".join(run.evidence(key) for key in until)
        if variable and found and variable not in found.env and f"[{variable}]" not in told:
            checker.fail(10, f"{rotation} has undone {variable} of {workload.name}")


def _justified(run: Run, rotation: str, status: dict[str, Any], damaged: list[str]) -> None:
    checker, faults = run.machine.checker, run.machine.checker.permanents
    outcome, credential = status["outcome"], status["credential"]
    full = "database-connections-used-up" in _codes(status)
    single = any(
        one.in_place for one in run.machine.world.configuration.credential(credential).workloads
    )
    if outcome == "needs-attention" and single and (full or run.others.exhausted):
        return  # whose way back needs new connections
    if outcome == "needs-attention" and full and not run.others.touched:
        # Nobody but the two slots' pods holds them here, and one of the slots was to be retired.
        checker.fail(9, f"{rotation} is {outcome} for want of connections that it could free")
    if damaged or not _stopped(status) or _patient(status, outcome):
        return
    if outcome == "refused" and _in_trouble(run, rotation, status):
        return
    if "active-role-nologin" in _codes(status) and _left_cut(run, credential):
        return
    # What cannot go back any more needs attention for what others abort for.
    cut = status["request"]["cut"] == "first"
    if (outcome != "needs-attention" or cut) and _excused(run):
        return
    if outcome == "aborted" and run.others.exhausted:
        return  # the pods of another workload may have come too late to get a connection
    began = _turned(status) if outcome == "needs-attention" else START
    deeds = [when for owner, when in run.others.touched.items() if owner.credential == credential]
    if not any(when >= began for when in [*deeds, *(when for when, _ in faults)]):
        checker.fail(9, f"{rotation} is {outcome} for no reason: {status['outcomeReason']}")


def _tested(run: Run, rotation: str, status: dict[str, Any]) -> None:
    """Checks that each Job of a rotation was made once before the swap and once after it, and never
    more than that, however often the step ran."""
    steps = [step["step"] for step in status["steps"]]
    if status["outcome"] != "completed" or status["releases"] or "swap" not in steps:
        return
    times = steps.count("prepare") + 1
    world, name = run.machine.world, status["credential"]
    for workload in world.configuration.credential(name).workloads:
        made = world.clusters[workload.cluster].jobs.made
        for test in workload.jobs:
            assert test.job is not None
            own = [
                1
                for by, cron_job, _ in made
                if by == rotation and cron_job in test.job.cron_jobs.values()
            ]
            if not 2 <= len(own) <= times:
                text = f"{rotation} has made {len(own)} Jobs of one test, in {times} phases"
                run.machine.checker.fail(9, text)


def _cancelled(run: Run, rotation: str, status: dict[str, Any]) -> None:
    """Checks that a cancel which counted has stopped the rotation before its swap, and that the
    record says who it was."""
    wish, steps = status["cancelled"], {step["step"] for step in status["steps"]}
    if wish is None:
        if "cancelled" in _codes(status):
            run.machine.checker.fail(9, f"{rotation} is cancelled, and nobody wanted that")
        return
    if not wish["by"] or not wish["at"]:
        run.machine.checker.fail(9, f"{rotation} is cancelled, and does not say by whom")
    if steps & {"swap", "swap-back"} or status["outcome"] in {"completed", "rolled-back"}:
        text = f"{rotation} was cancelled, and its traffic moved: it is {status['outcome']}"
        run.machine.checker.fail(9, text)


# What begins in a window alone.
BEGUN: tuple[str, ...] = ("stage", "prepare", "swap")


def _timely(run: Run, rotation: str, status: dict[str, Any]) -> None:
    """Checks that a rotation began all in windows that its owner allows, unless whoever asked for
    it said why not; and that nothing waited for one once it was on its way back."""
    credential = run.machine.world.configuration.credential(status["credential"])
    request, checker = status["request"], run.machine.checker
    free = "it is an incident" if request["compromised"] else request["outsideWindow"]
    inside = BEGUN
    if credential.retire_in == "window" and status["outcome"] == "completed":
        inside = (*BEGUN, "confirm")
    for step in _begun(status):
        if free is None and step["step"] in inside and not allows(credential, step["since"]):
            text = f"{rotation} begins to {step['step']} at {step['since']}, outside its windows"
            checker.fail(15, text)
    if _places_back(status):
        checker.fail(17, f"{rotation} waits for a place on its way back")
    turned = _turning(status)
    for step in status["steps"]:
        waited = step["step"] == "window" and (step["until"] or "9") > turned
        if waited and (free is not None or step["since"] >= turned):
            checker.fail(15, f"{rotation} waits for a window on its way back, or without need")


def _begun(status: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps, without the swaps that follow a canary's: what has begun is not cut off."""
    swaps = [step for step in status["steps"] if step["step"] == "swap"]
    return [step for step in status["steps"] if step not in swaps[1:]]


FORTH = {"stage", "activate", "prepare", "swap", "observe", "evidence"}


def _places_back(status: dict[str, Any]) -> bool:
    """Whether a rotation that went back waited for a place after it had turned."""
    steps, cancelled = status["steps"], status["cancelled"]
    if cancelled:
        return any(step["step"] == "place" and step["since"] > cancelled["at"] for step in steps)
    forth = [n for n, step in enumerate(steps) if step["step"] in FORTH or "failure" in step]
    after = steps[max(forth, default=-1) + 1 :]
    back = status["outcome"] in {"aborted", "rolled-back"}
    return back and any(step["step"] == "place" for step in after)


def _turning(status: dict[str, Any]) -> str:
    """When a rotation turned to go back; later than anything if it did not."""
    if status["outcome"] not in {"aborted", "rolled-back"}:
        return "9"
    made = status["decidedBefore"] or {}
    if made.get("decision") == "reject":
        return str(made["at"])
    if status["decision"]:
        return str(status["decision"]["at"])
    back = [n for n, step in enumerate(status["steps"]) if step["step"] in {"swap-back", "confirm"}]
    before = status["steps"][: back[0]] if back else status["steps"]
    return max((step["until"] for step in before if "failure" in step), default="9")


def allows(credential: Credential, moment: str) -> bool:
    """Whether an owner who looks at a clock and a calendar would say that a rotation may begin."""
    at = _time(moment)
    for shut in credential.blackouts:
        if shut.first <= f"{at.astimezone(ZoneInfo(shut.zone)):%F}" <= (shut.last or shut.first):
            return False
    return not credential.windows or any(_shows(one, at) for one in credential.windows)


def _shows(window: Window, at: datetime) -> bool:
    clock = at.astimezone(ZoneInfo(window.zone))
    now, today = f"{clock:%H:%M}", f"{clock:%a}".lower() in window.days
    if window.since < window.until:
        return today and window.since <= now < window.until
    yesterday = f"{clock - timedelta(days=1):%a}".lower() in window.days
    return (today and now >= window.since) or (yesterday and now < window.until)


def _let(run: Run, rotation: str, status: dict[str, Any]) -> None:
    """Checks that no traffic moved before it was let, that a canary moved alone at first, and that
    a breach went back, and nothing that stood was breached for long. An incident asks nobody."""
    if status["request"]["compromised"]:
        return
    credential = run.machine.world.configuration.credential(status["credential"])
    checker, made = run.machine.checker, status["decidedBefore"] or {}
    swaps = [step for step in status["steps"] if step["step"] == "swap"]
    if swaps and credential.approval.gate != "after":
        let = rotation in checker.let and made.get("decision") == "approve"
        if not let or made["at"] > swaps[0]["since"]:
            checker.fail(16, f"{rotation} has moved traffic, and nobody had let it")
    wanted = 2 if credential.canary else 1
    if status["outcome"] == "completed" and len(swaps) != wanted:
        checker.fail(16, f"{rotation} has moved its workloads in {len(swaps)} steps, not {wanted}")
    breached = any(one.get("breach") for one in status["conditions"])
    if breached and status["outcome"] not in {"rolled-back", "needs-attention"}:
        checker.fail(16, f"{rotation} is {status['outcome']}, and a condition was breached")
    if breached and status["decision"]:
        checker.fail(16, f"{rotation} is decided, and goes back for a condition all the same")
    late = run.machine.scenario.breach
    if status["outcome"] != "completed" or not credential.conditions or late is None:
        return
    begun = max(START + timedelta(seconds=late), _time(swaps[-1]["until"]))
    after = status["approval"] is not None
    if after and begun + UNNOTICED < _time(status["decision"]["at"]):
        checker.fail(16, f"{rotation} was breached for long before it was approved")


UNNOTICED = timedelta(minutes=45)  # the longest pause between two looks, and faults on the way


def _codes(status: dict[str, Any]) -> set[str]:
    """The codes of the reasons that made it end as it did."""
    return {why["code"] for why in status["reasons"]}


def _refused(run: Run, rotation: str, status: dict[str, Any]) -> None:
    """Checks that nothing was begun with selectors that do not tell one slot from the other."""
    ends = {"refused", "skipped", *(["aborted"] if status["cancelled"] else [])}
    if status.get("active") is not None or status["outcome"] not in ends:
        run.machine.checker.fail(9, f"{rotation} went past its plan with selectors that overlap")


def _made_way(run: Run, rotation: str, status: dict[str, Any]) -> None:
    """Checks that a rotation made way only for an incident that then ran; and that one which cut
    came to an end that says whether the other slot serves."""
    checker, taken = run.machine.checker, status["takenOver"]
    if (taken is not None) != (status["outcome"] == "superseded"):
        checker.fail(18, f"{rotation} is {status['outcome']}, taken over by {taken}")
    if taken is not None and taken["rotation"] not in run.machine.credentials:
        checker.fail(18, f"{rotation} made way for {taken['rotation']}, which never ran")
    leak = status["leak"] or {}
    if status["request"]["cut"] != "first" or not leak.get("refused"):
        return
    if status["outcome"] not in {"completed", "needs-attention", "superseded"}:
        checker.fail(18, f"{rotation} has cut {leak['role']}, and is {status['outcome']}")
    if status["outcome"] == "completed" and not status["confirmation"]:
        checker.fail(18, f"{rotation} has cut {leak['role']}, and nobody confirmed it")


def _due(run: Run, rotation: str, status: dict[str, Any]) -> None:
    """Checks that what an event or a sweep began was due, and that nothing due was skipped."""
    checker, name, outcome = run.machine.checker, status["credential"], status["outcome"]
    if any(owner.credential == name for owner in run.others.touched) or _earlier(run, rotation):
        return
    before = run.machine.world.configuration.credential(name).rotate_before
    if status["request"]["origin"] == "manual":
        return
    if outcome == "skipped" and before >= LEFT:
        checker.fail(9, f"{rotation} is skipped, and was due: {status['outcomeReason']}")
    if status.get("active") is not None and before + EVENT_SLACK < LEFT:
        checker.fail(9, f"{rotation} went past its plan, and was not due for days")


def _waived(run: Run, rotation: str, status: dict[str, Any]) -> None:
    """Checks who waived what, and that nothing else got a rotation past trouble."""
    trouble = run.struck.trouble if run.struck is not None else None
    for problem in unfounded(trouble, status):
        run.machine.checker.fail(11, f"{rotation}: {problem}")
    if status.get("active") is None or trouble is None or not _standing(run, rotation, status):
        return
    own = CODES[trouble.kind]
    moved = any(deed.startswith(("drain node", "evict")) for deed in run.others.done)
    if trouble.kind == "unwell" and moved:
        return  # the pods came back well, on another node
    if own not in {waiver["code"] for waiver in status["waivers"]}:
        run.machine.checker.fail(11, f"{rotation} goes on in spite of {own}, which nobody waived")


def _in_trouble(run: Run, rotation: str, status: dict[str, Any]) -> bool:
    """Whether there was trouble that nobody had waived for this rotation, or it is what is told: an
    earlier one that somebody had waived it for does not mend it."""
    if run.struck is None:
        return False
    mine = run.struck.trouble.credential == status["credential"]
    told = mine and _codes(status) == {CODES[run.struck.trouble.kind]}
    if not told and not _standing(run, rotation, status):
        return False
    return not waives(run.struck.trouble, status["request"])


def _standing(run: Run, rotation: str, status: dict[str, Any]) -> bool:
    """Whether the trouble was there for sure when the rotation began: nobody else came by."""
    name = status["credential"]
    touched = any(owner.credential == name for owner in run.others.touched)
    mine = run.struck is not None and run.struck.trouble.credential == name
    return mine and not touched and not _earlier(run, rotation)


def _excused(run: Run) -> bool:
    """Whether a run may have stopped, before anything had to be undone, for a bug or an old
    answer."""
    machine, calls = run.machine, run.machine.calls
    return bool(machine.world.flaw or calls.stale or calls.untested)


def _stopped(status: dict[str, Any]) -> bool:
    """Whether something other than a person's decision kept it from its goal."""
    let = status["decidedBefore"] or {}
    decided = (
        status["outcome"] == "rolled-back"
        and (status["decision"] or "condition-breached" in _codes(status))
    ) or (
        status["outcome"] == "aborted" and (status["cancelled"] or let.get("decision") == "reject")
    )
    confirmed = _codes(status) & {"disputed", "unconfirmed"}
    ended = {"completed", "skipped", "superseded"}
    return status["outcome"] not in ended and not decided and not confirmed


def _patient(status: dict[str, Any], outcome: str) -> bool:
    """Whether the step that failed was tried for as long as it may take."""
    longest = timedelta(minutes=58 if outcome == "needs-attention" else 8)
    return any(
        "failure" in step and _time(step["until"]) - _time(step["since"]) >= longest
        for step in status["steps"]
    )


def _turned(status: dict[str, Any]) -> datetime:
    """When the rotation began to undo or to retire: from then on there is no way but forward."""
    moments = [_time(step["since"]) for step in status["steps"] if "failure" in step]
    if status["decision"]:
        moments.append(_time(status["decision"]["at"]))
    if status["cancelled"]:
        moments.append(_time(status["cancelled"]["at"]))
    if status["leak"] and status["leak"]["refused"]:
        moments.append(_time(status["leak"]["refused"]))
    return min(moments)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _cleared(run: Run, rotation: str, status: dict[str, Any]) -> None:
    """Checks that the slot that a finished rotation took away is gone in all its parts."""
    active, outcome = status.get("active"), status["outcome"]
    if active is None or outcome not in {"completed", "aborted", "rolled-back"}:
        return
    gone: Slot = active if outcome == "completed" else other(active)
    owner = Owner(status["credential"], gone)
    if owner in run.others.touched or _later(run, rotation):
        return
    for problem in left_of(run, owner):
        run.machine.checker.fail(4, f"{rotation} is {outcome}, and {problem}")


def _earlier(run: Run, rotation: str) -> bool:
    """Whether another rotation of the credential came before it and did something."""
    return any(run.status(key).get("active") is not None for key in _before(run, rotation))


def _before(run: Run, rotation: str) -> list[str]:
    """The rotations of the credential that came before it."""
    names = run.machine.credentials
    before = list(names)[: list(names).index(rotation)]
    return [key for key in before if names[key] == names[rotation]]


def _later(run: Run, rotation: str) -> bool:
    """Whether another rotation of the credential came after it and did something."""
    names = run.machine.credentials
    after = list(names)[list(names).index(rotation) + 1 :]
    return any(
        names[key] == names[rotation] and run.status(key).get("active") is not None for key in after
    )


def left_of(run: Run, owner: Owner) -> list[str]:
    """What is still there of a slot that was retired."""
    world = run.machine.world
    credential = world.configuration.credential(owner.credential)
    login = credential.slots[owner.slot]
    found = []
    if world.database.roles[login.role].login:
        found.append(f"role {login.role} can log in")
    replayed = world.database.replayed
    if credential.database.replicas and replayed[login.role].login:
        found.append(f"role {login.role} can log in to the read replicas")
    enabled = [v for v in world.vault(credential).of(login.secret) if not v.disabled]
    if enabled:
        found.append(f"{len(enabled)} versions of secret {login.secret} are enabled")
    for workload in credential.workloads:
        cluster = world.clusters[workload.cluster]
        if workload.in_place:
            found += _uses(run, workload, login.role)
            continue
        if workload.cron_jobs:
            found += _left_of_cron_jobs(cluster, workload, owner)
            continue
        pods = cluster.pods(workload.deployment(owner.slot))
        if pods:
            found.append(f"pods are left: {', '.join(pods)}")
    return found


def _uses(run: Run, workload: Workload, role: str) -> list[str]:
    """The pods of a workload in place that have a session of a role."""
    sessions = run.machine.world.clusters[workload.cluster].sessions()
    name = workload.deployment("blue").name
    using = [pod.name for each, found, pod in sessions if (each, found.name) == (role, name)]
    return [f"{', '.join(using)} still use {role}"] if using else []


def _left_of_cron_jobs(cluster: ClusterModel, workload: Workload, owner: Owner) -> Iterator[str]:
    """What is wrong with the CronJobs of a workload, one of whose slots was retired."""
    for slot in SLOTS:
        target, retired = workload.cron_job(slot), slot == owner.slot
        found = cluster.schedules.found[target.namespace, target.name]
        if found.suspended is not retired:
            yield f"CronJob {target} is {'not ' if retired else ''}suspended"
        running = [job.name for job in cluster.schedules.jobs(found) if not job.over]
        if retired and running:
            yield f"Jobs are left: {', '.join(running)}"


def _left_cut(run: Run, credential: str) -> bool:
    """Whether an incident has cut what serves, and ended before the other slot did."""
    statuses = (
        run.status(key) for key, name in run.machine.credentials.items() if name == credential
    )
    return any("login-cut" in _codes(status) for status in statuses)


def judge_second(run: Run) -> None:
    """Checks the second rotation, from any world: rotated, or refused for what others did or what
    needed attention before."""
    machine = run.machine
    for credential in machine.world.configuration.credentials:
        rotation = f"{credential}-second"
        status = run.status(rotation)
        outcome = status.get("outcome")
        machine.story.tell(rotation, "ends as %s: %s", outcome, status["outcomeReason"])
        damaged = [what for name, what in run.others.damaging if name == credential]
        attention = "needs-attention" in run.outcomes() or machine.scenario.shared
        # Pods of a release by others may get no connection all the time.
        full = run.others.exhausted
        # Nobody deploys to both slots here, as whoever is refused for it would.
        drifted = bool(run.others.configured)
        if outcome == "completed":
            _whole(run, status)
        elif outcome != "refused" or not (
            damaged or attention or full or drifted or _spoiled(run, credential)
        ):
            machine.checker.fail(
                9, f"the second rotation is {outcome}: {status['outcomeReason']} after {damaged}"
            )


def judge_kept(run: Run, *, all_of_them: bool) -> None:
    """Checks that finished rotations are kept once, as they ended (first), with nothing secret."""
    checker, stores = run.machine.checker, run.machine.world.stores or {}
    records = stores.get("records", StoreModel())
    for name, times in records.writes.items():
        checker.crossed(f"the store's {name}", records.kept[name].content.decode())
        if times != 1:
            checker.fail(14, f"{name} was written {times} times")
    for rotation in run.machine.credentials:
        status = run.status(rotation)
        content = records.kept.get(f"by-id/{rotation}.json")
        found = None if content is None else json.loads(content.content)["record"]["outcome"]
        places = [name for name in records.kept if f".{rotation}." in name and "by-id" not in name]
        if found is None and not all_of_them:
            continue
        first = run.machine.earlier.get(rotation, status["outcome"])
        if found != first or (len(places) != 2 and all_of_them):
            checker.fail(14, f"{rotation} is {status['outcome']}, and kept as {found}: {places}")


def _whole(run: Run, status: dict[str, Any]) -> None:
    gone = Owner(status["credential"], status["active"])
    problems = left_of(run, gone)
    serving = Owner(gone.credential, other(gone.slot))
    refused = run.machine.world.logs_in(serving)
    if refused:
        problems.append(refused)
    for problem in problems:
        run.machine.checker.fail(4, f"the second rotation is completed, and {problem}")
