"""What is rotated in a run: credentials, workloads, policies, and how long things take."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Literal, get_args

from rotation.config import Configuration
from rotation.model.world import SLOTS, Slot
from tests.memory.clock import START
from tests.memory.cluster import Times
from tests.memory.world import Live

if TYPE_CHECKING:
    from rotation.model.world import TemplatePolicy
    from tests.simulation.troubles import Trouble

APPROVERS = ("ann@example.org", "ben@example.org")
# By which they are known who have signed in.
IDS = {who: f"{n}0000000-0000-4000-8000-000000000000" for n, who in enumerate(APPROVERS, 1)}
REQUESTER = "zoe@example.org"
TOPIC = "https://topic.example/api/events"
CLUSTERS = ("west", "north")
# The workload's own faults: its standby fails its tests, or only once it serves.
INCIDENTS = 0.12  # of the credentials, whose owner lets them be cut
Flaw = Literal["", "preview", "service"]
LIVE: tuple[Live, ...] = get_args(Live)


@dataclass(frozen=True)
class Runs:
    """How the CronJobs of a scenario run; times are in seconds. What runs ends within `drain`."""

    period: float = 900.0
    lasts: float = 20.0
    policy: str = "Allow"
    deadline: int = 60


@dataclass(frozen=True)
class Scenario:
    """`stale`: the standby Deployments still report that an earlier rollout failed. `strays`: an
    evicted pod and a debug copy have the labels of what serves. `shared`: both slots' Deployments
    select each other's pods."""

    configuration: Configuration
    active: dict[str, Slot]  # of each credential
    replicas: int
    times: Times
    topic: bool
    flaw: Flaw = ""
    trouble: Trouble | None = None  # from the start
    live: dict[str, Live] = field(default_factory=dict)  # what is wrong with which live secret
    lag: float = 0.0  # of read replicas, in seconds
    stale: bool = False
    strays: bool = False
    shared: bool = False
    late: float = 0.0  # of a pooler, in seconds
    configured: bool = False  # what serves has a variable more, where that is in nobody's way
    runs: Runs = Runs()  # of CronJobs
    breach: float | None = None  # seconds after the start, from when on a value is beyond its limit


def draw(rng: Random) -> Scenario:
    names = ["orders", "billing"] if rng.random() < 0.04 else ["orders"]
    limits = _limits(another(rng, 10))
    if limits:
        names = ["orders", "billing", "stock"]
    topic = rng.random() < 0.2
    return Scenario(
        configuration=configuration(
            {name: _credential(rng, name, _count(rng, len(names))) for name in names}, limits
        ),
        active={name: rng.choice(SLOTS) for name in names},
        replicas=rng.choice([1, 2, 2, 3]),
        times=Times(
            controller=rng.choice([0.0, 0.5, 2.0]),
            startup=rng.choice([0.5, 3.0, 8.0]),
            grace=rng.choice([3.0, 8.0]),
            routes=rng.choice([0.0, 1.0, 2.0]),
            progress=rng.choice([60.0, 300.0]),
            lag=rng.choice([0.0, 1.0, 4.0]),
        ),
        topic=topic,
        flaw=rng.choices(["", "preview", "service"], [90, 5, 5])[0],  # type: ignore[arg-type]  # the words of Flaw
        live={name: rng.choice(LIVE) for name in names if rng.random() < 0.06},
        lag=rng.choice([0.0, 3.0, 100.0, 100.0]),
        stale=rng.random() < 0.15,
        strays=rng.random() < 0.15,
        shared=rng.random() < 0.02,
        late=another(rng).choice([0.0, 3.0, 100.0, 100.0]),
        configured=another(rng, 1).random() < 0.5,
        runs=_runs(another(rng, 3)),
        breach=_breach(another(rng, 9)),
    )


def _breach(rng: Random) -> float | None:
    """When a condition is breached, of those that have some."""
    return rng.choice([None, None, 0.0, rng.uniform(0, 600), rng.uniform(0, 3 * 86400)])


