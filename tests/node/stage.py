"""What stands around the Node clients: an upstream of every family that reads what it is asked, and what the clients are told of it.

The upstream needs no script. The name of the model says how it fares (`…-busy-1` is busy), and the request says what is wanted: tools
are called, their results repeated, a schema filled in, pictures counted.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
from aiohttp import web

from router.testing import Asked, FakeUpstream, json_answer, sse_answer
from router.testing.upstream import Handler
from tests.clients.families import INPUT, OUTPUT, Answer, Anthropic, Family, Gemini, OpenAI, Sent, ToolCall
from tests.serving import Served

from .responses import Responses

FAMILIES: tuple[Family, ...] = (OpenAI(), Anthropic(), Gemini())
#: models of vectors by family; Anthropic has none
EMBEDDING_MODELS = {"openai": "text-embedding-3-small", "gemini": "gemini-embedding-001"}
#: numbers that floats of four bytes hold exactly
VECTOR = [0.5, -0.25, 1.0]
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
WORDS = Answer(words=("Hei", ", Ås", "! 🌍"))
SEEN = Answer(words=("I see ", "one picture."))
PLAN = {"steps": [{"text": "look", "minutes": 1}, {"text": 'say "å"', "minutes": 2}], "sure": True}
CALLS = (ToolCall("call_01oslo", "get_weather", {"city": "Ås 🌧"}), ToolCall("call_02now", "now", {}))
RETRY_AFTER_S = 17
COMPLAINT = "out of breath"
REFUSAL = "prompt is too long: 9 tokens > 8 maximum"


def providers(upstream: FakeUpstream) -> dict[str, Any]:
    """The tables of the configuration."""
    return {family.slug: family.provider(upstream.url) for family in FAMILIES} | {"echo": {"plugin": "echo"}}


def scene(served: Served, upstream: FakeUpstream) -> dict[str, Any]:
    """What clients/scenarios.mjs is to know: whom to ask for what, and what will be said. `*` in the name of a model stands for
    anything: a model that was busy is left alone for a while."""
    return {
        "url": served.url,
        "key": served.key,
        "upstream": upstream.url,
        "picture": PICTURE,
        "families": [*(_family(family) for family in FAMILIES), ECHO],
    }


def _family(family: Family) -> dict[str, Any]:
    return {
        "slug": family.slug,
        "model": family.model,
        **{kind: f"{family.model}-{kind}-*" for kind in ("broken", "busy", "missing", "refused", "slow")},
        "embedding_model": f"{family.slug}/{EMBEDDING_MODELS.get(family.slug, family.upstream_model)}",
        "vector": VECTOR,
        "text": WORDS.text,
        "words": WORDS.words,
        "plan": PLAN,
        "calls": [{"name": call.name, "arguments": call.arguments} for call in CALLS],
        "seen": SEEN.text,
        "tokens": [INPUT, OUTPUT],
        "refusal": "too long",
        "complaint": COMPLAINT,
        "retry_after": str(RETRY_AFTER_S),
    }


#: nobody needs to foretell what it makes up for arguments and plans
ECHO = {
    "slug": "echo",
    "model": "echo/echo",
    "broken": "echo/cut",
    "busy": "echo/error-429",
    "missing": "echo/nothing",
    "refused": "echo/error-400",
    "slow": "",
    "embedding_model": "echo/echo",
    "text": "Hello, Ås! 🌍",
    "calls": [{"name": call.name} for call in CALLS],
    "seen": "[image]",
    "refusal": "echo fails",
    "complaint": "in the middle",
    "retry_after": "1",
}


class Model:
    """The upstream's side of all families. `left` counts the clients that went while it was slow."""

    def __init__(self) -> None:
        self.left = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as a model would that is called like this."""
        if request.path == "/left":
            return web.Response(text=str(self.left))
        asked = Asked(
            method=request.method,
            path=request.raw_path,
            headers=dict(request.headers),
            body=msgspec.json.decode(await request.read()),
        )
        if "embed" in request.path.lower():
            return await _vectors(asked)(request)
        family = _family_of(request.path)
        sent = family.sent(asked)
        streaming = asked.body.get("stream", False) or "streamGenerateContent" in asked.path
        kind = sent.model.removeprefix(family.upstream_model).strip("-").partition("-")[0]
        match kind:
            case "busy":
                wait = {"retry-after": str(RETRY_AFTER_S)}
                handler = family.fails(429, "slow down", "RESOURCE_EXHAUSTED", wait)
            case "missing":
                handler = family.fails(404, f"there is no model {sent.model}", "NOT_FOUND")
            case "refused":
                handler = family.fails(400, REFUSAL, "INVALID_ARGUMENT")
            case "broken":
                handler = sse_answer([*_two_words(family), family.failing(COMPLAINT)])
            case "slow":
                return await self._slowly(family, request)
            case _:
                handler = (family.streamed if streaming else family.plain)(_said_to(sent))
        return await handler(request)

    async def _slowly(self, family: Family, request: web.Request) -> web.StreamResponse:
        """A stream of a minute, unless the client goes."""
        try:
            return await sse_answer(family.frames(Answer(words=["word "] * 300)), pause_s=0.2)(request)
        except (asyncio.CancelledError, ConnectionError):
            self.left += 1
            raise


def _family_of(path: str) -> Family:
    if path.endswith("/responses"):
        return Responses()
    return next(family for family in FAMILIES if path.startswith(family.base))


def _two_words(family: Family) -> list[bytes]:
    frames = family.frames(WORDS)
    second = json.dumps(WORDS.words[1])[1:-1].encode()
    return frames[: next(number for number, frame in enumerate(frames, 1) if second in frame)]


def _said_to(sent: Sent) -> Answer:
    """What a model says to this. A tool that is none of ours stands for a schema."""
    if sent.results:
        return Answer(words=[f"{said}. " for _, said in sent.results])
    if sent.tools:
        unknown = [ToolCall("call_03plan", name, PLAN) for name in sent.tools if name not in ("get_weather", "now")]
        return Answer(calls=unknown or CALLS)
    if sent.schema is not None:
        text = json.dumps(PLAN)
        return Answer(words=[text[at : at + 7] for at in range(0, len(text), 7)])
    if sent.images:
        return SEEN if sent.images == [f"data:image/png;base64,{PICTURE}"] else Answer(words=["It is broken."])
    return WORDS


def _vectors(asked: Asked) -> Handler:
    """A vector for each text, in the form of the one who was asked."""
    if asked.path.startswith(OpenAI.base):
        data = [
            {"object": "embedding", "index": index, "embedding": VECTOR} for index in range(len(asked.body["input"]))
        ]
        usage = {"prompt_tokens": 5, "total_tokens": 5}
        return json_answer({"object": "list", "data": data, "model": asked.body["model"], "usage": usage})
    return json_answer({"embeddings": [{"values": VECTOR} for _ in asked.body["requests"]]})
