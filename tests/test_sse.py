"""Upstream event streams: what aiohttp-sse-client 0.2.1 does on its own must reach nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from aiohttp_sse_client.client import EventSource
from hypothesis import given
from hypothesis import strategies as st

from router.errors import UpstreamBusy, UpstreamUnavailable
from router.provider import Outgoing, Provider, ProviderSettings, Timeouts, Upstream
from router.sse import Frames, MessageEvent, data_of, frame, open_events

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Plain(Provider):
    """The base class as it is."""

    name = "plain"


async def served(handler: Handler) -> tuple[TestServer, Provider]:
    """A server with one POST route, and a provider that points to it."""
    app = web.Application()
    app.router.add_post("/stream", handler)
    server = TestServer(app)
    await server.start_server()
    settings = ProviderSettings(plugin="plain", base_url=str(server.make_url("")), api_key="secret-of-the-provider")
    return server, Plain("plain", settings, Timeouts())


async def whole(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def read(*pieces: bytes) -> list[MessageEvent]:
    return [event async for event in open_events(whole(list(pieces)))]


async def data(*pieces: bytes) -> list[str]:
    return [event.data for event in await read(*pieces)]


class Open:
    """A provider's answer as a context."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    async def __aenter__(self) -> Upstream:
        from types import SimpleNamespace

        call = SimpleNamespace(outgoing=Outgoing(path="/stream", body=b"{}"), head=SimpleNamespace(stream=True))
        candidate = SimpleNamespace(credential=self.provider.credentials[0])
        self.context = self.provider.send(call, candidate)  # type: ignore[arg-type]
        return await self.context.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await self.context.__aexit__(*error)  # type: ignore[arg-type]
        await self.provider.close()


def streaming(body: bytes, count: list[int]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        count.append(1)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(body)
        return response

    return handler


async def test_the_library_alone_sends_the_post_again() -> None:
    """The fact that this door exists for: if this fails, a newer library may be used more directly."""
    count: list[int] = []
    server, _ = await served(streaming(b"retry: 1\ndata: x\n\n", count))
    async with ClientSession() as session:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                source = EventSource(str(server.make_url("/stream")), option={"method": "POST"}, session=session)
                async with source as events:
                    async for _ in events:
                        pass
    await server.close()
    assert len(count) > 1


async def test_a_stream_that_ends_is_not_asked_for_again() -> None:
    count: list[int] = []
    server, provider = await served(streaming(b"retry: 1\ndata: x\n\n", count))

    async with Open(provider) as upstream:
        events = [event async for event in provider.messages(upstream)]
    await asyncio.sleep(0.05)
    await server.close()

    assert [event.data for event in events] == ["x"]
    assert len(count) == 1


async def test_status_and_body_of_an_error_are_kept() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(
            {"error": {"message": "slow down, secret-of-the-provider", "code": "busy"}},
            status=429,
            headers={"Retry-After": "7"},
        )

    server, provider = await served(handler)
    with pytest.raises(UpstreamBusy) as caught:
        async with Open(provider):
            pass
    await provider.close()
    await server.close()

    assert caught.value.upstream_status == 429
    assert caught.value.provider_code == "busy"
    assert caught.value.retry_after_s == 7
    assert caught.value.message == "slow down, ***"


async def test_retry_is_not_obeyed() -> None:
    assert await data(b"retry: 99999999\ndata: a\n\n", b"data: b\n\n") == ["a", "b"]


async def test_a_line_of_a_megabyte_arrives() -> None:
    text = "x" * (1 << 20)
    count: list[int] = []
    server, provider = await served(streaming(f"data: {text}\n\n".encode(), count))
    async with Open(provider) as upstream:
        events = [event async for event in provider.messages(upstream)]
    await server.close()
    assert [event.data for event in events] == [text]


async def test_a_line_without_end_is_refused_at_sixteen_megabytes() -> None:
    with pytest.raises(UpstreamUnavailable, match="16 MB"):
        await data(b"data: ", *[b"x" * (1 << 20)] * 17)


async def test_a_last_event_without_a_blank_line_is_not_lost() -> None:
    assert await data(b"data: a\n\ndata: b") == ["a", "b"]
    assert await data(b"data: a\n\ndata: b\n") == ["a", "b"]


async def test_only_one_leading_space_is_taken_off() -> None:
    assert await data(b"data:   indented\n\n", b"data:none\n\n") == ["  indented", "none"]


async def test_byte_order_mark_and_every_line_end() -> None:
    assert await data(b"\xef\xbb\xbfdata: a\r\rdata: b\r\n\r\ndata: c\n\n") == ["a", "b", "c"]
    assert await data(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == ["a\nb"]


async def test_comments_names_and_several_lines() -> None:
    events = await read(b": ping\nevent: delta\nid: 7\ndata: a\ndata: b\n\nevent: empty\n\ndata: c\n\n")
    assert [(event.type, event.data, event.last_event_id) for event in events] == [
        ("delta", "a\nb", "7"),
        (None, "c", "7"),
    ]


async def test_bytes_that_are_not_utf8_are_an_error_of_the_upstream() -> None:
    with pytest.raises(UpstreamUnavailable, match="UTF-8"):
        await data(b"data: \xff\n\n")


async def test_leaving_early_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"data: more\n\n")
                await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.CancelledError):
            closed.set()
            raise

    server, provider = await served(handler)
    with pytest.raises(KeyError):
        async with Open(provider) as upstream:
            async for _ in provider.messages(upstream):
                raise KeyError
    await asyncio.wait_for(closed.wait(), 1)
    await server.close()


async def test_nothing_of_a_stream_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await data(b"data: a secret prompt\n\n")
    assert "secret" not in caplog.text


EVENTS = st.lists(
    st.tuples(st.sampled_from(["\n", "\r\n", "\r"]), st.text('aé😀 :{}"', min_size=1, max_size=8)), max_size=5
)


def spelled(events: list[tuple[str, str]]) -> bytes:
    return "".join(f": c{end}event: x{end}data: {text}{end}{end}" for end, text in events).encode()


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """The body in pieces; places are taken modulo its length."""
    edges = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [body[start:end] for start, end in pairwise(edges)]


@given(EVENTS, st.lists(st.integers(0, 10_000), max_size=60))
def test_any_split_gives_the_same_events(events: list[tuple[str, str]], places: list[int]) -> None:
    body = spelled(events)
    assert asyncio.run(data(*cut(body, places))) == [text for _, text in events]


@given(EVENTS, st.lists(st.integers(0, 10_000), max_size=60))
def test_any_split_gives_the_same_frames(events: list[tuple[str, str]], places: list[int]) -> None:
    body = spelled(events)
    frames = Frames()
    given = [each for piece in cut(body, places) for each in frames.feed(piece)]
    rest = frames.close()

    assert b"".join(given) + rest == body
    assert [data_of(each).decode() for each in [*given, rest] if data_of(each)] == [text for _, text in events]


def test_a_frame_is_read_back() -> None:
    assert data_of(frame(b'{"a": 1}', event="delta")) == b'{"a": 1}'
    assert data_of(b": comment\n\n") == b""