def _limits(rng: Random) -> dict[str, dict[str, int]]:
    """In some scenarios, which are of more credentials then, how many may be at one thing."""
    if rng.random() >= 0.06:
        return {}
    kind = rng.choice(["servers", "servers", "clusters"])
    return {kind: {"*": rng.choice([1, 1, 2])}}


def _runs(rng: Random) -> Runs:
    policy = rng.choice(["Allow", "Allow", "Forbid", "Replace"])
    # Where none may run beside another one, a swap waits for its end, and not for long.
    long = [600.0] if policy == "Allow" else []
    return Runs(
        period=rng.choice([120.0, 900.0, 3600.0]),
        lasts=rng.choice([1.0, 45.0, *long]),
        policy=policy,
        deadline=rng.choice([30, 60]),
    )


def another(rng: Random, number: int = 0) -> Random:
    """Of draws that came later, so that no other draw of a seed changes with them; `number` tells
    those of one place apart."""
    copied = Random()  # noqa: S311 - not a secret
    copied.setstate(rng.getstate())
    return Random(copied.getrandbits(64) + number)  # noqa: S311 - not a secret


def _count(rng: Random, credentials: int) -> int:
    return 1 if credentials > 1 else rng.choices([1, 2, 3], [80, 17, 3])[0]


def plain(
    workloads: int = 2,
    template: TemplatePolicy = "refuse",
    *,
    uncalled: bool = False,
    weights: list[int] | None = None,
    in_place: bool = False,
    jobs: bool = False,
    scheduled: bool = False,
    leaks: bool = False,
    **more: Any,
) -> Scenario:
    """One credential without surprises, for the sweeps. Its first workload has two Services, or
    HTTPRoutes with `weights`, and with `jobs` a test that is a Job; with `uncalled` nothing calls
    its last one; with `in_place` one more has no twin, with `scheduled` one more is of CronJobs;
    with `leaks` it may be cut."""
    deliveries = ["csi", "secret"] * workloads
    found = document("orders", "url", deliveries[:workloads], {"deadline": "7d"})
    found["workloads"][0]["services"] = ["orders-api-grpc"]
    for workload in found["workloads"]:
        workload["template"] = template
    if jobs:
        _check(found["workloads"][0], wanted=True)
    if uncalled:
        _uncall(found["workloads"][-1], overlap=False)
    if weights is not None:
        _route(found["workloads"][0], weights)
    if in_place:
        found["workloads"] += _in_place("orders", Random(3), 1.0)  # noqa: S311 - not a secret
    if scheduled:
        found["workloads"].append(_report("orders"))
    if leaks:
        _let_cut(found)
    return Scenario(
        configuration=configuration({"orders": found}),
        active={"orders": "blue"},
        replicas=2,
        times=Times(controller=0.5, startup=3.0, grace=3.0, routes=1.0, progress=300.0),
        topic=False,
        **more,
    )


def _credential(rng: Random, name: str, workloads: int) -> dict[str, Any]:
    deliveries = [rng.choice(["csi", "secret"]) for _ in range(workloads)]
    policy: dict[str, Any] = {"deadline": rng.choice(["1h", "30h", "3d"]), "remind": "24h"}
    policy["onDeadline"] = rng.choices(["keep", "roll-back", "approve"], [70, 15, 15])[0]
    if policy["onDeadline"] == "approve":
        policy["soak"] = rng.choice(["10m", "2d"])
    policy["allowRequester"] = rng.random() < 0.2
    shape = rng.choice(["password", "url", "json"])
    # A team that rotates late: what Key Vault announces is not due yet, and is skipped.
    late = rng.random() < 0.03
    found = document(name, shape, deliveries, policy) | ({"rotateBefore": "7d"} if late else {})
    if another(rng).random() > 0.85:  # no route that says which role serves
        found["workloads"][-1]["tests"] = [{"path": "/healthz", "repeat": 1}]
    if another(rng, 2).random() < 0.1:
        query = {"sql": "select session_user", "value": "{role}", "repeat": 1}
        found["workloads"][0]["tests"].append(query)
    _check(found["workloads"][0], wanted=another(rng, 7).random() < 0.1)
    if rng.random() < 0.1:
        found["database"]["replicas"] = ["read.example"]
    beside = another(rng)
    if beside.random() < 0.1:
        found["database"]["endpoint"] = {"host": "pooler.example", "port": 6432}
    policies = another(rng, 1)
    for workload in found["workloads"]:
        if beside.random() < 0.2:
            workload["services"] = [f"{workload['name']}-grpc"]
        if beside.random() < 0.1:
            workload["otherServices"] = [f"{workload['name']}-metrics"]
        workload["template"] = policies.choices(["refuse", "warn", "sync"], [60, 10, 30])[0]
    _draw_traffic(rng, found["workloads"])
    found["workloads"] += _in_place(name, another(rng, 5), 0.12)
    found["workloads"] += _reports(another(rng, 6), name)
    if another(rng, 11).random() < INCIDENTS:
        _let_cut(found)
    return _gates(found | _hours(another(rng, 8)), another(rng, 9))


