"""Starting, finding and listing rotations through the durable client."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation.config import parse
from rotation.front import rotations
from rotation.front.hub import unavailable
from rotation.front.rotations import (
    PAGE,
    Busy,
    Known,
    Started,
    current,
    describe,
    event_id,
    find,
    listing,
    manual_id,
    start,
    sweep_id,
)
from rotation.front.triggers import sweep_all, take
from rotation.model import wire
from rotation.model.catalogue import Origin, Outcome
from rotation.model.errors import Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.model.targets import SecretTarget
from tests.memory import MemoryEdges

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotation.model.record import ShownRecord

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
REQUEST = Request(
    rotation="orders-db-1",
    credential="orders-db",
    origin=Origin.MANUAL,
    requested_by="ada",
    reason="because",
)

# Inputs of a credential's orchestration that are no request.
NO_REQUESTS = [None, "[", {"credential": "orders-db"}, "[" * 60_000]


def asked(**changes: Any) -> dict[str, Any]:
    """The input of a rotation, and of its credential's orchestration."""
    return {**wire.value_of(REQUEST), **changes}


@dataclass(frozen=True)
class Instance:
    """As `DurableOrchestrationStatus` shows an instance."""

    instance_id: str
    name: str = "rotation"
    input_: Any = None
    custom_status: Any = None
    output: Any = None
    runtime_status: Status = Status.Running
    created_time: datetime = NOW
    last_updated_time: datetime = NOW


class Client:
    """A task hub. `before` and `after` run around `start_new`, as other callers would."""

    def __init__(self, *instances: Instance) -> None:
        self.instances = {instance.instance_id: instance for instance in instances}
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self.queries: list[tuple[datetime, datetime]] = []
        self.started: list[dict[str, Any]] = []

    async def get_status(self, instance_id: str, **_: Any) -> Instance | None:
        return self.instances.get(instance_id)

    async def start_new(self, name: str, instance_id: str, value: Any) -> str:
        self.before()
        known = self.instances.get(instance_id)
        if known is not None and known.runtime_status is Status.Running:
            # The SDK's own class for it is this one.
            raise Exception(f"{instance_id} already exists")  # noqa: TRY002 - see above
        # What is handed over comes back as JSON text in 1.x.
        self.instances[instance_id] = Instance(instance_id, name, json.dumps(value))
        self.started.append(value)
        self.after()
        return instance_id

    async def get_status_by(
        self,
        created_time_from: datetime,
        created_time_to: datetime,
        instance_id_prefix: str | None,
        runtime_status: list[Any] | None = None,
    ) -> list[Instance]:
        self.queries.append((created_time_from, created_time_to))
        found = [
            instance
            for instance in self.instances.values()
            if created_time_from <= instance.created_time <= created_time_to
            and instance.instance_id.startswith(instance_id_prefix or "")
            and (runtime_status is None or instance.runtime_status in runtime_status)
        ]
        return sorted(found, key=lambda instance: instance.instance_id)[:PAGE]


def running(rotation: str, credential: str = "orders-db", **more: Any) -> Instance:
    return Instance(credential, "credential", json.dumps(asked(rotation=rotation)), **more)


def begin(client: Client, request: Request = REQUEST) -> Started | Known | Busy:
    return asyncio.run(start(client, request))


def test_start() -> None:
    client = Client()
    assert begin(client) == Started("orders-db-1")
    assert client.started == [wire.value_of(REQUEST)]
    assert wire.read(Request, client.started[0]) == REQUEST


def test_start_after_another_has_ended() -> None:
    ended = running("orders-db-0", runtime_status=Status.Completed)
    assert begin(Client(ended)) == Started("orders-db-1")


@pytest.mark.parametrize("status", [Status.Running, Status.Pending, Status.Suspended])
def test_start_while_another_runs(status: Status) -> None:
    client = Client(running("orders-db-0", runtime_status=status))
    assert begin(client) == Busy("orders-db-0")
    assert client.started == []


@pytest.mark.parametrize("status", [Status.Running, Status.Completed, Status.Failed])
def test_start_again(status: Status) -> None:
    """A finished rotation must not be started anew under its id: that would erase it."""
    client = Client(Instance("orders-db-1", runtime_status=status))
    assert begin(client) == Known("orders-db-1")
    assert client.started == []


