"""The `openai` SDK, a running router, and a Bedrock on loopback that checks signatures with botocore."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from openai import AsyncOpenAI

from router.settings import FetchSettings, Settings
from router.testing import FakeUpstream, Running, json_answer, running, until

Read = Callable[[str], dict[str, Any]]
Written = Callable[[Iterable[list[Any]]], bytes]
MODEL = "bedrock/eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
PATH = "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0"
SECRET = "bedrock-secret-access-key-of-a-test"
ASK: Any = [{"role": "user", "content": "Weather in Ås?"}]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture
async def router(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[Running]:
    keys = {"access_key_id": "AKIDTEST", "secret_access_key": SECRET, "session_token": "session"}
    instance = {"plugin": "bedrock", "region": "eu-north-1", "base_url": upstream.url, **keys}
    with_key = {"plugin": "bedrock", "api_key": "bedrock-api-key", "base_url": upstream.url}
    settings = Settings(
        providers={"bedrock": {**instance, "headers": {"X-Amzn-Bedrock-Trace": "ENABLED"}}, "keyed": with_key},
        fetch=FetchSettings(allow_private=True),
    )
    async with running(settings, tmp_path) as router:
        yield router


@pytest.fixture
async def client(router: Running) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        yield client


def binary(written: bytes, *, size: int = 11, pause_s: float = 0.0) -> Any:
    """Answer with a binary stream in small pieces."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "application/vnd.amazon.eventstream", "x-amzn-RequestId": "request-7"}
        )
        await response.prepare(request)
        for at in range(0, len(written), size):
            await response.write(written[at : at + size])
            await asyncio.sleep(pause_s)
        return response

    return answer


def whole(*content: dict[str, Any], reason: str = "end_turn") -> Any:
    message = {"role": "assistant", "content": list(content)}
    usage = {"inputTokens": 20, "outputTokens": 5, "totalTokens": 25}
    return json_answer({"output": {"message": message}, "stopReason": reason, "usage": usage})


