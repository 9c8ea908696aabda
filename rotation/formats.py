"""The forms that a secret's value has: what it says of the login, and the value for another login.

A new version is the live one with another user and password in it. All else that people have
written there stays as it is: options, hosts, keys of their own.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import quote, unquote, unquote_plus

from rotation.model.errors import Invalid
from rotation.model.reasons import Code
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Format = Literal["password", "url", "json", "jdbc", "libpq", "ado.net"]
Key = Literal["username", "password", "host", "port", "dbname"]
KEYS: Mapping[Key, str] = MappingProxyType({key: key for key in get_args(Key)})
NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})
# Shorter ones may stand somewhere by chance: `orders` is a password that people have, and a name.
TELLING = 12
DEEPEST = 50  # levels of a JSON object
# Some readers leave them out, and others do not.
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Shape:
    """How the values of a credential's secrets are written.

    `keys` are a JSON object's keys for the parts of a login. `parameters` are set in each new value
    in place of what the live one has under their names.
    """

    format: Format = "password"
    keys: Mapping[Key, str] = field(default_factory=lambda: KEYS)
    parameters: Mapping[str, str] = field(default_factory=lambda: NO_PARAMETERS)


@dataclass(frozen=True)
class Held:
    """What a secret's value holds: the password, and the login that it names, as far as it does.

    None of it may be told: of a value that is written wrongly, any part may be the password.
    `servers` are pairs of host and port, without those that a value leaves out. `newline`: a line
    break stood at its end.
    """

    password: Secret
    role: str | None = field(default=None, repr=False)
    servers: tuple[tuple[str, int | None], ...] = field(default=(), repr=False)
    database: str | None = field(default=None, repr=False)
    newline: bool = False


def read(shape: Shape, value: Secret, reference: str) -> Held:
    """What a secret's value holds; one line break at its end is no part of it.

    Raises `Invalid` for a value without a password in this form; `reference` names the secret
    version there.
    """
    written = value.reveal()
    clear = _without_newline(written)
    held = _FORMS[shape.format].read(clear, shape)
    if held is None:
        raise Invalid(
            Code.FORMAT,
            f"secret version {reference} holds no password in the format {shape.format!r}: "
            f"{_instead(clear, shape)}; correct `format` in credentials.yaml or write the secret "
            "anew",
        )
    return replace(held, newline=clear != written)


def changed(shape: Shape, value: Secret, login: tuple[str, Secret], reference: str) -> Secret:
    """The value with another user and password in it, and the shape's parameters.

    `login` are both. A value that names no user gets none. Raises `Invalid` as `read` does, and for
    a value that has its password in a place that the form does not know: it would stay there.
    """
    held = read(shape, value, reference)
    role, password = login[0], login[1].reveal()
    clear = _without_newline(value.reveal())
    written = _FORMS[shape.format].write(clear, shape, (role, password))
    old = held.password.reveal()
    if len(old) >= TELLING and old != password and old in written:
        raise Invalid(
            Code.FORMAT_ELSEWHERE,
            f"secret version {reference} has the password in another place too than the format "
            f"{shape.format!r} has it: it would keep the old one there",
        )
    return Secret(written)


def _without_newline(value: str) -> str:
    return value.removesuffix("\n").removesuffix("\r") if value.endswith("\n") else value


@dataclass(frozen=True)
class _Form:
    """Reads a value, None if it is not of this form, and writes it with another login."""

    read: Callable[[str, Shape], Held | None]
    write: Callable[[str, Shape, tuple[str, str]], str]
    lacks: Callable[[str, Shape], str]  # why a value is not of this form


# What nobody has for a password, though it may be one: a login that fails would not say why.
BYTE_ORDER_MARK = "\ufeff"
VARIABLES = re.compile(r"(?:(?:export )?[A-Za-z_][A-Za-z0-9_]*=.*(?:\r?\n|\Z)){2,}")


def _read_password(value: str, _: Shape) -> Held | None:
    return None if not value or next(_strange(value), None) else Held(Secret(value))


def _strange(value: str) -> Iterator[str]:
    """What a value is that can be told without its form, in words that quote nothing of it."""
    if value.startswith(BYTE_ORDER_MARK):
        yield "it begins with a byte order mark, as some editors and shells write it"
    if VARIABLES.fullmatch(value):
        yield "it is a list of variables: a secret has one value"
    other = _other(value)
    if other is not None:
        yield f"it is of the format {other!r}"
    if _other(value[1:-1]) is not None and value[0] == value[-1] in {'"', "'"}:
        yield "it stands in quotes"
    if _other(_decoded(value)) is not None:
        yield "it is the base64 of a value: Key Vault keeps the value itself"


def _other(value: str) -> Format | None:
    """The form of a value that is more than a password alone."""
    if _object(value):
        return "json"
    for name in EMBEDDED:
        held = _FORMS[name].read(value, Shape(name))
        if held is not None and (held.servers or held.role):
            return name
    return None


def _decoded(value: str) -> str:
    """What a text is the base64 of; empty if it is none."""
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError:
        return ""


def _instead(value: str, shape: Shape) -> str:
    """Why a value is not of the form, in words that quote nothing of it."""
    if not value:
        return "it is empty"
    reasons = [_FORMS[shape.format].lacks(value, shape)]
    if shape.format != _other(value):
        reasons = [*_strange(value), *reasons]
    return reasons[0]


def _no_password(_: str, __: Shape) -> str:
    return "it cannot be read"


def _no_url(value: str, _: Shape) -> str:
    return next(_lacking_in_url(value), "it has no password")


def _lacking_in_url(value: str) -> Iterator[str]:
    """Why a text is no URL of PostgreSQL's with a password."""
    if "://" not in value[:40]:
        yield "it is no URL"
    if SCHEME.match(value) is None:
        yield "it begins with another scheme than PostgreSQL's"
    if CONTROL.search(value):
        yield "it has a line break or another control character in it"
    url = URL.fullmatch(value) or JDBC.fullmatch(value)
    if url is None:
        yield "one of the characters @ : / ? # in it is not percent-encoded"
    elif _query(url) is None:
        yield "a + in its query is a space to some clients: write %20, or %2B for a plus"
    elif _servers(url["servers"]) is None:
        yield "it names a port that is no number, or has a / ? or # that is not percent-encoded"


