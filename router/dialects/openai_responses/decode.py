"""A Responses request in the hub's form. `peek` has checked its scalars; what it left as bytes is read here."""

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
    Message,
    Opaque,
    Refusal,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from ...wire import openai
from ...wire import responses as wire
from ..openai_chat.fields import convert
from ..openai_chat.patch import EXTENSIONS
from ..openai_parts import data_url, file_of, image_of, mark
from .envelope import opened
from .peek import Peeked, sent_name, stateless

#: whose vocabulary the members are in that the hub does not know: no chat API takes them
FAMILY = "openai-responses"

#: members that have a place of their own in `ChatRequest`, or that only say how the answer is to be printed
_PLACED = frozenset(
    {
        *("model", "input", "instructions", "stream", "stream_options", "max_output_tokens", "temperature", "top_p"),
        *("top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty", "repetition_penalty", "seed", "stop"),
        *("logit_bias", "top_logprobs", "user", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning"),
        *("include_reasoning", "service_tier", "cache_control", "include", "truncation", "store", "metadata"),
        *("prompt_cache_key", "client_metadata"),
    }
)
_SAME = (
    *("temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty"),
    *("repetition_penalty", "seed", "logit_bias", "top_logprobs", "service_tier", "parallel_tool_calls"),
)


def decode(head: Head) -> ChatRequest:
    """The whole request. Raises BadRequest with `param`."""
    members = head.members
    peeked: Peeked = head.decoded
    get = peeked.values.get
    stateless(peeked)
    if "prompt" in peeked.values:
        raise BadRequest("prompt: stored prompts are only for models that are relayed to OpenAI", param="prompt")
    form: wire.Text = get("text") or wire.Text()
    request = ChatRequest(
        messages=[*_instructions(members), *_conversation(head)],
        model=head.model,
        family=FAMILY,
        stream=head.stream,
        max_tokens=head.max_tokens,
        stop=get("stop", []),
        user=head.user,
        tools=list(_tools(members)),
        tool_choice=_tool_choice(get("tool_choice"), head),
        response_format=_response_format(members, form),
        reasoning=peeked.reasoning,
        verbosity=form.verbosity,
        logprobs=True if get("top_logprobs") or _LOGPROBS in get("include", ()) else None,
        extra={
            name: raw
            for name, raw in members.items()
            if name not in _PLACED and name not in EXTENSIONS and openai.given(raw)
        },
    )
    for name in _SAME:
        setattr(request, name, get(name))
    if "cache_control" in peeked.values:
        request.cache_control = members["cache_control"]
    _leave_out_server_tools(request, head)
    _only_allowed(request, get("tool_choice"))
    return request


_LOGPROBS = "message.output_text.logprobs"


def _leave_out_server_tools(request: ChatRequest, head: Head) -> None:
    if names := [tool.name for tool in request.tools if tool.server is not None]:
        head.warnings.append(f"tools: {', '.join(names)} run at OpenAI only and were left out")


def _only_allowed(request: ChatRequest, chosen: Any) -> None:
    """`allowed_tools` forbids the others: they are not offered at all."""
    if isinstance(chosen, wire.ChosenTool) and chosen.type == "allowed_tools":
        allowed = {sent_name(each.name or "", each.namespace) for each in chosen.tools or ()}
        request.tools = [tool for tool in request.tools if tool.name in allowed]


# --- input -----------------------------------------------------------------------------------------------------------

_decode_items = msgspec.json.Decoder(str | list[Raw]).decode
_decode_instructions = msgspec.json.Decoder(str | list[wire.Item] | None).decode


def _instructions(members: dict[str, Raw]) -> list[Message]:
    raw = members.get("instructions", Raw(b"null"))
    given = convert(_decode_instructions, "instructions", raw, "a string")
    if isinstance(given, str):
        return [Message(role="system", content=[Text(text=given)])] if given else []
    return [
        Message(role="system", content=_parts(each.content, f"instructions[{index}].content"))
        for index, each in enumerate(given or ())
    ]


def _conversation(head: Head) -> list[Message]:
    given = convert(_decode_items, "input", head.members["input"], "a string or a list of items")
    if isinstance(given, str):
        return [Message(role="user", content=[Text(text=given)])]
    reader = _Reader(head)
    for index, raw in enumerate(given):
        reader.add(raw, f"input[{index}]")
    return reader.messages


class _Reader:
    """Makes messages of items: what the model said in one go is several items here and one message there."""

    def __init__(self, head: Head) -> None:
        self.messages: list[Message] = []
        self._head = head
        self._names: dict[str, str] = {}
        self._left_out: set[str] = set()
        #: calls that were left out, whose results nobody would understand
        self._calls_left_out: set[str] = set()

    def add(self, raw: Raw, place: str) -> None:
        """Take one item in."""
        kind = _decode_kind(raw)
        if kind.type == "item_reference":
            self._head.warnings.append(f"{place}: refers to thinking that is not kept here, and was left out")
            return
        if kind.type not in _ITEMS:
            self._calls_left_out.add(kind.call_id or "")
            self._foreign(kind.type, raw)
            return
        if kind.type.endswith("_output") and kind.call_id in self._calls_left_out:
            return
        item: wire.Item = convert(wire.decode_item, place, raw)
        match item.type:
            case "message":
                parts = _parts(item.content, f"{place}.content")
                if item.role == "assistant":
                    self._said(*parts)
                else:
                    self.messages.append(Message(role=item.role, content=parts))  # type: ignore[arg-type]  # `peek` looked
            case "reasoning":
                self._said(*opened(item))
            case "function_call":
                self._called(item, item.arguments or "")
            case "custom_tool_call":
                self._called(item, openai.encode({"input": item.input or ""}).decode())
            case _:
                id = item.call_id or ""
                content = _parts(item.output, f"{place}.output")
                result = ToolResult(tool_call_id=id, content=content, name=self._names.get(id, ""))
                self.messages.append(Message(role="tool", content=[result]))

    def _called(self, item: wire.Item, arguments: str) -> None:
        name, id = sent_name(item.name or "", item.namespace), item.call_id or ""
        self._names[id] = name
        self._said(ToolCall(id=id, name=name, arguments=arguments))

    def _foreign(self, kind: str, raw: Raw) -> None:
        """An item that only an upstream of this API understands."""
        if kind not in self._left_out:
            self._left_out.add(kind)
            self._head.warnings.append(f"input: items of type {kind[:40]} are for OpenAI only and were left out")
        if self.messages and self.messages[-1].role == "assistant":
            self.messages[-1].content.append(Opaque(family=FAMILY, raw=raw))

    def _said(self, *parts: AnyPart) -> None:
        if not self.messages or self.messages[-1].role != "assistant":
            if not parts:
                return
            self.messages.append(Message(role="assistant"))
        self.messages[-1].content += parts


_ITEMS = frozenset(
    {
        *("message", "reasoning", "function_call", "function_call_output", "custom_tool_call"),
        "custom_tool_call_output",
    }
)


class _Kind(msgspec.Struct):
    type: str = "message"
    call_id: str | None = None


_decode_kind = msgspec.json.Decoder(_Kind).decode


def _parts(content: str | list[wire.Part] | None, place: str) -> list[AnyPart]:
    if isinstance(content, str):
        return [Text(text=content)]
    parts = []
    for index, each in enumerate(content or ()):
        part = _part(each, f"{place}[{index}]")
        mark(part, each)
        parts.append(part)
    return parts


def _part(given: wire.Part, place: str) -> AnyPart:
    match given:
        case wire.Part(type="input_text" | "output_text" | "text" | "summary_text" | "reasoning_text"):
            return Text(text=given.text or "")
        case wire.Part(type="refusal"):
            return Refusal(text=given.refusal or given.text or "")
        case wire.Part(type="input_image", image_url=str(url)):
            return image_of(url, given.detail, f"{place}.image_url")
        case wire.Part(type="input_image", file_id=str()):
            raise BadRequest(
                f"{place}.file_id: images by file id are only for models that are relayed to OpenAI; send image_url",
                param=f"{place}.file_id",
            )
        case wire.Part(type="input_audio", input_audio=wire.InputAudio(data=data, format=format)):
            return Audio(data=data_url(data, place)[1] or data, format=format)
        case wire.Part(type="input_file"):
            return file_of(given, place)
    if given.type in ("input_image", "input_audio"):
        member = "image_url" if given.type == "input_image" else "input_audio"
        raise BadRequest(f"{place}.{member} is required in a part of type {given.type}", param=f"{place}.{member}")
    raise BadRequest(
        f"{place}.type must be one of input_text, input_image, input_file, input_audio, output_text and refusal for this"
        f" model; got {given.type[:80]!r}",
        param=f"{place}.type",
    )


# --- tools and formats -----------------------------------------------------------------------------------------------

_decode_tools = msgspec.json.Decoder(list[Raw] | None).decode
#: the parameters of a custom tool, which takes free text, for upstreams that know only JSON
_FREE_TEXT = Raw(
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}'
)


