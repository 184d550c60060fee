"""A Messages request in the hub's form. `peek` has checked its scalars; what it left as bytes is read here.

Members of blocks that the hub has no place for stay with their part (`extra`), blocks that we do not know stay whole (`Opaque`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from msgspec import Raw

from ...errors import BadRequest
from ...head import Head
from ...model import (
    AnyPart,
    ChatRequest,
    Effort,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    ReasoningConfig,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from ...wire import anthropic as wire
from ..openai_chat.peek import shortened
from .fields import own_tool
from .marks import CLAUDE, redacted, thought
from .patch import EXTENSIONS
from .peek import Peeked

FAMILY = "anthropic"
Members = dict[str, Raw]

#: members that have a place of their own in `ChatRequest`; what else there is goes on as it is, in `extra`
_PLACED = frozenset(
    {
        *("model", "max_tokens", "messages", "system", "temperature", "top_p", "top_k", "stop_sequences", "stream"),
        *("tools", "tool_choice", "thinking", "output_config", "output_format", "metadata", "service_tier"),
        "cache_control",
    }
)
#: how thinking is asked for in forms that mean no more than "as you like"
_ADAPTIVE = ("adaptive", "between_tools")
#: Claude Code says with this which of its versions asks, and a digest that changes with each request: it would keep all upstreams
#: from recognising a prompt that they have cached
_ATTRIBUTION = "x-anthropic-billing-header:"
_TIERS = {"standard_only": "default"}


def decode(head: Head) -> ChatRequest:
    """The whole request. Raises BadRequest with `param`."""
    members = head.members
    peeked: Peeked = head.decoded
    get = peeked.values.get
    choice: wire.GivenToolChoice | None = get("tool_choice")
    tier = get("service_tier")
    return ChatRequest(
        messages=[*_system(members), *_messages(members)],
        model=head.model,
        family=FAMILY,
        stream=head.stream,
        max_tokens=head.max_tokens,
        temperature=get("temperature"),
        top_p=get("top_p"),
        top_k=get("top_k"),
        stop=get("stop_sequences", []),
        user=head.user,
        tools=_tools(members, get("tools", [])),
        tool_choice=_tool_choice(choice),
        parallel_tool_calls=False if choice is not None and choice.disable_parallel_tool_use else None,
        response_format=_response_format(peeked.values),
        reasoning=_reasoning(peeked.values),
        service_tier=_TIERS.get(tier or "", tier),
        cache_control=members["cache_control"] if "cache_control" in peeked.values else None,
        extra={
            name: raw
            for name, raw in members.items()
            if name not in _PLACED and name not in EXTENSIONS and bytes(raw) != b"null"
        },
    )


# --- messages --------------------------------------------------------------------------------------------------------


def _system(members: Members) -> Iterator[Message]:
    raw = members.get("system")
    if raw is None or bytes(raw) == b"null":
        return
    parts = _Parts({}).of(raw, "system")
    kept = [part for part in parts if not (isinstance(part, Text) and part.text.startswith(_ATTRIBUTION))]
    if kept:
        yield Message(role="system", content=kept)


def _messages(members: Members) -> Iterator[Message]:
    """Results of tools become messages of their own, as the hub has them."""
    names: dict[str, str] = {}
    for index, raw in enumerate(wire.decode_raws(members["messages"])):
        given = wire.decode_members(raw)
        role = wire.decode_any(given.pop("role"))
        parts = _Parts(names).of(given.pop("content"), f"messages[{index}].content")
        if role == "assistant":
            names |= {part.id: part.name for part in parts if isinstance(part, ToolCall)}
            yield Message(role="assistant", content=parts, extra=given)
        elif role == "system":
            yield Message(role="system", content=parts, extra=given)
        else:
            yield from _user(parts, given)


def _user(parts: list[AnyPart], extra: Members) -> Iterator[Message]:
    results: list[AnyPart] = [part for part in parts if isinstance(part, ToolResult)]
    rest: list[AnyPart] = [part for part in parts if not isinstance(part, ToolResult)]
    if results:
        yield Message(role="tool", content=results, extra={} if rest else extra)
    if rest or not results:
        yield Message(role="user", content=rest, extra=extra)


class _Parts:
    """Reads content. `names` are the tools' by the id of their call."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def of(self, raw: Raw, place: str) -> list[AnyPart]:
        """The parts of a string or of a list of blocks."""
        first = bytes(memoryview(raw)[:1])
        if first == b'"':
            return [Text(text=wire.decode_any(raw))]
        if first != b"[":
            raise BadRequest(f"{place} must be a string or a list of blocks", param=place)
        return [
            part
            for number, each in enumerate(wire.decode_raws(raw))
            for part in self._block(each, f"{place}[{number}]")
        ]

    def _block(self, raw: Raw, place: str) -> list[AnyPart]:
        members = wire.decode_members(raw)
        kind = wire.decode_any(members.pop("type"))
        mark = members.pop("cache_control", None)
        parts = self._parts(kind, members, raw, place)
        if mark is not None and bytes(mark) != b"null" and parts and not isinstance(parts[-1], Opaque):
            parts[-1].cache_control = mark
        return parts

    def _parts(self, kind: str, members: Members, raw: Raw, place: str) -> list[AnyPart]:
        match kind:
            case "text":
                return [Text(text=wire.decode_any(members.pop("text")), extra=_given(members))]
            case "image":
                return [_image(members, place)]
            case "document":
                return _document(members, self, place)
            case "tool_use":
                return [_call(members)]
            case "tool_result":
                return [self._result(members, place)]
            case "thinking":
                signature = members.get("signature", Raw(b'""'))
                return [thought(wire.decode_any(members["thinking"]), wire.decode_any(signature) or "")]
            case "redacted_thinking":
                return [redacted(wire.decode_any(members["data"]))]
            case "search_result":
                return _search_result(members, self, place)
            case _ if kind.endswith(("_tool_use", "_tool_result")):
                # a tool that Anthropic ran itself: what the plugin makes of such a block of an answer
                id = members.get("id") or members.get("tool_use_id")
                data = bytes(raw).decode()
                told = wire.decode_any(id) if id else None
                return [Reasoning(kind="server_tool_call", data=data, format=CLAUDE, id=told)]
        return [Opaque(family=FAMILY, raw=Raw(bytes(raw)))]

    def _result(self, members: Members, place: str) -> ToolResult:
        id = wire.decode_any(members.pop("tool_use_id"))
        content = members.pop("content", None)
        failed = members.pop("is_error", None)
        return ToolResult(
            tool_call_id=id,
            content=self.of(content, f"{place}.content") if content and bytes(content) != b"null" else [],
            is_error=failed is not None and bytes(failed) == b"true",
            name=self._names.get(id, ""),
            extra=_given(members),
        )


