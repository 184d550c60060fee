"""The families of upstreams: how each one is configured, what it writes, and how to read what it was asked.

All traffic here is made up, in the form that each provider documents. Every whole answer says that it used `INPUT` tokens, of which
`CACHED` came from a cache, and `OUTPUT`, of which `THOUGHT` were thinking (except Anthropic's, which does not tell here).
"""

from __future__ import annotations

import asyncio
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiohttp import web

from router.testing import Asked, json_answer, sse_answer
from router.testing.upstream import Handler

INPUT, CACHED, OUTPUT, THOUGHT = 20, 8, 7, 2
#: long ago
CREATED = 1_700_000_000
SIGNATURE = "c2lnbmF0dXJlLW9mLW5vYm9keQ=="


class ToolCall(NamedTuple):
    """One call of a tool by a model."""

    id: str
    name: str
    arguments: dict[str, Any]


class Answer(NamedTuple):
    """What the model of an upstream comes up with. A stream brings `words` one by one."""

    words: Sequence[str] = ()
    thought: str = ""
    calls: Sequence[ToolCall] = ()

    @property
    def text(self) -> str:
        """All of its words."""
        return "".join(self.words)


class Sent(NamedTuple):
    """What an upstream was asked, in words that all families share."""

    model: str
    key: str
    texts: list[str]
    tools: list[str]
    forced: str
    results: list[tuple[str, str]]
    images: list[str]
    schema: Any
    thinks: bool


class Family(ABC):
    """One family. `slug` names its provider in the configuration, `model` what clients ask for."""

    slug: str
    plugin: str
    base: str
    upstream_model: str
    #: thinking is shown to clients
    shows_thought = True
    #: images by URL go on as they are, else the router fetches them
    reads_urls = True
    #: clients see the ids that the upstream gave its tool calls
    keeps_ids = True
    native_stop: str

    @property
    def model(self) -> str:
        """What clients ask for."""
        return f"{self.slug}/{self.upstream_model}"

    @property
    def key(self) -> str:
        """The credential at the upstream."""
        return f"upstream-key-of-{self.slug}"

    def provider(self, url: str) -> dict[str, Any]:
        """Its table in the configuration."""
        return {"plugin": self.plugin, "base_url": url + self.base, "api_key": self.key}

    def plain(self, answer: Answer) -> Handler:
        """A whole answer."""
        return json_answer(self.body(answer))

    def streamed(self, answer: Answer, **how: Any) -> Handler:
        """The same as a stream, whole."""
        return sse_answer(self.frames(answer), **how)

    def in_step(self, answer: Answer, got: threading.Semaphore) -> Handler:
        """The answer as a stream, whose next word waits until the client has got the one before."""
        frames = self.frames(answer)
        words = [frame for frame in frames if any(json.dumps(word)[1:-1].encode() in frame for word in answer.words)]

        async def handle(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            for frame in frames:
                if frame in words[1:]:
                    assert await asyncio.to_thread(got.acquire, timeout=5)
                await response.write(frame)
            return response

        return handle

    def fails(
        self, status: int, message: str, kind: str = "api_error", headers: Mapping[str, str] | None = None
    ) -> Handler:
        """An error answer."""
        return json_answer(self.error(status, message, kind), status=status, headers=headers)

    @abstractmethod
    def body(self, answer: Answer) -> Any:
        """A whole plain answer."""

    @abstractmethod
    def frames(self, answer: Answer) -> list[bytes]:
        """A whole stream, one event each. Those of the words come after two or more of thought and opening."""

    @abstractmethod
    def error(self, status: int, message: str, kind: str) -> Any:
        """The body of an error answer."""

    @abstractmethod
    def failing(self, message: str) -> bytes:
        """An error as an event of a stream."""

    @abstractmethod
    def sent(self, asked: Asked) -> Sent:
        """Read a request."""


# --- OpenAI, and those that speak like it ----------------------------------------------------------------------------


class Chat(Family):
    """OpenAI's chat completions."""

    native_stop = "stop"

    def body(self, answer: Answer) -> Any:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None}
        message |= self.thought(answer.thought)
        if answer.calls:
            message["tool_calls"] = [self._call(call) for call in answer.calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._reason(answer)}
        return self._head("chat.completion") | {"choices": [choice], "usage": self._usage()}

    def frames(self, answer: Answer) -> list[bytes]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
        deltas += [self.thought(answer.thought)] if answer.thought and self.shows_thought else []
        deltas += [{"content": word} for word in answer.words]
        for index, call in enumerate(answer.calls):
            opening = self._call(call)
            opening["function"]["arguments"] = ""
            deltas.append({"tool_calls": [{"index": index, **opening}]})
            for piece in _pieces(json.dumps(call.arguments)):
                deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        chunks = [self._chunk(delta) for delta in deltas]
        last = self._head("chat.completion.chunk") | {"choices": [], "usage": self._usage()}
        return [*chunks, self._chunk({}, self._reason(answer)), _data(last), b"data: [DONE]\n\n"]

    def error(self, status: int, message: str, kind: str) -> Any:
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": kind}}

    def failing(self, message: str) -> bytes:
        return _data({"error": {"message": message, "type": "server_error", "code": "server_error"}})

    def thought(self, text: str) -> dict[str, Any]:
        """The members of a message that hold thinking."""
        return {}

    def sent(self, asked: Asked) -> Sent:
        body = asked.body
        parts = [part for message in body["messages"] for part in _listed(message.get("content"))]
        return Sent(
            model=body["model"],
            key=_header(asked, "authorization").removeprefix("Bearer "),
            texts=[part["text"] for part in parts if part["type"] == "text"],
            tools=[tool["function"]["name"] for tool in body.get("tools", ())],
            forced=_only(body.get("tool_choice")).get("function", {}).get("name", ""),
            results=[
                (message["tool_call_id"], message["content"])
                for message in body["messages"]
                if message["role"] == "tool"
            ],
            images=[part["image_url"]["url"] for part in parts if part["type"] == "image_url"],
            schema=body.get("response_format", {}).get("json_schema", {}).get("schema"),
            thinks=body.get("reasoning_effort") == "low",
        )

    def _head(self, kind: str) -> dict[str, Any]:
        model = f"{self.upstream_model}-2026-01-01"
        return {"id": "chatcmpl-1", "object": kind, "created": CREATED, "model": model, "system_fingerprint": "fp_1"}

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _data(self._head("chat.completion.chunk") | {"choices": [choice], "usage": None})

    def _call(self, call: ToolCall) -> dict[str, Any]:
        function = {"name": call.name, "arguments": json.dumps(call.arguments)}
        return {"id": call.id, "type": "function", "function": function}

    def _reason(self, answer: Answer) -> str:
        return "tool_calls" if answer.calls else "stop"

    def _usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": INPUT,
            "completion_tokens": OUTPUT,
            "total_tokens": INPUT + OUTPUT,
            "prompt_tokens_details": {"cached_tokens": CACHED, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": THOUGHT, "audio_tokens": 0},
        }


