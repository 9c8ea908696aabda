"""What is found in a credential's world: each with its object, and the command that mends it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from rotation.decisions.parity import doubts as role_doubts
from rotation.decisions.parity import problems as role_problems
from rotation.decisions.plan import active_slot, doubts, problems, unhealthy
from rotation.front import credentials
from rotation.front.credentials import SeenCredential, Ways, look
from rotation.model.commands import COMMANDS, Thing, told
from rotation.model.errors import Denied, Missing, Unavailable
from rotation.model.reasons import Area, Code
from rotation.model.world import (
    Differences,
    Drift,
    InPlaceState,
    LoginNames,
    Maker,
    Route,
    Selector,
    SlotSecret,
    SlotState,
    Snapshot,
    Template,
    WorkloadNames,
    WorkloadState,
)
from tests.memory.cluster import ServiceState
from tests.unit.test_cron_jobs import BOTH, SWITCH, cron_job
from tests.unit.test_doctor import MET as BY_DOCTOR
from tests.unit.test_parity import INSERT
from tests.unit.test_plan import ROLE, deployment, slots, version, workload, world
from tests.unit.test_wayback import CODES as LIVE
from tests.unit.test_wayback import edges

if TYPE_CHECKING:
    from rotation.model.reasons import Reason
    from rotation.model.world import Slot
    from tests.memory import MemoryEdges
    from tests.memory.world import Live

AT = {"host": "pg.example", "port": "5432", "dbname": "orders"}
PSQL = "psql --host=pg.example --port=5432 --dbname=orders"
VAULT = "https://kv-orders.vault.azure.net"
NAMES = WorkloadNames(
    preview="orders/api-preview",
    slots={"blue": "orders/api-blue", "green": "orders/api-green"},
    backends={"blue": "orders/api-b", "green": "orders/api-g"},
)
# They are of the file, or of an entry that was kept: nothing that is seen in a world.
OF_THE_FILE = {Code.CONFIGURATION, Code.NOT_CONFIGURED, Code.ENTRY_INVALID, Code.ENTRY_HOST}


def login(slot: Slot, **more: Any) -> SlotState:
    names = LoginNames(f"orders_{slot}", f"orders-{slot}", VAULT, AT)
    role = replace(ROLE, name=f"orders_{slot}", login=slot == "blue")
    return SlotState(**{"role": role, "secret": version(slot), "names": names, **more})


def api(**more: Any) -> Snapshot:
    """The world of one workload, which is whole but for what is given."""
    return world(named(**more), blue=login("blue"), green=login("green"))


def named(name: str = "api", **more: Any) -> WorkloadState:
    return workload(name, names=NAMES, **more)


def of_slots(**more: SlotState) -> Snapshot:
    return world(named(), **{"blue": login("blue"), "green": login("green"), **more})


def routes(**more: Any) -> Snapshot:
    """The world of a workload whose requests are shared by an HTTPRoute."""
    route = Route("blue", "", weights={"blue": 100, "green": 0}, **more)
    own = {slot: Route(slot, "http") for slot in ("blue", "green")}
    return api(kind="HTTPRoute", production=route, preview=None, backends=own)


def scheduled(**more: Any) -> Snapshot:
    known: dict[str, Any] = {
        "production": SWITCH,
        "preview": None,
        "deployments": dict.fromkeys(BOTH),
        "uncalled": True,
        "cron_jobs": BOTH,
    }
    own = {slot: f"orders/report-{slot}" for slot in BOTH}
    report = workload("report", names=WorkloadNames(slots=own), **{**known, **more})
    return world(report, blue=login("blue"), green=login("green"))


def in_place(found: SlotSecret | None, serving: Any = None, **more: Any) -> Snapshot:
    """The world of a workload in place; its Deployment stands in the place of the active one's."""
    state = InPlaceState(
        **{
            "secret": "orders/ledger-db",
            "label": "kubectl annotate it",
            "then": "restart",
            "found": found,
            "holds": "blue",
            "readings": frozenset({"volume"}),
            **more,
        }
    )
    ledger = replace(
        workload("ledger", at="Deployment orders/ledger"),
        production=None,
        preview=None,
        deployments={"blue": serving, "green": None},
        in_place=state,
    )
    return world(ledger, blue=login("blue"), green=login("green"))


