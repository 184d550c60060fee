"""Idempotency keys of calls (api.md 17): who sends the same request twice under one `Idempotency-Key` is answered once more, and
nobody is asked twice.

What is kept is what the client got, in memory only, since it holds what users say; those of changes by hand are in the database
(`store.idempotency`). A call that fails is forgotten: to try it again is what the header is for.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from ..call import Call, Outcome, Sink
from ..errors import Conflict, RouterError, Unprocessable
from ..hookspecs import hookimpl
from ..identity import Identity
from ..store.idempotency import KEPT_S, fingerprint_of, key_of

if TYPE_CHECKING:
    from ..server import Server

NAME = "idempotency"
MB = 1024 * 1024
#: what an answer takes besides its bytes, about
OVERHEAD_BYTES = 1024
#: one answer may take so much of the whole room
LARGEST_SHARE = 8
BOUNDARY = re.compile(r'boundary="?([^";,]+)')


class IdempotencySettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.idempotency]`."""

    max_mb: Annotated[int, Meta(ge=0)] = 64
    max_entries: Annotated[int, Meta(ge=0)] = 10_000


class Claim(Struct, kw_only=True, eq=False):
    """A call under way with its key. `headers` are the client's: whoever works for this call has the same. `owned`: by a key of the
    store, with which the answer is to vanish."""

    id: tuple[str, str]
    fingerprint: bytes
    headers: Any
    owned: bool
    kept: Kept | None = None


class Kept(Struct, kw_only=True):
    """An answer as its client got it. `until` is monotonic."""

    fingerprint: bytes
    until: float
    generation_id: str
    media_type: str
    body: bytes

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return len(self.body) + OVERHEAD_BYTES