class OpenAI(Chat):
    """OpenAI itself, which never shows what its models think."""

    slug = plugin = "openai"
    base = "/openai/v1"
    upstream_model = "gpt-5-mini"
    shows_thought = False


class Compatible(Chat):
    """A server of one's own that speaks the same, with thinking in a member of its own."""

    slug = "local"
    plugin = "openai-compatible"
    base = "/local/v1"
    upstream_model = "small-1"

    def thought(self, text: str) -> dict[str, Any]:
        return {"reasoning_content": text} if text else {}


# --- Anthropic -------------------------------------------------------------------------------------------------------


class Anthropic(Family):
    """Anthropic's messages."""

    slug = plugin = "anthropic"
    base = "/anthropic"
    upstream_model = "claude-sonnet-4-5"
    native_stop = "end_turn"

    def body(self, answer: Answer) -> Any:
        content: list[dict[str, Any]] = []
        if answer.thought:
            content.append({"type": "thinking", "thinking": answer.thought, "signature": SIGNATURE})
        if answer.text:
            content.append({"type": "text", "text": answer.text})
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in answer.calls
        ]
        usage = self._usage() | {"output_tokens": OUTPUT}
        return self._message() | {"content": content, "stop_reason": self._reason(answer), "usage": usage}

    def frames(self, answer: Answer) -> list[bytes]:
        message = self._message() | {"content": [], "stop_reason": None, "usage": self._usage() | {"output_tokens": 1}}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": message}, {"type": "ping"}]
        blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
        if answer.thought:
            deltas = [{"type": "thinking_delta", "thinking": each} for each in _pieces(answer.thought)]
            signed = {"type": "signature_delta", "signature": SIGNATURE}
            blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]))
        if answer.words:
            deltas = [{"type": "text_delta", "text": word} for word in answer.words]
            blocks.append(({"type": "text", "text": ""}, deltas))
        for call in answer.calls:
            pieces = _pieces(json.dumps(call.arguments))
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
            blocks.append(({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}, deltas))
        for index, (block, deltas) in enumerate(blocks):
            events.append({"type": "content_block_start", "index": index, "content_block": block})
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        change = {"stop_reason": self._reason(answer), "stop_sequence": None}
        events.append({"type": "message_delta", "delta": change, "usage": {"output_tokens": OUTPUT}})
        return [self._event(event) for event in [*events, {"type": "message_stop"}]]

    def error(self, status: int, message: str, kind: str) -> Any:
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}

    def failing(self, message: str) -> bytes:
        return self._event(self.error(529, message, "overloaded_error"))

    def sent(self, asked: Asked) -> Sent:
        body = asked.body
        blocks = [block for message in body["messages"] for block in _listed(message["content"])]
        images = [block["source"] for block in blocks if block["type"] == "image"]
        return Sent(
            model=body["model"],
            key=_header(asked, "x-api-key"),
            texts=[block["text"] for block in blocks if block["type"] == "text"],
            tools=[tool["name"] for tool in body.get("tools", ())],
            forced=body.get("tool_choice", {}).get("name", ""),
            results=[
                (block["tool_use_id"], "".join(part["text"] for part in _listed(block["content"])))
                for block in blocks
                if block["type"] == "tool_result"
            ],
            images=[source.get("url") or f"data:{source['media_type']};base64,{source['data']}" for source in images],
            schema=body.get("output_config", {}).get("format", {}).get("schema"),
            thinks=body.get("thinking", {}).get("type") == "enabled",
        )

    def _message(self) -> dict[str, Any]:
        model = f"{self.upstream_model}-20250929"
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}

    def _event(self, event: dict[str, Any]) -> bytes:
        return b"event: %b\n" % event["type"].encode() + _data(event)

    def _reason(self, answer: Answer) -> str:
        return "tool_use" if answer.calls else "end_turn"

    def _usage(self) -> dict[str, Any]:
        return {"input_tokens": INPUT - CACHED, "cache_creation_input_tokens": 0, "cache_read_input_tokens": CACHED}


