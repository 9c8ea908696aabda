"""From what was counted to what would mend it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rotctl.rehearse.counts import Span

GUIDE = "docs/applications.md"
WHAT, WHOM, PROXY = (
    "what-a-recipe-does",
    "for-whom-no-request-fails",
    "an-ingress-or-a-mesh-in-front",
)
READY = "docs/onboarding.md#1-what-your-application-must-be-able-to-do"
RECIPES = {  # anchors of the guide
    "express": "express-and-what-else-runs-on-nodejs",
    "go": "go-nethttp",
    "gunicorn": "gunicorn",
    "uvicorn": "uvicorn",
    "spring": "spring-boot-on-tomcat",
    "aspnet": "aspnet-core",
}
BY_SERVER = {"kestrel": "aspnet", "coyote": "spring"}  # others are called like their frameworks
KEPT = ("kept-idle", "kept-in-flight", "kept-timeout")


@dataclass(frozen=True)
class Measured:
    """`steady` is before anything happened, `move` while traffic went to the other pod, `end`
    since the pod was told to end. `connections` were kept to it then, and it was gone after `took`
    of the `grace` seconds that it has; `killed` if it
    was by the node."""

    steady: Span
    move: Span
    end: Span
    connections: int
    took: float
    grace: float
    killed: bool = False
    framework: str = ""

    @property
    def lost(self) -> int:
        return self.steady.lost + self.move.lost + self.end.lost


@dataclass(frozen=True)
class Finding:
    """`code` is for programs, `recipe` where to read on; `good` if there is nothing to do."""

    code: str
    text: str
    recipe: str
    good: bool = False

    def document(self) -> dict[str, Any]:
        return {"code": self.code, "text": self.text, "recipe": self.recipe, "good": self.good}


def findings(measured: Measured) -> list[Finding]:
    """What was seen, the worst first."""
    checks = (_unsteady, _moved, _kept, _cut, _statuses, _new, _killed)
    bad = [found for check in checks for found in check(measured)]
    return bad if measured.lost else [*bad, _good(measured)]


def _at(anchor: str) -> str:
    return f"{GUIDE}#{anchor}"


def recipe(measured: Measured) -> str:
    return _at(RECIPES.get(measured.framework, WHAT))


def _unsteady(measured: Measured) -> Iterator[Finding]:
    if measured.steady.lost:
        text = (
            f"{measured.steady.lost} requests failed before anything was ended"
            f" ({measured.steady.how}): the pod does not take this load, so that what came later"
            " may be due to that. Try fewer --connections, a lower --rate, or another --path."
        )
        yield Finding("unsteady", text, READY)


def _moved(measured: Measured) -> Iterator[Finding]:
    if measured.move.lost:
        text = (
            f"{measured.move.lost} requests failed while traffic went to the other pod, before one"
            f" was ended ({measured.move.how}). No application can mend that: either the pod was"
            " not ready to serve when its probe said so, or something in the cluster's network ends"
            " connections to pods that have left a Service."
        )
        yield Finding("move", text, READY)


def _kept(measured: Measured) -> Iterator[Finding]:
    failed = measured.end.failed
    kept = sum(failed.get(kind, 0) for kind in KEPT)
    if not kept:
        return
    idle = failed.get("kept-idle", 0)
    saved = f" A client that looks before it sends would have saved {idle}." if idle else ""
    if measured.end.told:
        text = (
            f"The server ended {measured.end.told} connections with an answer that said so, and"
            f" {kept} without a word: it closes before all clients have been told. Let it serve on"
            " for longer than any of them pauses, and begin to tell as soon as SIGTERM comes."
            + saved
        )
        yield Finding("told-too-few", text, _at(WHAT))
        return
    text = (
        f"{kept} requests failed on connections that were kept to the pod"
        f" ({measured.connections} were): after SIGTERM the server closes them without a word."
        " The recipe has each answer end its connection for some seconds first." + saved
    )
    yield Finding("untold", text, recipe(measured))


def _cut(measured: Measured) -> Iterator[Finding]:
    cut = measured.end.failed.get("cut", 0)
    if cut:
        text = (
            f"{cut} answers ended in the middle: the process ends before the requests that it has"
            " begun. The server has to wait for them, within terminationGracePeriodSeconds"
            f" ({measured.grace:g} s)."
        )
        yield Finding("cut", text, recipe(measured))


def _statuses(measured: Measured) -> Iterator[Finding]:
    answered = measured.end.failed.get("status", 0)
    if answered:
        text = (
            f"{answered} requests were answered with 500 or more once the pod was told to end. Only"
            " readiness may say no after SIGTERM: the application has to work until its server"
            " closes, and its pool of database connections closes after that."
        )
        yield Finding("status", text, recipe(measured))


def _new(measured: Measured) -> Iterator[Finding]:
    kinds = ("refused", "fresh-closed", "timeout", "garbled")
    count = sum(measured.end.failed.get(kind, 0) for kind in kinds)
    if count:
        how = ", ".join(kind for kind in kinds if measured.end.failed.get(kind))
        text = (
            f"{count} requests found no server ({how}), while the other pod was ready all the time:"
            " it did not take what came in the place of the first, or hung. A readiness probe that"
            " asks for what a request asks for says so in time."
        )
        yield Finding("unserved", text, READY)


def _killed(measured: Measured) -> Iterator[Finding]:
    if measured.killed:
        text = (
            f"The pod was killed after its {measured.grace:g} s: SIGTERM does not reach the server"
            " (a shell in between?), or its end takes longer than terminationGracePeriodSeconds."
        )
        yield Finding("killed", text, _at(WHAT))


def _good(measured: Measured) -> Finding:
    if not measured.connections:
        text = "No request failed: the server keeps no connection, so that there is none to lose."
        return Finding("keeps-none", text, _at(WHOM), good=True)
    if measured.end.held:
        text = (
            "No request failed, and connections of before outlived the pod: something in between"
            " (a mesh, a proxy) takes each request to a pod by itself."
        )
        return Finding("proxied", text, _at(PROXY), good=True)
    text = (
        f"No request failed: the {measured.connections} connections that were kept to the pod ended"
        " with an answer that said so. Clients that pause for longer than it serves on were not"
        " tried."
    )
    return Finding("told", text, _at(WHAT), good=True)
