"""Every event and every response object, held against the types of OpenAI's own SDK, strictly: its clients read no more and no less."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from router.dialects.openai_responses.encode import Encoder
from router.errors import UpstreamBusy
from router.events import (
    Event,
    Finish,
    PartDone,
    ReasoningDelta,
    RefusalDelta,
    Start,
    Stop,
    TextDelta,
    ToolDelta,
)
from router.model import Citation, Image
from router.prices import Usage

from .lanes import settled
from .making_responses import make_call

EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
FORMAT = "anthropic-claude-v1"
#: something of everything that a model may say
ALL: list[Event] = [
    Start(id="msg_1", model="m"),
    ReasoningDelta(index=0, kind="text", text="Hm.", format=FORMAT),
    ReasoningDelta(index=0, kind="text", signature="signed", format=FORMAT),
    TextDelta(text="Hello"),
    PartDone(part=Citation(url="https://a.example", title="A")),
    RefusalDelta(text="I will not."),
    ToolDelta(index=0, id="call_1", name="f", arguments='{"a":'),
    ToolDelta(index=0, arguments="1}"),
    ToolDelta(index=1, id="call_2", name="patch", arguments='{"input":"x"}'),
    PartDone(part=Image(data="aGk=", media_type="image/png")),
]
TOOLS = [
    {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True},
    {"type": "custom", "name": "patch"},
]
ASKED: dict[str, dict[str, Any]] = {
    "little": {},
    "much": {
        "instructions": "Be kind.",
        "reasoning": {"effort": "low", "summary": "auto"},
        "tools": TOOLS,
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "a", "schema": {}}, "verbosity": "low"},
        "metadata": {"a": "b"},
        "truncation": "auto",
        "max_output_tokens": 100,
        "temperature": 0.5,
        "include": ["reasoning.encrypted_content"],
    },
}


def told(given: list[Event], reason: str | None, **members: Any) -> list[dict[str, Any]]:
    """The events of a stream; without a reason it fails."""
    call = make_call(**members)
    encoder = Encoder(call)
    raw = b"".join(encoder.feed(event) for event in given)
    if reason is None:
        raw += encoder.failed(UpstreamBusy("too busy"))
    else:
        raw += encoder.feed(Stop(finishes=[Finish(reason=reason)], usage=Usage(input=5, output=3)))  # type: ignore[arg-type]
        encoder.end()
        settled(call)
        raw += encoder.final()
    return [json.loads(frame.partition("\ndata: ")[2]) for frame in raw.decode().split("\n\n") if frame]


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize(
    ("reason", "end"),
    [("tool_calls", "completed"), ("length", "incomplete"), ("content_filter", "incomplete"), (None, "failed")],
)
def test_every_event_is_one_that_the_sdk_knows(asked: dict[str, Any], reason: str | None, end: str) -> None:
    events = told(ALL, reason, **asked)

    for number, event in enumerate(events):
        EVENTS.validate_python(event)
        assert event["sequence_number"] == number
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] == f"response.{end}"
    ends = {"response.completed", "response.incomplete", "response.failed"}
    assert not any(event["type"] in ends for event in events[:-1])
    Response.model_validate(events[-1]["response"])


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_what_is_added_is_done_and_the_end_holds_all_of_it(asked: dict[str, Any]) -> None:
    events = told(ALL, "tool_calls", **asked)

    added = [event for event in events if event["type"] == "response.output_item.added"]
    done = {event["output_index"]: event["item"] for event in events if event["type"] == "response.output_item.done"}
    assert [event["output_index"] for event in added] == list(range(len(added)))
    assert [done[index] for index in range(len(added))] == events[-1]["response"]["output"]
    parts = [event["type"].rpartition(".")[0] for event in events if "_part." in event["type"]]
    assert all(parts.count(kind) % 2 == 0 for kind in set(parts))


def test_what_was_asked_is_repeated() -> None:
    asked = ASKED["much"]

    response = told(ALL, "stop", **asked)[-1]["response"]

    for name in ("instructions", "reasoning", "tools", "tool_choice", "metadata", "truncation", "max_output_tokens"):
        assert response[name] == asked[name]
    assert (response["text"], response["temperature"]) == (asked["text"], 0.5)
