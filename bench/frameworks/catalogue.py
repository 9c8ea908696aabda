"""The frameworks, and for each the ways in which an application of it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from local.process import ROOT

SOURCES = Path(__file__).parent
BUILT = ROOT / ".frameworks"
LAME_DUCK_SECONDS = "3"
JAVA = ("java", "-Xmx160m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar")


@dataclass(frozen=True)
class Shape:
    """One way to end. `environment` is added to the pods', `arguments` to the command line."""

    name: str
    title: str
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    lame_duck: bool = False


@dataclass(frozen=True)
class Framework:
    """`folder` of its sources, the `tools` that its build and its pods need, the command of the
    build and that of a pod; both may name `{built}`, `{sources}` and `{python}`."""

    name: str
    title: str
    folder: str
    tools: tuple[str, ...]
    build: tuple[str, ...]
    run: tuple[str, ...]
    shapes: tuple[Shape, ...]
    environment: dict[str, str] = field(default_factory=dict)
    copied: bool = False  # the build runs in a copy of the sources


def _by_variable(name: str, title: str, **more: str) -> Shape:
    return Shape(name, title, {"SHUTDOWN": name, **more})


def _lame_duck(**environment: str) -> Shape:
    title = f"recipe: `Connection: close` for {LAME_DUCK_SECONDS} s after SIGTERM, then closing"
    given = {"LAME_DUCK_SECONDS": LAME_DUCK_SECONDS, **environment}
    return Shape("lame-duck", title, given, lame_duck=True)


def _pip(requirements: str) -> tuple[str, ...]:
    quietly = ("--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade")
    where = ("--target", "{built}", "-r", f"{{sources}}/{requirements}.txt")
    return ("{python}", "-m", "pip", "install", *quietly, "--require-hashes", *where)


_GUNICORN = ("python", "-m", "gunicorn", "--bind", "127.0.0.1:$(PORT)", "--log-level", "warning")
_WSGI = "bench.frameworks.python.wsgi:application"
_PYTHONPATH = {"PYTHONPATH": f"{{built}}:{ROOT}"}


def _gunicorn(name: str, title: str, *shapes: Shape) -> Framework:
    return Framework(
        *(name, title, "python", ()),
        build=_pip(name),
        run=(*_GUNICORN, _WSGI),
        shapes=shapes,
        environment=_PYTHONPATH,
    )


_THREADS = ("--worker-class", "gthread", "--workers", "1", "--threads", "16")
_GTHREAD = Shape("gthread", "gthread, as it comes", {}, _THREADS)
_SYNC = Shape("sync", "sync, as it comes: keeps no connection", {}, ("--workers", "2"))
_GTHREAD_LAME_DUCK = Shape(
    "lame-duck",
    _lame_duck().title.replace("recipe", "gthread, recipe"),
    _lame_duck().environment,
    (*_THREADS, "--config", "python:bench.frameworks.python.lame_duck_gunicorn"),
    lame_duck=True,
)

FRAMEWORKS = (
    Framework(
        *("express", "Express 5.3 (Node.js)", "express", ("node", "npm")),
        build=("npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"),
        run=("node", "{built}/server.js"),
        shapes=(
            _by_variable("none", "as it comes: ends at once"),
            _by_variable("close", "`server.close()` on SIGTERM"),
            _lame_duck(SHUTDOWN="lame-duck"),
        ),
        copied=True,
    ),
    Framework(
        *("go", "Go net/http", "go", ("go",)),
        build=("go", "build", "-o", "{built}/orders", "."),
        run=("{built}/orders",),
        shapes=(
            _by_variable("none", "as it comes: ends at once"),
            _by_variable("shutdown", "`Server.Shutdown` on SIGTERM"),
            _by_variable("keep-alives-off", "`SetKeepAlivesEnabled(false)`, 3 s, `Shutdown`"),
            _lame_duck(SHUTDOWN="lame-duck"),
        ),
    ),
    Framework(
        *("spring", "Spring Boot 3.5 (Tomcat)", "spring", ("java", "mvn")),
        build=("mvn", "-q", "-B", "package", "-Dbuild.folder={built}"),
        run=(*JAVA, "{built}/orders.jar"),
        shapes=(
            Shape(
                "immediate",
                "`server.shutdown=immediate`",
                {"SERVER_SHUTDOWN": "immediate", "LAMEDUCK_SECONDS": "0"},
            ),
            Shape("graceful", "graceful, as it comes", {"LAMEDUCK_SECONDS": "0"}),
            _lame_duck(LAMEDUCK_SECONDS=LAME_DUCK_SECONDS),
        ),
        environment={"SECRETS": "/mnt/secrets"},
    ),
    _gunicorn("gunicorn-23", "gunicorn 23.0", _GTHREAD, _GTHREAD_LAME_DUCK),
    _gunicorn("gunicorn", "gunicorn 27.0", _GTHREAD, _SYNC, _GTHREAD_LAME_DUCK),
    Framework(
        *("uvicorn", "uvicorn 0.54", "python", ()),
        build=_pip("uvicorn"),
        run=(*("python", "-m", "uvicorn", "--port", "$(PORT)"), "--no-access-log"),
        shapes=(
            Shape("plain", "as it comes", {}, ("bench.frameworks.python.asgi:plain",)),
            Shape(
                "lame-duck",
                _lame_duck().title,
                _lame_duck().environment,
                ("bench.frameworks.python.asgi:app",),
                lame_duck=True,
            ),
        ),
        environment=_PYTHONPATH,
    ),
)
