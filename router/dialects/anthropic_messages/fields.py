"""The members of a Messages request with their ranges (api.md 7): name -> function from JSON to the checked value.

Each raises BadRequest that names the member and says what is allowed. A null is an absent member.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw

from ...errors import BadRequest
from ...wire import anthropic as wire
from ..openai_chat import fields as chat
from ..openai_chat.fields import MAX_COUNT, MAX_NAME_CHARS, Check, convert, integer, json_object, number, of_type

EFFORTS = ("max", "xhigh", "high", "medium", "low", "minimal", "none")
MAX_FALLBACKS = 3
MAX_TOOLS = 512
MIN_BUDGET = 1024

_decode_system = msgspec.json.Decoder(str | list[wire.GivenBlock] | None).decode
_decode_tools = msgspec.json.Decoder(list[wire.GivenTool] | None).decode
_decode_choice = msgspec.json.Decoder(wire.GivenToolChoice | None).decode
_decode_thinking = msgspec.json.Decoder(wire.GivenThinking | None).decode
_decode_output = msgspec.json.Decoder(wire.GivenOutputConfig | None).decode
_decode_format = msgspec.json.Decoder(wire.GivenFormat | None).decode
_decode_fallbacks = msgspec.json.Decoder(list[wire.GivenFallback] | None).decode
_decode_messages = msgspec.json.Decoder(list[wire.GivenMessage] | None).decode
_tool_name = re.compile(r"[a-zA-Z0-9_-]{1,128}").fullmatch


def messages(raw: Raw) -> list[wire.GivenMessage] | None:
    """The conversation. What its blocks hold is checked by `peek`."""
    value: list[wire.GivenMessage] | None = convert(_decode_messages, "messages", raw, "a list of messages")
    return value


def system(raw: Raw) -> str | list[wire.GivenBlock] | None:
    """The system prompt: a string or text blocks."""
    value: str | list[wire.GivenBlock] | None = convert(
        _decode_system, "system", raw, "a string or a list of text blocks"
    )
    if isinstance(value, list):
        for index, block in enumerate(value):
            if block.type != "text" or not isinstance(block.text, str):
                raise BadRequest(f"system[{index}] must be a text block", param=f"system[{index}]")
    return value


def tools(raw: Raw) -> list[wire.GivenTool] | None:
    """The tools on offer, the client's own and Anthropic's."""
    value: list[wire.GivenTool] | None = convert(_decode_tools, "tools", raw, "a list of tools")
    if value is None:
        return None
    if len(value) > MAX_TOOLS:
        raise BadRequest(f"tools must hold at most {MAX_TOOLS}; got {len(value)}", param="tools")
    for index, tool in enumerate(value):
        if own_tool(tool):
            _own(tool, f"tools[{index}]")
    return value


def own_tool(tool: wire.GivenTool) -> bool:
    """True for a tool that the client runs by a schema of its own."""
    return tool.type is None or tool.type == "custom"


def _own(tool: wire.GivenTool, place: str) -> None:
    if tool.name is None:
        raise BadRequest(f"{place}.name is required", param=f"{place}.name")
    if not _tool_name(tool.name):
        raise BadRequest(
            f"{place}.name must consist of 1 to 128 letters, digits, '_' and '-'; got {tool.name[:80]!r}",
            param=f"{place}.name",
        )
    if bytes(tool.input_schema)[:1] != b"{":
        raise BadRequest(f"{place}.input_schema is required and a JSON schema", param=f"{place}.input_schema")


def tool_choice(raw: Raw) -> wire.GivenToolChoice | None:
    """Which tools may or must be called."""
    value: wire.GivenToolChoice | None = convert(_decode_choice, "tool_choice", raw, "an object with type")
    if value is None:
        return None
    if value.type not in ("auto", "any", "tool", "none"):
        raise BadRequest("tool_choice.type must be one of auto, any, tool, none", param="tool_choice.type")
    if value.type == "tool" and not value.name:
        raise BadRequest("tool_choice.name is required with type tool", param="tool_choice.name")
    return value


def thinking(raw: Raw) -> wire.GivenThinking | None:
    """How to think. That the budget fits into max_tokens is checked by `peek`; a type that nobody knows is the upstream's to judge."""
    value: wire.GivenThinking | None = convert(_decode_thinking, "thinking", raw, "an object with type")
    if value is not None and value.type == "enabled":
        if value.budget_tokens is None:
            raise BadRequest("thinking.budget_tokens is required with type enabled", param="thinking.budget_tokens")
        if not MIN_BUDGET <= value.budget_tokens <= MAX_COUNT:
            raise BadRequest(
                f"thinking.budget_tokens must be an integer from {MIN_BUDGET} up", param="thinking.budget_tokens"
            )
    return value


