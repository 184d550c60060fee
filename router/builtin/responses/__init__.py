"""Keeps responses for their keys where `responses.store` is on, and runs them in the background (api.md 6).

background   responses that run while nobody waits for them
routes       GET, DELETE, cancel and the list of input items
rows         what is kept of a call

A request that names an earlier response gets its items put in front of its own before anybody else looks at it, so that limits,
guards and both lanes see the whole conversation. What the client gets at the end is what is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from ...api import Route
from ...call import Call, Sink
from ...dialects.openai_responses.history import again, given, listed, response_of
from ...dialects.openai_responses.peek import Kept, Peeked, stateless
from ...dialects.openai_responses.response import response_id
from ...errors import BadRequest, PayloadTooLarge, RouterError
from ...hookspecs import hookimpl
from ...identity import Identity
from ...store.errors import StoreError
from ...store.migrations import Migration
from ...store.responses import MIGRATIONS
from ...store.responses import Responses as Store
from ...tasks import spawn
from .background import Background
from .routes import routes
from .rows import OWN, failed_response, kept_of, owner_of, row_of, token_of

if TYPE_CHECKING:
    from ...server import Server

log = logging.getLogger(__name__)

DIALECT = "openai.responses"
KEPT_S = 30 * 86400
EVERY_S = 3600
#: a failed or cancelled response has no whole answer to go on from
CONTINUED = ("completed", "incomplete")

_encode = msgspec.json.Encoder().encode


class Responses:
    """The plugin. Without the setting it only refuses what would need it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.store: Store
        self.background = Background(server, self)

    @property
    def on(self) -> bool:
        """Is anything kept?"""
        return self._server.settings.responses.store

    @property
    def _most_bytes(self) -> int:
        """What one request may have."""
        return int(self._server.settings.server.max_body_mb * 1024 * 1024)

    # --- hooks ---

    @hookimpl
    def router_migrations(self) -> Sequence[Migration]:
        """The tables of kept responses."""
        return MIGRATIONS

    @hookimpl
    def router_routes(self, app: Server) -> Sequence[Route]:
        """What clients do with kept responses."""
        return routes(self)

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """Forgets what is too old, while the server runs."""
        return self._running()

    @hookimpl
    def router_answer(self, call: Call) -> Coroutine[Any, Any, bytes] | None:
        """A response in the background is answered at once."""
        if call.dialect.name != DIALECT or not self.on:
            return None
        return self.background.answer(call)

    @hookimpl(tryfirst=True)
    async def router_admit(self, call: Call) -> None:
        """Put together what the request names of earlier ones. Raises BadRequest."""
        if call.dialect.name == DIALECT:
            await self._take_in(call) if self.on else stateless(call.head.decoded)

    @hookimpl
    def router_sink(self, call: Call) -> Callable[[Sink], Sink] | None:
        """Keep what goes to the client."""
        if call.dialect.name != DIALECT or (kept := kept_of(call)) is None or not kept.store:
            return None
        if kept.background:
            self.background.admitted(call)
            return None
        return lambda sink: Keeping(sink, call, self)

    @hookimpl
    def router_forget(self, identity: Identity) -> None:
        """Nobody can fetch what still runs for this key."""
        self.background.forget(owner_of(identity))

    # --- before ---

    async def _take_in(self, call: Call) -> None:
        peeked: Peeked = call.head.decoded
        values = peeked.values
        previous, store = values.get("previous_response_id"), values.get("store", True)
        if not store and previous is None and peeked.refers is None:
            return
        background = self.background.runs(call)
        kept = Kept(id=response_id(call), store=store, previous=previous, background=background)
        for name in ("previous_response_id", "background"):
            call.head.members.pop(name, None)
        if previous is not None or peeked.refers is not None:
            await self._put_together(call, previous)
        call.head.decoded.kept = kept

    async def _put_together(self, call: Call, previous: str | None) -> None:
        """Replace the input by the whole conversation, and read the request anew."""
        assert call.identity is not None
        owner = owner_of(call.identity)
        before = [] if previous is None else await self._before(previous, owner)
        own, sent = [], []
        raw = call.head.members.get("input", Raw(b"[]"))
        for index, (item, as_given) in enumerate(zip(listed(raw, token_of(call)), given(raw), strict=True)):
            if item.get("type") != "item_reference":
                own.append(item)
                sent.append(as_given)
            else:
                found = await self._item(item["id"], owner, f"input[{index}]")
                own.append(found)
                sent += again([found])
        members = {**call.head.members, "input": [*before, *sent]}
        body = _encode(members)
        if len(body) > self._most_bytes:
            raise PayloadTooLarge(
                f"with what it goes on from the request has {len(body)} bytes, at most {self._most_bytes} are taken "
                "(server.max_body_mb); begin a new conversation with a summary of it"
            )
        head = call.dialect.peek(body, call.path, call.operation)
        # What others have added to it by now: `:online` is a plugin.
        head.stream, head.plugins = call.head.stream, call.head.plugins
        call.head = head
        call.state[OWN] = own

    async def _before(self, previous: str, owner: str) -> list[dict[str, Any]]:
        """The items of the response that is named and of all before it. Raises BadRequest."""
        name = "previous_response_id"
        if self.background.find(previous, owner) is not None:
            raise BadRequest(f"{name}: {previous} still runs; wait until its status is completed", param=name)
        # The whole of a response says more than the items that are sent again.
        chain = await self.store.chain(previous, owner, 2 * self._most_bytes)
        if not chain or chain[-1].id != previous:
            raise BadRequest(
                f"{name}: no response {previous[:100]!r} of this key; they are kept for 30 days, unless store is false",
                param=name,
                code="previous_response_not_found",
            )
        if (status := chain[-1].status) not in CONTINUED:
            raise BadRequest(f"{name}: {previous} is {status}, so there is nothing to go on from", param=name)
        if (missing := chain[0].previous) is not None:
            raise BadRequest(
                f"{name}: {previous} goes on from {missing}, which is no longer kept or too much to be sent again; send the whole "
                "input instead",
                param=name,
                code="previous_response_not_found",
            )
        return [item for response in chain for item in again(response.items)]

    async def _item(self, id: str, owner: str, place: str) -> dict[str, Any]:
        item = await self.store.item(id, owner)
        if item is None:
            raise BadRequest(f"{place}.id: no kept item {id[:100]!r} of this key; send the item itself", param=place)
        return item

    # --- after ---

    def keep(self, call: Call, response: dict[str, Any]) -> None:
        """Queue what the client gets. Nothing here waits, and nothing here may spoil the answer."""
        self.store.add(row_of(call, response))

    # --- while the server runs ---

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        self.store = Store(self._server.database)
        cut_off = {"code": "server_error", "message": "the router was ended while this response was under way"}
        if count := await self.store.interrupt(cut_off):
            log.warning("%s responses in the background were under way when the router last ended", count)
        task = spawn("forget old responses", self._forget())
        try:
            yield
        finally:
            task.cancel()
            await self.background.end()

    async def _forget(self) -> None:
        while True:
            try:
                await self.store.expire(self._server.clock.wall() - KEPT_S)
            except StoreError as error:
                log.error("old responses could not be deleted: %s", error)
            await asyncio.sleep(EVERY_S)


class Keeping(Sink):
    """Hands everything on, and keeps the response that the end holds."""

    def __init__(self, sink: Sink, call: Call, plugin: Responses) -> None:
        self._sink = sink
        self._call = call
        self._plugin = plugin
        self.write = sink.write  # type: ignore[method-assign]  # chunks pass without a call of ours

    @property
    def started(self) -> bool:  # type: ignore[override]  # as the other one says
        """Something has reached the client."""
        return self._sink.started

    async def finish(self, data: bytes) -> None:
        """The end holds the whole response, streamed or not. It can be found before the client has it."""
        try:
            if (response := response_of(data)) is not None:
                self._plugin.keep(self._call, response)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            log.error("the response of %s cannot be read and is not kept: %s", self._call.id, error)
        await self._sink.finish(data)

    async def error(self, error: RouterError) -> None:
        """A stream that has begun ends in a failed response, which the client knows by its id."""
        if self._sink.started:
            self._plugin.keep(self._call, failed_response(self._call, error))
        await self._sink.error(error)
