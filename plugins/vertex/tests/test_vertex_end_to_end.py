"""SDKs, a running router, and a Vertex on loopback that hands out the tokens too."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from router.settings import FetchSettings, Settings
from router.testing import Asked, Running, json_answer, running, sse_answer

Read = Callable[[str], dict[str, Any]]
CLAUDE, GEMINI = "vertex/claude-sonnet-4-5@20250929", "vertex/gemini-2.5-flash"
PLACE = "/projects/p-of-the-file/locations/global/publishers"
ASK: Any = [{"role": "user", "content": "Weather in Ås?"}]


class Google:
    """Answers `/token` itself, and everything else with `answer`."""

    def __init__(self) -> None:
        self.answer: Any = None
        self.asked: list[Asked] = []
        self.tokens = 0
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        if request.path == "/token":
            self.tokens += 1
            return web.json_response({"access_token": f"ya29.token-{self.tokens}", "expires_in": 3600})
        body = json.loads(await request.read() or b"null")
        self.asked.append(Asked(method=request.method, path=request.raw_path, headers=dict(request.headers), body=body))
        response: web.StreamResponse = await self.answer(request)
        return response


@pytest.fixture
async def upstream() -> AsyncIterator[Google]:
    google = Google()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", google.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    google.url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
    yield google
    await runner.cleanup()


@pytest.fixture
async def router(upstream: Google, key_file: dict[str, str], tmp_path: Path) -> AsyncIterator[Running]:
    instance = {"plugin": "vertex", "credentials": json.dumps(key_file), "base_url": upstream.url}
    settings = Settings(providers={"vertex": instance}, fetch=FetchSettings(allow_private=True))
    async with running(settings, tmp_path) as router:
        yield router


@pytest.fixture
async def client(router: Running) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic(router: Running) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=router.url, api_key=router.key, max_retries=0) as client:
        yield client


def streamed(recorded: dict[str, Any]) -> Any:
    raw = recorded["response"]["sse"].encode()
    return sse_answer([raw[at : at + 9] for at in range(0, len(raw), 9)])


@pytest.mark.parametrize(
    ("model", "name", "path"),
    [
        (GEMINI, "gemini_plain", f"/v1beta1{PLACE}/google/models/gemini-2.5-flash:generateContent"),
        (CLAUDE, "claude_plain", f"/v1{PLACE}/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"),
    ],
)
async def test_plain(client: AsyncOpenAI, upstream: Google, recording: Read, model: str, name: str, path: str) -> None:
    upstream.answer = json_answer(recording(name)["response"]["body"])

    for _ in range(2):
        answer = await client.chat.completions.create(model=model, messages=ASK, max_tokens=50)

    assert [each.path for each in upstream.asked] == [path] * 2
    assert {each.headers["Authorization"] for each in upstream.asked} == {"Bearer ya29.token-1"}
    assert upstream.tokens == 1
    assert answer.choices[0].message.content == "Hei, Ås! 🌍"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (20, 5)


@pytest.mark.parametrize(("model", "name"), [(GEMINI, "gemini_stream"), (CLAUDE, "claude_stream")])
async def test_streams(client: AsyncOpenAI, upstream: Google, recording: Read, model: str, name: str) -> None:
    upstream.answer = streamed(recording(name))

    stream = await client.chat.completions.create(
        model=model, messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Grüße aus Ås, 🌍!"
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (12, 42)


async def test_anthropics_client_is_relayed(anthropic: AsyncAnthropic, upstream: Google, recording: Read) -> None:
    upstream.answer = json_answer(recording("claude_plain")["response"]["body"] | {"kept": "as it is"})

    answer = await anthropic.messages.create(
        model=CLAUDE,
        messages=ASK,
        max_tokens=9,
        extra_body={"unknown": [1]},
        extra_headers={"anthropic-beta": "x-2026-01-01"},
    )

    (asked,) = upstream.asked
    assert asked.path == f"/v1{PLACE}/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"
    assert asked.body == {"max_tokens": 9, "messages": ASK, "unknown": [1], "anthropic_version": "vertex-2023-10-16"}
    assert asked.headers["anthropic-beta"] == "x-2026-01-01"
    assert (answer.model_extra or {})["kept"] == "as it is"


async def test_anthropics_client_on_gemini_is_translated(
    anthropic: AsyncAnthropic, upstream: Google, recording: Read
) -> None:
    upstream.answer = json_answer(recording("gemini_plain")["response"]["body"])

    answer = await anthropic.messages.create(model=GEMINI, messages=ASK, max_tokens=9)

    assert upstream.asked[0].body["generationConfig"] == {"maxOutputTokens": 9}
    assert [each.text for each in answer.content if each.type == "text"] == ["Hei, Ås! 🌍"]


async def test_a_streamed_relay(anthropic: AsyncAnthropic, upstream: Google, recording: Read) -> None:
    upstream.answer = streamed(recording("claude_stream"))

    async with anthropic.messages.stream(model=CLAUDE, messages=ASK, max_tokens=9) as stream:
        text = await stream.get_final_text()

    assert text == "Grüße aus Ås, 🌍!"
    assert upstream.asked[0].path.endswith(":streamRawPredict")
    assert upstream.asked[0].body["stream"] is True


async def test_gemini_clients_are_relayed(router: Running, upstream: Google, recording: Read) -> None:
    upstream.answer = json_answer(recording("gemini_plain")["response"]["body"] | {"kept": "as it is"})
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "unknown": [1]}

    answer = await router.post(f"/v1beta/models/{GEMINI}:generateContent", body)

    assert upstream.asked[0].path == f"/v1beta1{PLACE}/google/models/gemini-2.5-flash:generateContent"
    assert upstream.asked[0].body == body
    assert (await answer.json())["kept"] == "as it is"


@pytest.mark.parametrize(
    ("model", "answered", "path", "body"),
    [
        (
            GEMINI,
            {"totalTokens": 36},
            f"/v1beta1{PLACE}/google/models/gemini-2.5-flash:countTokens",
            {"contents": [{"role": "user", "parts": [{"text": "Weather in Ås?"}]}]},
        ),
        (
            CLAUDE,
            {"input_tokens": 36},
            f"/v1{PLACE}/anthropic/models/count-tokens:rawPredict",
            {
                "model": "claude-sonnet-4-5@20250929",
                "messages": [{"role": "user", "content": [{"type": "text", "text": "Weather in Ås?"}]}],
            },
        ),
    ],
)
async def test_counting(router: Running, upstream: Google, model: str, answered: Any, path: str, body: Any) -> None:
    upstream.answer = json_answer(answered)

    answer = await router.post("/v1/messages/count_tokens", {"model": model, "messages": ASK})

    assert (await answer.json()) == {"input_tokens": 36}
    assert upstream.asked[0].path == path
    assert upstream.asked[0].body == body


@pytest.mark.parametrize(
    ("model", "name", "status"),
    [
        (GEMINI, "error_token", 502),
        (GEMINI, "error_quota", 429),
        (CLAUDE, "error_quota", 429),
        (GEMINI, "error_model", 404),
        (CLAUDE, "error_claude", 400),
        (CLAUDE, "error_claude_busy", 503),
    ],
)
async def test_errors(
    client: AsyncOpenAI, upstream: Google, recording: Read, model: str, name: str, status: int
) -> None:
    response = recording(name)["response"]
    upstream.answer = json_answer(response["body"], status=response["status"])

    with pytest.raises(openai.APIStatusError) as failed:
        await client.chat.completions.create(model=model, messages=ASK)

    assert failed.value.status_code == status


async def test_tokens_are_masked(client: AsyncOpenAI, upstream: Google) -> None:
    upstream.answer = json_answer(
        {"error": {"code": 400, "message": "bad ya29.token-1", "status": "INVALID_ARGUMENT"}}, status=400
    )

    with pytest.raises(openai.BadRequestError) as failed:
        await client.chat.completions.create(model=GEMINI, messages=ASK)

    assert "bad ***" in failed.value.response.text