def output_config(raw: Raw) -> wire.GivenOutputConfig | None:
    """Form and effort of the answer."""
    value: wire.GivenOutputConfig | None = convert(_decode_output, "output_config", raw, "an object")
    if value is None:
        return None
    if value.effort is not None and value.effort not in EFFORTS:
        raise BadRequest(f"output_config.effort must be one of {', '.join(EFFORTS)}", param="output_config.effort")
    if value.format is not None:
        _format(value.format, "output_config.format")
    return value


def output_format(raw: Raw) -> wire.GivenFormat | None:
    """`output_config.format` as it was called while in beta."""
    value: wire.GivenFormat | None = convert(_decode_format, "output_format", raw, "an object with type")
    if value is not None:
        _format(value, "output_format")
    return value


def _format(value: wire.GivenFormat, place: str) -> None:
    if value.type == "json_schema" and bytes(value.schema)[:1] != b"{":
        raise BadRequest(f"{place}.schema is required and a JSON schema", param=f"{place}.schema")


def fallbacks(raw: Raw) -> list[str] | None:
    """Further models, in order, each as an object."""
    value: list[wire.GivenFallback] | None = convert(_decode_fallbacks, "fallbacks", raw, "a list of {model}")
    if value is None:
        return None
    if len(value) > MAX_FALLBACKS:
        raise BadRequest(f"fallbacks must name at most {MAX_FALLBACKS} models; got {len(value)}", param="fallbacks")
    for index, each in enumerate(value):
        if not each.model or len(each.model) > MAX_NAME_CHARS or not each.model.isprintable():
            place = f"fallbacks[{index}].model"
            raise BadRequest(f"{place} must be a printable string of 1 to {MAX_NAME_CHARS} characters", param=place)
    return [each.model for each in value]


def anything(raw: Raw) -> Any:
    """A member that is passed on as it is."""
    return raw if bytes(raw) != b"null" else None


FIELDS: dict[str, Check] = {
    "model": chat.model,
    "max_tokens": integer("max_tokens", 1, MAX_COUNT),
    "messages": messages,
    "system": system,
    "temperature": number("temperature", 0, 1),
    "top_p": number("top_p", 0, 1),
    "top_k": integer("top_k", 0, MAX_COUNT),
    "stop_sequences": chat.strings("stop_sequences"),
    "stream": chat.boolean("stream"),
    "tools": tools,
    "tool_choice": tool_choice,
    "thinking": thinking,
    "output_config": output_config,
    "output_format": output_format,
    "metadata": of_type("metadata", wire.GivenMetadata | None, "an object"),
    "service_tier": chat.text("service_tier"),
    "cache_control": json_object("cache_control"),
    "context_management": anything,
    "container": anything,
    "mcp_servers": anything,
    "speed": chat.text("speed"),
    "inference_geo": chat.text("inference_geo"),
    "betas": anything,
    # what is ours
    "models": chat.models,
    "fallbacks": fallbacks,
    "provider": chat.preferences,
    "plugins": chat.plugins,
    "preset": chat.text("preset", MAX_NAME_CHARS),
    "session_id": chat.text("session_id", 256),
    "trace": chat.trace,
    "route": chat.one_of("route", "fallback", "sort"),
}
