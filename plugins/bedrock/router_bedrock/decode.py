"""What Converse answers -> the hub's events.

A whole answer goes the same way as a stream: as blocks that come at once.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Raw

from router import (
    Citation,
    Event,
    Finish,
    FinishReason,
    Fold,
    Image,
    MessageEvent,
    PartDone,
    ReasoningDelta,
    Reply,
    Start,
    Stop,
    StreamTruncated,
    TextDelta,
    ToolDelta,
    UpstreamUnavailable,
    Usage,
)

from . import wire
from .blocks import CLAUDE
from .names import JSON_OUTPUT, client_name
from .traits import maker_of

FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}
#: the first event of a stream, which `Bedrock.messages` makes of the answer's head
OPENED = "opened"
_SERVER = "server_tool_use"

_text = msgspec.json.Decoder(str).decode
_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def reply(answer: wire.Answer) -> Reply:
    """A whole answer. Raises an UpstreamError where it is nonsense."""
    if answer.output is None or answer.output.message is None or answer.output.message.content is None:
        raise UpstreamUnavailable("bedrock's answer holds no message")
    reader, fold = Reader(), Fold()
    fold.add(Start(service_tier=_tier(answer.service_tier)))
    for index, raw in enumerate(answer.output.message.content):
        for event in reader.whole(index, raw):
            fold.add(event)
    fold.add(reader.end(answer.stop_reason, answer.usage))
    return fold.reply


async def events(stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
    """Converse's stream as the router's.

    `messageStop` says why it ended, and `metadata` behind it what it cost; there is nothing behind that.
    """
    reader = Reader()
    start, reason, stopped = Start(), None, False
    async for message in stream:
        if message.type == OPENED:
            opened = wire.decode_opened(message.data)
            start = Start(id=opened.id)
            reader.claude = (maker == "anthropic") if (maker := maker_of(opened.model)) else None
            continue
        frame = _frame(message)
        match message.type:
            case "messageStart":
                yield start
            case "messageStop":
                reason, stopped = frame.stop_reason, True
            case "metadata" if stopped:
                yield reader.end(reason, frame.usage)
                return
            case _:
                for event in reader.take(message.type, frame):
                    yield event
    if not stopped:
        raise StreamTruncated("bedrock's stream ended before its messageStop")
    yield reader.end(reason, None)


def _frame(message: MessageEvent) -> wire.Frame:
    """One event. One of a kind that we do not know may have any form: it is passed over."""
    try:
        return wire.decode_frame(message.data)
    except (msgspec.DecodeError, RecursionError) as error:
        if message.type in _KNOWN:
            raise UpstreamUnavailable("bedrock's stream holds an event that cannot be read") from error
        return wire.Frame()


_KNOWN = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"}
)


class Reader:
    """Reads blocks and counts what they are. `claude`: thinking is of Claude's family; None where nothing tells but a signature."""

    def __init__(self) -> None:
        self.claude: bool | None = None
        self._calls = self._thoughts = self._chars = 0
        #: of the blocks that are open: the number of a call or thought, a form that is text, or a tool that is not the client's
        self._numbers: dict[int, int] = {}
        self._formed: dict[int, bool] = {}
        self._ran: dict[int, dict[str, Any]] = {}
        self._begun: set[int] = set()
        self._cited: dict[int, list[wire.Citation]] = {}
        #: where the text of each open block begins, and where what the next citation is about does
        self._text_from: dict[int, int] = {}
        self._cited_from = 0

    # --- a block of a whole answer ---

    def whole(self, index: int, raw: Raw) -> Iterator[Event]:
        """A block, from its beginning to its end."""
        block = _block(raw)
        call, thought = block.tool_use, block.reasoning_content
        if call is not None and call.type != _SERVER:
            yield from self.open(index, raw)
            yield from self._arguments(index, _json_text(call.input))
            yield from self.close(index)
        elif call is not None or block.tool_result:
            yield self._server_tool(bytes(raw).decode(), index)
        elif thought is not None:
            yield from self._thought_whole(index, thought)
        elif block.citations_content is not None:
            self._cited_from = self._chars
            for said in block.citations_content.content or []:
                yield self._say(said.text or "")
            yield from self._cite(block.citations_content.citations or [])
        elif block.image is not None:
            yield from self._picture(block.image)
        elif block.text:
            yield self._say(block.text)

    def _thought_whole(self, index: int, thought: wire.Thought) -> Iterator[Event]:
        said = thought.reasoning_text
        flat = wire.Thought(redacted_content=thought.redacted_content)
        if said is not None:
            flat.text, flat.signature = said.text, said.signature
        if self.claude is None:
            self.claude = True if flat.signature or flat.redacted_content else None
        yield from self._think(index, flat, bool(self.claude))
        self._numbers.pop(index, None)

    # --- a block of a stream ---

    def take(self, kind: str, frame: wire.Frame) -> Iterable[Event]:
        """An event about a block."""
        match kind:
            case "contentBlockDelta":
                return self.grow(frame.content_block_index, frame.delta)
            case "contentBlockStart":
                return self.open(frame.content_block_index, frame.start)
            case "contentBlockStop":
                return self.close(frame.content_block_index)
        return ()

    def open(self, index: int, raw: Raw) -> Iterator[Event]:
        """A block begins. Text and thinking begin without a word."""
        if not raw:
            return
        block = _block(raw)
        call = block.tool_use
        if call is not None and call.type != _SERVER:
            self._formed[index] = call.name == JSON_OUTPUT
            if not self._formed[index]:
                self._numbers[index] = self._calls
                self._calls += 1
                yield ToolDelta(
                    index=self._numbers[index], id=call.tool_use_id or "", name=client_name(call.name or "")
                )
        elif call is not None or block.tool_result:
            self._ran[index] = _any(raw)
        elif block.image is not None:
            yield from self._picture(block.image)

    def grow(self, index: int, raw: Raw) -> Iterator[Event]:
        """More of a block."""
        if not raw:
            return
        block = _block(raw)
        if block.text:
            self._text_from.setdefault(index, self._chars)
            yield self._say(block.text)
        elif block.tool_use is not None:
            text = _input_text(block.tool_use.input)
            if index in self._ran:
                use = self._ran[index].get("toolUse", {})
                use["input"] = use.get("input", "") + text
            else:
                yield from self._arguments(index, text)
        elif block.reasoning_content is not None:
            yield from self._think(index, block.reasoning_content, self.claude is not False)
        elif block.citation is not None:
            self._cited.setdefault(index, []).append(block.citation)
        elif block.tool_result and index in self._ran:
            result = self._ran[index].get("toolResult", {})
            result["content"] = result.get("content", []) + (_any(block.tool_result) or [])
        elif block.image is not None:
            yield from self._picture(block.image)

    def close(self, index: int) -> Iterator[Event]:
        """A block ends."""
        if index in self._formed and index not in self._begun:
            self._begun.add(index)
            yield from self._arguments(index, "{}")
        self._formed.pop(index, None)
        self._numbers.pop(index, None)
        if (ran := self._ran.pop(index, None)) is not None:
            if isinstance(text := ran.get("toolUse", {}).get("input"), str):
                ran["toolUse"]["input"] = _object(text)
            yield self._server_tool(_encode(ran).decode(), index)
        self._cited_from = self._text_from.pop(index, self._cited_from)
        yield from self._cite(self._cited.pop(index, []))

    def end(self, native: str | None, usage: wire.Usage | None) -> Stop:
        """The last event."""
        reason = FINISH.get(native or "", "stop")
        if self._calls:
            reason = "tool_calls"
        elif reason == "tool_calls":
            reason = "stop"  # the call was ours: its input is the answer
        return Stop(finishes=[Finish(reason=reason, native=native)], usage=None if usage is None else usage_of(usage))

    # --- what blocks hold ---

    def _say(self, text: str) -> TextDelta:
        self._chars += len(text)
        return TextDelta(text=text)

    def _arguments(self, index: int, text: str) -> Iterator[Event]:
        if not text:
            return
        self._begun.add(index)
        if self._formed.get(index):
            yield self._say(text)
        elif index in self._numbers:
            yield ToolDelta(index=self._numbers[index], arguments=text)

    def _think(self, index: int, thought: wire.Thought, claude: bool) -> Iterator[Event]:
        if not (thought.text or thought.signature or thought.redacted_content):
            return
        if index not in self._numbers:
            self._numbers[index] = self._thoughts
            self._thoughts += 1
        number, format = self._numbers[index], CLAUDE if claude else "unknown"
        if thought.redacted_content:
            yield ReasoningDelta(index=number, kind="encrypted", data=_inner(thought.redacted_content), format=format)
        else:
            yield ReasoningDelta(
                index=number, text=thought.text or "", signature=thought.signature or None, format=format
            )

    def _server_tool(self, data: str, index: int) -> ReasoningDelta:
        """A tool that ran already: not for the client to run, but to be sent back as it was."""
        number = self._thoughts
        self._thoughts += 1
        return ReasoningDelta(index=number, kind="server_tool_call", data=data, format="unknown")

    def _cite(self, citations: list[wire.Citation]) -> Iterator[Event]:
        """Citations hold for the text of their block; in a block without any, for that of the block in front."""
        for each in citations:
            yield PartDone(part=_citation(each, self._cited_from, self._chars))

    def _picture(self, image: wire.Image) -> Iterator[Event]:
        if "bytes" in image.source:
            yield PartDone(part=Image(data=_text(image.source["bytes"]), media_type=f"image/{image.format or 'png'}"))


