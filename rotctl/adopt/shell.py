"""Parts of commands that moves are made of, with names in quotes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rotctl.adopt import in_place
from rotctl.adopt.plan import LABEL, SLOTS

if TYPE_CHECKING:
    from rotctl.adopt.plan import Plan, Workload

PSQL = "psql -X -v ON_ERROR_STOP=1"
ASKS = f"{PSQL} -qAt"  # rows without a frame
# Files with a password that moves make and remove again.
PASSING = ("live.value", "rotator.password")
# Since when the live role acts as itself again, by the database's clock.
SINCE = "former/since"
FORMER = "former"
REHEARSED = "rehearsed"  # what rehearsals have said
MORE = "'[1-9][0-9]*'"  # than nothing

quoted = shlex.quote


def vault_name(plan: Plan) -> str:
    return (urlsplit(plan.credential.vault).hostname or "").partition(".")[0]


def named(plan: Plan, secret: str) -> str:
    return f"--vault-name {quoted(vault_name(plan))} --name {quoted(secret)}"


def there(plan: Plan, *secrets: str) -> str:
    """Counts how many of these secrets the vault has. It reads no value."""
    each = " || ".join(f"name=='{one}'" for one in secrets)
    query = quoted(f"[?{each}] | length(@)")
    return (
        f"az keyvault secret list --vault-name {quoted(vault_name(plan))}"
        f" --query {query} --output tsv"
    )


def kubectl(workload: Workload) -> str:
    return f"kubectl -n {quoted(workload.namespace)}"


# What asks prints nothing for what is not there, and fails if it cannot ask. Inside `$(...)` bash
# would forget that: so its answer goes through a pipe, or into a variable first.


def field(workload: Workload, what: str, path: str) -> str:
    """Reads a field of an object that need not be there."""
    shown = quoted(f"{{{path}}}")
    return f"{kubectl(workload)} get {what} --ignore-not-found -o jsonpath={shown}"


def there_is(workload: Workload, what: str) -> str:
    return f"{kubectl(workload)} get {what} --ignore-not-found -o name"


def slot_of(workload: Workload, service: str = "") -> str:
    """Reads the slot that a Service selects."""
    return field(workload, f"service {service or workload.service}", f".spec.selector.{LABEL}")


def holds(workload: Workload) -> str:
    """Reads the slot whose login the Secret of a workload in place holds."""
    path = f".metadata.annotations.{in_place.HOLDS}"
    return field(workload, f"secret {in_place.secret_name(workload)}", path)


def backends(workload: Workload, route: str) -> str:
    """Lists the Services that an HTTPRoute names, each on a line."""
    shown = r"""'{range .spec.rules[*].backendRefs[*]}{.name}{"\n"}{end}'"""
    return f"{kubectl(workload)} get httproute {route} --ignore-not-found -o jsonpath={shown}"


def weights(workload: Workload, route: str) -> str:
    """Reads what the green slot has of an HTTPRoute's requests, in each rule."""
    path = f'.spec.rules[*].backendRefs[?(@.name=="{workload.backend(SLOTS[1])}")].weight'
    return field(workload, f"httproute {route}", path)


def follows(workload: Workload) -> tuple[str, ...]:
    """Passes where what clients or a switch follow says a slot."""
    if workload.routes:
        blue = workload.backend(SLOTS[0])
        return tuple(says(backends(workload, one), blue) for one in workload.routes)
    return tuple(some(slot_of(workload, one)) for one in services(workload))


def follows_none(workload: Workload) -> tuple[str, ...]:
    """Passes where none of it says a slot."""
    if workload.routes:
        blue = workload.backend(SLOTS[0])
        return tuple(says_not(backends(workload, one), blue) for one in workload.routes)
    return tuple(none(slot_of(workload, one)) for one in services(workload))


def on_green(workload: Workload) -> str:
    """Passes where the green slot serves."""
    if workload.routes:
        return f"{weights(workload, workload.routes[0])} | grep -wE {MORE}"
    return says(slot_of(workload), SLOTS[1])


def not_on_green(workload: Workload) -> tuple[str, ...]:
    """Passes where the green slot does not serve."""
    if workload.routes:
        return tuple(
            f"{weights(workload, one)} | (! grep -wE {MORE}) || false" for one in workload.routes
        )
    if workload.in_place:
        return (says_not(holds(workload), SLOTS[1]),)
    return tuple(says_not(slot_of(workload, one), SLOTS[1]) for one in services(workload))


def ready(workload: Workload, name: str) -> str:
    return field(workload, f"deployment {name}", ".status.readyReplicas")


def behind(workload: Workload, service: str) -> str:
    """Lists the names of the pods that a Service leads to."""
    shown = r"""'{range .items[*].endpoints[*]}{.targetRef.name}{"\n"}{end}'"""
    labelled = f"-l kubernetes.io/service-name={service}"
    return f"{kubectl(workload)} get endpointslices {labelled} -o jsonpath={shown}"


def some(ask: str) -> str:
    return f"{ask} | grep ."


# Bash 3.2, which macOS has, goes on after a subshell that failed, whatever `set -e` says: hence
# `|| false`, at which every bash stops.


def none(ask: str) -> str:
    return f"{ask} | (! grep .) || false"


def says(ask: str, word: str) -> str:
    return f"{ask} | grep -x {word}"


def says_not(ask: str, word: str) -> str:
    return f"{ask} | (! grep -x {word}) || false"


def when(ask: str, *then: str) -> tuple[str, ...]:
    """Commands for what is there."""
    return (f"found=$({ask})", 'if [ -n "$found" ]; then', *(f"  {one}" for one in then), "fi")


def unless(ask: str, *then: str) -> tuple[str, ...]:
    """Commands for what is not there."""
    return (f"found=$({ask})", 'if [ -z "$found" ]; then', *(f"  {one}" for one in then), "fi")


def services(workload: Workload) -> list[str]:
    """Those that follow a slot."""
    return [workload.service, *workload.services]


def file(workload: Workload, what: str) -> str:
    return f"kubernetes/{workload.name}-{what}.yaml"


def kind(workload: Workload) -> str:
    return workload.original.kind.lower()


def files(workload: Workload) -> str:
    """Everything of the slots, for `kubectl`."""
    if workload.in_place:
        return f"-f {file(workload, 'login')}"
    held = [] if workload.carrier.mounted else ["secrets"]
    return " ".join(f"-f {file(workload, what)}" for what in (*SLOTS, *held))
