"""The hub: the one vocabulary in which dialects (what clients speak) and providers (what upstreams speak) meet.

It is OpenAI chat's vocabulary with two changes: content is always a list of typed parts, and a stream is typed events
(`events`). Binary content is base64 text without a `data:` prefix, tool arguments are JSON text.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct, field

from .prices import Price

Role = Literal["system", "developer", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error"]
Effort = Literal["max", "xhigh", "high", "medium", "low", "minimal", "none"]

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode

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

    @property
    def input(self) -> Raw:
        """The arguments as the object that most upstreams want; `_raw` in it holds what is none."""
        if not self.arguments.strip():
            return Raw(b"{}")
        try:
            _decode_object(self.arguments)
        except (msgspec.DecodeError, RecursionError):
            return Raw(msgspec.json.encode({"_raw": self.arguments}))
        return Raw(self.arguments.encode())


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


class Note(Struct, kw_only=True):
    """An entry of `annotations` that the router itself makes, in OpenAI's form; clients of that API may send it back."""

    raw: Raw


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


class WebSearch(Struct, kw_only=True):
    """The model may search the web, by its provider's own means. Bounds hold as far as the provider has such; `user_location` has the
    members city, region, country and timezone."""

    max_uses: int | None = None
    include_domains: list[str] = field(default_factory=list)
    exclude_domains: list[str] = field(default_factory=list)
    user_location: dict[str, str] | None = None


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
    web_search: WebSearch | None = None
    extra: dict[str, Raw] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


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
