"""The entry that a rotation goes on with, whatever the file says by now."""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation import config
from rotation.app import notify_and_publish
from rotation.config import kept, parse
from rotation.edges.azure import AzureEdges
from rotation.edges.cluster.deployments import Deployments
from rotation.edges.vault import KeyVault
from rotation.front import rotations
from rotation.front.api import _compared
from rotation.front.approvers import keyed
from rotation.front.planned import planned_edges, standing
from rotation.model import wire
from rotation.model.activities import Notice, Part, Reference, Retry, WorkloadTimes
from rotation.model.catalogue import Announcement, Origin, Outcome, Progress
from rotation.model.errors import ConfigurationError, Invalid
from rotation.model.reasons import Code
from rotation.model.record import Request
from rotation.pages import routes
from rotation.pages.visitors import Visitor
from rotation.settings import Settings
from rotation.steps import running
from rotation.steps.catalogue import ACTIVITIES
from rotation.steps.running import Step
from tests.memory import MemoryEdges
from tests.unit.people import ROTATION, SERVING, FakeClient, Instance, configuration, record
from tests.unit.test_config import CREDENTIAL, EXAMPLE, NAMED, REMOVED, VALID, WORKLOAD, changed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rotation.config import Configuration
    from rotation.secrecy import Secret


def written(*changes: tuple[str, Any]) -> Configuration:
    return parse(yaml.safe_dump(changed(*changes)))


def packed(document: object) -> str:
    return base64.b64encode(zlib.compress(json.dumps(document).encode())).decode()


FILE = written()
ENTRY = kept.keep(FILE, "orders-db")


def test_everything_of_an_entry_is_kept() -> None:
    file = config.load(str(EXAMPLE))
    for name, credential in file.credentials.items():
        found = kept.read(kept.keep(file, name))
        assert found.credential(name) == credential
        used = {workload.cluster for workload in credential.workloads}
        assert found.clusters == {each: file.clusters[each] for each in used}


@pytest.mark.parametrize(
    "change",
    [
        (f"{WORKLOAD}.addresses", ["10.8.0.0/24", "10.9.0.1"]),
        (f"{WORKLOAD}.addresses", "nodes"),
        (f"{WORKLOAD}.port", 8080),
        (f"{CREDENTIAL}.drain", "0s"),
        (f"{CREDENTIAL}.rotateBefore", "1d2h3m4s"),
        (
            f"{CREDENTIAL}.approval",
            {
                "approvers": [
                    "ada@example.org",
                    "an-app-role",
                    {"id": "10000000-0000-4000-8000-000000000000", "address": "b@example.org"},
                ],
                "allowRequester": True,
                "onDeadline": "approve",
                "soak": "1h",
            },
        ),
        (f"{WORKLOAD}.tests.0.json.nothing", None),
        *(
            (f"{WORKLOAD}.tests.1", {"sql": "select 1", "value": value, "timeout": "9s"})
            for value in (False, 0, "", "{role}")
        ),
        (f"{WORKLOAD}.tests.1", {"sql": "select 1"}),
    ],
)
def test_each_kind_of_value_comes_back(change: tuple[str, Any]) -> None:
    file = written(change)
    found = kept.read(kept.keep(file, "orders-db"))
    assert found.credential("orders-db") == file.credential("orders-db")
    assert kept.changes(found, file) == []


def many(count: int) -> Configuration:
    first = VALID["credentials"]["orders-db"]["workloads"][0]
    more = [
        {
            **first,
            "name": f"workload-{n}",
            "namespace": f"orders-{n % 7}",
            "service": f"workload-{n}",
            "preview": f"workload-{n}-preview",
            "deployments": {slot: f"workload-{n}-{slot}" for slot in ("blue", "green")},
        }
        for n in range(count)
    ]
    return written((f"{CREDENTIAL}.workloads", more))


