"""Gemini's generateContent, v1beta: the Structs that are sent and received. No logic.

Every member is optional, names are camelCase on the wire, unknown members are passed over: Google adds members, kinds of parts and
reasons without notice. A member whose content nobody reads stays `Raw`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from ..model import FinishReason

#: a member that is not there: msgspec takes no `Raw | None` with anything but null in it
NOTHING = Raw()


class Wire(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """What all have in common."""


#: why an answer ended, in the hub's words; what is missing here is "stop"
FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "MODEL_ARMOR",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        "content_filter",
    ),
    **dict.fromkeys(
        (
            "OTHER",
            "LANGUAGE",
            "MALFORMED_FUNCTION_CALL",
            "MALFORMED_RESPONSE",
            "UNEXPECTED_TOOL_CALL",
            "TOO_MANY_TOOL_CALLS",
            "MISSING_THOUGHT_SIGNATURE",
            "ESCALATION",
            "IMAGE_OTHER",
            "NO_IMAGE",
        ),
        "error",
    ),
}
#: reasons as numbers, for who asks Google for numbers
FINISH_NUMBERS = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}

# --- parts, in both directions ---------------------------------------------------------------------------------------


class Blob(Wire):
    """Bytes inside a body: base64 of the standard alphabet."""

    mime_type: str | None = None
    data: str | None = None


class FileData(Wire):
    """A file that Google reads by itself: of its own store, on YouTube, in Cloud Storage."""

    mime_type: str | None = None
    file_uri: str | None = None


class PartialArg(Wire):
    """A piece of an argument, where arguments are streamed. A string continues the one before at the same path."""

    json_path: str | None = None
    string_value: str | None = None
    number_value: float | None = None
    bool_value: bool | None = None
    null_value: str | None = None
    will_continue: bool | None = None


class FunctionCall(Wire):
    """The model asks for a function. Streamed arguments: `name` first, then `partial_args`, until not `will_continue`."""

    id: str | None = None
    name: str | None = None
    args: Raw = NOTHING
    partial_args: list[PartialArg] | None = None
    will_continue: bool | None = None


class FunctionResponse(Wire):
    """What a function answered: `response` with `output` or `error`, media as `parts` (Gemini 3 and later)."""

    id: str | None = None
    name: str | None = None
    response: dict[str, Any] | None = None
    parts: list[Part] | None = None


class Part(Wire):
    """One part of a message. Exactly one member besides `thought` and `thought_signature` is set."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    executable_code: Raw = NOTHING
    code_execution_result: Raw = NOTHING
    tool_call: Raw = NOTHING
    tool_response: Raw = NOTHING


# --- requests --------------------------------------------------------------------------------------------------------


class Turn(Wire):
    """A message that we send. Parts that come from Google itself go back as they came."""

    parts: list[Part | Raw]
    role: str | None = None


class FunctionDeclaration(Wire):
    """A function that the client runs: `parameters_json_schema` or, for older models, Google's own kind of schema."""

    name: str
    description: str | None = None
    parameters_json_schema: Raw = NOTHING
    parameters: dict[str, Any] | None = None


class Tool(Wire):
    """A set of functions."""

    function_declarations: list[FunctionDeclaration | Raw]


class FunctionCallingConfig(Wire):
    """`mode` AUTO, ANY or NONE; names only with ANY."""

    mode: str
    allowed_function_names: list[str] | None = None


class ToolConfig(Wire):
    """How functions may be called."""

    function_calling_config: FunctionCallingConfig


class ThinkingConfig(Wire):
    """How much to think: a budget in tokens (2.5; -1 leaves it to the model) or a level (3 and later)."""

    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: str | None = None


class GenerationConfig(Wire):
    """Sampling and the form of the answer."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    candidate_count: int | None = None
    max_output_tokens: int | None = None
    stop_sequences: list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    response_mime_type: str | None = None
    response_json_schema: Raw = NOTHING
    response_schema: dict[str, Any] | None = None
    response_modalities: list[str] | None = None
    speech_config: dict[str, Any] | None = None
    image_config: dict[str, Any] | None = None
    thinking_config: ThinkingConfig | None = None


class Request(Wire):
    """The body of generateContent and streamGenerateContent."""

    contents: list[Turn]
    system_instruction: Turn | None = None
    tools: list[Tool | Raw] | None = None
    tool_config: ToolConfig | None = None
    generation_config: GenerationConfig | None = None
    service_tier: str | None = None


# --- answers ---------------------------------------------------------------------------------------------------------


class Content(Wire):
    """What the model wrote."""

    parts: list[Part] | None = None


class RawContent(Wire):
    """The same, with each part as its bytes."""

    parts: list[Raw] | None = None


class Segment(Wire):
    """A piece of the answer's text, by offsets in bytes of UTF-8."""

    start_index: int | None = None
    end_index: int | None = None
    text: str | None = None


class Source(Wire):
    """Where something was found."""

    uri: str | None = None
    title: str | None = None


class GroundingChunk(Wire):
    """One source, by its kind."""

    web: Source | None = None
    maps: Source | None = None
    retrieved_context: Source | None = None


class GroundingSupport(Wire):
    """A piece of text and the numbers of the chunks that support it."""

    segment: Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class GroundingMetadata(Wire):
    """What searches found. Of a stream the last one that is not empty counts."""

    grounding_chunks: list[GroundingChunk] | None = None
    grounding_supports: list[GroundingSupport] | None = None
    web_search_queries: list[str] | None = None


