"""Cohere's answers as the router's events: whole ones and streams go through the same reader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from router import (
    Citation,
    Event,
    Finish,
    FinishReason,
    Fold,
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

from . import failures

FINISH: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "ERROR_LIMIT": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}


class Counts(Struct):
    """`usage.tokens` and `usage.billed_units`. Cohere writes whole numbers, and calls them floats."""

    input_tokens: float | None = None
    output_tokens: float | None = None
    reasoning_tokens: float | None = None


class Counted(Struct):
    """`usage`."""

    tokens: Counts | None = None
    billed_units: Counts | None = None
    cached_tokens: float | None = None


class Said(Struct):
    """`message`: in a stream one piece of it, each member an object; in a whole answer lists of them."""

    content: Any = None
    tool_plan: str | None = None
    tool_calls: Any = None
    citations: Any = None


class Delta(Struct):
    """`delta` of an event."""

    message: Said | None = None
    finish_reason: str | None = None
    usage: Counted | None = None
    error: str | None = None


class Frame(Struct):
    """An event of a stream."""

    type: str = ""
    id: str | None = None
    index: int | None = None
    delta: Delta | None = None
    logprobs: Any = None
    message: Any = None


class Answer(Struct):
    """A whole answer."""

    id: str | None = None
    message: Said | None = None
    finish_reason: str | None = None
    usage: Counted | None = None
    logprobs: Any = None
    error: str | None = None


_decode_frame = msgspec.json.Decoder(Frame).decode
_decode_answer = msgspec.json.Decoder(Answer).decode
_encode = msgspec.json.Encoder().encode


async def events(stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
    """A stream. Its end is `message-end`; what may come behind it is passed over."""
    reader = Reader()
    async for message in stream:
        if not message.data or message.data.startswith("[DONE]"):
            continue
        for event in reader.read(message.data):
            yield event
        if reader.done:
            return
    raise StreamTruncated("cohere closed the stream before message-end")


def reply(body: bytes) -> Reply:
    """A whole answer. Raises an UpstreamError where it is none."""
    try:
        answer = _decode_answer(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamUnavailable("the upstream's answer cannot be read") from error
    if answer.message is None or answer.finish_reason is None:
        raise UpstreamUnavailable("the upstream's answer is empty")
    reader, fold = Reader(), Fold()
    for event in reader.whole(answer, answer.message):
        fold.add(event)
    return fold.reply


class Reader:
    """Reads events of a stream, or one whole answer, into the hub's. `done`: the end has come."""

    def __init__(self) -> None:
        self.done = False
        self._tools: dict[int, int] = {}
        self._written: set[int] = set()
        self._thoughts: dict[str, int] = {}
        #: where the text of each block begins in the text of the message, in characters
        self._starts: dict[int, int] = {}
        self._length = 0

    def read(self, data: str) -> Iterator[Event]:
        """The events of one event."""
        try:
            frame = _decode_frame(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UpstreamUnavailable("the upstream's answer cannot be read") from error
        delta = frame.delta or _NOTHING
        said = delta.message or _SILENCE
        index = frame.index or 0
        match frame.type:
            case "content-delta":
                yield from self._block(index, said.content, frame.logprobs)
            case "tool-call-delta":
                yield from self._arguments(index, said.tool_calls)
            case "tool-plan-delta":
                yield from self._think("plan", said.tool_plan)
            case "message-start":
                yield Start(id=frame.id or "")
            case "content-start":
                yield from self._block(index, said.content, None)
            case "tool-call-start":
                yield from self._call(index, said.tool_calls)
            case "tool-call-end":
                yield from self._called(index)
            case "citation-start":
                yield from self._citation(said.citations)
            case "message-end":
                yield self._end(delta.finish_reason, delta.usage, delta.error)
            case "" if isinstance(frame.message, str):  # an error in the form of an answer that failed
                raise failures.error(500, {}, data.encode())

    def whole(self, answer: Answer, said: Said) -> Iterator[Event]:
        """The events of a whole answer."""
        yield Start(id=answer.id or "")
        yield from self._think("plan", said.tool_plan)
        blocks = said.content if isinstance(said.content, list) else []
        texts = [index for index, block in enumerate(blocks) if isinstance(block, dict) and block.get("type") == "text"]
        for index, block in enumerate(blocks):
            yield from self._block(index, block, answer.logprobs if index in texts[:1] else None)
        for index, call in enumerate(said.tool_calls or ()):
            yield from self._call(index, call)
            yield from self._called(index)
        for citation in said.citations or ():
            yield from self._citation(citation)
        yield self._end(answer.finish_reason, answer.usage, answer.error)

    # --- pieces ---

    def _block(self, index: int, block: Any, logprobs: Any) -> Iterator[Event]:
        if not isinstance(block, dict):
            return
        if thought := block.get("thinking"):
            yield from self._think(f"block {index}", thought)
        self._starts.setdefault(index, self._length)
        text, told = block.get("text") or "", _logprobs(logprobs)
        if text or told is not None:
            self._length += len(text)
            yield TextDelta(text=text, logprobs=told)

    def _think(self, place: str, text: str | None) -> Iterator[Event]:
        """The plan of tool calls is thinking too."""
        if text:
            yield ReasoningDelta(index=self._thoughts.setdefault(place, len(self._thoughts)), text=text)

    def _call(self, index: int, call: Any) -> Iterator[Event]:
        if isinstance(call, dict) and isinstance(function := call.get("function"), dict):
            at = self._tools[index] = len(self._tools)
            yield ToolDelta(index=at, id=str(call.get("id") or ""), name=str(function.get("name") or ""))
            yield from self._arguments(index, call)

    def _arguments(self, index: int, call: Any) -> Iterator[Event]:
        function = call.get("function") if isinstance(call, dict) else None
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if arguments and index in self._tools:
            self._written.add(index)
            yield ToolDelta(index=self._tools[index], arguments=arguments)

    def _called(self, index: int) -> Iterator[Event]:
        """A call without arguments has none in a stream, and `{}` in a whole answer."""
        if index in self._tools and index not in self._written:
            yield ToolDelta(index=self._tools[index], arguments="{}")

    def _citation(self, given: Any) -> Iterator[Event]:
        """A URL citation for each source. Citations of plans and thoughts have no place in the text."""
        if not isinstance(given, dict) or given.get("type", "TEXT_CONTENT") != "TEXT_CONTENT":
            return
        before = self._starts.get(given.get("content_index") or 0, 0)
        for source in given.get("sources") or ():
            if isinstance(source, dict):
                yield PartDone(
                    part=_citation(source, before + _int(given.get("start")), before + _int(given.get("end")))
                )

    def _end(self, reason: str | None, counted: Counted | None, message: str | None) -> Stop:
        if (failed := failures.ended(reason or "", message or "")) is not None:
            raise failed
        self.done = True
        finish = FINISH.get(reason or "", "stop")
        return Stop(
            finishes=[Finish(reason="tool_calls" if self._tools else finish, native=reason)], usage=_usage(counted)
        )


_NO_COUNTS = Counts()
_NOTHING = Delta()
_SILENCE = Said()


def _citation(source: dict[str, Any], start: int, end: int) -> Citation:
    """The source may be a document of the request's or the answer of a tool; its id stands in where it has no address."""
    about = source.get("document") or source.get("tool_output")
    about = about if isinstance(about, dict) else {}
    text = next((each for name in ("text", "snippet", "content") if isinstance(each := about.get(name), str)), "")
    return Citation(
        url=str(about.get("url") or source.get("id") or ""),
        title=str(about.get("title") or ""),
        start_index=start,
        end_index=end,
        content=text,
    )


def _usage(counted: Counted | None) -> Usage | None:
    """What the model read and wrote: the prompt with what Cohere puts around it. Fewer tokens of these are billed."""
    if counted is None or (tokens := counted.tokens or counted.billed_units) is None:
        return None
    if not (tokens.input_tokens or tokens.output_tokens):
        return None
    billed = counted.billed_units or _NO_COUNTS
    return Usage(
        input=int(tokens.input_tokens or 0),
        output=int(tokens.output_tokens or 0),
        reasoning=int(tokens.reasoning_tokens or 0),
        cache_read=int(counted.cached_tokens or 0),
        billed_input=int(billed.input_tokens or 0),
        billed_output=int(billed.output_tokens or 0),
    ).clamped()


def _logprobs(given: Any) -> Raw | None:
    """OpenAI's `logprobs` object. Cohere tells a piece of text and the logarithms of its tokens: the text's is their sum."""
    pieces = given if isinstance(given, list) else [given]
    content = [
        {
            "token": text,
            "logprob": sum(each for each in piece.get("logprobs") or () if isinstance(each, int | float)),
            "bytes": list(text.encode()),
            "top_logprobs": [],
        }
        for piece in pieces
        if isinstance(piece, dict) and isinstance(text := piece.get("text"), str)
    ]
    return Raw(_encode({"content": content, "refusal": None})) if content else None


def _int(value: Any) -> int:
    return value if isinstance(value, int) else 0
