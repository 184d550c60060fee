"""A request in the hub's form as the body of an OpenAI-compatible upstream (api.md 20.1, last column)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from ..errors import BadRequest
from ..model import (
    AnyPart,
    Audio,
    ChatRequest,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    ReasoningConfig,
    Refusal,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Video,
    WebSearch,
)
from ..openai_words import effort_of
from ..wire import openai as wire

if TYPE_CHECKING:
    from . import OpenAICompatible

FAMILY = "openai"
#: OpenAI refuses a `user` of more characters; other families' clients send longer ones
MAX_USER = 64

#: members that the hub and the wire call the same
_SAME = (
    *("temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty"),
    *("repetition_penalty", "seed", "logit_bias", "logprobs", "top_logprobs", "user", "parallel_tool_calls"),
    *("verbosity", "service_tier", "cache_control"),
)

#: members that an upstream may call otherwise, or that only we asked for: gone is not dropped
_OWN_FORMS = frozenset({"max_tokens", "max_completion_tokens", "stream_options"})


def body(request: ChatRequest, provider: OpenAICompatible) -> tuple[dict[str, Any], list[str], list[str]]:
    """The body, the members that could not be expressed, and warnings."""
    told: dict[str, Any] = {"model": request.model, "messages": messages(request, provider)}
    told |= {name: value for name in _SAME if (value := getattr(request, name)) is not None}
    told |= _user(request)
    dropped: list[str] = []
    warnings: list[str] = []
    if request.stream:
        told |= {"stream": True, "stream_options": {"include_usage": True}}
    if request.max_tokens is not None:
        told["max_tokens"] = request.max_tokens
    if request.n > 1:
        told["n"] = request.n
    if request.stop:
        told["stop"] = request.stop
        if provider.stop_limit is not None and len(request.stop) > provider.stop_limit:
            told["stop"] = request.stop[: provider.stop_limit]
            warnings.append(f"stop: only the first {provider.stop_limit} of {len(request.stop)} were sent")
    if request.tools:
        told["tools"] = list(_tools(request, provider))
    if request.tool_choice is not None and told.get("tools"):
        told["tool_choice"] = _tool_choice(request.tool_choice)
    told |= _search(request.web_search)
    if request.response_format is not None:
        told["response_format"] = _response_format(request.response_format)
    if request.reasoning is not None:
        asked = provider.reasoning(request.reasoning, request.model)
        told |= asked
        if request.reasoning.on and not asked:
            dropped.append("reasoning")
    if request.family == FAMILY:
        told |= {name: raw for name, raw in request.extra.items() if name not in told}
    else:
        dropped += request.extra
    before = told.keys() - _OWN_FORMS
    provider.adapt(told, request.model)
    dropped += sorted(before - told.keys())
    return told, dropped, warnings


def _search(wanted: WebSearch | None) -> dict[str, Any]:
    """OpenAI's chat has a place for where the user is, and for none of the bounds."""
    if wanted is None:
        return {}
    place = wanted.user_location
    return {"web_search_options": {"user_location": {"type": "approximate", "approximate": place}} if place else {}}


def _user(request: ChatRequest) -> dict[str, str]:
    """`user`, where it has to be shortened."""
    if request.user is None or len(request.user) <= MAX_USER or request.family == FAMILY:
        return {}
    return {"user": hashlib.sha256(request.user.encode()).hexdigest()}


def reasoning(form: str, config: ReasoningConfig, efforts: frozenset[str] | None) -> dict[str, Any]:
    """The members that ask for this much thinking, in the upstream's form."""
    match form:
        case "effort":
            effort = effort_of(config, efforts)
            return {} if effort is None else {"reasoning_effort": effort}
        case "object":
            fields = ("effort", "max_tokens", "enabled", "summary")
            told = {name: value for name in fields if (value := getattr(config, name)) is not None}
            return {"reasoning": told | ({"exclude": True} if config.exclude else {})}
    if form == "none" or not (config.on or config.off):
        return {}
    match form:
        case "thinking":
            return {"thinking": {"type": "disabled" if config.off else "enabled"}}
        case "enable_thinking":
            budget = {"thinking_budget": config.max_tokens} if config.on and config.max_tokens else {}
            return {"enable_thinking": config.on, **budget}
    return {"chat_template_kwargs": {"enable_thinking": config.on, "thinking": config.on}}


