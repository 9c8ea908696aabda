"""Asks what a rotation of a credential may do: the API servers of its clusters, and its server.

Nothing is tried. infra/kubernetes/rbac.yaml and the Roles beside its examples grant just what is
asked here: tests/infra/test_rights.py compares them.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from rotation.model.commands import Thing, told
from rotation.model.errors import EdgeError
from rotation.model.findings import found
from rotation.model.preconditions import Right
from rotation.model.reasons import Code
from rotation.model.words import few
from rotation.model.world import SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import Credential, JobTest, Workload, WorkloadTest
    from rotation.contracts.access import AccessReader
    from rotation.contracts.edges import Readers
    from rotation.model.findings import Finding
    from rotation.model.preconditions import Known
    from rotation.model.reasons import Reason
    from rotation.model.targets import Kind, ServiceTarget
    from rotation.model.world import Snapshot, WorkloadState

SECONDS = 10.0  # in which all questions are answered, or are not: a plan has 55 for everything
MOST = 5  # rights of a workload that are told of each by itself
# How the API server calls a method of its proxy.
PROXIED = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
PLURAL: dict[Kind, str] = {
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
}
GATEWAY = "gateway.networking.k8s.io"
EVENT = ("events", "create")  # without it rotations go on


def problems(edges: Readers, credential: Credential, seen: Snapshot) -> Iterator[Reason | Finding]:
    """A reason for each right in a cluster that a rotation needs and the app has not, and a finding
    for what the API server does not say."""
    states = {state.name: state for state in seen.workloads}
    wanted: dict[tuple[str, Right], str] = {}  # the workload that needs it first
    for workload in credential.workloads:
        for right in needed(workload, states[workload.name]):
            wanted.setdefault((workload.cluster, right), workload.name)
    asked = [partial(_may, edges.access(cluster), right) for cluster, right in wanted]
    answers = edges.side_by_side(asked, SECONDS)
    unsaid: dict[str, list[str]] = {}
    missing: dict[tuple[str, str], list[Right]] = {}
    for ((cluster, right), whose), answer in zip(wanted.items(), answers, strict=True):
        if answer is None:
            unsaid.setdefault(cluster, []).append(f"{right} in {right.namespace}")
        elif not answer:
            missing.setdefault((whose, cluster), []).append(right)
    for (whose, cluster), lacking in missing.items():
        yield from (_missing(whose, cluster, right) for right in lacking[:MOST])
        if len(lacking) > MOST:
            yield _more_missing(whose, cluster, lacking[MOST:])
    for cluster, rights in unsaid.items():
        text = f"cluster {cluster} does not say whether the app may: {few(rights)}"
        yield found("tells", told(Code.NOT_KNOWN, text, Thing("cluster", cluster)))


def _may(access: AccessReader, right: Right) -> Known:
    """Whether the app has the right; None where the API server does not say, for whatever reason:
    what cannot be asked keeps no rotation from what it may do."""
    try:
        return access.may(right)
    except EdgeError:
        return None


def _missing(workload: str, cluster: str, right: Right) -> Reason | Finding:
    thing = Thing(right.resource, right.name or "(all)", right.namespace)
    text = f"workload {workload}: in cluster {cluster} the app may not {right}"
    why = told(Code.RIGHT_MISSING, f"{text} in namespace {right.namespace}: {right.command}", thing)
    optional = (right.resource, right.verb) == EVENT
    return found("tells", why) if optional else why


def _more_missing(workload: str, cluster: str, rights: list[Right]) -> Reason:
    """One reason for all that is missing besides: a whole Role has more than an event can hold for
    many workloads."""
    thing = Thing("Role", "(all)", rights[0].namespace)
    text = f"workload {workload}: in cluster {cluster} the app may not"
    return told(Code.RIGHT_MISSING, f"{text} {few([str(right) for right in rights])}", thing)


def of_server(edges: Readers, credential: Credential) -> Iterator[Reason | Finding]:
    """What the login that rotates lacks on the server, and a standby that may not connect; or that
    the server does not say. Raises what the edge raises where it may by and by."""
    names = {slot: credential.slots[slot].role for slot in SLOTS}
    database, rotator = credential.database, credential.database.admin.role
    server = {"host": database.host, "port": str(database.port), "dbname": database.maintenance}
    login = Thing("login", rotator, more=server)
    try:
        standing = edges.database(credential).standing(list(names.values()))
    except EdgeError as error:
        if error.transient:
            raise
        # Its catalogue is closed to the login: what a rotation itself reads there it has read.
        text = f"what login {rotator} may do: {error.message}"
        yield found("tells", told(Code.NOT_KNOWN, text, login))
        return
    if not standing.creates:
        text = f"login {rotator} lacks CREATEROLE: it may give and take no login"
        yield told(Code.ROLE_NOT_OURS, text, login)
    for name in names.values():
        role = standing.roles.get(name)
        if role is None:
            continue  # the plan has a refusal for that
        if standing.creates and not role.alterable:
            text = f"login {rotator} may not alter role {name}: it lacks ADMIN over it"
            thing = Thing("role", name, more={**server, "rotator": rotator})
            yield told(Code.ROLE_NOT_OURS, text, thing)
        if not role.connects:
            text = f"role {name} has no CONNECT on database {database.name}"
            at = Thing("role", name, more={**server, "dbname": database.name})
            yield told(Code.LOGIN_CONNECT, text, at)
    if not standing.ends:
        text = f"login {rotator} may not end sessions of {names['blue']} and {names['green']}"
        yield told(Code.SERVER_RIGHT, text, login)
    if not standing.sees:
        text = f"login {rotator} does not see what others' sessions do: each counts as in use"
        yield found("tells", told(Code.SERVER_RIGHT, text, login))


def needed(workload: Workload, state: WorkloadState) -> Iterator[Right]:
    """Every right in its cluster that a rotation of the workload uses, some of them twice.

    A test through a Service that is not there, and whose port is not in the file, asks for none.
    """
    yield Right(workload.namespace, "", "events", "create")
    yield from _of_tests(workload, state)
    if workload.in_place is not None:
        yield from _in_place(workload)
        return
    yield from _of_traffic(workload)
    yield Right(workload.namespace, "", "pods", "list")
    for slot in SLOTS:
        key = workload.secret_key(slot)
        if key is not None:
            yield Right(workload.namespace, "", "secrets", "patch", key.name)
    yield from _of_cron_jobs(workload) if workload.cron_jobs else _of_deployments(workload)


def _of_traffic(workload: Workload) -> Iterator[Right]:
    at = partial(Right, workload.namespace)
    for target in workload.productions:
        if target.kind == "Service":
            yield from (at("", "services", verb, target.name) for verb in ("get", "patch"))
        else:
            yield from (at(GATEWAY, "httproutes", verb, target.name) for verb in ("get", "patch"))
            yield at(GATEWAY, "httproutes", "list")
    for backend in workload.backends.values():
        yield at("", "services", "get", backend.name)
    if workload.standby is not None:
        yield from (at("", "services", verb, workload.standby.name) for verb in ("get", "patch"))


def _of_cron_jobs(workload: Workload) -> Iterator[Right]:
    at = partial(Right, workload.namespace, "batch")
    yield at("jobs", "list")
    for name in workload.cron_jobs.values():
        yield from (at("cronjobs", verb, name) for verb in ("get", "patch"))


def _of_deployments(workload: Workload) -> Iterator[Right]:
    at = partial(Right, workload.namespace)
    for name in workload.deployments.values():
        yield from (at("apps", "deployments", verb, name) for verb in ("get", "watch", "patch"))
    yield at("", "pods", "watch")
    yield at("apps", "replicasets", "list")
    yield at("", "services", "list")
    yield at("discovery.k8s.io", "endpointslices", "list")


def _in_place(workload: Workload) -> Iterator[Right]:
    settings = workload.in_place
    if settings is None:
        return
    at = partial(Right, workload.namespace)
    for verb in ("get", "patch"):
        yield at("", "secrets", verb, settings.secret)
        yield at("apps", PLURAL[settings.kind], verb, settings.name)
    yield at("", "pods", "list")
    if settings.kind == "Deployment":
        yield at("apps", "replicasets", "list")


def _of_tests(workload: Workload, state: WorkloadState) -> Iterator[Right]:
    for test in workload.tests:
        if test.job is not None:
            yield from _of_job(workload, test.job)
        if test.path is not None:
            yield from _of_proxy(workload, test, state)


def _of_job(workload: Workload, job: JobTest) -> Iterator[Right]:
    at = partial(Right, workload.namespace)
    yield from (at("batch", "jobs", verb) for verb in ("create", "get", "list", "watch"))
    yield from (at("batch", "cronjobs", "get", name) for name in job.cron_jobs.values())
    yield at("", "pods", "list")
    yield at("", "services", "list")
    yield at("discovery.k8s.io", "endpointslices", "list")


def _of_proxy(workload: Workload, test: WorkloadTest, state: WorkloadState) -> Iterator[Right]:
    verb = PROXIED.get(test.method, "get")
    for slot, serves in product(SLOTS, (True, False)):
        target = workload.asked(slot, serves=serves)
        own = test.port or target.port
        if own is None:
            yield Right(workload.namespace, "", "services", "get", target.name)
        port = own or _first_port(target, state)
        if port:
            name = f"{test.scheme}:{target.name}:{port}"
            yield Right(workload.namespace, "", "services/proxy", verb, name)


def _first_port(target: ServiceTarget, state: WorkloadState) -> str:
    """The first port of the workload's Service, as it was seen; empty for one that is not there."""
    routes = {**state.productions, state.names.preview: state.preview}
    routes |= {state.names.backends.get(slot, ""): route for slot, route in state.backends.items()}
    route = routes.get(str(target))
    return route.port if route else ""
