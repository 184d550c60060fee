"""What echo says, through the provider's own methods."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec import Raw
from router_echo import Echo

from router import (
    BadRequest,
    ChatRequest,
    File,
    Image,
    Message,
    Reasoning,
    Text,
    Timeouts,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    UpstreamBusy,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamUnavailable,
)
from router.errors import StreamTruncated
from router.events import Event, Reply, TextDelta, ToolDelta
from router.model import ReasoningConfig, ResponseFormat

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(name="get_weather", parameters=Raw(json.dumps(CITY).encode()))
CLOCK = Tool(name="clock")


def echo(**settings: Any) -> Echo:
    """The provider as the configuration makes it."""
    return Echo("echo", Echo.Settings(plugin="echo", **settings), Timeouts())


def said(*messages: Any, **members: Any) -> ChatRequest:
    """A request whose messages are (role, text or parts)."""
    turns = [
        Message(role=role, content=[Text(text=content)] if isinstance(content, str) else content)
        for role, content in messages
    ]
    return ChatRequest(messages=turns, **members)


async def events_of(request: ChatRequest, model: str = "echo", provider: Echo | None = None) -> list[Event]:
    """All events of an answer."""
    async with (provider or echo()).answering(request, model) as upstream:
        assert upstream.events is not None
        return [event async for event in upstream.events]


async def answer(request: ChatRequest, model: str = "echo", provider: Echo | None = None) -> Reply:
    """The answer, folded."""
    async with (provider or echo()).answering(request, model) as upstream:
        assert upstream.events is not None
        return await Reply.from_events(upstream.events)


# --- text ------------------------------------------------------------------------------------------------------------


async def test_the_last_message_of_the_user_comes_back_word_by_word() -> None:
    request = said(("user", "first"), ("assistant", "first"), ("user", "  Hello there,\n world \n"))

    events = await events_of(request)

    assert [event.text for event in events if isinstance(event, TextDelta)] == ["  Hello", " there,", "\n world", " \n"]


async def test_the_same_request_gets_the_same_answer() -> None:
    request = said(("user", "call get_weather"), tools=[WEATHER, CLOCK])

    assert await events_of(request) == await events_of(request)


async def test_usage_counts_words() -> None:
    reply = await answer(said(("system", "be kind"), ("user", "one two three")))

    assert reply.usage is not None
    assert (reply.usage.input, reply.usage.output, reply.usage.source) == (5, 3, "upstream")


async def test_a_limit_cuts_and_says_so() -> None:
    reply = await answer(said(("user", "one two three"), max_tokens=2))

    assert reply.choices[0].text == "one two"
    assert reply.choices[0].finish.reason == "length"
    assert reply.usage is not None
    assert reply.usage.output == 2


async def test_a_stop_sequence_ends_the_answer() -> None:
    reply = await answer(said(("user", "one two. three"), stop=["three", "."]))

    assert reply.choices[0].text == "one two"
    assert (reply.choices[0].finish.reason, reply.choices[0].finish.stop_sequence) == ("stop", ".")


async def test_several_choices() -> None:
    reply = await answer(said(("user", "a b"), n=3))

    assert [choice.text for choice in reply.choices] == ["a b"] * 3
    assert reply.usage is not None
    assert reply.usage.output == 6


async def test_other_parts_are_named() -> None:
    parts = [Text(text="what is this?"), Image(url="https://example.com/a.png"), File(filename="b.pdf", data="eA==")]

    reply = await answer(said(("user", parts)))

    assert reply.choices[0].text == "what is this?\n[image]\n[file b.pdf]"


@pytest.mark.parametrize("messages", [[("user", "")], [("user", [])]])
async def test_an_empty_message_is_answered_too(messages: Any) -> None:
    assert (await answer(said(*messages))).choices[0].text == "(an empty message)"


# --- thinking --------------------------------------------------------------------------------------------------------


async def test_it_thinks_when_asked_to() -> None:
    reply = await answer(said(("user", "one two"), reasoning=ReasoningConfig(effort="high")))

    thought, text = reply.choices[0].content
    assert isinstance(thought, Reasoning)
    assert thought.text == "The last message has 2 words. I answer from them."
    assert isinstance(text, Text)
    assert reply.usage is not None
    assert (reply.usage.reasoning, reply.usage.output) == (10, 12)


async def test_thinking_can_be_hidden_but_counts() -> None:
    reply = await answer(said(("user", "one"), reasoning=ReasoningConfig(enabled=True, exclude=True)))

    assert [type(part) for part in reply.choices[0].content] == [Text]
    assert reply.usage is not None
    assert reply.usage.reasoning == 10


@pytest.mark.parametrize("reasoning", [None, ReasoningConfig(effort="none"), ReasoningConfig(enabled=False)])
async def test_else_it_does_not_think(reasoning: ReasoningConfig | None) -> None:
    reply = await answer(said(("user", "one"), reasoning=reasoning))

    assert reply.usage is not None
    assert reply.usage.reasoning == 0


# --- tools -----------------------------------------------------------------------------------------------------------


def calls_of(reply: Reply) -> list[tuple[str, Any]]:
    """Names and arguments of the calls."""
    return [(p.name, json.loads(p.arguments)) for p in reply.choices[0].content if isinstance(p, ToolCall)]


@pytest.mark.parametrize(
    ("text", "members", "expected"),
    [
        ("hello", {"tools": [WEATHER]}, ["get_weather"]),
        ("hello", {"tools": [WEATHER, CLOCK]}, []),
        ("use the clock, please", {"tools": [WEATHER, CLOCK]}, ["clock"]),
        ("get weather and clock", {"tools": [WEATHER, CLOCK]}, ["get_weather", "clock"]),
        ("get_weather, clock", {"tools": [WEATHER, CLOCK], "parallel_tool_calls": False}, ["get_weather"]),
        ("clocks", {"tools": [WEATHER, CLOCK]}, []),
        ("hello", {"tools": [WEATHER, CLOCK], "tool_choice": ToolChoice(mode="required")}, ["get_weather"]),
        ("hello", {"tools": [WEATHER, CLOCK], "tool_choice": ToolChoice(mode="named", name="clock")}, ["clock"]),
        ("clock", {"tools": [CLOCK], "tool_choice": ToolChoice(mode="none")}, []),
    ],
)
async def test_which_tools_are_called(text: str, members: dict[str, Any], expected: list[str]) -> None:
    reply = await answer(said(("user", text), **members))

    assert [name for name, _ in calls_of(reply)] == expected
    assert reply.choices[0].finish.reason == ("tool_calls" if expected else "stop")
    assert bool(reply.choices[0].text) != bool(expected)


async def test_arguments_fit_the_schema_and_come_in_fragments() -> None:
    request = said(("user", "weather?"), tools=[WEATHER])

    deltas = [event for event in await events_of(request) if isinstance(event, ToolDelta)]

    assert deltas[0].id.startswith("call_")
    assert [delta.name for delta in deltas] == ["get_weather", *[""] * (len(deltas) - 1)]
    assert len(deltas) > 2
    assert calls_of(await answer(request)) == [("get_weather", {"city": "city"})]


async def test_a_tools_answer_is_repeated_and_not_asked_for_again() -> None:
    call = ToolCall(id="call_1", name="get_weather", arguments='{"city": "Oslo"}')
    results = [ToolResult(tool_call_id="call_1", content=[Text(text="3 degrees")])]
    request = said(("user", "weather?"), ("assistant", [call]), ("tool", results), tools=[WEATHER])

    assert (await answer(request)).choices[0].text == "3 degrees"


async def test_calls_of_different_turns_have_different_ids() -> None:
    one = await answer(said(("user", "weather?"), tools=[WEATHER]))
    two = await answer(said(("user", "weather?"), ("assistant", "?"), ("user", "weather?"), tools=[WEATHER], n=2))

    ids = [part.id for reply in (one, two) for c in reply.choices for part in c.content if isinstance(part, ToolCall)]
    assert len(set(ids)) == 3


async def test_a_forced_tool_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadRequest, match="clock"):
        await answer(said(("user", "x"), tools=[WEATHER], tool_choice=ToolChoice(mode="named", name="clock")))


# --- structured outputs ----------------------------------------------------------------------------------------------


async def test_a_schema_is_answered_with_an_instance() -> None:
    wanted = ResponseFormat(type="json_schema", schema=Raw(json.dumps(CITY).encode()))

    reply = await answer(said(("user", "where?"), response_format=wanted))

    assert reply.choices[0].text == '{"city": "city"}'


async def test_a_json_object_holds_the_message() -> None:
    reply = await answer(said(("user", 'say "hi"'), response_format=ResponseFormat(type="json_object")))

    assert json.loads(reply.choices[0].text) == {"echo": 'say "hi"'}


async def test_a_schema_without_an_instance_is_refused() -> None:
    wanted = ResponseFormat(type="json_schema", name="it", schema=Raw(b'{"$ref": "#"}'))

    with pytest.raises(BadRequest, match="'it'") as caught:
        await answer(said(("user", "x"), response_format=wanted))
    assert caught.value.param == "response_format"


# --- the other models ------------------------------------------------------------------------------------------------


async def test_long_repeats_the_message() -> None:
    reply = await answer(said(("user", "a b c")), "long-7")

    assert reply.choices[0].text == "a b c\na b c\na"
    assert len((await answer(said(("user", "a")), "long", echo(long_words=50))).choices[0].text.split()) == 50


@pytest.mark.parametrize(("model", "text"), [("cut", "a b"), ("cut-3", "a b c"), ("cut-0", "")])
async def test_cut_dies_in_the_middle(model: str, text: str) -> None:
    got = ""

    async with echo().answering(said(("user", "a b c d")), model) as upstream:
        assert upstream.events is not None
        with pytest.raises(StreamTruncated):
            async for event in upstream.events:
                got += event.text if isinstance(event, TextDelta) else ""

    assert got == text


async def test_slow_waits_before_each_word() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()

    await answer(said(("user", "a b c")), "slow-30")
    await answer(said(("user", "a b c")), "slow", echo(delay_seconds=0.03))

    assert loop.time() - began >= 0.18


async def test_slow_can_be_left_at_any_time() -> None:
    async with asyncio.timeout(1), echo().answering(said(("user", "a b")), "slow-60000") as upstream:
        assert upstream.events is not None
        assert await anext(aiter(upstream.events))


@pytest.mark.parametrize(
    ("model", "kind", "status"),
    [
        ("error-429", UpstreamBusy, 429),
        ("error-500", UpstreamUnavailable, 500),
        ("error-503", UpstreamOverloaded, 503),
        ("error-422", UpstreamRejected, 422),
        ("error-200", UpstreamRejected, 404),
        ("gpt-9", UpstreamRejected, 404),
    ],
)
async def test_errors(model: str, kind: type[UpstreamError], status: int) -> None:
    with pytest.raises(kind) as caught:
        await answer(said(("user", "x")), model, echo(retry_after_seconds=7))

    assert caught.value.upstream_status == status
    assert caught.value.retry_after_s == (7 if status in (429, 503) else None)


def test_all_models_are_free_those_with_a_number_too() -> None:
    provider = echo()

    models = [*provider.catalogue(), provider.unknown("slow-500")]

    assert [model.id for model in models] == ["echo", "slow", "long", "cut", "error-429", "error-500", "slow-500"]
    assert all(model.price is not None and model.price.completion == 0 for model in models)


def test_what_has_no_meaning_is_dropped() -> None:
    outgoing = echo().encode(said(("user", "x"), logprobs=True, temperature=0.1))

    assert outgoing.dropped == ["logprobs"]
