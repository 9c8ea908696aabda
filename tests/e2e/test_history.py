"""What is left of a rotation once the task hub has forgotten it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from local.process import wait_until
from tests.e2e.test_rotation import ended, started, waiting

if TYPE_CHECKING:
    from local.stack import Answer, Stack


def kept(stack: Stack, rotation: str) -> list[str]:
    """The names in the store that are about a rotation, in their order."""
    store = stack.directory / "blobs" / "blobs.db"
    query = "SELECT name FROM blobs WHERE name LIKE ? ORDER BY name"
    with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as database:
        return [name for (name,) in database.execute(query, (f"%{rotation}.%",))]


def page(stack: Stack, path: str) -> Answer:
    key = quote(stack.keys["function"], safe="")
    mark = "&" if "?" in path else "?"
    return stack.client.request("GET", f"/api/pages/rotations{path}{mark}code={key}")


def swept(stack: Stack) -> None:
    headers = {"x-functions-key": stack.keys["master"]}
    assert stack.client.request("POST", "/admin/functions/sweep", {}, headers).status == 202


def forgotten(stack: Stack, rotation: str) -> None:
    """The hub purges it, as a back end does after its retention."""
    code = quote(stack.keys["system"], safe="")
    path = f"/runtime/webhooks/durabletask/instances/{rotation}?code={code}"
    assert stack.client.request("DELETE", path).status == 200


@pytest.mark.long
def test_a_record_outlives_the_hub_and_an_outage_of_the_store(stack: Stack) -> None:
    stack.faults.order("blobs", times=1_000_000, status=503)
    rotation = started(stack)
    stack.client.follow(rotation, waiting)
    assert stack.client.decide(rotation, "reject").status in {200, 202}
    record = ended(stack, rotation)
    assert record["outcome"] == "rolled-back"
    wait_until(stack.client.free, 120, "the credential being free")
    answer = stack.client.api("GET", "/rotations?limit=1")
    assert [one["rotation"] for one in answer.json["rotations"]] == [rotation]
    assert answer.json["incomplete"]["code"] == "storage-unavailable"
    assert kept(stack, rotation) == []

    stack.faults.admin("blobs", "DELETE", "/local/faults")
    swept(stack)
    wait_until(lambda: len(kept(stack, rotation)) == 3, 60, "the record being kept")
    by_credential, by_id, by_time = kept(stack, rotation)
    assert by_id == f"by-id/{rotation}.json"
    assert by_time.endswith(f".{rotation}.rolled-back")
    assert by_credential == f"by-credential/orders-db/{by_time.removeprefix('by-time/')}"

    known = stack.client.rotation(rotation)
    until = f"until={known['created']}"  # the sweep may have begun another one
    before = stack.client.api("GET", f"/rotations?limit=2&{until}").json["rotations"]
    forgotten(stack, rotation)
    assert stack.client.rotation(rotation) == known
    assert known["evidence"] != {}
    assert stack.client.api("GET", f"/rotations?limit=2&{until}").json["rotations"] == before
    query = f"credential=orders-db&limit=1&since=2020-01-01&{until}"
    first = stack.client.api("GET", f"/rotations?{query}")
    assert first.json["rotations"] == [{key: known[key] for key in known if key != "links"}]
    assert first.json["incomplete"] is None
    assert stack.client.decide(rotation, "approve").json["code"] == "already-decided"
    assert stack.client.api("GET", f"/rotations/{rotation}/evidence").status == 409
    shown = page(stack, f"/{rotation}")
    assert (shown.status, rotation in shown.body.decode()) == (200, True)
    assert f"/api/pages/rotations/{rotation}" in page(stack, "?credential=orders-db").body.decode()
    swept(stack)  # which keeps nothing twice
    assert stack.client.api("GET", "/health").json["records"] is True


@pytest.mark.long
def test_a_rotation_is_kept_right_after_its_end_and_its_next_pages_follow(stack: Stack) -> None:
    rotation = started(stack)
    stack.client.follow(rotation, waiting)
    assert stack.client.decide(rotation, "reject").status in {200, 202}
    ended(stack, rotation)
    wait_until(lambda: len(kept(stack, rotation)) == 3, 60, "the record being kept")
    found, path = [], "/rotations?limit=1"
    while path:
        answer = stack.client.api("GET", path)
        found += [one["rotation"] for one in answer.json["rotations"]]
        link = answer.headers.get("Link")
        assert (link is None) is (answer.json["next"] is None)
        path = f"/rotations{link.removeprefix('<').partition('>')[0]}" if link else ""
    assert found == [one["rotation"] for one in stack.client.rotations()]
    assert found[0] == rotation
