"""Gemini's answers as the router's: whole ones and streams go through the same reader."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
from msgspec import Raw

from router import (
    Audio,
    Event,
    Finish,
    Fold,
    Image,
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
    Usage,
)
from router.wire.gemini import (
    FINISH,
    FINISH_NUMBERS,
    Answer,
    Blob,
    Candidate,
    FunctionCall,
    LogprobsResult,
    ModalityTokens,
    Part,
    RawAnswer,
    TokenLogprob,
    UsageMetadata,
)

from .arguments import Arguments
from .citations import Sources
from .contents import FORMAT
from .errors import error_inside
from .traits import traits

_TIERS = {"standard": "default"}

_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_raw = msgspec.json.Decoder(RawAnswer).decode
_decode_array = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode


def reply(body: bytes) -> Reply:
    """A whole answer; also an array of the events of a stream, which Google sends without `alt=sse`."""
    reader, fold = Reader(), Fold()
    pieces = [bytes(each) for each in _array(body)] if body.lstrip()[:1] == b"[" else [body]
    for piece in pieces:
        for event in reader.read(piece):
            fold.add(event)
    for event in reader.end(whole=True):
        fold.add(event)
    return fold.reply


async def events(stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
    """A stream: whole answers, one after the other, each with more of the text.

    There is no end mark. A stream is complete when each candidate has told its reason; older models tell one in every event, and
    usage comes in every event too, so all is read to the end of the body.
    """
    reader = Reader()
    async for message in stream:
        for event in reader.read(message.data):
            yield event
    for event in reader.end():
        yield event


class Reader:
    """Turns answers into events, one answer at a time."""

    def __init__(self) -> None:
        self._started = False
        self._id = ""
        self._model = ""
        self._blocked: str | None = None
        self._usage = UsageMetadata()
        self._choices: dict[int, _Choice] = {}

    def read(self, data: bytes | str) -> Iterator[Event]:
        """Take one answer in. Raises UpstreamError where it says that it failed, or cannot be read."""
        answer = _answer(data)
        if answer.usage_metadata is not None:
            self._merge(answer.usage_metadata)
        if not self._started:
            self._started = True
            self._id, self._model = answer.response_id or "", answer.model_version or ""
            tier = answer.usage_metadata.service_tier if answer.usage_metadata else None
            yield Start(id=self._id, model=self._model, service_tier=_TIERS.get(tier or "", tier), usage=self._total(0))
        if answer.prompt_feedback is not None:
            self._blocked = answer.prompt_feedback.block_reason or self._blocked
        for number, candidate in enumerate(answer.candidates or ()):
            index = candidate.index or 0
            choice = self._choices.get(index)
            if choice is None:
                choice = self._choices[index] = _Choice(index, self._id)
            yield from choice.read(candidate, data, number)

    def end(self, *, whole: bool = False) -> Iterator[Event]:
        """The end of the body. Raises StreamTruncated where it came too early; a `whole` answer cannot be cut."""
        if self._blocked is None:
            if not self._choices and whole:
                raise UpstreamUnavailable("the upstream's answer is empty")
            if not self._choices or not (whole or all(choice.reason for choice in self._choices.values())):
                raise StreamTruncated("the upstream closed the stream before it told why it finished")
        choices = sorted(self._choices.values(), key=lambda each: each.index)
        for choice in choices:
            yield from choice.end()
        finishes = [choice.finish(self._blocked) for choice in choices]
        if not finishes:
            finishes = [Finish(reason="content_filter", native=self._blocked)]
        yield Stop(finishes=finishes, usage=self._total(sum(choice.sources.queries for choice in choices)))

    def _merge(self, counted: UsageMetadata) -> None:
        """Field by field: a later answer that leaves a count out, or has 0, erases nothing."""
        for name in UsageMetadata.__struct_fields__:
            if value := getattr(counted, name):
                setattr(self._usage, name, value)

    def _total(self, queries: int) -> Usage | None:
        counted = self._usage
        if not (counted.prompt_token_count or counted.candidates_token_count or counted.thoughts_token_count):
            return None
        thoughts = counted.thoughts_token_count or 0
        return Usage(
            input=(counted.prompt_token_count or 0) + (counted.tool_use_prompt_token_count or 0),
            output=(counted.candidates_token_count or 0) + thoughts,
            reasoning=thoughts,
            cache_read=counted.cached_content_token_count or 0,
            audio_input=_of(counted.prompt_tokens_details, "AUDIO"),
            image_input=_of(counted.prompt_tokens_details, "IMAGE"),
            audio_output=_of(counted.candidates_tokens_details, "AUDIO"),
            image_output=_of(counted.candidates_tokens_details, "IMAGE"),
            # before Gemini 3 Google charges a search per answer, since then per query
            searches=queries if traits(self._model).signed_calls else min(queries, 1),
        )


class _Choice:
    """One candidate while it is read. `id` is the answer's."""

    def __init__(self, index: int, id: str) -> None:
        self.index = index
        self.reason: str | None = None
        self.sources = Sources()
        self._id = id
        self._texts: list[str] = []
        self._pieces = 0
        self._thinking = False
        self._tools = 0
        self._open: Arguments | None = None

    def read(self, candidate: Candidate, data: bytes | str, number: int) -> Iterator[Event]:
        """Take in what an answer says of this candidate, the `number`-th in `data`."""
        logprobs = _logprobs(candidate.logprobs_result) if candidate.logprobs_result is not None else None
        parts = (candidate.content.parts if candidate.content is not None else None) or ()
        for place, part in enumerate(parts):
            if part.thought:
                yield from self._thought(part)
                continue
            if part.text:
                self._thinking = False
                self._texts.append(part.text)
                yield TextDelta(text=part.text, choice=self.index, logprobs=logprobs)
                logprobs = None
            elif part.function_call is not None:
                yield from self._call(part.function_call, part.thought_signature)
                continue
            elif part.text is None:
                server_tool = _runs_itself(part)
                yield from self._other(part, _raw_part(data, number, place), server_tool=server_tool)
                if server_tool:
                    continue
            if part.thought_signature:
                yield self._encrypted(part.thought_signature)
        if logprobs is not None:
            yield TextDelta(text="", choice=self.index, logprobs=logprobs)
        self.sources.add(candidate.grounding_metadata, candidate.citation_metadata)
        if (reason := candidate.finish_reason) is not None:
            self.reason = FINISH_NUMBERS.get(reason, str(reason)) if isinstance(reason, int) else reason

    def end(self) -> Iterator[Event]:
        """What had to wait for the end."""
        if self._open is not None:
            yield self._arguments(self._open.text())
        for citation in self.sources.citations("".join(self._texts)):
            yield PartDone(part=citation, choice=self.index)

    def finish(self, blocked: str | None) -> Finish:
        """How it ended. Any call makes it `tool_calls`."""
        native = self.reason or blocked
        if self._tools:
            return Finish(choice=self.index, reason="tool_calls", native=native)
        if self.reason is None and blocked is not None:
            return Finish(choice=self.index, reason="content_filter", native=blocked)
        return Finish(choice=self.index, reason=FINISH.get(native or "", "stop"), native=native)

    # --- parts ---

    def _thought(self, part: Part) -> Iterator[Event]:
        """Texts of thoughts that follow each other are one piece. Pictures among them are drafts: left out."""
        if part.text:
            if not self._thinking:
                self._thinking = True
                self._pieces += 1
            yield ReasoningDelta(
                index=self._pieces - 1,
                text=part.text,
                signature=part.thought_signature,
                format=FORMAT,
                choice=self.index,
            )

    def _encrypted(self, signature: str, id: str | None = None) -> ReasoningDelta:
        """A signature, as a piece of its own behind its part; `id` names the call that it belongs to."""
        return self._piece(kind="encrypted", data=signature, id=id)

    def _piece(self, **members: Any) -> ReasoningDelta:
        self._thinking = False
        self._pieces += 1
        return ReasoningDelta(index=self._pieces - 1, format=FORMAT, choice=self.index, **members)

    def _call(self, call: FunctionCall, signature: str | None) -> Iterator[Event]:
        """A call comes whole; where arguments are streamed, its name comes first and pieces of arguments follow."""
        if call.name:
            if self._open is not None:
                yield self._arguments(self._open.text())
            id = call.id or self._invented_id()
            self._thinking = False
            self._tools += 1
            self._open = Arguments(bytes(call.args))
            yield ToolDelta(index=self._tools - 1, id=id, name=call.name, choice=self.index)
            if signature:
                yield self._encrypted(signature, id)
        if self._open is not None:
            self._open.add(call.partial_args or ())
            if not call.will_continue:
                yield self._arguments(self._open.text())

    def _arguments(self, text: str) -> ToolDelta:
        self._open = None
        return ToolDelta(index=self._tools - 1, arguments=text, choice=self.index)

    def _invented_id(self) -> str:
        """An id for a call without one: the same for the same answer, however its bytes were cut."""
        if not self._id:
            return f"call_{secrets.token_hex(12)}"
        return "call_" + hashlib.sha256(f"{self._id}/{self.index}/{self._tools}".encode()).hexdigest()[:24]

    def _other(self, part: Part, raw: Raw, *, server_tool: bool) -> Iterator[Event]:
        """Everything but text and calls. What Google's own tools did stays whole, signature included, so that it can go back."""
        if server_tool:
            yield self._piece(kind="server_tool_call", data=_compact(raw))
        elif part.inline_data is not None and (found := _medium(part.inline_data)) is not None:
            self._thinking = False
            yield PartDone(part=found, choice=self.index)
        elif part.thought_signature is None:
            self._thinking = False
            yield PartDone(part=Opaque(family="gemini", raw=raw), choice=self.index)


