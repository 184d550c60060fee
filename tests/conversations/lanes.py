"""The two lanes, as upstreams see them: OpenAI chat, which is relayed, and Anthropic's messages, which are translated.

All traffic here is made up. Every whole answer says that it used 10 tokens of prompt and 5 of completion.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

from aiohttp import web

from router.testing import json_answer
from router.testing.upstream import Handler

#: what a whole answer says, and what it says that it used
WORDS = ("one ", "two ", "three")
TEXT = "".join(WORDS)
INPUT, OUTPUT = 10, 5

#: how errors are called
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

#: bytes are written, seconds are waited for; CUT breaks the connection, FOREVER waits for the other side to leave
CUT: Literal["cut"] = "cut"
FOREVER: Literal["forever"] = "forever"
Step = bytes | float | Literal["cut", "forever"]


def sends(*steps: Step, stream: bool = True, headers: Mapping[str, str] | None = None) -> Handler:
    """Answer with 200 and do these steps."""

    async def answer(request: web.Request) -> web.StreamResponse:
        kind = "text/event-stream" if stream else "application/json"
        response = web.StreamResponse(headers={"Content-Type": kind, **(headers or {})})
        await response.prepare(request)
        for step in steps:
            if isinstance(step, bytes):
                await response.write(step)
            elif step == CUT:
                await asyncio.sleep(0.02)  # what was written is on its way
                assert request.transport is not None
                request.transport.abort()
                break
            else:
                await asyncio.sleep(60 if isinstance(step, str) else step)
        return response

    return answer


async def silent(request: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.sleep(60)
    return web.Response(status=500)


class Lane(ABC):
    """How one family of upstreams is configured and what it writes."""

    name: str
    model: str

    @abstractmethod
    def provider(self, url: str) -> dict[str, Any]:
        """Its table in the configuration."""

    @abstractmethod
    def body(self, text: str = TEXT) -> bytes:
        """A whole plain answer."""

    @abstractmethod
    def opening(self) -> bytes:
        """What a stream begins with, before there is any content."""

    @abstractmethod
    def says(self, text: str) -> bytes:
        """Some content."""

    @abstractmethod
    def ending(self) -> bytes:
        """Why it ended, what it used, and the end mark."""

    @abstractmethod
    def failing(self, message: str = "something broke", kind: str = "server_error") -> bytes:
        """An error inside of a stream."""

    @abstractmethod
    def error(self, message: str, kind: str) -> Any:
        """The body of an error answer."""

    # --- what is made of these ---

    def whole(self, stream: bool, *, pause_s: float = 0.0, text: str = TEXT) -> Handler:
        """A whole answer, a word at a time."""
        if not stream:
            return sends(pause_s, self.body(text), stream=False)
        words = WORDS if text == TEXT else (text,)
        steps = [step for word in words for step in (pause_s, self.says(word))]
        return sends(self.opening(), *steps, self.ending())

    def fails(
        self, status: int, message: str = "no", kind: str = "", headers: Mapping[str, str] | None = None
    ) -> Handler:
        """An error answer."""
        return json_answer(self.error(message, kind or KINDS.get(status, "api_error")), status=status, headers=headers)

    def begins(self, *then: Step, stream: bool) -> Handler:
        """The head of an answer, nothing of its content, and then this."""
        return sends(*([self.opening()] if stream else []), *then, stream=stream)

    def breaks(self, *then: Step, stream: bool) -> Handler:
        """The first two words of an answer, or the first half of a body, and then this."""
        if stream:
            return sends(self.opening(), self.says(WORDS[0]), self.says(WORDS[1]), *then)
        body = self.body()
        return sends(body[: len(body) // 2], *then, stream=False)


class Relayed(Lane):
    """OpenAI chat: the raw lane."""

    name = "relayed"
    model = "m"

    def provider(self, url: str) -> dict[str, Any]:
        return {"plugin": "openai-compatible", "base_url": f"{url}/v1", "api_key": "upstream-key"}

    def body(self, text: str = TEXT) -> bytes:
        message = {"role": "assistant", "content": text}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return _json(_head("chat.completion") | {"choices": choices, "usage": self.usage()})

    def opening(self) -> bytes:
        return self.chunk({"role": "assistant", "content": ""})

    def says(self, text: str) -> bytes:
        return self.chunk({"content": text})

    def ending(self) -> bytes:
        last = _head("chat.completion.chunk") | {"choices": [], "usage": self.usage()}
        return self.chunk({}, "stop") + _data(last) + b"data: [DONE]\n\n"

    def failing(self, message: str = "something broke", kind: str = "server_error") -> bytes:
        return _data(self.error(message, kind))

    def error(self, message: str, kind: str) -> Any:
        return {"error": {"message": message, "type": kind, "code": kind}}

    def usage(self, output: int = OUTPUT) -> dict[str, int]:
        """What was used."""
        return {"prompt_tokens": INPUT, "completion_tokens": output, "total_tokens": INPUT + output}

    def chunk(self, delta: dict[str, Any], finish: str | None = None, **members: Any) -> bytes:
        """A chunk with one choice."""
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return _data(_head("chat.completion.chunk") | {"choices": choices} | members)


class Translated(Lane):
    """Anthropic's messages: the hub lane."""

    name = "translated"
    model = "claude-test"

    def provider(self, url: str) -> dict[str, Any]:
        return {"plugin": "anthropic", "base_url": url, "api_key": "upstream-key"}

    def body(self, text: str = TEXT) -> bytes:
        content = [{"type": "text", "text": text}]
        usage = {"input_tokens": INPUT, "output_tokens": OUTPUT}
        return _json(_message() | {"content": content, "stop_reason": "end_turn", "usage": usage})

    def opening(self) -> bytes:
        message = _message() | {"content": [], "usage": {"input_tokens": INPUT, "output_tokens": 1}}
        block = {"type": "text", "text": ""}
        start = {"type": "content_block_start", "index": 0, "content_block": block}
        return _event({"type": "message_start", "message": message}) + _event(start) + _event({"type": "ping"})

    def says(self, text: str) -> bytes:
        return _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})

    def ending(self) -> bytes:
        change = {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": OUTPUT},
        }
        stop = {"type": "content_block_stop", "index": 0}
        return _event(stop) + _event(change) + _event({"type": "message_stop"})

    def failing(self, message: str = "something broke", kind: str = "api_error") -> bytes:
        return _event(self.error(message, kind))

    def error(self, message: str, kind: str) -> Any:
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


RELAYED, TRANSLATED = Relayed(), Translated()
LANES = (RELAYED, TRANSLATED)


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_795_200_000, "model": "m-upstream"}


def _message() -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-upstream", "stop_reason": None}


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _data(value: Any) -> bytes:
    return b"data: %b\n\n" % _json(value)


def _event(value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), _json(value))
