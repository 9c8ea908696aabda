"""Timer triggers: NCRONTAB schedules in UTC, never two runs of one function at once."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from azure.functions.meta import Datum
from croniter import (  # type: ignore[import-untyped]  # the package carries no types
    CroniterError,
    croniter,
)

from local.host import app as apps
from local.host.logs import event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.host.app import App, AppFunction
    from local.host.worker import Worker

LONGEST_SLEEP = 60.0  # seconds; the wall clock may be set meanwhile
NEVER = "0001-01-01T00:00:00+00:00"


class ScheduleError(Exception):
    """A schedule that cannot be run."""


class Schedule:
    """`{second} {minute} {hour} {day} {month} {day of week}`; five fields start at second 0.

    Unlike in cron, day and day of week must both fit. `%NAME%` stands for an app setting.
    """

    def __init__(self, text: str, settings: Mapping[str, str]) -> None:
        self.text = resolve(text, settings)
        fields = self.text.split()
        if len(fields) not in {5, 6}:
            raise ScheduleError(
                f"schedule {self.text!r} has {len(fields)} fields: give six, seconds first"
            )
        self._expression = " ".join(fields if len(fields) == 6 else ["0", *fields])
        try:
            self.after(datetime(2000, 1, 1, tzinfo=UTC))
        except CroniterError as error:
            raise ScheduleError(f"schedule {self.text!r} is not NCRONTAB: {error}") from error

    def after(self, moment: datetime) -> datetime:
        """The first time later than `moment`."""
        times = croniter(self._expression, moment, second_at_beginning=True, day_or=False)
        found: datetime = times.get_next(datetime)
        return found


def resolve(text: str, settings: Mapping[str, str]) -> str:
    """Raises `ScheduleError` for a setting that is not there."""

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in settings:
            raise ScheduleError(f"schedule {text!r} names the app setting {name}, which is not set")
        return settings[name]

    return re.sub(r"%([^%]+)%", value, text)


class Timer:
    """One timer function."""

    def __init__(self, function: AppFunction, worker: Worker, settings: Mapping[str, str]) -> None:
        self._function = function
        self._worker = worker
        self._one_at_a_time = asyncio.Lock()
        self._last: datetime | None = None
        self.schedule = Schedule(str(function.trigger["schedule"]), settings)
        self.run_on_startup = bool(function.trigger.get("runOnStartup"))

    async def keep(self) -> None:
        """Runs the function on its schedule until cancelled.

        A scheduled time that passes during a run is left out.
        """
        if self.run_on_startup:
            await self.run()
        while True:
            await _until(self.schedule.after(datetime.now(UTC)))
            await self.run()

    async def run(self) -> None:
        """Runs the function once, after the run under way.

        A failure is logged and the schedule goes on.
        """
        async with self._one_at_a_time:
            begun = datetime.now(UTC)
            try:
                await self._worker.invoke(self._function, self._request(begun))
            except Exception as error:  # noqa: BLE001 - whatever the app raises must not end its schedule
                event("function failed", logging.ERROR, function=self._function.name, error=error)
            else:
                event("timer ran", function=self._function.name)
            self._last = begun

    def _request(self, now: datetime) -> Datum:
        last = self._last.isoformat() if self._last else NEVER
        status = {"Last": last, "LastUpdated": last, "Next": self.schedule.after(now).isoformat()}
        body = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": False}
        return Datum(json.dumps(body), "json")


async def _until(moment: datetime) -> None:
    while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110 - time itself
        await asyncio.sleep(min(left, LONGEST_SLEEP))


class Timers:
    """All timer functions of an app. Raises `ScheduleError` that names the function."""

    def __init__(self, app: App, worker: Worker) -> None:
        self._timers: dict[str, Timer] = {}
        self._tasks: list[asyncio.Task[None]] = []
        for function in app.of_kind(apps.TIMER):
            try:
                self._timers[function.name] = Timer(function, worker, os.environ)
            except ScheduleError as error:
                raise ScheduleError(f"{function.name}: {error}") from error

    def start(self) -> None:
        self._tasks = [asyncio.create_task(timer.keep()) for timer in self._timers.values()]

    async def run(self, name: str) -> None:
        await self._timers[name].run()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
