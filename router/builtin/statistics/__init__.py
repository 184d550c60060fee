"""What was used, when and by whom: /activity, /usage, /api/usage/… and /analytics/… (api.md 13).

activity, usage, analytics   the answers
reading                      who may see what, as a query of the store
periods                      from when until when

Sums are kept behind the calls: they are added up every few seconds, and before each answer, so that it has every call that has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from ...api import Route, shapes
from ...hookspecs import hookimpl
from ...store.errors import StoreError
from ...store.migrations import Migration
from ...store.statistics import Statistics as Store
from ...store.sums import MIGRATIONS
from ...tasks import spawn
from .activity import activity
from .analytics import meta, query
from .reading import Reading
from .usage import summary, timeseries, usage

if TYPE_CHECKING:
    from ...server import Server

log = logging.getLogger(__name__)

EVERY_S = 5.0
SCOPE = "usage:read"
#: paths of ARouter's are not versioned
UNVERSIONED = ("/api",)


class Statistics:
    """The plugin."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reading = Reading(server)

    @hookimpl
    def router_migrations(self) -> Sequence[Migration]:
        """The table of sums."""
        return MIGRATIONS

    @hookimpl
    def router_routes(self, app: Server) -> Sequence[Route]:
        """Who may read usage may read all of this."""
        reading = self._reading
        return [
            Route(method="GET", path="/activity", handler=activity(reading), scope=SCOPE),
            Route(method="GET", path="/usage", handler=usage(reading), scope=SCOPE),
            Route(method="GET", path="/usage/summary", handler=summary(reading), scope=SCOPE, prefixes=UNVERSIONED),
            Route(
                method="GET", path="/usage/timeseries", handler=timeseries(reading), scope=SCOPE, prefixes=UNVERSIONED
            ),
            Route(method="GET", path="/analytics/meta", handler=meta, scope=SCOPE, answers={200: shapes.AnalyticsMeta}),
            Route(
                method="POST",
                path="/analytics/query",
                handler=query(reading),
                scope=SCOPE,
                answers={200: shapes.AnalyticsRows | shapes.AnalyticsAnswer},
            ),
        ]

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """Adds up, while the server runs."""
        return self._running()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        self._reading.store = Store(self._server.database)
        task = spawn("add calls up", self._adding_up())
        try:
            yield
        finally:
            task.cancel()

    async def _adding_up(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self._reading.store.add_up()
            except StoreError as error:
                log.error("calls could not be added up, which is tried again: %s", error)
