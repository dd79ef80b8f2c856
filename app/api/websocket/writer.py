"""The writing half of a WebSocket: what its outbox holds goes out, and nobody waits for a slow reader."""

import asyncio
from contextlib import suppress

from starlette.types import Send

from app.services.websocket.connections import Connection
from app.services.websocket.outbox import Closing

# Frames sent without a pause for others; a socket that takes all would else hold the loop.
BURST = 100


class Writer:
    """Sends what waits whenever it has a turn; a task lives only where the socket does not take all at once.

    `ended` is done when the connection is: without an error where either side ended it.
    """

    __slots__ = ("_connection", "_loop", "_outbox", "_send", "_sequence", "_task", "ended")

    def __init__(self, send: Send, connection: Connection) -> None:
        self._send = send
        self._connection = connection
        self._outbox = connection.outbox
        self._loop = asyncio.get_running_loop()
        self._sequence = 0
        # What waits for the socket, if anything does.
        self._task: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._outbox.attach(self._write)

    def stop(self) -> None:
        """Send nothing any more, and end."""
        self._outbox.detach()
        if self._task is not None:
            self._task.cancel()
        if not self.ended.done():
            self.ended.set_result(None)

    def _write(self) -> None:
        if self.ended.done():
            return
        # Runs until the socket is full: mostly to its end, and then nothing was scheduled for it.
        task = asyncio.Task(self._send_all(), loop=self._loop, eager_start=True)
        if task.done():
            self._finish(task)
        else:
            self._task = task
            self._connection.sending_since = self._loop.time()
            task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        # A later one may have begun before the end of this one was heard of.
        if task is self._task:
            self._task = self._connection.sending_since = None
        if not task.cancelled() and (fault := task.exception()) is not None and not self.ended.done():
            self.ended.set_exception(fault)

    async def _send_all(self) -> None:
        """Send what the outbox holds, each frame with the number that it has on this connection.

        Ends where the socket has ended: the server says OSError, or RuntimeError where it is ending it itself.
        """
        outbox, send = self._outbox, self._send
        while (frame := outbox.take()) is not None:
            self._sequence += 1
            if self._task is not None:
                self._connection.sending_since = self._loop.time()
            try:
                await send({"type": "websocket.send", "text": f'{frame},"connection_sequence":{self._sequence}}}'})
            except (OSError, RuntimeError):
                self.stop()
                return
            if self._sequence % BURST == 0:
                await asyncio.sleep(0)
        if outbox.closing is None:
            outbox.rest()
        else:
            await self._close(outbox.closing)
            self.stop()

    async def _close(self, closing: Closing) -> None:
        if self._task is not None:
            self._connection.sending_since = self._loop.time()
        with suppress(OSError, RuntimeError):
            await self._send({"type": "websocket.close", "code": closing.code, "reason": closing.reason})
