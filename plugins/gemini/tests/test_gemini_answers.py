"""Answers of Gemini, whole and in streams, as the hub's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from router_gemini import Gemini

from router.errors import StreamTruncated, UpstreamError, UpstreamUnavailable
from router.events import Choice, Event, Reply, Start, Stop, TextDelta, ToolDelta
from router.model import Image, Opaque, Reasoning, ToolCall

RECORDINGS = Path(__file__).parent / "recordings"
ALL = sorted(path.stem for path in RECORDINGS.glob("*.json"))
STREAMS = [name for name in ALL if name.startswith("stream")]
BROKEN = ("cut", "cut_inside_event", "error_inside")

Read = Callable[[str], dict[str, Any]]
EventsOf = Callable[[list[bytes]], AsyncIterator[Event]]


def body_of(recorded: dict[str, Any]) -> bytes:
    """The bytes of a recorded answer. Google prints whole ones with white space."""
    response = recorded["response"]
    if "sse" in response:
        return response["sse"].encode()
    return response["text"].encode() if "text" in response else json.dumps(response["body"], indent=2).encode()


def as_array(recorded: dict[str, Any]) -> bytes:
    """A recorded stream as Google sends it without `alt=sse`."""
    lines = recorded["response"]["sse"].splitlines()
    return b"[" + b",\r\n".join(line[5:].encode() for line in lines if line.startswith("data:")) + b"]"


def described(reply: Reply) -> dict[str, Any]:
    """A reply in the words of the recordings' `expected`."""
    if len(reply.choices) > 1:
        return {
            "texts": [choice.text for choice in reply.choices],
            "reasons": [choice.finish.reason for choice in reply.choices],
            "usage": usage_of(reply),
        }
    choice = reply.choices[0]
    found = {
        "text": choice.text,
        "finish": [choice.finish.reason, choice.finish.native],
        "thoughts": "".join(each.text for each in thoughts(choice, "text")),
        "calls": [[call.name, json.loads(call.arguments)] for call in calls(choice)],
        "server_tools": [next(iter(json.loads(each.data))) for each in thoughts(choice, "server_tool_call")],
        "signatures": [[each.id, each.data] for each in thoughts(choice, "encrypted") if each.id is None],
        "citations": [[each.url, each.title, each.start_index, each.end_index] for each in choice.citations],
        "images": [part.media_type for part in choice.content if isinstance(part, Image)],
        "opaque": [json.loads(bytes(part.raw)) for part in choice.content if isinstance(part, Opaque)],
        "tier": reply.service_tier,
        "usage": usage_of(reply),
    }
    return {name: value for name, value in found.items() if value or name == "text"}


def usage_of(reply: Reply) -> dict[str, int]:
    assert reply.usage is not None
    always = ("input", "output", "reasoning")
    names = [name for name in reply.usage.__struct_fields__ if name not in ("cost", "source")]
    return {name: getattr(reply.usage, name) for name in names if name in always or getattr(reply.usage, name)}


def thoughts(choice: Choice, kind: str) -> list[Reasoning]:
    return [part for part in choice.content if isinstance(part, Reasoning) and part.kind == kind]


def calls(choice: Choice) -> list[ToolCall]:
    return [part for part in choice.content if isinstance(part, ToolCall)]


def wanted(recorded: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in recorded["expected"].items() if name not in ("signed_call", "call_id")}


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_says_what_was_recorded(name: str, recording: Read, events_of: EventsOf) -> None:
    recorded = recording(name)

    reply = await Reply.from_events(events_of([body_of(recorded)]))

    assert described(reply) == wanted(recorded)


@pytest.mark.parametrize("name", [name for name in ALL if name.startswith("plain")])
def test_a_whole_answer_says_what_was_recorded(name: str, recording: Read, gemini: Gemini) -> None:
    recorded = recording(name)

    assert described(gemini.decode(body_of(recorded))) == wanted(recorded)


@pytest.mark.parametrize("name", STREAMS)
async def test_the_events_in_an_array_say_the_same(
    name: str, recording: Read, gemini: Gemini, events_of: EventsOf
) -> None:
    recorded = recording(name)

    assert gemini.decode(as_array(recorded)) == await Reply.from_events(events_of([body_of(recorded)]))


