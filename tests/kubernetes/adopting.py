"""Follows the moves of `rotctl adopt` in a cluster, line by line, as somebody at a shell does."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from rotctl.adopt.moves import moves

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rotctl.adopt.plan import Plan

SPACE = "orders"
OTHERS = {"The guard", "The app's rights"}  # of the whole cluster, and of no workload
# Lines that change something in the cluster or a release; what looks before them is left out.
CHANGES = re.compile(
    r" *(sh git/|(HAND_OVER=on )?helm "
    r"|kubectl (-n \S+ )?(apply|patch|delete|scale|annotate|label) )"
)


class Shell:
    """In a folder, with programs of its own before others on the PATH."""

    def __init__(self, folder: Path, programs: Path, **environment: str) -> None:
        self.folder = folder
        path = f"{programs}:{os.environ['PATH']}"
        self.environment = {"PATH": path, "HOME": str(folder.parent), **environment}

    def __call__(self, line: str) -> str:
        done = subprocess.run(  # noqa: S603 - the folder's own lines
            ["/bin/sh", "-euc", line],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def seen(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self(f"kubectl -n {SPACE} get {name} -o yaml"))
        return found

    def state(self, name: str) -> dict[str, Any]:
        """The slot that a workload's Service selects, and each slot's replicas."""
        slots = (f"{name}-blue", f"{name}-green")
        replicas = {each: self.seen(f"deployment/{each}")["spec"]["replicas"] for each in slots}
        return {name: self.seen(f"service/{name}")["spec"]["selector"]["slot"], **replicas}

    def images(self, name: str) -> set[str]:
        """What both slots' pods run."""
        specs = [
            self.seen(f"deployment/{name}-{slot}")["spec"]["template"]["spec"]
            for slot in ("blue", "green")
        ]
        return {one["image"] for spec in specs for one in spec["containers"]}

    def rotate(self, name: str, services: tuple[str, ...], replicas: int) -> None:
        """Writes what a rotation from blue to green does."""
        own = f"kubectl -n {SPACE} patch --field-manager=credential-rotation --type=merge"
        for each in services:
            self(f"""{own} service/{each} -p '{{"spec":{{"selector":{{"slot":"green"}}}}}}'""")
        for slot, count in (("green", replicas), ("blue", 0)):
            self(f"""{own} deployment/{name}-{slot} -p '{{"spec":{{"replicas":{count}}}}}'""")


def lines(plan: Plan) -> Iterator[str]:
    """What the moves do in the cluster and to a release."""
    for move in moves(plan):
        if move.title not in OTHERS:
            yield from (
                line for line in move.do if CHANGES.match(line) and "/dev/stdin" not in line
            )
