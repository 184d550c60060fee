"""The raw lane of a stream: Anthropic's own events, byte for byte, with `message_stop` kept back until the call is booked.

Only for clients that asked for metadata are `message_start`, `message_delta` and `message_stop` written anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from ...errors import StreamTruncated, UpstreamError, UpstreamUnavailable
from ...sse import data_of, frame, stray
from ...wire import anthropic as wire
from ...wire.anthropic_words import FINISH, merged
from ..raw_tap import RawTap
from .common import cost_members, encode_json, failure, provider_of, told_usage

if TYPE_CHECKING:
    from ...call import Call

#: events that we read: one of them in another form than expected is an error, of any other it is none
_KNOWN = frozenset(
    {
        *("message_start", "message_delta", "message_stop", "error"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
    }
)
#: how a delta begins
_DELTA = b"event: content_block_delta\ndata: "
_NO_DELTA = wire.Delta()
#: blocks that say nothing yet when they begin
_SILENT = ("text", "thinking")


class _Unreadable(UpstreamUnavailable):
    """An event that is no JSON, or not of the form of its kind."""


class Tap(RawTap):
    """`Flow` of the raw lane: bytes in, the same bytes out, `call.outcome` filled."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._usage: wire.Usage | None = None
        self._started = False
        self._called = False
        self._metadata = call.metadata is not None
        #: frames that wait for the end: `message_stop`, with metadata `message_delta` too
        self._held: list[bytes] = []

    def end(self) -> None:
        """The upstream's stream is over. Raises where it is no whole answer."""
        if self._error is not None:
            raise self._error
        if not self.done and (rest := self._frames.close()).strip():
            self._last(rest)
        if not self._started:
            raise self._nothing()
        if not self.done:
            raise StreamTruncated("the upstream's stream ended before its message_stop")

    def final(self) -> bytes:
        """What was kept back."""
        return b"".join(self._with_metadata(each) if self._metadata else each for each in self._held)

    # --- frames ---

    def _frame(self, whole: bytes) -> bytes:
        """One frame as the client gets it now."""
        if whole.startswith(_DELTA) and whole.find(b"\n", len(_DELTA)) == len(whole) - 2:
            self._delta(_decode(memoryview(whole)[len(_DELTA) :]).delta or _NO_DELTA)  # as nearly all of them
            return whole
        data = data_of(whole)
        if not data:
            self._no_event(whole)
            return whole
        event = _decode(data)
        match event.type:
            case "content_block_delta":
                self._delta(event.delta or _NO_DELTA)
            case "content_block_start":
                self._block(event.content_block)
            case "message_start":
                return self._start(event, whole)
            case "message_delta":
                return self._change(event, whole)
            case "message_stop":
                self.done = True
                self._held.append(whole)
                return b""
            case "error":
                raise failure(self._call, data)
        return whole

    def _delta(self, delta: wire.Delta) -> None:
        said = delta.text or delta.thinking or delta.partial_json
        if said:
            self._call.outcome.output_chars += len(said)
            self.content = True
        elif delta.signature:
            self.content = True

    def _block(self, raw: Raw) -> None:
        try:
            block = wire.decode_block(raw)
        except msgspec.DecodeError as error:
            raise _Unreadable("the upstream's stream holds a block that cannot be read") from error
        if block.type == "tool_use":
            self._called = True
            self._call.outcome.output_chars += len(block.name or "")
        if block.type not in _SILENT or block.text or block.thinking:
            self._call.outcome.output_chars += len(block.text or block.thinking or "")
            self.content = True

    def _start(self, event: wire.Frame, whole: bytes) -> bytes:
        self._started = True
        message = event.message or wire.Message()
        outcome = self._call.outcome
        outcome.upstream_id = message.id or ""
        self._count(message.usage)
        self._ended(message.stop_reason)
        if not self._metadata:
            return whole
        members = wire.decode_members(data_of(whole))
        told = wire.decode_members(members["message"]) | {"provider": Raw(encode_json(provider_of(self._call)))}
        return frame(encode_json(members | {"message": told}), "message_start")

    def _change(self, event: wire.Frame, whole: bytes) -> bytes:
        self._count(event.usage)
        if event.delta is not None:
            self._ended(event.delta.stop_reason)
        if not self._metadata:
            return whole
        self._held.append(whole)
        return b""

    def _count(self, more: wire.Usage | None) -> None:
        if more is None:
            return
        counted = self._usage = merged(self._usage, more)
        self._call.outcome.usage = told_usage(counted)
        self._call.outcome.service_tier = counted.service_tier

    def _ended(self, reason: str | None) -> None:
        if reason is None:
            return
        outcome = self._call.outcome
        outcome.native_finish_reason = reason
        outcome.finish_reason = "tool_calls" if self._called else FINISH.get(reason, "stop")

    def _with_metadata(self, whole: bytes) -> bytes:
        call = self._call
        told: dict[str, Any] = dict(wire.decode_members(data_of(whole)))
        kind = wire.decode_kind(data_of(whole)).type
        if kind == "message_delta":
            counted = wire.decode_members(told["usage"]) if "usage" in told else {}
            told["usage"] = counted | cost_members(call)
        elif call.metadata is not None:
            told["openrouter_metadata"] = call.metadata
        return frame(encode_json(told), kind)

    # --- ends ---

    def _last(self, rest: bytes) -> None:
        """A frame without a blank line behind it."""
        try:
            self._frame(rest)
        except _Unreadable as error:
            if not self._started:
                raise
            raise StreamTruncated("the upstream's stream ended in the middle of an event") from error
        if self.done:
            self._held[-1] = rest.rstrip(b"\r\n") + b"\n\n"

    def _no_event(self, whole: bytes) -> None:
        """A comment, or a body that is no event stream at all: kept to be read at the end."""
        if not self._started:
            self._stray = stray(self._stray, whole)

    def _nothing(self) -> UpstreamError:
        """What to say of a stream without a single event of an answer."""
        return (
            failure(self._call, self._stray) if self._stray else UpstreamUnavailable("the upstream's stream is empty")
        )


def _decode(data: bytes | memoryview) -> wire.Frame:
    """One event. One of a kind that we do not know may have any form: it goes on as it is."""
    try:
        return wire.decode_frame(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        try:
            kind = wire.decode_kind(data).type
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            kind = "message_start"
        if kind in _KNOWN:
            raise _Unreadable("the upstream's stream holds an event that cannot be read") from error
        return wire.Frame(type=kind)
