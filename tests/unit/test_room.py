"""Whether both slots have room beside each other: quotas of pods, connections of a server."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils import parse_quantity

from rotation.decisions.room import Demand, crowded, quantity, short
from rotation.model.preconditions import Limit, RoleStanding, ServerStanding

SUFFIXES = ("", "n", "u", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "Ei")
parse: Any = parse_quantity


@given(st.integers(0, 10**9), st.integers(0, 999), st.sampled_from(SUFFIXES))
def test_quantities_are_read_as_the_sdk_reads_them(whole: int, part: int, suffix: str) -> None:
    text = f"{whole}.{part:03d}{suffix}"
    assert quantity(text) == parse(text)


@pytest.mark.parametrize("text", ["", "1 Gi", "hunter2", "1..2", "-", "1Zi", None])
def test_what_is_no_quantity(text: str | None) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity(text)


def template(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {
        "spec": {
            "containers": [{"resources": each} for each in containers],
            "initContainers": list(init),
        }
    }


def needs(resource: str, pods: int, document: dict[str, Any]) -> str:
    """What is said to be needed more of a limit that has no room at all."""
    ((_, text),) = short([Limit("q", resource, Decimal(), Decimal())], [Demand(pods, document)])
    return text.rpartition(", and ")[2].removesuffix(" more are needed")


def test_pods_count_by_their_number_and_by_what_they_ask_for() -> None:
    one = {"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}}
    document = template(one, {"limits": {"cpu": "1"}})
    assert needs("pods", 3, document) == needs("count/pods", 3, document) == "3"
    # A request that is not given is the limit's.
    assert needs("requests.cpu", 2, document) == needs("cpu", 2, document) == "2.5"
    assert needs("limits.memory", 2, document) == str(2 * 1024**3)


def test_containers_that_come_first_count_where_they_ask_for_more() -> None:
    small, large = {"requests": {"cpu": "1"}}, {"requests": {"cpu": "4"}}
    first = template(small, init=({"resources": large},))
    beside = template(small, init=({"resources": large, "restartPolicy": "Always"},))
    assert (needs("cpu", 1, first), needs("cpu", 1, beside)) == ("4", "5")


def test_what_is_used_by_others_counts() -> None:
    limits = [Limit("few", "pods", Decimal(4), Decimal(3))]
    assert list(short(limits, [Demand(1, {})])) == []
    ((name, text),) = short(limits, [Demand(1, {}), Demand(1, {})])
    assert name == "few"
    assert text == "ResourceQuota few limits pods to 4: 3 are used, and 2 more are needed"


def test_a_full_quota_is_in_nobodys_way_who_needs_nothing_more() -> None:
    assert list(short([Limit("few", "pods", Decimal(1), Decimal(5))], [Demand(0, {})])) == []
    assert list(short([Limit("few", "cpu", Decimal(1), None)], [Demand(9, template({}))])) == []


def standing(
    sessions: int, *, free: int = 99, left: int | None = None, limit: int | None = None
) -> ServerStanding:
    roles = {
        "blue": RoleStanding(True, True, None, sessions),
        "green": RoleStanding(True, True, limit, 0),
    }
    now = datetime.now(UTC)
    return ServerStanding(roles, True, True, True, 100, free, left, "scram-sha-256", now)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (standing(8, free=9), "100 connections for all logins, 9 of them are free"),
        (standing(8, left=8), "the database's connection limit leaves 8"),
        (standing(8, limit=7), "role green has a connection limit of 7, and blue has 8 sessions"),
    ],
)
def test_connections_that_are_too_few(found: ServerStanding, text: str) -> None:
    (told,) = crowded(found, "blue", "green")
    assert text in told


@pytest.mark.parametrize(
    "found", [standing(8, free=10), standing(8, left=9), standing(8, limit=8), standing(0, free=0)]
)
def test_connections_that_are_enough(found: ServerStanding) -> None:
    assert list(crowded(found, "blue", "green")) == []
