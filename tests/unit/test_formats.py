"""The forms of a secret's value: another login is put in, and nothing else changes."""

from __future__ import annotations

import base64
import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

from rotation.formats import KEYS, Format, Held, Key, Shape, changed, read
from rotation.model.errors import Invalid
from rotation.model.reasons import Code
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

OLD, NEW = "old-Password-of-blue", "newPasswordOfGreen40"
HOSTILE = "p@:/?#[]%&=+ ;'\"\\ü"


def shape(name: Format, keys: Mapping[Key, str] | None = None, **parameters: str) -> Shape:
    return Shape(name, MappingProxyType({**KEYS, **(keys or {})}), MappingProxyType(parameters))


def green(form: Shape, value: str, role: str = "orders_green", password: str = NEW) -> str:
    return changed(form, Secret(value), (role, Secret(password)), "orders-blue/1").reveal()


# What people have: `USR` and `PSW` stand for the login, which is all that a rotation changes.
LIVE: list[tuple[str, Shape, str]] = [
    ("a password", shape("password"), "PSW"),
    (
        "a URL with a tenant's options and a pooler's port",
        shape("url"),
        "postgresql://USR:PSW@pool.example:6432/orders?options=-c%20search_path%3Dt7",
    ),
    ("SQLAlchemy's", shape("url"), "postgresql+asyncpg://USR:PSW@pg.example/orders?ssl=require"),
    (
        "a URL with a schema behind",
        shape("url"),
        "postgres://USR:PSW@pg.example:5432/orders?schema=public&connection_limit=5",
    ),
    (
        "a URL of several hosts",
        shape("url"),
        "postgresql://USR:PSW@pg-a:5432,pg-b:5433/orders?target_session_attrs=read-write",
    ),
    (
        "a URL with the login in its query",
        shape("url"),
        "postgresql:///orders?host=pg.example&user=USR&password=PSW",
    ),
    (
        "JSON as AWS has it",
        shape("json"),
        (
            '{"engine": "postgres", "username": "USR", "password": "PSW", "host": "pg.example", '
            '"port": 5432, "dbname": "orders", "masterarn": null}'
        ),
    ),
    (
        "JSON with other keys",
        shape("json", {"username": "DB_USER", "password": "DB_PASS"}),
        '{"DB_USER": "USR", "DB_PASS": "PSW", "DB_OPTIONS": {"pool": 5, "größe": 1.5}}',
    ),
    (
        "JSON with connection strings beside the password",
        shape("json"),
        (
            '{"username": "USR", "password": "PSW", "urls": ["postgresql://USR:PSW@pg/orders"], '
            '"jdbc": "jdbc:postgresql://pg/orders?user=USR&password=PSW", '
            '"more": {"net": "Host=pg;Username=USR;Password=PSW"}}'
        ),
    ),
    (
        "a JDBC URL",
        shape("jdbc"),
        "jdbc:postgresql://pg.example:5432/orders?user=USR&password=PSW&currentSchema=t7",
    ),
    (
        "keywords of libpq",
        shape("libpq"),
        "host=pg.example port=6432 user=USR password=PSW options='-c search_path=t7'",
    ),
    (
        "a connection string of Npgsql",
        shape("ado.net"),
        "Host=pg.example;Port=5432;Database=orders;User ID=USR;Pwd=PSW;SSL Mode=VerifyFull;",
    ),
    (
        "Azure's service connector, for .NET",
        shape("ado.net"),
        "Server=pg.example;Database=orders;Port=5432;Ssl Mode=Require;User Id=USR;Password=PSW;",
    ),
    (
        "Azure's service connector, for Python and Go",
        shape("libpq"),
        "dbname=orders host=pg.example port=5432 sslmode=require user=USR password=PSW",
    ),
    (
        "Azure's service connector, for Java",
        shape("jdbc"),
        "jdbc:postgresql://pg.example:5432/orders?sslmode=require&user=USR&password=PSW",
    ),
    (
        "a JDBC driver that wraps pgjdbc",
        shape("jdbc"),
        "jdbc:aws-wrapper:postgresql://pg.example/orders?password=PSW&user=USR&wrapperPlugins=",
    ),
    (
        "SQLAlchemy's with an underscore in the driver's name",
        shape("url"),
        "postgresql+psycopg_async://USR:PSW@pg.example/orders",
    ),
    (
        "Prisma's",
        shape("url"),
        "postgresql://USR:PSW@pool.example:6432/orders?schema=t7&pgbouncer=true&sslmode=require",
    ),
    (
        "Go's, without quotes and with an empty value",
        shape("libpq"),
        "host=/cloudsql/p:r:i  user=USR password=PSW dbname=orders  options=''",
    ),
    (
        "the keys of a Kubernetes Secret, Bitnami's",
        shape("json", {"password": "postgres-password", "username": "none"}),
        '{"postgres-password": "PSW", "replication-password": "of the replica, another one"}',
    ),
    (
        "the keys of a service binding, Crunchy's",
        shape("json", {"username": "user"}),
        (
            '{"host": "pg.example", "port": "5432", "dbname": "orders", "user": "USR", '
            '"password": "PSW", "uri": "postgresql://USR:PSW@pg.example:5432/orders", '
            '"jdbc-uri": "jdbc:postgresql://pg.example:5432/orders?password=PSW&user=USR", '
            '"verifier": "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"}'
        ),
    ),
    (
        "Spring's, with its address apart",
        shape(
            "json",
            {"username": "spring.datasource.username", "password": "spring.datasource.password"},
        ),
        (
            '{"spring.datasource.url": "jdbc:postgresql://pg.example/orders", '
            '"spring.datasource.username": "USR", "spring.datasource.password": "PSW"}'
        ),
    ),
    (
        "Vault's database engine",
        shape("json"),
        (
            '{"username": "USR", "password": "PSW", "connection_url": '
            '"postgresql://{{username}}:{{password}}@pg.example/orders", "ttl": 3600, '
            '"rotation_statements": []}'
        ),
    ),
    (
        "a URL of IPv6 with a socket's options",
        shape("url"),
        "postgresql://USR:PSW@[2001:db8::7]:5432/orders?keepalives=1&application_name=a%20b",
    ),
]


