"""The members of a Responses request with their ranges (api.md 6): name -> function from JSON to the checked value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from ...errors import BadRequest
from ...wire import responses as wire
from ..openai_chat.fields import (
    FIELDS as CHAT,
)
from ..openai_chat.fields import (
    MAX_COUNT,
    MAX_TOOLS,
    Check,
    boolean,
    convert,
    integer,
    json_object,
    of_type,
    one_of,
    strings,
    text,
    tool_name,
)

MAX_TOKENS = MAX_COUNT
_VERBOSITIES = ("low", "medium", "high", "xhigh", "max")

_decode_tools = msgspec.json.Decoder(list[wire.PeekedTool] | None).decode
_decode_choice = msgspec.json.Decoder(str | wire.ChosenTool | None).decode
_decode_text = msgspec.json.Decoder(wire.Text | None).decode
_decode_reasoning = msgspec.json.Decoder(wire.Reasoning | None).decode


def tools(raw: Raw) -> list[wire.PeekedTool] | None:
    """The tools on offer."""
    value: list[wire.PeekedTool] | None = convert(_decode_tools, "tools", raw, "a list of tools with a type")
    if value is not None and len(value) > MAX_TOOLS:
        raise BadRequest(f"tools must hold at most {MAX_TOOLS}; got {len(value)}", param="tools")
    for place, tool in placed(value or [], "tools"):
        if tool.type in ("function", "custom", "namespace"):
            if not tool.name:
                raise BadRequest(f"{place}.name is required", param=f"{place}.name")
            tool_name(tool.name, f"{place}.name")
    return value


def placed(tools: list[wire.PeekedTool], place: str) -> Iterator[tuple[str, wire.PeekedTool]]:
    """All tools, those of namespaces too, each with its place in the request."""
    for index, tool in enumerate(tools):
        yield f"{place}[{index}]", tool
        if tool.type == "namespace":
            yield from placed(tool.tools or [], f"{place}[{index}].tools")


def tool_choice(raw: Raw) -> str | wire.ChosenTool | None:
    """A word, or the tool that must be called."""
    wanted = "none, auto, required or an object with a type"
    value: str | wire.ChosenTool | None = convert(_decode_choice, "tool_choice", raw, wanted)
    if isinstance(value, str) and value not in ("none", "auto", "required"):
        raise BadRequest(f"tool_choice must be {wanted}; got {value[:80]!r}", param="tool_choice")
    if isinstance(value, wire.ChosenTool):
        if value.type in ("function", "custom") and not value.name:
            raise BadRequest("tool_choice.name is required", param="tool_choice.name")
        if value.type == "allowed_tools" and value.tools is None:
            raise BadRequest("tool_choice.tools is required", param="tool_choice.tools")
    return value


def text_form(raw: Raw) -> wire.Text | None:
    """The form that the answer must have."""
    value: wire.Text | None = convert(_decode_text, "text", raw, "an object with format and verbosity")
    if value is None:
        return None
    if value.verbosity is not None and value.verbosity not in _VERBOSITIES:
        raise BadRequest(f"text.verbosity must be one of {', '.join(_VERBOSITIES)}", param="text.verbosity")
    if (form := value.format) is not None:
        if form.type == "json_schema" and form.schema is None:
            raise BadRequest("text.format.schema is required", param="text.format.schema")
        if form.type == "grammar" and not form.grammar:
            raise BadRequest("text.format.grammar is required", param="text.format.grammar")
    return value


def reasoning(raw: Raw) -> wire.Reasoning | None:
    """How much to think, and what of it to show."""
    value: wire.Reasoning | None = convert(_decode_reasoning, "reasoning", raw, "an object")
    if value is None or value.max_tokens is None:
        return value
    if not 0 <= value.max_tokens <= MAX_TOKENS:
        raise BadRequest("reasoning.max_tokens must be an integer from 0 up", param="reasoning.max_tokens")
    if value.effort is not None:
        raise BadRequest("reasoning takes either effort or max_tokens, not both", param="reasoning")
    return value


#: members that mean the same here as in chat
_SHARED = (
    *("model", "models", "route", "provider", "preset", "plugins", "transforms", "stream"),
    *("temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty"),
    *("repetition_penalty", "seed", "stop", "logit_bias", "top_logprobs", "user", "parallel_tool_calls"),
    *("modalities", "image_config", "service_tier", "metadata", "store", "safety_identifier"),
    *("prompt_cache_key", "prompt_cache_options", "cache_control", "session_id", "trace", "user_id", "debug", "usage"),
    *("include_reasoning", "structured_outputs"),
)

FIELDS: dict[str, Check] = {
    **{name: CHAT[name] for name in _SHARED},
    "instructions": of_type("instructions", str | list[Raw] | None, "a string"),
    "max_output_tokens": integer("max_output_tokens", 1, MAX_TOKENS),
    "max_tool_calls": integer("max_tool_calls", 1, MAX_TOKENS),
    "tools": tools,
    "tool_choice": tool_choice,
    "text": text_form,
    "reasoning": reasoning,
    "include": strings("include"),
    "previous_response_id": text("previous_response_id", 256),
    "truncation": one_of("truncation", "auto", "disabled"),
    "background": boolean("background"),
    "stream_options": json_object("stream_options"),
    "prompt": json_object("prompt"),
}


def checked(members: dict[str, Raw]) -> tuple[dict[str, Any], list[str]]:
    """The checked values of all members but `input` that are not null, and the names that the contract does not know."""
    values: dict[str, Any] = {}
    unknown: list[str] = []
    for name, raw in members.items():
        if name == "input":
            continue
        check = FIELDS.get(name)
        if check is None:
            unknown.append(name)
        elif (value := check(raw)) is not None:
            values[name] = value
    return values, unknown