@pytest.mark.parametrize(("workloads", "longest"), [(1, 700), (20, 1500), (50, 2500)])
def test_it_stays_small(workloads: int, longest: int) -> None:
    """It goes along with each call of an activity, and stays in the histories."""
    assert len(kept.keep(many(workloads), "orders-db")) < longest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "eJ",
        packed([]),
        packed({"clusters": {}, "credentials": {}}),
        ENTRY[:-8],
        base64.b64encode(zlib.compress(b" " * (kept.LONGEST + 1))).decode(),
        packed("[" * 100_000),
        base64.b64encode(zlib.compress(b"[" * 100_000)).decode(),
    ],
)
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kept.read(text)
    assert caught.value.code is Code.ENTRY_INVALID


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (f"{WORKLOAD}.deployments.green", REMOVED, "green is missing"),
        (f"{WORKLOAD}.tests.0.path", "/../../api", "must not have"),
        (f"{CREDENTIAL}.database.sslmode", "disable", "use verify-full"),
        (f"{WORKLOAD}.cluster", "elsewhere", "is not in clusters"),
        (f"{CREDENTIAL}.unknown", 1, "no such key"),
    ],
)
def test_it_is_validated_like_the_file(path: str, value: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        kept.read(packed(changed((path, value))))


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ([], []),
        ([(f"{CREDENTIAL}.database.port", 5432)], []),  # the default
        (
            [(f"{WORKLOAD}.deployments.green", "api-v2")],
            [f"{NAMED}.deployments.green: was 'api-green', is 'api-v2'"],
        ),
        ([(f"{WORKLOAD}.ready", "15m")], [f"{NAMED}.ready: is new: '15m'"]),
        (
            [("clusters.aks.server", "https://other.example")],
            ["clusters.aks.server: was 'https://aks.example', is 'https://other.example'"],
        ),
        ([("clusters.more", {"server": "https://more.example"})], []),
        (
            [("credentials.billing-db", VALID["credentials"]["orders-db"]), (CREDENTIAL, REMOVED)],
            [f"{CREDENTIAL}: is gone"],
        ),
        (
            [(f"{WORKLOAD}.tests.1", {"path": "/healthz"})],
            [f"{NAMED}.tests.1: is new: a dict"],
        ),
    ],
)
def test_what_the_file_says_by_now(changes: list[tuple[str, Any]], lines: list[str]) -> None:
    assert kept.changes(kept.read(ENTRY), written(*changes)) == lines


def test_the_first_changes_are_listed_and_the_others_counted() -> None:
    before = kept.read(kept.keep(many(30), "orders-db"))
    after = many(30).model_copy(deep=True)
    moved = [
        w.model_copy(update={"namespace": "x" * 60})
        for w in after.credentials["orders-db"].workloads
    ]
    entry = after.credentials["orders-db"].model_copy(update={"workloads": moved})
    found = kept.changes(before, after.model_copy(update={"credentials": {"orders-db": entry}}))
    assert found[-1] == "and 20 more"
    assert len(found) == kept.MOST_CHANGES + 1
    assert max(map(len, found)) <= kept.LONGEST_CHANGE


def test_an_authority_is_kept_as_its_text(tmp_path: Path) -> None:
    """The next release may have another file there, or none."""
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\nabc\n", encoding="utf-8")
    before = written(("clusters.aks.certificateAuthority", str(file)))
    found = kept.read(kept.keep(before, "orders-db"))
    assert found.clusters["aks"].certificate_authority == file.read_text(encoding="utf-8")
    assert kept.changes(found, before) == []
    file.write_text("-----BEGIN CERTIFICATE-----\nxyz\n", encoding="utf-8")
    (line,) = kept.changes(found, before)
    assert line.startswith("clusters.aks.certificateAuthority: was ")