@pytest.mark.parametrize(("form", "text"), [row[1:] for row in LIVE], ids=[row[0] for row in LIVE])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["", "LF", "CRLF"])
def test_user_and_password_change_and_nothing_else(form: Shape, text: str, end: str) -> None:
    live = text.replace("USR", "orders_blue").replace("PSW", OLD) + end
    held = read(form, Secret(live), "v")
    assert (held.password.reveal(), held.newline) == (OLD, bool(end))
    expected = text.replace("USR", "orders_green").replace("PSW", NEW)
    assert green(form, live) == expected


@pytest.mark.parametrize(
    ("form", "live", "expected"),
    [
        (
            shape("url", sslrootcert="system"),
            f"postgresql://orders_blue:{OLD}@pg.example/orders?sslmode=verify-full",
            (
                f"postgresql://orders_green:{NEW}@pg.example/orders?sslmode=verify-full&"
                "sslrootcert=system"
            ),
        ),
        (
            shape("url", sslmode="require"),
            f"postgresql://orders_blue:{OLD}@pg.example",
            f"postgresql://orders_green:{NEW}@pg.example?sslmode=require",
        ),
        (
            shape("libpq", sslmode="verify-full", options="-c search_path=t7"),
            f"user='orders_blue' sslmode=require password={OLD}",
            f"user=orders_green sslmode=verify-full password={NEW} options='-c search_path=t7'",
        ),
        (
            Shape("ado.net", parameters={"Trust Server Certificate": "false", "Timeout": "5"}),
            f"Host=pg;Username=orders_blue;timeout=30;Password={OLD};",
            (
                f"Host=pg;Username=orders_green;timeout=5;Password={NEW};"
                "Trust Server Certificate=false"
            ),
        ),
        (
            shape("json", sslmode="require"),
            f'{{"password": "{OLD}", "sslmode": "prefer"}}',
            f'{{"password": "{NEW}", "sslmode": "require"}}',
        ),
    ],
    ids=lambda value: value.format if isinstance(value, Shape) else "",
)
def test_parameters_are_set_in_each_new_value(form: Shape, live: str, expected: str) -> None:
    assert green(form, live) == expected