def _runs_itself(part: Part) -> bool:
    """True for what Google ran itself: code, searches."""
    return any((part.executable_code, part.code_execution_result, part.tool_call, part.tool_response))


def _medium(blob: Blob) -> Image | Audio | None:
    kind, _, form = (blob.mime_type or "").partition("/")
    if kind == "image":
        return Image(data=blob.data or "", media_type=blob.mime_type or "")
    if kind == "audio":
        form = form.partition(";")[0].lower()
        return Audio(data=blob.data or "", format={"l16": "pcm16", "mpeg": "mp3"}.get(form, form))
    return None


def _answer(data: bytes | str) -> Answer:
    try:
        answer = _decode_answer(data)
    except (msgspec.DecodeError, RecursionError) as error:
        if "truncated" in str(error):
            raise StreamTruncated("the upstream closed the stream within an event") from error
        raise UpstreamUnavailable(f"the upstream's answer cannot be read ({type(error).__name__})") from error
    if bytes(answer.error) not in (b"", b"null"):
        raise error_inside(data.encode() if isinstance(data, str) else data)
    return answer


def _array(body: bytes) -> list[Raw]:
    try:
        return _decode_array(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamUnavailable(f"the upstream's answer cannot be read ({type(error).__name__})") from error


def _raw_part(data: bytes | str, candidate: int, place: int) -> Raw:
    """The bytes of a part. Only rare parts need them, so that most answers are decoded once."""
    found = (_decode_raw(data).candidates or [])[candidate].content
    assert found is not None
    assert found.parts is not None
    return found.parts[place].copy()


def _compact(raw: Raw) -> str:
    return msgspec.json.format(bytes(raw), indent=-1).decode()


def _of(details: list[ModalityTokens] | None, modality: str) -> int:
    return sum(each.token_count or 0 for each in details or () if each.modality == modality)


def _logprobs(result: LogprobsResult) -> Raw | None:
    """OpenAI's `logprobs` object."""
    if not result.chosen_candidates:
        return None
    tops = result.top_candidates or []
    content = []
    for place, chosen in enumerate(result.chosen_candidates):
        top = tops[place].candidates or [] if place < len(tops) else []
        content.append(_logprob(chosen) | {"top_logprobs": [_logprob(each) for each in top]})
    return Raw(_encode({"content": content, "refusal": None}))


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    text = token.token or ""
    return {"token": text, "logprob": token.log_probability or 0.0, "bytes": list(text.encode())}
