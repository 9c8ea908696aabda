"""The types of single values in `credentials.yaml`.

Each check answers with the value as it is used, or raises `ValueError` with what it must be.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core.core_schema import no_info_after_validator_function

from rotation.decisions import templates
from rotation.model.reasons import why_not_waived

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

DURATION = re.compile(
    r"(?:([0-9]{1,9})\s*d)?\s*(?:([0-9]{1,9})\s*h)?\s*(?:([0-9]{1,9})\s*m)?\s*(?:([0-9]{1,9})\s*s)?"
)
UNITS = ("days", "hours", "minutes", "seconds")
SECONDS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/: Services, their ports
# and namespaces have labels for names, Deployments and Secrets have subdomains.
LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
SUBDOMAIN = rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*"
SHORT_SUBDOMAIN = rf"(?=.{{1,52}}\Z){LABEL}(\.{LABEL})*"  # of what others add to
LONGEST = timedelta(days=3650)


def duration(value: object) -> timedelta:
    """The duration that a text like `90d`, `1d12h` or `20s` says.

    A bare number is refused, since its unit would be a guess.
    """
    if isinstance(value, timedelta):
        return value
    match = DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not any(match.groups()):
        raise ValueError(f"{shown(value)} is not a duration: write for example 90d, 24h or 1m30s")
    numbers = {unit: int(number or 0) for unit, number in zip(UNITS, match.groups(), strict=True)}
    # Compared before it is made: a timedelta has its own limit.
    if numbers["days"] > LONGEST.days or timedelta(**numbers) > LONGEST:
        raise ValueError(f"{shown(value)} is longer than {LONGEST.days}d")
    return timedelta(**numbers)


def positive(value: timedelta) -> timedelta:
    """The duration, if it is longer than nothing."""
    if not value:
        raise ValueError("must be longer than 0s")
    return value


def shown(value: object) -> str:
    """A value as messages quote it: a scalar shortened, of anything else only its type."""
    if not isinstance(value, str | int | float | bool | None):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def duration_text(value: timedelta) -> str:
    """A duration as the file would have it."""
    left, parts = int(value.total_seconds()), ""
    for unit, seconds in SECONDS:
        count, left = divmod(left, seconds)
        parts += f"{count}{unit}" if count else ""
    return parts or "0s"


def _url(value: object, *schemes: str) -> str:
    """The URL, if it has one of the schemes. One with credentials in it is never quoted."""
    text = value if isinstance(value, str) else ""
    if "@" in text:
        raise ValueError("must not hold credentials: remove everything before the @")
    if not text.isprintable() or " " in text or not _is_url(text, schemes):
        kinds = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"{shown(value)} is not an {kinds} URL")
    return text


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        port_is_usable = parts.port != 0  # raises for one above 65535
    except ValueError:
        return False
    return bool(
        parts.scheme in schemes and parts.hostname and port_is_usable and not parts.fragment
    )


def https_url(value: object) -> str:
    """The URL of a server, without a slash at its end."""
    text = _url(value, "https")
    if urlsplit(text).query:
        raise ValueError(f"{shown(value)} must be the URL of a server, without a query")
    return text.rstrip("/")


def vault_url(value: object) -> str:
    """The URL of a Key Vault as events and versions name it: see `origin`."""
    text = https_url(value)
    if urlsplit(text).path:
        raise ValueError(f"{shown(value)} must be the URL of a Key Vault, without a path")
    return origin(text)


def origin(url: str) -> str:
    """The URL with its host in lower case, and without a port that https has anyway.

    The same server is written in several ways, and two of them must not look like two servers.
    Raises `ValueError` for a text that is no URL.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in {None, 443} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def test_url(value: object) -> str:
    return _url(value, "https", "http")


def test_path(value: str) -> str:
    """The path of a test, if no dots lead out of the Service's proxy.

    Its requests carry a token of the cluster.
    """
    if not re.fullmatch(r"/[^\s?#\\]*(\?[^\s#]*)?", value):
        raise ValueError(f"{shown(value)} is not a path: write for example /whoami")
    if {".", ".."} & set(unquote(value.partition("?")[0]).split("/")):
        raise ValueError(f"{shown(value)} must not have . or .. as a part")
    return value