@pytest.mark.parametrize(
    ("form", "live", "role", "servers", "database"),
    [
        (
            shape("url"),
            f"postgresql://orders_blue:{OLD}@[::1]:6432,pg-b/orders",
            "orders_blue",
            (("::1", 6432), ("pg-b", None)),
            "orders",
        ),
        (
            shape("url"),
            f"postgres://o%40b:{OLD}@pg/or%2Fders?x=1",
            "o@b",
            (("pg", None),),
            "or/ders",
        ),
        (shape("url"), f"postgresql://:{OLD}@/orders", None, (), "orders"),
        (
            shape("json"),
            f'{{"username": "b", "password": "{OLD}", "host": "pg", "port": "6432"}}',
            "b",
            (("pg", 6432),),
            None,
        ),
        (
            shape("jdbc"),
            f"jdbc:postgresql://pg:1/orders?password={OLD}",
            None,
            (("pg", 1),),
            "orders",
        ),
        (
            shape("libpq"),
            f"host=a,b port=1,2 user='o b' password='{OLD}' dbname=d",
            "o b",
            (("a", 1), ("b", 2)),
            "d",
        ),
        (
            shape("ado.net"),
            f'Server=pg:6432; Database = "or;ders" ;Uid=b;PASSWORD={OLD}',
            "b",
            (("pg", 6432),),
            "or;ders",
        ),
    ],
    ids=lambda value: value.format if isinstance(value, Shape) else "",
)
def test_what_a_value_says_of_the_login(
    form: Shape, live: str, role: str | None, servers: Any, database: str | None
) -> None:
    held = read(form, Secret(live), "v")
    assert (held.role, held.servers, held.database) == (role, servers, database)
    assert OLD not in repr(held)
    assert "orders" not in repr(held)


# What people have that no form is, and what they are told of it.
REFUSED: list[tuple[Shape, str, str]] = [
    (shape("password"), "\n", "it is empty"),
    (shape("password"), f"postgresql://orders_blue:{OLD}@pg/orders", "it is of the format 'url'"),
    (shape("password"), f'{{"PGPASSWORD": "{OLD}"}}', "it is of the format 'json'"),
    (shape("password"), f"host=pg user=o password={OLD}", "it is of the format 'libpq'"),
    (shape("password"), f"Server=pg;Uid=o;Pwd={OLD}", "it is of the format 'ado.net'"),
    (shape("password"), f"\ufeff{OLD}", "a byte order mark"),
    (shape("password"), f"PGUSER=orders\nPGPASSWORD={OLD}\n", "a list of variables"),
    (shape("password"), f"export A=1\r\nexport B={OLD}", "a list of variables"),
    (shape("url"), f"postgresql://u:{OLD}@pg:x/orders", "a port that is no number, or"),
    (shape("url"), f"postgresql://u:{OLD}/x@pg/orders", "is not percent-encoded"),
    (shape("url"), f"mysql://u:{OLD}@pg/orders", "another scheme"),
    (shape("url"), f"r2dbc:postgresql://u:{OLD}@pg/orders", "another scheme"),
    (shape("url"), f"postgresql://u:{OLD}@pg/\norders", "a line break or another control"),
    (shape("url"), f"postgresql://pg/orders?user=u&password={OLD}+", "a \\+ in its query"),
    (shape("url"), "postgresql://orders@pg/orders", "it has no password"),
    (shape("url"), OLD, "it is no URL"),
    (shape("url"), f'"postgresql://u:{OLD}@pg/orders"', "it stands in quotes"),
    (shape("url"), f"DATABASE_URL=postgresql://u:{OLD}@pg/orders", "another scheme"),
    (shape("url"), f"jdbc:postgresql://pg/orders?password={OLD}", "it is of the format 'jdbc'"),
    (shape("jdbc"), f"postgresql://u:{OLD}@pg/orders", "it is of the format 'url'"),
    (shape("jdbc"), f"jdbc:postgresql://u:{OLD}@pg/orders", "is not percent-encoded"),
    (shape("jdbc"), "jdbc:postgresql://pg/orders", "it has no password"),
    (shape("json"), OLD, "it is no JSON object, has a key twice"),
    (shape("json"), f'["{OLD}"]', "it is no JSON object"),
    (shape("json"), f"username: orders\npassword: {OLD}", "it is no JSON object"),
    (shape("json"), f'{{"Password": "{OLD}"}}', "it has no text under the key 'password'"),
    (shape("json"), f'{{"password": ["{OLD}"]}}', "it has no text under the key 'password'"),
    (shape("json"), f'{{"data": {{"data": {{"password": "{OLD}"}}}}}}', "within another value"),
    (shape("json"), f'{{"a": [{{"password": "{OLD}"}}]}}', "within another value"),
    (shape("json"), '{"a":' * 60 + "1" + "}" * 60, "more than 50 levels"),
    (shape("libpq"), f"host=pg password='{OLD}", "a value that is not quoted as libpq has it"),
    (shape("libpq"), OLD, "it has no keywords"),
    (shape("libpq"), f"host=pg\tpassword={OLD}", "a line break or another control"),
    (shape("ado.net"), f'Host=pg;Password="{OLD}', "a value that is not quoted as Npgsql has it"),
]


