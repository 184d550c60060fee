"""Streams of one JSON object a line, as the events of a wire."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from router import MessageEvent
from router.sse import lines


async def messages(pieces: AsyncIterable[bytes]) -> AsyncIterator[MessageEvent]:
    """One event for each line that is not empty, wherever the bytes were cut. Raises UpstreamUnavailable on a line over 16 MB."""
    async for line in lines(pieces):
        if line:
            yield MessageEvent(type="message", message="", data=line, origin="", last_event_id="")
