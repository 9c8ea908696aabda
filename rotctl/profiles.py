"""The apps that one has: where each is, and how to prove who one is.

    default = "prod"

    [profiles.prod]
    url = "https://func-rotation.azurewebsites.net"
    scope = "api://00000000-0000-0000-0000-000000000000/.default"
    keyCommand = ["az", "keyvault", "secret", "show", "--query", "value", "-o", "tsv", "--id", ...]

A key comes from this file, which then is nobody else's to read, from the environment, or from a
command; never from the command line, which every process of a machine can see.
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE = "config.toml"
FOLDER = "rotctl"
OTHERS = 0o077  # the bits of a file's mode that are for others than its owner
KEYS = {"url", "key", "keyCommand", "scope", "by", "ca"}
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
LONGEST_COMMAND = 60.0  # seconds; `az` may refresh a token
EXAMPLE = '[profiles.prod]\nurl = "https://func-rotation.azurewebsites.net"'


@dataclass(frozen=True)
class Profile:
    """An app. `scope` is that of the token which `az` is asked for, `by` the name that one decides
    in where nobody signs in, `ca` the path of a PEM file of authorities."""

    name: str
    url: str
    key: str = field(default="", repr=False)
    key_command: tuple[str, ...] = ()
    scope: str = ""
    by: str = ""
    ca: str = ""

    def headers(self) -> dict[str, str]:
        """What proves who asks. Raises `ClientError`."""
        found = {}
        key = self.key or (_output(self.key_command, "keyCommand") if self.key_command else "")
        if key:
            found["x-functions-key"] = _sendable("key", key)
        if self.scope:
            found["Authorization"] = f"Bearer {_sendable('token', _token(self.scope))}"
        return found


def _sendable(what: str, secret: str) -> str:
    """The secret as a header may have it: whatever else is sent, http.client quotes in its error.
    Raises `ClientError`."""
    found = secret.strip()  # a file that was written on Windows leaves its \\r
    if not found.isascii() or not found.isprintable():
        text = f"the {what} of the app has characters that none has"
        raise ClientError(text, "copy it once more, all of it and nothing else", Exit.USAGE)
    return found


def _token(scope: str) -> str:
    which = ("account", "get-access-token", "--scope", scope, "--query", "accessToken")
    return _output(("az", *which, "--output", "tsv"), "scope")


def _output(command: Sequence[str], key: str) -> str:
    """What a command prints, which is a secret. Raises `ClientError`, which has its errors only."""
    program = shutil.which(command[0])
    if program is None:
        text = f"`{command[0]}`, which the profile's `{key}` needs, is not installed"
        raise ClientError(text, "install it, or set ROTCTL_KEY", Exit.NOT_ALLOWED)
    try:
        done = subprocess.run(  # noqa: S603 - what the profile's owner wrote down
            [program, *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_COMMAND,
        )
    except subprocess.TimeoutExpired:
        text = f"`{command[0]}` did not end within {LONGEST_COMMAND:.0f} s"
        raise ClientError(
            text, "run it by hand, and see what it waits for", Exit.NOT_ALLOWED
        ) from None
    found = done.stdout.strip()
    if done.returncode or not found:
        said = done.stderr.strip().splitlines()
        text = f"`{command[0]}` gave nothing for `{key}`: {said[0] if said else 'it said nothing'}"
        raise ClientError(text, "sign in with `az login`, and try it by hand", Exit.NOT_ALLOWED)
    return found


def path(environment: Mapping[str, str]) -> Path:
    """Where the profiles are."""
    if environment.get("ROTCTL_CONFIG"):
        return Path(environment["ROTCTL_CONFIG"])
    base = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME", "~")) / ".config")
    return Path(base).expanduser() / FOLDER / FILE


def names(environment: Mapping[str, str]) -> list[str]:
    """The names of the profiles. Raises `ClientError` for a file that cannot be read."""
    return sorted(_read(path(environment)).get("profiles", {}))


def profile(environment: Mapping[str, str], name: str | None = None) -> Profile:
    """The profile of this name, of ROTCTL_PROFILE, of ROTCTL_URL, or the file's default.

    ROTCTL_KEY is the key of what ROTCTL_URL names, or of a profile that has none: a key is never
    sent to an app that it was not written down for. Raises `ClientError`.
    """
    wanted = name or environment.get("ROTCTL_PROFILE")
    if not wanted and environment.get("ROTCTL_URL"):
        return _from_environment(environment)
    file = path(environment)
    found = _read(file)
    profiles = found.get("profiles", {})
    wanted = (
        wanted or found.get("default") or (next(iter(profiles)) if len(profiles) == 1 else None)
    )
    if not wanted:
        text = f"no profile is named, and {file} has no `default`"
        if not profiles:
            text = f"no app is named: there is no ROTCTL_URL, and no profile in {file}"
        cure = f"set ROTCTL_URL and ROTCTL_KEY, or write for example\n\n{EXAMPLE}\n"
        raise ClientError(text, "name one with --profile" if profiles else cure, Exit.USAGE)
    if wanted not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        text = f"there is no profile {wanted!r} in {file}"
        raise ClientError(text, f"there are: {known}", Exit.USAGE)
    return _profile(wanted, profiles[wanted], environment.get("ROTCTL_KEY", ""), file)


def _from_environment(environment: Mapping[str, str]) -> Profile:
    return Profile(
        name="ROTCTL_URL",
        url=_url(environment["ROTCTL_URL"]),
        key=environment.get("ROTCTL_KEY", ""),
        scope=environment.get("ROTCTL_SCOPE", ""),
        by=environment.get("ROTCTL_BY", ""),
        ca=environment.get("ROTCTL_CA", ""),
    )


def _profile(name: str, written: Any, key: str, file: Path) -> Profile:
    where = f"profile {name!r} in {file}"
    if not isinstance(written, dict) or not isinstance(written.get("url"), str):
        raise ClientError(f"{where} has no `url`", f"write for example\n\n{EXAMPLE}\n", Exit.USAGE)
    unknown = sorted(written.keys() - KEYS)
    if unknown:
        text = f"{where} has {unknown[0]!r}, which is no key"
        raise ClientError(text, f"there are: {', '.join(sorted(KEYS))}", Exit.USAGE)
    command = written.get("keyCommand", [])
    if not isinstance(command, list) or not all(isinstance(one, str) for one in command):
        text = f"`keyCommand` of {where} must be a list of texts"
        raise ClientError(text, 'write it as ["program", "argument"]', Exit.USAGE)
    texts = {one: written.get(one, "") for one in KEYS - {"keyCommand"}}
    if not all(isinstance(one, str) for one in texts.values()):
        raise ClientError(f"{where} has a value that is no text", "quote it", Exit.USAGE)
    return Profile(
        name=name,
        url=_url(texts["url"]),
        key=texts["key"] or ("" if command else key),
        key_command=tuple(command),
        scope=texts["scope"],
        by=texts["by"],
        ca=texts["ca"],
    )


def _read(file: Path) -> dict[str, Any]:
    """The file's content; empty where there is none. Raises `ClientError`."""
    try:
        text = file.read_text(encoding="utf-8")
        mode = file.stat().st_mode
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ClientError(f"{file} cannot be read: {why}", "mend it", Exit.USAGE) from None
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Its message has a place, and no value.
        text = f"{file} is not TOML: {error}"
        raise ClientError(text, "mend it, or move it away", Exit.USAGE) from None
    profiles = found.get("profiles", {})
    if not isinstance(profiles, dict) or not isinstance(found.get("default", ""), str):
        text = f"{file} must have `default`, a text, and `profiles`"
        raise ClientError(text, f"write for example\n\n{EXAMPLE}\n", Exit.USAGE)
    keyed = any(isinstance(one, dict) and one.get("key") for one in profiles.values())
    if keyed and mode & OTHERS:
        text = f"{file} has a key, and others than you may read it ({mode & 0o777:04o})"
        raise ClientError(text, f"chmod 600 {file}", Exit.USAGE)
    return found


def _url(written: str) -> str:
    """The address of an app, without what comes after the host. Raises `ClientError`.

    A key would go over http in clear text: only to this machine it may.
    """
    try:
        parts = urlsplit(written.strip())
        port = parts.port
    except ValueError:
        text = "the app's address is no URL"
        raise ClientError(text, "write for example https://host.example", Exit.USAGE) from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        # Not quoted: it may be a key that somebody pasted.
        text = "the app's address has more in it than a host"
        cure = "leave out what comes after `?` or before `@`; a key goes into ROTCTL_KEY"
        raise ClientError(text, cure, Exit.USAGE)
    host = parts.hostname or ""
    if not host or parts.scheme not in {"http", "https"}:
        text = f"the app's address {written!r} is no URL"
        raise ClientError(text, "write for example https://host.example", Exit.USAGE)
    if parts.scheme == "http" and host not in LOOPBACK:
        text = f"{written!r} would have the key in clear text on its way"
        raise ClientError(text, "write https; http is for this machine only", Exit.USAGE)
    if parts.path.rstrip("/") not in {"", "/api", "/api/pages"}:
        text = f"the app's address {written!r} has a path"
        raise ClientError(text, "leave it out: its API is below /api", Exit.USAGE)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}"
