"""Whole rotations through the real function_app on the local stack."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from local import proof, world
from local.load import Load
from local.process import wait_until
from rotation.model.targets import SecretTarget
from rotation.model.world import SLOTS, Slot, other

if TYPE_CHECKING:
    from local.stack import Stack


def active(stack: Stack) -> Slot:
    """The slot that serves; the tests before may have left either."""
    selected = set(stack.owner.active_slots().values())
    found: list[Slot] = [slot for slot in SLOTS if selected == {slot}]
    return found[0]


def started(stack: Stack, **body: Any) -> str:
    request = {"credential": world.CREDENTIAL, "by": world.OPERATOR, **body}
    answer = stack.client.api("POST", "/rotations", request)
    assert answer.status == 202, answer.json
    assert answer.headers["Location"].endswith(answer.json["rotation"])
    return str(answer.json["rotation"])


def waiting(record: dict[str, Any]) -> bool:
    return bool(record["outcome"] or (record["approval"] or {}).get("event"))


def announced(stack: Stack, slot: Slot, *, as_cloud_event: bool = False, **event: Any) -> str:
    """The rotation that an event about the slot's current version starts."""
    known = {record["rotation"] for record in stack.client.rotations()}
    client = stack.client
    send = client.announce_as_cloud_event if as_cloud_event else client.announce
    assert send(slot, **event).status == 202
    return begun(stack, known)


def begun(stack: Stack, known: set[str]) -> str:
    """The rotation that is none of those that are known."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        new = {record["rotation"] for record in stack.client.rotations()} - known
        if new:
            return str(new.pop())
        time.sleep(0.05)
    raise AssertionError("no rotation has begun")


def logged(stack: Stack, text: str) -> str:
    """The lines of the host's log that have it."""
    log = stack.components["host"].log.read_text(encoding="utf-8")
    return "\n".join(line for line in log.splitlines() if text in line)


def ended(stack: Stack, rotation: str) -> dict[str, Any]:
    return stack.client.follow(rotation, lambda record: record["outcome"], timeout=150)


def codes(record: dict[str, Any]) -> set[str]:
    """Why it ended as it did; each of these reasons says what to do about it as well."""
    assert all(reason["text"] and reason["remedy"] for reason in record["reasons"])
    return {reason["code"] for reason in record["reasons"]}


def assert_proved(stack: Stack, record: dict[str, Any], serving: Slot, *seen: Any) -> None:
    failed = [c.what for c in proof.check(stack, record, serving, list(seen)) if not c.holds]
    assert not failed


def somebody(stack: Stack, slot: Slot) -> psycopg.Connection[Any]:
    """A session on the slot's login that belongs to no workload."""
    vault = stack.owner.vault
    current = vault.current(SecretTarget(world.secret(slot)))
    assert current is not None
    return psycopg.connect(
        host="127.0.0.1",
        port=stack.addresses.database_port,
        dbname=world.DATABASE,
        user=f"orders_{slot}",
        password=vault.value(SecretTarget(current.secret, current.version)).reveal(),
        application_name="etl-nightly",
    )


def sampled(stack: Stack) -> None:
    """Has the timer run that samples who uses the logins."""
    headers = {"x-functions-key": stack.keys["master"]}
    answer = stack.client.request("POST", "/admin/functions/sample_usage", {}, headers)
    assert answer.status == 202
    wait_until(lambda: "timer ran" in logged(stack, "sample_usage"), 60, "a sample")