class Idempotency:
    """The plugin. Without it the header has no effect on calls."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.shelf = Shelf(server.clock.monotonic)
        self._running: dict[tuple[str, str], Claim] = {}

    # --- hooks ---

    @hookimpl
    def router_settings(self) -> dict[str, type[Struct]]:
        """How much is kept."""
        return {NAME: IdempotencySettings}

    @hookimpl
    def router_received(self, call: Call) -> None:
        """Take the key for this call, before anybody changes its body. Raises BadRequest, Conflict, Unprocessable."""
        given = call.headers.get("Idempotency-Key")
        if given is None or call.identity is None or call.within is not None:
            return
        id = (call.identity.id or call.identity.hash, key_of(given))
        fingerprint = fingerprint_of(call.asked_path, _content(call))
        running = self._running.get(id)
        if running is not None and running.headers is call.headers:
            return  # the same request, whose work is done in a call of its own
        kept = self.shelf.get(id)
        known = running or kept
        if known is not None and known.fingerprint != fingerprint:
            raise Unprocessable(
                "this Idempotency-Key was used for another request; use one key for each request",
                param="Idempotency-Key",
            )
        if running is not None:
            raise Conflict(
                "the first request with this Idempotency-Key is still running; ask again when it has ended",
                retry_after_s=1,
            )
        call.state[NAME] = claim = Claim(
            id=id, fingerprint=fingerprint, headers=call.headers, owned=self._lives(call.identity), kept=kept
        )
        if kept is None:
            self._running[id] = claim
            call.releases.append(self._released)

    @hookimpl
    def router_answer(self, call: Call) -> Awaitable[bytes] | None:
        """What was answered the first time; or else what another plugin answers now, to be kept."""
        claim: Claim | None = call.state.get(NAME)
        if claim is None:
            return None
        if claim.kept is not None:
            return _again(call, claim.kept)
        del call.state[NAME]
        answer: Awaitable[bytes] | None = self._server.plugins.hook.router_answer(call=call)
        call.state[NAME] = claim
        return None if answer is None else self._keeping(call, claim, answer)

    @hookimpl
    def router_sink(self, call: Call) -> Callable[[Sink], Sink] | None:
        """Keep what goes to the client."""
        claim: Claim | None = call.state.get(NAME)
        if claim is None:
            return None
        return lambda sink: Keeping(sink, self, call, claim)

    @hookimpl
    def router_forget(self, identity: Identity) -> None:
        """With a key go its answers."""
        self.shelf.forget(identity.id or identity.hash)

    # --- helpers ---

    def keep(self, call: Call, claim: Claim, body: bytes) -> None:
        """Keep a good answer for a day."""
        assert call.identity is not None
        if claim.owned and not self._lives(call.identity):
            return
        settings = self._server.own_settings(NAME, IdempotencySettings)
        kept = Kept(
            fingerprint=claim.fingerprint,
            until=self.shelf.now() + KEPT_S,
            generation_id=call.id,
            media_type=call.outcome.media_type,
            body=body,
        )
        self.shelf.put(claim.id, kept, most_bytes=settings.max_mb * MB, most=settings.max_entries)

    def _lives(self, identity: Identity) -> bool:
        """Is this a key of the store? Other plugins may know callers of their own."""
        return self._server.keys.get(identity.hash) is not None

    def _released(self, call: Call) -> None:
        claim: Claim = call.state[NAME]
        self._running.pop(claim.id, None)

    async def _keeping(self, call: Call, claim: Claim, answer: Awaitable[bytes]) -> bytes:
        body = await answer
        if not call.dry:
            self.keep(call, claim, body)
        return body


def _again(call: Call, kept: Kept) -> Coroutine[Any, Any, bytes]:
    call.answer_headers |= {"Idempotent-Replay": "true", "X-Generation-Id": kept.generation_id}
    call.outcome = Outcome(media_type=kept.media_type)

    async def answer() -> bytes:
        return kept.body

    return answer()


def _content(call: Call) -> bytes:
    """The body without what is another one whenever it is sent: the boundary between the parts of a form."""
    kind = call.headers.get("Content-Type", "")
    if not kind.startswith("multipart/") or (found := BOUNDARY.search(kind)) is None:
        return call.body
    return call.body.replace(found[1].encode(), b"")


class Shelf:
    """The answers, the oldest first. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = clock
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, id: tuple[str, str]) -> Kept | None:
        """An answer that is not over."""
        kept = self._kept.get(id)
        return kept if kept is not None and self.now() < kept.until else None

    def forget(self, owner: str) -> None:
        """Drop all of one owner."""
        for id in [id for id in self._kept if id[0] == owner]:
            self.bytes -= self._kept.pop(id).size

    def put(self, id: tuple[str, str], kept: Kept, *, most_bytes: int, most: int) -> None:
        """Keep one, in place of the oldest, unless it is too long by itself."""
        if (old := self._kept.pop(id, None)) is not None:
            self.bytes -= old.size
        if len(kept.body) > most_bytes // LARGEST_SHARE:
            return
        self._kept[id] = kept
        self.bytes += kept.size
        now = self.now()
        while self._kept and (
            self.bytes > most_bytes or len(self._kept) > most or next(iter(self._kept.values())).until <= now
        ):
            self.bytes -= self._kept.popitem(last=False)[1].size


class Keeping(Sink):
    """Hands everything on, and keeps a whole answer at its end."""

    def __init__(self, sink: Sink, plugin: Idempotency, call: Call, claim: Claim) -> None:
        self._sink = sink
        self._plugin = plugin
        self._call = call
        self._claim = claim
        self._parts: list[bytes] = []

    @property
    def started(self) -> bool:  # type: ignore[override]  # as the other one says
        """Something has reached the client."""
        return self._sink.started

    async def write(self, data: bytes) -> None:
        """A part of a stream."""
        self._parts.append(data)
        await self._sink.write(data)

    async def finish(self, data: bytes) -> None:
        """The end of a good answer."""
        call = self._call
        if call.error is None and call.outcome.finish_reason != "error":
            self._plugin.keep(call, self._claim, b"".join([*self._parts, data]))
        await self._sink.finish(data)

    async def error(self, error: RouterError) -> None:
        """No answer: the key is free again."""
        await self._sink.error(error)
