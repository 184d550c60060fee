"""The hub: the one vocabulary in which dialects (what clients speak) and providers (what upstreams speak) meet.

It is OpenAI chat's vocabulary with two changes: content is always a list of typed parts, and a stream is typed events.
Binary content is base64 text without a `data:` prefix, tool arguments are JSON text, token counts are integers,
money is integer picodollars (1e-12 USD).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Raw, Struct, field
from msgspec.structs import astuple

PICODOLLARS = 10**12
#: a count beyond this is not believed (reliability: upstream usage is untrusted input)
MAX_TOKENS = 10**9

Role = Literal["system", "developer", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error"]
Effort = Literal["max", "xhigh", "high", "medium", "low", "minimal", "none"]

# --- content ---------------------------------------------------------------------------------------------------------


class Part(Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    """One piece of a message. `cache_control` is the client's cache mark as it was sent (JSON). `extra` holds members that the hub has
    no place for: they go to upstreams of the request's own family only, laid over what is made of the rest."""

    cache_control: Raw | None = None
    extra: dict[str, Raw] = field(default_factory=dict)


class Text(Part, tag="text"):
    """Text. `citations` are URL citations of model output."""

    text: str
    citations: list[Citation] = field(default_factory=list)


class Image(Part, tag="image"):
    """An image: either `url` (http or https) or `data` with `media_type`."""

    url: str = ""
    data: str = ""
    media_type: str = ""
    detail: str | None = None


class Audio(Part, tag="audio"):
    """Audio: `data` with `format` (wav, mp3 …). In replies `id`, `transcript` and `expires_at` as OpenAI has them."""

    data: str = ""
    format: str = ""
    id: str | None = None
    transcript: str | None = None
    expires_at: int | None = None


class Video(Part, tag="video"):
    """Video: either `url` or `data` with `media_type`."""

    url: str = ""
    data: str = ""
    media_type: str = ""


class File(Part, tag="file"):
    """A document: one of `data` with `media_type`, `url`, `file_id` (an id that the upstream knows)."""

    filename: str | None = None
    data: str = ""
    media_type: str = ""
    url: str = ""
    file_id: str | None = None


class ToolCall(Part, tag="tool_call"):
    """The model asks for a tool. `arguments` is JSON text, as the model wrote it (may be empty)."""

    id: str
    name: str
    arguments: str = ""


class ToolResult(Part, tag="tool_result"):
    """What the tool answered: text and image parts. `name` is the tool's where it is known."""

    tool_call_id: str
    content: list[AnyPart] = field(default_factory=list)
    is_error: bool = False
    name: str = ""


class Reasoning(Part, tag="reasoning"):
    """A piece of thinking, with whatever its family needs to accept it back.

    kind `text`: `text`, `signature`; `summary`: `text`; `encrypted`: `data` (opaque); `server_tool_call`: `data` (JSON text
    of a tool call that the upstream ran itself). `format` names the family (`anthropic-claude-v1`, `google-gemini-v1`,
    `openai-responses-v1`, `unknown`): a signature is never sent to another one. `id` ties an encrypted piece to a tool
    call (Gemini) or names the reasoning item (Responses).
    """

    kind: Literal["text", "summary", "encrypted", "server_tool_call"] = "text"
    text: str = ""
    signature: str | None = None
    data: str = ""
    format: str = "unknown"
    id: str | None = None


class Refusal(Part, tag="refusal"):
    """The model declines, in its own words."""

    text: str


class Opaque(Part, tag="opaque"):
    """A part that we do not know. Goes back only to upstreams of its `family` (openai, anthropic, gemini)."""

    family: str
    raw: Raw


class Citation(Struct, kw_only=True, omit_defaults=True):
    """A URL citation; indexes are character offsets into the text of the message."""

    url: str
    title: str = ""
    start_index: int = 0
    end_index: int = 0
    content: str = ""


