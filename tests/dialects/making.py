"""Calls, streams and clients' eyes for the tests of OpenAI chat. All traffic here is made up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from router.call import Call, Candidate, Endpoint, Outcome
from router.dialects.openai_chat import OpenAIChat
from router.model import Model
from router.openai_compatible import OpenAICompatible, OpenAICompatibleSettings
from router.provider import Timeouts

DIALECT = OpenAIChat()
ASK = {"model": "acme/chat", "messages": [{"role": "user", "content": "hello"}]}


class Acme(OpenAICompatible):
    """A provider without deviations."""

    name = "acme"


def provider(kind: type[OpenAICompatible] = Acme, **settings: Any) -> OpenAICompatible:
    """An instance called `acme`."""
    table = OpenAICompatibleSettings(plugin="acme", base_url="http://127.0.0.1:9", api_key="upstream-key", **settings)
    return kind("acme", table, Timeouts())


def body(**members: Any) -> bytes:
    """A request."""
    return json.dumps({**ASK, **members}).encode()


def make_call(kind: type[OpenAICompatible] = Acme, *, upstream_model: str = "chat-1", **members: Any) -> Call:
    """A call at the point where its answer begins to arrive."""
    asked = body(**members)
    call = Call(dialect=DIALECT, body=asked, headers={}, path={}, presented=None, started_s=0.0)
    call.head = DIALECT.peek(asked, {}, "chat")
    serving = provider(kind)
    endpoint = Endpoint(provider=serving, model_id="acme/chat", model=Model(id=upstream_model))
    call.candidate = Candidate(endpoint=endpoint, credential=serving.credentials[0])
    call.outcome = Outcome()
    call.created_unix = 1_700_000_000.5
    return call


# --- streams ---------------------------------------------------------------------------------------------------------


def chunk(*choices: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A chunk as an upstream sends it."""
    return {
        "id": "up-1",
        "object": "chat.completion.chunk",
        "created": 1_600_000_000,
        "model": "chat-1-0613",
        "choices": list(choices),
        **members,
    }


def delta(index: int = 0, *, finish: str | None = None, **members: Any) -> dict[str, Any]:
    """A choice of a chunk."""
    return {"index": index, "delta": members, "finish_reason": finish}


def sse(chunks: Iterable[dict[str, Any]], *, done: bool = True, end: str = "\n\n") -> bytes:
    """Chunks as a stream, compact as real ones are."""
    frames = [f"data: {json.dumps(each, separators=(',', ':'), ensure_ascii=False)}{end}" for each in chunks]
    return "".join([*frames, f"data: [DONE]{end}" if done else ""]).encode()


USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def said(*texts: str, finish: str | None = "stop", **members: Any) -> list[dict[str, Any]]:
    """A whole stream of text."""
    return [
        chunk(delta(role="assistant", content=""), **members),
        *(chunk(delta(content=text), **members) for text in texts),
        *([chunk(delta(finish=finish), **members)] if finish else []),
        chunk(usage=USAGE, **members),
    ]


def chunks_of(stream: bytes) -> list[dict[str, Any]]:
    """The chunks that a client reads; the stream has to be whole and plain."""
    *frames, done, rest = stream.decode().split("\n\n")
    assert done == "data: [DONE]"
    assert rest == ""
    assert all(frame.startswith("data: {") and "\n" not in frame for frame in frames)
    return [json.loads(frame[6:]) for frame in frames]


def deltas(stream: bytes, index: int = 0) -> Iterator[dict[str, Any]]:
    """What a stream adds to one choice."""
    for each in chunks_of(stream):
        for choice in each["choices"]:
            if choice["index"] == index:
                yield choice["delta"]


def text_of(stream: bytes, member: str = "content", index: int = 0) -> str:
    """One member of all deltas, joined."""
    return "".join(each.get(member) or "" for each in deltas(stream, index))


def calls_of(stream: bytes, index: int = 0) -> list[tuple[str, str, str]]:
    """The tool calls: id, name, arguments. Id and name have to come once, in the first fragment."""
    calls: list[list[str]] = []
    for each in deltas(stream, index):
        for part in each.get("tool_calls", ()):
            function = part["function"]
            if part["index"] == len(calls):
                assert part["type"] == "function"
                calls.append([part["id"], function["name"], function["arguments"]])
            else:
                assert "id" not in part
                assert "name" not in function
                calls[part["index"]][2] += function["arguments"]
    return [(id, name, arguments) for id, name, arguments in calls]


def finishes(stream: bytes) -> list[tuple[int, str, str | None]]:
    """Index, reason and native reason of every choice that ended."""
    return [
        (choice["index"], choice["finish_reason"], choice["native_finish_reason"])
        for each in chunks_of(stream)
        for choice in each["choices"]
        if choice["finish_reason"]
    ]
