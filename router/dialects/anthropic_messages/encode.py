"""The hub lane's way back: events as Anthropic's events, a reply as a message.

Anthropic's streams have one block open at a time. Pieces of a second one wait until the first is whole: a tool's call is when its
arguments are JSON, all others are when something else begins.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from ...errors import RouterError, StreamTruncated, UpstreamUnavailable
from ...events import (
    Choice,
    Event,
    Finish,
    PartDone,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    Start,
    Stop,
    TextDelta,
    ToolDelta,
)
from ...model import AnyPart, Audio, Citation, Image, Note, Opaque, Reasoning, Refusal, Text, ToolCall
from ...sse import frame
from ...wire import anthropic as wire
from .common import cost_members, encode_json, provider_of, stop_reason, usage_object
from .marks import CLAUDE, wrap

if TYPE_CHECKING:
    from ...call import Call

_FAMILY = "anthropic"
_FOREIGN_ID = re.compile(r"[^a-zA-Z0-9_-]")


class Encoder:
    """`Flow` of the hub lane: events in, Anthropic's events out, `call.outcome` filled."""

    def __init__(self, call: Call) -> None:
        self.content = False
        self.done = False
        self._call = call
        self._hide = call.head.exclude_reasoning
        self._metadata = call.metadata is not None
        self._started = False
        #: blocks that are not closed, in order: the first one is open, the others wait
        self._blocks: list[_Block] = []
        self._opened = 0
        self._tools: dict[int, _Tool] = {}
        self._thoughts: dict[int, _Thought] = {}
        #: citations that came before any text
        self._citations: list[Citation] = []
        self._refused = False
        self._stop: Stop | None = None

    # --- what the relay calls ---

    def feed(self, item: bytes | Event) -> bytes:
        """Take one event in, give what may go to the client."""
        outcome = self._call.outcome
        match item:
            case TextDelta(text=text, choice=0) | RefusalDelta(text=text, choice=0):
                self._refused = self._refused or isinstance(item, RefusalDelta)
                outcome.output_chars += len(text)
                return self._text(text) if text else b""
            case ReasoningDelta(choice=0):
                outcome.output_chars += len(item.text)
                return self._thought(item)
            case ToolDelta(choice=0):
                outcome.output_chars += len(item.name) + len(item.arguments)
                return self._tool(item)
            case PartDone(part=Citation() as citation, choice=0):
                return self._citation(citation)
            case PartDone(part=part, choice=0):
                block = whole_block(part)
                return b"" if block is None else self._put(_Whole(block))
            case Start():
                outcome.upstream_id = item.id or outcome.upstream_id
                outcome.service_tier = item.service_tier or outcome.service_tier
                return self._start()
            case Stop():
                return self._end(item)
        return b""

    def end(self) -> None:
        """The events are over. Raises where they are no whole answer, or one that ended in an error."""
        stop = self._stop
        if stop is None:
            raise (StreamTruncated if self.content else UpstreamUnavailable)("the upstream's stream has no end")
        finish = _finish(stop)
        outcome = self._call.outcome
        outcome.usage = stop.usage
        outcome.finish_reason = "tool_calls" if self._tools else finish.reason
        outcome.native_finish_reason = finish.native
        if finish.reason == "error":
            raise UpstreamUnavailable("the upstream ended the answer with an error")

    def final(self) -> bytes:
        """Stop reason with usage, and the end."""
        call = self._call
        assert self._stop is not None
        usage = usage_object(call)
        last: dict[str, Any] = {"type": "message_stop"}
        if self._metadata:
            usage |= cost_members(call)
            if call.metadata is not None:
                last["openrouter_metadata"] = call.metadata
        delta = _ending(_finish(self._stop), called=bool(self._tools), refused=self._refused)
        change = {"type": "message_delta", "delta": delta, "usage": usage}
        return frame(encode_json(change), "message_delta") + frame(encode_json(last), "message_stop")

    # --- events ---

    def _start(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        call = self._call
        # What the prompt has in tokens is known at the end only. Older clients read it here, so they get the estimate.
        usage = {
            "input_tokens": call.head.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        }
        message = _message(call, [], {"stop_reason": None, "stop_sequence": None}, usage)
        return frame(encode_json({"type": "message_start", "message": message}), "message_start")

    def _text(self, text: str) -> bytes:
        delta = b'{"type":"text_delta","text":%b}' % encode_json(text)
        last = self._last()
        if isinstance(last, _Text):
            return self._grow(last, delta)
        block = _Text()
        block.waiting.append(delta)
        block.waiting += [_cited(each) for each in self._citations]
        self._citations.clear()
        return self._put(block)

    def _citation(self, citation: Citation) -> bytes:
        last = self._last()
        if isinstance(last, _Text):
            return self._grow(last, _cited(citation))
        self._citations.append(citation)
        return b""

    def _thought(self, event: ReasoningDelta) -> bytes:
        if event.kind in ("encrypted", "server_tool_call"):
            block = thought_block(
                Reasoning(kind=event.kind, data=event.data, format=event.format, id=event.id), hide=self._hide
            )
            return b"" if block is None else self._put(_Whole(block))
        thought = self._thoughts.get(event.index)
        out = b""
        if thought is None or thought is not self._last():
            if not event.text and not event.signature:
                return b""
            if self._hide and not event.signature and event.format != CLAUDE:
                return b""  # there is nothing to show, and nothing that has to come back
            thought = self._thoughts[event.index] = _Thought(event)
            out = self._put(thought)
        if event.text and not self._hide:
            out += self._grow(thought, b'{"type":"thinking_delta","thinking":%b}' % encode_json(event.text))
        thought.sign(event)
        return out

    def _tool(self, event: ToolDelta) -> bytes:
        tool = self._tools.get(event.index)
        out = b""
        if tool is None:
            name = self._call.head.renamed.get(event.name, event.name)
            tool = self._tools[event.index] = _Tool(event.id, name)
            out = self._put(tool)
        if event.arguments and not tool.closed:
            tool.arguments.append(event.arguments)
            out += self._grow(tool, b'{"type":"input_json_delta","partial_json":%b}' % encode_json(event.arguments))
        return out

    def _end(self, stop: Stop) -> bytes:
        self._stop = stop
        self.done = True
        out = [self._start()]
        while self._blocks:
            out.append(self._close())
        return b"".join(out)

    # --- blocks ---

    def _last(self) -> _Block | None:
        """The block that is not closed and began last."""
        return self._blocks[-1] if self._blocks else None

    def _put(self, block: _Block) -> bytes:
        """A new block, behind all others."""
        self.content = True
        self._blocks.append(block)
        return self._start() + (self._open() if len(self._blocks) == 1 else self._advance())

    def _grow(self, block: _Block, delta: bytes) -> bytes:
        """More of a block: sent if it is the open one."""
        if block is not self._blocks[0]:
            block.waiting.append(delta)
            return b""
        out = self._delta(delta)
        return out + self._advance() if len(self._blocks) > 1 else out

    def _advance(self) -> bytes:
        """Close what is whole and has others waiting behind it."""
        out = []
        while len(self._blocks) > 1 and self._blocks[0].whole():
            out.append(self._close())
        return b"".join(out)

    def _open(self) -> bytes:
        """Begin the first block, with what has waited of it."""
        block = self._blocks[0]
        start = b'{"type":"content_block_start","index":%d,"content_block":%b}' % (self._opened, block.head)
        waiting, block.waiting = block.waiting, []
        return b"".join((frame(start, "content_block_start"), *map(self._delta, waiting)))

    def _close(self) -> bytes:
        """End the first block, and begin the next one."""
        block = self._blocks.pop(0)
        block.closed = True
        out = [self._delta(each) for each in block.tail()]
        out.append(frame(b'{"type":"content_block_stop","index":%d}' % self._opened, "content_block_stop"))
        self._opened += 1
        if self._blocks:
            out.append(self._open())
        return b"".join(out)

    def _delta(self, delta: bytes) -> bytes:
        return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n' % (
            self._opened,
            delta,
        )


