"""Calls, streams and clients' eyes for the tests of Anthropic Messages. All traffic here is made up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from router_anthropic import Anthropic

from router.call import Call, Candidate, Endpoint, Outcome
from router.dialects.anthropic_messages import AnthropicMessages
from router.events import Event
from router.model import ChatRequest, Model
from router.provider import Timeouts

from . import lanes

Body = dict[str, Any]

DIALECT = AnthropicMessages()
PROVIDER = Anthropic("claude", Anthropic.Settings(plugin="anthropic", api_key="upstream-key"), Timeouts())
ASK: Body = {"model": "claude/sonnet", "max_tokens": 1000, "messages": [{"role": "user", "content": "hello"}]}


def body(**members: Any) -> bytes:
    """A request; a member that is None is left out."""
    told = {**ASK, **members}
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


def make_call(
    asked: bytes | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    model: str = "claude-sonnet-4-5",
    **members: Any,
) -> Call:
    """A call at the point where its answer begins to arrive."""
    asked = body(**members) if asked is None else asked
    call = Call(dialect=DIALECT, body=asked, headers=headers or {}, path={}, presented=None, started_s=0.0)
    call.head = DIALECT.peek(asked, {}, "chat")
    endpoint = Endpoint(provider=PROVIDER, model_id="claude/sonnet", model=Model(id=model))
    call.candidate = Candidate(endpoint=endpoint, credential=PROVIDER.credentials[0])
    call.outcome = Outcome()
    return call


def decoded(**members: Any) -> ChatRequest:
    """What goes into the hub."""
    return DIALECT.decode(DIALECT.peek(body(**members), {}, "chat"))


def whole_message(text: str = "hi", *, tokens: tuple[int, int] = (10, 5)) -> Body:
    """A whole answer; `tokens` of the prompt and of the answer."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1]},
    }


# --- streams ---------------------------------------------------------------------------------------------------------


def sse(events: Iterable[Body], end: str = "\n") -> bytes:
    """Events as Anthropic sends them."""
    frames = [f"event: {each['type']}{end}data: {json.dumps(each, ensure_ascii=False)}{end}{end}" for each in events]
    return "".join(frames).encode()


def message_start(**usage: int) -> Body:
    """How every answer begins."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1} | usage,
    }
    return {"type": "message_start", "message": message}


def block(index: int, start: Body, *deltas: Body) -> list[Body]:
    """A block from its start to its stop."""
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[Body]:
    """A block of text."""
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": each} for each in pieces))


def ending(reason: str = "end_turn", **usage: int) -> list[Body]:
    """How every answer ends."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 4} | usage},
        {"type": "message_stop"},
    ]


def said(*pieces: str) -> list[Body]:
    """A whole stream of text."""
    return [message_start(), {"type": "ping"}, *text(0, *pieces), *ending()]


def encoded(call: Call, events: Iterable[Event]) -> list[Body]:
    """Hub lane: the events that the client gets of these; their order is checked."""
    return events_of(lanes.encoded(call, events))


def events_of(stream: bytes) -> list[Body]:
    """The events that a client reads. They have to come in Anthropic's order, one block open at a time."""
    *frames, rest = stream.decode().split("\n\n")
    assert rest == ""
    events = []
    for frame in frames:
        name, data = frame.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    kinds = [each["type"] for each in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    opened = -1
    is_open = False
    for each in events[1:-2]:
        match each["type"]:
            case "content_block_start":
                assert not is_open
                opened, is_open = opened + 1, True
            case "content_block_stop":
                assert is_open
                is_open = False
            case kind:
                assert kind == "content_block_delta"
                assert is_open
        assert each["index"] == opened
    assert not is_open
    return events


def content_of(events: Iterable[Body]) -> list[Body]:
    """The blocks that a client puts together."""
    content: list[Body] = []
    for event in events:
        match event:
            case {"type": "content_block_start", "content_block": start}:
                content.append(dict(start))
            case {"type": "content_block_delta", "delta": delta}:
                _grow(content[-1], delta)
    for each in content:
        if (arguments := each.pop("arguments", None)) is not None:
            each["input"] = json.loads(arguments)
    return content


def _grow(last: Body, delta: Body) -> None:
    match delta:
        case {"type": "text_delta", "text": more}:
            last["text"] += more
        case {"type": "thinking_delta", "thinking": more}:
            last["thinking"] += more
        case {"type": "signature_delta", "signature": signature}:
            last["signature"] = signature
        case {"type": "input_json_delta", "partial_json": more}:
            last["arguments"] = last.get("arguments", "") + more
        case {"type": "citations_delta", "citation": citation}:
            last.setdefault("citations", []).append(citation)