def _tools(members: dict[str, Raw]) -> Iterator[Tool]:
    raws: list[Raw] = convert(_decode_tools, "tools", members.get("tools", Raw(b"null"))) or []
    for index, raw in enumerate(raws):
        given: wire.Tool = convert(wire.decode_tool, f"tools[{index}]", raw)
        if given.type in ("function", "custom"):
            yield _tool(given, None)
        elif given.type == "namespace":
            for each in given.tools or ():
                if each.type in ("function", "custom"):
                    yield _tool(each, given.name)
        else:
            yield Tool(name=given.type, server=raw)


def _tool(given: wire.Tool, namespace: str | None) -> Tool:
    name = sent_name(given.name, namespace)
    mark = given.cache_control if openai.given(given.cache_control) else None
    if given.type == "custom":
        return Tool(name=name, description=_free_text(given), parameters=_FREE_TEXT, cache_control=mark)
    return Tool(
        name=name,
        description=given.description,
        parameters=given.parameters if openai.given(given.parameters) else None,
        strict=given.strict,
        cache_control=mark,
    )


def _free_text(given: wire.Tool) -> str | None:
    """The description of a custom tool, with the grammar that its text has to follow."""
    if not openai.given(given.format):
        return given.description
    form = openai.decode_any(given.format)
    definition = form.get("definition") if isinstance(form, dict) else None
    if not definition:
        return given.description
    told = f"{given.description}\n\n" if given.description else ""
    return f"{told}`input` must follow this {form.get('syntax', '')} grammar:\n{definition}"


