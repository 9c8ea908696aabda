"""The way back: what forbids a rotation before anything changed, and what does not."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

import pytest
import yaml

from rotation import log
from rotation.config import parse
from rotation.formats import Shape, read
from rotation.front import credentials
from rotation.front.credentials import SeenCredential, Ways, look
from rotation.model.activities import Planned, Reference
from rotation.model.catalogue import Origin, Outcome
from rotation.model.errors import Denied, Unavailable
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.secrecy import Secret
from rotation.steps.login import disable, stage
from rotation.steps.planning import plan
from rotation.steps.running import Step
from tests.memory import MemoryEdges
from tests.memory.world import Live
from tests.unit.test_config import CREDENTIAL, changed

if TYPE_CHECKING:
    from tests.memory.vault import Version

DATABASE = f"{CREDENTIAL}.database"
HOST = "pg.example"
CODES: dict[Live, Code] = {
    "unreadable": Code.LIVE_UNREADABLE,
    "role": Code.LIVE_ROLE,
    "host": Code.LIVE_HOST,
    "database": Code.LIVE_DATABASE,
    "password": Code.LIVE_PASSWORD,
    "md5": Code.LIVE_NOT_SCRAM,
}


def edges(*changes: tuple[str, Any], shape: str = "url") -> MemoryEdges:
    """Blue serves, and is due."""
    file = changed((f"{CREDENTIAL}.format", shape), *changes)
    return MemoryEdges(parse(yaml.safe_dump(file)))


def planned(found: MemoryEdges, origin: Origin = Origin.MANUAL) -> Planned:
    request = Request(
        rotation="r-1", credential="orders-db", origin=origin, requested_by="ada", reason=""
    )
    return plan(Step(found, Reference(rotation="r-1", credential="orders-db", request=request)))


def codes(answer: Planned) -> list[str]:
    assert answer.active is None
    assert answer.outcome is Outcome.REFUSED
    assert all(why.remedy for why in answer.reasons)
    return [why.code for why in answer.reasons]


def live(found: MemoryEdges) -> Version:
    current = found.world.current(found.configuration.credential("orders-db"), "blue")
    assert current is not None
    return current


def write(found: MemoryEdges, value: str) -> None:
    live(found).value = value


def seen(found: MemoryEdges) -> SeenCredential:
    return look(found, "orders-db", None)


def shown(told: SeenCredential, *severities: str) -> list[str]:
    """The codes of what is in a rotation's way, or of other severities."""
    wanted = severities or ("refuses", "waits")
    return [finding.code for finding in told.findings if finding.severity in wanted]


@pytest.fixture(autouse=True)
def ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "WAYS", Ways())


def test_every_flaw_has_a_code() -> None:
    assert {*CODES, "newline"} == set(get_args(Live))


@pytest.mark.guarantee(1)
@pytest.mark.parametrize("shape", ["password", "url", "json"])
@pytest.mark.parametrize(("how", "code"), CODES.items())
def test_what_gives_no_way_back_is_refused_before_anything_changed(
    how: Live, code: Code, shape: str
) -> None:
    found = edges(shape=shape)
    found.world.spoil("orders-db", how)
    expected = CODES[found.world.spoiled["orders-db"]]  # a password alone names nothing else
    answer = planned(found)
    assert codes(answer) == [expected]
    assert expected is code or shape == "password"
    assert found.calls.writes == []
    told = " ".join(why.text for why in answer.reasons)
    assert not any(value in told for value in found.world.values)


@pytest.mark.parametrize(("how", "code"), CODES.items())
def test_whoever_looks_is_told_the_same(how: Live, code: Code) -> None:
    found = edges()
    assert shown(seen(found)) == []
    found.world.spoil("orders-db", how)
    credentials.WAYS = Ways()
    told = seen(found)
    assert shown(told, "refuses") == [code]
    assert [one.reason for one in told.findings if one.code == code] == planned(found).reasons
    assert told.active == "blue"
    assert told.slots["blue"].version == live(found).version


