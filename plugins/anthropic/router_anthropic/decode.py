"""What Anthropic answers -> the hub's events.

A whole answer goes the same way as a stream: as blocks that open and close at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Protocol

import msgspec
from msgspec import Raw

from router import (
    Citation,
    Event,
    Finish,
    Fold,
    MessageEvent,
    Opaque,
    PartDone,
    ReasoningDelta,
    Reply,
    Start,
    Stop,
    StreamTruncated,
    TextDelta,
    ToolDelta,
    UpstreamUnavailable,
)
from router.wire import anthropic as wire
from router.wire.anthropic_words import FINISH, merged, usage_of

from .blocks import FAMILY, FORMAT
from .failures import failure
from .names import JSON_OUTPUT, client_name

_TIERS = {"standard": "default"}


def reply(body: bytes) -> Reply:
    """A whole answer. Raises an UpstreamError where the body is an error or nonsense."""
    try:
        message = wire.decode_message(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamUnavailable("anthropic's answer is not a message in JSON") from error
    if message.type == "error":
        raise failure(200, {}, body)
    if message.content is None:
        raise UpstreamUnavailable("anthropic's answer holds no content")
    answer, fold = Answer(), Fold()
    for event in (*answer.start(message), answer.end()):
        fold.add(event)
    return fold.reply


async def events(stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
    """Anthropic's stream as the router's.

    Input tokens come with message_start and output tokens with message_delta, or both with both: one count is filled from all of them.
    """
    answer = Answer()
    async for message in stream:
        frame = _frame(message.data)
        for event in answer.take(frame, message.data):
            yield event
        if frame.type == "message_stop":
            return
    raise StreamTruncated("anthropic's stream ended before its message_stop")


def _frame(data: str) -> wire.Frame:
    """One event. One of a kind that we do not know may have any form: it is passed over."""
    try:
        return wire.decode_frame(data)
    except (msgspec.DecodeError, RecursionError) as error:
        try:
            kind = wire.decode_kind(data).type
        except (msgspec.DecodeError, RecursionError):
            kind = "message_start"
        if kind in _KNOWN:
            raise UpstreamUnavailable("anthropic's stream holds an event that cannot be read") from error
        return wire.Frame(type=kind)


_KNOWN = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    }
)


class Answer:
    """One answer as it grows: its open blocks, its count of tokens, why it ended."""

    def __init__(self) -> None:
        self._open: dict[int, _Block] = {}
        self._so_far = _SoFar()
        self._usage: wire.Usage | None = None
        self._stop_reason: str | None = None
        self._stop_sequence: str | None = None

    def take(self, frame: wire.Frame, data: str) -> Iterable[Event]:
        """One event of the stream. `data` is its text, for blocks that we do not know. Raises what an error event says."""
        match frame.type:
            case "content_block_delta" if frame.delta is not None:
                event = self.grow(frame.index, frame.delta, data)
                return () if event is None else (event,)
            case "content_block_start" if frame.content_block:
                return self.open(frame.index, frame.content_block)
            case "content_block_stop":
                return self.close(frame.index)
            case "message_start" if frame.message is not None:
                return self.start(frame.message)
            case "message_delta":
                self.change(frame)
            case "message_stop":
                return (*self.close_all(), self.end())
            case "error":
                raise failure(200, {}, data.encode())
        return ()

    def start(self, message: wire.Message) -> Iterator[Event]:
        """The head, and whatever content it brings along (all of it where the answer is whole)."""
        self._count(message.usage)
        self._ended(message.stop_reason, message.stop_sequence)
        tier = message.usage.service_tier if message.usage else None
        yield Start(
            id=message.id or "",
            model=message.model or "",
            service_tier=_TIERS.get(tier or "", tier),
            usage=None if self._usage is None else usage_of(self._usage),
        )
        for index, raw in enumerate(message.content or []):
            yield from self.open(index, raw)
            yield from self.close(index)

    def open(self, index: int, raw: Raw) -> Iterator[Event]:
        """A block begins."""
        yield from self.close(index)
        try:
            head = wire.decode_block(raw)
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("anthropic's answer holds a block that cannot be read") from error
        block = self._open[index] = _block(head, raw, self._so_far)
        yield from block.opened()

    def grow(self, index: int, delta: wire.Delta, data: str) -> Event | None:
        """More of a block. `data` is the whole event, for blocks that we do not know."""
        block = self._open.get(index)
        return None if block is None else block.grown(delta, data)

    def close(self, index: int) -> Iterator[Event]:
        """A block ends."""
        block = self._open.pop(index, None)
        if block is not None:
            yield from block.closed()

    def close_all(self) -> Iterator[Event]:
        """End what was left open."""
        for index in list(self._open):
            yield from self.close(index)

    def change(self, frame: wire.Frame) -> None:
        """Take in a message_delta."""
        self._count(frame.usage)
        if frame.delta is not None:
            self._ended(frame.delta.stop_reason, frame.delta.stop_sequence)

    def end(self) -> Stop:
        """The last event."""
        native = self._stop_reason
        reason = FINISH.get(native or "", "stop")
        if self._so_far.calls:
            reason = "tool_calls"
        elif reason == "tool_calls":
            reason = "stop"  # the call was ours: its input is the answer
        finish = Finish(reason=reason, native=native, stop_sequence=self._stop_sequence)
        return Stop(finishes=[finish], usage=None if self._usage is None else usage_of(self._usage))

    def _count(self, more: wire.Usage | None) -> None:
        if more is not None:
            self._usage = merged(self._usage, more)

    def _ended(self, reason: str | None, sequence: str | None) -> None:
        self._stop_reason = reason or self._stop_reason
        self._stop_sequence = sequence or self._stop_sequence


# --- blocks ----------------------------------------------------------------------------------------------------------


class _SoFar:
    """What the blocks of one answer count together: calls and thoughts, and the characters of text."""

    __slots__ = ("calls", "chars", "thoughts")

    def __init__(self) -> None:
        self.calls = self.thoughts = self.chars = 0

    def text(self, text: str) -> TextDelta:
        self.chars += len(text)
        return TextDelta(text=text)


class _Block(Protocol):
    """A block of the answer, from its start to its stop."""

    def opened(self) -> Iterator[Event]: ...
    def grown(self, delta: wire.Delta, data: str) -> Event | None: ...
    def closed(self) -> Iterator[Event]: ...


def _block(head: wire.Block, raw: Raw, so_far: _SoFar) -> _Block:
    match head.type:
        case "text":
            return _Text(head, so_far)
        case "thinking" | "redacted_thinking":
            return _Thought(head, so_far)
        case "tool_use" if head.name == JSON_OUTPUT:
            return _JsonOutput(head, so_far)
        case "tool_use":
            return _Call(head, so_far)
    return _Held(head, raw, so_far)


class _Text:
    """Text, and where it comes from. Citations wait for the end of their text, since they say from where to where they hold."""

    def __init__(self, head: wire.Block, so_far: _SoFar) -> None:
        self._head = head
        self._so_far = so_far
        self._from = so_far.chars
        self._citations = list(head.citations or [])

    def opened(self) -> Iterator[Event]:
        if self._head.text:
            yield self._so_far.text(self._head.text)

    def grown(self, delta: wire.Delta, data: str) -> Event | None:
        if delta.text:
            return self._so_far.text(delta.text)
        if delta.citation:
            self._citations.append(delta.citation)
        return None

    def closed(self) -> Iterator[Event]:
        for raw in self._citations:
            try:
                found = wire.decode_citation(raw)
            except msgspec.DecodeError:
                continue
            yield PartDone(part=self._citation(found))

    def _citation(self, found: wire.Citation) -> Citation:
        """A citation of a document of the request has no URL; its title says which."""
        return Citation(
            url=found.url or found.source or "",
            title=found.title or found.document_title or "",
            start_index=self._from,
            end_index=self._so_far.chars,
            content=found.cited_text or "",
        )


class _Thought:
    """Thinking with the signature that comes last, or a piece that only Claude can read."""

    def __init__(self, head: wire.Block, so_far: _SoFar) -> None:
        self._head = head
        self._index = so_far.thoughts
        so_far.thoughts += 1

    def opened(self) -> Iterator[Event]:
        head = self._head
        if head.type == "redacted_thinking":
            yield ReasoningDelta(index=self._index, kind="encrypted", data=head.data or "", format=FORMAT)
        elif head.thinking or head.signature:
            yield self._delta(head.thinking, head.signature)

    def grown(self, delta: wire.Delta, data: str) -> Event | None:
        if delta.thinking or delta.signature:
            return self._delta(delta.thinking, delta.signature)
        return None

    def closed(self) -> Iterator[Event]:
        return iter(())

    def _delta(self, text: str | None, signature: str | None) -> ReasoningDelta:
        return ReasoningDelta(index=self._index, text=text or "", signature=signature or None, format=FORMAT)


class _Call:
    """A call of a tool that the client runs. The input comes in fragments, or whole in the block's start."""

    def __init__(self, head: wire.Block, so_far: _SoFar) -> None:
        self._head = head
        self._index = so_far.calls
        self._begun = False
        so_far.calls += 1

    def opened(self) -> Iterator[Event]:
        head = self._head
        yield ToolDelta(index=self._index, id=head.id or "", name=client_name(head.name or ""))

    def grown(self, delta: wire.Delta, data: str) -> Event | None:
        if not delta.partial_json:
            return None
        self._begun = True
        return ToolDelta(index=self._index, arguments=delta.partial_json)

    def closed(self) -> Iterator[Event]:
        if not self._begun:
            yield ToolDelta(index=self._index, arguments=_json_text(self._head.input))


