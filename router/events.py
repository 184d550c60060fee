"""Answers in the hub's vocabulary: a stream of typed events, and the same folded into a whole `Reply`.

A stream is one `Start`, any deltas, then exactly one `Stop`, or an exception. Deltas carry `choice` for n > 1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Literal

import msgspec
from msgspec import Raw, Struct, field

from .model import AnyPart, Audio, Citation, FinishReason, Image, Note, Opaque, Reasoning, Refusal, Text, ToolCall
from .prices import Usage


class Start(Struct, kw_only=True):
    """The first event: who answers. `id` is the upstream's id of the answer ("" if it has none).

    `usage` is what it says of the prompt here already: a client that leaves is charged by it.
    """

    id: str = ""
    model: str = ""
    service_tier: str | None = None
    system_fingerprint: str | None = None
    usage: Usage | None = None


class TextDelta(Struct, kw_only=True):
    """More text. `logprobs` is OpenAI's `logprobs` object of a chunk, as JSON."""

    text: str
    choice: int = 0
    logprobs: Raw | None = None


class RefusalDelta(Struct, kw_only=True):
    """More of a refusal."""

    text: str
    choice: int = 0


class ReasoningDelta(Struct, kw_only=True):
    """More thinking. A new `index` starts a new piece; members as in `Reasoning`.

    `signature` and `data` come whole, usually as the last delta of their piece.
    """

    index: int = 0
    kind: Literal["text", "summary", "encrypted", "server_tool_call"] = "text"
    text: str = ""
    signature: str | None = None
    data: str = ""
    format: str = "unknown"
    id: str | None = None
    choice: int = 0


class ToolDelta(Struct, kw_only=True):
    """A piece of a tool call: `id` and `name` in its first delta, then fragments of the JSON text of its arguments.

    `index` counts the tool calls of a choice from 0 without gaps.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    choice: int = 0


class PartDone(Struct, kw_only=True):
    """A part that arrives whole: an image, audio, a citation, a note, an unknown block."""

    part: Image | Audio | Citation | Note | Opaque
    choice: int = 0


class Finish(Struct, kw_only=True):
    """How one choice ended. `native` is the upstream's own word."""

    choice: int = 0
    reason: FinishReason = "stop"
    native: str | None = None
    stop_sequence: str | None = None


class Stop(Struct, kw_only=True):
    """The last event. `usage` None: the upstream did not say."""

    finishes: list[Finish] = field(default_factory=lambda: [Finish()])
    usage: Usage | None = None


Event = Start | TextDelta | RefusalDelta | ReasoningDelta | ToolDelta | PartDone | Stop
#: events that count as content: after one of these reached the client nothing falls over any more
CONTENT_EVENTS = (TextDelta, RefusalDelta, ReasoningDelta, ToolDelta, PartDone)

# --- reply -----------------------------------------------------------------------------------------------------------


class Choice(Struct, kw_only=True):
    """One answer of n. `logprobs` is OpenAI's object, as JSON."""

    index: int = 0
    content: list[AnyPart] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    finish: Finish = field(default_factory=Finish)
    logprobs: Raw | None = None

    @property
    def text(self) -> str:
        """All text of this choice."""
        return "".join(part.text for part in self.content if isinstance(part, Text))


class Reply(Struct, kw_only=True):
    """A whole answer: the events folded, and the other way round."""

    id: str = ""
    model: str = ""
    choices: list[Choice] = field(default_factory=list)
    usage: Usage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None

    @classmethod
    async def from_events(cls, events: AsyncIterator[Event]) -> Reply:
        """Fold a stream into the answer that it spells."""
        fold = Fold()
        async for event in events:
            fold.add(event)
        return fold.reply

    def events(self) -> Iterator[Event]:
        """The stream that folds to this answer: one delta per part."""
        yield Start(
            id=self.id, model=self.model, service_tier=self.service_tier, system_fingerprint=self.system_fingerprint
        )
        for choice in self.choices:
            yield from _choice_events(choice)
        yield Stop(finishes=[choice.finish for choice in self.choices], usage=self.usage)