def test_one_whose_server_cannot_be_asked_is_still_looked_at() -> None:
    found = edges()
    found.calls.failing["database login"] = Unavailable(Code.DATABASE_UNREACHABLE, "no answer")
    told = seen(found)
    (finding,) = (one for one in told.findings if one.severity == "waits")
    version = live(found).version
    assert (finding.text, finding.object) == ("no answer", "secret orders-db-blue")
    assert (told.active, told.slots["blue"].version) == ("blue", version)


def test_one_without_an_active_slot_has_no_way_to_prove() -> None:
    found = edges()
    found.world.clusters["aks"].services["orders", "api"].selector["slot"] = "violet"
    told = seen(found)
    assert told.active is None
    assert shown(told) == ["workloads-disagree", "workloads-disagree"]
    assert "Service orders/api selects neither blue nor green" in told.findings[1].text
    assert not any("login" in read for read in found.calls.reads)


def test_workloads_between_two_slots_are_no_problem_of_a_rotation_that_moves_them() -> None:
    found = edges()
    found.world.clusters["aks"].services["orders", "api"].selector["slot"] = "violet"
    told = look(found, "orders-db", "orders-db-1")
    assert (told.rotation, told.active, told.findings) == ("orders-db-1", None, [])


def test_a_slot_that_serves_without_pods_is_told_before_anybody_rotates() -> None:
    """As after manifests of before a rotation were applied again."""
    found = edges()
    deployment = found.world.clusters["aks"].deployments["orders", "api-blue"]
    deployment.replicas = 0
    told = seen(found)
    assert shown(told)[0] == "active-scaled-to-zero"
    assert told.active == "blue"


def test_a_slot_that_serves_without_a_ready_pod_is_told_too() -> None:
    found = edges()
    for pod in found.world.clusters["aks"].deployments["orders", "api-blue"].pods:
        pod.ready_at = None
    assert shown(seen(found)) == ["active-not-serving"]


def test_a_look_is_kept_for_a_while() -> None:
    """A server may shut out an address whose logins fail too often."""
    found, now = edges(), [100.0]
    credentials.WAYS = Ways(fresh=30.0, clock=lambda: now[0])
    for at, expected in ((100.0, 1), (129.9, 1), (130.0, 2)):
        now[0] = at
        seen(found)
        assert sum("login" in what for what in found.calls.reads) == expected


def test_a_look_at_another_version_is_a_new_one() -> None:
    found = edges()
    assert shown(seen(found)) == []
    found.world.write(found.configuration.credential("orders-db"), "blue", "written by hand")
    assert shown(seen(found))


def test_all_that_a_value_names_wrongly_is_told_at_once() -> None:
    found = edges()
    password = live(found).password
    write(found, f"postgresql://orders_blue:{password}@elsewhere/other")
    assert codes(planned(found)) == ["active-secret-other-host", "active-secret-other-database"]


VALUES = [
    ("url", "postgres://orders_blue:{}@PG.Example./orders?sslmode=verify-full"),
    ("url", "postgresql+psycopg://orders_blue:{}@pg.example:5432/orders"),
    ("url", "postgresql://orders_blue:{}@pg.example"),
    ("json", '{{"username": "orders_blue", "password": "{}"}}'),
    ("json", '{{"username": "orders_blue", "password": "{}", "port": "5432", "engine": "pg"}}'),
]


@pytest.mark.parametrize(("shape", "value"), VALUES)
def test_values_that_owners_wrote_themselves(shape: str, value: str) -> None:
    found = edges(shape=shape)
    write(found, value.format(live(found).password))
    assert planned(found).active == "blue"


