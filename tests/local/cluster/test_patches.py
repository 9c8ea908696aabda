"""The patch formats by themselves."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.cluster import kinds
from local.cluster.errors import ApiError
from local.cluster.patches import json_patch, merge_patch, strategic_patch

scalars = st.none() | st.booleans() | st.integers(0, 3) | st.text("ab~/", max_size=3)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/", max_size=2), inner),
    max_leaves=8,
)
objects = st.dictionaries(st.text("ab~/", max_size=2), documents, max_size=3)


@settings(max_examples=150, deadline=None)
@given(objects, objects)
def test_any_change_written_as_a_json_patch_makes_that_change(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    patch = jsonpatch.make_patch(before, after).patch
    untouched = copy.deepcopy(before)
    assert json_patch(before, patch) == after
    assert before == untouched


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/a", "value": True},
        {"op": "test", "path": "/absent", "value": None},
        {"op": "remove", "path": "/absent"},
        {"op": "replace", "path": "/absent", "value": 1},
        {"op": "replace", "path": "/list/7", "value": 1},
        {"op": "replace", "path": "/list/-", "value": 1},
        {"op": "add", "path": "/list/x", "value": 1},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "move", "from": "/absent", "path": "/b"},
        {"op": "replace", "path": "", "value": []},
    ],
)
def test_a_json_patch_that_does_not_apply_is_invalid(operation: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        json_patch({"a": 1, "list": [1]}, [operation])
    assert caught.value.code == 422


def test_a_strategic_patch_puts_items_in_the_order_that_it_asks_for() -> None:
    """One that it does not list stands before the first listed one that followed it before."""
    before = {"containers": [{"name": "a", "env": [{"name": n} for n in ("one", "own", "two")]}]}
    order = [{"name": name} for name in ("new", "one", "two")]
    change = {"name": "a", "env": [{"name": "new", "value": "1"}], "$setElementOrder/env": order}
    (made,) = strategic_patch(before, {"containers": [change]}, kinds.DEPLOYMENT)["containers"]
    assert [each["name"] for each in made["env"]] == ["new", "one", "own", "two"]
    assert not any(key.startswith("$") for key in made)


@pytest.mark.parametrize("patch", [{}, [1], [{"op": "add"}], [{"op": "x", "path": "/a"}],
                                   [{"op": "add", "path": "a", "value": 1}]])  # fmt: skip
def test_what_is_no_json_patch_is_a_bad_request(patch: object) -> None:
    with pytest.raises(ApiError) as caught:
        json_patch({"a": 1}, patch)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_as_rfc_7386_has_it(document: object, patch: object, result: object) -> None:
    assert merge_patch(document, patch) == result


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"ports": [{"port": 80, "name": "a"}]}, {"ports": [{"port": 80, "name": "b"}]},
         {"ports": [{"port": 80, "name": "b"}]}),
        ({"ports": [{"port": 80}]}, {"ports": [{"port": 81}]},
         {"ports": [{"port": 80}, {"port": 81}]}),
        ({"ports": [{"port": 80}, {"port": 81}]}, {"ports": [{"port": 80, "$patch": "delete"}]},
         {"ports": [{"port": 81}]}),
        ({"ports": [{"port": 80}]}, {"ports": [{"$patch": "replace"}, {"port": 9}]},
         {"ports": [{"port": 9}]}),
        ({"selector": {"a": "1", "b": "2"}}, {"selector": {"b": "3"}},
         {"selector": {"a": "1", "b": "3"}}),
        ({"selector": {"a": "1"}}, {"selector": {"$patch": "replace", "b": "3"}},
         {"selector": {"b": "3"}}),
        ({"finalizers": ["a"]}, {"finalizers": ["b"]}, {"finalizers": ["a", "b"]}),
        ({"finalizers": ["a", "b"]}, {"$deleteFromPrimitiveList/finalizers": ["a"]},
         {"finalizers": ["b"]}),
        ({"strategy": {"type": "x", "rollingUpdate": {}}},
         {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
         {"strategy": {"type": "Recreate"}}),
    ],
)  # fmt: skip
def test_strategic_patch_and_its_directives(
    document: object, patch: object, result: object
) -> None:
    assert strategic_patch(document, patch, kinds.SERVICE) == result