def test_a_test_s_authority_is_kept_as_its_text_too(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\nabc\n", encoding="utf-8")
    secure = {"url": "https://orders.example/", "certificateAuthority": str(file)}
    before = written((f"{WORKLOAD}.tests.1", secure))
    found = kept.read(kept.keep(before, "orders-db"))
    file.unlink()
    test = found.credential("orders-db").workloads[0].tests[1]
    assert test.certificate_authority == "-----BEGIN CERTIFICATE-----\nabc\n"


@pytest.mark.parametrize("above", ["# Issuer: us\n\n", "Certificate:\n    Data:\n"])
def test_what_stands_above_an_authority_makes_no_path_of_it(tmp_path: Path, above: str) -> None:
    """As in certifi's bundle, and in what `openssl x509 -text` writes."""
    file = tmp_path / "ca.pem"
    file.write_text(f"{above}-----BEGIN CERTIFICATE-----\nabc\n", encoding="utf-8")
    before = written(("clusters.aks.certificateAuthority", str(file)))
    found = kept.read(kept.keep(before, "orders-db"))
    assert found.clusters["aks"].certificate_authority == "-----BEGIN CERTIFICATE-----\nabc\n"
    assert kept.changes(found, before) == []


@pytest.mark.parametrize(
    "text",
    [
        "no certificate",
        "-----BEGIN CERTIFICATE-----\n" + "a" * 99999,
        "-----BEGIN CERTIFICATE-----\na\n-----BEGIN PRIVATE KEY-----\nb\n",
    ],
    ids=["none", "a bundle", "with its key"],
)
def test_what_is_no_authority_alone_stays_a_path(tmp_path: Path, text: str) -> None:
    """What is kept holds no secret, and is stored with each call."""
    file = tmp_path / "ca.pem"
    file.write_text(text, encoding="utf-8")
    before = written(("clusters.aks.certificateAuthority", str(file)))
    found = kept.read(kept.keep(before, "orders-db"))
    assert found.clusters["aks"].certificate_authority == str(file)


def test_an_entry_that_could_not_be_read_again_is_not_kept() -> None:
    long = {"path": "/", "method": "POST", "body": "a" * kept.LONGEST}
    with pytest.raises(ConfigurationError, match="orders-db: its entry is too long: 1 MiB"):
        kept.keep(written((f"{WORKLOAD}.tests.1", long)), "orders-db")


# -- activities


def reference(entry: str | None = ENTRY, **more: Any) -> Reference:
    return Reference(rotation="r-1", credential="orders-db", slot="green", entry=entry, **more)


def test_a_step_works_on_what_was_planned() -> None:
    site = MemoryEdges(FILE)
    site.configuration = written(
        (f"{WORKLOAD}.deployments.green", "api-v2"),
        (f"{CREDENTIAL}.vault", "https://kv-2.vault.azure.net"),
        ("clusters.aks.server", "https://other.example"),
        (f"{CREDENTIAL}.approval.approvers", ["new@example.org"]),
    )
    step = Step(site, reference(workload="api"))
    assert step.credential == FILE.credential("orders-db")
    assert str(step.deployment) == "orders/api-green"
    assert step.pods.deployment(step.deployment) is not None
    assert step.approval.approvers == ["new@example.org"]
    assert len(step.changed or []) == 4


def test_a_rotation_of_an_earlier_release_follows_the_file() -> None:
    site = MemoryEdges(FILE)
    site.configuration = written((f"{WORKLOAD}.deployments.green", "api-v2"))
    step = Step(site, reference(None, workload="api"))
    assert (str(step.deployment), step.changed) == ("orders/api-v2", None)


def without_it() -> Configuration:
    other = ("credentials.billing-db", VALID["credentials"]["orders-db"])
    return written(other, (CREDENTIAL, REMOVED))


def test_a_step_goes_on_where_the_entry_is_gone() -> None:
    site = MemoryEdges(FILE)
    site.configuration = without_it()
    step = Step(site, reference())
    assert step.vault.current(step.credential.secret("blue")) is not None
    assert step.approval == FILE.credential("orders-db").approval
    assert step.changed == [f"{CREDENTIAL}: is gone"]


def test_an_entry_that_is_none_fails_the_step_and_says_so() -> None:
    activity = next(one for one in ACTIVITIES if one.name == "verify")
    answer = running.run(activity, MemoryEdges(FILE), wire.value_of(reference("x")))
    assert answer["error"]["code"] == "kept-entry-invalid"
    assert answer["error"]["transient"] is False


# -- who gets the app's token


class Tokens:
    """The app's identity, which is asked for no token."""

    def token(self, scope: str) -> Secret:
        raise AssertionError(f"a token for {scope} was asked for")

    def forget(self) -> None:
        raise AssertionError("no token was refused")

    def get_token(self, *scopes: str, **_: Any) -> Any:
        raise AssertionError(f"a token for {scopes} was asked for")

    @property
    def credential(self) -> Tokens:
        return self


def azure(tmp_path: Path, *kept_changes: tuple[str, Any]) -> AzureEdges:
    """Edges whose file is the valid one, for a rotation that was planned with changes to it."""
    file = tmp_path / "credentials.yaml"
    file.write_text(yaml.safe_dump(VALID), encoding="utf-8")
    site = AzureEdges({"ROTATION_CONFIG": str(file)})
    site.__dict__["identity"] = Tokens()
    entry = kept.read(packed(changed(*kept_changes)))
    return site.planned(entry)


@pytest.mark.parametrize(
    ("path", "value", "use"),
    [
        ("clusters.aks.server", "https://aks.attacker.example", lambda e: e.pods("aks")),
        ("clusters.aks.server", "https://azmk8s.io.attacker.example", lambda e: e.traffic("aks")),
        ("clusters.aks.server", "https://attackerazmk8s.io", lambda e: e.traffic("aks")),
        (
            f"{CREDENTIAL}.vault",
            "https://kv.attacker.example",
            lambda e: e.vault("https://kv.attacker.example"),
        ),
        (
            f"{CREDENTIAL}.database.host",
            "pg.attacker.example",
            lambda e: e.database(e.configuration.credential("orders-db")).roles(["x"]),
        ),
    ],
)
def test_a_host_that_only_the_task_hub_names_gets_no_token(
    tmp_path: Path, path: str, value: str, use: Callable[[AzureEdges], object]
) -> None:
    with pytest.raises(Invalid) as caught:
        use(azure(tmp_path, (path, value)))
    assert caught.value.code in {Code.ENTRY_HOST, Code.DATABASE_HOST}


@pytest.mark.parametrize(
    "server", ["https://aks.example", "https://prod-1a2b.hcp.westeurope.azmk8s.io"]
)
def test_the_cloud_s_own_servers_and_those_of_the_file_do(tmp_path: Path, server: str) -> None:
    site = azure(tmp_path, ("clusters.aks.server", server))
    assert isinstance(site.pods("aks"), Deployments)
    for url in ("https://kv.vault.azure.net", "https://kv-gone.vault.azure.net"):
        assert isinstance(site.vault(url), KeyVault)


def test_a_cluster_that_got_another_server_is_another_one(tmp_path: Path) -> None:
    site = azure(tmp_path, ("clusters.aks.server", "https://a.hcp.weu.azmk8s.io"))
    assert site._api("aks") is site._api("aks")  # noqa: SLF001 - pools are kept per server
    assert site._api("aks") is not site.file._api("aks")  # noqa: SLF001


# -- who decides


class Hub(FakeClient):
    """The hub of a rotation that was planned with an entry."""

    def __init__(self, entry: str | None) -> None:
        super().__init__()
        self.entry = entry

    async def get_status(self, instance_id: str, **options: Any) -> Instance | None:
        if instance_id != f"{ROTATION}.prepare.api":
            return await super().get_status(instance_id)
        found = Part(
            Reference(rotation=ROTATION, credential="orders-db", entry=self.entry),
            Retry(1.0),
            WorkloadTimes(1.0, 1.0),
        )
        given = json.dumps(wire.value_of(found)) if options.get("show_input") else None
        return Instance(instance_id, "prepare_workload", None, given)


ANN, BEN = "ann@example.org", "ben@example.org"
PLANNED = configuration(approvers=[ANN])


def decided(today: Configuration, by: str, choice: Any, entry: str | None = None) -> Any:
    site = MemoryEdges(PLANNED)
    site.configuration = today
    hub: Any = Hub(entry or kept.keep(PLANNED, "orders-db"))
    seen = rotations.describe(hub.instance)
    return asyncio.run(rotations.decide(site, hub, seen, keyed(by, "http"), choice, ""))


def gone() -> Configuration:
    renamed = {"billing-db": PLANNED.credentials["orders-db"]}
    return PLANNED.model_copy(update={"credentials": renamed})


@pytest.mark.parametrize("choice", ["approve", "reject"])
def test_whoever_was_taken_off_the_list_decides_no_more(choice: str) -> None:
    result = decided(configuration(approvers=[BEN]), ANN, choice)
    assert isinstance(result, rotations.NotAllowed)
    assert isinstance(decided(configuration(approvers=[BEN]), BEN, choice), rotations.Recorded)


def test_a_rotation_whose_entry_is_gone_is_rejected_and_not_approved() -> None:
    result = decided(gone(), ANN, "approve")
    assert isinstance(result, rotations.NotAllowed)
    assert "credentials.yaml has no credential orders-db any more" in result.reason
    assert isinstance(decided(gone(), BEN, "reject"), rotations.NotAllowed)
    assert isinstance(decided(gone(), ANN, "reject"), rotations.Recorded)


def test_what_an_earlier_release_planned_cannot_be_decided_without_its_entry() -> None:
    site = MemoryEdges(PLANNED)
    site.configuration = gone()
    hub: Any = Hub(None)
    with pytest.raises(ConfigurationError):
        asyncio.run(standing(site, hub, rotations.describe(hub.instance)))


def test_who_looks_sees_what_the_file_says_by_now() -> None:
    site = MemoryEdges(PLANNED)
    site.configuration = configuration(approvers=[ANN, BEN])
    hub: Any = Hub(kept.keep(PLANNED, "orders-db"))
    found = asyncio.run(standing(site, hub, rotations.describe(hub.instance)))
    assert found.changed == [f"{CREDENTIAL}.approval.approvers.1: is new: '{BEN}'"]
    assert found.edges.configuration == kept.read(hub.entry)
    assert record()["outcome"] is None


def test_what_runs_is_looked_at_with_its_entry_and_what_has_ended_with_the_file() -> None:
    site = MemoryEdges(PLANNED)
    site.configuration = gone()
    hub: Any = Hub(kept.keep(PLANNED, "orders-db"))
    seen = rotations.describe(hub.instance)
    planned = asyncio.run(planned_edges(site, hub, seen))
    assert planned.configuration == kept.read(hub.entry)
    seen.outcome = Outcome.COMPLETED
    assert asyncio.run(planned_edges(site, hub, seen)) is site


@pytest.mark.parametrize(("shown", "changed"), [({}, 1), ({"approval": None}, 0)])
def test_only_of_what_waits_the_answer_says_what_the_file_says_by_now(
    shown: dict[str, Any], changed: int
) -> None:
    site = MemoryEdges(PLANNED)
    site.configuration = configuration(approvers=[ANN, BEN])
    hub: Any = Hub(kept.keep(PLANNED, "orders-db"))
    hub.shown |= shown
    found = asyncio.run(_compared(site, hub, None, hub.instance.instance_id))
    assert len(found.changed or []) == changed


# -- what people are told


def page(today: Configuration, **changes: Any) -> str:
    site = MemoryEdges(PLANNED, active=SERVING)
    site.configuration = today
    hub: Any = Hub(kept.keep(PLANNED, "orders-db"))
    hub.shown |= changes
    seen = rotations.describe(hub.instance)
    who = Visitor(None, "key", "key")
    shown = asyncio.run(routes.show(routes.Site(site, hub), who, seen))
    return shown.get_body().decode()


def test_the_page_says_what_has_changed_and_shows_what_was_planned() -> None:
    moved = configuration(approvers=[ANN])
    workload = moved.credentials["orders-db"].workloads[0]
    renamed = workload.model_copy(update={"deployments": {"blue": "b2", "green": "g2"}})
    entry = moved.credentials["orders-db"].model_copy(update={"workloads": [renamed]})
    text = page(moved.model_copy(update={"credentials": {"orders-db": entry}}))
    assert "Changed in credentials.yaml since" in text
    assert f"{CREDENTIAL}.workloads.api.deployments.green: was &#39;api-green&#39;" in text
    assert "2 tests passed" not in text
    assert "1 test passed through production" in text
    assert "deployment/api-green" in text
    assert "Changed in credentials.yaml" not in page(PLANNED)


def test_the_page_of_one_whose_entry_is_gone_offers_to_reject() -> None:
    site = page(gone())
    assert f"{CREDENTIAL}: is gone" in site
    assert "Reject" in site


def test_the_page_says_what_became_of_releases() -> None:
    left = {"code": "release-left-behind", "text": "green serves with app:1", "remedy": "deploy"}
    assert "green serves with app:1" in page(PLANNED, releases=[left])


def test_the_page_shows_what_a_workload_waits_for() -> None:
    """A slow starter is no failure, and whoever looks is told what the rotation waits for."""
    site = MemoryEdges(PLANNED, active=SERVING)
    hub: Any = Hub(kept.keep(PLANNED, "orders-db"))
    hub.shown |= {"stage": "prepare", "approval": None}
    seen = rotations.describe(hub.instance)
    seen.workloads, seen.waits = {"api": Progress.AWAIT_READY}, {"api": "0 of 2 pods are ready"}
    shown = asyncio.run(routes.show(routes.Site(site, hub), Visitor(None, "key", "key"), seen))
    text = shown.get_body().decode()
    assert "waiting for its pods" in text
    assert "0 of 2 pods are ready" in text


def test_the_page_shows_what_was_doubtful_when_it_was_planned() -> None:
    doubt = {"code": "secret-newline", "text": "it ends in a line break", "remedy": "write it anew"}
    text = page(PLANNED, doubts=[doubt])
    assert "Seen when it was planned" in text
    assert "it ends in a line break" in text
    assert "Seen when it was planned" not in page(PLANNED)


class Starter:
    """The durable client, as far as telling needs it."""

    def __init__(self) -> None:
        self.started: list[tuple[str, Any]] = []

    async def get_status(self, instance_id: str, **_: Any) -> None:
        del instance_id

    async def start_new(self, name: str, instance_id: str, value: Any) -> str:
        self.started.append((name, value))
        return instance_id


NOTICE = Notice(
    kind=Announcement.AWAITING_APPROVAL,
    number=2,
    time=wire.Moment("2027-03-01T12:00:00.000Z"),
    request=Request(
        rotation="r-1", credential="orders-db", origin=Origin.MANUAL, requested_by="", reason=""
    ),
)


@pytest.mark.parametrize("entry", [ENTRY, None])
def test_an_event_is_published_with_what_it_was_planned_with(entry: str | None) -> None:
    site, hub = MemoryEdges(FILE, Settings(topic="https://topic.example")), Starter()
    given = reference(entry, notice=NOTICE)
    client: Any = hub
    answer = asyncio.run(notify_and_publish(site, client, wire.value_of(given)))
    assert answer == ({} if entry is None else {"changed": []})
    ((name, value),) = hub.started
    assert name == "publish"
    event = value if entry is None else value["event"]
    assert (event["id"], value.get("entry")) == ("r-1.2", entry)


@pytest.mark.parametrize(
    ("today", "asked"), [(configuration(approvers=[BEN]), [BEN]), (gone(), [ANN])]
)
def test_those_are_asked_whom_the_file_names_now(today: Configuration, asked: list[str]) -> None:
    site, hub = MemoryEdges(PLANNED, Settings(topic="https://topic.example")), Starter()
    site.configuration = today
    client: Any = hub
    entry = kept.keep(PLANNED, "orders-db")
    given = wire.value_of(reference(entry, notice=NOTICE))
    assert asyncio.run(notify_and_publish(site, client, given))["changed"]
    assert hub.started[0][1]["event"]["data"]["approvers"] == asked


def test_a_file_that_cannot_be_read_is_told_of_too() -> None:
    class Unreadable(MemoryEdges):
        @property
        def configuration(self) -> Configuration:
            raise ConfigurationError("credentials.yaml", ["vault: is missing"])

        @configuration.setter
        def configuration(self, value: Configuration) -> None:
            pass

        def planned(self, configuration: Configuration) -> Any:
            return MemoryEdges(configuration)

    step = Step(Unreadable(FILE), reference())
    assert step.changed == ["credentials.yaml: has 1 problem(s) and cannot be used"]
    assert step.credential == FILE.credential("orders-db")
