"""Webhooks (api.md 14): tells endpoints elsewhere what happens here, signed, at least once, and never on a call's time.

`routes` is their API, `delivery` the way to an endpoint, `states` looks for what has a state (limits, balance, providers),
`store.webhooks` keeps endpoints and what they have not been told yet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from ...api import Route
from ...hookspecs import hookimpl
from ...store.errors import StoreError
from ...store.webhooks import Waiting
from ...store.webhooks import Webhooks as Store
from ...tasks import spawn
from .delivery import Delivery, Undelivered, event_body, of_generation
from .routes import routes
from .states import States

if TYPE_CHECKING:
    from ...server import Server

log = logging.getLogger(__name__)

NAME = "webhooks"
#: the outbox is looked at this often
LOOK_S = 1.0
#: events of one endpoint that are read at once
AT_ONCE = 50
FORGET_S = 600.0


class WebhookSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.webhooks]`. Money in USD."""

    balance_low_usd: Annotated[float, Meta(ge=0, lt=4_000_000)] = 5.0


class Webhooks:
    """The plugin. Without it nobody is told."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.store: Store
        self.delivery: Delivery
        self.look_s = LOOK_S
        #: endpoints that are being told something, by id
        self._busy: dict[str, asyncio.Task[None]] = {}

    @hookimpl
    def router_settings(self) -> dict[str, type[Struct]]:
        """When the balance is low."""
        return {NAME: WebhookSettings}

    @hookimpl
    def router_routes(self, app: Server) -> Sequence[Route]:
        """Making, looking at, changing and trying them."""
        return routes(self)

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """Tells them, while the server runs."""
        return self._running()

    # --- while the server runs ---

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        server = self._server
        self.store = Store(server.database, server.generations, server.clock.wall)
        await self.store.load()
        async with Delivery(lambda: server.settings.fetch.allow_private) as delivery:
            self.delivery = delivery
            task = spawn("webhooks", self._telling())
            try:
                yield
            finally:
                ending = [task, *self._busy.values()]
                for each in ending:
                    each.cancel()
                await asyncio.wait(ending)

    async def _telling(self) -> None:
        states = States(self._server, self.store, lambda: self._settings.balance_low_usd)
        loop = asyncio.get_running_loop()
        forget_s = loop.time() + FORGET_S
        while True:
            try:
                if self.store.all():
                    await states.look()
                    await self._begin()
                    if loop.time() >= forget_s:
                        forget_s = loop.time() + FORGET_S
                        await self.store.forget()
            except StoreError as error:
                log.warning("webhooks wait: %s", error)
            await asyncio.sleep(self.look_s)

    async def _begin(self) -> None:
        """Start telling those that have something to be told and are not being told already."""
        for id in await self.store.waiting():
            if id not in self._busy:
                task = self._busy[id] = spawn("webhook", self._tell(id))
                task.add_done_callback(lambda _, id=id: self._busy.pop(id, None))  # type: ignore[misc]

    async def _tell(self, id: str) -> None:
        """Tell one endpoint all that waits for it, in order, until it does not take something."""
        try:
            while events := await self.store.next(id, AT_ONCE):
                for event in events:
                    if not await self._tell_one(id, event):
                        return
        except StoreError as error:
            log.warning("webhook %s waits: %s", id, error)

    async def _tell_one(self, id: str, event: Waiting) -> bool:
        webhook = next((each for each in self.store.all() if each.id == id), None)
        if webhook is None or not webhook.enabled:
            return False
        data = event.data if event.subject is None else await of_generation(self.store.generations, event.subject)
        body = event_body(event.id, event.type, event.created_unix, data or {})
        try:
            status = await self.delivery.send(webhook.url, body, event.type, event.id, self.store.secret(webhook))
        except Undelivered as error:
            now = await self.store.refused(id, error.status, str(error))
            if now is not None and not now.enabled:
                log.warning("webhook %s was disabled: %s, %s", id, now.disabled_reason, error)
            return False
        await self.store.taken(id, event, status)
        return True

    @property
    def _settings(self) -> WebhookSettings:
        return self._server.own_settings(NAME, WebhookSettings)
