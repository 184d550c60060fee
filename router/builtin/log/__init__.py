"""GET /logs: every call that has ended and every change by hand, newest first, or live as they come (api.md 13).

lines      what a line looks like, and which ones a query asks for
feed       the live feed

The words by which old lines are found are kept behind the calls (`store.log`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from ...api import Request, Route
from ...api.sheets import sheet
from ...errors import BadRequest
from ...hookspecs import hookimpl
from ...store.errors import StoreError
from ...store.log import MIGRATIONS, place_of
from ...store.log import Log as Store
from ...store.migrations import Migration
from ...tasks import spawn
from .feed import Feed
from .lines import COLUMNS, Lines, Query, cells, line_of, wanted

if TYPE_CHECKING:
    from ...server import Server

log = logging.getLogger(__name__)

EVERY_S = 5.0


class Log:
    """The plugin."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.store: Store
        self.feed: Feed

    @hookimpl
    def router_migrations(self) -> Sequence[Migration]:
        """The table of words."""
        return MIGRATIONS

    @hookimpl
    def router_routes(self, app: Server) -> Sequence[Route]:
        """The one path."""
        return [Route(method="GET", path="/logs", handler=self.logs, scope="logs:read")]

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """Keeps the words, while the server runs."""
        return self._running()

    async def logs(self, request: Request, query: Query) -> Lines | web.StreamResponse:
        """Every call and every change, newest first, or (`stream=true`) live as events.

        An inference key with the scope sees its own lines. `next_page_token` leads to older lines; a page may have fewer lines
        than `limit` and go on. Raises BadRequest, Overloaded.
        """
        which = await wanted(request, query)
        if query.stream:
            return await self.feed.send(request, which)
        before = None
        if query.page_token:
            before = place_of(query.page_token)
            if before is None:
                raise BadRequest("page_token: take it from next_page_token of the page before", param="page_token")
        found, following = await self.store.page(which, query.limit, before)
        lines = [line_of(each) for each in found]
        if query.format == "csv":
            return sheet("logs", COLUMNS, map(cells, lines))
        return Lines(lines, None if following is None else str(following))

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        self.store = Store(self._server.database)
        self.feed = Feed(self._server, self.store)
        task = spawn("keep the log's words", self._keeping_up())
        try:
            yield
        finally:
            task.cancel()
            self.feed.end()

    async def _keeping_up(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.store.keep_up()
            except StoreError as error:
                log.error("the log's words could not be kept, which is tried again: %s", error)
