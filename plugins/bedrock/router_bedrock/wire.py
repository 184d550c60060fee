"""Converse's wire format, as far as it is received: flat and forgiving, since the API adds members and kinds without notice.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, seen in November 2026.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct, field


class ReasoningText(Struct, kw_only=True):
    """Thinking that can be read."""

    text: str | None = None
    signature: str | None = None


class Thought(Struct, kw_only=True, rename="camel"):
    """Thinking: whole (`reasoning_text`) or a piece of a stream (`text`, `signature`); or bytes as base64."""

    reasoning_text: ReasoningText | None = None
    redacted_content: str | None = None
    text: str | None = None
    signature: str | None = None


class ToolUse(Struct, kw_only=True, rename="camel"):
    """A call. `input` is an object, in streams text. `type` is `server_tool_use` where the model's maker ran the tool itself."""

    tool_use_id: str | None = None
    name: str | None = None
    input: Raw = Raw()
    type: str | None = None


class Web(Struct, kw_only=True):
    """Where a page is."""

    url: str | None = None
    domain: str | None = None


class Location(Struct, kw_only=True):
    """Where what is cited stands; of documents there is no more than their title to tell."""

    web: Web | None = None


class Said(Struct, kw_only=True):
    """A piece of text."""

    text: str | None = None


class Citation(Struct, kw_only=True, rename="camel"):
    """Where a text comes from."""

    title: str | None = None
    source: str | None = None
    source_content: list[Said] | None = None
    location: Location | None = None


class Cited(Struct, kw_only=True):
    """A text with its sources."""

    content: list[Said] | None = None
    citations: list[Citation] | None = None


class Image(Struct, kw_only=True):
    """A picture."""

    format: str | None = None
    source: dict[str, Raw] = field(default_factory=dict)


class Block(Struct, kw_only=True, rename="camel"):
    """A block of an answer, or what a stream says of one: each has one of these."""

    text: str | None = None
    tool_use: ToolUse | None = None
    tool_result: Raw = Raw()
    reasoning_content: Thought | None = None
    citations_content: Cited | None = None
    citation: Citation | None = None
    image: Image | None = None


class CacheDetail(Struct, kw_only=True, rename="camel"):
    """Tokens written to the cache, by how long they stay."""

    ttl: str | None = None
    input_tokens: int | None = None


class Usage(Struct, kw_only=True, rename="camel"):
    """Token counts. `input_tokens` leaves out what was read from the cache or written to it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    cache_details: list[CacheDetail] | None = None


class Message(Struct, kw_only=True):
    """What was said."""

    content: list[Raw] | None = None


class Output(Struct, kw_only=True):
    """Where a whole answer has its message."""

    message: Message | None = None


class Tier(Struct, kw_only=True):
    """What was asked for and what was given."""

    type: str | None = None


class Answer(Struct, kw_only=True, rename="camel"):
    """A whole answer. `type` is there in Anthropic's own form, which InvokeModel passes on."""

    output: Output | None = None
    stop_reason: str | None = None
    usage: Usage | None = None
    service_tier: Tier | None = None
    type: str | None = None


class Frame(Struct, kw_only=True, rename="camel"):
    """The payload of a stream's event, whichever it is."""

    content_block_index: int = 0
    start: Raw = Raw()
    delta: Raw = Raw()
    stop_reason: str | None = None
    usage: Usage | None = None
    service_tier: Tier | None = None


class Opened(Struct, kw_only=True):
    """Ours: what the head of a streamed answer says, handed on as its first event."""

    model: str = ""
    id: str = ""


class Chunk(Struct, kw_only=True):
    """A piece of InvokeModel's stream: an event of the model's own API, in base64."""

    bytes: str = ""


class Count(Struct, kw_only=True, rename="camel"):
    """How long a prompt is."""

    input_tokens: int | None = None


decode_count = msgspec.json.Decoder(Count).decode
decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
decode_answer = msgspec.json.Decoder(Answer).decode
decode_block = msgspec.json.Decoder(Block).decode
decode_frame = msgspec.json.Decoder(Frame).decode
decode_opened = msgspec.json.Decoder(Opened).decode
decode_chunk = msgspec.json.Decoder(Chunk).decode