def templated(name: str, template: dict[str, Any], strategy: Any = None, **more: Any) -> Any:
    return deployment(name, template=Template(template, strategy), **more)


PAUSED = slots(blue=deployment("api-blue", paused=True), green=deployment("api-green", paused=True))
DOWN = {"replicas": 0, "ready": 0, "updated": 0, "total": 0}
BLUE, GREEN = deployment("api-blue"), deployment("api-green", **DOWN)
LEDGER = deployment("ledger")
EVERYTHING = Selector(())
KUBECTL = "--namespace orders"
ROLLING = (
    '--type merge --patch \'{"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": '
    '{"maxSurge": 1, "maxUnavailable": 0}}}}\''
)
SOON = '--type merge --patch \'{"spec": {"startingDeadlineSeconds": 60}}\''
SUSPEND = 'cronjob/{} --type merge --patch \'{{"spec": {{"suspend": {}}}}}\''
MOVE = (
    f"kubectl patch {KUBECTL} service/{{}} --field-manager=credential-rotation --type merge "
    '--patch \'{{"spec": {{"selector": {{"slot": "<slot>"}}}}}}\''
)

# A world, the code of what is wrong with it, its object, and the command that mends it.
FOUND: list[tuple[Snapshot, Code, str, str]] = [
    (
        of_slots(blue=login("blue", secret=None)),
        Code.SECRET_MISSING,
        "secret orders-blue",
        f"az keyvault secret recover --id {VAULT}/deletedsecrets/orders-blue",
    ),
    (
        of_slots(blue=login("blue", secret=version("blue", enabled=False))),
        Code.VERSION_DISABLED,
        "secret orders-blue",
        f"az keyvault secret set-attributes --id {VAULT}/secrets/orders-blue/blue-1 --enabled true",
    ),
    (
        of_slots(blue=login("blue", role=replace(ROLE, login=False))),
        Code.ROLE_NOLOGIN,
        "role orders_blue",
        f"""{PSQL} '--command=ALTER ROLE "orders_blue" LOGIN'""",
    ),
    (
        of_slots(green=login("green", role=None)),
        Code.ROLE_MISSING,
        "role orders_green",
        f"""{PSQL} '--command=CREATE ROLE "orders_green" NOLOGIN'""",
    ),
    (
        world(named(), named("web", production=Route("green", "http"))),
        Code.SLOTS_DISAGREE,
        "Service orders/web",
        MOVE.format("web"),
    ),
    (
        api(preview=None),
        Code.SERVICE_MISSING,
        "Service orders/api-preview",
        f"kubectl apply {KUBECTL} --filename <its manifest>",
    ),
    (
        api(deployments=slots(green=None)),
        Code.DEPLOYMENT_MISSING,
        "Deployment orders/api-green",
        f"kubectl apply {KUBECTL} --filename <its manifest>",
    ),
    (
        api(deployments=slots(blue=None), makers={"blue": (Maker("Rollout", "api"),)}),
        Code.OTHER_KIND,
        "Deployment orders/api-blue",
        "",
    ),
    (
        api(deployments=slots(blue=deployment("api-blue", replicas=0))),
        Code.ACTIVE_AT_ZERO,
        "Deployment orders/api-blue",
        f"kubectl scale {KUBECTL} deployment/api-blue '--replicas=<number>'",
    ),
    (
        api(deployments=PAUSED),
        Code.DEPLOYMENT_PAUSED,
        "Deployment orders/api-green",
        f"kubectl rollout resume {KUBECTL} deployment/api-green",
    ),
    (
        api(deployments=PAUSED),
        Code.ACTIVE_PAUSED,
        "Deployment orders/api-blue",
        f"kubectl rollout resume {KUBECTL} deployment/api-blue",
    ),
    (
        api(deployments=slots(green=deployment("api-green", images={"web": "x"}))),
        Code.CONTAINERS_DIFFER,
        "Deployment orders/api-green",
        "",
    ),
    (
        api(drift=Drift(paths=("spec.hostNetwork",))),
        Code.TEMPLATES_DIFFER,
        "Deployment orders/api-green",
        "",
    ),
    (
        api(deployments=slots(blue=deployment("api-blue", ready=1))),
        Code.ACTIVE_UNHEALTHY,
        "Deployment orders/api-blue",
        f"kubectl describe {KUBECTL} deployment/api-blue",
    ),
    (
        api(deployments=slots(blue=deployment("api-blue", ready=0))),
        Code.ACTIVE_DOWN,
        "Deployment orders/api-blue",
        f"kubectl describe {KUBECTL} deployment/api-blue",
    ),
    (
        api(
            deployments=slots(
                blue=templated("api-blue", {"spec": {"containers": [{"name": "app"}]}})
            )
        ),
        Code.NO_PROBE,
        "Deployment orders/api-blue",
        "",
    ),
    (
        api(deployments=slots(blue=templated("api-blue", {}, {"type": "Recreate"}))),
        Code.TAKES_ALL_DOWN,
        "Deployment orders/api-blue",
        f"kubectl patch {KUBECTL} deployment/api-blue {ROLLING}",
    ),
    (
        api(
            deployments=slots(
                blue=replace(BLUE, selector=EVERYTHING),
                green=replace(GREEN, labels={"slot": "green"}),
            )
        ),
        Code.SELECTORS_OVERLAP,
        "Deployment orders/api-blue",
        "",
    ),
    (
        api(
            production=Route("blue", "http", besides={"app": "web"}),
            deployments=slots(blue=replace(BLUE, labels={"app": "api", "slot": "blue"})),
        ),
        Code.SERVICE_PODS,
        "Service orders/api",
        "",
    ),
    (
        api(stops=True, uncalled=True),
        Code.SERVICE_CALLED,
        "Service orders/api",
        "",
    ),
    (
        api(kind="HTTPRoute", production=None),
        Code.ROUTE_MISSING,
        "HTTPRoute orders/api",
        f"kubectl apply {KUBECTL} --filename <its manifest>",
    ),
    (
        routes(lacks=("its rule 0 names one Service",)),
        Code.ROUTE_BACKENDS,
        "HTTPRoute orders/api",
        f"kubectl edit {KUBECTL} httproute/api",
    ),
    (
        routes(pending="no Gateway", refused=True),
        Code.ROUTE_REFUSED,
        "HTTPRoute orders/api",
        f"kubectl describe {KUBECTL} httproute/api",
    ),
    (
        scheduled(cron_jobs={**BOTH, "green": None}),
        Code.CRON_JOB_MISSING,
        "CronJob orders/report-green",
        f"kubectl apply {KUBECTL} --filename <its manifest>",
    ),
    (
        scheduled(cron_jobs={**BOTH, "blue": cron_job("blue", suspended=True)}),
        Code.ACTIVE_SUSPENDED,
        "CronJob orders/report-blue",
        f"kubectl patch {KUBECTL} " + SUSPEND.format("report-blue", "false"),
    ),
    (
        scheduled(cron_jobs={**BOTH, "green": cron_job("green", suspended=False)}),
        Code.STANDBY_RUNS,
        "CronJob orders/report-green",
        f"kubectl patch {KUBECTL} " + SUSPEND.format("report-green", "true"),
    ),
    (
        scheduled(cron_jobs={**BOTH, "green": cron_job("green", deadline=None)}),
        Code.STARTING_DEADLINE,
        "CronJob orders/report-green",
        f"kubectl patch {KUBECTL} cronjob/report-green {SOON}",
    ),
    (
        scheduled(cron_jobs={**BOTH, "green": cron_job("green", settings={"schedule": "@daily"})}),
        Code.SCHEDULES_DIFFER,
        "CronJob orders/report-green",
        "",
    ),
    (
        in_place(None),
        Code.EXCHANGED_MISSING,
        "Secret orders/ledger-db",
        "",
    ),
    (
        in_place(SlotSecret(None)),
        Code.EXCHANGED_UNNAMED,
        "Secret orders/ledger-db",
        "kubectl annotate it",
    ),
    (
        in_place(SlotSecret("blue", immutable=True), LEDGER),
        Code.EXCHANGED_IMMUTABLE,
        "Secret orders/ledger-db",
        "",
    ),
    (
        in_place(SlotSecret("blue"), LEDGER, holds="green"),
        Code.EXCHANGED_LOGIN,
        "Secret orders/ledger-db",
        "",
    ),
    (
        in_place(SlotSecret("blue"), LEDGER, readings=frozenset()),
        Code.LOGIN_NEVER_READ,
        "Deployment orders/ledger",
        "",
    ),
    (
        in_place(SlotSecret("blue"), replace(LEDGER, stays="its rollout is paused")),
        Code.NEVER_RESTARTED,
        "Deployment orders/ledger",
        f"kubectl rollout resume {KUBECTL} deployment/ledger",
    ),
]


