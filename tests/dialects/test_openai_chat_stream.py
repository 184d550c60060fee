"""The raw lane of streams: an upstream's chunks as an OpenAI client gets them."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.dialects.openai_chat.tap import Tap
from router.errors import (
    StreamTruncated,
    UpstreamBusy,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamUnavailable,
)

from .lanes import relay, relay_or_fail
from .making import (
    USAGE,
    calls_of,
    chunk,
    chunks_of,
    delta,
    deltas,
    finishes,
    make_call,
    said,
    sse,
    text_of,
)

TOOL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}


def fragment(arguments: Any, index: int | None = 0, **members: Any) -> dict[str, Any]:
    """A later fragment of a tool call."""
    place = {} if index is None else {"index": index}
    return place | members | {"function": {"arguments": arguments}}


def stream(*parts: dict[str, Any], finish: str = "stop", **ask: Any) -> bytes:
    """What a client gets of these deltas."""
    chunks = [chunk(delta(role="assistant", content="")), *(chunk(delta(**each)) for each in parts)]
    return relay(make_call(stream=True, **ask), [sse([*chunks, chunk(delta(finish=finish)), chunk(usage=USAGE)])])


# --- the form of every answer ----------------------------------------------------------------------------------------


def test_every_chunk_says_who_answers():
    call = make_call(stream=True)

    chunks = chunks_of(relay(call, [sse(said("Hi", " there"))]))

    for each in chunks:
        assert each["id"] == call.id
        assert each["object"] == "chat.completion.chunk"
        assert each["created"] == 1_700_000_000
        assert each["model"] == "acme/chat"
        assert each["provider"] == "acme"


def test_text_arrives_and_the_call_knows_the_rest():
    call = make_call(stream=True)

    client = relay(call, [sse(said("Hi", " there", service_tier="flex"))])

    assert text_of(client) == "Hi there"
    assert finishes(client) == [(0, "stop", "stop")]
    assert call.outcome.upstream_id == "up-1"
    assert call.outcome.finish_reason == "stop"
    assert call.outcome.service_tier == "flex"
    assert call.outcome.output_chars == len("Hi there")
    assert call.outcome.usage is not None
    assert (call.outcome.usage.input, call.outcome.usage.output) == (9, 4)


def test_the_first_chunk_only_opens_the_message():
    opened = chunks_of(relay(make_call(stream=True), [sse(said("Hi"))]))
    at_once = chunks_of(
        relay(make_call(stream=True), [sse([chunk(delta(content="Hi", role="assistant", finish="stop"))])])
    )

    assert [each["choices"][0]["delta"] for each in opened[:2]] == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
    ]
    assert at_once[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert at_once[1]["choices"][0]["delta"]["content"] == "Hi"


def test_usage_rides_on_the_finish_chunk():
    last = chunks_of(relay(make_call(stream=True), [sse(said("Hi"))]))[-1]

    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["prompt_tokens"] == 9
    assert last["usage"]["completion_tokens"] == 4
    assert last["usage"]["total_tokens"] == 13
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0}
    assert last["usage"]["cost"] == 0.000005
    assert last["usage"]["is_byok"] is False
    assert last["usage"]["cost_details"]["upstream_inference_prompt_cost"] == 0.000002


def test_usage_comes_apart_for_clients_that_ask():
    *_, finish, usage = chunks_of(
        relay(make_call(stream=True, stream_options={"include_usage": True}), [sse(said("Hi"))])
    )

    assert finish["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in finish
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize(("switch", "apart"), [("separate", True), ("same", False)])
def test_a_switch_forces_the_form_of_usage(switch: str, apart: bool):
    call = make_call(stream=True, stream_options={"include_usage": not apart})
    call.compat = {"usage_chunk": switch}

    last = chunks_of(relay(call, [sse(said("Hi"))]))[-1]

    assert (last["choices"] == []) is apart


def test_a_price_that_nobody_knows_is_null():
    call = make_call(stream=True)
    tap = Tap(call)
    tap.feed(sse(said("Hi")))
    tap.end()

    last = json.loads(tap.final().split(b"\n\n")[-3][6:])

    assert last["usage"]["cost"] is None
    assert last["usage"]["cost_details"]["upstream_inference_cost"] is None


def test_usage_is_merged_and_never_erased():
    chunks = said("Hi")[:-1]
    for each in chunks:
        each["usage"] = {"prompt_tokens": 9, "completion_tokens": None, "prompt_tokens_details": {"cached_tokens": 8}}
    last = {
        "prompt_tokens": 0,
        "completion_tokens": 4,
        "total_tokens": 13,
        "prompt_tokens_details": {"audio_tokens": 0},
    }

    client = relay(make_call(stream=True), [sse([*chunks, chunk(usage=last)])])

    usage = [each["usage"] for each in chunks_of(client) if "usage" in each]
    assert len(usage) == 1
    assert usage[0]["prompt_tokens"] == 9
    assert usage[0]["prompt_tokens_details"]["cached_tokens"] == 8


def test_unknown_members_survive():
    chunks = said("Hi")
    chunks[1] |= {"novelty": {"a": [1, 2.50]}}
    chunks[1]["choices"][0] |= {"logprobs": {"content": [{"token": "Hi", "logprob": -0.25}]}, "matched_stop": 7}
    chunks[1]["choices"][0]["delta"]["channel"] = "final"

    told = chunks_of(relay(make_call(stream=True), [sse(chunks)]))[1]

    assert told["novelty"] == {"a": [1, 2.50]}
    assert told["choices"][0]["logprobs"] == {"content": [{"token": "Hi", "logprob": -0.25}]}
    assert told["choices"][0]["matched_stop"] == 7
    assert told["choices"][0]["delta"]["channel"] == "final"


def test_a_null_fingerprint_is_left_out_of_chunks():
    client = relay(make_call(stream=True), [sse(said("Hi", system_fingerprint=None))])

    assert all("system_fingerprint" not in each for each in chunks_of(client))


def test_azures_chunk_without_choices_is_kept_for_the_next():
    first = chunk(prompt_filter_results=[{"prompt_index": 0}])

    chunks = chunks_of(relay(make_call(stream=True), [sse([first, *said("Hi")])]))

    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[0]["prompt_filter_results"] == [{"prompt_index": 0}]
    assert all(each["choices"] for each in chunks)


def test_the_sent_body_is_echoed_on_demand():
    from router.provider import Outgoing

    call = make_call(stream=True, debug={"echo_upstream_body": True})
    image = "data:image/png;base64," + "A" * 2000
    call.outgoing = Outgoing(path="/", body=json.dumps({"model": "chat-1", "url": image}).encode())

    first = chunks_of(relay(call, [sse(said("Hi"))]))[0]

    assert first["debug"]["echo_upstream_body"]["model"] == "chat-1"
    assert len(first["debug"]["echo_upstream_body"]["url"]) < 100


def test_what_the_client_asked_to_know_of_routing_is_in_the_last_chunk():
    call = make_call(stream=True)
    call.metadata = {"strategy": "direct"}

    assert chunks_of(relay(call, [sse(said("Hi"))]))[-1]["openrouter_metadata"] == {"strategy": "direct"}


# --- reasoning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_has_both_names(name: str):
    client = stream({name: "Hm"}, {name: ", well"}, {"content": "Yes"})

    assert text_of(client, "reasoning") == text_of(client, "reasoning_content") == "Hm, well"
    assert text_of(client) == "Yes"


def test_reasoning_has_one_name_where_the_switch_says_so():
    call = make_call(stream=True)
    call.compat = {"reasoning_content": False}
    chunks = [chunk(delta(role="assistant", reasoning_content="Hm")), *said("Yes")]

    client = relay(call, [sse(chunks)])

    assert text_of(client, "reasoning") == "Hm"
    assert not any("reasoning_content" in each for each in deltas(client))


@pytest.mark.parametrize("ask", [{"reasoning": {"exclude": True}}, {"include_reasoning": False}])
def test_excluded_reasoning_is_not_shown_but_counted(ask: dict[str, Any]):
    call = make_call(stream=True, **ask)
    thoughts = [chunk(delta(reasoning="Hm", reasoning_details=[{"type": "reasoning.text", "text": "Hm"}]))] * 3

    client = relay(call, [sse([*thoughts, *said("Yes")])])

    assert not any("reasoning" in name for each in deltas(client) for name in each)
    assert text_of(client) == "Yes"
    assert call.outcome.output_chars == len("HmHmHm" + "Yes")


# --- tool calls ------------------------------------------------------------------------------------------------------


def test_a_tool_call_in_fragments():
    client = stream(
        {"tool_calls": [TOOL]}, {"tool_calls": [fragment('{"city":')]}, {"tool_calls": [fragment('"Oslo"}')]}
    )

    assert calls_of(client) == [("call_1", "weather", '{"city":"Oslo"}')]
    assert finishes(client) == [(0, "tool_calls", "stop")]


TWO = [("call_1", "weather", "{}"), ("call_2", "clock", '{"zone":1}')]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(
            [
                {"tool_calls": [{"id": "call_1", "function": {"name": "weather", "arguments": "{}"}}]},
                {"tool_calls": [{"id": "call_2", "function": {"name": "clock", "arguments": '{"zone":1}'}}]},
            ],
            id="whole, without index",
        ),
        pytest.param(
            [
                {"tool_calls": [{"id": "call_1", "function": {"name": "weather"}}]},
                {"tool_calls": [fragment("{}", None)]},
                {"tool_calls": [{"id": "call_2", "function": {"name": "clock"}}]},
                {"tool_calls": [fragment('{"zone"', None)]},
                {"tool_calls": [fragment(":1}", None)]},
            ],
            id="fragments without index",
        ),
        pytest.param(
            [
                {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": "{}"}}]},
                {"tool_calls": [{"index": 0, "id": "call_2", "function": {"name": "clock", "arguments": ""}}]},
                {"tool_calls": [fragment('{"zone":1}', 0)]},
            ],
            id="all with index 0",
        ),
        pytest.param(
            [
                {"tool_calls": [{"index": 3, "id": "call_1", "function": {"name": "weather", "arguments": "{}"}}]},
                {
                    "tool_calls": [
                        {"index": 7, "id": "call_2", "function": {"name": "clock", "arguments": '{"zone":1}'}}
                    ]
                },
            ],
            id="gaps between indexes",
        ),
        pytest.param(
            [
                {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": {}}}]},
                {"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "clock", "arguments": {"zone": 1}}}]},
            ],
            id="arguments as objects",
        ),
        pytest.param(
            [
                {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": "{}"}}]},
                {"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "clock", "arguments": '{"zo'}}]},
                {"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "clock", "arguments": 'ne":1}'}}]},
            ],
            id="id and name repeated",
        ),
        pytest.param(
            [
                {
                    "tool_calls": [
                        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
                        {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": '{"zone":1}'}},
                    ]
                }
            ],
            id="both in one chunk",
        ),
        pytest.param(
            [
                {"tool_calls": [{"index": 0, "id": "call_1"}]},
                {"tool_calls": [{"index": 0, "function": {"name": "weather", "arguments": "{}"}}]},
                {"tool_calls": [{"index": 1, "id": "call_2", "function": {"arguments": '{"zone"'}}]},
                {"tool_calls": [{"index": 1, "function": {"name": "clock", "arguments": ":1}"}}]},
            ],
            id="the name behind the id",
        ),
    ],
)
def test_deviating_tool_calls_are_made_regular(parts: list[dict[str, Any]]):
    assert calls_of(stream(*parts)) == TWO


def test_a_call_without_an_id_gets_one():
    ((id, name, _),) = calls_of(
        stream({"tool_calls": [{"index": 0, "function": {"name": "weather", "arguments": "{}"}}]})
    )

    assert re.fullmatch(r"call_[0-9a-f]{24}", id)
    assert name == "weather"


def test_unknown_members_of_a_call_survive():
    signed = TOOL | {"extra_content": {"google": {"thought_signature": "c2ln"}}}

    (told,) = [each["tool_calls"][0] for each in deltas(stream({"tool_calls": [signed]})) if "tool_calls" in each]

    assert told["extra_content"] == {"google": {"thought_signature": "c2ln"}}


def test_nulls_that_say_nothing_are_left_out():
    client = stream({"content": "Hi", "role": None, "tool_calls": None, "function_call": None})

    assert list(deltas(client))[1] == {"content": "Hi"}


# --- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("max_tokens", "length"),
    ],
)
def test_finish_reasons(native: str, reason: str):
    assert finishes(stream({"content": "Hi"}, finish=native)) == [(0, reason, native)]


def test_a_native_reason_is_kept():
    ending = chunk(delta(finish="stop") | {"native_finish_reason": "end_turn"})

    assert finishes(relay(make_call(stream=True), [sse([*said("Hi", finish=None)[:-1], ending])])) == [
        (0, "stop", "end_turn")
    ]


def test_each_choice_finishes_once():
    twice = [*said("Hi")[:-1], chunk(delta(content="", finish="stop"), usage=USAGE)]

    assert finishes(relay(make_call(stream=True), [sse(twice)])) == [(0, "stop", "stop")]


def test_several_choices():
    chunks = [
        chunk(delta(0, role="assistant", content="")),
        chunk(delta(1, role="assistant", content="")),
        chunk(delta(0, content="a")),
        chunk(delta(1, content="x")),
        chunk(delta(0, finish="stop")),
        chunk(delta(1, content="y")),
        chunk(delta(1, finish="length")),
        chunk(usage=USAGE),
    ]

    client = relay(make_call(stream=True, n=2), [sse(chunks)])

    assert (text_of(client, index=0), text_of(client, index=1)) == ("a", "xy")
    assert finishes(client) == [(0, "stop", "stop"), (1, "length", "length")]
    assert [("usage" in each) for each in chunks_of(client)].count(True) == 1


def test_text_beside_the_finish_reason_is_not_lost():
    client = relay(make_call(stream=True), [sse([chunk(delta(role="assistant", content="Hi", finish="stop"))])])

    assert text_of(client) == "Hi"
    assert finishes(client) == [(0, "stop", "stop")]


def test_a_finish_without_done_is_an_end():
    assert text_of(relay(make_call(stream=True), [sse(said("Hi"), done=False)])) == "Hi"


def test_done_without_a_finish_reason_is_an_end():
    assert finishes(relay(make_call(stream=True), [sse(said("Hi", finish=None))])) == [(0, "stop", None)]


def test_a_cut_stream_is_an_error():
    with pytest.raises(StreamTruncated, match="finish reason"):
        relay(make_call(stream=True), [sse(said("Hi", finish=None), done=False)])


def test_a_stream_cut_inside_of_a_chunk_is_an_error():
    with pytest.raises(StreamTruncated, match="middle"):
        relay(make_call(stream=True), [sse(said("Hi", finish=None), done=False)[:-30]])


def test_the_last_blank_line_may_be_missing():
    raw = (
        sse(said("Hi")[:-2], done=False)
        + b'data: {"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"stop"}]}'
    )

    client = relay(make_call(stream=True), [raw])

    assert text_of(client) == "Hi!"


@pytest.mark.parametrize("raw", [b"", b"data: [DONE]\n\n", b": comment\n\n"])
def test_an_empty_stream_is_an_error(raw: bytes):
    with pytest.raises(UpstreamUnavailable, match="empty"):
        relay(make_call(stream=True), [raw])


def test_nonsense_is_an_error():
    with pytest.raises(UpstreamUnavailable, match="cannot be read"):
        relay(make_call(stream=True), [b"data: {nonsense\n\n"])


@pytest.mark.parametrize(
    "odd", [b'{"choices":{}}', b'{"choices":[{"index":[],"delta":[]}]}', b'{"choices":[1]}', b"[]", b"1"]
)
def test_chunks_of_another_form_are_an_error(odd: bytes):
    with pytest.raises(UpstreamUnavailable, match="cannot be read"):
        relay(make_call(stream=True), [sse(said("Hi")[:2], done=False) + b"data: " + odd + b"\n\n"])


# --- errors inside of a success --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "leaf", "kind"),
    [
        ({"message": "no", "type": "invalid_request_error", "status_code": 400}, UpstreamRejected, "invalid_request"),
        ({"message": "wait", "code": 429}, UpstreamBusy, "rate_limit_exceeded"),
        ({"message": "full", "type": "overloaded_error"}, UpstreamOverloaded, "provider_overloaded"),
        ({"message": "oh", "code": "500"}, UpstreamUnavailable, "provider_unavailable"),
        ({"message": "oh"}, UpstreamUnavailable, "provider_unavailable"),
        ("just words", UpstreamUnavailable, "provider_unavailable"),
        (
            {"message": "This model's maximum context length is 8", "code": "context_length_exceeded"},
            UpstreamRejected,
            "context_length_exceeded",
        ),
    ],
)
def test_an_error_in_the_stream(error: Any, leaf: type[Exception], kind: str):
    with pytest.raises(leaf) as raised:
        relay(make_call(stream=True), [sse([{"error": error}])])

    assert raised.value.kind == kind  # type: ignore[attr-defined]


def test_an_error_chunk_of_a_gateway():
    failing = chunk(delta(content="") | {"error": {"code": 502, "message": "it broke"}}, error=None)

    with pytest.raises(UpstreamUnavailable, match="it broke"):
        relay(make_call(stream=True), [sse([failing])])


def test_vllms_form_of_an_error():
    with pytest.raises(UpstreamRejected, match="too long"):
        relay(make_call(stream=True), [sse([{"object": "error", "message": "too long", "code": 400}])])


def test_a_plain_error_where_a_stream_was_promised():
    with pytest.raises(UpstreamBusy, match="slow down"):
        relay(make_call(stream=True), [b'{\n  "error": {"message": "slow down",\n\n "code": 429}\n}'])


def test_the_finish_reason_error_is_one():
    with pytest.raises(UpstreamUnavailable, match="with an error"):
        relay(make_call(stream=True), [sse(said("Hi", finish="error"))])


@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_text_in_front_of_an_error_reaches_the_client(size: int):
    raw = sse([*said("Hi", " there", finish=None)[:-1], {"error": {"message": "oh", "code": 500}}])

    out, error = relay_or_fail(make_call(stream=True), [raw[at : at + size] for at in range(0, len(raw), size)])

    assert b'"content":" there"' in out
    assert error == "UpstreamUnavailable: oh"


def test_an_error_in_front_of_all_text_is_raised_at_once():
    tap = Tap(make_call(stream=True))

    with pytest.raises(UpstreamUnavailable, match="oh"):
        tap.feed(sse([*said(finish=None)[:1], {"error": {"message": "oh", "code": 500}}]))

    assert not tap.content


# --- framing and speed -----------------------------------------------------------------------------------------------

TEXTS = st.lists(
    st.text(st.characters(codec="utf-8"), max_size=12)
    | st.sampled_from(
        ['"', "\\", "\\n", '\\"', "\n\n", "data: ", "[DONE]", '"},"', "\u2028", "😀", "\\u0041", "content"]
    ),
    max_size=12,
)


@st.composite
def streams(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Streams of all kinds of deltas, with the members that real upstreams add."""
    extra = draw(st.sampled_from([{}, {"usage": None}, {"service_tier": "x", "system_fingerprint": None}]))
    kinds = draw(
        st.lists(st.sampled_from(["content", "reasoning", "reasoning_content", "refusal", "tool"]), min_size=1)
    )
    chunks = [chunk(delta(role="assistant", content=""), **extra)]
    for kind, text in zip(kinds * 12, draw(TEXTS), strict=False):
        parts = [{"tool_calls": [TOOL]}, {"tool_calls": [fragment(text)]}] if kind == "tool" else [{kind: text}]
        chunks += [chunk(delta(**part), **extra) for part in parts]
    if draw(st.booleans()):
        for number, each in enumerate(chunks):
            each["obfuscation"] = "aZ09"[: number % 4 + 1]
    ending = chunk(delta(finish=draw(st.sampled_from(["stop", "length"]))), **extra)
    return [*chunks, ending, chunk(**(extra | {"usage": USAGE}))]


