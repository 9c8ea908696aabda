"""The app settings (environment variables), parsed from a mapping that is passed in.

Kept apart from `config` so that a cold start does not pay for the parsing of credentials.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import urlsplit

from rotation.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

SignIn = Literal["entra", "links"]


@dataclass(frozen=True)
class Settings:
    """Every setting is optional; what depends on an absent one says so when it is used."""

    config: str = "credentials.yaml"  # ROTATION_CONFIG: path below the app's root
    public_url: str | None = None  # ROTATION_PUBLIC_URL: links in events; https://WEBSITE_HOSTNAME
    sign_in: SignIn = (
        "links"  # ROTATION_SIGN_IN: who may decide is known from Entra, or signed links
    )
    link_key: str | None = None  # ROTATION_LINK_KEY: URL of the Key Vault secret that signs links
    easy_auth: bool = False  # WEBSITE_AUTH_ENABLED: the platform's sign-in is in front of the app
    topic: str | None = None  # ROTATION_TOPIC_ENDPOINT: Event Grid custom topic
    ca_bundle: str | None = None  # ROTATION_CA_BUNDLE: PEM file of a private authority
    # ROTATION_DATABASE_HOSTS: servers that get the app's Entra token, beside the cloud's own
    database_hosts: frozenset[str] = frozenset()
    watch_seconds: int = 20  # ROTATION_WATCH_SECONDS: how long one activity waits for a change


def parse(environment: Mapping[str, str]) -> Settings:
    """Raises `ConfigurationError` naming every setting that is wrong."""
    problems: list[str] = []
    settings = Settings(
        config=environment.get("ROTATION_CONFIG") or "credentials.yaml",
        public_url=_public_url(environment, problems),
        sign_in=_sign_in(environment, problems),
        link_key=_secret_url(environment, "ROTATION_LINK_KEY", problems),
        easy_auth=environment.get("WEBSITE_AUTH_ENABLED", "").lower() == "true",
        topic=_url(environment, "ROTATION_TOPIC_ENDPOINT", problems),
        ca_bundle=environment.get("ROTATION_CA_BUNDLE") or None,
        database_hosts=_hosts(environment),
        watch_seconds=_watch_seconds(environment, problems),
    )
    if problems:
        raise ConfigurationError("app settings", problems)
    return settings


def _public_url(environment: Mapping[str, str], problems: list[str]) -> str | None:
    given = environment.get("ROTATION_PUBLIC_URL")
    if given:
        if not _is_url(given, "https", "http"):
            problems.append(f"ROTATION_PUBLIC_URL: {given!r} is not an http(s):// URL")
        return given.rstrip("/")
    host = environment.get("WEBSITE_HOSTNAME")
    return f"https://{host}" if host else None


def _url(environment: Mapping[str, str], key: str, problems: list[str]) -> str | None:
    value = environment.get(key) or None
    if value is not None and not _is_url(value, "https"):
        problems.append(f"{key}: {value!r} is not an https:// URL")
        return None
    return value


def _is_url(value: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(value)
        return bool(parts.scheme in schemes and parts.hostname and parts.port != 0)
    except ValueError:
        return False


def _secret_url(environment: Mapping[str, str], key: str, problems: list[str]) -> str | None:
    """Without a version: a new one must be taken up as soon as it is there."""
    value = _url(environment, key, problems)
    if value is not None and not re.fullmatch(r"/secrets/[0-9A-Za-z-]+/?", urlsplit(value).path):
        problems.append(f"{key}: {value!r} is not https://<vault>/secrets/<name>")
    return value.rstrip("/") if value else None


def _sign_in(environment: Mapping[str, str], problems: list[str]) -> SignIn:
    value = environment.get("ROTATION_SIGN_IN") or "links"
    for known in get_args(SignIn):
        if value == known:
            return known  # type: ignore[no-any-return]
    problems.append(f"ROTATION_SIGN_IN: {value!r} is neither 'entra' nor 'links'")
    return "links"


def _hosts(environment: Mapping[str, str]) -> frozenset[str]:
    """Host names, separated by commas."""
    listed = environment.get("ROTATION_DATABASE_HOSTS", "").split(",")
    return frozenset(host.strip().lower() for host in listed if host.strip())


def _watch_seconds(environment: Mapping[str, str], problems: list[str]) -> int:
    value = environment.get("ROTATION_WATCH_SECONDS") or "20"
    if value.isdecimal() and 1 <= int(value) <= 120:
        return int(value)
    problems.append(f"ROTATION_WATCH_SECONDS: {value!r} is not a whole number from 1 to 120")
    return 20
