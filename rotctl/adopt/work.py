"""From what was named to a plan, and from a plan to files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rotctl.adopt import (
    checking,
    cluster,
    deciding,
    folder,
    in_place,
    refusals,
    routes,
    server,
    sources,
    telling,
    vault,
)
from rotctl.adopt.asking import Facts
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from pathlib import Path

    from rotctl.adopt.asking import Answers
    from rotctl.adopt.deciding import Decided
    from rotctl.adopt.original import Original
    from rotctl.adopt.plan import Form, Plan, Workload


@dataclass(frozen=True)
class Look:
    """Where to look: at these workloads, in these files or by a kubeconfig's context; at a database
    if a connection string is given; into the vault or not. `out` is what will be written, which is
    no manifest of theirs. Deployments of the names `in_place` get no twin."""

    named: tuple[tuple[str, str], ...]
    files: tuple[str, ...] = ()
    context: str = ""
    database: str | None = None
    vault: bool = True
    out: Path | None = None
    in_place: tuple[str, ...] = ()

    def looked(self) -> Looked:
        """Raises `ClientError`, for what cannot be adopted too."""
        objects, facts = self._objects()
        originals = sources.originals(objects, self.named, self.in_place)
        sources.refuse([found for one in originals for found in refusals.of_workload(one)])
        addresses = [
            address
            for one in originals
            for address in cluster.pod_addresses(tuple(objects), one.labels)
        ]
        facts = self._of_database(facts, addresses)
        return Looked(self, tuple(originals), facts, tuple(addresses))

    def _objects(self) -> tuple[list[Any], Facts]:
        if self.files:
            return sources.read(self.files, self.out and self.out.resolve()), Facts()
        spaces = {sources.named(name)[0] for _, name in self.named} - {""}
        seen = cluster.seen(next(iter(sorted(spaces)), ""), self.context)
        tells: tuple[str, ...] = ()
        if seen.unread:
            tells = (
                f"You may not list {', '.join(seen.unread)}: what these say was not looked at.",
            )
        facts = Facts(cluster=seen.name, server=seen.server, authority=seen.authority, tells=tells)
        return list(seen.objects), facts

    def _of_database(self, facts: Facts, addresses: list[str]) -> Facts:
        if self.database is None:
            return facts
        with server.Looking(self.database) as looking:
            found = looking.seen(addresses)
        return replace(
            facts,
            roles=found.sessions,
            taken_roles=found.roles,
            host=found.host,
            port=found.port,
            database=found.database,
        )


@dataclass(frozen=True)
class Looked:
    """What was seen. Answers make a plan of it, or there are questions left. `addresses` are the
    pods' own."""

    look: Look
    originals: tuple[Original, ...]
    facts: Facts
    addresses: tuple[str, ...] = ()

    def decide(self, answers: Answers, form: Form) -> Decided:
        """Raises `ClientError` for what cannot be adopted."""
        decided = deciding.decide(self.originals, answers, self.facts, form)
        if decided.plan is None:
            return decided
        plan = decided.plan
        carriers = [one.carrier for one in plan.workloads]
        found = refusals.of_secret(self.originals, carriers)
        for one in plan.workloads:
            found += [*in_place.refused(one, plan.credential), *routes.refused(one)]
        sources.refuse(found)
        return replace(decided, plan=replace(plan, tells=(*plan.tells, *self._told(plan))))

    def _told(self, plan: Plan) -> list[str]:
        blue, told = plan.credential.slots["blue"], []
        if not plan.cluster.authority:
            told.append(
                f"Nothing says which authority vouches for {plan.cluster.server}: an API server of"
                " AKS needs `certificateAuthority` in credentials.yaml (docs/configuration.md)."
            )
        if self.look.database is not None:
            with server.Looking(self.look.database) as looking:
                told += looking.told(blue.role)
                told += looking.told_of_sessions(blue.role, list(self.addresses))
        if self.look.vault and not self.look.files:
            told += vault.told(vault.seen(plan.credential.vault, blue.secret), blue.secret)
        return told


def _way(workload: Workload) -> str:
    if workload.in_place:
        return f"in place, by Secret {in_place.secret_name(workload)} and {workload.then}"
    if workload.routes:
        return f"HTTPRoute {', '.join(workload.routes)}"
    if workload.called:
        return f"Service {workload.service}"
    return f"nothing calls it; Service {workload.service} is new"


def files(plan: Plan) -> dict[str, str]:
    """What the folder is to have: texts by their paths. Raises `ClientError`."""
    made = folder.files(plan)
    problems = checking.problems(made["credentials.yaml"])
    if problems:
        text = "\n".join(("the entry would not be valid:", *(f"- {each}" for each in problems)))
        raise ClientError(text, "other names will do: see the options", Exit.PROBLEM)
    return made


def summary(plan: Plan, out: Path, written: list[str]) -> dict[str, Any]:
    """What was found and written, for people and for programs."""
    one = plan.credential
    blue, green = one.slots["blue"], one.slots["green"]
    found = [
        f"role {blue.role}, and {green.role} as the second one; {one.group} owns",
        f"secret {blue.secret} in {one.vault}, and {green.secret}",
    ]
    found += [
        f"{each.original.kind} {each.name}: password by {each.carrier.through}; {_way(each)}"
        for each in plan.workloads
    ]
    return {
        "out": str(out),
        "credential": one.name,
        "roles": {slot: login.role for slot, login in one.slots.items()},
        "secrets": {slot: login.secret for slot, login in one.slots.items()},
        "workloads": [each.name for each in plan.workloads],
        "found": found,
        "told": telling.lines(plan),
        "written": written,
    }
