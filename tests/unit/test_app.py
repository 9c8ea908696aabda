"""What the platform's worker asks of the app before it starts any of its functions."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

import azure.functions as func

from rotation import app
from rotation.model import activities
from rotation.model.activities import Activity
from rotation.steps.catalogue import ACTIVITIES
from tests.unit import people

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from azure.functions.decorators.function_app import Function

FUNCTIONS: list[Function] = app.build(people.edges()).get_functions()


def kind(function: Function) -> str:
    trigger = function.get_trigger()
    assert trigger is not None
    return str(trigger.type)


def bound(functions: list[Function]) -> Iterator[tuple[Function, str, Any]]:
    """Each parameter that a binding fills, with its annotation as the worker resolves it."""
    for function in functions:
        hints = get_type_hints(function.get_user_function())
        for binding in function.get_bindings():
            if binding.name != "$return":
                yield function, binding.name, hints.get(binding.name)


def refused(functions: list[Function]) -> list[str]:
    """Parameters for which the worker would refuse the whole app: it takes no generic alias."""
    return [
        f"{function.get_function_name()}({name}: {hint})"
        for function, name, hint in bound(functions)
        if hint is not None and (not isinstance(hint, type) or get_origin(hint) is not None)
    ]


def test_the_annotation_of_each_triggers_parameter_is_a_plain_type() -> None:
    assert refused(FUNCTIONS) == []


def test_a_generic_alias_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the activities once were: the check above is not blind."""

    def aliased(reference: dict[str, Any]) -> dict[str, Any]:
        return reference

    monkeypatch.setattr(app, "_bound", lambda *_: aliased)
    found = refused(app.build(people.edges()).get_functions())
    assert sorted(found) == sorted(
        f"{activity.name}(reference: dict[str, typing.Any])" for activity in ACTIVITIES
    )


def test_every_activity_says_what_it_takes_and_gives() -> None:
    """Without an annotation the worker would take a guess."""
    names = [*app.BY_CLIENT, *(activity.name for activity in ACTIVITIES)]
    hints = {
        function.get_function_name(): get_type_hints(function.get_user_function())
        for function in FUNCTIONS
    }
    assert {name: (hints[name]["reference"], hints[name]["return"]) for name in names} == (
        dict.fromkeys(names, (dict, dict))
    )


def test_a_binding_fills_every_parameter() -> None:
    for function in FUNCTIONS:
        parameters = set(inspect.signature(function.get_user_function()).parameters)
        filled = {b.name for b in function.get_bindings() if b.name != "$return"}
        assert parameters == filled, function.get_function_name()


def test_the_catalogue_of_activities_is_implemented_and_each_name_is_there_once() -> None:
    known = {found.name for found in vars(activities).values() if isinstance(found, Activity)}
    names = [function.get_function_name() for function in FUNCTIONS]
    triggered = {
        function.get_function_name()
        for function in FUNCTIONS
        if kind(function) == "activityTrigger"
    }
    implemented = {*app.BY_CLIENT, *(activity.name for activity in ACTIVITIES)}
    assert triggered == known == implemented
    assert len(names) == len(set(names))


def test_what_a_request_comes_in_is_the_sdks_class() -> None:
    for function, name, hint in bound(FUNCTIONS):
        if kind(function) == "httpTrigger" and name == "req":
            assert hint is func.HttpRequest, function.get_function_name()