# --- Gemini ----------------------------------------------------------------------------------------------------------


class Gemini(Family):
    """Google's generateContent."""

    slug = plugin = "gemini"
    base = "/gemini"
    upstream_model = "gemini-3-flash-preview"
    reads_urls = False
    keeps_ids = False
    native_stop = "STOP"

    def body(self, answer: Answer) -> Any:
        parts = [self._thought(answer.thought)] if answer.thought else []
        parts += [{"text": answer.text}] if answer.text else []
        return self._part(*parts, *self._calls(answer), finish=True)

    def frames(self, answer: Answer) -> list[bytes]:
        events = [self._part(self._thought(piece)) for piece in _pieces(answer.thought)]
        events += [self._part({"text": word}) for word in answer.words]
        events += [self._part(call) for call in self._calls(answer)]
        events.append(self._part({"text": ""}, finish=True))
        return [_data(event, b"\r\n") for event in events]

    def error(self, status: int, message: str, kind: str) -> Any:
        return {"error": {"code": status, "message": message, "status": kind}}

    def failing(self, message: str) -> bytes:
        return _data(self.error(503, message, "UNAVAILABLE"), b"\r\n")

    def sent(self, asked: Asked) -> Sent:
        body = asked.body
        parts = [part for turn in body["contents"] for part in turn["parts"]]
        config = body.get("generationConfig", {})
        model, _, _ = asked.path.rpartition("/models/")[2].rpartition(":")
        inline = [part["inlineData"] for part in parts if "inlineData" in part]
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
        return Sent(
            model=model,
            key=_header(asked, "x-goog-api-key"),
            texts=[part["text"] for part in parts if "text" in part],
            tools=[each["name"] for tool in body.get("tools", ()) for each in tool["functionDeclarations"]],
            forced=",".join(calling.get("allowedFunctionNames", ())),
            results=[(result.get("id", ""), _told(result["response"])) for result in results],
            images=[f"data:{each['mimeType']};base64,{each['data']}" for each in inline],
            schema=config.get("responseJsonSchema", config.get("responseSchema")),
            thinks=config.get("thinkingConfig", {}).get("thinkingLevel") == "LOW",
        )

    def _thought(self, text: str) -> dict[str, Any]:
        return {"text": text, "thought": True}

    def _calls(self, answer: Answer) -> list[dict[str, Any]]:
        """The first is signed, as Google does it; none has an id."""
        signed = [{"thoughtSignature": SIGNATURE}, *({} for _ in answer.calls)]
        calls = [{"functionCall": {"name": call.name, "args": call.arguments}} for call in answer.calls]
        return [{**call, **signature} for call, signature in zip(calls, signed, strict=False)]

    def _part(self, *parts: dict[str, Any], finish: bool = False) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
        usage = {"promptTokenCount": INPUT, "cachedContentTokenCount": CACHED, "totalTokenCount": INPUT}
        if finish:
            candidate["finishReason"] = "STOP"
            usage |= {"candidatesTokenCount": OUTPUT - THOUGHT, "thoughtsTokenCount": THOUGHT}
            usage["totalTokenCount"] = INPUT + OUTPUT
        about = {"modelVersion": self.upstream_model, "responseId": "made-up-1"}
        return {"candidates": [candidate], "usageMetadata": usage, **about}


FAMILIES: tuple[Family, ...] = (OpenAI(), Compatible(), Anthropic(), Gemini())


def _data(value: Any, end: bytes = b"\n") -> bytes:
    return b"data: %b%b%b" % (json.dumps(value).encode(), end, end)


def _pieces(text: str, size: int = 5) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def _listed(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def _told(response: dict[str, Any]) -> str:
    """The result of a tool, whose member some SDKs call otherwise than Google does."""
    return str(response.get("output", response))


def _only(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _header(asked: Asked, name: str) -> str:
    return next((value for key, value in asked.headers.items() if key.lower() == name), "")
