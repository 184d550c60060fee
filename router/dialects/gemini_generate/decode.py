"""A request in the hub's form. `peek` has checked its scalars; what it left as bytes is read here."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from ...head import Head
from ...model import ChatRequest, Message, ResponseFormat, Tool, ToolChoice
from ...wire import gemini as wire
from ..openai_chat.fields import convert
from .common import encode_json, given
from .contents import Conversation, listed
from .peek import Peeked, as_list, plain_name
from .schema import json_schema

#: members of generationConfig with a place of their own in `ChatRequest`
_PLACED = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
    "seed": "seed",
    "responseLogprobs": "logprobs",
    "logprobs": "top_logprobs",
}
_ELSEWHERE = ("candidateCount", "maxOutputTokens", "stopSequences", "thinkingConfig")
_FORM = ("responseMimeType", "responseSchema", "responseJsonSchema")
#: members of the body that are read here; others go to Google only
_READ = frozenset(
    {
        *("contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "routerConfig", "model"),
        "serviceTier",
    }
)


def decode(head: Head) -> ChatRequest:
    """The whole request. Raises BadRequest with `param`."""
    peeked: Peeked = head.decoded
    members, config = peeked.members, peeked.config
    extra = {name: raw for name, raw in members.items() if name not in _READ and given(raw)}
    request = ChatRequest(
        messages=_messages(members),
        model=head.model,
        family="gemini",
        stream=head.stream,
        max_tokens=head.max_tokens,
        n=head.n,
        user=head.user,
        stop=config.get("stopSequences", []),
        reasoning=peeked.reasoning,
        tools=_tools(members),
        tool_choice=_tool_choice(peeked.calling),
    )
    for theirs, ours in _PLACED.items():
        setattr(request, ours, config.get(theirs))
    request.response_format = _response_format(peeked)
    if rest := _rest_of_config(peeked, formed=request.response_format is not None):
        extra["generationConfig"] = Raw(encode_json(rest))
    configured = members.get("toolConfig", wire.NOTHING)
    if given(configured) and (rest := _rest_of_tool_config(configured, peeked)):
        extra["toolConfig"] = Raw(encode_json(rest))
    _service_tier(request, members, extra)
    request.extra = extra
    return request


def _messages(members: dict[str, Raw]) -> list[Message]:
    conversation = Conversation()
    if given(system := members.get("systemInstruction", wire.NOTHING)):
        conversation.system(system)
    conversation.contents(members["contents"])
    return conversation.messages


# --- generationConfig ------------------------------------------------------------------------------------------------


def _response_format(peeked: Peeked) -> ResponseFormat | None:
    """JSON, with a schema or without; other forms are Google's business."""
    if peeked.config.get("responseMimeType") != "application/json":
        return None
    members = peeked.config_members
    schema = members.get("responseJsonSchema", wire.NOTHING)
    if not given(schema):
        schema = members.get("responseSchema", wire.NOTHING)
    if not given(schema):
        return ResponseFormat(type="json_object")
    return ResponseFormat(type="json_schema", schema=json_schema(schema))


def _rest_of_config(peeked: Peeked, *, formed: bool) -> dict[str, Raw]:
    placed = {*_PLACED, *_ELSEWHERE, *(_FORM if formed else ())}
    return {name: raw for name, raw in peeked.config_members.items() if name not in placed and given(raw)}


# --- tools -----------------------------------------------------------------------------------------------------------


class _Declaration(wire.Wire):
    """A function that the client runs."""

    name: str
    description: str | None = None
    parameters: Raw = wire.NOTHING
    parameters_json_schema: Raw = wire.NOTHING


_DECLARED = frozenset({"name", "description", "parameters", "parametersJsonSchema"})
_decode_tools = msgspec.json.Decoder(list[dict[str, Raw]] | dict[str, Raw] | None).decode
_decode_declaration = msgspec.json.Decoder(_Declaration).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode


def _tools(members: dict[str, Raw]) -> list[Tool]:
    raw = members.get("tools", wire.NOTHING)
    if not given(raw):
        return []
    tools: list[Tool] = []
    for each in as_list(convert(_decode_tools, "tools", raw, "a list of tools")):
        for name, value in each.items():
            if name != "functionDeclarations":
                tools.append(Tool(name=name, server=Raw(encode_json({name: value}))))
            elif given(value):
                tools += [_function(declaration) for declaration in listed(value)]
    return tools


def _function(raw: Raw) -> Tool:
    place = "tools.functionDeclarations"
    declared: _Declaration = convert(_decode_declaration, place, raw, "an object with a name")
    schema = None
    if given(declared.parameters_json_schema):
        schema = declared.parameters_json_schema
    elif given(declared.parameters):
        schema = json_schema(declared.parameters)
    rest = {name: each for name, each in _decode_object(raw).items() if name not in _DECLARED and given(each)}
    return Tool(name=plain_name(declared.name), description=declared.description, parameters=schema, extra=rest)


_MODES = {"AUTO": "auto", "VALIDATED": "auto", "NONE": "none", "ANY": "required"}


def _tool_choice(calling: wire.GivenCallingConfig) -> ToolChoice | None:
    if calling.mode is None:
        return None
    names = calling.allowed_function_names or []
    if calling.mode == "ANY" and len(names) == 1:
        return ToolChoice(mode="named", name=plain_name(names[0]))
    return ToolChoice(mode=_MODES[calling.mode])  # type: ignore[arg-type]  # one of the three


def _rest_of_tool_config(raw: Raw, peeked: Peeked) -> dict[str, Raw]:
    """What a tool choice of the hub cannot say: several names, VALIDATED, and what is not about functions."""
    rest = {name: each for name, each in _decode_object(raw).items() if given(each)}
    calling = peeked.calling
    several = len(calling.allowed_function_names or ()) > 1 or (
        calling.allowed_function_names and calling.mode != "ANY"
    )
    if calling.mode != "VALIDATED" and not several:
        rest.pop("functionCallingConfig", None)
    return rest


# --- the rest --------------------------------------------------------------------------------------------------------

_decode_text = msgspec.json.Decoder(str | None).decode


def _service_tier(request: ChatRequest, members: dict[str, Raw], extra: dict[str, Raw]) -> None:
    if "serviceTier" not in members:
        return
    said: str | None = convert(_decode_text, "serviceTier", members["serviceTier"], "a string")
    if (said or "").lower() in ("flex", "priority"):
        request.service_tier = (said or "").lower()
    elif said is not None:
        extra["serviceTier"] = members["serviceTier"]
