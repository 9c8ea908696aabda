"""The app's HTTP API, asked with a profile's key and token. What it answers is as it says in its
openapi.json; whatever else comes back is an error with a cure."""

from __future__ import annotations

import json
import ssl
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import urllib3

from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from rotctl.profiles import Profile

CONNECT, READ = 10.0, 90.0  # seconds; a dry run may take the app a minute
LONGEST = 16 * 1024 * 1024  # bytes of an answer
PROBLEM = "application/problem+json"
NO_KEY = (
    "set ROTCTL_KEY, or `key` or `keyCommand` of the profile: "
    "`az functionapp keys list` shows keys to who may see them"
)
WRONG_KEY = (
    "is the key right, in ROTCTL_KEY or the profile? Where people sign in, the app wants a token "
    "too: set the profile's `scope`"
)
SIGN_IN = (
    "set `scope` of the profile to the app's, such as api://<client id>/.default, and `az login`"
)


class App:
    """An app that is asked. Each call raises `ClientError` for anything but what it promises."""

    def __init__(self, profile: Profile, read: float = READ) -> None:
        self.profile = profile
        self._timeout = urllib3.Timeout(connect=CONNECT, read=read)
        self._headers: dict[str, str] | None = None
        self._http = _pool(profile)

    # -- what there is

    def credentials(self, *, fresh: bool = False) -> list[dict[str, Any]]:
        """What was found of each lately; `fresh`: what is found now."""
        query = "?fresh=true" if fresh else ""
        return self._list(self._call("GET", f"/credentials{query}"), "credentials")

    def rotations(self, credential: str = "") -> list[dict[str, Any]]:
        """The newest ones, the newest first."""
        return self._list(self._page(credential=credential), "rotations")

    def history(self, credential: str = "", since: str = "") -> dict[str, Any]:
        """All of them, the newest first, and in `incomplete` why older ones are missing."""
        found: list[dict[str, Any]] = []
        after, seen, incomplete = "", set[str](), None
        while after not in seen:  # the last page has no next one
            seen.add(after)
            page = self._page(credential=credential, since=since, after=after)
            found += self._list(page, "rotations")
            incomplete = incomplete or page.get("incomplete")
            after = str(page.get("next") or "")
        return {"rotations": found, "incomplete": incomplete}

    def _page(self, **query: str) -> dict[str, Any]:
        given = urlencode(_given(query))
        return self._call("GET", f"/rotations{f'?{given}' if given else ''}")

    def rotation(self, rotation: str) -> dict[str, Any]:
        return self._call("GET", f"/rotations/{_part(rotation)}")

    def evidence(self, rotation: str) -> dict[str, Any]:
        """What speaks for and against an approval now."""
        return self._call("GET", f"/rotations/{_part(rotation)}/evidence")

    def page(self, rotation: str) -> str:
        """The address of a rotation's page, without a key."""
        return f"{self.profile.url}/api/pages/rotations/{_part(rotation)}"

    def wave(self, wave: str) -> dict[str, Any]:
        return self._call("GET", f"/waves/{_part(wave)}")

    def waves(self) -> list[dict[str, Any]]:
        return self._list(self._call("GET", "/waves"), "waves")

    def wave_page(self, wave: str) -> str:
        """The address of a wave's page, without a key."""
        return f"{self.profile.url}/api/pages/waves/{_part(wave)}"

    # -- what is done

    def start(self, **body: Any) -> dict[str, Any]:
        return self._call("POST", "/rotations", _given(body))

    def dry_run(self, credential: str, **body: Any) -> dict[str, Any]:
        """What a rotation that is asked for would do; nothing is started."""
        asked = {"credential": credential, "dryRun": True, **_given(body)}
        return {"credential": credential, **self._call("POST", "/rotations", asked)}

    def decide(self, rotation: str, **body: Any) -> dict[str, Any]:
        return self._call("POST", f"/rotations/{_part(rotation)}/approval", _given(body))

    def cancel(self, rotation: str, **body: Any) -> dict[str, Any]:
        return self._call("POST", f"/rotations/{_part(rotation)}/cancel", _given(body))

    def retry(self, rotation: str, **body: Any) -> dict[str, Any]:
        return self._call("POST", f"/rotations/{_part(rotation)}/retry", _given(body))

    def start_wave(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", "/rotations", body)

    def cancel_wave(self, wave: str, **body: Any) -> dict[str, Any]:
        return self._call("POST", f"/waves/{_part(wave)}/cancel", _given(body))

    # -- how

    def _list(self, answer: dict[str, Any], key: str) -> list[dict[str, Any]]:
        found = answer.get(key)
        if not isinstance(found, list):
            raise self._strange(200, f"it has no {key!r}")
        return found

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        status, kind, content = self._exchange(method, path, body)
        try:
            document = json.loads(content) if content else None
        except ValueError:
            document = None
        if kind == PROBLEM and isinstance(document, dict):
            raise self._problem(status, document)
        if 200 <= status < 300 and isinstance(document, dict):
            return document
        raise self._unexpected(status, kind)

    def _exchange(self, method: str, path: str, body: Any) -> tuple[int, str, bytes]:
        """The status, the media type and the body of an answer."""
        if self._headers is None:
            self._headers = self.profile.headers()
        sent = None if body is None else json.dumps(body).encode()
        try:
            answer = self._http.request(
                method,
                f"{self.profile.url}/api{path}",
                body=sent,
                headers={"Content-Type": "application/json", **self._headers},
                timeout=self._timeout,
                redirect=False,  # a key is for the one host
                retries=False,
                preload_content=False,
            )
            with closing(answer):  # and with it the connection, unless all of it was read
                content = answer.read(LONGEST + 1)
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None
        if len(content) > LONGEST:
            raise self._strange(answer.status, "it is too long")
        kind = str(answer.headers.get("Content-Type", "")).partition(";")[0].strip().lower()
        return answer.status, kind, content

    def _unreachable(self, error: urllib3.exceptions.HTTPError) -> ClientError:
        url = self.profile.url
        match error:
            case urllib3.exceptions.SSLError():
                text = f"{url} has a certificate that is not trusted: {_reason(error)}"
                cure = "set `ca` of the profile, or ROTCTL_CA, to the PEM file of its authority"
            case urllib3.exceptions.ReadTimeoutError():
                text = f"{url} did not answer within {READ:.0f} s"
                cure = "try again: what was asked for may have been done all the same"
            case urllib3.exceptions.NameResolutionError():
                text = f"there is no host {urlsplit(url).hostname}"
                cure = "is the address right, and the network there?"
            case urllib3.exceptions.ConnectTimeoutError() if not isinstance(
                error, urllib3.exceptions.NewConnectionError
            ):
                text = f"{url} could not be reached within {CONNECT:.0f} s"
                cure = "is it reachable from here only by VPN, or from a private network?"
            case _:
                text = f"{url} cannot be reached: {_reason(error)}"
                cure = "is the address right, and is it running?"
        return ClientError(text, cure, Exit.UNREACHABLE)

    def _problem(self, status: int, document: dict[str, Any]) -> ClientError:
        """The app's own words."""
        text = plain(document.get("detail") or document.get("title") or "it did not say why")
        listed = [plain(one) for one in document.get("problems") or []]
        return ClientError(
            "\n  ".join([text, *listed]),
            plain(document.get("remedy") or ""),
            _exit(status),
            document,
        )

    def _unexpected(self, status: int, kind: str) -> ClientError:
        """What another than the app answered: the platform in front of it, or somebody else."""
        url = self.profile.url
        if status == 401:
            text = f"{url} wants to know who asks (401)"
            cure = WRONG_KEY if "x-functions-key" in (self._headers or {}) else NO_KEY
            return ClientError(text, cure, Exit.NOT_ALLOWED)
        if status == 403:
            text = f"{url} lets nobody in from here, or not with this key (403)"
            cure = "is the app running, and may this network reach it? Else renew the key or token"
            return ClientError(text, cure, Exit.NOT_ALLOWED)
        if 300 <= status < 400:
            text = f"{url} sends whoever asks to a sign-in page ({status})"
            return ClientError(text, SIGN_IN, Exit.NOT_ALLOWED)
        if status == 404:
            text = f"{url} has no such route (404)"
            cure = "is it the app's address? One of an earlier release has fewer routes"
            return ClientError(text, cure, Exit.PROBLEM)
        if status >= 500 or status == 429:
            text = f"{url} cannot answer now ({status})"
            cure = "try again in a moment; if it lasts, its log says why"
            return ClientError(text, cure, Exit.UNREACHABLE)
        return self._strange(status, f"it is {kind or 'of no kind'}")

    def _strange(self, status: int, why: str) -> ClientError:
        text = f"{self.profile.url} answered {status}, and not as the app does: {why}"
        return ClientError(text, "is it the app's address?", Exit.UNREACHABLE)


def _exit(status: int) -> Exit:
    if status in {401, 403}:
        return Exit.NOT_ALLOWED
    return Exit.UNREACHABLE if status >= 500 else Exit.PROBLEM


def _pool(profile: Profile) -> urllib3.PoolManager:
    """What connects: through the proxy of the environment, if it has one for this host."""
    try:
        context = ssl.create_default_context(cafile=profile.ca or None)
    except OSError:
        text = f"`ca` {profile.ca!r} is no PEM file of certificates"
        raise ClientError(text, "name the file of the app's authority", Exit.USAGE) from None
    parts = urlsplit(profile.url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    # In clear text a key goes to this machine only, whatever the environment says.
    if proxy and parts.scheme == "https" and not urllib.request.proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy, ssl_context=context)
    return urllib3.PoolManager(ssl_context=context)


def _reason(error: Exception) -> str:
    """What is at the bottom of an error of urllib3, which wraps several into one another."""
    inner = getattr(error, "reason", None) or error.__cause__
    if isinstance(inner, Exception):
        return _reason(inner)
    said = getattr(error, "verify_message", None) or getattr(error, "strerror", None)
    return plain(said or str(error).rpartition(": ")[2])


def _part(text: str) -> str:
    return quote(text, safe="")


def _given(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value}


def plain(value: object) -> str:
    """A text that may be printed: what would move a terminal's cursor is a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))
