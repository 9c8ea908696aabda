"""The whole local stack, once per test process; tests rotate back and forth in it."""

from __future__ import annotations

import gc
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from local import engines, world
from local.stack import Options, Stack

pytest_plugins = ["tests.canary"]

if TYPE_CHECKING:
    from collections.abc import Iterator

# On a busy machine any example may take long.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

# Of what takes long and has others like it.
full = pytest.mark.skipif(
    os.environ.get("LONG") != "full", reason="another one like it runs; LONG=full runs all"
)

# What has not begun after so many seconds is skipped, for whoever has no more time.
BEGAN, SECONDS = time.monotonic(), float(os.environ.get("TESTS_SECONDS", "inf"))

# Short enough for tests of what gives up, long enough for a busy machine.
QUICK: dict[str, Any] = {
    "retry": {"patience": "8s", "compensation": "60s"},
    "drain": "5s",
    "workloads": [
        {
            **world.workload("api", {"delivery": "csi"}),
            "ready": "20s",
        },
        {
            **world.workload(
                "web",
                {"delivery": "secret", "secrets": {s: world.secret(s) for s in ("blue", "green")}},
            ),
            "ready": "20s",
        },
    ],
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine", choices=engines.ENGINES, help="what stacks run on; default: LOCAL_ENGINE"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Before any stack is made: each takes its engine from the environment."""
    engine = config.getoption("--engine", None)
    if engine:
        os.environ[engines.SWITCH] = engine
    # A shell has what it starts in the background ignore Ctrl-C, and that is inherited.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Nothing that is imported and collected now is garbage: see `pytest_collection_finish`.
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Messages lie for a while on Microsoft's engine: more time, where a test sets none itself."""
    extra = engines.slack(engines.selected())
    for item in items:
        if extra and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(120 + extra))


def pytest_collection_finish() -> None:
    """What is there by now stays to the end: no collection of garbage looks at it again."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    if time.monotonic() - BEGAN > SECONDS:
        pytest.skip(f"no time left: TESTS_SECONDS is {SECONDS:g}")


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Ends each file with a collection of garbage: a socket that nobody closed fails the file that
    opened it, and not whichever test runs when its turn has come."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = Options(replicas=1, watch_seconds=2, credential=QUICK)
    stack = Stack(tmp_path_factory.mktemp("stack"), options)
    with stack:
        yield stack


@pytest.fixture
def stack(shared_stack: Stack) -> Iterator[Stack]:
    """No rotation under way, before and after; whatever a test ordered or stopped is undone."""
    yield shared_stack
    shared_stack.faults.restore()
