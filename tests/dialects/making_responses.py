"""Calls, streams and clients' eyes for the tests of Responses. All traffic here is made up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from router.call import Call, Candidate, Endpoint, Outcome
from router.dialects.openai_responses import OpenAIResponses
from router.model import ChatRequest, Model

from .making import Acme, provider

DIALECT = OpenAIResponses()
ASK: dict[str, Any] = {"model": "acme/chat", "input": "hello"}


class Speaking(Acme):
    """A provider that speaks Responses."""

    speaks: Mapping[str, str] = {**Acme.speaks, "openai.responses": "/responses"}

    def raw_patch(self, dialect: str, members: dict[str, Any], candidate: Candidate) -> None:
        """Nothing is changed."""


def make_call(**members: Any) -> Call:
    """A call at the point where its answer begins to arrive."""
    asked = json.dumps({**ASK, **members}).encode()
    call = Call(dialect=DIALECT, body=asked, headers={}, path={}, presented=None, started_s=0.0)
    call.head = DIALECT.peek(asked, {}, "chat")
    serving = provider(Speaking)
    endpoint = Endpoint(provider=serving, model_id="acme/chat", model=Model(id="chat-1"))
    call.candidate = Candidate(endpoint=endpoint, credential=serving.credentials[0])
    call.outcome = Outcome()
    call.created_unix = 1_700_000_000.5
    return call


def decoded(**members: Any) -> ChatRequest:
    """The request in the hub's form."""
    return DIALECT.decode(make_call(**members).head)


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """The events that a client reads. The stream has to be whole, each event named as its data is, numbered without gaps."""
    *frames, rest = stream.decode().split("\n\n")
    assert rest == ""
    found = []
    for number, frame in enumerate(frames):
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == number
        found.append(event)
    return found


def types_of(stream: bytes) -> list[str]:
    """What happens in a stream, in short."""
    return [event["type"].removeprefix("response.") for event in events_of(stream)]


def folded(stream: bytes) -> list[dict[str, Any]]:
    """The items that the events of a stream spell, checked against themselves: what is done is what was told bit by bit."""
    items: dict[int, dict[str, Any]] = {}
    texts: dict[tuple[Any, ...], str] = {}
    closed = set()
    for event in events_of(stream):
        kind = event["type"]
        index = event.get("output_index")
        if kind == "response.output_item.added":
            assert index == len(items)
            items[index] = event["item"]
        elif kind == "response.output_item.done":
            assert event["item"]["id"] == items[index]["id"]
            assert event["item"]["type"] == items[index]["type"]
            items[index] = event["item"]
            closed.add(index)
        elif kind.endswith((".delta", "_text.done", "arguments.done", "input.done", "refusal.done")):
            assert event["item_id"] == items[index]["id"]
            assert index not in closed
            base, _, what = kind.rpartition(".")
            place = (base, index, event.get("content_index", event.get("summary_index")))
            if what == "delta":
                texts[place] = texts.get(place, "") + event["delta"]
            else:
                whole = next(event[name] for name in ("text", "refusal", "arguments", "input") if name in event)
                assert texts.get(place, "") == whole or (whole == "{}" and place not in texts)
    assert closed == set(items)
    return [items[index] for index in sorted(items)]


# --- streams of upstreams --------------------------------------------------------------------------------------------

USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 8},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 27,
}


def response(status: str = "completed", **members: Any) -> dict[str, Any]:
    """A response object as an upstream sends it."""
    return {
        "id": "resp_up1",
        "object": "response",
        "created_at": 1_600_000_000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": "chat-1-0613",
        "output": [],
        "usage": USAGE if status != "in_progress" else None,
        "a_member_of_tomorrow": {"x": [1, 2.50]},
        **members,
    }


def message(text: str) -> dict[str, Any]:
    """A message of an answer."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def upstream_events(*texts: str, end: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """A whole stream of text; `end` is the response of its last event."""
    last = end or response(output=[message("".join(texts))])
    opening = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return [
        {"type": "response.created", "response": response("in_progress")},
        {"type": "response.in_progress", "response": response("in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": opening},
        {"type": "response.content_part.added", **place, "part": {"type": "output_text", "text": ""}},
        *({"type": "response.output_text.delta", **place, "delta": text, "obfuscation": "xy"} for text in texts),
        {"type": "response.output_text.done", **place, "text": "".join(texts)},
        {"type": f"response.{last['status']}", "response": last},
    ]


def sse(events: Iterable[dict[str, Any]], *, end: str = "\n") -> bytes:
    """Events as a stream, compact as real ones are."""
    frames = []
    for number, event in enumerate(events):
        data = json.dumps({**event, "sequence_number": number}, separators=(",", ":"), ensure_ascii=False)
        frames.append(f"event: {event['type']}{end}data: {data}{end}{end}")
    return "".join(frames).encode()