@pytest.mark.parametrize(
    ("shape", "value", "code"),
    [
        ("json", '{{"user": "orders_blue", "password": "{}"}}', "active-secret-unreadable"),
        ("json", '{{"username": "orders_blue", "pass": "{}"}}', "active-secret-unreadable"),
        ("url", "postgresql://:{}@pg.example/orders", "active-secret-unreadable"),
        ("url", "postgresql://orders_blue:{}@pg.example:6432/orders", "active-secret-other-host"),
        (
            "url",
            "postgresql://orders_blue:{}@pg.example:5432,b:5432/orders",
            "active-secret-other-host",
        ),
        ("url", "postgresql://orders_blue:{}@pg.example/ord\ners", "active-secret-unreadable"),
        (
            "json",
            '{{"username": "orders_blue", "password": "{}", "host": "pg.example", "port": "x"}}',
            "active-secret-other-host",
        ),
    ],
)
def test_values_of_another_form(shape: str, value: str, code: str) -> None:
    found = edges(shape=shape)
    write(found, value.format(live(found).password))
    assert codes(planned(found)) == [code]


def test_a_password_that_was_written_where_the_host_stands_is_not_told() -> None:
    found = edges()
    write(found, "postgresql://orders_blue:half@otherhalf/x@pg.example/orders")
    answer = planned(found)
    assert "active-secret-other-host" in codes(answer)
    assert "half" not in json.dumps([why.text for why in answer.reasons])


ENDPOINTS = [
    ("pooler.example", "pooler.example:5432", True),
    ({"host": "pooler.example", "port": 6432}, "pooler.example:6432", True),
    ({"host": "pooler.example", "port": 6432}, "pooler.example:5432", False),
    (
        {"host": "pooler.example", "port": 6432},
        "pg.example:5432",
        True,
    ),  # from before there was one
    ({"host": "pooler.example", "port": 6432}, "other.example:6432", False),
]


@pytest.mark.parametrize(("endpoint", "named", "accepted"), ENDPOINTS)
def test_applications_may_connect_to_an_endpoint(
    endpoint: object, named: str, accepted: bool
) -> None:
    found = edges((f"{DATABASE}.endpoint", endpoint))
    write(found, f"postgresql://orders_blue:{live(found).password}@{named}/orders")
    answer = planned(found)
    if accepted:
        assert answer.active == "blue"
    else:
        assert codes(answer) == ["active-secret-other-host"]


def staged(found: MemoryEdges) -> Version:
    stage(Step(found, Reference(rotation="r-1", credential="orders-db", slot="green")))
    current = found.world.current(found.configuration.credential("orders-db"), "green")
    assert current is not None
    return current


@pytest.mark.parametrize("named", ["pg.example:5432", "pooler.example:6432"])
def test_a_new_secret_names_what_the_live_one_names(named: str) -> None:
    found = edges((f"{DATABASE}.endpoint", {"host": "pooler.example", "port": 6432}))
    text = (
        f"postgresql://orders_blue:{live(found).password}@{named}/orders?options=-csearch_path%3Dt"
    )
    write(found, text)
    made = staged(found)
    kept = text.replace("orders_blue", "orders_green").replace(live(found).password, made.password)
    assert made.value == kept


def test_every_version_is_disabled_at_the_end() -> None:
    """Those that an execution wrote whose answer was lost, and those that others wrote, too."""
    found = edges()
    credential = found.configuration.credential("orders-db")
    for _ in range(3):
        staged(found)
    disable(Step(found, Reference(rotation="r-1", credential="orders-db", slot="green")))
    versions = found.vault(credential.vault).versions(credential.secret("green"))
    assert [version.enabled for version in versions] == [False] * 3


def test_content_type_and_tags_stay() -> None:
    found = edges()
    live(found).content_type = "application/x-team"
    live(found).tags = {"owner": "payments", "rotation": "an earlier one"}
    made = staged(found)
    assert made.content_type == "application/x-team"
    ours = {"rotation": "r-1", "slot": "green", "role": "orders_green"}
    assert made.tags == {"owner": "payments", **ours}


def test_tags_of_people_come_first() -> None:
    """A version has room for fifteen."""
    found = edges()
    people = {f"tag-{number}": "x" for number in range(14)}
    live(found).tags = dict(people)
    assert staged(found).tags == {**people, "rotation": "r-1"}


