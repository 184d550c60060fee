"""What echo says to a request: the last message again, a call of a tool, or an instance of a schema."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from router import BadRequest, ChatRequest, File, Message, Opaque, Reasoning, Refusal, Text, Tool, ToolCall, ToolResult

from .instances import Unfit, instance

#: a token is a word with the space before it
_WORDS = re.compile(r"\s*\S+|\s+\Z")
_decode = msgspec.json.Decoder().decode


class Answer(Struct, kw_only=True):
    """One answer before it is cut into a stream. Either `text` or `calls`."""

    id: str
    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    reasoning: str = ""
    stop_sequence: str | None = None


def answer(request: ChatRequest) -> Answer:
    """The answer to a request; always the same one to the same request. Raises BadRequest where a schema has no instance."""
    heard = last_words(request.messages)
    digest = hashlib.sha256(f"{len(request.messages)}\0{heard}".encode()).hexdigest()
    made = Answer(id=f"echo-{digest[:24]}")
    for number, tool in enumerate(_chosen(request, heard)):
        id = hashlib.sha256(f"{digest}{number}{tool.name}".encode()).hexdigest()[:24]
        made.calls.append(ToolCall(id=f"call_{id}", name=tool.name, arguments=_arguments(tool)))
    if not made.calls:
        made.text, made.stop_sequence = _stopped(_text(request, heard), request.stop)
    if request.reasoning is not None and request.reasoning.on:
        made.reasoning = _thought(heard, made)
    return made


def words(text: str) -> list[str]:
    """A text in pieces that join to it again. Each is one token."""
    return _WORDS.findall(text)


def prompt_tokens(request: ChatRequest) -> int:
    """How many tokens the request has: the words of its messages, and of its tools as JSON."""
    said = sum(len(words(_described(message.content))) for message in request.messages)
    tools = sum(
        len(words(f"{tool.name} {tool.description or ''}")) + len(words(bytes(tool.parameters or b"").decode()))
        for tool in request.tools
    )
    return said + tools


def last_words(messages: list[Message]) -> str:
    """What is to be repeated: the results of tools if they come last, else the last message of the user."""
    results = list(takewhile(_is_result, reversed(messages)))
    if results:
        return "\n".join(_described(message.content) for message in reversed(results))
    said = next(
        (message for message in reversed(messages) if message.role == "user"), messages[-1] if messages else None
    )
    return (_described(said.content) if said else "") or "(an empty message)"


def _is_result(message: Message) -> bool:
    return message.role == "tool" or any(isinstance(part, ToolResult) for part in message.content)


def _described(parts: Iterable[Any]) -> str:
    """Texts as they are, everything else by what it is."""
    return "\n".join(text for part in parts if (text := _description(part)))


def _description(part: Any) -> str:
    match part:
        case Text(text=text) | Refusal(text=text):
            return text
        case ToolResult(content=content):
            return _described(content)
        case ToolCall(name=name, arguments=arguments):
            return f"{name} {arguments}"
        case Reasoning():
            return ""
        case File(filename=str(name)):
            return f"[file {name}]"
        case Opaque(family=family):
            return f"[a part of {family}]"
    return f"[{type(part).__name__.lower()}]"


# --- text ------------------------------------------------------------------------------------------------------------


def _text(request: ChatRequest, heard: str) -> str:
    wanted = request.response_format
    if wanted is None or wanted.type not in ("json_object", "json_schema"):
        return heard
    value: Any = {"echo": heard}
    if wanted.type == "json_schema" and wanted.schema is not None:
        value = _instance(wanted.schema, wanted.name, "response_format")
    return _json(value)


def _stopped(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The text up to the first stop sequence, and which one that was."""
    found = [(text.index(stop), stop) for stop in stops if stop and stop in text]
    if not found:
        return text, None
    at, stop = min(found)
    return text[:at], stop


def _thought(heard: str, made: Answer) -> str:
    count = len(words(heard))
    plan = f"call {' and '.join(call.name for call in made.calls)}" if made.calls else "answer from them"
    return f"The last message has {count} word{'' if count == 1 else 's'}. I {plan}."


# --- tools -----------------------------------------------------------------------------------------------------------


def _chosen(request: ChatRequest, heard: str) -> list[Tool]:
    """The tools to call: the one that is forced; otherwise those that the message names, or the only one there is, but not
    when a tool has just answered."""
    tools = [tool for tool in request.tools if tool.server is None]
    choice = request.tool_choice
    mode = choice.mode if choice else "auto"
    if not tools or mode == "none":
        return []
    if choice is not None and mode == "named":
        found = [tool for tool in tools if tool.name == choice.name]
        if not found:
            raise BadRequest(f"tool_choice names {choice.name!r}, which is not among the tools", param="tool_choice")
        return found[:1]
    if mode == "auto" and _is_result(request.messages[-1]):
        return []
    named = [tool for tool in tools if _names(heard, tool)]
    if named:
        return named[:1] if request.parallel_tool_calls is False else named
    return tools[:1] if mode == "required" or len(tools) == 1 else []


def _names(heard: str, tool: Tool) -> bool:
    """Does the text hold the tool's name, as it is or with spaces for its underscores and hyphens?"""
    plain = re.sub(r"[_-]", " ", tool.name)
    return any(
        re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", heard, re.IGNORECASE) for name in {tool.name, plain} if name
    )


def _arguments(tool: Tool) -> str:
    if tool.parameters is None:
        return "{}"
    value = _instance(tool.parameters, tool.name, "tools") if _decode(tool.parameters) else {}
    return _json(value if isinstance(value, dict) else {})


def _instance(schema: Raw, name: str, param: str) -> Any:
    try:
        return instance(_decode(schema), name)
    except Unfit as error:
        raise BadRequest(f"echo cannot make an instance of the schema {name!r}: {error}", param=param) from error


def _json(value: Any) -> str:
    """With a space behind commas and colons, so that it streams word by word."""
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()
