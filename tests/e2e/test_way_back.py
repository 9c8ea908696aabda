"""Live secrets that give no login: refused before anything changed, on the local stack."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from local import proof, world
from local.postgres import Postgres, Replica
from local.process import free_port, wait_until
from local.stack import Options, Stack
from rotation.model.targets import SecretTarget
from rotation.model.world import Slot, other
from rotation.secrecy import Secret, new_password
from tests.conftest import QUICK
from tests.e2e.test_rotation import active, codes, ended, started, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def set_password(stack: Stack, role: str, password: Secret) -> None:
    """As psql's \\password does it: the server gets a verifier."""
    with psycopg.connect(stack.owner.dsn(), autocommit=True) as connection:
        made = connection.pgconn.encrypt_password(
            password.reveal().encode(), role.encode(), b"scram-sha-256"
        ).decode()
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(role), made))


@contextmanager
def live_secret(stack: Stack, slot: Slot, ending: str) -> Iterator[None]:
    """The live secret is written anew, with that at its end; and again as it was."""
    secret = SecretTarget(world.secret(slot))
    current, value = stack.owner.vault.current(secret), stack.owner.vault.value(secret)
    assert current is not None
    expires = current.expires
    assert expires is not None

    def put(text: str) -> None:
        stack.owner.vault.put(
            secret, Secret(text), expires=expires, content_type="text/plain", tags={}
        )

    put(value.reveal() + ending)
    try:
        yield
    finally:
        put(value.reveal())


def problem(stack: Stack) -> Any:
    (seen,) = stack.client.api("GET", "/credentials?fresh=true").json["credentials"]
    return next((one["code"] for one in seen["findings"] if one["severity"] == "refuses"), None)


@pytest.mark.guarantee(1, 7)
@pytest.mark.long
def test_a_password_that_is_not_the_roles_is_refused_before_anything_changed(stack: Stack) -> None:
    """It used to move traffic, and a rejection then ended in needs-attention."""
    serving = active(stack)
    role, known = f"orders_{serving}", proof.Passwords.read(stack).values[serving]
    before = stack.owner.vault.versions(SecretTarget(world.secret(other(serving))))
    set_password(stack, role, new_password())
    try:
        record = ended(stack, started(stack))
        # A look is kept for half a minute.
        wait_until(lambda: problem(stack) == "active-password-wrong", 60, "what is shown of it")
    finally:
        set_password(stack, role, known)
    assert (record["outcome"], codes(record)) == ("refused", {"active-password-wrong"})
    assert [step["step"] for step in record["steps"]] == ["plan"]
    assert stack.owner.vault.versions(SecretTarget(world.secret(other(serving)))) == before

    def ready() -> bool:
        found = (
            stack.owner.ready(space, f"{name}-{serving}") for name, space in world.WORKLOADS.items()
        )
        return all(found)

    wait_until(ready, 60, "the workloads being ready again")


@pytest.mark.long
@pytest.mark.guarantee(2)
def test_a_role_that_may_do_less_is_refused_before_anything_changed(stack: Stack) -> None:
    """The tests pass with it, and each request that writes would fail."""
    serving = active(stack)
    role, standby = f"orders_{serving}", f"orders_{other(serving)}"
    with psycopg.connect(stack.owner.dsn(world.DATABASE), autocommit=True) as connection:
        connection.execute("CREATE TABLE invoices (); REVOKE ALL ON invoices FROM orders")
        connection.execute(f"GRANT INSERT ON invoices TO {role}".encode())
        try:
            record = ended(stack, started(stack))
        finally:
            connection.execute("DROP TABLE invoices")
    assert (record["outcome"], codes(record)) == ("refused", {"standby-role-weaker"})
    assert f"GRANT INSERT ON TABLE public.invoices TO {standby};" in record["outcomeReason"]
    assert [step["step"] for step in record["steps"]] == ["plan"]


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_line_break_is_tolerated_on_the_way_there_and_back(stack: Stack) -> None:
    serving = active(stack)
    with live_secret(stack, serving, "\n"):
        rotation = started(stack)
        record = stack.client.follow(rotation, waiting)
        assert [doubt["code"] for doubt in record["doubts"]] == ["secret-newline"]
        new = stack.owner.vault.value(SecretTarget(world.secret(other(serving))))
        assert new.reveal().isalnum()
        assert stack.client.decide(rotation, "reject").status == 200
        record = ended(stack, rotation)
    assert (record["outcome"], codes(record)) == ("rolled-back", {"rejected"})
    assert active(stack) == serving


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_rotation_waits_for_a_read_replica_on_both_ends(tmp_path: Path) -> None:
    port = free_port()
    options = Options(
        replicas=1,
        watch_seconds=2,
        credential={**QUICK, "retry": {"patience": "120s", "compensation": "120s"}},
        reads_from=port,
    )
    with Stack(tmp_path / "stack", options) as stack:
        server = Postgres(tmp_path / "stack" / "postgres", stack.addresses.database_port)
        with Replica(tmp_path / "replica", server, port) as replica:
            serving = active(stack)
            replica.hold()
            rotation = started(stack)
            behind(stack, rotation, "verify")
            standby = stack.owner.deployment("orders", f"api-{other(serving)}")
            assert standby["spec"]["replicas"] == 0
            replica.release()
            assert stack.client.follow(rotation, waiting)["outcome"] is None
            password = proof.Passwords.read(stack).values[serving]
            replica.hold()
            assert stack.client.decide(rotation, "approve").status == 200
            behind(stack, rotation, "deactivate")
            assert lets_in(replica, serving, password)
            replica.release()
            record = ended(stack, rotation)
            assert (record["outcome"], codes(record)) == ("completed", {"approved"})
            assert not lets_in(replica, serving, password)


def behind(stack: Stack, rotation: str, step: str) -> None:
    """Waits until the step has been told that the replica is behind."""
    log = stack.components["host"].log

    def told() -> bool:
        lines = log.read_text(encoding="utf-8").splitlines()
        wanted = ('"step.failed"', f'"step": "{step}"', '"replica-behind"', rotation)
        return any(all(word in line for word in wanted) for line in lines)

    wait_until(told, 60, f"{step} waiting for the replica")


def lets_in(replica: Replica, slot: Slot, password: Secret) -> bool:
    try:
        psycopg.connect(replica.conninfo(f"orders_{slot}", password.reveal(), "orders")).close()
    except psycopg.OperationalError:
        return False
    return True
