"""`python -m tests.browser.screenshots DIRECTORY` takes the pictures of the pages for the README.

They show a rotation of the local stack that waits for its decision, with somebody's report still
on the old login; and then, ended from outside, what needs somebody.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from local import world
from local.stack import Stack
from rotation.model.targets import SecretTarget
from tests.browser import chromium
from tests.e2e import site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Browser

WIDE: dict[str, Any] = {"viewport": {"width": 1200, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}
SHOTS = (
    ("overview-light", "", {**WIDE, "color_scheme": "light"}),
    ("overview-dark", "", {**WIDE, "color_scheme": "dark"}),
    ("rotation-light", "/rotations/{}", {**WIDE, "color_scheme": "light"}),
    ("rotation-dark", "/rotations/{}", {**WIDE, "color_scheme": "dark"}),
    ("rotation-phone", "/rotations/{}", {**PHONE, "color_scheme": "light"}),
)


ENDED = (
    ("attention-light", "/rotations/{}", {**WIDE, "color_scheme": "light"}),
    ("attention-phone", "/rotations/{}", {**PHONE, "color_scheme": "dark"}),
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.browser.screenshots", description=__doc__
    )
    parser.add_argument("directory", type=Path, help="where the pictures go, such as docs/images")
    given = parser.parse_args(argv)
    path = chromium.executable()
    if path is None:
        sys.stderr.write("no Chromium on the path: apt-get install chromium\n")
        return 1
    given.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rotation-") as temporary:
        stack = Stack(Path(temporary))
        with stack, site.with_sign_in(stack), chromium.launched(path) as browser:
            shoot(stack, browser, given.directory)
    return 0


def shoot(stack: Stack, browser: Browser, directory: Path) -> None:
    with stranger(stack):
        rotation = asked(stack)
        for shot in SHOTS:
            take(stack, browser, directory, rotation, shot)
        end(stack, rotation)
        for shot in ENDED:
            take(stack, browser, directory, rotation, shot)


def take(
    stack: Stack, browser: Browser, directory: Path, rotation: str, shot: tuple[str, str, Any]
) -> None:
    name, path, options = shot
    context = browser.new_context(
        base_url=stack.components["host"].url,
        extra_http_headers=site.sign_in("ada@contoso.example", site.APP_ROLE),
        timezone_id="Europe/Berlin",
        **options,
    )
    page = context.new_page()
    page.goto(f"/api/pages{path.format(rotation)}")
    page.screenshot(path=directory / f"{name}.png", full_page="phone" not in name)
    context.close()


def end(stack: Stack, rotation: str) -> None:
    """Ends the rotation past the app, as somebody with the engine's key can."""
    path = f"/runtime/webhooks/durabletask/instances/{rotation}/terminate?reason=picture"
    key = {"x-functions-key": stack.keys["system"]}
    answer = stack.client.request("POST", path, {}, key)
    assert answer.status == 202, answer
    stack.client.follow(rotation, lambda record: bool(record["outcome"]))


def asked(stack: Stack) -> str:
    """A rotation that Grace asked for, signed in, once it waits for a decision."""
    grace = site.sign_in("grace@contoso.example", oid="30000000-0000-4000-8000-00000000c00c")
    body = {"credential": world.CREDENTIAL, "reason": "quarterly rotation"}
    key = {"x-functions-key": stack.keys["function"]}
    answer = stack.client.request("POST", "/api/rotations", body, {**key, **grace})
    assert answer.status == 202, answer.json
    rotation = str(answer.json["rotation"])
    stack.client.follow(rotation, site.waits_or_ended)
    return rotation


def stranger(stack: Stack) -> psycopg.Connection[Any]:
    """A session on the active login that belongs to no workload."""
    current = stack.owner.vault.current(SecretTarget(world.secret("blue")))
    assert current is not None  # the stack has provisioned it
    return psycopg.connect(
        host="127.0.0.1",
        port=stack.addresses.database_port,
        dbname=world.DATABASE,
        user="orders_blue",
        password=stack.owner.vault.value(SecretTarget(current.secret, current.version)).reveal(),
        application_name="monthly-report",
    )


if __name__ == "__main__":
    sys.exit(main())
