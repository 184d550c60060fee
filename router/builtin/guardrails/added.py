"""What filters make of what plugins have added to a request: pages of the web, files as text. The rest was looked through before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from ...call import Call
from ...model import ChatRequest, Message, Text, ToolResult
from .content import ADDED, Filters, Findings, Walk, too_slow
from .deadline import TooSlow


class Added:
    """The additions of one call."""

    def __init__(self, call: Call, filters: Filters) -> None:
        self._call = call
        self._findings = Findings(ADDED)
        self._walk = Walk(filters, self._findings)
        self._seen: frozenset[str] = frozenset()

    async def review(self, request: ChatRequest) -> ChatRequest:
        """The request as it goes on. Raises Forbidden."""
        self._seen = frozenset(_texts(self._call.dialect.decode(self._call.head).messages))
        try:
            messages = [self._message(each) for each in request.messages]
        except TooSlow:
            raise too_slow() from None
        if (entry := self._findings.entry()) is not None:
            self._call.pipeline.append(entry)
        self._findings.refuse()
        return replace(request, messages=messages) if self._walk.changed else request

    def _message(self, message: Message) -> Message:
        content = self._parts(message.content, message.role)
        return replace(message, content=content) if content != message.content else message

    def _parts(self, parts: Sequence[Any], role: str) -> list[Any]:
        return [self._part(each, role) for each in parts]

    def _part(self, part: Any, role: str) -> Any:
        match part:
            case Text(text=text) if text not in self._seen:
                return replace(part, text=self._walk.text(text, role))
            case ToolResult(content=content):
                return replace(part, content=self._parts(content, role))
        return part


def _texts(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        yield from _of(message.content)


def _of(parts: Sequence[Any]) -> Iterator[str]:
    for part in parts:
        match part:
            case Text(text=text):
                yield text
            case ToolResult(content=content):
                yield from _of(content)
