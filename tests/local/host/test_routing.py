from __future__ import annotations

import pytest

from local.host.routing import Route, RouteError


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("health", "health", {}),
        ("Health", "hEALTH/", {}),
        ("a/{b}", "a/x", {"b": "x"}),
        ("a/{b}", "a/x%20y%2Fz", {"b": "x y/z"}),
        ("a/{b}/c", "a/1/c", {"b": "1"}),
        ("a/{b?}", "a", {}),
        ("a/{b?}", "a/1", {"b": "1"}),
        ("a/{b:int?}", "a", {}),
        ("a/{*b}", "a", {}),
        ("a/{*b}", "a/1/2/3", {"b": "1/2/3"}),
        ("{**all}", "x/y", {"all": "x/y"}),
        ("{*all}", "", {}),
        ("files/{name}.{kind}", "files/a.txt", {"name": "a", "kind": "txt"}),
        ("v{major:int}/x", "v12/x", {"major": "12"}),
        ("a/{b:int}", "a/-7", {"b": "-7"}),
        ("a/{b:long}", "a/9000000000", {"b": "9000000000"}),
        ("a/{b:bool}", "a/True", {"b": "True"}),
        ("a/{b:guid}", "a/5f0c9a54-2f4e-4d1a-8a34-3a6e4a8f3f10", None),
        ("a/{b:alpha:length(2,3)}", "a/xyz", {"b": "xyz"}),
        ("a/{b:range(1,9)}", "a/9", {"b": "9"}),
        ("a/{b:min(5)}", "a/5", {"b": "5"}),
        (r"a/{b:regex(^\d{{3}}$)}", "a/123", {"b": "123"}),
        ("a/{b:regex(^x:y?$)}", "a/x:y", {"b": "x:y"}),
    ],
)
def test_path_matches(template: str, path: str, values: dict[str, str] | None) -> None:
    expected = {"b": path.partition("/")[2]} if values is None else values
    assert Route(template).match(path) == expected


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("health", "healthy"),
        ("health", "health/x"),
        ("a/{b}", "a"),
        ("a/{b}", "a/1/2"),
        ("a/{b:int}", "a/x"),
        ("a/{b:int}", "a/9000000000"),
        ("a/{b:int?}", "a/x"),
        ("a/{b:bool}", "a/yes"),
        ("a/{b:guid}", "a/5f0c9a54"),
        ("a/{b:alpha}", "a/x1"),
        ("a/{b:alpha:length(2,3)}", "a/x"),
        ("a/{b:maxlength(2)}", "a/xyz"),
        ("a/{b:range(1,9)}", "a/10"),
        ("a/{b:max(5)}", "a/x"),
        (r"a/{b:regex(^\d{{3}}$)}", "a/1234"),
        ("files/{name}.{kind}", "files/a"),
    ],
)
def test_path_matches_bad(template: str, path: str) -> None:
    assert Route(template).match(path) is None


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("a/{b:odd}", "constraint 'odd' is not known"),
        ("a/{b:odd(1)}", "constraint 'odd(1)' is not known"),
        ("a/{b=5}", "default values"),
        ("a/{b:regex(()}", "a/{b:regex(()}"),
        ("a/{b:min(x)}", "invalid literal"),
        ("{a}/{a}", "redefinition"),
    ],
)
def test_template_bad(template: str, reason: str) -> None:
    with pytest.raises(RouteError) as caught:
        Route(template)
    assert reason in str(caught.value)
    assert template in str(caught.value)


def test_more_specific_routes_come_first() -> None:
    templates = ["{*all}", "a/{*rest}", "a/{b}", "a/{b:int}", "a/b", "a/{b}/c"]
    found = [route.template for route in sorted(map(Route, templates), key=lambda r: r.order)]
    assert found == ["a/b", "a/{b:int}", "a/{b}", "a/{b}/c", "a/{*rest}", "{*all}"]