def _let_cut(found: dict[str, Any]) -> None:
    """Lets approvers who have signed in end the login that serves."""
    found["incident"] = "allowed"
    found["approval"]["approvers"] = [{"id": IDS[who], "address": who} for who in APPROVERS]


CONDITION = {"name": "errors", "above": 1}
PROMETHEUS = {"url": "https://prometheus.example", "query": "errors"}


def _gates(found: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Has some asked before the swap, watches conditions of some, and moves a canary first."""
    gate = rng.choices(["after", "before", "both"], [84, 8, 8])[0]
    if gate != "after":
        before = {"deadline": rng.choice(["1h", "30h", "3d"])}
        before["onDeadline"] = rng.choices(["keep", "abort", "approve"], [70, 15, 15])[0]
        found["approval"] |= {"gate": gate, "before": before}
    if rng.random() < 0.12:
        one = {**CONDITION, "prometheus": PROMETHEUS, "for": rng.choice(["0s", "2m"])}
        found |= {"conditions": [one], "watch": rng.choice(["0s", "2m", "30m"])}
    if len(found["workloads"]) > 1 and rng.random() < 0.2:
        found["canary"] = rng.choice(found["workloads"])["name"]
    return found


def _hours(rng: Random) -> dict[str, Any]:
    """In some scenarios the windows that the owner allows."""
    if rng.random() >= 0.1:
        return {}
    windows = [_window(rng) for _ in range(rng.choice([1, 1, 2]))]
    found: dict[str, Any] = {"windows": windows, "retireIn": rng.choice(["anytime", "window"])}
    if rng.random() < 0.3:
        last = START + timedelta(days=rng.randrange(20))
        found["blackouts"] = [{"from": f"{START:%F}", "to": f"{last:%F}", "zone": "UTC"}]
    return found


# Of clocks that go forward while a run lasts, or stay as they are.
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu")


def _window(rng: Random) -> dict[str, Any]:
    """Of two hours at least, so that there is something of it left where a clock goes forward; or
    of a minute, in the day."""
    begins, lasts = rng.randrange(24), rng.randrange(2, 20) * 60
    if rng.random() < 0.3:
        begins, lasts = rng.randrange(8, 20), 1
    ends = (begins * 60 + lasts) % (24 * 60)
    return {
        "days": sorted(rng.sample(["mon", "tue", "wed", "thu", "fri", "sat", "sun"], 4)),
        "from": f"{begins:02}:00",
        "to": f"{ends // 60:02}:{ends % 60:02}",
        "zone": rng.choice(ZONES),
    }


def _draw_traffic(rng: Random, workloads: list[dict[str, Any]]) -> None:
    """Lets few workloads be called by nobody, or by HTTPRoutes."""
    uncalled = another(rng, 2)
    if uncalled.random() < 0.12:
        _uncall(workloads[-1], overlap=uncalled.random() < 0.3)
    by_route = another(rng, 3)
    if by_route.random() < 0.12:
        _route(workloads[0], by_route.choice([[], [10], [10, 50]]))


def _route(workload: dict[str, Any], weights: list[int]) -> None:
    """Makes a workload one whose requests HTTPRoutes share between its slots' own Services."""
    if "preview" not in workload:
        return  # nothing calls it
    name = workload["name"]
    for key in ("service", "preview", "services"):
        workload.pop(key, None)
    backends = {slot: f"{name}-{slot}" for slot in SLOTS}
    workload["route"] = {"name": name, "names": [f"{name}-two"], "backends": backends}
    workload["route"] |= {"weights": weights, "settle": "4s"}


def _check(workload: dict[str, Any], *, wanted: bool) -> None:
    """Gives a workload a test that is a Job, if it is wanted."""
    if wanted:
        workload["tests"].append({"job": f"{workload['name']}-check-{{slot}}", "timeout": "20s"})


def _in_place(credential: str, rng: Random, chance: float) -> list[dict[str, Any]]:
    """A workload without a twin, whose login is exchanged; or none."""
    if rng.random() >= chance:
        return []
    name = f"{credential}-ledger"
    kind = rng.choice(["Deployment", "StatefulSet", "StatefulSet", "DaemonSet"])
    then = rng.choice(["restart", "restart", "reload"])
    workload = {
        "name": name,
        "cluster": CLUSTERS[rng.randrange(2)],
        "namespace": credential,
        "inPlace": {
            "kind": kind,
            "name": name,
            "secret": f"{name}-db",
            "then": then,
            "roleKey": "username",
        },
        "ready": "120s",
        "drain": "60s",
    }
    return [workload]


def _reports(rng: Random, credential: str) -> list[dict[str, Any]]:
    """In some scenarios a workload of CronJobs."""
    return [_report(credential)] if rng.random() < 0.15 else []


def _report(credential: str) -> dict[str, Any]:
    """A workload of CronJobs."""
    name = f"{credential}-report"
    found = _workload(credential, 0, "csi")
    del found["preview"], found["deployments"], found["tests"]
    names = {slot: f"{name}-{slot}" for slot in SLOTS}
    return found | {"name": name, "service": name, "cronJobs": names, "drain": "15m"}


def _uncall(workload: dict[str, Any], *, overlap: bool) -> None:
    """Makes a workload one that nothing calls: without a preview Service and tests by path."""
    del workload["preview"]
    tests = [test for test in workload["tests"] if "path" not in test]
    workload |= {"tests": tests, "overlap": overlap}


def document(
    name: str, shape: str, deliveries: list[str], approval: dict[str, Any]
) -> dict[str, Any]:
    """A credential as the file has it."""
    return {
        "vault": f"https://kv-{name}.vault.example",
        "validity": "90d",
        "format": shape,
        "drain": "3s",
        "database": {"host": "pg.example", "name": name, "admin": {"role": "rotator"}},
        "slots": {
            slot: {"role": f"{name}_{slot}", "secret": f"{name}-db-{slot}"} for slot in SLOTS
        },
        "workloads": [
            _workload(name, index, delivery) for index, delivery in enumerate(deliveries)
        ],
        "approval": {"approvers": list(APPROVERS), **approval},
    }


def _workload(credential: str, index: int, delivery: str) -> dict[str, Any]:
    name = f"{credential}-{('api', 'jobs', 'web')[index]}"
    found: dict[str, Any] = {
        "name": name,
        "cluster": CLUSTERS[index % 2],
        "namespace": credential,
        "service": name,
        "preview": f"{name}-preview",
        "deployments": {slot: f"{name}-{slot}" for slot in SLOTS},
        "delivery": delivery,
        "ready": "90s",
        "drain": "60s",
        "tests": [{"path": "/whoami", "json": {"role": "{role}"}, "repeat": 1}],
    }
    if delivery == "secret":
        found["secrets"] = {slot: f"{name}-db-{slot}" for slot in SLOTS}
    return found


def configuration(
    credentials: dict[str, Any], limits: dict[str, dict[str, int]] | None = None
) -> Configuration:
    clusters = {name: {"server": f"https://{name}.example"} for name in CLUSTERS}
    written = {"clusters": clusters, "credentials": credentials, "maxParallel": limits or {}}
    return Configuration.model_validate(written)
