"""What the tests of the Azure stand-ins share: starting them, clients, plain HTTP."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from azure.keyvault.secrets import SecretClient

from local.identity import Identity
from local.process import Component

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADMIN = {"LOCAL_ADMIN_KEY": "an admin key of the tests"}
APP = Identity.named("app")
READER = Identity.named("reader")


@dataclass
class Admin:
    """Calls a component's admin routes."""

    component: Component

    def call(self, method: str, path: str, body: object = None, key: str | None = None) -> Any:
        headers = {"x-local-admin-key": ADMIN["LOCAL_ADMIN_KEY"] if key is None else key}
        scheme, _, rest = self.component.url.partition("://")
        url = f"{scheme}://{rest.partition('/')[0]}{path}"
        return fetch_json(
            url, method=method, body=body, headers=headers, ca=self.component.facts.get("ca")
        )[1]

    def fault(self, **order: object) -> None:
        self.call("POST", "/local/faults", order)

    def faults(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/local/faults"))

    def clear(self) -> None:
        self.call("DELETE", "/local/faults")


def fetch(
    url: str,
    *,
    method: str = "GET",
    body: object = None,
    headers: dict[str, str] | None = None,
    ca: object = None,
) -> tuple[int, dict[str, str], str]:
    """Status, headers in lower case and text, for refusals too."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - a server that the test started
        url, data=data, method=method, headers=headers or {}
    )
    context = ssl.create_default_context(cafile=str(ca)) if ca else None
    try:
        with urllib.request.urlopen(  # noqa: S310 - as above
            request, timeout=10, context=context
        ) as answer:
            return answer.status, _lower(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _lower(error.headers), error.read().decode()


def _lower(headers: Any) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items()}


def fetch_json(url: str, **how: Any) -> tuple[int, Any]:
    status, _, text = fetch(url, **how)
    return status, json.loads(text)


def start_vault(state: Path, name: str, *args: str, env: dict[str, str] | None = None) -> Component:
    return Component.module(
        "keyvault",
        *("--state", str(state / name), "--identity-state", str(state / "identity")),
        *args,
        log=state / f"{name}.log",
        env={**ADMIN, **(env or {})},
    )


def secret_client(vault: Component, credential: Any, **options: Any) -> SecretClient:
    return SecretClient(
        vault.url,
        credential,
        connection_verify=str(vault.facts["ca"]),
        verify_challenge_resource=False,
        **options,
    )


@dataclass(frozen=True)
class Received:
    """A POST that a webhook got."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Webhook:
    """A subscriber. `answers` holds the statuses of the next deliveries, 200 once it is empty."""

    url: str = ""
    echo: bool = True
    answers: list[int] = field(default_factory=list)
    handshakes: list[Received] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    def events(self) -> list[dict[str, Any]]:
        return [
            event
            for post in self.received
            for event in (post.body if isinstance(post.body, list) else [post.body])
        ]

    def types(self) -> list[str]:
        return [event.get("eventType") or event["type"] for event in self.events()]

    def answer(self, post: Received) -> tuple[int, object]:
        if post.headers["aeg-event-type"] != "SubscriptionValidation":
            self.received.append(post)
            return (self.answers.pop(0) if self.answers else 200), {}
        self.handshakes.append(post)
        code = post.body[0]["data"]["validationCode"] if self.echo else "not the code"
        return 200, {"validationResponse": code}


@contextmanager
def webhook(port: int = 0) -> Iterator[Webhook]:
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = hook.answer(Received(self.path, _lower(self.headers), body))
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class
            """Nothing on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        hook.url = f"http://127.0.0.1:{server.server_port}/hook?functionName=near"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join(10)
