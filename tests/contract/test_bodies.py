"""Bodies on their way in: types, encodings, sizes, and clients that send slowly or not at all."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from router import app
from router.settings import ServerSettings
from router.testing import Running

from .envelopes import openai_error

Start = Callable[..., Awaitable[Running]]
CHAT = "/v1/chat/completions"
ASK = {"model": "echo/echo", "messages": [{"role": "user", "content": "hello"}]}
BODY = json.dumps(ASK).encode()
#: the limit of the routers here
LIMIT = 64 * 1024


@pytest.fixture
async def router(start: Start) -> Running:
    return await start(providers={"echo": {"plugin": "echo"}}, server=ServerSettings(max_body_mb=LIMIT / 2**20))


def of_size(size: int) -> bytes:
    """A body of exactly so many bytes."""
    padding = size - len(json.dumps(ASK | {"user": ""}).encode())
    return json.dumps(ASK | {"user": "x" * padding}).encode()


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;charset=UTF-8",
        "application/vnd.api+json",
        "",
    ],
)
async def test_types_of_json(router: Running, kind: str) -> None:
    assert (await router.post(CHAT, BODY, headers={"Content-Type": kind})).status == 200


async def test_no_type_is_json(router: Running) -> None:
    async with router.session.post(
        router.url + CHAT, data=BODY, headers={"x-api-key": router.key}, skip_auto_headers=["Content-Type"]
    ) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "json", "image/png"]
)
async def test_other_types_are_refused(router: Running, kind: str) -> None:
    error = await openai_error(await router.post(CHAT, BODY, headers={"Content-Type": kind}), "unsupported_media_type")

    assert kind in error["message"]


# --- encodings -------------------------------------------------------------------------------------------------------


def raw_deflate(data: bytes) -> bytes:
    """Without the two bytes in front that RFC 9110 asks for and some clients leave out."""
    maker = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return maker.compress(data) + maker.flush()


ENCODED = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("identity", bytes),
    ("GZIP", gzip.compress),
]


@pytest.mark.parametrize(("encoding", "encode"), ENCODED)
async def test_encoded_bodies(router: Running, encoding: str, encode: Callable[[bytes], bytes]) -> None:
    answer = await router.post(CHAT, encode(BODY), headers={"Content-Encoding": encoding})

    assert answer.status == 200
    assert (await answer.json())["choices"][0]["message"]["content"] == "hello"


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "nonsense"])
async def test_encodings_that_are_not_known(router: Running, encoding: str) -> None:
    answer = await router.post(CHAT, BODY, headers={"Content-Encoding": encoding})

    error = await openai_error(answer, "unsupported_media_type")
    assert "gzip or deflate" in error["message"]


BROKEN = {
    "not gzip": ("gzip", BODY),
    "cut": ("gzip", gzip.compress(of_size(5000))[:-20]),
    "damaged": ("gzip", gzip.compress(of_size(5000))[:30] + b"\0" * 30),
    "not deflate": ("deflate", b"\xff" * 100),
    "nothing": ("gzip", b""),
    "rubbish behind it": ("gzip", gzip.compress(BODY) + b"rubbish"),
}


@pytest.mark.parametrize(("encoding", "body"), BROKEN.values(), ids=BROKEN)
async def test_broken_encodings(router: Running, encoding: str, body: bytes) -> None:
    answer = await router.post(CHAT, body, headers={"Content-Encoding": encoding})

    if answer.status != 200:  # what stands behind a whole member may be ignored
        await openai_error(answer, "invalid_request")
    assert answer.status == 400 or body.endswith(b"rubbish")
    assert (await router.post(CHAT, BODY)).status == 200


@pytest.mark.parametrize(("encoding", "encode"), ENCODED[:3])
async def test_bombs_are_refused_by_what_they_unpack_to(
    router: Running, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    """Some kilobytes that would be 32 megabytes: only as much is unpacked as is allowed."""
    bomb = encode(bytes(32 * 2**20))
    assert len(bomb) < LIMIT
    tracemalloc.start()
    try:
        answer = await router.post(CHAT, bomb, headers={"Content-Encoding": encoding})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    await openai_error(answer, "payload_too_large")
    assert peak < 4 * 2**20


# --- sizes -----------------------------------------------------------------------------------------------------------


async def chunked(data: bytes, size: int = 4096) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413), (LIMIT * 10, 413)])
async def test_the_largest_body(router: Running, in_chunks: bool, size: int, status: int) -> None:
    data = of_size(size)
    headers = {"x-api-key": router.key, "Content-Type": "application/json"}

    async with router.session.post(
        router.url + CHAT, data=chunked(data) if in_chunks else data, headers=headers
    ) as answer:
        assert answer.status == status
        if status == 413:
            error = await openai_error(answer, "payload_too_large")
            assert "max_body_mb" in error["message"]


@pytest.mark.parametrize("in_chunks", [False, True])
async def test_who_has_shown_no_key_sends_small_bodies(start: Start, in_chunks: bool) -> None:
    router = await start(providers={"echo": {"plugin": "echo"}})
    data = of_size(1024 * 1024 + 1)

    async with router.session.post(
        router.url + "/v1/auth/cli/device/token",
        data=chunked(data) if in_chunks else io.BytesIO(data),
        headers={"Content-Type": "application/json"},
    ) as answer:
        assert answer.status == 413
        await openai_error(answer, "payload_too_large")


async def test_a_body_that_is_announced_too_large_is_not_waited_for(router: Running) -> None:
    reader, writer = await connect(router, b"Content-Length: 10000000000\r\n\r\n{")

    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)

    assert b" 413 " in head.split(b"\r\n")[0]
    assert b"connection: close" in head.lower()
    writer.close()


# --- slowness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"Content-Length: 500\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
async def test_a_body_that_does_not_come_in_time(
    router: Running, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(app, "BODY_S", 0.2)
    monkeypatch.setattr(app, "SLOWEST_BODY", 10**9)
    reader, writer = await connect(router, begun)

    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    body = await asyncio.wait_for(reader.readuntil(b'"}'), 5)
    writer.close()

    assert b" 408 " in head.split(b"\r\n")[0]
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["code"] == "request_timeout"


async def test_a_client_that_breaks_off_its_body(router: Running) -> None:
    """Nobody is charged, nothing is logged as a bug, and the next one is served."""
    _, writer = await connect(router, b'Content-Length: 500\r\n\r\n{"model":')
    await writer.drain()
    writer.transport.abort()

    assert (await router.post(CHAT, BODY)).status == 200


async def connect(router: Running, begun: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which a call has begun; `begun` goes on behind its first headers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(router.url.rpartition(":")[2]))
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nx-api-key: %b\r\nContent-Type: application/json\r\n"
    writer.write(head % (CHAT.encode(), router.key.encode()) + begun)
    return reader, writer
