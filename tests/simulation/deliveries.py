"""What Event Grid delivers: at least once, in any order, and much that concerns nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rotation.front import keeping, triggers
from rotation.model.world import other
from tests.simulation.client import Client, driven
from tests.simulation.fibers import CutOff

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.simulation.machine import Machine

NEAR = "Microsoft.KeyVault.SecretNearExpiry"
EXPIRED = "Microsoft.KeyVault.SecretExpired"
# Seconds from a failed delivery to the next: Event Grid's, for as long as the subscription lets an
# event live, which is a day.
EVENT_DELAYS = (10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 10800.0, 21600.0, 43200.0)
SWEEP_DELAYS = (10.0,) * 7


class Deliveries:
    def __init__(self, machine: Machine, rng: Random) -> None:
        self._machine = machine
        self._rng = rng
        self._client: Any = Client(lambda: machine.engine, machine.calls)
        self.open = 0  # events that are not accounted for yet

    def announce(self, credential: str, *, confused: bool) -> None:
        """Delivers the event about the active slot's version. `confused`: and others."""
        world, rng = self._machine.world, self._rng
        active = world.active[credential]
        configured = world.configuration.credential(credential)
        version = world.current(configured, active)
        assert version is not None
        event = (NEAR, data(configured.vault, version.secret, version.version))
        self._send(rng.choice([0.0, 3.0]), *event)
        if not confused:
            return
        standby = configured.slots[other(active)].secret
        strays = [
            event,
            (EXPIRED, event[1]),
            (NEAR, data(configured.vault, version.secret, "0badc0de")),
            (NEAR, data(configured.vault, standby, "0badc0de")),
            (NEAR, data("https://elsewhere.vault.example", version.secret, version.version)),
            (NEAR, data(configured.vault, "another-secret", "1")),
            ("Microsoft.KeyVault.SecretNewVersionCreated", event[1]),
            (NEAR, {"Id": 7, "ObjectName": None}),
            (NEAR, {"Id ": "https://[", "ObjectName ": " x ", "Version": "1"}),
        ]
        for _ in range(rng.choice([0, 1, 1, 3])):
            when = rng.choice([0.0, 0.0, 5.0, 60.0, 3600.0, 90000.0])
            self._send(when, *rng.choice(strays))
        for _ in range(rng.choice([0, 0, 0, 1])):
            self._deliver(rng.choice([0.0, 60.0, 80000.0]), self._sweep, "sweep", SWEEP_DELAYS)

    def _send(self, when: float, kind: str, content: Any) -> None:
        def take() -> None:
            driven(triggers.take(self._machine.edges, self._client, kind, content, "event"))

        name = f"event {kind.rpartition('.')[2]}"
        self._deliver(when, take, name, EVENT_DELAYS)

    def _sweep(self) -> None:
        driven(triggers.sweep_all(self._machine.edges, self._client))

    def catch_up(self) -> None:
        """What the sweep does at its end, and starts no rotation."""

        def take() -> None:
            driven(keeping.catch_up(self._machine.edges, self._client))

        self._deliver(0.0, take, "catch-up", SWEEP_DELAYS)

    def _deliver(
        self, when: float, take: Callable[[], None], name: str, delays: tuple[float, ...]
    ) -> None:
        self.open += 1
        self._machine.agenda.add(when, lambda: self._attempt(take, name, delays))

    def _attempt(self, take: Callable[[], None], name: str, delays: tuple[float, ...]) -> None:
        """Delivers once; Event Grid tries again after a failure, and after no answer."""

        def again() -> None:
            self.open -= 1
            if delays:
                self._deliver(delays[0], take, name, delays[1:])

        def main() -> None:
            try:
                take()
            except (Exception, CutOff) as error:  # noqa: BLE001 - Event Grid sees no success
                self._machine.story.tell(name, "fails: %s", type(error).__name__)
                again()
            else:
                self.open -= 1

        self._machine.trigger(name, main, again)


def data(vault: str, secret: str, version: str) -> dict[str, Any]:
    return {
        "Id": f"{vault}/secrets/{secret}/{version}",
        "VaultName": vault.removeprefix("https://").partition(".")[0],
        "ObjectType": "Secret",
        "ObjectName": secret,
        "Version": version,
        "NBF": None,
        "EXP": "1830000000",
    }