class CitationSource(Wire):
    """A source that the answer quotes, with the offsets in bytes."""

    uri: str | None = None
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class CitationMetadata(Wire):
    """Quoted sources; the Developer API names them otherwise than Vertex."""

    citation_sources: list[CitationSource] | None = None
    citations: list[CitationSource] | None = None


class TokenLogprob(Wire):
    """A token and how likely it was."""

    token: str | None = None
    log_probability: float | None = None


class TopCandidates(Wire):
    """The tokens that could have stood at one place."""

    candidates: list[TokenLogprob] | None = None


class LogprobsResult(Wire):
    """One entry for each token of this piece of the answer."""

    chosen_candidates: list[TokenLogprob] | None = None
    top_candidates: list[TopCandidates] | None = None


class Candidate(Wire):
    """One of the answers. `finish_reason` is a number where the client asked for numbers."""

    index: int | None = None
    content: Content | None = None
    finish_reason: str | int | None = None
    grounding_metadata: GroundingMetadata | None = None
    citation_metadata: CitationMetadata | None = None
    logprobs_result: LogprobsResult | None = None


class RawCandidate(Wire):
    """A candidate of which only the bytes of the parts are wanted."""

    content: RawContent | None = None


class ModalityTokens(Wire):
    """Tokens of one modality: TEXT, IMAGE, AUDIO, VIDEO, DOCUMENT."""

    modality: str | int | None = None
    token_count: int | None = None


class UsageMetadata(Wire):
    """Tokens. `prompt_token_count` includes the cached ones; the results of Google's own tools and thoughts are counted apart."""

    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    prompt_tokens_details: list[ModalityTokens] | None = None
    candidates_tokens_details: list[ModalityTokens] | None = None
    service_tier: str | None = None


class PromptFeedback(Wire):
    """Why the prompt was refused."""

    block_reason: str | None = None


class Answer(Wire):
    """A whole answer, or one event of a stream. `error` where it failed after status 200."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: UsageMetadata | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Raw = NOTHING


class RawAnswer(Wire):
    """An answer of which only the bytes of the parts are wanted."""

    candidates: list[RawCandidate] | None = None


class TokenCount(Wire):
    """The answer of countTokens."""

    total_tokens: int | None = None


# --- errors ----------------------------------------------------------------------------------------------------------


class Detail(Wire):
    """One of the details of an error: `reason` of an ErrorInfo, `retry_delay` ("48s") of a RetryInfo."""

    reason: str | None = None
    retry_delay: str | None = None


class Status(Wire):
    """google.rpc.Status."""

    code: int | None = None
    message: str | None = None
    status: str | None = None
    details: list[Detail] | None = None


class Failure(Wire):
    """The body of an error."""

    error: Status | None = None


# --- the list of models ----------------------------------------------------------------------------------------------


class ListedModel(Wire):
    """A model as `GET /v1beta/models` lists it; lengths are tokens."""

    name: str = ""
    display_name: str | None = None
    description: str | None = None
    input_token_limit: int | None = None
    output_token_limit: int | None = None
    supported_generation_methods: list[str] | None = None
    thinking: bool | None = None


class ModelList(Wire):
    """One page."""

    models: list[ListedModel] | None = None
    next_page_token: str | None = None


# --- requests as clients send them -----------------------------------------------------------------------------------


class PeekedBlob(Wire):
    """Of bytes inside a body only their kind."""

    mime_type: str | None = None


class PeekedCall(Wire):
    """A call in the history, or an answer to one."""

    name: str | None = None
    args: Raw = NOTHING
    response: Raw = NOTHING


class PeekedPart(Wire):
    """A part as far as routing looks at it."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    inline_data: PeekedBlob | None = None
    file_data: PeekedBlob | None = None
    function_call: PeekedCall | None = None
    function_response: PeekedCall | None = None


class PeekedContent(Wire):
    """A message; Google takes a single part where a list belongs."""

    role: str | None = None
    parts: list[PeekedPart] | PeekedPart | None = None


class GivenContent(Wire):
    """A message to embed; Google takes a single part where a list belongs."""

    parts: list[Part] | Part | None = None


class PeekedDeclaration(Wire):
    """A function as far as routing looks at it."""

    name: str


class PeekedTool(Wire):
    """A set of functions, or a tool that Google runs."""

    function_declarations: list[PeekedDeclaration] | PeekedDeclaration | None = None


class GivenCallingConfig(Wire):
    """How functions may be called."""

    mode: str | None = None
    allowed_function_names: list[str] | None = None


class GivenToolConfig(Wire):
    """How tools may be used."""

    function_calling_config: GivenCallingConfig | None = None


# --- answers as the raw lane reads them ------------------------------------------------------------------------------


class SeenCall(Wire):
    """A call, with its arguments as bytes."""

    name: str | None = None
    args: Raw = NOTHING
    partial_args: Raw = NOTHING


class SeenPart(Wire):
    """A part: text, a call, or something else."""

    text: str | None = None
    function_call: SeenCall | None = None


class SeenContent(Wire):
    """What the model wrote."""

    parts: list[SeenPart] | None = None


class SeenGrounding(Wire):
    """What was searched for."""

    web_search_queries: list[str] | None = None


class SeenCandidate(Wire):
    """One of the answers."""

    index: int | None = None
    content: SeenContent | None = None
    finish_reason: str | int | None = None
    grounding_metadata: SeenGrounding | None = None


class SeenAnswer(Wire):
    """A whole answer or an event of a stream, as far as it is read when it is relayed."""

    candidates: list[SeenCandidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: UsageMetadata | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Raw = NOTHING
