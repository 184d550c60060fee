"""Speech, pictures and transcripts that stream: relayed as they come, over sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from router.settings import Settings
from router.testing import FakeUpstream, Running, json_answer, running, sse_answer
from router.testing.upstream import Handler

PIECE = bytes(range(256)) * 256
SPEECH = {"model": "openai/tts-1", "voice": "alloy", "input": "Hi"}
SPOKEN_EVENTS = {"model": "openai/gpt-4o-mini-tts", "voice": "alloy", "input": "Hi", "stream_format": "sse"}
PICTURES = {"model": "openai/gpt-image-2", "prompt": "A cat", "stream": True}
COUNTED = {"input_tokens": 4, "output_tokens": 100, "total_tokens": 104}


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


PARTIAL = event("image_generation.partial_image", b64_json="aGk=", partial_image_index=0)
COMPLETED = event("image_generation.completed", b64_json="aGk=", usage=COUNTED)


@pytest.fixture
async def router(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[Running]:
    settings = Settings(
        providers={"openai": {"plugin": "openai", "base_url": f"{upstream.url}/v1", "api_key": "upstream-key"}}
    )
    settings.stream.keepalive_seconds = settings.stream.header_delay_seconds = 0.05
    async with running(settings, tmp_path) as router:
        yield router


def ask(router: Running, path: str, body: Any) -> Any:
    """The open answer: nothing is read of it yet."""
    headers = {"Authorization": f"Bearer {router.key}"}
    return router.session.post(router.url + path, json=body, headers=headers, read_bufsize=2**16)


async def row(router: Running, answer: aiohttp.ClientResponse) -> dict[str, Any]:
    id = answer.headers["X-Generation-Id"]
    for _ in range(100):
        found = await router.get(f"/api/v1/generation?id={id}")
        if found.status == 200:
            told: dict[str, Any] = (await found.json())["data"]
            return told
        await asyncio.sleep(0.05)
    raise AssertionError("no row was written")


def in_step(kind: str, pieces: list[bytes], go_on: asyncio.Event) -> Handler:
    """The first piece at once, the others when the client has got it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        await response.write(pieces[0])
        await asyncio.wait_for(go_on.wait(), 20)
        for piece in pieces[1:]:
            await response.write(piece)
        return response

    return answer


