"""The log as it grows, as server-sent events: `id` and `data` are a line's. Who comes back with Last-Event-ID gets what it has missed.

Listeners read the database, each at its own pace, so that a slow one takes up no memory; one task looks whether there is something new,
while anybody listens. So calls pay nothing for it, and changes by the command line are seen too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from ...api import Request
from ...call import encode_json
from ...errors import Overloaded
from ...sink import UNLIMITED, answer_headers
from ...store.errors import StoreError
from ...store.log import Filter, Log, Place
from ...tasks import spawn
from .lines import line_of

if TYPE_CHECKING:
    from ...server import Server

#: how often to look for something new
LOOK_S = 0.2
MOST_LISTENERS = 100
#: lines that are read at a time
AT_ONCE = 200
KEEPALIVE = b": ROUTER LISTENING\n\n"
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-store",
    "X-Accel-Buffering": "no",
}


class Feed:
    """All who listen."""

    def __init__(self, server: Server, log: Log) -> None:
        self._server = server
        self._log = log
        self._newest = Place(0, 0)
        self._news = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self.listeners = 0

    def end(self) -> None:
        """The server stops."""
        if self._looking is not None:
            self._looking.cancel()

    async def send(self, request: Request, wanted: Filter) -> web.StreamResponse:
        """Send lines until the client leaves, its key ends or the server stops. Raises Overloaded."""
        if self.listeners >= MOST_LISTENERS:
            raise Overloaded(f"{MOST_LISTENERS} clients listen already; end one of them", retry_after_s=5)
        self.listeners += 1
        try:
            if self._looking is None or self._looking.done():
                self._looking = spawn("look for lines of the log", self._look())
            return await self._send(request, wanted)
        finally:
            self.listeners -= 1
            if not self.listeners and self._looking is not None:
                self._looking.cancel()

    async def _send(self, request: Request, wanted: Filter) -> web.StreamResponse:
        known = self._server.keys.get(request.caller.hash) is not None
        place = await self._begin(request)
        response = web.StreamResponse(headers=answer_headers(request.id, UNLIMITED) | HEADERS)
        await response.prepare(request.http)
        if (
            request.http.method == "HEAD"
        ):  # who asks for the head alone waits for its end on a connection with more to come
            return response
        try:
            await self._write(response, KEEPALIVE)
            while self._may_listen(request, known=known):
                news = self._news
                lines, place = await self._log.behind(place, AT_ONCE)
                told = b"".join(
                    b"id: %b\ndata: %b\n\n" % (line.id.encode(), encode_json(line_of(line)))
                    for line in lines
                    if wanted.holds(line)
                )
                if told:
                    await self._write(response, told)
                elif not lines and not await self._wait(news):
                    await self._write(response, KEEPALIVE)
        except (ConnectionError, TimeoutError, StoreError):
            if request.http.transport is not None:
                request.http.transport.abort()
        return response

    async def _begin(self, request: Request) -> Place:
        """Behind the line that the client has seen last; else at the end of the log."""
        last = request.http.headers.get("Last-Event-ID") or request.http.query.get("last_event_id")
        found = await self._log.place(last) if last else None
        return found or await self._log.newest()

    def _may_listen(self, request: Request, *, known: bool) -> bool:
        """Is the key still one that may, and the server one that goes on? (Where no keys are needed, the store knows none.)"""
        if self._server.draining:
            return False
        now = self._server.keys.get(request.caller.hash)
        if now is None:
            return not known
        return now.usable(self._server.clock.wall()) and "logs:read" in now.scopes

    async def _wait(self, news: asyncio.Event) -> bool:
        """Wait for something new; False where there was nothing for so long that the connection wants a sign of life."""
        try:
            async with asyncio.timeout(self._server.settings.stream.keepalive_seconds):
                await news.wait()
        except TimeoutError:
            return False
        return True

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        async with asyncio.timeout(self._server.settings.stream.write_timeout_seconds):
            await response.write(data)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                newest = await self._log.newest()
            except StoreError:
                continue
            if newest != self._newest or self._server.draining:
                self._newest = newest
                news, self._news = self._news, asyncio.Event()
                news.set()
