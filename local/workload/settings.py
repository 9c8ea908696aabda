"""The environment variables, read once from a mapping.

Where to listen and who this is:
    PORT (8080), HOST (127.0.0.1), WORKLOAD (orders), SLOT (none), POD_NAME or HOSTNAME,
    APPLICATION_NAME (WORKLOAD/SLOT), by which its sessions are known in pg_stat_activity,
    SOURCE_ADDRESS (none), of this machine, that they come from: the kernel chooses unless given.
The database login, from exactly one of
    DATABASE_PASSWORD  the password; DATABASE_HOST, _PORT (5432), _NAME and _ROLE say the rest
    DATABASE_URL       postgresql://role:password@host:port/dbname?sslmode=...
    DATABASE_JSON      an object with username, password, host, port, dbname, sslmode
or from the file that the same name with _FILE points to (a volume of the Secrets Store CSI driver).
The role may be in a file too, DATABASE_ROLE_FILE.
DATABASE_SSLMODE (verify-full) and DATABASE_SSLROOTCERT apply unless the secret has its own.
Behaviour:
    POOL_MIN (1), POOL_MAX (8) connections, for one of which a request waits up to POOL_SECONDS (5),
    each replaced after POOL_LIFETIME (3600) seconds;
    RELOAD_SECONDS (0: never) between looks at the files, whose new login takes the place of the one
    in use: connections with the former end as soon as no request has them;
    WARM_UP_SECONDS (0) from the start until it is ready;
    LOGIN_SECONDS (5) between fresh logins by the readiness probe; LAME_DUCK_SECONDS (3) of serving
    on after SIGTERM, at least; DRAIN_SECONDS (15), at most, for connections that are open even then
    and requests that are in flight. With 0 LAME_DUCK_SECONDS it closes its connections at once.
    JOB_SECONDS (0.05) is how long a job of the worker takes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

URL_OPTIONS = {"sslmode", "sslrootcert"}
JSON_KEYS = {"username": "user", "password": "password", "host": "host", "port": "port"}
JSON_KEYS |= {"dbname": "dbname", "sslmode": "sslmode"}
REQUIRED = {"host": "DATABASE_HOST", "dbname": "DATABASE_NAME", "user": "DATABASE_ROLE"}


class SettingsError(Exception):
    """Every problem at once, each with the variable's name and never with a secret's value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("the environment has problems:\n  " + "\n  ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Settings:
    """`connection` holds keyword arguments of `psycopg.connect`, the password among them."""

    host: str
    port: int
    workload: str
    slot: str
    pod: str
    application: str
    source: str | None
    pool_min: int
    pool_max: int
    pool_seconds: float
    pool_lifetime: float
    warm_up_seconds: float
    login_seconds: float
    lame_duck_seconds: float
    drain_seconds: float
    job_seconds: float
    reload_seconds: float
    connection: dict[str, Any] = field(repr=False)


def parse(environment: Mapping[str, str]) -> Settings:
    """Raises `SettingsError`."""
    problems: list[str] = []

    def number(name: str, default: float) -> float:
        given = environment.get(name) or str(default)
        try:
            value = float(given)
        except ValueError:
            value = -1
        if value < 0:
            problems.append(f"{name}: {given!r} is not a number from 0 up")
        return value

    workload, slot = environment.get("WORKLOAD") or "orders", environment.get("SLOT") or ""
    own_name = f"{workload}/{slot}" if slot else workload
    application = environment.get("APPLICATION_NAME") or own_name
    settings = Settings(
        host=environment.get("HOST") or "127.0.0.1",
        port=int(number("PORT", 8080)),
        workload=workload,
        slot=slot,
        pod=environment.get("POD_NAME") or environment.get("HOSTNAME") or "",
        application=application,
        source=environment.get("SOURCE_ADDRESS") or None,
        pool_min=int(number("POOL_MIN", 1)),
        pool_max=int(number("POOL_MAX", 8)),
        pool_seconds=number("POOL_SECONDS", 5),
        pool_lifetime=number("POOL_LIFETIME", 3600),
        warm_up_seconds=number("WARM_UP_SECONDS", 0),
        login_seconds=number("LOGIN_SECONDS", 5),
        lame_duck_seconds=number("LAME_DUCK_SECONDS", 3),
        drain_seconds=number("DRAIN_SECONDS", 15),
        job_seconds=number("JOB_SECONDS", 0.05),
        reload_seconds=number("RELOAD_SECONDS", 0),
        connection={
            **_connection(environment, problems),
            "application_name": application,
            "connect_timeout": 5,
        },
    )
    if not 0 < settings.pool_max >= settings.pool_min:
        problems.append(f"POOL_MAX: {settings.pool_max} must be above 0 and not below POOL_MIN")
    if problems:
        raise SettingsError(problems)
    return settings


def _connection(environment: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    given = {
        "host": environment.get("DATABASE_HOST"),
        "port": environment.get("DATABASE_PORT") or "5432",
        "dbname": environment.get("DATABASE_NAME"),
        "user": _role(environment, problems),
        "sslmode": environment.get("DATABASE_SSLMODE") or "verify-full",
        "sslrootcert": environment.get("DATABASE_SSLROOTCERT"),
    }
    connection: dict[str, Any] = {key: value for key, value in given.items() if value}
    secret = _secret(environment, problems)
    if secret is None:
        return connection
    connection |= secret
    problems += [
        f"{variable}: missing, and the secret does not say it either"
        for key, variable in REQUIRED.items()
        if key not in connection
    ]
    return connection


def _role(environment: Mapping[str, str], problems: list[str]) -> str | None:
    path = environment.get("DATABASE_ROLE_FILE")
    if not path:
        return environment.get("DATABASE_ROLE")
    try:
        return _value("DATABASE_ROLE_FILE", path)
    except _Unreadable as error:
        problems.append(f"DATABASE_ROLE_FILE: {error}")
        return None


def _secret(environment: Mapping[str, str], problems: list[str]) -> dict[str, Any] | None:
    """The connection that the one secret describes; None, and a problem, when that is unclear."""
    names = [name + suffix for name in READERS for suffix in ("", "_FILE")]
    present = [name for name in names if environment.get(name)]
    if len(present) != 1:
        has = " and ".join(present) or "none of them"
        problems.append(f"give exactly one of {', '.join(names)}: there is {has}")
        return None
    name = present[0]
    try:
        value = _value(name, environment[name])
        return READERS[name.removesuffix("_FILE")](value)
    except _Unreadable as error:
        problems.append(f"{name}: {error}")
        return None


class _Unreadable(Exception):  # noqa: N818 - never leaves this module
    pass


def _value(name: str, given: str) -> str:
    if not name.endswith("_FILE"):
        return given
    try:
        return Path(given).read_text(encoding="utf-8").removesuffix("\n")
    except OSError as error:
        raise _Unreadable(f"cannot read {given}: {error.strerror}") from error


def _from_password(value: str) -> dict[str, Any]:
    if not value:
        raise _Unreadable("is empty")
    return {"password": value}


def _from_url(value: str) -> dict[str, Any]:
    """The connection in a URL, parsed here and not by libpq, whose messages quote the part that
    it does not understand."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise _Unreadable("is no URL; percent-encode the password") from None
    if parts.scheme not in {"postgresql", "postgres"} or not (parts.username and parts.password):
        raise _Unreadable("is not of the form postgresql://role:password@host:port/dbname")
    options = dict(parse_qsl(parts.query))
    if unknown := sorted(options.keys() - URL_OPTIONS):
        raise _Unreadable(f"has options that are not known here: {', '.join(unknown)}")
    found = {
        "user": unquote(parts.username),
        "password": unquote(parts.password),
        "host": parts.hostname,
        "port": port,
        "dbname": unquote(parts.path.removeprefix("/")),
    }
    return {key: item for key, item in found.items() if item} | options


def _from_json(value: str) -> dict[str, Any]:
    try:
        document = json.loads(value)
    except ValueError:
        raise _Unreadable("is no JSON") from None
    if not isinstance(document, dict) or not document.get("password"):
        raise _Unreadable(f"is not an object with {', '.join(JSON_KEYS)}")
    return {name: document[key] for key, name in JSON_KEYS.items() if document.get(key)}


READERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "DATABASE_PASSWORD": _from_password,
    "DATABASE_URL": _from_url,
    "DATABASE_JSON": _from_json,
}
