"""A decision is announced as what it is."""

from __future__ import annotations

import pytest

from tests.unit.virtual import Story, pytestmark

__all__ = ["pytestmark"]


@pytest.mark.parametrize(("choice", "kind"), [("approve", "Approved"), ("reject", "Rejected")])
def test_a_decision_is_announced_as_what_it_is(choice: str, kind: str) -> None:
    story = Story("api").to_approval()
    story.decide(choice)
    story.run()
    assert [told for told in story.told() if told in {"Approved", "Rejected"}] == [kind]
    (notice,) = story.notices(kind)
    assert notice["decision"]["decision"] == choice
