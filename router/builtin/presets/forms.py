"""What a preset says, in the words of each client API.

A request of the API that the preset was made in gets its members as they were given. For all others they go through the hub's form, and
what an API has no words for is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct, field

from ...dialects.openai_chat.peek import TRANSFORMS
from ...dialects.openai_completions import FIELDS as COMPLETIONS
from ...errors import BadRequest
from ...head import Head
from ...model import ChatRequest, ReasoningConfig, ResponseFormat, Tool, ToolChoice

if TYPE_CHECKING:
    from ...dialects.base import Dialect

#: members that belong to one call and not to a preset
PER_CALL = frozenset(
    {
        *("messages", "prompt", "input", "system", "instructions", "stream", "stream_options", "n"),
        *("user", "user_id", "session_id", "trace", "metadata", "debug", "usage", "store", "safety_identifier"),
        *("previous_response_id", "background", "prompt_cache_key", "prediction", "container"),
    }
)
#: what the router itself reads, which all APIs call the same
ROUTING = ("model", "models", "route", "provider", "plugins", "transforms")
#: a request that says nothing, for bodies that are nothing but a configuration
NOTHING_SAID: dict[str, dict[str, Any]] = {
    "openai.chat": {"messages": [{"role": "user", "content": "-"}]},
    "openai.responses": {"input": "-"},
    "anthropic.messages": {"messages": [{"role": "user", "content": "-"}]},
}
#: Anthropic's API insists on a model where a preset need not name one
NO_MODEL = "-"
HOTTEST = 1.0
_SAMPLING = (
    *("temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty"),
    *("repetition_penalty", "seed", "logit_bias", "top_logprobs", "parallel_tool_calls", "service_tier"),
)
_GENERATION_CONFIG = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "seed": "seed",
    "max_tokens": "maxOutputTokens",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}

_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode


class Said(Struct, kw_only=True):
    """A body as it is kept: its members without those of one call, the same in the words of chat, and its system prompt."""

    given: dict[str, Any]
    config: dict[str, Any]
    system_prompt: str | None


class Form(Struct, kw_only=True):
    """The members for requests of one API. `reasoning` is what goes into the hub's form instead, where the words for it depend on the
    model that will serve."""

    members: dict[str, Any] = field(default_factory=dict)
    reasoning: ReasoningConfig | None = None


def said(dialect: Dialect, members: dict[str, Raw]) -> Said:
    """Read a body of this API. Raises BadRequest with `param`, as for a call."""
    if "preset" in members or b"@preset/" in bytes(members.get("model", b"")):
        raise BadRequest("a preset cannot name another one", param="preset" if "preset" in members else "model")
    request, head = _request(dialect, members)
    given = {name: _decode_any(raw) for name, raw in members.items() if name not in PER_CALL and bytes(raw) != b"null"}
    config = given if dialect.name == "openai.chat" else _routing(given, head) | _chat(request)
    return Said(given=given, config=config, system_prompt=_system_prompt(request))


def form(source: Dialect, given: Mapping[str, Any], target: Dialect) -> Form:
    """What was given in the words of `source`, in those of `target`."""
    if source.name == target.name:
        return Form(members=dict(given))
    request, head = _request(source, {name: Raw(_encode(value)) for name, value in given.items()})
    routing = _routing(given, head)
    match target.name:
        case "openai.chat":
            return Form(members=routing | _chat(request))
        case "openai.completions":
            members = routing | _chat(request)
            return Form(members={name: value for name, value in members.items() if name in COMPLETIONS})
        case "openai.responses":
            return Form(members=routing | _responses(request))
        case "anthropic.messages":
            return Form(members=_without_transforms(routing) | _messages(request), reasoning=request.reasoning)
        case "gemini.generate":
            return Form(members=_gemini(request, routing), reasoning=request.reasoning)
        case "gemini.embeddings":
            return Form(members=_gemini(ChatRequest(messages=[]), _short(routing)))
    return Form(members=_short(routing))


def _request(dialect: Dialect, members: dict[str, Raw]) -> tuple[ChatRequest, Head]:
    """The request in the hub's form, with what it lacks to be one."""
    whole: dict[str, Any] = {**NOTHING_SAID[dialect.name], **members}
    if dialect.name == "anthropic.messages" and "models" not in members and "fallbacks" not in members:
        whole = {"model": NO_MODEL, **whole}
    head = dialect.peek(_encode(whole), {}, "chat")
    return dialect.decode(head), head


def _routing(given: Mapping[str, Any], head: Head) -> dict[str, Any]:
    found = {name: given[name] for name in ROUTING if name in given}
    return found | ({"models": head.models} if "fallbacks" in given else {})


def _short(routing: dict[str, Any]) -> dict[str, Any]:
    """For operations other than chat, which know no plugins."""
    return {name: value for name, value in routing.items() if name in ("model", "models", "route", "provider")}


def _without_transforms(routing: dict[str, Any]) -> dict[str, Any]:
    """Anthropic's API takes plugins only by their ids."""
    routing = dict(routing)
    if names := routing.pop("transforms", None):
        routing["plugins"] = [*routing.get("plugins", ()), *({"id": TRANSFORMS.get(name, name)} for name in names)]
    return routing


def _system_prompt(request: ChatRequest) -> str | None:
    texts = [message.text for message in request.messages if message.role in ("system", "developer")]
    return "\n\n".join(text for text in texts if text) or None


# --- OpenAI ----------------------------------------------------------------------------------------------------------


def _set(request: ChatRequest, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(request, name)) not in (None, [])}


