"""Server-sent events: the one reader of upstream streams, a frame splitter for relaying, and the encoder.

`aiohttp-sse-client` 0.2.1 reads the fields of events. On its own it would send the POST again when a stream ends, obey `retry:`,
split at LF only, take off every leading space and lose an event without a blank line behind it; so `open_events` hands it an
answer that is already open and lines that our own splitter has made, and it never connects.
The format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import codecs
import logging
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from aiohttp import ClientSession
from aiohttp_sse_client.client import EventSource, MessageEvent

from .errors import StreamTruncated, UpstreamUnavailable

__all__ = ["Frames", "MessageEvent", "frame", "open_events", "open_lines"]

MAX_LINE_BYTES = 16 * 1024 * 1024
_STRAY_BYTES = 64 * 1024
_BOM = codecs.BOM_UTF8

# It logs every event at DEBUG, prompts and all.
logging.getLogger("aiohttp_sse_client.client").setLevel(logging.WARNING)


def open_events(pieces: AsyncIterable[bytes], session: ClientSession | None = None) -> AsyncIterator[MessageEvent]:
    """The events of a body that is already open. Ends where the body ends; never connects, never waits.

    `pieces` are the bytes as they come, split anywhere. Raises UpstreamUnavailable on a line over 16 MB or bytes that are
    not UTF-8, and whatever reading `pieces` raises.
    """
    return _OpenEventSource(pieces, session)


class _OpenEventSource(EventSource):  # type: ignore[misc]
    """`EventSource` over lines instead of a connection."""

    def __init__(self, pieces: AsyncIterable[bytes], session: ClientSession | None) -> None:
        # The base class makes a session of its own unless it is given one. It only ever keeps it.
        super().__init__("", session=session or _NEVER)
        self._response = _OpenResponse(lines(pieces))
        self._lines = self._response.content

    async def connect(self, retry: int = 0) -> None:
        """Never: the base class would send the request."""
        raise TypeError("an answer that is already open needs no connection")

    def __aiter__(self) -> AsyncIterator[MessageEvent]:
        return self

    async def __anext__(self) -> MessageEvent:
        async for line in self._lines:
            if line == "":
                event = self._dispatch_event()
                if event is not None:
                    return event
            elif line[0] != ":":
                name, _, value = line.partition(":")
                self._process_field(name, value[1:] if value[:1] == " " else value)
        raise StopAsyncIteration

    def _process_field(self, field_name: str, field_value: str) -> None:
        if field_name != "retry":  # we never reconnect
            super()._process_field(field_name, field_value)

    async def aclose(self) -> None:
        """Close the reader of the lines, and with it the body."""
        await self._lines.aclose()


class _OpenResponse:
    """The part of a response that the base class looks at."""

    status = 200

    def __init__(self, content: Any) -> None:
        self.content = content

    def close(self) -> None:
        """Nothing: whoever opened the answer closes it."""


_NEVER: Any = object()


async def open_lines(pieces: AsyncIterable[bytes]) -> AsyncIterator[MessageEvent]:
    """The same for a body of one JSON object a line: an event for each line that is not empty. Raises as `open_events` does."""
    async for line in lines(pieces):
        if line:
            yield MessageEvent(type="message", message="", data=line, origin="", last_event_id="")


async def lines(pieces: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Lines without their ends, then one empty line, so that a last event without a blank line is not lost.

    LF, CRLF and CR end a line, a byte order mark at the start is passed over, and a character may be split over pieces.
    """
    splitter = LineSplitter()
    async for piece in pieces:
        for line in splitter.feed(piece):
            yield line
    for line in splitter.close():
        yield line
    yield ""


