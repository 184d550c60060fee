"""Keeps the table of models fresh: asks the upstreams with `discover = true` what they serve, at start and every ten minutes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from ..errors import UpstreamError
from ..hookspecs import hookimpl
from ..tasks import spawn

if TYPE_CHECKING:
    from ..server import Server

log = logging.getLogger(__name__)
EVERY_S = 600


class Catalogue:
    """The background task that asks."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """Asks while the server runs."""
        return self._asking()

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        task = spawn("catalogue", self._forever())
        try:
            yield
        finally:
            task.cancel()

    async def _forever(self) -> None:
        while True:
            await self.ask()
            await asyncio.sleep(EVERY_S)

    async def ask(self) -> None:
        """Ask every provider that wants it once, side by side."""
        discovering = [each for each in self._server.providers.values() if each.settings.discover]
        await asyncio.gather(*(self._ask_one(provider.slug) for provider in discovering))

    async def _ask_one(self, slug: str) -> None:
        provider = self._server.providers[slug]
        try:
            async with asyncio.timeout(provider.timeouts.connect_seconds):
                self._server.table.discovered(provider, await provider.models())
        except (UpstreamError, TimeoutError) as error:
            log.warning("%s does not list its models: %s", slug, str(error) or "no answer in time")