def split(raw: bytes, cuts: list[int]) -> list[bytes]:
    """The stream in pieces."""
    ends = sorted({each % (len(raw) + 1) for each in cuts} | {0, len(raw)})
    return [raw[start:end] for start, end in itertools.pairwise(ends)]


@given(
    chunks=streams(),
    cuts=st.lists(st.integers(0, 5000), max_size=30),
    end=st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"]),
)
def test_any_split_gives_the_same_bytes(chunks: list[dict[str, Any]], cuts: list[int], end: str):
    plain, call = make_call(stream=True), make_call(stream=True)
    call.id = plain.id

    whole = relay(plain, [sse(chunks)])
    pieces = relay(call, split(sse(chunks, end=end), cuts))

    assert pieces == whole
    assert call.outcome == plain.outcome


@given(chunks=streams())
def test_rules_say_what_taking_chunks_apart_says(chunks: list[dict[str, Any]]):
    fast, slow = make_call(stream=True), make_call(stream=True)
    slow.id = fast.id
    tap = Tap(slow)
    frames = sse(chunks).split(b"\n\n")

    out = []
    for each in frames[:-1]:
        tap._rule = None
        out.append(tap.feed(each + b"\n\n"))

    tap.end()
    assert relay(fast, [sse(chunks)]).startswith(b"".join(out))
    assert fast.outcome == slow.outcome


