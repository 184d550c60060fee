"""The messages of a conversation in Ollama's form: content is one text, images stand beside it, arguments are objects."""

from __future__ import annotations

import base64
import re
from typing import Any

from router import (
    AnyPart,
    Audio,
    BadRequest,
    File,
    Image,
    Message,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Video,
)

#: documents that are text as they are, by their media type
_PLAIN = re.compile(r"text/|application/(?:json|xml|x-yaml|yaml|javascript)")


class Turns:
    """Takes messages in and holds what they make: `messages`, and the names of what was `dropped`."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.dropped: set[str] = set()
        self._names: dict[str, str] = {}
        self._images: list[str] = []

    def add(self, message: Message) -> None:
        """Take one message in."""
        if any(part.cache_control is not None for part in message.content):
            self.dropped.add("cache_control")
        results = [part for part in message.content if isinstance(part, ToolResult)]
        rest = [part for part in message.content if not isinstance(part, ToolResult)]
        for result in results:
            self._result(result)
        if message.role == "tool":
            return
        self.finish()
        if rest or not results:
            role = "system" if message.role == "developer" else message.role
            self._said(role, rest)

    def finish(self) -> None:
        """The end of a run of tool results: the images among them follow as the user's."""
        if self._images:
            self.messages.append({"role": "user", "content": "", "images": self._images})
            self._images = []

    def _result(self, result: ToolResult) -> None:
        told: dict[str, Any] = {
            "role": "tool",
            "content": "".join(part.text for part in result.content if isinstance(part, Text)),
        }
        if name := result.name or self._names.get(result.tool_call_id):
            told["tool_name"] = name
        self._images += [part.data for part in result.content if isinstance(part, Image)]
        self.messages.append(told)

    def _said(self, role: str, parts: list[Any]) -> None:
        told: dict[str, Any] = {"role": role, "content": "".join(self._text(part) for part in parts)}
        if images := [part.data for part in parts if isinstance(part, Image)]:
            told["images"] = images
        if thought := "".join(part.text for part in parts if isinstance(part, Reasoning) and self._ours(part)):
            told["thinking"] = thought
        if calls := [self._call(part) for part in parts if isinstance(part, ToolCall)]:
            told["tool_calls"] = calls
        self.messages.append(told)

    def _text(self, part: AnyPart) -> str:
        match part:
            case Text(text=text) | Refusal(text=text):
                return text
            case File():
                return _file_text(part)
            case Audio() | Video():
                raise BadRequest(f"Ollama's models take no {type(part).__name__.lower()}", param="messages")
            case Image() | ToolCall() | Reasoning():
                return ""
        self.dropped.add(f"messages.content.{part.__struct_config__.tag}")
        return ""

    def _ours(self, part: Reasoning) -> bool:
        """Thinking of other families stays with them."""
        if part.kind in ("text", "summary") and part.format == "unknown" and not part.signature:
            return True
        self.dropped.add("reasoning_details")
        return False

    def _call(self, part: ToolCall) -> dict[str, Any]:
        self._names[part.id] = part.name
        return {"function": {"name": part.name, "arguments": part.input}}


def _file_text(part: File) -> str:
    """A file of text becomes part of the message."""
    name, kind = part.filename or "file", part.media_type.partition(";")[0]
    if not part.data or not _PLAIN.match(kind):
        raise BadRequest(f"Ollama takes files as text; {name} is {kind or 'not given as data'}", param="messages")
    try:
        return f"\n{name}:\n{base64.b64decode(part.data, validate=True).decode()}\n"
    except ValueError:
        raise BadRequest(f"{name} says that it is {kind}, but is no text in UTF-8", param="messages") from None
