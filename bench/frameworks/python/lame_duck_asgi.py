"""`app = LameDuck(app)`, or `app.add_middleware(LameDuck)`: serves on after SIGTERM.

Each answer ends its connection, so that clients go elsewhere before the server closes.
"""

import asyncio
import signal
from typing import Any


class LameDuck:
    """For uvicorn, which has its handler of SIGTERM in place when the application starts up."""

    stopping = False  # for the readiness route, which answers 503 once it is set

    def __init__(self, app: Any, seconds: float = 3.0) -> None:
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def last(message: Any) -> None:
            if message["type"] == "http.response.start" and LameDuck.stopping:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        if scope["type"] == "lifespan":
            self._listen(asyncio.get_running_loop())
        await self.app(scope, receive, last if scope["type"] == "http" else send)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        end: Any = signal.getsignal(signal.SIGTERM)

        def told(number: int, frame: Any) -> None:
            LameDuck.stopping = True
            loop.call_soon_threadsafe(loop.call_later, self.seconds, end, number, frame)

        signal.signal(signal.SIGTERM, told)
