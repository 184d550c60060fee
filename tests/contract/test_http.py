"""Bytes that are no HTTP, or hardly: a JSON answer or none at all, never a page, and never an echo of what was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from router import app
from router.testing import Running
from tests.serving import Served

from .envelopes import checked

Start = Callable[..., Awaitable[Running]]
BODY = json.dumps({"model": "echo/echo", "messages": [{"role": "user", "content": "hello"}]}).encode()
CANARY = b"canary-7d1f"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
async def router(start: Start) -> Running:
    return await start(providers={"echo": {"plugin": "echo"}})


async def send(router: Running | Served, data: bytes, *, finish: bool = False) -> bytes:
    """Everything that comes back until the router closes, or says nothing for a moment. `finish`: send the end of the stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(router.url.rpartition(":")[2]))
    writer.write(data.replace(b"KEY", router.key.encode()))
    if finish:
        writer.write_eof()
    told = b""
    try:
        while piece := await asyncio.wait_for(reader.read(65536), 0.3 if told else 3):
            told += piece
    except (TimeoutError, ConnectionResetError):
        pass
    writer.close()
    return told


def refused(told: bytes) -> dict[str, str]:
    """The headers of an answer, which must be the only one, with 400 and the envelope of all errors."""
    head, _, body = told.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
    assert line.split()[1] == "400"
    checked(400, headers["content-type"].partition(";")[0], json.loads(body), "invalid_request")
    assert headers["server"] == "onebox-router"
    assert headers["x-request-id"].startswith("req_")
    assert CANARY not in told
    assert b"aiohttp" not in told
    assert b"Python" not in told
    return headers


POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-api-key: KEY\r\nContent-Type: application/json\r\n"
NO_HTTP = {
    "words": CANARY + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + CANARY + bytes(100),
    "SSH": b"SSH-2.0-OpenSSH_9.9 " + CANARY + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method that nobody has": b"BREW /" + CANARY + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method in lower case": b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "a version that nobody has": b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    "a header without a colon": GET + b"Authorization Bearer " + CANARY + b"\r\n\r\n",
    "a header with a space in its name": GET + b"X y: " + CANARY + b"\r\n\r\n",
    "a control character": GET + b"X-Api-Key: " + CANARY + b"\x00\r\n\r\n",
    "a folded header": GET + b"X: a\r\n " + CANARY + b"\r\n\r\n",
    "a header that is too long": GET + b"X: " + CANARY * 2000 + b"\r\n\r\n",
    "too many headers": GET + b"X: 1\r\n" * 5000 + b"\r\n",
    "a path that is too long": b"GET /" + CANARY * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that is no URL": b"GET http://[" + CANARY + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a port that is none": b"GET http://a:99999/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "raw UTF-8 in the path": "GET /v1/models/å HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: y\r\n\r\n",
    "line feeds alone": b"GET /healthz HTTP/1.1\nHost: x\n\n",
    "a length that is none": POST + b"Content-Length: five\r\n\r\n" + CANARY,
    "a negative length": POST + b"Content-Length: -5\r\n\r\n" + CANARY,
    "a length with a sign": POST + b"Content-Length: +5\r\n\r\n" + CANARY,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + CANARY,
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "chunks that are not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunks twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "another transfer": POST + b"Transfer-Encoding: " + CANARY + b"\r\n\r\n0\r\n\r\n",
    "a chunk without a size": POST + b"Transfer-Encoding: chunked\r\n\r\n" + CANARY + b"\r\n0\r\n\r\n",
    "an expectation that is not known": POST + b"Expect: " + CANARY + b"\r\nContent-Length: 2\r\n\r\n{}",
    "an expectation on no path": b"GET /nowhere HTTP/1.1\r\nHost: x\r\nExpect: " + CANARY + b"\r\n\r\n",
}


