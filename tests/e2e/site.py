"""The stack's app with another way in: signed links, or the platform's sign-in."""

from __future__ import annotations

import base64
import json
import secrets
import string
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import urllib3

from local import world
from local.process import wait_until
from rotation.links import SignedLinks
from rotation.secrecy import Secret
from rotation.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import Stack

ANNA = "10000000-0000-4000-8000-00000000a00a"
OLGA = "20000000-0000-4000-8000-00000000b00b"  # as an object id: with sign-in these are compared
APP_ROLE = "Rotation.Approve"


@contextmanager
def host_with(
    stack: Stack,
    environment: dict[str, str],
    approvers: list[str] | None = None,
    **changes: Any,
) -> Iterator[Stack]:
    """The host is started again with more settings, and as it was afterwards.

    `changes` are keys of the credential.
    """
    host, credential = stack.components["host"], stack.options.credential
    before = dict(host.env), dict(credential)
    if approvers is not None:
        credential["approval"] = {"approvers": approvers}
    credential.update(changes)
    try:
        _again(stack, {**host.env, **environment})
        yield stack
    finally:
        credential.clear()
        credential.update(before[1])
        _again(stack, before[0])
        stack.faults.restore()  # as an approver of the stack's own


def _again(stack: Stack, environment: dict[str, str]) -> None:
    host = stack.components["host"]
    host.stop()
    host.env = environment
    stack.write_configuration()
    stack.start_host()


@contextmanager
def with_links(stack: Stack) -> Iterator[Stack]:
    """Approvers get signed links, with a key that the vault has."""
    new_link_key(stack)
    settings = {"ROTATION_LINK_KEY": f"{stack.addresses.vault}/secrets/{world.LINK_KEY}"}
    with host_with(stack, {**settings, "ROTATION_PUBLIC_URL": stack.components["host"].url}):
        yield stack


def new_link_key(stack: Stack) -> None:
    """A version of the key's secret."""
    alphabet = string.ascii_letters + string.digits
    value = Secret("".join(secrets.choice(alphabet) for _ in range(40)))
    stack.provisioner.put_secret(world.LINK_KEY, value, timedelta(days=365))


@contextmanager
def with_sign_in(stack: Stack) -> Iterator[Stack]:
    """People are signed in by the platform; whoever has the app role may decide."""
    settings = {"ROTATION_SIGN_IN": "entra", "LOCAL_EASY_AUTH": "on"}
    with host_with(stack, settings, [APP_ROLE]):
        yield stack


def sign_in(name: str, *roles: str, oid: str = ANNA) -> dict[str, str]:
    """The header by which the local host is told who is signed in."""
    claims = [
        {"typ": "oid", "val": oid},
        {"typ": "preferred_username", "val": name},
        *({"typ": "roles", "val": role} for role in roles),
    ]
    principal = {"auth_typ": "aad", "claims": claims, "name_typ": "name", "role_typ": "roles"}
    return {"X-Local-Sign-In": base64.b64encode(json.dumps(principal).encode()).decode()}


def minted(stack: Stack, rotation: str, recipient: str, life: timedelta) -> str:
    """A link as the app makes it, for a time of the test's choice; below the host's URL."""
    edges: Any = SimpleNamespace(
        settings=Settings(
            link_key=f"{stack.addresses.vault}/secrets/{world.LINK_KEY}",
            public_url=stack.components["host"].url,
        ),
        vault=lambda _: stack.owner.vault,
        now=lambda: datetime.now(UTC),
    )
    token = SignedLinks(edges).mint(rotation, recipient, datetime.now(UTC) + life)
    return f"/api/pages/decision?link={token}"


def mailed(stack: Stack, rotation: str, recipient: str = world.APPROVERS[0]) -> str:
    """The link that an approver was sent, as the topic has it; below the host's URL."""
    found: list[str] = []

    def arrived() -> bool:
        found[:] = [
            one["link"]
            for event in published(stack)
            if event["data"]["rotation"] == rotation
            for one in event["data"].get("recipients", [])
            if one["approver"] == recipient
        ]
        return bool(found)

    wait_until(arrived, 20, f"a link for {recipient}")
    parts = urlsplit(found[0])
    return f"{parts.path}?{parts.query}"


def token_of(link: str) -> str:
    return parse_qs(urlsplit(link).query)["link"][0]


def published(stack: Stack) -> list[dict[str, Any]]:
    viewer = stack.components["topic"].facts["viewer"]
    answer = urllib3.request("GET", f"{viewer}/events", timeout=10.0, retries=False)
    return [one["event"] for one in answer.json()["events"]]


def asked(stack: Stack, **body: Any) -> str:
    """A new rotation, once it waits for a decision."""
    request = {"credential": world.CREDENTIAL, "by": world.OPERATOR, **body}
    answer = stack.client.api("POST", "/rotations", request)
    assert answer.status == 202, answer.json
    rotation = str(answer.json["rotation"])
    record = stack.client.follow(rotation, waits_or_ended)
    assert record["outcome"] is None, record["outcomeReason"]
    return rotation


def waits_or_ended(record: dict[str, Any]) -> bool:
    return bool(record["outcome"] or (record["approval"] or {}).get("event"))


def ended(stack: Stack, rotation: str) -> dict[str, Any]:
    return stack.client.follow(rotation, lambda record: record["outcome"], timeout=150)