def _chat(request: ChatRequest) -> dict[str, Any]:
    told = _set(request, (*_SAMPLING, "max_tokens", "stop", "logprobs", "verbosity"))
    if tools := [{"type": "function", "function": _function(tool)} for tool in _own(request)]:
        told["tools"] = tools
    if (choice := request.tool_choice) is not None:
        named = {"type": "function", "function": {"name": choice.name}}
        told["tool_choice"] = named if choice.mode == "named" else choice.mode
    if (wanted := request.response_format) is not None:
        told["response_format"] = {"type": wanted.type} | (
            {"json_schema": _schema(wanted)} if wanted.type == "json_schema" else {}
        )
    return told | _reasoning(request.reasoning)


def _responses(request: ChatRequest) -> dict[str, Any]:
    told = _set(request, (*_SAMPLING, "stop"))
    if request.max_tokens is not None:
        told["max_output_tokens"] = request.max_tokens
    if tools := [{"type": "function", **_function(tool)} for tool in _own(request)]:
        told["tools"] = tools
    if (choice := request.tool_choice) is not None:
        named = {"type": "function", "name": choice.name}
        told["tool_choice"] = named if choice.mode == "named" else choice.mode
    text: dict[str, Any] = {} if request.verbosity is None else {"verbosity": request.verbosity}
    if (wanted := request.response_format) is not None and wanted.type in ("text", "json_object", "json_schema"):
        text["format"] = {"type": wanted.type} | (_schema(wanted) if wanted.type == "json_schema" else {})
    return told | ({"text": text} if text else {}) | _reasoning(request.reasoning)


def _own(request: ChatRequest) -> list[Tool]:
    """The tools that clients run; those that upstreams run are known to their own family only."""
    return [tool for tool in request.tools if tool.server is None]


def _function(tool: Tool) -> dict[str, Any]:
    told = {"name": tool.name, "description": tool.description, "parameters": _json(tool.parameters)}
    return {name: value for name, value in (told | {"strict": tool.strict}).items() if value is not None}


def _json(raw: Raw | None) -> Any:
    return None if raw is None else _decode_any(raw)


def _schema(wanted: ResponseFormat) -> dict[str, Any]:
    told = {"name": wanted.name, "description": wanted.description, "schema": _json(wanted.schema)}
    return {name: value for name, value in (told | {"strict": wanted.strict}).items() if value is not None}


def _reasoning(config: ReasoningConfig | None) -> dict[str, Any]:
    if config is None:
        return {}
    fields = ("effort", "max_tokens", "enabled", "summary")
    told = {name: value for name in fields if (value := getattr(config, name)) is not None}
    return {"reasoning": told | ({"exclude": True} if config.exclude else {})}


# --- Anthropic -------------------------------------------------------------------------------------------------------


def _messages(request: ChatRequest) -> dict[str, Any]:
    told = _set(request, ("max_tokens", "temperature", "top_p", "top_k"))
    if request.stop:
        told["stop_sequences"] = request.stop
    if (temperature := request.temperature) is not None:
        told["temperature"] = min(temperature, HOTTEST)
    if tools := [_custom(tool) for tool in _own(request)]:
        told["tools"] = tools
    if (choice := _anthropic_choice(request)) is not None:
        told["tool_choice"] = choice
    if (wanted := request.response_format) is not None and wanted.schema is not None:
        told["output_config"] = {"format": {"type": "json_schema", "schema": _json(wanted.schema)}}
    return told


def _custom(tool: Tool) -> dict[str, Any]:
    told = {"name": tool.name, "input_schema": _json(tool.parameters) or {"type": "object", "properties": {}}}
    return told | ({} if tool.description is None else {"description": tool.description})


_MODES = {"auto": "auto", "required": "any", "none": "none", "named": "tool"}


def _anthropic_choice(request: ChatRequest) -> dict[str, Any] | None:
    choice, one = request.tool_choice, request.parallel_tool_calls is False
    if choice is None and not (one and request.tools):
        return None
    choice = choice or ToolChoice(mode="auto")
    told: dict[str, Any] = {"type": _MODES[choice.mode]}
    if choice.mode == "named":
        told["name"] = choice.name
    if one and choice.mode != "none":
        told["disable_parallel_tool_use"] = True
    return told


# --- Gemini ----------------------------------------------------------------------------------------------------------


def _gemini(request: ChatRequest, routing: dict[str, Any]) -> dict[str, Any]:
    """`model` is for the path, the rest of what the router reads for `routerConfig`."""
    config = {
        theirs: value for ours, theirs in _GENERATION_CONFIG.items() if (value := getattr(request, ours)) is not None
    }
    if request.stop:
        config["stopSequences"] = request.stop
    if (wanted := request.response_format) is not None and wanted.type in ("json_object", "json_schema"):
        config["responseMimeType"] = "application/json"
        if wanted.schema is not None:
            config["responseJsonSchema"] = _json(wanted.schema)
    told: dict[str, Any] = {"generationConfig": config} if config else {}
    if declared := [_declaration(tool) for tool in _own(request)]:
        told["tools"] = [{"functionDeclarations": declared}]
    if (choice := request.tool_choice) is not None:
        calling: dict[str, Any] = {"mode": {"auto": "AUTO", "none": "NONE"}.get(choice.mode, "ANY")}
        if choice.mode == "named":
            calling["allowedFunctionNames"] = [choice.name]
        told["toolConfig"] = {"functionCallingConfig": calling}
    ours = {name: value for name, value in routing.items() if name != "model"}
    return told | ({"routerConfig": ours} if ours else {}) | ({"model": routing["model"]} if "model" in routing else {})


def _declaration(tool: Tool) -> dict[str, Any]:
    told = {"name": tool.name, "description": tool.description, "parametersJsonSchema": _json(tool.parameters)}
    return {name: value for name, value in told.items() if value is not None}
