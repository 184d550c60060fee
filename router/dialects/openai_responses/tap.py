"""The raw lane of a stream: an upstream's own events as they came. Only the terminal one waits for the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from ...errors import RouterError, StreamTruncated, UpstreamError, UpstreamUnavailable
from ...openai_words import failure
from ...sse import data_of, frame, stray
from ...wire import openai
from ...wire import responses as wire
from ..raw_tap import RawTap
from .answer import describe, failure_of, patched
from .encode import STATE, end_mark
from .response import failed, response_object

if TYPE_CHECKING:
    from ...call import Call
    from .peek import Peeked

#: events that say nothing that a client could show or run
_SILENT = frozenset(
    {
        *("response.created", "response.in_progress", "response.queued", "response.content_part.added"),
        *("response.reasoning_summary_part.added", "response.rate_limits", "keepalive"),
    }
)
_ANNOUNCED = ("message", "reasoning")
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


class Tap(RawTap):
    """`Flow` of the raw lane: bytes in, the same bytes out, `call.outcome` filled."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._events = 0
        #: the terminal frame, and the response object inside of it
        self._last = b""
        self._response = openai.NOTHING
        peeked: Peeked = call.head.decoded
        self._kept = peeked.kept is not None
        call.state[STATE] = self

    # --- what the relay calls ---

    def end(self) -> None:
        """The upstream's stream is over. Raises where it is no whole answer."""
        if self._error is not None:
            raise self._error
        if not self.done and (rest := self._frames.close().strip()):
            try:
                self._look(rest + b"\n\n")
            except _Unreadable as error:
                raise StreamTruncated("the upstream's stream ended in the middle of an event") from error
        if not self._last:
            raise self._nothing()

    def final(self) -> bytes:
        """The terminal frame and, where it is wanted, the end mark."""
        last = self._last
        if self._call.metadata is not None or self._kept:
            members = openai.decode_members(data_of(last))
            members["response"] = Raw(patched(self._call, members["response"]))
            last = frame(openai.encode(members), self._ending)
        return last + end_mark(self._call)

    def failed(self, error: RouterError) -> bytes:
        """The frames that end a stream that went wrong: the upstream's own response where it told one."""
        told: dict[str, Any] = {}
        if openai.given(self._response):
            told |= openai.decode_members(patched(self._call, self._response, ended=False))
        else:
            told |= response_object(self._call, "failed", [])
        told |= failed(error)
        event = {"type": "response.failed", "response": told, "sequence_number": self._events}
        return frame(openai.encode(event), "response.failed") + end_mark(self._call)

    # --- frames ---

    def _frame(self, whole: bytes) -> bytes:
        if not self._look(whole):
            return b""
        return self._own(whole) if self._kept else whole

    def _own(self, whole: bytes) -> bytes:
        """The frame with the id by which the router keeps the response, where it holds the response."""
        if b'"response"' not in whole or not openai.given(response := wire.decode_event(data_of(whole)).response):
            return whole
        members = openai.decode_members(data_of(whole))
        members["response"] = Raw(patched(self._call, response, ended=False))
        return frame(openai.encode(members), openai.decode_any(members["type"]))

    def _look(self, whole: bytes) -> bool:
        """Read one frame. True where it is to be sent on now."""
        data = data_of(whole)
        if not data or data[:6] == b"[DONE]":
            self._no_event(whole)
            return False
        try:
            event = wire.decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _Unreadable("the upstream's stream holds an event that cannot be read") from error
        kind = event.type
        if kind in _ENDS:
            self._end(whole, kind, event.response)
            return False
        if kind == "error" or (not kind and openai.given(event.error)):
            raise self._failure(event)
        self._events += 1
        if isinstance(event.delta, str):
            self._call.outcome.output_chars += len(event.delta)
        if not self.content and kind not in _SILENT:
            item = event.item
            announced = kind == "response.output_item.added" and item is not None and item.type in _ANNOUNCED
            self.content = not announced
        return True

    def _no_event(self, whole: bytes) -> None:
        """A comment, `[DONE]`, or a body that is no event stream at all: kept to be read at the end."""
        if not self._events:
            self._stray = stray(self._stray, whole)

    def _end(self, whole: bytes, kind: str, response: Raw) -> None:
        self._response = response
        try:
            told = wire.decode_response(response)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _Unreadable("the upstream's stream ends in a response that cannot be read") from error
        describe(self._call, told)
        if kind == "response.failed" or told.status == "failed":
            assert self._call.candidate is not None
            raise failure(failure_of(told), self._call.candidate.provider.error)
        self._last, self._ending = whole, kind
        self.done = True

    def _failure(self, event: wire.Event) -> UpstreamError:
        candidate = self._call.candidate
        assert candidate is not None
        error = event.error
        if not openai.given(error):
            error = Raw(openai.encode({"code": event.code, "message": event.message}))
        return failure(error, candidate.provider.error)

    def _nothing(self) -> UpstreamError:
        """What to say of a stream without an end."""
        if self._events:
            return StreamTruncated("the upstream's stream ended without a terminal event")
        try:
            found = openai.decode_members(self._stray).get("error", openai.NOTHING)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = openai.NOTHING
        candidate = self._call.candidate
        assert candidate is not None
        if openai.given(found):
            return failure(found, candidate.provider.error)
        return UpstreamUnavailable("the upstream's stream is empty")


class _Unreadable(UpstreamUnavailable):
    """An event that is no JSON, or not of the form of an event."""
