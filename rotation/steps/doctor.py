"""Tries every precondition of a rotation now, without changing anything.

That is the look that `plan` decides on, and more beside it: what `plan` need not know, since a
rotation that lacks it is taken back before traffic moves, and what is only worth telling.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from rotation.decisions import plan, room
from rotation.decisions.room import Demand
from rotation.model.commands import Thing, told
from rotation.model.errors import EdgeError
from rotation.model.findings import found
from rotation.model.reasons import CODES, Code, reason
from rotation.model.world import other
from rotation.steps import asking, conditions, proving, wayback, windows, world
from rotation.steps.asking import title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from rotation.config import Credential, Workload, WorkloadTest
    from rotation.contracts.edges import Readers
    from rotation.model.findings import Finding
    from rotation.model.record import Request
    from rotation.model.world import Slot, Snapshot, WorkloadState
    from rotation.steps.world import World

    # What is looked at, and the look.
    Look = tuple[str, Callable[[], Iterable[Finding]]]

# What a rotation that is asked for now would do. `abort`: begin, and be taken back before traffic
# moves.
Would = Literal["rotate", "skip", "refuse", "wait", "abort"]

SECONDS = 20.0  # for all that is looked at beside the world
LARGEST_SKEW = timedelta(seconds=60)
HARMLESS = {"GET", "HEAD"}  # methods of tests that are made on what serves
PREFIX = "credential-rotation-"
# The policies of infra/kubernetes/guard.yaml and jobs-guard.yaml: of every namespace, and of what
# some workloads have.
GUARD = ("metadata", "services", "deployments", "traffic", "replicas", "scale")
EVERY = (*GUARD, "secrets", "in-place", "cronjobs", "routes", "weights", "jobs")


@dataclass(frozen=True)
class Examined:
    """What was found: `world` as a plan sees it; `findings`, those of the plan first; and what a
    rotation that `request` asks for would do."""

    world: World
    findings: tuple[Finding, ...]
    would: Would

    @property
    def ready(self) -> bool:
        return self.would == "rotate"


def examine(edges: Readers, name: str, credential: Credential, request: Request) -> Examined:
    """What stands in the way of a rotation that somebody asks for now. What cannot be looked at is
    among the findings. Raises `ConfigurationError`."""
    by_hand = credential.model_copy(update={"waive": list(request.waive)})
    seen = world.show(edges, name, by_hand, wayback.look)
    findings = [*seen.findings]
    if seen.seen is not None and seen.active is not None:
        findings += _beside(edges, credential, seen.seen, seen.active)
        decided = plan.plan(
            seen.seen, request, edges.now(), credential.rotate_before, request.waive
        )
        if isinstance(decided, plan.Skip):
            return Examined(seen, (*findings, found("tells", decided.reason)), "skip")
        if credential.hours and not request.outside_window:
            shut = windows.closed(credential, Thing("credential", name), edges.now())
            findings += [found("tells", why) for why in shut]
    return Examined(seen, tuple(findings), _would(findings))


def _would(findings: Iterable[Finding]) -> Would:
    severities = {one.severity for one in findings}
    if "refuses" in severities:
        return "refuse"
    if "waits" in severities:
        return "wait"
    return "abort" if "aborts" in severities else "rotate"


def unknown(findings: Iterable[Finding]) -> list[Finding]:
    """Those of the findings that say what could not be found out."""
    return [one for one in findings if one.code == Code.NOT_KNOWN]


def _beside(
    edges: Readers, credential: Credential, seen: Snapshot, active: Slot
) -> Iterator[Finding]:
    """What is looked at beside the world, side by side: each is another system."""
    looks = list(_looks(edges, credential, seen, active))
    calls = [partial(_noted, what, look) for what, look in looks]
    answers = edges.side_by_side(calls, SECONDS)
    for (what, _), findings in zip(looks, answers, strict=True):
        late = _not_known(what, f"no answer within {SECONDS:g} s")
        yield from [late] if findings is None else findings
    yield from _expiry(edges.now(), seen, credential, active)
    yield _unseen(credential, active)


def _looks(edges: Readers, credential: Credential, seen: Snapshot, active: Slot) -> Iterator[Look]:
    yield f"vault {credential.vault}", partial(_vault, edges, credential, active)
    yield f"server {_server(credential)}", partial(_database, edges, credential, active)
    if credential.conditions:
        yield "conditions of the credential", partial(conditions.findings, edges, credential)
    states = {state.name: state for state in seen.workloads}
    places: dict[tuple[str, str], list[Workload]] = {}
    for workload in credential.workloads:
        places.setdefault((workload.cluster, workload.namespace), []).append(workload)
    for (cluster, namespace), own in places.items():
        at = f"of namespace {namespace} in cluster {cluster}"
        yield f"quotas {at}", partial(_quotas, edges, cluster, namespace, own, states, active)
        yield f"guard {at}", partial(_guard, edges, cluster, namespace, own)
    for cluster in dict.fromkeys(cluster for cluster, _ in places):
        yield f"clock of cluster {cluster}", partial(_clock_of, edges, cluster)
    for workload in credential.workloads:
        what = f"tests of workload {workload.name}"
        yield what, partial(_tests, edges, credential, workload, active)


def _noted(what: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What a look finds; where it fails, that this is not known, and why."""
    try:
        return list(look())
    except EdgeError as error:
        return [_not_known(what, error.message)]