def _given(members: Members) -> Members:
    """What is left of a block's members, without nulls."""
    return {name: raw for name, raw in members.items() if bytes(raw) != b"null"} if members else members


def _call(members: Members) -> ToolCall:
    return ToolCall(
        id=wire.decode_any(members.pop("id")),
        name=shortened(wire.decode_any(members.pop("name"))),
        arguments=bytes(members.pop("input")).decode(),
        extra=_given(members),
    )


# --- images and documents --------------------------------------------------------------------------------------------


def _image(members: Members, place: str) -> AnyPart:
    source = wire.decode_source(members.pop("source"))
    extra = _given(members)
    match source:
        case wire.GivenSource(type="base64", data=str(data)):
            return Image(data=data, media_type=source.media_type or "", extra=extra)
        case wire.GivenSource(type="url", url=str(url)):
            return Image(url=_http(url, f"{place}.source.url"), extra=extra)
        case wire.GivenSource(type="file", file_id=str(id)):
            # a file of the upstream's that it knows to be an image
            return File(file_id=id, extra={**extra, "type": Raw(b'"image"')})
    raise BadRequest(f"{place}.source is not complete or of an unknown type", param=f"{place}.source")


def _document(members: Members, parts: _Parts, place: str) -> list[AnyPart]:
    raw = members.pop("source")
    source = wire.decode_source(raw)
    title = members.pop("title", None)
    name = wire.decode_any(title) if title is not None else None
    extra = _given(members)
    match source:
        case wire.GivenSource(type="base64", data=str(data)):
            kind = source.media_type or "application/pdf"
            return [File(data=data, media_type=kind, filename=name, extra=extra)]
        case wire.GivenSource(type="url", url=str(url)):
            return [File(url=_http(url, f"{place}.source.url"), filename=name, extra=extra)]
        case wire.GivenSource(type="file", file_id=str(id)):
            return [File(file_id=id, filename=name, extra=extra)]
        case wire.GivenSource(type="text", data=str(text)):
            return [_text_file(text, name, extra)]
        case wire.GivenSource(type="content") if source.content:
            inside = parts.of(source.content, f"{place}.source.content")
            if all(isinstance(part, Text) for part in inside):
                return [_text_file("\n".join(part.text for part in inside if isinstance(part, Text)), name, extra)]
            return inside
    raise BadRequest(f"{place}.source is not complete or of an unknown type", param=f"{place}.source")


