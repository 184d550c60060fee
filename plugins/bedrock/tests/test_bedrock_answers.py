"""What Bedrock answers, as the router's events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest
from router_bedrock import Bedrock

from router.errors import StreamTruncated, UpstreamBusy, UpstreamError, UpstreamUnavailable
from router.events import Event, Finish, Reply, Start, Stop
from router.model import Citation, Reasoning, Text, ToolCall
from router.prices import Usage

Read = Callable[[str], dict[str, Any]]
Written = Callable[[Iterable[list[Any]]], bytes]
Events = Callable[[list[bytes]], AsyncIterator[Event]]


@pytest.fixture
def fold(recording: Read, written: Written, events_of: Events) -> Callable[[str, int], Any]:
    async def folded(name: str, size: int) -> Reply:
        raw = written(recording(name)["events"])
        return await Reply.from_events(events_of([raw[at : at + size] for at in range(0, len(raw), size)]))

    return folded


def plain(bedrock: Bedrock, recording: Read, name: str) -> Reply:
    return bedrock.decode(
        json.dumps(recording(name)["response"]["body"], ensure_ascii=False, separators=(",", ":")).encode()
    )


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_text_and_usage(fold: Any, size: int) -> None:
    reply = await fold("stream_text", size)

    assert reply.choices[0].text == "Grüße aus Ås, 🌍!"
    assert reply.choices[0].finish == Finish(reason="stop", native="end_turn")
    assert reply.usage == Usage(input=1012, output=42, cache_read=600, cache_write=100, cache_write_1h=300)


async def test_tools(fold: Any) -> None:
    reply = await fold("stream_tools", 50)

    assert reply.choices[0].content == [
        Text(text="Let me look."),
        ToolCall(id="tooluse_1", name="weather", arguments='{"city": "Oslo"}'),
        ToolCall(id="tooluse_2", name="now", arguments="{}"),
    ]
    assert reply.choices[0].finish.reason == "tool_calls"


async def test_thinking_is_of_claudes_family(fold: Any) -> None:
    reply = await fold("stream_thinking", 50)

    family = "anthropic-claude-v1"
    assert reply.choices[0].content == [
        Reasoning(text="Let me see.", signature="c2lnbmVk", format=family),
        Reasoning(kind="encrypted", data="Eu8=", format=family),  # base64 of Anthropic's own base64
        Text(text="42"),
    ]


async def test_a_guardrail_lets_the_words_before_it_stand(fold: Any) -> None:
    reply = await fold("stream_guardrail", 50)

    assert reply.choices[0].text == "First you take"
    assert reply.choices[0].finish == Finish(reason="content_filter", native="guardrail_intervened")


async def test_the_forced_call_is_the_text(fold: Any) -> None:
    reply = await fold("stream_json", 50)

    assert reply.choices[0].content == [Text(text='{"a":1}')]
    assert reply.choices[0].finish == Finish(reason="stop", native="tool_use")


async def test_tools_that_ran_are_not_for_the_client(fold: Any) -> None:
    choice = (await fold("stream_server_tool", 50)).choices[0]

    call, result, text = choice.content
    assert (call.kind, json.loads(call.data)["toolUse"]["input"]) == ("server_tool_call", {"query": "x"})
    assert json.loads(result.data)["toolResult"]["content"] == [{"text": "hidden"}]
    assert text == Text(text="It is 4.")
    assert choice.finish.reason == "stop"
    assert choice.citations == [Citation(url="https://example.org/a", title="example.org", start_index=0, end_index=8)]


async def test_what_is_new_is_passed_over(fold: Any) -> None:
    reply = await fold("stream_unknown", 50)

    assert reply.choices[0].content == [Text(text="Fine.")]
    assert reply.choices[0].finish == Finish(reason="stop", native="model_grew_tired")


@pytest.mark.parametrize(("name", "kind"), [("cut", StreamTruncated), ("throttled_inside", UpstreamBusy)])
async def test_streams_that_fail(fold: Any, name: str, kind: type[UpstreamError]) -> None:
    with pytest.raises(kind):
        await fold(name, 50)


async def test_an_exception_inside(fold: Any) -> None:
    with pytest.raises(UpstreamUnavailable, match="The model fell over") as failed:
        await fold("error_inside", 50)

    assert failed.value.provider_code == "ModelStreamErrorException"


async def test_the_grammar_of_a_stream(recording: Read, written: Written, events_of: Events) -> None:
    for name in ("stream_text", "stream_tools", "stream_thinking", "stream_server_tool", "stream_unknown"):
        events = [each async for each in events_of([written(recording(name)["events"])])]

        assert isinstance(events[0], Start)
        assert isinstance(events[-1], Stop)
        assert not any(isinstance(each, Start | Stop) for each in events[1:-1])


def test_a_whole_answer(bedrock: Bedrock, recording: Read) -> None:
    reply = plain(bedrock, recording, "plain_tools")

    assert reply.choices[0].content == [
        Reasoning(text="Let me see.", signature="c2lnbmVk", format="anthropic-claude-v1"),
        Text(text="Let me look."),
        ToolCall(id="tooluse_1", name="weather", arguments='{"city":"Ås"}'),
    ]
    assert reply.usage == Usage(input=20, output=9)


def test_citations(bedrock: Bedrock, recording: Read) -> None:
    choice = plain(bedrock, recording, "plain_cited").choices[0]

    assert choice.text == "Yes. It rains."
    assert choice.citations == [
        Citation(url="", title="facts", start_index=5, end_index=14, content="It always rains.")
    ]


def test_thinking_without_a_signature_is_nobodys(bedrock: Bedrock) -> None:
    content = [{"reasoningContent": {"reasoningText": {"text": "Hm."}}}, {"text": "Yes"}]
    body = {"output": {"message": {"content": content}}, "stopReason": "end_turn"}

    reply = bedrock.decode(json.dumps(body).encode())

    assert reply.choices[0].content[0] == Reasoning(text="Hm.", format="unknown")
    assert reply.usage is None


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"output":{}}', b'{"output":{"message":{"content":[7]}}}']
)
def test_nonsense(bedrock: Bedrock, body: bytes) -> None:
    with pytest.raises(UpstreamUnavailable):
        bedrock.decode(body)


@pytest.mark.parametrize(
    "payload", ["", "not JSON", "[1]", '{"contentBlockIndex":"x"}', '{"delta":7}', '{"delta":{"toolUse":{"input":3}}}']
)
async def test_nonsense_in_a_stream(written: Written, events_of: Events, payload: str) -> None:
    raw = written([["messageStart", {}], ["contentBlockDelta", payload], ["messageStop", {"stopReason": "end_turn"}]])

    try:
        reply = await Reply.from_events(events_of([raw]))
    except UpstreamUnavailable:
        return
    assert reply.choices[0].content == []
