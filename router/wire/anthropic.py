"""Anthropic's wire format, as far as it is received: flat and forgiving, since the API adds members and types without notice.

https://platform.claude.com/docs/en/api/messages, seen in November 2026.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct, field


class CacheCreation(Struct, kw_only=True):
    """Tokens written to the cache, by how long they live."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputDetails(Struct, kw_only=True):
    """What the output consists of."""

    thinking_tokens: int | None = None


class ServerTools(Struct, kw_only=True):
    """How often a tool ran that Anthropic runs itself."""

    web_search_requests: int | None = None


class Usage(Struct, kw_only=True):
    """Token counts. `input_tokens` leaves out what was read from the cache or written to it. The last three are OpenRouter's."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None
    server_tool_use: ServerTools | None = None
    service_tier: str | None = None
    cost: Any = None
    is_byok: Any = None
    cost_details: Any = None


class ErrorDetail(Struct, kw_only=True):
    """What is wrong: `type` is Anthropic's name for it."""

    type: str | None = None
    message: str | None = None


class Message(Struct, kw_only=True):
    """A whole answer, or the start of a streamed one. `type` is "error" where it is none."""

    type: str | None = None
    id: str | None = None
    model: str | None = None
    content: list[Raw] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None


class Block(Struct, kw_only=True):
    """A content block. `input` is the arguments of a tool, `data` what a redacted thought holds."""

    type: str
    text: str | None = None
    citations: list[Raw] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = Raw()
    tool_use_id: str | None = None


class Citation(Struct, kw_only=True):
    """Where a piece of text comes from: a page (`url`), a search result (`source`) or a document of the request."""

    type: str = ""
    url: str | None = None
    source: str | None = None
    title: str | None = None
    document_title: str | None = None
    cited_text: str | None = None


class Delta(Struct, kw_only=True):
    """The new part of a block, or of the message."""

    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: Raw = Raw()
    stop_reason: str | None = None
    stop_sequence: str | None = None


class Frame(Struct, kw_only=True):
    """The data of one event of a stream."""

    type: str
    index: int = 0
    message: Message | None = None
    content_block: Raw = Raw()
    delta: Delta | None = None
    usage: Usage | None = None
    error: Raw = Raw()


class Kind(Struct, kw_only=True):
    """The name of an event alone, for those that have another form than expected."""

    type: str = ""


class Error(Struct, kw_only=True):
    """The body of an error."""

    error: ErrorDetail = field(default_factory=ErrorDetail)


class Count(Struct, kw_only=True):
    """The answer of count_tokens."""

    input_tokens: int


class ModelInfo(Struct, kw_only=True):
    """One entry of the list of models. Lengths are tokens; `created_at` is an RFC 3339 date."""

    id: str
    display_name: str | None = None
    created_at: str | None = None
    max_input_tokens: int | None = None
    max_tokens: int | None = None
    lifecycle: str | None = None


class ModelPage(Struct, kw_only=True):
    """A page of the list of models."""

    data: list[ModelInfo]
    has_more: bool = False
    last_id: str | None = None


decode_frame = msgspec.json.Decoder(Frame).decode
decode_kind = msgspec.json.Decoder(Kind).decode
decode_message = msgspec.json.Decoder(Message).decode
decode_block = msgspec.json.Decoder(Block).decode
decode_citation = msgspec.json.Decoder(Citation).decode
decode_error = msgspec.json.Decoder(Error).decode
decode_count = msgspec.json.Decoder(Count).decode
decode_model_page = msgspec.json.Decoder(ModelPage).decode
#: the members of any object, each as it came
decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


# --- requests, as far as every one of them is read -------------------------------------------------------------------


class GivenSource(Struct):
    """Where an image or a document comes from: base64, url, text, content or file."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: Raw = Raw()


class GivenBlock(Struct):
    """A block of a message or of the system prompt. Blocks that we do not know may have members of any form."""

    type: str
    text: Any = None
    source: Raw = Raw()
    content: Raw = Raw()
    id: Any = None
    name: Any = None
    input: Raw = Raw()
    tool_use_id: Any = None
    thinking: Any = None
    data: Any = None


class GivenMessage(Struct):
    """A message."""

    role: str
    content: str | list[GivenBlock]


class GivenTool(Struct):
    """A tool: one of the client's own (no type, or "custom"), or one that Anthropic runs or defines."""

    type: str | None = None
    name: str | None = None
    input_schema: Raw = Raw()


class GivenToolChoice(Struct):
    """Which tools may or must be called."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class GivenThinking(Struct):
    """How to think."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None


class GivenFormat(Struct):
    """The form of the answer."""

    type: str
    schema: Raw = Raw()


class GivenOutputConfig(Struct):
    """Form and effort of the answer."""

    effort: str | None = None
    format: GivenFormat | None = None


class GivenMetadata(Struct):
    """Who asks."""

    user_id: str | None = None


class GivenFallback(Struct):
    """A model to ask where the first one fails."""

    model: str


decode_source = msgspec.json.Decoder(GivenSource).decode
decode_given_block = msgspec.json.Decoder(GivenBlock).decode
#: the elements of any list, each as it came
decode_raws = msgspec.json.Decoder(list[Raw]).decode
decode_any = msgspec.json.Decoder().decode