@pytest.mark.parametrize("data", NO_HTTP.values(), ids=NO_HTTP)
async def test_what_is_no_http_gets_400_and_the_connection_is_closed(served: Served, data: bytes) -> None:
    """Whatever follows on the same connection is never taken for a request."""
    told = await send(served, data + GET + b"\r\n")

    assert refused(told).get("connection", "") == "close" or told.startswith(b"HTTP/1.0")
    assert told.count(b"HTTP/1") == 1


async def test_a_broken_chunk_behind_good_ones(router: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call had begun when it came: it ends like that of a client whose body never comes."""
    monkeypatch.setattr(app, "BODY_S", 0.2)
    monkeypatch.setattr(app, "SLOWEST_BODY", 10**9)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(router.url.rpartition(":")[2]))
    begun = POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(BODY), BODY)
    writer.write(begun.replace(b"KEY", router.key.encode()))
    await asyncio.sleep(0.05)
    writer.write(CANARY + b"\r\n\r\n")

    told = await asyncio.wait_for(reader.readuntil(b'"}'), 5)
    writer.close()

    head, _, body = told.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] in (b"400", b"408")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["type"] in ("invalid_request_error", "timeout_error")
    assert CANARY not in told


async def test_a_body_that_ends_too_early(router: Running) -> None:
    """Whoever closes in the middle of a body gets nothing or an error, and no call is made of it."""
    told = await send(router, POST + b"Content-Length: 500\r\n\r\n" + BODY, finish=True)

    assert b" 200 " not in told.split(b"\r\n")[0]
    assert router.server.ledger.account(router.server.keys.find(router.key)).charged_total == 0  # type: ignore[arg-type]


# --- what is odd, and fine -------------------------------------------------------------------------------------------

CALL = b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
FINE = {
    "lines before the first": b"\r\n\r\n" + GET + b"\r\n",
    "HTTP/1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
    "a whole URL": b"GET http://example.com/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "an odd query": b"GET /healthz?%zz=%&&=&a HTTP/1.1\r\nHost: x\r\n\r\n",
    "a body that nobody wants": GET + b"Content-Length: 5\r\n\r\nhello",
    "a byte in a header that is not ASCII": GET + b"X-Title: \xe5\xff\r\n\r\n",
    "waiting to be told to go on": POST + b"Expect: 100-continue\r\n" + CALL,
    # Java's client asks for it with every first request
    "an upgrade to HTTP/2": POST
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    + CALL,
    "an upgrade to a web socket": POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + CALL,
    "trailers": POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nX-T: 1\r\n\r\n" % (len(BODY), BODY),
    "extensions of chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
}


@pytest.mark.parametrize("data", FINE.values(), ids=FINE)
async def test_what_is_odd_and_fine(served: Served, data: bytes) -> None:
    told = await send(served, data)

    told = told.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert b" 200 " in told.split(b"\r\n")[0]


async def test_requests_one_behind_the_other(served: Served) -> None:
    """Answers come in the order of the requests."""
    told = await send(served, GET + b"\r\n" + POST + CALL + GET.replace(b"healthz", b"nowhere") + b"\r\n")

    statuses = [line.split()[1] for line in told.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert told.count(b"HTTP/1.1 ") == 3
    assert b"HTTP/1.1 404" in told
    assert statuses[0] == b"200"


@pytest.mark.parametrize("path", [b"/v1/models", b"/healthz", b"/nowhere"])
async def test_a_head_has_no_body(served: Served, path: bytes) -> None:
    told = await send(served, b"HEAD %b HTTP/1.1\r\nHost: x\r\nx-api-key: KEY\r\n\r\n" % path)

    head, _, body = told.partition(b"\r\n\r\n")
    assert b" 404 " in head if path == b"/nowhere" else b" 200 " in head
    assert body == b""


async def test_two_credentials_under_the_same_name(served: Served) -> None:
    """No second key is smuggled in behind one that somebody in front has looked at."""
    told = await send(
        served, b"GET /v1/key HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nAuthorization: Bearer other\r\n\r\n"
    )

    assert told.split(b" ")[1] in (b"400", b"401")
