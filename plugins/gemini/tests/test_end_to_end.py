"""The `openai` SDK, a running router, and a Gemini upstream on loopback."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI
from pydantic import BaseModel

from router.settings import FetchSettings, Settings
from router.testing import FakeUpstream, Running, json_answer, running, sse_answer, until

Read = Callable[[str], dict[str, Any]]
MODEL = "gemini/gemini-3-flash-preview"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASK: Any = [{"role": "user", "content": "Weather in Oslo and Ås?"}]
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@pytest.fixture
async def router(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[Running]:
    settings = Settings(
        providers={"gemini": {"plugin": "gemini", "api_key": "google-key", "base_url": upstream.url}},
        fetch=FetchSettings(allow_private=True),
    )
    async with running(settings, tmp_path) as router:
        yield router


@pytest.fixture
async def client(router: Running) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        yield client


def whole(*parts: dict[str, Any], finish: str = "STOP") -> Any:
    """An answer of Google's with these parts."""
    return json_answer(
        {
            "candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": finish, "index": 0}],
            "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 5, "thoughtsTokenCount": 2},
            "modelVersion": "gemini-3-flash-preview",
            "responseId": "e2e-1",
        }
    )


def streamed(recorded: dict[str, Any], **how: Any) -> Any:
    """A recorded stream, event by event."""
    raw = recorded["response"]["sse"].encode()
    return sse_answer([event + b"\r\n\r\n" for event in raw.split(b"\r\n\r\n") if event], **how)


