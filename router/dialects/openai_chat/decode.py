"""A chat request in the hub's form. `peek` has checked its scalars; what it left as bytes is read here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from ...errors import BadRequest
from ...head import Head
from ...model import (
    AnyPart,
    Audio,
    ChatRequest,
    Image,
    Message,
    Reasoning,
    Refusal,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Video,
)
from ...openai_words import text_of
from ...wire import openai as wire
from ..openai_parts import data_url, file_of, image_of, mark
from .fields import convert
from .patch import EXTENSIONS
from .peek import Peeked, shortened

#: members that have a place of their own in `ChatRequest`; what else the contract knows goes on as it is, in `extra`
_PLACED = frozenset(
    {
        *("model", "messages", "prompt", "stream", "stream_options", "max_tokens", "max_completion_tokens"),
        *("temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty"),
        *("repetition_penalty", "seed", "stop", "n", "logit_bias", "logprobs", "top_logprobs", "user", "verbosity"),
        *("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format"),
        *("reasoning", "reasoning_effort", "include_reasoning", "thinking", "service_tier", "cache_control"),
    }
)
_SAME = (
    *("temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty"),
    *("repetition_penalty", "seed", "logit_bias", "logprobs", "top_logprobs", "verbosity"),
    *("service_tier", "parallel_tool_calls"),
)


def decode(head: Head) -> ChatRequest:
    """The whole request. Raises BadRequest with `param`."""
    members = head.members
    peeked: Peeked = head.decoded
    get = peeked.values.get
    request = ChatRequest(
        messages=list(_messages(members))
        if wire.given(members.get("messages", wire.NOTHING))
        else _prompt(get("prompt", "")),
        model=head.model,
        stream=head.stream,
        max_tokens=head.max_tokens,
        stop=get("stop", []),
        n=head.n,
        user=head.user,
        tools=_tools(members),
        tool_choice=_tool_choice(peeked.values, members),
        response_format=_response_format(members) if "response_format" in peeked.values else None,
        reasoning=peeked.reasoning,
        extra={
            name: raw
            for name, raw in members.items()
            if name not in _PLACED and name not in EXTENSIONS and wire.given(raw)
        },
    )
    for name in _SAME:
        setattr(request, name, get(name))
    if "cache_control" in peeked.values:
        request.cache_control = members["cache_control"]
    return request


def _prompt(prompt: str) -> list[Message]:
    return [Message(role="user", content=[Text(text=prompt)])]


# --- messages --------------------------------------------------------------------------------------------------------


class _Given(msgspec.Struct):
    """A message as it came. What it holds besides is found in its members."""

    role: wire.Role
    content: str | list[wire.Part] | None = None
    name: str | None = None
    tool_calls: list[wire.Called] | None = None
    function_call: wire.CalledFunction | None = None
    tool_call_id: str | None = None
    is_error: bool | None = None
    refusal: str | None = None
    reasoning: Any = None
    reasoning_content: Any = None
    reasoning_details: list[wire.ReasoningDetail] | None = None
    images: list[wire.GivenImage] | None = None
    audio: wire.AudioRef | None = None
    cache_control: Raw = wire.NOTHING


_decode_messages = msgspec.json.Decoder(list[_Given]).decode
_KNOWN = frozenset(_Given.__struct_fields__)


def _messages(members: dict[str, Raw]) -> Iterator[Message]:
    raw = members["messages"]
    given: list[_Given] = convert(_decode_messages, "messages", raw, "a list of messages")
    extras = wire.decode_list(raw)
    names: dict[str, str] = {}
    legacy = ""
    for index, each in enumerate(given):
        extra = {name: value for name, value in extras[index].items() if name not in _KNOWN and wire.given(value)}
        place = f"messages[{index}]"
        match each.role:
            case "assistant":
                yield (message := _assistant(each, extra, place))
                calls = [part for part in message.content if isinstance(part, ToolCall)]
                names |= {call.id: call.name for call in calls}
                legacy = calls[-1].id if calls else legacy
            case "tool" | "function":
                id = each.tool_call_id or legacy
                name = shortened(each.name) if each.name else names.get(id, "")
                result = ToolResult(
                    tool_call_id=id, content=_parts(each, place), is_error=bool(each.is_error), name=name
                )
                _mark(result, each.cache_control)
                yield Message(role="tool", content=[result], extra=extra)
            case role:
                parts = _parts(each, place)
                if parts:
                    _mark(parts[-1], each.cache_control)
                yield Message(role=role, content=parts, name=each.name, extra=extra)


def _mark(part: AnyPart, cache_control: Raw) -> None:
    """A mark on a whole message is one on its last part."""
    if wire.given(cache_control) and part.cache_control is None:
        part.cache_control = cache_control


def _parts(given: _Given, place: str) -> list[AnyPart]:
    if isinstance(given.content, str):
        return [Text(text=given.content)]
    parts = []
    for index, each in enumerate(given.content or ()):
        part = _part(each, f"{place}.content[{index}]")
        mark(part, each)
        parts.append(part)
    return parts


def _part(given: wire.Part, place: str) -> AnyPart:
    match given:
        case wire.Part(type="text", text=str(text)):
            return Text(text=text)
        case wire.Part(type="refusal"):
            return Refusal(text=given.refusal or given.text or "")
        case wire.Part(type="image_url", image_url=wire.ImageUrl() | str()):
            return image(given.image_url, f"{place}.image_url.url")
        case (
            wire.Part(type="video_url", video_url=wire.ImageUrl(url=url))
            | wire.Part(type="video_url", video_url=str(url))
        ):
            media_type, data = data_url(url, f"{place}.video_url.url")
            return Video(data=data, media_type=media_type) if data else Video(url=url)
        case wire.Part(type="input_audio", input_audio=wire.InputAudio(data=data, format=format)):
            return Audio(data=data_url(data, place)[1] or data, format=format)
        case wire.Part(type="file", file=wire.FileRef() as file):
            return file_of(file, f"{place}.file")
    raise BadRequest(f"{place}.{given.type} is required in a part of type {given.type}", param=f"{place}.{given.type}")


def image(given: wire.ImageUrl | str | None, place: str) -> Image:
    """An image in either form, with its detail or without."""
    if isinstance(given, wire.ImageUrl):
        return image_of(given.url, given.detail, place)
    return image_of(given or "", None, place)


def _assistant(given: _Given, extra: dict[str, Raw], place: str) -> Message:
    content: list[AnyPart] = [*_thoughts(given)]
    said = _parts(given, place)
    content += [part for part in said if not isinstance(part, Text) or part.text]
    if content and said:
        _mark(content[-1], given.cache_control)
    if given.refusal:
        content.append(Refusal(text=given.refusal))
    content += [image(each.image_url, f"{place}.images") for each in given.images or ()]
    if given.audio is not None and given.audio.id:
        content.append(Audio(id=given.audio.id))
    content += [_called(each, f"{place}.tool_calls[{index}]") for index, each in enumerate(given.tool_calls or ())]
    if given.function_call is not None and not given.tool_calls:
        function = given.function_call
        content.append(
            ToolCall(
                id=f"call_{function.name}"[:64], name=shortened(function.name), arguments=text_of(function.arguments)
            )
        )
    return Message(role="assistant", content=content, name=given.name, extra=extra)


def _called(given: wire.Called, place: str) -> ToolCall:
    mark = given.cache_control if wire.given(given.cache_control) else None
    if given.function is not None:
        name, arguments = given.function.name, given.function.arguments
    elif given.custom is not None and isinstance(given.custom.name, str):
        name, arguments = given.custom.name, given.custom.input
    else:
        raise BadRequest(f"{place}.function is required", param=f"{place}.function")
    return ToolCall(id=given.id, name=shortened(name), arguments=text_of(arguments), cache_control=mark)


def _thoughts(given: _Given) -> list[Reasoning]:
    """Details where there are some, else the plain text. Fragments of one piece, as streams have them, are joined."""
    found: list[Reasoning] = []
    last: tuple[str, Any] | None = None
    for each in given.reasoning_details or ():
        kind = each.type.removeprefix("reasoning.")
        if kind not in ("text", "summary", "encrypted", "server_tool_call"):
            continue
        text = (each.summary if kind == "summary" else each.text) or ""
        if found and each.index is not None and last == (kind, each.index) and kind in ("text", "summary"):
            found[-1].text += text
            found[-1].signature = each.signature or found[-1].signature
            continue
        last = (kind, each.index)
        found.append(
            Reasoning(
                kind=kind,  # type: ignore[arg-type]  # one of the four
                text=text,
                signature=each.signature,
                data=each.data or "",
                format=each.format or "unknown",
                id=each.id,
            )
        )
    plain = given.reasoning or given.reasoning_content
    if isinstance(plain, str) and plain and not any(each.kind in ("text", "summary") for each in found):
        found.insert(0, Reasoning(text=plain))
    return found


# --- tools and formats -----------------------------------------------------------------------------------------------

_decode_tools = msgspec.json.Decoder(list[wire.Tool] | None).decode
_decode_functions = msgspec.json.Decoder(list[wire.GivenTool] | None).decode


def _tools(members: dict[str, Raw]) -> list[Tool]:
    if wire.given(raw := members.get("tools", wire.NOTHING)):
        given: list[wire.Tool] = convert(_decode_tools, "tools", raw, "a list of tools")
        whole = wire.decode_list(raw)
        return [_tool(each, Raw(wire.encode(whole[index]))) for index, each in enumerate(given)]
    if wire.given(raw := members.get("functions", wire.NOTHING)):
        return [_function(each) for each in convert(_decode_functions, "functions", raw, "a list of functions")]
    return []


def _tool(given: wire.Tool, whole: Raw) -> Tool:
    """A tool of the client's, or one that only an upstream of this family knows."""
    if given.type != "function" or given.function is None:
        return Tool(name=given.type, server=whole)
    tool = _function(given.function)
    tool.cache_control = given.cache_control if wire.given(given.cache_control) else None
    return tool


