"""Ollama's answers as the router's events: a whole answer is a stream of one line."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from router import (
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

from . import failures

FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class Function(Struct):
    """The function of a call. `arguments` is an object; text from some models' templates."""

    name: str = ""
    arguments: Any = None


class Call(Struct):
    """A call, always whole. Servers of 2025 and later give it an id."""

    function: Function
    id: str | None = None


class Said(Struct):
    """`message`."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None
    images: list[str] | None = None


class Line(Struct):
    """A line of a stream, or a whole answer. Durations are left out: nobody asks for them."""

    model: str = ""
    created_at: str = ""
    message: Said | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Raw = Raw()


_decode = msgspec.json.Decoder(Line).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


async def events(stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
    """A stream. Its end is the line with `done`."""
    reader = Reader()
    async for message in stream:
        for event in reader.read(message.data):
            yield event
        if reader.done:
            return
    raise StreamTruncated("ollama closed the stream before it was done")


def reply(body: bytes) -> Reply:
    """A whole answer. Raises an UpstreamError where it is none."""
    reader, fold = Reader(), Fold()
    for event in reader.read(body):
        fold.add(event)
    if not reader.done:
        raise UpstreamUnavailable("the upstream's answer is empty")
    return fold.reply


class Reader:
    """Reads lines into the hub's events. `done`: the end has come."""

    def __init__(self) -> None:
        self.done = False
        self._started = False
        self._tools = 0

    def read(self, data: str | bytes) -> Iterator[Event]:
        """The events of one line."""
        line = _line(data)
        if not self._started:
            self._started = True
            yield Start(model=line.model)
        if (said := line.message) is not None:
            if said.thinking:
                yield ReasoningDelta(text=said.thinking)
            if said.content:
                yield TextDelta(text=said.content)
            for call in said.tool_calls or ():
                yield self._call(call, line.created_at)
            for image in said.images or ():
                yield PartDone(part=Image(data=image, media_type="image/png"))
        if line.done:
            self.done = True
            yield self._end(line)

    def _call(self, call: Call, at: str) -> ToolDelta:
        """`at` is the moment of the answer: it makes an id for a call without one, the same however the bytes were cut."""
        given = call.function.arguments
        arguments = given if isinstance(given, str) else _encode(given or {}).decode()
        index = self._tools
        self._tools += 1
        id = call.id or _invented(f"{at}/{index}/{call.function.name}/{arguments}")
        return ToolDelta(index=index, id=id, name=call.function.name, arguments=arguments)

    def _end(self, line: Line) -> Stop:
        reason = "tool_calls" if self._tools else FINISH.get(line.done_reason or "", "stop")
        return Stop(finishes=[Finish(reason=reason, native=line.done_reason)], usage=_usage(line))


def _usage(line: Line) -> Usage | None:
    """A prompt that was still in the cache is not counted by servers before 2025: then nobody knows what it was."""
    if not line.prompt_eval_count:
        return None
    return Usage(input=line.prompt_eval_count, output=line.eval_count or 0).clamped()


def _invented(seed: str) -> str:
    return "call_" + hashlib.sha256(seed.encode()).hexdigest()[:24]


def _line(data: str | bytes) -> Line:
    try:
        line = _decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        if "truncated" in str(error):
            raise StreamTruncated("ollama closed the stream within a line") from error
        raise UpstreamUnavailable("the upstream's answer cannot be read") from error
    if line.error and bytes(line.error) != b"null":
        raise failures.error(500, {}, data.encode() if isinstance(data, str) else data)
    return line