async def test_plain(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.will(whole({"text": "Hei, Ås! 🌍"}))

    answer = await client.chat.completions.create(model=MODEL, messages=ASK, temperature=0.5, max_completion_tokens=50)

    (asked,) = upstream.asked
    assert asked.path == "/v1beta/models/gemini-3-flash-preview:generateContent"
    assert asked.headers["x-goog-api-key"] == "google-key"
    assert asked.body == {
        "contents": [{"role": "user", "parts": [{"text": "Weather in Oslo and Ås?"}]}],
        "generationConfig": {"temperature": 0.5, "maxOutputTokens": 50},
    }
    assert answer.choices[0].message.content == "Hei, Ås! 🌍"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == MODEL
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (20, 7, 27)
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 2


async def test_stream(client: AsyncOpenAI, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(streamed(recording("stream_text")))

    stream = await client.chat.completions.create(
        model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert upstream.asked[0].path.endswith(":streamGenerateContent?alt=sse")
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Grüße aus Ås, 🌍!"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (12, 42)


async def test_tools_there_and_back(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    signed = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": "c2lnLW9uZQ=="}
    unsigned = {"functionCall": {"name": "weather", "args": {"city": "Ås"}}}
    upstream.will(whole(signed, unsigned), whole({"text": "Rain in both."}))

    first = await client.chat.completions.create(model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="required")
    message = first.choices[0].message
    assert message.tool_calls
    results = [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in message.tool_calls]
    second = await client.chat.completions.create(
        model=MODEL,
        messages=[*ASK, message.model_dump(exclude_none=True), *results],  # type: ignore[list-item]
        tools=[WEATHER],
    )

    assert first.choices[0].finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == [{"city": "Oslo"}, {"city": "Ås"}]  # type: ignore[union-attr]
    assert upstream.asked[0].body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    one, two = (call.id for call in message.tool_calls)
    assert upstream.asked[1].body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": one, **signed["functionCall"]}, "thoughtSignature": "c2lnLW9uZQ=="},  # type: ignore[dict-item]
                {"functionCall": {"id": two, **unsigned["functionCall"]}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": id, "name": "weather", "response": {"output": "rain"}}} for id in (one, two)
            ],
        },
    ]
    assert second.choices[0].message.content == "Rain in both."


async def test_streamed_tools(client: AsyncOpenAI, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(streamed(recording("stream_tools")))

    async with client.chat.completions.stream(model=MODEL, messages=ASK, tools=[WEATHER]) as stream:
        final = await stream.get_final_completion()

    calls = final.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == ["weather", "weather"]
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Oslo"}, {"city": "Ås", "days": 2}]
    assert len({call.id for call in calls}) == 2
    assert final.choices[0].finish_reason == "tool_calls"


async def test_parse_with_a_schema(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    class Step(BaseModel):
        text: str

    class Plan(BaseModel):
        steps: list[Step]
        sure: bool | None

    upstream.will(whole({"text": '{"steps":[{"text":"go"}],"sure":null}'}))

    answer = await client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Plan)

    assert answer.choices[0].message.parsed == Plan(steps=[Step(text="go")], sure=None)
    config = upstream.asked[0].body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"]["properties"]["steps"]["items"] == {"$ref": "#/$defs/Step"}


async def test_pictures(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    async def picture(request: web.Request) -> web.StreamResponse:
        return web.Response(body=PICTURE, content_type="image/png")

    upstream.will(picture, whole({"text": "Two dots."}))
    data = base64.b64encode(PICTURE).decode()
    elsewhere = upstream.url.replace("127.0.0.1", "localhost")  # another host than Google's, which reads its own files

    await client.chat.completions.create(
        model=MODEL,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
                    {"type": "image_url", "image_url": {"url": f"{elsewhere}/dot.png"}},
                ],
            }
        ],
    )

    fetched, asked = upstream.asked
    assert (fetched.method, fetched.path) == ("GET", "/dot.png")
    assert "x-goog-api-key" not in fetched.headers
    inline = {"inlineData": {"mimeType": "image/png", "data": data}}
    assert asked.body["contents"][0]["parts"] == [{"text": "What is this?"}, inline, inline]


async def test_reasoning(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.will(whole({"text": "Let me see.", "thought": True}, {"text": "42", "thoughtSignature": "c2ln"}))

    answer = await client.chat.completions.create(model=MODEL, messages=ASK, reasoning_effort="low")

    assert upstream.asked[0].body["generationConfig"]["thinkingConfig"] == {
        "includeThoughts": True,
        "thinkingLevel": "LOW",
    }
    told = answer.choices[0].message.model_extra or {}
    assert told["reasoning"] == "Let me see."
    assert [each["type"] for each in told["reasoning_details"]] == ["reasoning.text", "reasoning.encrypted"]
    assert {each["format"] for each in told["reasoning_details"]} == {"google-gemini-v1"}


async def test_reasoning_goes_back_on_its_part(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    parts = [{"text": "Let me see.", "thought": True}, {"text": "42", "thoughtSignature": "c2ln"}]
    upstream.will(whole(*parts), whole({"text": "Yes."}))

    first = await client.chat.completions.create(model=MODEL, messages=ASK)
    message: Any = first.choices[0].message.model_dump(exclude_none=True)
    await client.chat.completions.create(model=MODEL, messages=[*ASK, message, {"role": "user", "content": "Sure?"}])

    assert upstream.asked[1].body["contents"][1]["parts"] == parts


async def test_an_unknown_key_of_the_client(router: Running) -> None:
    async with AsyncOpenAI(base_url=f"{router.url}/v1", api_key="sk-rt-wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.chat.completions.create(model=MODEL, messages=ASK)


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("error_key", 502, "upstream_error"),
        ("error_forbidden", 502, "upstream_error"),
        ("error_quota", 429, "rate_limited"),
        ("error_model", 404, None),
        ("error_too_long", 400, "context_length_exceeded"),
        ("error_overloaded", 503, "no_available_provider"),
        ("error_internal", 502, "upstream_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_of_google(
    name: str, status: int, code: str | None, stream: bool, client: AsyncOpenAI, upstream: FakeUpstream, recording: Read
) -> None:
    response = recording(name)["response"]
    upstream.will(json_answer(response["body"], status=response["status"]))

    with pytest.raises(openai.APIStatusError) as failed:
        await client.chat.completions.create(model=MODEL, messages=ASK, stream=stream)

    assert failed.value.status_code == status
    assert code is None or failed.value.code == code
    if name == "error_quota":
        assert failed.value.response.headers["retry-after"] == "22"


@pytest.mark.parametrize("name", ["error_inside", "cut"])
async def test_a_failure_behind_the_first_words(
    name: str, client: AsyncOpenAI, upstream: FakeUpstream, recording: Read
) -> None:
    upstream.will(streamed(recording(name), pause_s=0.05))
    text = ""

    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    with pytest.raises(openai.APIError):
        async for chunk in stream:
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""

    assert text == "Half a"


async def test_a_filter_behind_the_first_words(client: AsyncOpenAI, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(streamed(recording("stream_safety")))

    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    choices = [chunk.choices[0] async for chunk in stream if chunk.choices]

    assert "".join(choice.delta.content or "" for choice in choices) == "First you take"
    assert choices[-1].finish_reason == "content_filter"


async def test_leaving_in_the_middle_of_a_stream(client: AsyncOpenAI, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(streamed(recording("stream_text"), pause_s=1.0))

    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    await stream.close()

    await until(lambda: upstream.left, 2)
    assert upstream.finished == 0


async def test_what_a_stream_cost_is_in_the_ledger(
    client: AsyncOpenAI, router: Running, upstream: FakeUpstream, recording: Read
) -> None:
    upstream.will(streamed(recording("stream_text")))

    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    chunks = [chunk async for chunk in stream]
    answer = await router.get(f"/v1/generation?id={chunks[0].id}")

    data = (await answer.json())["data"]
    assert (data["tokens_prompt"], data["tokens_completion"]) == (12, 42)
    assert (data["provider_name"], data["upstream_id"], data["native_finish_reason"]) == ("gemini", "rec-0001", "STOP")
    assert data["total_cost"] > 0
