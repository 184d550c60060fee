"""The messages of a conversation in Cohere's form, and the documents that they brought."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
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
    """Takes messages in and holds what they make: `messages`, `documents`, and the names of what was `dropped`.

    `thinks`: the model wants its thoughts back as such; else they go back only as the plan of its tool calls.
    """

    def __init__(self, *, thinks: bool) -> None:
        self.messages: list[dict[str, Any]] = []
        self.documents: list[dict[str, Any]] = []
        self.dropped: set[str] = set()
        self._thinks = thinks
        self._images: list[dict[str, Any]] = []

    def add(self, message: Message) -> None:
        """Take one message in."""
        if any(part.cache_control is not None for part in message.content):
            self.dropped.add("cache_control")
        if message.role == "tool":
            self._results(message.content)
            return
        self.finish()
        if message.role == "assistant":
            self._assistant(message)
        elif message.role == "user":
            self._results(message.content)
            rest = [part for part in message.content if not isinstance(part, ToolResult)]
            if rest or not message.content:
                self.messages.append({"role": "user", "content": self._content(rest)})
        else:
            self.messages.append({"role": "system", "content": message.text})

    def finish(self) -> None:
        """The end of a run of tool results: the images among them follow as the user's, since a result holds text only."""
        if self._images:
            self.messages.append({"role": "user", "content": self._images})
            self._images = []

    def _results(self, content: list[AnyPart]) -> None:
        for part in content:
            if isinstance(part, ToolResult):
                text = "".join(each.text for each in part.content if isinstance(each, Text))
                images = [_image(each) for each in part.content if isinstance(each, Image)]
                self._images += images
                said = text or ("[an image follows]" if images else "[no result]")
                self.messages.append({"role": "tool", "tool_call_id": part.tool_call_id, "content": said})

    def _content(self, parts: Sequence[AnyPart]) -> Any:
        """Text alone as a string, all else as parts."""
        told: list[dict[str, Any]] = []
        for part in parts:
            match part:
                case Text(text=text) | Refusal(text=text):
                    told.append({"type": "text", "text": text})
                case Image():
                    told.append(_image(part))
                case File():
                    self._document(part)
                case Audio() | Video():
                    raise BadRequest(f"Cohere's models take no {type(part).__name__.lower()}", param="messages")
                case _:
                    self.dropped.add(f"messages.content.{part.__struct_config__.tag}")
        if len(told) == 1 and told[0]["type"] == "text":
            return told[0]["text"]
        return told or ""

    def _document(self, part: File) -> None:
        """A file of text becomes a document that can be cited."""
        name = part.filename or "document"
        kind = part.media_type.partition(";")[0]
        if not part.data or not _PLAIN.match(kind):
            raise BadRequest(
                f"Cohere takes documents as text; {name} is {kind or 'not given as data'}", param="messages"
            )
        try:
            text = base64.b64decode(part.data, validate=True).decode()
        except ValueError:
            raise BadRequest(f"{name} says that it is {kind}, but is no text in UTF-8", param="messages") from None
        self.documents.append({"id": f"doc:{len(self.documents)}", "data": {"title": name, "text": text}})

    def _assistant(self, message: Message) -> None:
        calls = [_call(part) for part in message.content if isinstance(part, ToolCall)]
        texts = [part.text for part in message.content if isinstance(part, Text | Refusal) and part.text]
        thoughts = "".join(self._thought(part) for part in message.content if isinstance(part, Reasoning))
        told: dict[str, Any] = {"role": "assistant"}
        content = [{"type": "text", "text": text} for text in texts]
        if thoughts and self._thinks:
            content.insert(0, {"type": "thinking", "thinking": thoughts})
        elif thoughts and calls:
            told["tool_plan"] = thoughts
        elif thoughts:
            self.dropped.add("reasoning_details")
        if calls:
            told["tool_calls"] = calls
        if content or not calls:
            told["content"] = texts[0] if len(content) == 1 and texts else content or ""
        for part in message.content:
            if not isinstance(part, Text | Refusal | ToolCall | Reasoning):
                self.dropped.add(f"messages.content.{part.__struct_config__.tag}")
        self.messages.append(told)

    def _thought(self, part: Reasoning) -> str:
        """Thinking of other families stays with them."""
        if part.kind in ("text", "summary") and part.format == "unknown" and not part.signature:
            return part.text
        self.dropped.add("reasoning_details")
        return ""


def _call(part: ToolCall) -> dict[str, Any]:
    return {
        "id": part.id,
        "type": "function",
        "function": {"name": part.name, "arguments": part.arguments or "{}"},
    }


def _image(part: Image) -> dict[str, Any]:
    image = {"url": part.url or f"data:{part.media_type or 'image/png'};base64,{part.data}"}
    return {"type": "image_url", "image_url": image | ({"detail": part.detail} if part.detail else {})}