def test_a_password_in_another_place_too_is_refused_before_anything_starts() -> None:
    found = edges(shape="json")
    password = live(found).password
    document = {"username": "orders_blue", "password": password, "run": f"psql -W {password}"}
    write(found, json.dumps(document))
    assert codes(planned(found)) == ["secret-format-elsewhere"]


@pytest.mark.parametrize("shape", ["password", "url", "json"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_one_line_break_is_tolerated_and_told_and_not_written_again(
    shape: Any, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(log, "event", lambda name, **fields: lines.append({name: fields}))
    found = edges(shape=shape)
    write(found, live(found).value + ends)
    answer = planned(found)
    assert answer.active == "blue"
    assert [doubt.code for doubt in answer.doubts] == ["secret-newline"]
    assert [line["secret.doubt"]["codes"] for line in lines] == [["secret-newline"]]
    told = seen(found)
    assert (shown(told), shown(told, "tells")) == ([], ["secret-newline"])
    assert not read(Shape(shape), Secret(staged(found).value), "new").newline


def test_two_line_breaks_are_another_password() -> None:
    found = edges(shape="password")
    write(found, live(found).value + "\n\n")
    assert codes(planned(found)) == ["active-password-wrong"]


@pytest.mark.parametrize("call", ["vault value", "database login"])
def test_what_passes_is_waited_for(call: str) -> None:
    found = edges()
    found.calls.failing[call] = Unavailable(Code.DATABASE_BUSY, "not now")
    with pytest.raises(Unavailable):
        planned(found)


def test_a_refusal_of_another_kind_has_a_code_of_its_own() -> None:
    found = edges()
    words = "the server says of role orders_blue: no pg_hba.conf entry"
    found.calls.failing["database login"] = Denied(Code.LOGIN_BARRED, words)
    answer = planned(found)
    assert codes(answer) == ["active-login-barred"]
    assert words in answer.reasons[0].text


def test_an_expired_password_is_said_to_be_one() -> None:
    found = edges()
    role = found.world.database.roles["orders_blue"]
    role.password, role.valid_until = None, found.now() - timedelta(days=1)
    (why,) = planned(found).reasons
    assert "VALID UNTIL" in why.text


def test_pods_that_are_unhealthy_for_it_do_not_hide_it() -> None:
    found = edges()
    found.world.spoil("orders-db", "password")
    state = found.pods("aks").deployment(
        found.configuration.credential("orders-db").workloads[0].deployment("blue")
    )
    assert state is not None
    assert state.ready == 0
    assert codes(planned(found)) == ["active-password-wrong"]


def test_what_is_not_due_is_not_logged_in_with() -> None:
    found = edges()
    live(found).expires = None
    assert planned(found, Origin.SWEEP).outcome is Outcome.SKIPPED
    assert not any("value" in what or "login" in what for what in found.calls.reads)


# -- read replicas


def test_each_replica_is_asked_before_anything_changes() -> None:
    found = edges((f"{DATABASE}.replicas", ["read-1", {"host": "read-2", "port": 5433}]))
    assert planned(found).active == "blue"
    logins = [what for what in found.calls.reads if "login" in what]
    assert [what.rpartition(" ")[2] for what in logins] == [
        "orders_blue",
        "read-1:5432",
        "read-2:5433",
    ]


def test_a_replica_that_refuses_the_live_login_is_told() -> None:
    found = edges((f"{DATABASE}.replicas", ["read-1"]))
    words = "no pg_hba.conf entry"
    found.calls.failing["database login orders_blue at read-1"] = Denied(Code.LOGIN_BARRED, words)
    assert codes(planned(found)) == ["active-login-barred"]


def test_a_replica_that_does_not_answer_the_rotating_login_is_no_start() -> None:
    """It will be asked when the slot is retired: there would be no end."""
    found = edges((f"{DATABASE}.replicas", ["read-1"]))
    call = "database roles orders_blue at read-1"
    found.calls.failing[call] = Denied(Code.LOGIN_BARRED, "the server says of role rotator")
    with pytest.raises(Denied, match="rotator"):
        planned(found)
