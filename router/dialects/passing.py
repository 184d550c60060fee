"""Streams of operations other than chat, on their way to the client as they come: events, or sound.

Nothing is kept but the end: the last event, or the last byte, waits until the call is settled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw, Struct

from ..errors import StreamTruncated, UpstreamError, UpstreamUnavailable
from ..openai_words import failure
from ..sse import Frames, data_of
from ..wire import openai as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..call import Call
    from ..events import Event
    from ..prices import Usage

#: how the types of events end behind which a stream may end: speech.audio.done, image_generation.completed, transcript.text.done
LAST = (".done", ".completed")
DONE = b"[DONE]"


class _Seen(Struct):
    """An event as far as it is read; pictures and sound in it are passed over."""

    type: str = ""
    usage: Raw = wire.NOTHING
    error: Raw = wire.NOTHING


_decode = msgspec.json.Decoder(_Seen).decode


class Bytes:
    """Sound, or whatever else has no events in it. Nobody counts what it costs."""

    def __init__(self, call: Call) -> None:
        self.content = False
        self.done = False
        self._last = b""
        self._call = call
        call.outcome.uncounted = call.outcome.streamed = True

    def feed(self, item: bytes | Event) -> bytes:
        """All but the last byte."""
        assert isinstance(item, bytes)
        self.content = True
        data = self._last + item
        self._last = data[-1:]
        return data[:-1]

    def end(self) -> None:
        """Raises UpstreamUnavailable where nothing came. A body that was cut has raised already."""
        if not self.content:
            raise UpstreamUnavailable("the upstream's answer is empty")
        self._call.outcome.finish_reason = "stop"

    def final(self) -> bytes:
        """The last byte."""
        return self._last


class Events:
    """Server-sent events, frame by frame, byte for byte. `count` reads the `usage` of an event."""

    def __init__(self, call: Call, count: Callable[[Raw], Usage | None]) -> None:
        self.content = False
        self.done = False
        self._call = call
        self._count = count
        self._frames = Frames()
        self._held = b""
        self._complete = False
        call.outcome.uncounted = call.outcome.streamed = True

    def feed(self, item: bytes | Event) -> bytes:
        """Whole frames; a last one is kept until the next comes. Raises the UpstreamError that an event holds."""
        assert isinstance(item, bytes)
        return b"".join([self._frame(frame) for frame in self._frames.feed(item)])

    def end(self) -> None:
        """Raises StreamTruncated where no last event came, UpstreamUnavailable where none came at all."""
        if rest := self._frames.close().strip():
            self._held = self._frame(rest + b"\n\n") + self._held
        if not self.content:
            raise UpstreamUnavailable("the upstream's stream is empty")
        if not self._complete:
            raise StreamTruncated("the upstream's stream ended before its last event")
        self._call.outcome.finish_reason = "stop"

    def final(self) -> bytes:
        """The last frame."""
        return self._held

    def _frame(self, frame: bytes) -> bytes:
        """What may go now: the frame before where it was held, and this one unless it may be the last."""
        data = data_of(frame)
        last = self._complete if not data else self._read(data)
        before, self._held = self._held, frame if last else b""
        return before if last else before + frame

    def _read(self, data: bytes) -> bool:
        """Read an event: may it be the last one?"""
        if data == DONE:
            self._complete = self.done = True
            return True
        try:
            seen = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _unreadable(begun=self.content) from error
        if wire.given(seen.error) or seen.type == "error":
            assert self._call.candidate is not None
            raise failure(seen.error if wire.given(seen.error) else Raw(data), self._call.candidate.provider.error)
        self.content = True
        if (usage := self._count(seen.usage)) is not None:
            outcome = self._call.outcome
            # Each picture of several counts for itself.
            outcome.usage = usage if outcome.usage is None else outcome.usage + usage
            outcome.uncounted = False
        self._complete = seen.type.endswith(LAST)
        return self._complete


def _unreadable(*, begun: bool) -> UpstreamError:
    what = "the upstream's stream holds an event that cannot be read"
    return StreamTruncated(what) if begun else UpstreamUnavailable(what)