def _no_json(value: str, shape: Shape) -> str:
    document = _object(value)
    key = shape.keys["password"]
    if document is None:
        return f"it is no JSON object, has a key twice, or more than {DEEPEST} levels"
    within = [child for child in document.values() if isinstance(child, dict | list)]
    if key not in document and any(_has(child, key) for child in within):
        return f"it has the key {key!r} within another value only, where no `keys` reach"
    return f"it has no text under the key {key!r}, which `keys` names"


def _has(value: object, key: str) -> bool:
    """Whether a JSON value has a key somewhere."""
    if isinstance(value, dict):
        return key in value or any(_has(child, key) for child in value.values())
    return isinstance(value, list) and any(_has(child, key) for child in value)


def _no_keywords(value: str, shape: Shape) -> str:
    if CONTROL.search(value):
        return "it has a line break or another control character in it"
    if "=" not in value:
        return "it has no keywords with values"
    name = "libpq" if shape.format == "libpq" else "Npgsql"
    return f"it has no password, or a value that is not quoted as {name} has it"


def _write_password(_: str, __: Shape, login: tuple[str, str]) -> str:
    return login[1]


# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS, with the drivers
# that SQLAlchemy and others put behind a `+`; and https://jdbc.postgresql.org/documentation/use/.
URL = re.compile(
    r"(?P<scheme>postgres(?:ql)?(?:\+[a-z0-9_]+)?://)"
    r"(?:(?P<user>[^:@/?#]*)(?::(?P<password>[^@/?#]*))?@)?"
    r"(?P<servers>[^@/?#]*)"
    r"(?P<database>/[^?#]*)?"
    r"(?P<query>\?[^#]*)?",
)
JDBC = re.compile(
    # Drivers that wrap pgjdbc, for metrics or failover, have a name in between.
    r"(?P<scheme>jdbc:(?:[a-z0-9-]+:)?postgresql://)(?P<user>(?!))?(?P<password>(?!))?"
    r"(?P<servers>[^@/?#]*)(?P<database>/[^?#]*)?(?P<query>\?[^#]*)?"
)
SCHEME = re.compile(r"postgres(?:ql)?(?:\+[a-z0-9_]+)?://|jdbc:(?:[a-z0-9-]+:)?postgresql://")
SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")