# --- tools and formats -----------------------------------------------------------------------------------------------


def _tools(request: ChatRequest, provider: OpenAICompatible) -> Iterable[Any]:
    for tool in request.tools:
        if tool.server is None:
            yield {"type": "function", "function": _function(tool)} | _mark(tool.cache_control, provider)
        elif request.family == FAMILY:
            yield tool.server


def _mark(cache_control: Raw | None, provider: OpenAICompatible) -> dict[str, Any]:
    known = cache_control is not None and "cache_control" in provider.keeps
    return {"cache_control": cache_control} if known else {}


def _function(tool: Tool) -> dict[str, Any]:
    told: dict[str, Any] = {"name": tool.name}
    for name in ("description", "parameters", "strict"):
        if (value := getattr(tool, name)) is not None:
            told[name] = value
    return told


def _tool_choice(choice: ToolChoice) -> Any:
    return {"type": "function", "function": {"name": choice.name}} if choice.mode == "named" else choice.mode


def _response_format(wanted: ResponseFormat) -> dict[str, Any]:
    told: dict[str, Any] = {"type": wanted.type}
    if wanted.type == "json_schema":
        schema: dict[str, Any] = {"name": wanted.name}
        for name in ("description", "schema", "strict"):
            if (value := getattr(wanted, name)) is not None:
                schema[name] = value
        told["json_schema"] = schema
    elif wanted.type == "grammar":
        told["grammar"] = wanted.grammar
    return told


# --- messages --------------------------------------------------------------------------------------------------------


def messages(request: ChatRequest, provider: OpenAICompatible) -> list[dict[str, Any]]:
    """All messages. Images of tool results follow in a user message: `tool` messages hold text only."""
    told: list[dict[str, Any]] = []
    waiting: list[AnyPart] = []
    for message in request.messages:
        if message.role != "tool" and waiting:
            told.append({"role": "user", "content": [_part(each, provider) for each in waiting]})
            waiting = []
        if message.role == "tool":
            for result in message.content:
                if isinstance(result, ToolResult):
                    told.append(_tool_result(result, message, request, provider))
                    waiting += [each for each in result.content if isinstance(each, Image | File | Audio)]
        elif message.role == "assistant":
            told.append(_assistant(message, request, provider))
        else:
            told.append(_said(message, request, provider))
    if waiting:
        told.append({"role": "user", "content": [_part(each, provider) for each in waiting]})
    return told


def _extra(message: Message, request: ChatRequest, provider: OpenAICompatible) -> dict[str, Any]:
    if request.family != FAMILY:
        return {}
    return {
        name: raw
        for name, raw in message.extra.items()
        if name not in ("prefix", "cache_control") or name in provider.keeps
    }


def _said(message: Message, request: ChatRequest, provider: OpenAICompatible) -> dict[str, Any]:
    role = message.role
    if role == "developer" and not provider.developer_role(request.model):
        role = "system"
    told: dict[str, Any] = {"role": role, "content": _content(message.content, request, provider)}
    if message.name is not None:
        told["name"] = message.name
    return told | _extra(message, request, provider)


def _content(parts: list[AnyPart], request: ChatRequest, provider: OpenAICompatible) -> Any:
    """Text alone as a string, all else as parts."""
    marks = "cache_control" in provider.keeps and any(each.cache_control is not None for each in parts)
    if not marks and all(isinstance(each, Text) for each in parts) and len(parts) <= 1:
        return "".join(each.text for each in parts if isinstance(each, Text))
    kept = (each for each in parts if not isinstance(each, Opaque) or each.family == FAMILY)
    return [_part(each, provider) for each in kept]