def _not_known(what: str, why: str) -> Finding:
    kind, _, name = what.partition(" ")
    return found("tells", told(Code.NOT_KNOWN, f"{what}: {why}", Thing(kind, name)))


def _server(credential: Credential) -> str:
    return f"{credential.database.host}:{credential.database.port}"


# The vault and the server


def _vault(edges: Readers, credential: Credential, active: Slot) -> Iterator[Finding]:
    """Only the standby's secret is asked about: should the vault take anything, nothing serves from
    there."""
    secret = credential.secret(other(active))
    standing = edges.vault(credential.vault).standing(secret)
    yield from _clock(f"vault {credential.vault}", standing.clock, edges.now())
    if standing.may_set is False:
        text = f"the app may not set secret {secret} in {credential.vault}"
        thing = Thing("secret", secret.name, more={"vault": credential.vault})
        yield found("aborts", told(Code.VAULT_DENIED, text, thing))
    elif standing.may_set is None:
        why = f"the vault does not say whether the app may set secret {secret}"
        yield _not_known(f"vault {credential.vault}", why)


def _database(edges: Readers, credential: Credential, active: Slot) -> Iterator[Finding]:
    database, names = credential.database, credential.slots
    role, standby = names[active].role, names[other(active)].role
    standing = edges.database(credential).standing([role, standby])
    what = f"server {_server(credential)}"
    yield from _clock(what, standing.clock, edges.now())
    at = {"host": database.host, "port": str(database.port), "dbname": database.maintenance}
    server = Thing("server", _server(credential), more=at)
    if any(workload.deployments for workload in credential.workloads):
        for text in room.crowded(standing, role, standby):
            yield found("aborts", told(Code.CONNECTIONS_SHORT, text, server))
    if standing.hashes != "scram-sha-256":
        text = f"password_encryption of {what} is {standing.hashes}"
        yield found("tells", told(Code.WEAK_HASHES, text, server))


def _expiry(
    now: datetime, seen: Snapshot, credential: Credential, active: Slot
) -> Iterator[Finding]:
    current = seen.slots[active].secret
    if current is None:
        return  # there is a refusal for that
    latest, thing = now + credential.validity, plan.secret_of(seen.slots[active])
    dated = Thing("secret", thing.name, more={**thing.more, "advised": f"{latest:%FT%TZ}"})
    what = f"the {active} slot serves, and the current version of its secret {current.secret}"
    if current.expires is None:
        yield found("tells", told(Code.NO_EVENT, f"{what} has no expiry date", dated))
    elif current.expires > latest + LARGEST_SKEW:
        days = credential.validity / timedelta(days=1)
        text = f"{what} expires at {current.expires:%F %T}, later than `validity`: {days:g} days"
        yield found("tells", told(Code.EXPIRES_LATE, text, dated))
    elif current.expires <= now:
        text = f"{what} has expired at {current.expires:%F %T}"
        yield found("tells", told(Code.EXPIRED, text, thing))


def _unseen(credential: Credential, active: Slot) -> Finding:
    """What is proved by `verify` alone, once the standby has a password."""
    role = credential.slots[other(active)].role
    why = f"whether pg_hba.conf lets role {role} in as it does the active one: a login shows it"
    return _not_known(f"server {_server(credential)}", why)


# The clusters


