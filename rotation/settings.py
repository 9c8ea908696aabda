"""The app settings (environment variables), parsed from a mapping that is passed in.

Kept apart from `config` so that a cold start does not pay for the parsing of credentials.

No problem quotes a value: a key may have been put where its address belongs, and problems are shown
on pages that anybody can open. What is taken over goes into links and events, so an address with a
user, a password, a query or a fragment in it is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import urlsplit

from rotation.clouds import CLOUDS, PUBLIC, named
from rotation.model.errors import ConfigurationError
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rotation.clouds import Cloud

SignIn = Literal["entra", "links"]

LONGEST_WATCH = 30  # seconds: a watch must end before the answer's deadline, and the activity's


@dataclass(frozen=True)
class Storage:
    """A storage account: `url` of its blobs, which the app's identity opens, or a connection string
    with a key in it."""

    url: str | None = None
    connection: Secret | None = None


@dataclass(frozen=True)
class Settings:
    """Every setting is optional; what depends on an absent one says so when it is used."""

    config: str = "credentials.yaml"  # ROTATION_CONFIG: a file or folder below the app's root
    public_url: str | None = None  # ROTATION_PUBLIC_URL: links in events; https://WEBSITE_HOSTNAME
    sign_in: SignIn = (
        "links"  # ROTATION_SIGN_IN: who may decide is known from Entra, or signed links
    )
    link_key: str | None = None  # ROTATION_LINK_KEY: URL of the Key Vault secret that signs links
    easy_auth: bool = False  # WEBSITE_AUTH_ENABLED: the platform's sign-in is in front of the app
    cloud: Cloud = PUBLIC  # ROTATION_CLOUD: its name, as `az cloud list` has it
    topic: str | None = None  # ROTATION_TOPIC_ENDPOINT: Event Grid custom topic
    ca_bundle: str | None = None  # ROTATION_CA_BUNDLE: PEM file of a private authority
    # ROTATION_DATABASE_HOSTS: servers that get the app's Entra token, beside the cloud's own
    database_hosts: frozenset[str] = frozenset()
    # ROTATION_STORAGE: blobs of the account that keeps records; the Functions host's unless given
    storage: Storage | None = None
    # ROTATION_TOKENS: folder of files with tokens for the metrics of conditions
    tokens: str | None = None
    paused: bool = False  # ROTATION_PAUSED: the sweep looks and starts nothing
    # ROTATION_SWEEP_SCHEDULE: when the host runs the sweep, which pages tell; None for no schedule
    sweep_schedule: str | None = None
    watch_seconds: int = 20  # ROTATION_WATCH_SECONDS: how long one activity waits for a change


def parse(environment: Mapping[str, str]) -> Settings:
    """The app settings that the environment has.

    Raises `ConfigurationError` naming every setting that is wrong, and none of their values.
    """
    problems: list[str] = []
    settings = Settings(
        config=environment.get("ROTATION_CONFIG") or "credentials.yaml",
        public_url=_public_url(environment, problems),
        sign_in=_sign_in(environment, problems),
        link_key=_secret_url(environment, "ROTATION_LINK_KEY", problems),
        easy_auth=environment.get("WEBSITE_AUTH_ENABLED", "").lower() == "true",
        cloud=_cloud(environment, problems),
        topic=_url(environment, "ROTATION_TOPIC_ENDPOINT", problems, "https"),
        ca_bundle=environment.get("ROTATION_CA_BUNDLE") or None,
        database_hosts=_database_hosts(environment),
        storage=_storage(environment, problems),
        tokens=environment.get("ROTATION_TOKENS") or None,
        paused=_flag(environment, "ROTATION_PAUSED", problems),
        sweep_schedule=_schedule(environment.get("ROTATION_SWEEP_SCHEDULE", "")),
        watch_seconds=_watch_seconds(environment, problems),
    )
    if problems:
        raise ConfigurationError("app settings", problems)
    return settings


def _public_url(environment: Mapping[str, str], problems: list[str]) -> str | None:
    """The app's address in links: the setting, or else the host name that Azure gives it."""
    if environment.get("ROTATION_PUBLIC_URL"):
        given = _url(environment, "ROTATION_PUBLIC_URL", problems, "https", "http")
        return given.rstrip("/") if given else None
    host = environment.get("WEBSITE_HOSTNAME")
    return f"https://{host}" if host else None