def test_start_again_before_the_rotation_itself_exists() -> None:
    assert begin(Client(running("orders-db-1"))) == Known("orders-db-1")


@pytest.mark.guarantee(5)
@pytest.mark.parametrize(
    ("winner", "expected"),
    [("orders-db-0", Busy("orders-db-0")), ("orders-db-1", Known("orders-db-1"))],
)
def test_start_when_another_caller_was_a_moment_faster(winner: str, expected: object) -> None:
    client = Client()
    client.before = lambda: client.instances.update({"orders-db": running(winner)})
    assert begin(client) == expected


def test_start_that_was_overwritten() -> None:
    """Both callers saw nothing, both were told that they started it: one of them did."""
    client = Client()
    client.after = lambda: client.instances.update({"orders-db": running("orders-db-0")})
    assert begin(client) == Busy("orders-db-0")


def test_start_of_what_ends_at_once() -> None:
    client = Client()
    done = running("orders-db-1", runtime_status=Status.Completed)
    client.after = lambda: client.instances.update({"orders-db": done})
    assert begin(client) == Started("orders-db-1")


def test_start_with_a_task_hub_that_fails() -> None:
    def fails() -> None:
        raise Exception("storage is away")  # noqa: TRY002 - the SDK's own class for it is this one

    client = Client()
    client.before = fails
    with pytest.raises(Unavailable, match="orders-db-1 was not started"):
        begin(client)


def test_current() -> None:
    client: Any = Client(running("r-1"), running("r-2", "b", runtime_status=Status.Completed))
    assert asyncio.run(current(client, "orders-db")) == "r-1"
    assert asyncio.run(current(client, "b")) is None
    assert asyncio.run(current(client, "c")) is None


@pytest.mark.parametrize("damage", NO_REQUESTS)
def test_what_runs_for_reasons_that_cannot_be_read_keeps_others_out(damage: Any) -> None:
    client = Client(Instance("orders-db", "credential", damage))
    assert begin(client) == Busy("orders-db")
    assert client.started == []


def test_ids() -> None:
    near = event_id("orders-db", Origin.NEAR_EXPIRY, "Orders-Blue", "v1")
    assert near == event_id("orders-db", Origin.NEAR_EXPIRY, "orders-blue", "v1")
    # In each release the same: a delivery may be repeated across an upgrade.
    assert near == "orders-db-near-expiry-0517c8f5d050"
    different = {
        near,
        event_id("orders-db", Origin.EXPIRED, "orders-blue", "v1"),
        event_id("orders-db", Origin.NEAR_EXPIRY, "orders-blue", "v2"),
        event_id("orders-db", Origin.NEAR_EXPIRY, "orders-green", "v1"),
        sweep_id("orders-db", NOW),
        sweep_id("orders-db", NOW + timedelta(days=1)),
        manual_id("orders-db", NOW),
        manual_id("orders-db", NOW),
    }
    assert len(different) == 8
    longest = [event_id("x" * 32, Origin.NEAR_EXPIRY, "s", "v"), manual_id("x" * 32, NOW)]
    assert all(len(f"{rotation}.prepare.{'w' * 32}") <= 100 for rotation in longest)
    assert not set("".join(different)) & set("/\\#? ")


def many(count: int, seconds: float) -> list[Instance]:
    """Rotations, each with a part of its own, evenly within some seconds."""
    found = []
    for n in range(count):
        made, name = NOW + timedelta(seconds=seconds * n / count), f"orders-db-{n:05}"
        found += [
            Instance(name, input_=asked(rotation=name), created_time=made),
            Instance(f"{name}.swap.api", "swap_workload", created_time=made),
        ]
    return found


def listed(client: Client, credential: str | None = None) -> list[ShownRecord]:
    until = NOW + timedelta(days=1)
    return asyncio.run(listing(client, NOW - timedelta(days=29), until, credential))


