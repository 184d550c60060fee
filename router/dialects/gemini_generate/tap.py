"""The raw lane of a stream: Google's own events, byte for byte, or the same answers as elements of an array.

There is no end mark: an answer is whole when every candidate has told why it ended. From then on the last answer is kept back until the
call is booked. Comments are taken out, since Google's SDKs fail on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import StreamTruncated, UpstreamError, UpstreamUnavailable
from ...sse import data_of, stray
from ..raw_tap import RawTap
from . import common
from .answer import Reading, Unreadable, failure

if TYPE_CHECKING:
    from ...call import Call


class Tap(RawTap):
    """`Flow` of the raw lane: bytes in, the same bytes out, `call.outcome` filled."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._reading = Reading(call)
        self._events = common.wants_events(call)
        self._first = True
        #: the answer that may be the last one: its frame, and its data
        self._held: tuple[bytes, bytes] | None = None

    def end(self) -> None:
        """The upstream's stream is over. Raises where it is no whole answer."""
        if self._error is not None:
            raise self._error
        if not self.done and (rest := self._frames.close()).strip():
            self._last(rest)
        if not self._reading.begun:
            raise self._nothing()
        if not self._reading.complete:
            raise StreamTruncated("the upstream closed the stream before it told why it finished")
        self._reading.end()

    def final(self) -> bytes:
        """The answer that was kept back, and the end of the array."""
        if self._held is not None and self._call.metadata is not None:
            data = common.with_metadata(self._call, self._held[1])
            self._held = common.event(data), data
        return self._release() if self._events else self._release() + common.ARRAY_END

    # --- frames ---

    def _frame(self, whole: bytes) -> bytes:
        """What the client gets now that this frame has come."""
        data = data_of(whole)
        if not data:
            self._no_event(whole)
            return b""
        if data == b"[DONE]":
            self.done = True
            return b""
        self._reading.take(data)
        self.content = self._reading.content
        out = self._release()
        self._held = whole, data
        return out if self._reading.complete else out + self._release()

    def _cut_off(self) -> bytes:
        return self._release()

    def _release(self) -> bytes:
        if self._held is None:
            return b""
        whole, data = self._held
        self._held = None
        if self._events:
            return _without_comments(whole, data)
        first, self._first = self._first, False
        return common.element(data, first=first)

    def _last(self, rest: bytes) -> None:
        """A frame without a blank line behind it, held until the end."""
        try:
            self._frame(rest.rstrip(b"\r\n") + b"\r\n\r\n")
        except Unreadable as error:
            if not self._reading.begun:
                raise
            raise StreamTruncated("the upstream's stream ended in the middle of an event") from error

    def _no_event(self, whole: bytes) -> None:
        """A comment, or a body that is no event stream at all: kept to be read at the end."""
        if not self._reading.begun:
            self._stray = stray(self._stray, whole)

    def _nothing(self) -> UpstreamError:
        """What to say of a stream without a single answer."""
        if self._stray:
            return failure(self._call, self._stray)
        return UpstreamUnavailable("the upstream's stream is empty")


def _without_comments(whole: bytes, data: bytes) -> bytes:
    """A frame as it came, unless there is a comment in it."""
    return common.event(data) if whole.startswith(b":") or b"\n:" in whole or b"\r:" in whole else whole
