"""OpenAI's Responses on the wire: what clients send and what upstreams answer. No logic.

What we receive is flat and forgiving, as in `openai`. A `Raw` that is absent is empty: ask `openai.given`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from .openai import NOTHING

Effort = Literal["max", "xhigh", "high", "medium", "low", "minimal", "none"]

# --- requests: what `peek` reads of them ------------------------------------------------------------------------------


class PeekedPart(Struct):
    """A part of a message's content: only its text is read."""

    type: str = ""
    text: str | None = None


class PeekedItem(Struct):
    """As much of an item as the checks and the estimate of its length need. A `message` may leave its type out."""

    type: str = "message"
    id: str | None = None
    role: str | None = None
    content: str | list[PeekedPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: Raw = NOTHING
    input: Raw = NOTHING
    output: Raw = NOTHING
    encrypted_content: str | None = None
    summary: Raw = NOTHING


decode_input = msgspec.json.Decoder(str | list[PeekedItem] | None).decode


class PeekedTool(Struct):
    """A tool. `function` and `custom` are the client's own; a `namespace` holds more of them."""

    type: str
    name: str | None = None
    tools: list[PeekedTool] | None = None


class ChosenTool(Struct):
    """`tool_choice` as an object."""

    type: str
    name: str | None = None
    namespace: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[ChosenTool] | None = None


class Format(Struct):
    """`text.format`."""

    type: Literal["text", "json_object", "json_schema", "grammar", "python"]
    name: str = "response"
    schema: dict[str, Raw] | None = None
    strict: bool | None = None
    description: str | None = None
    grammar: str | None = None


class Text(Struct):
    """`text`: the form of the answer."""

    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Struct):
    """`reasoning`: OpenAI's members, then the router's own."""

    effort: Effort | None = None
    summary: str | None = None
    generate_summary: str | None = None
    max_tokens: int | None = None
    exclude: bool | None = None
    enabled: bool | None = None


# --- requests: what the hub form is made of ---------------------------------------------------------------------------


class InputAudio(Struct):
    """`input_audio`, as chat has it and as this API has it."""

    data: str
    format: str = "wav"


class Part(Struct):
    """A part of a message's content or of a tool's output."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    filename: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None
    input_audio: InputAudio | None = None
    cache_control: Raw = NOTHING
    prompt_cache_breakpoint: Raw = NOTHING


class Thought(Struct):
    """A part of a reasoning item's `summary` or `content`."""

    type: str = ""
    text: str = ""


class Item(Struct):
    """An item of the conversation."""

    type: str = "message"
    id: str | None = None
    role: str | None = None
    content: str | list[Part] | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[Part] | None = None
    summary: list[Thought] | None = None
    encrypted_content: str | None = None


class Tool(Struct):
    """An entry of `tools`."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: Raw = NOTHING
    strict: bool | None = None
    format: Raw = NOTHING
    tools: list[Tool] | None = None
    cache_control: Raw = NOTHING


decode_item = msgspec.json.Decoder(Item).decode
decode_tool = msgspec.json.Decoder(Tool).decode

# --- answers ----------------------------------------------------------------------------------------------------------


class OutputItem(Struct):
    """As much of an item of an answer as its reader needs."""

    type: Any = ""
    content: Any = None
    arguments: Any = None
    name: Any = None
    input: Any = None
    action: Any = None


class Incomplete(Struct):
    """`incomplete_details`."""

    reason: Any = None


class Response(Struct):
    """A response object, whole or inside of an event."""

    id: Any = None
    status: Any = None
    output: list[OutputItem] | None = None
    usage: Raw = NOTHING
    error: Raw = NOTHING
    incomplete_details: Incomplete | None = None
    service_tier: Any = None


class Event(Struct):
    """An event of a stream. Errors come with their members in `error`, or at the top."""

    type: Any = ""
    delta: Any = None
    item: OutputItem | None = None
    response: Raw = NOTHING
    error: Raw = NOTHING
    code: Any = None
    message: Any = None


decode_event = msgspec.json.Decoder(Event).decode
decode_response = msgspec.json.Decoder(Response).decode