def _tool_choice(chosen: Any, head: Head) -> ToolChoice | None:
    match chosen:
        case "none" | "auto" | "required":
            return ToolChoice(mode=chosen)
        case wire.ChosenTool(type="function" | "custom", name=str(name)):
            return ToolChoice(mode="named", name=sent_name(name, chosen.namespace))
        case wire.ChosenTool(type="allowed_tools"):
            return _allowed(chosen)
        case wire.ChosenTool():
            head.warnings.append(f"tool_choice: {chosen.type[:40]} runs at OpenAI only; the model chooses")
    return None


def _allowed(chosen: wire.ChosenTool) -> ToolChoice:
    """A choice among some of the tools. One of them can be named; several cannot."""
    tools = chosen.tools or []
    if chosen.mode == "required" and len(tools) == 1 and tools[0].name:
        return ToolChoice(mode="named", name=sent_name(tools[0].name, tools[0].namespace))
    return ToolChoice(mode="required" if chosen.mode == "required" else "auto")


class _Schema(msgspec.Struct):
    schema: Raw = openai.NOTHING


class _Form(msgspec.Struct):
    format: _Schema | None = None


_decode_form = msgspec.json.Decoder(_Form).decode


def _response_format(members: dict[str, Raw], form: wire.Text) -> ResponseFormat | None:
    wanted = form.format
    if wanted is None or wanted.type == "text":
        return None
    told = ResponseFormat(type=wanted.type, grammar=wanted.grammar or "")
    if wanted.type == "json_schema":
        told.name, told.strict, told.description = wanted.name, wanted.strict, wanted.description
        whole = _decode_form(members["text"]).format
        told.schema = whole.schema if whole is not None else None
    return told
