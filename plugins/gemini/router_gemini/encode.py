"""A request of the hub as the body of generateContent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from router import ChatRequest, ResponseFormat, ToolChoice, WebSearch
from router import Tool as HubTool
from router.wire.gemini import (
    FunctionCallingConfig,
    FunctionDeclaration,
    GenerationConfig,
    Part,
    Request,
    Tool,
    ToolConfig,
    Turn,
)

from .contents import Contents, laid_over
from .schema import clean
from .thinking import thinking_config
from .traits import Traits, traits

MAX_STOPS = 5
#: members of the hub that Gemini has no word for
_UNKNOWN = (
    "min_p",
    "top_a",
    "repetition_penalty",
    "logit_bias",
    "user",
    "verbosity",
    "cache_control",
)
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
_TIERS = ("flex", "priority")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Encoded(Struct, kw_only=True):
    """A body, what it could not say, and what it says otherwise."""

    body: bytes = b""
    dropped: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def generate_body(request: ChatRequest, file_uri: Callable[[str], str]) -> Encoded:
    """The body for this request. `file_uri` makes a URI of an id of Google's file store."""
    model = traits(request.model)
    encoded = Encoded(dropped=[name for name in _UNKNOWN if getattr(request, name) is not None])
    contents = Contents(model, file_uri, own=request.family == "gemini")
    for message in request.messages:
        contents.add(message)
    contents.finish()
    config = _generation_config(request, model, encoded)
    body = Request(contents=contents.turns)
    functions = [_function(tool, model, request.family) for tool in request.tools if tool.server is None]
    if form := _form(request, encoded):
        functions = _set_form(form, request, model, functions, config, contents, encoded)
    _tools(request, functions, body, encoded)
    if contents.system:
        body.system_instruction = Turn(parts=contents.system)
    if config != GenerationConfig():
        body.generation_config = config
    _service_tier(request, body, encoded)
    encoded.dropped = sorted({*encoded.dropped, *contents.dropped})
    encoded.body = _with_extra(body, request, encoded)
    return encoded


# --- generationConfig ------------------------------------------------------------------------------------------------


def _generation_config(request: ChatRequest, model: Traits, encoded: Encoded) -> GenerationConfig:
    config = GenerationConfig(
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k or None,
        candidate_count=request.n if request.n > 1 else None,
        max_output_tokens=request.max_tokens,
        stop_sequences=_stops(request, encoded),
        seed=_seed(request, encoded),
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        response_logprobs=request.logprobs or None,
        logprobs=(request.top_logprobs or None) if request.logprobs else None,
        thinking_config=thinking_config(request.reasoning, model, request.max_tokens),
    )
    if config.thinking_config is None and request.reasoning is not None and request.reasoning.on:
        encoded.dropped.append("reasoning")
    _output_kinds(request, config)
    return config


def _stops(request: ChatRequest, encoded: Encoded) -> list[str] | None:
    stops = [stop for stop in request.stop if stop]
    if len(stops) > MAX_STOPS:
        encoded.warnings.append(f"stop: Gemini takes {MAX_STOPS} sequences, the first ones were sent")
    return stops[:MAX_STOPS] or None


def _seed(request: ChatRequest, encoded: Encoded) -> int | None:
    """Google's seeds have 32 bits; a larger one is folded, so that it still always means the same."""
    if request.seed is None or -(2**31) <= request.seed < 2**31:
        return request.seed
    encoded.warnings.append("seed: Gemini takes 32 bits, the lower ones were sent")
    return request.seed % 2**31


def _output_kinds(request: ChatRequest, config: GenerationConfig) -> None:
    """OpenAI's `modalities` and `audio`, and `image_config`: what the answer may hold besides text."""
    extra = request.extra if request.family == "openai" else {}
    if isinstance(kinds := _value(extra, "modalities"), list):
        config.response_modalities = [str(each).upper() for each in kinds]
    voice = _value(extra, "audio")
    if isinstance(voice, dict) and isinstance(voice.get("voice"), str):
        config.speech_config = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice["voice"]}}}
    if isinstance(image := _value(extra, "image_config"), dict):
        names = {"aspect_ratio": "aspectRatio", "image_size": "imageSize"}
        config.image_config = {names[name]: value for name, value in image.items() if name in names} or None


def _value(extra: dict[str, Raw], name: str) -> Any:
    return _decode(extra[name]) if name in extra else None


# --- the form of the answer ------------------------------------------------------------------------------------------


