"""n > 1 at upstreams that give one choice: n calls side by side, told as one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..call import Call, Candidate
from ..errors import StreamTruncated
from ..events import Event, Finish, Start, Stop
from ..hookspecs import hookimpl
from ..prices import Usage
from ..provider import Upstream
from ..tasks import spawn

if TYPE_CHECKING:
    from ..server import Server


class Choices:
    """Claims the attempt where the client wants several choices and the provider gives one."""

    def __init__(self, server: Server) -> None:
        """Nothing is kept."""

    @hookimpl
    def router_attempt(self, call: Call, candidate: Candidate) -> AbstractAsyncContextManager[Upstream] | None:
        """n exchanges instead of one, or nothing where one will do."""
        if call.head.n == 1 or candidate.provider.many_choices or call.dry:
            return None
        return _several(call, candidate)


@asynccontextmanager
async def _several(call: Call, candidate: Candidate) -> AsyncIterator[Upstream]:
    async with AsyncExitStack() as stack:
        contexts = [candidate.provider.send(call, candidate) for _ in range(call.head.n)]
        opened = await _all(stack.enter_async_context(context) for context in contexts)
        streams = [_events(candidate, upstream) for upstream in opened]
        yield Upstream(events=_merged(streams), stream=opened[0].stream)


async def _all(openings: Iterable[Awaitable[Upstream]]) -> list[Upstream]:
    """Wait for all of them; where one fails, its error is raised once the others are there to be closed."""
    answers = await asyncio.gather(*openings, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if isinstance(answer, Upstream)]


async def _events(candidate: Candidate, upstream: Upstream) -> AsyncIterator[Event]:
    provider = candidate.provider
    if upstream.events is not None:
        source = upstream.events
    elif upstream.stream:
        source = provider.events(provider.messages(upstream))
    else:
        for event in provider.decode(await upstream.read()).events():
            yield event
        return
    async for event in source:
        yield event


Queued = asyncio.Queue[tuple[int, Event | Exception]]


async def _merged(streams: list[AsyncIterator[Event]]) -> AsyncIterator[Event]:
    """The events of all streams as they come, each with its number as choice: one Start, one Stop with the sum of usage."""
    queue: Queued = asyncio.Queue(maxsize=len(streams))
    readers = [spawn("choice", _drain(number, stream, queue)) for number, stream in enumerate(streams)]
    started = False
    finishes: list[Finish] = []
    usage: Usage | None = None
    try:
        while len(finishes) < len(streams):
            number, event = await queue.get()
            match event:
                case Exception():
                    raise event
                case Start():
                    if not started:
                        started = True
                        yield event
                case Stop():
                    finishes.append(replace(event.finishes[0], choice=number))
                    if event.usage is not None:
                        usage = event.usage if usage is None else usage + event.usage
                case _:
                    yield replace(event, choice=number)
    finally:
        for reader in readers:
            reader.cancel()
    yield Stop(finishes=sorted(finishes, key=lambda each: each.choice), usage=usage)


async def _drain(number: int, stream: AsyncIterator[Event], queue: Queued) -> None:
    """Put every event of one stream into the queue, and its failure too: whoever reads it waits for an end of each."""
    whole = False
    try:
        async for event in stream:
            whole = whole or isinstance(event, Stop)
            await queue.put((number, event))
        if not whole:
            raise StreamTruncated("one of the upstream's streams ended without a finish reason")
    except Exception as error:  # noqa: BLE001 - raised where the queue is read
        await queue.put((number, error))