class _JsonOutput:
    """The forced call that stands for a structured output: its input is the answer's text."""

    def __init__(self, head: wire.Block, so_far: _SoFar) -> None:
        self._head = head
        self._so_far = so_far
        self._begun = False

    def opened(self) -> Iterator[Event]:
        return iter(())

    def grown(self, delta: wire.Delta, data: str) -> Event | None:
        if not delta.partial_json:
            return None
        self._begun = True
        return self._so_far.text(delta.partial_json)

    def closed(self) -> Iterator[Event]:
        if not self._begun:
            yield self._so_far.text(_json_text(self._head.input))


class _Held:
    """A block that is no content for the client to act on: a tool that Anthropic ran itself (call or result), or one that we do not
    know. It is put together and handed on whole, so that it can be sent back as it was."""

    def __init__(self, head: wire.Block, raw: Raw, so_far: _SoFar) -> None:
        self._head = head
        self._raw = raw
        self._changes: dict[str, Raw] = {}
        self._json: list[str] = []
        self._is_tool = head.type.endswith(("_tool_use", "_tool_result"))
        self._index = so_far.thoughts
        so_far.thoughts += self._is_tool

    def opened(self) -> Iterator[Event]:
        return iter(())

    def grown(self, delta: wire.Delta, data: str) -> Event | None:
        if delta.partial_json is not None:
            self._json.append(delta.partial_json)
        else:
            members = wire.decode_members(wire.decode_members(data)["delta"])
            self._changes.update((name, value) for name, value in members.items() if name != "type")
        return None

    def closed(self) -> Iterator[Event]:
        raw = self._whole()
        if self._is_tool:
            data = bytes(raw).decode()
            yield ReasoningDelta(
                index=self._index,
                kind="server_tool_call",
                data=data,
                format=FORMAT,
                id=self._head.id or self._head.tool_use_id,
            )
        else:
            yield PartDone(part=Opaque(family=FAMILY, raw=raw))

    def _whole(self) -> Raw:
        if any(self._json):
            self._changes["input"] = Raw("".join(self._json).encode())
        if not self._changes:
            return Raw(bytes(self._raw))
        whole = wire.decode_members(self._raw) | self._changes
        return Raw(msgspec.json.encode(whole))


def _json_text(raw: Raw) -> str:
    text = bytes(raw).decode()
    return "{}" if text in ("", "null") else text
