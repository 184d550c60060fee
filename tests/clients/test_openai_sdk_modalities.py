"""The `openai` SDK and everything besides chat: vectors, judgements, sound and images."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

from router.settings import Settings
from router.testing import Running, running

VECTOR = [0.5, -0.25, 1.0]
PACKED = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
SOUND = bytes(range(256)) * 200
PICTURE = base64.b64encode(b"\x89PNG picture").decode()
CHECKED = {"harassment": False, "violence": True}
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Upstream:
    """OpenAI's API but for chat, as far as these tests need it. `asked` holds path, content type and body of each request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.forms: list[dict[str, Any]] = []
        #: what streams wait for behind their first piece
        self.go_on = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.content_type == "multipart/form-data":
            form = await request.post()
            self.forms.append({name: _field(value) for name, value in form.items()})
        self.asked.append((request.path, request.headers["Content-Type"], await request.read()))
        answer: Answer = getattr(self, request.path.removeprefix("/v1/").replace("/", "_"))
        return await answer(request)

    async def embeddings(self, request: web.Request) -> web.Response:
        body = await request.json()
        vector = PACKED if body.get("encoding_format") == "base64" else VECTOR
        inputs = body["input"]
        count = len(inputs) if isinstance(inputs, list) and not isinstance(inputs[0], int) else 1
        data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
        usage = {"prompt_tokens": 5, "total_tokens": 5}
        return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})

    async def moderations(self, request: web.Request) -> web.Response:
        scores = {"harassment": 0.1, "violence": 0.9}
        result = {"flagged": True, "categories": CHECKED, "category_scores": scores, "category_applied_input_types": {}}
        return web.json_response({"id": "modr-1", "model": "omni-moderation-2024-09-26", "results": [result]})

    async def stream(self, request: web.Request, kind: str, *pieces: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        await response.write(pieces[0])
        await asyncio.wait_for(self.go_on.wait(), 20)
        for piece in pieces[1:]:
            await response.write(piece)
        return response

    async def audio_speech(self, request: web.Request) -> web.StreamResponse:
        return await self.stream(request, "audio/mpeg", SOUND[:1000], SOUND[1000:])

    async def audio_transcriptions(self, request: web.Request) -> web.StreamResponse:
        if self.forms[-1].get("stream") == "true":
            usage = {"type": "tokens", "input_tokens": 12, "output_tokens": 3, "total_tokens": 15}
            usage["input_token_details"] = {"audio_tokens": 10, "text_tokens": 2}
            return await self.stream(
                request,
                "text/event-stream",
                event("transcript.text.delta", delta="Hel"),
                event("transcript.text.delta", delta="lo"),
                event("transcript.text.done", text="Hello", usage=usage),
            )
        if self.forms[-1].get("response_format") == "srt":
            return web.Response(text="1\n00:00:00,000 --> 00:00:01,000\nHello\n")
        details = {"audio_tokens": 10, "text_tokens": 2}
        usage = {"type": "tokens", "input_tokens": 12, "input_token_details": details, "output_tokens": 3}
        return web.json_response({"text": "Hello", "usage": usage | {"total_tokens": 15}})

    async def audio_translations(self, request: web.Request) -> web.Response:
        return web.json_response({"text": "Hello"})

    async def images_generations(self, request: web.Request) -> web.StreamResponse:
        usage = {"input_tokens": 4, "output_tokens": 100, "total_tokens": 104}
        if request.content_type == "application/json" and (await request.json()).get("stream"):
            return await self.stream(
                request,
                "text/event-stream",
                event("image_generation.partial_image", b64_json=PICTURE, partial_image_index=0),
                event("image_generation.completed", b64_json=PICTURE, usage=usage),
            )
        return web.json_response({"created": 1, "data": [{"b64_json": PICTURE}], "usage": usage})

    async def images_edits(self, request: web.Request) -> web.StreamResponse:
        return await self.images_generations(request)


def event(kind: str, **members: Any) -> bytes:
    return f"data: {json.dumps({'type': kind, **members})}\n\n".encode()


def _field(value: Any) -> Any:
    return (value.filename, value.file.read()) if isinstance(value, web.FileField) else value


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
async def router(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Running]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", upstream.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
    settings = Settings(
        providers={
            "openai": {"plugin": "openai", "api_key": "upstream-key", "base_url": f"{url}/v1"},
            "anthropic": {"plugin": "anthropic", "api_key": "upstream-key", "base_url": url},
        }
    )
    try:
        async with running(settings, tmp_path) as router:
            yield router
    finally:
        await runner.cleanup()


@pytest.fixture
async def client(router: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        yield client


async def row(router: Running, id: str) -> dict[str, Any]:
    """The ledger's row."""
    found: dict[str, Any] = (await (await router.get(f"/api/v1/generation?id={id}")).json())["data"]
    return found


# --- vectors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["Hello", ["Hello", "you"], [1, 2], [[1, 2], [3]]])
@pytest.mark.parametrize("model", ["text-embedding-3-small", "openai/text-embedding-3-large"])
async def test_vectors(client: openai.AsyncOpenAI, upstream: Upstream, model: str, given: Any) -> None:
    found = await client.embeddings.create(model=model, input=given, dimensions=3)

    assert [each.embedding for each in found.data] == [VECTOR] * len(found.data)
    assert len(found.data) == (2 if len(given) == 2 and not isinstance(given[0], int) else 1)
    assert found.usage.prompt_tokens == 5
    assert b'"base64"' in upstream.asked[0][2]
    assert b'"dimensions":3' in upstream.asked[0][2]


async def test_vectors_as_numbers(client: openai.AsyncOpenAI) -> None:
    found = await client.embeddings.create(model="text-embedding-3-small", input="a", encoding_format="float")

    assert found.data[0].embedding == VECTOR


async def test_a_chat_model_gives_no_vectors(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        await client.embeddings.create(model="anthropic/claude-sonnet-4-5", input="a")

    assert refused.value.code == "no_endpoints"


# --- moderations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [{}, {"model": "omni-moderation-latest"}])
async def test_moderations(
    router: Running, client: openai.AsyncOpenAI, upstream: Upstream, named: dict[str, str]
) -> None:
    found = await client.moderations.with_raw_response.create(input=["I hit you"], **named)  # type: ignore[arg-type]

    [result] = found.parse().results
    assert result.flagged
    assert result.categories.violence
    assert b'"omni-moderation-latest"' in upstream.asked[0][2]
    kept = await row(router, found.headers["X-Generation-Id"])
    assert (kept["api_type"], kept["priced"]) == ("moderations", False)
    assert "X-Router-Cost" not in found.headers


# --- sound -----------------------------------------------------------------------------------------------------------


async def test_speech(router: Running, client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    async with client.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="Hi") as answer:
        pieces = answer.iter_bytes(100)
        first = await anext(pieces)
        upstream.go_on.set()
        assert first + b"".join([piece async for piece in pieces]) == SOUND
        assert answer.headers["Content-Type"] == "audio/mpeg"
        kept = await row(router, answer.headers["X-Generation-Id"])

    assert (kept["api_type"], kept["priced"], kept["finish_reason"]) == ("speech", False, "stop")


async def test_transcription(router: Running, client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    found = await client.audio.transcriptions.with_raw_response.create(
        model="gpt-4o-transcribe", file=("a.wav", SOUND, "audio/wav"), language="en", extra_body={"provider": {}}
    )

    assert found.parse().text == "Hello"
    assert upstream.forms == [{"model": "gpt-4o-transcribe", "file": ("a.wav", SOUND), "language": "en"}]
    kept = await row(router, found.headers["X-Generation-Id"])
    assert kept["tokens_prompt"] == 12
    # 2 tokens of text at $2.5, 10 of audio at $6, 3 out at $10 a million
    assert kept["total_cost"] == pytest.approx(95e-6)


async def test_a_transcription_that_streams(router: Running, client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    raw = await client.audio.transcriptions.with_raw_response.create(
        model="gpt-4o-transcribe", file=("a.wav", SOUND), stream=True
    )
    stream: Any = raw.parse()
    first = await anext(stream)
    upstream.go_on.set()
    rest = [each async for each in stream]

    assert (first.type, first.delta) == ("transcript.text.delta", "Hel")
    assert [each.type for each in rest] == ["transcript.text.delta", "transcript.text.done"]
    assert rest[-1].text == "Hello"
    assert (await row(router, raw.headers["X-Generation-Id"]))["total_cost"] == pytest.approx(95e-6)


async def test_a_transcription_as_subtitles(client: openai.AsyncOpenAI) -> None:
    found: Any = await client.audio.transcriptions.create(
        model="openai/whisper-1", file=("a.wav", SOUND), response_format="srt"
    )

    assert found.startswith("1\n00:00:00,000")


async def test_translation(client: openai.AsyncOpenAI) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newest SDK calls it deprecated
        found = await client.audio.translations.create(model="whisper-1", file=("a.wav", SOUND))

    assert found.text == "Hello"


# --- images ----------------------------------------------------------------------------------------------------------


async def test_images(router: Running, client: openai.AsyncOpenAI) -> None:
    found = await client.images.with_raw_response.generate(model="gpt-image-2", prompt="A cat", n=2, size="1024x1024")

    [image] = found.parse().data or []
    assert image.b64_json == PICTURE
    kept = await row(router, found.headers["X-Generation-Id"])
    assert (kept["tokens_prompt"], kept["tokens_completion"]) == (4, 100)
    # $5 a million in, $30 out
    assert kept["total_cost"] == pytest.approx(0.00302)


async def test_images_that_stream(router: Running, client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    stream = await client.images.generate(model="gpt-image-2", prompt="A cat", stream=True, partial_images=1)
    first = await anext(stream)
    upstream.go_on.set()
    [last] = [each async for each in stream]

    assert (first.type, first.b64_json) == ("image_generation.partial_image", PICTURE)
    assert (last.type, last.b64_json) == ("image_generation.completed", PICTURE)
    kept = await row(router, stream.response.headers["X-Generation-Id"])
    assert (kept["tokens_prompt"], kept["tokens_completion"], kept["streamed"]) == (4, 100, True)


async def test_a_stream_of_images_that_is_cut(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    upstream.images_generations = lambda request: upstream.stream(  # type: ignore[method-assign]
        request, "text/event-stream", event("image_generation.partial_image", b64_json=PICTURE)
    )
    upstream.go_on.set()

    stream = await client.images.generate(model="gpt-image-2", prompt="A cat", stream=True)

    with pytest.raises(openai.APIError, match="before its last event"):
        async for _ in stream:
            pass


async def test_the_other_path_of_images(router: Running) -> None:
    answer = await router.post("/api/v1/images", {"model": "openai/gpt-image-1", "prompt": "A cat"})

    assert (await answer.json())["data"] == [{"b64_json": PICTURE}]


async def test_edits_of_images(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    found = await client.images.edit(model="gpt-image-1", prompt="A hat", image=[("cat.png", b"cat", "image/png")])

    assert (found.data or [])[0].b64_json == PICTURE
    assert upstream.forms[0]["model"] == "gpt-image-1"
    assert upstream.forms[0]["prompt"] == "A hat"
    assert ("cat.png", b"cat") in upstream.forms[0].values()


# --- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/moderations", {"input": "a"}),
        ("/v1/audio/speech", {"input": "a", "voice": "alloy"}),
        ("/v1/images/generations", {"prompt": "a"}),
        ("/v1/rerank", {"query": "q", "documents": ["a"]}),
    ],
)
async def test_without_an_endpoint_of_the_modality(router: Running, path: str, body: dict[str, Any]) -> None:
    answer = await router.post(path, {"model": "anthropic/claude-sonnet-4-5", **body})

    assert (answer.status, (await answer.json())["error"]["code"]) == (404, "no_endpoints")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/moderations", {}, "input"),
        ("/v1/audio/speech", {"model": "tts-1"}, "input"),
        ("/v1/audio/speech", {"input": "a"}, "model"),
        ("/v1/images/generations", {"model": "gpt-image-1"}, "prompt"),
    ],
)
async def test_members_that_must_be_there(router: Running, path: str, body: dict[str, Any], param: str) -> None:
    answer = await router.post(path, body)

    assert (answer.status, (await answer.json())["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b"{}", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\na\r\n--x--\r\n", 400),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\na', 400),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--x--\r\n',
            400,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="provider"\r\n\r\n{"only":\r\n--x--\r\n',
            400,
        ),
    ],
)
async def test_forms_that_are_none(router: Running, kind: str, body: bytes, status: int) -> None:
    answer = await router.post("/v1/audio/transcriptions", body, headers={"Content-Type": kind})

    assert answer.status == status, await answer.text()
    assert "error" in await answer.json()


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/videos/video_1/content", "/v1/realtime", "/api/v1/realtime/calls"])
async def test_what_is_reserved(router: Running, path: str) -> None:
    answer = await router.get(path)

    assert (answer.status, (await answer.json())["error"]["code"]) == (501, "not_implemented")
