"""The raw lane of Responses: streams and plain answers pass byte for byte; what the ledger needs is read along the way."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from router.errors import UpstreamBusy, UpstreamError, UpstreamUnavailable

from .lanes import relay_or_fail, settled
from .making_responses import DIALECT, events_of, make_call, message, response, sse, upstream_events

HELLO = sse(upstream_events("Hel", "lo", " Wörld 😀"))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


@given(some.lists(some.integers(0, len(HELLO)), max_size=12))
def test_any_split_gives_the_same_bytes(places: list[int]) -> None:
    call = make_call(stream=True)

    assert relay_or_fail(call, cut(HELLO, places)) == (HELLO, "")
    assert call.outcome.usage is not None
    assert (call.outcome.usage.input, call.outcome.usage.cache_read, call.outcome.usage.output) == (20, 8, 7)
    assert call.outcome.output_chars == len("Hello Wörld 😀")
    assert (call.outcome.finish_reason, call.outcome.upstream_id) == ("stop", "resp_up1")


def test_single_bytes_and_other_line_ends() -> None:
    data = sse(upstream_events("Hello"), end="\r\n")

    said, failed = relay_or_fail(make_call(stream=True), [data[at : at + 1] for at in range(len(data))])

    assert failed == ""
    assert said.replace(b"\r\n", b"\n") == sse(upstream_events("Hello"))


def test_the_terminal_event_waits() -> None:
    call = make_call(stream=True)
    tap = DIALECT.tap(call)

    sent = tap.feed(HELLO)

    assert tap.done
    assert b"response.completed" not in sent
    tap.end()
    assert tap.final().startswith(b"event: response.completed\n")


def test_content_begins_with_the_first_delta() -> None:
    tap = DIALECT.tap(make_call(stream=True))
    frames = HELLO.split(b"\n\n")

    for frame in frames[:4]:
        tap.feed(frame + b"\n\n")
    assert not tap.content
    tap.feed(frames[4] + b"\n\n")
    assert tap.content


def test_a_call_is_content() -> None:
    tap = DIALECT.tap(make_call(stream=True))
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}

    tap.feed(sse([{"type": "response.output_item.added", "output_index": 0, "item": item}]))

    assert tap.content


def test_comments_and_end_marks_of_the_upstream_stay_behind() -> None:
    said, failed = relay_or_fail(make_call(stream=True), [b": WORKING\n\n" + HELLO + b"data: [DONE]\n\n"])

    assert (said, failed) == (HELLO, "")


def test_our_own_end_mark_where_it_is_wanted() -> None:
    call = make_call(stream=True)
    call.compat = {"responses_done": True}

    assert relay_or_fail(call, [HELLO]) == (HELLO + b"data: [DONE]\n\n", "")


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (response("incomplete", incomplete_details={"reason": "max_output_tokens"}), "length"),
        (response("incomplete", incomplete_details={"reason": "content_filter"}), "content_filter"),
        (response(output=[{"type": "function_call", "name": "f", "arguments": "{}"}]), "tool_calls"),
    ],
)
def test_how_it_ended(end: dict[str, Any], reason: str) -> None:
    call = make_call(stream=True)
    data = sse(upstream_events("Hello", end=end))

    assert relay_or_fail(call, [data]) == (data, "")
    assert call.outcome.finish_reason == reason


def test_searches_are_counted() -> None:
    call = make_call(stream=True)
    calls = [{"type": "web_search_call", "action": {"type": kind}} for kind in ("search", "open_page", "search")]
    relay_or_fail(call, [sse(upstream_events("Hello", end=response(output=calls)))])

    assert call.outcome.usage is not None
    assert call.outcome.usage.searches == 2


# --- what goes wrong -------------------------------------------------------------------------------------------------

QUOTA = {"type": "insufficient_quota", "code": "insufficient_quota", "message": "No money."}


@pytest.mark.parametrize(
    "events",
    [
        [{"type": "error", "error": QUOTA}],
        [{"type": "error", "code": "rate_limit_exceeded", "message": "Slow down."}],
        [
            {
                "type": "response.failed",
                "response": response("failed", error={"code": "rate_limit_exceeded", "message": "x"}),
            }
        ],
    ],
)
def test_an_error_before_content_falls_over(events: list[dict[str, Any]]) -> None:
    tap = DIALECT.tap(make_call(stream=True))
    opening = upstream_events("Hello")[:2]

    with pytest.raises(UpstreamBusy):
        tap.feed(sse([*opening, *events]))


def test_an_error_after_content_ends_in_a_failed_response() -> None:
    call = make_call(stream=True)
    tap = DIALECT.tap(call)
    begun = upstream_events("Hello")[:5]
    failed = response("failed", error={"code": "server_error", "message": "Oops."}, output=[message("Hello")])

    sent = tap.feed(sse([*begun, {"type": "response.failed", "response": failed}]))
    with pytest.raises(UpstreamUnavailable) as raised:
        tap.end()
    sent += DIALECT.stream_error(call, raised.value)

    last = events_of(sent)[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "Oops."}
    assert last["response"]["error_type"] == "provider_unavailable"
    assert last["response"]["output"] == [message("Hello")]
    assert last["response"]["a_member_of_tomorrow"] == {"x": [1, 2.5]}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "UpstreamUnavailable"),
        (b": nothing\n\n", "UpstreamUnavailable"),
        (b'{"error":{"message":"Slow down.","code":"rate_limit_exceeded"}}', "UpstreamBusy"),
        (HELLO[: HELLO.index(b"event: response.output_text.done")], "StreamTruncated"),
        (HELLO[:-20], "StreamTruncated"),
        (b"data: {nonsense\n\n", "_Unreadable"),
        (b"data: 3\n\n", "_Unreadable"),
    ],
)
def test_what_is_no_whole_stream_is_an_error(data: bytes, name: str) -> None:
    assert relay_or_fail(make_call(stream=True), [data])[1].startswith(name)


def test_an_event_without_its_last_blank_line_counts() -> None:
    assert relay_or_fail(make_call(stream=True), [HELLO[:-2]]) == (HELLO, "")


# --- plain answers ---------------------------------------------------------------------------------------------------


def test_a_plain_answer_passes_byte_for_byte() -> None:
    call = make_call()
    body = json.dumps(response(output=[message("Hello")]), indent=1).encode()

    DIALECT.answer(call, body)

    assert DIALECT.final_answer(settled(call), body) == body
    assert call.outcome.usage is not None
    assert (call.outcome.usage.output, call.outcome.usage.reasoning) == (7, 2)
    assert (call.outcome.finish_reason, call.outcome.output_chars) == ("stop", 5)


def test_metadata_is_written_into_the_answer_on_demand() -> None:
    call = make_call(stream=True)
    call.metadata = {"strategy": "direct"}
    plain = json.dumps(response()).encode()

    streamed = events_of(relay_or_fail(call, [HELLO])[0])[-1]["response"]
    DIALECT.answer(call, plain)

    for told in (streamed, json.loads(DIALECT.final_answer(settled(call), plain))):
        assert told["usage"]["cost"] == 5e-6
        assert told["usage"]["total_tokens"] == 27
        assert (told["provider"], told["openrouter_metadata"]) == ("acme", {"strategy": "direct"})
        assert told["a_member_of_tomorrow"] == {"x": [1, 2.5]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"error":{"message":"Oops."}}',
        json.dumps(response("failed")).encode(),
        json.dumps(response("failed", error={"code": "server_error", "message": "Oops."})).encode(),
    ],
)
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        DIALECT.answer(make_call(), body)
