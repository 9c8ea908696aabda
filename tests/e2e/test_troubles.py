"""Rotations in a cluster that is not as it should be; tests/kubernetes has them on the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.troubles import refused, rotate_through

if TYPE_CHECKING:
    from local.stack import Stack


@pytest.mark.long
@pytest.mark.guarantee(2, 4)
def test_a_status_of_the_past_a_full_quota_and_strays_stop_no_rotation(stack: Stack) -> None:
    rotate_through(stack)


@pytest.mark.long
def test_selectors_that_overlap_are_refused(stack: Stack) -> None:
    assert {why["code"] for why in refused(stack)} == {"selectors-overlap"}