def _function(given: wire.GivenTool) -> Tool:
    return Tool(
        name=shortened(given.name),
        description=given.description,
        parameters=given.parameters if wire.given(given.parameters) else None,
        strict=given.strict,
    )


def _tool_choice(values: dict[str, Any], members: dict[str, Raw]) -> ToolChoice | None:
    chosen = values.get("tool_choice", values.get("function_call"))
    match chosen:
        case "none" | "auto" | "required":
            return ToolChoice(mode=chosen)
        case wire.ChosenTool(function=wire.Named(name=name)) | wire.Named(name=name):
            return ToolChoice(mode="named", name=shortened(name))
        case wire.ChosenTool():
            raise BadRequest(
                f"tool_choice of type {chosen.type} is only for models that are relayed to OpenAI", param="tool_choice"
            )
    return None


class _Schema(msgspec.Struct):
    name: str = "response"
    schema: Raw = wire.NOTHING
    strict: bool | None = None
    description: str | None = None


class _Format(msgspec.Struct):
    json_schema: _Schema | None = None


_decode_format = msgspec.json.Decoder(_Format).decode


def _response_format(members: dict[str, Raw]) -> ResponseFormat:
    raw = members["response_format"]
    peeked: wire.Format = wire.decode_format(raw)
    wanted = ResponseFormat(type=peeked.type, grammar=peeked.grammar or "")
    if (schema := _decode_format(raw).json_schema) is not None and peeked.type == "json_schema":
        wanted.name, wanted.strict, wanted.description = schema.name, schema.strict, schema.description
        wanted.schema = schema.schema if wire.given(schema.schema) else None
    return wanted
