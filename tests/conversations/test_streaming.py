"""Streams as clients see them: heads, silence, slow readers, failures, and a router that is told to stop."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from router.settings import CompatSettings, StreamSettings
from router.testing import FakeUpstream, until
from router.testing.upstream import Handler

from .lanes import CUT, INPUT, LANES, OUTPUT, RELAYED, TEXT, WORDS, Lane, sends
from .program import Program
from .stage import stage
from .talk import Broken, talk

STREAM = {"stream": True}
COMMENT = b": ROUTER PROCESSING\n\n"
each_lane = pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)


def quick(**changes: Any) -> StreamSettings:
    """The settings of streams with everything that waits much shorter."""
    return StreamSettings(**{"header_delay_seconds": 0.1, "keepalive_seconds": 0.1, **changes})


# --- the form --------------------------------------------------------------------------------------------------------


@each_lane
async def test_the_head_and_the_chunks(tmp_path: Path, lane: Lane) -> None:
    async with (
        stage(tmp_path, lane, [lane.whole(True)]) as play,
        talk(play.router.url, play.router.key, STREAM) as conversation,
    ):
        await conversation.end()

    headers = conversation.headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache, no-store"
    assert headers["x-accel-buffering"] == "no"
    assert headers["transfer-encoding"] == "chunked"
    assert "content-length" not in headers
    assert (headers["x-router-provider"], headers["x-router-model"], headers["x-router-attempts"]) == (
        "p0",
        "test/m",
        "1",
    )

    chunks = conversation.chunks
    assert conversation.body.startswith(b"data: {")
    assert conversation.events[-1] == "[DONE]"
    assert chunks[0]["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    constant = ("id", "object", "created", "model", "provider")
    assert {tuple(chunk[name] for name in constant) for chunk in chunks} == {
        (headers["x-generation-id"], "chat.completion.chunk", chunks[0]["created"], "test/m", "p0")
    }
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert reasons == ["stop"]
    assert conversation.text == TEXT


@each_lane
@pytest.mark.parametrize(
    ("compat", "asked", "apart"),
    [("auto", None, False), ("auto", True, True), ("same", True, False), ("separate", None, True)],
)
async def test_where_usage_stands(tmp_path: Path, lane: Lane, compat: Any, asked: bool | None, apart: bool) -> None:
    body = {**STREAM, **({"stream_options": {"include_usage": asked}} if asked is not None else {})}
    async with (
        stage(tmp_path, lane, [lane.whole(True)], compat=CompatSettings(usage_chunk=compat)) as play,
        talk(play.router.url, play.router.key, body) as conversation,
    ):
        chunks = (await conversation.end()).chunks

    assert [bool(chunk.get("usage")) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert (chunks[-1]["usage"]["prompt_tokens"], chunks[-1]["usage"]["completion_tokens"]) == (INPUT, OUTPUT)
    assert (chunks[-1]["choices"] == []) == apart
    assert chunks[-2 if apart else -1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_page_may_read_what_it_asked_for(tmp_path: Path, stream: bool) -> None:
    page = {"Origin": "https://app.example"}
    async with stage(tmp_path, RELAYED, [RELAYED.whole(stream)]) as play:
        play.router.server.settings.server.cors_origins = ["https://app.example"]
        for headers, allowed in ((page, "https://app.example"), ({"Origin": "https://other.example"}, None)):
            async with talk(play.router.url, play.router.key, {"stream": stream}, headers) as conversation:
                await conversation.end()
            assert conversation.headers.get("access-control-allow-origin") == allowed


def one_word(lane: Lane, go: asyncio.Event) -> Handler:
    """Says one word, and the rest when the event is set."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(lane.opening() + lane.says(WORDS[0]))
        await go.wait()
        await response.write(lane.says(WORDS[1]) + lane.says(WORDS[2]) + lane.ending())
        return response

    return answer


@each_lane
async def test_each_event_is_sent_on_as_it_comes(tmp_path: Path, lane: Lane) -> None:
    """The second word is not even written when the first one has been read."""
    read = asyncio.Event()

    async with (
        stage(tmp_path, lane, [one_word(lane, read)]) as play,
        talk(play.router.url, play.router.key, STREAM) as conversation,
    ):
        await conversation.head()
        await conversation.until(WORDS[0].encode())
        assert WORDS[1].encode() not in conversation.body
        read.set()
        assert (await conversation.end()).text == TEXT


async def test_a_client_of_1996_gets_a_stream_too(tmp_path: Path) -> None:
    """HTTP/1.0 knows no chunks: the end of the connection is the end of the answer."""
    async with (
        stage(tmp_path, RELAYED, [RELAYED.whole(True)]) as play,
        talk(play.router.url, play.router.key, STREAM, version="1.0") as conversation,
    ):
        await conversation.head()
        assert "transfer-encoding" not in conversation.headers
        body = await conversation.to_the_close()

    assert body.endswith(b"data: [DONE]\n\n")


