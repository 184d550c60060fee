"""The response cache (end of api.md 18): who asks for it gets the same answer again for the same request, at once and for nothing.

What is kept is what the client got, in its own form, after both lanes and all filters; `Dialect.again` makes it the answer of another
call. It is kept in memory only, for its own key, and only where the request (or `plugins.cache.always`) says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from operator import is_
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct
from multidict import istr

from ..call import Call, Candidate, Recalled, Sink
from ..errors import BadRequest, RouterError
from ..hookspecs import hookimpl
from ..identity import Identity, Restriction
from ..tasks import spawn

if TYPE_CHECKING:
    from ..dialects.again import Again
    from ..server import Server

log = logging.getLogger(__name__)

NAME = "cache"
#: seconds
SHORTEST_TTL, LONGEST_TTL = 1, 86400
MB = 1024 * 1024
#: what an entry takes besides its bytes, about
OVERHEAD_BYTES = 1024
#: one answer may take so much of the whole room
LARGEST_SHARE = 8
SWEEP_S = 30.0
#: members that say nothing about the answer, also inside of Gemini's `routerConfig`
IDLE = frozenset({"user", "metadata", "trace", "session_id"})
NESTED = ("routerConfig", "router_config")
#: headers that change what an answer holds
TELLING = ("Metadata", "Experimental-Metadata")
#: the names by which each header may come, folded already: some are looked for in every call
SPELLED = {
    name: (istr(f"X-OpenRouter-{name}"), istr(f"X-Router-{name}"))
    for name in ("Cache", "Cache-Clear", "Cache-TTL", *TELLING)
}

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


class CacheSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.cache]`."""

    always: bool = False
    default_ttl_seconds: Annotated[int, Meta(ge=SHORTEST_TTL, le=LONGEST_TTL)] = 300
    max_mb: Annotated[int, Meta(ge=0)] = 64
    max_entries: Annotated[int, Meta(ge=0)] = 10_000