class _Block:
    """A content block on its way: how it begins, what has not been sent of it yet."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.waiting: list[bytes] = []
        self.closed = False

    def whole(self) -> bool:
        """True where nothing more can come of it once another block has begun."""
        return True

    def tail(self) -> list[bytes]:
        """The deltas at its end."""
        return []


class _Text(_Block):
    def __init__(self) -> None:
        super().__init__(b'{"type":"text","text":""}')


class _Whole(_Block):
    """A block that comes at once."""

    def __init__(self, block: Any) -> None:
        super().__init__(encode_json(block))


class _Thought(_Block):
    """Thinking; the signature comes last."""

    def __init__(self, event: ReasoningDelta) -> None:
        super().__init__(b'{"type":"thinking","thinking":"","signature":""}')
        self._piece = Reasoning(kind=event.kind, format=event.format, id=event.id)

    def sign(self, event: ReasoningDelta) -> None:
        self._piece.signature = event.signature or self._piece.signature
        self._piece.id = event.id or self._piece.id

    def tail(self) -> list[bytes]:
        signature = _signature(self._piece)
        return [b'{"type":"signature_delta","signature":%b}' % encode_json(signature)] if signature else []


class _Tool(_Block):
    def __init__(self, id: str, name: str) -> None:
        super().__init__(encode_json({"type": "tool_use", "id": tool_id(id), "name": name, "input": {}}))
        self.arguments: list[str] = []

    def whole(self) -> bool:
        try:
            wire.decode_any("".join(self.arguments))
        except (msgspec.DecodeError, RecursionError):
            return False
        return True

    def tail(self) -> list[bytes]:
        # a call without arguments still has to be JSON for the client
        silent = not "".join(self.arguments).strip()
        return [b'{"type":"input_json_delta","partial_json":"{}"}'] if silent else []


# --- parts -----------------------------------------------------------------------------------------------------------


def tool_id(id: str) -> str:
    """An id that Anthropic's clients and models take. Another one is cut, with a digest to tell it from others."""
    if id and not _FOREIGN_ID.search(id):
        return id
    return f"{_FOREIGN_ID.sub('_', id)}_{hashlib.sha256(id.encode()).hexdigest()[:8]}"