@each_lane
async def test_a_stream_of_an_endpoint_that_does_not_stream(tmp_path: Path, lane: Lane) -> None:
    async with (
        stage(tmp_path, lane, [lane.whole(False)]) as play,
        talk(play.router.url, play.router.key, STREAM) as conversation,
    ):
        await conversation.end()

    assert conversation.text == TEXT
    assert sum(bool(chunk["choices"][0]["delta"].get("content")) for chunk in conversation.chunks) == 1
    assert conversation.chunks[-1]["choices"][0]["finish_reason"] == "stop"


@each_lane
async def test_a_plain_answer_of_an_endpoint_that_only_streams(tmp_path: Path, lane: Lane) -> None:
    async with (
        stage(tmp_path, lane, [lane.whole(True)]) as play,
        talk(play.router.url, play.router.key) as conversation,
    ):
        await conversation.end()

    assert (conversation.text, conversation.json["choices"][0]["finish_reason"]) == (TEXT, "stop")
    assert conversation.json["usage"]["completion_tokens"] == OUTPUT


@each_lane
async def test_always_stream(tmp_path: Path, lane: Lane) -> None:
    """For clients of a service that answers with a stream whether one was asked for or not."""
    async with (
        stage(tmp_path, lane, [lane.whole(True)], compat=CompatSettings(always_stream=True)) as play,
        talk(play.router.url, play.router.key) as conversation,
    ):
        await conversation.end()
        sent = play.upstreams[0].asked[0].body

    assert conversation.events[-1] == "[DONE]"
    assert conversation.text == TEXT
    assert sent["stream"] is True


