"""Tells how long the secret of the slot that serves still lives, whether or not it is rotated.

The daily sweep says so for each credential; an alert reads the line (infra/modules/alerts.bicep).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotation import log
from rotation.model.errors import RotationError
from rotation.model.world import SLOTS, Slot
from rotation.steps import exchanging

if TYPE_CHECKING:
    from rotation.config import Credential
    from rotation.contracts.edges import Readers
    from rotation.model.reasons import Reason
    from rotation.model.world import SecretVersion

DAY = 86400.0  # seconds


@dataclass(frozen=True)
class Expiry:
    """The days for which the secret version of the slot that serves still lives.

    `slot` is None if it could not be seen which one serves; the version that expires first is taken
    then, of those that can be read. `days` is None for a secret without an end, and below 0 for one
    that has expired. `problems` are why something could not be seen.
    """

    slot: Slot | None
    version: SecretVersion | None
    days: float | None
    problems: tuple[Reason, ...]


def look(edges: Readers, name: str) -> Expiry:
    """The expiry of a credential's secret now. What the edges raise becomes one of its problems."""
    credential, problems = edges.configuration.credential(name), []
    try:
        slot = _serving(edges, credential)
    except RotationError as error:
        slot = None
        problems.append(error.reason)
    try:
        version = _version(edges, credential, slot)
    except RotationError as error:
        version = None
        problems.append(error.reason)
    days = None
    if version is not None and version.expires is not None:
        days = round((version.expires - edges.now()).total_seconds() / DAY, 2)
    return Expiry(slot, version, days, tuple(problems))


def _serving(edges: Readers, credential: Credential) -> Slot | None:
    """The slot that every workload's Services select, or its Secret names; None without one."""
    routes = [
        edges.traffic(workload.cluster).route(target)
        for workload in credential.workloads
        for target in workload.productions
    ]
    selected: set[str | None] = {route.slot if route else None for route in routes}
    for workload in credential.workloads:
        if workload.in_place:
            selected.add(exchanging.serving(edges, workload))
    return next((slot for slot in SLOTS if selected == {slot}), None)


def _version(edges: Readers, credential: Credential, slot: Slot | None) -> SecretVersion | None:
    """The current version of the slot's secret; without a slot the one that expires first."""
    vault = edges.vault(credential.vault)
    if slot is not None:
        return vault.current(credential.secret(slot))
    versions = [vault.current(credential.secret(each)) for each in SLOTS]
    mortal = [v for v in versions if v and v.enabled and v.expires]
    return min(mortal, key=lambda v: v.expires.timestamp() if v.expires else 0, default=None)


def tell(credential: str, expiry: Expiry) -> None:
    """Logs an expiry, and sets the metric; what could not be seen has a line of its own."""
    if expiry.problems or expiry.version is None:
        log.event(
            "secret.unseen",
            level=logging.WARNING,
            credential=credential,
            codes=[problem.code for problem in expiry.problems],
            reason="; ".join(problem.text for problem in expiry.problems) or "it does not exist",
        )
    if expiry.version is None:
        return
    if expiry.days is not None:
        log.EXPIRY_DAYS.set(expiry.days, {"credential": credential})
    log.event(
        "secret.expires",
        credential=credential,
        slot=expiry.slot,
        secret=expiry.version.secret,
        version=expiry.version.version,
        expires=expiry.version.expires,
        days=expiry.days,
    )