def found(seen: Snapshot) -> list[Reason]:
    """All that is decided about a snapshot."""
    active = active_slot(seen)
    told_of = list(problems(seen, active))
    if active is not None:
        told_of += [*doubts(seen, active), *(one.reason for one in unhealthy(seen, active))]
    return told_of


@pytest.mark.parametrize(("seen", "code", "thing", "command"), FOUND, ids=lambda one: str(one)[:30])
def test_each_is_told_with_its_object_and_the_command_that_mends_it(
    seen: Snapshot, code: Code, thing: str, command: str
) -> None:
    told_of = [one for one in found(seen) if one.code == code]
    assert (thing, command) in [(one.object, one.command) for one in told_of]
    assert all(one.remedy for one in told_of)


# -- what only a look shows

LOGIN = f"{PSQL} '--command=\\password \"orders_blue\"'"
SCRAM = (
    f"{PSQL} '--command=SET password_encryption = '\"'\"'scram-sha-256'\"'\"'' "
    "'--command=\\password \"orders_blue\"'"
)
ON_LIVE: dict[Live, tuple[str, str]] = {
    "unreadable": ("secret orders-db-blue", ""),
    "role": ("secret orders-db-blue", ""),
    "host": ("secret orders-db-blue", ""),
    "database": ("secret orders-db-blue", ""),
    "password": ("role orders_blue", LOGIN),
    "md5": ("role orders_blue", SCRAM),
}


