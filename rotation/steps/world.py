"""One look at a credential's world: its slots and workloads as they are, and what is found there.

`plan` decides on it before anything changes; the API, the pages and the samples show the very same.
A new precondition of rotations is a look in `_beside`, or a problem that `decisions.plan` sees in
the snapshot. Nothing here changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from rotation.decisions import plan
from rotation.model.commands import Thing, told
from rotation.model.errors import RotationError
from rotation.model.findings import Finding, found
from rotation.model.reasons import Code
from rotation.model.world import (
    SLOTS,
    Drift,
    LoginNames,
    SlotState,
    Snapshot,
    WorkloadNames,
    WorkloadState,
)
from rotation.steps import (
    cron_jobs,
    exchanging,
    jobs,
    proving,
    rights,
    shared,
    strangers,
    wayback,
    windows,
)
from rotation.steps.drift import drift
from rotation.steps.explaining import explain
from rotation.steps.wayback import WayBack

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from rotation.config import Credential, Workload
    from rotation.contracts.edges import Readers
    from rotation.decisions.plan import Unhealthy
    from rotation.model.findings import Severity
    from rotation.model.reasons import Reason
    from rotation.model.world import Maker, Role, SecretVersion, Slot

    # How a way back is looked for: see `wayback.look`.
    Prove = Callable[[Readers, Credential, Slot, SlotState], WayBack]

T = TypeVar("T")

NOTHING_WRONG = WayBack()


@dataclass(frozen=True)
class World:
    """A credential's world at one moment, and all that was found there, in the order of the looks.

    `seen` is None where not all of it could be seen; the findings say why then. `login` is what was
    found of the login that serves, among the findings too.
    """

    credential: str
    seen: Snapshot | None
    findings: tuple[Finding, ...]
    login: WayBack = NOTHING_WRONG

    @property
    def active(self) -> Slot | None:
        return plan.active_slot(self.seen) if self.seen else None

    def reasons(self, severity: Severity) -> list[Reason]:
        """The reasons of the findings of one severity, in their order."""
        return [one.reason for one in self.findings if one.severity == severity]


class Failures:
    """What becomes of a look that fails: it raises, since a half-seen world is no ground for a
    decision."""

    def attempt(self, look: Callable[[], T], about: Thing) -> T | None:  # noqa: ARG002 - see Noted
        """What the look returns. Raises what that raises."""
        return look()


class Noted(Failures):
    """Each look that fails becomes a finding about its object, for whoever only wants to know."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    @property
    def passing(self) -> bool:
        """Whether a server did not answer: the looks that are left would wait for it as well."""
        return any(one.severity == "waits" for one in self.findings)

    def attempt(self, look: Callable[[], T], about: Thing) -> T | None:
        """What the look returns; None where it fails."""
        try:
            return look()
        except RotationError as error:
            why = replace(error.reason, object=str(about))
            self.findings.append(found("waits" if error.transient else "refuses", why))
            return None


def show(edges: Readers, name: str, credential: Credential, prove: Prove | None = None) -> World:
    """The world of a credential, with what could not be looked at among the findings."""
    failures = Noted()
    seen = _snapshot_noted(edges, name, credential, failures)
    if seen is None:
        return World(name, None, tuple(failures.findings))
    world = look(edges, credential, seen, credential.waive, failures, prove)
    return World(name, seen, (*world.findings, *failures.findings), world.login)


def look(
    edges: Readers,
    credential: Credential,
    seen: Snapshot,
    waive: Collection[str] = (),
    failures: Failures | None = None,
    prove: Prove | None = None,
) -> World:
    """The world that was seen, with all that is found there. `waive` are codes that do not count.

    Without an active slot nothing else is looked at. Raises what the edges raise, unless `failures`
    notes it.
    """
    failures, active = failures or Failures(), plan.active_slot(seen)
    findings = [found("refuses", why, waive) for why in plan.problems(seen, active)]
    if active is None:
        return World(seen.credential, seen, tuple(findings))
    way = _way_back(edges, credential, seen, failures, prove)
    findings += [found("refuses", why, waive) for why in way.problems]
    about = Thing("credential", seen.credential)
    for each in _beside(edges, credential, seen):
        if isinstance(failures, Noted) and failures.passing:
            break
        others = failures.attempt(lambda each=each: list(each), about)  # type: ignore[misc]
        findings += [_standing(one, waive) for one in others or ()]
    findings += [_waiting(edges, credential, one, waive) for one in plan.unhealthy(seen, active)]
    state = seen.slots[active]
    secret = plan.secret_of(state)
    late = windows.doubts(credential, state.secret, secret, edges.now())
    tells = (*way.doubts, *proved_by_sessions(credential), *plan.doubts(seen, active), *late)
    findings += [found("tells", why) for why in tells]
    return World(seen.credential, seen, tuple(findings), way)


def _beside(
    edges: Readers,
    credential: Credential,
    seen: Snapshot,
) -> Iterator[Iterable[Reason | Finding]]:
    """The looks for what forbids a rotation and is in no snapshot, each of which raises what the
    edges raise: whatever else leads to the slots' pods, and tests that cannot be made.

    Whoever adds a precondition adds its look here: an iterator of reasons, for each of which a
    rotation is refused, or of findings with another severity.
    """
    yield strangers.problems(edges, credential)
    yield proving.problems(edges, credential)
    yield jobs.problems(edges, credential)
    yield proving.in_use(edges, credential)
    yield rights.problems(edges, credential, seen)
    yield rights.of_server(edges, credential)


def _standing(one: Reason | Finding, waive: Collection[str]) -> Finding:
    if isinstance(one, Finding):
        return found(one.severity, one.reason, waive)
    return found("refuses", one, waive)