def _signature(piece: Reasoning) -> str:
    if piece.format == CLAUDE:
        return piece.signature or ""
    return wrap(piece.kind, piece.format, piece.id and tool_id(piece.id), piece.signature or "")


def thought_block(piece: Reasoning, *, hide: bool) -> Any:
    """A piece of thinking as a block, None where this API has no form for it. `hide`: without its text."""
    match piece.kind:
        case "text" | "summary":
            text, signature = "" if hide else piece.text, _signature(piece)
            if not text and not piece.signature:
                return None
            return {"type": "thinking", "thinking": text, "signature": signature}
        case "encrypted" if piece.data:
            if piece.format == CLAUDE:
                return {"type": "redacted_thinking", "data": piece.data}
            data = wrap("encrypted", piece.format, piece.id and tool_id(piece.id), piece.data)
            return {"type": "redacted_thinking", "data": data}
        case "server_tool_call" if piece.format == CLAUDE:
            return Raw(piece.data.encode())
    return None


def whole_block(part: Image | Audio | Opaque | Citation | Note) -> Any:
    """A part that came whole, as a block; None where this API has no form for it."""
    match part:
        case Opaque(family=family, raw=raw) if family == _FAMILY:
            return raw
        case Image(url=url) if url:
            return {"type": "image", "source": {"type": "url", "url": url}}
        case Image(data=data, media_type=kind) if data:
            return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
        case Audio(transcript=transcript) if transcript:
            return {"type": "text", "text": transcript}
    return None


def _cited(citation: Citation) -> bytes:
    return b'{"type":"citations_delta","citation":%b}' % encode_json(citation_object(citation))


def citation_object(citation: Citation) -> dict[str, Any]:
    """A citation in the form of Anthropic's web search."""
    return {
        "type": "web_search_result_location",
        "url": citation.url,
        "title": citation.title,
        "cited_text": citation.content,
        "encrypted_index": "",
    }


# --- plain answers ---------------------------------------------------------------------------------------------------


def reply(call: Call, given: Reply) -> bytes:
    """The client's body. Raises RouterError where the answer ended in an error, for which this API has no form."""
    choice = given.choices[0]
    if choice.finish.reason == "error":
        raise call.error or RouterError("the upstream ended the answer with an error", kind="provider_unavailable")
    content = list(_content(call, choice))
    called = any(isinstance(part, ToolCall) for part in choice.content)
    refused = any(isinstance(part, Refusal) for part in choice.content)
    usage = usage_object(call)
    if call.metadata is not None:
        usage |= cost_members(call)
    told = _message(call, content, _ending(choice.finish, called=called, refused=refused), usage)
    if call.metadata is not None:
        told["openrouter_metadata"] = call.metadata
    return encode_json(told)


def _message(call: Call, content: list[Any], ending: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": call.id,
        "type": "message",
        "role": "assistant",
        "model": call.model_id,
        "content": content,
        **ending,
        "usage": usage,
    }
    if call.metadata is not None:
        told["provider"] = provider_of(call)
    return told


def _finish(stop: Stop) -> Finish:
    return min(stop.finishes, key=lambda finish: finish.choice, default=Finish())


def _ending(finish: Finish, *, called: bool, refused: bool) -> dict[str, Any]:
    reason = stop_reason(finish.reason, finish.native, finish.stop_sequence, called=called)
    if refused and reason == "end_turn":
        reason = "refusal"
    return {"stop_reason": reason, "stop_sequence": finish.stop_sequence if reason == "stop_sequence" else None}


def _content(call: Call, choice: Choice) -> list[Any]:
    """The blocks of a choice. Citations that name no text of their own go to the first one."""
    blocks: list[Any] = []
    for part in choice.content:
        block = _block(call, part)
        if block is not None:
            blocks.append(block)
    texts = [block for block in blocks if isinstance(block, dict) and block["type"] == "text"]
    if choice.citations and texts:
        texts[0].setdefault("citations", []).extend(citation_object(each) for each in choice.citations)
    return blocks


def _block(call: Call, part: AnyPart) -> Any:
    match part:
        case Text(text=text) | Refusal(text=text):
            block: dict[str, Any] = {"type": "text", "text": text}
            if isinstance(part, Text) and part.citations:
                block["citations"] = [citation_object(each) for each in part.citations]
            return block if text else None
        case Reasoning():
            return thought_block(part, hide=call.head.exclude_reasoning)
        case ToolCall(id=id, name=name, arguments=arguments):
            name = call.head.renamed.get(name, name)
            return {"type": "tool_use", "id": tool_id(id), "name": name, "input": _input(arguments)}
        case Image() | Audio() | Opaque():
            return whole_block(part)
    return None


def _input(arguments: str) -> Any:
    """The arguments of a call as the object that Anthropic's clients want; `_raw` holds what is none."""
    if not arguments.strip():
        return {}
    try:
        value = wire.decode_any(arguments)
    except (msgspec.DecodeError, RecursionError):
        return {"_raw": arguments}
    return Raw(arguments.encode()) if isinstance(value, dict) else {"_raw": arguments}