class TestApproved:
    @pytest.mark.guarantee(1, 2)
    def test_an_event_moves_the_credential_and_fails_no_request(self, stack: Stack) -> None:
        before = active(stack)
        urls = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
        with Load(urls, rate=40, workers=9, fresh=3, pooled=3) as load:
            rotation = announced(stack, before)
            stack.client.follow(rotation, waiting)
            seen = proof.Passwords.read(stack)
            decided = stack.client.decide(rotation, "approve")
            record = ended(stack, rotation)
            report = load.stop()
        assert decided.status == 200
        assert decided.json["decision"]["by"] == world.APPROVERS[0]
        assert (record["outcome"], codes(record)) == ("completed", {"approved"})
        assert (report.failed, report.failures) == (0, [])
        assert report.requests > 0
        assert_proved(stack, record, other(before), seen)

    @pytest.mark.guarantee(1)
    @pytest.mark.long
    def test_two_in_a_row_come_back_to_the_first_slot(self, stack: Stack) -> None:
        before = active(stack)
        for serving in (other(before), before):
            rotation = started(stack, by="ada@contoso.example")
            record = stack.client.follow(rotation, waiting)
            assert record["outcome"] is None
            seen = proof.Passwords.read(stack)
            assert stack.client.decide(rotation, "approve", world.APPROVERS[1]).status == 200
            assert_proved(stack, ended(stack, rotation), serving, seen)

    def test_the_record_tells_the_whole_story(self, stack: Stack) -> None:
        before = active(stack)
        with somebody(stack, before):
            sampled(stack)
        rotation = started(stack, by="ada@contoso.example", reason="a drill")
        stack.client.follow(rotation, waiting)
        told = stack.client.api("GET", f"/rotations/{rotation}/evidence").json["usage"]
        assert [user["application"] for user in told["users"]] == ["etl-nightly"], told
        page = stack.client.api("GET", f"/pages/rotations/{rotation}").body.decode()
        assert "etl-nightly from 127.0.0.1, last seen" in page
        stack.client.decide(rotation, "approve", world.APPROVERS[1])
        record = ended(stack, rotation)
        assert record["request"]["reason"] == "a drill"
        assert (record["active"], record["standby"]) == (before, other(before))
        assert record["workloads"] == {"api": "retired", "web": "retired"}
        assert record["decision"]["comment"] == "decided by the local stack"
        assert record["decision"]["knownAs"] == [world.APPROVERS[1]]
        assert [step["step"] for step in record["steps"]] == [
            *("plan", "stage", "activate", "verify", "prepare", "verify", "swap", "observe"),
            *("evidence", "evidence", "confirm", "retire", "await_sessions"),
            *("deactivate", "disable"),
        ]
        assert all(step["until"] >= step["since"] for step in record["steps"])
        roles = {t["role"] for t in record["evidence"]["decided"]["tests"]["api"] if t["role"]}
        assert roles == {f"orders_{other(before)}"}
        requested = record["evidence"]["requested"]
        (user,) = requested["usage"]["users"]
        assert (user["application"], user["client"]) == ("etl-nightly", "127.0.0.1")
        assert (user["moved"], requested["usage"]["problem"]) == (None, None)
        assert requested["stillInUse"] == []


class TestRejected:
    @pytest.mark.guarantee(2)
    def test_traffic_goes_back_and_fails_no_request(self, stack: Stack) -> None:
        before = active(stack)
        urls = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
        with Load(urls, rate=40, workers=9, fresh=3, pooled=3) as load:
            rotation = started(stack)
            stack.client.follow(rotation, waiting)
            seen = proof.Passwords.read(stack)
            assert stack.client.decide(rotation, "reject").status == 200
            record = ended(stack, rotation)
            report = load.stop()
        assert record["outcome"] == "rolled-back"
        assert record["outcomeReason"] == f"rejected by {world.APPROVERS[0]}"
        assert codes(record) == {"rejected"}
        assert (report.failed, report.failures) == (0, [])
        assert_proved(stack, record, before, seen)

    @pytest.mark.long
    def test_the_next_rotation_has_a_password_of_its_own(self, stack: Stack) -> None:
        versions = []
        for _ in range(2):
            rotation = started(stack)
            versions.append(stack.client.follow(rotation, waiting)["version"])
            stack.client.decide(rotation, "reject")
            assert ended(stack, rotation)["outcome"] == "rolled-back"
        assert versions[0] != versions[1]