@given(chunks=streams())
def test_what_was_said_arrives(chunks: list[dict[str, Any]]):
    client = relay(make_call(stream=True), [sse(chunks)])

    for member in ("content", "refusal"):
        said_upstream = "".join(
            choice["delta"].get(member) or "" for each in chunks for choice in each["choices"] if choice["delta"]
        )
        assert text_of(client, member) == said_upstream


def test_ordinary_chunks_are_patched_by_a_rule():
    tap = Tap(make_call(stream=True))
    first, *rest = sse(said("a", "b", "c", '"d"\n', finish=None)).split(b"\n\n")

    tap.feed(first + b"\n\n")
    tap.feed(rest[0] + b"\n\n")

    assert tap._rule is not None
    assert b'"content":"b"' in tap.feed(rest[1] + b"\n\n")
    assert tap._rule.used


def test_a_byte_order_mark_and_comments_are_passed_over():
    raw = b"\xef\xbb\xbf: hello\n\n" + sse(said("Hi")).replace(b"\n\n", b"\n: still here\n\n")

    assert text_of(relay(make_call(stream=True), [raw])) == "Hi"


def test_broken_text_is_an_error():
    raw = sse(said("Hi", "zz")).replace(b"zz", b"\xff")

    out, error = relay_or_fail(make_call(stream=True), [raw])

    assert b'"content":"Hi"' in out
    assert "cannot be read" in error