def _url(
    environment: Mapping[str, str], key: str, problems: list[str], *schemes: str
) -> str | None:
    """The URL in the setting `key`; None where it is absent, or refused, which adds a problem."""
    value = environment.get(key) or None
    if value is not None and not _is_url(value, schemes):
        kinds = " or ".join(f"{scheme}://" for scheme in schemes)
        problems.append(f"{key}: is not an {kinds} address of a host and, at most, a path")
        return None
    return value


def _is_url(value: str, schemes: tuple[str, ...]) -> bool:
    """Whether a text is a URL of one of the schemes: a host, perhaps a port, perhaps a path."""
    if not value.isascii() or not value.isprintable() or set(value) & set(" @?#\\"):
        return False
    try:
        parts = urlsplit(value)
        return bool(parts.scheme in schemes and parts.hostname and parts.port != 0)
    except ValueError:
        return False


def _secret_url(environment: Mapping[str, str], key: str, problems: list[str]) -> str | None:
    """The URL of a Key Vault secret; None where it is absent, or refused, which adds a problem.

    It names no version: a new one must be taken up as soon as it is there.
    """
    value = _url(environment, key, problems, "https")
    if value is None:
        return None
    if not re.fullmatch(r"/secrets/[0-9A-Za-z-]+/?", urlsplit(value).path):
        problems.append(f"{key}: is not https://<vault>/secrets/<name>, where the key is kept")
        return None
    return value.rstrip("/")


def _sign_in(environment: Mapping[str, str], problems: list[str]) -> SignIn:
    """How those who decide sign in: "links" unless it is given, or where it adds a problem."""
    value = environment.get("ROTATION_SIGN_IN") or "links"
    for known in get_args(SignIn):
        if value == known:
            return known  # type: ignore[no-any-return]
    problems.append("ROTATION_SIGN_IN: is neither 'entra' nor 'links'")
    return "links"


def _cloud(environment: Mapping[str, str], problems: list[str]) -> Cloud:
    """The cloud that the app runs in: the public one unless another is named."""
    name = environment.get("ROTATION_CLOUD") or None
    if name is not None and name not in CLOUDS:
        problems.append(f"ROTATION_CLOUD: is none of {', '.join(sorted(CLOUDS))}")
    return named(name)


def _database_hosts(environment: Mapping[str, str]) -> frozenset[str]:
    """The listed servers that get the app's Entra token, lower case; commas separate them."""
    listed = environment.get("ROTATION_DATABASE_HOSTS", "").split(",")
    return frozenset(host.strip().lower() for host in listed if host.strip())


def _storage(environment: Mapping[str, str], problems: list[str]) -> Storage | None:
    """The storage account of the app; None where it has none, or where it adds a problem.

    The host's own settings add none: the host complains of them itself.
    https://learn.microsoft.com/azure/azure-functions/functions-reference#configure-an-identity-based-connection
    """
    if environment.get("ROTATION_STORAGE"):
        given = _url(environment, "ROTATION_STORAGE", problems, "https")
        return Storage(url=given.rstrip("/")) if given else None
    hosts = environment.get("AzureWebJobsStorage__blobServiceUri", "")
    if _is_url(hosts, ("https",)):
        return Storage(url=hosts.rstrip("/"))
    connection = environment.get("AzureWebJobsStorage")
    return Storage(connection=Secret(connection)) if connection else None


def _flag(environment: Mapping[str, str], key: str, problems: list[str]) -> bool:
    """Whether the setting `key` is true; False where it is absent, or adds a problem."""
    value = (environment.get(key) or "false").lower()
    if value not in {"true", "false"}:
        problems.append(f"{key}: is neither true nor false")
    return value == "true"


def _schedule(value: str) -> str | None:
    """The six fields of a timer's schedule; None for anything else, of which the host complains."""
    return (
        value if re.fullmatch(r"[0-9A-Za-z*/,-]{1,20}( [0-9A-Za-z*/,-]{1,20}){5}", value) else None
    )


def _watch_seconds(environment: Mapping[str, str], problems: list[str]) -> int:
    value = environment.get("ROTATION_WATCH_SECONDS") or "20"
    if re.fullmatch(r"[0-9]{1,3}", value) and 1 <= int(value) <= LONGEST_WATCH:
        return int(value)
    text = f"ROTATION_WATCH_SECONDS: is not a whole number from 1 to {LONGEST_WATCH}"
    problems.append(text)
    return 20