class TestOneAtATime:
    @pytest.mark.long
    @pytest.mark.guarantee(5)
    def test_duplicate_deliveries_are_one_rotation(self, stack: Stack) -> None:
        """In whichever schema they come: two subscriptions may announce the same version."""
        serving = active(stack)
        first = announced(stack, serving, as_cloud_event=True)
        known = len(stack.client.rotations())
        for _ in range(5):
            assert stack.client.announce(serving).status == 202
        assert len(stack.client.rotations()) == known
        stack.client.reject(first)
        # The very same announcement after its rotation has ended starts nothing either.
        assert stack.client.announce(serving).status == 202
        assert stack.client.announce_as_cloud_event(serving).status == 202
        assert len(stack.client.rotations()) == known

    @pytest.mark.guarantee(5)
    def test_a_second_start_is_refused_with_the_id_of_the_first(self, stack: Stack) -> None:
        rotation = started(stack)
        request = {"credential": world.CREDENTIAL, "by": world.OPERATOR}
        answer = stack.client.api("POST", "/rotations", request)
        assert answer.status == 409
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["rotation"] == rotation
        assert (answer.json["code"], bool(answer.json["remedy"])) == ("busy", True)

    @pytest.mark.guarantee(6)
    @pytest.mark.long
    def test_a_decision_counts_once(self, stack: Stack) -> None:
        rotation = started(stack)
        stack.client.follow(rotation, waiting)
        assert stack.client.decide(rotation, "reject").status == 200
        late = stack.client.decide(rotation, "approve", world.APPROVERS[1])
        assert (late.status, late.json["code"]) == (409, "already-decided")
        assert late.json["decision"]["decision"] == "reject"
        assert ended(stack, rotation)["outcome"] == "rolled-back"

    @pytest.mark.guarantee(6)
    @pytest.mark.long
    def test_a_decision_before_it_is_asked_for_changes_nothing(self, stack: Stack) -> None:
        rotation = started(stack)
        early = stack.client.decide(rotation, "approve")
        assert (early.status, early.json["code"]) == (409, "not-waiting")
        assert early.json["stage"] in {"queued", "plan", "stage", "activate", "verify", "prepare"}
        assert stack.client.follow(rotation, waiting)["decision"] is None


class TestSkipped:
    @pytest.mark.long
    @pytest.mark.long
    def test_an_event_about_the_standby_slot(self, stack: Stack) -> None:
        serving = active(stack)
        rotation = started(stack)  # leaves the standby slot with a secret to announce
        stack.client.reject(rotation)
        event = stack.client.near_expiry(other(serving))
        record = ended(stack, announced(stack, other(serving), **event))
        assert record["outcome"] == "skipped"
        assert "standby" in record["outcomeReason"]
        assert codes(record) == {"event-about-standby"}

    def test_an_event_about_an_older_version(self, stack: Stack) -> None:
        serving = active(stack)
        known = len(stack.client.rotations())
        event = stack.client.near_expiry(serving)
        event["data"] |= {"Version": "0" * 32}
        assert stack.client.webhook([event], "Notification").status == 202
        assert len(stack.client.rotations()) == known
        assert '"event.stale"' in logged(stack, event["id"])

    @pytest.mark.parametrize(
        "change",
        [
            {"eventType": "Microsoft.KeyVault.SecretNewVersionCreated"},
            {
                "data": {
                    "Id": "https://elsewhere.example/secrets/x/1",
                    "ObjectName": "x",
                    "Version": "1",
                }
            },
            {"data": {"ObjectName": None}},
        ],
        ids=["other type", "unknown secret", "malformed"],
    )
    def test_what_is_none_of_ours_is_accounted_for_in_the_log(
        self, stack: Stack, change: dict[str, Any]
    ) -> None:
        known = len(stack.client.rotations())
        event = {**stack.client.near_expiry(active(stack)), **change}
        assert stack.client.webhook([event], "Notification").status == 202
        assert len(stack.client.rotations()) == known
        assert "reason" in logged(stack, event["id"])


@pytest.mark.long
def test_a_fault_that_passes_is_retried(stack: Stack) -> None:
    standby = other(active(stack))
    match = {"method": "PUT", "path_prefix": f"/secrets/{world.secret(standby)}"}
    stack.faults.order("keyvault", match=match, times=2, status=503)
    assert stack.client.follow(started(stack), waiting)["outcome"] is None