def _choice_events(choice: Choice) -> Iterator[Event]:
    tools = thoughts = 0
    logprobs = choice.logprobs
    for part in choice.content:
        match part:
            case Text(text=text):
                yield TextDelta(text=text, choice=choice.index, logprobs=logprobs)
                logprobs = None
            case Refusal(text=text):
                yield RefusalDelta(text=text, choice=choice.index)
            case Reasoning():
                yield ReasoningDelta(
                    index=thoughts,
                    kind=part.kind,
                    text=part.text,
                    signature=part.signature,
                    data=part.data,
                    format=part.format,
                    id=part.id,
                    choice=choice.index,
                )
                thoughts += 1
            case ToolCall(id=id, name=name, arguments=arguments):
                yield ToolDelta(index=tools, id=id, name=name, arguments=arguments, choice=choice.index)
                tools += 1
            case Image() | Audio() | Opaque():
                yield PartDone(part=part, choice=choice.index)
    for citation in choice.citations:
        yield PartDone(part=citation, choice=choice.index)
    for note in choice.notes:
        yield PartDone(part=note, choice=choice.index)


class Fold:
    """Folds events into a `Reply`, one at a time; `reply` is valid at any moment."""

    def __init__(self) -> None:
        self.reply = Reply()
        self._choices: dict[int, Choice] = {}
        self._tools: dict[tuple[int, int], ToolCall] = {}
        self._thoughts: dict[tuple[int, int], Reasoning] = {}

    def add(self, event: Event) -> None:
        """Take one event in."""
        match event:
            case TextDelta():
                self._text(self._choice(event.choice), event)
            case ReasoningDelta():
                self._reasoning(event)
            case ToolDelta():
                self._tool(event)
            case RefusalDelta():
                content = self._choice(event.choice).content
                if content and isinstance(content[-1], Refusal):
                    content[-1].text += event.text
                else:
                    content.append(Refusal(text=event.text))
            case PartDone(part=Citation() as citation):
                self._choice(event.choice).citations.append(citation)
            case PartDone(part=Note() as note):
                self._choice(event.choice).notes.append(note)
            case PartDone(part=part):
                self._choice(event.choice).content.append(part)  # type: ignore[arg-type]
            case Start():
                self.reply.id, self.reply.model = event.id, event.model
                self.reply.service_tier, self.reply.system_fingerprint = event.service_tier, event.system_fingerprint
            case Stop():
                self.reply.usage = event.usage
                for finish in event.finishes:
                    self._choice(finish.choice).finish = finish

    def _choice(self, index: int) -> Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = Choice(index=index)
            self.reply.choices.append(choice)
            self.reply.choices.sort(key=lambda each: each.index)
        return choice

    def _text(self, choice: Choice, event: TextDelta) -> None:
        if choice.content and isinstance(last := choice.content[-1], Text):
            last.text += event.text
        elif event.text:
            choice.content.append(Text(text=event.text))
        if event.logprobs is not None:
            choice.logprobs = _join_logprobs(choice.logprobs, event.logprobs)

    def _reasoning(self, event: ReasoningDelta) -> None:
        key = (event.choice, event.index)
        piece = self._thoughts.get(key)
        if piece is None:
            piece = self._thoughts[key] = Reasoning(kind=event.kind, format=event.format)
            self._choice(event.choice).content.append(piece)
        piece.text += event.text
        piece.data += event.data
        piece.signature = event.signature or piece.signature
        piece.id = event.id or piece.id

    def _tool(self, event: ToolDelta) -> None:
        key = (event.choice, event.index)
        call = self._tools.get(key)
        if call is None:
            call = self._tools[key] = ToolCall(id=event.id, name=event.name)
            self._choice(event.choice).content.append(call)
        call.arguments += event.arguments


_Logprobs = dict[str, list[Raw] | None]
_decode_logprobs = msgspec.json.Decoder(_Logprobs).decode


def _join_logprobs(first: Raw | None, second: Raw) -> Raw:
    if first is None:
        return second
    joined, more = _decode_logprobs(first), _decode_logprobs(second)
    for name, entries in more.items():
        joined[name] = [*(joined.get(name) or []), *(entries or [])] or None
    return Raw(msgspec.json.encode(joined))