async def test_a_signed_request(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    raw: list[tuple[str, bytes, dict[str, str]]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        raw.append((request.raw_path, await request.read(), dict(request.headers)))
        return await whole({"text": "Hei, Ås! 🌍"})(request)

    upstream.will(answer)

    said = await client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=50)

    ((path, body, headers),) = raw
    assert path == f"{PATH}/converse"
    sent = {name.lower(): value for name, value in headers.items()}
    names = sent["authorization"].split("SignedHeaders=")[1].split(",")[0]
    assert names == "host;x-amz-date;x-amz-security-token;x-amzn-bedrock-trace"
    check = AWSRequest(method="POST", url=upstream.url + path, data=body, headers={"X-Amzn-Bedrock-Trace": "ENABLED"})
    check.context["timestamp"] = sent["x-amz-date"]
    check.headers["X-Amz-Date"], check.headers["X-Amz-Security-Token"] = sent["x-amz-date"], "session"
    signer = SigV4Auth(Credentials("AKIDTEST", SECRET, "session"), "bedrock", "eu-north-1")
    signature = signer.signature(signer.string_to_sign(check, signer.canonical_request(check)), check)
    assert sent["authorization"].endswith(f"Signature={signature}")
    assert said.choices[0].message.content == "Hei, Ås! 🌍"
    assert said.usage is not None
    assert (said.usage.prompt_tokens, said.usage.completion_tokens) == (20, 5)


async def test_a_key_of_bedrocks_own(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.will(whole({"text": "Hei"}))

    await client.chat.completions.create(model="keyed/amazon.nova-lite-v1:0", messages=ASK)

    assert upstream.asked[0].headers["Authorization"] == "Bearer bedrock-api-key"


async def test_a_stream(
    client: AsyncOpenAI, router: Running, upstream: FakeUpstream, recording: Read, written: Written
) -> None:
    upstream.will(binary(written(recording("stream_text")["events"])))

    stream = await client.chat.completions.create(
        model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert upstream.asked[0].path == f"{PATH}/converse-stream"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Grüße aus Ås, 🌍!"
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (1012, 42)
    data = (await (await router.get(f"/v1/generation?id={chunks[0].id}")).json())["data"]
    assert (data["provider_name"], data["upstream_id"], data["native_finish_reason"]) == (
        "bedrock",
        "request-7",
        "end_turn",
    )
    assert data["total_cost"] > 0


async def test_tools_and_thinking_there_and_back(client: AsyncOpenAI, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(json_answer(recording("plain_tools")["response"]["body"]), whole({"text": "Rain."}))

    first = await client.chat.completions.create(model=MODEL, messages=ASK, tools=[WEATHER])
    message: Any = first.choices[0].message.model_dump(exclude_none=True)
    (call,) = message["tool_calls"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "rain"}
    second = await client.chat.completions.create(model=MODEL, messages=[*ASK, message, result], tools=[WEATHER])

    assert first.choices[0].finish_reason == "tool_calls"
    assert json.loads(call["function"]["arguments"]) == {"city": "Ås"}
    assert upstream.asked[1].body["messages"][1:] == [
        recording("plain_tools")["response"]["body"]["output"]["message"],
        {"role": "user", "content": [{"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "rain"}]}}]},
    ]
    assert second.choices[0].message.content == "Rain."


async def test_streamed_tools(client: AsyncOpenAI, upstream: FakeUpstream, recording: Read, written: Written) -> None:
    upstream.will(binary(written(recording("stream_tools")["events"])))

    async with client.chat.completions.stream(model=MODEL, messages=ASK, tools=[WEATHER]) as stream:
        final = await stream.get_final_completion()

    calls = final.choices[0].message.tool_calls or []
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("weather", {"city": "Oslo"}),
        ("now", {}),
    ]


async def test_pictures_are_fetched(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    async def picture(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"\x89PNG", content_type="image/png")

    upstream.will(picture, whole({"text": "A dot."}))
    image: Any = {"type": "image_url", "image_url": {"url": f"{upstream.url}/dot.png"}}

    await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [image]}])

    assert "Authorization" not in upstream.asked[0].headers
    block = {"image": {"format": "png", "source": {"bytes": "iVBORw=="}}}
    assert upstream.asked[1].body["messages"] == [{"role": "user", "content": [block]}]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("error_key", 502),
        ("error_throttled", 429),
        ("error_model", 404),
        ("error_too_long", 400),
        ("error_unavailable", 503),
    ],
)
async def test_errors(
    client: AsyncOpenAI, upstream: FakeUpstream, recording: Read, name: str, status: int, stream: bool
) -> None:
    response = recording(name)["response"]
    upstream.will(json_answer(response["body"], status=response["status"], headers=response["headers"]))

    with pytest.raises(openai.APIStatusError) as failed:
        await client.chat.completions.create(model=MODEL, messages=ASK, stream=stream)

    assert failed.value.status_code == status


async def test_secrets_are_masked(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.will(
        json_answer(
            {"message": f"Malformed: {SECRET}"}, status=400, headers={"x-amzn-errortype": "ValidationException"}
        )
    )

    with pytest.raises(openai.BadRequestError) as failed:
        await client.chat.completions.create(model=MODEL, messages=ASK)

    assert SECRET not in failed.value.response.text
    assert "Malformed: ***" in failed.value.response.text


@pytest.mark.parametrize("name", ["error_inside", "cut"])
async def test_a_failure_behind_the_first_words(
    client: AsyncOpenAI, upstream: FakeUpstream, recording: Read, written: Written, name: str
) -> None:
    upstream.will(binary(written(recording(name)["events"]), size=60, pause_s=0.02))
    text = ""

    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    with pytest.raises(openai.APIError):
        async for chunk in stream:
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""

    assert text == "Half a"


async def test_leaving_in_the_middle(
    client: AsyncOpenAI, upstream: FakeUpstream, recording: Read, written: Written
) -> None:
    upstream.will(binary(written(recording("stream_text")["events"]), size=40, pause_s=0.1))

    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    await stream.close()

    await until(lambda: upstream.left, 2)
    assert upstream.finished == 0


async def test_counting(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"inputTokens": 23}))

    answer = await router.post("/v1/messages/count_tokens", {"model": MODEL, "messages": ASK})

    assert (await answer.json()) == {"input_tokens": 23}
    assert upstream.asked[0].path == "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens"
    assert upstream.asked[0].body == {
        "input": {"converse": {"messages": [{"role": "user", "content": [{"text": "Weather in Ås?"}]}]}}
    }