@pytest.mark.parametrize("count", [0, 1, PAGE // 2, PAGE, 5 * PAGE + 7])
def test_listing_has_all_though_a_host_answers_a_page(count: int) -> None:
    found = listed(Client(*many(count, 80_000)))
    assert [record.rotation for record in found] == [
        f"orders-db-{n:05}" for n in reversed(range(count))
    ]


def test_listing_has_all_that_a_sweep_made_at_once() -> None:
    assert len(listed(Client(*many(5 * PAGE, 1)))) == 5 * PAGE


def test_listing_asks_no_more_than_it_must() -> None:
    client = Client(*many(10, 1000))
    listed(client)
    assert len(client.queries) == 1


def test_listing_ends_though_too_many_were_made_in_one_moment() -> None:
    client = Client(*many(3 * PAGE, 0.001))
    assert listed(client)
    assert len(client.queries) < 100


def test_listing_of_one_credential() -> None:
    others = [
        Instance("orders-db-2-x", input_=asked(credential="orders-db-2")),
        Instance("other-x", input_=json.dumps(asked(credential="other"))),
        running("orders-db-00000"),
    ]
    found = listed(Client(*many(2, 10), *others), "orders-db")
    assert [record.rotation for record in found] == ["orders-db-00001", "orders-db-00000"]


def test_describe_one_that_has_not_begun() -> None:
    record = describe(Instance("r-1", input_=json.dumps(asked())))
    assert (record.stage, record.credential, record.outcome) == ("queued", "orders-db", None)
    assert record.request == REQUEST
    assert record.runtime_status == "Running"
    assert record.created == "2027-03-01T12:00:00.000Z"


@pytest.mark.parametrize("as_text", [True, False])
def test_describe_one_that_has_ended(as_text: bool) -> None:
    evidence = {"at": "", "complete": True, "passed": True, "problems": [], "stillInUse": []}
    output: Any = {"stage": "done", "outcome": "completed", "evidence": {"requested": evidence}}
    ended = Instance(
        "r-1",
        input_=asked(),
        custom_status={"stage": "done", "outcome": "completed"},
        output=json.dumps(output) if as_text else output,
        runtime_status=Status.Completed,
    )
    record = describe(ended)
    assert record.outcome is Outcome.COMPLETED
    assert record.evidence.requested is not None
    assert record.evidence.requested.passed


@pytest.mark.guarantee(7)
@pytest.mark.parametrize("status", [Status.Failed, Status.Terminated, Status.Canceled])
def test_describe_one_that_was_ended_from_outside(status: Status) -> None:
    record = describe(
        Instance(
            "r-1",
            input_=asked(),
            custom_status={"stage": "swap"},
            output="x",
            runtime_status=status,
        )
    )
    assert (record.stage, record.outcome) == ("swap", "needs-attention")
    assert record.outcome_reason == f"its orchestration was {status.name.lower()}"
    assert [reason.code for reason in record.reasons] == [Code.ENDED_OUTSIDE]


DAMAGED = [
    {"input_": None},
    {"input_": "["},
    {"input_": {"credential": "orders-db"}},
    {"input_": asked(), "custom_status": {"stage": "a stage of another release"}},
    {"input_": asked(), "custom_status": {"workloads": [1]}},
    {"input_": asked(), "custom_status": "[" * 60_000},
]


@pytest.mark.parametrize("damage", DAMAGED, ids=range(len(DAMAGED)))
def test_a_record_that_cannot_be_read_needs_attention_and_hides_no_other(
    damage: dict[str, Any],
) -> None:
    found = listed(Client(Instance("damaged", **damage), *many(2, 10)))
    assert len(found) == 3
    record = next(one for one in found if one.rotation == "damaged")
    assert record.outcome is Outcome.NEEDS_ATTENTION
    assert [reason.code for reason in record.reasons] == [Code.UNREADABLE]


def test_find_shows_what_its_parts_do() -> None:
    shown = {
        "stage": "prepare",
        "workloads": dict.fromkeys(("api", "web", "slow", "later"), "planned") | {"jobs": "failed"},
    }
    pods = "0 of 2 pods are ready"
    parts = [
        Instance("orders-db-1.prepare.api", "prepare_workload", custom_status="await_ready"),
        Instance("orders-db-1.prepare.web", "prepare_workload"),
        Instance(
            "orders-db-1.prepare.slow",
            "prepare_workload",
            custom_status={"progress": "await_ready", "waits": pods},
        ),
        Instance("orders-db-1.prepare.later", custom_status={"progress": "of a newer release"}),
        Instance(
            "orders-db-1.prepare.jobs",
            "prepare_workload",
            custom_status="start",
            runtime_status=Status.Completed,
        ),
    ]
    rotation = Instance("orders-db-1", input_=asked(), custom_status=shown)
    client: Any = Client(rotation, *parts)
    record = asyncio.run(find(client, "orders-db-1"))
    assert record is not None
    assert record.workloads == {
        "api": "await_ready",
        "web": "planned",
        "slow": "await_ready",
        "later": "planned",
        "jobs": "failed",
    }
    assert record.waits == {"slow": pods}


def test_find_shows_parts_of_the_step_that_is_under_way() -> None:
    """A worker's pods end while the stage is still that of the swap, and that may take long."""
    ended = {"step": "swap", "since": "2027-03-01T12:00:00Z", "until": "2027-03-01T12:00:02Z"}
    steps = [ended, {"step": "stop", "since": "2027-03-01T12:00:02Z", "until": None}]
    shown = {"stage": "swap", "workloads": {"api": "swap", "jobs": "swap"}, "steps": steps}
    parts = [
        Instance("orders-db-1.swap.jobs", custom_status="swap", runtime_status=Status.Completed),
        Instance(
            "orders-db-1.stop.jobs",
            custom_status={"progress": "await_gone", "waits": "pods left: jobs-blue-1"},
        ),
    ]
    rotation = Instance("orders-db-1", input_=asked(), custom_status=shown)
    client: Any = Client(rotation, *parts)
    record = asyncio.run(find(client, "orders-db-1"))
    assert record is not None
    assert record.workloads == {"api": "swap", "jobs": "await_gone"}
    assert record.waits == {"jobs": "pods left: jobs-blue-1"}


def test_find_takes_nothing_else_for_a_rotation() -> None:
    client: Any = Client(running("r-1"), Instance("r-1.1", "publish"))
    for instance_id in ("orders-db", "r-1.1", "nothing"):
        assert asyncio.run(find(client, instance_id)) is None


def queued_with(request: Any) -> ShownRecord | None:
    """What is found of a rotation while its credential's orchestration, with this input, runs."""
    client: Any = Client(Instance("orders-db", "credential", request))
    return asyncio.run(find(client, "orders-db-20270301T120000-1a2b"))


def test_find_one_that_its_credential_has_yet_to_begin() -> None:
    record = queued_with(asked(rotation="orders-db-20270301T120000-1a2b"))
    assert record is not None
    assert (record.rotation, record.stage) == ("orders-db-20270301T120000-1a2b", "queued")
    assert queued_with(asked(rotation="orders-db-20270301T120000-3c4d")) is None


@pytest.mark.parametrize("damage", NO_REQUESTS)
def test_find_beside_a_request_that_cannot_be_read(damage: Any) -> None:
    assert queued_with(damage) is None


CONFIGURATION = parse("""
clusters: {aks: {server: https://aks.example}}
credentials:
  orders-db: &credential
    vault: https://kv.vault.azure.net
    validity: 90d
    database: {host: pg.example, name: orders, admin: {role: rotator}}
    slots: {blue: {role: b, secret: orders-blue}, green: {role: g, secret: orders-green}}
    workloads:
      - name: api
        cluster: aks
        namespace: orders
        service: api
        preview: api-preview
        deployments: {blue: api-blue, green: api-green}
        tests: [{path: /whoami, json: {role: "{role}"}}]
  second:
    <<: *credential
    slots: {blue: {role: b2, secret: second-blue}, green: {role: g2, secret: second-green}}
    workloads:
      - name: api
        cluster: aks
        namespace: second
        service: api
        preview: api-preview
        deployments: {blue: api-blue, green: api-green}
        tests: [{path: /whoami, json: {role: "{role}"}}]
""")


VAULT = "https://kv.vault.azure.net"


def edges(**days: float) -> MemoryEdges:
    """`days` until each secret's current version expires; it was never written unless given."""
    memory = MemoryEdges(CONFIGURATION, now=NOW)
    vault = memory.world.vault_at(VAULT)
    vault.secrets.clear()
    for name, left in days.items():
        secret = name.replace("_", "-")
        vault.put(secret, "x", "x", NOW + timedelta(days=left))
    return memory


def version(secret: str) -> str:
    current = edges(orders_blue=20).vault(VAULT).current(SecretTarget(secret))
    assert current is not None
    return current.version


VERSION = version("orders-blue")


def announced(client: Client, days: float = 20, **changes: Any) -> None:
    data = {
        "Id": f"{VAULT}/secrets/orders-blue/{VERSION}",
        "ObjectName": "orders-blue",
        "Version": VERSION,
        **changes,
    }
    event_type = "Microsoft.KeyVault.SecretNearExpiry"
    hub: Any = client
    asyncio.run(take(edges(orders_blue=days), hub, event_type, data, "e-1"))


def accounted(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What became of events and sweeps; tests/unit/test_expiry.py looks at the other lines."""
    events = [json.loads(record.getMessage())["event"] for record in caplog.records]
    return [event for event in events if not event.startswith("secret.")]


@pytest.mark.guarantee(5)
def test_an_event_delivered_often_makes_one_rotation(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    with caplog.at_level("INFO", "rotation"):
        for _ in range(3):
            announced(client)
    assert accounted(caplog) == ["event.started", "event.duplicate", "event.duplicate"]
    assert [value["origin"] for value in client.started] == ["near-expiry"]
    assert client.started[0]["secret"] == "orders-blue"


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"Version": None}, "event.ignored"),
        ({"ObjectName": "unknown"}, "event.foreign"),
        ({"Id": "https://other.vault.azure.net/secrets/orders-blue/v1"}, "event.foreign"),
        ({"Version": "made-up"}, "event.stale"),
        ({"days": 40}, "event.early"),
    ],
)
def test_an_event_that_starts_nothing_is_accounted_for(
    changes: dict[str, Any], result: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client()
    with caplog.at_level("INFO", "rotation"):
        announced(client, **changes)
    assert accounted(caplog) == [result]
    assert client.started == []


def test_an_event_while_another_rotation_runs_is_a_warning_and_comes_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        caplog.at_level("WARNING", "rotation"),
        pytest.raises(Unavailable, match="rotation orders-db-0 under way"),
    ):
        announced(Client(running("orders-db-0")))
    assert accounted(caplog) == ["event.busy"]


def test_an_event_that_cannot_be_recorded_is_delivered_again() -> None:
    def fails() -> None:
        raise unavailable("it was not started")

    client = Client()
    client.before = fails
    with pytest.raises(Unavailable, match="it was not started"):
        announced(client)


def swept(client: Any, found: MemoryEdges) -> list[str]:
    asyncio.run(sweep_all(found, client))
    return [value["rotation"] for value in client.started]


def test_the_sweep_asks_for_what_is_due_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    found = edges(orders_blue=30, orders_green=80, second_blue=31)
    with caplog.at_level("INFO", "rotation"):
        for _ in range(2):
            assert swept(client, found) == ["orders-db-sweep-20270301"]
    first = ["event.started", "sweep.done", "records.kept"]
    assert accounted(caplog) == [*first, "event.duplicate", "sweep.done", "records.kept"]


def test_the_sweep_passes_over_what_was_disabled_or_never_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = edges(orders_blue=1)
    found.world.vault_at(VAULT).secrets["orders-blue"][0].disabled = NOW
    with caplog.at_level("INFO", "rotation"):
        assert swept(Client(), found) == []
    assert accounted(caplog) == ["sweep.done", "records.kept"]  # an alert waits for its absence


def test_the_sweep_goes_on_after_one_that_cannot_be_seen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", "rotation"):
        memory = edges(orders_blue=1, second_green=3)
        away = Unavailable(Code.VAULT_UNAVAILABLE, "the vault is away")
        memory.calls.failing["vault current orders-blue"] = away
        found = swept(Client(), memory)
    assert found == ["second-sweep-20270301"]
    assert accounted(caplog) == ["event.failed", "event.started", "sweep.done", "records.kept"]


def test_the_sweep_goes_on_after_one_that_cannot_be_started(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Client()

    def fails_once() -> None:
        client.before = lambda: None
        raise unavailable("orders-db was not started")

    client.before = fails_once
    with caplog.at_level("INFO", "rotation"):
        found = swept(client, edges(orders_blue=1, second_green=3))
    assert found == ["second-sweep-20270301"]
    assert accounted(caplog) == ["event.failed", "event.started", "sweep.done", "records.kept"]


def test_the_retention_is_what_a_back_end_keeps() -> None:
    assert timedelta(days=30) == rotations.RETENTION
