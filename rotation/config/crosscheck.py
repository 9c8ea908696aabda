"""Checks what must hold between the sections of `credentials.yaml`.

Looked up in the file as it was read, so that a problem in one section hides none of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rotation.config.document import at, dotted
from rotation.config.fields import origin, shown
from rotation.decisions import templates

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
        *_names(file),
        *_uncalled(file),
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
        if _has(workload, "preview"):
            if _has(workload, "overlap"):
                text = "goes with a workload that nothing calls, and that has no `preview`"
                yield (*path, "overlap"), f"{text}: where clients call, both slots' pods stay"
            continue
        for where, _ in at(workload, "tests", "*", "path", path=path):
            text = "needs `preview`, the Service that leads to the slot which does not serve yet"
            yield where, f"{text}; a workload that nothing calls has neither"


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


def _repeats(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each thing that has two owners: two rotations at once would change it."""
    seen: dict[tuple[object, ...], Owned] = {}
    for thing in _owned(file):
        first = seen.setdefault((thing.kind, *thing.identity), thing)
        if first.owner != thing.owner:
            yield thing.path, f"is the same as {dotted(first.path)}{_advice(thing, first)}"


def _left_alone(file: document.Mapping) -> Iterator[Problem]:
    """A problem for each Service that is to be left alone, and that the file moves or previews."""
    moved = {thing.identity: thing.path for thing in _owned(file) if thing.kind == "service"}
    for path, workload, space in _workloads(file):
        for where, name in at(workload, "otherServices", "*", path=path):
            thing = Owned(where, "service", (*space, name), where)
            if thing.whole and thing.identity in moved:
                first = dotted(moved[thing.identity])
                yield where, f"is the same as {first}, which a rotation points at a slot"


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
    """A workload's name, Services, Deployments, and the keys of Kubernetes Secrets it reads."""
    credential = path[1]
    name = (*path, "name")
    yield Owned(name, "workload", (str(credential), _get(workload, "name")), name)
    for key in ("service", "preview"):
        where = (*path, key)
        yield Owned(where, "service", (*space, _get(workload, key)), where)
    for where, service in at(workload, "services", "*", path=path):
        yield Owned(where, "service", (*space, service), where)
    for where, deployment in at(workload, "deployments", "*", path=path):
        yield Owned(where, "deployment", (*space, deployment), where)
    key = _get(workload, "key") or "password"
    for where, secret in at(workload, "secrets", "*", path=path):
        # Several workloads may read what one slot of their credential writes.
        yield Owned(where, "kubernetes secret", (*space, secret, key), (credential, where[-1]))


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