def _text_file(text: str, name: str | None, extra: Members) -> File:
    data = base64.b64encode(text.encode("utf-8", "replace")).decode()
    return File(data=data, media_type="text/plain", filename=name, extra=extra)


def _search_result(members: Members, parts: _Parts, place: str) -> list[AnyPart]:
    """Its text for everybody; where it was found for Anthropic, which can cite it then."""
    inside = parts.of(members.pop("content", Raw(b"[]")), f"{place}.content")
    text = "\n".join(part.text for part in inside if isinstance(part, Text))
    return [Text(text=text, extra={"type": Raw(b'"search_result"'), **_given(members)})]


def _http(url: str, place: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise BadRequest(f"{place} must be an http or https URL", param=place)
    return url


# --- tools and formats -----------------------------------------------------------------------------------------------


def _tools(members: Members, given: list[wire.GivenTool]) -> list[Tool]:
    if not given:
        return []
    return [_tool(each, raw) for each, raw in zip(given, wire.decode_raws(members["tools"]), strict=True)]


def _tool(given: wire.GivenTool, raw: Raw) -> Tool:
    """A tool of the client's, or one that only Anthropic's models know."""
    if not own_tool(given):
        return Tool(name=given.name or given.type or "", server=Raw(bytes(raw)))
    members = _given(wire.decode_members(raw))
    del members["name"]
    description, strict = members.pop("description", None), members.pop("strict", None)
    return Tool(
        name=shortened(given.name or ""),
        description=None if description is None else str(wire.decode_any(description)),
        parameters=Raw(bytes(members.pop("input_schema"))),
        strict=None if strict is None else bytes(strict) == b"true",
        cache_control=members.pop("cache_control", None),
        extra=members,
    )


_MODES: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none", "tool": "named"}


def _tool_choice(choice: wire.GivenToolChoice | None) -> ToolChoice | None:
    if choice is None:
        return None
    return ToolChoice(mode=_MODES[choice.type], name=shortened(choice.name) if choice.name else "")


def _response_format(values: dict[str, Any]) -> ResponseFormat | None:
    output: wire.GivenOutputConfig | None = values.get("output_config")
    wanted: wire.GivenFormat | None = (output.format if output else None) or values.get("output_format")
    if wanted is None:
        return None
    if wanted.type != "json_schema":
        raise BadRequest(
            f"output_config.format.type must be json_schema; got {wanted.type[:80]!r}", param="output_config"
        )
    return ResponseFormat(type="json_schema", schema=Raw(bytes(wanted.schema)))


def _reasoning(values: dict[str, Any]) -> ReasoningConfig | None:
    """Thinking by budget, or as the model likes with an effort. An effort alone says how much to think, if at all."""
    thinking: wire.GivenThinking | None = values.get("thinking")
    output: wire.GivenOutputConfig | None = values.get("output_config")
    effort: Effort | None = output.effort if output is not None else None  # type: ignore[assignment]  # checked by peek
    if thinking is None:
        return ReasoningConfig(effort=effort) if effort is not None else None
    hidden = thinking.display == "omitted"
    match thinking.type:
        case "disabled":
            return ReasoningConfig(enabled=False)
        case "enabled":
            return ReasoningConfig(max_tokens=thinking.budget_tokens, exclude=hidden)
        case kind if kind in _ADAPTIVE:
            return ReasoningConfig(effort=effort, enabled=True, exclude=hidden)
    raise BadRequest(
        f"thinking.type must be one of enabled, adaptive, disabled; got {thinking.type[:80]!r}", param="thinking.type"
    )
