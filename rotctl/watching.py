"""Looks at a rotation until it ends, or waits for a decision: as a tree that redraws on a terminal,
as lines elsewhere, or as a JSON document a line."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Group
from rich.live import Live
from rich.text import Text

from rotctl import drawing
from rotctl.exits import OF_OUTCOME, ClientError, Exit
from rotctl.narration import Narration
from rotctl.words import waits_for_decision

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from rich.console import Console

    from rotctl.client import App
    from rotctl.words import Record

EVIDENCE_EVERY = 20.0  # seconds: each look runs the tests through production once more
PATIENCE = 120.0  # seconds for which the app may be out of reach before that is the end


class Screen(Protocol):
    """Where a rotation is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, record: Record, evidence: dict[str, Any] | None, trouble: str) -> None:
        """Shows how it stands; `trouble` is why the app could not be asked just now."""


class Redrawn:
    """A tree on a terminal. It stays there as it was last."""

    def __init__(self, console: Console, footer: str = "") -> None:
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="visible")
        self._footer = footer

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def show(self, record: Record, evidence: dict[str, Any] | None, trouble: str) -> None:
        parts: list[Any] = [drawing.tree(record, evidence, datetime.now(UTC))]
        if trouble:
            parts.append(Text(trouble, style="yellow"))
        if self._footer:
            parts.append(Text(self._footer, style=drawing.QUIET))
        self._live.update(Group(*parts), refresh=True)


@dataclass
class Lines:
    """What is new, a line each, with the seconds since the start."""

    write: Callable[[str], object]
    narration: Narration = field(default_factory=Narration)
    began: float = field(default_factory=time.monotonic)
    trouble: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, record: Record, evidence: dict[str, Any] | None, trouble: str) -> None:  # noqa: ARG002
        new = [trouble] if trouble and trouble != self.trouble else self.narration.new(record)
        self.trouble = trouble
        for line in new:
            self.write(f"{time.monotonic() - self.began:6.1f} s  {line}\n")


@dataclass
class Documents:
    """Each record that differs from the one before, as a line of JSON."""

    write: Callable[[str], object]
    last: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, record: Record, evidence: dict[str, Any] | None, trouble: str) -> None:  # noqa: ARG002
        text = json.dumps(record)
        if text != self.last:
            self.last = text
            self.write(f"{text}\n")


@dataclass(frozen=True)
class Until:
    """When to stop looking: at the end, or at the first wait for a decision too; after `timeout`
    seconds in any case, unless that is None."""

    decision: bool = False
    timeout: float | None = None


def watch(  # noqa: PLR0913 - clock and sleep are passed in
    app: App,
    rotation: str,
    screen: Screen,
    until: Until,
    *,
    interval: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Record, Exit]:
    """The last record, and how it ended. Raises `ClientError` where the app cannot be asked."""
    looks = _Looks(app, rotation, clock)
    began = clock()
    with screen:
        while True:
            record = looks.record()
            evidence = looks.evidence(record) if record else None
            if record:
                screen.show(record, evidence, looks.trouble)
                ended = _ended(record, until)
                if ended is not None:
                    return record, ended
            if until.timeout is not None and clock() - began >= until.timeout:
                return looks.known(), _late(looks.known())
            sleep(interval)


def _ended(record: Record, until: Until) -> Exit | None:
    if record.get("outcome"):
        return OF_OUTCOME.get(record["outcome"], Exit.NEEDS_ATTENTION)
    return Exit.WAITING if until.decision and waits_for_decision(record) else None


def _late(record: Record) -> Exit:
    return Exit.WAITING if waits_for_decision(record) else Exit.TIMEOUT


class _Looks:
    """Asks the app, and bears with one that is out of reach for a while."""

    def __init__(self, app: App, rotation: str, clock: Callable[[], float]) -> None:
        self._app = app
        self._rotation = rotation
        self._clock = clock
        self._reached = clock()
        self._record: Record | None = None
        self._evidence: dict[str, Any] | None = None
        self._looked: float | None = None
        self.trouble = ""

    def known(self) -> Record:
        """The record as it was last. Raises `ClientError` where it was never seen."""
        if self._record is None:
            raise ClientError(self.trouble, "is the app running?", Exit.UNREACHABLE)
        return self._record

    def record(self) -> Record | None:
        """The record as it is now, or was when the app last answered."""
        try:
            self._record = self._app.rotation(self._rotation)
        except ClientError as error:
            if error.exit_code is not Exit.UNREACHABLE:
                raise
            if self._record is None or self._clock() - self._reached > PATIENCE:
                raise
            self.trouble = f"{error.text}; trying again"
        else:
            self._reached = self._clock()
            self.trouble = ""
        return self._record

    def evidence(self, record: Record) -> dict[str, Any] | None:
        """What speaks for an approval, while one is waited for, looked at now and then."""
        if not waits_for_decision(record):
            return None
        if self._looked is None or self._clock() - self._looked >= EVIDENCE_EVERY:
            self._looked = self._clock()
            try:
                self._evidence = self._app.evidence(self._rotation)
            except ClientError as error:
                self.trouble = f"no evidence now: {error.text}"
        return self._evidence
