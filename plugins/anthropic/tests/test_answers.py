"""Answers and streams of Anthropic as the router's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from router_anthropic import Anthropic

from router.errors import StreamTruncated, UpstreamOverloaded, UpstreamUnavailable
from router.events import Event, Finish, Fold, PartDone, ReasoningDelta, Reply, Start, Stop, TextDelta, ToolDelta
from router.model import Citation, Opaque, Reasoning, Text, ToolCall
from router.prices import Usage

Bytes = Callable[[str], bytes]
Streamed = Callable[..., list[Event]]

STREAMS = (
    "text_stream",
    "tools_stream",
    "thinking_stream",
    "search_stream",
    "json_output_stream",
    "refusal_stream",
    "length_stream",
    "unknown_stream",
)


def folded(events: list[Event]) -> Reply:
    fold = Fold()
    for event in events:
        fold.add(event)
    return fold.reply


def stop_of(events: list[Event]) -> Stop:
    last = events[-1]
    assert isinstance(last, Stop)
    return last


def test_text(provider: Anthropic, answer: Bytes) -> None:
    reply = provider.decode(answer("text"))

    assert (reply.id, reply.model) == ("msg_01text", "claude-sonnet-4-5-20250929")
    assert reply.service_tier == "default"
    assert reply.choices[0].content == [Text(text="Hei! 👋")]
    assert reply.choices[0].finish == Finish(reason="stop", native="end_turn")
    assert reply.usage == Usage(input=8, output=9)


def test_streamed_text(streamed: Streamed, answer: Bytes) -> None:
    events = streamed(answer("text_stream"))

    assert events[0] == Start(
        id="msg_01textstream",
        model="claude-sonnet-4-5-20250929",
        service_tier="default",
        usage=Usage(input=25, output=1),
    )
    assert [event.text for event in events[1:-1] if isinstance(event, TextDelta)] == ["He", "i", " på", " deg! 👋"]
    assert events[-1] == Stop(finishes=[Finish(reason="stop", native="end_turn")], usage=Usage(input=25, output=12))


def test_stop_sequence(provider: Anthropic, answer: Bytes) -> None:
    finish = provider.decode(answer("stop_sequence")).choices[0].finish

    assert finish == Finish(reason="stop", native="stop_sequence", stop_sequence="END")


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
        (None, "stop"),
    ],
)
def test_finish_reasons(provider: Anthropic, native: str | None, reason: str) -> None:
    body = {"type": "message", "id": "m", "content": [{"type": "text", "text": "a"}], "stop_reason": native}

    finish = provider.decode(json.dumps(body).encode()).choices[0].finish

    assert (finish.reason, finish.native) == (reason, native)


def test_any_tool_call_makes_the_reason_tool_calls(provider: Anthropic) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    body = {"type": "message", "id": "m", "content": [call], "stop_reason": "max_tokens"}

    finish = provider.decode(json.dumps(body).encode()).choices[0].finish

    assert finish == Finish(reason="tool_calls", native="max_tokens")


def test_streamed_tool_calls(streamed: Streamed, answer: Bytes) -> None:
    events = streamed(answer("tools_stream"))

    calls = [event for event in events if isinstance(event, ToolDelta)]
    assert [(call.index, call.id, call.name) for call in calls if call.id] == [
        (0, "toolu_01oslo", "get_weather"),
        (1, "toolu_01rome", "get_weather"),
        (2, "toolu_01now", "now"),
    ]
    assert [call.arguments for call in calls if call.index == 0] == ["", '{"ci', 'ty": "Os', 'lo"}']
    assert stop_of(events).finishes == [Finish(reason="tool_calls", native="tool_use")]
    assert [part.arguments for part in folded(events).choices[0].content if isinstance(part, ToolCall)] == [
        '{"city": "Oslo"}',
        '{"city": "Rome"}',
        "{}",
    ]


def test_tool_calls(provider: Anthropic, answer: Bytes) -> None:
    reply = provider.decode(answer("tools"))

    assert reply.choices[0].content == [
        Text(text="I look it up."),
        ToolCall(id="toolu_01oslo", name="get_weather", arguments='{"city": "Oslo"}'),
        ToolCall(id="toolu_01now", name="now", arguments="{}"),
    ]


def test_input_that_comes_whole_in_the_start_of_its_block(streamed: Streamed) -> None:
    block = {"type": "tool_use", "id": "toolu_1", "name": "roll", "input": {"player": "one"}}

    events = streamed(stream([start(), *opened(0, block), *ended("tool_use")]))

    assert [event.arguments for event in events if isinstance(event, ToolDelta)] == ["", '{"player": "one"}']


def test_content_that_comes_with_message_start(streamed: Streamed) -> None:
    head = start()
    head["message"]["content"] = [{"type": "tool_use", "id": "toolu_1", "name": "roll", "input": {"n": 1}}]
    head["message"]["stop_reason"] = "tool_use"

    reply = folded(streamed(stream([head, {"type": "message_stop"}])))

    assert reply.choices[0].content == [ToolCall(id="toolu_1", name="roll", arguments='{"n": 1}')]
    assert reply.choices[0].finish == Finish(reason="tool_calls", native="tool_use")


def test_thinking_keeps_order_and_signatures(streamed: Streamed, answer: Bytes) -> None:
    events = streamed(answer("thinking_stream"))

    family = "anthropic-claude-v1"
    assert events[1:5] == [
        ReasoningDelta(index=0, text="s-t-r-a-w: ", format=family),
        ReasoningDelta(index=0, text="one so far.", format=family),
        ReasoningDelta(index=0, signature="c2lnbmF0dXJlLW9uZQ==", format=family),
        ReasoningDelta(index=1, kind="encrypted", data="b3BhcXVlLXRob3VnaHQ=", format=family),
    ]


def test_usage_counts_the_cache_in_its_classes_and_zero_erases_nothing(streamed: Streamed, answer: Bytes) -> None:
    usage = stop_of(streamed(answer("thinking_stream"))).usage

    assert usage == Usage(
        input=44 + 300 + 1200, output=71, reasoning=58, cache_read=1200, cache_write=100, cache_write_1h=200
    )


def test_usage_without_classes_counts_as_five_minutes(provider: Anthropic) -> None:
    counted = {"input_tokens": 10, "cache_creation_input_tokens": 40, "output_tokens": 2}
    body = {"type": "message", "content": [{"type": "text", "text": "a"}], "usage": counted}

    usage = provider.decode(json.dumps(body).encode()).usage

    assert usage == Usage(input=50, output=2, cache_write=40)


def test_no_usage_is_none(streamed: Streamed) -> None:
    head = start()
    del head["message"]["usage"]

    events = streamed(stream([head, *opened(0, {"type": "text", "text": "a"}), {"type": "message_stop"}]))

    assert stop_of(events).usage is None


def test_tools_that_anthropic_runs_are_no_tool_calls(streamed: Streamed, answer: Bytes) -> None:
    events = streamed(answer("search_stream"))

    assert not [event for event in events if isinstance(event, ToolDelta)]
    ran = [event for event in events if isinstance(event, ReasoningDelta)]
    assert [(event.index, event.kind, event.id) for event in ran] == [
        (0, "server_tool_call", "srvtoolu_01a"),
        (1, "server_tool_call", "srvtoolu_01a"),
    ]
    assert json.loads(ran[0].data)["input"] == {"query": "Oslo news"}
    assert json.loads(ran[1].data)["content"][0]["encrypted_content"] == "ZW5jcnlwdGVk"
    assert stop_of(events).finishes[0].reason == "stop"


def test_citations_say_where_in_the_text_they_hold(streamed: Streamed, answer: Bytes) -> None:
    reply = folded(streamed(answer("search_stream")))

    text = reply.choices[0].text
    assert text == "I search. The tram runs again."
    assert reply.choices[0].citations == [
        Citation(
            url="https://example.com/oslo",
            title="Oslo today",
            start_index=text.index("The tram"),
            end_index=len(text),
            content="The tram is back.",
        )
    ]
    assert reply.usage is not None
    assert (reply.usage.input, reply.usage.searches) == (9400, 1)


def test_citations_of_a_plain_answer(provider: Anthropic) -> None:
    found = {"type": "char_location", "cited_text": "in 1993", "document_title": "facts.txt", "document_index": 0}
    body = {
        "type": "message",
        "content": [{"type": "text", "text": "It was "}, {"type": "text", "text": "1993.", "citations": [found]}],
    }

    choice = provider.decode(json.dumps(body).encode()).choices[0]

    assert choice.citations == [Citation(url="", title="facts.txt", start_index=7, end_index=12, content="in 1993")]


def test_a_forced_json_output_is_the_answers_text(streamed: Streamed, answer: Bytes) -> None:
    reply = folded(streamed(answer("json_output_stream")))

    assert reply.choices[0].content == [Text(text='{"name": "Fido"}')]
    assert reply.choices[0].finish == Finish(reason="stop", native="tool_use")


def test_a_clients_own_tool_named_json_output_stays_a_call(provider: Anthropic) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "json_output_", "input": {"a": 1}}
    body = {"type": "message", "content": [call], "stop_reason": "tool_use"}

    content = provider.decode(json.dumps(body).encode()).choices[0].content

    assert content == [ToolCall(id="toolu_1", name="json_output", arguments='{"a": 1}')]


def test_refused_text_is_delivered(streamed: Streamed, answer: Bytes) -> None:
    reply = folded(streamed(answer("refusal_stream")))

    assert reply.choices[0].text == "I can"
    assert reply.choices[0].finish == Finish(reason="content_filter", native="refusal")


def test_unknown_blocks_come_whole_and_unknown_events_are_passed_over(streamed: Streamed, answer: Bytes) -> None:
    events = streamed(answer("unknown_stream"))

    opaque = next(event.part for event in events if isinstance(event, PartDone))
    assert isinstance(opaque, Opaque)
    assert opaque.family == "anthropic"
    assert json.loads(bytes(opaque.raw)) == {"type": "hologram", "id": "holo_1", "content": "seen", "depth": 3}
    assert folded(events).choices[0].text == "Alright"


@pytest.mark.parametrize("name", STREAMS)
def test_grammar(streamed: Streamed, answer: Bytes, name: str) -> None:
    events = streamed(answer(name))

    assert [type(event) for event in events if isinstance(event, Start | Stop)] == [Start, Stop]
    assert isinstance(events[0], Start)
    assert stop_of(events).usage is not None
    calls = [event.index for event in events if isinstance(event, ToolDelta) and event.id]
    assert calls == list(range(len(calls)))


@pytest.mark.parametrize("name", STREAMS)
def test_one_byte_at_a_time(streamed: Streamed, answer: Bytes, name: str) -> None:
    raw = answer(name)

    assert streamed(raw[at : at + 1] for at in range(len(raw))) == streamed(raw)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(STREAMS), ends=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_gives_the_same_events(
    streamed: Streamed, answer: Bytes, data: st.DataObject, name: str, ends: bytes
) -> None:
    raw = answer(name).replace(b"\n", ends)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=30)))

    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    assert streamed(pieces) == streamed(answer(name))


@pytest.mark.parametrize("name", STREAMS)
def test_a_cut_stream_is_never_a_success(streamed: Streamed, answer: Bytes, name: str) -> None:
    frames = answer(name).split(b"\n\n")[:-1]

    for kept in range(len(frames) - 1):
        with pytest.raises(StreamTruncated):
            streamed(b"\n\n".join(frames[:kept]))


def test_an_error_inside_a_stream(streamed: Streamed, answer: Bytes) -> None:
    with pytest.raises(UpstreamOverloaded) as caught:
        streamed(answer("error_in_stream"))

    assert caught.value.provider_code == "overloaded_error"
    assert caught.value.message == "Overloaded"


def test_nothing_is_read_behind_the_end(streamed: Streamed, answer: Bytes) -> None:
    raw = answer("text_stream")

    assert streamed(raw + b"event: error\ndata: {\n\n") == streamed(raw)


@pytest.mark.parametrize(
    "data",
    ["{", "[]", '{"type":"message_start","message":7}', '{"type":"content_block_start","content_block":{"type":3}}'],
)
def test_an_event_that_cannot_be_read(streamed: Streamed, data: str) -> None:
    with pytest.raises(UpstreamUnavailable):
        streamed(f"data: {data}\n\n".encode())


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"type":"message"}', b'{"content":[{"text":"a"}]}'])
def test_an_answer_that_is_no_message(provider: Anthropic, body: bytes) -> None:
    with pytest.raises(UpstreamUnavailable):
        provider.decode(body)


def test_an_error_body_with_status_200(provider: Anthropic, answer: Bytes) -> None:
    with pytest.raises(UpstreamOverloaded):
        provider.decode(answer("overloaded"))


@pytest.mark.parametrize("name", ["thinking_stream", "search_stream", "tools_stream"])
def test_a_reply_sent_back_is_what_came(
    streamed: Streamed, answer: Bytes, sent: Callable[..., dict[str, Any]], ask: Callable[..., Any], name: str
) -> None:
    """Thinking with its signature, calls and what Anthropic's own tools did go back as they were."""
    raw = answer(name)
    content = folded(streamed(raw)).choices[0].content

    body = sent(ask(("user", "Go"), ("assistant", content), ("user", "And now?")))

    assert [without_citations(block) for block in body["messages"][1]["content"]] == blocks_of(raw)


