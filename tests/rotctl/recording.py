"""Records `rotctl watch` of a real rotation on the local stack, as an SVG that plays by itself.

    python -m tests.rotctl.recording docs/images/rotctl.svg        (make screenshots)

Each frame is what rich drew; the file loads nothing, and stands still for who asked for less
motion.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.text import Text

from local import world
from local.stack import Options, Stack
from rotctl import drawing
from rotctl.client import App
from rotctl.profiles import Profile
from rotctl.watching import Until, watch

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 100  # columns
SECONDS = 2.2  # that a frame is shown; the last one twice as long
MOST = 9  # frames
WARM_UP = 3.0  # seconds that pods of one workload take, so that there is something to see
WATCHED = "$ rotctl watch orders-db"
DECIDED = "$ rotctl approve orders-db --yes && rotctl watch orders-db"
FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)


class Frame(NamedTuple):
    """The command, what it drew, and whether somebody has evidence before them, and is asked."""

    command: str
    tree: Any
    asks: bool


class Recorded:
    """A screen that keeps each tree that differs in more than its times."""

    def __init__(self) -> None:
        self.command = WATCHED
        self.frames: list[Frame] = []
        self._last: object = None

    def __enter__(self) -> Recorded:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, record: Any, evidence: Any, trouble: str) -> None:
        stands = (
            record["stage"],
            [step["step"] for step in record["steps"]],
            record["workloads"],
            evidence is None,
            record["decision"],
            trouble,
        )
        if stands != self._last:
            self._last = stands
            tree = drawing.tree(record, evidence, datetime.now(UTC))
            self.frames.append(Frame(self.command, tree, evidence is not None))


def recorded(stack: Stack) -> Recorded:
    """A rotation from its start to its end, approved on the way."""
    url = stack.components["host"].url
    app = App(Profile("local", url, stack.keys["function"]))
    started = app.start(credential=world.CREDENTIAL, by="me@contoso.example")
    screen = Recorded()
    watch(app, started["rotation"], screen, Until(decision=True), interval=0.2)
    decision = {"decision": "approve", "by": world.APPROVERS[0], "channel": "rotctl"}
    app.decide(started["rotation"], **decision, comment="all on green")
    screen.command = DECIDED
    watch(app, started["rotation"], screen, Until(), interval=0.2)
    return screen


def chosen(frames: Sequence[Frame]) -> list[Frame]:
    """At most `MOST` frames and one, evenly, with the first, the last, and what asks somebody."""
    step = max(1.0, (len(frames) - 1) / (MOST - 1))
    evenly = {round(step * number) for number in range(MOST)}
    asking = [number for number, frame in enumerate(frames) if frame.asks][-1:]
    return [frame for number, frame in enumerate(frames) if number in {*evenly, *asking}]


def drawn(frames: Sequence[Frame]) -> str:
    """The frames as one SVG, each as high as the highest."""
    height = max(_lines(one.command, one.tree) for one in frames)
    made = [_svg(n, one.command, one.tree, height) for n, one in enumerate(frames)]
    opening = re.match(r"<svg[^>]*>", made[0])
    if opening is None:
        raise ValueError("rich has made no SVG")
    whole = SECONDS * (len(frames) + 1)
    rules, groups = [], []
    for number, svg in enumerate(made):
        begin, end = SECONDS * number / whole, SECONDS * (number + 1) / whole
        end = 1.0 if number == len(made) - 1 else end
        rules.append(_rule(number, begin, end, whole))
        inner = svg.removeprefix(opening[0]).removesuffix("</svg>\n").removesuffix("</svg>")
        groups.append(f'<g id="frame-{number}">{FONT_FACE.sub("", inner)}</g>')
    last = f"#frame-{len(made) - 1} {{ visibility: visible }}"
    less = f"g[id^=frame-] {{ animation: none }} {last}"
    still = f"@media (prefers-reduced-motion: reduce) {{ {less} }}"
    style = f"<style>g[id^=frame-] {{ visibility: hidden }}\n{''.join(rules)}{still}</style>"
    text = f"{opening[0]}\n{style}\n{''.join(groups)}</svg>\n"
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip())


def _rule(number: int, begin: float, end: float, whole: float) -> str:
    """When a frame is seen, as parts of the whole: each value holds until the next one."""
    hidden, seen = "{ visibility: hidden }", "{ visibility: visible }"
    before = f"0% {hidden} " if begin else ""
    after = f" {100 * end:.2f}% {hidden}" if end < 1 else ""
    return (
        f"@keyframes play-{number} {{ {before}{100 * begin:.2f}% {seen}{after} }}\n"
        f"#frame-{number} {{ animation: play-{number} {whole:.1f}s step-end infinite }}\n"
    )


def _console() -> Console:
    return Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False
    )


def _lines(command: str, tree: Any) -> int:
    console = _console()
    console.print(Text(command))
    console.print(tree)
    return console.export_text().count("\n")


def _svg(number: int, command: str, tree: Any, height: int) -> str:
    console = _console()
    console.print(Text(command, style="bold"))
    console.print(tree)
    for _ in range(height - _lines(command, tree)):
        console.print()
    return console.export_svg(title="rotctl", unique_id=f"f{number}")


def main(path: str) -> int:
    with tempfile.TemporaryDirectory(prefix="rotation-") as directory:
        stack = Stack(Path(directory), Options(warm_up=WARM_UP))
        try:
            stack.start()
            screen = recorded(stack)
        finally:
            stack.stop()
    Path(path).write_text(drawn(chosen(screen.frames)), encoding="utf-8")
    sys.stdout.write(f"{path}: {len(screen.frames)} frames were drawn\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