def _quotas(
    edges: Readers,
    cluster: str,
    namespace: str,
    workloads: list[Workload],
    states: dict[str, WorkloadState],
    active: Slot,
) -> Iterator[Finding]:
    limits = edges.access(cluster).limits(namespace)
    demands = list(
        chain.from_iterable(_demands(one, states[one.name], active) for one in workloads)
    )
    try:
        texts = list(room.short(limits, demands))
    except ValueError:  # in a template that the API server has taken
        texts = []
        yield _not_known(f"quotas of namespace {namespace}", "a pod template's resources")
    for name, text in texts:
        thing = Thing("ResourceQuota", name, namespace)
        yield found("aborts", told(Code.QUOTA_SHORT, f"cluster {cluster}: {text}", thing))


def _demands(workload: Workload, state: WorkloadState, active: Slot) -> Iterator[Demand]:
    """The pods that a rotation adds to a workload's, before any is gone."""
    if workload.deployments:
        serving, standby = state.deployments[active], state.deployments[other(active)]
        if serving is not None and standby is not None:
            own = standby if workload.template != "sync" else serving
            template = own.template.document if own.template else {}
            yield Demand(max(serving.replicas - standby.replicas, 0), template)
    if workload.jobs:
        yield Demand(len(workload.jobs), {})


def _guard(
    edges: Readers, cluster: str, namespace: str, workloads: list[Workload]
) -> Iterator[Finding]:
    access = edges.access(cluster)
    text = f"cluster {cluster}: namespace {namespace} has not the label of the guard"
    if access.labels(namespace).get("credential-rotation/guard") != "on":
        yield found("tells", told(Code.GUARD_MISSING, text, Thing("namespace", namespace)))
    for name in policies(workloads):
        if not access.enforced(name):
            text = f"cluster {cluster}: policy {name} is not there, or not bound to deny"
            thing = Thing("ValidatingAdmissionPolicy", name)
            yield found("tells", told(Code.GUARD_MISSING, text, thing))


def policies(workloads: Iterable[Workload]) -> list[str]:
    """The policies that guard such workloads, in the order of their names."""
    names: set[str] = set()
    for one in workloads:
        names |= set(GUARD)
        names |= {"secrets"} if one.delivery == "secret" or one.in_place else set()
        names |= {"in-place"} if one.in_place else set()
        names |= {"cronjobs"} if one.cron_jobs else set()
        names |= {"routes", "weights"} if one.route else set()
        names |= {"jobs"} if one.jobs else set()
    return [f"{PREFIX}{name}" for name in sorted(names)]


def _clock_of(edges: Readers, cluster: str) -> Iterator[Finding]:
    yield from _clock(f"cluster {cluster}", edges.access(cluster).clock(), edges.now())


def _clock(whose: str, there: datetime | None, here: datetime) -> Iterator[Finding]:
    kind, _, name = whose.partition(" ")
    if there is None or abs(there - here) <= LARGEST_SKEW:
        return
    ahead = (there - here).total_seconds()
    side = "ahead of" if ahead > 0 else "behind"
    text = f"the clock of {whose} is {abs(ahead):.0f} s {side} the app's"
    yield found("tells", told(Code.CLOCK_DIFFERS, text, Thing(kind, name)))


# The tests


def _tests(
    edges: Readers, credential: Credential, workload: Workload, active: Slot
) -> Iterator[Finding]:
    """The workload's tests, each once, on the slot that serves: through production, as clients ask.

    The standby has no pods that could be asked. What a test of another method does to what serves
    is not known here, so that it is not made; nor are Jobs.
    """
    harmless = [one for one in workload.tests if one.job is None and one.method in HARMLESS]
    once = [one.model_copy(update={"repeat": 1}) for one in harmless]
    trial = workload.model_copy(update={"tests": once})
    until = edges.now().timestamp() + min(asking.TOGETHER, SECONDS - 1.0)
    for result in proving.run_tests(edges, credential, trial, active, "service", until):
        if result.problem is None:
            continue
        code = CODES.get(result.code or "", Code.TESTS_FAILED)
        text = f"workload {workload.name}: test {result.test} on {active}: {result.problem}"
        why = replace(
            reason(code, text),
            object=f"workload {workload.name}",
            command=workload.logs(active),
        )
        yield found("aborts", why)
    untried = [_untried(one) for one in workload.tests if one not in harmless]
    if untried:
        kept_from = f"{'; '.join(untried)}: not made on what serves"
        yield _not_known(f"workload {workload.name}", kept_from)


def _untried(test: WorkloadTest) -> str:
    return "a Job" if test.job is not None else f"test {title(test)}"