def _way_back(
    edges: Readers,
    credential: Credential,
    seen: Snapshot,
    failures: Failures,
    prove: Prove | None,
) -> WayBack:
    """The way back to the active slot, first of all: pods may be unhealthy for what is found."""
    active = plan.active_slot(seen)
    if active is None:
        return WayBack()
    state, prove = seen.slots[active], prove or wayback.look
    way = failures.attempt(lambda: prove(edges, credential, active, state), plan.secret_of(state))
    return way or WayBack()


def _waiting(
    edges: Readers, credential: Credential, one: Unhealthy, waive: Collection[str]
) -> Finding:
    """The finding of an active Deployment that is not healthy, with why, as its pods show it."""
    finding = found("waits", one.reason, waive)
    if finding.severity != "waits":
        return finding
    workload = credential.workload(one.workload)
    pods = edges.pods(workload.cluster)
    why = explain(pods, workload.deployment(one.slot), one.serving, one.why)
    return replace(finding, text=one.text(why.text))


def proved_by_sessions(credential: Credential) -> Iterator[Reason]:
    """A doubt for each workload of which no test names the role that serves."""
    for workload in credential.workloads:
        if not workload.names_role:
            known_by = {"pods": "its pods", "nodes": "its pods' nodes"}.get(
                str(workload.addresses), "its addresses"
            )
            text = f"workload {workload.name}: sessions from {known_by} prove which role serves"
            if workload.cron_jobs:
                text += "; before the swap none of its Jobs runs"
            yield told(Code.PROOF_BY_SESSIONS, text, Thing("workload", workload.name))


# What is seen


def snapshot(edges: Readers, name: str, credential: Credential) -> Snapshot:
    """The slots and workloads of a credential as they are now. Raises what the edges raise."""
    roles = _roles(edges, credential)
    secrets = _secrets(edges, credential)
    workloads = [_workload_state(edges, credential, one) for one in credential.workloads]
    return Snapshot(name, _slots(credential, roles, secrets), tuple(workloads))


def _snapshot_noted(
    edges: Readers, name: str, credential: Credential, failures: Noted
) -> Snapshot | None:
    """The same; None where a part of it could not be seen. What can be is looked at all the same:
    each is another system, and may have a fault of its own."""
    server = Thing("server", f"{credential.database.host}:{credential.database.port}")
    roles = failures.attempt(lambda: _roles(edges, credential), server)
    vault = Thing("vault", credential.vault)
    secrets = failures.attempt(lambda: _secrets(edges, credential), vault)
    workloads = [
        failures.attempt(
            lambda one=one: _workload_state(edges, credential, one),  # type: ignore[misc]
            Thing("workload", one.name),
        )
        for one in credential.workloads
    ]
    whole = [one for one in workloads if one is not None]
    if roles is None or secrets is None or len(whole) < len(workloads):
        return None
    return Snapshot(name, _slots(credential, roles, secrets), tuple(whole))


def _roles(edges: Readers, credential: Credential) -> dict[str, Role]:
    return edges.database(credential).roles([credential.slots[slot].role for slot in SLOTS])


def _secrets(edges: Readers, credential: Credential) -> dict[Slot, SecretVersion | None]:
    vault = edges.vault(credential.vault)
    return {slot: vault.current(credential.secret(slot)) for slot in SLOTS}


def _slots(
    credential: Credential, roles: dict[str, Role], secrets: dict[Slot, SecretVersion | None]
) -> dict[Slot, SlotState]:
    server = credential.database
    at = {"host": server.host, "port": str(server.port), "dbname": server.name}
    return {
        slot: SlotState(
            role=roles.get(login.role),
            secret=secrets[slot],
            names=LoginNames(login.role, login.secret, credential.vault, at),
        )
        for slot, login in ((slot, credential.slots[slot]) for slot in SLOTS)
    }


def _workload_state(edges: Readers, credential: Credential, workload: Workload) -> WorkloadState:
    if workload.in_place:
        return exchanging.state(edges, credential, workload)
    if workload.cron_jobs:
        return cron_jobs.state(edges, credential, workload)
    traffic, pods = edges.traffic(workload.cluster), edges.pods(workload.cluster)
    production = traffic.route(workload.production)
    preview = traffic.route(workload.standby) if workload.standby else None
    deployments = {slot: pods.deployment(workload.deployment(slot)) for slot in SLOTS}
    active = next((slot for slot in SLOTS if production and production.slot == slot), None)
    makers: dict[Slot, tuple[Maker, ...]] = {}
    for slot in SLOTS:
        seen = deployments[slot]
        if seen is None or (slot == active and not seen.replicas):
            selector = shared.selector(traffic, workload, slot)
            makers[slot] = tuple(pods.makers(workload.namespace, selector)) if selector else ()
    return WorkloadState(
        name=workload.name,
        at=str(workload.production),
        production=production,
        preview=preview,
        deployments=deployments,
        cluster=workload.cluster,
        drift=drift(credential, workload, active, deployments)
        if active
        else Drift(workload.template),
        further={str(target): traffic.route(target) for target in workload.productions[1:]},
        uncalled=not workload.called,
        stops=workload.stops,
        makers=makers,
        kind=workload.production.kind,
        backends={slot: traffic.route(target) for slot, target in workload.backends.items()},
        names=WorkloadNames(
            preview=str(workload.standby or ""),
            slots={slot: str(workload.deployment(slot)) for slot in SLOTS},
            backends={slot: str(target) for slot, target in workload.backends.items()},
            label=workload.selector_label,
        ),
    )