def test_reasoning_of_a_plain_answer(provider: Anthropic) -> None:
    """Newer models leave the text out and send the signature alone."""
    body = {
        "type": "message",
        "content": [
            {"type": "thinking", "thinking": "", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZGF0YQ=="},
            {"type": "text", "text": "Yes"},
        ],
    }

    content = provider.decode(json.dumps(body).encode()).choices[0].content

    family = "anthropic-claude-v1"
    assert content == [
        Reasoning(signature="c2ln", format=family),
        Reasoning(kind="encrypted", data="ZGF0YQ==", format=family),
        Text(text="Yes"),
    ]


# --- streams made by hand --------------------------------------------------------------------------------------------


def stream(events: list[dict[str, Any]]) -> bytes:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def start() -> dict[str, Any]:
    message = {"id": "msg_1", "model": "claude", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}}
    return {"type": "message_start", "message": message}


def opened(index: int, block: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        {"type": "content_block_stop", "index": index},
    ]


def ended(reason: str) -> list[dict[str, Any]]:
    return [
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]


def without_citations(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != "citations"}


def blocks_of(raw: bytes) -> list[dict[str, Any]]:
    """The content of a recorded stream as the whole answer would have it."""
    blocks: dict[int, dict[str, Any]] = {}
    inputs: dict[int, str] = {}
    for line in raw.decode().splitlines():
        event = json.loads(line[6:]) if line.startswith("data: ") else {}
        match event:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                blocks[index] = without_citations(block)
            case {"type": "content_block_delta", "index": index, "delta": {"partial_json": text}}:
                inputs[index] = inputs.get(index, "") + text
            case {"type": "content_block_delta", "index": index, "delta": delta}:
                for name in {"text", "thinking", "signature"} & delta.keys():
                    blocks[index][name] += delta[name]
    for index, text in inputs.items():
        blocks[index]["input"] = json.loads(text or "{}")
    return list(blocks.values())
