"""Logs in as a slot's role, in a process of its own with a deadline.

The verifier of a role says how many rounds a client has to compute, and the role may have changed
it: libpq would compute millions of them with the interpreter locked, and with it the whole app. To
read the number first would leave a gap until the login; a process can simply be ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import astuple

from rotation.edges.database.connecting import Accepted, Login, connected
from rotation.model.errors import Conflict, Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.model.targets import ServerTarget
from rotation.secrecy import Secret

LONGEST = 20.0  # seconds
MODULE = "rotation.edges.database.login"
KINDS: dict[str, type[EdgeError]] = {
    kind.__name__: kind for kind in (Unavailable, Denied, Missing, Conflict, Invalid)
}
CODES = {str(code): code for code in Code}
INHERITED = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TZ")


def prove(what: str, login: Login) -> None:
    """Logs in once and leaves. Raises `EdgeError` if that fails or takes longer than `LONGEST`.

    A server that takes the password and has no connection left for the role proves it too. The
    password goes through a pipe, where nobody else can read it.
    """
    given = {
        "what": what,
        "server": astuple(login.server),
        "role": login.role,
        "password": login.password.reveal(),
        "requireAuth": login.require_auth,
        "sslrootcert": login.sslrootcert,
    }
    try:
        ended = subprocess.run(  # noqa: S603 - our own module, nothing of it comes from outside
            [sys.executable, "-m", MODULE],
            input=json.dumps(given).encode(),
            capture_output=True,
            timeout=LONGEST,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        text = f"{what}: not done after {LONGEST:.0f} s; is its verifier a usual one?"
        raise Unavailable(Code.LOGIN_SLOW, text) from None
    if ended.returncode == 0:
        return
    raise _error(what, ended.stdout)


def _environment() -> dict[str, str]:
    """The process's environment: what the interpreter needs, and no variable that libpq reads."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _error(what: str, answer: bytes) -> EdgeError:
    """The error that the process wrote, or one that says that it wrote none."""
    try:
        kind, code, message = json.loads(answer)
        return KINDS[kind](CODES[code], message)
    except (ValueError, KeyError, TypeError, RecursionError):
        text = f"{what}: the process that tries it ended without an answer"
        return Unavailable(Code.LOGIN_SLOW, text)


def main() -> int:
    """Reads what `prove` gave from standard input; writes the error, if there is one."""
    given = json.loads(sys.stdin.buffer.read())
    login = Login(
        server=ServerTarget(*given["server"]),
        role=given["role"],
        password=Secret(given["password"]),
        require_auth=given["requireAuth"],
        sslrootcert=given["sslrootcert"],
    )
    try:
        with connected(given["what"], login, options="") as connection:
            connection.execute("SELECT 1")
    except Accepted:
        return 0
    except EdgeError as error:
        sys.stdout.write(json.dumps([type(error).__name__, str(error.code), error.message]))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