def _read_url(pattern: re.Pattern[str]) -> Callable[[str, Shape], Held | None]:
    def read_it(value: str, _: Shape) -> Held | None:
        url = None if CONTROL.search(value) else pattern.fullmatch(value)
        if url is None:
            return None
        asked = _query(url)
        servers = _servers(url["servers"])
        if asked is None or servers is None:
            return None
        password = unquote(url["password"] or "") or asked.get("password")
        if not password:
            return None
        return Held(
            password=Secret(password),
            role=unquote(url["user"] or "") or asked.get("user"),
            servers=servers,
            database=unquote((url["database"] or "")[1:]) or asked.get("dbname"),
        )

    return read_it


def _write_url(pattern: re.Pattern[str]) -> Callable[[str, Shape, tuple[str, str]], str]:
    def write_it(value: str, shape: Shape, login: tuple[str, str]) -> str:
        url = pattern.fullmatch(value)
        if url is None:
            raise ValueError("not a value that was read")
        asked = _query(url) or {}
        set_to = {
            **shape.parameters,
            **({"user": login[0]} if "user" in asked else {}),
            **({"password": login[1]} if "password" in asked else {}),
        }
        user = _quoted(login[0]) if url["user"] else ""
        signed_in = f":{_quoted(login[1])}" if url["password"] else ""
        at = "@" if url["user"] is not None else ""
        return (
            f"{url['scheme']}{user}{signed_in}{at}{url['servers']}"
            f"{url['database'] or ''}{_with(url['query'] or '', set_to)}"
        )

    return write_it


def _raw(url: re.Match[str]) -> Iterator[tuple[str, str]]:
    """Keys and values of a URL's query, the values as they stand."""
    for part in (url["query"] or "")[1:].split("&"):
        key, _, text = part.partition("=")
        yield unquote(key), text


def _query(url: re.Match[str]) -> dict[str, str] | None:
    """The query of a URL; None if a `+` in its login may be a space.

    It is one to pgjdbc and SQLAlchemy, whose schemes tell them; among the clients of the plain ones
    asyncpg and node-postgres take it for a space, and libpq and pgx do not (run: tests/real).
    """
    asked = list(_raw(url))
    spaces = re.match(r"jdbc:|postgres(?:ql)?\+", url["scheme"]) is not None
    if not spaces and any(key in {"user", "password"} and "+" in text for key, text in asked):
        return None
    return {key: unquote_plus(text) if spaces else unquote(text) for key, text in asked}


def _with(query: str, values: Mapping[str, str]) -> str:
    """The query with these values, in the place of those of their names or at its end."""
    left = dict(values)
    parts = []
    for part in filter(None, query[1:].split("&")):
        key = unquote(part.partition("=")[0])
        left.pop(key, None)
        parts.append(f"{_quoted(key)}={_quoted(values[key])}" if key in values else part)
    parts += [f"{_quoted(key)}={_quoted(text)}" for key, text in left.items()]
    return f"?{'&'.join(parts)}" if parts else ""


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _servers(text: str) -> tuple[tuple[str, int | None], ...] | None:
    """The hosts and ports that a list of them names; None if one cannot be read."""
    servers = []
    for one in text.split(",") if text else ():
        server = SERVER.fullmatch(one)
        if server is None:
            return None
        host = unquote(server["host"]).strip("[]")
        if host:
            servers.append((host, int(server["port"]) if server["port"] else None))
    return tuple(servers)