def sound(pieces: int, *, cut: bool = False, sent: list[int] | None = None) -> Handler:
    """So many pieces of sound; `sent` learns how many were taken."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/mpeg"})
        await response.prepare(request)
        for number in range(pieces):
            await response.write(PIECE)
            if sent is not None:
                sent[0] = number + 1
        if cut and request.transport is not None:
            request.transport.abort()
        return response

    return answer


# --- as they come ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "kind", "pieces"),
    [
        ("/v1/audio/speech", SPEECH, "audio/mpeg", [b"first ", b"and ", b"last"]),
        ("/v1/images/generations", PICTURES, "text/event-stream", [PARTIAL, COMPLETED]),
        (
            "/v1/audio/speech",
            SPOKEN_EVENTS,
            "text/event-stream",
            [event("speech.audio.delta", audio="aGk="), event("speech.audio.done", usage=COUNTED)],
        ),
    ],
    ids=["sound", "pictures", "sound in events"],
)
async def test_the_first_piece_is_there_before_the_upstream_has_sent_the_last(
    router: Running, upstream: FakeUpstream, path: str, body: Any, kind: str, pieces: list[bytes]
) -> None:
    go_on = asyncio.Event()
    upstream.will(in_step(kind, pieces, go_on))

    async with ask(router, path, body) as answer:
        first = await asyncio.wait_for(answer.content.readexactly(len(pieces[0]) - 1), 20)
        go_on.set()
        rest = await answer.read()

    assert first + rest == b"".join(pieces)
    assert answer.headers["Content-Type"].startswith(kind)
    kept = await row(router, answer)
    assert (kept["streamed"], kept["finish_reason"]) == (True, "stop")


async def test_a_client_that_does_not_read_holds_the_upstream_back(router: Running, upstream: FakeUpstream) -> None:
    sent = [0]
    upstream.will(sound(1000, sent=sent))

    async with ask(router, "/v1/audio/speech", SPEECH) as answer:
        await answer.content.readexactly(10)
        before = -1
        while sent[0] != before:
            before = sent[0]
            await asyncio.sleep(0.3)
        stalled = sent[0]
        rest = await answer.read()

    assert stalled < 500
    assert len(rest) == 1000 * len(PIECE) - 10


async def test_a_client_that_leaves_ends_the_upstreams_answer(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(sound(100_000))

    async with ask(router, "/v1/audio/speech", SPEECH) as answer:
        await answer.content.readexactly(10)
        answer.close()

    await asyncio.wait_for(upstream.gone.wait(), 20)
    kept = await row(router, answer)
    assert (kept["cancelled"], kept["priced"]) == (True, False)


# --- usage -----------------------------------------------------------------------------------------------------------


async def test_what_events_count_is_charged(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(sse_answer([PARTIAL, COMPLETED]))

    async with ask(router, "/v1/images/generations", PICTURES) as answer:
        await answer.read()

    kept = await row(router, answer)
    assert (kept["tokens_prompt"], kept["tokens_completion"]) == (4, 100)
    # $5 a million in, $30 out
    assert kept["total_cost"] == pytest.approx(0.00302)


async def test_each_of_several_pictures_counts(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(sse_answer([PARTIAL, COMPLETED, PARTIAL, COMPLETED]))

    async with ask(router, "/v1/images/generations", {**PICTURES, "n": 2}) as answer:
        assert await answer.read() == (PARTIAL + COMPLETED) * 2

    assert (await row(router, answer))["tokens_completion"] == 200


async def test_sound_that_nobody_counts_has_no_cost(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(sound(1))

    async with ask(router, "/v1/audio/speech", SPEECH) as answer:
        assert await answer.read() == PIECE

    kept = await row(router, answer)
    assert (kept["priced"], kept["api_type"]) == (False, "speech")


async def test_the_row_is_there_before_the_last_byte(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(sse_answer([PARTIAL, COMPLETED]))

    async with ask(router, "/v1/images/generations", PICTURES) as answer:
        await answer.content.readexactly(len(PARTIAL + COMPLETED))
        found = await router.get(f"/api/v1/generation?id={answer.headers['X-Generation-Id']}")

    assert found.status == 200


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "given", "status"),
    [
        ("/v1/audio/speech", SPEECH, json_answer({"error": {"message": "No."}}, status=400), 400),
        ("/v1/audio/speech", SPEECH, sound(0), 502),
        ("/v1/images/generations", PICTURES, sse_answer([]), 502),
        ("/v1/images/generations", PICTURES, sse_answer([b"data: nonsense\n\n"]), 502),
        (
            "/v1/images/generations",
            PICTURES,
            sse_answer([b'data: {"type":"error","error":{"code":"rate_limit_exceeded","message":"Slow down."}}\n\n']),
            429,
        ),
    ],
    ids=["refused", "empty", "no events", "nonsense", "error"],
)
async def test_what_fails_before_the_first_byte_has_a_status(
    router: Running, upstream: FakeUpstream, path: str, body: Any, given: Handler, status: int
) -> None:
    upstream.will(given)

    async with ask(router, path, body) as answer:
        told = await answer.json()

    assert answer.status == status, told
    assert "error" in told


async def test_a_late_first_byte_does_not_hide_an_error(router: Running, upstream: FakeUpstream) -> None:
    """Longer than the time after which a chat's head would be sent."""
    upstream.will(json_answer({"error": {"message": "No."}}, status=400, delay_s=0.3))

    async with ask(router, "/v1/images/generations", PICTURES) as answer:
        assert answer.status == 400


async def test_sound_that_is_cut_is_cut_for_the_client(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(sound(3, cut=True))

    async with ask(router, "/v1/audio/speech", SPEECH) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()

    kept = await row(router, answer)
    assert (kept["finish_reason"], kept["total_cost"]) == ("error", 0)


@pytest.mark.parametrize("rest", [b"", COMPLETED[:-10]], ids=["between events", "within an event"])
async def test_events_that_are_cut_end_in_an_error(router: Running, upstream: FakeUpstream, rest: bytes) -> None:
    upstream.will(sse_answer([PARTIAL, PARTIAL + rest]))

    async with ask(router, "/v1/images/generations", PICTURES) as answer:
        told = await answer.read()

    assert told.startswith(PARTIAL + PARTIAL)
    last = told.removeprefix(PARTIAL + PARTIAL)
    assert last.startswith(b"event: error\ndata: {")
    assert json.loads(last.partition(b"data: ")[2])["error"]["code"] == "upstream_error"


async def test_an_error_among_the_events_is_told_in_our_words(router: Running, upstream: FakeUpstream) -> None:
    failed = b'data: {"type":"error","error":{"code":"server_error","message":"It broke."}}\n\n'
    upstream.will(sse_answer([PARTIAL, failed]))

    async with ask(router, "/v1/images/generations", PICTURES) as answer:
        told = await answer.read()

    assert b"It broke." in told
    assert b"request_id" in told


async def test_an_upstream_that_does_not_stream_is_relayed_whole(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"created": 1, "data": [{"b64_json": "aGk="}], "usage": COUNTED}))

    async with ask(router, "/v1/images/generations", PICTURES) as answer:
        told = await answer.json()

    assert told["data"] == [{"b64_json": "aGk="}]
    assert answer.headers["X-Router-Cost"] == "0.00302"
    assert (await row(router, answer))["streamed"] is False
