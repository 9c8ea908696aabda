"""Parts of commands that moves are made of, with names in quotes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

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
    return "cronjob" if workload.scheduled else "deployment"


def files(workload: Workload) -> str:
    """Everything of the slots, for `kubectl`."""
    held = [] if workload.carrier.mounted else ["secrets"]
    return " ".join(f"-f {file(workload, what)}" for what in (*SLOTS, *held))
