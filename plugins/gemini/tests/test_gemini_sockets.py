"""The plugin over real sockets: what it sends, and how it takes what comes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from router_gemini import Gemini, GeminiSettings

from router.call import Call, Candidate, Endpoint
from router.dialects.base import Dialect
from router.errors import (
    StreamTruncated,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamUnauthorized,
)
from router.events import Reply, TextDelta
from router.model import ChatRequest, Message, Model, Text
from router.provider import Timeouts
from router.testing import FakeUpstream, json_answer, sse_answer, until

Read = Callable[[str], dict[str, Any]]
KEY = "AIzaSyNotARealKeyAtAllButLongEnough0000"


@pytest.fixture
async def live(upstream: FakeUpstream) -> AsyncIterator[Gemini]:
    """An instance whose Google is on loopback."""
    provider = Gemini("gemini", GeminiSettings(plugin="gemini", api_key=KEY, base_url=upstream.url), Timeouts())
    await provider.open()
    yield provider
    await provider.close()


def call_of(provider: Gemini, *, stream: bool) -> tuple[Call, Candidate]:
    call = Call(dialect=Dialect(), body=b"", headers={}, path={}, presented=None, started_s=0.0)
    call.head.stream = stream
    request = ChatRequest(
        model="gemini-3-flash-preview",
        messages=[Message(role="user", content=[Text(text="Hei på deg")])],
        stream=stream,
    )
    call.outgoing = provider.encode(request)
    endpoint = Endpoint(provider=provider, model_id="gemini/x", model=Model(id="gemini-3-flash-preview"))
    return call, Candidate(endpoint=endpoint, credential=provider.credentials[0])


def frames(recorded: dict[str, Any], size: int = 7) -> list[bytes]:
    """The recorded stream in pieces that cut through events and characters."""
    raw = recorded["response"]["sse"].encode()
    return [raw[at : at + size] for at in range(0, len(raw), size)]


async def test_a_whole_answer(live: Gemini, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(json_answer(recording("plain_tools")["response"]["body"]))
    call, candidate = call_of(live, stream=False)

    async with live.send(call, candidate) as answer:
        reply = live.decode(await answer.read())

    (asked,) = upstream.asked
    assert (asked.method, asked.path) == ("POST", "/v1beta/models/gemini-3-flash-preview:generateContent")
    assert asked.headers["x-goog-api-key"] == KEY
    assert "Authorization" not in asked.headers
    assert asked.body == {"contents": [{"role": "user", "parts": [{"text": "Hei på deg"}]}]}
    assert reply.choices[0].text == "Let me look."


async def test_a_stream(live: Gemini, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(sse_answer(frames(recording("stream_text"))))
    call, candidate = call_of(live, stream=True)

    async with live.send(call, candidate) as answer:
        assert answer.stream
        reply = await Reply.from_events(live.events(live.messages(answer)))

    assert upstream.asked[0].path.endswith(":streamGenerateContent?alt=sse")
    assert reply.choices[0].text == "Grüße aus Ås, 🌍!"


async def test_a_connection_that_breaks(live: Gemini, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(sse_answer(frames(recording("stream_text"), 100)[:5], pause_s=0.02, cut=True))
    call, candidate = call_of(live, stream=True)
    text = ""

    with pytest.raises(StreamTruncated):
        async with live.send(call, candidate) as answer:
            async for event in live.events(live.messages(answer)):
                text += event.text if isinstance(event, TextDelta) else ""

    assert text == "Grüße aus"


async def test_a_wrong_key_is_ours_and_never_shown(live: Gemini, upstream: FakeUpstream) -> None:
    message = f"API key not valid: {KEY}. Please pass a valid API key."
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    body = {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT", "details": details}}
    upstream.will(json_answer(body, status=400))
    call, candidate = call_of(live, stream=False)

    with pytest.raises(UpstreamUnauthorized) as failed:
        async with live.send(call, candidate):
            pass

    assert KEY not in failed.value.message
    assert failed.value.status == 502


async def test_an_error_in_the_stream(live: Gemini, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(sse_answer(frames(recording("error_inside"))))
    call, candidate = call_of(live, stream=True)

    with pytest.raises(UpstreamOverloaded):
        async with live.send(call, candidate) as answer:
            await Reply.from_events(live.events(live.messages(answer)))


async def test_leaving_early_closes_the_connection(live: Gemini, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(sse_answer(frames(recording("stream_text")), pause_s=0.05))
    call, candidate = call_of(live, stream=True)

    async with live.send(call, candidate) as answer:
        async for event in live.events(live.messages(answer)):
            if isinstance(event, TextDelta):
                break

    await until(lambda: upstream.left, 2)
    assert upstream.finished == 0


async def test_the_list_of_models_page_by_page(live: Gemini, upstream: FakeUpstream) -> None:
    flash = {
        "name": "models/gemini-9-flash",
        "displayName": "Gemini 9 Flash",
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "thinking": True,
    }
    words = {"name": "models/words-1", "supportedGenerationMethods": ["embedContent"]}
    upstream.will(
        json_answer({"models": [flash, words], "nextPageToken": "a/b"}),
        json_answer({"models": [flash | {"name": "models/gemini-9-pro", "displayName": None}]}),
    )

    models = await live.models()

    assert [asked.path for asked in upstream.asked] == [
        "/v1beta/models?pageSize=1000",
        "/v1beta/models?pageSize=1000&pageToken=a%2Fb",
    ]
    assert upstream.asked[0].method == "GET"
    assert [(model.id, model.name) for model in models] == [
        ("gemini-9-flash", "Gemini 9 Flash"),
        ("gemini-9-pro", "gemini-9-pro"),
    ]
    assert (models[0].context_length, models[0].max_output, models[0].reasoning) == (1048576, 65536, True)


@pytest.mark.parametrize("body", [b"<html>", b'{"models":3}'])
async def test_a_list_that_cannot_be_read(body: bytes, live: Gemini, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(body))

    with pytest.raises(UpstreamError):
        await live.models()


async def test_a_list_that_is_refused(live: Gemini, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(json_answer(recording("error_key")["response"]["body"], status=400))

    with pytest.raises(UpstreamUnauthorized):
        await live.models()


async def test_compressed_and_chunked_answers(live: Gemini, upstream: FakeUpstream, recording: Read) -> None:
    content = json.dumps(recording("plain_tools")["response"]["body"]).encode()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json; charset=UTF-8"})
        response.enable_compression(web.ContentCoding.gzip)
        response.enable_chunked_encoding()
        await response.prepare(request)
        for at in range(0, len(content), 100):
            await response.write(content[at : at + 100])
        return response

    upstream.will(answer)
    call, candidate = call_of(live, stream=False)

    async with live.send(call, candidate) as opened:
        assert live.decode(await opened.read()).choices[0].text == "Let me look."


# --- counting --------------------------------------------------------------------------------------------------------

ASKED = ChatRequest(model="gemini-2.5-flash", messages=[Message(role="user", content=[Text(text="Hei på deg")])])


async def test_google_counts_the_request_that_would_be_sent(live: Gemini, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"totalTokens": 31, "promptTokensDetails": []}))

    counted = await live.count_tokens(ASKED, live.credentials[0])

    assert counted == 31
    (asked,) = upstream.asked
    assert asked.path == "/v1beta/models/gemini-2.5-flash:countTokens"
    assert asked.headers["x-goog-api-key"] == KEY
    contents = [{"role": "user", "parts": [{"text": "Hei på deg"}]}]
    assert asked.body == {"generateContentRequest": {"model": "models/gemini-2.5-flash", "contents": contents}}


@pytest.mark.parametrize(
    "answer", [json_answer({"error": {"code": 503, "message": KEY}}, status=503), json_answer(b"no")]
)
async def test_a_count_that_fails_tells_no_key(live: Gemini, upstream: FakeUpstream, answer: Any) -> None:
    upstream.will(answer)

    with pytest.raises(UpstreamError) as caught:
        await live.count_tokens(ASKED, live.credentials[0])

    assert KEY not in caught.value.message
