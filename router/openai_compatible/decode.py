"""What an OpenAI-compatible upstream answers, in the hub's events, whatever its deviations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
from msgspec import Raw

from ..errors import StreamTruncated, UpstreamUnavailable
from ..events import (
    Event,
    Finish,
    Fold,
    PartDone,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    Start,
    Stop,
    TextDelta,
    ToolDelta,
)
from ..model import Audio, Citation, Image
from ..openai_words import ErrorReader, ToolCalls, failure, legacy_call, merge_usage, reason_of, text_of, usage_of
from ..sse import MessageEvent
from ..wire import openai as wire
from .think import ThinkTags


async def events(
    stream: AsyncIterator[MessageEvent], read_error: ErrorReader, *, think_tags: bool = False
) -> AsyncIterator[Event]:
    """A stream of chunks. Raises StreamTruncated where neither finish reasons nor `[DONE]` came."""
    reader = Reader(read_error, think_tags=think_tags)
    done = False
    async for message in stream:
        if message.data.startswith("[DONE]"):
            done = True
            break
        if message.data:
            for event in reader.read(message.data):
                yield event
    for event in reader.end(done):
        yield event


def reply(body: bytes, read_error: ErrorReader, *, think_tags: bool = False) -> Reply:
    """A whole answer. Raises an UpstreamError where it is none."""
    reader, fold = Reader(read_error, think_tags=think_tags, whole=True), Fold()
    if not body.strip():
        raise UpstreamUnavailable("the upstream's answer is empty")
    for event in reader.read(body):
        fold.add(event)
    for event in reader.end(done=True):
        fold.add(event)
    return fold.reply


class Reader:
    """Reads chunks, or one `whole` answer, into events."""

    def __init__(self, read_error: ErrorReader, *, think_tags: bool = False, whole: bool = False) -> None:
        self._read_error = read_error
        self._whole = whole
        self._think_tags = think_tags
        self._choices: dict[int, _Choice] = {}
        self._counted: dict[str, Any] = {}
        self._sources: list[Citation] = []
        self._started = False

    def read(self, data: str | bytes) -> list[Event]:
        """The events of one chunk."""
        try:
            chunk = wire.decode_chunk(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamUnavailable("the upstream's answer cannot be read") from error
        if chunk.usage:
            merge_usage(self._counted, chunk.usage)
        if chunk.x_groq is not None:
            merge_usage(self._counted, chunk.x_groq.usage)
        self._look_for_error(chunk, data)
        events: list[Event] = []
        if not self._started and chunk.choices:
            self._started = True
            events.append(_start(chunk))
        if chunk.search_results or chunk.citations:
            self._sources = _sources(chunk)
        for given in chunk.choices or ():
            index = given.index if isinstance(given.index, int) else 0
            choice = self._choices.get(index)
            if choice is None:
                choice = self._choices[index] = _Choice(index, self._think_tags, self._whole)
            choice.read(given, events)
        return events

    def _look_for_error(self, chunk: wire.Chunk, data: str | bytes) -> None:
        error = chunk.error
        if chunk.object == "error" and not chunk.choices:
            error = Raw(data.encode() if isinstance(data, str) else data)
        for choice in chunk.choices or ():
            error = choice.error or error
        if wire.given(error):
            raise failure(error, self._read_error)

    def end(self, done: bool) -> list[Event]:
        """What comes last; `done`: the upstream said that it has ended."""
        if not self._choices:
            raise UpstreamUnavailable("the upstream's answer is empty")
        if not done and any(choice.word is None for choice in self._choices.values()):
            raise StreamTruncated("the upstream's stream ended without a finish reason")
        events: list[Event] = []
        for choice in self._choices.values():
            choice.end(events)
        events += [PartDone(part=source) for source in self._sources]
        finishes = [self._choices[index].finish() for index in sorted(self._choices)]
        events.append(Stop(finishes=finishes, usage=usage_of(self._counted)))
        return events


def _start(chunk: wire.Chunk) -> Start:
    return Start(
        id=_word(chunk.id) or "",
        model=_word(chunk.model) or "",
        service_tier=_word(chunk.service_tier),
        system_fingerprint=_word(chunk.system_fingerprint),
    )


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _sources(chunk: wire.Chunk) -> list[Citation]:
    """Perplexity names its sources beside the choices (2026-08)."""
    found = [
        Citation(url=each["url"], title=text_of(each.get("title")))
        for each in _objects(chunk.search_results)
        if isinstance(each.get("url"), str)
    ]
    given = chunk.citations if isinstance(chunk.citations, list) else ()
    return found or [Citation(url=each) for each in given if isinstance(each, str)]


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, nothing where it is none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


class _Choice:
    """One choice while it is read."""

    def __init__(self, index: int, think_tags: bool, whole: bool) -> None:
        self.index = index
        self.word: str | None = None
        self.native: str | None = None
        self._whole = whole
        self._calls = ToolCalls()
        self._tags = ThinkTags() if think_tags else None
        self._thought: tuple[Any, ...] | None = None
        self._thoughts = -1
        self._audio: Audio | None = None

    def read(self, given: wire.Choice, events: list[Event]) -> None:
        """Add the events of this choice in one chunk."""
        # Perplexity sends both: in a stream the message is all that was said so far (2026-08)
        delta = (given.message or given.delta) if self._whole else (given.delta or given.message)
        if delta is not None:
            self._read(delta, given.logprobs, events)
        if given.finish_reason:
            self.word = text_of(given.finish_reason)
            self.native = text_of(given.native_finish_reason) or self.word
            if self.word == "error":
                raise UpstreamUnavailable("the upstream ended the answer with an error")

    def _read(self, delta: wire.Delta, logprobs: Raw, events: list[Event]) -> None:
        if delta.reasoning or delta.reasoning_content or delta.reasoning_details:
            events += self._reasoning(delta)
        if delta.content or logprobs:
            events += self._content(delta.content, logprobs)
        if delta.refusal:
            events.append(RefusalDelta(text=text_of(delta.refusal), choice=self.index))
        if delta.tool_calls or delta.function_call:
            events += self._tools(delta)
        if delta.images or delta.annotations or delta.audio or delta.executed_tools:
            events += self._parts(delta)

    def end(self, events: list[Event]) -> None:
        """Add what was held back."""
        if self._tags is not None:
            events += self._tagged(self._tags.close())
        if self._audio is not None:
            events.append(PartDone(part=self._audio, choice=self.index))

    def finish(self) -> Finish:
        """How it ended."""
        return Finish(choice=self.index, reason=reason_of(self.word, bool(self._calls)), native=self.native)

    def _content(self, content: Any, logprobs: Raw) -> Iterator[Event]:
        if isinstance(content, list):
            yield from self._blocks(content)
            return
        text = text_of(content)
        kept = logprobs if wire.given(logprobs) else None
        if not text and kept is None:
            return
        if self._tags is not None:
            yield from self._tagged(self._tags.feed(text))
        else:
            yield TextDelta(text=text, choice=self.index, logprobs=kept)

    def _tagged(self, pieces: list[tuple[bool, str]]) -> Iterator[Event]:
        for thought, text in pieces:
            yield self._think("text", text) if thought else TextDelta(text=text, choice=self.index)

    def _blocks(self, blocks: list[Any]) -> Iterator[Event]:
        """Content as parts: text, and Mistral's way of thinking."""
        for block in _objects(blocks):
            if block.get("type") == "thinking":
                inner = block.get("thinking")
                texts = [text_of(each.get("text")) for each in _objects(inner)]
                if thought := "".join(texts) if isinstance(inner, list) else text_of(inner):
                    yield self._think("text", thought)
            elif text := text_of(block.get("text")):
                yield TextDelta(text=text, choice=self.index)

    def _reasoning(self, delta: wire.Delta) -> Iterator[Event]:
        """Details where there are some, else the plain text under either name."""
        found = _objects(delta.reasoning_details)
        for each in found:
            yield self._detail(each)
        if not found and (text := text_of(delta.reasoning or delta.reasoning_content)):
            yield self._think("text", text)

    def _detail(self, given: dict[str, Any]) -> ReasoningDelta:
        kind = str(given.get("type", "")).removeprefix("reasoning.")
        known = kind if kind in ("text", "summary", "encrypted", "server_tool_call") else "text"
        # an encrypted piece comes whole, and two of them are two
        number = (self._thoughts, given.get("data")) if known == "encrypted" else given.get("index")
        text = text_of(given.get("summary") if known == "summary" else given.get("text"))
        thought = self._think(known, text, number)
        thought.signature = _word(given.get("signature"))
        thought.data = text_of(given.get("data"))
        thought.format = _word(given.get("format")) or "unknown"
        thought.id = _word(given.get("id"))
        return thought

    def _think(self, kind: Any, text: str, number: Any = None) -> ReasoningDelta:
        if self._thought != (kind, number):
            self._thought = (kind, number)
            self._thoughts += 1
        return ReasoningDelta(index=self._thoughts, kind=kind, text=text, choice=self.index)

    def _tools(self, delta: wire.Delta) -> Iterator[Event]:
        given = list(delta.tool_calls or ())
        if legacy_call(delta):
            given.append(wire.ToolFragment(index=0, function=delta.function_call or None))
        for each in self._calls.add(given):
            yield ToolDelta(index=each.index, id=each.id, name=each.name, arguments=each.arguments, choice=self.index)

    def _parts(self, delta: wire.Delta) -> Iterator[Event]:
        for image in _objects(delta.images):
            if (made := image_of(image)) is not None:
                yield PartDone(part=made, choice=self.index)
        for note in _objects(delta.annotations):
            if (cited := citation_of(note)) is not None:
                yield PartDone(part=cited, choice=self.index)
        for tool in _objects(delta.executed_tools):
            for source in _found(tool.get("search_results")):
                yield PartDone(part=source, choice=self.index)
        if isinstance(delta.audio, dict):
            self._hear(delta.audio)

    def _hear(self, given: dict[str, Any]) -> None:
        """Audio comes in pieces; it goes on whole."""
        if not any(given.get(name) for name in ("id", "data", "transcript")):
            return
        audio = self._audio = self._audio or Audio()
        audio.id = _word(given.get("id")) or audio.id
        audio.data += text_of(given.get("data"))
        audio.transcript = (audio.transcript or "") + text_of(given.get("transcript"))
        audio.expires_at = given.get("expires_at") or audio.expires_at


def _found(given: Any) -> list[Citation]:
    """What a search found that Groq ran itself (2026-08)."""
    results = _objects(given.get("results")) if isinstance(given, dict) else []
    return [
        Citation(url=each["url"], title=text_of(each.get("title")), content=text_of(each.get("content")))
        for each in results
        if isinstance(each.get("url"), str)
    ]


def image_of(given: dict[str, Any]) -> Image | None:
    """An entry of `images`."""
    inner = given.get("image_url")
    url = inner.get("url") if isinstance(inner, dict) else inner
    if not isinstance(url, str) or not url:
        return None
    if not url.startswith("data:"):
        return Image(url=url)
    head, _, data = url[5:].partition(",")
    return Image(data=data, media_type=head.partition(";")[0])


def citation_of(given: dict[str, Any]) -> Citation | None:
    """An entry of `annotations`."""
    inner = given.get("url_citation")
    if not isinstance(inner, dict) or not isinstance(inner.get("url"), str):
        return None
    start, end = inner.get("start_index"), inner.get("end_index")
    return Citation(
        url=inner["url"],
        title=text_of(inner.get("title")),
        start_index=start if isinstance(start, int) else 0,
        end_index=end if isinstance(end, int) else 0,
        content=text_of(inner.get("content")),
    )
