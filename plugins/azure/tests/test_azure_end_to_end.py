"""Clients of several APIs, a running router, and an Azure on loopback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI

from router.settings import Settings
from router.testing import FakeUpstream, Running, json_answer, running, sse_answer

Read = Callable[[str], dict[str, Any]]
ASK: Any = [{"role": "user", "content": "hi"}]
DATED = {"api_version": "2024-10-21", "deployments": {"gpt-4o": "prod", "tts-1": "voice", "whisper": "ears"}}


def client_of(router: Running) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0)


def streamed(said: dict[str, Any]) -> Any:
    raw = said["sse"].encode()
    return sse_answer([raw[at : at + 9] for at in range(0, len(raw), 9)])


@pytest.mark.parametrize(
    ("settings", "path", "model"),
    [
        ({}, "/openai/v1/chat/completions", "gpt-4o"),
        (DATED, "/openai/deployments/prod/chat/completions?api-version=2024-10-21", "prod"),
    ],
    ids=["v1", "dated"],
)
async def test_a_whole_answer(
    start: Any, upstream: FakeUpstream, recording: Read, settings: dict[str, Any], path: str, model: str
) -> None:
    upstream.will(json_answer(recording("text")["body"]))

    async with client_of(await start(**settings)) as client:
        answer = await client.chat.completions.create(model="azure/gpt-4o", messages=ASK)

    (asked,) = upstream.asked
    assert (asked.path, asked.body["model"], asked.headers["api-key"]) == (path, model, "resource-key")
    assert "Authorization" not in asked.headers
    assert (answer.model, answer.choices[0].message.content) == ("azure/gpt-4o", "Hei, Ås! 🌍")
    assert answer.usage is not None
    assert answer.usage.model_extra is not None
    assert answer.usage.model_extra["cost"] == pytest.approx((8 * 2.5 + 4 * 1.25 + 7 * 10) / 1e6)


async def test_a_stream_whose_first_chunk_has_no_choices(start: Any, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(streamed(recording("text_stream")))

    async with client_of(await start()) as client:
        stream = await client.chat.completions.create(model="azure/gpt-4o", messages=ASK, stream=True)
        chunks = [chunk async for chunk in stream]

    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hei, Ås! 🌍"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


@pytest.mark.parametrize("name", ["filtered", "filtered_stream"])
async def test_a_filtered_answer_says_so(start: Any, upstream: FakeUpstream, recording: Read, name: str) -> None:
    said = recording(name)
    upstream.will(streamed(said) if "sse" in said else json_answer(said["body"]))
    router: Running = await start()

    answer = await router.post("/v1/messages", {"model": "azure/gpt-4o", "messages": ASK, "max_tokens": 9})

    assert answer.status == 200
    assert (await answer.json())["stop_reason"] == "refusal"


@pytest.mark.parametrize("name", ["prompt_filtered", "prompt_filtered_in_success"])
async def test_a_filtered_prompt_is_the_clients_affair(
    start: Any, upstream: FakeUpstream, recording: Read, name: str
) -> None:
    said = recording(name)
    upstream.will(json_answer(said["body"], status=said["status"]))

    async with client_of(await start()) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model="azure/gpt-4o", messages=ASK)

    assert caught.value.status_code in (400, 403)
    assert caught.value.body["metadata"]["error_type"] == "content_policy_violation"  # type: ignore[index]


async def test_a_missing_deployment_is_named(start: Any, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(json_answer(recording("no_deployment")["body"], status=404))
    router: Running = await start()

    answer = await router.post("/v1/chat/completions", {"model": "azure/ours", "messages": ASK})

    assert answer.status == 404
    assert "deployment" in (await answer.json())["error"]["message"]


RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "gpt-4o",
    "content_filters": [{"blocked": False}],
    "output": [
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Hei"}]}
    ],
    "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
}


async def test_responses_are_relayed_where_azure_has_them(start: Any, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(RESPONSE))
    router: Running = await start(deployments={"gpt-4o": "prod"})

    answer = await router.post("/v1/responses", {"model": "azure/gpt-4o", "input": "hi"})

    assert (upstream.asked[0].path, upstream.asked[0].body["model"]) == ("/openai/v1/responses", "prod")
    assert await answer.json() == RESPONSE


@pytest.mark.parametrize(
    ("settings", "model"), [(DATED, "gpt-4o"), ({}, "DeepSeek-V3.1")], ids=["dated", "another's model"]
)
async def test_responses_are_translated_where_it_has_not(
    start: Any, upstream: FakeUpstream, recording: Read, settings: dict[str, Any], model: str
) -> None:
    upstream.will(json_answer(recording("text")["body"]))
    router: Running = await start(**settings)

    answer = await router.post("/v1/responses", {"model": f"azure/{model}", "input": "hi"})

    assert upstream.asked[0].path.partition("?")[0].endswith("/chat/completions")
    assert (await answer.json())["output"][0]["content"][0]["text"] == "Hei, Ås! 🌍"


@pytest.mark.parametrize(
    ("settings", "path", "deployment"),
    [
        ({}, "/openai/v1/embeddings", "text-embedding-3-small"),
        (
            {"api_version": "2024-10-21", "deployments": {"text-embedding-3-small": "vectors"}},
            "/openai/deployments/vectors/embeddings?api-version=2024-10-21",
            "vectors",
        ),
    ],
    ids=["v1", "dated"],
)
async def test_vectors(
    start: Any, upstream: FakeUpstream, settings: dict[str, Any], path: str, deployment: str
) -> None:
    vector = {"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}
    upstream.will(json_answer({"object": "list", "data": [vector], "usage": {"prompt_tokens": 2, "total_tokens": 2}}))

    async with client_of(await start(**settings)) as client:
        answer = await client.embeddings.create(model="azure/text-embedding-3-small", input="hi")

    assert (upstream.asked[0].path, upstream.asked[0].body["model"]) == (path, deployment)
    assert answer.data[0].embedding == [0.5, 1.0]


async def test_speech(start: Any, upstream: FakeUpstream) -> None:
    async def sound(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"ID3 sound", content_type="audio/mpeg")

    upstream.will(sound)

    async with client_of(await start(**DATED)) as client:
        answer = await client.audio.speech.create(model="azure/tts-1", input="hei", voice="alloy")

    assert answer.content == b"ID3 sound"
    assert upstream.asked[0].path == "/openai/deployments/voice/audio/speech?api-version=2024-10-21"


async def test_a_transcription_is_asked_of_the_deployment(start: Any) -> None:
    asked: list[tuple[str, Any, bytes]] = []

    async def heard(request: web.Request) -> web.StreamResponse:
        form: Any = await request.post()
        asked.append((request.path_qs, form["model"], form["file"].file.read()))
        return web.json_response({"text": "hei"})

    app = web.Application()
    app.router.add_post("/{path:.*}", heard)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://127.0.0.1:{1}".format(*runner.addresses[0])

    async with client_of(await start(base_url=url, deployments={"whisper": "ears"})) as client:
        answer = await client.audio.transcriptions.create(model="azure/whisper", file=("a.wav", b"RIFF"))
    await runner.cleanup()

    assert answer.text == "hei"
    assert asked == [("/openai/v1/audio/transcriptions", "ears", b"RIFF")]


@pytest.mark.parametrize("endpoint", [True, False])
async def test_without_configuration_it_takes_key_and_address(
    upstream: FakeUpstream, recording: Read, tmp_path: Path, endpoint: bool
) -> None:
    upstream.will(json_answer(recording("text")["body"]))
    environ = {"AZURE_OPENAI_API_KEY": "k"} | ({"AZURE_OPENAI_ENDPOINT": upstream.url} if endpoint else {})

    async with running(Settings(), tmp_path, environ=environ) as router:
        answer = await router.post("/v1/chat/completions", {"model": "azure/gpt-4o", "messages": ASK})

    assert answer.status == (200 if endpoint else 404)
