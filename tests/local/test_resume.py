"""A stack that was ended and goes on; and the demo that leaves its stack up."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import urllib3

from local import world
from local.process import ROOT
from local.stack import Options, Stack
from tests.conftest import QUICK
from tests.e2e import site

if TYPE_CHECKING:
    from pathlib import Path


def another(directory: Path) -> Stack:
    options = Options(replicas=1, watch_seconds=2, credential=QUICK, signed_links=True)
    return Stack(directory, options)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_rotation_that_waits_is_approved_after_the_stack_was_ended(tmp_path: Path) -> None:
    with another(tmp_path) as stack:
        rotation = site.asked(stack)
        key, url = stack.keys["function"], stack.components["host"].url
    with another(tmp_path) as stack:
        assert (stack.keys["function"], stack.components["host"].url) == (key, url)
        assert stack.kept.moved == []
        assert stack.client.rotation(rotation)["outcome"] is None
        link = site.mailed(stack, rotation)  # from before
        assert urllib3.request("GET", url + link, retries=False, timeout=60.0).status == 200
        assert stack.client.decide(rotation, "approve").status == 200
        assert site.ended(stack, rotation)["outcome"] == "completed"
        assert set(stack.owner.active_slots().values()) == {"green"}


@pytest.mark.long
@pytest.mark.timeout(400)
def test_on_other_ports_the_workloads_find_vault_and_database(tmp_path: Path) -> None:
    with another(tmp_path) as stack:
        before = dict(stack.kept.facts.ports)
    with ExitStack() as holding:
        for name in ("keyvault", "postgres", "host"):
            taken = holding.enter_context(socket.socket())
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", before[name]))
            taken.listen()
        with another(tmp_path) as stack:
            assert {moved.name for moved in stack.kept.moved} == {"keyvault", "postgres", "host"}
            for name, namespace in world.WORKLOADS.items():
                url = stack.owner.service_url(namespace, name)
                assert urllib3.request("GET", f"{url}/whoami").json()["role"] == "orders_blue"
            rotation = site.asked(stack)
            assert stack.client.decide(rotation, "approve").status == 200
            assert site.ended(stack, rotation)["outcome"] == "completed"


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_demo_that_stays_says_how_it_ended_and_how_to_go_on() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "local.demo", "--yes", "--keep"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Ctrl-C ends"):
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    told = "".join(said)
    assert "rotated orders-db: blue -> green in " in told
    assert told.index("rotated orders-db") < told.index("mails       http://127.0.0.1:")
    assert "psql 'postgresql://postgres@127.0.0.1:" in told
    assert not re.search(r"https://127\.0\.0\.1:\d+/api/", told)