@pytest.mark.parametrize(("form", "live", "why"), REFUSED, ids=range(len(REFUSED)))
@pytest.mark.parametrize("encoded", [False, True], ids=["", "base64"])
def test_what_is_refused_is_told_apart(form: Shape, live: str, why: str, *, encoded: bool) -> None:
    if encoded:
        why = "it is the base64 of a value" if "it is of the format" in why else "it |of the|has"
        live = base64.b64encode(live.encode()).decode()
        if form.format == "password" and "base64" not in why:
            assert read(form, Secret(live), "v").password.reveal() == live
            return
    with pytest.raises(Invalid, match=why) as caught:
        read(form, Secret(live), "orders-blue/1")
    assert caught.value.code is Code.FORMAT
    assert OLD not in str(caught.value)


@pytest.mark.parametrize(
    "password",
    ["a=b", "c2VjcmV0", "c2VjcmV0cGFzc3dvcmQ=", '"quoted"', "{", "{}", "pg:5432/orders", "a\nb=c"],
)
def test_a_strange_password_is_one(password: str) -> None:
    assert read(shape("password"), Secret(password), "v").password.reveal() == password


@pytest.mark.parametrize(
    ("form", "live", "password"),
    [
        (shape("jdbc"), "jdbc:postgresql://pg/orders?user=o&password=a+b%2B", "a b+"),
        (shape("url"), "postgresql+asyncpg://pg/orders?user=o&password=a+b%2B", "a b+"),
        (shape("url"), "postgresql://o:a+b@pg/orders", "a+b"),
        (shape("url"), "postgresql://pg/orders?user=o&password=a%2Bb&options=x+y", "a+b"),
    ],
)
def test_a_plus_is_what_the_client_takes_it_for(form: Shape, live: str, password: str) -> None:
    assert read(form, Secret(live), "v").password.reveal() == password


