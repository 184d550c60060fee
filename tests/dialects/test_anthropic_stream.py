"""The raw lane of Anthropic's streams and answers: relayed byte for byte, read along."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import UpstreamBusy, UpstreamOverloaded, UpstreamRejected, UpstreamUnavailable

from .anthropic_making import DIALECT, block, ending, events_of, make_call, message_start, said, sse, text
from .lanes import relay_or_fail, settled

TOOL = block(
    1,
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
    {"type": "input_json_delta", "partial_json": ""},
    {"type": "input_json_delta", "partial_json": '{"city": "Oslo"}'},
)
THOUGHT = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "Well…"},
    {"type": "signature_delta", "signature": "c2ln"},
)
WHOLE = [message_start(cache_read_input_tokens=100), *THOUGHT, *text(1, "Grüß", " 👋"), *ending(input_tokens=9)]


@given(st.lists(st.integers(0, 2000)), st.sampled_from(["\n", "\r\n"]))
def test_any_split_gives_the_same_bytes(cuts: list[int], end: str):
    stream = sse([*WHOLE[:-1], {"type": "novelty", "delta": [1]}, WHOLE[-1]], end)
    places = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    call = make_call(stream=True)

    client, failed = relay_or_fail(call, [stream[a:b] for a, b in itertools.pairwise(places)])

    assert (client, failed) == (stream, "")
    assert call.outcome.output_chars == len("Well…Grüß 👋")


def test_the_end_waits_until_the_call_is_booked():
    call = make_call(stream=True)
    tap = DIALECT.tap(call)
    stream = sse(said("Hi"))
    stop = sse([{"type": "message_stop"}])

    sent = tap.feed(stream)

    assert tap.done
    assert sent == stream.removesuffix(stop)
    tap.end()
    assert tap.final() == stop


def test_the_call_knows_what_was_said():
    call = make_call(stream=True)

    relay_or_fail(
        call,
        [sse([message_start(cache_read_input_tokens=100, cache_creation_input_tokens=20), *TOOL, *ending("tool_use")])],
    )

    outcome = call.outcome
    assert (outcome.upstream_id, outcome.finish_reason, outcome.native_finish_reason) == (
        "msg_1",
        "tool_calls",
        "tool_use",
    )
    assert outcome.usage is not None
    assert (outcome.usage.input, outcome.usage.cache_read, outcome.usage.cache_write) == (129, 100, 20)
    assert outcome.usage.output == 4
    assert outcome.output_chars == len("weather") + len('{"city": "Oslo"}')


def test_a_later_zero_erases_no_count():
    call = make_call(stream=True)
    last = ending(input_tokens=0, cache_read_input_tokens=0, output_tokens=7)

    relay_or_fail(call, [sse([message_start(cache_read_input_tokens=100), *text(0, "Hi"), *last])])

    assert call.outcome.usage is not None
    assert (call.outcome.usage.input, call.outcome.usage.cache_read, call.outcome.usage.output) == (109, 100, 7)


@pytest.mark.parametrize(
    ("event", "content"),
    [
        (message_start(), False),
        ({"type": "ping"}, False),
        (block(0, {"type": "text", "text": ""})[0], False),
        (text(0, "Hi")[1], True),
        (THOUGHT[0], False),
        (THOUGHT[1], True),
        (TOOL[0], True),
        (block(0, {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}})[0], True),
        (block(0, {"type": "novelty"})[0], True),
    ],
)
def test_content_is_what_a_client_would_miss(event: dict[str, Any], content: bool):
    tap = DIALECT.tap(make_call(stream=True))

    tap.feed(sse([event]))

    assert tap.content is content


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", UpstreamOverloaded),
        ("rate_limit_error", UpstreamBusy),
        ("api_error", UpstreamUnavailable),
        ("invalid_request_error", UpstreamRejected),
        ("novel_error", UpstreamUnavailable),
    ],
)
def test_an_error_event_is_the_attempts(kind: str, expected: type[Exception]):
    error = {"type": "error", "error": {"type": kind, "message": "sorry"}}

    before, failed = relay_or_fail(make_call(stream=True), [sse([message_start(), error])])
    after, failed_later = relay_or_fail(make_call(stream=True), [sse([*said("Hi")[:-2], error])])

    assert (before, failed) == (b"", f"{expected.__name__}: sorry")
    assert (after, failed_later) == (sse(said("Hi")[:-2]), f"{expected.__name__}: sorry")


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (sse(said("Hi")[:-1]), "StreamTruncated"),
        (sse(said("Hi"))[:-30], "StreamTruncated"),
        (b"", "UpstreamUnavailable"),
        (b": nothing\n\n", "UpstreamUnavailable"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"sorry"}}', "UpstreamOverloaded"),
        (b"event: message_start\ndata: {nonsense\n\n", "_Unreadable"),
        (b'data: {"type":"content_block_delta","index":"no","delta":5}\n\n', "_Unreadable"),
    ],
)
def test_what_is_no_whole_answer_is_a_failure(stream: bytes, expected: str):
    assert relay_or_fail(make_call(stream=True), [stream])[1].partition(":")[0] == expected


def test_the_last_event_may_lack_its_blank_line():
    stream = sse(said("Hi"))

    assert relay_or_fail(make_call(stream=True), [stream.rstrip(b"\n")]) == (stream, "")


def test_metadata_is_added_on_demand_only():
    call = make_call(stream=True)
    call.metadata = {"strategy": "direct"}

    client, _ = relay_or_fail(call, [sse(said("Hi"))])

    start, *_, change, stop = [each for each in map(_event, client.split(b"\n\n")[:-1]) if each["type"] != "ping"]
    assert start["message"]["provider"] == "claude"
    assert start["message"]["id"] == "msg_1"
    assert change["usage"] == {"output_tokens": 4, "cost": 0.000005, "is_byok": False}
    assert stop["openrouter_metadata"] == {"strategy": "direct"}


def _event(frame: bytes) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(frame.partition(b"data: ")[2])
    return event


# --- plain answers ---------------------------------------------------------------------------------------------------

MESSAGE = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929",\n "novelty": 1.50,'
    b'"content":[{"type":"text","text":"Hi"},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":1}}],'
    b'"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":9,"cache_read_input_tokens":5,'
    b'"output_tokens":4,"cache_creation":{"ephemeral_5m_input_tokens":1,"ephemeral_1h_input_tokens":2},"new":0}}'
)


def test_a_plain_answer_is_relayed_byte_for_byte():
    call = make_call()

    DIALECT.answer(call, MESSAGE)

    assert DIALECT.final_answer(settled(call), MESSAGE) == MESSAGE
    outcome = call.outcome
    assert (outcome.upstream_id, outcome.finish_reason, outcome.native_finish_reason) == (
        "msg_1",
        "tool_calls",
        "tool_use",
    )
    assert outcome.usage is not None
    assert (outcome.usage.input, outcome.usage.cache_write, outcome.usage.cache_write_1h) == (17, 1, 2)
    assert outcome.output_chars == len("Hi") + len("f") + len('{"a":1}')


def test_a_plain_answer_gets_metadata_on_demand():
    call = make_call()
    call.metadata = {"strategy": "direct"}
    DIALECT.answer(call, MESSAGE)

    told = json.loads(DIALECT.final_answer(settled(call), MESSAGE))

    assert told["usage"]["cost"] == 0.000005
    assert told["usage"]["is_byok"] is False
    assert told["provider"] == "claude"
    assert told.pop("openrouter_metadata") == {"strategy": "direct"}
    del told["provider"], told["usage"]["cost"], told["usage"]["is_byok"]
    assert told == json.loads(MESSAGE)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", UpstreamUnavailable),
        (b"<html>", UpstreamUnavailable),
        (b'{"id":"msg_1"}', UpstreamUnavailable),
        (b'{"content":[{"no":"type"}]}', UpstreamUnavailable),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"sorry"}}', UpstreamOverloaded),
    ],
)
def test_what_is_no_message_is_a_failure(body: bytes, expected: type[Exception]):
    with pytest.raises(expected):
        DIALECT.answer(make_call(), body)


def test_the_events_of_the_tests_are_in_order():
    assert len(events_of(sse([each for each in WHOLE if each["type"] != "ping"]))) == len(WHOLE)