def _read_json(value: str, shape: Shape) -> Held | None:
    document = _object(value)
    if document is None:
        return None
    password = document.get(shape.keys["password"])
    if not isinstance(password, str) or not password:
        return None
    host, port = _text(document, shape, "host"), _text(document, shape, "port")
    number = None if port is None else int(port[:9]) if port.isdecimal() else 0
    return Held(
        password=Secret(password),
        role=_text(document, shape, "username"),
        servers=((host, number),) if host else (),
        database=_text(document, shape, "dbname"),
    )


def _object(value: str) -> dict[str, Any] | None:
    """The JSON object in a text; None if it is none, has a key twice, or is nested too deep."""
    try:
        document = json.loads(value, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and not _deep(document) else None


def _deep(document: dict[str, object]) -> bool:
    """Whether a document has more levels than what walks through it may go down."""
    level: list[object] = [document]
    for _ in range(DEEPEST):
        parents = [value for value in level if isinstance(value, dict | list)]
        level = [
            child
            for parent in parents
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return bool(level)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice: readers differ in which they take")
    return dict(pairs)


def _text(document: dict[str, Any], shape: Shape, key: Key) -> str | None:
    """What stands under a part's key, as a text; None for nothing."""
    value = document.get(shape.keys[key])
    return None if value in (None, "") else str(value)


def _write_json(value: str, shape: Shape, login: tuple[str, str]) -> str:
    document = _object(value)
    if document is None:
        raise ValueError("not a value that was read")
    old = document[shape.keys["password"]]
    document = {key: _within(child, old, login) for key, child in document.items()}
    document[shape.keys["password"]] = login[1]
    if _text(document, shape, "username") is not None:
        document[shape.keys["username"]] = login[0]
    return json.dumps({**document, **shape.parameters}, ensure_ascii=False)


# What a JSON object may have beside its password: connection strings with the same one.
EMBEDDED: tuple[Format, ...] = ("url", "jdbc", "libpq", "ado.net")


def _within(value: Any, old: str, login: tuple[str, str]) -> Any:
    """A JSON value with the new login in each connection string that has the old password."""
    if isinstance(value, dict):
        return {key: _within(child, old, login) for key, child in value.items()}
    if isinstance(value, list):
        return [_within(child, old, login) for child in value]
    if not isinstance(value, str):
        return value
    for name in EMBEDDED:
        held = _FORMS[name].read(value, Shape(name))
        if held is not None and held.password.reveal() == old:
            return _FORMS[name].write(value, Shape(name), login)
    return value


@dataclass(frozen=True)
class _Pair:
    """A key and its value in a text of pairs; `start` and `end` are the place of the value."""

    key: str
    value: str
    start: int
    end: int


# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE
LIBPQ = re.compile(r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?:\s+|\Z)", re.DOTALL)
# https://learn.microsoft.com/dotnet/api/system.data.common.dbconnectionstringbuilder
ADO = re.compile(
    r"\s*([^=;]+?)\s*=\s*(\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|[^;\"'][^;]*?|)\s*(?:;|\Z)", re.DOTALL
)
# What Npgsql takes for each: https://www.npgsql.org/doc/connection-string-parameters.html
ADO_KEYS: dict[Key, tuple[str, ...]] = {
    "username": ("username", "userid", "uid", "user"),
    "password": ("password", "psw", "pwd"),
    "host": ("host", "server"),
    "port": ("port",),
    "dbname": ("database", "db"),
}
LIBPQ_KEYS: dict[Key, tuple[str, ...]] = {
    "username": ("user",),
    "password": ("password",),
    "host": ("host",),
    "port": ("port",),
    "dbname": ("dbname",),
}


# Under these, parameters would be another login than the slot's.
LOGIN_PARAMETERS = frozenset(
    {*ADO_KEYS["username"], *ADO_KEYS["password"], *LIBPQ_KEYS["username"]}
)


@dataclass(frozen=True)
class _Keywords:
    """A form of pairs of keyword and value."""

    pattern: re.Pattern[str]
    keys: dict[Key, tuple[str, ...]]
    plain: Callable[[str], str]  # the value that is written so
    quoted: Callable[[str], str]  # how a value is written
    between: str

    def form(self) -> _Form:
        return _Form(self._read, self._write, _no_keywords)

    def _pairs(self, text: str) -> list[_Pair] | None:
        """The pairs of a text; None if it is not made of them."""
        pairs, at = [], 0
        while at < len(text):
            match = self.pattern.match(text, at)
            if match is None or match.end() == at:
                return None
            pairs.append(
                _Pair(_folded(match[1]), self.plain(match[2]), match.start(2), match.end(2))
            )
            at = match.end()
        return pairs

    def _part(self, pairs: list[_Pair], key: Key) -> str | None:
        values = [pair.value for pair in pairs if pair.key in self.keys[key]]
        return values[-1] if values and values[-1] else None

    def _read(self, value: str, _: Shape) -> Held | None:
        pairs = None if CONTROL.search(value) else self._pairs(value)
        password = self._part(pairs, "password") if pairs else None
        if not pairs or not password:
            return None
        hosts = (self._part(pairs, "host") or "").split(",")
        ports = (self._part(pairs, "port") or "").split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        servers = []
        for host, port in zip(hosts, ports, strict=False):
            # Npgsql takes the port behind the host too.
            name, own = _host_and_port(host.strip())
            number = (own or port).strip()
            if name:
                port_number = int(number[:9]) if number.isdecimal() else 0
                servers.append((name, port_number if number else None))
        return Held(
            password=Secret(password),
            role=self._part(pairs, "username"),
            servers=tuple(servers),
            database=self._part(pairs, "dbname"),
        )

    def _write(self, value: str, shape: Shape, login: tuple[str, str]) -> str:
        pairs = self._pairs(value) or []
        set_to = {_folded(key): (key, text) for key, text in shape.parameters.items()}
        new = {
            **dict.fromkeys(self.keys["username"], login[0]),
            **dict.fromkeys(self.keys["password"], login[1]),
            **{key: text for key, (_, text) in set_to.items()},
        }
        for pair in reversed(pairs):
            if pair.key in new:
                value = value[: pair.start] + self.quoted(new[pair.key]) + value[pair.end :]
        there = {pair.key for pair in pairs}
        more = [
            f"{key}={self.quoted(text)}"
            for folded, (key, text) in set_to.items()
            if folded not in there
        ]
        kept = value.rstrip(f"{self.between} ") if more else value
        return self.between.join([kept, *more])


def _host_and_port(text: str) -> tuple[str, str]:
    name, _, port = text.partition(":")
    return (text, "") if ":" in port else (name, port)  # an IPv6 address has several


def _folded(keyword: str) -> str:
    """A keyword as it is compared: without spaces, in lower case."""
    return re.sub(r"\s+", "", keyword).lower()


def _from_libpq(text: str) -> str:
    inner = text[1:-1] if text.startswith("'") else text
    return re.sub(r"\\(.)", r"\1", inner, flags=re.DOTALL)


def _to_libpq(text: str) -> str:
    if text and not re.search(r"[\s'\\]", text):
        return text
    return "'" + re.sub(r"(['\\])", r"\\\1", text) + "'"


def _from_ado(text: str) -> str:
    if text[:1] in {"'", '"'}:
        return text[1:-1].replace(text[0] * 2, text[0])
    return text


def _to_ado(text: str) -> str:
    if re.fullmatch(r"[\w.:/@+-]+", text, re.ASCII):
        return text
    return '"' + text.replace('"', '""') + '"'


_FORMS: dict[str, _Form] = {
    "password": _Form(_read_password, _write_password, _no_password),
    "url": _Form(_read_url(URL), _write_url(URL), _no_url),
    "json": _Form(_read_json, _write_json, _no_json),
    "jdbc": _Form(_read_url(JDBC), _write_url(JDBC), _no_url),
    "libpq": _Keywords(LIBPQ, LIBPQ_KEYS, _from_libpq, _to_libpq, " ").form(),
    "ado.net": _Keywords(ADO, ADO_KEYS, _from_ado, _to_ado, ";").form(),
}
