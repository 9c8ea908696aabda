"""What was done, when and by whom: a file of the folder's, which the checks prove again."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rotctl.adopt.scripts import Way

FILE = "applied.json"
What = Literal["begun", "done", "back"]


@dataclass(frozen=True)
class Event:
    """`at` is when, in UTC; `by` the name of an account of the machine."""

    at: str
    by: str
    way: Way
    move: str
    what: What


@dataclass
class State:
    path: Path
    events: list[Event] = field(default_factory=list)

    def done(self, way: Way, move: str) -> Event | None:
        """When a move was done last, unless somebody has gone back since, or the other way."""
        found = None
        for one in self.events:
            if one.way != way:
                found = None
            elif one.move == move:
                found = one if one.what == "done" else None
        return found

    def add(self, event: Event) -> None:
        """Writes it down as a whole, or not at all. Raises `ClientError`."""
        self.events.append(event)
        document = {"version": 1, "events": [asdict(one) for one in self.events]}
        beside = self.path.with_name(f"{FILE}.new")
        try:
            beside.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            beside.replace(self.path)
        except OSError as error:
            text = f"{self.path} cannot be written: {error.strerror}"
            raise ClientError(text, "what was done is done: run it again", Exit.PROBLEM) from None


def read(folder: Path) -> State:
    """Raises `ClientError` for a file that is not one of these."""
    path = folder / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return State(path, [Event(**each) for each in document["events"]])
    except FileNotFoundError:
        return State(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        text = f"{path} is not what this command writes"
        cure = "restore it, or move it away: the checks then say what is done"
        raise ClientError(text, cure, Exit.PROBLEM) from None


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Keeps a second one of this machine out; what runs with the descriptor of the lock keeps it.
    Raises `ClientError` if somebody is in."""
    import fcntl  # not on Windows, where the rest of the command line runs

    try:
        held = os.open(folder, os.O_RDONLY)
    except OSError as error:
        text = f"{folder} cannot be opened: {error.strerror}"
        raise ClientError(text, "name the folder that `adopt` wrote", Exit.USAGE) from None
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = f"somebody else is making the moves of {folder}, or a script of it still runs"
            raise ClientError(text, "wait until they have ended", Exit.PROBLEM) from None
        try:
            yield held
        finally:
            fcntl.flock(held, fcntl.LOCK_UN)  # whatever a script has left that has it
    finally:
        os.close(held)
