"""Makes every test fail that leaves a password where none belongs.

Known are the passwords that this process made or held (each `Secret` that looks like one), and
those in the local Key Vaults below pytest's base directory, which is where passwords end up that
child processes made. Looked at, after each test: its logs, output, failure and the app's answers,
the files it changed (journals, logs and published events among them), and the arguments of every
process that was started here or is still there.

A password belongs in Key Vault's store, in the cluster's Secrets, and in what pods mount of them.
`@pytest.mark.shows_passwords("why")` is for a test that puts one elsewhere on purpose.
"""

from __future__ import annotations

import base64
import itertools
import logging
import os
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from rotation.secrecy import ALPHABET, LENGTH, Secret

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

SHAPE = re.compile(b"[%b]{%d,}" % (ALPHABET.encode(), LENGTH))
NEWEST = 40  # passwords that are looked for in other encodings too
VAULT = "vault.db"
MOUNTED = "mounted"  # what tests call a file that stands for one in a pod's volume
# Files below the directory of a component of that name.
BELONGS = {
    "keyvault": re.compile(r"vault\.db"),
    # The local cluster's; then a real control plane's: its store, and what its node holds of it.
    "cluster": re.compile(r"cluster\.db|pods/|etcd/member/|kubelet/(copy\.db|pods/)"),
    "pgbouncer": re.compile(r"userlist\.(txt|new)"),
}
MARK = "shows_passwords"


class Passwords:
    """All that are known; the newest last."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[bytes, ...]] = {}

    def add(self, values: Iterable[str]) -> None:
        for value in values:
            for found in SHAPE.findall(value.encode(errors="replace")):
                if len(found) == LENGTH and found not in self._known:
                    self._known[found] = forms(found)

    def held(self, text: str | bytes) -> bool:
        """Any of them, as it is or in an encoding that logs and journals put things into."""
        content = text.encode(errors="replace") if isinstance(text, str) else text
        for run in SHAPE.findall(content):
            starts = range(len(run) - LENGTH + 1)
            if any(run[start : start + LENGTH] in self._known for start in starts):
                return True
        newest = itertools.islice(reversed(self._known.values()), NEWEST)
        return any(form in content for encoded in newest for form in encoded)


def forms(password: bytes) -> tuple[bytes, ...]:
    """Of base64, the part that does not depend on what stands before and after."""
    coded = [base64.b64encode(b"\0" * offset + password) for offset in range(3)]
    inner = [text[4 if offset else 0 : -4] for offset, text in enumerate(coded)]
    return (*inner, password.decode().encode("utf-16-le"), password.hex().encode())


class Collected(logging.Handler):
    """What is logged in this process, formatted as a handler in production would."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Canary:
    """The plugin."""

    def __init__(self) -> None:
        self._base = Path(os.devnull)
        self._passwords = Passwords()
        self._logged = Collected()
        self._started: list[str] = []
        self._has_children = False
        self._failures: list[str] = []
        self._places: list[str] = []
        self._seen: dict[Path, tuple[int, int]] = {}
        self._answers: dict[int, int] = {}
        logging.getLogger().addHandler(self._logged)
        logging.getLogger("rotation").setLevel(logging.INFO)  # as under the Functions host
        self._watch_secrets()
        sys.addaudithook(self._audit)

    def _watch_secrets(self) -> None:
        original, passwords = Secret.__init__, self._passwords

        def watched(secret: Secret, value: str) -> None:
            original(secret, value)
            passwords.add([value])

        setattr(Secret, "__init__", watched)  # noqa: B010 - type checkers refuse the assignment

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            self._has_children = True
            self._started.append(repr(arguments[1]))

    def look_below(self, base: Path) -> None:
        self._base = base

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.excinfo is not None:
            self._failures += [report.longreprtext, repr(call.excinfo.value)]
        places = [*self._said(report)]
        if report.when == "teardown":
            self.look(item)
            places += self._places
            self._forget()
        if places and not item.get_closest_marker(MARK):
            # What was captured is dropped: it is what must not be shown.
            report.sections.clear()
            report.outcome = "failed"
            report.longrepr = f"a password was found in: {', '.join(places)}"
        return report

    def look(self, item: pytest.Item) -> None:
        """Looks at what the test has left so far; its report tells of what was found."""
        self._places += self._left(item)

    def _said(self, report: pytest.TestReport) -> Iterator[str]:
        """In memory; the teardown's report has the sections of the whole test."""
        texts = [
            ("the log", "\n".join(self._logged.lines)),
            ("the failure", "\n".join(self._failures)),
            *report.sections,
        ]
        yield from (name for name, text in texts if self._passwords.held(text))

    def _left(self, item: pytest.Item) -> Iterator[str]:
        """On disk, in processes, and in the answers that a stack keeps."""
        changed = dict(self._changed())
        for path in changed:
            if path.name == VAULT:
                self._passwords.add(stored(path))
        for path, new in changed.items():
            if not belongs(path.relative_to(self._base)) and self._held(read(path, new)):
                yield str(path.relative_to(self._base))
        if self._passwords.held("\n".join((*self._started, *self._running()))):
            yield "the arguments of a process"
        yield from ("an answer of the app" for text in self._answered(item) if self._held(text))

    def _held(self, text: bytes) -> bool:
        return self._passwords.held(text)

    def _running(self) -> Iterator[str]:
        if not self._has_children:
            return
        for process in psutil.Process().children(recursive=True):
            try:
                yield " ".join(process.cmdline())
            except psutil.Error:  # it has ended
                continue

    def _answered(self, item: pytest.Item) -> Iterator[bytes]:
        for stack in getattr(item, "funcargs", {}).values():
            answers = getattr(stack, "answers", None)
            if isinstance(answers, list):
                begin = self._answers.get(id(stack), 0)
                self._answers[id(stack)] = len(answers)
                yield b"\n".join(answers[begin:])

    def _changed(self) -> Iterator[tuple[Path, int]]:
        """Each with the place where its news begin: logs only grow, and one leak is one failure."""
        for directory, directories, names in os.walk(self._base):
            if "PG_VERSION" in names:  # a server's data: thousands of files, verifiers only
                directories.clear()
                continue
            for name in names:
                path = Path(directory, name)
                state = stamp(path)
                before = self._seen.get(path)
                if state is not None and before != state:
                    self._seen[path] = state
                    grown = before is not None and path.suffix == ".log" and before[1] <= state[1]
                    yield path, before[1] if before and grown else 0

    def _forget(self) -> None:
        self._logged.lines.clear()
        self._started.clear()
        self._failures.clear()
        self._places.clear()


def stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def read(path: Path, begin: int) -> bytes:
    """Empty for what is no file (any more)."""
    try:
        return path.read_bytes()[begin:] if path.is_file() else b""
    except FileNotFoundError:
        return b""


def belongs(path: Path) -> bool:
    return path.name == MOUNTED or any(
        BELONGS[part].match("/".join(path.parts[number + 1 :]))
        for number, part in enumerate(path.parts)
        if part in BELONGS
    )


def stored(vault: Path) -> list[str]:
    """The values of all secret versions in a local Key Vault's database."""
    with closing(sqlite3.connect(f"{vault.as_uri()}?mode=ro", uri=True)) as database:
        return [str(value) for (value,) in database.execute("SELECT value FROM versions")]


def pytest_configure(config: pytest.Config) -> None:
    line = f"{MARK}(why): this test puts a password where the canary would find it"
    config.addinivalue_line("markers", line)
    config.pluginmanager.register(Canary(), "canary")


@pytest.fixture(scope="session", autouse=True)
def canary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Canary:
    plugin = request.config.pluginmanager.get_plugin("canary")
    assert isinstance(plugin, Canary)
    plugin.look_below(tmp_path_factory.getbasetemp())
    return plugin


@pytest.fixture
def tmp_path(tmp_path: Path, canary: Canary, request: pytest.FixtureRequest) -> Iterator[Path]:
    """pytest's own, looked at before pytest removes it."""
    yield tmp_path
    canary.look(request.node)