@pytest.mark.parametrize(
    ("form", "live"),
    [
        (shape("password"), ""),
        (shape("password"), "\n"),
        (shape("url"), OLD),
        (shape("url"), "postgresql://orders@pg/orders"),
        (shape("url"), f"mysql://orders:{OLD}@pg/orders"),
        (shape("url"), f"postgresql://orders:{OLD}@pg:x/orders"),
        (shape("url"), f"postgresql://orders:{OLD}@pg/orders\t"),
        (shape("json"), f'{{"pass": "{OLD}"}}'),
        (shape("json"), f'["{OLD}"]'),
        (shape("json"), f'{{"password": "{OLD}", "password": "{NEW}"}}'),
        (shape("json"), '{"password": 7}'),
        (shape("json"), "[" * 100_000),
        (shape("jdbc"), f"jdbc:postgresql://orders:{OLD}@pg/orders"),
        (shape("libpq"), f"password='{OLD}"),
        (shape("libpq"), f"postgresql://orders:{OLD}@pg"),
        (shape("libpq"), "host=pg user=orders"),
        (shape("ado.net"), f'Password="{OLD}'),
        (shape("ado.net"), f"Password{OLD}"),
        (shape("ado.net"), "Host=pg;Password="),
    ],
)
def test_what_is_not_of_the_form_is_refused(form: Shape, live: str) -> None:
    for attempt in (lambda: read(form, Secret(live), "orders-blue/1"), lambda: green(form, live)):
        with pytest.raises(Invalid, match=r"orders-blue/1 holds no password in the format") as why:
            attempt()
        assert why.value.code is Code.FORMAT
        assert OLD not in str(why.value)


def test_a_password_in_a_place_that_nobody_knows_is_refused() -> None:
    """It would stay the old one there, and whoever reads it fails after the rotation."""
    live = f'{{"password": "{OLD}", "command": "psql --password {OLD}"}}'
    with pytest.raises(Invalid, match="in another place too") as why:
        green(shape("json"), live)
    assert why.value.code is Code.FORMAT_ELSEWHERE
    assert OLD not in str(why.value)


def test_a_short_password_may_stand_elsewhere_by_chance() -> None:
    live = '{"username": "orders", "password": "orders", "dbname": "orders"}'
    assert json.loads(green(shape("json"), live)) == {
        "username": "orders_green",
        "password": NEW,
        "dbname": "orders",
    }


def test_a_value_that_names_no_user_gets_none() -> None:
    assert green(shape("url"), f"postgresql://:{OLD}@pg/orders") == f"postgresql://:{NEW}@pg/orders"
    assert green(shape("json"), f'{{"password": "{OLD}"}}') == f'{{"password": "{NEW}"}}'
    assert green(shape("libpq"), f"password={OLD}") == f"password={NEW}"


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf"]), min_size=1)
BLANK: dict[Format, str] = {
    "password": "x",
    "url": "postgresql://x:x@pg.example:6432/orders?sslmode=require",
    "json": '{"username": "x", "password": "x"}',
    "jdbc": "jdbc:postgresql://pg.example/orders?user=x&password=x",
    "libpq": "user=x password=x host=pg.example",
    "ado.net": "Username=x;Password=x;Host=pg.example",
}


@given(st.sampled_from(sorted(BLANK)), TEXT, TEXT)
def test_what_is_written_can_be_read(name: Format, role: str, password: str) -> None:
    held = read(Shape(name), Secret(green(Shape(name), BLANK[name], role, password)), "v")
    assert held.password.reveal() == password
    assert held.role == (None if name == "password" else role)


@pytest.mark.parametrize("password", [NEW, HOSTILE])
def test_others_read_what_is_written(password: str) -> None:
    url = green(Shape("url"), BLANK["url"], "o@b", password)
    assert (make_url(url).username, make_url(url).password) == ("o@b", password)
    assert urlsplit(url).port == 6432
    for value in (url, green(Shape("libpq"), BLANK["libpq"], "o@b", password)):
        read_by_libpq = conninfo_to_dict(value)
        assert (read_by_libpq["user"], read_by_libpq["password"]) == ("o@b", password)


@given(st.sampled_from(sorted(BLANK)), st.text(max_size=200))
def test_any_text_is_read_or_refused(name: Format, value: str) -> None:
    try:
        held = read(Shape(name), Secret(value), "v")
    except Invalid:
        return
    assert isinstance(held, Held)
    assert held.password.reveal()
