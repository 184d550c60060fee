"""The raw lane of Gemini's streams: the same bytes or an array of the same answers, whatever the packets, and the end held back."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import UpstreamError

from .gemini_making import ASK, DIALECT, USAGE, Body, answer, make_call, spoken, sse
from .lanes import relay, relay_or_fail, settled

CALLS = [
    answer({"text": "Hm", "thought": True}),
    answer({"text": "I look 🌍"}),
    answer({"functionCall": {"name": "f", "args": {"a": "é\n"}}, "thoughtSignature": "c2ln"}),
    answer({"text": ""}, finish="STOP", usageMetadata=USAGE),
]
#: older models tell a reason in every event
OLD = [answer({"text": text}, finish="STOP", usageMetadata={"promptTokenCount": 9}) for text in "abc"]
TWO = [
    answer({"text": "a"}, index=0),
    answer({"text": "b"}, index=1),
    answer({"text": "c"}, finish="STOP", index=0),
    answer({"text": "d"}, finish="MAX_TOKENS", index=1, usageMetadata=USAGE),
]
BLOCKED: list[Body] = [{"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "m", "responseId": "r"}]
STREAMS = {"text": spoken("Hei", ", Ås 🌍"), "calls": CALLS, "old": OLD, "two": TWO, "blocked": BLOCKED}

EVENTS = {"query": "alt=sse", "operation": "stream"}
ARRAY = {"query": "", "operation": "stream"}


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The bytes in pieces, cut at these places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("end", ["\r\n", "\n"])
@settings(max_examples=40)
@given(places=st.lists(st.integers(0, 5000), max_size=12))
def test_any_packets_give_the_same_bytes(name: str, end: str, places: list[int]) -> None:
    data = sse(STREAMS[name], end)

    assert relay(make_call(**EVENTS), cut(data, places)) == data
    array = relay(make_call(**ARRAY), cut(data, places))
    assert json.loads(array) == STREAMS[name]


@pytest.mark.parametrize("name", STREAMS)
def test_single_bytes_give_the_same_bytes(name: str) -> None:
    data = sse(STREAMS[name])

    assert relay(make_call(**EVENTS), [data[at : at + 1] for at in range(len(data))]) == data


@pytest.mark.parametrize(
    ("name", "reason", "native"),
    [
        ("text", "stop", "STOP"),
        ("calls", "tool_calls", "STOP"),
        ("old", "stop", "STOP"),
        ("two", "stop", "STOP"),
        ("blocked", "content_filter", "SAFETY"),
    ],
)
def test_the_ledger_learns_how_it_ended(name: str, reason: str, native: str) -> None:
    call = make_call(**EVENTS)

    relay(call, [sse(STREAMS[name])])

    assert (call.outcome.finish_reason, call.outcome.native_finish_reason) == (reason, native)


def test_the_ledger_learns_what_was_used() -> None:
    call = make_call(**EVENTS)

    relay(call, [sse(CALLS)])

    usage = call.outcome.usage
    assert usage is not None
    assert (usage.input, usage.output, usage.reasoning, usage.cache_read) == (9, 6, 2, 5)
    assert call.outcome.upstream_id == "up-1"
    # of arguments bytes are counted
    assert call.outcome.output_chars == len("HmI look 🌍f") + len(json.dumps({"a": "é\n"}, ensure_ascii=False).encode())


@pytest.mark.parametrize("form", [EVENTS, ARRAY], ids=["events", "array"])
@pytest.mark.parametrize("name", STREAMS)
def test_the_last_answer_waits_for_the_ledger(name: str, form: dict[str, Any]) -> None:
    """Until the call is booked the client has all answers but the last."""
    call, answers = make_call(**form), STREAMS[name]
    tap = DIALECT.tap(call)

    early = b"".join(tap.feed(sse([each])) for each in answers)
    tap.end()
    settled(call)

    if form is EVENTS:
        assert early == sse(answers[:-1])
        assert tap.final() == sse(answers[-1:])
    else:
        assert not early or json.loads(early + b"]") == answers[:-1]
        assert json.loads(early + tap.final()) == answers


def test_words_are_not_held_back() -> None:
    tap = DIALECT.tap(make_call(**EVENTS))

    for each in spoken("a", "b")[:-1]:
        assert tap.feed(sse([each])) == sse([each])
        assert tap.content


@pytest.mark.parametrize("comment", [b": ping\n\n", b": ping\r\n\r\n", b":\n\n"])
def test_comments_never_reach_the_client(comment: bytes) -> None:
    """Google's SDKs fail on them."""
    first, *rest = (sse([each]) for each in CALLS)
    inside = b": more\n" + rest[0]

    told = relay(make_call(**EVENTS), [comment, first, comment, inside, *rest[1:], comment])

    assert told == sse(CALLS)