def _form(request: ChatRequest, encoded: Encoded) -> ResponseFormat | None:
    """The form that was asked for, where it is one of JSON."""
    form = request.response_format
    if form is None or form.type == "text":
        return None
    if form.type in ("json_object", "json_schema"):
        return form
    encoded.dropped.append("response_format")
    return None


def _set_form(
    form: ResponseFormat,
    request: ChatRequest,
    model: Traits,
    functions: list[FunctionDeclaration | Raw],
    config: GenerationConfig,
    contents: Contents,
    encoded: Encoded,
) -> list[FunctionDeclaration | Raw]:
    """Ask for the form and give the functions that may stand beside it.

    Before Gemini 3, functions and a form exclude each other (400): where no function may be called they go, else the form becomes an
    instruction.
    """
    if functions and not model.tools_with_json:
        if request.tool_choice is None or request.tool_choice.mode != "none":
            contents.system.append(Part(text=_instruction(form)))
            encoded.warnings.append("response_format: this model takes it with tools only as an instruction")
            return functions
        functions = []
    config.response_mime_type = "application/json"
    if form.schema is not None and model.json_schema:
        config.response_json_schema = form.schema
    elif form.schema is not None:
        config.response_schema = clean(_decode(form.schema))
    return functions


def _instruction(form: ResponseFormat) -> str:
    schema = f" that matches this JSON schema: {bytes(form.schema).decode()}" if form.schema is not None else ""
    return f"Unless you call a function, answer with nothing but JSON{schema}"


# --- tools -----------------------------------------------------------------------------------------------------------


def _tools(request: ChatRequest, functions: list[FunctionDeclaration | Raw], body: Request, encoded: Encoded) -> None:
    declared = [Tool(function_declarations=functions)] if functions else []
    own = _server_tools(request, encoded)
    if request.web_search is not None and functions:
        encoded.dropped.append("web_search")
        encoded.warnings.append("web: Gemini does not search where there are tools of the client")
    elif request.web_search is not None:
        own.append(_SEARCH)
        _bounds(request.web_search, encoded)
    body.tools = [*declared, *own] or None
    if functions and request.tool_choice is not None:
        body.tool_config = ToolConfig(function_calling_config=_choice(request.tool_choice))
    if functions and request.parallel_tool_calls is False:
        encoded.dropped.append("parallel_tool_calls")
    if any(tool.cache_control is not None for tool in request.tools):
        encoded.dropped.append("cache_control")


_SEARCH = Raw(b'{"googleSearch":{}}')


def _bounds(wanted: WebSearch, encoded: Encoded) -> None:
    """Google's search takes none."""
    names = ("max_uses", "include_domains", "exclude_domains", "user_location")
    encoded.dropped += [name for name in names if getattr(wanted, name)]


def _function(tool: HubTool, model: Traits, family: str) -> FunctionDeclaration | Raw:
    declaration = FunctionDeclaration(name=tool.name, description=tool.description)
    if tool.parameters is not None:
        if model.json_schema:
            declaration.parameters_json_schema = tool.parameters
        else:
            declaration.parameters = clean(_decode(tool.parameters))
    if tool.extra and family == "gemini":
        return Raw(_encode(laid_over(declaration, tool.extra)))
    return declaration


def _server_tools(request: ChatRequest, encoded: Encoded) -> list[Raw]:
    """Tools that Google runs itself, where the client named them in Google's own words."""
    tools = [tool for tool in request.tools if tool.server is not None]
    if tools and request.family != "gemini":
        encoded.dropped.append("tools")
        encoded.warnings += [f"tools: Gemini has no tool of its own called {tool.name[:64]}" for tool in tools]
        return []
    return [tool.server for tool in tools if tool.server is not None]


def _choice(choice: ToolChoice) -> FunctionCallingConfig:
    names = [choice.name] if choice.mode == "named" else None
    return FunctionCallingConfig(mode=_MODES[choice.mode], allowed_function_names=names)


# --- the rest --------------------------------------------------------------------------------------------------------


def _service_tier(request: ChatRequest, body: Request, encoded: Encoded) -> None:
    if request.service_tier in _TIERS:
        body.service_tier = request.service_tier
    elif request.service_tier not in (None, "auto", "default", "standard"):
        encoded.dropped.append("service_tier")


def _with_extra(body: Request, request: ChatRequest, encoded: Encoded) -> bytes:
    """The body as JSON, with the members of the client's own that are in Google's words; all others are named as dropped."""
    if not request.extra:
        return _encode(body)
    if request.family == "gemini":
        return _encode(laid_over(body, request.extra))
    spoken = ("modalities", "audio", "image_config")
    encoded.dropped = sorted({*encoded.dropped, *(name for name in request.extra if name not in spoken)})
    return _encode(body)