class LineSplitter:
    """Cuts bytes into decoded lines, whatever the pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._parts: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, piece: bytes) -> list[str]:
        """Take a piece in, give the lines that it completes. Raises UpstreamUnavailable where one is too long."""
        if self._after_cr and piece:
            self._after_cr = False
            if piece[:1] == b"\n":
                piece = piece[1:]
        if b"\n" not in piece and b"\r" not in piece:
            self._keep(piece)
            return []
        data = b"".join([*self._parts, piece])
        self._parts.clear()
        self._size = 0
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *complete, rest = data.split(b"\n")
        self._keep(rest)
        return [self._decode(line) for line in complete]

    def close(self) -> list[str]:
        """The line at the end that nothing ended. Raises StreamTruncated where it ends within a character."""
        data = b"".join(self._parts)
        self._parts.clear()
        try:
            return [self._decode(data)] if data else []
        except UpstreamUnavailable as error:
            raise StreamTruncated("the upstream's stream ended within a character") from error

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > MAX_LINE_BYTES:
                raise UpstreamUnavailable("a line of the upstream's stream is longer than 16 MB")

    def _decode(self, line: bytes) -> str:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise UpstreamUnavailable("the upstream's stream is not UTF-8") from None


class Frames:
    """Cuts a stream into whole frames (events with the blank line behind them) without looking into them.

    For relaying: the bytes of all frames together are the bytes that came.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._size = 0
        self._parts: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Take a piece in, give the frames that it completes, each with its blank line."""
        if self._parts:
            if b"\n" not in piece and b"\r" not in piece:
                self._keep(piece)
                return []
            piece = b"".join([*self._parts, piece])
            self._parts.clear()
            self._size = 0
        if b"\r" in piece:
            if piece.endswith(b"\r\n\r\n") and piece.count(b"\n") == piece.count(b"\r") == 2:
                return [piece]  # one whole event of one line, as most pieces are
            return self._feed_carriage_returns(piece)
        *frames, rest = piece.split(b"\n\n")
        self._keep(rest)
        return [frame + b"\n\n" for frame in frames]

    def close(self) -> bytes:
        """What came behind the last blank line."""
        rest = b"".join(self._parts)
        self._parts.clear()
        return rest

    def _feed_carriage_returns(self, piece: bytes) -> list[bytes]:
        """The general case: any of the three line ends, a CR at the end of the piece may be half of a CRLF."""
        frames: list[bytes] = []
        start = 0
        while (end := _blank_line(piece, start)) > 0:
            frames.append(piece[start:end])
            start = end
        self._keep(piece[start:])
        return frames

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > MAX_LINE_BYTES:
                raise UpstreamUnavailable("an event of the upstream's stream is longer than 16 MB")


def _blank_line(data: bytes, start: int) -> int:
    """The end of the first blank line from `start` on, 0 where there is none yet."""
    ends = [
        end + len(mark)
        for mark in (b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\r", b"\r\n\n", b"\n\r\r", b"\r\n\r")
        if (end := data.find(mark, start)) >= 0 and (mark[-1:] != b"\r" or len(data) > end + len(mark))
    ]
    if not ends:
        return 0
    end = min(ends)
    # A CRLF must not be cut in two: the LF belongs to the blank line in front of it.
    return end + 1 if data[end - 1 : end] == b"\r" and data[end : end + 1] == b"\n" else end


def data_of(frame: bytes) -> bytes:
    """The data of a frame, as the event source would give it; b"" where it has none (a comment)."""
    if frame.startswith(b"data: ") and frame.endswith(b"\n\n") and frame.find(b"\n", 0, -2) < 0:
        return frame[6:-2]
    if frame.startswith(b"data: ") and frame.endswith(b"\r\n\r\n") and frame.count(b"\n") == frame.count(b"\r") == 2:
        return frame[6:-4]
    parts = []
    for line in frame.removeprefix(_BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            value = line[5:]
            parts.append(value[1:] if value[:1] == b" " else value)
    return b"\n".join(parts)


def stray(kept: bytes, frame: bytes) -> bytes:
    """What is kept of a body that is no event stream at all, and may be an error: with this frame, which has no data. Comments are
    not kept, nor is the rest of a long body."""
    if len(kept) < _STRAY_BYTES and (kept or frame.lstrip()[:1] in (b"{", b"[")):
        return kept + frame
    return kept


def frame(data: bytes, event: str = "") -> bytes:
    """One event as bytes. `data` must hold no line end, which JSON never does."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data) if event else b"data: %b\n\n" % data