@pytest.fixture(autouse=True)
def ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "WAYS", Ways())


def shown(memory: MemoryEdges, code: Code) -> tuple[str, str, str]:
    """The severity, object and command of the one finding of a code."""
    (one,) = (each for each in look(memory, "orders-db", None).findings if each.code == code)
    return one.severity, one.object, one.command


@pytest.mark.parametrize(("how", "code"), LIVE.items())
def test_a_live_secret_that_is_spoiled_has_a_command_too(how: Live, code: Code) -> None:
    memory = edges()
    memory.world.spoil("orders-db", how)
    assert shown(memory, code) == ("refuses", *ON_LIVE[how])


def test_a_role_without_connect_is_given_it() -> None:
    memory = edges()
    memory.calls.failing["database login"] = Denied(Code.LOGIN_CONNECT, "no CONNECT on orders")
    grant = f"""{PSQL} '--command=GRANT CONNECT ON DATABASE "orders" TO "orders_blue"'"""
    assert shown(memory, Code.LIVE_LOGIN) == ("refuses", "role orders_blue", grant)


def test_roles_that_differ_are_compared_by_the_query() -> None:
    query = (
        f"{PSQL} --variable=having={{}} --variable=lacking={{}} --file=infra/database/parity.sql"
    )
    (weaker,) = role_problems("orders_green", "orders_blue", Differences((INSERT,)), AT)
    assert (weaker.code, weaker.object) == (Code.ROLE_WEAKER, "role orders_green")
    assert weaker.command == query.format("orders_blue", "orders_green")
    (stronger,) = role_doubts("orders_green", "orders_blue", Differences((), (INSERT,)), AT)
    assert (stronger.code, stronger.object) == (Code.ROLE_STRONGER, "role orders_green")
    assert stronger.command == query.format("orders_green", "orders_blue")


def test_a_catalogue_that_is_not_shown_can_be_read_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any) -> Differences:
        raise Denied(Code.DATABASE_RIGHT, "permission denied")

    monkeypatch.setattr("tests.memory.edges.MemoryDatabase.differences", denied)
    severity, thing, command = shown(edges(), Code.ROLES_NOT_COMPARED)
    assert (severity, thing) == ("tells", "role orders_green")
    assert command.endswith("--file=infra/database/parity.sql")


