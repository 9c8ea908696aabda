"""Checks what must hold between the sections of `credentials.yaml`.

Looked up in the file as it was read, so that a problem in one section hides none of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rotation.config.document import at, dotted
from rotation.config.fields import origin, shown
from rotation.decisions import templates
from rotation.model.world import SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import document

    Problem = tuple[document.Path, str]


def problems(file: document.Mapping) -> list[Problem]:
    """The clusters that do not exist, what stands there twice, names that cannot be replaced, and
    what does not go with, or without, a preview Service; each with its path."""
    return [
        *_references(file),
        *_repeats(file),
        *_left_alone(file),
        *_made_from(file),
        *_names(file),
        *_uncalled(file),
        *_unnamed(file),
        *_exchanged(file),
    ]


def _references(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each workload whose cluster is not in `clusters`."""
    known = file.get("clusters")
    names = sorted(map(str, known)) if isinstance(known, dict) else []
    for path, name in at(file, "credentials", "*", "workloads", "*", "cluster"):
        if isinstance(name, str) and name not in names:
            yield path, f"{shown(name)} is not in clusters; there are: {', '.join(names) or 'none'}"


def _names(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each workload with names that a pod template cannot be searched for: without
    the slot's word in them, they may stand for something else there."""
    for (_, name), credential in at(file, "credentials", "*"):
        base: document.Path = ("credentials", name)
        logins = [
            ((*path, key), login.get(key))
            for path, login in at(credential, "slots", "*", path=base)
            for key in ("role", "secret")
            if isinstance(login, dict)
        ]
        for path, workload in at(credential, "workloads", "*", path=base):
            if _get(workload, "template") != "sync":
                continue
            deployments = at(workload, "deployments", "*", path=path)
            for where, value in [*logins, *deployments, *at(workload, "secrets", "*", path=path)]:
                slot = next(str(part) for part in reversed(where) if part not in {"role", "secret"})
                if isinstance(value, str) and not templates.has_word(value, slot):
                    text = f"sync replaces names of slots: {shown(value)} has no {slot} in it"
                    yield (*path, "template"), f"{text}, and may stand for something else too"


def _uncalled(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each key of a workload that asks for a preview Service, or for none."""
    for path, workload, _ in _workloads(file):
        if _has(workload, "route"):
            continue  # its slots have Services of their own
        if _has(workload, "inPlace"):
            continue
        if isinstance(workload, dict) and "service" not in workload:
            yield (*path, "service"), "is missing"
        if _has(workload, "preview"):
            if _has(workload, "overlap"):
                text = "goes with a workload that nothing calls, and that has no `preview`"
                yield (*path, "overlap"), f"{text}: where clients call, both slots' pods stay"
            continue
        for where, _ in at(workload, "tests", "*", "path", path=path):
            if _has(workload, "cronJobs"):
                yield where, "does not go with `cronJobs`, which nobody calls: `sql` and `url` do"
                continue
            text = "needs `preview`, the Service that leads to the slot which does not serve yet"
            yield where, f"{text}; a workload that nothing calls has neither"


def _unnamed(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each workload in place that would read another password under the same role."""
    for (_, name), credential in at(file, "credentials", "*"):
        if _get(credential, "format") not in (None, "password"):  # anything may stand there
            continue
        base: document.Path = ("credentials", name)
        for path, workload in at(credential, "workloads", "*", path=base):
            in_place = _get(workload, "inPlace")
            if isinstance(in_place, dict) and not _has(in_place, "roleKey"):
                text = "is needed with `format: password`, whose values name no role"
                yield (*path, "inPlace", "roleKey"), f"{text}: each slot has another one"


def _has(mapping: Any, key: str) -> bool:
    return isinstance(mapping, dict) and mapping.get(key) is not None


class Owned(NamedTuple):
    """A thing that one place of the file may have, or one owner at several places."""

    path: document.Path
    kind: str
    identity: tuple[object, ...]
    owner: tuple[object, ...]

    @property
    def whole(self) -> bool:
        """Whether each part of its identity is a name or a number."""
        return all(isinstance(part, str | int) for part in self.identity)


# Roles and secrets of logins that rotate others may be named by many credentials, and by no slot.
ADMIN = ("admin",)
# Kubernetes Secrets: one that a slot's pods read, by its key; one whose login is exchanged.
DELIVERED, EXCHANGED = "kubernetes secret", "exchanged secret"


def _repeats(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each thing that has two owners: two rotations at once would change it."""
    seen: dict[tuple[object, ...], Owned] = {}
    for thing in _owned(file):
        first = seen.setdefault((thing.kind, *thing.identity), thing)
        if first.owner != thing.owner:
            yield thing.path, f"is the same as {dotted(first.path, file)}{_advice(thing, first)}"


def _left_alone(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each Service or HTTPRoute that is to be left alone, and that the file moves or
    previews."""
    moved = {(thing.kind, *thing.identity): thing.path for thing in _owned(file)}
    for path, workload, space in _workloads(file):
        for kind, key in (("service", "otherServices.*"), ("route", "route.others.*")):
            for where, name in at(workload, *key.split("."), path=path):
                thing = Owned(where, kind, (*space, name), where)
                first = moved.get((kind, *thing.identity)) if thing.whole else None
                if first is not None:
                    text = "which a rotation points at a slot"
                    yield where, f"is the same as {dotted(first, file)}, {text}"


def _made_from(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each CronJob that a test's Job is made from, and that runs by schedule: the
    first must be suspended for good."""
    scheduled = {thing.identity: thing.path for thing in _owned(file) if thing.kind == "cron job"}
    for path, workload, space in _workloads(file):
        for where, test in at(workload, "tests", "*", "job", path=path):
            for name in _cron_jobs(test):
                thing = Owned(where, "cron job", (*space, name), where)
                first = scheduled.get(thing.identity) if thing.whole else None
                if first is not None:
                    text = f"{shown(name)} is {dotted(first, file)}, which runs by schedule"
                    yield where, f"{text}: a test takes a CronJob that is suspended for good"


def _cron_jobs(test: Any) -> list[str]:
    """The names of CronJobs in a test's `job`, in either way to write it."""
    if isinstance(test, str):
        return [test.replace("{slot}", slot) for slot in SLOTS]
    return [name for _, name in at(test, "cronJobs", "*") if isinstance(name, str)]


def _exchanged(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each Kubernetes Secret whose login is exchanged, and that a slot's pods read as
    well: it would hold the other slot's."""
    delivered = {thing.identity[:-1]: thing for thing in _owned(file) if thing.kind == DELIVERED}
    for thing in _owned(file):
        first = delivered.get(thing.identity) if thing.kind == EXCHANGED else None
        if first is not None:
            yield thing.path, f"is the same as {dotted(first.path, file)}"


def _advice(thing: Owned, first: Owned) -> str:
    """What to do about a Deployment of two credentials, which people do not take for a mistake."""
    if thing.kind != "deployment" or thing.path[1] == first.path[1]:
        return ""
    return (
        f": Deployment {thing.identity[-2]}/{thing.identity[-1]} cannot follow the slots of two "
        "credentials; give each Deployments of its own, or leave one of the logins out of this file"
    )


def _owned(file: document.Mapping) -> Iterator[Owned]:
    """Everything in the file that has one owner. What is no name is reported as what it is."""
    return (thing for thing in _things(file) if thing.whole)


def _things(file: document.Mapping) -> Iterator[Owned]:
    for path, credential in at(file, "credentials", "*"):
        yield from _logins(path, credential)
    for path, workload, space in _workloads(file):
        yield from _of_workload(path, workload, space)


def _workloads(file: document.Mapping) -> Iterator[tuple[document.Path, Any, tuple[object, ...]]]:
    """Each workload with its path, and the cluster and namespace that its things are in."""
    clusters = _clusters(file)
    for path, workload in at(file, "credentials", "*", "workloads", "*"):
        cluster = str(_get(workload, "cluster"))
        yield path, workload, (clusters.get(cluster, cluster), _get(workload, "namespace"))


def _logins(base: document.Path, credential: Any) -> Iterator[Owned]:
    """The secrets and roles of a credential's slots, and of the login that rotates them."""
    database = _get(credential, "database")
    admin = _get(database, "admin")
    vault, host = _get(credential, "vault"), _get(database, "host")
    server = (host.lower() if isinstance(host, str) else None, _port(database))
    secrets = [
        ((*base, "database", "admin", "secret"), _get(admin, "vault") or vault, ADMIN, admin),
        *(
            ((*path, "secret"), vault, path, login)
            for path, login in at(credential, "slots", "*", path=base)
        ),
    ]
    for where, of, owner, login in secrets:
        secret = _get(login, "secret")
        identity = (_origin(of), secret.lower() if isinstance(secret, str) else None)
        yield Owned(where, "secret", identity, owner)
    yield Owned((*base, "database", "admin", "role"), "role", (*server, _get(admin, "role")), ADMIN)
    for path, login in at(credential, "slots", "*", path=base):
        yield Owned((*path, "role"), "role", (*server, _get(login, "role")), path)


def _of_workload(path: document.Path, workload: Any, space: tuple[object, ...]) -> Iterator[Owned]:
    """A workload's name, Services, Deployments, and the keys of Kubernetes Secrets it reads; or
    what it has in their place, whose Secret no other workload may read."""
    credential = path[1]
    name = (*path, "name")
    yield Owned(name, "workload", (str(credential), _get(workload, "name")), name)
    for key in ("service", "preview"):
        where = (*path, key)
        yield Owned(where, "service", (*space, _get(workload, key)), where)
    for key in ("services", "route.backends"):
        for where, service in at(workload, *key.split("."), "*", path=path):
            yield Owned(where, "service", (*space, service), where)
    for key in ("route.name", "route.names.*"):
        for where, route in at(workload, *key.split("."), path=path):
            yield Owned(where, "route", (*space, route), where)
    for where, deployment in at(workload, "deployments", "*", path=path):
        yield Owned(where, "deployment", (*space, deployment), where)
    in_place = _get(workload, "inPlace")
    if isinstance(in_place, dict):
        where = (*path, "inPlace", "name")
        kind = _get(in_place, "kind")
        identity = (*space, _get(in_place, "name"))
        yield Owned(where, str(kind).lower(), identity, where)
        where = (*path, "inPlace", "secret")
        yield Owned(where, EXCHANGED, (*space, _get(in_place, "secret")), where)
    for where, cron_job in at(workload, "cronJobs", "*", path=path):
        yield Owned(where, "cron job", (*space, cron_job), where)
    key = _get(workload, "key") or "password"
    for where, secret in at(workload, "secrets", "*", path=path):
        # Several workloads may read what one slot of their credential writes.
        yield Owned(where, DELIVERED, (*space, secret, key), (credential, where[-1]))


def _clusters(file: document.Mapping) -> dict[str, str]:
    """What each cluster's name stands for: two names may stand for one API server."""
    servers = {}
    for path, cluster in at(file, "clusters", "*"):
        server, kubeconfig = _get(cluster, "server"), _get(cluster, "kubeconfig")
        if isinstance(server, str):
            servers[str(path[-1])] = _origin(server) or server
        elif isinstance(kubeconfig, str):
            servers[str(path[-1])] = f"{kubeconfig}#{_get(cluster, 'context') or ''}"
    return servers


def _origin(url: object) -> str | None:
    """The URL as `fields.origin` has it; None if it is none, which is reported as such."""
    try:
        return origin(url) if isinstance(url, str) else None
    except ValueError:
        return None


def _port(database: object) -> object:
    port = database.get("port", 5432) if isinstance(database, dict) else None
    return port if isinstance(port, int) else None


def _get(mapping: Any, key: str) -> Any:
    """The value of a key if it is a text or a mapping, else None: nothing large is looked at."""
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return value if isinstance(value, str | dict) else None
