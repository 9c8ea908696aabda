"""Conditions on Prometheus itself: its answers are read as those of the stand-in, and a value that
it has scraped is seen as beyond its limit. `tests/real/build.py` says which program it is.
"""

from __future__ import annotations

import json
import math
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from local.process import die_with_parent, free_port, wait_until
from local.tls import Authority
from rotation.config import Condition, Prometheus
from rotation.edges import prometheus
from rotation.edges.azure import AzureEdges
from rotation.edges.web import fetch
from rotation.model.errors import EdgeError, Invalid, Unavailable
from tests.real.build import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAM = program()
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        PROGRAM is None, reason="no Prometheus: `make prometheus` builds it, PROMETHEUS names it"
    ),
]


class Scraped:
    """What an application says of itself: its failures for each pod."""

    failures: dict[str, float]
    address: str

    def __init__(self) -> None:
        self.failures = {"api-1": 0.0, "api-2": 0.0}


@contextmanager
def application() -> Iterator[Scraped]:
    """Serves GET /metrics on 127.0.0.1."""
    found = Scraped()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            lines = [f'failures{{pod="{pod}"}} {value}' for pod, value in found.failures.items()]
            content = "\n".join(["# TYPE failures gauge", *lines, ""]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running(folder: Path, settings: dict[str, Any], web: dict[str, Any]) -> Iterator[str]:
    """Prometheus itself, on 127.0.0.1; its URL once it is ready."""
    assert PROGRAM is not None
    for name, content in (("prometheus", settings), ("web", web)):
        (folder / f"{name}.yml").write_text(json.dumps(content), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [PROGRAM, f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--web.config.file={folder / 'web.yml'}", f"--web.listen-address={address}"]
    command += [f"--storage.tsdb.path={folder / 'data'}"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - the program that was named or built
            command,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - prctl only, no locks taken
        ) as process,
    ):
        try:
            wait_until(lambda: _listens(address, process, folder / "log"), 60, "Prometheus")
            yield f"{'https' if web else 'http'}://{address}"
        finally:
            process.terminate()


def _listens(address: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.fixture(scope="module")
def scraped() -> Iterator[Scraped]:
    with application() as found:
        yield found


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, scraped: Scraped) -> Iterator[str]:
    often = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    jobs = [{"job_name": "orders", "static_configs": [{"targets": [scraped.address]}]}]
    settings = {"global": often, "scrape_configs": jobs}
    with running(tmp_path_factory.mktemp("prometheus"), settings, {}) as url:
        _answers(lambda: asked(url, "vector(1)"))
        yield url


def _answers(ask: Callable[[], object]) -> None:
    """Waits until it answers queries: it listens before."""
    deadline = time.monotonic() + 60
    while True:
        try:
            ask()
        except EdgeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def asked(url: str, query: str) -> list[float]:
    found = Prometheus.model_validate({"url": url, "query": query})
    return prometheus.values(found, fetch, None, 5.0)


def condition(url: str, query: str, **more: str) -> Condition:
    source = {"url": url, "query": query, **more}
    return Condition.model_validate({"name": "failures", "above": 10, "prometheus": source})


def test_its_answers_are_read_as_those_of_the_stand_in(real: str) -> None:
    assert asked(real, "vector(0.25)") == [0.25]
    assert asked(real, "scalar(vector(2))") == [2.0]
    assert asked(real, "nobody_has_this") == []
    assert asked(real, "vector(1) / 0") == [math.inf]
    two = 'label_replace(vector(1), "a", "x", "", "") or label_replace(vector(3), "a", "y", "", "")'
    assert sorted(asked(real, two)) == [1.0, 3.0]
    assert math.isnan(asked(real, "vector(0) / 0")[0])


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("sum(", "HTTP 400, bad_data"),
        ('"a text"', "its answer is none of an instant query"),
        ("failures[1m]", "its answer is none of an instant query"),
        ("failures + on() group_left() failures", "HTTP 422, execution"),
    ],
)
def test_a_query_that_it_does_not_take_is_told(
    real: str, scraped: Scraped, query: str, why: str
) -> None:
    wait_until(lambda: len(asked(real, "failures")) == len(scraped.failures), 30, "a scrape")
    with pytest.raises(Invalid, match=why):
        asked(real, query)


def test_a_value_that_it_has_scraped_is_seen_as_beyond_its_limit(
    real: str, scraped: Scraped
) -> None:
    watched = condition(real, "failures")
    edges = AzureEdges({})

    def worst() -> float | None:
        return watched.limit.worst(edges.measure(watched, 5.0))

    wait_until(lambda: worst() == 0.0, 30, "the first scrape")
    scraped.failures["api-2"] = 12.5
    wait_until(lambda: worst() == 12.5, 30, "the next one")
    assert watched.limit.beyond(12.5)
    scraped.failures["api-2"] = 0.0
    wait_until(lambda: worst() == 0.0, 30, "one more")


def test_by_tls_it_is_believed_by_its_authority_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    issued = authority.issue("prometheus")
    files = {"cert_file": str(issued.certificate), "key_file": str(issued.key)}
    with running(tmp_path, {}, {"tls_server_config": files}) as url:
        own = condition(url, "vector(0.5)", certificateAuthority=str(authority.bundle))
        _answers(lambda: AzureEdges({}).measure(own, 5.0))
        assert AzureEdges({}).measure(own, 5.0) == [0.5]
        with pytest.raises(Unavailable, match="SSLError"):
            AzureEdges({}).measure(condition(url, "vector(0.5)"), 5.0)
