"""Whoever may only write secrets: they choose no password that an application is given.

The right is Key Vault's "set secret", which a pipeline or a colleague may have; ids of rotations
can be foretold, and tags are written by whoever writes the version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rotation.front.rotations import sweep_id
from rotation.model import wire
from rotation.model.activities import Reference
from rotation.steps import running
from rotation.steps.catalogue import ACTIVITIES
from tests.memory import MemoryEdges
from tests.security.attacked import ADA, CREDENTIAL, NOW, configuration
from tests.unit.virtual import Story, pytestmark

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["pytestmark"]

CHOSEN = "ChosenByTheAttacker0123456789"
STEPS = {activity.name: activity for activity in ACTIVITIES}
SWEEP = sweep_id(CREDENTIAL, NOW)


class Attacked:
    """A credential that blue serves, and somebody who writes versions of green's secret."""

    def __init__(self) -> None:
        self.edges = MemoryEdges(configuration([ADA]), now=NOW)
        self.world = self.edges.world
        self.vault = self.world.vault(self.credential)

    @property
    def credential(self) -> Any:
        return self.edges.configuration.credential(CREDENTIAL)

    def run(self, name: str, rotation: str = SWEEP, **more: Any) -> dict[str, Any]:
        reference = Reference(rotation=rotation, credential=CREDENTIAL, slot="green", **more)
        return running.run(STEPS[name], self.edges, wire.value_of(reference))

    def write(self, rotation: str = SWEEP) -> str:
        """The attacker's version, with the tags that a rotation gives its own."""
        tags = {"rotation": rotation, "slot": "green", "role": "orders_green"}
        return self.world.put(self.credential, "green", CHOSEN, tags=tags).version

    @property
    def taken(self) -> bool:
        """Whether the attacker's password logs in."""
        return self.world.database.accepts("orders_green", CHOSEN)

    def enabled(self) -> list[str]:
        return [v.version for v in self.vault.of("orders-green") if v.disabled is None]


@pytest.fixture
def attacked() -> Attacked:
    return Attacked()


def test_a_version_that_waits_with_the_tags_of_the_next_sweep(attacked: Attacked) -> None:
    attacked.write()
    staged = attacked.run("stage")
    attacked.run("activate", version=staged["version"])
    assert not attacked.taken
    assert attacked.enabled() == [staged["version"]]


def test_a_version_that_comes_between_staging_and_activating(attacked: Attacked) -> None:
    staged = attacked.run("stage")
    written = attacked.write()
    answer = attacked.run("activate", version=staged["version"])
    assert not attacked.taken
    assert answer["error"]["code"] == "foreign-version"
    assert answer["error"]["transient"] is False
    text = answer["error"]["message"]
    assert written in text
    assert "whoever may set secrets in https://kv-orders.vault.azure.net could have" in text


def test_a_version_that_comes_after_activating(attacked: Attacked) -> None:
    staged = attacked.run("stage")
    attacked.run("activate", version=staged["version"])
    attacked.write()
    answer = attacked.run("verify", version=staged["version"])
    assert answer["error"]["code"] == "foreign-version"
    assert not attacked.taken


def test_a_repeat_after_a_lost_answer_adopts_nothing(attacked: Attacked) -> None:
    lost = attacked.run("stage")["version"]
    staged = attacked.run("stage")["version"]
    assert staged != lost
    assert attacked.run("activate", version=staged) == {}
    assert attacked.enabled() == [staged]


class TestWholeRotation:
    """The orchestrators with the steps that they call, where the attacker writes in between."""

    def story(self, attacked: Attacked, after: Callable[[int], bool]) -> Story:
        story = Story("api")
        count = 0

        def stage(reference: Any) -> Any:
            nonlocal count
            count += 1
            answer = running.run(STEPS["stage"], attacked.edges, reference)
            if after(count):
                attacked.write(reference["rotation"])
            return answer

        for name in ("activate", "verify", "deactivate", "disable"):
            story.script[name] = self.real(attacked, name)
        story.script["stage"] = stage
        return story

    def real(self, attacked: Attacked, name: str) -> Callable[[Any], Any]:
        return lambda reference: running.run(STEPS[name], attacked.edges, reference)

    def test_written_once_it_costs_one_more_version(self, attacked: Attacked) -> None:
        story = self.story(attacked, lambda number: number == 1)
        story.to_approval()
        assert not attacked.taken
        assert story.names().count("stage green") == 2
        assert len(attacked.enabled()) == 1

    def test_written_again_and_again_it_gives_up_and_leaves_nothing(
        self, attacked: Attacked
    ) -> None:
        story = self.story(attacked, lambda _: True)
        output = story.run()
        assert output.outcome == "aborted"
        assert output.reasons[0].code == "foreign-version"
        assert not attacked.taken
        assert attacked.enabled() == []
