"""The `anthropic` SDK, unmodified, over sockets, with models of every family of providers."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from router.testing import FakeUpstream, json_answer, sse_answer
from tests.serving import Served, within

from .families import CACHED, INPUT, OUTPUT, SIGNATURE, THOUGHT, Answer, Anthropic, Family, ToolCall

HELLO: Any = [{"role": "user", "content": "Hello, Ås! 🌍"}]
WORDS = Answer(words=("Hei", ", Ås", "! 🌍"))
#: an answer that no machine is slow enough to hear to its end
LONG = Answer(words=("word ",) * 100)
CITY: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"name": "get_weather", "description": "…", "input_schema": CITY}
NOW: Any = {"name": "now", "input_schema": {"type": "object", "properties": {}}}
CALLS = (
    ToolCall("call_01oslo", "get_weather", {"city": "Oslo"}),
    ToolCall("call_02aas", "get_weather", {"city": "Ås 🌧"}),
    ToolCall("call_03now", "now", {}),
)
PICTURE = base64.b64encode(
    base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")
).decode()
PLAN: Any = {
    "type": "object",
    "properties": {"steps": {"type": "array", "items": {"type": "string"}}},
    "required": ["steps"],
    "additionalProperties": False,
}


@pytest.fixture
def client(served: Served) -> Iterator[anthropic.Anthropic]:
    """The SDK as it comes, without second tries."""
    with anthropic.Anthropic(base_url=served.url, api_key=served.key, max_retries=0, timeout=10) as client:
        yield client


# --- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["", "/api", "/anthropic"])
def test_plain(served: Served, family: Family, upstream: FakeUpstream, base: str) -> None:
    upstream.will(family.plain(WORDS))

    with anthropic.Anthropic(base_url=served.url + base, api_key=served.key, max_retries=0) as client:
        message = client.messages.create(model=family.model, messages=HELLO, max_tokens=50, system="Be brief.")

    assert [(block.type, text_of(block)) for block in message.content] == [("text", WORDS.text)]
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert_usage(family, message.usage)
    (asked,) = upstream.asked
    sent = family.sent(asked)
    assert (sent.model, sent.key) == (family.upstream_model, family.key)
    assert "Hello, Ås! 🌍" in sent.texts
    assert "Be brief." in json.dumps(asked.body)
    assert served.key not in f"{asked.headers}{asked.path}{asked.body}"


def test_stream(client: anthropic.Anthropic, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.streamed(WORDS))

    with client.messages.stream(model=family.model, messages=HELLO, max_tokens=50) as stream:
        words = list(stream.text_stream)
        message = stream.get_final_message()

    assert words == list(WORDS.words)
    assert (text_of(message.content[0]), message.stop_reason) == (WORDS.text, "end_turn")
    assert (message.usage.output_tokens, message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)) == (
        OUTPUT,
        INPUT,
    )


def test_words_arrive_when_the_upstream_says_them(
    client: anthropic.Anthropic, family: Family, upstream: FakeUpstream
) -> None:
    """The upstream says the next word only when the client has got the one before."""
    got = threading.Semaphore(0)
    upstream.will(family.in_step(WORDS, got))

    words = []
    with client.messages.stream(model=family.model, messages=HELLO, max_tokens=50) as stream:
        for word in stream.text_stream:
            words.append(word)
            got.release()

    assert words == list(WORDS.words)


def test_the_answer_is_anthropics_own_byte_for_byte(served: Served, upstream: FakeUpstream) -> None:
    family = Anthropic()
    answer = Answer(words=WORDS.words, thought="Well…", calls=CALLS)
    upstream.will(family.streamed(answer))
    with anthropic.Anthropic(base_url=served.url, api_key=served.key, max_retries=0) as client:
        raw = client.messages.with_raw_response.create(
            model=family.model, messages=HELLO, max_tokens=50, tools=[WEATHER, NOW], stream=True
        )

        assert raw.http_response.read() == b"".join(family.frames(answer))
        assert raw.headers["request-id"].startswith("req_")
        assert raw.headers["anthropic-ratelimit-requests-limit"] == "2147483647"


# --- tools -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True])
def test_tools_both_ways(client: anthropic.Anthropic, family: Family, upstream: FakeUpstream, streaming: bool) -> None:
    answer = Answer(thought="Hm. ", words=("Let me look.",), calls=CALLS)
    upstream.will(family.streamed(answer) if streaming else family.plain(answer))
    ask: dict[str, Any] = {"model": family.model, "max_tokens": 2000, "tools": [WEATHER, NOW]}

    message = complete(client, streaming, messages=HELLO, tool_choice={"type": "tool", "name": "now"}, **ask)

    calls = [block for block in message.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == [(call.name, call.arguments) for call in CALLS]
    assert message.stop_reason == "tool_use"
    if family.keeps_ids:
        assert [call.id for call in calls] == [call.id for call in CALLS]
    sent = family.sent(upstream.asked[0])
    assert (sent.tools, sent.forced) == (["get_weather", "now"], "now")

    upstream.will(family.plain(WORDS))
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"said {number}"}
        for number, call in enumerate(calls)
    ]
    history = [*HELLO, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    client.messages.create(messages=history, **ask)

    sent = family.sent(upstream.asked[1])
    assert sent.results == [(call.id, f"said {number}") for number, call in enumerate(calls)]
    if family.slug == "gemini" or family.slug == "anthropic":
        assert SIGNATURE in json.dumps(upstream.asked[1].body)


def test_results_with_images_and_errors(client: anthropic.Anthropic, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.plain(WORDS))
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
    call = {"type": "tool_use", "id": "call_1", "name": "now", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "call_1", "is_error": True}
    history: Any = [
        *HELLO,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{**result, "content": [{"type": "text", "text": "no clock"}, image]}]},
    ]

    client.messages.create(model=family.model, messages=history, max_tokens=50, tools=[NOW])

    sent = json.dumps(upstream.asked[0].body)
    assert "no clock" in sent
    assert PICTURE in sent


# --- what else a request may hold ------------------------------------------------------------------------------------


def test_images(client: anthropic.Anthropic, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.plain(WORDS))
    content: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
    ]

    client.messages.create(model=family.model, messages=[{"role": "user", "content": content}], max_tokens=50)

    assert family.sent(upstream.asked[0]).images == [f"data:image/png;base64,{PICTURE}"]


def test_an_answer_in_a_form(client: anthropic.Anthropic, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.plain(Answer(words=('{"steps": ["look"]}',))))

    message = client.messages.create(
        model=family.model,
        messages=HELLO,
        max_tokens=50,
        output_config={"format": {"type": "json_schema", "schema": PLAN}},
    )

    assert json.loads(text_of(message.content[0])) == {"steps": ["look"]}
    assert family.sent(upstream.asked[0]).schema == PLAN


@pytest.mark.parametrize("streaming", [False, True])
def test_thinking(client: anthropic.Anthropic, family: Family, upstream: FakeUpstream, streaming: bool) -> None:
    answer = Answer(thought="Let me see. ", words=WORDS.words)
    upstream.will(family.streamed(answer) if streaming else family.plain(answer))

    message = complete(
        client,
        streaming,
        model=family.model,
        messages=HELLO,
        max_tokens=4000,
        thinking={"type": "enabled", "budget_tokens": 1024},
    )

    thoughts = [block for block in message.content if block.type == "thinking"]
    assert "".join(block.thinking for block in thoughts) == (answer.thought if family.shows_thought else "")
    assert text_of(message.content[-1]) == WORDS.text
    claude = Anthropic()
    upstream.will(claude.plain(WORDS))
    history: Any = [*HELLO, {"role": "assistant", "content": message.content}, *HELLO]
    client.messages.create(model=claude.model, messages=history, max_tokens=50)
    assert ("thinking" in json.dumps(upstream.asked[1].body["messages"])) is (family.slug == "anthropic")


# --- counting --------------------------------------------------------------------------------------------------------


def test_tokens_are_counted(client: anthropic.Anthropic, family: Family, upstream: FakeUpstream) -> None:
    native = {"anthropic": {"input_tokens": 77}, "gemini": {"totalTokens": 77}}.get(family.slug)
    upstream.will(json_answer(native or {}))

    raw = client.messages.with_raw_response.count_tokens(model=family.model, messages=HELLO, tools=[WEATHER])

    counted = raw.parse().input_tokens
    assert (counted == 77) is (native is not None)
    assert counted > 10
    assert ("x-router-estimate" in raw.headers) is (native is None)
    assert raw.headers["request-id"].startswith("req_")
    assert len(upstream.asked) == (native is not None)


@pytest.mark.parametrize("model", ["no/such-model", "anthropic/claude-sonnet-4-5"])
def test_counting_never_fails_for_want_of_a_model(
    client: anthropic.Anthropic, upstream: FakeUpstream, model: str
) -> None:
    upstream.will(json_answer({"type": "error", "error": {"type": "not_found_error", "message": "no"}}, status=404))

    raw = client.messages.with_raw_response.count_tokens(model=model, messages=HELLO)

    assert raw.parse().input_tokens > 1
    assert raw.headers["x-router-estimate"] == "true"


# --- models ----------------------------------------------------------------------------------------------------------


def test_models_are_listed_in_pages(client: anthropic.Anthropic) -> None:
    """The SDK goes on for ever where `after_id` has no effect."""
    whole = [model.id for model in client.models.list()]
    forward = [model.id for model in client.models.list(limit=40)]
    behind = client.models.list(limit=3, after_id=whole[4])
    back = list(client.models.list(limit=20, before_id=whole[50]))

    assert forward == whole
    assert len(whole) > 50
    assert [model.id for model in behind.data] == whole[5:8]
    assert behind.has_next_page()
    assert [model.id for model in back] == [*whole[30:50], *whole[10:30], *whole[:10]]


@pytest.mark.parametrize("base", ["", "/api", "/anthropic"])
def test_a_model_as_the_sdk_reads_it(served: Served, base: str) -> None:
    with anthropic.Anthropic(base_url=served.url + base, api_key=served.key, max_retries=0) as client:
        model = client.models.retrieve("anthropic/claude-sonnet-4-5")
        listed = next(each for each in client.models.list() if each.id == model.id)

        with pytest.raises(anthropic.BadRequestError):
            client.models.list(limit=2000)

    assert listed == model
    assert (model.type, model.display_name) == ("model", "Claude Sonnet 4.5 (latest)")
    assert model.created_at.year >= 2025


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected", "seen"),
    [
        (400, anthropic.BadRequestError, 400),
        (429, anthropic.RateLimitError, 429),
        (413, anthropic.RequestTooLargeError, 413),
    ],
)
def test_upstreams_errors(
    client: anthropic.Anthropic,
    family: Family,
    upstream: FakeUpstream,
    status: int,
    expected: type[anthropic.APIStatusError],
    seen: int,
) -> None:
    upstream.will(family.fails(status, "not like this", headers={"retry-after": "30"}))

    with pytest.raises(expected) as caught:
        client.messages.create(model=family.model, messages=HELLO, max_tokens=50)

    assert caught.value.status_code == seen
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert "not like this" in body["error"]["message"]
    assert body["request_id"] == caught.value.response.headers["request-id"]
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "30"


def test_overloaded_is_529(client: anthropic.Anthropic, upstream: FakeUpstream) -> None:
    with pytest.raises(anthropic.OverloadedError) as caught:
        client.messages.create(model="echo/error-503", messages=HELLO, max_tokens=50)

    assert caught.value.status_code == 529
    body: Any = caught.value.body
    assert body["error"]["type"] == "overloaded_error"


def test_a_wrong_key(served: Served) -> None:
    with (
        anthropic.Anthropic(base_url=served.url, api_key="sk-rt-v1-wrong", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.messages.create(model="echo/echo", messages=HELLO, max_tokens=50)


def test_a_stream_that_breaks_off(client: anthropic.Anthropic, family: Family, upstream: FakeUpstream) -> None:
    frames = family.frames(WORDS)
    words: list[str] = []

    upstream.will(sse_answer([*frames[:-2], family.failing("sorry, no more")], pause_s=0.01))
    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(model=family.model, messages=HELLO, max_tokens=50) as stream,
    ):
        words.extend(stream.text_stream)

    assert "".join(words)
    assert WORDS.text.startswith("".join(words))
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert "sorry, no more" in body["error"]["message"]


async def test_a_client_that_leaves_ends_the_upstreams_stream(
    served: Served, family: Family, upstream: FakeUpstream
) -> None:
    upstream.will(family.streamed(LONG, pause_s=0.2))

    async with (
        anthropic.AsyncAnthropic(base_url=served.url, api_key=served.key, max_retries=0) as client,
        client.messages.stream(model=family.model, messages=HELLO, max_tokens=50) as stream,
    ):
        async for _ in stream.text_stream:
            break

    assert await asyncio.to_thread(within, 5.0, lambda: upstream.left == 1)


# --- helpers ---------------------------------------------------------------------------------------------------------


def complete(client: anthropic.Anthropic, streaming: bool, **ask: Any) -> anthropic.types.Message:
    if not streaming:
        message: anthropic.types.Message = client.messages.create(**ask)
        return message
    with client.messages.stream(**ask) as stream:
        return stream.get_final_message()


def text_of(block: Any) -> str:
    assert block.type == "text"
    text: str = block.text
    return text


def assert_usage(family: Family, usage: anthropic.types.Usage) -> None:
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (INPUT - CACHED, CACHED)
    assert usage.output_tokens == OUTPUT
    if usage.output_tokens_details is not None:
        assert usage.output_tokens_details.thinking_tokens in (0, THOUGHT)