@pytest.mark.guarantee(7)
def test_workloads_that_disagree_are_refused_with_the_list(stack: Stack) -> None:
    serving = active(stack)
    select(stack, "shop", "web", other(serving))
    try:
        record = ended(stack, started(stack))
    finally:
        select(stack, "shop", "web", serving)
    assert record["outcome"] == "refused"
    assert f"Service orders/api selects {serving}" in record["outcomeReason"]
    assert f"Service shop/web selects {other(serving)}" in record["outcomeReason"]
    assert codes(record) == {"workloads-disagree"}


def select(stack: Stack, namespace: str, name: str, slot: Slot) -> None:
    from kubernetes import client  # noqa: PLC0415 - half a second, for one test

    client.CoreV1Api(stack.owner.kubernetes).patch_namespaced_service(
        name, namespace, {"spec": {"selector": {"slot": slot}}}
    )


class standby_environment:  # noqa: N801 - used like a function
    """Somebody changed an environment variable of the standby Deployment's containers."""

    def __init__(self, stack: Stack, name: str, slot: Slot, **variables: str) -> None:
        self._stack = stack
        self._name, self._namespace = f"{name}-{slot}", world.WORKLOADS[name]
        self._container = name
        self._variables = variables

    def __enter__(self) -> None:
        self._patch([{"name": key, "value": value} for key, value in self._variables.items()])

    def __exit__(self, *exc: object) -> None:
        found = self._stack.owner.deployment(self._namespace, self._name)
        slot = found["spec"]["selector"]["matchLabels"]["slot"]
        back = {"SLOT": {"name": "SLOT", "value": slot}}
        self._patch([back.get(key, {"name": key, "$patch": "delete"}) for key in self._variables])

    def _patch(self, variables: list[dict[str, str]]) -> None:
        from kubernetes import client  # noqa: PLC0415 - half a second, for few tests

        containers = [{"name": self._container, "env": variables}]
        client.AppsV1Api(self._stack.owner.kubernetes).patch_namespaced_deployment(
            self._name,
            self._namespace,
            {"spec": {"template": {"spec": {"containers": containers}}}},
        )


@pytest.mark.long
def test_traffic_comes_back_to_as_many_pods_as_it_left(stack: Stack) -> None:
    """The load grew, or somebody scaled the replaced slot, while the approval was pending."""
    before = active(stack)
    rotation = started(stack)
    stack.client.follow(rotation, waiting)
    scale(stack, "orders", f"api-{other(before)}", 2)
    scale(stack, "shop", f"web-{before}", 0)
    stack.client.decide(rotation, "reject")
    assert ended(stack, rotation)["outcome"] == "rolled-back"
    assert stack.owner.deployment("orders", f"api-{before}")["status"]["readyReplicas"] == 2
    assert stack.owner.deployment("shop", f"web-{before}")["status"]["readyReplicas"] == 1
    scale(stack, "orders", f"api-{before}", 1)
    wait_until(lambda: stack.owner.ready("orders", f"api-{before}"), 30, "one pod")


@pytest.mark.long
def test_the_sweep_finds_what_no_event_told(stack: Stack) -> None:
    """The active slot's secret of a fresh stack expires in 20 days; later ones in 90."""
    serving = active(stack)
    known = {record["rotation"] for record in stack.client.rotations()}
    current = stack.owner.vault.current(SecretTarget(world.secret(serving)))
    assert current is not None
    value = stack.owner.vault.value(SecretTarget(current.secret, current.version))
    soon = datetime.now(UTC) + timedelta(days=20)
    secret = SecretTarget(current.secret)
    stack.owner.vault.put(secret, value, expires=soon, content_type="text/plain", tags={})
    headers = {"x-functions-key": stack.keys["master"]}
    assert stack.client.request("POST", "/admin/functions/sweep", {}, headers).status == 202
    record = stack.client.follow(begun(stack, known), waiting)
    assert record["request"]["origin"] == "sweep"
    assert (record["outcome"], record["active"]) == (None, serving)


def scale(stack: Stack, namespace: str, name: str, replicas: int) -> None:
    from kubernetes import client  # noqa: PLC0415 - half a second, for one test

    client.AppsV1Api(stack.owner.kubernetes).patch_namespaced_deployment(
        name, namespace, {"spec": {"replicas": replicas}}
    )
