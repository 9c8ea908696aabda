"""HTTP triggers over real HTTP: routes, keys, conversions, failures."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.local.host.support import FUNCTION_KEY, MASTER_KEY, SYSTEM_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local.host.support import Sample


def test_request_arrives_as_the_platform_gives_it(host: Sample) -> None:
    path = "/api/Echo/abc/7?tag=a&tag=b%26c&empty=&word=%C3%A9"
    answer = host.call("POST", path, key=FUNCTION_KEY, body=b"\xff\x00z", headers={"X-Thing": "1"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    seen = answer.json()
    assert seen["method"] == "POST"
    assert seen["url"].startswith(f"{host.component.url}/api/Echo/abc/7?tag=a")
    assert seen["route"] == {"word": "abc", "number": "7"}
    assert seen["query"] == {"tag": "a,b&c", "word": "é"}
    assert seen["headers"]["x-thing"] == "1"
    assert seen["body"] == "\xff\x00z"
    assert seen["function"] == "echo"


def test_optional_and_catch_all_parameters(host: Sample) -> None:
    assert host.call("GET", "/api/echo/abc", key=FUNCTION_KEY).json()["route"] == {"word": "abc"}
    assert host.call("GET", "/api/open/a/b%20c").json() == {"method": "GET", "rest": "a/b c"}
    assert host.call("GET", "/api/open").json() == {"method": "GET", "rest": None}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_function_without_methods_takes_all(host: Sample, method: str) -> None:
    assert host.call(method, "/api/open/x").json()["method"] == method


def test_head_has_headers_and_no_body(host: Sample) -> None:
    answer = host.call("HEAD", "/api/echo/abc", key=FUNCTION_KEY)
    assert (answer.status, answer.data) == (200, b"")
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/absent"),
        ("GET", "/echo/abc"),
        ("GET", "/api/echo/abc1"),
        ("GET", "/api/echo/abc/x"),
        ("DELETE", "/api/echo/abc"),
        ("HEAD", "/api/crash"),
        ("GET", "/"),
        ("GET", "/runtime/webhooks/other"),
        ("DELETE", "/admin/host/status"),
    ],
)
def test_unknown_path_or_method_is_404_without_a_body(host: Sample, method: str, path: str) -> None:
    answer = host.call(method, path, key=MASTER_KEY)
    assert (answer.status, answer.data) == (404, b"")


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/api/echo/abc", None, 401),
        ("/api/echo/abc", "wrong", 401),
        ("/api/echo/abc", SYSTEM_KEY, 401),
        ("/api/echo/abc", FUNCTION_KEY, 200),
        ("/api/echo/abc", MASTER_KEY, 200),
        ("/api/secret", FUNCTION_KEY, 401),
        ("/api/secret", SYSTEM_KEY, 401),
        ("/api/secret", MASTER_KEY, 200),
        ("/api/open", "wrong", 200),
        ("/admin/host/status", None, 401),
        ("/admin/host/status", FUNCTION_KEY, 403),
        ("/admin/host/status", MASTER_KEY, 200),
    ],
)
def test_keys_open_their_levels(host: Sample, path: str, key: str | None, status: int) -> None:
    in_header = host.call("GET", path, key=key)
    in_query = host.call("GET", path, fields={"code": key or ""})
    assert (in_header.status, in_query.status) == (status, status)
    if status in {401, 403}:
        assert (in_header.data, in_query.data) == (b"", b"")


def test_a_key_of_any_bytes_is_only_wrong(host: Sample) -> None:
    answer = host.call("GET", "/api/echo/abc", headers={"x-functions-key": b"\xff\xfe"})
    assert answer.status == 401
    assert host.call("GET", "/api/echo/abc?code=%FF").status == 401


def test_the_header_wins_over_the_query(host: Sample) -> None:
    answer = host.call("GET", "/api/echo/abc", key="wrong", fields={"code": FUNCTION_KEY})
    assert answer.status == 401


def test_binary_answer_with_status_header_and_cookie(host: Sample) -> None:
    answer = host.call("POST", "/api/binary", body=bytes(range(256)))
    assert (answer.status, answer.data) == (201, bytes(range(255, -1, -1)))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Thing"] == "one"
    assert answer.headers["Set-Cookie"] == "session=abc; HttpOnly"


def test_a_string_is_an_answer_in_plain_text(host: Sample) -> None:
    answer = host.call("GET", "/api/secret", key=MASTER_KEY)
    assert answer.data == b"for the master key"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/api/crash", "ValueError: the sample crashed on purpose"),
        ("/api/nothing", "TypeError: "),
    ],
)
def test_a_failing_function_is_500_without_a_body(host: Sample, path: str, logged: str) -> None:
    answer = host.call("GET", path)
    assert (answer.status, answer.data) == (500, b"")
    failures = [json.loads(line) for line in host.log.splitlines() if line.startswith("{")]
    assert any(logged in failure.get("traceback", "") for failure in failures)


def test_a_body_over_the_limit_is_413(host: Sample) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    just_too_long = bytes(100 * 1024 * 1024 + 1)
    answer = host.call("POST", "/api/binary", body=just_too_long, headers=headers)
    assert answer.status == 413


def test_every_request_is_one_log_line_without_its_query(host: Sample) -> None:
    host.call("GET", "/api/open/logged", fields={"code": MASTER_KEY, "token": "t0psecret"})
    lines = [json.loads(line) for line in host.log.splitlines() if line.startswith("{")]
    found = [line for line in lines if line.get("path") == "/api/open/logged"]
    assert len(found) == 1
    assert (found[0]["event"], found[0]["method"], found[0]["status"]) == ("request", "GET", 200)
    assert found[0]["ms"] >= 0
    assert "t0psecret" not in host.log


def test_the_app_does_not_see_the_keys(host: Sample) -> None:
    environment = host.call("GET", "/api/environment").json()
    assert not {"LOCAL_FUNCTION_KEY", "LOCAL_MASTER_KEY", "LOCAL_SYSTEM_KEY"} & set(environment)
    assert environment["WEBSITE_HOSTNAME"] == host.component.url.removeprefix("http://")
    assert environment["WEBSITE_AUTH_ENABLED"] == "False"


def principal(**claims: str) -> str:
    entries = [{"typ": typ, "val": val} for typ, val in claims.items()]
    content = {"auth_typ": "aad", "claims": entries, "name_typ": "name", "role_typ": "roles"}
    return base64.b64encode(json.dumps(content).encode()).decode()


def test_without_easy_auth_headers_pass_as_they_are(host: Sample) -> None:
    headers = {"X-MS-CLIENT-PRINCIPAL": "forged", "X-Local-Sign-In": "ignored"}
    seen = host.call("GET", "/api/echo/abc", key=FUNCTION_KEY, headers=headers).json()["headers"]
    assert seen["x-ms-client-principal"] == "forged"


def test_easy_auth_replaces_forged_principals(launch: Callable[..., Sample]) -> None:
    host = launch(LOCAL_EASY_AUTH="on")
    forged = {"X-MS-CLIENT-PRINCIPAL": "forged", "x-ms-client-principal-id": "forged"}

    def seen(**headers: str) -> dict[str, Any]:
        answer = host.call("GET", "/api/echo/abc", key=FUNCTION_KEY, headers={**forged, **headers})
        assert answer.status == 200
        return {n: v for n, v in answer.json()["headers"].items() if n.startswith("x-ms-client")}

    given = principal(name="ada@example.com", roles="approver")
    signed_in = {
        "x-ms-client-principal": given,
        "x-ms-client-principal-idp": "aad",
        "x-ms-client-principal-name": "ada@example.com",
    }
    assert seen() == {}
    assert seen(**{"X-Local-Sign-In": given}) == signed_in
    assert seen(Cookie=f"LocalSignIn={given}") == signed_in
    environment = host.call("GET", "/api/environment").json()
    assert environment["WEBSITE_AUTH_ENABLED"] == "True"


BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"


def test_easy_auth_refuses_what_a_browser_sends_from_another_site(
    launch: Callable[..., Sample],
) -> None:
    """As the platform does it for a session: a page without a referrer cannot post either."""
    host = launch(LOCAL_EASY_AUTH="on")
    own, given = host.component.url, principal(name="ada@example.com")

    def status(method: str = "POST", **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        session = {"Cookie": f"LocalSignIn={given}", "User-Agent": BROWSER}
        sent = {**session, **named}
        return host.call(method, "/api/open", headers=sent, body=b"").status

    ours = {"Origin": own, "Referer": f"{own}/api/pages"}
    passed = status("GET")
    assert passed not in {403, 404}
    refused = [
        {},
        {"Origin": "null"},
        {"Origin": own},
        {"Referer": ours["Referer"]},
        {**ours, "Origin": "null"},
        {**ours, "Origin": "https://evil.example"},
        {**ours, "Referer": "https://evil.example/"},
        {**ours, "Origin": "https://[evil"},
    ]
    assert [status(**headers) for headers in refused] == [403] * len(refused)
    assert status(**ours) != 403
    assert status(User_Agent="curl/8.0") != 403
    assert status(Cookie="", X_Local_Sign_In=given) != 403


@pytest.mark.parametrize("given", ["%%%", "bm90IGpzb24=", "W10=", "eyJjbGFpbXMiOiA1fQ=="])
def test_a_sign_in_that_is_none_is_400(launch: Callable[..., Sample], given: str) -> None:
    host = launch(LOCAL_EASY_AUTH="on")
    answer = host.call("GET", "/api/open", headers={"X-Local-Sign-In": given})
    assert answer.status == 400
    assert b"sign-in" in answer.data