def port_of_service(value: object) -> str | int | None:
    if value is None or (type(value) is int and 1 <= value <= 65535):
        return value
    if isinstance(value, str) and re.fullmatch(LABEL, value):
        return value
    raise ValueError(f"{shown(value)} is neither a port number nor the name of a Service's port")


# https://www.rfc-editor.org/rfc/rfc9110: those that a request is framed by.
FRAMES = {
    "connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
SAYS_WHO = {"authorization", "cookie", "proxy-authorization"}  # the API server takes its own too
# As gateways call what they let callers in by.
NAMES_A_SECRET = re.compile(r"(^|[-_])(api)?(?<!idempotency-)(key|token|secret|password)$")


def header_name(value: str) -> str:
    """The name of a header that a test may send."""
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", value):
        raise ValueError(f"{shown(value)} is not the name of a header")
    known = value.lower()
    if known in FRAMES:
        raise ValueError(f"{value} frames the request, which the app does itself: leave it out")
    if known in SAYS_WHO or known.startswith("impersonate-") or NAMES_A_SECRET.search(known):
        raise ValueError(
            f"{value} says who asks, and this file holds no secret: test a route that needs none"
        )
    return value


LONGEST_STATEMENT = 4000  # characters


def statement(value: str) -> str:
    """A query of a test, without white space around it, if it can be one.

    The server says whether it is; here is refused what would be misunderstood.
    """
    text = value.strip()
    if not text or len(text) > LONGEST_STATEMENT:
        raise ValueError(f"must be one query, of {LONGEST_STATEMENT} characters at most")
    if not all(letter.isprintable() or letter in "\n\t" for letter in text):
        raise ValueError("must be printable text, line breaks and tabs aside")
    if text.endswith(";"):
        raise ValueError("must be one query, without a semicolon at its end")
    if "{role}" in text or "{slot}" in text:
        raise ValueError(
            "{role} and {slot} are filled in in `value` alone: in SQL the role is session_user"
        )
    return text


def json_scalar(value: object) -> object:
    """The value, if JSON has it as a text, whole number, true, false or null."""
    if value is None or isinstance(value, str | int | bool):
        return value
    raise ValueError(f"{shown(value)} must be a text, a whole number, true, false or null")


def addresses(value: object) -> str | tuple[str, ...]:
    """`pods`, `nodes`, or ranges such as 10.1.0.0/16, which a single address is one of."""
    if value in ("pods", "nodes"):
        return str(value)
    if not isinstance(value, list) or not value:
        raise ValueError(f"{shown(value)} must be pods, nodes, or a list of ranges of addresses")
    return tuple(_range(each) for each in value)


def _range(value: object) -> str:
    try:
        network = ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(
            f"{shown(value)} is not a range of addresses: write for example 10.1.0.0/16 or 10.1.2.3"
        ) from None
    if network.prefixlen == 0:
        raise ValueError(f"{shown(value)} is every address: nothing would be told apart by it")
    return str(network)


TIME_OF_DAY = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00"


def time_of_day(value: object) -> str:
    """The time that a clock shows, as in 22:00; 24:00 is the end of a day."""
    text = value if isinstance(value, str) else ""
    if not re.fullmatch(TIME_OF_DAY, text, re.ASCII):
        raise ValueError(f"{shown(value)} is not a time of day: write for example 22:00 or 04:30")
    return text


def day(value: object) -> str:
    """A date as in 2026-12-24, which YAML reads as one without quotes."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    try:
        text = value if isinstance(value, str) else ""
        return datetime.strptime(text, "%Y-%m-%d").date().isoformat()  # noqa: DTZ007 - a day has none
    except ValueError:
        raise ValueError(f"{shown(value)} is not a date: write for example 2026-12-24") from None


# https://data.iana.org/time-zones/theory.html: names have an area and a place. Others, as
# `localtime`, are some machine's own.
ZONE = r"UTC|(?!posix/|right/)[A-Za-z][A-Za-z_]*(?:/[A-Za-z0-9_+-]+){1,2}"


def zone(value: str) -> str:
    """The name of a time zone that the tz database has."""
    try:
        known = bool(re.fullmatch(ZONE, value, re.ASCII) and ZoneInfo(value))
    except (ZoneInfoNotFoundError, OSError, ValueError):
        known = False
    if not known:
        text = f"{shown(value)} is no time zone of the tz database"
        raise ValueError(f"{text}: write for example Europe/Berlin or UTC")
    return value


def metrics_url(value: object) -> str:
    """The URL of a Prometheus server, without a slash at its end."""
    text = _url(value, "https", "http")
    if urlsplit(text).query:
        raise ValueError(f"{shown(value)} must be the URL of a server, without a query")
    return text.rstrip("/")


def metrics_query(value: str) -> str:
    """A query for a metric, without white space around it."""
    text = value.strip()
    if not text or len(text) > LONGEST_STATEMENT:
        raise ValueError(f"must be one query, of {LONGEST_STATEMENT} characters at most")
    if not all(letter.isprintable() or letter in "\n\t" for letter in text):
        raise ValueError("must be printable text, line breaks and tabs aside")
    return text


def number(value: object) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{shown(value)} must be a number")
    return float(value)


@dataclass(frozen=True)
class Matching:
    """That a text matches the whole `pattern`; `meaning` completes "must be"."""

    pattern: str
    meaning: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # Editors match as JavaScript does, which has no \Z.
        pattern = f"^(?:{self.pattern})$".replace(r"\Z", "$")
        return {**handler(core), "pattern": pattern, "description": f"Must be {self.meaning}."}

    def check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"{shown(value)} must be {self.meaning}")
        return value


def waivable_code(value: str) -> str:
    why_not = why_not_waived(value)
    if why_not is not None:
        raise ValueError(why_not)
    return value


def template_path(value: str) -> str:
    """The path in a pod template, as messages show it."""
    try:
        return templates.shown(templates.parsed(value))
    except ValueError as error:
        raise ValueError(f"{shown(value)} is no path of a pod template: {error}") from None


def role_name(value: str) -> str:
    if not 1 <= len(value.encode(errors="replace")) <= 63 or not value.isprintable():
        raise ValueError(f"{shown(value)} must be a role's name: 1 to 63 bytes, printable")
    return value


# A credential's and a workload's name become parts of instance ids, which are limited to 100
# characters without / \ # ? on the Durable Task Scheduler.
Name = Annotated[
    str,
    Matching(
        r"[a-z][a-z0-9-]{0,30}[a-z0-9]",
        "2 to 32 lower-case letters, digits and hyphens, starting with a letter",
    ),
]
DnsLabel = Annotated[
    str,
    Matching(LABEL, "a Kubernetes name: 1 to 63 lower-case letters, digits and hyphens"),
]
CronJobName = Annotated[
    str,
    Matching(
        SHORT_SUBDOMAIN,
        "a CronJob's name: 1 to 52 lower-case letters, digits, hyphens and dots",
    ),
]
DnsSubdomain = Annotated[
    str,
    Matching(
        SUBDOMAIN,
        "a Kubernetes name: 1 to 253 lower-case letters, digits, hyphens and dots",
    ),
]
SecretName = Annotated[
    str,
    Matching(r"[0-9a-zA-Z-]{1,127}", "a Key Vault name: 1 to 127 letters, digits and hyphens"),
]
DataKey = Annotated[str, Matching(r"[-._a-zA-Z0-9]{1,253}", "a key of a Kubernetes Secret")]
LabelKey = Annotated[
    str,
    Matching(
        r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?",
        "a label's key",
    ),
]
LabelValue = Annotated[
    str,
    Matching(
        r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?",
        "a label's value: at most 63 letters, digits, hyphens, dots and underscores",
    ),
]
# What a limit is for: a name as it stands elsewhere in the file, or * for each other one.
LimitedCluster = Annotated[str, Matching(r"\*|[a-z][a-z0-9-]{0,30}[a-z0-9]", "a cluster, or *")]
LimitedServer = Annotated[
    str,
    Matching(
        r"\*|[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?(:[1-9][0-9]{0,4})?",
        "a server's host in lower case, with a port that is not 5432, or *",
    ),
]
LimitedNamespace = Annotated[
    str,
    Matching(
        rf"\*|[a-z][a-z0-9-]{{0,30}}[a-z0-9]/(?:{LABEL})", "a cluster and a namespace as c/n, or *"
    ),
]
Host = Annotated[str, Matching(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", "a host name")]
Text = Annotated[str, Matching(r"[^\x00-\x1f\x7f]{1,255}", "a text of one line")]
DatabaseName = Annotated[str, Matching(r"[^\x00-\x1f\x7f]{1,63}", "a database's name")]
RoleName = Annotated[str, AfterValidator(role_name)]
MailAddress = Annotated[
    str,
    Matching(r"[^@\s\x00-\x1f\x7f]{1,200}@[^@\s\x00-\x1f\x7f]{1,200}", "a mail address"),
]
Duration = Annotated[
    timedelta,
    BeforeValidator(duration),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*(\d{1,9}\s*d)?\s*(\d{1,9}\s*h)?\s*(\d{1,9}\s*m)?\s*(\d{1,9}\s*s)?\s*$",
            "description": "A duration: 90d, 24h, 10m, 20s, or together as in 1d12h.",
        }
    ),
]
PositiveDuration = Annotated[Duration, AfterValidator(positive)]
HttpsUrl = Annotated[str, BeforeValidator(https_url)]
VaultUrl = Annotated[str, BeforeValidator(vault_url)]
LimitedVault = Annotated[str, BeforeValidator(lambda one: one if one == "*" else vault_url(one))]
TestUrl = Annotated[str, BeforeValidator(test_url)]
TestPath = Annotated[str, AfterValidator(test_path)]
Port = Annotated[int, Field(ge=1, le=65535)]
ServicePort = Annotated[str | int | None, BeforeValidator(port_of_service)]
Addresses = Annotated[
    Literal["pods", "nodes"] | tuple[str, ...],
    PlainValidator(addresses),
    WithJsonSchema(
        {
            "description": "pods, nodes, or a list of ranges of addresses.",
            "anyOf": [
                {"enum": ["pods", "nodes"]},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
        }
    ),
]
TimeOfDay = Annotated[
    str,
    PlainValidator(time_of_day),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{TIME_OF_DAY})$"}),
]
Date = Annotated[str, PlainValidator(day), WithJsonSchema({"type": "string", "format": "date"})]
Zone = Annotated[str, AfterValidator(zone)]
TemplatePath = Annotated[str, AfterValidator(template_path)]
WaivableCode = Annotated[str, AfterValidator(waivable_code)]
HeaderName = Annotated[str, AfterValidator(header_name)]
HeaderValue = Annotated[
    str,
    Matching(r"[\x21-\x7e]([\x20-\x7e]{0,998}[\x21-\x7e])?", "one line of ASCII"),
]
Statement = Annotated[str, AfterValidator(statement)]
MetricsUrl = Annotated[str, BeforeValidator(metrics_url)]
MetricsQuery = Annotated[str, AfterValidator(metrics_query)]
Number = Annotated[float, BeforeValidator(number)]
TokenFile = Annotated[
    str, Matching(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,98}[A-Za-z0-9])?", "the name of a file")
]
WorkspaceId = Annotated[
    str,
    Matching(
        r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "the id of a workspace: a GUID"
    ),
]
Column = Annotated[str, Matching(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "the name of a column")]
JsonScalar = Annotated[str | int | bool | None, BeforeValidator(json_scalar)]
