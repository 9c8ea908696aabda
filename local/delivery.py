"""Event Grid's way of delivering: handshake first, then at least once, unordered, for 24 hours.

The schedule, the status codes and the 30 seconds to answer are those of
https://learn.microsoft.com/azure/event-grid/delivery-and-retry.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from local.outbox import Delivery, Outbox, without_code

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping

log = logging.getLogger(__name__)

RETRIES = (10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200)  # seconds, then the last again
AT_LEAST = {404: 300, 408: 120, 503: 30}  # seconds to the next attempt after this status
HOPELESS = {400, 401, 403, 413}
HANDSHAKE_RETRY = 1.0
LIFE = 86400.0
ANSWER_WITHIN = 30.0
CODE_VARIABLE = "LOCAL_WEBHOOK_CODE"


def with_code(url: str) -> str:
    """The webhook's URL with the key from the environment, which keeps it off command lines."""
    code = os.environ.get(CODE_VARIABLE)
    return str(URL(url).update_query(code=code)) if code else url


def is_cloud_event(event: Mapping[str, object]) -> bool:
    return "specversion" in event


def after_answer(
    status: int | None, attempts: int, age: float, scale: float
) -> tuple[str | None, float]:
    """The outcome of an attempt, or None and the seconds until the next one.

    `status` is None when no answer came, `attempts` includes the one just made, `age` is in
    seconds, `scale` stretches the schedule.
    """
    if status is not None and 200 <= status <= 204:
        return "delivered", 0.0
    if status in HOPELESS:
        return "dead-lettered", 0.0
    wait = max(RETRIES[min(attempts, len(RETRIES)) - 1], AT_LEAST.get(status or 0, 0)) * scale
    return ("expired", 0.0) if age + wait > LIFE else (None, wait)


class Courier:
    """Delivers an outbox to one webhook, until cancelled."""

    def __init__(
        self,
        outbox: Outbox,
        webhook: str,
        topic: str,
        session: aiohttp.ClientSession,
        *,
        scale: float = 1.0,
    ) -> None:
        self._outbox = outbox
        self._webhook = webhook
        self._url = without_code(webhook)
        self._topic = topic
        self._session = session
        self._scale = scale

    async def run(self) -> None:
        while not self._outbox.validated(self._url):
            if await self._handshake():
                self._outbox.validate(self._url, time.time())
                log.info("%s is subscribed to %s", self._url, self._topic)
            else:
                await asyncio.sleep(HANDSHAKE_RETRY)
        while True:
            due = self._outbox.due(self._url, time.time())
            await asyncio.gather(*(self._deliver(delivery) for delivery in due))
            if not due:
                await self._wait()

    async def _wait(self) -> None:
        at = self._outbox.next_at(self._url)
        self._outbox.added.clear()
        try:
            await asyncio.wait_for(
                self._outbox.added.wait(), None if at is None else max(0.0, at - time.time())
            )
        except TimeoutError:
            return  # the next attempt is due

    async def _handshake(self) -> bool:
        code = str(uuid.uuid4())
        event = {
            "id": str(uuid.uuid4()),
            "topic": self._topic,
            "subject": "",
            "data": {"validationCode": code},
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": timestamp(time.time()),
            "metadataVersion": "1",
            "dataVersion": "2",
        }
        status, answer = await self._post([event], {"aeg-event-type": "SubscriptionValidation"})
        if status == 200 and _validation_response(answer) == code:
            return True
        log.warning("%s did not echo the validation code: %s", self._url, status or answer)
        return False

    async def _deliver(self, delivery: Delivery) -> None:
        headers = {
            "aeg-event-type": "Notification",
            "aeg-delivery-count": str(delivery.attempts),
            "aeg-subscription-name": "LOCAL",
        }
        body: object = [delivery.event]
        if is_cloud_event(delivery.event):
            headers["Content-Type"] = "application/cloudevents+json; charset=utf-8"
            body = delivery.event
        status, answer = await self._post(body, headers)
        now = time.time()
        outcome, wait = after_answer(
            status, delivery.attempts + 1, now - delivery.accepted_at, self._scale
        )
        if outcome != "delivered":
            log.warning("event %s to %s: %s", delivery.seq, self._url, status or answer)
        self._outbox.attempted(
            self._url, delivery.seq, str(status or answer), outcome=outcome, next_at=now + wait
        )

    async def _post(self, body: object, headers: dict[str, str]) -> tuple[int | None, str]:
        """(status, body of the answer), or None and why no answer came."""
        headers = {"Content-Type": "application/json; charset=utf-8", **headers}
        try:
            async with self._session.post(
                self._webhook, data=json.dumps(body).encode(), headers=headers
            ) as response:
                return response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return None, type(error).__name__


def _validation_response(answer: str) -> object:
    try:
        decoded = json.loads(answer)
    except ValueError:
        return None
    return decoded.get("validationResponse") if isinstance(decoded, dict) else None


def timestamp(seconds: float) -> str:
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec="microseconds")
        .replace("+00:00", "Z")
    )


@asynccontextmanager
async def delivering(
    outbox: Outbox,
    webhooks: Iterable[str],
    topic: str,
    trust: ssl.SSLContext,
    *beside: Coroutine[None, None, None],
    scale: float = 1.0,
) -> AsyncIterator[None]:
    """A courier for each webhook, and the given tasks, for as long as the body runs. An unexpected
    error in one of them ends the body."""
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust),
            timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN),
        ) as session,
        asyncio.TaskGroup() as group,
    ):
        couriers = [Courier(outbox, url, topic, session, scale=scale).run() for url in webhooks]
        tasks = [group.create_task(each) for each in (*couriers, *beside)]
        yield
        for task in tasks:
            task.cancel()
