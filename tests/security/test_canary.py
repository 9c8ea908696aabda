"""The canary finds what it is there to find, in a suite of its own."""

from __future__ import annotations

import re

import pytest

from local.process import ROOT

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.shows_passwords("in suites of their own, below this one's directory")

OPTIONS = [
    "-p", "tests.canary", "-p", "no:cacheprovider", "-p", "no:xdist", "-q",
    "-o", "tmp_path_retention_policy=failed",
]  # fmt: skip
HEAD = """
import logging, pathlib, subprocess, sys, base64, sqlite3
import pytest
from rotation.secrecy import Secret, new_password
"""
LEAKS = {
    "a log": "logging.getLogger('rotation').info('made %s', password.reveal())",
    "a debug log of another library": "logging.getLogger('azure').warning(password.reveal())",
    "standard output": "print('made', password.reveal())",
    "standard error": "sys.stderr.write(password.reveal())",
    "an exception": "raise ValueError(f'bad value {password.reveal()}')",
    "a file": "(tmp_path / 'journal.db').write_text('{\"p\": \"' + password.reveal() + '\"}')",
    "a record in the storage account": (
        "(tmp_path / 'blobs').mkdir();"
        " (tmp_path / 'blobs' / 'blobs.db').write_bytes(password.reveal().encode())"
    ),
    "a file, encoded": (
        "(tmp_path / 'a').write_bytes(base64.b64encode(b'x:' + password.reveal().encode()))"
    ),
    "a file, as UTF-16": "(tmp_path / 'a').write_text(password.reveal(), encoding='utf-16-le')",
    "a file, amid letters": "(tmp_path / 'a').write_text('xyz' + password.reveal() + 'abc')",
    "an argument": "subprocess.run([sys.executable, '-c', '', password.reveal()], check=True)",
}


@pytest.mark.guarantee(3)
def test_tests_that_leak_fail_and_their_reports_do_not(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = [
        f"def test_{number}(tmp_path):\n    password = new_password()\n    {leak}"
        for number, leak in enumerate(LEAKS.values())
    ]
    result = run(pytester, monkeypatch, "\n\n".join(functions))
    text = result.stdout.str()
    found = {int(number) for number in re.findall(r"(?:FAILED|ERROR) \S+::test_(\d+)", text)}
    assert [name for number, name in enumerate(LEAKS) if number not in found] == []
    assert "password.reveal()" not in text  # neither the source nor what was captured
    assert not re.search("[A-Za-z0-9]{40}", text)


def test_a_password_that_a_child_made_is_known_from_the_vault(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
def test_it(tmp_path):
    store = tmp_path / "keyvault" / "vault.db"
    store.parent.mkdir()
    value = "".join("aB3dE" for _ in range(8))
    with sqlite3.connect(store) as database:
        database.execute("CREATE TABLE versions (value TEXT)")
        database.execute("INSERT INTO versions VALUES (?)", (f"postgresql://r:{value}@h/d",))
    database.close()
    (tmp_path / "host.log").write_text("signed in with " + value)
"""
    result = run(pytester, monkeypatch, body)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*a password was found in: *host.log"])


def test_tests_that_keep_their_passwords_pass(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
def test_masked(tmp_path, capsys):
    password = new_password()
    logging.getLogger("rotation").info("made %s", password)
    print(password, [password], f"{password}")
    (tmp_path / "cluster" / "pods" / "volume").mkdir(parents=True)
    (tmp_path / "cluster" / "pods" / "volume" / "password").write_text(password.reveal())
    (tmp_path / "a").write_text("x" * 400)

@pytest.mark.shows_passwords("to show that it can")
def test_marked():
    print(new_password().reveal())

def test_what_is_no_password():
    print(Secret("hunter2").reveal())
"""
    result = run(pytester, monkeypatch, body)
    result.assert_outcomes(passed=3)


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, body: str) -> pytest.RunResult:
    """In a process of its own: the canary of this one would find what is leaked there."""
    pytester.makepyfile(HEAD + body)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester.runpytest_subprocess(*OPTIONS)