AnyPart = Text | Image | Audio | Video | File | ToolCall | ToolResult | Reasoning | Refusal | Opaque

# --- request ---------------------------------------------------------------------------------------------------------


class Message(Struct, kw_only=True):
    """One turn. `extra` holds members that we do not know: they go to upstreams of the same family only."""

    role: Role
    content: list[AnyPart] = field(default_factory=list)
    name: str | None = None
    extra: dict[str, Raw] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All text of this message."""
        return "".join(part.text for part in self.content if isinstance(part, Text))


class Tool(Struct, kw_only=True):
    """A tool that the client runs. `parameters` is a JSON schema. `server` is set instead for a tool that the upstream
    itself runs (its definition as the client sent it, for upstreams of the same family only). `extra` as in `Part`."""

    name: str
    description: str | None = None
    parameters: Raw | None = None
    strict: bool | None = None
    cache_control: Raw | None = None
    server: Raw | None = None
    extra: dict[str, Raw] = field(default_factory=dict)


class ToolChoice(Struct, kw_only=True):
    """Which tools may or must be called; `name` with mode `named`."""

    mode: Literal["auto", "none", "required", "named"]
    name: str = ""


class ResponseFormat(Struct, kw_only=True):
    """The form the answer must have. `schema` (JSON schema) with type `json_schema`, `grammar` with type `grammar`."""

    type: Literal["text", "json_object", "json_schema", "grammar", "python"]
    name: str = "response"
    schema: Raw | None = None
    strict: bool | None = None
    description: str | None = None
    grammar: str = ""


class ReasoningConfig(Struct, kw_only=True):
    """How much to think: `effort` or `max_tokens`, never both. `exclude`: think, but do not show it."""

    effort: Effort | None = None
    max_tokens: int | None = None
    exclude: bool = False
    enabled: bool | None = None
    summary: str | None = None

    @property
    def off(self) -> bool:
        """True where thinking was switched off in any of the ways."""
        return self.enabled is False or self.effort == "none" or self.max_tokens == 0

    @property
    def on(self) -> bool:
        """True where thinking was asked for in any of the ways."""
        return not self.off and bool(self.effort or self.max_tokens or self.enabled)


class ChatRequest(Struct, kw_only=True):
    """A request for a generation, whatever the surface it came by.

    `model` is the upstream's model id (set per attempt). `max_tokens` counts everything the model writes, None where the client said
    nothing. `family` says whose vocabulary `extra` (top-level members that the hub does not know) is: openai, anthropic, gemini;
    `headers` of the client's belong to it too, and go to upstreams of that family only.
    A provider that cannot express a set member leaves it out and names it in `Outgoing.dropped`.
    """

    messages: list[Message]
    model: str = ""
    family: str = "openai"
    stream: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    top_a: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: list[str] = field(default_factory=list)
    n: int = 1
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    user: str | None = None
    tools: list[Tool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning: ReasoningConfig | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    cache_control: Raw | None = None
    extra: dict[str, Raw] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


# --- usage and price -------------------------------------------------------------------------------------------------


class Usage(Struct, kw_only=True, omit_defaults=True):
    """What one call consumed, as the upstream reported it.

    All counts are tokens unless named otherwise. `input` includes `cache_read`, `cache_write`, `cache_write_1h` and `audio_input`;
    `cache_write` is the five-minute class, `cache_write_1h` the one-hour class; `output` includes `reasoning`, `audio_output` and
    `image_output`. `searches` and `images` are numbers of things. `billed_input` and `billed_output` are set where the upstream charges
    for fewer tokens than it counts (Cohere: not for what it puts around a prompt itself). `cost` is what the upstream itself says it
    charged, in picodollars.
    `source` tells whether the upstream said so or we estimated it from relayed text.
    """

    input: int = 0
    output: int = 0
    reasoning: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    searches: int = 0
    images: int = 0
    billed_input: int = 0
    billed_output: int = 0
    cost: int | None = None
    source: Literal["upstream", "estimated"] = "upstream"

    def __add__(self, other: Usage) -> Usage:
        """Both together (n calls that make one answer)."""
        total = Usage(source="estimated" if "estimated" in (self.source, other.source) else "upstream")
        for name in COUNTS:
            setattr(total, name, getattr(self, name) + getattr(other, name))
        if self.cost is not None or other.cost is not None:
            total.cost = (self.cost or 0) + (other.cost or 0)
        return total

    def clamped(self) -> Usage:
        """This usage made sane: counts within 0 and 10^9, classes no larger than their whole, no negative cost."""
        counts = astuple(self)[: len(COUNTS)]
        if min(counts) < 0 or max(counts) > MAX_TOKENS:
            for name, value in zip(COUNTS, counts, strict=True):
                if not 0 <= value <= MAX_TOKENS:
                    setattr(self, name, 0)
        if self.cache_read or self.cache_write or self.cache_write_1h:
            self.cache_read = min(self.cache_read, self.input)
            self.cache_write = min(self.cache_write, self.input - self.cache_read)
            self.cache_write_1h = min(self.cache_write_1h, self.input - self.cache_read - self.cache_write)
        self.reasoning = min(self.reasoning, self.output)
        if self.cost is not None and not 0 <= self.cost <= 10_000 * PICODOLLARS:
            self.cost = None
        return self


#: all but `cost` and `source`, the last two
COUNTS = Usage.__struct_fields__[:-2]


class Price(Struct, kw_only=True, omit_defaults=True):
    """What a model costs, in picodollars per token (`request`, `image`, `web_search`: per piece).

    None: no price of its own, then `prompt` or `completion` holds for that class. `overrides` are rows for long prompts or hours of
    the day; the last one that matches wins.
    """

    prompt: int = 0
    completion: int = 0
    request: int = 0
    image: int = 0
    web_search: int = 0
    internal_reasoning: int | None = None
    input_cache_read: int | None = None
    input_cache_write: int | None = None
    input_cache_write_1h: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_output: int | None = None
    overrides: list[PriceOverride] = field(default_factory=list)

    def cost(self, usage: Usage, at_unix: float) -> Cost:
        """What this usage costs. `at_unix` (seconds) picks the override by the hour of day."""
        if usage.billed_input or usage.billed_output:
            usage = Usage(
                input=usage.billed_input, output=usage.billed_output, searches=usage.searches, images=usage.images
            )
        rate = self._at(usage.input, at_unix) if self.overrides else self
        cached = (
            usage.cache_read * _or(rate.input_cache_read, rate.prompt)
            + usage.cache_write * _or(rate.input_cache_write, rate.prompt)
            + usage.cache_write_1h * _or(rate.input_cache_write_1h, _or(rate.input_cache_write, rate.prompt))
        )
        cached_tokens = usage.cache_read + usage.cache_write + usage.cache_write_1h
        # audio and images may be cached too: what is left of the uncached prompt bounds what is priced apart
        uncached = usage.input - cached_tokens
        audio = min(usage.audio_input, uncached)
        images = min(usage.image_input, uncached - audio)
        prompt = (
            (uncached - audio - images) * rate.prompt
            + audio * _or(rate.audio_input, rate.prompt)
            + images * _or(rate.image_input, rate.prompt)
        )
        thinking = usage.reasoning if rate.internal_reasoning else 0
        audio_out = min(usage.audio_output, usage.output - thinking)
        images_out = min(usage.image_output, usage.output - thinking - audio_out)
        completion = (
            (usage.output - thinking - audio_out - images_out) * rate.completion
            + thinking * (rate.internal_reasoning or 0)
            + audio_out * _or(rate.audio_output, rate.completion)
            + images_out * _or(rate.image_output, rate.completion)
        )
        return Cost(
            prompt=prompt + cached,
            completion=completion,
            other=rate.request + usage.images * rate.image + usage.searches * rate.web_search,
            cache_discount=cached_tokens * rate.prompt - cached,
        )

    def _at(self, prompt_tokens: int, at_unix: float) -> Price:
        rate = self
        for row in self.overrides:
            if prompt_tokens >= row.min_prompt_tokens and row.holds_at(at_unix):
                changes = {name: value for name in OVERRIDABLE if (value := getattr(row, name)) is not None}
                rate = msgspec.structs.replace(self, **changes)
        return rate


class PriceOverride(Struct, kw_only=True, omit_defaults=True):
    """A row of `Price.overrides`: holds from `min_prompt_tokens` on, or between two UTC times of day ("HH:MM")."""

    min_prompt_tokens: int = 0
    utc_start: str = ""
    utc_end: str = ""
    prompt: int | None = None
    completion: int | None = None
    input_cache_read: int | None = None
    input_cache_write: int | None = None
    input_cache_write_1h: int | None = None
    internal_reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None

    def holds_at(self, at_unix: float) -> bool:
        """True where the row has no hours, or the UTC time of day lies within them (they may pass midnight)."""
        if not self.utc_start or not self.utc_end:
            return True
        now = time.strftime("%H:%M", time.gmtime(at_unix))
        if self.utc_start <= self.utc_end:
            return self.utc_start <= now < self.utc_end
        return now >= self.utc_start or now < self.utc_end


OVERRIDABLE = PriceOverride.__struct_fields__[3:]


class Cost(Struct, kw_only=True):
    """A price applied to a usage, in picodollars. `cache_discount` is what caching saved (negative where writing cost more)."""

    prompt: int = 0
    completion: int = 0
    other: int = 0
    cache_discount: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.prompt + self.completion + self.other


def _or(price: int | None, default: int) -> int:
    return default if price is None else price


def picodollars(usd: str | float | Decimal) -> int:
    """An amount of USD as integer picodollars, rounded up. Raises ValueError if it is not a number or negative."""
    try:
        amount = Decimal(str(usd)) * PICODOLLARS
    except ArithmeticError:
        raise ValueError(f"{usd!r} is not an amount in USD") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{usd!r} is not an amount in USD")
    return int(amount.to_integral_value(rounding="ROUND_CEILING"))


def usd(amount: int) -> float:
    """Picodollars as the number of USD that the API prints."""
    return amount / PICODOLLARS


def usd_text(amount: int) -> str:
    """Picodollars as a decimal string in USD, never in scientific notation."""
    whole, rest = divmod(abs(amount), PICODOLLARS)
    text = f"{whole}.{rest:012}".rstrip("0").rstrip(".")
    return f"-{text}" if amount < 0 else text


# --- catalogue -------------------------------------------------------------------------------------------------------


class Model(Struct, kw_only=True, omit_defaults=True):
    """Facts about one model of one provider: a row of a plugin's catalogue or of an upstream's own list.

    `id` is the upstream's id. Lengths are tokens, 0 where not known; `created` is unix seconds; `price` None where not known
    (then a call costs null, never a silent 0). `parameters` are the request members of OpenAI chat that the model takes.
    """

    id: str
    name: str = ""
    description: str = ""
    created: int = 0
    context_length: int = 0
    max_output: int = 0
    input_modalities: list[str] = field(default_factory=lambda: ["text"])
    output_modalities: list[str] = field(default_factory=lambda: ["text"])
    price: Price | None = None
    parameters: list[str] = field(default_factory=list)
    reasoning: bool = False
    efforts: list[str] = field(default_factory=list)
    knowledge_cutoff: str | None = None
    tokenizer: str = "Other"
    open_weights: bool = False
    deprecated: bool = False
    aliases: list[str] = field(default_factory=list)


# --- events ----------------------------------------------------------------------------------------------------------


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
    """A part that arrives whole: an image, audio, a citation, an unknown block."""

    part: Image | Audio | Citation | Opaque
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