def test_an_end_mark_of_others_is_left_out() -> None:
    assert relay(make_call(**EVENTS), [sse(CALLS), b"data: [DONE]\n\n"]) == sse(CALLS)


def test_a_last_event_without_a_blank_line_is_whole() -> None:
    assert relay(make_call(**EVENTS), [sse(CALLS)[:-4]]) == sse(CALLS)


def test_members_of_tomorrow_pass() -> None:
    odd = [answer({"text": "a"}), {**answer({"text": ["not", "text"]}), "usageMetadata": "none"}, *spoken("b")]

    assert relay(make_call(**EVENTS), [sse(odd)]) == sse(odd)


def test_metadata_only_for_who_asks() -> None:
    call = make_call(**EVENTS)
    call.metadata = {"strategy": "direct"}

    told = relay(call, [sse(CALLS)])

    last = json.loads(told.rsplit(b"data: ")[-1])
    assert told.startswith(sse(CALLS[:-1]))
    assert last["usageMetadata"] == USAGE | {"cost": 5e-06, "is_byok": False}
    assert last["provider"] == "google"
    assert last["candidates"] == CALLS[-1]["candidates"]


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "failure"),
    [
        (b"", "UpstreamUnavailable: the upstream's stream is empty"),
        (sse(CALLS[:2]), "StreamTruncated: the upstream closed the stream before it told why it finished"),
        (sse(TWO[:3]), "StreamTruncated: the upstream closed the stream before it told why it finished"),
        (sse(CALLS[:2]) + b'data: {"candid', "StreamTruncated: the upstream's stream ended in the middle of an event"),
        (
            sse(CALLS[:2]) + b"data: nonsense\n\n",
            "Unreadable: the upstream's stream holds an event that cannot be read",
        ),
        (sse(CALLS[:2]) + b"data: [1]\n\n", "Unreadable: the upstream's stream holds an event that is no object"),
        (
            b'{\n "error": {"code": 503, "message": "too many", "status": "UNAVAILABLE"}\n}\n\n',
            "UpstreamOverloaded: too many",
        ),
        (sse([{"error": {"code": 429, "message": "slowly"}}]), "UpstreamBusy: slowly"),
        (sse([*CALLS[:2], {"error": {"status": "UNAVAILABLE", "message": "gone"}}]), "UpstreamOverloaded: gone"),
    ],
)
def test_failures(stream: bytes, failure: str) -> None:
    for size in (1, 7, len(stream) or 1):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]

        told, said = relay_or_fail(make_call(**EVENTS), pieces)

        assert said == failure
        assert sse(CALLS).startswith(told) or sse(TWO).startswith(told)


@pytest.mark.parametrize("sent", [0, 2])
def test_an_error_closes_the_array(sent: int) -> None:
    call = make_call(**ARRAY)
    tap = DIALECT.tap(call)
    early = b"".join(tap.feed(sse([each])) for each in CALLS[:sent])
    call.first_content_s = float(sent)
    with pytest.raises(UpstreamError) as caught:
        tap.end()

    told = json.loads(early + DIALECT.stream_error(call, caught.value))

    assert told[:-1] == CALLS[:sent]
    assert (told[-1]["error"]["code"], told[-1]["error"]["status"]) == (502, "UNAVAILABLE")


def test_an_error_as_an_event_begins_as_googles_sdks_expect() -> None:
    told = DIALECT.stream_error(make_call(**EVENTS), UpstreamError("no"))

    assert told.startswith(b'data: {"error":')
    assert told.endswith(b"\r\n\r\n")


# --- plain answers ---------------------------------------------------------------------------------------------------


def test_a_plain_answer_goes_on_as_it_came() -> None:
    call, body = (
        make_call(),
        b' {"candidates": [ {"content":{"parts":[{"text":"hi"}]},"finishReason":"MAX_TOKENS"} ]}\n',
    )

    DIALECT.answer(call, body)

    assert DIALECT.final_answer(settled(call), body) == body
    assert (call.outcome.finish_reason, call.outcome.output_chars) == ("length", 2)


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (b"", "the upstream's answer is empty"),
        (b"{}", "the upstream's answer is empty"),
        (b"<html>", "the upstream's answer cannot be read"),
        (b'{"error":{"code":400,"message":"API key not valid"}}', "API key not valid"),
    ],
)
def test_no_answer_is_a_failure(body: bytes, failure: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        DIALECT.answer(make_call(ASK), body)

    assert caught.value.message == failure