def _part(part: AnyPart, provider: OpenAICompatible) -> Any:
    told: dict[str, Any]
    match part:
        case Text(text=text):
            told = {"type": "text", "text": text}
        case Image():
            image = {"url": part.url or data_url(part.media_type, part.data)}
            told = {"type": "image_url", "image_url": image | ({"detail": part.detail} if part.detail else {})}
        case Audio():
            told = {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
        case Video():
            told = {"type": "video_url", "video_url": {"url": part.url or data_url(part.media_type, part.data)}}
        case File(media_type=kind) if kind.startswith("text/") and part.data:
            told = {"type": "text", "text": _text_of(part)}  # upstreams take no other files than PDF
        case File():
            told = {"type": "file", "file": _file(part)}
        case Opaque(raw=raw):
            return raw
        case _:
            raise BadRequest(f"a part of type {type(part).__name__} cannot stand in this message", param="messages")
    return told | _mark(part.cache_control, provider)


def _text_of(part: File) -> str:
    """The text of a file, behind its name."""
    try:
        text = base64.b64decode(part.data, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        raise BadRequest(f"the file {part.filename or ''} is not valid base64", param="messages") from None
    return f"{part.filename}:\n{text}" if part.filename else text


def _file(part: File) -> dict[str, str]:
    told = {"filename": part.filename} if part.filename else {}
    if part.file_id:
        return told | {"file_id": part.file_id}
    if part.data:
        return {"filename": "file", **told, "file_data": data_url(part.media_type or "application/pdf", part.data)}
    return told | {"file_url": part.url}


def data_url(media_type: str, data: str) -> str:
    """A `data:` URL of base64 text."""
    return f"data:{media_type};base64,{data}"


def _tool_result(
    result: ToolResult, message: Message, request: ChatRequest, provider: OpenAICompatible
) -> dict[str, Any]:
    texts = [each for each in result.content if isinstance(each, Text)]
    content = _content([*texts], request, provider) if texts else "[no text]" if result.content else ""
    told: dict[str, Any] = {"role": "tool", "tool_call_id": result.tool_call_id, "content": content}
    if result.is_error and "is_error" in provider.keeps:
        told["is_error"] = True
    return told | _extra(message, request, provider)


def _assistant(message: Message, request: ChatRequest, provider: OpenAICompatible) -> dict[str, Any]:
    said = [each for each in message.content if isinstance(each, Text)]
    calls = [_call(each, provider) for each in message.content if isinstance(each, ToolCall)]
    thoughts = [each for each in message.content if isinstance(each, Reasoning)]
    told: dict[str, Any] = {"role": "assistant", "content": _content([*said], request, provider) if said else None}
    if message.name is not None:
        told["name"] = message.name
    if calls:
        told["tool_calls"] = calls
    refusals = [each.text for each in message.content if isinstance(each, Refusal)]
    if refusals:
        told["refusal"] = "".join(refusals)
    if told["content"] is None and not calls and not refusals:
        told["content"] = ""
    told |= _thoughts(*_signed(thoughts, request, provider))
    images = [_part(each, provider) for each in message.content if isinstance(each, Image)]
    if images and "images" in provider.keeps:
        told["images"] = images
    audio = next((each.id for each in message.content if isinstance(each, Audio) and each.id), None)
    if audio is not None:
        told["audio"] = {"id": audio}
    return told | _extra(message, request, provider)


def _call(call: ToolCall, provider: OpenAICompatible) -> dict[str, Any]:
    # an empty string is no JSON, and some upstreams parse it
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function} | _mark(call.cache_control, provider)


def _signed(
    thoughts: list[Reasoning], request: ChatRequest, provider: OpenAICompatible
) -> tuple[list[Reasoning], frozenset[str]]:
    """The thinking that may be sent back, and in which members."""
    if provider.signed is not None:
        return [each for each in thoughts if each.format in provider.signed], provider.keeps
    # a signature is for the upstream that gave it, which was one of this family only if the client speaks its language
    return thoughts, provider.keeps if request.family == FAMILY else provider.keeps - {"reasoning_details"}


def _thoughts(thoughts: list[Reasoning], keeps: frozenset[str]) -> dict[str, Any]:
    """Thinking in one form: details where they hold more than text, which only gateways give and take; else the text."""
    if "reasoning_details" in keeps and any(each.signature or each.data or each.id for each in thoughts):
        return {"reasoning_details": [detail(each, index) for index, each in enumerate(thoughts)]}
    text = "".join(each.text for each in thoughts if each.kind in ("text", "summary"))
    name = next((name for name in ("reasoning_content", "reasoning") if name in keeps), None)
    return {name: text} if text and name else {}


def detail(thought: Reasoning, index: int) -> wire.ReasoningDetail:
    """A piece of thinking as an entry of `reasoning_details`."""
    told = wire.ReasoningDetail(
        type=f"reasoning.{thought.kind}", format=thought.format, id=thought.id, index=index, signature=thought.signature
    )
    match thought.kind:
        case "summary":
            told.summary = thought.text
        case "text":
            told.text = thought.text
        case _:
            told.data = thought.data
    return told