class Cache:
    """The plugin."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.shelf = Shelf(server.clock.monotonic)

    # --- hooks ---

    @hookimpl
    def router_settings(self) -> dict[str, type[Struct]]:
        """How much is kept, and for how long."""
        return {NAME: CacheSettings}

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """Sweeps, while the server runs."""
        return self._running()

    @hookimpl
    def router_recall(self, call: Call) -> Recalled | None:
        """The answer that was kept for this request, where the call asks for it. Raises BadRequest for headers that make no sense."""
        wish = wish_of(call.headers, self._settings)
        if wish is None or call.identity is None:
            return None
        again = call.dialect.again(call)
        key = key_of(call) if again is not None else None
        if again is None or key is None:
            call.answer_headers["X-OpenRouter-Cache-Status"] = "BYPASS"
            return None
        if wish.clear:
            self.shelf.drop(key)
        if not wish.on:
            return None
        recalled = self._found(call, key, again)
        if recalled is None:
            call.answer_headers |= {"X-OpenRouter-Cache-Status": "MISS", "X-OpenRouter-Cache-TTL": str(wish.ttl)}
            call.state[NAME] = Wanted(key, wish.ttl, again, self._lives(call.identity.hash))
        return recalled

    @hookimpl
    def router_sink(self, call: Call) -> Callable[[Sink], Sink] | None:
        """Keep what goes to the client, where it was looked for and not found."""
        wanted: Wanted | None = call.state.get(NAME)
        if wanted is None:
            return None
        return lambda sink: Keeping(sink, call, wanted, self.shelf)

    @hookimpl
    def router_forget(self, identity: Identity) -> None:
        """With a key go its answers."""
        self.shelf.sweep(lambda owner: owner != identity.hash)

    # --- helpers ---

    @property
    def _settings(self) -> CacheSettings:
        return self._server.own_settings(NAME, CacheSettings)

    def _found(self, call: Call, key: bytes, again: Again) -> Recalled | None:
        kept = self.shelf.get(key)
        if kept is None or not kept.holds(call.restrictions) or (candidate := kept.among(call.plan.candidates)) is None:
            return None
        call.answer_headers |= {
            "X-OpenRouter-Cache-Status": "HIT",
            "X-OpenRouter-Cache-Age": str(int(self.shelf.now() - kept.since)),
            "X-OpenRouter-Cache-TTL": str(kept.ttl),
            "X-OpenRouter-Cache-Source-Id": kept.source_id,
        }
        head, tail = again.stream(kept.head, kept.tail) if call.head.stream else (b"", again.whole(kept.tail))
        return Recalled(
            candidate=candidate,
            head=head,
            tail=tail,
            finish_reason=kept.finish_reason,
            native_finish_reason=kept.native_finish_reason,
            source_id=kept.source_id,
        )

    def _lives(self, owner: str) -> bool:
        """Is this a key of the store? Other plugins may know callers of their own."""
        return self._server.keys.get(owner) is not None

    def sweep(self) -> None:
        """Forget what is too old, and what belonged to keys that are gone."""
        self.shelf.sweep(self._lives)

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        settings = self._settings
        self.shelf.most_bytes, self.shelf.most_entries = settings.max_mb * MB, settings.max_entries
        task = spawn("sweep the response cache", self._sweeping())
        try:
            yield
        finally:
            task.cancel()

    async def _sweeping(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()


# --- what a request wants --------------------------------------------------------------------------------------------


class Wish(NamedTuple):
    """What the headers of a call ask for. `ttl` in seconds."""

    on: bool
    clear: bool
    ttl: int


class Wanted(NamedTuple):
    """A call whose answer is to be kept. `owned`: by a key of the store, with which the answer is to vanish."""

    key: bytes
    ttl: int
    again: Again
    owned: bool


def wish_of(headers: Mapping[str, str], settings: CacheSettings) -> Wish | None:
    """None where nothing is to be done. Raises BadRequest."""
    asked = _header(headers, "Cache")
    on = settings.always if asked is None else _truth("Cache", asked)
    clear = _header(headers, "Cache-Clear")
    clears = clear is not None and _truth("Cache-Clear", clear)
    if not on and not clears:
        return None
    ttl = _header(headers, "Cache-TTL")
    return Wish(on, clears, settings.default_ttl_seconds if ttl is None else _seconds(ttl))


def _header(headers: Mapping[str, str], name: str) -> str | None:
    theirs, ours = SPELLED[name]
    value = headers.get(theirs)
    return headers.get(ours) if value is None else value


def _truth(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise BadRequest(f"X-OpenRouter-{name} must be true or false; got {value[:40]!r}")
    return value.lower() == "true"


def _seconds(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10) or not SHORTEST_TTL <= int(value) <= LONGEST_TTL:
        raise BadRequest(
            f"X-OpenRouter-Cache-TTL must be a whole number of seconds from {SHORTEST_TTL} to {LONGEST_TTL}; got {value[:40]!r}"
        )
    return int(value)


def key_of(call: Call) -> bytes | None:
    """What two calls must have in common to have the same answer: everything that could make another one of it. None where the request
    holds what cannot be written down in one way only."""
    assert call.identity is not None
    try:
        members = _members(call)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    told = [_header(call.headers, name) for name in TELLING]
    kind = [call.dialect.name, call.operation, call.head.stream and call.dialect.content_type(call)]
    model = [call.preset, call.head.model, call.plan.candidates[0].endpoint.model_id]
    shared = [call.identity.hash, kind, model, members, call.dialect.raw_headers(call), told, call.compat]
    return hashlib.sha256(_encode(shared)).digest()


def _members(call: Call) -> dict[str, Any]:
    return {name: _canonical(name, _decode(raw)) for name, raw in call.head.members.items() if name not in IDLE}


def _canonical(name: str, value: Any) -> Any:
    if name in NESTED and isinstance(value, dict):
        return {inner: each for inner, each in value.items() if inner not in IDLE}
    return value


# --- what is kept ----------------------------------------------------------------------------------------------------


class Kept(Struct, kw_only=True):
    """An answer as its client got it. `owner` is the key's hash; `since` monotonic, `ttl` in seconds; `restrictions` what held for the
    key then."""

    owner: str
    owned: bool
    since: float
    ttl: int
    provider: str
    model_id: str
    source_id: str
    head: bytes
    tail: bytes
    finish_reason: str | None
    native_finish_reason: str | None
    restrictions: tuple[Restriction, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return len(self.head) + len(self.tail) + OVERHEAD_BYTES

    def holds(self, restrictions: tuple[Restriction, ...]) -> bool:
        """Is the key restricted as it was then? A guardrail that was changed may not let the answer through."""
        return len(restrictions) == len(self.restrictions) and all(map(is_, restrictions, self.restrictions))

    def among(self, candidates: Iterable[Candidate]) -> Candidate | None:
        """Who answered, if the call could go there today; else the answer is not to be had any more."""
        for candidate in candidates:
            if candidate.provider.slug == self.provider and candidate.endpoint.model_id == self.model_id:
                return candidate
        return None


class Shelf:
    """The answers, those that were asked for last at the end. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float], *, most_bytes: int = 64 * MB, most_entries: int = 10_000) -> None:
        self.now = clock
        self.most_bytes, self.most_entries = most_bytes, most_entries
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def largest(self) -> int:
        """No answer may be longer than that."""
        return self.most_bytes // LARGEST_SHARE

    def get(self, key: bytes) -> Kept | None:
        """An answer that is young enough."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._over(kept):
            self.drop(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, kept: Kept) -> None:
        """Keep an answer, in place of those that nobody has asked for longest."""
        self.drop(key)
        if kept.size > self.largest or self.most_entries < 1:
            return
        self._kept[key] = kept
        self.bytes += kept.size
        while self.bytes > self.most_bytes or len(self._kept) > self.most_entries:
            self.bytes -= self._kept.popitem(last=False)[1].size

    def drop(self, key: bytes) -> None:
        """Forget one."""
        if (kept := self._kept.pop(key, None)) is not None:
            self.bytes -= kept.size

    def sweep(self, lives: Callable[[str], bool]) -> None:
        """Forget what is too old, or whose owner no longer `lives`."""
        for key in [
            key for key, kept in self._kept.items() if self._over(kept) or (kept.owned and not lives(kept.owner))
        ]:
            self.drop(key)

    def _over(self, kept: Kept) -> bool:
        return self.now() - kept.since >= kept.ttl


class Keeping(Sink):
    """Hands everything on, and keeps a whole answer at its end."""

    def __init__(self, sink: Sink, call: Call, wanted: Wanted, shelf: Shelf) -> None:
        self._sink = sink
        self._call = call
        self._wanted = wanted
        self._shelf = shelf
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def started(self) -> bool:  # type: ignore[override]  # as the other one says
        """Something has reached the client."""
        return self._sink.started

    async def write(self, data: bytes) -> None:
        """A part of a stream, which is remembered unless it has grown too long."""
        self._size += len(data)
        if self._size <= self._shelf.largest:
            self._parts.append(data)
        else:
            self._parts.clear()
        await self._sink.write(data)

    async def finish(self, data: bytes) -> None:
        """The end of a good answer. Nothing here may spoil it."""
        if self._call.error is None and self._call.outcome.finish_reason != "error":
            try:
                self._keep(data)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                log.error("the answer of %s cannot be read and is not kept: %s", self._call.id, error)
        await self._sink.finish(data)

    async def error(self, error: RouterError) -> None:
        """No answer."""
        await self._sink.error(error)

    def _keep(self, data: bytes) -> None:
        call, again = self._call, self._wanted.again
        if self._size + len(data) > self._shelf.largest or call.candidate is None or call.identity is None:
            return
        head = b"".join(self._parts)
        # Told again already, what can be will be: and metadata need not be kept.
        head, tail = again.stream(head, data) if call.head.stream else (b"", again.whole(data))
        self._shelf.put(
            self._wanted.key,
            Kept(
                owner=call.identity.hash,
                owned=self._wanted.owned,
                restrictions=call.restrictions,
                since=self._shelf.now(),
                ttl=self._wanted.ttl,
                provider=call.candidate.provider.slug,
                model_id=call.model_id,
                source_id=call.id,
                head=head,
                tail=tail,
                finish_reason=call.outcome.finish_reason,
                native_finish_reason=call.outcome.native_finish_reason,
            ),
        )