@pytest.mark.parametrize("name", [*STREAMS, *BROKEN])
async def test_a_stream_keeps_the_grammar(name: str, recording: Read, events_of: EventsOf) -> None:
    events: list[Event] = []

    try:
        events.extend([event async for event in events_of([body_of(recording(name))])])
    except UpstreamError:
        assert name in BROKEN
    else:
        assert isinstance(events[0], Start)
        assert [type(event) for event in events].count(Start) == 1
        assert [isinstance(event, Stop) for event in events] == [False] * (len(events) - 1) + [True]


@pytest.mark.parametrize("name", [*STREAMS, *BROKEN])
@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_split_of_the_bytes_gives_the_same_events(
    name: str, data: st.DataObject, recording: Read, events_of: EventsOf
) -> None:
    raw = body_of(recording(name))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=40)))
    cut = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    assert await outcome(events_of(cut)) == await outcome(events_of([raw]))


@pytest.mark.parametrize("name", [*STREAMS, *BROKEN])
async def test_single_bytes_give_the_same_events(name: str, recording: Read, events_of: EventsOf) -> None:
    raw = body_of(recording(name))

    assert await outcome(events_of([raw[n : n + 1] for n in range(len(raw))])) == await outcome(events_of([raw]))


async def outcome(events: AsyncIterator[Event]) -> list[str]:
    """All events in print, and the failure if there is one."""
    seen = []
    try:
        async for event in events:
            seen += [as_text(event)]  # kept where the next one fails
    except UpstreamError as error:
        seen.append(f"{type(error).__name__}: {error.message}")
    return seen


def as_text(event: Event) -> str:
    """An event with the bytes of its raw members, which do not print themselves."""
    logprobs = bytes(event.logprobs) if isinstance(event, TextDelta) and event.logprobs is not None else b""
    opaque = bytes(part.raw) if isinstance(part := getattr(event, "part", None), Opaque) else b""
    return f"{type(event).__name__} {logprobs!r} {opaque!r}" if logprobs or opaque else repr(event)


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_stream_gives_its_text_and_then_fails(name: str, recording: Read, events_of: EventsOf) -> None:
    recorded = recording(name)
    text = ""

    with pytest.raises(UpstreamError) as failed:
        async for event in events_of([body_of(recorded)]):
            text += event.text if isinstance(event, TextDelta) else ""

    assert text == "Half a"
    assert type(failed.value).__name__ == recorded["expected"]["error"]
    assert failed.value.provider_code == recorded["expected"].get("code")


async def test_a_call_without_an_id_gets_one_and_the_signature_names_it(recording: Read, events_of: EventsOf) -> None:
    reply = await Reply.from_events(events_of([body_of(recording("stream_tools"))]))

    first, second = calls(reply.choices[0])
    (signature,) = thoughts(reply.choices[0], "encrypted")
    assert first.id.startswith("call_")
    assert len(first.id) == len("call_") + 24
    assert first.id != second.id
    assert (signature.id, signature.data, signature.format) == (first.id, "c2lnbmF0dXJlLW9uZQ==", "google-gemini-v1")


def test_the_id_of_a_call_stays(recording: Read, gemini: Gemini) -> None:
    reply = gemini.decode(body_of(recording("plain_tools")))

    assert calls(reply.choices[0])[0].id == "9d532gc9"
    assert thoughts(reply.choices[0], "encrypted")[0].id == "9d532gc9"


def test_invented_ids_differ_where_google_named_no_answer(gemini: Gemini) -> None:
    body = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]},"finishReason":"STOP"}]}'

    ids = {calls(gemini.decode(body).choices[0])[0].id for _ in range(3)}

    assert len(ids) == 3


async def test_calls_are_numbered_without_gaps(recording: Read, events_of: EventsOf) -> None:
    events = [event async for event in events_of([body_of(recording("stream_arguments"))])]

    named = [event.index for event in events if isinstance(event, ToolDelta) and event.name]
    assert named == [0, 1]


async def test_what_google_ran_itself_stays_whole(recording: Read, events_of: EventsOf) -> None:
    reply = await Reply.from_events(events_of([body_of(recording("stream_code"))]))

    code, result = thoughts(reply.choices[0], "server_tool_call")
    assert json.loads(code.data) == {
        "executableCode": {"language": "PYTHON", "code": "print(2 + 3 + 5 + 7 + 11)", "id": "x1"},
        "thoughtSignature": "c2lnbmF0dXJlLW9uZQ==",
    }
    assert json.loads(result.data)["codeExecutionResult"]["output"] == "28\n"


