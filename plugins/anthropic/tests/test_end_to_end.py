"""Claude as clients of OpenAI's SDK see it: a real router between the SDK and an upstream that answers as Anthropic does."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from router.settings import Settings
from router.testing import FakeUpstream, Running, json_answer, running, sse_answer, until

Recording = Callable[[str], dict[str, Any]]

MODEL = "claude/claude-sonnet-4-5"
UPSTREAM_KEY = "upstream-key-of-nobody"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
async def router(tmp_path: Path, upstream: FakeUpstream) -> AsyncIterator[Running]:
    """A router with one provider, `claude`, that is the upstream of the same test."""
    provider = {"plugin": "anthropic", "base_url": upstream.url, "api_key": UPSTREAM_KEY}
    async with running(Settings(providers={"claude": provider}), tmp_path) as router:
        yield router


@pytest.fixture
async def client(router: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        yield client


@pytest.fixture
def will(upstream: FakeUpstream, recording: Recording) -> Callable[..., None]:
    """Tell the upstream which recordings to answer with."""

    def tell(*names: str) -> None:
        answers = []
        for name in names:
            response = recording(name)["response"]
            headers = {key: value for key, value in response["headers"].items() if key != "content-type"}
            if "sse" in response:
                frames = [frame.encode() + b"\n\n" for frame in response["sse"].split("\n\n") if frame]
                answers.append(sse_answer(frames, headers=headers))
            else:
                answers.append(json_answer(response["body"], status=response["status"], headers=headers))
        upstream.will(*answers)

    return tell


async def chunks_of(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


async def test_plain(client: openai.AsyncOpenAI, upstream: FakeUpstream, will: Any) -> None:
    will("text")

    answer = await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=50, user="person-7")

    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Hei! 👋", "stop")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (8, 9, 17)
    assert answer.model == MODEL
    assert answer.to_dict()["provider"] == "claude"
    assert choice.to_dict()["native_finish_reason"] == "end_turn"
    asked = upstream.asked[0]
    assert (asked.method, asked.path) == ("POST", "/v1/messages")
    headers = {name.lower(): value for name, value in asked.headers.items()}
    assert headers["x-api-key"] == UPSTREAM_KEY
    assert headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in headers
    assert asked.body["model"] == "claude-sonnet-4-5"
    assert asked.body["max_tokens"] == 50
    assert asked.body["metadata"]["user_id"] != "person-7"


async def test_stream(client: openai.AsyncOpenAI, upstream: FakeUpstream, will: Any) -> None:
    will("text_stream")

    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    chunks = await chunks_of(stream)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hei på deg! 👋"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage.completion_tokens == 12
    assert len({chunk.id for chunk in chunks}) == 1
    assert upstream.asked[0].body["stream"] is True


async def test_usage_in_a_chunk_of_its_own(client: openai.AsyncOpenAI, will: Any) -> None:
    will("thinking_stream")

    stream = await client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    *_, last = await chunks_of(stream)

    assert last.choices == []
    assert last.usage.prompt_tokens == 1544
    assert last.usage.prompt_tokens_details.cached_tokens == 1200
    assert last.usage.completion_tokens_details.reasoning_tokens == 58


async def test_tools_and_their_results(client: openai.AsyncOpenAI, upstream: FakeUpstream, will: Any) -> None:
    will("tools", "text")
    tools = [WEATHER, {"type": "function", "function": {"name": "now"}}]

    first = await client.chat.completions.create(model=MODEL, messages=HELLO, tools=tools, tool_choice="required")
    message = first.choices[0].message
    assert message.tool_calls is not None
    results: list[Any] = [
        {"role": "tool", "tool_call_id": call.id, "content": f"answer {number}"}
        for number, call in enumerate(message.tool_calls)
    ]
    history: list[Any] = [*HELLO, message.model_dump(exclude_none=True), *results]
    second = await client.chat.completions.create(model=MODEL, messages=history, tools=tools, parallel_tool_calls=False)

    assert first.choices[0].finish_reason == "tool_calls"
    calls = [call for call in message.tool_calls if call.type == "function"]
    assert [(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("toolu_01oslo", "get_weather", {"city": "Oslo"}),
        ("toolu_01now", "now", {}),
    ]
    assert second.choices[0].message.content == "Hei! 👋"
    asked, answered = (each.body for each in upstream.asked)
    assert asked["tool_choice"] == {"type": "any"}
    assert asked["tools"][0]["input_schema"]["required"] == ["city"]
    assert answered["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert [turn["role"] for turn in answered["messages"]] == ["user", "assistant", "user"]
    assert [block["tool_use_id"] for block in answered["messages"][2]["content"]] == ["toolu_01oslo", "toolu_01now"]


async def test_streamed_parallel_tools(client: openai.AsyncOpenAI, will: Any) -> None:
    will("tools_stream")

    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, tools=[WEATHER], stream=True)
    calls: dict[int, list[str]] = {}
    reasons = []
    for chunk in await chunks_of(stream):
        choice = chunk.choices[0]
        reasons += [choice.finish_reason] if choice.finish_reason else []
        for call in choice.delta.tool_calls or []:
            if call.id:
                calls[call.index] = [call.id, call.function.name, ""]
            calls[call.index][2] += call.function.arguments or ""

    assert calls == {
        0: ["toolu_01oslo", "get_weather", '{"city": "Oslo"}'],
        1: ["toolu_01rome", "get_weather", '{"city": "Rome"}'],
        2: ["toolu_01now", "now", "{}"],
    }
    assert reasons == ["tool_calls"]


class Dog(BaseModel):
    """What the answer must be."""

    name: str


async def test_a_parsed_answer(
    client: openai.AsyncOpenAI, upstream: FakeUpstream, will: Any, recording: Recording
) -> None:
    body = recording("text")["response"]["body"]
    upstream.will(json_answer(body | {"content": [{"type": "text", "text": '{"name": "Fido"}'}]}))

    answer = await client.beta.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Dog)

    assert answer.choices[0].message.parsed == Dog(name="Fido")
    schema = upstream.asked[0].body["output_config"]["format"]["schema"]
    assert schema["properties"]["name"]["type"] == "string"
    assert schema["additionalProperties"] is False


async def test_a_parsed_answer_of_a_model_without_structured_outputs(
    client: openai.AsyncOpenAI, upstream: FakeUpstream, will: Any
) -> None:
    will("json_output_stream")

    async with client.beta.chat.completions.stream(
        model="claude/claude-sonnet-4-20250514", messages=HELLO, response_format=Dog
    ) as stream:
        answer = await stream.get_final_completion()

    assert answer.choices[0].message.parsed == Dog(name="Fido")
    assert answer.choices[0].finish_reason == "stop"
    assert upstream.asked[0].body["tool_choice"]["name"] == "json_output"


async def test_images_and_files(client: openai.AsyncOpenAI, upstream: FakeUpstream, will: Any) -> None:
    will("text")
    data = base64.b64encode(b"\x89PNG\r\n").decode()
    content: list[Any] = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data}"}},
    ]

    await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])

    blocks = upstream.asked[0].body["messages"][0]["content"]
    assert blocks[1]["source"] == {"type": "base64", "media_type": "image/png", "data": data}
    assert blocks[2]["source"] == {"type": "url", "url": "https://example.com/a.png"}
    assert blocks[3]["type"] == "document"
    assert blocks[3]["source"] == {"type": "base64", "media_type": "application/pdf", "data": data}


async def test_an_image_that_anthropic_does_not_take(client: openai.AsyncOpenAI, upstream: FakeUpstream) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AAAA"}}

    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [image]}])  # type: ignore[list-item]

    assert caught.value.body["metadata"]["error_type"] == "unsupported_image_format"  # type: ignore[index]
    assert upstream.asked == []


async def test_reasoning_goes_round(client: openai.AsyncOpenAI, upstream: FakeUpstream, will: Any) -> None:
    """What the model thought is shown, and goes back with its signature when the client sends it."""
    will("thinking_stream", "text")

    stream = await client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=10_000, reasoning_effort="high", stream=True
    )
    shown, details = "", {}
    for chunk in await chunks_of(stream):
        delta = chunk.choices[0].delta.to_dict()
        shown += delta.get("reasoning") or ""
        for piece in delta.get("reasoning_details") or []:
            kept = details.setdefault(piece["index"], {})
            kept |= {name: value for name, value in piece.items() if value is not None and name != "text"}
            kept["text"] = kept.get("text", "") + (piece.get("text") or "")
    said: Any = {"role": "assistant", "content": "Three.", "reasoning_details": list(details.values())}
    await client.chat.completions.create(model=MODEL, messages=[*HELLO, said, *HELLO])

    assert shown == "s-t-r-a-w: one so far."
    assert upstream.asked[0].body["thinking"] == {"type": "enabled", "budget_tokens": 8000}
    assert upstream.asked[1].body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "s-t-r-a-w: one so far.", "signature": "c2lnbmF0dXJlLW9uZQ=="},
        {"type": "redacted_thinking", "data": "b3BhcXVlLXRob3VnaHQ="},
        {"type": "text", "text": "Three."},
    ]


async def test_citations_are_annotations(client: openai.AsyncOpenAI, will: Any) -> None:
    will("search_stream")

    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    deltas = [chunk.choices[0].delta.to_dict() for chunk in await chunks_of(stream)]

    found = [each for delta in deltas for each in delta.get("annotations") or []]
    assert [each["url_citation"]["url"] for each in found] == ["https://example.com/oslo"]
    assert not any(delta.get("tool_calls") for delta in deltas)


async def test_several_choices_are_several_calls(client: openai.AsyncOpenAI, upstream: FakeUpstream, will: Any) -> None:
    will("text")

    answer = await client.chat.completions.create(model=MODEL, messages=HELLO, n=3)

    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 27
    assert len(upstream.asked) == 3


@pytest.mark.parametrize(
    ("name", "error", "status"),
    [
        ("unauthorized", openai.InternalServerError, 502),
        ("rate_limited", openai.RateLimitError, 429),
        ("overloaded", openai.InternalServerError, 503),
        ("failing", openai.InternalServerError, 502),
        ("too_long", openai.BadRequestError, 400),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_failures(
    client: openai.AsyncOpenAI, will: Any, name: str, error: type[openai.APIStatusError], status: int, stream: bool
) -> None:
    will(name)

    with pytest.raises(error) as caught:
        await client.chat.completions.create(model=MODEL, messages=HELLO, stream=stream)

    assert caught.value.status_code == status
    assert UPSTREAM_KEY not in caught.value.response.text
    if name == "rate_limited":
        assert int(caught.value.response.headers["retry-after"]) >= 7
    if name == "too_long":
        assert caught.value.code == "context_length_exceeded"


async def test_a_failure_inside_a_stream(client: openai.AsyncOpenAI, will: Any) -> None:
    will("error_in_stream")

    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    seen = ""
    with pytest.raises(openai.APIError) as caught:
        async for chunk in stream:
            seen += chunk.choices[0].delta.content or ""

    assert seen == "Hal"
    assert "Overloaded" in caught.value.message


async def test_a_client_that_leaves_takes_the_upstream_along(
    client: openai.AsyncOpenAI, upstream: FakeUpstream, recording: Recording
) -> None:
    sse = recording("text_stream")["response"]["sse"]
    frames = [frame.encode() + b"\n\n" for frame in sse.split("\n\n")[:5]]
    upstream.will(sse_answer([*frames, *([b": wait\n\n"] * 200)], pause_s=0.05))

    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()

    await until(lambda: upstream.left, 2)


async def test_the_answer_is_billed(router: Running, client: openai.AsyncOpenAI, will: Any) -> None:
    """Also where a plain question was answered with a stream."""
    will("thinking_stream")

    answer = await client.chat.completions.create(model=MODEL, messages=HELLO)
    headers = {"Authorization": f"Bearer {router.key}"}
    async with router.session.get(f"{router.url}/v1/generation?id={answer.id}", headers=headers) as response:
        row = (await response.json())["data"]

    assert answer.choices[0].message.content == "Three."
    assert (row["native_tokens_prompt"], row["native_tokens_reasoning"]) == (1544, 58)
    assert (row["upstream_id"], row["native_finish_reason"]) == ("msg_01think", "end_turn")