def test_a_line_break_is_told_of_its_secret() -> None:
    memory = edges()
    memory.world.spoil("orders-db", "newline")
    assert shown(memory, Code.SECRET_NEWLINE) == ("tells", "secret orders-db-blue", "")


def test_a_service_that_nobody_named_is_the_object() -> None:
    memory = edges()
    selector = {"app": "api", "slot": "blue"}
    services = memory.world.clusters["aks"].services
    services["orders", "theirs"] = ServiceState("orders", "theirs", selector)
    assert shown(memory, Code.OTHER_SERVICE) == ("refuses", "Service orders/theirs", "")


# By tests of their own: see test_conditions, test_in_place, test_route, test_selectors, test_hours.
ELSEWHERE = {
    Code.CONDITION_BEYOND,
    Code.CONDITION_UNKNOWN,
    Code.EXPIRES_BEFORE_WINDOW,
    Code.OTHER_ENDPOINTS,
    Code.OTHER_ROUTE,
}


def test_each_code_of_the_world_has_an_example_and_a_command_or_a_word_that_none_mends_it() -> None:
    """Whoever adds a code of the world decides what mends it, and shows it here."""
    of_the_world = {code for code in Code if code.area is Area.WORLD}
    assert of_the_world - COMMANDS.keys() == set()
    seen = {code for _, code, _, _ in FOUND} | set(LIVE.values()) | ELSEWHERE | OF_THE_FILE
    seen |= {Code.LIVE_LOGIN, Code.ROLE_WEAKER, Code.ROLE_STRONGER, Code.ROLES_NOT_COMPARED}
    seen |= {Code.SECRET_NEWLINE, Code.OTHER_SERVICE} | BY_DOCTOR
    assert of_the_world - seen == set()


@pytest.mark.parametrize("code", [code for code, made in COMMANDS.items() if made], ids=str)
def test_whatever_a_name_is_made_of_it_is_one_word_of_a_command(code: Code) -> None:
    """Names come from a file, a cluster and a catalogue that others write."""
    name = 'x\'; touch /tmp/y; "$(id)" `id`'
    more = dict.fromkeys(("vault", "version", "host", "port", "dbname", "having", "lacking"), name)
    kinds = ("Deployment", "StatefulSet", "Service", "HTTPRoute", "role", "secret", "CronJob")
    for kind in kinds:
        thing = Thing(kind, name, name, {**more, "label": name, "advised": "60"})
        command = told(code, "", thing).command
        words = shlex.split(command)
        assert all(word.count("touch") == 0 or "x'; touch" in word for word in words), command
        assert "touch" not in {word.strip(";") for word in words}


# -- what cannot be looked at


def test_what_cannot_be_looked_at_hides_nothing_else() -> None:
    memory = edges()
    memory.calls.failing["database roles"] = Unavailable(Code.DATABASE_DOWN, "nobody listens")
    memory.calls.failing["vault current"] = Denied(Code.VAULT_DENIED, "no grant")
    memory.calls.failing["cluster deployment"] = Missing(Code.CLUSTER_MISSING, "gone")
    seen: SeenCredential = look(memory, "orders-db", None)
    assert (seen.active, seen.slots) == (None, {})
    assert [(one.severity, one.code, one.object) for one in seen.findings] == [
        ("waits", "database-connection-refused", "server pg.example:5432"),
        ("refuses", "vault-denied", "vault https://kv.vault.azure.net"),
        ("refuses", "cluster-object-missing", "workload api"),
    ]


def test_a_look_that_is_denied_does_not_keep_the_next_from_being_made() -> None:
    memory = edges()
    memory.calls.failing["cluster routing"] = Denied(Code.CLUSTER_DENIED, "list services")
    memory.world.spoil("orders-db", "md5")
    seen = look(memory, "orders-db", None)
    assert [one.code for one in seen.findings if one.severity == "refuses"] == [
        "active-role-not-scram",
        "cluster-denied",
    ]
    assert seen.active == "blue"