async def test_log_probabilities_are_openais(recording: Read, events_of: EventsOf) -> None:
    reply = await Reply.from_events(events_of([body_of(recording("stream_choices"))]))

    assert reply.choices[0].logprobs is not None
    said = json.loads(bytes(reply.choices[0].logprobs))
    assert [token["token"] for token in said["content"]] == ["One", " two"]
    assert said["content"][0]["top_logprobs"][1] == {"token": "Un", "logprob": -1.5, "bytes": [85, 110]}
    assert reply.choices[1].logprobs is None


def test_a_later_zero_erases_no_count(gemini: Gemini) -> None:
    body = json.dumps(
        [
            {"usageMetadata": {"promptTokenCount": 7, "thoughtsTokenCount": 3, "candidatesTokenCount": 1}},
            {
                "candidates": [{"finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": None, "thoughtsTokenCount": 0, "candidatesTokenCount": 5},
            },
        ]
    ).encode()

    usage = gemini.decode(body).usage

    assert usage is not None
    assert (usage.input, usage.output, usage.reasoning) == (7, 8, 3)


def test_no_counts_are_no_usage(gemini: Gemini) -> None:
    body = b'{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"trafficType":"ON_DEMAND"}}'

    assert gemini.decode(body).usage is None


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("OTHER", "error"),
        ("LANGUAGE", "error"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("FINISH_REASON_UNSPECIFIED", "stop"),
        (2, "length"),
    ],
)
def test_reasons_by_the_table(reason: str | int, expected: str, gemini: Gemini) -> None:
    body = json.dumps({"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": reason}]}).encode()

    assert gemini.decode(body).choices[0].finish.reason == expected


def test_a_call_outweighs_any_reason(gemini: Gemini) -> None:
    parts = [{"functionCall": {"name": "undeclared", "args": {}}}]
    body = json.dumps({"candidates": [{"content": {"parts": parts}, "finishReason": "UNEXPECTED_TOOL_CALL"}]}).encode()

    finish = gemini.decode(body).choices[0].finish

    assert (finish.reason, finish.native) == ("tool_calls", "UNEXPECTED_TOOL_CALL")


async def test_a_reason_in_every_event_does_not_end_the_stream(events_of: EventsOf) -> None:
    """Gemini 1 told STOP each time; the last one counts."""
    event = 'data: {"candidates":[{"content":{"parts":[{"text":"%s"}]},"finishReason":"%s"}]}\n\n'
    raw = (event % ("a", "STOP") + event % ("b", "MAX_TOKENS")).encode()

    reply = await Reply.from_events(events_of([raw]))

    assert (reply.choices[0].text, reply.choices[0].finish.reason) == ("ab", "length")


async def test_one_candidate_of_two_without_a_reason_is_a_cut(events_of: EventsOf) -> None:
    raw = b'data: {"candidates":[{"index":0,"finishReason":"STOP"},{"index":1,"content":{"parts":[{"text":"x"}]}}]}\n\n'

    with pytest.raises(StreamTruncated):
        await Reply.from_events(events_of([raw]))


async def test_an_empty_stream_is_a_cut(events_of: EventsOf) -> None:
    with pytest.raises(StreamTruncated):
        await Reply.from_events(events_of([b": hello\n\n"]))


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"<html>", b'{"candidates":"none"}', b"[1]", b"", b'{"candidates":[' + b"[" * 100_000]
)
def test_nonsense_is_the_upstreams_fault(body: bytes, gemini: Gemini) -> None:
    with pytest.raises((UpstreamUnavailable, StreamTruncated)):
        gemini.decode(body)


def test_an_error_with_status_200_is_one(recording: Read, gemini: Gemini) -> None:
    with pytest.raises(UpstreamError) as failed:
        gemini.decode(body_of(recording("error_quota")))

    assert failed.value.status == 429
    assert failed.value.retry_after_s == 21.5


def test_pictures_among_thoughts_are_left_out(gemini: Gemini) -> None:
    blob = {"mimeType": "image/png", "data": "iVBORw0KGgo="}
    parts = [{"inlineData": blob, "thought": True}, {"inlineData": blob}]
    body = json.dumps({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}).encode()

    assert [type(part) for part in gemini.decode(body).choices[0].content] == [Image]
