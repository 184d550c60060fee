"""OpenAI's chat completions on the wire: what clients send and what upstreams answer. No logic.

What we receive is flat and forgiving. Members that some upstream is known to get wrong are `Any`; UNSET tells an absent
member from a null. A `Raw` that is absent is empty, since msgspec cannot decode into `Raw | None`: ask `given`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

NOTHING = Raw()


def given(raw: Raw) -> bool:
    """True where the member is there and not null."""
    return bool(raw) and bytes(raw) != b"null"


# --- answers: chunks of a stream and whole answers --------------------------------------------------------------------


class Function(Struct):
    """The function of a tool call or of a fragment of one. `arguments` is JSON text, from some upstreams an object."""

    name: Any = None
    arguments: Any = None


class Custom(Struct):
    """The free-form twin of `Function`."""

    name: Any = None
    input: Any = None


class ToolFragment(Struct):
    """A tool call, or a part of one in a stream."""

    index: Any = None
    id: Any = None
    type: Any = None
    function: Function | None = None
    custom: Custom | None = None


class Delta(Struct):
    """What a chunk adds to a message, or a whole message."""

    role: Any = UNSET
    content: Any = UNSET
    refusal: Any = UNSET
    reasoning: Any = UNSET
    reasoning_content: Any = UNSET
    reasoning_details: Any = UNSET
    tool_calls: list[ToolFragment] | UnsetType | None = UNSET
    function_call: Function | UnsetType | None = UNSET
    images: Any = UNSET
    audio: Any = UNSET
    annotations: Any = UNSET
    executed_tools: Any = UNSET


class Choice(Struct):
    """One choice: with `delta` in a stream, with `message` in a whole answer."""

    index: Any = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: Any = UNSET
    native_finish_reason: Any = None
    logprobs: Raw = NOTHING
    error: Raw = NOTHING


class TokenDetails(Struct):
    """What the tokens of one side were."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    reasoning_tokens: int | None = None
    image_tokens: int | None = None


class ServerTools(Struct):
    """What the upstream's own tools did."""

    web_search_requests: int | None = None


class Usage(Struct):
    """`usage`, in the words of all who send one. `cost` is a number of USD, or Perplexity's object of several; xAI states ticks, of
    which ten thousand million are one USD."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: TokenDetails | None = None
    completion_tokens_details: TokenDetails | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    num_cached_tokens: int | None = None
    prompt_cache_hit_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    server_tool_use_details: ServerTools | None = None
    server_tool_use: ServerTools | None = None
    num_search_queries: int | None = None
    cost: Any = None
    is_byok: Any = None
    cost_details: Any = None
    cost_in_usd_ticks: Any = None


class GroqExtras(Struct):
    """Groq's own member of chunks: usage is in there too."""

    usage: Raw = NOTHING


class Chunk(Struct):
    """A chunk or a whole answer, for readers that need not keep what they do not know."""

    id: Any = None
    model: Any = None
    object: Any = None
    created: Any = None
    service_tier: Any = None
    system_fingerprint: Any = None
    choices: list[Choice] | None = None
    usage: Raw = NOTHING
    x_groq: GroqExtras | None = None
    error: Raw = NOTHING
    citations: Any = None
    search_results: Any = None


Members = dict[str, Raw]

decode_members = msgspec.json.Decoder(Members).decode
decode_list = msgspec.json.Decoder(list[Members]).decode
decode_choices = msgspec.json.Decoder(list[Choice] | None).decode
decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_groq = msgspec.json.Decoder(GroqExtras | None).decode
decode_any = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode

# --- requests: what `peek` reads of them ------------------------------------------------------------------------------

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
PartType = Literal["text", "image_url", "input_audio", "file", "video_url", "refusal"]


class PeekedPart(Struct):
    """A part of a message's content: only its text is read."""

    type: PartType
    text: str | None = None


class PeekedMessage(Struct):
    """As much of a message as the checks and the estimate of its length need."""

    role: Role
    content: str | list[PeekedPart] | None = None
    tool_calls: Raw = NOTHING
    function_call: Raw = NOTHING
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: Raw = NOTHING
    reasoning_content: Raw = NOTHING
    reasoning_details: Raw = NOTHING


class Named(Struct):
    """Anything with a name."""

    name: str


class PeekedTool(Struct):
    """A tool: those with a `function` are the client's own."""

    type: str = "function"
    function: Named | None = None
    name: str | None = None


class ChosenTool(Struct):
    """`tool_choice` as an object."""

    type: str
    function: Named | None = None


class JsonSchema(Struct):
    """`json_schema` of a response format. OpenAI insists on `name`, other upstreams and their clients do not."""

    name: str = "response"
    schema: dict[str, Raw] | None = None
    strict: bool | None = None
    description: str | None = None


class Format(Struct):
    """`response_format`."""

    type: Literal["text", "json_object", "json_schema", "grammar", "python"]
    json_schema: JsonSchema | None = None
    grammar: str | None = None


decode_format = msgspec.json.Decoder(Format | None).decode


class Reasoning(Struct):
    """`reasoning`: the router's own form of asking for thought."""

    effort: Literal["max", "xhigh", "high", "medium", "low", "minimal", "none"] | None = None
    max_tokens: int | None = None
    exclude: bool | None = None
    enabled: bool | None = None
    summary: str | None = None


class Thinking(Struct):
    """`thinking`, as clients send it that otherwise speak to Anthropic."""

    type: Literal["enabled", "disabled", "adaptive", "auto"]
    budget_tokens: int | None = None


class StreamOptions(Struct):
    """`stream_options`."""

    include_usage: bool | None = None


class Debug(Struct):
    """`debug`."""

    echo_upstream_body: bool | None = None


# --- requests: what the hub form is made of ---------------------------------------------------------------------------


class ImageUrl(Struct):
    """`image_url` and `video_url`."""

    url: str
    detail: str | None = None


class InputAudio(Struct):
    """`input_audio`."""

    data: str
    format: str = "wav"


class FileRef(Struct):
    """`file`."""

    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None


class Part(Struct):
    """A part of a message's content."""

    type: PartType
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None
    video_url: ImageUrl | str | None = None
    input_audio: InputAudio | None = None
    file: FileRef | None = None
    cache_control: Raw = NOTHING
    prompt_cache_breakpoint: Raw = NOTHING


class CalledFunction(Struct):
    """The function of a tool call that a client sends back."""

    name: str
    arguments: str | dict[str, Any] | None = None


class Called(Struct):
    """A tool call that a client sends back."""

    id: str = ""
    type: str = "function"
    function: CalledFunction | None = None
    custom: Custom | None = None
    cache_control: Raw = NOTHING


class ReasoningDetail(Struct, omit_defaults=True):
    """An entry of `reasoning_details`, whatever its type."""

    type: str
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    format: str | None = None
    id: str | None = None
    index: Any = None


class GivenImage(Struct):
    """An entry of an assistant message's `images`."""

    image_url: ImageUrl


class AudioRef(Struct):
    """An assistant message's `audio`."""

    id: str | None = None


class GivenTool(Struct):
    """A tool's definition."""

    name: str
    description: str | None = None
    parameters: Raw = NOTHING
    strict: bool | None = None


class Tool(Struct):
    """An entry of `tools`."""

    type: str = "function"
    function: GivenTool | None = None
    cache_control: Raw = NOTHING
