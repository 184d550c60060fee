"""The hub lane of Responses: streams and replies as a client reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec import Raw

from router.errors import StreamTruncated, UpstreamUnavailable
from router.events import (
    Choice,
    Event,
    Finish,
    PartDone,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    Start,
    Stop,
    TextDelta,
    ToolDelta,
)
from router.model import Citation, Image, Reasoning, Refusal, Text, ToolCall
from router.prices import Usage

from .lanes import encoded, settled
from .making_responses import DIALECT, decoded, events_of, folded, make_call, types_of

START = Start(id="up-1", model="m")
USED = Usage(input=20, cache_read=8, cache_write=3, output=7, reasoning=2)
STOP = Stop(usage=USED)
CLAUDE = "anthropic-claude-v1"
#: what the OpenRouter SDK insists on in a response, then OpenAI's own
REQUIRED = {
    *("completed_at", "created_at", "error", "frequency_penalty", "id", "incomplete_details", "instructions"),
    *("metadata", "model", "object", "output", "parallel_tool_calls", "presence_penalty", "status", "temperature"),
    *("tool_choice", "tools", "top_p", "usage", "text", "truncation", "reasoning", "store", "previous_response_id"),
}


def whole(*events: Event, **members: Any) -> bytes:
    """A stream of these events between its start and its end."""
    return encoded(make_call(stream=True, **members), [START, *events, STOP])


def plain(*content: Any, finish: Finish | None = None, **members: Any) -> dict[str, Any]:
    """A plain answer."""
    call = make_call(**members)
    call.outcome.usage = USED
    choice = Choice(content=list(content), finish=finish or Finish())
    told: dict[str, Any] = json.loads(DIALECT.reply(settled(call), Reply(id="up-1", choices=[choice])))
    return told


# --- the sequence of events ------------------------------------------------------------------------------------------


def test_text_comes_as_one_message() -> None:
    stream = whole(TextDelta(text="Hel"), TextDelta(text="lo"))

    assert types_of(stream) == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert folded(stream)[0]["content"][0]["text"] == "Hello"


def test_a_stream_ends_in_the_whole_response() -> None:
    stream = whole(TextDelta(text="Hello"), temperature=0.5, metadata={"a": "b"}, instructions="Be kind.")
    last = events_of(stream)[-1]["response"]

    assert last.keys() >= REQUIRED
    assert last["status"] == "completed"
    assert last["output"] == folded(stream)
    assert last["output_text"] == "Hello"
    assert last["model"] == "acme/chat"
    assert last["temperature"] == 0.5
    assert last["metadata"] == {"a": "b"}
    assert last["instructions"] == "Be kind."
    assert last["usage"] == {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 3},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 27,
    }


def test_the_first_events_hold_a_response_without_output() -> None:
    created, in_progress, *_ = events_of(whole(TextDelta(text="Hello")))

    for event in (created, in_progress):
        assert event["response"].keys() >= REQUIRED
        assert event["response"]["status"] == "in_progress"
        assert event["response"]["output"] == []
        assert event["response"]["usage"] is None
    assert created["response"]["id"].startswith("resp_")


def test_calls_come_one_after_the_other() -> None:
    stream = whole(
        ToolDelta(index=0, id="call_1", name="weather"),
        ToolDelta(index=0, arguments='{"city":'),
        ToolDelta(index=0, arguments='"Oslo"}'),
        ToolDelta(index=1, id="call_2", name="time", arguments=""),
    )

    assert types_of(stream)[2:-1] == [
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.done", "output_item.done"),
    ]
    first, second = folded(stream)
    assert (first["call_id"], first["name"], first["arguments"]) == ("call_1", "weather", '{"city":"Oslo"}')
    assert (second["call_id"], second["name"], second["arguments"]) == ("call_2", "time", "{}")


def test_fragments_of_two_calls_may_come_in_turns() -> None:
    stream = whole(
        ToolDelta(index=0, id="call_1", name="a", arguments='{"x":'),
        ToolDelta(index=1, id="call_2", name="b", arguments='{"y":'),
        ToolDelta(index=0, arguments="1}"),
        ToolDelta(index=1, arguments="2}"),
    )

    assert [item["arguments"] for item in folded(stream)] == ['{"x":1}', '{"y":2}']


def test_what_is_secret_about_a_call_comes_behind_it() -> None:
    """Gemini signs a call before its arguments are told; LangChain loses an item into which another one falls."""
    stream = whole(
        ToolDelta(index=0, id="call_1", name="a"),
        ReasoningDelta(index=0, kind="encrypted", data="secret", id="call_1", format="google-gemini-v1"),
        ToolDelta(index=0, arguments='{"x":1}'),
        ToolDelta(index=1, id="call_2", name="b"),
        ReasoningDelta(index=1, kind="encrypted", data="another", id="call_2", format="google-gemini-v1"),
        ToolDelta(index=1, arguments='{"y":2}'),
    )

    call = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"]
    secret = ["output_item.added", "output_item.done"]
    assert types_of(stream)[2:-1] == [*call, *secret, *call, *secret]
    items = folded(stream)
    assert [item["type"] for item in items] == ["function_call", "reasoning", "function_call", "reasoning"]
    assert items[1]["encrypted_content"] != items[3]["encrypted_content"]


def test_thinking_is_text_unless_a_summary_was_asked_for() -> None:
    thought = ReasoningDelta(text="Hmm.", format=CLAUDE)

    as_text = whole(thought, TextDelta(text="Yes"))
    as_summary = whole(thought, TextDelta(text="Yes"), reasoning={"summary": "auto"})

    assert types_of(as_text)[2:7] == [
        *("output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done"),
        "content_part.done",
    ]
    assert folded(as_text)[0]["content"] == [{"type": "reasoning_text", "text": "Hmm."}]
    assert types_of(as_summary)[2:8] == [
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
    ]
    assert folded(as_summary)[0]["summary"] == [{"type": "summary_text", "text": "Hmm."}]


def test_what_is_not_to_be_shown_is_not_shown() -> None:
    stream = whole(ReasoningDelta(text="Hmm.", signature="s"), TextDelta(text="Yes"), reasoning={"exclude": True})

    assert [item["type"] for item in folded(stream)] == ["message"]


def test_a_refusal_follows_text_in_the_same_message() -> None:
    stream = whole(TextDelta(text="Well. "), RefusalDelta(text="I can"), RefusalDelta(text="not."))

    [item] = folded(stream)
    assert [part["type"] for part in item["content"]] == ["output_text", "refusal"]
    assert item["content"][1]["refusal"] == "I cannot."
    assert types_of(stream).count("refusal.delta") == 2


def test_citations_in_front_of_their_text_wait_for_it() -> None:
    cited = PartDone(part=Citation(url="https://a.example", title="A"))
    stream = whole(cited, RefusalDelta(text="No."), TextDelta(text="It rains."))

    [item] = folded(stream)
    assert [note["url"] for note in item["content"][1]["annotations"]] == ["https://a.example"]
    assert types_of(stream).count("output_text.annotation.added") == 1


def test_citations_are_annotations_of_their_text() -> None:
    stream = whole(
        TextDelta(text="It rains."), PartDone(part=Citation(url="https://a.example", title="A", end_index=9))
    )

    note = {"type": "url_citation", "start_index": 0, "end_index": 9, "url": "https://a.example", "title": "A"}
    assert folded(stream)[0]["content"][0]["annotations"] == [note]
    assert [event["annotation"] for event in events_of(stream) if "annotation" in event] == [note]


def test_an_image_is_an_item() -> None:
    [item] = folded(whole(PartDone(part=Image(data="aGk=", media_type="image/png"))))

    assert (item["type"], item["status"], item["result"]) == ("image_generation_call", "completed", "aGk=")


def test_logprobs_ride_on_their_text() -> None:
    entry = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}
    stream = whole(TextDelta(text="Hi", logprobs=Raw(json.dumps({"content": [entry]}).encode())), top_logprobs=1)

    delta = next(event for event in events_of(stream) if event["type"] == "response.output_text.delta")
    assert delta["logprobs"] == [entry]
    assert folded(stream)[0]["content"][0]["logprobs"] == [entry]


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_the_end_says_why(reason: Any, status: str, details: Any) -> None:
    stop = Stop(finishes=[Finish(reason=reason)], usage=USED)
    last = events_of(encoded(make_call(), [START, TextDelta(text="Hi"), stop]))[-1]
    answer = plain(Text(text="Hi"), finish=Finish(reason=reason))

    assert last["type"] == f"response.{status}"
    for told in (last["response"], answer):
        assert told["status"] == status
        assert told["incomplete_details"] == details
        assert told["output"][0]["status"] == status


def test_an_end_mark_only_where_it_is_wanted() -> None:
    call = make_call()
    call.compat = {"responses_done": True}
    stream = encoded(call, [START, TextDelta(text="Hi"), STOP])

    assert stream.endswith(b"\n\ndata: [DONE]\n\n")
    assert b"[DONE]" not in whole(TextDelta(text="Hi"))


def test_a_stream_that_breaks_ends_in_a_failed_response() -> None:
    call = make_call()
    flow = DIALECT.encoder(call)
    sent = flow.feed(START) + flow.feed(TextDelta(text="Hel"))
    with pytest.raises(StreamTruncated):
        flow.end()
    sent += DIALECT.stream_error(call, UpstreamUnavailable("it broke"))

    last = events_of(sent)[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "it broke"}
    assert last["response"]["error_type"] == "provider_unavailable"
    assert folded(sent)[0]["status"] == "incomplete"


def test_a_stream_that_never_began_fails_in_the_same_form() -> None:
    last = events_of(DIALECT.stream_error(make_call(), UpstreamUnavailable("it broke")))[-1]

    assert last["response"]["status"] == "failed"


def test_cost_is_for_those_who_ask_for_metadata() -> None:
    call = make_call()
    call.metadata = {"strategy": "direct"}
    last = events_of(encoded(call, [START, TextDelta(text="Hi"), STOP]))[-1]["response"]

    assert last["usage"]["cost"] == 5e-6
    assert last["openrouter_metadata"] == {"strategy": "direct"}
    assert last["provider"] == "acme"


# --- custom tools and namespaces -------------------------------------------------------------------------------------

PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}


def test_a_custom_tool_is_a_function_to_upstreams_and_itself_to_the_client() -> None:
    [tool] = decoded(tools=[PATCH]).tools
    stream = whole(
        ToolDelta(index=0, id="call_1", name="apply_patch", arguments='{"input":"*** Be'),
        ToolDelta(index=0, arguments='gin\\n"}'),
        tools=[PATCH],
    )

    assert tool.name == "apply_patch"
    assert "start: /.+/" in (tool.description or "")
    assert tool.parameters is not None
    [item] = folded(stream)
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", "*** Begin\n")
    assert "custom_tool_call_input.delta" in types_of(stream)


def test_a_tool_of_a_namespace_is_called_by_its_own_name() -> None:
    inner = {"type": "function", "name": "search", "parameters": {"type": "object"}}
    tools = [{"type": "namespace", "name": "mcp__docs", "description": "Docs.", "tools": [inner]}]

    [tool] = decoded(tools=tools).tools
    [item] = folded(whole(ToolDelta(index=0, id="c", name=tool.name, arguments="{}"), tools=tools))

    assert tool.name == "mcp__docs__search"
    assert (item["namespace"], item["name"]) == ("mcp__docs", "search")


def test_a_long_name_comes_back_whole() -> None:
    long = "weather_" + "x" * 80
    tools = [{"type": "function", "name": long, "parameters": {"type": "object"}}]

    [tool] = decoded(tools=tools).tools
    [item] = folded(whole(ToolDelta(index=0, id="c", name=tool.name, arguments="{}"), tools=tools))

    assert len(tool.name) == 64
    assert item["name"] == long


# --- plain answers ---------------------------------------------------------------------------------------------------


def test_a_plain_answer_is_what_its_stream_ends_in() -> None:
    parts = [Reasoning(text="Hmm.", signature="sig", format=CLAUDE), Text(text="Yes"), Refusal(text="No")]
    calls = [ToolCall(id="call_1", name="weather", arguments='{"a":1}')]
    answer = plain(*parts, *calls)
    stream = whole(
        ReasoningDelta(text="Hmm.", signature="sig", format=CLAUDE),
        TextDelta(text="Yes"),
        RefusalDelta(text="No"),
        ToolDelta(index=0, id="call_1", name="weather", arguments='{"a":1}'),
    )

    def without_ids(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: value for name, value in item.items() if name != "id"} for item in items]

    assert answer.keys() >= REQUIRED
    assert without_ids(answer["output"]) == without_ids(events_of(stream)[-1]["response"]["output"])
    assert answer["object"] == "response"


# --- thinking goes back to its own family ----------------------------------------------------------------------------

PIECES = some.lists(
    some.builds(
        Reasoning,
        kind=some.just("text"),
        text=some.text(min_size=1),
        signature=some.none() | some.text(min_size=1),
        format=some.just(CLAUDE),
    )
    | some.builds(
        Reasoning,
        kind=some.just("encrypted"),
        data=some.text(min_size=1),
        format=some.sampled_from([CLAUDE, "google-gemini-v1"]),
        id=some.none() | some.text(min_size=1),
    ),
    min_size=1,
    max_size=5,
)


@given(PIECES)
def test_signatures_come_back_as_they_were(pieces: list[Reasoning]) -> None:
    events: list[Event] = [
        ReasoningDelta(
            index=index,
            kind=each.kind,
            text=each.text,
            signature=each.signature,
            data=each.data,
            format=each.format,
            id=each.id,
        )
        for index, each in enumerate(pieces)
    ]
    items = folded(whole(*events, TextDelta(text="Yes")))

    request = decoded(input=[{"role": "user", "content": "Well?"}, *items, {"role": "user", "content": "And?"}])

    back = [part for part in request.messages[1].content if isinstance(part, Reasoning)]
    kept = [each for each in pieces if each.signature or each.data]
    assert [each for each in back if each.signature or each.data] == kept
    assert [each.text for each in back] == [each.text for each in pieces]


def test_openai_s_own_thinking_stays_as_it_is() -> None:
    format = "openai-responses-v1"
    stream = whole(
        ReasoningDelta(index=0, kind="summary", text="Hmm.", format=format, id="rs_1"),
        ReasoningDelta(index=1, kind="encrypted", data="gAAA", format=format, id="rs_1"),
        TextDelta(text="Yes"),
    )

    item = folded(stream)[0]
    assert (item["id"], item["encrypted_content"]) == ("rs_1", "gAAA")
    assert item["summary"] == [{"type": "summary_text", "text": "Hmm."}]


def test_a_text_that_was_taken_out_takes_its_signature_along() -> None:
    item = folded(whole(ReasoningDelta(text="Hmm.", signature="sig", format=CLAUDE), TextDelta(text="Yes")))[0]
    del item["content"]

    request = decoded(input=[item, {"role": "user", "content": "And?"}])

    assert [message.role for message in request.messages] == ["user"]


# --- any events ------------------------------------------------------------------------------------------------------

EVENTS = some.lists(
    some.builds(TextDelta, text=some.text())
    | some.builds(RefusalDelta, text=some.text(min_size=1))
    | some.builds(ReasoningDelta, index=some.integers(0, 3), text=some.text(), signature=some.none() | some.just("s"))
    | some.builds(ToolDelta, index=some.integers(0, 2), id=some.just("c"), name=some.just("f"), arguments=some.text()),
    max_size=20,
)


@given(EVENTS)
def test_any_events_make_a_stream_that_agrees_with_itself(events: list[Event]) -> None:
    stream = whole(*events)

    assert events_of(stream)[-1]["response"]["output"] == folded(stream)
    assert types_of(stream)[:2] == ["created", "in_progress"]
    assert sum(event["type"] in ("response.completed", "response.failed") for event in events_of(stream)) == 1
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert events_of(stream)[-1]["response"]["output_text"] == said
    asked = {event.index: "" for event in events if isinstance(event, ToolDelta)}
    for event in events:
        if isinstance(event, ToolDelta):
            asked[event.index] += event.arguments
    told = [item["arguments"] for item in folded(stream) if item["type"] == "function_call"]
    assert told == [arguments or "{}" for arguments in asked.values()]


def test_thinking_in_the_middle_of_a_call_costs_none_of_its_arguments() -> None:
    stream = whole(
        ToolDelta(index=0, id="call_1", name="weather"),
        ReasoningDelta(kind="encrypted", data="sig", format="google-gemini-v1", id="call_1"),
        ToolDelta(index=0, arguments='{"a":1}'),
    )

    assert [item["type"] for item in folded(stream)] == ["function_call", "reasoning"]
    assert folded(stream)[0]["arguments"] == '{"a":1}'