@each_lane
async def test_the_connection_to_the_upstream_is_used_again(tmp_path: Path, lane: Lane) -> None:
    """Though its body ends a moment after its last event."""
    connections = set()

    async def upstream(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        connections.add(request.transport.get_extra_info("peername"))
        return await sends(lane.opening(), lane.says(TEXT), lane.ending(), 0.03)(request)

    async with stage(tmp_path, lane, [upstream]) as play:
        for count in range(1, 4):
            async with talk(play.router.url, play.router.key, STREAM) as conversation:
                await conversation.end()
            await until(lambda: play.upstreams[0].finished == count, 1)  # noqa: B023 - used at once
            await asyncio.sleep(0.02)

        assert len(connections) == 1
        assert play.left == 0


# --- silence ---------------------------------------------------------------------------------------------------------


@each_lane
async def test_silence_is_filled_with_comments(tmp_path: Path, lane: Lane) -> None:
    upstream = sends(lane.opening(), lane.says(WORDS[0]), 0.45, lane.says(WORDS[1]), lane.says(WORDS[2]), lane.ending())
    async with (
        stage(tmp_path, lane, [upstream], stream=quick(header_delay_seconds=15)) as play,
        talk(play.router.url, play.router.key, STREAM) as conversation,
    ):
        await conversation.end()

    assert 2 <= conversation.body.count(COMMENT) <= 4
    assert conversation.text == TEXT


@pytest.mark.parametrize(
    ("settings", "headers"), [(quick(comments=False), {}), (quick(), {"X-Router-No-Comments": "1"})]
)
async def test_comments_can_be_declined(tmp_path: Path, settings: StreamSettings, headers: dict[str, str]) -> None:
    """The head is sent all the same."""
    heard = asyncio.Event()

    async def upstream(request: web.Request) -> web.StreamResponse:
        await heard.wait()
        return await sends(RELAYED.opening(), RELAYED.says(WORDS[0]), 0.3, RELAYED.ending())(request)

    async with (
        stage(tmp_path, RELAYED, [upstream], stream=settings) as play,
        talk(play.router.url, play.router.key, STREAM, headers) as conversation,
    ):
        await conversation.head()
        await asyncio.sleep(0.2)
        heard.set()
        await conversation.end()

    assert b": " not in conversation.body.replace(b"data: ", b"").replace(b'": ', b'":')
    assert conversation.text == WORDS[0]


@each_lane
async def test_the_head_does_not_wait_for_content(tmp_path: Path, lane: Lane) -> None:
    upstream = sends(lane.opening(), 0.3, *map(lane.says, WORDS), lane.ending())
    async with (
        stage(tmp_path, lane, [upstream], stream=quick()) as play,
        talk(play.router.url, play.router.key, STREAM) as conversation,
    ):
        await conversation.head()
        await conversation.until(COMMENT)
        assert conversation.body == COMMENT
        await conversation.end()

    assert conversation.status == 200
    assert conversation.text == TEXT


async def test_a_plain_answer_is_waited_for_without_a_sound(tmp_path: Path) -> None:
    async with (
        stage(tmp_path, RELAYED, [RELAYED.whole(False, pause_s=0.3)], stream=quick()) as play,
        talk(play.router.url, play.router.key) as conversation,
    ):
        await conversation.end()

    assert conversation.json["choices"][0]["message"]["content"] == TEXT


@each_lane
async def test_behind_the_head_a_failure_is_told_in_the_stream(tmp_path: Path, lane: Lane) -> None:
    async def late(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.25)
        return await lane.fails(429, "too many of you", "rate_limit_error", {"retry-after": "7"})(request)

    async with (
        stage(tmp_path, lane, [late], stream=quick()) as play,
        talk(play.router.url, play.router.key, STREAM) as conversation,
    ):
        await conversation.end()
        row = (await play.books.come(1))[0]

    assert conversation.status == 200
    assert [list(chunk["choices"][0]["delta"].items()) for chunk in conversation.chunks] == [[("content", "")]]
    assert conversation.chunks[0]["choices"][0]["finish_reason"] == "error"
    assert conversation.chunks[0]["error"]["code"] == "rate_limited"
    assert conversation.chunks[0]["error"]["metadata"]["http_status"] == 429
    assert conversation.events[-1] == "[DONE]"
    assert (row.status, row.http_status, row.charge) == ("error", 429, 0)


@each_lane
async def test_behind_the_head_the_next_endpoint_is_still_asked(tmp_path: Path, lane: Lane) -> None:
    async def late(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.25)
        return await lane.fails(429)(request)

    async with (
        stage(tmp_path, lane, [late], [lane.whole(True)], stream=quick()) as play,
        talk(play.router.url, play.router.key, STREAM) as conversation,
    ):
        await conversation.end()

    assert conversation.text == TEXT
    assert {chunk["provider"] for chunk in conversation.chunks} == {"p1"}


# --- failures --------------------------------------------------------------------------------------------------------


@each_lane
async def test_an_error_in_the_stream_is_told_behind_what_came_before(tmp_path: Path, lane: Lane) -> None:
    upstream = sends(lane.opening(), lane.says("so far"), lane.failing("it burst"))
    async with (
        stage(tmp_path, lane, [upstream]) as play,
        talk(play.router.url, play.router.key, STREAM) as conversation,
    ):
        await conversation.end()
        row = (await play.books.come(1))[0]

    last = conversation.chunks[-1]
    assert conversation.text == "so far"
    assert (last["id"], last["object"], last["model"]) == (row.id, "chat.completion.chunk", "test/m")
    assert last["error"]["metadata"]["error_type"] == "provider_unavailable"
    assert "it burst" in last["error"]["message"]
    assert last["choices"] == [
        {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": None}
    ]
    assert conversation.events[-1] == "[DONE]"
    assert (row.status, row.finish_reason, row.charge) == ("error", "error", 0)


@each_lane
@pytest.mark.parametrize("cut", [(CUT,), ()], ids=["broken", "closed"])
async def test_a_cut_is_never_a_finish(tmp_path: Path, lane: Lane, cut: tuple[Any, ...]) -> None:
    """The upstream's connection breaks, or its body ends properly but too early."""
    frames = lane.ending().split(b"\n\n")
    upstreams = {
        "in the text": (lane.opening(), lane.says("so far")),
        "in an event": (lane.opening(), lane.says("so far"), lane.says("and on")[:-12]),
        "before the reason": (lane.opening(), lane.says("so far"), frames[0][:-4]),
    }
    for steps in upstreams.values():
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        async with (
            stage(folder, lane, [sends(*steps, *cut)]) as play,
            talk(play.router.url, play.router.key, STREAM) as conversation,
        ):
            await conversation.end()

        reasons = [choice["finish_reason"] for chunk in conversation.chunks for choice in chunk["choices"]]
        assert conversation.text.startswith("so far")
        assert reasons[-1] == "error"
        assert set(reasons[:-1]) == {None}
        assert conversation.chunks[-1]["error"]["code"] == "upstream_error"


# --- slow readers ----------------------------------------------------------------------------------------------------


class Fountain:
    """An upstream that never ends. `written` counts its bytes."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.written = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(self.lane.opening())
        chunk = self.lane.says("x" * 20_000)
        while True:
            await response.write(chunk)
            self.written += len(chunk)


@each_lane
async def test_a_reader_that_stalls_stalls_the_upstream_and_is_dropped(tmp_path: Path, lane: Lane) -> None:
    fountain = Fountain(lane)
    async with stage(tmp_path, lane, [fountain], stream=StreamSettings(write_timeout_seconds=1)) as play:
        async with talk(play.router.url, play.router.key, STREAM, receive_buffer=4096) as conversation:
            await conversation.head()
            filled = -1
            while fountain.written > filled:
                filled = fountain.written
                await asyncio.sleep(0.2)
            # The kernel's buffers are full, and ours hold next to nothing.
            assert not play.left
            assert filled < 20_000_000

            await until(lambda: play.left, 3)
            row = (await play.books.come(1))[0]
            with pytest.raises(Broken):
                await conversation.end()

        assert (row.status, row.estimated) == ("cancelled", True)
        assert row.output >= len(conversation.text) // 4
        assert row.charge


@each_lane
async def test_a_reader_that_pauses_gets_everything(tmp_path: Path, lane: Lane) -> None:
    words = [f"{number:06}" + "x" * 5000 for number in range(600)]
    upstream = sends(lane.opening(), *map(lane.says, words), lane.ending())
    async with (
        stage(tmp_path, lane, [upstream], stream=StreamSettings(write_timeout_seconds=5)) as play,
        talk(play.router.url, play.router.key, STREAM, receive_buffer=4096) as conversation,
    ):
        await conversation.head()
        await asyncio.sleep(0.3)
        await conversation.end()

    assert conversation.text == "".join(words)


async def test_a_reader_of_a_large_plain_answer_is_dropped_too(tmp_path: Path) -> None:
    async with (
        stage(
            tmp_path,
            RELAYED,
            [RELAYED.whole(False, text="x" * 20_000_000)],
            stream=StreamSettings(write_timeout_seconds=0.3),
        ) as play,
        talk(play.router.url, play.router.key, receive_buffer=4096) as conversation,
    ):
        await conversation.head()
        await until(lambda: play.router.server.lifecycle.running == 0, 3)
        with pytest.raises(Broken):
            await conversation.end()


# --- being told to stop ----------------------------------------------------------------------------------------------


@pytest.fixture
async def waiting() -> AsyncIterator[tuple[FakeUpstream, asyncio.Event]]:
    """An upstream that says one word, and the rest when the event is set."""
    go = asyncio.Event()

    async with FakeUpstream().listening() as upstream:
        upstream.will(one_word(RELAYED, go))
        yield upstream, go


async def test_on_sigterm_running_streams_are_finished(
    tmp_path: Path, waiting: tuple[FakeUpstream, asyncio.Event]
) -> None:
    upstream, go = waiting
    program = Program(tmp_path, upstream.url)
    try:
        await program.start()
        async with talk(program.url, program.key, STREAM) as conversation:
            await conversation.head()
            await conversation.until(WORDS[0].encode())
            program.signal(signal.SIGTERM)
            await refused(program)
            go.set()
            await conversation.end()
            assert conversation.text == TEXT
            ended = time.monotonic()
            assert await program.ended() == 0
            assert time.monotonic() - ended < 10
    finally:
        await program.kill()

    assert [(row.status, row.charge) for row in program.books.rows()] == [("ok", 20_000_000)]
    program.books.sound()


async def refused(program: Program) -> None:
    """Wait until nobody listens any more."""
    host, port = program.url.removeprefix("http://").split(":")
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(5):
            while True:
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(("drain_s", "signals"), [(0.3, 1), (30, 2)], ids=["drain_time_over", "second_signal"])
async def test_what_does_not_finish_is_told_why_it_ends(
    tmp_path: Path, waiting: tuple[FakeUpstream, asyncio.Event], drain_s: float, signals: int
) -> None:
    upstream, _ = waiting
    program = Program(tmp_path, upstream.url, drain_s=drain_s)
    try:
        await program.start()
        async with (
            talk(program.url, program.key, STREAM) as begun,
            talk(program.url, program.key, {"stream": False}) as unbegun,
        ):
            await begun.head()
            await begun.until(WORDS[0].encode())
            await until(lambda: len(upstream.asked) == 2, 1)
            told = time.monotonic()
            for _ in range(signals):
                program.signal(signal.SIGTERM)
                await asyncio.sleep(0.1)
            await begun.end()
            await unbegun.end()
            assert await program.ended() == 0
            assert time.monotonic() - told < 10
    finally:
        await program.kill()

    assert begun.chunks[-1]["choices"][0]["finish_reason"] == "error"
    assert begun.chunks[-1]["error"]["metadata"]["http_status"] == 503
    assert "shutting down" in begun.chunks[-1]["error"]["message"]
    assert begun.events[-1] == "[DONE]"
    assert (unbegun.status, unbegun.json["error"]["code"]) == (503, "no_available_provider")
    assert sorted((row.status, row.http_status, row.charge) for row in program.books.rows()) == [("error", 503, 0)] * 2
    program.books.sound()