def usage_of(counted: wire.Usage) -> Usage:
    """The hub's count: `input` includes what was read from the cache and written to it, in classes of five minutes and an hour."""
    read, written = counted.cache_read_input_tokens or 0, counted.cache_write_input_tokens or 0
    hour = min(sum(each.input_tokens or 0 for each in counted.cache_details or [] if each.ttl == "1h"), written)
    return Usage(
        input=(counted.input_tokens or 0) + read + written,
        output=counted.output_tokens or 0,
        cache_read=read,
        cache_write=written - hour,
        cache_write_1h=hour,
    )


def _tier(tier: wire.Tier | None) -> str | None:
    return tier.type if tier is not None else None


def _block(raw: Raw) -> wire.Block:
    try:
        return wire.decode_block(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamUnavailable("bedrock's answer holds a block that cannot be read") from error


def _citation(found: wire.Citation, start: int, end: int) -> Citation:
    """A citation of a document of the request has no URL; its title says which."""
    web = found.location.web if found.location is not None else None
    return Citation(
        url=(web.url if web is not None else None) or found.source or "",
        title=found.title or (web.domain if web is not None else None) or "",
        start_index=min(start, end),
        end_index=end,
        content="".join(each.text or "" for each in found.source_content or []),
    )


def _inner(redacted: str) -> str:
    """What Anthropic itself would have sent: AWS has encoded the text of base64 once more."""
    try:
        return base64.b64decode(redacted, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return redacted


def _json_text(raw: Raw) -> str:
    text = bytes(raw).decode()
    return "{}" if text in ("", "null") else text


def _input_text(raw: Raw) -> str:
    """A piece of arguments: text, in JSON's quotes; an object in case one comes whole."""
    text = bytes(raw)
    return _text(text) if text[:1] == b'"' else "" if text in (b"", b"null") else text.decode()


def _object(text: str) -> Any:
    try:
        return _any(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {"_raw": text}
