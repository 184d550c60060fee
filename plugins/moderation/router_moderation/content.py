"""What of a request, or of an answer, a moderation model gets to see."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from router import Call, ChatRequest, Image, Text, ToolResult

#: longer texts are looked at in pieces; so many pieces go into one question
PIECE_CHARS, MOST_PIECES = 20_000, 32
#: members of requests other than chat that hold what somebody wrote
WRITTEN = ("input", "prompt", "query", "documents", "instructions", "content", "contents", "requests")

#: what takes an image or another file in place of a text; elsewhere the same characters are words for a model
MIXED = ("embeddings", "rerank")
_BINARY = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/\r\n]*={0,2}\s*")


class Content(Struct, kw_only=True):
    """Texts, and addresses of images (http, https or data)."""

    texts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    def questions(self) -> Iterator[list[Any]]:
        """Inputs of moderation requests: texts together, images one by one, which is all that OpenAI takes (2026-11)."""
        pieces = [
            text[start : start + PIECE_CHARS]
            for text in self.texts
            for start in range(0, len(text), PIECE_CHARS)
            if text[start : start + PIECE_CHARS].strip()
        ]
        for start in range(0, len(pieces), MOST_PIECES):
            yield pieces[start : start + MOST_PIECES]
        for url in self.images:
            yield [{"type": "image_url", "image_url": {"url": url}}]


def content_of(call: Call) -> Content:
    """What the client sent. Raises BadRequest where it cannot be read."""
    if not call.dialect.through_hub:
        return Content(texts=list(_written(call)))
    warnings = list(call.head.warnings)
    request = call.dialect.decode(call.head)
    call.head.warnings[:] = warnings  # decoded once more for the upstream, it would warn twice
    return _of_chat(request)


def _of_chat(request: ChatRequest) -> Content:
    """All that is not the model's own: the client may have hidden it in any turn."""
    content = Content()
    for message in request.messages:
        if message.role != "assistant":
            _take(message.content, content)
    return content


def _take(parts: Sequence[Any], content: Content) -> None:
    for part in parts:
        match part:
            case Text(text=text):
                content.texts.append(text)
            case ToolResult(content=inner):
                _take(inner, content)
            case Image(url="", data=data, media_type=kind):
                content.images.append(f"data:{kind or 'image/png'};base64,{data}")
            case Image(url=url):
                content.images.append(url)


def _written(call: Call) -> Iterator[str]:
    mixed = call.dialect.produces in MIXED
    for name in WRITTEN:
        if (raw := call.head.members.get(name)) is not None:
            for text in _strings(msgspec.json.decode(raw)):
                if not (mixed and _BINARY.fullmatch(text)):
                    yield text


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from _strings(each)
        case dict():
            for each in value.values():
                yield from _strings(each)
