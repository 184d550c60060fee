"""Keeps what was said in calls (`retention.content = "full"`), takes feedback, and forgets calls that are too old (api.md 13).

said       what requests and answers say, in the words of all client APIs

What a client sent and got is kept byte for byte, and read when somebody asks. Nothing of it is in the way of a call: the sink remembers
the pieces that pass, and the row is queued behind the ledger's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct, field

from ...api import Request, Route
from ...call import Call, Sink
from ...errors import NotFound, RouterError
from ...generation import Generation
from ...hookspecs import hookimpl
from ...store.content import MIGRATIONS, Content, Contents
from ...store.errors import StoreError
from ...store.migrations import Migration
from ...tasks import spawn
from .said import asked, told

if TYPE_CHECKING:
    from ...server import Server

log = logging.getLogger(__name__)

DAY_S = 86400
EVERY_S = 3600.0
#: requests and answers that are longer are not kept
MOST_BYTES = 8 * 1024 * 1024

Category = Literal["latency", "incoherence", "incorrect_response", "formatting", "billing", "api_error", "other"]


class Feedback(Struct, forbid_unknown_fields=True):
    """What somebody thinks of an answer."""

    generation_id: Annotated[str, Meta(min_length=1, max_length=200)]
    category: Category
    comment: Annotated[str, Meta(max_length=1000)] | None = None


class Success(Struct):
    """It is noted."""

    success: bool = True


class Noted(Struct):
    """It is noted."""

    data: Success = field(default_factory=Success)


class Which(Struct):
    """The id of a call: ours (X-Generation-Id) or the upstream's."""

    id: str


class AttemptError(Struct):
    """Why an upstream was given up."""

    code: int
    message: str
    provider_name: str | None
    raw: str | None = None


class ContentError(Struct, kw_only=True):
    """Why the call failed. Bodies of upstreams' errors (`raw`) are not kept."""

    status: int
    code: str
    message: str
    provider_name: str | None
    previous_errors: list[AttemptError]
    raw: str | None = None


class Output(Struct):
    """What was answered."""

    completion: str | None
    reasoning: str | None


class Said(Struct):
    """What was asked, `{messages}` or `{prompt}`, and answered."""

    input: dict[str, Any]
    output: Output
    error: ContentError | None


class Found(Struct):
    """What was said in a call."""

    data: Said


class Keeper:
    """The plugin."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.store: Contents

    # --- hooks ---

    @hookimpl
    def router_migrations(self) -> Sequence[Migration]:
        """The tables of content and feedback."""
        return MIGRATIONS

    @hookimpl
    def router_routes(self, app: Server) -> Sequence[Route]:
        """Reading content, giving feedback."""
        return [
            Route(method="GET", path="/generation/content", handler=self.content, scope="logs:read"),
            Route(method="POST", path="/generation/feedback", handler=self.feedback, scope="generation:read"),
        ]

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """Forgets what is too old, while the server runs."""
        return self._running()

    @hookimpl
    def router_sink(self, call: Call) -> Callable[[Sink], Sink] | None:
        """Remember what goes to the client, where that is to be kept."""
        if self._server.settings.retention.content != "full" or call.identity is None:
            return None
        return lambda sink: Keeping(sink, call, self)

    # --- handlers ---

    async def content(self, request: Request, query: Which) -> Found:
        """What was said in a call. An inference key with the scope reads its own calls. Raises NotFound."""
        row = await self._generation(request, query.id)
        found = await self.store.find(row.id)
        if found is None:
            raise NotFound(
                f'nothing was kept of what was said in {row.id}; that is done for calls made while retention.content is "full"'
                f" (it is {self._server.settings.retention.content!r} now) and of at most {MOST_BYTES // 1024 // 1024} MB"
            )
        error = _error(row, found) if found.error_code is not None else None
        return Found(Said(asked(found.request), Output(**told(found.answer)), error))

    async def feedback(self, request: Request, body: Feedback) -> Noted:
        """Note what somebody thinks of an answer. Raises NotFound."""
        row = await self._generation(request, body.generation_id)
        await self.store.judge(row.id, request.caller.hash, body.category, body.comment)
        return Noted()

    async def _generation(self, request: Request, id: str) -> Generation:
        row = await self._server.generations.find(id, request.caller)
        if row is None:
            raise NotFound(
                f"no generation {id[:100]!r} of this key; the id is in the header X-Generation-Id of the answer"
            )
        return row

    # --- while the server runs ---

    def keep(self, call: Call, answer: bytes) -> None:
        """Queue what was said. Nothing here waits."""
        assert call.identity is not None
        if len(call.body) > MOST_BYTES or len(answer) > MOST_BYTES:
            return
        error = call.error
        code, message = (error.code, error.message) if error is not None else (None, None)
        self.store.add(Content(call.id, call.created_unix, call.identity.hash, call.body, answer, code, message))

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        self.store = Contents(self._server.database)
        task = spawn("forget old calls", self._forgetting())
        try:
            yield
        finally:
            task.cancel()

    async def _forgetting(self) -> None:
        while True:
            await self.forget()
            await asyncio.sleep(EVERY_S)

    async def forget(self) -> None:
        """Delete what is older than `retention.generations_days`."""
        days = self._server.settings.retention.generations_days
        try:
            forgotten = await self.store.forget(self._server.clock.wall() - days * DAY_S)
        except StoreError as error:
            log.error("old calls could not be deleted, which is tried again: %s", error)
        else:
            if forgotten:
                log.info("deleted the details of %s calls that are older than %s days", forgotten, days)


def _error(row: Generation, found: Content) -> ContentError:
    failed = [tried for tried in row.attempts if "error" in tried]
    return ContentError(
        status=row.http_status,
        code=found.error_code or "",
        message=found.error_message or "",
        provider_name=row.provider or None,
        previous_errors=[AttemptError(tried["status"], tried["error"], tried["provider"]) for tried in failed[:-1]],
    )


class Keeping(Sink):
    """Hands everything on and remembers it until the end, whatever that is."""

    def __init__(self, sink: Sink, call: Call, keeper: Keeper) -> None:
        self._sink = sink
        self._call = call
        self._keeper = keeper
        self._parts: list[bytes] = []
        self._size = 0
        call.releases.append(self._left)

    @property
    def started(self) -> bool:  # type: ignore[override]  # as the other one says
        """Something has reached the client."""
        return self._sink.started

    async def write(self, data: bytes) -> None:
        """A part of a stream."""
        self._remember(data)
        await self._sink.write(data)

    async def finish(self, data: bytes) -> None:
        """The end. It can be read before the client has it."""
        self._remember(data)
        self._keep()
        await self._sink.finish(data)

    async def error(self, error: RouterError) -> None:
        """The end, otherwise."""
        self._keep()
        await self._sink.error(error)

    def _left(self, call: Call) -> None:
        """The call is over. A client that has left did not wait for an end."""
        if call.cancelled:
            self._keep()

    def _remember(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= MOST_BYTES:
            self._parts.append(data)

    def _keep(self) -> None:
        if self._size <= MOST_BYTES:
            self._keeper.keep(self._call, b"".join(self._parts))
